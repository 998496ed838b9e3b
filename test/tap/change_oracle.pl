# Whatever is done to a subscription - plans up and down, quantities, at once or at the end of the period, prorated or not,
# pauses, extensions, cancellations, at any instant, several at one, with usage in time and late, interim invoices, coupons,
# taxes and payments - its invoices less its credit notes are what the time and the usage on each plan cost, to the cent; each
# discount and each tax is what the rules say; no line is credited beyond what it charged, and everything verifies.
#
# All of it is computed here, independently and in whole numbers: a part from x to y of a period from a to b of a price of A
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

# Prices in cents: what each period costs in advance and in arrears, for one, or for each of the quantity; of a unit that is used,
# in hundredths of a cent.  Interim invoices when usage passes thresholds.
my %plan = (
	low => { cycle => 1, advance => 1000, usage => 137 },
	high => { cycle => 1, advance => 2999, usage => 30, thresholds => 'ARRAY[5, 20]' },
	seats => { cycle => 1, advance => 777, per_unit => 1 },
	days => { cycle => 1, advance => 3333, basis => 'day', usage => 2500, thresholds => 'ARRAY[10]', step => 25 },
	late => { cycle => 1, advance => 1501, arrears => 999, usage => 45 },
	year => { cycle => 12, advance => 19999 },
	free => { cycle => 1, advance => 0 });
# What coupons take off: parts in a million of a percentage, or cents, off how many invoices (0: for ever).
my %coupon = (
	ten => { parts => 100000, periods => 1 },
	third => { parts => 333330, periods => 2 },
	always => { parts => 150000, periods => 0 },
	capped => { parts => 500000, periods => 0, most => 500 },
	large => { parts => 250000, periods => 2, least => 1500 },
	fixed => { amount => 500, periods => 1 },
	carried => { amount => 4000, periods => 1 },
	thrice => { amount => 777, periods => 3 },
	ever => { amount => 333, periods => 0 },
	advance => { parts => 200000, periods => 0, prices => ['advance'] },
	some => { parts => 125000, periods => 3, plans => [qw(low seats)] });

# Taxes in parts in a million, in the order of their codes: [parts, is it contained].
my %place = (
	US => [],
	DE => [ [ 190000, 0 ] ],
	JP => [ [ 100000, 1 ] ],
	CA => [ [ 50000, 0 ], [ 99750, 0 ] ],
	BR => [ [ 180000, 1 ], [ 16500, 1 ], [ 50000, 0 ] ]);

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

