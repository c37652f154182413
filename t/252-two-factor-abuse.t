#!/usr/bin/perl

# A second factor under attack: one code tried fifty times at once, ten thousand
# wrong codes, a worker that dies with a code under way. One right code makes one
# token, five wrong ones are the end of it, and nothing grows.
#
# P24 (locks, dead workers), P26 (exhaustion), P28 (one wins).

use strict;
use warnings;

use Test::More;
use UnitGateway;
use UnitGateway::Clock;
use UnitGateway::Process qw(wait_until);
use UnitGateway::TwoFactor qw(verification token handle finish other_code);

sub refused { my ($r) = @_; return ref $r ? $r->status . ' ' . $r->code : $r }

sub count { my %n; $n{refused($_)}++ for @_; return \%n }

# -- fifty at once -----------------------------------------------------------------------

my $clock = UnitGateway::Clock->new;
my $t = UnitGateway->new(workers => 4, env => $clock->env, http => 'unit_limits off;')->start;
my $sandbox = $t->sandbox;
my @alice = (as => 'alice');
my ($start, $finish) = ('/customers/10001/token/verification', '/customers/10001/token');

for my $delay (0, 100) {
	$t->delete('/customers/me/token', @alice);
	my $handle = handle($t, \@alice);
	my $code = $sandbox->otp('10001')->{code};
	$sandbox->fault(POST => $finish, {delay_ms => $delay}) if $delay;
	my $minted = $sandbox->counter('tokens_minted');
	my $mark = $sandbox->mark;
	my @all = $t->many([
		($t->bytes(POST => $finish, @alice, token(scope => 'cards-write', verificationToken => $handle, verificationCode => $code))) x 50,
	], together => 1);
	is_deeply(count(@all), {'201 ' => 1, '403 verification_failed' => 49}, "fifty at once, Unit needs $delay ms: one is right");
	is($sandbox->counter('tokens_minted') - $minted, 1, 'and one token is made');
	is(scalar(grep { $_->{path} eq $finish } $sandbox->journal($mark)), 1, 'by one call');
	is(finish($t, \@alice, scope => 'cards-write', verificationToken => $handle, verificationCode => $code)->status, 403, 'no more after them');
	is($t->post('/cards/1101/freeze', @alice, json => {data => {}})->status, 200, 'the session is verified');
}

# right and wrong ones at once: never more than five reach Unit
my $handle = handle($t, \@alice);
my $code = $sandbox->otp('10001')->{code};
my $mark = $sandbox->mark;
my @all = $t->many([map {
	$t->bytes(POST => $finish, @alice, token(
		scope => 'cards-write', verificationToken => $handle, verificationCode => other_code($code, $_),
	))
} 1 .. 50], together => 1);
my $asked = grep { $_->{path} eq $finish } $sandbox->journal($mark);
is_deeply(count(@all), {'403 verification_failed' => 50}, 'fifty wrong codes at once');
cmp_ok($asked, '<=', 5, 'Unit has seen five at most');
cmp_ok($asked, '>=', 1, 'and one at least');

# a worker that dies with a code under way: the attempt counts, the handle is free again
$handle = handle($t, \@alice);
$code = $sandbox->otp('10001')->{code};
$sandbox->fault(POST => $finish, {delay_ms => 3000, status => 500});
$t->logs->allow(qr/upstream prematurely closed|signal 9/);
my $client = $t->connect;
$mark = $sandbox->mark;
$client->send($t->bytes(POST => $finish, @alice, token(scope => 'cards-write', verificationToken => $handle, verificationCode => $code)));
ok(wait_until(5, sub { $sandbox->journal($mark) }), 'a code is under way');
$t->kill_worker($_) for $t->workers;
$client->close;
is(refused(finish($t, \@alice, scope => 'cards-write', verificationToken => $handle, verificationCode => $code)), '403 verification_failed',
	'its worker is killed: it is taken for a while');
$clock->advance(16);
is(refused(finish($t, \@alice, scope => 'cards-write', verificationToken => $handle, verificationCode => other_code($code, $_))),
	'403 verification_failed', "then a wrong code, $_") for 1 .. 3;
