#!/usr/bin/perl

# Who may call: every rule of DESIGN 5.1 and the JWT lines of 13 through a real
# socket. A token that is not good in any way gets one and the same answer, byte
# for byte but for the request's id; why stands in the log at info, and nothing
# goes to Unit. Holds P33 and P34: the algorithm is not the token's to choose,
# nothing in a token says where a key is to be found.

use strict;
use warnings;

use IO::Select ();
use IO::Socket::INET ();
use JSON::PP ();
use MIME::Base64 qw(encode_base64url);
use Test::More;
use UnitGateway;

use constant {
	ISSUER => 'https://idp.example.test/',
	TWO => 'https://two.example.test/',
	OPEN => 'https://open.example.test/',
};

my $t = UnitGateway->new(workers => 1, partners => {
	two => {issuer => TWO, jwks => '%%DIR%%/two.json'},
	open => {issuer => OPEN, audience => 'off'},
});
$t->write_file('two.json', $t->jwks('dev', 'second'));
$t->start;

my $now = time;
my $count = 0;

sub id { return sprintf 'test-%011d', ++$count }

# the request of every test; $value is the whole Authorization header
sub ask {
	my ($value, $id, %o) = @_;
	return $t->get($o{path} // '/accounts',
		headers => ['X-Request-Id' => $id, defined $value ? (Authorization => $value) : (), @{$o{headers} // []}]);
}

sub good {
	my ($name, $token, %o) = @_;
	for my $again ('', ', and again') {
		my $r = ask("Bearer $token", id(), %o);
		is($r->status, 200, "$name$again") or diag $r->body;
	}
}

my ($same, $head);

# A token that is refused, and the word for it in the log.
sub bad {
	my ($name, $value, $reason) = @_;

	$value = "Bearer $value" if $value !~ /\A(?i:bearer)/;
	for my $again ('', ', and again') {
		my $id = id();
		my $r = ask($value, $id);
		my ($body, $top) = ($r->body, $r->head);
		s/\Q$id\E/ID/g, s/^Date: .*\r\n//m for $body, $top;
		$same //= $body;
		$head //= $top;
		my $ok = $body eq $same && $top eq $head;
		my $logged = $t->logs->wait_error(qr/ \[info\] [^\n]*unit refused: token_invalid, reason: $reason, operation: -, id: $id,/, 3);
		ok($ok && $logged, "refused: $name$again") or diag $r->head, $r->body, "wanted: $reason\n",
			grep { /$id/ } map { "$_\n" } split /\n/, $t->error_log;
	}
}

# -- what is good ----------------------------------------------------------------

my $token = $t->jwt(sub => 'alice');
good('a good token', $token);
for my $scheme (qw(bearer BEARER bEaReR)) {
	is(ask("$scheme $token", id())->status, 200, "the scheme is \"$scheme\"");
}
is(ask("Bearer   $token", id())->status, 200, 'more than one space');

my $mark = $t->sandbox->mark;

# -- no token ----------------------------------------------------------------------

for my $value (undef, 'Basic YWxpY2U6c2VjcmV0', 'Digest username="alice"', '', 'Token x', $token) {
	my $r = ask($value, my $id = id());
	my $name = defined $value ? '"' . substr($value, 0, 6) . '"' : 'no header';
	is($r->status, 401, "$name: no bearer token");
	is($r->header('WWW-Authenticate'), 'Bearer realm="unit-gateway"', "$name: a challenge without error");
	is($r->body, '{"errors":[{"id":"' . $id . '","status":"401","title":"Unauthorized","code":"token_missing",'
		. '"detail":"A bearer token is required."}]}', "$name: body");
}

# -- form --------------------------------------------------------------------------

my ($h, $p, $s) = split /\./, $token;

# the character that differs from the last one in the bits that are not used
sub sloppy {
	my ($text) = @_;
	my $all = join '', 'A' .. 'Z', 'a' .. 'z', 0 .. 9, '-', '_';
	my $last = chop $text;
	return $text . substr $all, index($all, $last) ^ 1, 1;
}

sub other { my ($c) = @_; return $c eq 'A' ? 'B' : 'A' }

bad($_->[0], $_->[1], 'jwt_malformed') for (
	['a scheme alone', 'Bearer'], ['a word', 'nonsense'], ['one dot', "$h.$p"], ['empty parts', '..'], ['an empty header', ".$p.$s"],
	['an empty payload', "$h..$s"], ['an empty signature', "$h.$p."], ['four parts', "$token.$s"], ['five parts', "$h.$p.$s.$h.$p"],
	['a blank in it', "$h.$p. $s"], ['a comma and another one', "$token, Bearer $token"], ['padding', "$h.$p.$s=="],
	['padding of the header', "$h=.$p.$s"], ['the other alphabet', "$h.$p." . ('+' . substr $s, 1)], ['a slash', "$h.$p." . ('/' . substr $s, 1)],
	['bits behind the last byte', "$h.$p." . sloppy($s)], ['a length that cannot be', "$h.$p.${s}AAA"], ['a tab', "Bearer\t$token"],
	['quotes', "\"$token\""], ['a percent sign', "$h.$p.%41" . substr $s, 3],
	['another scheme that begins alike', "Bearerx $token"],
);
bad('a header that is no JSON', encode_base64url('nonsense') . ".$p.$s", 'jwt_header');
bad('a payload that is no JSON', "$h." . encode_base64url('nonsense') . ".$s", 'jwt_payload');

# -- signature ---------------------------------------------------------------------

bad('another signature', "$h.$p." . other(substr $s, 0, 1) . substr($s, 1), 'jwt_signature');
bad('another payload', join('.', $h, (split /\./, $t->jwt(sub => 'bob'))[1], $s), 'jwt_signature');
bad('another header', join('.', encode_base64url('{"alg":"RS256","kid":"dev","x":1}'), $p, $s), 'jwt_signature');
bad('a signature of one byte', "$h.$p.AA", 'jwt_signature');
bad('a signature that is too short', "$h.$p." . substr($s, 0, 340), 'jwt_signature');
bad('a signature that is too long', "$h.$p.AAAA$s", 'jwt_signature');
bad('a signature of zeros', "$h.$p." . encode_base64url("\0" x 256), 'jwt_signature');
bad('a signature of ones', "$h.$p." . encode_base64url("\xff" x 256), 'jwt_signature');
bad('the key of somebody else', $t->jwt(key => 'evil', kid => 'dev'), 'jwt_signature');

# -- keys and algorithms -------------------------------------------------------------

bad('an unknown kid', $t->jwt(key => 'evil'), 'jwt_key_unknown');
bad('an unknown kid with the right key', $t->jwt(kid => 'Dev'), 'jwt_key_unknown');
bad("a kid of $_->[0]", $t->jwt(raw_header => qq({"alg":"RS256","kid":$_->[1]})), 'jwt_kid')
	for ['no characters', '""'], ['another type', '1'], ['null', 'null'], ['a list', '["dev"]'], ['257 characters', '"' . 'k' x 257 . '"'];
bad('a path for a kid', $t->jwt(kid => '../../etc/passwd'), 'jwt_key_unknown');
good('no kid, one key', $t->jwt(kid => ''));
good('two keys', $t->jwt(claims => {iss => TWO}));
good('two keys, the second', $t->jwt(claims => {iss => TWO}, key => 'second'));
bad('no kid, two keys', $t->jwt(claims => {iss => TWO}, kid => ''), 'jwt_key_unknown');
bad("another partner's issuer and key of one's own", $t->jwt(key => 'second'), 'jwt_key_unknown');

bad('alg none', $t->jwt(alg => 'none'), 'jwt_malformed');
bad("alg $_ with a signature", $t->jwt(header => {alg => $_}), 'jwt_alg') for qw(none None NONE rs256 RS384 HS256 ES256 PS256), '';
bad("$_", $t->jwt(alg => $_), 'jwt_alg') for qw(RS384 RS512 PS256 PS384 PS512);
bad("$_ with the public key for a secret", $t->jwt(alg => $_), 'jwt_alg') for qw(HS256 HS384 HS512);
bad('no alg', $t->jwt(raw_header => '{"kid":"dev"}'), 'jwt_alg');
bad("alg $_", $t->jwt(raw_header => qq({"alg":$_,"kid":"dev"})), 'jwt_alg') for 'null', '1', '["RS256"]', '{"alg":"RS256"}', 'true';
bad("crit $_", $t->jwt(raw_header => qq({"alg":"RS256","kid":"dev","crit":$_})), 'jwt_crit')
	for '["exp"]', '[]', '"exp"', 'null', '{}', 'false', '["b64"]', '0';
bad('b64', $t->jwt(header => {b64 => JSON::PP::false}), 'jwt_crit');
good('any typ', $t->jwt(header => {typ => ['at+jwt']}));
good('escapes in the header', $t->jwt(raw_header => '{"\\u0061lg":"RS\\u003256","k\\u0069d":"\\u0064ev"}'));

# a key, a certificate or a place for keys that the token brings along
my $trap = IO::Socket::INET->new(Listen => 5, LocalAddr => '127.0.0.1', Proto => 'tcp') or die "listen: $!";
my $url = 'http://127.0.0.1:' . $trap->sockport . '/jwks.json';
my $evil = JSON::PP->new->decode($t->jwks('evil'))->{keys}[0];
for my $more ({jku => $url}, {x5u => $url}, {jwk => $evil}, {x5c => ['AAAA']}, {jku => $url, x5u => $url, jwk => $evil, x5c => ['AAAA'], x5t => 'AA'}) {
	my $name = join ' ', sort keys %$more;
	good("$name are ignored", $t->jwt(header => $more));
	bad("$name are ignored, with another key", $t->jwt(header => $more, key => 'evil'), 'jwt_key_unknown');
	bad("$name are ignored, with our kid", $t->jwt(header => $more, key => 'evil', kid => 'dev'), 'jwt_signature');
}
ok(!IO::Select->new($trap)->can_read(0), 'nobody has fetched the key that a token names');

# -- JSON ----------------------------------------------------------------------------

my %claim = (iss => '"' . ISSUER . '"', aud => '"unit-gateway"', sub => '"alice"', exp => $now + 3600, iat => $now, unitCustomerId => '"10001"');

# a payload as text, with claims as JSON texts; undef leaves one out
sub payload {
	my (%o) = @_;
	my $more = delete $o{more} // '';
	my %c = (%claim, %o);
	return '{' . join(',', map { qq("$_":$c{$_}) } grep { defined $c{$_} } sort keys %c) . "$more}";
}

sub of { return $t->jwt(raw_payload => payload(@_)) }

good('a payload of our own', of());
good('white space', $t->jwt(raw_payload => " \n" . payload() =~ s/,/\t,\r\n /gr . ' '));
good('escapes', of(more => ',"\\u0041":"\\u00e9\\ud83d\\ude00"', sub => '"\\u0061lice"'));
bad("the header $_->[0]", $t->jwt(raw_header => $_->[1]), 'jwt_header') for (
	['says alg twice', '{"alg":"RS256","alg":"RS256","kid":"dev"}'], ['says none, then RS256', '{"alg":"none","alg":"RS256","kid":"dev"}'],
	['says kid twice, once escaped', '{"alg":"RS256","kid":"dev","k\\u0069d":"dev"}'], ['says x twice, deep inside', '{"alg":"RS256","kid":"dev","y":[{"x":1,"x":1}]}'],
	['has NUL', '{"alg":"RS256","kid":"dev","x":"\\u0000"}'], ['has half a surrogate', '{"alg":"RS256","kid":"dev","x":"\\ud800"}'],
	['has bad UTF-8', "{\"alg\":\"RS256\",\"kid\":\"dev\",\"x\":\"\xff\"}"], ['is a list', '[{"alg":"RS256","kid":"dev"}]'],
	['has a byte order mark', "\xef\xbb\xbf{\"alg\":\"RS256\",\"kid\":\"dev\"}"], ['is followed by something', '{"alg":"RS256","kid":"dev"}x'],
	['ends too early', '{"alg":"RS256","kid":"dev"'], ['has a trailing comma', '{"alg":"RS256","kid":"dev",}'], ['has single quotes', "{'alg':'RS256'}"],
);
bad("the payload $_->[0]", $t->jwt(raw_payload => $_->[1]), 'jwt_payload') for (
	['says sub twice', payload(more => ',"sub":"bob"')], ['says sub twice, once escaped', payload(more => ',"s\\u0075b":"bob"')],
	['says iss twice', payload(more => ',"iss":"' . ISSUER . '"')], ['says exp twice', payload(more => ',"exp":1')],
	['says x twice, deep inside', payload(more => ',"y":{"z":[{"x":1,"x":2}]}')], ['has NUL', payload(more => ',"x":"\\u0000"')],
	['has NUL in a name', payload(more => ',"x\\u0000":1')], ['has NUL in sub', payload(sub => '"alice\\u0000"')],
	['has half a surrogate', payload(more => ',"x":"\\ud800"')], ['has the other half', payload(more => ',"x":"\\udc00"')],
	['has two first halves', payload(more => ',"x":"\\ud800\\ud800"')], ['has bad UTF-8', payload(more => ",\"x\":\"\xc3\"")],
	['has an overlong character', payload(more => ",\"x\":\"\xc0\xaf\"")], ['has a surrogate in UTF-8', payload(more => ",\"x\":\"\xed\xa0\x80\"")],
	['has a control character', payload(more => ",\"x\":\"\x01\"")], ['has a byte order mark', "\xef\xbb\xbf" . payload()],
	['is followed by something', payload() . '{}'], ['ends too early', substr payload(), 0, -1], ['has a trailing comma', payload(more => ',')],
	['has a comment', payload(more => '/**/')], ['has NaN', payload(more => ',"x":NaN')], ['has a leading zero', payload(more => ',"x":01')],
	['is nested too deep', payload(more => ',"x":' . '[' x 40 . ']' x 40)], ['is a list', '[' . payload() . ']'], ['is a string', '"x"'],
);

# -- claims ---------------------------------------------------------------------------

bad("iss $_", of(iss => $_), 'jwt_iss') for '"https://idp.example.test"', '"https://IDP.example.test/"', '"https://idp.example.test//"',
	'""', '" https://idp.example.test/"', '"https://nobody.example.test/"';
bad('no iss', of(iss => undef), 'jwt_payload');
bad("iss $_", of(iss => $_), 'jwt_payload') for '1', 'null', '["' . ISSUER . '"]';

good("sub $_", of(sub => $_)) for '"alice@example.com"', '"' . 's' x 255 . '"', '"\\u00e9l\\u00e8ve"', '" "';
bad('no sub', of(sub => undef), 'jwt_sub');
bad("sub $_", of(sub => $_), 'jwt_sub') for '""', '1', 'null', '["alice"]', '{"alice":1}', '"al\\nice"', '"\\u007f"', '"\\u0085"', '"' . 's' x 256 . '"';

# within the leeway also on a machine that is slow to get here
good('exp 10 s ago', of(exp => time - 10));
good("exp $_->[0]", of(exp => $_->[1])) for ['in a float', ($now + 3600) . '.5'], ['with an exponent', ($now + 3600) / 1e9 . 'e9'],
	['far away', '99999999999'];
bad('no exp', of(exp => undef), 'jwt_exp');
bad("exp $_", of(exp => $_), 'jwt_exp') for '"' . ($now + 3600) . '"', 'null', 'true', '[]', '{}';
bad("exp $_->[0]", of(exp => $_->[1]), 'jwt_expired') for ['40 s ago', $now - 40], ['zero', 0], ['negative', -1], ['a float long ago', '1.5'];
bad('exp too large for any clock', of(exp => '1e400'), '(?:jwt_exp|jwt_payload)');

for my $name (qw(nbf iat)) {
	good("$name $_->[0]", of($name => $_->[1])) for ['in 20 s', $now + 20], ['long ago', 0], ['in a float', ($now - 10) . '.9'];
	good("no $name", of($name => undef));
	bad("$name $_->[0]", of($name => $_->[1]), "jwt_$name") for ['in 90 s', $now + 90], ['null', 'null'], ['a string', qq("$now")], ['a list', "[$now]"],
		['true', 'true'];
}

good("aud $_", of(aud => $_)) for '["unit-gateway"]', '["x","unit-gateway"]', '"unit\\u002dgateway"';
bad('no aud', of(aud => undef), 'jwt_aud');
bad("aud $_", of(aud => $_), 'jwt_aud') for '"Unit-Gateway"', '"unit-gateway "', '"unit"', '"unit-gateway2"', '""', 'null', '1', '[]', '["x"]',
	'[["unit-gateway"]]', '{"unit-gateway":1}', '["unit-gateway",1]', '"unit-gateway,x"';
good('audience off', of(iss => '"' . OPEN . '"', aud => $_)) for undef, '"x"', '1';

# -- size -----------------------------------------------------------------------------

# a token of exactly that many characters
sub sized {
	my ($want) = @_;
	my $length = sub { my ($n) = @_; return int((4 * $n + 2) / 3) };
	for my $header (map { '{"alg":"RS256","kid":"dev"' . ' ' x $_ . '}' } 0 .. 2) {
		my $bytes = int(3 * ($want - 344 - $length->(length $header)) / 4);
		next if $length->(length $header) + $length->($bytes) + 344 != $want;
		my $payload = payload(more => ',"x":""');
		$payload =~ s/""\}/'"' . 'x' x ($bytes - length $payload) . '"}'/e;
		my $token = $t->jwt(raw_header => $header, raw_payload => $payload);
		return $token if length $token == $want;
	}
	die "no token has $want characters\n";
}

good('8192 bytes', sized(8192));
bad('8193 bytes', sized(8193), 'jwt_too_long');
bad('12000 bytes of nothing', 'a' x 12000, 'jwt_too_long');

# -- customers --------------------------------------------------------------------------

good("unitCustomerId $_", of(unitCustomerId => $_)) for '"10001"', '10001', '["10001"]', '[10001]';
for my $none (undef, 'null', '[]') {
	my $r = ask('Bearer ' . of(unitCustomerId => $none), id());
	is($r->status . ' ' . $r->code, '403 customer_not_linked', 'unitCustomerId ' . ($none // 'absent'));
}
my $r = ask('Bearer ' . of(unitCustomerId => '["10001",10002]'), id());
is($r->status . ' ' . $r->code, '400 customer_required', 'two of them');
bad("unitCustomerId $_", of(unitCustomerId => $_), 'jwt_customer') for '""', 'true', '{}', '{"id":"10001"}', '-1', '1.5', '1e4', '"10001,10002"',
	'"100 01"', '"../10001"', '"1/2"', '[[10001]]', '[null]', '["10001",""]', '"' . '1' x 65 . '"', '[' . join(',', 1 .. 200) . ']', '"\\u0661"';

# -- role and session ---------------------------------------------------------------------

sub write_as {
	my (%claims) = @_;
	return $t->post('/accounts', token => of(%claims), json => {data => {
		type => 'depositAccount', attributes => {depositProduct => 'checking', idempotencyKey => 'key-' . ++$count},
		relationships => {customer => {data => {type => 'customer', id => '10001'}}},
	}});
}

good("unitRole $_", of(unitRole => $_)) for '"Admin"', '"ReadOnly"';
is(write_as()->status, 201, 'no role: may write');
is(write_as(unitRole => '"Admin"')->status, 201, 'Admin: may write');
$r = write_as(unitRole => '"ReadOnly"');
is($r->status . ' ' . $r->code, '403 insufficient_scope', 'ReadOnly: may not');
is($r->header('WWW-Authenticate'), 'Bearer error="insufficient_scope", scope="accounts-write"', 'and is told so')
	or diag $r->head;
for my $role ('"readonly"', '"admin"', '""', '"Owner"', 'null', '1', '["Admin"]', 'true', '"Admin "') {
	my $r = ask('Bearer ' . of(unitRole => $role), id());
	is($r->status . ' ' . $r->code, '403 insufficient_scope', "unitRole $role: nothing at all");
}

my %minted;
sub minted {
	my ($sid) = @_;
	my $before = $t->sandbox->counter('tokens_minted');
	is(ask('Bearer ' . of(sid => $sid, sub => '"mallory"', more => ',"jti":' . ++$count), id())->status, 200, 'sid ' . ($sid // 'absent'));
	return $t->sandbox->counter('tokens_minted') - $before;
}
is(minted('"one"'), 1, 'a token for a session');
is(minted('"two"'), 1, 'another one for another session');
is(minted('"one"'), 0, 'none for the first again');
is(minted(undef), 1, 'one without a session');
is(minted('""'), 0, 'which an empty one is');
bad("sid $_", of(sid => $_), 'jwt_session') for '1', 'null', '["one"]', '"a\\nb"', '"' . 's' x 256 . '"';

# -- two headers ------------------------------------------------------------------------------

# not with tokens: nginx logs the second one at info
for my $two (['Bearer a.b.c', 'Bearer a.b.c'], ['Bearer a.b.c', 'Basic YWxpY2U6']) {
	my $r = $t->get('/accounts', headers => [map { (Authorization => $_) } @$two]);
	like($r->status, qr/\A40[01]\z/, 'two Authorization headers');
	like($r->code, qr/\A(?:invalid_request|token_invalid)\z/, 'refused with a document');
}

# -- nothing else tells them apart ----------------------------------------------------------------

is(JSON::PP->new->decode($same)->{errors}[0]{code}, 'token_invalid', 'the one answer');
is_deeply([$head =~ /^WWW-Authenticate: (.*)\r$/mg],
	['Bearer realm="unit-gateway", error="invalid_token", error_description="The access token is not valid here"'], 'the one challenge');
like($head, qr/^Cache-Control: no-store\r$/m, 'not to be stored');
like($head, qr/^Content-Type: application\/vnd\.api\+json\r$/m, 'a JSON:API document');
unlike($same . $head, qr/jwt_/, 'without a reason');

my @calls = grep { $_->{path} ne '/accounts' && $_->{path} !~ m{\A/customers/1000[12]/token\z} } $t->sandbox->journal($mark);
is(scalar @calls, 0, 'no other call at Unit') or diag explain \@calls;
is(scalar(grep { JSON::PP->new->encode($_) =~ /"(?i:Bearer )?eyJ/ } $t->sandbox->journal), 0, 'no token of a partner went to Unit');

$t->done;
