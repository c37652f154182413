#!/usr/bin/perl

# Another implementation of HTTP/2, nghttp2's clients, on the way through the
# gateway: thousands of requests on many streams of many connections; padding,
# priorities, heads longer than a frame, trailers, no compression table and one
# that changes its size; windows of a few bytes, for answers of Unit's and for our
# own; one stream at a time; the end of a connection after so many requests;
# uploads and payments with and without their length, given again by key; clients
# that do not wait. What the client is told was done was done, once, and nothing
# else. Skipped without the package nghttp2-client (script/setup --nghttp).
#
# P8 and P10 (bodies without a length), P13, P19 (streams that are reset), P22.

use strict;
use warnings;

use Test::More;
use UnitGateway;
use UnitGateway::Process qw(wait_until);

my ($nghttp, $h2load) = map { my $name = $_; (grep { -x } map { "$_/$name" } split(/:/, $ENV{PATH}), '/usr/bin')[0] } qw(nghttp h2load);
plan skip_all => 'no nghttp and h2load on this machine (script/setup --nghttp installs them)' if !$nghttp || !$h2load;

my $t = UnitGateway->new(http2 => 1, servers => join '', <<'EOT', map { my ($name, $more) = @$_; <<"EOT2" } ['FAST', ''], ['ONE', 'http2_max_concurrent_streams 1; large_client_header_buffers 4 8k;'], ['SHORT', 'keepalive_requests 7;']);
    upstream fast { server 127.0.0.1:%%PORT_ANSWER%%; keepalive 32; keepalive_requests 1000000; }
    server {
        listen 127.0.0.1:%%PORT_ANSWER%% backlog=4096;
        access_log "%%DIR%%/logs/upstream.log";
        location / { default_type application/vnd.api+json; return 200 '{"data":[]}'; }
    }
EOT
    server {
        listen 127.0.0.1:%%PORT_$name%% http2 backlog=4096;
        access_log "%%DIR%%/logs/access-$name.log";
        $more
        include "%%ROOT%%/conf/unit_errors.conf";
        location / {
            unit_gateway on;
            proxy_pass http://fast;
            include "%%ROOT%%/conf/unit_proxy.conf";
        }
        location /_unit/api/ {
            proxy_pass http://unit_api/;
            include "%%ROOT%%/conf/unit_broker.conf";
        }
    }
EOT2
$t->start;
my ($worker) = $t->workers;
my $sandbox = $t->sandbox;
my $alice = $t->jwt(sub => 'alice');
my @alice = (-H => "authorization: Bearer $alice");
my @json = (-H => 'content-type: application/vnd.api+json');
my $mark = $sandbox->mark;

# what has reached Unit since the last time
sub calls {
	my @all = $sandbox->journal($mark);
	$mark = $all[-1]{n} if @all;
	return grep { $_->{path} !~ /token/ } @all;
}

# What a program says, standard error included.
sub output {
	my (@command) = @_;
	my $pid = open(my $fh, '-|') // die "fork: $!";
	if (!$pid) {
		open STDERR, '>&', \*STDOUT;
		exec @command or POSIX::_exit(127);
	}
	binmode $fh;
	my $text = do { local $/; <$fh> } // '';
	close $fh;
	return $text;
}

