#!/usr/bin/perl

# The binary is replaced while it runs, by nginx's own steps: USR2, WINCH, QUIT.
# No request fails, what is under way ends where it began, old processes end
# without an alert. Shared memory is not handed over, as documented: tokens are
# created anew and records are gone, but a payment that is asked for again goes
# to Unit with the same key and is the same payment. A new binary that is not
# wanted after all can be sent away, and the old one serves with what it knew.
#
# P25 (what a new cycle has of the old one), P31 (shutdown).

use strict;
use warnings;

use JSON::PP ();
use POSIX ();
use Test::More;
use UnitGateway;
use UnitGateway::Config qw(back_end);
use UnitGateway::Process qw(wait_until children);

# the new binary gets no environment but this
my $t = UnitGateway->new(main => 'env ASAN_OPTIONS; env UBSAN_OPTIONS;', workers => 2, partners => {back => back_end()});
my $sandbox = do { $t->start_sandbox; $t->sandbox };
my $owner = $$;
my %masters;

# An nginx whose parent is still there takes no USR2: it must be a daemon.
my $conf = $t->read_file('nginx.conf');
$conf =~ s/^daemon off;/daemon on;/m or die 'no daemon off';
$t->write_file('nginx.conf', $conf);

sub pid_in { my ($name) = @_; return (eval { $t->read_file($name) } // '') =~ /\A(\d+)/ ? $1 : undef }
# the new master is a child of the old one, too
sub workers { my ($pid) = @_; return grep { !$masters{$_} } children($pid) }
sub alive { my ($pid) = @_; return kill 0 => $pid }

END {
	my $status = $?;
	if ($owner && $$ == $owner) {
		kill TERM => grep { alive($_) } keys %masters;
		wait_until(5, sub { !grep { alive($_) } keys %masters }) or kill KILL => map { ($_, children($_)) } keys %masters;
	}
	$? = $status;
}

{
	my $env = $t->_nginx_env;
	local @ENV{keys %$env} = values %$env;
	is(system($t->_nginx_command), 0, 'started') or BAIL_OUT('nginx does not start');
}
ok(wait_until(10, sub { pid_in('nginx.pid') }), 'with a pid file');
my $old = pid_in('nginx.pid');
$masters{$old} = 1;
ok(wait_until(10, sub { workers($old) == 2 }), 'two workers');

my $token = $t->jwt(sub => 'service', claims => {iss => 'https://back.example.test/'});
my $get = $t->bytes(GET => '/accounts', as => 'alice', close => 1);

sub payment {
	my ($key) = @_;
	my $account = sub { return {data => {type => 'depositAccount', id => $_[0]}} };
	return $t->bytes(POST => '/payments', token => $token, close => 1, headers => ['Idempotency-Key' => $key], json => {data => {
		type => 'bookPayment', attributes => {amount => 1, description => $key},
		relationships => {account => $account->('1001'), counterpartyAccount => $account->('1002')},
	}});
}

sub ask {
	my ($bytes) = @_;
	my $client = $t->connect;
	$client->send($bytes);
	my $r = $client->response;
	$client->close;
	return $r;
}

sub replayed { return $_[0]->header('Idempotency-Replayed') // '' }
sub mints { return $sandbox->counter('tokens_minted') }

sub unit_keys {
	return map { JSON::PP::decode_json($_->{body})->{data}{attributes}{idempotencyKey} }
		grep { $_->{method} eq 'POST' && $_->{path} eq '/payments' && $_->{body} =~ /"$_[0]"/ } $sandbox->journal;
}

# Another binary; true when its workers run.
sub upgrade {
	my ($from) = @_;
	kill USR2 => $from or die "kill: $!";
	wait_until(10, sub { -s $t->dir . '/nginx.pid.oldbin' && (pid_in('nginx.pid') // $from) != $from }) or return;
	my $new = pid_in('nginx.pid');
	$masters{$new} = 1;
	return wait_until(10, sub { workers($new) == 2 }) && $new;
}

is(ask($get)->status, 200, 'served');
is(mints(), 1, 'with a token');
my $first = ask(payment('before'))->json->{data}{id};
is(replayed(ask(payment('before'))), 'true', 'a payment is kept');

# -- sent away again ------------------------------------------------------------------------

my $new = upgrade($old);
ok($new, 'USR2: a new binary');
kill WINCH => $old or die "kill: $!";
ok(wait_until(10, sub { !workers($old) }), 'WINCH: the old workers end');
is(ask($get)->status, 200, 'the new binary serves');
kill HUP => $old or die "kill: $!";
ok(wait_until(10, sub { workers($old) == 2 }), 'HUP: the old one has workers again');
kill QUIT => $new or die "kill: $!";
ok(wait_until(10, sub { !alive($new) }), 'QUIT: the new one ends');
ok(wait_until(10, sub { (pid_in('nginx.pid') // 0) == $old }), 'the pid file is the old one\'s again');
my $minted = mints();
is(ask($get)->status, 200, 'which serves');
is(mints(), $minted, 'with the token that it had');
is(replayed(ask(payment('before'))), 'true', 'and the records');

# -- upgraded -------------------------------------------------------------------------------

pipe my ($reader, $writer) or die "pipe: $!";
my $load = fork // die "fork: $!";
if (!$load) {
	close $writer;
	my (%n, $set);
	my $serial = 0;
	do {
		$n{ref $_ ? $_->status : $_}++ for $t->many([($get) x 4, map { payment('load-' . ++$serial) } 1 .. 2]);
		vec($set = '', fileno $reader, 1) = 1;
	} while (!select $set, undef, undef, 0);
	$t->write_file('load', join "\n", map { "$_: $n{$_}" } sort keys %n);
	POSIX::_exit(0);
}
close $reader;

$sandbox->fault(GET => '/cards', {delay_ms => 1500});
my $slow = $t->connect;
$slow->send($t->bytes(GET => '/cards', as => 'alice'));
ok(wait_until(10, sub { grep { $_->{path} eq '/cards' } $sandbox->journal }), 'a request is under way');
my $seen = $sandbox->mark;
$new = upgrade($old);
ok($new, 'USR2: a new binary');
ok(wait_until(10, sub { $sandbox->mark > $seen + 10 }), 'both serve');
kill WINCH => $old or die "kill: $!";
is($slow->response->status, 200, 'WINCH: what is under way is served');
$slow->close;
ok(wait_until(10, sub { !workers($old) }), 'then the old workers end');
$seen = $sandbox->mark;
ok(wait_until(10, sub { $sandbox->mark > $seen + 10 }), 'the new ones serve');
kill QUIT => $old or die "kill: $!";
ok(wait_until(10, sub { !alive($old) }), 'QUIT: the old binary has ended');
close $writer;
waitpid $load, 0;
like($t->read_file('load'), qr/\A200: \d+\n201: \d+\z/, 'no request has failed') or diag $t->read_file('load');

$minted = mints();
my $again = ask(payment('before'));
is($again->status . replayed($again), '201', 'the record is lost: Unit is asked again');
is($again->json->{data}{id}, $first, 'and knows the payment');
my @keys = unit_keys('before');
is(scalar @keys, 2, 'asked twice');
is($keys[0], $keys[1], 'with one key');
is(replayed(ask(payment('before'))), 'true', 'then it is kept again');
is(ask($get)->status, 200, 'customers are served');

kill QUIT => $new or die "kill: $!";
ok(wait_until(10, sub { !alive($new) }), 'the end');

$t->done;
