# Whatever doc/migration.md says takes the place of something exists, and each of its rows says that or "not yet".
use strict;
use warnings FATAL => 'all';
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('migration');
$node->init;
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'billing'");
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION billing');

my %is_there = map { $_ => 1 } split /\n/, $node->safe_psql('postgres', q{
	SELECT proname || '()' FROM pg_proc WHERE pronamespace = 'billing'::regnamespace
	UNION
	SELECT proname || '(' || unnest(proargnames) || ')' FROM pg_proc WHERE pronamespace = 'billing'::regnamespace
	UNION
	SELECT relname FROM pg_class WHERE relnamespace = 'billing'::regnamespace AND relkind IN ('r', 'p', 'v')
	UNION
	SELECT relname || '.' || attname FROM pg_class c JOIN pg_attribute ON attrelid = c.oid
	WHERE relnamespace = 'billing'::regnamespace AND relkind IN ('r', 'p', 'v') AND attnum > 0 AND NOT attisdropped
	UNION
	SELECT 'billing.' || typname FROM pg_type WHERE typnamespace = 'billing'::regnamespace AND typtype = 'b'
	UNION
	SELECT name FROM pg_settings WHERE name LIKE 'billing.%'
	UNION
	SELECT name FROM billing.setting_default
	UNION
	SELECT object || ' ''' || unnest(ARRAY[from_state, to_state]) || '''' FROM billing.state_transition
});
$node->stop;

my ($rows, $named) = (0, 0);
for my $line (split /\n/, slurp_file('doc/migration.md'))
{
	my (undef, $system, $there, $here, @more) = split /\s*\|\s*/, $line;

	next if !defined $here || $system =~ /^-/ || $here eq 'here';
	$rows++;
	ok(!@more, "one cell says what takes the place of: $there");
	my @names = map { names($_) } $here =~ /`([^`]+)`/g;
	my @missing = grep { !$is_there{$_} } @names;
	is("@missing", '', "what takes the place of $there exists");
	ok(@names > 0 || $here =~ /not yet|^nothing:|SQLSTATE|database role/, "something takes the place of $there, or not yet");
	$named += @names;
}
cmp_ok($rows, '>', 100, 'the map has its rows');
cmp_ok($named, '>', 200, 'and they name what there is');
done_testing();

# names TEXT - what a piece of code names: a function and the arguments it mentions, or just itself.
sub names
{
	my ($text) = @_;
	my ($function, $arguments) = $text =~ /^(\w+)\((.*)\)$/ or return $text;
	return ("$function()", map { "$function($_)" } split /,\s*/, $arguments);
}
