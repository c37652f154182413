package UnitSandbox::Request;

# What handlers know about the call they answer, and the checks they share.
# $x holds: req, op, param (path), body (decoded), query (raw), token (record).

use strict;
use warnings;

use Exporter 'import';
use UnitSandbox::Error qw(invalid not_found);
use UnitSandbox::Json qw(is_integer is_string);
use UnitSandbox::Store qw(get text);

our @EXPORT_OK = qw(
	query attributes relationship has_scope customer_of may_touch own own_related own_param one
	want_string want_amount tags_merged merge
);

# {name => [values]}; "filter[a][0]", "filter[a][]" and "filter[a]" are one.
sub query {
	my ($x) = @_;

	return $x->{parsed_query} //= do {
		my %q;
		for my $pair (split /&/, $x->{query}) {
			my ($name, $value) = split /=/, $pair, 2;
			for ($name, $value) {
				$_ //= '';
				tr/+/ /;
				s/%([0-9A-Fa-f]{2})/chr hex $1/ge;
				utf8::decode($_);
			}
			$name =~ s/(?<=\])\[\d*\]\z//;
			push @{$q{$name}}, $value;
		}
		\%q;
	};
}

# data.attributes, {} if there are none.
sub attributes {
	my ($x) = @_;

	my $data = ref $x->{body} eq 'HASH' ? $x->{body}{data} : undef;
	return {} if ref $data ne 'HASH';
	invalid('/data/attributes', 'attributes must be an object.')
		if defined $data->{attributes} && ref $data->{attributes} ne 'HASH';
	return $data->{attributes} // {};
}

# {type, id} of a to-one relationship in the body, undef if absent.
sub relationship {
	my ($x, $name) = @_;

	my $data = ref $x->{body} eq 'HASH' ? $x->{body}{data} : undef;
	my $r = ref $data eq 'HASH' && ref $data->{relationships} eq 'HASH' ? $data->{relationships}{$name} : undef;
	return undef if !defined $r;
	my $to = ref $r eq 'HASH' ? $r->{data} : undef;
	invalid("/data/relationships/$name", 'A relationship has a type and an id.')
		if ref $to ne 'HASH' || !is_string($to->{id}) || !is_string($to->{type});
	return $to;
}

# The customer of a customer token, undef for the organisation.
sub customer_of { $_[0]{token}{customer} }

sub has_scope {
	my ($x, $scope) = @_;
	return $x->{token}{kind} eq 'org' || $x->{token}{has}{$scope};
}

# Whether the token reaches a stored object.
sub may_touch {
	my ($x, $object) = @_;

	my $customer = customer_of($x) // return 1;
	return 0 if !grep { $_ eq $customer } @{$object->{owner}};
	my $narrow = $x->{token}{resources} or return 1;
	return 0 if $narrow->{account} && defined $object->{account} && !$narrow->{account}{$object->{account}};
	return 0 if $narrow->{card} && $object->{table} eq 'card' && !$narrow->{card}{$object->{id}};
	return 1;
}

# The object, or 404: a customer does not learn what others have.
sub own {
	my ($x, $table, $id) = @_;

	my $object = get($table, $id);
	not_found($table, $id) if !$object || !may_touch($x, $object);
	return $object;
}

sub own_param {
	my ($x, $table, $name) = @_;
	return own($x, $table, $x->{param}{$name});
}

# The object a mandatory relationship of the body points to.
sub own_related {
	my ($x, $table, $name) = @_;

	my $to = relationship($x, $name) or invalid("/data/relationships/$name", "The $name is missing.");
	return own($x, $table, $to->{id});
}

# Answer with one resource.
sub one {
	my ($status, $object) = @_;
	return ($status, '{"data":' . text($object) . '}');
}

sub want_string {
	my ($attributes, $name, %rule) = @_;

	my $v = $attributes->{$name};
	return undef if !defined $v && $rule{optional};
	invalid("/data/attributes/$name", "$name is missing or not a string.") if !is_string($v) || !length $v;
	invalid("/data/attributes/$name", "$name is not acceptable.") if $rule{like} && $v !~ $rule{like};
	return $v;
}

sub want_amount {
	my ($attributes) = @_;

	my $v = $attributes->{amount};
	invalid('/data/attributes/amount', 'amount must be a whole number of cents, 1 or more.')
		if !is_integer($v) || $v < 1 || $v > 1_000_000_000_000;
	return $v;
}

# JSON merge patch (RFC 7396) of one object.
sub merge {
	my ($old, $patch) = @_;

	my %new = ref $old eq 'HASH' ? %$old : ();
	for (keys %$patch) {
		if (!defined $patch->{$_}) { delete $new{$_} }
		elsif (ref $patch->{$_} eq 'HASH') { $new{$_} = merge($new{$_}, $patch->{$_}) }
		else { $new{$_} = $patch->{$_} }
	}
	return \%new;
}

# The tags after a change, checked: at most 15, names of 128 word characters,
# values of 256 characters.
sub tags_merged {
	my ($old, $patch) = @_;

	return $old // {} if !defined $patch;
	invalid('/data/attributes/tags', 'tags must be an object.') if ref $patch ne 'HASH';
	for (keys %$patch) {
		invalid("/data/attributes/tags/$_", 'Not an acceptable tag.')
			if !/\A\w{1,128}\z/a || defined $patch->{$_} && (ref $patch->{$_} || length $patch->{$_} > 256);
	}
	my $new = merge($old, $patch);
	invalid('/data/attributes/tags', 'At most 15 tags.') if keys %$new > 15;
	return $new;
}

1;
