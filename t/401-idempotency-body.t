#!/usr/bin/perl

# Where a key goes: for every operation that Unit makes idempotent, the derived
# key lands in data.attributes (of each element of an array), and no other byte
# of the body changes, whatever it looks like and however it came: chunked,
# spilled to disk, in pieces, pipelined, over HTTP/2, 1 MB. Other writes pass as
# they are. No key of a client reaches Unit.
#
# P8, P9, P10 (bodies), P11 (Expect), P13 (smuggling), P22 (duplicates).

use strict;
use warnings;
no warnings 'qw';

use JSON::PP ();
use Test::More;
use UnitGateway;
use UnitGateway::Config qw(back_end);
use UnitGateway::Operations;
use UnitGateway::Upstream;

use constant {
	MB => 1048576,
	INVALID => '400 idempotency_key_invalid',
	DERIVED => qr/[A-Za-z0-9_-]{43}/,
};

my $up = UnitGateway::Upstream->new;
my $t = UnitGateway->new(
	upstream => $up->address, sandbox => 0, http2 => 1, location => UnitGateway::Operations::allow(),
	partners => {back => back_end()},
	servers => <<'EOT',
    server {
        listen 127.0.0.1:%%PORT_SMALL%%;
        include "%%ROOT%%/conf/unit_errors.conf";
        location / {
            unit_gateway on;
            unit_allow create-fee;
            proxy_pass http://unit_api;
            proxy_set_header Host %%UPSTREAM%%;
            include "unit_small.conf";
        }
        location /_unit/api/ {
            proxy_pass http://unit_api/;
            include "%%ROOT%%/conf/unit_broker.conf";
        }
    }
EOT
);
my $proxy = UnitGateway::slurp($t->root . '/conf/unit_proxy.conf');
$proxy =~ s/client_body_buffer_size \S+;/client_body_buffer_size 1k;/ or die;
$t->write_file('unit_small.conf', $proxy);
$t->start;

my $json = JSON::PP->new->utf8->canonical;
my %who = (token => $t->jwt(sub => 'service', claims => {iss => 'https://back.example.test/'}));
my %type = (type => 'application/vnd.api+json');
my $serial = 0;
sub key { return 'key-' . ++$serial }

