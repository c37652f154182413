#!/usr/bin/perl

# unit_status: that every counter moves when it should, by how much it should,
# and no other one with it, under real traffic; that nothing is counted, and no
# zone made, where nobody asks; that the location can be anywhere in a
# configuration, but not together with another handler, for it lets requests pass
# unchecked; that nothing in the answer is about a person.
#
# P1 (main requests only), P2 (counted once), P6 (bodies), P19 (clients that
# leave), P25 (reload), P26 (a full zone).

use strict;
use warnings;

use Test::More;
use UnitGateway;
use UnitGateway::Process qw(wait_until);
use UnitGateway::Status;
use UnitGateway::TwoFactor qw(begin handle finish step_up other_code);

my $location = UnitGateway::Status::LOCATION;

# -- configuration -----------------------------------------------------------------

my %bad = (
	'twice' => [
		server => 'location = /unit/status { unit_status; unit_status; }',
		qr/"unit_status" directive is duplicate in \S+nginx\.conf:\d+/,
	],
	'with an argument' => [
		server => 'location = /unit/status { unit_status on; }',
		qr/invalid number of arguments in "unit_status" directive in \S+nginx\.conf:\d+/,
	],
	'in a server' => [
		server => 'unit_status;', qr/"unit_status" directive is not allowed here in \S+nginx\.conf:\d+/,
	],
	'in http' => [
		http => 'unit_status;', qr/"unit_status" directive is not allowed here in \S+nginx\.conf:\d+/,
	],
	'after another handler' => [
		location => 'unit_status;',
		qr/"unit_status" directive cannot go together with another handler in \S+nginx\.conf:\d+/,
	],
	'before another handler' => [
		server => 'location /x { unit_gateway on; unit_status; proxy_pass http://unit_api; }',
		qr/"unit_status" cannot go together with another handler, in location "\/x" in \S+nginx\.conf:\d+/,
	],
);
$bad{'without a gateway'} = [
	conf => <<"EOT", qr/"unit_status" needs "unit_zone" in \S+nginx\.conf:\d+/,
@{[$ENV{UNIT_NGINX} ? '' : 'load_module "%%MODULE%%";']}
pid "%%DIR%%/nginx.pid";
error_log "%%DIR%%/logs/error.log";
events { }
http { server { listen 127.0.0.1:%%PORT%%; $location } }
EOT
];

my $b = UnitGateway->new(sandbox => 0);
for my $name (sort keys %bad) {
	my ($where, $text, $error) = @{$bad{$name}};
	$b->configure(server => '', http => '', location => '', conf => undef, $where => $text);
	my ($exit, $said) = $b->test_config;
	isnt($exit, 0, "$name: refused");
	like($said, $error, "$name: and why");
}
$b->stop;

# -- nothing without it --------------------------------------------------------------

my $t = UnitGateway->new(
	limits => '', http => 'log_subrequest on;', http2 => 1,
	partners => {other => {issuer => 'https://other.example.test/', jwks => undef, jwks_request => '/_jwks'}},
	server => 'location = /_jwks { proxy_pass http://127.0.0.1:%%PORT_KEYS%%/jwks.json; include "%%ROOT%%/conf/unit_broker.conf"; }',
	servers => 'server { listen 127.0.0.1:%%PORT_KEYS%%; root "%%DIR%%"; }',
)->start;
my $sandbox = $t->sandbox;
my $s = UnitGateway::Status->new($t);
my @alice = (as => 'alice');
my @bob = (as => 'bob');

sub zones { my ($pid) = $t->workers; return scalar(() = UnitGateway::slurp("/proc/$pid/maps") =~ /rw-s/g) }

is($t->get('/accounts', @alice)->status, 200, 'without unit_status');
is($t->get('/unit/status', @alice)->status, 404, 'there is no status');
my $zones = zones();

$t->configure(
	server => $t->{o}{server} . $location . 'location = /closed { unit_status; deny all; }',
	location => 'location = /inside { unit_status; }',
);
ok($t->reload, 'a reload brings it');
is(zones(), $zones + 1, 'and a zone for it');
is($s->json->{requests}{total}, 0, 'what was before is not counted');

