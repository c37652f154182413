#!/usr/bin/perl

# Which operation a request is, and who may do it, through real requests: what
# the body says, and bodies that do not say it plainly; what is denied unless an
# operator allows it; card data, never; what only a back end may do; read-only
# callers, who never write; the challenge for a second factor. Whatever is
# refused here has not reached Unit. Holds P8 and P10 (bodies of every shape),
# P12 (media types and encodings), P35 and P39 (default deny).

use strict;
use warnings;
no warnings 'qw';

use JSON::PP ();
use Test::More;
use UnitGateway;
use UnitGateway::Config qw(back_end server);

use constant {
	MB => 1048576,
	DENIED => '403 operation_not_allowed',
	BODY => '400 invalid_body',
	MEDIA => '415 unsupported_media_type',
	TWO => '401 two_factor_required',
	SCOPE => '403 insufficient_scope',
	PCI => '403 pci_route_blocked',
	LARGE => '413 body_too_large',
};

# a second gateway in front of the same Unit, whose operator has decided otherwise
my $t = UnitGateway->new(
	partners => {
		backend => back_end(issuer => 'https://backend.example.test/'),
		narrow => {issuer => 'https://narrow.example.test/', scopes => 'accounts payments-write-counterparty'},
	},
	servers => server(RULES => <<'EOT'),
            unit_sandbox on;
            unit_allow create-fee get-identity list-disputes;
            unit_deny list-events create-book-payment;
            unit_require_2fa list-statements update-individual-customer rtl-list-accounts;
EOT
);
$t->start;

my $json = JSON::PP->new->utf8->canonical;
my $mark = $t->sandbox->mark;

my %who = (
	alice => $t->jwt(sub => 'alice'), readonly => $t->jwt(sub => 'alice', claims => {unitRole => 'ReadOnly'}),
	backend => $t->jwt(sub => 'service', claims => {iss => 'https://backend.example.test/'}),
	narrow => $t->jwt(sub => 'alice', claims => {iss => 'https://narrow.example.test/'}),
);

# what Unit got since the last time, but for the gateway's own calls
sub calls {
	my @all = $t->sandbox->journal($mark);
	$mark = $all[-1]{n} if @all;
	return grep { $_->{path} !~ m{\A/customers/\d+/token\z} } @all;
}

