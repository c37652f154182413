package UnitSandbox::Op::Generic;

# Operations without rules of their own: a create stores what it was sent, reads
# give it back, anything else answers with the resource it is about. Path ids
# of stateful resources must exist and belong to the caller.

use strict;
use warnings;

use UnitSandbox::Clock qw(iso);
use UnitSandbox::Error qw(invalid);
use UnitSandbox::Json qw(encode is_string);
use UnitSandbox::List qw(list);
use UnitSandbox::Request qw(attributes relationship own customer_of one merge);
use UnitSandbox::Store qw(put res touch text next_id);

# Path placeholders that name stored resources.
my %TABLE = (
	accountId => 'account', cardId => 'card', customerId => 'customer', transactionId => 'transaction',
	counterpartyId => 'counterparty', applicationId => 'application', documentId => 'document',
	authorizationId => 'authorization', statementId => 'statement', eventId => 'event', beneficialOwnerId => 'beneficialOwner',
);
my %BINARY = (
	'application/pdf' => "%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n2 0 obj<</Type/Pages/Kids[]/Count 0>>endobj\n"
		. "trailer<</Root 1 0 R>>\n%%EOF\n",
	'image/png' => "\x89PNG\r\n\x1a\n" . "\0" x 16,
	'image/jpeg' => "\xff\xd8\xff\xe0\0\x10JFIF\0" . "\0" x 16,
	'application/octet-stream' => join('', map { chr } 0 .. 255),
	'text/html' => '<!DOCTYPE html><html><head><title>Unit sandbox</title></head><body></body></html>',
);

sub answer {
	my ($x) = @_;

	my $op = $x->{op};
	my $about = _check_path($x);
	my ($binary) = grep { $BINARY{$_} } @{$op->{answers}};
	return ($op->{success} // 200, $BINARY{$binary}, ['Content-Type' => $binary]) if $binary;

	my $status = $op->{success} // 200;
	my $collection = _collection($op);
	if ($op->{method} eq 'GET') {
		return list($x, $collection) if $op->{name} =~ /\Alist-/;
		return one($status, $about) if $about && $op->{path} =~ m{/:\w+\z};
		return _value($x, $status);
	}
	return ($status, undef) if $status == 204;
	return _delete($x, $status, $about) if $op->{method} eq 'DELETE' && $op->{path} =~ m{/:\w+\z};
	return _create($x, $status, $collection) if $op->{name} =~ /create-|generate-/ && !@{$op->{names}};
	if ($about) {
		return one($status, $about) if $TABLE{$op->{names}[-1]} || !%{attributes($x)};
		my $resource = res($about);
		$resource->{attributes} = merge($resource->{attributes}, attributes($x));
		return one($status, touch($about));
	}
	return _value($x, $status);
}

# Table of what this module stores itself: the first word of the path.
sub _collection {
	my ($op) = @_;
	my ($first) = $op->{path} =~ m{\A/(?:sandbox/|ready-to-launch/)?([^/]+)};
	my %same = map { ($_ . 's' => $_) } qw(card account payment customer transaction);
	return $same{$first} // $first;
}

# Every id in the path must exist; the object of the last one, or undef where
# the path has none. Ids of things the sandbox does not hold are taken as given.
sub _check_path {
	my ($x) = @_;

	my $about;
	my $collection = _collection($x->{op});
	for my $name (@{$x->{op}{names}}) {
		my $table = $name eq 'paymentId' && $collection eq 'payment' ? 'payment' : $TABLE{$name};
		$table //= $collection if $name =~ /Id\z/ && $name !~ /\A(?:userId|tokenId)\z/;
		$about = $table ? own($x, $table, $x->{param}{$name}) : undef;
	}
	return $about;
}

# Something of the right shape about nothing that is stored.
sub _value {
	my ($x, $status) = @_;

	my $op = $x->{op};
	my $data = ref $x->{body} eq 'HASH' ? $x->{body}{data} : undef;
	my ($last) = reverse @{$op->{names}};
	my ($type) = $op->{path} =~ m{([^/:]+)(?:/:\w+)?\z};
	$type =~ s/-(\w)/\U$1/g;
	$type = $data->{type} if ref $data eq 'HASH' && is_string($data->{type});
	return ($status, encode({data => {
		type => $type, id => defined $last ? $x->{param}{$last} : '1',
		attributes => ref $data eq 'HASH' ? attributes($x) : {},
	}}));
}

sub _create {
	my ($x, $status, $collection) = @_;

	my $data = $x->{body}{data};
	invalid('/data', 'data must be an object.') if ref $data ne 'HASH';
	my ($owner, $account) = ([], undef);
	if (my $to = relationship($x, 'account')) {
		my $object = own($x, 'account', $to->{id});
		($owner, $account) = ($object->{owner}, $object->{id});
	}
	elsif ($to = relationship($x, 'customer')) { $owner = [own($x, 'customer', $to->{id})->{id}] }
	elsif (defined customer_of($x)) { $owner = [customer_of($x)] }
	my %a = %{attributes($x)};
	delete $a{idempotencyKey};
	my $object = put($collection, {
		type => is_string($data->{type}) ? $data->{type} : $collection, id => next_id($collection),
		attributes => {createdAt => iso(), status => 'Pending', %a},
		ref $data->{relationships} eq 'HASH' ? (relationships => $data->{relationships}) : (),
	}, owner => $owner, account => $account);
	return one($status, $object);
}

sub _delete {
	my ($x, $status, $about) = @_;

	return _value($x, $status) if !$about;
	UnitSandbox::Store::remove($about);
	return one($status, $about);
}

1;
