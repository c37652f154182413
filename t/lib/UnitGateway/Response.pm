package UnitGateway::Response;

# One HTTP response, parsed strictly: what a picky client would make of it.

use strict;
use warnings;

use parent 'UnitGateway::Headers';

use JSON::PP ();

# parse(BYTES, head => it answers a HEAD, eof => no more bytes will come)
# Returns nothing while bytes are missing, else the response and the number of
# bytes it took. After eof a response that is not whole is returned with cut().
sub parse {
	my ($class, $bytes, %o) = @_;

	my ($at, @interim) = (0);
	while (1) {
		my $end = index $bytes, "\r\n\r\n", $at;
		return if $end < 0;
		my $self = $class->_head(substr $bytes, $at, $end - $at);
		$at = $end + 4;
		if ($self->{status} < 200 && $self->{status} != 101) {
			push @interim, $self;
			next;
		}
		$self->{interim} = \@interim;
		my $took = $self->_body($bytes, $at, %o) // return;
		return ($self, $took);
	}
}

sub _head {
	my ($class, $text) = @_;

	my ($line, @lines) = split /\r\n/, $text, -1;
	my ($version, $status, $reason) = $line =~ m{\AHTTP/(\d(?:\.\d)?) (\d{3})(?: ([^\r\n]*))?\z}
		or die "bad status line: $line\n";
	my @headers;
	for (@lines) {
		/\A([!#\$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*([^\r\n\0]*?)[ \t]*\z/ or die "bad header line: $_\n";
		push @headers, [$1, $2];
	}
	return bless {
		version => $version, status => $status, reason => $reason // '', headers => \@headers,
		head => "$text\r\n\r\n", body => '',
	}, $class;
}

# Fills in the body; returns the offset after it, undef when it is not whole.
sub _body {
	my ($self, $bytes, $at, %o) = @_;

	return $at if $o{head} || $self->{status} =~ /\A(?:204|304)\z/;

	my @length = $self->headers('Content-Length');
	my @coding = $self->headers('Transfer-Encoding');
	die "both Content-Length and Transfer-Encoding\n" if @length && @coding;
	die "more than one Content-Length\n" if @length > 1;

	if (@coding) {
		die "unexpected Transfer-Encoding: @coding\n" if "@coding" ne 'chunked';
		my $end = $self->_chunks($bytes, $at);
		return $end if defined $end || !$o{eof};
	}
	elsif (@length) {
		die "bad Content-Length: $length[0]\n" if $length[0] !~ /\A\d+\z/;
		$self->{body} = substr $bytes, $at, $length[0];
		return $at + $length[0] if length $self->{body} == $length[0];
		return if !$o{eof};
	}
	else {
		$self->{body} = substr $bytes, $at;
		return $o{eof} ? length $bytes : undef;
	}
	$self->{cut} = 1;
	return length $bytes;
}

sub _chunks {
	my ($self, $bytes, $at) = @_;

	my $body = '';
	while (1) {
		$self->{body} = $body;
		my $end = index $bytes, "\r\n", $at;
		return if $end < 0;
		my $line = substr $bytes, $at, $end - $at;
		die "bad chunk size: $line\n" if $line !~ /\A[0-9a-fA-F]{1,8}\z/;
		my $size = hex $line;
		$at = $end + 2;
		return if length($bytes) < $at + $size + 2;
		die "chunk does not end where it says\n" if substr($bytes, $at + $size, 2) ne "\r\n";
		return $at + 2 if !$size;
		$body .= substr $bytes, $at, $size;
		$at += $size + 2;
	}
}

sub status { $_[0]{status} }
sub reason { $_[0]{reason} }
sub version { $_[0]{version} }
sub body { $_[0]{body} }
sub head { $_[0]{head} }
sub cut { $_[0]{cut} ? 1 : 0 }

# The 1xx responses that came before.
sub interim { @{$_[0]{interim} // []} }

# The names of all headers, in lower case, sorted.
sub header_names {
	my ($self) = @_;
	my %seen = map { lc $_->[0] => 1 } @{$self->{headers}};
	return sort keys %seen;
}

# The body as data; dies when it is not JSON.
sub json {
	my ($self) = @_;
	return JSON::PP->new->utf8->decode($self->{body});
}

# The code of the first error of a JSON:API document, or "".
sub code {
	my ($self) = @_;
	my $data = eval { $self->json };
	return ref $data eq 'HASH' && ref $data->{errors} eq 'ARRAY' && $data->{errors}[0]{code} // '';
}

1;
