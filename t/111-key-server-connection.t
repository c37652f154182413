#!/usr/bin/perl

# A connection to a key server that was kept and turns out to be closed when the
# key set is asked for on it: nobody's failure, and the set is asked for once more,
# on another connection; ahead of its end as well as when callers wait. Once, only
# before the first byte of an answer, and never on a connection that is new. Beside
# it a token call on a kept connection to Unit that ends in the same way: one call,
# and 502; so with proxy_next_upstream set by the operator in either location.
#
# P32 (connections that are used again).

use strict;
use warnings;

use Test::More;
use UnitGateway;
use UnitGateway::Clock;
use UnitGateway::Process qw(wait_until);
use UnitGateway::Upstream;

my $clock = UnitGateway::Clock->new;
my $idp = UnitGateway::Upstream->new;
my $unit = UnitGateway::Upstream->new;
my $keys = $idp->address;
my %remote = (jwks => undef, jwks_request => '/_keys');

my $t = UnitGateway->new(
	env => $clock->env, upstream => $unit->address, broker_upstream => 'unit_tokens', sandbox => 0,
	partners => {app => {%remote}, second => {%remote, issuer => 'https://second.example.test/'}},
	http => "upstream key_server { server $keys max_fails=0; keepalive 8; keepalive_timeout 10h; keepalive_time 10h; }\n"
		. '    upstream unit_tokens { server ' . $unit->address . ' max_fails=0; keepalive 8; keepalive_timeout 10h; keepalive_time 10h; }',
	server => <<'EOT',
        location = /_keys {
            proxy_pass http://key_server/keys;
            include "%%ROOT%%/conf/unit_broker.conf";
        }
EOT
)->start;

my $count = 0;
my @age = ('Cache-Control' => 'max-age=600');
my $dev = $t->jwks('dev');
my $both = $t->jwks('dev', 'second');
my %issuer = (second => 'https://second.example.test/');

