#!/usr/bin/perl

# The calls of a second factor under bad input: what is refused without Unit, what
# a handle tells (nothing), what becomes of a code when Unit fails, and where
# secrets are: in no log, and in the shared zone only as long as they are of use.
#
# P8 (shape of a body), P16, P17 (Unit's answers), P24 (nothing slow under the
# lock), P27, P35 (JSON), P36 (secrets), P37 (log injection).

use strict;
use warnings;
use utf8;

use Test::More;
use UnitGateway;
use UnitGateway::Clock;
use UnitGateway::Process qw(wait_until);
use UnitGateway::TwoFactor qw(verification token begin handle finish step_up other_code);

binmode $_, ':utf8' for *STDOUT, *STDERR, Test::More->builder->output, Test::More->builder->failure_output;

my $clock = UnitGateway::Clock->new;
my $t = UnitGateway->new(
	workers => 1, env => $clock->env, zone => '1m', http => 'unit_limits off;',
	partners => {two => {issuer => 'https://two.example.test/'}},
);

# the same settings with less patience
my $broker = UnitGateway::slurp($t->root . '/conf/unit_broker.conf');
$broker =~ s/proxy_read_timeout 5s/proxy_read_timeout 500ms/ or die 'no proxy_read_timeout';
$t->write_file('broker.conf', $broker);

# Writes the configuration anew, with less patience than conf/ has.
sub configure {
	$t->configure(@_);
	my $conf = $t->read_file('nginx.conf');
	$conf =~ s{include "[^"]*/unit_broker.conf"}{include "broker.conf"} or die 'no unit_broker.conf';
	$t->write_file('nginx.conf', $conf);
}

configure();
$t->start;
my $sandbox = $t->sandbox;
my $serial = 0;
my ($start, $finish) = ('/customers/10002/token/verification', '/customers/10002/token');
my $json = JSON::PP->new->utf8->canonical->allow_nonref;

sub who {
	my ($subject, %claims) = @_;
	return (token => $t->jwt(sub => $subject, exp => 500_000, claims => \%claims));
}

my @bob = who('bob', sid => 'bob');

sub refused { my ($r) = @_; return $r->status . ' ' . $r->code }

sub code { return $sandbox->otp('10002')->{code} }

sub calls { return grep { $_->{path} =~ m{/token} } $sandbox->journal($_[0]) }

# -- what the start refuses ------------------------------------------------------------

my $true = JSON::PP::true;
my $phone = {countryCode => '1', number => '5550200003'};
my $mark = $sandbox->mark;
for (
	['no channel' => {}], map({ ['channel ' . $json->encode($_) => {channel => $_}] }
		undef, 1, '', 'SMS', 'email', 'sms ', 'sms,call', ['sms'], {}, $true, 'x' x 10000),
	map({ ['phone ' . $json->encode($_) => {channel => 'sms', phone => $_}] }
		undef, '+15550200003', [], {}, {countryCode => '1'}, {number => '5550200003'}, {%$phone, extension => '1'},
		{%$phone, countryCode => 1}, {%$phone, countryCode => ''}, {%$phone, countryCode => '+1'}, {%$phone, countryCode => '1234'},
		{%$phone, countryCode => undef}, {%$phone, number => 5550200003}, {%$phone, number => '555'}, {%$phone, number => '1' x 16},
		{%$phone, number => '555 020 0003'}, {%$phone, number => "555020000\x{663}"}, {%$phone, number => ['5550200003']},
		{countrycode => '1', number => '5550200003'}),
	map({ ['appHash ' . $json->encode($_) => {channel => 'sms', appHash => $_}] }
		undef, 1, '', 'x' x 10, 'x' x 12, 'bit.ly/abcd', "line\nline 2", 'ünïcödé', 'eleven char', ['x' x 11]),
	['appHash with a call' => {channel => 'call', appHash => 'x' x 11}],
	map({ ['language ' . $json->encode($_) => {channel => 'sms', language => $_}] }
		undef, 1, '', 'xx', 'EN', 'en-US', 'en ', 'pt-br', ['en'], 'e' x 100000),
	map({ ["the attribute \"$_\"" => {channel => 'sms', $_ => 'x'}] }
		'', 'Channel', 'verificationToken', 'scope', 'jwtToken', 'idempotency_key', 'x' x 1000, "\x{1f600}"),
) {
	my ($name, $attributes) = @$_;
	my $r = $t->post($start, @bob, json => {data => {type => 'customerTokenVerification', attributes => $attributes}});
	is(refused($r), '400 invalid_body', 'start: ' . (length $name > 80 ? substr($name, 0, 80) . '...' : $name));
}

