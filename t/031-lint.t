#!/usr/bin/perl

# What script/lint checks without any tool: directives and variables against
# their documentation and the configurations that we ship, defaults and merge
# rules of configuration fields, the order of includes. And that each of these
# checks finds what is planted for it: a check that cannot fail proves nothing.

use strict;
use warnings;

use Test::More;
use UnitGateway;
use UnitGateway::Lint;

my $tree = UnitGateway::Lint::tree();
my $main = 'ngx_unit_module/ngx_http_unit_module.c';
my $header = 'ngx_unit_module/ngx_http_unit.h';

# The complaints about the tree after a change of one file.
sub planted {
	my ($check, $file, $change) = @_;

	my %text = %$tree;
	local $_ = $text{$file} // die "no $file";
	$change->();
	die "nothing planted in $file" if $_ eq $text{$file};
	$text{$file} = $_;
	no strict 'refs';
	return join "\n", &{"UnitGateway::Lint::$check"}(\%text);
}

for my $check (qw(directives configurations includes)) {
	no strict 'refs';
	my @bad = &{"UnitGateway::Lint::$check"}($tree);
	ok(!@bad, $check) or diag join "\n", @bad;
}

my $names = UnitGateway::Lint::defined_names($tree);
cmp_ok(scalar keys %{$names->{directive}}, '>=', 24, 'directives are found');
cmp_ok(scalar keys %{$names->{partner}}, '>=', 10, 'and the lines of unit_partner');
cmp_ok(scalar keys %{$names->{variable}}, '>=', 11, 'and variables');

# -- directives --------------------------------------------------------------------

like(planted(directives => $main, sub { s/ngx_string\("unit_zone"\)/ngx_string("unit_planted")/ }),
	qr/directive "unit_planted" has no entry.*there is no directive "unit_zone"/s, 'a directive without documentation');
like(planted(directives => 'docs/directives.md', sub { s/^### unit_error\n/### unit_errors\n/m }),
	qr/"unit_error" has no entry.*there is no directive "unit_errors"/s, 'documentation without a directive');
like(planted(directives => 'docs/directives.md', sub { s/^### unit_deny\n/### unit_allow\n/m }),
	qr/"unit_allow" has two entries/, 'two entries');
like(planted(directives => 'docs/directives.md', sub { s/(`unit_zone [^`]*` \S+ http)/$1, server/ }),
	qr/"unit_zone" is for http, not http, server/, 'another context');
like(planted(directives => 'docs/directives.md', sub { s/^\| `leeway /| `leeways /m }),
	qr/unit_partner "leeway" has no entry.*no line of unit_partner "leeways"/s, 'a line of unit_partner');
like(planted(directives => 'ngx_unit_module/ngx_http_unit_variables.c', sub { s/"unit_scope"/"unit_scopes"/ }),
	qr/variable "unit_scopes" has no entry.*no variable "unit_scope"/s, 'a variable');
like(planted(directives => 'docs/policy.md', sub { s/\z/\nSee `unit_planted on;`.\n/ }),
	qr{docs/policy.md:\d+: there is no directive "unit_planted"}, 'another page');
like(planted(directives => 'conf/unit_log.conf', sub { s/\$unit_scope/\$unit_scopse/ }),
	qr{conf/unit_log.conf:\d+: there is no variable "\$unit_scopse"}, 'a configuration');

# -- fields ------------------------------------------------------------------------

like(planted(configurations => $header, sub { s/^(\} ngx_http_unit_loc_conf_t;)/    ngx_flag_t planted;\n$1/m }),
	qr/loc_conf_t: "planted" has no default/, 'a field without a default');
like(planted(configurations => $header, sub { s/^(\} ngx_http_unit_main_conf_t;)/    void *planted;\n$1/m }),
	qr/main_conf_t: "planted" has no default/, 'also one of the main configuration');
like(planted(configurations => $main, sub { s/^    ngx_conf_merge_value\(conf->sandbox,[^;]*;\n//m }),
	qr/"sandbox" has no merge rule/, 'one that is not merged');
like(planted(configurations => $main, sub { s/prev->sandbox/prev->enable/ }),
	qr/"sandbox" has no merge rule/, 'one merged with another one');
like(planted(configurations => $main, sub { s/ngx_conf_merge_msec_value\(conf->token_wait/ngx_conf_merge_value(conf->token_wait/ }),
	qr/"token_wait" is NGX_CONF_UNSET_MSEC and merged with ngx_conf_merge_value/, 'one merged as another type');
like(planted(configurations => $main, sub { s/(conf->token_wait = NGX_CONF_UNSET)_MSEC/$1/ }),
	qr/"token_wait" is a ngx_msec_t but NGX_CONF_UNSET/, 'a default of another type');
like(planted(configurations => $main, sub { s/^     \*     conf->rules = NULL;\n//m }),
	qr/"rules" has no default/, 'one that only ngx_pcalloc() sets, without the comment');

# -- includes ----------------------------------------------------------------------

like(planted(includes => $header, sub { s/^#include/#include <stdio.h>\n#include/m }),
	qr/\Q$header\E: the first include/, 'a header of the system before ours');

done_testing();
