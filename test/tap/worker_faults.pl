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
	$plain->stop;
}

sub runs
{
	my ($server, $what) = @_;
	ok($server->poll_query_until('postgres', "SELECT ($processes) = '$both'"), $what);
}
