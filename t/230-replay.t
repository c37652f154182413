#!/usr/bin/perl

# Unit refuses a token with 401: it is forgotten and the request sent once more
# with a new one, the same request in every byte. A second 401 is the client's
# to see. What was streamed cannot be sent again; what the organisation's token
# is refused for is our trouble, not the client's.
#
# P2, P4 (internal redirects), P8 (bodies that are sent twice).

use strict;
use warnings;

use Test::More;
use UnitGateway;
use UnitGateway::Config qw(back_end);
use UnitGateway::Upstream;

my $doc = '{"errors":[{"status":"401","title":"Unit says no","code":"of_unit"}]}';

# -- against the sandbox: revoked ------------------------------------------------------

my $t = UnitGateway->new(http2 => 1, partners => {
	back => back_end(),
})->start;
my $sandbox = $t->sandbox;
my $tags = {data => {type => 'individualCustomer', attributes => {tags => {a => "\x{e4}" x 40}}}};
my $serial = 0;

sub calls {
	my ($mark) = @_;
	return map { "$_->{method} $_->{path}" . (length $_->{query} ? "?$_->{query}" : '') . " $_->{status}" } $sandbox->journal($mark);
}

for (
	[GET => '/accounts', {}, 200],
	[GET => '/transactions?page[limit]=2&sort=-createdAt&filter%5BcustomerId%5D=10001', {}, 200],
	[HEAD => '/accounts/1001', {}, 200],
	[PATCH => '/customers/me', {json => $tags}, 200],
	[PATCH => '/customers/10001?x=1', {body => '{"data" : {"type":"individualCustomer","attributes":{"tags":{"b":"2"}}}}   ', type => 'application/vnd.api+json'}, 200],
	[POST => '/accounts', {json => {data => {
		type => 'depositAccount', attributes => {depositProduct => 'checking'},
		relationships => {customer => {data => {type => 'customer', id => '10001'}}},
	}}, headers => ['Idempotency-Key' => 'replay-1']}, 201],
	[POST => '/accounts?chunked', {chunked => [
		'{"data":{"type":"depositAccount","attributes":{"depositProduct":"checking"},"rel',
		'ationships":{"customer":{"data":{"type":"customer","id":"10001"}}}}}',
	], type => 'application/vnd.api+json'}, 201],
) {
	my ($method, $target, $o, $want) = @$_;
	my $name = "$method $target";
	# the scope of it is in the cache, then refused by Unit
	my @who = (token => $t->jwt(sub => 'alice', claims => {sid => 'r' . ++$serial}));
	$t->request($method, $target, %$o, @who, headers => []);
	$sandbox->revoke('10001');
	my $mark = $sandbox->mark;
	my $id = sprintf 'replay-test-%06d', $serial;
	my $r = $t->request($method, $target, %$o, @who, headers => [@{$o->{headers} // []}, 'X-Request-Id' => $id]);
	is($r->status, $want, "$name: served");
	my $path = $target =~ s{/me\b}{/10001}r;
	is_deeply([calls($mark)], ["$method $path 401", 'POST /customers/10001/token 201', "$method $path $want"], "$name: refused, minted, sent again");
	my ($first, $mint, $second) = $sandbox->journal($mark);
	my $old = delete $first->{headers}{authorization};
	my $new = delete $second->{headers}{authorization};
	isnt($new, $old, "$name: with another token");
	is_deeply($second->{headers}, $first->{headers}, "$name: the same head");
	is($second->{body}, $first->{body}, "$name: the same body");
	my $line = $t->logs->wait_access(sub { $_->{request_id} eq $id });
	is("$line->{attempts} $line->{token} $line->{method} $line->{status}", "2 minted $method $want", "$name: the log knows");
	is($r->header('X-Request-Id'), $id, "$name: one request id");
	is(scalar $r->headers('Cache-Control'), 1, "$name: headers once");

	$mark = $sandbox->mark;
	next if $method eq 'POST';
	is($t->request($method, $target, %$o, @who)->status, $want, "$name: again");
	is(scalar $sandbox->journal($mark), 1, "$name: the new token is cached");
}

# HTTP/2
my $h2 = $t->h2(GET => '/accounts', as => 'alice');
$sandbox->revoke('10001');
my $mark = $sandbox->mark;
is($t->h2(GET => '/accounts', as => 'alice')->status, 200, 'over HTTP/2 too');
is(scalar(calls($mark)), 3, 'three calls');

# many at once are refused together: none is lost, and the token is not made for each
my $bytes = $t->bytes(GET => '/accounts', as => 'alice');
$sandbox->revoke('10001');
$mark = $sandbox->mark;
my @all = $t->many([($bytes) x 60], together => 1);
is(scalar(grep { ref && $_->status == 200 } @all), 60, 'sixty at once are served');
my $mints = grep { $_->{path} =~ /token/ } $sandbox->journal($mark);
cmp_ok($mints, '>=', 1, 'with new tokens');
cmp_ok($mints, '<=', 3, 'of which there are few');

# the pin on the organisation's calls is there once, before and after
my @caller = (token => $t->jwt(sub => 'alice'));
$mark = $sandbox->mark;
$t->get('/ready-to-launch/accounts?page[limit]=5', @caller);
my ($pinned) = $sandbox->journal($mark);
is(scalar(() = $pinned->{query} =~ /filter\[userId\]=alice/g), 1, 'filter[userId] is pinned') or diag $pinned->{query};
is($pinned->{token_kind}, 'org', 'and the call goes with the organisation\'s token');

# -- our own credential is refused ---------------------------------------------------

my @back = (token => $t->jwt(sub => 'batch', claims => {iss => 'https://back.example.test/'}));
for (
	['a partner back end' => '/customers/10002', [@back]],
	['a pinned call' => '/ready-to-launch/accounts', [@caller]],
) {
	my ($name, $target, $who) = @$_;
	$sandbox->fault(GET => $target, {status => 401, headers => {'WWW-Authenticate' => 'Bearer realm="unit"'}}, 2);
	$mark = $sandbox->mark;
	my $client = $t->connect;
	$client->send($t->bytes(GET => $target, @$who));
	my $r = $client->response;
	is($r->status . ' ' . $r->code, '503 broker_unavailable', "$name: 503 broker_unavailable");
	like($r->header('Retry-After'), qr/\A[1-9]\d?\z/, "$name: Retry-After");
	ok(!$r->headers('WWW-Authenticate'), "$name: no challenge");
	is(scalar $sandbox->journal($mark), 1, "$name: not sent again");
	$client->send($t->bytes(GET => '/nope', as => 'alice'));
	is($client->response->status, 404, "$name: the connection goes on");
	$sandbox->clear_faults;
	is($t->get($target, @$who)->status, 200, "$name: nothing is remembered");
}

# -- refused again ------------------------------------------------------------------------

$t->get('/accounts', as => 'alice');
$sandbox->fault(GET => '/accounts', {status => 401, body => $doc, headers => {
	'WWW-Authenticate' => 'Bearer realm="unit"', 'Content-Type' => 'application/vnd.api+json',
}}, 2);
$mark = $sandbox->mark;
my $r = $t->get('/accounts', as => 'alice');
is($r->status . $r->body, "401$doc", "Unit's second 401 reaches the client unchanged");
ok(!$r->headers('WWW-Authenticate'), 'without a challenge that is not for the client');
is_deeply([calls($mark)], ['GET /accounts 401', 'POST /customers/10001/token 201', 'GET /accounts 401'], 'after two tries');
$mark = $sandbox->mark;
is($t->get('/accounts', as => 'alice')->status, 200, 'the next request');
is_deeply([calls($mark)], ['POST /customers/10001/token 201', 'GET /accounts 200'], 'gets a new token: that one was forgotten, too');

# no new token is to be had: the client learns why
is($t->patch('/customers/me', as => 'alice', json => $tags)->status, 200, 'a write');
$sandbox->revoke('10001');
$sandbox->fault(POST => '/customers/10001/token', {status => 500});
$mark = $sandbox->mark;
my $client = $t->connect;
$client->send($t->bytes(PATCH => '/customers/me', as => 'alice', json => $tags));
$r = $client->response;
is($r->status . ' ' . $r->code, '502 upstream_unavailable', 'no new token: 502 upstream_unavailable');
is_deeply([calls($mark)], ['PATCH /customers/10001 401', 'POST /customers/10001/token 500'], 'and nothing sent again');
$client->send($t->bytes(PATCH => '/customers/me', as => 'alice', json => $tags));
is($client->response->status, 200, 'the connection and the next request are fine');
$t->stop;

# -- an upstream of our own: uploads, and an answer with much body ------------------------------

my $up = UnitGateway::Upstream->new;
$t = UnitGateway->new(
	upstream => $up->address, sandbox => 0, http => 'unit_allow fire-event;',
	partners => {back => back_end()},
)->start;

# an operation whose body is passed on as it comes: what comes with the head is
# kept all the same, what comes later is not
for (
	['no body' => {}, 0],
	['a body of nothing' => {body => ''}, 0],
	['a body' => {body => '{"a": 1}', type => 'application/vnd.api+json'}, 0],
	['chunks' => {chunked => ['{', '"a": 1}'], type => 'application/vnd.api+json'}, 0],
	['a late body' => {body => '{"a": 1}', type => 'application/vnd.api+json'}, 1],
	['late chunks' => {chunked => ['{', '"a": 1}'], type => 'application/vnd.api+json'}, 1],
) {
	my ($name, $o, $late) = @$_;
	my @who = (token => $t->jwt(sub => 'alice', claims => {sid => $name}));
	my $bytes = $t->bytes(POST => '/events/1801', %$o, @who);
	my ($head, $body) = $bytes =~ /\A(.*?\r\n\r\n)(.*)\z/s;
	$client = $t->connect;
	$client->send($late ? $head : $bytes);
	$up->grant(token => 'v2.public.first');
	my $call = $up->call;
	is($call->line, 'POST /events/1801 HTTP/1.1', "streamed, $name: sent");
	$client->send($body) if $late;
	my $sent = $call->body;
	is($sent, $o->{chunked} ? join '', @{$o->{chunked}} : $o->{body} // '', "streamed, $name: with its body");
	$call->answer(401, $doc);
	if ($late) {
		$r = $client->response;
		is($r->status . $r->body, "401$doc", "streamed, $name: Unit's 401 for the client");
		ok($up->quiet(0.05), "streamed, $name: not sent again");
		$client = $t->connect;
		$client->send($bytes);
	}
	$call = $up->call;
	is($call->target, '/customers/10001/token', "streamed, $name: the token is forgotten");
	$call->token(token => 'v2.public.second');
	$call = $up->call;
	is($call->line . ' ' . $call->header('Authorization'), 'POST /events/1801 HTTP/1.1 Bearer v2.public.second', "$name: sent again");
	is($call->body, $sent, "streamed, $name: the same body");
	$call->answer(200, '{"data":null}');
	is($client->response->status, 200, "streamed, $name: served");
}

# the refused answer leaves nothing behind
my @who = (token => $t->jwt(sub => 'alice', claims => {sid => 'leftovers'}));
$client = $t->connect;
$client->send($t->bytes(GET => '/cards', @who));
$up->grant(token => 'v2.public.first');
$up->call->answer(
	401, 'x' x 100_000, Location => '/of-the-refused', 'Set-Cookie' => 'a=refused', Refresh => '1', 'X-Refused' => '1',
	'Last-Modified' => 'Sun, 06 Nov 1994 08:49:37 GMT', ETag => '"refused"', 'Accept-Ranges' => 'bytes',
	'X-Accel-Redirect' => '/accounts', map { ("X-Refused-$_" => $_) } 1 .. 40,
);
$up->grant(token => 'v2.public.second');
my $call = $up->call;
is($call->target, '/cards', 'the same target');
$call->answer(200, '{"data":[]}');
$r = $client->response;
is($r->status . $r->body, '200{"data":[]}', 'the second answer alone');
is_deeply(
	[grep { !/\A(?:server|date|content-type|content-length|connection|cache-control|x-request-id)\z/ } $r->header_names], [],
	'nothing of the first in its head',
);

# the client leaves while the new token is made
@who = (token => $t->jwt(sub => 'alice', claims => {sid => 'leaves'}));
$client = $t->connect;
$client->send($t->bytes(GET => '/cards', @who));
$up->grant(token => 'v2.public.first');
$up->call->answer(401, $doc);
$call = $up->call;
$client->abort;
$call->token(token => 'v2.public.second');
$client = $t->connect;
$client->send($t->bytes(GET => '/cards', @who));
my %seen;
while ($call = $up->call(timeout => 0.2)) {
	$seen{$call->line . ' ' . $call->header('Authorization')}++;
	$call->answer(200, '{"data":[]}');
}
is($client->response->status, 200, 'a client leaves while a token is made: the next is served');
is_deeply([keys %seen], ['GET /cards HTTP/1.1 Bearer v2.public.second'], 'with that token');

$t->done;
