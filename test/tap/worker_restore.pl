# A dump is restored beside a worker and a sender that wait for the extension: nothing is done before all is there.
use strict;
use warnings FATAL => 'all';
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('worker_restore');
$node->init;
$node->append_conf('postgresql.conf', q{
shared_preload_libraries = 'billing'
billing.databases = 'copy'
fsync = off
});
$node->start;

$node->safe_psql('postgres', 'CREATE DATABASE shop');
$node->safe_psql('shop', q{
CREATE EXTENSION billing;
INSERT INTO billing.setting (name, value) VALUES ('net_days', '1000');
INSERT INTO billing.plan (plan_id, code, name, cycle) VALUES (1, 'pro', 'Pro', '1 month');
INSERT INTO billing.price (plan_id, code, name, tariff) VALUES (1, 'base', 'Base', '{"model":"flat","currency":"USD","amount":"49"}');
CALL billing.run_due();
SELECT billing.create_tenant(1, 'Acme', 'USD');
SELECT billing.subscribe(1, 'pro', at => now() - interval '2 months 2 days')});
my $dump = PostgreSQL::Test::Utils::tempdir() . '/shop.dump';
command_ok([ 'pg_dump', '-Fc', '-f', $dump, '-d', $node->connstr('shop') ], 'a dump is made');

$node->safe_psql('postgres', 'CREATE DATABASE copy');
$node->reload;
ok($node->poll_query_until('postgres', q{SELECT count(*) = 2 FROM pg_stat_activity WHERE datname = 'copy' AND backend_type LIKE 'billing%'
	AND state = 'idle'}), 'processes wait in another database');
my $err;
# The harness gives programs a name of its own.
delete local $ENV{PGAPPNAME};
run_log([ 'pg_restore', '--exit-on-error', '-d', $node->connstr('copy'), $dump ], '2>', \$err);
is($err, '', 'it is restored there, beside them: nothing is there twice');
$node->safe_psql('copy', 'SELECT billing.wake()');
ok($node->poll_query_until('copy', 'SELECT count(*) = 3 FROM billing.invoice'), 'then they bill');
is($node->safe_psql('copy', 'SELECT * FROM billing.audit()'), '', 'and nothing is broken');
$node->stop;
done_testing();
