# A file of usage is billed whatever its line ends; a bad line is named, and then nothing of the file is there.
use strict;
use warnings FATAL => 'all';
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

$ENV{PGCLIENTENCODING} = 'UTF8';
my $node = PostgreSQL::Test::Cluster->new('usage_trace');
$node->init(extra => [ '--encoding=UTF8', '--locale=C' ]);
$node->start;
my $folder = PostgreSQL::Test::Utils::tempdir();
my $title = 'TIMESTAMP,ContextTokens,GeneratedTokens';

my ($ok, $output) = bill(unix => "$title\n2023-11-16 18:17:03.9799600,9000000,100\n2023-11-16 18:17:04.0319600,3000001,50\n",
	windows => "$title\r\n2023-11-16 18:17:03.9799600,12000001,150");
ok($ok, 'two files are billed') or diag($output);
like($output, qr/^\s*unix\.csv\W+1\W+12000001\W+150\W+27\.50 USD/m, 'graduated by the month: 25 and 2.00000125 of context, 0.00150 generated');
like($output, qr/^\s*windows\.csv\W+1\W+12000001\W+150\W+27\.50 USD/m, 'the same with CRLF and no last line end');
like($output, qr/\(1 row\)|^\s*0\W+0\s*$/m, 'verified and audited');

for my $bad ([ "x,1,2", 'an instant that is none' ], [ "2023-11-16 18:17:03,-1,2", 'a negative number' ],
	[ "2023-11-16 18:17:03,1", 'a column missing' ], [ "2023-11-16 18:17:03,1.5,2", 'a part of a token' ])
{
	($ok, $output) = bill(bad => "$title\n2023-11-16 18:17:03.9799600,10,20\n$bad->[0]\n");
	ok(!$ok, "$bad->[1] is refused");
	like($output, qr/line 3/, 'and its line named');
	like($output, qr/bad\.csv could not be read, and nothing was billed/, 'and its file');
	is($node->safe_psql('trace', 'SELECT (SELECT count(*) FROM billing.usage_event) + (SELECT count(*) FROM billing.tenant)'), '0', 'and nothing kept');
}

for my $bad ([ "$title\n", qr/bad\.csv has no line of usage/, 'a file of a title alone' ],
	[ "2023-11-16 18:17:03.9799600,10,20\n", qr/bad\.csv, line 1, is not \Q$title\E/, 'a file without a title' ])
{
	($ok, $output) = bill(good => "$title\n2023-11-16 18:17:03,1,2\n", bad => $bad->[0]);
	ok(!$ok, "$bad->[2] is refused");
	like($output, qr/$bad->[1], and nothing was billed/, 'and told');
	unlike($output, qr/Reading/, 'before any file is read');
}

$node->stop;
done_testing();

# Bill files of these names and texts in a database of their own; whether it went well, and all it printed.
sub bill
{
	my @named = @_;
	my @files;
	while (my ($name, $text) = splice(@named, 0, 2))
	{
		my $file = "$folder/$name.csv";
		unlink $file;
		append_to_file($file, $text);
		push @files, $file;
	}
	$node->safe_psql('postgres', 'DROP DATABASE IF EXISTS trace');
	$node->safe_psql('postgres', 'CREATE DATABASE trace');
	local $ENV{BILLING_FILES} = "@files";
	local $ENV{PGHOST} = $node->host;
	local $ENV{PGPORT} = $node->port;
	local $ENV{PGDATABASE} = 'trace';
	local $ENV{PGUSER} = $node->safe_psql('postgres', 'SELECT current_user');
	my $printed = '';
	my $went = IPC::Run::run([ 'test/demo' ], '>&', \$printed);
	return ($went, $printed);
}
