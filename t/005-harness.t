#!/usr/bin/perl

# The harness itself, over a plain nginx: its clients read what servers send
# and refuse what is malformed, its waits end, and above all its hidden checks
# can fail.

use strict;
use warnings;

use File::Temp ();
use Test::More;
use UnitGateway;
use UnitGateway::Logs;
use UnitGateway::Port;
use UnitGateway::Process qw(wait_until);
use UnitGateway::Response;

# -- responses -------------------------------------------------------------------

sub parsed { return UnitGateway::Response->parse(@_) }

my ($r, $took) = parsed("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nA: 1\r\na:2\r\nContent-Length: 3\r\n\r\nabcHTTP");
is($r->status, 200, 'status');
is($r->body, 'abc', 'body by length');
is($took, 77, 'and no byte more');
is(scalar $r->interim, 1, 'a 100 before it is remembered');
is_deeply([$r->headers('A')], [1, 2], 'all values of a header');
ok(!eval { $r->header('A'); 1 }, 'one value of a header that is there twice');

($r) = parsed("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n");
is($r->body, 'abcde', 'chunks');
is(scalar(parsed("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")), undef, 'chunks to come');
($r) = parsed("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc", eof => 1);
ok($r->cut, 'less than the length is cut');
($r) = parsed("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", eof => 1);
ok($r->cut, 'no last chunk is cut');
($r) = parsed("HTTP/1.0 200 OK\r\n\r\nabc", eof => 1);
is($r->body, 'abc', 'body to the end');
($r, $took) = parsed("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", head => 1);
is($took, 38, 'no body after HEAD');

for my $bad (
	"HTTP/1.1 20 OK\r\n\r\n", "HTTP/1.1 200 OK\r\nA : 1\r\n\r\n", "HTTP/1.1 200 OK\r\n A: 1\r\n\r\n", "ok\r\n\r\n",
	"HTTP/1.1 200 OK\r\nA: 1\n\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\na",
	"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\na", "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\na",
	"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\ng\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n",
) {
	ok(!eval { parsed($bad); 1 }, 'refused: ' . $bad =~ s/[\r\n]+/ | /gr);
}

# -- hidden checks: each fires for its own line, and for no other -----------------

my $jwt = 'eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhbGljZSJ9.c2ln';
my %bad = (
	'no alert or emergency in the error log' => '2026/01/01 00:00:00 [alert] 7#7: worker process 8 exited with code 2',
	'no sanitizer report' => '==7==ERROR: AddressSanitizer: heap-buffer-overflow on address 0x60 at pc 0x5',
	'no worker ended by a signal' => '2026/01/01 00:00:00 [notice] 7#7: worker process 8 exited on signal 11',
	'no socket left open' => '2026/01/01 00:00:00 [notice] 7#7: *3 open socket #9 left in connection 5',
	'no secret in a log' => "2026/01/01 00:00:00 [info] 7#7: client sent \"Authorization: Bearer $jwt\"",
);
my $good = "2026/01/01 00:00:00 [notice] 7#7: worker process 8 exited with code 0\n";

my $reports = File::Temp::tempdir(CLEANUP => 1);

sub complaints {
	my ($file, $text, $prepare) = @_;
	local $ENV{UNIT_REPORTS} = "$reports/all";
	my $dir = File::Temp::tempdir(CLEANUP => 1);
	open my $fh, '>', "$dir/$file" or die $!;
	print {$fh} $text;
	close $fh;
	my $logs = UnitGateway::Logs->new(dir => $dir);
	$prepare->($logs) if $prepare;
	return [map { $_->[0] } grep { @$_ > 1 } $logs->problems];
}

is_deeply(complaints('error.log', $good), [], 'a good log');
is_deeply(complaints('error.log', "$good$bad{$_}\n"), [$_], $_) for sort keys %bad;
is_deeply(complaints('nginx.out', $bad{'no sanitizer report'}), ['no sanitizer report'], 'on standard error too');
like(UnitGateway::slurp("$reports/all"), qr/^t\/005-harness\.t: .*Sanitizer/m, 'which is kept for script/test --sanitize');
is_deeply(complaints('valgrind.7', "==7== Invalid read of size 1\n"), ['no sanitizer report'], 'or from valgrind');
is_deeply(complaints('access.log', "{\"a\":\"v2.public.abc\"}\n"), ['no secret in a log'], "a token of Unit's in the access log");
is_deeply(complaints('access.log', "{\"a\":\"123-45-6789\"}\n", sub { $_[0]->secret('123-45-6789') }),
	['no secret in a log'], 'what a test calls a secret');
is_deeply(complaints('error.log', $bad{'no alert or emergency in the error log'}, sub { $_[0]->allow(qr/exited with code 2/) }),
	[], 'what a test allows');

