#!/usr/bin/perl

# Limits that make no sense are found by "nginx -t", with the file and the line:
# zero, negative, absurd, in conflict with each other, twice. What makes sense is
# taken, at its bounds, too.

use strict;
use warnings;

use Test::More;
use UnitGateway;

my $t = UnitGateway->new(sandbox => 0);
my $dir = $t->dir;

# the refusals are what this test is about
$t->logs->allow(qr/\[emerg\]/);

sub check {
	my ($limits, %o) = @_;
	$t->configure(partners => {app => {}, other => undef}, location => '', limits => "\n$limits\n", %o);
	return $t->test_config;
}

# TEXT of the file, what is said, words of the line that is blamed
sub refused {
	my ($limits, $text, $where) = @_;

	my ($status, $output) = check($limits);
	my @lines = split /\n/, $t->read_file('nginx.conf');
	my ($line) = grep { $lines[$_ - 1] =~ $where } reverse 1 .. @lines;
	subtest $limits => sub {
		isnt($status, 0, 'refused');
		like($output, qr/\[emerg\]/, 'as an error');
		like($output, $text, 'the text');
		like($output, qr{ in \Q$dir\E/nginx\.conf:$line$}m, 'file and line');
	} or diag $output;
}

sub accepted {
	my ($limits, %o) = @_;
	my ($status, $output) = check($limits, %o);
	is($status, 0, "accepted: $limits") or diag $output;
}

my $rate = qr/invalid rate "[^"]*", it must be 1r\/s to 100000000r\/d/;

