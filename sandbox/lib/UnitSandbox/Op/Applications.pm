package UnitSandbox::Op::Applications;

# Applications, their documents and beneficial owners, and the simulations that
# decide about them. An approved application becomes a customer.

use strict;
use warnings;

use UnitSandbox::Clock qw(iso);
use UnitSandbox::Counters qw(count);
use UnitSandbox::Error qw(fail invalid not_found);
use UnitSandbox::Json ();
use UnitSandbox::List qw(list);
use UnitSandbox::Model qw(make_customer ref_to);
use UnitSandbox::Request qw(attributes relationship own_param one tags_merged merge want_string);
use UnitSandbox::Store qw(put get res touch text next_id all);

# Numbers that one applicant has once.
my @IDENTITY = qw(ssn passport ein);

sub handlers {
	return (
		(map { ("create-$_-application" => \&_create) } qw(individual sole-proprietor business)),
		(map { ("update-$_" => \&_update) }
			qw(business-application business-officer individual-application sole-proprietor-application)),
		'update-beneficial-owner' => \&_update_owner,
		'cancel-application' => \&_cancel,
		'get-application' => \&_get,
		'list-applications' => sub { list($_[0], 'application') },
		(map { ("upload-application-document$_" => \&_upload) } '', '-back', '-multipart', '-back-multipart'),
		'list-application-documents' => \&_list_documents,
		'create-application-document' => \&_create_document,
		'verify-application-document' => sub { one(200, _document($_[0])) },
		'sandbox-approve-application' => \&_approve,
		'sandbox-deny-application' => \&_deny,
		'sandbox-approve-document' => sub { _decide_document($_[0], 'Approved') },
		'sandbox-reject-document' => sub { _decide_document($_[0], 'Invalid') },
	);
}

sub _create {
	my ($x) = @_;

	my $type = $x->{body}{data}{type};
	my %a = %{attributes($x)};
	delete $a{idempotencyKey};
	for (@IDENTITY) {
		want_string(\%a, $_, optional => 1);
		_refuse_duplicate($_, $a{$_}) if defined $a{$_};
	}
	my $owners = delete $a{beneficialOwners} // [];
	invalid('/data/attributes/beneficialOwners', 'beneficialOwners must be an array of objects.')
		if ref $owners ne 'ARRAY' || grep { ref ne 'HASH' } @$owners;
	my $tags = tags_merged({}, delete $a{tags});
	my $id = next_id('application');
	my $application = put('application', {
		type => $type, id => $id,
		attributes => {
			%a, createdAt => iso(), status => 'AwaitingDocuments', tags => $tags,
			message => 'Waiting for you to upload the required documents.',
		},
		relationships => {org => ref_to('org', '1'), documents => {data => []}},
	});
	_add_document($application, $type eq 'businessApplication' ? 'CertificateOfIncorporation' : 'IdDocument');
	my @refs = map { {type => 'beneficialOwner', id => _add_owner($id, $_)} } @$owners;
	res($application)->{relationships}{beneficialOwners} = {data => \@refs} if $type eq 'businessApplication';
	count('applications_created');
	return (201, _with_documents($application));
}

sub _refuse_duplicate {
	my ($name, $value) = @_;

	my @same = grep {
		my $a = res($_)->{attributes};
		defined $a->{$name} && $a->{$name} eq $value && $a->{status} !~ /\A(?:Denied|Canceled|Archived)\z/
	} @{all('application')};
	fail(
		400, 'duplicate_application', "There is an application with this $name.",
		pointer => "/data/attributes/$name", meta => {existingIds => [map { $_->{id} } @same]}
	) if @same;
}

sub _add_document {
	my ($application, $kind) = @_;

	my $id = next_id('document');
	my $document = put('document', {
		type => 'document', id => $id, attributes => {documentType => $kind, status => 'Required', description => 'Please provide it.'},
	}, application => $application->{id});
	push @{res($application)->{relationships}{documents}{data}}, {type => 'document', id => $id};
	touch($application);
	return $document;
}

sub _add_owner {
	my ($application, $attributes) = @_;

	my $id = next_id('beneficialOwner');
	put('beneficialOwner', {
		type => 'beneficialOwner', id => $id, attributes => {status => 'Approved', %$attributes},
		relationships => {application => ref_to('businessApplication', $application)},
	}, application => $application);
	return $id;
}

