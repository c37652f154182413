#!/usr/bin/perl

# What goes to Unit and what comes back: of the client's head only the names of
# the allow-list, in no spelling anything else, never the client's token; bodies
# byte for byte, uploads while they come in; of Unit's head nothing that names,
# sets or asks for credentials. Time is given by the class of the operation.
#
# P13, P20, P21, P22 (headers), P8, P10 (bodies), P11 (uploads are not read early).

use strict;
use warnings;

use Digest::SHA 'sha256_hex';
use Test::More;
use Time::HiRes ();
use UnitGateway;
use UnitGateway::Config qw(back_end);
use UnitGateway::Upstream;

my $up = UnitGateway::Upstream->new(timeout => 20);
my $t = UnitGateway->new(
	upstream => $up->address, sandbox => 0, http2 => 1, partners => {back => back_end()},
	server => 'underscores_in_headers on; ignore_invalid_headers off;', location => 'unit_pass_header X-Extra x-more;',
)->start;
my @back = (token => $t->jwt(sub => 'batch', claims => {iss => 'https://back.example.test/'}));
my $client = $t->connect;

# alice has a token before we begin
$client->send($t->bytes(GET => '/accounts', as => 'alice'));
$up->grant;
$up->call->answer(200, '{"data":[]}');
$client->response;

sub now { return Time::HiRes::clock_gettime(Time::HiRes::CLOCK_MONOTONIC()) }

