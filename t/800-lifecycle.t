#!/usr/bin/perl

# The life of the gateway: reload under load without a failed request, graceful
# ends, killed workers, files that change or break, zones that are too small or
# change their size. What is shared survives what it should survive.
#
# P24 (killed workers), P25 (reload), P26 (zones), P31 (shutdown).

use strict;
use warnings;

use Test::More;
use Time::HiRes ();
use UnitGateway;
use UnitGateway::Process qw(wait_until);

my $t = UnitGateway->new(workers => 4)->start;
my $sandbox = $t->sandbox;
my $get = $t->bytes(GET => '/accounts', as => 'alice', close => 1);
my $keep = $t->bytes(GET => '/accounts', as => 'alice');

sub now { return Time::HiRes::clock_gettime(Time::HiRes::CLOCK_MONOTONIC()) }

sub mints { return $sandbox->calls(POST => '/customers/10001/token', $_[0]) }

# The answers by status, or by what went wrong.
sub count {
	my %n;
	$n{ref $_ ? join ' ', grep { length } $_->status, $_->code : $_}++ for @_;
	return \%n;
}

# -- reload under load ---------------------------------------------------------------

is($t->get('/accounts', as => 'alice')->status, 200, 'up');
my $mark = $sandbox->mark;
my ($reader, $writer);
pipe $reader, $writer or die "pipe: $!";
my $pid = fork // die "fork: $!";
if (!$pid) {
	# the load, until the pipe is closed by the parent
	close $writer;
	my (%n, $set);
	do {
		my $n = count($t->many([($get) x 20]));
		$n{$_} += $n->{$_} for keys %$n;
		vec($set = '', fileno $reader, 1) = 1;
	} while (!select $set, undef, undef, 0);
	$t->write_file('load', join "\n", map { "$_: $n{$_}" } sort keys %n);
	POSIX::_exit(0);
}
close $reader;
for (1 .. 4) {
	my $seen = $sandbox->mark;
	ok(wait_until(10, sub { $sandbox->mark > $seen + 40 }), 'requests come');
	ok($t->reload, 'reload');
}
close $writer;
waitpid $pid, 0;
is($?, 0, 'the load has ended');
like($t->read_file('load'), qr/\A200: \d+\z/, 'no request has failed') or diag $t->read_file('load');
cmp_ok(($t->read_file('load') =~ /(\d+)\z/)[0], '>', 150, 'of many');
is(mints($mark), 0, 'and no token was made again');

# -- a request that is under way ----------------------------------------------------------

$sandbox->fault(GET => '/accounts', {delay_ms => 600});
$mark = $sandbox->mark;
my $client = $t->connect;
$client->send($keep);
ok(wait_until(5, sub { $sandbox->mark > $mark }), 'a request is under way');
my $idle = $t->connect;
$idle->send($keep);
is($idle->response->status, 200, 'another connection is idle');
my @old = $t->workers;
ok($t->reload(wait => 0), 'reload');
is($client->response->status, 200, 'it is served by the old worker');
ok($client->closed, 'which closes the connection then');
ok($idle->closed, 'and idle ones at once');
ok(wait_until(10, sub { my %now = map { $_ => 1 } $t->workers; !grep { $now{$_} } @old }), 'and ends');

# -- a killed worker ------------------------------------------------------------------------

for (1 .. 3) {
	$mark = $sandbox->mark;
	my $killed = $t->kill_worker;
	is_deeply(count($t->many([($get) x 40])), {200 => 40}, "worker $_ of 3 killed: all are served");
	is(mints($mark), 0, 'from the cache');
}
# also while they are all at work: the lock of the zone is not lost
for (1 .. 3) {
	my @clients = map { $t->connect } 1 .. 40;
	$_->send($keep) for @clients;
	$t->kill_worker(($t->workers)[0]);
	my $served = grep { eval { $_->response->status == 200 } } @clients;
	cmp_ok($served, '>', 0, 'killed at work: other workers go on');
	is_deeply(count($t->many([($get) x 40])), {200 => 40}, 'and all serve');
}

# -- files ------------------------------------------------------------------------------------

