package Alternatives;

# What one would use instead of the gateway, for "script/bench alternatives":
# other products that do the warm path, each as its users would set it up for
# speed. Their files are in bench/alternatives; docs/performance.md says what
# each of them does and does not do.

use strict;
use warnings;

use HTTP::Tiny ();
use Time::HiRes qw(sleep);

use Bench;

use constant {
	DIR => 'bench/alternatives',
	MODULES => '/usr/lib/nginx/modules',
	ISSUER => 'https://idp.example.test/',
	AUDIENCE => 'unit-gateway',
	SUBJECT => 'bench-0',
	CUSTOMER => 1_000_000,
	WITNESS => 'witness/1',
	FOREIGN => 'forwarded-by-mistake',
	COMPILED => 20_000,    # requests after which a just-in-time compiler has done its work
};

# Headers that the gateway passes on, beside Host, Authorization and what belongs
# to the body.
my @passed = qw(Accept Accept-Language Content-Type User-Agent X-Request-Id Traceparent Tracestate X-Unit-SDK
	X-Accept-Version);

# name, what it is, what is missing for it or nothing, and how it starts
my @all = (
	['lua', 'nginx with Lua, shared dictionaries', \&_no_lua, sub { _lua(@_, '') }],
	['lua-lru', 'nginx with Lua, and a table per worker', \&_no_lua, sub { _lua(@_, 'lru = 10000, ') }],
	['subrequest', 'nginx with auth_request, cached', \&_no_node, \&_subrequest],
	['haproxy', 'HAProxy, jwt_verify', \&_no_haproxy, sub { _haproxy(@_, 0) }],
	['haproxy-table', 'HAProxy, jwt_verify once by stick table', \&_no_haproxy, sub { _haproxy(@_, 1) }],
	['undici', 'Node with undici', \&_no_node, sub { _node(@_, 'undici.js') }],
	['fastify', 'Node with fastify and reply-from', \&_no_node, sub { _node(@_, 'fastify.js') }],
);

# Starts those for which everything is there: ({label, server}, ...), and calls
# the second argument with a line for each that is left out.
sub start {
	my ($upstream, $skip) = @_;

	Bench::run('openssl', 'pkey', '-in', "$Bench::dir/key.pem", '-pubout', '-out', "$Bench::dir/public.pem");

	my @started;
	for (@all) {
		my ($name, $label, $missing, $make) = @$_;
		my $why = $missing->();
		if ($why) {
			$skip->("$label: $why");
			next;
		}
		push @started, {label => $label, server => $make->($name, Bench::free_port(), $upstream)};
	}
	return @started;
}

# Measures all servers in turn, the first of which is what the others are
# compared with, and prints a table. Returns its lines.
sub compare {
	my ($servers, $file, $rounds, $requests) = @_;

	my ($bare, @gateways) = @$servers;
	check($_->{server}, $_->{label}, $file) for @gateways;
	Bench::load($_->{server}, file => $file, requests => COMPILED) for @$servers;

	my $r = Bench::rounds($rounds, map { my $server = $_->{server};
		($_->{label} => sub { Bench::part($server, file => $file, requests => $requests) }) } @$servers);
	check($_->{server}, $_->{label}, $file) for @gateways;

	printf "%-40s %8s  %-36s %6s %6s\n", 'alternatives', 'CPU, us', 'to bare', 'rate', 'MB';
	my @lines;
	for (@$servers) {
		my $label = $_->{label};
		my %line = (
			what => $label, cpu => Bench::middle($r, $label, 'cpu'), rss => rss($_->{server}),
			%{Bench::ratio($r, $bare->{label}, $label, 'cpu')}, rate => Bench::ratio($r, $bare->{label}, $label, 'rps')->{median},
		);
		printf "%-40s %8.1f  %-36s %6.2f %6.1f\n", $label,
			$line{cpu}, sprintf('%.2f (%.2f to %.2f, quiet %.2f)', @line{qw(median min max quiet)}), @line{qw(rate rss)};
		push @lines, \%line;
	}
	return @lines;
}

