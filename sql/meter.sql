
-- meter: what is counted ----------------------------------------------------

CREATE TABLE billing.meter (
	code		text COLLATE "C" PRIMARY KEY
				CONSTRAINT meter_code_is_name CHECK (code ~ '^[A-Za-z0-9][A-Za-z0-9_.:-]{0,62}$'),
	name		text,
	aggregation	text COLLATE "C" NOT NULL DEFAULT 'sum'
				CONSTRAINT meter_aggregation_is_known
				CHECK (aggregation IN ('sum', 'count', 'max', 'latest', 'unique_count', 'weighted_sum')),
	unit		text,
	property	text COLLATE "C"
				CONSTRAINT meter_property_is_for_unique_count
				CHECK (property IS NULL OR aggregation = 'unique_count'),
	created_at	timestamptz NOT NULL DEFAULT billing.now(),
	created_by	text COLLATE "C" NOT NULL DEFAULT session_user
);
COMMENT ON TABLE billing.meter
	IS 'what usage is counted: code, how events make up a quantity (aggregation), the unit people read; property: the key of usage_event.properties whose distinct values unique_count counts, value if NULL';
COMMENT ON COLUMN billing.meter.code IS 'what record_usage and prices call it';
COMMENT ON COLUMN billing.meter.name IS 'for people';
COMMENT ON COLUMN billing.meter.aggregation IS 'how events make up a quantity: sum, count, max, latest, unique_count or weighted_sum';
COMMENT ON COLUMN billing.meter.unit IS 'for people, as it stands behind a number: calls, GB';
COMMENT ON COLUMN billing.meter.property IS 'of unique_count: the key of usage_event.properties whose distinct values count; NULL: value';
SELECT pg_catalog.pg_extension_config_dump('billing.meter', '');

CREATE TRIGGER lock_references BEFORE DELETE OR UPDATE OF code ON billing.meter
	FOR EACH STATEMENT EXECUTE FUNCTION billing.lock_references('usage_event');
