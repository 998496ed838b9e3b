
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

-- xid is generated: it is what it is whatever a COPY gives, and a restore writes
-- that of the restoring transaction, since those of another cluster mean nothing.
CREATE TABLE billing.usage_event (
	tenant_id		bigint NOT NULL,
	event_id		text COLLATE "C" NOT NULL CONSTRAINT usage_event_id_is_sound CHECK (event_id <> '' AND octet_length(event_id) <= 255),
	meter			text COLLATE "C" NOT NULL,
	quantity		numeric NOT NULL DEFAULT 1
					CONSTRAINT usage_event_quantity_is_finite CHECK (quantity > '-Infinity' AND quantity < 'Infinity'),
	at				timestamptz NOT NULL DEFAULT billing.now(),
	properties		jsonb,
	subscription_id	bigint CONSTRAINT usage_event_subscription_is_positive CHECK (subscription_id > 0),
	recorded_at		timestamptz NOT NULL DEFAULT billing.now(),
	xid				xid8 GENERATED ALWAYS AS (billing.current_xid()) STORED,
	PRIMARY KEY (tenant_id, event_id),
	FOREIGN KEY (tenant_id) REFERENCES billing.tenant,
	FOREIGN KEY (meter) REFERENCES billing.meter,
	FOREIGN KEY (tenant_id, subscription_id) REFERENCES billing.subscription,
	CONSTRAINT usage_event_is_not_ahead CHECK (at > '-infinity' AND at <= recorded_at + interval '24 hours')
);
COMMENT ON TABLE billing.usage_event
	IS 'usage as it was measured: event_id is unique per tenant and makes a retry harmless; at is when it happened, at most 24 hours ahead of recorded_at; subscription_id may be NULL while one subscription of the tenant prices the meter; COPY and INSERT do what record_usage does';
SELECT pg_catalog.pg_extension_config_dump('billing.usage_event', '');

ALTER TABLE billing.usage_event DISABLE TRIGGER ALL;
CREATE TRIGGER check_references AFTER INSERT ON billing.usage_event REFERENCING NEW TABLE AS inserted
	FOR EACH STATEMENT EXECUTE FUNCTION billing.check_references();
CREATE TRIGGER refuse_key_change BEFORE UPDATE OF tenant_id, event_id, meter, subscription_id ON billing.usage_event
	FOR EACH STATEMENT EXECUTE FUNCTION billing.refuse_change('Record another event that takes the quantity back.');

CREATE INDEX usage_event_at ON billing.usage_event USING brin (at) WITH (autosummarize, pages_per_range = 32);
CREATE INDEX usage_event_xid ON billing.usage_event USING brin (xid billing.xid8_minmax_ops) WITH (autosummarize, pages_per_range = 32);

ALTER TABLE billing.usage_event ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant_isolation ON billing.usage_event
	USING (tenant_id = nullif(current_setting('billing.tenant_id', true), '')::bigint);

-- What events add up to, per UTC day (level d) and UTC hour (level h).  An hour in
-- which a billing boundary was known to lie has one row from the boundary on.
-- Derived: not dumped; events that no horizon covers are read as they are.
CREATE TABLE billing.usage_rollup (
	tenant_id		bigint NOT NULL,
	meter			text COLLATE "C" NOT NULL,
	subscription_id	bigint NOT NULL,
	level			"char" NOT NULL CONSTRAINT usage_rollup_level_is_known CHECK (level IN ('d', 'h')),
	bucket			timestamptz NOT NULL,
	first_at		timestamptz NOT NULL,
	last_at			timestamptz NOT NULL,
	events			bigint NOT NULL,
	sum				numeric NOT NULL,
	max				numeric NOT NULL,
	latest			numeric NOT NULL,
	latest_id		text COLLATE "C" NOT NULL,
	digest			bigint NOT NULL,
	PRIMARY KEY (tenant_id, meter, subscription_id, level, bucket)
) WITH (fillfactor = 90);
COMMENT ON TABLE billing.usage_rollup
	IS 'usage events summed up per meter, subscription (0: none stated) and UTC day or hour: derived from usage_event by compaction and read together with the events that usage_horizon does not cover';

ALTER TABLE billing.usage_rollup ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant_isolation ON billing.usage_rollup
	USING (tenant_id = nullif(current_setting('billing.tenant_id', true), '')::bigint);

-- An event is in the rollup if, and only if, its transaction is visible in this snapshot.
CREATE TABLE billing.usage_horizon (
	tenant_id		bigint PRIMARY KEY,
	snapshot		pg_snapshot NOT NULL,
	compacted_at	timestamptz NOT NULL
) WITH (fillfactor = 80);
COMMENT ON TABLE billing.usage_horizon
	IS 'which events of a tenant are in usage_rollup: those whose transaction is visible in snapshot; no row: none';

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

-- Events that came after their period was billed, and the invoice that booked the
-- difference (NULL: none yet).
CREATE TABLE billing.usage_late (
	tenant_id		bigint NOT NULL,
	event_id		text COLLATE "C" NOT NULL,
	meter			text COLLATE "C" NOT NULL,
	subscription_id	bigint NOT NULL,
	at				timestamptz NOT NULL,
	invoice_id		bigint,
	PRIMARY KEY (tenant_id, event_id),
	FOREIGN KEY (tenant_id, event_id) REFERENCES billing.usage_event
);
COMMENT ON TABLE billing.usage_late
	IS 'usage events that became known after their period was billed; invoice_id is the invoice that booked the difference they make, NULL while none has';
SELECT pg_catalog.pg_extension_config_dump('billing.usage_late', '');

CREATE INDEX usage_late_pending ON billing.usage_late (tenant_id, subscription_id) WHERE invoice_id IS NULL;

ALTER TABLE billing.usage_late ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant_isolation ON billing.usage_late
	USING (tenant_id = nullif(current_setting('billing.tenant_id', true), '')::bigint);
