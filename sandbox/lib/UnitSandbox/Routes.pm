package UnitSandbox::Routes;

# The operations and scopes of Unit, read from conf/unit-api, compiled into a
# tree of path segments. One (path, method) may hold several operations, which
# the body tells apart.

use strict;
use warnings;

use UnitSandbox::Json ();

my (%tree, %scope);

sub load {
	my ($dir) = @_;

	%tree = %scope = ();
	for my $s (@{_read("$dir/scopes.json")}) {
		$scope{$s->{scope}} = {
			name => $s->{scope},
			sensitive => $s->{sensitive} ? 1 : 0,
			customer => (grep { $_ eq 'customer' } @{$s->{tokens}}) ? 1 : 0,
			current => $s->{current_name},
		};
	}
	for my $r (@{_read("$dir/routes.json")}) {
		my $op = {
			name => $r->{operation},
			method => $r->{method},
			path => $r->{path},
			origin => $r->{origin},
			host => $r->{host},
			token => $r->{token},
			scopes => [@{$r->{scopes}}, @{$r->{scopes_newer_docs} // []}],
			success => $r->{success} ? $r->{success}[0] : undef,
			types => $r->{content_types},
			answers => $r->{response_types},
			match => $r->{body_match},
			idempotent => $r->{idempotency} ? 1 : 0,
			query => $r->{required_query} ? $r->{required_query}{any_of} : undef,
		};
		# Documented with the read scope, by mistake; whoever holds the write
		# scope may delete as well.
		push @{$op->{scopes}}, 'counterparties-write' if $op->{name} eq 'delete-counterparty';
		_insert($op);
	}
}

sub scope_of { $scope{$_[0]} }

# Adds the operation at the end of its path.
sub _insert {
	my ($op) = @_;

	my $node = \%tree;
	my @names;
	for my $segment (split m{/}, substr $op->{path}, 1) {
		if ($segment =~ /\A:(.+)/) {
			push @names, $1;
			$node = $node->{any} //= {};
		}
		else {
			$node = $node->{literal}{$segment} //= {};
		}
	}
	$op->{names} = \@names;
	push @{$node->{methods}{$op->{method}}}, $op;
}

# (methods => {METHOD => [operations]}, values of the placeholders), () if the
# path is unknown. Segments are percent-decoded one by one after the split, so
# an encoded slash stays inside its segment. Literal segments win.
sub find {
	my ($path) = @_;

	my @segments = split m{/}, substr($path, 1), -1;
	# The one URL that Unit prints with and without a trailing slash.
	pop @segments if $path eq '/ready-to-launch/transactions/';
	for (@segments) {
		s/%([0-9A-Fa-f]{2})/chr hex $1/ge if index($_, '%') >= 0;
	}
	my @values;
	my $node = _walk(\%tree, \@segments, 0, \@values) or return;
	return ($node->{methods}, \@values);
}

sub _walk {
	my ($node, $segments, $i, $values) = @_;

	return $node->{methods} ? $node : undef if $i == @$segments;
	my $segment = $segments->[$i];
	if (my $next = $node->{literal}{$segment}) {
		my $found = _walk($next, $segments, $i + 1, $values);
		return $found if $found;
	}
	return undef if !$node->{any} || !length $segment;
	push @$values, $segment;
	my $found = _walk($node->{any}, $segments, $i + 1, $values);
	return $found if $found;
	pop @$values;
	return undef;
}

# All media types that the operations of one (path, method) take.
sub candidates_types {
	my ($candidates) = @_;

	my %types;
	$types{$_} = 1 for map { @{$_->{types}} } @$candidates;
	return \%types;
}

# The operation whose body_match holds and names most members; if none holds,
# one of the same data.type, so that its handler can say what is wrong with it.
sub select_operation {
	my ($candidates, $body) = @_;

	return $candidates->[0] if @$candidates == 1 && !$candidates->[0]{match};
	my ($best, $weight, $fallback) = (undef, -1, undef);
	for my $op (@$candidates) {
		my $match = $op->{match};
		my $n = $match ? keys %$match : 0;
		if ($n > $weight && !grep { !_holds($body, $_, $match->{$_}) } keys %{$match // {}}) {
			($best, $weight) = ($op, $n);
		}
		my ($type) = grep { /\.type\z|\Adata\[\]\.type\z/ } keys %{$match // {}};
		$fallback //= $op if defined $type && _holds($body, $type, $match->{$type});
		# Operations that their data.type does not select.
		$fallback //= $op if $match && !defined $type && $op->{host} ne 'api';
	}
	return $best // $fallback;
}

sub _holds {
	my ($body, $path, $rule) = @_;

	if ($path =~ /\Adata\[\]\.(.+)\z/) {
		my $data = ref $body eq 'HASH' ? $body->{data} : undef;
		return 0 if ref $data ne 'ARRAY' || !@$data;
		return !grep { !_test(_get($_, $1), $rule) } @$data;
	}
	return _test(_get($body, $path), $rule);
}

# null counts as absent.
sub _get {
	my ($value, $path) = @_;
	for my $name (split /\./, $path) {
		return undef if ref $value ne 'HASH';
		$value = $value->{$name};
	}
	return $value;
}

sub _test {
	my ($value, $rule) = @_;

	if (ref $rule eq 'HASH') {
		return $rule->{exists} ? defined $value : !defined $value if exists $rule->{exists};
		return !_equal($value, $rule->{not}) if exists $rule->{not};
		return !!grep { _equal($value, $_) } @{$rule->{in}};
	}
	return _equal($value, $rule);
}

sub _equal {
	my ($a, $b) = @_;

	return 0 if !defined $a || !defined $b;
	if (ref $b eq 'JSON::PP::Boolean') {
		return ref $a eq 'JSON::PP::Boolean' && !!$a == !!$b;
	}
	return !ref $a && $a eq $b;
}

sub _read {
	my ($file) = @_;

	open my $fh, '<:raw', $file or die "cannot read $file: $!\n";
	local $/;
	my ($ok, $value) = UnitSandbox::Json::decode(scalar <$fh>);
	die "$file: $value\n" if !$ok;
	return $value;
}

1;
