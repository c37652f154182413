#!/usr/bin/perl

# A lease lasts as long as its holder lives and a few seconds longer, through
# reloads; when it has run out the write may be tried again, with the same key
# at Unit and nothing else under it. A zone that is full forgets answers, never
# who is at it: one more is refused, unless the operator prefers it to be done
# without a record.
#
# P24 (killed workers), P25 (reload), P26 (exhaustion), P28 (leases), P30.

use strict;
use warnings;

use Test::More;
use Time::HiRes ();
use UnitGateway;
use UnitGateway::Config qw(back_end server);
use UnitGateway::Process qw(wait_until);
use UnitGateway::Upstream;
use UnitGateway::Writes qw(writes_through who key payment freeze call unit_key send_bytes again replayed);

my $up = UnitGateway::Upstream->new;
my %partners = (back => back_end());
my $t = UnitGateway->new(upstream => $up->address, sandbox => 0, workers => 2, partners => \%partners)->start;
writes_through($t, $up);

sub now { return Time::HiRes::clock_gettime(Time::HiRes::CLOCK_MONOTONIC()) }

# one that has 60 seconds
my $ach = '{"data":{"type":"achPayment","relationships":{"counterparty":{"data":{"type":"counterparty","id":"1"}}},"attributes":{"amount":1}}}';

my ($client, $call, $key, $r);

# -- leases -----------------------------------------------------------------------------------------

# renewed as long as it takes
$client = send_bytes(payment($key = key(), body => $ach));
my $slow = call();
my $slow_key = $key;
my $slow_client = $client;
my $since = now();

# late: after we have given up
my $late_key = key();
my $late_client = send_bytes(freeze($late_key));
my $late = call();

while (now() - $since < 4.5) {
	is(again(payment($slow_key, body => $ach))->code, 'idempotency_key_in_use', 'a lease is kept') if now() - $since > 4.2;
	select undef, undef, undef, 0.1;
}
is($late_client->response(timeout => 15)->status, 504, 'an answer that is late');
ok($late->closed, 'finds nobody');
$late->close;
$late_client->close;
is($t->post('/cards/2/freeze', who(), headers => ['Idempotency-Key' => $late_key])->code, 'idempotency_key_reused', 'what was tried is remembered');
$slow->answer(201, '{}');
is($slow_client->response->status, 201, 'as long as its holder lives');
$slow_client->close;

# a worker that is killed while it waits: others wait for its lease, then the
# write is tried again with the same key, and nothing else is done with it
my $dead = key();
my $dead_client = send_bytes(payment($dead));
my $dead_call = call();
my $dead_first = unit_key($dead_call);
$t->kill_worker($_) for $t->workers;
$since = now();
ok($dead_call->closed, 'a worker was killed');
$dead_call->close;
is(again(payment($dead))->code, 'idempotency_key_in_use', 'its lease counts for a while');
is(again(payment($dead, body => '{"data":{"type":"bookPayment","attributes":{"amount":9}}}'))->code, 'idempotency_key_reused', 'for this request alone');
ok(wait_until(10, sub { now() - $since > 4.5 }), 'time goes by');
is(again(payment($dead, body => '{"data":{"type":"bookPayment","attributes":{"amount":9}}}'))->code, 'idempotency_key_reused', 'and still, when it has run out');
$client = send_bytes(payment($dead));
$call = call();
is(unit_key($call), $dead_first, 'then it is tried again with the same key');
$call->answer(201, '{"n":"again"}');
is($client->response->body, '{"n":"again"}', 'and answered');
$client->close;
is(replayed(again(payment($dead))), 'true', 'and kept');

# -- an answer that is not kept -----------------------------------------------------------------------

