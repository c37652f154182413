#!/usr/bin/perl

# 10,000 connections that are open and say nothing, after a request or before
# any: the gateway goes on serving others, in bounded memory per connection, and
# they are still good when they are used again. A reload closes those that have
# been used at once; nginx (1.22) leaves the others until client_header_timeout.
#
#	UNIT_IDLE_CONNECTIONS=10000

use strict;
use warnings;

use IO::Socket::INET ();
use Socket ();
use Test::More;
use Time::HiRes ();
use UnitGateway;
use UnitGateway::Process qw(wait_until);

use constant {
	IDLE => $ENV{UNIT_IDLE_CONNECTIONS} || 10_000,
	USED => 1_000,

	# nginx has a pool of 512 bytes for each, and the allocator its share; with a
	# sanitizer each allocation has room around it
	BYTES => $ENV{UNIT_NGINX} ? 10_000 : 2048,
};

# this process holds one end of each
BEGIN {
	my ($soft, $hard) = map { `sh -c 'ulimit -$_' 2>/dev/null` =~ /(\d+|unlimited)/ ? $1 : 0 } 'Sn', 'Hn';
	my $need = ($ENV{UNIT_IDLE_CONNECTIONS} || 10_000) + 500;
	my $enough = sub { $_[0] eq 'unlimited' || $_[0] >= $need };
	plan(skip_all => "only $hard open files are allowed, $need are needed") if !$enough->($hard);
	exec 'sh', '-c', 'ulimit -n "$(ulimit -Hn)"; exec "$@"', 'sh', $^X, map({ "-I$_" } @INC), $0 if !$enough->($soft) && !$ENV{UNIT_IDLE_AGAIN}++;
}

my $t = UnitGateway->new(connections => IDLE + 2000, workers => 1, http => 'client_header_timeout 120s; keepalive_timeout 120s;')->start;
my ($worker) = $t->workers;
my $address = Socket::pack_sockaddr_in($t->port, Socket::INADDR_LOOPBACK());
my $get = $t->bytes(GET => '/accounts', as => 'alice');

sub memory { return (UnitGateway::slurp("/proc/$worker/status") =~ /^VmRSS:\s+(\d+)/m)[0] << 10 }
sub served { my $c = $t->connect; $c->send($get); my $s = $c->response->status; $c->close; return $s }

sub read_all {
	my ($socket) = @_;
	my $bytes = '';
	until ($bytes =~ /\r\nContent-Length: (\d+)\r\n.*?\r\n\r\n(.*)\z/s && length $2 >= $1) {
		sysread $socket, $bytes, 65536, length $bytes or return '';
	}
	return $bytes;
}

is(served(), 200, 'up') for 1 .. 50;
my $before = memory();

# -- open, and some of them used -----------------------------------------------------------

my @idle;
my $failed = 0;
for my $n (1 .. IDLE) {
	socket(my $socket, Socket::PF_INET(), Socket::SOCK_STREAM(), 0) or last;
	connect $socket, $address or $failed++, next;
	push @idle, $socket;
}
is(scalar @idle, IDLE, IDLE . ' connections') or diag "$failed failed: $!";
my $good = 0;
for (my $i = 0; $i < USED; $i += 100) {
	syswrite $_, $get for @idle[$i .. $i + 99];
	$good += read_all($_) =~ m{\AHTTP/1\.1 200 } for @idle[$i .. $i + 99];
}
is($good, USED, USED . ' of them are used and then idle');
is(served(), 200, 'another one is served');
ok(wait_until(10, sub { my $n = () = glob "/proc/$worker/fd/*"; $n > IDLE }), 'all have been accepted');
my $each = (memory() - $before) / IDLE;
cmp_ok($each, '<', BYTES, sprintf 'they take %d bytes each', $each);
diag sprintf '%d bytes for each of %d idle connections', $each, IDLE;

my $since = Time::HiRes::time();
is(served(), 200, 'and others are served') for 1 .. 20;
cmp_ok(Time::HiRes::time() - $since, '<', 10, 'without delay');

# -- used again, and closed ------------------------------------------------------------------

$good = 0;
for my $socket (@idle[map { 37 * $_ } 0 .. 199]) {
	syswrite $socket, $get;
	$good += read_all($socket) =~ m{\AHTTP/1\.1 200 };
}
is($good, 200, '200 of them, here and there, are as good as before');
ok($t->reload(wait => 0), 'a reload');
my $open = 0;
for my $socket (@idle[0 .. USED - 1]) {
	my $set = '';
	vec($set, fileno $socket, 1) = 1;
	$open++ if !select($set, undef, undef, 15) || sysread $socket, my ($bytes), 1;
}
is($open, 0, 'closes those that were used');
is(served(), 200, 'the new worker serves');
close $_ for @idle;
ok(wait_until(15, sub { !grep { $_ == $worker } $t->workers }), 'and the old one ends when the others have gone');

$t->done;
