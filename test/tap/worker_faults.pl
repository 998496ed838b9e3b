# What goes wrong around the worker and the sender: signals at the wrong moment, waits that swallow a wake, odd settings.
use strict;
use warnings FATAL => 'all';
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $processes = q{SELECT coalesce(string_agg(backend_type, ',' ORDER BY backend_type), '') FROM pg_stat_activity
	WHERE backend_type IN ('billing worker', 'billing sender')};
my $both = 'billing sender,billing worker';
my $node = PostgreSQL::Test::Cluster->new('worker_faults');
$node->init;
$node->append_conf('postgresql.conf', q{
shared_preload_libraries = 'billing'
billing.databases = 'postgres'
max_worker_processes = 20
autovacuum = off
fsync = off
});
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION billing');
runs($node, 'they run');

lost_wake();
launcher();
caught_cancel();
binary_upgrade();
without_preload();
done_testing();

# A commit while the worker waits for a lock sets its latch, which the wait resets: it is woken all the same.
sub lost_wake
{
	# Nothing else is to wake it: no job runs by itself.
	$node->safe_psql('postgres', q{INSERT INTO billing.job (name, is_enabled) SELECT name, false FROM billing.job_default});
	sleep 2;
	my $blocker = $node->background_psql('postgres', on_error_stop => 1);
	$blocker->query_safe('BEGIN; LOCK TABLE billing.job_state IN SHARE MODE');
	$node->safe_psql('postgres', q{UPDATE billing.job SET run_at = now() WHERE name = 'compact_usage'});
	ok($node->poll_query_until('postgres', q{SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'billing worker' AND wait_event_type = 'Lock'}),
		'the worker waits for a lock');
	my $before = $node->safe_psql('postgres', q{UPDATE billing.job SET run_at = now() WHERE name = 'enforce_expirations' RETURNING run_at});
	sleep 1;
	is($node->safe_psql('postgres', q{SELECT wait_event_type FROM pg_stat_activity WHERE backend_type = 'billing worker'}), 'Lock',
		'while something is committed');
	$blocker->query_safe('COMMIT');
	$blocker->quit;
	ok($node->poll_query_until('postgres', "SELECT started_at >= '$before' FROM billing.job_state WHERE name = 'enforce_expirations'"),
		'it sees to that when it has its lock');
	$node->safe_psql('postgres', 'DELETE FROM billing.job');
}

# What runs is canceled to stop it, and something of a user's may catch that: it stops behind the transaction at hand.
sub caught_cancel
{
	my $catches = q{SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'billing worker' AND wait_event = 'PgSleep' AND query = 'billing: bill_due'};
	$node->safe_psql('postgres', q{
INSERT INTO billing.setting (name, value) VALUES ('net_days', '1000');
CREATE FUNCTION public.stubborn(quantity numeric, parameters jsonb) RETURNS numeric IMMUTABLE LANGUAGE plpgsql AS $$
BEGIN
	PERFORM pg_sleep(3600);
	RETURN quantity;
EXCEPTION WHEN query_canceled THEN RETURN quantity;
END $$;
INSERT INTO billing.strategy (code, function) VALUES ('stubborn', 'public.stubborn');
INSERT INTO billing.meter (code) VALUES ('calls');
INSERT INTO billing.plan (plan_id, code, name, cycle) VALUES (1, 'stubborn', 'Stubborn', '1 month');
INSERT INTO billing.price (plan_id, code, name, strategy, meter) VALUES (1, 'calls', 'Calls', 'stubborn', 'calls');
BEGIN;
SELECT billing.create_tenant(1, 'Tenant', 'USD');
SELECT billing.subscribe(1, 'stubborn', at => now() - interval '12 months 2 days');
COMMIT});
	ok($node->poll_query_until('postgres', "SELECT ($catches) = 1"), 'a run is under way that does not let itself be canceled');
	is($node->safe_psql('postgres', 'SELECT billing.stop_worker()'), 't', 'it stops behind what it is at');
	cmp_ok($node->safe_psql('postgres', 'SELECT count(*) FROM billing.invoice'), '<', 4, 'which is kept or not, and the rest is left');
	$node->safe_psql('postgres', q{UPDATE billing.subscription SET due_at = NULL; SELECT billing.start_worker()});
}

# The launcher comes back, and knows those that the one before it started.
sub launcher
{
	my $launcher = q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'billing launcher'};
	my $pid = $node->safe_psql('postgres', $launcher);
	my $before = $node->safe_psql('postgres', q{SELECT string_agg(pid::text, ',' ORDER BY pid) FROM pg_stat_activity WHERE backend_type IN ('billing worker', 'billing sender')});
	$node->safe_psql('postgres', "SELECT pg_terminate_backend($pid)");
	ok($node->poll_query_until('postgres', "SELECT coalesce(($launcher) <> $pid, false)"), 'a launcher that somebody ends comes back');
	is($node->safe_psql('postgres', q{SELECT string_agg(pid::text, ',' ORDER BY pid) FROM pg_stat_activity WHERE backend_type IN ('billing worker', 'billing sender')}),
		$before, 'and starts none beside those that run');
	$node->append_conf('postgresql.conf', q{billing.databases = ''});
	$node->reload;
	ok($node->poll_query_until('postgres', "SELECT ($processes) = ''"), 'it stops those of the launcher before it');
	$node->append_conf('postgresql.conf', q{billing.databases = 'postgres'});
	$node->reload;
	runs($node, 'and starts them');

	# Whoever ends again and again is started ever later, but at once when somebody asks.
	for (1 .. 3)
	{
		runs($node, 'they run');
		$node->safe_psql('postgres', q{SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE backend_type = 'billing worker'});
	}
	is($node->safe_psql('postgres', 'SELECT billing.start_worker()'), 't', 'one that ended thrice is started when it is asked for');
}

