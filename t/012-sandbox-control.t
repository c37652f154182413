#!/usr/bin/perl

# What tests of the gateway lean on: the journal, the counters, the exact request
# limit, faults, bulk customers, reset.

use strict;
use warnings;

use FindBin ();
use Test::More;
use Time::HiRes ();

use lib "$FindBin::Bin/../sandbox/lib";
use UnitSandbox::Client;

*doc = \&UnitSandbox::Client::doc;
my $s = UnitSandbox::Client->start;

# Journal.
my $token = $s->verified_token('10001', 'accounts cards-write');
my $t0 = int(Time::HiRes::time() * 1000);
my $since = $s->journal->[-1]{n};
my $body = "{\"data\": {\"type\":\"depositAccount\",  \"attributes\":{\"tags\":{\"a\":\"\xc3\xbc\"}}}}";
$s->call($token, PATCH => '/accounts/1001?x=%20y&filter[a]=1', $body, headers => {'X-Request-Id' => 'id-1', 'X-MIXED' => 'Case'});
my @calls = @{$s->journal($since)};
is scalar @calls, 1, 'since gives what came after';
my $c = $calls[0];
my $n = $c->{n};
is_deeply [@{$c}{qw(method path query status token_kind customer)}],
	['PATCH', '/accounts/1001', 'x=%20y&filter[a]=1', 403, 'customer', '10001'], 'method, raw path, raw query, status, whose';
is_deeply [sort @{$c->{scopes}}], [qw(accounts cards-write)], 'scopes';
ok $c->{verified} && ref $c->{verified}, 'verified is a boolean';
is $c->{headers}{authorization}, "Bearer $token", 'headers are not masked';
is $c->{headers}{'x-request-id'}, 'id-1', 'header names are lower-case';
is $c->{headers}{'x-mixed'}, 'Case', 'values are not';
is $c->{body}, "{\"data\": {\"type\":\"depositAccount\",  \"attributes\":{\"tags\":{\"a\":\"\xfc\"}}}}", 'the body as it came, decoded from UTF-8';
cmp_ok $c->{at_ms}, '>=', $t0, 'at_ms is wall time';
cmp_ok $c->{at_ms}, '<=', int(Time::HiRes::time() * 1000), 'in milliseconds';
$s->org(PUT => '/applications/1/documents/1', "\xff\xfe\0", type => 'image/png');
$c = $s->journal($n)->[0];
is $c->{body}, "\xff\xfe\0", 'bytes that are not UTF-8 are Latin-1 characters';
is_deeply [@{$c}{qw(n token_kind customer)}, $c->{scopes}], [$n + 1, 'org', undef, []], 'the organisation';
$s->raw("GET /x%2Fy//z HTTP/1.1\r\nHost: a\r\nVia: 1\r\nvia: 2\r\nConnection: close\r\n\r\n");
$c = $s->journal($n + 1)->[0];
is $c->{headers}{via}, '1, 2', 'repeated headers are joined';
is_deeply [@{$c}{qw(path status token_kind)}], ['/x%2Fy//z', 401, 'none'], 'the path is not tidied up';
ok !$c->{verified} && ref $c->{verified}, 'not verified';
is scalar @{$s->control(GET => 'journal?since=0&limit=2')}, 2, 'limit';
is_deeply $s->journal($n + 2), [], 'control calls are not in it';

# Customers in bulk.
$t0 = Time::HiRes::time();
my $made = $s->control(POST => 'customers', {count => 10_000});
cmp_ok Time::HiRes::time() - $t0, '<', 10, 'ten thousand customers are quick';
is scalar @$made, 10_000, 'all of them';
my %ids = map { $_->{customerId} => 1 } @$made;
is scalar keys %ids, 10_000, 'each another';
my ($one) = @$made[4711];
my $list = $s->org(GET => "/customers?filter[jwtSubject]=$one->{subject}")->{data}{data};
is_deeply [map { $_->{id} } @$list], [$one->{customerId}], 'found by subject';
like $list->[0]{attributes}{phone}{number}, qr/\A\d{10}\z/, 'with a phone';
is $s->call($s->token($one->{customerId}, 'accounts'), GET => '/accounts')->{data}{meta}{pagination}{total}, 1, 'and an account';
is scalar @{$s->control(POST => 'customers')}, 1, 'one by default';
is $s->request(POST => '/_sandbox/customers', {}, '{"count":0}')->{status}, 400, 'not none';

