#!/usr/bin/perl

# Whose data: "me", and foreign customers wherever a request can name one; a
# caller with several customers, who says which; and a caller whose customers
# only Unit knows, where Unit's answer is checked and not believed: a filter
# that Unit ignores opens nothing. Holds P17 and P28.

use strict;
use warnings;
no warnings 'qw';

use JSON::PP ();
use Test::More;
use UnitGateway;

use constant {
	MISMATCH => '403 customer_mismatch',
	LOOKUP => 'https://lookup.example.test/',
};

my $t = UnitGateway->new(workers => 2, partners => {lookup => {issuer => LOOKUP, customer => 'lookup'}});
$t->start;

my $json = JSON::PP->new->utf8->canonical;
my $mark = $t->sandbox->mark;

sub calls {
	my @all = $t->sandbox->journal($mark);
	$mark = $all[-1]{n} if @all;
	return @all;
}

sub others { return grep { $_->{path} !~ m{\A/customers/\d+/token\z} } @_ }

sub refused {
	my ($name, $wanted, $method, $target, %o) = @_;
	my $r = $t->request($method, $target, as => 'alice', %o);
	my @calls = others(calls());
	is($r->status . ' ' . $r->code . (@calls ? ', but Unit was asked' : ''), $wanted, "refused: $name") or diag $r->body;
	return $r;
}

