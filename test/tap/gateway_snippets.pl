# What doc/gateway.md shows in Node, Python, Go and SQL, as it stands there.  The endpoint for callbacks: what is signed is heard once and applied, what is
# not is refused and changes nothing, and an error of the database is a 5xx, which a gateway repeats.  And the sender: with both, and no worker, a first
# payment goes from the order to the active subscription.
# Node's packages come from npm, Python's from Debian; a language that is not here is skipped, as is Go without Debian's golang-github-jackc-pgx-v4-dev.
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
use BillingNode;
use GatewayStandIn;
use WebhookReceiver;

my $node = PostgreSQL::Test::Cluster->new('gateway_snippets');
my $dir = $node->basedir;
my $secret = 'a secret that the bank and the company share';
my $modules = WebhookReceiver::install_packages("$dir/npm", 'express@4', 'pg@8', 'stripe@18');
plan skip_all => 'npm has no registry here' if !$modules;

BillingNode::start($node, "billing.databases = ''");
sql("CREATE EXTENSION billing; SELECT billing.create_tenant(1, 'Tenant'); SELECT billing.create_gateway('bank', 'manual', '{}', '{\"callback_secret\": \"$secret\"}')");
my %snippets = slurp_file('doc/gateway.md') =~ /^(Node|Python|Go|With PostgREST)[^\n]*:\n\n```\w+\n(.*?)^```$/msg;
is(join(' ', sort keys %snippets), 'Go Node Python With PostgREST', 'the page has them all');
my ($port, $process);

endpoint('Python', \&python_command);
endpoint('Go', \&go_command);
postgrest();
endpoint('Node', \&node_command);
first_payment();
with_certificate();
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

# Signed with a certificate that is not here yet: who sends fetches it, and the gateway says it again.
sub with_certificate
{
	my $gateway = GatewayStandIn->start('paypal', '-');
	my $json = JSON::PP->new->canonical;
	my ($settings, $credentials) = map { $json->encode($gateway->{$_}) } qw(settings credentials);
	sql("SELECT billing.create_tenant(3, 'A third'); SELECT billing.create_gateway('paypal', 'paypal', '$settings', '$credentials', '$gateway->{url}')");
	my $number = sql("SELECT pay_no FROM billing.create_payment(3, NULL, '20 USD', gateway => 'paypal', method => 'paypal', purpose => 'top_up', return_url => 'https://app.example.com/back')");
	$gateway->control('approve', id => send_by_page($number)->{external_id});
	my $tell = sub { join ' ', map { HTTP::Tiny->new->post("http://127.0.0.1:$port/callbacks/paypal", {content => $_->{body}, headers => $_->{headers}})->{status} }
		@{$gateway->control('callbacks', keep => JSON::PP::true)} };
	is($tell->(), '503', 'what is signed with a certificate that is not here is to be said again');
	$gateway->fault('/certs/', '500');
	send_by_page($number);
	is($tell->(), '503', 'also where it could not be fetched');
	is(sql("SELECT error IS NULL, attempts FROM billing.gateway_certificate"), 'f|1', 'which is on record');
	sql("UPDATE billing.gateway_certificate SET next_attempt_at = now()");
	isnt($node->psql('postgres', "SELECT billing.gateway_response('$number', 200, '{}', '')"), 0, 'nobody hands over what was not asked for');
	send_by_page($number);
	is($tell->(), '200', 'heard once it was');
	is(send_by_page($number)->{status}, 'succeeded', 'and captured');
	is(sql("SELECT billing.wallet_balance(3)"), '20.00 USD', 'it is credit');
	is(sql('SELECT * FROM billing.audit()'), '', 'nothing is broken');
	$gateway->stop;
}

# The payment behind all that there was to send.
sub send_by_page
{
	my ($number) = @_;
	my ($snippet) = slurp_file('doc/gateway.md') =~ /^```js\n(async function send.*?)^```$/ms or die 'the page has none';
	write_file('npm/send.js', connection('Client') . $snippet . "db.connect().then(() => send(db, '$number')).then((payment) => { console.log(JSON.stringify(payment)); return db.end(); });\n");
	my $output = '';
	IPC::Run::run(['node', "$dir/npm/send.js"], '>&', \$output, IPC::Run::timeout(60));
	return eval { decode_json($output) } // die "send.js: $output";
}

sub connection
{
	my ($kind) = @_;
	return "const db = new (require('pg').$kind)({ host: '${\ $node->host }', port: ${\ $node->port }, database: 'postgres', user: '${\ scalar getpwuid($<) }' });\n";
}

