#!/usr/bin/perl

# Failures by client address: who fails to authenticate too often is refused
# before another signature is looked at, who asks for operations that are not
# there too often as well; callers whose token is known feel nothing of their
# neighbours. IPv6 counts by /64, an address that realip has found is the one that
# counts, one that a client makes up is not. What cannot be counted for lack of
# room is refused; other limits then give way to the budget.
#
# P3 (realip runs before), P26 (exhaustion).

use strict;
use warnings;

use Test::More;
use UnitGateway;
use UnitGateway::Clock;

sub refused { my ($r) = @_; return $r->status . ' ' . ($r->code // '') }

sub count { my %n; $n{ref $_ ? refused($_) : $_}++ for @_; return \%n }

my $realip = "set_real_ip_from 127.0.0.1;\nreal_ip_header X-Test-Address;";
sub from { return (headers => ['X-Test-Address' => $_[0]]) }

my $clock = UnitGateway::Clock->new;
my $t = UnitGateway->new(
	workers => 2, env => $clock->env, http => $realip, limits => 'unit_limit address rate=6r/m burst=5;',
)->start;
my @alice = (as => 'alice');
my $bad = $t->jwt(sub => 'alice');
$bad =~ s/\.[^.]+\z/'.' . 'A' x 342/e;

# a token that nobody has seen, of good form, with a signature that is none
my $serial = 0;
sub forged {
	my ($head, $claims) = split /\./, $t->jwt(sub => 'alice', claims => {n => ++$serial});
	return "$head.$claims." . 'A' x 342;
}

# -- failed authentication -------------------------------------------------------------------------------

is($t->get('/accounts', @alice, from('192.0.2.1'))->status, 200, 'a token that is good');
is_deeply(
	count(map { $t->get('/accounts', from('192.0.2.1'), @$_) } [], [token => 'x'], [token => $bad], [token => $bad], [token => forged()]),
	{'401 token_missing' => 1, '401 token_invalid' => 4}, 'five failures of each kind',
);
for ([], [token => 'x'], [token => $bad], [token => forged()]) {
	my $r = $t->get('/accounts', from('192.0.2.1'), @$_);
	is(refused($r), '429 rate_limited', 'the sixth is refused');
	cmp_ok($r->header('Retry-After'), '>=', 9, 'for ten seconds');
	cmp_ok($r->header('Retry-After'), '<=', 10, 'no longer');
	is($r->header('RateLimit-Policy'), '"address";q=6;w=60', 'by its policy');
	like($r->header('RateLimit'), qr/\A"address";r=0;t=(?:9|10)\z/, 'and how it stands');
	is($r->header('WWW-Authenticate'), undef, 'no challenge');
}
is($t->get('/accounts', @alice, from('192.0.2.1'))->status, 200, 'a token that is known is good all the same');
is(refused($t->get('/accounts', token => $t->jwt(sub => 'alice', claims => {sid => 'new'}), from('192.0.2.1'))), '429 rate_limited',
	'one that would have to be verified waits');
is(refused($t->get('/accounts', token => $bad, from('192.0.2.2'))), '401 token_invalid', 'another address is not touched');
is(refused($t->get('/accounts', token => $bad)), '401 token_invalid', 'nor is the proxy');
is($t->logs->wait_access(sub { $_->{limit} eq 'refused:address' })->{client}, '192.0.2.1', 'the log knows');
ok($t->reload, 'a reload');
is(refused($t->get('/accounts', token => $bad, from('192.0.2.1'))), '429 rate_limited', 'changes nothing');
$t->kill_worker($_) for $t->workers;
is(refused($t->get('/accounts', token => $bad, from('192.0.2.1'))), '429 rate_limited', 'nor do new workers');
$clock->advance(10);
is(refused($t->get('/accounts', token => $bad, from('192.0.2.1'))), '401 token_invalid', 'one more after ten seconds');
is(refused($t->get('/accounts', token => $bad, from('192.0.2.1'))), '429 rate_limited', 'one');
is($t->get('/nope', @alice, from('192.0.2.1'))->status, 404, 'failures of other kinds are counted by themselves');

# good tokens do not count, however many
is_deeply(count(map { $t->get('/customers/me/token', token => $t->jwt(sub => 'alice', claims => {sid => "s$_"}), from('192.0.2.3')) } 1 .. 20),
	{'200 ' => 20}, 'who authenticates does not fail');

# -- what is one address -----------------------------------------------------------------------------------

sub failures { my ($n, $address) = @_; return count(map { $t->get('/accounts', token => $bad, from($address)) } 1 .. $n) }

is_deeply(failures(5, '2001:db8:1:2::1'), {'401 token_invalid' => 5}, 'five of an IPv6 address');
is_deeply(failures(1, '2001:db8:1:2:ffff:1:2:3'), {'429 rate_limited' => 1}, 'another one of the same /64 is the same');
is_deeply(failures(1, '2001:db8:1:3::1'), {'401 token_invalid' => 1}, 'one of the next /64 is not');
is_deeply(failures(5, '198.51.100.1'), {'401 token_invalid' => 5}, 'five of an IPv4 address');
is_deeply(failures(1, '::ffff:198.51.100.1'), {'429 rate_limited' => 1}, 'which is the same in IPv6 form');

# -- operations that are not there ----------------------------------------------------------------------------

is_deeply(count(map { $t->get("/nope/$_", @alice, from('192.0.2.9')) } 1 .. 8), {'404 unknown_operation' => 5, '429 rate_limited' => 3},
	'five unknown operations');
is($t->get('/accounts', @alice, from('192.0.2.9'))->status, 200, 'known ones go on');
is_deeply(count(map { $t->request('OPTIONS', '/accounts', from('192.0.2.9')) } 1 .. 8), {'405 method_not_allowed' => 8},
	'asking for the methods of one is no failure');
is_deeply(count(map { $t->request('OPTIONS', '/nope', from('192.0.2.10')) } 1 .. 8), {'404 unknown_operation' => 5, '429 rate_limited' => 3},
	'of none is, with or without a token');
is_deeply(failures(1, '192.0.2.9'), {'401 token_invalid' => 1}, 'and they are no failed authentication');
$t->stop;

# -- a full zone ----------------------------------------------------------------------------------------------

$t = UnitGateway->new(
	workers => 2, http => $realip, zone => '128k', env => $clock->env,
	limits => 'unit_limit address rate=1r/d burst=1; unit_limit customer rate=100r/m burst=5; unit_budget 100r/m burst=10;',
)->start;
my $n = 0;
my @r;
for my $round (1 .. 10) {
	push @r, $t->many([map { $t->bytes(GET => '/nope', @alice, from(sprintf '10.%d.%d.%d', $round, $_ / 250, $_ % 250)) } 1 .. 200]);
	last if count(@r)->{'429 rate_limited'};
}
my %n = %{count(@r)};
cmp_ok($n{'404 unknown_operation'}, '>', 100, 'addresses fill the zone');
cmp_ok($n{'429 rate_limited'} // 0, '>', 0, 'what cannot be counted is refused');
is(scalar keys %n, 2, 'nothing else happens');
is(refused($t->get('/accounts', token => forged(), from('10.99.0.1'))), '429 rate_limited', 'a failure is not tried out in a full zone');
my $lines = () = $t->error_log =~ /no room in the zone to count/g;
cmp_ok($lines, '>', 0, 'the log tells of it');
cmp_ok($lines, '<=', 2, 'once in a while');
%n = %{count(map { $t->get('/accounts', @alice) } 1 .. 20)};
cmp_ok($n{'200 '}, '>=', 4, 'who does not fail is served');
cmp_ok($n{'200 '}, '<=', 10, 'within the budget, whether its customer can be counted or not');
is($n{'200 '} + $n{'429 rate_limited'}, 20, 'the others come back later');
$t->done;
