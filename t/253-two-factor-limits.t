#!/usr/bin/perl

# How many messages a phone gets: starts of a verification are counted by customer
# and by address. What has been used up stays used up: through reloads, dead
# workers and a zone that is full. What Unit refused is given back.
#
# P24, P25 (reload), P26 (exhaustion), P30 (windows on the monotonic clock).

use strict;
use warnings;

use Test::More;
use UnitGateway;
use UnitGateway::Clock;
use UnitGateway::TwoFactor qw(verification begin finish);

sub refused { my ($r) = @_; return ref $r ? $r->status . ' ' . $r->code : $r }

sub count { my %n; $n{refused($_)}++ for @_; return \%n }

# The limits count by address: each test request can come from one of its own.
my $realip = "set_real_ip_from 127.0.0.1;\nreal_ip_header X-Test-Address;";
sub from { my ($address, @who) = @_; return (@who, headers => ['X-Test-Address' => $address]) }

# -- starts: per customer ----------------------------------------------------------------------------

my $clock = UnitGateway::Clock->new;
my $limited = UnitGateway->new(workers => 2, limits => 'dry_run', env => $clock->env, http => $realip, partners => {two => {issuer => 'https://two.example.test/'}})->start;
my $sandbox = $limited->sandbox;
my @a = (token => $limited->jwt(sub => 'alice', exp => 500_000));
my $address = 0;

# A start from an address that nobody has used; the response.
sub fresh { my ($who, %o) = @_; return begin($limited, [from('192.0.2.' . ++$address, @$who)], %o) }

sub retry { return $_[0]->header('Retry-After') }

my @seen = map { fresh(\@a) } 1 .. 3;
is_deeply(count(@seen), {'201 ' => 3}, 'three starts');
my $r = fresh(\@a);
is(refused($r), '429 two_factor_limited', 'the fourth is refused');
cmp_ok(retry($r), '<=', 600, 'for ten minutes');
cmp_ok(retry($r), '>=', 580, 'not less');
like($r->body, qr/\A\{"errors":\[\{"id":"[^"]+","status":"429","title":"Too Many Requests","code":"two_factor_limited","detail":"[^"]+"\}\]\}\z/,
	'a document as any');
is($sandbox->counter('verifications'), 3, 'Unit has sent three messages');
is(refused(fresh([token => $limited->jwt(sub => 'alice', claims => {sid => 'other'})])), '429 two_factor_limited', 'another session is no way round');
is(refused(fresh([token => $limited->jwt(sub => 'eve', claims => {unitCustomerId => '10001'})])), '429 two_factor_limited', 'nor another subject');
is(refused(fresh([token => $limited->jwt(sub => 'alice', claims => {iss => 'https://two.example.test/'})])), '429 two_factor_limited',
	'nor another partner');
is(refused(fresh([as => 'bob'])), '201 ', 'another customer is not touched');
my $handle = $seen[2]->json->{data}{attributes}{verificationToken};
is(finish($limited, \@a, scope => 'cards-write', verificationToken => $handle, verificationCode => $sandbox->otp('10001')->{code})->status, 201,
	'codes under way are good');
is(refused(fresh(\@a)), '429 two_factor_limited', 'and free nothing');
is(refused($limited->post('/customers/me/token/verification', @a, verification(channel => 'pigeon'))), '400 invalid_body', 'what is wrong anyhow is told');
ok($limited->reload, 'reload');
is(refused(fresh(\@a)), '429 two_factor_limited', 'it is remembered');
$limited->kill_worker($_) for $limited->workers;
is(refused(fresh(\@a)), '429 two_factor_limited', 'by new workers, too');
$clock->advance(595);
$r = fresh(\@a);
is(refused($r), '429 two_factor_limited', 'until the end');
cmp_ok(retry($r), '<=', 5, 'which is near');
$clock->advance(6);
is_deeply(count(map { fresh(\@a) } 1 .. 4), {'201 ' => 3, '429 two_factor_limited' => 1}, 'then three again');
$clock->advance(601);
is_deeply(count(map { fresh(\@a) } 1 .. 4), {'201 ' => 3, '429 two_factor_limited' => 1}, 'and again');
$clock->advance(601);
my @ten = map { fresh(\@a) } 1 .. 2;
is_deeply(count(@ten), {'201 ' => 1, '429 two_factor_limited' => 1}, 'ten in a day');
cmp_ok(retry($ten[1]), '>', 84000, 'the next is far');
cmp_ok(retry($ten[1]), '<=', 86400 - 1803, 'a day after the first');
$clock->advance(retry($ten[1]) - 2);
is(refused(fresh(\@a)), '429 two_factor_limited', 'not sooner');
$clock->advance(3);
is_deeply(count(map { fresh(\@a) } 1 .. 2), {'201 ' => 2}, 'and then');

