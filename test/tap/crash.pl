# A bill run that is killed with the whole server, at any moment and as often as it may be, and run again ends as one that
# nobody disturbed: every invoice once, nothing broken.  So does one of two callers whose backend is killed.
# BILLING_KILLS says how often (10).
use strict;
use warnings FATAL => 'all';
use FindBin;
use lib $FindBin::Bin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Restart;
use Test::More;
use Time::HiRes qw(usleep);

my $kills = $ENV{BILLING_KILLS} || 10;
my $node = PostgreSQL::Test::Cluster->new('crash');
$node->init;
$node->append_conf('postgresql.conf', "fsync = off\nrestart_after_crash = on");
$node->start;
$node->safe_psql('postgres', 'CREATE DATABASE shop');
$node->safe_psql('shop', shop());
$node->safe_psql('postgres', 'CREATE DATABASE undisturbed TEMPLATE shop');
$node->safe_psql('undisturbed', run(20));
my $expected = $node->safe_psql('undisturbed', bills());
is($node->safe_psql('undisturbed', broken()), '', 'undisturbed: nothing is broken');
like($expected, qr/^1500\|/, 'undisturbed: as many invoices as there are boundaries');

my ($killed, $part_done, $whole) = (0, 0, 0);
fresh();
while ($killed < $kills)
{
	my $caller = start_run(5);

	# Any moment; every second time one at which some of it is billed, however fast the machine.
	wait_for_invoices(300 + int rand 400) if $killed % 2;
	usleep(int rand($killed % 2 ? 20_000 : 500_000));
	kill_server();
	$caller->finish;
	$node->start;
	$killed++;

	my ($invoices, $due) = split /\|/, $node->safe_psql('killed', q{SELECT (SELECT count(*) FROM billing.invoice),
		(SELECT count(*) FROM billing.subscription WHERE due_at <= '2026-05-31T12:00:00Z')});
	note("kill $killed: $invoices invoices, $due subscriptions due");
	$part_done++ if $invoices > 300 && $due > 0;
	next if $due > 0;
	check("run $whole, killed for the last time after $killed", 'killed');
	$whole++;
	fresh();
}
$node->safe_psql('killed', run(20));
check("run $whole, killed $killed times in all", 'killed');
cmp_ok($part_done, '>', 0, "$part_done of $killed kills came in the middle of a run");

# Two callers; the backend of one is killed, and with it go the others of its server, which starts again by itself.
fresh();
my @callers = map { start_run(10) } 1 .. 2;
my $pid;
for (1 .. 100)
{
	$pid = $node->safe_psql('postgres', q{SELECT min(pid) FROM pg_stat_activity WHERE query LIKE '%bill_due%' AND datname = 'killed'});
	last if $pid;
	usleep(20_000);
}
usleep(200_000);
is(kill('KILL', $pid), 1, 'the backend of one caller is killed');
$_->finish for @callers;
ok(Restart::wait_for($node, $pid), 'the server is back');
@callers = map { start_run(10) } 1 .. 2;
ok($_->finish, 'a caller ends well') for @callers;
check('two callers, one killed', 'killed');

$node->stop;
done_testing();

