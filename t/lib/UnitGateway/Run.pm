package UnitGateway::Run;

# script/run in a directory of its own and on free ports; stops it at the end.

use strict;
use warnings;

use File::Temp ();
use UnitGateway::Port ();
use UnitGateway::Sandbox ();

my %open;

# start(NAME => VALUE...): environment variables for script/run. Dies when it
# does not start.
sub start {
	my ($class, %env) = @_;

	my $dir = File::Temp::tempdir('unit-run-XXXXXX', TMPDIR => 1, CLEANUP => 1);
	my %port = map { $_ => UnitGateway::Port->new } qw(GATEWAY_PORT SANDBOX_PORT);
	my $self = bless {
		dir => "$dir/run", port => \%port, pid => $$,
		env => {UNIT_RUN_DIR => "$dir/run", (map { $_ => $port{$_}->number } keys %port), %env},
	}, $class;
	$open{$self} = $self;
	$self->{printed} = $self->command('--detach') // die "script/run: $self->{output}\n";
	return $self;
}

sub dir { $_[0]{dir} }
sub port { $_[0]{port}{GATEWAY_PORT}->number }
sub base { 'http://127.0.0.1:' . $_[0]->port }

# What it has said at the start.
sub printed { $_[0]{printed} }

sub sandbox { UnitGateway::Sandbox->new(port => $_[0]{port}{SANDBOX_PORT}->number) }

# Runs it with an argument: its output, or undef when it fails.
sub command {
	my ($self, $argument) = @_;

	local %ENV = %ENV;
	delete @ENV{qw(GATEWAY_WORKERS GATEWAY_BUDGET GATEWAY_LIMITS UNIT_API_URL UNIT_ORG_TOKEN_FILE)};
	@ENV{keys %{$self->{env}}} = values %{$self->{env}};
	$self->{output} = `script/run $argument 2>&1 </dev/null`;
	return $? == 0 ? $self->{output} : undef;
}

# Lines of the error log that must not be there.
sub problems {
	my ($self) = @_;
	open my $fh, '<', "$self->{dir}/logs/error.log" or return "no error log: $!";
	return grep { /\[(?:alert|emerg|crit|error)\]|exited on signal|Sanitizer/ } <$fh>;
}

sub stop {
	my ($self) = @_;
	delete $open{$self} or return 1;
	return !-d $self->{dir} || defined $self->command('--stop');
}

END {
	my $status = $?;
	$_->stop for grep { $_->{pid} == $$ } values %open;
	$? = $status;
}

1;
