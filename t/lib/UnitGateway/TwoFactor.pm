package UnitGateway::TwoFactor;

# The calls of a second factor, for tests. $who is a list of options of
# UnitGateway->request that say who asks.

use strict;
use warnings;

use Exporter 'import';

our @EXPORT_OK = qw(verification token begin handle finish step_up other_code);

# The two documents, from their attributes.
sub verification { return (json => {data => {type => 'customerTokenVerification', attributes => {@_}}}) }
sub token { return (json => {data => {type => 'customerToken', attributes => {@_}}}) }

# Asks for a code; the response.
sub begin {
	my ($t, $who, %attributes) = @_;
	return $t->post('/customers/me/token/verification', @$who, verification(channel => 'sms', %attributes));
}

# Asks for a code; the handle.
sub handle {
	my ($t, $who, %attributes) = @_;
	my $response = begin($t, $who, %attributes);
	return $response->json->{data}{attributes}{verificationToken} // die 'no handle: ' . $response->body . "\n";
}

# Asks for a token; the response.
sub finish {
	my ($t, $who, %attributes) = @_;
	return $t->post('/customers/me/token', @$who, token(%attributes));
}

# All of it, for the scopes; the last response.
sub step_up {
	my ($t, $who, $customer, $scope, %attributes) = @_;
	my $handle = handle($t, $who);
	return finish(
		$t, $who, scope => $scope, verificationToken => $handle, verificationCode => $t->sandbox->otp($customer)->{code},
		%attributes
	);
}

# A code that is not that one; the Nth of them. What was a string stays one.
sub other_code {
	my ($code, $n) = @_;
	return sprintf '%06d', 100_000 + ($code + ($n // 1)) % 800_000;
}

1;
