#!/usr/bin/perl

# HTTP itself, on raw sockets: where one request ends and the next one begins,
# after our own refusals above all; Expect, chunks, smuggling, HTTP/2, HTTP/1.0,
# methods; nginx's own errors, which are documents too; clients that leave at
# the wrong moment. Holds P5 and P19 (a client leaves while a token is created),
# P6 (an unread body is no request), P10, P11 (100 Continue), P13.

use strict;
use warnings;
no warnings 'qw';

use JSON::PP ();
use Test::More;
use UnitGateway;
use UnitGateway::Process qw(wait_until);

my $t = UnitGateway->new(http2 => 1, http => <<'EOT');
    client_header_timeout 1s;
    client_body_timeout 1s;
    lingering_time 2s;
    lingering_timeout 1s;
EOT
$t->start;
my ($worker) = $t->workers;

my $json = JSON::PP->new->utf8->canonical;
my $mark = $t->sandbox->mark;
my $trap = "GET /smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n";
my %alice = (as => 'alice');
my %patch = (as => 'alice', json => {data => {type => 'individualCustomer', attributes => {tags => {}}}});

sub calls {
	my @all = $t->sandbox->journal($mark);
	$mark = $all[-1]{n} if @all;
	return map { "$_->{method} $_->{path}" } grep { $_->{path} !~ /token\z/ } @all;
}

