
-- due_part: what a subscription owes beside its ordinary boundary -------------------

-- A change at an instant within a period leaves two parts: what the plan before owes in arrears
-- up to there (ended), and what the one after owes in advance from there to the end of the
-- period (begun).  The next invoice bills them, or one of their own; what they
-- were calculated from they keep, as the calculation log does for the rest of an invoice.
--
-- The ended parts are also the history of plans: each says what was in force up to its
-- changed_at, from that of the one before on.
CREATE TABLE billing.due_part (
	tenant_id			bigint NOT NULL,
	subscription_id		bigint NOT NULL,
	part_no				integer NOT NULL
						CONSTRAINT due_part_no_is_positive CHECK (part_no > 0),
	kind				text COLLATE "C" NOT NULL
						CONSTRAINT due_part_kind_is_known CHECK (kind IN ('ended', 'begun')),
	changed_at			timestamptz NOT NULL
						CONSTRAINT due_part_change_is_finite CHECK (isfinite(changed_at)),
	plan_id				bigint NOT NULL REFERENCES billing.plan,
	quantity			integer NOT NULL
						CONSTRAINT due_part_quantity_is_positive CHECK (quantity > 0),
	timezone			text COLLATE "C" NOT NULL,
	arrears				tstzrange,
	arrears_whole		tstzrange,
	advance				tstzrange,
	advance_whole		tstzrange,
	step_arrears		tstzrange,
	step_arrears_whole	tstzrange,
	step_advance		tstzrange,
	step_advance_whole	tstzrange,
	is_pending			boolean NOT NULL,
	invoice_id			bigint,
	created_at			timestamptz NOT NULL DEFAULT billing.now(),
	PRIMARY KEY (tenant_id, subscription_id, part_no),
	FOREIGN KEY (tenant_id, subscription_id) REFERENCES billing.subscription,
	CONSTRAINT due_part_pending_has_no_invoice CHECK (NOT is_pending OR invoice_id IS NULL),
	CONSTRAINT due_part_is_of_its_kind CHECK (CASE kind
		WHEN 'ended' THEN num_nonnulls(advance, advance_whole, step_advance, step_advance_whole) = 0
		ELSE num_nonnulls(arrears, arrears_whole, step_arrears, step_arrears_whole) = 0 END)
);
COMMENT ON TABLE billing.due_part
	IS 'what a subscription owes beside its ordinary boundary since it was changed within a period: ended, what the plan before owes in arrears up to changed_at (also where it owes nothing: the history of plans); begun, what the plan after owes in advance from there on; ranges as in calculation_log; is_pending until an invoice billed it';
COMMENT ON COLUMN billing.due_part.tenant_id IS 'whose';
COMMENT ON COLUMN billing.due_part.subscription_id IS 'of which subscription';
COMMENT ON COLUMN billing.due_part.part_no IS 'from 1, in the order of the changes';
COMMENT ON COLUMN billing.due_part.kind IS 'ended: by a change; begun: with it';
COMMENT ON COLUMN billing.due_part.changed_at IS 'the instant of the change';
COMMENT ON COLUMN billing.due_part.plan_id IS 'the plan version that prices it';
COMMENT ON COLUMN billing.due_part.quantity IS 'the quantity that was or is subscribed to';
COMMENT ON COLUMN billing.due_part.timezone IS 'by whose days it is prorated';
COMMENT ON COLUMN billing.due_part.arrears IS 'what is billed in arrears';
COMMENT ON COLUMN billing.due_part.arrears_whole IS 'the period that is a part of; NULL: it is that';
COMMENT ON COLUMN billing.due_part.advance IS 'what is billed in advance';
COMMENT ON COLUMN billing.due_part.advance_whole IS 'the period that is a part of; NULL: it is that';
COMMENT ON COLUMN billing.due_part.step_arrears IS 'the same of prices with a shorter cycle';
COMMENT ON COLUMN billing.due_part.step_arrears_whole IS 'the step that is a part of; NULL: it is that';
COMMENT ON COLUMN billing.due_part.step_advance IS 'the same of prices with a shorter cycle';
COMMENT ON COLUMN billing.due_part.step_advance_whole IS 'the step that is a part of; NULL: it is that';
COMMENT ON COLUMN billing.due_part.is_pending IS 'whether it waits to be billed';
COMMENT ON COLUMN billing.due_part.invoice_id IS 'the invoice that has its lines; NULL: none yet, or there were none';
SELECT pg_catalog.pg_extension_config_dump('billing.due_part', '');

CREATE INDEX due_part_pending ON billing.due_part (tenant_id, subscription_id) WHERE is_pending;
CREATE INDEX due_part_of_invoice ON billing.due_part (tenant_id, invoice_id) WHERE invoice_id IS NOT NULL;

