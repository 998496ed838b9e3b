# Whoever fills the hook of collect.h is asked for each attempt once, in the transaction that writes it, and may answer at once or later;
# what it raises is one attempt's alone; a server that is killed meanwhile has made an attempt or has not.
use strict;
use warnings FATAL => 'all';
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

$ENV{PGTZ} = 'UTC';

my $hook = PostgreSQL::Test::Utils::tempdir() . '/collect_hook.so';
my $node = PostgreSQL::Test::Cluster->new('collect');
$node->init;
$node->start;
# The server's own pg_config, of which the one that runs here is a copy elsewhere.
my $config = $ENV{BILLING_HEADERS_PG_CONFIG} // 'pg_config';
chomp(my ($cc, $headers) = map { scalar `$config $_` } '--cc', '--includedir-server');
system_or_bail((split ' ', $cc)[0], '-std=gnu99', '-fPIC', '-shared', '-I', 'src', '-I', $headers, '-o', $hook, 'test/tap/collect_hook.c');
chmod 0755, $hook, PostgreSQL::Test::Utils::tempdir();

$node->safe_psql('postgres', <<'SQL');
CREATE EXTENSION billing;
SET billing.test_clock = '2026-01-01T00:00:00Z';
INSERT INTO billing.plan (plan_id, code, name, cycle) VALUES (1, 'pro', 'Pro', '1 year');
INSERT INTO billing.price (plan_id, code, tariff) VALUES (1, 'base', '{"model":"flat","currency":"USD","amount":"29"}');
SELECT count(billing.create_tenant(t, 'Tenant ' || t)), count(billing.subscribe(t, 'pro')) FROM generate_series(1, 5) AS t;
SELECT billing.update_tenant(5, '{"settings": {"collection": "send_invoice"}}');
SQL

# At the due date.
is(run('2026-01-01T00:00:01Z', 'SELECT billing.dunning() > 0'), 't', 'the job');
is(attempts(), <<'EOT', 'each attempt is as the collector answered');
1|0|0|succeeded|test||||
2|0|0|failed|stripe|insufficient_funds|soft|no|2026-01-03 00:00:01+00
3|0|0|pending|||||
4|0|0|failed||error|soft|the collector is odd|2026-01-01 01:00:01+00
EOT
is(states(), "1 active paid\n2 past_due open\n3 active open\n4 past_due open\n5 past_due open\n", 'what is under way is waited for');

# A retry is asked for like any other; who raises is tried again in time.
is(run('2026-01-01T01:30:00Z', 'SELECT billing.retry_payments()'), '1', 'the hourly job');
is(attempts('tenant_id = 4 AND retry_no = 1'), "4|0|1|failed||error|soft|the collector is odd|2026-01-01 02:30:00+00\n", 'a retry');

# An answer that comes later; one that never comes; and one that is for good.
is(run('2026-01-02T00:00:01Z', 'SELECT billing.dunning() > 0'), 't', 'a day later');
is(attempts('tenant_id = 3'), "3|0|0|failed||timeout|soft||2026-01-02 01:00:01+00\n", 'nobody answered');
is(run('2026-01-04T00:00:01Z', 'SELECT billing.dunning() > 0'), 't', 'the next attempt');
is(attempts('attempt_no = 1'), "2|1|0|failed|stripe|lost_card|hard|no|\n3|1|0|pending|||||\n4|1|0|failed||error|soft|the collector is odd|2026-01-04 01:00:01+00\n", 'of those that owe');
$node->safe_psql('postgres', q{SET billing.test_clock = '2026-01-04T02:00:00Z';
	SELECT billing.fail_attempt(3, invoice_id, 'insufficient_funds', 'stripe') FROM billing.collection_attempt WHERE tenant_id = 3 AND status = 'pending'});
