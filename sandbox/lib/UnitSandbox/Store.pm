package UnitSandbox::Store;

# Resources in memory, by table and id, in order of creation, with an index by
# owning customer. A resource is kept as data, as its JSON text, or both: text
# is what answers are made of, data is made again when somebody needs it.

use strict;
use warnings;

use Exporter 'import';
use UnitSandbox::Json ();

our @EXPORT_OK = qw(put get res touch text next_id all of_customer remove);

# First id that is not taken by the seed data.
my %FIRST = (customer => 20001, account => 30001, card => 40001, payment => 50001, counterparty => 60001, transaction => 70001);
my (%table, %order, %owned, %next);

sub clear { %table = %order = %owned = %next = () }

sub next_id {
	my ($table) = @_;
	$next{$table} //= $FIRST{$table} // 80001;
	return '' . $next{$table}++;
}

# owner is a list of customer ids (an empty one means the organisation's own),
# account the id of the account the resource hangs on.
sub put {
	my ($table, $resource, %more) = @_;

	my $object = {%more, table => $table, id => $resource->{id}, res => $resource};
	$object->{owner} //= [];
	$table{$table}{$resource->{id}} = $object;
	push @{$order{$table}}, $object;
	push @{$owned{$table}{$_}}, $object for @{$object->{owner}};
	return $object;
}

sub get { defined $_[1] && !ref $_[1] ? $table{$_[0]}{$_[1]} : undef }

sub all { $order{$_[0]} // [] }

sub of_customer { $owned{$_[0]}{$_[1]} // [] }

sub res {
	my ($object) = @_;
	return $object->{res} //= do {
		my ($ok, $value) = UnitSandbox::Json::decode($object->{text});
		die "the text of $object->{table} $object->{id} is damaged\n" if !$ok;
		$value;
	};
}

# Call after changing what res() gave.
sub touch {
	delete $_[0]{text};
	return $_[0];
}

sub text { $_[0]{text} //= UnitSandbox::Json::encode($_[0]{res}) }

# Keeps the text only: for what is written once and of which there may be many.
sub compact {
	my ($object) = @_;
	text($object);
	delete $object->{res};
	return $object;
}

sub remove {
	my ($object) = @_;

	my ($table, $id) = @{$object}{qw(table id)};
	delete $table{$table}{$id};
	@{$order{$table}} = grep { $_ != $object } @{$order{$table}};
	for my $owner (@{$object->{owner}}) {
		@{$owned{$table}{$owner}} = grep { $_ != $object } @{$owned{$table}{$owner}};
	}
}

1;
