package UnitGateway;

# A sandbox and a gateway in front of it, for one test file:
#
#	my $t = UnitGateway->new(workers => 4);
#	$t->start;
#	is($t->get('/accounts', as => 'alice')->status, 200);
#	$t->done;
#
# done() stops both, checks what must hold after every test (no alert, no
# sanitizer report, no worker ended by a signal, no socket left open, no token
# in a log) and calls done_testing(). All state is in a directory of its own,
# all ports are free ones: tests can run at the same time. UNIT_NGINX=BINARY
# tests an nginx with the module linked in; UNIT_BUILD=DIR takes module and tools
# from there instead of build/; UNIT_TEST_KEEP=1 keeps directories. With
# UNIT_VALGRIND="valgrind OPTIONS" nginx runs under it; UNIT_SLOW=3 gives
# everything three times as long.

use strict;
use warnings;

use Cwd ();
use File::Basename ();
use File::Temp ();
use JSON::PP ();
use POSIX ();
use Scalar::Util ();
use Test::More ();
use UnitGateway::Client ();
use UnitGateway::Config ();
use UnitGateway::Http2 ();
use UnitGateway::Jwt ();
use UnitGateway::Logs ();
use UnitGateway::Many ();
use UnitGateway::Port ();
use UnitGateway::Process qw(wait_until children);
use UnitGateway::Response ();
use UnitGateway::Sandbox ();

use constant {
	START => 20,
	QUIT => 20,
	JSON_API => 'application/vnd.api+json',
};

my $root = Cwd::abs_path(File::Basename::dirname(__FILE__) . '/../..');
my $json = JSON::PP->new->utf8->canonical;
my %open;

chdir $root or die "chdir: $!";

# an end by a signal must run the END blocks too, which stop the servers
$SIG{$_} = sub { exit 1 } for qw(INT TERM HUP);

