#!/usr/bin/perl

# Whatever Unit answers to a token call or to a proxied one, the client gets
# the documented status and code in time, the gateway goes on, and so does the
# client's connection; nothing that is not HTTP, no interim answer and no
# redirect of Unit's reaches anybody. Refusals of a token call are remembered
# for a few seconds, failures are not.
#
# P16, P17 (subrequests that end twice, early, too large), P18.

use strict;
use warnings;

use Test::More;
use UnitGateway;
use UnitGateway::Process qw(wait_until);
use UnitGateway::Upstream;

my $up = UnitGateway::Upstream->new;
my $t = UnitGateway->new(upstream => $up->address, sandbox => 0);

# the same settings with less patience
my $broker = do { local (@ARGV, $/) = $t->root . '/conf/unit_broker.conf'; <> };
$broker =~ s/proxy_read_timeout 5s/proxy_read_timeout 500ms/ or die;
$t->write_file('broker.conf', $broker);
my $conf = $t->read_file('nginx.conf');
$conf =~ s{include "[^"]*/unit_broker.conf"}{include "broker.conf"} or die;
$t->write_file('nginx.conf', $conf);
$t->start;

my $serial = 0;
my $doc = '{"errors":[{"status":"4xx","title":"Unit says no","code":"of_unit"}]}';
my $good = '{"data":{"type":"customerBearerToken","attributes":{"token":"v2.public.abcdefghijkl","expiresIn":3600}}}';

sub made { return '{"data":{"type":"customerBearerToken","attributes":{' . $_[0] . '}}}' }

# A caller that nobody has minted for.
sub caller_bytes {
	my ($method, $target, %o) = @_;
	return $t->bytes($method, $target, token => $t->jwt(sub => 'alice', claims => {sid => 's' . ++$serial}), %o);
}

