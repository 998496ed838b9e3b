# Promise: a secret that is passed as a bind parameter is found in no log, no
# activity view and no dump; every fault of the key file is a clear error that
# shows no key; and a key can be replaced without losing a value.
use strict;
use warnings FATAL => 'all';
use IPC::Run;
use POSIX qw(mkfifo);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $secret = 'sk_live_4eC39HqLyjWDarjtT1zdp7dc';
my $old_key = '0123456789abcdef' x 4;
my $new_key = 'fedcba9876543210' x 4;

my $node = PostgreSQL::Test::Cluster->new('main');
my $key_file = $node->basedir . '/keys';
my $scratch = $node->basedir . '/scratch';

$node->init;
$node->append_conf('postgresql.conf', "billing.key_file = '$key_file'");
$node->append_conf('postgresql.conf', "log_statement = none");	# the default, which the test framework changes
$node->start;
write_keys("k1 $old_key\n");
$node->safe_psql('postgres', q{
	CREATE EXTENSION billing;
	CREATE ROLE app LOGIN;
	GRANT USAGE ON SCHEMA billing TO app;
	GRANT EXECUTE ON FUNCTION billing.seal(bigint, text, text), billing.sealed_in(cstring) TO app;
	CREATE TABLE card (id int PRIMARY KEY, token billing.sealed, last4 billing.sealed);
	GRANT INSERT ON card TO app;
});

# Bind parameters leave no trace.
my $seal = q{INSERT INTO card VALUES (1, billing.seal(1, 'token', :secret), billing.seal(1, 'last4', '4242'));};
my @failing = (
	['division by zero', q{SELECT billing.seal(1, 'token', :secret), 1 / (:secret = '')::int;}, 'division by zero'],
	['purpose too long', q{SELECT billing.seal(1, repeat('p', 64), :secret);}, 'purpose of a sealed value'],
	['purpose and secret swapped', q{SELECT billing.seal(1, repeat(:secret, 2), 'token');}, 'purpose of a sealed value'],
	['plaintext into a sealed column', q{INSERT INTO card (id, token) VALUES (2, :secret);}, 'invalid input syntax for type billing.sealed'],
	['plaintext cast', q{SELECT (:secret)::text::billing.sealed;}, 'invalid input syntax for type billing.sealed'],
);
my $offset = 0;

bind_and_check('with default settings', $seal, 0);
bind_and_check("with default settings, $_->[0]", $_->[1], 1, $_->[2]) foreach @failing;

$node->append_conf('postgresql.conf', "log_statement = all\nlog_duration = on\nlog_min_duration_statement = 0");
$node->reload;
$node->safe_psql('postgres', 'DELETE FROM card');

$offset = -s $node->logfile;
run_bound($seal);
like(slurp_file($node->logfile, $offset), qr/\Q$secret\E/,
	'log_statement = all logs bind parameters, as the documentation warns');

$node->safe_psql('postgres', 'ALTER ROLE app SET log_parameter_max_length = 0; DELETE FROM card');
bind_and_check('with log_statement = all and log_parameter_max_length = 0', $seal, 0);
bind_and_check("with log_statement = all and log_parameter_max_length = 0, $_->[0]", $_->[1], 1, $_->[2]) foreach @failing;

check_activity();

# Dumps hold ciphertext, and it opens where they are restored.
$node->command_ok(['pg_dump', '-f', "$scratch.sql", $node->connstr('postgres')], 'plain dump');
$node->command_ok(['pg_dump', '-Fc', '-Z0', '-f', "$scratch.dump", $node->connstr('postgres')], 'custom dump');
$node->command_ok(['pg_restore', '-f', "$scratch.restored.sql", "$scratch.dump"], 'custom dump as text');
foreach my $file ("$scratch.sql", "$scratch.dump", "$scratch.restored.sql")
{
	my $dump = slurp_file($file);

	like($dump, qr/sealed:1:k1:/, "$file has the ciphertext");
	unlike($dump, qr/\Q$secret\E|4242|\Q$old_key\E/, "$file has no plaintext and no key");
}