# -- ports, waits ----------------------------------------------------------------

my %seen;
my @ports = map { UnitGateway::Port->new } 1 .. 50;
$seen{$_->number}++ for @ports;
is(scalar keys %seen, 50, 'ports are reserved once');
is(wait_until(0.05, sub { 0 }), 0, 'a wait ends');
is(wait_until(5, sub { 'yes' }), 'yes', 'and returns what it got');

# -- a plain nginx, the sandbox behind it --------------------------------------------

my $t = UnitGateway->new(gateway => 0, workers => 2, http2 => 1, server => <<'EOT');
        client_max_body_size 2m;
        location / {
            proxy_pass http://unit_api;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
        }
        location /two {
            return 200 "two\n";
        }
        location /cut {
            proxy_pass http://127.0.0.1:%%PORT_NOBODY%%;
        }
EOT
my ($status, $text) = $t->test_config;
is($status, 0, 'nginx -t') or diag $text;
$t->start;

is($t->get('/two')->body, "two\n", 'an answer');
is($t->get('/accounts', token => 'x')->code, 'unauthorized', 'through to the sandbox');
is($t->get('/cut')->status, 502, 'a reserved port answers nobody');

my $client = $t->connect;
$client->send($t->bytes(GET => '/two') x 3);
is($client->response->body, "two\n", 'pipelined') for 1 .. 3;
$client->send("GET / HTTP/7.0\r\n\r\n");
is($client->response->status, 505, 'an error');
ok($client->closed, 'after which the connection is closed');

$client = $t->connect(timeout => 0.2);
ok(!eval { $client->response; 1 }, 'no response in time');
like($@, qr/timeout/, 'is a failure');
$client->close;

$t->sandbox->fault(GET => '/accounts', {truncate => 10});
my $mark = $t->sandbox->mark;
$r = $t->get('/accounts', as => 'alice', token => 'x', cut => 1);
ok($r->cut, 'a truncated answer') or diag $r->head . $r->body;
is((map { $_->{path} } $t->sandbox->journal($mark))[0], '/accounts', 'the journal has it');

# -- HTTP/2 ----------------------------------------------------------------------

is($t->h2(GET => '/two')->body, "two\n", 'HTTP/2');
is($t->h2(HEAD => '/two')->body, '', 'HEAD');
is($t->h2(POST => '/two', body => 'x')->status, 200, 'answered before the body was read');
$r = $t->h2(POST => '/accounts', token => 'x', body => 'x' x 300_000);
is($r->status, 401, 'a body larger than the windows');
is($r->header('content-type'), 'application/vnd.api+json; charset=utf-8', 'compressed headers');
is($t->h2(POST => '/accounts', token => 'x', chunked => [('x' x 100) x 100])->status, 401, 'a body without length');
my $h2 = $t->h2_connect;
my @streams = map { $h2->open($t->h2_headers(GET => '/two'), end => 1) } 1 .. 50;
is(scalar(grep { $h2->response($_)->body eq "two\n" } @streams), 50, '50 streams at once');
$h2->frame(UnitGateway::Http2::DATA, 0, 0, '');
is($h2->goaway, 1, 'a protocol error ends the connection');
$h2->close;

# -- many ------------------------------------------------------------------------

my @all = $t->many([($t->bytes(GET => '/two')) x 2000], together => 1);
is(scalar(grep { ref && $_->status == 200 } @all), 2000, '2,000 connections at once') or diag $all[0];
@all = $t->many([$t->bytes(GET => '/two'), $t->bytes(HEAD => '/two'), "NONSENSE\r\n\r\n"]);
is_deeply([map { ref ? $_->status : $_ } @all], [200, 200, 400], 'answers in order');
@all = $t->many(["GET /two HTTP/1.1\r\n"], timeout => 0.2);
is_deeply(\@all, ['timeout'], 'no answer in time');

# -- life cycle --------------------------------------------------------------------

my %old = map { $_ => 1 } $t->workers;
is(scalar keys %old, 2, 'two workers');
ok($t->reload, 'reload');
is(scalar(grep { !$old{$_} } $t->workers), 2, 'two others');
%old = map { $_ => 1 } $t->workers;
my $killed = $t->kill_worker;
ok($old{$killed} && !grep({ $_ == $killed } $t->workers), 'a worker was killed');
is(scalar $t->workers, 2, 'and replaced');
$t->restart;
is($t->get('/two')->status, 200, 'restart');
my $conf = $t->read_file('nginx.conf');
$t->write_file('nginx.conf', 'nonsense;');
$t->logs->allow(qr/unknown directive "nonsense"/, qr/unexpected end of file/);
ok(!$t->reload, 'a configuration that is refused');
is($t->get('/two')->status, 200, 'changes nothing');
$t->write_file('nginx.conf', $conf);

$t->done;
