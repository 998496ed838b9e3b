#!/usr/bin/env perl
# Measure the bill run against bare inserts of the rows it writes, against itself, and against a loop by hand.
#
# Prints lines as test/bench/run does, and exits 1 if a bound is missed.  Each subscription has a tenant of its own, three
# prices, two of them metered, and a usage event a day for each meter, brought in by COPY and compacted before the run.
#
# Reads  BENCH_SUBSCRIPTIONS  how many (default: 100000; 1000000 takes 25 GB and about an hour)
use strict;
use warnings FATAL => 'all';
use Time::HiRes qw(time);

my $many = $ENV{BENCH_SUBSCRIPTIONS} // 100_000;
my $few = 10_000;
my $sample = 2_000;
my $missed = 0;
$| = 1;

# Few subscriptions for four months, twice.  The first month appends to empty indexes, as none does that follows: those are
# compared with each other.
my @months = map { [play_months("bench_few_$_")] } 1 .. 2;
@months = map { my $month = $_; least(map { $_->[$month] } @months) } 0 .. 3;

# Many for one, in copies of one database; the run and its reference take turns.
make_database('bench_many', $many);
load_month('bench_many', $many, 1);
my (@runs, @references);
for my $turn (1 .. ($many <= 200_000 ? 3 : 1))
{
	my $database = copy_database('bench_many', "bench_many_$turn");
	push @runs, bill($database, 1);
	push @references, run_reference($database, make_reference($database));
}
my ($run, $reference) = (least(@runs), least(@references));

report('bill_run', $run / $reference, '<=', 2, sprintf('the bill run of %d subscriptions (%.0f us each) against bare INSERT ... SELECT of every row it writes',
	$many, 1e6 * $run / $many));
report('bill_growth', $run / $many / $months[0], '<=', 1.10, "a subscription among $many against one among $few");
report('bill_history', $months[3] / $months[1], '<=', 1.10, 'a subscription in its fourth month against its second');
report('bill_helper', $run / bill(copy_database('bench_many', 'bench_many_helped'), 1, 2), '>=', 1.3, 'a run alone against one with a helper (billing.max_workers = 2)');
report('bill_two_callers', $run / bill_twice('bench_many'), '>=', 1.3, 'one caller against two at once');
report('bill_plpgsql', by_hand('bench_many', $sample) / ($run / $many), '>=', 20, 'the same month in a PL/pgSQL loop over plain tables of the same base, per subscription');
exit($missed ? 1 : 0);

sub report
{
	my ($name, $ratio, $sense, $bound, $what) = @_;
	printf "bench %s ratio %.2f bound %s%s - %s\n", $name, $ratio, $sense, $bound, $what;
	$missed++ if $sense eq '<=' ? $ratio > $bound : $ratio < $bound;
}

sub least { my ($least) = sort { $a <=> $b } @_; return $least }

# Run commands in a session of their own; returns what they print.
sub sql
{
	my ($database, $commands) = @_;
	open my $file, '>', "$ENV{BILLING_TMP}/bench.sql" or die "could not write: $!";
	print $file "SET client_min_messages = warning;\n$commands;\n";
	close $file;
	my $answer = qx(psql -XAtq -v ON_ERROR_STOP=1 -d $database -f $ENV{BILLING_TMP}/bench.sql);
	die "psql failed\n" if $? != 0;
	chomp $answer;
	return $answer;
}

# Seconds per subscription of each of four months.
sub play_months
{
	my $database = shift;
	make_database($database, $few);
	return map { load_month($database, $few, $_); bill($database, $_) / $few } 1 .. 4;
}

sub copy_database
{
	my ($from, $to) = @_;
	sql('postgres', "CREATE DATABASE $to TEMPLATE $from STRATEGY file_copy");
	return $to;
}

sub make_database
{
	my ($name, $subscriptions) = @_;
	sql('postgres', "CREATE DATABASE $name");
	sql($name, <<"SQL");
CREATE EXTENSION billing;
INSERT INTO billing.meter (code) VALUES ('api'), ('storage');
INSERT INTO billing.plan (plan_id, code, name) VALUES (1, 'pro', 'Pro');
INSERT INTO billing.price (plan_id, code, tariff, meter, sort_order) VALUES
	(1, 'base', '{"model":"flat","currency":"USD","amount":"29"}', NULL, 0),
	(1, 'api', '{"model":"graduated","currency":"USD","tiers":[{"up_to":"1000","unit_amount":"0.01"},
		{"up_to":"10000","unit_amount":"0.008"},{"up_to":null,"unit_amount":"0.005"}]}', 'api', 1),
	(1, 'storage', '{"model":"per_unit","currency":"USD","unit_amount":"0.0235","free_units":"100"}', 'storage', 2);
