#!/usr/bin/perl

# A connection to Unit that was kept and turns out to be closed when a call of
# the gateway's own is sent on it: tokens, lists, one-time passwords and their
# codes are sent once, on kept connections and on new ones, before and after the
# first byte of an answer, and whatever proxy_next_upstream says.
#
# P32 (connections that are used again).

use strict;
use warnings;

use Test::More;
use UnitGateway;
use UnitGateway::Upstream;

my $up = UnitGateway::Upstream->new;
my $t = UnitGateway->new(
	upstream => $up->address, sandbox => 0, partners => {
		app => {more => '        token customer;'},
		find => {issuer => 'https://find.example.test/', customer => 'lookup', role => undef, session => undef},
	},
)->start;

my $serial = 0;
my $client;

# One request that needs a call of ours first.
sub ask {
	my ($method, $target, %o) = @_;
	$client->close if $client;
	$client = $t->connect;
	$client->send($t->bytes($method, $target, token => $t->jwt(sub => 'alice', claims => {sid => 's' . ++$serial}), %o));
}

# Makes kept connections: so many calls at a time, each answered at the end.
sub keep {
	my ($n) = @_;

	my @clients = map { $t->connect } 1 .. $n;
	$_->send($t->bytes(GET => '/accounts', token => $t->jwt(sub => 'alice', claims => {sid => 'k' . ++$serial}))) for @clients;
	my @calls = map { $up->call } 1 .. $n;
	my %kept = map { $_->connection => 1 } @calls;
	die "not $n connections\n" if keys %kept != $n;
	$_->answer(404, '{"errors":[]}') for @calls;
	$_->response for @clients;
	$_->close for @clients;
	return \%kept;
}

sub code { my $r = $client->response; return $r->status . ' ' . $r->code }

# -- a token -----------------------------------------------------------------------------

for my $end (qw(close abort)) {
	my $kept = keep(1);
	ask(GET => '/accounts');
	my $call = $up->call;
	ok($kept->{$call->connection}, "$end: a token call on a kept connection");
	$call->$end;
	is(code(), '502 upstream_unavailable', "$end: has failed");
	ok($up->quiet, "$end: and is not sent again");
}

# a new one is closed: it was not the waiting that closed it
$_->{client}->close for @{$up->{open}};
ask(GET => '/accounts');
$up->call->close;
is(code(), '502 upstream_unavailable', 'a new connection that is closed: not again');
ok($up->quiet, 'nothing else was sent');

# an answer has begun
for (['a byte' => 'H'], ['a status line' => "HTTP/1.1 201 Created\r\n"], ['half of a head' => "HTTP/1.1 201 Created\r\nContent-Le"]) {
	my ($name, $bytes) = @$_;
	keep(1);
	ask(GET => '/accounts');
	$up->call->end($bytes);
	is(code(), '502 upstream_unavailable', "$name: not again");
	ok($up->quiet, "$name: nothing else was sent");
}

# -- a list ------------------------------------------------------------------------------

keep(1);
$client->close;
$client = $t->connect;
$client->send($t->bytes(GET => '/accounts', token => $t->jwt(sub => 'found', claims => {iss => 'https://find.example.test/'})));
my $call = $up->call;
like($call->line, qr{\AGET /customers\?}, 'a lookup');
$call->close;
is(code(), '502 upstream_unavailable', 'has failed');
ok($up->quiet, 'and is not sent again');

# -- one-time passwords --------------------------------------------------------------------

my %session = (token => $t->jwt(sub => 'alice', claims => {sid => 'otp'}));
my $start = {data => {type => 'customerTokenVerification', attributes => {channel => 'sms'}}};

keep(1);
ask(POST => '/customers/10001/token/verification', json => $start, %session);
$up->call->close;
is(code(), '502 upstream_unavailable', 'a verification is started once');
ok($up->quiet, 'nobody gets two messages');

ask(POST => '/customers/10001/token/verification', json => $start, %session);
$up->call->answer(201, {data => {type => 'customerTokenVerification', attributes => {verificationToken => 'of-unit'}}});
my $handle = $client->response->json->{data}{attributes}{verificationToken};
keep(1);
ask(POST => '/customers/10001/token', %session, json => {data => {type => 'customerToken', attributes => {
	scope => 'payments-write', verificationToken => $handle, verificationCode => '123456'}}});
$call = $up->call;
like($call->body, qr/"verificationCode":"123456"/, 'a code');
$call->close;
is(code(), '502 upstream_unavailable', 'is sent once');
ok($up->quiet, 'and not again');
$client->close;

# whatever the operator has set
$t->configure(broker => 'proxy_next_upstream error timeout non_idempotent;');
my $conf = $t->read_file('nginx.conf');
my $file = $t->write_file('broker.conf', UnitGateway::slurp($t->root . '/conf/unit_broker.conf') =~ s/^proxy_next_upstream off;//mr);
$conf =~ s{include "[^"]*/unit_broker\.conf"}{include "broker.conf"} or die;
$t->write_file('nginx.conf', $conf);
ok($t->reload, 'proxy_next_upstream on');
%session = (token => $t->jwt(sub => 'alice', claims => {sid => 'otp2'}));
keep(2);
ask(POST => '/customers/10001/token/verification', json => $start, %session);
$up->call->close;
is(code(), '502 upstream_unavailable', 'changes nothing for verifications');
ok($up->quiet, 'nobody gets two messages');
$client->close;

$t->done;
