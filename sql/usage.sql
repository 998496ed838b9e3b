
-- usage: what tenants used ---------------------------------------------------

CREATE FUNCTION billing.current_xid()
RETURNS xid8
LANGUAGE internal IMMUTABLE PARALLEL RESTRICTED
AS 'pg_current_xact_id';
COMMENT ON FUNCTION billing.current_xid()
	IS 'the transaction that writes a usage event; declared immutable so that a generated column can state it, evaluated once a statement; for that column only';

-- BRIN over xid8, which PostgreSQL has no class for: 8 bytes per range of pages
-- find the events of late transactions, where a btree would double what an event costs.
CREATE OPERATOR CLASS billing.xid8_minmax_ops
	FOR TYPE xid8 USING brin AS
	OPERATOR 1 pg_catalog.<,
	OPERATOR 2 pg_catalog.<=,
	OPERATOR 3 pg_catalog.=,
	OPERATOR 4 pg_catalog.>=,
	OPERATOR 5 pg_catalog.>,
	FUNCTION 1 brin_minmax_opcinfo(internal),
	FUNCTION 2 brin_minmax_add_value(internal, internal, internal, internal),
	FUNCTION 3 brin_minmax_consistent(internal, internal, internal),
	FUNCTION 4 brin_minmax_union(internal, internal, internal);
COMMENT ON OPERATOR CLASS billing.xid8_minmax_ops USING brin IS 'least and greatest xid8 of a range of pages';

CREATE FUNCTION billing.is_usage(event_id text, quantity numeric, at timestamptz, recorded_at timestamptz,
	subscription_id bigint)
RETURNS boolean
LANGUAGE C IMMUTABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'billing_is_usage';
COMMENT ON FUNCTION billing.is_usage(text, numeric, timestamptz, timestamptz, bigint)
	IS 'can this be a usage event: event_id has 1 to 255 bytes, quantity is finite, less than 10^256 and has at most 63 decimals, at is finite and at most 24 hours after recorded_at, subscription_id is positive or NULL; raises 22023 and 22003 for the first four, as billing.record_usage does';

-- One check for all, since COPY pays it for every row: as expressions it took a tenth
-- of the time.  xid is generated: it is what it is whatever a COPY gives, and a restore
-- writes that of the restoring transaction, since those of another cluster mean nothing.
CREATE TABLE billing.usage_event (
	tenant_id		bigint NOT NULL,
	event_id		text COLLATE "C" NOT NULL,
	meter			text COLLATE "C" NOT NULL,
	quantity		numeric NOT NULL DEFAULT 1,
	at				timestamptz NOT NULL DEFAULT billing.now(),
	properties		jsonb,
	subscription_id	bigint,
	recorded_at		timestamptz NOT NULL DEFAULT billing.now(),
	xid				xid8 GENERATED ALWAYS AS (billing.current_xid()) STORED,
	PRIMARY KEY (tenant_id, event_id),
	FOREIGN KEY (tenant_id) REFERENCES billing.tenant,
	FOREIGN KEY (meter) REFERENCES billing.meter,
	FOREIGN KEY (tenant_id, subscription_id) REFERENCES billing.subscription,
	CONSTRAINT usage_event_is_usage CHECK (billing.is_usage(event_id, quantity, at, recorded_at, subscription_id))
);
COMMENT ON TABLE billing.usage_event
	IS 'usage as it was measured: event_id is unique per tenant and makes a retry harmless; at is when it happened, at most 24 hours ahead of recorded_at; subscription_id may be NULL while one subscription of the tenant prices the meter; COPY and INSERT do what record_usage does';
COMMENT ON COLUMN billing.usage_event.tenant_id IS 'whose';
COMMENT ON COLUMN billing.usage_event.event_id IS 'yours, unique per tenant: what makes a retry harmless';
COMMENT ON COLUMN billing.usage_event.meter IS 'what was used';
COMMENT ON COLUMN billing.usage_event.quantity IS 'how much; a negative one takes usage back';
COMMENT ON COLUMN billing.usage_event.at IS 'when it happened: what period it belongs to';
COMMENT ON COLUMN billing.usage_event.properties IS 'what unique_count looks into';
COMMENT ON COLUMN billing.usage_event.subscription_id IS 'whose usage it is; NULL: of the one subscription that prices the meter';
COMMENT ON COLUMN billing.usage_event.recorded_at IS 'start of the transaction that recorded it';
COMMENT ON COLUMN billing.usage_event.xid IS 'that transaction; generated';
SELECT pg_catalog.pg_extension_config_dump('billing.usage_event', '');

ALTER TABLE billing.usage_event DISABLE TRIGGER ALL;
CREATE TRIGGER check_references AFTER INSERT ON billing.usage_event REFERENCING NEW TABLE AS inserted
	FOR EACH STATEMENT EXECUTE FUNCTION billing.check_references();
CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE OR TRUNCATE ON billing.usage_event
	FOR EACH STATEMENT EXECUTE FUNCTION billing.refuse_change('Cancel it by billing.cancel_usage(), or let another take its place by billing.correct_usage().');

-- One index of both, which either finds rows by: two would cost each row twice.
CREATE INDEX usage_event_at_xid ON billing.usage_event USING brin (at, xid billing.xid8_minmax_ops)
	WITH (autosummarize, pages_per_range = 32);

ALTER TABLE billing.usage_event ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant_isolation ON billing.usage_event
	USING (tenant_id = nullif(current_setting('billing.tenant_id', true), '')::bigint);

