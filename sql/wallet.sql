
-- wallet: credit granted, consumed, and what is left of it --------------------------------

-- Money settles where it begins to count, the earliest first: what begins before takes its part of the overdraft first.
CREATE FUNCTION billing.wallet_settles(credit billing.credit_grant, until timestamptz)
RETURNS billing.amount
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
	SELECT billing.from_minor_units(coalesce((
		SELECT least(billing.minor_units((credit).balance), greatest(-billing.minor_units(o.balance) - coalesce((
			SELECT sum(billing.minor_units(g.balance))
			FROM billing.credit_grant g
			WHERE g.tenant_id = (credit).tenant_id AND g.is_open AND g.is_paid AND billing.currency(g.amount) = billing.currency((credit).amount)
			  AND (g.renews_at, g.grant_id) < ((credit).renews_at, (credit).grant_id)), 0), 0))::bigint
		FROM billing.credit_grant o
		WHERE (credit).is_paid AND (credit).renews_at <= wallet_settles.until AND o.tenant_id = (credit).tenant_id AND o.is_open
		  AND o.source = 'overdraft' AND billing.currency(o.amount) = billing.currency((credit).amount)), 0), billing.currency((credit).amount));
END;
COMMENT ON FUNCTION billing.wallet_settles(billing.credit_grant, timestamptz)
	IS 'how much of what was consumed on credit a grant pays that is money, begins to count by until, that instant included, and was not booked then; else zero';

CREATE FUNCTION billing.wallet_pending(credit billing.credit_grant, timezone text, until timestamptz, settles billing.amount)
RETURNS TABLE (at timestamptz, kind text, amount billing.amount)
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE ROWS 1
AS 'MODULE_PATHNAME', 'billing_wallet_pending';
COMMENT ON FUNCTION billing.wallet_pending(billing.credit_grant, text, timestamptz, billing.amount)
	IS 'what the instants up to until, that one included, have brought a grant and nobody has booked: settle where money begins to count, as much as billing.wallet_settles() says; rollover and renew at each renewal, by the clock of the time zone; and expire; raises 22023 unknown time zone, YB003';

-- At present the grants say it, and cost what is open of them; at another instant their history.
CREATE FUNCTION billing.wallet_sum(tenant_id bigint, currency text, at timestamptz DEFAULT NULL, scope text DEFAULT NULL)
RETURNS billing.amount
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
	SELECT coalesce(sum(s.amount), billing.from_minor_units(0, wallet_sum.currency))
	FROM (
		SELECT g.balance AS amount
		FROM billing.credit_grant g
		WHERE wallet_sum.at IS NULL AND g.tenant_id = wallet_sum.tenant_id AND g.is_open
		  AND billing.currency(g.amount) = wallet_sum.currency AND g.effective_at <= billing.now()
		  AND (wallet_sum.scope IS NULL OR g.scope IN ('any', wallet_sum.scope))
		UNION ALL
		SELECT e.amount
		FROM billing.wallet_entry e
		JOIN billing.credit_grant g ON g.tenant_id = e.tenant_id AND g.grant_id = e.grant_id
		WHERE e.tenant_id = wallet_sum.tenant_id AND e.at <= wallet_sum.at
		  AND billing.currency(e.amount) = wallet_sum.currency
		  AND (wallet_sum.scope IS NULL OR g.scope IN ('any', wallet_sum.scope))
		UNION ALL
		SELECT p.amount
		FROM billing.credit_grant g
		JOIN billing.tenant t ON t.tenant_id = g.tenant_id
		CROSS JOIN LATERAL (SELECT billing.wallet_settles(g, coalesce(wallet_sum.at, billing.now())) AS settles OFFSET 0) s
		CROSS JOIN LATERAL (
			SELECT p.amount
			FROM billing.wallet_pending(g, t.timezone, coalesce(wallet_sum.at, billing.now()), s.settles) p
			WHERE wallet_sum.scope IS NULL OR g.scope IN ('any', wallet_sum.scope)
			UNION ALL
			SELECT s.settles
			WHERE wallet_sum.scope IS NULL OR wallet_sum.scope = 'consume'
		) p
		WHERE g.tenant_id = wallet_sum.tenant_id AND g.is_open
		  AND least(g.expires_at, g.renews_at) <= coalesce(wallet_sum.at, billing.now())
		  AND billing.currency(g.amount) = wallet_sum.currency
	) s;
END;
COMMENT ON FUNCTION billing.wallet_sum(bigint, text, timestamptz, text)
	IS 'what billing.wallet_balance() returns, of a currency and of a tenant that is there: zero where nothing was granted; raises YB003';