# -- the location --------------------------------------------------------------------

my $r = $t->get('/unit/status');
is($r->status, 200, 'it answers');
is($r->header('Content-Type'), 'application/json', 'JSON');
is($r->header('Cache-Control'), 'no-store', 'not to be kept');
my $length = $r->header('Content-Length');
is($length, length $r->body, 'as long as it says');
is($t->get('/unit/status?format=json')->header('Content-Type'), 'application/json', 'JSON by name');
is($t->get('/inside')->status, 200, 'also inside of a gateway location, without a token');
is($t->h2(GET => '/unit/status')->status, 200, 'over HTTP/2');
$r = $t->head('/unit/status');
is($r->status, 200, 'HEAD');
cmp_ok($r->header('Content-Length'), '>=', $length, 'is told the length');
is($t->get('/closed')->status, 403, 'allow and deny hold');
for my $format ('', 'prometheu', 'prometheus2', 'JSON', 'xml', '%6ason') {
	$r = $t->get("/unit/status?format=$format");
	is($r->status . ' ' . $r->code, '400 invalid_request', "format \"$format\"");
}
for my $method (qw(POST PUT DELETE OPTIONS)) {
	my $client = $t->connect;
	$client->send($t->bytes($method, '/unit/status', body => 'x' x 1000) . $t->bytes(GET => '/unit/status'));
	$r = $client->response;
	is($r->status . ' ' . $r->code . ' ' . $r->header('Allow'), '405 method_not_allowed GET, HEAD', $method);
	is($client->response->status, 200, 'its body is no request');
	$client->close;
}
is_deeply(
	$s->counters, {'requests.total' => 1, 'requests.decisions.operation_not_allowed' => 1, 'operations.unknown.operation_not_allowed' => 1},
	'none of this is counted, but nginx\'s own 403'
);

# -- requests --------------------------------------------------------------------------

# the counters of one request
sub one {
	my ($operation, $decision, %more) = @_;
	return {'requests.total' => 1, "requests.decisions.$decision" => 1, "operations.$operation.$decision" => 1, %more};
}

