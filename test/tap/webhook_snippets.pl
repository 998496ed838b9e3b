# The receivers of doc/webhook.md as they stand there, against real deliveries: they accept what is signed for them, also while
# a secret is rotated, take each event once, and refuse what is signed with another secret.
# One whose language or packages are not here is skipped: Node's come from npm, Python's and Go's from where they were installed.
use strict;
use warnings FATAL => 'all';
use FindBin;
use lib $FindBin::Bin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use JSON::PP;
use BillingNode;
use WebhookReceiver;

plan skip_all => 'there is no node: Debian packages nodejs and npm' if system('command -v node >/dev/null') != 0;

my $node = PostgreSQL::Test::Cluster->new('webhook_snippets');
my $dir = $node->basedir;
my %snippets = read_page('doc/webhook.md');

BillingNode::start($node);
sql(q{CREATE EXTENSION billing; SELECT billing.create_tenant(1, 'Tenant')});

receiver('Node', \&node_command);
receiver('Python', \&python_command);
receiver('Go', \&go_command);
public_key();
$node->stop;
done_testing();

# The fenced blocks of code, each by the word that its introduction begins with.
sub read_page
{
	my ($page) = @_;
	my %found = slurp_file($page) =~ /^(Node|Python|Go|With `v1a`)[^\n]*:\n\n```\w+\n(.*?)^```$/msg;
	is(join(' ', sort keys %found), 'Go Node Python With `v1a`', 'the page has them all');
	return %found;
}

# make is given the snippet, a port and a file that gets the id of each event that is taken; it returns the command that runs it, or
# undef and why there is none.
sub receiver
{
	my ($language, $make) = @_;
	my $port = PostgreSQL::Test::Cluster::get_free_port();
	my $taken = "$dir/$language.taken";
	my ($command, $why) = $make->($snippets{$language}, $port, $taken);
  SKIP:
	{
		skip "$language: $why", 7 if !defined $command;
		my ($endpoint, $secret) = split /\|/, sql("SELECT endpoint_id, signing_secret FROM billing.create_webhook_endpoint('http://127.0.0.1:$port/webhooks', '{webhook.test}')");
		my $output = '';
		my $process = do { local $ENV{WEBHOOK_SECRET} = $secret; IPC::Run::start($command, '>&', \$output) };
		wait_for_port($port, $process) or diag($output);

		sql("SELECT billing.send_test_event($endpoint)");
		ok(poll("SELECT state = 'delivered' AND status = 204 FROM billing.webhook_delivery WHERE endpoint_id = $endpoint"), "$language: what is signed for it is accepted");
		my $event = sql("SELECT event_id FROM billing.webhook_delivery WHERE endpoint_id = $endpoint");
		is(slurp_file($taken), "$event\n", 'and taken');
		sql("SELECT billing.redeliver(1, $event, $endpoint)");
		ok(poll("SELECT state = 'delivered' FROM billing.webhook_delivery WHERE endpoint_id = $endpoint"), 'also when it comes again');
		is(slurp_file($taken), "$event\n", 'once');

		sql("SELECT billing.rotate_webhook_secret($endpoint); SELECT billing.send_test_event($endpoint)");
		ok(poll("SELECT count(*) = 2 FROM billing.webhook_delivery WHERE endpoint_id = $endpoint AND state = 'delivered'"), 'while the secret is rotated, with the one before');
		sql("UPDATE billing.webhook_endpoint SET previous_until = now() WHERE endpoint_id = $endpoint; SELECT billing.send_test_event($endpoint)");
		ok(poll("SELECT count(*) = 1 FROM billing.webhook_delivery WHERE endpoint_id = $endpoint AND status = 400 AND attempts = 1"), 'and no longer');
		is(() = slurp_file($taken) =~ /\n/g, 2, 'what it refuses is not taken');
		sql("SELECT billing.enable_webhook_endpoint($endpoint, false)");
		$process->kill_kill;
	}
}

sub node_command
{
	my ($snippet, $port, $taken) = @_;
	my $modules = WebhookReceiver::install_packages("$dir/npm", 'standardwebhooks@1', 'express@4') // return (undef, 'npm has no registry here');
	my $file = write_file('npm/receiver.js', <<"EOT" . at_port($snippet, $port));
const seen = new Set();
const isFirstTime = async (id) => !seen.has(id) && seen.add(id);
const queue = async (event) => require('fs').appendFileSync('$taken', event.event_id + '\\n');
EOT
	return ['node', $file];
}