# Faults: an answer.
sub fault {
	my ($match, $action, $times) = @_;
	$s->control(POST => 'faults', {match => $match, action => $action, defined $times ? (times => $times) : ()});
}
fault({method => 'GET', path => '/accounts/1001'}, {status => 503, headers => {'Retry-After' => 7, 'X-Two' => ['a', 'b']}, body => 'oops'});
is $s->org(GET => '/accounts/1002')->{status}, 200, 'another path';
is $s->org(PATCH => '/accounts/1001', doc('depositAccount', {tags => {}}))->{status}, 200, 'another method';
my $r = $s->call(undef, GET => '/accounts/1001');
is_deeply [$r->{status}, $r->{content}, $r->{headers}{'retry-after'}, $r->{headers}{'x-two'}], [503, 'oops', 7, 'a, b'], 'status, body, headers, before the token is looked at';
is $s->org(GET => '/accounts/1001')->{status}, 200, 'once';
fault({path => '/accounts/*'}, {status => 429}, 2);
fault({path => '/accounts/*'}, {status => 500, body => {errors => []}}, 'always');
fault({}, {status => 502}, -1);
is_deeply [map { $s->org(GET => $_)->{status} } qw(/accounts/1 /accounts /accounts/1001?x=y /accounts/1 /accounts/1 /cards)],
	[429, 502, 429, 500, 500, 502], 'first posted first used, times, patterns';
is scalar @{$s->control(GET => 'faults')}, 2, 'the rest is listed';
like $s->org(GET => '/cards')->{content}, qr/"status":"502"/, 'without a body it is an error document';
is $s->request(GET => '/_sandbox/counters', {})->{status}, 200, 'faults do not meet control calls';
$s->control(DELETE => 'faults');
is $s->org(GET => '/cards')->{status}, 200, 'and are forgotten';
my $before = $s->counter('payments_created');
my $payment = sub {
	my ($key) = @_;
	doc('bookPayment', {amount => 5, description => 'x', idempotencyKey => $key}, account => [depositAccount => '1001'],
		counterpartyAccount => [depositAccount => '2001']);
};
fault({method => 'POST', path => '/payments'}, {status => 500});
is $s->org(POST => '/payments', $payment->('k1'))->{status}, 500, 'a status';
is $s->counter('payments_created'), $before, 'does no work';

# Faults: cut connections.
fault({path => '/payments'}, {drop => 'before'});
is $s->org(POST => '/payments', $payment->('k2'))->{status}, 599, 'drop before: no answer';
is $s->counter('payments_created'), $before, 'no work';
is $s->journal->[-1]{status}, 0, 'journalled with 0';
fault({path => '/payments'}, {drop => 'after'});
is $s->org(POST => '/payments', $payment->('k2'))->{status}, 599, 'drop after: no answer';
is $s->counter('payments_created'), $before + 1, 'but the work';
is $s->journal->[-1]{status}, 201, 'journalled with what it would have been';
is $s->org(POST => '/payments', $payment->('k2'))->{status}, 201, 'the same key again';
is $s->counter('payments_created'), $before + 1, 'finds it done';
is $s->counter('dropped'), 2, 'both are counted';
my $whole = $s->org(GET => '/accounts/1001')->{content};
fault({path => '/accounts/1001'}, {truncate => 20});
$r = $s->org(GET => '/accounts/1001');
is_deeply [$r->{status}, $r->{content}, $r->{headers}{'content-length'}, $r->{cut}], [200, substr($whole, 0, 20), length $whole, 1], 'truncate';
fault({path => '/x'}, {status => 200, body => 'abcdef', truncate => 0});
$r = $s->org(GET => '/x');
is_deeply [$r->{content}, $r->{headers}{'content-length'}, $r->{cut}], ['', 6, 1], 'truncate an answer that was given';

# Faults: delays do not hold up others.
fault({path => '/accounts/1001'}, {delay_ms => 400});
my $slow = $s->socket;
$t0 = Time::HiRes::time();
syswrite $slow, "GET /accounts/1001 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer $s->{org}\r\n\r\n";
is $s->org(GET => '/accounts/1002')->{status}, 200, 'others go on';
my $fast = Time::HiRes::time() - $t0;
is +UnitSandbox::Client::read_response($slow, 'GET')->{status}, 200, 'delay_ms: the normal answer';
my $took = Time::HiRes::time() - $t0;
cmp_ok $took, '>=', 0.39, 'later';
cmp_ok $fast, '<', $took, 'than the others';
fault({path => '/x'}, {delay_ms => 10, status => 418});
is $s->org(GET => '/x')->{status}, 418, 'delay and status together';
fault({path => '/accounts/1001'}, {delay_ms => 100});
my $both = $s->raw("GET /accounts/1001 HTTP/1.1\r\nHost: x\r\n\r\n"
	. "GET /accounts/1 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer $s->{org}\r\nConnection: close\r\n\r\n");
