#!/usr/bin/perl

# No secret comes out: a gateway goes through everything that it does with
# secrets (tokens of partners and of Unit, two-factor authentication, card data
# hand-off, keyed writes, refusals of every kind, malformed input, faults of Unit
# that repeat secrets, reload, a killed worker), at log level info and with the
# shipped log formats. Each secret is a canary with a list of the answers that
# may show it; it must be in no other answer, no log, no other file of the
# gateway, deleted ones that are still open included, and in no process's
# arguments or environment. What the shared zone holds ends when it should: the
# memory of a worker is searched for it. That the search finds is shown for each
# canary, and that of the zone by what is in there for a time.
#
# P14 and P16 (what Unit says of our own calls), P36 (secrets), P37.

use strict;
use warnings;
no warnings 'portable';

use File::Find ();
use JSON::PP ();
use Test::More;
use UnitGateway;
use UnitGateway::Clock;
use UnitGateway::Process qw(wait_until);
use UnitGateway::TwoFactor qw(begin finish other_code);

use constant ZONE => 4 * 1024 * 1024;

my $status_page = -e UnitGateway->root . '/ngx_unit_module/ngx_http_unit_status.c';
my $clock = UnitGateway::Clock->new;
my $t = UnitGateway->new(
	workers => 2, log_level => 'info', zone => '4m', env => $clock->env,
	location => 'unit_token_handoff cards-sensitive;',
	server => $status_page ? 'location = /status { unit_status; }' : '',
)->start;
my $sandbox = $t->sandbox;
my $dir = $t->dir;
my $json = JSON::PP->new->utf8->canonical;

# -- canaries ----------------------------------------------------------------------------
#
# name, text, kinds of answers that may show it: "unit" is Unit's answer to the
# operation itself. "head" is one in a head that nginx refuses before any module is
# asked, and logs at info: the shipped configurations log at notice.

my @canaries;
sub canary { my ($name, $text, @may) = @_; push @canaries, {name => $name, text => $text, may => {map { $_ => 1 } @may}} }