# Options, all with defaults:
#
#   workers => 1, connections => 4096, zone => '16m', log_level => 'info'
#   main, events, http, server, location, broker => directives to add there;
#             http can set what the servers inherit, servers => 'server {...}'
#   partners => {app => {scopes => 'accounts'}, other => {...}}
#             changes to the development partner; undef leaves a directive out,
#             or a whole partner; "more" is text to add
#   limits => TEXT, directives of limits, "" for the defaults; without it there
#             are none, with "dry_run" only those on verifications
#   jwks => TEXT of the key set, by default with the key "dev" alone
#   org_token => TEXT, idempotency_secret => TEXT
#   http2 => 1 also listens for HTTP/2, for h2()
#   sandbox => 0 starts none; sandbox_limit => 'off' or calls per minute
#   upstream, broker_upstream => 'HOST:PORT' instead of the sandbox
#   gateway => 0 is nginx without any directive of ours
#   conf => TEXT, a whole configuration
#   env => {...} for nginx
#
# %%DIR%%, %%ROOT%%, %%PORT%%, %%PORT_H2%%, %%UPSTREAM%% stand for values in
# all of them, %%PORT_<NAME>%% for more free ports, see port().
sub new {
	my ($class, %o) = @_;

	my $dir = File::Temp::tempdir('unit-gateway-XXXXXX', TMPDIR => 1, CLEANUP => !$ENV{UNIT_TEST_KEEP});
	mkdir "$dir/$_" or die "mkdir: $!" for qw(logs tmp);

	my $self = bless {
		o => {
			workers => 1, connections => 4096, zone => '16m', log_level => 'info', sandbox => 1, gateway => 1,
			sandbox_limit => 'off', (map { $_ => '' } qw(main events http server servers location broker)), %o,
		},
		dir => $dir, ports => {}, nginx => $ENV{UNIT_NGINX} || '/usr/sbin/nginx', killed => {},
		logs => UnitGateway::Logs->new(dir => "$dir/logs"),
	}, $class;
	$self->{o}{static} = $ENV{UNIT_NGINX} ? 1 : 0;
	$self->{valgrind} = [$ENV{UNIT_VALGRIND} ? (split(' ', $ENV{UNIT_VALGRIND}), "--log-file=$dir/logs/valgrind.%p") : ()];
	$self->{o}{partners} = {app => {}, %{$o{partners} // {}}};

	$self->write_file('jwks.json', $o{jwks} // slurp(UnitGateway::Jwt::jwks_file('dev'))) if $self->{o}{gateway};
	$self->write_file('org-token', $o{org_token} // 'v2.public.' . _random(64) . "\n");
	$self->write_file('idempotency-secret', ($o{idempotency_secret} // _random(64)) . "\n");
	chmod 0600, "$dir/org-token", "$dir/idempotency-secret";
	$self->configure;
	$open{$self} = {self => $self, pid => $$};
	Scalar::Util::weaken($open{$self}{self});
	return $self;
}

# -- files and configuration ---------------------------------------------------

sub dir { $_[0]{dir} }
sub root { $root }

# Replaces a file in the directory of the test, in one step; returns its path.
sub write_file {
	my ($self, $name, $text) = @_;

	my $file = "$self->{dir}/$name";
	open my $fh, '>:raw', "$file.new" or die "$file: $!";
	print {$fh} $text;
	close $fh or die "$file: $!";
	rename "$file.new", $file or die "$file: $!";
	return $file;
}

sub read_file {
	my ($self, $name) = @_;
	return slurp("$self->{dir}/$name");
}

# The number of a free port, the same one for the same name: GATEWAY, H2,
# SANDBOX, or any other.
sub port {
	my ($self, $name) = @_;
	$self->{ports}{$name // 'GATEWAY'} //= UnitGateway::Port->new;
	return $self->{ports}{$name // 'GATEWAY'}->number;
}

# Writes nginx.conf, with options changed; reload() or restart() to use it.
sub configure {
	my ($self, %change) = @_;

	my $o = $self->{o};
	$o->{partners} = {%{$o->{partners}}, %{delete $change{partners}}} if $change{partners};
	%$o = (%$o, %change);
	my $upstream = $o->{upstream} // '127.0.0.1:' . $self->port('SANDBOX');
	my $text = $o->{conf} // UnitGateway::Config::configuration(%$o);
	$text = UnitGateway::Config::expand($text, {
		DIR => $self->{dir}, ROOT => $root, PORT => $self->port,
		MODULE => ($ENV{UNIT_BUILD} || "$root/build") . '/ngx_http_unit_module.so',
		UPSTREAM => $upstream, BROKER => $o->{broker_upstream} // 'unit_api',
		map { ("PORT_$_" => $self->port($_)) } $text =~ /%%PORT_([A-Z0-9]+)%%/g,
	});
	$self->write_file('nginx.conf', $text);
}

sub _nginx_command {
	my ($self) = @_;
	return (@{$self->{valgrind}}, $self->{nginx}, '-p', "$self->{dir}/", '-c', "$self->{dir}/nginx.conf");
}

sub _nginx_env {
	my ($self) = @_;
	return {
		ASAN_OPTIONS => 'detect_leaks=0:detect_odr_violation=0:abort_on_error=0',
		UBSAN_OPTIONS => "print_stacktrace=1:suppressions=$root/t/lib/ubsan.supp", %{$self->{o}{env} // {}},
	};
}

# nginx -t: its exit status and what it says.
sub test_config {
	my ($self) = @_;

	my $env = $self->_nginx_env;
	local @ENV{keys %$env} = values %$env;
	my $pid = open(my $fh, '-|') // die "fork: $!";
	if (!$pid) {
		open STDERR, '>&', \*STDOUT;
		exec $self->_nginx_command, '-t' or POSIX::_exit(127);
	}
	my $text = do { local $/; <$fh> } // '';
	close $fh;
	return ($? >> 8 || $? & 127, $text);
}

# -- life cycle ----------------------------------------------------------------

sub start {
	my ($self) = @_;

	$self->start_sandbox if $self->{o}{sandbox} && !$self->{o}{upstream} && !$self->{sandbox};
	$self->start_nginx;
	return $self;
}

sub start_sandbox {
	my ($self) = @_;

	my $log = "$self->{dir}/sandbox.log";
	unlink $log;
	my $process = UnitGateway::Process->start(
		name => 'sandbox', output => $log, command => [
			"$root/sandbox/unit-sandbox", '--port', $self->port('SANDBOX'), '--limit', $self->{o}{sandbox_limit},
			'--org-token-file', "$self->{dir}/org-token",
			-e "$self->{dir}/jwks.json" ? ('--jwks', "$self->{dir}/jwks.json") : (),
		],
	);
	wait_until(START, sub { !$process->alive || slurp($log) =~ /^listening on /m });
	die "the sandbox does not start: " . slurp($log) if !$process->alive || slurp($log) !~ /^listening on /m;
	$self->{sandbox_process} = $process;
	$self->{sandbox} = UnitGateway::Sandbox->new(port => $self->port('SANDBOX'));
}

sub stop_sandbox {
	my ($self) = @_;

	my $process = delete $self->{sandbox_process} or return;
	delete $self->{sandbox};
	$process->stop(TERM => QUIT) or die "the sandbox does not stop\n";
}

sub sandbox { $_[0]{sandbox} // die "no sandbox runs\n" }

sub start_nginx {
	my ($self) = @_;

	my $process = UnitGateway::Process->start(
		name => 'nginx', output => "$self->{dir}/logs/nginx.out", command => [$self->_nginx_command],
		env => $self->_nginx_env,
	);
	my $up = wait_until(START, sub {
		return 'died' if !$process->alive;
		return -s "$self->{dir}/nginx.pid" && children($process->pid) >= $self->{o}{workers} && 'up';
	});
	if ($up ne 'up') {
		die "nginx does not start: " . slurp("$self->{dir}/logs/nginx.out") . $self->{logs}->error . "\n";
	}
	$self->{process} = $process;
}

# The pids of the running workers.
sub workers {
	my ($self) = @_;
	return children($self->{process}->pid);
}

sub master { $_[0]{process}->pid }

# Graceful stop, as an operator would do it; true when all workers have ended in
# time. "TERM" for the fast one.
sub stop_nginx {
	my ($self, $signal) = @_;

	my $process = delete $self->{process} or return 1;
	my @workers = children($process->pid);
	my $ended = $process->stop($signal // 'QUIT', QUIT);
	if (!$ended) {
		$process->stop(TERM => QUIT) || $process->destroy;
	}
	my @left = grep { _is_nginx($_) } @workers;
	kill KILL => @left if @left;
	return $ended && !@left;
}

sub _is_nginx {
	my ($pid) = @_;
	return eval { slurp("/proc/$pid/cmdline") =~ /\Anginx: / };
}

sub restart {
	my ($self, $signal) = @_;

	$self->stop_nginx($signal) or die "nginx does not stop\n";
	$self->start_nginx;
}

# Reloads and waits until the old workers have gone. False when nginx refuses
# the configuration. "wait => 0" leaves the old workers to end in their time.
sub reload {
	my ($self, %o) = @_;

	my %old = map { $_ => 1 } $self->workers;
	my $seen = () = $self->_emergencies;
	$self->{process}->signal('HUP') or die "nginx does not run\n";
	my $done = wait_until(START, sub {
		return 'refused' if (() = $self->_emergencies) > $seen;
		my @now = $self->workers;
		my @new = grep { !$old{$_} } @now;
		return @new >= $self->{o}{workers} && ($o{wait} // 1 ? @new == @now : 1) && 'done';
	});
	die "old workers do not end; has the test left a connection open?\n" if !$done;
	return $done eq 'done';
}

sub _emergencies {
	my ($self) = @_;
	return slurp("$self->{dir}/logs/error.log") =~ /\[emerg\]/g;
}

# Kills a worker as the kernel would; returns its pid after another one has
# taken its place.
sub kill_worker {
	my ($self, $pid) = @_;

	my %old = map { $_ => 1 } $self->workers;
	$pid //= (sort { $a <=> $b } keys %old)[0];
	$self->{logs}->allow(qr/worker process $pid exited on signal 9/);
	kill KILL => $pid or die "kill $pid: $!\n";
	wait_until(START, sub { my @now = $self->workers; (grep { !$old{$_} } @now) && !grep { $_ == $pid } @now })
		or die "no new worker\n";
	return $pid;
}

# -- tokens ----------------------------------------------------------------------

sub jwt { shift; return UnitGateway::Jwt::jwt(@_) }
sub jwks { shift; return UnitGateway::Jwt::jwks(@_) }
sub key_file { shift; return UnitGateway::Jwt::key_file(@_) }

# -- requests ----------------------------------------------------------------------

# A raw connection to the gateway. port => 'NAME', timeout => SECONDS
sub connect {
	my ($self, %o) = @_;
	return $self->_keep(UnitGateway::Client->new(port => $self->port($o{port}), timeout => $o{timeout}));
}

# stop() closes what a test has left open: it would keep workers from ending.
sub _keep {
	my ($self, $client) = @_;
	my @live = grep { $_ } @{$self->{clients} // []}, $client;
	Scalar::Util::weaken($_) for @live;
	$self->{clients} = \@live;
	return $client;
}

# The bytes of one HTTP/1.1 request:
#
#   as => 'alice'          with a token of that subject
#   token => TEXT          this token
#   headers => [k => v]    more headers, as they are
#   json => DATA           body, of Unit's media type
#   body => BYTES          body; type => its media type
#   chunked => [BYTES...]  body in these chunks
#   host => TEXT, close => 1
sub bytes {
	my ($self, $method, $target, %o) = @_;

	my @lines = ("$method $target HTTP/1.1", 'Host: ' . ($o{host} // 'localhost'), $self->_headers(%o));
	my $body = $o{chunked} ? undef : _body(%o);
	push @lines, 'Connection: close' if $o{close};
	push @lines, 'Content-Length: ' . length $body if defined $body;
	if ($o{chunked}) {
		push @lines, 'Transfer-Encoding: chunked';
		$body = join '', map({ sprintf "%x\r\n%s\r\n", length, $_ } @{$o{chunked}}), "0\r\n\r\n";
	}
	return join("\r\n", @lines) . "\r\n\r\n" . ($body // '');
}

sub _body {
	my (%o) = @_;
	return defined $o{json} ? $json->encode($o{json}) : $o{body};
}

sub _headers {
	my ($self, %o) = @_;

	my $token = $o{token} // (defined $o{as} ? $self->jwt(sub => $o{as}) : undef);
	my $type = $o{type} // (defined $o{json} ? JSON_API : undef);
	my @lines;
	push @lines, "Authorization: Bearer $token" if defined $token;
	push @lines, "Content-Type: $type" if defined $type;
	my @more = @{$o{headers} // []};
	while (my ($name, $value) = splice @more, 0, 2) {
		push @lines, "$name: $value";
	}
	return @lines;
}

# One request on a connection of its own. cut => 1 as in Client->response.
sub request {
	my ($self, $method, $target, %o) = @_;

	my $client = $self->connect(%o);
	$client->send($self->bytes($method, $target, %o));
	my $response = $client->response(head => $method eq 'HEAD', cut => $o{cut});
	$client->close;
	return $response;
}

sub get { my $self = shift; return $self->request(GET => @_) }
sub head { my $self = shift; return $self->request(HEAD => @_) }
sub post { my $self = shift; return $self->request(POST => @_) }
sub patch { my $self = shift; return $self->request(PATCH => @_) }
sub put { my $self = shift; return $self->request(PUT => @_) }
sub delete { my $self = shift; return $self->request(DELETE => @_) }

# Lists until one is refused, which is returned.
sub exhaust {
	my ($self, %o) = @_;
	for (1 .. 2000) {
		my $r = $self->get('/accounts', %o);
		return $r if $r->status != 200;
	}
	die 'no limit';
}

# Requests as from bytes(), all at the same time; see UnitGateway::Many.
sub many {
	my ($self, $requests, %o) = @_;
	return UnitGateway::Many::many($requests, %o, port => $self->port($o{port}));
}

# A raw HTTP/2 connection; needs http2 => 1.
sub h2_connect {
	my ($self, %o) = @_;
	return $self->_keep(UnitGateway::Http2->new(port => $self->port('H2'), timeout => $o{timeout}));
}

# The header list of a request over HTTP/2, from the options of bytes().
sub h2_headers {
	my ($self, $method, $target, %o) = @_;

	my $body = $o{chunked} ? undef : _body(%o);
	return [
		[':method', $method], [':scheme', 'http'], [':path', $target], [':authority', $o{host} // 'localhost'],
		map({ my ($name, $value) = split /: ?/, $_, 2; [lc $name, $value] } $self->_headers(%o)),
		defined $body ? ['content-length', length $body] : (),
	];
}

# One request over HTTP/2 with the options of request(). With "chunked" the
# body has no length, as many frames as chunks.
sub h2 {
	my ($self, $method, $target, %o) = @_;

	my $h2 = $self->h2_connect(%o);
	my $body = _body(%o);
	my @data = $o{chunked} ? @{$o{chunked}} : defined $body ? $body : ();
	my $id = $h2->open($self->h2_headers($method, $target, %o), end => !@data);
	while (@data) {
		my $bytes = shift @data;
		$h2->data($id, $bytes, end => !@data) or last;
	}
	my $response = $h2->response($id, cut => $o{cut});
	$h2->close;
	return $response;
}

# -- logs and the end ------------------------------------------------------------

sub logs { $_[0]{logs} }
sub error_log { $_[0]{logs}->error }
sub access_log { $_[0]{logs}->access }

# Stops both and makes the hidden checks; called by done().
sub stop {
	my ($self) = @_;

	return if $self->{stopped}++;
	$_ && $_->close for @{$self->{clients} // []};
	my $ended = $self->stop_nginx;
	$self->stop_sandbox;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	Test::More::ok($ended, 'all workers ended after QUIT');
	for ($self->{logs}->problems) {
		my ($name, @lines) = @$_;
		Test::More::ok(!@lines, $name) or Test::More::diag(join "\n", @lines > 10 ? @lines[0 .. 9] : @lines);
	}
	CORE::delete $open{$self};
}

sub done {
	my ($self) = @_;

	$self->stop;
	Test::More::done_testing();
}

# A test that ends without done() has not been checked: it fails.
END {
	my $status = $?;
	for my $entry (grep { $_->{pid} == $$ && $_->{self} } values %open) {
		my $self = $entry->{self};
		$self->stop_nginx('TERM') if $self->{process};
		# for script/test --sanitize
		$self->{logs}->problems;
		next if $status;
		Test::More::diag('the test has not called done()');
		$status = 1;
	}
	$? = $status;
}

sub slurp {
	my ($file) = @_;
	open my $fh, '<:raw', $file or return '';
	local $/;
	return <$fh> // '';
}

sub _random {
	my ($n) = @_;
	open my $fh, '<:raw', '/dev/urandom' or die "urandom: $!";
	read $fh, my ($bytes), $n;
	my @alphabet = ('A' .. 'Z', 'a' .. 'z', 0 .. 9, '-', '_');
	return join '', map { $alphabet[$_ % 64] } unpack 'C*', $bytes;
}

1;
