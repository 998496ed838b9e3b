# Several bill runs at once share the work and bill nothing twice; fifty callers that build one invoice get the one invoice.
use strict;
use warnings FATAL => 'all';
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('concurrency');
$node->init;
$node->append_conf('postgresql.conf', "fsync = off\nmax_connections = 80");
$node->start;
$node->safe_psql('postgres', <<'SQL');
CREATE EXTENSION billing;
INSERT INTO billing.meter (code) VALUES ('calls');
INSERT INTO billing.plan (plan_id, code, name) VALUES (1001, 'pro', 'Pro');
INSERT INTO billing.price (plan_id, code, tariff, meter) VALUES
	(1001, 'base', '{"model":"flat","currency":"USD","amount":"29"}', NULL),
	(1001, 'calls', '{"model":"per_unit","currency":"USD","unit_amount":"0.01"}', 'calls');
SET billing.test_clock = '2026-01-31T00:00:00Z';
SELECT count(billing.create_tenant(t, 'Tenant ' || t)) FROM generate_series(1, 201) t;
SELECT count(billing.subscribe(t, 'pro')) FROM generate_series(1, 201) t;
SET billing.test_clock = '2026-06-01T00:00:00Z';
INSERT INTO billing.usage_event (tenant_id, event_id, meter, quantity, at)
SELECT t, 'e' || n, 'calls', n, '2026-01-31T00:00:00Z'::timestamptz + n * interval '11 hours' FROM generate_series(1, 201) t, generate_series(1, 200) n;
SQL

# Fifty at once, one boundary of one subscription.
my $script = PostgreSQL::Test::Utils::tempdir() . '/build.sql';
append_to_file($script, q{SELECT (billing.build_invoice(201, (SELECT subscription_id FROM billing.subscription WHERE tenant_id = 201),
	'2026-01-31T00:00:00Z', '2026-02-28T00:00:00Z')).invoice_id AS id \gset
INSERT INTO got VALUES (:id);
});
$node->safe_psql('postgres', 'CREATE TABLE got (invoice_id bigint)');
$node->command_ok([ 'pgbench', '-n', '-c', '50', '-j', '2', '-t', '1', '-f', $script, '-h', $node->host, '-p', $node->port, 'postgres' ], 'fifty callers end well');
is($node->safe_psql('postgres', 'SELECT count(*), count(DISTINCT invoice_id) FROM got'), '50|1', 'all of them got one invoice');
is($node->safe_psql('postgres', q{SELECT count(*), count(DISTINCT number) FROM billing.invoice WHERE tenant_id = 201}), '2|2', 'and there is one, beside that of the start');

# Four runs at once, in batches of seven.
my @callers = map { IPC::Run::start([ 'psql', '-XAtq', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('postgres'),
	'-c', "CALL billing.bill_due('2026-06-01T00:00:00Z', 7)" ], '>', '/dev/null', '2>&1') } 1 .. 4;
ok($_->finish, 'a caller among four ends well') for @callers;
is($node->safe_psql('postgres', 'SELECT count(*), count(DISTINCT (tenant_id, biz_key)) FROM billing.invoice'), '1005|1005', 'every boundary is billed once');
is($node->safe_psql('postgres', q{SELECT count(*) FROM billing.subscription WHERE due_at <= '2026-06-01T00:00:00Z'}), '0', 'none is left');
is($node->safe_psql('postgres', 'SELECT min(c), max(c), min(s), max(s) FROM (SELECT count(*) AS c, sum(total) AS s FROM billing.invoice GROUP BY tenant_id) t'),
	$node->safe_psql('postgres', 'SELECT count(*), count(*), sum(total), sum(total) FROM billing.invoice WHERE tenant_id = 1'), 'of each tenant as much as of the others');
is($node->safe_psql('postgres', 'SELECT * FROM billing.audit(); SELECT * FROM billing.verify_all();'), '', 'nothing is broken');

$node->stop;
done_testing();
