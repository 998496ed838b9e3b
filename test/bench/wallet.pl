#!/usr/bin/env perl
# Measure consume() against a double-entry ledger as a team would write it by hand, at 4 clients, in turns.
#
# The ledger has tables with primary, unique and foreign keys and checks.  To consume is to lock the account, to look for the
# idempotency key, to check the balance, to insert the transfer and its two entries and to update the balance.  That is
# measured in three forms: a transaction of plain SQL statements, as an application sends it, one statement with
# data-modifying WITH, and a function in PL/pgSQL.  All sides take a cent from random accounts that hold enough.
#
# All sides commit without waiting for the disk, which is the same for all and would be all that is measured.  The turns follow
# each other without a checkpoint: what first touches a page after one writes all of it, which short turns would show and the
# minutes between checkpoints do not.  A ratio is the median of the turns': a neighbour on the machine spoils some of them.
use strict;
use warnings FATAL => 'all';

my $seconds = $ENV{BENCH_SECONDS} // 2;
my $turns = $ENV{BENCH_TURNS} // 9;
my $accounts = 10_000;
my $clients = 4;
my $missed = 0;

my $ours = "SELECT billing.consume(:account, '0.01 USD', 'bench', 'k' || :key);";
my @references = (
	{name => 'wallet_consume', bound => 2, what => 'a transaction of plain SQL statements', script => <<'SQL'},
BEGIN;
SELECT balance AS current FROM plain_account WHERE account_id = :account FOR UPDATE \gset
SELECT count(*) AS is_known FROM plain_transfer WHERE account_id = :account AND idempotency_key = 'k' || :key \gset
\if :is_known = 0 and :current >= 0.01
INSERT INTO plain_transfer (account_id, idempotency_key, amount, reason) VALUES (:account, 'k' || :key, 0.01, 'bench') RETURNING transfer_id \gset
INSERT INTO plain_entry (transfer_id, account_id, amount) VALUES (:transfer_id, :account, -0.01), (:transfer_id, :other, 0.01);
UPDATE plain_account SET balance = balance - 0.01 WHERE account_id = :account;
\endif
COMMIT;
SQL
	{name => 'wallet_consume_statement', bound => 1.5, what => 'one SQL statement with data-modifying WITH', script => <<'SQL'},
WITH debited AS (
	UPDATE plain_account SET balance = balance - 0.01 WHERE account_id = :account AND balance >= 0.01 RETURNING account_id, balance
), transferred AS (
	INSERT INTO plain_transfer (account_id, idempotency_key, amount, reason) SELECT account_id, 'k' || :key, 0.01, 'bench' FROM debited
	RETURNING transfer_id, account_id, amount
), entered AS (
	INSERT INTO plain_entry (transfer_id, account_id, amount)
	SELECT transfer_id, account_id, -amount FROM transferred UNION ALL SELECT transfer_id, -account_id, amount FROM transferred
)
SELECT balance FROM debited;
SQL
	{name => 'wallet_consume_function', bound => 1.5, what => 'a function in PL/pgSQL', script => "SELECT plain_consume(:account, 0.01, 'bench', 'k' || :key);\n"},
);

setup();
my @rates = map { turn() } 1 .. $turns;
check();
report($_) for 0 .. $#references;
exit($missed ? 1 : 0);

# How many consumes a second of each reference, and ours after them.
sub turn
{
	return [map { measure($_) } (map { $_->{script} } @references), $ours];
}

sub report
{
	my ($which) = @_;
	my ($name, $bound, $what) = @{$references[$which]}{qw(name bound what)};
	my $ratio = median(map { $_->[-1] / $_->[$which] } @rates);
	printf "bench %s ratio %.2f bound >=%s - consumes a second at %d clients (%.0f) against a double-entry ledger by %s (%.0f)\n",
		$name, $ratio, $bound, $clients, median(map { $_->[-1] } @rates), $what, median(map { $_->[$which] } @rates);
	$missed++ if $ratio < $bound;
}

sub median { my @sorted = sort { $a <=> $b } @_; return $sorted[@sorted / 2] }

