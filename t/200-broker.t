#!/usr/bin/perl

# Customer tokens: which call to Unit makes one, with which scopes, whom it
# serves and for how long. What is cached is used, narrowest first; nobody is
# served with another's; what expires is renewed in time and never sent
# afterwards; a full zone costs calls, never an answer.
#
# P14 (nothing of the client's in our calls), P25 (reload), P26 (exhaustion),
# P28 (refresh ahead), P30 (time).

use strict;
use warnings;

use Test::More;
use Time::HiRes ();
use UnitGateway;
use UnitGateway::Config qw(back_end);
use UnitGateway::Process qw(wait_until);
use UnitGateway::Upstream;

my $t = UnitGateway->new(
	workers => 2,
	partners => {
		two => {issuer => 'https://two.example.test/', scopes => 'accounts transactions payments-write customer-tags-write'},
		back => back_end(),
	},
)->start;
my $sandbox = $t->sandbox;
my $serial = 0;

# One request with an id of its own: the response and its line in the log.
sub ask {
	my ($method, $target, %o) = @_;

	my $id = sprintf 'broker-test-%08d', ++$serial;
	my $response = $t->request($method, $target, %o, headers => [@{$o{headers} // []}, 'X-Request-Id' => $id]);
	my $line = $t->logs->wait_access(sub { $_->{request_id} eq $id }) or die "no line in the log for $target\n";
	return ($response, $line);
}

sub claims { my ($sub, %claims) = @_; return (token => $t->jwt(sub => $sub, claims => \%claims)) }

# The token calls since a mark.
sub mints { return grep { $_->{path} =~ m{\A/customers/[^/]+/token\z} } $sandbox->journal($_[0]) }

sub attributes { return JSON::PP::decode_json($_[0]{body})->{data}{attributes} }

# -- minted, hit, waited -----------------------------------------------------------

my $mark = $sandbox->mark;
my ($r, $line) = ask(GET => '/accounts', as => 'alice', headers => [
	Cookie => 'a=b', 'X-Forwarded-For' => '192.0.2.1', 'X-Unit-SDK' => 'x', 'Accept-Language' => 'de', 'User-Agent' => 'mine',
]);
is($r->status, 200, 'the first request');
is($line->{token}, 'minted', 'makes a token');
is($line->{attempts}, 1, 'and one call');
my ($mint, @rest) = $sandbox->journal($mark);
is("$mint->{method} $mint->{path} $mint->{token_kind}", 'POST /customers/10001/token org', 'the token call');
is_deeply(
	[sort keys %{$mint->{headers}}], [qw(accept authorization content-length content-type host x-request-id)],
	'has nothing of the client in its head',
);
is($mint->{headers}{'x-request-id'}, $line->{request_id}, 'but the id of the request');
is($mint->{body}, '{"data":{"type":"customerToken","attributes":{"scope":"accounts","expiresIn":3600}}}', 'and this body');
is_deeply([map { "$_->{path} $_->{customer} @{$_->{scopes}}" } @rest], ['/accounts 10001 accounts'], 'then the call with it');

$mark = $sandbox->mark;
for (1 .. 4) {
	($r, $line) = ask(GET => '/accounts', as => 'alice');
	is($r->status . $line->{token}, '200hit', 'the next are served from the cache');
}
($r, $line) = ask(GET => '/accounts/1001', as => 'alice');
is($line->{token}, 'hit', 'so is another operation of that scope');
is(scalar mints($mark), 0, 'without a token call');

$sandbox->fault(POST => '/customers/10002/token', {delay_ms => 150});
my @all = $t->many([($t->bytes(GET => '/accounts', as => 'bob')) x 6], together => 1);
is_deeply([map { ref ? $_->status : $_ } @all], [(200) x 6], 'six at once');
ok($t->logs->wait_access(sub { 6 == grep { $_->{subject} eq 'bob' } $t->access_log }), 'are logged');
is(join(' ', sort map { $_->{token} } grep { $_->{subject} eq 'bob' } $t->access_log), 'minted waited waited waited waited waited',
	'one has made the token, five have waited');

# -- minimal grants ------------------------------------------------------------------

my %want = (
	'/customers/10001' => 'customers', '/customers/me' => 'customers', '/transactions' => 'transactions',
	'/accounts/1001/limits' => 'accounts', '/statements' => 'statements', '/cards' => 'cards', '/cards/1101' => 'cards',
	'/payments' => 'payments', '/counterparties' => 'counterparties', '/authorizations' => 'authorizations',
);
for my $target (sort keys %want) {
	$mark = $sandbox->mark;
	($r, $line) = ask(GET => $target, claims('alice', sid => "grant $target"));
	is($r->status, 200, "$target: served");
	is_deeply([map { attributes($_)->{scope} } mints($mark)], [$want{$target}], "$target: minted with $want{$target} alone");
	is($line->{scope}, $want{$target}, 'which the log says');
}
my %tags = (json => {data => {type => 'individualCustomer', attributes => {tags => {a => 'b'}}}});
my %two = (iss => 'https://two.example.test/');
for (
	['a broad ceiling' => {}, 'customers-write'],
	['a narrow one' => {%two}, 'customer-tags-write'],
) {
	my ($name, $claims, $scope) = @$_;
	$mark = $sandbox->mark;
	($r, $line) = ask(PATCH => '/customers/me', claims('alice', %$claims), %tags);
	is($r->status, 200, "a write under $name");
	is_deeply([map { attributes($_)->{scope} } mints($mark)], [$scope], "takes $scope");
}
$mark = $sandbox->mark;
for (
	['a role that only reads' => {unitRole => 'ReadOnly'}, PATCH => '/customers/me', \%tags],
	['a ceiling without the scope' => {%two}, GET => '/cards', {}],
) {
	my ($name, $claims, $method, $target, $o) = @$_;
	($r, $line) = ask($method, $target, claims('alice', %$claims), %$o);
	is($r->status . ' ' . $r->code, '403 insufficient_scope', $name);
	is($line->{token}, 'none', "$name: no token");
}
is(scalar $sandbox->journal($mark), 0, 'and no call to Unit');

# -- whose token -------------------------------------------------------------------

$mark = $sandbox->mark;
my %who = (
	'alice' => [claims('alice')], 'alice, session one' => [claims('alice', sid => 'one')],
	'alice, session two' => [claims('alice', sid => 'two')], 'alice of the other partner' => [claims('alice', %two)],
	'eve for alice' => [claims('eve', unitCustomerId => '10001')], 'eve for bob' => [claims('eve', unitCustomerId => '10002')],
	'eve for both, alice' => [claims('eve', unitCustomerId => ['10001', '10002']), headers => ['Unit-Customer' => '10001']],
	'eve for both, bob' => [claims('eve', unitCustomerId => ['10001', '10002']), headers => ['Unit-Customer' => '10002']],
	'alice, role ReadOnly' => [claims('alice', unitRole => 'ReadOnly')], 'bob' => [claims('bob')],
);
my %by;
for my $name (sort keys %who) {
	my $from = $sandbox->mark;
	($r, $line) = ask(GET => '/accounts', @{$who{$name}});
	is($r->status, 200, "$name: served");
	my ($call) = grep { $_->{path} eq '/accounts' } $sandbox->journal($from);
	is($call->{customer}, $name =~ /bob/ ? '10002' : '10001', "$name: as the right customer");
	$by{$name} = $call->{headers}{authorization};
	my %owner = map { $_->{id} => 1 } @{$r->json->{data}};
	is_deeply([sort keys %owner], $name =~ /bob/ ? ['2001'] : ['1001', '1002'], "$name: sees those accounts");
}
is($by{'eve for both, alice'}, $by{'eve for alice'}, 'how a customer was named makes no other token');
is($by{'alice, role ReadOnly'}, $by{alice}, 'nor does a role that may use it');
my %seen;
push @{$seen{$by{$_}}}, $_ for sort keys %by;
is(scalar keys %seen, 7, 'all others have tokens of their own') or diag explain [values %seen];

# -- ceiling ------------------------------------------------------------------------

my $conf = $t->read_file('nginx.conf');
$t->configure(http => 'unit_token_scopes ceiling; unit_token_lifetime 10m;');
ok($t->reload, 'now in one token what the caller may have');
($r, $line) = ask(GET => '/accounts', as => 'alice');
is($r->status . $line->{token}, '200hit', 'the tokens of before are still good');

my $all = 'customers customers-write customer-tags-write accounts accounts-write cards transactions transactions-write '
	. 'authorizations statements payments counterparties events events-write check-deposits check-payments wire-drawdowns';
for (
	['alice' => {}, $all],
	['alice, ReadOnly' => {unitRole => 'ReadOnly'}, join ' ', grep { !/-write\z/ } split / /, $all],
	['the other partner' => {%two}, 'customer-tags-write accounts transactions'],
) {
	my ($name, $claims, $scopes) = @$_;
	$mark = $sandbox->mark;
	my @who = claims('alice', sid => "ceiling $name", %$claims);
	($r, $line) = ask(GET => '/transactions', @who);
	is($r->status . $line->{token}, '200minted', "$name: minted");
	is_deeply([map { attributes($_)->{scope} } mints($mark)], [$scopes], "$name: with the whole ceiling, none that needs 2FA");
	is_deeply([map { attributes($_)->{expiresIn} } mints($mark)], [600], "$name: for the configured time");
	($r, $line) = ask(GET => '/accounts', @who);
	is($r->status . $line->{token}, '200hit', "$name: good for other operations");
}

# a token whose scopes are fewer is preferred
$mark = $sandbox->mark;
($r, $line) = ask(GET => '/statements', claims('alice', sid => 'one'));
($r, $line) = ask(GET => '/accounts', claims('alice', sid => 'one'));
is($line->{token}, 'hit', 'two tokens serve');
my @calls = grep { $_->{path} =~ m{\A/(?:accounts|statements)\z} } $sandbox->journal($mark);
is_deeply([map { scalar @{$_->{scopes}} } @calls], [scalar(split / /, $all), 1], 'the narrower one is taken');

# -- the organisation's token -----------------------------------------------------------

$mark = $sandbox->mark;
my @back = (token => $t->jwt(sub => 'batch', claims => {iss => 'https://back.example.test/'}));
($r, $line) = ask(GET => '/applications', @back);
is($r->status . $line->{token}, '200none', 'a partner with the organisation\'s token');
($r, $line) = ask(GET => '/customers/10002', @back);
is($r->status . $line->{token}, '200none', 'reaches any customer');
is_deeply([map { "$_->{method} $_->{token_kind}" } $sandbox->journal($mark)], ['GET org', 'GET org'], 'and nothing is minted');

my $old = $t->read_file('org-token') =~ s/\s//gr;
my $new = 'v2.public.' . 'n' x 70;
$t->logs->mark;
$t->write_file('org-token', "$new\n");
ok(wait_until(5, sub { 2 == (() = $t->error_log =~ /org-token" loaded again/g) }), 'another token in the file is read by both workers');
$mark = $sandbox->mark;
$t->many([map { $t->bytes(GET => '/accounts', claims('alice', sid => "new $_")) } 1 .. 8]);
ask(GET => '/applications', @back);
my %sent = map { $_->{headers}{authorization} => 1 } grep { $_->{token_kind} eq 'org' } $sandbox->journal($mark);
is_deeply([keys %sent], ["Bearer $new"], 'and is the one that is used');
is(scalar mints($mark), 8, 'for eight mints');
($r, $line) = ask(GET => '/accounts', as => 'alice');
is($r->status . $line->{token}, '200hit', 'customer tokens do not depend on it');

# -- reload --------------------------------------------------------------------------

$t->write_file('nginx.conf', $conf);
ok($t->reload, 'reload');
($r, $line) = ask(GET => '/accounts', as => 'alice');
is($line->{token}, 'hit', 'the cache stays');
$t->configure(http => '', partners => {app => {issuer => 'https://other.example.test/'}});
ok($t->reload, 'reload with another issuer');
is($t->get('/accounts', as => 'alice')->status, 401, 'the old one counts no longer');
($r, $line) = ask(GET => '/accounts', claims('alice', iss => 'https://other.example.test/'));
is($r->status . $line->{token}, '200minted', 'alice of the new one does not get the token of the old one');
$t->stop;

# -- a zone that is far too small -----------------------------------------------------------

my $small = UnitGateway->new(zone => '128k', workers => 2)->start;
my @made = $small->sandbox->customers(1280);
my @bytes;
for my $n (0 .. 19) {
	my @ids = map { $_->{customerId} } @made[$n * 64 .. $n * 64 + 63];
	my $token = $small->jwt(sub => "user-$n", claims => {unitCustomerId => \@ids});
	push @bytes, map { $small->bytes(GET => '/accounts', token => $token, headers => ['Unit-Customer' => $_]) } @ids;
}
$mark = $small->sandbox->mark;
my %status;
my @at = 0 .. $#bytes;
while (my @some = splice @at, 0, 160) {
	$status{ref ? $_->status : $_}++ for $small->many([@bytes[@some]]);
}
is_deeply(\%status, {200 => 1280}, '1,280 customers are served');
my %wrong;
my $minted = 0;
for ($small->sandbox->journal($mark)) {
	$minted++ if $_->{path} =~ /token/;
	$wrong{$_->{n}} = 1 if $_->{path} !~ /token/ && $_->{token_kind} ne 'customer';
}
is($minted, 1280, 'each with a token of its own');
is_deeply(\%wrong, {}, 'none without');
%status = ();
$mark = $small->sandbox->mark;
$status{ref ? $_->status : $_}++ for $small->many([@bytes[0 .. 19]]);
is_deeply(\%status, {200 => 20}, 'the oldest again');
is(scalar(grep { $_->{path} =~ /token/ } $small->sandbox->journal($mark)), 20, 'were evicted');
$mark = $small->sandbox->mark;
$small->many([@bytes[0 .. 19]]);
is(scalar(grep { $_->{path} =~ /token/ } $small->sandbox->journal($mark)), 0, 'and are cached now');
unlike($small->error_log, qr/no memory/, 'a full zone is not worth a line in the log');
$small->stop;

# -- expiry and refresh ahead: Unit grants two seconds ------------------------------------------

my $up = UnitGateway::Upstream->new;
my $slow = UnitGateway->new(upstream => $up->address, sandbox => 0)->start;
my $client = $slow->connect;

# One request of alice's: the token it went out with, "mint" if it waits for one.
sub used {
	my ($client, $target) = @_;
	$client->send($slow->bytes(GET => $target // '/accounts', as => 'alice'));
	my $call = $up->call;
	return ('mint', $call) if $call->method eq 'POST';
	$call->answer(200, '{"data":[]}');
	$client->response;
	return ($call->header('Authorization'));
}

sub now { return Time::HiRes::clock_gettime(Time::HiRes::CLOCK_MONOTONIC()) }

my ($what, $call) = used($client);
is($what, 'mint', 'minted');
my $born = now();
$call->token(token => 'v2.public.first', expiresIn => 2);
$up->call->answer(200, '{"data":[]}');
$client->response;

# until the first request that starts a refresh
my ($served, $other) = (0);
my $refresh = wait_until(4, sub {
	$client = $slow->connect;
	$client->send($slow->bytes(GET => '/accounts', as => 'alice'));
	my @two = ($up->call);
	my ($get) = grep { $_->method eq 'GET' } @two;
	if (!$get) {
		$get = $up->call;
		push @two, $get;
	}
	is($get->header('Authorization'), 'Bearer v2.public.first', 'served with the first token') if @two > 1 || !$served++;
	$get->answer(200, '{"data":[]}');
	$client->response;
	push @two, $up->call(timeout => 0.02) if @two == 1;
	my ($post) = grep { $_ && $_->method eq 'POST' } @two;
	return $post;
});
ok($refresh, 'a new one is asked for');
my $age = now() - $born;
cmp_ok($age, '>', 1.2, 'not at once');
cmp_ok($age, '<', 1.8, 'and before the end of the first');
my $started = now();
for (1 .. 3) {
	($what) = used($slow->connect);
	is($what, 'Bearer v2.public.first', 'nobody waits for it') if now() - $born < 1.75;
}
ok($up->quiet(0), 'and nobody asks a second time');
$refresh->token(token => 'v2.public.second', expiresIn => 1);
ok(wait_until(2, sub { (used($slow->connect))[0] eq 'Bearer v2.public.second' }), 'then the second serves');

# nobody asks while it could be refreshed; then it is over
$born = now();
select undef, undef, undef, 0.05 while now() - $born < 1;
($what, $call) = used($client = $slow->connect);
is($what, 'mint', 'what has expired is not used');
$call->token(token => 'v2.public.third', expiresIn => 3600);
$call = $up->call;
is($call->header('Authorization'), 'Bearer v2.public.third', 'but replaced');
$call->answer(200, '{"data":[]}');
is($client->response->status, 200, 'and the request is served');

# a refresh that fails, here by an answer that is too large, is not tried again
# by each request
($what, $call) = used($client = $slow->connect, '/cards');
$call->token(token => 'v2.public.cards', expiresIn => 5);
$born = now();
$up->call->answer(200, '{"data":[]}');
$client->response;
select undef, undef, undef, 0.05 while now() - $born < 4.1;
my ($tries, $gets) = (0, 0);
while (now() - $born < 4.4) {
	$client = $slow->connect;
	$client->send($slow->bytes(GET => '/cards', as => 'alice'));
	while (my $c = $up->call(timeout => 0.01)) {
		$gets++ if $c->method eq 'GET';
		$tries++ if $c->method eq 'POST';
		$c->answer($c->method eq 'GET' ? (200, '{}') : (201, '{"data":"' . 'x' x 400_000 . '"}'));
	}
	is($client->response->status, 200, 'served while Unit makes no tokens') if $gets < 3;
}
cmp_ok($gets, '>', 2, 'several requests');
is($tries, 1, 'one try');

$slow->done;
