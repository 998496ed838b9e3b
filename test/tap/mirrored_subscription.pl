# A subscription that Stripe keeps, followed by a real sender and by callbacks that the official package signs, against a stand-in of
# Stripe: whatever is lost, late or in another order, the mirror ends as the subscription is.
use strict;
use warnings FATAL => 'all';
use FindBin;
use lib $FindBin::Bin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use JSON::PP;
use Time::HiRes qw(usleep);
use BillingNode;
use GatewayStandIn;
use WebhookReceiver;

plan skip_all => 'there is no node: Debian packages nodejs and npm' if system('command -v node >/dev/null') != 0;

$ENV{PGTZ} = 'UTC';
my $node = PostgreSQL::Test::Cluster->new('mirrored_subscription');
my $modules = WebhookReceiver::install_packages($node->basedir . '/npm', 'stripe@18');
plan skip_all => 'npm has no registry here' if !defined $modules;
my $stripe = GatewayStandIn->start('stripe', $modules);

BillingNode::start($node);
sql("CREATE EXTENSION billing; $BillingNode::no_jobs");
sql("SELECT billing.create_tenant(t, 'Tenant ' || t) FROM generate_series(1, 2) t");
sql("SELECT billing.create_gateway('stripe', 'stripe', \$\$${\ JSON::PP->new->encode($stripe->{settings})}\$\$, \$\$${\ JSON::PP->new->encode($stripe->{credentials})}\$\$, '$stripe->{url}')");

my $customer = $stripe->control('customer', metadata => {tenant_id => '1'})->{id};
my $invoice = $stripe->control('invoice', status => 'open', total => 4900, currency => 'usd')->{id};
my %stated = (status => 'active', customer => $customer, currency => 'usd', start_date => 1704067200, cancel_at_period_end => JSON::PP::false,
	metadata => {tenant_id => '1'}, latest_invoice => $invoice,
	items => {data => [{quantity => 3, price => {id => 'price_pro'}, current_period_start => 1704067200, current_period_end => 1706745600}]});
my $id = $stripe->control('subscription', %stated)->{id};

asked();
called();
reordered();
lost();
missing();
of_another();
is(join("\n", @{$stripe->control('complaints')}), '', 'Stripe had nothing to complain of');
is(sql('SELECT count(*) FROM billing.audit()'), 0, 'and audit() neither');
$stripe->stop;
$node->stop;
done_testing();

# By resync_subscription: all that is told of it, with its last invoice; and again when it has changed.
sub asked
{
	is(sql("SELECT status IS NULL FROM billing.resync_subscription(1, 'stripe', '$id')"), 't', 'nothing is known of one before it was asked for');
	becomes($id, "active|$customer|price_pro|3|USD|2024-01-01 00:00:00+00|2024-02-01 00:00:00+00|false|$invoice|open|49.00 USD|2|", 'what Stripe answers',
		'customer_id, price, quantity, currency, period_start, period_end, cancels_at_period_end, invoice, invoice_status, invoice_total, version, error');
	is(events(), 1, 'is told of once');
	change(status => 'past_due');
	resync();
	becomes($id, 'past_due', 'another state is learnt by asking again');
	resync();
	ok(poll("SELECT count(*) = 3 FROM billing.gateway_request WHERE state = 'done'"), 'a third time');
	is(events(), 2, 'with nothing new, of which nothing is told');
}

# By callbacks, which do not wait for the sender where they are the latest.
sub called
{
	sleep 1;
	change(status => 'active');
	is(hear('customer.subscription.updated'), '200 applied', 'a callback is believed by its signature');
	becomes($id, 'active', 'and applied');
	$stripe->control('invoice', id => $invoice, status => 'paid', total => 4900, currency => 'usd');
	$stripe->control('event', type => 'invoice.payment_succeeded', object => {%{$stripe->control('state', id => $invoice)},
		parent => {subscription_details => {subscription => $id}}});
	is(deliver(), '200 applied', 'that its invoice was paid');
	becomes($id, 'active|paid|49.00 USD', 'is known', 'invoice_status, invoice_total');
	$stripe->control('event', type => 'customer.subscription.updated', object => {%{$stripe->control('state', id => $id)}, status => 'unpaid'});
	is(deliver(secret => 'whsec_of_nobody'), '400 ', 'one that somebody else has signed is not believed');
	is(sql("SELECT status FROM billing.mirrored_subscription"), 'active', 'and changes nothing');
}

