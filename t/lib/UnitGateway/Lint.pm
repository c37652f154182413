package UnitGateway::Lint;

# Checks of the tree that a compiler does not make: every directive and variable
# is documented, and no other one; every field of a configuration has its
# default and its merge rule; nginx's configuration comes before any system
# header. For t/031-lint.t and script/lint.
#
# All of them take a hash of texts by file name, so that tests can plant what
# must be found, and return a list of complaints.

use strict;
use warnings;

# The tree as such a hash.
sub tree {
	my %text;
	for my $file (grep { -f } glob '{ngx_unit_module,lua-free-filters}/*.[ch] docs/*.md *.md conf/*.conf* conf/*.in') {
		open my $fh, '<:raw', $file or die "$file: $!";
		local $/;
		$text{$file} = <$fh>;
	}
	return \%text;
}

sub _code {
	my ($text) = @_;
	return map { $_ => $text->{$_} } grep { /\.[ch]\z/ } sort keys %$text;
}

# -- directives, variables and their documentation -------------------------------

# Names of a kind, each with the file that defines it: of directives, of the
# lines in a unit_partner block, of variables.
sub defined_names {
	my ($text) = @_;

	my %names = (directive => {}, partner => {}, variable => {});
	my %code = _code($text);
	for my $file (sort keys %code) {
		while ($code{$file} =~ /^(?:static\s+)?(?:const\s+)?(ngx_command_t|ngx_http_variable_t|ngx_http_unit_partner_command_t)\s+\w+\[\]\s*=\s*\{(.*?)^\};/msg) {
			my ($type, $table) = ($1, $2);
			my $kind = $type eq 'ngx_command_t' ? 'directive' : $type eq 'ngx_http_variable_t' ? 'variable' : 'partner';
			$names{$kind}{$_} = $file for $table =~ /\{\s*ngx_string\("([^"]+)"\)/g;
		}
	}
	return \%names;
}

