# What is delivered and how: every answer there may be, TLS and names that fail, addresses that are refused, signatures that
# the official library verifies, order, rate, and endpoints that are slow, against a real HTTP(S) server.
use strict;
use warnings FATAL => 'all';
use FindBin;
use lib $FindBin::Bin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Encode;
use JSON::PP;
use MIME::Base64;
use BillingNode;
use WebhookReceiver;

plan skip_all => 'there is no node: Debian packages nodejs and npm' if system('command -v node >/dev/null') != 0;

my $node = PostgreSQL::Test::Cluster->new('webhook');
my $dir = $node->basedir;
my $receiver = WebhookReceiver->start($dir, certificates => 1);

BillingNode::start($node, "billing.ca_file = '$dir/authority.pem'", "billing.webhook_timeout = '600 s'");
$node->safe_psql('postgres', q{
	CREATE EXTENSION billing;
	SELECT billing.create_tenant(t, 'Tenant ' || t) FROM generate_series(1, 3) t;
});

answers();
retries();
connections();
addresses();
signatures();
order();
rate();
slow();
lost_key();
outage();
done_testing();

# Each answer, and what becomes of the delivery.
sub answers
{
	my @cases = (
		['/ok', 'delivered|200||answer ok'],
		['/204', 'delivered|204||'],
		['/202', 'delivered|202||answer 202'],
		['/301', 'pending|301|http: status 301|'],
		['/400', 'pending|400|http: status 400|answer 400'],
		['/404', 'pending|404|http: status 404|answer 404'],
		['/410', 'failed|410|http: status 410|answer 410'],
		['/429?after=0', 'pending|429|http: status 429|slow down'],
		['/500', 'pending|500|http: status 500|answer 500'],
		['/503', 'pending|503|http: status 503|answer 503'],
		['/reset', qr/^pending\|0\|reset: .*\|$/],
		['/garbage', qr/^pending\|0\|protocol: .*HTTP\/0.9.*\|$/],
		['/big', 'delivered|200||' . 'x' x 4096],
		['/utf8', 'delivered|200||a??é€b'],
	);
	for my $case (@cases)
	{
		my ($path, $expected) = @$case;
		my $endpoint = endpoint($receiver->url($path));
		send_to($endpoint);
		attempted($endpoint);
		my $got = sql("SELECT concat_ws('|', state, coalesce(status, 0), coalesce(error, ''), coalesce(response, '')) FROM billing.webhook_delivery WHERE endpoint_id = $endpoint");
		ref $expected ? like($got, $expected, $path) : is($got, $expected, $path);
		disable($endpoint) if $path ne '/410';
		is(sql("SELECT is_enabled, disabled_reason FROM billing.webhook_endpoint WHERE endpoint_id = $endpoint"), 'f|It answered 410 Gone.',
			'410 disables its endpoint') if $path eq '/410';
	}
	is(scalar(grep { $_->{path} eq '/ok' } $receiver->requests), 1, 'the redirect is not followed');

	my ($request) = $receiver->requests('/ok');
	my ($tenant, $event) = split /\|/, sql("SELECT tenant_id, event_id FROM billing.webhook_delivery JOIN billing.webhook_endpoint USING (endpoint_id) WHERE url LIKE '%/ok'");
	is($request->{method}, 'POST', 'it is a POST');
	is($request->{id}, "evt_${tenant}_$event", 'webhook-id names tenant and event');
	is($request->{headers}{'content-type'}, 'application/json', 'of JSON');
	is($request->{body}, sql("SELECT payload FROM billing.event WHERE tenant_id = $tenant AND event_id = $event"), 'the body is the payload');
	is(JSON::PP::decode_json($request->{body})->{type}, 'webhook.test', 'which any parser of JSON reads');

	my $endpoint = endpoint($receiver->url('/headers'), q{headers => '{"Authorization": "Bearer abc", "X-Name": "vä lue"}'});
	send_to($endpoint);
	attempted($endpoint);
	($request) = $receiver->requests('/headers');
	is($request->{headers}{authorization}, 'Bearer abc', 'a header of the endpoint');
	is(Encode::decode('UTF-8', Encode::encode('latin1', $request->{headers}{'x-name'})), "v\x{e4} lue", 'and one that is not ASCII');
}

