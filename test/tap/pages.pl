# Every link of a page leads to a file, the index of doc/ lists every page and every function that one describes, and
# what it lists exists.
use strict;
use warnings FATAL => 'all';
use File::Basename qw(basename dirname);
use PostgreSQL::Test::Utils;
use Test::More;

my $index = slurp_file('doc/README.md');
my %is_created = map { $_ => 1 } map { slurp_file($_) =~ /^CREATE (?:FUNCTION|PROCEDURE|AGGREGATE|VIEW) billing\.(\w+)/mg } glob('sql/*.sql');
my %is_listed;
for my $row ($index =~ /^(\| \[.*)$/mg)
{
	my ($page, $names) = $row =~ /\((\w+\.md)\) \| (.*) \|$/ or next;
	my $text = slurp_file("doc/$page");
	my @names = $names =~ /`(\w+)`/g;
	is(join(' ', grep { !$is_created{$_} } @names), '', "what the index lists of $page exists");
	is(join(' ', grep { $text !~ /\b\Q$_\E\b/ } @names), '', "and $page says what it does");
	$is_listed{$_} = 1 for @names;
}
cmp_ok(keys %is_listed, '>', 60, 'the index has its functions');

for my $page (glob('*.md doc/*.md'))
{
	my $text = slurp_file($page);
	my @links = $text =~ /\]\(([^)#:\s]+)[)#]/g;
	my @broken = grep { !-e dirname($page) . "/$_" } @links;
	is("@broken", '', "the links of $page lead to files");
	like($index, qr/\(\Q${\ basename($page)}\E\)/, "doc/README.md lists $page")
		if $page =~ /^doc/ && $page ne 'doc/README.md';
	my @missing = grep { !$is_listed{$_} } map { /\bbilling\.(\w+)\(/g } $text =~ /^(##+ .*)$/mg;
	is("@missing", '', "doc/README.md lists the functions that $page describes");
}
done_testing();