is(refused(finish($t, \@alice, scope => 'cards-write', verificationToken => $handle, verificationCode => $code)), '201 ', 'and the right one');
ok(scalar(grep { $_->{verified} } $t->get('/customers/me/token', @alice)->json->{data}{attributes}), 'what was verified before still is');
$t->stop;

# -- ten thousand wrong codes: Unit is played by nginx, which is faster ----------------------------

my %unit = (
	servers => <<'EOT',
    server {
        listen 127.0.0.1:%%PORT_UNIT%% backlog=4096;
        access_log "%%DIR%%/logs/unit.log" unit_calls;
        location / {
            default_type application/vnd.api+json;
            location ~ /token/verification$ {
                return 201 '{"data":{"type":"x","attributes":{"verificationToken":"/+$request_id$request_id$request_id"}}}';
            }
            location ~ /token$ {
                return 403 '{"errors":[{"status":"403","title":"Forbidden","code":"invalid_verification_code"}]}';
            }
        }
    }
EOT
	http => "log_format unit_calls '\$request_method \$uri';\nunit_limits off;\nunit_token_lifetime 10m;",
);
# 128 KB of zone: what 2,000 handles at a time could never be in
my $many = UnitGateway->new(workers => 2, zone => '128k', sandbox => 0, upstream => 'unit.invalid:1', %unit);
my $unit = '127.0.0.1:' . $many->port('UNIT');
$many->configure(upstream => $unit);
$many->start;

sub unit_calls { my ($regex) = @_; return scalar(() = $many->read_file('logs/unit.log') =~ /$regex/g) }

my @token = map {
	my $n = $_;
	$many->jwt(sub => "user-$n", claims => {unitCustomerId => [map { $n * 100 + $_ } 1 .. 50]});
} 1 .. 40;
my (%status, @late, $handles);
for my $n (1 .. 40) {
	my @who = map { [token => $token[$n - 1], headers => ['Unit-Customer' => $n * 100 + $_]] } 1 .. 50;
	my @begun = $many->many([map { $many->bytes(POST => '/customers/me/token/verification', @$_, verification(channel => 'sms')) } @who]);
	my @handle = map { ref && $_->status == 201 ? $_->json->{data}{attributes}{verificationToken} : 'none' } @begun;
	$handles += grep { $_ ne 'none' } @handle;
	my @clients = map {
		my $i = $_;
		my @bytes = map {
			$many->bytes(POST => '/customers/me/token', @{$who[$i]}, token(
				scope => 'cards-write', verificationToken => $handle[$i], verificationCode => sprintf('%06d', 100 * $n + $_),
			))
		} 1 .. 5;
		push @late, $bytes[0] if !$i;
		my $client = $many->connect;
		$client->send(join '', @bytes);
		$client;
	} 0 .. $#who;
	for my $client (@clients) {
		$status{refused($client->response)}++ for 1 .. 5;
		$client->close;
	}
}
is($handles, 2000, '2,000 handles in a small zone');
is_deeply(\%status, {'403 verification_failed' => 10000}, '10,000 wrong codes, all refused alike');
ok(wait_until(5, sub { unit_calls(qr{/token$}m) >= 10000 }), 'Unit has seen them');
is(unit_calls(qr{/token$}m), 10000, 'each once');
%status = ();
$status{refused($_)}++ for $many->many([(@late) x 10]);
is_deeply(\%status, {'403 verification_failed' => 400}, '400 tries of handles that are dead');
%status = ();
for (1 .. 20) {
	my $r = $many->post('/customers/me/token', token => $token[0], headers => ['Unit-Customer' => 101],
		token(scope => 'cards-write', verificationToken => 'A' x 43, verificationCode => '123456'));
	$status{refused($r)}++;
}
$many->post('/customers/me/token/verification', token => $token[0], headers => ['Unit-Customer' => 101], verification(channel => 'sms'));
ok(wait_until(5, sub { unit_calls(qr{/verification$}m) == 2001 }), 'and one more start, which Unit sees');
is(unit_calls(qr{/token$}m), 10000, 'Unit has seen no more codes');
unlike($many->error_log, qr/no memory/, 'nothing was short of room');
is(scalar $many->workers, 2, 'the workers live');
$many->done;