sub directives {
	my ($text) = @_;

	my @bad;
	my $names = defined_names($text);
	my $page = $text->{'docs/directives.md'} // '';
	my (%heading, %variable, %partner);
	$heading{$_}++ for $page =~ /^### (\S+)$/mg;
	my ($variables) = $page =~ /^## Variables\n(.*?)(?=^## |\z)/ms;
	$variable{$_}++ for ($variables // '') =~ /^\| `\$(\w+)` \|/mg;
	my ($block) = $page =~ /^### unit_partner\n(.*?)(?=^##)/ms;
	for my $line (($block // '') =~ /^\| (`.*?`) \|[^|]*\|$/mg) {
		$partner{$_}++ for $line =~ /`(\w+) /g;
	}

	for (['directive', \%heading], ['variable', \%variable], ['partner', \%partner]) {
		my ($kind, $documented) = @$_;
		my $what = $kind eq 'partner' ? 'line of unit_partner' : $kind;
		push @bad, "docs/directives.md: no $what at all" if !%$documented;
		push @bad, "$names->{$kind}{$_}: $what \"$_\" has no entry in docs/directives.md"
			for grep { !$documented->{$_} } sort keys %{$names->{$kind}};
		push @bad, "docs/directives.md: there is no $what \"$_\""
			for grep { !$names->{$kind}{$_} } sort keys %$documented;
		push @bad, "docs/directives.md: $what \"$_\" has two entries"
			for grep { $kind ne 'partner' && $documented->{$_} > 1 } sort keys %$documented;
	}
	return (@bad, _mentions($text, $names), _contexts($text));
}

# What other pages and the configurations say exists.
sub _mentions {
	my ($text, $names) = @_;

	my @bad;
	for my $file (grep { !/\.[ch]\z/ } sort keys %$text) {
		my @lines = split /\n/, $text->{$file};
		for my $i (0 .. $#lines) {
			my $line = $lines[$i];
			my @found;
			if ($file =~ /\.md\z/) {
				@found = $line =~ /`(unit_\w+)(?=[` ;])/g;
				push @found, $1 if $line =~ /^\s+(unit_\w+)\s.*[;{]/;
			} else {
				$line =~ s/#.*//;
				@found = $line =~ /(?:^|[{;])\s*(unit_\w+)(?=[\s;])/g;
			}
			push @bad, "$file:" . ($i + 1) . ": there is no directive \"$_\""
				for grep { !$names->{directive}{$_} } @found;
			push @bad, "$file:" . ($i + 1) . ": there is no variable \"\$$_\""
				for grep { !$names->{variable}{$_} } $line =~ /\$(unit_\w+)/g;
		}
	}
	return @bad;
}

# "DIRECTIVE ARGS;" -- http, server, location: as in the command table.
sub _contexts {
	my ($text) = @_;

	my @bad;
	my %code = _code($text);
	my %context;
	for my $file (sort keys %code) {
		while ($code{$file} =~ /\{\s*ngx_string\("(unit_\w+)"\),\s*([A-Z0-9_|\s]+),/g) {
			my ($name, $flags) = ($1, $2);
			next if $flags !~ /_CONF/;
			$context{$name} = join ', ', map { $flags =~ /NGX_HTTP_$_->[0]_CONF/ ? $_->[1] : () }
				['MAIN', 'http'], ['SRV', 'server'], ['LOC', 'location'];
		}
	}
	my $page = $text->{'docs/directives.md'} // '';
	while ($page =~ /^`(unit_\w+)[^`]*` \x{e2}\x{80}\x{94} ((?:http|server|location)(?:, (?:http|server|location))*)/mg) {
		my ($name, $said) = ($1, $2);
		next if !defined $context{$name};
		push @bad, "docs/directives.md: \"$name\" is for $context{$name}, not $said" if $said ne $context{$name};
	}
	return @bad;
}

# -- configuration structures ------------------------------------------------------

my %unset = (
	NGX_CONF_UNSET => qr/^(?:ngx_flag_t|ngx_int_t|time_t)$/,
	NGX_CONF_UNSET_UINT => qr/^ngx_uint_t$/,
	NGX_CONF_UNSET_MSEC => qr/^ngx_msec_t$/,
	NGX_CONF_UNSET_SIZE => qr/^size_t$/,
	NGX_CONF_UNSET_PTR => qr/\*$/,
);

my %macro = (
	NGX_CONF_UNSET => qr/^(?:sec_)?value$/,
	NGX_CONF_UNSET_UINT => qr/^(?:uint_|bitmask_)value$/,
	NGX_CONF_UNSET_MSEC => qr/^msec_value$/,
	NGX_CONF_UNSET_SIZE => qr/^size_value$/,
	NGX_CONF_UNSET_PTR => qr/^ptr_value$/,
);

# Every field is set by create_*_conf(): to NGX_CONF_UNSET_* of its own type, and
# is then merged by the macro of that type; or to something else; or by
# ngx_pcalloc(), which the comment there says, and is then set by other code.
sub configurations {
	my ($text) = @_;

	my @bad;
	my %code = _code($text);
	my $all = join "\n", values %code;
	my $found = 0;

	for my $file (sort keys %code) {
		while ($code{$file} =~ /^(\w+_create_(main|srv|loc)_conf)\([^;{]*\)\n\{\n(.*?)^\}/msg) {
			my ($function, $level, $body) = ($1, $2, $3);
			my ($type) = $body =~ /sizeof\((\w+)\)/ or next;
			my ($fields) = $all =~ /(?:struct\s*(?:\w+)?\s*)\{([^{}]*)\}\s*$type;/s or do {
				push @bad, "$file: $function() makes a \"$type\", which is no structure";
				next;
			};
			$found++;
			my ($merge) = $code{$file} =~ /^(\w+_merge_${level}_conf\([^;{]*\)\n\{\n.*?^\})/ms;
			push @bad, map { "$file: $type: $_" } _configuration($level, $body, $merge, _fields($fields), $all);
		}
	}
	push @bad, 'no configuration structure found' if !$found;
	return @bad;
}

sub _fields {
	my ($text) = @_;

	$text =~ s{/\*.*?\*/}{}gs;
	my @fields;
	for (split /;/, $text) {
		next if !/\S/;
		my ($type, $pointer, $name) = /^\s*((?:const\s+|struct\s+)*\w+)\s+(\**)\s*(\w+)/ or die "a field: $_";
		push @fields, [$name, "$type$pointer"];
	}
	return \@fields;
}

sub _configuration {
	my ($level, $create, $merge, $fields, $all) = @_;

	my @bad;
	my ($comment) = $create =~ m{/\*\s*\*?\s*set by ngx_pcalloc\(\):(.*?)\*/}s;
	$comment //= '';
	(my $code = $create) =~ s{/\*.*?\*/}{}gs;
	my %known = map { $_->[0] => 1 } @$fields;

	push @bad, "the comment names \"$_\", which is no field" for grep { !$known{$_} } $comment =~ /->(\w+) =/g;

	for (@$fields) {
		my ($name, $type) = @$_;
		my ($value) = $code =~ /->$name = (\w+)/;
		my $set = defined $value || $code =~ /&\w+->$name\b/;
		my $zeroed = $comment =~ /->$name = /;

		push @bad, "\"$name\" has no default" if !$set && !$zeroed;
		push @bad, "\"$name\" has two defaults" if $set && $zeroed;

		if (defined $value && $unset{$value}) {
			push @bad, "\"$name\" is a $type but $value" if $type !~ $unset{$value};
			my ($macro) = ($merge // '') =~ /ngx_conf_merge_(\w+)\(\s*conf->$name,\s*prev->$name,/;
			push @bad, "\"$name\" has no merge rule" if !defined $macro;
			push @bad, "\"$name\" is $value and merged with ngx_conf_merge_$macro()"
				if defined $macro && $macro !~ $macro{$value};

		} elsif ($level ne 'main' && $all !~ /\w->$name(?:\.\w+)* = (?!NULL;|\{)|&\w+->$name\b/) {
			push @bad, "\"$name\" is never set";
		}
	}
	return @bad;
}

# -- includes ----------------------------------------------------------------------

# ngx_config.h decides what the system's headers declare, and how wide off_t is:
# it comes first, directly or by means of one of our headers.
sub includes {
	my ($text) = @_;

	my %code = _code($text);
	my @bad;
	for my $file (sort keys %code) {
		my ($first) = $code{$file} =~ /^#include\s+([<"][^>"]+)/m;
		push @bad, "$file: the first include is neither <ngx_config.h> nor a header of ours"
			if ($first // '') !~ /^(?:<ngx_config\.h|"ngx_http_unit\w*\.h)/;
	}
	return @bad;
}

1;
