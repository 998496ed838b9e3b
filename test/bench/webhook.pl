#!/usr/bin/env perl
# Measure the delivery of webhooks against a bare libcurl-multi loop that posts the same bodies to the same server in the same
# run, with as many requests at a time; how long a commit takes to become a first byte; and the memory of the sender.
#
# What is delivered is logged, claimed, signed, sent and recorded; the database keeps what it commits (fsync).  The server
# that both send to is a loop in C.  The two take turns, and a ratio is the median of the turns'.
#
# Prints lines as test/bench/run does, and exits 1 if a bound is missed.
# Reads  BENCH_WEBHOOKS  how many a turn (default: 30000)
use strict;
use warnings FATAL => 'all';
use File::Basename qw(dirname);
use IO::Socket::INET;
use IPC::Open2;
use Time::HiRes qw(time usleep);

my $count = $ENV{BENCH_WEBHOOKS} // 30_000;
my $turns = $ENV{BENCH_TURNS} // 5;
my $in_flight = 32;
my $here = dirname($0);
my $tmp = $ENV{BILLING_TMP} // '/tmp';
my $dir = "$tmp/bench_webhook";
my $missed = 0;
$| = 1;

mkdir $dir;
compile($_) for 'webhook_sink', 'webhook_loop';
my $sink_pid = open my $sink, '-|', "$dir/webhook_sink" or die "could not run webhook_sink: $!";
my $port = <$sink>;
chomp $port;
my $bindir = qx(@{[ $ENV{PG_CONFIG} // 'pg_config' ]} --bindir);
chomp $bindir;
start_server();
END { stop_all() }

my ($event_endpoint) = make_events();
my (@rates, @references, @memory);
for my $turn (1 .. $turns)
{
	push @references, reference();
	push @rates, deliver($event_endpoint);
	push @memory, memory();
}
my @ratios = map { $rates[$_] / $references[$_] } 0 .. $#rates;
report('webhook_rate', median(@ratios), '>=', 0.25, sprintf('webhooks delivered a second (%.0f) against a bare libcurl-multi loop (%.0f), %d at a time',
	median(@rates), median(@references), $in_flight));
my @latencies = latencies(300);
report('webhook_latency', median(@latencies) / 10_000, '<=', 1, sprintf('commit to first byte, median %.2f ms of 10 ms, 95 %% within %.2f ms',
	median(@latencies) / 1000, (sort { $a <=> $b } @latencies)[0.95 * @latencies] / 1000));
report('webhook_memory', $memory[-1] / $memory[0], '<=', 1.1, sprintf('private memory of the sender after %d deliveries (%d kB) against %d (%d kB)',
	$turns * $count, $memory[-1], $count, $memory[0]));
exit($missed ? 1 : 0);

sub report
{
	my ($name, $ratio, $sense, $bound, $what) = @_;
	printf "bench %s ratio %.2f bound %s%s - %s\n", $name, $ratio, $sense, $bound, $what;
	$missed++ if $sense eq '<=' ? $ratio > $bound : $ratio < $bound;
}

sub median { my @sorted = sort { $a <=> $b } @_; return $sorted[@sorted / 2] }

sub compile
{
	my ($name) = @_;
	system("cc -O2 -D_GNU_SOURCE -o $dir/$name $here/$name.c -lcurl") == 0 or die "could not compile $name.c\n";
}

# A server of its own, with the processes; it keeps what it commits.
sub start_server
{
	system("$bindir/initdb -D $dir/data -U postgres -A trust -E UTF8 --locale=C --no-sync >/dev/null") == 0 or die "initdb failed\n";
	open my $keys, '>', "$dir/keys" or die "could not write: $!";
	print $keys 'test ', '7' x 64, "\n";
	close $keys;
	chmod 0600, "$dir/keys";
	open my $conf, '>>', "$dir/data/postgresql.conf" or die "could not write: $!";
	print $conf <<"EOT";
listen_addresses = ''
unix_socket_directories = '$dir'
shared_buffers = 512MB
max_wal_size = 8GB
shared_preload_libraries = 'billing'
billing.databases = 'postgres'
billing.key_file = '$dir/keys'
billing.webhook_allow_private = on
billing.webhook_max_per_endpoint = $in_flight
EOT
	close $conf;
	system("$bindir/pg_ctl -D $dir/data -l $dir/log -w start >/dev/null") == 0 or die "the server did not start\n";
	@ENV{qw(PGHOST PGDATABASE)} = ($dir, 'postgres');
	sql("CREATE EXTENSION billing; SELECT billing.create_tenant(t, 'Tenant ' || t) FROM generate_series(1, 100) t");
}

sub stop_all
{
	my $status = $?;
	system("$bindir/pg_ctl -D $dir/data -m immediate -w stop >/dev/null 2>&1");
	kill 'KILL', $sink_pid if $sink_pid;
	system("rm -rf $dir");
	$? = $status;
}

# Events as an invoice that is paid makes them, of tenants in turn; the same bodies for the loop.
sub make_events
{
	my $endpoint = sql("SELECT endpoint_id FROM billing.create_webhook_endpoint('http://127.0.0.1:$port/rate', '{invoice.paid}')");
	sql(<<"SQL");
SELECT billing.enable_webhook_endpoint($endpoint, false);
INSERT INTO billing.plan (plan_id, code, name) VALUES (1, 'pro', 'Pro');
INSERT INTO billing.price (plan_id, code, tariff) VALUES (1, 'base', '{"model":"flat","currency":"USD","amount":"49"}');
SELECT billing.subscribe(1, 'pro');
INSERT INTO billing.event (tenant_id, event_id, type, payload, created_at)
SELECT 1 + n % 100, i.id, 'invoice.paid', billing.event_payload(1 + n % 100, i.id, 'invoice.paid', now(), v.object), now()
FROM (SELECT n, billing.next_id() AS id FROM generate_series(1, $count) n) i
	CROSS JOIN (SELECT e.payload #> '{data,object}' AS object FROM billing.event e WHERE e.type = 'invoice.created' LIMIT 1) v;
INSERT INTO billing.webhook_delivery (tenant_id, event_id, endpoint_id)
SELECT tenant_id, event_id, $endpoint FROM billing.event WHERE type = 'invoice.paid';
SQL
	open my $file, '>', "$dir/bodies" or die "could not write: $!";
	print $file sql("SELECT payload FROM billing.event WHERE type = 'invoice.paid'"), "\n";
	close $file;
	return $endpoint;
}

# Requests a second of the bare loop.
sub reference
{
	my ($done, $seconds) = split / /, qx($dir/webhook_loop http://127.0.0.1:$port/rate $dir/bodies $in_flight);
	die "the loop posted $done of $count\n" if $done != $count;
	return $done / $seconds;
}

# Deliveries a second, from the moment at which all are due until the last is recorded.
sub deliver
{
	my ($endpoint) = @_;
	sql("UPDATE billing.webhook_delivery SET state = 'pending', attempts = 0, next_attempt_at = '-infinity', delivered_at = NULL WHERE endpoint_id = $endpoint");
	sql('VACUUM ANALYZE billing.webhook_delivery');
	sql('CHECKPOINT');
	my $before = count();
	my $begun = time;
	sql("SELECT billing.enable_webhook_endpoint($endpoint)");
	usleep(20_000) while count() < $before + $count;
	usleep(5_000) while sql("SELECT EXISTS (SELECT FROM billing.webhook_delivery WHERE endpoint_id = $endpoint AND next_attempt_at IS NOT NULL)") eq 't';
	my $seconds = time - $begun;
	sql("SELECT billing.enable_webhook_endpoint($endpoint, false)");
	die "some came twice, or were not delivered\n" if count() != $before + $count ||
		sql("SELECT count(*) FROM billing.webhook_delivery WHERE endpoint_id = $endpoint AND state = 'delivered'") != $count;
	return $count / $seconds;
}

# What the sink has been sent.
sub count
{
	my $socket = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port) or die "no sink: $!";
	print $socket "GET /count HTTP/1.1\r\n\r\n";
	my ($length, $answer) = (0, '');
	while (my $line = <$socket>)
	{
		$length = $1 if $line =~ /^Content-Length: (\d+)/;
		last if $line eq "\r\n";
	}
	read $socket, $answer, $length;
	return $answer;
}

# Microseconds from before a COMMIT is sent until the first byte arrives, one at a time.
sub latencies
{
	my ($times) = @_;
	my $endpoint = sql("SELECT endpoint_id FROM billing.create_webhook_endpoint('http://127.0.0.1:$port/latency', '{webhook.test}')");
	my $pid = open2(my $out, my $in, 'psql', '-XAtq');
	my @found;
	for my $i (0 .. $times)
	{
		print $in "BEGIN;\nSELECT FROM billing.send_test_event($endpoint);\n\\echo begun\n";
		$in->flush;
		1 while <$out> !~ /begun/;
		usleep(5_000);
		my $begun = time;
		print $in "COMMIT;\n";
		$in->flush;
		my $arrived = <$sink>;
		push @found, $arrived - 1e6 * $begun if $i > 0;
		usleep(20_000);
	}
	close $in;
	waitpid $pid, 0;
	return @found;
}

# Private memory of the sender in kB.
sub memory
{
	my $pid = sql(q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'billing sender'});
	open my $status, '<', "/proc/$pid/status" or die "no sender: $!";
	my ($kilobytes) = join('', <$status>) =~ /^RssAnon:\s+(\d+) kB/m;
	return $kilobytes;
}

sub sql
{
	my ($commands) = @_;
	open my $file, '>', "$dir/bench.sql" or die "could not write: $!";
	print $file "SET client_min_messages = warning;\n$commands;\n";
	close $file;
	my $answer = qx(psql -XAtq -v ON_ERROR_STOP=1 -f $dir/bench.sql);
	die "psql failed\n" if $? != 0;
	chomp $answer;
	return $answer;
}