-- Events that no longer count.  Each was compacted before it was taken out, so that
-- what is in no rollup need not be asked whether it still counts, while there is a horizon.
CREATE TABLE billing.usage_correction (
	tenant_id		bigint NOT NULL,
	event_id		text COLLATE "C" NOT NULL,
	superseded_by	text COLLATE "C" CONSTRAINT usage_correction_names_another_event CHECK (superseded_by <> event_id),
	reason			text,
	corrected_at	timestamptz NOT NULL DEFAULT billing.now(),
	PRIMARY KEY (tenant_id, event_id),
	FOREIGN KEY (tenant_id, event_id) REFERENCES billing.usage_event,
	FOREIGN KEY (tenant_id, superseded_by) REFERENCES billing.usage_event,
	CONSTRAINT usage_correction_has_no_card CHECK (billing.has_no_card(reason))
);
COMMENT ON TABLE billing.usage_correction
	IS 'usage events that were recorded in error and count in no total from corrected_at on: superseded_by is the event that counts in the place of this one, NULL: it was canceled; written by cancel_usage and correct_usage';
COMMENT ON COLUMN billing.usage_correction.tenant_id IS 'whose';
COMMENT ON COLUMN billing.usage_correction.reason IS 'why';
COMMENT ON COLUMN billing.usage_correction.event_id IS 'the event that counts no more';
COMMENT ON COLUMN billing.usage_correction.superseded_by IS 'the event that counts in its place; NULL: it was canceled';
COMMENT ON COLUMN billing.usage_correction.corrected_at IS 'from when on';
SELECT pg_catalog.pg_extension_config_dump('billing.usage_correction', '');

CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE OR TRUNCATE ON billing.usage_correction
	FOR EACH STATEMENT EXECUTE FUNCTION billing.refuse_change('Record the usage again, as an event with an id of its own.');

ALTER TABLE billing.usage_correction ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant_isolation ON billing.usage_correction
	USING (tenant_id = nullif(current_setting('billing.tenant_id', true), '')::bigint);

-- What events add up to, per UTC day (level d) and UTC hour (level h).  An hour in
-- which a billing boundary was known to lie has one row from the boundary on.
-- Derived: not dumped; events that no horizon covers are read as they are.  Columns
-- of fixed width come first: a bill run reads some thirty rows for each quantity.
CREATE TABLE billing.usage_rollup (
	tenant_id		bigint NOT NULL,
	subscription_id	bigint NOT NULL,
	bucket			timestamptz NOT NULL,
	first_at		timestamptz NOT NULL,
	last_at			timestamptz NOT NULL,
	events			bigint NOT NULL,
	digest			bigint NOT NULL,
	level			"char" NOT NULL CONSTRAINT usage_rollup_level_is_known CHECK (level IN ('d', 'h')),
	sum				numeric NOT NULL,
	max				numeric NOT NULL,
	latest			numeric NOT NULL,
	latest_id		text COLLATE "C" NOT NULL,
	meter			text COLLATE "C" NOT NULL,
	PRIMARY KEY (tenant_id, meter, subscription_id, level, bucket)
) WITH (fillfactor = 90);
COMMENT ON TABLE billing.usage_rollup
	IS 'usage events summed up per meter, subscription (0: none stated) and UTC day or hour: derived from usage_event by compaction and read together with the events that usage_horizon does not cover';
COMMENT ON COLUMN billing.usage_rollup.tenant_id IS 'who used it';
COMMENT ON COLUMN billing.usage_rollup.subscription_id IS 'which the events state; 0: none';
COMMENT ON COLUMN billing.usage_rollup.bucket IS 'start of the day or hour, or boundary within the hour';
COMMENT ON COLUMN billing.usage_rollup.first_at IS 'of its first event';
COMMENT ON COLUMN billing.usage_rollup.last_at IS 'of its last event';
COMMENT ON COLUMN billing.usage_rollup.events IS 'how many';
COMMENT ON COLUMN billing.usage_rollup.digest IS 'of these, in any order';
COMMENT ON COLUMN billing.usage_rollup.level IS 'd: a UTC day, h: an hour of one';
COMMENT ON COLUMN billing.usage_rollup.sum IS 'of their quantities';
COMMENT ON COLUMN billing.usage_rollup.max IS 'of their quantities';
COMMENT ON COLUMN billing.usage_rollup.latest IS 'quantity of the last event';
COMMENT ON COLUMN billing.usage_rollup.latest_id IS 'event_id of that';
COMMENT ON COLUMN billing.usage_rollup.meter IS 'what was counted';

ALTER TABLE billing.usage_rollup ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant_isolation ON billing.usage_rollup
	USING (tenant_id = nullif(current_setting('billing.tenant_id', true), '')::bigint);

-- The same once more per billing period, which a bill run reads one row of and not
-- thirty.  A row starts where a period was known to start, at -infinity the first, and
-- holds events up to where the next row starts: so those of one stream never overlap,
-- and one that ends within a period that starts with it is all of it.
CREATE TABLE billing.usage_period (
	tenant_id		bigint NOT NULL,
	subscription_id	bigint NOT NULL,
	starts_at		timestamptz NOT NULL,
	last_at			timestamptz NOT NULL,
	events			bigint NOT NULL,
	digest			bigint NOT NULL,
	sum				numeric NOT NULL,
	max				numeric NOT NULL,
	meter			text COLLATE "C" NOT NULL,
	PRIMARY KEY (tenant_id, subscription_id, meter, starts_at)
) WITH (fillfactor = 90);
COMMENT ON TABLE billing.usage_period
	IS 'usage events summed up per meter, subscription (0: none stated) and billing period as far as its start was known when they were compacted; derived as usage_rollup is, and of the same events';
