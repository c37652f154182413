package UnitGateway::Hpack;

# Header compression of HTTP/2 (RFC 7541), as little as a test client needs: it
# writes literals only, and reads everything but the dynamic table, which the
# client has told its peer not to use.

use strict;
use warnings;

use Exporter 'import';

our @EXPORT_OK = qw(encode decode);

# appendix A
my @static = map { [split /=/, $_, 2] } split /\n/, <<'EOT';
:authority=
:method=GET
:method=POST
:path=/
:path=/index.html
:scheme=http
:scheme=https
:status=200
:status=204
:status=206
:status=304
:status=400
:status=404
:status=500
accept-charset=
accept-encoding=gzip, deflate
accept-language=
accept-ranges=
accept=
access-control-allow-origin=
age=
allow=
authorization=
cache-control=
content-disposition=
content-encoding=
content-language=
content-length=
content-location=
content-range=
content-type=
cookie=
date=
etag=
expect=
expires=
from=
host=
if-match=
if-modified-since=
if-none-match=
if-range=
if-unmodified-since=
last-modified=
link=
location=
max-forwards=
proxy-authenticate=
proxy-authorization=
range=
referer=
refresh=
retry-after=
server=
set-cookie=
strict-transport-security=
transfer-encoding=
user-agent=
vary=
via=
www-authenticate=
EOT

# appendix B: the lengths of the codes of all bytes; the code is canonical
my @length = split ' ', <<'EOT';
13 23 28 28 28 28 28 28 28 24 30 28 28 30 28 28 28 28 28 28 28 28 30 28 28 28 28 28 28 28 28 28
6 10 10 12 13 6 8 11 10 10 8 11 8 6 6 6 5 5 5 6 6 6 6 6 6 6 7 8 15 6 12 10
13 6 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 8 7 8 13 19 13 14 6
15 5 6 5 6 5 6 6 6 5 7 7 6 6 6 5 6 7 6 5 5 6 7 7 7 7 7 15 11 14 13 28
20 22 20 20 22 22 22 23 22 23 23 23 23 23 24 23 24 24 22 23 24 23 23 23 23 21 22 23 22 23 23 24
22 21 20 22 22 23 23 21 23 22 22 24 21 22 23 23 21 21 22 21 23 22 23 23 20 22 22 22 23 22 22 23
26 26 20 19 22 23 22 25 26 26 26 27 27 26 24 25 19 21 26 27 27 26 27 24 21 21 26 26 28 27 27 27
20 24 20 21 22 21 21 23 22 22 25 25 24 24 26 23 26 27 26 26 27 27 27 27 27 28 27 27 27 27 27 26
EOT

my %byte;
{
	my ($code, $bits) = (0, 5);
	for my $i (sort { $length[$a] <=> $length[$b] || $a <=> $b } 0 .. 255) {
		$code <<= $length[$i] - $bits;
		$bits = $length[$i];
		$byte{sprintf "%0${bits}b", $code++} = chr $i;
	}
}

sub _integer {
	my ($value, $bits, $first) = @_;

	my $max = (1 << $bits) - 1;
	return chr($first | $value) if $value < $max;
	my $text = chr($first | $max);
	for ($value -= $max; $value >= 128; $value >>= 7) {
		$text .= chr($value & 127 | 128);
	}
	return $text . chr $value;
}

# encode([NAME, VALUE]...)
sub encode {
	return join '', map { ("\0", map { _integer(length, 7, 0) . $_ } @$_) } @_;
}

sub _read_integer {
	my ($text, $bits) = @_;

	my $max = (1 << $bits) - 1;
	my $value = ord(substr $$text, 0, 1, '') & $max;
	return $value if $value < $max;
	for (my $shift = 0; ; $shift += 7) {
		die "hpack: integer cut off or too large\n" if !length $$text || $shift > 21;
		my $more = ord substr $$text, 0, 1, '';
		$value += ($more & 127) << $shift;
		return $value if $more < 128;
	}
}

sub _read_string {
	my ($text) = @_;

	die "hpack: string cut off\n" if !length $$text;
	my $huffman = ord($$text) & 128;
	my $n = _read_integer($text, 7);
	die "hpack: string cut off\n" if $n > length $$text;
	my $string = substr $$text, 0, $n, '';
	return $string if !$huffman;

	my ($code, $plain) = ('', '');
	for (split //, unpack 'B*', $string) {
		$code .= $_;
		next if !defined $byte{$code};
		$plain .= $byte{$code};
		$code = '';
	}
	die "hpack: bad padding\n" if $code !~ /\A1{0,7}\z/;
	return $plain;
}

# decode(BLOCK): a list of [NAME, VALUE]
sub decode {
	my ($text) = @_;

	my @headers;
	while (length $text) {
		my $first = ord $text;
		if ($first & 128) {
			push @headers, [@{_static(_read_integer(\$text, 7))}];
		}
		elsif (($first & 224) == 32) {
			die "hpack: table size update\n" if _read_integer(\$text, 5);
		}
		else {
			my $index = _read_integer(\$text, $first & 64 ? 6 : 4);
			my $name = $index ? _static($index)->[0] : _read_string(\$text);
			push @headers, [$name, _read_string(\$text)];
		}
	}
	return @headers;
}

sub _static {
	my ($index) = @_;
	return $static[$index - 1] if $index > 0 && $index <= @static;
	die "hpack: index $index\n";
}

1;
