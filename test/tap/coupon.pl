# A coupon with 100 uses under 200 concurrent redeemers is used 100 times, whatever some of them give up; one with 3 uses for each tenant, 3 times.
use strict;
use warnings FATAL => 'all';
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('coupon');
$node->init;
$node->append_conf('postgresql.conf', "fsync = off\nmax_connections = 230");
$node->start;
$node->safe_psql('postgres', <<'SQL');
CREATE EXTENSION billing;
INSERT INTO billing.plan (plan_id, code, name) VALUES (1, 'pro', 'Pro');
INSERT INTO billing.price (plan_id, code, tariff) VALUES (1, 'base', '{"model":"flat","currency":"USD","amount":"29"}');
INSERT INTO billing.coupon (code, kind, value, currency, redemption_limit, tenant_limit) VALUES
	('HUNDRED', 'percentage', 50, NULL, 100, 1), ('THRICE', 'fixed', 5, 'USD', NULL, 3);
SELECT count(billing.create_tenant(t, 'Tenant ' || t)) FROM generate_series(1, 201) t;
SQL

# Two hundred tenants at once, of whom every seventh gives up what it got.
redeem(200, q{
\set tenant :client_id + 1
BEGIN;
SELECT (billing.subscribe(:tenant, 'pro', coupon => 'HUNDRED')).status AS status \gset
SELECT pg_sleep(0.05);
SELECT CASE WHEN :tenant % 7 = 0 THEN 1 ELSE 0 END AS gives_up \gset
\if :gives_up
ROLLBACK;
\else
COMMIT;
\endif
});
is(ask(q{SELECT count(*), count(DISTINCT tenant_id), count(DISTINCT slot_no), min(slot_no), max(slot_no) FROM billing.coupon_use WHERE coupon = 'HUNDRED'}),
	'100|100|100|1|100', 'a hundred of two hundred have it, each a slot');
is(ask(q{SELECT count(*) FROM billing.coupon_usage WHERE coupon = 'HUNDRED' AND status = 'reserved'}), '100', 'and an invoice that it takes something off');
is(ask(q{SELECT count(*), sum(total) FROM billing.invoice}), '100|1450.00 USD', 'the others have none');
is(ask(q{SELECT count(*) FROM billing.subscription WHERE tenant_id % 7 = 0}), '0', 'nor has who gave up');
is(ask(q{SELECT reason FROM billing.validate_coupon(7, 'HUNDRED', 'pro')}), 'limit', 'it is used up');

# Half are paid, the others taken back: fifty are free again, and fifty of the next two hundred have them.
$node->safe_psql('postgres', q{
SELECT count((billing.record_payment(i.tenant_id, i.invoice_id, '14.50 USD', 'p' || i.tenant_id)).status) FROM
	(SELECT i.* FROM billing.invoice i ORDER BY i.tenant_id LIMIT 50) i;
SELECT count((billing.cancel_subscription(s.tenant_id, s.subscription_id, 'now', proration => 'none')).status) FROM billing.subscription s
	JOIN billing.invoice i USING (tenant_id, subscription_id) WHERE i.status = 'open';
SELECT count((billing.void_invoice(i.tenant_id, i.invoice_id)).status) FROM billing.invoice i WHERE i.status = 'open'});
is(ask(q{SELECT count(*), count(taken_by) FROM billing.coupon_slot}), '100|50', 'void invoices give their slots back');
redeem(200, q{
\set tenant :client_id + 1
SELECT (billing.create_invoice(:tenant, 'second', '[{"description": "x", "amount": "10"}]', coupon => 'HUNDRED')).status;
});
is(ask(q{SELECT count(*) FROM billing.coupon_use WHERE coupon = 'HUNDRED' AND released_at IS NULL}), '100', 'then there are a hundred again');
is(ask(q{SELECT count(*) FROM billing.coupon_usage WHERE coupon = 'HUNDRED' AND status = 'redeemed'}), '50', 'the paid ones are redeemed');
is(ask(q{SELECT count(*) FROM billing.coupon_usage u JOIN billing.invoice i USING (tenant_id, invoice_id) WHERE i.biz_key = 'second'}), '50', 'and fifty had the free ones');

# One tenant, thirty at once.
redeem(30, q{
\set key :client_id + 1
SELECT (billing.create_invoice(201, 'key' || :key, '[{"description": "x", "amount": "10"}]', coupon => 'THRICE')).status;
});
is(ask(q{SELECT count(*), sum(discount) FROM billing.invoice WHERE tenant_id = 201}), '3|15.00 USD', 'a tenant has it three times');
is(ask('SELECT * FROM billing.audit(); SELECT * FROM billing.verify_all();'), '', 'nothing is broken');

$node->stop;
done_testing();

sub ask { return $node->safe_psql('postgres', shift); }

# So many clients at once, once each; those that are refused end with an error.
sub redeem
{
	my ($clients, $body) = @_;
	my $script = PostgreSQL::Test::Utils::tempdir() . '/redeem.sql';
	append_to_file($script, $body);
	my ($out, $err) = ('', '');
	IPC::Run::run [ 'pgbench', '-n', '-c', $clients, '-j', '2', '-t', '1', '-f', $script, '-h', $node->host, '-p', $node->port, 'postgres' ], '>', \$out, '2>', \$err;
	my @errors = grep { /ERROR/ } split /\n/, $err;
	is(scalar(grep { !/is not applicable/ } @errors), 0, 'who is refused is told that the coupon is not applicable') or diag($err);
	cmp_ok(scalar @errors, '>', 0, 'and some are');
}
