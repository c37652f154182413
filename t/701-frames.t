#!/usr/bin/perl

# HTTP/2 below the level of requests: headers of other versions, headers that
# never end, frames in the wrong order, on wrong streams, of wrong lengths;
# pseudo headers that are missing, doubled, unknown, late; bodies that are not as
# long as they say; padding; broken compression. At most what is a whole, valid
# request reaches Unit, once, as it was authorised; the worker goes on, and so do
# other connections.
#
# P10 (HTTP/2 bodies), P13 (smuggling), P19 (streams that are reset), P22.

use strict;
use warnings;

use Test::More;
use UnitGateway;
use UnitGateway::Hpack;
use UnitGateway::Http2;

use constant { DATA => 0, HEADERS => 1, PRIORITY => 2, RST_STREAM => 3, SETTINGS => 4, PUSH => 5, PING => 6, GOAWAY => 7, WINDOW => 8, CONTINUATION => 9 };
use constant { END_STREAM => 1, END_HEADERS => 4, PADDED => 8, WITH_PRIORITY => 32 };

my $t = UnitGateway->new(http2 => 1, http => 'client_body_timeout 2s; client_header_timeout 2s;')->start;
my ($worker) = $t->workers;
my $sandbox = $t->sandbox;
is($t->get('/accounts/1001', as => 'alice')->status, 200, 'a token');
is($t->patch('/customers/me', as => 'alice', json => {data => {type => 'individualCustomer', attributes => {tags => {}}}})->status, 200, 'and another');

my $bearer = 'Bearer ' . $t->jwt(sub => 'alice');
my @get = ([':method', 'GET'], [':scheme', 'http'], [':path', '/accounts/1001'], [':authority', 'localhost'], ['authorization', $bearer]);
my $text = '{"data":{"type":"individualCustomer","attributes":{"tags":{"n":"1"}}}}';
my @patch = ([':method', 'PATCH'], $get[1], [':path', '/customers/me'], @get[3, 4], ['content-type', 'application/vnd.api+json']);
my $mark = $sandbox->mark;

# what has reached Unit since the last time
sub calls {
	my @all = $sandbox->journal($mark);
	$mark = $all[-1]{n} if @all;
	return grep { $_->{path} !~ /token\z/ } @all;
}

# The status of a stream, or how it ended.
sub outcome {
	my ($h2, $id) = @_;
	$h2->{stream}{$id} //= {window => 65535, body => ''};
	my $r = eval { $h2->response($id) };
	return $r ? $r->status : defined $h2->reset_code($id) ? 'reset' : $@ =~ /timeout/ ? 'nothing' : 'closed';
}

# NAME, expected outcome, how many calls Unit sees ("?": one at most), CODE with a connection;
# it returns the number of the stream.
sub frames {
	my ($name, $want, $calls, $code) = @_;

	my $h2 = $t->h2_connect(timeout => 8);
	my $id = $code->($h2);
	my $got = outcome($h2, $id);
	like($got, qr/\A(?:$want)\z/, "$name: $got");
	$h2->close;
	my @calls = calls();
	ok($calls eq '?' ? @calls <= 1 : @calls == $calls, "$name: $calls of it at Unit") or diag join "\n", map { "$_->{method} $_->{path} $_->{body}" } @calls;
	return @calls;
}

sub block { return UnitGateway::Hpack::encode(@_) }
sub stream { my ($name, $want, $calls, @headers) = @_; return frames($name, $want, $calls, sub { return $_[0]->open(\@headers, end => 1) }) }

my $refused = '400|reset|closed';

# -- headers of another version ------------------------------------------------------------

