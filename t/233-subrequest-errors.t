#!/usr/bin/perl

# A subrequest of somebody else's that fails while Unit has not answered yet: a
# mirror that is down, or refuses, with the shipped error page in force there,
# too. Its error is its own: it does not become another call to Unit, the answer
# to the client is that of Unit's with all that is done to it, and the answer to a
# write is kept for its key. So with auth_request, whose failure is a 500.
#
# P1 (subrequests), P2 (r->internal is not trust), P16.

use strict;
use warnings;

use Test::More;
use UnitGateway;
use UnitGateway::Upstream;

my $up = UnitGateway::Upstream->new;
my $copy = UnitGateway::Upstream->new;
my $t = UnitGateway->new(
	upstream => $up->address, sandbox => 0, location => 'mirror /copy; mirror_request_body off;', server => <<"EOT",
        location = /copy {
            internal;
            proxy_http_version 1.1;
            proxy_intercept_errors on;
            proxy_pass http://@{[$copy->address]};
        }
        location = /customers/10001 {
            unit_gateway on;
            auth_request /copy;
            proxy_pass http://unit_api;
            include "%%ROOT%%/conf/unit_proxy.conf";
        }
EOT
)->start;

my @secret = ('Set-Cookie' => 'unit=1', 'X-Token' => UnitGateway::Upstream::TOKEN);
my $client = $t->connect;
my $serial = 0;

# how a mirror fails, and what nginx logs about it
my @ends = (
	['is closed' => sub { $_[0]->close }, qr/prematurely closed/], ['says 500' => sub { $_[0]->answer(500, 'no') }, undef],
	['says 404' => sub { $_[0]->answer(404, 'no') }, undef], ['says 401' => sub { $_[0]->answer(401, 'no') }, undef],
);

for my $o (['GET', '/accounts'], ['PATCH', '/customers/me']) {
	my ($method, $target) = @$o;
	for my $end (@ends) {
		my ($how, $code, $log) = @$end;
		my $name = "$method, a mirror $how";
		my @bytes = ($method, $target, as => 'alice', $method eq 'GET' ? () : (headers => ['Idempotency-Key' => 'k-' . ++$serial],
			json => {data => {type => 'individualCustomer', attributes => {tags => {a => "$serial"}}}}));
		$t->logs->mark;
		$client->send($t->bytes(@bytes));
		my $call = $up->call;
		if ($call->target =~ /token\z/) {
			$call->token;
			$call = $up->call;
		}
		my $mirror = $copy->call;
		is($mirror->header('Authorization'), undef, "$name: it has no token");
		$code->($mirror);
		ok($t->logs->wait_error($log), "$name: logged") if $log;
		ok($up->quiet(0.15), "$name: nobody asks Unit once more");
		$call->answer(200, '{"data":{"n":"of-unit"}}', @secret);
		my $r = $client->response;
		is($r->status . $r->body, '200{"data":{"n":"of-unit"}}', "$name: Unit's answer");
		is(join(' ', grep { defined } map { $r->header($_) } qw(Set-Cookie X-Token)), '', "$name: without what clients must not have");
		my $id = $r->header('X-Request-Id');
		my $line = $t->logs->wait_access(sub { $_->{request_id} eq $id });
		is($line->{decision}, 'allowed', "$name: the log says so");
		next if $method eq 'GET';
		$client->send($t->bytes(@bytes));
		$r = $client->response;
		is($r->status . $r->body . ($r->header('Idempotency-Replayed') // ''), '200{"data":{"n":"of-unit"}}true', "$name: and it is kept");
		$copy->call(timeout => 0.05);
	}
}

# where the failure is to be noticed
$client->close;
my $granted = 0;
for my $end (@ends[0, 1]) {
	$client = $t->connect;
	$client->send($t->bytes(GET => '/customers/10001', as => 'alice'));
	$up->grant if !$granted++;
	$end->[1]->($copy->call);
	ok($up->quiet(0.15), "auth_request $end->[0]: Unit is not asked");
	is($client->response->status, 500, "auth_request $end->[0]: 500");
	$client->close;
}

$t->done;
