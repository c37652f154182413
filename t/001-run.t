#!/usr/bin/perl

# script/run does what README says: it starts both, the calls that it prints
# work as they are, it restarts the gateway alone, refuses what cannot work
# without harm to what runs, and stops by pid what it has started.

use strict;
use warnings;

use File::Temp ();
use Test::More;
use UnitGateway;
use UnitGateway::Client;
use UnitGateway::Port;
use UnitGateway::Process qw(wait_until);
use UnitGateway::Sandbox;

my $dir = File::Temp::tempdir('unit-run-XXXXXX', TMPDIR => 1, CLEANUP => 1);
my %port = map { $_ => UnitGateway::Port->new } qw(gateway sandbox other);
$ENV{UNIT_RUN_DIR} = "$dir/run";
$ENV{GATEWAY_PORT} = $port{gateway}->number;
$ENV{SANDBOX_PORT} = $port{sandbox}->number;
delete @ENV{qw(GATEWAY_WORKERS GATEWAY_BUDGET GATEWAY_LIMITS UNIT_API_URL UNIT_ORG_TOKEN_FILE)};

sub run {
	my ($command) = @_;
	my $text = `$command 2>&1 </dev/null`;
	return ($? >> 8, $text);
}

sub pid {
	my ($name) = @_;
	open my $fh, '<', "$dir/run/$name.pid" or return 0;
	chomp(my $pid = <$fh> // 0);
	return $pid;
}

# A process that has ended may stay as a zombie until init has seen to it.
sub runs { return length UnitGateway::slurp("/proc/$_[0]/cmdline") }

sub status {
	my ($path) = @_;
	my $client = UnitGateway::Client->new(port => $ENV{GATEWAY_PORT});
	$client->send("GET $path HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
	return $client->response->status;
}

my ($rc, $text) = run('script/run --help');
is($rc, 0, '--help');
like($text, qr/--restart-gateway/, 'and what it says');
($rc, $text) = run('script/run --nonsense');
is($rc, 2, 'an unknown argument');

($rc, $text) = run('script/run --stop');
is($rc, 0, 'nothing to stop is no error');

# -- start ---------------------------------------------------------------------

($rc, my $printed) = run('script/run --detach');
is($rc, 0, '--detach') or die $printed;
ok(runs(pid($_)), "the pid of $_ is recorded") for qw(nginx sandbox);

my @calls = $printed =~ /^(curl .*)$/mg;
is(@calls, 3, 'three calls are printed');
my @want = (200, 403, 401);
for my $call (@calls) {
	my $want = shift @want;
	my ($rc, $answer) = run("$call -s");
	like($answer, qr/^HTTP\/1\.1 $want /m, "answers $want: $call");
}

my $key = "$dir/run/secrets/unit-org-token";
is((stat $key)[2] & 07777, 0600, 'the org token is for its owner only');
is((stat "$dir/run/secrets")[2] & 07777, 0700, 'and so is its directory');
my $secret = "$dir/run/secrets/idempotency-secret";
is((stat $secret)[2] & 07777, 0600, 'so is the secret of idempotency keys');
my $random = UnitGateway::slurp($secret);
like($random, qr/\A[A-Za-z0-9_-]{64}\n\z/, 'which is 64 random characters');

is(status($_), 404, "closed from outside: $_")
	for qw(/_sandbox/journal /_sandbox /%5Fsandbox/counters //_sandbox/counters /x/../_sandbox/counters
		/_unit/ /_unit/api/ /_unit/api /_unit/api/customers/10001 /_unit/error);

# -- harmless mistakes -----------------------------------------------------------

my ($nginx, $sandbox) = (pid('nginx'), pid('sandbox'));

($rc, $text) = run('script/run --detach');
is($rc, 1, 'it does not start twice');
like($text, qr/already running/, 'and says so');

my $free = $port{other}->number;
($rc, $text) = run("UNIT_RUN_DIR=$dir/second script/run --detach");
is($rc, 1, 'the port of the gateway is taken');
like($text, qr/port $ENV{GATEWAY_PORT} is taken.*GATEWAY_PORT=/, 'which port, and how to change it');
($rc, $text) = run("UNIT_RUN_DIR=$dir/second GATEWAY_PORT=$free script/run --detach");
is($rc, 1, 'the port of the sandbox is taken');
like($text, qr/port $ENV{SANDBOX_PORT} is taken.*SANDBOX_PORT=/, 'which port, and how to change it');
run("UNIT_RUN_DIR=$dir/second script/run --stop");

for (
	['GATEWAY_PORT=http', qr/GATEWAY_PORT/], ['GATEWAY_PORT=65536', qr/GATEWAY_PORT/],
	['GATEWAY_WORKERS=0', qr/GATEWAY_WORKERS/], ['GATEWAY_BUDGET=much', qr/GATEWAY_BUDGET/],
	['GATEWAY_LIMITS=none', qr/GATEWAY_LIMITS/], ['UNIT_API_URL=https://unit.example', qr/go together/],
	["UNIT_API_URL=http://unit.example UNIT_ORG_TOKEN_FILE=$key", qr/https/],
	["UNIT_API_URL=https://unit.example/v1 UNIT_ORG_TOKEN_FILE=$key", qr/of the form/],
	["UNIT_API_URL=https://unit.example UNIT_ORG_TOKEN_FILE=$dir/none", qr/cannot read/],
) {
	my ($setting, $says) = @$_;
	($rc, $text) = run("env UNIT_RUN_DIR=$dir/second $setting script/run --detach");
	is($rc, 1, "refused: $setting");
	like($text, $says, 'with a reason');
}

is(pid('nginx'), $nginx, 'the gateway still runs');
is(pid('sandbox'), $sandbox, 'the sandbox still runs');
is(status('/accounts'), 401, 'and answers');

# -- restart -------------------------------------------------------------------

my $control = UnitGateway::Sandbox->new(port => $ENV{SANDBOX_PORT});
$control->customers(3);
($rc, $text) = run('script/run --restart-gateway');
is($rc, 0, '--restart-gateway') or diag $text;
is(UnitGateway::slurp($secret), $random, 'the secret of idempotency keys stays');
isnt(pid('nginx'), $nginx, 'another nginx');
ok(!runs($nginx), 'the old one has gone');
is(pid('sandbox'), $sandbox, 'the same sandbox');
is($control->counter('customers_created'), 3, 'with its state');
(undef, $text) = run("$calls[0] -s");
like($text, qr/^HTTP\/1\.1 200 /m, 'the first call works again');

# -- stop ----------------------------------------------------------------------

# a pid that now belongs to somebody else is left alone
my $bystander = fork // die "fork: $!";
if (!$bystander) {
	exec 'sleep', '600' or POSIX::_exit(1);
}
$sandbox = pid('sandbox');
open my $fh, '>', "$dir/run/sandbox.pid" or die $!;
print {$fh} "$bystander\n";
close $fh;
($rc, $text) = run('script/run --stop');
is($rc, 0, '--stop');
ok(kill(0, $bystander), 'a foreign process with a recorded pid is not touched');
ok(!-e "$dir/run/nginx.pid", 'the gateway has gone');
kill TERM => $bystander;
waitpid $bystander, 0;
kill TERM => $sandbox;
ok(wait_until(10, sub { !runs($sandbox) }), 'the sandbox ends at TERM');

# -- no limits -----------------------------------------------------------------

($rc, $text) = run('env GATEWAY_LIMITS=off GATEWAY_WORKERS=1 script/run --detach');
is($rc, 0, 'GATEWAY_LIMITS=off') or diag $text;
like(UnitGateway::slurp("$dir/run/nginx.conf"), qr/^ *unit_limits off;$/m, 'switches those of the gateway off');
my @args = split /\0/, UnitGateway::slurp('/proc/' . pid('sandbox') . '/cmdline');
like("@args", qr/ --limit off /, 'and those of the sandbox');
is(scalar UnitGateway::Process::children(pid('nginx')), 1, 'GATEWAY_WORKERS=1');
($rc, $text) = run('script/run --stop');
is($rc, 0, '--stop');

# -- foreground ------------------------------------------------------------------

my $run = UnitGateway::Process->start(name => 'script/run', output => "$dir/output", command => ['script/run']);
ok(wait_until(60, sub { UnitGateway::slurp("$dir/output") =~ /no\.such\.token/ || !$run->alive }), 'in the foreground it prints the calls');
ok($run->alive, 'and stays');
($nginx, $sandbox) = (pid('nginx'), pid('sandbox'));
is(status('/accounts'), 401, 'the gateway answers');
ok($run->stop(INT => 30), 'Ctrl-C ends it');
is($run->status, 0, 'without an error');
ok(!runs($_), "and with it process $_") for $nginx, $sandbox;

open $fh, '<', "$dir/run/logs/error.log" or die $!;
my @bad = grep { /\[(?:alert|emerg|crit|error)\]/ } <$fh>;
is("@bad", '', 'nothing worse than a notice or warning was logged');

done_testing();

# whatever happened: nothing of ours stays
END {
	my $status = $?;
	system "script/run --stop >/dev/null 2>&1" if $dir && -d "$dir/run";
	$? = $status;
}
