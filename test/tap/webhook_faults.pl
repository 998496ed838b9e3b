# What must not happen to deliveries that are claimed and not sent yet, or under way, while something else does.
use strict;
use warnings FATAL => 'all';
use FindBin;
use lib $FindBin::Bin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use JSON::PP;
use WebhookReceiver;

plan skip_all => 'there is no node: Debian packages nodejs and npm' if system('command -v node >/dev/null') != 0;

my $node = PostgreSQL::Test::Cluster->new('webhook_faults');
my $dir = $node->basedir;
my $receiver = WebhookReceiver->start($dir);
my %keys = map { $_ => "$_ " . $_ x 64 . "\n" } 1, 2;

# One at a time, so that the others wait in memory.
$node->init;
keys_are(1);
$node->append_conf('postgresql.conf', <<"EOT");
shared_preload_libraries = 'billing'
billing.databases = 'postgres'
billing.key_file = '$dir/keys'
billing.webhook_allow_private = on
billing.webhook_max_per_endpoint = 1
EOT
$node->start;
sql(q{CREATE EXTENSION billing; SELECT billing.create_tenant(1, 'Tenant')});

lost_key();
lease();
redelivered();
instants();
pause();
claimed_together();
locked_row();
locked_order();
encoding();
$node->stop;
$receiver->stop;
done_testing();

# Without its secret an endpoint is sent nothing, and above all nothing without a signature.
sub lost_key
{
	my $endpoint = endpoint('/slow?ms=500');
	send_to($endpoint, 6);
	ok(poll("SELECT count(*) >= 1 FROM billing.webhook_delivery WHERE endpoint_id = $endpoint AND state = 'delivered'"), 'the first are delivered');
	keys_are(2);
	sql("SELECT billing.rotate_webhook_secret($endpoint)");
	ok(poll("SELECT count(*) = 0 FROM billing.webhook_delivery WHERE endpoint_id = $endpoint AND state = 'sending'"), 'those that waited to be sent wait in the table');
	cmp_ok(sql("SELECT count(*) FROM billing.webhook_delivery WHERE endpoint_id = $endpoint AND state = 'pending' AND attempts = 0"), '>', 0, 'untried');
	keys_are(1, 2);
	sql("SELECT billing.rotate_webhook_secret($endpoint)");
	ok(poll("SELECT count(*) = 6 FROM billing.webhook_delivery WHERE endpoint_id = $endpoint AND state = 'delivered'"), 'with it they are delivered');
	is(scalar(grep { !defined $_->{headers}{'webhook-signature'} } $receiver->requests('/slow')), 0, 'none came without a signature');
	$receiver->forget;
}

