package UnitSandbox::Op::Customers;

use strict;
use warnings;

use UnitSandbox::Error qw(fail invalid);
use UnitSandbox::Json qw(is_string);
use UnitSandbox::List qw(list one_with_included);
use UnitSandbox::Model qw(index_subjects make_customer);
use UnitSandbox::Request qw(attributes own_param has_scope one tags_merged want_string);
use UnitSandbox::Store qw(res touch of_customer next_id);

my %CHANGEABLE = map { $_ => 1 } qw(
	address phone email tags jwtSubject dba contact authorizedUsers website annualRevenue numberOfEmployees occupation
	annualIncome sourceOfIncome cashFlow yearOfIncorporation countriesOfOperation businessVertical
);

sub handlers {
	return (
		'get-customer' => sub { one_with_included($_[0], own_param($_[0], 'customer', 'customerId')) },
		'list-customers' => sub { list($_[0], 'customer') },
		(map { ("update-$_-customer" => \&_update) } qw(individual business trust)),
		'archive-customer' => \&_archive,
		'add-authorized-users' => \&_add_users,
		'remove-authorized-users' => \&_remove_users,
		'create-business-wallet-customer' => \&_create_wallet,
	);
}

sub _update {
	my ($x) = @_;

	my $customer = own_param($x, 'customer', 'customerId');
	my $resource = res($customer);
	my $type = $x->{body}{data}{type};
	invalid('/data/type', "The customer is a $resource->{type}.") if $type ne $resource->{type};
	my $patch = attributes($x);
	for (keys %$patch) {
		fail(403, 'forbidden', 'Scope customers-write required.') if $_ ne 'tags' && !has_scope($x, 'customers-write');
		invalid("/data/attributes/$_", "$_ cannot be changed.") if !$CHANGEABLE{$_};
	}
	_check_patch($patch);
	my $a = $resource->{attributes};
	my $tags = tags_merged($a->{tags}, $patch->{tags});
	for (keys %$patch) {
		if (!defined $patch->{$_}) { delete $a->{$_} }
		elsif ($_ eq 'contact') { $a->{contact} = {%{$a->{contact} // {}}, %{$patch->{contact}}} }
		else { $a->{$_} = $patch->{$_} }
	}
	$a->{tags} = $tags;
	index_subjects($customer);
	return one(200, touch($customer));
}

sub _check_patch {
	my ($patch) = @_;

	_check_phone($patch->{phone}, '/data/attributes/phone') if defined $patch->{phone};
	want_string($patch, $_, optional => 1) for qw(email jwtSubject dba);
	for (qw(address contact)) {
		invalid("/data/attributes/$_", "$_ must be an object.") if defined $patch->{$_} && ref $patch->{$_} ne 'HASH';
	}
	_check_users($patch->{authorizedUsers}) if defined $patch->{authorizedUsers};
}

sub _check_phone {
	my ($phone, $pointer) = @_;

	invalid($pointer, 'phone has countryCode and number, both strings of digits.')
		if ref $phone ne 'HASH' || grep { !is_string($phone->{$_}) || $phone->{$_} !~ /\A[0-9]{1,15}\z/ } qw(countryCode number);
}

sub _check_users {
	my ($users) = @_;

	my $pointer = '/data/attributes/authorizedUsers';
	invalid($pointer, 'authorizedUsers must be an array.') if ref $users ne 'ARRAY';
	for my $user (@$users) {
		invalid($pointer, 'An authorised user has fullName, email and phone.')
			if ref $user ne 'HASH' || ref $user->{fullName} ne 'HASH' || !is_string($user->{email});
		_check_phone($user->{phone}, $pointer);
	}
}

# All accounts must be closed first.
sub _archive {
	my ($x) = @_;

	my $customer = own_param($x, 'customer', 'customerId');
	my $a = res($customer)->{attributes};
	fail(400, 'customer_has_open_accounts', 'Close all accounts first.')
		if grep { res($_)->{attributes}{status} ne 'Closed' } @{of_customer('account', $customer->{id})};
	$a->{status} = 'Archived';
	$a->{archiveReason} = attributes($x)->{reason} // 'Inactive';
	return one(200, touch($customer));
}

# Adds or replaces, by e-mail.
sub _add_users {
	my ($x) = @_;

	my $customer = own_param($x, 'customer', 'customerId');
	my $new = attributes($x)->{authorizedUsers};
	_check_users($new);
	my %email = map { lc $_->{email} => 1 } @$new;
	return _set_users($customer, sub { ((grep { !$email{lc $_->{email}} } @_), @$new) });
}

sub _remove_users {
	my ($x) = @_;

	my $customer = own_param($x, 'customer', 'customerId');
	my $emails = attributes($x)->{authorizedUsersEmails};
	invalid('/data/attributes/authorizedUsersEmails', 'authorizedUsersEmails must be an array of strings.')
		if ref $emails ne 'ARRAY' || grep { !is_string($_) } @$emails;
	my %email = map { lc $_ => 1 } @$emails;
	return _set_users($customer, sub { grep { !$email{lc $_->{email}} } @_ });
}

sub _set_users {
	my ($customer, $change) = @_;

	my $a = res($customer)->{attributes};
	$a->{authorizedUsers} = [$change->(@{$a->{authorizedUsers} // []})];
	index_subjects($customer);
	return one(200, touch($customer));
}

sub _create_wallet {
	my ($x) = @_;
	my $a = attributes($x);
	return one(201, make_customer('businessWalletCustomer', next_id('customer'), $a));
}

1;
