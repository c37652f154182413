#!/usr/bin/perl

# Configurations that an operator might write, and what must not come of them:
# a Unit token in another module's subrequest, header or log; one customer's
# answer for another; another URI than was authorised; somebody else's answer
# kept as that of a payment; a write sent twice; requests that nobody answers.
#
# P1 (subrequests), P2 and P4 (redirects), P14 (headers that subrequests
# inherit), P38 (what is matched is what is sent).

use strict;
use warnings;

use Test::More;
use UnitGateway;
use UnitGateway::Upstream;

sub server {
	my ($name, $location, $more) = @_;
	my $proxy = $location =~ /intercept/ ? 'client_body_buffer_size 1280k;' : 'include "%%ROOT%%/conf/unit_proxy.conf";';
	return <<"EOT";
server {
    listen 127.0.0.1:%%PORT_$name%%;
    server_name localhost;
    include "%%ROOT%%/conf/unit_errors.conf";
    location / {
        unit_gateway on;
        proxy_pass http://unit_api;
        $proxy
        $location
    }
    location /_unit/api/ {
        proxy_pass http://unit_api/;
        include "%%ROOT%%/conf/unit_broker.conf";
    }
    $more
}
EOT
}

my $other = 'internal; proxy_pass http://127.0.0.1:%%PORT_OTHER%%;';

my $t = UnitGateway->new(
	http => <<'EOT',
log_format seen '$uri "$http_authorization" "$http_accept"';
access_log "%%DIR%%/own.txt" seen;
EOT
	servers => join('',
		'server { listen 127.0.0.1:%%PORT_OTHER%%; access_log "%%DIR%%/other.txt" seen;
		    location / { default_type application/vnd.api+json; return 200 "{\"other\":\"$http_authorization\"}"; }
		    location = /refused { return 401; } }',
		server(MIRROR => 'mirror /mirror;', "location = /mirror { $other }"),
		server(AUTH => 'auth_request /auth;', "location = /auth { $other }"),
		server(INNER => 'mirror /transactions;', ''),
		server(HEADER => 'add_header X-Seen $http_authorization always;', ''),
		server(FALLBACK => 'error_page 500 502 503 504 = @other;', "location \@other { proxy_pass http://127.0.0.1:%%PORT_OTHER%%; }"),
		server(INTERCEPT => 'proxy_intercept_errors on; error_page 503 = @other;',
			"location \@other { proxy_pass http://127.0.0.1:%%PORT_OTHER%%; }"),
		server(REFUSED => 'error_page 502 504 = @other;',
			"location \@other { rewrite ^ /refused break; proxy_pass http://127.0.0.1:%%PORT_OTHER%%; }"),
		server(PAGES => 'error_page 400 502 504 /error.html;', ''),
		server(ARGS => 'set $args "page[limit]=1";', ''),
		server(URI => '', <<'EOT'),
location /cards {
    unit_gateway on;
    proxy_pass http://unit_api/accounts;
    include "%%ROOT%%/conf/unit_proxy.conf";
}
EOT
	),
)->start;
my $sandbox = $t->sandbox;

sub lines {
	my ($file, $uri) = @_;
	my $text = eval { $t->read_file($file) } // '';
	return grep { m{\A\Q$uri\E } } split /\n/, $text;
}

sub calls {
	my ($mark) = @_;
	return map { "$_->{method} $_->{path} $_->{status}" } grep { $_->{path} !~ /token/ } $sandbox->journal($mark);
}

# -- who gets to see the token -----------------------------------------------------

# as many headers as end with a part of nginx's list, and one more: what comes
# after them is in a part of its own
for my $n (0, 9 .. 12) {
	my @accept = map { (Accept => 'application/vnd.api+json') } 1 .. $n;
	is($t->get('/accounts', as => 'alice', port => $_, headers => \@accept)->status, 200, "$_, $n headers: served")
		for qw(MIRROR AUTH INNER HEADER);
	my $r = $t->get('/accounts', as => 'alice', port => 'HEADER', headers => \@accept);
	ok(!$r->headers('X-Seen'), "HEADER, $n headers: add_header does not show it") or diag $r->header('X-Seen');
	$sandbox->fault(GET => '/accounts', {drop => 'before'}, 3);
	$r = $t->get('/accounts', as => 'alice', port => 'FALLBACK', headers => \@accept);
	is($r->body, '{"other":""}', "FALLBACK, $n headers: the error page's upstream does not get it");
	$sandbox->clear_faults;
}
for my $uri (qw(/mirror /auth)) {
	my @seen = lines('other.txt', $uri);
	is(scalar @seen, 5, "$uri: was asked");
	is(scalar(grep { m{\A\S+ "-"} } @seen), 5, "$uri: without an Authorization") or diag $seen[0];
}
is(scalar(grep { /v2\.public/ } split /\n/, $t->read_file('own.txt')), 0, 'no log has it, whatever its format');
cmp_ok(scalar(lines('own.txt', '/accounts')), '>', 10, 'which was written');
my @inner = grep { $_->{path} eq '/transactions' } $sandbox->journal;
is(scalar @inner, 5, 'a subrequest into the gateway came to Unit');
is(scalar(grep { $_->{token_kind} ne 'none' } @inner), 0, 'without a token, which had been given for another operation');

