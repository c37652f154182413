#!/usr/bin/perl

# The demo in a real browser: alice logs in, sees accounts and cards, and freezes
# one; the gateway asks for two-factor authentication, a wrong code does not do,
# the right one does, and lasts until she logs out. What is hers is not bob's.
# The page shows the calls, but no secret in full; keeps nothing; and its
# Content-Security-Policy lets it talk to the gateway alone.

use strict;
use warnings;

use JSON::PP ();
use Test::More;
use UnitGateway;
use UnitGateway::Browser;
use UnitGateway::Run;

my $missing = UnitGateway::Browser::missing();
plan skip_all => $missing if $missing;

binmode Test::More->builder->$_, ':utf8' for qw(output failure_output);
my $run = UnitGateway::Run->start;
my $sandbox = $run->sandbox;
my $b = UnitGateway::Browser->new;
note 'Chromium ' . $b->version;
my @secrets;

sub card { my ($id) = @_; return "#cards tr[data-card=\"$id\"]" }

# The calls of the panel, the oldest first, and forgets them.
sub wire {
	my $calls = $b->eval(<<'EOT');
Array.from(document.querySelectorAll("#wire li")).reverse().map((li) =>
    ["method", "path", "status", "code"].map((c) => li.querySelector("." + c).textContent).filter((t) => t !== "").join(" "))
EOT
	secrets_hidden();
	$b->click('#clear');
	return @$calls;
}

# The calls are on the page, dialog and inputs too, but no secret in full.
sub secrets_hidden {
	my $page = $b->eval('document.documentElement.outerHTML');
	my @found = grep { index($page, $_) >= 0 } @secrets;
	local $Test::Builder::Level = $Test::Builder::Level + 2;
	ok(length $page > 2000 && !@found, 'no secret is on the page');
	unlike($page, qr/v2\.public|[A-Za-z0-9_-]{43}/, 'and no token of Unit, nor a handle');
}

# The last call to freeze that card that Unit has got.
sub frozen {
	my ($id) = @_;
	my ($call) = grep { $_->{path} eq "/cards/$id/freeze" } reverse $sandbox->journal;
	return $call;
}

# -- alice ------------------------------------------------------------------------------

$b->open($run->base . '/demo/');
is($b->wait_text('#users', qr/bob/), "Log in as alice\nLog in as bob", 'two users');
is($b->text('#bank'), '', 'nothing to see before');
my $tokens = $b->eval('fetch("tokens.json").then((r) => r.json())');
push @secrets, map { $_->{token} } @{$tokens->{users}};
is(scalar @secrets, 2, 'they have tokens');

$b->click('#users button:nth-child(1)');
like($b->wait_text('#cards', qr/Freeze.*Freeze/s), qr/\ADebit card ending in \d{4} 2030-08 Active Freeze\nVirtual/, 'her cards');
is($b->wait_text('#factor', qr/./), 'No two-factor authentication yet.', 'no second factor yet');
is($b->text('#who'), 'Alice Archer', 'who she is');
is($b->text('#accounts tr:first-child'), "Checking \x{2022}\x{2022}1001 Open \$10,000.00", 'her account');
is_deeply([wire()], [
	'GET /customers/me 200', 'GET /accounts 200', 'GET /cards 200', 'GET /customers/me/token 200',
], 'the calls for that');

# changes her mind, by the button and by the key
for my $leave (sub { $b->click('#send .cancel') }, sub { $b->escape }) {
	$b->click(card('1101') . ' button');
	like($b->wait_text('#dialog', qr/./), qr/the permission cards-write\..*Text message.*Send the code/s, 'the dialog');
	$leave->();
	is($b->wait_text('#message', qr/./), 'Cancelled.', 'left');
	is($b->text('#dialog'), '', 'and it goes');
	is_deeply([wire()], ['POST /cards/1101/freeze 401 two_factor_required'], 'the call that was refused');
}
ok(!frozen('1101'), 'Unit has not seen it');

$b->click(card('1101') . ' button');
$b->click('#send .primary');
is($b->wait_text('#otp', qr/./), "curl -s http://127.0.0.1:" . $sandbox->port . '/_sandbox/otp/10001', 'how to find the code');
my $otp = JSON::PP->new->decode(`${\$b->text('#otp')} --noproxy '*'`);
is($otp->{channel}, 'sms', 'which works, and tells of a text message');
my $code = $otp->{code};

