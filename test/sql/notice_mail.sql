-- A mail is what RFC 5322 and MIME say: ASCII in short lines, what is not ASCII encoded; nothing that becomes a header adds one.
CREATE FUNCTION mail(sender text DEFAULT 'billing@example.com', recipient text DEFAULT 'a@example.org', subject text DEFAULT 'Hello', body text DEFAULT 'Text',
	html text DEFAULT NULL, message_id text DEFAULT 'x.1@example.com', at timestamptz DEFAULT '2026-02-28T23:05:09+08') RETURNS text
LANGUAGE sql RETURN replace(billing.mail_message(sender, recipient, subject, body, html, message_id, at), E'\r\n', E'\n');
\pset format unaligned
\pset tuples_only on
SELECT mail();
SELECT mail('Ümlaut GmbH <billing@example.com>', subject => '账单INV-1-000001，金额US$10.00', body => E'第一行\n第二行\r\n', html => '<p>第一行</p>');
-- Names that would mean something are quoted, what looks like an encoded word is one, a long line is folded; no word ends within a character.
SELECT split_part(mail('A, "B" \ <c@example.com>'), E'\nTo', 1);
SELECT split_part(mail('<c@example.com>'), E'\nTo', 1), split_part(mail('=?UTF-8?B?QQ==?= <c@example.com>'), E'\nTo', 1);
SELECT substring(mail(subject => '=?UTF-8?Q?x?= y') FROM 'Subject: [^\n]*'), substring(mail(subject => repeat('a', 60)) FROM 'Subject: [^\n]*');
SELECT substring(mail(subject => 'a' || repeat('中', 40)) FROM 'Subject: .*(?=\nDate)');
SELECT string_agg(convert_from(decode(m[1], 'base64'), 'UTF8'), '|') FROM regexp_matches(mail(subject => 'a' || repeat('中', 40)), '=\?UTF-8\?B\?([^?]*)\?=', 'g') m;
\pset tuples_only off
-- A body comes back as it was, with the ends of lines that mail has; and every line is short and ends in CR LF.
SELECT convert_from(decode(substring(m FROM 'base64\r\n\r\n(.*)$'), 'base64'), 'UTF8') = E'a\r\n.\r\n\r\nFrom b\r\n' || repeat('长', 1000) AS same,
	NOT m ~ '[^\r]\n' AND NOT m ~ '\r[^\n]' AS ends, (SELECT max(length(l)) FROM unnest(string_to_array(m, E'\r\n')) l) AS longest, m ~ '[^\x01-\x7f]' AS is_not_ascii
FROM (SELECT billing.mail_message('a@b', 'a@b', '', E'a\n.\n\nFrom b\r\n' || repeat('长', 1000), NULL, 'x@b', '2026-01-01Z') AS m) m;
SELECT substring(mail(at => d::timestamptz) FROM 'Date: ([^\n]*)') AS date FROM unnest('{2026-01-31T09:00:00Z,2024-02-29T23:59:59.999999Z,2026-12-31T16:00:00-08,1970-01-01Z,9999-12-31T23:59:59Z}'::text[]) d;
SET timezone TO 'Asia/Shanghai';
SET datestyle TO 'German';
SELECT substring(mail(at => '2026-01-31T09:00:00Z'::timestamptz) FROM 'Date: ([^\n]*)') AS whatever_the_session_says;
RESET timezone;
RESET datestyle;
SELECT billing.mail_message('a@b', 'a@b', NULL, '', '', 'x@b', now()) IS NULL AS null_is_null, mail(body => '') ~ E'base64\n\n$' AS empty;

-- Refusals: each that could be two addresses, a header or none.
\set VERBOSITY sqlstate
CREATE FUNCTION attempt(a text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	PERFORM mail(recipient => a);
	RETURN 'taken';
EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE || ' ' || SQLERRM;
END $$;
SELECT attempt(a) AS taken FROM unnest(ARRAY['a@b', 'a.b+c@example.com', 'a@xn--exmple-cua.com', 'o''brien_{x}@example.co.uk', 'a@1.2.3.4', '1@2']) a;
SELECT replace(attempt(a), E'\r\n', '\r\n') AS refused FROM unnest(ARRAY['', 'a', '@b', 'a@', 'a@b@c', 'a b@c', 'a@b c', 'a@b,c@d', 'a@b;c@d', '<a@b>', 'A <a@b>', '"a"@b', 'a@[1.2.3.4]', '.a@b',
	'a.@b', 'a..b@c', 'a@.b', 'a@b.', 'a@b..c', 'a@-b', 'a@b-', 'a(x)@b', 'a\@b', E'a@b\r\nBcc: c@d', E'a@b\n', E'a\x01@b', 'ü@b', 'a@ü', repeat('a', 65) || '@b', 'a@' || repeat('b', 254), 'a@b>', 'a@b> SIZE=1']) a;
\set VERBOSITY default
\set SHOW_CONTEXT never
SELECT mail(subject => E'a\r\nBcc: b@c');
SELECT mail(sender => E'A\nB <a@b>');
SELECT mail(sender => 'A <a@b> <c@d> x');
SELECT mail(sender => 'A <a@b>, <c@d');
SELECT mail(message_id => E'x@b>\r\nBcc: <c@d');
SELECT mail(at => 'infinity');
SELECT mail(at => '1899-12-31Z');
\echo :LAST_ERROR_SQLSTATE
DROP FUNCTION attempt(text);
DROP FUNCTION mail(text, text, text, text, text, text, timestamptz);
