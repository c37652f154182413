#!/usr/bin/perl

# The second factor as a client sees it, in Unit's words: a code is asked for,
# a token is asked for with it, then what is sensitive goes through, for the
# session that has earned it and as long as Unit's token lives. Who has no right
# to a scope does not get it by a code; who could take an account over needs one.
#
# P4, P7 (bodies read early), P14 (nothing of the client's in our calls), P27,
# P30 (time), P36 (secrets), RFC 9470.

use strict;
use warnings;

use Test::More;
use UnitGateway;
use UnitGateway::Clock;
use UnitGateway::TwoFactor qw(verification token begin handle finish step_up other_code);

my $clock = UnitGateway::Clock->new;
my $t = UnitGateway->new(
	workers => 2, http2 => 1, env => $clock->env,
	partners => {
		narrow => {issuer => 'https://narrow.example.test/', scopes => 'accounts cards cards-write'},
		back => {
			issuer => 'https://back.example.test/', customer => undef, two_factor => undef, role => undef,
			session => undef, token => 'org',
		},
	},
	http => 'unit_limits off;', location => 'unit_require_2fa get-card;',
)->start;
my $sandbox = $t->sandbox;
my $serial = 0;

# Somebody: a subject, and claims that differ from the usual ones.
sub who {
	my ($subject, %claims) = @_;
	return (token => $t->jwt(sub => $subject, exp => 500_000, claims => \%claims));
}

sub calls { return grep { $_->{path} =~ m{/token} } $sandbox->journal($_[0]) }

sub sent { return JSON::PP::decode_json($_[0]{body})->{data}{attributes} }

sub status { my (@who) = @_; return $t->get('/customers/me/token', @who)->json->{data}{attributes} }

my %freeze = (type => 'application/vnd.api+json', body => '{"data":{}}');
sub freeze { my ($card, @who) = @_; return $t->post("/cards/$card/freeze", @who, %freeze) }

sub refused { my ($r) = @_; return $r->status . ' ' . $r->code }

# -- the challenge -----------------------------------------------------------------

my @alice = who('alice', sid => 'a');
my $mark = $sandbox->mark;
my $r = freeze(1101, @alice, headers => ['X-Request-Id' => 'two-factor-000001']);
is($r->status, 401, 'what is sensitive needs a second factor');
is(
	$r->header('WWW-Authenticate'),
	'Bearer error="insufficient_user_authentication", scope="cards-write", max_age=86400', 'the challenge of RFC 9470',
);
is($r->body,
	'{"errors":[{"id":"two-factor-000001","status":"401","title":"Unauthorized","code":"two_factor_required",'
	. '"detail":"This operation requires a recent two-factor authentication.",'
	. '"links":{"about":"/customers/10001/token/verification"},"meta":{"scopes":["cards-write"]}}]}',
	'the document says how to go on',
);
is($r->header('Content-Type'), 'application/vnd.api+json', 'its type');
is($r->header('Cache-Control'), 'no-store', 'not to be stored');
is(scalar $sandbox->journal($mark), 0, 'Unit has heard nothing of it');
$r = $t->get('/accounts/1001', @alice);
is(refused($r), '200 ', 'what is not sensitive does not');

# -- the two calls --------------------------------------------------------------------

