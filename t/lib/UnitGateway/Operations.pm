package UnitGateway::Operations;

# The operations of conf/operations.json, for tests that hold something for
# each of them: names, and the smallest request that is one.

use strict;
use warnings;

use JSON::PP ();

my $json = JSON::PP->new->utf8->canonical;
my $table;

# Those of the table for which CODE is true, with the operation in $_.
sub where {
	my ($code) = @_;

	if (!$table) {
		open my $fh, '<:raw', 'conf/operations.json' or die "operations.json: $!\n";
		local $/;
		$table = $json->decode(<$fh>)->{operations};
	}
	return grep { $code->() } @$table;
}

# All that change something at Unit and go through the gateway.
sub writes { return where(sub { $_->{method} ne 'GET' && $_->{serve} eq 'proxy' && !$_->{pci} && $_->{default} ne 'pci' }) }

# Directives that allow all of them to a partner with the org token.
sub allow { return join '', 'unit_sandbox on; unit_allow ', join(' ', map { $_->{name} } writes()), ';' }

# A path of that operation.
sub path {
	my ($op) = @_;

	my $n = 100;
	return $op->{path} =~ s/:\w+/++$n/ger;
}

# A body of that operation as data, undef when it has none.
sub body {
	my ($op) = @_;

	my $match = $op->{body} // return undef;
	my $array = grep { /\Adata\[\]/ } keys %$match;
	my %one = (type => 'x', attributes => {amount => 100});
	for my $path (keys %$match) {
		my $want = $match->{$path};
		next if ref $want eq 'HASH' && (exists $want->{not} || exists $want->{exists} && !$want->{exists});
		my $value = !ref $want ? $want : ref $want ne 'HASH' ? $want : $want->{in} ? $want->{in}[0] : 'x';
		my ($root, @names) = split /\./, $path;
		next if !@names;
		$value = {data => {type => 'x', id => '1'}} if $names[0] eq 'relationships';
		my $at = \%one;
		$at = $at->{shift @names} //= {} while @names > 1;
		$at->{$names[0]} = $value;
	}
	return {data => $array ? [\%one, {%one, attributes => {amount => 200}}] : \%one};
}

# The same as bytes, undef when it has none.
sub text {
	my ($op) = @_;
	my $body = body($op) // return undef;
	return $json->encode($body);
}

1;
