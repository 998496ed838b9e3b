# A dump brings back every row, sequence, guard and grant, whichever way it is taken and restored, also into a cluster
# whose transaction ids are lower; and the copy bills on as the original does.
use strict;
use warnings FATAL => 'all';
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

$ENV{PGTZ} = 'UTC';

my $source = PostgreSQL::Test::Cluster->new('source');
$source->init;
raise_transaction_ids($source);
$source->append_conf('postgresql.conf', 'max_prepared_transactions = 2');
$source->start;
$source->safe_psql('postgres', 'CREATE DATABASE shop');
$source->safe_psql('shop', two_months());

my $dir = PostgreSQL::Test::Utils::tempdir();
my @shop = ('-d', $source->connstr('shop'));
run_ok('pg_dump -Fp', 'pg_dump', @shop, '-f', "$dir/plain.sql");
run_ok('pg_dump --inserts', 'pg_dump', @shop, '--inserts', '-f', "$dir/inserts.sql");
run_ok('pg_dump -Fc', 'pg_dump', @shop, '-Fc', '-f', "$dir/custom.dump");
run_ok('pg_dump -Fd -j4', 'pg_dump', @shop, '-Fd', '-j4', '-f', "$dir/folder");

my $target = PostgreSQL::Test::Cluster->new('target');
$target->init;
$target->start;
cmp_ok($target->safe_psql('postgres', 'SELECT pg_current_xact_id()'), '<',
	$source->safe_psql('shop', 'SELECT min(xid::text::numeric) FROM billing.usage_event'), 'transaction ids are lower there');
$target->safe_psql('postgres', 'CREATE ROLE shop_app');

is($source->safe_psql('shop', broken()), '', 'nothing is broken before');
cmp_ok($source->safe_psql('shop', q{SELECT count(*) FROM billing.invoice_item a JOIN billing.invoice_item i ON i.tenant_id = a.tenant_id
	AND i.invoice_id = a.adjusts_invoice_id AND i.line = a.adjusts_line WHERE i.ctid > a.ctid}), '>', 0, 'lines lie behind those that adjust them');
