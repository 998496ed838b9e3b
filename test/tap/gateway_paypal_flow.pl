# Payments through PayPal, by the real sender against a stand-in: approved and captured, a subscription started; a stored method; an answer that is lost
# charges nobody twice; disputes; the settlement report; and callbacks that come before their certificate is here, again, or with lies change nothing.
use strict;
use warnings FATAL => 'all';
use FindBin;
use lib $FindBin::Bin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use JSON::PP;
use BillingNode;
use GatewayStandIn;

plan skip_all => 'there is no node: Debian packages nodejs and npm' if system('command -v node >/dev/null') != 0;

my $paypal = GatewayStandIn->start('paypal', '');
my $node = PostgreSQL::Test::Cluster->new('gateway_paypal');
my $json = JSON::PP->new->canonical;

BillingNode::start($node);
sql("CREATE EXTENSION billing; $BillingNode::no_jobs; SELECT billing.create_tenant(1, 'Acme', 'USD'); SELECT billing.create_tenant(2, 'Other', 'USD')");
sql(q{INSERT INTO billing.plan (plan_id, code, name, cycle, trial_days) VALUES (1, 'pro', 'Pro', '1 month', 0);
	INSERT INTO billing.price (plan_id, code, name, tariff) VALUES (1, 'base', 'Pro', '{"model":"flat","currency":"USD","amount":"49"}')});
sql("SELECT billing.create_gateway('paypal', 'paypal', " . quoted($json->encode($paypal->{settings})) . ', ' . quoted($json->encode($paypal->{credentials})) . ", base_url => '$paypal->{url}')");

first_payment();
stored_method();
lost_answer();
removed_method();
lies();
change_of_mind();
settled();
is(sql('SELECT count(*) FROM billing.audit()'), 0, 'every invariant holds');
is(join("\n", @{$paypal->control('complaints')}), '', 'PayPal had nothing to complain of');
$node->stop;
$paypal->stop;
done_testing();

