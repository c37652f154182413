package UnitSandbox::Operations;

# Operation name to handler. What no module claims is answered plausibly.

use strict;
use warnings;

use UnitSandbox::Op::Accounts ();
use UnitSandbox::Op::Applications ();
use UnitSandbox::Op::Cards ();
use UnitSandbox::Op::Counterparties ();
use UnitSandbox::Op::CustomerTokens ();
use UnitSandbox::Op::Customers ();
use UnitSandbox::Op::Generic ();
use UnitSandbox::Op::Payments ();
use UnitSandbox::Op::ReadyToLaunch ();
use UnitSandbox::Op::Records ();
use UnitSandbox::Op::Simulations ();

my %handler = map { "UnitSandbox::Op::$_"->handlers } qw(
	Accounts Applications Cards Counterparties CustomerTokens
	Customers Payments ReadyToLaunch Records Simulations
);

sub handler { $handler{$_[0]} // \&UnitSandbox::Op::Generic::answer }

1;
