#!/usr/bin/perl

# Run by script/locks, with an nginx whose module has one planted mistake in the
# way a token is looked up: the lock check must say so (LOCK_CHECK_EXPECT), as an
# alert, and end the worker before the mistake can do harm.

use strict;
use warnings;

use Test::More;
use UnitGateway;

my $expect = $ENV{LOCK_CHECK_EXPECT} or plan skip_all => 'script/locks runs this';

my $t = UnitGateway->new;
# the master breaks the lock of a worker that has ended with it
$t->logs->allow(qr/lock check: .*\Q$expect\E/, qr/exited on signal 6/, qr/shared memory zone "\w+" was locked by \d+/);
$t->start;
eval { $t->get('/accounts', as => 'alice') for 1 .. 2 };
ok($t->logs->wait_error(qr/\[alert\] \d+: lock check: .*\Q$expect\E/), "the check says: $expect");
ok($t->logs->wait_error(qr/exited on signal 6/), 'and ends the worker');
$t->done;