$node->safe_psql('postgres', "INSERT INTO billing.meter (code) VALUES ('units');"
	. "INSERT INTO billing.price (plan_id, code, tariff, meter) SELECT plan_id, 'usage', format('{\"model\":\"per_unit\",\"currency\":\"USD\",\"unit_amount\":\"%s\"}', v.p)::billing.tariff, 'units'"
	. " FROM (VALUES " . join(', ', map { sprintf "('%s', %.4f)", $_, $plan{$_}{usage} / 10000 } grep { $plan{$_}{usage} } sort keys %plan) . ') v (code, p)'
	. ' JOIN billing.plan USING (code);'
	. join '', map { "UPDATE billing.plan SET usage_thresholds = $plan{$_}{thresholds}, usage_threshold_step = " . ($plan{$_}{step} // 'NULL')
		. " WHERE code = '$_';" } grep { $plan{$_}{thresholds} } sort keys %plan);
for my $code (sort keys %coupon)
{
	my $c = $coupon{$code};
	my $list = sub { my $l = shift; return $l ? "'{" . join(',', @$l) . "}'" : 'NULL' };
	my $money = sub { my $m = shift; return defined $m ? sprintf("'%.2f USD'", $m / 100) : 'NULL' };
	$node->safe_psql('postgres', 'INSERT INTO billing.coupon (code, kind, value, currency, min_amount, max_discount, plans, prices, duration,'
		. " periods) VALUES ('$code', " . ($c->{parts} ? "'percentage', " . $c->{parts} / 10000 : "'fixed', " . $c->{amount} / 100)
		. ", 'USD', " . join(', ', $money->($c->{least}), $money->($c->{most}), $list->($c->{plans}), $list->($c->{prices}),
			(qw('forever' 'once'))[ $c->{periods} ] // "'repeating'", $c->{periods} > 1 ? $c->{periods} : 'NULL') . ')');
}
for my $country (sort keys %place)
{
	my $n = 0;
	$node->safe_psql('postgres', sprintf "INSERT INTO billing.tax_rate (code, name, percent, is_inclusive, country) VALUES ('%s-%d', 'tax', %s, %s, '%s')",
		$country, ++$n, $_->[0] / 10000, $_->[1] ? 'true' : 'false', $country) for @{ $place{$country} };
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
	my $differ = documents($first, { map { ($_->{tenant} => $_) } @sequences });
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
		first => $now, began => $now, n => 0, advance => [], arrears => [], events => [], coupons => {}, script => '');
	$s{place} = pick(sort keys %place);
	$s{script} .= clock($now) . "SELECT FROM billing.create_tenant($tenant, 'T', 'USD', details => '{\"address\": {\"country\": \"$s{place}\"}}');\n";
	my $coupon = rand() < 0.3 ? pick(grep { !$coupon{$_}{plans} } sort keys %coupon) : undef;
	$s{coupons}{$coupon} = 1 if defined $coupon;
	$s{script} .= "SELECT FROM billing.subscribe($tenant, '$s{plan}', $s{quantity}" . (defined $coupon ? ", coupon => '$coupon'" : '') . ");\n";
	begin_period(\%s, $now);
	my $steps = 1 + int(rand(8));
	for (1 .. $steps)
	{
		$now = later(\%s, $now);
		other_step(\%s, $now) for 1 .. int(rand(3));
		step(\%s, $now);
		last if $s{status} eq 'canceled';
	}
	$now = finish(\%s, $now) if $s{status} ne 'canceled';
	# What comes late, of what has ended.
	use_units(\%s, $now) for 1 .. int(rand(3));
	$s{script} .= clock($now + 3600) . "CALL billing.bill_due();\n";
	$s{cost} = 0;
	$s{cost} += cost($_) for @{ $s{advance} }, closed_arrears(\%s);
	$s{cost} += usage_cost(\%s, $_) for closed_arrears(\%s);
	return \%s;
}

# What runs is canceled, so that everything is billed; what ran out, the bill run has to find.
sub finish
{
	my ($s, $now) = @_;
	$now += int(rand(86400 * 20));
	pass_time($s, $now, 0) if $s->{status} eq 'active';
	if ($s->{status} eq 'canceled') { $s->{script} .= clock($now) . "CALL billing.bill_due();\n"; }
	else { cancel_now($s, $now); }
	return $now;
}

# Beside what happens to it: usage, a payment, a coupon, the run.
sub other_step
{
	my ($s, $now) = @_;
	my $what = rand();
	if ($what < 0.6) { use_units($s, $now); return; }
	if ($what < 0.75)
	{
		my $units = rand() < 0.7 ? 'billing.minor_units(amount_due)' : '(billing.minor_units(amount_due) + 1) / 2';
		$s->{script} .= clock($now) . "SELECT count(billing.record_payment(tenant_id, invoice_id, billing.from_minor_units($units, 'USD'), "
			. "billing.next_id()::text)) FROM billing.invoice WHERE tenant_id = $s->{tenant} AND status = 'open' AND billing.minor_units(amount_due) > 0;\n";
		return;
	}
	return if $s->{status} ne 'active';
	pass_time($s, $now, 1);
	$s->{script} .= clock($now) . "CALL billing.bill_due();\n";
	return if $what < 0.85 || $s->{status} ne 'active';
	my @may = grep { !$s->{coupons}{$_} && (!$coupon{$_}{plans} || grep { $_ eq $s->{plan} } @{ $coupon{$_}{plans} }) } sort keys %coupon;
	my $code = pick(@may);
	$s->{coupons}{$code} = 1;
	call_coupon($s, $now, $code);
	return;
}

sub call_coupon
{
	my ($s, $now, $code) = @_;
	$s->{script} .= clock($now) . "SELECT FROM billing.apply_coupon($s->{tenant}, '$code', "
		. "(SELECT subscription_id FROM billing.subscription WHERE tenant_id = $s->{tenant}));\n";
	return;
}

# An event of now, or of some time since the start.
sub use_units
{
	my ($s, $now) = @_;
	my $at = rand() < 0.6 ? $now : $s->{began} + int(rand($now - $s->{began} + 1));
	my $units = 1 + int(rand(1200));
	push @{ $s->{events} }, [ $at, $units ];
	my ($instant) = clock($at) =~ /('.*')/;
	$s->{script} .= clock($now) . "INSERT INTO billing.usage_event (tenant_id, event_id, meter, quantity, at) VALUES ($s->{tenant}, "
		. "'e" . @{ $s->{events} } . "', 'units', $units, $instant);\n";
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
	return { price => $price, from => $from, to => $to, a => $a, b => $b, basis => $p->{basis} // 'second', usage => $p->{usage} // 0,
		plan => $s->{plan}, full => $to };
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

# What was used while a plan was in force costs, rounded once.
sub usage_cost
{
	my ($s, $part) = @_;
	my $units = 0;
	$units += $_->[1] for grep { $_->[0] >= $part->{from} && $_->[0] < $part->{to} } @{ $s->{events} };
	return rounded($units * $part->{usage}, 100);
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

# A quotient, half away from zero; the divisor is positive.
sub rounded
{
	my ($n, $d) = @_;
	use integer;
	return $n < 0 ? -((-2 * $n + $d) / (2 * $d)) : (2 * $n + $d) / (2 * $d);
}

# -- documents: discounts, taxes, and their shares --------------------------------------------------

# How many documents of tenants from first on are not what the rules make of their lines.
sub documents
{
	my ($first, $sequences) = @_;
	my (%invoice, %uses, %item, $differ);
	$differ = 0;
	push @{ $uses{ $_->[0] } }, { id => $_->[1], code => $_->[2], %{ $coupon{ $_->[2] } }, left => $coupon{ $_->[2] }{periods} }
		for rows("SELECT tenant_id, use_id, coupon FROM billing.coupon_use WHERE tenant_id >= $first ORDER BY use_id");
	for my $row (rows(<<"SQL"))
SELECT v.tenant_id, v.invoice_id, billing.minor_units(v.discount), billing.minor_units(v.tax), billing.minor_units(v.total) - billing.minor_units(v.excess),
	v.kind = 'final' AND v.period_end > s.ended_at, i.line, i.price_code, p.code, extract(epoch FROM i.period_start)::bigint, extract(epoch FROM i.period_end)::bigint, billing.minor_units(i.amount), billing.minor_units(i.discount), billing.minor_units(i.tax),
	coalesce(billing.minor_units(i.tax_included), 0)
FROM billing.invoice v JOIN billing.invoice_item i USING (tenant_id, invoice_id) LEFT JOIN billing.plan p ON p.plan_id = coalesce(i.plan_id, v.plan_id)
JOIN billing.subscription s USING (tenant_id, subscription_id)
WHERE v.tenant_id >= $first ORDER BY v.invoice_id, i.line
SQL
	{
		my ($t, $id, $discount, $tax, $total, $is_late, @line) = @$row;
		my $v = $invoice{$t}{$id} //= { discount => $discount, tax => $tax, total => $total, is_late => $is_late eq 't', lines => [] };
		my %l;
		@l{qw(line price plan from to amount discount tax included)} = @line;
		push @{ $v->{lines} }, $item{"$t/$id/$l{line}"} = { %l, before => 0 };
	}
	for my $t (sort { $a <=> $b } keys %invoice)
	{
		for my $id (sort { $a <=> $b } keys %{ $invoice{$t} })
		{
			# Coupons are over when the subscription has ended: a final invoice of what came late has none.  One of a change
			# may lie a microsecond behind the end, since another was made at that instant, and is not late.
			my $wrong = wrong_invoice($invoice{$t}{$id}, $invoice{$t}{$id}{is_late} ? [] : [ grep { $_->{id} < $id } @{ $uses{$t} // [] } ], $place{ $sequences->{$t}{place} });
			next if !defined $wrong;
			diag("invoice $id of tenant $t: $wrong\n$sequences->{$t}{script}") if ++$differ <= 2;
		}
	}
	for my $row (rows(<<"SQL"))
SELECT tenant_id, invoice_id, invoice_line, billing.minor_units(amount), billing.minor_units(discount), billing.minor_units(tax), billing.minor_units(tax_included)
FROM billing.credit_note_item WHERE tenant_id >= $first ORDER BY credit_note_id, line
SQL
	{
		my ($t, $id, $line, $amount, @shares) = @$row;
		my $wrong = wrong_credit($item{"$t/$id/$line"}, $amount, @shares);
		next if !defined $wrong;
		diag("credit of line $line of invoice $id of tenant $t: $wrong\n$sequences->{$t}{script}") if ++$differ <= 2;
	}
	keep_free($sequences->{ $_->[0] }, $item{ join '/', @$_ })
		for sort { $b->[1] <=> $a->[1] || $b->[2] <=> $a->[2] } map { [ split m{/} ] } keys %item;
	return $differ;
}

sub rows { return map { [ split /\|/, $_, -1 ] } split /\n/, $node->safe_psql('postgres', shift) }

# What is wrong with an invoice, or undef; its coupons are used.
sub wrong_invoice
{
	my ($v, $uses, $taxes) = @_;
	my @lines = @{ $v->{lines} };
	my ($subtotal, $sum, $all, $contained) = (0, 0, 0, 0);
	my @off = (0) x @lines;
	for my $use (sort { rank($a) <=> rank($b) || $a->{id} <=> $b->{id} } @$uses) { take_off($use, \@lines, \@off); }
	my @net = map { $lines[$_]{amount} - $off[$_] } 0 .. $#lines;
	my ($tax, $included, $of) = taxes($taxes, \@net);
	for my $i (0 .. $#lines)
	{
		my $l = $lines[$i];
		$l->{taxes} = $of->[$i];
		return "line $l->{line} has discount $l->{discount}, should be $off[$i]" if $l->{discount} != $off[$i];
		return "line $l->{line} has tax $l->{tax} and $l->{included} contained, should be $tax->[$i] and $included->[$i]"
			if $l->{tax} != $tax->[$i] || $l->{included} != $included->[$i];
		$subtotal += $l->{amount};
		$sum += $off[$i];
		$all += $tax->[$i];
		$contained += $included->[$i];
	}
	my $total = $subtotal - $sum + $all - $contained;
	return $v->{discount} == $sum && $v->{tax} == $all && $v->{total} == $total ? undef
		: "discount $v->{discount} tax $v->{tax} total $v->{total}, should be $sum, $all and $total";
}

# Those for prices first, then those for plans.
sub rank { my $use = shift; return $use->{prices} ? 0 : $use->{plans} ? 1 : 2 }

# What a coupon takes off lines, beyond what those before it did.
sub take_off
{
	my ($use, $lines, $off) = @_;
	return if defined $use->{over};
	my @of = grep { my $l = $lines->[$_]; (!$use->{prices} || grep { $_ eq $l->{price} } @{ $use->{prices} })
		&& (!$use->{plans} || grep { $_ eq $l->{plan} } @{ $use->{plans} }) } 0 .. $#$lines;
	my ($displayed, $sum) = (0, 0);
	for my $i (@of) { $displayed += $lines->[$i]{amount}; $sum += $lines->[$i]{amount} - $off->[$i]; }
	return if $sum <= 0 || $displayed < ($use->{least} // 0);
	my $discount = $use->{parts} ? rounded($sum * $use->{parts}, 1000000) : $use->{amount};
	$discount = $use->{most} if defined $use->{most} && $discount > $use->{most};
	$discount = $sum if $discount > $sum;
	return if $discount == 0;
	my $shares = shares($discount, $sum, map { $discount * ($lines->[$_]{amount} - $off->[$_]) } @of);
	$off->[ $of[$_] ] += $shares->[$_] for 0 .. $#of;
	if ($use->{amount} && $use->{periods} == 1) { $use->{amount} -= $discount; $use->{over} = 1 if $use->{amount} == 0; }
	elsif ($use->{periods} && --$use->{left} == 0) { $use->{over} = 1; }
	return;
}

# Of a whole what each has that should have number / divisor of it: cut to whole units, the units left over one each to those
# that lost most, the earlier of equals first.
sub shares
{
	my ($whole, $divisor, @numbers) = @_;
	my $left = $whole;
	my (@shares, @rests);
	for my $number (@numbers)
	{
		use integer;
		my $share = $number / $divisor;
		$share-- if $number - $share * $divisor < 0;
		push @shares, $share;
		push @rests, $number - $share * $divisor;
		$left -= $share;
	}
	for my $i ((sort { $rests[$b] <=> $rests[$a] || $a <=> $b } 0 .. $#shares)[ 0 .. $left - 1 ]) { $shares[$i]++; }
	return \@shares;
}

# The taxes on net lines, what of them these contain, and of each line its share of each: [share, is it contained].
sub taxes
{
	my ($taxes, $net) = @_;
	my ($sum, $contained) = (0, 0);
	my @tax = (0) x @$net;
	my @included = (0) x @$net;
	my @of = map { [] } @$net;
	$sum += $_ for @$net;
	$contained += $_->[0] for grep { $_->[1] } @$taxes;
	# A negative sum is shared as the positive one would be; one of nothing, as its first line is.
	my ($first) = grep { $_ != 0 } $sum, @$net;
	my $sign = ($first // 0) < 0 ? -1 : 1;
	for my $rate (@$taxes)
	{
		my $shares = shares(rounded($sign * $sum * $rate->[0], 1000000 + $contained), 1000000 + $contained,
			map { $sign * $_ * $rate->[0] } @$net);
		for my $i (0 .. $#$net)
		{
			$tax[$i] += $sign * $shares->[$i];
			$included[$i] += $sign * $shares->[$i] if $rate->[1];
			push @{ $of[$i] }, [ $sign * $shares->[$i], $rate->[1] ];
		}
	}
	return (\@tax, \@included, \@of);
}

# Time that a coupon made free is not credited: its line stays as it is.  Of several that begin and end at the same instants
# the lines come last first, since a part that was cut before it was billed has none: the last line is the last part's.
sub keep_free
{
	my ($s, $line) = @_;
	my @parts = grep { $line->{price} eq 'advance' && $_->{plan} eq $line->{plan} && $_->{from} == $line->{from}
		&& $_->{full} == $line->{to} && !$_->{is_met} } @{ $s->{advance} };
	return if !@parts;
	my $part = $parts[-1];
	$part->{is_met} = 1;
	my $unused = cost({ %$part, from => $part->{to}, to => $part->{full} });
	$s->{cost} += $unused if !$line->{before} && $line->{discount} && $unused == share_to($line, $line->{discount}, $unused);
	return;
}

# What is wrong with a part of a line that is taken back, or undef.
sub wrong_credit
{
	my ($line, $amount, @shares) = @_;
	my $before = $line->{before};
	$line->{before} += $amount;
	return "$line->{before} of $line->{amount}" if abs($line->{before}) > abs($line->{amount}) || $amount * $line->{amount} <= 0;
	my $part = sub { my $share = shift; return share_to($line, $share, $line->{before}) - share_to($line, $share, $before) };
	my @should = ($part->($line->{discount}), 0, 0);
	for my $tax (@{ $line->{taxes} })
	{
		$should[1] += $part->($tax->[0]);
		$should[2] += $part->($tax->[0]) if $tax->[1];
	}
	return "@should" eq "@shares" ? undef : "discount, tax and contained @shares, should be @should";
}

sub share_to
{
	my ($line, $share, $to) = @_;
	my $sign = $line->{amount} < 0 ? -1 : 1;
	return rounded($share * $to * $sign, abs($line->{amount}));
}
