
-- credit_grant, wallet_entry: credit in a wallet, and what became of it ---------------

-- is_open tells an index which grants count: it changes when one is used up, not when
-- some of it is used.  What is consumed on credit is a grant too, of nothing, whose
-- balance is negative.
CREATE TABLE billing.credit_grant (
	tenant_id		bigint NOT NULL REFERENCES billing.tenant,
	grant_id		bigint NOT NULL DEFAULT billing.next_id(),
	amount			billing.amount NOT NULL,
	balance			billing.amount NOT NULL,
	source			text COLLATE "C" NOT NULL
					CONSTRAINT credit_grant_source_is_known CHECK (source IN ('invoice', 'credit_note', 'refund_failed', 'top_up',
						'grant', 'overdraft', 'overpayment', 'refund')),
	is_paid			boolean NOT NULL DEFAULT true,
	scope			text COLLATE "C" NOT NULL DEFAULT 'any'
					CONSTRAINT credit_grant_scope_is_known CHECK (scope IN ('any', 'invoice', 'consume')),
	priority		integer NOT NULL DEFAULT 50,
	effective_at	timestamptz NOT NULL DEFAULT billing.now()
					CONSTRAINT credit_grant_effective_at_is_finite CHECK (isfinite(effective_at)),
	expires_at		timestamptz CONSTRAINT credit_grant_expires_at_is_finite CHECK (isfinite(expires_at)),
	recurrence		interval CONSTRAINT credit_grant_recurrence_is_positive CHECK (billing.cycle_divides(recurrence, recurrence)),
	rollover_min	billing.amount,
	rollover_max	billing.amount,
	renewals		integer NOT NULL DEFAULT 0,
	renews_at		timestamptz,
	voided_at		timestamptz,
	invoice_id		bigint,
	payment_id		bigint,
	reason			text,
	created_at		timestamptz NOT NULL DEFAULT billing.now(),
	is_open			boolean NOT NULL GENERATED ALWAYS AS (billing.minor_units(balance) <> 0 OR renews_at IS NOT NULL) STORED,
	PRIMARY KEY (tenant_id, grant_id),
	FOREIGN KEY (tenant_id, invoice_id) REFERENCES billing.invoice,
	FOREIGN KEY (tenant_id, payment_id) REFERENCES billing.payment,
	CONSTRAINT credit_grant_amount_is_positive CHECK (billing.minor_units(amount) > 0 OR source = 'overdraft'),
	CONSTRAINT credit_grant_balance_is_not_negative CHECK (CASE source WHEN 'overdraft' THEN billing.minor_units(balance) <= 0
		ELSE billing.minor_units(balance) >= 0 END),
	CONSTRAINT credit_grant_has_one_currency CHECK (billing.currency(balance) = billing.currency(amount)
		AND coalesce(billing.currency(rollover_min) = billing.currency(amount), true)
		AND coalesce(billing.currency(rollover_max) = billing.currency(amount), true)),
	CONSTRAINT credit_grant_expires_after_it_begins CHECK (expires_at >= effective_at),
	CONSTRAINT credit_grant_rollover_is_in_order CHECK (coalesce(billing.minor_units(rollover_min), 0) >= 0
		AND coalesce(billing.minor_units(rollover_max), 0) >= coalesce(billing.minor_units(rollover_min), 0)),
	CONSTRAINT credit_grant_that_recurs_is_promotional CHECK (recurrence IS NULL OR NOT is_paid),
	CONSTRAINT credit_grant_has_no_card CHECK (billing.has_no_card(reason))
) WITH (fillfactor = 80);
COMMENT ON TABLE billing.credit_grant
	IS 'credit of tenants: what was granted, when it counts, what it may be used for and what is left of it (balance); written by top_up, grant_credit, void_grant and expire_credit, by consume, and by invoices and credit notes';
