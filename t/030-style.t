#!/usr/bin/perl

# House style of the C files, as far as a script can tell, and that nothing of
# one machine is in the tree.

use strict;
use warnings;

use Test::More;
use UnitGateway;

use constant {
	COLUMNS => 80,
	FILE_LINES => 600,
	FUNCTION_LINES => 100,
};

my @c = grep { -f } glob '{ngx_unit_module,lua-free-filters,tools,t/unit,t/fuzz,t/plant}/*.[ch]';
cmp_ok(scalar @c, '>', 10, 'there are C files');

# Comments and strings blanked out, so that what is left is code.
sub code {
	my ($text) = @_;
	$text =~ s{(/\*.*?\*/|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*')}{$1 =~ s/[^\n]/ /gr}gse;
	return $text;
}

for my $file (@c) {
	my $text = UnitGateway::slurp($file);
	my @lines = split /\n/, $text;
	my @code = split /\n/, code($text);
	my $ours = $file =~ m{^(?:ngx_unit_module|lua-free-filters)/};
	my @bad;

	for my $i (0 .. $#lines) {
		my $at = "$file:" . ($i + 1);
		push @bad, "$at: tab" if $lines[$i] =~ /\t/;
		push @bad, "$at: trailing blank" if $lines[$i] =~ /[ \r]\z/;
		push @bad, "$at: longer than ${\COLUMNS} columns" if length $lines[$i] > COLUMNS;
		next if !defined $code[$i];
		push @bad, "$at: // comment" if $code[$i] =~ m{//};
		push @bad, "$at: #if 0 or 1" if $code[$i] =~ /^\s*#\s*if\s+[01]\s*$/;
		# a function's head: its name in the first column, a brace below
		push @bad, "$at: return type on the line of the name"
			if $code[$i] =~ /^(?!struct|union|enum|typedef|#)\w[\w \*]*[ \*]\w+\(.*\)\s*\{?$/
				&& ($code[$i] =~ /\{$/ || ($code[$i + 1] // '') =~ /^\{/);
	}

	my $start;
	for my $i (0 .. $#code) {
		$start = $i if $code[$i] =~ /^\{/;
		next if $code[$i] !~ /^\}\s*$/ || !defined $start;
		push @bad, "$file:" . ($start + 1) . ': function of ' . ($i - $start) . ' lines'
			if $ours && $i - $start > FUNCTION_LINES;
		undef $start;
		next if $i + 3 > $#lines || grep { /^#/ } @lines[$i + 1, $i + 2];
		push @bad, "$file:" . ($i + 2) . ': not two blank lines after a function'
			if length $lines[$i + 1] || length $lines[$i + 2] || !length $lines[$i + 3];
	}

	push @bad, "$file: " . @lines . ' lines' if $ours && @lines > FILE_LINES;
	push @bad, "$file: no newline at the end" if $text !~ /[^\n]\n\z/;
	if ($file =~ m{^(?:ngx_unit_module|lua-free-filters)/(\w+)\.h\z}) {
		my $guard = '_' . uc($1) . '_H_INCLUDED_';
		push @bad, "$file: no guard $guard" if $text !~ /^#ifndef $guard\n#define $guard\n/m;
	}
	ok(!@bad, $file) or diag join "\n", @bad;
}

SKIP: {
	skip 'no git here', 2 if !-e '.git' || !`git --version 2>/dev/null`;
	open my $grep, '-|', 'git', 'grep', '-nIF', UnitGateway->root . '/' or die "git: $!";
	my @found = <$grep>;
	is("@found", '', 'no path of this machine');
	my @secrets = grep { m{(?:^|/)(?:key\.pem|.*org-token|node_modules/)} } `git ls-files`;
	is("@secrets", '', 'no secret is tracked');
}

done_testing();
