#!/usr/bin/perl

# Who gets what when the budget of calls to Unit is not enough for all: payments
# and tokens get through a flood of lists; the smallest budget lets everybody in,
# one after the other; a partner that asks for ten times its share is not felt by
# another, and what one does not use the other may.
#
# P28 (shared state), P30 (monotonic time).

use strict;
use warnings;

use Test::More;
use UnitGateway;
use UnitGateway::Clock;

sub count { my %n; $n{ref $_ ? $_->status . ' ' . $_->code : $_}++ for @_; return \%n }

sub refused { my ($r) = @_; return $r->status . ' ' . $r->code }

my $clock = UnitGateway::Clock->new;
my ($t, $sandbox, $r, %n);

# -- lanes: a flood of lists does not stop a payment, nor a token -----------------------------------------

$t = UnitGateway->new(
	limits => 'unit_budget 100r/m burst=10 reserve=20%; unit_limit customer rate=100r/m burst=20;', env => $clock->env,
	partners => {app => {two_factor => 'jwt amr=mfa max_age=24h'}},
)->start;
$sandbox = $t->sandbox;
my @alice = (token => $t->jwt(sub => 'alice', claims => {amr => ['mfa'], auth_time => time - 5}));
my @bob = (as => 'bob');

sub pay {
	my ($n) = @_;
	return $t->post('/payments', @alice, json => {data => {
		type => 'bookPayment', attributes => {amount => 100 + $n, description => 'Rent'},
		relationships => {
			account => {data => {type => 'depositAccount', id => '1001'}}, counterpartyAccount => {data => {type => 'depositAccount', id => '1002'}},
		},
	}});
}

is(pay(0)->status, 201, 'a payment');
$clock->advance(70);
$r = $t->exhaust(@bob);
is(refused($r) . ' ' . $r->header('RateLimit-Policy'), '429 rate_limited "budget";q=100;w=60', 'lists use up the budget');
is($t->get('/accounts', @alice)->status, 429, 'for all lists');
is_deeply(count(map { pay($_) } 1 .. 10), {'201 ' => 10}, 'but payments get through');
is($t->get('/accounts', as => 'bob')->status, 429, 'and lists do not');
is($t->get('/customers/me/token', @bob)->status, 200, 'what Unit is not asked for is not limited by it');
is($t->post('/customers/me/token', as => 'bob', json => {data => {type => 'customerToken', attributes => {scope => 'cards'}}})->status, 201,
	'tokens are made from the reserve');
is_deeply(count(map { pay($_) } 11 .. 30), {'201 ' => 9, '429 rate_limited' => 11}, 'which has an end, too');

# a customer's own limit has something for payments as well
$t->configure(limits => 'unit_limit customer rate=10r/h burst=10;');
ok($t->reload, 'ten lists an hour');
$clock->advance(70);
is_deeply(count(map { $t->get('/accounts', @alice) } 1 .. 12), {'200 ' => 10, '429 rate_limited' => 2}, 'ten lists');
is_deeply(count(map { pay($_) } 31 .. 33), {'201 ' => 1, '429 rate_limited' => 2}, 'and one payment more');

# a write that is refused has not been begun: its key is free for the next try
my @key = (headers => ['Idempotency-Key' => 'rent-of-may']);
my $rent = {data => {
	type => 'bookPayment', attributes => {amount => 70, description => 'Rent'},
	relationships => {
		account => {data => {type => 'depositAccount', id => '1001'}}, counterpartyAccount => {data => {type => 'depositAccount', id => '1002'}},
	},
}};
my $mark = $sandbox->mark;
$r = $t->post('/payments', @alice, @key, json => $rent);
is(refused($r), '429 rate_limited', 'a payment with a key is refused');
$clock->advance($r->header('Retry-After'));
is($t->post('/payments', @alice, @key, json => $rent)->status, 201, 'the next try makes it');
$r = $t->post('/payments', @alice, @key, json => $rent);
is(refused($r), '429 rate_limited', 'replays count for the customer');
$clock->advance($r->header('Retry-After'));
$r = $t->post('/payments', @alice, @key, json => $rent);
is($r->header('Idempotency-Replayed'), 'true', 'a replay');
is_deeply([$r->header('RateLimit') =~ /"(\w+)"/g], ['customer'], 'counts not for Unit');
is($sandbox->mark - $mark, 1, 'which got one call');

