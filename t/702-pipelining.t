#!/usr/bin/perl

# After each answer of the gateway's own, the next request of the connection is
# another one: answered right, with its own identity, id, key and body, whatever
# the one before was refused for, and however its body came. Two people behind
# one connection (a proxy that shares it) get each their own. Nothing of a
# refused request is left over: no customer, no operation, no token.
#
# P4 (what belongs to a request), P6 (our own answers), P9, P22.

use strict;
use warnings;

use Test::More;
use UnitGateway;
use UnitGateway::Config qw(back_end server);
use UnitGateway::Process qw(wait_until);
use UnitGateway::TwoFactor;

my $t = UnitGateway->new(
	partners => {app => {}, back => back_end()},
	limits => 'unit_limits on; unit_budget 100000r/m burst=10000; unit_limit customer rate=100000r/m burst=10000; unit_limit address rate=100000r/m;',
	servers => server(STRICT => 'unit_idempotency require; unit_require_2fa list-events;'),
)->start;
my $sandbox = $t->sandbox;

my $several = $t->jwt(sub => 'several', claims => {unitCustomerId => ['10001', '10002']});
my $nobody = $t->jwt(sub => 'nobody');
my $readonly = $t->jwt(sub => 'alice', claims => {unitRole => 'ReadOnly'});
my @alice = (as => 'alice');
my %type = (type => 'application/vnd.api+json');
my %tags = (json => {data => {type => 'individualCustomer', attributes => {tags => {a => 'b'}}}});
my %open = (json => {data => {type => 'depositAccount', attributes => {depositProduct => 'checking'}, relationships => {customer => {data => {type => 'customer', id => '10001'}}}}});
my @key = (headers => ['Idempotency-Key' => 'taken']);

is($t->get('/accounts', as => $_)->status, 200, "$_ has a token") for qw(alice bob);
is($t->post('/accounts', @alice, %open, @key)->status, 201, 'a key is taken');

# code => method, path, options of a request that is answered so
my @refusals = (
	['401 token_missing', POST => '/accounts', %open], ['401 token_invalid', POST => '/accounts', token => 'x.y.z', %open],
	['401 two_factor_required', POST => '/payments', @alice, json => {data => {type => 'bookPayment', attributes => {amount => 1},
		relationships => {account => {data => {type => 'depositAccount', id => '1001'}}, counterpartyAccount => {data => {type => 'depositAccount', id => '1002'}}}}}],
	['401 two_factor_required', GET => '/events', @alice, port => 'STRICT'],
	['403 insufficient_scope', POST => '/accounts', token => $readonly, %open], ['403 operation_not_allowed', POST => '/webhooks', @alice, %open],
	['403 customer_mismatch', PATCH => '/customers/10002', @alice, %tags], ['403 customer_mismatch', GET => '/accounts?filter[customerId]=10002', @alice],
	['403 customer_not_linked', GET => '/accounts', token => $nobody], ['403 pci_route_blocked', POST => '/cards/1101/activate', @alice, json => {data => {}}],
	['403 verification_failed', POST => '/customers/10001/token', @alice, json => {data => {type => 'customerToken', attributes => {
		scope => 'payments-write', verificationToken => 'x' x 43, verificationCode => '123456'}}}],
	['404 unknown_operation', POST => '/nothing', @alice, %tags], ['404 unknown_operation', GET => '/_unit/api/customers', @alice],
	['405 method_not_allowed', PUT => '/accounts', @alice, %tags], ['405 method_not_allowed', OPTIONS => '/accounts'],
	['400 customer_required', GET => '/accounts', token => $several], ['400 invalid_body', PATCH => '/customers/me', @alice, %type, body => '{"data":{}'],
	['400 invalid_uri', GET => '/accounts//1001', @alice],
	['400 idempotency_key_invalid', POST => '/accounts', @alice, %open, headers => ['Idempotency-Key' => '']],
	['400 idempotency_key_missing', POST => '/accounts', @alice, %open, port => 'STRICT'],
	['413 body_too_large', PATCH => '/customers/me', @alice, %type, body => '{"data":' . ' ' x 1048576 . '{}}'],
	['415 unsupported_media_type', PATCH => '/customers/me', @alice, type => 'text/plain', body => '{}'],
	['422 idempotency_key_reused', POST => '/accounts', @alice, @key, json => {data => {%{$open{json}{data}}, attributes => {depositProduct => 'savings'}}}],
	['425 too_early', PATCH => '/customers/me', @alice, %tags, headers => ['Early-Data' => 1]],
);
my %seen;
my $serial = 0;