for my $value (qw(0r/m -1r/m 1000 1000r 1000r/ r/m 1000r/x 1000r/min 1.5r/m 1e3r/m 100000001r/m 99999999999999999999r/m), '" 5r/m"', '""', 'off') {
	refused("unit_budget $value;", $rate, qr/unit_budget/);
	refused("unit_limit customer rate=$value;", $value =~ /"/ ? qr/invalid (?:rate|parameter)|needs a rate/ : $rate, qr/unit_limit/) if $value !~ /"/;
}

refused("unit_budget 100r/m $_->[0];", $_->[1], qr/unit_budget/) for (
	['burst=0', qr/"unit_budget" directive needs a burst of 1 to 10000000/], ['burst=-1', qr/needs a burst/], ['burst=x', qr/needs a burst/],
	['burst=', qr/needs a burst/], ['burst=10000001', qr/needs a burst/], ['burst=5 burst=5', qr/invalid parameter "burst=5"/],
	['burst=101', qr/"unit_budget 100r\/m" is less than its burst and reserve together/],
	['burst=50 reserve=60%', qr/is less than its burst and reserve together/], ['reserve=10', qr/needs one reserve of 0% to 90%/],
	['reserve=-1%', qr/needs one reserve/], ['reserve=91%', qr/needs one reserve/], ['reserve=%', qr/needs one reserve/],
	['reserve=1% reserve=1%', qr/needs one reserve/], ['delay=0', qr/needs a delay of 1ms to 30s/], ['delay=31s', qr/needs a delay/],
	['delay=x', qr/needs a delay/], ['nodelay', qr/invalid parameter "nodelay"/], ['weight=1', qr/invalid parameter "weight=1"/],
);
refused("unit_budget 100r/m;\nunit_budget 200r/m;", qr/"unit_budget" directive is duplicate/, qr/200r/);

refused("unit_limit $_->[0];", $_->[1], qr/unit_limit/) for (
	['', qr/invalid number of arguments/], ['customer', qr/invalid number of arguments/], ['rate=5r/m customer', qr/must be about "partner", "customer" or "address"/],
	['Customer rate=5r/m', qr/must be about/], ['session rate=5r/m', qr/must be about/], ['customer burst=5', qr/needs a rate/],
	['customer rate=5r/m rate=6r/m', qr/invalid parameter "rate=6r\/m"/], ['customer rate=5r/m burst=6', qr/has a burst above its rate/],
	['customer rate=5r/m burst=0', qr/needs a burst/], ['customer rate=5r/m delay=1h', qr/needs a delay/], ['customer rate=5r/m reserve=5%', qr/invalid parameter/],
	['address rate=5r/m delay=1s', qr/has no delay for addresses/], ['customer rate=2000r/m', qr/"unit_limit customer" allows more than "unit_budget"/],
	['partner rate=20r/s', qr/"unit_limit partner" allows more than "unit_budget"/],
);
refused("unit_limit customer rate=5r/m;\nunit_limit customer rate=6r/m;", qr/has this window twice/, qr/6r/);
refused("unit_limit customer rate=5r/s;\nunit_limit customer rate=6r/m;\nunit_limit customer rate=7r/h;\nunit_limit customer rate=8r/d;",
	qr/may be given three times for each/, qr/8r/);

refused("unit_breaker $_->[0];", $_->[1], qr/unit_breaker/) for (
	['', qr/invalid number of arguments/], ['on', qr/invalid parameter "on"/], ['off failures=1', qr/is "off" or has parameters/], ['failures=0', qr/needs a number of failures/],
	['failures=-1', qr/needs a number of failures/], ['failures=x', qr/needs a number/], ['failures=1000001', qr/needs a number/], ['failures=1 failures=2', qr/invalid parameter "failures=2"/],
	['window=0', qr/invalid parameter "window=0"/], ['window=2h', qr/invalid parameter/], ['open=0', qr/invalid parameter "open=0"/], ['open=1d', qr/invalid parameter/], ['open', qr/invalid parameter/],
);
refused("unit_breaker off;\nunit_breaker failures=5;", qr/"unit_breaker" directive is duplicate/, qr/failures/);

refused('unit_limits maybe;', qr/invalid value "maybe"/, qr/unit_limits/);
refused("unit_limits on;\nunit_limits off;", qr/"unit_limits" directive is duplicate/, qr/unit_limits off/);

for ('0', '-1', 'x', '1001', '1.5') {
	my ($status, $output) = check('', partners => {app => {weight => $_}, other => undef});
	isnt($status, 0, "weight $_");
	like($output, qr{"weight" directive of unit_partner must be a number from 1 to 1000 in \Q$dir\E/nginx\.conf:\d+$}m, 'text, file and line');
}
my ($status, $output) = check('', partners => {app => {more => 'weight 1; weight 1;'}, other => undef});
like($output, qr/"weight" directive of unit_partner is duplicate/, 'weight twice');

for (['server', "unit_budget 5r/m;"], ['location', 'unit_limit customer rate=5r/m;'], ['location', 'unit_breaker off;']) {
	($status, $output) = check('', $_->[0] => "            $_->[1]");
	like($output, qr/directive is not allowed here in/, "$_->[1] in a $_->[0]");
	check('', server => '', location => '');
}
$t->configure(server => '', location => '');

accepted($_) for (
	'', 'unit_budget 1r/m;', 'unit_budget 2r/m;', 'unit_budget 1r/s;', 'unit_budget 1r/d;', 'unit_budget 100000000r/s;', 'unit_budget 20r/m burst=20;',
	'unit_budget 20r/m burst=20 reserve=0%;', 'unit_budget 20r/m burst=2 reserve=90%;', 'unit_budget 1000r/m delay=30s;', 'unit_limits dry_run;',
	"unit_limit partner rate=1r/d burst=1 delay=1ms;\nunit_limit customer rate=1r/s;\nunit_limit customer rate=1r/m;\nunit_limit customer rate=1r/h;",
	'unit_limit customer rate=1000r/m burst=1000;', 'unit_limit address rate=100000r/m;', 'unit_breaker failures=1 window=1s open=1s;', 'unit_breaker open=1h;', 'unit_breaker off;',
);
accepted('unit_budget 1r/m;', partners => {app => {weight => 1}, other => {issuer => 'https://other.example.test/', weight => 1000}});
accepted('', location => 'unit_limits off;');
$t->done;
