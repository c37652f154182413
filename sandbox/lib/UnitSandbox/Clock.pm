package UnitSandbox::Clock;

# The sandbox's own time: the steady clock plus what /_sandbox/clock added, as
# epoch seconds. Everything that expires uses it; the journal uses wall time.

use strict;
use warnings;

use Exporter 'import';
use POSIX ();
use Time::HiRes ();

our @EXPORT_OK = qw(now wall_ms iso date_of http_date);

my $base = Time::HiRes::time() - Time::HiRes::clock_gettime(Time::HiRes::CLOCK_MONOTONIC());
my $shift = 0;
my ($http_at, $http_text) = (0, '');

sub now { $base + $shift + Time::HiRes::clock_gettime(Time::HiRes::CLOCK_MONOTONIC()) }

sub wall_ms { int(Time::HiRes::time() * 1000) }

sub advance { $shift += $_[0] }

sub reset_shift { $shift = 0 }

sub iso {
	my ($t) = @_;
	$t //= now();
	return POSIX::strftime('%Y-%m-%dT%H:%M:%S', gmtime $t) . sprintf '.%03dZ', ($t - int $t) * 1000;
}

sub date_of { POSIX::strftime('%Y-%m-%d', gmtime($_[0] // now())) }

sub http_date {
	my $t = time;
	if ($t != $http_at) {
		my @day = qw(Sun Mon Tue Wed Thu Fri Sat);
		my @month = qw(Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec);
		my @g = gmtime $t;
		$http_text = sprintf '%s, %02d %s %d %02d:%02d:%02d GMT', $day[$g[6]], $g[3], $month[$g[4]], $g[5] + 1900, @g[2, 1, 0];
		$http_at = $t;
	}
	return $http_text;
}

1;
