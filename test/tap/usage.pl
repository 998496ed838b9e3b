# A server that is killed while it compacts has summed up nothing twice and nothing
# too little once it runs again, and the next call goes on where it stopped.
use strict;
use warnings FATAL => 'all';
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

my $kills = 5;
my $node = PostgreSQL::Test::Cluster->new('usage');
$node->init;
$node->append_conf('postgresql.conf', "fsync = off\nautovacuum = off");
$node->start;
$node->safe_psql('postgres', <<'SQL');
CREATE EXTENSION billing;
INSERT INTO billing.tenant (tenant_id, name) SELECT t, 'tenant' FROM generate_series(1, 400) t;
INSERT INTO billing.meter (code) VALUES ('calls');
SQL

my $batch = 0;
my $record = sub {
	$batch++;
	$node->safe_psql('postgres', "INSERT INTO billing.usage_event (tenant_id, event_id, meter, quantity, at)"
		. " SELECT 1 + i % 400, 'b$batch-' || i, 'calls', i % 17 - 3, timestamptz '2026-03-01Z' + i * interval '77 seconds'"
		. " FROM generate_series(1, 20000) i");
};

# Tenants whose totals are not those of their events, and events that are in no rollup.
my $wrong = "SELECT count(*) FROM generate_series(1, 400) t"
	. " CROSS JOIN LATERAL billing.usage_total(t, 'calls', '{0}', '-infinity', 'infinity', true) u"
	. " CROSS JOIN LATERAL (SELECT count(*) AS events, sum(quantity) AS sum, billing.digest_sum(billing.usage_digest(event_id,"
	. " meter, subscription_id, quantity, at)) AS digest FROM billing.usage_event e WHERE e.tenant_id = t) e"
	. " WHERE (u.events, u.sum, u.digest) IS DISTINCT FROM (e.events, e.sum, e.digest)";
my $compacted = "SELECT sum(events) FROM billing.usage_rollup WHERE level = 'd'";

my $progress = 0;
for my $kill (1 .. $kills)
{
	$record->();
	my $compaction = IPC::Run::start [ 'psql', '-XAtq', '-d', $node->connstr('postgres'), '-c', 'CALL billing.compact_usage(7)' ],
		'>', '/dev/null', '2>', '/dev/null';
	usleep(60_000 + int rand 250_000);
	$node->stop('immediate');
	$compaction->finish;
	$node->start;
	is($node->safe_psql('postgres', $wrong), '0', "killed for the ${kill}. time: every total is that of the events");
	$progress = $node->safe_psql('postgres', "SELECT coalesce(($compacted), 0)");
	note("$progress of ", $kill * 20000, ' events compacted');
}

$node->safe_psql('postgres', 'CALL billing.compact_usage(7)');
is($node->safe_psql('postgres', $compacted), $kills * 20000, 'a call that is not killed compacts the rest');
is($node->safe_psql('postgres', $wrong), '0', 'and every total is that of the events');

# Several at once.
$record->();
my @callers = map { IPC::Run::start [ 'psql', '-XAtq', '-d', $node->connstr('postgres'), '-c', 'CALL billing.compact_usage(11)' ],
	'>', '/dev/null', '2>&1' } 1 .. 3;
ok($_->finish, 'a caller among others ends well') for @callers;
is($node->safe_psql('postgres', $compacted), ($kills + 1) * 20000, 'and together they add each event once');
is($node->safe_psql('postgres', $wrong), '0', 'with the totals of the events');

$node->stop;
done_testing();