COMMENT ON COLUMN billing.credit_grant.tenant_id IS 'whose credit it is';
COMMENT ON COLUMN billing.credit_grant.grant_id IS 'from billing.next_id(); of what an invoice left over the invoice''s';
COMMENT ON COLUMN billing.credit_grant.amount IS 'what was granted, of one that recurs each time; zero of an overdraft';
COMMENT ON COLUMN billing.credit_grant.balance IS 'what is left; of an overdraft what is owed, negative; an instant that has passed since it was last touched is not counted in: see billing.wallet_balance';
COMMENT ON COLUMN billing.credit_grant.source IS 'top_up: money received; grant: by grant_credit; invoice: what would have made a total negative; credit_note; refund_failed: a refund that came to nothing; overdraft: what was consumed on credit; overpayment: money that nothing was due for; refund: one that went to the wallet';
COMMENT ON COLUMN billing.credit_grant.is_paid IS 'whether it is money of the tenant''s, owed to it in the ledger; else promotional';
COMMENT ON COLUMN billing.credit_grant.scope IS 'any, invoice or consume: what it may be used for; that of a credit note for invoices is drawn before any other, and counts as invoice.credited';
COMMENT ON COLUMN billing.credit_grant.priority IS 'lower ones are used first';
COMMENT ON COLUMN billing.credit_grant.effective_at IS 'from then on it counts';
COMMENT ON COLUMN billing.credit_grant.expires_at IS 'from then on it counts nothing, as was said when it was granted; NULL: never';
COMMENT ON COLUMN billing.credit_grant.recurrence IS 'how often it is granted again, counted from effective_at in the tenant''s time zone; NULL: once';
COMMENT ON COLUMN billing.credit_grant.rollover_min IS 'as much as this, at least, is left for the next time; NULL: nothing';
COMMENT ON COLUMN billing.credit_grant.rollover_max IS 'of what is left as much goes on to the next time; NULL: nothing';
COMMENT ON COLUMN billing.credit_grant.renewals IS 'how often it was granted again';
COMMENT ON COLUMN billing.credit_grant.renews_at IS 'when it is next, or when money begins to count, which settles first what was consumed on credit; NULL: not again';
COMMENT ON COLUMN billing.credit_grant.voided_at IS 'when it was taken back: from then on it counts nothing, whatever expires_at says';
COMMENT ON COLUMN billing.credit_grant.invoice_id IS 'the invoice that it comes from';
COMMENT ON COLUMN billing.credit_grant.payment_id IS 'the payment that it comes from';
COMMENT ON COLUMN billing.credit_grant.reason IS 'why, for people';
COMMENT ON COLUMN billing.credit_grant.is_open IS 'whether anything is left, or to come';
SELECT pg_catalog.pg_extension_config_dump('billing.credit_grant', '');

CREATE INDEX credit_grant_open ON billing.credit_grant (tenant_id, grant_id) WHERE is_open;
CREATE INDEX credit_grant_due ON billing.credit_grant (least(expires_at, renews_at), tenant_id) WHERE is_open AND least(expires_at, renews_at) IS NOT NULL;
CREATE UNIQUE INDEX credit_grant_has_one_overdraft ON billing.credit_grant (tenant_id, billing.currency(amount)) WHERE source = 'overdraft';

CREATE TRIGGER refuse_change BEFORE DELETE OR TRUNCATE OR UPDATE OF tenant_id, grant_id, amount, source, is_paid, scope, priority,
	effective_at, expires_at, recurrence, rollover_min, rollover_max, invoice_id, payment_id, reason, created_at ON billing.credit_grant
	FOR EACH STATEMENT EXECUTE FUNCTION billing.refuse_change('Credit that was granted stays told; void_grant takes it back.');

ALTER TABLE billing.credit_grant ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant_isolation ON billing.credit_grant
	USING (tenant_id = nullif(current_setting('billing.tenant_id', true), '')::bigint);