# make is given a snippet, and returns the command that runs it, or undef and why there is none.  Its process goes on.
sub endpoint
{
	my ($language, $make) = @_;
	$port = PostgreSQL::Test::Cluster::get_free_port();
	my ($command, $why) = $make->($snippets{$language});
  SKIP:
	{
		skip "$language: $why", 9 if !defined $command;
		$process->kill_kill if defined $process;
		my $output = '';
		$process = IPC::Run::start($command, '>&', \$output);
		wait_for_port() or diag($output);

		my $before = sql('SELECT coalesce(max(gateway_event_id), 0) FROM billing.gateway_event');
		my $pay_no = sql("SELECT pay_no FROM billing.create_payment(1, NULL, '49 USD', gateway => 'bank', method => 'bank_transfer', purpose => 'top_up')");
		my $status = "SELECT status FROM billing.payment WHERE pay_no = '$pay_no'";
		my $body = qq({"id":"line of $pay_no","type":"payment.succeeded","pay_no":"$pay_no","amount":"49.00 USD"});
		is(told('bank', $body, 'another secret')->{status}, 400, "$language: what is signed with another secret is refused");
		is(told('bank', "$body ", $secret, $body)->{status}, 400, 'what was changed by a byte, too');
		is(sql($status), 'requires_action', 'and changes nothing');
		my $reply = told('bank', $body);
		like("$reply->{status} $reply->{headers}{'content-type'} $reply->{content}", qr{^200 text/plain(; charset=utf-8)? ok$}, 'what is signed is heard');
		is(sql($status), 'succeeded', 'and applied');
		is(told('bank', $body)->{status}, 200, 'also when it comes again');
		is(sql("SELECT count(*) FROM billing.transaction t JOIN billing.payment p USING (tenant_id, payment_id) WHERE p.pay_no = '$pay_no'"), 1, 'once');
		is(sql("SELECT string_agg(outcome, ',' ORDER BY gateway_event_id) FROM billing.gateway_event WHERE gateway_event_id > $before"), 'rejected,rejected,applied', 'and all of it is on record');
		like(told('nobody', $body)->{status}, qr/^5/, 'an error of the database is a 5xx');
	}
}

sub node_command
{
	my ($snippet) = @_;
	write_file('npm/endpoint.js', connection('Pool') . <<"EOT");
const express = require('express');
const app = express();
$snippet
app.listen($port, '127.0.0.1');
EOT
	return ['node', "$dir/npm/endpoint.js"];
}

sub python_command
{
	my ($snippet) = @_;
	my $python = -x '/usr/bin/python3' ? '/usr/bin/python3' : 'python3';
	return (undef, 'Python or its packages flask and psycopg are not here: Debian packages python3-flask and python3-psycopg') if system("$python -c 'import flask, psycopg' 2>/dev/null") != 0;
	write_file('endpoint.py', <<"EOT");
import psycopg
from flask import Flask, Response, request
from psycopg.types.json import Jsonb
DSN = "${\ $node->connstr('postgres') }"
app = Flask(__name__)
$snippet
app.run(port=$port)
EOT
	return [$python, "$dir/endpoint.py"];
}

sub go_command
{
	my ($snippet) = @_;
	return (undef, 'Go or its package pgx is not here') if system('command -v go >/dev/null') != 0 || !-d '/usr/share/gocode/src/github.com/jackc/pgx/v4';
	write_file('endpoint.go', <<"EOT");
package main

import ("context"; "io"; "log"; "net/http"; "path"; "github.com/jackc/pgx/v4/pgxpool")

func main() {
	db, err := pgxpool.Connect(context.Background(), "${\ $node->connstr('postgres') }")
	if err != nil { log.Fatal(err) }
$snippet
	log.Fatal(http.ListenAndServe("127.0.0.1:$port", nil))
}
EOT
	my $output = '';
	local @ENV{'HOME', 'GO111MODULE', 'GOFLAGS', 'GOPATH'} = ($dir, 'off', '', '/usr/share/gocode');
	return ["$dir/endpoint"] if eval { IPC::Run::run(['go', 'build', '-o', "$dir/endpoint", "$dir/endpoint.go"], '>&', \$output, IPC::Run::timeout(300)) };
	return (undef, "it does not build: $output");
}

# What PostgREST calls, and the settings by which it is told what to answer.
sub postgrest
{
	my $heard = "SELECT encode(stripe('x'), 'escape'); SELECT current_setting('response.status'), current_setting('response.headers')";
	sql($snippets{'With PostgREST'} =~ s/'stripe'/'bank'/r);
	is(sql("BEGIN; SET LOCAL request.headers = '{\"billing-timestamp\": \"1\"}'; $heard; COMMIT"), qq(refused\n400|[{"Content-Type": "text/plain"}]), 'PostgREST: it answers with body, status and type');
	my $body = '{"id": "by PostgREST", "type": "nothing"}';
	my $now = time;
	my $headers = encode_json({'billing-timestamp' => "$now", 'billing-signature' => hmac_sha256_hex("$now.$body", $secret)});
	is(sql("BEGIN; SET LOCAL request.headers = '$headers'; " . $heard =~ s/'x'/'$body'/r . '; COMMIT'), qq(ok\n200|[{"Content-Type": "text/plain"}]), 'and hears what is signed');
}

sub wait_for_port
{
	for (1 .. 600)
	{
		return 1 if IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port);
		$process->pump_nb;
		select undef, undef, undef, 0.1;
	}
	return 0;
}

sub write_file
{
	my ($name, $text) = @_;
	open my $file, '>', "$dir/$name" or die "$dir/$name: $!";
	print $file $text;
	close $file;
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
