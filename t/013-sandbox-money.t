#!/usr/bin/perl

# State: balances move, declined payments are created as Rejected, cards change
# status, applications become customers, and an idempotency key works once.

use strict;
use warnings;

use FindBin ();
use JSON::PP ();
use Test::More;

use lib "$FindBin::Bin/../sandbox/lib";
use UnitSandbox::Client;

*doc = \&UnitSandbox::Client::doc;
my $s = UnitSandbox::Client->start;
my %bank = (name => 'Joe', routingNumber => '812345678', accountNumber => '1000000001', accountType => 'Checking');
my $serial = 900_000_000;

sub balance { $s->org(GET => "/accounts/$_[0]")->{data}{data}{attributes}{balance} }

sub total { $s->org(GET => $_[0])->{data}{meta}{pagination}{total} }

sub book {
	my ($from, $to, $amount, %attributes) = @_;
	return doc('bookPayment', {amount => $amount, description => 'Gift', %attributes},
		account => [depositAccount => $from], counterpartyAccount => [depositAccount => $to]);
}

sub ach {
	my ($direction, $amount, %attributes) = @_;
	return doc('achPayment', {amount => $amount, direction => $direction, description => 'Rent', counterparty => \%bank, %attributes},
		account => [depositAccount => '1001']);
}

sub attributes { $_[0]{data}{data}{attributes} }

