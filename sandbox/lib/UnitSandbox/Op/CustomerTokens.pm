package UnitSandbox::Op::CustomerTokens;

# Verifications and tokens of customers.

use strict;
use warnings;

use UnitSandbox::Clock ();
use UnitSandbox::Counters qw(count);
use UnitSandbox::Error qw(fail invalid);
use UnitSandbox::Json qw(encode is_integer is_string);
use UnitSandbox::Jwt ();
use UnitSandbox::Model qw(subjects_of);
use UnitSandbox::Otp qw(start_verification spend);
use UnitSandbox::Request qw(attributes own_param customer_of want_string);
use UnitSandbox::Routes ();
use UnitSandbox::Store qw(res);
use UnitSandbox::Tokens qw(mint);

use constant DAY => 86400;

my %LANGUAGE = map { $_ => 1 } qw(
	af ar ca cs da de el en en-GB es et fi fr he hi hr hu id it ja kn ko mr ms nb nl pl pt pt-BR ro ru sk sv te th tl
	tr vi zh zh-CN zh-HK
);

sub handlers {
	my %h = (
		'create-customer-token-verification' => \&_verification,
		'get-identity' => \&_identity,
	);
	$h{"create-customer-token$_"} = \&_token for '', '-2fa', '-sandbox', '-jwt';
	return %h;
}

sub _verification {
	my ($x) = @_;

	my $customer = own_param($x, 'customer', 'customerId');
	my $a = attributes($x);
	my $channel = want_string($a, 'channel', like => qr/\A(?:sms|call)\z/);
	my $phone = _phone($customer, $a->{phone});
	if (defined $a->{appHash}) {
		my $hash = want_string($a, 'appHash', like => qr/\A.{11}\z/s);
		invalid('/data/attributes/appHash', 'appHash goes with channel sms only.') if $channel ne 'sms';
	}
	if (defined $a->{language}) {
		my $language = want_string($a, 'language');
		invalid('/data/attributes/language', 'Unknown language.') if !$LANGUAGE{$language};
	}
	count('verifications');
	my $token = start_verification($customer->{id}, $channel, $phone);
	return (201, encode({data => {type => 'customerTokenVerification', attributes => {verificationToken => $token}}}));
}