INSERT INTO billing.tenant (tenant_id, name, created_at) SELECT n, 'tenant ' || n, '2026-01-01Z' FROM generate_series(1, $subscriptions) n;
INSERT INTO billing.counter (tenant_id) SELECT n FROM generate_series(1, $subscriptions) n;
INSERT INTO billing.subscription (tenant_id, subscription_id, plan_id, status, currency, anchor, timezone, started_at,
	period_start, period_end, billed_to, due_at)
SELECT n, 1000000000 + n, 1, 'active', 'USD', '2026-01-01Z', 'UTC', '2026-01-01Z', '2026-01-01Z', '2026-02-01Z', '2026-01-01Z', '2026-02-01Z'
FROM generate_series(1, $subscriptions) n;
SQL
}

# A month of usage as an application sends it: by COPY, in the order of time.
sub load_month
{
	my ($database, $subscriptions, $month) = @_;
	my $days = $month == 2 ? 28 : 30;
	my $events = "SELECT n, format('$month-%s-%s-%s', m, d, n), m, round(7 + n % 97 + d * 3.25, 3),
		timestamptz '2026-0$month-01 12:00Z' + d * interval '1 day', 1000000000 + n, now()
		FROM generate_series(0, $days - 1) d, unnest('{api,storage}'::text[]) m, generate_series(1, $subscriptions) n";
	system('bash', '-c', qq(set -o pipefail; psql -XAtq -d $database -c "COPY ($events) TO STDOUT" |
		psql -XAtq -v ON_ERROR_STOP=1 -d $database -c "COPY billing.usage_event (tenant_id, event_id, meter, quantity, at, subscription_id, recorded_at) FROM STDIN"))
		== 0 or die "could not copy usage\n";
	sql($database, 'CALL billing.compact_usage()');
	sql($database, 'VACUUM ANALYZE; CHECKPOINT');
}