COMMENT ON COLUMN billing.usage_period.tenant_id IS 'who used it';
COMMENT ON COLUMN billing.usage_period.subscription_id IS 'which the events state; 0: none';
COMMENT ON COLUMN billing.usage_period.starts_at IS 'start of the period; -infinity: before the first';
COMMENT ON COLUMN billing.usage_period.last_at IS 'of its last event';
COMMENT ON COLUMN billing.usage_period.events IS 'how many';
COMMENT ON COLUMN billing.usage_period.digest IS 'of these, in any order';
COMMENT ON COLUMN billing.usage_period.sum IS 'of their quantities';
COMMENT ON COLUMN billing.usage_period.max IS 'of their quantities';
COMMENT ON COLUMN billing.usage_period.meter IS 'what was counted';

ALTER TABLE billing.usage_period ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant_isolation ON billing.usage_period
	USING (tenant_id = nullif(current_setting('billing.tenant_id', true), '')::bigint);

-- An event is in the rollup if, and only if, the compaction saw it: its transaction
-- is visible in snapshot, or it is own_xid, which ran the compaction, and wrote the
-- event by a command before own_cid.
CREATE TABLE billing.usage_horizon (
	tenant_id		bigint PRIMARY KEY,
	snapshot		pg_snapshot NOT NULL,
	own_xid			xid8 NOT NULL,
	own_cid			bigint NOT NULL,
	has_stated		boolean NOT NULL,
	has_unstated	boolean NOT NULL,
	compacted_at	timestamptz NOT NULL
) WITH (fillfactor = 80);
COMMENT ON TABLE billing.usage_horizon
	IS 'which events of a tenant are in usage_rollup: those whose transaction is visible in snapshot, and those that transaction own_xid wrote before its command own_cid; no row: none; has_stated, has_unstated: some of them state a subscription, some do not';
COMMENT ON COLUMN billing.usage_horizon.tenant_id IS 'whose events';
COMMENT ON COLUMN billing.usage_horizon.snapshot IS 'events of transactions that it sees are summed up';
COMMENT ON COLUMN billing.usage_horizon.own_xid IS 'the transaction that compacted last';
COMMENT ON COLUMN billing.usage_horizon.own_cid IS 'and its command: what it wrote before is summed up';
COMMENT ON COLUMN billing.usage_horizon.has_stated IS 'whether some of them state a subscription';
COMMENT ON COLUMN billing.usage_horizon.has_unstated IS 'whether some state none';
COMMENT ON COLUMN billing.usage_horizon.compacted_at IS 'when';

ALTER TABLE billing.usage_horizon ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant_isolation ON billing.usage_horizon
	USING (tenant_id = nullif(current_setting('billing.tenant_id', true), '')::bigint);

-- Where the search for events in no rollup starts: one row.
CREATE TABLE billing.usage_floor (
	is_only			boolean PRIMARY KEY DEFAULT true CONSTRAINT usage_floor_is_one_row CHECK (is_only),
	snapshot		pg_snapshot NOT NULL
);
COMMENT ON TABLE billing.usage_floor
	IS 'every event of every tenant whose transaction is visible in snapshot is in usage_rollup; no row: nothing is known';
COMMENT ON COLUMN billing.usage_floor.is_only IS 'true: there is one row';
COMMENT ON COLUMN billing.usage_floor.snapshot IS 'events of transactions that it sees are summed up, of every tenant';

-- Events that came, or were corrected, after their period was billed, and the invoice
-- that booked the difference (NULL: none yet).  If that is voided another books it;
-- which knew of it first stays told, so that each can be calculated again.
CREATE TABLE billing.usage_late (
	tenant_id		bigint NOT NULL,
	event_id		text COLLATE "C" NOT NULL,
	is_correction	boolean NOT NULL DEFAULT false,
	meter			text COLLATE "C" NOT NULL,
	subscription_id	bigint NOT NULL,
	at				timestamptz NOT NULL,
	invoice_id		bigint,
	voided_invoice_id bigint,
	PRIMARY KEY (tenant_id, event_id, is_correction),
	FOREIGN KEY (tenant_id, event_id) REFERENCES billing.usage_event
);
COMMENT ON TABLE billing.usage_late
	IS 'usage events that became known, or (is_correction) were taken out by usage_correction, after their period was billed; invoice_id is the invoice that booked the difference they make, NULL while none has; voided_invoice_id is the first that had booked it and was voided';
COMMENT ON COLUMN billing.usage_late.tenant_id IS 'whose';
COMMENT ON COLUMN billing.usage_late.event_id IS 'which event';
COMMENT ON COLUMN billing.usage_late.meter IS 'what was counted';
COMMENT ON COLUMN billing.usage_late.subscription_id IS 'whose period it is of';
COMMENT ON COLUMN billing.usage_late.is_correction IS 'whether the event was taken out late, not recorded late';
COMMENT ON COLUMN billing.usage_late.at IS 'when the usage happened';
COMMENT ON COLUMN billing.usage_late.invoice_id IS 'the invoice that booked the difference; NULL: none yet';
COMMENT ON COLUMN billing.usage_late.voided_invoice_id IS 'the first that had booked it and was voided';
SELECT pg_catalog.pg_extension_config_dump('billing.usage_late', '');

CREATE INDEX usage_late_pending ON billing.usage_late (tenant_id, subscription_id) WHERE invoice_id IS NULL;

ALTER TABLE billing.usage_late ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant_isolation ON billing.usage_late
	USING (tenant_id = nullif(current_setting('billing.tenant_id', true), '')::bigint);