# Book payments.
my $pay = $s->verified_token('10001', 'payments-write payments transactions accounts');
my $transactions = total('/transactions');
my $r = $s->call($pay, POST => '/payments', book('1001', '2001', 1234));
is $r->{status}, 201, 'alice pays bob';
is attributes($r)->{status}, 'Sent', 'at once';
is balance('1001'), 1_000_000 - 1234, 'hers is less';
is balance('2001'), 5_000_000 + 1234, 'his is more';
is total('/transactions'), $transactions + 2, 'two transactions';
my $payment = $r->{data}{data};
my $t = $s->call($pay, GET => "/accounts/1001/transactions/$payment->{relationships}{transaction}{data}{id}")->{data}{data};
is_deeply [@{$t->{attributes}}{qw(direction amount balance)}], ['Debit', 1234, 1_000_000 - 1234], 'hers says so';
is $s->call($pay, GET => "/payments/$payment->{id}")->{data}{data}{id}, $payment->{id}, 'the payment is there';
$r = $s->call($pay, POST => '/payments', book('1001', '2001', 99_000_000));
is $r->{status}, 201, 'more than she has';
is_deeply [@{attributes($r)}{qw(status reason)}], ['Rejected', 'InsufficientFunds'], 'is created but rejected';
is balance('1001'), 1_000_000 - 1234, 'and moves nothing';
is $s->counter('payments_rejected'), 1, 'counted';
for my $amount (0, -5, 1.5, '10', undef) {
	is $s->call($pay, POST => '/payments', book('1001', '2001', $amount))->{status}, 400, 'amount ' . ($amount // 'null');
}
is $s->call($pay, POST => '/payments', book('1001', '1001', 5))->{status}, 400, 'to the same account';
is $s->call($pay, POST => '/payments', book('1001', '77', 5))->{status}, 404, 'to no account';
$s->org(POST => '/accounts/1002/close');
is attributes($s->org(POST => '/payments', book('1001', '1002', 5)))->{reason}, 'CounterpartyAccountClosed', 'to a closed account';
is attributes($s->org(POST => '/payments', book('1002', '1001', 5)))->{reason}, 'AccountClosed', 'from one';
is $s->org(POST => '/accounts/1002/close')->{status}, 400, 'a closed account does not close';
is attributes($s->org(POST => '/accounts/1002/reopen'))->{status}, 'Open', 'but reopens';

# ACH.
my $before = balance('1001');
$r = $s->org(POST => '/payments', ach('Credit', 500));
is attributes($r)->{status}, 'Pending', 'ACH credit';
is balance('1001'), $before - 500, 'leaves at once';
my %to = (payment => [achPayment => $r->{data}{data}{id}]);
is attributes($s->org(POST => '/sandbox/ach/transmit', doc('transmitAchPayment', {}, %to)))->{status}, 'Clearing', 'is transmitted';
is attributes($s->org(POST => '/sandbox/ach/clear', doc('clearAchPayment', {}, %to)))->{status}, 'Sent', 'clears';
is attributes($s->org(POST => '/sandbox/ach/return', doc('returnAchPayment', {reason => 'R02'}, %to)))->{status}, 'Returned', 'comes back';
is balance('1001'), $before, 'with the money';
is attributes($s->org(POST => '/payments', ach('Credit', 99_000_000)))->{status}, 'Rejected', 'more than there is';
$r = $s->org(POST => '/payments', ach('Debit', 700));
is balance('1001'), $before, 'ACH debit: nothing yet';
%to = (payment => [achPayment => $r->{data}{data}{id}]);
$s->org(POST => '/sandbox/ach/clear', doc('clearAchPayment', {}, %to));
is balance('1001'), $before + 700, 'until it clears';
is $s->org(POST => '/payments', ach('Credit', 5, counterparty => {%bank, routingNumber => '1'}))->{status}, 400, 'a bad routing number';
is $s->org(POST => '/payments', ach('Sideways', 5))->{status}, 400, 'a bad direction';
$r = $s->org(POST => '/payments', ach('Credit', 50));
is attributes($s->org(POST => "/payments/$r->{data}{data}{id}/cancel", {data => {}}))->{status}, 'Canceled', 'a pending payment is cancelled';
is balance('1001'), $before + 700, 'and paid back';
is $s->org(PATCH => "/payments/$r->{data}{data}{id}", doc('achPayment', {tags => {a => 'b'}}))->{status}, 200, 'tags of a payment';
is $s->org(PATCH => "/payments/$r->{data}{data}{id}", doc('bookPayment', {tags => {}}))->{status}, 400, 'but not as another type';
$s->org(POST => '/sandbox/payments', doc('achPayment', {amount => 11, direction => 'Credit', description => 'x'}, account => [depositAccount => '1001']));
is balance('1001'), $before + 711, 'an incoming ACH payment';
$s->org(POST => '/fees', doc('fee', {amount => 11, description => 'Fee'}, account => [depositAccount => '1001']));
is balance('1001'), $before + 700, 'a fee';
$s->org(POST => '/ready-to-launch/book-payments', doc('bookPayment', {amount => 30, description => 'x'},
	account => [depositAccount => '1001'], operationalAccount => [depositAccount => '9002']));
is balance('1001'), $before + 730, 'a ready-to-launch payment';
$s->org(POST => '/sandbox/purchases', doc('purchaseTransaction', {amount => 30, merchantName => 'M'}, account => [depositAccount => '1001']));
is balance('1001'), $before + 700, 'a purchase';

# Idempotency.
sub repeat {
	my ($name, $counter, $path, $make, %option) = @_;

	my $count = $s->counter($counter);
	my $first = $s->org(POST => $path, $make->($option{key} // "key-$name"));
	my $again = $s->org(POST => $path, $make->($option{key} // "key-$name"));
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is $first->{status}, 201, "$name: made" or diag $first->{content};
	is_deeply [@{$again}{qw(status content)}], [@{$first}{qw(status content)}], "$name: the same answer again";
	is $s->counter($counter), $count + 1, "$name: done once";
	return $first;
}
my @account = (account => [depositAccount => '1001']);
repeat('book', 'payments_created', '/payments', sub { book('1001', '2001', 1, idempotencyKey => $_[0]) });
repeat('ach', 'payments_created', '/payments', sub { ach('Credit', 1, idempotencyKey => $_[0]) });
repeat('book under the key of ach', 'payments_created', '/payments', sub { book('1001', '2001', 1, idempotencyKey => $_[0]) }, key => 'key-ach');
repeat('fee', 'fees_created', '/fees', sub { doc('fee', {amount => 1, description => 'x', idempotencyKey => $_[0]}, @account) });
repeat('account', 'accounts_created', '/accounts', sub { doc('depositAccount', {depositProduct => 'c', idempotencyKey => $_[0]}, customer => [customer => '10001']) });
repeat('counterparty', 'counterparties_created', '/counterparties', sub { doc('achCounterparty', {%bank, type => 'Person', idempotencyKey => $_[0]}, customer => [customer => '10001']) });
repeat('application', 'applications_created', '/applications', sub { doc('individualApplication', {ssn => '900000001', idempotencyKey => $_[0]}) });
my $physical = repeat('card', 'cards_created', '/cards', sub { doc('individualDebitCard', {idempotencyKey => $_[0]}, @account) });
my $virtual = $s->org(POST => '/cards', doc('individualVirtualDebitCard', {idempotencyKey => 'key-card'}, @account));
is $virtual->{content}, $physical->{content}, 'physical and virtual cards share keys';
my $count = $s->counter('payments_created');
my $moved = balance('1001');
$r = $s->org(POST => '/payments', book('1001', '2001', 777, idempotencyKey => 'key-book'));
is $s->counter('payments_created') . balance('1001'), "$count$moved", 'another body under a used key is not carried out';
my $bob = $s->verified_token('10002', 'payments-write');
$r = $s->call($bob, POST => '/payments', book('2001', '1001', 5, idempotencyKey => 'key-book'));
is $r->{data}{data}{relationships}{account}{data}{id}, '1001', 'keys belong to the organisation: bob meets that of alice';
$s->org(POST => '/payments', book('1001', '2001', 0, idempotencyKey => 'key-late'));
is $s->org(POST => '/payments', book('1001', '2001', 5, idempotencyKey => 'key-late'))->{status}, 201, 'a failure does not use the key up';
$s->control(POST => 'clock', {advance => 48 * 3600 - 60});
$count = $s->counter('payments_created');
$s->org(POST => '/payments', book('1001', '2001', 5, idempotencyKey => 'key-late'));
is $s->counter('payments_created'), $count, 'nearly 48 hours later';
$s->control(POST => 'clock', {advance => 61});
$s->org(POST => '/payments', book('1001', '2001', 5, idempotencyKey => 'key-late'));
is $s->counter('payments_created'), $count + 1, 'after 48 hours it is new';
for my $key ('', 'x' x 256, JSON::PP->new->allow_nonref->decode('5'), {}, []) {
	is $s->org(POST => '/payments', book('1001', '2001', 5, idempotencyKey => $key))->{status}, 400, 'a key that is none';
}
is $s->org(POST => '/payments', book('1001', '2001', 5, idempotencyKey => 'x' x 255))->{status}, 201, '255 characters are one';

# Array bodies: each element has its key.
my $release = sub {
	my ($amount, $key) = @_;
	return doc('batchRelease', {amount => $amount, description => 'x', idempotencyKey => $key},
		batchAccount => [batchAccount => '9001'], receiver => [depositAccount => '1001'])->{data};
};
$moved = balance('1001');
$r = $s->org(POST => '/batch-releases', {data => [$release->(10, 'r1'), $release->(20, 'r2')]});
is $r->{status}, 201, 'batch releases';
is balance('1001'), $moved + 30, 'are paid';
my $second = $s->org(POST => '/batch-releases', {data => [$release->(20, 'r2'), $release->(40, 'r3')]});
is balance('1001'), $moved + 70, 'each key once';
is_deeply $second->{data}{data}[0], $r->{data}{data}[1], 'with its first answer';
is $s->org(POST => '/batch-releases', {data => []})->{status}, 400, 'none at all';
is $s->org(POST => '/payments/bulk', {data => [book('1001', '2001', 1)->{data}, ach('Credit', 1)->{data}]})->{status}, 201, 'bulk payments';

# Cards.
my $cards = $s->verified_token('10001', 'cards cards-write cards-sensitive-write cards-sensitive');
my $make = sub { $s->call($cards, POST => '/cards', doc("individual$_[0]DebitCard", {}, @account))->{data}{data} };
sub card {
	my ($id, $action, $doc) = @_;
	my $r = $s->call($cards, POST => "/cards/$id/$action", $doc);
	return $r->{status} == 200 ? attributes($r)->{status} : $r->{status};
}
my $id = $make->('Virtual')->{id};
is_deeply [map { card($id, $_) } qw(freeze freeze unfreeze unfreeze close freeze close unfreeze)],
	[qw(Frozen Frozen Active Active ClosedByCustomer 400 ClosedByCustomer 400)], 'freeze, unfreeze, close';
my $new = $make->('');
is $new->{attributes}{status}, 'Inactive', 'a physical card is inactive';
is card($new->{id}, 'freeze'), 400, 'and cannot be frozen';
is card($new->{id}, 'activate', doc('card', {cvv2 => '123', expirationDate => '2030-08'})), 'Active', 'until it is activated';
is card($new->{id}, 'replace', doc('replaceCard', {})), 'Active', 'it can be replaced';
is card($new->{id}, 'report-lost'), 'Lost', 'or lost';
is card($new->{id}, 'replace', doc('replaceCard', {})), 400, 'and then not';
is card($make->('Virtual')->{id}, 'report-stolen'), 'Stolen', 'or stolen';
is $s->call($cards, GET => "/cards/$id/secure-data/pin/status")->{data}{data}{attributes}{status}, 'NotSet', 'no PIN';
is card($id, 'secure-data/pin', doc('card', {pin => '12345'})), 400, 'a bad one';
is $s->call($cards, POST => "/cards/$id/secure-data/pin", doc('card', {pin => '1234'}))->{status}, 200, 'a good one';
is $s->call($cards, GET => "/cards/$id/secure-data/pin/status")->{data}{data}{attributes}{status}, 'Set', 'is set';
is $s->org(POST => '/cards', doc('businessVirtualDebitCard', {fullName => {}}, @account))->{status}, 400, 'no business card for alice';

# Customers and applications.
is attributes($s->org(PATCH => '/customers/10001', doc('individualCustomer', {tags => {a => '1', b => '2'}})))->{tags}{a}, '1', 'tags';
is_deeply attributes($s->org(PATCH => '/customers/10001', doc('individualCustomer', {tags => {a => undef}})))->{tags}, {b => '2'}, 'are merged, null deletes';
is $s->org(PATCH => '/customers/10001', doc('individualCustomer', {tags => {map { ("t$_" => 'x') } 1 .. 15}}))->{status}, 400, 'at most 15';
is $s->org(PATCH => '/customers/10001', doc('individualCustomer', {tags => {'a b' => 'x'}}))->{status}, 400, 'names are words';
is $s->org(PATCH => '/customers/10001', doc('individualCustomer', {phone => 'x'}))->{status}, 400, 'a bad phone';
$s->org(PATCH => '/customers/10001', doc('individualCustomer', {phone => {countryCode => '44', number => '2071234567'}, address => {street => 'x'}}));
$s->org(POST => '/customers/10001/token/verification', doc('customerTokenVerification', {channel => 'sms'}));
is $s->control(GET => 'otp/10001')->{phone}{number}, '2071234567', 'a new phone gets the code';
is $s->org(PATCH => '/customers/10001', doc('businessCustomer', {tags => {}}))->{status}, 400, 'alice is no business';
is $s->org(PATCH => '/customers/10001', doc('individualCustomer', {ssn => '1'}))->{status}, 400, 'what cannot change';
$r = $s->org(POST => '/customers/10002/authorized-users', doc('addAuthorizedUsers', {authorizedUsers => [
	{fullName => {first => 'D', last => 'E'}, email => 'd@example.com', phone => {countryCode => '1', number => '5550200009'}},
	{fullName => {first => 'C', last => 'C'}, email => 'carol@example.com', phone => {countryCode => '1', number => '5550200008'}},
]}));
is_deeply [map { $_->{phone}{number} } @{attributes($r)->{authorizedUsers}}], [qw(5550200009 5550200008)], 'authorised users are upserted by e-mail';
$r = $s->org(DELETE => '/customers/10002/authorized-users', doc('removeAuthorizedUsers', {authorizedUsersEmails => ['d@example.com']}));
is scalar @{attributes($r)->{authorizedUsers}}, 1, 'and removed';
is $s->org(POST => '/customers/10002/archive', doc('archiveCustomer', {}))->{status}, 400, 'bob has open accounts';
$s->org(POST => '/accounts/2001/close');
is attributes($s->org(POST => '/customers/10002/archive', doc('archiveCustomer', {})))->{status}, 'Archived', 'archived';
is $s->org(POST => '/customers/10002/token', doc('customerToken', {scope => 'accounts'}))->{status}, 403, 'no tokens for him any more';

$r = $s->org(POST => '/applications', doc('individualApplication', {
	ssn => '900000009', fullName => {first => 'P', last => 'P'}, phone => {countryCode => '1', number => '5550300009'}, jwtSubject => 'peter',
}));
my $application = $r->{data}{data};
my $document = $r->{data}{included}[0]{id};
is $application->{attributes}{status}, 'AwaitingDocuments', 'an application';
my $duplicate = $s->org(POST => '/applications', doc('individualApplication', {ssn => '900000009'}));
is $duplicate->{status}, 400, 'the same person twice';
is_deeply $duplicate->{data}{errors}[0]{meta}{existingIds}, [$application->{id}], 'names the first';
is $s->org(PUT => "/applications/$application->{id}/documents/$document", "\x89PNG", type => 'image/png')->{status}, 200, 'a document';
is attributes($s->org(GET => "/applications/$application->{id}"))->{status}, 'PendingReview', 'now it is reviewed';
$r = $s->org(POST => "/sandbox/applications/$application->{id}/approve", doc('applicationApprove', {}));
my $customer = $r->{data}{data}{relationships}{customer}{data}{id};
is attributes($s->org(GET => "/customers/$customer"))->{jwtSubject}, 'peter', 'approved, it is a customer';
is $s->org(POST => "/applications/$application->{id}/cancel", doc('applicationCancel', {}))->{status}, 400, 'too late to cancel';
is $s->org(POST => "/customers/$customer/token/verification", doc('customerTokenVerification', {channel => 'sms'}))->{status}, 201, 'who can sign in';

# Statements.
$r = $s->org(POST => '/sandbox/accounts/1001/generate-statement');
my $html = $s->org(GET => "/statements/$r->{data}{data}{id}/html");
is $html->{headers}{'content-type'}, 'text/html; charset=utf-8', 'a statement is HTML';
like $html->{content}, qr{<td>1234</td>}, 'about the payment';
my $pdf = $s->org(GET => '/statements/1501/pdf');
is $pdf->{headers}{'content-type'}, 'application/pdf', 'or PDF';
like $pdf->{content}, qr/\A%PDF-/, 'that looks like one';
is $s->org(GET => "/applications/$application->{id}/documents/$document/download")->{headers}{'content-type'}, 'application/octet-stream', 'a download';

is $s->stop, 0, 'ends cleanly';
done_testing;