# One call: what Unit got and what the client got.
sub through {
	my ($method, $target, %o) = @_;

	my @answer = @{delete $o{answer} // [200, '{"data":[]}']};
	my $client = $t->connect(timeout => 20);
	$client->send($t->bytes($method, $target, as => 'alice', %o));
	my $call = $up->call(timeout => 5) // die "$method $target: no call, but " . $client->response->head;
	$call->answer(@answer);
	return ($call, $client->response(head => $method eq 'HEAD'));
}

# -- the time of an operation; the rest is tested meanwhile --------------------------------

my $five = $t->connect(timeout => 20);
$five->send($t->bytes(GET => '/accounts/1001', as => 'alice'));
my $waits = $up->call;
is($waits->target, '/accounts/1001', 'an operation of 5 s');
my $long = $t->connect(timeout => 20);
$long->send($t->bytes(POST => '/applications', @back, json => {data => {type => 'businessApplication', attributes => {}}}));
my $longer = $up->call;
is($longer->target, '/applications', 'and one of 120 s');
my $start = now();

# -- request headers ------------------------------------------------------------------

my @must = qw(authorization host x-request-id);
my ($call, $r) = through(GET => '/accounts');
is_deeply([$call->header_names], \@must, 'a bare request');
is($call->line, 'GET /accounts HTTP/1.1', 'the line');
is($call->header('Host'), $up->address, 'the host of the upstream');
is($call->header('Authorization'), 'Bearer ' . UnitGateway::Upstream::TOKEN, 'the token of Unit');

my %allowed = (
	Accept => 'application/vnd.api+json', 'Accept-Language' => 'de', 'Content-Type' => 'application/vnd.api+json',
	'User-Agent' => 'mine/1.0', traceparent => '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01', tracestate => 'a=b',
	'X-Unit-SDK' => 'unit-node-sdk@v1', 'X-Accept-Version' => 'V2024_06', 'X-Extra' => 'one', 'X-More' => 'two',
);
($call, $r) = through(GET => '/accounts', headers => [%allowed]);
is_deeply([$call->header_names], [sort @must, map { lc } keys %allowed], 'all of the allow-list');
is($call->header($_), $allowed{$_}, $_) for sort keys %allowed;
($call, $r) = through(GET => '/accounts', headers => [map { (uc $_ => $allowed{$_}) } keys %allowed]);
is_deeply([$call->header_names], [sort @must, map { lc } keys %allowed], 'in capitals');

my @refused = qw(
	Cookie Cookie2 X-Forwarded-For X-Forwarded-Host X-Forwarded-Proto X-Forwarded-Port X-Real-IP Forwarded Via
	X-HTTP-Method-Override X-HTTP-Method X-Method-Override X-Original-URL X-Rewrite-URL X-Original-Method
	Proxy-Authorization Proxy-Connection Proxy-Authenticate Keep-Alive TE Trailer Upgrade HTTP2-Settings
	Unit-Customer Idempotency-Key Range If-Range If-Match If-None-Match If-Modified-Since If-Unmodified-Since
	Accept-Encoding Accept-Charset Cache-Control Pragma Origin Referer Content-Encoding Content-Language
	X-Accel-Redirect X-Accel-Internal X-Authorization X-Auth-Token Authorization2 X-Unit-Token X-Api-Key Host2
	Early-Data Max-Forwards From DNT Sec-Fetch-Mode X-Client-Cert X-SSL-Client-Verify Client-IP True-Client-IP
	X-Extra2 X-Extr X-Unit-SDK2 X-Request-Id2 Content-Disposition Transfer_Encoding
);
my %value = (
	'Unit-Customer' => '10001', TE => 'trailers', Range => 'bytes=0-1', 'If-None-Match' => '"x"', 'Idempotency-Key' => 'k',
	'If-Modified-Since' => 'Sun, 06 Nov 1994 08:49:37 GMT', 'Content-Encoding' => 'identity',
);
for my $spell (sub { $_[0] }, sub { lc $_[0] }, sub { uc $_[0] }, sub { $_[0] =~ tr/-/_/r }) {
	($call, $r) = through(GET => '/accounts', headers => [map { ($spell->($_) => $value{$_} // 'evil') } @refused]);
	is_deeply([$call->header_names], \@must, 'none of the others: ' . $spell->('X-Forwarded-For'));
	is($r->status . $r->body, '200{"data":[]}', 'and they change no answer');
}
($call, $r) = through(GET => '/accounts', headers => [map { (tr/-/_/r => 'evil') } keys %allowed, 'X-Request-Id', 'Content-Length']);
is_deeply([$call->header_names], [sort @must, map { lc } grep { !/-/ } keys %allowed], 'nor the allowed ones with underscores');

for my $connection (
	'X-Unit-SDK, Accept, User-Agent', 'close, X-Unit-SDK, accept , USER-AGENT', "x-unit-sdk,accept\t,user-agent,,", 'keep-alive,X-Unit-SDK,Accept,User-Agent',
) {
	($call, $r) = through(GET => '/accounts', headers => [%allowed, Connection => $connection]);
	my %left = %allowed;
	delete @left{qw(X-Unit-SDK Accept User-Agent)};
	is_deeply([$call->header_names], [sort @must, map { lc } keys %left], "Connection: $connection");
}
($call, $r) = through(GET => '/accounts', headers => [%allowed, Connection => 'Accept', Connection => 'User-Agent', Connection => 'Authorization, X-Request-Id, Host']);
is_deeply(
	[$call->header_names], [sort @must, map { lc } grep { !/\A(?:Accept|User-Agent)\z/ } keys %allowed],
	'named in several of them; what is ours cannot be named away',
);
($call, $r) = through(GET => '/accounts', headers => ['X-Extra' => 'one', 'X-Extra' => 'two']);
is_deeply([$call->headers('X-Extra')], ['one', 'two'], 'repeated ones stay so');

# over HTTP/2
my $h2 = $t->h2_connect;
my $id = $h2->open($t->h2_headers(GET => '/accounts', as => 'alice', headers => [
	%allowed, te => 'trailers', cookie => 'a=1', cookie => 'b=2', 'x-forwarded-for' => '192.0.2.1', 'x-http-method-override' => 'DELETE',
]), end => 1);
$call = $up->call;
is_deeply([$call->header_names], [sort @must, map { lc } keys %allowed], 'the same over HTTP/2');
$call->answer(200, '{"data":[]}');
is($h2->response($id)->status, 200, 'answered');
$h2->close;

# the client's token is in nothing that went out
my $jwt = $t->jwt(sub => 'alice');
unlike(join("\n", $call->line, map { @$_ } @{$call->{headers}}), qr/\Q$jwt\E|eyJ/, 'the client\'s token stays here');

# -- the request id ----------------------------------------------------------------------

my %ids = ('a' x 16 => 1, 'A0-z' x 16 => 1, 'a' x 15 => 0, 'a' x 65 => 0, 'a_' x 10 => 0, 'a' x 20 . ' b' => 0, 'a' x 20 . '"' => 0, "\xe4" x 20 => 0);
for my $id (sort keys %ids) {
	($call, $r) = through(GET => '/accounts', headers => ['X-Request-Id' => $id], answer => [200, '{}', 'X-Request-Id' => 'of-unit-of-unit-of-unit']);
	my $got = $r->header('X-Request-Id');
	is($call->header('X-Request-Id'), $got, 'one id for client and Unit');
	$ids{$id} ? is($got, $id, "the client's: $id") : like($got, qr/\A[0-9a-f]{32}\z/, "made, not: $id");
}
($call, $r) = through(GET => '/accounts', headers => ['X-Request-Id' => 'a' x 20, 'x-request-id' => 'b' x 20]);
like($r->header('X-Request-Id'), qr/\A[0-9a-f]{32}\z/, 'two are none');
is(scalar $call->headers('X-Request-Id'), 1, 'and Unit gets one');
my %made = map { $_ => 1 } map { (through(GET => '/accounts'))[1]->header('X-Request-Id') } 1 .. 5;
is(scalar keys %made, 5, 'each its own');

# -- the answer's headers ------------------------------------------------------------------

my $token = UnitGateway::Upstream::TOKEN;
($call, $r) = through(GET => '/accounts', answer => [200, '{"data":[]}',
	'Set-Cookie' => 'a=b', 'set-cookie' => 'c=d', 'Set-Cookie2' => 'x', 'WWW-Authenticate' => 'Bearer', 'Proxy-Authenticate' => 'Basic',
	Authorization => "Bearer $token", 'Proxy-Authorization' => 'x', 'X-Echo' => "got Bearer $token", 'X-Form' => 'v2.public.other',
	'X-FORM2' => 'V2.PUBLIC.other', 'X-Request-Id' => 'of-unit-of-unit-of-unit', 'Cache-Control' => 'public, max-age=999', Expires => 'Thu, 01 Jan 2099 00:00:00 GMT',
	Pragma => 'cache', 'X-Accel-Redirect' => '/x', 'X-Accel-Expires' => '9', 'X-Accel-Buffering' => 'no', 'X-Accel-Charset' => 'x',
	ETag => '"1"', 'Last-Modified' => 'Sun, 06 Nov 1994 08:49:37 GMT', 'Retry-After' => '5', 'X-Kept' => 'v2', 'RateLimit-Limit' => '1000',
]);
is_deeply(
	[map { "$_: " . $r->header($_) } grep { !/\A(?:server|date|connection|x-request-id)\z/ } $r->header_names],
	[
		'cache-control: no-store', 'content-length: 11', 'content-type: application/vnd.api+json', 'etag: "1"',
		'last-modified: Sun, 06 Nov 1994 08:49:37 GMT', 'ratelimit-limit: 1000', 'retry-after: 5', 'set-cookie2: x', 'x-kept: v2',
	], 'of the answer\'s head',
);
is($r->header('Server'), 'nginx', 'and no name of a server behind');
unlike($r->head, qr/\Q$token\E/, 'no token in any header');
for ([403, '{"errors":[]}'], [404, '{"errors":[]}'], [422, '{"errors":[]}']) {
	($call, $r) = through(GET => '/accounts', answer => [@$_, 'Cache-Control' => 'public', 'Set-Cookie' => 'a=b']);
	is($r->header('Cache-Control'), 'no-store', "$_->[0]: no-store");
	ok(!$r->headers('Set-Cookie'), "$_->[0]: no cookie");
}
($call, $r) = through(GET => '/accounts', headers => ['If-None-Match' => '"1"', Range => 'bytes=0-2'], answer => [200, '{"data":[]}', ETag => '"1"', 'Accept-Ranges' => 'bytes']);
is($r->status . $r->body, '200{"data":[]}', 'conditions and ranges of the client do not touch it');

# -- bodies ----------------------------------------------------------------------------------

my $json = '{"data" :{"type":"individualCustomer" , "attributes":{"tags":{"a":"\u00e4\n' . "\xc3\xa4" . ' \/ 1.0e+0"},"x":[1.50,-0,1E40]}}}' . "\r\n  ";
my @type = (type => 'application/vnd.api+json; charset=utf-8');
for my $method ('PATCH') {
	$client = $t->connect;
	$client->send($t->bytes($method => '/customers/10001', as => 'alice', body => $json, @type));
	$up->grant if !$made{granted}++;
	$call = $up->call;
	is($call->body, $json, "$method: every byte of a body");
	is($call->header('Content-Length'), length $json, "$method: its length");
	is($call->header('Content-Type'), $type[1], "$method: its type");
	$call->answer(200, '{}');
	is($client->response->status, 200, "$method: answered");
}
my $large = '{"data":{"type":"individualCustomer","attributes":{"tags":{"a":"' . 'x' x 600_000 . '"}}}}';
for (
	['in pieces' => {body => $large}], ['chunked' => {chunked => [map { substr $large, $_ * 50_000, 50_000 } 0 .. 12]}],
) {
	my ($name, $o) = @$_;
	($call, $r) = through(PATCH => '/customers/10001', %$o, @type);
	is(sha256_hex($call->body), sha256_hex($large), "600 KB $name: every byte");
	is($call->header('Content-Length'), length $large, "600 KB $name: with its length");
	is_deeply([$call->header_names], [sort @must, 'content-length', 'content-type'], "600 KB $name: and no other header");
	is($r->status, 200, "600 KB $name: answered");
}
is(scalar(() = glob $t->dir . '/tmp/*/*'), 0, 'nothing was written to a disk');

# -- uploads ---------------------------------------------------------------------------------

my $file = join '', map { pack 'N', $_ * 2654435761 % 4294967296 } 1 .. 1_310_720;
is(length $file, 5 * 1024 * 1024, '5 MB');
for my $chunked (0, 1) {
	my $name = $chunked ? 'chunks' : 'an upload';
	my $bytes = $t->bytes(PUT => '/applications/1/documents/2', @back, type => 'application/pdf', $chunked ? (chunked => ['x']) : (body => ''));
	$bytes =~ s/Content-Length: 0/'Content-Length: ' . length $file/e;
	$bytes =~ s/\r\n\r\n\K.*//s;
	$client = $t->connect(timeout => 20);
	$client->send($bytes);
	my $sent = substr $file, 0, 1_000_000;
	my $frame = sub { return $chunked ? sprintf("%x\r\n%s\r\n", length $_[0], $_[0]) : $_[0] };
	$client->send($frame->($sent));
	$call = $up->call;
	is($call->line, 'PUT /applications/1/documents/2 HTTP/1.1', "$name: Unit has the head");
	is($call->header('Content-Type'), 'application/pdf', "$name: with its type");
	is($call->header($chunked ? 'Transfer-Encoding' : 'Content-Length'), $chunked ? 'chunked' : length $file, "$name: and length");
	my $got = $call->take(600_000);
	like($got, $chunked ? qr/\A[0-9a-f]+\r\n\Q@{[substr $sent, 0, 16]}\E/ : qr/\A\Q@{[substr $sent, 0, 16]}\E/, "$name: and 600 KB before the rest was sent");
	$call->{c}{client}{buffer} = $got . $call->{c}{client}{buffer};
	# both ends in turns: no side has room for 4 MB
	my $rest = $frame->(substr $file, 1_000_000) . ($chunked ? "0\r\n\r\n" : '');
	while (length $rest) {
		$client->send(substr $rest, 0, 200_000, '');
		$call->{c}{client}->_fill(UnitGateway::Upstream::_now());
	}
	is(sha256_hex($call->body), sha256_hex($file), "$name: every byte");
	$call->answer(200, '{"data":{}}');
	is($client->response->status, 200, "$name: answered");
}

# a client that leaves in the middle takes its call along
$client = $t->connect;
my $bytes = $t->bytes(PUT => '/applications/1/documents/2', @back, type => 'application/pdf', body => '');
$bytes =~ s/Content-Length: 0/Content-Length: 1000/;
$client->send($bytes . 'x' x 10);
$call = $up->call;
is($call->take(10), 'x' x 10, 'an upload begins');
$client->abort;
ok($call->closed, 'and ends with its client');
$client = $t->connect;
$client->send($t->bytes(GET => '/accounts', as => 'alice'));
$call = $up->call;
$client->abort;
ok($call->closed, 'so does a call that waits for its answer');

# -- answers -----------------------------------------------------------------------------------

($call, $r) = through(HEAD => '/accounts/1001');
is($call->line, 'HEAD /accounts/1001 HTTP/1.1', 'HEAD is HEAD');
is($r->header('Content-Length') . length $r->body, '110', 'with a length and no body');
($call, $r) = through(GET => '/accounts', answer => [200, $file, 'Content-Encoding' => 'gzip']);
is(sha256_hex($r->body), sha256_hex($file), 'a large answer, every byte');
is($r->header('Content-Encoding'), 'gzip', 'in its encoding');
is(scalar(() = glob $t->dir . '/tmp/*/*'), 0, 'and not by way of a disk');
($call, $r) = through(GET => '/accounts?x=%41%5B&filter[a]=b%20c&&=&y', answer => [200, '{}']);
is($call->target, '/accounts?x=%41%5B&filter[a]=b%20c&&=&y', 'the query is as it was');

# -- connections to Unit are kept ------------------------------------------------------------------

my $before = $up->accepted;
my %number = map { ((through(GET => '/accounts'))[0]->connection => 1) } 1 .. 10;
is($up->accepted, $before, 'ten requests, no new connection');
is(scalar keys %number, 1, 'all on one');

# -- the time of an operation ----------------------------------------------------------------------

$r = $five->response;
is($r->status . ' ' . $r->code, '504 upstream_timeout', '5 s are over');
my $took = now() - $start;
cmp_ok($took, '>', 4.5, 'after 5 s');
cmp_ok($took, '<', 8 * UnitGateway::Process::SLOW, 'and not much more');
ok($waits->closed, 'the call was given up');
select undef, undef, undef, 0.05 while now() - $start < 5.6;
$longer->answer(201, '{"data":{}}');
is($long->response->status, 201, 'the other one was waited for');

$t->done;