$mark = $sandbox->mark;
$r = begin($t, [@alice, headers => [Cookie => 'a=b', 'X-Forwarded-For' => '192.0.2.1']], language => 'de', appHash => 'FA+9qCX9VSu');
is($r->status, 201, 'a code is asked for');
like(
	$r->body,
	qr/\A\{"data":\{"type":"customerTokenVerification","attributes":\{"verificationToken":"[A-Za-z0-9_-]{43}"\}\}\}\z/,
	'in Unit\'s words, with a handle of 256 bits',
);
is($r->header('Content-Type'), 'application/vnd.api+json', 'its type');
is($r->header('Cache-Control'), 'no-store', 'not to be stored');
my ($call, @more) = $sandbox->journal($mark);
is("$call->{method} $call->{path} $call->{token_kind} @more", 'POST /customers/10001/token/verification org ', 'one call to Unit');
is(
	$call->{body},
	'{"data":{"type":"customerTokenVerification","attributes":{"appHash":"FA+9qCX9VSu","channel":"sms","language":"de"}}}',
	'with what was asked for',
);
is_deeply(
	[sort keys %{$call->{headers}}], [qw(accept authorization content-length content-type host x-request-id)],
	'and nothing else of the client\'s',
);
my $handle = $r->json->{data}{attributes}{verificationToken};
my $code = $sandbox->otp('10001')->{code};

$mark = $sandbox->mark;
$r = finish($t, \@alice, scope => 'cards-write payments-write', verificationToken => $handle, verificationCode => $code, expiresIn => 7200);
is($r->status, 201, 'a token is asked for with the code');
is($r->body, qq({"data":{"type":"customerBearerToken","attributes":{"token":"$alice[1]","expiresIn":7200}}}),
	'the client goes on with its own, for as long as it has asked for');
