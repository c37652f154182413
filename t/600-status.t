#!/usr/bin/perl

# unit_status: that each counter moves when it should and by how much, with real
# traffic; that nothing is counted, and no zone made, where nobody asks; that the
# location can be had in any place of a configuration, but not together with
# another handler, for it lets requests pass unchecked.
#
# P1 (counted once, main requests only), P24 (no lock), P25 (reload).

use strict;
use warnings;

use Test::More;
use UnitGateway;
use UnitGateway::Process qw(wait_until);

my $status = 'location = /unit/status { unit_status; }';
my $t = UnitGateway->new(server => $status, limits => '');

# -- configuration -----------------------------------------------------------------

my %bad = (
	'twice' => [
		server => 'location = /unit/status { unit_status; unit_status; }',
		qr/"unit_status" directive is duplicate in \S+nginx\.conf:\d+/,
	],
	'with an argument' => [
		server => 'location = /unit/status { unit_status on; }',
		qr/invalid number of arguments in "unit_status" directive in \S+nginx\.conf:\d+/,
	],
	'in a server' => [
		server => 'unit_status;', qr/"unit_status" directive is not allowed here in \S+nginx\.conf:\d+/,
	],
	'in http' => [
		http => 'unit_status;', qr/"unit_status" directive is not allowed here in \S+nginx\.conf:\d+/,
	],
	'after another handler' => [
		location => 'unit_status;',
		qr/"unit_status" directive cannot go together with another handler in \S+nginx\.conf:\d+/,
	],
	'before another handler' => [
		server => 'location /x { unit_gateway on; unit_status; proxy_pass http://unit_api; }',
		qr/"unit_status" cannot go together with another handler, in location "\/x"/,
	],
);
for my $name (sort keys %bad) {
	my ($where, $text, $error) = @{$bad{$name}};
	my $b = UnitGateway->new(sandbox => 0, $where => $text);
	my ($exit, $said) = $b->test_config;
	isnt($exit, 0, "$name: refused");
	like($said, $error, "$name: and why");
	$b->stop;
}

$t->start;
is($t->get('/unit/status')->status, 200, 'it answers');
$t->done;
