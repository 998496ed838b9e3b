# The drivers of Alipay and WeChat Pay, without a server, against their stand-ins, which verify what we sign and sign what they say by the
# gateways' own or published libraries: each operation, each kind of failure, each way that an answer or notification may lie.
use strict;
use warnings FATAL => 'all';
use FindBin;
use lib $FindBin::Bin;
use Encode qw(decode encode);
use File::Temp qw(tempdir);
use HTTP::Tiny;
use Test::More;
use GatewayStandIn;
use WebhookReceiver;

plan skip_all => 'there is no node: Debian packages nodejs and npm' if system('command -v node >/dev/null') != 0;

my $dir = tempdir(CLEANUP => 1);
my $modules = WebhookReceiver::install_packages("$dir/npm", 'alipay-sdk@4', 'wechatpay-axios-plugin@0.9');
plan skip_all => 'npm has no registry here' if !defined $modules;

my $driver = GatewayDriver->start($dir);
my $http = HTTP::Tiny->new(timeout => 2);
my ($gateway, %config, $numbers);

for my $mode ('', 'certificates') { begin('alipay', $mode); alipay(); end_with($mode) }
for my $mode ('', 'public_key') { begin('wechat', $mode); wechat($mode); end_with($mode) }
$driver->stop;
done_testing();

sub begin
{
	my ($name, $mode) = @_;
	$gateway = GatewayStandIn->start($name, $modules, $mode ne '' ? $mode : ());
	%config = (base_url => $gateway->{url}, notify_url => 'https://example.com/callbacks/x', certificates => [],
		map { ($_ => pairs($gateway->{$_})) } qw(settings credentials));
}

sub end_with
{
	my ($mode) = @_;
	is(join(',', grep { defined } map { $_->{problem} } @{$gateway->control('calls')}), '', "$gateway->{driver} $mode: no request that the library does not verify");
	$gateway->stop;
}

sub pairs { my ($hash) = @_; return [map { [$_, $hash->{$_}] } sort keys %$hash] }

sub number { return '7_order' . ++$numbers }