CREATE FUNCTION billing.wallet_balance(tenant_id bigint, currency text DEFAULT NULL, at timestamptz DEFAULT NULL, scope text DEFAULT NULL)
RETURNS billing.amount
LANGUAGE C STABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'billing_wallet_balance';
COMMENT ON FUNCTION billing.wallet_balance(bigint, text, timestamptz, text)
	IS 'the credit of a tenant in a currency (NULL: the tenant''s) at an instant, past or to come (NULL: billing.now()): what has become effective and has not expired, also where nobody booked that yet; negative: consumed on credit; scope consume or invoice: only what may be used for that, any: only what may be used for both; raises YB001, YB003 it is beyond an amount, 22004, 22023 unknown currency or scope, an infinite instant';

CREATE VIEW billing.wallet_history WITH (security_invoker) AS
	SELECT e.tenant_id, billing.currency(e.amount) AS currency, e.at, e.kind, e.amount,
		sum(e.amount) OVER (PARTITION BY e.tenant_id, billing.currency(e.amount)
			ORDER BY e.at, e.entry_id NULLS LAST, e.grant_id, e.line) AS balance,
		e.grant_id, e.entry_id, g.source, g.is_paid, e.invoice_id, e.consume_no, e.reason
	FROM (
		SELECT e.tenant_id, e.entry_id, e.grant_id, e.kind, e.amount, e.at, e.invoice_id, e.consume_no, e.reason, 0::bigint AS line
		FROM billing.wallet_entry e
		WHERE e.at <= billing.now()
		UNION ALL
		SELECT g.tenant_id, NULL, g.grant_id, p.kind, p.amount, p.at, NULL, NULL, NULL, p.line
		FROM billing.credit_grant g
		JOIN billing.tenant t ON t.tenant_id = g.tenant_id
		CROSS JOIN LATERAL (SELECT billing.wallet_settles(g, billing.now()) AS settles OFFSET 0) s
		CROSS JOIN LATERAL ROWS FROM (billing.wallet_pending(g, t.timezone, billing.now(), s.settles)) WITH ORDINALITY AS p (at, kind, amount, line)
		WHERE g.is_open AND least(g.expires_at, g.renews_at) <= billing.now()
		UNION ALL
		SELECT g.tenant_id, NULL, o.grant_id, 'settle', s.settles, g.renews_at, NULL, NULL, NULL, 0
		FROM billing.credit_grant g
		JOIN billing.credit_grant o ON o.tenant_id = g.tenant_id AND o.source = 'overdraft' AND o.is_open
			AND billing.currency(o.amount) = billing.currency(g.amount)
		CROSS JOIN LATERAL (SELECT billing.wallet_settles(g, billing.now()) AS settles OFFSET 0) s
		WHERE g.is_open AND g.is_paid AND g.renews_at <= billing.now() AND billing.minor_units(s.settles) > 0
	) e
	LEFT JOIN billing.credit_grant g ON g.tenant_id = e.tenant_id AND g.grant_id = e.grant_id;
COMMENT ON VIEW billing.wallet_history
	IS 'what raised and lowered the credit of each tenant in each currency up to now, in the order of time (at, then entry_id), with the balance behind each; the last balance is billing.wallet_balance(); entry_id NULL: what time brought and nobody has booked yet';
COMMENT ON COLUMN billing.wallet_history.currency IS 'each has a running balance of its own';
COMMENT ON COLUMN billing.wallet_history.at IS 'when it happened';
COMMENT ON COLUMN billing.wallet_history.kind IS 'grant, draw, return, consume, first_free, expire, void, renew, rollover, settle';
COMMENT ON COLUMN billing.wallet_history.amount IS 'by how much the credit rose, negative: fell';
COMMENT ON COLUMN billing.wallet_history.balance IS 'of the tenant in that currency, behind it';
COMMENT ON COLUMN billing.wallet_history.grant_id IS 'the grant that it moved';
COMMENT ON COLUMN billing.wallet_history.entry_id IS 'row of billing.wallet_entry; NULL: time brought it, and nobody has booked it yet';
COMMENT ON COLUMN billing.wallet_history.source IS 'where the grant came from';
COMMENT ON COLUMN billing.wallet_history.is_paid IS 'whether the grant is money, not a promotion';
COMMENT ON COLUMN billing.wallet_history.invoice_id IS 'of draw and return: the invoice';
COMMENT ON COLUMN billing.wallet_history.consume_no IS 'of consume and first_free: the key of the call';
COMMENT ON COLUMN billing.wallet_history.reason IS 'what was said when it was consumed or voided';

CREATE FUNCTION billing.top_up(tenant_id bigint, amount billing.amount, pay_no text, method text DEFAULT 'bank_transfer',
	at timestamptz DEFAULT NULL, reference text DEFAULT NULL, expires_at timestamptz DEFAULT NULL)