unlink $key_file;
$node->safe_psql('postgres', 'CREATE DATABASE plain; CREATE DATABASE custom');
$node->command_ok(['psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-f', "$scratch.sql", $node->connstr('plain')],
	'plain dump restores without a key');
$node->command_ok(['pg_restore', '-e', '-d', $node->connstr('custom'), "$scratch.dump"],
	'custom dump restores without a key');
write_keys("k1 $old_key\n");
foreach my $database ('plain', 'custom')
{
	is($node->safe_psql($database, 'SELECT billing.last4(1, last4), billing.sealed_key_id(billing.reseal(1, \'token\', token)) FROM card'),
		'**** 4242|k1', "values open in database $database");
}

# A value in each column of the type that the extension has.
$node->safe_psql('postgres', q{
	SELECT billing.create_tenant(1, 'Tenant 1', 'USD'), billing.create_gateway('bank', 'manual', '{"is_test": "true"}', '{"callback_secret": "0123456789abcdef"}');
	SELECT billing.add_payment_method(1, 'bank', 'card', 'tok_ok', last4 => '4242');
	SELECT billing.create_payment(1, NULL, '1 USD', gateway => 'bank', method => 'bank_transfer', purpose => 'top_up');
	UPDATE billing.payment SET client_secret = billing.seal(1, 'client_secret', 'pi_1_secret_2');
	UPDATE billing.gateway_request SET memory = billing.seal(1, 'gateway_memory', '{}');
	SELECT billing.create_webhook_endpoint('https://example.com/', '{*}', headers => '{"X-Key": "1"}');
	UPDATE billing.webhook_endpoint SET previous_secret = secret, previous_until = now();
});

# A key is replaced: the new one on top, the old one below, reseal, drop the old one.
$node->safe_psql('postgres', 'ALTER ROLE app RESET ALL');
write_keys("# 2026\nk2 $new_key\n\nk1 $old_key\n");
is($node->safe_psql('postgres', 'SELECT * FROM billing.seal_keys()'), "k2|t\nk1|f", 'the first key is the current one');
is($node->safe_psql('postgres', 'SELECT billing.sealed_key_id(last4), billing.last4(1, last4) FROM card'),
	'k1|**** 4242', 'the old key still opens');
is($node->safe_psql('postgres', q{SELECT billing.sealed_key_id(billing.seal(1, 'token', 'x'))}), 'k2', 'the new key seals');
$node->safe_psql('postgres', q{UPDATE card SET last4 = billing.reseal(1, 'last4', last4)});
is($node->safe_psql('postgres', 'SELECT billing.sealed_key_id(last4), billing.last4(1, last4) FROM card'),
	'k2|**** 4242', 'reseal moves a value to the new key');
$node->safe_psql('postgres', $_) for slurp_file('doc/sealed.md') =~ /(UPDATE billing\..*?;)/gs;
my $columns = $node->safe_psql('postgres', q{SELECT string_agg(format('SELECT %L, billing.sealed_key_id(%I) FROM %s WHERE %I IS NOT NULL', attrelid::regclass || '.' || attname,
		attname, attrelid::regclass, attname), ' UNION ' ORDER BY attrelid, attnum)
	FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid WHERE atttypid = 'billing.sealed'::regtype AND relkind = 'r' AND relnamespace = 'billing'::regnamespace});
is($node->safe_psql('postgres', "$columns ORDER BY 1"), join("\n", map { "billing.$_|k2" } qw(gateway.credentials gateway_request.memory payment.client_secret
	payment_method.last4 payment_method.token webhook_endpoint.headers webhook_endpoint.previous_secret webhook_endpoint.secret)), 'what the page says reseals all that the extension has');
