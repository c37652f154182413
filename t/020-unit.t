#!/usr/bin/perl

# The unit tests of the pure files, as one subtest each: the programs print TAP
# and end with a status other than 0 when anything failed, a report of a
# sanitizer included.

use strict;
use warnings;

use Test::More;
use UnitGateway;

# those of script/test --sanitize are for nginx
delete @ENV{qw(ASAN_OPTIONS UBSAN_OPTIONS)};

my $build = $ENV{UNIT_BUILD} || 'build';
my $list = `make -s BUILD='$build' list-unit-programs`;
is($?, 0, 'the list of programs') or die $list;
my @programs = split ' ', $list;
cmp_ok(scalar @programs, '>', 0, 'there are programs');

is(system('make', '-s', "BUILD=$build", 'unit-programs'), 0, 'they build');

for my $program (@programs) {
	subtest $program => sub {
		my $path = $program =~ m{\A/} ? $program : "./$program";
		my $text = `'$path' 2>&1`;
		is($?, 0, 'status');
		my ($plan) = $text =~ /^1\.\.(\d+)$/m;
		my $passed = () = $text =~ /^ok /mg;
		ok($plan, 'it has a plan');
		is($passed, $plan // 'a plan', 'as many passed as were planned');
		unlike($text, qr/^not ok (?!.*# TODO)/m, 'none failed') or diag $text =~ s/^ok .*\n//mgr;
	};
}

done_testing();
