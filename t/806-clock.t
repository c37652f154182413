#!/usr/bin/perl

# The time of day is set, backwards and forwards, while the gateway runs. What
# lasts a while (tokens, records, leases, limits, verifications) goes by the
# monotonic clock and does not notice. What carries a date (the caller's token,
# the time of a second factor at the identity provider) is judged by the new
# time at once; of one that has been seen before, its end. Nothing becomes valid for
# longer than it says, and nothing hangs.
#
# P30 (time).

use strict;
use warnings;

use Test::More;
use UnitGateway;
use UnitGateway::Clock;
use UnitGateway::TwoFactor qw(begin handle finish step_up);

use constant { HOUR => 3600, DAY => 86400 };

my $clock = UnitGateway::Clock->new;
my $t = UnitGateway->new(
	env => $clock->env, workers => 2, limits => 'unit_limit customer rate=900r/m burst=200; unit_limit address rate=100000r/m;',
	partners => {idp => {issuer => 'https://idp2.example.test/', two_factor => 'jwt amr=mfa max_age=10m'}},
)->start;
my $sandbox = $t->sandbox;

# by the real time: a token that has been issued long ago, for long
my $serial = 0;
sub who { my (%claims) = @_; return (token => $t->jwt(sub => 'bob', exp => 2 * DAY, claims => {iat => time - 2 * DAY, sid => 's' . ++$serial, unitCustomerId => '10002', %claims})) }
sub said { my ($r) = @_; return $r->status . ' ' . ($r->code // '') }
sub left { my ($r) = @_; return ($r->header('RateLimit') // '') =~ /"customer";r=(\d+)/ ? $1 : undef }
sub mints { return $sandbox->calls(POST => '/customers/10002/token') }

my @long = who();
my %tags = (json => {data => {type => 'businessCustomer', attributes => {tags => {a => 'b'}}}}, headers => ['Idempotency-Key' => 'kept']);

# -- before ---------------------------------------------------------------------------------

is(said($t->get('/accounts', @long)), '200 ', 'a token is made');
is(said($t->patch('/customers/me', @long, %tags)), '200 ', 'a write');
my @verified = who();
is(step_up($t, \@verified, '10002', 'payments-write')->status, 201, 'a verified token');
my @started = who();
my $handle = handle($t, \@started);
my $code = $sandbox->otp('10002')->{code};
my $pay = sub { return $t->post('/payments', @_, json => {data => {type => 'bookPayment', attributes => {amount => 1}, relationships => {
	account => {data => {type => 'depositAccount', id => '2001'}}, counterpartyAccount => {data => {type => 'depositAccount', id => '1001'}}}}}) };
is(said($pay->(@verified)), '201 ', 'pays');
my @mfa = who(iss => 'https://idp2.example.test/', amr => ['mfa'], auth_time => time - 60);
my @short = (token => $t->jwt(sub => 'bob', exp => HOUR / 2, claims => {iat => time - 5, unitCustomerId => '10002'}));
is(said($t->get('/accounts', @short)), '200 ', 'one that lasts half an hour');
my $minted = mints();

# all that is of no date, whatever the time of day
sub lasting {
	my ($name) = @_;
	is(said($t->get('/accounts', @long)), '200 ', "$name: served");
	is($t->patch('/customers/me', @long, %tags)->header('Idempotency-Replayed'), 'true', "$name: the record is there");
	is(said($pay->(@verified)), '201 ', "$name: the second factor counts");
	is(mints(), $minted, "$name: no token is made anew");
	is(said(finish($t, \@started, scope => 'payments-write', verificationToken => 'x' x 43, verificationCode => $code)), '403 verification_failed', "$name: no handle is made up");
}

# -- backwards ------------------------------------------------------------------------------

$clock->step(-HOUR);
lasting('an hour back');
is(said($t->get('/accounts', token => $t->jwt(sub => 'bob', claims => {iat => time}))), '401 token_invalid', 'an hour back: a token of the future is refused');
is(said($t->get('/accounts', @short)), '200 ', 'one that was good before is judged by its end alone');
lasting('and to an hour back again');

# -- forwards -------------------------------------------------------------------------------

$clock->step(HOUR);
is(said($t->get('/accounts', @short)), '200 ', 'the right time: valid again');
$clock->step(HOUR);
lasting('an hour on');
is(said($t->get('/accounts', @short)), '401 token_invalid', 'an hour on: a token that has been seen has expired');
$clock->step(DAY);
lasting('a day on');
$clock->step(DAY);
is(said($t->get('/accounts', @long)), '401 token_invalid', 'two days on: expired');
is(said($pay->(@verified)), '401 token_invalid', 'and no second factor helps');
$clock->step(-2 * DAY - HOUR);
lasting('the right time');

# -- a second factor at the identity provider ------------------------------------------------

is(said($pay->(@mfa)), '201 ', 'a second factor that is a minute old');
$clock->step(HOUR);
is(said($pay->(@mfa)), '401 two_factor_required', 'an hour on it is too old, though there is a token');
$clock->step(-HOUR);
is(said($pay->(@mfa)), '201 ', 'and good at the right time');
$clock->step(-HOUR);
is(said($pay->(@mfa)), '401 two_factor_required', 'an hour back it is in the future: not proven');
$clock->step(HOUR);

# -- limits ----------------------------------------------------------------------------------

my $limits = 'unit_limit customer rate=1000r/h burst=12; unit_limit address rate=100000r/m;';
$t->configure(limits => $limits);
ok($t->reload, 'a limit of twelve');
my @alice = (token => $t->jwt(sub => 'alice', exp => 2 * DAY, claims => {iat => time - DAY}));
my @left = map { left($t->get('/accounts', @alice)) } 1 .. 4;
is("@left", '11 10 9 8', 'is counted');
for (-HOUR, 2 * HOUR, -HOUR) {
	$clock->step($_);
	push @left, left($t->get('/accounts', @alice));
}
is("@left[4 .. 6]", '7 6 5', 'the time of day is nothing to it');
is(said($t->get('/accounts', @alice)), '200 ', 'until all are used') for 1 .. 5;
my $r = $t->get('/accounts', @alice);
is(said($r), '429 rate_limited', 'then it is over');
cmp_ok($r->header('Retry-After'), '<=', 4, 'for seconds');
$clock->step(DAY);
is(said($t->get('/accounts', @alice)), '429 rate_limited', 'also a day on');
$clock->step(-DAY);

# -- the verification ------------------------------------------------------------------------

# its ten minutes are ten minutes
$t->configure(limits => 'unit_limit address rate=100000r/m;');
ok($t->reload, 'no limit');
$clock->advance(HOUR);
is(said(finish($t, \@started, scope => 'payments-write', verificationToken => $handle, verificationCode => $code)), '403 verification_failed',
	'a verification has ended an hour ago, by the other clock');
my $new = begin($t, \@started);
is($new->status, 201, 'another one');
$handle = $new->json->{data}{attributes}{verificationToken};
$clock->step(-3 * HOUR);
is(finish($t, \@started, scope => 'payments-write', verificationToken => $handle, verificationCode => $sandbox->otp('10002')->{code})->status, 201,
	'is good whatever the time of day');
$clock->step(2 * HOUR);

ok($t->reload, 'workers end in time');
is(said($t->get('/accounts', @long)), '200 ', 'and new ones serve');

$t->done;
