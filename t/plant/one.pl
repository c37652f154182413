#!/usr/bin/perl

# A test that makes one planted mistake happen, or none: see plant.t.

use strict;
use warnings;

use Test::More;
use UnitGateway;

my ($mistake) = @ARGV;

my $t = UnitGateway->new(sandbox => 0, server => 'location = /plant { unit_plant; }');
$t->start;
my $response = eval { $t->get("/plant?$mistake") };
note $response ? $response->status : "no answer: $@";
$t->done;
