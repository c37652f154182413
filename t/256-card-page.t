#!/usr/bin/perl

# The page of docs/card-data.md does what it says, in a real browser: a code, a
# token for card data, and a call to the vault that the gateway does not see. As
# it is printed, but for the vault's address.

use strict;
use warnings;

use Test::More;
use UnitGateway;
use UnitGateway::Browser;

my $missing = UnitGateway::Browser::missing();
plan skip_all => $missing if $missing;

# the vault is another server, which lets the page's origin in
my $t = UnitGateway->new(
	location => 'unit_token_handoff cards-sensitive;', server => <<'EOT', servers => <<'EOT2');
        location = /page.html {
            root "%%DIR%%";
            default_type text/html;
        }
EOT
    server {
        listen 127.0.0.1:%%PORT_VAULT%%;
        add_header Access-Control-Allow-Origin * always;
        add_header Access-Control-Allow-Headers "authorization, cache-control, pragma" always;
        default_type application/vnd.api+json;
        location / {
            if ($request_method = OPTIONS) {
                return 204;
            }
            if ($http_authorization !~ "^Bearer v2[.]public[.]") {
                return 401;
            }
            return 200 '{"data":{"type":"card","attributes":{"pan":"4111111111111111"}}}';
        }
    }
EOT2
my ($page) = UnitGateway::slurp($t->root . '/docs/card-data.md') =~ /^```html\n(.*?)^```$/ms;
ok($page, 'there is a page');
my $vault = 'http://127.0.0.1:' . $t->port('VAULT');
is($page =~ s{https://vault\.example\.com}{$vault}g, 2, 'which names the vault twice');
$t->write_file('page.html', $page);
$t->start;

my $b = UnitGateway::Browser->new;
my $base = 'http://127.0.0.1:' . $t->port;
$b->open("$base/page.html");
$b->eval('sessionStorage.setItem("jwt", "' . $t->jwt(sub => 'alice') . '")');
$b->click('#start button');
$b->wait_text('#enter', qr/code/);
my $code = $t->sandbox->otp('10001')->{code};
$b->type('#code', $code eq '123456' ? '123457' : '123456');
$b->click('#enter button');
is($b->wait_text('#message', qr/./), 'This code is not right.', 'a wrong code');
is($b->text('#pan'), '', 'shows nothing');
my $mark = $t->sandbox->mark;
$b->type('#code', "$code\n");
is($b->wait_text('#pan', qr/./), '4111111111111111', 'the right one shows the number');
my ($mint, @more) = $t->sandbox->journal($mark);
is(scalar @more, 0, 'Unit has got one call');
is_deeply(
	[@{JSON::PP::decode_json($mint->{body})->{data}{attributes}}{qw(scope expiresIn resources)}],
	['cards-sensitive', 60, [{type => 'card', ids => ['1101']}]], 'for a token as narrow as can be',
);
is_deeply([grep { !m{^(?:\Q$base\E/(?:page\.html|customers/me/token(?:/verification)?)|\Q$vault\E/cards/1101/secure-data/pan)$} && /^http/ && !m{/favicon} } $b->urls], [],
	'the page has called the gateway and the vault, nobody else');
unlike($b->eval('document.documentElement.outerHTML + JSON.stringify(localStorage)'), qr/v2\.public/, 'and keeps no token');
$b->close;
$t->done;
