package UnitSandbox::Seed;

# The data that a fresh sandbox holds. Ids are fixed: tests rely on them.

use strict;
use warnings;

use UnitSandbox::Clock qw(iso);
use UnitSandbox::Model qw(
	ref_to make_customer make_account make_card make_counterparty make_payment make_transaction address phone
);
use UnitSandbox::Store qw(put next_id res);

sub plant {
	_alice();
	_bob();
	_trust();
	_organisation();
}

sub _alice {
	make_customer(
		'individualCustomer', '10001',
		{
			fullName => {first => 'Alice', last => 'Archer'}, email => 'alice@example.com', phone => phone('5550100001'),
			address => address(), ssn => '721074001', dateOfBirth => '1990-01-01', jwtSubject => 'alice',
			authorizedUsers => [],
		},
		['individualApplication', '1001']
	);
	_application('individualApplication', '1001', '10001', 'individualCustomer', '721074001');
	my $account = make_account('1001', ['10001'], balance => 1_000_000);
	make_account('1002', ['10001'], name => 'Savings', depositProduct => 'savings', balance => 250_000);
	_rest('10001', '1', $account, 'individualDebitCard', 'individualVirtualDebitCard', {});
}

sub _bob {
	make_customer(
		'businessCustomer', '10002',
		{
			name => 'Bobs Bakery', phone => phone('5550200001'), address => address(), stateOfIncorporation => 'DE',
			ein => '123456789', entityType => 'Corporation', jwtSubject => 'bob',
			contact => {
				fullName => {first => 'Bob', last => 'Baker'}, email => 'bob@example.com', phone => phone('5550200002'),
				jwtSubject => 'bob',
			},
			authorizedUsers => [
				{fullName => {first => 'Carol', last => 'Clerk'}, email => 'carol@example.com', phone => phone('5550200003')},
			],
		},
		['businessApplication', '1002']
	);
	_application('businessApplication', '1002', '10002', 'businessCustomer', '123456789');
	my $account = make_account('2001', ['10002'], name => 'Operating', balance => 5_000_000);
	my %holder = (
		fullName => {first => 'Bob', last => 'Baker'}, dateOfBirth => '1980-02-02', address => address(),
		phone => phone('5550200002'), email => 'bob@example.com',
	);
	_rest('10002', '2', $account, 'businessDebitCard', 'businessVirtualDebitCard', \%holder);
}

# So that there is one of each kind; nobody signs in as it.
sub _trust {
	make_customer(
		'trustCustomer', '10003',
		{
			name => 'The Dent Trust', address => address(), stateOfIncorporation => 'CA',
			contact => {
				fullName => {first => 'Dora', last => 'Dent'}, email => 'dora@example.com', phone => phone('5550300001'),
				address => address(),
			},
			authorizedUsers => [],
		}
	);
}

# What both customers have; ids start with the digit.
sub _rest {
	my ($customer, $digit, $account, $card, $virtual, $holder) = @_;

	make_card($card, "${digit}101", $account, $customer, %$holder, status => 'Active');
	make_card($virtual, "${digit}102", $account, $customer, %$holder);
	make_counterparty(
		"${digit}201", $customer, name => 'Joe Doe', routingNumber => '812345678', accountNumber => '1000000001',
		accountType => 'Checking', type => 'Person'
	);
	my %by = (payment => ref_to('payment', "${digit}301"));
	make_payment(
		'achPayment', "${digit}301", $account,
		{
			status => 'Sent', direction => 'Credit', amount => 10_000, description => 'Rent', reason => undef,
			counterparty => {name => 'Joe Doe', routingNumber => '812345678', accountNumber => '1000000001', accountType => 'Checking'},
		},
		{counterparty => ref_to('counterparty', "${digit}201"), transaction => ref_to('transaction', "${digit}401")}
	);
	my $balance = res($account)->{attributes}{balance};
	make_transaction(
		'originatedAchTransaction', "${digit}401", $account,
		{direction => 'Debit', amount => 10_000, balance => $balance, summary => 'Rent', description => 'Rent'}, \%by
	);
	make_transaction(
		'purchaseTransaction', "${digit}402", $account,
		{
			direction => 'Debit', amount => 2500, balance => $balance, summary => 'Purchase from Europa Cafe',
			merchant => {name => 'Europa Cafe', type => 1000, category => 'Restaurants', location => 'Cupertino, CA'},
		},
		{card => ref_to('card', "${digit}101")}
	);
	put('statement', {
		type => 'accountStatementDTO', id => "${digit}501", attributes => {period => '2026-10'},
		relationships => {account => ref_to('account', $account->{id}), customer => ref_to('customer', $customer)},
	}, owner => [$customer], account => $account->{id});
	put('authorization', {
		type => 'authorization', id => "${digit}601",
		attributes => {
			createdAt => iso(), amount => 2500, cardLast4Digits => '1101', status => 'Authorized',
			merchant => {name => 'Europa Cafe', type => 1000, category => 'Restaurants', location => 'Cupertino, CA'},
		},
		relationships => {
			account => ref_to('account', $account->{id}), customer => ref_to('customer', $customer),
			card => ref_to('card', "${digit}101"),
		},
	}, owner => [$customer], account => $account->{id});
	put('check-deposits', {
		type => 'checkDeposit', id => "${digit}701",
		attributes => {createdAt => iso(), amount => 15_000, description => 'Check', status => 'Sent', tags => {}},
		relationships => {account => ref_to('account', $account->{id}), customer => ref_to('customer', $customer)},
	}, owner => [$customer], account => $account->{id});
	put('event', {
		type => 'customer.created', id => "${digit}801", attributes => {createdAt => iso()},
		relationships => {customer => ref_to('customer', $customer)},
	}, owner => [$customer]);
}

# An application that was approved and became the customer.
sub _application {
	my ($type, $id, $customer, $customer_type, $number) = @_;

	my $is_business = $type eq 'businessApplication';
	put('application', {
		type => $type, id => $id,
		attributes => {
			createdAt => iso(), status => 'Approved', message => 'Application has been approved.', tags => {},
			($is_business ? 'ein' : 'ssn') => $number,
		},
		relationships => {org => ref_to('org', '1'), customer => ref_to($customer_type, $customer)},
	});
}

# The organisation's own: no customer token reaches these.
sub _organisation {
	make_account('9001', [], type => 'batchAccount', name => 'Batch', balance => 10_000_000);
	make_account('9002', [], name => 'Operational', balance => 100_000_000, tags => {purpose => 'operational'});
}

# Bulk customers for load: one individual, one account, a phone.
sub plant_many {
	my ($count) = @_;

	my @made;
	for (1 .. $count) {
		my $id = next_id('customer');
		my $subject = "user-$id";
		make_customer(
			'individualCustomer', $id,
			{
				fullName => {first => 'User', last => $id}, email => "$subject\@example.com",
				phone => phone(sprintf '555%07d', $id % 10_000_000), address => address(), dateOfBirth => '1990-01-01',
				jwtSubject => $subject, authorizedUsers => [],
			}
		);
		make_account(next_id('account'), [$id], balance => 100_000);
		push @made, {customerId => $id, subject => $subject};
	}
	return \@made;
}

1;
