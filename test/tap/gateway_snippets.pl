# What doc/gateway.md shows in Node, as it stands there.  The endpoint for callbacks: what is signed is heard once and applied, what is not is refused and
# changes nothing, and an error of the database is a 5xx, which a gateway repeats.  And the sender: with both, and no worker, a first payment goes
# from the order to the active subscription.
use strict;
use warnings FATAL => 'all';
use FindBin;
use lib $FindBin::Bin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Digest::SHA qw(hmac_sha256_hex);
use HTTP::Tiny;
use JSON::PP;
use GatewayStandIn;
use WebhookReceiver;

my $node = PostgreSQL::Test::Cluster->new('gateway_snippets');
my $dir = $node->basedir;
my $secret = 'a secret that the bank and the company share';
my $modules = WebhookReceiver::install_packages("$dir/npm", 'express@4', 'pg@8', 'stripe@18');
plan skip_all => 'npm has no registry here' if !$modules;

$node->init;
append_to_file("$dir/keys", 'test ' . '7' x 64 . "\n");
chmod 0600, "$dir/keys";
$node->append_conf('postgresql.conf', "billing.key_file = '$dir/keys'\nshared_preload_libraries = 'billing'\nbilling.webhook_allow_private = on\n");
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

first_payment();
$process->kill_kill;
$node->stop;
done_testing();

# Ordered, asked for by the sender of the page, paid at the gateway, told to the endpoint, active.
sub first_payment
{
	my $gateway = GatewayStandIn->start('stripe', $modules);
	my $json = JSON::PP->new->canonical;
	my ($settings, $credentials) = map { $json->encode($gateway->{$_}) } qw(settings credentials);
	sql("SELECT billing.create_tenant(2, 'Another'); SELECT billing.create_gateway('stripe', 'stripe', '$settings', '$credentials', '$gateway->{url}')");
	sql("INSERT INTO billing.plan (code, name, cycle, currency, trial_days) VALUES ('pro', 'Pro', '1 month', 'USD', 0);
		INSERT INTO billing.price (plan_id, code, tariff, timing) SELECT plan_id, 'base', '{\"model\":\"flat\",\"currency\":\"USD\",\"amount\":\"49\"}', 'advance' FROM billing.plan");
	is(sql("SELECT status FROM billing.subscribe(2, 'pro', activate => 'on_payment')"), 'pending', 'it is ordered');
	my $number = sql("SELECT p.pay_no FROM (SELECT invoice_id FROM billing.invoice WHERE tenant_id = 2) v, billing.create_payment(2, v.invoice_id, gateway => 'stripe', method => 'card', return_url => 'https://app.example.com/back') p");

	my $payment = send_by_page($number);
	is($payment->{status}, 'requires_action', 'asked for');
	like($payment->{payment_url}, qr{^https://checkout\.stripe\.com/}, 'with where to pay');
	is(send_by_page($number)->{status}, 'requires_action', 'and there is no more to send');
	$gateway->control('pay', id => $payment->{external_id});
	for my $callback (@{$gateway->control('callbacks')})
	{
		is(HTTP::Tiny->new->post("http://127.0.0.1:$port/callbacks/stripe", {content => $callback->{body}, headers => $callback->{headers}})->{status}, 200, 'what Stripe tells is heard');
	}
	is(sql('SELECT p.status, v.status, s.status FROM billing.payment p JOIN billing.invoice v USING (tenant_id, invoice_id) JOIN billing.subscription s USING (tenant_id, subscription_id) WHERE p.tenant_id = 2'),
		'succeeded|paid|active', 'paid, and active');
	is(send_by_page($number)->{fee} // '', sql("SELECT fee FROM billing.payment WHERE pay_no = '$number'"), 'what it costs is asked for then');
	isnt(sql("SELECT fee FROM billing.payment WHERE pay_no = '$number'"), '', 'and known');
	is(sql('SELECT * FROM billing.audit()'), '', 'nothing is broken');
	$gateway->stop;
}

# The payment behind all that there was to send.
sub send_by_page
{
	my ($number) = @_;
	my ($snippet) = slurp_file('doc/gateway.md') =~ /^```js\n(async function send.*?)^```$/ms or die 'the page has none';
	open my $file, '>', "$dir/npm/send.js" or die $!;
	print $file connection('Client') . $snippet . "db.connect().then(() => send(db, '$number')).then((payment) => { console.log(JSON.stringify(payment)); return db.end(); });\n";
	close $file;
	my $output = '';
	IPC::Run::run(['node', "$dir/npm/send.js"], '>&', \$output, IPC::Run::timeout(60));
	return eval { decode_json($output) } // die "send.js: $output";
}

sub connection
{
	my ($kind) = @_;
	return "const db = new (require('pg').$kind)({ host: '${\ $node->host }', port: ${\ $node->port }, database: 'postgres', user: '${\ scalar getpwuid($<) }' });\n";
}

# The fenced block that an introduction which begins with Node comes before.
sub start_endpoint
{
	my ($snippet) = slurp_file('doc/gateway.md') =~ /^Node, with express and pg:\n\n```js\n(.*?)^```$/ms or die 'the page has none';
	open my $file, '>', "$dir/npm/endpoint.js" or die $!;
	print $file connection('Pool') . <<"EOT";
const express = require('express');
const app = express();
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
