#!/usr/bin/perl

# The module builds without a warning: with the default compiler, with clang,
# and into nginx itself when its source is at hand ("make static" has fetched
# it, or NGX_SRC names it).

use strict;
use warnings;

use Test::More;
use UnitGateway;

my $build = $ENV{UNIT_BUILD} || 'build';

sub make {
	my (@args) = @_;

	my $pid = open(my $fh, '-|') // die "fork: $!";
	if (!$pid) {
		# prove's own make flags are not for this one
		delete @ENV{qw(MAKEFLAGS MFLAGS MAKELEVEL)};
		open STDERR, '>&', \*STDOUT;
		exec 'make', '-s', "BUILD=$build", @args or exit 127;
	}
	my $text = do { local $/; <$fh> } // '';
	close $fh;
	return ($?, $text);
}

sub builds {
	my ($name, $file, @args) = @_;

	my ($status, $text) = make(@args);
	is($status, 0, "$name builds") or diag $text;
	unlike($text, qr/warning:/, "$name builds without a warning");
	ok(-s $file, "$name makes $file");
}

builds('the module', "$build/ngx_http_unit_module.so", 'module');

SKIP: {
	skip 'no clang', 3 if !`clang --version 2>/dev/null`;
	builds('the module with clang', "$build/clang/ngx_http_unit_module.so", 'CC=clang', "BUILD=$build/clang", 'module');
}

SKIP: {
	skip 'no source of nginx', 4 if !$ENV{NGX_SRC} && !-d "$build/src";
	skip q{this is one}, 4 if $ENV{UNIT_NGINX};
	builds('nginx with the module', "$build/nginx-static/objs/nginx", 'static');
	like(`'$build'/nginx-static/objs/nginx -V 2>&1`, qr/--add-module=/, 'it has the module linked in');
}

# what makes the module's shape a promise to operators and packagers
my ($status, $symbols) = (system('command -v nm >/dev/null') >> 8, '');
SKIP: {
	skip 'no nm', 1 if $status;
	$symbols = `nm -D --undefined-only '$build'/ngx_http_unit_module.so`;
	unlike($symbols, qr/ (?:malloc|calloc|realloc)\b/, 'the module takes memory from pools only');
}

done_testing();