ALTER TABLE billing.due_part ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant_isolation ON billing.due_part
	USING (tenant_id = nullif(current_setting('billing.tenant_id', true), '')::bigint);

CREATE FUNCTION billing.due_part_guard()
RETURNS trigger
LANGUAGE C VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'billing_due_part_guard';
COMMENT ON FUNCTION billing.due_part_guard()
	IS 'trigger BEFORE UPDATE OR DELETE FOR EACH ROW of billing.due_part: a row stays and keeps what it was made of, and once billed its ranges, but for those of a draft and the invoice of one that was voided; raises YB004';

CREATE TRIGGER due_part_guard BEFORE UPDATE OR DELETE ON billing.due_part
	FOR EACH ROW EXECUTE FUNCTION billing.due_part_guard();
CREATE TRIGGER refuse_key_change BEFORE UPDATE OF tenant_id, subscription_id, part_no ON billing.due_part
	FOR EACH STATEMENT EXECUTE FUNCTION billing.refuse_change('Change the subscription once more.');
CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON billing.due_part
	FOR EACH STATEMENT EXECUTE FUNCTION billing.refuse_change('What was owed stays.');

-- Which plan version was in force at an instant.
CREATE FUNCTION billing.plan_at(subscription billing.subscription, at timestamptz)
RETURNS bigint
LANGUAGE sql STABLE PARALLEL SAFE
RETURN CASE WHEN subscription.changed_at IS NULL OR at >= subscription.changed_at THEN subscription.plan_id
	ELSE coalesce((SELECT d.plan_id FROM billing.due_part d
		WHERE d.tenant_id = subscription.tenant_id AND d.subscription_id = subscription.subscription_id
		  AND d.kind = 'ended' AND d.changed_at > at
		ORDER BY d.part_no LIMIT 1), subscription.plan_id) END;
COMMENT ON FUNCTION billing.plan_at(billing.subscription, timestamptz)
	IS 'the plan version that was in force for a subscription at an instant: of a change, from that instant on the new one';

-- When usage of a meter was priced: in force, and by a plan that has a price of it.
CREATE FUNCTION billing.pricing_time(subscription billing.subscription, meter text)
RETURNS tstzmultirange
LANGUAGE sql STABLE PARALLEL SAFE
RETURN CASE WHEN subscription.changed_at IS NULL
	THEN CASE WHEN EXISTS (SELECT FROM billing.price p WHERE p.plan_id = subscription.plan_id AND p.meter = pricing_time.meter)
		THEN billing.in_force(subscription) ELSE tstzmultirange() END
	ELSE billing.in_force(subscription) * coalesce((
		SELECT range_agg(tstzrange(x.since, x.until))
		FROM (
			SELECT lag(d.changed_at) OVER (ORDER BY d.part_no) AS since, d.changed_at AS until, d.plan_id
			FROM billing.due_part d
			WHERE d.tenant_id = subscription.tenant_id AND d.subscription_id = subscription.subscription_id AND d.kind = 'ended'
			UNION ALL
			SELECT subscription.changed_at, NULL, subscription.plan_id
		) x
		WHERE EXISTS (SELECT FROM billing.price p WHERE p.plan_id = x.plan_id AND p.meter = pricing_time.meter)), '{}') END;
COMMENT ON FUNCTION billing.pricing_time(billing.subscription, text)
	IS 'the time in which a subscription is in force on a plan that has a price of meter';

-- When a plan version was in force.
CREATE FUNCTION billing.plan_time(subscription billing.subscription, plan_id bigint)
RETURNS tstzmultirange
LANGUAGE sql STABLE PARALLEL SAFE
RETURN CASE WHEN subscription.changed_at IS NULL
	THEN CASE WHEN plan_time.plan_id = subscription.plan_id THEN billing.in_force(subscription) ELSE tstzmultirange() END
	ELSE billing.in_force(subscription) * coalesce((
		SELECT range_agg(tstzrange(x.since, x.until))
		FROM (
			SELECT lag(d.changed_at) OVER (ORDER BY d.part_no) AS since, d.changed_at AS until, d.plan_id
			FROM billing.due_part d
			WHERE d.tenant_id = subscription.tenant_id AND d.subscription_id = subscription.subscription_id AND d.kind = 'ended'
			UNION ALL
			SELECT subscription.changed_at, NULL, subscription.plan_id
		) x
		WHERE x.plan_id = plan_time.plan_id), '{}') END;
COMMENT ON FUNCTION billing.plan_time(billing.subscription, bigint)
	IS 'the time in which a subscription is in force on a version of a plan';