# -- starts that fail are given back ---------------------------------------------------------------------

my @made = $sandbox->customers(800);
my $at = 0;
sub somebody {
	my $c = $made[$at++];
	return [token => $limited->jwt(sub => $c->{subject}, claims => {unitCustomerId => "$c->{customerId}"}), customer => $c->{customerId}];
}

for (
	['refused' => {status => 400}, 1], ['forbidden' => {status => 403}, 1], ['our token' => {status => 401}, 1], ['busy' => {status => 429}, 1],
	['broken' => {status => 500}, 1], ['not known' => {status => 404}, 1],
	['cut' => {drop => 'after'}, 0], ['not answered' => {drop => 'before'}, 0], ['unreadable' => {status => 201, body => 'x'}, 0],
) {
	my ($name, $action, $back) = @$_;
	my ($who, $customer) = do { my $s = somebody(); ([@$s[0, 1]], $s->[3]) };
	$sandbox->fault(POST => "/customers/$customer/token/verification", $action, 6);
	my $n = count(map { fresh($who) } 1 .. 6);
	is($n->{'429 two_factor_limited'} // 0, $back ? 0 : 3, "$name: " . ($back ? 'counts not' : 'counts, for a message may be on its way'));
	$sandbox->clear_faults;
	is_deeply(count(map { fresh($who) } 1 .. 4), {$back ? ('201 ' => 3) : (), '429 two_factor_limited' => $back ? 1 : 4}, "$name: then three") ;
}
my $port = $limited->port('NOBODY');
$limited->configure(broker_upstream => "127.0.0.1:$port");
ok($limited->reload, 'Unit cannot be reached');
my $who = [@{somebody()}[0, 1]];
is_deeply(count(map { fresh($who) } 1 .. 6), {'502 upstream_unavailable' => 6}, 'that counts not');
$limited->configure(broker_upstream => undef);
ok($limited->reload, 'it can');
is_deeply(count(map { fresh($who) } 1 .. 4), {'201 ' => 3, '429 two_factor_limited' => 1}, 'then three');

# many at the same time: exactly three
$who = [@{somebody()}[0, 1]];
my @all = $limited->many([map {
	$limited->bytes(POST => '/customers/me/token/verification', from("198.51.100.$_", @$who), verification(channel => 'sms'))
} 1 .. 30], together => 1);
is_deeply(count(@all), {'201 ' => 3, '429 two_factor_limited' => 27}, 'thirty at once: three');

# -- starts: per address -----------------------------------------------------------------------------------

sub starts {
	my ($address, @who) = @_;
	return $limited->many([map {
		$limited->bytes(POST => '/customers/me/token/verification', from($address, @$_[0, 1]), verification(channel => 'sms'))
	} @who]);
}

my $mark = $sandbox->mark;
is_deeply(count(starts('203.0.113.1', map { somebody() } 1 .. 60)), {'201 ' => 60}, 'sixty customers from one address');
my @more = starts('203.0.113.1', map { somebody() } 1 .. 5);
is_deeply(count(@more), {'429 two_factor_limited' => 5}, 'no more');
cmp_ok(retry($more[0]), '<=', 600, 'for ten minutes');
cmp_ok(retry($more[0]), '>', 500, 'not less');
is(scalar(grep { $_->{path} =~ /verification/ } $sandbox->journal($mark)), 60, 'Unit has seen sixty');
is_deeply(count(starts('203.0.113.2', somebody())), {'201 ' => 1}, 'another address is not touched');
$at -= 2;
is_deeply(count(starts('203.0.113.3', map { somebody() } 1 .. 1)), {'201 ' => 1}, 'who was refused has lost nothing');
is_deeply(count(starts('2001:db8:1:1::1', map { somebody() } 1 .. 60)), {'201 ' => 60}, 'IPv6');
is_deeply(count(starts('2001:db8:1:1:ffff::2', somebody())), {'429 two_factor_limited' => 1}, 'a /64 is one address');
is_deeply(count(starts('2001:db8:1:2::1', somebody())), {'201 ' => 1}, 'the next one another');
is_deeply(count(starts('::ffff:203.0.113.1', somebody())), {'429 two_factor_limited' => 1}, 'IPv4 in IPv6 is IPv4');

# a phone that is none cannot be looked for
$who = [@{somebody()}[0, 1]];
my %phone = (phone => {countryCode => '1', number => '5550299999'});
my @guess = map { begin($limited, [from('203.0.113.9', @$who)], %phone) } 1 .. 62;
is_deeply(count(@guess), {'400 invalid_body' => 60, '429 two_factor_limited' => 2}, 'sixty guesses at a phone number, from one address');
is_deeply(count(map { fresh($who) } 1 .. 4), {'201 ' => 3, '429 two_factor_limited' => 1}, 'the customer has lost nothing');
$clock->advance(601);
is_deeply(count(starts('203.0.113.1', map { somebody() } 1 .. 61)), {'201 ' => 60, '429 two_factor_limited' => 1}, 'ten minutes later sixty again');
$limited->stop;

# -- when Unit's budget is used up ------------------------------------------------------------------------

$clock = UnitGateway::Clock->new;
my $poor = UnitGateway->new(
	workers => 2, env => $clock->env, http => 'unit_limits on;',
	limits => 'unit_budget 6r/m burst=6 reserve=0%; unit_limit customer rate=6r/m burst=6;',
)->start;
my @bob = (as => 'bob');
is(refused(begin($poor, \@bob)), '201 ', 'a start');
$handle = begin($poor, \@bob)->json->{data}{attributes}{verificationToken};
my $code = $poor->sandbox->otp('10002')->{code};
my @try = (scope => 'cards-write', verificationToken => $handle, verificationCode => $code);
$mark = $poor->sandbox->mark;
is($poor->get($_, as => 'alice')->status, 200, 'others use up what is left') for '/accounts', '/cards';
$mark = $poor->sandbox->mark;
$r = begin($poor, \@bob);
like($r->header('RateLimit'), qr/\A"customer";r=[1-9]/, 'the caller itself has some');
is(refused($r), '429 rate_limited', 'no calls are left: not started');
is(refused(finish($poor, \@bob, @try)), '429 rate_limited', 'and no code is tried');
is(scalar $poor->sandbox->journal($mark), 0, 'Unit is not asked');
$clock->advance(61);
is(refused(finish($poor, \@bob, @try)), '201 ', 'which is good later');
$clock->advance(61);
is(refused(begin($poor, \@bob)), '201 ', 'what did not start was not counted');
$clock->advance(61);
is(refused(begin($poor, \@bob)), '429 two_factor_limited', 'what did was');
$poor->configure(http => 'unit_limits dry_run;');
ok($poor->reload, 'limits that only tell');
is(refused(begin($poor, \@bob)), '429 two_factor_limited', 'do not let more messages out');
$poor->configure(http => 'unit_limits off;');
ok($poor->reload, 'no limits');
is(refused(begin($poor, \@bob)), '201 ', 'do');
$poor->stop;

# -- a full zone refuses and forgets nothing ---------------------------------------------------------------------

my $full = UnitGateway->new(workers => 2, limits => 'dry_run', zone => '128k', http => $realip)->start;
@made = $full->sandbox->customers(1000);
my @tokens;
for my $n (0 .. 19) {
	my @ids = map { "$_->{customerId}" } @made[$n * 50 .. $n * 50 + 49];
	my $jwt = $full->jwt(sub => "user-$n", claims => {unitCustomerId => \@ids});
	push @tokens, map { [$jwt, $_] } @ids;
}

# Starts for some of them, each from an address of its own.
sub fill {
	my (@n) = @_;
	return $full->many([map {
		$full->bytes(POST => '/customers/me/token/verification', token => $tokens[$_][0], verification(channel => 'sms'),
			headers => ['Unit-Customer' => $tokens[$_][1], 'X-Test-Address' => '10.0.' . int($_ / 250) . '.' . (1 + $_ % 250)])
	} @n]);
}

# what leads to no message leaves nothing behind, from wherever it comes; one after the other
sub pump {
	my ($status) = @_;
	$full->sandbox->fault(POST => "/customers/$tokens[500][1]/token/verification", {status => $status}, 1000) if $status;
	my $client = $full->connect;
	$client->send(join '', map {
		$full->bytes(POST => '/customers/me/token/verification', token => $tokens[500][0], verification(channel => 'sms'),
			headers => ['Unit-Customer' => $tokens[500][1], 'X-Test-Address' => '10.1.' . int($_ / 250) . '.' . (1 + $_ % 250)])
	} 0 .. 499);
	my $n = count(map { $client->response } 0 .. 499);
	$client->close;
	$full->sandbox->clear_faults;
	return $n;
}
is_deeply(pump(401), {'503 broker_unavailable' => 500}, '500 starts that come to nothing, from 500 addresses');
is_deeply(count(fill((500) x 3)), {'201 ' => 3}, 'then three that do');
is_deeply(pump(0), {'429 two_factor_limited' => 500}, '500 too many, from 500 addresses');

# some who have asked for a code before
my @asked = map { my ($r) = fill($_); [$_, $r->json->{data}{attributes}{verificationToken}, $full->sandbox->otp($tokens[$_][1])->{code}] } 700 .. 719;
fill(0) for 1 .. 3;
my @first = fill(0);
is_deeply(count(@first), {'429 two_factor_limited' => 1}, 'somebody is locked out');
my ($ok, $refused) = (0, 0);
for my $n (0 .. 19) {
	my $c = count(fill(map { $n * 50 + $_ } ($n ? 0 : 1) .. 49));
	$ok += $c->{'201 '} // 0;
	$refused += $c->{'429 two_factor_limited'} // 0;
}
is($ok + $refused, 999, '999 more start a verification');
cmp_ok($ok, '>', 20, 'the zone takes some, as if those had not been');
cmp_ok($refused, '>', 100, 'then it is full: refused');
@first = fill(0);
is_deeply(count(@first), {'429 two_factor_limited' => 1}, 'who was locked out still is');
my @last = fill(999);
is_deeply(count(@last), {'429 two_factor_limited' => 1}, 'nobody is forgotten for the sake of others');
is(retry($last[0]), 60, 'they are told to come back');
is($full->sandbox->counter('verifications'), $ok + 26, 'and get no message');
my (%answers, @lied);
for (@asked) {
	my ($n, $handle, $code) = @$_;
	my @who = (token => $tokens[$n][0], headers => ['Unit-Customer' => $tokens[$n][1]]);
	my $r = finish($full, \@who, scope => 'accounts-write', verificationToken => $handle, verificationCode => $code);
	$answers{refused($r)}++;
	push @lied, $n if $r->status == 201 && !$full->get('/customers/me/token', @who)->json->{data}{attributes}{verified};
}
is_deeply([grep { !/\A(?:201 |503 broker_unavailable)\z/ } keys %answers], [], 'codes of before are good, where there is room') or diag explain \%answers;
is("@lied", '', 'and who is said to be verified is');
is($full->get('/accounts', as => 'alice')->status, 200, 'other requests are served') for 1 .. 3;
is($full->get('/customers/me/token', as => 'alice')->status, 200, 'status too');
$full->done;
