#!/usr/bin/perl

# Many streams of one HTTP/2 connection, each for somebody else, as of a back end
# or a balancer that shares its connections: each has its own answer, however they
# come in turns, and whoever of them is refused, waits for a token, is given up,
# or has no window. An answer that waits for its window, Unit's or our own, holds
# up no other stream; it comes in whole when there is one, byte by byte, and is
# forgotten when the stream is reset.
#
# P8, P10 (bodies in parts), P19 (streams that are reset), P28 (tokens).

use strict;
use warnings;

use Test::More;
use UnitGateway;
use UnitGateway::Process qw(wait_until);

use constant { PEOPLE => 20, DATA => 0, SETTINGS => 4, WINDOW => 8, END_STREAM => 1 };

my $t = UnitGateway->new(http2 => 1, http => 'http2_max_concurrent_streams 1000;')->start;
my ($worker) = $t->workers;
my $sandbox = $t->sandbox;
my @people = map { {id => $_->{customerId}, token => $t->jwt(sub => $_->{subject}, claims => {unitCustomerId => $_->{customerId}})} } $sandbox->customers(PEOPLE);

sub status { my ($h2, $id) = @_; my $r = $h2->response($id); return join ' ', $r->status, grep { length } $r->code }

# -- of many people ----------------------------------------------------------------------------

my $h2 = $t->h2_connect;
my @open;
for my $n (1 .. 8) {
	for my $p (@people) {
		my $body = {data => {type => 'individualCustomer', attributes => {tags => {of => "$p->{id}", n => "$n"}}}};
		my %o = $n % 2 ? () : (json => $body);
		my $id = $h2->open($t->h2_headers($n % 2 ? 'GET' : 'PATCH', '/customers/me', token => $p->{token}, headers => ['Idempotency-Key' => "n-$n"], %o), end => $n % 2);
		push @open, [$id, $p, $n, $body];
		# nobody, and somebody who asks for another's
		push @open, [$h2->open($t->h2_headers(GET => '/customers/me'), end => 1), undef, '401 token_missing'] if $n == 3;
		push @open, [$h2->open($t->h2_headers(GET => "/customers/$people[0]{id}", token => $p->{token}), end => 1), undef, '403 customer_mismatch'] if $n == 5 && $p != $people[0];
	}
}
# the bodies of all of them in turns, in two parts
my @write = map { [$_, JSON::PP->new->utf8->canonical->encode($_->[3])] } grep { $_->[1] && !($_->[2] % 2) } @open;
for my $part (0, 1) {
	for my $w (@write) {
		my $half = int length($w->[1]) / 2;
		$h2->data($w->[0][0], $part ? substr $w->[1], $half : substr($w->[1], 0, $half), end => $part);
	}
}
my (@wrong, %key);
for my $o (@open) {
	my ($id, $p, $n) = @$o;
	if (!$p) {
		my $got = status($h2, $id);
		push @wrong, "$got for $n" if $got ne $n;
		next;
	}
	my $r = $h2->response($id);
	my $data = eval { $r->json->{data} } // {};
	push @wrong, $r->status . " for $p->{id}, $n: " . ($data->{id} // '-') if $r->status != 200 || $data->{id} ne $p->{id};
	push @wrong, "tags of $p->{id}, $n" if $n % 2 == 0 && $r->status == 200 && ($data->{attributes}{tags}{of} // '') ne $p->{id};
}
is(scalar @open, 8 * PEOPLE + PEOPLE + PEOPLE - 1, 'streams of one connection');
is(join(', ', @wrong), '', 'each has its own answer') or diag scalar @wrong;
my %calls;
for ($sandbox->journal) {
	next if $_->{path} =~ /token/;
	$calls{"$_->{customer} $_->{method}"}++;
	$calls{mixed}++ if $_->{method} eq 'PATCH' && $_->{body} !~ /"of":"$_->{customer}"/;
}
is_deeply(\%calls, {map({ ("$_->{id} GET" => 4, "$_->{id} PATCH" => 4) } @people)}, 'Unit got the calls of each with the token and the body of each');
is($sandbox->counter('tokens_minted'), 2 * PEOPLE, 'two tokens for each');

# -- windows -----------------------------------------------------------------------------------

# no window for streams from now on
$h2->frame(SETTINGS, 0, 0, pack 'nN', 4, 0);
my @kinds = (
	[sub { $h2->open($t->h2_headers(GET => '/customers/me', token => $_[0]{token}), end => 1) }, 200], [sub { $h2->open($t->h2_headers(GET => '/customers/me'), end => 1) }, '401 token_missing'],
	[sub { $h2->open($t->h2_headers(GET => '/nothing', token => $_[0]{token}), end => 1) }, '404 unknown_operation'],
	[sub { $h2->open($t->h2_headers(PUT => '/customers/me', token => $_[0]{token}, json => {}), end => 0) }, '405 method_not_allowed'],
);
my @blocked = map { my $k = $_; map { [$k->[0]->($_), $k->[1], $_] } @people } @kinds;
my %stream = map { $_->[0] => $h2->{stream}{$_->[0]} } @blocked;
ok(wait_until(10, sub { $h2->_receive; !grep { !$_->{response} && !defined $_->{reset} } values %stream }), 'all heads have come');
is(scalar(grep { length $_->{body} } values %stream), 0, 'and no byte of a body');
is($t->h2(GET => '/customers/me', token => $people[0]{token})->json->{data}{id}, $people[0]{id}, 'another connection is served');

# every fourth is given up; the rest gets a byte, then three, then all
my @left;
for my $i (0 .. $#blocked) {
	if ($i % 4 == 3) {
		$h2->reset($blocked[$i][0]);
		next;
	}
	push @left, $blocked[$i];
}
for my $step (1, 3) {
	$h2->frame(WINDOW, 0, $_->[0], pack 'N', $step) for @left;
	my $want = $step == 1 ? 1 : 4;
	ok(wait_until(10, sub { return 1 if !grep { length $_->{body} < $want } map { $stream{$_->[0]} } @left; $h2->_receive; 0 }), "windows of $step: they are used");
	is(scalar(grep { length $_->{body} != $want } map { $stream{$_->[0]} } @left), 0, 'and not more');
}
$h2->frame(WINDOW, 0, $_->[0], pack 'N', 100_000) for reverse @left;
@wrong = ();
for my $b (@left) {
	my ($id, $want, $p) = @$b;
	my $r = eval { $h2->response($id) };
	my $got = $r ? join ' ', $r->status, grep { length } $r->code : $@;
	push @wrong, "$got for $want" if $got ne $want;
	push @wrong, "of another" if $want eq '200' && ($r->json->{data}{id} // '') ne $p->{id};
	push @wrong, 'length' if $r && length $r->body != $r->header('Content-Length');
}
is(join(', ', @wrong), '', 'then all of it, in whole');
$h2->close;

# what waits for ever ends with its client
$h2 = $t->h2_connect;
$h2->frame(SETTINGS, 0, 0, pack 'nN', 4, 0);
%stream = map { my $id = $_->[0]->($people[0]); $id => $h2->{stream}{$id} } (@kinds) x 10;
ok(wait_until(10, sub { $h2->_receive; !grep { !$_->{response} } values %stream }), '40 answers that nobody takes');
$h2->close;

is($t->get('/customers/me', token => $people[1]{token})->json->{data}{id}, $people[1]{id}, 'HTTP/1.1 goes on');
is_deeply([$t->workers], [$worker], 'in one and the same worker');

$t->done;
