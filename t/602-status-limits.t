#!/usr/bin/perl

# unit_status: refusals of each limit, waiting, a dry run, a pause that Unit asks
# for, the circuit, a full zone; and what is left of the budget.
#
# P26 (a full zone is counted), P30 (monotonic time).

use strict;
use warnings;

use Test::More;
use UnitGateway;
use UnitGateway::Clock;
use UnitGateway::Process qw(wait_until);
use UnitGateway::Status;

my $clock = UnitGateway::Clock->new;
my $t = UnitGateway->new(
	limits => '', env => $clock->env, server => UnitGateway::Status::LOCATION, zone => '512k',
	http => 'set_real_ip_from 127.0.0.1; real_ip_header X-Test-Address;',
)->start;
my $sandbox = $t->sandbox;
my $s = UnitGateway::Status->new($t);
my @alice = (as => 'alice');
my @bob = (as => 'bob');

sub limits {
	my ($text) = @_;
	$t->configure(limits => $text);
	ok($t->reload, $text);
	$clock->advance(3600);
	$sandbox->advance(3600);
	ok($t->get('/customers', @$_), 'a token') for \@alice, \@bob;
}

# By how much "limits", and the decisions, have moved.
sub moves {
	my ($name, $expected, $code) = @_;

	my $all = $s->counters;
	$code->();
	my %moved;
	wait_until(5, sub {
		my $now = $s->counters;
		%moved = map { $_ => $now->{$_} - ($all->{$_} // 0) } grep { /^limits|^requests\.d|^budget/ } keys %$now;
		delete $moved{$_} for grep { !$moved{$_} || !exists $expected->{$_} && /decisions\.ok/ } keys %moved;
		return join(' ', map { "$_=$moved{$_}" } sort keys %moved) eq join(' ', map { "$_=$expected->{$_}" } sort keys %$expected);
	});
	is_deeply(\%moved, $expected, $name) or diag explain \%moved;
}

sub refused { my ($kind, $n) = @_; return {"limits.$kind" => $n, 'requests.decisions.rate_limited' => $n} }

sub ask { my ($n, @o) = @_; return map { $t->get('/customers', @o)->status } 1 .. $n }

# -- the budget ----------------------------------------------------------------------

my $budget = $s->json->{budget}[0];
is_deeply($budget, {
	name => 'budget', rate => 1000, per => 60, burst => 100, left => 100, reserve => {percent => 10, size => 100, left => 100},
	paused_ms => 0, pauses => 0, breaker => 'closed', breaker_opened => 0,
}, 'the budget at the start');
ask(10, @alice);
$budget = $s->json->{budget}[0];
cmp_ok($budget->{left}, '<=', 99, 'ten calls and a token later, less is left');
cmp_ok($budget->{left}, '>=', 89, 'but not much less');
is($budget->{reserve}{left}, 100, 'nothing of the reserve');

# -- limits --------------------------------------------------------------------------

limits('unit_limit customer rate=6r/h burst=3;');
moves('customer', refused(customer => 2), sub { is_deeply([ask(4, @alice)], [200, 200, 429, 429], 'two of three are left') });
limits('unit_limit partner rate=6r/h burst=4;');
moves('partner', refused(partner => 2), sub { is_deeply([ask(4, @alice)], [200, 200, 429, 429], 'two of four are left') });
limits('unit_budget 12r/h burst=8 reserve=0%;');
$budget = $s->json->{budget}[0];
is("$budget->{rate} $budget->{per} $budget->{burst} $budget->{reserve}{size}", '12 3600 8 0', 'the budget as configured');
my $left = $budget->{left};
cmp_ok($left, '>=', 2, 'something is left of it');
moves('budget', refused(budget => 2), sub { is_deeply([ask($left + 2, @alice)], [(200) x $left, 429, 429], 'as much as it says') });
is($s->json->{budget}[0]{left}, 0, 'then nothing');
limits('unit_limit address rate=3r/h burst=3;');
moves('address', {'limits.address' => 2, 'requests.decisions.rate_limited' => 2, 'requests.decisions.token_invalid' => 3}, sub {
	is_deeply([ask(5, token => 'x.y.z')], [401, 401, 401, 429, 429], 'three failures');
});
limits('unit_limits dry_run; unit_limit customer rate=6r/h burst=3;');
moves('a dry run', {'limits.dry_run' => 2}, sub { is_deeply([ask(4, @alice)], [(200) x 4], 'refuses nobody') });
limits('unit_limit customer rate=600r/m burst=1 delay=5s;');
my $before = $s->json->{limits}{delayed};
is_deeply([map { $_->status } $t->many([($t->bytes(GET => '/customers', @alice)) x 4])], [(200) x 4], 'four wait for their turn');
ok($t->logs->wait_access(sub { $_->{limit} eq 'delayed' }), 'the log has them');
ok(wait_until(5, sub { $s->json->{limits}{delayed} - $before == grep { $_->{limit} eq 'delayed' } $t->logs->access }), 'as many are counted');

# -- what Unit says -------------------------------------------------------------------

limits('unit_breaker failures=2 window=60s open=60s;');
$sandbox->fault(GET => '/customers/*', {status => 429, headers => {'Retry-After' => 30}, body => '{}'});
moves('a pause', {'budget.pauses' => 1}, sub { is($t->get('/customers/me', @alice)->status, 429, 'Unit says 429') });
my $paused = $s->json->{budget}[0]{paused_ms};
cmp_ok($paused, '>', 20_000, 'for the time it says');
cmp_ok($paused, '<=', 31_000, 'not longer');
$clock->advance(40);
ask(1, @alice);
is($s->json->{budget}[0]{paused_ms}, 0, 'then it is over');
$sandbox->clear_faults;
$clock->advance(60);

$sandbox->fault(GET => '/customers/*', {status => 500, body => '{}'}, 10);
moves('the circuit', {'budget.breaker_opened' => 1, 'limits.circuit' => 3, 'requests.decisions.broker_unavailable' => 3}, sub {
	is_deeply([map { $t->get('/customers/me', @alice)->status } 1 .. 3], [(503) x 3], 'is open after two attempts');
});
is($s->json->{budget}[0]{breaker}, 'open', 'it says so');
$sandbox->clear_faults;
$clock->advance(61);
ask(1, @alice);
is($s->json->{budget}[0]{breaker}, 'closed', 'and that it is closed again');

# -- a full zone -----------------------------------------------------------------------

limits('unit_limit address rate=100r/m;');
my @bad = map { $t->bytes(GET => '/customers', token => 'x.y.z', headers => ['X-Test-Address' => '10.1.' . int($_ / 200) . '.' . $_ % 200]) } 1 .. 700;
$before = $s->json->{limits}{address};
my @r = $t->many(\@bad);
my $refused = grep { $_->status == 429 } @r;
cmp_ok($refused, '>', 0, 'failures that cannot be counted are refused');
ok(wait_until(5, sub { $s->json->{limits}{address} - $before == $refused }), "all $refused are counted as such");
cmp_ok($s->json->{limits}{degraded}, '>=', $refused, 'and as not counted');
cmp_ok($s->json->{zone}[0]{address_limits}, '>', 100, 'after so many that were');
cmp_ok($s->json->{zone}[0]{used}, '<=', $s->json->{zone}[0]{size}, 'within the zone');

$t->done;
