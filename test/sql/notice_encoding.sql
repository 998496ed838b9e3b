-- The extension is created in a database of whatever encoding: a template that it has not the characters for is left out, what a locale
-- writes with such characters is written plainly, and a mail is UTF-8.
\set home :DBNAME
\pset format unaligned
\set show 'SELECT string_agg(DISTINCT language, \' \' ORDER BY language) AS languages, count(*) AS templates, max(octet_length(subject)) AS longest FROM billing.notice_template_default'
\set format 'SELECT billing.format(\'-1234.50 EUR\', \'de\') AS de, billing.format(\'12 JPY\', \'zh\') AS zh, billing.format(\'12.50 USD\', \'zh\') AS usd, billing.format_date(\'2026-01-31\', \'de\') AS day, billing.format_date(\'2026-03-01\', \'zh\') AS zh_day, billing.format_date(\'1600-03-01\', \'fr\') AS fr_day'

CREATE DATABASE billing_notice_encoding TEMPLATE template0 ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C';
\c billing_notice_encoding
SET client_encoding TO 'UTF8';
CREATE EXTENSION billing;
:show;
:format;
-- What is in the database comes out of it whole, whatever of it is a header.
CREATE FUNCTION words(mail text) RETURNS TABLE (part text, says text) BEGIN ATOMIC
	SELECT CASE WHEN m[1] IS NULL THEN 'body' ELSE 'header' END, convert_from(decode(coalesce(m[1], m[2]), 'base64'), 'UTF8')
	FROM regexp_matches(mail, '=\?UTF-8\?B\?([^?]*)\?=|base64\r\n\r\n([A-Za-z0-9+/=\r\n]*)', 'g') m;
END;
SELECT w.* FROM words(billing.mail_message('Müller & Söhne <a@example.com>', 'b@example.com', 'Prüfung', 'Größe', '<p>Größe</p>', 'x@example.com', '2026-01-31T09:00:00Z')) w;
SELECT billing.mail_message('Müller <ü@example.com>', 'b@example.com', '', '', '', 'x@example.com', '2026-01-31T09:00:00Z');
SELECT billing.mail_message('a@example.com', 'ü@example.com', '', '', '', 'x@example.com', '2026-01-31T09:00:00Z');
-- Who speaks Chinese gets what there is.
SELECT count(*) FROM billing.create_tenant(1, 'Müller', 'EUR', email => 'm@example.com', details => '{"locale": "zh"}');
SELECT number FROM billing.create_invoice(1, 'i', '[{"description": "Work", "amount": "10.00 EUR"}]', finalize => true);
SELECT language, subject FROM billing.notification n CROSS JOIN LATERAL billing.show_notice(n.tenant_id, n.notification_id);
\c :home
DROP DATABASE billing_notice_encoding;

CREATE DATABASE billing_notice_encoding TEMPLATE template0 ENCODING 'EUC_CN' LC_COLLATE 'C' LC_CTYPE 'C';
\c billing_notice_encoding
SET client_encoding TO 'UTF8';
CREATE EXTENSION billing;
:show;
:format;
SELECT subject FROM billing.notice_template_default WHERE kind = 'invoice' ORDER BY language;
CREATE FUNCTION words(mail text) RETURNS TABLE (part text, says text) BEGIN ATOMIC
	SELECT CASE WHEN m[1] IS NULL THEN 'body' ELSE 'header' END, convert_from(decode(coalesce(m[1], m[2]), 'base64'), 'UTF8')
	FROM regexp_matches(mail, '=\?UTF-8\?B\?([^?]*)\?=|base64\r\n\r\n([A-Za-z0-9+/=\r\n]*)', 'g') m;
END;
SELECT w.* FROM words(billing.mail_message('北京公司 <a@example.com>', 'b@example.com', repeat('账单', 12), '尊敬的', '<p>尊敬的</p>', 'x@example.com', '2026-01-31T09:00:00Z')) w;
\c :home
DROP DATABASE billing_notice_encoding;

CREATE DATABASE billing_notice_encoding TEMPLATE template0 ENCODING 'EUC_KR' LC_COLLATE 'C' LC_CTYPE 'C';
\c billing_notice_encoding
CREATE EXTENSION billing;
SET client_encoding TO 'UTF8';
:show;
\c :home
DROP DATABASE billing_notice_encoding;

CREATE DATABASE billing_notice_encoding TEMPLATE template0 ENCODING 'WIN1252' LC_COLLATE 'C' LC_CTYPE 'C';
\c billing_notice_encoding
CREATE EXTENSION billing;
SET client_encoding TO 'UTF8';
:show;
:format;
\c :home
DROP DATABASE billing_notice_encoding;

-- Bytes are taken as they are: of UTF-8, or there is no mail of them.
CREATE DATABASE billing_notice_encoding TEMPLATE template0 ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C';
\c billing_notice_encoding
CREATE EXTENSION billing;
:show;
:format;
SELECT substring(billing.mail_message('a@example.com', 'b@example.com', 'Prüfung', '', '', 'x@example.com', '2026-01-31T09:00:00Z') FROM 'Subject: [^\r]*');
SELECT billing.mail_message('a@example.com', 'b@example.com', E'Pr\374fung', '', '', 'x@example.com', '2026-01-31T09:00:00Z');
\c :home
DROP DATABASE billing_notice_encoding;
