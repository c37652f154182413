package UnitSandbox::Faults;

# Things that go wrong on request. First posted, first used.

use strict;
use warnings;

use UnitSandbox::Error ();
use UnitSandbox::Json ();

my @faults;

sub clear { @faults = () }

sub as_data {
	return [map { {match => $_->{match}, action => $_->{action}, times => $_->{times} < 0 ? 'always' : $_->{times}} } @faults];
}

# Returns undef, or what is wrong with the fault.
sub add {
	my ($spec) = @_;

	return 'A fault is an object.' if ref $spec ne 'HASH';
	my ($match, $action, $times) = ($spec->{match} // {}, $spec->{action}, $spec->{times} // 1);
	return 'match and action must be objects.' if ref $match ne 'HASH' || ref $action ne 'HASH' || !%$action;
	for (keys %$match) {
		return "match.$_ is unknown or not a string." if !/\A(?:method|path)\z/ || ref $match->{$_};
	}
	for (keys %$action) {
		return "action.$_ is unknown." if !/\A(?:status|headers|body|delay_ms|drop|truncate)\z/;
	}
	return 'action.status must be 200 to 599.' if defined $action->{status} && $action->{status} !~ /\A[2-5]\d\d\z/;
	return 'action.drop is "before" or "after".' if defined $action->{drop} && $action->{drop} !~ /\A(?:before|after)\z/;
	for (qw(delay_ms truncate)) {
		return "action.$_ must be a whole number." if defined $action->{$_} && $action->{$_} !~ /\A\d{1,9}\z/;
	}
	return 'action.headers must be an object.' if defined $action->{headers} && ref $action->{headers} ne 'HASH';
	$times = -1 if $times eq 'always';
	return 'times must be a whole number or "always".' if $times !~ /\A-?\d{1,9}\z/;
	push @faults, {match => $match, action => $action, times => $times} if $times != 0;
	return undef;
}

# The action for this call, or undef. Uses the fault up.
sub take {
	my ($method, $target) = @_;

	return undef if !@faults;
	my ($path) = split /\?/, $target, 2;
	for my $i (0 .. $#faults) {
		my $fault = $faults[$i];
		my $m = $fault->{match};
		next if defined $m->{method} && uc $m->{method} ne $method;
		next if defined $m->{path} && !_path_matches($m->{path}, $path, $target);
		splice @faults, $i, 1 if $fault->{times} > 0 && --$fault->{times} == 0;
		return $fault->{action};
	}
	return undef;
}

# The answer of a fault that has a status: (status, body, headers).
sub answer {
	my ($action) = @_;

	my $body = $action->{body};
	if (ref $body) { $body = UnitSandbox::Json::encode($body) }
	elsif (defined $body) { utf8::encode($body) }
	elsif ($action->{status} >= 400) { $body = UnitSandbox::Error::error_body($action->{status}) }
	else { $body = '' }
	my @headers;
	my $typed;
	for my $name (sort keys %{$action->{headers} // {}}) {
		my $value = $action->{headers}{$name};
		push @headers, $name => "$_" for ref $value eq 'ARRAY' ? @$value : $value;
		$typed = 1 if lc $name eq 'content-type';
	}
	unshift @headers, 'Content-Type' => 'application/vnd.api+json; charset=utf-8' if !$typed && length $body;
	return ($action->{status}, $body, \@headers);
}

sub _path_matches {
	my ($pattern, $path, $target) = @_;

	my $subject = index($pattern, '?') >= 0 ? $target : $path;
	return substr($subject, 0, length($pattern) - 1) eq substr($pattern, 0, -1) if substr($pattern, -1) eq '*';
	return $subject eq $pattern;
}

1;
