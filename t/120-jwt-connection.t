#!/usr/bin/perl

# One connection, several callers: a balancer may put them on one. The hash of
# the last token of a connection is remembered (ngx_http_unit_memo.c), so each
# request must count by its own token, whatever the one before it was.

use strict;
use warnings;

use Test::More;
use UnitGateway;

my $t = UnitGateway->new;
$t->start;

my %jwt = map { $_ => $t->jwt(sub => $_) } qw(alice bob);
$jwt{long} = $t->jwt(sub => 'alice', claims => {note => 'x' x 1500});
$jwt{longer} = $t->jwt(sub => 'alice', claims => {note => 'x' x 200});

# the same length: other bytes at the start, in the middle and at the end of
# the signature; and what remains when something is cut off
my $at = rindex($jwt{alice}, '.') + 1;
for my $place ([first => $at], [middle => $at + 150], [last => length($jwt{alice}) - 2]) {
	my $forged = $jwt{alice};
	substr($forged, $place->[1], 1) = substr($forged, $place->[1], 1) eq 'A' ? 'B' : 'A';
	$jwt{$place->[0]} = $forged;
}
$jwt{cut} = substr $jwt{alice}, 0, -4;
$jwt{more} = $jwt{alice} . 'AAAA';

my %status = (alice => 200, long => 200, longer => 200, bob => 403);
my $connection = $t->connect;

sub ask {
	my ($who) = @_;

	$connection->send("GET /customers/10001 HTTP/1.1\r\nHost: gateway\r\nAuthorization: Bearer $jwt{$who}\r\n\r\n");
	return $connection->response->status;
}

# every one after every other one, and twice
my @who = sort keys %jwt;
for my $first (@who) {
	my @bad;
	for my $second (@who) {
		for my $who ($first, $first, $second, $second) {
			my $status = ask($who);
			my $expected = $status{$who} // 401;
			push @bad, "$first, $second: $who got $status" if $status != $expected;
		}
	}
	is("@bad", '', "$first, then any other");
}

$t->done;
