#!/usr/bin/perl

# The sandbox as an HTTP server and its first line of checks: start and end,
# keep-alive, framing, unknown paths and methods, media types, JSON, error
# documents.

use strict;
use warnings;

use FindBin ();
use IPC::Open3 ();
use Test::More;

use lib "$FindBin::Bin/../sandbox/lib";
use UnitSandbox::Client;

*doc = \&UnitSandbox::Client::doc;
my $program = "$FindBin::Bin/../sandbox/unit-sandbox";
my $s = UnitSandbox::Client->start;

sub error_is {
	my ($r, $status, $code, $name) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $e = ref $r->{data} eq 'HASH' && ref $r->{data}{errors} eq 'ARRAY' ? $r->{data}{errors}[0] : {};
	is_deeply [$r->{status}, $e->{status}, $e->{code}], [$status, "$status", $code], $name or diag $r->{content};
	ok length($e->{title} // ''), "$name: has a title";
	like $r->{content}, qr/"status":"$status"/, "$name: status is a string";
	is $r->{headers}{'content-type'}, 'application/vnd.api+json; charset=utf-8', "$name: is JSON:API";
}

# Start and end.
for my $case (
	[['--port', 0], qr/org-token-file is missing/], [['--port', 0, '--org-token-file', "$FindBin::Bin/none"], qr/cannot read/],
	[['--port', 70000, '--org-token-file', $0], qr/--port/], [['--limit', 'x', '--org-token-file', $0], qr/--limit/],
	[['--nonsense'], qr/usage/], [['--port', $s->{port}, '--org-token-file', $0], qr/listen/],
) {
	my ($args, $like) = @$case;
	my $pid = IPC::Open3::open3(my $in, my $out, undef, $^X, $program, @$args);
	my $text = join '', readline $out;
	waitpid $pid, 0;
	is $? >> 8, 2, "refuses @{$args}[0..0]";
	like $text, $like, 'and says why';
}
{
	my $other = UnitSandbox::Client->start;
	is $other->org(GET => '/accounts/1001')->{status}, 200, 'a second one runs beside the first';
	my $idle = $other->socket;
	is $other->stop('INT'), 0, 'INT ends it, open connections or not';
	for (1 .. 5) {
		my $third = UnitSandbox::Client->start;
		is $third->stop('TERM'), 0, 'TERM ends it, however soon after the start';
	}
}
is((() = `cat /proc/net/tcp` =~ /^\s*\d+: 00000000:@{[sprintf '%04X', $s->{port}]} /mg), 0, 'listens on loopback only');

# Keep-alive, pipelining, 1.0, close.
{
	my $head = "Host: x\r\nAuthorization: Bearer $s->{org}\r\n";
	my $get = "GET /accounts/1001 HTTP/1.1\r\n$head\r\n";
	my $all = $s->raw($get x 3 . "GET /accounts/2001 HTTP/1.1\r\n${head}Connection: close\r\n\r\n");
	is((() = $all =~ m{HTTP/1\.1 200 OK}g), 4, 'four pipelined requests, four answers');
	like $all, qr/"id":"1001".*"id":"1001".*"id":"1001".*"id":"2001"/s, 'in order';
	like $s->raw("GET /accounts/1001 HTTP/1.0\r\n$head\r\n"), qr{\AHTTP/1\.1 200 .*Connection: close}s, 'HTTP/1.0 closes';
	my $socket = $s->socket;
	syswrite $socket, "GET /accounts/1001 HTTP/1.0\r\n${head}Connection: keep-alive\r\n\r\n";
	is +UnitSandbox::Client::read_response($socket, 'GET')->{headers}{connection}, 'keep-alive', 'HTTP/1.0 may keep alive';
	for (1 .. 300) {
		syswrite $socket, $get;
		my $r = UnitSandbox::Client::read_response($socket, 'GET');
		die "answer $_ on one connection: $r->{status}\n" if $r->{status} != 200;
	}
	pass 'a connection lasts for hundreds of requests';
	my $r = $s->org(HEAD => '/accounts/1001');
	is_deeply [$r->{status}, $r->{content}], [200, ''], 'HEAD has no body';
	cmp_ok $r->{headers}{'content-length'}, '>', 100, 'but its length';
	my @many = map { $s->socket } 1 .. 1500;
	syswrite $_, $get for @many;
	is scalar(grep { UnitSandbox::Client::read_response($_, 'GET')->{status} == 200 } @many), 1500, '1500 connections at once';
}

# Framing.
{
	my $head = "Host: x\r\nAuthorization: Bearer $s->{org}\r\nContent-Type: application/vnd.api+json\r\nConnection: close\r\n";
	my $json = '{"data":{"type":"individualCustomer","attributes":{"tags":{"framed":"yes"}}}}';
	my $chunked = join '', map { sprintf "%x;x=y\r\n%s\r\n", length, $_ } unpack '(a7)*', $json;
	like $s->raw("PATCH /customers/10001 HTTP/1.1\r\n${head}Transfer-Encoding: chunked\r\n\r\n${chunked}0\r\nTrailer: x\r\n\r\n"),
		qr{\AHTTP/1\.1 200 .*"framed":"yes"}s, 'a chunked body';
	is $s->journal($s->counter('requests') - 1)->[0]{body}, $json, 'is journalled whole';
	my $length = length $json;
	like $s->raw("PATCH /customers/10001 HTTP/1.1\r\n${head}Expect: 100-continue\r\nContent-Length: $length\r\n\r\n"
		. $json), qr{\AHTTP/1\.1 200 }, 'no 100 Continue if the body is there already';
	my $socket = $s->socket;
	syswrite $socket, "PATCH /customers/10001 HTTP/1.1\r\n${head}Expect: 100-continue\r\nContent-Length: $length\r\n\r\n";
	sysread $socket, my $first, 25;
	is $first, "HTTP/1.1 100 Continue\r\n\r\n", '100 Continue otherwise';
	syswrite $socket, $json;
	is +UnitSandbox::Client::read_response($socket, 'PATCH')->{status}, 200, 'and then the answer';

	my $before = $s->counter('requests');
	like $s->raw("PATCH /x HTTP/1.1\r\n${head}Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"), qr{\AHTTP/1\.1 400 }, 'both lengths';
	like $s->raw("PATCH /x HTTP/1.1\r\n${head}Content-Length: 1\r\nContent-Length: 2\r\n\r\n"), qr{\AHTTP/1\.1 400 }, 'two lengths';
	like $s->raw("PATCH /x HTTP/1.1\r\n${head}Transfer-Encoding: chunked\r\n\r\nzz\r\n"), qr{\AHTTP/1\.1 400 }, 'a bad chunk';
	like $s->raw("PATCH /x HTTP/1.1\r\n${head}Content-Length: 99000000\r\n\r\n"), qr{\AHTTP/1\.1 413 }, 'a body that is too large';
	like $s->raw("nonsense\r\n\r\n"), qr{\AHTTP/1\.1 400 }, 'no request line';
	like $s->raw("GET / HTTP/1.1\r\nno colon\r\n\r\n"), qr{\AHTTP/1\.1 400 }, 'no header line';
	like $s->raw("GET / HTTP/1.1\r\nX: " . 'x' x 70000), qr{\AHTTP/1\.1 431 }, 'a head that is too large';
	is $s->counter('requests'), $before, 'none of these was an API call';
	is $s->call($s->{org}, GET => '/accounts/1001', undef, headers => {Filler => 'x' x 20000})->{status}, 200, 'a long header is fine';
	like $s->raw("GET http://api.s.unit.sh/accounts/1001 HTTP/1.1\r\n$head\r\n"), qr{\AHTTP/1\.1 200 }, 'the absolute form';
}

# Paths and methods.
error_is $s->org(GET => '/nothing'), 404, 'not_found', 'an unknown path';
error_is $s->org(GET => '/accounts/'), 404, 'not_found', 'a trailing slash';
error_is $s->org(GET => '//accounts'), 404, 'not_found', 'a double slash';
error_is $s->org(GET => '/accounts/1001%2flimits'), 404, 'not_found', 'an encoded slash does not split';
error_is $s->org(GET => '/Accounts'), 404, 'not_found', 'paths have a case';
is $s->org(GET => '/account%73/100%31')->{status}, 200, 'encoded letters are decoded';
is $s->org(GET => '/ready-to-launch/transactions/?filter[userId]=bob')->{status}, 200, 'the one path Unit prints with a trailing slash';
my $r = $s->org(PUT => '/accounts/1001', '{}');
error_is $r, 405, 'method_not_allowed', 'a method the path has not';
is $r->{headers}{allow}, 'GET, HEAD, PATCH', 'and Allow says which it has';
error_is $s->org(OPTIONS => '/accounts'), 405, 'method_not_allowed', 'OPTIONS';
error_is $s->call(undef, GET => '/nothing'), 401, 'unauthorized', 'no token comes before no path';

# Media types.
my $ok = doc('individualCustomer', {tags => {a => 'b'}});
for my $type (undef, 'application/json', 'text/plain', 'application/vnd.api+jsonx', '') {
	error_is $s->org(PATCH => '/customers/10001', $ok, type => $type), 415, 'unsupported_media_type', 'type ' . ($type // 'missing');
}
for my $type ('application/vnd.api+json; charset=utf-8', 'APPLICATION/VND.API+JSON', 'application/vnd.api+json;ext=x') {
	is $s->org(PATCH => '/customers/10001', $ok, type => $type)->{status}, 200, "type $type";
}
error_is $s->org(DELETE => '/customers/10001/authorized-users', doc('removeAuthorizedUsers', {authorizedUsersEmails => []}), type => 'text/plain'),
	415, 'unsupported_media_type', 'DELETE with a body';
error_is $s->org(POST => '/recurring-payments/1/disable'), 415, 'unsupported_media_type', 'no body, but the type is required';
my $virtual = $s->verified_token('10001', 'cards-write');
is $s->call($virtual, POST => '/cards/1101/freeze')->{status}, 200, 'an operation without body needs no type';
is $s->org(POST => '/stop-payments', doc('achStopPayment', {}), type => 'application/json')->{status}, 200, 'application/json where it is listed';
error_is $s->org(POST => '/stop-payments', doc('achStopPayment', {})), 415, 'unsupported_media_type', 'JSON:API where it is not';
error_is $s->org(PUT => '/applications/1001/documents/1', 'x'), 415, 'unsupported_media_type', 'an upload is no JSON';
error_is $s->org(PUT => '/applications/1001/documents/1', 'x', type => 'image/gif'), 415, 'unsupported_media_type', 'or GIF';
error_is $s->org(PUT => '/applications/1001/documents/1', 'x', type => 'application/pdf'), 404, 'not_found', 'but PDF';

# Bodies.
for my $bad ('{', '', '[]', 'null', '{"data":{}} x', "\xff", '{"data":' . '[' x 5000) {
	error_is $s->org(PATCH => '/customers/10001', $bad), 400, 'invalid_value', 'body ' . (length $bad > 20 ? 'too deep' : "'$bad'");
}
error_is $s->org(POST => '/payments', doc('goldPayment', {})), 400, 'invalid_value', 'an unknown data.type';
error_is $s->org(POST => '/payments', {}), 400, 'invalid_value', 'no data';
is $s->org(POST => '/payments', doc('goldPayment', {}))->{data}{errors}[0]{source}{pointer}, '/data/type', 'with a pointer';
$r = $s->org(PATCH => '/customers/10001', doc('individualCustomer', {tags => {name => "J\x{fc}rgen \x{263a} \"\\/"}}));
is $r->{data}{data}{attributes}{tags}{name}, "J\x{fc}rgen \x{263a} \"\\/", 'any character comes back';

is $s->stop, 0, 'ends cleanly';
done_testing;
