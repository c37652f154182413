#!/usr/bin/perl

# Unit's own SDK for Node, as npm has it, works through the gateway with nothing
# but another base URL and the application's own JWT. Every read call that it has
# is made; then the two calls of two-factor authentication, and with the token
# that they return a card, a counterparty and a payment. What the gateway
# refuses reaches the application as the exception that it knows from Unit. Holds
# P12 and P38 from the outside: what a real client puts into queries and
# bodies arrives as it was sent.

use strict;
use warnings;

use JSON::PP ();
use Test::More;
use UnitGateway;
use UnitGateway::Node;

my $missing = UnitGateway::Node::missing();
plan skip_all => $missing if $missing;

my $t = UnitGateway->new(workers => 2);
$t->start;
my $sdk = UnitGateway::Node->new;
my $base = 'http://127.0.0.1:' . $t->port . '/';
my $alice = $t->jwt(sub => 'alice');
$sdk->login($base, $alice);

# A call that succeeds: its value.
sub works {
	my ($call, $args, $name) = @_;
	my ($value, $error) = $sdk->call($call, @$args);
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	ok(!$error, $name // $call) or diag explain $error;
	return $value;
}

# A call that fails, as the SDK tells it: that.
sub refused {
	my ($call, $args, $status, $code, $name) = @_;
	my (undef, $error) = $sdk->call($call, @$args);
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	$name //= $call;
	my $first = ($error->{errors} // [])->[0] // {};
	is_deeply(
		[@$error{qw(isUnitError name)}, scalar @{$error->{errors} // []}, @$first{qw(status code)}],
		[JSON::PP::true, 'UnitError', 1, "$status", $code], "$name: $status $code",
	) or diag explain $error;
	is($error->{message}, "$status - " . ($first->{title} // '?'), "$name: the message");
	return $error;
}

sub ids { join ' ', sort map { $_->{id} } @{$_[0]{data}} }

# -- reading ---------------------------------------------------------------------------

my %tried;

# what comes back: an id, ids of a list, or the beginning of a text
for (
	['customers.get', ['10001'], '10001'], ['customers.get', ['me'], '10001'],
	['customers.list', [], ['10001']],
	['accounts.get', ['1001', 'customer'], '1001'], ['accounts.list', [], [1001, 1002]],
	['accounts.limits', ['1001'], undef], ['accounts.getAvailableDepositProducts', ['1001'], undef],
	['accountsEndOfDay.list', [], []],
	['transactions.get', ['1001', '1401'], '1401'], ['transactions.get', ['1001', '1401', '10001'], '1401'],
	['transactions.list', [], [1401, 1402]],
	['cards.get', ['1101'], '1101'], ['cards.list', [], [1101, 1102]], ['cards.limits', ['1101'], undef],
	['counterparties.get', ['1201'], '1201'], ['counterparties.list', [], ['1201']],
	['counterparties.getBalance', ['1201'], '1201'],
	['events.get', ['1801'], '1801'], ['events.list', [], ['1801']],
	['payments.get', ['1301', 'account,customer'], '1301'], ['payments.list', [], ['1301']],
	['authorizations.get', ['1601', JSON::PP::true], '1601'], ['authorizations.list', [], ['1601']],
	['authorizations.find', [{}], ['1601']],
	['statements.list', [], ['1501']], ['statements.get', ['1501', '10001'], qr/\A<!DOCTYPE html>/],
	['statements.getBinary', ['1501', undef, JSON::PP::true], qr/\A%PDF-/],
	['statements.getBankVerification', ['1001'], qr/\A%PDF-/],
	['checkDeposits.get', ['1701'], '1701'], ['checkDeposits.list', [], ['1701']],
	['checkDeposits.getImage', ['1701'], qr/\A\xff\xd8/],
	['recurringPayments.list', [], []], ['checkPayments.list', [], []],
) {
	my ($call, $args, $want) = @$_;
	$tried{$call} = 1;
	my $value = works($call, $args, "$call(@{[map { $_ // '' } @$args]})");
	if (ref $want eq 'ARRAY') {
		is(ids($value), "@$want", "$call: these");
	} elsif (ref $want) {
		like($value, $want, "$call: not JSON");
	} elsif (defined $want) {
		is($value->{data}{id}, $want, "$call: this one");
	} else {
		ok(ref $value->{data}, "$call: something");
	}
}

# Unit's own errors are not ours and pass as they are
for (['recurringPayments.get', '77'], ['checkPayments.get', '77'], ['accounts.get', '77'], ['cards.get', '2101']) {
	my ($call, $id) = @$_;
	$tried{$call} = 1;
	my $error = refused($call, [$id], 404, 'not_found', "Unit's own error, $call");
	ok(!exists $error->{errors}[0]{id}, 'and not of the gateway');
}

# for an organisation only, or with scopes that nobody knows
for (
	(map { ["$_.get", '1'], ["$_.list"] } qw(applications applicationForms authorizationRequests chargebacks disputes
		receivedPayments repayments rewards stopPayments webhooks)),
	['applications.listDocuments', '1001'], ['atmLocations.list', {}], ['cards.getPinStatus', '1101'],
	['institutions.get', '812345678'], ['orgTokens.list', '1'],
) {
	my ($call, @args) = @$_;
	$tried{$call} = 1;
	refused($call, \@args, 403, 'operation_not_allowed');
}

# not in the policy; GET of what only POST does
for (['billPays.get', {}, 404, 'unknown_operation'], ['accounts.enterDaca', '1001', 405, 'method_not_allowed']) {
	my ($call, $arg, $status, $code) = @$_;
	$tried{$call} = 1;
	refused($call, [$arg], $status, $code);
}

# with these two the SDK does not look into the body of an error
for (['applications.download', [{applicationId => '1001', documentId => '1'}], 403], ['checkPayments.getImage', ['77'], 404]) {
	my ($call, $args, $status) = @$_;
	$tried{$call} = 1;
	my (undef, $error) = $sdk->call($call, @$args);
	ok($error->{isUnitError}, "$call: an error of the SDK");
	like($error->{message}, qr/\A$status - /, "$call: $status");
}

my @untried = grep { /\.(?:get|list|find|limits|download)/ && !$tried{$_} } $sdk->methods;
is("@untried", '', 'no read call of the SDK was left out');

# -- filters: brackets, JSON and times as the SDK writes them --------------------------

my $mark = $t->sandbox->mark;
works('payments.list', [{
	limit => 5, offset => 1, accountId => '1001', customerId => '10001', tags => {purpose => 'rent & more'},
	since => '2020-01-01T00:00:00.000Z', type => ['AchPayment', 'BookPayment'], status => ['Sent'], sort => 'createdAt',
	include => 'account,customer',
}]);
my ($call) = $t->sandbox->journal($mark);
my %query = map { s/\+/ /gr =~ s/%([0-9A-Fa-f]{2})/chr hex $1/ger } map { /\A([^=]*)=(.*)\z/ } split /&/, $call->{query};
is_deeply(\%query, {
	'page[limit]' => 5, 'page[offset]' => 1, 'filter[accountId]' => '1001', 'filter[customerId]' => '10001',
	'filter[tags]' => '{"purpose":"rent & more"}', 'filter[since]' => '2020-01-01T00:00:00.000Z',
	'filter[type][0]' => 'AchPayment', 'filter[type][1]' => 'BookPayment', 'filter[status][0]' => 'Sent',
	sort => 'createdAt', include => 'account,customer',
}, 'the query arrives whole');
like($call->{headers}{'x-unit-sdk'}, qr/\Aunit-node-sdk\@v\d/, 'and the header of the SDK');
like($call->{headers}{authorization}, qr/\ABearer v2\.public\./, 'with a token of Unit');
is("@{$call->{scopes}}", 'payments', 'that may do just this');

$mark = $t->sandbox->mark;
refused('payments.list', [{customerId => '10002'}], 403, 'customer_mismatch', 'a filter for somebody else');
refused('statements.get', ['1501', '10002'], 403, 'customer_mismatch', 'in a statement too');
refused('customers.get', ['10002'], 403, 'customer_mismatch', 'another customer');
is(scalar $t->sandbox->journal($mark), 0, 'Unit has not seen these');

# -- two-factor authentication ---------------------------------------------------------

my $debit_card = {type => 'individualDebitCard', attributes => {idempotencyKey => 'card-1'},
	relationships => {account => {data => {type => 'depositAccount', id => '1001'}}}};
my $error = refused('cards.create', [$debit_card], 401, 'two_factor_required', 'a card without a code');
is($error->{challenge}, 'Bearer error="insufficient_user_authentication", scope="cards-write", max_age=86400',
	'the application sees the challenge');

sub verification {
	return works('customerToken.createTokenVerification',
		['10001', {type => 'customerTokenVerification', attributes => {channel => 'sms', language => 'en'}}]);
}

sub token_request {
	my ($handle, $code) = @_;
	return ['10001', {type => 'customerToken', attributes => {
		scope => 'cards-write counterparties-write payments-write accounts cards',
		verificationToken => $handle, verificationCode => "$code", expiresIn => 1800}}];
}

my $value = verification();
is($value->{data}{type}, 'customerTokenVerification', 'the type of Unit');
my $handle = $value->{data}{attributes}{verificationToken};
like($handle, qr/\A[A-Za-z0-9_-]{43}\z/, 'and a handle of ours');

my $code = $t->sandbox->otp('10001')->{code};
refused('customerToken.createToken', token_request($handle, ($code =~ tr{0-9}{1-90}r)), 403, 'verification_failed');
$value = works('customerToken.createToken', token_request($handle, $code));
is($value->{data}{type}, 'customerBearerToken', 'the type of Unit');
cmp_ok($value->{data}{attributes}{expiresIn}, '<=', 1800, 'it lives as long as asked for');
cmp_ok($value->{data}{attributes}{expiresIn}, '>', 1700, 'or nearly');
refused('customerToken.createToken', token_request($handle, $code), 403, 'verification_failed', 'the code again');

# as an application goes on that knows Unit only
my $token = $value->{data}{attributes}{token};
unlike($token, qr/v2\.public/, 'no token of Unit leaves the gateway');
$sdk->login($base, $token);

my $minted = $t->sandbox->counter('tokens_minted');
my $card = works('cards.create', [$debit_card]);
is($card->{data}{type}, 'individualDebitCard', 'a card is made');
is(works('cards.create', [$debit_card], 'again with its key')->{data}{id}, $card->{data}{id}, 'the same one');
is(works('cards.freeze', ['1101'])->{data}{attributes}{status}, 'Frozen', 'a card can be frozen');
is(works('cards.unfreeze', ['1101'])->{data}{attributes}{status}, 'Active', 'and unfrozen');

my $counterparty = works('counterparties.create', [{type => 'achCounterparty', attributes => {
	name => "Zo\x{eb} \x{1f4b8} \"Doe\"", routingNumber => '812345679', accountNumber => '1000000002', accountType => 'Checking',
	type => 'Person', idempotencyKey => 'counterparty-1',
}, relationships => {customer => {data => {type => 'customer', id => '10001'}}}}]);
is(works('counterparties.get', [$counterparty->{data}{id}])->{data}{attributes}{name}, "Zo\x{eb} \x{1f4b8} \"Doe\"",
	'a counterparty, with its name');

my $payment = {type => 'bookPayment', attributes => {amount => 1234, description => 'Gift', idempotencyKey => 'payment-1'},
	relationships => {account => {data => {type => 'depositAccount', id => '1001'}},
		counterpartyAccount => {data => {type => 'depositAccount', id => '2001'}}}};
my $paid = works('payments.create', [$payment]);
is($paid->{data}{attributes}{status}, 'Sent', 'a payment is sent');
is(works('payments.create', [$payment], 'again with its key')->{data}{id}, $paid->{data}{id}, 'the same one');
is(works('accounts.get', ['1001'])->{data}{attributes}{balance}, 1_000_000 - 1234, 'the money has moved once');
cmp_ok($t->sandbox->counter('tokens_minted') - $minted, '<=', 3, 'the verified token is used again and again');

works('counterparties.delete', [$counterparty->{data}{id}]);
refused('counterparties.get', [$counterparty->{data}{id}], 404, 'not_found', 'a deleted counterparty');

my ($made) = grep { $_->{method} eq 'POST' && $_->{path} eq '/payments' } $t->sandbox->journal($mark);
ok($made->{verified}, 'a verified token has paid');
is_deeply(
	JSON::PP->new->utf8->decode($made->{body})->{data}{relationships}, $payment->{relationships}, 'with the body of the SDK',
);

# what the policy does not allow stays forbidden, code or not
refused('counterparties.create', [{type => 'achCounterparty', attributes => {name => 'x'},
	relationships => {customer => {data => {type => 'customer', id => '10002'}}}}], 403, 'customer_mismatch', 'for somebody else');
refused('cards.create', [{type => 'noSuchCard', attributes => {}}], 403, 'operation_not_allowed', 'an unknown type');
refused('fees.createFee', [{type => 'fee', attributes => {amount => 1, description => 'x'},
	relationships => {account => {data => {type => 'depositAccount', id => '1001'}}}}], 403, 'operation_not_allowed');
refused('simulations.approveApplication', ['1001', {type => 'applicationApprove', attributes => {reason => 'sandbox'}}],
	403, 'operation_not_allowed');

# -- other tokens, and a Unit that has troubles -----------------------------------------

$sdk->login($base, $t->jwt(sub => 'alice', claims => {unitRole => 'ReadOnly'}));
works('accounts.list', [], 'a read-only user reads');
refused('payments.create', [$payment], 403, 'insufficient_scope', 'but does not pay');

$sdk->login($base, $t->jwt(sub => 'bob'));
refused('cards.freeze', ['2101'], 401, 'two_factor_required', 'the code of one is not the code of another');
is(ids(works('accounts.list', [])), '2001', 'bob sees his account');

for ('', 'no.such.token', "$alice.", 'v2.public.abc') {
	$sdk->login($base, $_);
	refused('accounts.list', [], 401, 'token_invalid', 'token "' . substr($_, -10) . '"');
}

$sdk->login($base, $alice);
$t->sandbox->fault(GET => '/accounts', {status => 429, headers => {'Retry-After' => 7}}, 'always');
(undef, $error) = $sdk->call('accounts.list');
like($error->{message}, qr/\A429 - /, 'the answer of a Unit that is busy');
is($error->{retryAfter}, 7, 'and when to come back');
$t->sandbox->clear_faults;
$t->sandbox->fault(GET => '/accounts', {drop => 'before'}, 'always');
refused('accounts.list', [], 502, 'upstream_unavailable', 'no answer of Unit');
$t->sandbox->clear_faults;
works('accounts.list', [], 'and all is well again');

$sdk->close;
$t->done;
