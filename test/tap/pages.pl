# Every link of a page leads to a file, and the index of doc/ lists every page.
use strict;
use warnings FATAL => 'all';
use File::Basename qw(basename dirname);
use PostgreSQL::Test::Utils;
use Test::More;

my $index = slurp_file('doc/README.md');
for my $page (glob('*.md doc/*.md'))
{
	my @links = slurp_file($page) =~ /\]\(([^)#:\s]+)[)#]/g;
	my @broken = grep { !-e dirname($page) . "/$_" } @links;
	is("@broken", '', "the links of $page lead to files");
	like($index, qr/\(\Q${\ basename($page)}\E\)/, "doc/README.md lists $page")
		if $page =~ /^doc/ && $page ne 'doc/README.md';
}
done_testing();
