#!/usr/bin/perl

# Several clients make payments while everything goes wrong: answers that are
# lost, late, cut off or refused, before and after the work; clients that leave;
# workers that are killed, reloads, a restart of nginx that loses all shared
# memory. Each client repeats its payment, with its key, until it is told of it.
# At the end each payment that was acknowledged exists exactly once, none exists
# twice, and whoever asks again gets the same one.
#
#	UNIT_FAULTS_SECONDS=30   how long faults are made
#	UNIT_FAULTS_SEED=N       the same faults again, as far as time allows
#
# P19 (client abort), P24 (killed workers), P25 (reload), P28 (leases).

use strict;
use warnings;

use JSON::PP ();
use POSIX ();
use Test::More;
use Time::HiRes ();
use UnitGateway;
use UnitGateway::Client;
use UnitGateway::Config qw(back_end);
use UnitGateway::Process qw(wait_until);

use constant {
	CLIENTS => 8,
	WORKERS => 3,
	SECONDS => $ENV{UNIT_FAULTS_SECONDS} || 30,
	SEED => $ENV{UNIT_FAULTS_SEED} || int(Time::HiRes::time() * 1000) % 1_000_000_000,
	PATIENCE => 40,
};

diag 'UNIT_FAULTS_SEED=' . SEED;

my $t = UnitGateway->new(
	workers => WORKERS, zone => '1m',
	partners => {back => back_end()},
)->start;
my $sandbox = $t->sandbox;
my $json = JSON::PP->new->utf8->canonical;
my $token = $t->jwt(sub => 'service', claims => {iss => 'https://back.example.test/'}, exp => 7200);

sub now { return Time::HiRes::clock_gettime(Time::HiRes::CLOCK_MONOTONIC()) }
sub pause { select undef, undef, undef, $_[0] }

# -- one client -----------------------------------------------------------------------------

sub request {
	my ($name, $amount) = @_;

	my $account = sub { return {data => {type => 'depositAccount', id => $_[0]}} };
	my $in_body = $amount % 2;
	return $t->bytes(POST => '/payments', token => $token, json => {data => {
		type => 'bookPayment', attributes => {amount => $amount, description => $name, $in_body ? (idempotencyKey => $name) : ()},
		relationships => {account => $account->('1001'), counterpartyAccount => $account->('1002')},
	}}, $in_body ? () : (headers => ['Idempotency-Key' => $name]));
}

# One try: what came of it. "leave" does not wait for the answer.
sub try_once {
	my ($bytes, $leave) = @_;

	my $client = eval { UnitGateway::Client->new(port => $t->port, timeout => 15) } or return 'refused';
	my $r = eval {
		$client->send($bytes) or die "closed\n";
		if ($leave) {
			pause(rand 0.02);
			rand() < 0.5 ? $client->close : $client->abort;
			return undef;
		}
		return $client->response;
	};
	$client->close;
	return $r // 'cut';
}

# Until it is told of the payment: the id of that, or what else came.
sub pay {
	my ($name, $amount, $end) = @_;

	my $bytes = request($name, $amount);
	my $tries = 0;
	while (now() < $end) {
		my $r = try_once($bytes, rand() < 0.1);
		$tries++;
		if (ref $r && $r->status == 201) {
			my $data = $r->json->{data};
			return ($tries, $data->{id}, $data->{attributes}{description});
		}
		my $what = ref $r ? $r->status . ' ' . $r->code : $r;
		return ($tries, undef, "$what: " . $r->body) if ref $r && $r->status !~ /\A(?:403|408|409|429|500|502|503|504)\z/;
		pause(0.01 + rand 0.1);
	}
	return ($tries, undef, 'told nothing');
}

# Prints a line per payment: name, tries, id, description.
sub client {
	my ($n, $fh, $stop, $end) = @_;

	srand SEED + $n;
	my @mine;
	my $serial = 0;
	while (now() < $stop) {
		my $again = @mine && rand() < 0.2 ? $mine[rand @mine] : undef;
		my ($name, $amount) = $again ? @$again : ("c$n-" . ++$serial, 1 + int rand 3);
		push @mine, [$name, $amount] if !$again;
		print {$fh} $json->encode([$name, pay($name, $amount, $end)]), "\n";
	}
}

# -- what goes wrong --------------------------------------------------------------------------

my @faults = (
	{drop => 'before'}, {drop => 'after'}, {drop => 'after'}, {status => 500}, {status => 503, headers => {'Retry-After' => 1}}, {status => 429}, {status => 408},
	{delay_ms => 300}, {delay_ms => 50, drop => 'after'}, {delay_ms => 50, drop => 'before'}, {truncate => 0}, {truncate => 40}, {status => 409}, {status => 403},
	{status => 502, body => 'not JSON'},
);
my %made;
sub wrong {
	my ($what, $code) = @_;
	$made{$what}++;
	$code->();
}

