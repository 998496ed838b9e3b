-- A template is filled with values that stay values: no markup in HTML, no line in a header; one that could not be filled
-- is refused when it is written, and each kind of notice speaks English and Chinese.
SELECT billing.fill_template('{{a}}-{{b}}-{{none}}-{{n}}{{a}}', '{"a": "1 < 2 & \"3\" > ''x''", "b": null, "n": 12.50, "o": {}}') AS text;
SELECT billing.fill_template('<b>{{a}}</b>', '{"a": "1 < 2 & \"3\" > ''x''"}', 'html') AS html;
SELECT billing.fill_template('S {{a}}', '{"a": "x\r\nBcc: all@example.com\u0001\u007f中"}', 'header') AS header;
SELECT billing.fill_template('{{a}}', '{"a": "{{b}}", "b": "not filled"}') AS once;
SELECT billing.fill_template('{{{a}}} {a} {{ a }} {{A}} {{', '{"a": "x"}') AS braces;
SELECT billing.fill_template('', '{}') = '' AS empty, billing.fill_template('x', '[1]') AS array, billing.fill_template('{{a}}', '{"a": [1]}') = '' AS list;

SELECT kind, object, event, placeholders FROM billing.notice_kind;
SELECT kind, string_agg(language, ' ' ORDER BY language) AS languages,
	bool_and(billing.is_notice_template(kind, subject, true) AND billing.is_notice_template(kind, body) AND billing.is_notice_template(kind, html)) AS are_valid
FROM billing.notice_template_default GROUP BY kind ORDER BY kind;
-- Of a kind, all say the same.
SELECT d.kind, d.language FROM billing.notice_template_default d
CROSS JOIN LATERAL (SELECT array_agg(DISTINCT m[1] ORDER BY m[1]) AS names FROM regexp_matches(d.body, '{{(\w+)}}', 'g') m) b
CROSS JOIN LATERAL (SELECT array_agg(DISTINCT m[1] ORDER BY m[1]) AS names FROM regexp_matches(d.html, '{{(\w+)}}', 'g') m) h
WHERE b.names <> h.names OR b.names <> (SELECT array_agg(DISTINCT m[1] ORDER BY m[1])
	FROM billing.notice_template_default e CROSS JOIN LATERAL regexp_matches(e.body, '{{(\w+)}}', 'g') m WHERE e.kind = d.kind);
SELECT k.kind FROM billing.notice_kind k
WHERE NOT EXISTS (SELECT FROM pg_constraint c WHERE c.conname = 'notification_kind_is_known' AND pg_get_constraintdef(c.oid) LIKE '%''' || k.kind || '''%');

-- The longest language that the locale begins with, an own template before a default one, else English.
INSERT INTO billing.notice_template (kind, language, subject, body) VALUES ('invoice', 'zh-Hant', '帳單 {{number}}', '帳單'), ('invoice', 'de', 'Rechnung {{number}}', 'Rechnung'),
	('receipt', 'en', 'Thanks for {{amount}}', 'Thanks');
SELECT l.locale, t.language, t.subject, t.html IS NULL AS is_plain FROM unnest('{en,en-GB,zh,zh-Hans-CN,zh-Hant-TW,zh_Hant,zh-TW,DE-at,de,den,fr,x}'::text[]) l (locale)
CROSS JOIN LATERAL billing.choose_notice_template('invoice', l.locale) t;
SELECT t.language, t.subject FROM billing.choose_notice_template('receipt', 'de') t;
SELECT t.language, t.subject FROM billing.choose_notice_template('receipt', 'zh') t;
SELECT count(*) FROM billing.choose_notice_template('nothing', 'en');
UPDATE billing.notice_template SET subject = 'Danke' WHERE kind = 'invoice' AND language = 'de';
SELECT action, object, object_id, before ->> 'subject' AS before, after ->> 'subject' AS after FROM billing.audit_log WHERE object = 'notice_template';
DELETE FROM billing.notice_template;

-- Days and locales.
SELECT billing.format_date('2026-01-31'), billing.format_date('2026-01-31', 'de-DE') AS de, billing.format_date('2026-02-28', 'zh-Hans-CN') AS zh,
	billing.format_date('1600-02-29') AS leap;
SELECT l, billing.is_locale(l) FROM unnest('{en,zh-Hans-CN,de_DE,xx-XX,"",English,en-}'::text[]) l;
SELECT billing.is_notice_on('invoice', n) AS invoice, billing.is_notice_on('invoice_due', n) AS due, n FROM unnest('{all,none,"invoice","invoice_due","receipt,invoice","receipt,invoice_due"}'::text[]) n;

-- Refusals.
SELECT billing.format_date('infinity');
SELECT billing.format_date('2026-01-31', 'tlh');
SELECT billing.fill_template('', '{}', 'sms');
\echo :LAST_ERROR_SQLSTATE
INSERT INTO billing.notice_template (kind, language, subject, body) VALUES ('thanks', 'en', 'a', 'b');
INSERT INTO billing.notice_template (kind, language, subject, body) VALUES ('invoice', 'en', E'a\nBcc: x', 'b');
INSERT INTO billing.notice_template (kind, language, subject, body) VALUES ('invoice', 'en', 'a {{pay_no}}', 'b');
INSERT INTO billing.notice_template (kind, language, subject, body) VALUES ('invoice', 'en', 'a', 'b {{ number }}');
INSERT INTO billing.notice_template (kind, language, subject, body, html) VALUES ('invoice', 'en', 'a', 'b', '{{nothing}}');
\set VERBOSITY terse
INSERT INTO billing.notice_template (kind, language, subject, body) VALUES ('invoice', 'English', 'a', 'b');
INSERT INTO billing.notice_template (kind, language, subject, body) VALUES ('invoice', 'en', '', 'b');
