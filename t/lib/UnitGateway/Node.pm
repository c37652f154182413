package UnitGateway::Node;

# Unit's SDK for Node, in a process of its own: t/interop/sdk.js.

use strict;
use warnings;

use Fcntl ':flock';
use IO::Select ();
use IPC::Open2 ();
use JSON::PP ();
use POSIX ();

use constant {
	DIR => 't/interop',
	TIMEOUT => 20,
};

my $json = JSON::PP->new->utf8->canonical->allow_nonref;


# Why there is none, or nothing. Installs what package-lock.json names, once.
sub missing {
	my $node = _output('node', '--version') // return 'no node on this machine';
	my ($major) = $node =~ /\Av(\d+)\./ or return "strange node: $node";
	return "node $major is too old" if $major < 18;

	open my $lock, '<', DIR . '/package-lock.json' or die "package-lock.json: $!\n";
	flock $lock, LOCK_EX or die "flock: $!\n";
	return undef if _installed();
	return 'no npm on this machine' if !defined _output('npm', '--version');
	_output(qw(npm ci --ignore-scripts --no-audit --no-fund --fetch-retries=1
		--fetch-retry-mintimeout=1000 --fetch-timeout=20000 --prefix), DIR);
	return _installed() ? undef : 'the packages of ' . DIR . ' cannot be installed: is there a package registry?';
}

# The installed packages are those of the lock file.
sub _installed {
	my $have = _packages('node_modules/.package-lock.json') // return 0;
	my $want = _packages('package-lock.json') // die "package-lock.json is missing\n";
	delete $want->{''};
	for my $name (keys %$want) {
		return 0 if ($have->{$name}{integrity} // '') ne $want->{$name}{integrity};
		return 0 if !-e DIR . "/$name/package.json";
	}
	return 1;
}

sub _packages {
	my ($file) = @_;
	open my $fh, '<:raw', DIR . "/$file" or return undef;
	local $/;
	return $json->decode(<$fh>)->{packages};
}

# What a command prints; undef when it fails.
sub _output {
	my (@command) = @_;

	my $pid = open(my $fh, '-|') // die "fork: $!\n";
	if (!$pid) {
		open STDIN, '<', '/dev/null';
		open STDERR, '>', '/dev/null';
		exec { $command[0] } @command or POSIX::_exit(127);
	}
	my $text = do { local $/; <$fh> } // '';
	return close $fh ? $text : undef;
}

sub new {
	my ($class, %o) = @_;

	my $self = bless {}, $class;
	# a proxy is for the world outside
	local %ENV = map { $_ => $ENV{$_} } grep { !/_proxy\z/i } keys %ENV;
	$self->{pid} = IPC::Open2::open2($self->{out}, $self->{in}, 'node', DIR . '/sdk.js');
	$self->{in}->autoflush(1);
	return $self;
}

sub _ask {
	my ($self, $request) = @_;

	print {$self->{in}} $json->encode($request), "\n" or die "node: $!\n";
	IO::Select->new($self->{out})->can_read(TIMEOUT) or die "node does not answer\n";
	my $line = readline $self->{out} // die "node has ended\n";
	return $json->decode($line);
}

# A Unit object as an application makes it.
sub login {
	my ($self, $base, $token) = @_;
	$self->_ask({base => $base, token => $token});
}

# "resource.method" of all that the SDK can call.
sub methods { @{$_[0]->_ask({methods => JSON::PP::true})->{value}} }

# One call, "accounts.get": the value and what went wrong, one of them undef.
sub call {
	my ($self, $name, @args) = @_;
	my $result = $self->_ask({call => [split /\./, $name], args => \@args});
	return @{$result}{qw(value error)};
}

sub close {
	my ($self) = @_;
	my $pid = delete $self->{pid} or return;
	close $self->{in};
	close $self->{out};
	waitpid $pid, 0;
	return $?;
}

sub DESTROY { local $?; $_[0]->close }

1;