($call, @more) = $sandbox->journal($mark);
is("$call->{method} $call->{path} $call->{token_kind} @more", 'POST /customers/10001/token org ', 'one call to Unit');
my $sent = sent($call);
isnt($sent->{verificationToken}, $handle, 'with Unit\'s verification token');
like($sent->{verificationToken}, qr{[/+]}, 'as it was');
delete $sent->{verificationToken};
is_deeply($sent, {scope => 'cards-write payments-write', verificationCode => $code, expiresIn => 7200}, 'and the rest');
is(JSON::PP::decode_json($call->{body})->{data}{type}, 'customerToken', 'of its type');
is($r->header('Content-Type'), 'application/vnd.api+json', 'its type');
is($r->header('Cache-Control'), 'no-store', 'not to be stored');
$t->logs->secret($handle, $sent->{verificationToken} // ());

my $status = status(@alice);
is_deeply([@$status{qw(scopes verified)}], [['cards-write', 'payments-write'], JSON::PP::true], 'the status');
cmp_ok($status->{expiresIn}, '>', 7180, 'the rest of its life');
cmp_ok($status->{expiresIn}, '<=', 7190, 'less a moment, so that it reaches Unit alive');
is_deeply([sort keys %$status], [qw(expiresIn scopes verified)], 'and nothing else');
is(JSON::PP::encode_json($t->get('/customers/10001/token', @alice)->json) =~ /v2\.public|eyJ/ ? 1 : 0, 0, 'holds no token');
$r = $t->head('/customers/10001/token', @alice);
is($r->status . $r->body, '200', 'HEAD too');

$mark = $sandbox->mark;
$r = freeze(1101, @alice);
is(refused($r), '200 ', 'now it goes through');
my @calls = $sandbox->journal($mark);
is(scalar @calls, 1, 'with a token that is there');
is($calls[0]{verified}, 1, 'a verified one');
is_deeply($calls[0]{scopes}, ['cards-write', 'payments-write'], 'of those scopes');
like($calls[0]{headers}{authorization}, qr/\ABearer v2\.public\./, 'which is Unit\'s');
my $verified = $calls[0]{headers}{authorization};

$mark = $sandbox->mark;
is($t->get('/accounts/1001', @alice)->status, 200, 'what is not sensitive goes on');
($call) = $sandbox->journal($mark);
isnt($call->{headers}{authorization}, $verified, 'without the verified token');

# payments: another sensitive scope of the same token
$r = $t->post('/payments', @alice, json => {data => {
	type => 'bookPayment', attributes => {amount => 100, description => 'x', idempotencyKey => 'two-factor-1'},
	relationships => {
		account => {data => {type => 'depositAccount', id => '1001'}},
		counterpartyAccount => {data => {type => 'depositAccount', id => '2001'}},
	},
}});
is($r->status, 201, 'a payment');

# over HTTP/2, with bodies in pieces and without a length
my @h2 = who('alice', sid => 'h2');
sub pieces { my (%o) = @_; my $body = JSON::PP::encode_json($o{json}); return (type => 'application/json', chunked => [unpack '(a7)*', $body]) }
$r = $t->h2(POST => '/customers/me/token/verification', @h2, pieces(verification(channel => 'sms')));
is($r->status, 201, 'HTTP/2: a code is asked for');
$r = $t->h2(POST => '/customers/me/token', @h2, pieces(token(scope => 'cards-write', verificationCode => $sandbox->otp('10001')->{code},
	verificationToken => $r->json->{data}{attributes}{verificationToken})));
is($r->status, 201, 'HTTP/2: a token is asked for');
is($t->h2(POST => '/cards/1101/freeze', @h2, %freeze)->status, 200, 'HTTP/2: and used');
is($t->h2(DELETE => '/customers/me/token', @h2)->status, 204, 'HTTP/2: and forgotten');

# -- only for what, only for whom --------------------------------------------------------

$r = $t->post('/counterparties', @alice, json => {data => {type => 'achCounterparty', attributes => {name => 'x',
	routingNumber => '812345678', accountNumber => '1', accountType => 'Checking', type => 'Person'}}});
is(refused($r), '401 two_factor_required', 'not for a scope that it does not hold');
like($r->header('WWW-Authenticate'), qr/scope="counterparties-write"/, 'which the challenge names');

for (
	['another session' => who('alice', sid => 'b')], ['no session' => who('alice')],
	['another subject of the customer' => who('carol', unitCustomerId => '10001', sid => 'a')],
	['another partner' => who('alice', sid => 'a', iss => 'https://narrow.example.test/')],
) {
	my ($name, @other) = @$_;
	is(refused(freeze(1101, @other)), '401 two_factor_required', "$name has not earned it");
	is(status(@other)->{verified} ? 1 : 0, 0, "$name: nor a status of it");
	is(refused(finish($t, \@other, scope => 'cards-write', verificationToken => $handle, verificationCode => $code)),
		'403 verification_failed', "$name: nor by the code that was used");
}
is(refused(freeze(1101, who('alice', sid => 'a', jti => 'another'))), '200 ', 'another token of the session has');
is(refused(freeze(1101, who('alice', sid => 'a', unitRole => 'ReadOnly'))), '403 insufficient_scope', 'but not one that only reads');

# a subject with two customers
my @both = who('eve', unitCustomerId => ['10001', '10002'], sid => 'e');
my @one = (@both, headers => ['Unit-Customer' => '10001']);
my @two = (@both, headers => ['Unit-Customer' => '10002']);
is(refused(begin($t, \@both)), '400 customer_required', 'two customers: one has to be named');
is(step_up($t, \@one, '10001', 'cards-write')->status, 201, 'verified for the one');
is(refused(freeze(1102, @one)), '200 ', 'good for that one');
is(refused(freeze(2101, @two)), '401 two_factor_required', 'not for the other');
is(status(@two)->{verified} ? 1 : 0, 0, 'as its status says');
$handle = handle($t, \@one);
$code = $sandbox->otp('10001')->{code};
$mark = $sandbox->mark;
is(refused(finish($t, \@two, scope => 'cards-write', verificationToken => $handle, verificationCode => $code)),
	'403 verification_failed', 'a handle of the one is no good for the other');
is(scalar $sandbox->journal($mark), 0, 'Unit need not say so');
is(refused($t->post('/customers/10001/token', @two, token(scope => 'cards-write', verificationToken => $handle, verificationCode => $code))),
	'403 customer_mismatch', 'whatever the path says');
is(refused($t->post('/customers/10002/token/verification', @alice, verification(channel => 'sms'))),
	'403 customer_mismatch', 'nobody asks for another customer\'s code');
is(refused(finish($t, \@one, scope => 'cards-write', verificationToken => $handle, verificationCode => $code)), '201 ', 'it was not burnt');

# -- roles and ceilings --------------------------------------------------------------------

my @reader = who('alice', sid => 'r', unitRole => 'ReadOnly');
$handle = handle($t, \@reader);
$code = $sandbox->otp('10001')->{code};
my @narrow = who('alice', sid => 'n', iss => 'https://narrow.example.test/');
my $narrow = handle($t, \@narrow);
my $narrow_code = $sandbox->otp('10001')->{code};
my @nobody = who('alice', sid => 'x', unitRole => 'Owner');
$mark = $sandbox->mark;
for (
	['a role that only reads' => \@reader, $handle, $code, 'cards cards-write', 'cards-write'],
	['a role that only reads' => \@reader, $handle, $code, 'accounts-write', 'accounts-write'],
	['a narrow ceiling' => \@narrow, $narrow, $narrow_code, 'cards-write payments-write', 'payments-write'],
	['a narrow ceiling' => \@narrow, $narrow, $narrow_code, 'customers', 'customers'],
	['a scope of the organisation' => \@alice, $narrow, $narrow_code, 'cards-write customer-token-write', 'customer-token-write'],
) {
	my ($name, $who, $h, $c, $scope, $missing) = @$_;
	for my $proof ([], [verificationToken => $h, verificationCode => $c]) {
		$r = finish($t, $who, scope => $scope, @$proof);
		is(refused($r), '403 insufficient_scope', "$name: $scope is refused" . (@$proof ? ', with a code too' : ''));
		is($r->header('WWW-Authenticate'), qq(Bearer error="insufficient_scope", scope="$missing"), "$name: says why");
	}
}
is(refused(finish($t, \@nobody, scope => 'accounts')), '403 insufficient_scope', 'an unknown role gets no token');
is(refused(begin($t, \@nobody)), '403 insufficient_scope', 'and no code');
is(scalar $sandbox->journal($mark), 0, 'Unit is not asked');
is(refused(finish($t, \@reader, scope => 'cards', verificationToken => $handle, verificationCode => $code)), '201 ', 'that handle is still good');
is(refused(finish($t, \@narrow, scope => 'cards-write', verificationToken => $narrow, verificationCode => $narrow_code)), '201 ', 'and the other');
is(refused(freeze(1101, @narrow)), '200 ', 'for what that partner may do');

my @back = (token => $t->jwt(sub => 'batch', claims => {iss => 'https://back.example.test/'}));
$mark = $sandbox->mark;
is(refused($t->post('/customers/10001/token/verification', @back, verification(channel => 'sms'))), '403 operation_not_allowed',
	'a back end has no second factor');
is(refused($t->post('/customers/10001/token', @back, token(scope => 'accounts'))), '403 operation_not_allowed', 'and no customer\'s token');
is(refused($t->get('/customers/10001/token', @back)), '403 operation_not_allowed', 'nor its status');
is(refused($t->delete('/customers/10001/token', @back)), '403 operation_not_allowed', 'nor an end of it');
is(scalar $sandbox->journal($mark), 0, 'Unit is not asked');

# -- without a code: a plain token ahead of its use ------------------------------------------

my @plain = who('alice', sid => 'plain');
is_deeply(status(@plain), {scopes => [], verified => JSON::PP::false, expiresIn => 0}, 'nothing there yet');
$mark = $sandbox->mark;
$r = finish($t, \@plain, scope => 'accounts transactions', expiresIn => 600);
is($r->body, qq({"data":{"type":"customerBearerToken","attributes":{"token":"$plain[1]","expiresIn":600}}}), 'made ahead of its use');
is_deeply([map { sent($_)->{scope} } calls($mark)], ['accounts transactions'], 'for both scopes');
$mark = $sandbox->mark;
is($t->get('/accounts', @plain)->status . $t->get('/transactions', @plain)->status, '200200', 'it serves both');
is(finish($t, \@plain, scope => 'transactions')->status, 201, 'it is there when it is asked for again');
is(scalar calls($mark), 0, 'without another');
is_deeply([@{status(@plain)}{qw(scopes verified)}], [['accounts', 'transactions'], JSON::PP::false], 'its status');
$mark = $sandbox->mark;
$r = finish($t, \@plain, scope => 'accounts cards-write payments-write');
is(refused($r), '401 two_factor_required', 'not for a scope that needs more');
is(
	$r->header('WWW-Authenticate'),
	'Bearer error="insufficient_user_authentication", scope="accounts cards-write payments-write", max_age=86400', 'the challenge',
);
is_deeply($r->json->{errors}[0]{meta}, {scopes => [qw(accounts cards-write payments-write)]}, 'and its scopes as a list');
is(scalar $sandbox->journal($mark), 0, 'Unit is not asked');
my @short = (token => $t->jwt(sub => 'alice', exp => 100, claims => {sid => 'plain'}));
my $left = finish($t, \@short, scope => 'accounts')->json->{data}{attributes}{expiresIn};
cmp_ok($left, '<=', 100, 'the caller\'s own token may end sooner');
cmp_ok($left, '>=', 80, 'then that is said');
$left = step_up($t, \@short, '10001', 'cards-write')->json->{data}{attributes}{expiresIn};
cmp_ok($left, '<=', 100, 'of a verified one too');
cmp_ok(status(@short)->{expiresIn}, '<=', 100, 'and in the status');
cmp_ok(status(@plain)->{expiresIn}, '>', 80000, 'though it lives as long as Unit says');

# -- logout --------------------------------------------------------------------------------

my @bob = who('bob', sid => 'b1');
my @bob2 = who('bob', sid => 'b2');
is(step_up($t, $_, '10002', 'cards-write')->status, 201, 'bob is verified') for \@bob, \@bob2;
$handle = handle($t, \@bob);
$code = $sandbox->otp('10002')->{code};
is($t->get('/accounts', @bob)->status, 200, 'and has a plain token');
$mark = $sandbox->mark;
$r = $t->delete('/customers/me/token', @bob);
is($r->status . $r->body, '204', 'logout');
is($r->header('Content-Length') // '', '', 'without a body');
is($r->header('Cache-Control'), 'no-store', 'not to be stored');
is(scalar $sandbox->journal($mark), 0, 'Unit, which knows no logout, hears nothing');
is_deeply(status(@bob), {scopes => [], verified => JSON::PP::false, expiresIn => 0}, 'nothing is left');
is(refused(freeze(2101, @bob)), '401 two_factor_required', 'the second factor is gone');
is(refused(finish($t, \@bob, scope => 'cards-write', verificationToken => $handle, verificationCode => $code)),
	'403 verification_failed', 'so is the verification under way');
$mark = $sandbox->mark;
is($t->get('/accounts', @bob)->status, 200, 'plain requests go on');
is(scalar calls($mark), 1, 'with another token');
is(refused(freeze(2101, @bob2)), '200 ', 'the other session is not touched');
is($t->delete('/customers/me/token', @bob)->status, 204, 'once more') for 1 .. 2;

# a logout while Unit is asked: what comes back is not kept
$handle = handle($t, \@bob);
$code = $sandbox->otp('10002')->{code};
$sandbox->fault(POST => '/customers/10002/token', {delay_ms => 300});
my $client = $t->connect;
$mark = $sandbox->mark;
$client->send($t->bytes(POST => '/customers/me/token', @bob,
	token(scope => 'cards-write', verificationToken => $handle, verificationCode => $code)));
ok(UnitGateway::Process::wait_until(5, sub { calls($mark) == 1 }), 'a code is being checked');
is($t->delete('/customers/me/token', @bob)->status, 204, 'the session ends');
is(refused($client->response), '403 verification_failed', 'the code comes too late');
is(refused(freeze(2101, @bob)), '401 two_factor_required', 'and has earned nothing');

# the client that goes away
$handle = handle($t, \@bob);
$code = $sandbox->otp('10002')->{code};
$sandbox->fault(POST => '/customers/10002/token', {delay_ms => 200});
$client = $t->connect;
$mark = $sandbox->mark;
$client->send($t->bytes(POST => '/customers/me/token', @bob,
	token(scope => 'cards-write', verificationToken => $handle, verificationCode => $code)));
UnitGateway::Process::wait_until(5, sub { calls($mark) == 1 });
$client->abort;
ok(UnitGateway::Process::wait_until(5, sub { status(@bob)->{verified} }), 'a client that went away finds its token when it comes back');
is(refused(freeze(2101, @bob)), '200 ', 'and uses it');

# -- time ------------------------------------------------------------------------------------

is(step_up($t, \@bob, '10002', 'payments-write', expiresIn => 60)->status, 201, 'verified for a minute');
$clock->advance(40);
is(status(@bob)->{verified} ? 1 : 0, 1, 'which is not over');
$t->delete('/customers/me/token', @bob);
is(step_up($t, \@bob, '10002', 'cards-write', expiresIn => 60)->status, 201, 'verified for a minute');
$mark = $sandbox->mark;
is(refused(freeze(2101, @bob)), '200 ', 'used');
$clock->advance(53);
is(refused(freeze(2101, @bob)), '200 ', 'late');
is(scalar calls($mark), 0, 'it is not refreshed');
$clock->advance(2);
is(refused(freeze(2101, @bob)), '401 two_factor_required', 'over, a moment before it is over at Unit');
is(scalar calls($mark), 0, 'nor renewed');
is(step_up($t, \@bob, '10002', 'cards-write')->status, 201, 'verified for a day');
$clock->advance(86380);
is(refused(freeze(2101, @bob)), '200 ', 'the end of the day');
$clock->advance(15);
is(refused(freeze(2101, @bob)), '401 two_factor_required', 'the next one');

$handle = handle($t, \@bob);
$code = $sandbox->otp('10002')->{code};
$clock->advance(590);
is(refused(finish($t, \@bob, scope => 'cards-write', verificationToken => $handle, verificationCode => $code)), '201 ', 'a code is good for ten minutes');
$handle = handle($t, \@bob);
$code = $sandbox->otp('10002')->{code};
$clock->advance(601);
$mark = $sandbox->mark;
is(refused(finish($t, \@bob, scope => 'cards-write', verificationToken => $handle, verificationCode => $code)), '403 verification_failed', 'not longer');
is(scalar calls($mark), 0, 'Unit is not asked');

# Unit's token ends earlier than it has said
@bob = who('bob', sid => 'b3', jti => 1);
step_up($t, \@bob, '10002', 'cards-write');
is(refused(freeze(2101, @bob)), '200 ', 'verified');
$sandbox->revoke('10002');
$mark = $sandbox->mark;
$r = freeze(2101, @bob);
is(refused($r), '401 two_factor_required', 'Unit has revoked the token: asked for again');
like($r->header('WWW-Authenticate'), qr/\ABearer error="insufficient_user_authentication", scope="cards-write"/, 'by a challenge of ours');
is_deeply([map { "$_->{path} $_->{status}" } $sandbox->journal($mark)], ['/cards/2101/freeze 401'], 'after one call');
is(status(@bob)->{verified} ? 1 : 0, 0, 'it is not kept');
is(step_up($t, \@bob, '10002', 'cards-write')->status, 201, 'verified again');
is(refused(freeze(2101, @bob)), '200 ', 'and good again');

# of two that would do, the one that is left
step_up($t, \@bob, '10002', 'cards-write payments-write');
$sandbox->fault(POST => '/cards/2101/freeze', {status => 401});
is(refused(freeze(2101, @bob)), '200 ', 'one refused, the other taken');
is_deeply(status(@bob)->{scopes}, ['cards-write', 'payments-write'], 'it is left');

# -- what takes an account over ------------------------------------------------------------------

my @taker = who('bob', sid => 'taker');
my @safe = who('bob', sid => 'safe');
is(step_up($t, \@safe, '10002', 'customers-write')->status, 201, 'one is verified for it');
my $phone = {countryCode => '1', number => '5550200009'};
my $user = {fullName => {first => 'M', last => 'M'}, email => 'm@example.test', phone => $phone};
my $contact = {fullName => {first => 'B', last => 'B'}, email => 'b@example.test'};
for (
	['a phone' => {phone => $phone}], ['no phone' => {phone => undef}], ['a subject' => {jwtSubject => 'mallory'}],
	['no subject' => {jwtSubject => undef}], ['authorised users' => {authorizedUsers => [$user]}],
	['no authorised users' => {authorizedUsers => []}], ['null for them' => {authorizedUsers => undef}],
	['the contact\'s phone' => {contact => {%$contact, phone => $phone}}],
	['the contact\'s subject' => {contact => {%$contact, jwtSubject => 'mallory'}}], ['null for the contact' => {contact => undef}],
) {
	my ($name, $attributes) = @$_;
	my %change = (json => {data => {type => 'businessCustomer', attributes => $attributes}});
	$mark = $sandbox->mark;
	$r = $t->patch('/customers/10002', @taker, %change);
	is(refused($r), '401 two_factor_required', "changing $name takes a second factor");
	like($r->header('WWW-Authenticate'), qr/scope="customers-write"/, "$name: with this scope");
	is(scalar $sandbox->journal($mark), 0, "$name: Unit is not asked");
	$r = $t->patch('/customers/10002', @safe, %change);
	isnt($r->status, 401, "$name: with it, it gets through");
	my ($call) = $sandbox->journal($mark);
	is($call->{verified}, 1, "$name: by a verified token");
}
is($t->patch('/customers/10002', @taker, json => {data => {type => 'businessCustomer', attributes => {tags => {a => 'b'}}}})->status, 200,
	'a tag takes none');
for my $method (qw(post delete)) {
	my $name = $method eq 'post' ? 'adding' : 'removing';
	my %users = (json => {data => {type => $method eq 'post' ? 'addAuthorizedUsers' : 'removeAuthorizedUsers', attributes => {
		$method eq 'post' ? (authorizedUsers => [$user]) : (authorizedUsersEmails => ['m@example.test']),
	}}});
	$mark = $sandbox->mark;
	is(refused($t->$method('/customers/10002/authorized-users', @taker, %users)), '401 two_factor_required', "$name authorised users takes one");
	is(scalar $sandbox->journal($mark), 0, "$name: Unit is not asked");
	is($t->$method('/customers/10002/authorized-users', @safe, %users)->status, 200, "$name: with it, it is done");
}

# what the operator wants it for
$r = $t->get('/cards/1101', @plain);
is(refused($r), '401 two_factor_required', 'unit_require_2fa: an operation that is not sensitive');
like($r->header('WWW-Authenticate'), qr/scope="cards"/, 'its scope is asked for');
is($t->get('/cards', @plain)->status, 200, 'another of that scope needs none');
is(refused(finish($t, \@plain, scope => 'cards')), '201 ', 'a plain token of that scope');
is(refused($t->get('/cards/1101', @plain)), '401 two_factor_required', 'does not do');
is(step_up($t, \@plain, '10001', 'cards')->status, 201, 'a verified one');
$mark = $sandbox->mark;
is($t->get('/cards/1101', @plain)->status, 200, 'does');
is(($sandbox->journal($mark))[0]{verified}, 1, 'and is what goes to Unit');

$t->done;