RETURNS billing.credit_grant
LANGUAGE C VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'billing_top_up';
COMMENT ON FUNCTION billing.top_up(bigint, billing.amount, text, text, timestamptz, text, timestamptz)
	IS 'money received outside a gateway that no invoice asked for becomes credit of the tenant, which counts from now on until expires_at (NULL: for good) and settles first what was consumed on credit; at: when it came, NULL billing.now(); returns the grant; pay_no, of 1 to 255 bytes, is that of the payment, unique per tenant: a retry returns the grant; raises YB001, YB004 closed tenant, YB006 pay_no of another payment, YB015, 22004, 22023';

CREATE FUNCTION billing.grant_credit(tenant_id bigint, amount billing.amount, is_paid boolean DEFAULT false, priority integer DEFAULT 50,
	effective_at timestamptz DEFAULT NULL, expires_at timestamptz DEFAULT NULL, scope text DEFAULT 'any', recurrence interval DEFAULT NULL,
	rollover_min billing.amount DEFAULT NULL, rollover_max billing.amount DEFAULT NULL, reason text DEFAULT NULL, request_id text DEFAULT NULL)
RETURNS billing.credit_grant
LANGUAGE C VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'billing_grant_credit';
COMMENT ON FUNCTION billing.grant_credit(bigint, billing.amount, boolean, integer, timestamptz, timestamptz, text, interval, billing.amount, billing.amount, text, text)
	IS 'gives a tenant credit and returns the grant: promotional, or (is_paid) money that came before and elsewhere, which the ledger owes to the tenant; the lowest priority is used first; it counts from effective_at (NULL: now) to expires_at (NULL: for good), exclusive; scope any, invoice or consume; recurrence: it is granted again that often, at most every hour, counted from effective_at by the tenant''s clock, and of what is left then at least rollover_min and at most rollover_max (NULL: nothing) stays; raises YB001, YB002 rollover in another currency, YB004 closed tenant, YB006, YB015, 22004, 22023';

CREATE FUNCTION billing.void_grant(tenant_id bigint, grant_id bigint, reason text DEFAULT NULL, request_id text DEFAULT NULL)
RETURNS billing.credit_grant
LANGUAGE C VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'billing_void_grant';
COMMENT ON FUNCTION billing.void_grant(bigint, bigint, text, text)
	IS 'takes back what is left of a grant of top_up or grant_credit, which ends, and returns it; what was used of it stays used; money leaves the cash as it came; one that is void already is returned as it is; raises YB001, YB004 credit that a document left, YB006, YB015, 22004';

-- It and use_service pin the search_path themselves where they run SQL: see consume_by_statements in src/consume.c.
CREATE FUNCTION billing.consume(tenant_id bigint, amount billing.amount, reason text, consume_no text)
RETURNS billing.amount
LANGUAGE C VOLATILE PARALLEL UNSAFE SECURITY DEFINER
AS 'MODULE_PATHNAME', 'billing_consume';
COMMENT ON FUNCTION billing.consume(bigint, billing.amount, text, text)
	IS 'uses credit of a tenant in the currency of the amount, all of it or none: lowest priority first, then soonest expiry, promotional before paid, oldest; below nothing only as far as setting credit_limit says; returns what is left to consume; reason is yours, NULL none; consume_no, of 1 to 255 bytes, is unique per tenant: a retry consumes nothing and returns what the first call did; raises YB001, YB004 closed tenant, YB006 consume_no of another amount or reason, YB008 (detail: missing), YB010 frozen tenant, YB015, 22004, 22023';

CREATE FUNCTION billing.use_service(tenant_id bigint, amount billing.amount, reason text, consume_no text)
RETURNS text
LANGUAGE C VOLATILE PARALLEL UNSAFE SECURITY DEFINER
AS 'MODULE_PATHNAME', 'billing_use_service';
COMMENT ON FUNCTION billing.use_service(bigint, billing.amount, text, text)
	IS 'the gate before a service, in one call: credit covers the amount and is used (balance), else it is the tenant''s first time and free (first_free), else as far as setting credit_limit says it is used on credit (balance), else YB008, whose detail says what is missing; consume_no as of billing.consume(); raises what that does';

CREATE FUNCTION billing.use_first_free(tenant_id bigint, reason text DEFAULT NULL, request_id text DEFAULT NULL)
RETURNS boolean
LANGUAGE C VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'billing_use_first_free';
COMMENT ON FUNCTION billing.use_first_free(bigint, text, text)
	IS 'takes the one time that is free for each tenant: true; false if the tenant had it, by this or by billing.use_service(); raises YB001, YB004 closed tenant, YB006, YB010 frozen tenant, YB015, 22004';

CREATE FUNCTION billing.expire_credit(batch integer DEFAULT 10000)
RETURNS bigint
LANGUAGE C VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'billing_expire_credit';
COMMENT ON FUNCTION billing.expire_credit(integer)
	IS 'books what has begun to count, renewed or expired by billing.now() of up to batch grants, those that are due longest first, and returns of how many tenants; passes over tenants that somebody else has locked; nothing depends on it: who touches a grant books it first; 22004, 22023';
