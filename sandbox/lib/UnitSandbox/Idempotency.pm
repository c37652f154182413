package UnitSandbox::Idempotency;

# data.attributes.idempotencyKey: per organisation and operation, for 48 hours
# from success. The same key gets the first answer, whatever else it sends.

use strict;
use warnings;

use Exporter 'import';
use UnitSandbox::Clock qw(now);
use UnitSandbox::Counters qw(count);
use UnitSandbox::Error qw(invalid);
use UnitSandbox::Json ();

our @EXPORT_OK = qw(key_of recall remember);

use constant LIFETIME => 48 * 3600;

my %answer;

sub clear { %answer = () }

# The key in the attributes of one resource object, undef if there is none.
sub key_of {
	my ($attributes, $pointer) = @_;

	my $key = $attributes->{idempotencyKey};
	return undef if !defined $key;
	invalid($pointer, 'idempotencyKey must be a string of 1 to 255 characters.')
		if !UnitSandbox::Json::is_string($key) || !length $key || length $key > 255;
	return $key;
}

# Physical and virtual debit cards share their keys.
sub _family { $_[0] =~ /\Acreate-(?:individual|business)-(?:virtual-)?debit-card\z/ ? 'create-debit-card' : $_[0] }

sub recall {
	my ($operation, $key) = @_;

	my $name = _family($operation) . "\0$key";
	my $a = $answer{$name} or return undef;
	if ($a->{exp} <= now()) {
		delete $answer{$name};
		return undef;
	}
	count('idempotency_replays');
	return $a->{answer};
}

sub remember {
	my ($operation, $key, $answer) = @_;
	$answer{_family($operation) . "\0$key"} = {answer => $answer, exp => now() + LIFETIME};
}

sub purge {
	my $now = now();
	for my $name (keys %answer) {
		delete $answer{$name} if $answer{$name}{exp} <= $now;
	}
}

1;
