# WeChat Pay, end to end against its stand-in: a code that is scanned, or an order in the payer's WeChat, starts a subscription; certificates are
# fetched as they come; a payer who changes his mind from Alipay to WeChat Pay and pays both has credit for one; what is forged, old, of somebody
# else, or comes again changes nothing; money that nobody owed goes back.
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
use WebhookReceiver;

plan skip_all => 'there is no node: Debian packages nodejs and npm' if system('command -v node >/dev/null') != 0;

my $node = PostgreSQL::Test::Cluster->new('gateway_wechat');
my $dir = $node->basedir;
my $modules = WebhookReceiver::install_packages("$dir/npm", 'alipay-sdk@4', 'wechatpay-axios-plugin@0.9');
plan skip_all => 'npm has no registry here' if !defined $modules;

BillingNode::start($node, 'fsync = off');
my %gateways = (
	wechat => GatewayStandIn->start('wechat', $modules), wechat_key => GatewayStandIn->start('wechat', $modules, 'public_key'),
	alipay => GatewayStandIn->start('alipay', $modules));
sql("CREATE EXTENSION billing; $BillingNode::no_jobs");
sql(q{INSERT INTO billing.plan (plan_id, code, name, cycle, currency) VALUES (1, 'pro', 'Pro', '1 month', 'CNY');
	INSERT INTO billing.price (plan_id, code, name, tariff) VALUES (1, 'base', 'Base', '{"model":"flat","currency":"CNY","amount":"49"}');
	SELECT billing.create_tenant(tenant_id, 'Tenant ' || tenant_id, currency => 'CNY') FROM generate_series(1, 9) tenant_id});
$gateways{$_}->create($node, $_) for sort keys %gateways;

first_payment();
in_wechat();
change_of_mind();
lies();
lost_answer();
excess_goes_back();
for my $code (sort keys %gateways)
{
	is(join(',', grep { defined } map { $_->{problem} } @{$gateways{$code}->control('calls')}), '', "$code: no request that the library does not verify");
	$gateways{$code}->stop;
}
is(sql('SELECT * FROM billing.audit()'), '', 'and nothing is broken');
$node->stop;
done_testing();

sub sql { return $node->safe_psql('postgres', $_[0]) }
sub becomes { my ($query, $what) = @_; return ok($node->poll_query_until('postgres', $query), $what) || diag(sql('SELECT pay_no, status, failure_code, failure_reason, gateway_response FROM billing.payment ORDER BY payment_id DESC LIMIT 3')) }
sub hear { my ($code, $told) = @_; return (split /\|/, GatewayStandIn::tell($node, $code, $told))[0] }
sub last_event { return sql(q{SELECT outcome, coalesce(reason, '') FROM billing.gateway_event ORDER BY gateway_event_id DESC LIMIT 1}) }

sub subscribe
{
	my ($tenant_id) = @_;
	sql("SELECT FROM billing.subscribe($tenant_id, 'pro', activate => 'on_payment')");
	return sql("SELECT invoice_id FROM billing.invoice WHERE tenant_id = $tenant_id");
}

# A code to scan; returns the number of the payment.
sub show_code
{
	my ($tenant_id, $invoice_id, $gateway, $method) = @_;
	my $pay_no = sql("SELECT pay_no FROM billing.create_payment($tenant_id, $invoice_id, gateway => '$gateway', method => '$method')");
	becomes("SELECT status = 'requires_action' AND payment_url <> '' FROM billing.payment WHERE pay_no = '$pay_no'", "tenant $tenant_id is shown a code of $gateway");
	return $pay_no;
}

