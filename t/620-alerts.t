#!/usr/bin/perl

# conf/unit_alerts.yml, the rules for Prometheus: promtool takes them, each alert
# fires when it has to and is silent when it has to (t/alerts.yml), just at its
# numbers (t/alerts_edges.yml), each says what to do and docs/operations.md has it. Every metric, label and value in rules and
# cases is one that a gateway really gives: who renames one must come here.

use strict;
use warnings;

use Test::More;
use UnitGateway;
use UnitGateway::Process qw(wait_until);

my $root = UnitGateway->root;
my $rules = UnitGateway::slurp("$root/conf/unit_alerts.yml");
my $cases = UnitGateway::slurp("$root/t/alerts.yml");
my $edges = UnitGateway::slurp("$root/t/alerts_edges.yml");
my $manual = UnitGateway::slurp("$root/docs/operations.md");

# -- Prometheus's own word ------------------------------------------------------------

my ($promtool) = grep { -x } map { "$_/promtool" } split(/:/, $ENV{PATH}), '/usr/bin';

sub promtool {
	my (@args) = @_;
	my $pid = open(my $fh, '-|') // die "fork: $!";
	if (!$pid) {
		open STDERR, '>&', \*STDOUT;
		exec $promtool, @args or exit 127;
	}
	my $text = do { local $/; <$fh> } // '';
	close $fh;
	return ($?, $text);
}

SKIP: {
	skip 'no promtool on this machine (script/setup --promtool installs it)', 3 if !$promtool;
	my ($status, $text) = promtool('check', 'rules', '--lint=all', '--lint-fatal', "$root/conf/unit_alerts.yml");
	is($status, 0, 'promtool check rules') or diag $text;
	like($text, qr/SUCCESS: [1-9]\d* rules found/, 'has seen them');
	($status, $text) = promtool('test', 'rules', "$root/t/alerts.yml", "$root/t/alerts_edges.yml");
	is($status, 0, 'promtool test rules') or diag $text;
}

# -- each alert -------------------------------------------------------------------------

my %alert;
while ($rules =~ /^      - alert: (\S+)\n((?:        .*\n)+)/mg) {
	my ($name, $text) = ($1, $2);
	ok(!$alert{$name}, "alert $name");
	$alert{$name} = $text;
}
is(scalar keys %alert, () = $rules =~ /\balert:/g, 'all alerts were found');
cmp_ok(scalar keys %alert, '>', 15, 'there are some');