# An upstream that also says what it was sent, to whom asks as WITNESS.
sub upstream {
	my $port = Bench::free_port();
	my $conf = Bench::upstream_conf('witness', $port);

	Bench::change(\$conf, qr/access_log off;/, 'map $http_user_agent $witness { ' . WITNESS . " 1; }\n"
		. '    log_format saw "$request|$http_authorization|$http_cookie|$http_x_forwarded_for|$http_x_other";' . "\n"
		. '    access_log ' . _saw() . ' saw if=$witness;');
	return Bench::upstream('witness', $port, $conf);
}

sub _saw { return "$Bench::dir/witness/logs/saw.log" }

# Ends everything unless a server does the job: who has no good token gets 401,
# and of who has one the upstream sees the customer's token and no more.
sub check {
	my ($server, $label, $file) = @_;

	my $jwt = Bench::slurp($file) =~ s/\s.*//sr;
	my ($head, $payload, $signature) = split /\./, $jwt;
	my $forged = Bench::slurp(Bench::tokens(count => 2, forged => 1)) =~ s/\s.*//sr;
	my $now = time;
	my %bad = (
		'no token' => undef,
		'a forged one' => $forged,
		'claims that were changed' => join('.', $head, (split /\./, _mint('--claim', 'unitCustomerId=1000001'))[1], $signature),
		'no signature' => "$head.$payload.",
		'alg none' => _mint('--alg', 'none'),
		'an HMAC with the public key' => _mint('--alg', 'HS256'),
		'one that has ended' => _mint('--json-claim', 'exp=' . ($now - 120)),
		'another issuer' => _mint('--claim', 'iss=https://other.example/'),
		'another audience' => _mint('--claim', 'aud=other'),
	);

	# twice: what is remembered must not be a yes
	for my $name (map { ($_, $_) } sort keys %bad) {
		my $status = _get($server, $bad{$name})->{status};
		die "$label answers $status to $name\n" if $status != 401;
	}

	my $token = 'Bearer ' . Bench::TOKEN;
	for my $time (qw(first second)) {
		my $before = -s _saw() // 0;
		my $r = _get($server, $jwt);
		die "$label answers $r->{status} to a good token\n" if $r->{status} != 200;
		die "$label changes the answer\n" if $r->{content} !~ /\A\{"data":\[.*"offset":0\}\}\}\z/s;

		my $saw = _line(_saw(), $before);
		my $want = "GET /accounts HTTP/1.1|$token|-|-|-\n";
		die "$label sends upstream, the $time time: $saw" if $saw ne $want;
	}
	return;
}

# What a file holds after its first OFFSET bytes, once that is a whole line.
sub _line {
	my ($file, $offset) = @_;

	my $end = time + 10;
	while (time < $end) {
		my $text = -e $file ? substr Bench::slurp($file), $offset : '';
		return $text if $text =~ /\n\z/;
		sleep 0.02;
	}
	return "nothing\n";
}

sub _get {
	my ($server, $jwt) = @_;

	my %headers = (accept => 'application/vnd.api+json', cookie => 'a=' . FOREIGN, 'x-forwarded-for' => '192.0.2.1',
		'x-other' => FOREIGN);
	$headers{authorization} = "Bearer $jwt" if defined $jwt;
	return HTTP::Tiny->new(agent => WITNESS, timeout => 10)->get("http://127.0.0.1:$server->{port}/accounts",
		{headers => \%headers});
}

sub _mint {
	my (@changes) = @_;

	my $now = time;
	my @command = ("$Bench::build/unit-jwt", 'mint', '--key', "$Bench::dir/key.pem", '--kid', 'dev-1', '--claim', 'iss=' . ISSUER,
		'--claim', 'aud=' . AUDIENCE, '--claim', 'sub=' . SUBJECT, '--claim', 'unitCustomerId=' . CUSTOMER,
		'--json-claim', "iat=$now", '--json-claim', 'exp=' . ($now + 3600), @changes);
	open my $fh, '-|', @command or die "unit-jwt: $!\n";
	my $jwt = <$fh> // '';
	close $fh or die "failed: @command\n";
	chomp $jwt;
	return $jwt;
}