# The number that gets the code. Only business customers may name one, and it
# must be the contact's or an authorised user's.
sub _phone {
	my ($customer, $wanted) = @_;

	my $resource = res($customer);
	my $a = $resource->{attributes};
	my $is_business = $resource->{type} =~ /\Abusiness/i;
	my $contact = ref $a->{contact} eq 'HASH' ? $a->{contact}{phone} : $a->{phone};
	if (!defined $wanted) {
		fail(400, 'invalid_value', 'The customer has no phone.') if ref $contact ne 'HASH';
		return $contact;
	}
	invalid('/data/attributes/phone', 'phone is for business customers only.') if !$is_business;
	invalid('/data/attributes/phone', 'phone has countryCode and number.')
		if ref $wanted ne 'HASH' || !is_string($wanted->{countryCode}) || !is_string($wanted->{number});
	for my $known ($contact, map { $_->{phone} } @{$a->{authorizedUsers} // []}) {
		return $known
			if ref $known eq 'HASH' && $known->{countryCode} eq $wanted->{countryCode} && $known->{number} eq $wanted->{number};
	}
	invalid('/data/attributes/phone', 'phone is not one of the contact or an authorised user.');
}

sub _token {
	my ($x) = @_;

	my @answer = eval { _mint($x) };
	return @answer if !$@;
	count('mints_refused');
	die $@;
}

sub _mint {
	my ($x) = @_;

	my $customer = own_param($x, 'customer', 'customerId');
	fail(403, 'forbidden', 'The customer is archived.') if res($customer)->{attributes}{status} eq 'Archived';
	my $a = attributes($x);
	my ($scopes, $sensitive) = _scopes($a, 'scope');
	my ($later) = defined $a->{upgradableScope} ? _scopes($a, 'upgradableScope') : [];
	my $seconds = $a->{expiresIn} // DAY;
	invalid('/data/attributes/expiresIn', 'expiresIn is 1 to 86400 seconds.')
		if !is_integer($seconds) || $seconds < 1 || $seconds > DAY;
	_within_upgrade($x, $scopes);
	my $resources = _resources($a);
	my $verified = _verified($customer, $a);
	invalid('/data/attributes/verificationToken', "Scope @$sensitive requires verification.") if @$sensitive && !$verified;
	count('tokens_minted');
	my $token = mint(
		$customer->{id}, $scopes, $seconds, verified => $verified, upgradable => $later,
		$resources ? (resources => $resources) : ()
	);
	return (201, encode({data => {type => 'customerBearerToken', attributes => {token => $token, expiresIn => $seconds}}}));
}

# Names under one attribute, (all, those that need 2FA). Old names mean the
# current ones.
sub _scopes {
	my ($a, $name) = @_;

	my $text = want_string($a, $name);
	my (@names, @sensitive, %seen);
	for my $word (split / /, $text, -1) {
		my $scope = UnitSandbox::Routes::scope_of($word);
		invalid("/data/attributes/$name", 'Unknown scope.') if !$scope;
		$scope = UnitSandbox::Routes::scope_of($scope->{current}) // $scope if defined $scope->{current};
		invalid("/data/attributes/$name", "Scope $word is not for customers.")
			if !$scope->{customer} && $scope->{name} ne 'customer-token-write';
		next if $seen{$scope->{name}}++;
		push @names, $scope->{name};
		push @sensitive, $scope->{name} if $scope->{sensitive};
	}
	return (\@names, \@sensitive);
}

# A customer token may ask for what it has and what it was promised.
sub _within_upgrade {
	my ($x, $scopes) = @_;

	return if !defined customer_of($x);
	my %ok = (%{$x->{token}{has}}, map { $_ => 1 } @{$x->{token}{upgradable} // []});
	my @over = grep { !$ok{$_} } @$scopes;
	fail(403, 'forbidden', "Scope @over is not upgradable.") if @over;
}

sub _resources {
	my ($a) = @_;

	my $list = $a->{resources} // return undef;
	my $pointer = '/data/attributes/resources';
	invalid($pointer, 'resources must be an array.') if ref $list ne 'ARRAY' || !@$list;
	my %narrow;
	for my $r (@$list) {
		invalid($pointer, 'A resource has a type (card or account) and ids.')
			if ref $r ne 'HASH' || !is_string($r->{type}) || $r->{type} !~ /\A(?:card|account)\z/ || ref $r->{ids} ne 'ARRAY';
		$narrow{$r->{type}}{$_} = 1 for @{$r->{ids}};
	}
	return \%narrow;
}

# 1 if the proof is good, 0 if there is none; a bad one fails.
sub _verified {
	my ($customer, $a) = @_;

	if (defined $a->{jwtToken}) {
		my $jwt = want_string($a, 'jwtToken');
		my $subject = UnitSandbox::Jwt::subject_of($jwt);
		fail(403, 'invalid_jwt_token', 'The jwtToken was not accepted.')
			if !defined $subject || !grep { $_ eq $subject } subjects_of($customer);
		return 1;
	}
	return 0 if !defined $a->{verificationToken} && !defined $a->{verificationCode};
	my $token = want_string($a, 'verificationToken', optional => 1);
	my $code = want_string($a, 'verificationCode', like => qr/\A[0-9]{6}\z/);
	fail(403, 'invalid_verification_code', 'The verification code was not accepted.')
		if !spend($customer->{id}, $token, $code);
	return 1;
}

# The only introspection call; its answer is documented as "decoded content".
sub _identity {
	my ($x) = @_;

	my $token = $x->{token};
	return (200, encode({data => {type => 'orgIdentity', id => '1', attributes => {role => 'org', orgId => '1'}}}))
		if $token->{kind} eq 'org';
	return (200, encode({data => {
		type => 'customerIdentity', id => $token->{customer},
		attributes => {
			role => 'customer', customerId => $token->{customer}, scope => join(' ', @{$token->{scopes}}),
			expiration => UnitSandbox::Clock::iso($token->{exp}),
		},
	}}));
}

1;