# All steps of an operation; returns what is known at its end, and '' for a request that came to nothing.
sub ask
{
	my ($operation, %order) = @_;
	%order = (operation => $operation, now => time, nonce => '593BEC0C930BF1AFEB40B4A08C8FB242', currency => 'CNY', units => 8888, payment_units => 8888,
		created_at => time - 3600, %order);
	for (1 .. 5)
	{
		my $built = $driver->call('build', $gateway->{driver}, config => \%config, order => \%order);
		return $built if exists $built->{problem} || !exists $built->{verb};
		my $response = $http->request($built->{verb}, $built->{url},
			{headers => {map { @$_ } @{$built->{headers}}}, exists $built->{body} ? (content => encode('UTF-8', $built->{body})) : ()});
		return {outcome => ''} if $response->{status} == 599;
		my $read = $driver->call('read', $gateway->{driver}, config => \%config, order => \%order, status => $response->{status},
			headers => pairs($response->{headers}), body => decode("UTF-8", $response->{content} // ""));
		return $read if $read->{outcome} ne 'next';
		$order{memory} = $read->{memory};
	}
	return {outcome => 'endless'};
}

sub hear
{
	my ($told, %changed) = @_;
	my %arguments = (config => \%config, now => time, headers => pairs($told->{headers}), body => $told->{body}, %changed);
	return $driver->call('callback', $gateway->{driver}, %arguments);
}

sub said { my ($answer, @names) = @_; return join ' ', map { defined $answer->{$_} ? $answer->{$_} : '-' } @names }

# The outcome of an operation while the gateway does something else than its work.
sub faults
{
	my ($on, $operation, $order, %expected) = @_;
	for my $fault (sort keys %expected)
	{
		$gateway->fault($on, $fault);
		is(said(ask($operation, %$order), 'outcome'), $expected{$fault}, "$on: $fault");
	}
}

sub alipay
{
	is(said($driver->call('check', 'alipay', config => \%config), 'problem'), '-', 'alipay: settings and credentials are good');
	is(said($driver->call('check', 'alipay', config => {%config, credentials => [['private_key', 'bad']]}), 'problem'), 'credential=private_key expected=RSA', 'a bad key');
	alipay_begin();
	alipay_callbacks();
	alipay_agreement();
	alipay_refund();
}

sub alipay_begin
{
	my $no = number();
	my $paid = ask('pay', pay_no => $no, method => 'alipay_qr', description => "a/b=c&d \x{8ba2}\x{9605}", expires_at => time + 900);
	like(said($paid, qw(outcome pay_no payment_url)), qr{^requires_action $no https://qr\.alipay\.com/\d+$}, 'a code');
	my ($call) = @{$gateway->control('calls')};
	is(said($call->{content}, qw(total_amount subject seller_id product_code)), "88.88 a b c d \x{8ba2}\x{9605} 2088000000000001 FACE_TO_FACE_PAYMENT", 'what is asked');
	like($call->{content}{time_expire}, qr/^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d$/, 'by a clock in China');
	is(said(ask('query', pay_no => $no, method => 'alipay_qr'), 'outcome'), 'requires_action', 'a trade that nobody has scanned is not there yet');
	is(said(ask('query', pay_no => $no, method => 'alipay_qr', expires_at => time - 600), 'outcome'), 'canceled', 'nor ever, when its time is over');
	is(said(ask('close', pay_no => $no, method => 'alipay_qr'), 'outcome'), 'canceled', 'one that is not there is closed');
	is(said(ask('query', pay_no => $no, token => 'agreement'), qw(outcome code)), 'failed ACQ.TRADE_NOT_EXIST', 'a payment by an agreement that is not there never arrived');
	is(said(ask('query', pay_no => $no, token => 'agreement', created_at => time), 'outcome'), 'unknown', 'or has not yet');
	is(said(ask('query', pay_no => $no, method => 'alipay'), 'outcome'), 'failed', 'also if its token is gone by now');
	$gateway->control('pay', out_trade_no => $no, scan => 1);
	is(said(ask('query', pay_no => $no, method => 'alipay_qr'), 'outcome'), 'requires_action', 'scanned');
	$gateway->control('pay', out_trade_no => $no);
	like(said(ask('query', pay_no => $no, method => 'alipay_qr'), qw(outcome units currency external_id customer_id at)), qr/^succeeded 8888 CNY 2026\d+ 2088100000000009 \d{10}$/, 'paid');
	is(said(ask('close', pay_no => $no), 'outcome'), 'unknown', 'what is paid is not closed');
	faults('alipay.trade.query', 'query', {pay_no => $no}, unsigned => 'unknown', forged => 'unknown', other => 'unknown', 500 => 'unknown',
		unavailable => 'unknown', system_error => 'unknown', limited => 'retry', hang => '', cut => '');
	faults('alipay.trade.precreate', 'pay', {pay_no => number(), method => 'alipay_qr'}, unsigned => 'unknown', forged => 'unknown', other => 'unknown',
		system_error => 'unknown', 'ACQ.TOTAL_FEE_EXCEED' => 'failed', 'ACQ.TRADE_HAS_SUCCESS' => 'unknown', 'ACQ.TRADE_HAS_CLOSE' => 'canceled');
	is(said(ask('pay', pay_no => $no, method => 'alipay_qr', units => 1), 'outcome'), 'unknown', 'the number of another amount');
	is(said(ask('pay', pay_no => $no, method => 'card'), 'problem'), 'method=card', 'a method that it does not have');
	is(said(ask('pay', pay_no => $no, method => 'alipay_qr', currency => 'USD'), 'problem'), 'currency=USD', 'a currency that it does not take');
	for my $method (qw(alipay_page alipay_wap))
	{
		my $page = ask('pay', pay_no => number(), method => $method, description => 'A plan', return_url => 'https://example.com/back?a=1&b=2');
		is(said($page, qw(outcome verb)), 'requires_action -', "$method: nothing is sent");
		my $told = $gateway->control('pay', out_trade_no => "7_order$numbers", page => $page->{payment_url});
		is(said(hear($told), qw(verdict subject outcome pay_no units)), "valid payment succeeded 7_order$numbers 8888", 'the library verifies the URL, and it is paid');
		is($gateway->control('calls')->[-1]{return_url}, 'https://example.com/back?a=1&b=2', 'and the payer comes back');
	}
}

sub alipay_callbacks
{
	my $no = number();
	ask('pay', pay_no => $no, method => 'alipay_qr');
	my $told = $gateway->control('pay', out_trade_no => $no);
	my $heard = hear($told);
	like(said($heard, qw(verdict event_type subject outcome pay_no units currency external_id customer_id at)),
		qr/^valid TRADE_SUCCESS payment succeeded $no 8888 CNY 2026\d+ 2088100000000009 \d{10}$/, 'a notification');
	cmp_ok(abs($heard->{at} - time), '<', 60, 'its instant is one of China');
	is(hear($told)->{event_id}, $heard->{event_id}, 'a repetition has the same id');
	unlike($heard->{response}, qr/"sign"/, 'what is kept has no signature');
	is(said(hear({%$told, body => "$told->{body}&x="}), 'verdict'), 'valid', 'what is empty is not signed');
	my %bad = (
		'an amount' => $told->{body} =~ s/total_amount=88\.88/total_amount=88.89/r, 'a name more' => "$told->{body}&x=1",
		'no signature' => $told->{body} =~ s/&sign=[^&]*//r, 'SHA-1' => $told->{body} =~ s/sign_type=RSA2/sign_type=RSA/r, 'no type' => $told->{body} =~ s/sign_type=RSA2&//r);
	is(said(hear({%$told, body => $bad{$_}}), qw(verdict subject outcome)), 'bad_signature nothing unknown', "changed: $_") for sort keys %bad;
	my %malformed = ('a name twice' => "total_amount=&$told->{body}", 'a bad escape' => "$told->{body}&x=%zz", 'no name' => "$told->{body}&a%26b=1", 'no UTF-8' => "$told->{body}&x=%ff");
	is(said(hear({%$told, body => $malformed{$_}}), 'verdict'), 'malformed', "malformed: $_") for sort keys %malformed;
	for (['another app', {app_id => '2021000000000002'}, 'app_id=2021000000000002'], ['another seller', {seller_id => '2088000000000002'}, 'seller_id=2088000000000002'],
		['a finer amount', {total_amount => '88.881'}, 'total_amount is no amount'], ['a negative amount', {total_amount => '-88.88'}, 'total_amount is no amount'],
		['no id', {notify_id => undef}, 'missing=notify_id'], ['another charset', {charset => 'GBK'}, 'charset=GBK'])
	{
		my ($what, $changed, $detail) = @$_;
		is(said(hear($gateway->control('notify', out_trade_no => $no, %$changed)), qw(verdict detail subject)), "malformed $detail nothing", "signed, but of $what");
	}
	is(said(hear($gateway->control('notify', out_trade_no => $no, trade_status => 'TRADE_FINISHED')), 'outcome'), 'succeeded', 'finished');
	is(said(hear($gateway->control('notify', out_trade_no => $no, trade_status => 'WAIT_BUYER_PAY')), 'outcome'), 'requires_action', 'waits');
	is(said(hear($gateway->control('close', out_trade_no => $no)), qw(subject outcome)), 'payment canceled', 'closed');
	is(said(hear($gateway->control('notify', out_trade_no => $no, notify_type => 'x', trade_status => undef)), qw(verdict subject)), 'valid nothing', 'what is about nothing of ours');
	is(said($driver->call('reply', 'alipay', accepted => JSON::PP::true), qw(status content_type body)), '200 text/plain success', 'what it is told');
	is(said($driver->call('reply', 'alipay', accepted => JSON::PP::false), 'body'), 'failure', 'and else');
}

sub alipay_agreement
{
	is(said(hear($gateway->control('agree', agreement_no => '20260001')), qw(subject outcome token)), 'method succeeded 20260001', 'an agreement is made');
	my $method = ask('add_method', token => '20260001');
	is(said($method, qw(outcome token external_id type customer_id)), 'succeeded 20260001 ours20260001 alipay 2088100000000009', 'it is good');
	unlike($method->{response}, qr/"20260001|logon/, 'its number is kept as a token only');
	is(said(ask('add_method', token => 'none'), qw(outcome code)), 'failed USER_AGREEMENT_NOT_EXIST', 'one that is not there');
	my $no = number();
	like(said(ask('pay', pay_no => $no, token => '20260001'), qw(outcome pay_no units external_id)), qr/^succeeded $no 8888 2026\d+$/, 'it is paid by');
	is(said(ask('pay', pay_no => $no, token => '20260001'), qw(outcome code)), 'unknown ACQ.TRADE_HAS_SUCCESS', 'once, and what came of it is asked');
	$gateway->control('agree', agreement_no => '20260002', refuses => 'ACQ.BUYER_BALANCE_NOT_ENOUGH');
	is(said(ask('pay', pay_no => number(), token => '20260002'), qw(outcome code)), 'failed ACQ.BUYER_BALANCE_NOT_ENOUGH', 'not enough money');
	$gateway->control('agree', agreement_no => '20260003', status => 'STOP');
	is(said(ask('add_method', token => '20260003'), qw(outcome code)), 'failed STOP', 'one that has ended');
	faults('alipay.trade.pay', 'pay', {pay_no => number(), token => '20260001'}, wait => 'processing', system_error => 'unknown', unavailable => 'unknown',
		forged => 'unknown', other => 'unknown');
	is(said(ask('remove_method', token => '20260001'), 'outcome'), 'succeeded', 'it is ended') for 1 .. 2;
}

sub alipay_refund
{
	my $no = number();
	ask('pay', pay_no => $no, method => 'alipay_qr');
	$gateway->control('pay', out_trade_no => $no);
	my %refund = (pay_no => $no, refund_no => "7_refund$numbers", units => 1001, reason => 'a=b');
	is(said(ask('query_refund', %refund), 'outcome'), 'failed', 'what was not asked for is not there');
	is(said(ask('query_refund', %refund, created_at => time), 'outcome'), 'unknown', 'or not yet');
	is(said(ask('refund', %refund), qw(outcome refund_no units)), "succeeded 7_refund$numbers -1", 'a refund: all of the trade is told, so no amount is');
	is(said(ask('refund', %refund), 'outcome'), 'unknown', 'again changes nothing, so it is asked about');
	is(said(ask('query_refund', %refund), qw(outcome refund_no units)), "succeeded 7_refund$numbers 1001", 'and is there');
	is(said(hear($gateway->control('refund', out_request_no => $refund{refund_no})), qw(subject outcome refund_no pay_no units)),
		"refunded succeeded 7_refund$numbers $no -1", 'a notification of it');
	is(said(ask('refund', %refund, refund_no => '7_more', units => 7888), qw(outcome code)), 'failed ACQ.REFUND_AMT_NOT_EQUAL_TOTAL', 'more than was paid');
	is(said(ask('refund', %refund, refund_no => '7_rest', units => 7887), 'outcome'), 'succeeded', 'the rest');
	my $heard = hear($gateway->control('refund', out_request_no => '7_rest'));
	is(said($heard, qw(event_type subject refund_no)), 'TRADE_CLOSED refunded 7_rest', 'which closes the trade');
	is(said(ask('query', pay_no => $no), 'outcome'), 'succeeded', 'that was paid all the same');
	$no = number();
	ask('pay', pay_no => $no, method => 'alipay_qr');
	$gateway->control('pay', out_trade_no => $no);
	faults('alipay.trade.refund', 'refund', {%refund, pay_no => $no, refund_no => '7_fault'}, system_error => 'unknown', silent_refund => 'unknown', other => 'unknown', forged => 'unknown',
		'ACQ.SELLER_BALANCE_NOT_ENOUGH' => 'failed');
}

sub wechat
{
	my ($mode) = @_;
	is(said($driver->call('check', 'wechat', config => \%config), 'problem'), '-', 'wechat: settings and credentials are good');
	is(said($driver->call('check', 'wechat', config => {%config, credentials => [['private_key', $gateway->{credentials}{private_key}], ['api_v3_key', 'short']]}), 'problem'),
		'credential=api_v3_key expected_length=32', 'a bad key');
	is(said($driver->call('check', 'wechat', config => {%config, settings => [['serial_no', "4F\rX: y"], @{$config{settings}}]}), 'problem'), 'setting=serial_no expected=name', 'what stands in a header holds no end of line');
	wechat_certificates() if $mode eq '';
	wechat_begin();
	wechat_callbacks($mode);
	wechat_refund();
	wechat_rotation() if $mode eq '';
}

# The sender keeps them; here the test does.
sub wechat_certificates
{
	is(said(ask('pay', pay_no => number(), method => 'wechat_native'), 'outcome'), 'requires_action', 'without a certificate they are asked for first');
	is(join(' ', map { $_->{url} } @{$gateway->control('calls')}), '/v3/certificates /v3/pay/transactions/native', 'then the order is placed');
	$gateway->fault('/v3/certificates', 'forged');
	is(said(ask('pay', pay_no => number(), method => 'wechat_native'), 'outcome'), 'retry', 'not signed by one of them: nothing was asked');
	my $answer = ask('certificate', external_id => 'X');
	is($answer->{outcome}, 'succeeded', 'they are answered');
	$config{certificates} = $answer->{memory};
	is(scalar @{$config{certificates}}, 1, 'and kept');
	ask('pay', pay_no => number(), method => 'wechat_native');
	is($gateway->control('calls')->[-1]{url}, '/v3/pay/transactions/native', 'and not asked for again');
}

sub wechat_begin
{
	my $no = number();
	my $paid = ask('pay', pay_no => $no, method => 'wechat_native', description => "\x{8ba2}\x{9605}" x 30, expires_at => time + 900);
	like(said($paid, qw(outcome pay_no payment_url)), qr{^requires_action $no weixin://wxpay/bizpayurl\?pr=\d+$}, 'a code');
	is(said(ask('query', pay_no => $no), 'outcome'), 'requires_action', 'not paid yet');
	$gateway->control('pay', out_trade_no => $no);
	like(said(ask('query', pay_no => $no), qw(outcome units currency external_id customer_id at)), qr/^succeeded 8888 CNY 42000\d+ oUpF8uMuAJO_M2pxb1Q9zNjWeS6o \d{10}$/, 'paid');
	is(said(ask('close', pay_no => $no), 'outcome'), 'unknown', 'what is paid is not closed');
	my $client = number();
	my $begun = ask('pay', pay_no => $client, method => 'wechat_jsapi', payer_id => 'oUpF8');
	my $told = $gateway->control('pay', client => JSON::PP->new->decode($begun->{client_secret}));
	is(said(hear($told), qw(verdict outcome pay_no)), "valid succeeded $client", 'what the payer\'s WeChat is given is signed');
	unlike($begun->{response}, qr/prepay_id/, 'and not kept');
	is(said(ask('pay', pay_no => number(), method => 'wechat_jsapi'), 'problem'), 'missing=payer_id', 'a payer is needed for that');
	my $closed = number();
	ask('pay', pay_no => $closed, method => 'wechat_native');
	is(said(ask('close', pay_no => $closed), 'outcome'), 'canceled', 'closed');
	is(said(ask('query', pay_no => $closed), 'outcome'), 'canceled', 'and is');
	is(said(ask('close', pay_no => '7_none'), 'outcome'), 'canceled', 'what is not there is closed');
	is(said(ask('query', pay_no => '7_none'), qw(outcome code)), 'failed ORDER_NOT_EXIST', 'and never arrived');
	is(said(ask('query', pay_no => '7_none', created_at => time), 'outcome'), 'unknown', 'or has not yet');
	faults('/v3/pay/transactions/out-trade-no/NO', 'query', {pay_no => $no}, unsigned => 'unknown', forged => 'unknown', other => 'unknown', 500 => 'unknown',
		'500 SYSTEM_ERROR' => 'unknown', '429 FREQUENCY_LIMITED' => 'retry', '403 NO_AUTH' => 'unknown', hang => '');
	faults('/v3/pay/transactions/native', 'pay', {pay_no => number(), method => 'wechat_native'}, unsigned => 'unknown', forged => 'unknown',
		'400 PARAM_ERROR' => 'failed', '400 ORDERPAID' => 'unknown', '400 USERPAYING' => 'unknown', '400 SYSTEM_ERROR' => 'unknown', '403 BIZERR_NEED_RETRY' => 'unknown', '500 SYSTEM_ERROR' => 'unknown', drop => '', cut => '');
	{
		local $config{notify_url} = undef;
		is(said(ask('pay', pay_no => number(), method => 'wechat_native'), 'problem'), 'missing=notify_url', 'it takes no order without one');
	}
	is(said(ask('pay', pay_no => $no, token => 'contract'), 'problem'), 'method=', 'contracts are not paid by');
	is(said(ask('add_method', token => 'contract'), 'problem'), 'operation=unsupported', 'nor kept');
}

sub wechat_callbacks
{
	my ($mode) = @_;
	my $no = number();
	ask('pay', pay_no => $no, method => 'wechat_native');
	my $told = $gateway->control('pay', out_trade_no => $no);
	my $heard = hear($told);
	like(said($heard, qw(verdict event_type subject outcome pay_no units currency external_id at)),
		qr/^valid TRANSACTION\.SUCCESS payment succeeded $no 8888 CNY 42000\d+ \d{10}$/, 'a notification');
	unlike($heard->{response}, qr/openid|ciphertext/, 'what is kept says nothing of the payer');
	is(said(hear({%$told, body => "$told->{body} "}), qw(verdict subject)), 'bad_signature nothing', 'a byte more');
	for my $header (qw(Wechatpay-Timestamp Wechatpay-Nonce Wechatpay-Signature Wechatpay-Serial))
	{
		my %headers = %{$told->{headers}};
		delete $headers{$header};
		is(said(hear({%$told, headers => \%headers}), 'verdict'), 'bad_signature', "without $header");
	}
	is(said(hear({%$told, headers => {map { (lc $_ => $told->{headers}{$_}) } keys %{$told->{headers}}}}), 'verdict'), 'valid', 'headers in any case');
	is(said(hear($gateway->control('pay', out_trade_no => $no, age => $_)), 'verdict'), abs $_ > 300 ? 'too_old' : 'valid', "$_ s old") for -310, -290, 290, 310;
	is(said(hear($gateway->control('pay', out_trade_no => $no, signature => 'WECHATPAY/SIGNTEST/c2lnbmF0dXJl')), 'verdict'), 'bad_signature', 'a probe');
	is(said(hear($gateway->control('pay', out_trade_no => $no, forged => 1)), 'verdict'), 'bad_signature', 'forged');
	is(said(hear($gateway->control('pay', out_trade_no => $no, serial => 'ABCDEF0123')), qw(verdict detail)), 'no_key ABCDEF0123', 'a certificate that is not known');
	is(said(hear($gateway->control('pay', out_trade_no => $no, serial => 'PUB_KEY_ID_0123')), 'verdict'), 'bad_signature', 'a key that is not known');
	is(said(hear($gateway->control('pay', out_trade_no => $no, serial => '../x')), 'verdict'), 'bad_signature', 'what is no certificate');
	is(said(hear($gateway->control('pay', out_trade_no => $no, api_key => 'x' x 32)), qw(verdict subject)), 'malformed nothing', 'sealed with another key');
	is(said(hear($gateway->control('notify', out_trade_no => $no, resource => {mchid => '1900000002'})), qw(verdict detail)), 'malformed mchid=1900000002', 'of another merchant');
	is(said(hear($gateway->control('notify', out_trade_no => $no, resource => {appid => 'wx2'})), qw(verdict detail)), 'malformed appid=wx2', 'of another app');
	is(said(hear($gateway->control('notify', out_trade_no => $no, resource => {amount => {total => 88.5}})), 'verdict'), 'malformed', 'of half a fen');
	is(said(hear($gateway->control('notify', event_type => 'COUPON.USE', resource => {})), qw(verdict subject)), 'valid nothing', 'of nothing of ours');
	is(said($driver->call('reply', 'wechat', accepted => JSON::PP::true), qw(status body)), '200 {"code":"SUCCESS","message":"OK"}', 'what it is told');
	is(said($driver->call('reply', 'wechat', accepted => JSON::PP::false), qw(status body)), '400 {"code":"FAIL","message":"refused"}', 'and else');
}

sub wechat_refund
{
	my $no = number();
	ask('pay', pay_no => $no, method => 'wechat_native');
	$gateway->control('pay', out_trade_no => $no);
	my %refund = (pay_no => $no, refund_no => "7_refund$numbers", units => 1001, reason => 'no more');
	is(said(ask('query_refund', %refund), qw(outcome code)), 'failed RESOURCE_NOT_EXISTS', 'what was not asked for is not there');
	like(said(ask('refund', %refund), qw(outcome refund_no units external_id)), qr/^processing 7_refund$numbers 1001 50000\d+$/, 'a refund') for 1 .. 2;
	is(said(hear($gateway->control('refund', out_refund_no => $refund{refund_no})), qw(verdict subject outcome refund_no pay_no units)),
		"valid refunded succeeded 7_refund$numbers $no 1001", 'a notification of it');
	is(said(ask('query_refund', %refund), qw(outcome units)), 'succeeded 1001', 'and it is there');
	is(said(hear($gateway->control('refund', out_refund_no => $refund{refund_no}, status => $_)), qw(outcome code)), "failed $_", "a refund is $_") for qw(ABNORMAL CLOSED);
	is(said(ask('query_refund', %refund), qw(outcome code)), 'failed CLOSED', 'and said so when asked');
	is(said(ask('query', pay_no => $no), 'outcome'), 'succeeded', 'the order was paid all the same');
	is(said(ask('refund', %refund, refund_no => '7_more', units => 8889), 'outcome'), 'failed', 'more than was paid');
	faults('/v3/refund/domestic/refunds', 'refund', {%refund, refund_no => '7_fault', units => 1}, '403 NOT_ENOUGH' => 'failed', '500 SYSTEM_ERROR' => 'unknown', other => 'unknown',
		unsigned => 'unknown', '429 FREQUENCY_LIMITED' => 'retry');
}

sub wechat_rotation
{
	my $no = number();
	ask('pay', pay_no => $no, method => 'wechat_native');
	my $serial = $gateway->control('rotate');
	is(said(hear($gateway->control('pay', out_trade_no => $no)), qw(verdict detail)), "no_key $serial", 'a certificate that came since');
	is(said(ask('query', pay_no => $no), 'outcome'), 'succeeded', 'an answer that is signed with it leads to it');
	$gateway->fault('/v3/pay/transactions/out-trade-no/NO', 'hang');
	$config{certificates} = ask('certificate', external_id => $serial)->{memory};
	is(scalar(grep { $_->[0] eq $serial } @{$config{certificates}}), 1, 'it is published');
	is(said(hear($gateway->control('pay', out_trade_no => $no)), 'verdict'), 'valid', 'and then known');
}
