#!/usr/bin/perl

# The same key means the same write: performed once at Unit, answered again from
# the record byte by byte, after the caller was authorised anew; 409 while it is
# under way, 422 for another request. Nobody else ever sees, blocks or meets that
# key: not another customer, subject, partner or operation family. The key that
# Unit gets depends on all of them and on the secret, and on nothing else: two
# gateways with one secret send the same one, and a new secret leaves what was
# tried before as it was.
#
# P2 (redirects), P25 (reload), P35 (both parsers agree).

use strict;
use warnings;

use JSON::PP ();
use Test::More;
use UnitGateway;
use UnitGateway::Config qw(back_end server);
use UnitGateway::Process qw(wait_until);

my $t = UnitGateway->new(
	workers => 2,
	partners => {
		two => {issuer => 'https://two.example.test/'}, back => back_end(), back2 => back_end(issuer => 'https://back2.example.test/'),
		narrow => {issuer => 'https://narrow.example.test/', scopes => 'accounts payments'},
	},
	servers => server(REQUIRE => 'unit_idempotency require;') . server(OFF => 'unit_idempotency off;'),
)->start;
my $sandbox = $t->sandbox;
my $json = JSON::PP->new->utf8->canonical;
my $serial = 0;
my $mark = $sandbox->mark;

sub key { return 'key-' . ++$serial }
sub head_key { return headers => ['Idempotency-Key' => $_[0]] }
sub token { my ($sub, %claims) = @_; return $t->jwt(sub => $sub, claims => \%claims) }

# What Unit got since the last time, but for token calls.
sub calls {
	my @all = $sandbox->journal($mark);
	$mark = $all[-1]{n} if @all;
	return grep { $_->{path} !~ /token/ } @all;
}

sub unit_key { return $json->decode($_[0]{body})->{data}{attributes}{idempotencyKey} }

sub reference { return {data => {type => $_[0], id => "$_[1]"}} }

