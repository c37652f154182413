#!/usr/bin/perl

# The policy table is what script/make-operations makes of the facts about the
# Unit API, no operation of theirs is lost, and script/policy tells what the
# gateway would decide. Holds P38 and P39: one canonical path, default deny.

use strict;
use warnings;

use Cwd ();
use File::Basename ();
use File::Copy ();
use File::Path ();
use File::Temp ();
use JSON::PP ();
use Test::More;

my $root = Cwd::abs_path(File::Basename::dirname(__FILE__) . '/..');
chdir $root or die "chdir: $!";

my $json = JSON::PP->new->utf8;

# exit status and everything printed
sub run {
	my (@command) = @_;

	my $pid = open(my $fh, '-|') // die "fork: $!";
	if (!$pid) {
		delete @ENV{qw(MAKEFLAGS MFLAGS MAKELEVEL)};
		open STDERR, '>&', \*STDOUT;
		exec @command or exit 127;
	}
	my $text = do { local $/; <$fh> } // '';
	close $fh;
	return ($? >> 8, $text);
}

sub slurp {
	my ($name) = @_;

	open my $fh, '<:raw', $name or die "$name: $!";
	local $/;
	return scalar <$fh>;
}

sub spew {
	my ($name, $text) = @_;

	open my $fh, '>:raw', $name or die "$name: $!";
	print $fh $text;
	close $fh or die "$name: $!";
}

###############################################################################

subtest 'the table is up to date' => sub {
	my ($status, $text) = run('script/make-operations', '--check');
	is($status, 0, 'script/make-operations --check') or diag $text;

	# a tree of its own: the check must be able to fail
	my $dir = File::Temp::tempdir(CLEANUP => 1);
	File::Path::make_path("$dir/script", "$dir/conf/unit-api");
	for my $file (qw(script/make-operations conf/operations.json
		conf/unit-api/routes.json conf/unit-api/scopes.json))
	{
		File::Copy::copy($file, "$dir/$file") or die "$file: $!";
	}
	my @make = ($^X, "$dir/script/make-operations");

	($status) = run(@make, '--check');
	is($status, 0, 'the same in another tree');

	my $table = slurp("$dir/conf/operations.json");
	spew("$dir/conf/operations.json", $table =~ s/"two_factor": true/"two_factor": false/r);
	($status, $text) = run(@make, '--check');
	isnt($status, 0, 'a table that was edited');
	like($text, qr/is not what script\/make-operations makes/, 'is told');

	($status) = run(@make);
	is($status, 0, 'made again');
	is(slurp("$dir/conf/operations.json"), $table, 'to the same bytes');

	my $routes = slurp("$dir/conf/unit-api/routes.json");

	my %mistakes = (
		'unknown scope' => sub { $_[0]{scopes} = ['accounts', 'no-such-scope'] },
		'all its scopes are legacy names' => sub { $_[0]{scopes} = ['accounts-create'] },
		'given twice' => sub { $_[0]{operation} = 'get-account' },
		'a rule names it, but' => sub { $_[0]{operation} = 'create-fees' },
		'neither a string nor a boolean' => sub { $_[0]{body_match} = {'data.type' => 1} },
		'unknown condition' => sub { $_[0]{body_match} = {'data.type' => {like => 'x'}} },
		'but no scopes' => sub { $_[0]{scopes} = [] },
	);

	for my $what (sort keys %mistakes) {
		my $list = $json->decode($routes);
		my $name = $what =~ /rule/ ? 'delete-counterparty' : 'list-accounts';
		my ($route) = grep { $_->{operation} eq $name } @$list;
		$mistakes{$what}->($route);
		spew("$dir/conf/unit-api/routes.json", $json->encode($list));
		($status, $text) = run(@make);
		isnt($status, 0, "facts with a mistake: $what");
		like($text, qr/\Q$what\E/, 'are told');
	}
	is(slurp("$dir/conf/operations.json"), $table, 'and change nothing');
};