for my $refusal (@refusals) {
	my ($want, $method, $target, %o) = @$refusal;
	$seen{$want} = 1;
	my @port = $o{port} ? (port => $o{port}) : ();
	my $first = $t->bytes($method, $target, %o);
	for my $half ('at once', 'later') {
		my $client = $t->connect(@port);
		my @ids = map { sprintf 'the-next-request-%05d', ++$serial } 1 .. 4;
		my @next = (
			$t->bytes(GET => '/customers/me', as => 'bob', headers => ['X-Request-Id' => $ids[0]]),
			$t->bytes(PATCH => '/customers/me', as => 'bob', json => {data => {type => 'businessCustomer', attributes => {tags => {n => $ids[1]}}}},
				headers => ['X-Request-Id' => $ids[1], 'Idempotency-Key' => "key-$ids[1]"]),
			$t->bytes(GET => '/customers/me', headers => ['X-Request-Id' => $ids[2]]),
			$t->bytes(GET => '/customers/me', @alice, headers => ['X-Request-Id' => $ids[3]]),
		);
		my $name = "$want, $method $target, the next ones $half";
		my $mark = $sandbox->mark;
		$client->send($half eq 'later' ? $first : join '', $first, @next);
		my $r = $client->response;
		is($r->status . ' ' . $r->code, $want, $name) or diag $r->body;
		if (($r->header('Connection') // '') eq 'close') {
			like($want, qr/\A(?:400|413) /, "$name: may close");
			ok($client->closed, "$name: and does");
			is_deeply([grep { $_->{path} !~ /token\z/ } $sandbox->journal($mark)], [], "$name: nothing was done");
			next;
		}
		$client->send(join '', @next) if $half eq 'later';
		my @r = map { $client->response } @next;
		is(join(', ', map { $_->status } @r), '200, 200, 401, 200', "$name: answered");
		is(join(', ', map { $_->header('X-Request-Id') } @r), join(', ', @ids), "$name: each with its id");
		is($r[0]->json->{data}{id} . ', ' . $r[3]->json->{data}{id}, '10002, 10001', "$name: each with its own data");
		is($r[1]->json->{data}{attributes}{tags}{n}, $ids[1], "$name: with its own body");
		is($client->unread, '', "$name: and nothing else");
		my @calls = map { "$_->{method} $_->{path} " . ($_->{customer} // '-') } grep { $_->{path} !~ /token\z/ } $sandbox->journal($mark);
		is_deeply(\@calls, ['GET /customers/10002 10002', 'PATCH /customers/10002 10002', 'GET /customers/10001 10001'], "$name: Unit saw each as who it is");
		$client->close;
	}
}

# -- answers that take their time, and those of Unit's that end in one of ours ---------------

# 409: the same key while it is under way, on a connection of its own
$sandbox->fault(POST => '/accounts', {delay_ms => 2000});
my $mark = $sandbox->mark;
my $busy = $t->connect;
$busy->send($t->bytes(POST => '/accounts', @alice, %open, headers => ['Idempotency-Key' => 'busy']));
ok(wait_until(10, sub { grep { $_->{path} eq '/accounts' } $sandbox->journal($mark) }), 'a write is under way');
my $client = $t->connect;
my $r;
$client->send($t->bytes(POST => '/accounts', @alice, %open, headers => ['Idempotency-Key' => 'busy']) . $t->bytes(GET => '/customers/me', as => 'bob'));
$r = $client->response;
is($r->status . ' ' . $r->code, '409 idempotency_key_in_use', 'a key in use');
is($client->response->json->{data}{id}, '10002', 'a key in use: the next one');
$seen{'409 idempotency_key_in_use'} = 1;
is($busy->response->status, 201, 'the first one is done');
$_->close for $busy, $client;

# 5xx: a write that is not repeated, then somebody else
for (
	['502 upstream_unavailable', {drop => 'before'}], ['502 upstream_invalid', {status => 204}, 'token'],
	['503 broker_unavailable', {status => 403}, 'token'], ['502 upstream_unavailable', {status => 500}, 'token'], ['403 customer_not_linked', {status => 404}, 'token'],
) {
	my ($want, $action, $token) = @$_;
	my $jwt = $t->jwt(sub => 'alice', claims => {sid => 'pipe-' . ++$serial, jti => ++$serial});
	$seen{$want} = 1;
	$sandbox->fault($token ? (POST => '/customers/10001/token') : (PATCH => '/customers/10001'), $action);
	my $client = $t->connect;
	$client->send($t->bytes(PATCH => '/customers/me', $token ? (token => $jwt) : @alice, %tags) . $t->bytes(GET => '/customers/me', as => 'bob') . $t->bytes(GET => '/customers/me'));
	my @r = map { $client->response } 1 .. 3;
	is($r[0]->status . ' ' . $r[0]->code, $want, $want);
	is($r[1]->json->{data}{id} . ' ' . $r[2]->status, '10002 401', "$want: the next ones");
	$client->close;
	$sandbox->clear_faults;
}

# 429 of both kinds
my $limited = UnitGateway->new(sandbox => 0, upstream => '127.0.0.1:' . $sandbox->port, org_token => $t->read_file('org-token'), limits => 'unit_limit customer rate=2r/h burst=2;')->start;
$client = $limited->connect;
$client->send($limited->bytes(GET => '/accounts', @alice) x 3 . $limited->bytes(GET => '/customers/me', as => 'bob') . $limited->bytes(PATCH => '/customers/me', @alice, %tags) . $limited->bytes(GET => '/customers/me', as => 'bob'));
is(join(' ', map { $client->response->status } 1 .. 6), '200 200 429 200 429 200', '429, with and without a body: the next ones');
$seen{'429 rate_limited'} = 1;
$client->close;
$limited->stop;

cmp_ok(scalar keys %seen, '>=', 25, 'of all codes that can be had so');
$t->done;
