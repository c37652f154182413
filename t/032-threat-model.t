#!/usr/bin/perl

# docs/threat-model.md says for each item of OWASP's list, of RFC 8725 and of some
# others what is done, where, and which test proves it: no item is missing, and
# every file that it names is there, as are the tests that other pages name.
# Then those of its claims that no other test holds: a token is taken from the
# Authorization header alone (RFC 6750 2), "zip" has no meaning (RFC 8725 3.6),
# another's object is asked for with the caller's own token (API1), customers make
# no webhooks (API7), and slow clients are in nobody's way.
#
# P34 (what a token says of itself).

use strict;
use warnings;

use Test::More;
use UnitGateway;

sub slurp {
	my ($name) = @_;
	open my $fh, '<:encoding(UTF-8)', $name or die "$name: $!";
	local $/;
	return scalar <$fh>;
}

# -- the page ------------------------------------------------------------------------

my $page = slurp('docs/threat-model.md');

# title => text of each section
my %section = $page =~ /^\#{2,3} ([^\n]+)\n(.*?)(?=^\#{2,3} |\z)/gms;

for my $item ((map { "API$_:2023 " } 1 .. 10), (map { "RFC 8725 3.$_ " } 1 .. 12), 'RFC 6750 2 ', 'RFC 6750 3 ', 'RFC 9700 2.2.1 ',
	'RFC 9700 2.3 ', 'RFC 9700 4.9 ', 'RFC 9700 4.13 ', 'Request smuggling', 'Caches and timing', 'Denial of service')
{
	is(scalar(grep { index($_, $item) == 0 } keys %section), 1, "one section: $item");
}

for my $title (sort grep { $section{$_} =~ /^- \*\*Does\*\*/m } keys %section) {
	my %part = $section{$title} =~ /^- \*\*(\w+)\*\*: (.*?)(?=^- \*\*|^\s*\z)/gms;
	is_deeply([sort keys %part], [qw(Does Proof Residual Where)], "$title: what, where, proof, residual");
	like($part{Proof} // '', qr/`\d{3}-|`(?:test|fuzz)_|not tested/, "$title: a test, or that there is none");
	like($part{Where} // '', qr/`\w+\.c`|not there/, "$title: a file");
}

my @missing = grep { !-e } map {
	/\A\d{3}-[a-z0-9-]+\z/ ? "t/$_.t" : /\Atest_\w+\z/ ? "t/unit/$_.c" : /\Afuzz_\w+\z/ ? "t/fuzz/$_.c"
	: /\A_\w+\.c\z/ ? "ngx_unit_module/ngx_http_unit$_" : /\Angx_\w+\.c\z/ ? "lua-free-filters/$_" : ()
} $page =~ /`([^`\n]+)`/g;
is("@missing", '', 'every file that it names is there');

# -- tests that other pages name --------------------------------------------------------

my @pages = ('README.md', 'SECURITY.md', glob('docs/*.md'), glob('*/README.md'));
my @gone;
for my $name (@pages) {
	push @gone, map { "$name: $_" } grep { !-e } slurp($name) =~ m{\b(t/(?:unit/|fuzz/|lib/)?[\w-]+\.(?:t|c|h|pm|mk))\b}g;
}
is("@gone", '', 'every test that a page names is there');

# -- what no other test holds ---------------------------------------------------------------

my $t = UnitGateway->new(workers => 1, server => 'client_header_timeout 1s; client_body_timeout 1s;')->start;
my $token = $t->jwt(sub => 'alice');
my $mark = $t->sandbox->mark;
my @form = (type => 'application/x-www-form-urlencoded', body => "access_token=$token");

for (
	['in the query', GET => "/accounts?access_token=$token"],
	['in a form', POST => '/accounts', @form],
	['in the form of a GET', GET => '/accounts', @form],
	['in a cookie', GET => '/accounts', headers => [Cookie => "access_token=$token; Authorization=Bearer $token"]],
	['in a header of another name', GET => '/accounts', headers => [map { ($_ => "Bearer $token") } qw(X-Authorization Proxy-Authorization)]],
) {
	my ($name, $method, $target, @more) = @$_;
	my $r = $t->request($method, $target, @more);
	is($r->status . ' ' . $r->code, '401 token_missing', "a token $name is none");
}
is(scalar(() = $t->sandbox->journal($mark)), 0, 'and Unit has heard nothing of it');

is($t->get('/accounts', token => $t->jwt(sub => 'alice', header => {zip => 'DEF'}))->status, 200, 'zip: the payload is what it is');

my $r = $t->get('/accounts/2001', as => 'alice');
is($r->status, 404, 'another\'s account: Unit refuses');
my ($call) = grep { $_->{path} eq '/accounts/2001' } $t->sandbox->journal($mark);
is("$call->{token_kind} $call->{customer}", 'customer 10001', 'for it was asked with a token of the caller\'s customer');
is($t->get('/accounts/2001', as => 'bob')->status, 200, 'whose it is sees it');

$r = $t->post('/webhooks', as => 'alice', json => {data => {
	type => 'webhook', attributes => {url => 'http://169.254.169.254/latest', token => 'x', contentType => 'Json', label => 'x'},
}});
is($r->status . ' ' . $r->code, '403 operation_not_allowed', 'a customer makes no webhook');
is(scalar(grep { $_->{path} =~ /webhooks/ } $t->sandbox->journal($mark)), 0, 'nor does Unit hear of one');

# the first half of a head, of a body, and of a head after a whole request
my $half = "GET /accounts HTTP/1.1\r\nHost: localhost\r\nX-Slow: ";
my $body = $t->bytes(POST => '/accounts', as => 'alice', json => {data => {}});
my %slow = ('head' => $half, 'body' => substr($body, 0, -3), 'second head' => $t->bytes(GET => '/accounts', as => 'alice') . $half);
my %client;
for my $name (sort keys %slow) {
	push @{$client{$name}}, $t->connect for 1 .. 50;
	$_->send($slow{$name}) for @{$client{$name}};
}
is($t->get('/accounts', as => 'alice')->status, 200, 'slow clients: 150 wait, others do not');
is(scalar(grep { $_->response->status == 200 } @{$client{'second head'}}), 50, 'what is whole is answered');
is(scalar(grep { $_->closed } @{$client{$_}}), 50, "half a $_: closed in the end") for sort keys %slow;

$t->done;