is_deeply [$both =~ m{HTTP/1\.1 (\d+)}g], [401, 404], 'what was pipelined behind waits';
for my $bad ('{}', '[]', '{', '{"action":{"status":99}}', '{"action":{"drop":"x"}}', '{"action":{"status":500},"match":{"host":"x"}}',
	'{"action":{"x":1}}', '{"action":{"status":500},"times":"x"}') {
	is $s->request(POST => '/_sandbox/faults', {}, $bad)->{status}, 400, "not a fault: $bad";
}
is $s->request(GET => '/_sandbox/nothing', {})->{status}, 404, 'no such control call';
is $s->request(DELETE => '/_sandbox/journal', {})->{status}, 405, 'no such method on one';
is $s->request(GET => '/_sandbox/otp/10001', {})->{status}, 404, 'no verification yet';
is $s->request(POST => '/_sandbox/revoke', {}, '{"customerId":"1"}')->{status}, 404, 'nobody to revoke';

# The limit.
$s->control(POST => 'limit', {limit => 10});
$s->control(POST => 'reset');
is_deeply [map { $s->org(GET => '/accounts/1001')->{status} } 1 .. 12], [(200) x 10, 429, 429], 'ten in a minute';
$r = $s->org(GET => '/accounts/1001');
is $r->{data}{errors}[0]{status}, '429', 'the refusal is an error document';
is $s->control(GET => 'counters')->{refused_429}, 3, 'refusals are counted';
is scalar(grep { $_->{status} == 429 } @{$s->journal}), 3, 'and journalled';
my $local = eval { $s->socket(LocalAddr => '127.0.0.2') };
SKIP: {
	skip 'no second loopback address', 1 if !$local;
	syswrite $local, "GET /accounts/1001 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer $s->{org}\r\n\r\n";
	is +UnitSandbox::Client::read_response($local, 'GET')->{status}, 200, 'another address has its own';
}
$s->control(POST => 'clock', {advance => 30});
is $s->org(GET => '/accounts/1001')->{status}, 429, 'half a minute later';
$s->control(POST => 'clock', {advance => 31});
is $s->org(GET => '/accounts/1001')->{status}, 200, 'a minute later';
$s->control(POST => 'clock', {advance => 30});
is_deeply [map { $s->org(GET => '/accounts/1001')->{status} } 1 .. 10], [(200) x 9, 429], 'the window slides';
fault({}, {status => 500}, 'always');
is $s->org(GET => '/accounts/1001')->{status}, 429, 'the limit comes before the faults';
$s->control(DELETE => 'faults');
{
	my $default = UnitSandbox::Client->start(limit => 1000);
	my $socket = $default->socket;
	my $get = "GET /accounts/1001 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer $default->{org}\r\n\r\n";
	my %seen;
	for (1 .. 1001) {
		syswrite $socket, $get;
		$seen{UnitSandbox::Client::read_response($socket, 'GET')->{status}}++;
	}
	is_deeply \%seen, {200 => 1000, 429 => 1}, 'exactly a thousand pass';
}

# Reset.
$s->control(POST => 'limit', {limit => 'off'});
$s->org(PATCH => '/accounts/1001', doc('depositAccount', {tags => {left => 'over'}}));
fault({}, {status => 500}, 1);
$s->control(POST => 'reset');
is_deeply $s->journal, [], 'reset: no journal';
is_deeply [grep { $_ } values %{$s->control(GET => 'counters')}], [], 'no counts';
$r = $s->org(GET => '/accounts/1001');
is $r->{status}, 200, 'no faults, same organisation token';
is_deeply [@{$r->{data}{data}{attributes}}{qw(balance tags)}], [1_000_000, {}], 'data as at the start';
is $s->org(GET => "/customers/$one->{customerId}")->{status}, 404, 'no bulk customers';
is $s->journal->[0]{n}, 1, 'n starts again';

is $s->stop, 0, 'ends cleanly';
done_testing;
