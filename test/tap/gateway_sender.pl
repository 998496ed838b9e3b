# What the sender must not do with requests to gateways whose answers it cannot record yet, whose credentials it cannot read, or that are
# answered as if something else had been asked.
use strict;
use warnings FATAL => 'all';
use FindBin;
use lib $FindBin::Bin;
use IO::Socket::INET;
use JSON::PP;
use POSIX ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use BillingNode;

my $node = PostgreSQL::Test::Cluster->new('gateway_sender');
my $dir = $node->basedir;
my ($port, $stand_in) = start_gateway();

BillingNode::start($node);
sql(qq{CREATE EXTENSION billing; $BillingNode::no_jobs; SELECT billing.create_tenant(t, 'Tenant ' || t, 'USD') FROM generate_series(1, 2) t;
	SELECT billing.create_gateway('stripe', 'stripe', credentials => '{"api_key": "sk_test_x", "webhook_secret": "whsec_x"}', base_url => 'http://127.0.0.1:$port');
	INSERT INTO billing.payment_method (tenant_id, payment_method_id, gateway, type, status, token, customer_id)
		SELECT t, t, 'stripe', 'card', 'active', billing.seal(t, 'token', 'pm_1'), 'cus_1' FROM generate_series(1, 2) t});

long_lock();
many_locked();
missing_key();
unreadable_credentials();
other_question();
$node->stop;
done_testing();

END
{
	local $?;
	kill 'KILL', $stand_in if $stand_in;
	waitpid $stand_in, 0 if $stand_in;
}

# Somebody has the tenant for longer than the claim lasts: what the gateway has said counts all the same.
sub long_lock
{
	pay(1, '1_gated');
	ok(poll("SELECT state = 'sending' FROM billing.gateway_request"), 'a request is on its way');
	my $holder = $node->background_psql('postgres');
	$holder->query_safe('BEGIN; SELECT FROM billing.tenant WHERE tenant_id = 1 FOR NO KEY UPDATE');
	append_to_file("$dir/gate", '');
	ok(poll_file("$dir/asked", qr/answered 1_gated/), 'it is answered, while somebody has the tenant');
	round('2_first');
	sql("UPDATE billing.gateway_request SET next_attempt_at = now() - interval '1 s' WHERE state = 'sending'; SELECT billing.wake()");
	round('2_second');
	is(status('1_gated'), 'processing', 'its claim is over meanwhile');
	$holder->query_safe('COMMIT');
	$holder->quit;
	ok(poll("SELECT status <> 'processing' FROM billing.payment WHERE pay_no = '1_gated'"), 'the tenant is free');
	is(status('1_gated'), 'succeeded', 'the answer counts');
	is(sql("SELECT string_agg(operation || ' ' || state, ',') FROM billing.gateway_request WHERE tenant_id = 1"), 'pay done', 'nothing else is asked');
}

# More answers of one tenant wait than are asked for at once: others are asked for all the same.
sub many_locked
{
	unlink "$dir/gate";
	sql(q{SELECT billing.create_payment(1, NULL, '5 USD', '1_' || n || 'gated', purpose => 'top_up', payment_method_id => 1) FROM generate_series(1, 70) n});
	ok(poll("SELECT count(*) = 64 FROM billing.gateway_request WHERE state = 'sending'"), 'as many as go at once are on their way');
	my $holder = $node->background_psql('postgres');
	$holder->query_safe('BEGIN; SELECT FROM billing.tenant WHERE tenant_id = 1 FOR NO KEY UPDATE');
	append_to_file("$dir/gate", '');
	round('2_third');
	is(sql("SELECT count(*) FROM billing.payment WHERE pay_no LIKE '1\\_%gated' AND status IN ('pending', 'processing')"), '70', 'those of the tenant wait');
	$holder->query_safe('COMMIT');
	$holder->quit;
	ok(poll("SELECT count(*) = 70 FROM billing.payment WHERE pay_no LIKE '1\\_%gated' AND pay_no <> '1_gated' AND status = 'succeeded'"), 'until it is free');
}

# A token that is sealed with a key that is gone: its payment waits for the key for as long as it takes, and nothing else does.
sub missing_key
{
	write_keys('other ' . '8' x 64, 'test ' . '7' x 64);
	my $sealed = sql("SELECT billing.seal(1, 'token', 'pm_1')");
	write_keys('test ' . '7' x 64);
	pay(1, '1_keyless', "UPDATE billing.payment_method SET token = '$sealed' WHERE payment_method_id = 1");
	for (1 .. 7)
	{
		ok(poll("SELECT q.state = 'waiting' AND q.error IS NOT NULL AND q.next_attempt_at > now() FROM billing.gateway_request q JOIN billing.payment p ON p.payment_id = q.object_id WHERE p.pay_no = '1_keyless'"), 'it waits');
		sql("UPDATE billing.gateway_request SET next_attempt_at = now() WHERE state = 'waiting'; SELECT billing.wake()") if $_ < 7;
		round("2_keyed_$_");
	}
	is(status('1_keyless'), 'processing', 'of its payment nothing is known');
	like(slurp_file($node->logfile), qr/WARNING:  gateway "stripe" cannot be asked for now: key "other" is not in the key file/, 'the log says why');
	write_keys('test ' . '7' x 64, 'other ' . '8' x 64);
	sql("UPDATE billing.gateway_request SET next_attempt_at = now() WHERE state = 'waiting'; SELECT billing.wake()");
	ok(poll("SELECT status = 'succeeded' FROM billing.payment WHERE pay_no = '1_keyless'"), 'it is paid once the key is back');
}

