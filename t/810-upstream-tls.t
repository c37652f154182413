#!/usr/bin/perl

# Unit's server is not who it should be, or not there: a certificate of nobody,
# of another name, of yesterday, of another authority; no TLS, no handshake; a
# name that does not resolve. Nothing is sent, neither a request nor a token
# call, and the client gets 502 upstream_unavailable; with a good certificate the
# same configuration serves. nginx does not start with a name that nobody knows.

use strict;
use warnings;

use IO::Socket::INET ();
use POSIX ();
use Test::More;
use UnitGateway;
use UnitGateway::Config qw(back_end);
use UnitGateway::Process qw(wait_until);
use UnitGateway::Upstream;

plan skip_all => 'no openssl here' if !`openssl version 2>/dev/null`;

my $silent = UnitGateway::Upstream->new;

# a name server that answers SERVFAIL to one name and nothing to others
my $dns = IO::Socket::INET->new(Proto => 'udp', LocalAddr => '127.0.0.1') or die "udp: $@";
my $dns_pid = fork // die "fork: $!";
if (!$dns_pid) {
	$SIG{$_} = 'DEFAULT' for qw(INT TERM HUP);
	while (defined $dns->recv(my $query, 512)) {
		my ($id) = unpack 'n', $query;
		$dns->send(pack('n6', $id, 0x8182, 1, 0, 0, 0) . substr $query, 12) if $query =~ /\x04fail\x04/;
	}
	POSIX::_exit(0);
}
END { my $status = $?; if ($dns_pid && $$ != $dns_pid) { kill TERM => $dns_pid; waitpid $dns_pid, 0 } $? = $status }

my @cases = qw(GOOD SELF NAME EXPIRED FUTURE AUTHORITY PLAIN SILENT GONE OLD);
sub tls {
	my ($case) = @_;
	return "    server {\n        listen 127.0.0.1:%%PORT_TLS$case%% ssl;\n        ssl_certificate %%DIR%%/$case.pem;\n        ssl_certificate_key %%DIR%%/key.pem;\n"
		. ($case eq 'OLD' ? "        ssl_protocols TLSv1.1;\n        ssl_ciphers ALL:\@SECLEVEL=0;\n" : '') . <<'EOT' . "    }\n";
        access_log "%%DIR%%/unit.txt" seen;
        default_type application/vnd.api+json;
        location / { return 200 '{"data":[]}'; }
        location ~ /token$ { return 201 '{"data":{"type":"x","attributes":{"token":"v2.public.aaaaaaaaaaaaaaaa","expiresIn":3600}}}'; }
EOT
}