my $serial = 0;
my %data = (
	ssn => '721074426', 'ssn with dashes' => '721-07-4427', 'account number' => '987654321098', 'card number' => '4111119876543210',
	cvv => 'cvv2-is-907', phone => '5550199887',
);
canary($_, $data{$_}, 'unit') for sort keys %data;
canary('the org token', $t->read_file('org-token') =~ s/\s//gr);
canary('the idempotency secret', $t->read_file('idempotency-secret') =~ s/\s//gr);
canary('a malformed head', my $head = 'malformed-head-canary', 'head');

sub key { my $key = 'key-canary-' . ++$serial . '-end'; canary('an idempotency key', $key); return $key }

# A token of a partner, which goes back to its owner as "the token" after 2FA.
sub jwt {
	my (%o) = @_;
	my $jwt = $t->jwt(sub => 'alice', exp => 500_000, claims => {jti => 'leak-' . ++$serial, sid => 'leak'}, %o);
	canary('a token of a partner', $jwt, 'token');
	my $signature = (split /\./, $jwt)[2];
	canary('its signature', $signature, 'token') if length($signature // '') > 20;
	return $jwt;
}

# -- what the gateway answers ---------------------------------------------------------------

my @answers;
sub keep { my ($kind, $r) = @_; push @answers, [$kind, $r->head . $r->body]; return $r }

# One request and its status: the kind is "unit" or "gateway", by who answers.
sub ask {
	my ($kind, $method, $target, %o) = @_;
	my $r = eval { $t->request($method, $target, cut => 1, %o) } // return diag "$method $target: $@";
	return keep($kind, $r)->status;
}

# Bytes as they are; whatever comes back.
sub raw {
	my ($bytes) = @_;
	my $client = $t->connect;
	$client->send($bytes);
	my $r = eval { $client->response(cut => 1) };
	$client->close;
	keep(gateway => $r) if $r;
}

# -- where secrets could be ------------------------------------------------------------------

# what the test has put there, and the sandbox's own log
my %given = map { ("$dir/$_" => 1) } qw(org-token idempotency-secret jwks.json nginx.conf sandbox.log);

# [place, content] of all there is
sub places {
	my @places;
	File::Find::find({no_chdir => 1, wanted => sub {
		push @places, [$_, UnitGateway::slurp($_)] if -f && !$given{$_};
	}}, $dir);
	for my $pid ($t->master, $t->workers) {
		push @places, ["$_ of a process", UnitGateway::slurp("/proc/$pid/$_")] for qw(environ cmdline);
		push @places, map { ["an open file in tmp/, deleted or not", UnitGateway::slurp($_)] }
			grep { (readlink $_ // '') =~ m{\A\Q$dir\E/tmp/} } glob "/proc/$pid/fd/*";
	}
	return @places;
}

# The places and answers that a canary must not be in, but is.
sub leaks {
	my ($canary, $places, $answers) = @_;

	my $regex = $canary->{text} =~ /\A\d{6}\z/ ? qr/(?<![\d#*.:])\Q$canary->{text}\E(?![\d#*.:])/ : qr/\Q$canary->{text}\E/;
	my @found;
	for (@$places) {
		my ($name, $text) = @$_;
		$text =~ s/^\S+ \S+ \[info\].*\n//mg if $canary->{may}{head} && $name =~ m{/error\.log\z};
		push @found, $name if $text =~ $regex;
	}
	push @found, map { "an answer ($_->[0])" } grep { !$canary->{may}{$_->[0]} && $_->[1] =~ $regex } @$answers;
	return @found;
}

# The bytes of the shared zone as a worker sees them.
sub zone {
	my ($pid) = $t->workers;
	for (split /\n/, UnitGateway::slurp("/proc/$pid/maps")) {
		my ($from, $to) = /\A([0-9a-f]+)-([0-9a-f]+) rw-s \S+ \S+ \S+ .*\/dev\/zero/ or next;
		next if hex($to) - hex($from) != ZONE;
		open my $fh, '<:raw', "/proc/$pid/mem" or return undef;
		sysseek $fh, hex $from, 0 or return undef;
		my $bytes = '';
		while (length $bytes < ZONE) {
			sysread $fh, $bytes, ZONE - length $bytes, length $bytes or return undef;
		}
		return $bytes;
	}
	return undef;
}

sub in_zone { return index(zone(), $_[0]) >= 0 }

# What Unit was sent in the last call for a token: Unit's verification token.
sub proof {
	my ($call) = grep { $_->{path} =~ m{/token\z} && $_->{body} =~ /verificationToken/ } reverse $sandbox->journal;
	my $proof = $json->decode($call->{body})->{data}{attributes}{verificationToken};
	canary("a verification token of Unit's", $proof);
	return $proof;
}

sub tokens { return map { ($_->{headers}{authorization} // '') =~ /\ABearer (v2\.public\.\S+)/ && $_->{token_kind} eq 'customer' ? $1 : () } $sandbox->journal }

# A verification under way: the handle and the code.
sub start {
	my ($who) = @_;
	my $handle = keep(verification => begin($t, $who))->json->{data}{attributes}{verificationToken};
	my $code = $sandbox->otp('10001')->{code};
	canary('a handle', $handle, 'verification');
	canary('a one-time code', $code);
	return ($handle, $code);
}

# -- tokens ---------------------------------------------------------------------------------

plan skip_all => 'the memory of a process cannot be read here' if !defined zone();

my @who = (token => jwt());
my @other = (token => jwt(claims => {sid => 'other', jti => 'o'}));
is(ask(unit => GET => "/accounts?filter[search]=$data{ssn}", @who), 200, 'a token is made');
is(ask(unit => GET => '/accounts', @other), 200, 'and another one');
is(ask(unit => GET => '/accounts', @who), 200, 'and used');
$sandbox->revoke('10001');
is(ask(unit => GET => '/accounts', @who), 200, 'and replaced');
my ($token) = reverse tokens();
ok(in_zone($token), "a customer's token is in the zone");

# -- two-factor authentication ------------------------------------------------------------------

my $scope = 'payments-write counterparties-write customers-write cards-write';
my ($handle, $code) = start(\@who);
my %wrong = (scope => $scope, verificationToken => $handle, verificationCode => other_code($code));
is(keep(gateway => finish($t, \@who, %wrong))->status, 403, 'a wrong code');
canary('a wrong code', $wrong{verificationCode});
my $proof = proof();
ok(in_zone($proof), "Unit's verification token is in the zone for a time");
is(keep(gateway => finish($t, \@other, %wrong, verificationCode => $code))->status, 403, 'another session');
is(keep(token => finish($t, \@who, %wrong, verificationCode => $code))->status, 201, 'the right code');
ok(!in_zone($proof), 'used: it has gone');
is(keep(gateway => finish($t, \@who, %wrong, verificationCode => $code))->status, 403, 'once more');
ok(!in_zone($_->[1]), "the zone has not got $_->[0]")
	for ['the handle', $handle], ['the JWT', $who[1]], ['the code', $code], map { [$_->{name}, $_->{text}] } grep { $_->{name} =~ /\Athe / } @canaries;

# a token that leaves on purpose, and for card data alone
my ($again, $pin) = start(\@who);
my $handoff = keep(handoff => finish($t, \@who, scope => 'cards-sensitive', verificationToken => $again, verificationCode => $pin));
is($handoff->status, 201, 'a token is handed off');
canary('the token that was', $handoff->json->{data}{attributes}{token}, 'handoff');
ok(!in_zone($handoff->json->{data}{attributes}{token}), 'and not kept');

# -- writes --------------------------------------------------------------------------------------

sub reference { return {data => {type => $_[0], id => "$_[1]"}} }

sub counterparty {
	return {data => {
		type => 'achCounterparty', attributes => {
			name => 'Joe', routingNumber => '812345678', accountNumber => $data{'account number'}, accountType => 'Checking', type => 'Person',
			tags => {card => $data{'card number'}, ssn => $data{'ssn with dashes'}}, @_ ? (idempotencyKey => $_[0]) : (),
		}, relationships => {customer => reference('customer', 10001)},
	}};
}

my $key = key();
my @key = (headers => ['Idempotency-Key' => $key]);
is(ask(unit => POST => "/counterparties?x=$data{cvv}", @who, @key, json => counterparty()), 201, 'a write') for 1, 2;
is(ask(unit => POST => '/counterparties', @who, json => counterparty(key())), 201, 'with its key in the body');
is(ask(gateway => POST => '/counterparties', @who, @key, json => counterparty($key . 'x')), 400, 'with two');
is(ask(gateway => POST => '/counterparties?y=1', @who, @key, json => counterparty()), 422, 'another one with that key');
is(ask(gateway => POST => '/counterparties', @who, headers => ['Idempotency-Key' => key() . "\x01"], json => counterparty()), 400, 'a bad key');
is(ask(unit => PATCH => '/customers/me', @who, json => {data => {type => 'individualCustomer', attributes => {
	tags => {a => 'b'}, phone => {countryCode => '1', number => $data{phone}}}}}), 200, 'a change of the phone');
ok(!in_zone($key), 'the zone has not got the key');
ok(!in_zone($data{$_}), "nor the $_ of a body") for 'ssn', 'cvv';

# -- refusals ---------------------------------------------------------------------------------------

my %ssn = (type => 'individualApplication', attributes => {ssn => $data{ssn}, fullName => {first => 'A', last => $data{'card number'}}});
my $query = "filter[ssn]=$data{ssn}&card=$data{'card number'}&account=$data{'account number'}&cvv=$data{cvv}";
for (
	[401, GET => "/accounts?$query"], [401, GET => "/accounts?$query", token => jwt(key => 'evil')], [401, GET => '/accounts', token => jwt(exp => -900)],
	[401, GET => '/accounts', token => jwt(alg => 'none')], [401, GET => '/accounts', token => $who[1] . 'AAAA'],
	[401, GET => '/accounts', headers => [Authorization => "Basic $data{'card number'}"]],
	[403, POST => "/applications?$query", @who, json => {data => \%ssn}], [401, POST => "/applications?$query", json => {data => \%ssn}],
	[403, GET => "/customers/10002?$query", @who], [403, GET => "/accounts?filter[customerId]=$data{ssn}", @who],
	[404, GET => "/no/such?$query", @who], [405, PUT => "/accounts?$query", @who], [400, GET => "/accounts/%2f?$query", @who],
	[403, GET => "/cards/1101/secure-data/pan?$query", @who],
	[401, POST => "/payments?$query", @other, json => {data => {type => 'bookPayment', attributes => {description => $data{ssn}}}}],
	[403, POST => "/payments?$query", @who, json => {data => {type => "x$data{'account number'}"}}],
	map({ [400, PATCH => "/customers/me?$query", @who, type => 'application/vnd.api+json', body => $_] }
		qq({"ssn":"$data{ssn}"), qq({"$data{ssn}":1,"$data{ssn}":2}), "$data{'card number'}x", qq({"data":{"Type":"$data{ssn}"}})),
	[415, PATCH => "/customers/me?$query", @who, type => "text/x$data{ssn}", body => "$data{ssn}"],
	[413, PATCH => "/customers/me?$query", @who, headers => ['Content-Length' => 1048577]],
	[413, POST => "/applications/1001/documents?$query", @who, headers => ['Content-Length' => 99_999_999]],
	[400, GET => '/accounts', @who, headers => ['Unit-Customer' => "$data{ssn}x"]], [404, GET => "/_unit/api/$data{cvv}?$query"],
	[400, POST => '/customers/me/token', @who, json => {data => {type => 'customerToken', attributes => {scope => 'accounts', jwtToken => $who[1], x => $data{ssn}}}}],
) {
	my ($status, $method, $target, %o) = @$_;
	my $got = ask(gateway => $method, $target, %o);
	ok($got >= 400 && $got < 500, "refused: $method $target") or diag "$got instead of $status";
}

# what is no request, and heads that nginx cannot read
raw($_) for "GET /accounts?$query\r\n\r\n", "GET /accounts HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer $who[1]\r\nContent-Length: x\r\n\r\n",
	"POST /payments?x=$head HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n$data{ssn}",
	"POST /payments?$query HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer $who[1]\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n$data{ssn}\r\n",
	"GET /x$head HTTP/7\r\n\r\n", "GET / HTTP/1.1\r\nHost: x\r\n$head\r\n\r\n", "GET / HTTP/1.1\r\nHost: x\r\nX $head: 1\r\n\r\n", "$head\r\n\r\n", "\x16\x03\x01\x02$head\r\n\r\n",
	"GET / HTTP/1.1\r\nHost: x\r\nAuthorization: $head\r\nAuthorization: $head\r\n\r\n", "GET / HTTP/1.1\r\nX: " . $head x 4000 . "\r\n\r\n";

# -- faults of Unit ------------------------------------------------------------------------------------

my ($org) = map { $_->{text} } grep { $_->{name} eq 'the org token' } @canaries;
my $echo = $json->encode({errors => [{title => "Bearer $org", detail => "$proof $data{ssn}"}]});
for my $action (
	{status => 500, body => $echo}, {status => 403, body => $echo, headers => {'X-Echo' => "Bearer $org"}}, {status => 400, body => $echo}, {status => 404, body => $echo},
	{status => 429, body => $echo}, {status => 201, body => "{\"data\":\"$org\"}"}, {status => 201, body => $org}, {truncate => 40}, {drop => 'before'}, {drop => 'after'},
) {
	$sandbox->fault(POST => $_, $action, 3) for '/customers/10001/token', '/customers/10001/token/verification';
	my @new = (token => jwt());
	ask(gateway => GET => "/accounts?$query", token => jwt(claims => {sid => 'fault' . ++$serial}));
	keep(gateway => begin($t, \@who));
	keep(gateway => finish($t, \@who, scope => $scope, verificationToken => $handle, verificationCode => $code));
	$sandbox->clear_faults;
}
is(ask(unit => GET => '/accounts/1001', @who), 200, 'the token of the session');
($token) = reverse tokens();
for my $action (
	{status => 500, headers => {'X-Echo' => "Bearer $token", 'X-Org' => $org}, body => '{}'}, {status => 403, headers => {'WWW-Authenticate' => "Bearer $token"}, body => '{}'},
	{status => 200, headers => {Location => "/x?token=$token", 'X-Accel-Redirect' => "/_unit/api/$token"}, body => '{}'}, {truncate => 5}, {drop => 'before'}, {drop => 'after'},
	{status => 429, body => '{}'}, {status => 401, body => '{}', headers => {'X-Echo' => $token}},
) {
	$sandbox->fault($_->[0] => $_->[1], $action, 1) for [GET => '/accounts/1001'], [POST => '/counterparties'];
	ask(unit => GET => "/accounts/1001?$query", @who);
	ask(unit => POST => "/counterparties?$query", @who, headers => ['Idempotency-Key' => key()], json => counterparty());
	$sandbox->clear_faults;
}

# -- a body on its way -------------------------------------------------------------------------------

my $client = $t->connect;
my $big = $json->encode({data => {type => 'individualCustomer', attributes => {tags => {ssn => $data{ssn}, fill => 'x' x 100_000}}}});
my $bytes = $t->bytes(PATCH => '/customers/me', @who, type => 'application/vnd.api+json', body => $big);
$client->send(substr $bytes, 0, length($bytes) - 10);
my ($busy) = grep { $_->{name} eq 'ssn' } @canaries;
is_deeply([leaks($busy, [places()], [])], [], 'half of a body is in no file');
$client->send(substr $bytes, -10);
keep(unit => $client->response);
$client->close;

# -- what ends ----------------------------------------------------------------------------------------

my @gone = (token => jwt(claims => {sid => 'gone'}));
is(ask(unit => GET => '/accounts', @gone), 200, 'a session');
my ($session) = reverse tokens();
my ($h, $c) = start(\@gone);
keep(gateway => finish($t, \@gone, scope => $scope, verificationToken => $h, verificationCode => other_code($c)));
my $second = proof();
ok(in_zone($second) && in_zone($session), 'its secrets are in the zone');
is(ask(gateway => DELETE => '/customers/me/token', @gone), 204, 'logged out');
ok(!in_zone($second), "Unit's verification token has gone");
ok(!in_zone($session), 'and so has the token');

($h, $c) = start(\@who);
keep(gateway => finish($t, \@who, scope => $scope, verificationToken => $h, verificationCode => other_code($c)));
my $third = proof();
ok(in_zone($third), 'a verification that nobody finishes');
$clock->advance(601);
ok(wait_until(10, sub { ask(unit => GET => '/accounts', @other); !in_zone($third) }), 'has gone after its time');

ok($t->reload, 'reload');
is(ask(unit => GET => '/accounts', @who), 200, 'a request after it');
$t->kill_worker;
is(ask(unit => GET => '/accounts', @who), 200, 'and with a worker killed');
is(ask(gateway => GET => '/customers/me/token', @who), 200, 'the status of the session');
SKIP: {
	skip 'there is no status page', 2 if !$status_page;
	is(ask(gateway => GET => '/status'), 200, 'the status page');
	is(ask(gateway => GET => '/status?format=prometheus'), 200, 'the other one');
}

# -- the search --------------------------------------------------------------------------------------------

my %seen;
canary("a token of Unit's", $_) for grep { !$seen{$_}++ } tokens();
canary("any token of Unit's", 'v2.public.', 'handoff');
@canaries = grep { !$seen{"$_->{name} $_->{text}"}++ } @canaries;
cmp_ok(scalar @canaries, '>', 60, 'there are canaries');
cmp_ok(scalar @answers, '>', 80, 'and answers');

# everything so far is in the logs when this line is
ask(unit => GET => '/accounts/1002', @who, headers => ['X-Request-Id' => 'leaks-last-request']);
ok($t->logs->wait_access(sub { $_->{request_id} eq 'leaks-last-request' }), 'the last line');

my @places = places();
cmp_ok(scalar(grep { length $_->[1] } @places), '>=', 5, 'there are logs and processes');
for my $canary (@canaries) {
	my @found = leaks($canary, \@places, \@answers);
	is("@found", '', "nowhere else: $canary->{name}") or diag "of the text " . substr $canary->{text}, 0, 24;
}
ok($t->error_log =~ /\[info\].*\Q$head\E/, 'a malformed head is what nginx itself logs');

# it would have been found
my $planted = $t->write_file('logs/scratch.log', join '', map { "2020/01/01 00:00:00 [error] 1#1: \"$_->{text}\"\n" } @canaries);
my @with = places();
my @missed = grep { !grep { $_ eq $planted } leaks($_, \@with, []) } @canaries;
is(join(', ', map { $_->{name} } @missed), '', 'each canary is found in a log');
@missed = grep { !leaks($_, [], [['gatewayx', "{\"a\":\"$_->{text}\"}"]]) } @canaries;
is(join(', ', map { $_->{name} } @missed), '', 'and in an answer');
unlink $planted or die "$planted: $!";

$t->done;