# -- the smallest budget: tokens first, then everybody gets in ---------------------------------------------

$t->configure(limits => 'unit_budget 1r/m;');
ok($t->reload, 'one call a minute');
$clock->advance(200);
my @eve = (token => $t->jwt(sub => 'alice', claims => {sid => 'cold'}));
$r = $t->get('/accounts', @eve);
is(refused($r), '429 rate_limited', 'the first one was for the token');
$clock->advance($r->header('Retry-After'));
is($t->get('/accounts', @eve)->status, 200, 'the second one is for the request');

# a token that cannot be had gives back what was paid for the request
$t->configure(limits => 'unit_budget 100r/m burst=5 reserve=0%;');
ok($t->reload, 'a hundred');
$clock->advance(70);
$sandbox->fault(POST => '/customers/10001/token', {status => 400}, 'always');
is(refused($t->get('/accounts', token => $t->jwt(sub => 'alice', claims => {sid => "none-$_"}))), '502 upstream_invalid', 'no token') for 1 .. 4;
is($t->get('/accounts', @bob)->status, 200, 'four calls for tokens were made, not eight');
$sandbox->clear_faults;
$t->stop;

# -- partners: one that asks for ten times its share is not felt by the other --------------------------------

$t = UnitGateway->new(
	workers => 2, limits => 'unit_budget 300r/m burst=40 reserve=0%; unit_limit customer rate=300r/m burst=300;', env => $clock->env,
	partners => {app => {weight => 1}, noisy => {issuer => 'https://noisy.example.test/', weight => 3}},
)->start;
my @quiet = (as => 'alice');
my @noisy = (token => $t->jwt(sub => 'bob', claims => {iss => 'https://noisy.example.test/'}));

is($t->get('/accounts', @$_)->status, 200, 'a token') for \@quiet, \@noisy;
$clock->advance(70);

# with the other one silent, and with it: a tenth of a minute each
my @seen;
for my $noise (0, 1) {
	my (@mine, @theirs);
	for (1 .. 10) {
		push @theirs, $t->many([map { $t->bytes(GET => '/accounts', @noisy) } 1 .. 60]) if $noise;
		push @mine, $t->get('/accounts', @quiet);
		$clock->advance(1);
	}
	push @seen, count(@mine);
	if ($noise) {
		%n = %{count(@theirs)};
		cmp_ok($n{'429 rate_limited'}, '>', 450, 'the noisy one is refused');
		cmp_ok($n{'200 '}, '>=', 25 + 10 * 3, 'but for what it may');
	}
	$clock->advance(70);
}
is_deeply($seen[0], {'200 ' => 10}, 'one alone');
is_deeply($seen[1], $seen[0], 'the same with the other');

# what one does not use the other may use: much more than three quarters
my $served = 0;
for (1 .. 20) {
	$served += count($t->many([map { $t->bytes(GET => '/accounts', @noisy) } 1 .. 20]))->{'200 '};
	$clock->advance(1);
}
cmp_ok($served, '>=', 30 + 0.9 * 19 * 261 / 61, "all of the budget: $served calls in twenty seconds");

# a limit of one partner
$t->configure(limits => 'unit_limit partner rate=60r/h burst=5;');
ok($t->reload, 'a limit per partner');
$clock->advance(70);
is_deeply(count(map { $t->get('/accounts', @noisy) } 1 .. 8), {'200 ' => 5, '429 rate_limited' => 3}, 'five of one');
is_deeply(count(map { $t->get('/accounts', @quiet) } 1 .. 3), {'200 ' => 3}, 'the other has its own');
$t->done;
