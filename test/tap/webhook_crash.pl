# At least once through any crash, and never an event that was not committed: the sender and the whole server are killed at
# random under load, against a receiver that keeps what it was sent; in the end it has every event, and none besides.
# BILLING_KILLS says how often (10).
use strict;
use warnings FATAL => 'all';
use FindBin;
use lib $FindBin::Bin;
use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use BillingNode;
use Restart;
use Test::More;
use Time::HiRes qw(usleep);
use WebhookReceiver;

plan skip_all => 'there is no node: Debian packages nodejs and npm' if system('command -v node >/dev/null') != 0;

my $kills = $ENV{BILLING_KILLS} || 10;
my $clients = 3;
my $node = PostgreSQL::Test::Cluster->new('webhook_crash');
my $dir = $node->basedir;
my $receiver = WebhookReceiver->start($dir);

# Commits that do not wait for the disk make it possible that one is lost that others saw.
BillingNode::start($node, 'restart_after_crash = on', 'synchronous_commit = off', "wal_writer_delay = '1 s'");
sql(q{
	CREATE EXTENSION billing;
	SELECT billing.create_tenant(t, 'Tenant ' || t) FROM generate_series(1, 20) t;
	SELECT billing.create_webhook_endpoint('} . $receiver->url('/all') . q{');
	SELECT billing.create_webhook_endpoint('} . $receiver->url('/ordered') . q{', is_ordered => true);
	SELECT billing.create_webhook_endpoint('} . $receiver->url('/fail?n=1') . q{', '{tenant.updated}', only_tenant_id => 7);
});

# Each client updates tenants, which makes an event each, and rolls every third back; where the server is gone it tries again.
my $script = "$dir/load.sql";
append_to_file($script, <<'EOT');
\set tenant random(1, 20)
\set rolls_back random(1, 3)
BEGIN;
SELECT billing.update_tenant(:tenant, jsonb_build_object('name', 'Tenant ' || random()));
\if :rolls_back = 1
ROLLBACK;
\else
COMMIT;
\endif
\sleep 2 ms
EOT
my @clients = map { start_client() } 1 .. $clients;
my ($sender_kills, $server_kills) = (0, 0);
for my $i (1 .. $kills)
{
	usleep(200_000 + int rand 1_500_000);
	if ($i % 2)
	{
		my $pid = eval { sql(q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'billing sender'}) } || next;
		kill 'KILL', $pid;
		$sender_kills++;
		ok(Restart::wait_for($node, $pid), "the server is back, after its sender $pid was killed");
	}
	else
	{
		kill_server();
		$server_kills++;
		$node->start;
	}
}
usleep(500_000);
stop_client($_) for @clients;
note("$sender_kills senders and $server_kills servers were killed");
cmp_ok($sender_kills * $server_kills, '>', 0, 'both were');

ok(poll(q{SELECT count(*) = 0 FROM pg_stat_activity WHERE application_name = 'pgbench'}), 'the load is over');
ok(poll(q{SELECT count(*) = 0 FROM billing.webhook_delivery WHERE state <> 'delivered'}), 'everything is delivered');
my $events = sql('SELECT count(*) FROM billing.event');
cmp_ok($events, '>', 200, "$events events");
is(sql(q{SELECT count(*) FROM billing.webhook_delivery d RIGHT JOIN (billing.event e CROSS JOIN billing.webhook_endpoint p)
		ON d.tenant_id = e.tenant_id AND d.event_id = e.event_id AND d.endpoint_id = p.endpoint_id
	WHERE d.endpoint_id IS NULL AND e.type = 'tenant.updated' AND coalesce(p.only_tenant_id = e.tenant_id, true)}), 0, 'each event was to be delivered');

# What the database says was delivered came, and what came is of an event that there is, with its payload.
for my $path ('/all', '/ordered', '/fail')
{
	my %expected = map { split / /, $_, 2 } split /\n/, sql(qq{SELECT 'evt_' || d.tenant_id || '_' || d.event_id || ' ' || e.payload
		FROM billing.webhook_delivery d JOIN billing.event e USING (tenant_id, event_id) JOIN billing.webhook_endpoint p USING (endpoint_id)
		WHERE p.url LIKE '%$path%'});
	my @requests = $receiver->requests($path);
	my %received;
	$received{$_->{id}}++ for @requests;
	is(join(' ', grep { !$received{$_} } sort keys %expected), '', "$path: each of " . keys(%expected) . ' events came');
	is(join(' ', grep { !$expected{$_} } sort keys %received), '', 'and none besides');
	is(scalar(grep { ($expected{$_->{id}} // '') ne $_->{body} } @requests), 0, 'with what it says');
	note(@requests - keys(%received) . ' requests more than once');
}

# In order: each event for the first time only when all before it of its tenant had come.
my (%seen, %last);
my $early = 0;
for ($receiver->requests('/ordered'))
{
	my ($tenant, $event) = $_->{id} =~ /^evt_(\d+)_(\d+)$/;
	next if $seen{$_->{id}}++;
	$early++ if $event < ($last{$tenant} // 0);
	$last{$tenant} = $event;
}
is($early, 0, 'in the order of each tenant');
$node->stop;
$receiver->stop;
done_testing();

sub start_client
{
	my $out;
	return IPC::Run::start(['bash', '-c', 'while :; do pgbench -n -f "$0" -c 2 -T 3600 -h "$1" -p "$2" postgres; sleep 0.1; done',
		$script, $node->host, $node->port], '>&', \$out, init => sub { setpgrp });
}

sub stop_client
{
	my ($client) = @_;
	kill 'KILL', -$client->{KIDS}[0]{PID};
	$client->finish;
}

# Postmaster and all that it started, at once.
sub kill_server
{
	my ($postmaster) = split /\n/, slurp_file($node->data_dir . '/postmaster.pid');
	my @children = map { /^(\d+) \(.*\) \S $postmaster / ? $1 : () } map { my $stat = $_; eval { slurp_file($stat) } // '' } glob '/proc/[0-9]*/stat';

	$node->kill9;
	kill 'KILL', @children;
	for (1 .. 500)
	{
		last unless grep { kill 0, $_ } @children;
		usleep(10_000);
	}
}

sub poll { return $node->poll_query_until('postgres', $_[0]) }
sub sql { return $node->safe_psql('postgres', $_[0]) }
