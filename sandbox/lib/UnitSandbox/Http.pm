package UnitSandbox::Http;

# HTTP/1.0 and 1.1 over Mojo::IOLoop streams. Not Mojo::Server::Daemon, because
# that costs seven times the CPU per request, hides the raw request target, and
# cannot cut an answer in the middle, all of which this server is for.
#
# The handler gets a request hash and must call $req->{respond} exactly once,
# now or later; requests that were pipelined behind it wait.

use strict;
use warnings;

use Mojo::IOLoop;
use Scalar::Util ();
use UnitSandbox::Clock ();
use UnitSandbox::Error ();

use constant {
	MAX_HEAD => 65536,
	MAX_BODY => 22_000_000,
	BACKLOG => 4096,
	MAX_CLIENTS => 20000,
	SPARE_FILES => 30,
};

my %REASON = (
	200 => 'OK', 201 => 'Created', 204 => 'No Content', 400 => 'Bad Request', 401 => 'Unauthorized', 403 => 'Forbidden',
	404 => 'Not Found', 405 => 'Method Not Allowed', 408 => 'Request Timeout', 409 => 'Conflict', 413 => 'Payload Too Large',
	415 => 'Unsupported Media Type', 422 => 'Unprocessable Entity', 429 => 'Too Many Requests',
	431 => 'Request Header Fields Too Large', 500 => 'Internal Server Error', 502 => 'Bad Gateway',
	503 => 'Service Unavailable', 504 => 'Gateway Timeout',
);

# Returns the port. An inactivity timeout of 0 keeps idle connections for ever
# and saves the reactor one timer for each of them.
sub listen_on {
	my ($port, $handler) = @_;

	my $loop = Mojo::IOLoop->singleton;
	$loop->max_connections(_max_clients());
	my $id = $loop->server(
		{address => '127.0.0.1', port => $port, backlog => BACKLOG} => sub {
			my ($loop, $stream) = @_;
			$stream->timeout(0);
			_connection($stream, $handler);
		}
	);
	return $loop->acceptor($id)->port;
}

# As many as there are file descriptors for; beyond that accept() would fail and
# the reactor spin.
sub _max_clients {
	my $files = 1024;
	if (open my $fh, '<', '/proc/self/limits') {
		while (readline $fh) { $files = $1 if /\AMax open files\s+(\d+)/ }
	}
	return $files - SPARE_FILES < MAX_CLIENTS ? $files - SPARE_FILES : MAX_CLIENTS;
}

sub _connection {
	my ($stream, $handler) = @_;

	my $peer = getpeername $stream->handle;
	my $address = $peer ? Socket::inet_ntoa((Socket::unpack_sockaddr_in($peer))[1]) : 'unknown';
	my $c = {stream => $stream, address => $address, buffer => '', handler => $handler};
	$stream->on(
		read => sub {
			$c->{buffer} .= $_[1];
			_work($c) if !$c->{busy} && !$c->{closing};
		}
	);
	$stream->on(close => sub { delete $c->{stream} });
	$stream->on(error => sub { });
}

# Handles as many whole requests as the buffer holds.
sub _work {
	my ($c) = @_;

	return if $c->{working};
	local $c->{working} = 1;
	while (!$c->{busy} && !$c->{closing} && $c->{stream} && length $c->{buffer}) {
		my $req = $c->{request} || _head($c) or return;
		my $complete = _body($c, $req);
		return if !$complete;
		delete $c->{request};
		$c->{busy} = 1;
		$req->{respond} = sub { _respond($c, $req, @_) };
		next if eval { $c->{handler}->($req); 1 };
		warn "unit-sandbox: $@";
		_refuse($c, 500) if $req->{respond};
		delete $req->{respond};
	}
}

