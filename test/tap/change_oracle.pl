# Whatever is done to a subscription - plans up and down, quantities, at once or at the end of the period, prorated or not,
# pauses, extensions, cancellations, at any instant, several at one - its invoices less its credit notes are what the time on
# each plan costs, to the cent, no line is credited beyond what it charged, and everything verifies.
#
# The cost is computed here, independently and in whole numbers: a part from x to y of a period from a to b of a price of A
# cents costs R(A(y-a)/(b-a)) - R(A(x-a)/(b-a)).  BILLING_CHANGE_SEQUENCES says how many random sequences are played
# (400), BILLING_CHANGE_SEED which (a random one, which is printed).
use strict;
use warnings FATAL => 'all';
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::Local qw(timegm);

my $sequences = $ENV{BILLING_CHANGE_SEQUENCES} // 400;
my $seed = $ENV{BILLING_CHANGE_SEED} // int(rand(2**31));
srand($seed);
note("BILLING_CHANGE_SEED=$seed");

my $batch = 200;

# Prices in cents: what each period costs in advance and in arrears, for one, or for each of the quantity.
my %plan = (
	low => { cycle => 1, advance => 1000 },
	high => { cycle => 1, advance => 2999 },
	seats => { cycle => 1, advance => 777, per_unit => 1 },
	days => { cycle => 1, advance => 3333, basis => 'day' },
	late => { cycle => 1, advance => 1501, arrears => 999 },
	year => { cycle => 12, advance => 19999 },
	free => { cycle => 1, advance => 0 });
my @monthly = grep { $plan{$_}{cycle} == 1 } sort keys %plan;