my %anchor = map { lc(s/[^\w -]//gr =~ tr/ /-/r) => 1 } $manual =~ /^##+ (.+)$/mg;
my %case;
for (split /^  - name:/m, $cases) {
	$case{$1}{($2 // '') eq ' []' ? 'silent' : 'fires'}++ while /alertname: (\S+)\n +eval_time: .*\n +exp_alerts:( \[\])?/g;
}
my %edge;
while ($edges =~ /ALERTS\{alertname="(\w+)".*\n +eval_time: .*\n +exp_samples: \[(\]?)/g) {
	$edge{$1}{$2 ? 'silent' : 'fires'} = 1;
}

for my $name (sort keys %alert) {
	my ($severity) = $alert{$name} =~ /severity: (\w+)/;
	like($severity, qr/\A(?:critical|warning)\z/, "$name: severity");
	like($alert{$name}, qr/^          $_: "[^"]{10,}"$/m, $_) for qw(summary description);
	my ($section) = $alert{$name} =~ m{^          runbook_url: docs/operations\.md#(\S+)$}m;
	ok($section && $anchor{$section}, 'what to do is in docs/operations.md') or diag $section;
	like($manual, qr/^\| `$name` \| $severity \| .+ \| .+ \|$/m, 'and it is in the table');
	is_deeply($case{$name}, {fires => 1, silent => 1}, 'there is a case for and one against it');
	is_deeply($edge{$name}, {fires => 1, silent => 1}, 'and others of its numbers');
}
my ($recorded) = $edges =~ /^(  - name: "records"\n.*)/ms;
like($recorded, qr/expr: \Q$_\E$/m, "$_: what it is") for $rules =~ /^      - record: (\S+)$/mg;
is_deeply([sort keys %$_], [sort keys %alert], 'no case is of another alert') for \%case, \%edge;
is_deeply([grep { !$alert{$_} } $manual =~ /`(UnitGateway\w+)`/g], [], 'the manual names no other alert');
is_deeply([grep { !$anchor{$_} } $manual =~ /\]\(#([\w-]+)\)/g], [], 'and points to nothing that is not there');

# -- what a gateway gives ------------------------------------------------------------------

my $t = UnitGateway->new(
	limits => '', partners => {web => {issuer => 'https://web.example.test/', jwks => undef, jwks_request => '/_jwks_web'}},
	server => <<'EOT', servers => <<'EOT2');
        location = /unit/status {
            unit_status;
        }
        location = /_jwks_web {
            proxy_pass http://127.0.0.1:%%PORT_IDP%%/web.json;
            include "%%ROOT%%/conf/unit_broker.conf";
        }
EOT
    server {
        listen 127.0.0.1:%%PORT_IDP%%;
        root "%%DIR%%";
    }
EOT2
my $jwks = $t->read_file('jwks.json');
$t->write_file('web.json', $jwks);
$t->start;
my @web = (claims => {iss => 'https://web.example.test/'});
is($t->get('/accounts', token => $_)->status, 200, 'a request') for $t->jwt(sub => 'alice'), $t->jwt(sub => 'alice', @web);
my $status = $t->get('/unit/status')->json;
my %decision = map { $_ => 1 } keys %{$status->{requests}{decisions}};
my %real;
for (split /\n/, $t->get('/unit/status?format=prometheus')->body) {
	next if /\A#/;
	my ($metric, $labels) = /\A(\w+)(?:\{(.*)\})? \S+\z/ or die "no sample: $_";
	$real{$metric} //= {};
	$real{$metric}{$1}{$2} = 1 while ($labels // '') =~ /(\w+)="([^"\\]*)"/g;
}
cmp_ok(scalar keys %real, '>', 20, 'it gives metrics');

# as Prometheus adds them, or as any text
my %free = map { $_ => 1 } qw(job instance operation partner zone le);

for ([rules => $rules =~ s/^ *#.*$//mgr], [cases => $cases], [edges => $edges]) {
	my ($where, $text) = @$_;
	my (%seen, @bad);
	while ($text =~ /\b(unit_gateway_\w+)(?:\{([^}]*)\})?(:?)/g) {
		my ($metric, $labels) = ($1, $2 // '');
		next if $metric eq 'unit_gateway_' || $3;
		$seen{$metric} = 1;
		push @bad, "no metric $metric" and next if !$real{$metric};
		while ($labels =~ /(\w+)(=~|!~|!=|=)"([^"]*)"/g) {
			my ($label, $operator, $value) = ($1, $2, $3);
			push @bad, "no label $metric\{$label\}" if !$real{$metric}{$label} && $label !~ /\A(?:job|instance)\z/;
			next if $free{$label};
			my $values = $label eq 'decision' ? \%decision : $real{$metric}{$label};
			push @bad, map { "no $metric\{$label=\"$_\"\}" } grep { !$values->{$_} } split /\|/, $value;
		}
	}
	cmp_ok(scalar keys %seen, '>', 15, "$where: they use metrics");
	is(join("\n", @bad), '', 'that there are');
}

# recorded ones are used by their name, with a decision for a label
my %recorded = map { $_ => 1 } $rules =~ /^      - record: (\S+)$/mg;
is_deeply([grep { !$recorded{$_} } $rules =~ /\b(unit_gateway:\w+(?::\w+)?)/g], [], 'what is recorded is what is used');
is_deeply([grep { !$decision{$_} } $rules =~ /decision="(\w+)"/g], [], 'decisions are those of the gateway');

# -- a key set that cannot be loaded --------------------------------------------------------

sub failing {
	my ($partner) = @_;
	my ($n) = $t->get('/unit/status?format=prometheus')->body =~ /^unit_gateway_keys_failing\{partner="$partner",[^}]*\} (\d)$/m;
	my ($key) = grep { $_->{partner} eq $partner } @{$t->get('/unit/status')->json->{keys}};
	return "$n $key->{failing}";
}

is(failing($_), '0 0', "the set of $_ is a good one") for qw(app web);

$t->write_file('jwks.json', '{');
ok(wait_until(10, sub { failing('app') eq '1 1' }), 'a bad file');
is(failing('web'), '0 0', 'is one partner\'s');
$t->write_file('jwks.json', $jwks);
ok(wait_until(10, sub { failing('app') eq '0 0' }), 'is repaired');
unlink $t->dir . '/jwks.json' or die $!;
ok(wait_until(10, sub { failing('app') eq '1 1' }), 'no file');
$t->write_file('jwks.json', $jwks);
ok(wait_until(10, sub { failing('app') eq '0 0' }), 'is there again');

unlink $t->dir . '/web.json' or die $!;
is($t->get('/accounts', token => $t->jwt(sub => 'alice', @web, kid => 'another'))->status, 401, 'a new key, and no answer from the key server');
is(failing('web'), '1 1', 'is failing too');
is($t->get('/accounts', token => $t->jwt(sub => 'bob', @web))->status, 200, 'while the last good set is in force');

$t->done;