# the lease is back when the client sees the first byte, not when the request's memory is freed
for my $status (403, 409) {
	$client = send_bytes(payment($key = key()));
	$call = call();
	my $first = unit_key($call);
	$call->send("HTTP/1.1 $status Status\r\nContent-Type: application/vnd.api+json\r\nContent-Length: 200000\r\n\r\n" . ' ' x 150_000);
	is($client->response(head => 1)->status, $status, "the head of a $status");
	my $second = send_bytes(payment($key));
	my $next = call(timeout => 5);
	ok($next, 'who comes again now is not told that the key is in use') or diag $second->response->code;
	if ($next) {
		is(unit_key($next), $first, 'and goes to Unit with the same key');
		$next->answer(201, '{}');
		is($second->response->status, 201, 'and gets an answer');
	}
	$call->close;
	$_->close for $client, $second;
}

# -- reload while it is under way ------------------------------------------------------------------

$client = send_bytes(payment($key = key()));
$call = call();
ok($t->reload(wait => 0), 'a reload');
is(again(payment($key))->code, 'idempotency_key_in_use', 'new workers know of it');
$call->answer(201, '{"n":"old"}');
is($client->response->body, '{"n":"old"}', 'old ones end it');
is(again(payment($key))->body, '{"n":"old"}', 'and what they kept is there');
$client->close;

$t->stop;

# -- a zone that is too small --------------------------------------------------------------------------

$up->close;
$up = UnitGateway::Upstream->new;
my $small = UnitGateway->new(upstream => $up->address, sandbox => 0, zone => '128k', partners => \%partners, connections => 4096,
	servers => server(PASS => 'unit_idempotency_full pass;'))->start;
$t = $small;
writes_through($t, $up);

# answers, more than it holds: the last are there, the first are forgotten
my @clients;
$client = $t->connect;
for my $n (1 .. 300) {
	$client->send(payment("small-$n"));
	call()->answer(201, qq({"n":$n}));
	$client->response;
}
is(replayed(again(payment('small-300'))), 'true', 'the last one is kept');
$client->send(payment('small-1'));
$call = $up->call(timeout => 5);
ok($call, 'the first was forgotten, and is tried again') and $call->answer(201, '{}');
$client->response;
$client->close;

# leases until it is full: refused, not done without one
my (@open, $full);
for my $n (1 .. 1000) {
	my $client = send_bytes(payment("held-$n"));
	push @clients, $client;
	my $call = $up->call(timeout => 0.3 * UnitGateway::Process::SLOW);
	if (!$call) {
		$full = $client;
		last;
	}
	push @open, $call;
}
cmp_ok(scalar @open, '>', 100, 'many at the same time');
$r = $full->response;
is($r->status . ' ' . $r->code, '503 broker_unavailable', 'one more is refused');
ok($r->header('Retry-After'), 'for a while');
ok($up->quiet(0), 'and not sent');
is(again(payment('held-1'))->code, 'idempotency_key_in_use', 'the first is not forgotten');
is(again(payment('held-' . @open))->code, 'idempotency_key_in_use', 'nor the last');
is(again(payment('held-1', body => '{"data":{"type":"bookPayment","attributes":{}}}'))->code, 'idempotency_key_reused', 'nor what they are');

# unless the operator prefers that
$client = $t->connect(port => 'PASS');
$client->send(payment('passed'));
$call = $up->call;
like($call->body, qr/"idempotencyKey":"[A-Za-z0-9_-]{43}"/, 'unit_idempotency_full pass: sent, with its key');
$call->answer(201, '{}');
is($client->response->status, 201, 'and answered');
$client->close;

# room again
my $n = 0;
$_->answer(201, '{"held":' . ++$n . '}') for @open;
for my $i (0 .. $#open) {
	$clients[$i]->response->status == 201 or fail("held $i is answered"), last;
}
$_->close for @clients;
is(again(payment("held-$n"))->body, qq({"held":$n}), 'their answers are kept');
my $new = send_bytes(payment('room'));
call()->answer(201, '{}');
is($new->response->status, 201, 'and there is room again');
$new->close;

unlike($t->error_log, qr/no memory/, 'a full zone is not worth a line in the log');

$t->done;
