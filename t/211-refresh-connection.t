#!/usr/bin/perl

# A token that is made ahead of time keeps nobody waiting: neither the request
# that has noticed, nor those on other connections, nor other streams of an
# HTTP/2 connection. The next request of the same HTTP/1.1 connection is the
# exception, as with nginx's own background updates: it waits until the token
# call has ended, and is served then, whatever has become of it.
#
# P15 (background subrequests), P28 (refresh ahead).

use strict;
use warnings;

use Test::More;
use Time::HiRes ();
use UnitGateway;
use UnitGateway::Clock;
use UnitGateway::Upstream;

use constant HOLD => 0.7;

my $clock = UnitGateway::Clock->new;
my $up = UnitGateway::Upstream->new;
my $t = UnitGateway->new(env => $clock->env, upstream => $up->address, sandbox => 0, http2 => 1)->start;
my $get = $t->bytes(GET => '/accounts', as => 'alice');

sub now { return Time::HiRes::clock_gettime(Time::HiRes::CLOCK_MONOTONIC()) }

# Goes on until a request has started a refresh; the token call, and how long
# that request took.
sub refreshed {
	my ($ask, $answer) = @_;

	for (1 .. 100) {
		$clock->advance(5);
		my $since = now();
		$ask->();
		my ($mint, $own);
		until ($own) {
			my $call = $up->call;
			$call->method eq 'POST' ? ($mint = $call) : ($own = $call);
		}
		$own->answer(200, '{"data":[]}');
		is($answer->()->status, 200, 'served') or return;
		my $took = now() - $since;
		$mint //= $up->call(timeout => 0.02);
		return ($mint, $took) if $mint;
	}
	die "no token is refreshed\n";
}

# one request elsewhere, and how long it took
sub elsewhere {
	my $since = now();
	my $client = $t->connect;
	$client->send($get);
	$up->call->answer(200, '{"data":[]}');
	is($client->response->status, 200, 'another connection is served');
	$client->close;
	return now() - $since;
}

my $client = $t->connect;
$client->send($get);
$up->grant(expiresIn => 120);
$up->call->answer(200, '{"data":[]}');
is($client->response->status, 200, 'a token');

# -- HTTP/1.1 ---------------------------------------------------------------------------------

for my $end ('is made', 'is refused') {
	my ($mint, $took) = refreshed(sub { $client->send($get) }, sub { $client->response });
	cmp_ok($took, '<', 0.5, sprintf 'a token that %s: the request that asked for it does not wait (%.0f ms)', $end, 1000 * $took);
	cmp_ok(elsewhere(), '<', 0.5, 'nor one on another connection');
	my $since = now();
	$client->send($get);
	my $early = $up->call(timeout => HOLD);
	ok(!$early, 'the next one of the connection does');
	$end eq 'is made' ? $mint->token(expiresIn => 120) : $mint->answer(500, '{}');
	$up->call->answer(200, '{"data":[]}') if !$early;
	is($client->response->status, 200, sprintf 'and is served when the token call has ended, %.0f ms later', 1000 * (now() - $since - HOLD));
}
$client->close;

# -- HTTP/2 -----------------------------------------------------------------------------------

my $h2 = $t->h2_connect;
my $id;
my ($mint, $took) = refreshed(sub { $id = $h2->open($t->h2_headers(GET => '/accounts', as => 'alice'), end => 1) }, sub { $h2->response($id) });
cmp_ok($took, '<', 0.5, 'HTTP/2: the request that asked for it does not wait');
my $since = now();
$id = $h2->open($t->h2_headers(GET => '/accounts', as => 'alice'), end => 1);
$up->call->answer(200, '{"data":[]}');
is($h2->response($id)->status, 200, 'HTTP/2: the next one of the connection is served');
cmp_ok(now() - $since, '<', 0.5, 'at once');
$mint->token(expiresIn => 120);
$h2->close;

$t->done;
