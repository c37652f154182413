#!/usr/bin/perl

# nginx keeps headers in parts, 20 of a request and 8 of an upstream's answer in
# the first: what comes later counts as well. A header that is passed is passed,
# one that may be there once is not there twice, Connection names what is for
# this hop, Retry-After is believed; whatever stands before them.
#
# P20, P22 (headers), P13.

use strict;
use warnings;

use Test::More;
use UnitGateway;
use UnitGateway::Upstream;

my $up = UnitGateway::Upstream->new;
my $t = UnitGateway->new(upstream => $up->address, sandbox => 0, location => 'unit_pass_header X-Extra;')->start;
my $client = $t->connect;

# alice has a token before we begin
$client->send($t->bytes(GET => '/accounts', as => 'alice'));
$up->grant;
$up->call->answer(200, '{}');
$client->response;

for my $n (0, 1, 7 .. 9, 16 .. 25, 39 .. 43, 90) {
	my @many = map { ("X-Filler-$_" => 'f') } 1 .. $n;
	my $id = sprintf 'a-request-of-%08d', $n;

	$client->send($t->bytes(GET => '/accounts', as => 'alice', headers => [
		@many, Accept => 'a/b', 'X-Extra' => 'one', 'X-Request-Id' => $id, Connection => 'keep-alive, Accept', 'X-Extra' => 'two', Cookie => 'a=b',
	]));
	my $call = $up->call;
	is_deeply([$call->header_names], [qw(authorization host x-extra x-extra x-request-id)], "$n others: what may pass");
	is($call->header('X-Request-Id'), $id, "$n others: the id");
	is_deeply([$call->headers('X-Extra')], [qw(one two)], "$n others: in their order");
	is($call->header('Authorization'), 'Bearer ' . UnitGateway::Upstream::TOKEN, "$n others: our token");
	$call->answer(503, '{}', @many, 'Retry-After' => 86400);
	my $r = $client->response;
	is($r->status . ' ' . $r->header('Retry-After'), '503 86400', "$n others: not tried again before Unit says so");
	ok($up->quiet(0), "$n others: once");

	$client->send($t->bytes(POST => '/payments', as => 'alice', json => {}, headers => ['Idempotency-Key' => 'k', @many, 'Idempotency-Key' => 'k']));
	is($client->response->code, 'idempotency_key_invalid', "$n others: two keys");
}

$client->close;
$t->done;