# 300 subscriptions of 240 tenants that began four months before: usage of each day, some in several currencies and zones.
sub shop
{
	return <<'SQL';
CREATE EXTENSION billing;
SET billing.test_clock = '2026-01-31T00:00:00Z';
INSERT INTO billing.meter (code, aggregation) VALUES ('calls', 'sum'), ('peak', 'max');
INSERT INTO billing.plan (plan_id, code, name, currency) VALUES (1001, 'pro', 'Pro', 'USD'), (1002, 'pro', 'Pro', 'JPY');
INSERT INTO billing.price (plan_id, code, tariff, meter)
SELECT p.plan_id, c.code, replace(c.tariff, 'XXX', p.currency)::billing.tariff, c.meter
FROM billing.plan p, (VALUES ('base', '{"model":"flat","currency":"XXX","amount":"29"}', NULL),
	('calls', '{"model":"graduated","currency":"XXX","tiers":[{"up_to":"100","unit_amount":"0.7"},{"up_to":null,"unit_amount":"0.3"}]}', 'calls'),
	('peak', '{"model":"per_unit","currency":"XXX","unit_amount":"2"}', 'peak')) c (code, tariff, meter);
SELECT count(billing.create_tenant(t, 'Tenant ' || t, CASE t % 3 WHEN 0 THEN 'JPY' ELSE 'USD' END,
	(ARRAY['UTC', 'America/New_York', 'Asia/Tokyo'])[1 + t % 3])) FROM generate_series(1, 240) t;
SELECT count(billing.subscribe(t, 'pro', at => '2026-01-31T00:00:00Z'::timestamptz + t * interval '1 minute' - interval '5 hours'))
FROM generate_series(1, 240) t;
SELECT count(billing.subscribe(t, 'pro', quantity => 2)) FROM generate_series(1, 240, 4) t;
SET billing.test_clock = '2026-05-31T12:00:00Z';
INSERT INTO billing.usage_event (tenant_id, event_id, meter, quantity, at)
SELECT t, m || n, m, 1 + (t + n) % 13, '2026-01-31T00:00:00Z'::timestamptz + n * interval '19 hours'
FROM generate_series(1, 240) t, unnest('{calls,peak}'::text[]) m, generate_series(0, 140) n;
SQL
}

sub run
{
	my ($batch) = @_;

	return "SET billing.test_clock = '2026-05-31T12:00:00Z'; CALL billing.bill_due('2026-05-31T12:00:00Z', $batch);";
}

# A statement a message: a CALL that commits is alone.
sub start_run
{
	my ($batch) = @_;

	return IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr('killed'),
		map { ('-c', $_) } "LOAD 'billing'", split /;\s*/, run($batch) ], '>', '/dev/null', '2>', '/dev/null');
}

# Until the run that goes on has made more invoices than that, or has come to its end.
sub wait_for_invoices
{
	my ($count) = @_;

	for (1 .. 1000)
	{
		my ($invoices, $due) = split /\|/, $node->safe_psql('killed', q{SELECT (SELECT count(*) FROM billing.invoice),
			(SELECT count(*) FROM billing.subscription WHERE due_at <= '2026-05-31T12:00:00Z')});
		return if $invoices > $count || $due == 0;
	}
}

sub fresh
{
	$node->safe_psql('postgres', $_) for 'DROP DATABASE IF EXISTS killed', 'CREATE DATABASE killed TEMPLATE shop';
}

# The postmaster first, so that it starts nothing; then all that it had started.
sub kill_server
{
	my ($postmaster) = split /\n/, slurp_file($node->data_dir . '/postmaster.pid');
	my @children = children($postmaster);

	$node->kill9;
	kill 'KILL', @children;
	for (1 .. 500)
	{
		last unless grep { kill 0, $_ } @children;
		usleep(10_000);
	}
}

sub children
{
	my ($parent) = @_;
	my @children;

	for my $file (glob '/proc/[0-9]*/stat')
	{
		open my $stat, '<', $file or next;
		my $line = <$stat> // '';
		push @children, $1 if $line =~ /^(\d+) \(.*\) \S $parent /;
	}
	return @children;
}

sub check
{
	my ($name, $db) = @_;

	is($node->safe_psql($db, bills()), $expected, "$name: the invoices of an undisturbed run, each once");
	is($node->safe_psql($db, broken()), '', "$name: nothing is broken");
}

# Every invoice and line but for ids and numbers, whose order of the subscriptions of one tenant is free.
sub bills
{
	return q{SELECT count(*), md5(string_agg(r::text, ';' ORDER BY r::text)) FROM (
		SELECT i.tenant_id, regexp_replace(i.biz_key, '^sub/\d+', format('sub/%s', (SELECT count(*) FROM billing.subscription s
			WHERE s.tenant_id = i.tenant_id AND s.subscription_id <= i.subscription_id))), i.status, i.total, i.tax, i.item_count, i.period_start,
			(SELECT string_agg(concat_ws('/', l.line, l.price_code, l.quantity, l.amount, l.period_start, l.usage_events, l.usage_digest), ',' ORDER BY l.line)
			FROM billing.invoice_item l WHERE l.tenant_id = i.tenant_id AND l.invoice_id = i.invoice_id)
		FROM billing.invoice i) r};
}

sub broken
{
	return 'SELECT * FROM billing.audit(); SELECT * FROM billing.verify_all();';
}
