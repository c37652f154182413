#!/usr/bin/perl

# A filter of somebody else's that ends an answer its own way, as image_filter or
# xslt do: all contexts of the request are cleared, and another answer is made in
# the middle of Unit's. The request ends in order all the same: the client has the
# other answer, as a document of ours where there is one; a replay or a further
# attempt before it is made, none after it; what is told of the end of the call
# (circuit, counters, log) is told; and the answer that the filter has made is never
# kept for an idempotency key, at whatever byte of Unit's it came. A token call that
# ends like that has failed.
#
# The filter is t/lib/end_filter.c; it is loaded before and after the gateway's.
# No filter of stock nginx does this to an answer that comes from an upstream,
# unless image_filter or xslt are installed: conditional requests are off then.
#
# P4 (lost contexts), P16 (a subrequest that becomes an error page), P23.

use strict;
use warnings;

use File::Basename qw(dirname);
use Test::More;
use UnitGateway;
use UnitGateway::Clock;
use UnitGateway::Upstream;

my $root = UnitGateway->root;
my $tree = $ENV{UNIT_NGINX} ? dirname(dirname($ENV{UNIT_NGINX})) : Cwd::abs_path($ENV{UNIT_BUILD} || 'build') . '/nginx';
plan skip_all => 'no tree of headers beside this nginx' if !-e "$tree/objs/ngx_auto_config.h";

my $tmp = File::Temp->newdir;
system($ENV{CC} || 'cc', qw(-shared -fPIC -O1 -g -Wall -Wextra -Wno-unused-parameter -Werror), (map { "-I$tree/$_" } qw(src/core src/event src/event/modules src/os/unix src/http src/http/modules src/http/v2 src/http/v3 src/event/quic objs)),
	'-o', "$tmp/end.so", "$root/t/lib/end_filter.c") == 0 or die "end_filter.c does not compile\n";

my $patch = {data => {type => 'individualCustomer', attributes => {tags => {a => 'b'}}}};

