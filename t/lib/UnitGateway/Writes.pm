package UnitGateway::Writes;

# Writes with a key, for tests of what is kept of them: by a partner's back end
# (UnitGateway::Config::back_end), to a gateway in front of a
# UnitGateway::Upstream.

use strict;
use warnings;

use Exporter 'import';

our @EXPORT_OK = qw(writes_through who key payment freeze call unit_key send_bytes again replayed);

use constant PAYMENT => '{"data":{"type":"bookPayment","attributes":{"amount":100}}}';

my ($t, $up, %who);
my $serial = 0;

# Which gateway and which upstream all others here mean from now on.
sub writes_through {
	($t, $up) = @_;
	%who = (token => $t->jwt(sub => 'service', claims => {iss => 'https://back.example.test/'}));
	return;
}

# The options of UnitGateway->request that say who writes.
sub who { return %who }

# A key that nobody has used.
sub key { return 'key-' . ++$serial }

# The bytes of a payment, which Unit makes idempotent; other options may follow.
sub payment {
	my ($key, %o) = @_;
	my @headers = ('Idempotency-Key' => $key, @{$o{headers} // []});
	return $t->bytes(POST => '/payments', %who, type => 'application/vnd.api+json', body => PAYMENT, %o, headers => \@headers);
}

# Those of a write that Unit does not make idempotent.
sub freeze {
	my ($key) = @_;
	return $t->bytes(POST => '/cards/1/freeze', %who, headers => ['Idempotency-Key' => $key]);
}

# The next call that Unit gets, with its body; undef if there is none.
sub call {
	my $call = $up->call(@_) // return;
	$call->body;
	return $call;
}

# The key that it has for Unit.
sub unit_key { return $_[0]->body =~ /"idempotencyKey":"([^"]+)"/ ? $1 : '' }

# Sends bytes over a connection of their own, which is returned.
sub send_bytes {
	my ($bytes) = @_;
	my $client = $t->connect;
	$client->send($bytes);
	return $client;
}

# The same, and the response.
sub again {
	my ($bytes) = @_;
	my $client = send_bytes($bytes);
	my $r = $client->response(timeout => 5);
	$client->close;
	return $r;
}

# Is a response from the record? "true" or "".
sub replayed { return $_[0]->header('Idempotency-Replayed') // '' }

1;
