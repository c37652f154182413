#!/usr/bin/perl

# What may be repeated is tried at most three times: reads, and operations that
# Unit performs once per key; after connection errors, timeouts, 408, 429 and
# 5xx, and nothing else; with a growing, random wait or the one that Unit asks
# for; within the operation's time; the last answer as it is. Every other write
# is sent once, whatever happens to it. A wait blocks nobody, and a client that
# leaves ends it.
#
# P2 and P4 (redirects of our own), P5 (waiting), P8, P19 (client abort), P30,
# P32 (a connection that was closed), P40.

use strict;
use warnings;
no warnings 'qw';

use Test::More;
use Time::HiRes ();
use UnitGateway;
use UnitGateway::Config qw(back_end);
use UnitGateway::Operations;
use UnitGateway::Port;
use UnitGateway::Process qw(wait_until);
use UnitGateway::Upstream;

my $up = UnitGateway::Upstream->new;
my $t = UnitGateway->new(
	upstream => $up->address, sandbox => 0, http2 => 1, location => UnitGateway::Operations::allow(),
	partners => {back => back_end()},
)->start;

my %who = (token => $t->jwt(sub => 'service', claims => {iss => 'https://back.example.test/'}));
my %type = (type => 'application/vnd.api+json');
my $payment = '{"data":{"type":"bookPayment","attributes":{"amount":100}}}';
my $ach = '{"data":{"type":"achPayment","relationships":{"counterparty":{"data":{"type":"counterparty","id":"1"}}},"attributes":{"amount":1}}}';
my $serial = 0;

sub now { return Time::HiRes::clock_gettime(Time::HiRes::CLOCK_MONOTONIC()) }
sub key { return headers => ['Idempotency-Key' => 'key-' . ++$serial] }