# a client that leaves before there is an answer: the log is written at the end
my $up = UnitGateway::Upstream->new;
my $early = UnitGateway->new(
	upstream => $up->address, http => q(log_format seen '$uri $status "$http_authorization"'; access_log "%%DIR%%/own.txt" seen;),
)->start;
my $client = $early->connect;
$client->send($early->bytes(GET => '/accounts', as => 'alice'));
$up->grant;
my $call = $up->call;
$client->close;
my $text = '';
UnitGateway::Process::wait_until(5, sub { $text = eval { $early->read_file('own.txt') } // ''; $text =~ /\n/ });
is($text, qq(/accounts 499 "-"\n), 'nor is it in the log of a client that has left');
undef $call;
$early->stop;

# -- what is sent is what was authorised -------------------------------------------

my $mark = $sandbox->mark;
my $r = $t->get('/cards', as => 'alice', port => 'URI');
is($r->status, 500, 'a proxy_pass that makes another URI of it: 500');
is_deeply([calls($mark)], [], 'and nothing is sent');
like($t->logs->error, qr/would send another URI than was authorised/, 'the log says why');

$sandbox->fault(GET => '/ready-to-launch/accounts', {status => 503}, 1);
$mark = $sandbox->mark;
$t->get('/ready-to-launch/accounts?page[limit]=5', as => 'alice', port => 'ARGS');
my @queries = map { $_->{query} } grep { $_->{path} =~ /ready/ } $sandbox->journal($mark);
is(scalar @queries, 2, 'a call with the organisation\'s token is retried');
is($_, 'page[limit]=5&filter[userId]=alice', 'and pinned to its user') for @queries;

# -- whose answer is kept ------------------------------------------------------------

my $account = {data => {
	type => 'depositAccount', attributes => {depositProduct => 'checking'},
	relationships => {customer => {data => {type => 'customer', id => '10001'}}},
}};
for ([INTERCEPT => {status => 503}], [FALLBACK => {drop => 'before'}]) {
	my ($port, $fault) = @$_;
	my @request = ('/accounts', as => 'alice', json => $account, port => $port, headers => ['Idempotency-Key' => join '-', %$fault]);
	my $name = join ' ', %$fault;
	$sandbox->fault(POST => '/accounts', $fault, 9);
	$r = $t->post(@request);
	is($r->body, '{"other":""}', "$name: the fallback answers");
	$sandbox->clear_faults;
	$mark = $sandbox->mark;
	$r = $t->post(@request);
	is($r->status, 201, "$name: the same key again");
	ok(!$r->header('Idempotency-Replayed'), "$name: not with the fallback's answer");
	is_deeply([calls($mark)], ['POST /accounts 201'], "$name: but performed");
}

# -- what is sent once --------------------------------------------------------------

my $tags = {data => {type => 'individualCustomer', attributes => {tags => {a => 'b'}}}};
$sandbox->fault(PATCH => '/customers/10001', {drop => 'after'}, 1);
$mark = $sandbox->mark;
$r = $t->patch('/customers/10001', as => 'alice', json => $tags, port => 'REFUSED');
is($r->status, 401, 'the fallback refuses');
is_deeply([calls($mark)], ['PATCH /customers/10001 200'], 'which is no reason to send the write again');

# -- nobody is left without an answer ----------------------------------------------

for my $pause (0, 1) {
	my $name = $pause ? 'later' : 'at once';
	$client = $t->connect(port => 'PAGES');
	my $head = $t->bytes(PATCH => '/customers/10001', as => 'alice', chunked => [], type => 'application/vnd.api+json') =~ s/0\r\n\r\n\z//r;
	$client->send($head . ($pause ? "1\r\n{\r\n" : "1\r\n{\r\nnonsense\r\n"));
	if ($pause) {
		# the worker has read the beginning when it answers somebody else
		is($t->get('/accounts', as => 'alice', port => 'PAGES')->status, 200, 'another request meanwhile');
		$client->send("nonsense\r\n");
	}
	$r = $client->response;
	is($r->status . ' ' . $r->code, '400 invalid_request', "a body that breaks off $name, and an error page in the gateway: answered");
	$client->close;
}
$sandbox->fault(POST => '/accounts', {drop => 'before'}, 1);
$mark = $sandbox->mark;
is($t->post('/accounts', as => 'alice', json => $account, port => 'PAGES')->status, 201, 'an error page in the gateway: retried');
is_deeply([calls($mark)], ['POST /accounts 0', 'POST /accounts 201'], 'once');
$sandbox->fault(PATCH => '/customers/10001', {drop => 'before'}, 1);
$r = $t->patch('/customers/10001', as => 'alice', json => $tags, port => 'PAGES');
is($r->status . ' ' . $r->code, '502 upstream_unavailable', 'or answered as by the gateway');

# -- nobody takes the room that others need ------------------------------------------

my $small = UnitGateway->new(
	zone => '256k', limits => '', http => 'set_real_ip_from 127.0.0.1; real_ip_header X-Forwarded-For;',
)->start;
my @failures = map {
	$small->bytes(GET => '/accounts', token => 'a.b.c', headers => ['X-Forwarded-For' => sprintf '10.0.%d.%d', $_ >> 8, $_ & 255])
} 1 .. 2500;
my %answers;
while (my @some = splice @failures, 0, 500) {
	$answers{ref && $_->status}++ for $small->many(\@some);
}
is(join(' ', sort keys %answers), '401 429', 'failures from so many addresses that they cannot all be counted: refused');
is($small->post('/accounts', as => 'alice', json => $account, headers => ['Idempotency-Key' => 'room'])->status, 201,
	'there is room for the lease of a write');
is($small->post('/customers/10002/token/verification', as => 'bob', json => {
	data => {type => 'customerTokenVerification', attributes => {channel => 'sms'}},
})->status, 201, 'and for a verification');
$small->stop;

# -- what nginx -t says --------------------------------------------------------------

for (
	['a cache' => 'proxy_cache_path "%%DIR%%/tmp/cache" keys_zone=c:1m;', 'proxy_cache c;', 'and "proxy_cache" cannot go together'],
	['an inherited cache' => 'proxy_cache_path "%%DIR%%/tmp/cache" keys_zone=c:1m; proxy_cache c;', '', 'and "proxy_cache" cannot go together'],
	['a store' => '', 'proxy_store on;', 'and "proxy_store" cannot go together'],
	['a cache that is off' => 'proxy_cache_path "%%DIR%%/tmp/cache" keys_zone=c:1m; proxy_cache c;', 'proxy_cache off;', undef],
	['an if' => '', 'if ($http_x_y) { set $a b; }', undef],
	['limit_except' => '', 'limit_except GET POST { deny all; }', undef],
) {
	my ($name, $http, $location, $want) = @$_;
	my $c = UnitGateway->new(http => $http, location => $location);
	my ($status, $says) = $c->test_config;
	if (defined $want) {
		isnt($status, 0, "$name: refused");
		like($says, qr/\[emerg\].*"unit_gateway" \Q$want\E, in location "\/"/, "$name: why");
	} else {
		is($status, 0, "$name: accepted") or diag $says;
	}
}
for my $pass ('http://unit_api$request_uri', 'http://$backend') {
	my $c = UnitGateway->new(server => 'set $backend unit_api;');
	my $conf = $c->read_file('nginx.conf') =~ s{(unit_gateway on;\s+)proxy_pass \S+;}{$1proxy_pass $pass;}r;
	$c->configure(conf => $conf);
	my ($status, $says) = $c->test_config;
	like($says, qr/\[emerg\].*"unit_gateway" needs "proxy_pass" without variables/, "proxy_pass $pass: refused");
}

# the broker's location inherits a cache: no token gets into it
my $cached = UnitGateway->new(
	http => 'proxy_cache_path "%%DIR%%/tmp/cache" keys_zone=c:1m;', location => 'proxy_cache off;',
	broker => 'proxy_cache c; proxy_cache_methods POST; proxy_cache_valid any 1m;',
)->start;
is($cached->get('/accounts', as => 'alice')->status, 502, 'a cache for the broker: no token');
is(scalar(() = glob $cached->dir . '/tmp/cache/*'), 0, 'nothing is on the disk');
like($cached->logs->error, qr/must neither cache nor store/, 'the log says why');
$cached->stop;

$t->done;
