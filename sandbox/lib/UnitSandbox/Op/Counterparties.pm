package UnitSandbox::Op::Counterparties;

use strict;
use warnings;

use UnitSandbox::Counters qw(count);
use UnitSandbox::Error qw(invalid);
use UnitSandbox::Json qw(encode);
use UnitSandbox::List qw(list);
use UnitSandbox::Model qw(make_counterparty);
use UnitSandbox::Op::Payments ();
use UnitSandbox::Request qw(attributes own_param own_related one tags_merged want_string);
use UnitSandbox::Store qw(res touch next_id);

sub handlers {
	return (
		'create-counterparty' => \&_create,
		'create-counterparty-plaid' => \&_create,
		'delete-counterparty' => \&_delete,
		'get-counterparty' => sub { one(200, own_param($_[0], 'counterparty', 'counterpartyId')) },
		'list-counterparties' => sub { list($_[0], 'counterparty') },
		'update-counterparty' => \&_update,
		'get-counterparty-balance' => \&_balance,
	);
}

sub _create {
	my ($x) = @_;

	my $a = attributes($x);
	my $customer = own_related($x, 'customer', 'customer');
	my $type = want_string($a, 'type', like => qr/\A(?:Business|Person|Unknown)\z/);
	my %bank;
	if (defined $a->{plaidProcessorToken}) {
		want_string($a, 'plaidProcessorToken');
		%bank = (
			name => want_string($a, 'name'), routingNumber => '812345678', accountNumber => '1000000009',
			accountType => 'Checking', permissions => 'CreditAndDebit',
		);
	}
	else { %bank = %{UnitSandbox::Op::Payments::check_counterparty($a, '/data/attributes')} }
	$bank{permissions} = want_string($a, 'permissions', like => qr/\A(?:CreditOnly|DebitOnly|CreditAndDebit)\z/)
		if defined $a->{permissions};
	count('counterparties_created');
	return one(201, make_counterparty(
		next_id('counterparty'), $customer->{id}, %bank, type => $type, tags => tags_merged({}, $a->{tags})
	));
}

sub _delete {
	my ($x) = @_;
	UnitSandbox::Store::remove(own_param($x, 'counterparty', 'counterpartyId'));
	return (204, undef);
}

sub _update {
	my ($x) = @_;

	my $counterparty = own_param($x, 'counterparty', 'counterpartyId');
	my $patch = attributes($x);
	my $a = res($counterparty)->{attributes};
	my $tags = tags_merged($a->{tags}, $patch->{tags});
	for (keys %$patch) {
		invalid("/data/attributes/$_", "$_ cannot be changed.") if !/\A(?:tags|permissions|plaidProcessorToken|verifyName)\z/;
	}
	want_string($patch, 'plaidProcessorToken', optional => 1);
	$a->{permissions} = want_string($patch, 'permissions') if defined $patch->{permissions};
	$a->{accountNumber} = '1000000010' if defined $patch->{plaidProcessorToken};
	$a->{tags} = $tags;
	return one(200, touch($counterparty));
}

sub _balance {
	my ($x) = @_;

	my $counterparty = own_param($x, 'counterparty', 'counterpartyId');
	return (200, encode({data => {
		type => 'counterpartyBalance', id => $counterparty->{id}, attributes => {balance => 100_000, available => 100_000},
	}}));
}

1;
