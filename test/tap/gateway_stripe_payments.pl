# Stripe, end to end against its stand-in: a card is verified and pays by itself; Stripe's page starts a subscription; an answer that was lost is
# asked for, and nothing is charged twice; callbacks in any order, again, or that lie; the fee is learnt; money that is disputed or taken back.
use strict;
use warnings FATAL => 'all';
use FindBin;
use lib $FindBin::Bin;
use Digest::SHA qw(hmac_sha256_hex);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use JSON::PP;
use Test::More;
use BillingNode;
use GatewayStandIn;
use WebhookReceiver;

plan skip_all => 'there is no node: Debian packages nodejs and npm' if system('command -v node >/dev/null') != 0;

my $node = PostgreSQL::Test::Cluster->new('gateway_stripe');
my $dir = $node->basedir;
my $modules = WebhookReceiver::install_packages("$dir/npm", 'stripe@18');
plan skip_all => 'npm has no registry here' if !defined $modules;

BillingNode::start($node, "billing.gateway_timeout = '3s'", 'fsync = off');
my $stripe = GatewayStandIn->start('stripe', $modules);
sql("CREATE EXTENSION billing; $BillingNode::no_jobs");
sql(q{INSERT INTO billing.plan (plan_id, code, name, cycle) VALUES (1, 'pro', 'Pro', '1 month');
	INSERT INTO billing.price (plan_id, code, name, tariff) VALUES (1, 'base', 'Base', '{"model":"flat","currency":"USD","amount":"49"}');
	SELECT billing.create_tenant(tenant_id, 'Tenant ' || tenant_id, 'USD') FROM generate_series(1, 12) tenant_id});
$stripe->create($node, $_) for qw(stripe stripe_other);

stored_card(1);
declined(2);
lost_answers(3);
checkout(4);
lies(5);
late_order(6);
setup_intent(7);
disputes(8);
returned_debit(9);
change_of_mind(10);
busy(11);
accounts();
readme();
is(join("\n", @{$stripe->control('complaints')}), '', 'Stripe had nothing to complain of');
is(sql('SELECT * FROM billing.audit()'), '', 'and nothing is broken');
is(join('', grep { /sk_test|whsec_|_secret_/ && !/statement:/i } split /^/m, slurp_file($node->logfile)), '', 'no secret is in the log, but for what the test says itself');
my ($dump) = run_command(['pg_dump', '-d', $node->connstr('postgres')]);
like($dump, qr/COPY billing.payment_method /, 'a dump has the methods');
is(join("\n", grep { /\b(?:pm|seti)_/ } split /\n/, $dump), '', 'and no token');
$stripe->stop;
$node->stop;
done_testing();

sub sql { return $node->safe_psql('postgres', $_[0]) }

sub becomes
{
	my ($query, $what) = @_;
	return ok($node->poll_query_until('postgres', $query), $what) ||
		diag(sql('SELECT pay_no, status, failure_code, failure_reason FROM billing.payment ORDER BY payment_id DESC LIMIT 3'), sql('SELECT operation, state, outcome, error FROM billing.gateway_request ORDER BY gateway_request_id DESC LIMIT 5'));
}

