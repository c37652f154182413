package UnitSandbox::Op::Payments;

# Book, ACH, wire and card payments. A payment that the account cannot cover is
# created all the same, with status Rejected.

use strict;
use warnings;

use UnitSandbox::Counters qw(count);
use UnitSandbox::Error qw(fail invalid not_found);
use UnitSandbox::Idempotency qw(key_of recall remember);
use UnitSandbox::Json qw(is_string);
use UnitSandbox::List qw(list one_with_included);
use UnitSandbox::Model qw(make_payment post_transaction ref_to);
use UnitSandbox::Request qw(
	attributes relationship own_param own_related one tags_merged want_string want_amount
);
use UnitSandbox::Store qw(get res touch text next_id);

sub handlers {
	return (
		'create-book-payment' => sub { one(201, book($_[0])) },
		(map { ("create-ach-payment-$_" => sub { one(201, ach($_[0])) }) } qw(inline linked plaid)),
		'create-wire-payment' => sub { one(201, _outgoing($_[0], 'wireTransaction')) },
		'create-push-to-card-payment' => sub { one(201, _outgoing($_[0], 'pushToCardTransaction')) },
		'create-payments-bulk' => \&_bulk,
		'create-batch-releases' => \&_batch_releases,
		'update-ach-payment' => \&_update,
		'update-book-payment' => \&_update,
		'get-payment' => sub { one_with_included($_[0], own_param($_[0], 'payment', 'paymentId')) },
		'list-payments' => sub { list($_[0], 'payment') },
		'cancel-payment' => \&_cancel,
	);
}

# Why the account cannot pay, undef if it can.
sub refusal {
	my ($account, $amount) = @_;

	my $a = res($account)->{attributes};
	return "Account$a->{status}" if $a->{status} ne 'Open';
	return $a->{available} < $amount ? 'InsufficientFunds' : undef;
}

# Books the payment and counts it.
sub _made {
	my ($type, $id, $account, $attributes, $relationships) = @_;

	count('payments_created');
	count('payments_rejected') if $attributes->{status} eq 'Rejected';
	return UnitSandbox::Store::compact(make_payment($type, $id, $account, $attributes, $relationships));
}

sub _common {
	my ($x) = @_;

	my $a = attributes($x);
	return (
		amount => want_amount($a), description => want_string($a, 'description', optional => 1) // '',
		tags => tags_merged({}, $a->{tags}),
	);
}

# From account to counterpartyAccount, whoever owns that one.
sub book {
	my ($x) = @_;

	my %a = _common($x);
	my $from = own_related($x, 'account', 'account');
	my $ref = relationship($x, 'counterpartyAccount')
		or invalid('/data/relationships/counterpartyAccount', 'The counterpartyAccount is missing.');
	my $to = get('account', $ref->{id}) or not_found('account', $ref->{id});
	invalid('/data/relationships/counterpartyAccount', 'The accounts are the same.') if $to == $from;
	return transfer(\%a, $from, $to);
}

sub transfer {
	my ($a, $from, $to) = @_;

	my $id = next_id('payment');
	my %relationships = (counterpartyAccount => ref_to('account', $to->{id}));
	$relationships{counterpartyCustomer} = ref_to('customer', $to->{owner}[0]) if @{$to->{owner}};
	my $reason = refusal($from, $a->{amount});
	$reason //= 'CounterpartyAccount' . res($to)->{attributes}{status} if res($to)->{attributes}{status} ne 'Open';
	if (!defined $reason) {
		my %by = (payment => ref_to('payment', $id));
		my $t = post_transaction('bookTransaction', $from, 'Debit', $a->{amount}, $a->{description}, \%by);
		post_transaction('bookTransaction', $to, 'Credit', $a->{amount}, $a->{description}, \%by);
		$relationships{transaction} = ref_to('transaction', $t->{id});
	}
	return _made('bookPayment', $id, $from, {%$a, direction => 'Credit', _status($reason, 'Sent')}, \%relationships);
}

sub _status {
	my ($reason, $good) = @_;
	return defined $reason ? (status => 'Rejected', reason => $reason) : (status => $good);
}

# Credit sends money: it leaves the account at once. Debit collects: it arrives
# when the payment clears.
sub ach {
	my ($x) = @_;

	my $a = attributes($x);
	my %a = _common($x);
	$a{direction} = want_string($a, 'direction', like => qr/\A(?:Credit|Debit)\z/);
	my $account = own_related($x, 'account', 'account');
	my %relationships;
	if (relationship($x, 'counterparty')) {
		my $counterparty = own_related($x, 'counterparty', 'counterparty');
		my $c = res($counterparty)->{attributes};
		$a{counterparty} = {map { $_ => $c->{$_} } qw(name routingNumber accountNumber accountType)};
		$relationships{counterparty} = ref_to('counterparty', $counterparty->{id});
	}
	elsif (defined $a->{plaidProcessorToken}) {
		want_string($a, 'plaidProcessorToken');
		$a{counterparty} = {
			name => $a->{counterpartyName} // 'Plaid Account', routingNumber => '812345678', accountNumber => '1000000009',
			accountType => 'Checking',
		};
	}
	else { $a{counterparty} = check_counterparty($a->{counterparty}, '/data/attributes/counterparty') }
	return _send($account, 'achPayment', 'originatedAchTransaction', \%a, \%relationships);
}

