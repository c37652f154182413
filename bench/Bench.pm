package Bench;

# Servers, load and numbers for script/bench: see docs/performance.md for the
# method. The first of two CPUs belongs to the server under test, the second
# one to the upstream and the load generator.

use strict;
use warnings;

use HTTP::Tiny ();
use IO::Handle ();
use IO::Socket::INET ();
use IPC::Open2 ();
use JSON::PP ();
use List::Util qw(first max min sum0);
use POSIX ();
use Time::HiRes qw(sleep time);

use constant {
	WARM_UP => 200,
	PAUSE => 0.01,
	TOKEN => 'v2.public.' . 'T0k3n' x 118,    # of every customer
};

our ($root, $build, $dir, $realtime, @cpus, %servers, %loads, $loading);

my $json = JSON::PP->new->canonical;

sub init {
	my (%o) = @_;

	($root, $build, $dir, $realtime) = @o{qw(root build dir realtime)};
	my ($list) = `taskset -cp $$` =~ /list: (\S+)/ or die "taskset does not work here\n";
	@cpus = map { /(\d+)-(\d+)/ ? $1 .. $2 : $_ } split /,/, $list;
	die "two CPUs are needed\n" if @cpus < 2;
	system('mkdir', '-p', $dir) == 0 or die "cannot make $dir\n";
	return;
}

END {
	my $status = $?;
	kill 'TERM', $loading if $loading;
	stop($_) for keys %servers;
	$? = $status;
}

sub slurp {
	my ($file) = @_;

	open my $fh, '<:raw', $file or die "$file: $!\n";
	local $/;
	return scalar <$fh>;
}

sub spew {
	my ($file, $text) = @_;

	open my $fh, '>:raw', $file or die "$file: $!\n";
	print {$fh} $text;
	close $fh or die "$file: $!\n";
	return $file;
}

sub run {
	my (@command) = @_;
	system(@command) == 0 or die "failed: @command\n";
	return;
}

sub free_port {
	my $socket = IO::Socket::INET->new(Listen => 1, LocalAddr => '127.0.0.1:0') or die "no free port: $!\n";
	return $socket->sockport;
}

# -- servers -------------------------------------------------------------------

# The head of a command that runs on one CPU, before all others if so asked.
sub pinned {
	my ($cpu) = @_;
	return ('taskset', '-c', $cpu, $realtime ? qw(chrt -r 1) : ());
}

# start(NAME, CPU, PORT, COMMAND...) starts a server in the foreground and returns
# when it listens on its port.
sub start {
	my ($name, $cpu, $port, @command) = @_;

	my $pid = fork // die "fork: $!\n";
	if (!$pid) {
		open STDIN, '<', '/dev/null';
		open STDOUT, '>', "$dir/$name.log";
		open STDERR, '>&', \*STDOUT;
		# whether the end of the heap is given back and asked for again, every
		# few requests, is chance
		$ENV{MALLOC_TRIM_THRESHOLD_} = 64 << 20;
		exec pinned($cpu), @command or POSIX::_exit(127);
	}
	$servers{$name} = {pid => $pid, port => $port};

	my $end = time + 30;
	until (IO::Socket::INET->new(PeerAddr => "127.0.0.1:$port")) {
		die "$name does not start; see $dir/$name.log\n" if time > $end || waitpid($pid, POSIX::WNOHANG()) > 0;
		sleep 0.05;
	}
	return $servers{$name};
}

sub stop {
	my ($name) = @_;

	my $server = delete $servers{$name} or return;
	for my $load (map { delete $loads{$_} } grep { $loads{$_}{port} == $server->{port} } keys %loads) {
		close $load->{in};
		waitpid $load->{pid}, 0;
	}
	kill 'TERM', $server->{pid};
	waitpid $server->{pid}, 0;
	return;
}

# nginx(NAME, CPU, PORT, TEXT of the configuration, COMMAND... before its own)
sub nginx {
	my ($name, $cpu, $port, $conf, @before) = @_;

	run('mkdir', '-p', "$dir/$name/logs", "$dir/$name/tmp");
	spew("$dir/$name/nginx.conf", $conf);
	my $server = start($name, $cpu, $port, @before, '/usr/sbin/nginx', '-p', "$dir/$name/", '-c', "$dir/$name/nginx.conf",
		'-g', 'daemon off;');
	my $end = time + 10;
	until (@{$server->{workers} = [workers($server->{pid})]}) {
		die "$name has no worker\n" if time > $end;
		sleep 0.05;
	}
	return $server;
}

# upstream(NAME, PORT, TEXT of the configuration): an nginx on the other CPU, which
# does not sleep.
sub upstream {
	my ($name, $port, $conf) = @_;
	return nginx($name, $cpus[1], $port, $conf, 'env', "LD_PRELOAD=$build/bench/spin.so");
}