sub hear { my ($told, $code) = @_; return GatewayStandIn::tell($node, $code // 'stripe', $told) }
sub callbacks { return @{$stripe->control('callbacks', @_)} }
sub last_event { return sql(q{SELECT outcome, coalesce(reason, '') FROM billing.gateway_event ORDER BY gateway_event_id DESC LIMIT 1}) }

# A subscription that waits for its first payment; returns its invoice.
sub subscribe
{
	my ($tenant_id) = @_;
	sql("SELECT FROM billing.subscribe($tenant_id, 'pro', activate => 'on_payment')");
	return sql("SELECT invoice_id FROM billing.invoice WHERE tenant_id = $tenant_id");
}

# A card that Stripe has verified; returns its payment_method_id.
sub add_card
{
	my ($tenant_id, %how) = @_;
	my $token = $stripe->control('method', %how)->{id};
	my $method = sql("SELECT payment_method_id FROM billing.add_payment_method($tenant_id, 'stripe', 'card', '$token')");
	becomes("SELECT status = 'active' FROM billing.payment_method WHERE payment_method_id = $method", "tenant $tenant_id has a card");
	return $method;
}

sub pay
{
	my ($tenant_id, $invoice_id, $how) = @_;
	return sql("SELECT pay_no FROM billing.create_payment($tenant_id, $invoice_id, $how)");
}

# A subscription whose first invoice is charged to the tenant's card, in the transaction that orders it: before the worker would; returns the number
# of the payment.
sub charge
{
	my ($tenant_id) = @_;
	return sql("BEGIN; SELECT FROM billing.subscribe($tenant_id, 'pro', activate => 'on_payment');
		SELECT (billing.create_payment($tenant_id, invoice_id, payment_method_id => (SELECT m.payment_method_id FROM billing.payment_method m WHERE m.tenant_id = $tenant_id AND m.is_default))).pay_no
		FROM billing.invoice WHERE tenant_id = $tenant_id; COMMIT");
}

sub payment { my ($pay_no, $columns) = @_; return sql("SELECT $columns FROM billing.payment WHERE pay_no = '$pay_no'") }
sub is_paid { my ($pay_no) = @_; return becomes("SELECT status = 'succeeded' AND fee = '1.72 USD' FROM billing.payment WHERE pay_no = '$pay_no'", 'it is paid, and its fee is known') }
sub is_paid_at_last { my ($pay_no) = @_; return becomes("SELECT status = 'succeeded' FROM billing.payment WHERE pay_no = '$pay_no'", 'it is paid') }
sub made { my ($pay_no) = @_; return grep { $_->{metadata}{pay_no} eq $pay_no } @{$stripe->control('objects', kind => 'payment_intent')} }

sub stored_card
{
	my ($tenant_id) = @_;
	my $method = add_card($tenant_id);
	is(sql("SELECT brand, exp_month, exp_year, is_default, customer_id LIKE 'cus_%', external_id ~ '^[0-9a-f]{64}\$' FROM billing.payment_method WHERE payment_method_id = $method"), 'visa|8|2035|t|t|t', 'as Stripe knows it');
	my $pay_no = charge($tenant_id);
	is_paid($pay_no);
	is(sql("SELECT i.status, s.status FROM billing.invoice i JOIN billing.subscription s USING (tenant_id) WHERE i.tenant_id = $tenant_id"), 'paid|active', 'the subscription starts');
	is(sql("SELECT string_agg(account || ' ' || balance, ', ' ORDER BY account COLLATE \"C\") FROM billing.trial_balance WHERE tenant_id = $tenant_id AND account IN ('cash', 'fees', 'receivable') AND billing.minor_units(balance) <> 0"),
		'cash 47.28 USD, fees 1.72 USD', 'the ledger has cash and fees');
	is(scalar(made($pay_no)), 1, 'Stripe has one payment of it');
	hear($_) for callbacks(keep => 1), reverse(callbacks());
	is(payment($pay_no, 'status, fee'), 'succeeded|1.72 USD', 'callbacks, again and backwards, change nothing');
	my ($customer) = @{$stripe->control('objects', kind => 'customer')};
	is("$customer->{name} $customer->{metadata}{tenant_id}", "Tenant $tenant_id $tenant_id", 'the tenant is a customer there');
}

sub declined
{
	my ($tenant_id) = @_;
	my $method = add_card($tenant_id, declines => 'insufficient_funds');
	my $pay_no = charge($tenant_id);
	becomes("SELECT status = 'failed' AND failure_code = 'insufficient_funds' AND external_id LIKE 'pi_%' FROM billing.payment WHERE pay_no = '$pay_no'", 'a card without money');
	is(sql("SELECT status FROM billing.subscription WHERE tenant_id = $tenant_id"), 'pending', 'starts nothing');
	hear($_) for callbacks();
	is(payment($pay_no, 'status, failure_code'), 'failed|insufficient_funds', 'as its callbacks say');
	my $expired = $stripe->control('method', exp_year => 2020)->{id};
	my $none = sql("SELECT payment_method_id FROM billing.add_payment_method($tenant_id, 'stripe', 'card', '$expired')");
	becomes("SELECT status = 'failed' AND failure_code = 'expired_card' FROM billing.payment_method WHERE payment_method_id = $none", 'a card that has expired is none');
}

# Stripe did what was asked, and the answer was lost.
sub lost_answers
{
	my ($tenant_id) = @_;
	my $method = add_card($tenant_id);
	my $posts = sub { return $stripe->control('counts')->{'POST /v1/payment_intents'} };
	my $before = $posts->();
	$stripe->fault('POST /v1/payment_intents', 'cut');
	my $pay_no = charge($tenant_id);
	my $invoice_id = payment($pay_no, 'invoice_id');
	becomes("SELECT status = 'unknown' FROM billing.payment WHERE pay_no = '$pay_no'", 'nobody knows of a payment whose connection broke');
	like($node->psql('postgres', "SELECT billing.create_payment($tenant_id, $invoice_id, payment_method_id => $method)") ? 'refused' : 'taken', qr/refused/, 'another one is refused meanwhile');
	sql("SELECT FROM billing.resync_payment($tenant_id, '$pay_no')");
	is_paid($pay_no);
	is($posts->() - $before, 1, 'and was asked for once');
	is(sql("SELECT status FROM billing.subscription WHERE tenant_id = $tenant_id"), 'active', 'the subscription starts');

	# A connection that is used again may turn out to be dead: then libcurl sends what was sent on it once more.
	$stripe->control('reuse', on => JSON::PP::true);
	my $credits = "'30 USD', purpose => 'top_up', payment_method_id => $method";
	is_paid_at_last(pay($tenant_id, 'NULL', $credits));
	$stripe->fault('POST /v1/payment_intents', 'cut');
	my $again = pay($tenant_id, 'NULL', $credits);
	becomes("SELECT status IN ('succeeded', 'unknown') FROM billing.payment WHERE pay_no = '$again'", 'a connection breaks that was there before');
	$stripe->control('reuse', on => JSON::PP::false);
	sql("SELECT FROM billing.resync_payment($tenant_id, '$again')");
	is_paid_at_last($again);
	is(scalar(made($again)), 1, 'once, as its key is the same');

	$stripe->fault('POST /v1/payment_intents', 'drop');
	my $credit = pay($tenant_id, 'NULL', $credits);
	becomes("SELECT status = 'unknown' FROM billing.payment WHERE pay_no = '$credit'", 'nor of one that never arrived');
	sql("SELECT FROM billing.resync_payment($tenant_id, '$credit')");
	becomes("SELECT outcome = 'unknown' FROM billing.gateway_request WHERE operation = 'query' AND object_id = (SELECT payment_id FROM billing.payment WHERE pay_no = '$credit')", 'it is not believed at once that it did not');
	is(payment($credit, 'status'), 'unknown', 'it may still come');
	callbacks();
}

# Some things that Stripe refuses for now.
sub busy
{
	my ($tenant_id) = @_;
	my $method = add_card($tenant_id);
	$stripe->fault('POST /v1/payment_intents', '429');
	my $pay_no = charge($tenant_id);
	is_paid($pay_no);
	is(scalar(made($pay_no)), 1, 'when it was asked for again');
}

sub checkout
{
	my ($tenant_id) = @_;
	my $pay_no = pay($tenant_id, subscribe($tenant_id), "gateway => 'stripe', method => 'card', return_url => 'https://app.example.com/done'");
	becomes("SELECT payment_url LIKE 'https://checkout.stripe.com/%' FROM billing.payment WHERE pay_no = '$pay_no'", "Stripe's page");
	my $session = payment($pay_no, 'external_id');
	like($session, qr/^cs_/, 'is known by its id');
	callbacks();
	$stripe->control('pay', id => $session, method => $stripe->control('method', declines => 'lost_card')->{id});
	is(hear($_), '200|ok', 'a card that is refused') for callbacks();
	is(payment($pay_no, 'status'), 'requires_action', 'is no end of it');
	$stripe->control('pay', id => $session, method => $stripe->control('method')->{id});
	is(hear($_), '200|ok', 'another one pays') for callbacks();
	is_paid($pay_no);
	like(payment($pay_no, 'external_id'), qr/^pi_/, 'from now on it is known by its PaymentIntent');
	is(sql("SELECT count(*) FROM billing.payment WHERE tenant_id = $tenant_id"), '1', 'there is one payment');
	is(sql("SELECT status FROM billing.subscription WHERE tenant_id = $tenant_id"), 'active', 'the subscription starts');
}

sub lies
{
	my ($tenant_id) = @_;
	my $pay_no = pay($tenant_id, subscribe($tenant_id), "gateway => 'stripe', method => 'elements'");
	becomes("SELECT status = 'requires_action' FROM billing.payment WHERE pay_no = '$pay_no'", "a payment in the application's form");
	my $intent = payment($pay_no, 'external_id');
	callbacks();
	$stripe->control('pay', id => $intent, method => $stripe->control('method')->{id});
	my ($told) = callbacks(tamper => 1);
	is(hear($told), '400|refused', 'a body that was changed is refused');
	like(last_event(), qr/^rejected\|bad_signature/, 'and recorded');
	$stripe->control('event', type => 'payment_intent.succeeded', object => $stripe->control('state', id => $intent));
	($told) = callbacks(keep => 1, age => 400);
	is(hear($told), '400|refused', 'so is one that is old');
	like(last_event(), qr/^rejected\|too_old/, 'as that');
	my ($good) = callbacks();
	is(hear($good, 'stripe_other'), '200|ok', 'an account that knows nothing of it');
	like(last_event(), qr/^ignored/, 'ignores it');
	for my $lie ({amount_received => 4899}, {currency => 'eur'}, {metadata => {pay_no => "2_other", tenant_id => '2'}})
	{
		$stripe->control('event', type => 'payment_intent.succeeded', object => {%{$stripe->control('state', id => $intent)}, %$lie});
		is(hear((callbacks())[0]), '200|ok', 'a lie is answered, as it would only come again: ' . join ',', keys %$lie);
		like(last_event(), qr/^rejected\|/, 'but not believed');
		is(payment($pay_no, 'status'), 'requires_action', 'and nothing has come');
	}
	is(hear($good), '200|ok', 'what is true');
	is_paid($pay_no);
}

# A callback comes before the answer to the request that it tells of.
sub late_order
{
	my ($tenant_id) = @_;
	my $method = add_card($tenant_id);
	callbacks();
	$stripe->fault('POST /v1/payment_intents', 'cut');
	my $pay_no = charge($tenant_id);
	becomes("SELECT status = 'unknown' FROM billing.payment WHERE pay_no = '$pay_no'", 'an answer is lost');
	is(hear((grep { $_->{body} =~ /payment_intent\.succeeded/ } callbacks())[0]), '200|ok', 'a callback says what it was');
	is_paid($pay_no);
	is(scalar(made($pay_no)), 1, 'once');
}

# The first payment of README.md, statement by statement, with Stripe's place taken; its words are what is printed.
sub readme
{
	my ($section) = slurp_file('README.md') =~ /^## A first payment\n(.*?)^## /ms;
	my ($settings, $credentials) = map { encode_json($stripe->{$_}) } qw(settings credentials);
	my ($pay_no, $number) = $section =~ /^    --  (2_\w+) \| pending$/m;
	my @calls = $section =~ /^    (SELECT .*?;(?:\n    --  .*)*)$/mg;
	is(scalar @calls, 5, 'the page has a journey');
	for my $call (@calls)
	{
		my ($statement, @expected) = split /\n    --  /, $call;
		$statement =~ s/'stripe', 'stripe', .*\)/'readme', 'stripe', '$settings', '$credentials', '$stripe->{url}')/;
		$statement =~ s/gateway => 'stripe'/gateway => 'readme'/;
		$statement =~ s/(create_tenant|subscribe|pending_invoices|create_payment|find_payment)\(2\b/$1(42/g;
		$statement =~ s/\Q$pay_no/$number/ if defined $number;
		$node->poll_query_until('postgres', "SELECT status <> 'pending' FROM billing.payment WHERE pay_no = '$number'") if $statement =~ /find_payment/;
		my $got = sql($statement) =~ s/\|/ | /gr;
		$number = $1 if $got =~ /^(42_\w+) \| pending$/;
		is($got =~ s/^42_\w+/$pay_no/r =~ s/_test_.*/_test_.../r, join("\n", @expected), $statement =~ s/\(.*//sr) if @expected;
	}
	$stripe->control('pay', id => sql("SELECT external_id FROM billing.payment WHERE pay_no = '$number'"));
	is(hear((callbacks())[-1], 'readme'), '200|ok', 'Stripe tells that it came');
	is(sql("SELECT v.status, s.status FROM billing.invoice v JOIN billing.subscription s USING (tenant_id, subscription_id) WHERE v.tenant_id = 42"), 'paid|active', 'and the subscription begins');
}

# What a method is known by, since its id is the token.
sub key_of { my ($id) = @_; return hmac_sha256_hex($id, 'stripe') }

sub setup_intent
{
	my ($tenant_id) = @_;
	my $card = $stripe->control('method')->{id};
	my $setup = $stripe->control('setup', status => 'requires_action', method => $card);
	my $method = sql("SELECT payment_method_id FROM billing.add_payment_method($tenant_id, 'stripe', 'card', '$setup->{id}')");
	becomes("SELECT external_id = '@{[key_of($setup->{id})]}' FROM billing.payment_method WHERE payment_method_id = $method", 'a SetupIntent waits for a person');
	is(sql("SELECT status FROM billing.payment_method WHERE payment_method_id = $method"), 'pending', 'and so does the method');
	$stripe->control('event', type => 'setup_intent.succeeded', object => $stripe->control('setup', id => $setup->{id}, method => $card));
	is(hear((callbacks())[-1]), '200|ok', 'till Stripe says that he was there');
	becomes("SELECT status = 'active' AND external_id = '@{[key_of($card)]}' AND brand = 'visa' AND customer_id IS NOT NULL FROM billing.payment_method WHERE payment_method_id = $method", 'then it is a card');
	is_paid(charge($tenant_id));
	sleep 1;	# events are of a second, and what is of the one in which it was verified is older than that
	$stripe->control('event', type => 'payment_method.automatically_updated', object => {%{$stripe->control('state', id => $card)}, card => {brand => 'visa', last4 => '0005', exp_month => 9, exp_year => 2040}});
	is(hear((callbacks())[-1]), '200|ok', 'the bank sends another card');
	is(sql("SELECT status, exp_month, exp_year FROM billing.payment_method WHERE payment_method_id = $method"), 'active|9|2040', 'whose dates it has');
}

# An invoice that is paid by a card; returns the number of the payment.
sub paid_invoice
{
	my ($tenant_id, %how) = @_;
	my $method = add_card($tenant_id, %how);
	my $pay_no = charge($tenant_id);
	becomes("SELECT status IN ('succeeded', 'processing') FROM billing.payment WHERE pay_no = '$pay_no'", 'an invoice is paid');
	callbacks();
	return $pay_no;
}

sub disputes
{
	my ($tenant_id) = @_;
	my $pay_no = paid_invoice($tenant_id);
	my $intent = payment($pay_no, 'external_id');
	my $disputed = sub { sql("SELECT string_agg(status, ',' ORDER BY dispute_id), (SELECT string_agg(account || ' ' || balance, ', ' ORDER BY account COLLATE \"C\") FROM billing.trial_balance
		WHERE tenant_id = $tenant_id AND account IN ('disputed', 'receivable') AND billing.minor_units(balance) <> 0) FROM billing.dispute WHERE tenant_id = $tenant_id") };
	my $tell = sub { $stripe->control('dispute', of => $intent, @_); is(hear((callbacks())[-1]), '200|ok', join ' ', 'a dispute:', @_) };
	$tell->(id => 'dp_1', event => 'created', status => 'warning_needs_response');
	is($disputed->(), '|', 'a question of the bank takes no money');
	$tell->(id => 'dp_1', event => 'funds_withdrawn', status => 'needs_response');
	is($disputed->(), 'open|disputed 49.00 USD', 'a dispute does');
	$tell->(id => 'dp_1', event => 'closed', status => 'won');
	is($disputed->(), 'won|', 'which comes back when it is won');
	$tell->(id => 'dp_1', event => 'updated', status => 'under_review');
	is($disputed->(), 'won|', 'whatever is told later');
	$tell->(id => 'dp_2', event => 'closed', status => 'lost');
	is($disputed->(), 'won,lost|receivable 49.00 USD', 'one that is lost, before it was known to be open');
	is(payment($pay_no, 'status') . sql("SELECT status FROM billing.invoice WHERE tenant_id = $tenant_id"), 'reversedopen', 'opens the invoice again');
}

sub returned_debit
{
	my ($tenant_id) = @_;
	my $pay_no = paid_invoice($tenant_id, kind => 'ach', type => 'us_bank_account');
	is(payment($pay_no, 'status'), 'processing', 'a debit takes days');
	my $intent = payment($pay_no, 'external_id');
	$stripe->control('settle', id => $intent);
	is(hear($_), '200|ok', 'it comes') for callbacks();
	is_paid($pay_no);
	$stripe->control('settle', id => $intent, fails => 1);
	is(hear($_), '200|ok', 'and goes') for callbacks(keep => 1), callbacks();
	is(payment($pay_no, 'status, reversed') . '|' . sql("SELECT status, amount_due FROM billing.invoice WHERE tenant_id = $tenant_id"), 'reversed|49.00 USD|open|49.00 USD', 'the invoice is owed again');
}

# Stripe's page, then a card; the page is paid all the same.
sub change_of_mind
{
	my ($tenant_id) = @_;
	my $invoice_id = subscribe($tenant_id);
	my $first = pay($tenant_id, $invoice_id, "gateway => 'stripe', method => 'card'");
	becomes("SELECT status = 'requires_action' FROM billing.payment WHERE pay_no = '$first'", "Stripe's page");
	my $session = payment($first, 'external_id');
	add_card($tenant_id);
	my $second = "SELECT pay_no FROM billing.payment WHERE invoice_id = $invoice_id AND payment_method_id IS NOT NULL";
	sql("SELECT count(billing.create_payment($tenant_id, $invoice_id, payment_method_id => payment_method_id)) FROM billing.payment_method WHERE tenant_id = $tenant_id") if sql($second) eq '';
	$second = sql($second);
	is_paid($second);
	is(payment($first, 'status'), 'canceled', 'the first is called off');
	becomes("SELECT count(*) = 1 FROM billing.gateway_request WHERE operation = 'close' AND state = 'done' AND object_id = (SELECT payment_id FROM billing.payment WHERE pay_no = '$first')", 'and closed');
	is($stripe->control('state', id => $session)->{status}, 'expired', 'there, too');
	hear($_) for callbacks();
	is(payment($first, 'status'), 'canceled', 'which is told, and no news');
	my $third = pay($tenant_id, 'NULL', "'49 USD', purpose => 'top_up', gateway => 'stripe', method => 'card'");
	becomes("SELECT status = 'requires_action' FROM billing.payment WHERE pay_no = '$third'", 'credit, by a page');
	$stripe->control('pay', id => payment($third, 'external_id'), method => $stripe->control('method')->{id});
	sql("SELECT FROM billing.cancel_payment($tenant_id, '$third')");
	is_paid($third);
	is(sql("SELECT billing.wallet_balance($tenant_id)"), '49.00 USD', 'what was paid before it could be closed is money');
	callbacks();
}

sub accounts
{
	my ($result, $stdout, $stderr) = $node->psql('postgres', q{SELECT billing.create_gateway('bad', 'stripe', '{}', '{"api_key": "pk_live_1234"}')});
	like($stderr, qr/credential=api_key expected=sk_/, 'a key that is none');
	unlike($stderr, qr/pk_live_1234/, 'is not repeated');
	sql(q{SELECT FROM billing.update_gateway('stripe', '{"credentials": {"webhook_secret": "whsec_new whsec_newer"}}')});
	$stripe->control('event', type => 'customer.created', object => {id => 'cus_1'});
	is(hear((callbacks(keep => 1))[-1]), '400|refused', 'when the secret has changed, the one before is none');
	is(hear((callbacks(secret => 'whsec_newer'))[-1]), '200|ok', 'and each of those there is');
	sql(q{SELECT FROM billing.update_gateway('stripe', '{"credentials": {"api_key": "sk_test_other"}}')});
	my $pay_no = pay(12, 'NULL', "'5 USD', purpose => 'top_up', gateway => 'stripe', method => 'card'");
	becomes("SELECT q.state = 'waiting' AND q.error ~ 'Stripe does not know the api_key' AND p.status = 'processing' FROM billing.payment p JOIN billing.gateway_request q ON q.object_id = p.payment_id AND q.operation = 'pay' WHERE p.pay_no = '$pay_no'",
		'a wrong key is no fault of the payer');
	sql("SELECT FROM billing.update_gateway('stripe', '{\"credentials\": {\"api_key\": \"$stripe->{credentials}{api_key}\"}}'); UPDATE billing.gateway_request SET next_attempt_at = now() WHERE state = 'waiting' AND operation = 'pay'; SELECT billing.wake()");
	becomes("SELECT status = 'requires_action' FROM billing.payment WHERE pay_no = '$pay_no'", 'with the right one it goes on');
}
