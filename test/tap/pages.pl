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

my ($catalogue) = slurp_file('sql/event.sql') =~ /^CREATE VIEW billing\.event_type (.*?);\n/ms;
my @types = $catalogue =~ /\('(\w+\.\w+)', /g;
my $page_of_events = slurp_file('doc/event.md');
cmp_ok(scalar @types, '>', 30, 'there is a catalogue of events');
is(join(' ', grep { $page_of_events !~ /`\Q$_\E`/ } @types), '', 'doc/event.md has every type of event');
my %is_type = map { $_ => 1 } @types;
is(join(' ', grep { !$is_type{$_} } map { /`(\w+\.\w+)`/g } $page_of_events =~ /^(\| \w+ \| .*)$/mg), '', 'and no other');

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
