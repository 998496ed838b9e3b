# The endpoint of doc/gateway.md for callbacks as it stands there, in Node: what is signed is heard once and applied, what is not
# is refused and changes nothing, and an error of the database is a 5xx, which a gateway repeats.
use strict;
use warnings FATAL => 'all';
use FindBin;
use lib $FindBin::Bin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Digest::SHA qw(hmac_sha256_hex);
use HTTP::Tiny;
use WebhookReceiver;

my $node = PostgreSQL::Test::Cluster->new('gateway_snippets');
my $dir = $node->basedir;
my $secret = 'a secret that the bank and the company share';
my $modules = WebhookReceiver::install_packages("$dir/npm", 'express@4', 'pg@8');
plan skip_all => 'npm has no registry here' if !$modules;

$node->init;
append_to_file("$dir/keys", 'test ' . '7' x 64 . "\n");
chmod 0600, "$dir/keys";
$node->append_conf('postgresql.conf', "billing.key_file = '$dir/keys'\n");
$node->start;
sql("CREATE EXTENSION billing; SELECT billing.create_tenant(1, 'Tenant'); SELECT billing.create_gateway('bank', 'manual', '{}', '{\"callback_secret\": \"$secret\"}')");
my $port = PostgreSQL::Test::Cluster::get_free_port();
my $process = start_endpoint();

my $pay_no = sql("SELECT pay_no FROM billing.create_payment(1, NULL, '49 USD', gateway => 'bank', method => 'bank_transfer', purpose => 'top_up')");
my $body = qq({"id":"line-1","type":"payment.succeeded","pay_no":"$pay_no","amount":"49.00 USD"});
is(told('bank', $body, 'another secret')->{status}, 400, 'what is signed with another secret is refused');
is(told('bank', "$body ", $secret, $body)->{status}, 400, 'what was changed by a byte, too');
is(sql("SELECT status FROM billing.payment"), 'requires_action', 'and changes nothing');
my $reply = told('bank', $body);
is("$reply->{status} $reply->{headers}{'content-type'} $reply->{content}", '200 text/plain; charset=utf-8 ok', 'what is signed is heard');
is(sql("SELECT status FROM billing.payment"), 'succeeded', 'and applied');
is(told('bank', $body)->{status}, 200, 'also when it comes again');
is(sql("SELECT billing.wallet_balance(1)"), '49.00 USD', 'once');
is(sql("SELECT string_agg(outcome, ',' ORDER BY gateway_event_id) FROM billing.gateway_event"), 'rejected,rejected,applied', 'and all of it is on record');
like(told('nobody', $body)->{status}, qr/^5/, 'an error of the database is a 5xx');

$process->kill_kill;
$node->stop;
done_testing();

# The fenced block that an introduction which begins with Node comes before.
sub start_endpoint
{
	my ($snippet) = slurp_file('doc/gateway.md') =~ /^Node, with express and pg:\n\n```js\n(.*?)^```$/ms or die 'the page has none';
	open my $file, '>', "$dir/npm/endpoint.js" or die $!;
	print $file <<"EOT";
const express = require('express');
const app = express();
const db = new (require('pg').Pool)({ host: '${\ $node->host }', port: ${\ $node->port }, database: 'postgres', user: '${\ scalar getpwuid($<) }' });
$snippet
app.listen($port, '127.0.0.1');
EOT
	close $file;
	my $output = '';
	my $started = IPC::Run::start(['node', "$dir/npm/endpoint.js"], '>&', \$output);
	for (1 .. 600)
	{
		last if IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port);
		$started->pump_nb;
		select undef, undef, undef, 0.1;
	}
	return $started;
}

# POST a body as the bank does; signed may be another than what is sent.
sub told
{
	my ($gateway, $body, $key, $signed) = @_;
	my $now = time;
	return HTTP::Tiny->new->post("http://127.0.0.1:$port/callbacks/$gateway", {content => $body, headers => {
		'Content-Type' => 'application/json', 'Billing-Timestamp' => $now, 'Billing-Signature' => hmac_sha256_hex("$now." . ($signed // $body), $key // $secret)}});
}

sub sql { return $node->safe_psql('postgres', $_[0]) }
