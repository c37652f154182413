package UnitGateway::Many;

# Many requests at the same time, each on a connection of its own, from one
# process: for storms, races and limits.

use strict;
use warnings;

use Errno qw(EAGAIN EINTR EINPROGRESS);
use Exporter 'import';
use Socket qw(AF_INET SOCK_STREAM SOCK_NONBLOCK IPPROTO_TCP TCP_NODELAY SOL_SOCKET SO_ERROR inet_aton pack_sockaddr_in);
use Time::HiRes ();
use UnitGateway::Process ();
use UnitGateway::Response ();

our @EXPORT_OK = qw(many);

use constant CHUNK => 65536;

# many(\@REQUESTS, port => N, timeout => 30, together => 0|1)
#
# The requests are bytes. Returns the responses in their order: a
# UnitGateway::Response, or a string that says why there is none. With
# "together" the last byte of each is held back until all the others have been
# sent, so that the server sees them complete within a moment.
sub many {
	my ($requests, %o) = @_;

	local $SIG{PIPE} = 'IGNORE';
	my $end = _now() + ($o{timeout} // 30) * UnitGateway::Process::SLOW;
	my $address = pack_sockaddr_in($o{port}, inet_aton('127.0.0.1'));
	my $held = $o{together} ? 1 : 0;
	my @all = map { _open($_, $address, $held) } @$requests;

	# opened and sent in one go where the socket takes it, so that 2,000
	# connections need few turns of the loop
	my %open = map { fileno $_->{socket} => $_ } grep { $_->{socket} } @all;
	my $unsent = $held ? scalar keys %open : 0;

	while (%open) {
		my ($r, $w) = ('', '');
		for my $fd (keys %open) {
			my $c = $open{$fd};
			vec($r, $fd, 1) = 1;
			vec($w, $fd, 1) = 1 if $c->{sent} < $c->{limit};
		}
		my $left = $end - _now();
		my $n = $left > 0 ? select $r, $w, undef, $left : 0;
		next if $n < 0 && $! == EINTR;
		last if $n <= 0;

		for my $fd (keys %open) {
			my $c = $open{$fd};
			if (vec $w, $fd, 1) {
				_write($c);
				$unsent-- if $held && $c->{sent} == $c->{limit} && !$c->{counted}++;
			}
			_read($c) if vec $r, $fd, 1;
			next if !defined $c->{result};
			$unsent-- if $held && !$c->{counted}++;
			delete $open{$fd};
			close delete $c->{socket};
		}
		if ($held && !$unsent) {
			$held = 0;
			$_->{limit} = length $_->{bytes} for values %open;
		}
	}
	return map { $_->{result} // 'timeout' } @all;
}

sub _now { Time::HiRes::clock_gettime(Time::HiRes::CLOCK_MONOTONIC()) }

sub _open {
	my ($bytes, $address, $held) = @_;

	my %c = (bytes => $bytes, sent => 0, limit => length($bytes) - $held, in => '', head => $bytes =~ /\AHEAD / ? 1 : 0);
	if (!socket $c{socket}, AF_INET, SOCK_STREAM | SOCK_NONBLOCK, IPPROTO_TCP) {
		die "socket: $!; raise \"ulimit -n\"\n";
	}
	setsockopt $c{socket}, IPPROTO_TCP, TCP_NODELAY, 1;
	if (!connect($c{socket}, $address) && $! != EINPROGRESS) {
		$c{result} = "connect: $!";
		delete $c{socket};
	}
	return \%c;
}

sub _write {
	my ($c) = @_;

	my $room = $c->{limit} - $c->{sent};
	my $n = syswrite $c->{socket}, $c->{bytes}, $room < CHUNK ? $room : CHUNK, $c->{sent};
	if (defined $n) {
		$c->{sent} += $n;
	}
	elsif ($! != EAGAIN && $! != EINTR) {
		# an early answer may have come before the close: let it be read
		$c->{failed} = "send: $!";
		$c->{limit} = $c->{sent};
	}
}

sub _read {
	my ($c) = @_;

	my $n = sysread $c->{socket}, $c->{in}, CHUNK, length $c->{in};
	if (!defined $n) {
		$c->{result} = $c->{failed} // "read: $!" if $! != EAGAIN && $! != EINTR;
		return;
	}
	my ($response) = eval { UnitGateway::Response->parse($c->{in}, head => $c->{head}, eof => !$n) };
	$c->{result} = $@ ? "bad response: $@" : $response;
	$c->{result} = 'response cut off' if $response && $response->cut;
	$c->{result} //= $c->{failed} // 'closed without a whole response' if !$n;
}

1;
