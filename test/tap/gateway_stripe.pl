# Stripe's driver, without a server, against a stand-in that follows its public reference: each operation, each kind of failure, what may be
# lost or lied about; and callbacks that the official package signs, whose signature or age is not as it should be.
use strict;
use warnings FATAL => 'all';
use FindBin;
use lib $FindBin::Bin;
use Digest::SHA qw(hmac_sha256_hex);
use Encode qw(decode encode);
use File::Temp qw(tempdir);
use HTTP::Tiny;
use JSON::PP;
use Test::More;
use GatewayStandIn;
use WebhookReceiver;

plan skip_all => 'there is no node: Debian packages nodejs and npm' if system('command -v node >/dev/null') != 0;

my $dir = tempdir(CLEANUP => 1);
my $modules = WebhookReceiver::install_packages("$dir/npm", 'stripe@18');
plan skip_all => 'npm has no registry here' if !defined $modules;

my $driver = GatewayDriver->start($dir);
my $gateway = GatewayStandIn->start('stripe', $modules);
my $http = HTTP::Tiny->new(timeout => 2);
my %config = (base_url => $gateway->{url}, certificates => [], map { ($_ => pairs($gateway->{$_})) } qw(settings credentials));
my $numbers = 0;
my $customer = $gateway->control('customer', metadata => {tenant_id => '7'})->{id};
my $card = $gateway->control('method', customer => $customer)->{id};
my %stored = (token => $card, customer_id => $customer, method => 'card');

configuration();
stored_methods();
lost_answers();
checkout();
elements();
closing();
refunds();
adding_methods();
removing_methods();
currencies();
subscriptions();
signatures();
events();
is(join("\n", @{$gateway->control('complaints')}), '', 'Stripe had nothing to complain of');
$gateway->stop;
$driver->stop;
done_testing();

sub pairs { my ($hash) = @_; return [map { [$_, $hash->{$_}] } sort keys %$hash] }

sub number { return '7_order' . ++$numbers }