# The same for both calls: the document.
sub documents {
	my ($target, $type, $attributes) = @_;

	my $good = qq({"data":{"type":"$type","attributes":$attributes}});
	for (
		['empty' => '', 400], ['a blank' => ' ', 400], ['null' => 'null', 400], ['an array' => "[$good]", 400], ['a string' => '"x"', 400],
		['no data' => '{}', 403], ['data null' => '{"data":null}', 403], ['data an array' => qq({"data":[{"type":"$type","attributes":$attributes}]}), 403],
		['no type' => qq({"data":{"attributes":$attributes}}), 403], ['another type' => qq({"data":{"type":"x","attributes":$attributes}}), 403],
		['a number for a type' => qq({"data":{"type":1,"attributes":$attributes}}), 403],
		['another case of it' => qq({"data":{"type":"\u$type","attributes":$attributes}}), 403],
		['no attributes' => qq({"data":{"type":"$type"}}), 400], ['attributes null' => qq({"data":{"type":"$type","attributes":null}}), 400],
		['attributes an array' => qq({"data":{"type":"$type","attributes":[$attributes]}}), 400],
		['attributes a string' => qq({"data":{"type":"$type","attributes":"x"}}), 400],
		['relationships' => qq({"data":{"type":"$type","attributes":$attributes,"relationships":{}}}), 400],
		['a customer in them' => qq({"data":{"type":"$type","attributes":$attributes,"relationships":{"customer":{"data":{"id":"10001"}}}}}), 403],
		['Attributes' => qq({"data":{"type":"$type","Attributes":$attributes}}), 400], ['Data' => qq({"Data":{"type":"$type","attributes":$attributes}}), 400],
		['a name twice' => qq({"data":{"type":"$type","attributes":$attributes,"attributes":$attributes}}), 400],
		['a name twice, escaped' => qq({"data":{"type":"$type","attributes":$attributes,"\\u0061ttributes":$attributes}}), 400],
		['NUL' => qq({"data":{"type":"$type\\u0000","attributes":$attributes}}), 400],
		['a lone surrogate' => qq({"x":"\\ud800","data":{"type":"$type","attributes":$attributes}}), 400],
		['bad UTF-8' => qq({"x":"\xc3\x28","data":{"type":"$type","attributes":$attributes}}), 400],
		['a byte order mark' => "\xef\xbb\xbf$good", 400], ['more behind it' => "$good x", 400], ['two' => $good x 2, 400],
		['cut' => substr($good, 0, -1), 400], ['a comma too many' => $good =~ s/\}\z/,}/r, 400], ['single quotes' => $good =~ tr/"/'/r, 400],
		['33 levels' => '{"data":' . '[' x 33 . ']' x 33 . '}', 400], ['a million brackets' => '[' x 1_000_000, 400],
		['a huge number' => qq({"x":1e999999,"data":{"type":"$type","attributes":$attributes}}), 400],
		['a megabyte of blanks' => ' ' x 1_048_576, 400],
	) {
		my ($name, $body, $status) = @$_;
		utf8::downgrade($body);
		my $r = $t->post($target, @bob, type => 'application/vnd.api+json', body => $body);
		is(refused($r), $status == 400 ? '400 invalid_body' : $body =~ /10001/ ? '403 customer_mismatch' : '403 operation_not_allowed',
			"$type: $name");
	}
	is(refused($t->post($target, @bob, type => 'application/vnd.api+json', body => ' ' x 1_048_577)), '413 body_too_large', "$type: more than a megabyte");
	is(refused($t->post($target, @bob, type => 'text/plain', body => $good)), '415 unsupported_media_type', "$type: another media type");
	is(refused($t->post($target, @bob, body => $good)), '415 unsupported_media_type', "$type: none");
	is(refused($t->post($target, @bob, type => 'application/json', headers => ['Content-Encoding' => 'gzip'], body => $good)),
		'415 unsupported_media_type', "$type: compressed");
	is(refused($t->post($target, json => {})), '401 token_missing', "$type: from nobody");
}
documents($start, 'customerTokenVerification', '{"channel":"sms"}');
is(scalar $sandbox->journal($mark), 0, 'Unit has heard nothing of all that');

