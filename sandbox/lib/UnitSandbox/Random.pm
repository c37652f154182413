package UnitSandbox::Random;

use strict;
use warnings;

use Exporter 'import';
use MIME::Base64 ();

our @EXPORT_OK = qw(random_bytes random_code base64url);

my ($fh, $pool) = (undef, '');

sub random_bytes {
	my ($n) = @_;

	if (length $pool < $n) {
		open $fh, '<:raw', '/dev/urandom' or die "cannot open /dev/urandom: $!\n" if !$fh;
		sysread $fh, $pool, 65536 + $n or die "cannot read /dev/urandom: $!\n";
	}
	return substr $pool, 0, $n, '';
}

# Six digits, not 000001 and not the one given.
sub random_code {
	my ($not) = @_;

	while (1) {
		my $n = unpack('N', random_bytes(4));
		next if $n >= 4_294_000_000;
		my $code = sprintf '%06d', $n % 1_000_000;
		return $code if $code ne '000001' && $code ne ($not // '');
	}
}

sub base64url {
	my $text = MIME::Base64::encode_base64($_[0], '');
	$text =~ tr{+/=}{-_}d;
	return $text;
}

1;
