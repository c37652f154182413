#!/usr/bin/perl

# two_factor jwt: the identity provider has asked for the second factor. What a
# token has to say for it, that it proves so for itself alone, and what Unit gets:
# the token, which the sandbox checks as Unit does.
#
# P28, P30 (time), P36 (secrets); DESIGN 5.3, RFC 8176 (amr), RFC 9470.

use strict;
use warnings;

use Test::More;
use UnitGateway;
use UnitGateway::Client;
use UnitGateway::Clock;
use UnitGateway::TwoFactor qw(verification begin handle finish step_up);

my $clock = UnitGateway::Clock->new;
my $t = UnitGateway->new(
	workers => 2, env => $clock->env, http => 'unit_limits off;',
	partners => {app => {two_factor => 'jwt amr=mfa max_age=1h'}, otp => {issuer => 'https://otp.example.test/'}},
)->start;
my $sandbox = $t->sandbox;
my $now = time;

sub who {
	my ($subject, %claims) = @_;
	return (token => $t->jwt(sub => $subject, exp => 7200, claims => \%claims));
}

# With a second factor, some seconds ago.
sub mfa { my ($subject, $ago, %claims) = @_; return who($subject, amr => ['pwd', 'mfa'], auth_time => $now - $ago, %claims) }

sub freeze { my ($card, @who) = @_; return $t->post("/cards/$card/freeze", @who, json => {data => {}}) }

sub refused { my ($r) = @_; return $r->status . ' ' . $r->code }

sub mints { return map { JSON::PP::decode_json($_->{body})->{data}{attributes} } grep { $_->{path} =~ m{/token\z} } $sandbox->journal($_[0]) }

sub status { my (@who) = @_; return $t->get('/customers/me/token', @who)->json->{data}{attributes} }

# -- what a token has to say -----------------------------------------------------------

my $mark = $sandbox->mark;
my $r = freeze(1101, who('alice', sid => 'none'), headers => ['X-Request-Id' => 'two-factor-000001']);
is(refused($r), '401 two_factor_required', 'no second factor');
is($r->header('WWW-Authenticate'),
	'Bearer error="insufficient_user_authentication", scope="cards-write", max_age=86400', 'the challenge of RFC 9470');
is($r->body,
	'{"errors":[{"id":"two-factor-000001","status":"401","title":"Unauthorized","code":"two_factor_required",'
	. '"detail":"This operation requires a recent two-factor authentication.","meta":{"scopes":["cards-write"]}}]}',
	'no link: the code is not asked for here');
for (
	['another method' => amr => ['pwd', 'otp'], auth_time => $now], ['in another case' => amr => ['MFA'], auth_time => $now],
	['a part of it' => amr => ['mf', 'mfaa', ''], auth_time => $now], ['no methods' => amr => [], auth_time => $now],
	['no time' => amr => ['mfa']], ['an hour and more ago' => amr => ['mfa'], auth_time => $now - 3601],
	['long ago' => amr => ['mfa'], auth_time => 1], ['time 0' => amr => ['mfa'], auth_time => 0],
	['a time to come' => amr => ['mfa'], auth_time => $now + 90], ['far in the future' => amr => ['mfa'], auth_time => 2**40],
	['only the time' => auth_time => $now],
) {
	my ($name, %claims) = @$_;
	$r = freeze(1101, who('alice', sid => 'not', %claims));
	is(refused($r), '401 two_factor_required', "$name: not verified");
}
for (
	['a number for the method' => amr => 1, auth_time => $now], ['numbers' => amr => [1], auth_time => $now],
	['an object' => amr => {mfa => 1}, auth_time => $now], ['null for the time' => amr => ['mfa'], auth_time => undef],
	['text for the time' => amr => ['mfa'], auth_time => "$now"], ['a negative time' => amr => ['mfa'], auth_time => -1],
) {
	my ($name, %claims) = @$_;
	$r = freeze(1101, who('alice', sid => 'not', %claims));
	like(refused($r), qr/\A401 (?:two_factor_required|token_invalid)\z/, "$name: not verified");
}
is(scalar mints($mark), 0, 'Unit has not been asked for a token');

