#!/usr/bin/perl

# A replay or a further attempt is the gateway's own redirect and nobody else's:
# an error page of the operator's, with proxy_intercept_errors, that leads into
# another gateway location is not taken for it, and does not come in its way.
# Error pages are for the answer that is the last one.
#
# P2 (r->internal is not trust), P4 (what outlives a redirect).

use strict;
use warnings;

use Test::More;
use UnitGateway;
use UnitGateway::Upstream;

my $up = UnitGateway::Upstream->new;
my $other = UnitGateway::Upstream->new;

# as another gateway location in front of another Unit would be
my $pages = 'recursive_error_pages on; error_page 401 404 429 500 503 = /accounts/other;';
my $t = UnitGateway->new(upstream => $up->address, sandbox => 0, location => $pages, server => <<"EOT");
        location = /accounts/other {
            unit_gateway on;
            proxy_pass http://@{[$other->address]};
            include "proxy.conf";
        }
EOT
$t->write_file('proxy.conf', UnitGateway::slurp($t->root . '/conf/unit_proxy.conf') =~ s/^proxy_intercept_errors off/proxy_intercept_errors on/mr);
my $conf = $t->read_file('nginx.conf');
$conf =~ s{include "[^"]*/unit_proxy\.conf"}{include "proxy.conf"} or die;
$t->write_file('nginx.conf', $conf);
$t->start;

my $doc = '{"errors":[{"status":"4xx","title":"Unit says no","code":"of_unit"}]}';
my @who = (as => 'alice');
my $client = $t->connect;

# nginx closes connections after an intercepted 500
sub send_get {
	$client->close;
	$client = $t->connect;
	$client->send($t->bytes(GET => '/accounts/1001', @who));
}

send_get();
$up->grant;
$up->call->answer(200, '{"data":{}}');
is($client->response->status, 200, 'a token');

# the replay after a 401
send_get();
$up->call->answer(401, $doc);
$up->grant(token => 'v2.public.anew');
my $call = $up->call;
is($call->line . ' ' . $call->header('Authorization'), 'GET /accounts/1001 HTTP/1.1 Bearer v2.public.anew', 'a 401: sent again, with a new token');
$call->answer(200, '{"data":{"n":1}}');
my $r = $client->response;
is($r->status . $r->body, '200{"data":{"n":1}}', 'and answered');

# the second one in a row is passed on, by way of the error page
send_get();
$up->call->answer(401, $doc);
$up->grant;
$up->call->answer(401, $doc);
$r = $client->response;
is($r->status . ' ' . $r->code, '403 operation_not_allowed', 'another 401: the error page leads into a gateway, which refuses');

# further attempts: both of them, then the error page
my $grant = 1;
for my $status (503, 500, 429) {
	send_get();
	if ($grant) {
		$up->grant;
		$grant = 0;
	}
	$up->call->answer($status, $doc);
	$up->call->answer(200, '{"data":{"n":2}}');
	$r = $client->response;
	is($r->status . $r->body, '200{"data":{"n":2}}', "$status: tried again");
	send_get();
	$up->call->answer($status, $doc) for 1 .. 3;
	is($client->response->code, 'operation_not_allowed', "$status three times: the error page");
}

# a write that is not repeated, and an answer that nobody repeats
$client->send($t->bytes(PATCH => '/accounts/1001', @who, json => {data => {type => 'depositAccount', attributes => {tags => {}}}}));
$up->grant;
$up->call->answer(503, $doc);
is($client->response->code, 'operation_not_allowed', 'a write: the error page at once');
send_get();
$up->call->answer(404, $doc);
is($client->response->code, 'operation_not_allowed', '404: the error page');

ok($up->quiet(0), 'nothing else came');
ok($other->quiet(0), 'and nothing ever to the other one');
is($other->accepted, 0, 'not even a connection');
like($t->error_log, qr/reason: redirected/, 'the log tells the operator');

$t->done;
