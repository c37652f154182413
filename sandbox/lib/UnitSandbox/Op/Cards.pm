package UnitSandbox::Op::Cards;

use strict;
use warnings;

use UnitSandbox::Counters qw(count);
use UnitSandbox::Error qw(fail invalid);
use UnitSandbox::Json qw(encode);
use UnitSandbox::List qw(list one_with_included);
use UnitSandbox::Model qw(make_card address);
use UnitSandbox::Request qw(attributes relationship own_param own_related one tags_merged want_string);
use UnitSandbox::Store qw(get res touch next_id);
use UnitSandbox::Tokens qw(mint);

my @TYPES = qw(individual-debit-card business-debit-card individual-virtual-debit-card business-virtual-debit-card);
my @FINAL = qw(ClosedByCustomer Lost Stolen);

sub handlers {
	return (
		(map { ("create-$_" => \&_create, "update-$_" => \&_update) } @TYPES),
		'get-card' => sub { one_with_included($_[0], own_param($_[0], 'card', 'cardId')) },
		'list-cards' => sub { list($_[0], 'card') },
		'freeze-card' => sub { _set_status($_[0], 'Frozen', qw(Active Frozen)) },
		'unfreeze-card' => sub { _set_status($_[0], 'Active', qw(Frozen Active)) },
		'close-card' => sub { _set_status($_[0], 'ClosedByCustomer', qw(Active Inactive Frozen ClosedByCustomer)) },
		'report-card-lost' => sub { _set_status($_[0], 'Lost', qw(Active Inactive Frozen Lost)) },
		'report-card-stolen' => sub { _set_status($_[0], 'Stolen', qw(Active Inactive Frozen Stolen)) },
		'activate-card' => sub { _set_status($_[0], 'Active', qw(Inactive Active)) },
		'sandbox-activate-card' => sub { _set_status($_[0], 'Active', qw(Inactive Active)) },
		'replace-card' => \&_replace,
		'get-card-limits' => \&_limits,
		'get-card-pin-status' => \&_pin_status,
		'set-card-pin' => \&_set_pin,
		'reveal-card-pan' => sub { _secret($_[0], pan => '4861000000' . sprintf '%06d', $_[0]{param}{cardId} % 1_000_000) },
		'reveal-card-cvv2' => sub { _secret($_[0], cvv2 => sprintf '%03d', $_[0]{param}{cardId} * 31 % 1000) },
		'create-cardholder-token' => \&_cardholder_token,
	);
}

sub _create {
	my ($x) = @_;

	my $type = $x->{body}{data}{type};
	my $a = attributes($x);
	my $account = own_related($x, 'account', 'account');
	fail(400, 'account_status_invalid', 'The account is not open.') if res($account)->{attributes}{status} ne 'Open';
	my $customer = relationship($x, 'customer')
		? own_related($x, 'customer', 'customer') : get('customer', $account->{owner}[0] // '');
	fail(400, 'account_customer_mismatch', 'The account belongs to another customer.')
		if !$customer || !grep { $_ eq $customer->{id} } @{$account->{owner}};
	my $is_business = $type =~ /\Abusiness/;
	fail(400, 'account_customer_mismatch', "No $type for a customer of this kind.")
		if $is_business != (res($customer)->{type} =~ /\Abusiness/ ? 1 : 0);
	invalid('/data/attributes/fullName', 'fullName is missing.') if $is_business && ref $a->{fullName} ne 'HASH';
	my %given = map { $_ => $a->{$_} } grep { defined $a->{$_} }
		qw(fullName dateOfBirth address phone email shippingAddress design limits additionalEmbossedText printOnlyBusinessName);
	count('cards_created');
	return one(201, make_card(
		$type, next_id('card'), $account, $customer->{id}, %given, tags => tags_merged({}, $a->{tags})
	));
}

sub _update {
	my ($x) = @_;

	my $card = own_param($x, 'card', 'cardId');
	my $resource = res($card);
	invalid('/data/type', "The card is a $resource->{type}.") if $resource->{type} ne $x->{body}{data}{type};
	my $patch = attributes($x);
	my $a = $resource->{attributes};
	my $tags = tags_merged($a->{tags}, $patch->{tags});
	for (keys %$patch) {
		invalid("/data/attributes/$_", "$_ cannot be changed.")
			if !/\A(?:tags|address|phone|email|shippingAddress|design|limits)\z/;
		$a->{$_} = $patch->{$_};
	}
	$a->{tags} = $tags;
	return one(200, touch($card));
}

# To the state it already has is a success, so that a repeat does no harm.
sub _set_status {
	my ($x, $to, @from) = @_;

	my $card = own_param($x, 'card', 'cardId');
	my $a = res($card)->{attributes};
	fail(400, 'card_status_invalid', "The card is $a->{status}.") if !grep { $_ eq $a->{status} } @from;
	$a->{status} = $to;
	return one(200, touch($card));
}

sub _replace {
	my ($x) = @_;

	my $card = own_param($x, 'card', 'cardId');
	my $a = res($card)->{attributes};
	fail(400, 'card_status_invalid', "The card is $a->{status}.") if grep { $_ eq $a->{status} } @FINAL;
	my $address = attributes($x)->{shippingAddress};
	invalid('/data/attributes/shippingAddress', 'shippingAddress must be an object.') if defined $address && ref $address ne 'HASH';
	$a->{shippingAddress} = $address // $a->{shippingAddress} // address();
	$a->{last4Digits} = sprintf '%04d', ($a->{last4Digits} + 1) % 10000;
	return one(200, touch($card));
}

sub _limits {
	my ($x) = @_;

	own_param($x, 'card', 'cardId');
	my %money = (dailyWithdrawal => 50_000, dailyPurchase => 50_000, monthlyWithdrawal => 500_000, monthlyPurchase => 700_000);
	my %totals = (withdrawals => 0, deposits => 0, purchases => 0, cardTransactions => 0);
	return (200, encode({data => {
		type => 'limits', attributes => {limits => \%money, dailyTotals => \%totals, monthlyTotals => {%totals}},
	}}));
}

sub _pin_status {
	my ($x) = @_;

	my $card = own_param($x, 'card', 'cardId');
	return (200, encode({data => {type => 'pinStatus', attributes => {status => $card->{pin_set} ? 'Set' : 'NotSet'}}}));
}

sub _set_pin {
	my ($x) = @_;

	my $card = own_param($x, 'card', 'cardId');
	want_string(attributes($x), 'pin', like => qr/\A[0-9]{4}\z/);
	$card->{pin_set} = 1;
	return one(200, $card);
}

sub _secret {
	my ($x, $name, $value) = @_;

	my $card = own_param($x, 'card', 'cardId');
	return (200, encode({data => {type => res($card)->{type}, id => $card->{id}, attributes => {$name => $value}}}));
}

# A customer token for one card.
sub _cardholder_token {
	my ($x) = @_;

	my $card = own_param($x, 'card', 'cardId');
	my $scope = want_string(attributes($x), 'scope', like => qr/\A(?:cards(?:-write|-sensitive|-sensitive-write)?(?: |\z))+\z/);
	my $token = mint($card->{owner}[0], [split / /, $scope], 86400, resources => {card => {$card->{id} => 1}});
	count('tokens_minted');
	return (201, encode({data => {type => 'cardholderBearerToken', attributes => {token => $token, expiresIn => 86400}}}));
}

1;