for (
	['now' => 0], ['the identity provider\'s clock is ahead' => -20], ['an hour ago, nearly' => 3500],
) {
	my ($name, $ago) = @$_;
	my @who = mfa('alice', $ago, sid => "ok $ago");
	$mark = $sandbox->mark;
	is(refused(freeze(1101, @who)), '200 ', "$name: verified");
	my ($mint, @more) = mints($mark);
	is(scalar @more, 0, "$name: one token");
	is($mint->{jwtToken}, $who[1], "$name: for the caller's own");
	is($mint->{scope}, 'cards-write', "$name: of the scope that it takes");
	is_deeply([sort keys %$mint], [qw(expiresIn jwtToken scope)], "$name: and nothing else");
	cmp_ok($mint->{expiresIn}, '<=', $ago == 3500 ? 100 : 3600, "$name: no longer than that counts");
	cmp_ok($mint->{expiresIn}, '>', 60, "$name: but so long");
	my ($call) = grep { $_->{path} =~ /freeze/ } $sandbox->journal($mark);
	is($call->{verified}, 1, "$name: the call goes with it");
	$mark = $sandbox->mark;
	is(refused(freeze(1101, @who)), '200 ', "$name: again");
	is(scalar mints($mark), 0, "$name: from the cache");
	cmp_ok(status(@who)->{expiresIn}, '<=', $ago == 3500 ? 100 : 3600, "$name: for as long");
}

