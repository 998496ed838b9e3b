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
pause();
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
			SELECT billing.update_tenant(1, jsonb_build_object('name', " . ($encoding eq 'SQL_ASCII' ? 'chr(235)' : "convert_from('\\xc3a6', 'UTF8')") . "));
			SELECT billing.start_worker()");
		ok($node->poll_query_until($database, q{SELECT count(*) = 1 FROM billing.webhook_delivery WHERE state = 'delivered'}), "$encoding: it is delivered");
		my ($request) = $receiver->requests($path);
		is(ord(JSON::PP->new->decode($request->{body})->{data}{object}{name}), $encoding eq 'SQL_ASCII' ? ord '?' : 0xe6, 'as UTF-8');
		$node->safe_psql($database, 'SELECT billing.stop_worker()');
	}
}

sub endpoint { my ($path) = @_; return sql("SELECT endpoint_id FROM billing.create_webhook_endpoint('${\ $receiver->url($path)}', '{webhook.test}')") }

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
