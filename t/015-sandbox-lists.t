#!/usr/bin/perl

# Lists: pages, filters, sort, include, and what /ready-to-launch shows of one
# end user.

use strict;
use warnings;

use FindBin ();
use Test::More;

use lib "$FindBin::Bin/../sandbox/lib";
use UnitSandbox::Client;

*doc = \&UnitSandbox::Client::doc;
my $s = UnitSandbox::Client->start;

sub get {
	my ($path) = @_;
	my $r = $s->org(GET => $path);
	return $r->{data} if $r->{status} == 200;
	return {status => $r->{status}, data => []};
}

sub ids { [map { $_->{id} } @{get($_[0])->{data}}] }

# Pages.
my $made = $s->control(POST => 'customers', {count => 250});
is_deeply get('/customers')->{meta}{pagination}, {total => 253, limit => 100, offset => 0}, 'a hundred by default';
is scalar @{get('/customers')->{data}}, 100, 'are given';
my $page = get('/customers?page[limit]=60&page[offset]=240');
is_deeply $page->{meta}{pagination}, {total => 253, limit => 60, offset => 240}, 'the last page';
is scalar @{$page->{data}}, 13, 'is shorter';
is_deeply ids('/customers?page%5Blimit%5D=2&page%5Boffset%5D=1'), [qw(10002 10003)], 'brackets may be encoded';
is_deeply ids('/customers?page[offset]=1000'), [], 'beyond the end';
is get("/customers?$_")->{status}, 400, $_ for 'page[limit]=0', 'page[limit]=1001', 'page[limit]=x', 'page[offset]=-1', 'sort=name';
is_deeply ids('/customers?page[limit]=1&sort=-createdAt'), [$made->[-1]{customerId}], 'newest first';

# Filters.
is_deeply ids('/customers?filter[jwtSubject]=bob'), ['10002'], 'filter[jwtSubject]';
is_deeply ids('/customers?filter[jwtSubject]=nobody'), [], 'of nobody';
is_deeply ids('/customers?filter[email]=ALICE@example.com'), ['10001'], 'filter[email]';
is_deeply ids('/accounts?filter[customerId]=10001'), [qw(1001 1002)], 'filter[customerId]';
is_deeply ids('/accounts?filter%5BcustomerId%5D=10002'), ['2001'], 'encoded';
is_deeply ids('/accounts?filter[customerId][0]=10001&filter[customerId][1]=10002'), [qw(1001 1002 2001)], 'an array';
is_deeply ids('/accounts?filter[customerId]=77'), [], 'of an unknown customer';
is_deeply ids('/transactions?filter[accountId]=1001'), [qw(1401 1402)], 'filter[accountId]';
is_deeply ids('/transactions?filter[accountId]=1001&filter[type][]=Purchase'), ['1402'], 'filter[type]';
is_deeply ids('/transactions?filter[cardId]=2101'), ['2402'], 'filter[cardId]';
is_deeply ids('/cards?filter[customerId]=10001&filter[status][0]=Active'), [qw(1101 1102)], 'filter[status]';
$s->org(POST => '/cards/1102/freeze');
is_deeply ids('/cards?filter[customerId]=10001&filter[status][0]=Frozen'), ['1102'], 'follows the state';
is_deeply ids('/cards?filter[status][0]=Frozen&filter[status][1]=Active&filter[customerId]=10001'), [qw(1101 1102)], 'either of two';
$s->org(PATCH => '/accounts/1002', doc('depositAccount', {tags => {purpose => 'tax'}}));
is_deeply ids('/accounts?filter[tags]=%7B%22purpose%22%3A%22tax%22%7D'), ['1002'], 'filter[tags]';
is get('/accounts?filter[tags]=x')->{status}, 400, 'filter[tags] must be JSON';
is_deeply ids('/transactions?filter[since]=2999-01-01T00:00:00Z'), [], 'filter[since]';
is scalar @{ids('/transactions?filter[until]=2999-01-01T00:00:00Z')}, 4, 'filter[until]';
is get('/transactions?filter[since]=yesterday')->{status}, 400, 'filter[since] must be a time';
is_deeply ids('/customers?filter[query]=bakery'), ['10002'], 'filter[query]';
is_deeply ids('/customers?filter[query]=example.com+-jwtsubject'), ['10003'], 'without words';
is_deeply ids('/transactions?filter[customerId]=10001&sort=-createdAt'), [qw(1402 1401)], 'sorted';

# Include.
my $with = get('/accounts?filter[customerId]=10002&include=customer');
is_deeply [map { $_->{id} } @{$with->{included}}], ['10002'], 'include in a list';
is get('/accounts/1001?include=customer')->{included}[0]{attributes}{jwtSubject}, 'alice', 'include of one';
ok !exists get('/accounts/1001')->{included}, 'only if asked for';

# A change of subject is found at once.
$s->org(PATCH => '/customers/10001', doc('individualCustomer', {jwtSubject => 'alice2'}));
is_deeply ids('/customers?filter[jwtSubject]=alice'), [], 'the old subject';
is_deeply ids('/customers?filter[jwtSubject]=alice2'), ['10001'], 'the new one';
$s->org(PATCH => '/customers/10002', doc('businessCustomer', {jwtSubject => 'alice2'}));
is_deeply ids('/customers?filter[jwtSubject]=alice2'), [qw(10001 10002)], 'one subject with two customers';
$s->control(POST => 'reset');

# Ready-to-Launch.
is get('/ready-to-launch/accounts')->{status}, 400, 'the list of accounts needs a filter';
is get('/ready-to-launch/transactions')->{status}, 400, 'so does that of transactions';
is get('/ready-to-launch/accounts?filter[userId]=')->{status}, 400, 'a filter with a value';
is_deeply ids('/ready-to-launch/accounts?filter[userId]=alice'), [qw(1001 1002)], 'accounts of a user';
is_deeply ids('/ready-to-launch/accounts?filter[customerId]=10002'), ['2001'], 'accounts of a customer';
is_deeply ids('/ready-to-launch/accounts?filter[userId]=alice&filter[customerId]=10002'), [], 'both must hold';
is_deeply ids('/ready-to-launch/accounts?filter[userId]=nobody'), [], 'nobody has none';
is_deeply ids('/ready-to-launch/transactions?filter[userId]=bob'), [qw(2401 2402)], 'transactions';
is scalar @{ids('/ready-to-launch/customers')}, 3, 'customers need no filter';
is_deeply ids('/ready-to-launch/customers?filter[userId]=bob'), ['10002'], 'but may have it';
is_deeply get('/ready-to-launch/accounts/1001')->{data}{attributes}{userIds}, ['alice'], 'userIds';
is_deeply get('/ready-to-launch/accounts?filter[userId]=bob')->{data}[0]{attributes}{userIds}, ['bob'], 'userIds in lists';
is get('/ready-to-launch/accounts?filter[userId]=bob&page[limit]=10000')->{meta}{pagination}{limit}, 10000, 'ten thousand accounts at once';
is get('/ready-to-launch/accounts?filter[userId]=bob&page[limit]=10001')->{status}, 400, 'no more';
is get('/ready-to-launch/accounts/2001/transactions/1401')->{status}, 404, 'a transaction of another account';

is $s->stop, 0, 'ends cleanly';
done_testing;