# Replaces a file and waits until each of the four workers has said what it
# makes of it; within 5 s, by contract.
sub replace {
	my ($name, $text, $says) = @_;

	$t->logs->mark;
	$t->write_file($name, $text);
	$says //= 'loaded again';
	return wait_until(5, sub { 4 == (() = $t->error_log =~ /\/\Q$name\E" [^\n]*$says/g) });
}

# what all connections get, of which each meets some worker
sub all {
	my ($bytes) = @_;
	return join ', ', sort keys %{count($t->many([($bytes) x 40]))};
}

my $dev = $t->read_file('jwks.json');
my $next = $t->bytes(GET => '/accounts', token => $t->jwt(sub => 'alice', key => 'next'), close => 1);
is_deeply(count($t->many([$next])), {'401 token_invalid' => 1}, 'a key that is not in the set');
ok(replace('jwks.json', $t->jwks('dev', 'next')), 'added to the file: read by all workers within 5 s');
is(all($next), '200', 'and good');
is(all($get), '200', 'so is the old one');

my $stays = 'the last good content stays in force';
for (['garbage' => '{"keys":['], ['nothing' => ''], ['a kid twice' => $dev =~ s/\[(.*)\]/[$1,$1]/sr]) {
	my ($name, $text) = @$_;
	ok(replace('jwks.json', $text, $stays), "$name: all workers say so");
	is(all($_), '200', "$name: the last good set stays in force") for $next, $get;
}
$t->logs->mark;
unlink $t->dir . '/jwks.json' or die "unlink: $!";
ok(wait_until(5, sub { 4 == (() = $t->error_log =~ /jwks\.json" is gone/g) }), 'a file that is gone is noticed');
is(all($next), '200', 'and changes nothing');
$t->logs->allow(qr/\[emerg\].*jwks\.json/);
ok(!$t->reload, 'but a reload is refused');
is(all($next), '200', 'which changes nothing either');
ok(replace('jwks.json', $t->jwks('next')), 'there again, without the old key');
is(all($get), '401 token_invalid', 'which is refused by all');
is(all($next), '200', 'and the new one is good');
ok($t->reload, 'now a reload is possible');
ok(replace('jwks.json', $dev), 'and back');
is(all($get), '200', 'to the old one');

my $old = $t->read_file('org-token');
my $fresh = sub { return $t->bytes(GET => '/accounts', token => $t->jwt(sub => 'alice', claims => {sid => $_[0]})) };
for (['two tokens' => "one\ntwo\n"], ['blanks' => "\n\n"]) {
	my ($name, $text) = @$_;
	ok(replace('org-token', $text, $stays), "org token, $name: all workers say so");
	ok(replace('org-token', $old), "org token, $name: and read it when it is good");
}
is_deeply(count($t->many([$fresh->('after')])), {200 => 1}, 'tokens are made');

# -- the zone over reloads ---------------------------------------------------------------------

$mark = $sandbox->mark;
$t->configure(zone => '24m');
ok($t->reload, 'another size of the zone');
is_deeply(count($t->many([($get) x 20])), {200 => 20}, 'serves, empty');
is(mints($mark), 1, 'one token is made anew');
$t->logs->allow(qr/\[emerg\].*zone/);
$t->configure(zone => '64k');
my ($status, $text) = $t->test_config;
isnt($status, 0, 'nginx -t refuses a zone that is too small');
like($text, qr/zone "unit" is too small, at least \d+k are needed in \S+nginx\.conf:\d+/, 'and says what is needed, with file and line');
$mark = $sandbox->mark;
ok(!$t->reload, 'and so does a reload');
is_deeply(count($t->many([($get) x 20])), {200 => 20}, 'after which the old one serves');
is(mints($mark), 0, 'with what is in it');
my ($least) = $text =~ /at least (\d+)k/;
$t->configure(zone => $least . 'k');
ok($t->reload, 'the least size');
is_deeply(count($t->many([($get) x 20])), {200 => 20}, 'is enough');

# generations of workers come and go
for (1 .. 3) {
	ok($t->reload, 'reload');
	is_deeply(count($t->many([($get) x 20])), {200 => 20}, 'served');
}

# -- the end -----------------------------------------------------------------------------------

$sandbox->fault(GET => '/accounts', {delay_ms => 500});
$sandbox->fault(POST => '/customers/10001/token', {delay_ms => 500});
$mark = $sandbox->mark;
my @busy = map { $t->connect } 1 .. 3;
$busy[0]->send($keep);
$_->send($fresh->('end')) for @busy[1, 2];
ok(wait_until(5, sub { $sandbox->mark >= $mark + 2 }), 'a request, a token call and one who waits for it');
my $master = $t->master;
kill QUIT => $master or die "kill: $!";
is_deeply(count(map { $_->response } @busy), {200 => 3}, 'are served before the end');
$_->close for @busy;
ok($t->stop_nginx, 'and then all have ended');
ok(!eval { $t->connect(timeout => 1); 1 }, 'nobody listens');
$t->start_nginx;
is_deeply(count($t->many([($get) x 20])), {200 => 20}, 'a new start');

$t->done;
