package UnitGateway::Port;

# Free ports on 127.0.0.1, so that test files can run in parallel.
#
# A port stays ours for the life of the object, held by a socket that is bound
# and does not listen: the kernel gives it to nobody who asks for any port, and
# still lets a server with SO_REUSEADDR bind it by number. Before that, and when
# the server is down, connections are refused as on any closed port.

use strict;
use warnings;

use IO::Socket::INET ();

sub new {
	my ($class) = @_;

	my $socket = IO::Socket::INET->new(Proto => 'tcp', LocalAddr => '127.0.0.1', ReuseAddr => 1)
		or die "cannot reserve a port: $@";
	return bless {socket => $socket, number => $socket->sockport}, $class;
}

sub number { $_[0]{number} }

1;