write_keys("k2 $new_key\n");
is($node->safe_psql('postgres', 'SELECT billing.last4(1, last4) FROM card'), '**** 4242', 'the old key is not needed for it');
fails('a value of a dropped key', q{SELECT billing.reseal(1, 'token', token) FROM card},
	qr/ERROR:  55000: key "k1" is not in the key file.*DETAIL:.*HINT:  Put the key back/s);
write_keys("k2 $new_key\nk1 $new_key\n");
fails('other bytes under the id of the key', q{SELECT billing.reseal(1, 'token', token) FROM card},
	qr/ERROR:  YB011: sealed value does not open for tenant 1 with key "k1".*DETAIL:.*HINT:/s);
write_keys("k2 $new_key\nalias $new_key\n");
fails('the same key under another id', q{SELECT billing.last4(1, replace(last4::text, ':k2:', ':alias:')::billing.sealed) FROM card},
	qr/ERROR:  YB011: /);

# What a key file may look like.
my $seal_now = q{SELECT billing.sealed_key_id(billing.seal(1, 'token', 'x'))};
my @good = (
	['comments, blank lines, blanks', "# keys\n\n \t\n  k1 \t $old_key  \n#k2 $new_key\n", 'k1'],
	['Windows line ends', "k1 $old_key\r\nk2 $new_key\r\n", 'k1'],
	['no newline at the end', "k1 $old_key", 'k1'],
	['upper case digits', 'k1 ' . uc($new_key) . "\n", 'k1'],
	['the longest id', 'Az0._-' . 'k' x 26 . " $old_key\n", 'Az0._-' . 'k' x 26],
	['many keys', join('', map { "key$_ $old_key\n" } 1 .. 900), 'key1']);
foreach my $case (@good)
{
	my ($name, $text, $key_id) = @$case;

	write_keys($text);
	is($node->safe_psql('postgres', $seal_now), $key_id, "key file with $name");
}

# What it may not: each is an error with file and line, and without the key.
my $id_detail = qr/The key id is not 1 to 32 letters/;
my @malformed = (
	['short key', "k1 " . substr($old_key, 1), 1, qr/fewer than 64/],
	['long key', "k1 ${old_key}0", 1, qr/more than 64/],
	['digits that are none', "k1 " . substr($old_key, 1) . 'g', 1, qr/not a hexadecimal digit/],
	['a sign among the digits', "k1 +" . substr($old_key, 1), 1, qr/not a hexadecimal digit/],
	['a zero byte among the digits', "k1 \0" . substr($old_key, 1), 1, qr/not a hexadecimal digit/],
	['no key', "k1\n", 1, qr/no key after the key id/],
	['no id', "$old_key\n", 1, $id_detail],
	['a bad id', "k/1 $old_key\n", 1, $id_detail],
	['a long id', 'k' x 33 . " $old_key\n", 1, $id_detail],
	['a byte order mark', "\xEF\xBB\xBFk1 $old_key\n", 1, $id_detail],
	['a third word', "k1 $old_key # mine\n", 1, qr/Something follows the key/],
	['an id used twice', "k1 $old_key\n# again\nk1 $new_key\n", 3, qr/An earlier line has the same key id/],
	['a bad line below a good one', "k1 $old_key\nk2 xyz\n", 2, qr/fewer than 64/],
	['an equals sign', "k1=$old_key\n", 1, $id_detail],
	['a private key instead', "-----BEGIN PRIVATE KEY-----\nMIIEvQ\n", 1, qr/Something follows the key/],
	['noise', join('', map { chr(($_ * 73 + 41) % 256) } 1 .. 4096), 1, qr/./]);