my @languages = qw(
	af ar ca cs da de el en en-GB es et fi fr he hi hr hu id it ja kn ko mr ms nb nl pl pt pt-BR ro ru sk sv te th tl tr vi zh zh-CN
	zh-HK
);
is(scalar(grep { begin($t, \@bob, language => $_)->status == 201 } @languages), 41, '41 languages');
is(begin($t, \@bob, channel => 'call', phone => $phone)->status, 201, 'a call to the phone of an authorised user');
is($sandbox->otp('10002')->{phone}{number}, '5550200003', 'which rings');
is(begin($t, \@bob, appHash => $_)->status, 201, "appHash $_") for 'FA+9qCX9VSu', 'abc/def-_1=';

$mark = $sandbox->mark;
my $r = $t->post($start, @bob, type => 'application/vnd.api+json',
	body => '{"meta":{"a":1},"data":{"id":"7","type":"customerTokenVerification","links":{},"attributes":{"channel":"sms"}},"included":[]}');
is($r->status, 201, 'what is beside the attributes is not looked at');
is((calls($mark))[0]{body}, '{"data":{"type":"customerTokenVerification","attributes":{"channel":"sms"}}}', 'and not sent on');

# what only Unit can know
for (
	['a phone that is nobody\'s' => \@bob, {phone => {countryCode => '1', number => '5550299999'}}],
	['a phone of an individual' => [who('alice')], {phone => {countryCode => '1', number => '5550100001'}}],
) {
	my ($name, $who, $attributes) = @$_;
	$r = begin($t, $who, %$attributes);
	is(refused($r), '400 invalid_body', "$name: refused by Unit");
	unlike($r->body, qr/555|phone/, "$name: whose words are not told");
}

# -- what the second call refuses ---------------------------------------------------------

my $handle = handle($t, \@bob);
my $code = code();
my @proof = (verificationToken => $handle, verificationCode => $code);
my %good = (scope => 'cards-write', @proof);
$mark = $sandbox->mark;
my $legacy = 'payments-create';
for (
	['no scope' => {@proof}], map({ ['scope ' . $json->encode($_) => {%good, scope => $_}] }
		undef, 1, '', ' ', ' cards-write', 'cards-write ', 'cards-write  cards', 'cards-write,cards', "cards-write\tcards", "cards-write\n",
		'Cards-Write', 'nope', $legacy, 'all', '*', ['cards-write'], {}, 'x' x 100_000, 'cards ' x 100_000, "cards\x{a0}cards-write"),
	map({ ['expiresIn ' . $json->encode($_) => {%good, expiresIn => $_}] } undef, 0, -1, 86401, '60', 1.5, $true, [60], {}, 2**31),
	map({ ['verificationCode ' . $json->encode($_) => {%good, verificationCode => $_}] }
		undef, 123456, '', '12345', '1234567', '12345a', ' 12345', "12345\n", '+12345', "\x{661}\x{662}\x{663}", '１２３４５６', [$code], {}, '1' x 100_000),
	map({ ['verificationToken ' . $json->encode($_) => {%good, verificationToken => $_}] } undef, 1, $true, [$handle], {token => $handle}),
	['a handle without a code' => {scope => 'cards-write', verificationToken => $handle}],
	map({ ["the attribute \"$_\"" => {%good, $_ => 'x'}] } 'jwtToken', 'upgradableScope', 'Scope', '', 'verification_code', 'channel', 'x' x 1000),
	['jwtToken alone' => {scope => 'cards-write', jwtToken => $bob[1]}],
	['upgradableScope alone' => {scope => 'accounts', upgradableScope => 'cards-write'}],
	['resources without a verification' => {scope => 'accounts', resources => [{type => 'account', ids => ['2001']}]}],
	map({ ['resources ' . $json->encode($_) => {%good, resources => $_}] }
		undef, {}, [], 'x', ['x'], [{}], [{type => 'card'}], [{type => 'card', ids => []}], [{type => 'card', ids => '2101'}],
		[{type => 'card', ids => [2101]}], [{type => 'card', ids => ['']}], [{type => 'customer', ids => ['10001']}],
		[{type => 'card', ids => ['2101'], more => 1}], [{type => 'card', ids => ['x' x 65]}], [{type => 'card', ids => [('2101') x 101]}],
		[({type => 'card', ids => ['2101']}) x 3]),
) {
	my ($name, $attributes) = @$_;
	$r = $t->post($finish, @bob, json => {data => {type => 'customerToken', attributes => $attributes}});
	is(refused($r), '400 invalid_body', 'token: ' . (length $name > 80 ? substr($name, 0, 80) . '...' : $name));
}
for ('1e1', '60.0', '99999999999999999999', '-0', '060', '0x60', '1e400') {
	$r = $t->post($finish, @bob, type => 'application/vnd.api+json', body => '{"data":{"type":"customerToken","attributes":{"scope":"cards-write",'
		. qq("verificationToken":"$handle","verificationCode":"$code","expiresIn":$_}}}));
	is(refused($r), '400 invalid_body', "token: expiresIn $_");
}
documents($finish, 'customerToken', '{"scope":"cards-write"}');
is(scalar $sandbox->journal($mark), 0, 'Unit has heard nothing of all that');
is(refused(finish($t, \@bob, %good, expiresIn => 1)), '201 ', 'and the handle is still good');
is_deeply([map { $json->decode($_->{body})->{data}{attributes}{expiresIn} } calls($mark)], [1], 'for a second');
$handle = handle($t, \@bob);
$mark = $sandbox->mark;
is(refused(finish($t, \@bob, scope => 'cards-write cards cards-write', verificationToken => $handle, verificationCode => code(), expiresIn => 86400,
	resources => [{type => 'card', ids => ['2101']}, {type => 'account', ids => ['2001']}])), '201 ', 'resources, with a verification');
