# The worker and the sender of a database: they come by themselves, wait for the extension, run what is due, are never two of a
# kind, sleep for nothing, keep what they committed, and come back.
use strict;
use warnings FATAL => 'all';
use FindBin;
use lib $FindBin::Bin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Restart;
use Test::More;
use Time::HiRes qw(usleep);

my $running = q{SELECT string_agg(backend_type, ',' ORDER BY backend_type) FROM pg_stat_activity
	WHERE datname = 'shop' AND backend_type IN ('billing worker', 'billing sender')};
my $pids = q{SELECT string_agg(pid::text, ',' ORDER BY backend_type) FROM pg_stat_activity
	WHERE datname = 'shop' AND backend_type IN ('billing worker', 'billing sender')};
my $sleeps = q{SELECT count(*) = 1 FROM pg_stat_activity WHERE datname = 'shop' AND backend_type = 'billing worker'
	AND wait_event = 'PgSleep' AND query = 'billing: bill_due'};
my $both = 'billing sender,billing worker';

my $node = PostgreSQL::Test::Cluster->new('worker');
$node->init(allows_streaming => 1);
$node->append_conf('postgresql.conf', q{
shared_preload_libraries = 'billing'
billing.databases = 'shop, "other shop"'
max_worker_processes = 20
autovacuum = off
fsync = off
restart_after_crash = on
});
$node->start;

