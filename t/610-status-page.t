#!/usr/bin/perl

# The page of conf/html/status.html, served as conf/nginx.conf does it, in a real
# browser, first with answers that this test makes up: it shows them, survives
# those that are missing, empty, huge, fallen, hostile or no answer at all, and
# says which values are stale; text stays text; nothing but its own server is
# asked; what it shows can be read in both colour schemes and on a telephone.
# Then with a gateway: its values move with real traffic. Holds P37 for the page,
# and P38 for a location beside ours.

use strict;
use warnings;

use Digest::SHA ();
use Encode ();
use JSON::PP ();
use Test::More;
use UnitGateway;
use UnitGateway::Browser;
use UnitGateway::TwoFactor qw(finish handle other_code);

my $missing = UnitGateway::Browser::missing();
plan skip_all => $missing if $missing;

binmode Test::More->builder->$_, ':utf8' for qw(output failure_output);
my $json = JSON::PP->new->utf8->canonical;

# -- what is shipped -----------------------------------------------------------------

my $root = UnitGateway->root;
my $page = UnitGateway::slurp("$root/conf/html/status.html");
my ($policy) = UnitGateway::slurp("$root/conf/unit_status.conf") =~ /^add_header Content-Security-Policy "([^"]+)" always;$/m;

for my $tag (qw(script style)) {
	my @inside = $page =~ m{<$tag\b[^>]*>(.*?)</$tag>}gs;
	is(scalar @inside, 1, "the page has one $tag");
	my $hash = Digest::SHA::sha256_base64($inside[0]);
	$hash .= '=' while length($hash) % 4;
	like($policy, qr/(?:^|; )$tag-src 'sha256-\Q$hash\E'(?:;|$)/, "conf/unit_status.conf has its hash, sha256-$hash");
}
unlike($policy, qr/unsafe|\*|https?:/, 'a policy without holes');
unlike($page, qr/innerHTML|outerHTML|insertAdjacent|document\.write|\beval\b|\son\w+=|<\w+[^>]*\sstyle=/, 'no markup out of text');
unlike($page =~ s{http://www\.w3\.org/2000/svg}{}r, qr{https?://}, 'nothing from elsewhere');

my $operations = $json->decode(UnitGateway::slurp("$root/conf/operations.json"));
is(join(' ', grep { m{^/(?:unit|:)(?:/|$)} } map { $_->{path} } @{$operations->{operations}}), '', 'Unit has no path there');

# the two locations of conf/nginx.conf, with another directory
my ($locations) = UnitGateway::slurp("$root/conf/nginx.conf") =~ m{^(        location \^~ /unit/ \{.*?^        \}\n.*?^        \}\n)}ms;
ok($locations, 'conf/nginx.conf serves it');
is(() = $locations =~ /allow 127\.0\.0\.1;\n +allow ::1;\n +deny all;/g, 2, 'to this machine alone');
is($locations =~ s{/usr/share/unit-gateway/html/}{"$root/conf/html/"}g, 1, 'from one directory');
$locations =~ s{include unit_status\.conf}{include "$root/conf/unit_status.conf"};

# -- answers that are made up ----------------------------------------------------------

sub fixture {
	my (%change) = @_;

	my @le = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10);
	my @count = (0, 10, 60, 400, 880, 950, 990, 998, 1000, 1000, 1000);
	return {
		time => 1700003600, since => 1700000000, workers => 2,
		requests => {total => 12345, decisions => {ok => 12000, token_invalid => 200, two_factor_required => 100, rate_limited => 45, invalid_uri => 0}},
		operations => {getAccounts => {ok => 9000, rate_limited => 45}, createPayment => {ok => 3000}, unknown => {token_invalid => 200}},
		tokens => {hit => 11800, minted => 150, waited => 50, refused => 0, evicted => 0, calls => 150, failed => 0},
		verifications => {started => 40, verified => 30, wrong_code => 8, locked => 1, limited => 2, expired => 3},
		idempotency => {new => 2000, generated => 500, stored => 0, replayed => 25, conflict => 2, unknown => 0, evicted => 0},
		limits => {budget => 0, partner => 0, customer => 45, address => 3, delayed => 7, dry_run => 0, degraded => 0},
		upstream => {
			attempts => 12020, retries => 20, responses => {'1xx' => 0, '2xx' => 11900, '3xx' => 0, '4xx' => 100, '5xx' => 15, none => 5},
			latency => {
				buckets => [(map { {le => $le[$_], count => $count[$_]} } 0 .. $#le), {le => '+Inf', count => 1000}],
				sum => 81.5, count => 1000,
			},
		},
		broker => {attempts => 190, responses => {'1xx' => 0, '2xx' => 188, '3xx' => 0, '4xx' => 2, '5xx' => 0, none => 0}},
		budget => [{name => 'budget', rate => 1000, per => 60, burst => 100, left => 87, reserve => {percent => 10, size => 100, left => 99},
			paused_ms => 0, pauses => 1, breaker => 'closed', breaker_opened => 2}],
		keys => [{partner => 'app', source => 'file', keys => 2, age => 4321, failures => 0},
			{partner => 'web', source => 'uri', keys => 3, age => 75, failures => 0},
			{partner => 'new', source => 'uri', keys => 0, age => undef, failures => 1, failing => 0}],
		zone => [{name => 'unit', size => 67108864, used => 8388608, full => 0, tokens => 150, records => 2000, record_leases => 0,
			customer_limits => 20, evicted => {}}],
		%change,
	};
}

my $t = UnitGateway->new(gateway => 0, server => $locations =~ s{unit_status;}{alias "%%DIR%%/status.json"; default_type application/json;}r);
$t->start;
my $base = 'http://127.0.0.1:' . $t->port;

my $b;

# What the gateway says from now on.
sub answer { $t->write_file('status.json', ref $_[0] ? $json->encode($_[0]) : $_[0]) }

# The same, and the page asks at once, as it does for who comes back to it.
sub show {
	answer(@_);
	$b->eval('document.dispatchEvent(new Event("visibilitychange"))');
}

answer(fixture());
my $r = $t->get('/unit/');
is($r->status, 200, 'the page is there');
is($r->header('Content-Security-Policy'), $policy, 'with the policy');
is($r->header('Content-Type'), 'text/html; charset=utf-8', 'its type');
is($r->header('X-Content-Type-Options'), 'nosniff', 'which is what it says');
is($t->get($_)->status, 404, "not there: $_") for '/unit', '/unit/..%2funit_log.conf', '/unit/status/', '/unit/x';
isnt($t->get($_)->status, 200, "not there: $_") for '/unit/../unit_log.conf', '/unit../unit_log.conf';
is($t->post('/unit/', body => 'x')->status, 405, 'nothing to post to');
for my $path ('/unit/', '/unit/status.html', '/unit/status') {
	my @curl = (qw(curl -q -s -o /dev/null -w %{http_code} --noproxy * --max-time 10 --interface));
	my %code = map { $_ => do { open my $fh, '-|', @curl, $_, "$base$path" or die "curl: $!"; <$fh> } } '127.0.0.1', '127.0.0.2';
	is_deeply(\%code, {'127.0.0.1' => 200, '127.0.0.2' => 403}, "$path is for one address");
}

$b = UnitGateway::Browser->new;
note 'Chromium ' . $b->version;
$b->open("$base/unit/");
is($b->wait_text('#state', qr/The gateway answers/), 'The gateway answers; nothing needs attention.', 'what it says first');
my @clock = localtime 1700000000;
my $since = sprintf '%04d-%02d-%02d %02d:%02d:%02d', $clock[5] + 1900, $clock[4] + 1, @clock[3, 2, 1, 0];
like($b->text('#updated'), qr/\AAt \d\d:\d\d:\d\d, counted since \Q$since\E, 2 workers\z/, 'when, and of what');
is($b->text('#total'), '12,345 in all', 'requests');
is($b->text('#ratio'), "98.3 %", 'tokens from the cache');
like($b->text('#tokens'), qr/Created at Unit\s+150\b/, 'and others');
like($b->text('#factor tbody'), qr/\AStarted 40\s+Verified 30\s+Wrong code 8\s+Locked after wrong codes 1\s+Expired 3\s+Not started: limit 2\z/, 'the funnel');
like($b->text('#codes tbody'), qr/\Aok 12,000 \S+\s+token_invalid 200 \S+\s+two_factor_required 100 \S+\s+rate_limited 45 \S+\z/, 'codes, the most first');
like($b->text('#operations tbody'), qr/\AgetAccounts 9,000 45\s+createPayment 3,000 0\s+unknown 0 200\z/, 'operations');
like($b->text('#upstream'), qr/\AAttempts\s+12,020\s+Retries among them\s+20\s.*Answers 5xx\s+15\s+No answer\s+5\s+Calls of the gateway's own\s+190\s+Failed among them\s+0\z/s, 'calls to Unit');
like($b->text('#limits'), qr/Refused: customer\s+45\b/, 'limits');
like($b->text('#idempotency'), qr/Answer replayed\s+25\b/, 'idempotency');
like($b->text('#budget'), qr/87 of 100 calls left at once\s+Rate\s+1,000 a minute\s+Left of the reserve\s+99 of 100\s+Paused by Unit\s+no\s+Pauses so far\s+1\s+Circuit\s+closed\s+Circuit opened\s+2 times\z/, 'the budget');
is($b->eval('document.querySelector("#budget [role=meter]").getAttribute("aria-valuetext")'), '87 of 100 calls left at once', 'for those who cannot see it');
is($b->eval('document.querySelector("#budget .meter i").style.width'), '87%', 'for those who can');
like($b->text('#keys tbody'), qr/\Aapp file 2 1 h 12 min 0\s+web key server 3 1 min 15 s 0\s+new key server 0 \S+ 1\z/, 'key sets');
like($b->text('#zone'), qr/8 MB of 64 MB used, 12\.5 %\s+Customer limits\s+20\s+Records\s+2,000\s+Tokens\s+150\s+Found no room\s+0\z/, 'the zone');

# a tenth of the way from 50 to 100 ms is done by 448 of 1000: 500 is at 60 ms
like($b->text('#p50'), qr/\A60 ms\s/, 'half of the answers');
like($b->text('#p95'), qr/\A250 ms\s/, '95 of 100');
like($b->text('#p99'), qr/\A500 ms\s/, '99 of 100');
like($b->text('#latency-note'), qr/None in the last minute; estimated from all 1,000/, 'and of which');

# -- it moves ------------------------------------------------------------------------------

sub more {
	my ($f) = @_;
	$f->{requests}{total} += 300;
	$f->{requests}{decisions}{ok} += 270;
	$f->{requests}{decisions}{broker_unavailable} += 30;
	$_->{count} += 50 for grep { $_->{le} eq '+Inf' } @{$f->{upstream}{latency}{buckets}};
	return $f;
}

answer(more(fixture(budget => [{name => 'budget', rate => 1000, per => 60, burst => 100, left => 4, paused_ms => 2500, breaker => 'open'}],
	keys => [{partner => 'app', source => 'file', keys => 2, age => 4321, failures => 3, failing => 1}])));
like($b->wait_text('#codes', qr/broker/), qr/ok 12,270 270\s.*broker_unavailable 30 30/s, 'what is new counts for the last minute');
isnt($b->text('#rate'), '0', 'there are requests a second');
is($b->text('#refused'), '10 %', 'a tenth was not served');
is($b->text('#refused-note'), '30 of 300 requests', 'which is so many');
like($b->text('#p50'), qr/\A> 10 s\s/, 'longer than the histogram goes');
like($b->text('#state'), qr/Needs attention:\s+Unit is failing: the circuit is open.*\s+Unit has answered 429.*\s+The budget.*nearly used up\.\s+Tokens cannot be had.*\s+The key set of partner app cannot be loaded/, 'what to look at');
like($b->text('#budget'), qr/Paused by Unit\s+for 2\.5 s more\s.*Circuit\s+open/s, 'and the budget');
like($b->eval('document.title'), qr/^\(5\) /, 'in the title too');

# the gateway was restarted
show(fixture(since => 1700003000, requests => {total => 3, decisions => {ok => 3}}));
like($b->wait_text('#updated', qr/anew/), qr/; counters began anew at \d\d:\d\d:\d\d\z/, 'counters that have fallen');
is($b->text('#total'), '3 in all', 'are shown');
is($b->text('#refused-note'), 'No requests in the last minute.', 'and not subtracted');
unlike($b->text('main'), qr/-\d/, 'nothing is negative');

# -- what else can come ----------------------------------------------------------------------

my $evil = q{</script><img src=x onerror="window.hit=1"><script>window.hit=1</script>};
show(fixture(
	requests => {total => 'NaN', decisions => {$evil => 7, __proto__ => 5, constructor => 6, "\x{202e}evil\x{0}" => 4, "a\x{0301}" x 2000 => 1}},
	operations => {$evil => {ok => 1, x => []}, b => undef, c => 'text', toString => {ok => 2}},
	tokens => {$evil => 3, hit => -5, minted => 9_007_199_254_740_993, evicted => {}},
	limits => {hasOwnProperty => 1, budget => undef},
	budget => [{name => $evil, left => 10**300, burst => 10, breaker => $evil, paused_ms => 10**15, rate => 10**21, per => 7, reserve => {$evil => 1}}, 7, undef],
	keys => [map({ {partner => $evil, source => $evil, keys => 1, age => 10**18, failures => 10**9} } 1 .. 500)],
	zone => [{name => $evil, size => 0, used => 10**30}, {}],
	upstream => {attempts => 'x', responses => [1], latency => {buckets => [{le => 'x', count => 1}, {le => 1, count => 5}, {le => 0.5, count => 2}]}},
	since => 10**300, workers => $evil,
));
like($b->wait_text('#codes', qr/script/), qr{</script><img src=x onerror="window\.hit=1"><script>window\.hit=1</script> 7}, 'markup is text');
for my $id (qw(operations tokens budget keys zone state)) {
	like($b->text("#$id"), qr/\Q<img src=x onerror=\E/, "also in $id");
}
like($b->text('#codes'), qr/\x{fffd}evil\x{fffd} 4/, 'nothing turns the text around');
like($b->text('#codes'), qr/__proto__ 5/, 'nor is a name magic');
is($b->eval('String(window.hit) + document.querySelectorAll("main img, main script, #state img, #state script").length'), 'undefined0', 'nothing has run');
is($b->eval('document.querySelectorAll("#keys tbody tr").length'), 40, 'a list has an end');
cmp_ok($b->eval('document.querySelector("main").textContent.length'), '<', 20000, 'and so have names');
like($b->text('#budget'), qr/1\.00e\+300 of 1\.00e\+300 calls/, 'what is huge stays short');

show({requests => undef, tokens => {}, budget => [], keys => [], zone => {}, upstream => {latency => {buckets => []}}});
is($b->wait_text('#keys-empty', qr/./), 'No partner has a key set.', 'an empty list');
is($b->text('#tokens-empty'), 'Nothing counted yet.', 'an empty group');
is($b->text("#$_-empty"), 'The gateway does not report this.', "no group $_") for qw(factor idempotency limits operations);
is($b->text('#budget-empty'), 'No budget is set.', 'no budget');
like($b->text('#state'), qr/Needs attention:\s+Not all can be seen: the status lacks requests, operations, verifications, idempotency, limits\.\z/, 'which nobody takes for quiet');
is($b->text('#updated') =~ s/\d\d:\d\d:\d\d/T/gr, 'At T; counters began anew at T', 'neither since nor workers');

show(fixture());
like($b->wait_text('#total', qr/12,345/), qr/12,345/, 'and it goes on');
is_deeply([map { $_->{message} } $b->console], [], 'no complaint in the console');

# -- no answer -------------------------------------------------------------------------------

for my $case ([undef, 'it answers 404'], ['', 'its answer is no status'], ['[1,2]', 'its answer is no status'], ['null', 'its answer is no status'],
	['{"requests":', 'its answer is no status'])
{
	my ($bytes, $why) = @$case;
	defined $bytes ? show($bytes) : unlink $t->dir . '/status.json';
	my $said = $b->wait_text('#state', qr/No status.*\Q$why\E/);
	like($said, qr/\ANo status from the gateway since \d\d:\d\d:\d\d: \Q$why\E\.\s+All values below are those of \d\d:\d\d:\d\d, and stale\.\z/, $why);
	is($b->text('#t-tokens') . $b->eval('getComputedStyle(document.querySelector("#t-tokens"), "::after").content'), 'Customer tokens" (stale)"', 'each group says it');
	is($b->text('#total'), '12,345 in all', 'the last values are kept');
	show(fixture());
	like($b->wait_text('#state', qr/The gateway answers/), qr/\AThe gateway answers/, 'and back');
}
is($b->eval('document.querySelectorAll("main.stale").length'), 0, 'nothing is stale then');

# -- how it looks ------------------------------------------------------------------------------

# Text whose contrast with what is behind it is too low (WCAG 2.1, 1.4.3 AA).
my $contrast = <<'EOT';
(() => {
    const rgba = (s) => (s.match(/[\d.]+/g) || []).map(Number);
    const lum = (c) => c.slice(0, 3).map((v) => (v /= 255) <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
        .reduce((n, v, i) => n + v * [.2126, .7152, .0722][i], 0);
    const back = (e) => {
        for (; e; e = e.parentElement) {
            const c = rgba(getComputedStyle(e).backgroundColor);
            if (c.length === 3 || c[3] === 1) return c;
        }
        return [255, 255, 255];
    };
    const seen = [...document.body.querySelectorAll("*")].filter((e) => e.checkVisibility()
        && [...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim() !== ""));
    const low = seen.filter((e) => {
        const [a, b] = [lum(rgba(getComputedStyle(e).color)), lum(back(e))].sort((x, y) => y - x);
        return !((a + .05) / (b + .05) >= 4.5);
    });
    return [seen.length, low.map((e) => e.tagName + ":" + e.textContent)];
})()
EOT

for my $scheme (qw(light dark)) {
	$b->prefers('prefers-color-scheme' => $scheme, 'prefers-reduced-motion' => 'reduce');
	for my $state ('answers', 'Needs attention', 'No status') {
		show($state eq 'answers' ? fixture() : $state eq 'Needs attention' ? fixture(zone => [{name => 'unit', size => 100, used => 99}]) : 'x');
		$b->wait_text('#state', qr/$state/);
		my ($n, $low) = @{$b->eval($contrast)};
		cmp_ok($n, '>', 60, "$scheme, $state: there is text");
		is_deeply($low, [], 'which can be read');
	}
	show(fixture());
	$b->wait_text('#state', qr/The gateway answers/);
	for my $width (1280, 390, 320) {
		$b->viewport($width, 900);
		is($b->eval('document.scrollingElement.scrollWidth - document.scrollingElement.clientWidth'), 0, "$width wide, nothing sticks out");
		is_deeply($b->eval('[...document.querySelectorAll("main *")].filter((e) => e.checkVisibility() && e.scrollWidth > e.clientWidth + 1 && e.clientWidth > 0).map((e) => e.outerHTML.slice(0, 80))'), [], 'and nothing is cut off');
	}
	$b->viewport(1280, 900);
}
is($b->eval('getComputedStyle(document.querySelector(".meter i")).transitionDuration'), '0s', 'nothing moves for who does not want it');

# -- a keyboard is enough, and it can be stopped ------------------------------------------------

$b->eval('document.activeElement.blur()');
$b->tab;
is($b->eval('document.activeElement.id'), 'pause', 'the first key goes to the button');
$b->type('#pause', ' ');
is($b->text('#pause'), 'Continue', 'which stops it');
$b->urls;
answer(fixture(requests => {total => 99999, decisions => {ok => 99999}}));
$b->eval('document.dispatchEvent(new Event("visibilitychange"))');
$b->eval('new Promise((done) => setTimeout(done, 200))');
is(scalar(grep { m{/unit/status} } $b->urls), 0, 'nothing is asked');
is($b->text('#total'), '12,345 in all', 'nothing changes');
$b->type('#pause', ' ');
is($b->wait_text('#total', qr/99/), '99,999 in all', 'until it goes on');

# -- what the page must not do --------------------------------------------------------------------

$t->stop_nginx;
like($b->wait_text('#state', qr/reached/), qr/: it cannot be reached\./, 'no gateway at all');
$t->start_nginx;
like($b->wait_text('#state', qr/The gateway answers/), qr/\AThe gateway answers/, 'and back');
my ($worker) = $t->workers;
kill STOP => $worker;
like($b->wait_text('#state', qr/in time/), qr/: it does not answer in time\./, 'one that hangs');
kill CONT => $worker;
like($b->wait_text('#state', qr/The gateway answers/), qr/\AThe gateway answers/, 'and back');

$b->open("$base/unit/");
$b->wait_text('#state', qr/The gateway answers/);
my @urls = $b->urls;
is(join(' ', grep { !m{\A(?:\Q$base\E/unit/(?:status)?\z|data:)} } @urls), '', 'it has asked for nothing else');
cmp_ok(scalar(grep { m{/unit/status\z} } @urls), '>', 0, 'but for that');
is(join("\n", map { $_->{message} } grep { $_->{source} ne 'network' } $b->console), '', 'no complaint in the console');
is($b->eval('document.cookie + localStorage.length + sessionStorage.length'), '00', 'it keeps nothing');
is($b->eval('fetch("http://127.0.0.2:1/").then(() => "reached", () => "refused")'), 'refused', 'another server is not for it');
like(join("\n", map { $_->{message} } $b->console), qr/Content Security Policy/, 'by the policy');
$t->stop;

# -- with a gateway ----------------------------------------------------------------------------------

$t = UnitGateway->new(workers => 2, limits => "unit_limit customer rate=6r/h burst=5;\n", server => $locations);
$t->start;
$base = 'http://127.0.0.1:' . $t->port;
$b->console;
$b->open("$base/unit/");
is($b->wait_text('#state', qr/answers/), 'The gateway answers; nothing needs attention.', 'a gateway');
like($b->text('#updated'), qr/, 2 workers\z/, 'with two workers');
is($b->text('#total'), '0 in all', 'nobody has asked for anything, and the page does not count');
is($b->text('.empty') =~ s/No requests yet\.|Nothing counted yet\.|\s//gr, '', 'every group is reported');

is($t->get('/accounts', as => 'alice')->status, 200, 'a request') for 1 .. 2;
is($t->get('/accounts', token => 'x')->status, 401, 'one without a token') for 1 .. 3;
my $codes = qr/\Atoken_invalid 3 \d\s+ok 2 \d\z/;
like($b->wait_text('#codes tbody', $codes), $codes, 'are on the page');
like($b->text('#operations tbody'), qr/^\S*[aA]ccounts\S* 2 0$/m, 'by operation');
like($b->text('#tokens'), qr/From the cache\s+1\s+Created at Unit\s+1\s/, 'the token too');
is($b->text('#ratio'), '50 %', 'from the cache and not');
like($b->text('#p50'), qr/\A[\d<]/, 'the time it took');
like($b->text('#keys tbody'), qr/\Aapp file 1 \d+ (?:s|ms) 0\z/, 'the key set');
like($b->text('#upstream'), qr/\AAttempts\s+2\s/, 'calls to Unit');

my %try = (scope => 'cards-write', verificationToken => handle($t, [as => 'bob']));
my $code = $t->sandbox->otp('10002')->{code};
is(finish($t, [as => 'bob'], %try, verificationCode => other_code($code))->status, 403, 'a wrong code');
is(finish($t, [as => 'bob'], %try, verificationCode => $code)->status, 201, 'the right one');
my $funnel = qr/\AStarted 1\s+Verified 1\s+Wrong code 1\s/;
like($b->wait_text('#factor tbody', $funnel), $funnel, 'the funnel');

is($t->get('/accounts', as => 'alice')->status, $_ < 4 ? 200 : 429, 'as often as she may') for 1 .. 4;
like($b->wait_text('#limits', qr/customer\s+1/), qr/Refused: customer\s+1\s/, 'and once more');
ok($t->reload, 'a reload');
is($t->get('/accounts', token => 'x')->status, 401, 'and a request');
like($b->wait_text('#codes', qr/token_invalid 4/), qr/token_invalid 4 /, 'go on counting');
unlike($b->text('#updated'), qr/anew/, 'where it was');
is(join("\n", map { $_->{message} } $b->console), '', 'no complaint in the console');
$b->close;

$t->done;
