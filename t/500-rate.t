#!/usr/bin/perl

# The budget of calls to Unit: a storm within the default settings, which Unit
# never has to refuse; a whole minute of it on a clock of our own; answers that
# say truly when to come back; limits of one customer that touch nobody else.
# What is answered here costs nothing.
#
# P2 (charged once), P28, P30 (monotonic time).

use strict;
use warnings;

use Test::More;
use UnitGateway;
use UnitGateway::Clock;

sub count { my %n; $n{ref $_ ? $_->status . ' ' . $_->code : $_}++ for @_; return \%n }

sub refused { my ($r) = @_; return $r->status . ' ' . $r->code }

# RateLimit as a list of [name, r, t].
sub limits { my ($r) = @_; return map { /\A"([\w-]+)";r=(\d+);t=(\d+)\z/ ? [$1, $2, $3] : die "bad RateLimit item: $_\n" } split /, /, $r->header('RateLimit') // '' }

# What Unit got of it, but for the refused.
sub calls { my ($t, $since) = @_; return scalar grep { $_->{status} != 429 } $t->sandbox->journal($since) }

# -- 1,400 requests of 20 customers, at the default budget -------------------------------------------------

my $clock = UnitGateway::Clock->new;
my $t = UnitGateway->new(workers => 2, limits => '', env => $clock->env, sandbox_limit => 1000)->start;
my $sandbox = $t->sandbox;
my @made = $sandbox->customers(40);
my @who = map { {token => $t->jwt(sub => $_->{subject}, claims => {unitCustomerId => "$_->{customerId}"})} } @made;

sub storm {
	my ($n, @from) = @_;
	return $t->many([map { $t->bytes(GET => '/accounts', %{$from[$_ % @from]}) } 0 .. $n - 1]);
}

my @r = storm(1400, @who[0 .. 19]);
my %n = %{count(@r)};
is_deeply([sort keys %n], ['200 ', '429 rate_limited'], 'served, or told to come back');
cmp_ok($n{'200 '}, '>=', 75, 'the burst is served, less the tokens that were made for it');
cmp_ok($n{'200 '}, '<=', 300, 'and no more');
is($sandbox->counter('refused_429'), 0, 'Unit has refused nothing');
is((grep { $_->status == 429 && ($_->header('Retry-After') // '') !~ /\A[1-9]\d?\z/ } @r), 0, 'each refusal says when to come back');

# a minute of storms; the sandbox' clock goes with ours
for (1 .. 11) {
	$clock->advance(5);
	$sandbox->advance(5);
	push @r, storm(75, @who[0 .. 39]);
}
%n = %{count(@r)};
cmp_ok(calls($t), '<=', 1000, 'Unit has got ' . calls($t) . ' calls in this minute, tokens among them');
cmp_ok(calls($t), '>=', 800, 'most of what it allows');
is($sandbox->counter('refused_429'), 0, 'none too many');
$clock->advance(70);
$sandbox->advance(70);
is((storm(1, $who[0]))[0]->status, 200, 'afterwards all is as before');

# -- what is answered here costs nothing ------------------------------------------------------------------

my $before = (limits($t->get('/accounts', %{$who[0]})))[0];
$t->get('/customers/1', %{$who[0]}) for 1 .. 30;
$t->get('/nope', %{$who[0]}) for 1 .. 30;
$t->get('/accounts?filter[customerId]=1', %{$who[0]}) for 1 .. 30;
my $after = (limits($t->get('/accounts', %{$who[0]})))[0];
cmp_ok($after->[1], '>=', $before->[1] - 2, '4xx of our own do not count');

# -- answers -----------------------------------------------------------------------------------------------

$clock->advance(100);
my $r = $t->get('/accounts', %{$who[1]});
is($r->header('RateLimit-Policy'), '"customer";q=600;w=60, "budget";q=1000;w=60', 'the policies');
is_deeply([map { $_->[0] } limits($r)], [map { /"(\w+)"/g } $r->header('RateLimit-Policy')], 'both in one order');
is((limits($r))[0][1], 99, 'after one of a hundred');
$t->get('/accounts', %{$who[1]}) for 1 .. 9;
$t->get('/accounts', %{$who[2]}) for 1 .. 9;
my @limits = limits($t->get('/accounts', %{$who[1]}));
is_deeply([map { $_->[0] } @limits], ['budget', 'customer'], 'the tightest first');
cmp_ok($limits[0][1], '<=', $limits[1][1], 'which has fewest left');
is($t->get('/accounts', token => 'x')->header('RateLimit'), undef, 'nothing of it for strangers');

# a client that waits as long as it is told gets through; a second less is too early
$t->configure(limits => 'unit_limit customer rate=6r/m burst=3;');
ok($t->reload, 'a limit per customer of one in ten seconds');
$r = $t->exhaust(%{$who[3]});
is(refused($r), '429 rate_limited', 'refused');
is($r->header('RateLimit-Policy'), '"customer";q=6;w=60', 'by which policy');
is((limits($r))[0][1], 0, 'nothing left');
my $wait = $r->header('Retry-After');
is((limits($r))[0][2], $wait, 'until when, twice');
cmp_ok($wait, '>=', 9, 'about ten seconds');
cmp_ok($wait, '<=', 10, 'not more');
like($r->body, qr/"code":"rate_limited"/, 'a document as any');
is($r->header('Content-Type'), 'application/vnd.api+json', 'of the type of all');
$clock->advance($wait - 2);
is($t->get('/accounts', %{$who[3]})->status, 429, 'two seconds less: too early');
$clock->advance(2);
is($t->get('/accounts', %{$who[3]})->status, 200, 'then it is served');
is($t->get('/accounts', %{$who[3]})->status, 429, 'one for ten seconds');
is($t->get('/accounts', %{$who[4]})->status, 200, 'another customer is not touched');
my $third = $made[3];
my @same = (token => $t->jwt(sub => 'somebody else', claims => {unitCustomerId => "$third->{customerId}", sid => 'new'}));
is($t->get('/accounts', @same)->status, 429, 'another subject and session of the same customer is');
is($t->logs->wait_access(sub { $_->{limit} eq 'refused:customer' })->{decision}, 'rate_limited', 'the log knows which limit');
ok($t->logs->wait_access(sub { $_->{limit} eq 'passed' }), 'and who passed');
like($t->error_log, qr/unit refused: rate_limited, reason: limit_customer, operation: list-accounts/, 'so does the error log');

# the budget is as honest
$t->configure(limits => 'unit_budget 20r/m burst=4 reserve=10%; unit_limit customer rate=20r/m burst=20;');
ok($t->reload, 'a budget of twenty');
$clock->advance(70);
$r = $t->exhaust(%{$who[5]});
is($r->header('RateLimit-Policy'), '"budget";q=20;w=60', 'now it is the budget');
$wait = $r->header('Retry-After');
$clock->advance($wait);
is($t->get('/accounts', %{$who[5]})->status, 200, 'who waits is served');
is($t->get('/accounts', %{$who[5]})->status, 429, 'once');

# several windows
$t->configure(limits => 'unit_limit customer rate=600r/m burst=50; unit_limit customer rate=10r/h burst=10;');
ok($t->reload, 'two windows');
$clock->advance(70);
for (1 .. 10) { $r = $t->get('/accounts', %{$who[6]}) }
is($r->status, 200, 'ten are served');
is($r->header('RateLimit-Policy'), '"customer-2";q=10;w=3600, "customer";q=600;w=60, "budget";q=1000;w=60', 'three policies');
$r = $t->get('/accounts', %{$who[6]});
is($r->header('RateLimit-Policy'), '"customer-2";q=10;w=3600', 'the second one refuses');
cmp_ok($r->header('Retry-After'), '>', 300, 'for minutes');
$t->done;