sub workers {
	my ($master) = @_;

	my @workers;
	for my $file (glob '/proc/[0-9]*/stat') {
		open my $fh, '<', $file or next;
		my $stat = <$fh> // next;
		push @workers, $1 if $stat =~ /\A(\d+) \(.*\) \S (\d+) /s && $2 == $master;
	}
	return @workers;
}

# The development configuration, as script/run fills it in, with the upstream
# of the benchmarks, one worker and no access log.
#
#   zone => SIZE, operations => FILE, workers => N, upstream => PORT
#   limits => TEXT instead of none, more => TEXT in http
#   partner => TEXT in the block of the partner
sub gateway_conf {
	my ($name, $port, %o) = @_;

	my ($user) = getpwuid $>;
	my $group = getgrgid $) + 0;
	my %fill = (
		ROOT => $root, RUN => "$dir/$name", JWKS => "$dir/jwks.json", WORKERS => $o{workers} // 1, PORT => $port,
		USER => $> ? '' : "user $user $group;", LIMITS => $o{limits} // 'unit_limits off;', ORG_TOKEN_FILE => "$dir/org-token", SCHEME => 'http',
		UPSTREAM => "127.0.0.1:$o{upstream}", UPSTREAM_HOST => "127.0.0.1:$o{upstream}", UPSTREAM_TLS => '',
	);
	my $conf = slurp("$root/conf/development.conf.in");
	$conf =~ s/^#.*\n//mg;
	$conf =~ s{\@([A-Z_]+)\@}{$fill{$1} // ''}ge;

	run('mkdir', '-p', "$dir/$name/secrets");
	spew("$dir/$name/secrets/idempotency-secret", 'b3nch' x 13 . "\n");

	change(\$conf, qr{^load_module .*;}m, "load_module \"$build/ngx_http_unit_module.so\";");
	change(\$conf, qr{^(\s*)access_log .*;}m, '    access_log off;');
	change(\$conf, qr{zone=unit:\w+}, "zone=unit:$o{zone}") if $o{zone};
	change(\$conf, qr{^\s*unit_operations .*;}m, "    unit_operations \"$o{operations}\";") if $o{operations};
	change(\$conf, qr{^        two_factor  otp;}m, "        two_factor  otp;\n        $o{partner}") if $o{partner};
	change(\$conf, qr{^\s*unit_sandbox off;}m, "    unit_sandbox off;\n    $o{more}") if $o{more};
	return $conf;
}