# The waits between attempts, the end of them, and Retry-After.
sub retries
{
	my $endpoint = endpoint($receiver->url('/500'));
	send_to($endpoint);
	my @delays = (5, 300, 1800, 7200, 18000, 36000, 50400, 72000, 86400);
	for my $attempt (1 .. 10)
	{
		ok(poll("SELECT attempts = $attempt AND state <> 'sending' FROM billing.webhook_delivery WHERE endpoint_id = $endpoint"), "attempt $attempt");
		last if $attempt == 10;
		my $delay = $delays[$attempt - 1];
		is(sql("SELECT next_attempt_at - attempted_at >= interval '$delay s' AND next_attempt_at - attempted_at <= 1.1 * interval '$delay s' + interval '2 min'
			FROM billing.webhook_delivery WHERE endpoint_id = $endpoint"), 't', "the next is $delay seconds later, or up to a tenth more");

		# The first comes by itself, the others are brought forward.
		next if $attempt == 1;
		sql("UPDATE billing.webhook_delivery SET next_attempt_at = '-infinity' WHERE endpoint_id = $endpoint; SELECT billing.wake()");
	}
	is(sql("SELECT state, next_attempt_at FROM billing.webhook_delivery WHERE endpoint_id = $endpoint"), 'failed|', 'the tenth is the last');
	my @requests = $receiver->requests('/500');
	my %ids = map { $_->{id} => 1 } @requests[-10 .. -1];
	is(scalar keys %ids, 1, 'each attempt has the same id');

	$endpoint = endpoint($receiver->url('/429?after=3600'));
	send_to($endpoint);
	attempted($endpoint);
	is(sql("SELECT next_attempt_at - attempted_at BETWEEN '1 hour' AND '1 hour 10 min' FROM billing.webhook_delivery WHERE endpoint_id = $endpoint"),
		't', 'Retry-After is honoured');
	send_to($endpoint);
	my $other = endpoint($receiver->url('/other'));
	send_to($other);
	attempted($other);
	is(sql("SELECT count(*) FROM billing.webhook_delivery WHERE endpoint_id = $endpoint AND attempts > 0"), 1, 'and holds up what else goes there');

	$endpoint = endpoint($receiver->url('/fail?n=1'));
	send_to($endpoint);
	ok(poll("SELECT state = 'delivered' FROM billing.webhook_delivery WHERE endpoint_id = $endpoint"), 'what fails once is delivered');
	is(sql("SELECT attempts, status, error, response FROM billing.webhook_delivery WHERE endpoint_id = $endpoint"), '2|200||attempt 2', 'at the second attempt');
}

# TLS, HTTP/2, names and ports.
sub connections
{
	my @cases = (
		[$receiver->url('/tls', 'https'), qr/^delivered\|$/, 'TLS by an authority of ours'],
		[$receiver->url('/tls', 'https', 'localhost'), qr/^delivered\|$/, 'and by name'],
		[$receiver->url('/tls', 'wrong_host'), qr/^pending\|tls: /, 'a certificate for another host'],
		[$receiver->url('/tls', 'expired'), qr/^pending\|tls: .*expired/, 'a certificate that has expired'],
		[$receiver->url('/tls') =~ s/http:/https:/r, qr/^pending\|tls: /, 'TLS where there is none'],
		['http://no-such-host.invalid/', qr/^pending\|dns: /, 'a name that does not resolve'],
		['http://127.0.0.1:1/', qr/^pending\|connect: /, 'a port where nobody listens'],
	);
	for my $case (@cases)
	{
		my ($url, $expected, $what) = @$case;
		my $endpoint = endpoint($url);
		send_to($endpoint);
		attempted($endpoint);
		like(sql("SELECT state, error FROM billing.webhook_delivery WHERE endpoint_id = $endpoint"), $expected, $what);
		disable($endpoint);
	}
	is(scalar(@{[ $receiver->requests('/tls') ]}), 2, 'nothing is sent where TLS fails');

	my $endpoint = endpoint($receiver->url('/h2', 'https'));
	send_to($endpoint, 100);
	ok(poll("SELECT count(*) = 100 FROM billing.webhook_delivery WHERE endpoint_id = $endpoint AND state = 'delivered'"), 'a hundred over TLS');
	my @requests = $receiver->requests('/h2');
	my %connections = map { $_->{connection} => 1 } @requests;
	is(join(' ', sort keys %{{map { $_->{version} => 1 } @requests}}), '2.0', 'by HTTP/2');
	is(scalar keys %connections, 1, 'over one connection');

	$endpoint = endpoint($receiver->url('/keep'));
	send_to($endpoint, 100);
	ok(poll("SELECT count(*) = 100 FROM billing.webhook_delivery WHERE endpoint_id = $endpoint AND state = 'delivered'"), 'a hundred without');
	%connections = map { $_->{connection} => 1 } $receiver->requests('/keep');
	cmp_ok(scalar keys %connections, '<=', 32, 'connections are used again');

	# An authority that is not known.
	$node->append_conf('postgresql.conf', "billing.ca_file = ''");
	$node->reload;
	$endpoint = endpoint($receiver->url('/unknown', 'https'));
	send_to($endpoint);
	attempted($endpoint);
	like(sql("SELECT state, error FROM billing.webhook_delivery WHERE endpoint_id = $endpoint"), qr/^pending\|tls: /, 'an authority that is not known');
	disable($endpoint);
	$node->append_conf('postgresql.conf', "billing.ca_file = '$dir/authority.pem'");
	$node->reload;
}

# What is not public is refused, whatever leads there.
sub addresses
{
	my $port = $receiver->{ports}{http};
	my @urls = map { "http://$_:$port/private" } 'localhost', '127.0.0.1', '127.1', '0x7f000001', '2130706433', '[::ffff:127.0.0.1]', '0.0.0.0';
	my @endpoints = map { endpoint($_) } @urls;

	# Connections that are open from before do not help.
	send_to($endpoints[2]);
	attempted($endpoints[2]);
	is(scalar(@{[ $receiver->requests('/private') ]}), 1, 'where private addresses are allowed, it arrives');
	$node->append_conf('postgresql.conf', 'billing.webhook_allow_private = off');
	$node->reload;
	ok(poll(q{SELECT current_setting('billing.webhook_allow_private') = 'off'}), 'they are not any more');
	for my $i (0 .. $#urls)
	{
		send_to($endpoints[$i]);
		ok(poll("SELECT count(*) = 0 FROM billing.webhook_delivery WHERE endpoint_id = $endpoints[$i] AND (attempts = 0 OR state = 'sending')"), "$urls[$i] is tried");
		is(sql("SELECT state, error FROM billing.webhook_delivery WHERE endpoint_id = $endpoints[$i] ORDER BY event_id DESC LIMIT 1"),
			'pending|private_address: the address is not public', 'and refused');
		disable($endpoints[$i]);
	}
	is(scalar(@{[ $receiver->requests('/private') ]}), 1, 'nothing came');
	my ($status, $out, $error) = $node->psql('postgres', "SELECT billing.create_webhook_endpoint('$urls[2]')");
	like($error, qr/Its address is not public/, 'and none is made with such an address');
	$node->append_conf('postgresql.conf', 'billing.webhook_allow_private = on');
	$node->reload;
}

# By the official library; while a secret is rotated with both, and then with the new one only.
sub signatures
{
	my $modules = WebhookReceiver::install_packages("$dir/npm", 'standardwebhooks@1');
  SKIP:
	{
		skip 'NPM HAS NO REGISTRY HERE: signatures are not verified by the official library', 8 if !defined $modules;
		my ($endpoint, $first) = split /\|/, sql("SELECT endpoint_id, signing_secret FROM billing.create_webhook_endpoint('${\ $receiver->url('/signed')}')");
		my $wrong = 'whsec_' . MIME::Base64::encode_base64('x' x 32, '');
		my $verify = sub {
			my (@secrets) = @_;
			my $before = @{[ $receiver->requests('/signed') ]};
			send_to($endpoint);
			ok(poll("SELECT count(*) = 0 FROM billing.webhook_delivery WHERE endpoint_id = $endpoint AND state <> 'delivered'"), 'delivered');
			my $request = ($receiver->requests('/signed'))[$before];
			my ($result) = WebhookReceiver::verify($modules, {secrets => \@secrets, headers => $request->{headers}, body => $request->{body}});
			my ($tampered) = WebhookReceiver::verify($modules, {secrets => \@secrets, headers => $request->{headers}, body => "$request->{body} "});
			is("@$tampered", join(' ', map { 0 } @secrets), 'a body that was changed does not verify');
			return "@$result";
		};

		is($verify->($first, $wrong), '1 0', 'the library verifies it with its secret, and with no other');
		my $second = sql("SELECT signing_secret FROM billing.rotate_webhook_secret($endpoint)");
		is($verify->($first, $second, $wrong), '1 1 0', 'after a rotation with both');
		sql("UPDATE billing.webhook_endpoint SET previous_until = now() WHERE endpoint_id = $endpoint");
		is($verify->($first, $second), '0 1', 'when the time of the first is over, with the second only');
		my $public = sql("SELECT public_key FROM billing.rotate_webhook_secret($endpoint, scheme => 'v1a')");
		is($verify->($second, $public), '1 1', 'Ed25519 beside HMAC-SHA256');
		my $other = sql("SELECT public_key FROM billing.rotate_webhook_secret($endpoint, '0')");
		is($verify->($second, $public, $other), '0 0 1', 'and alone');
	}
}

# An endpoint that asks for it gets the events of each tenant in order, also where one fails.
sub order
{
	my $endpoint = endpoint($receiver->url('/fail?n=0'), 'is_ordered => true');
	my $broken = endpoint($receiver->url('/500'), 'is_ordered => true');
	$receiver->forget;
	sql("SELECT billing.send_test_event($endpoint, 1 + i % 3) FROM generate_series(1, 300) i");
	ok(poll("SELECT count(*) = 300 FROM billing.webhook_delivery WHERE endpoint_id = $endpoint AND state = 'delivered'"), 'all are delivered');
	ok(is_ordered($receiver->requests('/fail')), 'in order');

	# The first attempt of each fails: so those behind it wait, each for its own.
	sql("SELECT billing.update_webhook_endpoint($endpoint, '{\"url\": \"${\ $receiver->url('/fail?n=1')}\"}')");
	$receiver->forget;
	sql("SELECT billing.send_test_event($endpoint, 1 + i % 2) FROM generate_series(1, 4) i");
	ok(poll("SELECT count(*) = 2 FROM billing.webhook_delivery WHERE endpoint_id = $endpoint AND state = 'pending' AND attempts = 1"), 'the first of each tenant failed');
	is(sql("SELECT count(*) FROM billing.webhook_delivery WHERE endpoint_id = $endpoint AND state = 'pending' AND attempts = 0"), 2, 'those behind them were not tried');
	sql("SELECT billing.send_test_event($endpoint, 1)");
	ok(poll("SELECT count(*) = 305 FROM billing.webhook_delivery WHERE endpoint_id = $endpoint AND state = 'delivered'"), 'all are delivered');
	ok(is_ordered(grep { $_->{attempt} == 2 } $receiver->requests('/fail')), 'in order');

	# One that fails for good is given up, and the next is tried.
	sql("SELECT billing.send_test_event($broken, 1) FROM generate_series(1, 2)");
	for my $attempt (1 .. 10)
	{
		ok(poll("SELECT bool_and(state <> 'sending') AND max(attempts) = $attempt AND count(*) FILTER (WHERE attempts > 0 AND next_attempt_at IS NOT NULL) <= 1
			FROM billing.webhook_delivery WHERE endpoint_id = $broken"), "attempt $attempt of the first");
		sql("UPDATE billing.webhook_delivery SET next_attempt_at = '-infinity' WHERE endpoint_id = $broken AND attempts = $attempt AND state = 'pending'; SELECT billing.wake()");
	}
	sql("UPDATE billing.webhook_delivery SET next_attempt_at = '-infinity' WHERE endpoint_id = $broken AND state = 'pending'; SELECT billing.wake()");
	ok(poll("SELECT string_agg(state || attempts, ' ' ORDER BY event_id) = 'failed10 pending1' FROM billing.webhook_delivery WHERE endpoint_id = $broken"), 'the second is tried when the first is given up');
	disable($broken);
}

# No request of a tenant comes before one of an earlier event, and none twice.
sub is_ordered
{
	my (@requests) = @_;
	my %last;
	for (@requests)
	{
		my ($tenant, $event) = $_->{id} =~ /^evt_(\d+)_(\d+)$/;
		return 0 if $event <= ($last{$tenant} // 0);
		$last{$tenant} = $event;
	}
	return 1;
}

sub rate
{
	my $endpoint = endpoint($receiver->url('/rate'), 'rate_limit => 10');
	send_to($endpoint, 30);
	ok(poll("SELECT count(*) = 30 FROM billing.webhook_delivery WHERE endpoint_id = $endpoint AND state = 'delivered'"), 'all are delivered');
	my @at = map { $_->{at} } $receiver->requests('/rate');
	cmp_ok($at[-1] - $at[0], '>=', 2_500, 'thirty at ten a second take as long as that');
}

# Endpoints that let everything wait keep nobody else waiting.
sub slow
{
	$node->append_conf('postgresql.conf', "billing.http_max_in_flight = 20\nbilling.webhook_max_per_endpoint = 10");
	$node->reload;
	my @hanging = map { endpoint($receiver->url("/hang")) } 1 .. 4;
	my $quick = endpoint($receiver->url('/quick'));
	send_to($_, 50) for @hanging;
	send_to($quick, 200);
	ok(poll("SELECT count(*) = 200 FROM billing.webhook_delivery WHERE endpoint_id = $quick AND state = 'delivered'"), 'the quick one gets all of its own');
	is(sql("SELECT count(*) FROM billing.webhook_delivery WHERE endpoint_id IN (${\ join(',', @hanging)}) AND state NOT IN ('pending', 'sending')"), 0,
		'while the others have answered nothing');
	is(sql('SELECT count(*) FROM pg_stat_activity WHERE backend_type = \'billing sender\' AND (xact_start IS NOT NULL OR backend_xmin IS NOT NULL)'), 0,
		'and no transaction is open');
	disable($_) for @hanging;

	# One that is stopped lets them be due again.
	sql('SELECT billing.stop_worker()');
	sql('SELECT billing.start_worker()');
	ok(poll("SELECT count(*) = 0 FROM billing.webhook_delivery WHERE state = 'sending'"), 'what was under way when the sender was stopped waits');
	is(sql("SELECT max(attempts) FROM billing.webhook_delivery WHERE endpoint_id = $hanging[0]"), 0, 'with all its attempts');
	$node->append_conf('postgresql.conf', "billing.http_max_in_flight = 256\nbilling.webhook_max_per_endpoint = 32");
	$node->reload;
}

# A secret whose key is not in the key file keeps only its own endpoint waiting.
sub lost_key
{
	my $lost = endpoint($receiver->url('/lost'));
	sql('SELECT billing.stop_worker()');
	write_keys('other ' . '8' x 64);
	sql('SELECT billing.start_worker()');
	my $found = endpoint($receiver->url('/found'));
	send_to($_) for $lost, $found;
	ok(poll("SELECT state = 'delivered' FROM billing.webhook_delivery WHERE endpoint_id = $found"), 'one whose key is there is delivered to');
	is(sql("SELECT state, attempts FROM billing.webhook_delivery WHERE endpoint_id = $lost"), 'pending|0', 'one whose key is not there waits');
	like(slurp_file($node->logfile), qr/WARNING:  webhook endpoint $lost is left alone for a minute: key "test" is not in the key file/, 'the log says why');
	sql('SELECT billing.stop_worker()');
	write_keys('other ' . '8' x 64, 'test ' . '7' x 64);
	sql('SELECT billing.start_worker()');
	ok(poll("SELECT state = 'delivered' FROM billing.webhook_delivery WHERE endpoint_id = $lost"), 'with the key it is delivered');
}

sub write_keys
{
	open my $file, '>', "$dir/keys" or die "$dir/keys: $!";
	print $file map { "$_\n" } @_;
	close $file;
}

# A receiver that was away for long gets what it missed.
sub outage
{
	my $endpoint = endpoint($receiver->url('/outage'));
	$receiver->stop;
	send_to($endpoint, 20);
	ok(poll("SELECT count(*) = 20 FROM billing.webhook_delivery WHERE endpoint_id = $endpoint AND attempts = 1 AND error LIKE 'connect: %'"), 'nobody listens');
	sql("UPDATE billing.webhook_delivery SET state = 'failed', attempts = 10, next_attempt_at = NULL WHERE endpoint_id = $endpoint AND state = 'pending'");
	$receiver->run;
	is(sql("SELECT failed FROM billing.webhook_status WHERE endpoint_id = $endpoint"), 20, 'all were given up');
	is(sql("SELECT billing.redeliver_range($endpoint, now() - interval '1 hour')"), 20, 'and are asked for again');
	ok(poll("SELECT count(*) = 20 FROM billing.webhook_delivery WHERE endpoint_id = $endpoint AND state = 'delivered' AND attempts = 1"), 'they arrive');
	is(scalar(keys %{{map { $_->{id} => 1 } $receiver->requests('/outage')}}), 20, 'each of them');

	my ($tenant, $event) = split /\|/, sql("SELECT tenant_id, event_id FROM billing.webhook_delivery WHERE endpoint_id = $endpoint LIMIT 1");
	sql("SELECT billing.redeliver($tenant, $event, $endpoint)");
	ok(poll("SELECT count(*) = 20 FROM billing.webhook_delivery WHERE endpoint_id = $endpoint AND state = 'delivered'"), 'one is delivered again');
	is(scalar(grep { $_->{id} eq "evt_${tenant}_$event" } $receiver->requests('/outage')), 2, 'it came twice');

	# Nothing open is left of all this, and the server has nothing to complain of.
	unlike(slurp_file($node->logfile), qr/PANIC|terminated by signal|ERROR:  (?!webhooks cannot go)/, 'the log shows no error');
	$node->stop;
	$receiver->stop;
}

sub endpoint
{
	my ($url, $options) = @_;
	return sql("SELECT endpoint_id FROM billing.create_webhook_endpoint('$url', '{webhook.test}'" . (defined $options ? ", $options" : '') . ')');
}

sub send_to
{
	my ($endpoint, $count) = @_;
	sql("SELECT billing.send_test_event($endpoint) FROM generate_series(1, ${\ ($count // 1)})");
}

# All that goes there was tried.
sub attempted
{
	my ($endpoint) = @_;
	ok(poll("SELECT count(*) = 0 FROM billing.webhook_delivery WHERE endpoint_id = $endpoint AND (attempts = 0 OR state = 'sending')"), 'it is tried');
}

sub disable { my ($endpoint) = @_; sql("SELECT billing.enable_webhook_endpoint($endpoint, false)") }
sub poll { return $node->poll_query_until('postgres', $_[0]) }
sub sql { return $node->safe_psql('postgres', $_[0]) }