CREATE FUNCTION billing.usage_latest_step(internal, value numeric, at timestamptz, event_id text)
RETURNS internal
LANGUAGE C IMMUTABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'billing_usage_latest_step';
COMMENT ON FUNCTION billing.usage_latest_step(internal, numeric, timestamptz, text)
	IS 'transition of aggregate billing.usage_latest';

CREATE FUNCTION billing.usage_latest_final(internal)
RETURNS numeric
LANGUAGE C IMMUTABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'billing_usage_latest_final';
COMMENT ON FUNCTION billing.usage_latest_final(internal)
	IS 'result of aggregate billing.usage_latest';

CREATE AGGREGATE billing.usage_latest(value numeric, at timestamptz, event_id text) (
	SFUNC = billing.usage_latest_step,
	STYPE = internal,
	SSPACE = 128,
	FINALFUNC = billing.usage_latest_final
);
COMMENT ON AGGREGATE billing.usage_latest(numeric, timestamptz, text)
	IS 'the value of the latest event: greatest at and, of those at one instant, greatest event_id by bytes; NULL of none';

CREATE FUNCTION billing.usage_latest_id_final(internal)
RETURNS text
LANGUAGE C IMMUTABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'billing_usage_latest_id_final';
COMMENT ON FUNCTION billing.usage_latest_id_final(internal)
	IS 'result of aggregate billing.usage_latest_id';

CREATE AGGREGATE billing.usage_latest_id(value numeric, at timestamptz, event_id text) (
	SFUNC = billing.usage_latest_step,
	STYPE = internal,
	SSPACE = 128,
	FINALFUNC = billing.usage_latest_id_final
);
COMMENT ON AGGREGATE billing.usage_latest_id(numeric, timestamptz, text)
	IS 'the event_id of the event whose value billing.usage_latest returns';

CREATE FUNCTION billing.usage_is_compacted(xid xid8, cmin cid, snapshot pg_snapshot, own_xid xid8, own_cid bigint)
RETURNS boolean
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'billing_usage_is_compacted';
COMMENT ON FUNCTION billing.usage_is_compacted(xid8, cid, pg_snapshot, xid8, bigint)
	IS 'is an event in usage_rollup: xid and cmin are those of its usage_event row, the others are its tenant''s usage_horizon';

-- These are inlined into the query that calls them, so that each branch costs what
-- it reads: that of a false condition nothing.  A stream is the usage of one
-- subscription, or that which states none (0).  Days and hours are counted from an
-- instant whose distance to any other is an interval: the epoch is too far from the last.

CREATE FUNCTION billing.usage_rolled(tenant_id bigint, meter text, stream bigint, low timestamptz, high timestamptz)
RETURNS TABLE (event_id text, at timestamptz, quantity numeric, digest bigint)
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
	SELECT e.event_id, e.at, e.quantity, billing.usage_digest(e.event_id, e.meter, e.subscription_id, e.quantity, e.at)
	FROM billing.usage_horizon h
	JOIN billing.usage_event e ON e.tenant_id = h.tenant_id
	WHERE h.tenant_id = usage_rolled.tenant_id
		AND e.tenant_id = usage_rolled.tenant_id AND e.meter = usage_rolled.meter
		AND coalesce(e.subscription_id, 0) = stream
		AND e.at >= low AND e.at < high
		AND billing.usage_is_compacted(e.xid, e.cmin, h.snapshot, h.own_xid, h.own_cid)
		AND ((SELECT NOT EXISTS (SELECT FROM billing.usage_correction))
			OR NOT EXISTS (SELECT FROM billing.usage_correction c WHERE c.tenant_id = e.tenant_id AND c.event_id = e.event_id));
END;
COMMENT ON FUNCTION billing.usage_rolled(bigint, text, bigint, timestamptz, timestamptz)
	IS 'the events of a stream in [low, high) that the rollup is the sum of; inlined';

CREATE FUNCTION billing.usage_tail(tenant_id bigint, meter text, stream bigint, period_start timestamptz,
	period_end timestamptz, wanted boolean)
RETURNS TABLE (event_id text, at timestamptz, quantity numeric, digest bigint)
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
	SELECT e.event_id, e.at, e.quantity, billing.usage_digest(e.event_id, e.meter, e.subscription_id, e.quantity, e.at)
	FROM billing.usage_horizon h
	JOIN billing.usage_event e ON e.tenant_id = h.tenant_id
	WHERE wanted
		AND h.tenant_id = usage_tail.tenant_id
		AND e.tenant_id = usage_tail.tenant_id AND e.meter = usage_tail.meter
		AND coalesce(e.subscription_id, 0) = stream
		AND e.at >= period_start AND e.at < period_end
		AND e.xid >= greatest(pg_snapshot_xmin(h.snapshot), (SELECT pg_snapshot_xmin(f.snapshot) FROM billing.usage_floor f))
		AND NOT billing.usage_is_compacted(e.xid, e.cmin, h.snapshot, h.own_xid, h.own_cid)
	UNION ALL
	SELECT e.event_id, e.at, e.quantity, billing.usage_digest(e.event_id, e.meter, e.subscription_id, e.quantity, e.at)
	FROM billing.usage_event e
	WHERE wanted
		AND NOT EXISTS (SELECT FROM billing.usage_horizon h WHERE h.tenant_id = usage_tail.tenant_id)
		AND e.tenant_id = usage_tail.tenant_id AND e.meter = usage_tail.meter
		AND coalesce(e.subscription_id, 0) = stream
		AND e.at >= period_start AND e.at < period_end
		AND ((SELECT NOT EXISTS (SELECT FROM billing.usage_correction))
			OR NOT EXISTS (SELECT FROM billing.usage_correction c WHERE c.tenant_id = e.tenant_id AND c.event_id = e.event_id));
