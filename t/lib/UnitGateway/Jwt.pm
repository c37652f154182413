package UnitGateway::Jwt;

# Keys, key sets and tokens of a test, all made by unit-jwt of the build. Keys
# are kept beside it, in test-keys, for the next run; a token is made once per
# test and set of options.

use strict;
use warnings;

use Exporter 'import';
use Fcntl ':flock';
use JSON::PP ();

our @EXPORT_OK = qw(jwt key_file jwks_file jwks unit_jwt);

use constant {
	ISSUER => 'https://idp.example.test/',
	AUDIENCE => 'unit-gateway',
	KEYS => ($ENV{UNIT_BUILD} || 'build') . '/test-keys',
	TOOL => ($ENV{UNIT_BUILD} || 'build') . '/unit-jwt',
};

my %customer = (alice => '10001', bob => '10002');
my $json = JSON::PP->new->utf8->canonical->allow_nonref;
my %made;

# What the tool prints; dies when it fails.
sub unit_jwt {
	my (@args) = @_;

	open my $fh, '-|', TOOL, @args or die TOOL . ": $!\n";
	my $text = do { local $/; <$fh> };
	close $fh or die TOOL . " @args failed\n";
	chomp $text;
	return $text;
}

# key_file(NAME, BITS): the private key in PEM form. NAME is its kid.
sub key_file {
	my ($name, $bits) = @_;

	my $file = KEYS . "/$name.pem";
	return $file if -s $file && -s KEYS . "/$name.json";
	mkdir KEYS;
	open my $lock, '>', KEYS . '/lock' or die "lock: $!\n";
	flock $lock, LOCK_EX or die "lock: $!\n";
	if (!-s $file || !-s KEYS . "/$name.json") {
		unit_jwt('keygen', '--force', '--out', "$file.new", '--jwks', KEYS . "/$name.json",
			'--kid', $name, '--bits', $bits // 2048);
		rename "$file.new", $file or die "rename: $!\n";
	}
	return $file;
}

# The key set with that key alone.
sub jwks_file {
	my ($name, $bits) = @_;
	key_file($name, $bits);
	return KEYS . "/$name.json";
}

# The text of a key set with these keys.
sub jwks {
	my (@names) = @_;
	return unit_jwt('jwks', map { ('--key', key_file($_), '--kid', $_) } @names);
}

# jwt(OPTIONS): a token that the gateway accepts, unless an option spoils it.
#
#   sub => 'alice'     alice and bob have their customer's id as a claim
#   exp => 3600        seconds from now, may be negative
#   claims => {...}    any JSON values, replacing the defaults
#   without => [...]   claims to leave out
#   key => 'dev'       signs; its name is the kid
#   kid => ''          another kid, or none
#   alg => 'RS256'     as unit-jwt knows them
#   header => {...}    more header members
#   raw_header, raw_payload => TEXT    signed as they are
#
# The same options give the same token again: use a claim such as jti to have
# two.
sub jwt {
	my (%o) = @_;

	my $id = $json->encode(\%o);
	return $made{$id} if defined $made{$id};

	my $sub = $o{sub} // 'alice';
	my $now = time;
	my %claims = (
		iss => ISSUER, aud => AUDIENCE, sub => "$sub", iat => $now, exp => $now + ($o{exp} // 3600),
		exists $customer{$sub} ? (unitCustomerId => $customer{$sub}) : (),
		%{$o{claims} // {}},
	);
	delete @claims{@{$o{without}}} if $o{without};

	my $key = $o{key} // 'dev';
	my $kid = $o{kid} // $key;
	my @args = ('mint', '--key', key_file($key), length $kid ? ('--kid', $kid) : ());
	push @args, '--alg', $o{alg} if defined $o{alg};
	push @args, '--secret', $o{secret} if defined $o{secret};
	push @args, '--raw-header', $o{raw_header} if defined $o{raw_header};
	if (defined $o{raw_payload}) {
		push @args, '--raw-payload', $o{raw_payload};
	}
	else {
		push @args, map { ('--json-claim', "$_=" . $json->encode($claims{$_})) } sort keys %claims;
	}
	push @args, map { ('--json-header', "$_=" . $json->encode($o{header}{$_})) } sort keys %{$o{header} // {}};

	return $made{$id} = unit_jwt(@args);
}

1;
