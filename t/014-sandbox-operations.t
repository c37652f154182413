#!/usr/bin/perl

# Every operation of conf/unit-api/routes.json is answered: the 100 of the seed
# documents with their documented status and type, the newer ones without an
# error of ours.

use strict;
use warnings;

use FindBin ();
use JSON::PP ();
use Test::More;

use lib "$FindBin::Bin/../sandbox/lib";
use UnitSandbox::Client;

my $routes = do {
	open my $fh, '<:raw', "$FindBin::Bin/../conf/unit-api/routes.json" or die "routes.json: $!\n";
	local $/;
	JSON::PP->new->utf8->decode(scalar <$fh>);
};
my $s = UnitSandbox::Client->start;
*doc = \&UnitSandbox::Client::doc;

my $number = 100_000_000;
my @verified_scopes = qw(cards cards-write cards-sensitive cards-sensitive-write payments-write counterparties-write);
my $sensitive = $s->verified_token('10001', "@verified_scopes");

# Things of one's own for operations that use something up.
sub application {
	my ($type) = @_;
	my %a = $type eq 'businessApplication'
		? (name => 'Cakes', ein => ++$number . '', beneficialOwners => [{fullName => {first => 'A', last => 'B'}}])
		: (fullName => {first => 'Peter', last => 'Parker'}, ssn => ++$number . '');
	my $r = $s->org(POST => '/applications', doc($type, \%a));
	die "application: $r->{content}\n" if $r->{status} != 201;
	my $relationships = $r->{data}{data}{relationships};
	return {
		applicationId => $r->{data}{data}{id}, documentId => $relationships->{documents}{data}[0]{id},
		beneficialOwnerId => ($relationships->{beneficialOwners} // {data => []})->{data}[0]{id},
	};
}

sub made {
	my ($path, $doc) = @_;
	my $r = $s->org(POST => $path, $doc);
	die "$path: $r->{content}\n" if $r->{status} != 201;
	return $r->{data}{data}{id};
}

sub card {
	my ($status) = @_;
	my $type = $status eq 'Active' ? 'individualVirtualDebitCard' : 'individualDebitCard';
	return {cardId => made('/cards', doc($type, {}, account => [depositAccount => '1001']))};
}

sub ach {
	my ($direction) = @_;
	return made('/payments', doc('achPayment', {amount => 100, direction => $direction, description => 'x', counterparty => bank()},
		account => [depositAccount => '1001']));
}

sub bank { {name => 'Joe', routingNumber => '812345678', accountNumber => '1000000001', accountType => 'Checking'} }

sub account { {accountId => made('/accounts', doc('depositAccount', {depositProduct => 'checking'}, customer => [customer => '10001']))} }

my @on_account = (account => [depositAccount => '1001']);
my @from_to = (account => [depositAccount => '1001'], counterpartyAccount => [depositAccount => '2001']);
my %phone = (countryCode => '1', number => '5550109999');
my @new_user = ({fullName => {first => 'D', last => 'E'}, email => 'd@example.com', phone => \%phone});
my %card_holder = (fullName => {first => 'Bob', last => 'Baker'});

# Operation to [attributes or whole body, relationships..., option => value]
# built when its turn comes. Path ids come from the second table.
my %body = (
	'create-individual-application' => sub { doc('individualApplication', {ssn => '900000001', fullName => {first => 'A', last => 'B'}}) },
	'create-sole-proprietor-application' => sub { doc('individualApplication', {soleProprietorship => JSON::PP::true, ssn => '900000002'}) },
	'create-business-application' => sub { doc('businessApplication', {name => 'X', ein => '900000003'}) },
	'cancel-application' => sub { doc('applicationCancel', {reason => 'ByCustomer'}) },
	'update-business-application' => sub { doc('businessApplication', {annualRevenue => 'Between1mAnd5m'}) },
	'update-business-officer' => sub { doc('businessApplication', {officer => {occupation => 'Doctor'}}) },
	'update-beneficial-owner' => sub { doc('beneficialOwner', {occupation => 'Doctor'}, application => [businessApplication => $_[0]{applicationId}]) },
	'update-individual-application' => sub { doc('individualApplication', {occupation => 'Doctor'}) },
	'update-sole-proprietor-application' => sub { doc('individualApplication', {annualRevenue => 'UpTo250k'}) },
	'update-individual-customer' => sub { doc('individualCustomer', {email => 'a2@example.com'}) },
	'update-business-customer' => sub { doc('businessCustomer', {phone => \%phone}) },
	'update-trust-customer' => sub { doc('trustCustomer', {tags => {a => 'b'}}) },
	'archive-customer' => sub { doc('archiveCustomer', {reason => 'Inactive'}) },
	'add-authorized-users' => sub { doc('addAuthorizedUsers', {authorizedUsers => \@new_user}) },
	'remove-authorized-users' => sub { doc('removeAuthorizedUsers', {authorizedUsersEmails => ['d@example.com']}) },
	'create-customer-token' => sub { doc('customerToken', {scope => 'customers accounts'}) },
	'create-customer-token-2fa' => sub {
		my $r = $s->org(POST => '/customers/10001/token/verification', doc('customerTokenVerification', {channel => 'sms'}));
		doc('customerToken', {
			scope => 'cards-write', verificationToken => $r->{data}{data}{attributes}{verificationToken},
			verificationCode => $s->control(GET => 'otp/10001')->{code},
		});
	},
	'create-customer-token-sandbox' => sub { doc('customerToken', {scope => 'payments-create cards-create', verificationCode => '000001'}) },
	'create-customer-token-verification' => sub { doc('customerTokenVerification', {channel => 'call'}) },
	'create-deposit-account' => sub { doc('depositAccount', {depositProduct => 'checking'}, customer => [customer => '10001']) },
	'update-account' => sub { doc('depositAccount', {tags => {purpose => 'tax'}}) },
	'create-fee' => sub { doc('fee', {amount => 10, description => 'Fee'}, @on_account) },
	'create-ach-payment-inline' => sub { doc('achPayment', {amount => 10, direction => 'Credit', description => 'x', counterparty => bank()}, @on_account) },
	'create-ach-payment-linked' => sub { doc('achPayment', {amount => 10, direction => 'Debit', description => 'x'}, @on_account, counterparty => [counterparty => '1201']) },
	'create-ach-payment-plaid' => sub { doc('achPayment', {amount => 10, direction => 'Debit', description => 'x', plaidProcessorToken => 'p'}, @on_account) },
	'create-book-payment' => sub { doc('bookPayment', {amount => 10, description => 'x'}, @from_to) },
	'update-ach-payment' => sub { doc('achPayment', {tags => {a => 'b'}}) },
	'update-book-payment' => sub { doc('bookPayment', {tags => {a => 'b'}}) },
	'create-individual-debit-card' => sub { doc('individualDebitCard', {}, @on_account) },
	'create-individual-virtual-debit-card' => sub { doc('individualVirtualDebitCard', {}, @on_account) },
	'create-business-debit-card' => sub { doc('businessDebitCard', {%card_holder}, account => [depositAccount => '2001']) },
	'create-business-virtual-debit-card' => sub { doc('businessVirtualDebitCard', {%card_holder}, account => [depositAccount => '2001']) },
	'activate-card' => sub { doc('card', {cvv2 => '123', expirationDate => '2030-08'}) },
	'set-card-pin' => sub { doc('card', {pin => '1234'}) },
	'replace-card' => sub { doc('replaceCard', {shippingAddress => {street => 'x'}}) },
	(map { my ($op, $type) = @$_; ($op => sub { doc($type, {tags => {a => 'b'}}) }) }
		['update-individual-debit-card', 'individualDebitCard'], ['update-business-debit-card', 'businessDebitCard'],
		['update-individual-virtual-debit-card', 'individualVirtualDebitCard'],
		['update-business-virtual-debit-card', 'businessVirtualDebitCard'], ['update-transaction', 'transaction']),
	'create-counterparty' => sub { doc('achCounterparty', {%{bank()}, type => 'Person'}, customer => [customer => '10001']) },
	'create-counterparty-plaid' => sub { doc('achCounterparty', {name => 'J', type => 'Person', plaidProcessorToken => 'p'}, customer => [customer => '10001']) },
	'update-counterparty' => sub { doc('counterparty', {plaidProcessorToken => 'p'}) },
	'create-batch-releases' => sub {
		{data => [doc('batchRelease', {amount => 5, description => 'x', senderName => 'S'},
			batchAccount => [batchAccount => '9001'], receiver => [depositAccount => '1001'])->{data}]};
	},
	'fire-event' => sub { {} },
	'sandbox-approve-application' => sub { doc('applicationApprove', {reason => 'sandbox'}) },
	'sandbox-deny-application' => sub { doc('applicationDeny', {reason => 'sandbox'}) },
	'sandbox-approve-document' => sub { {} },
	'sandbox-reject-document' => sub { doc('documentReject', {reason => 'x'}) },
	'sandbox-receive-ach-payment' => sub { doc('achPayment', {amount => 10, direction => 'Credit', description => 'x'}, @on_account) },
	'sandbox-transmit-ach-payment' => sub { doc('transmitAchPayment', {}, payment => [achPayment => ach('Credit')]) },
	'sandbox-clear-ach-payment' => sub { doc('clearAchPayment', {}, payment => [achPayment => ach('Debit')]) },
	'sandbox-return-ach-payment' => sub { doc('returnAchPayment', {reason => 'R01'}, payment => [achPayment => ach('Credit')]) },
	'sandbox-receive-wire-payment' => sub { doc('wirePayment', {amount => 10, description => 'x'}, @on_account) },
	'sandbox-create-card-authorization' => sub { doc('authorization', {amount => 10}, card => [individualDebitCard => '1101']) },
	'sandbox-create-card-purchase' => sub { doc('purchaseTransaction', {amount => 10, merchantName => 'M'}, @on_account) },
	'sandbox-create-card-purchase-reversal' => sub { doc('cardReversalTransaction', {amount => 10}, @on_account) },
	'sandbox-create-atm-withdrawal' => sub { doc('atmTransaction', {amount => 10}, @on_account) },
	'rtl-create-book-payment' => sub { doc('bookPayment', {amount => 10, description => 'x'}, @on_account, operationalAccount => [depositAccount => '9002']) },
);
my %given = (
	applicationId => '1001', customerId => '10001', accountId => '1001', cardId => '1101', paymentId => '1301', counterpartyId => '1201',
	transactionId => '1401', statementId => '1501', authorizationId => '1601', checkDepositId => '1701', eventId => '1801',
);
my %ids = (
	(map { $_ => sub { application('individualApplication') } }
		qw(cancel-application list-application-documents upload-application-document upload-application-document-back
		update-individual-application update-sole-proprietor-application sandbox-approve-application sandbox-deny-application
		sandbox-approve-document sandbox-reject-document)),
	(map { $_ => sub { application('businessApplication') } }
		qw(update-business-application update-business-officer update-beneficial-owner)),
	'close-account' => \&account,
	'reopen-account' => sub {
		my $a = account();
		$s->org(POST => "/accounts/$a->{accountId}/close");
		$a;
	},
	'update-business-customer' => sub { {customerId => '10002'} },
	'update-trust-customer' => sub { {customerId => '10003'} },
	'archive-customer' => sub {
		my $a = application('individualApplication');
		my $r = $s->org(POST => "/sandbox/applications/$a->{applicationId}/approve", doc('applicationApprove', {}));
		{customerId => $r->{data}{data}{relationships}{customer}{data}{id}};
	},
	'update-book-payment' => sub { {paymentId => made('/payments', doc('bookPayment', {amount => 1, description => 'x'}, @from_to))} },
	'update-business-debit-card' => sub { {cardId => '2101'} },
	'update-individual-virtual-debit-card' => sub { {cardId => '1102'} },
	'update-business-virtual-debit-card' => sub { {cardId => '2102'} },
	(map { $_ => sub { card('Inactive') } } qw(activate-card sandbox-activate-card)),
	(map { $_ => sub { card('Active') } } qw(report-card-stolen report-card-lost close-card freeze-card unfreeze-card replace-card)),
	'delete-counterparty' => sub { {counterpartyId => made('/counterparties', doc('achCounterparty', {%{bank()}, type => 'Person'}, customer => [customer => '10001']))} },
);
my %query = ('rtl-list-accounts' => '?filter[userId]=alice', 'rtl-list-transactions' => '?filter[customerId]=10001');

sub path_of {
	my ($op, $ids) = @_;
	my $path = $op->{path};
	$path =~ s{:(\w+)}{$ids->{$1} // $given{$1} // '1'}ge;
	return $path . ($query{$op->{operation}} // '');
}

my @seeds = grep { $_->{origin} eq 'seed' } @$routes;
is scalar @seeds, 100, 'the seed documents have 100 operations';
for my $op (@seeds) {
	my $name = $op->{operation};
	my $ids = $ids{$name} ? $ids{$name}->() : {};
	my $body = $body{$name} ? $body{$name}->($ids) : undef;
	my $is_upload = grep { $_ eq 'image/png' } @{$op->{content_types}};
	my $token = $op->{token} eq 'customer' ? $sensitive : $s->{org};
	my $r = $s->call($token, $op->{method}, path_of($op, $ids), $is_upload ? "\x89PNG\r\n" : $body, $is_upload ? (type => 'image/png') : ());
	my $expected = $op->{success} ? $op->{success}[0] : 200;
	is $r->{status}, $expected, "$name: $op->{method} $op->{path}" or diag $r->{content};
	is $s->journal($s->counter('requests') - 1)->[-1]{operation}, $name, "$name was recognised"
		if $name !~ /\Aupdate-sole-proprietor-application\z/;
	my $type = $r->{headers}{'content-type'} // '';
	if ($expected == 204) { is $r->{content}, '', "$name has no body" }
	elsif (my ($special) = grep { m{text/html} } @{$op->{response_types}}) { like $type, qr/\A\Q$special\E/, "$name is $special" }
	else {
		is $type, 'application/vnd.api+json; charset=utf-8', "$name is JSON:API";
		ok ref $r->{data} eq 'HASH' && ref $r->{data}{data}, "$name has data";
	}
}

# The newer operations: what they need is not all here, but nothing breaks.
for my $op (grep { $_->{origin} ne 'seed' } @$routes) {
	my $name = $op->{operation};
	my ($type) = grep { defined && !ref } ($op->{body_match} // {})->{'data.type'};
	my $in = ($op->{body_match} // {})->{'data.type'};
	$type //= $in->{in}[0] if ref $in && $in->{in};
	my ($media) = @{$op->{content_types}};
	my $body = !$media ? undef : $media =~ /json/ ? doc($type // 'thing', {signedNonce => 'n', amount => 5}) : 'bytes';
	$body = {data => [$body->{data}]} if ($op->{body_match} // {})->{'data[].type'};
	my $path = path_of($op, {});
	my $token = $op->{token} eq 'customer' ? $sensitive : $s->{org};
	my $r = $s->call($token, $op->{method}, $path, $body, defined $media ? (type => $media) : ());
	ok $r->{status} < 500 && $r->{status} != 401 && $r->{status} != 403 && $r->{status} != 405 && $r->{status} != 415,
		"$name: $op->{method} $path: $r->{status}" or diag $r->{content};
}

is $s->stop, 0, 'ends cleanly';
done_testing;