my $sent = $json->decode((calls($mark))[0]{body})->{data}{attributes};
is_deeply($sent->{resources}, [{type => 'card', ids => ['2101']}, {type => 'account', ids => ['2001']}], 'go to Unit');
is($sent->{scope}, 'cards cards-write', 'scopes once each');

# -- what a handle tells: nothing ------------------------------------------------------------

my %seen;

# A try that must fail and look like any other; "asks" says whether Unit is asked.
sub fails {
	my ($name, $asks, $who, @attributes) = @_;

	my $from = $sandbox->mark;
	$r = $t->post('/customers/me/token', @$who, headers => ['X-Request-Id' => 'two-factor-same-id'], token(scope => 'cards-write', @attributes));
	is(refused($r), '403 verification_failed', "$name: verification_failed");
	$seen{$r->head =~ s/^Date: [^\r\n]*\r\n//mr . $r->body}{$name} = 1;
	is(scalar calls($from), $asks, "$name: Unit is " . ($asks ? '' : 'not ') . 'asked');
}

# A handle with its code, of bob's.
sub fresh { my $h = handle($t, \@bob); return ($h, code()) }

$t->delete('/customers/me/token', @bob);
($handle, $code) = fresh();
fails('a wrong code', 1, \@bob, verificationToken => $handle, verificationCode => other_code($code));
fails('another session', 0, [who('bob', sid => 'other')], verificationToken => $handle, verificationCode => $code);
fails('no session', 0, [who('bob')], verificationToken => $handle, verificationCode => $code);
fails('another subject of the customer', 0, [who('eve', unitCustomerId => '10002', sid => 'bob')], verificationToken => $handle, verificationCode => $code);
fails('another customer', 0, [who('alice', sid => 'bob')], verificationToken => $handle, verificationCode => $code);
fails('another partner', 0, [who('bob', sid => 'bob', iss => 'https://two.example.test/')], verificationToken => $handle, verificationCode => $code);
is(refused(finish($t, \@bob, scope => 'cards-write', verificationToken => $handle, verificationCode => $code)), '201 ', 'none of them has burnt it');
fails('a used one', 0, \@bob, verificationToken => $handle, verificationCode => $code);
fails('a used one, another code', 0, \@bob, verificationToken => $handle, verificationCode => other_code($code));
fails('an unknown one', 0, \@bob, verificationToken => 'A' x 43, verificationCode => $code);
fails('an empty one', 0, \@bob, verificationToken => '', verificationCode => $code);
fails('a short one', 0, \@bob, verificationToken => 'A', verificationCode => $code);
fails('one of a megabyte', 0, \@bob, verificationToken => 'A' x 1_048_000, verificationCode => $code);
fails('one with strange letters', 0, \@bob, verificationToken => "%s%n\n\r\t\"\\\x{1f600}" . '../' x 20, verificationCode => $code);
($handle, $code) = fresh();
fails('a part of one', 0, \@bob, verificationToken => substr($handle, 0, 42), verificationCode => $code);
fails('one and a byte', 0, \@bob, verificationToken => "${handle}A", verificationCode => $code);
fails('one in another case', 0, \@bob, verificationToken => lc $handle, verificationCode => $code);
fails('a code without one', 0, \@bob, verificationCode => $code);
fails('000001 without one', 0, \@bob, verificationCode => '000001');
fails('000001 with one', 0, \@bob, verificationToken => $handle, verificationCode => '000001');
fails("wrong code $_", 1, \@bob, verificationToken => $handle, verificationCode => other_code($code, $_)) for 1 .. 3;
is(refused(finish($t, \@bob, scope => 'cards-write', verificationToken => $handle, verificationCode => $code)), '201 ', 'four wrong ones are forgiven');
($handle, $code) = fresh();
fails("wrong code $_ of five", 1, \@bob, verificationToken => $handle, verificationCode => other_code($code, $_)) for 1 .. 5;
fails('the right one after them', 0, \@bob, verificationToken => $handle, verificationCode => $code);
($handle, $code) = fresh();
fails("000001, time $_", 0, \@bob, verificationToken => $handle, verificationCode => '000001') for 1 .. 5;
fails('the right one after those', 0, \@bob, verificationToken => $handle, verificationCode => $code);
my @nine = map { [fresh()] } 1 .. 9;
fails('the first of nine', 0, \@bob, verificationToken => $nine[0][0], verificationCode => $nine[0][1]);
is(refused(finish($t, \@bob, scope => 'cards-write', verificationToken => $nine[1][0], verificationCode => $nine[1][1])), '201 ', 'eight at a time are good');
($handle, $code) = fresh();
$clock->advance(601);
fails('an expired one', 0, \@bob, verificationToken => $handle, verificationCode => $code);
is(scalar keys %seen, 1, 'all those answers are the same, byte for byte') or diag explain \%seen;
is((keys %seen)[0],
	"HTTP/1.1 403 Forbidden\r\nServer: nginx\r\nContent-Type: application/vnd.api+json\r\nContent-Length: 149\r\nConnection: keep-alive\r\n"
	. "Cache-Control: no-store\r\nX-Request-Id: two-factor-same-id\r\n\r\n"
	. '{"errors":[{"id":"two-factor-same-id","status":"403","title":"Forbidden","code":"verification_failed",'
	. '"detail":"The verification did not succeed."}]}', 'and say no more');

# -- Unit fails at the first call ------------------------------------------------------------------

my $garbage = {status => 201, body => '<html>'};
sub document { return {status => 201, body => {data => {type => 'x', attributes => $_[0]}}} }
for (
	[500 => {status => 500}, '502 upstream_unavailable'], [503 => {status => 503}, '502 upstream_unavailable'],
	[599 => {status => 599}, '502 upstream_unavailable'],
	[400 => {status => 400}, '400 invalid_body'], [422 => {status => 422}, '400 invalid_body'], [409 => {status => 409}, '400 invalid_body'],
	[401 => {status => 401}, '503 broker_unavailable'], [403 => {status => 403}, '503 broker_unavailable'],
	[429 => {status => 429}, '503 broker_unavailable'], [404 => {status => 404}, '403 customer_not_linked'],
	[408 => {status => 408}, '504 upstream_timeout'], ['a redirect' => {status => 302, headers => {Location => '/x'}}, '502 upstream_invalid'],
	['no content' => {status => 204}, '502 upstream_invalid'], ['garbage' => $garbage, '502 upstream_invalid'],
	['no token' => document({}), '502 upstream_invalid'], ['a number' => document({verificationToken => 1}), '502 upstream_invalid'],
	['an empty token' => document({verificationToken => ''}), '502 upstream_invalid'],
	['a huge token' => document({verificationToken => 'x' x 4097}), '502 upstream_invalid'],
	['a huge answer' => {status => 201, body => 'x' x 300_000}, '502 upstream_invalid'],
	['a cut answer' => {truncate => 40}, '502 upstream_invalid'], ['no answer' => {drop => 'before'}, '502 upstream_unavailable'],
	['no answer after all' => {drop => 'after'}, '502 upstream_unavailable'], ['a late answer' => {delay_ms => 800}, '504 upstream_timeout'],
) {
	my ($name, $action, $want) = @$_;
	$sandbox->fault(POST => $start, $action);
	$mark = $sandbox->mark;
	my $begun = $sandbox->counter('verifications');
	$r = begin($t, \@bob);
	is(refused($r), $want, "start, Unit: $name: $want");
	is(scalar calls($mark), 1, "start, Unit: $name: asked once");
	is($r->header('Retry-After') // '', $want =~ /\A503/ ? '3' : '', "start, Unit: $name: Retry-After");
	ok(wait_until(5, sub { $sandbox->counter('verifications') == $begun + 1 }), 'Unit sends the code all the same') if $name =~ /late/;
	is(step_up($t, \@bob, '10002', 'cards-write')->status, 201, "start, Unit: $name: and the user tries again");
}
is(refused(begin($t, \@bob)), '201 ', 'a token of 4096 bytes') if $sandbox->fault(POST => $start, document({verificationToken => 'x' x 4096})) || 1;

# -- and at the second -------------------------------------------------------------------------------

# Is the code good afterwards? 1: yes, Unit has not used it; 0: Unit has, and says no; undef: counts as wrong
for (
	[500 => {status => 500}, '502 upstream_unavailable', 1], [503 => {status => 503}, '502 upstream_unavailable', 1],
	[401 => {status => 401}, '503 broker_unavailable', 1], [429 => {status => 429}, '503 broker_unavailable', 1],
	[404 => {status => 404}, '403 customer_not_linked', 1], [408 => {status => 408}, '504 upstream_timeout', 1],
	['a redirect' => {status => 307, headers => {Location => '/x'}}, '502 upstream_invalid', 1],
	['no content' => {status => 204}, '502 upstream_invalid', 1], ['garbage' => $garbage, '502 upstream_invalid', 1],
	['no token' => document({expiresIn => 60}), '502 upstream_invalid', 1],
	['a bad token' => document({token => "x\r\ny", expiresIn => 60}), '502 upstream_invalid', 1],
	['no life' => document({token => 'x', expiresIn => 0}), '502 upstream_invalid', 1],
	['no answer' => {drop => 'before'}, '502 upstream_unavailable', 1],
	['a cut answer' => {truncate => 40}, '502 upstream_invalid', 0], ['no answer after all' => {drop => 'after'}, '502 upstream_unavailable', 0],
	['a late answer' => {delay_ms => 800}, '504 upstream_timeout', 0],
	[400 => {status => 400}, '403 verification_failed', 1], [403 => {status => 403}, '403 verification_failed', 1],
	[422 => {status => 422}, '403 verification_failed', 1],
) {
	my ($name, $action, $want, $good) = @$_;
	$t->delete('/customers/me/token', @bob);
	($handle, $code) = fresh();
	my @try = (scope => 'cards-write', verificationToken => $handle, verificationCode => $code);
	$sandbox->fault(POST => $finish, $action);
	$mark = $sandbox->mark;
	$r = finish($t, \@bob, @try);
	is(refused($r), $want, "token, Unit: $name: $want");
	is(scalar calls($mark), 1, "token, Unit: $name: asked once");
	is($t->get('/customers/me/token', @bob)->json->{data}{attributes}{verified} ? 1 : 0, 0, "token, Unit: $name: nothing is verified");
	if (!$good) {
		ok(wait_until(5, sub { $sandbox->otp('10002')->{used} }), "token, Unit: $name: Unit has used the code");
	}
	$r = finish($t, \@bob, @try);
	is(refused($r), $good ? '201 ' : '403 verification_failed', "token, Unit: $name: and the user tries again");
	next if $good;
	is(step_up($t, \@bob, '10002', 'cards-write')->status, 201, "token, Unit: $name: with another code where Unit wants one");
}

# what Unit has not seen does not count, but not for ever
($handle, $code) = fresh();
my @try = (scope => 'cards-write', verificationToken => $handle, verificationCode => $code);
$sandbox->fault(POST => $finish, {status => 500}, 19);
is(refused(finish($t, \@bob, @try)), '502 upstream_unavailable', "failure $_ of Unit's") for 1 .. 19;
is(refused(finish($t, \@bob, @try)), '201 ', 'then the code');
($handle, $code) = fresh();
@try = (scope => 'cards-write', verificationToken => $handle, verificationCode => $code);
$sandbox->fault(POST => $finish, {status => 500}, 20);
finish($t, \@bob, @try) for 1 .. 20;
$mark = $sandbox->mark;
is(refused(finish($t, \@bob, @try)), '403 verification_failed', 'after twenty it is given up');
is(scalar calls($mark), 0, 'without Unit');

# -- the sandbox's code where it is allowed ------------------------------------------------------------

configure(location => 'unit_sandbox on;');
ok($t->reload, 'unit_sandbox on');
my @sandbox = who('bob', sid => 'sandbox');
is(refused(finish($t, \@sandbox, scope => 'cards-write', verificationCode => '000001')), '201 ', '000001 is enough');
is($t->post('/cards/2101/freeze', @sandbox, json => {data => {}})->status, 200, 'and verifies');
$handle = handle($t, \@sandbox);
is(refused(finish($t, \@sandbox, scope => 'cards-write', verificationToken => $handle, verificationCode => '000001')), '201 ', 'with a handle too');
fails('another code without one', 0, \@sandbox, verificationCode => '000002');
fails('000001 with an unknown one', 0, \@sandbox, verificationToken => 'A' x 43, verificationCode => '000001');
is(scalar keys %seen, 1, 'which look the same');
configure(location => '');
ok($t->reload, 'unit_sandbox off');
fails('000001 again', 0, \@sandbox, verificationCode => '000001');

# -- where secrets are --------------------------------------------------------------------------------------

# How often a text is in the memory that the workers share.
sub in_zone {
	my ($text) = @_;

	my ($pid) = $t->workers;
	open my $maps, '<', "/proc/$pid/maps" or return undef;
	open my $mem, '<:raw', "/proc/$pid/mem" or return undef;
	my ($n, $zones) = (0, 0);
	no warnings 'portable';
	while (<$maps>) {
		my ($from, $to) = /\A([0-9a-f]+)-([0-9a-f]+) rw-s/ or next;
		next if hex($to) - hex($from) != 1 << 20;
		$zones++;
		sysseek $mem, hex $from, 0 or die "seek: $!";
		sysread($mem, my $bytes, 1 << 20) == 1 << 20 or return undef;
		$n += () = $bytes =~ /\Q$text\E/g;
	}
	return $zones == 1 ? $n : undef;
}

SKIP: {
	skip 'the memory of a worker cannot be read', 11 if !defined in_zone('x');
	my @secret = who('bob', sid => 'secret');
	my $unit = 'the/verification+token/of-Unit' . 'x' x 40;

	# A handle whose verification token is known.
	my $known = sub {
		$sandbox->fault(POST => $start, document({verificationToken => $unit}));
		return handle($t, \@secret);
	};
	$handle = $known->();
	is(in_zone($handle), 0, 'a handle is not kept in clear');
	is(in_zone($unit), 1, 'Unit\'s verification token is kept');
	$sandbox->fault(POST => $finish, document({token => 'v2.public.' . 'S' x 60, expiresIn => 600}));
	is(finish($t, \@secret, scope => 'cards-write', verificationToken => $handle, verificationCode => '123123')->status, 201, 'used');
	is(in_zone($unit), 0, 'then it is wiped');
	is(in_zone('S' x 60), 1, 'for a token');
	$known->();
	is(in_zone($unit), 1, 'another');
	$t->delete('/customers/me/token', @secret);
	is(in_zone($unit), 0, 'is wiped on logout');
	is(in_zone('S' x 60), 0, 'and so is the token');
	$handle = $known->();
	finish($t, \@secret, scope => 'cards-write', verificationToken => $handle, verificationCode => '123123') for 1 .. 5;
	is(in_zone($unit), 0, 'five wrong codes: wiped');
	$known->();
	$clock->advance(590);
	$t->get('/customers/me/token', @secret);
	is(in_zone($unit), 1, 'as long as it lives');
	$clock->advance(11);
	ok(wait_until(8, sub { $t->get('/customers/me/token', @secret); in_zone($unit) == 0 }), 'over: wiped, though nobody asks for another');
}

my $logs = $t->error_log . $t->read_file('logs/access.log');
unlike($logs, qr/\Q$_\E/, 'no handle in a log') for $handle, map { $_->[0] } @nine;
unlike($logs, qr/verification(?:Token|Code)|5550200003/i, 'nor a body');

$t->done;