# MB of all processes of a server but nginx's master
sub rss {
	my ($server) = @_;

	my $sum = 0;
	for my $pid (@{$server->{workers}}) {
		my ($kb) = Bench::slurp("/proc/$pid/status") =~ /^VmRSS:\s+(\d+) kB/m;
		$sum += $kb;
	}
	return $sum / 1024;
}

# -- nginx ---------------------------------------------------------------------

sub _no_lua {
	for my $file (MODULES . '/ngx_http_lua_module.so', '/usr/share/lua/5.1/resty/lrucache.lua', '/usr/lib/*/lua/5.1/cjson.so') {
		return "no $file; script/setup --bench installs it" if !grep { -e } glob $file;
	}
	return '';
}

# The headers that go upstream, as an allow-list: nothing that a client sends
# passes but what is named.
sub _headers {
	return join "\n            ", 'proxy_pass_request_headers off;', 'proxy_set_header Authorization $unit_authorization;',
		map { my $variable = lc =~ tr/-/_/r; "proxy_set_header $_ \$http_$variable;" } @passed;
}

# bare nginx, with text added to the main part, to http, server and location
sub _nginx {
	my ($name, $port, $upstream, %text) = @_;

	my $conf = Bench::bare_conf($name, $port, upstream => $upstream);
	Bench::change(\$conf, qr/^events \{/m, "$text{main}\nevents {") if $text{main};
	Bench::change(\$conf, qr/^(\s*)server \{/m, "\n    $text{http}\n\n    server {");
	Bench::change(\$conf, qr{^\s*location / \{}m, "\n        $text{server}\n\n        location / {\n            $text{location}\n            "
		. _headers());
	return Bench::nginx($name, $Bench::cpus[0], $port, $conf);
}

sub _lua {
	my ($name, $port, $upstream, $options) = @_;

	return _nginx($name, $port, $upstream,
		main => join("\n", map { 'load_module ' . MODULES . "/$_;" } qw(ndk_http_module.so ngx_http_lua_module.so)) . "\n",
		http => <<"CONF",
lua_package_path "$Bench::root/${\DIR}/lua/?.lua;;";
    lua_shared_dict jwts 32m;
    lua_shared_dict tokens 32m;
    init_by_lua_block {
        require("unit_edge").init {${options}issuer = "${\ISSUER}", audience = "${\AUDIENCE}",
            public_key = "$Bench::dir/public.pem", org_token_file = "$Bench::dir/org-token"}
    }
CONF
		server => <<"CONF",
set \$unit_authorization "";
        location /_unit/api/ {
            internal;
            proxy_pass http://unit_api/;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Authorization \$unit_authorization;
            proxy_set_header Content-Type application/vnd.api+json;
            proxy_pass_request_headers off;
        }
CONF
		location => 'access_by_lua_block { require("unit_edge").access() }',
	);
}

# The verifier is asked once a minute for a JWT; else nginx does all by itself.
sub _subrequest {
	my ($name, $port, $upstream) = @_;

	my $verifier = _node("$name-verifier", Bench::free_port(), $upstream, 'verifier.js');
	Bench::run('mkdir', '-p', "$Bench::dir/$name/cache");
	my $server = _nginx($name, $port, $upstream,
		http => <<"CONF",
proxy_cache_path "$Bench::dir/$name/cache" levels=1:2 keys_zone=auth:16m inactive=10m use_temp_path=off;
    open_file_cache max=10000 inactive=10m;
    open_file_cache_valid 60s;
    upstream verifier {
        server 127.0.0.1:$verifier->{port};
        keepalive 16;
    }
CONF
		server => <<"CONF",
location = /_verify {
            internal;
            proxy_pass http://verifier;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Authorization \$http_authorization;
            proxy_pass_request_headers off;
            proxy_pass_request_body off;
            proxy_set_header Content-Length "";
            proxy_cache auth;
            proxy_cache_key \$http_authorization;
            proxy_cache_lock on;
            proxy_buffer_size 8k;
        }
CONF
		location => "auth_request /_verify;\n"
			. '            auth_request_set $unit_authorization $upstream_http_x_unit_authorization;',
	);

	# but not the process that loads the cache, and ends after that
	my $end = time + 10;
	my @workers;
	until (@workers = grep { Bench::slurp("/proc/$_/cmdline") =~ /worker process/ } @{$server->{workers}}) {
		die "$name has no worker\n" if time > $end;
		sleep 0.02;
	}
	$server->{workers} = [@workers, @{$verifier->{workers}}];
	return $server;
}

# -- HAProxy -------------------------------------------------------------------

sub _no_haproxy {
	return -x '/usr/sbin/haproxy' ? '' : 'no haproxy; script/setup --bench installs it';
}

# With a stick table the end and the customer of a verified JWT are kept under its
# hash, so that only who is not in the table has a signature verified.
sub _haproxy {
	my ($name, $port, $upstream, $table) = @_;

	my $map = Bench::spew("$Bench::dir/$name.map", CUSTOMER . ' ' . Bench::TOKEN . "\n");
	my %fill = (
		PORT => $port, UPSTREAM => $upstream, PUBLIC_KEY => "$Bench::dir/public.pem", MAP => $map, ISSUER => ISSUER,
		AUDIENCE => AUDIENCE, TRACK => '', KNOWN => 'always_false', REMEMBER => '', TABLE => '',
		CUSTOMER => "var(txn.claims),json_query('\$.unitCustomerId'),map_str",
		OTHERS => '^(?!(?:' . join('|', map { lc } 'Host', 'Content-Length', 'Transfer-Encoding', @passed) . ')$)',
	);
	if ($table) {
		$fill{TRACK} = 'http-request track-sc0 var(txn.jwt),sha2(256) table verified';
		$fill{KNOWN} = 'sc_get_gpt(0,0),sub(txn.now) -m int gt 0';
		$fill{REMEMBER} = join "\n    ", "http-request sc-set-gpt(1,0) var(txn.claims),json_query('\$.unitCustomerId') if !known",
			"http-request sc-set-gpt(0,0) var(txn.claims),json_query('\$.exp','int') if !known";
		$fill{CUSTOMER} = 'sc_get_gpt(1,0),map_int';
		$fill{TABLE} = "backend verified\n    stick-table type binary len 32 size 100k expire 1h store gpt(2)";
	}
	my $conf = Bench::slurp("$Bench::root/${\DIR}/haproxy/haproxy.cfg.in") =~ s{\@([A-Z_]+)\@}{$fill{$1} // die $1}ger;
	my $file = Bench::spew("$Bench::dir/$name.cfg", $conf);
	my $server = Bench::start($name, $Bench::cpus[0], $port, '/usr/sbin/haproxy', '-db', '-f', $file);
	$server->{workers} = [$server->{pid}];
	return $server;
}

# -- Node ----------------------------------------------------------------------

# Installs what package-lock.json names, once.
sub _no_node {
	my $dir = "$Bench::root/${\DIR}/node";

	my $version = `node --version 2>&1` // '';
	return 'no node 20.18 or later on this machine' if $version !~ /\Av(\d+)\.(\d+)/ || $1 < 20 || $1 == 20 && $2 < 18;

	my $have = "$dir/node_modules/.package-lock.json";
	return '' if -e $have && -M $have <= -M "$dir/package-lock.json";
	return 'no npm on this machine' if system('npm --version >/dev/null 2>&1') != 0;
	my $status = system("npm ci --prefix '$dir' --ignore-scripts --no-audit --no-fund --fetch-retries=1"
		. " --fetch-timeout=20000 >'$Bench::dir/npm.log' 2>&1");
	return $status ? 'its packages cannot be installed: is there a package registry?' : '';
}

sub _node {
	my ($name, $port, $upstream, $script) = @_;

	local @ENV{qw(NODE_ENV PORT UPSTREAM ISSUER AUDIENCE PUBLIC_KEY ORG_TOKEN_FILE)} = ('production', $port,
		"http://127.0.0.1:$upstream", ISSUER, AUDIENCE, "$Bench::dir/public.pem", "$Bench::dir/org-token");

	my $server = Bench::start($name, $Bench::cpus[0], $port, 'node', "$Bench::root/${\DIR}/node/$script");
	$server->{workers} = [$server->{pid}];
	return $server;
}

1;
