# A receiver of webhooks in a process of its own, and what it has been sent.
package WebhookReceiver;
use strict;
use warnings FATAL => 'all';
use File::Basename qw(dirname);
use IPC::Run;
use JSON::PP;
use Time::HiRes qw(usleep);

my $folder = dirname(__FILE__);

# folder: for its files; certificates => 1: with TLS, by an authority made on the spot.
sub start
{
	my ($class, $dir, %options) = @_;
	my $self = bless {dir => $dir, record => "$dir/record", out => '', ports => {}}, $class;
	$self->{certificates} = make_certificates($dir) if $options{certificates};
	$self->run;
	return $self;
}

# Also again after stop, on the same ports.
sub run
{
	my ($self) = @_;
	local @ENV{map { "PORT_$_" } keys %{$self->{ports}}} = values %{$self->{ports}};
	$self->{out} = '';
	$self->{process} = IPC::Run::start(['node', "$folder/webhook_receiver.js", $self->{record}, $self->{certificates} // ()],
		'>', \$self->{out});
	$self->{process}->pump until $self->{out} =~ /\n/;
	$self->{ports} = decode_json($self->{out});
}

sub stop
{
	my ($self) = @_;
	$self->{process}->kill_kill if $self->{process};
	undef $self->{process};
}

sub url
{
	my ($self, $path, $server, $host) = @_;
	$server //= 'http';
	return ($server eq 'http' ? 'http' : 'https') . '://' . ($host // '127.0.0.1') . ":$self->{ports}{$server}$path";
}

# What came, in order; of one path, if one is given.
sub requests
{
	my ($self, $path) = @_;
	open my $file, '<', $self->{record} or return;
	my @lines = <$file>;
	pop @lines if @lines && $lines[-1] !~ /\n\z/;
	return grep { !defined $path || $_->{path} eq $path } map { decode_json($_) } @lines;
}

sub forget { my ($self) = @_; truncate $self->{record}, 0 }

# An authority, a certificate of it for localhost, one for another host, and one that has expired.
sub make_certificates
{
	my ($dir) = @_;
	my %names = (https => 'DNS:localhost,IP:127.0.0.1', wrong_host => 'DNS:other.example', expired => 'DNS:localhost,IP:127.0.0.1');
	my @key = qw(-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes);
	openssl(qw(req -x509), @key, '-keyout', "$dir/authority.key", '-out', "$dir/authority.pem", qw(-subj /CN=authority -days 30));
	for my $name (sort keys %names)
	{
		open my $extensions, '>', "$dir/$name.ext" or die "$dir/$name.ext: $!";
		print $extensions "subjectAltName=$names{$name}\n";
		close $extensions;
		openssl('req', @key, '-keyout', "$dir/$name.key", '-out', "$dir/$name.csr", qw(-subj /CN=localhost));
		openssl(qw(x509 -req -in), "$dir/$name.csr", '-CA', "$dir/authority.pem", '-CAkey', "$dir/authority.key", '-CAcreateserial',
			'-days', $name eq 'expired' ? 0 : 30, '-extfile', "$dir/$name.ext", '-out', "$dir/$name.pem");
	}
	return $dir;
}

sub openssl
{
	my $errors;
	IPC::Run::run(['openssl', @_], '>', '/dev/null', '2>', \$errors) or die "openssl @_: $errors";
}

# The folder of npm packages, installed into dir; undef where there is no registry.
sub install_packages
{
	my ($dir, @packages) = @_;
	my $output = '';
	mkdir $dir;
	return "$dir/node_modules" if eval {
		IPC::Run::run([qw(npm install --no-audit --no-fund --no-save --prefix), $dir, @packages], '>&', \$output, IPC::Run::timeout(120)) };
	print "# npm install @packages: $output\n";
	return undef;
}

# For each of requests, with which of its secrets it verifies: [1, 0].
sub verify
{
	my ($modules, @cases) = @_;
	my $json = JSON::PP->new->canonical;
	my $input = join '', map { $json->encode($_) . "\n" } @cases;
	my ($output, $errors);
	IPC::Run::run(['node', "$folder/webhook_verify.js", $modules], '<', \$input, '>', \$output, '2>', \$errors)
		or die "webhook_verify.js: $errors";
	return map { [split / /] } split /\n/, $output;
}

1;
