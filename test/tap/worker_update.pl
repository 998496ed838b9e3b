# ALTER EXTENSION billing UPDATE beside a worker that bills: it gets the locks it needs between two batches, and then no process of the
# old library goes on.  The version that follows is made here, of the same sources.
use strict;
use warnings FATAL => 'all';
use File::Basename;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $dir = PostgreSQL::Test::Utils::tempdir();
my $running = q{SELECT coalesce(string_agg(backend_type, ',' ORDER BY backend_type), '') FROM pg_stat_activity
	WHERE backend_type IN ('billing worker', 'billing sender')};
my $both = 'billing sender,billing worker';
my $exits = qr/billing exits from database "shop": its library is of version 0\.1\.0, the extension of another/;
my %of = map { chomp(my $value = `pg_config --$_`); ($_ => $value) } qw(bindir pkglibdir sharedir);
build_next();

for my $is_preloaded (0, 1)
{
	my $how = $is_preloaded ? 'preloaded' : 'not preloaded';
	my $node = make_server($is_preloaded);
	$node->safe_psql('shop', 'SELECT billing.start_worker()');
	$node->safe_psql('shop', setup());
	my $gate = $node->background_psql('shop', on_error_stop => 1);
	$gate->query_safe('SELECT pg_advisory_lock(1)');
	$node->safe_psql('shop', q{BEGIN; SELECT billing.create_tenant(1, 'Acme', 'USD'); SELECT billing.subscribe(1, 'slow', at => now() - interval '3 months 2 days'); COMMIT});
	ok($node->poll_query_until('shop', q{SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'billing worker' AND wait_event = 'advisory'}),
		"$how: the worker is at a batch");

	install_next();
	my $update = $node->background_psql('shop', on_error_stop => 0);
	$update->query_until(qr/begun/, "\\echo begun\nALTER EXTENSION billing UPDATE TO '99.0';\n");
	ok($node->poll_query_until('shop', q{SELECT count(*) = 1 FROM pg_stat_activity WHERE query LIKE 'ALTER EXTENSION%' AND wait_event = 'relation'}),
		"$how: the update waits for what the batch has locked");
	$gate->query_safe('SELECT pg_advisory_unlock(1)');
	$update->quit;
	$gate->quit;
	is($node->safe_psql('shop', q{SELECT extversion FROM pg_extension WHERE extname = 'billing'}), '99.0', "$how: and gets it");
	ok($node->poll_query_until('postgres', "SELECT ($running) = ''"), "$how: nobody of the old library goes on");
	like(slurp_file($node->logfile), $exits, "$how: which says why");

	if ($is_preloaded)
	{
		is($node->safe_psql('shop', q{SELECT status FROM billing.status() WHERE kind = 'library'}), 'restart the server', "$how: status() says what to do");
		$node->restart;
		ok($node->poll_query_until('postgres', "SELECT ($running) = '$both'"), "$how: the restarted server runs them");
	}
	else
	{
		is($node->safe_psql('shop', 'SELECT billing.start_worker()'), 't', "$how: they are started again");
	}
	is($node->safe_psql('shop', q{SELECT name, status FROM billing.status() WHERE kind = 'library'}), '99.0|ok', "$how: of the library that is installed");
	$node->safe_psql('shop', q{SELECT billing.create_tenant(2, 'Later', 'USD'); SELECT billing.subscribe(2, 'slow', at => now() - interval '2 months 2 days')});
	ok($node->poll_query_until('shop', 'SELECT count(*) = 7 FROM billing.invoice'), "$how: they bill what was left and what is new");
	is($node->safe_psql('shop', 'SELECT * FROM billing.audit()'), '', "$how: and nothing is broken");
	$node->stop;
}
done_testing();

# Of the objects that are there only those are compiled that know the version.
sub build_next
{
	system_or_bail('mkdir', '-p', "$dir/next/sql");
	system_or_bail('cp', '-Rp', 'Makefile', 'billing.control', 'src', "$dir/next");
	system_or_bail('sh', '-c', "cp -p sql/*.sql $dir/next/sql && rm -f $dir/next/sql/billing--*");
	system_or_bail('sed', '-i', 's/^default_version.*/default_version = \'99.0\'/', "$dir/next/billing.control");
	system_or_bail('sh', '-c', "touch \$(grep -l BILLING_VERSION $dir/next/src/*.c)");
	local $ENV{PG_CONFIG} = $ENV{BILLING_HEADERS_PG_CONFIG} // 'pg_config';
	system_or_bail('make', '-s', '-C', "$dir/next", "PG_CONFIG=$ENV{PG_CONFIG}", 'with_llvm=no', 'billing.so');
	append_to_file("$dir/next/billing--0.1.0--99.0.sql", q{
ALTER TABLE billing.subscription ADD COLUMN added text;
ALTER TABLE billing.invoice ADD COLUMN added text;
SELECT billing.wake();
});
	return;
}

# A server whose files may be replaced, with the version at hand installed.
sub make_server
{
	my ($is_preloaded) = @_;
	my $copy = "$dir/server$is_preloaded";
	for my $from (values %of)
	{
		system_or_bail('mkdir', '-p', $copy . dirname($from));
		system_or_bail('cp', '-a', $from, $copy . dirname($from));
	}
	my $node = PostgreSQL::Test::Cluster->new("worker_update$is_preloaded", install_path => $copy . dirname($of{bindir}));
	$node->init;
	$node->append_conf('postgresql.conf', "fsync = off\nautovacuum = off\nmax_worker_processes = 12");
	$node->append_conf('postgresql.conf', "shared_preload_libraries = 'billing'\nbilling.databases = 'shop'") if $is_preloaded;
	$node->start;
	$node->safe_psql('postgres', 'CREATE DATABASE shop');
	$node->safe_psql('shop', 'CREATE EXTENSION billing');
	return $node;
}

# As a package does: a file takes the place of another.
sub install_next
{
	my ($copy) = grep { -d } map { "$dir/server$_" } 1, 0;
	for my $file ([ 'billing.so', $of{pkglibdir} ], [ 'billing.control', "$of{sharedir}/extension" ], [ 'billing--0.1.0--99.0.sql', "$of{sharedir}/extension" ])
	{
		my $to = "$copy$file->[1]/$file->[0]";
		system_or_bail('cp', "$dir/next/$file->[0]", "$to.new");
		rename "$to.new", $to or die $!;
	}
	return;
}

# A plan whose bills wait for an advisory lock.
sub setup
{
	return q{
INSERT INTO billing.job (name, every) VALUES ('bill_due', '1 second');
INSERT INTO billing.setting (name, value) VALUES ('net_days', '1000');
CREATE FUNCTION public.gated(quantity numeric, parameters jsonb) RETURNS numeric IMMUTABLE LANGUAGE plpgsql AS $$
BEGIN
	PERFORM pg_advisory_lock_shared(1);
	PERFORM pg_advisory_unlock_shared(1);
	RETURN quantity;
END $$;
INSERT INTO billing.strategy (code, function) VALUES ('gated', 'public.gated');
INSERT INTO billing.meter (code) VALUES ('calls');
INSERT INTO billing.plan (plan_id, code, name, cycle) VALUES (1, 'slow', 'Slow', '1 month');
INSERT INTO billing.price (plan_id, code, name, tariff) VALUES (1, 'base', 'Base', '{"model":"flat","currency":"USD","amount":"49"}');
INSERT INTO billing.price (plan_id, code, name, strategy, meter) VALUES (1, 'calls', 'Calls', 'gated', 'calls');
};
}