$b->type('#code', 'abc');
$b->click('#enter .primary');
is($b->text('#problem'), '', 'letters are not sent');
$b->eval('document.getElementById("code").value = ""');
$b->type('#code', $code =~ tr/0-9/1-90/r);
$b->click('#enter .primary');
like($b->wait_text('#problem', qr/./), qr/\AThis code is not right/, 'a wrong code');
ok(!frozen('1101'), 'freezes nothing');
push @secrets, $code;
$b->type('#code', "$code\n");
is($b->wait_text('#message', qr/./), 'The card is frozen.', 'the right one, with the Enter key, does');
like($b->text(card('1101')), qr/ Frozen Unfreeze\z/, 'the page shows it');
like($b->text('#factor'), qr/\ATwo-factor authentication done, for cards-write; good for \d+ minutes\.\z/, 'and that she has authenticated');
is($b->text('#dialog'), '', 'the dialog has gone');
ok(frozen('1101')->{verified}, 'with a verified token');
like($b->text('#wire'), qr/scope="cards-write", max_age=86400/, 'the challenge is shown');
like($b->text('#wire'), qr/token: eyJhbG\x{2026},/, 'tokens are cut short');
is_deeply([wire()], [
	'POST /cards/1101/freeze 401 two_factor_required', 'POST /customers/me/token/verification 201',
	'POST /customers/me/token 403 verification_failed', 'POST /customers/me/token 201',
	'POST /cards/1101/freeze 200', 'GET /cards 200', 'GET /customers/me/token 200',
], 'the calls for all that');

$b->click(card('1101') . ' button');
is($b->wait_text('#message', qr/works/), 'The card works again.', 'no code is needed now');
is((wire())[0], 'POST /cards/1101/unfreeze 200', 'it just works');

$b->click('#logout');
like($b->wait_text('#message', qr/./), qr/\ALogged out/, 'she logs out');
is_deeply([wire()], ['DELETE /customers/me/token 204'], 'and the gateway knows');
is($b->text('#bank'), '', 'nothing of hers is left');

# -- bob, then alice again ---------------------------------------------------------------

$b->click('#users button:nth-child(2)');
$b->click(card('2101') . ' button');
$b->click('#send input[value=call]');
$b->click('#send .primary');
like($b->wait_text('#otp', qr/./), qr{/otp/10002\z}, 'bob needs a code of his own');
is($sandbox->otp('10002')->{channel}, 'call', 'by telephone');
push @secrets, $sandbox->otp('10002')->{code};
$b->type('#code', $secrets[-1]);
$b->click('#enter .primary');
is($b->wait_text('#message', qr/./), 'The card is frozen.', 'and can freeze his card');
$b->click('#logout');
like($b->wait_text('#message', qr/out/), qr/\ALogged out/, 'he logs out');
wire();

$b->click('#users button:nth-child(1)');
$b->click(card('1101') . ' button');
like($b->wait_text('#dialog', qr/./), qr/permission/, 'after a logout alice must authenticate again');
$b->click('#send .cancel');

is($b->wait_text('#message', qr/./), 'Cancelled.', 'she does not');

# -- what the page must not do --------------------------------------------------------------

is($b->eval('document.cookie + localStorage.length + sessionStorage.length'), '00', 'it keeps nothing');
my @urls = grep { /\A(?:https?|wss?):/ } $b->urls;
cmp_ok(scalar @urls, '>', 20, 'it has asked for much');
is(join(' ', grep { index($_, $run->base . '/') } @urls), '', 'but the gateway alone');
is(join("\n", map { $_->{message} } grep { $_->{source} ne 'network' } $b->console), '', 'no complaint in the console');

is($b->eval('fetch(arguments[0]).then(() => "reached", () => "refused")', "http://127.0.0.1:" . $sandbox->port . '/_sandbox/counters'),
	'refused', 'the policy: it cannot reach the sandbox');
like(join("\n", map { $_->{message} } $b->console), qr/Content Security Policy/, 'and the browser says why');
is($b->eval(<<'EOT'), 'refused', 'nor have HTML made of text');
(() => { try { document.body.innerHTML = "<p>x</p>"; return "made" } catch { return "refused" } })()
EOT

ok($b->close, 'the browser ends');
is(join('', $run->problems), '', 'no error was logged');
ok($run->stop, 'stopped');
done_testing();
