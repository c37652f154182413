#!/usr/bin/perl

# conf/nginx.conf, the example for production, works as it is shipped: this test
# changes names of files and addresses in it, and nothing else. Its upstream
# here is an nginx that speaks TLS as api.unit.co, in front of the sandbox. The
# org token goes to no server that cannot prove to be api.unit.co. nginx -t takes
# the shorter example of the README as well.

use strict;
use warnings;

use Test::More;
use UnitGateway;

my $example = UnitGateway::slurp(UnitGateway->root . '/conf/nginx.conf');

sub openssl {
	my (@args) = @_;
	my $pid = open(my $fh, '-|') // die "fork: $!";
	if (!$pid) {
		open STDERR, '>&', \*STDOUT;
		exec 'openssl', @args or exit 127;
	}
	my $text = do { local $/; <$fh> };
	close $fh or die "openssl @args: $text";
}

# A certificate for a name, signed by itself: it is its own authority.
sub certificate {
	my ($dir, $name) = @_;
	openssl(qw(req -x509 -newkey rsa:2048 -nodes -days 2), '-subj', "/CN=$name", '-addext', "subjectAltName=DNS:$name",
		'-keyout', "$dir/$name.key", '-out', "$dir/$name.pem");
}

sub change {
	my ($text, $from, $to, $times) = @_;
	my $n = $text =~ s/$from/$to/g;
	is($n, $times, "the example has $from");
	return $text;
}

my $t = UnitGateway->new(gateway => 0);
my $dir = $t->dir;
certificate($dir, $_) for qw(gateway.example.com api.unit.co unit.example);

