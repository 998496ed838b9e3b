# Alipay, end to end against its stand-in: a code that is scanned starts a subscription; what is changed, of somebody else, or comes again
# changes nothing; an answer that was lost is asked for, and nothing is charged twice; a stored agreement pays, and is refused; money that
# nobody owed goes back.
use strict;
use warnings FATAL => 'all';
use FindBin;
use lib $FindBin::Bin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use BillingNode;
use GatewayStandIn;
use WebhookReceiver;

plan skip_all => 'there is no node: Debian packages nodejs and npm' if system('command -v node >/dev/null') != 0;

my $node = PostgreSQL::Test::Cluster->new('gateway_alipay');
my $dir = $node->basedir;
my $modules = WebhookReceiver::install_packages("$dir/npm", 'alipay-sdk@4');
plan skip_all => 'npm has no registry here' if !defined $modules;

BillingNode::start($node, 'fsync = off');
my $alipay = GatewayStandIn->start('alipay', $modules);
my $other = GatewayStandIn->start('alipay', $modules);
sql("CREATE EXTENSION billing; $BillingNode::no_jobs");
sql(q{INSERT INTO billing.plan (plan_id, code, name, cycle, currency) VALUES (1, 'pro', 'Pro', '1 month', 'CNY');
	INSERT INTO billing.price (plan_id, code, name, tariff) VALUES (1, 'base', 'Base', '{"model":"flat","currency":"CNY","amount":"49"}');
	SELECT billing.create_tenant(tenant_id, 'Tenant ' || tenant_id, currency => 'CNY') FROM generate_series(1, 9) tenant_id});
$alipay->create($node, 'alipay');
$other->create($node, 'alipay_other');

first_payment();
lies();
lost_answer();
agreement();
page();
excess_goes_back();
is(join(',', grep { defined } map { $_->{problem} } @{$alipay->control('calls')}), '', 'no request that the library does not verify');
is(sql('SELECT * FROM billing.audit()'), '', 'and nothing is broken');
$_->stop for $alipay, $other;
$node->stop;
done_testing();

sub sql { return $node->safe_psql('postgres', $_[0]) }
sub becomes { my ($query, $what) = @_; return ok($node->poll_query_until('postgres', $query), $what) || diag(sql('SELECT pay_no, status, failure_code, failure_reason, gateway_response FROM billing.payment ORDER BY payment_id DESC LIMIT 3')) }
sub hear { return GatewayStandIn::tell($node, 'alipay', $_[0]) }
sub last_event { return sql(q{SELECT outcome, coalesce(reason, '') FROM billing.gateway_event ORDER BY gateway_event_id DESC LIMIT 1}) }

# A subscription that waits for its first payment; returns its invoice.
sub subscribe
{
	my ($tenant_id) = @_;
	sql("SELECT FROM billing.subscribe($tenant_id, 'pro', activate => 'on_payment')");
	return sql("SELECT invoice_id FROM billing.invoice WHERE tenant_id = $tenant_id");
}

# The worker collects once a minute, or when it is asked to.
sub collect { sql(q{INSERT INTO billing.job (name, run_at) VALUES ('collect_invoices', now()) ON CONFLICT (name) DO UPDATE SET run_at = now()}) }

# A code to scan for it; returns the number of the payment.
sub show_code
{
	my ($tenant_id, $invoice_id) = @_;
	my $pay_no = sql("SELECT pay_no FROM billing.create_payment($tenant_id, $invoice_id, gateway => 'alipay', method => 'alipay_qr')");
	becomes("SELECT status = 'requires_action' AND payment_url ~ '^https://qr' FROM billing.payment WHERE pay_no = '$pay_no'", "tenant $tenant_id is shown a code");
	return $pay_no;
}

