package UnitGateway::Process;

# One server process: started, signalled and reaped by its pid, never by name.
# Also wait_until(), the only way in which tests wait.

use strict;
use warnings;

use Exporter 'import';
use POSIX ();
use Time::HiRes ();

our @EXPORT_OK = qw(wait_until children);

# A machine or an nginx that is so many times slower gets so many times longer.
use constant SLOW => $ENV{UNIT_SLOW} || 1;

my %live;

# Servers may need more open files than a shell's default.
my @wrap = ('/bin/sh', '-c', 'ulimit -n "$(ulimit -Hn)" 2>/dev/null; exec "$@"', 'sh');

# name, command => [...], output => FILE (stdout and stderr), env => {...}
sub start {
	my ($class, %o) = @_;

	my $pid = fork // die "fork: $!";
	if (!$pid) {
		$SIG{$_} = 'DEFAULT' for qw(INT TERM HUP PIPE);
		@ENV{keys %{$o{env}}} = values %{$o{env}} if $o{env};
		open STDIN, '<', '/dev/null';
		open STDOUT, '>>', $o{output} and open STDERR, '>&', \*STDOUT
			and exec { $wrap[0] } @wrap, @{$o{command}};
		POSIX::_exit(127);
	}
	my $self = bless {name => $o{name}, pid => $pid, owner => $$}, $class;
	$live{$pid} = $self;
	return $self;
}

sub pid { $_[0]{pid} }

# True until it has ended; then status() has what wait(2) said.
sub alive {
	my ($self) = @_;

	return 0 if defined $self->{status};
	my $got = waitpid $self->{pid}, POSIX::WNOHANG();
	return 1 if $got == 0;
	$self->{status} = $got == $self->{pid} ? $? : -1;
	delete $live{$self->{pid}};
	return 0;
}

sub status { $_[0]{status} }

sub signal {
	my ($self, $signal) = @_;
	return $self->alive && kill $signal, $self->{pid};
}

# Sends the signal; false when it has not ended within the time.
sub stop {
	my ($self, $signal, $seconds) = @_;

	$self->signal($signal);
	return wait_until($seconds, sub { !$self->alive });
}

# The last resort when a test ends: the process and its children.
sub destroy {
	my ($self) = @_;

	return if !$self->alive;
	my @children = children($self->{pid});
	return if $self->stop(TERM => 5);
	kill KILL => $self->{pid}, grep { my $p = $_; grep { $_ == $p } @children } children($self->{pid});
	wait_until(5, sub { !$self->alive });
}

# wait_until(SECONDS, CODE): polls CODE until it is true; its value, or false
# when the time is over.
sub wait_until {
	my ($seconds, $code) = @_;

	my $end = Time::HiRes::clock_gettime(Time::HiRes::CLOCK_MONOTONIC()) + $seconds * SLOW;
	while (1) {
		my $value = $code->();
		return $value if $value;
		return $value if Time::HiRes::clock_gettime(Time::HiRes::CLOCK_MONOTONIC()) > $end;
		select undef, undef, undef, 0.005;
	}
}

# Pids of the children of a process.
sub children {
	my ($parent) = @_;

	my @pids;
	for my $file (glob '/proc/[0-9]*/stat') {
		open my $fh, '<', $file or next;
		my $line = <$fh> // next;
		my ($pid, $ppid) = $line =~ /\A(\d+) \(.*\) [A-Z] (\d+) /s or next;
		push @pids, $pid if $ppid == $parent;
	}
	return @pids;
}

END {
	my $status = $?;
	$_->destroy for grep { $_->{owner} == $$ } values %live;
	$? = $status;
}

1;