sub setup
{
	sql(<<"SQL");
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS billing;
INSERT INTO billing.tenant (tenant_id, name) SELECT 2000000 + a, 'wallet' FROM generate_series(1, $accounts) a ON CONFLICT DO NOTHING;
SELECT count(billing.top_up(2000000 + a, '1000000 USD', 'bench')) FROM generate_series(1, $accounts) a;
DROP TABLE IF EXISTS plain_entry, plain_transfer, plain_account;
CREATE TABLE plain_account (
	account_id bigint PRIMARY KEY,
	currency text NOT NULL,
	balance numeric(20, 2) NOT NULL CHECK (balance >= 0)
) WITH (fillfactor = 80);
CREATE TABLE plain_transfer (
	transfer_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	account_id bigint NOT NULL REFERENCES plain_account,
	idempotency_key text NOT NULL,
	amount numeric(20, 2) NOT NULL CHECK (amount > 0),
	reason text,
	created_at timestamptz NOT NULL DEFAULT now(),
	UNIQUE (account_id, idempotency_key)
);
CREATE TABLE plain_entry (
	entry_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	transfer_id bigint NOT NULL REFERENCES plain_transfer,
	account_id bigint NOT NULL REFERENCES plain_account,
	amount numeric(20, 2) NOT NULL
);
CREATE INDEX ON plain_entry (account_id);
INSERT INTO plain_account SELECT 2000000 + a, 'USD', 1000000 FROM generate_series(1, $accounts) a;
INSERT INTO plain_account SELECT -2000000 - a, 'USD', 0 FROM generate_series(1, $accounts) a;
CREATE OR REPLACE FUNCTION plain_consume(account bigint, consumed numeric, why text, key text) RETURNS numeric LANGUAGE plpgsql AS \$\$
DECLARE
	current numeric;
	transfer bigint;
BEGIN
	SELECT a.balance INTO current FROM plain_account a WHERE a.account_id = account FOR UPDATE;
	IF NOT FOUND THEN
		RAISE EXCEPTION 'account % does not exist', account;
	END IF;
	PERFORM FROM plain_transfer t WHERE t.account_id = account AND t.idempotency_key = key;
	IF FOUND THEN
		RETURN current;
	END IF;
	IF current < consumed THEN
		RAISE EXCEPTION 'account % lacks %', account, consumed - current;
	END IF;
	INSERT INTO plain_transfer (account_id, idempotency_key, amount, reason) VALUES (account, key, consumed, why)
		RETURNING transfer_id INTO transfer;
	INSERT INTO plain_entry (transfer_id, account_id, amount) VALUES (transfer, account, -consumed), (transfer, -account, consumed);
	UPDATE plain_account SET balance = balance - consumed WHERE account_id = account;
	RETURN current - consumed;
END \$\$;
VACUUM ANALYZE billing.tenant;
VACUUM ANALYZE billing.credit_grant;
VACUUM ANALYZE billing.counter;
VACUUM ANALYZE plain_account;
CHECKPOINT;
SQL
}

# Transactions a second of a script.
sub measure
{
	my ($script) = @_;
	my $file = ($ENV{BILLING_TMP} // '/tmp') . "/wallet_bench.$$.sql";
	chomp(my $bin = `\${PG_CONFIG:-pg_config} --bindir`);
	open my $out, '>', $file or die "could not write $file: $!";
	print $out "\\set account random(2000001, 2000000 + $accounts)\n\\set other -:account\n\\set key random(1, 1000000000000000)\n$script";
	close $out;
	local $ENV{PGOPTIONS} = '-c synchronous_commit=off';
	my $report = `$bin/pgbench -n -M prepared -c $clients -j 2 -T $seconds -f $file 2>&1`;
	unlink $file;
	$report =~ /^tps = ([\d.]+)/m && $report !~ /aborted/ or die "pgbench failed: $report\n";
	return $1;
}

# All did all that they say.
sub check
{
	my $wrong = sql(<<'SQL');
SELECT (SELECT count(*) FROM billing.audit_wallet WHERE tenant_id > 2000000)
	+ (SELECT count(*) FROM plain_account a WHERE a.account_id > 0 AND a.balance <> 1000000 + coalesce((SELECT sum(e.amount) FROM plain_entry e WHERE e.account_id = a.account_id), 0))
SQL
	die "$wrong accounts are wrong\n" if $wrong != 0;
}

# Run commands; returns the last line that they print.
sub sql
{
	my ($commands) = @_;
	my $name = ($ENV{BILLING_TMP} // '/tmp') . "/wallet_bench.$$.setup.sql";
	open my $file, '>', $name or die "could not write $name: $!";
	print $file $commands, ";\n";
	close $file;
	my @lines = qx(psql -XAtq -v ON_ERROR_STOP=1 -f $name);
	die "psql failed\n" if $? != 0;
	unlink $name;
	chomp @lines;
	return $lines[-1];
}
