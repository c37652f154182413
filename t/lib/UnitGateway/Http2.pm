package UnitGateway::Http2;

# One raw HTTP/2 connection without TLS. A test sends whole requests, or single
# frames of any content; a peer's error is what response() or goaway() tell.

use strict;
use warnings;

use UnitGateway::Client ();
use UnitGateway::Hpack ();
use UnitGateway::Response ();

use constant {
	DATA => 0, HEADERS => 1, RST_STREAM => 3, SETTINGS => 4, PING => 6, GOAWAY => 7, WINDOW_UPDATE => 8,
	CONTINUATION => 9,
	END_STREAM => 1, ACK => 1, END_HEADERS => 4,
	WINDOW => 65535, MAX_WINDOW => 0x7fffffff, MAX_FRAME => 16384,
};

# port, timeout => 10
sub new {
	my ($class, %o) = @_;

	my $self = bless {
		client => UnitGateway::Client->new(%o), next => 1, window => WINDOW, stream_window => WINDOW, stream => {},
	}, $class;
	# no dynamic table, no push, and room for any answer
	$self->{client}->send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
	$self->frame(SETTINGS, 0, 0, pack 'nNnNnN', 1, 0, 2, 0, 4, MAX_WINDOW);
	$self->frame(WINDOW_UPDATE, 0, 0, pack 'N', MAX_WINDOW - WINDOW);
	return $self;
}

sub client { $_[0]{client} }
sub close { $_[0]{client}->close }

# Sends one frame; false when the peer has closed.
sub frame {
	my ($self, $type, $flags, $stream, $payload) = @_;
	return $self->{client}->send(pack('xnCCN', length $payload, $type, $flags, $stream) . $payload)
		if length $payload < 65536;
	die "frame too long\n";
}

# Opens a stream: headers are [NAME, VALUE]..., the pseudo ones included and
# first. end => 1 without a body. Returns its number.
sub open {
	my ($self, $headers, %o) = @_;

	my $id = $self->{next};
	$self->{next} += 2;
	$self->{stream}{$id} = {window => $self->{stream_window}, body => ''};
	my $block = UnitGateway::Hpack::encode(@$headers);
	my ($type, $flags) = (HEADERS, $o{end} ? END_STREAM : 0);
	while (length $block > MAX_FRAME) {
		$self->frame($type, $flags, $id, substr $block, 0, MAX_FRAME, '');
		($type, $flags) = (CONTINUATION, 0);
	}
	$self->frame($type, $flags | END_HEADERS, $id, $block);
	return $id;
}

# Sends data within the windows of the peer; false when it wants no more.
sub data {
	my ($self, $id, $bytes, %o) = @_;

	my $stream = $self->{stream}{$id};
	while (1) {
		my $n = length $bytes;
		for ($self->{window}, $stream->{window}, MAX_FRAME) {
			$n = $_ if $_ < $n;
		}
		if ($n > 0 || !length $bytes) {
			my $last = $n == length $bytes;
			$self->frame(DATA, $last && $o{end} ? END_STREAM : 0, $id, substr $bytes, 0, $n, '') or return 0;
			$self->{window} -= $n;
			$stream->{window} -= $n;
			return 1 if $last;
			next;
		}
		return 0 if $stream->{ended};
		$self->_receive or return 0;
	}
}

# Forgets the rest of a stream; 8 is CANCEL.
sub reset {
	my ($self, $id, $code) = @_;
	return $self->frame(RST_STREAM, 0, $id, pack 'N', $code // 8);
}

# The response of a stream. Dies when the stream or the connection ends without
# one; cut => 1 returns what there is of one.
sub response {
	my ($self, $id, %o) = @_;

	my $stream = $self->{stream}{$id};
	until ($stream->{ended}) {
		$self->_receive or last;
	}
	my $response = $stream->{response};
	if (!$response || !$stream->{whole} && !$o{cut}) {
		die 'no whole response: ' . (defined $stream->{reset} ? "stream reset with code $stream->{reset}"
			: defined $self->{goaway} ? "connection ended with code $self->{goaway}" : 'connection closed') . "\n";
	}
	$response->{body} = $stream->{body};
	$response->{cut} = !$stream->{whole};
	return $response;
}

# The code of the reset that a stream ended with, or undef.
sub reset_code { $_[0]{stream}{$_[1]}{reset} }

# Waits for the end of the connection: the code of the GOAWAY frame, or undef
# when it is closed without one.
sub goaway {
	my ($self) = @_;
	1 while !defined $self->{goaway} && $self->_receive;
	return $self->{goaway};
}

# Takes the next frame; false at the end of the connection.
sub _receive {
	my ($self) = @_;

	my $head = $self->{client}->take(9) // return 0;
	my ($high, $low, $type, $flags, $id) = unpack 'CnCCN', $head;
	my $payload = $self->{client}->take($high << 16 | $low) // return 0;
	my $stream = $self->{stream}{$id};

	if ($type == SETTINGS && !($flags & ACK)) {
		$self->_settings($payload);
		$self->frame(SETTINGS, ACK, 0, '');
	}
	elsif ($type == PING && !($flags & ACK)) {
		$self->frame(PING, ACK, 0, $payload);
	}
	elsif ($type == GOAWAY) {
		(undef, $self->{goaway}) = unpack 'NN', $payload;
	}
	elsif ($type == WINDOW_UPDATE) {
		${$stream ? \$stream->{window} : \$self->{window}} += unpack 'N', $payload if $stream || !$id;
	}
	elsif ($stream) {
		$self->_stream($stream, $type, $flags, $payload);
	}
	return 1;
}

sub _settings {
	my ($self, $payload) = @_;

	my %value = unpack '(nN)*', $payload;
	return if !defined $value{4};
	$_->{window} += $value{4} - $self->{stream_window} for values %{$self->{stream}};
	$self->{stream_window} = $value{4};
}

sub _stream {
	my ($self, $stream, $type, $flags, $payload) = @_;

	die "frame after the end of a stream\n" if $stream->{ended} && $type != RST_STREAM;
	if ($type == HEADERS || $type == CONTINUATION) {
		die "padding or priority in a response\n" if $type == HEADERS && $flags & 0x28;
		$stream->{block} .= $payload;
		$stream->{last} = 1 if $type == HEADERS && $flags & END_STREAM;
		if ($flags & END_HEADERS) {
			_headers($stream, UnitGateway::Hpack::decode(delete $stream->{block}));
			$stream->{ended} = $stream->{whole} = 1 if $stream->{last};
		}
	}
	elsif ($type == DATA) {
		die "padding in a response\n" if $flags & 8;
		die "data before headers\n" if !$stream->{response};
		$stream->{body} .= $payload;
		$stream->{ended} = $stream->{whole} = 1 if $flags & END_STREAM;
	}
	elsif ($type == RST_STREAM) {
		$stream->{reset} = unpack 'N', $payload;
		$stream->{ended} = 1;
	}
}

sub _headers {
	my ($stream, @headers) = @_;

	return if $stream->{response};	# trailers
	my ($status) = map { $_->[1] } grep { $_->[0] eq ':status' } @headers;
	die "no status\n" if !defined $status || $status !~ /\A\d{3}\z/;
	my $response = bless {
		version => '2', status => $status, reason => '', body => '', interim => $stream->{interim} //= [],
		headers => [grep { $_->[0] !~ /\A:/ } @headers], head => join('', map { "$_->[0]: $_->[1]\r\n" } @headers) . "\r\n",
	}, 'UnitGateway::Response';
	if ($status < 200) {
		push @{$stream->{interim}}, $response;
		return;
	}
	$stream->{response} = $response;
}

1;
