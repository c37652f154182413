package UnitGateway::Client;

# One raw connection: what is sent is sent byte by byte as given, what comes
# back is parsed by UnitGateway::Response. Nothing waits longer than "timeout"
# seconds; a timeout is a failure and dies.

use strict;
use warnings;

use Errno qw(EAGAIN EINTR EPIPE ECONNRESET);
use IO::Socket::INET ();
use Time::HiRes ();
use UnitGateway::Process ();
use UnitGateway::Response ();

use constant {
	CHUNK => 65536,
	DEFAULT => 10 * UnitGateway::Process::SLOW,
};

# port, timeout => 10
sub new {
	my ($class, %o) = @_;

	my $timeout = $o{timeout} // DEFAULT;
	my $socket = IO::Socket::INET->new(
		Proto => 'tcp', PeerAddr => $o{host} // '127.0.0.1', PeerPort => $o{port}, Timeout => $timeout,
	) or die "cannot connect to port $o{port}: $@\n";
	return $class->of($socket, timeout => $timeout);
}

# of(SOCKET): a connection that there is already. timeout => 10
sub of {
	my ($class, $socket, %o) = @_;

	binmode $socket;
	$socket->blocking(0);
	setsockopt $socket, Socket::IPPROTO_TCP(), Socket::TCP_NODELAY(), 1;
	return bless {socket => $socket, timeout => $o{timeout} // DEFAULT, buffer => '', eof => 0}, $class;
}

sub _now { Time::HiRes::clock_gettime(Time::HiRes::CLOCK_MONOTONIC()) }

sub _wait {
	my ($self, $write, $end) = @_;

	my $left = $end - _now();
	return 0 if $left <= 0;
	my $set = '';
	vec($set, fileno $self->{socket}, 1) = 1;
	my $n = $write ? select undef, my $w = $set, undef, $left : select my $r = $set, undef, undef, $left;
	return $n != 0;
}

# False when the peer has closed and does not take the bytes.
sub send {
	my ($self, $bytes) = @_;

	local $SIG{PIPE} = 'IGNORE';
	my ($at, $end) = (0, _now() + $self->{timeout});
	while ($at < length $bytes) {
		my $n = syswrite $self->{socket}, $bytes, CHUNK, $at;
		if (defined $n) {
			$at += $n;
		}
		elsif ($! == EPIPE || $! == ECONNRESET) {
			return 0;
		}
		elsif ($! != EAGAIN && $! != EINTR) {
			die "send: $!\n";
		}
		else {
			$self->_wait(1, $end) or die "timeout after $self->{timeout} s while sending\n";
		}
	}
	return 1;
}

# Reads what is there, waiting for it until the time; false when that is over.
sub _fill {
	my ($self, $end) = @_;

	while (!$self->{eof}) {
		my $n = sysread $self->{socket}, $self->{buffer}, CHUNK, length $self->{buffer};
		if (defined $n) {
			$self->{eof} = 1 if !$n;
			return 1;
		}
		if ($! == ECONNRESET) {
			$self->{eof} = $self->{reset} = 1;
			return 1;
		}
		die "read: $!\n" if $! != EAGAIN && $! != EINTR;
		return 0 if !$self->_wait(0, $end);
	}
	return 1;
}

# The next response. head => 1: it answers a HEAD. cut => 1: it may be
# incomplete, see $response->cut; else that dies, as does a missing response.
sub response {
	my ($self, %o) = @_;

	my $end = _now() + ($o{timeout} // $self->{timeout});
	while (1) {
		my ($response, $took) = UnitGateway::Response->parse($self->{buffer}, head => $o{head}, eof => $self->{eof});
		if ($response) {
			die "response cut off after " . length($response->body) . " bytes of body\n" if $response->cut && !$o{cut};
			substr $self->{buffer}, 0, $took, '';
			return $response;
		}
		die "connection closed without a whole response: \"$self->{buffer}\"\n" if $self->{eof};
		$self->_fill($end) or die "timeout while waiting for a response, got \"$self->{buffer}\"\n";
	}
}

# True when the peer closes (or resets) the connection in time and sends
# nothing more; unread() tells what else it sent.
sub closed {
	my ($self, $timeout) = @_;

	my $end = _now() + ($timeout // $self->{timeout});
	while (!$self->{eof}) {
		$self->_fill($end) or return 0;
		return 0 if length $self->{buffer};
	}
	return !length $self->{buffer};
}

# Waits until some bytes are there; dies when none come.
sub readable {
	my ($self) = @_;

	my $end = _now() + $self->{timeout};
	while (!length $self->{buffer}) {
		return 0 if $self->{eof};
		$self->_fill($end) or die "timeout while waiting for bytes\n";
	}
	return 1;
}

# The next N bytes; undef when the peer has closed before.
sub take {
	my ($self, $n) = @_;

	my $end = _now() + $self->{timeout};
	while (length $self->{buffer} < $n) {
		return undef if $self->{eof};
		$self->_fill($end) or die "timeout while waiting for bytes\n";
	}
	return substr $self->{buffer}, 0, $n, '';
}

# Received and not yet taken by response().
sub unread { $_[0]{buffer} }

sub was_reset { $_[0]{reset} ? 1 : 0 }

sub shutdown_write { shutdown $_[0]{socket}, 1 }

sub close {
	my ($self) = @_;
	close $self->{socket};
	$self->{eof} = 1;
}

# Closes with a reset instead of an orderly end.
sub abort {
	my ($self) = @_;
	setsockopt $self->{socket}, Socket::SOL_SOCKET(), Socket::SO_LINGER(), pack 'ii', 1, 0;
	$self->close;
}

sub socket { $_[0]{socket} }

1;
