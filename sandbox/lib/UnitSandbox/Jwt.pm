package UnitSandbox::Jwt;

# JWTs of end users, RS256, checked against a key set file (--jwks).

use strict;
use warnings;

use Crypt::JWT ();
use MIME::Base64 ();
use Time::HiRes ();
use UnitSandbox::Json ();

my ($file, $seen, $keys) = (undef, '', undef);

sub set_file {
	($file) = @_;
	_load();
	die "cannot read a key set from $file\n" if !$keys;
}

# A damaged file leaves the last good set in force.
sub _load {
	my @s = Time::HiRes::stat($file) or return;
	my $now = join ' ', @s[0, 1, 7, 9, 10];
	return if $now eq $seen;
	open my $fh, '<:raw', $file or return;
	local $/;
	my ($ok, $set) = UnitSandbox::Json::decode(scalar(<$fh>) // '');
	return if !$ok || ref $set ne 'HASH' || ref $set->{keys} ne 'ARRAY';
	($keys, $seen) = ($set, $now);
}

# undef unless signature, exp and nbf hold and there is a subject.
sub subject_of {
	my ($jwt) = @_;

	return undef if !defined $file;
	_load();
	my @keys = @{$keys->{keys}};
	my ($part) = $jwt =~ /\A([A-Za-z0-9_-]+)\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\z/ or return undef;
	my ($ok, $head) = UnitSandbox::Json::decode(MIME::Base64::decode_base64url($part));
	return undef if !$ok || ref $head ne 'HASH';
	@keys = grep { !defined $_->{kid} || $_->{kid} eq $head->{kid} } @keys if defined $head->{kid};
	for my $key (@keys) {
		my $claims = eval {
			Crypt::JWT::decode_jwt(
				token => $jwt, key => $key, accepted_alg => 'RS256', verify_exp => 1, verify_nbf => undef, verify_iat => undef,
			);
		};
		next if ref $claims ne 'HASH';
		my $subject = $claims->{sub};
		return defined $subject && !ref $subject && length $subject ? $subject : undef;
	}
	return undef;
}

1;
