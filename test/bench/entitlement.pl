#!/usr/bin/env perl
# Measure has_feature() against one prepared SELECT by primary key, as an application asks: prepared, one after the other, by
# pgbench over the same connection and among the same tenants.
#
# Prints lines as test/bench/run does, and exits 1 if a bound is missed.
use strict;
use warnings FATAL => 'all';

my $tenants = 100_000;
my $calls = $ENV{BENCH_CALLS} // 20_000;
my $turns = $ENV{BENCH_TURNS} // 7;
my $dir = $ENV{BILLING_TMP} // '/tmp';
my $database = 'bench_entitlement';

sql('postgres', "CREATE DATABASE $database");
sql($database, <<"SQL");
CREATE EXTENSION billing;
INSERT INTO billing.plan (plan_id, code, name, features, limits) VALUES (1, 'pro', 'Pro',
	'{"export": true, "sso": true, "api": true, "audit": true, "projects": 5}', '[{"meter": "calls", "limit": 1000}]');
INSERT INTO billing.tenant (tenant_id, name) SELECT n, 'tenant' FROM generate_series(1, $tenants) n;
INSERT INTO billing.subscription (tenant_id, subscription_id, plan_id, status, currency, anchor, timezone, started_at, period_start, billed_to)
SELECT n, 1000000000 + n, 1, 'active', 'USD', '2026-01-01Z', 'UTC', '2026-01-01Z', '2026-01-01Z', '2026-01-01Z' FROM generate_series(1, $tenants) n;
INSERT INTO billing.entitlement (tenant_id, feature, starts_at)
SELECT w.tenant_id, w.feature, w.starts_at FROM billing.entitlement_wanted(ARRAY(SELECT tenant_id FROM billing.tenant)) w;
VACUUM ANALYZE billing.tenant, billing.entitlement;
SQL
die "has_feature() does not say so\n" if sql($database, "SELECT billing.has_feature(7, 'sso') AND NOT billing.has_feature(7, 'scim')") ne 't';
my %script = (
	subject => q{SELECT billing.has_feature(:tenant, 'sso');},
	reference => q{SELECT starts_at FROM billing.entitlement WHERE tenant_id = :tenant AND feature = 'sso' AND starts_at = '2026-01-01Z';});
for my $name (keys %script)
{
	open my $file, '>', "$dir/$name.bench" or die "could not write: $!";
	print $file "\\set tenant random(1, $tenants)\n$script{$name}\n";
	close $file;
}

my %least;
for my $turn (1 .. $turns)
{
	for my $name (sort keys %script)
	{
		my $time = latency("$dir/$name.bench");
		$least{$name} = $time if !defined $least{$name} || $time < $least{$name};
	}
}
unlink map { "$dir/$_.bench" } keys %script;
my $ratio = $least{subject} / $least{reference};
printf "bench has_feature ratio %.2f bound <=2 - has_feature() (%.0f us) against one prepared SELECT by primary key\n", $ratio, 1000 * $least{subject};
exit($ratio > 2 ? 1 : 0);

# Milliseconds of a call, as pgbench tells.
sub latency
{
	my $file = shift;
	my $answer = qx(pgbench -n -M prepared -c 1 -t $calls -f $file $database 2>&1);
	die "pgbench failed: $answer\n" if $? != 0 || $answer !~ /latency average = ([0-9.]+) ms/;
	return $1;
}

sub sql
{
	my ($name, $commands) = @_;
	open my $file, '>', "$dir/bench.sql" or die "could not write: $!";
	print $file "SET client_min_messages = warning;\n$commands;\n";
	close $file;
	my $answer = qx(psql -XAtq -v ON_ERROR_STOP=1 -d $name -f $dir/bench.sql);
	die "psql failed\n" if $? != 0;
	chomp $answer;
	return $answer;
}