# Of two in one second nobody can say which is the later one: Stripe is asked.
sub reordered
{
	my @events;
	for my $status ('incomplete', 'trialing')
	{
		change(status => $status);
		$stripe->control('event', type => 'customer.subscription.updated', object => $stripe->control('state', id => $id));
	}
	is(join(', ', map { receive($_) } reverse @{$stripe->control('callbacks')}), '200 applied, 200 applied', 'the later one came first');
	becomes($id, 'trialing', 'and counts');
	change(status => 'canceled', ended_at => 1706745600);
	is(hear('customer.subscription.deleted'), '200 applied', 'its end');
	becomes($id, 'canceled|2024-02-01 00:00:00+00', 'is known', 'ended_at');
}

# What gets no answer is asked for again; of the connections that break, one is renewed by libcurl itself.
sub lost
{
	my $before = $stripe->control('counts')->{'GET /v1/subscriptions/*'};
	change(status => 'unpaid', ended_at => undef);
	$stripe->fault('/v1/subscriptions', 'cut', 'cut', '500');
	resync();
	ok(poll("SELECT outcome = 'retry' AND state = 'waiting' FROM billing.gateway_request ORDER BY gateway_request_id DESC LIMIT 1"), 'what gets no answer waits');
	is(sql("SELECT status FROM billing.mirrored_subscription"), 'canceled', 'and changes nothing');
	for (1 .. 100)
	{
		last if sql("SELECT status FROM billing.mirrored_subscription") eq 'unpaid';
		hurry();
		usleep(100_000);
	}
	becomes($id, 'unpaid', 'until it is answered');
	is($stripe->control('counts')->{'GET /v1/subscriptions/*'}, $before + 4, 'at the fourth time');
}

sub missing
{
	my $other = 'sub_9999999999999998';
	resync($other);
	becomes($other, '|resource_missing', 'one that is not there', 'error');
	$stripe->control('subscription', %stated, id => $other);
	resync($other);
	becomes($other, 'active|', 'until it is', 'error');
}

# It is not shown to a tenant that it does not name.
sub of_another
{
	my $other = $stripe->control('subscription', %stated, metadata => {tenant_id => '2'})->{id};
	resync($other);
	ok(poll("SELECT state = 'done' FROM billing.gateway_request ORDER BY gateway_request_id DESC LIMIT 1"), 'one that names another tenant');
	is(sql("SELECT status IS NULL AND customer_id IS NULL FROM billing.mirrored_subscription WHERE external_id = '$other'"), 't', 'is not believed');
	like(slurp_file($node->logfile), qr/answered of a subscription that is not of tenant 1/, 'and is in the log');
}

sub change { my (%changes) = @_; $stripe->control('subscription', %{$stripe->control('state', id => $id)}, %changes) }

sub resync { my ($which) = @_; sql("SELECT FROM billing.resync_subscription(1, 'stripe', '" . ($which // $id) . "')") }

# The next attempt, at once.
sub hurry { sql("UPDATE billing.gateway_request SET next_attempt_at = '-infinity' WHERE state = 'waiting'; SELECT billing.wake()") }

sub events { return sql("SELECT count(*) FROM billing.event WHERE type = 'mirrored_subscription.updated'") }

# Stripe tells how the subscription is.
sub hear
{
	my ($type) = @_;
	$stripe->control('event', type => $type, object => $stripe->control('state', id => $id));
	return deliver();
}

sub deliver { my (%how) = @_; return join ', ', map { receive($_) } @{$stripe->control('callbacks', %how)} }

# The status that is answered, and what became of it.
sub receive
{
	my ($callback) = @_;
	my ($headers, $body) = (JSON::PP->new->encode($callback->{headers}), unpack('H*', $callback->{body}));
	my $event = JSON::PP->new->decode($callback->{body})->{id};
	my $status = sql("SELECT status FROM billing.receive_callback('stripe', \$\$$headers\$\$, '\\x$body')");
	return "$status " . sql("SELECT outcome FROM billing.gateway_event WHERE event_id = '$event'");
}

sub becomes
{
	my ($which, $expected, $name, $columns) = @_;
	my $query = "SELECT concat_ws('|', coalesce(status, '')" . join('', map { ", coalesce($_\::text, '')" } split /, /, $columns // '') . ") FROM billing.mirrored_subscription WHERE external_id = '$which'";
	poll("SELECT ($query) = '$expected'");
	is(sql($query), $expected, $name);
}

sub poll { my ($query) = @_; return $node->poll_query_until('postgres', $query) }

sub sql { my ($query) = @_; return $node->safe_psql('postgres', $query) }
