# Payment methods at a gateway, by the worker and a stand-in of Stripe: a token is verified before it is used, what is due is collected without the
# payer, a stolen card gives way to another one, callbacks change what is known of a card, and one that is removed is removed there, too.
use strict;
use warnings FATAL => 'all';
use FindBin;
use lib $FindBin::Bin;
use Digest::SHA qw(hmac_sha256_hex);
use Encode qw(encode);
use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use BillingNode;
use GatewayStandIn;
use WebhookReceiver;

plan skip_all => 'there is no node: Debian packages nodejs and npm' if system('command -v node >/dev/null') != 0;

my $dir = PostgreSQL::Test::Utils::tempdir();
my $modules = WebhookReceiver::install_packages("$dir/npm", 'stripe@18');
plan skip_all => 'npm has no registry here' if !defined $modules;

my $gateway = GatewayStandIn->start('stripe', $modules);
my $node = PostgreSQL::Test::Cluster->new('payment_method');
my $json = JSON::PP->new->canonical->utf8;
BillingNode::start($node, 'autovacuum = off', 'fsync = off');
run('CREATE EXTENSION billing');
run(sprintf q{SELECT billing.create_gateway('stripe', 'stripe', %s, %s, %s)}, map { quoted($_) } $json->encode($gateway->{settings}),
	$json->encode($gateway->{credentials}), $gateway->{url});
run(q{INSERT INTO billing.job (name, every) VALUES ('collect_invoices', '1 second'), ('retry_payments', '1 second');
INSERT INTO billing.plan (plan_id, code, name, cycle, trial_days) VALUES (1, 'pro', 'Pro', '1 month', 0);
INSERT INTO billing.price (plan_id, code, name, tariff) VALUES (1, 'base', 'Base', '{"model":"flat","currency":"USD","amount":"49"}');
SELECT count(billing.create_tenant(n, 'Tenant ' || n, 'USD', email => 'a@example.com')) FROM generate_series(1, 3) n});

my (%method, %token);
verifies();
collects();
gives_way();
hears();
removes();
is(join("\n", @{$gateway->control('complaints')}), '', 'Stripe had nothing to complain of');
is(run('SELECT * FROM billing.audit()'), '', 'and every invariant holds');
$node->stop;
$gateway->stop;
done_testing();

sub run { my ($sql) = @_; return $node->safe_psql('postgres', $sql) }