foreach my $case (@malformed)
{
	my ($name, $text, $line, $detail) = @$case;

	write_keys($text);
	fails("key file with $name", $seal_now,
		qr/ERROR:  F0000: key file "\Q$key_file\E" has a malformed line $line\nDETAIL:  [^\n]*$detail.*HINT:/s);
}
write_keys("");
fails('empty key file', $seal_now, qr/ERROR:  55000: key file "\Q$key_file\E" has no key.*HINT:/s);
write_keys("# none\n\n");
fails('key file of comments', $seal_now, qr/ERROR:  55000: key file "\Q$key_file\E" has no key/);
write_keys("k1 $old_key\n" . '#' x (64 * 1024));
fails('huge key file', $seal_now, qr/ERROR:  F0000: key file "\Q$key_file\E" is larger than 65536 bytes.*HINT:/s);

# What it may be.
write_keys("k1 $old_key\n");
foreach my $mode (0640, 0604, 0620, 0602, 0610, 0601, 0777)
{
	chmod $mode, $key_file;
	fails(sprintf('key file of mode %04o', $mode), $seal_now,
		qr/ERROR:  F0000: key file "\Q$key_file\E" has group or world access.*DETAIL:.*HINT:/s);
}
chmod 0400, $key_file;
is($node->safe_psql('postgres', $seal_now), 'k1', 'key file of mode 0400');
SKIP:
{
	skip 'this user reads whatever the mode', 1 if -r $key_file && $> == 0;
	chmod 0200, $key_file;
	fails('unreadable key file', $seal_now,
		qr/ERROR:  42501: could not open key file "\Q$key_file\E": Permission denied.*HINT:/s);
}
unlink $key_file;
fails('missing key file', $seal_now, qr/ERROR:  58P01: could not open key file "\Q$key_file\E": No such file.*HINT:/s);
fails('missing key file, opening', 'SELECT billing.last4(1, last4) FROM card', qr/ERROR:  58P01: /);
fails('missing key file, resealing', q{SELECT billing.reseal(1, 'token', token) FROM card}, qr/ERROR:  58P01: /);
fails('missing key file, listing', 'SELECT * FROM billing.seal_keys()', qr/ERROR:  58P01: /);
is($node->safe_psql('postgres', 'SELECT billing.sealed_key_id(token) FROM card'), 'k1', 'the key id needs no key file');
mkdir $key_file, 0700;
fails('folder as key file', $seal_now, qr/ERROR:  F0000: key file "\Q$key_file\E" is not a regular file.*HINT:/s);
rmdir $key_file;
mkfifo($key_file, 0600);
fails('pipe as key file', $seal_now, qr/ERROR:  F0000: key file "\Q$key_file\E" is not a regular file/);
unlink $key_file;
symlink '/etc/passwd', $key_file;
fails('file that everyone reads', $seal_now, qr/ERROR:  F0000: key file "\Q$key_file\E" has group or world access/);
unlink $key_file;
symlink '/dev/null', $key_file;
fails('device as key file', $seal_now, qr/ERROR:  F0000: key file "\Q$key_file\E" is not a regular file/);
unlink $key_file;

# The setting follows a reload in a session that runs.
write_keys("k1 $old_key\n");
write_file("$key_file.other", "other $new_key\n");
my $conf = $node->data_dir . '/postgresql.conf';
is($node->safe_psql('postgres', qq{
	SELECT key_id FROM billing.seal_keys();
	\\! echo "billing.key_file = '$key_file.other'" >> '$conf'
	SELECT pg_reload_conf() \\gset
	SELECT pg_sleep(1) \\gset
	SELECT key_id FROM billing.seal_keys();
}), "k1\nother", 'pg_reload_conf() takes effect in a running session');

$node->append_conf('postgresql.conf', "billing.key_file = ''");
$node->reload;
$node->poll_query_until('postgres', 'SHOW billing.key_file', '') or die 'setting did not reload';
fails('no key file set', $seal_now, qr/ERROR:  55000: setting billing.key_file is empty.*DETAIL:.*HINT:/s);

# Who may what.
fails('an application that looks at keys', 'SELECT * FROM billing.seal_keys()', qr/ERROR:  42501: permission denied/, 'app');
fails('an application that looks at the setting', q{LOAD 'billing'; SHOW billing.key_file}, qr/ERROR:  42501: /, 'app');