# What is left of it when nginx has no gateway in it.
sub bare_conf {
	my ($name, $port, %o) = @_;

	my $conf = gateway_conf($name, $port, %o);
	change(\$conf, qr{^load_module .*\n}m, '');
	change(\$conf, qr{^\s*unit_partner \w+ \{.*?\n    \}\n}ms, '');
	change(\$conf, qr{^\s*location /_unit/\S+ \{.*?\n        \}\n}ms, '');
	change(\$conf, qr{^\s*include "[^"]*unit_errors.conf";\n}m, '');
	$conf =~ s{^\s*include "[^"]*unit_log.conf";\n}{}m;
	$conf =~ s{^\s*unit_\w+\b[^;]*;\n}{}mg;
	return $conf;
}

sub change {
	my ($conf, $from, $to) = @_;
	$$conf =~ s/$from/$to/ or die "development.conf.in has nothing that matches $from\n";
	return;
}

# A budget with shares and limits of all kinds, at rates that refuse nobody and
# that last for a day.
sub limited {
	my $partner = <<"CONF";
unit_partner second {
        issuer      https://second.example.test/;
        audience    unit-gateway;
        jwks        "$dir/jwks.json";
        customer    claim=unitCustomerId;
        scopes      all;
        two_factor  otp;
    }
CONF
	return (
		limits => 'unit_budget 100000000r/d burst=10000000 reserve=10%;'
			. join('', map { " unit_limit $_ rate=10000000r/d burst=10000000;" } qw(partner customer address)),
		more => $partner, partner => 'weight 9;',
	);
}

# A payment of 600 bytes, as a file.
sub payment {
	my $text = '{"data":{"type":"bookPayment","attributes":{"amount":12345,"direction":"Credit","description":"%s",'
		. '"transactionSummaryOverride":"Rent for November","tags":{"invoice":"2026-11-0042","purpose":"rent"}},"relationships":{'
		. '"account":{"data":{"type":"depositAccount","id":"10001"}},'
		. '"counterpartyAccount":{"data":{"type":"depositAccount","id":"10002"}}}}}';
	return spew("$dir/payment.json", sprintf $text, 'x' x (600 - length($text) + 2));
}

# Two-factor authentication of the first token of a file, for a scope.
sub verify {
	my ($server, $file, $scope) = @_;

	my ($jwt) = slurp($file) =~ /\A(\S+)/;
	my $http = HTTP::Tiny->new;
	my $ask = sub {
		my ($tail, $type, %attributes) = @_;
		my $r = $http->post("http://127.0.0.1:$server->{port}/customers/me/token$tail", {
			headers => {authorization => "Bearer $jwt", 'content-type' => 'application/vnd.api+json'},
			content => $json->encode({data => {type => $type, attributes => \%attributes}}),
		});
		die "verification failed: $r->{status} $r->{content}\n" if $r->{status} != 201;
		return $json->decode($r->{content})->{data}{attributes};
	};
	my $started = $ask->('/verification', 'customerTokenVerification', channel => 'sms');
	$ask->('', 'customerToken', scope => $scope, verificationToken => $started->{verificationToken},
		verificationCode => '123456');
	return;
}

# A stand-in for Unit that costs next to nothing: one list for every GET, one
# payment of 1 KB for every POST of one, one token for every customer.
sub upstream_conf {
	my ($name, $port) = @_;

	my $item = join ',', map {
		sprintf '{"type":"depositAccount","id":"%d","attributes":{"name":"Alice Smith","status":"Open",'
			. '"balance":%d,"currency":"USD","routingNumber":"812345678","accountNumber":"1000%05d"},'
			. '"relationships":{"customer":{"data":{"type":"individualCustomer","id":"10001"}}}}', $_, $_ * 1000, $_
	} 1 .. 4;
	my $payment = '{"data":{"type":"bookPayment","id":"1","attributes":{"description":"%s"}}}';
	$payment = sprintf $payment, 'y' x (1024 - length($payment) + 2);
	my ($user) = getpwuid $>;
	my $group = getgrgid $) + 0;

	return ($> ? '' : "user $user $group;\n") . <<"CONF";
worker_processes 1;
pid "$dir/$name/nginx.pid";
error_log "$dir/$name/logs/error.log" notice;
events {
    worker_connections 8192;
}
http {
    access_log off;
    client_body_temp_path "$dir/$name/tmp/body";
    default_type application/vnd.api+json;
    keepalive_requests 1000000000;
    keepalive_timeout 1h;
    server {
        listen 127.0.0.1:$port backlog=4096;
        location / {
            return 200 '{"data":[$item],"meta":{"pagination":{"total":4,"limit":100,"offset":0}}}';
        }
        location = /payments {
            return 201 '$payment';
        }
        location ~ ^/customers/[^/]+/token/verification\$ {
            return 201 '{"data":{"type":"customerTokenVerification","attributes":{"verificationToken":"b3nch"}}}';
        }
        location ~ ^/customers/[^/]+/token\$ {
            return 201 '{"data":{"type":"customerBearerToken","attributes":{"token":"${\TOKEN}","expiresIn":86400}}}';
        }
    }
}
CONF
}

# -- tokens --------------------------------------------------------------------

# The key that signs them, and the organisation's token.
sub identity {
	if (!-s "$dir/key.pem" || !-s "$dir/jwks.json") {
		run("$build/unit-jwt", 'keygen', '--force', '--out', "$dir/key.pem", '--jwks', "$dir/jwks.json", '--kid', 'dev-1');
	}
	spew("$dir/org-token", 'v2.public.' . 'B3nch' x 20 . "\n");
	return;
}

# A file of minted tokens, made once: signing takes time.
sub tokens {
	my (%o) = @_;

	my $count = delete $o{count};
	$o{from} //= 1_000_000;
	my $name = join '-', 'tokens', $count, map { "$_$o{$_}" } sort keys %o;
	my $file = "$dir/$name";
	return $file if -s $file && -M _ < 7 && -M _ < -M "$dir/key.pem";

	my $half = int(($count + 1) / 2);
	my @options = ("key=$dir/key.pem", map { "$_=$o{$_}" } sort keys %o);
	my $first = $o{first} // 0;
	my @parts;
	for my $n ([$first, $half], [$first + $half, $count - $half]) {
		my $pid = fork // die "fork: $!\n";
		if (!$pid) {
			open STDOUT, '>', "$file.$n->[0]" or POSIX::_exit(1);
			exec "$build/bench/mint", @options, "first=$n->[0]", "count=$n->[1]"
				or POSIX::_exit(127);
		}
		push @parts, ["$file.$n->[0]", $pid];
	}
	for my $part (@parts) {
		waitpid $part->[1], 0;
		die "mint failed\n" if $?;
	}
	run('sh', '-c', 'out=$1; shift; cat "$@" > "$out.new" && rm "$@" && mv "$out.new" "$out"', 'sh', $file,
		map { $_->[0] } @parts);
	return $file;
}

# -- measuring -----------------------------------------------------------------