END;
COMMENT ON FUNCTION billing.usage_tail(bigint, text, bigint, timestamptz, timestamptz, boolean)
	IS 'events of a stream in [period_start, period_end) that are in no rollup, if wanted; inlined';

CREATE FUNCTION billing.usage_total_cut(tenant_id bigint, meter text, streams bigint[], period_start timestamptz,
	period_end timestamptz, with_tail boolean, wanted boolean)
RETURNS TABLE (events bigint, sum numeric, max numeric, latest numeric, digest bigint)
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
	SELECT coalesce(sum(u.events), 0)::bigint, coalesce(sum(u.sum), 0), max(u.max),
		billing.usage_latest(u.latest, u.last_at, u.latest_id), billing.digest_sum(u.digest)
	FROM unnest(streams) s(stream)
	CROSS JOIN LATERAL (
		SELECT r.events, r.sum, r.max, r.latest, r.last_at, r.latest_id, r.digest
		FROM billing.usage_rollup r
		WHERE r.tenant_id = usage_total_cut.tenant_id AND r.meter = usage_total_cut.meter
			AND r.subscription_id = s.stream AND r.level = 'd'
			AND r.bucket >= period_start AND r.bucket < date_bin('1 day', period_end, '2000-01-01Z')
		UNION ALL
		-- Hours that the period does not cut, in the days that it does.
		SELECT r.events, r.sum, r.max, r.latest, r.last_at, r.latest_id, r.digest
		FROM billing.usage_rollup r
		WHERE r.tenant_id = usage_total_cut.tenant_id AND r.meter = usage_total_cut.meter
			AND r.subscription_id = s.stream AND r.level = 'h'
			AND r.bucket >= period_start AND date_bin('1 hour', r.bucket, '2000-01-01Z') >= period_start
			AND r.bucket < date_bin('1 hour', period_end, '2000-01-01Z')
			AND (r.bucket < date_bin('1 day', period_start, '2000-01-01Z') + interval '24 hours'
					AND date_bin('1 day', period_start, '2000-01-01Z') < period_start
				OR r.bucket >= date_bin('1 day', period_end, '2000-01-01Z'))
		UNION ALL
		-- The events of those that it does.
		SELECT 1, e.quantity, e.quantity, e.quantity, e.at, e.event_id, e.digest
		FROM (
			SELECT period_start AS low, least(date_bin('1 hour', period_start, '2000-01-01Z') + interval '1 hour', period_end) AS high
			WHERE date_bin('1 hour', period_start, '2000-01-01Z') < period_start
			UNION ALL
			SELECT date_bin('1 hour', period_end, '2000-01-01Z'), period_end
			WHERE date_bin('1 hour', period_end, '2000-01-01Z') >= period_start) hour
		CROSS JOIN LATERAL billing.usage_rolled(usage_total_cut.tenant_id, usage_total_cut.meter, s.stream, hour.low, hour.high) e
		UNION ALL
		SELECT 1, t.quantity, t.quantity, t.quantity, t.at, t.event_id, t.digest
		FROM billing.usage_tail(usage_total_cut.tenant_id, usage_total_cut.meter, s.stream, period_start, period_end,
			with_tail) t) u
	WHERE wanted;
END;
COMMENT ON FUNCTION billing.usage_total_cut(bigint, text, bigint[], timestamptz, timestamptz, boolean, boolean)
	IS 'what billing.usage_total returns of a period that cuts an hour of the rollup, if wanted; inlined';

CREATE FUNCTION billing.usage_total(tenant_id bigint, meter text, streams bigint[], period_start timestamptz,
	period_end timestamptz, with_tail boolean)
