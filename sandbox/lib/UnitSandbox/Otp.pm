package UnitSandbox::Otp;

# One-time passwords: six digits, good for ten minutes, once, together with the
# verification token they were made with and for one customer.

use strict;
use warnings;

use Exporter 'import';
use MIME::Base64 ();
use UnitSandbox::Clock qw(now iso);
use UnitSandbox::Random qw(random_bytes random_code);

our @EXPORT_OK = qw(start_verification spend);

use constant LIFETIME => 600;

my (%verification, %last);

sub clear { %verification = %last = () }

sub start_verification {
	my ($customer, $channel, $phone) = @_;

	my $previous = $last{$customer} ? $last{$customer}{code} : undef;
	# Real ones hold "/" and "+", and so do all of ours.
	my $token;
	do { $token = MIME::Base64::encode_base64(random_bytes(94), '') } until $token =~ m{/} && $token =~ /\+/;
	$last{$customer} = $verification{$token} = {
		customer => $customer, channel => $channel, phone => $phone, code => random_code($previous), exp => now() + LIFETIME,
	};
	return $token;
}

# True if the code is right; it is then used up. Without a token only 000001 is.
sub spend {
	my ($customer, $token, $code) = @_;

	return $code eq '000001' if !defined $token;
	my $v = $verification{$token} or return 0;
	return 0 if $v->{customer} ne $customer || $v->{exp} <= now();
	return 0 if $code ne $v->{code} && $code ne '000001';
	delete $verification{$token};
	$v->{used} = 1;
	return 1;
}

sub last_of {
	my $v = $last{$_[0]} or return undef;
	return {
		code => $v->{code}, channel => $v->{channel}, expiresAt => iso($v->{exp}), phone => $v->{phone},
		used => $v->{used} ? \1 : \0,
	};
}

sub purge {
	my $now = now();
	for my $token (keys %verification) {
		delete $verification{$token} if $verification{$token}{exp} <= $now;
	}
}

1;
