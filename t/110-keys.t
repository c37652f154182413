#!/usr/bin/perl

# Key sets while the gateway runs: a changed file is in force in every worker
# within 5 s and without a reload, a broken one changes nothing, and a key that
# has left takes the tokens with it that it had verified. A remote set is
# fetched once whoever asks, ahead of its end, not more often than it must, and
# outlives outages of its server, but not for ever. Holds P28 (one fetch, many
# waiters), P30 (lifetimes by the monotonic clock, which this test moves), P40.

use strict;
use warnings;

use Test::More;
use UnitGateway;
use UnitGateway::Clock;
use UnitGateway::Process qw(wait_until);
use UnitGateway::Upstream;

use constant WITHIN => 5;

my $count = 0;

# a token that nobody has seen before
sub fresh { my ($t, %o) = @_; return $t->jwt(%o, claims => {jti => ++$count, %{$o{claims} // {}}}) }

sub key_set { return '{"keys":[' . join(',', @_) . ']}' }

# the key of one name with another's kid
sub key_as {
	my ($t, $name, $kid) = @_;
	my ($key) = $t->jwks($name) =~ /"keys"\s*:\s*\[\s*(\{.*\})\s*\]/s or die 'no key';
	$key =~ s/("kid"\s*:\s*)"\Q$name\E"/$1"$kid"/ or die 'no kid';
	return $key;
}

my $clock = UnitGateway::Clock->new;

# ------------------------------------------------------------------------------------
# a file, four workers

{
	my $t = UnitGateway->new(workers => 4, env => $clock->env, server => '        add_header X-Worker $pid always;');
	$t->start;

	# a connection to each worker
	my (%to, @spare);
	for (1 .. 2000) {
		push @spare, my $client = $t->connect;
		$client->send($t->bytes(GET => '/'));
		$to{$client->response->header('X-Worker')} //= $client;
		last if keys %to == 4;
	}
	is(scalar keys %to, 4, 'a connection to each of 4 workers') or BAIL_OUT('no worker, no test');
	my @to = values %to;
	@spare = ();

	# what all workers say to a token, as one word when they agree
	my $say = sub {
		my ($token) = @_;
		my %status;
		for my $client (@to) {
			$client->send($t->bytes(GET => '/accounts', token => $token));
			$status{$client->response->status}++;
		}
		return join ' ', sort keys %status;
	};
	# Lets a second pass, and each worker notice it: it looks at its timers after
	# it has answered.
	my $any = $t->jwt(sub => 'alice');
	my $second = sub {
		$clock->advance(1);
		$say->($any) for 1, 2;
		return 1;
	};
	my $within = sub {
		my ($code) = @_;
		for (1 .. WITHIN) {
			return 1 if $second->() && $code->();
		}
		return 0;
	};
	my $becomes = sub {
		my ($token, $status, $name) = @_;
		my $ok = $within->(sub { $say->($token) eq $status });
		local $Test::Builder::Level = $Test::Builder::Level + 1;
		ok($ok, "$name: $status from every worker within ${\WITHIN} s") or diag $say->($token);
	};
	my $load = sub {
		my ($regex, $n) = @_;
		return $within->(sub { (() = $t->error_log =~ /$regex/g) >= ($n // 4) });
	};
	my $set = sub { $t->logs->mark; $t->write_file('jwks.json', @_) };

	my $old = $t->jwt(sub => 'alice');
	my $new = $t->jwt(sub => 'alice', key => 'second');
	my $forged = $t->jwt(sub => 'alice', key => 'evil', kid => 'dev');
	is($say->($old), '200', 'the first key');
	is($say->($new), '401', 'not the second one');
	is($say->($forged), '401', 'nor another one under its name');
	is($say->($forged), '401', 'nor again');

	$set->($t->jwks('dev', 'second'));
	$becomes->($new, '200', 'a key is added');
	is($say->($old), '200', 'the other stays');

	$set->($t->jwks('second'));
	$becomes->($old, '401', 'a key is removed, with tokens that it has verified');
	$becomes->(fresh($t), '401', 'and those that it has not');
	is($say->($new), '200', 'the other stays');

	# what was refused and remembered as such becomes good
	$set->(key_set(key_as($t, 'evil', 'dev')));
	$becomes->($forged, '200', 'another key under an old kid');
	is($say->($old), '401', 'the old one is gone');

	$set->($t->jwks('dev'));
	$becomes->($old, '200', 'back again');
	is($say->($forged), '401', 'and the other is gone');

	# broken files
	my $n = 0;
	for my $bad (
		['cut off', substr($t->jwks('second'), 0, 300), 'not valid JSON'], ['empty', '', 'is empty or too large'],
		['nonsense', 'nonsense', 'not valid JSON'], ['no key', key_set(), 'no usable RS256 key'],
		['no usable key', key_set('{"kty":"EC","kid":"x"}'), 'no usable RS256 key'],
		['two of one kid', key_set(key_as($t, 'second', 'second'), key_as($t, 'evil', 'second')), 'duplicate "kid"'],
		['too large', $t->jwks('second') . ' ' x 50000, 'is empty or too large'],
	) {
		my ($name, $text, $why) = @$bad;
		$set->($text);
		my $line = qr/\[error\] [^\n]*unit file "[^"\n]*jwks\.json" \Q$why\E, the last good content stays in force/;
		ok($load->($line), "$name: logged by every worker") or diag $t->error_log;
		if (!$n++) {
			$second->() for 1 .. 3;
			is(() = $t->error_log =~ /$line/g, 4, "$name: logged once by each");
		}
		is($say->($old), '200', "$name: the last good set is in force");
		is($say->($new), '401', "$name: nothing of the new one");
	}

	$t->logs->mark;
	unlink $t->dir . '/jwks.json' or die "unlink: $!";
	ok($load->(qr/\[error\] [^\n]*jwks\.json" is gone, the last good content stays in force/), 'gone: logged');
	is($say->(fresh($t)), '200', 'gone: the last good set is in force');
	UnitGateway::Jwt::key_file('small', 1024);
	$set->(key_set('{"kty":"EC","kid":"x"}', key_as($t, 'small', 'small'), key_as($t, 'second', 'second')));
	$becomes->($new, '200', 'there again, with keys that cannot be used');
	is($say->($old), '401', 'and without the old one');
	is($say->($t->jwt(key => 'small')), '401', 'a key of 1024 bits verifies nothing');

	# the org token likewise; the journal tells which one was used
	my $used = sub {
		my $mark = $t->sandbox->mark;
		$t->get('/accounts', token => fresh($t, key => 'second', claims => {sid => 's' . ++$count}));
		return join ' ', map { $_->{headers}{authorization} // $_->{headers}{Authorization} } grep { $_->{path} =~ /token/ } $t->sandbox->journal($mark);
	};
	$t->logs->mark;
	chomp(my $org = $t->read_file('org-token'));
	$t->write_file('org-token', "v2.public.a v2.public.b\n");
	ok($load->(qr/org-token" holds more than one token or unprintable bytes, the last good/), 'a broken org token: logged');
	is($used->(), "Bearer $org", 'the last good one is used');
	$t->write_file('org-token', "v2.public.another\n");
	ok($load->(qr/org-token" loaded again/), 'another org token');
	is($used->(), 'Bearer v2.public.another', 'is used');
	$_->close for @to;
	$t->stop;
}

# ------------------------------------------------------------------------------------
# forged tokens do not drive out what was paid for

{
	my $t = UnitGateway->new(zone => '128k');
	$t->start;
	is($t->get('/accounts', as => 'alice')->status, 200, 'a small zone: a good token');
	my ($h, $p, $s) = split /\./, $t->jwt(sub => 'bob');
	my @forged = map { my $x = sprintf '%04d', $_; "$h.$p.$x" . substr $s, 4 } 1 .. 3000;
	my $client = $t->connect;
	my $refused = 0;
	while (my @some = splice @forged, 0, 100) {
		$client->send(join '', map { $t->bytes(GET => '/accounts', token => $_) } @some);
		$refused += $client->response->status == 401 for @some;
	}
	is($refused, 3000, '3,000 forged tokens are refused');
	is($t->get('/accounts', as => 'alice')->status, 200, 'the good token still is');
	is($t->sandbox->counter('tokens_minted'), 1, 'and needs no new token of Unit');
	$client->close;
	$t->stop;
}

# ------------------------------------------------------------------------------------
# remote

my $idp = UnitGateway::Upstream->new;

my $t = UnitGateway->new(workers => 2, env => $clock->env,
	partners => {app => {jwks => undef, jwks_request => '/_jwks_app'}}, server => <<'EOT');
        location = /_jwks_app {
            proxy_pass http://%%PORT_IDP%%/keys?set=app;
            include "%%ROOT%%/conf/unit_broker.conf";
        }
EOT
my $conf = $t->read_file('nginx.conf');
my $address = $idp->address;
$conf =~ s{http://\d+/keys}{http://$address/keys} or die 'no proxy_pass';
$t->write_file('nginx.conf', $conf);
$t->start;

# it counts wherever it stands
my @age = ((map { ("X-Filler-$_" => 'f') } 1 .. 30), 'Cache-Control' => 'public, max-age=600');
my $dev = $t->jwks('dev');
my $dev_second = $t->jwks('dev', 'second');

sub ask { return $t->get('/accounts', token => $_[0], headers => ['X-Secret' => 'of the client', Cookie => 'a=b']) }

# requests on their way: the responses come later
sub sent {
	return map { my $c = $t->connect; $c->send($t->bytes(GET => '/accounts', token => $_)); $c } @_;
}

sub answers { return join ' ', sort map { my $r = $_->response; $_->close; $r->status } @_ }

ok($idp->quiet, 'nothing is fetched before it is needed');

my $token = fresh($t, sub => 'alice');
my @waiting = sent(($token) x 20, map { fresh($t, sub => 'alice') } 1 .. 20);
my $call = $idp->call;
is($call->line, 'GET /keys?set=app HTTP/1.1', 'the call');
is_deeply([grep { !/^(?:host|accept|x-request-id)$/ } $call->header_names], [], 'with nothing of a client, and no token');
ok($idp->quiet, 'one for many');
$call->answer(200, $dev, @age);
is(answers(@waiting), join(' ', (200) x 40), 'all are answered');
is(answers(sent(map { fresh($t) } 1 .. 20)), join(' ', (200) x 20), 'and others after them');
ok($idp->quiet, 'without another call');

# -- unknown keys

@waiting = sent(map { fresh($t, key => 'second') } 1 .. 20);
$idp->call->answer(200, $dev, @age);
is(answers(@waiting), join(' ', (401) x 20), 'an unknown key: one call for all of them');
is(answers(sent(map { fresh($t, key => 'second') } 1 .. 10)), join(' ', (401) x 10), 'then they are refused');
is(ask(fresh($t, key => 'evil'))->status, 401, 'another unknown key');
ok($idp->quiet, 'without another call');
$clock->advance(20);
is(ask(fresh($t, key => 'second'))->status, 401, 'after 20 s');
ok($idp->quiet, 'still without');
$clock->advance(11);
@waiting = sent($token, my $second = fresh($t, key => 'second'));
$idp->call->answer(200, $dev_second, @age);
is(answers(@waiting), '200 200', 'after 31 s: the key has come');
is(answers(sent(map { fresh($t, key => 'second') } 1 .. 10)), join(' ', (200) x 10), 'for both workers');
$clock->advance(31);
@waiting = sent($token, fresh($t, key => 'evil'));
$idp->call->answer(500, 'no');
is(answers(@waiting), '200 401', 'a failure changes nothing');
is(ask($second)->status, 200, 'for nobody');
is(ask(fresh($t, key => 'evil'))->status, 401, 'another one that nobody knows');
ok($idp->quiet, 'does not ask again');

# -- ahead of the end

$clock->advance(450);
is(ask($token)->status, 200, 'a refresh: the answer does not wait for it');
$call = $idp->call;
is(ask($second)->status, 200, 'nor does another one');
is(ask(fresh($t, key => 'second'))->status, 200, 'nor a new token');
ok($idp->quiet, 'one call');
$call->answer(200, key_set(key_as($t, 'dev', 'dev'), key_as($t, 'evil', 'second')), @age);
ok(wait_until(3, sub { answers(sent(($second) x 8)) eq join ' ', (401) x 8 }), 'a key was replaced, and its tokens are gone with it');
is(ask($token)->status, 200, 'the other stays');

# -- answers of no use: the set stays

# with these, the tokens of before would be refused
my $other = key_set(key_as($t, 'second', 'dev'));
my @useless = (
	['500', sub { $_[0]->answer(500, $other) }], ['404', sub { $_[0]->answer(404, $other) }],
	['a redirect', sub { $_[0]->answer(302, $other, Location => 'http://127.0.0.1:1/') }],
	['no JSON', sub { $_[0]->answer(200, '<html>') }], ['nothing', sub { $_[0]->answer(200, '') }],
	['no key', sub { $_[0]->answer(200, key_set()) }], ['a duplicate kid', sub { $_[0]->answer(200, key_set(key_as($t, 'second', 'x'), key_as($t, 'dev', 'x'))) }],
	['a large set', sub { $_[0]->answer(200, $other . ' ' x 60_000) }], ['a huge one', sub { $_[0]->answer(200, $other . ' ' x 400_000) }],
	['a huge one in chunks', sub { $_[0]->end("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" . ("8000\r\n" . ' ' x 32768 . "\r\n") x 12 . "0\r\n\r\n") }],
	['half a set', sub { $_[0]->end("HTTP/1.1 200 OK\r\nContent-Length: 2000\r\n\r\n" . substr $other, 0, 300) }],
	['garbage', sub { $_[0]->end("\x16\x03\x01 this is no HTTP\r\n\r\n") }], ['an end', sub { $_[0]->close }], ['a reset', sub { $_[0]->abort }],
	['compressed', sub { $_[0]->answer(200, "\x1f\x8b\x08\x00\x00", 'Content-Encoding' => 'gzip') }],
	['silence', sub { $clock->advance(6) }],
);

$clock->advance(481);
for my $bad (@useless) {
	my ($name, $code) = @$bad;
	is(ask($token)->status, 200, "$name: the set is in force while it comes");
	$call = $idp->call;
	$code->($call);
	ok($call->closed, "$name: given up in time") if $name eq 'silence';
	# until the failure is known, then for 5 s, nobody asks
	is(answers(sent(map { fresh($t) } 1 .. 4)), '200 200 200 200', "$name: the set stays in force");
	$idp->quiet(0) or fail("$name: no other call at once");
	$clock->advance(6);
}

# -- no set yet, and the same answers

for my $bad (@useless) {
	my ($name, $code) = @$bad;
	$t->restart;
	my @client = sent($token, fresh($t));
	$call = $idp->call;
	$code->($call);
	my @r = map { $_->response } @client;
	is(join(' ', map { $_->status . ' ' . $_->code } @r), '503 broker_unavailable 503 broker_unavailable', "without a set, $name: 503");
	ok($r[0]->header('Retry-After'), "without a set, $name: Retry-After");
	ok(!defined $r[0]->header('WWW-Authenticate'), "without a set, $name: no word about the token");
	$_->close for @client;
	is(ask($token)->status, 503, "without a set, $name: and for the next one");
	# a leap of the clock ends leases, too: another worker may have asked
	$idp->quiet(0) or $name eq 'silence' or fail("without a set, $name: no other call at once");
}
$clock->advance(6);
@waiting = sent($token);
$idp->call->answer(200, $dev, @age);
is(answers(@waiting), '200', 'then the set comes');

# -- an outage, for long

$idp->close;
$clock->advance(3600);
is(ask($token)->status, 200, 'an hour without the server');
$clock->advance(22 * 3600);
is(answers(sent(map { fresh($t) } 1 .. 4)), '200 200 200 200', '23 hours');
$clock->advance(3500);
is(answers(sent(map { fresh($t) } 1 .. 4)), '200 200 200 200', 'almost a day');
$clock->advance(600);
is(answers(sent($token, map { fresh($t) } 1 .. 3)), '503 503 503 503', 'more than a day: no set is better than an old one');

$t->done;
