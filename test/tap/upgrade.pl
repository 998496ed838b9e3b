# pg_upgrade takes a database over with every row; what it forgets is listed with a remedy, and bills go on.
use strict;
use warnings FATAL => 'all';
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

$ENV{PGTZ} = 'UTC';

my $old = PostgreSQL::Test::Cluster->new('old');
my $new = PostgreSQL::Test::Cluster->new('new');
$_->init for $old, $new;
$old->start;
$old->safe_psql('postgres', 'CREATE DATABASE shop');
$old->safe_psql('shop', <<'SQL');
CREATE EXTENSION billing;
SET billing.test_clock = '2026-01-31T00:00:00Z';
INSERT INTO billing.meter (code) VALUES ('calls');
INSERT INTO billing.plan (plan_id, code, name) VALUES (1, 'pro', 'Pro');
INSERT INTO billing.price (plan_id, code, tariff, meter) VALUES
	(1, 'base', '{"model":"flat","currency":"USD","amount":"29"}', NULL),
	(1, 'calls', '{"model":"per_unit","currency":"USD","unit_amount":"0.01"}', 'calls');
SELECT count(billing.create_tenant(t, 'Tenant ' || t)) FROM generate_series(1, 5) AS t;
SELECT count(billing.subscribe(t, 'pro')) FROM generate_series(1, 5) AS t;
INSERT INTO billing.usage_event (tenant_id, event_id, meter, quantity, at)
SELECT t, 'e' || n, 'calls', n, timestamptz '2026-01-31T00:00:00Z' + n * interval '1 hour' FROM generate_series(1, 5) AS t, generate_series(1, 20) AS n;
SET billing.test_clock = '2026-03-05T00:00:00Z';
CALL billing.bill_due();
SELECT (billing.create_invoice(1, 'setup', '[{"description": "Setup", "amount": "100"}]')).status;
SQL
is($old->safe_psql('shop', broken()), '', 'nothing is broken before');
my $rows = rows($old);
$old->stop;

# It writes a script into the folder where it runs.
chdir PostgreSQL::Test::Utils::tempdir();
my $bindir = $old->config_data('--bindir');
ok(run_log([ 'pg_upgrade', '--no-sync', '-b', $bindir, '-B', $bindir, '-d', $old->data_dir, '-D', $new->data_dir,
	'-s', $new->host, '-p', $old->port, '-P', $new->port ]), 'pg_upgrade');
$new->start;

is(rows($new), $rows, 'every row, of derived tables too');
is($new->safe_psql('shop', broken()), 'reference', 'audit() names what pg_upgrade forgot, and nothing else');
my $remedies = $new->safe_psql('shop', 'SELECT remedy FROM billing.reference_check WHERE NOT is_setwise');
isnt($remedies, '', 'reference_check has a remedy');
$new->safe_psql('shop', $remedies);
is($new->safe_psql('shop', broken()), '', 'after which nothing is broken');
$new->safe_psql('shop', q{SET billing.test_clock = '2026-04-05T00:00:00Z'; CALL billing.bill_due();
	SELECT billing.create_invoice(1, 'setup', '[{"description": "Setup", "amount": "100"}]')});
is($new->safe_psql('shop', q{SELECT count(*) FROM billing.invoice WHERE period_end >= '2026-03-31'}), '5', 'it bills on');
is($new->safe_psql('shop', broken()), '', 'and nothing is broken then');
$new->stop;
done_testing();

# What audit() and verify_all() find; the finding that stands for pg_upgrade's is shortened.
sub broken
{
	return q{SELECT DISTINCT CASE WHEN invariant LIKE 'foreign keys of bulk tables%' THEN 'reference' ELSE a::text END FROM billing.audit() a
		UNION ALL SELECT v::text FROM billing.verify_all() v};
}

# The number of rows of each table, and a digest of them all.
sub rows
{
	my ($node) = @_;
	my $tables = q{SELECT c.relname FROM pg_class c WHERE c.relnamespace = 'billing'::regnamespace AND c.relkind = 'r' ORDER BY 1};

	return join "\n", map {
		"$_ " . $node->safe_psql('shop', "SELECT count(*), md5(string_agg(t::text, E'\\n' ORDER BY t::text COLLATE \"C\")) FROM billing.$_ t")
	} split /\n/, $node->safe_psql('shop', $tables);
}
