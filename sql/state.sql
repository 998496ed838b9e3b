
-- state: which transitions are legal ----------------------------------------

CREATE FUNCTION billing.is_legal_transition(object text, from_state text, to_state text)
RETURNS boolean
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'billing_is_legal_transition';
COMMENT ON FUNCTION billing.is_legal_transition(text, text, text)
	IS 'whether an object (subscription, invoice, notification, payment, payment_method, refund, tenant) may go from one state straight to another; staying in a state is no transition and gives false; 22023 unknown object or state';

CREATE FUNCTION billing.state_transitions(OUT object text, OUT from_state text, OUT to_state text)
RETURNS SETOF record
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE ROWS 80
AS 'MODULE_PATHNAME', 'billing_state_transitions';
COMMENT ON FUNCTION billing.state_transitions()
	IS 'every legal transition: one row for each object, state and state that may follow it';

CREATE VIEW billing.state_transition WITH (security_invoker) AS
	SELECT object, from_state, to_state
	FROM billing.state_transitions();
COMMENT ON VIEW billing.state_transition
	IS 'every legal transition of subscriptions, invoices, notifications, payments, payment methods, refunds and tenants';

CREATE FUNCTION billing.state_guard()
RETURNS trigger
LANGUAGE C VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'billing_state_guard';
COMMENT ON FUNCTION billing.state_guard()
	IS 'trigger BEFORE UPDATE FOR EACH ROW of a table whose column status is the state of the object that its argument names: refuses what state_transition does not list; raises YB004';