RETURNS TABLE (events bigint, sum numeric, max numeric, latest numeric, digest bigint)
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
	SELECT CASE WHEN f.is_cut THEN c.events ELSE f.events END, CASE WHEN f.is_cut THEN c.sum ELSE f.sum END,
		CASE WHEN f.is_cut THEN c.max ELSE f.max END, CASE WHEN f.is_cut THEN c.latest ELSE f.latest END,
		CASE WHEN f.is_cut THEN c.digest ELSE f.digest END
	FROM (
		SELECT coalesce(sum(u.events), 0)::bigint AS events, coalesce(sum(u.sum), 0) AS sum, max(u.max) AS max,
			billing.usage_latest(u.latest, u.last_at, u.latest_id) AS latest, billing.digest_sum(u.digest) AS digest,
			coalesce(bool_or(u.is_cut), false) AS is_cut
		FROM (
			-- Few have more than two, and equality always uses the index to the full.
			SELECT streams[1] AS stream
			UNION ALL
			SELECT streams[2] WHERE cardinality(streams) > 1
			UNION ALL
			SELECT streams[n.n] FROM generate_series(3, cardinality(streams)) n(n) WHERE cardinality(streams) > 2) s
		CROSS JOIN LATERAL (
			-- Whole days.
			SELECT r.events, r.sum, r.max, r.latest, r.last_at, r.latest_id, r.digest, false AS is_cut
			FROM billing.usage_rollup r
			WHERE r.tenant_id = usage_total.tenant_id AND r.meter = usage_total.meter AND r.subscription_id = s.stream
				AND r.level = 'd' AND r.bucket >= period_start AND r.bucket < date_bin('1 day', period_end, '2000-01-01Z')
			UNION ALL
			-- Hours of the day in which the period starts.
			SELECT r.events, r.sum, r.max, r.latest, r.last_at, r.latest_id, r.digest,
				r.first_at < period_start OR r.last_at >= period_end
			FROM billing.usage_rollup r
			WHERE date_bin('1 day', period_start, '2000-01-01Z') < period_start
				AND r.tenant_id = usage_total.tenant_id AND r.meter = usage_total.meter AND r.subscription_id = s.stream
				AND r.level = 'h' AND r.bucket >= date_bin('1 hour', period_start, '2000-01-01Z')
				AND r.bucket < least(date_bin('1 day', period_start, '2000-01-01Z') + interval '24 hours', period_end)
				AND r.last_at >= period_start AND r.first_at < period_end
			UNION ALL
			-- Hours of the day in which it ends, if that is another.
			SELECT r.events, r.sum, r.max, r.latest, r.last_at, r.latest_id, r.digest, r.last_at >= period_end
			FROM billing.usage_rollup r
			WHERE date_bin('1 day', period_end, '2000-01-01Z') >= period_start
				AND date_bin('1 day', period_end, '2000-01-01Z') < period_end
				AND r.tenant_id = usage_total.tenant_id AND r.meter = usage_total.meter AND r.subscription_id = s.stream
				AND r.level = 'h' AND r.bucket >= date_bin('1 day', period_end, '2000-01-01Z') AND r.bucket < period_end
				AND r.first_at < period_end
			UNION ALL
			SELECT 1, t.quantity, t.quantity, t.quantity, t.at, t.event_id, t.digest, false
			FROM billing.usage_tail(usage_total.tenant_id, usage_total.meter, s.stream, period_start, period_end,
				with_tail) t) u) f
	CROSS JOIN LATERAL billing.usage_total_cut(usage_total.tenant_id, usage_total.meter, streams, period_start,
		period_end, with_tail, f.is_cut) c;
END;
COMMENT ON FUNCTION billing.usage_total(bigint, text, bigint[], timestamptz, timestamptz, boolean)
	IS 'usage of a meter in [period_start, period_end), either of which may be infinite, of the subscriptions in streams (0: events that state none): number of events, their sum (0 of none), greatest and latest quantity (NULL of none), and digest; with_tail: also events that are in no rollup, which only a caller that just compacted may leave out; one row; inlined';

-- Compaction, which src/compaction.c runs: where to search, what is there, and the
-- boundaries that cut an hour.

CREATE FUNCTION billing.usage_search(tenant_ids bigint[])
RETURNS TABLE (tenants bigint[], since xid8, unknown_since xid8)
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
	-- xid8 has no min().
	SELECT array_agg(t.tenant_id),
		greatest(min(pg_snapshot_xmin(h.snapshot)::text::bigint)::text::xid8, (SELECT pg_snapshot_xmin(f.snapshot) FROM billing.usage_floor f)),
		CASE WHEN bool_or(h.tenant_id IS NULL) THEN coalesce((SELECT pg_snapshot_xmin(f.snapshot) FROM billing.usage_floor f), '0') END
	FROM (SELECT DISTINCT unnest(usage_search.tenant_ids) AS tenant_id) t
	LEFT JOIN billing.usage_horizon h ON h.tenant_id = t.tenant_id;
END;
COMMENT ON FUNCTION billing.usage_search(bigint[])
	IS 'those tenants, each once, and the transactions from which on events of theirs may be in no rollup: since for tenants that have a horizon, unknown_since for those that have none; NULL: there are none such';

CREATE FUNCTION billing.usage_fresh(tenant_ids bigint[], since xid8, unknown_since xid8)
RETURNS TABLE (tenant_id bigint, meter text, subscription_id bigint, event_id text, at timestamptz, quantity numeric,
	is_known boolean)
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
	SELECT e.tenant_id, e.meter, e.subscription_id, e.event_id, e.at, e.quantity, true
	FROM billing.usage_event e
	JOIN billing.usage_horizon h ON h.tenant_id = e.tenant_id
	WHERE e.tenant_id = ANY (tenant_ids) AND e.xid >= since
		AND NOT billing.usage_is_compacted(e.xid, e.cmin, h.snapshot, h.own_xid, h.own_cid)
	UNION ALL
	SELECT e.tenant_id, e.meter, e.subscription_id, e.event_id, e.at, e.quantity, false
	FROM billing.usage_event e
	WHERE e.tenant_id = ANY (tenant_ids) AND e.xid >= unknown_since
		AND NOT EXISTS (SELECT FROM billing.usage_horizon h WHERE h.tenant_id = e.tenant_id)
		AND ((SELECT NOT EXISTS (SELECT FROM billing.usage_correction))
			OR NOT EXISTS (SELECT FROM billing.usage_correction c WHERE c.tenant_id = e.tenant_id AND c.event_id = e.event_id));
END;
COMMENT ON FUNCTION billing.usage_fresh(bigint[], xid8, xid8)
	IS 'events of tenants that are in no rollup; arguments as billing.usage_search returns them; is_known: the tenant has a horizon; inlined, so that constants choose its plan';