sub first_payment
{
	my $pay_no = show_code(1, subscribe(1), 'wechat', 'wechat_native');
	is(join(' ', map { $_->{url} } @{$gateways{wechat}->control('calls')}), '/v3/certificates /v3/pay/transactions/native', 'the certificates were asked for first');
	my $told = $gateways{wechat}->control('pay', out_trade_no => $pay_no);
	is(hear('wechat', $told), '503', 'a notification by a certificate that is not here yet is to come again');
	becomes("SELECT count(*) = 1 FROM billing.gateway_certificate WHERE gateway = 'wechat' AND pem IS NOT NULL", 'it is fetched');
	is(GatewayStandIn::tell($node, 'wechat', $told), '200|{"code":"SUCCESS","message":"OK"}', 'and then it is heard');
	is(sql("SELECT p.status, p.external_id LIKE '42000%', i.status, s.status FROM billing.payment p JOIN billing.invoice i USING (tenant_id, invoice_id)
		JOIN billing.subscription s USING (tenant_id) WHERE p.pay_no = '$pay_no'"), 'succeeded|t|paid|active', 'the subscription starts');
	is(hear('wechat', $told), '200', 'again') for 1 .. 2;
	is(hear('wechat', $gateways{wechat}->control('pay', out_trade_no => $pay_no)), '200', 'or in other words');
	is(sql(q{SELECT count(*) FROM billing.event WHERE tenant_id = 1 AND type = 'payment.succeeded'}), '1', 'changes nothing');
	my $serial = $gateways{wechat}->control('rotate');
	is(hear('wechat', $gateways{wechat}->control('pay', out_trade_no => $pay_no)), '503', 'a certificate that came since');
	becomes("SELECT pem IS NOT NULL FROM billing.gateway_certificate WHERE gateway = 'wechat' AND name = '$serial'", 'is fetched too');
	is(hear('wechat', $gateways{wechat}->control('pay', out_trade_no => $pay_no)), '200', 'and known then');
}

# With a key of WeChat Pay's in the settings no certificate is needed.
sub in_wechat
{
	my $invoice_id = subscribe(2);
	my $pay_no = sql("SELECT pay_no FROM billing.create_payment(2, $invoice_id, gateway => 'wechat_key', method => 'wechat_jsapi', payer_id => 'oUpF8uMuAJO_M2pxb1Q9zNjWeS6o')");
	becomes("SELECT status = 'requires_action' FROM billing.payment WHERE pay_no = '$pay_no'", 'an order in the payer\'s WeChat');
	my $client = $gateways{wechat_key}->control('orders')->[0];
	is(hear('wechat_key', $gateways{wechat_key}->control('pay', out_trade_no => $client->{out_trade_no})), '200', 'is paid');
	is(sql('SELECT status FROM billing.subscription WHERE tenant_id = 2'), 'active', 'the subscription starts');
	is(sql("SELECT count(*) FROM billing.payment WHERE pay_no = '$pay_no' AND gateway_response::text ~ 'openid|prepay_id'"), '0', 'nothing secret is kept');
}

sub change_of_mind
{
	my $invoice_id = subscribe(3);
	my $first = show_code(3, $invoice_id, 'alipay', 'alipay_qr');
	$gateways{alipay}->control('pay', out_trade_no => $first, scan => 1);
	my $second = show_code(3, $invoice_id, 'wechat', 'wechat_native');
	is(sql("SELECT status FROM billing.payment WHERE pay_no = '$first'"), 'canceled', 'the first is called off');
	becomes("SELECT bool_or(state = 'done') FROM billing.gateway_request WHERE tenant_id = 3 AND operation = 'close'", 'and so it is at Alipay');
	is($gateways{alipay}->control('trades')->[0]{state}, 'TRADE_CLOSED', 'where nobody pays it any more');
	is(hear('wechat', $gateways{wechat}->control('pay', out_trade_no => $second)), '200', 'the second is paid');
	is(sql('SELECT status FROM billing.subscription WHERE tenant_id = 3'), 'active', 'the subscription starts');
	is(hear('alipay', $gateways{alipay}->control('pay', out_trade_no => $first)), '200', 'the first is paid all the same');
	is(sql("SELECT p.status, p.excess FROM billing.payment p WHERE pay_no = '$first'"), 'succeeded|49.00 CNY', 'which nothing was due for');
	is(sql('SELECT billing.wallet_sum(3, $a$CNY$a$)'), '49.00 CNY', 'so it is credit');
	is(sql("SELECT status, paid FROM billing.invoice WHERE invoice_id = $invoice_id"), 'paid|49.00 CNY', 'and the invoice is paid once');
}

sub lies
{
	my $pay_no = show_code(4, subscribe(4), 'wechat', 'wechat_native');
	my $wechat = $gateways{wechat};
	my %paid = (out_trade_no => $pay_no, resource => {trade_state => 'SUCCESS', transaction_id => '42'});
	my $told = $wechat->control('notify', %paid);
	is(hear('wechat', {%$told, body => "$told->{body} "}), '400', 'a body that was changed is refused');
	like(last_event(), qr/^rejected\|bad_signature/, 'and recorded');
	is(hear('wechat', $wechat->control('notify', %paid, forged => 1)), '400', 'so is one that is forged');
	is(hear('wechat', $wechat->control('notify', %paid, signature => 'WECHATPAY/SIGNTEST/AAAA')), '400', 'and a probe');
	is(hear('wechat', $wechat->control('notify', %paid, age => 400)), '400', 'and one that is old');
	like(last_event(), qr/^rejected\|too_old/, 'recorded with why');
	is(hear('wechat', $wechat->control('notify', out_trade_no => $pay_no, resource => {trade_state => 'SUCCESS', mchid => '1900000002'})), '400', 'one for another merchant');
	is(hear('wechat', $wechat->control('notify', out_trade_no => $pay_no, resource => {trade_state => 'SUCCESS', amount => {total => 1, currency => 'CNY'}})), '200', 'another amount is answered');
	is(last_event(), 'rejected|minor_units=4900 told=1', 'but not believed');
	is(hear('wechat_key', $gateways{wechat_key}->control('notify', out_trade_no => $pay_no, resource =>
		{mchid => '1900000001', appid => 'wx0000000000000001', out_trade_no => $pay_no, trade_state => 'SUCCESS', amount => {total => 4900, currency => 'CNY'}})), '200', 'another account knows nothing of it');
	like(last_event(), qr/^ignored/, 'which is recorded');
	is(sql("SELECT status FROM billing.payment WHERE pay_no = '$pay_no'"), 'requires_action', 'and nothing has come');
	hear('wechat', $wechat->control('pay', out_trade_no => $pay_no));
	is(sql("SELECT status FROM billing.payment WHERE pay_no = '$pay_no'"), 'succeeded', 'till WeChat Pay says so');
}

sub lost_answer
{
	my $invoice_id = subscribe(5);
	$gateways{wechat_key}->fault('/v3/pay/transactions/native', 'cut');
	my $pay_no = sql("SELECT pay_no FROM billing.create_payment(5, $invoice_id, gateway => 'wechat_key', method => 'wechat_native')");
	becomes("SELECT status = 'unknown' FROM billing.payment WHERE pay_no = '$pay_no'", 'a connection that broke leaves a payment that nobody knows of');
	$gateways{wechat_key}->control('pay', out_trade_no => $pay_no);
	sql("SELECT FROM billing.resync_payment(5, '$pay_no')");
	becomes("SELECT status = 'succeeded' FROM billing.payment WHERE pay_no = '$pay_no'", 'it is asked for, and was paid');
	is(sql('SELECT status FROM billing.subscription WHERE tenant_id = 5'), 'active', 'the subscription starts');
}

# Of two who change their minds: WeChat Pay gives back later, and tells; one refund is lost on its way, one abnormal.
sub excess_goes_back
{
	sql(q{INSERT INTO billing.setting (name, value) VALUES ('overpayment', 'refund')});
	my $first = pay_twice(6);
	becomes("SELECT external_id LIKE '50000%' AND status = 'pending' FROM billing.refund WHERE tenant_id = 6", 'what was paid twice is asked to go back');
	my $refund_no = sql('SELECT refund_no FROM billing.refund WHERE tenant_id = 6');
	my ($asked) = grep { $_->{url} eq '/v3/refund/domestic/refunds' } @{$gateways{wechat}->control('calls')};
	is(join(' ', @{$asked->{content}}{qw(out_trade_no out_refund_no)}, $asked->{content}{amount}{refund}), "$first $refund_no 4900", 'of that payment, under its number');
	my $told = $gateways{wechat}->control('refund', out_refund_no => $refund_no);
	is(hear('wechat', $told), '200', 'WeChat Pay tells that it has') for 1 .. 2;
	is(sql("SELECT r.status, p.status FROM billing.refund r JOIN billing.payment p USING (tenant_id, payment_id) WHERE r.tenant_id = 6"), 'succeeded|refunded', 'so it went back');

	pay_twice(7);
	becomes("SELECT external_id LIKE '50000%' FROM billing.refund WHERE tenant_id = 7", 'another one');
	$refund_no = sql('SELECT refund_no FROM billing.refund WHERE tenant_id = 7');
	is(hear('wechat', $gateways{wechat}->control('refund', out_refund_no => $refund_no, status => 'ABNORMAL')), '200', 'which the bank does not take');
	is(sql('SELECT status, failure_code FROM billing.refund WHERE tenant_id = 7'), 'pending|ABNORMAL', 'waits for a person to see to it');
}

# Returns the number of the payment that was called off, and paid all the same.
sub pay_twice
{
	my ($tenant_id) = @_;
	my $invoice_id = subscribe($tenant_id);
	my $first = show_code($tenant_id, $invoice_id, 'wechat', 'wechat_native');
	my $second = show_code($tenant_id, $invoice_id, 'wechat_key', 'wechat_native');
	hear('wechat_key', $gateways{wechat_key}->control('pay', out_trade_no => $second));
	hear('wechat', $gateways{wechat}->control('pay', out_trade_no => $first));
	is(sql("SELECT excess FROM billing.payment WHERE pay_no = '$first'"), '49.00 CNY', "tenant $tenant_id pays twice");
	return $first;
}
