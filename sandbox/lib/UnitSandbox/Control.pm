package UnitSandbox::Control;

# /_sandbox: what tests use to look inside and to cause trouble. No token, not
# counted, not journalled, not limited.

use strict;
use warnings;

use UnitSandbox::Clock ();
use UnitSandbox::Counters ();
use UnitSandbox::Faults ();
use UnitSandbox::Json ();
use UnitSandbox::Journal ();
use UnitSandbox::Otp ();
use UnitSandbox::Rate ();
use UnitSandbox::Seed ();
use UnitSandbox::State ();
use UnitSandbox::Store ();
use UnitSandbox::Tokens ();

use constant MAX_CUSTOMERS => 100_000;

my @headers = ('Content-Type' => 'application/json');
my %call = (
	'GET journal' => \&_journal,
	'GET counters' => sub { _json(200, {%{UnitSandbox::Counters::as_data()}}) },
	'GET faults' => sub { _json(200, UnitSandbox::Faults::as_data()) },
	'POST faults' => \&_add_fault,
	'DELETE faults' => sub { UnitSandbox::Faults::clear(); _json(200, {ok => \1}) },
	'POST customers' => \&_customers,
	'POST revoke' => \&_revoke,
	'POST expire' => \&_expire,
	'POST clock' => \&_clock,
	'POST limit' => \&_limit,
	'POST reset' => sub { UnitSandbox::State::reset_all(); _json(200, {ok => \1}) },
);

# (status, body, headers) for HTTP.
sub answer {
	my ($req, $target) = @_;

	my ($path, $query) = split /\?/, $target, 2;
	my $name = $path =~ m{\A/_sandbox/(.+)\z}s ? $1 : '';
	my $method = $req->{method} eq 'HEAD' ? 'GET' : $req->{method};
	return _otp($1) if $method eq 'GET' && $name =~ m{\Aotp/([^/]+)\z};
	my $sub = $call{"$method $name"};
	if (!$sub) {
		return _problem(405, 'No such method here.') if grep { / \Q$name\E\z/ } keys %call;
		return _problem(404, 'No such control call.');
	}
	my $body = {};
	if (length $req->{body}) {
		(my $ok, $body) = UnitSandbox::Json::decode($req->{body});
		return _problem(400, $body) if !$ok;
		return _problem(400, 'The body must be a JSON object.') if ref $body ne 'HASH';
	}
	return $sub->($body, $query // '');
}

sub _json {
	my ($status, $value) = @_;
	return ($status, UnitSandbox::Json::encode($value), \@headers);
}

sub _problem {
	my ($status, $text) = @_;
	return _json($status, {error => $text});
}

sub _journal {
	my ($body, $query) = @_;

	my ($since) = $query =~ /(?:\A|&)since=(\d{1,12})(?:&|\z)/;
	my ($limit) = $query =~ /(?:\A|&)limit=(\d{1,9})(?:&|\z)/;
	return (200, UnitSandbox::Journal::as_json($since // 0, $limit), \@headers);
}

sub _otp {
	my ($customer) = @_;

	my $otp = UnitSandbox::Otp::last_of($customer);
	return $otp ? _json(200, $otp) : _problem(404, 'No verification was started for this customer.');
}

sub _add_fault {
	my ($body) = @_;

	my $problem = UnitSandbox::Faults::add($body);
	return defined $problem ? _problem(400, $problem) : _json(201, {ok => \1});
}

sub _customers {
	my ($body) = @_;

	my $count = $body->{count} // 1;
	return _problem(400, 'count must be 1 to ' . MAX_CUSTOMERS . '.')
		if ref $count || $count !~ /\A\d{1,6}\z/ || $count < 1 || $count > MAX_CUSTOMERS;
	UnitSandbox::Counters::count('customers_created', $count);
	return _json(201, UnitSandbox::Seed::plant_many($count));
}

sub _known_customer {
	my ($body) = @_;
	my $id = $body->{customerId};
	return defined $id && !ref $id && UnitSandbox::Store::get('customer', $id) ? "$id" : undef;
}

sub _revoke {
	my ($body) = @_;

	my $id = _known_customer($body) // return _problem(404, 'No such customer.');
	return _json(200, {tokens => UnitSandbox::Tokens::revoke($id)});
}

sub _expire {
	my ($body) = @_;

	my $id = _known_customer($body) // return _problem(404, 'No such customer.');
	my $seconds = $body->{seconds} // 0;
	return _problem(400, 'seconds must be a number.') if ref $seconds || $seconds !~ /\A-?\d{1,9}(?:\.\d+)?\z/;
	return _json(200, {tokens => UnitSandbox::Tokens::expire($id, $seconds)});
}

sub _clock {
	my ($body) = @_;

	my $advance = $body->{advance} // 0;
	return _problem(400, 'advance must be a number of seconds.') if ref $advance || $advance !~ /\A\d{1,9}(?:\.\d+)?\z/;
	UnitSandbox::Clock::advance($advance);
	return _json(200, {now => UnitSandbox::Clock::iso()});
}

sub _limit {
	my ($body) = @_;

	my $limit = $body->{limit} // '';
	return _problem(400, 'limit must be a whole number or "off".') if ref $limit || $limit !~ /\A(?:off|[1-9]\d{0,8})\z/;
	UnitSandbox::Rate::set_limit($limit);
	return _json(200, {limit => $limit});
}

1;
