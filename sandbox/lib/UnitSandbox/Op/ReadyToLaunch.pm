package UnitSandbox::Op::ReadyToLaunch;

# /ready-to-launch: the organisation's view of its end users. userIds are the
# JWT subjects.

use strict;
use warnings;

use UnitSandbox::Error qw(invalid not_found);
use UnitSandbox::Json qw(encode);
use UnitSandbox::List qw(list);
use UnitSandbox::Model qw(customers_of_subject subjects_of);
use UnitSandbox::Op::Payments ();
use UnitSandbox::Request qw(attributes own_param own_related one query tags_merged want_amount want_string);
use UnitSandbox::Store qw(get res);

sub handlers {
	return (
		'rtl-get-account' => sub { _one($_[0], own_param($_[0], 'account', 'accountId')) },
		'rtl-list-accounts' => sub { _list($_[0], 'account', max_limit => 10000) },
		'rtl-list-customers' => sub { _list($_[0], 'customer') },
		'rtl-get-transaction' => \&_get_transaction,
		'rtl-list-transactions' => sub { _list($_[0], 'transaction') },
		'rtl-get-check-deposit' => sub { _one($_[0], own_param($_[0], 'check-deposits', 'checkDepositId')) },
		'rtl-create-book-payment' => \&_book,
	);
}

sub _text {
	my ($object) = @_;

	my $resource = res($object);
	my %seen;
	my @users = grep { !$seen{$_}++ } map { my $c = get('customer', $_); $c ? sort(subjects_of($c)) : () } @{$object->{owner}};
	return encode({%$resource, attributes => {%{$resource->{attributes}}, userIds => \@users}});
}

sub _one {
	my ($x, $object) = @_;
	return (200, '{"data":' . _text($object) . '}');
}

sub _list {
	my ($x, $table, %option) = @_;

	my $users = query($x)->{'filter[userId]'};
	$option{customers} = [map { customers_of_subject($_) } @$users] if $users;
	return list($x, $table, %option, text => \&_text);
}

sub _get_transaction {
	my ($x) = @_;

	my $account = own_param($x, 'account', 'accountId');
	my $t = own_param($x, 'transaction', 'transactionId');
	not_found('transaction', $t->{id}) if $t->{account} ne $account->{id};
	return _one($x, $t);
}

# Between a user's account and the organisation's operational one: direction
# Credit pays the user.
sub _book {
	my ($x) = @_;

	my $a = attributes($x);
	my $direction = want_string($a, 'direction', optional => 1, like => qr/\A(?:Credit|Debit)\z/) // 'Credit';
	my %payment = (
		amount => want_amount($a), description => want_string($a, 'description', optional => 1) // '',
		tags => tags_merged({}, $a->{tags}),
	);
	my $account = own_related($x, 'account', 'account');
	my $operational = own_related($x, 'account', 'operationalAccount');
	invalid('/data/relationships/operationalAccount', 'Not an account of the organisation.') if @{$operational->{owner}};
	my ($from, $to) = $direction eq 'Credit' ? ($operational, $account) : ($account, $operational);
	return one(200, UnitSandbox::Op::Payments::transfer(\%payment, $from, $to));
}

1;