# %%UNIT%%: where Unit is; %%API%%: where the broker's calls go
sub gateway {
	my ($case, $api) = @_;
	return <<"EOT";
    upstream unit_@{[lc $case]} { server %%UNIT_$case%%; keepalive 4; }
    server {
        listen 127.0.0.1:%%PORT_$case%%;
        include "%%ROOT%%/conf/unit_errors.conf";
        proxy_ssl_server_name on;
        proxy_ssl_name api.unit.test;
        proxy_ssl_verify on;
        proxy_ssl_verify_depth 2;
        proxy_ssl_trusted_certificate %%DIR%%/ca.pem;
        proxy_ssl_protocols TLSv1.2 TLSv1.3;
        location / {
            unit_gateway on;
            proxy_pass https://unit_@{[lc $case]};
            include "%%DIR%%/proxy.conf";
        }
        @{[$api // "location /_unit/api/ { proxy_pass https://unit_" . lc($case) . "/; include \"%%DIR%%/broker.conf\"; }"]}
    }
EOT
}

# two names that do not resolve, where the broker's calls go
sub unresolved {
	my ($case, $name) = @_;
	return gateway($case, <<"EOT");
location /_unit/api/ {
            resolver 127.0.0.1:@{[$dns->sockport]} ipv6=off;
            resolver_timeout 500ms;
            set \$unit $name;
            rewrite ^/_unit/api(/.*) \$1 break;
            proxy_pass https://\$unit;
            include "%%DIR%%/broker.conf";
        }
EOT
}

my $servers = join '', map({ tls($_) } qw(GOOD SELF NAME EXPIRED FUTURE AUTHORITY OLD)), map({ gateway($_) } @cases),
	unresolved(FAIL => 'fail.test'), unresolved(MUTE => 'mute.test');
my $t = UnitGateway->new(http => "log_format seen '\$server_port \$request_method \$uri';", servers => '', partners => {back => back_end()});
my $dir = $t->dir;

my %unit = (PLAIN => '127.0.0.1:' . $t->port, SILENT => $silent->address, GONE => '127.0.0.1:' . $t->port('NOBODY'));
$servers =~ s/%%UNIT_(\w+)%%/$unit{$1} \/\/ '127.0.0.1:' . $t->port("TLS$1")/ge;

# -- certificates -----------------------------------------------------------------------

sub openssl {
	my (@command) = @_;
	system("cd '$dir' && openssl @command >openssl.txt 2>&1") == 0 or die "openssl @command: " . $t->read_file('openssl.txt');
}

$t->write_file('ca.conf', <<'EOT');
[ca]
default_ca = one
[one]
database = index
serial = serial
new_certs_dir = .
default_md = sha256
policy = any
unique_subject = no
copy_extensions = copy
[any]
commonName = supplied
EOT
$t->write_file('index', '');
$t->write_file('serial', "01\n");
openssl("genrsa -out $_.pem 2048") for qw(key ca-key other-key);
openssl("req -x509 -new -key $_->[0].pem -out $_->[1].pem -subj '/CN=$_->[1]' -days 30") for ['ca-key', 'ca'], ['other-key', 'other'];
openssl("req -x509 -new -key key.pem -out SELF.pem -subj /CN=api.unit.test -addext subjectAltName=DNS:api.unit.test -days 30");

sub issue {
	my ($case, %o) = @_;
	my $name = $o{name} // 'api.unit.test';
	my ($ca, $key) = @{$o{ca} // ['ca', 'ca-key']};
	openssl("req -new -key key.pem -out $case.csr -subj /CN=$name -addext subjectAltName=DNS:$name");
	my @at = map { POSIX::strftime('%Y%m%d%H%M%SZ', gmtime(time + $_)) } $o{from} // -86400, $o{to} // 86400;
	openssl("ca -batch -notext -config ca.conf -cert $ca.pem -keyfile $key.pem -in $case.csr -out $case.pem -startdate $at[0] -enddate $at[1]");
}

issue('GOOD');
issue('OLD');
issue(NAME => (name => 'api.unit.example'));
issue(EXPIRED => (from => -7 * 86400, to => -3600));
issue(FUTURE => (from => 3600));
issue(AUTHORITY => (ca => ['other', 'other-key']));

my $short = sub { return $_[0] =~ s/^(proxy_(?:connect|read|send)_timeout) 5s/$1 1s/mgr };
$t->write_file('broker.conf', $short->(UnitGateway::slurp($t->root . '/conf/unit_broker.conf')));
$t->write_file('proxy.conf', $short->(UnitGateway::slurp($t->root . '/conf/unit_proxy.conf')));
$t->configure(servers => $servers);
$t->start;

# -- who may be trusted ------------------------------------------------------------------

my $back = $t->jwt(sub => 'service', claims => {iss => 'https://back.example.test/'});
my %patch = (json => {data => {type => 'depositAccount', attributes => {tags => {}}}});
my %ask = (
	'a token' => sub { return $t->bytes(GET => '/accounts', token => $t->jwt(sub => 'alice', claims => {sid => $_[0]})) },
	'a write' => sub { return $t->bytes(PATCH => '/accounts/1001', token => $back, %patch) },
);
my %client;
for my $case (@cases, qw(FAIL MUTE)) {
	for my $what (sort keys %ask) {
		next if $case =~ /FAIL|MUTE/ && $what ne 'a token';
		my $client = $client{$case}{$what} = $t->connect(port => $case, timeout => 15);
		$client->send($ask{$what}->($case));
	}
}
for my $case (@cases, qw(FAIL MUTE)) {
	my $want = $case eq 'GOOD' ? '200 ' : $case eq 'SILENT' ? '504 upstream_timeout' : '502 upstream_unavailable';
	for my $what (sort keys %{$client{$case}}) {
		my $r = $client{$case}{$what}->response;
		is($r->status . ' ' . ($r->code // ''), $want, "$case, $what: $want");
		$client{$case}{$what}->close;
	}
}
my $good = $t->port('TLSGOOD');
my @seen = grep { !/^$good / } split /\n/, $t->read_file('unit.txt');
is("@seen", '', 'nothing was sent to anybody else');
my $log = $t->error_log;
like($log, $_, 'the log says why') for qr/certificate verify error: \(10:certificate has expired\)/, qr/upstream SSL certificate does not match "api\.unit\.test"/,
	qr/\(9:certificate is not yet valid\)/, qr/self-signed certificate/, qr/unable to (?:get local issuer|verify the first) certificate/, qr/fail\.test could not be resolved/,
	qr/mute\.test could not be resolved/;

# -- names at the start -------------------------------------------------------------------

$t->logs->allow(qr/\[emerg\].*host not found in upstream/);
$t->configure(servers => '    upstream nobody { server nobody.invalid:443; }');
my ($status, $text) = $t->test_config;
isnt($status, 0, 'a name that nobody knows is refused');
like($text, qr/host not found in upstream "nobody\.invalid:443"/, 'and named');
ok(!$t->reload, 'by a reload, too');
$client{last} = $t->connect(port => 'GOOD');
$client{last}->send($t->bytes(GET => '/accounts', as => 'alice'));
is($client{last}->response->status, 200, 'after which the old one serves');
$client{last}->close;

$t->done;
