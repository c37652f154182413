#!/usr/bin/perl

# Paths of the code that coverage has shown to be taken by no other test: tokens
# that look like anything, answers with many headers, a Retry-After that is a
# date, bodies with hundreds of names, errors of other modules of nginx in the
# location of the gateway, who a subject is when only the users of a business
# know.
#
# P14 and P20 (a token in an answer), P35 (duplicate names, however many).

use strict;
use warnings;

use JSON::PP ();
use POSIX ();
use Test::More;
use UnitGateway;
use UnitGateway::Process;
use UnitGateway::Upstream;

my $up = UnitGateway::Upstream->new;
my %stock = (
	401 => 'token_invalid', 403 => 'operation_not_allowed', 404 => 'unknown_operation', 405 => 'method_not_allowed',
	413 => 'body_too_large', 414 => 'invalid_uri', 415 => 'unsupported_media_type', 429 => 'rate_limited', 503 => 'broker_unavailable',
	504 => 'upstream_timeout', 502 => 'upstream_unavailable', 416 => 'invalid_request', 500 => 'internal_error',
);
my $t = UnitGateway->new(
	upstream => $up->address, sandbox => 0, partners => {lookup => {issuer => 'https://lookup.example.test/', customer => 'lookup'}},
	http => 'limit_req_zone $uri zone=one:64k rate=1r/m;',
	server => join('', map { "location = /return/$_ { return $_; }\n" } sort keys %stock) . <<'EOT',
        location = /deny { deny all; }
        location = /limit { limit_req zone=one; limit_req_status 429; root "%%DIR%%"; }
EOT
)->start;

my $json = JSON::PP->new->utf8->canonical;
my $token = 'opaque.' . 'Tk0' x 20;

# One call with a token of Unit's that is like no other.
sub through {
	my ($method, $target, $status, $body, @headers) = @_;
	my $client = $t->connect;
	$client->send($t->bytes($method, $target, as => 'alice'));
	$up->call->answer($status, $body, @headers);
	return $client->response;
}

my $client = $t->connect;
$client->send($t->bytes(GET => '/accounts', as => 'alice'));
$up->grant(token => $token, expiresIn => 86400);
$up->call->answer(200, '{"data":[]}');
is($client->response->status, 200, 'a token of another form');
$client->close;

# -- the answer's headers --------------------------------------------------------------------

my @many = map { ("X-Many-$_" => $_ % 10 ? "value $_" : "x ${token}y") } 1 .. 60;
my $r = through(GET => '/accounts', 200, '{"data":[]}', @many, 'X-Upper' => uc $token, 'X-Part' => substr($token, 0, 30), 'X-Last' => "Bearer $token");
is($r->header('X-Many-59'), 'value 59', 'an answer with many headers');
is(scalar(grep { /^x-many/ } $r->header_names), 54, 'but those with the token');
ok(!defined $r->header('X-Upper') && !defined $r->header('X-Last'), 'also in capitals, also the last one');
is($r->header('X-Part'), substr($token, 0, 30), 'what is not the token stays');
unlike($r->head, qr/\Q$token\E/i, 'it is nowhere');

# -- Retry-After ---------------------------------------------------------------------------------

sub now { return Time::HiRes::clock_gettime(Time::HiRes::CLOCK_MONOTONIC()) }
sub date { return POSIX::strftime('%a, %d %b %Y %H:%M:%S GMT', gmtime(time + $_[0])) }

# A call that is told to wait: the status, and how long the second one took.
sub told {
	my ($after) = @_;
	my $client = $t->connect;
	$client->send($t->bytes(GET => '/accounts/1', as => 'alice'));
	my $start = now();
	$up->call->answer(503, '{"errors":[]}', 'Retry-After' => $after);
	my $again = $up->call(timeout => 4);
	my $took = now() - $start;
	$again->answer(200, '{"data":{}}') if $again;
	return ($client->response->status, $again ? $took : undef);
}