sub fault {
	my $action = rand() < 0.01 ? {delay_ms => 6000} : $faults[rand @faults];
	my $times = $action->{delay_ms} ? 1 : 1 + int rand 4;
	wrong(join(' ', map { "$_ $action->{$_}" } grep { !ref $action->{$_} } sort keys %$action), sub { $sandbox->fault(POST => '/payments', $action, $times) });
}

# -- all of it -----------------------------------------------------------------------------------

srand SEED;
my $stop = now() + SECONDS;
my $end = $stop + PATIENCE;
my %pids;
for my $n (1 .. CLIENTS) {
	my $pid = fork // die "fork: $!";
	if (!$pid) {
		$SIG{$_} = 'DEFAULT' for qw(INT TERM HUP);
		open my $fh, '>:raw', $t->dir . "/client-$n" or POSIX::_exit(1);
		my $ok = eval { client($n, $fh, $stop, $end); close $fh };
		print STDERR $@ if !$ok;
		POSIX::_exit($ok ? 0 : 1);
	}
	$pids{$pid} = $n;
}

my $restart = $stop - SECONDS / 2;
while (now() < $stop) {
	pause(rand 0.15);
	my $what = rand;
	if ($restart && now() > $restart) {
		$restart = 0;

		# nginx 1.22 takes the connections of a worker that is leaving for lost
		# ones when it is told to end at once
		wait_until(20, sub { $t->workers == WORKERS }) or die "old workers do not end\n";
		wrong('restart', sub { $t->restart('TERM') });
	}
	elsif ($what < 0.03) { wrong('reload', sub { $t->reload(wait => 0) }) }
	elsif ($what < 0.07) {
		wrong('kill', sub {
			my @workers = $t->workers;
			my $pid = $workers[rand @workers];
			$t->logs->allow(qr/worker process $pid exited on signal 9/);
			kill KILL => $pid;
		});
	}
	else { fault() }
}
$sandbox->clear_faults;

my %failed;
ok(wait_until(PATIENCE + 30, sub {
	for my $pid (keys %pids) {
		next if waitpid($pid, POSIX::WNOHANG()) != $pid;
		$failed{delete $pids{$pid}} = $? if $?;
		delete $pids{$pid};
	}
	return !%pids;
}), 'all clients have ended') or kill KILL => keys %pids;
is_deeply(\%failed, {}, 'none of them failed');
diag join ', ', map { "$_: $made{$_}" } sort keys %made;

# -- what is left -----------------------------------------------------------------------------------

my (%told, %tries, @bad);
for my $n (1 .. CLIENTS) {
	for my $line (split /\n/, $t->read_file("client-$n")) {
		my ($name, $tries, $id, $text) = @{$json->decode($line)};
		$tries{$tries > 9 ? 10 : $tries}++;
		push @bad, "$name: $text" if !defined $id;
		push @bad, "$name: the payment of $text" if defined $id && $text ne $name;
		$told{$name}{$id} = 1 if defined $id;
	}
}
is_deeply(\@bad, [], 'each was told of its own payment');
cmp_ok(scalar keys %told, '>', 2 * SECONDS, 'there were payments');
is_deeply([grep { keys %{$told{$_}} != 1 } sort keys %told], [], 'and of the same one each time');
diag scalar(keys %told) . ' payments; tries, of 10 and more in one: ' . join ', ', map { "$_: $tries{$_}" } sort { $a <=> $b } keys %tries;

my %exists;
for (my $offset = 0; ; $offset += 1000) {
	my $r = $t->get("/payments?page%5Blimit%5D=1000&page%5Boffset%5D=$offset", token => $token);
	my @payments = @{$r->json->{data}};
	$exists{$_->{attributes}{description}}{$_->{id}} = 1 for @payments;
	last if @payments < 1000;
}
my @names = grep { /\Ac\d+-\d+\z/ } keys %exists;
is_deeply([grep { keys %{$exists{$_}} != 1 } sort @names], [], 'no payment exists twice');
is_deeply([grep { !$exists{$_} } sort keys %told], [], 'each that was acknowledged exists');
is_deeply([grep { join(',', keys %{$exists{$_}}) ne join ',', keys %{$told{$_} // {}} } sort @names], [], 'and is the one that was acknowledged');
is($sandbox->counter('payments_created'), scalar @names, 'no others were made');

# what is asked for again is answered the same, from the record or by Unit
my @some = (sort keys %told)[map { int rand keys %told } 1 .. 100];
my @wrong;
for my $name (@some) {
	for my $amount (1 .. 3) {
		my $r = try_once(request($name, $amount));
		next if ref $r && $r->status == 422;
		push @wrong, $name if !ref $r || $r->status != 201 || !$told{$name}{$r->json->{data}{id}};
		last;
	}
}
is_deeply(\@wrong, [], 'who asks again gets the same');
is($sandbox->counter('payments_created'), scalar @names, 'and none was made by that');

$t->done;