sub python_command
{
	my ($snippet, $port, $taken) = @_;
	return (undef, 'packages flask and standardwebhooks of python3 are not here') if system('python3 -c "import flask, standardwebhooks" 2>/dev/null') != 0;
	my $file = write_file('receiver.py', <<"EOT");
seen = set()
def is_first_time(webhook_id):
    return not (webhook_id in seen or seen.add(webhook_id))
def queue(event):
    with open("$taken", "a") as file: file.write(event["event_id"] + "\\n")
$snippet
app.run(port=$port)
EOT
	return ['python3', $file];
}

# Built where Go finds the module: in its cache, or by the proxy that GOPROXY names.
sub go_command
{
	my ($snippet, $port, $taken) = @_;
	return (undef, 'there is no go: Debian package golang-go') if system('command -v go >/dev/null') != 0;
	my ($import, $body) = $snippet =~ /\A(import [^\n]+\n)(.*)\z/s or die 'the snippet begins with its import';
	mkdir "$dir/module";
	write_file('module/main.go', <<"EOT");
package main

import ("encoding/json"; "io"; "log"; "net/http"; "os")
$import
var seen = map[string]bool{}

func isFirstTime(id string) bool { first := !seen[id]; seen[id] = true; return first }

func queue(body []byte) {
	var event struct{ Id string `json:"event_id"` }
	file, err := os.OpenFile("$taken", os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0600)
	if err != nil || json.Unmarshal(body, &event) != nil { log.Fatal(err) }
	file.WriteString(event.Id + "\\n")
}

func main() {
$body
	log.Fatal(http.ListenAndServe("127.0.0.1:$port", nil))
}
EOT
	my $output = '';
	local @ENV{'HOME', 'GOFLAGS'} = ($dir, '-mod=mod -modcacherw');
	my ($module) = $import =~ m{"([^"]+)/go"};
	return ["$dir/module/receiver"] if eval {
		IPC::Run::run(['sh', '-c', "cd $dir/module && go mod init receiver && go get $module && go build -o receiver"], '>&', \$output, IPC::Run::timeout(300)) };
	return (undef, "it does not build: $output");
}

# What verifies v1a needs no package.
sub public_key
{
	my $receiver = WebhookReceiver->start($dir);
	my ($endpoint, $key) = split /\|/, sql("SELECT endpoint_id, public_key FROM billing.create_webhook_endpoint('${\ $receiver->url('/ok')}', '{webhook.test}', 'v1a')");
	sql("SELECT billing.send_test_event($endpoint)");
	ok(poll("SELECT state = 'delivered' FROM billing.webhook_delivery WHERE endpoint_id = $endpoint"), 'v1a: it is delivered');
	my ($request) = $receiver->requests('/ok');
	$receiver->stop;
	my $input = encode_json([$request->{headers}, $request->{body}]);
	my $file = write_file('verify.js', $snippets{'With `v1a`'} . <<'EOT');
const [headers, body] = JSON.parse(require('fs').readFileSync(0));
console.log(verify(body, headers), verify(body + ' ', headers), verify(body, { ...headers, 'webhook-timestamp': headers['webhook-timestamp'] - 1 }));
EOT
	my $output = '';
	local $ENV{WEBHOOK_PUBLIC_KEY} = $key;
	IPC::Run::run(['node', $file], '<', \$input, '>&', \$output);
	is($output, "true false false\n", 'and verified by its public key, as it came only');
}

sub at_port { my ($snippet, $port) = @_; return $snippet =~ s/8080/$port/r }

sub write_file
{
	my ($name, $text) = @_;
	open my $file, '>', "$dir/$name" or die "$dir/$name: $!";
	print $file $text;
	close $file;
	return "$dir/$name";
}

# True when somebody listens there.
sub wait_for_port
{
	my ($port, $process) = @_;
	for (1 .. 600)
	{
		return 1 if IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port);
		$process->pump_nb;
		select undef, undef, undef, 0.1;
	}
	return 0;
}

sub poll { return $node->poll_query_until('postgres', $_[0]) }
sub sql { return $node->safe_psql('postgres', $_[0]) }
