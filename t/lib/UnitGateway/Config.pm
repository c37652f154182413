package UnitGateway::Config;

# The nginx configuration of a test: that of conf/development.conf.in, from the
# same include files, with what the test wants different.

use strict;
use warnings;

use Exporter 'import';

our @EXPORT_OK = qw(configuration expand server back_end);

my @partner = (
	issuer => 'https://idp.example.test/',
	audience => 'unit-gateway',
	jwks => '%%DIR%%/jwks.json',
	leeway => '30s',
	customer => 'claim=unitCustomerId',
	role => 'claim=unitRole',
	session => 'claim=sid',
	scopes => 'all',
	two_factor => 'otp',
);

# those on verifications alone: whatever else happens, nobody is refused for it
my $dry_run = <<'EOT';
    unit_limits dry_run;
    unit_budget 100000000r/m;
    unit_limit customer rate=10000000r/m;
    unit_limit address rate=10000000r/m;
    unit_breaker off;
EOT

# configuration(OPTIONS): the text, with %%NAMES%% still in it. The options are
# those of UnitGateway->new.
sub configuration {
	my (%o) = @_;

	return join '', _main(%o), _events(%o), _http(%o);
}

# Replaces %%NAME%% by its value; an unknown name is an error.
sub expand {
	my ($text, $values) = @_;

	$text =~ s/%%([A-Z0-9_]+)%%/$values->{$1} \/\/ die "no value for %%$1%%\n"/ge;
	return $text;
}

# Another server for "servers", on port NAME: the gateway with those directives
# in its location.
sub server {
	my ($name, $directives) = @_;

	my $gateway = _gateway(location => $directives);
	my $broker = _broker(broker => '');
	return <<"EOT";
    server {
        listen 127.0.0.1:%%PORT_$name%%;
        include "%%ROOT%%/conf/unit_errors.conf";
$gateway
$broker
    }
EOT
}

# Changes that make a partner one with a back end of its own: it acts with the
# organisation's token. More changes can follow.
sub back_end {
	my (%change) = @_;
	return {
		issuer => 'https://back.example.test/', token => 'org', customer => undef, two_factor => undef, role => undef, session => undef,
		%change,
	};
}

sub _main {
	my (%o) = @_;

	my $text = $o{static} || !$o{gateway} ? '' : "load_module \"%%MODULE%%\";\n";
	$text .= "user root;\n" if $> == 0;
	return $text . <<"EOT";
daemon off;
worker_processes $o{workers};
pid "%%DIR%%/nginx.pid";
lock_file "%%DIR%%/nginx.lock";
error_log "%%DIR%%/logs/error.log" $o{log_level};
$o{main}
EOT
}

sub _events {
	my (%o) = @_;
	return "events {\n    worker_connections $o{connections};\n$o{events}\n}\n";
}

sub _http {
	my (%o) = @_;

	my $partners = join '', map { _partner($_, $o{partners}{$_}) } sort keys %{$o{partners}};
	my $h2 = $o{http2} ? 'listen 127.0.0.1:%%PORT_H2%% http2 backlog=4096;' : '';
	my $limits = $o{limits} // ($o{http} =~ /\bunit_limits\b/ ? '' : 'unit_limits off;');
	$limits = $dry_run if $limits eq 'dry_run';
	my $gateway = $o{gateway} ? _gateway(%o) : '';
	my $broker = $o{gateway} ? _broker(%o) : '';
	my $module = $o{gateway} ? <<"EOT" : '';
    include "%%ROOT%%/conf/unit_log.conf";
    access_log "%%DIR%%/logs/access.log" unit;
$limits
    unit_zone zone=unit:$o{zone};
    unit_operations "%%ROOT%%/conf/operations.json";
    unit_org_token_file "%%DIR%%/org-token";
    unit_org_token_request /_unit/api;
    unit_idempotency_secret_file "%%DIR%%/idempotency-secret";
$partners
EOT
	my $errors = $o{gateway} ? 'include "%%ROOT%%/conf/unit_errors.conf";' : '';

	return <<"EOT";
http {
    client_body_temp_path "%%DIR%%/tmp/body";
    proxy_temp_path "%%DIR%%/tmp/proxy";
    fastcgi_temp_path "%%DIR%%/tmp/fastcgi";
    uwsgi_temp_path "%%DIR%%/tmp/uwsgi";
    scgi_temp_path "%%DIR%%/tmp/scgi";

    server_tokens off;
    large_client_header_buffers 4 16k;
    keepalive_requests 1000000;

$module
$o{http}

    upstream unit_api {
        server %%UPSTREAM%% max_fails=0;
        keepalive 64;
        keepalive_requests 1000000;
    }

    server {
        listen 127.0.0.1:%%PORT%% backlog=4096;
        $h2
        server_name localhost;

        $errors
$o{server}
$gateway
$broker
    }
$o{servers}
}
EOT
}

sub _gateway {
	my (%o) = @_;

	return <<"EOT";
        location / {
            unit_gateway on;
            proxy_pass http://unit_api;
            proxy_set_header Host %%UPSTREAM%%;
            include "%%ROOT%%/conf/unit_proxy.conf";
$o{location}
        }
EOT
}

sub _broker {
	my (%o) = @_;

	return <<"EOT";
        location /_unit/api/ {
            proxy_pass http://%%BROKER%%/;
            proxy_set_header Host %%UPSTREAM%%;
            include "%%ROOT%%/conf/unit_broker.conf";
$o{broker}
        }
EOT
}

# A value of undef leaves the directive out; unknown ones are added, and so is
# "more", as it is.
sub _partner {
	my ($name, $change) = @_;

	my %change = %{$change // return ''};
	my $more = delete $change{more} // '';
	my $text = '';
	for (my $i = 0; $i < @partner; $i += 2) {
		my ($key, $value) = @partner[$i, $i + 1];
		$value = delete $change{$key} if exists $change{$key};
		$text .= "        $key $value;\n" if defined $value;
	}
	$text .= "        $_ $change{$_};\n" for grep { defined $change{$_} } sort keys %change;
	return "    unit_partner $name {\n$text$more\n    }\n";
}

1;
