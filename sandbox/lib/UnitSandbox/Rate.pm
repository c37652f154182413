package UnitSandbox::Rate;

# N requests per source address in any 60 seconds, exactly: the times of the
# accepted ones are kept. Refused requests do not count.

use strict;
use warnings;

use UnitSandbox::Clock ();

use constant WINDOW => 60;

my ($limit, %times) = (1000);

sub set_limit { $limit = $_[0] eq 'off' ? undef : $_[0] }

sub limit { $limit }

sub clear { %times = () }

sub admit {
	my ($address) = @_;

	return 1 if !defined $limit;
	my $now = UnitSandbox::Clock::now();
	my $t = $times{$address} //= [];
	shift @$t while @$t && $t->[0] <= $now - WINDOW;
	return 0 if @$t >= $limit;
	push @$t, $now;
	return 1;
}

1;
