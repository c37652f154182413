package UnitSandbox::State;

# Everything that a reset sets back. The organisation's token, the limit and the
# key set are settings, not state.

use strict;
use warnings;

use UnitSandbox::Clock ();
use UnitSandbox::Counters ();
use UnitSandbox::Faults ();
use UnitSandbox::Idempotency ();
use UnitSandbox::Journal ();
use UnitSandbox::Model ();
use UnitSandbox::Otp ();
use UnitSandbox::Rate ();
use UnitSandbox::Seed ();
use UnitSandbox::Store ();
use UnitSandbox::Tokens ();

sub reset_all {
	UnitSandbox::Clock::reset_shift();
	UnitSandbox::Counters::clear();
	UnitSandbox::Faults::clear();
	UnitSandbox::Idempotency::clear();
	UnitSandbox::Journal::clear();
	UnitSandbox::Model::clear();
	UnitSandbox::Otp::clear();
	UnitSandbox::Rate::clear();
	UnitSandbox::Store::clear();
	UnitSandbox::Tokens::clear();
	UnitSandbox::Seed::plant();
}

# What nobody can ask for any more.
sub purge {
	UnitSandbox::Idempotency::purge();
	UnitSandbox::Otp::purge();
	UnitSandbox::Tokens::purge();
}

1;
