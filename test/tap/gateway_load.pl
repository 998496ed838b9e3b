# Many due invoices against a gateway that refuses some, hangs, cuts connections and says everything twice, while the postmaster is killed again
# and again: at the end each invoice is paid by one payment, or open with none, by the gateway's own books as well as by these; the ledger
# balances, and nothing is broken.
#
# PAYMENTS says how many, KILLS how often the server is killed; one in ten has a card that is refused.
use strict;
use warnings FATAL => 'all';
use FindBin;
use lib $FindBin::Bin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use JSON::PP;
use List::Util qw(shuffle);
use MIME::Base64;
use Time::HiRes qw(sleep);
use BillingNode;
use GatewayStandIn;
use Restart;
use WebhookReceiver;

my $payments = $ENV{PAYMENTS} // 120;
my $kills = $ENV{KILLS} // 1;
my $node = PostgreSQL::Test::Cluster->new('gateway_load');
my $dir = $node->basedir;
my $modules = WebhookReceiver::install_packages("$dir/npm", 'stripe@18');
plan skip_all => 'npm has no registry here' if !$modules;
my $gateway = GatewayStandIn->start('stripe', $modules);
my $json = JSON::PP->new->canonical;
srand($ENV{SEED} // time);
note('SEED=' . srand);

BillingNode::start($node, "billing.gateway_timeout = '3 s'", 'restart_after_crash = on');
set_up();
my %heard = (told => 0);
work();
settle();
compare();
$gateway->stop;
$node->stop;
done_testing();

# Invoices that are due, each of a tenant with a card; the timetable asks for them.
sub set_up
{
	my ($settings, $credentials) = map { $json->encode($gateway->{$_}) } qw(settings credentials);
	sql("CREATE EXTENSION billing; SELECT billing.create_gateway('stripe', 'stripe', '$settings', '$credentials', '$gateway->{url}')");
	sql("INSERT INTO billing.job (name, is_enabled) VALUES ('dunning', false), ('retry_payments', false)");
	$gateway->control('methods', methods => [map { {id => "pm_load$_", $_ % 10 == 0 ? (declines => 'insufficient_funds') : ()} } 1 .. $payments]);
	sql("SELECT count(billing.create_tenant(t, 'Tenant ' || t, 'USD')) FROM generate_series(1, $payments) t");
	sql("SELECT count(billing.add_payment_method(t, 'stripe', 'card', 'pm_load' || t)) FROM generate_series(1, $payments) t");
	$node->poll_query_until('postgres', "SELECT count(*) = $payments FROM billing.payment_method WHERE status = 'active'") or die 'cards are not verified';
	sql("SELECT count(billing.create_invoice(t, 'one', jsonb_build_array(jsonb_build_object('description', 'Work', 'amount', (10 + t % 7) || '.50 USD')))) FROM generate_series(1, $payments) t");
	is(sql('SELECT count(*) FROM billing.invoice WHERE due_at <= now()'), $payments, 'they are due');
	sql("UPDATE billing.job SET is_enabled = true WHERE name = 'dunning'");
}

# Until nothing waits for anything but to be asked after.
sub work
{
	my $pauses = 0;
	my $killed = 0;
	my $asked = 0;
	while ($pauses < 8)
	{
		$gateway->fault('payment_intents', (qw(hang cut cut drop 500 garbage))[rand 6]) if rand() < 0.5;
		deliver();
		my ($busy) = try_sql("SELECT (SELECT count(*) FROM billing.gateway_request WHERE state = 'sending' OR state = 'waiting' AND next_attempt_at < now() + interval '2 minutes')
			+ (SELECT count(*) FROM billing.invoice v WHERE NOT EXISTS (SELECT FROM billing.collection_attempt a WHERE a.tenant_id = v.tenant_id AND a.invoice_id = v.invoice_id))");
		my ($done) = try_sql("SELECT count(*) FROM billing.gateway_request WHERE state IN ('done', 'failed')");
		if ($killed < $kills && defined $done && $done > ($killed + 1) * $payments / ($kills + 2))
		{
			kill_server();
			$killed++;
		}
		$pauses = defined $busy && $busy == 0 ? $pauses + 1 : 0;
		sleep 0.1;
		die 'it does not end' if ++$asked > 60 * $payments + 6000;
	}
	is($killed, $kills, "the server was killed $kills times meanwhile");
}

# What nobody answered is asked for; in the test's time.  Faults are over.
sub settle
{
	for (1 .. 40)
	{
		deliver();
		sql("UPDATE billing.gateway_request SET next_attempt_at = now() WHERE state = 'waiting'; SELECT billing.wake()");
		sleep 0.5;
		last if sql("SELECT count(*) FROM billing.payment WHERE status IN ('pending', 'processing')") == 0 && sql("SELECT count(*) FROM billing.gateway_request WHERE next_attempt_at IS NOT NULL") == 0;
	}
	deliver();
	cmp_ok($heard{told}, '>', 0, "the gateway told $heard{told} things");
	is(sql("SELECT count(*) FROM billing.gateway_event WHERE outcome = 'rejected'"), '0', 'all of which were believed');
}

sub compare
{
	my %taken;
	$taken{$_->{metadata}{pay_no}} += $_->{status} eq 'succeeded' for @{$gateway->control('objects', kind => 'payment_intent')};
	my $rows = $json->decode(sql("SELECT coalesce(json_agg(json_build_array(p.pay_no, p.status, p.invoice_id, v.status)), '[]') FROM billing.payment p JOIN billing.invoice v USING (tenant_id, invoice_id)"));
	my (%paid, @wrong);
	for my $row (@$rows)
	{
		my ($pay_no, $status, $invoice, $invoice_status) = @$row;
		$paid{$invoice} += delete $taken{$pay_no} // 0;
		push @wrong, join ' ', $pay_no, $status, $paid{$invoice} if ($status eq 'succeeded') != ($paid{$invoice} > 0) && $status ne 'unknown';
	}
	is(join("\n", @wrong), '', 'each payment is what the gateway says of it');
	is(join(' ', grep { $taken{$_} } keys %taken), '', 'the gateway took nothing that is not known here');
	is(join(' ', grep { $paid{$_} > 1 } keys %paid), '', 'it took nothing twice');
	is(sql("SELECT count(*) FROM billing.invoice v WHERE (v.status = 'paid') <> EXISTS (SELECT FROM billing.payment p WHERE p.tenant_id = v.tenant_id AND p.invoice_id = v.invoice_id AND p.status = 'succeeded')"), '0', 'an invoice is paid where one has come, and open where not');
	note('invoices: ' . sql("SELECT string_agg(status || ' ' || n, ', ') FROM (SELECT status, count(*) AS n FROM billing.invoice GROUP BY status) v") .
		'; payments: ' . sql("SELECT string_agg(status || ' ' || n, ', ') FROM (SELECT status, count(*) AS n FROM billing.payment GROUP BY status) p"));
	cmp_ok(sql("SELECT count(*) FROM billing.invoice WHERE status = 'paid'"), '>=', $payments * 0.8, 'most are paid');
	is(sql('SELECT count(*) FROM billing.trial_balance WHERE account = \'cash\' AND billing.minor_units(balance) <= 0'), '0', 'by money');
	is(sql('SELECT coalesce(sum(billing.minor_units(balance)), 0) FROM billing.trial_balance'), '0', 'the ledger balances');
	is(sql('SELECT * FROM billing.audit()'), '', 'nothing is broken');
	is(join("\n", @{$gateway->control('complaints')}), '', 'and the gateway had nothing to complain of');
}

# Everything that the gateway tells comes twice, out of order, each in a transaction of its own; and all of it again where the server is not there.
sub deliver
{
	my @callbacks = @{$gateway->control('callbacks')};
	my @calls = map {
		my ($headers, $body) = ($json->encode($_->{headers}) =~ s/'/''/gr, unpack('H*', $_->{body}));
		"SELECT status FROM billing.receive_callback('stripe', '$headers', '\\x$body');\n"
	} @callbacks;
	my $told = join('', shuffle(@calls, @calls));
	for (1 .. 200)
	{
		my $out = @calls ? try_sql($told) : '';
		last if defined $out && $out !~ /[^20\n]/;
		sleep 0.1;
	}
	$heard{told} += 2 * @calls;
}

sub kill_server
{
	my $pid = slurp_file($node->data_dir . '/postmaster.pid') =~ /^(\d+)/ ? $1 : die;
	my @children = split ' ', `pgrep -P $pid`;
	kill 'KILL', $pid, @children;
	sleep 0.1 while kill 0, $pid;
	for my $child (@children) { sleep 0.1 while kill 0, $child }
	$node->{_pid} = undef;
	unlink $node->data_dir . '/postmaster.pid';
	$node->start;
}

sub try_sql
{
	my ($query) = @_;
	my ($status, $out, $error) = $node->psql('postgres', $query);
	return $status == 0 ? $out : undef;
}

sub sql { return $node->safe_psql('postgres', $_[0]) }
