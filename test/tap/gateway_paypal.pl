# PayPal's driver, without a server, against a stand-in that follows its public reference: each operation, each kind of failure, what may
# be lost or lied about, and callbacks whose signature, certificate or age is not as it should be.
use strict;
use warnings FATAL => 'all';
use FindBin;
use lib $FindBin::Bin;
use Encode qw(decode_utf8 encode_utf8);
use File::Temp qw(tempdir);
use HTTP::Tiny;
use Test::More;
use GatewayStandIn;

plan skip_all => 'there is no node: Debian packages nodejs and npm' if system('command -v node >/dev/null') != 0;

my $driver = GatewayDriver->start(tempdir(CLEANUP => 1));
my $gateway = GatewayStandIn->start('paypal', '');
my $http = HTTP::Tiny->new(timeout => 2);
my %config = (base_url => $gateway->{url}, certificates => [], map { ($_ => pairs($gateway->{$_})) } qw(settings credentials));
my $numbers = 0;

configuration();
payments();
captures();
lost_answers();
stored_methods();
refunds();
currencies();
callbacks();
certificates();
is(join("\n", @{$gateway->control('complaints')}), '', 'PayPal had nothing to complain of');
$gateway->stop;
$driver->stop;
done_testing();

sub configuration
{
	is(said($driver->call('check', 'paypal', config => \%config), 'problem'), '-', 'settings and credentials are good');
	for my $missing (qw(client_id client_secret))
	{
		my @kept = grep { $_->[0] ne $missing } @{$config{credentials}};
		is(said($driver->call('check', 'paypal', config => {%config, credentials => \@kept}), 'problem'), "missing=$missing", "without $missing");
	}
	is(said($driver->call('check', 'paypal', config => {%config, settings => [['roots', 'x']]}), 'problem'), 'setting=roots expected=certificates', 'roots that are none');
	my %bad = ('currency=INR' => {currency => 'INR'}, 'method=alipay_qr allowed=paypal,card' => {method => 'alipay_qr'}, 'method=card missing=token' => {method => 'card'});
	is(said(ask('pay', pay_no => number(), %{$bad{$_}}), 'problem'), $_, "what it cannot do: $_") for sort keys %bad;
	is(said(ask('pay', pay_no => number(), config => {%config, settings => []}), 'problem'), 'missing=return_url', 'the payer has to come back somewhere');
	is(said(ask('subscription', pay_no => number()), 'problem'), 'operation=unsupported', 'it keeps no subscriptions');
}

