#!/usr/bin/perl

# What is learnt from Unit. A 429 pauses all calls for as long as it says; it
# reaches the client as it is, or, where the request may be repeated, not at all.
# A burst of failures opens the circuit: nobody calls Unit but one probe at a time,
# until one succeeds. Failures now and then, and a client that leaves, do nothing.
#
# P19 (client abort), P28, P30.

use strict;
use warnings;

use Test::More;
use UnitGateway;
use UnitGateway::Clock;
use UnitGateway::Process qw(wait_until);
use UnitGateway::Upstream;

sub refused { my ($r) = @_; return $r->status . ' ' . ($r->code // '') }

sub count { my %n; $n{ref $_ ? refused($_) : $_}++ for @_; return \%n }

my $clock = UnitGateway::Clock->new;
my $t = UnitGateway->new(workers => 2, env => $clock->env, limits => 'unit_breaker failures=6 window=10s open=30s;')->start;
my $sandbox = $t->sandbox;
my @alice = (as => 'alice');
my @bob = (as => 'bob');

# an operation that is never sent twice
sub tag { return $t->patch('/accounts/1001', @alice, json => {data => {type => 'depositAccount', attributes => {tags => {n => '1'}}}}) }

is($t->get('/accounts', @$_)->status, 200, 'a token') for \@alice, \@bob;
is(tag()->status, 200, 'and one for writes');

# -- 429 ----------------------------------------------------------------------------------------------------

my $doc = {errors => [{status => '429', title => 'Slow down', code => 'of_unit'}]};
$sandbox->fault(PATCH => '/accounts/1001', {status => 429, headers => {'Retry-After' => '20', 'X-Of-Unit' => '1'}, body => $doc});
my $mark = $sandbox->mark;
my $r = tag();
is(refused($r), '429 of_unit', 'a 429 of Unit reaches the client');
is($r->header('Retry-After'), '20', 'with its time');
is($r->header('X-Of-Unit'), '1', 'and all else');
my @during = map { $t->get('/accounts', @bob) } 1 .. 4;
is_deeply(count(@during), {'429 rate_limited' => 4}, 'others are not let through meanwhile');
cmp_ok($_->header('Retry-After'), '>=', 20, 'but told when to come back') for @during;
cmp_ok($_->header('Retry-After'), '<=', 22, 'which is not much later') for @during;
is(refused($t->get('/accounts', token => $t->jwt(sub => 'alice', claims => {sid => 'new'}))), '429 rate_limited', 'no tokens are asked for');
is($sandbox->mark - $mark, 1, 'Unit is left alone');
like($t->error_log, qr/the API has answered 429, paused for 2\d{4} ms/, 'the log tells');
ok($t->reload, 'a reload');
$t->kill_worker($_) for $t->workers;
is(refused($t->get('/accounts', @bob)), '429 rate_limited', 'and new workers do not end the pause');
is($t->get('/nope', @bob)->status, 404, 'what costs Unit nothing is answered');

$clock->advance(15);
is(refused($t->get('/accounts', @bob)), '429 rate_limited', 'nor does a part of the time');
$clock->advance(7);
is($t->get('/accounts', @bob)->status, 200, 'then it goes on');
my $n = count($t->many([map { $t->bytes(GET => '/accounts', @bob) } 1 .. 90]));
cmp_ok($n->{'429 rate_limited'}, '>', 50, 'not with all at once');

# the time may be a date, or missing, or nonsense, or too long
$clock->advance(100);
my @days = qw(Sun Mon Tue Wed Thu Fri Sat);
my @months = qw(Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec);
my @g = gmtime(time + 40);
my $date = sprintf '%s, %02d %s %d %02d:%02d:%02d GMT', $days[$g[6]], $g[3], $months[$g[4]], 1900 + $g[5], @g[2, 1, 0];
for (
	[$date, 34, 43], [undef, 1, 3], ['soon', 1, 3], ['-5', 1, 3], ['99999999999999999999', 1, 3], ['86400', 299, 302], ['0', 0, 2],
) {
	my ($value, $min, $max) = @$_;
	my $name = $value // 'none';
	$sandbox->fault(PATCH => '/accounts/1001', {status => 429, defined $value ? (headers => {'Retry-After' => $value}) : ()});
	is(tag()->status, 429, "Retry-After $name");
	$r = $t->get('/accounts', @bob);
	cmp_ok($r->header('Retry-After') // 0, '>=', $min, "$name: paused for so long") if $min;
	cmp_ok($r->header('Retry-After') // 0, '<=', $max, "$name: and not longer");
	$clock->advance(310);
}

# a 429 to a token call pauses, too
$sandbox->fault(POST => '/customers/10001/token', {status => 429, headers => {'Retry-After' => '9'}});
is(refused($t->get('/accounts', token => $t->jwt(sub => 'alice', claims => {sid => 'late'}))), '503 broker_unavailable', 'no token');
is(refused($t->get('/accounts', @bob)), '429 rate_limited', 'paused for all');
$clock->advance(100);

# who may be sent again notices nothing but time
$sandbox->fault(GET => '/accounts', {status => 429, headers => {'Retry-After' => '1'}});
$mark = $sandbox->mark;
$r = $t->get('/accounts', @bob);
is($r->status, 200, 'a list is asked for again');
is_deeply([map { $_->{status} } grep { $_->{path} eq '/accounts' } $sandbox->journal($mark)], [429, 200], 'after the pause');
ok($t->logs->wait_access(sub { $_->{attempts} eq '2' && $_->{status} == 200 }), 'in two attempts');
$clock->advance(100);

# -- the circuit --------------------------------------------------------------------------------------------

$sandbox->fault(PATCH => '/accounts/1001', {status => 503}, 6);
is_deeply(count(map { $t->get('/accounts', @bob) } 1 .. 9), {'200 ' => 9}, 'calls that succeed');
is_deeply([map { tag()->status } 1 .. 3], [503, 503, 503], 'failures now and then');
is($t->get('/accounts', @bob)->status, 200, 'open no circuit');
is_deeply([map { tag()->status } 1 .. 3], [503, 503, 503], 'nor do as many among many');
is($t->get('/accounts', @bob)->status, 200, 'for most calls succeed');

$clock->advance(100);
$sandbox->fault(PATCH => '/accounts/1001', {status => 500}, 'always');
is_deeply([map { tag()->status } 1 .. 6], [(500) x 6], 'a burst of failures');
$mark = $sandbox->mark;
$r = $t->get('/accounts', @bob);
is(refused($r), '503 broker_unavailable', 'opens the circuit');
cmp_ok($r->header('Retry-After'), '>=', 29, 'for its time');
cmp_ok($r->header('Retry-After'), '<=', 30, 'as is told');
is(refused(tag()), '503 broker_unavailable', 'for all operations');
is($sandbox->mark, $mark, 'Unit is left alone');
is($t->get('/accounts', token => 'x')->status, 401, 'what costs it nothing is answered');
is($t->logs->wait_access(sub { $_->{limit} eq 'refused:circuit' })->{decision}, 'broker_unavailable', 'the log knows');
like($t->error_log, qr/\[error\].*the circuit to the API is open/, 'and tells it once');

$clock->advance(30);
is(tag()->status, 500, 'then one call tries');
is(refused(tag()), '503 broker_unavailable', 'and fails: open again');
is($sandbox->mark - $mark, 1, 'by one call');
$clock->advance(30);

# many at once: one of them is the probe
$sandbox->clear_faults;
$sandbox->fault(GET => '/accounts', {delay_ms => 300});
$mark = $sandbox->mark;
my @all = $t->many([map { $t->bytes(GET => '/accounts', @bob) } 1 .. 20]);
is_deeply(count(@all), {'200 ' => 1, '503 broker_unavailable' => 19}, 'of many one is let through');
is($sandbox->mark - $mark, 1, 'Unit gets one call');
is_deeply(count(map { $t->get('/accounts', @bob) } 1 .. 5), {'200 ' => 5}, 'it has closed the circuit');
is(tag()->status, 200, 'for all');
like($t->error_log, qr/\[notice\].*closed again/, 'the log tells');

# a probe that needs a token: that call is the probe
$clock->advance(100);
$sandbox->fault(PATCH => '/accounts/1001', {status => 500}, 6);
tag() for 1 .. 6;
is(refused(tag()), '503 broker_unavailable', 'open');
$clock->advance(30);
$mark = $sandbox->mark;
my $jwt = $t->jwt(sub => 'alice', claims => {sid => 'probe'});
$sandbox->fault(POST => '/customers/10001/token', {status => 500});
is(refused($t->get('/accounts', token => $jwt)), '502 upstream_unavailable', 'a probe gets no token');
is(refused($t->get('/accounts', token => $jwt)), '503 broker_unavailable', 'open again');
$clock->advance(30);
is($t->get('/accounts', token => $jwt)->status, 200, 'a probe gets one');
is(tag()->status, 200, 'closed');
$t->stop;

# -- no answer at all -----------------------------------------------------------------------------------------

my $up = UnitGateway::Upstream->new;
$t = UnitGateway->new(upstream => $up->address, sandbox => 0, env => $clock->env, limits => 'unit_breaker failures=3 window=10s open=2s;')->start;

sub ask {
	my $client = $t->connect;
	$client->send($t->bytes(PATCH => '/accounts/1001', @alice, json => {data => {type => 'depositAccount', attributes => {}}}));
	return $client;
}

my $client = ask();
$up->grant;
$up->call->close;
is(refused($client->response), '502 upstream_unavailable', 'a call that is cut off');
for (1 .. 2) {
	$client = ask();
	$up->call->end('garbage');
	is(refused($client->response), '502 upstream_invalid', 'garbage');
}
is(refused(ask()->response), '503 broker_unavailable', 'opens the circuit');

# the client of a probe leaves: nobody knows, so the next one tries
$clock->advance(2);
$client = $t->connect;
$client->send($t->bytes(GET => '/accounts', token => $t->jwt(sub => 'alice', claims => {sid => 'x'})));
my $call = $up->call;
$client->close;
is(refused(ask()->response), '503 broker_unavailable', 'while a probe is under way there is no other');
$call->close;
my $other;
ok(wait_until(10, sub {
	$clock->advance(1);
	$other = ask();
	return $up->call(timeout => 0.2);
}), 'then there is');
$t->done;
