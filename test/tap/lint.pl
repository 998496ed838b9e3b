# Each rule of test/lint names a violation of itself, and a clean source breaks none.
use strict;
use warnings FATAL => 'all';
use File::Temp qw(tempdir);
use Test::More;

my $copy = tempdir(CLEANUP => 1);
system("cp -r Makefile sql src test $copy/") == 0 or die 'could not copy the source';
-f 'billing.so' or die 'billing.so is not built';
system("cp billing.so $copy/") == 0 or die;

# file, text to append (undef: a command to run instead), the rule it breaks
my @violations = (
	[ 'src/init.c', "#include <curl/curl.h>\n", 'curl' ],
	[ 'src/init.c', "#include \"executor/spi.h\"\n", 'spi' ],
	[ 'src/init.c', "void f(void) { simple_heap_delete(r, t); }\n", 'rows' ],
	[ 'src/init.c', "static TimestampTz t(void) { return GetCurrentTimestamp(); }\n", 'clock' ],
	[ 'src/init.c', "static time_t t(void) { return time(NULL); }\n", 'clock' ],
	[ 'sql/schema.sql', "CREATE VIEW billing.v AS SELECT now() AS x;\n", 'sql_clock' ],
	[ 'sql/schema.sql', "CREATE VIEW billing.v AS SELECT current_timestamp AS x;\n", 'sql_clock' ],
	[ 'sql/schema.sql', "-- \xC3\xBC\n", 'ascii' ],
	[ 'src/init.c', "/* \xC3\xBC */\n", 'ascii' ],
	[ 'src/init.c', "void f(void) { DefineCustomBoolVariable(\"billing.x\"); }\n", 'settings' ],
	[ 'src/guc.c', "void f(void) { DefineCustomBoolVariable(\"billing.a\"); }\n", 'settings_sorted' ],
	[ 'src/init.c', "#if PG_VERSION_NUM >= 160000\n#endif\n", 'version' ],
	[ 'src/init.c', "#include <unicode/ucol.h>\n", 'icu' ],
	[ 'src/init.c', "#include <openssl/evp.h>\n", 'openssl' ],
	[ 'src/init.c', "static double ratio;\n", 'float' ],
	[ 'src/init.c', "static float4 ratio;\n", 'float' ],
	[ 'src/init.c', "void f(void) { ereport(ERROR, errmsg(\"a ) in %s\", g())); }\n", 'errcode' ],
	[ 'src/init.c', "void f(void) { ereturn(c, (Datum) 0, (errmsg(\"no code\"))); }\n", 'errcode' ],
	[ 'src/init.c', "void\nf(void)\n{\n" . "\tg();\n" x 101 . "}\n", 'length' ],
	[ 'sql/clock.sql', "CREATE FUNCTION billing.f()\nRETURNS int\nLANGUAGE sql RETURN 1;\n", 'comments' ],
	[ 'sql/clock.sql', "CREATE AGGREGATE billing.a(int) (SFUNC = int4pl, STYPE = int);\n"
		  . "COMMENT ON FUNCTION billing.a(int) IS 'not an aggregate';\n", 'comments' ],
	[ 'sql/clock.sql', "CREATE OR REPLACE VIEW billing.v AS SELECT 1;\n", 'creates' ],
	[ 'sql/clock.sql', "CREATE TABLE IF NOT EXISTS billing.t ();\n", 'creates' ],
	[ 'sql/clock.sql', "GRANT USAGE ON SCHEMA billing TO PUBLIC;\n", 'grants' ],
	[ 'test/sql/clock.sql', "SELECT 1;\n", 'test_names' ],
	[ 'test/specs/id_sequence.spec', "session s\n", 'test_names' ],
	[ 'test/sql/id_sequence.sql', undef, 'symbols',
		'echo "void wake(void); void wake(void) {}" | cc -shared -fPIC -x c - -o billing.so' ]);

is(rules_broken(), '', 'the source keeps every rule');

my %broken;
for my $violation (@violations)
{
	my ($file, $text, $rule, $command) = @$violation;
	my $path = "$copy/$file";
	my $saved = -e $path ? slurp($path) : undef;

	if (defined $text)
	{
		open(my $out, '>>', $path) or die "$path: $!";
		print $out $text;
		close $out;
	}
	else
	{
		system("cd $copy && cp billing.so billing.so.saved && $command") == 0 or die $command;
	}
	(my $what = $text // $command) =~ s/\n.*//s;
	is(rules_broken(), $rule, "$rule: $what");
	$broken{$rule} = 1;

	system("cd $copy && mv billing.so.saved billing.so") if !defined $text;
	unlink $path;
	if (defined $saved)
	{
		open(my $out, '>', $path) or die "$path: $!";
		print $out $saved;
		close $out;
	}
}

# What looks like a violation and is none.
open(my $out, '>>', "$copy/src/init.c") or die $!;
print $out "/* a double\n * time() and GetCurrentTimestamp() */\n"
  . "void f(void) { ereport(WARNING, errmsg(\"a warning\")); ereport(ERROR, errcode(ERRCODE_BILLING_NOT_FOUND), errmsg(\"x\")); }\n"
  . "static const char *runtime(void) { return \"/*\"; }\n";
close $out;
is(rules_broken(), '', 'comments, warnings and errors with a code are no violation');

my @rules = map { /^rule (\w+)/ ? $1 : () } split /\n/, slurp('test/lint');
is_deeply([ sort keys %broken ], [ sort @rules ], 'each rule was broken once');

done_testing();

# The names of the rules that the copy breaks.
sub rules_broken
{
	my $output = `$copy/test/lint`;
	my $found = join ' ', $output =~ /^not ok \d+ - (\w+)/mg;

	$output =~ /^1\.\.\d+$/m or return "did not run: $output";
	($? != 0) == ($found ne '') or return "exit status $?: $output";
	return $found;
}

sub slurp
{
	my ($path) = @_;
	local $/;
	open(my $in, '<', $path) or die "$path: $!";
	return scalar <$in>;
}
