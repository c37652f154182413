#!/usr/bin/perl

# Everything that is wrong in a configuration is found by "nginx -t", with a
# text that says what, and with the file and the line where it is: each refusal
# of each directive once. Nothing that weakens security can be had by leaving a
# directive out or by a typing error.

use strict;
use warnings;

use Test::More;
use UnitGateway;

my $t = UnitGateway->new(sandbox => 0);
my $root = $t->root;
my $dir = $t->dir;

# the refusals are what this test is about
$t->logs->allow(qr/\[emerg\]/);

my %plain = (
	main => '', http => '', server => '', location => '', broker => '', servers => '', zone => '16m',
	partners => {app => {}, other => undef}, conf => undef, gateway => 1,
);

# In which line of the file are these words? The last one counts, and for "}" the
# first: the end of the partner.
sub line_of {
	my ($regex) = @_;
	my @lines = split /\n/, $t->read_file('nginx.conf');
	my ($n) = $regex eq '}' ? grep({ $lines[$_] eq '    }' } 0 .. $#lines) : grep { $lines[$_] =~ $regex } reverse 0 .. $#lines;
	return defined $n ? $n + 1 : "no line matches $regex";
}

# NAME, options, text, words of the line that is blamed
sub refused {
	my ($name, $options, $text, $where) = @_;

	$t->configure(%plain, %$options);
	if (ref $options->{edit}) {
		my $conf = $t->read_file('nginx.conf');
		local $_ = $conf;
		$options->{edit}->();
		die "$name: the edit changes nothing\n" if $_ eq $conf;
		$t->write_file('nginx.conf', $_);
	}
	my ($status, $output) = $t->test_config;
	subtest $name => sub {
		isnt($status, 0, 'refused') or return;
		like($output, $text, 'the text says what');
		my $line = line_of($where);
		like($output, qr/ in \Q$dir\E\/nginx\.conf:\Q$line\E$/m, 'and where');
		is(() = $output =~ /\[emerg\]/g, 1, 'once') if !$options->{twice};
		unlike($output, qr/\[alert\]|Sanitizer/, 'nothing worse');
	} or diag $output;
}

sub accepted {
	my ($name, $options, $text) = @_;

	$t->configure(%plain, %$options);
	my ($status, $output) = $t->test_config;
	is($status, 0, $name) or diag $output;
	like($output, $text, "$name: told") if $text;
	unlike($output, qr/\[(?:warn|error|crit|alert|emerg)\]/, "$name: not a word") if !$text;
}

# a change to the partner "app"
sub partner { return {partners => {app => {@_}, other => undef}} }

# one edit of the text of the configuration
sub edit (&) { return {edit => $_[0]} }

accepted('the configuration of the tests', {});

# -- unit_partner ----------------------------------------------------------------

refused("no $_", partner($_ => undef), qr/unit_partner "app" has no "$_" directive/, '}')
	for qw(audience jwks scopes customer);
refused('no issuer', partner(issuer => undef), qr/unit_partner "app" has no "issuer" directive/, '}');

refused("$_ twice", partner(more => "        $_ " . {
	issuer => 'https://other.example.test/', audience => 'x', jwks => "$dir/jwks.json", leeway => '1s', customer => 'lookup',
	role => 'claim=r', session => 'claim=s', two_factor => 'otp',
}->{$_} . ';'), qr/"$_" directive of unit_partner is duplicate/, qr/^        $_ /)
	for qw(issuer audience jwks leeway customer role session two_factor);
refused('token twice', partner(token => 'customer', more => '        token customer;'),
	qr/"token" directive of unit_partner is duplicate/, qr/^        token /);
refused('jwks and jwks_request', partner(more => '        jwks_request /_jwks;'),
	qr/"jwks_request" directive of unit_partner is duplicate/, qr/jwks_request/);

refused('an unknown directive', partner(more => '        audiense off;'), qr/unknown directive "audiense" in unit_partner/,
	qr/audiense/);
refused('a directive of nginx', partner(more => '        root /tmp;'), qr/unknown directive "root" in unit_partner/, qr/root \/tmp/);
refused('a directive in capitals', partner(more => '        Token org;'), qr/unknown directive "Token" in unit_partner/, qr/Token org/);
refused('a block inside', partner(more => '        issuer x { }'), qr/./, qr/issuer x/);
refused('no value', partner(role => ''), qr/invalid number of arguments in "role" directive/, qr/^        role/);
refused('two values', partner(issuer => 'a b'), qr/invalid number of arguments in "issuer" directive/, qr/^        issuer/);

refused("an empty $_", partner($_ => '""'), qr/"$_" directive of unit_partner is empty/, qr/^        $_/) for qw(issuer audience jwks);

refused("a leeway of \"$_\"", partner(leeway => $_), qr/"leeway" directive of unit_partner must be a time of at most 5m/, qr/leeway/)
	for qw(301s 6m -1s 1.5s abc 30sec "");
accepted("a leeway of $_", partner(leeway => $_)) for qw(0 300s 5m);

refused("customer $_", partner(customer => $_), qr/"customer" directive of unit_partner must be claim=NAME/, qr/^        customer /)
	for qw(claim= unitCustomerId Lookup claims=x);
refused("role $_", partner(role => $_), qr/"role" directive of unit_partner must be claim=NAME/, qr/^        role /)
	for qw(claim= Admin);
refused('session sid', partner(session => 'sid'), qr/"session" directive of unit_partner must be claim=NAME/, qr/^        session /);

refused('an unknown scope', partner(scopes => "accounts\n            account\n            cards"), qr/unknown scope "account"/,
	qr/^            cards;$/);
refused('a scope that Unit once had', partner(scopes => 'accounts-create'), qr/unknown scope "accounts-create"/, qr/accounts-create/);
refused('all and a name', partner(scopes => 'all accounts'), qr/unknown scope "all"/, qr/scopes all/);
refused('a name and all', partner(scopes => 'accounts all'), qr/unknown scope "all"/, qr/scopes accounts/);
refused('all, then a name', partner(scopes => 'all', more => '        scopes accounts;'), qr/has both "all" and names/, qr/scopes accounts/);
refused('a name, then all', partner(scopes => 'accounts', more => '        scopes all;'), qr/has both "all" and names/, qr/scopes all/);
accepted('scopes in two lines', partner(scopes => 'accounts', more => '        scopes payments;'));

refused("two_factor $_->[0]", partner(two_factor => $_->[0]), $_->[1], qr/two_factor/) for (
	['sms', qr/must be "otp" or "jwt"/], ['off', qr/must be "otp" or "jwt"/], ['otp amr=mfa', qr/otp takes no parameters/],
	['jwt', qr/jwt needs amr=VALUE/], ['jwt amr=', qr/unknown parameter/], ['jwt max_age=1h', qr/jwt needs amr=VALUE/],
	['jwt amr=mfa max_age=25h', qr/max_age of at most 24h/], ['jwt amr=mfa max_age=0', qr/max_age of at most 24h/],
	['jwt amr=mfa max_age=x', qr/max_age of at most 24h/], ['jwt amr=mfa age=1h', qr/unknown parameter/],
);
accepted('two_factor jwt', partner(two_factor => 'jwt amr=mfa max_age=24h'));

refused('token admin', partner(token => 'admin'), qr/must be "customer" or "org"/, qr/token admin/);
refused('token org with customer', partner(token => 'org', two_factor => undef),
	qr/"app" with "token org" can have neither "customer" nor "two_factor"/, '}');
refused('token org with two_factor', partner(token => 'org', customer => undef),
	qr/"app" with "token org" can have neither "customer" nor "two_factor"/, '}');
accepted('token org', partner(token => 'org', customer => undef, two_factor => undef));

refused('two of one name', edit { s/(    unit_partner app \{.*?\n    \}\n)/$1    unit_partner app {\n    }\n/s },
	qr/duplicate unit_partner "app"/, qr/unit_partner app/);
refused('two of one issuer', {partners => {app => {}, other => {}}},
	qr/"issuer" directive of unit_partner is the issuer of another unit_partner, too/, qr/^        issuer/);
accepted('two partners', {partners => {app => {}, other => {issuer => 'https://other.example.test/'}}});
refused('no name', edit { s/unit_partner app/unit_partner/ }, qr/invalid number of arguments in "unit_partner"/, qr/unit_partner/);
refused('not closed', edit { s/(two_factor otp;)\n\n    \}/$1/ }, qr/unexpected "\{"/, qr/upstream unit_api/);

