#!/usr/bin/perl

# script/check, which decides whether a change may land: a finding fails, a job
# that takes too long fails, a job that cannot run here is skipped with its reason
# and fails only when that is asked for, and each job runs whatever became of the
# one before. The jobs here are made up; all of them together have so many minutes
# as continuous integration leaves.

use strict;
use warnings;

use File::Temp ();
use Test::More;
use UnitGateway;

my $dir = File::Temp::tempdir('unit-check-XXXXXX', TMPDIR => 1, CLEANUP => 1);

# A job that writes this, with that status.
sub job {
	my ($name, $text, $status) = @_;
	open my $fh, '>', "$dir/$name" or die "$name: $!";
	print {$fh} "#!/bin/sh\n$text\nexit $status\n";
	close $fh;
	chmod 0755, "$dir/$name";
	return "$name 1 $dir/$name argument";
}

sub check {
	my ($jobs, @args) = @_;
	local $ENV{CHECK_JOBS} = join "\n", '', @$jobs, '';
	my $text = `script/check @args 2>&1`;
	return ($? >> 8, $text);
}

delete $ENV{CHECK_STRICT};
my $good = job(good => 'echo "got $1"', 0);
my $bad = job(bad => 'echo found it', 3);
my $absent = job(absent => 'echo first; echo "no such package" >&2', 77);
my $slow = job(slow => 'exec sleep 60', 0) =~ s/ 1 / 0.01 /r;

my ($status, $text) = check([$good]);
is($status, 0, 'nothing found');
like($text, qr/^got argument$/m, 'the command has its arguments, and its output is seen');
like($text, qr/^good +\d+ s  ok$/m, 'the summary');

($status, $text) = check([$bad, $good]);
is($status, 1, 'a finding');
like($text, qr/^bad +\d+ s  FAILED: status 3$/m, 'is said');
like($text, qr/^good +\d+ s  ok$/m, 'and the next one still runs');

($status, $text) = check([$absent, $good]);
is($status, 0, 'what cannot run is no failure');
like($text, qr/^absent +\d+ s  SKIPPED: no such package$/m, 'but is said, with the reason');
{
	local $ENV{CHECK_STRICT} = 1;
	($status) = check([$absent, $good]);
	is($status, 1, 'unless that is asked for');
}
($status, $text) = check(["gone 1 $dir/gone"]);
is($status, 0, 'nor is a command that is not there');
like($text, qr/^gone +\d+ s  SKIPPED: there is no \Q$dir\E\/gone here$/m, 'with the reason');

($status, $text) = check([$slow, $good]);
is($status, 1, 'too long');
like($text, qr/^slow +\d+ s  FAILED: more than 0\.01 minutes$/m, 'is said');
like($text, qr/^good +\d+ s  ok$/m, 'and the next one still runs');

{
	local $ENV{CHECK_MINUTES} = 0;
	($status, $text) = check([$bad]);
	is($status, 0, 'no time for any');
	like($text, qr/^bad +\d+ s  SKIPPED: no time left$/m, 'is said');
	unlike($text, qr/found it/, 'and it has not run');
}

($status, $text) = check([$bad, $good, $absent], 'good');
is($status, 0, 'one of them');
unlike($text, qr/^bad/m, 'and no other');
($status, $text) = check([$good], 'nonsense');
is($status, 2, 'an unknown one');
like($text, qr/^Jobs: good$/m, 'and those that there are');

my @names = split ' ', `script/check --list`;
cmp_ok(scalar @names, '>', 3, 'there are jobs');
my ($table) = UnitGateway::slurp('script/check') =~ /^jobs=\$\{CHECK_JOBS:-'\n(.*?)\n'\}$/ms;
for my $line (split /\n/, $table // '') {
	my ($name, $limit, $command) = split ' ', $line;
	cmp_ok($limit, '<=', 20, "$name is bounded");
	like(UnitGateway::slurp('docs/testing.md'), qr{^\| `script/check $name` \|}m, "$name is documented");
}

done_testing();