CREATE FUNCTION billing.usage_marks(tenant_id bigint, meter text, stream bigint, low timestamptz)
RETURNS TABLE (mark timestamptz)
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
	WITH near AS (
		SELECT r.starts_at, r.last_at
		FROM billing.usage_period r
		WHERE r.tenant_id = usage_marks.tenant_id AND r.subscription_id = usage_marks.stream AND r.meter = usage_marks.meter
			AND r.starts_at >= coalesce((
				SELECT max(o.starts_at)
				FROM billing.usage_period o
				WHERE o.tenant_id = usage_marks.tenant_id AND o.subscription_id = usage_marks.stream
					AND o.meter = usage_marks.meter AND o.starts_at <= usage_marks.low), '-infinity')
	), boundary AS (
		SELECT '-infinity'::timestamptz AS boundary
		UNION ALL
		SELECT b.boundary
		FROM billing.subscription s
		CROSS JOIN LATERAL unnest(ARRAY[s.started_at, s.trial_end, s.period_start, s.period_end, s.billed_to, s.due_at, s.changed_at])
			b(boundary)
		WHERE s.tenant_id = usage_marks.tenant_id
			AND s.subscription_id = coalesce(nullif(usage_marks.stream, 0), (SELECT min(f.subscription_id)
				FROM billing.subscription f WHERE f.tenant_id = usage_marks.tenant_id))
			AND b.boundary IS NOT NULL
	)
	SELECT n.starts_at
	FROM near n
	UNION
	SELECT b.boundary
	FROM boundary b
	WHERE NOT EXISTS (SELECT FROM near n WHERE n.starts_at < b.boundary AND n.last_at >= b.boundary);
END;
COMMENT ON FUNCTION billing.usage_marks(bigint, text, bigint, timestamptz)
	IS 'where rows of usage_period of a stream start that take events from low on: those there are, and the known boundaries of its subscription (stream 0: of the tenant''s first) that none of them reaches over';

CREATE FUNCTION billing.usage_mark(marks timestamptz[], at timestamptz)
RETURNS timestamptz
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'billing_usage_mark';
COMMENT ON FUNCTION billing.usage_mark(timestamptz[], timestamptz)
	IS 'the last of ascending marks that is not after at; NULL if all are';

-- Within an hour whose rows a boundary cuts, that boundary still does; a day and a
-- period are made of the hours that start in them.
CREATE FUNCTION billing.rebuild_usage_hour(tenant_id bigint, meter text, stream bigint, hour timestamptz)
RETURNS void
LANGUAGE sql VOLATILE PARALLEL UNSAFE
BEGIN ATOMIC
	WITH gone AS (
		DELETE FROM billing.usage_rollup r
		WHERE r.tenant_id = rebuild_usage_hour.tenant_id AND r.meter = rebuild_usage_hour.meter
			AND r.subscription_id = rebuild_usage_hour.stream AND r.level = 'h'
			AND r.bucket >= hour AND r.bucket < hour + interval '1 hour'
		RETURNING r.bucket
	), marks AS MATERIALIZED (
		SELECT array_agg(g.bucket ORDER BY g.bucket) AS marks FROM gone g
	)
	INSERT INTO billing.usage_rollup (tenant_id, meter, subscription_id, level, bucket, first_at, last_at, events, sum, max,
		latest, latest_id, digest)
	SELECT rebuild_usage_hour.tenant_id, rebuild_usage_hour.meter, rebuild_usage_hour.stream, 'h', billing.usage_mark(m.marks, e.at),
		min(e.at), max(e.at), count(*), sum(e.quantity), max(e.quantity), billing.usage_latest(e.quantity, e.at, e.event_id),
		billing.usage_latest_id(e.quantity, e.at, e.event_id), billing.digest_sum(e.digest)
	FROM marks m
	CROSS JOIN LATERAL billing.usage_rolled(rebuild_usage_hour.tenant_id, rebuild_usage_hour.meter, rebuild_usage_hour.stream, hour,
		hour + interval '1 hour') e
	GROUP BY billing.usage_mark(m.marks, e.at);

	DELETE FROM billing.usage_rollup d
	WHERE d.tenant_id = rebuild_usage_hour.tenant_id AND d.meter = rebuild_usage_hour.meter
		AND d.subscription_id = rebuild_usage_hour.stream AND d.level = 'd' AND d.bucket = date_bin('1 day', hour, '2000-01-01Z');

	INSERT INTO billing.usage_rollup (tenant_id, meter, subscription_id, level, bucket, first_at, last_at, events, sum, max,
		latest, latest_id, digest)
	SELECT h.tenant_id, h.meter, h.subscription_id, 'd', date_bin('1 day', hour, '2000-01-01Z'), min(h.first_at), max(h.last_at),
		sum(h.events)::bigint, sum(h.sum), max(h.max), billing.usage_latest(h.latest, h.last_at, h.latest_id),
		billing.usage_latest_id(h.latest, h.last_at, h.latest_id), billing.digest_sum(h.digest)
	FROM billing.usage_rollup h
	WHERE h.tenant_id = rebuild_usage_hour.tenant_id AND h.meter = rebuild_usage_hour.meter
		AND h.subscription_id = rebuild_usage_hour.stream AND h.level = 'h'
		AND h.bucket >= date_bin('1 day', hour, '2000-01-01Z')
		AND h.bucket < date_bin('1 day', hour, '2000-01-01Z') + interval '24 hours'
	GROUP BY h.tenant_id, h.meter, h.subscription_id;

	WITH near AS (
		SELECT p.starts_at, lead(p.starts_at) OVER (ORDER BY p.starts_at) AS next
		FROM billing.usage_period p
		WHERE p.tenant_id = rebuild_usage_hour.tenant_id AND p.subscription_id = rebuild_usage_hour.stream
			AND p.meter = rebuild_usage_hour.meter
	), gone AS (
		DELETE FROM billing.usage_period p
		USING near n
		WHERE p.tenant_id = rebuild_usage_hour.tenant_id AND p.subscription_id = rebuild_usage_hour.stream
			AND p.meter = rebuild_usage_hour.meter AND p.starts_at = n.starts_at
			AND n.starts_at < hour + interval '1 hour' AND coalesce(n.next > hour, true)
		RETURNING n.starts_at, n.next
	)
	INSERT INTO billing.usage_period (tenant_id, subscription_id, meter, starts_at, last_at, events, sum, max, digest)
	SELECT h.tenant_id, h.subscription_id, h.meter, g.starts_at, max(h.last_at), sum(h.events)::bigint, sum(h.sum), max(h.max),
		billing.digest_sum(h.digest)
	FROM (SELECT g.starts_at, g.next FROM gone g ORDER BY g.starts_at OFFSET 0) g
	JOIN billing.usage_rollup h ON h.tenant_id = rebuild_usage_hour.tenant_id AND h.meter = rebuild_usage_hour.meter
		AND h.subscription_id = rebuild_usage_hour.stream AND h.level = 'h'
		AND h.bucket >= g.starts_at AND coalesce(h.bucket < g.next, true)
	GROUP BY h.tenant_id, h.subscription_id, h.meter, g.starts_at;
