#!/usr/bin/perl

# unit_status for Prometheus: a text that promtool accepts, with a true histogram
# and labels that are escaped, of the same numbers as the JSON. And that the
# numbers are exact: N requests of two workers at once are counted as N, also
# while workers are replaced; that nothing falls over a reload or the death of a
# worker; that another operations table never gives old counters another meaning.
#
# P24 (dead workers), P25 (reload), P29 (atomics).

use strict;
use warnings;

use JSON::PP ();
use POSIX ();
use Test::More;
use UnitGateway;
use UnitGateway::Process qw(wait_until);
use UnitGateway::Status qw(samples);

use constant WEIRD => qq(we"ird\\na\nme);

my $json = JSON::PP->new->utf8->canonical;
my $t = UnitGateway->new(
	workers => 2, server => UnitGateway::Status::LOCATION, limits => 'dry_run',
	http => 'log_format times "$upstream_header_time"; access_log "%%DIR%%/logs/times.log" times;',
	partners => {'"we\\"ird\\\\na\\nme"' => {issuer => 'https://weird.example.test/'}},
)->start;
my $sandbox = $t->sandbox;
my $s = UnitGateway::Status->new($t);
my @alice = (as => 'alice');

sub text { my $r = $t->get('/unit/status?format=prometheus'); die $r->status if $r->status != 200; return $r->body }

# promtool's verdict on a text: its exit status, and what it says
sub promtool {
	my ($text) = @_;
	my $file = $t->write_file('metrics.txt', $text);
	my $said = qx(promtool check metrics < '$file' 2>&1);
	return ($? >> 8, $said);
}

# -- the format ----------------------------------------------------------------------

is($t->get('/customers', @alice)->status, 200, 'a request');
is($t->get('/customers')->status, 401, 'another one');
ok(wait_until(5, sub { $s->json->{requests}{total} == 2 }), 'both are counted');
my $r = $t->get('/unit/status?format=prometheus');
is($r->header('Content-Type'), 'text/plain; version=0.0.4', 'the type');
is($r->header('Cache-Control'), 'no-store', 'not to be kept');
is($r->header('Content-Length'), length $r->body, 'as long as it says');
is($t->head('/unit/status?format=prometheus')->status, 200, 'HEAD');
my $text = $r->body;

SKIP: {
	skip 'promtool is not installed (script/setup --promtool)', 3 if !grep { -x "$_/promtool" } split /:/, $ENV{PATH};
	is_deeply([promtool($text)], [0, ''], 'promtool has nothing to say');
	isnt((promtool($text . "unit_gateway_x{a=\"b} 1\n"))[0], 0, 'but it would see a label that does not end');
	like((promtool($text =~ s/requests_total/requests/gr))[1], qr/counter metrics should have "_total" suffix/, 'and a bad name');
}

my $samples = samples($text);
my (%type, %help, %seen);
my $now = '';
for my $line (split /\n/, $text) {
	if ($line =~ /^# HELP (unit_gateway_\w+) (.+)$/) {
		$now = $1;
		$help{$now}++;
	} elsif ($line =~ /^# TYPE (unit_gateway_\w+) (counter|gauge|histogram)$/) {
		$type{$1} = $2;
		is($1, $now, "$1: HELP and TYPE together");
	} else {
		my ($name) = $line =~ /^(\w+)/;
		$name =~ s/_(?:bucket|sum|count)$// if $type{$now} eq 'histogram';
		$seen{$name}++ if $name eq $now;
		fail("$line under $now") if $name ne $now;
	}
}
is_deeply([grep { $help{$_} != 1 || !$seen{$_} } sort keys %type], [], 'each metric once, with samples');
is_deeply([grep { ($type{$_} eq 'counter') != /_total$/ } sort keys %type], [], 'counters, and nothing else, end in _total');
cmp_ok(scalar keys %type, '>=', 25, 'all of them');

for my $kind (qw(request broker key_server)) {
	my @bucket = map { [/le="([^"]+)"/, $samples->{$_}] } grep { /duration_seconds_bucket\{kind="$kind"/ } sort keys %$samples;
	@bucket = sort { ($a->[0] eq '+Inf') <=> ($b->[0] eq '+Inf') || $a->[0] <=> $b->[0] } @bucket;
	is(join(' ', map { $_->[0] } @bucket), '0.005 0.01 0.025 0.05 0.1 0.25 0.5 1 2.5 5 10 30 60 120 +Inf', "$kind: the buckets");
	is((grep { $bucket[$_][1] < $bucket[$_ - 1][1] } 1 .. $#bucket), 0, "$kind: cumulative");
	is($bucket[-1][1], $samples->{"unit_gateway_upstream_duration_seconds_count{kind=\"$kind\"}"}, "$kind: +Inf is the count");
	like($samples->{"unit_gateway_upstream_duration_seconds_sum{kind=\"$kind\"}"}, qr/\A\d+\.\d{3}\z/, "$kind: a sum");
}
is($samples->{'unit_gateway_upstream_duration_seconds_count{kind="request"}'}, 1, 'one request to Unit');
is($samples->{'unit_gateway_upstream_duration_seconds_count{kind="broker"}'}, 1, 'and one for its token');

# an answer that takes its time is in its bucket
$sandbox->fault(GET => '/customers', {delay_ms => 300});
is($t->get('/customers', @alice)->status, 200, 'a slow answer');
my $slow = wait_until(5, sub { my $l = $s->json->{upstream}{latency}; return $l->{count} == 2 && $l });
my %le = map { $_->{le} => $_->{count} } @{$slow->{buckets}};
is("$le{0.25} $le{120} $le{'+Inf'}", '1 2 2', 'between 0.25 and more seconds');
cmp_ok($slow->{sum}, '>=', 0.3, 'and so long');

# -- labels --------------------------------------------------------------------------

ok(exists $samples->{'unit_gateway_keys{partner="we\\"ird\\\\na\\nme",kind="file"}'}, 'a name with a quote, a backslash and a line feed');
is((grep { $_->{partner} eq WEIRD } @{$s->json->{keys}}), 1, 'in JSON, too');

# -- the same in both ------------------------------------------------------------------

sub agree {
	my ($name) = @_;

	my ($json, $prom);
	# a worker may have something to count yet
	ok(wait_until(5, sub {
		my $all = $s->json;
		$json = join ' ', map {
			my $op = $_;
			map { qq({operation="$op",decision="$_"}=$all->{operations}{$op}{$_}) } sort keys %{$all->{operations}{$op}}
		} sort keys %{$all->{operations}};
		my $samples = samples(text());
		$prom = join ' ', map { /^unit_gateway_requests_total(.*)/ ? "$1=$samples->{$_}" : () } sort keys %$samples;
		my %prom = map { $_ => 1 } split / /, $prom;
		return !grep { !$prom{$_} } split / /, $json;
	}), "$name: JSON and Prometheus agree");
}
agree('at the start');

# -- exact -----------------------------------------------------------------------------

sub count { my %n; $n{ref $_ ? $_->status : $_}++ for @_; return \%n }

my %request = (
	200 => $t->bytes(GET => '/customers', @alice), 401 => $t->bytes(GET => '/customers'),
	404 => $t->bytes(GET => '/nope', @alice), 403 => $t->bytes(GET => '/customers/10002', @alice),
);
my %decision = (200 => 'ok', 401 => 'token_missing', 404 => 'unknown_operation', 403 => 'customer_mismatch');
my @storm = map { @request{200, 401, 404, 403} } 1 .. 150;
my %n = map { $_ => 150 } keys %request;

sub total { my ($json) = @_; return {total => $json->{requests}{total}, map { $_ => $json->{requests}{decisions}{$_} } values %decision} }

sub storm {
	my ($name, $code) = @_;

	my $before = total($s->json);
	my $pid = fork // die "fork: $!";
	if (!$pid) {
		my $all = eval { count($t->many(\@storm)) } // {};
		POSIX::_exit($json->encode($all) eq $json->encode(\%n) ? 0 : 1);
	}
	$code->();
	waitpid $pid, 0;
	is($?, 0, "$name: all are answered");
	my %expect = (total => $before->{total} + @storm, map { $decision{$_} => $before->{$decision{$_}} + $n{$_} } keys %n);
	my $now;
	wait_until(5, sub { $now = total($s->json); $now->{total} >= $expect{total} });
	is_deeply($now, \%expect, "$name: and counted, " . @storm . ' as ' . @storm);
}

storm('two workers', sub { });
storm('a reload', sub { ok($t->reload(wait => 0), 'while requests come in') });
ok(wait_until(20, sub { $t->workers == 2 }), 'the old workers have ended');
agree('after that');

# each attempt is in its bucket: nginx has logged how long it took
my $latency;
ok(wait_until(5, sub {
	my @ms = map { /^([\d.]+)$/ ? sprintf '%.0f', $1 * 1000 : () } map { split /\s*[,:]\s*/ } split /\n/, $t->read_file('logs/times.log');
	$latency = $s->json->{upstream}{latency};
	my $bad = grep { my $le = $_->{le}; $_->{count} != grep { $le eq '+Inf' || $_ <= $le * 1000 } @ms } @{$latency->{buckets}};
	my $sum = 0;
	$sum += $_ for @ms;
	return !$bad && sprintf('%.3f', $sum / 1000) eq sprintf '%.3f', $latency->{sum};
}), 'the histogram is what the log says') or diag explain $latency;

# -- nothing falls ---------------------------------------------------------------------

# names of counters that are less in the second one, or gone
sub fallen {
	my ($first, $then) = @_;
	return join ' ', grep { (/_total\b|_bucket|_count|_sum/) && !(($then->{$_} // -1) >= $first->{$_}) } sort keys %$first;
}

my $first = samples(text());
my $since = $s->json->{since};
ok($t->reload, 'a reload');
is(fallen($first, samples(text())), '', 'no counter falls');
is($s->json->{since}, $since, 'they are as old as before');
$t->kill_worker for 1 .. 3;
is(fallen($first, samples(text())), '', 'nor when workers are killed');
is($s->json->{since}, $since, 'as old as before');
is($t->get('/customers', @alice)->status, 200, 'and they go on counting');
ok(wait_until(5, sub { $s->json->{requests}{decisions}{ok} == $first->{'unit_gateway_requests_total{operation="list-customers",decision="ok"}'} + 1 }), 'one more');

# -- another table ---------------------------------------------------------------------

my $table = $json->decode(UnitGateway::slurp('conf/operations.json'));
my ($op) = grep { $_->{name} eq 'list-customers' } @{$table->{operations}};
$op->{name} = 'list-renamed-customers';
my $file = $t->write_file('operations.json', $json->encode($table));
my $conf = $t->read_file('nginx.conf');
$sandbox->fault(GET => '/customers', {delay_ms => 1500});
my $client = $t->connect;
$client->send($t->bytes(GET => '/customers', @alice, close => 1));
ok(wait_until(5, sub { grep { $_->{path} eq '/customers' } ($sandbox->journal)[-1] }), 'a request is under way');
$t->write_file('nginx.conf', $conf =~ s/unit_operations [^;]+/unit_operations "$file"/r);
ok($t->reload(wait => 0), 'another table meanwhile');
ok(wait_until(5, sub { $s->json->{requests}{total} == 0 }), 'begins with nothing');
is($client->response->status, 200, 'the old worker serves it');
$client->close;
ok(wait_until(20, sub { $t->workers == 2 }), 'and ends');
is($s->json->{requests}{total}, 0, 'what it has counted is not among these');
is($t->get('/customers', @alice)->status, 200, 'a request with the new name');
ok(wait_until(5, sub { ($s->json->{operations}{'list-renamed-customers'}{ok} // 0) == 1 }), 'is counted under it');
agree('with another table');

$t->done;