my $conf = $example;
$conf = change($conf, qr{modules/ngx_http_unit_module\.so}, '"%%MODULE%%"', 1);
$conf =~ s/^load_module .*//m if $ENV{UNIT_NGINX};
$conf = change($conf, qr{^user .*;}m, $> == 0 ? 'daemon off; user root;' : 'daemon off;', 1);
$conf = change($conf, qr{worker_processes auto;}, 'worker_processes 1;', 1);
$conf =~ s/worker_rlimit_nofile \d+;//;
$conf =~ s/worker_connections \d+;/worker_connections 512;/;
$conf = change($conf, qr{/run/nginx\.pid}, '%%DIR%%/nginx.pid', 1);
$conf = change($conf, qr{/var/log/nginx/error\.log}, '%%DIR%%/logs/error.log', 1);
$conf = change($conf, qr{/var/log/nginx/unit\.log unit buffer=64k flush=1s}, '%%DIR%%/logs/access.log unit', 1);
$conf = change($conf, qr{/run/secrets/unit-org-token}, '%%DIR%%/org-token', 2);
$conf = change($conf, qr{/etc/unit-gateway/jwks\.json}, '%%DIR%%/jwks.json', 2);
$conf = change($conf, qr{/etc/unit-gateway/tls/cert\.pem}, '%%DIR%%/gateway.example.com.pem', 1);
$conf = change($conf, qr{/etc/unit-gateway/tls/key\.pem}, '%%DIR%%/gateway.example.com.key', 1);
$conf = change($conf, qr{https://id\.example\.com/}, 'https://idp.example.test/', 1);
$conf = change($conf, qr{/etc/ssl/certs/ca-certificates\.crt}, '%%DIR%%/api.unit.co.pem', 1);
$conf = change($conf, qr{/usr/share/unit-gateway/html/}, '%%ROOT%%/conf/html/', 1);
$conf = change($conf, qr{server api\.unit\.co:443 max}, 'server 127.0.0.1:%%PORT_TLS%% max', 1);
$conf = change($conf, qr{listen 443}, 'listen 127.0.0.1:%%PORT%%', 1);
$conf = change($conf, qr{listen \[::\]:443 .*;}, '', 1);
$conf =~ s{^(\s+include )(unit_\w+\.conf;)}{$1%%ROOT%%/conf/$2}mg;
$conf =~ s{(unit_operations )(operations\.json)}{$1%%ROOT%%/conf/$2};
my $temporary = <<'EOT';
    client_body_temp_path %%DIR%%/tmp/body;
    proxy_temp_path %%DIR%%/tmp/proxy;
    fastcgi_temp_path %%DIR%%/tmp/fastcgi;
    uwsgi_temp_path %%DIR%%/tmp/uwsgi;
    scgi_temp_path %%DIR%%/tmp/scgi;
EOT
$conf =~ s/^http \{\n\K/$temporary/m;

# Unit, as this test plays it, with a certificate for %%NAME%%
my $unit = <<'EOT';
    server {
        listen 127.0.0.1:%%PORT_TLS%% ssl;
        ssl_certificate %%DIR%%/NAME.pem;
        ssl_certificate_key %%DIR%%/NAME.key;
        location / {
            proxy_pass http://127.0.0.1:%%PORT_SANDBOX%%;
            proxy_set_header Host $http_host;
            proxy_set_header X-Seen-SNI $ssl_server_name;
        }
    }
}
EOT

sub with_name {
	my ($name) = @_;
	return $conf =~ s/\}\s*\z/$unit =~ s{NAME}{$name}gr/er;
}

$t->write_file('jwks.json', UnitGateway::slurp(UnitGateway::Jwt::jwks_file('dev')));
$t->configure(conf => with_name('api.unit.co'));
my ($status, $text) = $t->test_config;
is($status, 0, 'nginx -t') or die $text;
unlike($text, qr/\[warn\]/, 'without a warning') or diag $text;
$t->start;

# curl as a client: TLS, and HTTP/2 where it can
sub call {
	my ($path, $token) = (@_, '');
	my $port = $t->port;
	open my $fh, '-|', 'curl', '-q', '-sS', '--noproxy', '*', '--max-time', 20, '-w', "\n%{http_code} %{http_version}",
		'--cacert', "$dir/gateway.example.com.pem", '--connect-to', "gateway.example.com:443:127.0.0.1:$port",
		'-H', "Authorization: Bearer $token", "https://gateway.example.com$path" or die "curl: $!";
	my $answer = do { local $/; <$fh> };
	close $fh;
	my ($body, $code, $version) = $answer =~ /\A(.*)\n(\d+) (\S+)\z/s;
	return ($code, $body, $version);
}

my ($code, $body, $version) = call('/accounts', $t->jwt(sub => 'alice'));
is($code, 200, 'a call through TLS on both sides') or diag $body;
is($version, 2, 'over HTTP/2') if `curl --version` =~ /\bnghttp2\b/;

my @calls = $t->sandbox->journal;
cmp_ok(scalar @calls, '>=', 2, 'a token was created, then used');
is((grep { $_->{headers}{'x-seen-sni'} // $_->{headers}{'X-Seen-SNI'} eq 'api.unit.co' } @calls), @calls,
	'the name was asked for');
is((grep { ($_->{headers}{host} // $_->{headers}{Host}) eq 'api.unit.co' } @calls), @calls, 'in the Host header too');

($code, $body) = call('/accounts', 'no.such.token');
is($code, 401, 'a bad token');
like($body, qr/"token_invalid"/, 'as a JSON:API document');
($code) = call('/_sandbox/journal', 'x');
is($code, 404, 'no way to the control calls');

# the status and its page, for this machine
($code, $body) = call('/unit/');
is($code, 200, 'the page of the status');
like($body, qr/<h1>Gateway status/, 'is what it should be');
($code, $body) = call('/unit/status');
is($code, 200, 'the status');
cmp_ok(JSON::PP->new->decode($body)->{requests}{decisions}{ok}, '>=', 1, 'has counted');

# -- another server instead of Unit -------------------------------------------

my $before = $t->sandbox->mark;
$t->configure(conf => with_name('unit.example'));
ok($t->reload, 'Unit has a certificate of another name');
($code, $body) = call('/accounts', $t->jwt(sub => 'bob'));
is($code, 502, 'its certificate is not accepted');
is($t->sandbox->mark, $before, 'and nothing was sent');

# the right name, but not from an authority that is trusted
$t->write_file('unit.example.pem', UnitGateway::slurp("$dir/api.unit.co.pem"));
$t->write_file('unit.example.key', UnitGateway::slurp("$dir/api.unit.co.key"));
certificate($dir, 'api.unit.co');
ok($t->reload, 'Unit has a certificate of an unknown authority');
($code) = call('/accounts', $t->jwt(sub => 'bob'));
is($code, 502, 'it is not accepted either');
is($t->sandbox->mark, $before, 'and nothing was sent');

# -- the one of the README ------------------------------------------------------

my $readme = UnitGateway::slurp($t->root . '/README.md');
my ($short) = $readme =~ /^    (load_module .*?^    \})$/ms;
$short =~ s/^    //mg;
$short =~ s/^load_module .*//m if $ENV{UNIT_NGINX};
$short =~ s{modules/ngx_http_unit_module\.so}{"%%MODULE%%"};
$short =~ s{/etc/unit-gateway/tls/(cert|key)\.pem}{"%%DIR%%/gateway.example.com." . ($1 eq 'cert' ? 'pem' : 'key')}ge;
$short =~ s{/etc/unit-gateway/jwks\.json}{%%DIR%%/jwks.json};
$short =~ s{/etc/ssl/certs/ca-certificates\.crt}{%%DIR%%/api.unit.co.pem};
$short =~ s{/run/secrets/unit-org-token}{%%DIR%%/org-token};
$short =~ s{/run/secrets/unit-idempotency}{%%DIR%%/idempotency-secret};
$short =~ s{server api\.unit\.co:443}{server 127.0.0.1:%%PORT_TLS%%};
$short =~ s{listen 443}{listen 127.0.0.1:%%PORT%%};
$short =~ s{include (unit_\w+\.conf;)}{include %%ROOT%%/conf/$1}g;
$short =~ s{unit_operations operations}{unit_operations %%ROOT%%/conf/operations};
$short =~ s/^http \{\n\K/$temporary    access_log off;\n/m;
$short .= "\npid %%DIR%%/readme.pid;\nerror_log %%DIR%%/logs/error.log notice;\n";
$t->configure(conf => $short);
($status, $text) = $t->test_config;
is($status, 0, 'nginx -t of the one in the README') or diag $text;

$t->done;
