package UnitGateway::Headers;

# What has headers, as pairs of a name and a value in {headers}: a response, a
# call that an upstream gets.

use strict;
use warnings;

# All values of a header.
sub headers {
	my ($self, $name) = @_;
	return map { $_->[1] } grep { lc $_->[0] eq lc $name } @{$self->{headers}};
}

# The value of a header, undef without it; twice is an error.
sub header {
	my ($self, $name) = @_;
	my @values = $self->headers($name);
	die "more than one $name header\n" if @values > 1;
	return $values[0];
}

1;