# -- keys ------------------------------------------------------------------------

$t->write_file('small.json', UnitGateway::slurp(UnitGateway::Jwt::jwks_file('small', 1024)));
my $jwks = $t->read_file('jwks.json');
my ($n) = $jwks =~ /"n":\s*"([^"]+)"/;
my $key = sub { my ($kid, $more) = @_; qq({"kty":"RSA","e":"AQAB","n":"$n") . ($kid ? qq(,"kid":"$kid") : '') . ($more // '') . '}' };
my %file = (
	two => '{"keys":[' . $key->('a') . ',' . $key->('a') . ']}', none => '{"keys":[]}', empty => '', text => 'nonsense',
	broken => '{"keys":[' . $key->('a'), noarray => '{"keys":{}}', hmac => '{"keys":[{"kty":"oct","k":"c2VjcmV0","kid":"a"}]}',
	private => '{"keys":[' . $key->('a', ',"d":"AQAB"') . ']}', enc => '{"keys":[' . $key->('a', ',"use":"enc"') . ']}',
	twice => '{"keys":[],"keys":[' . $key->('a') . ']}', large => '{"keys":[' . $key->('a') . ']}' . ' ' x 50000,
	mixed => '{"keys":[' . $key->('a') . ',{"kty":"EC"}]}',
);
$t->write_file("$_.json", $file{$_}) for keys %file;

refused("a key set: $_->[0]", partner(jwks => "$dir/$_->[0].json"), qr/file "\Q$dir\E\/$_->[0]\.json": .*$_->[1]/, qr/^        jwks/) for (
	['small', qr/2048/], ['two', qr/duplicate "kid"/], ['none', qr/no usable RS256 key/], ['empty', qr/is empty or too large/],
	['text', qr/not valid JSON/], ['broken', qr/not valid JSON/], ['noarray', qr/"keys" array/], ['hmac', qr/no usable RS256 key/],
	['private', qr/no usable RS256 key/], ['enc', qr/no usable RS256 key/], ['twice', qr/not valid JSON/],
	['large', qr/is empty or too large/], ['missing', qr/cannot be opened/],
);
refused('a key set: a directory', partner(jwks => $dir), qr/file "\Q$dir\E": is not a regular file/, qr/^        jwks/);
accepted('a key set: one that can be used, one that cannot', partner(jwks => "$dir/mixed.json"),
	qr/\[warn\].*1 of 2 keys in "\Q$dir\E\/mixed\.json" cannot be used, first: key 2: "kty" is not "RSA"/);
refused('jwks_request without slash', partner(jwks => undef, jwks_request => '_jwks'),
	qr/"jwks_request" directive of unit_partner must name an internal location/, qr/jwks_request/);
refused('jwks_request without its location', partner(jwks => undef, jwks_request => '/_jwks'),
	qr/"unit_gateway" needs a location for "\/_jwks" in its server/, qr/unit_gateway on/);
accepted('jwks_request', {
	%{partner(jwks => undef, jwks_request => '/_jwks')},
	server => "        location = /_jwks {\n            internal;\n            proxy_pass http://unit_api/keys;\n        }",
});

# -- what a gateway needs --------------------------------------------------------

refused("no $_", do { my $d = $_; edit { s/^\s*$d [^;]*;//m } }, qr/"unit_partner" needs "$_"/, qr/unit_partner/)
	for qw(unit_zone unit_operations unit_org_token_file unit_org_token_request);
refused('no unit_partner', {partners => {app => undef, other => undef}}, qr/"unit_gateway" needs "unit_partner"/, qr/unit_gateway on/);
refused('a partner alone', edit { s/^\s*unit_gateway on;//m; s/^\s*unit_zone [^;]*;//m }, qr/"unit_partner" needs "unit_zone"/, qr/unit_partner/);
refused('unit_org_token_request without slash', edit { s/(unit_org_token_request) [^;]*;/$1 api;/ },
	qr/"unit_partner" needs "unit_org_token_request" with the name of an internal location/, qr/unit_partner/);

refused("$_ twice", do { my $d = $_; edit { s/^(\s*$d [^;]*;)/$1\n$1/m } }, qr/"$_" directive is duplicate/, qr/$_ /)
	for qw(unit_zone unit_operations unit_org_token_file unit_org_token_request unit_gateway);
refused("$_ twice", {location => "            $_;\n            $_;"}, qr/directive is duplicate/, qr/^            $_/)
	for 'unit_sandbox on', 'unit_token_scopes ceiling', 'unit_token_lifetime 1h', 'unit_token_wait 1s', 'unit_log_level info';

refused("unit_zone $_->[0]", do { my $z = $_->[0]; edit { s/unit_zone [^;]*;/unit_zone $z;/ } }, $_->[1], qr/unit_zone/) for (
	['unit:64m', qr/invalid parameter "unit:64m"/], ['zone=unit', qr/invalid zone size "zone=unit"/], ['zone=:64m', qr/invalid zone size/],
	['zone=unit:', qr/invalid zone size/], ['zone=unit:x', qr/invalid zone size/], ['zone=unit:-1', qr/invalid zone size/],
	['zone=unit:8k', qr/too small/], ['zone=unit:64m keep', qr/invalid number of arguments/],
);

# -- the locations of the gateway's own calls ---------------------------------------

# in each server, reached by the calls, closed to clients
my $broker = 'location /_unit/api/ {';
my @needs = (qr/"unit_gateway" needs a location for "\/_unit\/api" in its server, with "internal" and "proxy_pass"/, qr/unit_gateway on/);
my $open = 'proxy_pass http://unit_api/;';
refused("no such location: $_->[0]", {edit => $_->[1]}, @needs) for (
	['of that name', sub { s/\Q$broker\E/location \/_unit\/app\/ {/ }], ['but for one path', sub { s/\Q$broker\E/location = \/_unit\/api\/ {/ }],
	['but for another', sub { s/\Q$broker\E/location \/_unit\/api\/tokens {/ }],
	['open to clients', sub { s/(\Q$broker\E)[^}]*/$1\n            $open\n        / }],
	['but one that answers itself', sub { s/(\Q$broker\E)[^}]*/$1\n            internal;\n            return 404;\n        / }],
	['and a gateway is none', sub { s/\Q$broker\E[^}]*\}// }],
	['that a regex takes over', sub { s/(\Q$broker\E)/location ~ token\$ {\n            return 404;\n        }\n        $1/ }],
	['that a nested one takes over', sub { s/(\Q$broker\E)/$1\n            location \/_unit\/api\/customers {\n                return 404;\n            }/ }],
);
my $alone = sub {
	my ($more, $listen) = @_;
	return {servers => "    server {\n        listen 127.0.0.1:%%PORT_OTHER%%@{[$listen // '']};\n        location / {\n            unit_gateway on; # other\n"
		. "            proxy_pass http://unit_api;\n            include \"%%ROOT%%/conf/unit_proxy.conf\";\n        }\n$more\n    }"};
};
my $internal = "internal;\n            $open\n        }";
refused('in another server', $alone->(''), $needs[0], qr/unit_gateway on; # other/);
accepted("the location $_->[0]", $alone->($_->[1])) for (
	['in both', "        $broker $internal"], ['with ^~', "        location ^~ /_unit/api/ { $internal\n        location ~ . { return 404; }"],
	['without a slash', "        location /_unit/api { $internal"], ['for more', "        location /_unit/ { $internal"],
	['as a regex', "        location ~ ^/_unit/api(/customers.*) { internal; proxy_pass http://unit_api\$1; }"],
	['nested', "        location /_unit/ {\n return 404;\n location /_unit/api/ { $internal\n}"],
);
accepted('token org needs none', {
	%{partner(token => 'org', customer => undef, two_factor => undef)}, %{$alone->('')},
});

# -- early data ----------------------------------------------------------------------

SKIP: {
	skip 'no openssl here', 5 if !`openssl version 2>/dev/null`;
	system("openssl req -x509 -newkey rsa:2048 -nodes -keyout '$dir/tls.key' -out '$dir/tls.pem' -subj /CN=localhost -days 2 2>/dev/null") == 0
		or die 'openssl req';
	my $tls = "        ssl_certificate \"$dir/tls.pem\";\n        ssl_certificate_key \"$dir/tls.key\";\n        ssl_protocols TLSv1.3;\n";
	my @early = (qr/"unit_gateway" and "ssl_early_data on" cannot go together on one address/, qr/unit_gateway on; # other/);
	my $other = "        $broker $internal\n$tls";
	my $neighbour = sub { "    server {\n        listen 127.0.0.1:%%PORT_$_[0]%% ssl;\n        server_name other;\n$tls        ssl_early_data on;\n    }\n" };
	my $with = sub { my ($s, $more) = @_; return {servers => $more . $s->{servers}} };

	refused('ssl_early_data', $alone->("$other        ssl_early_data on;", ' ssl'), @early);
	refused('ssl_early_data of another server on the address', $with->($alone->($other, ' ssl'), $neighbour->('OTHER')), @early);
	refused('ssl_early_data of all', {%{$alone->($other, ' ssl')}, http => '    ssl_early_data on;'}, qr/"unit_gateway" and "ssl_early_data on"/, qr/unit_gateway on(?!; # other)/);
	accepted('ssl_early_data off', $alone->("$other        ssl_early_data off;", ' ssl'));
	accepted('ssl_early_data of another address', $with->($alone->($other, ' ssl'), $neighbour->('THIRD')));
}

# -- operations ------------------------------------------------------------------

my $table = UnitGateway::slurp("$root/conf/operations.json");
my %bad = (
	notjson => ['nonsense', qr/./], nolist => ['{}', qr/./], member => [$table =~ s/"moves_funds"/"moves_fund"/r, qr/"create-individual-application"/],
	scope => [$table =~ s/("scopes": \[\s*")applications-write"/$1applications-writ"/r, qr/applications-writ/],
	name => [$table =~ s/"name": "create-sole-proprietor-application"/"name": "create-individual-application"/r, qr/create-individual-application/],
	method => [$table =~ s/"method": "POST"/"method": "BREW"/r, qr/BREW|method/], path => [$table =~ s{"path": "/applications"}{"path": "applications"}r, qr/path/],
);
for (sort keys %bad) {
	my ($text, $regex) = @{$bad{$_}};
	die "$_: the table was not changed\n" if $text eq $table;
	my $file = $t->write_file("$_.table", $text);
	refused("a table of operations: $_", {edit => sub { s/unit_operations [^;]*;/unit_operations "$file";/ }, twice => 1},
		qr/file "\Q$file\E": is not a good operations table.*operations table: .*$regex/s, qr/unit_operations/);
}
refused('a missing table', edit { s/unit_operations [^;]*;/unit_operations absent.json;/ }, qr/absent\.json": cannot be opened/, qr/unit_operations/);

refused("$_ of an unknown operation", {location => "            $_ list-accounts\n                list-account;"},
	qr/unknown operation "list-account"/, qr/^                list-account;/) for qw(unit_allow unit_deny unit_require_2fa);
refused("unit_deny without a name", {location => '            unit_deny;'}, qr/invalid number of arguments in "unit_deny"/, qr/unit_deny/);
refused('allowed and denied', {location => "            unit_allow create-fee;\n            unit_deny create-fee;"},
	qr/operation "create-fee" is both allowed and denied/, qr/unit_deny/);
refused('allowed above, denied below', {http => '    unit_allow create-fee;', location => "            unit_deny create-fee;"},
	qr/operation "create-fee" is both allowed and denied/, qr/unit_deny/);
refused('card data', {location => '            unit_allow reveal-card-pan;'},
	qr/operation "reveal-card-pan" handles card data and cannot be allowed/, qr/unit_allow/);
accepted('names in lists', {location => "            unit_allow create-fee;\n            unit_deny list-events get-event;\n"
	. '            unit_require_2fa list-accounts;'});

# -- the org token -----------------------------------------------------------------

my %token = (
	empty => ['', qr/is empty or too large/], blank => [" \n", qr/./], two => ["a b\n", qr/./], lines => ["v2.public.a\nv2.public.b\n", qr/./],
	large => ['v2.public.' . 'a' x 5000, qr/./], control => ["v2.public.a\x01b", qr/./], utf8 => ["v2.public.\xc3\xa9", qr/./],
);
for (sort keys %token) {
	my $file = $t->write_file("$_.token", $token{$_}[0]);
	refused("an org token: $_", {edit => sub { s/unit_org_token_file [^;]*;/unit_org_token_file "$file";/ }},
		qr/file "\Q$file\E": .*$token{$_}[1]/, qr/unit_org_token_file/);
}
refused('no org token', edit { s/unit_org_token_file [^;]*;/unit_org_token_file none;/ }, qr/none": cannot be opened/, qr/unit_org_token_file/);

# -- the rest ----------------------------------------------------------------------

refused("unit_pass_header $_", {location => "            unit_pass_header X-Fine $_;"}, qr/"unit_pass_header" may not pass "$_"/, qr/unit_pass_header/)
	for qw(Authorization Cookie HOST connection Transfer-Encoding Content-Length Proxy-Authorization Expect X-Request-Id TE Trailer
		Upgrade Keep-Alive X-HTTP-Method-Override X-Method-Override Unit-Customer X-HTTP-Method);
accepted('unit_pass_header', {location => '            unit_pass_header X-Fine X-Also;'});

refused("unit_token_lifetime $_", {location => "            unit_token_lifetime $_;"},
	qr/"unit_token_lifetime" directive (?:must be between 1m and 24h|invalid value)/, qr/unit_token_lifetime/)
	for qw(59s 25h 0 1x);
refused("unit_token_wait $_", {location => "            unit_token_wait $_;"},
	qr/"unit_token_wait" directive (?:must be between 1ms and 60s|invalid value)/, qr/unit_token_wait/)
	for qw(0 61s 1x);
refused('unit_token_scopes all', {location => '            unit_token_scopes all;'}, qr/invalid value "all"/, qr/unit_token_scopes/);
refused('unit_sandbox yes', {location => '            unit_sandbox yes;'}, qr/invalid value "yes"/, qr/unit_sandbox/);
refused('unit_gateway yes', edit { s/unit_gateway on/unit_gateway yes/ }, qr/invalid value "yes"/, qr/unit_gateway/);
refused('unit_log_level debug', {location => '            unit_log_level debug;'}, qr/invalid value "debug"/, qr/unit_log_level/);
refused('unit_gateway in a server', {server => '        unit_gateway on;'}, qr/"unit_gateway" directive is not allowed here/, qr/^        unit_gateway on/);
refused('unit_partner in a server', {server => '        unit_partner x { }'}, qr/"unit_partner" directive is not allowed here/, qr/unit_partner x/);
refused('unit_zone in a location', {location => '            unit_zone zone=x:1m;'}, qr/"unit_zone" directive is not allowed here/, qr/zone=x/);

$t->configure(%plain);
$t->done;
