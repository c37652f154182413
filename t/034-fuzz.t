#!/usr/bin/perl

# script/fuzz and its targets, as far as that can be told without running them:
# each file of t/fuzz is a target that has seeds, is built, and is explained in
# docs/fuzzing.md, and none is missing from the list; the script refuses what it
# does not understand, so that a run which fuzzes nothing cannot look like a good
# one. (That the seeds are replayed is t/020-unit.t.)

use strict;
use warnings;

use Test::More;
use UnitGateway;

my $build = $ENV{UNIT_BUILD} || 'build';

# status and all that was written
sub fuzz {
	my (@args) = @_;
	my $text = `BUILD='$build' script/fuzz @args 2>&1 < /dev/null`;
	return ($? >> 8, $text);
}

# -- the targets -----------------------------------------------------------------------

my @files = sort map { m{fuzz_(\w+)\.c\z} } glob 't/fuzz/fuzz_*.c';
cmp_ok(scalar @files, '>', 5, 'there are targets');

my ($status, $text) = fuzz('--list');
is($status, 0, '--list');
is(join(' ', sort split ' ', $text), "@files", 'each file is a target that is built');

my $programs = `make -s BUILD='$build' list-unit-programs`;
open my $fh, '<', 'docs/fuzzing.md' or die "docs/fuzzing.md: $!";
my $page = do { local $/; <$fh> };

for my $name (@files) {
	my @seeds = glob "t/fuzz/seeds/$name/*";
	cmp_ok(scalar @seeds, '>', 4, "$name: seeds");
	is(scalar(grep { -s > 100_000 } @seeds), 0, "$name: small ones");
	like($programs, qr/\breplay_$name\b/, "$name: replayed");
	like($page, qr/^\| `$name` \| [^|]{4,} \| [^|]{20,} \|$/m, "$name: documented");
}
is(join(' ', grep { my $n = $_; !grep { $_ eq $n } @files } map { m{(\w+)\z} } glob 't/fuzz/seeds/*'), '', 'no seeds of no target');

# -- the script --------------------------------------------------------------------------

for (
	['nothing' => ''], ['no minutes' => '0'], ['too few' => '0.0001'], ['words' => 'ten'], ['two dots' => '1.2.3'], ['a negative number' => '-- -1'],
	['an unknown target' => '--target nobody 1'], ['a target without a name' => '1 --target'], ['part of a name' => '--target jw 1'],
	['an unknown option' => '--quick 1'], ['a target alone' => '--target jwt'],
) {
	my ($name, $args) = @$_;
	my ($status, $text) = fuzz($args);
	is($status, 2, "$name: refused");
	isnt($text, '', "$name: and said so");
}
($status, $text) = fuzz('--help');
is($status, 0, '--help');
like($text, qr/script\/fuzz MINUTES/, 'tells how');

done_testing();
