package UnitSandbox::Op::Accounts;

use strict;
use warnings;

use UnitSandbox::Counters qw(count);
use UnitSandbox::Error qw(fail invalid);
use UnitSandbox::Json qw(encode is_string);
use UnitSandbox::List qw(list one_with_included);
use UnitSandbox::Model qw(make_account post_transaction ref_to);
use UnitSandbox::Request qw(
	attributes relationship own own_param own_related one tags_merged want_string want_amount
);
use UnitSandbox::Store qw(put get res touch next_id);

sub handlers {
	return (
		'create-deposit-account' => \&_create,
		'close-account' => sub { _set_status($_[0], 'Closed', qw(Open Frozen)) },
		'reopen-account' => sub { _set_status($_[0], 'Open', 'Closed') },
		'freeze-account' => sub { _set_status($_[0], 'Frozen', qw(Open Frozen)) },
		'unfreeze-account' => sub { _set_status($_[0], 'Open', qw(Frozen Open)) },
		'get-account' => sub { one_with_included($_[0], own_param($_[0], 'account', 'accountId')) },
		'list-accounts' => sub { list($_[0], 'account') },
		'update-account' => \&_update,
		'get-account-limits' => \&_limits,
		'create-fee' => \&_create_fee,
		'reverse-fee' => \&_reverse_fee,
	);
}

# Owners come from exactly one of relationships customer and customers.
sub _create {
	my ($x) = @_;

	my $a = attributes($x);
	my $product = want_string($a, 'depositProduct');
	my $r = $x->{body}{data}{relationships};
	invalid('/data/relationships', 'Exactly one of customer and customers is required.')
		if ref $r ne 'HASH' || 1 != grep { defined $r->{$_} } qw(customer customers);
	my @ids;
	if ($r->{customer}) { @ids = relationship($x, 'customer')->{id} }
	else {
		my $list = ref $r->{customers} eq 'HASH' ? $r->{customers}{data} : undef;
		invalid('/data/relationships/customers', 'customers is a list of customers.')
			if ref $list ne 'ARRAY' || !@$list || grep { ref ne 'HASH' || !is_string($_->{id}) } @$list;
		@ids = map { $_->{id} } @$list;
	}
	for my $id (@ids) {
		my $customer = own($x, 'customer', $id);
		fail(400, 'customer_archived', "Customer $id is archived.") if res($customer)->{attributes}{status} eq 'Archived';
	}
	count('accounts_created');
	my $account = make_account(
		next_id('account'), \@ids, depositProduct => $product, name => $a->{name} // 'Checking',
		tags => tags_merged({}, $a->{tags})
	);
	return one(201, $account);
}

sub _set_status {
	my ($x, $to, @from) = @_;

	my $account = own_param($x, 'account', 'accountId');
	my $a = res($account)->{attributes};
	fail(400, 'account_status_invalid', "The account is $a->{status}.") if !grep { $_ eq $a->{status} } @from;
	$a->{status} = $to;
	if ($to eq 'Closed') { $a->{closeReason} = attributes($x)->{reason} // 'ByCustomer' }
	else { delete $a->{closeReason} }
	return one(200, touch($account));
}

sub _update {
	my ($x) = @_;

	my $account = own_param($x, 'account', 'accountId');
	my $patch = attributes($x);
	my $a = res($account)->{attributes};
	for (keys %$patch) {
		invalid("/data/attributes/$_", "$_ cannot be changed.") if !/\A(?:tags|name|depositProduct)\z/;
	}
	my $tags = tags_merged($a->{tags}, $patch->{tags});
	for (qw(name depositProduct)) {
		$a->{$_} = want_string($patch, $_) if exists $patch->{$_};
	}
	$a->{tags} = $tags;
	return one(200, touch($account));
}

sub _limits {
	my ($x) = @_;

	own_param($x, 'account', 'accountId');
	my %ach = (
		limits => {dailyDebit => 50_000_00, dailyCredit => 50_000_00, monthlyDebit => 500_000_00, monthlyCredit => 500_000_00},
		totalsDaily => {debits => 0, credits => 0}, totalsMonthly => {debits => 0, credits => 0},
	);
	my %card = (
		limits => {
			dailyWithdrawal => 1_000_00, dailyDeposit => 10_000_00, dailyPurchase => 25_000_00,
			dailyCardTransaction => 25_000_00,
		},
		totalsDaily => {withdrawals => 0, deposits => 0, purchases => 0, cardTransactions => 0},
	);
	return (200, encode({data => {type => 'limits', attributes => {ach => \%ach, card => \%card}}}));
}

# The only debit that may make a balance negative.
sub _create_fee {
	my ($x) = @_;

	my $a = attributes($x);
	my $amount = want_amount($a);
	my $description = want_string($a, 'description');
	my $account = own_related($x, 'account', 'account');
	my $id = next_id('fee');
	my $t = post_transaction('feeTransaction', $account, 'Debit', $amount, $description, {fee => ref_to('fee', $id)});
	count('fees_created');
	my $fee = put('fee', {
		type => 'fee', id => $id,
		attributes => {amount => $amount, description => $description, tags => tags_merged({}, $a->{tags})},
		relationships => {account => ref_to('account', $account->{id}), transaction => ref_to('transaction', $t->{id})},
	}, owner => $account->{owner}, account => $account->{id});
	return one(201, $fee);
}

sub _reverse_fee {
	my ($x) = @_;

	my $to = relationship($x, 'transaction') or invalid('/data/relationships/transaction', 'The transaction is missing.');
	my $t = own($x, 'transaction', $to->{id});
	my $account = get('account', $t->{account});
	my $new = post_transaction(
		'feeReversalTransaction', $account, 'Credit', res($t)->{attributes}{amount}, 'Fee reversal',
		{relatedTransaction => ref_to('transaction', $t->{id})}
	);
	return one(201, $new);
}

1;