for my $order ('before ours', 'after ours') {
	my $clock = UnitGateway::Clock->new;
	my $up = UnitGateway::Upstream->new;
	my $t = UnitGateway->new(
		env => $clock->env, upstream => $up->address, sandbox => 0, limits => 'unit_breaker failures=3 window=60s open=10s;',
		main => $order eq 'before ours' ? "load_module \"$tmp/end.so\";" : '', server => 'location = /status { unit_status; }',
	);
	if ($order eq 'after ours') {
		$t->write_file('nginx.conf', "load_module \"$tmp/end.so\";\n" . $t->read_file('nginx.conf'));
	}
	$t->start;
	my ($worker) = $t->workers;
	my $client = $t->connect;
	my $serial = 0;

	my $send = sub {
		$client->close;
		$client = $t->connect;
		$client->send($t->bytes(@_));
	};
	my $get = sub { $send->(GET => '/accounts', as => 'alice') };
	my $said = sub { my $r = $client->response; return join ' ', $r->status, grep { length } $r->code };
	# the call to Unit, after a token call if there has to be one
	my $call = sub {
		my $call = $up->call;
		return $call if $call->target !~ /token\z/;
		$call->token;
		return $up->call;
	};
	my $fine = sub {
		my ($name) = @_;
		$get->();
		$up->call->answer(200, '{"data":[]}');
		is($said->(), '200', "$order, $name: the next request is served");
	};

	$get->();
	$up->grant;
	$up->call->answer(200, '{"data":[]}');
	is($said->(), '200', "$order: a token");

	for my $when ('X-End', 'X-End-Late') {
		my $name = "$order, $when";
		for my $o ([415, '415 unsupported_media_type'], [502, '502 upstream_unavailable'], [422, '422']) {
			$get->();
			$up->call->answer(200, '{"data":[{"id":"of-unit"}]}', $when => $o->[0]);
			my $r = $client->response;
			is(join(' ', $r->status, grep { length } $r->code), $o->[1], "$name: an answer that becomes a $o->[0]");
			unlike($r->body, qr/of-unit/, "$name: with nothing of Unit's in it");
			ok($up->quiet(0.02), "$name: and Unit is asked once");
		}
		$fine->($name);

		# the replay after a 401 comes before any filter, and its answer is ended
		$get->();
		$up->call->answer(401, '{}', $when => 415);
		$up->grant;
		$up->call->answer(200, '{}', $when => 415);
		is($said->(), '415 unsupported_media_type', "$name: after a replay");
		$get->();
		$up->call->answer(401, '{}');
		$up->grant;
		$up->call->answer(401, '{}', $when => 502);
		is($said->(), '502 upstream_unavailable', "$name: the second 401 in a row");
		$get->();
		$up->grant;
		$up->call->answer(200, '{"data":[]}');
		is($said->(), '200', "$name: and the next request is served");

		# a further attempt
		$get->();
		$up->call->answer(503, '{}', $when => 415);
		$up->call->answer(404, '{}', $when => 415);
		is($said->(), '415 unsupported_media_type', "$name: after another attempt");
		ok($up->quiet(0.02), "$name: which was the last");

		# -- a write -----------------------------------------------------------------------

		# in one piece, with its length; in parts, without: [HEADERS, PARTS]
		my %body = (whole => ['Content-Length' => 26], parts => ['Transfer-Encoding' => 'chunked']);
		for my $shape ('whole', 'parts') {
			for my $status (422, 415) {
				my @write = (PATCH => '/customers/me', as => 'alice', json => $patch, headers => ['Idempotency-Key' => "$shape-" . ++$serial]);
				$send->(@write);
				my $call = $call->();
				$call->body;
				my $head = "HTTP/1.1 200 OK\r\nContent-Type: application/vnd.api+json\r\n$when: $status\r\n" . join(': ', @{$body{$shape}}) . "\r\n\r\n";
				my $first = '{"data":{"n":';
				if ($shape eq 'whole') {
					$call->send("$head$first\"of-unit\"}}\n\n");
					$call->done;
					like($said->(), qr/\A$status\b/, "$name, $shape: a write becomes a $status");
				}
				else {
					$call->send("${head}d\r\n$first\r\n");
					like($said->(), qr/\A$status\b/, "$name, $shape: a write becomes a $status");
					$call->close;
				}
				# either Unit's own words, or the outcome is not known and Unit is asked
				$send->(@write);
				my $again = $up->call(timeout => 0.3);
				$again->answer(200, '{"data":{"n":"of-unit"}}') if $again;
				my $r = $client->response;
				is($r->status . $r->body =~ s/\s+\z//r, '200{"data":{"n":"of-unit"}}', "$name, $shape: the same key: Unit's word, not that of the filter");
			}
		}

		# -- calls of our own --------------------------------------------------------------

		my @session = (GET => '/accounts', token => $t->jwt(sub => 'alice', claims => {sid => 's' . ++$serial}));
		# without an error page: with one the core (as of 1.22) ends a subrequest twice
		for my $status (422, 409) {
			$send->(@session);
			$up->call->answer(201, {data => {type => 'customerBearerToken', attributes => {token => UnitGateway::Upstream::TOKEN, expiresIn => 3600}}}, $when => $status);
			# the core holds the client's connection for broken if it is in the middle of a body
			my $said = eval { $said->() } // 'closed';
			like($said, $when eq 'X-End' ? qr/\A(?:502|403) / : qr/\A(?:502|403) |\Aclosed\z/, "$name: a token call that becomes a $status has failed: $said");
			ok($up->quiet(0.02), "$name: and nothing is sent");
			$clock->advance(5);
		}
		$send->(@session);
		$up->grant;
		$up->call->answer(200, '{"data":[]}');
		is($said->(), '200', "$name: the next one makes a token");

		# -- the circuit ---------------------------------------------------------------------

		$clock->advance(61);
		for (1 .. 3) {
			$send->(PATCH => '/customers/me', as => 'alice', json => $patch);
			$call->()->answer(500, '{}', $when => 415);
			is($said->(), '415 unsupported_media_type', "$name: a failure of Unit's");
		}
		$get->();
		is($said->(), '503 broker_unavailable', "$name: that counts as one, whatever it has become");
		$clock->advance(11);
		$get->();
		$up->call->answer(200, '{}', $when => 415);
		is($said->(), '415 unsupported_media_type', "$name: the probe of the circuit");
		$fine->("$name, the circuit");
	}

	# what the log and the counters say
	$client->close;
	my %log;
	$log{"$_->{upstream_status} $_->{decision}"}++ for grep { $_->{status} eq '415' && $_->{operation} eq 'list-accounts' } $t->access_log;
	is_deeply(\%log, {map({ ("$_ unsupported_media_type" => 2) } '401 : 200', '503 : 404'), '200 unsupported_media_type' => 4}, "$order: the log has what Unit has said")
		or diag explain \%log;
	is_deeply([$t->workers], [$worker], "$order: one and the same worker");
	$t->stop;
}

done_testing();
