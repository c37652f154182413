#!/usr/bin/perl

# What goes to Unit, byte by byte, when the gateway has put its key into a body:
# one request of the length that it says, also when the body came in chunks, in
# pieces, with more requests behind it, or was long; and nothing of the next one.
# Headers that the gateway goes by are taken once, in their one spelling: doubled
# ones are refused or count as none, other spellings are other headers and go
# nowhere.
#
# P9 (a body is replaced), P8, P13, P21, P22 (duplicates).

use strict;
use warnings;

use Test::More;
use UnitGateway;
use UnitGateway::Config qw(back_end);
use UnitGateway::Upstream;

my $up = UnitGateway::Upstream->new;
my $t = UnitGateway->new(upstream => $up->address, sandbox => 0, http2 => 1, partners => {back => back_end()})->start;

my @back = (token => $t->jwt(sub => 'service', claims => {iss => 'https://back.example.test/'}));
my %type = (type => 'application/vnd.api+json');
my $serial = 0;

sub key { return 'Idempotency-Key' => 'wire-' . ++$serial }

# A payment; its body with this much in it.
sub payment { my ($n) = @_; return '{"data":{"type":"bookPayment","attributes":{"amount":100,"description":"' . 'x' x ($n // 5) . '"}}}' }

# The next call: what its body is without our key, and that the wire has no more.
sub arrives {
	my ($name, $body) = @_;

	my $call = $up->call;
	my @length = $call->headers('Content-Length');
	is(scalar @length, 1, "$name: one length");
	is(scalar $call->headers('Transfer-Encoding'), 0, "$name: no coding");
	my $got = $call->body;
	is(length $got, $length[0], "$name: which is true");
	my $n = $got =~ s/"idempotencyKey":"[A-Za-z0-9_-]{43}",//;
	is($n, 1, "$name: with a key");
	ok($got eq $body, "$name: and nothing else is changed");
	is($call->{c}{client}->unread, '', "$name: nothing comes behind it");
	return $call;
}

# -- bodies ------------------------------------------------------------------------------------

my $trap = "POST /payments HTTP/1.1\r\nHost: unit\r\nContent-Length: 0\r\n\r\n";
for my $size (5, 900, 5000, 70_000, 900_000) {
	for my $way ('at once', 'in chunks', 'in pieces', 'in chunks of a byte') {
		next if $size > 5000 && $way eq 'in chunks of a byte';
		my $body = payment($size);
		my @pieces = $way =~ /byte/ ? split(//, $body) : (substr($body, 0, 30), substr($body, 30, -20), substr $body, -20);
		my $bytes = $t->bytes(POST => '/payments', @back, %type, $way =~ /chunks/ ? (chunked => \@pieces) : (body => $body), headers => [key()]);
		my $name = "$size bytes $way";
		my $client = $t->connect;
		my $next = $t->bytes(GET => '/accounts/1', @back) . $t->bytes(POST => '/payments', @back, %type, body => payment(7), headers => [key()]);
		if ($way eq 'in pieces') {
			my $at = length($bytes) - length $body;
			$client->send(substr $bytes, 0, $at + 30);
			$client->send(substr $bytes, $at + 30, 10);
			$client->send(substr($bytes, $at + 40) . $next);
		}
		else {
			$client->send($bytes . $next);
		}
		arrives($name, $body)->answer(201, '{"n":1}');
		my $call = $up->call;
		is($call->line . '|' . $call->body, 'GET /accounts/1 HTTP/1.1|', "$name: then the next one");
		$call->answer(200, '{"n":2}');
		arrives("$name: the last one", payment(7))->answer(201, '{"n":3}');
		is(join('', map { $client->response->body } 1 .. 3), '{"n":1}{"n":2}{"n":3}', "$name: all are answered");
		$client->close;
	}
}

# a body within a body, or one that ends in a request
for my $inner ($trap, "0\r\n\r\n$trap", "\\u0000$trap") {
	my $body = '{"data":{"type":"bookPayment","attributes":{"amount":1}}}';
	for my $form ([chunked => [$body, $inner]], [body => "$body$inner"]) {
		my $client = $t->connect;
		$client->send($t->bytes(POST => '/payments', @back, %type, @$form, headers => [key()]) . $t->bytes(GET => '/accounts/1', @back));
		is($client->response->code, 'invalid_body', 'a request behind a document, in one body');
		my $call = $up->call;
		is($call->line, 'GET /accounts/1 HTTP/1.1', 'is none');
		$call->answer(200, '{}');
		is($client->response->status, 200, 'the next one is');
		$client->close;
	}
}

# headers about the body that was: none of them goes on
my $client = $t->connect;
$client->send($t->bytes(POST => '/payments', @back, %type, body => payment(), headers => [key(), 'Content-MD5' => 'abc', Digest => 'sha-256=abc', 'Content-Digest' => 'sha-256=:abc:',
	'Repr-Digest' => 'x', 'Content-Range' => 'bytes 0-1/2', 'Content-Language' => 'de', Trailer => 'Digest', Range => 'bytes=0-1', Signature => 'x', 'Content_Length' => '3']));
my $call = arrives('with digests', payment());
is_deeply([grep { /digest|md5|range|trailer|signature|language|_/ } $call->header_names], [], 'what is said of the old body does not go on');
$call->answer(201, '{}');
is($client->response->status, 201, 'done');
$client->close;

# -- headers twice -------------------------------------------------------------------------------

# HEADERS, status and code, whether Unit hears of it
sub twice {
	my ($name, $headers, $want, $heard, %o) = @_;
	my $client = $t->connect;
	$client->send($t->bytes($o{method} // 'POST', $o{target} // '/payments', $o{method} ? () : (%type, body => payment()), headers => $headers, %o{grep { exists $o{$_} } qw(token)}));
	my $call = $heard ? $up->call : undef;
	$call->answer(201, '{}') if $call;
	my $r = $client->response;
	is($r->status . ($r->code ? ' ' . $r->code : ''), $want, $name);
	ok($up->quiet(0), "$name: nothing else at Unit");
	$client->close;
	return ($r, $call);
}

my %back = @back;
my $bearer = "Bearer $back{token}";
# not with a token that is good: nginx logs both at info
my $forged = 'Bearer a.b.c';
twice('Authorization twice', [Authorization => $forged, Authorization => $forged, key()], '400 invalid_request');
twice('Authorization in two spellings', [Authorization => $forged, AUTHORIZATION => $forged, key()], '400 invalid_request');
twice('Authorization as a list', [Authorization => "$forged, $forged", key()], '401 token_invalid');
twice('another spelling alone', [Authorization_ => $forged, 'X-Authorization' => $forged, key()], '401 token_missing');
twice('a key twice', [Authorization => $bearer, key(), key()], '400 idempotency_key_invalid');
twice('a key twice, the same', [Authorization => $bearer, 'Idempotency-Key' => 'same', 'idempotency-KEY' => 'same'], '400 idempotency_key_invalid');
my (undef, $other) = twice('a key in another spelling', [Authorization => $bearer, Idempotency_Key => 'a', 'Idempotency-Key' => 'wire-spelled'], '201', 1);
unlike($other->body, qr/"a"/, 'counts for nothing');
my ($r, $sent) = twice('an id twice', [Authorization => $bearer, key(), 'X-Request-Id' => 'first-request-id-1', 'X-Request-Id' => 'second-request-id-2'], '201', 1);
unlike($r->header('X-Request-Id'), qr/request-id/, 'is none');
is(join(',', $sent->headers('X-Request-Id')), $r->header('X-Request-Id'), 'Unit gets the new one, once');
for my $type (['application/vnd.api+json', 'text/plain'], ['text/plain', 'application/vnd.api+json']) {
	my $client = $t->connect;
	$client->send($t->bytes(POST => '/payments', @back, body => payment(), headers => [key(), map { ('Content-Type' => $_) } @$type]));
	my $call = $up->call(timeout => 0.1);
	if ($call) {
		is(scalar(my @types = $call->headers('Content-Type')), 1, 'one media type at Unit');
		is($call->header('Content-Type'), 'application/vnd.api+json', 'the one that was checked');
		$call->answer(201, '{}');
	}
	like($client->response->status, $call ? qr/201/ : qr/4(?:00|15)/, "two media types: @$type");
	$client->close;
}

# bytes that are no text in what the gateway goes by
for my $byte ("\x01", "\x0b", "\x1f", "\x7f", "\x80", "\xff") {
	my $name = sprintf 'byte %02x', ord $byte;
	twice("$name in a key", [Authorization => $bearer, 'Idempotency-Key' => "a${byte}b"], '400 idempotency_key_invalid');
	my ($r, $call) = twice("$name in an id", [Authorization => $bearer, key(), 'X-Request-Id' => "0123456789abcdef${byte}"], '201', 1);
	like($r->header('X-Request-Id'), qr/\A[0-9a-f]{32}\z/, "$name: a new id");
	twice("$name in a token", [Authorization => "Bearer a.b${byte}.c", key()], '401 token_invalid');
}

$t->done;