# All steps of an operation; returns what is known at its end, and outcome '' for a request that was not answered.
sub ask
{
	my ($operation, %order) = @_;
	my %asked = %{delete $order{config} // \%config};
	%order = (operation => $operation, now => time, idempotency_key => "7_key" . ++$numbers, currency => 'USD', units => 8888, payment_units => 8888, created_at => time - 3600, %order);
	for (1 .. 8)
	{
		my $built = $driver->call('build', 'stripe', config => \%asked, order => \%order);
		return $built if exists $built->{problem} || !exists $built->{verb};
		my $response = $http->request($built->{verb}, $built->{url},
			{headers => {map { @$_ } @{$built->{headers}}}, exists $built->{body} ? (content => encode('UTF-8', $built->{body})) : ()});
		return {outcome => ''} if $response->{status} == 599;
		my $read = $driver->call('read', 'stripe', config => \%asked, order => \%order, status => $response->{status},
			headers => pairs($response->{headers}), body => decode('UTF-8', $response->{content}));
		return $read if $read->{outcome} ne 'next';
		$order{memory} = $read->{memory};
	}
	return {outcome => 'endless'};
}

sub said { my ($answer, @names) = @_; return join ' ', map { defined $answer->{$_} ? $answer->{$_} : '-' } @names }

# The outcome of an operation while Stripe does something else than its work.
sub faults
{
	my ($on, $operation, $order, %expected) = @_;
	for my $fault (sort keys %expected)
	{
		$gateway->fault($on, $fault);
		my $answer = ask($operation, pay_no => number(), %$order);
		is(said($answer, 'outcome'), $expected{$fault}, "$operation: $fault") or diag(explain($answer));
	}
}

sub counts { my ($called) = @_; return $gateway->control('counts')->{$called} // 0 }

# All callbacks that wait, each as the driver reads it.
sub heard { return map { hear($_) } @{$gateway->control('callbacks', @_)} }

sub hear
{
	my ($told, %changed) = @_;
	my %arguments = (config => \%config, now => time, headers => pairs($told->{headers}), body => $told->{body}, %changed);
	return $driver->call('callback', 'stripe', %arguments);
}

sub configuration
{
	is(said($driver->call('check', 'stripe', config => \%config), 'problem'), '-', 'settings and credentials are good');
	my %bad = ('missing=api_key' => [], 'credential=api_key expected=sk_...,rk_...' => [['api_key', 'pk_test_1']],
		'credential=webhook_secret expected=whsec_...' => [['api_key', 'rk_live_1'], ['webhook_secret', 'whsec_1 secret']]);
	is(said($driver->call('check', 'stripe', config => {%config, credentials => $bad{$_}}), 'problem'), $_, "check: $_") for sort keys %bad;
	is(said($driver->call('check', 'stripe', config => {%config, credentials => [['api_key', 'rk_live_1'], ['webhook_secret', 'whsec_1  whsec_2']]}), 'problem'), '-', 'a restricted key, two secrets');
	%bad = ('method=alipay_qr allowed=card,bank_account,checkout,elements' => {method => 'alipay_qr'}, 'missing=customer_id' => {token => $card});
	is(said(ask('pay', pay_no => number(), %{$bad{$_}}), 'problem'), $_, "what it cannot do: $_") for sort keys %bad;
	is(said(ask('pay', pay_no => number(), method => 'card', config => {%config, settings => []}), 'problem'), 'missing=return_url', 'the payer has to come back somewhere');
	is(said(ask('capture', external_id => 'pi_1'), 'problem'), 'operation=unsupported', 'what is paid is captured');
}

sub stored_methods
{
	my $no = number();
	my $paid = ask('pay', pay_no => $no, %stored, description => "\x{8ba2}" x 400);
	like(said($paid, qw(outcome pay_no units currency fee_units fee_currency customer_id external_id)), qr/^succeeded $no 8888 USD 288 USD $customer pi_\d+$/, 'paid, with its fee');
	cmp_ok(abs($paid->{at} - time), '<', 60, 'and when');
	my $made = $gateway->control('state', id => $paid->{external_id});
	is(said($made->{metadata}, qw(pay_no tenant_id begun_by)), "$no 7 method", 'its metadata');
	is(length(encode('UTF-8', $made->{description})), 999, 'a description of 1,000 bytes, without half a character');
	unlike($paid->{response}, qr/secret|A Person|receipts/, 'what is kept has neither secrets nor the person');
	is(said(ask('query', pay_no => $no, external_id => $paid->{external_id}, %stored), qw(outcome units fee_units)), 'succeeded 8888 288', 'a query');
	is(said(ask('query', pay_no => $no, external_id => 'pi_9999999999999999'), qw(outcome code)), 'unknown resource_missing', 'one that this account does not have says nothing');

	for my $code (qw(insufficient_funds stolen_card))
	{
		my $declined = ask('pay', pay_no => number(), %stored, token => $gateway->control('method', customer => $customer, declines => $code)->{id});
		like(said($declined, qw(outcome code message external_id)), qr/^failed $code Your card was declined\. pi_\d+$/, "declined: $code");
		is(said(ask('query', pay_no => $declined->{pay_no}, external_id => $declined->{external_id}), qw(outcome code)), "failed $code", 'as a query says too');
	}
	my $seen = $gateway->control('method', customer => $customer, kind => '3ds')->{id};
	is(said(ask('pay', pay_no => number(), %stored, token => $seen), qw(outcome code)), 'failed authentication_required', 'the bank wants to see a holder who is not there');
	my $asked = ask('pay', pay_no => number(), %stored, token => $seen, return_url => 'https://app.example.com/back');
	like(said($asked, qw(outcome payment_url)), qr{^requires_action https://hooks\.stripe\.com/3d_secure/pi_\d+$}, 'and one who is');
	my $slow = ask('pay', pay_no => number(), %stored, token => $gateway->control('method', type => 'us_bank_account', customer => $customer, kind => 'ach')->{id});
	is(said($slow, qw(outcome fee_units)), 'processing -1', 'an ACH debit takes days');
	$gateway->control('settle', id => $slow->{external_id});
	is(said(ask('query', pay_no => $slow->{pay_no}, external_id => $slow->{external_id}), qw(outcome fee_units)), 'succeeded 288', 'and comes');
	is(said(ask('pay', pay_no => number(), %stored, token => 'pm_9999999999999999'), qw(outcome code)), 'failed resource_missing', 'a method that is not there');
	is(said(ask('pay', pay_no => number(), %stored, config => {%config, credentials => [['api_key', 'sk_live_other']]}), qw(outcome message)), 'retry Stripe does not know the api_key', 'a wrong key');
	my %status = (400 => 'failed', 401 => 'retry', 403 => 'failed', 408 => 'unknown', 409 => 'retry', 424 => 'unknown', 429 => 'retry', 500 => 'unknown', 503 => 'unknown', bare_400 => 'unknown', bare_403 => 'unknown', garbage => 'unknown');
	faults('POST /v1/payment_intents', 'pay', \%stored, %status, hang => '', cut => '', drop => '');
	faults('GET /v1/payment_intents', 'query', {external_id => $paid->{external_id}}, 400 => 'unknown', 401 => 'retry', 404 => 'unknown', 429 => 'retry', 500 => 'unknown', garbage => 'unknown');
}

# Nothing is ever posted again to learn what became of a payment.
sub lost_answers
{
	my $posts = counts('POST /v1/payment_intents');
	my ($no, $key) = (number(), '7_again' . time);
	$gateway->fault('POST /v1/payment_intents', 'cut');
	is(said(ask('pay', pay_no => $no, %stored, idempotency_key => $key), 'outcome'), '', 'the connection breaks behind the payment');
	like(said(ask('query', pay_no => $no, %stored), qw(outcome pay_no units fee_units external_id)), qr/^succeeded $no 8888 288 pi_\d+$/, 'it is found by its number');
	is(counts('POST /v1/payment_intents'), $posts + 1, 'and was asked for once');
	is(said(ask('pay', pay_no => $no, %stored, idempotency_key => $key), qw(outcome units)), 'succeeded 8888', 'the same request with the same key is the same payment');
	is(said(ask('pay', pay_no => $no, %stored, idempotency_key => $key, units => 1), 'outcome'), 'unknown', 'another with that key may be behind a payment');
	is(scalar(grep { $_->{metadata}{pay_no} eq $no } @{$gateway->control('objects', kind => 'payment_intent')}), 1, 'there is one payment');

	$gateway->fault('POST /v1/payment_intents', 'hang');
	ask('pay', pay_no => my $hangs = number(), %stored, idempotency_key => "$key-2");
	is(said(ask('pay', pay_no => $hangs, %stored, idempotency_key => "$key-2"), 'outcome'), 'retry', 'while the first is under way, later again');

	my %lost = (pay_no => number(), %stored);
	is(said(ask('query', %lost), qw(outcome code)), 'failed not_found', 'one that never arrived');
	is(said(ask('query', %lost, created_at => time - 299), qw(outcome code)), 'unknown not_found', 'or has not yet');
	$gateway->control('unindexed', on => JSON::PP::true);
	is(said(ask('query', pay_no => $no, %stored), 'outcome'), 'succeeded', "the customer's list knows what the search does not know yet");
	is(said(ask('query', pay_no => $no, customer_id => $customer, method => 'card'), 'outcome'), 'succeeded', 'also of a method whose token is gone');
	$gateway->control('unindexed', on => JSON::PP::false);
	ask('pay', pay_no => number(), %stored) for 1 .. 100;
	is(said(ask('query', pay_no => $no, %stored), 'outcome'), 'succeeded', 'a list that goes on is not the end: the search finds it');

	$gateway->fault('POST /v1/payment_intents', 'lie_amount', 'lie_number');
	is(said(ask('pay', pay_no => number(), %stored), qw(outcome units)), 'succeeded 9888', 'an amount that it lies about is told as it says');
	is(said(ask('pay', pay_no => number(), %stored), qw(outcome pay_no)), 'succeeded 999_other', 'and so is a number');
}

sub checkout
{
	my $no = number();
	my $open = ask('pay', pay_no => $no, method => 'card', email => 'a@example.com', expires_at => time + 60);
	like(said($open, qw(outcome pay_no units payment_url)), qr{^requires_action $no 8888 https://checkout\.stripe\.com/c/pay/$open->{external_id}$}, 'a page of Stripe\'s');
	unlike($open->{response}, qr{checkout\.stripe\.com}, 'its address is not kept');
	my $session = $gateway->control('state', id => $open->{external_id});
	is(join(',', @{$session->{types}}), 'card', 'for cards');
	is(join(',', @{$gateway->control('state', id => ask('pay', pay_no => number(), method => $_)->{external_id})->{types}}), $_ eq 'checkout' ? '' : 'us_bank_account', "method $_") for qw(bank_account checkout);
	cmp_ok(ask('pay', pay_no => number(), method => 'card', expires_at => time + 1_000_000)->{outcome}, 'eq', 'requires_action', 'no longer than a day');
	my %asked = (pay_no => $no, method => 'card', external_id => $open->{external_id});
	is(said(ask('query', %asked), 'outcome'), 'requires_action', 'nobody has paid yet');
	is(said(ask('query', pay_no => $no, method => 'card'), qw(outcome external_id)), "requires_action $open->{external_id}", 'it is found without its id');
	is(said(ask('query', pay_no => '7_none', method => 'card'), qw(outcome code)), 'failed not_found', 'one that is not there');
	is(said(ask('query', pay_no => '7_none', method => 'card', created_at => time), qw(outcome code)), 'unknown not_found', 'or not yet');

	heard();
	$gateway->control('pay', id => $open->{external_id}, method => $gateway->control('method', declines => 'lost_card')->{id});
	is(join(',', map { said($_, qw(event_type subject)) } heard()), 'charge.failed nothing,payment_intent.payment_failed nothing', 'a card that is refused is no end of it');
	is(said(ask('query', %asked), 'outcome'), 'requires_action', 'as a query says too');
	$gateway->control('pay', id => $open->{external_id}, method => $card);
	my $paid = ask('query', %asked);
	like(said($paid, qw(outcome pay_no units fee_units external_id)), qr/^succeeded $no 8888 288 pi_\d+$/, 'paid: from now on it is its PaymentIntent');
	is(said(ask('query', %asked, external_id => $paid->{external_id}), qw(outcome pay_no external_id)), "succeeded $no $paid->{external_id}", 'by that');
	is(join(',', map { said($_, qw(event_type subject outcome pay_no external_id)) } heard()), "payment_intent.succeeded payment succeeded $no $paid->{external_id}," .
		"checkout.session.completed payment succeeded $no $paid->{external_id}", 'as callbacks say');

	for my $fails (0, 'debit_not_authorized')
	{
		my $slow = ask('pay', pay_no => number(), method => 'bank_account');
		my $intent = $gateway->control('pay', id => $slow->{external_id}, method => $gateway->control('method', kind => 'ach')->{id})->{payment_intent};
		is(said(ask('query', pay_no => $slow->{pay_no}, external_id => $slow->{external_id}), qw(outcome external_id)), "processing $slow->{external_id}", 'a bank takes days');
		heard();
		$gateway->control('settle', id => $intent, fails => $fails);
		my ($end) = grep { $_->{event_type} =~ /async/ } heard();
		is(said($end, qw(subject outcome code)), $fails ? 'payment failed payment_failed' : 'payment succeeded -', 'and says how it ends');
		is(said(ask('query', pay_no => $slow->{pay_no}, external_id => $slow->{external_id}), qw(outcome code)), $fails ? "failed $fails" : 'succeeded -', 'and a query says why');
	}
}

sub elements
{
	my $no = number();
	my $begun = ask('pay', pay_no => $no, method => 'elements', customer_id => $customer);
	like(said($begun, qw(outcome client_secret payment_url)), qr/^requires_action pi_\d+_secret_\w+ -$/, 'a secret for the form of the application');
	unlike($begun->{response}, qr/_secret_/, 'which is not kept');
	$gateway->control('pay', id => $begun->{external_id}, method => $gateway->control('method', declines => 'expired_card')->{id});
	is(said(ask('query', pay_no => $no, external_id => $begun->{external_id}, method => 'elements'), qw(outcome code)), 'requires_action -', 'a card that is refused is no end of it');
	is(said(ask('query', pay_no => $no, method => 'elements'), qw(outcome external_id)), "requires_action $begun->{external_id}", 'it is found by the search');
	$gateway->control('pay', id => $begun->{external_id}, method => $card);
	is(said(ask('query', pay_no => $no, external_id => $begun->{external_id}, method => 'elements'), qw(outcome fee_units)), 'succeeded 288', 'paid');
}

sub closing
{
	for my $method (qw(card elements))
	{
		my %order = (pay_no => number(), method => $method);
		my $begun = ask('pay', %order);
		is(said(ask('close', %order, external_id => $begun->{external_id}), 'outcome'), 'canceled', "$method: closed");
		is(said(ask('query', %order, external_id => $begun->{external_id}), 'outcome'), 'canceled', 'as a query says');
		is(said(ask('close', %order, external_id => $begun->{external_id}), 'outcome'), 'canceled', 'closed again');
		%order = (pay_no => number(), method => $method);
		$begun = ask('pay', %order);
		is(said(ask('close', %order), 'outcome'), 'canceled', 'closed without its id');
		is($gateway->control('state', id => $begun->{external_id})->{status}, $method eq 'card' ? 'expired' : 'canceled', 'there');
		%order = (pay_no => number(), method => $method);
		$begun = ask('pay', %order);
		$gateway->control('pay', id => $begun->{external_id}, method => $card);
		is(said(ask('close', %order, external_id => $begun->{external_id}), qw(outcome units fee_units)), 'succeeded 8888 288', 'what is paid is not closed');
		is(said(ask('close', pay_no => number(), method => $method), 'outcome'), 'canceled', 'what never was is closed');
		is(said(ask('close', pay_no => number(), method => $method, created_at => time), 'outcome'), 'unknown', 'if it does not come yet');
	}
	my $slow = ask('pay', pay_no => number(), %stored, token => $gateway->control('method', customer => $customer, kind => 'ach')->{id});
	is(said(ask('close', pay_no => $slow->{pay_no}, external_id => $slow->{external_id}), 'outcome'), 'processing', 'what is under way is not');
	faults('POST /v1/payment_intents', 'close', {external_id => $slow->{external_id}}, 401 => 'retry', 404 => 'unknown', 429 => 'retry', 500 => 'unknown', garbage => 'unknown');
}

sub refunds
{
	my $paid = ask('pay', pay_no => number(), %stored);
	my %refund = (pay_no => $paid->{pay_no}, payment_external_id => $paid->{external_id}, units => 1000);
	my $made = ask('refund', %refund, refund_no => '7_refund1', reason => 'duplicate');
	like(said($made, qw(outcome refund_no pay_no units currency external_id)), qr/^succeeded 7_refund1 $paid->{pay_no} 1000 USD re_\d+$/, 'a refund');
	is($gateway->control('state', id => $made->{external_id})->{reason}, 'duplicate', "a reason of Stripe's");
	my $other = $gateway->control('state', id => ask('refund', %refund, refund_no => '7_refund2', reason => "too \x{9ad8}")->{external_id});
	is(said($other, 'reason') . said($other->{metadata}, qw(reason)), "-too \x{9ad8}", 'another one');
	is(said(ask('query_refund', %refund, refund_no => '7_refund1', external_id => $made->{external_id}), qw(outcome refund_no)), 'succeeded 7_refund1', 'a query');
	is(said(ask('query_refund', %refund, refund_no => '7_refund2'), qw(outcome refund_no external_id)), "succeeded 7_refund2 $other->{id}", 'without its id');
	is(said(ask('query_refund', %refund, refund_no => '7_refund3'), qw(outcome code)), 'failed not_found', 'one that is not there');
	is(said(ask('query_refund', %refund, refund_no => '7_refund3', created_at => time), qw(outcome code)), 'unknown not_found', 'or not yet');
	like(said(ask('refund', %refund, refund_no => '7_refund4', units => 8000), qw(outcome message)), qr/^failed Refund amount \(8000\) is greater/, 'more than is left');
	$gateway->fault('POST /v1/refunds', 'cut');
	is(said(ask('refund', %refund, refund_no => '7_refund5', idempotency_key => 'key5'), 'outcome'), '', 'an answer is lost');
	is(said(ask('query_refund', %refund, refund_no => '7_refund5'), 'outcome'), 'succeeded', 'and found');
	is(said(ask('refund', %refund, refund_no => '7_refund5', idempotency_key => 'key5'), 'outcome'), 'succeeded', 'with the same key it is the same');
	is(said(ask('refund', %refund, refund_no => '7_refund5', idempotency_key => 'key5', units => 1), 'outcome'), 'unknown', 'with another content, who knows');
	my $slow = ask('refund', %refund, refund_no => '7_refund6', units => 99);
	is(said($slow, 'outcome'), 'processing', 'one that takes days');
	heard();
	$gateway->control('refund', id => $slow->{external_id}, status => 'failed', failure_reason => 'lost_or_stolen_card');
	is(join(',', map { said($_, qw(event_type subject outcome code refund_no payment_external_id)) } heard()), "refund.failed refunded failed lost_or_stolen_card 7_refund6 $paid->{external_id}", 'and fails');
	my $session = ask('pay', pay_no => number(), method => 'card');
	is(said(ask('refund', %refund, refund_no => '7_refund7', payment_external_id => $session->{external_id}), qw(outcome code)), 'failed charge_not_found', 'a page that nobody has paid at');
	$gateway->control('pay', id => $session->{external_id}, method => $card);
	is(said(ask($_, %refund, refund_no => '7_refund8', payment_external_id => $session->{external_id}), qw(outcome units)), 'succeeded 1000', "$_ of one that is known by its page") for qw(refund query_refund);
	faults('POST /v1/refunds', 'refund', {%refund, refund_no => '7_refund9'}, 400 => 'failed', 401 => 'retry', bare_404 => 'unknown', 409 => 'retry', 429 => 'retry', 500 => 'unknown', garbage => 'unknown', hang => '');
	faults('GET /v1/refunds', 'query_refund', {%refund, refund_no => '7_refund9'}, 400 => 'unknown', 401 => 'retry', 429 => 'retry', 500 => 'unknown', garbage => 'unknown');
}

# What a method is known by, since its id is the token.
sub key_of { my ($id) = @_; return hmac_sha256_hex($id, 'stripe') }

sub adding_methods
{
	my $token = $gateway->control('method')->{id};
	my $added = ask('add_method', token => $token, method => 'card');
	like(said($added, qw(outcome type brand last4 exp_month exp_year token external_id customer_id)), qr/^succeeded card visa 4242 8 2035 $token @{[key_of($token)]} cus_\d+$/, 'a card');
	is($gateway->control('state', id => $added->{customer_id})->{metadata}{tenant_id}, '7', 'of a customer that was made for it');
	is($gateway->control('state', id => $token)->{customer}, $added->{customer_id}, 'and has it');
	is(said(ask('add_method', token => $token, method => 'card', customer_id => $added->{customer_id}), 'outcome'), 'succeeded', 'again');
	is(said(ask('add_method', token => $token, method => 'card'), qw(outcome customer_id)), "succeeded $added->{customer_id}", "the customer says itself that it is the tenant's");
	my $bank = ask('add_method', token => $gateway->control('method', type => 'us_bank_account')->{id}, customer_id => $customer);
	is(said($bank, qw(outcome type brand last4 exp_year customer_id)), "succeeded bank_account STRIPE TEST BANK 6789 0 $customer", 'an account at a bank');

	my $foreign = $gateway->control('customer', metadata => {tenant_id => '8'})->{id};
	my %bad = (
		'another tenant' => ['token_used', customer => $foreign], 'nobody' => ['token_used', customer => $gateway->control('customer')->{id}],
		'expired' => ['expired_card', exp_year => 2020], 'a wallet' => ['token_invalid', type => 'klarna'], 'declined' => ['do_not_honor', declines => 'attach']);
	for my $which (sort keys %bad)
	{
		my ($code, %how) = @{$bad{$which}};
		is(said(ask('add_method', token => $gateway->control('method', %how)->{id}, customer_id => $customer), qw(outcome code)), "failed $code", "a method: $which");
	}
	is(said(ask('add_method', token => 'pm_9999999999999999', customer_id => $customer), qw(outcome code)), 'failed resource_missing', 'none');
	is(said(ask('add_method', token => 'tok_visa'), 'problem'), 'token=unknown expected=pm_...,seti_...', 'no such token');

	my $method = $gateway->control('method')->{id};
	my $setup = $gateway->control('setup', status => 'requires_action', method => $method)->{id};
	my $waits = ask('add_method', token => $setup, customer_id => $customer);
	is(said($waits, qw(outcome external_id client_secret payment_url)), "requires_action @{[key_of($setup)]} seti_secret https://hooks.stripe.com/setup/$setup", 'a SetupIntent waits for a person');
	unlike($waits->{response}, qr/seti_secret/, 'its secret is not kept');
	$gateway->control('setup', id => $setup, method => $method);
	is(said(ask('add_method', token => $setup, external_id => key_of($setup), customer_id => $customer), qw(outcome external_id token last4 customer_id)), "succeeded @{[key_of($method)]} $method 4242 $customer", 'then it is its method');
	is(said(ask('add_method', token => $gateway->control('setup', status => 'requires_payment_method', last_setup_error => {code => 'setup_intent_authentication_failure'})->{id}), qw(outcome code)),
		'failed setup_intent_authentication_failure', 'or has failed');
	is(said(ask('add_method', token => $gateway->control('setup', status => $_)->{id}), 'outcome'), $_ eq 'canceled' ? 'failed' : $_ eq 'processing' ? 'processing' : 'requires_action', "a SetupIntent: $_")
		for qw(canceled processing requires_confirmation requires_payment_method);
	faults('/attach', 'add_method', {token => $gateway->control('method')->{id}, customer_id => $customer}, 429 => 'retry', 500 => 'unknown', 402 => 'failed');
	faults('POST /v1/customers', 'add_method', {token => $gateway->control('method')->{id}}, 409 => 'retry', 500 => 'unknown', 400 => 'failed');
}

sub removing_methods
{
	my $method = $gateway->control('method', customer => $customer)->{id};
	is(said(ask('remove_method', token => $method, external_id => $method), 'outcome'), 'succeeded', $_) for 'removed', 'again';
	is($gateway->control('state', id => $method)->{customer}, undef, 'there, too');
	is(said(ask('remove_method', token => 'pm_9999999999999999'), 'outcome'), 'succeeded', 'one that is not there');
	is(said(ask('remove_method', token => 'seti_1'), qw(outcome verb)), 'succeeded -', 'one that never came about');
	$method = $gateway->control('method', customer => $customer)->{id};
	faults('/detach', 'remove_method', {token => $method}, 400 => 'failed', 500 => 'unknown', 429 => 'retry', 404 => 'succeeded');
}

sub currencies
{
	my %units = (JPY => 500, ISK => 500, UGX => 500, MGA => 501, KWD => 5120);
	my %exponent = (JPY => 0, ISK => 2, UGX => 2, MGA => 0, KWD => 3);
	is(said(ask('pay', pay_no => number(), %stored, currency => $_, units => $units{$_}, exponent => $exponent{$_}), qw(outcome units currency)), "succeeded $units{$_} $_", "an amount in $_") for sort keys %units;
	is(said(ask('pay', pay_no => number(), %stored, currency => 'KWD', units => 5124, exponent => 3), 'problem'), 'currency=KWD decimals=2: the amount has more', 'three decimals of which Stripe takes two');
	is(said(ask('refund', payment_external_id => 'pi_1', pay_no => number(), refund_no => '7_refund', currency => 'KWD', units => 5124, exponent => 3), 'problem'),
		'currency=KWD decimals=2: the amount has more', 'also of a refund');
}

sub subscriptions
{
	my $invoice = $gateway->control('invoice', status => 'open', total => 4900, currency => 'usd')->{id};
	my %stated = (status => 'active', customer => $customer, currency => 'usd', start_date => 5, cancel_at_period_end => JSON::PP::true, metadata => {tenant_id => '7'}, latest_invoice => $invoice,
		items => {data => [{quantity => 3, price => {id => 'price_1'}, current_period_start => 10, current_period_end => 20}]});
	my $kept = $gateway->control('subscription', %stated)->{id};
	my $read = ask('subscription', external_id => $kept);
	is(said($read, qw(outcome external_id customer_id)), "succeeded $kept $customer", 'a subscription that is kept there');
	is(join(' ', map { join '=', @$_ } sort { $a->[0] cmp $b->[0] } @{$read->{memory}}), "cancels_at_period_end=true currency=usd latest_invoice=$invoice latest_invoice_currency=usd latest_invoice_status=open latest_invoice_units=4900 period_ends_at=20 period_starts_at=10 price=price_1 " .
		'quantity=3 started_at=5 status=active tenant_id=7', 'its members');
	is(said(ask('subscription', external_id => 'sub_9999999999999999'), qw(outcome code)), 'failed resource_missing', 'one that is not there');
}

sub signatures
{
	heard();
	$gateway->control('event', type => 'payment_intent.succeeded', id => 'evt_1', object => {id => 'pi_1', status => 'succeeded', amount => 100, amount_received => 100, currency => 'usd', metadata => {pay_no => '7_x'}});
	my $told = sub { return $gateway->control('callbacks', keep => 1, @_)->[0] };
	is(said(hear($told->()), qw(verdict event_id event_type subject outcome pay_no units)), 'valid evt_1 payment_intent.succeeded payment succeeded 7_x 100', 'what the package signs is believed');
	is(said(hear($told->(both => 1)), 'verdict'), 'valid', 'also among signatures of other secrets');
	my ($secret) = map { $_->[1] } grep { $_->[0] eq 'webhook_secret' } @{$config{credentials}};
	my $with = sub { return (config => {%config, credentials => [['api_key', 'sk_test_1'], @_ ? ['webhook_secret', $_[0]] : ()]}) };
	is(said(hear($told->(), $with->($_)), 'verdict'), 'valid', 'by one of several secrets') for "whsec_new $secret", "$secret whsec_old";
	is(said(hear($told->(), $with->($_)), 'verdict'), 'bad_signature', "another secret: $_") for 'whsec_new', "$secret-", 'whsec_';
	is(said(hear($told->(), $with->()), 'verdict'), 'bad_signature', 'no secret');
	is(said(hear($told->(tamper => 1)), qw(verdict subject)), 'bad_signature nothing', 'another body');
	is(said(hear($told->(scheme => 'v0')), qw(verdict detail)), 'bad_signature Stripe-Signature=no_v1', 'a scheme for tests');
	is(said(hear($told->(age => $_)), 'verdict'), abs($_) < 300 ? 'valid' : 'too_old', "$_ s old") for 290, 310, -290, -310;
	is(said(hear($told->(age => 310, tamper => 1)), 'verdict'), 'bad_signature', 'what nobody signed is not old');
	my $good = $told->();
	my $header = $good->{headers}{'Stripe-Signature'};
	my %changed = (none => undef, 'no time' => $header =~ s/^t=\d+,//r, 'another time' => $header =~ s/^t=(\d+)/'t=' . ($1 + 1)/er, 'no signature' => $header =~ s/,.*//r,
		'no digits' => $header =~ s/^t=/t=+/r, 'large' => $header =~ s/,.*/',v1=' . 'a' x 5000/er, 'upper case' => $header =~ s/(v1=.*)/uc $1/er, empty => '');
	is(said(hear({%$good, headers => defined $changed{$_} ? {'STRIPE-SIGNATURE' => $changed{$_}} : {}}), 'verdict'), 'bad_signature', "a header: $_") for sort keys %changed;
	is(said($driver->call('reply', 'stripe', accepted => $_ ? JSON::PP::true : JSON::PP::false), qw(status body)), $_ ? '200 ok' : '400 refused', 'the answer') for 1, 0;
	heard();
}

# What each event is about, in the words of the interface.
sub events
{
	my %intent = (id => 'pi_1', amount => 100, currency => 'usd', metadata => {pay_no => '7_x', begun_by => 'method'});
	my %dispute = (id => 'dp_1', amount => 100, currency => 'usd', payment_intent => 'pi_1', reason => 'fraudulent');
	my %charge = (id => 'ch_1', amount => 100, currency => 'usd', payment_intent => 'pi_1', metadata => {pay_no => '7_x'}, failure_code => 'insufficient_funds');
	my %invoice = (id => 'in_1', status => 'open', total => 100, currency => 'usd');
	my @cases = (
		['payment_intent.payment_failed', {%intent, status => 'requires_payment_method', last_payment_error => {code => 'card_declined', decline_code => 'lost_card'}}, 'payment failed lost_card 7_x pi_1 -'],
		['payment_intent.processing', {%intent, status => 'processing'}, 'payment processing - 7_x pi_1 -'],
		['payment_intent.canceled', {%intent, status => 'canceled', cancellation_reason => 'abandoned'}, 'payment canceled abandoned 7_x pi_1 -'],
		['payment_intent.created', {%intent, status => 'requires_payment_method'}, 'nothing unknown - - - -'],
		['checkout.session.completed', {id => 'cs_1', mode => 'subscription', status => 'complete', payment_status => 'paid'}, 'nothing unknown - - - -'],
		['checkout.session.expired', {id => 'cs_1', mode => 'payment', status => 'expired', client_reference_id => '7_x'}, 'payment canceled - 7_x cs_1 -'],
		['charge.refunded', {%charge, refunds => {data => [{id => 're_1', status => 'succeeded', amount => 5, currency => 'usd', payment_intent => 'pi_1', metadata => {refund_no => '7_r'}}]}}, 'refunded succeeded - - re_1 pi_1'],
		['charge.refunded', {%charge}, 'nothing unknown - - - -'],
		['charge.refund.updated', {id => 're_1', status => 'canceled', amount => 5, currency => 'usd', payment_intent => 'pi_1', metadata => {}}, 'refunded failed canceled - re_1 pi_1'],
		['charge.dispute.created', {%dispute, status => 'needs_response'}, 'dispute processing fraudulent - dp_1 pi_1'],
		['charge.dispute.funds_withdrawn', {%dispute, status => 'under_review'}, 'dispute processing fraudulent - dp_1 pi_1'],
		['charge.dispute.closed', {%dispute, status => 'lost'}, 'dispute failed fraudulent - dp_1 pi_1'],
		['charge.dispute.closed', {%dispute, status => 'won', payment_intent => undef, charge => 'ch_1'}, 'dispute succeeded fraudulent - dp_1 ch_1'],
		['charge.dispute.created', {%dispute, status => 'warning_needs_response'}, 'nothing unknown fraudulent - dp_1 pi_1'],
		['charge.failed', {%charge}, 'nothing unknown - - - -'],
		['charge.failed', {%charge, failure_balance_transaction => 'txn_1'}, 'reversed failed insufficient_funds 7_x ch_1 pi_1'],
		['invoice.payment_failed', {%invoice, parent => {subscription_details => {subscription => 'sub_1'}}}, 'subscribed succeeded - - sub_1 -'],
		['invoice.payment_succeeded', {%invoice, subscription => 'sub_1'}, 'subscribed succeeded - - sub_1 -'],
		['invoice.payment_succeeded', {%invoice}, 'nothing unknown - - - -'],
		['customer.subscription.deleted', {id => 'sub_1', status => 'canceled'}, 'subscribed succeeded - - sub_1 -'],
		['setup_intent.succeeded', {id => 'seti_1', status => 'succeeded', payment_method => 'pm_1'}, "method next - - @{[key_of('seti_1')]} -"],
		['setup_intent.setup_failed', {id => 'seti_1', status => 'requires_payment_method', last_setup_error => {code => 'card_declined'}}, "method failed card_declined - @{[key_of('seti_1')]} -"],
		['payment_method.automatically_updated', {id => 'pm_1', type => 'card', card => {last4 => '4444', exp_month => 1, exp_year => 2040}}, "method succeeded - - @{[key_of('pm_1')]} -"],
		['payment_method.updated', {id => 'pm_1', type => 'link'}, "nothing unknown - - @{[key_of('pm_1')]} -"],
		['payment_method.detached', {id => 'pm_1'}, "method failed detached - @{[key_of('pm_1')]} -"],
		['customer.created', {id => 'cus_1'}, 'nothing unknown - - - -'],
	);
	for my $case (@cases)
	{
		my ($type, $object, $expected) = @$case;
		$gateway->control('event', type => $type, object => $object);
		my ($heard) = heard();
		is(said($heard, qw(verdict subject outcome code pay_no external_id payment_external_id)), "valid $expected", "$type " . ($object->{status} // ''));
	}
	my $back = ask('pay', pay_no => number(), %stored, token => $gateway->control('method', customer => $customer, kind => 'ach')->{id});
	$gateway->control('settle', id => $back->{external_id});
	heard();
	$gateway->control('settle', id => $back->{external_id}, fails => 1);
	is(join(',', map { said($_, qw(event_type subject pay_no units payment_external_id)) } heard()), "charge.failed reversed $back->{pay_no} 8888 $back->{external_id}", 'an ACH debit that came is returned');
	$gateway->control('dispute', id => 'dp_2', of => $back->{external_id}, status => 'needs_response', event => 'created');
	is(join(',', map { said($_, qw(subject outcome dispute_reason units payment_external_id)) } heard()), "dispute processing fraudulent 8888 $back->{external_id}", 'a dispute');
	my ($heard) = map { hear($_) } {headers => {}, body => ''};
	is(said($heard, qw(verdict detail)), 'bad_signature missing=Stripe-Signature', 'nothing at all');
}