# Unit grants more than was asked for: a token of a day, made past the gateway
my @long = mfa('bob', 3500, sid => 'long');
my $body = JSON::PP::encode_json({data => {type => 'customerToken', attributes => {scope => 'cards-write', jwtToken => $long[1]}}});
my $client = UnitGateway::Client->new(port => $t->port('SANDBOX'));
$client->send("POST /customers/10002/token HTTP/1.1\r\nHost: unit\r\nContent-Type: application/vnd.api+json\r\nAuthorization: Bearer "
	. $t->read_file('org-token') =~ s/\s+//gr . "\r\nContent-Length: " . length($body) . "\r\n\r\n$body");
my $day = $client->response->json;
is($day->{data}{attributes}{expiresIn}, 86400, 'Unit grants a day');
$sandbox->fault(POST => '/customers/10002/token', {status => 201, body => $day});
is(refused(freeze(2101, @long)), '200 ', 'it is used');
cmp_ok(status(@long)->{expiresIn}, '<=', 100, 'for as long as the second factor counts');

# -- each for itself ----------------------------------------------------------------------

for my $sid ('shared', undef) {
	my @sid = defined $sid ? (sid => $sid) : ();
	my $name = defined $sid ? 'a session' : 'no session';
	is(refused(freeze(1101, mfa('alice', 0, @sid))), '200 ', "$name: with a second factor");
	$mark = $sandbox->mark;
	is(refused(freeze(1101, who('alice', @sid))), '401 two_factor_required', "$name: a token without does not profit");
	is(refused(freeze(1101, mfa('alice', 3601, @sid))), '401 two_factor_required', "$name: nor an old one");
	is(refused(freeze(1101, who('alice', @sid, amr => ['pwd'], auth_time => $now))), '401 two_factor_required', "$name: nor a weak one");
	is(refused(freeze(1101, mfa('alice', 10, @sid))), '200 ', "$name: another with one does");
	is(scalar mints($mark), 0, "$name: with the same token");
}
is(refused(freeze(1101, mfa('alice', 0, sid => 'reader', unitRole => 'ReadOnly'))), '403 insufficient_scope', 'who only reads does not write');

# -- at Unit ----------------------------------------------------------------------------------

my @alice = mfa('alice', 0, sid => 'unit');
is(refused(freeze(1101, @alice)), '200 ', 'verified');
$sandbox->revoke('10001');
$mark = $sandbox->mark;
is(refused(freeze(1101, @alice)), '200 ', 'Unit has revoked it: a new one, for the proof is still there');
is(scalar mints($mark), 1, 'one');
$clock->advance(3599);
$mark = $sandbox->mark;
is(refused(freeze(1101, @alice)), '200 ', 'it is over: the next');
is(scalar mints($mark), 1, 'made when it is needed');

# the subject is not the customer's jwtSubject
$mark = $sandbox->mark;
$r = freeze(1101, mfa('eve', 0, unitCustomerId => '10001'));
is(refused($r), '503 broker_unavailable', 'Unit does not know the subject');
is(scalar(grep { $_->{path} =~ /freeze/ } $sandbox->journal($mark)), 0, 'nothing is done');
is(refused(freeze(1101, mfa('eve', 0, unitCustomerId => '10001', jti => 2))), '503 broker_unavailable', 'once more');
is(scalar mints($mark), 1, 'Unit is not asked for each');

# many at once
my @bob = mfa('bob', 0, sid => 'many');
$sandbox->fault(POST => '/customers/10002/token', {delay_ms => 100});
$mark = $sandbox->mark;
my @all = $t->many([($t->bytes(POST => '/cards/2101/freeze', @bob, json => {data => {}})) x 20], together => 1);
is_deeply([map { ref ? $_->status : $_ } @all], [(200) x 20], 'twenty at once');
is(scalar mints($mark), 1, 'one token');

# -- the calls of a code -------------------------------------------------------------------------

@alice = mfa('alice', 0, sid => 'calls');
$mark = $sandbox->mark;
is(refused(begin($t, \@alice)), '403 operation_not_allowed', 'no code is sent');
is(refused(finish($t, \@alice, scope => 'cards-write', verificationToken => 'A' x 43, verificationCode => '123456')),
	'403 operation_not_allowed', 'and none is taken');
is(refused(finish($t, \@alice, scope => 'cards-write', verificationCode => '000001')), '403 operation_not_allowed', 'nor 000001');
is(refused(finish($t, \@alice, scope => 'cards-write', jwtToken => $alice[1])), '400 invalid_body', 'nor what only the gateway sends');
is(refused(finish($t, \@alice, scope => 'cards-write')), '401 two_factor_required', 'a verified token is made when it is needed');
is(scalar $sandbox->journal($mark), 0, 'Unit is not asked');
is(refused(finish($t, \@alice, scope => 'accounts')), '201 ', 'a plain one ahead of its use');
is_deeply([@{status(@alice)}{qw(scopes verified)}], [['accounts'], JSON::PP::false], 'the status');
is(refused(freeze(1101, @alice)), '200 ', 'a write');
is_deeply([@{status(@alice)}{qw(scopes verified)}], [['cards-write'], JSON::PP::true], 'the status');
is($t->delete('/customers/me/token', @alice)->status, 204, 'logout');
is_deeply(status(@alice), {scopes => [], verified => JSON::PP::false, expiresIn => 0}, 'the status');

# -- from one way to the other ----------------------------------------------------------------------

my @otp = who('bob', sid => 'way', iss => 'https://otp.example.test/');
is(step_up($t, \@otp, '10002', 'cards-write')->status, 201, 'the other partner: by a code');
is(refused(freeze(2101, @otp)), '200 ', 'verified');
$t->configure(partners => {otp => {issuer => 'https://otp.example.test/', two_factor => 'jwt amr=mfa'}});
ok($t->reload, 'now by its identity provider');
is(refused(freeze(2101, @otp)), '401 two_factor_required', 'the code of before does not count');
my @now = mfa('bob', 0, sid => 'way', iss => 'https://otp.example.test/');
is(refused(freeze(2101, @now)), '200 ', 'but that does');
$t->configure(partners => {otp => {issuer => 'https://otp.example.test/'}});
ok($t->reload, 'and back');
is(refused(freeze(2101, @now)), '200 ', 'what a code had earned is still there');
$t->delete('/customers/me/token', @now);
is(refused(freeze(2101, @now)), '401 two_factor_required', 'what the identity provider says is not asked for');

$t->done;
