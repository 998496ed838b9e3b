# Somebody sets the server's clock back by hours: no process waits out how far; and what nobody woke them for is found in time.
use strict;
use warnings FATAL => 'all';
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use constant HOUR => 3600;

my $tempdir = PostgreSQL::Test::Utils::tempdir();
my $shim = "$tempdir/clock_shim.so";
my $config = $ENV{BILLING_HEADERS_PG_CONFIG} // 'pg_config';
chomp(my $cc = `$config --cc`);
system_or_bail((split ' ', $cc)[0], '-std=gnu99', '-fPIC', '-shared', '-o', $shim, 'test/tap/clock_shim.c');
local $ENV{CLOCK_SHIM} = "$tempdir/clock";
set_clocks(3 * HOUR, 0);
append_to_file("$tempdir/keys", 'test ' . '7' x 64 . "\n");
chmod 0600, "$tempdir/keys";

my $node = PostgreSQL::Test::Cluster->new('worker_clock');
$node->init;
$node->append_conf('postgresql.conf', qq{
billing.key_file = '$tempdir/keys'
shared_preload_libraries = 'billing'
billing.databases = 'postgres'
billing.webhook_allow_private = on
max_prepared_transactions = 5
autovacuum = off
fsync = off
});
{
	local $ENV{LD_PRELOAD} = $shim;
	$node->start;
}
is($node->safe_psql('postgres', 'SELECT round(extract(epoch FROM now()) / 3600)') - int(time / 3600 + 0.5), 3, 'the clock is ahead');
# Nobody listens on that port.
$node->safe_psql('postgres', q{
CREATE EXTENSION billing;
SELECT billing.create_webhook_endpoint('http://127.0.0.1:1/');
INSERT INTO billing.setting (name, value) VALUES ('net_days', '1000');
INSERT INTO billing.plan (plan_id, code, name, cycle) VALUES (1, 'pro', 'Pro', '1 month');
INSERT INTO billing.price (plan_id, code, name, tariff) VALUES (1, 'base', 'Base', '{"model":"flat","currency":"USD","amount":"49"}')});
billed('what is due is billed', 1);
attempted('and told', 1);
$node->safe_psql('postgres', q{ALTER FUNCTION billing.expire_credit(integer) RENAME TO away;
	INSERT INTO billing.job (name, run_at) VALUES ('expire_credit', now())});
ok($node->poll_query_until('postgres', q{SELECT failures = 1 FROM billing.job_state WHERE name = 'expire_credit'}), 'a job fails');
$node->safe_psql('postgres', q{ALTER FUNCTION billing.away(integer) RENAME TO expire_credit; DELETE FROM billing.job});

# The clock is right again.
set_clocks(0, 0);
billed('set back, what is due is billed', 2);
attempted('and told', 2);
$node->safe_psql('postgres', q{SELECT billing.grant_credit(1, '5 USD', expires_at => now() + interval '1 second')});
ok($node->poll_query_until('postgres', q{SELECT failures = 0 FROM billing.job_state WHERE name = 'expire_credit'}),
	'a job that failed is tried again');
$node->safe_psql('postgres', q{INSERT INTO billing.job (name, run_at) VALUES ('enforce_expirations', now())});
ok($node->poll_query_until('postgres', q{SELECT s.started_at >= j.run_at AND s.started_at <= now() FROM billing.job j JOIN billing.job_state s USING (name)}),
	'a job that is asked for runs');

# Prepared transactions wake nobody as they are committed.  Whoever has slept for five minutes looks; nothing else is to wake them.
$node->safe_psql('postgres', 'DELETE FROM billing.webhook_delivery; SELECT billing.wake()');
sleep 2;
$node->safe_psql('postgres', q{
BEGIN;
SELECT billing.create_tenant(3, 'Three', 'USD');
UPDATE billing.job SET run_at = now();
PREPARE TRANSACTION 'unheard'});
$node->safe_psql('postgres', q{COMMIT PREPARED 'unheard'});
sleep 2;
is($node->safe_psql('postgres', q{SELECT s.started_at < j.run_at FROM billing.job j JOIN billing.job_state s USING (name)}), 't', 'nobody wakes the worker');
is(attempts(3), '0', 'or the sender');
set_clocks(0, 301);
# They look at their clock.
$node->reload;
ok($node->poll_query_until('postgres', q{SELECT s.started_at >= j.run_at FROM billing.job j JOIN billing.job_state s USING (name)}),
	'five minutes later, by the clock that nobody sets, the worker looks by itself');
attempted('and the sender', 3);
$node->stop;
done_testing();

sub set_clocks
{
	# In place: the server has it in its memory.
	open my $file, -e $ENV{CLOCK_SHIM} ? '+<' : '>', $ENV{CLOCK_SHIM} or die $!;
	print $file pack 'q2', @_;
	close $file or die $!;
	return;
}

sub billed
{
	my ($what, $tenant) = @_;
	$node->safe_psql('postgres', qq{SELECT billing.create_tenant($tenant, 'Tenant', 'USD');
		SELECT billing.subscribe($tenant, 'pro', at => now() - interval '1 month 2 days')});
	return ok($node->poll_query_until('postgres', "SELECT count(*) = 2 FROM billing.invoice WHERE tenant_id = $tenant"), $what);
}

sub attempts
{
	my ($tenant) = @_;
	return $node->safe_psql('postgres', "SELECT max(attempts) FROM billing.webhook_delivery WHERE tenant_id = $tenant");
}

sub attempted
{
	my ($what, $tenant) = @_;
	return ok($node->poll_query_until('postgres', "SELECT max(attempts) > 0 FROM billing.webhook_delivery WHERE tenant_id = $tenant"), $what);
}