sub passed {
	my ($name, $path, $customer, $method, $target, %o) = @_;
	my $r = $t->request($method, $target, as => 'alice', %o);
	my @calls = others(calls());
	is(join(' ', map { "$_->{path} of " . ($_->{customer} // '-') } @calls), "$path of $customer", "sent: $name") or diag $r->status, $r->body;
	return $r;
}

# -- me ------------------------------------------------------------------------------------

passed('me', '/customers/10001', '10001', 'GET', '/customers/me');
passed('me, of bob', '/customers/10002', '10002', 'GET', '/customers/me', as => 'bob');
passed('me, escaped', '/customers/10001', '10001', 'GET', '/customers/%6d%65');
passed('me, HEAD', '/customers/10001', '10001', 'HEAD', '/customers/me');
passed('me, with a query', '/customers/10001', '10001', 'GET', '/customers/me?x=me');
passed('me, PATCH', '/customers/10001', '10001', 'PATCH', '/customers/me', json => {data => {type => 'individualCustomer', attributes => {tags => {}}}});
passed('me, deeper', '/customers/10001/archive', '10001', 'POST', '/customers/me/archive', json => {data => {type => 'archiveCustomer', attributes => {reason => 'Inactive'}}});
$t->sandbox->reset;
$t->restart;
$mark = $t->sandbox->mark;

# -- in the path -----------------------------------------------------------------------------

passed('the own id', '/customers/10001', '10001', 'GET', '/customers/10001');
refused("GET /customers/$_", MISMATCH, 'GET', "/customers/$_") for qw(10002 10003 99999 010001 10001. 100011 1000 Me ME me. x 10001-10002 %31%30%30%30%32);
refused("$_->[0] $_->[1]", MISMATCH, @$_) for ['PATCH', '/customers/10002'], ['POST', '/customers/10002/archive'], ['POST', '/customers/10002/token'],
	['POST', '/customers/10002/token/verification'], ['GET', '/customers/10002/token'], ['DELETE', '/customers/10002/token'],
	['POST', '/customers/10002/authorized-users'], ['DELETE', '/customers/10002/authorized-users'];

# -- in the body -------------------------------------------------------------------------------

sub account { return (type => 'application/json', body => '{"data":{"type":"depositAccount","attributes":{"depositProduct":"checking"},"relationships":{' . $_[0] . '}}}') }

my $own = '{"type":"customer","id":"10001"}';
my $foreign = '{"type":"customer","id":"10002"}';

passed("body: $_", '/accounts', '10001', 'POST', '/accounts', account($_)) for qq("customer":{"data":$own}), qq("customers":{"data":[$own]}), '"x":{"data":{"type":"customer","id":"10002"}}',
	'"customer":{"data":{"type":"customer","id":"1000\\u0031"}}', qq("customer":{"data":$own},"customers":{"data":[$own,$own]}), '';
refused("body: $_", MISMATCH, 'POST', '/accounts', account($_)) for qq("customer":{"data":$foreign}), qq("customers":{"data":[$foreign]}), qq("customers":{"data":[$own,$foreign]}),
	qq("customers":{"data":[$foreign,$own]}), qq("customer":{"data":[$foreign]}), qq("customers":{"data":$foreign}), qq("customer":{"data":$own},"customers":{"data":[$foreign]}),
	'"customer":{"data":{"type":"customer","id":10002}}', '"customer":{"data":{"type":"individualCustomer","id":"10002"}}', '"customer":{"data":{"id":"10002"}}',
	'"customer":{"data":{"type":"customer","id":"1000\\u0032"}}', '"customer":{"data":{"type":"customer","id":"10001 "}}', '"customer":{"data":{"type":"customer","id":""}}',
	'"customer":{"data":{"type":"customer","id":"me"}}', '"customer":{"data":{"type":"customer","id":"10001,10002"}}', '"customer":{"data":{"type":"customer","id":["10002"]}}',
	'"customer":"10002"', '"customer":10002', '"customer":[{"data":{"type":"customer","id":"10002"}}]', '"customer":{"data":"10002"}';
refused("body of $_->[0]", MISMATCH, 'POST', $_->[1], json => {data => {type => $_->[0], relationships => {customer => {data => {type => 'customer', id => '10002'}}}}})
	for ['individualVirtualDebitCard', '/cards'], ['achCounterparty', '/counterparties'], ['bookPayment', '/payments'], ['depositAccount', '/accounts'];
refused('body of a change', MISMATCH, 'PATCH', '/customers/10001', json => {data => {type => 'individualCustomer', relationships => {customer => {data => {id => '10002'}}}}});
refused('the second of a list', MISMATCH, 'POST', '/payments/bulk', type => 'application/json',
	body => qq({"data":[{"type":"bookPayment","relationships":{"customer":{"data":$own}}},{"type":"bookPayment","relationships":{"customer":{"data":$foreign}}}]}));

# -- several customers ----------------------------------------------------------------------------

my @both = (token => $t->jwt(sub => 'alice', claims => {unitCustomerId => ['10001', 10002]}));
refused('which one?', '400 customer_required', 'GET', '/accounts', @both);
refused('me, which one?', '400 customer_required', 'GET', '/customers/me', @both);
refused('a path does not say it', '400 customer_required', 'GET', '/customers/10001', @both);
refused('nor does a filter', '400 customer_required', 'GET', '/accounts?filter[customerId]=10001', @both);
for my $customer (qw(10001 10002)) {
	my $r = passed("customer $customer", '/accounts', $customer, 'GET', '/accounts', @both, headers => ['Unit-Customer' => $customer]);
	is_deeply([map { $_->{relationships}{customer}{data}{id} // $customer } @{$r->json->{data}}], [map { $customer } @{$r->json->{data}}], 'and only its accounts');
	passed("me is $customer", "/customers/$customer", $customer, 'GET', '/customers/me', @both, headers => ['unit-customer' => "  $customer "]);
	refused("as $customer, the other", MISMATCH, 'GET', '/customers/' . (20003 - $customer), @both, headers => ['Unit-Customer' => $customer]);
	refused("as $customer, the other in a filter", MISMATCH, 'GET', '/accounts?filter[customerId]=' . (20003 - $customer), @both, headers => ['Unit-Customer' => $customer]);
}
refused("Unit-Customer: $_", MISMATCH, 'GET', '/accounts', @both, headers => ['Unit-Customer' => $_]) for '10003', '10001,10002', '1000', '100012', 'me', '', '*', '1', ',', '10001,';
refused('two headers', '400 invalid_request', 'GET', '/accounts', @both, headers => ['Unit-Customer' => '10001', 'Unit-Customer' => '10002']);
refused('one header twice', '400 invalid_request', 'GET', '/accounts', @both, headers => [('Unit-Customer' => '10001') x 2]);
refused('another spelling is no such header', '400 customer_required', 'GET', '/accounts', @both, headers => ['Unit_Customer' => '10001']);
passed('the only one, named', '/accounts', '10001', 'GET', '/accounts', headers => ['Unit-Customer' => '10001']);
refused('the only one is another', MISMATCH, 'GET', '/accounts', headers => ['Unit-Customer' => '10002']);
$t->get('/accounts', @both, headers => ['Unit-Customer' => '10001']);
is(scalar(grep { exists $_->{headers}{'unit-customer'} } calls()), 0, 'the header does not reach Unit');

# -- customers that Unit knows -------------------------------------------------------------------------

sub who { my ($sub, $jti) = @_; return (token => $t->jwt(sub => $sub, claims => {iss => LOOKUP, jti => $jti // 1}, without => ['unitCustomerId'])) }

my @r = $t->many([map { $t->bytes(GET => '/accounts', who('alice', $_ % 4)) } 1 .. 40], together => 1);
is(scalar(grep { ref && $_->status == 200 } @r), 40, '40 requests at once') or diag explain $r[0];
my @all = calls();
my @lookups = grep { $_->{path} eq '/customers' } @all;
is(scalar @lookups, 1, 'one lookup');
is($lookups[0]{query}, 'filter%5BjwtSubject%5D=alice&page%5Blimit%5D=100', 'by the subject');
is($lookups[0]{token_kind}, 'org', 'with the org token');
is(scalar(grep { $_->{path} =~ /token\z/ } @all), 1, 'and one token');
is_deeply([map { $_->{customer} } grep { $_->{path} eq '/accounts' } @all], [('10001') x 40], 'of her customer');
passed('known now', '/customers/10001', '10001', 'GET', '/customers/me', who('alice', 9));
refused('a foreign one', MISMATCH, 'GET', '/customers/10002', who('alice', 9));
refused('a claim does not count', MISMATCH, 'GET', '/customers/10002', token => $t->jwt(sub => 'alice', claims => {iss => LOOKUP, unitCustomerId => '10002'}));

my $r = $t->get('/accounts', who("a&b=c#\xc3\xa9"));
is($r->status . ' ' . $r->code, '403 customer_not_linked', 'a subject that nobody has');
my $strange = $t->get('/accounts', who('nobody,alice'));
is($strange->status . ' ' . $strange->code, '403 customer_not_linked', 'nor is a list of subjects one');
@all = calls();
is(scalar(grep { $_->{query} =~ /\Afilter%5BjwtSubject%5D=(?:[\w.~-]|%[0-9A-F]{2})+&page%5Blimit%5D=100\z/ } @all), 2, 'subjects are escaped') or diag explain [map { $_->{query} } @all];
$t->get('/accounts', who('nobody,alice', $_)) for 2 .. 4;
is(scalar calls(), 0, 'that there is none is remembered');

# -- what Unit may answer ------------------------------------------------------------------------------------

sub customer {
	my ($id, $subject, %more) = @_;
	return {type => 'individualCustomer', id => $id, attributes => {status => 'Active', jwtSubject => $subject, %more}};
}

my $n = 0;

# A new subject, whose lookup gets that answer; SUBJECT in it is the subject.
sub answered {
	my ($answer, %o) = @_;
	my $subject = 'subject-' . ++$n;
	my $text = ref $answer ? $json->encode({data => $answer}) : $answer;
	$text =~ s/SUBJECT/$subject/g;
	$t->sandbox->fault(GET => '/customers', {status => 200, body => $text, headers => {'Content-Type' => 'application/vnd.api+json'}, %{$o{action} // {}}});
	my $r = $t->get($o{path} // '/accounts', who($subject), headers => $o{headers} // []);
	$t->sandbox->clear_faults;
	return ($r, $subject);
}

sub says {
	my ($name, $wanted, $answer, %o) = @_;
	my ($r, $subject) = answered($answer, %o);
	my @calls = grep { $_->{path} ne '/customers' } calls();
	is($r->status . ($r->code ? ' ' . $r->code : '') . join('', map { " $_->{path}" } @calls), $wanted, $name) or diag $r->body;
	return ($r, $subject);
}

my $fine = '200 /customers/10001/token /accounts';
my $none = '403 customer_not_linked';

says('one customer', $fine, [customer('10001', 'SUBJECT')]);
says('an answer without a filter', $none, [customer('10001', 'alice'), customer('10002', 'bob')]);
says('an answer without a filter, with the own one in it', $fine, [customer('10002', 'bob'), customer('10001', 'SUBJECT'), customer('10003', 'carol')]);
says('nobody', $none, []);
says('a subject in another case', $none, [customer('10001', 'Subject-' . ($n + 1))]);
says('a longer subject', $none, [customer('10001', 'SUBJECT0')]);
says('a subject of another type', $none, [customer('10001', ['SUBJECT'])]);
says('no subject', $none, [{type => 'individualCustomer', id => '10001', attributes => {}}]);
says('no attributes', $none, [{type => 'individualCustomer', id => '10001'}]);
says('the subject of the contact', $fine, [customer('10001', 'bob', contact => {jwtSubject => 'SUBJECT'})]);
says('an archived one', $none, [customer('10001', 'SUBJECT', status => 'Archived')]);
says('an archived one and another', $fine, [customer('10002', 'SUBJECT', status => 'Archived'), customer('10001', 'SUBJECT')]);
says('several', '400 customer_required', [customer('10001', 'SUBJECT'), customer('10002', 'SUBJECT')]);
says('several, one named', $fine, [customer('10001', 'SUBJECT'), customer('10002', 'SUBJECT')], headers => ['Unit-Customer' => '10001']);
says('several, another one named', MISMATCH, [customer('10001', 'SUBJECT'), customer('10002', 'SUBJECT')], headers => ['Unit-Customer' => '10003']);

my $invalid = '502 upstream_invalid';
says("the id $_", $invalid, [customer($_, 'SUBJECT')]) for '', '10001,10002', '../10001', "10001\n", '10001/token', 'a b', '1' x 65;
says('an id of another type', $invalid, [customer(10001, 'SUBJECT')]);
says("the answer $_", $invalid, $_) for '', 'x', '[]', '{}', '{"data":{}}', '{"data":null}', '{"data":[]', '{"data":[]}{}', '{"data":[],"data":[]}';
says('status 404', $invalid, '{"errors":[]}', action => {status => 404});
says('status 400', $invalid, '{"errors":[]}', action => {status => 400});
says('a redirect', $invalid, '', action => {status => 302, headers => {Location => 'http://127.0.0.1:1/'}});
for my $status (401, 403, 429) {
	my ($r) = says("status $status", '503 broker_unavailable', '{"errors":[]}', action => {status => $status});
	like($r->header('Retry-After'), qr/\A\d+\z/, "$status: Retry-After");
	unlike($r->body, qr/token_invalid/, "$status: nothing about the caller's token");
}
says("status $_", '502 upstream_unavailable', '{"errors":[]}', action => {status => $_}) for 500, 503;
says('half an answer', $invalid, [customer('10001', 'SUBJECT')], action => {truncate => 20});
# asked once more if it was a kept connection, see t/221-broker-connections.t
$t->sandbox->fault(GET => '/customers', {drop => 'before'});
my (undef, $subject) = says('no answer', '502 upstream_unavailable', [], action => {drop => 'before'});
$t->sandbox->clear_faults;
$t->sandbox->fault(GET => '/customers', {status => 200, body => $json->encode({data => [customer('10001', $subject)]})});
$r = $t->get('/accounts', who($subject, 2));
is($r->status, 200, 'a failure is not remembered') or diag $r->body;
calls();

# one refusal serves those that come at once
$t->sandbox->fault(GET => '/customers', {status => 403, body => '{}'}, 2);
$t->get('/accounts', who('refused', $_)) for 1 .. 3;
is(scalar(grep { $_->{path} eq '/customers' } calls()), 1, 'a refusal is, for a moment');

# the customer is the caller's own affair: nothing is told before it is known who calls
is($t->get('/customers/10002')->code, 'token_missing', 'without a token');

$t->done;