my $rows = fingerprint($source, 'shop');
my $guards = guards($source, 'shop');
my $bills;
for my $way (
	[ 'plain', 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-f', "$dir/plain.sql" ],
	[ 'inserts', 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-f', "$dir/inserts.sql" ],
	[ 'custom', 'pg_restore', '--exit-on-error', "$dir/custom.dump" ],
	[ 'folder', 'pg_restore', '--exit-on-error', '-j4', "$dir/folder" ])
{
	my ($name, $program, @args) = @$way;

	# By its own name pg_restore is known, and may load tables in any order.
	local %ENV = %ENV;
	delete $ENV{PGAPPNAME};
	$target->safe_psql('postgres', "CREATE DATABASE $name");
	run_ok("restore $name", $program, '-d', $target->connstr($name), @args);

	is(fingerprint($target, $name), $rows, "$name: every row and the sequence");
	is(difference($guards, guards($target, $name)), '', "$name: every trigger, policy and grant");
	like(try($target, $name, q{UPDATE billing.plan SET trial_days = 3 WHERE code = 'pro'}), qr/is in use/, "$name: a plan in use is guarded");
	like(try($target, $name, q{INSERT INTO billing.price (plan_id, code, tariff) SELECT plan_id, 'more', '{"model":"flat","currency":"USD","amount":"1"}' FROM billing.plan WHERE code = 'pro'}),
		qr/cannot be added/, "$name: no price is added to it");
	is($target->safe_psql($name, q{SELECT count(*) FROM billing.create_tenant(1, 'Tenant 1', request_id => 'c1')}), '1', "$name: a retry is known");
	is($target->safe_psql($name, usage_totals()), $source->safe_psql('shop', usage_totals()), "$name: the same usage");
	is($target->safe_psql($name, broken()), '', "$name: nothing is broken");

	my $next = bill_on($target, $name);
	is($target->safe_psql($name, broken()), '', "$name: nor is it then");
	$bills //= $next;
	is($next, $bills, "$name: bills on alike");
}
is(bill_on($source, 'shop'), $bills, 'and as the original');

# Usage of a transaction that outlasts the bill run and ends just before the dump: nothing has noted that it is late.
$source->safe_psql('postgres', 'CREATE DATABASE slow');
$source->safe_psql('slow', slow_usage());
run_ok('pg_dump of slow usage', 'pg_dump', '-d', $source->connstr('slow'), '-Fc', '-f', "$dir/slow.dump");
$target->safe_psql('postgres', 'CREATE DATABASE slow');
run_ok('restore slow usage', 'pg_restore', '--exit-on-error', '-d', $target->connstr('slow'), "$dir/slow.dump");
$target->safe_psql('slow', 'CALL billing.compact_usage()');
is($target->safe_psql('slow', 'SELECT event_id FROM billing.usage_late ORDER BY 1'), "before1\nslow", 'slow: it is late, as is what was canceled');
is($target->safe_psql('slow', broken()), '', 'slow: nothing is broken');
is($source->safe_psql('slow', broken()), '', 'slow: nor in the original');
$bills = bill_on($source, 'slow');
like($bills, qr/^\S*\|3\|adjustment\|calls\|4990\|49\.90 USD\|/m, 'slow: the original bills it');
is(bill_on($target, 'slow'), $bills, 'slow: bills on as the original');
is($target->safe_psql('slow', broken()), '', 'slow: nor is anything broken then');

$source->stop;
$target->stop;
done_testing();

# What a shop has after two months.
sub two_months
{
	return <<'SQL';
CREATE EXTENSION billing;
CREATE ROLE shop_app;
SELECT billing.grant_access('shop_app', 'app');
SET billing.test_clock = '2026-01-31T00:00:00Z';
INSERT INTO billing.setting (name, value) VALUES ('net_days', '14');
INSERT INTO billing.tax_rate (code, name, percent) VALUES ('vat', 'VAT', 19);
INSERT INTO billing.feature (code) VALUES ('sso');
INSERT INTO billing.meter (code, unit) VALUES ('calls', 'call');
INSERT INTO billing.plan (plan_id, code, name) VALUES (1001, 'pro', 'Pro'), (1003, 'unused', 'Unused');
INSERT INTO billing.plan (plan_id, code, name, cycle, usage_threshold_step) VALUES (1002, 'year', 'Yearly', '1 year', 5);
INSERT INTO billing.price (plan_id, code, tariff, meter, cycle) VALUES
	(1001, 'base', '{"model":"flat","currency":"USD","amount":"29"}', NULL, NULL),
	(1001, 'calls', '{"model":"per_unit","currency":"USD","unit_amount":"0.01"}', 'calls', NULL),
	(1002, 'base', '{"model":"flat","currency":"USD","amount":"290"}', NULL, NULL),
	(1002, 'calls', '{"model":"per_unit","currency":"USD","unit_amount":"0.01"}', 'calls', '1 month');
SELECT count(billing.create_tenant(t, 'Tenant ' || t, request_id => 'c' || t)) FROM generate_series(1, 20) AS t;
SELECT count(billing.update_tenant(t, '{"tax_rate": "vat", "timezone": "America/New_York"}')) FROM generate_series(1, 20, 3) AS t;
INSERT INTO billing.coupon (code, kind, value, currency, duration, redemption_limit) VALUES
	('LIMITED', 'percentage', 10, NULL, 'forever', 15), ('CREDIT', 'fixed', 50, 'USD', 'once', NULL), ('UNUSED', 'percentage', 5, NULL, 'once', 2);
SELECT count(billing.subscribe(t, CASE WHEN t % 2 = 0 THEN 'pro' ELSE 'year' END, coupon => CASE t % 5 WHEN 3 THEN 'LIMITED' WHEN 4 THEN 'CREDIT' END)) FROM generate_series(1, 20) AS t;
SET billing.test_clock = '2026-02-10T00:00:00Z';
INSERT INTO billing.usage_event (tenant_id, event_id, meter, quantity, at)
SELECT t, 'e' || n, 'calls', n, timestamptz '2026-01-31T00:00:00Z' + n * interval '1 hour' FROM generate_series(1, 20) AS t, generate_series(1, 50) AS n;
CALL billing.bill_due();
SET billing.test_clock = '2026-03-05T00:00:00Z';
CALL billing.bill_due();
INSERT INTO billing.usage_event (tenant_id, event_id, meter, quantity, at)
SELECT t, 'late' || n, 'calls', n, timestamptz '2026-02-01T00:00:00Z' FROM generate_series(1, 5) AS t, generate_series(1, 3) AS n;
CALL billing.compact_usage();
SELECT count(*) FROM billing.rerate('pro', 'base', '{"model":"flat","currency":"USD","amount":"28"}', '[2026-01-01Z,2026-02-15Z)', reason => 'a promise');
SELECT count((billing.cancel_usage(t, 'e1', 'in error')).event_id), count((billing.correct_usage(t, 'e2', 200, 'e2+')).event_id) FROM generate_series(1, 20, 4) AS t;
SELECT count(billing.record_payment(tenant_id, invoice_id, amount_due, 'p' || invoice_id)) FROM billing.invoice WHERE status = 'open' AND tenant_id < 5;
SELECT count(billing.issue_credit_note(i.tenant_id, i.invoice_id, '[{"line": 1, "amount": "3.33"}]', d)) FROM billing.invoice i, unnest('{wallet,refund}'::text[]) d
	WHERE i.kind = 'cycle' AND i.total >= '10 USD' AND i.tenant_id < 6;
SELECT (billing.record_refund(1, (SELECT min(refund_no) FROM billing.refund WHERE tenant_id = 1))).status,
	(billing.cancel_refund(2, (SELECT min(refund_no) FROM billing.refund WHERE tenant_id = 2))).status;
SELECT (billing.create_invoice(6, 'yen', '[{"description": "Setup", "amount": "100"}]', currency => 'JPY')).status;
SELECT (billing.create_invoice(6, 'draft', '[{"description": "Later", "amount": "7"}]', finalize => false)).status;
SELECT (billing.record_payment(6, (billing.find_invoice(6, 'yen')).invoice_id, '40 JPY', 'part', 'cash')).status;
SELECT count(billing.void_invoice(tenant_id, invoice_id)) FROM billing.invoice WHERE tenant_id = 7 AND status = 'open' AND kind = 'cycle' AND period_end > '2026-02-01';
SELECT count(billing.mark_uncollectible(tenant_id, invoice_id)) FROM billing.invoice WHERE tenant_id = 8 AND status = 'open' AND period_end > '2026-02-01';
SELECT (billing.subscribe(9, 'pro', activate => 'on_payment')).status, (billing.subscribe(10, 'pro', at => '2026-04-01T00:00:00Z')).status;
SELECT count(billing.cancel_subscription(tenant_id, subscription_id, 'now')) FROM billing.subscription WHERE tenant_id = 19;
UPDATE billing.plan SET name = 'Pro, renamed' WHERE plan_id = 1001;
INSERT INTO billing.gateway (code, driver, settings) VALUES ('bank', 'manual', '{"is_test": "true"}');
SELECT count(billing.add_payment_method(t, 'bank', 'bank_transfer', NULL, brand => 'Bank ' || n, exp_month => 4, exp_year => 2026, customer_id => 'c' || t))
	FROM generate_series(13, 16) t, generate_series(1, 2) n;
SELECT count(billing.update_subscription(s.tenant_id, s.subscription_id, jsonb_build_object('payment_method_id', m.payment_method_id)))
	FROM billing.subscription s JOIN billing.payment_method m USING (tenant_id) WHERE m.is_default AND s.ended_at IS NULL;
SELECT count(billing.set_default_payment_method(tenant_id, payment_method_id)) FROM billing.payment_method WHERE tenant_id IN (13, 14) AND NOT is_default;
SELECT count(billing.remove_payment_method(tenant_id, payment_method_id)) FROM billing.payment_method WHERE tenant_id IN (14, 15) AND brand = 'Bank 1';
INSERT INTO billing.dunning_policy (code, name, days, uncollectible_days) VALUES ('patient', 'Patient', '{1,60,90}', 10), ('strict', 'Strict', '{}', 1);
INSERT INTO billing.decline_code (gateway, code, class, next_attempt) VALUES ('stripe', 'call_issuer', 'soft', '2 hours');
INSERT INTO billing.setting (name, value) VALUES ('dunning_policy', 'patient');
SELECT count(billing.update_tenant(t, '{"settings": {"dunning_policy": "strict", "uncollectible_days": 5}}')) FROM generate_series(11, 12) t;
SELECT billing.dunning();
SELECT (billing.fail_attempt(13, min(invoice_id), 'call_issuer', 'stripe', 'Ask the bank.')).retry_at FROM billing.collection_attempt WHERE tenant_id = 13 AND status = 'failed';
INSERT INTO billing.collection_attempt (tenant_id, invoice_id, attempt_no, status, due_at, amount) SELECT tenant_id, invoice_id, 0, 'pending', due_at, amount_due
	FROM billing.invoice WHERE number = (SELECT min(number) FROM billing.invoice WHERE tenant_id = 14 AND status = 'open' AND due_at > '2026-03-05Z');
-- A line may lie behind one that adjusts it.
SET session_replication_role = replica;
UPDATE billing.invoice_item i SET description = i.description WHERE EXISTS (SELECT FROM billing.invoice_item a
	WHERE a.tenant_id = i.tenant_id AND a.adjusts_invoice_id = i.invoice_id AND a.adjusts_line = i.line);
SQL
}

# A month of a tenant, whose bill does not see what a prepared transaction recorded.
sub slow_usage
{
	return <<'SQL';
CREATE EXTENSION billing;
SET billing.test_clock = '2026-01-01T00:00:00Z';
INSERT INTO billing.meter (code) VALUES ('calls');
INSERT INTO billing.plan (plan_id, code, name, trial_days) VALUES (1001, 'pro', 'Pro', 0);
INSERT INTO billing.price (plan_id, code, tariff, meter) VALUES
	(1001, 'base', '{"model":"flat","currency":"USD","amount":"29"}', NULL),
	(1001, 'calls', '{"model":"per_unit","currency":"USD","unit_amount":"0.01"}', 'calls');
SELECT (billing.create_tenant(1, 'Acme')).status, (billing.subscribe(1, 'pro')).status;
SET billing.test_clock = '2026-01-15T00:00:00Z';
SELECT count(billing.record_usage(1, 'calls', 10, 'before' || n)) FROM generate_series(1, 10) n;
SET billing.test_clock = '2026-01-20T00:00:00Z';
BEGIN;
SELECT billing.record_usage(1, 'calls', 5000, 'slow', '2026-01-19Z');
PREPARE TRANSACTION 'slow';
SET billing.test_clock = '2026-01-25T00:00:00Z';
SELECT count(billing.record_usage(1, 'calls', 10, 'behind' || n)) FROM generate_series(1, 10) n;
SET billing.test_clock = '2026-02-05T00:00:00Z';
CALL billing.bill_due();
SELECT (billing.cancel_usage(1, 'before1')).event_id;
COMMIT PREPARED 'slow';
SQL
}

# Ids as high as after years: so that one kept from here would lie in the future there.
sub raise_transaction_ids
{
	my ($node) = @_;

	PostgreSQL::Test::Utils::system_or_bail('pg_resetwal', '-e', '3', '-D', $node->data_dir);
}

# A digest of each dumped table, without what is generated, and where the sequence stands.
sub fingerprint
{
	my ($node, $db) = @_;
	my $queries = $node->safe_psql($db, q{
		SELECT format('SELECT %L, count(*), md5(string_agg(r::text, %L ORDER BY r::text)) FROM (SELECT %s FROM %s) AS r',
			c.oid::regclass, ';', string_agg(quote_ident(a.attname), ', ' ORDER BY a.attname), c.oid::regclass)
		FROM pg_extension e JOIN pg_class c ON c.oid = ANY (e.extconfig) JOIN pg_attribute a ON a.attrelid = c.oid
		WHERE e.extname = 'billing' AND c.relkind = 'r' AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
		GROUP BY c.oid ORDER BY c.relname});

	return join "\n", map { $node->safe_psql($db, $_) } split(/\n/, $queries),
		'SELECT last_value, is_called FROM billing.id_seq';
}

# Every trigger and whether it fires, every policy, and what the roles may do.
sub guards
{
	my ($node, $db) = @_;

	return $node->safe_psql($db, q{
		SELECT tgrelid::regclass, regexp_replace(tgname, '_\d+$', ''), tgenabled, count(*) FROM pg_trigger
		WHERE tgrelid IN (SELECT oid FROM pg_class WHERE relnamespace = 'billing'::regnamespace) GROUP BY 1, 2, 3 ORDER BY 1::text, 2, 3;
		SELECT polrelid::regclass, polname, pg_get_expr(polqual, polrelid) FROM pg_policy ORDER BY 1::text, 2;
		SELECT c.relname, has_table_privilege('shop_app', c.oid, 'SELECT'), has_any_column_privilege('shop_app', c.oid, 'INSERT'), has_table_privilege('shop_app', c.oid, 'INSERT')
		FROM pg_class c WHERE relnamespace = 'billing'::regnamespace AND relkind IN ('r', 'v') ORDER BY 1;
		SELECT oid::regprocedure, has_function_privilege('shop_app', oid, 'EXECUTE')
		FROM pg_proc WHERE pronamespace = 'billing'::regnamespace ORDER BY 1::text});
}

# The lines that only one of two texts has.
sub difference
{
	my ($before, $after) = @_;
	my %seen;

	$seen{$_}-- for split /\n/, $before;
	$seen{$_}++ for split /\n/, $after;
	return join "\n", map { ($seen{$_} < 0 ? '-' : '+') . $_ } grep { $seen{$_} } sort keys %seen;
}

sub usage_totals
{
	return q{SELECT tenant_id, billing.usage(tenant_id, 'calls', '[2026-01-01Z,2026-04-01Z)') FROM billing.tenant ORDER BY 1};
}

sub broken
{
	return 'SELECT * FROM billing.audit(); SELECT * FROM billing.verify_all();';
}

# Two more months; what they billed.
sub bill_on
{
	my ($node, $db) = @_;

	$node->safe_psql($db, q{SET billing.test_clock = '2026-05-05T00:00:00Z'; CALL billing.bill_due();});
	return $node->safe_psql($db, q{
		SELECT tenant_id, number, biz_key, total, item_count FROM billing.invoice ORDER BY tenant_id, number;
		SELECT i.number, l.line, l.kind, l.price_code, l.quantity, l.amount, l.period_start, l.period_end
		FROM billing.invoice_item l JOIN billing.invoice i USING (tenant_id, invoice_id) ORDER BY i.number, l.line});
}

sub try
{
	my ($node, $db, $sql) = @_;
	my ($ret, $stdout, $stderr) = $node->psql($db, $sql);

	return $stderr;
}

sub run_ok
{
	my ($name, @command) = @_;
	my $output = '';

	ok(IPC::Run::run(\@command, '>&', \$output), $name) or diag($output);
}
