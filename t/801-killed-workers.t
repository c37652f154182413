#!/usr/bin/perl

# A worker is killed at each step of a write: while its token is created, when
# it is created and nobody has heard of it, before Unit has seen the write, when
# it is done there but not answered, in the middle of the answer, and when the
# client has it. The same request with the same key then gets the right answer,
# in time, and Unit has done it exactly once; another request under that key
# gets nothing.
#
# P24 (killed workers), P28 (leases).

use strict;
use warnings;

use JSON::PP ();
use Test::More;
use Time::HiRes ();
use UnitGateway;
use UnitGateway::Client;
use UnitGateway::Config qw(back_end);
use UnitGateway::Process qw(wait_until);
use UnitGateway::Upstream;

# between the gateway and the sandbox: the test, which holds what it likes
my $up = UnitGateway::Upstream->new(timeout => 15);
my $t = UnitGateway->new(upstream => $up->address, workers => 1, partners => {back => back_end()});
$t->start_sandbox;
$t->start_nginx;
my $sandbox = $t->sandbox;
my $back = $t->jwt(sub => 'service', claims => {iss => 'https://back.example.test/'});
my $serial = 0;

sub now { return Time::HiRes::clock_gettime(Time::HiRes::CLOCK_MONOTONIC()) }

# A call, done by the sandbox: the bytes of its answer, with so many blanks.
sub work {
	my ($call, $blanks) = @_;

	my $client = UnitGateway::Client->new(port => $t->port('SANDBOX'));
	$client->send(join "\r\n", $call->line, map({ "$_: " . $call->header($_) } grep { defined $call->header($_) } qw(Authorization Content-Type)),
		'Host: sandbox', 'Content-Length: ' . length $call->body, 'Connection: close', '', $call->body);
	my $r = $client->response;
	$client->close;
	my $body = $r->body . ' ' x ($blanks // 0);
	return 'HTTP/1.1 ' . $r->status . " X\r\nContent-Type: " . $r->header('Content-Type') . "\r\nContent-Length: " . length($body) . "\r\n\r\n$body";
}

sub ready {
	my ($client) = @_;
	my $set = '';
	vec($set, fileno $client->socket, 1) = 1;
	return select $set, undef, undef, 0;
}

# Answers what comes, until CODE says that it is enough.
sub serve {
	my ($code) = @_;

	my $end = now() + 20;
	my @calls;
	until ($code->()) {
		die "nothing came of it\n" if now() > $end;
		my $call = $up->call(timeout => 0.05) or next;
		push @calls, $call->body;
		$call->send(work($call));
		$call->done;
	}
	return @calls;
}

# -- the requests ---------------------------------------------------------------------------

sub account { return {data => {type => 'depositAccount', id => $_[0]}} }

# A payment of the organisation's, which needs no token to be created.
sub payment {
	my ($key, $amount) = @_;
	return $t->bytes(POST => '/payments', token => $back, headers => ['Idempotency-Key' => $key], json => {data => {
		type => 'bookPayment', attributes => {amount => $amount // 5, description => $key},
		relationships => {account => account('1001'), counterpartyAccount => account('1002')},
	}});
}

# An account of alice's, in a session of its own: a token has to be created.
sub opened {
	my ($key, $product) = @_;
	return $t->bytes(POST => '/accounts', token => $t->jwt(sub => 'alice', claims => {sid => $key}), headers => ['Idempotency-Key' => $key], json => {data => {
		type => 'depositAccount', attributes => {depositProduct => $product // 'checking', tags => {key => $key}},
		relationships => {customer => {data => {type => 'customer', id => '10001'}}},
	}});
}

# name, request, until the worker is killed; "told": the client has its answer
my @cases = (
	['the token is asked for' => \&opened, sub { $up->call }],
	['the token is created' => \&opened, sub { my $call = $up->call; work($call); return $call }],
	['a token is there, the write is on its way' => \&opened, sub { my $call = $up->call; $call->send(work($call)); $call->done; return $up->call }],
	['the write is on its way' => \&payment, sub { $up->call }],
	['the write is done' => \&payment, sub { my $call = $up->call; work($call); return $call }],
	['its answer has begun' => \&payment, sub {
		my ($client) = @_;
		my $call = $up->call;
		$call->send(substr work($call, 50_000), 0, -10);
		$client->readable or die "no answer\n";
		return $call;
	}],
	['the client is told' => \&payment, sub {
		my ($client) = @_;
		my $call = $up->call;
		$call->send(work($call));
		$call->done;
		is($client->response->status, 201, 'told');
		return undef;
	}, 'told'],
);

sub again {
	my ($bytes) = @_;
	my $client = $t->connect(timeout => 15);
	$client->send($bytes);
	serve(sub { ready($client) });
	my $r = $client->response;
	$client->close;
	return $r;
}

my (@open, $r, $killed);
for my $case (@cases) {
	my ($name, $request, $hold, $told) = @$case;
	my $key = 'killed-' . ++$serial;
	my $client = $t->connect;
	my $since = now();
	$client->send($request->($key));
	my $call = $hold->($client);
	$call->body if $call;

	# an operation has five seconds: after that it would have ended by itself
	my $held = now() - $since;
	diag sprintf '%s: held for %.1f s, which is too long', $name, $held if $held > 4;
	$t->kill_worker;
	$killed = now();
	$call->close if $call;
	push @open, {name => $name, key => $key, request => $request, client => $client, told => $told};

	$r = again($request->($key));
	if ($told) {
		is($r->status . ($r->header('Idempotency-Replayed') // ''), '201true', 'what a client was told is told again');
	}
	elsif ($held < 4 && now() - $killed < 2) {
		is($r->code, 'idempotency_key_in_use', "$name: for a while it is under way");
		is($r->header('Retry-After'), 1, "$name: to be asked for again");
	}
	else {
		ok($r->status == 201 || $r->code eq 'idempotency_key_in_use', "$name: it is done, or still under way");
	}
}
my ($payments, $accounts) = @{$sandbox->counters}{qw(payments_created accounts_created)};
cmp_ok($payments, '>=', 3, 'three payments are done, one client knows of it');

# -- the end of them all ---------------------------------------------------------------------

for my $o (@open) {
	$r = again($o->{request}->($o->{key}, $o->{request} == \&payment ? 6 : 'savings'));
	is($r->code, 'idempotency_key_reused', "$o->{name}: another request under its key is refused");
}

for my $o (@open) {
	my @calls;
	ok(wait_until(15, sub {
		my $client = $t->connect(timeout => 15);
		$client->send($o->{request}->($o->{key}));
		push @calls, serve(sub { ready($client) });
		$r = $client->response;
		$client->close;
		return $r->status != 409;
	}), "$o->{name}: it ends");
	is($r->status, 201, "$o->{name}: and is done");
	my $attributes = $r->json->{data}{attributes};
	is($attributes->{description} // $attributes->{tags}{key}, $o->{key}, "$o->{name}: that very one");
	$o->{id} = $r->json->{data}{id};
}
cmp_ok(now() - $killed, '<', 12, 'within seconds');

for my $o (@open) {
	$r = again($o->{request}->($o->{key}));
	is(($r->header('Idempotency-Replayed') // '') . $r->json->{data}{id}, "true$o->{id}", "$o->{name}: and told again");
}
($payments, $accounts) = @{$sandbox->counters}{qw(payments_created accounts_created)};
is($payments, 4, 'four payments');
is($accounts, 3, 'three accounts');

# each with one key at Unit, however often it came
my %keys;
for my $call ($sandbox->journal) {
	next if $call->{path} !~ m{\A/(?:payments|accounts)\z} || $call->{method} ne 'POST';
	my $a = JSON::PP::decode_json($call->{body})->{data}{attributes};
	$keys{$a->{description} // $a->{tags}{key}}{$a->{idempotencyKey}}++;
}
is_deeply([map { scalar keys %{$keys{$_->{key}}} } @open], [(1) x @open], 'each with one key at Unit');
is(scalar keys %{{map { %$_ } values %keys}}, scalar @open, 'of its own');

$_->{client}->close for @open;
$t->done;