# A request with a token that nobody has seen before; the answer comes later.
sub ask {
	my (%o) = @_;
	my $of = delete $o{of} // 'app';
	my $client = $t->connect;
	my %claims = (jti => ++$count, $issuer{$of} ? (iss => $issuer{$of}) : (), %{delete $o{claims} // {}});
	$client->send($t->bytes(GET => '/accounts', token => $t->jwt(sub => 'alice', claims => \%claims, %o)));
	return $client;
}

# The answer, with Unit's part in it if it comes to that.
sub served {
	my ($client, $name) = @_;
	my $call = $unit->call;
	if ($call->method eq 'POST') {
		$call->token;
		$call = $unit->call;
	}
	$call->answer(200, '{"data":[]}');
	is($client->response->status, 200, $name);
	$client->close;
}

# What the gateway says itself.
sub said {
	my ($client) = @_;
	my $r = $client->response;
	$client->close;
	return $r->status . ' ' . $r->code;
}

# a key of a name that is not known makes the gateway look for it, after 30 s
sub unknown { $clock->advance(31); return ask(key => 'evil', @_) }

# The gateway has kept the connection of the last call, and only that one.
sub kept {
	my ($call, $name) = @_;
	is($call->connection, $idp->accepted, "$name: a kept connection") or diag $call->connection;
	return $call->connection;
}

my $client = ask();
my $call = $idp->call;
is($call->line, 'GET /keys HTTP/1.1', 'a key set');
$call->answer(200, $dev, @age);
served($client, 'is there');

# -- callers wait for the set ------------------------------------------------------------

for my $end (qw(close abort)) {
	$client = unknown();
	$call = $idp->call;
	my $last = kept($call, $end);
	$call->$end;
	my $again = $idp->call;
	is($again->line, 'GET /keys HTTP/1.1', "$end: it is asked for once more");
	is($again->connection, $last + 1, "$end: on a connection that is new");
	is_deeply($again->{headers}, $call->{headers}, "$end: in the same words");
	$again->answer(200, $dev, @age);
	is(said($client), '401 token_invalid', "$end: and the answer counts");
}
unlike($t->error_log, qr/key set .*failed|broker_unavailable/, 'none of it is a failure');

# the answer to the second call is what is believed
$client = unknown(key => 'second');
$idp->call->close;
$idp->call->answer(200, $both, @age);
served($client, 'a key that has come with the second call');

# -- ahead of the end of the set -----------------------------------------------------------

$clock->advance(500);
my $early = ask(key => 'second');
served($early, 'a set that is about to end: nobody waits');
$call = $idp->call;
kept($call, 'ahead of the end');
$call->close;
$call = $idp->call;
is($call->line, 'GET /keys HTTP/1.1', 'it is asked for once more');
$call->answer(200, $dev, @age);
ok(wait_until(5, sub { gone('second') }), 'and what came then is in force');

# A token of that key is refused, after the key server was asked for it.
sub gone {
	my ($key) = @_;

	$clock->advance(1);
	my $client = ask(key => $key);
	my ($call, $asked);
	until ($call = $unit->call(timeout => 0.01)) {
		$asked = $idp->call(timeout => 0.01) or next;
		$asked->answer(200, $dev, @age);
		return said($client) eq '401 token_invalid';
	}
	$call->answer(200, '{"data":[]}');
	$client->response;
	$client->close;
	return 0;
}

# -- never twice more, never after a byte, never on a new connection -----------------------

# two kept connections: a call of each partner at the same time
sub keep_two {
	$clock->advance(31);
	my @clients = (ask(key => 'evil'), ask(key => 'evil', of => 'second'));
	my @calls = map { $idp->call } 1, 2;
	isnt($calls[0]->connection, $calls[1]->connection, 'two connections');
	$_->answer(200, $dev, @age) for @calls;
	said($_) for @clients;
	return {map { $_->connection => 1 } @calls};
}

$client = ask(of => 'second');
$idp->call->answer(200, $dev, @age);
served($client, 'a key set of another partner');

my $two = keep_two();
$client = unknown();
for my $n (1, 2) {
	$call = $idp->call;
	ok($two->{$call->connection}, "a kept connection, number $n");
	$call->close;
}
is(said($client), '401 token_invalid', 'both closed: that was all, and the set of before stays');
ok($idp->quiet, 'no third call');

$client = unknown();
$call = $idp->call;
ok(!$two->{$call->connection}, 'a new connection');
$call->close;
is(said($client), '401 token_invalid', 'that is closed: not again');
ok($idp->quiet, 'no other call');

# makes a connection that is kept
sub keep_one {
	my $client = unknown();
	$idp->call->answer(200, $dev, @age);
	said($client);
}

for (['a byte' => 'H'], ['a status line' => "HTTP/1.1 200 OK\r\n"], ['half a set' => "HTTP/1.1 200 OK\r\nContent-Length: 2000\r\n\r\n{"]) {
	my ($name, $bytes) = @$_;
	keep_one();
	$client = unknown();
	$call = $idp->call;
	kept($call, $name);
	$call->end($bytes);
	is(said($client), '401 token_invalid', "$name of an answer: not again");
	ok($idp->quiet, "$name: no other call");
}

keep_one();
$client = unknown();
$call = $idp->call;
$call->answer(503, 'no');
is(said($client), '401 token_invalid', 'a 503 is an answer: not again');
ok($idp->quiet, 'no other call');

# what was closed before anybody wanted it is just not used
$client = unknown();
$call = $idp->call;
my $last = kept($call, 'idle');
$call->answer(200, $dev, @age, Connection => 'close');
said($client);
$client = unknown();
$call = $idp->call;
isnt($call->connection, $last, 'a connection that is not kept is not used again');
$call->answer(200, $dev, @age);
said($client);

# -- a token call, in the same situation ------------------------------------------------------

my $session = 0;

# needs a token; the key set is there
sub mint {
	$client = ask(claims => {sid => 's' . ++$session});
	my $call = $unit->call;
	like($call->line, qr{\APOST /customers/10001/token }, 'a token call');
	return $call;
}

# the operator may set what he likes, in both locations
for my $next ('', 'proxy_next_upstream error timeout non_idempotent;') {
	if ($next) {
		my $broker = UnitGateway::slurp($t->root . '/conf/unit_broker.conf');
		$broker =~ s/^proxy_next_upstream off;/$next/m or die;
		$t->write_file('broker.conf', $broker);
		my $conf = $t->read_file('nginx.conf');
		$conf =~ s{include "[^"]*/unit_broker\.conf"}{include "broker.conf"}g == 2 or die;
		$t->write_file('nginx.conf', $conf);
		ok($t->reload, $next);
		mint()->answer(404, '{"errors":[]}');
		said($client);
	}
	else {
		mint()->answer(404, '{"errors":[]}');
		is(said($client), '403 customer_not_linked', 'a connection to Unit is kept');
	}

	for my $end (qw(close abort)) {
		my $call = mint();
		my $connection = $call->connection;
		$call->$end;
		is(said($client), '502 upstream_unavailable', "$end: 502");
		ok($unit->quiet, "$end: and one call");
		$call = mint();
		isnt($call->connection, $connection, "$end: the next request has a connection of its own");
		$call->answer(404, '{"errors":[]}');
		is(said($client), '403 customer_not_linked', "$end: and an answer");
	}

	# and the key server of the same gateway, once more, and once only
	keep_one();
	$client = unknown();
	$idp->call->close;
	$idp->call->close;
	is(said($client), '401 token_invalid', 'the key set: once more');
	ok($idp->quiet, 'and not twice');
}

$t->done;
