#!/usr/bin/perl

# What is kept of an answer, and what is not: 2xx and final 4xx, whole, up to
# 64 KB, byte by byte; never 401, 403, 408, 409, 429, 5xx or what was cut off:
# then the outcome is unknown, and the next try goes to Unit with the same key.
# A client that leaves does not end its write, and its answer is kept.
#
# P6, P17 (success is not success), P19 (client abort), P23, P27.

use strict;
use warnings;

use Test::More;
use UnitGateway;
use UnitGateway::Config qw(back_end);
use UnitGateway::Process qw(wait_until);
use UnitGateway::Upstream;
use UnitGateway::Writes qw(writes_through who key payment freeze call unit_key send_bytes again replayed);

use constant KB64 => 65536;

my $up = UnitGateway::Upstream->new;
my %partners = (back => back_end());
my $gzip = 'gzip on; gzip_types *; gzip_min_length 20; gzip_proxied any;';
my $t = UnitGateway->new(upstream => $up->address, sandbox => 0, http2 => 1, workers => 2, partners => \%partners, server => $gzip)->start;
writes_through($t, $up);

# -- what is kept --------------------------------------------------------------------------

sub whole { my ($status, $body, @head) = @_; return join("\r\n", "HTTP/1.1 $status X", @head, 'Content-Length: ' . length $body) . "\r\n\r\n$body" }
sub chunked { my ($status, @chunks) = @_; return join '', "HTTP/1.1 $status X\r\nContent-Type: a/b\r\nTransfer-Encoding: chunked\r\n\r\n", map({ sprintf "%x\r\n%s\r\n", length, $_ } @chunks), "0\r\n\r\n" }

my $binary = join '', map { chr } 0 .. 255;
my %kept = (
	'201' => whole(201, '{"a":1}', 'Content-Type: application/vnd.api+json'),
	'200 with another type' => whole(200, '<a>', 'Content-Type: text/html; charset=latin1'),
	'201 without a type' => whole(201, 'abc'),
	'201 without a body' => whole(201, ''),
	'204' => "HTTP/1.1 204 X\r\n\r\n",
	'202' => whole(202, 'x', 'Content-Type: a/b'),
	(map { ($_ => whole($_, qq({"status":$_}), 'Content-Type: application/vnd.api+json')) } 400, 404, 405, 410, 412, 413, 415, 422, 499),
	'any bytes' => whole(201, $binary, 'Content-Type: a/b'),
	'chunks' => chunked(201, 'abc', 'def', $binary),
	'chunks of nothing' => chunked(201),
	'64 KB' => whole(201, 'x' x KB64, 'Content-Type: a/b'),
	'64 KB in chunks' => chunked(201, ('y' x 8192) x 8),
	'a coding' => whole(201, "\x1f\x8b fake", 'Content-Type: a/b', 'Content-Encoding: gzip'),
	'much that compresses' => whole(201, 'abc ' x 5000, 'Content-Type: application/vnd.api+json'),
	(map { ("$_ bytes" => whole(201, 'z' x $_, 'Content-Type: a/b')) } 1, 60, 61, 62, 63, 64, 65, 100, 500, 1000, 1024, 1060, 2000, 4000, 4100, 5000, 20000, 65535),
);
for my $name (sort keys %kept) {
	my $key = key();
	for my $bytes (payment($key), freeze($key)) {
		my $client = send_bytes($bytes);
		call()->end($kept{$name});
		my $first = $client->response;
		$client->close;
		my $again = again($bytes);
		is(replayed($again), 'true', "$name: kept") or $up->call->answer(500);
		is($again->status, $first->status, "$name: the status");
		ok($again->body eq $first->body, "$name: the body");
		is($again->header($_), $first->header($_), "$name: $_") for qw(Content-Type Content-Encoding);
		is($again->header('Content-Length'), $first->status == 204 ? undef : length $first->body, "$name: the length");
	}
}