subtest 'nothing of the facts is lost' => sub {
	my $routes = $json->decode(slurp('conf/unit-api/routes.json'));
	my $scopes = $json->decode(slurp('conf/unit-api/scopes.json'));
	my $table = $json->decode(slurp('conf/operations.json'));
	my @operations = @{ $table->{operations} };
	my %operation = map { $_->{name} => $_ } @operations;
	my %route = map { $_->{operation} => $_ } @$routes;
	my (@wrong, @order);

	is(scalar @operations, @$routes + 2, 'as many operations, and two of ours');

	for my $r (@$routes) {
		my $o = $operation{$r->{operation}} // {};
		my $where = "$r->{operation}: ";

		for my $pair (['method', 'method'], ['path', 'path'], ['token', 'token'], ['timeout', 'timeout_s']) {
			push @wrong, "$where$pair->[0]" if ($o->{$pair->[0]} // '') ne $r->{$pair->[1]};
		}
		for my $flag (qw(moves_funds pci)) {
			push @wrong, "$where$flag" if !$o->{$flag} ne !$r->{$flag};
		}
		push @wrong, "${where}idempotency" if !defined $o->{idempotency} ne !$r->{idempotency};

		# one that the facts do not name may not be there, one more may
		my %newer = map { $_ => 1 } @{ $r->{scopes} }, @{ $r->{scopes_newer_docs} || [] };
		push @wrong, "${where}scopes" if $r->{operation} ne 'delete-counterparty'
			&& grep { !$newer{$_} } @{ $o->{scopes} || ['none'] };
	}
	is("@wrong", '', 'every route is there as the facts have it');

	is_deeply($operation{'delete-counterparty'}{scopes}, ['counterparties-write'], 'save the delete with a read scope');

	for my $o (@operations) {
		push @order, $route{$o->{name}} ? $route{$o->{name}}{origin} : 'own';
	}
	is(join(' ', @order) =~ s/\b(\w+)( \1)+\b/$1/gr, 'seed public own', 'seeds first, our own last');

	my %legacy = map { $_->{scope} => 1 } grep { $_->{legacy} } @$scopes;
	is(scalar(grep { $legacy{$_->{name}} } @{ $table->{scopes} }), 0, 'no legacy scope');

	my %scope = map { $_->{name} => $_ } @{ $table->{scopes} };
	my @open = grep {
		$_->{moves_funds} && $_->{default} eq 'allow'
			&& grep { !$scope{$_}{two_factor} } @{ $_->{scopes} }
	} @operations;
	is(scalar @open, 0, 'no money moves without a second factor by default');

	my @unsure = grep {
		my $basis = $route{$_->{name}} ? $route{$_->{name}}{scopes_basis} : 'own';
		$basis =~ /^(unknown|none-documented)$/ && $_->{default} eq 'allow';
	} @operations;
	is(scalar @unsure, 0, 'what is unsure is not open by default');
};

###############################################################################

my $build = $ENV{UNIT_BUILD} || 'build';
my ($built, $output) = run('make', '-s', "BUILD=$build", "$build/unit-policy");
is($built, 0, 'unit-policy builds') or diag $output;

my $linked = '{"data":{"type":"achPayment","relationships":{"counterparty":{"data":{"type":"counterparty","id":"2"}}}}}';
my $both = '{"data":{"type":"achPayment","attributes":{"counterparty":{}},"relationships":{"counterparty":{}}}}';
my $book = '{"data":{"type":"bookPayment"}}';
my $fee = '{"data":{"type":"fee"}}';
my $phone = '{"data":{"type":"individualCustomer","attributes":{"phone":null}}}';
my $tags = '{"data":{"type":"individualCustomer","attributes":{"tags":{}}}}';
my $account = '{"data":{"type":"depositAccount","relationships":{"customer":{"data":{"type":"customer","id":"10002"}}}}}';

# arguments, exit status, what is printed
my @examples = (
	[['GET', '/accounts'], 0, qr/^operation    list-accounts$/m, qr/^scope        accounts$/m, qr/^2fa          no$/m,
		qr/^verdict      200 allowed$/m],
	[['HEAD', '/accounts?page[limit]=5'], 0, qr/^operation    list-accounts$/m],
	[['POST', '/payments', $linked], 0, qr/^operation    create-ach-payment-linked$/m,
		qr/^scopes       payments-write-counterparty or payments-write or ach-payments-write$/m,
		qr/^scope        payments-write-counterparty$/m, qr/^2fa          yes, the scope/m,
		qr/^timeout      60 s$/m, qr/^idempotency  create-ach-payment$/m],
	[['POST', '/payments', $linked, '--scopes', 'payments payments-write'], 0, qr/^scope        payments-write$/m],
	[['POST', '/payments', $linked, '--scopes', 'payments'], 1, qr/403 insufficient_scope\nwhy          ceiling/],
	[['POST', '/payments', $linked, '--role', 'ReadOnly'], 1, qr/403 insufficient_scope\nwhy          read_only/],
	[['POST', '/payments', $linked, '--role', 'admin'], 1, qr/403 insufficient_scope\nwhy          role/],
	[['POST', '/payments', $linked, '--org'], 0, qr/^2fa          no$/m, qr/^sent with    org token$/m],
	[['POST', '/payments', $both], 1, qr/403 operation_not_allowed\nwhy          the body fits several/,
		qr/^candidates   create-ach-payment-inline\n             create-ach-payment-linked$/m],
	[['POST', '/payments', '{"data":{"type":"x"}}'], 1, qr/403 operation_not_allowed\nwhy          no operation/],
	[['POST', '/payments', '{"data":{"Type":"bookPayment"}}'], 1, qr/400 invalid_body\nwhy          member name/],
	[['POST', '/payments'], 1, qr/400 invalid_body\nwhy          the operation depends on the body/],
	[['POST', '/payments', $book, '--deny', 'create-book-payment'], 1, qr/why          denied_by_rule/],
	[['GET', '/accounts', '--require-2fa', 'list-accounts'], 0, qr/^2fa          yes, unit_require_2fa/m],
	[['POST', '/fees', $fee], 1, qr/403 operation_not_allowed\nwhy          org_only/],
	[['POST', '/fees', $fee, '--allow', 'create-fee'], 0, qr/^scope        accounts-write$/m],
	[['GET', '/disputes', '--org'], 1, qr/why          denied_by_default/],
	[['POST', '/sandbox/cards/5/activate', '--org'], 1, qr/why          sandbox_only/],
	[['POST', '/sandbox/cards/5/activate', '--org', '--sandbox'], 0, qr/^scopes       none$/m, qr/^scope        none$/m],
	[['GET', '/cards/5/secure-data/pan'], 1, qr/403 pci_route_blocked/],
	[['PATCH', '/customers/me', $phone, '--customer', '10001'], 0, qr/^2fa          yes, the body changes/m],
	[['PATCH', '/customers/10001', $tags, '--customer', '10001'], 0, qr/^2fa          no$/m],
	[['PATCH', '/customers/10002', $tags, '--customer', '10001'], 1, qr/403 customer_mismatch\nwhy          the path/],
	[['POST', '/accounts', $account, '--customer', '10001'], 1, qr/403 customer_mismatch\nwhy          the body/],
	[['POST', '/accounts', $account, '--customer', '10002'], 0, qr/200 allowed/],
	[['GET', '/accounts?filter%5BcustomerId%5D=2', '--customer', '1'], 1, qr/403 customer_mismatch\nwhy          filter/],
	[['GET', '/ready-to-launch/accounts'], 0, qr/^sent with    org token, filter\[userId\] forced$/m],
	[['DELETE', '/customers/me/token'], 0, qr/^operation    forget-customer-tokens$/m],
	[['PATCH', '/applications/1', '{"data":{"type":"individualApplication"}}', '--org'], 0,
		qr/^or           update-sole-proprietor-application$/m],
	[['DELETE', '/accounts'], 1, qr/^allow        GET POST$/m, qr/405 method_not_allowed/],
	[['BREW', '/accounts'], 1, qr/405 method_not_allowed/],
	[['GET', '/nothing'], 1, qr/404 unknown_operation\nwhy          no operation has this path/],
	[['GET', '/accounts/%2e%2e/fees'], 1, qr/400 invalid_uri/],
	[['GET', '/accounts/1%2flimits'], 1, qr/400 invalid_uri/],
	[['GET', '/accounts', '--scopes', 'accounts-create'], 2, qr/unknown scope "accounts-create"/],
	[['GET', '/accounts', '--deny', 'no-such'], 2, qr/unknown operation "no-such"/],
	[['GET', '/accounts', '--maybe'], 2, qr/unknown option --maybe/],
	[['GET'], 2, qr/^usage:/m],
);

for my $e (@examples) {
	my ($args, $status, @text) = @$e;
	subtest "explain @$args" => sub {
		my ($got, $text) = run('script/policy', 'explain', @$args);
		is($got, $status, 'status') or diag $text;
		like($text, $_, "$_") for @text;
	};
}

subtest 'list and check' => sub {
	my ($status, $text) = run('script/policy', 'list');
	is($status, 0, 'list');
	is(($text =~ tr/\n//), 219, 'a line for each operation and a heading');

	($status, $text) = run('script/policy', 'check', 'conf/operations.json');
	is($status, 0, 'check of the table');
	like($text, qr/218 operations, 47 scopes/, 'counts');

	my $dir = File::Temp::tempdir(CLEANUP => 1);
	spew("$dir/bad.json", slurp('conf/operations.json') =~ s/"two_factor": false,\n/"two_factors": false,\n/r);
	($status, $text) = run('script/policy', 'check', "$dir/bad.json");
	is($status, 1, 'check of a bad one');
	like($text, qr/operations\[0\] "create-individual-application": no "two_factor"/, 'says where and what');

	($status) = run('script/policy', 'check', "$dir/none.json");
	is($status, 2, 'check of a missing one');
	($status) = run('script/policy');
	is($status, 2, 'no arguments');
};

done_testing();