# Seconds that it takes to bill a month, by one process or several.
sub bill
{
	my ($database, $month, $workers) = @_;
	local $ENV{PGOPTIONS} = '-c billing.max_workers=' . ($workers // 1);
	my $begun = time;
	sql($database, sprintf("CALL billing.bill_due('2026-%02d-01Z')", $month + 1));
	return time - $begun;
}

sub bill_twice
{
	my $database = shift;
	my $begun = time;
	my @callers = map {
		my $pid = fork // die "could not fork: $!";
		exec 'psql', '-Xq', '-d', $database, '-c', "CALL billing.bill_due('2026-02-01Z')" if $pid == 0;
		$pid
	} 1 .. 2;
	waitpid $_, 0 for @callers;
	return time - $begun;
}

# The rows that a bill run has written, as plain tables to insert them from, and the batch of each.
sub make_reference
{
	my $database = shift;
	my $wrong = sql($database, 'SELECT count(*) FROM billing.subscription s LEFT JOIN billing.invoice i USING (tenant_id, subscription_id)
		WHERE i.item_count IS DISTINCT FROM 3');
	die "$wrong subscriptions were not billed\n" if $wrong != 0;
	sql($database, 'CREATE SCHEMA source; CREATE SCHEMA reference');
	for my $table (qw(invoice invoice_item calculation_log transaction event counter subscription))
	{
		sql($database, "CREATE TABLE source.$table AS SELECT (dense_rank() OVER (ORDER BY tenant_id) - 1) / 10000 AS batch, *
				FROM billing.$table;
			CREATE INDEX ON source.$table (batch); VACUUM ANALYZE source.$table");
	}
	return qw(invoice invoice_item calculation_log transaction event counter subscription);
}

# Seconds that bare inserts and updates of the same rows take, in transactions of the same batches, into tables with the
# same columns, primary and unique keys and checks.
sub run_reference
{
	my ($database, @tables) = @_;
	my ($tables, %columns) = ('');
	for my $table (@tables)
	{
		$tables .= "CREATE TABLE reference.$table (LIKE billing.$table INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING GENERATED INCLUDING INDEXES);\n"
			. sql($database, "SELECT format('ALTER TABLE reference.$table SET (%s);', array_to_string(reloptions, ', '))
				FROM pg_class WHERE oid = 'billing.$table'::regclass AND reloptions IS NOT NULL");
		$columns{$table} = sql($database, "SELECT string_agg(attname, ', ' ORDER BY attnum) FROM pg_attribute
			WHERE attrelid = 'billing.$table'::regclass AND attnum > 0 AND NOT attisdropped AND attgenerated = ''");
	}
	sql($database, $tables);
	# Only what makes rows unique.
	sql($database, sql($database, "SELECT coalesce(string_agg(format('DROP INDEX %s', indexrelid::regclass), '; '), 'SELECT')
		FROM pg_index WHERE NOT indisunique AND indrelid IN (SELECT oid FROM pg_class WHERE relnamespace = 'reference'::regnamespace)"));
	sql($database, "INSERT INTO reference.counter (tenant_id) SELECT tenant_id FROM source.counter;
		INSERT INTO reference.subscription ($columns{subscription}) SELECT $columns{subscription} FROM source.subscription;
		VACUUM ANALYZE reference.counter; VACUUM ANALYZE reference.subscription; CHECKPOINT");
	my $batches = sql($database, 'SELECT max(batch) FROM source.invoice');
	my $commands = '';
	for my $batch (0 .. $batches)
	{
		$commands .= "BEGIN;\n";
		$commands .= "INSERT INTO reference.$_ ($columns{$_}) SELECT $columns{$_} FROM source.$_ WHERE batch = $batch;\n"
			for qw(invoice invoice_item calculation_log transaction event);
		$commands .= "UPDATE reference.counter c SET invoice_number = s.invoice_number, chain_no = s.chain_no, chain_hash = s.chain_hash
			FROM source.counter s WHERE s.batch = $batch AND c.tenant_id = s.tenant_id;
			UPDATE reference.subscription c SET status = s.status, anchor = s.anchor, timezone = s.timezone, period_start = s.period_start,
				period_end = s.period_end, billed_to = s.billed_to, due_at = s.due_at, ended_at = s.ended_at, version = c.version + 1
			FROM source.subscription s WHERE s.batch = $batch AND c.tenant_id = s.tenant_id AND c.subscription_id = s.subscription_id;
			COMMIT;\n";
	}
	my $begun = time;
	sql($database, "SET jit = off;\n$commands");
	return time - $begun;
}

# Seconds per subscription of the month as a team bills it by hand: plain tables that hold the same base, usage in the order
# in which it came, and a procedure that takes one subscription after another, $count of them here.  It states what the run
# states: tax, due date and parties, lines with their periods, receivable against revenue and revenue to come, events.
sub by_hand
{
	my ($database, $count) = @_;
	sql($database, <<"SQL");
CREATE SCHEMA hand;
SET search_path = hand;
CREATE TABLE tax_rate (code text PRIMARY KEY, percent numeric NOT NULL);
CREATE TABLE setting (name text PRIMARY KEY, value text NOT NULL);
CREATE TABLE customer (id bigint PRIMARY KEY, name text NOT NULL, email text, timezone text NOT NULL, tax_rate text REFERENCES tax_rate,
	next_number int NOT NULL DEFAULT 1, last_hash text NOT NULL DEFAULT '');
CREATE TABLE plan (id int PRIMARY KEY, name text NOT NULL, cycle interval NOT NULL);
CREATE TABLE price (id int PRIMARY KEY, plan_id int NOT NULL REFERENCES plan, code text NOT NULL, meter text, model text NOT NULL, amount numeric,
	free_units numeric, tiers jsonb);
CREATE TABLE subscription (id bigint PRIMARY KEY, customer_id bigint NOT NULL REFERENCES customer, plan_id int NOT NULL REFERENCES plan, status text NOT NULL,
	period_start timestamptz NOT NULL, period_end timestamptz NOT NULL, next_bill timestamptz NOT NULL);
CREATE INDEX ON subscription (next_bill);
CREATE TABLE usage (id bigserial PRIMARY KEY, subscription_id bigint NOT NULL REFERENCES subscription, meter text NOT NULL,
	quantity numeric NOT NULL, at timestamptz NOT NULL);
CREATE TABLE invoice (id bigserial PRIMARY KEY, customer_id bigint NOT NULL REFERENCES customer, subscription_id bigint NOT NULL REFERENCES subscription,
	number text NOT NULL UNIQUE, status text NOT NULL, subtotal numeric NOT NULL DEFAULT 0, tax numeric NOT NULL DEFAULT 0, total numeric NOT NULL DEFAULT 0,
	period_start timestamptz NOT NULL, period_end timestamptz NOT NULL, issued_at timestamptz, due_at timestamptz, billing_name text, billing_email text,
	UNIQUE (subscription_id, period_end));
CREATE TABLE invoice_item (id bigserial PRIMARY KEY, invoice_id bigint NOT NULL REFERENCES invoice, price_id int NOT NULL REFERENCES price,
	quantity numeric NOT NULL, amount numeric NOT NULL, period_start timestamptz NOT NULL, period_end timestamptz NOT NULL, UNIQUE (invoice_id, price_id));
CREATE TABLE calculation_log (id bigserial PRIMARY KEY, invoice_id bigint NOT NULL REFERENCES invoice, step jsonb NOT NULL, hash text NOT NULL);
CREATE TABLE ledger (id bigserial PRIMARY KEY, invoice_id bigint NOT NULL REFERENCES invoice, account text NOT NULL, amount numeric NOT NULL, at timestamptz NOT NULL);
CREATE TABLE event (id bigserial PRIMARY KEY, customer_id bigint NOT NULL REFERENCES customer, type text NOT NULL, payload jsonb NOT NULL, at timestamptz NOT NULL);
INSERT INTO setting VALUES ('net_days', '0'), ('invoice_prefix', 'INV-');
INSERT INTO customer (id, name, timezone) SELECT tenant_id, name, timezone FROM billing.tenant;
INSERT INTO plan VALUES (1, 'Pro', '1 month');
INSERT INTO price VALUES (0, 1, 'base', NULL, 'flat', 29, NULL, NULL), (1, 1, 'api', 'api', 'graduated', NULL, NULL,
	'[{"up_to":1000,"unit_amount":0.01},{"up_to":10000,"unit_amount":0.008},{"up_to":null,"unit_amount":0.005}]'),
	(2, 1, 'storage', 'storage', 'per_unit', 0.0235, 100, NULL);
INSERT INTO subscription SELECT tenant_id, tenant_id, 1, 'active', '2026-01-01Z', '2026-02-01Z', '2026-02-01Z' FROM billing.subscription;
SET session_replication_role = replica;
INSERT INTO usage (subscription_id, meter, quantity, at) SELECT tenant_id, meter, quantity, at FROM billing.usage_event;
SET session_replication_role = origin;
CREATE INDEX ON usage (subscription_id, meter, at);
VACUUM ANALYZE;
CREATE FUNCTION price_usage(p price, quantity numeric) RETURNS numeric LANGUAGE plpgsql AS \$\$
DECLARE
	tier jsonb; low numeric := 0; high numeric; total numeric := 0;
BEGIN
	IF p.model = 'flat' THEN RETURN p.amount; END IF;
	IF p.model = 'per_unit' THEN RETURN round(greatest(quantity - coalesce(p.free_units, 0), 0) * p.amount, 2); END IF;
	FOR tier IN SELECT * FROM jsonb_array_elements(p.tiers) LOOP
		EXIT WHEN quantity <= low AND low > 0;
		high := (tier ->> 'up_to')::numeric;
		total := total + (least(quantity, coalesce(high, quantity)) - low) * (tier ->> 'unit_amount')::numeric;
		low := high;
	END LOOP;
	RETURN round(total, 2);
END \$\$;
CREATE FUNCTION tell(type text, at timestamptz, customer bigint, object jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE AS
	\$\$ SELECT jsonb_build_object('type', type, 'timestamp', at, 'customer', customer, 'data', jsonb_build_object('object', object)) \$\$;
CREATE PROCEDURE bill_month(now timestamptz, many int) LANGUAGE plpgsql AS \$\$
DECLARE
	s subscription; c customer; l plan; p price; u usage; i invoice; used numeric; charge numeric; upfront numeric; percent numeric; days int;
	entry jsonb; link text; next_end timestamptz;
BEGIN
	FOR s IN SELECT * FROM subscription WHERE next_bill <= now ORDER BY id LIMIT many LOOP
		SELECT * INTO c FROM customer WHERE id = s.customer_id FOR UPDATE;
		IF EXISTS (SELECT FROM invoice WHERE subscription_id = s.id AND period_end = s.period_end) THEN CONTINUE; END IF;
		SELECT * INTO l FROM plan WHERE id = s.plan_id;
		SELECT value INTO days FROM setting WHERE name = 'net_days';
		SELECT r.percent INTO percent FROM tax_rate r WHERE r.code = c.tax_rate;
		next_end := (s.period_end AT TIME ZONE c.timezone + l.cycle) AT TIME ZONE c.timezone;
		INSERT INTO invoice (customer_id, subscription_id, number, status, period_start, period_end, billing_name, billing_email)
		VALUES (c.id, s.id, format('INV-%s-%s', c.id, lpad(c.next_number::text, 6, '0')), 'draft', s.period_start, s.period_end, c.name, c.email)
		RETURNING * INTO i;
		link := c.last_hash;
		upfront := 0;
		FOR p IN SELECT * FROM price WHERE plan_id = s.plan_id ORDER BY id LOOP
			used := 1;
			IF p.meter IS NOT NULL THEN
				used := 0;
				FOR u IN SELECT * FROM usage WHERE subscription_id = s.id AND meter = p.meter AND at >= s.period_start AND at < s.period_end ORDER BY at LOOP
					used := used + u.quantity;
				END LOOP;
			END IF;
			charge := price_usage(p, used);
			INSERT INTO invoice_item (invoice_id, price_id, quantity, amount, period_start, period_end)
			VALUES (i.id, p.id, used, charge, CASE WHEN p.meter IS NULL THEN s.period_end ELSE s.period_start END,
				CASE WHEN p.meter IS NULL THEN next_end ELSE s.period_end END);
			UPDATE invoice SET subtotal = subtotal + charge, total = total + charge WHERE id = i.id;
			IF p.meter IS NULL THEN upfront := upfront + charge; END IF;
			entry := jsonb_build_object('price', p.code, 'quantity', used, 'amount', charge, 'from', s.period_start, 'to', s.period_end, 'formula', to_jsonb(p));
			link := encode(sha256(convert_to(link || entry::text, 'UTF8')), 'hex');
			INSERT INTO calculation_log (invoice_id, step, hash) VALUES (i.id, entry, link);
		END LOOP;
		UPDATE invoice SET tax = round(subtotal * coalesce(percent, 0) / 100, 2), total = total + round(subtotal * coalesce(percent, 0) / 100, 2),
			status = 'open', issued_at = now, due_at = (now AT TIME ZONE c.timezone + make_interval(days => days)) AT TIME ZONE c.timezone
		WHERE id = i.id RETURNING * INTO i;
		INSERT INTO ledger (invoice_id, account, amount, at) VALUES (i.id, 'receivable', i.total, now);
		INSERT INTO ledger (invoice_id, account, amount, at) VALUES (i.id, 'revenue', upfront - i.subtotal, now);
		INSERT INTO ledger (invoice_id, account, amount, at) VALUES (i.id, 'deferred_revenue', -upfront, now);
		UPDATE customer SET next_number = next_number + 1, last_hash = link WHERE id = c.id;
		UPDATE subscription SET period_start = s.period_end, period_end = next_end, next_bill = next_end WHERE id = s.id RETURNING * INTO s;
		INSERT INTO event (customer_id, type, payload, at) VALUES (c.id, 'invoice.created', tell('invoice.created', now, c.id, to_jsonb(i)), now);
		INSERT INTO event (customer_id, type, payload, at) VALUES (c.id, 'invoice.finalized', tell('invoice.finalized', now, c.id, to_jsonb(i)), now);
		INSERT INTO event (customer_id, type, payload, at) VALUES (c.id, 'subscription.renewed', tell('subscription.renewed', now, c.id, to_jsonb(s)), now);
		COMMIT;
	END LOOP;
END \$\$;
SQL
	my $begun = time;
	sql($database, "SET search_path = hand; SET jit = off; CALL bill_month('2026-02-01Z', $count)");
	my $taken = time - $begun;
	my $right = sql($database, "SELECT count(*) FROM hand.invoice h JOIN billing.invoice b ON b.tenant_id = h.customer_id AND b.period_end = h.period_end
		WHERE (b.subtotal::numeric, b.tax::numeric, b.total::numeric, b.due_at) = (h.subtotal, h.tax, h.total, h.due_at)
		  AND (SELECT array_agg(e.amount::numeric ORDER BY e.line) FROM billing.ledger_entry e WHERE e.tenant_id = b.tenant_id AND e.invoice_id = b.invoice_id)
			= (SELECT array_agg(e.amount ORDER BY e.id) FROM hand.ledger e WHERE e.invoice_id = h.id)");
	die "the loop and the bill run agree on $right of $count invoices\n" if $right != $count;
	return $taken / $count;
}