sub _documents {
	my ($application) = @_;
	return map { get('document', $_->{id}) } @{(res($application)->{relationships}{documents} // {data => []})->{data}};
}

sub _with_documents {
	my ($application) = @_;
	return '{"data":' . text($application) . ',"included":[' . join(',', map { text($_) } _documents($application)) . ']}';
}

sub _get {
	my ($x) = @_;
	return (200, _with_documents(own_param($x, 'application', 'applicationId')));
}

sub _update {
	my ($x) = @_;

	my $application = own_param($x, 'application', 'applicationId');
	my $resource = res($application);
	invalid('/data/type', "The application is a $resource->{type}.") if $resource->{type} ne $x->{body}{data}{type};
	my %patch = %{attributes($x)};
	my $tags = tags_merged($resource->{attributes}{tags}, delete $patch{tags});
	for (qw(status createdAt message), @IDENTITY) {
		invalid("/data/attributes/$_", "$_ cannot be changed.") if exists $patch{$_};
	}
	$resource->{attributes} = {%{merge($resource->{attributes}, \%patch)}, tags => $tags};
	return one(200, touch($application));
}

sub _update_owner {
	my ($x) = @_;

	my $owner = own_param($x, 'beneficialOwner', 'beneficialOwnerId');
	my $application = relationship($x, 'application')
		or invalid('/data/relationships/application', 'The application is missing.');
	not_found('application', $application->{id}) if $application->{id} ne $owner->{application};
	my $resource = res($owner);
	$resource->{attributes} = merge($resource->{attributes}, attributes($x));
	return one(200, touch($owner));
}

sub _decided {
	my ($x, $status, $message) = @_;

	my $application = own_param($x, 'application', 'applicationId');
	my $a = res($application)->{attributes};
	fail(400, 'application_status_invalid', "The application is $a->{status}.")
		if $a->{status} !~ /\A(?:AwaitingDocuments|PendingReview|Pending)\z/;
	@{$a}{qw(status message)} = ($status, $message);
	return touch($application);
}

sub _cancel {
	my ($x) = @_;
	return one(201, _decided($x, 'Canceled', attributes($x)->{reason} // 'By request.'));
}

sub _deny {
	my ($x) = @_;
	return one(200, _decided($x, 'Denied', attributes($x)->{reason} // 'Denied.'));
}

sub _approve {
	my ($x) = @_;

	my $application = _decided($x, 'Approved', 'Application has been approved.');
	my $resource = res($application);
	my %a = %{$resource->{attributes}};
	delete @a{qw(status message createdAt soleProprietorship officer ip)};
	$a{authorizedUsers} //= [];
	(my $type = $resource->{type}) =~ s/Application\z/Customer/;
	my $customer = make_customer($type, next_id('customer'), \%a, [$resource->{type}, $application->{id}]);
	$resource->{relationships}{customer} = ref_to($type, $customer->{id});
	return one(200, touch($application));
}

# The document of the path, which must be of the application of the path.
sub _document {
	my ($x) = @_;

	my $application = own_param($x, 'application', 'applicationId');
	my $document = own_param($x, 'document', 'documentId');
	not_found('document', $document->{id}) if $document->{application} ne $application->{id};
	return $document;
}

# The application waits for review once all documents have come.
sub _upload {
	my ($x) = @_;

	my $document = _document($x);
	fail(400, 'invalid_value', 'The body is empty.') if !length $x->{body};
	res($document)->{attributes}{status} = $x->{op}{name} =~ /-back/ ? 'ReceivedBack' : 'ReceivedFront';
	touch($document);
	my $application = get('application', $document->{application});
	my $a = res($application)->{attributes};
	if ($a->{status} eq 'AwaitingDocuments' && !grep { res($_)->{attributes}{status} eq 'Required' } _documents($application)) {
		@{$a}{qw(status message)} = ('PendingReview', 'Application is pending review.');
		touch($application);
	}
	return one(200, $document);
}

sub _list_documents {
	my ($x) = @_;
	my $application = own_param($x, 'application', 'applicationId');
	return (200, '{"data":[' . join(',', map { text($_) } _documents($application)) . ']}');
}

sub _create_document {
	my ($x) = @_;
	return one(200, _add_document(own_param($x, 'application', 'applicationId'), 'IdDocument'));
}

sub _decide_document {
	my ($x, $status) = @_;

	my $document = _document($x);
	my $a = res($document)->{attributes};
	$a->{status} = $status;
	$a->{reason} = attributes($x)->{reason} // 'Illegible.' if $status eq 'Invalid';
	return one(200, touch($document));
}

1;
