#!/usr/bin/perl

# Tokens: who may do what. Organisation and customer tokens, scopes, 2FA by OTP
# and by JWT, lifetimes, isolation of customers.

use strict;
use warnings;

use Crypt::JWT ();
use Crypt::PK::RSA ();
use File::Temp ();
use FindBin ();
use JSON::PP ();
use MIME::Base64 ();
use Test::More;

use lib "$FindBin::Bin/../sandbox/lib";
use UnitSandbox::Client;

*doc = \&UnitSandbox::Client::doc;

my $dir = File::Temp->newdir;
my ($key, $other) = map { Crypt::PK::RSA->new->generate_key(256) } 1 .. 2;
sub write_jwks {
	open my $fh, '>', "$dir/jwks.new" or die $!;
	my @keys = map { {%{$_->[1]->export_key_jwk('public', 1)}, kid => $_->[0], use => 'sig', alg => 'RS256'} } @_;
	print $fh JSON::PP->new->encode({keys => \@keys});
	close $fh;
	rename "$dir/jwks.new", "$dir/jwks" or die $!;
}
write_jwks(['k1', $key]);
my $s = UnitSandbox::Client->start(jwks => "$dir/jwks");

sub fails {
	my ($r, $status, $name, $code) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $e = ref $r->{data} eq 'HASH' && $r->{data}{errors} ? $r->{data}{errors}[0] : {};
	is $r->{status}, $status, $name or diag $r->{content};
	is $e->{status}, "$status", "$name: error document";
	is $e->{code}, $code, "$name: code" if $code;
}

