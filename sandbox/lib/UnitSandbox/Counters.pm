package UnitSandbox::Counters;

use strict;
use warnings;

use Exporter 'import';

our @EXPORT_OK = qw(count);

my @NAMES = qw(
	requests refused_429 faults_used dropped tokens_minted mints_refused verifications payments_created
	payments_rejected cards_created accounts_created counterparties_created fees_created applications_created
	customers_created idempotency_replays
);
my %value;
clear();

sub clear { %value = map { $_ => 0 } @NAMES }

sub count { $value{$_[0]} += $_[1] // 1 }

sub as_data { \%value }

1;