END;
COMMENT ON FUNCTION billing.rebuild_usage_hour(bigint, text, bigint, timestamptz)
	IS 'makes the rows of the rollup that hold a UTC hour of a stream again, of its day and its periods too, once events of it count no more; the caller has locked the tenant';

CREATE FUNCTION billing.usage_cuts(tenant_id bigint)
RETURNS TABLE (boundaries timestamptz[], billed_to timestamptz)
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
	SELECT array_agg(b.boundary) FILTER (WHERE b.boundary > date_bin('1 hour', b.boundary, '2000-01-01Z')), greatest(max(s.billed_to),
		(SELECT max(c.cut_at) FROM billing.subscription_threshold c WHERE c.tenant_id = usage_cuts.tenant_id))
	FROM billing.subscription s
	CROSS JOIN LATERAL unnest(ARRAY[s.started_at, s.trial_end, s.period_start, s.period_end, s.billed_to, s.due_at,
		s.cancel_at, s.ended_at, s.changed_at]) b(boundary)
	WHERE s.tenant_id = usage_cuts.tenant_id
	OFFSET 0;
END;
COMMENT ON FUNCTION billing.usage_cuts(bigint)
	IS 'the known boundaries of the tenant''s subscriptions that lie inside an hour (NULL: none): there an hour of the rollup is cut; and up to when any of them is billed; inlined';

CREATE FUNCTION billing.usage_owner(tenant_id bigint, meter text, subscription_id bigint, at timestamptz)
RETURNS TABLE (owner_id bigint, billed_to timestamptz, trial_end timestamptz)
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
	SELECT s.subscription_id, greatest(s.billed_to, (SELECT c.cut_at FROM billing.subscription_threshold c
		WHERE c.tenant_id = s.tenant_id AND c.subscription_id = s.subscription_id)), s.trial_end
	FROM billing.subscription s
	WHERE s.tenant_id = usage_owner.tenant_id
		AND (usage_owner.subscription_id IS NULL AND billing.in_force(s) @> usage_owner.at
			OR s.subscription_id = usage_owner.subscription_id AND s.billed_to IS NOT NULL
				AND s.started_at <= usage_owner.at AND NOT s.lapses @> usage_owner.at
				AND NOT coalesce(s.pauses @> usage_owner.at OR s.paused_at <= usage_owner.at, false))
		AND EXISTS (SELECT FROM billing.price p WHERE p.meter = usage_owner.meter
			AND p.plan_id = CASE WHEN s.changed_at IS NULL THEN s.plan_id ELSE billing.plan_at(s, usage_owner.at) END)
	ORDER BY s.subscription_id
	LIMIT 1;
END;
COMMENT ON FUNCTION billing.usage_owner(bigint, text, bigint, timestamptz)
	IS 'the subscription whose usage an event is: the one it states, else that of the lowest id which was in force at the time and prices the meter; no row: none';

CREATE FUNCTION billing.usage_candidates(OUT tenants bigint[], OUT snapshot pg_snapshot)
LANGUAGE C STABLE PARALLEL SAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'billing_usage_candidates';
COMMENT ON FUNCTION billing.usage_candidates()
	IS 'the tenants that may have events in no rollup, in order, and the snapshot that shows these';

CREATE FUNCTION billing.compact_tenants(tenant_ids bigint[])
RETURNS bigint
LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'billing_compact_tenants';
COMMENT ON FUNCTION billing.compact_tenants(bigint[])
	IS 'brings the events of tenants into their rollups, in this transaction; returns for how many it is done: not for those for which it raises an error, of whom a warning tells; locks their rows';

CREATE FUNCTION billing.raise_usage_floor(snapshot pg_snapshot)
RETURNS void
LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'billing_raise_usage_floor';
COMMENT ON FUNCTION billing.raise_usage_floor(pg_snapshot)
	IS 'what billing.compact_usage() ends with: every event that snapshot shows is in a rollup';

CREATE PROCEDURE billing.compact_usage(batch integer DEFAULT 10000)
LANGUAGE C
AS 'MODULE_PATHNAME', 'billing_compact_usage';
COMMENT ON PROCEDURE billing.compact_usage(integer)
	IS 'brings all usage events into the rollup, batch tenants a transaction (1 to 1,000,000); commits after each unless called inside a transaction; safe to stop at any moment and to run several times at once; 22004, 22023';
