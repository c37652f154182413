package UnitSandbox::Tokens;

# The organisation's token (from a file) and the customers' tokens.

use strict;
use warnings;

use Exporter 'import';
use Time::HiRes ();
use UnitSandbox::Clock qw(now iso);
use UnitSandbox::Json ();
use UnitSandbox::Random qw(random_bytes base64url);

our @EXPORT_OK = qw(mint lookup);

use constant {
	PAYLOAD => 380,
	KEEP_EXPIRED => 3600,
};

my ($org_file, $org_seen, $org_token) = (undef, '', undef);
my (%token, %of_customer, $serial);
clear();

sub clear {
	%token = %of_customer = ();
	$serial = 0;
}

sub set_org_file {
	($org_file) = @_;
	_read_org();
	die "cannot read an organisation token from $org_file\n" if !defined $org_token;
}

# A file that is unreadable or empty leaves the last token in force.
sub _read_org {
	my @s = Time::HiRes::stat($org_file) or return;
	my $seen = join ' ', @s[0, 1, 7, 9, 10];
	return if $seen eq $org_seen;
	open my $fh, '<:raw', $org_file or return;
	local $/;
	my $text = <$fh> // '';
	$text =~ s/\A\s+|\s+\z//g;
	return if !length $text;
	($org_token, $org_seen) = ($text, $seen);
}

# Like Unit's: readable claims, then what would be an Ed25519 signature. Random
# filler brings it to a realistic 600 bytes.
sub mint {
	my ($customer, $scopes, $seconds, %more) = @_;

	my $exp = now() + $seconds;
	my $claims = UnitSandbox::Json::encode({
		userId => '1', customerId => $customer, exp => iso($exp), jti => ++$serial . '-' . base64url(random_bytes(12)),
		scope => join(' ', @$scopes),
	});
	my $text = '{"role":"customer",' . substr($claims, 1, -1);
	my $room = PAYLOAD - length($text) - 10;
	$text .= ',"pad":"' . substr(base64url(random_bytes($room)), 0, $room) . '"' if $room > 0;
	my $string = 'v2.public.' . base64url("$text}" . random_bytes(64));
	my $record = {
		kind => 'customer', customer => $customer, scopes => $scopes, has => {map { $_ => 1 } @$scopes}, exp => $exp,
		verified => 0, %more,
	};
	$token{$string} = $record;
	push @{$of_customer{$customer}}, $record;
	return $string;
}

# From the value of an Authorization header: a record whose kind is org or
# customer and whose "dead" says why it must not be used; or undef.
sub lookup {
	my ($value) = @_;

	my ($string) = ($value // '') =~ /\ABearer +([\x21-\x7e]+)\z/i or return undef;
	my $record = $token{$string};
	if ($record) {
		return {%$record, dead => 'revoked'} if $record->{revoked};
		return {%$record, dead => 'expired'} if $record->{exp} <= now();
		return $record;
	}
	_read_org();
	return $string eq $org_token ? {kind => 'org'} : undef;
}

sub revoke {
	my ($customer) = @_;
	my @live = grep { !$_->{revoked} } @{$of_customer{$customer} // []};
	$_->{revoked} = 1 for @live;
	return scalar @live;
}

sub expire {
	my ($customer, $seconds) = @_;
	my $list = $of_customer{$customer} // [];
	$_->{exp} = now() + $seconds for @$list;
	return scalar @$list;
}

# Forgets what expired long ago. Until then the journal can name the owner.
sub purge {
	my $before = now() - KEEP_EXPIRED;
	for my $string (keys %token) {
		delete $token{$string} if $token{$string}{exp} < $before;
	}
	for my $customer (keys %of_customer) {
		@{$of_customer{$customer}} = grep { $_->{exp} >= $before } @{$of_customer{$customer}};
		delete $of_customer{$customer} if !@{$of_customer{$customer}};
	}
}

1;
