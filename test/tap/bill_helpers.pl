# A bill run with helpers bills what one without bills, once, at the caller's clock; they end with it, and with its failure.
use strict;
use warnings FATAL => 'all';
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $helpers = q{SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'billing helper'};
my $node = PostgreSQL::Test::Cluster->new('bill_helpers');
$node->init;
$node->append_conf('postgresql.conf', "fsync = off\nautovacuum = off\nmax_worker_processes = 12\nbilling.max_workers = 3");
$node->start;
$node->safe_psql('postgres', q{
CREATE EXTENSION billing;
SET billing.test_clock = '2026-01-01T00:00:00Z';
INSERT INTO billing.setting (name, value) VALUES ('net_days', '1000');
CREATE FUNCTION public.slow(quantity numeric, parameters jsonb) RETURNS numeric IMMUTABLE LANGUAGE plpgsql AS
$$ BEGIN PERFORM pg_sleep(0.02); RETURN quantity; END $$;
INSERT INTO billing.strategy (code, function) VALUES ('slow', 'public.slow');
INSERT INTO billing.meter (code) VALUES ('calls');
INSERT INTO billing.plan (plan_id, code, name, cycle) VALUES (1, 'slow', 'Slow', '1 month');
INSERT INTO billing.price (plan_id, code, name, strategy, meter) VALUES (1, 'calls', 'Calls', 'slow', 'calls');
SELECT billing.create_tenant(n, 'T', 'USD') FROM generate_series(1, 400) n;
SELECT billing.subscribe(n, 'slow') FROM generate_series(1, 400) n;
SET billing.test_clock = '2026-01-20T00:00:00Z';
INSERT INTO billing.usage_event (tenant_id, event_id, meter, quantity, at) SELECT n, 'e', 'calls', n, '2026-01-10' FROM generate_series(1, 400) n;
});

# The session's clock lies behind the real one: what bills under another clock shows.
my $run = start_run('2026-02-01T00:00:00Z');
ok($node->poll_query_until('postgres', "SELECT ($helpers) = 2"), 'as many helpers as billing.max_workers says, beside the run');
ok($node->poll_query_until('postgres', q{SELECT done > 0 AND total = 400 FROM billing.progress}), 'and what they do is seen as one');
$run->finish;
is($node->safe_psql('postgres', q{SELECT count(*), count(DISTINCT tenant_id), min(created_at) = max(created_at), min(created_at) = '2026-02-01Z' FROM billing.invoice}),
	'400|400|t|t', 'each is billed once, at the clock of the caller');
is($node->safe_psql('postgres', $helpers), '0', 'none goes on behind the end of the run');
is($node->safe_psql('postgres', 'SELECT * FROM billing.progress'), '', 'and nothing is under way');

# Canceled, it takes them along; the next one finds what is left.
$node->safe_psql('postgres', q{SET billing.test_clock = '2026-02-20T00:00:00Z';
INSERT INTO billing.usage_event (tenant_id, event_id, meter, quantity, at) SELECT n, 'f', 'calls', n, '2026-02-10' FROM generate_series(1, 400) n});
$run = start_run('2026-03-01T00:00:00Z');
$node->poll_query_until('postgres', "SELECT ($helpers) = 2");
$node->poll_query_until('postgres', 'SELECT count(*) > 400 FROM billing.invoice');
$node->safe_psql('postgres', q{SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE query LIKE 'CALL billing.bill_due%'});
$run->finish;
ok($node->poll_query_until('postgres', "SELECT ($helpers) = 0"), 'they end with a run that is canceled');
my $part = $node->safe_psql('postgres', 'SELECT count(*) FROM billing.invoice');
ok($part > 400 && $part < 800, "$part invoices are there then");
start_run('2026-03-01T00:00:00Z')->finish;
is($node->safe_psql('postgres', q{SELECT count(*), count(DISTINCT (tenant_id, biz_key)) FROM billing.invoice}), '800|800', 'the rest is billed by the next one');
is($node->safe_psql('postgres', 'SELECT * FROM billing.audit()'), '', 'and nothing is broken');
is($node->safe_psql('postgres', 'SELECT * FROM billing.verify_all()'), '', 'and all is as its sources say');

# So does run_due() where the run fails and it goes on with the other jobs.  What fails here is no tenant's fault.
$node->safe_psql('postgres', q{SET billing.test_clock = '2026-03-20T00:00:00Z';
INSERT INTO billing.usage_event (tenant_id, event_id, meter, quantity, at) SELECT n, 'g', 'calls', CASE WHEN n = 1 THEN -1 ELSE n END, '2026-03-10'
FROM generate_series(1, 400) n;
CREATE OR REPLACE FUNCTION public.slow(quantity numeric, parameters jsonb) RETURNS numeric IMMUTABLE LANGUAGE plpgsql AS
$$ BEGIN
	IF quantity < 2 THEN RAISE EXCEPTION 'no room' USING ERRCODE = 'disk_full'; END IF;
	PERFORM pg_sleep(0.02); RETURN quantity;
END $$});
my (undef, undef, $warnings) = $node->psql('postgres', q{SET billing.test_clock = '2026-04-01T00:00:00Z'; CALL billing.run_due(batch => 20)}, on_error_stop => 0);
like($warnings, qr/job bill_due failed: no room/, 'a run fails within run_due()');
ok($node->poll_query_until('postgres', "SELECT ($helpers) = 0"), 'its helpers end');
cmp_ok($node->safe_psql('postgres', 'SELECT count(*) FROM billing.invoice'), '<', 1000, 'and do not bill everybody who is left');
is($node->safe_psql('postgres', q{SELECT count(*) > 1 AND bool_and(failures = 0) FROM billing.job_state WHERE name <> 'bill_due'}), 't', 'the other jobs are done');
$node->safe_psql('postgres', q{CREATE OR REPLACE FUNCTION public.slow(quantity numeric, parameters jsonb) RETURNS numeric IMMUTABLE LANGUAGE sql RETURN quantity});

# Where there is no room for helpers the run does all itself; in a transaction it asks for none.
is($node->safe_psql('postgres', q{BEGIN; SET LOCAL billing.test_clock = '2026-04-01T00:00:00Z'; CALL billing.bill_due(batch => 20);
SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'billing helper'; ROLLBACK}), '0', 'a forecast has no helpers');
$node->append_conf('postgresql.conf', 'max_worker_processes = 1');
$node->restart;
start_run('2026-04-01T00:00:00Z')->finish;
is($node->safe_psql('postgres', q{SELECT count(*) FROM billing.subscription WHERE due_at > '2026-04-01Z'}), '400', 'without room for them the run does all itself');
$node->stop;
done_testing();

sub start_run
{
	my ($clock) = @_;
	my $run = IPC::Run::start([ 'psql', '-X', '-q', '-d', $node->connstr('postgres'), '-c', "SET billing.test_clock = '$clock'", '-c', 'CALL billing.bill_due(batch => 20)' ],
		'>', \my $out, '2>', \my $err);
	return $run;
}