# A payment between two accounts, as a body.
sub payment {
	my (%o) = @_;
	my ($from, $to) = ($o{of} // '') =~ /bob/ ? (2001, 1002) : (1001, 1002);
	return {data => {
		type => 'bookPayment', attributes => {amount => $o{amount} // 100, description => 'x', $o{key} ? (idempotencyKey => $o{key}) : ()},
		relationships => {account => reference('depositAccount', $from), counterpartyAccount => reference('depositAccount', $to)},
	}};
}

# Two-factor authentication of a token.
sub verify {
	my ($token, $customer, $scope, %more) = @_;
	my %o = (token => $token);
	my $r = $t->post("/customers/$customer/token/verification", %o, json => {data => {type => 'customerTokenVerification', attributes => {channel => 'sms'}}});
	my $handle = $r->json->{data}{attributes}{verificationToken} // die 'no handle: ' . $r->body;
	my $code = $sandbox->otp($customer)->{code};
	$r = $t->post("/customers/$customer/token", %o, json => {data => {type => 'customerToken', attributes => {
		scope => $scope, verificationToken => $handle, verificationCode => $code, %more}}});
	is($r->status, 201, "two-factor authentication for $scope");
	calls();
	return $token;
}

my $alice = verify(token('alice'), 10001, 'payments-write cards-write accounts-write counterparties-write');
my $bob = verify(token('bob'), 10002, 'payments-write');
my $service = token('service', iss => 'https://back.example.test/');

# -- performed once, answered again ---------------------------------------------------------

sub same {
	my ($name, $first, $again) = @_;
	is($again->status, $first->status, "$name: the same status");
	is($again->body, $first->body, "$name: the same body");
	is($again->header('Content-Type'), $first->header('Content-Type'), "$name: the same type");
	is($again->header('Idempotency-Replayed'), 'true', "$name: and marked");
	is($again->header('Cache-Control'), 'no-store', "$name: not to be stored by others");
	isnt($again->header('X-Request-Id'), $first->header('X-Request-Id'), "$name: as an answer of its own");
}

my $key = key();
my $first = $t->post('/payments', token => $alice, json => payment(), head_key($key));
is($first->status, 201, 'a payment');
is($first->header('Idempotency-Replayed'), undef, 'performed');
my ($call) = calls();
like(unit_key($call), qr/\A[A-Za-z0-9_-]{43}\z/, 'with a derived key');
unlike($call->{body}, qr/$key/, "and not the client's");
same('again', $first, $t->post('/payments', token => $alice, json => payment(), head_key($key)));
same('quoted', $first, $t->post('/payments', token => $alice, json => payment(), head_key(qq("$key"))));
same('in the body', $first, $t->post('/payments', token => $alice, json => payment(key => $key)));
same('in both', $first, $t->post('/payments', token => $alice, json => payment(key => $key), head_key($key)));
same('by another worker', $first, $_) for $t->many([($t->bytes(POST => '/payments', token => $alice, json => payment(), head_key($key))) x 20]);
is(scalar calls(), 0, 'Unit was not asked again');
is($sandbox->counter('payments_created'), 1, 'one payment');

my $body_key = key();
$first = $t->post('/payments', token => $alice, json => payment(key => $body_key));
same('given in the body, repeated in the head', $first, $t->post('/payments', token => $alice, json => payment(), head_key($body_key)));
calls();

# writes that Unit does not make idempotent
for (
	['POST without a body' => POST => '/cards/1101/freeze', {}, undef],
	['POST with one' => POST => '/cards/1101/unfreeze', {body => '{"data":{}}', type => 'application/vnd.api+json'}, undef],
	['PATCH' => PATCH => '/cards/1101', {json => {data => {type => 'individualDebitCard', attributes => {tags => {a => 'b'}}}}}, undef],
) {
	my ($name, $method, $target, $o) = @$_;
	my $key = key();
	my $first = $t->request($method, $target, token => $alice, %$o, head_key($key));
	is($first->status, 200, "$name: performed");
	same($name, $first, $t->request($method, $target, token => $alice, %$o, head_key($key)));
	is(scalar calls(), 1, "$name: once");
	$t->request($method, $target, token => $alice, %$o) for 1, 2;
	is(scalar calls(), 2, "$name: without a key each time");
}
my $counterparty = $t->post('/counterparties', token => $alice, json => {data => {
	type => 'achCounterparty', attributes => {name => 'Joe', routingNumber => '812345678', accountNumber => '123456', accountType => 'Checking', type => 'Person'},
	relationships => {customer => reference('customer', 10001)},
}});
is($counterparty->status, 201, 'a counterparty') or diag $counterparty->body;
calls();
my $target = '/counterparties/' . $counterparty->json->{data}{id};
$first = $t->delete($target, token => $alice, head_key('gone'));
is($first->status, 204, 'DELETE: performed');
my $again = $t->delete($target, token => $alice, head_key('gone'));
is($again->status . $again->body . $again->header('Idempotency-Replayed'), '204true', 'DELETE: 204 again, without a body');
is($again->header('Content-Length'), undef, 'DELETE: nor a length');
is(scalar calls(), 1, 'DELETE: once');

# final refusals of Unit are answers, too
my $refused = payment(amount => -5);
$key = key();
$first = $t->post('/payments', token => $alice, json => $refused, head_key($key));
is($first->status, 400, 'what Unit refuses');
same('what Unit refuses', $first, $t->post('/payments', token => $alice, json => $refused, head_key($key)));
is(scalar calls(), 1, 'is refused once');

# -- another request ------------------------------------------------------------------------

$key = key();
$first = $t->post('/payments', token => $alice, json => payment(), head_key($key));
calls();
for (
	['another amount' => POST => '/payments', json => payment(amount => 101)],
	['another query' => POST => '/payments?a=b', json => payment()],
	['another body of the same length' => POST => '/payments', json => payment(amount => 200)],
) {
	my ($name, @request) = @$_;
	my $r = $t->request(@request, token => $alice, head_key($key));
	is($r->status . ' ' . $r->code, '422 idempotency_key_reused', $name);
	is($r->header('Idempotency-Replayed'), undef, "$name: nothing of the first");
}
my $freeze = key();
$t->post('/cards/1101/freeze', token => $alice, head_key($freeze));
is($t->post('/cards/1102/freeze', token => $alice, head_key($freeze))->code, 'idempotency_key_reused', 'another card');
is($t->post('/cards/1101/unfreeze', token => $alice, head_key($freeze))->status, 200, 'another operation has keys of its own');
same('the first is still there', $first, $t->post('/payments', token => $alice, json => payment(), head_key($key)));
calls();

# -- in flight --------------------------------------------------------------------------------

sub in_flight {
	my ($key, $code, @request) = @_;
	$sandbox->fault(POST => '/payments', {delay_ms => 800});
	my $client = $t->connect;
	$client->send($t->bytes(@request ? @request : (POST => '/payments', token => $alice, json => payment()), head_key($key)));
	wait_until(5, sub { calls() }) or die 'no call';
	$code->();
	my $r = $client->response;
	$client->close;
	return $r;
}

$key = key();
$first = in_flight($key, sub {
	for my $r ($t->many([($t->bytes(POST => '/payments', token => $alice, json => payment(), head_key($key))) x 6])) {
		is($r->status . ' ' . $r->code, '409 idempotency_key_in_use', 'the same at the same time');
		is($r->header('Retry-After'), 1, 'says when to come again');
	}
	is($t->post('/payments', token => $alice, json => payment(key => $key))->status, 409, 'given in the body, too');
	my $r = $t->post('/payments', token => $alice, json => payment(amount => 3), head_key($key));
	is($r->status . ' ' . $r->code, '422 idempotency_key_reused', 'another one at the same time');
	is($t->post('/payments', token => $bob, json => payment(of => 'bob'), head_key($key))->status =~ /\A(?:201|400)\z/ ? 'performed' : 'not', 'performed', 'somebody else is not held up');
	is(scalar(grep { $_->{customer} eq '10001' } calls()), 0, 'none of them reached Unit');
});
is($first->status, 201, 'the first is performed');
same('and replayed', $first, $t->post('/payments', token => $alice, json => payment(), head_key($key)));

# all at once: one is performed, the others are told, or get its answer
$key = key();
my $made = $sandbox->counter('payments_created');
my %seen;
for my $r ($t->many([($t->bytes(POST => '/payments', token => $alice, json => payment(), head_key($key))) x 100], together => 1)) {
	$seen{ref $r ? $r->status . ($r->header('Idempotency-Replayed') // '') : $r}++;
}
is($seen{201}, 1, 'of a hundred at once one is performed');
is(($seen{'201true'} // 0) + ($seen{409} // 0), 99, 'the others are told') or diag explain \%seen;
is($sandbox->counter('payments_created'), $made + 1, 'one payment');
calls();

# -- whose key --------------------------------------------------------------------------------

$key = key();
my %who = (
	'alice' => $alice, 'bob' => $bob,
	'alice of the other partner' => verify(token('alice', iss => 'https://two.example.test/'), 10001, 'payments-write'),
	'eve for alice' => verify(token('eve', unitCustomerId => '10001'), 10001, 'payments-write'),
	'eve for bob' => verify(token('eve', unitCustomerId => '10002'), 10002, 'payments-write'),
	'a back end' => $service, 'another back end' => token('service', iss => 'https://back2.example.test/'),
	'another user of the back end' => token('other', iss => 'https://back.example.test/'),
);
my (%key, %id);
for my $name (sort keys %who) {
	my $r = $t->post('/payments', token => $who{$name}, json => payment(of => $name), head_key($key));
	is($r->header('Idempotency-Replayed'), undef, "$name: a payment of its own");
	my ($call) = calls();
	$key{unit_key($call)} = $name;
	$id{$r->json->{data}{id} // $r->body} = $name;
}
is(scalar keys %key, scalar keys %who, 'each with another key at Unit');
is(scalar keys %id, scalar keys %who, 'and another result');
my $session = verify(token('alice', sid => 's1'), 10001, 'payments-write');
is($t->post('/payments', token => $session, json => payment(), head_key($key))->header('Idempotency-Replayed'), 'true', 'another session of the same caller is the same caller');

# -- authorised anew ----------------------------------------------------------------------------

$key = key();
$first = $t->post('/payments', token => $alice, json => payment(key => $key));
is($first->status, 201, 'a payment to be repeated');
calls();
for (
	['no second factor' => token('alice', sid => 'none'), '401 two_factor_required'],
	['a role that only reads' => token('alice', unitRole => 'ReadOnly'), '403 insufficient_scope'],
	['no role' => token('alice', unitRole => 'Janitor'), '403 insufficient_scope'],
	['a token that has expired' => $t->jwt(sub => 'alice', exp => -60), '401 token_invalid'],
	['another customer' => token('alice', unitCustomerId => '10002', sid => 'x'), '401 two_factor_required'],
	['a ceiling without the scope' => token('alice', iss => 'https://narrow.example.test/'), '403 insufficient_scope'],
	['no token' => undef, '401 token_missing'],
) {
	my ($name, $token, $want) = @$_;
	for my $o ([json => payment(), head_key($key)], [json => payment(key => $key)]) {
		my $r = $t->post('/payments', defined $token ? (token => $token) : (), @$o);
		is($r->status . ' ' . $r->code, $want, $name);
		is($r->header('Idempotency-Replayed'), undef, "$name: no answer");
	}
}
is(scalar calls(), 0, 'nor for Unit');
same('whoever may, gets it', $first, $t->post('/payments', token => $alice, json => payment(), head_key($key)));

# a second factor that has ended
my $short = verify(token('alice', sid => 'short'), 10001, 'payments-write', expiresIn => 2);
$key = key();
$first = $t->post('/payments', token => $short, json => payment(), head_key($key));
is($first->status, 201, 'a payment with a short authentication');
is($t->post('/payments', token => $short, json => payment(), head_key($key))->header('Idempotency-Replayed'), 'true', 'is replayed');
my $r;
wait_until(10, sub { $r = $t->post('/payments', token => $short, json => payment(), head_key($key)); $r->status != 201 });
is($r->status . ' ' . $r->code, '401 two_factor_required', 'until it ends');
verify($short, 10001, 'payments-write');
same('done again', $first, $t->post('/payments', token => $short, json => payment(), head_key($key)));

# and one that was given up
is($t->delete('/customers/me/token', token => $short)->status, 204, 'forgotten');
is($t->post('/payments', token => $short, json => payment(), head_key($key))->code, 'two_factor_required', 'and no answer any more');
calls();

# a request that is refused for want of authorisation leaves nothing behind
$key = key();
my $late = token('alice', sid => 'late');
is($t->post('/payments', token => $late, json => payment(), head_key($key))->code, 'two_factor_required', 'refused');
is($t->post('/payments', token => $late, json => payment(amount => 7), head_key($key))->code, 'two_factor_required', 'another request, refused alike');
verify($late, 10001, 'payments-write');
is($t->post('/payments', token => $late, json => payment(amount => 8), head_key($key))->status, 201, 'the key is still free');
calls();

# -- with and without -----------------------------------------------------------------------------

$r = $t->post('/payments', port => 'REQUIRE', token => $alice, json => payment());
is($r->status . ' ' . $r->code, '400 idempotency_key_missing', 'required, and missing');
is(scalar calls(), 0, 'not performed');
is($t->post('/payments', port => 'REQUIRE', token => $alice, json => payment(), head_key(key()))->status, 201, 'required, in the head');
is($t->post('/payments', port => 'REQUIRE', token => $alice, json => payment(key => key()))->status, 201, 'required, in the body');
is($t->post('/cards/1101/freeze', port => 'REQUIRE', token => $alice)->status, 200, 'not where Unit has no keys');
is($t->get('/accounts', port => 'REQUIRE', token => $alice)->status, 200, 'nor for a read');
calls();

$r = $t->post('/payments', port => 'OFF', token => $alice, json => payment(key => $key = key()));
is(unit_key((calls())[0]), $key, "off: the client's key goes to Unit");
$again = $t->post('/payments', port => 'OFF', token => $alice, json => payment(key => $key));
is($again->header('Idempotency-Replayed'), undef, 'off: nothing is replayed here');
calls();

$t->post('/payments', token => $alice, json => payment()) for 1, 2;
my @own = map { unit_key($_) } calls();
is(scalar(grep { /\A[A-Za-z0-9_-]{43}\z/ } @own), 2, 'without a key Unit gets one all the same');
isnt($own[0], $own[1], 'another one each time');

# -- the log ----------------------------------------------------------------------------------------

my %status;
my $id = 0;
sub logged {
	my ($name, $want, @o) = @_;
	my $request = sprintf 'idempotency-test-%04d', ++$id;
	my %o = @o;
	$t->post('/payments', token => $alice, %o, headers => [@{$o{headers} // []}, 'X-Request-Id' => $request]);
	my $line = $t->logs->wait_access(sub { $_->{request_id} eq $request });
	is($line->{idempotency}, $want, $name);
}
logged('log: performed', 'stored', json => payment(), head_key($key = key()));
logged('log: replayed', 'replayed', json => payment(), head_key($key));
logged('log: refused', 'conflict', json => payment(amount => 2), head_key($key));
logged('log: a key of ours', 'generated', json => payment());
unlike($t->read_file('logs/access.log') . $t->error_log, qr/$key|\Q$own[0]\E/, 'no key in a log');
calls();

# -- reload, and another gateway ----------------------------------------------------------------------

$key = key();
$first = $t->post('/payments', token => $alice, json => payment(), head_key($key));
ok($t->reload, 'reload');
same('after it', $first, $t->post('/payments', token => $alice, json => payment(), head_key($key)));
$t->kill_worker;
same('after a worker was killed', $first, $t->post('/payments', token => $alice, json => payment(), head_key($key)));

my ($known) = map { unit_key($_) } calls();
my $secret = $t->read_file('idempotency-secret') =~ s/\n//r;
sub other {
	my (%o) = @_;
	my $g = UnitGateway->new(
		upstream => '127.0.0.1:' . $t->port('SANDBOX'), sandbox => 0, org_token => $t->read_file('org-token'), jwks => $t->read_file('jwks.json'),
		partners => {back => back_end()}, %o,
	)->start;
	my $r = $g->post('/payments', token => $service, json => payment(), head_key('shared'));
	$g->stop;
	my ($call) = calls();
	return (unit_key($call), $r->json->{data}{id}, $r->header('Idempotency-Replayed'));
}
$first = $t->post('/payments', token => $service, json => payment(), head_key('shared'));
my $here = unit_key((calls())[0]);
my ($there, $payment, $replayed) = other(idempotency_secret => $secret);
is($there, $here, 'another gateway with that secret sends the same key');
is($payment, $first->json->{data}{id}, 'so that Unit performs it once');
is($replayed, undef, 'of which it has no record');
($there) = other(idempotency_secret => $secret . 'x');
isnt($there, $here, 'with another secret it is another one');

# -- another secret -------------------------------------------------------------------------------------

sub rotate {
	$t->write_file('idempotency-secret', $_[0]);
	my $loads = () = $t->error_log =~ /idempotency-secret" loaded again/g;
	my $workers = $t->workers;
	return wait_until(10, sub { (() = $t->error_log =~ /idempotency-secret" loaded again/g) >= $loads + $workers });
}

# tried under the old one, outcome unknown
my ($lost, $stored) = (key(), key());
$sandbox->fault(POST => '/payments', {drop => 'after'}, 3);
$made = $sandbox->counter('payments_created');
is($t->post('/payments', token => $alice, json => payment(), head_key($lost))->status, 502, 'an answer that is lost');
my @tried = map { unit_key($_) } calls();
is($sandbox->counter('payments_created'), $made + 1, 'of a payment that was made');
$first = $t->post('/payments', token => $alice, json => payment(), head_key($stored));
my ($old) = map { unit_key($_) } calls();
ok(rotate('another secret of more than 32 characters'), 'a new secret');
$r = $t->post('/payments', token => $alice, json => payment(), head_key($lost));
is($r->status, 201, 'the lost one again');
is_deeply([map { unit_key($_) } calls()], [$tried[0]], 'with the key of the first try');
is($sandbox->counter('payments_created'), $made + 2, 'still one payment');
same('what was stored', $first, $t->post('/payments', token => $alice, json => payment(), head_key($stored)));
$t->post('/payments', token => $service, json => payment(), head_key('brand new'));
my ($new) = map { unit_key($_) } calls();
ok(rotate($secret), 'the old secret again');
ok($t->reload, 'and a reload');
my $g = $t->post('/payments', token => $service, json => payment(), head_key('brand new'));
is($g->header('Idempotency-Replayed'), 'true', 'what was made in between is known');
($there) = other(idempotency_secret => 'another secret of more than 32 characters');
is(scalar(grep { $_ eq $here } $there), 0, 'new keys are derived with the new secret');

# a file that is no good changes nothing
for my $bad ("short\n", 'x' x 300, "two secrets of more than 32 characters\ntwo secrets of more than 32 characters\n") {
	$t->logs->mark;
	$t->write_file('idempotency-secret', $bad);
	ok(wait_until(10, sub { (() = $t->error_log =~ /idempotency-secret" (?:does not hold|holds more)/g) >= $t->workers }), 'a bad file is said to be one');
}
same('and the last good secret counts', $first, $t->post('/payments', token => $alice, json => payment(), head_key($stored)));
unlike($t->error_log, qr/two secrets/, 'no secret in a log');

$t->done;
