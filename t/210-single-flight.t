#!/usr/bin/perl

# However many first requests of one customer come at once, Unit gets one token
# call; when that fails all that wait share the failure, and the next request
# tries again. Nobody waits for ever: not for a slow Unit, not for a client
# that has gone, not for a worker that was killed, not over a reload.
#
# P5 (waking), P19 (client abort), P24 (killed workers), P28 (one fetch, many
# waiters).

use strict;
use warnings;

use Test::More;
use Time::HiRes ();
use UnitGateway;
use UnitGateway::Process qw(wait_until);

use constant MINT => '/customers/10001/token';

sub now { return Time::HiRes::clock_gettime(Time::HiRes::CLOCK_MONOTONIC()) }

for my $workers (1, 4) {
	my $t = UnitGateway->new(workers => $workers)->start;
	my $sandbox = $t->sandbox;
	my $serial = 0;

	# A session that nobody has a token for.
	my $fresh = sub { return $t->bytes(GET => '/accounts', token => $t->jwt(sub => 'alice', claims => {sid => 's' . ++$serial})) };
	my $mints = sub { return $sandbox->calls(POST => MINT, $_[0]) };
	my $count = sub {
		my %n;
		$n{ref $_ ? join ' ', grep { length } $_->status, $_->code : $_}++ for @_;
		return \%n;
	};

	# -- a storm, and one call ----------------------------------------------------------

	my $mark = $sandbox->mark;
	my $storm = $count->($t->many([($fresh->()) x 2000], together => 1));

	# a machine that is busy with other things may need more than the 5 s that
	# the wait for a token and a list have: some are told so then
	my $served = delete $storm->{200} // 0;
	my $late = 0;
	$late += delete $storm->{$_} // 0 for '503 broker_unavailable', '504 upstream_timeout';
	is_deeply($storm, {}, "$workers: 2,000 at once are served, or told that it is too late");
	is($served + $late, 2000, "$workers: every one of them");
	cmp_ok($served, '>=', 1500, "$workers: nearly all of them in time") or diag "$late too late";
	is($mints->($mark), 1, "$workers: with one token call");
	cmp_ok($sandbox->mark - $mark, '<=', 2001 + 2 * $late, "$workers: and one call each");

	$mark = $sandbox->mark;
	$sandbox->fault(POST => MINT, {delay_ms => 500});
	my $start = now();
	is_deeply($count->($t->many([($fresh->()) x 200], together => 1)), {200 => 200}, "$workers: with a slow Unit too");
	cmp_ok(now() - $start, '>', 0.45, "$workers: they have waited for it");
	is($mints->($mark), 1, "$workers: one token call");
	cmp_ok(scalar(grep { $_->{token} eq 'waited' } $t->access_log), '>', 190, "$workers: which the log says");

	# different callers do not wait for one another
	$mark = $sandbox->mark;
	$sandbox->fault(POST => MINT, {delay_ms => 700});
	my $slow = $t->connect;
	$slow->send($fresh->());
	ok(wait_until(5, sub { $mints->($mark) }), "$workers: one waits");
	$start = now();
	is($t->get('/accounts', as => 'bob')->status, 200, "$workers: another does not");
	cmp_ok(now() - $start, '<', 0.5, "$workers: for long");
	is($slow->response->status, 200, "$workers: both are served");

	# -- a failure is shared, and forgotten ---------------------------------------------

	for (
		[{status => 500, delay_ms => 300}, '502 upstream_unavailable'],
		[{drop => 'before', delay_ms => 300}, '502 upstream_unavailable'],
		[{status => 201, body => '{}', delay_ms => 300}, '502 upstream_invalid'],
		[{status => 404, delay_ms => 300}, '403 customer_not_linked'],
	) {
		my ($action, $want) = @$_;
		next if $workers == 1 && !$action->{status};
		my $bytes = $fresh->();
		$mark = $sandbox->mark;
		$sandbox->fault(POST => MINT, $action);
		is_deeply($count->($t->many([($bytes) x 100], together => 1)), {$want => 100}, "$workers: $want for all that wait");
		is($mints->($mark), 1, "$workers: after one call");
		next if $action->{status} && $action->{status} == 404;
		is_deeply($count->($t->many([$bytes])), {200 => 1}, "$workers: the next one is served");
		is($mints->($mark), 2, "$workers: after another call");
	}

	# -- clients that leave ------------------------------------------------------------

	my $bytes = $fresh->();
	$mark = $sandbox->mark;
	$sandbox->fault(POST => MINT, {delay_ms => 400});
	my $leader = $t->connect;
	$leader->send($bytes);
	ok(wait_until(5, sub { $mints->($mark) }), "$workers: the first one makes the call");
	my @wait = map { $t->connect } 1 .. 8;
	$_->send($bytes) for @wait;
	$leader->abort;
	(pop @wait)->abort for 1 .. 3;
	is_deeply($count->(map { $_->response } @wait), {200 => 5}, "$workers: its client leaves, the others are served");
	is($mints->($mark), 1, "$workers: by the same call");
	is_deeply($count->($t->many([$bytes])), {200 => 1}, "$workers: later ones too");
	is($mints->($mark), 1, "$workers: without another");

	# all have left before Unit answers: the token was made and is kept
	$bytes = $fresh->();
	$mark = $sandbox->mark;
	$sandbox->fault(POST => MINT, {delay_ms => 300});
	$leader = $t->connect;
	$leader->send($bytes);
	ok(wait_until(5, sub { $mints->($mark) }), "$workers: a call");
	$leader->close;
	ok(wait_until(5, sub { ($sandbox->journal($mark))[0]{status} }), "$workers: whose client has gone when it is answered");
	is_deeply($count->($t->many([$bytes])), {200 => 1}, "$workers: is not lost");
	is($mints->($mark), 1, "$workers: one call");

	# -- a worker that is killed ----------------------------------------------------------

	if ($workers > 1) {
		$bytes = $fresh->();
		$mark = $sandbox->mark;
		$sandbox->fault(POST => MINT, {delay_ms => 3000});
		my (%at, $holder, @others);
		for (1 .. 300) {
			my $client = $t->connect;
			my $pid = wait_until(5, sub { worker_of($t, $client) }) or die "not accepted\n";
			$holder //= $pid;
			push @{$at{$pid == $holder ? 'holder' : 'others'}}, $client;
			last if @{$at{others} // []} == 5;
		}
		($leader, @others) = ($at{holder}[0], @{$at{others}});
		is(scalar @others, 5, 'five come to other workers');
		$leader->send($bytes);
		ok(wait_until(2, sub { $mints->($mark) }), 'a call is under way');
		$_->send($bytes) for @others;
		$t->kill_worker($holder);
		$start = now();
		is_deeply($count->(map { $_->response } @others), {200 => 5}, 'they are served');
		cmp_ok(now() - $start, '<', 4.5, 'within a few seconds');
		is($mints->($mark), 2, 'with one call more');
		ok(!eval { $_->response; 1 }, 'that worker has answered nobody') for $leader;
		$_->close for map { @$_ } values %at;
	}

	# -- reload -----------------------------------------------------------------------------

	$bytes = $fresh->();
	$mark = $sandbox->mark;
	$sandbox->fault(POST => MINT, {delay_ms => 500});
	my $before = $t->connect;
	$before->send($bytes);
	ok(wait_until(5, sub { $mints->($mark) }), "$workers: a call is under way");
	ok($t->reload(wait => 0), "$workers: reload");
	my $after = $t->connect;
	$after->send($bytes);
	is($before->response->status, 200, "$workers: the old worker finishes");
	is($after->response->status, 200, "$workers: the new one has waited for it");
	is($mints->($mark), 1, "$workers: one call");
	$_->close for $before, $after;

	if ($workers == 1) {
		$t->stop;
		next;
	}

	# -- the bound on waiting ------------------------------------------------------------

	$t->configure(http => 'unit_token_wait 300ms;');
	ok($t->reload, 'with little patience');
	$bytes = $fresh->();
	$mark = $sandbox->mark;
	$sandbox->fault(POST => MINT, {delay_ms => 1300});
	$leader = $t->connect;
	$leader->send($bytes);
	ok(wait_until(5, sub { $mints->($mark) }), 'a call is under way');
	$start = now();
	my @r = $t->many([($bytes) x 20], together => 1);
	my $took = now() - $start;
	is_deeply($count->(@r), {'503 broker_unavailable' => 20}, 'those who wait too long get 503 broker_unavailable');
	like($r[0]->header('Retry-After'), qr/\A[1-9]\d?\z/, 'and are told when to come again');
	cmp_ok($took, '>', 0.25, 'not before the time');
	cmp_ok($took, '<', 1.1, 'and not long after');
	is($leader->response->status, 200, 'the one who asked is served');
	is_deeply($count->($t->many([$bytes])), {200 => 1}, 'and the next');
	is($mints->($mark), 1, 'one call');
	$t->done;
}

# The pid of the worker that has accepted the connection.
sub worker_of {
	my ($t, $client) = @_;

	my $pair = sprintf ':%04X %s:%04X', $t->port, '0100007F', $client->socket->sockport;
	open my $fh, '<', '/proc/net/tcp' or die "/proc/net/tcp: $!";
	my ($inode) = map { my @f = split; "$f[1] $f[2]" =~ /\Q$pair\E\z/ ? $f[9] : () } <$fh>;
	return undef if !$inode;
	for my $pid ($t->workers) {
		return $pid if grep { (readlink $_ // '') eq "socket:[$inode]" } glob "/proc/$pid/fd/*";
	}
	return undef;
}