for my $h (['connection', 'close'], ['connection', 'authorization'], ['keep-alive', 'timeout=5'], ['proxy-connection', 'keep-alive'], ['transfer-encoding', 'chunked'],
	['transfer-encoding', 'gzip'], ['upgrade', 'h2c'], ['te', 'gzip'], ['te', 'trailers'], ['trailer', 'x'], ['http2-settings', 'AAMAAABk'], ['expect', '100-continue'])
{
	my $h2 = $t->h2_connect;
	my $got = outcome($h2, $h2->open([@get, $h], end => 1));
	$h2->close;
	like($got, qr/\A(?:200|501|$refused)\z/, "$h->[0]: $h->[1]: $got");
	my @calls = calls();
	cmp_ok(scalar @calls, '<=', 1, 'at most once');
	is(scalar(grep { defined $_->{headers}{$h->[0]} && $_->{headers}{$h->[0]} eq $h->[1] && $h->[0] ne 'connection' } @calls), 0, 'and it does not go on');
	is(scalar(grep { ($_->{headers}{authorization} // '') !~ /\ABearer v2/ } @calls), 0, 'nor takes a header away');
}

# -- pseudo headers ---------------------------------------------------------------------------

for my $n (0 .. 2) {
	my @headers = @get;
	my ($gone) = splice @headers, $n, 1;
	stream("without $gone->[0]", $refused, 0, @headers);
}
stream("$_->[0] twice", $refused, 0, @get[0 .. 3], $_, $get[4]) for @get[0 .. 2], [':path', '/webhooks'];
stream(':authority twice', "200|$refused", '?', @get[0 .. 3], [':authority', 'evil.example'], $get[4]);
stream("a pseudo header $_->[0]", $refused, 0, @get[0 .. 3], $_, $get[4]) for [':status', 200], [':protocol', 'websocket'], [':x', 'y'], [':', 'y'], ['', 'y'];
# nginx does not look at their order; one server, one request: no harm in it
stream('a pseudo header after others', "200|$refused", '?', @get[0, 1, 3, 4, 2]);
stream("a path $_", $refused, 0, @get[0, 1], [':path', $_], @get[3, 4]) for '', '*', 'accounts/1001', "/accounts/1001\r\nX: y", "/accounts/1001 HTTP/1.1", "/accounts/1001\0";
stream("a method $_", "405|$refused", 0, [':method', $_], @get[1 .. 4]) for '', 'get', 'GET GET', "GET\0", "GET\r\nX:", 'CONNECT', 'TRACE', 'PRI';
stream("a name $_", $refused, 0, @get, [$_, 'x']) for 'Authorization', "x\ny", "x:y", "x y", "x\0";
stream('a value with a line end', $refused, 0, @get, ['x-request-id', "0123456789abcdef\r\nauthorization: Bearer x"]);
stream('a host beside the authority', "200|$refused", '?', @get, ['host', 'localhost']);

# -- headers that do not end --------------------------------------------------------------------

frames('headers in continuations, each a byte', 200, 1, sub {
	my ($h2) = @_;
	my @bytes = split //, block(@get);
	$h2->frame(HEADERS, END_STREAM, 1, shift @bytes);
	$h2->frame(CONTINUATION, @bytes == 1 ? END_HEADERS : 0, 1, shift @bytes) while @bytes;
	return 1;
});
my $before = memory();
for my $o (['of nothing', sub { '' }, 20_000], ['of one byte less than a header', sub { substr(block(['x' x 50, 'y' x 60]), 0, 1) }, 5000], ['of headers', sub { block(['x-' . $_[0], 'y' x 200]) }, 5000],
	['of one long value', sub { $_[0] ? 'y' x 16000 : "\0\1x\x7f\xff\xff\xff\x01" }, 300])
{
	my ($name, $part, $n) = @$o;
	frames("continuations without an end, $name", 'reset|closed|4\d\d|nothing', 0, sub {
		my ($h2) = @_;
		$h2->frame(HEADERS, END_STREAM, 1, block(@get));
		for my $i (0 .. $n) {
			$h2->frame(CONTINUATION, 0, 1, $part->($i)) or last;
		}
		return 1;
	});
}
cmp_ok(memory() - $before, '<', 8 << 20, 'and take little memory');

sub memory {
	my ($kb) = UnitGateway::slurp("/proc/$worker/status") =~ /^VmRSS:\s+(\d+)/m;
	return $kb << 10;
}

# -- frames in the wrong place ---------------------------------------------------------------------

sub wrong { my ($name, @frames) = @_; return frames($name, $refused, 0, sub { my ($h2) = @_; $h2->frame(@$_) for @frames; return 1 }) }

my $head = block(@get);
wrong('a continuation of another stream', [HEADERS, END_STREAM, 1, $head], [CONTINUATION, END_HEADERS, 3, '']);
wrong('a continuation of nothing', [CONTINUATION, END_HEADERS, 1, $head]);
wrong('data between headers', [HEADERS, 0, 1, block(@patch)], [DATA, END_STREAM, 1, $text], [CONTINUATION, END_HEADERS, 1, '']);
wrong('a ping between headers', [HEADERS, END_STREAM, 1, $head], [PING, 0, 0, 'x' x 8]);
wrong('headers on stream 0', [HEADERS, END_STREAM | END_HEADERS, 0, $head]);
wrong('headers on an even stream', [HEADERS, END_STREAM | END_HEADERS, 2, $head]);
wrong('data on stream 0', [DATA, END_STREAM, 0, $text]);
wrong('data of no stream', [DATA, END_STREAM, 1, $text]);
wrong('a push', [PUSH, END_HEADERS, 1, pack('N', 2) . $head]);
wrong('settings of five bytes', [SETTINGS, 0, 0, 'x' x 5]);
wrong('settings of a stream', [SETTINGS, 0, 1, '']);
wrong('a window of nothing', [WINDOW, 0, 0, pack 'N', 0]);
wrong('a window too large', [WINDOW, 0, 0, pack 'N', 0x7fffffff], [WINDOW, 0, 0, pack 'N', 0x7fffffff]);
wrong('a reset of three bytes', [RST_STREAM, 0, 1, 'xxx']);
wrong('a ping of seven bytes', [PING, 0, 0, 'x' x 7]);
wrong('a frame that is too long', [HEADERS, END_STREAM | END_HEADERS, 1, $head . 'x' x 20_000]);
wrong('a stream that depends on itself', [HEADERS, END_STREAM | END_HEADERS | WITH_PRIORITY, 1, pack('NC', 1, 0) . $head]);
wrong('more padding than frame', [HEADERS, END_STREAM | END_HEADERS | PADDED, 1, chr(255) . $head =~ s/.*(.{20})\z/$1/sr]);
frames('the number of a stream once more', "200|$refused", 1, sub {
	my ($h2) = @_;
	my $id = $h2->open(\@get, end => 1);
	outcome($h2, $id);
	$h2->frame(HEADERS, END_STREAM | END_HEADERS, $id, $head);
	$h2->frame(PING, 0, 0, 'x' x 8);
	1 while defined eval { $h2->_receive || undef };
	return $id;
});
frames('an unknown frame', 200, 1, sub { my ($h2) = @_; $h2->frame(77, 255, 0, 'x' x 100); return $h2->open(\@get, end => 1) });

# -- compression --------------------------------------------------------------------------------------

for my $o (['an index of 0', "\x80"], ['an index beyond the table', "\xff\xff\x00"], ['an index without an end', "\xff" . "\xff" x 20], ['a table that is too large', "\x3f\xff\xff\x0f"],
	['a name of an index beyond', "\x7f\xff\x00\x01x"], ['a string longer than the block', "\x00\x01x\x7e" . 'y'], ['a bad code', "\x00\x81\x00\x84\xff\xff\xff\xff"])
{
	wrong($o->[0], [HEADERS, END_STREAM | END_HEADERS, 1, $head . $o->[1]]);
}

# -- bodies --------------------------------------------------------------------------------------------

# HEADERS with these headers more, then these DATA payloads
sub body {
	my ($name, $want, $calls, $more, @data) = @_;
	my @calls = frames($name, $want, $calls, sub {
		my ($h2) = @_;
		my $id = $h2->open([@patch, @$more]);
		while (@data) {
			my $data = shift @data;
			my $flags = ref $data ? PADDED : 0;
			$h2->frame(DATA, $flags | (@data ? 0 : END_STREAM), $id, ref $data ? $$data : $data);
		}
		return $id;
	});
	is($_->{body}, $text, "$name: the body is what it was") for @calls;
}

my $length = length $text;
my $half = int $length / 2;
my @halves = (substr($text, 0, $half), substr $text, $half);
body('a length that is true', 200, 1, [['content-length', $length]], $text);
body('no length', 200, 1, [], @halves);
body('padding', 200, 1, [['content-length', $length]], map { \(chr(20) . $_ . "\0" x 20) } @halves);
body('padding that is no padding', 200, 1, [], \(chr(length $text) . $text . $text));
body('a length that is too large', $refused, 0, [['content-length', $length + 1]], $text);
body('a length that is too small', $refused, 0, [['content-length', $length - 1]], $text);
body('a length of 0', $refused, 0, [['content-length', 0]], $text);
body('a length that is none', $refused, 0, [['content-length', $_]], $text) for '', 'x', "+$length", "-$length", "$length,$length", '99999999999999999999';
body('two lengths', $refused, 0, [['content-length', $length], ['content-length', $length]], $text);
body('empty frames', 200, 1, [], ('') x 100, $text, ('') x 100);
body('more padding than frame', $refused, 0, [], \(chr(200) . $text));
frames('a length, and no body', $refused, 0, sub { return $_[0]->open([@patch, ['content-length', $length]], end => 1) });
frames('a length of a GET, and no body', "200|$refused", '?', sub { return $_[0]->open([@get, ['content-length', 5]], end => 1) });
frames('data after the end', "200|$refused", 1, sub {
	my ($h2) = @_;
	my $id = $h2->open([@patch, ['content-length', $length]]);
	$h2->frame(DATA, END_STREAM, $id, $text);
	outcome($h2, $id);
	$h2->frame(DATA, END_STREAM, $id, $text);
	return $id;
});
frames('data after headers that end it', '401|400|reset|closed', 0, sub {
	my ($h2) = @_;
	my $id = $h2->open([grep({ $_->[0] ne 'authorization' } @patch)], end => 1);
	$h2->frame(DATA, END_STREAM, $id, $text);
	return $id;
});
my @trailers = frames('trailers', "200|$refused", '?', sub {
	my ($h2) = @_;
	my $id = $h2->open([@patch]);
	$h2->frame(DATA, 0, $id, $text);
	$h2->frame(HEADERS, END_STREAM | END_HEADERS, $id, block(['authorization', 'Bearer x'], ['idempotency-key', 'trailer'], ['x-request-id', 'trailer-request-id-1']));
	return $id;
});
is(scalar(grep { $_->{headers}{'x-request-id'} eq 'trailer-request-id-1' || $_->{headers}{authorization} eq 'Bearer x' } @trailers), 0, 'trailers are no headers');
stream('two keys', 400, 0, [':method', 'PATCH'], @patch[1 .. 5], ['idempotency-key', 'a'], ['idempotency-key', 'b']);
stream('cookies in crumbs', 200, 1, @get, map { ['cookie', "c$_=v"] } 1 .. 50);

# -- streams that are reset -------------------------------------------------------------------------------

my $h2 = $t->h2_connect;
for (1 .. 300) {
	my $id = $h2->open(\@get, end => 1);
	$h2->reset($id) or last;
}
my $last = outcome($h2, $h2->open(\@get, end => 1));
like($last, qr/\A(?:200|closed|reset)\z/, "300 streams reset at once: $last");
$h2->close;
$h2 = $t->h2_connect;
my @ids = map { $h2->open([@patch]) } 1 .. 30;
$h2->frame(DATA, 0, $_, substr $text, 0, 20) for @ids;
$h2->reset($_) for @ids;
is(outcome($h2, $h2->open(\@get, end => 1)), 200, '30 streams reset within their bodies: the next one is served');
$h2->close;
calls();

# many streams, each for somebody: none gets another's answer
$h2 = $t->h2_connect;
my %who = (alice => '10001', bob => '10002');
my @open = map { my $who = $_ % 2 ? 'alice' : 'bob'; [$who, $h2->open($t->h2_headers(GET => '/customers/me', as => $who), end => 1)] } 1 .. 60;
my @foreign = grep { my $r = $h2->response($_->[1]); $r->status != 200 || $r->json->{data}{id} ne $who{$_->[0]} } @open;
is(scalar @foreign, 0, '60 streams at once, of two people: each its own');
$h2->close;

is($t->get('/accounts/1001', as => 'alice')->status, 200, 'HTTP/1.1 goes on');
is_deeply([$t->workers], [$worker], 'in one and the same worker');

$t->done;
