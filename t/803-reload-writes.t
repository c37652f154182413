#!/usr/bin/perl

# Payments go on while the configuration is reloaded again and again: no request
# fails, none is done twice, no record is lost; each payment is told again by
# whatever worker, and so are those that were on their way during a reload.
#
# P25 (reload), P28 (leases).

use strict;
use warnings;

use JSON::PP ();
use POSIX ();
use Test::More;
use UnitGateway;
use UnitGateway::Config qw(back_end);
use UnitGateway::Process qw(wait_until);

use constant { CLIENTS => 2, AT_ONCE => 6, RELOADS => 4 };

my $t = UnitGateway->new(workers => 2, partners => {back => back_end()})->start;
my $sandbox = $t->sandbox;
my $token = $t->jwt(sub => 'service', claims => {iss => 'https://back.example.test/'});

sub payment {
	my ($key, %o) = @_;
	my $account = sub { return {data => {type => 'depositAccount', id => $_[0]}} };
	my $target = '/payments' . ($key eq 'slow' ? '?slow=1' : '');
	return $t->bytes(POST => $target, token => $token, close => 1, headers => ['Idempotency-Key' => $key], json => {data => {
		type => 'bookPayment', attributes => {amount => 1, description => $key},
		relationships => {account => $account->('1001'), counterpartyAccount => $account->('1002')},
	}}, %o);
}

# -- the load: new payments, each asked for once more at another time -------------------

sub load {
	my ($n, $stop) = @_;

	my (@told, @failed, $set);
	my $serial = 0;
	do {
		my @keys = map { "c$n-" . ++$serial } 1 .. AT_ONCE;
		my @again = @told ? map { $told[rand @told][0] } 1 .. 2 : ();
		my @r = $t->many([map { payment($_) } @keys, @again]);
		for my $i (0 .. $#r) {
			my ($r, $key) = ($r[$i], (@keys, @again)[$i]);
			my $ok = ref $r && $r->status == 201 && $r->json->{data}{attributes}{description} eq $key;
			push @failed, "$key: " . (ref $r ? $r->status . ' ' . $r->body : $r) if !$ok;
			push @failed, "$key: not replayed" if $ok && $i >= @keys && !$r->header('Idempotency-Replayed');
			push @told, [$key, $r->json->{data}{id}] if $ok && $i < @keys;
		}
		vec($set = '', fileno $stop, 1) = 1;
	} while (!select $set, undef, undef, 0);
	$t->write_file("client-$n", JSON::PP::encode_json({told => \@told, failed => \@failed}));
}

is(($t->many([payment('first')]))[0]->status, 201, 'a payment');
my (@pids, @pipes);
for my $n (1 .. CLIENTS) {
	pipe my ($reader, $writer) or die "pipe: $!";
	my $pid = fork // die "fork: $!";
	if (!$pid) {
		close $_ for $writer, @pipes;
		POSIX::_exit(eval { load($n, $reader); 1 } ? 0 : 1);
	}
	push @pids, $pid;
	push @pipes, $writer;
}
for my $n (1 .. RELOADS) {
	my $seen = $sandbox->mark;
	ok(wait_until(10, sub { $sandbox->mark > $seen + 20 }), 'payments are made');
	ok($t->reload(wait => $n % 2), 'reload');
}

# one that is on its way when the last reload comes, and is asked for meanwhile
$sandbox->fault(POST => '/payments?slow=1', {delay_ms => 700});
my $from = $sandbox->mark;
my $slow = $t->connect;
$slow->send(payment('slow'));
ok(wait_until(5, sub { grep { $_->{query} eq 'slow=1' } $sandbox->journal($from) }), 'one is on its way');
ok($t->reload(wait => 0), 'reload');
my ($meanwhile) = $t->many([payment('slow')]);
like($meanwhile->status, qr/\A(?:409|201)\z/, 'new workers know of it');
is($slow->response->status, 201, 'and the old one ends it');
is(($t->many([payment('slow')]))[0]->header('Idempotency-Replayed'), 'true', 'its record is there');

close $_ for @pipes;
waitpid $_, 0 for @pids;

# -- what is left ------------------------------------------------------------------------

my (%told, @failed);
for my $n (1 .. CLIENTS) {
	my $client = eval { JSON::PP::decode_json($t->read_file("client-$n")) } // {failed => ["client $n has died"]};
	push @failed, @{$client->{failed}};
	$told{$_->[0]} = $_->[1] for @{$client->{told}};
}
is_deeply([@failed > 5 ? @failed[0 .. 4] : @failed], [], 'no request has failed');
cmp_ok(scalar keys %told, '>', RELOADS * 20, 'of many');
is($sandbox->counter('payments_created'), 2 + keys %told, 'each was made once');

my @keys = sort keys %told;
my @lost;
my $mark = $sandbox->mark;
while (my @some = splice @keys, 0, 50) {
	my @r = $t->many([map { payment($_) } @some]);
	for my $i (0 .. $#r) {
		my $same = ref $r[$i] && ($r[$i]->header('Idempotency-Replayed') // '') eq 'true' && $r[$i]->json->{data}{id} eq $told{$some[$i]};
		push @lost, $some[$i] if !$same;
	}
}
is_deeply(\@lost, [], 'no record is lost');
is($sandbox->mark, $mark, 'and Unit was not asked');

# a zone of another size is another zone: as documented, the record is not there,
# but Unit gets the same key and knows the payment
my $first = ($t->many([payment('first')]))[0]->json->{data}{id};
$mark = $sandbox->mark;
$t->configure(zone => '24m');
ok($t->reload, 'another size of the zone');
my ($again) = $t->many([payment('first')]);
is($again->status . ($again->header('Idempotency-Replayed') // ''), '201', 'Unit is asked again');
is($again->json->{data}{id}, $first, 'and knows the payment');
is($sandbox->counter('payments_created'), 2 + keys %told, 'none is made');
my @sent = map { JSON::PP::decode_json($_->{body})->{data}{attributes}{idempotencyKey} } grep { ($_->{body} // '') =~ /"first"/ } $sandbox->journal;
is("@sent", "$sent[0] $sent[0]", 'it has the same key there');

$t->done;
