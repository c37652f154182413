package UnitSandbox::Op::Records;

# What is mostly read: transactions, authorizations, statements, events.

use strict;
use warnings;

use UnitSandbox::Error qw(invalid not_found);
use UnitSandbox::List qw(list one_with_included);
use UnitSandbox::Request qw(attributes own_param one tags_merged);
use UnitSandbox::Store qw(res touch get);

sub handlers {
	return (
		'get-transaction' => sub { one_with_included($_[0], _transaction($_[0])) },
		'list-transactions' => sub { list($_[0], 'transaction') },
		'update-transaction' => \&_update_transaction,
		'update-transaction-by-id' => \&_update_transaction,
		'get-authorization' => sub { one_with_included($_[0], own_param($_[0], 'authorization', 'authorizationId')) },
		'list-authorizations' => sub { list($_[0], 'authorization') },
		'list-statements' => sub { list($_[0], 'statement') },
		'get-statement-html' => \&_html,
		'list-events' => sub { list($_[0], 'event') },
		'get-event' => sub { one(200, own_param($_[0], 'event', 'eventId')) },
		'fire-event' => sub { one(200, own_param($_[0], 'event', 'eventId')) },
	);
}

# The one of the path, which must be on the account of the path.
sub _transaction {
	my ($x) = @_;

	my $t = own_param($x, 'transaction', 'transactionId');
	my $account = $x->{param}{accountId};
	if (defined $account) {
		own_param($x, 'account', 'accountId');
		not_found('transaction', $t->{id}) if $t->{account} ne $account;
	}
	return $t;
}

sub _update_transaction {
	my ($x) = @_;

	my $t = _transaction($x);
	my $patch = attributes($x);
	for (keys %$patch) {
		invalid("/data/attributes/$_", "$_ cannot be changed.") if $_ ne 'tags';
	}
	my $a = res($t)->{attributes};
	$a->{tags} = tags_merged($a->{tags}, $patch->{tags});
	return one(200, touch($t));
}

sub _html {
	my ($x) = @_;

	my $statement = own_param($x, 'statement', 'statementId');
	my $resource = res($statement);
	my $rows = '';
	for my $t (@{UnitSandbox::Store::all('transaction')}) {
		next if $t->{account} ne $statement->{account};
		my $a = res($t)->{attributes};
		$rows .= "<tr><td>$a->{createdAt}</td><td>$a->{direction}</td><td>$a->{amount}</td></tr>";
	}
	return (
		200, "<!DOCTYPE html><html><head><title>Statement $resource->{attributes}{period}</title></head>"
			. "<body><h1>Account $statement->{account}</h1><table>$rows</table></body></html>",
		['Content-Type' => 'text/html; charset=utf-8']
	);
}

1;
