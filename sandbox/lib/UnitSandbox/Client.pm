package UnitSandbox::Client;

# For tests: starts a sandbox of its own on a free port, talks to it, ends it.
# Core Perl only.

use strict;
use warnings;

use File::Basename ();
use File::Spec ();
use File::Temp ();
use IO::Socket::INET ();
use JSON::PP ();
use Socket ();

use constant JSON_API => 'application/vnd.api+json';

my $json = JSON::PP->new->utf8->canonical;
my $program = File::Spec->catfile(File::Basename::dirname(File::Spec->rel2abs(__FILE__)), '../..', 'unit-sandbox');

# Options: limit (default off), jwks, org_token.
sub start {
	my ($class, %option) = @_;

	my $dir = File::Temp->newdir;
	my $org = $option{org_token} // 'v2.public.test-org-token';
	my $self = bless {dir => $dir, owner => $$, org => $org, org_file => "$dir/org"}, $class;
	$self->write_org_token($self->{org});
	my @args = ('--port', 0, '--limit', $option{limit} // 'off', '--org-token-file', $self->{org_file});
	push @args, '--jwks', $option{jwks} if $option{jwks};
	$self->{pid} = open $self->{out}, '-|', $^X, $program, @args or die "cannot start the sandbox: $!\n";
	my $line = readline $self->{out};
	die "the sandbox did not start\n" if !defined $line || $line !~ /\Alistening on 127\.0\.0\.1:(\d+)\n\z/;
	$self->{port} = $1;
	return $self;
}

sub base { "http://127.0.0.1:$_[0]{port}" }

sub pid { $_[0]{pid} }

sub write_org_token {
	my ($self, $token) = @_;

	open my $fh, '>', "$self->{org_file}.new" or die "cannot write: $!\n";
	print $fh "$token\n";
	close $fh or die "cannot write: $!\n";
	rename "$self->{org_file}.new", $self->{org_file} or die "cannot rename: $!\n";
}

# {status, headers, content, data (decoded)}. The body may be data or text;
# option type replaces the Content-Type, undef leaves it out.
sub call {
	my ($self, $token, $method, $path, $body, %option) = @_;

	my %headers = %{$option{headers} // {}};
	$headers{Authorization} = "Bearer $token" if defined $token;
	my $type = exists $option{type} ? $option{type} : defined $body ? JSON_API : undef;
	$headers{'Content-Type'} = $type if defined $type;
	return $self->request($method, $path, \%headers, ref $body ? $json->encode($body) : $body);
}

# One request on a kept connection, in one write (two would wait for each other
# under Nagle's algorithm). Status 599 if the connection broke.
sub request {
	my ($self, $method, $path, $headers, $body) = @_;

	my $out = "$method $path HTTP/1.1\r\nHost: 127.0.0.1\r\n" . join '', map { "$_: $headers->{$_}\r\n" } sort keys %$headers;
	$out .= 'Content-Length: ' . length($body) . "\r\n" if defined $body;
	my $socket = $self->{socket} //= $self->socket;
	syswrite $socket, "$out\r\n" . ($body // '');
	my $r = read_response($socket, $method);
	delete $self->{socket} if $r->{status} == 599 || ($r->{headers}{connection} // '') eq 'close';
	$r->{data} = eval { $json->decode($r->{content}) } if ($r->{headers}{'content-type'} // '') =~ /json/;
	return $r;
}

# One response; a body shorter than announced is marked "cut".
sub read_response {
	my ($socket, $method) = @_;

	local $SIG{ALRM} = sub { die "no answer from the sandbox\n" };
	alarm 30;
	my $in = '';
	while ($in !~ /\r\n\r\n/) {
		my $n = sysread $socket, $in, 65536, length $in;
		if (!$n) { alarm 0; return {status => 599, headers => {}, content => $in} }
	}
	my ($head, $content) = split /\r\n\r\n/, $in, 2;
	my ($line, @lines) = split /\r\n/, $head;
	my ($status) = $line =~ m{\AHTTP/1\.1 (\d{3}) } or die "not HTTP: $line\n";
	my %headers;
	for (@lines) {
		my ($name, $value) = split /: */, $_, 2;
		push @{$headers{lc $name}}, $value;
	}
	$_ = join ', ', @$_ for values %headers;
	my %r = (status => $status + 0, headers => \%headers);
	my $length = $method eq 'HEAD' ? 0 : $headers{'content-length'} // 0;
	while (length $content < $length) {
		sysread $socket, $content, 65536, length $content or $r{cut} = 1, last;
	}
	alarm 0;
	$r{content} = $content;
	return \%r;
}

sub org {
	my ($self, @rest) = @_;
	return $self->call($self->{org}, @rest);
}

# A control call; its decoded answer.
sub control {
	my ($self, $method, $name, $body) = @_;

	my $r = $self->request($method, "/_sandbox/$name", {}, defined $body ? $json->encode($body) : undef);
	die "/_sandbox/$name: $r->{status} $r->{content}\n" if $r->{status} > 299;
	return $r->{data};
}

sub journal {
	my ($self, $since) = @_;
	return $self->control(GET => 'journal?since=' . ($since // 0));
}

sub counter { $_[0]->control(GET => 'counters')->{$_[1]} }

# A resource object in a document. Relationships are [type, id].
sub doc {
	my ($type, $attributes, %relationships) = @_;

	my %data = (type => $type, attributes => $attributes // {});
	$data{relationships}{$_} = {data => {type => $relationships{$_}[0], id => $relationships{$_}[1]}} for keys %relationships;
	return {data => \%data};
}

# A customer token; with a verification if scopes are sensitive.
sub token {
	my ($self, $customer, $scope, %more) = @_;

	my $r = $self->org(POST => "/customers/$customer/token", doc('customerToken', {scope => $scope, %more}));
	die "no token: $r->{status} $r->{content}\n" if $r->{status} != 201;
	return $r->{data}{data}{attributes}{token};
}

sub verified_token {
	my ($self, $customer, $scope) = @_;
	return $self->token($customer, $scope, verificationCode => '000001');
}

# A connected socket, for what no client library would send.
sub socket {
	my ($self, %option) = @_;
	my $socket = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $self->{port}, Timeout => 10, %option)
		or die "cannot connect: $!\n";
	setsockopt $socket, Socket::IPPROTO_TCP, Socket::TCP_NODELAY, 1;
	return $socket;
}

# Sends the bytes and reads until the sandbox closes.
sub raw {
	my ($self, $bytes) = @_;

	my $socket = $self->socket;
	local $SIG{ALRM} = sub { die "the sandbox did not close the connection\n" };
	alarm 20;
	syswrite $socket, $bytes;
	my $all = '';
	1 while sysread $socket, $all, 65536, length $all;
	alarm 0;
	return $all;
}

# Ends it; its exit status.
sub stop {
	my ($self, $signal) = @_;

	my $pid = delete $self->{pid} or return undef;
	kill $signal // 'TERM', $pid;
	local $SIG{ALRM} = sub { kill 'KILL', $pid };
	alarm 20;
	close $self->{out};
	alarm 0;
	return $?;
}

sub DESTROY {
	my ($self) = @_;
	local ($?, $!);
	$self->stop if $self->{owner} == $$;
}

1;
