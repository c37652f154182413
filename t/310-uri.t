#!/usr/bin/perl

# Which paths and queries get through: what reaches Unit is exactly the one
# plain form that was authorised, or nothing. Every trick of another server's
# reading is either refused (400, 404) or arrives in plain form, which the
# sandbox's journal tells. A foreign customer in the query is found however its
# filter is spelled. Holds P38 and P39.

use strict;
use warnings;
no warnings 'qw';

use Test::More;
use UnitGateway;

my $t = UnitGateway->new;
$t->start;

my $mark = $t->sandbox->mark;

# One request; its response and the calls that Unit got, but for tokens.
sub probe {
	my ($target, %o) = @_;

	my $r = $t->request($o{method} // 'GET', $target, as => 'alice', %o);
	my @calls = $t->sandbox->journal($mark);
	$mark = $calls[-1]{n} if @calls;
	return ($r, map { $_->{path} . (length($_->{query} // '') ? "?$_->{query}" : '') } grep { $_->{path} !~ m{/token\z} } @calls);
}

sub shown { my ($text) = @_; return $text =~ s/([^ -~])/sprintf '\\x%02x', ord $1/ger =~ s/(.{70}).+/$1.../sr }

# TARGET becomes PATH at Unit
sub sent {
	my ($target, $path, %o) = @_;
	my ($r, @calls) = probe($target, %o);
	is_deeply(\@calls, [$path // $target], 'sent: ' . shown($target)) or diag $r->status, ' ', $r->body;
}

# TARGET is refused: "400 invalid_uri" and so on; both a list of them
sub refused {
	my ($target, $wanted, %o) = @_;
	my ($r, @calls) = probe($target, %o);
	my $got = $r->status . ' ' . $r->code;
	ok(!@calls && (grep { $_ eq $got } split / or /, $wanted), "refused: " . shown($target)) or diag "$got, wanted $wanted; @calls";
	is($r->header('Content-Type'), 'application/vnd.api+json', 'with a document');
}

use constant {
	URI => '400 invalid_uri',
	NONE => '404 unknown_operation',
	BAD => '400 invalid_request or 400 invalid_uri',
};

# -- plain ---------------------------------------------------------------------------

sent('/accounts');
sent('/accounts/1001');
sent('/accounts/1001/limits');
sent('/accounts/a-b_c.d~e');
sent('/accounts/' . 'x' x 128);

# -- escapes --------------------------------------------------------------------------

sent('/%61ccounts', '/accounts');
sent('/%61%63%63%6f%75%6E%74%73', '/accounts');
sent('/accounts/%31001', '/accounts/1001');
sent('/accounts/a%2Db%5Fc%2Ed%7Ee', '/accounts/a-b_c.d~e');

refused($_, URI) for map { ("/accounts/1001$_", "/accounts/1001${_}limits", "/accounts$_") }
	qw(%2f %2F %5c %5C %3b %3B %25 %252f %252F %252e %2525 %00 %01 %0a %0A %0d%0a %09 %20 %7f %c0%af %e0%80%af %ff %3f %3F %23 %26 %2c %3a %40 %2b
		%e2%80%8b %c3%a9 %22 %3c %7c);
refused($_, BAD) for qw(/accounts% /accounts%2 /accounts%zz /accounts%g1 /accounts/%u0041 /accounts/% /accounts/%2);

# -- dots, slashes, semicolons ---------------------------------------------------------

refused($_, URI) for qw(
	/accounts/. /accounts/.. /accounts/./1001 /accounts/../accounts /accounts/../cards /accounts/1001/.. /accounts/1001/../../accounts
	/accounts/%2e /accounts/%2e%2e /accounts/%2E%2e/accounts /accounts/.%2e/accounts /./accounts /../accounts /%2e%2e/accounts
	/accounts/1001/%2e%2e/1001 /accounts/..%2f..%2faccounts /accounts/..;/accounts /accounts/.;/1001 /accounts;x /accounts;x=y/1001
	/accounts/1001;x /accounts/1001;limits /;/accounts /accounts/;
	//accounts /accounts//1001 //accounts//1001 /accounts// ///
	/accounts\\1001 /accounts\\..\\cards /accounts/1001\\ /accounts/..\\
);
refused('\\accounts', BAD);
refused($_, NONE . ' or ' . URI) for qw(/accounts/ /accounts/1001/ /accounts. /accounts.json /.accounts /accounts/1001.5/limits/. /accounts/1001/limits.json /accounts,x /accounts:x
	/accounts@x /accounts=x /accounts/1001+ /accounts/(1001) /accounts/*), "/accounts/'", '/accounts/$', '/accounts/!', '/accounts/&x=y';
refused($_, BAD) for '/accounts/"', '/accounts/<x>', '/accounts/{x}', '/accounts/|', '/accounts/^', '/accounts/`', '/accounts/[x]';
sent('/accounts/...');
sent('/accounts/1001.');

# -- bytes that no target may have ---------------------------------------------------------

refused($_, BAD) for "/accounts/\x01", "/accounts\0", "/accounts/\0/1001", "/accounts/\x7f", "/accounts/\x80", "/accounts/\xc3\xa9", "/accounts\t",
	"/accounts/\x0b", "/accounts/1001\0?x", "/accounts /1001", "/accounts 1001", "/accounts?x\0=y", "/accounts?x=\x01";

# -- case, unknown, root ---------------------------------------------------------------------

refused($_, NONE) for qw(/Accounts /ACCOUNTS /accounts/1001/Limits /%41ccounts / /account /accountsx /accounts/1001/limits/x /accounts/1001/x /x
	/index.html /favicon.ico /.well-known/openid-configuration /*);

# -- forms of the target ----------------------------------------------------------------------

sent('http://localhost/accounts', '/accounts');
sent('HTTP://LOCALHOST/accounts/1001', '/accounts/1001');
sent('http://localhost:80/accounts', '/accounts');
sent('http://evil.example/accounts', '/accounts');
sent('http://localhost/accounts?page%5Blimit%5D=5', '/accounts?page%5Blimit%5D=5');
refused('http://localhost/accounts/%2e%2e/cards', URI);
refused('http://localhost//accounts', URI);
refused($_, NONE . ' or ' . BAD) for qw(http://localhost http://localhost/ http://localhost? http://localhost?/accounts);
refused($_, BAD) for qw(accounts * ?x=y http:/accounts http:accounts http://user:pass@localhost/accounts localhost:80 #/accounts), 'http:///accounts', '';
refused('/http://localhost/accounts', URI);

# -- fragments and question marks --------------------------------------------------------------

refused($_, URI) for qw(/accounts#x /accounts# /accounts#?x=y /accounts?x=y#z /accounts?# /accounts/1001#/limits);
sent('/accounts?', '/accounts');
sent('/accounts?&', '/accounts?&');
sent('/accounts?x', '/accounts?x');
sent('/accounts??x', '/accounts??x');
sent('/accounts?x=%2f..%2f', '/accounts?x=%2f..%2f');
sent('/accounts?page[limit]=5&sort=-createdAt&filter%5Btags%5D=%7B%22a%22%3A%22b%22%7D&x=a+b&y=/../');

# -- length ---------------------------------------------------------------------------------------

refused('/accounts/' . 'x' x $_, URI . ' or ' . NONE) for 300, 3000, 9000;
refused('/accounts/' . '%61' x 4000, URI . ' or ' . NONE);
refused('/accounts' . '/x' x 4000, URI . ' or ' . NONE);
refused('/accounts/' . 'x' x 20000, '414 invalid_uri');
sent('/accounts?x=' . 'y' x 6000);
refused('/accounts?' . 'x&' x 300, URI);
refused('/accounts?x=' . 'y' x 20000, '414 invalid_uri');

# -- what is inside stays inside ----------------------------------------------------------------------

refused($_, join ' or ', NONE, URI) for qw(/_unit/error /_unit/api/customers/10001 /_unit/api/customers /_unit/api /_unit /_unit/ /%5funit/api/customers
	/_unit//api/customers /./_unit/api/customers /x/../_unit/api/customers //_unit/api/customers /_UNIT/api/customers
	/_sandbox /_sandbox/ /_sandbox/journal /_sandboxes /%5fsandbox/journal /_%73andbox/journal //_sandbox/journal /x/../_sandbox/journal
	/accounts/../_sandbox/journal /accounts/..%2f_sandbox/journal /_sandbox%2fjournal /./_sandbox/journal /_sandbox;/journal);

# -- the customer in the query -------------------------------------------------------------------------

my @names = qw(filter[customerId] filter%5BcustomerId%5D filter%5bcustomerId%5d %66ilter[customerId] filter[%63ustomerId] filter[customerId][] filter[customerId][0]
	filter%5BcustomerId%5D%5B%5D filter[customerId][7] filter[][customerId] filter[0][customerId] FILTER[customerId] filter[CustomerID] filter.customerId
	filter[customerId filter[customerId]] filter%20[customerId] filter[+customerId] filter[customerId+] filter[customerId][eq] filter[[customerId]]
	filter[%20customerId%09] filter(customerId) filter:customerId filter/customerId);
my $own = '10001';
my $foreign = '403 customer_mismatch';
for my $name (@names) {
	refused("/accounts?$name=10002", $name =~ /%09/ ? URI : $foreign);
	refused("/accounts?page[limit]=5&$name=10002&sort=x", $name =~ /%09/ ? URI : $foreign);
}
sent("/accounts?$_=$own") for grep { !/%09/ } @names;

refused("/accounts?filter[customerId]$_", $foreign) for qw(=10001,10002 =10002,10001 =10001%2C10002 =10001%2c10002 =10001&filter[customerId]=10002 =10002&filter[customerId]=10001
	=10001&filter%5BcustomerId%5D=10002 =10001&filter[customerId][]=10002 =10001&FILTER[customerId]=10002 =1000%32 =100012 =1000 =010001 =10001, =,10001 =10001,,10001
	=10001%20,10002 =10001+10002 =%31%30%30%30%32 =me =* =10001.0 =+10002 =10001|10002 =[10001] =%2210001%22 =null =-1 =10001%252C10002 =10001%2510 =1e4 = &x=y), '';
refused("/accounts?filter[customerId]$_", URI) for qw(=10001;filter[customerId]=10002 ;x=10002 =10001%00 =10001%0a =10001%ff =10001%zz =10001% =%c0%b1);
refused("/accounts?$_", URI) for qw(x=y;filter[customerId]=10002 filter%255BcustomerId%255D=10002 filter%5BcustomerId%255D=10002 filter[customer%00Id]=10002 filter[customerId%00]=10002
	filter[customer%zzId]=10002 %=10002 filter[customerId%]=10002 %c0%a6ilter[customerId]=10002);
sent("/accounts?filter[customerId]$_") for qw(=10001,10001 =10001&filter[customerId]=10001 =%310001 =10001%2C10001);
sent("/accounts?filter[accountId]=2001&filter[customerIds]=x&customerId=x&xfilter[customerId]=x");

# a path that does not look at customers is no way around
refused("/$_?filter[customerId]=10002", $foreign) for qw(accounts/1001 transactions cards counterparties payments statements customers/10001 customers);

# whose data comes back is told by filter[userId] too
sent('/accounts?filter[userId]=alice');
refused("/accounts?filter[userId]$_", $foreign) for qw(=bob =alice,bob =alice&filter[userId]=bob []=bob [0]=bob = =Alice), '';
refused("/accounts?filter%5BuserID%5D=bob", $foreign);

# -- none of this depends on the method --------------------------------------------------------------------

refused('/accounts/%2e%2e/accounts', URI, method => $_) for qw(POST PATCH DELETE PUT OPTIONS);
refused('/accounts?filter[customerId]=10002', $foreign, method => 'POST', json => {data => {type => 'depositAccount'}});
my ($r, @calls) = probe('/accounts/%2e%2e/accounts', method => 'HEAD');
is($r->status . "@calls", '400', 'HEAD');

# -- and not on the version ------------------------------------------------------------------------------------

my $client = $t->connect;
$client->send("GET /accounts/%2e%2e/cards HTTP/1.0\r\nAuthorization: Bearer " . $t->jwt(sub => 'alice') . "\r\n\r\n");
is($client->response->code, 'invalid_uri', 'HTTP/1.0');
$client->close;
$client = $t->connect;
$client->send("GET /accounts\r\n");
ok($client->closed || $client->unread !~ /depositAccount/, 'HTTP/0.9: nothing of Unit') or diag $client->unread;
$client->close;
is(scalar(grep { $_->{path} !~ m{/token\z} } $t->sandbox->journal($mark)), 0, 'nothing was sent');

$t->done;
