#!/usr/bin/perl

# Clients that take their time: a head or a body byte by byte, an answer that
# is not read, TLS that is not begun. Each costs itself its time limit and nobody
# else anything: others are served by the same worker as fast as before, an
# answer that nobody reads does not fill memory or disk, and a write whose
# client reads nothing is done once and kept.
#
# P5, P8 (bodies in pieces), P40 (nothing blocks a worker).

use strict;
use warnings;

use Socket ();
use Test::More;
use Time::HiRes ();
use UnitGateway;
use UnitGateway::Config qw(back_end);
use UnitGateway::Process qw(wait_until);
use UnitGateway::Upstream;

use constant { SLOW => 40, BIG => 8 << 20 };

my $up = UnitGateway::Upstream->new;
my $t = UnitGateway->new(
	http2 => 1, partners => {back => back_end()}, connections => 2048,
	http => 'client_header_timeout 1s; client_body_timeout 1s; send_timeout 1s; keepalive_timeout 60s; lingering_timeout 1s; reset_timedout_connection on;',
	servers => <<"EOT",
    upstream large { server @{[$up->address]}; keepalive 4; }
    server {
        listen 127.0.0.1:%%PORT_LARGE%%;
        include "%%ROOT%%/conf/unit_errors.conf";
        location / {
            unit_gateway on;
            proxy_pass http://large;
            include "%%ROOT%%/conf/unit_proxy.conf";
        }
        location /_unit/api/ {
            proxy_pass http://unit_api/;
            include "%%ROOT%%/conf/unit_broker.conf";
        }
    }
EOT
)->start;
my ($worker) = $t->workers;
my $sandbox = $t->sandbox;
my $back = $t->jwt(sub => 'service', claims => {iss => 'https://back.example.test/'});
my $get = $t->bytes(GET => '/accounts', as => 'alice');
my $patch = $t->bytes(PATCH => '/customers/me', as => 'alice', json => {data => {type => 'individualCustomer', attributes => {tags => {slow => 'x' x 200}}}});

sub now { return Time::HiRes::clock_gettime(Time::HiRes::CLOCK_MONOTONIC()) }
sub memory { return (UnitGateway::slurp("/proc/$worker/status") =~ /^VmRSS:\s+(\d+)/m)[0] << 10 }

# Others meanwhile, one after the other: the median of their times, in ms.
my $other = $t->connect;
sub others {
	my @ms = sort { $a <=> $b } map {
		my $since = now();
		$other->send($get);
		$other->response->status == 200 or fail('another client is served');
		1000 * (now() - $since);
	} 1 .. 21;
	return $ms[10];
}

others();
my $alone = others();

# -- a head, a body, byte by byte ----------------------------------------------------------

