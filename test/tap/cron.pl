# pg_cron calls billing.run_due(): what is due is done with no worker, a transaction per step, as the role that scheduled it.
use strict;
use warnings FATAL => 'all';
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $sharedir = `pg_config --sharedir`;
chomp $sharedir;
plan skip_all => "this PostgreSQL has no pg_cron; Debian's package is postgresql-15-cron" if !-f "$sharedir/extension/pg_cron.control";

my $node = PostgreSQL::Test::Cluster->new('cron');
$node->init;
$node->append_conf('postgresql.conf', q{
shared_preload_libraries = 'billing,pg_cron'
cron.database_name = 'shop'
cron.use_background_workers = on
max_worker_processes = 20
autovacuum = off
fsync = off
});
$node->start;
$node->safe_psql('postgres', 'CREATE DATABASE shop');
$node->safe_psql('shop', q{
CREATE EXTENSION billing;
CREATE EXTENSION pg_cron;
INSERT INTO billing.setting (name, value) VALUES ('net_days', '1000');
INSERT INTO billing.plan (plan_id, code, name, cycle) VALUES (1, 'pro', 'Pro', '1 month');
INSERT INTO billing.price (plan_id, code, name, tariff) VALUES (1, 'base', 'Base', '{"model":"flat","currency":"USD","amount":"49"}');
SELECT billing.create_tenant(n, 'Acme', 'USD') FROM generate_series(1, 3) n;
SELECT billing.subscribe(n, 'pro', at => now() - interval '3 months 2 days') FROM generate_series(1, 3) n;
CREATE ROLE scheduler LOGIN;
GRANT USAGE ON SCHEMA cron TO scheduler;
SELECT billing.grant_access('scheduler', 'admin');
ALTER FUNCTION billing.expire_credit(integer) RENAME TO away;
INSERT INTO billing.job (name, run_at) VALUES ('expire_credit', now());
SET ROLE scheduler;
SELECT cron.schedule('billing', '* * * * *', 'CALL billing.run_due()')});

# A job of pg_cron runs as a minute begins.
ok($node->poll_query_until('shop', q{SELECT count(*) = 12 FROM billing.invoice}), 'what was due is billed');
ok($node->poll_query_until('shop', q{SELECT count(*) > 0 FROM cron.job_run_details WHERE status = 'succeeded'}), 'the call succeeds, though one job fails');
is($node->safe_psql('shop', q{SELECT username || ' ' || return_message FROM cron.job_run_details ORDER BY runid LIMIT 1}), 'scheduler CALL',
	'as the role that scheduled it');
is($node->safe_psql('shop', q{SELECT failures > 0, sqlstate FROM billing.job_state WHERE name = 'expire_credit'}), 't|42883', 'the one that fails is noted');
is($node->safe_psql('shop', q{SELECT failures, done FROM billing.job_state WHERE name = 'bill_due'}), '0|9', 'and disturbs no other');
is($node->safe_psql('shop', q{SELECT count(DISTINCT xmin::text) > 1 FROM billing.job_state}), 't', 'each in transactions of its own');
is($node->safe_psql('shop', q{SELECT count(*) FROM pg_stat_activity WHERE backend_type IN ('billing worker', 'billing sender')}), '0', 'without a worker');
is($node->safe_psql('shop', 'SELECT * FROM billing.audit()'), '', 'and nothing is broken');
$node->stop;
done_testing();
