package UnitGateway::Sandbox;

# The control calls of the sandbox.

use strict;
use warnings;

use JSON::PP ();
use UnitGateway::Client ();

my $json = JSON::PP->new->utf8->canonical;

sub new {
	my ($class, %o) = @_;
	return bless {port => $o{port}}, $class;
}

sub port { $_[0]{port} }

# One control call; dies unless it succeeds.
sub call {
	my ($self, @call) = @_;
	my $response = $self->_call(@call);
	return length $response->body ? $response->json : undef;
}

sub _call {
	my ($self, $method, $path, $data) = @_;

	my $body = defined $data ? $json->encode($data) : '';
	my $client = UnitGateway::Client->new(port => $self->{port});
	$client->send("$method /_sandbox/$path HTTP/1.1\r\nHost: sandbox\r\nConnection: close\r\n"
		. "Content-Type: application/json\r\nContent-Length: " . length($body) . "\r\n\r\n$body");
	my $response = $client->response;
	die "sandbox: $method $path: " . $response->status . ' ' . $response->body . "\n" if $response->status !~ /\A2/;
	return $response;
}

# The calls that Unit got, all or those after number $since: a list of hashes.
sub journal {
	my ($self, $since) = @_;
	return @{$self->call(GET => 'journal' . (defined $since ? "?since=$since" : ''))};
}

# The number of the last call, for journal().
sub mark { $_[0]->counter('requests') }

# How many calls METHOD PATH there were after number $since: for long journals.
sub calls {
	my ($self, $method, $path, $since) = @_;
	my $text = $self->_call(GET => 'journal?since=' . ($since // 0))->body;
	return scalar(() = $text =~ /"method":"\Q$method\E","path":"\Q$path\E"/g);
}

sub counters { $_[0]->call(GET => 'counters') }
sub counter { $_[0]->counters->{$_[1]} // 0 }

# The last one-time password: {code, channel, expiresAt}.
sub otp {
	my ($self, $customer) = @_;
	return $self->call(GET => "otp/$customer");
}

# Makes N more customers: a list of {customerId, subject}.
sub customers {
	my ($self, $count) = @_;
	return @{$self->call(POST => 'customers', {count => $count})};
}

# fault(METHOD, PATH, ACTION hash, TIMES)
sub fault {
	my ($self, $method, $path, $action, $times) = @_;
	return $self->call(POST => 'faults',
		{match => {method => $method, path => $path}, action => $action, times => $times // 1});
}

sub clear_faults { $_[0]->call(DELETE => 'faults') }

sub revoke {
	my ($self, $customer) = @_;
	return $self->call(POST => 'revoke', {customerId => "$customer"});
}

sub expire {
	my ($self, $customer, $seconds) = @_;
	return $self->call(POST => 'expire', {customerId => "$customer", seconds => $seconds});
}

# Moves the sandbox's clock forward.
sub advance {
	my ($self, $seconds) = @_;
	return $self->call(POST => 'clock', {advance => $seconds});
}

# Requests per minute, or "off".
sub limit {
	my ($self, $limit) = @_;
	return $self->call(POST => 'limit', {limit => $limit});
}

sub reset { $_[0]->call(POST => 'reset') }

1;
