# Settings hold in parallel workers, preloaded or not, however they were set; and a
# session whose first use of the library is a parallel operation loses none.
use strict;
use warnings FATAL => 'all';
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('parallel');
$node->init;
$node->append_conf('postgresql.conf', q{
max_worker_processes = 8
min_parallel_table_scan_size = 0
min_parallel_index_scan_size = 0
parallel_setup_cost = 0
parallel_tuple_cost = 0
});
$node->start;
$node->safe_psql('postgres', q{
CREATE EXTENSION billing;
CREATE ROLE clockwork SUPERUSER LOGIN;
ALTER ROLE clockwork SET billing.test_clock = '2026-01-01T00:00:00Z';
ALTER ROLE clockwork SET billing.tenant_id = '42';
CREATE TABLE money AS
	SELECT billing.from_minor_units(n, 'USD') AS a,
		('{"model":"flat","currency":"USD","amount":' || n % 100 || '}')::billing.tariff AS t
	FROM generate_series(1, 20000) n;
ALTER TABLE money SET (parallel_workers = 2);
ANALYZE money;
});

my $now = q{SELECT count(DISTINCT billing.now()), sum(a), count(*) FILTER (WHERE billing.now() = '2026-01-01T00:00:00Z') FROM money};
my $expected = '1|2000100.00 USD|20000';

my $kept = '';
my $offset = 0;

for my $preload ('', 'billing')
{
	my $how = $preload ? 'preloaded' : 'not preloaded';
	$node->append_conf('postgresql.conf', "shared_preload_libraries = '$preload'");
	$node->restart;

	for my $instant ('2026-01-01T00:00:00Z', '2026-01-01 00:00:00+00', '2026-01-01T01:00+01')
	{
		is($node->safe_psql('postgres', "LOAD 'billing'; SET billing.test_clock = '$instant'; $now"),
			$expected, "$how: $instant, set in the session, reaches the workers");
	}
	like($node->safe_psql('postgres', "LOAD 'billing'; SET billing.test_clock = '2026-01-01T00:00:00Z'; EXPLAIN $now"),
		qr/Workers Planned/, "$how: and there are workers");
	is($node->safe_psql('postgres', "LOAD 'billing'; $now", extra_params => [ '-U', 'clockwork' ]),
		$expected, "$how: so does that of a role");
	is($node->safe_psql('postgres', "LOAD 'billing'; SHOW billing.tenant_id", extra_params => [ '-U', 'clockwork' ]),
		'42', "$how: a role's tenant holds");
	$node->safe_psql('postgres', "LOAD 'billing'; SET billing.test_clock = '2026-01-01T00:00:00Z';
		CREATE INDEX by_amount ON money (a); CREATE INDEX by_tariff ON money (t); DROP INDEX by_amount, by_tariff");
	pass("$how: indexes are built under a test clock");

	# The first use of the library is the comparison in a parallel build; a worker that gets there before the leader
	# refuses says that it lost a setting.
	$kept .= slurp_file($node->logfile, $offset);
	my ($ret, $stdout, $stderr) = $node->psql('postgres',
		"CREATE INDEX first_use ON money (t); SHOW billing.tenant_id", extra_params => [ '-U', 'clockwork' ]);
	if ($preload)
	{
		is($stdout, '42', "$how: a parallel first use keeps the tenant");
	}
	else
	{
		like($stderr, qr/billing cannot be loaded by a parallel operation.*LOAD 'billing' first/s,
			"$how: a parallel first use is refused, not half done");
	}
	$offset = -s $node->logfile unless $preload;
	$node->safe_psql('postgres', 'DROP INDEX IF EXISTS first_use');
}
unlike(slurp_file($node->logfile), qr/terminated by signal/, 'no process died');
unlike($kept . slurp_file($node->logfile, $offset), qr/cannot be set during a parallel operation/,
	'and no setting was lost where none was refused');

$node->stop;
done_testing();