# A lease that ended while its delivery waits here, as when the clock is set forward, does not have it sent twice.
sub lease
{
	my $endpoint = endpoint('/slow?ms=300');
	send_to($endpoint, 6);
	ok(poll("SELECT count(*) = 5 FROM billing.webhook_delivery WHERE endpoint_id = $endpoint AND state = 'sending'"), 'all are claimed');
	sql("UPDATE billing.webhook_delivery SET next_attempt_at = now() WHERE endpoint_id = $endpoint AND state = 'sending'; SELECT billing.wake()");
	ok(poll("SELECT count(*) = 6 FROM billing.webhook_delivery WHERE endpoint_id = $endpoint AND state = 'delivered' AND attempts = 1"), 'they are delivered');
	is(scalar(@{[ $receiver->requests('/slow') ]}), 6, 'each once');

	# One that nobody holds is taken for lost when its lease ends.
	sql("UPDATE billing.webhook_delivery SET state = 'sending', next_attempt_at = now() + interval '1 second'
		WHERE event_id = (SELECT max(event_id) FROM billing.webhook_delivery WHERE endpoint_id = $endpoint); SELECT billing.wake()");
	ok(poll("SELECT count(*) = 1 FROM billing.webhook_delivery WHERE endpoint_id = $endpoint AND state = 'delivered' AND attempts = 2"), 'one that was lost is sent');
}

# What comes of an attempt that somebody has overtaken by a redelivery is not taken for what comes of that.
sub redelivered
{
	my $endpoint = endpoint('/overtaken');
	sql('ALTER SYSTEM SET billing.webhook_max_per_endpoint = 2; SELECT pg_reload_conf()');
	send_to($endpoint);
	ok(poll("SELECT count(*) = 1 FROM billing.webhook_delivery WHERE endpoint_id = $endpoint AND state = 'sending'"), 'it is under way');
	sleep 1 until $receiver->requests('/overtaken');
	is(sql("SELECT billing.redeliver(tenant_id, event_id, endpoint_id) FROM billing.webhook_delivery WHERE endpoint_id = $endpoint"), '1', 'and asked for again');
	ok(poll("SELECT state = 'delivered' AND status = 200 AND attempts = 1 FROM billing.webhook_delivery WHERE endpoint_id = $endpoint"), 'it is delivered');
	is(scalar(@{[ $receiver->requests('/overtaken') ]}), 2, 'by the attempt that was asked for');
	sql('ALTER SYSTEM RESET billing.webhook_max_per_endpoint; SELECT pg_reload_conf()');
}

# An endpoint that wants nothing for long holds no place in the queue.
sub pause
{
	my $endpoint = endpoint('/429?after=600');
	send_to($endpoint, 6);
	ok(poll("SELECT count(*) = 6 FROM billing.webhook_delivery WHERE endpoint_id = $endpoint AND state = 'pending'"), 'what waits for it waits in the table');
	is(sql("SELECT sum(attempts) FROM billing.webhook_delivery WHERE endpoint_id = $endpoint"), 1, 'with all its attempts');
	is(sql("SELECT count(attempted_at) FROM billing.webhook_delivery WHERE endpoint_id = $endpoint"), 1, 'of which one was made');
}

# What is claimed together is attempted one after the other, and says so.
sub instants
{
	my $endpoint = endpoint('/slow?ms=200');
	send_to($endpoint, 3);
	ok(poll("SELECT count(*) = 3 FROM billing.webhook_delivery WHERE endpoint_id = $endpoint AND state = 'delivered'"), 'they are delivered');
	is(sql("SELECT bool_and(delivered_at >= attempted_at + make_interval(secs => duration / 1000.0)), bool_and(attempted_at >= before)
		FROM (SELECT *, lag(delivered_at, 1, '-infinity') OVER (ORDER BY event_id) AS before FROM billing.webhook_delivery WHERE endpoint_id = $endpoint) d"),
		't|t', 'each when it was sent and answered');
}

# What is claimed together is sent in order, also where the first was due after the others, as when it is asked for again.
sub claimed_together
{
	my $endpoint = endpoint('/together', 'is_ordered => true');
	sql('SELECT billing.stop_worker()');
	send_to($endpoint, 3);
	sql("UPDATE billing.webhook_delivery SET next_attempt_at = now() WHERE event_id = (SELECT min(event_id) FROM billing.webhook_delivery WHERE endpoint_id = $endpoint)");
	sql('SELECT billing.start_worker()');
	ok(poll("SELECT bool_and(state = 'delivered') FROM billing.webhook_delivery WHERE endpoint_id = $endpoint"), 'they are delivered');
	my @events = map { $_->{id} =~ /_(\d+)$/ } $receiver->requests('/together');
	is("@events", join(' ', sort { $a <=> $b } @events), 'in order');
}

# Rows that somebody has locked for long keep themselves waiting and nobody else: one that is due, one that a sender before
# left, one under way.
sub locked_row
{
	my ($due, $left, $free) = map { endpoint($_) } '/due', '/left', '/free';
	sql('SELECT billing.stop_worker()');
	send_to($_) for $due, $left, $free;
	sql("UPDATE billing.webhook_delivery SET state = 'sending', attempts = 1, attempted_at = now(), next_attempt_at = now() + interval '1 hour' WHERE endpoint_id = $left");
	my $holder = lock_rows("endpoint_id IN ($due, $left)");
	sql('SELECT billing.start_worker()');
	ok(poll("SELECT state = 'delivered' FROM billing.webhook_delivery WHERE endpoint_id = $free"), 'others are delivered beside them');
	send_to($due);
	ok(poll("SELECT count(*) = 1 FROM billing.webhook_delivery WHERE endpoint_id = $due AND state = 'delivered'"), 'also to the same endpoint');
	is(sql("SELECT string_agg(state || attempts, ' ' ORDER BY endpoint_id) FROM billing.webhook_delivery WHERE endpoint_id IN ($due, $left) AND state <> 'delivered'"),
		'pending0 sending1', 'those that are locked wait');
	unlock_rows($holder);
	ok(poll("SELECT bool_and(state = 'delivered' AND attempts = 1) FROM billing.webhook_delivery WHERE endpoint_id IN ($due, $left)"), 'until they are not any more');
	is(scalar(@{[ $receiver->requests('/due') ]}) . ' ' . @{[ $receiver->requests('/left') ]}, '2 1', 'each comes once');

	my $sent = endpoint('/slow?ms=1000');
	$receiver->forget;
	send_to($sent);
	ok(poll("SELECT state = 'sending' FROM billing.webhook_delivery WHERE endpoint_id = $sent"), 'one is under way');
	$holder = lock_rows("endpoint_id = $sent");
	my $after = endpoint('/slow?ms=1500');
	send_to($_) for $after, $free;
	ok(poll("SELECT count(*) = 0 FROM billing.webhook_delivery WHERE endpoint_id IN ($after, $free) AND state <> 'delivered'"), 'others are sent and recorded beside it');
	unlock_rows($holder);
	ok(poll("SELECT state = 'delivered' AND attempts = 1 FROM billing.webhook_delivery WHERE endpoint_id = $sent"), 'it is recorded when it can be');
	is(scalar(@{[ $receiver->requests('/slow') ]}), 2, 'and was not sent again');
}

# A row that is locked holds up those behind it, if they are in order.
sub locked_order
{
	my $endpoint = endpoint('/first', 'is_ordered => true');
	my $free = endpoint('/free');
	sql('SELECT billing.stop_worker()');
	send_to($endpoint, 3);
	send_to($free);
	my $holder = lock_rows("event_id = (SELECT min(event_id) FROM billing.webhook_delivery WHERE endpoint_id = $endpoint)");
	sql('SELECT billing.start_worker()');
	ok(poll("SELECT state = 'delivered' FROM billing.webhook_delivery WHERE endpoint_id = $free"), 'others are delivered');
	send_to($free);
	ok(poll("SELECT bool_and(state = 'delivered') FROM billing.webhook_delivery WHERE endpoint_id = $free"), 'and again');
	is(scalar(@{[ $receiver->requests('/first') ]}), 0, 'those behind one that is locked are not');
	is(sql("SELECT count(attempted_at) + sum(attempts) FROM billing.webhook_delivery WHERE endpoint_id = $endpoint"), 0, 'nor counted as tried');
	unlock_rows($holder);
	ok(poll("SELECT bool_and(state = 'delivered') FROM billing.webhook_delivery WHERE endpoint_id = $endpoint"), 'until it is not any more');
	my @events = map { $_->{id} =~ /_(\d+)$/ } $receiver->requests('/first');
	is("@events", join(' ', sort { $a <=> $b } @events), 'in order');

	# One that fails while its row is locked.
	$endpoint = endpoint('/slow?ms=500&n=1', 'is_ordered => true');
	$receiver->forget;
	send_to($endpoint);
	ok(poll("SELECT state = 'sending' FROM billing.webhook_delivery WHERE endpoint_id = $endpoint"), 'one is under way');
	$holder = lock_rows("endpoint_id = $endpoint");
	my $after = endpoint('/after');
	send_to($endpoint);
	$receiver->requests('/slow') or sleep 1 until $receiver->requests('/slow');
	my $slow = endpoint('/slow?ms=1000');
	send_to($slow);
	ok(poll("SELECT state = 'delivered' FROM billing.webhook_delivery WHERE endpoint_id = $slow"), 'it has failed');
	send_to($after);
	ok(poll("SELECT state = 'delivered' FROM billing.webhook_delivery WHERE endpoint_id = $after"), 'others go on');
	is(scalar(grep { $_->{id} } $receiver->requests('/slow')), 2, 'what is behind it is not sent');
	unlock_rows($holder);
	ok(poll("SELECT bool_and(state = 'delivered') FROM billing.webhook_delivery WHERE endpoint_id = $endpoint"), 'until it was tried again');
	my ($first, $second) = split /\|/, sql("SELECT min(event_id), max(event_id) FROM billing.webhook_delivery WHERE endpoint_id = $endpoint");
	is(join(' ', grep { $_ == $first || $_ == $second } map { $_->{id} =~ /_(\d+)$/ } $receiver->requests('/slow')), "$first $first $second $second",
		'in order');
}

# A session that holds the locks of rows until it is told to end.
sub lock_rows
{
	my ($condition) = @_;
	my ($in, $out) = ('', '');
	my $session = IPC::Run::start(['psql', '-XAtq', '-d', $node->connstr('postgres')], '<', \$in, '>', \$out);
	$in = "BEGIN; SELECT FROM billing.webhook_delivery WHERE $condition FOR UPDATE;\n\\echo locked\n";
	$session->pump until $out =~ /locked/;
	return {session => $session, in => \$in};
}

sub unlock_rows
{
	my ($holder) = @_;
	${$holder->{in}} .= "ROLLBACK;\n\\q\n";
	$holder->{session}->finish;
}

# JSON is UTF-8, whatever the encoding of the database.
sub encoding
{
	for my $encoding ('LATIN1', 'SQL_ASCII')
	{
		my $database = lc $encoding;
		my $path = "/$database";
		sql("CREATE DATABASE $database ENCODING '$encoding' TEMPLATE template0 LOCALE 'C'");
		$node->safe_psql($database, "CREATE EXTENSION billing; SELECT billing.create_tenant(1, 'Tenant');
			SELECT billing.create_webhook_endpoint('${\ $receiver->url($path)}', '{tenant.updated}');
			SELECT billing.create_webhook_endpoint('${\ $receiver->url('/utf8')}', '{tenant.updated}');
			SELECT billing.update_tenant(1, jsonb_build_object('name', " . ($encoding eq 'SQL_ASCII' ? 'chr(235)' : "convert_from('\\xc3a6', 'UTF8')") . "));
			SELECT billing.start_worker()");
		ok($node->poll_query_until($database, q{SELECT count(*) = 2 FROM billing.webhook_delivery WHERE state = 'delivered'}), "$encoding: it is delivered");
		my ($request) = $receiver->requests($path);
		is(ord(JSON::PP->new->decode($request->{body})->{data}{object}{name}), $encoding eq 'SQL_ASCII' ? ord '?' : 0xe6, 'as UTF-8');
		is($node->safe_psql($database, q{SELECT encode(response::bytea, 'hex') FROM billing.webhook_delivery WHERE response !~ 'answer'}),
			$encoding eq 'SQL_ASCII' ? '613f3fc3a9e282ac62' : '613f3fe93f62', 'and so is the answer');
		$node->safe_psql($database, 'SELECT billing.stop_worker()');
	}
}

sub endpoint
{
	my ($path, $options) = @_;
	return sql("SELECT endpoint_id FROM billing.create_webhook_endpoint('${\ $receiver->url($path)}', '{webhook.test}'" . (defined $options ? ", $options" : '') . ')');
}

sub send_to
{
	my ($endpoint, $count) = @_;
	sql("SELECT billing.send_test_event($endpoint) FROM generate_series(1, ${\ ($count // 1)})");
}

# The first seals.
sub keys_are
{
	unlink "$dir/keys";
	append_to_file("$dir/keys", join '', map { $keys{$_} } reverse @_);
	chmod 0600, "$dir/keys";
}

sub poll { return $node->poll_query_until('postgres', $_[0]) }
sub sql { return $node->safe_psql('postgres', $_[0]) }