# Databases and the extension may come later.
is($node->safe_psql('postgres', q{SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'billing launcher'}), '1', 'there is a launcher');
is($node->safe_psql('postgres', $running), '', 'a database that does not exist has no processes');
$node->safe_psql('postgres', 'CREATE DATABASE shop');
$node->reload;
runs('they start once there is the database');
my $first = $node->safe_psql('postgres', $pids);
$node->safe_psql('shop', 'CREATE EXTENSION billing');
jobs_run('jobs run once there is the extension');
is($node->safe_psql('postgres', $pids), $first, 'by the processes that waited for it');
is($node->safe_psql('postgres', q{SELECT string_agg(DISTINCT application_name || ' ' || state, ',') FROM pg_stat_activity
	WHERE pid IN (} . "$first)"), 'billing sender idle,billing worker idle', 'which say who they are and what they do');

# What is due is billed: what was due before, and what falls due.
$node->safe_psql('shop', q{
SET timezone TO 'UTC';
INSERT INTO billing.setting (name, value) VALUES ('net_days', '1000');
INSERT INTO billing.plan (plan_id, code, name, cycle) VALUES (1, 'pro', 'Pro', '1 month');
INSERT INTO billing.price (plan_id, code, name, tariff) VALUES (1, 'base', 'Base', '{"model":"flat","currency":"USD","amount":"49"}');
SELECT billing.create_tenant(1, 'Acme', 'USD');
SELECT billing.subscribe(1, 'pro', at => now() - interval '3 months 2 days')});
billed('what was due is billed, each period on its own', 1, 4);
$node->safe_psql('shop', q{INSERT INTO billing.job (name, every) VALUES ('bill_due', '1 second');
SELECT billing.create_tenant(2, 'Soon', 'USD');
SELECT billing.subscribe(2, 'pro', at => now() - interval '1 month' + interval '3 seconds')});
billed('what falls due is billed then', 2, 2);
is($node->safe_psql('shop', q{SELECT max(i.created_at) >= max(i.period_end) FROM billing.invoice i WHERE tenant_id = 2}), 't', 'and not before');

# Settings of the database are none of theirs.
$node->safe_psql('postgres', q{
ALTER DATABASE shop SET billing.test_clock = '2020-01-01T00:00:00Z';
ALTER DATABASE shop SET default_transaction_read_only = on;
ALTER DATABASE shop SET statement_timeout = 1;
ALTER DATABASE shop SET search_path = nowhere;
ALTER DATABASE shop SET role = pg_monitor});
$node->restart;
runs('they start with the server');
$node->safe_psql('postgres', 'ALTER DATABASE shop RESET ALL');
$node->safe_psql('shop', q{SELECT billing.create_tenant(3, 'Read only', 'USD');
SELECT billing.subscribe(3, 'pro', at => now() - interval '1 month 2 days')});
billed('settings of the database do not reach them, the test clock least', 3, 2);

# Nobody who is asleep opens a transaction.
my $least;
for (1 .. 6)
{
	my $before = commits();
	sleep 5;
	my $opened = commits() - $before;
	$least = $opened if !defined $least || $opened < $least;
	last if $least == 0;
}
is($least, 0, 'idle, no transaction is opened');

# Never two of a kind.
$first = $node->safe_psql('postgres', $pids);
is($node->safe_psql('shop', 'SELECT billing.start_worker()'), 'f', 'start_worker() starts none beside those of the launcher');
is($node->safe_psql('postgres', $pids), $first, 'which go on');

# Stop frees the database, for as long as nobody starts them.
$node->safe_psql('shop', 'SELECT billing.stop_worker()');
is($node->safe_psql('shop', 'SELECT billing.stop_worker()'), 'f', 'stop_worker() twice stops nothing more');
$node->safe_psql('postgres', q{ALTER DATABASE shop RENAME TO renamed; ALTER DATABASE renamed RENAME TO shop; CREATE DATABASE copy TEMPLATE shop});
$node->reload;
sleep 1;
is($node->safe_psql('postgres', $running), '', 'stopped, the database is renamed and copied, and they stay away');
is($node->safe_psql('shop', 'SELECT billing.start_worker()'), 't', 'start_worker() starts them again');
runs('both');
is($node->safe_psql('copy', 'SELECT billing.start_worker()'), 't', 'start_worker() also starts those of a database that no setting names');
is($node->safe_psql('copy', 'SELECT billing.stop_worker()'), 't', 'and stop_worker() stops them');
$node->safe_psql('postgres', 'DROP DATABASE copy');

# The list of databases is read again.
$node->safe_psql('postgres', 'CREATE DATABASE "other shop"');
$node->reload;
ok($node->poll_query_until('postgres', q{SELECT count(*) = 2 FROM pg_stat_activity WHERE datname = 'other shop' AND backend_type LIKE 'billing%'}),
	'a database that is created has processes');
$node->append_conf('postgresql.conf', q{billing.databases = 'shop'});
$node->reload;
ok($node->poll_query_until('postgres', q{SELECT count(*) = 0 FROM pg_stat_activity WHERE datname = 'other shop'}), 'one that is named no more has none');
$node->safe_psql('postgres', 'DROP DATABASE "other shop"');
my ($result, $out, $err) = $node->psql('postgres', q{ALTER SYSTEM SET billing.databases = '"a'});
like($err, qr/invalid value for parameter "billing.databases"/, 'what is no list of names is refused');

# Whoever listens is told of events, once for many.
my $heard = $node->safe_psql('shop', q{LISTEN billing; SELECT count(*) FROM (SELECT billing.create_tenant(n, 'T', 'USD') FROM generate_series(100, 199) n) t;
SELECT pg_sleep(2); SELECT 1});
is(() = $heard =~ /notification "billing" received/g, 1, 'listeners hear of events, once of many');

# A job that fails disturbs no other.
$node->safe_psql('shop', 'ALTER FUNCTION billing.expire_credit(integer) RENAME TO away');
$node->safe_psql('shop', q{INSERT INTO billing.job (name, run_at) VALUES ('expire_credit', now());
SELECT billing.create_tenant(4, 'Beside', 'USD'); SELECT billing.subscribe(4, 'pro', at => now() - interval '1 month 2 days')});
ok($node->poll_query_until('shop', q{SELECT failures = 1 AND sqlstate = '42883' AND retry_at > now() FROM billing.job_state WHERE name = 'expire_credit'}),
	'a job that fails is noted');
billed('and the others go on', 4, 2);
$node->safe_psql('shop', q{ALTER FUNCTION billing.away(integer) RENAME TO expire_credit; UPDATE billing.job SET run_at = now() WHERE name = 'expire_credit'});
ok($node->poll_query_until('shop', q{SELECT failures = 0 AND error IS NULL FROM billing.job_state WHERE name = 'expire_credit'}),
	'and run again when somebody asks for it');

# The extension may go and come back, and be of another version.
$first = $node->safe_psql('postgres', $pids);
$node->safe_psql('shop', 'DROP EXTENSION billing; CREATE EXTENSION billing');
jobs_run('jobs run in an extension that was created again');
is($node->safe_psql('postgres', $pids), $first, 'by the same processes');
$node->safe_psql('shop', q{UPDATE pg_extension SET extversion = '99.0' WHERE extname = 'billing'; SELECT billing.wake()});
ok($node->poll_query_until('postgres', "SELECT ($running) IS NULL"), 'they leave an extension of another version');
is($node->safe_psql('shop', q{SELECT status FROM billing.status() WHERE kind = 'library'}), 'restart the server', 'status() says what to do');
like(slurp_file($node->logfile), qr/billing exits from database "shop": its library is of version/, 'and say why');
$node->safe_psql('shop', q{UPDATE pg_extension SET extversion = (SELECT default_version FROM pg_available_extensions WHERE name = 'billing') WHERE extname = 'billing'});
runs('and come back to their own');

# A stop in the middle: what was committed is kept, the rest is done later, once.
$node->safe_psql('shop', setup_slow());
$node->safe_psql('shop', subscribe_slow(1001, 1020));
ok($node->poll_query_until('shop', q{SELECT count(*) = 40 FROM billing.invoice}), 'the first batch is committed');
ok($node->poll_query_until('postgres', $sleeps), 'the second is under way, and shown');
is($node->safe_psql('shop', q{SELECT work, phase, done, total, rate > 0, estimated_end IS NOT NULL FROM billing.progress}), 'bill_due|billing|20|40|t|t',
	'and how far it is: a month of two');
is($node->safe_psql('shop', q{SELECT s.status, s.count, s.detail = 'pid=' || p.pid, s.last_at = p.started_at, s.duration > '0' FROM billing.status() s, billing.progress p
	WHERE s.kind = 'job' AND s.name = 'bill_due'}), 'running|20|t|t|t', 'status() says so of its job, too');
is($node->safe_psql('shop', q{SELECT name, status FROM billing.status() WHERE kind = 'process'}), "worker|running\nsender|running", 'status() says that they run');
is($node->safe_psql('shop', 'SELECT billing.stop_worker()'), 't', 'it stops, and does not wait for the hour that it would have taken');
is($node->safe_psql('shop', 'SELECT * FROM billing.progress'), '', 'nothing is under way any more');
is($node->safe_psql('shop', q{SELECT name, status FROM billing.status() WHERE kind = 'process'}), "worker|stopped\nsender|stopped", 'status() says that they were stopped');
is($node->safe_psql('shop', q{SELECT count(*), count(DISTINCT biz_key) FROM billing.invoice}), '40|40', 'what was committed is kept');
$node->safe_psql('shop', q{DELETE FROM public.slow; SELECT billing.start_worker()});
ok($node->poll_query_until('shop', q{SELECT count(*) = 60 FROM billing.invoice}), 'the rest is billed by the next one');
is($node->safe_psql('shop', 'SELECT * FROM billing.audit()'), '', 'and nothing is broken');

# Killed, they come back, and what they were at is done once.
for my $victim ('worker', 'postmaster')
{
	my $tenant = $victim eq 'worker' ? 50 : 51;
	$node->safe_psql('shop', subscribe_slow($tenant, $tenant));
	ok($node->poll_query_until('postgres', $sleeps), "$victim: a run is under way");
	if ($victim eq 'worker')
	{
		my $pid = $node->safe_psql('postgres', q{SELECT pid FROM pg_stat_activity WHERE datname = 'shop' AND backend_type = 'billing worker'});
		kill 'KILL', $pid;
		Restart::wait_for($node, $pid);
	}
	else
	{
		my @children = split /,/, $node->safe_psql('postgres', $pids);
		$node->kill9;
		for (1 .. 100)
		{
			last if !grep { kill 0, $_ } @children;
			usleep 100_000;
		}
		is(scalar(grep { kill 0, $_ } @children), 0, 'their processes end with the postmaster');
		$node->start;
	}
	runs("$victim killed: they come back");
	$node->poll_query_until('postgres', $sleeps);
	$node->safe_psql('shop', q{DELETE FROM public.slow;
		SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'shop' AND backend_type = 'billing worker'});
	billed("$victim killed: what it was at is billed, once", $tenant, 3);
}
is($node->safe_psql('shop', 'SELECT * FROM billing.audit()'), '', 'and nothing is broken');

# On a standby nothing runs; from its promotion on it does.
$node->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('worker_standby');
$standby->init_from_backup($node, 'base', has_streaming => 1);
$standby->start;
$node->wait_for_catchup($standby);
sleep 2;
is($standby->safe_psql('postgres', q{SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'billing%'}), '0', 'on a standby nothing runs');
($result, $out, $err) = $standby->psql('shop', 'SELECT billing.start_worker()');
like($err, qr/no worker runs on a standby/, 'and nothing is started');
$node->stop;
$standby->promote;
ok($standby->poll_query_until('postgres', "SELECT ($running) = '$both'"), 'after its promotion they start');
$standby->safe_psql('shop', q{SELECT billing.create_tenant(60, 'Promoted', 'USD'); SELECT billing.subscribe(60, 'pro', at => now() - interval '1 month 2 days')});
ok($standby->poll_query_until('shop', q{SELECT count(*) = 2 FROM billing.invoice WHERE tenant_id = 60}), 'and bill');
$standby->stop;

# Without preload they run when they are asked for.
my $plain = PostgreSQL::Test::Cluster->new('worker_plain');
$plain->init;
$plain->append_conf('postgresql.conf', "fsync = off\nautovacuum = off\nmax_worker_processes = 6");
$plain->start;
$plain->safe_psql('postgres', 'CREATE DATABASE shop');
$plain->safe_psql('shop', 'CREATE EXTENSION billing');
is($plain->safe_psql('shop', 'SELECT billing.start_worker()'), 't', 'without preload: start_worker() starts them');
is($plain->safe_psql('postgres', $running), $both, 'without preload: both');
is($plain->safe_psql('shop', 'SELECT billing.start_worker()'), 'f', 'without preload: once');
$plain->safe_psql('shop', q{
INSERT INTO billing.setting (name, value) VALUES ('net_days', '1000');
INSERT INTO billing.plan (plan_id, code, name, cycle) VALUES (1, 'pro', 'Pro', '1 month');
INSERT INTO billing.price (plan_id, code, name, tariff) VALUES (1, 'base', 'Base', '{"model":"flat","currency":"USD","amount":"49"}');
SELECT billing.create_tenant(1, 'Acme', 'USD');
SELECT billing.subscribe(1, 'pro', at => now() - interval '3 months 2 days')});
ok($plain->poll_query_until('shop', q{SELECT count(*) = 4 FROM billing.invoice}), 'without preload: they bill');
$plain->safe_psql('shop', 'SELECT billing.stop_worker()');
my @callers = map { IPC::Run::start([ 'psql', '-X', '-q', '-d', $plain->connstr('shop'), '-c', 'SELECT billing.start_worker()' ], '>', \my $answer, '2>', \my $error) } 1 .. 4;
$_->finish for @callers;
ok($plain->poll_query_until('postgres', "SELECT ($running) = '$both'"), 'without preload: many who start them at once get one of each');
$plain->safe_psql('shop', 'SELECT billing.stop_worker()');
$plain->safe_psql('postgres', 'ALTER DATABASE shop RENAME TO renamed');
is($plain->safe_psql('postgres', q{SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'billing%'}), '0', 'without preload: stop_worker() stops them');
$plain->safe_psql('postgres', 'CREATE DATABASE ' . $_) for map { "db$_" } 1 .. 4;
my $refused = '';
for my $db (map { "db$_" } 1 .. 4)
{
	$plain->safe_psql($db, 'CREATE EXTENSION billing');
	($result, $out, $err) = $plain->psql($db, 'SELECT billing.start_worker()');
	$refused .= $err;
}
like($refused, qr/could not be started.*max_worker_processes/s, 'where there is no room for more, start_worker() says so');
$plain->stop;
done_testing();

sub runs
{
	my ($what) = @_;
	ok($node->poll_query_until('postgres', "SELECT ($running) = '$both'"), $what);
}

sub jobs_run
{
	my ($what) = @_;
	ok($node->poll_query_until('shop', q{SELECT count(*) >= 2 FROM billing.job_state WHERE failures = 0}), $what);
}

sub billed
{
	my ($what, $tenant, $invoices) = @_;
	ok($node->poll_query_until('shop', "SELECT count(*) = $invoices FROM billing.invoice WHERE tenant_id = $tenant"), $what);
}

sub commits
{
	$node->safe_psql('postgres', q{SELECT pg_stat_clear_snapshot()});
	return $node->safe_psql('postgres', q{SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = 'shop'});
}

# A plan whose strategy sleeps for ever over a quantity of seven, while there is a row in public.slow.
sub setup_slow
{
	return q{
CREATE TABLE public.slow (is_slow boolean);
GRANT SELECT ON public.slow TO PUBLIC;
INSERT INTO billing.job (name, every) VALUES ('bill_due', '1 second');
INSERT INTO billing.setting (name, value) VALUES ('net_days', '1000');
CREATE FUNCTION public.sleepy(quantity numeric, parameters jsonb) RETURNS numeric IMMUTABLE LANGUAGE plpgsql AS $$
BEGIN
	IF quantity = 7 AND EXISTS (SELECT FROM public.slow) THEN PERFORM pg_sleep(3600); END IF;
	RETURN quantity;
END $$;
INSERT INTO billing.strategy (code, function) VALUES ('sleepy', 'public.sleepy');
INSERT INTO billing.meter (code) VALUES ('calls');
INSERT INTO billing.plan (plan_id, code, name, cycle) VALUES (1, 'pro', 'Pro', '1 month'), (2, 'slow', 'Slow', '1 month');
INSERT INTO billing.price (plan_id, code, name, tariff) VALUES (1, 'base', 'Base', '{"model":"flat","currency":"USD","amount":"49"}'),
	(2, 'base', 'Base', '{"model":"flat","currency":"USD","amount":"49"}');
INSERT INTO billing.price (plan_id, code, name, strategy, meter) VALUES (2, 'calls', 'Calls', 'sleepy', 'calls');
};
}

# Of some tenants, two months ago, with that quantity in the second month (of one tenant in the first).
sub subscribe_slow
{
	my ($from, $to) = @_;
	my $days = $from == $to ? 50 : 20;
	return qq{
INSERT INTO public.slow VALUES (true);
BEGIN;
SELECT billing.create_tenant(n, 'Slow', 'USD') FROM generate_series($from, $to) n;
SELECT billing.subscribe(n, 'slow', at => now() - interval '2 months 2 days') FROM generate_series($from, $to) n;
INSERT INTO billing.usage_event (tenant_id, event_id, meter, quantity, at)
SELECT n, 'e', 'calls', 7, now() - interval '$days days' FROM generate_series($from, $to) n;
COMMIT;
};
}
