package UnitSandbox::List;

# Lists: what the token reaches, filtered, sorted, one page of it.

use strict;
use warnings;

use Exporter 'import';
use UnitSandbox::Error qw(invalid);
use UnitSandbox::Json ();
use UnitSandbox::Model qw(customers_of_subject);
use UnitSandbox::Request qw(query customer_of may_touch);
use UnitSandbox::Store qw(all of_customer get res text);

our @EXPORT_OK = qw(list one_with_included);

# Filters that compare with an attribute of the same name.
my %PLAIN = map { $_ => 1 } qw(status channel period cardLast4Digits direction);
# Filters that follow a relationship.
my %RELATED = (cardId => 'card', counterpartyId => 'counterparty', applicationId => 'application');

# Option customers: only those of these customers. Option max_limit.
# Option text: makes the JSON of one object.
sub list {
	my ($x, $table, %option) = @_;

	my $q = query($x);
	my ($limit, $offset) = _page($q, $option{max_limit} // 1000);
	my @objects = @{_reachable($x, $q, $table, $option{customers})};
	my @tests = (_tests($q, $table), $option{test} // ());
	for my $test (@tests) {
		@objects = grep { $test->($_) } @objects;
	}
	my $sort = $q->{sort} ? $q->{sort}[0] : '';
	invalid('/sort', 'sort is createdAt or -createdAt.') if length $sort && $sort !~ /\A-?createdAt\z/;
	@objects = reverse @objects if $sort eq '-createdAt';

	my $total = @objects;
	my $last = $offset + $limit - 1;
	$last = $total - 1 if $last > $total - 1;
	my @page = $offset <= $last ? @objects[$offset .. $last] : ();
	my $make = $option{text} // \&text;
	my $body = '{"data":[' . join(',', map { $make->($_) } @page) . ']';
	$body .= ',"included":[' . join(',', _included($q, \@page)) . ']' if $q->{include};
	$body .= qq(,"meta":{"pagination":{"total":$total,"limit":$limit,"offset":$offset}}});
	return (200, $body);
}

# One resource, with what the query asks to include.
sub one_with_included {
	my ($x, $object) = @_;

	my $body = '{"data":' . text($object);
	my $q = length $x->{query} ? query($x) : {};
	$body .= ',"included":[' . join(',', _included($q, [$object])) . ']' if $q->{include};
	return (200, "$body}");
}

sub _page {
	my ($q, $max) = @_;

	my $limit = $q->{'page[limit]'} ? $q->{'page[limit]'}[-1] : 100;
	my $offset = $q->{'page[offset]'} ? $q->{'page[offset]'}[-1] : 0;
	invalid('/page/limit', "page[limit] is 1 to $max.") if $limit !~ /\A\d{1,9}\z/ || $limit < 1 || $limit > $max;
	invalid('/page/offset', 'page[offset] is 0 or more.') if $offset !~ /\A\d{1,9}\z/;
	return ($limit + 0, $offset + 0);
}

sub _reachable {
	my ($x, $q, $table, $customers) = @_;

	my $own = customer_of($x);
	my $wanted = $q->{'filter[customerId]'};
	my @sets = map { ref $_ ? {map { $_ => 1 } @$_} : () } $customers, $wanted, defined $own ? [$own] : undef;
	return all($table) if !@sets;

	my $first = shift @sets;
	my (@objects, %seen);
	for my $customer (sort keys %$first) {
		next if grep { !$_->{$customer} } @sets;
		push @objects, grep { !$seen{$_}++ } @{of_customer($table, $customer)};
	}
	@objects = grep { may_touch($x, $_) } @objects if $x->{token}{resources};
	return \@objects;
}

sub _tests {
	my ($q, $table) = @_;

	my @tests;
	if (my $ids = $q->{'filter[accountId]'}) {
		my %ok = map { $_ => 1 } @$ids;
		push @tests, sub { defined $_[0]{account} && $ok{$_[0]{account}} };
	}
	if (my $subjects = $q->{'filter[jwtSubject]'}) {
		my %ok = map { $_ => 1 } map { customers_of_subject($_) } @$subjects;
		push @tests, sub { grep { $ok{$_} } @{$_[0]{owner}} };
	}
	for my $name (keys %$q) {
		my ($filter) = $name =~ /\Afilter\[(\w+)\]\z/ or next;
		my %ok = map { lc $_ => 1 } @{$q->{$name}};
		if ($PLAIN{$filter}) { push @tests, sub { $ok{lc(res($_[0])->{attributes}{$filter} // '')} } }
		elsif ($filter eq 'type') { push @tests, sub { _type_matches(res($_[0])->{type}, \%ok) } }
		elsif ($filter eq 'email') { push @tests, sub { $ok{lc(_email(res($_[0])->{attributes}))} } }
		elsif (my $to = $RELATED{$filter}) {
			push @tests, sub {
				my $data = (res($_[0])->{relationships}{$to} // {})->{data};
				ref $data eq 'HASH' && $ok{$data->{id}};
			};
		}
	}
	push @tests, _time_test($q, 'since', 1), _time_test($q, 'until', -1), _tag_test($q), _query_test($q);
	return @tests;
}

# "achPayment" is asked for as AchPayment, "purchaseTransaction" as Purchase.
sub _type_matches {
	my ($type, $ok) = @_;
	$type = lc $type;
	return 1 if $ok->{$type};
	$type =~ s/(?:transaction|payment|application|customer)\z//;
	return $ok->{$type};
}

sub _email {
	my ($a) = @_;
	return $a->{email} // (ref $a->{contact} eq 'HASH' ? $a->{contact}{email} : undef) // '';
}

sub _time_test {
	my ($q, $name, $sign) = @_;

	my $values = $q->{"filter[$name]"} or return;
	my $t = $values->[0];
	invalid("/filter/$name", 'Not an RFC 3339 time.') if $t !~ /\A\d{4}-\d\d-\d\d(?:[T ].*)?\z/;
	return sub { ((res($_[0])->{attributes}{createdAt} // '') cmp $t) * $sign >= 0 };
}

sub _tag_test {
	my ($q) = @_;

	my $values = $q->{'filter[tags]'} or return;
	my $text = $values->[0];
	utf8::encode($text);
	my ($ok, $tags) = UnitSandbox::Json::decode($text);
	invalid('/filter/tags', 'filter[tags] is a JSON object.') if !$ok || ref $tags ne 'HASH';
	return sub {
		my $have = res($_[0])->{attributes}{tags} // {};
		!grep { !defined $have->{$_} || $have->{$_} ne $tags->{$_} } keys %$tags;
	};
}

# Words are ANDed, "-word" excludes.
sub _query_test {
	my ($q) = @_;

	my $values = $q->{'filter[query]'} or return;
	my @words = split ' ', lc $values->[0];
	return sub {
		my $text = lc text($_[0]);
		!grep { /\A-(.+)/ ? index($text, $1) >= 0 : index($text, $_) < 0 } @words;
	};
}

sub _included {
	my ($q, $page) = @_;

	my %names = map { $_ => 1 } map { split /,/ } @{$q->{include}};
	my (%seen, @texts);
	for my $object (@$page) {
		my $relationships = res($object)->{relationships};
		for my $name (sort keys %names) {
			my $data = ($relationships->{$name} // {})->{data};
			for my $to (ref $data eq 'ARRAY' ? @$data : ref $data ? $data : ()) {
				my $table = $name eq 'customers' ? 'customer' : $name;
				my $other = get($table, $to->{id}) or next;
				push @texts, text($other) if !$seen{"$table $to->{id}"}++;
			}
		}
	}
	return @texts;
}

1;
