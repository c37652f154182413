package UnitSandbox::Journal;

# Every call the sandbox got, in order of arrival. Heads and bodies are kept as
# they came and are taken apart when somebody reads the journal.

use strict;
use warnings;

use UnitSandbox::Clock ();
use UnitSandbox::Http ();
use UnitSandbox::Json ();

use constant {
	MAX_ENTRIES => 200_000,
	MAX_BYTES => 256 * 1024 * 1024,
};

my (@entries, $bytes, $n);
clear();

sub clear {
	@entries = ();
	($bytes, $n) = (0, 0);
}

# A new entry; the caller fills in status, kind, customer, scopes and verified.
# Status stays undefined (null) while the call is being worked on.
sub record {
	my ($req) = @_;

	my ($path, $query) = split /\?/, $req->{target}, 2;
	my $entry = {
		n => ++$n, at_ms => UnitSandbox::Clock::wall_ms(), method => $req->{method}, path => $path, query => $query // '',
		head => $req->{head}, body => $req->{body}, kind => 'none',
	};
	push @entries, $entry;
	$bytes += 1000 + length($req->{head}) + length $req->{body};
	while (@entries > MAX_ENTRIES || $bytes > MAX_BYTES && @entries > 1) {
		my $old = shift @entries;
		$bytes -= 1000 + length($old->{head}) + length $old->{body};
	}
	return $entry;
}

# JSON array (bytes) of the entries after number $since.
sub as_json {
	my ($since, $limit) = @_;

	return '[]' if !@entries;
	my $from = $since + 1 - $entries[0]{n};
	$from = 0 if $from < 0;
	my $to = $#entries;
	$to = $from + $limit - 1 if defined $limit && $from + $limit - 1 < $to;
	return '[' . join(',', map { _entry($entries[$_]) } $from .. $to) . ']';
}

# Put together by hand: a load test reads hundreds of thousands of these.
sub _entry {
	my ($e) = @_;

	my $fields = UnitSandbox::Http::fields($e->{head});
	my (%headers, @names);
	for (my $i = 0; $i < @$fields; $i += 2) {
		my ($name, $value) = @{$fields}[$i, $i + 1];
		if (exists $headers{$name}) { $headers{$name} .= ", $value" }
		else {
			$headers{$name} = $value;
			push @names, $name;
		}
	}
	my $text = qq({"n":$e->{n},"at_ms":$e->{at_ms},"method":) . _quoted($e->{method})
		. ',"path":' . _quoted($e->{path}) . ',"query":' . _quoted($e->{query})
		. ',"headers":{' . join(',', map { _quoted($_) . ':' . _quoted($headers{$_}) } @names) . '}'
		. ',"body":' . _quoted($e->{body}) . ',"status":' . ($e->{status} // 'null') . qq(,"token_kind":"$e->{kind}")
		. ',"customer":' . _quoted($e->{customer}) . ',"scopes":[' . join(',', map { _quoted($_) } @{$e->{scopes} // []}) . ']'
		. ',"verified":' . ($e->{verified} ? 'true' : 'false') . ',"operation":' . _quoted($e->{operation}) . '}';
	utf8::encode($text);
	return $text;
}

sub _quoted { defined $_[0] ? UnitSandbox::Json::quote(_text($_[0])) : 'null' }

# Bytes as characters: UTF-8 where it is, Latin-1 otherwise.
sub _text {
	my ($bytes) = @_;
	return $bytes if $bytes !~ /[\x80-\xff]/;
	my $copy = $bytes;
	return utf8::decode($copy) ? $copy : $bytes;
}

1;