sub ask {
	my ($method, $target, %o) = @_;
	my $client = $t->connect;
	my $id = sprintf 'retries-test-%08d', ++$serial;
	$client->send($t->bytes($method, $target, %who, %o, headers => [@{$o{headers} // []}, 'X-Request-Id' => $id]));
	return ($client, $id);
}

# By request id, as logged; the log is long.
sub attempts {
	my @ids = @_;
	my %n;
	wait_until(10, sub {
		%n = $t->read_file('logs/access.log') =~ /"request_id":"([^"]+)".*?"attempts":"(\d+)"/g;
		return !grep { !defined $n{$_} } @ids;
	});
	return map { $n{$_} } @ids;
}

my $error = '{"errors":[{"status":"5xx","title":"Unit says so"}]}';
my %request = (
	'GET' => [GET => '/accounts?page%5Blimit%5D=1&a=b'],
	'HEAD' => [HEAD => '/accounts'],
	'a payment with a key' => sub { POST => '/payments', %type, body => $payment, key() },
	'a payment without one' => [POST => '/payments', %type, body => $payment],
	'a chunked payment' => [POST => '/payments', %type, chunked => [split /(?<=:)/, $payment]],
	'1 MB' => [POST => '/payments', %type, body => '{"data":{"type":"bookPayment","attributes":{"a":"' . 'x' x 1_000_000 . '"}}}'],
	'a batch' => [POST => '/batch-releases', %type, body => '{"data":[{"type":"batchRelease","attributes":{}},{"type":"batchRelease","attributes":{}}]}'],
);
my %fault = (
	(map { my $status = $_; ("a $status" => sub { $_[0]->answer($status, $error, 'X-Of-Unit' => 'yes') }) } 408, 429, 500, 502, 503, 504, 599),
	'nothing' => sub { $_[0]->body; $_[0]->close },
	'a reset' => sub { $_[0]->body; $_[0]->abort },
	'a reset at once' => sub { $_[0]->abort },
	'half a head' => sub { $_[0]->end("HTTP/1.1 201 Created\r\nContent-Le") },
);

# Plays many requests at the same time: each meets the faults of its plan, then
# the answer. Takes as many calls as are wanted; one more would stay without an
# answer, and so would its client. Returns what came of each.
my $answer = sub { $_[0]->answer(200, '{"n":1}') };
sub play {
	my @cases = @_;
	my %by;
	for my $case (@cases) {
		my @request = ref $case->{request} eq 'CODE' ? $case->{request}->() : @{$case->{request}};
		@$case{qw(method target)} = @request[0, 1];
		@$case{qw(client id)} = ask(@request);
		$by{$case->{id}} = $case;
	}
	my $calls = 0;
	$calls += $_->{calls} for @cases;
	while ($calls--) {
		my $call = $up->call;
		my $case = $by{$call->header('X-Request-Id')} or die 'whose call is it?';
		my $fault = shift @{$case->{plan}};
		push @{$case->{times}}, now();
		push @{$case->{lines}}, $call->line;
		push @{$case->{bodies}}, $call->body if !$fault || $fault ne $fault{'a reset at once'};
		$case->{answered} = !$fault;
		($fault // $answer)->($call);
		push @{$case->{ends}}, now();
	}
	$_->{response} = $_->{client}->response(head => $_->{method} eq 'HEAD', cut => 1) for @cases;
	ok($up->quiet(0), 'no more calls than that');
	my @attempts = attempts(map { $_->{id} } @cases);
	$_->{attempts} = shift @attempts for @cases;
	return @cases;
}

sub same { my %seen = map { $_ => 1 } @_; return keys %seen <= 1 }

# -- what is tried again ---------------------------------------------------------------------

my @cases;
for my $what (sort keys %request) {
	for my $name (sort keys %fault) {
		next if $what eq '1 MB' && $name ne 'a 503' && $name ne 'a reset';
		push @cases, map { {name => "$what, $name, $_ times", request => $request{$what}, fault => $name, plan => [($fault{$name}) x $_], calls => $_ == 3 ? 3 : $_ + 1} } 1 .. 3;
	}
}
for my $case (play(@cases)) {
	my ($name, $r, $head) = ($case->{name}, $case->{response}, $case->{method} eq 'HEAD');
	my $calls = $case->{calls};
	is(scalar @{$case->{lines}}, $calls, "$name: calls");
	is($case->{attempts}, $calls, "$name: attempts in the log");
	ok(same(@{$case->{lines}}) && same(@{$case->{bodies} // []}), "$name: the same each time");
	is($case->{lines}[0], "$case->{method} $case->{target} HTTP/1.1", "$name: as asked");
	if ($case->{answered}) {
		is($r->status . $r->body, '200' . ($head ? '' : '{"n":1}'), "$name: served");
		is_deeply([$r->headers('X-Of-Unit')], [], "$name: nothing of the failures");
	}
	elsif ($case->{fault} =~ /a (\d+)/) {
		is($r->status . $r->body . $r->header('X-Of-Unit'), $1 . ($head ? '' : $error) . 'yes', "$name: the last answer as it is");
	}
	else {
		is($r->status . ($head ? '' : ' ' . $r->code), $head ? 502 : '502 upstream_unavailable', "$name: is said");
	}
	$case->{client}->send($t->bytes(GET => '/nope', %who));
	is($case->{client}->response->status, 404, "$name: the connection goes on");
	$case->{client}->close;
}

# one failure after another of another kind
my ($client, $id) = ask(POST => '/payments', %type, body => $payment, key());
$up->call->answer(503, $error);
my $call = $up->call;
my $body = $call->body;
$call->close;
$call = $up->call;
is($call->body, $body, 'different failures');
$call->answer(429, $error, 'X-Of-Unit' => 'last');
is($client->response->header('X-Of-Unit'), 'last', 'the last one counts');
$client->close;

# -- what is not -------------------------------------------------------------------------------

for my $what ('GET', 'a payment with a key') {
	for my $status (400, 403, 404, 405, 409, 415, 422, 300, 302) {
		my @request = ref $request{$what} eq 'CODE' ? $request{$what}->() : @{$request{$what}};
		my ($client, $id) = ask(@request);
		$up->call->answer($status, $error);
		is($client->response->status, $status, "$what: $status is an answer");
		ok($up->quiet(0), "$what: $status is not asked for again");
		$client->close;
	}
	my @request = ref $request{$what} eq 'CODE' ? $request{$what}->() : @{$request{$what}};
	my ($client) = ask(@request);
	$call = $up->call;
	$call->body;
	$call->send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf");
	$call->close;
	ok($client->response(cut => 1)->cut, "$what: half an answer is cut off");
	ok($up->quiet(0.3), "$what: and not asked for again");
	$client->close;
}

# writes that Unit does not perform once, each of them, whatever happens
@cases = ();
for my $op (UnitGateway::Operations::writes()) {
	next if $op->{idempotency};
	my $text = UnitGateway::Operations::text($op);
	my %body = defined $text ? (%type, body => $text) : $op->{method} eq 'PUT' ? (body => 'png', type => 'image/png') : ();
	for my $name (sort keys %fault) {
		my @request = ($op->{method}, UnitGateway::Operations::path($op), %body, @cases % 2 ? key() : ());
		push @cases, {op => $op->{name}, fault => $name, request => \@request, plan => [$fault{$name}], calls => 1};
	}
}
my (%wrong, %operations);
my @played;
push @played, play(splice @cases, 0, 100) while @cases;
for my $case (@played) {
	$operations{$case->{op}} = 1;
	my $want = $case->{fault} =~ /a (\d+)/ ? $1 : 502;
	my $got = $case->{response}->status;
	push @{$wrong{$case->{op}}}, "$case->{fault}: $got" if $got != $want;
	push @{$wrong{$case->{op}}}, "$case->{fault}: sent again" if @{$case->{lines}} != 1;
	push @{$wrong{$case->{op}}}, "$case->{fault}: $case->{attempts} attempts" if $case->{attempts} != 1;
	$case->{client}->close;
}
cmp_ok(scalar keys %operations, '>', 90, 'there are such operations');
is_deeply($wrong{$_} // [], [], "$_: once") for sort keys %operations;

# nor is one without a place for a key
for my $body ('{"data":[{"type":"batchRelease"}]}', '{"data":[{"type":"batchRelease","attributes":{}},{"type":"batchRelease"}]}', '{"data":[{"type":"batchRelease","attributes":null}]}') {
	($client) = ask(POST => '/batch-releases', %type, body => $body);
	$up->call->answer(503, $error);
	is($client->response->status, 503, 'no place for a key');
	ok($up->quiet(0), 'no second try');
	$client->close;
}

# -- how long --------------------------------------------------------------------------------------

# what Unit asks for
my $start = now();
($client) = ask(POST => '/payments', %type, body => $payment, key());
$up->call->answer(503, $error, 'Retry-After' => 1);
$call = $up->call;
my $took = now() - $start;
cmp_ok($took, '>=', 0.95, 'Retry-After: 1 is waited for');
cmp_ok($took, '<', 2.5, 'and not much longer');
$start = now();
$call->answer(429, $error, 'retry-after' => 1);
$call = $up->call;
cmp_ok(now() - $start, '>=', 0.95, 'each time');
$call->answer(201, '{}');
is($client->response->status, 201, 'and then served');
$client->close;

($client) = ask(GET => '/accounts');
$start = now();
my @date = gmtime time + 2;
my $date = sprintf '%s, %02d %s %d %02d:%02d:%02d GMT', (qw(Sun Mon Tue Wed Thu Fri Sat))[$date[6]], $date[3],
	(qw(Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec))[$date[4]], $date[5] + 1900, @date[2, 1, 0];
$up->call->answer(503, $error, 'Retry-After' => $date);
$call = $up->call;
cmp_ok(now() - $start, '>=', 0.9, 'a date is waited for');
$call->answer(200, '{}');
is($client->response->status, 200, 'and then served');
$client->close;

# longer than the operation's time: the answer at once
for my $value (5, 6, 60, 86400, 2147483647, 99999999999, 'Thu, 01 Jan 2099 00:00:00 GMT') {
	($client, $id) = ask(GET => '/accounts');
	$start = now();
	$up->call->answer(503, $error, 'Retry-After' => $value);
	my $r = $client->response;
	is($r->status . $r->header('Retry-After'), "503$value", "Retry-After: $value is for the client");
	cmp_ok(now() - $start, '<', 0.5, 'at once');
	$client->close;
}
ok($up->quiet(0), 'without a second try');

# what makes no sense is not waited for
for my $value ('x', '-1', '', '1.5', 'Thu, 01 Jan 1970 00:00:00 GMT', '9' x 40, '0') {
	($client) = ask(GET => '/accounts');
	$up->call->answer(503, $error, 'Retry-After' => $value);
	$start = now();
	$call = $up->call;
	cmp_ok(now() - $start, '<', 0.6, "Retry-After: $value");
	$call->answer(200, '{}');
	$client->response;
	$client->close;
}

# a random wait, longer the second time
my (@first, @second);
for my $case (play(map { {request => [GET => '/accounts'], plan => [($fault{'a 500'}) x 2], calls => 3} } 1 .. 60)) {
	push @first, $case->{times}[1] - $case->{ends}[0];
	push @second, $case->{times}[2] - $case->{ends}[1];
	$case->{client}->close;
}
@first = sort { $a <=> $b } @first;
@second = sort { $a <=> $b } @second;
cmp_ok($first[0], '<', 0.1, 'from nothing');
cmp_ok($first[-1], '<', 0.4, 'to 0.2 s');
cmp_ok($first[-1] - $first[0], '>', 0.05, 'at random');
cmp_ok($second[-1], '<', 0.7, 'the second time to 0.4 s');
cmp_ok($second[-1], '>', 0.2, 'and more than the first');

# the operation's time is that of all attempts: 5 s, then 504, and with it no
# second try; writes that are never repeated, too
my @late;
for my $request ([GET => '/accounts'], [POST => '/payments', %type, body => $payment, key()], [POST => '/payments', %type, body => $payment],
	map { my $text = UnitGateway::Operations::text($_); [$_->{method} => UnitGateway::Operations::path($_), defined $text ? (%type, body => $text) : ()] }
		grep { !$_->{idempotency} && $_->{timeout} == 5 && $_->{method} ne 'PUT' } UnitGateway::Operations::writes())
{
	my ($client, $id) = ask(@$request);
	my $call = $up->call;
	$call->body;
	push @late, [$client, $call, "$request->[0] $request->[1]", now()];
}
# one whose token is refused, and whose new one takes the rest of the time
my $tokens = $t->connect;
$tokens->send($t->bytes(GET => '/accounts', as => 'alice'));
$up->grant;
my $refused = $up->call;
my $since = now();
# one that fails once, and then has what is left
my ($left, $left_id) = ask(GET => '/accounts');
$start = now();
$up->call->answer(503, $error, 'Retry-After' => 3);
my $hanging = $up->call;
wait_until(5, sub { now() - $since > 2 });
$refused->answer(401, $error);
my $mint = $up->call;
like($mint->target, qr{/token\z}, 'a new token');
$mint->body;
wait_until(10, sub { now() - $since > 5.2 });
$mint->token;
is($tokens->response->code, 'upstream_timeout', 'a new token that takes the rest of the time');
$tokens->close;
my @wrong;
for (@late) {
	my ($client, $call, $name, $since) = @$_;
	my $r = $client->response(timeout => 15);
	my $took = now() - $since;
	push @wrong, "$name: " . $r->status . ' ' . $r->code if $r->status . ' ' . $r->code ne '504 upstream_timeout';
	push @wrong, "$name: after $took s" if $took < 4.9;
	$call->close;
	$client->close;
}
is_deeply(\@wrong, [], scalar(@late) . ' operations that get no answer');
is($left->response(timeout => 10)->status, 504, 'a second try that gets none');
$took = now() - $start;
cmp_ok($took, '>', 4.8, 'has the rest of the time');
cmp_ok($took, '<', 7, 'and no more');
is((attempts($left_id))[0], 2, 'two attempts');
$hanging->close;
$left->close;
ok($up->quiet(0), 'none was sent again, nor sent too late');

# -- who waits -----------------------------------------------------------------------------------

# nobody but the request itself
($client) = ask(GET => '/accounts');
$up->call->answer(503, $error, 'Retry-After' => 2);
$start = now();
for (1 .. 20) {
	my ($other) = ask(GET => '/cards');
	$up->call->answer(200, '{}');
	is($other->response->status, 200, 'others are served meanwhile');
	$other->close;
}
cmp_ok(now() - $start, '<', 1.5, 'at once');
$up->call->answer(200, '{}');
is($client->response->status, 200, 'and then the one that waited');
$client->close;

# a client that leaves ends its wait, but not what was kept of its key; over
# HTTP/2, too, where others go on
my @key = key();
my @gone;
for my $how (qw(close abort)) {
	my ($client, $id) = ask(POST => '/payments', %type, body => $payment, $how eq 'close' ? @key : key());
	$up->call->answer(503, $error, 'Retry-After' => 1);
	push @gone, [$client, $how, $id];
}
my @h2 = map { $t->h2_connect } 1, 2;
my $open = sub {
	my ($h2) = @_;
	my $id = $h2->open($t->h2_headers(POST => '/payments', %who, %type, body => $payment, key()));
	$h2->data($id, $payment, end => 1);
	return $id;
};
my $stream = $open->($h2[0]);
$up->call->answer(503, $error, 'Retry-After' => 1);
$open->($h2[1]);
$up->call->answer(503, $error, 'Retry-After' => 1);
my $stays = $open->($h2[0]);
$up->call->answer(503, $error, 'Retry-After' => 1);
wait_until(5, sub { (() = $t->error_log =~ /attempt 1 failed with status 503, next in 1000/g) >= 5 });
for (@gone) {
	my ($client, $how) = @$_;
	$client->$how;
}
$h2[0]->reset($stream);
$h2[1]->close;
$call = $up->call;
$call->answer(201, '{"n":"stays"}');
is($h2[0]->response($stays)->body, '{"n":"stays"}', 'HTTP/2: tried again');
ok($up->quiet(0.5), 'clients that leave: no second try');
my $again = $t->post('/payments', %who, %type, body => '{"data":{"type":"bookPayment","attributes":{}}}', @key);
is($again->code, 'idempotency_key_reused', 'their keys are remembered');
$h2[0]->close;

# a pipelined request waits behind
$client = $t->connect;
$client->send($t->bytes(GET => '/accounts', %who) . $t->bytes(POST => '/payments', %who, %type, body => $payment, key()));
$up->call->answer(503, $error, 'Retry-After' => 1);
$call = $up->call;
is($call->method, 'GET', 'pipelined: the first again');
$call->answer(200, '{"n":1}');
$call = $up->call;
is($call->method, 'POST', 'then the second');
$call->answer(503, $error);
$up->call->answer(201, '{"n":2}');
is($client->response->body, qq({"n":$_}), "pipelined: answer $_") for 1, 2;
$client->close;

# a connection that Unit has closed while it was idle: a keyed write is tried
# again, another one is not sent twice
for my $o ([1, POST => '/payments', %type, body => $payment, key()], [0, POST => '/cards/1/freeze']) {
	my ($repeatable, @request) = @$o;
	($client) = ask(GET => '/accounts');
	$call = $up->call;
	$call->answer(200, '{}');
	$client->response;
	$client->close;
	($client) = ask(@request);
	my $next = $up->call;
	is($next->connection, $call->connection, 'a connection that was idle');
	$next->close;
	if ($repeatable) {
		$next = $up->call;
		isnt($next->connection, $call->connection, 'is replaced');
		$next->answer(201, '{}');
	}
	is($client->response->status, $repeatable ? 201 : 502, 'and the client told');
	ok($up->quiet(0), 'once');
	$client->close;
}

# a reload while one waits
($client) = ask(POST => '/payments', %type, body => $payment, key());
$up->call->answer(503, $error, 'Retry-After' => 1);
ok($t->reload(wait => 0), 'a reload while one waits');
$up->call->answer(201, '{"n":3}');
is($client->response->body, '{"n":3}', 'which is served all the same');
$client->close;

# -- refused connections ------------------------------------------------------------------------------

$up->close;
for my $o ([3, GET => '/accounts'], [3, POST => '/payments', %type, body => $payment, key()], [1, POST => '/cards/1/freeze'], [1, PATCH => '/cards/1', %type, body => '{"data":{"type":"businessDebitCard"}}']) {
	my ($n, @request) = @$o;
	my ($client, $id) = ask(@request);
	my $r = $client->response;
	is($r->status . ' ' . $r->code, '502 upstream_unavailable', "refused: $request[0] $request[1]");
	is((attempts($id))[0], $n, "refused: attempts of $request[0] $request[1]");
	$client->close;
}

$t->done;
