package UnitGateway::Logs;

# The logs of one test, and what must be in none of them.

use strict;
use warnings;

use File::Basename ();
use JSON::PP ();
use UnitGateway::Process qw(wait_until);

# dir, files => [error, access and other logs by name]
sub new {
	my ($class, %o) = @_;
	return bless {dir => $o{dir}, from => 0, allow => [], secrets => []}, $class;
}

sub _read {
	my ($self, $name, $from) = @_;

	open my $fh, '<:raw', "$self->{dir}/$name" or return '';
	seek $fh, $from // 0, 0;
	local $/;
	return <$fh> // '';
}

# The error log since the last mark().
sub error { $_[0]->_read('error.log', $_[0]{from}) }

# Error log readers see only what comes after this.
sub mark {
	my ($self) = @_;
	$self->{from} = -s "$self->{dir}/error.log" || 0;
}

# Waits until the error log since the last mark has a match; false if it never
# has.
sub wait_error {
	my ($self, $regex, $seconds) = @_;
	return wait_until($seconds // 10, sub { $self->error =~ $regex });
}

# The access log as a list of hashes; dies when a line is not JSON.
sub access {
	my ($self) = @_;
	my $text = $self->_read('access.log');
	$text =~ s/[^\n]+\z//;
	return map { JSON::PP->new->utf8->decode($_) } split /\n/, $text;
}

# nginx logs after it has answered: waits until CODE is true for a line, with
# the line in $_, and returns that line, or undef when none comes.
sub wait_access {
	my ($self, $code, $seconds) = @_;
	return wait_until($seconds // 10, sub {
		for my $line ($self->access) {
			local $_ = $line;
			return $line if $code->($line);
		}
		return undef;
	});
}

# Lines of this kind in the error log are wanted, at whatever level.
sub allow {
	my ($self, @regexes) = @_;
	push @{$self->{allow}}, @regexes;
}

# Texts that must be in no log.
sub secret {
	my ($self, @texts) = @_;
	push @{$self->{secrets}}, @texts;
}

# What is wrong: a list of [name, lines]; empty lists of lines are what we want.
sub problems {
	my ($self) = @_;

	my $all = join '', map { $self->_read($_) } qw(error.log nginx.out);
	my @error = grep { my $l = $_; !grep { $l =~ $_ } @{$self->{allow}} } split /\n/, $all;
	my @secrets = map { quotemeta } @{$self->{secrets}};
	my $secret = join '|', 'v2\.public\.', 'eyJ[\w-]{8,}\.[\w-]{8,}', @secrets;
	my @texts = map { my $name = $_; map { "$name: $_" } split /\n/, $self->_read($name) }
		qw(error.log access.log nginx.out);

	my @reports = grep { /Sanitizer|runtime error:|SUMMARY: / } split /\n/, $all;
	# valgrind counts as one
	push @reports, map { split /\n/, $self->_read(File::Basename::basename($_)) } glob "$self->{dir}/valgrind.*";
	_record(@reports);

	return (
		['no alert or emergency in the error log', grep { /\[(?:alert|emerg)\]/ } @error],
		['no sanitizer report', @reports],
		['no worker ended by a signal', grep { /exited on signal/ } @error],
		['no socket left open', grep { /open socket #?\d* ?left/ } split /\n/, $all],
		['no secret in a log', map { "secret matched in $_" } grep { /$secret/ } @texts],
	);
}

# For script/test --sanitize: where a report counts even if the test that has
# seen it is run again.
sub _record {
	my (@lines) = @_;

	return if !@lines || !$ENV{UNIT_REPORTS};
	open my $fh, '>>', $ENV{UNIT_REPORTS} or die "$ENV{UNIT_REPORTS}: $!";
	print {$fh} join('', map { "$0: $_\n" } @lines);
	close $fh or die "$ENV{UNIT_REPORTS}: $!";
}

1;