# sends each its next byte until the time is over or all are closed
sub trickle {
	my ($seconds, @clients) = @_;
	my $end = now() + $seconds;
	while (now() < $end) {
		for my $slow (@clients) {
			my ($client, $bytes) = @$slow;
			$client->send(substr $bytes, $slow->[2]++, 1) if ($slow->[2] //= 0) < length $bytes;
		}
		select undef, undef, undef, 0.05;
	}
}

my $mark = $sandbox->mark;
my $at = index($patch, "\r\n\r\n") + 4;
my @heads = map { [$t->connect, $get] } 1 .. SLOW;
my @bodies = map { my $c = $t->connect; $c->send(substr $patch, 0, $at); [$c, substr $patch, $at] } 1 .. SLOW;
trickle(0.6, @heads, @bodies);
my $with = others();
trickle(0.8, @heads, @bodies);
my @late = grep { !$_->[0]->closed(8) } @heads;
diag $late[0][0]->unread if @late;
is(scalar @late, 0, SLOW . ' heads that take longer than client_header_timeout are ended');
cmp_ok($with, '<', 10 * $alone + 300, sprintf 'others are served meanwhile (%.1f ms, alone %.1f)', $with, $alone);

# a body has its time between two bytes, not in all
my %status;
for my $slow (@bodies) {
	my ($client) = @$slow;
	my $r = eval { $client->response };
	$status{$r ? $r->status : 'closed'}++;
	$client->close;
}
is(($status{closed} // 0) + ($status{408} // 0), SLOW, SLOW . ' bodies that stop are ended by client_body_timeout');
is(scalar(grep { $_->{path} =~ m{\A/customers/10001\z} } $sandbox->journal($mark)), 0, 'nothing of them is done');

my $client = $t->connect;
$client->send(substr $patch, 0, $at);
my $since = now();
for my $byte (split //, substr $patch, $at) {
	$client->send($byte);
	select undef, undef, undef, 0.004;
}
is($client->response->status, 200, sprintf 'a body byte by byte that comes in the end is done (%.1f s)', now() - $since);
$client->close;

# -- an answer that is not read ------------------------------------------------------------

# A large answer in a small window: our end takes a few kilobytes and no more.
sub deaf {
	my ($bytes) = @_;
	socket(my $socket, Socket::PF_INET(), Socket::SOCK_STREAM(), 0) or die "socket: $!";
	setsockopt $socket, Socket::SOL_SOCKET(), Socket::SO_RCVBUF(), 4096;
	connect $socket, Socket::pack_sockaddr_in($t->port('LARGE'), Socket::INADDR_LOOPBACK()) or die "connect: $!";
	syswrite $socket, $bytes;
	return $socket;
}

my $list = $t->bytes(GET => '/accounts', token => $back);
my $pay = sub { return $t->bytes(POST => '/payments', token => $back, headers => ['Idempotency-Key' => $_[0]], type => 'application/vnd.api+json',
	body => '{"data":{"type":"bookPayment","attributes":{"amount":100}}}') };
my $before = memory();
my @deaf = map { deaf($list) } 1 .. 4;
my @calls = map { $up->call } @deaf;
my $payer = deaf($pay->('deaf'));
my $payment = $up->call;
my %sent = map { $_ => 0 } 0 .. $#calls;
$_->send("HTTP/1.1 200 OK\r\nContent-Type: a/b\r\nContent-Length: @{[BIG]}\r\n\r\n") for @calls;
$since = now();
while (now() - $since < 1) {
	for my $i (0 .. $#calls) {
		my $n = $calls[$i]{c}{client}->socket->syswrite('x' x 65536);
		$sent{$i} += $n if $n;
	}
	select undef, undef, undef, 0.01;
}
cmp_ok($sent{$_}, '<', BIG, 'an answer that is not read is not read from Unit either') for 0 .. $#calls;
cmp_ok(memory() - $before, '<', 8 << 20, 'nor kept in memory');
is(join(' ', grep { -s } glob $t->dir . '/tmp/proxy/*/*/*'), '', 'nor on disk');
my $deaf = others();
cmp_ok($deaf, '<', 10 * $alone + 300, sprintf 'others are served meanwhile (%.1f ms)', $deaf);
$payment->answer(201, '{"data":{"n":1}}' . ' ' x 60_000);
ok($_->closed(10), 'and it is given up after send_timeout') for @calls;
$_->close for @calls;

# the payment of one who does not read is kept, and told when asked for again
$client = $t->connect(port => 'LARGE');
my $r;
ok(wait_until(10, sub { $client->send($pay->('deaf')); $r = $client->response; $r->status == 201 }), 'a write whose client does not read is done');
is($r->header('Idempotency-Replayed'), 'true', 'and kept');
ok($up->quiet(0), 'once');
$client->close;

# -- HTTP/2: windows of nothing --------------------------------------------------------------

my @h2 = map { my $h2 = $t->h2_connect; $h2->frame(4, 0, 0, pack 'nN', 4, 0); $h2 } 1 .. 10;
my @streams;
for my $h2 (@h2) {
	push @streams, [$h2, $h2->open($t->h2_headers(GET => '/accounts', as => 'alice'), end => 1)] for 1 .. 5;
}
my $windows = others();
cmp_ok($windows, '<', 10 * $alone + 300, sprintf 'streams without a window: others are served (%.1f ms)', $windows);
is(scalar(grep { my ($h2, $id) = @$_; eval { $h2->response($id) }; defined $h2->reset_code($id) } @streams), 50, 'and they are ended');
$_->close for @h2;

$other->close;
is_deeply([$t->workers], [$worker], 'one worker did it all');
$t->done;
