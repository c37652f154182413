#!/usr/bin/perl

# Card data: it never comes through here, and the one token that leaves the
# gateway is for nothing else, for five minutes, by a code, and not kept.
#
# DESIGN 5.4; P36, P38, P39 (paths).

use strict;
use warnings;

use Test::More;
use UnitGateway;
use UnitGateway::Client;
use UnitGateway::TwoFactor qw(verification token begin handle finish step_up);

my $t = UnitGateway->new(
	workers => 2, http => 'unit_limits off;',
	partners => {narrow => {issuer => 'https://narrow.example.test/', scopes => 'cards cards-write cards-sensitive'}},
)->start;
my $sandbox = $t->sandbox;

sub who {
	my ($sid, %claims) = @_;
	my $exp = delete $claims{exp};
	return (token => $t->jwt(sub => 'alice', exp => $exp // 90_000, claims => {sid => $sid, %claims}));
}

sub refused { my ($r) = @_; return $r->status . ' ' . $r->code }

sub mints { return map { JSON::PP::decode_json($_->{body})->{data}{attributes} } grep { $_->{path} =~ m{/token\z} } $sandbox->journal($_[0]) }

sub status { my (@who) = @_; return $t->get('/customers/me/token', @who)->json->{data}{attributes} }

# A call to the sandbox past the gateway, as a browser makes one to the vault.
sub vault {
	my ($method, $path, $token) = @_;
	my $client = UnitGateway::Client->new(port => $t->port('SANDBOX'));
	$client->send("$method $path HTTP/1.1\r\nHost: vault\r\nConnection: close\r\nAuthorization: Bearer $token\r\n\r\n");
	return $client->response->status;
}

# -- the routes ---------------------------------------------------------------------------

# A handle and its code.
sub proof {
	my ($who) = @_;
	my $handle = handle($t, $who);
	return (verificationToken => $handle, verificationCode => $sandbox->otp('10001')->{code});
}

my @pci = (
	[GET => '/cards/1101/secure-data/pan'], [GET => '/cards/1101/secure-data/cvv2'], [GET => '/cards/1101/secure-data/pin'],
	[POST => '/cards/1101/secure-data/pin'], [PATCH => '/cards/1101/secure-data/pin'], [POST => '/cards/1101/activate'],
	[HEAD => '/cards/1101/secure-data/pan'], [PUT => '/cards/1101/secure-data/cvv2'], [DELETE => '/cards/1101/activate'],
	[GET => '/cards/1101/secure-data/pan?x=1'], [GET => '/cards/2101/secure-data/pan'],
);

sub blocked {
	my ($when, @who) = @_;
	my $mark = $sandbox->mark;
	for (@pci) {
		my ($method, $path) = @$_;
		my $r = $t->request($method, $path, @who, $method =~ /^P/ ? (json => {data => {type => 'x'}}) : ());
		is($r->status, 403, "$when: $method $path");
		is($r->code, 'pci_route_blocked', "$when: $method $path: why") if $method ne 'HEAD';
	}
	for my $path ('/cards/1101/secure%2ddata/pan', '/cards/1101//secure-data/pan', '/cards/1101/./secure-data/pan', '/cards/1101/secure-data/pan/',
		'/cards/1101/secure-data/%70an', '/cards/1101/x/../secure-data/pan', '/cards/1101/secure-data/PAN', '/cards/1101/secure-data%2fpan',
		'/cards/1101/secure-data;x/pan', '/cards/1101/secure-data')
	{
		my $r = $t->get($path, @who);
		like($r->status, qr/\A(?:400|403|404)\z/, "$when: $path");
	}
	is(scalar $sandbox->journal($mark), 0, "$when: none of it reaches Unit");
}
my @alice = who('off');
is(step_up($t, \@alice, '10001', 'cards-sensitive cards-sensitive-write cards-write')->status, 201, 'verified for all that there is');
blocked('no handoff', @alice);
is(refused($t->get('/cards/1101/secure-data/pin/status', @alice)), '403 operation_not_allowed', 'the status of a PIN is no card data: an operation as others');

# -- off, which is the default ---------------------------------------------------------------

my @off = who('off 2');
for my $scope ('cards-sensitive', 'cards-sensitive-write', 'cards-sensitive cards-sensitive-write') {
	my $r = finish($t, \@off, scope => $scope, proof(\@off));
	is($r->json->{data}{attributes}{token}, $off[1], "off: $scope: the caller's own token");
	unlike($r->head . $r->body, qr/v2\.public/, "off: $scope: not Unit's");
}
is($t->post('/cards/1101/replace', @off, json => {data => {type => 'replaceCard', attributes => {}}})->status, 200, 'off: what needs the scope is done here');

# -- on -------------------------------------------------------------------------------------------

$t->configure(location => 'unit_token_handoff cards-sensitive cards-sensitive-write;');
ok($t->reload, 'unit_token_handoff');
blocked('handoff', @alice);

my @on = who('on');
my $mark = $sandbox->mark;
my $r = finish($t, \@on, scope => 'cards-sensitive');
is(refused($r), '401 two_factor_required', 'not without a code');
is(scalar $sandbox->journal($mark), 0, 'Unit is not asked');
is(refused(finish($t, \@on, scope => 'cards-sensitive', verificationCode => '000001')), '403 verification_failed', 'nor with 000001');

for (
	['cards-sensitive', undef, 300], ['cards-sensitive-write', 60, 60], ['cards-sensitive cards-sensitive-write', 86400, 300],
	['cards-sensitive', 300, 300], ['cards-sensitive', 1, 1],
) {
	my ($scope, $wanted, $life) = @$_;
	my @proof = proof(\@on);
	$mark = $sandbox->mark;
	$r = finish($t, \@on, scope => $scope, @proof, defined $wanted ? (expiresIn => $wanted) : ());
	my $name = "$scope for " . ($wanted // 'as long as can be');
	is($r->status, 201, "$name: a token");
	my $a = $r->json->{data}{attributes};
	like($r->body, qr/\A\{"data":\{"type":"customerBearerToken","attributes":\{"token":"v2\.public\.[\w-]+","expiresIn":$life\}\}\}\z/,
		"$name: Unit's, in Unit's words, for $life s");
	is($r->header('Cache-Control'), 'no-store', "$name: not to be stored");
	is_deeply([map { [$_->{scope}, $_->{expiresIn}] } mints($mark)], [[$scope, $life]], "$name: made for that alone");
	is_deeply(status(@on), {scopes => [], verified => JSON::PP::false, expiresIn => 0}, "$name: not kept");
	if ($scope eq 'cards-sensitive' && $life > 1) {
		is(vault(GET => '/cards/1101/secure-data/pan', $a->{token}), 200, "$name: good at the vault");
		is(vault(GET => '/cards/2101/secure-data/pan', $a->{token}), 404, "$name: for the caller's cards");
		is(vault(GET => '/accounts', $a->{token}), 403, "$name: for nothing else");
		is(refused($t->get('/cards', token => $a->{token})), '401 token_invalid', "$name: not here");
	}
	is(refused(finish($t, \@on, scope => $scope, @proof)), '403 verification_failed', "$name: a code, a token");
}
is(refused($t->post('/cards/1101/replace', @on, json => {data => {type => 'replaceCard', attributes => {}}})), '401 two_factor_required',
	'it verifies nothing here');
$r = finish($t, \@on, scope => 'cards-sensitive', proof(\@on), resources => [{type => 'card', ids => ['1101']}]);
like($r->json->{data}{attributes}{token}, qr/\Av2\.public\./, 'for one card alone');

# with anything else it stays here
for my $scope ('cards-sensitive cards', 'cards-sensitive cards-write', 'cards-sensitive-write accounts') {
	$r = finish($t, \@on, scope => $scope, proof(\@on));
	is($r->json->{data}{attributes}{token}, $on[1], "$scope: the caller's own token");
}
is(status(@on)->{verified}, 1, 'kept');
is($t->post('/cards/1101/replace', @on, json => {data => {type => 'replaceCard', attributes => {}}})->status, 200, 'and used');
$r = finish($t, \@on, scope => 'cards');
is($r->json->{data}{attributes}{token}, $on[1], 'a plain one too');

# who may have it
my @reader = who('reader', unitRole => 'ReadOnly');
is(refused(finish($t, \@reader, scope => 'cards-sensitive-write', proof(\@reader))), '403 insufficient_scope', 'who only reads sets no PIN');
is(finish($t, \@reader, scope => 'cards-sensitive', proof(\@reader))->status, 201, 'but may look');
my @narrow = who('narrow', iss => 'https://narrow.example.test/');
is(refused(finish($t, \@narrow, scope => 'cards-sensitive-write', proof(\@narrow))), '403 insufficient_scope', 'nobody beyond the ceiling');

# it does not outlive the caller's own
my @short = who('short', exp => 100);
$r = finish($t, \@short, scope => 'cards-sensitive', proof(\@short));
cmp_ok($r->json->{data}{attributes}{expiresIn}, '<=', 100, 'not longer than the caller\'s own token');
cmp_ok($r->json->{data}{attributes}{expiresIn}, '>', 80, 'but as long');

# Unit grants more than it was asked for
my @proof = proof(\@on);
$sandbox->fault(POST => '/customers/10001/token', {status => 201, body => {data => {type => 'customerBearerToken',
	attributes => {token => 'v2.public.TOOLONG', expiresIn => 301}}}});
$r = finish($t, \@on, scope => 'cards-sensitive', @proof);
is(refused($r), '502 upstream_invalid', 'a token that lives longer does not leave');
unlike($r->head . $r->body, qr/TOOLONG/, 'not at all');
@proof = proof(\@on);
$sandbox->fault(POST => '/customers/10001/token', {status => 201, body => {data => {type => 'customerBearerToken',
	attributes => {token => 'v2.public.SHORTER', expiresIn => 5}}}});
$r = finish($t, \@on, scope => 'cards-sensitive', @proof);
is_deeply($r->json->{data}{attributes}, {token => 'v2.public.SHORTER', expiresIn => 5}, 'one that lives shorter does');

# -- what may be configured ----------------------------------------------------------------------------

for (
	['accounts', qr/"unit_token_handoff" is for card data and may not hand out "accounts"/], ['cards-write', qr/may not hand out "cards-write"/],
	['nope', qr/unknown scope "nope"/],
) {
	my ($scope, $says) = @$_;
	$t->configure(location => "unit_token_handoff cards-sensitive $scope;");
	my ($status, $text) = $t->test_config;
	isnt($status, 0, "unit_token_handoff $scope: refused");
	like($text, $says, "unit_token_handoff $scope: by name");
}
$t->configure(location => '');

$t->done;
