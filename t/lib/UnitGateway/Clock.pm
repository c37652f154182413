package UnitGateway::Clock;

# Moves the clocks of a test's nginx: the monotonic one, which all its lifetimes
# and intervals go by, and the time of day, which tokens go by; one stays as it
# is when the other is moved.
#
#	my $clock = UnitGateway::Clock->new;
#	my $t = UnitGateway->new(env => $clock->env);
#	$clock->advance(3600);
#	$clock->step(-3600);
#
# Needs a C compiler, as the build does.

use strict;
use warnings;

use Cwd ();
use Fcntl ':flock';
use File::Basename ();
use File::Temp ();

my $source = Cwd::abs_path(File::Basename::dirname(__FILE__) . '/../clock.c');

sub new {
	my ($class) = @_;

	my $self = bless {library => _library(), file => File::Temp->new, added => 0, stepped => 0}, $class;
	$self->advance(0);
	return $self;
}

# The environment of nginx. A sanitizer would rather be loaded first.
sub env {
	my ($self) = @_;
	return {
		LD_PRELOAD => $self->{library}, UNIT_TEST_CLOCK => $self->{file}->filename,
		ASAN_OPTIONS => 'detect_leaks=0:detect_odr_violation=0:abort_on_error=0:verify_asan_link_order=0',
	};
}

# nginx looks at its clock when something happens: a request is enough.
sub advance {
	my ($self, $seconds) = @_;

	$self->{added} += $seconds;
	$self->_write;
	return $self->{added};
}

# The time of day, forwards or backwards, as somebody sets the machine's clock.
sub step {
	my ($self, $seconds) = @_;

	$self->{stepped} += $seconds;
	$self->_write;
	return $self->{stepped};
}

sub _write {
	my ($self) = @_;

	sysseek $self->{file}, 0, 0;
	syswrite $self->{file}, pack 'qq', $self->{added}, $self->{stepped} or die "clock: $!";
}

sub _library {
	my $library = Cwd::abs_path($ENV{UNIT_BUILD} || 'build') . '/test-clock.so';
	open my $lock, '>', "$library.lock" or die "$library: $!\n";
	flock $lock, LOCK_EX or die "lock: $!\n";
	return $library if -s $library && -M $library < -M $source;
	system($ENV{CC} || 'cc', qw(-shared -fPIC -O1 -Wall -Wextra -o), "$library.new", $source, '-ldl') == 0
		or die "$source does not compile\n";
	rename "$library.new", $library or die "rename: $!\n";
	return $library;
}

1;
