# Each rule of the catalog contract (test/sql/catalog_contract.sql) finds an object that breaks it.
use strict;
use warnings FATAL => 'all';
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('contract');
$node->init;
$node->start;

my $contract = slurp_file('test/sql/catalog_contract.sql');
my @rules = sort grep { !/^(signature|name)$/ } $contract =~ /^SELECT [^;]*? AS (\w+)(?=[^;]*?\bFROM\b)/mg;
$node->safe_psql('postgres', 'CREATE EXTENSION billing');
is_deeply([ broken() ], [], 'the extension keeps every rule');

# What joins the extension is what its install script could have created.
$node->safe_psql('postgres', q{
CREATE FUNCTION billing.bad(int, text) RETURNS int LANGUAGE plpgsql SECURITY DEFINER AS 'BEGIN RETURN 1; END';
CREATE FUNCTION billing.bad_sql() RETURNS int LANGUAGE sql AS 'SELECT 1';
CREATE FUNCTION billing.bad_c() RETURNS timestamptz LANGUAGE c STABLE AS 'billing', 'billing_now';
CREATE FUNCTION public.bad_place() RETURNS int LANGUAGE sql RETURN 1;
CREATE TYPE billing.bad_type AS ENUM ('a');
CREATE SEQUENCE billing.bad_seq;
CREATE TABLE billing.bad_parent (tenant_id int, id bigint, code text, PRIMARY KEY (id, tenant_id), UNIQUE (code));
CREATE TABLE billing.bad_child (tenant_id bigint NOT NULL, parent text REFERENCES billing.bad_parent (code) ON DELETE SET NULL,
	id bigint GENERATED ALWAYS AS IDENTITY);
CREATE TABLE billing.bad_global (parent text PRIMARY KEY REFERENCES billing.bad_parent (code));
CREATE TABLE billing.bad_heir () INHERITS (billing.bad_global);
CREATE VIEW billing.bad_view AS SELECT 1 AS one;
CREATE SCHEMA bad_schema;
COMMENT ON COLUMN billing.payment.amount IS NULL;
GRANT SELECT (code) ON billing.bad_parent TO PUBLIC;
GRANT USAGE ON SEQUENCE billing.bad_seq TO PUBLIC;
GRANT USAGE ON SCHEMA bad_schema TO PUBLIC;
ALTER EXTENSION billing ADD FUNCTION billing.bad(int, text);
ALTER EXTENSION billing ADD FUNCTION billing.bad_sql();
ALTER EXTENSION billing ADD FUNCTION billing.bad_c();
ALTER EXTENSION billing ADD FUNCTION public.bad_place();
ALTER EXTENSION billing ADD TYPE billing.bad_type;
ALTER EXTENSION billing ADD SEQUENCE billing.bad_seq;
ALTER EXTENSION billing ADD TABLE billing.bad_parent;
ALTER EXTENSION billing ADD TABLE billing.bad_child;
ALTER EXTENSION billing ADD TABLE billing.bad_global;
ALTER EXTENSION billing ADD TABLE billing.bad_heir;
ALTER EXTENSION billing ADD VIEW billing.bad_view;
ALTER EXTENSION billing ADD SCHEMA bad_schema;
});
is_deeply([ broken() ], \@rules, 'each of the ' . @rules . ' rules finds its violation');
is(scalar @rules, (() = $contract =~ /^(?!--).*;$/mg) - 3, 'every query is a rule but the three views');

$node->stop;
done_testing();

# The rules with rows: in CSV, each result is a line of titles, then its rows.
sub broken
{
	my $output = $node->safe_psql('postgres', $contract, extra_params => [ '-P', 'tuples_only=off', '-P', 'format=csv' ]);
	my %found;
	my $rule;

	for my $line (split /\n/, $output)
	{
		my ($first) = $line =~ /^(\w+)(?:,|$)/;
		if (defined $first && grep { $_ eq $first } @rules) { $rule = $first; }
		elsif ($line ne '') { $found{$rule} = 1; }
	}
	return sort keys %found;
}
