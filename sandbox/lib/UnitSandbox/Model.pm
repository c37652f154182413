package UnitSandbox::Model;

# Makes the resources that carry state, and moves money.

use strict;
use warnings;

use Exporter 'import';
use UnitSandbox::Clock qw(iso);
use UnitSandbox::Store qw(put res touch next_id);

our @EXPORT_OK = qw(
	ref_to make_customer make_account make_card make_counterparty make_payment make_transaction post_transaction
	index_subjects customers_of_subject subjects_of address phone
);

my %by_subject;

sub clear { %by_subject = () }

# A relationship.
sub ref_to {
	my ($type, $id) = @_;
	return {data => {type => $type, id => $id}};
}

sub phone { {countryCode => '1', number => $_[0]} }

sub address {
	return {street => '5230 Newell Rd', city => 'Palo Alto', state => 'CA', postalCode => '94303', country => 'US'};
}

sub make_customer {
	my ($type, $id, $attributes, $application) = @_;

	my $resource = {
		type => $type, id => $id,
		attributes => {createdAt => iso(), status => 'Active', tags => {}, %$attributes},
		relationships => {org => ref_to('org', '1')},
	};
	$resource->{relationships}{application} = ref_to(@$application) if $application;
	my $object = put('customer', $resource, owner => [$id]);
	index_subjects($object);
	return $object;
}

# A business customer has subjects on its contact and authorised users as well.
sub subjects_of {
	my ($customer) = @_;

	my $a = res($customer)->{attributes};
	my @holders = ($a, $a->{contact}, ref $a->{authorizedUsers} eq 'ARRAY' ? @{$a->{authorizedUsers}} : ());
	my %subjects = map { $_->{jwtSubject} => 1 } grep { ref eq 'HASH' && defined $_->{jwtSubject} } @holders;
	return keys %subjects;
}

# Call after any change of a subject.
sub index_subjects {
	my ($customer) = @_;

	delete $by_subject{$_}{$customer->{id}} for @{$customer->{subjects} // []};
	$customer->{subjects} = [subjects_of($customer)];
	$by_subject{$_}{$customer->{id}} = 1 for @{$customer->{subjects}};
}

sub customers_of_subject {
	my ($subject) = @_;
	return sort { $a <=> $b } keys %{$by_subject{$subject} // {}};
}

sub make_account {
	my ($id, $owners, %attributes) = @_;

	my @refs = map { {type => 'customer', id => $_} } @$owners;
	my $type = delete $attributes{type} // 'depositAccount';
	my $resource = {
		type => $type, id => $id,
		attributes => {
			createdAt => iso(), name => 'Checking', depositProduct => 'checking', status => 'Open', currency => 'USD',
			routingNumber => '812345678', accountNumber => sprintf('1000%06d', $id % 1_000_000), balance => 0, hold => 0,
			available => 0, tags => {}, %attributes,
		},
		relationships => {org => ref_to('org', '1')},
	};
	$resource->{attributes}{available} = $resource->{attributes}{balance} - $resource->{attributes}{hold};
	if (@refs == 1) { $resource->{relationships}{customer} = {data => $refs[0]} }
	elsif (@refs) { $resource->{relationships}{customers} = {data => \@refs} }
	return put('account', $resource, owner => $owners, account => $id);
}

sub make_card {
	my ($type, $id, $account, $customer, %attributes) = @_;

	my $resource = {
		type => $type, id => $id,
		attributes => {
			createdAt => iso(), last4Digits => sprintf('%04d', ($id * 7919) % 10000), expirationDate => '2030-08',
			status => $type =~ /Virtual/ ? 'Active' : 'Inactive', bin => '486100', tags => {}, %attributes,
		},
		relationships => {
			account => ref_to('account', $account->{id}), customer => ref_to('customer', $customer), org => ref_to('org', '1'),
		},
	};
	return put('card', $resource, owner => $account->{owner}, account => $account->{id});
}

sub make_counterparty {
	my ($id, $customer, %attributes) = @_;

	my $resource = {
		type => 'achCounterparty', id => $id,
		attributes => {createdAt => iso(), bank => 'Wells Fargo', permissions => 'CreditOnly', tags => {}, %attributes},
		relationships => {customer => ref_to('customer', $customer)},
	};
	return put('counterparty', $resource, owner => [$customer]);
}

sub make_payment { return _of_account('payment', @_) }

sub make_transaction { return _of_account('transaction', @_) }

sub _of_account {
	my ($family, $type, $id, $account, $attributes, $relationships) = @_;

	my $resource = {
		type => $type, id => $id,
		attributes => {createdAt => iso(), tags => {}, %$attributes},
		relationships => {
			account => ref_to('account', $account->{id}),
			@{$account->{owner}} ? (customer => ref_to('customer', $account->{owner}[0])) : (), %{$relationships // {}},
		},
	};
	return put($family, $resource, owner => $account->{owner}, account => $account->{id});
}

# Moves the balance and writes the transaction. Direction is the account's:
# Credit is money in. Returns the transaction.
sub post_transaction {
	my ($type, $account, $direction, $amount, $summary, $relationships) = @_;

	my $a = res($account)->{attributes};
	$a->{balance} += $direction eq 'Credit' ? $amount : -$amount;
	$a->{available} = $a->{balance} - $a->{hold};
	touch($account);
	my $t = make_transaction(
		$type, next_id('transaction'), $account,
		{direction => $direction, amount => $amount, balance => $a->{balance}, summary => $summary}, $relationships
	);
	return UnitSandbox::Store::compact($t);
}

1;