sub first_payment
{
	my $pay_no = show_code(1, subscribe(1));
	my $told = $alipay->control('pay', out_trade_no => $pay_no);
	is(hear($told), '200|success', 'the payer pays, and Alipay is answered');
	is(sql("SELECT p.status, p.external_id LIKE '2026%', i.status, s.status FROM billing.payment p JOIN billing.invoice i USING (tenant_id, invoice_id)
		JOIN billing.subscription s USING (tenant_id) WHERE p.pay_no = '$pay_no'"), 'succeeded|t|paid|active', 'the subscription starts');
	is(hear($told), '200|success', 'again') for 1 .. 2;
	is(sql("SELECT count(*), (SELECT count(*) FROM billing.event e WHERE e.tenant_id = 1 AND e.type = 'payment.succeeded') FROM billing.gateway_event WHERE tenant_id = 1"), '1|1', 'changes nothing');
	is(hear($alipay->control('pay', out_trade_no => $pay_no)), '200|success', 'nor does the same in other words');
	is(sql('SELECT count(*) FROM billing.payment WHERE tenant_id = 1'), '1', 'there is one payment');
}

sub lies
{
	my $pay_no = show_code(2, subscribe(2));
	my $told = $alipay->control('pay', out_trade_no => $pay_no);
	my $waits = "SELECT status FROM billing.payment WHERE pay_no = '$pay_no'";
	is(hear({%$told, body => $told->{body} =~ s/49\.00/94.00/r}), '400|failure', 'a body that was changed is refused');
	like(last_event(), qr/^rejected\|bad_signature/, 'and recorded');
	is(hear($other->control('notify', %{lie($pay_no)})), '400|failure', 'so is one by another key');
	is(hear($alipay->control('notify', out_trade_no => $pay_no, app_id => '2021000000000002')), '400|failure', 'and one for another app');
	like(last_event(), qr/^rejected\|malformed: app_id=/, 'recorded with why');
	is(hear($alipay->control('notify', out_trade_no => $pay_no, total_amount => '48.00')), '200|success', 'another amount is answered, as it would only come again');
	is(last_event(), 'rejected|minor_units=4900 told=4800', 'but not believed');
	is(GatewayStandIn::tell($node, 'alipay_other', $other->control('notify', %{lie($pay_no)})), '200|success', 'another account knows nothing of a payment here');
	like(last_event(), qr/^ignored/, 'which is recorded');
	is(sql($waits), 'requires_action', 'and nothing has come');
	hear($told);
	is(sql($waits), 'succeeded', 'till Alipay says so');
}

sub lie
{
	my ($pay_no) = @_;
	return {out_trade_no => $pay_no, trade_no => '20269999', trade_status => 'TRADE_SUCCESS', total_amount => '49.00', seller_id => '2088000000000001'};
}

sub lost_answer
{
	my $invoice_id = subscribe(3);
	$alipay->control('calls');
	$alipay->fault('alipay.trade.precreate', 'drop');
	my $pay_no = sql("SELECT pay_no FROM billing.create_payment(3, $invoice_id, gateway => 'alipay', method => 'alipay_qr')");
	becomes("SELECT status = 'unknown' FROM billing.payment WHERE pay_no = '$pay_no'", 'a connection that broke leaves a payment that nobody knows of');
	is(sql("SELECT count(*) FROM billing.gateway_request WHERE tenant_id = 3 AND state = 'waiting'"), '1', 'which is asked for');
	sql("SELECT FROM billing.resync_payment(3, '$pay_no')");
	becomes("SELECT status = 'requires_action' FROM billing.payment WHERE pay_no = '$pay_no'", 'Alipay does not know it, so nobody has scanned it');
	like(join(' ', map { $_->{method} } @{$alipay->control('calls')}), qr/^alipay\.trade\.precreate( alipay\.trade\.precreate)? alipay\.trade\.query$/, 'it was asked, and asked about');
}

sub agreement
{
	$alipay->control('agree', agreement_no => '20260001');
	my $method = sql(q{SELECT payment_method_id FROM billing.add_payment_method(4, 'alipay', 'alipay', '20260001')});
	becomes("SELECT status = 'active' AND is_default FROM billing.payment_method WHERE payment_method_id = $method", 'an agreement becomes a payment method');
	is(sql("SELECT count(*) FROM billing.payment_method m WHERE m::text LIKE '%20260001%' AND m.external_id <> 'ours20260001'"), '0', 'its number is sealed');
	$alipay->control('calls');
	$alipay->fault('alipay.trade.pay', 'cut');
	collect(subscribe(4));
	becomes("SELECT status = 'unknown' FROM billing.payment WHERE tenant_id = 4", 'what it is to pay at once is debited, and the answer lost');
	my $pay_no = sql('SELECT pay_no FROM billing.payment WHERE tenant_id = 4');
	sql("SELECT FROM billing.resync_payment(4, '$pay_no')");
	becomes("SELECT status = 'succeeded' FROM billing.payment WHERE pay_no = '$pay_no'", 'it is asked for, and had happened');
	my @debits = grep { $_->{method} eq 'alipay.trade.pay' } @{$alipay->control('calls')};
	is(join(' ', sort keys %{{map { ($_->{content}{out_trade_no} => 1) } @debits}}), $pay_no, 'under the one number, so nothing is charged twice');
	is(sql('SELECT status FROM billing.subscription WHERE tenant_id = 4'), 'active', 'and the subscription starts');

	$alipay->control('agree', agreement_no => '20260002', refuses => 'ACQ.BUYER_BALANCE_NOT_ENOUGH');
	$method = sql(q{SELECT payment_method_id FROM billing.add_payment_method(5, 'alipay', 'alipay', '20260002')});
	becomes("SELECT status = 'active' FROM billing.payment_method WHERE payment_method_id = $method", 'another one');
	collect(subscribe(5));
	becomes("SELECT status = 'failed' AND failure_code = 'ACQ.BUYER_BALANCE_NOT_ENOUGH' FROM billing.payment WHERE tenant_id = 5", 'does not pay, for want of money');
	my $none = sql(q{SELECT payment_method_id FROM billing.add_payment_method(6, 'alipay', 'alipay', '20260009')});
	becomes("SELECT status = 'failed' FROM billing.payment_method WHERE payment_method_id = $none", 'one that Alipay does not know is none');
}

sub page
{
	my $invoice_id = subscribe(7);
	my ($pay_no, $url) = split /\|/, sql("SELECT pay_no, payment_url FROM billing.create_payment(7, $invoice_id, gateway => 'alipay', method => 'alipay_page', return_url => 'https://example.com/paid')");
	like($url, qr{^\Q$alipay->{url}\E/gateway\.do\?}, 'a page to pay at is there at once');
	is(hear($alipay->control('pay', out_trade_no => $pay_no, page => $url)), '200|success', 'the library verifies it, and it is paid');
	is(sql('SELECT status FROM billing.subscription WHERE tenant_id = 7'), 'active', 'which starts the subscription');
}

sub excess_goes_back
{
	sql(q{INSERT INTO billing.setting (name, value) VALUES ('overpayment', 'refund')});
	my $invoice_id = subscribe(8);
	my $first = show_code(8, $invoice_id);
	my ($second, $url) = split /\|/, sql("SELECT pay_no, payment_url FROM billing.create_payment(8, $invoice_id, gateway => 'alipay', method => 'alipay_page')");
	hear($alipay->control('pay', out_trade_no => $second, page => $url));
	is(hear($alipay->control('pay', out_trade_no => $first)), '200|success', 'a code that was called off is paid all the same');
	becomes("SELECT r.status = 'succeeded' AND p.status = 'refunded' FROM billing.refund r JOIN billing.payment p USING (tenant_id, payment_id) WHERE p.pay_no = '$first'", 'what was paid twice goes back');
	my $refund_no = sql('SELECT refund_no FROM billing.refund WHERE tenant_id = 8');
	is(hear($alipay->control('refund', out_request_no => $refund_no)), '200|success', 'Alipay tells so, too');
	like(last_event(), qr/^applied/, 'which is known');
	is(sql("SELECT status FROM billing.payment WHERE pay_no = '$second'"), 'succeeded', 'and the other one stays');
}
