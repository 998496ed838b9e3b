# A stand-in of a gateway (test/gateway/NAME.js) in a process of its own, and the drivers as a program (test/gateway/driver.c).
package GatewayStandIn;
use strict;
use warnings FATAL => 'all';
use File::Basename qw(dirname);
use HTTP::Tiny;
use IPC::Run;
use JSON::PP;

my $folder = dirname(__FILE__) . '/../gateway';
my $json = JSON::PP->new->canonical->utf8;

sub start
{
	my ($class, $name, $modules, @arguments) = @_;
	my $self = bless {driver => $name, out => '', http => HTTP::Tiny->new(timeout => 5)}, $class;
	$self->{process} = IPC::Run::start(['node', "$folder/$name.js", $modules, @arguments], '>', \$self->{out}, IPC::Run::timeout(60));
	$self->{process}->pump until $self->{out} =~ /\n/;
	%$self = (%$self, %{$json->decode($self->{out})});
	return $self;
}

sub stop
{
	my ($self) = @_;
	$self->{process}->kill_kill if $self->{process};
	undef $self->{process};
}

sub DESTROY { my ($self) = @_; local ($?, $@); $self->stop }

# What it is told by a test.
sub control
{
	my ($self, $name, %told) = @_;
	my $answer = $self->{http}->post("$self->{url}/control/$name", {content => $json->encode(\%told)});
	die "control/$name: $answer->{content}" unless $answer->{status} == 200;
	return JSON::PP->new->utf8->allow_nonref->decode($answer->{content});
}

sub fault { my ($self, $on, @does) = @_; $self->control('fault', on => $on, does => \@does) }

# An account at it, of that code, in the database of a node.
sub create
{
	my ($self, $node, $code) = @_;
	my ($settings, $credentials) = map { $json->encode($self->{$_}) } qw(settings credentials);
	$node->safe_psql('postgres', "SELECT FROM billing.create_gateway('$code', '$self->{driver}', \$a\$$settings\$a\$, \$a\$$credentials\$a\$,
		base_url => '$self->{url}', notify_url => 'https://example.com/callbacks/$code')");
}

# What it tells, as an endpoint would hand it on; returns what it is answered.
sub tell
{
	my ($node, $code, $told) = @_;
	my ($headers, $body) = ($json->encode($told->{headers}), $told->{body});
	utf8::encode($body);
	$body = unpack 'H*', $body;
	return $node->safe_psql('postgres', "SELECT status, body FROM billing.receive_callback('$code', \$a\$$headers\$a\$, '\\x$body')");
}

# The drivers, compiled without a server.
package GatewayDriver;

sub start
{
	my ($class, $dir) = @_;
	my $self = bless {in => '', out => ''}, $class;
	my $top = "$folder/../..";
	my $config = $ENV{BILLING_HEADERS_PG_CONFIG} || $ENV{PG_CONFIG} || 'pg_config';
	my %said = map { my $said = `$config --$_`; chomp $said; ($_ => $said) } qw(cc includedir-server pkglibdir libdir);
	my @sources = (glob("$top/src/gateway/*.c"), map { "$top/src/$_.c" } qw(amount_parse currency decimal));
	my @command = (split(' ', $said{cc}), '-DFRONTEND', '-D_GNU_SOURCE', '-g', '-I', "$top/src", '-I', $said{'includedir-server'}, '-o', "$dir/driver",
		"$folder/driver.c", @sources, "-L$said{pkglibdir}", "-L$said{libdir}", '-lpgcommon', '-lpgport', '-lcrypto', '-lm');
	die "cannot compile the drivers: @command" if system(@command) != 0;
	$self->{process} = IPC::Run::start(["$dir/driver"], '<', \$self->{in}, '>', \$self->{out}, $self->{timeout} = IPC::Run::timeout(60));
	return $self;
}

sub stop
{
	my ($self) = @_;
	$self->{process}->kill_kill if $self->{process};
	undef $self->{process};
}

sub DESTROY { my ($self) = @_; local ($?, $@); $self->stop }

sub call
{
	my ($self, $call, $driver, %arguments) = @_;
	$self->{out} = '';
	$self->{timeout}->start(60);
	$self->{in} .= $json->encode({call => $call, driver => $driver, %arguments}) . "\n";
	$self->{process}->pump until $self->{out} =~ /\n/;
	return $json->decode($self->{out});
}

1;