my ($status, $took) = told(date(2));
is($status, 200, 'Retry-After as a date: another attempt');
cmp_ok($took, '>', 0.9, 'at that time') if defined $took;
($status, $took) = told(date(-100));
is($status, 200, 'a date that has passed: another attempt');
cmp_ok($took, '<', 0.9 * UnitGateway::Process::SLOW, 'soon') if defined $took;
($status, $took) = told('Someday, 99 Foo');
is($status, 200, 'no date: another attempt');
for my $far (date(3600), '3600', '99999999999999999999') {
	my $client = $t->connect;
	$client->send($t->bytes(GET => '/accounts/1', as => 'alice'));
	$up->call->answer(503, '{"errors":[]}', 'Retry-After' => $far);
	is($client->response->status, 503, "Retry-After: $far: no other attempt") if $far !~ /\A9/;
	$far =~ /\A9/ or next;
	my $again = $up->call(timeout => 4);
	$again->answer(200, '{"data":{}}') if $again;
	ok($again || $client->response->status == 503, 'what is no number is no time');
}

# -- bodies with many names ------------------------------------------------------------------------

sub names {
	my ($count, $more) = @_;
	my $tags = join ',', map({ qq("name-$_":$_) } 1 .. $count), @$more;
	my $client = $t->connect;
	$client->send($t->bytes(PATCH => '/customers/me', as => 'alice', type => 'application/vnd.api+json',
		body => qq({"data":{"type":"individualCustomer","attributes":{"tags":{$tags}}}})));
	if (!@$more) {
		my $call = $up->call;
		if ($call->target =~ /token/) {
			$call->token(token => $token);
			$call = $up->call;
		}
		$call->answer(200, '{"data":{}}');
	}
	return $client->response;
}

for my $count (1, 7, 8, 9, 15, 16, 17, 31, 33, 64, 65, 500, 5000) {
	is(names($count, [])->status, 200, "$count names");
	for my $twice (1, $count, int(($count + 1) / 2)) {
		my $r = names($count, [qq("name-$twice":0)]);
		is($r->status . ' ' . $r->code, '400 invalid_body', "$count names and number $twice again");
	}
}
$r = names(100, ['"name\u002d77":0']);
is($r->status . ' ' . $r->code, '400 invalid_body', 'again, in another spelling');
$r = names(100, [qq("x":{"name-1":1,"name-2":{"name-3":3}}), qq("x":1)]);
is($r->status . ' ' . $r->code, '400 invalid_body', 'again, after one with names of its own');

# -- errors of other modules --------------------------------------------------------------------------

for my $status (sort keys %stock) {
	my $r = $t->get("/return/$status");
	is($r->status . ' ' . $r->code, "$status $stock{$status}", "return $status");
	is($r->header('Content-Type'), 'application/vnd.api+json', 'its type');
}
$r = $t->get('/deny');
is($r->status . ' ' . $r->code, '403 operation_not_allowed', 'deny');
my @limited = map { $t->get('/limit') } 1, 2;
is($limited[1]->status . ' ' . $limited[1]->code, '429 rate_limited', 'limit_req');

# -- a user of a business -----------------------------------------------------------------------------

sub business {
	my ($id, $subject) = @_;
	return {type => 'businessCustomer', id => "$id", attributes => {
		contact => {jwtSubject => 'somebody'}, authorizedUsers => [{fullName => {}}, {jwtSubject => 'else'}, {jwtSubject => $subject}]}};
}

# Who is it? The answer to the request, when Unit lists these customers.
sub asks {
	my ($subject, $list) = @_;
	my $client = $t->connect;
	$client->send($t->bytes(GET => '/accounts', token => $t->jwt(sub => $subject, claims => {iss => 'https://lookup.example.test/'}, without => ['unitCustomerId'])));
	my $call = $up->call;
	like($call->target, qr{\A/customers\?.*jwtSubject}, "$subject: Unit is asked") or diag $call->line;
	$call->answer(200, $json->encode({data => $list}));
	my $next = $up->call(timeout => 2);
	my $target = $next ? $next->target : '';
	if ($next) {
		$next->token(token => $token . $subject);
		$up->call->answer(200, '{"data":[]}');
	}
	return ($target, $client->response);
}

my ($target, $answer) = asks('carol', [business(20_001, 'carol')]);
is($answer->status . " $target", '200 /customers/20001/token', 'the third of its users');
($target, $answer) = asks('dave', [business(20_002, 'carol')]);
is($answer->status . ' ' . $answer->code . $target, '403 customer_not_linked', 'not one of them, whatever Unit lists');

$t->done;
