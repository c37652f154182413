#!/usr/bin/perl

# How script/run serves the demo: with a policy that lets the page do nothing
# but what it does, tokens for its two users that only this machine gets, nothing
# beside the demo's own files, the API as it is without it - and no demo at all
# in front of the real Unit. Holds P38 and P39 for a location beside ours.

use strict;
use warnings;

use JSON::PP ();
use MIME::Base64 ();
use Test::More;
use UnitGateway;
use UnitGateway::Client;
use UnitGateway::Run;

my $run = UnitGateway::Run->start;

sub ask {
	my ($run, $method, $target, %o) = @_;
	my $client = UnitGateway::Client->new(port => $run->port);
	my $token = defined $o{token} ? "Authorization: Bearer $o{token}\r\n" : '';
	$client->send("$method $target HTTP/1.1\r\nHost: " . ($o{host} // 'localhost') . "\r\n${token}Connection: close\r\n\r\n");
	return $client->response(head => $method eq 'HEAD');
}

is(() = $run->printed =~ /^curl /mg, 3, 'still three calls are printed');
like($run->printed, qr{^\Q${\$run->base}\E/$_/$}m, "and the address of $_") for qw(demo unit);
like($run->printed, qr/development only/, 'and what it is for');

my %types = ('' => 'text/html', 'demo.js' => 'text/javascript', 'style.css' => 'text/css', 'icon.svg' => 'image/svg+xml',
	'tokens.json' => 'application/json');
for my $file (sort keys %types) {
	my $r = ask($run, GET => "/demo/$file");
	is($r->status, 200, "/demo/$file");
	like($r->header('Content-Type'), qr{\A\Q$types{$file}\E\b}, 'its type');
	like($r->header('Content-Security-Policy'), qr/\Adefault-src 'none'; script-src 'self';/, 'the policy');
	unlike($r->header('Content-Security-Policy'), qr/unsafe|\*|data:|https?:/, 'without holes');
	is($r->header('X-Content-Type-Options'), 'nosniff', 'the type is what it says');
	is($r->header('Cross-Origin-Resource-Policy'), 'same-origin', 'other sites cannot use it');
	is($r->header('X-Frame-Options'), 'DENY', 'nor frame it');
	is($r->header('Cache-Control'), 'no-store', 'nor is it kept');
}

my $tokens = JSON::PP->new->decode(ask($run, GET => '/demo/tokens.json')->body);
is_deeply([map { $_->{subject} } @{$tokens->{users}}], ['alice', 'bob'], 'two users');
is($tokens->{sandbox}, 'http://127.0.0.1:' . $run->sandbox->port, 'where the sandbox is');
my $alice = $tokens->{users}[0]{token};
is(ask($run, GET => '/accounts', token => $alice)->status, 200, 'a token is good');
my $claims = JSON::PP->new->decode(MIME::Base64::decode_base64url((split /\./, $alice)[1]));
cmp_ok($claims->{exp} - $claims->{iat}, '<=', 3600, 'and short-lived');
is((stat $run->dir . '/demo/tokens.json')[2] & 07777, 0600, 'the file is for its owner only');
is((stat $run->dir . '/demo')[2] & 07777, 0700, 'and so is its directory');

# a name that somebody else has pointed at this machine
for my $host ('rebound.example', 'localhost.example', '127.0.0.1.example', '127x0x0x1') {
	is(ask($run, GET => $_, host => $host)->status, 421, "$_ as $host") for '/demo/', '/demo/tokens.json', '/unit/', '/unit/status';
}
is(ask($run, GET => '/demo/', host => '127.0.0.1:' . $run->port)->status, 200, 'the address of the demo is good');

like(ask($run, GET => '/unit/')->body, qr/<h1>Gateway status/, 'the page of the status is there');
is(JSON::PP->new->decode(ask($run, GET => '/unit/status')->body)->{workers}, 2, 'and the status');

is(ask($run, $_ => '/demo/')->status, 405, "$_ is for nothing here") for qw(POST PUT DELETE);
isnt(ask($run, GET => $_)->status, 200, "not served: $_") for (
	'/demo', '/demo/..', '/demo/../conf/nginx.conf', '/demo/..%2f..%2fscript/run', '/demo/%2e%2e/%2e%2e/script/run',
	'/demo../web/demo.js', '/demo/tokens.json.new', '/demo/tokens.json/', '/examples/web/demo.js', '/DEMO/',
);
is(ask($run, GET => $_)->status, 401, "for the gateway: $_") for '/demo', '/demo/../accounts', '/demo/%2e%2e/accounts';
is(ask($run, GET => '/demo/../accounts', token => $alice)->status, 400, 'which takes no such path');
is(ask($run, GET => '/demo/../_sandbox/counters')->status, 404, 'the sandbox is not reached');

truncate $run->dir . '/demo/tokens.json', 0 or die $!;
ok(defined $run->command('--restart-gateway'), '--restart-gateway');
my $new = JSON::PP->new->decode(ask($run, GET => '/demo/tokens.json')->body || '{}');
is($new->{sandbox}, $tokens->{sandbox}, 'makes tokens again');
is(ask($run, GET => '/accounts', token => $new->{users}[1]{token})->status, 200, 'good ones');

# -- the real Unit, as far as script/run knows -----------------------------------------

my $key = $run->dir . '/secrets/unit-org-token';
my $real = UnitGateway::Run->start(UNIT_API_URL => $tokens->{sandbox}, UNIT_ORG_TOKEN_FILE => $key);
is(ask($real, GET => '/accounts', token => $alice)->status, 200, 'it fronts another Unit');
unlike($real->printed, qr/demo/, 'no word of a demo');
is(ask($real, GET => $_)->status, 401, "$_ is for the gateway") for '/demo/', '/demo/demo.js', '/demo/tokens.json';
is(ask($real, GET => '/demo/', token => $alice)->status, 404, 'which knows no such operation');
ok(!-e $real->dir . '/demo', 'no tokens were made');
is(join('', $real->problems), '', 'no error was logged');
ok($real->stop, 'it stops');

is(join('', $run->problems), '', 'no error was logged');
ok($run->stop, 'stopped');
done_testing();