# what the client takes decides about its coding, not what the first one took
my $key = key();
my $client = send_bytes(payment($key));
call()->answer(200, 'abc ' x 5000);
is($client->response->header('Content-Encoding'), undef, 'plain');
my $r = again(payment($key, headers => ['Accept-Encoding' => 'gzip']));
is($r->header('Content-Encoding') . replayed($r), 'gziptrue', 'and packed for another');
$client = send_bytes(payment($key = key(), headers => ['Accept-Encoding' => 'gzip']));
call()->answer(200, 'abc ' x 5000);
is($client->response->header('Content-Encoding'), 'gzip', 'packed');
ok(again(payment($key))->body eq 'abc ' x 5000, 'and plain for another');
ok($up->quiet(0), 'nobody was asked');

# HEAD of it, conditions and ranges do not change what is kept
$client = send_bytes(payment($key = key(), headers => ['If-None-Match' => '*', 'If-Match' => '"x"', Range => 'bytes=0-1', 'If-Modified-Since' => 'Thu, 01 Jan 2037 00:00:00 GMT']));
call()->answer(200, '{"a":"bcdef"}', ETag => '"y"', 'Last-Modified' => 'Thu, 01 Jan 2026 00:00:00 GMT');
is($client->response->status, 200, 'conditions are not looked at');
is(again(payment($key))->body, '{"a":"bcdef"}', 'nor kept');

# -- what is not -----------------------------------------------------------------------------

my %lost = (
	(map { ($_ => whole($_, qq({"status":$_}), 'Content-Type: application/vnd.api+json')) } 403, 409, 300, 302, 304),
	'cut off' => substr(whole(201, 'x' x 100), 0, -1),
	'cut off in chunks' => substr(chunked(201, 'abc'), 0, -1),
	'cut off between chunks' => substr(chunked(201, 'abc'), 0, -5),
	'without an end' => "HTTP/1.1 201 X\r\nContent-Type: a/b\r\n\r\nabc",
	'64 KB and a byte' => whole(201, 'x' x (KB64 + 1)),
	'64 KB and a byte in chunks' => chunked(201, ('y' x 8192) x 8, 'z'),
	'a type too long' => whole(201, 'x', 'Content-Type: ' . 'a' x 256),
	'1 MB' => whole(201, 'x' x 1048576),
);
for my $name (sort keys %lost) {
	my $bytes = payment($key = key());
	$client = send_bytes($bytes);
	my $call = call();
	my $first = unit_key($call);
	$call->end($lost{$name});
	$client->response(cut => 1);
	$client->close;

	# another request is told so, not sent
	is(again(payment($key, body => '{"data":{"type":"bookPayment","attributes":{"amount":101}}}'))->code, 'idempotency_key_reused', "$name: the key is taken");
	$client = send_bytes($bytes);
	$call = call();
	is(unit_key($call), $first, "$name: tried again, with the same key");
	$call->answer(201, '{"n":2}');
	$r = $client->response;
	is($r->body . replayed($r), '{"n":2}', "$name: answered by Unit");
	$client->close;
	is(replayed(again($bytes)), 'true', "$name: and kept then");
}

# of a write that we do not repeat, the statuses that we would repeat others for
for my $status (401, 408, 429, 500, 501, 502, 503, 504, 599) {
	my $bytes = freeze($key = key());
	$client = send_bytes($bytes);
	call()->answer($status, '{}');
	$r = $client->response;
	is($r->status, $status == 401 ? 503 : $status, "status $status");
	$client->close;
	$client = send_bytes($bytes);
	call()->answer(200, '{}');
	is(replayed($client->response), '', "status $status: tried again");
	$client->close;
}

# what is garbage is not repeated, and not kept
for my $garbage ("garbage\r\n\r\n", "HTTP/1.1 201 Created\r\nX: " . 'x' x 40_000 . "\r\n\r\n", "HTTP/1.1 100 Continue\r\n\r\n" . whole(201, '{}')) {
	my $bytes = payment($key = key());
	$client = send_bytes($bytes);
	call()->end($garbage);
	is($client->response->code, 'upstream_invalid', 'garbage');
	$client->close;
	ok($up->quiet(0), 'is not repeated');
	$client = send_bytes($bytes);
	call()->answer(201, '{}');
	is(replayed($client->response), '', 'but may be tried again');
	$client->close;
}

