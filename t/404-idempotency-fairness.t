#!/usr/bin/perl

# One busy customer does not make the gateway forget what others have done: in
# a full zone a customer with an eighth of all records loses its own oldest
# one, whatever the size of its answers, after workers were killed as well as
# before; never one that is under way, and nothing to tokens. Writes that Unit
# does not make idempotent are used here: forgotten, they would be done again.
# (t/unit/test_record.c has the same in numbers, and the sums behind it.)
#
# P24 (killed workers), P26 (exhaustion), P28 (leases).

use strict;
use warnings;

use Test::More;
use Time::HiRes ();
use UnitGateway;
use UnitGateway::Process qw(wait_until);
use UnitGateway::Upstream;

use constant {
	CALM => 8,
	FLOOD => 200,
	LEASE => 4.2,
};

my $up = UnitGateway::Upstream->new;
my $t = UnitGateway->new(upstream => $up->address, sandbox => 0, zone => '256k', workers => 2)->start;
my (%jwt, %client);

sub now { return Time::HiRes::clock_gettime(Time::HiRes::CLOCK_MONOTONIC()) }

# A customer is a number; the same one can have many sessions.
sub token {
	my ($customer, $session) = @_;
	$session //= 1;
	return $jwt{$customer}{$session} //= $t->jwt(sub => "user$customer", claims => {unitCustomerId => "$customer", sid => "s$session"});
}

sub bytes {
	my ($customer, $key, %o) = @_;
	return $t->bytes(POST => '/accounts/1/freeze', token => token($customer, $o{session}), type => 'application/vnd.api+json',
		body => '{"data":{"type":"accountFreeze","attributes":{"reason":"Other"}}}', headers => ['Idempotency-Key' => $key]);
}

# Sends a write and answers what it makes the gateway ask. Returns the response
# and whether the write was sent on; with "hold" the call of it, unanswered.
sub perform {
	my ($customer, $key, %o) = @_;

	my $client = $o{hold} ? $t->connect : ($client{$customer} //= $t->connect);
	$client->send(bytes($customer, $key, %o));
	my $sent = 0;
	my $end = now() + 10;
	my $set = '';
	vec($set, fileno $client->socket, 1) = 1;
	until (select my $ready = $set, undef, undef, 0) {
		die "neither an answer nor a call\n" if now() > $end;
		my $call = $up->call(timeout => 0.002) // next;
		$call->token, next if $call->target =~ /token\z/;
		return {client => $client, call => $call} if $o{hold};
		$sent = 1;
		$call->answer(200, $o{body} // '{}');
	}
	return ($client->response, $sent);
}

sub replayed {
	my ($customer, $key) = @_;
	my ($r, $sent) = perform($customer, $key);
	return !$sent && ($r->header('Idempotency-Replayed') // '') eq 'true';
}

# Two customers in some hundreds share a fate by chance; few of these do.
my $other = 20_001;
my @calm = map { $other++ } 1 .. CALM;
my $busy = 10_001;

sub calm_are_kept { my ($key, $name) = @_; cmp_ok(scalar(grep { replayed($_, $key) } @calm), '>=', CALM - 2, $name) }

# -- a flood ---------------------------------------------------------------------------------

perform($_, 'calm') for @calm;
for (['answers of 20 KB', 20_000, 40], ['answers of 1 KB', 1000, 160], ['small answers', 2, 600]) {
	my ($size, $len, $n) = @$_;
	perform($busy, "$size-$_", body => 'x' x $len) for 1 .. $n;
	ok(replayed($busy, "$size-$n"), "a flood with $size: its last one is kept");
	ok(!replayed($busy, "$size-1"), 'its first one is not');
	calm_are_kept('calm', "those of others are, with $size");
}

# -- under way -------------------------------------------------------------------------------

my $held = perform($calm[0], 'held', hold => 1);
my @own = map { perform($busy, "held-$_", hold => 1) } 1 .. 40;
perform($busy, "over-$_") for 1 .. FLOOD;
is((perform($calm[0], 'held'))[0]->code, 'idempotency_key_in_use', 'what is under way is not forgotten');
is((perform($busy, 'held-1'))[0]->code, 'idempotency_key_in_use', 'not even what is of the busy one');
calm_are_kept('calm', 'those of others are kept');

# -- killed workers -------------------------------------------------------------------------

my $since = now();
$t->kill_worker($_) for $t->workers;
$_->{call}->abort for $held, @own;
$_->{client}->close for $held, @own;
%client = ();
perform($busy, "killed-$_") for 1 .. FLOOD;
ok(replayed($busy, 'killed-' . FLOOD), 'a flood after workers were killed');
calm_are_kept('calm', 'those of others are kept');
ok(wait_until(10, sub { now() - $since > LEASE }), 'their leases run out');
perform($busy, "out-$_", body => 'x' x 20_000) for 1 .. 60;
ok(replayed($busy, 'out-60'), 'and become records of their customer');
ok(!replayed($busy, 'held-1'), 'which make room as others do');
my ($r, $sent) = perform($calm[0], 'held');
ok($sent && $r->status == 200, 'and may be tried again');
calm_are_kept('calm', 'those of others are kept');

# -- tokens ---------------------------------------------------------------------------------

perform($busy, "token-$_", session => $_) for 2 .. 200;
calm_are_kept('calm', 'many tokens of one customer push out no records');
ok(replayed($busy, 'token-200'), 'nor those of that customer');

$t->done;
