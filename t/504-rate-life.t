#!/usr/bin/perl

# Requests that wait for their turn, without keeping a worker from others and
# without being forgotten when their client leaves; a dry run, which refuses
# nobody and says whom it would have; limits that are still there after a reload
# and after workers have died; further attempts, which count.
#
# P5 (waiting), P19 (client abort), P24, P25 (reload).

use strict;
use warnings;

use Test::More;
use Time::HiRes ();
use UnitGateway;
use UnitGateway::Clock;
use UnitGateway::Process qw(wait_until);
use UnitGateway::Upstream;

sub refused { my ($r) = @_; return $r->status . ' ' . ($r->code // '') }

sub count { my %n; $n{ref $_ ? refused($_) : $_}++ for @_; return \%n }

my @alice = (as => 'alice');
my @bob = (as => 'bob');

# -- waiting ------------------------------------------------------------------------------------------------

my $t = UnitGateway->new(limits => 'unit_limit customer rate=300r/m burst=1 delay=500ms;', http2 => 1)->start;
is($t->get('/accounts', @$_)->status, 200, 'a token') for \@alice, \@bob;
ok(wait_until(5, sub { $t->get('/accounts', @alice)->header('RateLimit') =~ /"customer";r=0;t=1/ }), 'one each 200 ms');
my @r = $t->many([map { $t->bytes(GET => '/accounts', @alice) } 1 .. 12]);
my %n = %{count(@r)};
cmp_ok($n{'200 '}, '>=', 2, 'some wait for their turn');
cmp_ok($n{'200 '}, '<=', 4, 'as long as they may');
is($n{'200 '} + $n{'429 rate_limited'}, 12, 'the others are refused');
is($t->get('/accounts', @bob)->status, 200, 'nobody else waits');
is($t->logs->wait_access(sub { $_->{limit} eq 'delayed' })->{status}, '200', 'the log knows who did');
cmp_ok((sort { $b <=> $a } map { $_->{request_time} } grep { $_->{limit} eq 'delayed' } $t->logs->access)[0], '>=', 0.1, 'and how long');
is($t->h2(GET => '/accounts', @bob)->status, 200, 'over HTTP/2, too') for 1 .. 2;

# a client that leaves while it waits, and one that sends more
my $client = $t->connect;
$client->send($t->bytes(GET => '/accounts', @alice)) for 1;
$client->close;
$client = $t->connect;
$client->send($t->bytes(GET => '/accounts', @bob) x 2);
is_deeply([map { $client->response->status } 1 .. 2], [200, 200], 'pipelined requests wait one after the other');
$client->close;

# with a body, that has been read before
$t->configure(limits => 'unit_limit customer rate=300r/m burst=1 delay=2s;');
ok($t->reload, 'two seconds');
my $body = {data => {type => 'depositAccount', attributes => {tags => {a => 'b'}}}};
is($t->patch('/accounts/1001', @alice, json => $body)->status, 200, 'a write waits') for 1 .. 3;
my @sent = grep { $_->{method} eq 'PATCH' } $t->sandbox->journal;
is_deeply([map { JSON::PP::decode_json($_->{body}) } @sent], [($body) x 3], 'and arrives whole');
$t->stop;

# -- a dry run ----------------------------------------------------------------------------------------------

my $clock = UnitGateway::Clock->new;
$t = UnitGateway->new(
	env => $clock->env, workers => 2,
	limits => 'unit_limits dry_run; unit_limit customer rate=6r/h burst=2; unit_limit address rate=6r/h burst=1; unit_breaker failures=2 window=60s open=60s;',
)->start;
is_deeply(count(map { $t->get('/accounts', @alice) } 1 .. 5), {'200 ' => 5}, 'nobody is refused');
is_deeply(count(map { $t->get('/accounts', token => 'x') } 1 .. 3), {'401 token_invalid' => 3}, 'but for what is wrong');
ok($t->logs->wait_access(sub { 5 + 3 == $t->logs->access }), 'all are logged');
is_deeply([map { $_->{limit} } $t->logs->access], ['passed', 'passed', ('dry_run:customer') x 3, '', ('dry_run:address') x 2], 'with what would have been');
is((() = $t->error_log =~ /would be refused: limit_customer/g), 3, 'in the error log as well');
$t->sandbox->fault(PATCH => '/accounts/1001', {status => 429, headers => {'Retry-After' => 60}}, 1);
$t->sandbox->fault(PATCH => '/accounts/1001', {status => 500}, 3);
is_deeply([map { $t->patch('/accounts/1001', @alice, json => $body)->status } 1 .. 5], [429, 500, 500, 500, 200], 'whatever Unit says');
ok($t->logs->wait_access(sub { $_->{limit} eq 'dry_run:circuit' }), 'and what the circuit would have done');

# off is off
$t->configure(limits => 'unit_limits off; unit_limit customer rate=6r/h burst=2; unit_limit address rate=6r/h burst=1; unit_budget 1r/m;');
ok($t->reload, 'off');
my @all = map { $t->get('/accounts', @alice) } 1 .. 5;
is_deeply(count(@all), {'200 ' => 5}, 'nobody is refused');
is($all[-1]->header('RateLimit'), undef, 'nor told anything');
is_deeply(count(map { $t->get('/accounts', token => 'x') } 1 .. 3), {'401 token_invalid' => 3}, 'nor for failures');

# -- reload, dead workers -----------------------------------------------------------------------------------

my $limits = 'unit_budget 100r/m burst=20 reserve=0%; unit_limit customer rate=6r/h burst=4;';
$t->configure(limits => $limits, partners => {other => {issuer => 'https://other.example.test/'}});
$t->restart;
is_deeply(count(map { $t->get('/accounts', @alice) } 1 .. 6), {'200 ' => 4, '429 rate_limited' => 2}, 'four of an hour');
ok($t->reload, 'a reload');
is($t->get('/accounts', @alice)->status, 429, 'they are not forgotten');
$t->kill_worker($_) for $t->workers;
is($t->get('/accounts', @alice)->status, 429, 'nor when workers die');
$t->configure(limits => $limits . 'unit_limit customer rate=1000r/d burst=100;', partners => {third => {issuer => 'https://third.example.test/'}});
ok($t->reload, 'other limits, other partners');
is($t->get('/accounts', @alice)->status, 200, 'are counted anew');
cmp_ok(count(map { $t->get('/accounts', @bob) } 1 .. 3)->{'200 '}, '==', 3, 'served');
my @left = map { /"budget";r=(\d+)/ ? $1 : () } map { $t->get('/accounts', @bob)->header('RateLimit') } 1;
cmp_ok($left[0], '<=', 20, 'the budget stays');

# a smaller budget after a reload holds at once
$clock->advance(100);
$t->configure(limits => 'unit_budget 10r/m burst=2 reserve=0%; unit_limit customer rate=10r/m burst=10;', partners => {other => undef, third => undef});
ok($t->reload, 'a small budget');
cmp_ok(count(map { $t->get('/accounts', @bob) } 1 .. 10)->{'200 '} // 0, '<=', 2, 'holds');
$t->stop;

# -- further attempts count ---------------------------------------------------------------------------------

my $up = UnitGateway::Upstream->new;
$t = UnitGateway->new(upstream => $up->address, sandbox => 0, limits => 'unit_budget 4r/h burst=4 reserve=0%; unit_limit customer rate=4r/h burst=4;')->start;

sub ask { my $c = $t->connect; $c->send($t->bytes(GET => '/accounts', @alice)); return $c }

sub left { my ($r) = @_; return $r->header('RateLimit') =~ /"budget";r=(\d+)/ ? $1 : undef }

$client = ask();
$up->grant;
$up->call->answer(200, '{"data":[]}');
is(left($client->response), 3, 'one of four calls, before a token was needed');
$client = ask();
$up->call->answer(401, '{"errors":[]}');
$up->grant;
my $call = $up->call(timeout => 0.3);
is($call, undef, 'after a 401 and a new token nothing is left');
is(refused($client->response), '429 rate_limited', 'for another attempt');
$t->configure(limits => 'unit_budget 100r/h burst=20 reserve=0%; unit_limit customer rate=4r/h burst=4;');
$t->restart;
$client = ask();
$up->grant;
$up->call->answer(401, '{"errors":[]}');
$up->grant;
$up->call->answer(200, '{"data":[]}');
$r[0] = $client->response;
is(left($r[0]), 17, 'each attempt counts for Unit');
is(($r[0]->header('RateLimit') =~ s/;t=\d+//gr), '"customer";r=3, "budget";r=17', 'the request once for its customer');
$t->done;