sub quoted { my ($text) = @_; return "'" . $text =~ s/'/''/gr . "'" }

sub becomes { my ($sql, $expected, $what) = @_; ok($node->poll_query_until('postgres', $sql, $expected), $what) or diag(run($sql)) }

# Add a method that the stand-in makes; returns its token.
sub add
{
	my ($tenant, $name, %how) = @_;
	my $token = $token{$name} = $gateway->control('method', %how)->{id};
	$method{$name} = run("SELECT payment_method_id FROM billing.add_payment_method($tenant, 'stripe', 'card', '$token')");
	return $token;
}

sub verifies
{
	my $token = add(1, 'good');
	becomes("SELECT status FROM billing.payment_method WHERE payment_method_id = $method{good}", 'active', 'a token is verified');
	is(run("SELECT brand, last4, exp_month, exp_year, is_default FROM billing.payment_method_list WHERE payment_method_id = $method{good}"), 'visa|**** 4242|8|2035|t', 'the gateway says what it is');
	is(run("SELECT m.customer_id = c.customer_id AND m.external_id = '@{[hmac_sha256_hex($token, 'stripe')]}' FROM billing.payment_method m JOIN billing.gateway_customer c USING (tenant_id, gateway)
		WHERE payment_method_id = $method{good}"), 't', 'and whose');
	is($gateway->control('state', id => $token)->{customer}, run('SELECT customer_id FROM billing.gateway_customer WHERE tenant_id = 1'), 'which it knows, too');
	my ($ret, $out, $err) = $node->psql('postgres', "SELECT billing.add_payment_method(1, 'stripe', 'card', '$token')");
	like($err, qr/token was used before/, 'it is of one use');
	unlike($err =~ s/LINE .*//sr, qr/$token/, 'and not repeated');

	add(1, 'declined', declines => 'attach');
	becomes("SELECT status, failure_code FROM billing.payment_method WHERE payment_method_id = $method{declined}", 'failed|do_not_honor', 'one that is refused has failed');
	add(1, 'old', exp_year => 2020);
	becomes("SELECT status, failure_code FROM billing.payment_method WHERE payment_method_id = $method{old}", 'failed|expired_card', 'so has one that is over');
	is(run("SELECT string_agg(type || ' ' || (payload #>> '{data,object,status}'), ',' ORDER BY event_id) FROM billing.event WHERE type LIKE 'payment_method.%'
		AND payload #>> '{data,object,id}' = '$method{declined}'"), 'payment_method.added pending,payment_method.failed failed', 'which is told');
	is(run("SELECT count(*) FROM billing.payment_method WHERE tenant_id = 1 AND is_default"), '1', 'the default is the one that is good');
}

sub collects
{
	run("SELECT billing.subscribe(1, 'pro')");
	becomes('SELECT status FROM billing.invoice WHERE tenant_id = 1', 'paid', 'an invoice is collected without anybody');
	is(run('SELECT a.attempt_no, a.status, a.payment_method_id = p.payment_method_id, p.status, p.amount FROM billing.collection_attempt a JOIN billing.payment p
		USING (tenant_id, invoice_id, attempt_no, retry_no) WHERE a.tenant_id = 1'), '0|succeeded|t|succeeded|49.00 USD', 'by one payment');
	my $intent = $gateway->control('state', id => run('SELECT external_id FROM billing.payment WHERE tenant_id = 1'));
	is_deeply([@{$intent}{qw(status amount)}], ['succeeded', 4900], 'that is there');
}

sub gives_way
{
	add(2, 'stolen', declines => 'stolen_card');
	becomes("SELECT status FROM billing.payment_method WHERE payment_method_id = $method{stolen}", 'active', 'a card that will be stolen');
	add(2, 'other');
	becomes("SELECT status FROM billing.payment_method WHERE payment_method_id = $method{other}", 'active', 'another one');
	run("SELECT billing.subscribe(2, 'pro')");
	becomes('SELECT status FROM billing.invoice WHERE tenant_id = 2', 'paid', 'it is collected all the same');
	is(run('SELECT string_agg(concat_ws(\' \', a.attempt_no, a.retry_no, a.status, a.code, a.class), \',\' ORDER BY a.attempt_no, a.retry_no) FROM billing.collection_attempt a WHERE a.tenant_id = 2'),
		'0 0 failed stolen_card hard,0 1 succeeded', 'at the second attempt');
	is(run("SELECT status, failure_code FROM billing.payment_method WHERE payment_method_id = $method{stolen}"), 'failed|stolen_card', 'what was stolen is not tried again');
	is(run("SELECT payment_method_id = $method{other}, default_at IS NOT NULL FROM billing.payment_method WHERE tenant_id = 2 AND is_default"), 't|t', 'the other is the default');
	is(run("SELECT reason FROM billing.payment_method_change WHERE tenant_id = 2 ORDER BY change_id DESC LIMIT 1"), 'failed', 'and why is kept');
}

# The callbacks about methods that wait, as an application passes them on.
sub hear
{
	for my $told (@{$gateway->control('callbacks')})
	{
		run(sprintf q{SELECT billing.receive_callback('stripe', %s, convert_to(%s, 'UTF8'))}, quoted($json->encode($told->{headers})), quoted(encode('UTF-8', $told->{body})));
	}
}

sub hears
{
	my %card = (id => $token{other}, object => 'payment_method', type => 'card', customer => undef);
	$gateway->control('callbacks');
	$gateway->control('event', type => 'payment_method.automatically_updated', object => {%card, card => {brand => 'visa', last4 => '4444', exp_month => 1, exp_year => 2040}});
	hear();
	is(run("SELECT last4, exp_month, exp_year, status FROM billing.payment_method_list WHERE payment_method_id = $method{other}"), '**** 4444|1|2040|active', 'a card has other dates');
	sleep 1;
	$gateway->control('event', type => 'payment_method.detached', object => \%card);
	hear();
	is(run("SELECT status, failure_code, is_default FROM billing.payment_method WHERE payment_method_id = $method{other}"), 'failed|detached|f', 'the payer took it back');
}

sub removes
{
	my $token = add(3, 'first');
	add(3, 'second');
	becomes("SELECT count(*) FROM billing.payment_method WHERE tenant_id = 3 AND status = 'active'", '2', 'two methods');
	is(run("SELECT status FROM billing.remove_payment_method(3, $method{first})"), 'removed', 'one is removed');
	becomes("SELECT token IS NULL FROM billing.payment_method WHERE payment_method_id = $method{first}", 't', 'its token is gone when the gateway has said so');
	is($gateway->control('state', id => $token)->{customer}, undef, 'where it is removed, too');

	# While it is verified: whatever comes first, it is nowhere in the end.
	my $late = add(3, 'late');
	run("SELECT billing.remove_payment_method(3, $method{late})");
	becomes("SELECT token IS NULL FROM billing.payment_method WHERE payment_method_id = $method{late}", 't', 'one that is removed at once');
	is($gateway->control('state', id => $late)->{customer}, undef, 'is nobody\'s there');
	is(run("SELECT status FROM billing.payment_method WHERE payment_method_id = $method{late}"), 'removed', 'nor here');

	# The token of another tenant's: it is refused, and removing it, after that or before, takes nothing from that tenant.
	my $foreign = $token{good};
	my $add = "SELECT payment_method_id FROM billing.add_payment_method(3, 'stripe', 'card', '$foreign')";
	my $refused = run($add);
	becomes("SELECT status, failure_code FROM billing.payment_method WHERE payment_method_id = $refused", 'failed|token_used', 'another tenant\'s is refused');
	my $hasty = run("BEGIN; $add \\gset\nSELECT status FROM billing.remove_payment_method(3, :payment_method_id); COMMIT; SELECT :payment_method_id") =~ s/.*\n//sr;
	is(run("SELECT status FROM billing.remove_payment_method(3, $refused)"), 'removed', 'it is removed here');
	my $waits = "SELECT count(*) FROM billing.gateway_request WHERE object_id IN ($refused, $hasty) AND state IN ('waiting', 'sending')";
	becomes($waits, '0', 'of which the gateway is asked nothing that it would do');
	is(run("SELECT count(*), count(token) FROM billing.payment_method WHERE payment_method_id IN ($refused, $hasty) AND status = 'removed'"), '2|0', 'and of which no token stays');
	isnt($gateway->control('state', id => $foreign)->{customer}, undef, 'who has it keeps it');
	# One that failed, and was added again: the row that failed goes, the card stays.
	$gateway->control('callbacks');
	$gateway->control('event', type => 'payment_method.detached', object => {id => $foreign, object => 'payment_method', type => 'card', customer => undef});
	hear();
	is(run("SELECT status FROM billing.payment_method WHERE payment_method_id = $method{good}"), 'failed', 'the other tenant\'s fails');
	my $again = run("SELECT payment_method_id FROM billing.add_payment_method(1, 'stripe', 'card', '$foreign')");
	becomes("SELECT status FROM billing.payment_method WHERE payment_method_id = $again", 'active', 'is added again');
	is(run("SELECT token IS NULL FROM billing.remove_payment_method(1, $method{good})"), 't', 'the row that failed is removed');
	becomes("SELECT count(*) FROM billing.gateway_request WHERE object_id = $method{good} AND next_attempt_at IS NOT NULL", '0', 'and nothing waits');
	isnt($gateway->control('state', id => $foreign)->{customer}, undef, 'the card is there');
	run(qq{SELECT billing.update_payment_method(1, $again, '{"billing_email": "b\@example.com"}')});
	sleep 1;
	$gateway->control('event', type => 'payment_method.detached', object => {id => $foreign, object => 'payment_method', type => 'card', customer => undef});
	hear();
	is(run("SELECT status, failure_code FROM billing.payment_method WHERE payment_method_id = $again"), 'failed|detached', 'what is told of the card then is told of the row that lives');
}