sub mint {
	my ($customer, $attributes, $token) = @_;
	return $s->call($token // $s->{org}, POST => "/customers/$customer/token", doc('customerToken', $attributes));
}

sub start_otp {
	my ($customer, %attributes) = @_;
	my $r = $s->org(POST => "/customers/$customer/token/verification", doc('customerTokenVerification', {channel => 'sms', %attributes}));
	return ($r->{data}{data}{attributes}{verificationToken}, $s->control(GET => "otp/$customer")->{code}, $r);
}

# No token, no entry.
for my $header (undef, '', 'Bearer', 'Bearer x', 'Basic eDp5', $s->{org}, "Bearer $s->{org}x", "Bearer $s->{org} x") {
	fails $s->call(undef, GET => '/accounts', undef, headers => {defined $header ? (Authorization => $header) : ()}), 401,
		'Authorization ' . ($header // 'missing'), 'unauthorized';
}
is $s->call(undef, GET => '/accounts', undef, headers => {Authorization => "bearer $s->{org}"})->{status}, 200, 'the scheme has no case';

# The organisation's token changes with its file.
$s->write_org_token('v2.public.second');
fails $s->org(GET => '/accounts'), 401, 'the old organisation token';
is $s->call('v2.public.second', GET => '/accounts')->{status}, 200, 'the new one';
$s->write_org_token('');
is $s->call('v2.public.second', GET => '/accounts')->{status}, 200, 'an empty file changes nothing';
$s->write_org_token($s->{org});
is $s->org(GET => '/accounts')->{status}, 200, 'and back';

# The answer to a mint.
my $r = mint('10001', {scope => 'customers accounts'});
is $r->{status}, 201, 'a token is made';
is_deeply [sort keys %{$r->{data}{data}}], [qw(attributes type)], 'no id';
is $r->{data}{data}{type}, 'customerBearerToken', 'type';
is $r->{data}{data}{attributes}{expiresIn}, 86400, 'a day by default';
my $token = $r->{data}{data}{attributes}{token};
like $token, qr/\Av2\.public\.[A-Za-z0-9_-]+\z/, 'form';
cmp_ok abs(length($token) - 600), '<', 60, 'about 600 bytes';
like MIME::Base64::decode_base64url(substr $token, 10), qr/\A\{"role":"customer"/, 'readable like the real thing';
my $second = $s->token('10001', 'customers accounts');
isnt $second, $token, 'each is another';
is mint('10001', {scope => 'accounts', expiresIn => $_})->{status}, 201, "expiresIn $_" for 1, 86400;
fails mint('10001', {scope => 'accounts', expiresIn => $_}), 400, "expiresIn $_" for 0, -1, 86401, '60', 1.5;
fails mint('10001', {scope => $_}), 400, "scope '$_'" for 'nonsense', 'accounts nonsense', '', ' accounts', 'accounts  cards', 'Accounts', 'applications';
fails mint('10001', {}), 400, 'no scope';
is mint('10001', {scope => 'accounts-create customer-token-create'})->{status}, 201, 'old names';
fails mint('99999', {scope => 'accounts'}), 404, 'an unknown customer', 'not_found';
fails $s->org(POST => '/customers/99999/token/verification', doc('customerTokenVerification', {channel => 'sms'})), 404, 'to verify';
is mint('10001', {scope => 'accounts', upgradableScope => 'cards-write'})->{status}, 201, 'upgradableScope';
fails mint('10001', {scope => 'accounts', upgradableScope => 'x'}), 400, 'an unknown upgradableScope';

# What a token may do.
is $s->call($token, GET => '/accounts/1001')->{status}, 200, 'with the scope';
fails $s->call($token, GET => '/cards/1101'), 403, 'without the scope', 'forbidden';
fails $s->call($token, PATCH => '/accounts/1001', doc('depositAccount', {tags => {}})), 403, 'read is not write';
fails $s->call($token, GET => '/applications'), 403, 'an operation of the organisation';
fails $s->call($token, POST => '/accounts/1001/close'), 403, 'close account';
fails $s->call($s->token('10001', 'accounts-write'), POST => '/accounts/1001/close'), 403, 'with every scope too';
fails $s->call($token, GET => '/ready-to-launch/accounts?filter[userId]=alice'), 403, 'ready to launch';
fails $s->call($token, POST => '/customers/10001/token', doc('customerToken', {scope => 'accounts'})), 403, 'mint';
my $sensitive = 'cards-sensitive cards-sensitive-write cards';
fails $s->org(GET => '/cards/1101/secure-data/pan'), 403, 'card data with the organisation token';
is $s->call($s->verified_token('10001', $sensitive), GET => '/cards/1101/secure-data/pan')->{status}, 200, 'card data with a customer token';
my $counterparty = sub {
	$s->org(POST => '/counterparties', doc('achCounterparty', {
		name => 'J', type => 'Person', routingNumber => '812345678', accountNumber => '1', accountType => 'Checking',
	}, customer => [customer => '10001']))->{data}{data}{id};
};
is $s->call($s->token('10001', 'counterparties'), DELETE => '/counterparties/' . $counterparty->())->{status}, 204, 'delete counterparty, as documented';
is $s->call($s->verified_token('10001', 'counterparties-write'), DELETE => '/counterparties/' . $counterparty->())->{status}, 204, 'or as it should be';
fails $s->call($s->token('10001', 'accounts'), DELETE => '/counterparties/1201'), 403, 'but not with any';
my $tags = $s->token('10001', 'customer-tags-write');
is $s->call($tags, PATCH => '/customers/10001', doc('individualCustomer', {tags => {a => 'b'}}))->{status}, 200, 'customer-tags-write changes tags';
fails $s->call($tags, PATCH => '/customers/10001', doc('individualCustomer', {tags => {}, email => 'x@example.com'})), 403, 'and nothing else';
is $s->call($token, GET => '/identity')->{data}{data}{attributes}{scope}, 'customers accounts', 'identity';

# Isolation.
for my $path (qw(/accounts/2001 /customers/10002 /accounts/2001/limits /accounts/9999)) {
	fails $s->call($token, GET => $path), 404, "alice at $path";
}
my $all = $s->verified_token('10001',
	'customers customers-write accounts accounts-write cards cards-write payments payments-write counterparties '
	. 'counterparties-write transactions transactions-write authorizations statements events events-write');
for my $path (qw(
	/cards/2101 /payments/2301 /counterparties/2201 /accounts/2001/transactions/2401 /accounts/1001/transactions/2401
	/authorizations/2601 /statements/2501/html /accounts/9001
)) {
	fails $s->call($all, GET => $path), 404, "alice at $path";
}
for my $path (qw(/accounts /cards /payments /counterparties /transactions /authorizations /statements /events /customers)) {
	my $list = $s->call($all, GET => $path)->{data};
	ok $list->{meta}{pagination}{total} > 0 && !grep({ my $c = $_->{relationships}{customer}; $c && $c->{data}{id} ne '10001' } @{$list->{data}}),
		"$path has alice's only";
	is $s->call($all, GET => "$path?filter[customerId]=10002")->{data}{meta}{pagination}{total}, 0, "and nothing of bob's";
}
fails $s->call($all, POST => '/cards/2101/freeze'), 404, 'freeze a card of bob';
fails $s->call($all, PATCH => '/customers/10002', doc('businessCustomer', {tags => {}})), 404, 'change bob';
fails $s->call($all, POST => '/customers/10002/token/verification', doc('customerTokenVerification', {channel => 'sms'})), 404, 'start a verification for bob';
fails $s->call($all, POST => '/payments', doc('bookPayment', {amount => 1, description => 'x'},
	account => [depositAccount => '2001'], counterpartyAccount => [depositAccount => '1001'])), 404, 'pay from an account of bob';
fails $s->call($all, POST => '/payments', doc('achPayment', {amount => 1, direction => 'Credit', description => 'x'},
	account => [depositAccount => '1001'], counterparty => [counterparty => '2201'])), 404, 'pay to a counterparty of bob';
fails $s->call($all, POST => '/cards', doc('individualVirtualDebitCard', {}, account => [depositAccount => '2001'])), 404, 'a card on an account of bob';
fails $s->call($all, POST => '/accounts', doc('depositAccount', {depositProduct => 'checking'}, customer => [customer => '10002'])), 404, 'an account for bob';
my $narrow = $s->token('10001', 'accounts transactions', resources => [{type => 'account', ids => ['1002']}]);
is $s->call($narrow, GET => '/accounts/1002')->{status}, 200, 'resources: inside';
fails $s->call($narrow, GET => '/accounts/1001'), 404, 'resources: outside';
is $s->call($narrow, GET => '/accounts')->{data}{meta}{pagination}{total}, 1, 'resources: lists too';
fails mint('10001', {scope => 'accounts', resources => 'x'}), 400, 'resources of the wrong type';

# 2FA by OTP.
fails mint('10001', {scope => 'accounts payments-write'}), 400, 'a sensitive scope without proof';
my ($vt, $code, $answer) = start_otp('10001');
is $answer->{status}, 201, 'a verification starts';
is_deeply [sort keys %{$answer->{data}{data}}], [qw(attributes type)], 'no id either';
is $answer->{data}{data}{type}, 'customerTokenVerification', 'its type';
like $vt, qr{/.*\+|\+.*/}, 'the token needs escaping';
unlike $answer->{content}, qr{\\/}, 'slashes are not escaped';
like $code, qr/\A\d{6}\z/, 'six digits';
my $wrong = join '', reverse split //, $code;
$wrong = $code eq '123456' ? '654321' : '123456' if $wrong eq $code || $wrong eq '000001';
fails mint('10001', {scope => 'payments-write', verificationToken => $vt, verificationCode => $wrong}), 403, 'a wrong code', 'invalid_verification_code';
fails mint('10001', {scope => 'payments-write', verificationToken => 'x', verificationCode => $code}), 403, 'another token', 'invalid_verification_code';
fails mint('10002', {scope => 'payments-write', verificationToken => $vt, verificationCode => $code}), 403, 'another customer', 'invalid_verification_code';
fails mint('10001', {scope => 'payments-write', verificationCode => $code}), 403, 'no token', 'invalid_verification_code';
fails mint('10001', {scope => 'payments-write', verificationToken => $vt}), 400, 'no code';
fails mint('10001', {scope => 'payments-write', verificationToken => $vt, verificationCode => JSON::PP->new->allow_nonref->decode('123456')}), 400, 'a code that is a number';
fails mint('10001', {scope => 'payments-write nonsense', verificationToken => $vt, verificationCode => $code}), 400, 'an unknown scope does not use the code up';
$r = mint('10001', {scope => 'payments-write', verificationToken => $vt, verificationCode => $code, expiresIn => 60});
is $r->{status}, 201, 'the right code';
is $r->{data}{data}{attributes}{expiresIn}, 60, 'expiresIn as asked';
fails mint('10001', {scope => 'payments-write', verificationToken => $vt, verificationCode => $code}), 403, 'once', 'invalid_verification_code';
$s->call($r->{data}{data}{attributes}{token}, GET => '/cards/1101');
ok $s->journal($s->counter('requests') - 1)->[0]{verified}, 'the journal knows that it was verified';
my %codes;
my $previous = '';
for (1 .. 20) {
	my (undef, $c) = start_otp('10001');
	isnt $c, $previous, "code $_ is another" if $c eq $previous;
	$codes{$previous = $c} = 1;
}
cmp_ok scalar(keys %codes), '>', 15, 'a new code each time';
($vt, $code) = start_otp('10001');
$s->control(POST => 'clock', {advance => 599});
($r) = mint('10001', {scope => 'payments-write', verificationToken => $vt, verificationCode => $code});
is $r->{status}, 201, 'good for ten minutes';
($vt, $code) = start_otp('10001');
$s->control(POST => 'clock', {advance => 600});
fails mint('10001', {scope => 'payments-write', verificationToken => $vt, verificationCode => $code}), 403, 'and no longer', 'invalid_verification_code';
is mint('10001', {scope => 'payments-write', verificationCode => '000001'})->{status}, 201, 'the code 000001';

# Starting one.
my %start = (
	'call' => [201, {channel => 'call'}], 'no channel' => [400, {channel => undef}], 'email' => [400, {channel => 'email'}],
	'appHash' => [201, {appHash => 'FA+9qCX9VSu'}], 'a short appHash' => [400, {appHash => 'short'}],
	'appHash with call' => [400, {channel => 'call', appHash => 'FA+9qCX9VSu'}], 'a language' => [201, {language => 'pt-BR'}],
	'an unknown language' => [400, {language => 'xx'}], 'a phone for alice' => [400, {phone => {countryCode => '1', number => '5550100001'}}],
);
is +(start_otp('10001', %{$start{$_}[1]}))[2]{status}, $start{$_}[0], "verification: $_" for sort keys %start;
(undef, undef, $r) = start_otp('10002');
is $s->control(GET => 'otp/10002')->{phone}{number}, '5550200002', 'bob: his contact is called';
(undef, undef, $r) = start_otp('10002', phone => {countryCode => '1', number => '5550200003'});
is $r->{status}, 201, 'bob: an authorised user';
is $s->control(GET => 'otp/10002')->{phone}{number}, '5550200003', 'is called instead';
is +(start_otp('10002', phone => {countryCode => '1', number => '5550999999'}))[2]{status}, 400, 'bob: any other number';
is $s->call($s->token('10001', 'customers'), POST => '/customers/10001/token/verification', doc('customerTokenVerification', {channel => 'sms'}))->{status},
	201, 'a customer token with scope customers may start one';
fails $s->call($s->token('10001', 'accounts'), POST => '/customers/10001/token/verification', doc('customerTokenVerification', {channel => 'sms'})), 403, 'without it not';

# Upgrade.
my $base = $s->token('10001', 'customers customer-token-write', upgradableScope => 'cards-write');
is mint('10001', {scope => 'customers cards-write', verificationCode => '000001'}, $base)->{status}, 201, 'a token may be upgraded';
fails mint('10001', {scope => 'payments-write', verificationCode => '000001'}, $base), 403, 'to what it was promised';
fails mint('10002', {scope => 'customers'}, $base), 404, 'for its customer';

# 2FA by JWT.
sub jwt {
	my ($claims, %option) = @_;
	return Crypt::JWT::encode_jwt(
		payload => {exp => time + 300, %$claims}, alg => $option{alg} // 'RS256', key => $option{key} // $key,
		extra_headers => {kid => $option{kid} // 'k1'}
	);
}
is mint('10001', {scope => 'cards-write', jwtToken => jwt({sub => 'alice'})})->{status}, 201, 'a good JWT';
is mint('10002', {scope => 'cards-write', jwtToken => jwt({sub => 'bob'})})->{status}, 201, 'of bob';
fails mint('10001', {scope => 'cards-write', jwtToken => jwt({sub => 'bob'})}), 403, 'another subject', 'invalid_jwt_token';
fails mint('10001', {scope => 'cards-write', jwtToken => jwt({sub => 'alice'}, key => $other)}), 403, 'another key';
fails mint('10001', {scope => 'cards-write', jwtToken => jwt({sub => 'alice'}, kid => 'k2')}), 403, 'another kid';
fails mint('10001', {scope => 'cards-write', jwtToken => jwt({sub => 'alice', exp => time - 5})}), 403, 'expired';
fails mint('10001', {scope => 'cards-write', jwtToken => jwt({sub => 'alice'}, alg => 'PS256')}), 403, 'another algorithm';
fails mint('10001', {scope => 'cards-write', jwtToken => jwt({})}), 403, 'no subject';
fails mint('10001', {scope => 'cards-write', jwtToken => 'x.y.z'}), 403, 'nonsense';
write_jwks(['k1', $key], ['k2', $other]);
is mint('10001', {scope => 'cards-write', jwtToken => jwt({sub => 'alice'}, key => $other, kid => 'k2')})->{status}, 201, 'the key set is re-read';
is $s->org(PATCH => '/customers/10001', doc('individualCustomer', {jwtSubject => 'alice2'}))->{status}, 200, 'jwtSubject changes';
fails mint('10001', {scope => 'cards-write', jwtToken => jwt({sub => 'alice'})}), 403, 'the old subject';
is mint('10001', {scope => 'cards-write', jwtToken => jwt({sub => 'alice2'})})->{status}, 201, 'the new one';

# Ends of tokens.
$token = $s->token('10001', 'accounts', expiresIn => 100);
my $longer = $s->token('10001', 'accounts', expiresIn => 200);
my $bobs = $s->token('10002', 'accounts');
$s->control(POST => 'clock', {advance => 101});
fails $s->call($token, GET => '/accounts/1001'), 401, 'an expired token', 'unauthorized';
is $s->call($longer, GET => '/accounts/1001')->{status}, 200, 'one that has not';
my $journal = $s->journal($s->counter('requests') - 2);
is_deeply [@{$journal->[0]}{qw(token_kind customer status)}], ['customer', '10001', 401], 'the journal knows whose it was';
cmp_ok $s->control(POST => 'revoke', {customerId => '10001'})->{tokens}, '>', 1, 'revoke';
fails $s->call($longer, GET => '/accounts/1001'), 401, 'revoked';
$token = $s->token('10001', 'accounts');
is $s->call($token, GET => '/accounts/1001')->{status}, 200, 'a new one is good';
$s->control(POST => 'expire', {customerId => '10001', seconds => 50});
is $s->call($token, GET => '/accounts/1001')->{status}, 200, 'expire: not yet';
$s->control(POST => 'clock', {advance => 50});
fails $s->call($token, GET => '/accounts/1001'), 401, 'expire: now';
is $s->call($bobs, GET => '/accounts/2001')->{status}, 200, 'bob kept his through all that';
$s->control(POST => 'reset');
fails $s->call($bobs, GET => '/accounts/2001'), 401, 'but not through a reset';
is $s->org(GET => '/accounts/2001')->{status}, 200, 'the organisation did';

is $s->stop, 0, 'ends cleanly';
done_testing;