is(attempts('tenant_id = 3 AND attempt_no = 1'), "3|1|0|failed|stripe|insufficient_funds|soft||2026-01-06 02:00:00+00\n", 'an answer later');
is(run('2026-01-07T00:00:01Z', 'SELECT billing.dunning() > 0'), 't', 'the one after');
is(attempts('attempt_no = 2'), "3|2|0|pending|||||\n4|2|0|failed||error|soft|the collector is odd|2026-01-07 01:00:01+00\n", 'nothing is tried after a hard decline');

# Killed before the commit, nothing was made; then it is made once.
my $session = $node->background_psql('postgres');
$session->query_safe("LOAD 'billing'; LOAD '$hook'; SET billing.test_clock = '2026-01-10T00:00:01Z'; BEGIN; SELECT billing.dunning()");
$node->stop('immediate');
$node->start;
eval { $session->quit };
is(attempts('attempt_no = 3'), '', 'what was not committed was not made');
is(run('2026-01-10T00:00:01Z', 'SELECT billing.dunning() > 0; SELECT billing.dunning(); SELECT billing.dunning()'), "t\n0\n0", 'the job again, and again');
is($node->safe_psql('postgres', 'SELECT string_agg(tenant_id::text, $$,$$ ORDER BY tenant_id) FROM billing.collection_attempt WHERE attempt_no = 3'), '3,4', 'made once, of those that owe and are not stopped');

# A retry that nobody answers has failed when the time for that is over, and not at the next look of the day.
$node->safe_psql('postgres', q{SET billing.test_clock = '2026-02-01T00:00:00Z';
	SELECT billing.create_tenant(6, 'Tenant 6', details => '{"settings": {"pending_timeout": "2 hours"}}'); SELECT billing.subscribe(6, 'pro')});
run("2026-02-01T$_", 'SELECT billing.dunning(), billing.dunning()') for '00:00:00Z', '02:00:00Z';
is(run('2026-02-01T03:00:00Z', 'SELECT billing.retry_payments() > 0'), 't', 'it is tried again');
is(attempts('tenant_id = 6 AND retry_no = 1'), "6|0|1|pending|||||\n", 'and nobody answers');
run('2026-02-01T05:00:00Z', 'SELECT billing.dunning()');
is(attempts('tenant_id = 6 AND retry_no = 1'), "6|0|1|failed||timeout|soft||2026-02-01 06:00:00+00\n", 'it has failed two hours later');

# What waits for its first payment is not asked for when its time is over, though somebody could pay now.
$node->safe_psql('postgres', q{SET billing.test_clock = '2026-03-01T00:00:00Z';
	SELECT billing.create_tenant(7, 'Tenant 7'); SELECT billing.subscribe(7, 'pro', activate => 'on_payment')});
run('2026-03-20T00:00:00Z', 'SELECT billing.dunning(), billing.dunning()');
is($node->safe_psql('postgres', q{SELECT s.status, i.status FROM billing.subscription s JOIN billing.invoice i USING (tenant_id, subscription_id) WHERE tenant_id = 7}), 'expired|void',
	'what waited lapses');
is(attempts('tenant_id = 7'), '', 'before anybody is asked');
is($node->safe_psql('postgres', 'SELECT * FROM billing.audit()'), '', 'nothing is broken');
$node->stop;
done_testing();

# With the collector, at an instant.
sub run
{
	my ($clock, $sql) = @_;

	return $node->safe_psql('postgres', "LOAD 'billing'; LOAD '$hook'; SET billing.test_clock = '$clock'; $sql");
}

sub attempts
{
	my ($where) = @_;
	my $rows = $node->safe_psql('postgres', 'SELECT tenant_id, attempt_no, retry_no, status, gateway, code, class, message, retry_at FROM billing.collection_attempt'
		. ' WHERE ' . ($where // 'true') . ' ORDER BY 1, 2, 3');

	return $rows eq '' ? '' : "$rows\n";
}

sub states
{
	return $node->safe_psql('postgres', q{SELECT s.tenant_id || ' ' || s.status || ' ' || i.status FROM billing.subscription s JOIN billing.invoice i USING (tenant_id, subscription_id) ORDER BY 1}) . "\n";
}
