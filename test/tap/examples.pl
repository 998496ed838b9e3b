# Every example runs, and prints what the file beside it says; so do the SQL blocks of README.md and of some pages.
use strict;
use warnings FATAL => 'all';
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

# What is printed must not depend on the locale of who runs the tests.
$ENV{PGCLIENTENCODING} = 'UTF8';
my $node = PostgreSQL::Test::Cluster->new('examples');
$node->init(extra => [ '--encoding=UTF8', '--locale=C' ]);
$node->append_conf('postgresql.conf', "billing.key_file = '" . key_file() . "'");
$node->start;

my @examples = sort glob('examples/*.sql');
ok(@examples > 0, 'there are examples');
for my $example (@examples)
{
	(my $expected = $example) =~ s/\.sql$/.out/;
	my ($ret, $output) = run_psql($example);

	is($ret, 0, "$example runs") or diag($output);
	is($output, slurp_file($expected), "$example prints $expected") if -f $expected;
}

# The blocks that are fenced as ```sql, one after the other in one session.
for my $page ('README.md', 'doc/clock.md', 'doc/operations.md', 'doc/plan.md')
{
	my @blocks = slurp_file($page) =~ /^```sql\n(.*?)^```$/msg;
	ok(@blocks > 0, "$page has SQL");

	my $file = PostgreSQL::Test::Utils::tempdir() . '/page.sql';
	append_to_file($file, join "\n", $page eq 'README.md' ? () : "CREATE EXTENSION billing;\n", @blocks);
	my ($ret, $output) = run_psql($file);
	is($ret, 0, "the SQL of $page runs") or diag($output);
}

$node->stop;
done_testing();

# run_psql FILE - run it in a database of its own as `make demo` does; its exit status, and all it prints.
sub run_psql
{
	my ($file) = @_;
	my $output = '';

	$node->safe_psql('postgres', 'DROP DATABASE IF EXISTS example');
	$node->safe_psql('postgres', 'CREATE DATABASE example');
	my $ok = IPC::Run::run(
		[ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('example'), '-f', $file ],
		'>&', \$output);
	return ($ok ? 0 : $? >> 8, $output);
}

# A file with one key, which settings may name.
sub key_file
{
	my $file = PostgreSQL::Test::Utils::tempdir() . '/keys';
	append_to_file($file, sprintf("test %064d\n", 7));
	chmod 0600, $file;
	return $file;
}
