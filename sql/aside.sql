
-- aside: what could not be done for one, so that the others go on ----------------------------

CREATE TABLE billing.set_aside (
	tenant_id	bigint NOT NULL REFERENCES billing.tenant,
	job			text COLLATE "C" NOT NULL,
	object		text COLLATE "C" NOT NULL,
	object_id	bigint NOT NULL,
	sqlstate	text COLLATE "C" NOT NULL,
	error		text NOT NULL,
	failures	integer NOT NULL
				CONSTRAINT set_aside_has_failed CHECK (failures > 0),
	first_at	timestamptz NOT NULL,
	last_at		timestamptz NOT NULL,
	retry_at	timestamptz NOT NULL,
	PRIMARY KEY (tenant_id, job, object, object_id)
);
COMMENT ON TABLE billing.set_aside
	IS 'what a job could not do for one subscription, invoice or tenant, while it did it for the others; gone once it is done; written by the jobs';
COMMENT ON COLUMN billing.set_aside.tenant_id IS 'whose';
COMMENT ON COLUMN billing.set_aside.job IS 'which job failed on it: one of billing.job_default';
COMMENT ON COLUMN billing.set_aside.object IS 'what: subscription (to be billed), late_usage or threshold (of a subscription), invoice (to become final); of dunning subscription (to be suspended, or to lapse), invoice (to be given up), tenant';
COMMENT ON COLUMN billing.set_aside.object_id IS 'its id';
COMMENT ON COLUMN billing.set_aside.sqlstate IS 'the error''s code';
COMMENT ON COLUMN billing.set_aside.error IS 'and its message';
COMMENT ON COLUMN billing.set_aside.failures IS 'how often in a row';
COMMENT ON COLUMN billing.set_aside.first_at IS 'when it failed first, by the real clock';
COMMENT ON COLUMN billing.set_aside.last_at IS 'and last';
COMMENT ON COLUMN billing.set_aside.retry_at IS 'before then jobs pass over a subscription that is to be billed: ever later after each failure, bill_due() does not';
SELECT pg_catalog.pg_extension_config_dump('billing.set_aside', '');

ALTER TABLE billing.set_aside ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant_isolation ON billing.set_aside
	USING (tenant_id = nullif(current_setting('billing.tenant_id', true), '')::bigint);

CREATE FUNCTION billing.clear_aside(job text, started_at timestamptz, is_spared boolean)
RETURNS bigint
LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'billing_clear_aside';
COMMENT ON FUNCTION billing.clear_aside(text, timestamptz, boolean)
	IS 'takes from billing.set_aside what a run of a job that started at started_at, by the real clock, tried again and did; is_spared: it passed over subscriptions until their retry_at; returns how many; what the jobs call';