# ns of CPU time that a server's workers have used, with all their threads
sub cpu {
	my ($server) = @_;
	my @stats = map { my @of = glob "/proc/$_/task/*/schedstat"; @of ? @of : die "process $_ is gone\n" } @{$server->{workers}};
	return sum0 map { (split ' ', slurp($_))[0] } @stats;
}

# load(SERVER, status => 200, OPTIONS of bench/load) returns what it reports,
# with the CPU time per request in us and requests per second. An answer that
# is not as expected ends everything: a wrong answer is a cheap one.
sub load {
	my ($server, %o) = @_;

	my $status = delete $o{status} // 200;
	my $any = delete $o{any};
	my @command = load_command($server, %o);
	my $before = cpu($server);
	$loading = open(my $fh, '-|', @command) or die "load: $!\n";
	my %r = map { split } <$fh>;
	close $fh or die "failed: @command\n";
	undef $loading;
	return reported($server, \%r, $before, $any ? undef : $status, "@command");
}

sub load_command {
	my ($server, %o) = @_;
	return (pinned($cpus[1]), "$build/bench/load", "port=$server->{port}", 'spin=1', map { "$_=$o{$_}" } sort keys %o);
}

sub reported {
	my ($server, $r, $before, $status, $what) = @_;

	$r->{cpu} = (cpu($server) - $before) / 1000 / $r->{requests};
	$r->{rps} = $r->{requests} / $r->{seconds};
	die "$what: not all answers are $status: ", $json->encode($r), "\n"
		if defined $status && ($r->{"status_$status"} // 0) != $r->{requests};
	return $r;
}

# The same for one part of a round, by a load generator that stays: the next
# part with these options goes on where this one ends. The caches of the CPU
# hold what others did before, so some requests go ahead uncounted; one goes alone,
# for it makes what others ask for: a token, a record.
sub part {
	my ($server, %o) = @_;

	my $requests = delete $o{requests};
	my $status = delete $o{status} // 200;
	my @command = load_command($server, control => 1, %o);
	my $load = $loads{"@command"} //= do {
		my $pid = IPC::Open2::open2(my $out, my $in, @command);
		$in->autoflush(1);
		{pid => $pid, port => $server->{port}, in => $in, out => $out};
	};
	my $r;
	for my $n (1, WARM_UP, $requests) {
		my $before = cpu($server);
		print { $load->{in} } "$n\n" or die "failed: @command\n";
		my %report;
		while (1) {
			my $line = readline($load->{out}) // die "failed: @command\n";
			last if $line eq "end\n";
			my ($name, $value) = split ' ', $line;
			$report{$name} = $value;
		}
		$r = reported($server, \%report, $before, $status, "@command");
	}

	# at real-time priority the rest of the machine gets its turn, too
	sleep PAUSE if $realtime;
	return $r;
}

# rounds(N, A => sub, B => sub, ...): each is called twice per round, in turn
# and then in turn backwards, after a round that does not count. Returns the
# means of every round: {A => [{cpu => ...}, ...], ...}.
sub rounds {
	my ($rounds, @pairs) = @_;

	my %sub = @pairs;
	my @names = @pairs[grep { $_ % 2 == 0 } 0 .. $#pairs];
	my %result;
	for my $round (0 .. $rounds) {
		my %sum;
		for my $name (@names, reverse @names) {
			my $r = $sub{$name}->();
			$sum{$name}{$_} += $r->{$_} / 2 for grep { !/status/ } keys %$r;
		}
		next if !$round;
		push @{$result{$_}}, $sum{$_} for @names;
	}
	return \%result;
}

sub median {
	my @sorted = sort { $a <=> $b } @_;
	return @sorted % 2 ? $sorted[$#sorted / 2] : ($sorted[@sorted / 2 - 1] + $sorted[@sorted / 2]) / 2;
}

# Ratios of a value of B to that of A, round by round: median, min and max. What
# else the machine does only ever adds CPU time, so that the ratio of the lower
# quartiles, "quiet", is nearer to the truth when it is busy.
sub ratio {
	my ($result, $from, $to, $what) = @_;

	my %values = map { my $name = $_; ($name => [map { $_->{$what} } @{$result->{$name}}]) } $from, $to;
	my @ratios = map { $values{$to}[$_] / $values{$from}[$_] } 0 .. $#{$values{$to}};
	my ($low, $high) = map { (sort { $a <=> $b } @{$values{$_}})[@{$values{$_}} / 4] } $from, $to;
	return {
		median => median(@ratios), min => min(@ratios), max => max(@ratios),
		$what eq 'cpu' ? (quiet => $high / $low) : (),
	};
}

sub middle {
	my ($result, $name, $what) = @_;
	return median(map { $_->{$what} } @{$result->{$name}});
}

1;