# One request; CODE sees the call. Returns the response and the body Unit got.
sub ask {
	my ($method, $target, %o) = @_;

	my $client = $t->connect(%o);
	$client->send($t->bytes($method, $target, %who, %type, %o));
	my $call = $up->call;
	my $body = $call->body;
	is($call->header('Idempotency-Key'), undef, 'the header stays here') if $call->header('Idempotency-Key');
	is($call->header('Content-Length') // 0, length $body, 'the length is told') if length $body;
	$call->answer(201, '{"data":{"n":' . ++$serial . '}}');
	my $r = $client->response;
	$client->close;
	return ($r, $body, $call);
}

# What is refused, without Unit being asked.
sub refused {
	my ($name, $want, $method, $target, %o) = @_;
	my $r = $t->request($method, $target, %who, %type, %o);
	is($r->status . ' ' . $r->code, $want, $name);
	ok($up->quiet(0), "$name: nothing is sent");
}

# -- every operation ------------------------------------------------------------------

my %family;
for my $op (UnitGateway::Operations::writes()) {
	next if !$op->{idempotency};
	my ($name, $method, $path) = ($op->{name}, $op->{method}, UnitGateway::Operations::path($op));
	my $text = UnitGateway::Operations::text($op);
	my $key = key();

	my ($r, $body) = ask($method, $path, body => $text, headers => ['Idempotency-Key' => $key]);
	is($r->status, 201, "$name: performed");
	my $data = $json->decode($body);
	my @keys = map { delete $_->{attributes}{idempotencyKey} } ref $data->{data} eq 'ARRAY' ? @{$data->{data}} : $data->{data};
	is(scalar(grep { ($_ // '') =~ /\A${\DERIVED}\z/ } @keys), scalar @keys, "$name: with a derived key");
	is_deeply($data, $json->decode($text), "$name: and nothing else");
	my $cut = $body =~ s/"idempotencyKey":"${\DERIVED}",?//gr;
	is($cut, $text, "$name: byte by byte");
	my %seen = map { $_ => 1 } @keys;
	is(scalar keys %seen, scalar @keys, "$name: each element with one of its own");

	# the same key in the body is the same key
	my $mine = $json->decode($text);
	if (ref $mine->{data} ne 'ARRAY') {
		$mine->{data}{attributes}{idempotencyKey} = $key;
		my $again = $t->request($method, $path, %who, json => $mine);
		is($again->status . ($again->header('Idempotency-Replayed') // ''), '201true', "$name: replayed when it comes in the body");
		is($again->body, $r->body, "$name: as it was");
	}

	# a key of ours when there is none, another one each time
	my @own;
	for (1, 2) {
		(undef, $body) = ask($method, $path, body => $text);
		push @own, $body =~ /"idempotencyKey":"(${\DERIVED})"/;
		is($body =~ s/"idempotencyKey":"${\DERIVED}",?//gr, $text, "$name: without a key one is made");
	}
	is(scalar(keys %{{map { $_ => 1 } @own}}), scalar @own, "$name: never twice");

	# one key, in every operation
	(undef, $body) = ask($method, $path, body => $text, headers => ['Idempotency-Key' => "all of $op->{idempotency}"]) if !$family{$op->{idempotency}};
	($family{$op->{idempotency}}) //= $body =~ /"idempotencyKey":"(${\DERIVED})"/;
}
cmp_ok(scalar keys %family, '>', 15, 'there are families');
my %one;
for my $op (UnitGateway::Operations::writes()) {
	next if !$op->{idempotency} || $one{$op->{idempotency}};
	my (undef, $body) = ask($op->{method}, UnitGateway::Operations::path($op), body => UnitGateway::Operations::text($op), headers => ['Idempotency-Key' => 'the same']);
	($one{$op->{idempotency}}) = $body =~ /"idempotencyKey":"(${\DERIVED})"/;
}
is(scalar(keys %{{map { $_ => 1 } values %one}}), scalar keys %one, 'the same key is another one in each family');

# physical and virtual cards share theirs: the second is not the same request
my ($card) = UnitGateway::Operations::where(sub { $_->{name} eq 'create-individual-debit-card' });
my ($virtual) = UnitGateway::Operations::where(sub { $_->{name} eq 'create-individual-virtual-debit-card' });
ask(POST => '/cards', body => UnitGateway::Operations::text($card), headers => ['Idempotency-Key' => 'cards']);
refused('a virtual card with the key of a physical one', '422 idempotency_key_reused', POST => '/cards',
	body => UnitGateway::Operations::text($virtual), headers => ['Idempotency-Key' => 'cards']);

# -- writes that Unit does not make idempotent ----------------------------------------

for my $op (UnitGateway::Operations::writes()) {
	next if $op->{idempotency};
	my ($name, $method, $path) = ($op->{name}, $op->{method}, UnitGateway::Operations::path($op));
	my $text = UnitGateway::Operations::text($op);
	my %body = defined $text ? (body => $text) : $method eq 'PUT' ? (body => "\x89PNG\r\n\0", type => 'image/png') : (type => undef);
	my ($r, $body) = ask($method, $path, %body);
	is($body, $body{body} // '', "$name: passes as it is");
	($r, $body) = ask($method, $path, %body, headers => ['Idempotency-Key' => my $key = key()]);
	is($body, $body{body} // '', "$name: with a key, too");
	next if $method eq 'PUT' && !defined $text;
	my $again = $t->request($method, $path, %who, %type, %body, headers => ['Idempotency-Key' => $key]);
	is($again->body . ($again->header('Idempotency-Replayed') // ''), $r->body . 'true', "$name: which is honoured here");
}
ok($up->quiet(0), 'nothing of that reached Unit');

# a client's key in a body is not for Unit, even where it has no meaning there
my (undef, $body) = ask(PATCH => '/cards/101', body => '{"data":{"type":"businessDebitCard","attributes":{"a":1, "idempotencyKey" : "mine"}}}');
like($body, qr/\A\{"data":\{"type":"businessDebitCard","attributes":\{"a":1, "idempotencyKey" : "${\DERIVED}"\}\}\}\z/, 'a key in another write is derived');
my $r = $t->patch('/cards/101', %who, %type, headers => ['Idempotency-Key' => 'mine'], body => '{"data":{"type":"businessDebitCard","attributes":{"a":1}}}');
is($r->header('Idempotency-Replayed'), 'true', 'and honoured');

# -- bodies of every form ---------------------------------------------------------------

my $attributes = '"amount": 1.50e2,"d":"\u00e4\/\ud83d\ude00 \"idempotencyKey\":\"x\"","big":9007199254740993,"n":{"idempotencyKey":"nested"}';
my $relationships = '"relationships":{"attributes":{"idempotencyKey":"no"},"account":{"data":{"type":"depositAccount","id":"1"}}}';
sub payment { my ($inside) = @_; return qq( {"meta":[ 1.0 ],"data" :\n{"type":"bookPayment",$relationships,\t"attributes" : {$inside}\r\n} }\n) }
for (
	['nothing else' => '', '"idempotencyKey":"K"', ''],
	['white space' => " \n", qq("idempotencyKey":"K" \n), " \n"],
	['members' => $attributes, qq("idempotencyKey":"K",$attributes), $attributes],
	['a key at the end' => qq($attributes , "idempotencyKey":\n"KEY"), qq($attributes , "idempotencyKey":\n"K"), "$attributes "],
	['a key first' => qq("idempotencyKey" :"KEY", $attributes), qq("idempotencyKey" :"K", $attributes), " $attributes"],
	['an escaped name' => qq($attributes,"idempotenc\\u0079Ke\\u0079":"KEY"), qq($attributes,"idempotenc\\u0079Ke\\u0079":"K"), $attributes],
	['an escaped value' => '"idempotencyKey":"\u004bEY"', '"idempotencyKey":"K"', ''],
) {
	my ($name, $inside, $want, $without) = @$_;
	my $key = key();
	my $sent = payment($inside =~ s/KEY|\\u004bEY/$key/r);
	my ($r, $body) = ask(POST => '/payments', body => $sent, $inside =~ /KEY|004b/ ? () : (headers => ['Idempotency-Key' => $key]));
	is($body =~ s/${\DERIVED}/K/r, payment($want), "$name: only the key");

	# without it in the body the request is the same
	my $again = $t->post('/payments', %who, %type, body => payment($without), headers => ['Idempotency-Key' => $key]);
	is(($again->header('Idempotency-Replayed') // $again->body) . $again->body, 'true' . $r->body, "$name: the same with a header");
}

# pretty-printed, and the key wherever
my %pretty = map { $_ => "{\n  \"data\": {\n    \"type\": \"bookPayment\",\n    \"attributes\": {$_\n    }\n  }\n}\n" } (
	qq(\n      "idempotencyKey": "pretty",\n      "amount": 1), qq(\n      "amount": 1,\n      "idempotencyKey": "pretty"), qq(\n      "amount": 1),
);
my @pretty = sort { length $b <=> length $a } values %pretty;
($r) = ask(POST => '/payments', body => $pretty[2], headers => ['Idempotency-Key' => '"pretty"']);
is($t->post('/payments', %who, %type, body => $_)->body, $r->body, 'pretty-printed') for @pretty[0, 1];

# -- however it comes ---------------------------------------------------------------------

my $small = '{"data":{"type":"bookPayment","attributes":{"a":1}}}';
my $want = '{"data":{"type":"bookPayment","attributes":{"idempotencyKey":"K","a":1}}}';
my @small = split //, $small;
(undef, $body) = ask(POST => '/payments', chunked => \@small, headers => ['Idempotency-Key' => key()]);
is($body =~ s/${\DERIVED}/K/r, $want, 'in chunks of one byte');
(undef, $body) = ask(POST => '/payments', chunked => [$small]);
is($body =~ s/${\DERIVED}/K/r, $want, 'in one chunk');

for my $port (undef, 'SMALL') {
	my $where = $port ? 'spilled to disk' : 'in memory';
	my @port = $port ? (port => $port) : ();
	my $length = MB - length payment('"a":""');
	my $big = payment('"a":"' . 'x' x $length . '"');
	is(length $big, MB, "1 MB $where");
	my $key = key();
	(my $r, $body) = ask(POST => '/payments', @port, body => $big, headers => ['Idempotency-Key' => $key]);
	ok(($body =~ s/${\DERIVED}/K/r) eq payment('"idempotencyKey":"K","a":"' . 'x' x $length . '"'), "1 MB $where: only the key");
	my $again = $t->post('/payments', @port, %who, %type, body => $big, headers => ['Idempotency-Key' => $key]);
	is($again->body, $r->body, "1 MB $where: the same again");
	refused("1 MB and a byte $where", '413 body_too_large', POST => '/payments', @port, body => "$big ", headers => ['Idempotency-Key' => key()]);
	(undef, $body) = ask(POST => '/payments', @port, chunked => [map { substr $big, $_ * 65536, 65536 } 0 .. 15]);
	ok(($body =~ s/${\DERIVED}/K/r) eq payment('"idempotencyKey":"K","a":"' . 'x' x $length . '"'), "1 MB $where, chunked");
	(undef, $body) = ask(POST => '/cards/101/freeze', @port, body => 'x' x MB, headers => ['Idempotency-Key' => $key = key()]);
	ok($body eq 'x' x MB, "1 MB $where of a write that is not looked into");
	like($t->post('/cards/101/freeze', @port, %who, %type, body => 'x' x MB, headers => ['Idempotency-Key' => $key])->header('Idempotency-Replayed'), qr/true/, "1 MB $where: recognised");
	is($t->post('/cards/101/freeze', @port, %who, %type, body => 'x' x (MB - 1) . 'y', headers => ['Idempotency-Key' => $key])->code, 'idempotency_key_reused', "1 MB $where: and another one not taken for it");
}

# in pieces, with an end that comes late
my $bytes = $t->bytes(POST => '/payments', %who, %type, body => $small, headers => ['Idempotency-Key' => key()]);
my $client = $t->connect;
for my $piece (substr($bytes, 0, -20), substr($bytes, -20, 10), substr $bytes, -10) {
	ok($up->quiet(0.02), 'nothing is sent before it is whole');
	$client->send($piece);
}
my $call = $up->call;
is($call->body =~ s/${\DERIVED}/K/r, $want, 'in pieces');
$call->answer(201, '{}');
is($client->response->status, 201, 'and answered');

# pipelined behind a spliced one, on both sides of a connection that stays open
$client->send($t->bytes(POST => '/payments', %who, %type, body => $small) . $t->bytes(GET => '/accounts', %who) . $t->bytes(POST => '/payments', %who, %type, body => $small));
my $connection;
for my $n (1 .. 3) {
	$call = $up->call;
	is($call->method . ' ' . ($call->body =~ s/${\DERIVED}/K/r), $n == 2 ? 'GET ' : "POST $want", "pipelined: request $n");
	is($call->connection, $connection //= $call->connection, "pipelined: one connection to Unit");
	$call->answer(200, qq({"n":$n}));
}
is($client->response->body, qq({"n":$_}), "pipelined: answer $_") for 1 .. 3;
$client->close;

# Expect: 100-continue is answered when the head is good, and only then
for (['good' => 'k', 1], ['bad' => '"k', 0], ['too long' => 'k' x 256, 0]) {
	my ($name, $key, $good) = @$_;
	$client = $t->connect;
	my ($head) = $t->bytes(POST => '/payments', %who, %type, body => $small, headers => ['Idempotency-Key' => $key . ($good ? ++$serial : ''), Expect => '100-continue']) =~ /\A(.*?\r\n\r\n)/s;
	$client->send($head);
	$client->readable;
	like($client->unread, $good ? qr{\AHTTP/1\.1 100 } : qr{\AHTTP/1\.1 400 }, "Expect with a $name key");
	if ($good) {
		$client->send($small);
		$call = $up->call;
		is($call->body =~ s/${\DERIVED}/K/r, $want, 'the body follows');
		is($call->header('Expect'), undef, 'Expect does not');
		$call->answer(201, '{}');
	}
	is($client->response->status, $good ? 201 : 400, 'the answer');
	$client->close;
}

# HTTP/2, with a length and without
for my $o ([body => $small], [chunked => [split /(?<=,)/, $small]]) {
	my $h2 = $t->h2_connect;
	my $id = $h2->open($t->h2_headers(POST => '/payments', %who, %type, @$o, headers => ['Idempotency-Key' => key()]));
	my @data = $o->[0] eq 'body' ? $small : @{$o->[1]};
	$h2->data($id, $data[$_], end => $_ == $#data) for 0 .. $#data;
	$call = $up->call;
	is($call->body =~ s/${\DERIVED}/K/r, $want, "HTTP/2, $o->[0]");
	is($call->header('Content-Length'), length($want) + 42, 'and its length');
	$call->answer(201, '{}');
	is($h2->response($id)->status, 201, 'answered');
	$h2->close;
}

# -- arrays ---------------------------------------------------------------------------------

sub batch { return '{"data":[' . join(', ', map { qq({"type":"batchRelease","attributes":{$_}}) } @_) . ']}' }
sub keys_of { return $_[0] =~ /"idempotencyKey":"(${\DERIVED})"/g }
sub release { return ask(POST => '/batch-releases', @_) }

($r, $body) = release(body => batch('"idempotencyKey":"e1"', '"a":1,"idempotencyKey":"e2"'));
my ($e1, $e2) = keys_of($body);
is($body, batch(qq("idempotencyKey":"$e1"), qq("a":1,"idempotencyKey":"$e2")), 'elements with keys of their own');
isnt($e1, $e2, 'get others');
is($t->post('/batch-releases', %who, %type, body => batch('"idempotencyKey":"e1"', '"a":1,"idempotencyKey":"e2"'))->body, $r->body, 'the same batch is replayed');
is($t->post('/batch-releases', %who, %type, body => batch('"idempotencyKey":"e1"', '"a":2,"idempotencyKey":"e2"'))->code, 'idempotency_key_reused', 'another one with the same keys is not');
(undef, $body) = release(body => batch('"a":1,"idempotencyKey":"e2"', '"b":2,"idempotencyKey":"e3"'));
my ($again, $e3) = keys_of($body);
is($again, $e2, 'an element keeps its key in another batch');
isnt($e3, $e1, 'whatever its place');
(undef, $body) = release(body => batch('"b":2', '"a":1', ''), headers => ['Idempotency-Key' => 'one for all']);
my @all = keys_of($body);
is(scalar(keys %{{map { $_ => 1 } @all, $e1, $e2, $e3}}), 6, 'one key for all: another one for each');
refused('keys of elements and a header', INVALID, POST => '/batch-releases', body => batch('"idempotencyKey":"e1"'), headers => ['Idempotency-Key' => 'e1']);
refused('an element without a key', INVALID, POST => '/batch-releases', body => batch('"idempotencyKey":"e1"', ''));
refused('an element without a place for one', INVALID, POST => '/batch-releases', body => '{"data":[{"type":"batchRelease","attributes":{"idempotencyKey":"e"}},{"type":"batchRelease"}]}');
refused('a number among them', INVALID, POST => '/batch-releases', body => batch('"idempotencyKey":"e1"', '"idempotencyKey":2'));
refused('more than 1,000', '400 invalid_body', POST => '/batch-releases', body => batch(map { qq("idempotencyKey":"e$_") } 1 .. 1001));
(undef, $body) = release(body => batch(map { qq("idempotencyKey":"e$_") } 1 .. 1000));
is(scalar(keys %{{map { $_ => 1 } keys_of($body)}}), 1000, '1,000 keys for 1,000 elements');
(undef, $body) = release(body => '{"data":[{"type":"batchRelease"},{"type":"batchRelease","attributes":[]}]}');
is($body, '{"data":[{"type":"batchRelease"},{"type":"batchRelease","attributes":[]}]}', 'no place, no key');

# -- keys that are none -------------------------------------------------------------------

sub in_body { return body => '{"data":{"type":"bookPayment","attributes":{"idempotencyKey":' . $_[0] . '}}}' }
sub in_head { return body => $small, headers => [map { ('Idempotency-Key' => $_) } @_] }

my %bad = (
	'empty' => '', 'empty, quoted' => '""', '256 characters' => 'x' x 256, 'a tab' => "a\tb", 'a control byte' => "a\x01b", 'DEL' => "a\x7f",
	'beyond ASCII' => "a\xc3\xa4", 'no end' => '"a', 'a bad escape' => '"a\b"', 'a parameter' => '"a";b=1', 'two strings' => '"a", "b"', 'a tail' => '"a"b',
);
refused("in the head: $_", INVALID, POST => '/payments', in_head($bad{$_})) for sort keys %bad;
refused('in the head: twice', INVALID, POST => '/payments', in_head('a', 'a'));
refused('in the head: twice and one empty', INVALID, POST => '/payments', in_head('', 'a'));
my %bad_body = (
	'empty' => '""', '256 characters' => '"' . 'x' x 256 . '"', 'a number' => '1', 'null' => 'null', 'true' => 'true', 'an object' => '{"a":"b"}', 'an array' => '["a"]',
	'a control byte' => '"a\u0001"', 'a tab' => '"a\tb"', 'DEL' => '"a\u007f"', 'beyond ASCII' => '"\u00e4"', 'beyond ASCII, raw' => "\"\xc3\xa4\"",
);
refused("in the body: $_", INVALID, POST => '/payments', in_body($bad_body{$_})) for sort keys %bad_body;
refused('in the body: twice', '400 invalid_body', POST => '/payments', body => '{"data":{"type":"bookPayment","attributes":{"idempotencyKey":"a","idempotencyKey":"a"}}}');
refused('in the body: twice, once escaped', '400 invalid_body', POST => '/payments', body => '{"data":{"type":"bookPayment","attributes":{"idempotencyKey":"a","\u0069dempotencyKey":"a"}}}');
refused('in the body: in another case', '400 invalid_body', POST => '/payments', body => '{"data":{"type":"bookPayment","attributes":{"IdempotencyKey":"a"}}}');
refused('in the body: NUL', '400 invalid_body', POST => '/payments', in_body('"a\u0000"'));
refused('in the body: cut', '400 invalid_body', POST => '/payments', body => '{"data":{"type":"bookPayment","attributes":{"idempotencyKey":"a');
refused('a body that is no object', '400 invalid_body', POST => '/payments', body => '["idempotencyKey"]', headers => ['Idempotency-Key' => 'a']);
refused('two keys', INVALID, POST => '/payments', in_body('"a"'), headers => ['Idempotency-Key' => 'b']);
refused('two keys, in case', INVALID, POST => '/payments', in_body('"a"'), headers => ['Idempotency-Key' => 'A']);
refused('two keys, by a blank', INVALID, POST => '/payments', in_body('"a "'), headers => ['Idempotency-Key' => 'a']);
refused('the same in a write of another kind', INVALID, PATCH => '/cards/101', body => '{"data":{"type":"businessDebitCard","attributes":{}}}', headers => ['Idempotency-Key' => '"']);
refused('and in one without a body', INVALID, POST => '/cards/101/freeze', type => undef, headers => ['Idempotency-Key' => '']);

my %good = ('255 characters' => 'x' x 255, 'one' => 'x', 'a blank inside' => 'a b', 'signs' => q(~!@#$%^&*()_+{}|:<>?`-=[];',./"));
for (sort keys %good) {
	($r) = ask(POST => '/payments', in_head($good{$_}));
	is($r->status, 201, "good in the head: $_");
	is($t->post('/payments', %who, %type, in_body(JSON::PP->new->allow_nonref->encode($good{$_})), headers => ['Idempotency-Key' => $good{$_}])->code, 'idempotency_key_reused', "good in both: $_");
	is($t->post('/payments', %who, %type, body => '{"data":{"type":"bookPayment","attributes":{"a":1,"idempotencyKey":' . JSON::PP->new->allow_nonref->encode($good{$_}) . '}}}')->body, $r->body, "good in the body: $_");
}
($r) = ask(POST => '/payments', in_head('"a \"quoted\\\\ one\""'));
is($t->post('/payments', %who, %type, in_head('a "quoted\ one"'))->body, $r->body, 'quoted or bare is the same');

# where a key has no meaning it does no harm
for my $target ('/accounts', '/payments') {
	$client = $t->connect;
	$client->send($t->bytes(GET => $target, %who, headers => ['Idempotency-Key' => '"']));
	$call = $up->call;
	is($call->header('Idempotency-Key'), undef, "GET $target: the key is not passed on");
	$call->answer(200, '{}');
	is($client->response->status, 200, "GET $target: nor looked at");
	$client->close;
}

$t->done;