# Unit answering twice: the first answer counts, and the connection is not used again
$client = send_bytes(payment($key = key()));
my $call = call();
my $connection = $call->connection;
$call->send(whole(201, '{"n":1}') . whole(201, '{"n":2}'));
is($client->response->body, '{"n":1}', 'two answers: the first');
$call->done;
is(again(payment($key))->body, '{"n":1}', 'is kept');
$client->send(payment(key()));
$call = call();
isnt($call->connection, $connection, 'and the connection is done with');
$call->answer(201, '{"n":3}');
is($client->response->body, '{"n":3}', 'the next one gets its own');
$client->close;

# -- a client that leaves ------------------------------------------------------------------------

my $big = '"' . 'x' x (KB64 - 2) . '"';
for my $o (
	['closes' => sub { $_[0]->close }], ['resets' => sub { $_[0]->abort }], ['half closes' => sub { $_[0]->shutdown_write }],
) {
	my ($how, $leave) = @$o;
	for my $answer ('{"n":1}', $big) {
		my $size = length $answer;
		$client = send_bytes(payment($key = key()));
		$call = call();
		$leave->($client);
		ok($up->quiet(0.05), "a client that $how: the write goes on");
		is(again(payment($key))->code, 'idempotency_key_in_use', "$how: and is still under way");
		$call->answer(201, $answer);
		ok(wait_until(5, sub { $r = again(payment($key)); $r->code ne 'idempotency_key_in_use' }), "$how: it ends");
		ok(replayed($r) && $r->body eq $answer, "$how: an answer of $size bytes is kept") or diag $r->head;
		$client->close;
	}

	# in the middle of the answer, in pieces
	$client = send_bytes(payment($key = key()));
	$call = call();
	$call->send("HTTP/1.1 201 X\r\nContent-Length: " . KB64 . "\r\n\r\n" . substr $big, 0, 20_000);
	$client->readable;
	$leave->($client);
	for (1 .. 4) {
		$call->send(substr $big, 10_000 + 10_000 * $_, 10_000);
		ok($up->quiet(0.02), "$how: piece $_");
	}
	$call->send(substr $big, 60_000);
	$call->done;
	ok(wait_until(5, sub { $r = again(payment($key)); $r->code ne 'idempotency_key_in_use' }), "$how in the middle: it ends");
	ok(replayed($r) && $r->body eq $big, "$how in the middle: all of it is kept") or $up->call->answer(500);
	$client->close;
}

# a read is given up
$client = send_bytes($t->bytes(GET => '/accounts', who()));
$call = call();
$client->close;
ok($call->closed, 'a read whose client has left is given up');
$call->close;

# over HTTP/2: a reset stream, a closed connection
for my $how ('stream', 'connection') {
	for my $answer ('{"n":1}', $big) {
		my $h2 = $t->h2_connect;
		my %body = (type => 'application/vnd.api+json', body => UnitGateway::Writes::PAYMENT);
		my $id = $h2->open($t->h2_headers(POST => '/payments', who(), %body, headers => ['Idempotency-Key' => $key = key()]));
		$h2->data($id, $body{body}, end => 1);
		$call = call();
		$how eq 'stream' ? $h2->reset($id) : $h2->close;
		ok($up->quiet(0.05), "HTTP/2, $how: the write goes on");
		$call->answer(201, $answer);
		ok(wait_until(5, sub { $r = again(payment($key)); $r->code ne 'idempotency_key_in_use' }), "HTTP/2, $how: it ends");
		ok(replayed($r) && $r->body eq $answer, "HTTP/2, $how: its answer is kept") or diag($r->head), $up->call->answer(500);
		$h2->close;
	}
}

# before anything was sent it leaves nothing
my $sent = payment($key = key());
$client = send_bytes(substr $sent, 0, -5);
$client->close;
$client = send_bytes(payment($key, body => '{"data":{"type":"bookPayment","attributes":{"amount":5}}}'));
call()->answer(201, '{}');
is($client->response->status, 201, 'a client that left in the middle of its request leaves the key free');
$client->close;

$t->done;