sub write_keys
{
	my (@lines) = @_;
	unlink "$dir/keys.new";
	append_to_file("$dir/keys.new", map { "$_\n" } join "\n", @lines);
	chmod 0600, "$dir/keys.new";
	rename "$dir/keys.new", "$dir/keys" or die $!;
}

# As when the key file is another: nothing was sent, so that nothing is said of the payment; but what may have been sent has not failed.
sub unreadable_credentials
{
	my $good = sql('SELECT credentials FROM billing.gateway');
	my $spoil = "UPDATE billing.gateway SET credentials = billing.seal(2, 'token', 'x')";
	pay(1, '1_unsent', $spoil);
	ok(poll("SELECT state = 'waiting' AND attempts = 1 FROM billing.gateway_request q JOIN billing.payment p ON p.payment_id = q.object_id WHERE p.pay_no = '1_unsent'"),
		'a request that cannot be made waits');
	is(status('1_unsent'), 'processing', 'of its payment nothing is known');
	like(sql("SELECT error FROM billing.gateway_request WHERE state = 'waiting'"), qr/^error: /, 'it says why');

	sql("UPDATE billing.gateway_request SET state = 'sending', claimed_at = now() - interval '1 h', next_attempt_at = now() - interval '1 s' WHERE state = 'waiting'; SELECT billing.wake()");
	ok(poll("SELECT status <> 'processing' FROM billing.payment WHERE pay_no = '1_unsent'"), 'one that was lost on its way is judged');
	is(status('1_unsent'), 'unknown', 'it may have happened');

	sql("UPDATE billing.gateway SET credentials = '$good'");
	pay(1, '1_later', $spoil);
	ok(poll("SELECT state = 'waiting' AND attempts = 1 FROM billing.gateway_request q JOIN billing.payment p ON p.payment_id = q.object_id WHERE p.pay_no = '1_later'"), 'another waits');
	sql("UPDATE billing.gateway SET credentials = '$good'; UPDATE billing.gateway_request SET next_attempt_at = now() WHERE operation = 'pay' AND state = 'waiting'; SELECT billing.wake()");
	ok(poll("SELECT status = 'succeeded' FROM billing.payment WHERE pay_no = '1_later'"), 'once they can be read it is asked for');
	is(scalar(grep { /answered 1_later/ } split /\n/, slurp_file("$dir/asked")), 1, 'once');
}

# The id of a payment that is not this one is not kept: by it callbacks would find the wrong one.
sub other_question
{
	pay(2, '2_other');
	ok(poll("SELECT status = 'unknown' FROM billing.payment WHERE pay_no = '2_other'"), 'an answer to another question leaves it unknown');
	is(sql("SELECT external_id FROM billing.payment WHERE pay_no = '2_other'"), '', 'and the id in it is not that of the payment');
}

sub pay
{
	my ($tenant, $pay_no, $also) = @_;
	$also //= '';
	sql("BEGIN; SELECT billing.create_payment($tenant, NULL, '5 USD', '$pay_no', purpose => 'top_up', payment_method_id => $tenant); $also; COMMIT");
}

# The sender has gone round, whole.
sub round
{
	my ($pay_no) = @_;
	pay(2, $pay_no);
	ok(poll("SELECT status = 'succeeded' FROM billing.payment WHERE pay_no = '$pay_no'"), 'another tenant pays meanwhile');
}

sub status { my ($pay_no) = @_; return sql("SELECT status FROM billing.payment WHERE pay_no = '$pay_no'") }
sub sql { my ($sql) = @_; return $node->safe_psql('postgres', $sql) }
sub poll { my ($sql) = @_; return $node->poll_query_until('postgres', $sql) }

sub poll_file
{
	my ($name, $pattern) = @_;
	for (1 .. 1800)
	{
		return 1 if -e $name && slurp_file($name) =~ $pattern;
		select undef, undef, undef, 0.1;
	}
	return 0;
}

# A gateway that takes all money at once; one of a pay_no that ends in gated once there is a file.  It writes down what it did.
sub start_gateway
{
	my $server = IO::Socket::INET->new(Listen => 20, LocalAddr => '127.0.0.1', ReuseAddr => 1) or die $!;
	my $pid = fork // die $!;
	return ($server->sockport, $pid) if $pid;
	$SIG{CHLD} = 'IGNORE';
	while (1)
	{
		my $client = $server->accept or next;
		next if fork;
		serve($client);
		POSIX::_exit(0);
	}
}

sub serve
{
	my ($client) = @_;
	my ($len, $body) = (0, '');
	while (my $line = <$client>)
	{
		$len = $1 if $line =~ /^content-length: (\d+)/i;
		last if $line =~ /^\r?\n/;
	}
	read $client, $body, $len;
	my %form = map { s/%([0-9A-Fa-f]{2})/chr hex $1/ger } map { split /=/, $_, 2 } split /&/, $body;
	my $pay_no = $form{'metadata[pay_no]'} // '';
	select undef, undef, undef, 0.1 while $pay_no =~ /gated$/ && !-e "$dir/gate";
	my $answer = encode_json({id => "pi_$pay_no", object => 'payment_intent', status => 'succeeded', currency => $form{currency},
			amount => $form{amount} + 0, amount_received => $form{amount} + 0, metadata => {pay_no => $pay_no =~ /other$/ ? '2_first' : $pay_no},
			latest_charge => {id => "ch_$pay_no", balance_transaction => {fee => 59, currency => 'usd'}}});
	print $client "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: " . length($answer) . "\r\n\r\n$answer";
	close $client;
	append_to_file("$dir/asked", "answered $pay_no\n");
}
