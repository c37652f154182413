package UnitSandbox::Error;

# JSON:API error documents. Handlers stop with fail(); the dispatcher catches it.

use strict;
use warnings;

use Exporter 'import';
use UnitSandbox::Json ();

our @EXPORT_OK = qw(fail invalid not_found error_body);

my %TITLE = (
	400 => 'Bad Request', 401 => 'Unauthorized', 403 => 'Forbidden', 404 => 'Not Found', 405 => 'Method Not Allowed',
	408 => 'Request Timeout', 409 => 'Conflict', 413 => 'Payload Too Large', 415 => 'Unsupported Media Type',
	422 => 'Unprocessable Entity', 429 => 'Too Many Requests', 431 => 'Request Header Fields Too Large',
	500 => 'Internal Server Error', 501 => 'Not Implemented', 502 => 'Bad Gateway', 503 => 'Service Unavailable',
	504 => 'Gateway Timeout',
);
my %CODE = (400 => 'invalid_value', 401 => 'unauthorized', 403 => 'forbidden', 404 => 'not_found');

sub new {
	my ($class, %self) = @_;
	return bless \%self, $class;
}

sub fail {
	my ($status, $code, $detail, %more) = @_;
	die __PACKAGE__->new(status => $status, code => $code, detail => $detail, %more);
}

# 400 about one member of the body.
sub invalid {
	my ($pointer, $detail) = @_;
	fail(400, 'invalid_value', $detail, pointer => $pointer);
}

sub not_found {
	my ($what, $id) = @_;
	fail(404, 'not_found', "$what $id does not exist.");
}

sub body {
	my ($self) = @_;
	return error_body(@{$self}{qw(status code detail pointer meta)});
}

sub error_body {
	my ($status, $code, $detail, $pointer, $meta) = @_;

	my %error = (status => "$status", title => $TITLE{$status} // ($status < 500 ? 'Bad Request' : 'Server Error'));
	$error{code} = $code if defined($code //= $CODE{$status});
	$error{detail} = $detail if defined $detail;
	$error{source} = {pointer => $pointer} if defined $pointer;
	$error{meta} = $meta if $meta;
	return UnitSandbox::Json::encode({errors => [\%error]});
}

1;
