package UnitSandbox::Operations;

# Operation name to handler. What no module claims is answered plausibly.

use strict;
use warnings;

use UnitSandbox::Op::Accounts ();
use UnitSandbox::Op::CustomerTokens ();
use UnitSandbox::Op::Customers ();
use UnitSandbox::Op::Generic ();

my %handler = map { $_->handlers } qw(
	UnitSandbox::Op::Accounts UnitSandbox::Op::CustomerTokens UnitSandbox::Op::Customers
);

sub handler { $handler{$_[0]} // \&UnitSandbox::Op::Generic::answer }

sub claimed { $handler{$_[0]} }

1;
