
-- request, audit_log: what was asked for, by whom -----------------------------------

CREATE TABLE billing.request (
	tenant_id	bigint NOT NULL,
	function	text COLLATE "C" NOT NULL,
	request_id	text COLLATE "C" NOT NULL CONSTRAINT request_id_is_sound CHECK (request_id <> '' AND octet_length(request_id) <= 255),
	arguments	bytea NOT NULL,
	result		text,
	created_at	timestamptz NOT NULL DEFAULT billing.now(),
	PRIMARY KEY (tenant_id, function, request_id)
);
COMMENT ON TABLE billing.request
	IS 'writes that were given a request_id: hash of their arguments and their first result, which a retry returns';
COMMENT ON COLUMN billing.request.tenant_id IS 'whose';
COMMENT ON COLUMN billing.request.function IS 'which function was called';
COMMENT ON COLUMN billing.request.request_id IS 'the callers name of the call';
COMMENT ON COLUMN billing.request.arguments IS 'hash of the others';
COMMENT ON COLUMN billing.request.result IS 'what was returned, as text: a retry returns it';
SELECT pg_catalog.pg_extension_config_dump('billing.request', '');

ALTER TABLE billing.request ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant_isolation ON billing.request
	USING (tenant_id = nullif(current_setting('billing.tenant_id', true), '')::bigint);

-- Actions on global tables are those of tenant 0.
CREATE TABLE billing.audit_log (
	tenant_id	bigint NOT NULL,
	audit_id	bigint NOT NULL DEFAULT billing.next_id(),
	at			timestamptz NOT NULL DEFAULT billing.now(),
	real_at		timestamptz NOT NULL,
	actor		text COLLATE "C" NOT NULL,
	action		text COLLATE "C" NOT NULL,
	object		text COLLATE "C" NOT NULL,
	object_id	text COLLATE "C",
	before		jsonb,
	after		jsonb,
	PRIMARY KEY (tenant_id, audit_id)
);
COMMENT ON TABLE billing.audit_log
	IS 'every action on money or settings: who (actor, the session''s role), when, what, and the row before and after; tenant_id is 0 for global tables';
COMMENT ON COLUMN billing.audit_log.tenant_id IS 'whose; 0: a global table';
COMMENT ON COLUMN billing.audit_log.audit_id IS 'from billing.next_id()';
COMMENT ON COLUMN billing.audit_log.at IS 'when, by billing.now()';
COMMENT ON COLUMN billing.audit_log.real_at IS 'when by the servers clock, which a test clock does not move';
COMMENT ON COLUMN billing.audit_log.actor IS 'role of the session';
COMMENT ON COLUMN billing.audit_log.action IS 'which function, or insert, update or delete of a global table';
COMMENT ON COLUMN billing.audit_log.object IS 'kind of what was acted on, or the global table';
COMMENT ON COLUMN billing.audit_log.object_id IS 'its id';
COMMENT ON COLUMN billing.audit_log.before IS 'the row before; NULL: there was none';
COMMENT ON COLUMN billing.audit_log.after IS 'the row after; NULL: there is none';
SELECT pg_catalog.pg_extension_config_dump('billing.audit_log', '');

CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE OR TRUNCATE ON billing.audit_log
	FOR EACH STATEMENT EXECUTE FUNCTION billing.refuse_change('What was done stays told.');

ALTER TABLE billing.audit_log ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant_isolation ON billing.audit_log
	USING (tenant_id = nullif(current_setting('billing.tenant_id', true), '')::bigint);