sub _head {
	my ($c) = @_;

	$c->{buffer} =~ s/\A(?:\r?\n)+//;
	my $end = index $c->{buffer}, "\r\n\r\n";
	if ($end < 0 || $end > MAX_HEAD) {
		_refuse($c, 431) if $end > MAX_HEAD || length $c->{buffer} > MAX_HEAD;
		return undef;
	}
	my $head = substr $c->{buffer}, 0, $end + 2;
	substr $c->{buffer}, 0, $end + 4, '';

	my ($method, $target, $minor) = $head =~ m{\A([!#\$%&'*+\-.^_`|~0-9A-Za-z]+) ([\x21-\x7e\x80-\xff]+) HTTP/1\.([01])\r\n}
		or return _refuse($c, 400);
	my ($fields, %count) = (fields($head));
	return _refuse($c, 400) if !$fields;
	my %h;
	for (my $i = 0; $i < @$fields; $i += 2) {
		my $name = $fields->[$i];
		$h{$name} = $count{$name}++ ? "$h{$name}, $fields->[$i + 1]" : $fields->[$i + 1];
	}

	my $req = {method => $method, target => $target, head => $head, h => \%h, body => '', address => $c->{address}};
	my $connection = lc($h{connection} // '');
	$req->{close} = $minor ? $connection =~ /\bclose\b/ : $connection !~ /\bkeep-alive\b/;
	$req->{minor} = $minor;
	if (defined(my $te = $h{'transfer-encoding'})) {
		return _refuse($c, 400) if lc $te ne 'chunked' || defined $h{'content-length'} || !$minor;
		$req->{chunked} = 1;
	}
	elsif (defined(my $length = $h{'content-length'})) {
		return _refuse($c, 400) if $length !~ /\A\d{1,15}\z/;
		return _refuse($c, 413) if $length > MAX_BODY;
		$req->{need} = $length;
	}
	if (lc($h{expect} // '') eq '100-continue' && ($req->{chunked} || $req->{need}) && !length $c->{buffer}) {
		$c->{stream}->write("HTTP/1.1 100 Continue\r\n\r\n");
	}
	return $c->{request} = $req;
}

# Header lines as [lower-case name, value, ...], undef if one is malformed.
sub fields {
	my ($head) = @_;

	my @lines = split /\r\n/, $head;
	shift @lines;
	my @fields;
	for (@lines) {
		/\A([!#\$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*(.*?)[ \t]*\z/s or return undef;
		push @fields, lc $1, $2;
	}
	return \@fields;
}

sub _body {
	my ($c, $req) = @_;

	return _chunks($c, $req) if $req->{chunked};
	return 1 if !$req->{need};
	return 0 if length $c->{buffer} < $req->{need};
	$req->{body} = substr $c->{buffer}, 0, $req->{need}, '';
	return 1;
}

sub _chunks {
	my ($c, $req) = @_;

	while (1) {
		if ($req->{trailers}) {
			if ($c->{buffer} =~ s/\A(?:[^\r\n]+\r\n)*\r\n//) { return 1 }
			_refuse($c, 400) if length $c->{buffer} > MAX_HEAD;
			return 0;
		}
		my ($line) = $c->{buffer} =~ /\A([^\r\n]{0,1024}\r\n)/;
		if (!defined $line) {
			_refuse($c, 400) if length $c->{buffer} > 1026;
			return 0;
		}
		my ($hex) = $line =~ /\A([0-9a-fA-F]{1,8})[ \t]*(?:;|\r)/;
		if (!defined $hex) { _refuse($c, 400); return 0 }
		my $size = hex $hex;
		if (length($req->{body}) + $size > MAX_BODY) { _refuse($c, 413); return 0 }
		if (!$size) {
			substr $c->{buffer}, 0, length $line, '';
			$req->{trailers} = 1;
			next;
		}
		return 0 if length $c->{buffer} < length($line) + $size + 2;
		substr $c->{buffer}, 0, length $line, '';
		$req->{body} .= substr $c->{buffer}, 0, $size, '';
		if (substr($c->{buffer}, 0, 2, '') ne "\r\n") { _refuse($c, 400); return 0 }
	}
}

# Malformed HTTP: answer and close; these are not API calls, so not journalled.
# Also the way out if the handler itself breaks.
sub _refuse {
	my ($c, $status) = @_;

	my $detail = $status < 500 ? 'The request is not acceptable HTTP.' : 'The sandbox is broken; see its standard error.';
	my $body = UnitSandbox::Error::error_body($status, undef, $detail);
	_send($c, _head_of($status, ['content-type' => 'application/vnd.api+json; charset=utf-8'], length $body, 1) . $body, 1);
	return undef;
}

# (status, body, headers) or ('drop'); headers is [name, value, ...];
# option truncate cuts the body but not its announced length.
sub _respond {
	my ($c, $req, $status, $body, $headers, %option) = @_;

	delete $req->{respond};
	$c->{busy} = 0;
	return if !$c->{stream};
	if ($status eq 'drop') {
		$c->{closing} = 1;
		return $c->{stream}->close;
	}
	my $cut = $option{truncate};
	my $bare = $status == 204 || $status == 304 || $status < 200;
	my $close = $req->{close} || defined $cut;
	my $out = _head_of($status, $headers, $bare ? undef : length $body, $close, $req->{minor});
	$body = substr $body, 0, $cut if defined $cut && $cut < length $body;
	$out .= $body if !$bare && $req->{method} ne 'HEAD';
	_send($c, $out, $close);
	_work($c) if length $c->{buffer};
}

sub _head_of {
	my ($status, $headers, $length, $close, $minor) = @_;

	my $out = "HTTP/1.1 $status " . ($REASON{$status} // 'Status') . "\r\nDate: " . UnitSandbox::Clock::http_date() . "\r\n";
	my %seen;
	for (my $i = 0; $i < @$headers; $i += 2) {
		$out .= "$headers->[$i]: $headers->[$i + 1]\r\n";
		$seen{lc $headers->[$i]} = 1;
	}
	$out .= "Content-Length: $length\r\n" if defined $length && !$seen{'content-length'} && !$seen{'transfer-encoding'};
	if (!$seen{connection}) {
		if ($close) { $out .= "Connection: close\r\n" }
		elsif (defined $minor && !$minor) { $out .= "Connection: keep-alive\r\n" }
	}
	return "$out\r\n";
}

# Straight to the socket when nothing is queued: one reactor turn less.
sub _send {
	my ($c, $out, $close) = @_;

	my $stream = $c->{stream} or return;
	if (!$stream->is_writing) {
		my $n = syswrite $stream->handle, $out;
		substr $out, 0, $n, '' if $n;
	}
	$stream->write($out) if length $out;
	if ($close) {
		$c->{closing} = 1;
		$stream->close_gracefully;
	}
}

1;
