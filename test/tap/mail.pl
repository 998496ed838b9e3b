# Promise: a notice that waits reaches a mail server as a mail that Python's own parser reads, encrypted and logged in as the
# settings say; nothing of a customer's adds a header or a recipient; where there is no server it waits; what fails for a while is
# tried again, with the same Message-ID, what is refused for good is not, and one that hangs holds up no other; a sender that
# is killed in the middle sends again.
use strict;
use warnings FATAL => 'all';
use FindBin;
use lib $FindBin::Bin;
use utf8;
use Encode qw(encode_utf8);
use IPC::Run;
use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Restart;
use Test::More;
use Time::HiRes qw(sleep time);

my $python = -x '/usr/bin/python3' ? '/usr/bin/python3' : 'python3';
plan skip_all => 'no aiosmtpd for Python here; Debian has it in python3-aiosmtpd'
	if system("$python -c 'import aiosmtpd' 2>/dev/null") != 0;

my $node = PostgreSQL::Test::Cluster->new('mail');
my $dir = $node->basedir;
my $port = PostgreSQL::Test::Cluster::get_free_port();
my $log = "$dir/mails";
my %server;
my $tenants = 0;
my $invoices = 0;

$node->init;
append_to_file("$dir/keys", 'test ' . '7' x 64 . "\n");
chmod 0600, "$dir/keys";
make_certificate('good', 'localhost');
make_certificate('other', 'localhost');
$node->append_conf('postgresql.conf', encode_utf8("shared_preload_libraries = 'billing'
billing.databases = 'postgres'
billing.key_file = '$dir/keys'
billing.ca_file = '$dir/good.crt'
billing.smtp_from = 'Ümlaut GmbH <billing\@example.com>'
billing.smtp_timeout = 5s
restart_after_crash = on"));
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION billing');

# No server is configured: notices wait, and nothing fails.
my $waiting = invoice('chinese@example.com', '{"billing_name": "北京公司 <b>&</b>", "locale": "zh-Hans-CN", "settings": {"seller": {"name": "示例"}}}');
sleep 1;
is(state($waiting), 'waiting 0', 'a notice waits where no server is configured');
unlike(log_text(), qr/(ERROR|WARNING|FATAL):/, 'and nothing fails for it');

# STARTTLS and a login, from the reload on.
start_server('--tls', "$dir/good.crt", "$dir/good.key", '--auth', 'post', 'right');
my $right = $node->safe_psql('postgres', q{SELECT billing.seal(0, 'smtp_password', 'right')});
my $wrong = $node->safe_psql('postgres', q{SELECT billing.seal(0, 'smtp_password', 'wrong')});
set(smtp_url => "smtp://localhost:$port", smtp_user => 'post', smtp_password => $right);
wait_for($waiting, 'sent 1');
my ($mail) = mails('chinese@example.com');
is($mail->{subject}, '账单INV-1-000001，金额US$10.00', 'the subject is in Chinese');
like($mail->{text}, qr/^尊敬的北京公司 <b>&<\/b>：\n\n您的账单INV-1-000001已开具。\n.*\n示例\n$/s, 'so is the text');
like($mail->{html}, qr/尊敬的北京公司 &lt;b&gt;&amp;&lt;\/b&gt;：.*<b>INV-1-000001<\/b>/, 'in HTML its markup is escaped');
is($mail->{type}, 'multipart/alternative', 'it is both');
is_deeply([ @$mail{qw(name from mail_from)} ], [ 'Ümlaut GmbH', 'billing@example.com', 'billing@example.com' ], 'it is from whom the setting says');
is_deeply($mail->{defects}, [], 'Python finds no defect in it');
ok($mail->{ascii} && $mail->{longest} <= 78, 'its lines are ASCII and short');
ok($mail->{tls}, 'it was encrypted');
is($mail->{user}, 'post', 'and somebody was logged in');
like($mail->{message_id}, qr/^<billing\.1\.\d+\.\d+\.0\@example\.com>$/, 'its Message-ID is of the host of the sender');
is_deeply([ map { $_->[0] } @{ $mail->{headers} } ],
	[ qw(From To Subject Date Message-ID MIME-Version Auto-Submitted Content-Type) ], 'these are its headers');
is($node->safe_psql('postgres', 'SELECT recipient, locale, sent_at > created_at, error IS NULL FROM billing.notification'),
	'chinese@example.com|zh-Hans-CN|t|t', 'the row says where it went');

# What a customer calls itself is no header, and an address is one.
my $named = invoice('named@example.com', '{"billing_name": "A\r\nBcc: all@example.com\r\n\r\nB"}',
	"INSERT INTO billing.notice_template (kind, language, subject, body) VALUES ('invoice', 'en', '{{tenant}}', '{{tenant}}')");
my @hostile = map { [ $_, invoice($_) ] } ("a\@example.com\r\nBcc: all\@example.com", 'a@example.com, all@example.com', 'a@example.com> SIZE=1 <all@example.com',
	'all@example.com <a@example.com>', 'a b@example.com', 'a@b@example.com', '@example.com', 'a@', 'a@-', '"a b"@example.com', 'ü@example.com', 'a@exämple.com', 'a' x 65 . '@example.com');
wait_for($named, 'sent 1');
wait_for($_->[1], 'failed 1') foreach @hostile;
($mail) = mails('named@example.com');
is($mail->{subject}, 'A  Bcc: all@example.com    B', 'a line break of a name is a blank in the subject');
like($mail->{text}, qr/^A\r?\nBcc: all\@example.com\r?\n\r?\nB\r?\n?$/, 'and stays in the text');
is($mail->{type}, 'text/plain', 'a template with no HTML makes plain text');
is_deeply([ map { $_->[0] } @{ $mail->{headers} } ],
	[ qw(From To Subject Date Message-ID MIME-Version Auto-Submitted Content-Type Content-Transfer-Encoding) ], 'no header was added');
is_deeply([ grep { !/^(chinese|named)\@example\.com$/ } map { @{ $_->{recipients} } } mails() ], [], 'no other recipient had a mail');
is($node->safe_psql('postgres', q{SELECT DISTINCT error ~ 'is not a mail address$' FROM billing.notification WHERE status = 'failed'}), 't',
	'what is no address is an error that says so');
$node->safe_psql('postgres', 'DELETE FROM billing.notice_template');

# What is no longer so is not sent, nor what came too late, nor to nobody.
set(smtp_url => '');
my ($void, $late, $nobody) = map { invoice("$_\@example.com") } qw(void late nobody);
$node->safe_psql('postgres', "SELECT billing.void_invoice(tenant_id, object_id) FROM billing.notification WHERE notification_id = $void;
	UPDATE billing.notification SET expires_at = billing.now() WHERE notification_id = $late;
	SELECT billing.update_tenant(tenant_id, '{\"email\": null}') FROM billing.notification WHERE notification_id = $nobody");
set(smtp_url => "smtp://localhost:$port");
wait_for($void, 'skipped 1');
wait_for($late, 'expired 1');
wait_for($nobody, 'skipped 1');
is(scalar(grep { $_->{recipients}[0] =~ /^(void|late|nobody)/ } mails()), 0, 'what is void, late or has no address is not sent');

# Refused for good, or for a while; one that hangs holds up no other.
set(smtp_timeout => '5min');
my ($hang, $never, $broken, $full, $later, $fine) = map { invoice("$_\@example.com") } qw(hang never broken full later fine);
wait_for($never, 'failed 1');
wait_for($broken, 'failed 1');
wait_for($fine, 'sent 1');
is(state($hang), 'waiting 1', 'one that hangs holds up no other');
is(error_of($hang), '', 'and is under way still');
is(error_of($never), '550 no such user', 'the error says what the server answered');
wait_for($full, 'sent 2');
is(error_of($broken), '554 this is spam', 'also behind the message');
wait_for($later, 'sent 2');
my @later = mails('later@example.com');
is(scalar @later, 2, 'one was read twice');
is($later[0]->{message_id}, $later[1]->{message_id}, 'with one Message-ID');
isnt($later[0]->{message_id}, (mails('fine@example.com'))[0]->{message_id}, 'of its own');
set(smtp_timeout => '1s');
my $slow = invoice('hang.slow@example.com');
wait_for($slow, 'waiting 1');
like(error_of($slow), qr/^timeout:/, 'one that takes longer than it may is given up for a while');
set(smtp_timeout => '5s');
$node->safe_psql('postgres', "UPDATE billing.notification SET status = 'skipped', next_attempt_at = NULL WHERE notification_id IN ($hang, $slow)");

# A wrong password, no encryption, a certificate of somebody else, no server: it waits, and goes when that is mended.
set(smtp_password => $wrong);
my $refused = invoice('password@example.com');
wait_for($refused, 'waiting 1');
like(error_of($refused), qr/login|denied|535/i, 'a wrong password is an error of the row');
set(smtp_password => $right);
wait_for($refused, 'sent 2');

set(ca_file => "$dir/other.crt");
$node->restart;	# its certificates are kept for a while
my $untrusted = invoice('untrusted@example.com');
wait_for($untrusted, 'waiting 1');
like(error_of($untrusted), qr/certificate|SSL/i, 'nothing goes to a server that cannot show who it is');
set(ca_file => "$dir/good.crt");
$node->restart;
wait_for($untrusted, 'sent 2');

stop_server();
my $alone = invoice('alone@example.com');
wait_for($alone, 'waiting 1');
like(error_of($alone), qr/connect/i, 'no server there is an error of the row');
start_server();
set(smtp_user => '');
resend($alone);
wait_for($alone, 'waiting 1');
like(error_of($alone), qr/STARTTLS|TLS|SSL/i, 'a server that does not encrypt gets nothing');
is(scalar mails('alone@example.com'), 0, 'not a line');
set(smtp_tls => 'optional');
resend($alone);
wait_for($alone, 'sent 1');
ok(!(mails('alone@example.com'))[0]->{tls}, 'unless somebody decided otherwise');
resend($alone);
ok(wait_until(sub { mails('alone@example.com') == 2 }), 'what was sent is sent again if somebody asks for it');
my @alone = map { $_->{message_id} } mails('alone@example.com');
isnt($alone[0], $alone[1], 'as another mail, which nobody takes for the first');
wait_for($alone, 'sent 1');

# A connection carries one mail after the other, and where a server has enough of that there is another: no attempt is lost by it.
foreach my $strict (0, 1)
{
	stop_server();
	start_server($strict ? '--strict' : ());
	set(smtp_max_in_flight => 1);
	$node->safe_psql('postgres', 'SELECT billing.stop_worker()');
	my @many = map { invoice("many$strict.$_\@example.com") } 1 .. 5;
	$node->safe_psql('postgres', 'SELECT billing.start_worker()');
	wait_for($_, 'sent 1') foreach @many;
	my %connections = map { $_->{connection} => 1 } grep { $_->{recipients}[0] =~ /^many$strict/ } mails();
	is(scalar keys %connections, $strict ? 3 : 1, $strict ? 'two mails to a connection' : 'five mails in one connection');
	is(scalar(grep { $_->{recipients}[0] =~ /^many$strict/ } mails()), 5, 'each once');
}
stop_server();
start_server();
set(smtp_max_in_flight => 10);

# A sealed value that does not open stops the mail, and no attempt is made.
set(smtp_user => 'post', smtp_password => $right =~ s/.{4}$/AAAA/r);
my $damaged = invoice('damaged@example.com');
sleep 1;
is(state($damaged), 'waiting 0', 'a password that does not open costs no attempt');
like(log_text(), qr/sealed value does not open/, 'and is in the log');
set(smtp_user => '', smtp_password => '');
wait_for($damaged, 'sent 1');

# Settings that could not work are refused when they are written.
foreach my $bad ([ smtp_from => "a\@example.com\nBcc: all\@example.com" ], [ smtp_from => 'a@example.com, b@example.com' ], [ smtp_password => 'secret' ],
	[ smtp_url => 'http://localhost' ], [ smtp_url => 'smtp://user:secret@localhost' ], [ smtp_tls => 'maybe' ])
{
	my ($name, $value) = @$bad;
	my ($rc, $out, $err) = $node->psql('postgres', "ALTER SYSTEM SET billing.$name = '$value'");
	isnt($rc, 0, "billing.$name is not " . ($value =~ s/\n/ /r));
	unlike($err, qr/secret/, 'and the error does not repeat it') if $name eq 'smtp_password';
}

# A sender that is killed while a mail is under way sends it again when the lease has ended.
my $killed = invoice('hang.killed@example.com');
ok(wait_until(sub { mails('hang.killed@example.com') > 0 }), 'a server has a mail, and does not say so');
my $pid = $node->safe_psql('postgres', q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'billing sender'});
kill 9, $pid;
stop_server();
start_server();
ok(Restart::wait_for($node, $pid), 'the sender was killed, and PostgreSQL is back');
$node->safe_psql('postgres', "SELECT billing.update_tenant(tenant_id, '{\"email\": \"again\@example.com\"}') FROM billing.notification WHERE notification_id = $killed");
is(state($killed) . error_of($killed), 'waiting 1', 'what became of it was not recorded');
wait_for($killed, 'sent 2');
is((mails('again@example.com'))[0]->{message_id}, (mails('hang.killed@example.com'))[0]->{message_id}, 'it is the same mail');

# From databases of other encodings it is UTF-8 all the same, also where that of who it is from could not be held; what cannot be is written plainly.
foreach my $other ([ 'LATIN1', 'de', 'Müller & Söhne', 'EUR', 'Invoice INV-1-000001 over 10.00 EUR' ], [ 'EUC_CN', 'zh', '北京公司', 'USD', '账单INV-1-000001，金额US$10.00' ],
	[ 'EUC_KR', 'zh', '서울', 'CNY', 'Invoice INV-1-000001 over 10.00 CNY' ])
{
	my ($encoding, $locale, $name, $currency, $subject) = @$other;

	$node->safe_psql('postgres', "CREATE DATABASE $encoding TEMPLATE template0 ENCODING '$encoding' LC_COLLATE 'C' LC_CTYPE 'C'");
	$node->safe_psql(lc $encoding, encode_utf8(qq{SET client_encoding TO 'UTF8';
		CREATE EXTENSION billing;
		SELECT billing.create_tenant(1, '$name', '$currency', email => '$encoding\@example.com', details => '{"locale": "$locale"}');
		SELECT billing.create_invoice(1, 'i', '[{"description": "Work", "amount": "10.00 $currency"}]');
		SELECT billing.start_worker()}));
	ok(wait_until(sub { mails("$encoding\@example.com") > 0 }), "a mail came from a database of $encoding");
	($mail) = mails("$encoding\@example.com");
	is_deeply([ @$mail{qw(subject name ascii defects)} ], [ $subject, 'Ümlaut GmbH', JSON::PP::true, [] ], 'its headers are whole');
	like($mail->{text}, qr/\Q$name\E/, 'and so is its text');
	$node->safe_psql(lc $encoding, 'SELECT billing.stop_worker()');
}

is($node->safe_psql('postgres', 'SELECT count(*) FROM billing.audit()'), 0, 'nothing is broken');
stop_server();
$node->stop;
done_testing();

sub make_certificate
{
	my ($name, $host) = @_;

	my ($out, $err);

	run_log([ 'openssl', 'req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', '-subj', "/CN=$host", '-addext', "subjectAltName=DNS:$host",
		'-keyout', "$dir/$name.key", '-out', "$dir/$name.crt" ], '>', \$out, '2>', \$err) or die $err;
}

sub start_server
{
	my $out = '';

	%server = (out => \$out);
	$server{process} = IPC::Run::start([ $python, 'test/smtp_server', $port, $log, @_ ], '<', \undef, '>', \$out, '2>', "$dir/smtp.err");
	$server{process}->pump until $out =~ /ready/;
}

sub stop_server
{
	$server{process}->kill_kill(grace => 1) if $server{process};
	delete $server{process};
}

# Also where a test dies.
END
{
	my $status = $?;

	stop_server();
	$? = $status;
}

sub set
{
	my %settings = @_;

	$node->safe_psql('postgres', join('', map { "ALTER SYSTEM SET billing.$_ = '$settings{$_}';\n" } sort keys %settings) . 'SELECT pg_reload_conf()');
}

# A tenant of its own with that address, and an invoice: returns the id of the notification.
sub invoice
{
	my ($email, $details, $before) = @_;
	my $t = ++$tenants;

	$email =~ s/'/''/g;
	$details //= '{}';
	$node->safe_psql('postgres', $before) if defined $before;
	return $node->safe_psql('postgres', encode_utf8(qq{
		SET client_min_messages = error;
		DO \$\$ BEGIN PERFORM billing.create_tenant($t, 'Tenant $t', email => E'$email', details => '$details');
		PERFORM billing.create_invoice($t, 'i', '[{"description": "Work", "amount": "10.00 USD"}]'); END \$\$;
		SELECT notification_id FROM billing.notification WHERE tenant_id = $t}));
}

sub resend
{
	$node->safe_psql('postgres', "SELECT billing.resend_notice(tenant_id, notification_id) FROM billing.notification WHERE notification_id = $_[0]");
}

sub state
{
	return $node->safe_psql('postgres', "SELECT status || ' ' || attempts FROM billing.notification WHERE notification_id = $_[0]");
}

sub error_of
{
	return $node->safe_psql('postgres', "SELECT error FROM billing.notification WHERE notification_id = $_[0]");
}

# One that waits has been tried once it says why it waits.
sub wait_for
{
	my ($id, $wanted) = @_;

	ok($node->poll_query_until('postgres', "SELECT status || ' ' || attempts = '$wanted' AND (status <> 'waiting' OR error <> '')
		FROM billing.notification WHERE notification_id = $id"), "notification $id is $wanted")
		or diag(state($id) . ': ' . error_of($id));
}

sub wait_until
{
	my ($check) = @_;
	my $end = time + 60;

	while (time < $end)
	{
		return 1 if $check->();
		sleep 0.1;
	}
	return 0;
}

sub mails
{
	my ($recipient) = @_;
	my @all = -f $log ? map { decode_json($_) } split /\n/, slurp_file($log) : ();

	return grep { !defined $recipient || $_->{recipients}[0] eq $recipient } @all;
}

sub log_text
{
	return slurp_file($node->logfile);
}
