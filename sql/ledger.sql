
-- transaction: one money movement, balanced by construction ----------------------

CREATE FUNCTION billing.is_balanced(accounts text[], amounts billing.amount[])
RETURNS boolean
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'billing_is_balanced';
COMMENT ON FUNCTION billing.is_balanced(text[], billing.amount[])
	IS 'whether there is one account for each amount and the amounts of each currency sum to zero';

-- accounts[i] is moved by amounts[i]: positive is debit, negative credit.
CREATE TABLE billing.transaction (
	tenant_id		bigint NOT NULL REFERENCES billing.tenant,
	transaction_id	bigint NOT NULL DEFAULT billing.next_id(),
	kind			text COLLATE "C" NOT NULL
					CONSTRAINT transaction_kind_is_known CHECK (kind IN ('invoice', 'payment', 'refund', 'adjustment', 'fee',
						'void', 'write_off', 'recovery', 'credit_note', 'top_up', 'draw', 'consume', 'expire', 'dispute', 'reversal')),
	invoice_id		bigint,
	payment_id		bigint,
	at				timestamptz NOT NULL,
	accounts		text[] COLLATE "C" NOT NULL,
	amounts			billing.amount[] NOT NULL,
	PRIMARY KEY (tenant_id, transaction_id),
	FOREIGN KEY (tenant_id, invoice_id) REFERENCES billing.invoice,
	FOREIGN KEY (tenant_id, payment_id) REFERENCES billing.payment,
	CONSTRAINT transaction_balances CHECK (billing.is_balanced(accounts, amounts))
);
COMMENT ON TABLE billing.transaction
	IS 'one row per money movement: accounts and amounts are its double-entry lines, debit positive, credit negative, zero in sum';
COMMENT ON COLUMN billing.transaction.tenant_id IS 'whose money';
COMMENT ON COLUMN billing.transaction.transaction_id IS 'of an invoice, credit note or refund its own id, of a top-up or grant that of the grant';
COMMENT ON COLUMN billing.transaction.kind IS 'what moved: invoice, payment, recovery, write_off, credit_note, refund, top_up, adjustment, draw, consume, expire, void, fee, dispute, reversal';
COMMENT ON COLUMN billing.transaction.at IS 'when it happened: the issue, the receipt, the voiding';
COMMENT ON COLUMN billing.transaction.invoice_id IS 'the invoice it is about';
COMMENT ON COLUMN billing.transaction.payment_id IS 'the payment it is about';
COMMENT ON COLUMN billing.transaction.accounts IS 'the accounts that move, one for each amount';
COMMENT ON COLUMN billing.transaction.amounts IS 'by how much each of them moves: debit positive, credit negative';
SELECT pg_catalog.pg_extension_config_dump('billing.transaction', '');

ALTER TABLE billing.transaction DISABLE TRIGGER ALL;
CREATE TRIGGER check_references AFTER INSERT ON billing.transaction REFERENCING NEW TABLE AS inserted
	FOR EACH STATEMENT EXECUTE FUNCTION billing.check_references();
CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE OR TRUNCATE ON billing.transaction
	FOR EACH STATEMENT EXECUTE FUNCTION billing.refuse_change('The ledger only grows: a correction is another transaction.');

ALTER TABLE billing.transaction ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant_isolation ON billing.transaction
	USING (tenant_id = nullif(current_setting('billing.tenant_id', true), '')::bigint);

CREATE VIEW billing.ledger_entry WITH (security_invoker) AS
	SELECT t.tenant_id, t.transaction_id, e.line::integer AS line, t.kind, t.at, e.account, e.amount, t.invoice_id, t.payment_id
	FROM billing.transaction t
	CROSS JOIN LATERAL ROWS FROM (unnest(t.accounts), unnest(t.amounts)) WITH ORDINALITY AS e (account, amount, line)
	WHERE billing.minor_units(e.amount) <> 0;
COMMENT ON VIEW billing.ledger_entry
	IS 'the double-entry lines of every transaction that move an account: debit positive, credit negative';
COMMENT ON COLUMN billing.ledger_entry.line IS 'place in the arrays of the transaction';
COMMENT ON COLUMN billing.ledger_entry.kind IS 'of the transaction';
COMMENT ON COLUMN billing.ledger_entry.at IS 'when it happened';
COMMENT ON COLUMN billing.ledger_entry.account IS 'receivable, cash, revenue, deferred_revenue, tax_payable, customer_credit, fees, disputed or bad_debt';
COMMENT ON COLUMN billing.ledger_entry.amount IS 'debit positive, credit negative';
COMMENT ON COLUMN billing.ledger_entry.invoice_id IS 'the invoice it is about';
COMMENT ON COLUMN billing.ledger_entry.payment_id IS 'the payment it is about';

CREATE VIEW billing.trial_balance WITH (security_invoker) AS
	SELECT e.tenant_id, billing.currency(e.amount) AS currency, e.account,
		sum(greatest(e.amount, e.amount - e.amount)) AS debit, sum(greatest(-e.amount, e.amount - e.amount)) AS credit,
		sum(e.amount) AS balance
	FROM billing.ledger_entry e
	GROUP BY e.tenant_id, billing.currency(e.amount), e.account;
COMMENT ON VIEW billing.trial_balance
	IS 'the accounts of each tenant in each currency: what was debited, what was credited, and debit less credit (balance), which sums to zero over the accounts';
COMMENT ON COLUMN billing.trial_balance.debit IS 'sum of what was debited';
COMMENT ON COLUMN billing.trial_balance.credit IS 'sum of what was credited, as a positive amount';
COMMENT ON COLUMN billing.trial_balance.balance IS 'debit less credit';
