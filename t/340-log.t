#!/usr/bin/perl

# What the logs say, and what they never do. The access log that conf/ ships has
# one JSON object per request, whatever a client sends, with the documented
# fields; no log, at any level but debug, holds a token, a code, a query, a body
# or what is in one. Holds P36 and P37: secrets, and clients that write lines.

use strict;
use warnings;
no warnings 'qw';

use JSON::PP ();
use Test::More;
use UnitGateway;
use UnitGateway::Process qw(wait_until);

my $t = UnitGateway->new(http2 => 1, log_level => 'info', partners => {
	lookup => {issuer => 'https://lookup.example.test/', customer => 'lookup'},
});
$t->start;

my $json = JSON::PP->new->utf8->canonical;
my $n = 0;

# One request and its line in the log.
sub logged {
	my ($method, $target, %o) = @_;
	my $id = sprintf 'a-request-%010d', ++$n;
	my $r = $t->request($method, $target, %o, headers => ['X-Request-Id' => $id, @{$o{headers} // []}]);
	my $line = $t->logs->wait_access(sub { $_->{request_id} eq $id }) // {};
	return ($line, $r);
}

my @fields = sort qw(time request_id client connection protocol method operation decision status partner subject customer scope token idempotency limit attempts
	request_time request_bytes response_bytes upstream_status upstream_time);

sub line {
	my ($name, $wanted, $method, $target, %o) = @_;
	my ($line, $r) = logged($method, $target, %o);
	is_deeply([sort keys %$line], \@fields, "$name: the fields") or diag explain $line;
	is_deeply({map { $_ => $line->{$_} } keys %$wanted}, $wanted, $name) or diag $r->body;
	is($line->{status}, $r->status, "$name: the status");
	return $line;
}

# -- what each request was ----------------------------------------------------------------

my %alice = (partner => 'app', subject => 'alice', customer => '10001');
line('the first', {%alice, method => 'GET', operation => 'list-accounts', decision => 'allowed', scope => 'accounts', token => 'minted', attempts => '1', upstream_status => '200',
	client => '127.0.0.1', protocol => 'HTTP/1.1'}, GET => '/accounts?page[limit]=5', as => 'alice');
line('the second', {%alice, operation => 'list-accounts', token => 'hit', decision => 'allowed'}, GET => '/accounts', as => 'alice');
line('no token', {decision => 'token_missing', partner => '', subject => '', customer => '', operation => '', scope => '', token => 'none', attempts => '0', upstream_status => ''}, GET => '/accounts');
line('a bad one', {decision => 'token_invalid', partner => '', subject => '', customer => ''}, GET => '/accounts', token => 'a.b.c');
line('an expired one', {decision => 'token_invalid', partner => '', subject => '', customer => ''}, GET => '/accounts', token => $t->jwt(sub => 'alice', exp => -100));
line('an unknown operation', {%alice, customer => '', decision => 'unknown_operation', operation => ''}, GET => '/no/such/thing', as => 'alice');
line('another method', {decision => 'method_not_allowed', method => 'DELETE'}, DELETE => '/accounts', as => 'alice');
line('a foreign customer', {%alice, decision => 'customer_mismatch', attempts => '0'}, GET => '/customers/10002', as => 'alice');
line('for back ends', {%alice, decision => 'operation_not_allowed', operation => 'list-webhooks', token => 'none'}, GET => '/webhooks', as => 'alice');
line('a second factor', {%alice, decision => 'two_factor_required', operation => 'create-book-payment', scope => 'payments-write'}, POST => '/payments', as => 'alice', json => {data => {type => 'bookPayment'}});
line('a bad body', {%alice, decision => 'invalid_body'}, PATCH => '/customers/me', as => 'alice', type => 'application/json', body => 'x');
line('card data', {decision => 'pci_route_blocked'}, GET => '/cards/1101/secure-data/pan', as => 'alice');
line('a lookup', {partner => 'lookup', subject => 'bob', customer => '10002', decision => 'allowed'}, GET => '/accounts',
	token => $t->jwt(sub => 'bob', claims => {iss => 'https://lookup.example.test/'}, without => ['unitCustomerId']));
line("nginx's own", {decision => 'unknown_operation', status => '404'}, GET => '/_unit/x', as => 'alice');
$t->sandbox->fault(GET => '/accounts/1001', {status => 500, body => '{"errors":[]}'}, 10);
my $line = line('an error of Unit', {%alice, decision => 'allowed', status => '500', operation => 'get-account'}, GET => '/accounts/1001', as => 'alice');
like($line->{attempts}, qr/\A[1-3]\z/, 'attempts');
$t->sandbox->clear_faults;
$t->sandbox->revoke('10001');
line('a token of Unit that was revoked', {%alice, decision => 'allowed', status => '200', attempts => '2'}, GET => '/accounts/1001', as => 'alice');
is($t->h2(GET => '/accounts', as => 'alice')->status, 200, 'HTTP/2');
ok($t->logs->wait_access(sub { $_->{protocol} eq 'HTTP/2.0' && $_->{decision} eq 'allowed' }), 'is logged, too');

# -- lines are JSON whatever comes ---------------------------------------------------------------

for my $bytes ("NONSENSE\r\n\r\n", "GET /\"\\x22\xff HTTP/1.1\r\n\r\n", "GET /accounts HTTP/1.1\r\nHost: \"a\"\r\n\r\n", "\"'\\ / HTTP/1.1\r\n\r\n", "GET / HTTP/9.9\r\n\r\n", "GET /accounts\r\n", "\x16\x03\x01\xff\r\n\r\n", '') {
	my $client = $t->connect;
	$client->send($bytes);
	eval { $client->response(cut => 1) } if length $bytes;
	$client->close;
}
my @strange = ('quote"inside', "back\\slash", "new\x{2028}line", 'curly{"a":1}', '</script>', "\x{e9}l\x{e8}ve", 'x' x 255, "tab and ' quote");
for my $subject (@strange) {
	my $payload = JSON::PP->new->utf8->encode({iss => 'https://idp.example.test/', aud => 'unit-gateway', sub => $subject, exp => time + 600, unitCustomerId => '10001'});
	my ($line) = logged(GET => '/accounts', token => $t->jwt(raw_payload => $payload));
	is($line->{subject}, $subject, 'the subject as it is: ' . substr $subject =~ s/[^ -~]/?/gr, 0, 20);
}
for my $id ('short', 'x' x 65, 'with"quote-0123456789', "with space 0123456789", 'under_score_0123456789', '0123456789abcde', "tab\t0123456789abcdef") {
	my $r = $t->get('/accounts', headers => ['X-Request-Id' => $id]);
	like($r->header('X-Request-Id'), qr/\A[0-9a-f]{32}\z/, 'a request id of our own instead of ' . substr $id, 0, 10);
}
for my $id ('0123456789abcdef', 'A' x 64, '01234567-89ab-CDEF') {
	is($t->get('/accounts', headers => ['X-Request-Id' => $id])->header('X-Request-Id'), $id, "the client's request id");
}
ok(eval { my @all = $t->logs->access; @all > 30 }, 'each line is a JSON object') or diag $@;
for my $line ($t->logs->access) {
	next if "@{[sort keys %$line]}" eq "@fields";
	fail('a line with other fields');
	diag explain $line;
}

# -- what is in no log ---------------------------------------------------------------------------------

# marked values, wherever a client or Unit can put one
my $secret = 'Secret0Marker';
my $org = $t->read_file('org-token') =~ s/\s//gr;
my @tokens = map { $t->jwt(sub => 'alice', claims => {sid => "log-$_", ssn => "${secret}Claim"}) } 1 .. 4;
my @headers = ("X-Secret" => "${secret}Header", Cookie => "session=${secret}Cookie", 'User-Agent' => "${secret}Agent", Referer => "https://x/${secret}Referer", 'Idempotency-Key' => "${secret}Key");
my $body = {data => {type => 'individualCustomer', attributes => {ssn => "${secret}Ssn", tags => {a => "${secret}Body"}}}};

for my $token (@tokens) {
	$t->get("/accounts?filter[search]=${secret}Query", token => $token, headers => \@headers);
	$t->patch("/customers/me?x=${secret}Query", token => $token, headers => \@headers, json => $body);
	$t->patch("/customers/me", token => $token, headers => \@headers, json => {data => {type => 'individualCustomer', attributes => {phone => "${secret}Body"}}});
	$t->post('/payments', token => $token, headers => \@headers, json => {data => {type => "${secret}Type"}});
	$t->get("/customers/${secret}Customer?filter[customerId]=${secret}Query", token => $token, headers => \@headers);
	$t->get('/accounts', token => $token, headers => ['Unit-Customer' => "${secret}Customer", @headers]);
}
# refusals by what is wrong with the token
$t->get('/accounts', token => $_) for $tokens[0] . 'x', substr($tokens[0], 0, -10), $t->jwt(key => 'evil'), $t->jwt(alg => 'none'), $t->jwt(exp => -1000), "${secret}.Token.x", 'x' x 9000;
$t->get('/accounts', headers => [Authorization => "Basic ${secret}Basic"]);
# bodies that are refused
$t->patch('/customers/me', token => $tokens[0], type => 'application/vnd.api+json', body => $_) for qq({"a":"${secret}Body"), qq({"${secret}Body":1,"${secret}Body":2}), "${secret}Body",
	qq({"data":{"Type":"${secret}Body"}});
$t->patch('/customers/me', token => $tokens[0], type => "text/${secret}Type", body => "${secret}Body");
# tokens that cannot be had, and what Unit says about it
my $s = 10;
for my $fault ({status => 500, body => "${secret}Unit"}, {status => 403, body => "{\"errors\":[{\"title\":\"${secret}Unit\"}]}"}, {status => 200, body => "v2.public.${secret}Unit"},
	{status => 201, body => "{\"data\":{\"attributes\":{\"token\":\"${secret}Unit\",\"expiresIn\":\"x\"}}}"}, {drop => 'before'}, {truncate => 30}, {status => 201, headers => {'X-Token' => "${secret}Unit"}, body => '{}'})
{
	$t->sandbox->fault(POST => '/customers/10001/token', $fault);
	$t->get("/accounts?x=${secret}Query", token => $t->jwt(sub => 'alice', claims => {sid => 'log-' . $s++}));
	$t->sandbox->clear_faults;
}
# Unit's own errors about a request
for my $fault ({status => 400, body => "${secret}Unit"}, {drop => 'before'}, {truncate => 5}, {status => 500, body => "${secret}Unit"}) {
	$t->sandbox->fault(PATCH => '/customers/10001', $fault, 3);
	$t->patch("/customers/me?x=${secret}Query", token => $tokens[0], headers => \@headers, json => $body, cut => 1);
	$t->sandbox->clear_faults;
}
# the two calls of a second factor
my $start = $t->post('/customers/me/token/verification', token => $tokens[0], json => {data => {type => 'customerTokenVerification', attributes => {channel => 'sms'}}});
my $handle = eval { $start->json->{data}{attributes}{verificationToken} } // '';
isnt($handle, '', 'a verification was started') or diag $start->body;
my $code = $t->sandbox->otp('10001')->{code};
my $grant = $t->post('/customers/me/token', token => $tokens[0], json => {data => {type => 'customerToken', attributes => {
	scope => 'payments-write', verificationToken => $handle, verificationCode => "$code",
}}});
is($grant->status, 201, 'and completed') or diag $grant->body;
my @granted = map { /"token"\s*:\s*"([^"]{20,})"/g } map { $_->{response} // '' } $t->sandbox->journal;

# an upload that is too large for nginx itself, before any phase of ours but one
$t->post("/accounts?x=${secret}Query", token => $tokens[0], headers => ['Content-Length' => 99_999_999, @headers]);

# last of all: everything so far is in the logs when this line is
ok((logged(GET => '/accounts/1001', as => 'alice'))[0]{time}, 'the last line');
my $error = $t->error_log;
my $access = UnitGateway::slurp($t->dir . '/logs/access.log');
cmp_ok(() = $error =~ /unit refused: /g, '>', 20, 'refusals are in the error log');
like($error, qr/upstream timed out|upstream prematurely closed|upstream sent/, 'so are errors of the upstream');
like($error, qr/client intended to send too large body.*request: "POST \/accounts HTTP\/1\.1", host: "localhost"$/m, "and of nginx's own");
like($error, qr/\[info\].*unit refused: token_invalid, reason: jwt_signature/, 'with a reason');

for my $o (['a token of a partner', map { (quotemeta, quotemeta((split /\./)[1] // 'x'), quotemeta((split /\./)[2] // 'x')) } @tokens], ['a JWT', 'eyJ[A-Za-z0-9_-]{8,}\.'],
	['a token of Unit', 'v2\.public\.', @granted ? map { quotemeta } @granted : ()], ['the org token', quotemeta $org], ['a handle', quotemeta $handle], ['what Unit said', "${secret}Unit"],
	map({ ["a value of the client's ($_)", $secret . $_] } qw(Body Ssn Type Header Cookie Key Claim Basic Query Agent Referer)))
{
	my ($name, @regexes) = @$o;
	my $regex = join '|', @regexes;
	ok($error !~ /$regex/, "no log has $name: error log") or diag((grep { /$regex/ } split /\n/, $error)[0]);
	ok($access !~ /$regex/, "no log has $name: access log");
}
ok($access !~ /\b\Q$code\E\b/ || $access =~ /"(?:request_bytes|response_bytes|connection)":\Q$code\E\b/, 'no one-time code') or diag $code;
ok(!(grep { /(?<![\d.#*:])\Q$code\E(?![\d#])/ } split /\n/, $error), 'nor in the error log');

$t->logs->secret("${secret}Body", "${secret}Query", "${secret}Ssn", "${secret}Unit", "${secret}Cookie", "${secret}Header", "${secret}Basic", $handle);
$t->done;