# One request whose token call is answered by CODE; then the same connection
# must still serve.
sub mint {
	my ($name, $code, $status, $error) = @_;

	my $client = $t->connect;
	my $bytes = caller_bytes(GET => '/accounts');
	$client->send($bytes);
	my $call = $up->call;
	like($call->line, qr{\APOST /customers/10001/token HTTP}, "$name: a token call");
	$code->($call);
	my $r = $client->response;
	is($r->status . ' ' . $r->code, "$status $error", "$name: $status $error");
	like($r->header('Retry-After') // '', $status == 503 ? qr/\A[1-9]\d?\z/ : qr/\A\z/, "$name: Retry-After");
	unlike($r->body, qr/of_unit|v2\.public|Unit says/, "$name: nothing of Unit's answer");
	$client->send($t->bytes(GET => '/nope', as => 'alice'));
	is($client->response->status, 404, "$name: the connection goes on");
	$client->close;
	return $bytes;
}

sub again {
	my ($bytes) = @_;
	my $client = $t->connect;
	$client->send($bytes);
	return $client;
}

# -- token calls: answers that refuse ----------------------------------------------

my @late = ([mint(429 => sub { $_[0]->answer(429, $doc) }, 503, 'broker_unavailable'), 'broker_unavailable']);
my %refused = (
	400 => '502 upstream_invalid', 401 => '503 broker_unavailable', 403 => '503 broker_unavailable',
	404 => '403 customer_not_linked', 408 => '502 upstream_invalid', 409 => '502 upstream_invalid',
	422 => '502 upstream_invalid', 429 => '503 broker_unavailable',
);
for my $status (sort keys %refused) {
	my $bytes = mint($status, sub { $_[0]->answer($status, $doc, 'WWW-Authenticate' => 'Bearer') }, split / /, $refused{$status});
	my $r = again($bytes)->response;
	is($r->status . ' ' . $r->code, $refused{$status}, "$status: the same answer again");
}
ok($up->quiet(0.1), 'refusals are remembered: no second call');

# -- token calls: failures -----------------------------------------------------------

for my $status (500, 502, 503, 504, 599) {
	my $bytes = mint($status, sub { $_[0]->answer($status, $doc) }, 502, 'upstream_unavailable');
	my $client = again($bytes);
	$up->grant;
	$up->call->answer(200, '{"data":[]}');
	is($client->response->status, 200, "$status: not remembered");
}

# the same by other means: no second try by us, and not remembered
for (
	['nothing' => sub { $_[0]->close }],
	['a reset' => sub { $_[0]->abort }],
	['half a head' => sub { $_[0]->end("HTTP/1.1 201 Created\r\nContent-Le") }],
) {
	my ($name, $code) = @$_;
	my $bytes = mint($name, $code, 502, 'upstream_unavailable');
	ok($up->quiet(0), "$name: no second call");
	my $client = again($bytes);
	$up->grant;
	$up->call->answer(200, '{"data":[]}');
	is($client->response->status, 200, "$name: not remembered");
}

mint('no answer in time', sub { $_[0]->body }, 504, 'upstream_timeout');
mint('no head in time', sub { $_[0]->send("HTTP/1.1 201 Created\r\n") }, 504, 'upstream_timeout');

# -- token calls: answers that cannot be read -------------------------------------------

my $half = length $good;
my %unreadable = (
	'garbage' => "\x16\x03\x01\x02\0\1\0\1\xfc\3\3garbage\r\n\r\n",
	'much garbage' => 'garbage' x 10_000,
	'a token without a head' => $good,
	'another protocol' => "SSH-2.0-OpenSSH_9.2\r\n",
	'half of the body' => "HTTP/1.1 201 Created\r\nContent-Length: " . 2 * $half . "\r\n\r\n$good",
	'no body of many bytes' => "HTTP/1.1 201 Created\r\nContent-Length: 9\r\n\r\n",
	'half of a chunk' => "HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n$half\r\n" . substr($good, 0, 30),
	'bad chunks' => "HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n$good\r\n0\r\n\r\n",
	'a huge head' => "HTTP/1.1 201 Created\r\nX-A: " . 'x' x 40_000 . "\r\nContent-Length: $half\r\n\r\n$good",
	'an interim answer' => "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created\r\nContent-Length: $half\r\n\r\n$good",
	'another protocol offered' => "HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n$good",
	'a huge answer to the end' => "HTTP/1.1 201 Created\r\n\r\n" . $good . ' ' x 400_000,
);
for my $name (sort keys %unreadable) {
	mint($name, sub { $_[0]->end($unreadable{$name}) }, 502, 'upstream_invalid');
}
mint('a huge answer', sub { $_[0]->answer(201, $good . ' ' x 400_000) }, 502, 'upstream_invalid');

for my $status (204, 300, 302, 304) {
	mint($status, sub { $_[0]->answer($status, '', Location => '/accounts') }, 502, 'upstream_invalid');
}
mint('a 206', sub { $_[0]->answer(206, $good) }, 502, 'upstream_invalid');

my %shape = (
	'an empty 201' => '', 'no JSON' => '<html>', 'cut JSON' => substr($good, 0, -1), 'two documents' => "$good$good",
	'null' => 'null', 'a list' => "[$good]", 'no data' => '{}', 'data of null' => '{"data":null}',
	'a list of data' => '{"data":[{"attributes":{"token":"x","expiresIn":3}}]}',
	'no attributes' => '{"data":{"type":"customerBearerToken"}}',
	'no token' => made('"expiresIn":3600'), 'a token of null' => made('"token":null,"expiresIn":3600'),
	'an empty token' => made('"token":"","expiresIn":3600'), 'a number as token' => made('"token":7,"expiresIn":3600'),
	'a huge token' => made('"token":"' . 'a' x 9000 . '","expiresIn":3600'),
	'a token with CR LF' => made('"token":"aaaaaaaa\r\nX-Evil: 1","expiresIn":3600'),
	'a token with a blank' => made('"token":"aaaaaaaa b","expiresIn":3600'),
	'a token with NUL' => made('"token":"aaaaaaaa\u0000b","expiresIn":3600'),
	'a token with a quote' => made('"token":"aaaaaaaa\"b","expiresIn":3600'),
	'a token beyond ASCII' => made('"token":"aaaaaaaaä","expiresIn":3600'),
	'no expiresIn' => made('"token":"aaaaaaaa"'), 'expiresIn of 0' => made('"token":"aaaaaaaa","expiresIn":0'),
	'a negative expiresIn' => made('"token":"aaaaaaaa","expiresIn":-5'),
	'expiresIn as a string' => made('"token":"aaaaaaaa","expiresIn":"3600"'),
	'expiresIn as a fraction' => made('"token":"aaaaaaaa","expiresIn":3600.5'),
	'expiresIn beyond numbers' => made('"token":"aaaaaaaa","expiresIn":99999999999999999999'),
	'two tokens' => made('"token":"aaaaaaaa","token":"bbbbbbbb","expiresIn":3600'),
	'deep nesting' => '[' x 100_000,
);
for my $name (sort keys %shape) {
	mint($name, sub { $_[0]->answer(201, $shape{$name}) }, 502, 'upstream_invalid');
}

# -- token calls: odd, and good -------------------------------------------------------

for (
	['200 instead of 201' => "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: $half\r\n\r\n$good"],
	['an answer to the end' => "HTTP/1.0 201 Created\r\n\r\n$good"],
	['X-Accel-Redirect' => "HTTP/1.1 201 Created\r\nConnection: close\r\nX-Accel-Redirect: /cards\r\n\r\n$good"],
) {
	my ($name, $bytes) = @$_;
	my $client = again(caller_bytes(GET => '/accounts'));
	$up->call->end($bytes);
	my $call = $up->call;
	is($call->line . ' ' . $call->header('Authorization'), 'GET /accounts HTTP/1.1 Bearer v2.public.abcdefghijkl', $name);
	$call->answer(200, '{"data":[]}');
	is($client->response->status, 200, "$name: served");
}

# -- proxied calls -----------------------------------------------------------------

# leave one without an answer: its time is 5 s, and they pass meanwhile
my $slow = again($t->bytes(GET => '/cards', as => 'alice'));
$up->grant;
my $silent = $up->call;
is($silent->target, '/cards', 'a call that gets no answer');

# A write that Unit does not make idempotent: it is never sent twice.
my @write = ('/customers/10001', as => 'alice', json => {data => {type => 'individualCustomer', attributes => {tags => {a => 'b'}}}});
my $client = again($t->bytes(PATCH => @write));
$up->grant;
$up->call->answer(200, '{"data":[]}');
is($client->response->status, 200, 'alice has her token');

# One proxied call that is answered by CODE, its response, and the connection.
sub proxied {
	my ($code, %o) = @_;

	my $client = again($t->bytes(PATCH => @write, %o));
	$code->($up->call);
	my $r = eval { $client->response(cut => 1) };
	return ($r, $client);
}

sub goes_on {
	my ($client, $name) = @_;
	$client->send($t->bytes(GET => '/nope', as => 'alice'));
	is($client->response->status, 404, "$name: the connection goes on");
}

for my $status (200, 201, 300, 302, 400, 403, 404, 408, 409, 422, 429, 500, 502, 503, 504, 599) {
	my ($r, $c) = proxied(sub { $_[0]->answer($status, $doc, 'Retry-After' => 7) });
	is($r->status . $r->body, $status . $doc, "$status is passed unchanged");
	is($r->header('Retry-After'), 7, "$status: with Retry-After");
	goes_on($c, $status);
}
{
	my ($r, $c) = proxied(sub { $_[0]->end("HTTP/1.1 204 No Content\r\n\r\n") });
	is($r->status, 204, '204 is passed');
	goes_on($c, '204');
}

my %broken = (
	'garbage' => ['502 upstream_invalid', $unreadable{garbage}],
	'much garbage' => ['502 upstream_invalid', $unreadable{'much garbage'}],
	'HTTP/0.9' => ['502 upstream_invalid', '{"data":[{"id":"secret"}]}'],
	'a huge head' => ['502 upstream_invalid', $unreadable{'a huge head'}],
	'an interim answer' => ['502 upstream_invalid', "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"],
	'another interim answer' => ['502 upstream_invalid', "HTTP/1.1 103 Early\r\nLink: <x>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"],
	'another protocol' => ['502 upstream_invalid', $unreadable{'another protocol offered'}, headers => [Upgrade => 'x', Connection => 'upgrade']],
	'half a head' => ['502 upstream_unavailable', "HTTP/1.1 200 OK\r\nConte"],
	'nothing' => ['502 upstream_unavailable', ''],
);
for my $name (sort keys %broken) {
	my ($want, $bytes, @o) = @{$broken{$name}};
	my ($r, $c) = proxied(sub { $_[0]->end($bytes) }, @o);
	is($r->status . ' ' . $r->code, $want, "$name: $want");
	is($r->header('Content-Type'), 'application/vnd.api+json', "$name: our document");
	is(scalar $r->interim, 0, "$name: no interim answer");
	unlike($r->body, qr/garbage|secret/, "$name: nothing of what came");
	goes_on($c, $name);
}
{
	my ($r, $c) = proxied(sub { $_[0]->abort });
	is($r->status . ' ' . $r->code, '502 upstream_unavailable', 'a reset');
	goes_on($c, 'a reset');

	# what was begun cannot be taken back, only be cut
	($r, $c) = proxied(sub { $_[0]->end("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"data\":") });
	ok($r->status == 200 && $r->cut, 'half an answer is cut for the client too');
	ok($c->closed, 'and the connection closed');
	($r, $c) = proxied(sub { $_[0]->end("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{\"dat\r\n") });
	ok($r->status == 200 && $r->cut, 'half of the chunks too');
	($r, $c) = proxied(sub { $_[0]->end("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n") });
	ok(!$r || $r->cut, 'bad chunks are no whole answer');

	# none of these may run in our name
	for my $to ('/_unit/api/customers/10001', '/cards', '@named', '/_unit/error') {
		($r, $c) = proxied(sub { $_[0]->answer(200, '{"data":[]}', 'X-Accel-Redirect' => $to, 'X-Accel-Limit-Rate' => 1) });
		is($r->status . $r->body, '200{"data":[]}', "X-Accel-Redirect: $to");
		ok(!$r->headers('X-Accel-Redirect'), 'is not passed');
	}
	ok($up->quiet(0), 'and no call made for it');
}

my $r = $slow->response;
is($r->status . ' ' . $r->code, '504 upstream_timeout', 'no answer in 5 s: 504 upstream_timeout');
is($r->header('Content-Type'), 'application/vnd.api+json', 'our document');
goes_on($slow, 'timeout');
ok($silent->closed, 'the call was given up');

# -- refusals are forgotten, too -----------------------------------------------------

for (@late) {
	my ($bytes, $code) = @$_;
	my $client = again($bytes);
	my $call = $up->call(timeout => 0) // wait_until(5, sub {
		my $r = eval { $client->response(timeout => 0.1) } or return $up->call(timeout => 0);
		is($r->code, $code, 'still remembered');
		$client = again($bytes);
		return $up->call(timeout => 0.1);
	});
	ok($call, 'after a few seconds Unit is asked again');
	$call->token;
	$up->call->answer(200, '{"data":[]}');
	is($client->response->status, 200, 'and the token serves');
}

# -- no connection --------------------------------------------------------------------

$up->close;
for my $as ('alice', undef) {
	my $client = again($as ? $t->bytes(GET => '/accounts', as => $as) : caller_bytes(GET => '/accounts'));
	my $r = $client->response;
	is($r->status . ' ' . $r->code, '502 upstream_unavailable', 'refused: 502 upstream_unavailable');
	goes_on($client, 'refused');
}

# what the log says of all this names the request, never the answer
like($t->error_log, qr/unit fetch refused: status 429, location: "\S+", id: [0-9a-f]{32}/, 'a refusal is logged');
unlike($t->error_log, qr/Unit says|of_unit/, 'without the answer');
my @lines = $t->access_log;
is(scalar(grep { $_->{decision} eq 'customer_not_linked' && $_->{token} eq 'none' } @lines), 2, 'the access log has the decision');
is(scalar(grep { $_->{decision} eq 'upstream_timeout' && $_->{operation} eq 'list-cards' } @lines), 1, 'of proxied calls too');

$t->done;