my $node = PostgreSQL::Test::Cluster->new('change_oracle');
$node->init;
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION billing');
for my $code (sort keys %plan)
{
	my $p = $plan{$code};
	$node->safe_psql('postgres', "INSERT INTO billing.plan (code, name, cycle, proration) VALUES ('$code', '$code', "
		. "'$p->{cycle} months', '" . ($p->{basis} // 'second') . "');");
	for my $timing (grep { defined $p->{$_} } qw(advance arrears))
	{
		my $money = sprintf '%.2f', $p->{$timing} / 100;
		my $tariff = $p->{per_unit} ? qq({"model":"per_unit","currency":"USD","unit_amount":"$money"})
			: qq({"model":"flat","currency":"USD","amount":"$money"});
		$node->safe_psql('postgres', "INSERT INTO billing.price (plan_id, code, tariff, timing) SELECT plan_id, '$timing', '$tariff',"
			. " '$timing' FROM billing.plan WHERE code = '$code'");
	}
}

my $tenant = 0;
my $failed = 0;
for (my $done = 0; $done < $sequences && !$failed; $done += $batch)
{
	my $count = $sequences - $done < $batch ? $sequences - $done : $batch;
	$failed = play(map { sequence(++$tenant) } 1 .. $count);
}
ok(!$failed, "$tenant sequences cost what the time on each plan costs");
is($node->safe_psql('postgres', 'SELECT * FROM billing.audit()'), '', 'every invariant holds');
is($node->safe_psql('postgres', 'SELECT * FROM billing.verify_all() LIMIT 10'), '', 'every invoice verifies');
is($node->safe_psql('postgres', <<'SQL'), '', 'no line is credited beyond what it charged');
SELECT i.tenant_id, i.invoice_id, i.line FROM billing.invoice_item i
JOIN billing.credit_note_item c ON c.tenant_id = i.tenant_id AND c.invoice_id = i.invoice_id AND c.invoice_line = i.line
GROUP BY i.tenant_id, i.invoice_id, i.line HAVING sum(c.amount) > i.amount
SQL
$node->stop;
done_testing();

# Run the scripts of sequences, then compare; how many differ.
sub play
{
	my @sequences = @_;
	my $script = "\\set ON_ERROR_STOP on\nSET billing.test_clock = '2026-01-01T00:00:00Z';\n" . join '', map { $_->{script} } @sequences;
	my ($ret, $out, $err) = $node->psql('postgres', $script);
	if ($ret != 0)
	{
		diag($err);
		my ($line) = $err =~ /<stdin>:(\d+)/;
		diag(join "\n", grep { defined } (split /\n/, $script)[ ($line > 40 ? $line - 40 : 0) .. $line ]) if defined $line;
		return 1;
	}
	my $first = $sequences[0]{tenant};
	my %got = map { split /\|/ } split /\n/, $node->safe_psql('postgres', <<"SQL");
SELECT t.tenant_id, (SELECT coalesce(sum(billing.minor_units(v.subtotal)), 0) FROM billing.invoice v WHERE v.tenant_id = t.tenant_id)
	- (SELECT coalesce(sum(billing.minor_units(c.subtotal)), 0) FROM billing.credit_note c WHERE c.tenant_id = t.tenant_id)
FROM billing.tenant t WHERE t.tenant_id >= $first
SQL
	my $differ = 0;
	for my $s (@sequences)
	{
		next if $got{ $s->{tenant} } == $s->{cost};
		$differ++;
		diag("tenant $s->{tenant} is billed $got{$s->{tenant}} cents and should be $s->{cost}:\n$s->{script}") if $differ <= 2;
	}
	return $differ;
}

# -- a random sequence, as a script, and what it should cost -------------------------------

sub sequence
{
	my $tenant = shift;
	my $zone = 'UTC';
	my $now = timegm(0, 0, 0, 1 + int(rand(31)), 0, 2026) + int(rand(86400));
	my %s = (tenant => $tenant, plan => pick(sort keys %plan), quantity => 1 + int(rand(3)), status => 'active', anchor => $now,
		first => $now, n => 0, advance => [], arrears => [], script => '');
	$s{script} .= clock($now) . "SELECT FROM billing.create_tenant($tenant, 'T', 'USD');\n"
		. "SELECT FROM billing.subscribe($tenant, '$s{plan}', $s{quantity});\n";
	begin_period(\%s, $now);
	my $steps = 1 + int(rand(8));
	for (1 .. $steps)
	{
		$now = later(\%s, $now);
		step(\%s, $now);
		last if $s{status} eq 'canceled';
	}
	finish(\%s, $now) if $s{status} ne 'canceled';
	$s{cost} = 0;
	$s{cost} += cost($_) for @{ $s{advance} }, closed_arrears(\%s);
	return \%s;
}

# What runs is canceled, so that everything is billed; what ran out, the bill run has to find.
sub finish
{
	my ($s, $now) = @_;
	$now += int(rand(86400 * 20));
	pass_time($s, $now, 0) if $s->{status} eq 'active';
	if ($s->{status} eq 'canceled') { $s->{script} .= clock($now) . "CALL billing.bill_due();\n"; return; }
	cancel_now($s, $now);
	return;
}

sub cancel_now
{
	my ($s, $now) = @_;
	my $proration = pick(qw(prorate prorate none));
	take_back($s, $now) if $proration eq 'prorate';
	end_arrears($s, $now) if $s->{status} eq 'active';
	$s->{status} = 'canceled';
	call($s, $now, 'cancel_subscription', "'now'", 'NULL', "'$proration'");
	return;
}

sub call
{
	my ($s, $now, $name, @arguments) = @_;
	my $id = "(SELECT subscription_id FROM billing.subscription WHERE tenant_id = $s->{tenant})";
	$s->{script} .= clock($now) . "SELECT FROM billing.$name(" . join(', ', $s->{tenant}, $id, @arguments) . ");\n";
	return;
}

sub pick { return $_[ int(rand(@_)) ] }

sub clock
{
	my @t = gmtime(shift);
	return sprintf "SET billing.test_clock = '%04d-%02d-%02dT%02d:%02d:%02dZ';\n", $t[5] + 1900, $t[4] + 1, @t[ 3, 2, 1, 0 ];
}

# The next instant: the same, soon, in a while, or just where the period ends.
sub later
{
	my ($s, $now) = @_;
	my $kind = rand();
	return $now if $kind < 0.15;
	return $s->{end} if $kind < 0.25 && $s->{end} > $now && $s->{status} ne 'paused';
	return $now + int(rand(86400)) if $kind < 0.4;
	return $now + int(rand(86400 * 12)) if $kind < 0.85 || ($plan{ $s->{plan} }{cycle} == 1);
	return $now + int(rand(86400 * 100));
}

# Something is done, or nothing where it would be refused.
sub step
{
	my ($s, $now) = @_;
	my $what = rand();
	if ($s->{status} eq 'paused')
	{
		if ($what < 0.2) { cancel_now($s, $now); }
		else { resume($s, $now); call($s, $now, 'resume_subscription'); }
		return;
	}
	return random_change($s, $now) if $what < 0.62;
	pass_time($s, $now, $what < 0.94);
	if ($s->{status} eq 'canceled') { $s->{script} .= clock($now) . "CALL billing.bill_due();\n"; }
	elsif ($what < 0.74)
	{
		return if defined $s->{cancel_at};
		pause($s, $now);
		call($s, $now, 'pause_subscription');
	}
	elsif ($what < 0.84)
	{
		my $end = $s->{end} + 1 + int(rand(86400 * 10));
		extend($s, $end);
		my ($at) = clock($end) =~ /('.*')/;
		call($s, $now, 'extend_subscription', $at, "(SELECT version FROM billing.subscription WHERE tenant_id = $s->{tenant})");
	}
	elsif ($what < 0.94)
	{
		if (defined delete $s->{cancel_at}) { call($s, $now, 'reactivate_subscription'); }
		else { $s->{cancel_at} = $s->{end}; delete $s->{next}; call($s, $now, 'cancel_subscription'); }
	}
	else { cancel_now($s, $now); }
	return;
}

sub random_change
{
	my ($s, $now) = @_;
	my $other = pick(rand() < 0.8 ? @monthly : sort keys %plan);
	my $quantity = rand() < 0.3 ? 1 + int(rand(5)) : undef;
	my $effective = rand() < 0.75 ? 'now' : 'period_end';
	my $proration = pick(qw(prorate prorate invoice_now none));
	my $was = $s->{status};
	if (change($s, $now, $other, $quantity, $effective, $proration))
	{
		call($s, $now, 'change_plan', "'$other'", $quantity // 'NULL', "'$effective'", "'$proration'");
	}
	elsif ($s->{status} ne $was) { $s->{script} .= clock($now) . "CALL billing.bill_due();\n"; }
	return;
}

# -- what happens, and what it costs ------------------------------------------------------------

# Boundaries before now, or up to it.
sub pass_time
{
	my ($s, $now, $inclusive) = @_;
	while ($s->{status} eq 'active' && ($s->{end} < $now || ($inclusive && $s->{end} == $now)))
	{
		if (defined $s->{cancel_at} && $s->{cancel_at} <= $s->{end})
		{
			end_arrears($s, $s->{end});
			$s->{status} = 'canceled';
			return;
		}
		next_period($s, delete $s->{next});
	}
	return;
}

# The period ends, and another begins, of another plan if there is a change.
sub next_period
{
	my ($s, $next) = @_;
	my $at = $s->{end};
	end_arrears($s, $at);
	if ($next)
	{
		@$s{qw(anchor n first)} = ($at, -1, $at) if $plan{ $next->[0] }{cycle} != $plan{ $s->{plan} }{cycle};
		@$s{qw(plan quantity)} = @$next;
	}
	$s->{n}++;
	begin_period($s, $at);
	return;
}

sub begin_period
{
	my ($s, $at) = @_;
	my $cycle = $plan{ $s->{plan} }{cycle};
	@$s{qw(start end)} = ($at, add_months($s->{anchor}, ($s->{n} + 1) * $cycle));
	$s->{paid_end} = $s->{end};
	$s->{since} = $at;
	charge($s, $at);
	return;
}

# The rest of the period, up to where it is free.
sub charge
{
	my ($s, $at) = @_;
	push @{ $s->{advance} }, part($s, 'advance', $at, $s->{paid_end}, $s->{start}, $s->{paid_end}) if $at < $s->{paid_end};
	return;
}

sub part
{
	my ($s, $timing, $from, $to, $a, $b) = @_;
	my $p = $plan{ $s->{plan} };
	my $price = ($p->{$timing} // 0) * ($p->{per_unit} ? $s->{quantity} : 1);
	return { price => $price, from => $from, to => $to, a => $a, b => $b, basis => $p->{basis} // 'second' };
}

sub take_back
{
	my ($s, $at) = @_;
	$_->{to} = $at < $_->{from} ? $_->{from} : $at for grep { $_->{to} > $at } @{ $s->{advance} };
	return;
}

# What runs in arrears ends, as a part of the period as it is now.
sub end_arrears
{
	my ($s, $at) = @_;
	my $whole = $s->{start};
	# A first period that was extended is a part of one that ends with it, if that reaches back before it.
	my $grid = add_months($s->{anchor}, ($s->{n} < 0 ? $s->{n} : 0) * $plan{ $s->{plan} }{cycle});
	$whole = $grid if $s->{n} < 0 && $s->{start} == $s->{first} && $grid < $whole;
	push @{ $s->{arrears} }, part($s, 'arrears', $s->{since}, $at, $whole, $s->{end}) if $at > $s->{since};
	$s->{since} = $at;
	return;
}

# What is billed in arrears: all that has ended.
sub closed_arrears { return @{ shift->{arrears} } }

# True unless the change is one that is refused.
sub change
{
	my ($s, $now, $other, $quantity, $effective, $proration) = @_;
	pass_time($s, $now, 0);
	my $at_end = $s->{status} eq 'active' && $s->{end} == $now && !(defined $s->{cancel_at} && $s->{cancel_at} <= $now);
	pass_time($s, $now, 1) if !$at_end;
	return 0 if $s->{status} eq 'canceled';
	$quantity //= $s->{quantity};
	my ($old, $new) = @plan{ $s->{plan}, $other };
	my $anew = $old->{cycle} != $new->{cycle} || ($s->{plan} eq 'free' && $other ne 'free');
	return 0 if defined $s->{cancel_at} && ($anew || $effective eq 'period_end');
	my $same = $other eq $s->{plan} && $quantity == $s->{quantity};
	return 1 if $same && !$s->{next};
	if ($effective eq 'period_end') { $s->{next} = [ $other, $quantity ]; return 1; }
	delete $s->{next};
	return 1 if $same;
	if ($at_end) { next_period($s, [ $other, $quantity ]); return 1; }
	take_back($s, $now) if $proration ne 'none';
	end_arrears($s, $now);
	@$s{qw(plan quantity)} = ($other, $quantity);
	if ($anew)
	{
		@$s{qw(anchor n first)} = ($now, 0, $now);
		begin_period($s, $now);
	}
	elsif ($proration ne 'none') { charge($s, $now); }
	return 1;
}

sub pause
{
	my ($s, $now) = @_;
	take_back($s, $now);
	end_arrears($s, $now);
	$s->{status} = 'paused';
	return;
}

sub resume
{
	my ($s, $now) = @_;
	$s->{status} = 'active';
	$s->{since} = $now;
	if ($now >= $s->{end})
	{
		my $cycle = $plan{ $s->{plan} }{cycle};
		$s->{n}++ while add_months($s->{anchor}, ($s->{n} + 1) * $cycle) <= $now;
		@$s{qw(start end)} = map { add_months($s->{anchor}, $_ * $cycle) } $s->{n}, $s->{n} + 1;
		$s->{paid_end} = $s->{end};
	}
	charge($s, $now);
	return;
}

# The period ends later, and periods are counted from there; what it adds is free.
sub extend
{
	my ($s, $end) = @_;
	$s->{cancel_at} = $end if defined $s->{cancel_at};
	@$s{qw(end anchor n)} = ($end, $end, -1);
	return;
}

# -- arithmetic -------------------------------------------------------------------------------------

sub cost
{
	my $part = shift;
	return 0 if $part->{from} >= $part->{to};
	return until_instant($part, $part->{to}) - until_instant($part, $part->{from});
}

sub until_instant
{
	my ($part, $at) = @_;
	return $part->{price} if $at >= $part->{b};
	my ($elapsed, $whole) = ($at - $part->{a}, $part->{b} - $part->{a});
	($elapsed, $whole) = map { int($_ / 86400) - int($part->{a} / 86400) } $at, $part->{b} if $part->{basis} eq 'day';
	$whole = 1 if $whole < 1;
	return int((2 * $part->{price} * $elapsed + $whole) / (2 * $whole));
}

sub add_months
{
	my ($at, $months) = @_;
	my @t = gmtime($at);
	my $month = $t[4] + $months;
	my $year = $t[5] + 1900 + int($month / 12);
	$month %= 12;
	my @days = (31, $year % 4 == 0 ? 29 : 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31);
	my $day = $t[3] > $days[$month] ? $days[$month] : $t[3];
	return timegm(@t[ 0, 1, 2 ], $day, $month, $year);
}