sub of_unit { my ($class, $n, $kind) = @_; $kind //= 'upstream'; return ("$kind.attempts" => $n, "$kind.responses.$class" => $n) }

sub moves {
	my ($name, $expected, $code) = @_;
	my $moved = $s->moves($expected, $code);
	is_deeply($moved, $expected, $name) or diag explain $moved;
}

sub get { my ($status, @o) = @_; is($t->get(@o)->status, $status, "GET $o[0]: $status") }

my %minted = ('tokens.minted' => 1, 'tokens.calls' => 1, of_unit('2xx', 1, 'broker'));
my %hit = ('tokens.hit' => 1, of_unit('2xx', 1));

moves('a mint', one('list-customers', 'ok', %minted, of_unit('2xx', 1)), sub { get(200, '/customers', @alice) });
moves('a hit', one('list-customers', 'ok', %hit), sub { get(200, '/customers', @alice) });
moves('HEAD', one('list-customers', 'ok', %hit), sub { $t->head('/customers', @alice) });
moves('an answer 404 of Unit', one('get-account', 'ok', 'tokens.hit' => 1, of_unit('4xx', 1)), sub { get(404, '/accounts/9999', @alice) });
moves('no token', one('unknown', 'token_missing'), sub { get(401, '/accounts') });
moves('a bad one', one('unknown', 'token_invalid'), sub { get(401, '/accounts', token => 'x.y.z') });
moves('no such operation', one('unknown', 'unknown_operation'), sub { get(404, '/nope', @alice) });
moves('no such method', one('unknown', 'method_not_allowed'), sub { is($t->delete('/accounts', @alice)->status, 405, 'DELETE') });
moves('a bad path', one('unknown', 'invalid_uri'), sub { get(400, '/accounts%2f1', @alice) });
moves('card data', one('unknown', 'pci_route_blocked'), sub { get(403, '/cards/1101/secure-data/pan', @alice) });
moves("somebody else's", one('unknown', 'customer_mismatch'), sub { get(403, '/customers/10002', @alice) });
moves('a second factor is missing', one('create-book-payment', 'two_factor_required', 'idempotency.generated' => 1), sub {
	is($t->post('/payments', @alice, json => payment())->status, 401, 'POST /payments');
});

sub payment {
	my ($amount) = @_;
	return {data => {
		type => 'bookPayment', attributes => {amount => $amount // 100, description => 'x'},
		relationships => {
			account => {data => {type => 'depositAccount', id => '1001'}},
			counterpartyAccount => {data => {type => 'depositAccount', id => '1002'}},
		},
	}};
}

# what does not come back is no answer, whatever becomes of the request
$sandbox->fault(GET => '/customers', {status => 503, body => '{}', headers => {}});
moves('a retry', one('list-customers', 'ok', 'tokens.hit' => 1, 'upstream.attempts' => 2, 'upstream.retries' => 1,
	'upstream.responses.5xx' => 1, 'upstream.responses.2xx' => 1), sub { get(200, '/customers', @alice) });
$sandbox->fault(GET => '/customers', {drop => 'before'});
moves('no answer', one('list-customers', 'ok', 'tokens.hit' => 1, 'upstream.attempts' => 2, 'upstream.retries' => 1,
	'upstream.responses.none' => 1, 'upstream.responses.2xx' => 1), sub { get(200, '/customers', @alice) });
$sandbox->clear_faults;
$sandbox->revoke(10001);
moves('a token that Unit has revoked', one('list-customers', 'ok', %minted, 'upstream.attempts' => 2, 'upstream.retries' => 1,
	'upstream.responses.4xx' => 1, 'upstream.responses.2xx' => 1), sub { get(200, '/customers', @alice) });

$sandbox->fault(POST => '/customers/10002/token', {status => 500, body => '{}'});
moves('a mint that fails', one('list-customers', 'upstream_unavailable', 'tokens.refused' => 1, 'tokens.calls' => 1,
	'tokens.failed' => 1, of_unit('5xx', 1, 'broker')), sub { get(502, '/customers', @bob) });
$sandbox->fault(POST => '/customers/10002/token', {delay_ms => 300});
moves('one waits for the other', {'requests.total' => 2, 'requests.decisions.ok' => 2, 'operations.list-customers.ok' => 2,
	%minted, 'tokens.waited' => 1, of_unit('2xx', 2)}, sub { $t->many([($t->bytes(GET => '/customers', @bob)) x 2]) });
my ($third) = $sandbox->customers(1);
my @third = (token => $t->jwt(sub => $third->{subject}, claims => {unitCustomerId => "$third->{customerId}"}));
$sandbox->fault(POST => "/customers/$third->{customerId}/token", {delay_ms => 300});
moves('a client that leaves', {'requests.total' => 2, 'requests.decisions.ok' => 1, 'requests.decisions.undecided' => 1,
	'operations.list-customers.ok' => 1, 'operations.list-customers.undecided' => 1, %minted, of_unit('2xx', 1)}, sub {
	my ($first, $second) = map { $t->connect } 1 .. 2;
	$first->send($t->bytes(GET => '/customers', @third));
	ok(wait_until(5, sub { $s->json->{zone}[0]{leases} }), 'a token is being made');
	$second->send($t->bytes(GET => '/customers', @third));
	$s->json;
	$second->close;
	is($first->response->status, 200, 'and serves who has stayed');
	$first->close;
});

# -- two-factor ------------------------------------------------------------------------

moves('a second factor', {'requests.total' => 2, 'requests.decisions.ok' => 2, 'operations.create-customer-token-verification.ok' => 1,
	'operations.create-customer-token-2fa.ok' => 1, 'verifications.started' => 1, 'verifications.verified' => 1, of_unit('2xx', 2, 'broker')},
	sub { is(step_up($t, \@alice, 10001, 'payments-write')->status, 201, 'verified') });

my $handle = handle($t, \@bob);
my $code = $sandbox->otp(10002)->{code};
sub try { my ($code) = @_; is(finish($t, \@bob, scope => 'cards-write', verificationToken => $handle, verificationCode => $code)->status, 403, 'refused') }
sub failed { return one('create-customer-token-2fa', 'verification_failed', @_) }

moves('the code of the sandbox', failed('verifications.wrong_code' => 1), sub { try('000001') });
moves('a wrong code', failed('verifications.wrong_code' => 1, of_unit('4xx', 1, 'broker')), sub { try(other_code($code, $_)) }) for 1 .. 3;
moves('the last one', failed('verifications.wrong_code' => 1, 'verifications.locked' => 1, of_unit('4xx', 1, 'broker')), sub { try(other_code($code, 4)) });
moves('one too many', failed('verifications.expired' => 1), sub { try($code) });
begin($t, \@bob) for 1 .. 2;
moves('too many starts', one('create-customer-token-verification', 'two_factor_limited', 'verifications.limited' => 1), sub {
	is(begin($t, \@bob)->status, 429, 'refused');
});

# -- idempotency -----------------------------------------------------------------------

sub pay { my ($status, $key, $amount) = @_; is($t->post('/payments', @alice, json => payment($amount), $key ? (headers => ['Idempotency-Key' => $key]) : ())->status, $status, "POST /payments: $status") }

my @book = ('create-book-payment', 'ok', 'tokens.hit' => 1, of_unit('2xx', 1));
moves('a write without a key', one(@book, 'idempotency.generated' => 1), sub { pay(201) });
moves('with a key', one(@book, 'idempotency.stored' => 1), sub { pay(201, 'key') });
moves('once more', one('create-book-payment', 'ok', 'tokens.hit' => 1, 'idempotency.replayed' => 1), sub { pay(201, 'key') });
moves('another one', one('create-book-payment', 'idempotency_key_reused', 'idempotency.conflict' => 1), sub { pay(422, 'key', 2) });
is($s->json->{zone}[0]{records}, 1, 'one record');

# -- key sets --------------------------------------------------------------------------

my ($app, $other) = @{$s->json->{keys}};
sub keys_of { my ($n) = @_; my $k = $s->json->{keys}[$n]; return join ' ', map { $k->{$_} } qw(partner source keys failing) }
is(keys_of(0), 'app file 1 0', 'keys of a file');
like($app->{age}, qr/\A\d+\z/, 'and their age');
is_deeply($other, {partner => 'other', source => 'uri', keys => 0, age => undef, failures => 0, failing => 0}, 'a remote set that nobody has needed');
my @other = (token => $t->jwt(sub => 'alice', claims => {iss => 'https://other.example.test/'}));
moves('a remote set', one('list-customers', 'ok', %minted, of_unit('2xx', 1), of_unit('2xx', 1, 'key_server')), sub { get(200, '/customers', @other) });
$other = $s->json->{keys}[1];
is($other->{keys}, 1, 'is there');
like($other->{age}, qr/\A[0-5]\z/, 'and new');
$t->write_file('jwks.json', '{');
ok(wait_until(10, sub { keys_of(0) eq 'app file 1 1' }), 'a bad version leaves the last good one in force');
is($s->json->{keys}[0]{failures}, 1, 'and is counted');
$t->write_file('jwks.json', $t->jwks('dev', 'second'));
ok(wait_until(10, sub { keys_of(0) eq 'app file 2 0' }), 'a good one is in force');
is($s->json->{keys}[0]{failures}, 1, 'failures are not forgotten');

# -- what is not in it -----------------------------------------------------------------

my $text = $t->get('/unit/status')->body . $t->get('/unit/status?format=prometheus')->body;
unlike($text, qr/$_/, "no $_ in it") for qw(alice bob 1000[12] eyJ v2\.public idp\.example 127\.0\.0 /customers);
is($s->json->{workers}, 1, 'a worker');
cmp_ok(abs($s->json->{time} - time), '<=', 2, 'the time');
cmp_ok($s->json->{since}, '<=', time, 'since when');

$t->done;
