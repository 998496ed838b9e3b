-- Promise: one table says which state may follow which; the view shows it and the function agrees.

SELECT object, from_state, string_agg(to_state, ' | ' ORDER BY to_state) AS to_states
FROM billing.state_transition
GROUP BY object, from_state
ORDER BY object, from_state;

-- States that nothing follows.
SELECT object, to_state
FROM billing.state_transition AS t
WHERE NOT EXISTS (SELECT FROM billing.state_transition AS n WHERE n.object = t.object AND n.from_state = t.to_state)
GROUP BY object, to_state
ORDER BY object, to_state;

-- The function says true for the rows of the view and for no other pair of states.
WITH state AS (
	SELECT object, from_state AS name FROM billing.state_transition
	UNION
	SELECT object, to_state FROM billing.state_transition
)
SELECT count(*) AS pairs,
	count(*) FILTER (WHERE billing.is_legal_transition(a.object, a.name, b.name)) AS legal,
	count(*) FILTER (WHERE billing.is_legal_transition(a.object, a.name, b.name) <> (t.object IS NOT NULL)) AS disagree,
	count(*) FILTER (WHERE a.name = b.name AND billing.is_legal_transition(a.object, a.name, b.name)) AS staying
FROM state AS a
	JOIN state AS b USING (object)
	LEFT JOIN billing.state_transition AS t ON (t.object, t.from_state, t.to_state) = (a.object, a.name, b.name);

SELECT count(*) AS twice FROM (SELECT FROM billing.state_transition GROUP BY object, from_state, to_state HAVING count(*) > 1) AS d;

-- Where people go wrong.
SELECT billing.is_legal_transition('invoice', 'void', 'open') AS open_void, billing.is_legal_transition('invoice', 'draft', 'paid') AS skip_open,
	billing.is_legal_transition('subscription', 'canceled', 'active') AS revive, billing.is_legal_transition('tenant', 'active', 'closed') AS close_unfrozen,
	billing.is_legal_transition('payment', 'failed', 'succeeded') AS gateway_is_right, billing.is_legal_transition('invoice', 'open', 'open') AS stay;

-- What does not exist is an error, not false.
SELECT billing.is_legal_transition('order', 'open', 'paid');
SELECT billing.is_legal_transition('invoice', 'opened', 'paid');
SELECT billing.is_legal_transition('invoice', 'open', 'trialing');
SELECT billing.is_legal_transition('Invoice', 'open', 'paid');
SELECT billing.is_legal_transition('', '', '');
SELECT billing.is_legal_transition('invoice', repeat('長', 1000), 'paid');
SELECT billing.is_legal_transition('invoice', NULL, 'paid') IS NULL AS unknown;