-- What several grants gave to one consume() are its parts.
CREATE TABLE billing.wallet_entry (
	tenant_id	bigint NOT NULL REFERENCES billing.tenant,
	entry_id	bigint NOT NULL DEFAULT billing.next_id(),
	grant_id	bigint,
	kind		text COLLATE "C" NOT NULL
				CONSTRAINT wallet_entry_kind_is_known CHECK (kind IN ('grant', 'draw', 'return', 'consume', 'first_free', 'expire', 'void',
					'renew', 'rollover', 'settle')),
	amount		billing.amount NOT NULL,
	at			timestamptz NOT NULL,
	invoice_id	bigint,
	consume_no	text COLLATE "C" CONSTRAINT wallet_entry_consume_no_is_sound CHECK (consume_no <> '' AND octet_length(consume_no) <= 255),
	part		integer NOT NULL DEFAULT 1 CONSTRAINT wallet_entry_part_is_positive CHECK (part > 0),
	reason		text,
	requested	billing.amount,
	balance		billing.amount,
	created_at	timestamptz NOT NULL DEFAULT billing.now(),
	PRIMARY KEY (tenant_id, entry_id),
	FOREIGN KEY (tenant_id, grant_id) REFERENCES billing.credit_grant,
	FOREIGN KEY (tenant_id, invoice_id) REFERENCES billing.invoice,
	CONSTRAINT wallet_entry_consume_no_is_unique UNIQUE (tenant_id, consume_no, part),
	CONSTRAINT wallet_entry_has_grant CHECK ((kind = 'first_free') = (grant_id IS NULL)),
	CONSTRAINT wallet_entry_has_sign CHECK (CASE WHEN kind IN ('grant', 'return', 'renew') THEN billing.minor_units(amount) > 0
		WHEN kind IN ('draw', 'consume', 'void') THEN billing.minor_units(amount) < 0
		WHEN kind = 'first_free' THEN billing.minor_units(amount) = 0 ELSE billing.minor_units(amount) <> 0 END),
	CONSTRAINT wallet_entry_has_no_card CHECK (billing.has_no_card(reason))
);
COMMENT ON TABLE billing.wallet_entry
	IS 'the history of credit: what raised and lowered each grant, which sums to its balance';
COMMENT ON COLUMN billing.wallet_entry.tenant_id IS 'whose credit it is';
COMMENT ON COLUMN billing.wallet_entry.entry_id IS 'from billing.next_id(); of what was granted the grant''s';
COMMENT ON COLUMN billing.wallet_entry.grant_id IS 'the grant that it changed; NULL: none, it was the first time free';
COMMENT ON COLUMN billing.wallet_entry.kind IS 'grant; draw: by an invoice; return: from a void one; consume; first_free; expire; void; renew: granted again; rollover: what changed of the rest before that; settle: an overdraft by money that came in';
COMMENT ON COLUMN billing.wallet_entry.amount IS 'positive: more credit';
COMMENT ON COLUMN billing.wallet_entry.at IS 'from when on it counts';
COMMENT ON COLUMN billing.wallet_entry.invoice_id IS 'the invoice that drew it';
COMMENT ON COLUMN billing.wallet_entry.consume_no IS 'yours, unique per tenant: what makes a retry harmless';
COMMENT ON COLUMN billing.wallet_entry.part IS 'from 1: one for each grant that gave some of it';
COMMENT ON COLUMN billing.wallet_entry.reason IS 'yours, for people';
COMMENT ON COLUMN billing.wallet_entry.requested IS 'of the first part: all that was to be consumed';
COMMENT ON COLUMN billing.wallet_entry.balance IS 'of the first part: what was left to consume in that currency, which a retry returns';
COMMENT ON COLUMN billing.wallet_entry.created_at IS 'when it was written';
SELECT pg_catalog.pg_extension_config_dump('billing.wallet_entry', '');

CREATE INDEX wallet_entry_of_invoice ON billing.wallet_entry (tenant_id, invoice_id) WHERE invoice_id IS NOT NULL;
CREATE UNIQUE INDEX wallet_entry_is_free_once ON billing.wallet_entry (tenant_id) WHERE kind = 'first_free';

ALTER TABLE billing.wallet_entry DISABLE TRIGGER ALL;
CREATE TRIGGER check_references AFTER INSERT ON billing.wallet_entry REFERENCING NEW TABLE AS inserted
	FOR EACH STATEMENT EXECUTE FUNCTION billing.check_references();
CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE OR TRUNCATE ON billing.wallet_entry
	FOR EACH STATEMENT EXECUTE FUNCTION billing.refuse_change('The history of a wallet only grows.');

ALTER TABLE billing.wallet_entry ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant_isolation ON billing.wallet_entry
	USING (tenant_id = nullif(current_setting('billing.tenant_id', true), '')::bigint);
