# CREATE EXTENSION and DROP EXTENSION: who may, what is left behind, what a dump keeps.
use strict;
use warnings FATAL => 'all';
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('install');
$node->init;
$node->start;

# Nothing is left behind.
my $objects = q{SELECT (SELECT count(*) FROM pg_class) + (SELECT count(*) FROM pg_proc) + (SELECT count(*) FROM pg_type)
	+ (SELECT count(*) FROM pg_namespace) + (SELECT count(*) FROM pg_depend) + (SELECT count(*) FROM pg_operator)};
$node->safe_psql('postgres', 'CREATE DATABASE clean');
my $before = $node->safe_psql('clean', $objects);
$node->safe_psql('clean', 'CREATE EXTENSION billing');
isnt($node->safe_psql('clean', $objects), $before, 'CREATE EXTENSION creates objects');
$node->safe_psql('clean', 'DROP EXTENSION billing');
is($node->safe_psql('clean', $objects), $before, 'DROP EXTENSION removes every one');
is($node->safe_psql('clean', q{SELECT count(*) FROM pg_namespace WHERE nspname = 'billing'}), '0', 'the schema is gone');
$node->safe_psql('clean', 'CREATE EXTENSION billing');
is($node->safe_psql('clean', 'SELECT billing.next_id()'), '1', 'it can be created again, and counts from 1');

# A schema that somebody prepared is not taken over.
$node->safe_psql('postgres', 'CREATE ROLE mallory LOGIN; CREATE DATABASE prepared OWNER mallory');
$node->safe_psql('prepared', 'CREATE SCHEMA billing AUTHORIZATION mallory');
fails('prepared', 'CREATE EXTENSION billing', qr/schema "billing" already exists/, 'a prepared schema is refused');
fails('clean', 'CREATE EXTENSION billing SCHEMA public', qr/must be installed in schema|already exists/, 'another schema is refused');
is($node->safe_psql('clean', q{SELECT extrelocatable FROM pg_extension WHERE extname = 'billing'}), 'f', 'it does not move');

# Only a superuser creates it, even in a database of one's own.
$node->safe_psql('postgres', 'CREATE DATABASE own OWNER mallory');
fails('own', 'SET ROLE mallory; CREATE EXTENSION billing', qr/permission denied to create extension "billing"/, 'an ordinary role is refused');

# A dump keeps the sequence's position, in every form pg_restore reads.
$node->safe_psql('postgres', 'CREATE DATABASE source');
$node->safe_psql('source', 'CREATE EXTENSION billing; SELECT count(billing.next_id()) FROM generate_series(1, 1234)');
my $tmp = PostgreSQL::Test::Utils::tempdir();
my %dumps = (
	'custom' => [ '-Fc' ],
	'directory, 4 jobs' => [ '-Fd', '-j4' ],
	'inserts' => [ '-Fc', '--inserts' ]);
for my $form (sort keys %dumps)
{
	(my $name = "restored_$form") =~ s/\W+/_/g;
	$node->command_ok([ 'pg_dump', @{ $dumps{$form} }, '-f', "$tmp/$name", 'source' ], "dump: $form");
	$node->safe_psql('postgres', "CREATE DATABASE $name");
	$node->command_ok([ 'pg_restore', '--exit-on-error', $form =~ /jobs/ ? '-j4' : (), '-d', $name, "$tmp/$name" ], "restore: $form");
	is($node->safe_psql($name, 'SELECT billing.next_id()'), '1235', "next id after restore: $form");
}

# The node's number is the high bits of an id.  ALTER SYSTEM knows a setting only where its library is loaded.
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'billing'");
$node->restart;
is($node->safe_psql('source', 'SELECT billing.next_id()'), '1235', 'node 0: small numbers');
$node->safe_psql('postgres', 'ALTER SYSTEM SET billing.node = 5');
$node->reload;
ok($node->poll_query_until('source', q{SELECT current_setting('billing.node') = '5'}), 'node 5 after a reload');
is($node->safe_psql('source', 'SELECT billing.next_id()'), 5 * 2**48 + 1236, 'node 5: its number in the high bits, one sequence');
fails('source', 'LOAD $$billing$$; SET billing.node = 6', qr/cannot be changed now/, 'a session cannot change it');
fails('source', 'ALTER SYSTEM SET billing.node = 32768', qr/outside the valid range/, 'a number that does not fit is refused');
$node->safe_psql('postgres', 'ALTER SYSTEM SET billing.node = 32767');
$node->reload;
ok($node->poll_query_until('source', q{SELECT current_setting('billing.node') = '32767'}), 'the highest node after a reload');
cmp_ok($node->safe_psql('source', 'SELECT billing.next_id()'), '>', 0, 'ids of the highest node are positive');

$node->stop;
done_testing();

# fails DATABASE, SQL, PATTERN, TEST - the statement is refused with that message.
sub fails
{
	my ($database, $sql, $pattern, $test) = @_;
	my ($ret, $stdout, $stderr) = $node->psql($database, $sql, on_error_stop => 1);
	ok($ret != 0 && $stderr =~ $pattern, $test) or diag("exit status $ret: $stderr");
}