$node->stop;
my $log = slurp_file($node->logfile);
unlike($log, qr/terminated by signal|server process .* exited|PANIC/, 'nothing crashed');
unlike($log, qr/\Q$old_key\E|\Q$new_key\E|\Q${\uc $new_key}\E/, 'no key is in the log');
done_testing();

# write_keys(TEXT) - replace the key file, as safely as the documentation says.
sub write_keys
{
	my ($text) = @_;

	write_file("$key_file.tmp", $text);
	rename "$key_file.tmp", $key_file or die "could not rename to $key_file: $!";
	return;
}

sub write_file
{
	my ($path, $text) = @_;

	open my $out, '>:raw', $path or die "could not write $path: $!";
	chmod 0600, $path;
	print $out $text;
	close $out;
	return;
}

# fails(NAME, SQL, EXPECTED, ROLE) - the statement fails as expected, shows no key, and the server goes on.
sub fails
{
	my ($name, $sql, $expected, $role) = @_;
	my $stderr;

	$node->psql('postgres', "\\set VERBOSITY verbose\n$sql", stderr => \$stderr,
		extra_params => defined $role ? [ '-U', $role ] : []);
	like($stderr, $expected, "$name: clear error");
	unlike($stderr, qr/[0-9a-f]{16}/i, "$name: no key in it");
	is($node->safe_psql('postgres', 'SELECT 1'), '1', "$name: the server goes on");
	return;
}

# run_bound(SQL) - run a statement as app with the secret as a bind parameter; returns what pgbench printed.
sub run_bound
{
	my ($sql) = @_;
	my ($stdout, $stderr);

	IPC::Run::run(bound_command($sql), '>', \$stdout, '2>', \$stderr);
	return $stdout . $stderr;
}

# In extended mode pgbench sends its variables as parameters of Bind.
sub bound_command
{
	my ($sql) = @_;

	write_file("$scratch.pgbench", "$sql\n");
	return [ 'pgbench', '-n', '-M', 'extended', '-t', '1', '-U', 'app', '-h', $node->host, '-p', $node->port,
		'-D', "secret=$secret", '-f', "$scratch.pgbench", 'postgres' ];
}

# bind_and_check(NAME, SQL, SHOULD_FAIL, MESSAGE) - it ends as it should, and neither log nor client shows the secret.
sub bind_and_check
{
	my ($name, $sql, $should_fail, $message) = @_;
	my ($output, $logged);

	$offset = -s $node->logfile;
	$output = run_bound($sql);
	$logged = slurp_file($node->logfile, $offset);
	if ($should_fail)
	{
		like($output, qr/\Q$message\E/, "$name: fails");
		like($logged, qr/\Q$message\E/, "$name: is logged");
	}
	else
	{
		like($output, qr{processed: 1/1}, "$name: runs");
	}
	unlike($output, qr/\Q$secret\E/, "$name: not shown to the client");
	unlike($logged, qr/\Q$secret\E/, "$name: not in the log");
	return;
}

# check_activity() - while a seal runs, nobody sees what is sealed.
sub check_activity
{
	my $output = '';
	my $sleeper = IPC::Run::start(
		bound_command(q{SELECT billing.seal(1, 'token', :secret), pg_sleep(600);}), '>&', \$output);
	my $sleeping = q{FROM pg_stat_activity WHERE wait_event = 'PgSleep'};

	ok($node->poll_query_until('postgres', "SELECT count(*) = 1 $sleeping"), 'a seal is running');
	my $seen = $node->safe_psql('postgres', 'SELECT * FROM pg_stat_activity');
	like($seen, qr/billing\.seal\(1, 'token', \$1\)/, 'its statement is in pg_stat_activity');
	unlike($seen, qr/\Q$secret\E/, 'its secret is not');

	$node->safe_psql('postgres', "SELECT pg_terminate_backend(pid) $sleeping");
	$sleeper->finish;
	return;
}
