package UnitSandbox::Json;

# JSON in and out. Reading is Mojo::JSON plus a depth limit. Writing is our own:
# no escaped slashes (Unit does not escape them), "type" and "id" first, and a
# number stays a number only if it was made as one, so ids remain strings.

use strict;
use warnings;
no warnings 'experimental::builtin';

use Exporter 'import';
use Mojo::JSON ();
use Mojo::Util ();

our @EXPORT_OK = qw(encode decode true false quote is_integer is_string);

use constant MAX_DEPTH => 200;

my @FIRST = qw(type id attributes relationships);
my %IS_FIRST = map { $_ => 1 } @FIRST;
my %ESCAPE = ("\"" => "\\\"", "\\" => "\\\\", "\n" => "\\n", "\r" => "\\r", "\t" => "\\t");

sub true { Mojo::JSON::true }

sub false { Mojo::JSON::false }

# Returns (1, value) or (0, reason). The text is bytes.
sub decode {
	my ($bytes) = @_;

	return (0, 'The body is nested too deeply.') if ($bytes =~ tr/[{//) > MAX_DEPTH && _depth($bytes) > MAX_DEPTH;
	my $value;
	no warnings 'recursion';
	return eval { $value = Mojo::JSON::decode_json($bytes); 1 } ? (1, $value) : (0, 'The body is not valid JSON.');
}

# Bytes, UTF-8.
sub encode {
	my $text = _value($_[0]);
	utf8::encode($text);
	return $text;
}

# A JSON string from a character string.
sub quote {
	my ($s) = @_;
	$s =~ s{(["\\\x00-\x1f\x7f])}{$ESCAPE{$1} // sprintf '\\u%04x', ord $1}ge if $s =~ /["\\\x00-\x1f\x7f]/;
	return "\"$s\"";
}

sub is_integer {
	my ($v) = @_;
	return defined $v && !ref $v && builtin::created_as_number($v) && $v == int $v;
}

sub is_string {
	my ($v) = @_;
	return defined $v && !ref $v && !builtin::created_as_number($v);
}

sub _value {
	my ($v) = @_;

	return 'null' if !defined $v;
	my $ref = ref $v;
	return builtin::created_as_number($v) ? $v + 0 : quote($v) if !$ref;
	if ($ref eq 'HASH') {
		my @keys = sort keys %$v;
		@keys = ((grep { exists $v->{$_} } @FIRST), grep { !$IS_FIRST{$_} } @keys) if exists $v->{type};
		return '{' . join(',', map { quote($_) . ':' . _value($v->{$_}) } @keys) . '}';
	}
	return '[' . join(',', map { _value($_) } @$v) . ']' if $ref eq 'ARRAY';
	return $v ? 'true' : 'false' if $ref eq 'JSON::PP::Boolean';
	return $$v ? 'true' : 'false' if $ref eq 'SCALAR';
	die "cannot write a $ref as JSON\n";
}

# Brackets inside strings do not count.
sub _depth {
	my ($bytes) = @_;

	my ($depth, $max) = (0, 0);
	while ($bytes =~ /("(?:[^"\\]++|\\.)*+"?)|([\[{])|([\]}])/gs) {
		if (defined $2) { $max = $depth if ++$depth > $max }
		elsif (defined $3) { $depth-- }
	}
	return $max;
}

1;