# A subscription that waits for its payment; the payer approves it, and it is captured.
sub first_payment
{
	my $subscription = sql("SELECT subscription_id FROM billing.subscribe(1, 'pro', activate => 'on_payment')");
	my $invoice = sql("SELECT invoice_id FROM billing.invoice WHERE tenant_id = 1");
	my $no = sql("SELECT pay_no FROM billing.create_payment(1, $invoice, gateway => 'paypal', method => 'paypal', return_url => 'https://app.example.com/paid')");
	ok(poll("SELECT status = 'requires_action' AND payment_url ~ 'checkoutnow' FROM billing.payment WHERE pay_no = '$no'"), 'the sender got the address where it is approved');
	my $order = sql("SELECT external_id FROM billing.payment WHERE pay_no = '$no'");
	is($paypal->control('state')->{orders}[0]{purchase_units}[0]{custom_id}, $no, 'PayPal knows it by our number');

	$paypal->control('approve', id => $order);
	my ($told) = @{$paypal->control('callbacks')};
	is(hear($told), 503, 'its certificate is not here yet');
	ok(poll('SELECT pem IS NOT NULL FROM billing.gateway_certificate'), 'the sender fetches it');
	is(hear($told), 200, 'then it is heard');
	ok(poll("SELECT status = 'succeeded' FROM billing.payment WHERE pay_no = '$no'"), 'and captured');
	is(sql("SELECT p.amount, p.fee, p.external_id ~ '^3C', i.status, s.status FROM billing.payment p JOIN billing.invoice i USING (tenant_id, invoice_id)
		JOIN billing.subscription s USING (tenant_id, subscription_id) WHERE p.pay_no = '$no'"), '49.00 USD|2.20 USD|t|paid|active', 'with its fee: the invoice is paid, the subscription active');
	is(sql("SELECT account, sum(amount) FROM billing.ledger_entry WHERE tenant_id = 1 AND account IN ('cash', 'fees', 'receivable') GROUP BY 1 ORDER BY 1"),
		"cash|46.80 USD\nfees|2.20 USD\nreceivable|0.00 USD", 'the ledger has net and fee');
	my ($completed) = @{$paypal->control('callbacks')};
	is(hear($completed), 200, 'the callback of the capture changes nothing') for 1 .. 2;
	is(hear($told), 200, 'nor does the first one again');
	is(sql("SELECT count(*), sum(amount) FROM billing.ledger_entry WHERE tenant_id = 1 AND kind = 'payment' AND account = 'cash'"), '1|46.80 USD', 'it is money once');
	is(sql("SELECT string_agg(type || ' ' || outcome, ',' ORDER BY gateway_event_id) FROM billing.gateway_event WHERE tenant_id = 1"),
		'CHECKOUT.ORDER.APPROVED applied,PAYMENT.CAPTURE.COMPLETED applied', 'and kept once');
}

sub stored_method
{
	my $method = sql("SELECT payment_method_id FROM billing.add_payment_method(1, 'paypal', 'paypal', 'setup_good')");
	ok(poll("SELECT status = 'active' FROM billing.payment_method WHERE payment_method_id = $method"), 'a setup token becomes a method');
	my $token = $paypal->control('state')->{methods}[0]{id};
	is(sql("SELECT count(*) FROM billing.payment_method m WHERE m::text ~ '$token'"), 0, 'whose token stands nowhere in plain text');
	my $no = top_up("payment_method_id => $method");
	ok(poll("SELECT status = 'succeeded' AND fee IS NOT NULL FROM billing.payment WHERE pay_no = '$no'"), 'it is charged while nobody is there');
	is(sql('SELECT billing.wallet_balance(1)'), '20.00 USD', 'credit of the wallet');
	hear($_) for @{$paypal->control('callbacks')};
}

# The connection is cut after PayPal has charged the stored method.  PayPal keeps connections open, over which libcurl would send the request
# again by itself.
sub lost_answer
{
	my $method = sql("SELECT payment_method_id FROM billing.payment_method WHERE tenant_id = 1");
	my $orders = $paypal->control('counts')->{'POST /v2/checkout/orders'};
	$paypal->fault('checkout/orders', 'cut');
	my $no = top_up("payment_method_id => $method");
	ok(poll("SELECT status = 'unknown' FROM billing.payment WHERE pay_no = '$no'"), 'an answer that never came leaves it unknown');
	is($paypal->control('counts')->{'POST /v2/checkout/orders'}, $orders + 1, 'it was sent once');
	sql("UPDATE billing.gateway_request SET next_attempt_at = '-infinity' WHERE operation = 'query' AND state = 'waiting'; SELECT billing.wake()");
	ok(poll("SELECT status = 'succeeded' FROM billing.payment WHERE pay_no = '$no'"), 'a query says that it came');
	is(scalar(grep { $_->{custom_id} eq $no } @{$paypal->control('state')->{captures}}), 1, 'it was charged once');
	is(hear($_), 200, 'its callback is heard') for @{$paypal->control('callbacks')};
	is(sql('SELECT billing.wallet_balance(1)'), '40.00 USD', 'and is credit once');
}

# As before, but the method is removed before the query: PayPal cannot be asked the same again, and may have charged it.
sub removed_method
{
	my $method = sql("SELECT payment_method_id FROM billing.add_payment_method(1, 'paypal', 'paypal', 'setup_good')");
	ok(poll("SELECT status = 'active' FROM billing.payment_method WHERE payment_method_id = $method"), 'another method');
	$paypal->fault('checkout/orders', 'cut');
	my $no = top_up("payment_method_id => $method");
	ok(poll("SELECT status = 'unknown' FROM billing.payment WHERE pay_no = '$no'"), 'an answer that never came');
	sql("SELECT billing.remove_payment_method(1, $method)");
	ok(poll("SELECT token IS NULL FROM billing.payment_method WHERE payment_method_id = $method"), 'its method is removed');
	sql("UPDATE billing.gateway_request SET next_attempt_at = '-infinity' WHERE operation = 'query' AND state = 'waiting'; SELECT billing.wake()");
	ok(poll("SELECT q.outcome IS NOT NULL FROM billing.gateway_request q JOIN billing.payment p ON p.payment_id = q.object_id WHERE p.pay_no = '$no' AND q.operation = 'query'"), 'what became of it is asked');
	is(sql("SELECT status FROM billing.payment WHERE pay_no = '$no'"), 'unknown', 'which nobody knows: it is not called off');
	is(hear($_), 200, 'a callback is heard') for @{$paypal->control('callbacks')};
	is(sql("SELECT status FROM billing.payment WHERE pay_no = '$no'"), 'succeeded', 'and knows');
	is(sql("SELECT count(*) FROM billing.gateway_event WHERE object = 'payment_method' AND body IS NOT NULL"), 0, 'of what tells of tokens no body is kept');
}

sub lies
{
	my $no = sql("SELECT pay_no FROM billing.create_payment(2, NULL, '20 USD', gateway => 'paypal', method => 'paypal', purpose => 'top_up')");
	ok(poll("SELECT status = 'requires_action' FROM billing.payment WHERE pay_no = '$no'"), 'another one');
	my $order = sql("SELECT external_id FROM billing.payment WHERE pay_no = '$no'");
	my %capture = (id => '3CFORGED', status => 'COMPLETED', custom_id => $no);
	for (['another amount', {amount => {currency_code => 'USD', value => '19.99'}}], ['another currency', {amount => {currency_code => 'EUR', value => '20.00'}}],
		['a currency that it does not take', {amount => {currency_code => 'INR', value => '20.00'}}], ['no amount', {}])
	{
		$paypal->control('callbacks');
		$paypal->control('event', type => 'PAYMENT.CAPTURE.COMPLETED', resource => {%capture, %{$$_[1]}});
		is(hear($paypal->control('callbacks')->[0]), 200, "$$_[0]: acknowledged");
		is(sql("SELECT status FROM billing.payment WHERE pay_no = '$no'"), 'requires_action', 'and not believed');
	}
	$paypal->control('event', type => 'PAYMENT.CAPTURE.COMPLETED', resource => {%capture, amount => {currency_code => 'USD', value => '20.00'}});
	my $good = $paypal->control('callbacks', keep => 1)->[0];
	is(hear($paypal->control('callbacks', keep => 1, tamper => JSON::PP::true)->[0]), 400, 'changed behind its signature');
	is(hear($paypal->control('callbacks', keep => 1, age => 5 * 86400)->[0]), 400, 'five days old');
	is(hear($paypal->control('callbacks', keep => 1, certificate => 'stranger')->[0]), 503, 'signed by a stranger: the certificate is asked for');
	ok(poll("SELECT error ~ 'untrusted' AND pem IS NULL FROM billing.gateway_certificate WHERE name ~ 'stranger'"), 'and not taken');
	is(sql("SELECT status FROM billing.payment WHERE pay_no = '$no'"), 'requires_action', 'none of it is money');
	$paypal->fault("$order/capture", 'lie_amount');
	$paypal->control('approve', id => $order);
	hear($_) for grep { $_->{body} =~ /APPROVED/ } @{$paypal->control('callbacks')};
	ok(poll("SELECT status = 'unknown' FROM billing.payment WHERE pay_no = '$no'"), 'an answer with another amount leaves it unknown');
	is(sql('SELECT count(*) FROM billing.transaction WHERE tenant_id = 2'), 0, 'and is no money');
	is(hear($_), 200, 'the callback has the right one') for @{$paypal->control('callbacks')};
	is(sql("SELECT status, amount FROM billing.payment WHERE pay_no = '$no'"), 'succeeded|20.00 USD', 'which is');
}

# Closed before it is approved: what the payer approves then is not captured.
sub change_of_mind
{
	my $no = sql("SELECT pay_no FROM billing.create_payment(1, NULL, '20 USD', gateway => 'paypal', method => 'paypal', purpose => 'top_up')");
	ok(poll("SELECT status = 'requires_action' FROM billing.payment WHERE pay_no = '$no'"), 'one more');
	my $order = sql("SELECT external_id FROM billing.payment WHERE pay_no = '$no'");
	sql("SELECT billing.cancel_payment(1, '$no')");
	ok(poll("SELECT status = 'canceled' FROM billing.payment WHERE pay_no = '$no'"), 'called off');
	$paypal->control('approve', id => $order);
	is(hear($_), 200, 'approved all the same') for @{$paypal->control('callbacks')};
	is(sql("SELECT count(*) FROM billing.gateway_request q JOIN billing.payment p ON p.tenant_id = q.tenant_id AND p.payment_id = q.object_id
		WHERE p.pay_no = '$no' AND q.operation = 'capture'"), 0, 'it is not captured');
}

# Disputed and lost; then what the settlement report says of it all.
sub settled
{
	my ($other, $disputed) = split /\|/, sql("SELECT pay_no, external_id FROM billing.payment WHERE tenant_id = 1 AND purpose = 'top_up' AND status = 'succeeded' ORDER BY payment_id LIMIT 1");
	my %dispute = (dispute_id => 'PP-D-1', reason => 'UNAUTHORISED', disputed_transactions => [{seller_transaction_id => $disputed}], dispute_amount => {currency_code => 'USD', value => '20.00'});
	$paypal->control('event', type => 'CUSTOMER.DISPUTE.CREATED', resource => \%dispute);
	is(hear($_), 200, 'a dispute, by the id of the capture') for @{$paypal->control('callbacks')};
	is(sql("SELECT status FROM billing.dispute WHERE tenant_id = 1"), 'open', 'is open');
	$paypal->control('event', type => 'CUSTOMER.DISPUTE.RESOLVED', resource => {%dispute, dispute_outcome => {outcome_code => 'RESOLVED_BUYER_FAVOUR'}});
	is(hear($_), 200, 'and lost') for @{$paypal->control('callbacks')};
	is(sql("SELECT d.status, p.status FROM billing.dispute d JOIN billing.payment p USING (tenant_id, payment_id)"), 'lost|reversed', 'which takes the money');

	my @lines = map { my $c = $_; row($c->{id}, $c->{custom_id}, '', 'T0006', 'CR', $c->{amount}{value}, $c->{seller_receivable_breakdown}{paypal_fee}{value}, $c->{custom_id}) }
		@{$paypal->control('state')->{captures}};
	my $file = join "\n", '"CH","Transaction ID","Invoice ID","PayPal Reference ID","PayPal Reference ID Type","Transaction Event Code","Transaction Initiation Date","Transaction Completion Date",'
		. '"Transaction  Debit or Credit","Gross Transaction Amount","Gross Transaction Currency","Fee Debit or Credit","Fee Amount","Fee Currency","Custom Field"', @lines;
	is(sql("SELECT lines, loaded FROM billing.read_settlement('paypal', " . quoted($file) . ')'), '5|5', 'the settlement report is read');
	is(sql("SELECT verdict, kind, count(*) FROM billing.reconcile('paypal', '[2020-01-01,)') GROUP BY 1, 2 ORDER BY 1, 2"), "matched|payment|5", 'and agrees with what is known here');
}

sub row
{
	my ($id, $invoice, $of, $code, $side, $amount, $fee, $custom) = @_;
	my $date = sql("SELECT to_char(now() AT TIME ZONE 'UTC', 'YYYY/MM/DD HH24:MI:SS +0000')");
	s/\.// for $amount, $fee;
	return join ',', map { "\"$_\"" } 'SB', $id, $invoice, $of, '', $code, $date, $date, $side, $amount, 'USD', $fee eq '' ? '' : 'DR', $fee, $fee eq '' ? '' : 'USD', $custom;
}

sub top_up { return sql("SELECT pay_no FROM billing.create_payment(1, NULL, '20 USD', purpose => 'top_up', $_[0])") }

# What the application's endpoint does; returns the status that it answers with.
sub hear
{
	my ($told) = @_;
	my $body = unpack 'H*', $told->{body};
	return sql('SELECT status FROM billing.receive_callback(\'paypal\', ' . quoted($json->encode($told->{headers})) . ", '\\x$body')");
}

sub quoted { my ($text) = @_; return "'" . $text =~ s/'/''/gr . "'" }
sub poll { return $node->poll_query_until('postgres', $_[0]) }
sub sql { return $node->safe_psql('postgres', $_[0]) }
