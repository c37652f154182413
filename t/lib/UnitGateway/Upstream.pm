package UnitGateway::Upstream;

# An upstream that the test plays itself, in its own process: it says when a
# call is read, and which bytes come back, if any. For what no server would do
# by itself: garbage, halves, silence, and to see a call while it is sent.
#
#	my $up = UnitGateway::Upstream->new;
#	my $t = UnitGateway->new(upstream => $up->address);
#	my $client = $t->connect;
#	$client->send($t->bytes(GET => '/accounts', as => 'alice'));
#	$up->call->token;
#	$up->call->answer(200, '{"data":[]}');
#	$client->response;

use strict;
use warnings;

use IO::Socket::INET ();
use JSON::PP ();
use Time::HiRes ();
use UnitGateway::Client ();
use UnitGateway::Process ();
use UnitGateway::Response ();

use constant {
	JSON_API => 'application/vnd.api+json',
	TOKEN => 'v2.public.' . 'A' x 40,
};

my $json = JSON::PP->new->utf8->canonical;

# timeout => 10
sub new {
	my ($class, %o) = @_;

	my $listen = IO::Socket::INET->new(Proto => 'tcp', LocalAddr => '127.0.0.1', Listen => 1024, ReuseAddr => 1)
		or die "cannot listen: $@\n";
	return bless {listen => $listen, timeout => $o{timeout} // 10 * UnitGateway::Process::SLOW, open => [], accepted => 0}, $class;
}

sub address { '127.0.0.1:' . $_[0]{listen}->sockport }

# How many connections came so far.
sub accepted { $_[0]{accepted} }

# The next call whose head has arrived, on whatever connection; the body is
# read by body(). None in time is an error, or undef with "timeout".
sub call {
	my ($self, %o) = @_;

	my $end = _now() + ($o{timeout} // $self->{timeout});
	while (1) {
		for my $c (@{$self->{open}}) {
			return UnitGateway::Upstream::Call->new($c) if !$c->{call} && $c->{client}{buffer} =~ /\r\n\r\n/;
		}
		@{$self->{open}} = grep { !$_->{client}{eof} || $_->{call} } @{$self->{open}};
		my $set = '';
		vec($set, fileno $_, 1) = 1 for $self->{listen}, map { $_->{client}->socket } grep { !$_->{client}{eof} } @{$self->{open}};
		my $left = $end - _now();
		my $n = select $set, undef, undef, $left > 0 ? $left : 0;
		if ($n <= 0) {
			return undef if defined $o{timeout};
			die "no call came within $self->{timeout} s\n";
		}
		$self->_accept if vec $set, fileno $self->{listen}, 1;
		$_->{client}->_fill(_now()) for @{$self->{open}};
	}
}

# Reads a token call and grants a token; returns the call.
sub grant {
	my ($self, %o) = @_;

	my $call = $self->call;
	die 'not a token call: ' . $call->line . "\n" if $call->target !~ m{\A/customers/[^/]+/token\z};
	$call->token(%o);
	return $call;
}

# No call comes within the time.
sub quiet {
	my ($self, $seconds) = @_;
	return !defined $self->call(timeout => $seconds // 0.2);
}

# Closes the listening socket: connections are refused from now on.
sub close {
	my ($self) = @_;
	close $self->{listen};
	$_->{client}->close for @{$self->{open}};
	$self->{open} = [];
}

sub _accept {
	my ($self) = @_;

	my $socket = $self->{listen}->accept or return;
	$self->{accepted}++;
	my $client = UnitGateway::Client->of($socket, timeout => $self->{timeout});
	push @{$self->{open}}, {client => $client, number => $self->{accepted}};
}

sub _now { Time::HiRes::clock_gettime(Time::HiRes::CLOCK_MONOTONIC()) }

package UnitGateway::Upstream::Call;

use parent 'UnitGateway::Headers';

sub new {
	my ($class, $c) = @_;

	$c->{client}{buffer} =~ s/\A(.*?\r\n)\r\n//s or die "no whole head\n";
	my ($line, @lines) = split /\r\n/, $1, -1;
	pop @lines;
	my ($method, $target) = $line =~ m{\A(\S+) (\S+) HTTP/1\.1\z} or die "bad request line: $line\n";
	my @headers = map { /\A([^:\s]+): ?(.*)\z/s ? [$1, $2] : die "bad header line: $_\n" } @lines;
	my $self = bless {c => $c, line => $line, method => $method, target => $target, headers => \@headers}, $class;
	$c->{call} = 1;
	return $self;
}

sub line { $_[0]{line} }
sub method { $_[0]{method} }
sub target { $_[0]{target} }

# The number of its connection, from 1.
sub connection { $_[0]{c}{number} }

# The names of all headers, in lower case, sorted; repeated ones too.
sub header_names { return sort map { lc $_->[0] } @{$_[0]{headers}} }

# The next N bytes of the body, as they are on the wire.
sub take {
	my ($self, $n) = @_;
	return $self->{c}{client}->take($n);
}

# The whole body.
sub body {
	my ($self) = @_;

	return $self->{body} if defined $self->{body};
	my $length = $self->header('Content-Length');
	return $self->{body} = $self->take($length) if defined $length;
	return $self->{body} = '' if !defined $self->header('Transfer-Encoding');
	my $body = '';
	while (1) {
		my $line = '';
		$line .= $self->take(1) while $line !~ /\r\n\z/;
		my $size = hex $line =~ s/\r\n//r;
		my $chunk = $self->take($size + 2);
		return $self->{body} = $body if !$size;
		$body .= substr $chunk, 0, $size;
	}
}

sub json { return $json->decode($_[0]->body) }

# Sends these bytes; the call is still open.
sub send {
	my ($self, $bytes) = @_;
	return $self->{c}{client}->send($bytes);
}

# The call is over, the connection stays open for the next one.
sub done { $_[0]{c}{call} = 0 }

# Reads the body, so that there is no reset, sends these bytes and closes.
sub end {
	my ($self, $bytes) = @_;

	$self->body;
	$self->send($bytes);
	$self->close;
}

sub close {
	my ($self) = @_;
	$self->{c}{client}->close;
	$self->{c}{call} = 0;
}

sub abort {
	my ($self) = @_;
	$self->{c}{client}->abort;
	$self->{c}{call} = 0;
}

# The gateway has closed its end, or does so in time.
sub closed {
	my ($self, $timeout) = @_;
	return $self->{c}{client}->closed($timeout);
}

# A whole answer, with its length. The data may be text.
sub answer {
	my ($self, $status, $data, @headers) = @_;

	$self->body;
	my $body = ref $data ? $json->encode($data) : $data // '';
	my $text = "HTTP/1.1 $status Status\r\nContent-Type: " . UnitGateway::Upstream::JSON_API . "\r\n";
	while (my ($name, $value) = splice @headers, 0, 2) {
		$text .= "$name: $value\r\n";
	}
	$self->send($text . 'Content-Length: ' . length($body) . "\r\n\r\n" . ($self->method eq 'HEAD' ? '' : $body));
	$self->done;
}

# The answer to a token call. token, expiresIn
sub token {
	my ($self, %o) = @_;

	my %attributes = (token => UnitGateway::Upstream::TOKEN, expiresIn => 3600, %o);
	$self->answer(201, {data => {type => 'customerBearerToken', attributes => \%attributes}});
}

1;
