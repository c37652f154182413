package UnitSandbox::App;

# One call from arrival to answer: journal, limit, faults, token, route, body,
# scope, idempotency, work.

use strict;
use warnings;

use Mojo::IOLoop;
use UnitSandbox::Control ();
use UnitSandbox::Counters qw(count);
use UnitSandbox::Error qw(fail error_body);
use UnitSandbox::Faults ();
use UnitSandbox::Idempotency ();
use UnitSandbox::Journal ();
use UnitSandbox::Json ();
use UnitSandbox::Operations ();
use UnitSandbox::Rate ();
use UnitSandbox::Request ();
use UnitSandbox::Routes ();
use UnitSandbox::Tokens ();

use constant JSON_API => 'application/vnd.api+json';

my @json_headers = ('Content-Type' => JSON_API . '; charset=utf-8');

# The handler of UnitSandbox::Http.
sub handle {
	my ($req) = @_;

	# The absolute form names the same resource.
	my ($target) = $req->{target} =~ m{\A(?:https?://[^/?]*)?(/.*)\z}s;
	if (defined $target && $target =~ m{\A/_sandbox(?:[/?]|\z)}) {
		return $req->{respond}->(UnitSandbox::Control::answer($req, $target));
	}
	my $entry = UnitSandbox::Journal::record($req);
	my $token = UnitSandbox::Tokens::lookup($req->{h}{authorization});
	_note_token($entry, $token);
	count('requests');

	if (!UnitSandbox::Rate::admit($req->{address})) {
		count('refused_429');
		return _finish($req, $entry, 429, error_body(429, 'rate_limit_exceeded', 'Too many requests, try again later.'));
	}
	my $fault = UnitSandbox::Faults::take($req->{method}, $req->{target});
	return _finish($req, $entry, _answer($req, $entry, $token, $target)) if !$fault;
	count('faults_used');
	return _with_fault($req, $entry, $token, $target, $fault) if !$fault->{delay_ms};
	Mojo::IOLoop->timer($fault->{delay_ms} / 1000 => sub { _with_fault($req, $entry, $token, $target, $fault) });
}

sub _note_token {
	my ($entry, $token) = @_;

	return if !$token;
	$entry->{kind} = $token->{kind};
	return if $token->{kind} ne 'customer';
	@{$entry}{qw(customer scopes verified)} = @{$token}{qw(customer scopes verified)};
}

sub _with_fault {
	my ($req, $entry, $token, $target, $fault) = @_;

	my $drop = $fault->{drop} // '';
	if ($drop eq 'before') {
		$entry->{status} = 0;
		count('dropped');
		return $req->{respond}->('drop');
	}
	my @answer = defined $fault->{status} ? UnitSandbox::Faults::answer($fault) : _answer($req, $entry, $token, $target);
	if ($drop eq 'after') {
		$entry->{status} = $answer[0] + 0;
		count('dropped');
		return $req->{respond}->('drop');
	}
	return _finish($req, $entry, @answer[0, 1], $answer[2], truncate => $fault->{truncate});
}

sub _finish {
	my ($req, $entry, $status, $body, $headers, %option) = @_;

	$entry->{status} = $status + 0;
	$headers //= length($body // '') ? \@json_headers : [];
	return $req->{respond}->($status, $body // '', $headers, %option);
}

# (status, body, headers or undef for JSON:API)
sub _answer {
	my ($req, $entry, $token, $target) = @_;

	my @answer = eval { _work($req, $entry, $token, $target) };
	return @answer if !$@;
	my $error = $@;
	return ($error->{status}, $error->body, [@json_headers, @{$error->{headers} // []}])
		if ref $error eq 'UnitSandbox::Error';
	warn "unit-sandbox: $req->{method} failed: $error";
	return (500, error_body(500, 'internal_error'));
}

sub _work {
	my ($req, $entry, $token, $target) = @_;

	fail(401, 'unauthorized', 'Bearer token missing, unknown, expired or revoked.') if !$token || $token->{dead};
	fail(404, 'not_found', 'No such path.') if !defined $target;
	my ($path, $query) = split /\?/, $target, 2;
	my ($methods, $values) = UnitSandbox::Routes::find($path);
	fail(404, 'not_found', 'No such path.') if !$methods;
	my $candidates = $methods->{$req->{method} eq 'HEAD' ? 'GET' : $req->{method}};
	fail(405, 'method_not_allowed', 'No such method here.', headers => [Allow => _allow($methods)]) if !$candidates;

	my $body = _body($req, $candidates);
	my $op = UnitSandbox::Routes::select_operation($candidates, $body);
	fail(400, 'invalid_value', 'No operation here takes such a body.', pointer => '/data/type') if !$op;
	$entry->{operation} = $op->{name};

	my %param;
	@param{@{$op->{names}}} = @$values;
	my $x = {req => $req, op => $op, param => \%param, body => $body, query => $query // '', token => $token};
	_authorise($x);
	_required_query($x) if $op->{query};
	return _perform($x);
}

sub _allow {
	my ($methods) = @_;
	return join ', ', sort(keys %$methods, $methods->{GET} ? 'HEAD' : ());
}

# The decoded JSON body, the raw one for uploads, undef if there is none.
sub _body {
	my ($req, $candidates) = @_;

	my $types = UnitSandbox::Routes::candidates_types($candidates);
	my ($type) = lc($req->{h}{'content-type'} // '') =~ m{\A\s*([^;\s]+)};
	$type //= '';
	my $empty = !length $req->{body};
	if (%$types) {
		fail(415, 'unsupported_media_type', 'Content-Type must be ' . join(' or ', sort keys %$types) . '.') if !$types->{$type};
		return $req->{body} if $type !~ /json\z/;
	}
	else {
		return undef if $empty || $req->{method} =~ /\A(?:GET|HEAD)\z/;
		fail(415, 'unsupported_media_type', 'Content-Type must be ' . JSON_API . '.') if $type ne JSON_API;
	}
	if ($empty) {
		return undef if !grep { $_->{match} } @$candidates;
		fail(400, 'invalid_value', 'The body is missing.');
	}
	my ($ok, $body) = UnitSandbox::Json::decode($req->{body});
	fail(400, 'invalid_value', $body) if !$ok;
	fail(400, 'invalid_value', 'The body must be a JSON object.') if ref $body ne 'HASH';
	return $body;
}

sub _authorise {
	my ($x) = @_;

	my ($op, $token) = @{$x}{qw(op token)};
	my $kind = $token->{kind};
	if ($kind eq 'org') {
		fail(403, 'forbidden', 'A customer token is required.') if $op->{token} eq 'customer';
		return;
	}
	# Minting is the organisation's, but for a customer token that was given
	# customer-token-write (the upgradableScope flow).
	my $upgrade = $op->{name} =~ /\Acreate-customer-token/ && $token->{has}{'customer-token-write'};
	fail(403, 'forbidden', 'An organisation token is required.') if $op->{token} eq 'org' && !$upgrade;
	my @scopes = @{$op->{scopes}};
	fail(403, 'forbidden', 'Scope ' . join(' or ', @scopes) . ' required.')
		if @scopes && !grep { $token->{has}{$_} } @scopes;
}

sub _required_query {
	my ($x) = @_;

	my $q = UnitSandbox::Request::query($x);
	return if grep { $q->{$_} && length $q->{$_}[0] } @{$x->{op}{query}};
	fail(400, 'invalid_value', 'One of ' . join(', ', @{$x->{op}{query}}) . ' is required.');
}

# Does the work at most once for one idempotency key. Operations with an array
# body look at the key of each element themselves.
sub _perform {
	my ($x) = @_;

	my $op = $x->{op};
	my $handler = UnitSandbox::Operations::handler($op->{name});
	my $key;
	if ($op->{idempotent} && ref $x->{body} eq 'HASH' && ref $x->{body}{data} eq 'HASH') {
		my $attributes = UnitSandbox::Request::attributes($x);
		$key = UnitSandbox::Idempotency::key_of($attributes, '/data/attributes/idempotencyKey');
		my $known = defined $key ? UnitSandbox::Idempotency::recall($op->{name}, $key) : undef;
		return @$known if $known;
	}
	my @answer = $handler->($x);
	UnitSandbox::Idempotency::remember($op->{name}, $key, \@answer) if defined $key && $answer[0] < 300;
	return @answer;
}

1;
