package UnitSandbox::Op::Simulations;

# /sandbox calls about money and cards. The organisation makes things happen
# that would come from outside.

use strict;
use warnings;

use UnitSandbox::Clock qw(iso date_of);
use UnitSandbox::Error qw(fail);
use UnitSandbox::Model qw(make_payment post_transaction ref_to);
use UnitSandbox::Op::Payments ();
use UnitSandbox::Request qw(attributes relationship own_param own_related one want_amount want_string);
use UnitSandbox::Store qw(put get res touch next_id);

sub handlers {
	return (
		'sandbox-receive-ach-payment' => sub { _receive($_[0], 'achPayment', 'receivedAchTransaction') },
		'sandbox-receive-wire-payment' => sub { _receive($_[0], 'wirePayment', 'wireTransaction') },
		'sandbox-transmit-ach-payment' => sub { _advance($_[0], 'Clearing', 'Pending') },
		'sandbox-transmit-wire-payment' => sub { _advance($_[0], 'Sent', 'Pending') },
		'sandbox-clear-ach-payment' => sub { _advance($_[0], 'Sent', 'Clearing', 'Pending') },
		'sandbox-return-ach-payment' => \&_return,
		'sandbox-create-card-authorization' => \&_authorize,
		'sandbox-create-card-purchase' => sub { _card_transaction($_[0], 'purchaseTransaction', 'Debit') },
		'sandbox-create-card-purchase-reversal' => sub { _card_transaction($_[0], 'cardReversalTransaction', 'Credit') },
		'sandbox-create-atm-withdrawal' => sub { _card_transaction($_[0], 'atmTransaction', 'Debit') },
		'sandbox-generate-account-statement' => \&_statement,
	);
}

# Money from another bank.
sub _receive {
	my ($x, $type, $transaction) = @_;

	my $a = attributes($x);
	my $amount = want_amount($a);
	my $direction = want_string($a, 'direction', optional => 1, like => qr/\ACredit\z/) // 'Credit';
	my $text = want_string($a, 'description', optional => 1) // '';
	my $account = own_related($x, 'account', 'account');
	my $id = next_id('payment');
	my $t = post_transaction($transaction, $account, 'Credit', $amount, $text, {payment => ref_to('payment', $id)});
	my $payment = make_payment(
		$type, $id, $account, {status => 'Sent', direction => $direction, amount => $amount, description => $text},
		{transaction => ref_to('transaction', $t->{id})}
	);
	return one(200, $payment);
}

sub _payment {
	my ($x) = @_;
	return own_related($x, 'payment', 'payment');
}

# A collection reaches the account when it clears.
sub _advance {
	my ($x, $to, @from) = @_;

	my $payment = _payment($x);
	my $a = res($payment)->{attributes};
	fail(400, 'payment_status_invalid', "The payment is $a->{status}.") if !grep { $_ eq $a->{status} } @from;
	if ($to eq 'Sent' && $a->{direction} eq 'Debit') {
		post_transaction(
			'originatedAchTransaction', get('account', $payment->{account}), 'Credit', $a->{amount}, $a->{description},
			{payment => ref_to('payment', $payment->{id})}
		);
	}
	$a->{status} = $to;
	return one(200, touch($payment));
}

sub _return {
	my ($x) = @_;

	my $payment = _payment($x);
	my $a = res($payment)->{attributes};
	fail(400, 'payment_status_invalid', "The payment is $a->{status}.") if $a->{status} !~ /\A(?:Pending|Clearing|Sent)\z/;
	$a->{reason} = attributes($x)->{reason} // 'R01';
	return one(200, UnitSandbox::Op::Payments::give_back($payment, 'Returned'));
}

# (account, card or undef) that the simulation is about.
sub _place {
	my ($x) = @_;

	my $card = relationship($x, 'card') ? own_related($x, 'card', 'card') : undef;
	return (get('account', $card->{account}), $card) if $card;
	return (own_related($x, 'account', 'account'), undef);
}

sub _merchant {
	my ($a) = @_;
	return {
		name => $a->{merchantName} // 'Shop', type => $a->{merchantType} // 5812,
		location => $a->{merchantLocation} // 'Cupertino, CA',
	};
}

# Holds the amount.
sub _authorize {
	my ($x) = @_;

	my $a = attributes($x);
	my $amount = want_amount($a);
	my ($account, $card) = _place($x);
	my $money = res($account)->{attributes};
	my $covered = $money->{available} >= $amount && $money->{status} eq 'Open';
	if ($covered) {
		$money->{hold} += $amount;
		$money->{available} -= $amount;
		touch($account);
	}
	my $authorization = put('authorization', {
		type => 'authorization', id => next_id('authorization'),
		attributes => {
			createdAt => iso(), amount => $amount, status => $covered ? 'Authorized' : 'Declined', merchant => _merchant($a),
		},
		relationships => {
			account => ref_to('account', $account->{id}), $card ? (card => ref_to('card', $card->{id})) : (),
			@{$account->{owner}} ? (customer => ref_to('customer', $account->{owner}[0])) : (),
		},
	}, owner => $account->{owner}, account => $account->{id});
	return one(200, $authorization);
}

sub _card_transaction {
	my ($x, $type, $direction) = @_;

	my $a = attributes($x);
	my $amount = want_amount($a);
	my ($account, $card) = _place($x);
	my $t = post_transaction(
		$type, $account, $direction, $amount, _merchant($a)->{name}, $card ? {card => ref_to('card', $card->{id})} : {}
	);
	return one(200, $t);
}

sub _statement {
	my ($x) = @_;

	my $account = own_param($x, 'account', 'accountId');
	my $statement = put('statement', {
		type => 'accountStatementDTO', id => next_id('statement'), attributes => {period => substr date_of(), 0, 7},
		relationships => {
			account => ref_to('account', $account->{id}),
			@{$account->{owner}} ? (customer => ref_to('customer', $account->{owner}[0])) : (),
		},
	}, owner => $account->{owner}, account => $account->{id});
	return one(200, $statement);
}

1;