# One run of nghttp: its streams in order, each with status, headers, length and
# frames of its body, whether it has ended, and with which error.
sub nghttp {
	my ($target, @options) = @_;

	my $port = $target =~ s/\A(FAST|ONE|SHORT)// ? $t->port($1) : $t->port('H2');
	my $text = output($nghttp, qw(-v -t 10), @options, "http://127.0.0.1:$port$target");
	my %stream;
	while ($text =~ /(?:recv \(stream_id=(\d+)\) (:?[^\s:]+): (.*)|(recv|send) (\w+) frame <length=(\d+), flags=0x(\w\w), stream_id=(\d+)>\n((?:          .*\n)*))/g) {
		my ($id, $name, $value, $way, $type, $length, $flags, $of, $more) = ($1, $2, $3, $4, $5, $6, $7, $8, $9);
		if (defined $id) {
			push @{$stream{$id}{$name}}, $value;
			next;
		}
		my $s = $stream{$of} //= {};
		if ($way eq 'send') {
			push @{$s->{sent}}, {type => $type, length => $length, flags => hex $flags, more => $more};
			next;
		}
		$s->{end} = 1 if $type =~ /\A(?:DATA|HEADERS)\z/ && hex($flags) & 1;
		push @{$s->{data}}, $length if $type eq 'DATA';
		($s->{error}) = $more =~ /error_code=(\w+)/ if $type eq 'RST_STREAM';
		($stream{goaway}{last}, $stream{goaway}{error}) = $more =~ /last_stream_id=(\d+), error_code=(\w+)/ if $type eq 'GOAWAY';
	}
	my @ids = sort { $a <=> $b } grep { /\A\d+\z/ && $stream{$_}{sent} && grep { $_->{type} eq 'HEADERS' && $_->{flags} & 4 } @{$stream{$_}{sent}} } keys %stream;
	my ($lost) = $text =~ /total=\d+, processed=(\d+)/;
	return {text => $text, stream => [map { $stream{$_} } @ids], goaway => $stream{goaway}, processed => $lost // scalar @ids};
}

# "STATUS" or "STATUS xN" for all streams of a run, each with the whole of its body
sub statuses {
	my ($run) = @_;
	my %n;
	for my $s (@{$run->{stream}}) {
		my $length = 0;
		$length += $_ for @{$s->{data} // []};
		my $whole = $s->{end} && $length == ($s->{'content-length'}[0] // $length);
		$n{$s->{':status'} ? $s->{':status'}[0] . ($whole ? '' : ' cut') : $s->{error} // 'nothing'}++;
	}
	return join ', ', map { $n{$_} == 1 ? $_ : "$_ x$n{$_}" } sort keys %n;
}

# NAME, expected statuses, how many calls Unit gets, arguments of nghttp()
sub run {
	my ($name, $want, $calls, @args) = @_;
	my $run = nghttp(@args);
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is(statuses($run), $want, "$name: $want") or diag substr $run->{text} =~ s/eyJ[\w.-]+/JWT/gr, 0, 4000;
	my @calls = calls();
	is(scalar @calls, $calls, "$name: $calls of it at Unit");
	$run->{calls} = \@calls;
	return $run;
}

# how often the answer of the other upstream was given so far
my $upstream = sub { return scalar(() = $t->read_file('logs/upstream.log') =~ m{"GET /accounts }g) };
my $before;

sub frames { my ($s, $type) = @_; return grep { $_->{type} eq $type } @{$s->{sent}} }

# -- streams ---------------------------------------------------------------------------------

is($t->get('/accounts', token => $alice)->status, 200, 'a token');
calls();
my $r = run('one', 200, 1, '/accounts', @alice);
is($r->{stream}[0]{'content-type'}[0] =~ s/;.*//r, 'application/vnd.api+json', 'its type');
is($r->{calls}[0]{headers}{authorization} =~ /\ABearer v2\./, 1, 'with a token of Unit');
is($r->{calls}[0]{headers}{'x-request-id'}, $r->{stream}[0]{'x-request-id'}[0], 'and under its id');
is(output($nghttp, @alice, 'http://127.0.0.1:' . $t->port('H2') . '/customers/me') =~ /"id":"10001"/, 1, 'her own');
calls();

$r = run('a hundred at once', '200 x100', 100, '/accounts', @alice, '-m', 100);
my %ids = map { $_->{'x-request-id'}[0] => 1 } @{$r->{stream}};
is(scalar keys %ids, 100, 'each with an id of its own');
my $bytes = $r->{stream}[0]{'content-length'}[0];
is(join(' ', keys %{{map { $_->{headers}{'x-request-id'} => 1 } grep { !$ids{$_->{headers}{'x-request-id'}} } @{$r->{calls}}}}), '', 'and no others at Unit');
run('a hundred refusals', '401 x100', 0, '/accounts', '-m', 100);
run('a hundred of nothing', '404 x100', 0, '/nothing', @alice, '-m', 100);

# -- frames ----------------------------------------------------------------------------------

$r = run('padding', '200 x5', 5, '/accounts', @alice, qw(-m 5 -b 255));
is(scalar(grep { $_->{flags} & 8 } map { frames($_, 'HEADERS') } @{$r->{stream}}), 5, 'was there');
$r = run('no priorities', '200 x5', 5, '/accounts', @alice, qw(-m 5 --no-dep));
is(scalar(grep { $_->{flags} & 32 } map { frames($_, 'HEADERS') } @{$r->{stream}}), 0, 'there were none');
$r = run('weights', '200 x20', 20, '/accounts', @alice, qw(-m 20 -p 256));
is(scalar(grep { $_->{more} =~ /weight=256/ } map { frames($_, 'HEADERS') } @{$r->{stream}}), 20, 'were there');

$r = run('a head longer than a frame', 200, 1, '/accounts', @alice, '--continuation');
cmp_ok((frames($r->{stream}[0], 'HEADERS'))[0]{length}, '>', 16384, 'continued');
is(scalar(grep { /continuation/ } keys %{$r->{calls}[0]{headers}}), 0, 'and nothing of it goes on');
$r = run('a head of 50 KB', 200, 1, '/accounts', @alice, map { (-H => "x-$_: " . 'y' x 10_000) } 1 .. 5);
$before = $upstream->();
$r = nghttp('ONE/accounts', @alice, map { (-H => "x-$_: " . 'y' x 10_000) } 1 .. 5);
like(statuses($r), qr/\A(?:400|431|494|nothing|[A-Z_]+)\z/, 'a head larger than there is room for');
cmp_ok((frames($r->{stream}[0], 'HEADERS'))[0]{length}, '>', 32768, 'was sent');
is($upstream->(), $before, 'is no request');

for my $o (['no table', '--encoder-header-table-size=0'], ['no table for answers', '-c', 0], ['one that is made small and large', '-c', 0, '-c', 4096], ['large ones', '-c', '1M', '--encoder-header-table-size=1M']) {
	my ($name, @options) = @$o;
	run("compression, $name", '200 x20', 20, '/accounts', @alice, '-m', 20, @options);
	run("compression, $name, refused", '401 x20', 0, '/accounts', '-H', 'authorization: Bearer x.y.z', '-m', 20, @options);
}

# -- windows ---------------------------------------------------------------------------------

for my $bits (1, 4, 8) {
	my $max = 2 ** $bits - 1;
	for my $o ([200, 3, '/accounts', @alice], [401, 0, '/accounts'], [404, 0, '/nothing', @alice], [403, 0, '/customers/10002', @alice]) {
		my ($status, $calls, $target, @options) = @$o;
		$r = run("windows of $max bytes, $status", "$status x3", $calls, $target, @options, '-m', 3, '-w', $bits);
		is(scalar(grep { $_ > $max } map { @{$_->{data}} } @{$r->{stream}}), 0, 'never more at once');
	}
}
my $body = output($nghttp, @alice, '-w', 3, 'http://127.0.0.1:' . $t->port('H2') . '/accounts');
calls();
is(length $body, $bytes, 'seven bytes at a time');
is(eval { JSON::PP->new->utf8->decode($body)->{data}[0]{id} }, '1001', 'all of them in order');

# no window at all: what waits for one is given up when the client leaves
for my $o ([200, '/accounts', @alice], [404, '/nothing', @alice], [401, '/accounts']) {
	my ($status, $target, @options) = @$o;
	# nghttp waits for as long as it is told, and a busy machine may need longer
	for my $ms (300, 1200, 4800) {
		$r = nghttp("FAST$target", @options, qw(-m 30 -w 0 -t), $ms . 'ms');
		last if 30 == grep { $_->{':status'} } @{$r->{stream}};
	}
	is(scalar(grep { $_->{data} && grep { $_ } @{$_->{data}} } @{$r->{stream}}), 0, "no window, $status: no data");
	is(scalar(grep { ($_->{':status'}[0] // '') eq $status } @{$r->{stream}}), 30, 'but heads');
}

# -- connections -----------------------------------------------------------------------------

$r = run('one stream at a time', '200 x20', 0, 'ONE/accounts', @alice, qw(-m 20 -M 1));
like($r->{text}, qr/recv SETTINGS frame .*\n.*\n\s+\[SETTINGS_MAX_CONCURRENT_STREAMS\(0x03\):1\]/, 'that is the limit');
$before = $upstream->();
$r = nghttp('ONE/accounts', @alice, qw(-m 20));
my $served = grep { ($_->{':status'}[0] // '') eq '200' } @{$r->{stream}};
is($served + grep({ ($_->{error} // '') eq 'REFUSED_STREAM' } @{$r->{stream}}), 20, 'who does not wait for the limit is served or refused');
ok(wait_until(5, sub { $upstream->() - $before == $served }), 'and what was refused was not done');

$before = $upstream->();
$r = nghttp('SHORT/accounts', @alice, qw(-m 30 -M 1));
($served) = statuses($r) =~ /\A200 x(\d+)/;
cmp_ok($served // 0, '>=', 7, 'seven requests of a connection are served');
cmp_ok($served // 0, '<', 30, 'and not all');
is($r->{goaway}{error}, 'NO_ERROR', 'it ends in order');
ok(wait_until(5, sub { $upstream->() - $before == $served }), 'what was not answered was not done') or diag $upstream->() - $before;

# clients that do not wait: 40 streams each, given up while Unit thinks
$sandbox->fault(GET => '/accounts', {delay_ms => 400}, 40);
$r = nghttp('/accounts', @alice, qw(-m 40 -t 100ms));
is(statuses($r), 'nothing x40', 'forty that were given up');
$sandbox->clear_faults;
calls();
run('the next one', 200, 1, '/accounts', @alice);

# -- bodies ----------------------------------------------------------------------------------

my $text = '{"data":{"type":"individualCustomer","attributes":{"tags":{"n":"1"}}}}';
my $file = $t->write_file('patch.json', $text);
my @patch = (@alice, @json, -H => ':method: PATCH', -d => $file);
$r = run('a body', 200, 1, '/customers/me', @patch);
is($r->{calls}[0]{body}, $text, 'as it is');
for my $o (['without its length', '--no-content-length'], ['padded', '-b', 255], ['both', '--no-content-length', '-b', 200]) {
	my ($name, @options) = @$o;
	$r = run("a body $name", 200, 1, '/customers/me', @patch, @options);
	is($r->{calls}[0]{body}, $text, 'as it is');
	is($r->{calls}[0]{headers}{'content-length'}, length $text, 'and its length is told');
}

# nginx (as of 1.22) ends the connection of who sends trailers; newer ones need not
$r = nghttp('/customers/me', @patch, '--trailer', 'x-request-id: 0123456789abcdef-trailer', '--trailer', 'authorization: Bearer x');
my @trailed = calls();
like(statuses($r) . ' ' . @trailed . ' ' . ($r->{goaway}{error} // ''), qr/\A(?:nothing 0 PROTOCOL_ERROR|200 1 )\z/, 'trailers: all or nothing');
unlike(join(' ', map { ($_->{body} eq $text ? () : 'Bearer x'), %{$_->{headers}} } @trailed), qr/trailer|Bearer x\b/, 'trailers are no headers');
run('a body that nobody wants', '401 x10', 0, '/customers/me', @patch[2 .. 7], '-m', 10);

my $image = $t->write_file('image.jpg', join '', map { sprintf '%08x', $_ * 2654435761 % 4294967296 } 1 .. 40_000);
my @upload = ('/check-deposits/1701/front', @alice, '-H', ':method: PUT', '-H', 'content-type: image/jpeg', '-d', $image);
$r = run('an upload without two factors', 401, 0, @upload);
is($r->{stream}[0]{error}, 'NO_ERROR', 'the rest of which is not wanted');

my %o = (token => $alice);
my $answer = $t->post('/customers/10001/token/verification', %o, json => {data => {type => 'customerTokenVerification', attributes => {channel => 'sms'}}});
$answer = $t->post('/customers/10001/token', %o, json => {data => {type => 'customerToken', attributes => {
	scope => 'payments-write check-deposits-write', verificationToken => $answer->json->{data}{attributes}{verificationToken}, verificationCode => $sandbox->otp(10001)->{code}}}});
is($answer->status, 201, 'two-factor authentication');
calls();
for my $o (['with its length'], ['without its length', '--no-content-length'], ['in windows', '-w', 4]) {
	my ($name, @options) = @$o;
	$r = run("an upload $name", 200, 1, @upload, @options);
	is($r->{calls}[0]{body} eq UnitGateway::slurp($image), 1, 'is whole');
}

# -- payments --------------------------------------------------------------------------------

my %account = map { $_ => {data => {type => 'depositAccount', id => "100$_"}} } 1, 2;
my $payment = $t->write_file('payment.json', JSON::PP->new->utf8->canonical->encode(
	{data => {type => 'bookPayment', attributes => {amount => 100, description => 'x'}, relationships => {account => $account{1}, counterpartyAccount => $account{2}}}}));
calls();

for my $o (['with its length'], ['without its length', '--no-content-length'], ['padded, in small windows', qw(-b 100 -w 5)]) {
	my ($name, @options) = @$o;
	my $paid = $sandbox->counter('payments_created');
	my @pay = ('/payments', @alice, @json, '-H', "idempotency-key: $name", '-d', $payment);
	my $first = run("a payment $name", 201, 1, @pay, @options);
	is($first->{stream}[0]{'idempotency-replayed'}, undef, 'done');
	my $again = run("again, $name", '201 x5', 0, @pay, '-m', 5);
	is(scalar(grep { ($_->{'idempotency-replayed'}[0] // '') eq 'true' } @{$again->{stream}}), 5, 'told again');
	$again = run("again, $name", 201, 0, @pay, @options, '--no-content-length');
	is($again->{stream}[0]{'idempotency-replayed'}[0], 'true', 'and without a length');
	is($sandbox->counter('payments_created') - $paid, 1, 'one payment');
}
my $paid = $sandbox->counter('payments_created');
$r = nghttp('/payments', @alice, @json, '-H', 'idempotency-key: many', '-d', $payment, '-m', 50);
like(statuses($r), qr/\A201(?: x\d+)?(?:, 409(?: x\d+)?)?\z/, 'fifty of one key on one connection: ' . statuses($r));
is($sandbox->counter('payments_created') - $paid, 1, 'one payment');

# -- many ------------------------------------------------------------------------------------

sub h2load {
	my ($target, @options) = @_;
	my $port = $target =~ s/\A(FAST)// ? $t->port($1) : $t->port('H2');
	my $text = output($h2load, @options, "http://127.0.0.1:$port$target");
	return join ', ', $text =~ /(\d+ total), .*, (\d+ done), .*?(\d+ failed), (\d+ errored), (\d+ timeout)/, $text =~ /(\d+ 2xx), .*, (\d+ 4xx), (\d+ 5xx)/;
}

$before = $upstream->();
is(h2load('FAST/accounts', @alice, qw(-n 6000 -c 12 -m 50)), '6000 total, 6000 done, 0 failed, 0 errored, 0 timeout, 6000 2xx, 0 4xx, 0 5xx', '6,000 requests of 12 connections');
ok(wait_until(5, sub { $upstream->() - $before == 6000 }), 'each of them once') or diag $upstream->() - $before;
is(h2load('FAST/accounts', @alice, qw(-n 1000 -c 10 -m 100 -w 4 -W 16)), '1000 total, 1000 done, 0 failed, 0 errored, 0 timeout, 1000 2xx, 0 4xx, 0 5xx', 'with small windows');
is(h2load('FAST/accounts', qw(-n 6000 -c 12 -m 50)), '6000 total, 6000 done, 6000 failed, 0 errored, 0 timeout, 0 2xx, 6000 4xx, 0 5xx', '6,000 refusals');
is(h2load('/customers/me', @alice, @json, '-d', $file, qw(-n 200 -c 5 -m 20 -H), ':method: PATCH'), '200 total, 200 done, 0 failed, 0 errored, 0 timeout, 200 2xx, 0 4xx, 0 5xx', 'bodies');
is(scalar(grep { $_->{body} ne $text } grep { $_->{method} eq 'PATCH' } calls()), 0, 'each as it was');

is($t->get('/accounts', token => $alice)->status, 200, 'HTTP/1.1 goes on');
is_deeply([$t->workers], [$worker], 'in one and the same worker');

$t->done;
