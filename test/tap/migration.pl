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
	SELECT object || ' ''' || unnest(ARRAY[from_state, to_state]) || '''' FROM billing.state_transition
});
my %is_setting = map { $_ => 1 } split /\n/, $node->safe_psql('postgres', 'SELECT name FROM billing.setting_default');
$node->stop;

my ($rows, $named) = (0, 0);
for my $line (split /\n/, slurp_file('doc/migration.md'))
{
	# In the text only functions are named by themselves; SQL may stand there, too.
	if ($line !~ /^\|/)
	{
		my @missing = grep { !$is_there{$_} } map { names($_) } $line =~ /`(\w+\([\w, ]*\))`/g;
		is("@missing", '', "what the text names exists: $line") if $line =~ /`/;
		next;
	}
	next if $line =~ /^\|(-+\|)+$|\| here \|$/;

	my (undef, $system, $there, $here, @more) = split /\s*\|\s*/, $line;
	$rows++;
	ok($line =~ /\|$/ && defined $here && !@more, "a row of three cells: $line") or next;

	# A setting goes by that word, a list of them by its plural.
	my @settings = map { /`(\w+)`/g } $here =~ /\bsettings? ((?:`\w+`(?:, )?)+)/g;
	my @unset = grep { !$is_setting{$_} } @settings;
	is("@unset", '', "the settings that take the place of $there exist");
	(my $rest = $here) =~ s/\bsettings? (?:`\w+`(?:, )?)+//g;

	my @names = map { names($_) } $rest =~ /`([^`]+)`/g;
	my @missing = grep { !$is_there{$_} } @names;
	push @names, @settings;
	is("@missing", '', "what takes the place of $there exists");
	ok(@names > 0 || $here =~ /not yet|^nothing:|SQLSTATE|database role/, "something takes the place of $there, or not yet");
	$named += @names;
}
cmp_ok($rows, '>', 200, 'the map has its rows');
cmp_ok($named, '>', 200, 'and they name what there is');
done_testing();

# names TEXT - what a piece of code names: a function and the arguments it mentions, or just itself.
sub names
{
	my ($text) = @_;
	my ($function, $arguments) = $text =~ /^(\w+)\((.*)\)$/ or return $text;
	return ("$function()", map { "$function($_)" } split /,\s*/, $arguments);
}