# The bank account of somebody, checked.
sub check_counterparty {
	my ($c, $pointer) = @_;

	invalid($pointer, 'counterparty must be an object.') if ref $c ne 'HASH';
	for (qw(name routingNumber accountNumber accountType)) {
		invalid("$pointer/$_", "$_ is missing or not a string.") if !is_string($c->{$_}) || !length $c->{$_};
	}
	invalid("$pointer/routingNumber", 'routingNumber has nine digits.') if $c->{routingNumber} !~ /\A\d{9}\z/a;
	invalid("$pointer/accountNumber", 'accountNumber is digits.') if $c->{accountNumber} !~ /\A\d{1,17}\z/a;
	invalid("$pointer/accountType", 'accountType is Checking, Savings or Loan.')
		if $c->{accountType} !~ /\A(?:Checking|Savings|Loan)\z/;
	return {map { $_ => $c->{$_} } qw(name routingNumber accountNumber accountType)};
}

sub _outgoing {
	my ($x, $transaction) = @_;

	my %a = (_common($x), direction => 'Credit');
	my $c = attributes($x)->{counterparty};
	$a{counterparty} = $c if ref $c eq 'HASH';
	return _send(own_related($x, 'account', 'account'), $x->{body}{data}{type}, $transaction, \%a, {});
}

sub _send {
	my ($account, $type, $transaction, $a, $relationships) = @_;

	my $id = next_id('payment');
	my $pays = $a->{direction} eq 'Credit';
	my $reason = refusal($account, $pays ? $a->{amount} : 0);
	if (!defined $reason && $pays) {
		my $t = post_transaction($transaction, $account, 'Debit', $a->{amount}, $a->{description}, {payment => ref_to('payment', $id)});
		$relationships->{transaction} = ref_to('transaction', $t->{id});
	}
	return _made($type, $id, $account, {%$a, _status($reason, 'Pending')}, $relationships);
}

# Does $work for each element of an array body, once for one key.
sub _each_element {
	my ($x, $work) = @_;

	my $list = $x->{body}{data};
	invalid('/data', 'At most 200 elements.') if @$list > 200;
	# All are checked for a usable key before any is carried out.
	my @parts;
	for my $i (0 .. $#$list) {
		my $part = {%$x, body => {data => $list->[$i]}};
		push @parts, [$part, key_of(attributes($part), "/data/$i/attributes/idempotencyKey")];
	}
	my @texts;
	for (@parts) {
		my ($part, $key) = @$_;
		my $known = defined $key ? recall($x->{op}{name}, $key) : undef;
		my $text = $known ? $known->[0] : text($work->($part));
		remember($x->{op}{name}, $key, [$text]) if defined $key && !$known;
		push @texts, $text;
	}
	return (201, '{"data":[' . join(',', @texts) . ']}');
}

sub _bulk {
	my ($x) = @_;

	for (@{$x->{body}{data}}) {
		invalid('/data', 'Only book and ACH payments go in bulk.') if $_->{type} !~ /\A(?:book|ach)Payment\z/;
	}
	return _each_element($x, sub { $_[0]{body}{data}{type} eq 'bookPayment' ? book($_[0]) : ach($_[0]) });
}

# From a batch account to the receiver's.
sub _batch_releases {
	my ($x) = @_;

	return _each_element($x, sub {
		my ($part) = @_;
		my %a = _common($part);
		my $from = own_related($part, 'account', 'batchAccount');
		my $to = own_related($part, 'account', 'receiver');
		my $id = next_id('payment');
		my %by = (payment => ref_to('payment', $id));
		my $reason = refusal($from, $a{amount});
		if (!defined $reason) {
			post_transaction('batchReleaseTransaction', $from, 'Debit', $a{amount}, $a{description}, \%by);
			post_transaction('batchReleaseTransaction', $to, 'Credit', $a{amount}, $a{description}, \%by);
		}
		my $sent = attributes($part);
		$a{$_} = $sent->{$_} for grep { defined $sent->{$_} } qw(senderName senderAddress senderAccountNumber);
		return _made(
			'batchRelease', $id, $from, {%a, _status($reason, 'Sent')},
			{batchAccount => ref_to('account', $from->{id}), receiver => ref_to('account', $to->{id})}
		);
	});
}

sub _update {
	my ($x) = @_;

	my $payment = own_param($x, 'payment', 'paymentId');
	my $resource = res($payment);
	invalid('/data/type', "The payment is a $resource->{type}.") if $resource->{type} ne $x->{body}{data}{type};
	my $patch = attributes($x);
	for (keys %$patch) {
		invalid("/data/attributes/$_", "$_ cannot be changed.") if $_ ne 'tags';
	}
	$resource->{attributes}{tags} = tags_merged($resource->{attributes}{tags}, $patch->{tags});
	return one(200, touch($payment));
}

sub _cancel {
	my ($x) = @_;

	my $payment = own_param($x, 'payment', 'paymentId');
	my $a = res($payment)->{attributes};
	fail(400, 'payment_not_cancellable', "The payment is $a->{status}.") if $a->{status} ne 'Pending';
	give_back($payment, 'Canceled');
	return one(200, $payment);
}

# Undoes what the payment did to the account.
sub give_back {
	my ($payment, $status) = @_;

	my $a = res($payment)->{attributes};
	my $account = get('account', $payment->{account});
	my $moved = $a->{direction} eq 'Credit' ? 'Credit' : $a->{status} eq 'Sent' ? 'Debit' : undef;
	if ($moved) {
		post_transaction(
			'returnedAchTransaction', $account, $moved, $a->{amount}, "Return: $a->{description}",
			{payment => ref_to('payment', $payment->{id})}
		);
	}
	$a->{status} = $status;
	return touch($payment);
}

1;
