#!/usr/bin/perl

# Early data (RFC 8470): a write that a server in front has taken from it, as
# its Early-Data header says, can be sent again by anybody who saw it, and is
# refused with 425 before anything is done; a read is served. What is refused is
# sent again by the client, with the same key, and is no further request for it.
# TLS of our own has no early data: see t/002-config.t.

use strict;
use warnings;

use Test::More;
use UnitGateway;

my $t = UnitGateway->new(http2 => 1)->start;
my $sandbox = $t->sandbox;
my @alice = (as => 'alice');
my %patch = (as => 'alice', json => {data => {type => 'individualCustomer', attributes => {tags => {a => 'b'}}}});
my @early = (headers => ['Early-Data' => 1]);

sub said { my ($r) = @_; return $r->status . ' ' . ($r->code // '') }

is(said($t->get('/accounts', @alice)), '200 ', 'a token');
my $mark = $sandbox->mark;

for my $value ('1', '0', '', 'x', '1, 1') {
	my $r = $t->patch('/customers/me', %patch, headers => ['Early-Data' => $value]);
	is(said($r), '425 too_early', "Early-Data: \"$value\"");
	is($r->json->{errors}[0]{status}, '425', 'our document');
	is($r->header('Cache-Control'), 'no-store', 'kept by nobody');
}
is(said($t->patch('/customers/me', %patch, headers => ['Early-Data' => 1, 'early-data' => 1])), '425 too_early', 'twice');
is(said($t->post('/accounts', %patch, @early)), '425 too_early', 'POST');
is(said($t->put('/check-deposits/1701/front', @alice, @early, type => 'image/jpeg', body => 'x')), '425 too_early', 'PUT, which is streamed');
is(said($t->delete('/customers/10001/token', @alice, @early)), '425 too_early', 'DELETE of our own');
is(said($t->h2(PATCH => '/customers/me', %patch, @early)), '425 too_early', 'HTTP/2');
is($sandbox->mark, $mark, 'nothing of this reached Unit');

is(said($t->patch('/customers/me', @early)), '401 token_missing', 'nobody is told more than before');
is(said($t->patch('/nothing', %patch, @early)), '404 unknown_operation', 'of anything');
is($t->get('/accounts', @alice, @early)->status, 200, 'GET is served');
is($t->head('/accounts', @alice, @early)->status, 200, 'HEAD, too');

# the body is thrown away, the connection goes on, with the same key
my $client = $t->connect;
my @key = ('Idempotency-Key' => 'early-1');
my $again = $t->bytes(PATCH => '/customers/me', %patch, headers => \@key);
$client->send($t->bytes(PATCH => '/customers/me', %patch, headers => [@key, 'Early-Data' => 1]) . $again x 2);
my @r = map { $client->response } 1 .. 3;
is(join(', ', map { said($_) . ($_->header('Idempotency-Replayed') // '') } @r), '425 too_early, 200 , 200 true', 'refused, done, and told again');
$client->send("PATCH /customers/me HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer " . $t->jwt(sub => 'alice')
	. "\r\nContent-Type: application/vnd.api+json\r\nContent-Length: 100\r\nExpect: 100-continue\r\nEarly-Data: 1\r\n\r\n");
my $r = $client->response;
is(said($r) . scalar $r->interim, '425 too_early0', 'no body is asked for');
$client->close;
ok($t->logs->wait_access(sub { $_->{decision} eq 'too_early' }), 'the log says so');

$t->done;
