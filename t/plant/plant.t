#!/usr/bin/perl

# The negative control of "script/test --sanitize" and of script/valgrind. The
# nginx that they use has mistakes in it, in t/plant/ngx_http_unit_plant_module.c,
# which a request can make happen: a test that does must fail by the check that
# every test ends with, and a test that does not must pass. So silence of the
# tool in all other tests means that there was nothing to report.

use strict;
use warnings;

use Test::More;

my $check = 'no sanitizer report';

# what is reported, and in which words
my %mistakes = $ENV{UNIT_VALGRIND}
	? (heap => qr/Invalid write of size 1/, uninit => qr/Conditional jump or move depends on uninitialised value/)
	: (heap => qr/heap-buffer-overflow/, int => qr/signed integer overflow/);

plan skip_all => 'UNIT_NGINX is not set: this is for script/test --sanitize and script/valgrind' if !$ENV{UNIT_NGINX};

# these reports are wanted
delete $ENV{UNIT_REPORTS};

for my $mistake ('nothing', sort keys %mistakes) {
	my $text = `'$^X' -It/lib t/plant/one.pl $mistake 2>&1`;
	my $failed = $?;
	my ($result) = $text =~ /^((?:not )?ok) \d+ - \Q$check\E$/m;
	if ($mistake eq 'nothing') {
		ok(!$failed && ($result // '') eq 'ok', 'no mistake: the test passes') or diag $text;
		next;
	}
	ok($failed && ($result // '') eq 'not ok', "$mistake: the test fails by its report") or diag $text;
	like($text, $mistakes{$mistake}, 'and says what it is');
}

done_testing();