sub payments
{
	my $no = number();
	my $paid = ask('pay', pay_no => $no, description => "\x{8ba2}" x 50);
	like(said($paid, qw(outcome pay_no units currency payment_url)), qr{^requires_action $no 8888 USD http://127\.0\.0\.1:\d+/checkoutnow\?token=$paid->{external_id}$}, 'an order, and where it is approved');
	unlike($paid->{response}, qr/"payer"|buyer|A21AA/, 'what is kept has neither the payer nor a token');
	is(said(ask('pay', pay_no => $no), 'external_id'), $paid->{external_id}, 'asked for again it is the same order');
	is(said(ask('query', pay_no => $no, external_id => $paid->{external_id}), 'outcome'), 'requires_action', 'not approved yet');
	is(said(ask('capture', pay_no => $no, external_id => $paid->{external_id}), qw(outcome code)), 'requires_action ORDER_NOT_APPROVED', 'nor can it be captured');
	is(said(ask('close', pay_no => $no, external_id => $paid->{external_id}), 'outcome'), 'canceled', 'closed: nobody captures it');
	is(said(ask('close', pay_no => number()), qw(outcome verb)), 'canceled -', 'what has no order is closed here');
	is(said(ask('query', pay_no => $no, external_id => '5O999999999999999'), qw(outcome)), 'canceled', 'an order that PayPal has forgotten');
	faults('checkout/orders', 'pay', {}, 500 => 'unknown', 503 => 'unknown', 408 => 'unknown', 409 => 'unknown', 429 => 'retry', 401 => 'requires_action', 403 => 'failed', bare_403 => 'unknown', bare_404 => 'unknown',
		DUPLICATE_REQUEST_ID => 'unknown', DUPLICATE_TRANSACTION => 'unknown', garbage => 'unknown', hang => '', cut => '', drop => '');
	faults('oauth2', 'pay', {}, 401 => 'retry', 500 => 'retry', 429 => 'retry', garbage => 'retry', hang => '', drop => '');
	faults('checkout/orders', 'query', {external_id => $paid->{external_id}, pay_no => $no}, 500 => 'unknown', 403 => 'unknown', 429 => 'retry', garbage => 'unknown');
	faults('checkout/orders', 'query', {}, DUPLICATE_REQUEST_ID => 'unknown', PAYPAL_REQUEST_ID_PREVIOUSLY_USED => 'unknown', PREVIOUS_REQUEST_IN_PROGRESS => 'unknown', bare_400 => 'unknown');
	$gateway->fault('checkout/orders', 401, 401);
	is(said(ask('pay', pay_no => number()), 'outcome'), 'retry', 'one whose new token is refused as well is asked again later');
	$gateway->control('revoke');
	is(said(ask('query', pay_no => $no, external_id => $paid->{external_id}), 'outcome'), 'requires_action', 'each conversation has a token of its own');
	is(said(ask('query', pay_no => $no, external_id => $paid->{external_id}, memory => [['access_token', 'ended'], ['renewed_at', time - 86400]]), 'outcome'), 'requires_action', 'and gets another when that has ended');
}

sub captures
{
	my ($no, $order) = approved();
	is(said(ask('query', pay_no => $no, external_id => $order), 'outcome'), 'approved', 'approved');
	my $captured = ask('capture', pay_no => $no, external_id => $order);
	like(said($captured, qw(outcome pay_no units currency fee_units fee_currency external_id)), qr/^succeeded $no 8888 USD 359 USD 3C\d+$/, 'captured, with its fee');
	cmp_ok(abs($captured->{at} - time), '<', 60, 'and when');
	is(said(ask('capture', pay_no => $no, external_id => $order), qw(outcome external_id)), "succeeded $captured->{external_id}", 'again: the same');
	$gateway->control('forget');
	is(said(ask('capture', pay_no => $no, external_id => $order), qw(outcome external_id)), "succeeded $captured->{external_id}", 'also when PayPal only says that it was captured');
	is(said(ask('query', pay_no => $no, external_id => $_), qw(outcome external_id units fee_units)), "succeeded $captured->{external_id} 8888 359", "a query by $_") for $order, $captured->{external_id};
	is(said(ask('query', pay_no => $no, external_id => $captured->{external_id}, memory => [['access_token', 'ended'], ['step', 'capture']]), 'outcome'), 'succeeded', 'with another token it goes on where it was');
	is(said(ask('close', pay_no => $no, external_id => $order), 'outcome'), 'succeeded', 'what is paid is not closed');
	($no, $order) = approved(decline => 1);
	is(said(ask('capture', pay_no => $no, external_id => $order), qw(outcome code)), 'failed INSTRUMENT_DECLINED', 'declined');
	($no, $order) = approved();
	faults("$order/capture", 'capture', {pay_no => $no, external_id => $order}, 500 => 'unknown', 429 => 'retry', garbage => 'unknown', hang => '');
	is(said(ask('capture', pay_no => $no, external_id => 'none'), 'outcome'), 'failed', 'an order that there is not');
	$gateway->fault("$order/capture", 'lie_amount', 'lie_number');
	is(said(ask('capture', pay_no => $no, external_id => $order), 'units'), 9888, 'what is told of the amount is said as it is told');
	is(said(ask('capture', pay_no => $no, external_id => $order), 'pay_no'), '999_other', 'and of the number');
}

# The connection is cut after the work was done.
sub lost_answers
{
	my $no = number();
	$gateway->fault('checkout/orders', 'cut');
	is(said(ask('pay', pay_no => $no), 'outcome'), '', 'the answer is lost');
	like(said(ask('query', pay_no => $no), qw(outcome payment_url)), qr/^requires_action http/, 'a query finds the order by the same request');
	is(said(ask('query', pay_no => $no, created_at => time - 6 * 3600), qw(outcome code)), 'canceled order_unknown', 'later it is dead: nobody ever got its address');
	is(said(ask('query', pay_no => $no, token => 'x', created_at => time - 6 * 3600), qw(outcome code)), 'unknown order_unknown', 'but one of a stored method may have been paid');
	is(said(ask('query', pay_no => $no, is_token_gone => JSON::PP::true, created_at => time - $_), qw(outcome code verb)), 'unknown order_unknown -', 'also if that was removed since') for 300, 6 * 3600;
	is(said(ask('close', pay_no => $no, is_token_gone => JSON::PP::true), 'outcome'), 'unknown', 'which is not closed here either');
	my $token = method('good');
	$no = number();
	$gateway->fault('checkout/orders', 'cut');
	is(said(ask('pay', pay_no => $no, token => $token), 'outcome'), '', 'that of a stored method too');
	is(said(ask('query', pay_no => $no, token => $token), qw(outcome units)), 'succeeded 8888', 'and is found');
	is(scalar(grep { $_->{custom_id} eq $no } @{$gateway->control('state')->{captures}}), 1, 'charged once');
	$gateway->control('forget');
	is(said(ask('pay', pay_no => $no, token => $token), qw(outcome code)), 'unknown DUPLICATE_INVOICE_ID', 'an invoice id that was paid may be this payment: not a failure');
	is(scalar(grep { $_->{custom_id} eq $no } @{$gateway->control('state')->{captures}}), 1, 'still once');
}

sub stored_methods
{
	my $added = ask('add_method', token => 'setup_card', idempotency_key => 'method_card');
	like(said($added, qw(outcome type brand last4 exp_month exp_year customer_id token)), qr/^succeeded card VISA 1111 2 2031 customer_1 8k\w+$/, 'a setup token becomes a method');
	unlike("$added->{response}$added->{external_id}", qr/$added->{token}/, 'whose token is nowhere else');
	is(said(ask('add_method', token => 'setup_card', idempotency_key => 'method_card'), 'token'), $added->{token}, 'once');
	is(said(ask('add_method', token => 'nonsense', idempotency_key => 'method_none'), qw(outcome code)), 'failed INVALID_SETUP_TOKEN_ID', 'a token that is none');
	is(said(ask('pay', pay_no => number(), method => 'card', token => $added->{token}), qw(outcome units fee_units)), 'succeeded 8888 359', 'it is charged');
	is(said(ask('pay', pay_no => number(), token => method('declined')), qw(outcome code)), 'failed INSTRUMENT_DECLINED', 'declined');
	is(said(ask('pay', pay_no => number(), token => 'gone'), 'outcome'), 'failed', 'a method that there is not');
	like(said(ask('pay', pay_no => number(), token => method('action')), qw(outcome payment_url)), qr/^requires_action http/, 'the payer has to do something');
	my $pending = ask('pay', pay_no => number(), token => method('pending'));
	is(said($pending, qw(outcome fee_units)), 'processing -1', 'under way');
	$gateway->control('settle', id => $pending->{external_id}, status => 'DECLINED');
	is(said(ask('query', external_id => $pending->{external_id}), qw(outcome code)), 'failed ECHECK', 'and declined in the end');
	is(said(ask('remove_method', token => $added->{token}), 'outcome'), 'succeeded', 'removed') for 1 .. 2;
	is(said(ask('pay', pay_no => number(), method => 'card', token => $added->{token}), 'outcome'), 'failed', 'it is charged no more');
}

sub refunds
{
	my ($no, $order) = approved();
	my $capture = ask('capture', pay_no => $no, external_id => $order)->{external_id};
	my %refund = (pay_no => $no, payment_external_id => $capture, units => 1000, reason => "\x{e9}" x 200);
	my $first = ask('refund', %refund, refund_no => '7_refund1');
	like(said($first, qw(outcome refund_no pay_no units currency external_id)), qr/^succeeded 7_refund1 $no 1000 USD 1J\d+$/, 'a part goes back');
	is(said(ask('refund', %refund, refund_no => '7_refund1'), qw(outcome external_id)), "succeeded $first->{external_id}", 'once');
	is(said(ask('query_refund', %refund, refund_no => '7_refund1', external_id => $first->{external_id}), qw(outcome units)), 'succeeded 1000', 'a query by its id');
	is(said(ask('refund', %refund, refund_no => '7_refund2', payment_external_id => $order), qw(outcome units)), 'succeeded 1000', 'where only the order is known, its capture is looked for');
	$gateway->fault('/refund', 'cut');
	is(said(ask('refund', %refund, refund_no => '7_refund3'), 'outcome'), '', 'the answer is lost');
	is(said(ask('query_refund', %refund, refund_no => '7_refund3'), qw(outcome refund_no)), 'succeeded 7_refund3', 'and found');
	is(said(ask('refund', %refund, refund_no => '7_refund4', units => 5889), qw(outcome code)), 'failed REFUND_AMOUNT_EXCEEDED', 'more than is left');
	is(said(ask('refund', %refund, refund_no => '7_refund5', units => 5888), 'outcome'), 'succeeded', 'what is left');
	is(said(ask('refund', %refund, refund_no => '7_refund6', units => 1), qw(outcome code)), 'failed CAPTURE_FULLY_REFUNDED', 'nothing is');
	is(scalar(@{$gateway->control('state')->{refunds}}), 4, 'four refunds');
	is(said(ask('query', pay_no => $no, external_id => $capture), 'outcome'), 'succeeded', 'the payment was one all the same');
	my ($other, $unpaid) = approved();
	is(said(ask('refund', %refund, refund_no => '7_refund7', payment_external_id => $unpaid), qw(outcome code)), 'failed order_not_captured', 'of what was never captured');
	is(said(ask('refund', %refund, refund_no => '7_refund7', payment_external_id => 'none'), 'outcome'), 'failed', 'of nothing');
	my %given = (config => \%config, order => {operation => 'refund', now => time, %refund, refund_no => '7_refund9', currency => 'USD', memory => [['access_token', 'x']]}, status => 200, headers => []);
	is(said($driver->call('read', 'paypal', %given, body => qq({"id":"$order","status":"COMPLETED","purchase_units":[]})), 'outcome'), 'unknown', 'an order is no refund');
	faults('/refund', 'refund', {%refund, refund_no => '7_refund8'}, 500 => 'unknown', 429 => 'retry', garbage => 'unknown');
}

sub currencies
{
	like(said(ask('pay', pay_no => number(), currency => 'JPY', units => 4900, exponent => 0), qw(outcome units currency)), qr/^requires_action 4900 JPY$/, 'yen have no decimals');
	like(said(ask('pay', pay_no => number(), currency => 'HUF', units => 4900, exponent => 0), qw(outcome units currency)), qr/^requires_action 4900 HUF$/, 'nor has the forint there');
	like(said(ask('pay', pay_no => number(), currency => 'EUR', units => 5), qw(outcome units currency)), qr/^requires_action 5 EUR$/, 'five cents');
}

sub callbacks
{
	$gateway->control('callbacks');
	my ($no, $order) = approved();
	my ($told) = @{$gateway->control('callbacks')};
	is(said(hear($told), qw(verdict detail)), "no_key $gateway->{url}/v1/notifications/certs/CERT-good", 'its certificate has to be asked for');
	my $certificate = ask('certificate', external_id => hear($told)->{detail});
	is($certificate->{outcome}, 'succeeded', 'which is answered');
	$config{certificates} = $certificate->{memory};
	my $heard = hear($told);
	is(said($heard, qw(verdict event_type subject outcome pay_no units external_id)), "valid CHECKOUT.ORDER.APPROVED payment approved $no 8888 $order", 'the payer has approved');

	my $capture = ask('capture', pay_no => $no, external_id => $order)->{external_id};
	ask('refund', pay_no => $no, refund_no => '7_told', payment_external_id => $capture, units => 100);
	my ($completed, $refunded) = map { hear($_) } @{$gateway->control('callbacks')};
	is(said($completed, qw(verdict subject outcome pay_no units fee_units external_id)), "valid payment succeeded $no 8888 359 $capture", 'captured');
	is(said($refunded, qw(verdict subject outcome pay_no refund_no units payment_external_id)), "valid refunded succeeded $no 7_told 100 $capture", 'refunded');

	my %dispute = (dispute_id => 'PP-D-1', reason => 'UNAUTHORISED', disputed_transactions => [{seller_transaction_id => $capture, custom => $no}],
		dispute_amount => {currency_code => 'USD', value => '88.88'}, update_time => '2026-01-02T03:04:05.678Z');
	for (['CUSTOMER.DISPUTE.CREATED', {}, 'dispute processing'], ['CUSTOMER.DISPUTE.UPDATED', {}, 'dispute processing'],
		['CUSTOMER.DISPUTE.RESOLVED', {dispute_outcome => {outcome_code => 'RESOLVED_BUYER_FAVOUR'}}, 'dispute failed'],
		['CUSTOMER.DISPUTE.RESOLVED', {dispute_outcome => {outcome_code => 'RESOLVED_SELLER_FAVOUR'}}, 'dispute succeeded'],
		['CUSTOMER.DISPUTE.RESOLVED', {dispute_outcome => {outcome_code => 'CANCELED_BY_BUYER'}}, 'dispute succeeded'],
		['CUSTOMER.DISPUTE.RESOLVED', {dispute_outcome => {outcome_code => 'NONE'}}, 'dispute processing'],
		['CUSTOMER.DISPUTE.RESOLVED', {dispute_outcome => {outcome_code => 'RESOLVED_BUYER_FAVOUR', amount_refunded => {currency_code => 'USD', value => '30.00'}}}, 'dispute failed', 3000])
	{
		my ($type, $more, $expected, $units) = (@$_, 8888);
		is(said(tells($type, {%dispute, %$more}), qw(subject outcome pay_no units payment_external_id dispute_reason at)), "$expected $no $units $capture UNAUTHORISED 1767323045", $type);
	}
	my $up = [{rel => 'up', href => "$gateway->{url}/v2/payments/captures/$capture"}];
	is(said(tells('PAYMENT.CAPTURE.REVERSED', {id => 'R1', status => 'COMPLETED', invoice_id => $no, amount => {currency_code => 'USD', value => '88.88'}, links => $up}), qw(subject pay_no units payment_external_id)),
		"reversed $no 8888 $capture", 'taken back');
	is(said(tells("PAYMENT.CAPTURE.$$_[0]", {id => 'C1', status => $$_[1], custom_id => $no, amount => {currency_code => 'USD', value => '88.88'}}), 'outcome'), $$_[2], "capture: $$_[0]")
		for ['PENDING', 'PENDING', 'processing'], ['DENIED', 'DECLINED', 'failed'], ['DENIED', 'OTHER', 'failed'];
	my $added = ask('add_method', token => 'setup_good', idempotency_key => 'method_told');
	my ($made) = map { hear($_) } @{$gateway->control('callbacks')};
	is(said($made, qw(subject outcome external_id token)), "method succeeded $added->{external_id} -", 'a method was made');
	is(said(tells('VAULT.PAYMENT-TOKEN.DELETED', {id => $added->{token}}), qw(subject outcome external_id)), "method canceled $added->{external_id}", 'and is gone');
	is(said(tells('BILLING.PLAN.CREATED', {}), qw(verdict subject)), 'valid nothing', 'what is none of ours');
	is(said(tells('PAYMENT.CAPTURE.COMPLETED', {id => 'C1', status => 'COMPLETED', amount => {currency_code => 'USD', value => '88.881'}}), qw(outcome units)), 'succeeded -1', 'an amount that is not exact is none');
	is(said(tells('PAYMENT.CAPTURE.COMPLETED', undef), qw(verdict detail)), 'malformed missing=resource', 'about nothing');

	$gateway->control('event', type => 'PAYMENT.CAPTURE.COMPLETED', resource => {id => 'C1', amount => {currency_code => 'USD', value => '1.00'}});
	my %how = ('good' => [{}, 'valid -'], 'changed' => [{tamper => JSON::PP::true}, 'bad_signature -'], 'three days old' => [{age => 3 * 86400}, 'valid -'],
		'five days old' => [{age => 5 * 86400}, 'too_old max_age=345600 max_ahead=300'], 'of the future' => [{age => -400}, 'too_old max_age=345600 max_ahead=300']);
	is(said(hear($gateway->control('callbacks', keep => 1, %{$how{$_}[0]})->[0]), qw(verdict detail)), $how{$_}[1], "a callback: $_") for sort keys %how;
	my $again = $gateway->control('callbacks')->[0];
	for my $name (sort grep { /^Paypal/ } keys %{$again->{headers}})
	{
		my %headers = %{$again->{headers}};
		delete $headers{$name};
		is(said(hear({%$again, headers => \%headers}), qw(verdict detail)), "bad_signature missing=$name", "without $name");
		is(said(hear({%$again, headers => {%headers, uc $name => $again->{headers}{$name}}}), 'verdict'), 'valid', "$name in another case");
	}
	is(said(hear({%$again, headers => {%{$again->{headers}}, 'Paypal-Auth-Algo' => 'MD5withRSA'}}), 'verdict'), 'bad_signature', 'another algorithm');
	is(said(hear($again, config => {%config, settings => [grep { $_->[0] ne 'webhook_id' } @{$config{settings}}]}), qw(verdict detail)), 'bad_signature missing=webhook_id', 'the webhook has to be known');
	is(said(hear($again, config => {%config, settings => [['webhook_id', 'another'], grep { $_->[0] ne 'webhook_id' } @{$config{settings}}]}), 'verdict'), 'bad_signature', 'a callback of another webhook');
	is(said($driver->call('reply', 'paypal', accepted => JSON::PP::true), 'status'), 200, 'what it is told');
	is(said($driver->call('reply', 'paypal', accepted => JSON::PP::false), 'status'), 400, 'and else');
}

sub certificates
{
	$gateway->control('event', type => 'A', resource => {});
	for (['other_host', 'certificate=not_of_host host=messageverificationcerts.paypal.com'], ['expired', qr/certificate has expired/], ['self_signed', qr/self.signed certificate/],
		['stranger', qr/self.signed certificate in certificate chain/])
	{
		my ($which, $why) = @$_;
		my $told = $gateway->control('callbacks', keep => 1, certificate => $which)->[0];
		my $url = $told->{headers}{'Paypal-Cert-Url'};
		my $asked = ask('certificate', external_id => $url);
		is($asked->{outcome}, 'failed', "a certificate: $which");
		like($asked->{message}, ref $why ? $why : qr/^\Q$why\E$/, 'why');
		is(said(hear($told, config => {%config, certificates => [[$url, $http->get($url)->{content}]]}), 'verdict'), 'bad_signature', 'nor is it believed where it is there');
	}
	my $good = $gateway->control('callbacks', keep => 1)->[0];
	my $url = $good->{headers}{'Paypal-Cert-Url'};
	my $leaf = $config{certificates}[0][1] =~ s/(-----END CERTIFICATE-----\n).*/$1/sr;
	is(said(hear($good, now => time + 86400 * 21, config => \%config), 'verdict'), 'bad_signature', 'one that has run out since');
	is(said(hear($good, config => {%config, certificates => [[$url, $leaf]]}), 'verdict'), 'valid', 'the leaf alone, whose issuer is known');
	is(said(hear($good, config => {%config, certificates => [[$url, 'x']]}), qw(verdict detail)), 'bad_signature certificate=unreadable', 'what is none');
	for my $other ('https://user@api.paypal.com/v1/notifications/certs/CERT-1', 'https://api.paypal.com.evil.example/v1/notifications/certs/CERT-1', 'http://api.paypal.com/v1/notifications/certs/CERT-1',
		'https://api.paypal.com/v1/notifications/certs/../../x', 'https://api.paypal.com/v1/notifications/certs/', 'https://api.paypal.com/v1/notifications/certs/CERT-1?x', 'https://api.paypal.com@evil.example/v1/notifications/certs/CERT-1',
		'https://api.paypal.com:444/v1/notifications/certs/CERT-1', 'https://www.paypal.com/redirect?u=/v1/notifications/certs/CERT-1', 'https://api.sandbox.paypal.com/v1/notifications/certs/CERT-1', 'file:///etc/passwd', '')
	{
		my %of = (base_url => 'https://api-m.paypal.com', settings => $config{settings}, credentials => $config{credentials}, certificates => []);
		is(said(hear({%$good, headers => {%{$good->{headers}}, 'Paypal-Cert-Url' => $other}}, config => \%of), qw(verdict detail)), 'bad_signature header=Paypal-Cert-Url', "no certificate from '$other'");
		is(said($driver->call('build', 'paypal', config => \%of, order => {operation => 'certificate', external_id => $other}), 'problem'), 'certificate=not_of_paypal', 'nor is it asked for');
	}
	for (['https://api-m.paypal.com', 'https://api.paypal.com'], ['https://api-m.paypal.com', 'https://api-m.paypal.com'], ['https://api-m.sandbox.paypal.com', 'https://api.sandbox.paypal.com'])
	{
		my %of = (base_url => $$_[0], settings => $config{settings}, credentials => $config{credentials}, certificates => []);
		is(said(hear({%$good, headers => {%{$good->{headers}}, 'Paypal-Cert-Url' => "$$_[1]/v1/notifications/certs/CERT-360caa42-fca2a594"}}, config => \%of), 'verdict'), 'no_key', "$$_[1] is one of $$_[0]");
	}
	is(said(ask('certificate', external_id => "$gateway->{url}/v1/notifications/certs/CERT-none"), 'outcome'), 'failed', 'one that there is not');
}

# All steps of an operation; returns what is known at its end, and '' for a request that came to nothing.
sub ask
{
	my ($operation, %order) = @_;
	my $of = delete $order{config} || \%config;
	%order = (operation => $operation, now => time, nonce => '593BEC0C930BF1AFEB40B4A08C8FB242', currency => 'USD', units => 8888, payment_units => 8888, exponent => 2,
		created_at => time - 3600, %order);
	for (1 .. 6)
	{
		my $built = $driver->call('build', 'paypal', config => $of, order => \%order);
		return $built if exists $built->{problem} || !exists $built->{verb};
		my $response = $http->request($built->{verb}, $built->{url},
			{headers => {map { @$_ } @{$built->{headers}}}, exists $built->{body} ? (content => encode_utf8($built->{body})) : ()});
		return {outcome => ''} if $response->{status} == 599;
		my $read = $driver->call('read', 'paypal', config => $of, order => \%order, status => $response->{status}, headers => pairs($response->{headers}), body => decode_utf8($response->{content} // ''));
		return $read if $read->{outcome} ne 'next';
		$order{memory} = $read->{memory};
	}
	return {outcome => 'endless'};
}

sub hear
{
	my ($told, %changed) = @_;
	return $driver->call('callback', 'paypal', config => \%config, now => time, headers => pairs($told->{headers}), body => $told->{body}, %changed);
}

sub tells
{
	my ($type, $resource) = @_;
	$gateway->control('callbacks');
	$gateway->control('event', type => $type, defined $resource ? (resource => $resource) : ());
	return hear($gateway->control('callbacks')->[0]);
}

# The outcome of an operation while the gateway does something else than its work.
sub faults
{
	my ($on, $operation, $order, %expected) = @_;
	for my $fault (sort keys %expected)
	{
		$gateway->fault($on, $fault);
		is(said(ask($operation, pay_no => number(), %$order), 'outcome'), $expected{$fault}, "$operation, $on: $fault");
	}
}

sub approved
{
	my (%how) = @_;
	my $no = number();
	my $order = ask('pay', pay_no => $no)->{external_id};
	$gateway->control('approve', id => $order, %how);
	return ($no, $order);
}

# A stored method, which does what its kind says when it is charged.
sub method
{
	my ($kind) = @_;
	return ask('add_method', token => "setup_$kind", idempotency_key => 'method_' . ++$numbers)->{token};
}

sub pairs { my ($hash) = @_; return [map { [$_, $hash->{$_}] } sort keys %$hash] }
sub number { return '7_order' . ++$numbers }
sub said { my ($answer, @names) = @_; return join ' ', map { defined $answer->{$_} ? $answer->{$_} : '-' } @names }
