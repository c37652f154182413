package UnitGateway::Status;

# What unit_status tells, for tests: at /unit/status of the gateway.
#
#	my $s = UnitGateway::Status->new($t);
#	is_deeply($s->moves({'tokens.hit' => 1, ...}, sub { ... }), {...});

use strict;
use warnings;

use Exporter 'import';
use UnitGateway::Process qw(wait_until);

our @EXPORT_OK = qw(LOCATION samples);

use constant LOCATION => 'location = /unit/status { unit_status; }';

sub new {
	my ($class, $t, %o) = @_;
	return bless {t => $t, path => $o{path} // '/unit/status'}, $class;
}

# The JSON as it is.
sub json {
	my ($self) = @_;
	my $response = $self->{t}->get($self->{path});
	die 'status: ' . $response->status . ' ' . $response->body . "\n" if $response->status != 200;
	return $response->json;
}

# The counters by name, "operations.list-accounts.ok", those that are not 0;
# without what depends on time: gauges and latencies.
sub counters {
	my ($self) = @_;

	my $all = $self->json;
	my %flat;
	_flatten(\%flat, $_, $all->{$_}) for qw(requests operations tokens verifications idempotency limits upstream broker key_server);
	$flat{"budget.$_"} = $all->{budget}[0]{$_} for qw(pauses breaker_opened);
	$flat{'zone.full'} = $all->{zone}[0]{full};
	delete $flat{$_} for grep { /\blatency\b/ } keys %flat;
	return {map { $_ => $flat{$_} } grep { $flat{$_} } keys %flat};
}

sub _flatten {
	my ($flat, $name, $value) = @_;
	if (ref $value eq 'HASH') {
		_flatten($flat, "$name.$_", $value->{$_}) for keys %$value;
	} elsif (!ref $value) {
		$flat->{$name} = $value;
	}
}

# By how much counters have moved while CODE ran, as a hash. nginx counts after
# it has answered: waits until they have moved as expected, but not for ever.
sub moves {
	my ($self, $expected, $code) = @_;

	my $before = $self->counters;
	$code->();
	my %moved;
	wait_until(5, sub {
		my $after = $self->counters;
		my %name = (%$before, %$after);
		%moved = ();
		for (keys %name) {
			my $n = ($after->{$_} // 0) - ($before->{$_} // 0);
			$moved{$_} = $n if $n;
		}
		return join(' ', map { "$_=$moved{$_}" } sort keys %moved) eq join(' ', map { "$_=$expected->{$_}" } sort keys %$expected);
	});
	return \%moved;
}

# The samples of a text in Prometheus' format: a hash of "name{labels}" => value.
sub samples {
	my ($text) = @_;

	my %sample;
	for my $line (split /\n/, $text) {
		next if $line =~ /^#/;
		my ($name, $value) = $line =~ /^(\w+(?:\{(?:\w+="(?:[^"\\]|\\.)*",?)*\})?) (\S+)$/ or die "no sample: $line\n";
		die "twice: $name\n" if exists $sample{$name};
		$sample{$name} = $value;
	}
	return \%sample;
}

1;