sub ask {
	my ($method, $target, %o) = @_;
	return $t->request($method, $target, token => $who{$o{as} // 'alice'}, map { $_ => $o{$_} } grep { $_ ne 'as' } keys %o);
}

sub refused {
	my ($name, $wanted, $method, $target, %o) = @_;
	my $r = ask($method, $target, %o);
	my @calls = calls();
	is($r->status . ' ' . $r->code . (@calls ? ', but Unit was asked' : ''), $wanted, $name) or diag $r->body;
	return $r;
}

# Unit is asked, once, and its answer is what comes back
sub passed {
	my ($name, $method, $target, %o) = @_;
	my $r = ask($method, $target, %o);
	my @calls = calls();
	is(scalar @calls, 1, "$name: sent") or diag $r->status, ' ', $r->body;
	is($r->status, $calls[0]{status}, "$name: and answered by Unit") if @calls;
	return ($r, $calls[0] // {});
}

# -- which operation, by its body ----------------------------------------------------------

my $id = 0;
sub operation {
	my ($name, $wanted, $method, $target, %o) = @_;
	my $request = sprintf 'operation-%09d', ++$id;
	my $r = ask($method, $target, %o, headers => ['X-Request-Id' => $request, @{$o{headers} // []}]);
	calls();
	my $line = $t->logs->wait_access(sub { $_->{request_id} eq $request }) // {};
	is(join(' ', $line->{operation} || '-', $line->{decision} // ''), $wanted, $name);
	return $r;
}

my %ref = (counterparty => {data => {type => 'counterparty', id => '1201'}});
my $inline = {name => 'Joe', routingNumber => '812345678', accountNumber => '1', accountType => 'Checking'};
operation('a payment to a counterparty', 'create-ach-payment-linked two_factor_required', 'POST', '/payments', json => {data => {type => 'achPayment', relationships => \%ref}});
operation('a payment to an account', 'create-ach-payment-inline two_factor_required', 'POST', '/payments', json => {data => {type => 'achPayment', attributes => {counterparty => $inline}}});
operation('a payment by Plaid', 'create-ach-payment-plaid two_factor_required', 'POST', '/payments', json => {data => {type => 'achPayment', attributes => {plaidProcessorToken => 'x'}}});
operation('a book payment', 'create-book-payment two_factor_required', 'POST', '/payments', json => {data => {type => 'bookPayment'}});
operation('a wire', 'create-wire-payment two_factor_required', 'POST', '/payments', json => {data => {type => 'wirePayment'}});
operation('a card', 'create-individual-virtual-debit-card two_factor_required', 'POST', '/cards', json => {data => {type => 'individualVirtualDebitCard'}});
operation('a change to a card', 'update-business-debit-card two_factor_required', 'PATCH', '/cards/2101', json => {data => {type => 'businessDebitCard'}}, as => 'alice');
operation('escapes in names and values', 'create-book-payment two_factor_required', 'POST', '/payments', type => 'application/json', body => '{"d\\u0061ta":{"t\\u0079pe":"book\\u0050ayment"}}');
operation('white space', 'create-book-payment two_factor_required', 'POST', '/payments', type => 'application/json', body => " \r\n\t{ \"data\" : { \"type\" : \"bookPayment\" } } \n");
operation('the narrowest scope that one has', 'create-ach-payment-linked two_factor_required', 'POST', '/payments', json => {data => {type => 'achPayment', relationships => \%ref}}, as => 'narrow');

refused("POST /payments, type $_", DENIED, 'POST', '/payments', type => 'application/json', body => qq({"data":{"type":$_,"attributes":{}}}))
	for qw("x" "bookpayment" "BookPayment" "book" "bookPayments" "" 1 null true ["bookPayment"] {"bookPayment":1} "achPayment" "depositAccount");
refused("POST $_, an unlisted type", DENIED, 'POST', $_, json => {data => {type => 'somethingNew'}}) for qw(/payments /cards /accounts /counterparties);
refused("PATCH $_, an unlisted type", DENIED, 'PATCH', $_, json => {data => {type => 'somethingNew'}}) for qw(/customers/10001 /cards/1101 /payments/1301);
refused('two that fit', DENIED, 'POST', '/payments', json => {data => {type => 'achPayment', attributes => {counterparty => $inline}, relationships => \%ref}});
refused('no type', DENIED, 'POST', '/payments', json => {data => {attributes => {}}});
refused('no data', DENIED, 'POST', '/payments', json => {});
refused('data null', DENIED, 'POST', '/payments', json => {data => undef});
refused('type at the top', DENIED, 'POST', '/payments', json => {type => 'bookPayment'});
refused('a list of them', DENIED, 'POST', '/payments', json => {data => [{type => 'bookPayment'}]});

# -- media types and encodings ---------------------------------------------------------------

my $patch = {data => {type => 'individualCustomer', attributes => {tags => {color => 'blue'}}}};
my $text = $json->encode($patch);

for my $type ('application/vnd.api+json', 'application/json', 'Application/JSON', 'application/vnd.api+json; charset=utf-8', 'application/json ;charset=utf-8',
	'application/vnd.api+json; ext="x"')
{
	my ($r, $to) = passed("type $type", 'PATCH', '/customers/10001', type => $type, body => $text);

	# Unit answers 415 to application/json
	is($r->status, 200, "type $type: Unit takes it");
	is($to->{headers}{'content-type'}, $type =~ m{^application/json}i ? 'application/vnd.api+json' : $type, "type $type: as Unit calls it");
}
refused("type $_", MEDIA, 'PATCH', '/customers/10001', type => $_, body => $text) for 'text/plain', 'application/x-www-form-urlencoded', 'multipart/form-data; boundary=x',
	'application/vnd.api+jsonx', 'application/jsonp', 'application/vnd.api', '*/*', 'application/*', 'application/json, text/plain', 'text/plain; application/json', 'json', '';
refused('no type', MEDIA, 'PATCH', '/customers/10001', body => $text);
refused('two types', '400 invalid_request', 'PATCH', '/customers/10001', body => $text, headers => ['Content-Type' => 'application/json', 'Content-Type' => 'text/plain']);
refused('one type twice', '400 invalid_request', 'PATCH', '/customers/10001', body => $text, headers => [('Content-Type' => 'application/json') x 2]);
passed("encoding $_", 'PATCH', '/customers/10001', json => $patch, headers => ['Content-Encoding' => $_]) for 'identity', 'Identity';
refused("encoding $_", MEDIA, 'PATCH', '/customers/10001', json => $patch, headers => ['Content-Encoding' => $_]) for qw(gzip deflate br x compress), 'identity, gzip', 'gzip, identity', '';
refused('two encodings', MEDIA, 'PATCH', '/customers/10001', json => $patch, headers => ['Content-Encoding' => 'identity', 'Content-Encoding' => 'gzip']);

# -- strict JSON --------------------------------------------------------------------------------

sub raw { return (type => 'application/vnd.api+json', body => $_[0]) }
sub with { return raw('{"data":{"type":"individualCustomer","attributes":{' . $_[0] . '}}}') }

refused("a body: $_->[0]", BODY, 'PATCH', '/customers/10001', raw($_->[1])) for (
	['empty', ''], ['blank', ' '], ['null', 'null'], ['a list', "[$text]"], ['a string', '"x"'], ['a number', '1'], ['cut off', substr $text, 0, -1],
	['twice', "$text$text"], ['followed by a letter', "${text}x"], ['followed by NUL', "$text\0"], ['with a byte order mark', "\xef\xbb\xbf$text"],
	['in UTF-16', join '', map { "$_\0" } split //, $text], ['with a comment', "$text/**/"], ['single quotes', $text =~ tr/"/'/r], ['form data', 'data[type]=x'],
);
refused("attributes: $_->[0]", BODY, 'PATCH', '/customers/10001', with($_->[1])) for (
	['a duplicate', '"tags":{},"tags":{}'], ['a duplicate, once escaped', '"tags":{},"t\\u0061gs":{}'], ['a duplicate deep inside', '"tags":{"a":[{"b":1,"b":1}]}'],
	['bad UTF-8', "\"a\":\"\xff\""], ['overlong UTF-8', "\"a\":\"\xc0\xaf\""], ['a surrogate in UTF-8', "\"a\":\"\xed\xa0\x80\""], ['too high', "\"a\":\"\xf4\x90\x80\x80\""],
	['cut UTF-8', "\"a\":\"\xe2\x82\""], ['half a surrogate', '"a":"\\ud800"'], ['the other half', '"a":"\\udc00"'], ['a control character', "\"a\":\"\x01\""],
	['a line end in a string', "\"a\":\"\n\""], ['NUL in a string', "\"a\":\"\0\""], ['a bad escape', '"a":"\\x41"'], ['an escaped quote', "\"a\":\"\\'\""], ['a trailing comma', '"a":1,'],
	['a leading zero', '"a":01'], ['a plus', '"a":+1'], ['a bare point', '"a":1.'], ['NaN', '"a":NaN'], ['Infinity', '"a":Infinity'], ['True', '"a":True'],
	['no value', '"a":'], ['no name', ':1'], ['a bare name', 'a:1'], ['33 deep', '"a":' . '[' x 30 . ']' x 30], ['1000 deep', '"a":' . '[' x 1000 . ']' x 1000],
);
passed('32 deep', 'PATCH', '/customers/10001', with('"tags":' . '{"a":' x 28 . '{}' . '}' x 28));
passed('all kinds of values', 'PATCH', '/customers/10001', with("\"\xc3\xa9\":{}," . '"tags":{"a":-0.5e+10,"b":[true,false,null],"c":"\\u00e9\\ud83d\\ude00\\"\\\\\\/\\b\\f\\n\\r\\t"}'));

# members that policy reads, in another case at their place
refused("$_->[0]", BODY, 'PATCH', '/customers/10001', raw($_->[1])) for map { [$_, $_] } (
	'{"Data":{"type":"individualCustomer"}}', '{"data":{"type":"individualCustomer"},"DATA":{}}', '{"data":{"Type":"individualCustomer"}}',
	'{"data":{"type":"individualCustomer","TYPE":"x"}}', '{"data":{"type":"individualCustomer","Attributes":{"phone":null}}}',
	'{"data":{"type":"individualCustomer","Relationships":{}}}', '{"data":{"type":"individualCustomer","relationships":{"Customer":{}}}}',
	'{"data":{"type":"individualCustomer","attributes":{"Phone":null}}}', '{"data":{"type":"individualCustomer","attributes":{"JwtSubject":"x"}}}',
	'{"data":{"type":"individualCustomer","attributes":{"jwtsubject":"x"}}}', '{"data":{"type":"individualCustomer","attributes":{"AuthorizedUsers":[]}}}',
	'{"data":{"type":"individualCustomer","attributes":{"IdempotencyKey":"x"}}}', '{"data":{"type":"individualCustomer","attributes":{"\\u0050hone":null}}}',
);
passed('the same names elsewhere', 'PATCH', '/customers/10001', with('"tags":{"Data":1,"Type":1,"Phone":1,"Customer":1,"JWTSUBJECT":1}'));

# what is sent is what was read, byte for byte
my $odd = " {\r\n\"data\"\t: {\"type\":\"indiv\\u0069dualCustomer\", \"attributes\":{\"tags\":{\"a\":\"\\u00e9\xc3\xa9\",\"n\":1.10e0}} } }\n";
my (undef, $call) = passed('an odd body', 'PATCH', '/customers/10001', raw($odd));
utf8::decode($odd);
is($call->{body}, $odd, 'byte for byte');
(undef, $call) = passed('in chunks', 'PATCH', '/customers/10001', type => 'application/json', chunked => [split //, $text]);
is($call->{body}, $text, 'the same bytes');
ok(!exists $call->{headers}{'transfer-encoding'}, 'with their length');

# -- size ------------------------------------------------------------------------------------------

my $full = $text . ' ' x (MB - length $text);
(undef, $call) = passed('1048576 bytes', 'PATCH', '/customers/10001', raw($full));
is(length $call->{body}, MB, 'all of them');
my @chunks = unpack '(a65000)*', $full;
(undef, $call) = passed('1048576 bytes in chunks', 'PATCH', '/customers/10001', type => 'application/json', chunked => \@chunks);
is(length($call->{body} // ''), MB, 'all of them');
refused('one more', LARGE, 'PATCH', '/customers/10001', raw("$full "));
refused('one more in chunks', LARGE, 'PATCH', '/customers/10001', type => 'application/json', chunked => [@chunks, ' ']);
refused('4 MB in chunks', LARGE, 'PATCH', '/customers/10001', type => 'application/json', chunked => [(' ' x 65536) x 64]);
refused('21 MB, declared', LARGE, 'POST', '/accounts', type => 'application/json', headers => ['Content-Length' => 21 * MB]);
ok($t->error_log !~ /buffered to a temporary file/, 'no body was on a disk');
is(join(',', glob $t->dir . '/tmp/body/*'), '', 'nor is');

# -- second factor --------------------------------------------------------------------------------------

my $r = refused('a payment', TWO, 'POST', '/payments', json => {data => {type => 'achPayment', relationships => \%ref}});
is($r->header('WWW-Authenticate'), 'Bearer error="insufficient_user_authentication", scope="payments-write-counterparty", max_age=86400', 'the challenge');
is($json->decode($r->body)->{errors}[0]{title}, 'Unauthorized', 'and its document');
refused("a change of $_", TWO, 'PATCH', '/customers/10001', with($_)) for qw("phone":{"countryCode":"1","number":"5550009999"} "phone":null "jwtSubject":"mallory" "jwtSubject":null
	"authorizedUsers":[] "authorizedUsers":null "contact":{"phone":null} "contact":{"jwtSubject":"x"} "\u0070hone":null);
passed('a change of tags', 'PATCH', '/customers/10001', with('"tags":{"phone":null,"jwtSubject":"x"}'));
refused('unit_require_2fa', TWO, 'GET', '/statements', port => 'RULES');
refused('unit_require_2fa on one of several', TWO, 'PATCH', '/customers/10001', json => $patch, port => 'RULES');
is(refused('its challenge', TWO, 'GET', '/statements', port => 'RULES')->header('WWW-Authenticate'),
	'Bearer error="insufficient_user_authentication", scope="statements", max_age=86400', 'names the scope');
refused('what Unit itself does not ask for', TWO, 'POST', '/customers/10001/authorized-users', json => {data => {type => 'addAuthorizedUsers'}});

# -- defaults and rules --------------------------------------------------------------------------------------

my $simulate = {data => {type => 'activateCard'}};
my $fee = {data => {type => 'fee', attributes => {amount => 10, description => 'x', idempotencyKey => 'fee-1'}, relationships => {account => {data => {type => 'depositAccount', id => '1001'}}}}};

for my $as (qw(alice backend)) {
	refused("a simulation, $as", DENIED, 'POST', '/sandbox/cards/1101/activate', json => $simulate, as => $as);
	refused("$_, $as", DENIED, 'GET', $_, as => $as) for qw(/identity /disputes /tax-forms /atm-locations /repayments /users/1/api-tokens);
}
refused('a simulation where they are on, alice', DENIED, 'POST', '/sandbox/cards/1101/activate', json => $simulate, port => 'RULES');
passed('a simulation where they are on, backend', 'POST', '/sandbox/cards/1101/activate', json => $simulate, as => 'backend', port => 'RULES');
refused('a fee', DENIED, 'POST', '/fees', json => $fee);
(undef, $call) = passed('a fee by a back end', 'POST', '/fees', json => $fee, as => 'backend');
is($call->{token_kind}, 'org', 'with the org token');
(undef, $call) = passed('a fee where it is allowed', 'POST', '/fees', json => $fee, port => 'RULES');
is($call->{token_kind}, 'customer', 'with a customer token');
passed('unit_allow for a back end', 'GET', '/disputes', as => 'backend', port => 'RULES');
refused('unit_allow does not make a back end of a customer', DENIED, 'GET', '/disputes', port => 'RULES');
refused('unit_deny', DENIED, 'GET', '/events', port => 'RULES');
refused('unit_deny by the body', DENIED, 'POST', '/payments', json => {data => {type => 'bookPayment'}}, port => 'RULES');
refused('and not its neighbour', TWO, 'POST', '/payments', json => {data => {type => 'achPayment', relationships => \%ref}}, port => 'RULES');
refused('unit_deny for a back end', DENIED, 'GET', '/events', as => 'backend', port => 'RULES');
passed('where it is not denied', 'GET', '/events');

# -- the ceiling ----------------------------------------------------------------------------------------------

passed('within the ceiling', 'GET', '/accounts', as => 'narrow');
$r = refused('beyond it', SCOPE, 'GET', '/cards', as => 'narrow');
is($r->header('WWW-Authenticate'), 'Bearer error="insufficient_scope", scope="cards"', 'the challenge');
refused('beyond it by the body', SCOPE, 'POST', '/payments', json => {data => {type => 'bookPayment'}}, as => 'narrow');
refused('beyond it, write', SCOPE, 'POST', '/accounts', json => {data => {type => 'depositAccount'}}, as => 'narrow');

# -- card data ---------------------------------------------------------------------------------------------------

for my $path (qw(/cards/1101/secure-data/pan /cards/1101/secure-data/cvv2 /cards/1101/secure-data/pin /cards/1101/activate /cards/x/secure-data/pan
	/%63ards/1101/secure-data/p%61n /cards/1101/secure-data/pan?x=y /cards/9999/activate))
{
	for my $as (qw(alice readonly backend)) {
		refused("$_ $path, $as", PCI, $_, $path, as => $as, $_ =~ /P/ ? (json => {data => {type => 'x'}}) : ()) for qw(GET POST PUT PATCH DELETE);
	}
	my $r = ask('HEAD', $path);
	is($r->status . scalar(calls()), '4030', "HEAD $path");
	$r = ask($_, $path), is($r->status . scalar(calls()), '4050', "$_ $path") for qw(OPTIONS TRACE PROPFIND);
	refused("POST $path where simulations are on", PCI, 'POST', $path, port => 'RULES', body => 'x' x 100);
	is($t->request('GET', $path)->status, 401, "$path without a token");
}
refused($_->[1], $_->[0], 'GET', $_->[1]) for map({ ['404 unknown_operation', $_] } qw(/cards/1101/secure-data/pan/ /cards/1101/secure-data /cards/1101/secure-data/
	/cards/1101/secure-data/PAN /cards/1101/secure-data/pan/x /cards/1101/secure-data/cvv /cards/1101/Activate /secure-data/pan)),
	map { ['400 invalid_uri', $_] } qw(/cards/1101/secure-data//pan /cards/1101//secure-data/pan /cards/1101/secure-data/pan%2f /cards/1101/secure-data/./pan /cards/1101/secure-data/pan;x
	/cards/1101/secure-data/pan%00);
refused('pin status', DENIED, 'GET', '/cards/1101/secure-data/pin/status');

# -- for back ends only, and customers only -----------------------------------------------------------------------

for my $o (['GET', '/applications'], ['GET', '/applications/1001'], ['GET', '/webhooks'], ['GET', '/received-payments'], ['GET', '/rewards'], ['GET', '/application-forms']) {
	refused("@$o, alice", DENIED, @$o);
	(undef, $call) = passed("@$o, backend", @$o, as => 'backend');
	is($call->{token_kind}, 'org', 'with the org token');
}
refused("POST $_, alice", DENIED, 'POST', $_, json => {data => {type => 'x'}}) for qw(/accounts/1001/close /webhooks /batch-releases /accounts/1001/relationships/customers /rewards
	/accounts/1001/enter-daca /application-forms);
refused('a new customer, alice', DENIED, 'POST', '/customers', json => {data => {type => 'businessWalletCustomer'}});
(undef, $call) = passed('a payment by a back end', 'POST', '/payments', json => {data => {type => 'bookPayment', attributes => {amount => 1}}}, as => 'backend');
is($call->{token_kind}, 'org', 'without a second factor');
refused("$_->[0] $_->[1], backend", DENIED, @$_, as => 'backend', $_->[0] eq 'POST' ? (json => {data => {type => 'customerToken'}}) : ())
	for ['POST', '/customers/10001/token'], ['POST', '/customers/10001/token/verification'], ['GET', '/customers/10001/token'], ['DELETE', '/customers/10001/token'];
(undef, $call) = passed("any customer's data, backend", 'GET', '/customers/10002', as => 'backend');
(undef, $call) = passed('any filter, backend', 'GET', '/accounts?filter[customerId]=10002,10001&filter[userId]=x', as => 'backend');
refused('me, backend', '400 customer_required', 'GET', '/customers/me', as => 'backend');

# -- Ready-to-Launch -------------------------------------------------------------------------------------------------

for my $path (qw(/ready-to-launch/accounts /ready-to-launch/transactions)) {
	my $user = 'filter\[userId\]=alice';
	for my $query ('', '?', '?page[limit]=5', '?filter[userId]=alice', '?filter%5BuserId%5D=alice&x=y', '?filter[userId]=alice,alice', '?filter[userId]=%61lice', '?FILTER[userid]=alice', '?filter[userId][]=alice',
		'?filter[][userId]=alice')
	{
		my (undef, $call) = passed("$path$query", 'GET', "$path$query");
		is($call->{token_kind}, 'org', 'with the org token');
		my $plain = ($call->{query} // '') =~ s/%5B/[/gr =~ s/%5D/]/gr =~ s/%61/a/gr;
		like($plain, qr/(?:\A|&)filter\[userId\](?:\[\])?=alice(?:,alice)?(?:&|\z)/, 'for alice') or diag $call->{query};
	}
	refused("$path$_", '403 customer_mismatch', 'GET', "$path$_") for qw(?filter[userId]=bob ?filter%5BuserId%5D=bob ?filter[userId]=alice,bob ?filter[userId]=alice&filter[userId]=bob
		?filter[userId]=bob&filter[userId]=alice ?FILTER[USERID]=bob ?filter[userId][]=bob ?filter[userId]= ?filter[userId] ?filter.userId=bob ?filter[customerId]=10002);
	my (undef, $call) = passed("$path, backend", 'GET', $path, as => 'backend');
	is($call->{query} // '', '', 'as it is');
	passed("$path, read-only", 'GET', $path, as => 'readonly');
}
my $strange = "a&b=c d/\x{e9}#\"%'+";
utf8::upgrade($strange);
(undef, $call) = do {
	$who{strange} = $t->jwt(raw_payload => JSON::PP->new->utf8->encode({iss => 'https://idp.example.test/', aud => 'unit-gateway', sub => $strange, exp => time + 600, unitCustomerId => '10001'}));
	passed('a strange subject', 'GET', '/ready-to-launch/accounts?x=y', as => 'strange');
};
is($call->{query}, 'x=y&filter[userId]=a%26b%3Dc%20d%2F%C3%A9%23%22%25%27%2B', 'is escaped');
refused("$_, alice", DENIED, 'GET', $_) for qw(/ready-to-launch/accounts/1001 /ready-to-launch/customers /ready-to-launch/accounts/1001/transactions/1401 /ready-to-launch/check-deposits/1701);
refused('POST /ready-to-launch/book-payments, alice', DENIED, 'POST', '/ready-to-launch/book-payments', json => {data => {type => 'bookPayment'}});
refused('a second factor that the org token cannot carry', DENIED, 'GET', '/ready-to-launch/accounts', port => 'RULES');

# -- nobody read-only writes anything ---------------------------------------------------------------------------------

my $table = $json->decode(UnitGateway::slurp($t->root . '/conf/operations.json'));
my ($n, @wrote) = (0);
for my $o (grep { $_->{method} ne 'GET' } @{$table->{operations}}) {
	my %body;
	for my $path (sort keys %{$o->{body} // {}}) {
		my $value = $o->{body}{$path};
		next if ref $value eq 'HASH' && defined $value->{exists} && !$value->{exists};
		my ($at, @names) = (\%body, split /\./, $path);
		my $last = pop @names;
		$at = $at->{$_} //= {} for @names;
		$at->{$last} = ref $value eq 'HASH' ? {data => {type => 'x', id => '1'}} : ref $value eq 'ARRAY' ? $value->[0] : $value;
	}
	my $path = $o->{path} =~ s/:customerId/10001/r =~ s/:\w+/1001/gr;
	next if $o->{serve} ne 'proxy';
	my $r = ask($o->{method}, $path, json => \%body, as => 'readonly', port => 'RULES');
	$n++;
	push @wrote, "$o->{name}: " . $r->status . ' ' . $r->code if ($r->status . ' ' . $r->code) !~ /\A403 (?:insufficient_scope|operation_not_allowed|pci_route_blocked)\z/;
}
cmp_ok($n, '>', 100, 'all writes of the table');
is_deeply(\@wrote, [], 'are refused for the role ReadOnly');
is_deeply([map { "$_->{method} $_->{path}" } calls()], [], 'and have not reached Unit');

# -- without a token nothing is told ------------------------------------------------------------------------------------

is($t->request('POST', '/payments', json => {data => {type => 'x'}})->code, 'token_missing', 'no token: nothing about the body');
is($t->request('GET', '/no/such/thing')->code, 'token_missing', 'nor about the path');
is($t->request('GET', '/accounts/%2e%2e')->code, 'token_missing', 'nor about its form');

$t->done;