# A document of ours, whoever made the error.
sub document {
	my ($name, $r, $status, $code) = @_;
	my $data = eval { $r->json } // {};
	my $e = ref $data->{errors} eq 'ARRAY' ? $data->{errors}[0] : {};
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	ok($r->status == $status && ($e->{code} // '') =~ /\A$code\z/ && $e->{status} eq $status && "@{[sort keys %$e]}" eq 'code detail id status title'
		&& $r->header('Content-Type') eq 'application/vnd.api+json' && $r->header('X-Request-Id') eq $e->{id} && $r->header('Cache-Control') eq 'no-store'
		&& ($r->header('Server') // 'nginx') eq 'nginx', "$name: $status $code") or diag $r->head, $r->body;
}

# ------------------------------------------------------------------------------------
# keep-alive: a refusal, its body, and the next request

my $scope = $t->jwt(sub => 'alice', claims => {unitRole => 'ReadOnly'});
my @refusals = (
	['401 token_missing', 'POST', '/accounts'], ['401 token_invalid', 'POST', '/accounts', token => 'a.b.c'], ['403 insufficient_scope', 'POST', '/accounts', token => $scope],
	['403 customer_mismatch', 'PATCH', '/customers/10002', %alice], ['403 pci_route_blocked', 'POST', '/cards/1101/activate', %alice],
	['403 operation_not_allowed', 'POST', '/webhooks', %alice], ['404 unknown_operation', 'POST', '/nothing', %alice], ['405 method_not_allowed', 'PUT', '/accounts', %alice],
	['405 method_not_allowed', 'OPTIONS', '/accounts'], ['415 unsupported_media_type', 'PATCH', '/customers/me', %alice, type => 'text/plain'],
	['400 invalid_body', 'PATCH', '/customers/me', %alice, type => 'application/vnd.api+json'], ['400 invalid_uri', 'POST', '/accounts/%2e%2e', %alice],
	['403 customer_mismatch', 'POST', '/accounts?filter[customerId]=1', %alice], ['404 unknown_operation', 'POST', '/_unit/api/x', %alice],
	['404 unknown_operation', 'POST', '/_sandbox/reset', %alice],
);

for my $refusal (@refusals) {
	my ($wanted, $method, $target, %o) = @$refusal;
	my ($status, $code) = split / /, $wanted;
	for my $form (['at once', body => $trap], ['in chunks', chunked => [$trap, $trap]], ['large', body => $trap x 6000], ['late', body => $trap, late => 1], ['large and late', body => $trap x 6000, late => 1]) {
		my ($how, %f) = @$form;
		my $name = "$wanted for $method $target, a body $how";
		my $late = delete $f{late};
		my $bytes = $t->bytes($method, $target, %o, %f);
		my $next = $t->bytes(GET => '/accounts/1001', %alice, headers => ['X-Request-Id' => 'the-next-request-1']);
		my $client = $t->connect;
		my ($first, $second);
		# a body that is needed is waited for
		if ($late && $code !~ /body/) {
			my $at = index($bytes, "\r\n\r\n") + 4;
			$client->send(substr $bytes, 0, $at);
			$first = $client->response;
			$client->send(substr($bytes, $at) . $next);
		}
		else {
			$client->send($bytes . $next);
			$first = $client->response;
		}
		is($first->status . ' ' . $first->code, $wanted, $name) or diag $first->body;
		if (($first->header('Connection') // '') eq 'close') {
			ok($status == 400 && $code ne 'invalid_body' || $status == 413, "$name: may close") or diag $first->head;
			ok($client->closed, "$name: closed, and not a byte more");
		}
		else {
			$second = $client->response;
			is($second->status . ' ' . $second->header('X-Request-Id'), '200 the-next-request-1', "$name: then the next");
			is($client->unread, '', "$name: and nothing else");
		}
		$client->close;
	}
}
is_deeply([grep { $_ ne 'GET /accounts/1001' } calls()], [], 'no body was taken for a request');
is(scalar(grep { /smuggled/ } split /\n/, $t->error_log), 0, 'nor seen as one');

# ------------------------------------------------------------------------------------
# pipelining

my $client = $t->connect;
my @targets = map { $_ % 3 ? '/accounts/1001' : '/nothing' } 1 .. 30;
$client->send(join '', map { $t->bytes(GET => $targets[$_], %alice, headers => ['X-Request-Id' => sprintf 'pipelined-%09d', $_]) } 0 .. $#targets);
my @got = map { my $r = $client->response; $r->status . ' ' . $r->header('X-Request-Id') } @targets;
is_deeply(\@got, [map { ($targets[$_] eq '/nothing' ? 404 : 200) . sprintf ' pipelined-%09d', $_ } 0 .. $#targets], '30 requests in one go are answered in their order');
$client->send($t->bytes(PATCH => '/customers/me', %patch) . $t->bytes(PATCH => '/customers/me', %patch, json => undef, type => 'application/vnd.api+json', chunked => ['{"data":', '{}}'])
	. $t->bytes(PATCH => '/customers/me', %patch) . $t->bytes(GET => '/accounts', token => $t->jwt(sub => 'alice', claims => {sid => 'pipelined'})) . $t->bytes(GET => '/nothing', %alice));
is(join(' ', map { $client->response->status } 1 .. 5), '200 403 200 200 404', 'with bodies that are read, and with a token that is created');
$client->close;

# ------------------------------------------------------------------------------------
# Expect

sub expecting {
	my ($method, $target, %o) = @_;
	my $bytes = $t->bytes($method, $target, %o, headers => ['Expect' => '100-continue', @{$o{headers} // []}]);
	my $client = $t->connect;
	my $at = index($bytes, "\r\n\r\n") + 4;
	$client->send(substr $bytes, 0, $at);
	return ($client, substr $bytes, $at);
}

for my $refusal (grep { $_->[0] !~ /invalid_body/ } @refusals) {
	my ($wanted, $method, $target, %o) = @$refusal;
	my ($client) = expecting($method, $target, %o, body => 'x' x 1000);
	my $r = $client->response;
	is($r->status . ' ' . $r->code . ' ' . scalar $r->interim, "$wanted 0", "Expect: $wanted without 100 Continue");
	$client->close;
}
my ($waiting) = expecting('PATCH', '/customers/me', %alice, type => 'application/vnd.api+json', headers => ['Content-Length' => 2_000_000]);
my $r = $waiting->response;
document('Expect: a length that is too large', $r, 413, 'body_too_large');
is(scalar $r->interim, 0, 'without 100 Continue');
$waiting->close;

for my $o (['PATCH', '/customers/me', %patch], ['PATCH', '/customers/me', as => 'alice', type => 'application/vnd.api+json', chunked => ['{"data":{"type":"individualCustomer","attributes":{"tags":{}}}}']],
	['POST', '/events/1801', as => 'alice', json => {}])
{
	my ($client, $body) = expecting(@$o);
	ok($client->readable && $client->unread =~ m{\AHTTP/1\.1 100 Continue\r\n\r\n\z}, "Expect: $o->[0] $o->[1]: the body is asked for") or diag $client->unread;
	$client->send($body);
	my $r = $client->response;
	is($r->status . ' ' . scalar $r->interim, ($o->[1] =~ /events/ ? $r->status : 200) . ' 1', 'and taken');
	$client->close;
}

# ------------------------------------------------------------------------------------
# chunks

sub chunked {
	my ($name, $wanted, $body, %o) = @_;
	my $client = $t->connect;
	$client->send("PATCH /customers/me HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer " . $t->jwt(sub => 'alice')
		. "\r\nContent-Type: application/vnd.api+json\r\nTransfer-Encoding: chunked\r\n\r\n$body");
	$client->shutdown_write if $o{end};
	my $r = $client->response;
	is($r->status . ' ' . $r->code, $wanted, "chunks: $name") or diag $r->body;
	$client->close;
}

my $text = $json->encode($patch{json});
my $size = sprintf '%x', length $text;
my @calls = calls();
chunked('one', '200 ', "$size\r\n$text\r\n0\r\n\r\n");
chunked('capitals and leading zeros', '200 ', '000' . uc($size) . "\r\n$text\r\n000\r\n\r\n");
chunked('an extension', '200 ', "$size;name=value\r\n$text\r\n0;x\r\n\r\n");
chunked('a trailer', '200 ', "$size\r\n$text\r\n0\r\nX-Trailer: x\r\nAuthorization: Bearer x\r\n\r\n");
chunked('one for each byte', '200 ', join('', map { "1\r\n$_\r\n" } split //, $text) . "0\r\n\r\n");
is(scalar(@calls = calls()), 5, 'were sent on');
chunked('none', '400 invalid_body', "0\r\n\r\n");
chunked('a size that is none', '400 invalid_request', "zz\r\n$text\r\n0\r\n\r\n");
chunked('a negative size', '400 invalid_request', "-1\r\n$text\r\n0\r\n\r\n");
chunked('a size with 0x', '400 invalid_request', "0x$size\r\n$text\r\n0\r\n\r\n");
chunked('a size that overflows', '400 invalid_request', "fffffffffffffffff\r\n$text\r\n0\r\n\r\n");
chunked('a huge one', '413 body_too_large', "7fffffffffffff\r\n$text\r\n0\r\n\r\n");
chunked('a size that is too small', '400 invalid_request', "2\r\n$text\r\n0\r\n\r\n");
chunked('no size', '400 invalid_request', "\r\n$text\r\n0\r\n\r\n");
is_deeply([calls()], [], 'were not');

# ------------------------------------------------------------------------------------
# smuggling

my $bearer = 'Authorization: Bearer ' . $t->jwt(sub => 'alice');
my $length = length $text;

# Whatever is said of it, the second request is not one: at most the first
# reaches Unit, and then as it was authorised.
sub smuggle {
	my ($name, $status, $head, $body) = @_;
	my $client = $t->connect;
	$client->send("PATCH /customers/me HTTP/1.1\r\nHost: localhost\r\n$bearer\r\nContent-Type: application/vnd.api+json\r\n$head\r\n\r\n$body");
	my $r = $client->response;
	like($r->status, qr/\A(?:$status)\z/, "smuggling: $name") or diag $r->head, $r->body;
	is($r->header('Content-Type'), 'application/vnd.api+json', 'a document');
	ok($client->closed || $client->unread !~ /\AHTTP/, 'and no second answer') or diag $client->unread;
	is_deeply([calls()], [], 'nothing reached Unit');
	$client->close;
}

smuggle('both lengths', 400, "Content-Length: $length\r\nTransfer-Encoding: chunked", "0\r\n\r\n$trap");
smuggle('both lengths, the other way round', 400, "Transfer-Encoding: chunked\r\nContent-Length: 4", "$size\r\n$text\r\n0\r\n\r\n$trap");
smuggle('two lengths', 400, "Content-Length: $length\r\nContent-Length: 0", "$text$trap");
smuggle('two equal lengths', 400, "Content-Length: $length\r\nContent-Length: $length", "$text$trap");
smuggle("length $_", 400, "Content-Length: $_", "$text$trap") for "+$length", "-$length", "0x$length", "$length,$length", "$length $length", "${length}x", '', '99999999999999999999', "\x0b$length";
smuggle("coding $_", '400|501', "Transfer-Encoding: $_", "0\r\n\r\n$trap") for 'gzip', 'identity', 'xchunked', 'chunked, identity', 'gzip, chunked', 'chunked, chunked', 'chunked;x', 'chunked x', '';
smuggle('two codings', '400|501', "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked", "0\r\n\r\n$trap");
smuggle('chunked twice', '400|501', "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", "0\r\n\r\n$trap");
smuggle("a header $_->[0]", 400, $_->[1], "0\r\n\r\n$trap") for ['with a blank before the colon', 'Transfer-Encoding : chunked'], ['with a tab before the colon', "Transfer-Encoding\t: chunked"],
	['that is folded', "X: y\r\n Transfer-Encoding: chunked"], ['that begins with a blank', ' Transfer-Encoding: chunked'], ['with NUL in its name', "Transfer-\0Encoding: chunked"],
	['with NUL in its value', "X: y\0z"], ['with a return in its name', "X\rTransfer-Encoding: chunked"], ['without a name', ': chunked'];
smuggle('two hosts', 400, "Host: evil.example\r\nContent-Length: 0", $trap);

$client = $t->connect;
$client->send("POST /accounts HTTP/1.0\r\n$bearer\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n$trap");
is($client->response->status, 400, 'smuggling: chunks in HTTP/1.0');
ok($client->closed, 'closed');
$client = $t->connect;
$client->send("GET /accounts/1001 HTTP/1.1\r\nHost: localhost\r\n$bearer\r\nContent_Length: 4\r\nTransfer_Encoding: chunked\r\nConnection: close\r\n\r\n");
is($client->response->status, 200, 'other spellings are other headers');
ok($client->closed, 'closed');
is_deeply([calls()], ['GET /accounts/1001'], 'one request');

# a body of a GET belongs to it
$client = $t->connect;
$client->send($t->bytes(GET => '/accounts/1001', %alice, body => $trap) . $t->bytes(GET => '/nothing', %alice));
is(join(' ', map { $client->response->status } 1, 2), '200 404', 'a body of a GET');
is_deeply([calls()], ['GET /accounts/1001'], 'is no request');
$client->close;

# ------------------------------------------------------------------------------------
# methods and versions

my %allow = ('/accounts' => 'GET, HEAD, POST', '/accounts/1001' => 'GET, HEAD, PATCH', '/customers/10001/token' => 'GET, HEAD, POST, DELETE', '/payments/1301/cancel' => 'POST',
	'/check-deposits/1701/front' => 'GET, HEAD, PUT', '/customers/10002/archive' => 'POST', '/cards/1101/secure-data/pan' => 'GET, HEAD');
for my $path (sort keys %allow) {
	for my $method (qw(OPTIONS PROPFIND BREW LOCK M-SEARCH)) {
		my $r = $t->request($method, $path);
		document("$method $path", $r, 405, 'method_not_allowed');
		is($r->header('Allow'), $allow{$path}, 'Allow');
	}
}
$r = $t->request('DELETE', '/accounts', as => 'alice');
is($r->status . ' ' . $r->header('Allow'), '405 GET, HEAD, POST', 'a method of another path');
document('OPTIONS of nothing', $t->request('OPTIONS', '/nothing'), 404, 'unknown_operation');
$r = $t->request('TRACE', '/accounts', as => 'alice', headers => ['X-Secret' => 'value-of-the-header']);
document('TRACE', $r, 405, 'method_not_allowed');
unlike($r->body, qr/value-of-the-header/, 'nothing is echoed');
ok(defined $r->header('Allow'), 'Allow');
for my $line ('CONNECT localhost:80 HTTP/1.1', 'CONNECT /accounts HTTP/1.1') {
	my $client = $t->connect;
	$client->send("$line\r\nHost: localhost\r\n$bearer\r\n\r\n");
	my $r = $client->response;
	like($r->status, qr/\A40[05]\z/, $line);
	is($r->header('Content-Type'), 'application/vnd.api+json', 'a document');
	$client->close;
}
is_deeply([calls()], [], 'nothing of this reached Unit');

my $get = $t->get('/accounts/1001', %alice);
$r = $t->head('/accounts/1001', %alice);
is($r->status . ' ' . length $r->body, '200 0', 'HEAD');
is($r->header('Content-Type'), $get->header('Content-Type'), 'with the headers of GET');
for my $o ([401, '/accounts'], [404, '/nothing', %alice], [403, '/webhooks', %alice], [400, '/accounts/%2e%2e', %alice], [404, '/_unit/x'], [414, '/' . 'x' x 20000]) {
	my ($status, $target, %o) = @$o;
	my $client = $t->connect;
	$client->send($t->bytes(HEAD => $target, %o, close => 1));
	my $r = $client->response(head => 1);
	is($r->status, $status, "HEAD, $status");
	ok($client->closed, 'without a body') or diag $client->unread;
	$client->close;
}
calls();

$client = $t->connect;
$client->send("GET /accounts/1001 HTTP/1.0\r\n$bearer\r\n\r\n");
is($client->response->status, 200, 'HTTP/1.0');
ok($client->closed, 'closes');
$client = $t->connect;
$client->send("GET /accounts/1001 HTTP/1.0\r\n$bearer\r\nConnection: keep-alive\r\n\r\nGET /nothing HTTP/1.0\r\n$bearer\r\n\r\n");
is(join(' ', map { $client->response->status } 1, 2), '200 404', 'and keeps alive when asked to');
ok($client->closed, 'until it is not');
calls();

# ------------------------------------------------------------------------------------
# nginx's own errors

sub own {
	my ($name, $bytes, $status, $code) = @_;
	my $client = $t->connect;
	$client->send($bytes);
	document($name, $client->response, $status, $code);
	$client->close;
}

my $host = "Host: localhost\r\n";
own('a bad request line', "NONSENSE\r\n\r\n", 400, 'invalid_request');
own('a method in small letters', "get / HTTP/1.1\r\n$host\r\n", 400, 'invalid_request');
own('a TLS hello', "\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03" . "\xab" x 100 . "\r\n\r\n", 400, 'invalid_request');
own('no host', "GET /accounts HTTP/1.1\r\n\r\n", 400, 'invalid_request');
own('a bad host', "GET /accounts HTTP/1.1\r\nHost: a/b\r\n\r\n", 400, 'invalid_request');
own('an unknown version', "GET /accounts HTTP/7.0\r\n$host\r\n", 505, 'internal_error');
own('a bad version', "GET /accounts HTTP/x\r\n$host\r\n", 400, qr/invalid_(?:request|uri)/);
own('a long line', 'GET /' . 'x' x 17000 . " HTTP/1.1\r\n$host\r\n", 414, 'invalid_uri');
own('a long header', "GET /accounts HTTP/1.1\r\n${host}X: " . 'x' x 17000 . "\r\n\r\n", 400, 'invalid_request');
own('many headers', "GET /accounts HTTP/1.1\r\n$host" . ('X: ' . 'x' x 8000 . "\r\n") x 9 . "\r\n", 400, 'invalid_request');
own('a long body', "POST /accounts HTTP/1.1\r\n$host${bearer}\r\nContent-Length: 99999999\r\n\r\n", 413, 'body_too_large');
own('an unknown coding', "POST /accounts HTTP/1.1\r\n${host}Transfer-Encoding: br\r\n\r\n", 501, 'internal_error');
own('an inner location', "GET /_unit/error HTTP/1.1\r\n$host$bearer\r\n\r\n", 404, 'unknown_operation');
own('the sandbox', "GET /_sandbox/journal HTTP/1.1\r\n$host$bearer\r\n\r\n", 404, 'unknown_operation');

# a request that does not come in time ends without a word, as nginx does it
for my $part ('GET /acc', "GET /accounts HTTP/1.1\r\nHost: loc", "PATCH /customers/me HTTP/1.1\r\n$host$bearer\r\nContent-Type: application/vnd.api+json\r\nContent-Length: 10\r\n\r\n{") {
	my $client = $t->connect;
	$client->send($part);
	ok($client->closed(8) || $client->unread =~ m{\AHTTP/1\.1 408 .*"code":"request_timeout"}s, 'too late: ' . substr $part, 0, 10) or diag $client->unread;
	$client->close;
}
is_deeply([calls()], [], 'nothing of this reached Unit');

# ------------------------------------------------------------------------------------
# HTTP/2

is($t->h2(GET => '/accounts/1001', %alice)->status, 200, 'h2: GET');
is($t->h2(HEAD => '/accounts/1001', %alice)->body, '', 'h2: HEAD');
for my $refusal (@refusals) {
	my ($wanted, $method, $target, %o) = @$refusal;
	for my $form (['a body', body => $trap], ['a body without length', chunked => [$trap, $trap]], ['a large body', body => $trap x 6000]) {
		my ($how, %f) = @$form;
		my $h2 = $t->h2_connect;
		my @data = $f{chunked} ? @{$f{chunked}} : $f{body};
		my $id = $h2->open($t->h2_headers($method, $target, %o, %f));
		while (@data) { my $bytes = shift @data; $h2->data($id, $bytes, end => !@data) or last }
		my $r = $h2->response($id);
		is($r->status . ' ' . $r->code, $wanted, "h2: $wanted for $method $target, $how") or diag $r->body;
		$id = $h2->open($t->h2_headers(GET => '/accounts/1001', %alice), end => 1);
		is($h2->response($id)->status, 200, 'then the next') if $how eq 'a large body';
		$h2->close;
	}
}
is_deeply([grep { $_ ne 'GET /accounts/1001' && $_ ne 'HEAD /accounts/1001' } calls()], [], 'h2: nothing else reached Unit');
is($t->h2(PATCH => '/customers/me', %patch)->status, 200, 'h2: a body');
is($t->h2(PATCH => '/customers/me', %patch, json => undef, type => 'application/vnd.api+json', chunked => [split //, $text])->status, 200, 'h2: a body without length');
is_deeply([calls()], [('PATCH /customers/10001') x 2], 'h2: sent');
my $full = $text . ' ' x (1048576 - $length);
is($t->h2(PATCH => '/customers/me', %alice, type => 'application/vnd.api+json', body => $full)->status, 200, 'h2: 1 MB');
is($t->h2(PATCH => '/customers/me', %alice, type => 'application/vnd.api+json', chunked => [$full])->status, 200, 'h2: 1 MB without length');
calls();
document('h2: one byte more', $t->h2(PATCH => '/customers/me', %alice, type => 'application/vnd.api+json', body => "$full "), 413, 'body_too_large');
document('h2: one byte more, without length', $t->h2(PATCH => '/customers/me', %alice, type => 'application/vnd.api+json', chunked => [$full, ' ']), 413, 'body_too_large');
document('h2: an unknown method', $t->h2(BREW => '/accounts'), 405, 'method_not_allowed');
document('h2: TRACE', $t->h2(TRACE => '/accounts', %alice), 405, 'method_not_allowed');
document('h2: an inner location', $t->h2(GET => '/_unit/error'), 404, 'unknown_operation');
is_deeply([calls()], [], 'h2: not sent');

# A stream of headers as they are: the status, or how it ended.
sub stream {
	my (@headers) = @_;
	my $h2 = $t->h2_connect;
	my $id = $h2->open(\@headers, end => 1);
	my $r = eval { $h2->response($id) };
	my $status = $r ? $r->status : defined $h2->reset_code($id) ? 'reset' : 'closed';
	$h2->close;
	return $status;
}

my @plain = ([':method', 'GET'], [':scheme', 'http'], [':path', '/accounts/1001'], [':authority', 'localhost'], ['authorization', 'Bearer ' . $t->jwt(sub => 'alice')]);
is(stream(@plain), 200, 'h2: plain headers');
# not with a token: nginx logs both at info
like(stream(@plain[0 .. 3], ['authorization', 'Bearer a.b.c'], ['authorization', 'Bearer a.b.c']), qr/\A40[01]\z/, 'h2: two Authorization headers');
like(stream(@plain, ['Authorization', 'Bearer a.b.c']), qr/\A(?:400|reset|closed)\z/, 'h2: capitals');
like(stream(@plain, ['x', "y\r\nTransfer-Encoding: chunked"]), qr/\A(?:400|reset|closed)\z/, 'h2: a line end in a value');
like(stream(@plain, ["x: y\r\nz", 'y']), qr/\A(?:400|reset|closed)\z/, 'h2: a line end in a name');
like(stream(@plain, ["x", "y\0"]), qr/\A(?:400|reset|closed)\z/, 'h2: NUL in a value');
like(stream(@plain[0 .. 2], $plain[4]), qr/\A(?:400|reset|closed)\z/, 'h2: no authority');
like(stream(@plain, [':path', '/webhooks']), qr/\A(?:400|reset|closed)\z/, 'h2: two paths');
like(stream(@plain[0, 1], [':path', "/accounts/1001 HTTP/1.1\r\nX: y"], @plain[3, 4]), qr/\A(?:400|reset|closed)\z/, 'h2: a line end in the path');
like(stream(@plain[0, 1], [':path', 'accounts/1001'], @plain[3, 4]), qr/\A(?:400|reset|closed)\z/, 'h2: a path without a slash');
like(stream([':method', "GET /webhooks HTTP/1.1\r\nX: y"], @plain[1 .. 4]), qr/\A(?:400|reset|closed)\z/, 'h2: a line end in the method');
my $hop = stream(@plain, ['transfer-encoding', 'chunked'], ['connection', 'x-request-id'], ['te', 'trailers'], ['upgrade', 'h2c']);
like($hop, qr/\A(?:200|400|501|reset|closed)\z/, "h2: headers of another version: $hop");
my @journal = $t->sandbox->journal($mark);
is(scalar(grep { $_->{headers}{'transfer-encoding'} || $_->{headers}{te} || $_->{headers}{upgrade} } @journal), 0, 'do not go on');
calls();

# a body that is not as long as it says
for my $n (10, 2000) {
	my $h2 = $t->h2_connect;
	my $id = $h2->open([@plain[1, 3, 4], [':method', 'PATCH'], [':path', '/customers/me'], ['content-type', 'application/vnd.api+json'], ['content-length', $n]]);
	$h2->data($id, $text, end => 1);
	my $r = eval { $h2->response($id) };
	ok(!$r || $r->status == 400, "h2: a length of $n that is not true");
	$h2->close;
}
is_deeply([calls()], [], 'h2: nothing of this reached Unit');

# ------------------------------------------------------------------------------------
# clients that leave

my $sid = 0;
sub newcomer { return $t->jwt(sub => 'alice', claims => {sid => 'leaves-' . ++$sid}) }

for my $way (qw(close abort)) {
	for my $part ('G', 'GET /accounts HTTP/1.1', "GET /accounts HTTP/1.1\r\nHost: x\r\nAuthor", "PATCH /customers/me HTTP/1.1\r\n$host$bearer\r\nContent-Type: application/vnd.api+json\r\nContent-Length: 100\r\n\r\n{",
		"PATCH /customers/me HTTP/1.1\r\n$host$bearer\r\nContent-Type: application/vnd.api+json\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{\"d",
		"POST /nothing HTTP/1.1\r\n$host$bearer\r\nContent-Length: 100000\r\n\r\nx" . 'x' x 5000)
	{
		my $client = $t->connect;
		$client->send($part);
		$client->$way;
	}
	is($t->get('/accounts/1001', %alice)->status, 200, "$way in the middle of a request");

	# while its token is created: the one who waited with it gets it
	my $token = newcomer();
	$t->sandbox->fault(POST => '/customers/10001/token', {delay_ms => 300});
	my $minted = $t->sandbox->counter('tokens_minted');
	my ($gone, $stays) = map { $t->connect } 1, 2;
	$gone->send($t->bytes(GET => '/accounts', token => $token));
	wait_until(5, sub { grep { $_->{path} =~ /token\z/ } $t->sandbox->journal($mark) });
	$stays->send($t->bytes(GET => '/accounts/1001', token => $token));
	$gone->$way;
	is($stays->response->status, 200, "$way while a token is created: who waits is served");
	is($t->get('/accounts', token => $token)->status, 200, 'and the next one');
	cmp_ok($t->sandbox->counter('tokens_minted') - $minted, '<=', 2, 'with at most one token more');
	$stays->close;

	# while the one who waits leaves
	$token = newcomer();
	$t->sandbox->fault(POST => '/customers/10001/token', {delay_ms => 300});
	$mark = $t->sandbox->mark;
	my ($first, @waiting) = map { $t->connect } 1 .. 4;
	$first->send($t->bytes(GET => '/accounts', token => $token));
	wait_until(5, sub { grep { $_->{path} =~ /token\z/ } $t->sandbox->journal($mark) });
	$_->send($t->bytes(GET => '/accounts', token => $token)) for @waiting;
	$_->$way for @waiting;
	is($first->response->status, 200, "$way while waiting for a token");
	$first->close;

	# while Unit works, and while its answer comes
	$t->sandbox->fault(GET => '/accounts/1001', {delay_ms => 200});
	$mark = $t->sandbox->mark;
	my $client = $t->connect;
	$client->send($t->bytes(GET => '/accounts/1001', %alice));
	wait_until(5, sub { calls() });
	$client->$way;
	is($t->get('/accounts/1001', %alice)->status, 200, "$way while Unit works");
	$client = $t->connect;
	$client->send($t->bytes(GET => '/accounts/1001', %alice) x 50);
	$client->readable;
	$client->$way;
	is($t->get('/accounts/1001', %alice)->status, 200, "$way while the answers come");
}

# a stream that is reset while its token is created
my $token = newcomer();
$t->sandbox->fault(POST => '/customers/10001/token', {delay_ms => 300});
$mark = $t->sandbox->mark;
my $h2 = $t->h2_connect;
my $first = $h2->open($t->h2_headers(GET => '/accounts', token => $token), end => 1);
wait_until(5, sub { grep { $_->{path} =~ /token\z/ } $t->sandbox->journal($mark) });
my $second = $h2->open($t->h2_headers(GET => '/accounts/1001', token => $token), end => 1);
$h2->reset($first);
is($h2->response($second)->status, 200, 'h2: a reset while a token is created: the other stream is served');
my $third = $h2->open($t->h2_headers(GET => '/accounts', token => $token), end => 1);
is($h2->response($third)->status, 200, 'and the next one');
$h2->close;
$h2 = $t->h2_connect;
$h2->reset($h2->open($t->h2_headers(GET => '/accounts', token => newcomer()), end => 1)) for 1 .. 50;
is($h2->response($h2->open($t->h2_headers(GET => '/accounts/1001', %alice), end => 1))->status, 200, 'h2: 50 streams reset at once');
$h2->close;
$h2 = $t->h2_connect;
my $upload = $h2->open($t->h2_headers(PATCH => '/customers/me', %alice, type => 'application/vnd.api+json', chunked => []));
$h2->data($upload, '{"data":');
$h2->reset($upload);
is($h2->response($h2->open($t->h2_headers(GET => '/accounts/1001', %alice), end => 1))->status, 200, 'h2: a reset in the middle of a body');
$h2->close;

is_deeply([$t->workers], [$worker], 'one and the same worker did it all');

$t->done;