# pg_upgrade runs the old and the new server so, and copies what must not change.
sub binary_upgrade
{
	$node->stop;
	system_or_bail('pg_ctl', '-w', '-D', $node->data_dir, '-l', $node->logfile, '-o', '-b', 'start');
	$node->_update_pid(1);
	is($node->safe_psql('postgres', q{SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'billing%'}), '0', 'nothing runs while pg_upgrade does');
	$node->stop;
}

# One that was on its way when it was stopped does not stay.
sub without_preload
{
	my $plain = PostgreSQL::Test::Cluster->new('worker_faults_plain');
	$plain->init;
	$plain->append_conf('postgresql.conf', "fsync = off\nautovacuum = off");
	$plain->start;
	$plain->safe_psql('postgres', 'CREATE DATABASE shop');
	$plain->safe_psql('shop', 'CREATE EXTENSION billing');

	# The postmaster, which is to start them, stands still; who asked for them waits for ten seconds.
	my ($asks, $stops) = map { $plain->background_psql('shop', on_error_stop => 0) } 1 .. 2;
	my ($postmaster) = split /\n/, slurp_file($plain->data_dir . '/postmaster.pid');
	kill 'STOP', $postmaster;
	$asks->query_until(qr/asked/, "\\echo asked\nSELECT 'started', billing.start_worker();\n");
	my $stopped = $stops->query(q{SELECT pg_sleep(1); SELECT billing.stop_worker()});
	kill 'CONT', $postmaster;
	like($stopped, qr/^f$/m, 'one that is on its way is not known');
	$asks->quit;
	$stops->quit;
	is($plain->safe_psql('postgres', $processes), '', 'and goes at once when it arrives');
	is($plain->safe_psql('shop', 'SELECT billing.start_worker()'), 't', 'until it is asked for again');

	# Stopped databases that are dropped leave their places to others.
	$plain->safe_psql('shop', 'SELECT billing.stop_worker()');
	$plain->safe_psql('postgres', join '', map { "CREATE DATABASE passing TEMPLATE shop;\n\\c passing\nSELECT billing.stop_worker();\n\\c postgres\nDROP DATABASE passing;\n" } 1 .. 64);
	$plain->safe_psql('postgres', 'CREATE EXTENSION billing');
	is($plain->safe_psql('postgres', 'SELECT billing.start_worker()'), 't', 'where many databases came and went there is room for another');
	$plain->safe_psql('postgres', 'SELECT billing.stop_worker()');
	$plain->stop;
	without_memory($plain);
}

# Other libraries have used up what memory there is for what nobody has asked for at the start: a wake is a hint only.
sub without_memory
{
	my ($plain) = @_;
	my $eater = PostgreSQL::Test::Utils::tempdir() . '/eat_shmem.so';
	my $config = $ENV{BILLING_HEADERS_PG_CONFIG} // 'pg_config';
	chomp(my ($cc, $headers) = map { scalar `$config $_` } '--cc', '--includedir-server');
	system_or_bail((split ' ', $cc)[0], '-std=gnu99', '-fPIC', '-shared', '-I', $headers, '-o', $eater, 'test/tap/eat_shmem.c');
	$plain->start;
	$plain->safe_psql('shop', "LOAD '$eater'");
	is($plain->safe_psql('shop', q{SELECT name FROM billing.create_tenant(1, 'Acme', 'USD')}), 'Acme', 'without shared memory flows work');
	$plain->safe_psql('shop', 'CALL billing.run_due()');
	is($plain->safe_psql('shop', q{SELECT count(*) > 1 FROM billing.job_state}), 't', 'and jobs');
	is($plain->safe_psql('shop', q{SELECT string_agg(status, ',') FROM billing.status() WHERE kind = 'process'}), 'not running,not running', 'status() answers');
	is($plain->safe_psql('shop', 'SELECT billing.stop_worker()'), 'f', 'there is no worker to stop');
	my ($result, $out, $err) = $plain->psql('shop', 'SELECT billing.start_worker()');
	like($err, qr/no shared memory is left for billing.*HINT:  Name billing in shared_preload_libraries/s, 'and none to start, which says why');
	$plain->stop;
}

sub runs
{
	my ($server, $what) = @_;
	ok($server->poll_query_until('postgres', "SELECT ($processes) = '$both'"), $what);
}
