package UnitGateway::Browser;

# A real Chromium without a window, driven by chromedriver over the WebDriver
# protocol. It reaches this machine alone: other names do not resolve.

use strict;
use warnings;

use File::Temp ();
use HTTP::Tiny ();
use JSON::PP ();
use MIME::Base64 ();
use Scalar::Util ();
use UnitGateway::Port ();
use UnitGateway::Process qw(wait_until);

use constant {
	START => 30,
	CALL => 30,
	ELEMENT => 'element-6066-11e4-a52e-4f735466cecf',
};

my $json = JSON::PP->new->utf8->canonical->allow_nonref;

my %open;

my @args = qw(
	--headless=new --no-sandbox --disable-gpu --disable-quic --disable-dev-shm-usage --no-first-run --no-proxy-server
	--disable-background-networking --disable-component-update --disable-sync --disable-default-apps
	--disable-extensions --password-store=basic --use-mock-keychain
);
push @args, '--window-size=1280,900', '--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1';

# Why there is none, or nothing.
sub missing {
	for my $program (qw(chromium chromedriver)) {
		return "no $program on this machine (script/setup --browser installs it)" if !defined _path($program);
	}
	return undef;
}

sub _path {
	my ($name) = @_;
	my ($path) = grep { -x } map { "$_/$name" } split(/:/, $ENV{PATH}), '/usr/bin';
	return $path;
}

# The browser; dies when it does not start.
sub new {
	my ($class) = @_;

	my $self = bless {dir => File::Temp::tempdir('unit-browser-XXXXXX', TMPDIR => 1, CLEANUP => 1)}, $class;
	my $port = $self->{port} = UnitGateway::Port->new;
	$self->{base} = 'http://127.0.0.1:' . $port->number;
	$self->{http} = HTTP::Tiny->new(timeout => CALL, proxy => undef, http_proxy => undef, https_proxy => undef);
	$self->{driver} = UnitGateway::Process->start(
		name => 'chromedriver', output => "$self->{dir}/chromedriver.log",
		command => [_path('chromedriver'), '--port=' . $port->number],
		env => {HOME => $self->{dir}, XDG_CONFIG_HOME => $self->{dir}, XDG_CACHE_HOME => $self->{dir}},
	);
	wait_until(START, sub { !$self->{driver}->alive || eval { $self->_ask(GET => '/status')->{ready} } });
	my $session = $self->_ask(POST => '/session', {capabilities => {alwaysMatch => {
		browserName => 'chrome',
		'goog:chromeOptions' => {binary => _path('chromium'), args => [@args, "--user-data-dir=$self->{dir}/profile"]},
		'goog:loggingPrefs' => {browser => 'ALL', performance => 'ALL'},
	}}});
	$self->{session} = "/session/$session->{sessionId}";
	$self->{version} = $session->{capabilities}{browserVersion};
	$open{$self} = $self;
	Scalar::Util::weaken($open{$self});
	return $self;
}

sub version { $_[0]{version} }

sub _ask {
	my ($self, $method, $path, $data) = @_;

	my $response = $self->{http}->request($method, "$self->{base}$path", {
		headers => {'Content-Type' => 'application/json'},
		$method eq 'POST' ? (content => $json->encode($data // {})) : (),
	});
	my $answer = eval { $json->decode($response->{content}) };
	die "browser: $method $path: $response->{content}\n" if !$response->{success} || !$answer;
	return $answer->{value};
}

sub _call {
	my ($self, $method, $path, $data) = @_;
	return $self->_ask($method, "$self->{session}$path", $data);
}

sub open { $_[0]->_call(POST => '/url', {url => $_[1]}) }

# The value of a JavaScript expression; $_[0] and so on are arguments[0] and so on.
sub eval {
	my ($self, $expression, @values) = @_;
	return $self->_call(POST => '/execute/sync', {script => "return ($expression)", args => \@values});
}

# Elements by CSS selector that can be seen, now.
sub _find {
	my ($self, $selector) = @_;

	my $found = $self->_call(POST => '/elements', {using => 'css selector', value => $selector});
	return grep { $self->_call(GET => "/element/$_/displayed") } map { $_->{+ELEMENT} } @$found;
}

# The first one, waited for.
sub _element {
	my ($self, $selector) = @_;
	my $element = wait_until(10, sub { my ($first) = eval { $self->_find($selector) }; $first });
	return $element // die "nothing on the page is $selector\n";
}

sub click { my ($self, $selector) = @_; $self->_call(POST => '/element/' . $self->_element($selector) . '/click') }

# Types as a user would; "\n" is the Enter key.
sub type {
	my ($self, $selector, $text) = @_;
	$self->_call(POST => '/element/' . $self->_element($selector) . '/value', {text => $text =~ s/\n/\x{e007}/r});
}

# A key for whoever has the focus.
sub escape { $_[0]->_key("\x{e00c}") }
sub tab { $_[0]->_key("\x{e004}") }

sub _key {
	my ($self, $key) = @_;
	$self->_call(POST => '/actions', {actions => [{type => 'key', id => 'keyboard',
		actions => [map { {type => $_, value => $key} } qw(keyDown keyUp)]}]});
}

# The text that can be seen there, at most one element; '' if there is none.
sub text {
	my ($self, $selector) = @_;
	return join "\n", map { $self->_call(GET => "/element/$_/text") } $self->_find($selector);
}

# Waits until that text matches; returns the text, whether it does or not.
sub wait_text {
	my ($self, $selector, $regex) = @_;
	my $text;
	wait_until(10, sub { $text = eval { $self->text($selector) } // ''; $text =~ $regex });
	return $text;
}

# What the console has, since the last call.
sub console { @{$_[0]->_call(POST => '/se/log', {type => 'browser'})} }

# URLs of all that was asked for, since the last call.
sub urls {
	my ($self) = @_;
	my @events = map { $json->decode($_->{message})->{message} } @{$self->_call(POST => '/se/log', {type => 'performance'})};
	return map { $_->{params}{request}{url} } grep { $_->{method} eq 'Network.requestWillBeSent' } @events;
}

sub size { my ($self, $w, $h) = @_; $self->_call(POST => '/window/rect', {width => $w, height => $h}) }

# A command of the browser's own protocol, for what WebDriver cannot do.
sub command { my ($self, $name, %params) = @_; $self->_call(POST => '/goog/cdp/execute', {cmd => $name, params => \%params}) }

# The size of the page, smaller than a window may be too.
sub viewport {
	my ($self, $w, $h) = @_;
	$self->command('Emulation.setDeviceMetricsOverride', width => $w, height => $h, deviceScaleFactor => 1, mobile => JSON::PP::false);
}

# What a user has set, as (prefers-color-scheme => 'dark').
sub prefers {
	my ($self, %feature) = @_;
	$self->command('Emulation.setEmulatedMedia', features => [map { {name => $_, value => $feature{$_}} } sort keys %feature]);
}

# PNG
sub screenshot { MIME::Base64::decode_base64($_[0]->_call(GET => '/screenshot')) }

# Closing the session ends Chromium, and only then the driver may go.
sub close {
	my ($self) = @_;

	my $driver = delete $self->{driver} or return 1;
	eval { $self->_ask(DELETE => delete $self->{session}) } if $self->{session};
	return $driver->stop(TERM => 10);
}

sub DESTROY { local ($@, $?); $_[0]->close }

# before the driver is stopped
END {
	my $status = $?;
	$_->close for grep { $_ } values %open;
	$? = $status;
}

1;
