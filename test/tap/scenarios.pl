# Whole stories from other billing engines' own tests - subscribe, use, bill - come to their numbers through our functions,
# step by step up to the first step that this version has no function for.
#
# The stories are JSON lines in scenarios.jsonl of the folder that BILLING_VECTORS names.  Each is played in a transaction of
# its own with the test clock, and rolled back.
use strict;
use warnings FATAL => 'all';
use JSON::PP;
use Math::BigFloat;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $file = ($ENV{BILLING_VECTORS} // '../shared/vectors') . '/scenarios.jsonl';
plan skip_all => "no $file" unless -f $file;

my $json = JSON::PP->new->canonical;
my $node = PostgreSQL::Test::Cluster->new('scenarios');
$node->init;
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION billing');

my %skipped;
for my $row (map { decode_json($_) } grep { /\S/ } split /\n/, slurp_file($file))
{
	my @wanted = eval { play($row) };
	if ($@) { (my $why = $@) =~ s/ at \S+ line \d+\.\n//; $skipped{$why}++; }
	elsif (!@wanted) { $skipped{'nothing to compare before what is not there yet'}++; }
	else { pass("$row->{id}: $_") for @wanted; }
}
note("scenarios: $skipped{$_} skipped: $_") for sort keys %skipped;
is(scalar(grep { /^differs/ } keys %skipped), 0, 'none differs') or diag(join "\n", grep { /^differs/ } sort keys %skipped);

$node->stop;
done_testing();

# Play a story; what of it was compared, in words.  Dies with a reason to skip it, or with what differs.
sub play
{
	my $row = shift;
	my (@script, @expected, @names);
	my $zone = $row->{timezone} // 'UTC';
	my $scale = $row->{unit} eq 'minor' ? 100 : 1;
	my $basis = $row->{source} =~ /^openmeter/ ? 'second' : 'day';
	my @rates = do { my %seen; grep { defined && !$seen{$_}++ } map { ($_->{tax_percent}, map { $_->{tax_percent} } @{ $_->{charges} // [] }) } @{ $row->{plans} // [] } };

	push @script, "SET timezone = 'UTC'; SET datestyle = 'ISO'; BEGIN;", clock('2000-01-01T00:00:00Z'),
		"SELECT FROM billing.create_tenant(1, 'Vector', 'USD', '$zone', details => "
		. text($json->encode({ address => { country => 'ZZ' } })) . ");",
		"INSERT INTO billing.setting (name, value) VALUES ('tax_percent', '" . ($row->{tax_percent} // 0) . "');",
		map { "INSERT INTO billing.tax_rate (code, name, percent, country, category) VALUES ('rate-$_', 'Tax', $_, 'ZZ', 'rate-$_');" } @rates;
	push @script, plan_rows($_, $scale, $basis) for plans_of($row);
	push @script, coupon_row($_, $scale) for @{ $row->{coupons} // [] };

	my $n = 0;
	for my $step (@{ $row->{steps} })
	{
		my $action = action($row, $step, $zone) // last;
		my $expect = $step->{expect} // {};
		# Kill Bill makes no invoice before the next run: what came since the last step that states something is its.
		my $since = $row->{source} =~ /^killbill/ && $n > 0 && !$row->{steps}[ $n - 1 ]{expect} ? 'before_' . ($n - 1) : 'billing.invoice';
		push @script, clock(instant($step->{at}, $zone)), "CREATE TEMP TABLE before_$n AS SELECT invoice_id FROM $since;", $action;
		push @expected, comparisons($row, $expect, $n, $zone, $scale);
		push @script, map { $_->{sql} } grep { $_->{step} == $n } @expected;
		last if defined $expect->{error};
		$n++;
	}
	return () if !@expected;

	my ($ret, $out, $err) = $node->psql('postgres', join("\n", @script, 'ROLLBACK;'), on_error_stop => 1);
	die "differs: $row->{id}: $err\n" if $ret != 0;
	my @got = grep { /^= / } split /\n/, $out;
	for my $i (0 .. $#expected)
	{
		my $got = $got[$i] // '(nothing)';
		die "differs: $row->{id}: $expected[$i]{name} is $got, not $expected[$i]{value}\n" if $got ne "= $expected[$i]{value}";
	}
	return map { $_->{name} } @expected;
}

sub clock { return "SET billing.test_clock = '" . shift . "';" }
sub text { my $s = shift; $s =~ s/'/''/g; return "'$s'" }

# An instant of a step; a bare day is the end of it where the customer is.
sub instant
{
	my ($at, $zone) = @_;
	return $at if $at =~ /T/;
	return $node->safe_psql('postgres', "SELECT to_char((date '$at' + time '23:59:59') AT TIME ZONE '$zone' AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')");
}

sub plans_of
{
	my $row = shift;
	return @{ $row->{plans} } if $row->{plans};
	my %described = map { $_->{plan} => 1 } grep { $_->{plan} } @{ $row->{steps} };
	return map {
		/^([\d.]+) per unit monthly$/ or die "a plan described in words\n";
		{ id => $_, interval => 'month', charges => [ { metric => 'units', aggregation => 'sum', model => 'per_unit', unit_amount => $1 } ] }
	} sort keys %described;
}

# A coupon; once unless it says otherwise.
sub coupon_row
{
	my ($coupon, $scale) = @_;
	only_known('coupons', $coupon, qw(id type value frequency periods));
	my $frequency = $coupon->{frequency} // 'once';
	my $is_fixed = $coupon->{type} eq 'fixed';
	return sprintf "INSERT INTO billing.coupon (code, kind, value, currency, duration, periods) VALUES (%s, '%s', %s, %s, '%s', %s);", text($coupon->{id}),
		$coupon->{type}, $is_fixed ? major($coupon->{value}, $scale)->bstr : $coupon->{value}, $is_fixed ? "'USD'" : 'NULL',
		$frequency eq 'recurring' ? 'repeating' : $frequency, $frequency eq 'recurring' ? $coupon->{periods} // die("coupons with no number of periods\n") : 'NULL';
}

my %plan_code;

sub plan_rows
{
	my ($plan, $scale, $basis) = @_;
	die "plans with fixed_amount\n" if $plan->{fixed_amount};
	only_known('plans', $plan, qw(id amount interval in_advance trial_days fixed_amount minimum_commitment usage_thresholds tax_percent
		fixed_charges charges name description currency));
	my $code = 'plan_' . (1 + keys %plan_code);
	$code = $plan_code{ $plan->{id} } //= $code;
	my %months = (quarter => 3, semiannual => 6, half_year => 6);
	my $interval = $months{ $plan->{interval} } ? "$months{ $plan->{interval} } months" : "1 $plan->{interval}";
	die "plans of interval $plan->{interval}\n" if $interval !~ /^\d+ (day|week|month|year)s?$/;
	my @fixed = map { major($_->{amount}, $scale)->bstr } grep { !$_->{recurring} } @{ $plan->{usage_thresholds} // [] };
	my ($step) = map { major($_->{amount}, $scale)->bstr } grep { $_->{recurring} } @{ $plan->{usage_thresholds} // [] };
	my $minimum = defined $plan->{minimum_commitment} ? "'" . major($plan->{minimum_commitment}, $scale)->bstr . " USD'" : 'NULL';
	my @rows = ("INSERT INTO billing.plan (code, name, cycle, proration, trial_days, usage_thresholds, usage_threshold_step, minimum) VALUES ('$code', 'Plan', "
		. "'$interval', '$basis', " . ($plan->{trial_days} // 0) . ", " . (@fixed ? "'{" . join(',', @fixed) . "}'" : 'NULL') . ', ' . ($step // 'NULL') . ", $minimum);");
	push @rows, price($code, 'base', { model => 'flat', amount => major($plan->{amount}, $scale)->bstr }, undef, $plan->{in_advance} ? 'advance' : 'arrears')
		if defined $plan->{amount};
	for my $fixed (@{ $plan->{fixed_charges} // [] })
	{
		only_known('fixed charges', $fixed, qw(id unit_amount units in_advance prorated));
		push @rows, price($code, "fixed_$fixed->{id}", { model => 'flat', amount => major($fixed->{unit_amount}, $scale)->bmul($fixed->{units})->bstr },
			undef, $fixed->{in_advance} ? 'advance' : 'arrears', $fixed->{prorated} ? 'true' : 'false');
	}
	my $n = 0;
	for my $charge (@{ $plan->{charges} // [] })
	{
		for my $term (qw(recurring prorated in_advance))
		{
			die "charges with $term\n" if $charge->{$term};
		}
		only_known('charges', $charge, qw(id metric aggregation model unit_amount package_amount package_size free_units tiers rate fixed_amount
			free_events free_amount per_transaction_min per_transaction_max min_amount max_amount recurring prorated in_advance tax_percent));
		push @rows, "INSERT INTO billing.meter (code, aggregation) VALUES ('$charge->{metric}', '$charge->{aggregation}') ON CONFLICT DO NOTHING;",
			price($code, 'charge_' . ++$n, tariff($charge, $scale), $charge->{metric}, 'arrears');
		my $rate = $charge->{tax_percent} // $plan->{tax_percent};
		push @rows, "UPDATE billing.price SET minimum = " . (defined $charge->{min_amount} ? "'" . major($charge->{min_amount}, $scale)->bstr . " USD'" : 'NULL')
			. ", tax_category = " . (defined $rate ? "'rate-$rate'" : 'NULL') . " WHERE code = 'charge_$n' AND plan_id = (SELECT plan_id FROM billing.plan WHERE code = '$code');";
	}
	push @rows, "UPDATE billing.price SET tax_category = 'rate-$plan->{tax_percent}' WHERE tax_category IS NULL AND plan_id = (SELECT plan_id FROM billing.plan WHERE code = '$code');"
		if defined $plan->{tax_percent};
	return @rows;
}

# A story that says something of which we do not know what it means is none to compare.
sub only_known
{
	my ($what, $terms, @known) = @_;
	my %known = map { $_ => 1 } @known;
	for my $term (sort keys %$terms) { die "$what with $term\n" if !$known{$term}; }
}

sub tariff
{
	my ($charge, $scale) = @_;
	my $model = $charge->{model};
	my $major = sub { my $key = shift; defined $charge->{$key} ? major($charge->{$key}, $scale)->bstr : undef };
	my %tariff = (model => $model, free_units => $charge->{free_units}, maximum => $major->('max_amount'));
	if ($model eq 'per_unit') { $tariff{unit_amount} = $major->('unit_amount'); }
	elsif ($model eq 'package') { @tariff{qw(amount package_size)} = ($major->('package_amount'), $charge->{package_size}); }
	elsif ($model =~ /^(graduated|volume)$/)
	{
		die "packages inside tiers\n" if grep { ($_->{package_size} // 1) != 1 } @{ $charge->{tiers} };
		$tariff{tiers} = [ map { { up_to => $_->{up_to}, unit_amount => major($_->{unit_amount} // 0, $scale)->bstr,
			flat_amount => major($_->{flat_amount} // 0, $scale)->bstr } } @{ $charge->{tiers} } ];
	}
	elsif ($model eq 'graduated_percentage')
	{
		$tariff{tiers} = [ map { { up_to => defined $_->{up_to} ? major($_->{up_to}, 1)->bstr : undef, rate => $_->{rate} // 0,
			flat_amount => major($_->{flat_amount} // 0, $scale)->bstr } } @{ $charge->{tiers} } ];
	}
	elsif ($model eq 'percentage')
	{
		die "a percentage of minor units\n" if $scale != 1;
		@tariff{qw(rate event_amount free_events event_minimum event_maximum)}
			= @$charge{qw(rate fixed_amount free_events per_transaction_min per_transaction_max)};
		$tariff{free_units} //= $charge->{free_amount};
	}
	else { die "charges of model $model\n"; }
	delete @tariff{ grep { !defined $tariff{$_} } keys %tariff };
	return \%tariff;
}

sub price
{
	my ($plan, $code, $tariff, $meter, $timing, $is_prorated) = @_;
	return "INSERT INTO billing.price (plan_id, code, tariff, meter, timing, is_prorated) SELECT plan_id, '$code', "
		. text($json->encode({ currency => 'USD', %$tariff })) . ', ' . (defined $meter ? "'$meter'" : 'NULL')
		. ", '$timing', " . ($is_prorated // 'NULL') . " FROM billing.plan WHERE code = '$plan';";
}

sub major { return Math::BigFloat->new(shift)->bdiv(shift) }

# Terms that this version has not, and that say nothing before the first bill run.
sub stops
{
	my ($row, $do) = @_;
	my @plans = @{ $row->{plans} // [] };
	# What coupons, credits and tax make of an interim invoice is not compared yet.
	return 1 if $do =~ /^(bill|terminate)$/ && grep { $_->{usage_thresholds} } @plans and grep { $_->{do} =~ /^(apply_coupon|top_up|change_plan)$/ } @{ $row->{steps} };
}

# What a step does; undef where this version has no function for it.
sub action
{
	my ($row, $step, $zone) = @_;
	my $do = $step->{do};
	return undef if stops($row, $do);
	return 'SELECT;' if $do eq 'create_account';
	if ($do eq 'top_up')
	{
		only_known('top-ups', $step, qw(at do credits expect));
		return sprintf "SELECT FROM billing.top_up(1, billing.amount(%s, 'USD'), 'top-up ' || billing.next_id());", major($step->{credits}, $row->{unit} eq 'minor' ? 100 : 1)->bstr;
	}
	if ($do eq 'apply_coupon')
	{
		die "a coupon of a customer with other than one subscription\n" if live_subscriptions($row, $step) != 1;
		return 'SELECT FROM billing.apply_coupon(1, ' . text($step->{coupon}) . ', (SELECT subscription_id FROM billing.subscription WHERE ended_at IS NULL));';
	}
	return "SELECT count(billing.record_payment(1, i.invoice_id, i.amount_due, 'p' || i.invoice_id)) FROM billing.invoice i WHERE i.status = 'open';"
		if $do eq 'pay_invoice' && !defined $step->{amount};
	# Of the last invoice's line of the plan.
	return sprintf "SELECT count(billing.issue_credit_note(1, invoice_id, jsonb_build_array(jsonb_build_object('line', line, 'amount', '%s')))) FROM (SELECT * FROM"
		. " billing.invoice_item WHERE kind = 'fixed' ORDER BY invoice_id DESC, line LIMIT 1) l;", major($step->{amount}, $row->{unit} eq 'minor' ? -100 : -1)->bstr
		if $do eq 'adjust_line' && defined $step->{amount};
	return 'CALL billing.bill_due();' if $do eq 'bill';
	my $named = defined $step->{subscription} ? " WHERE metadata ->> 'name' = " . text($step->{subscription}) : undef;
	if ($do eq 'usage' && defined $step->{value})
	{
		my $is_number = $step->{value} =~ /^-?\d+(\.\d+)?$/;
		my $record = sprintf "SELECT FROM billing.record_usage(1, %s, %s, 'e' || billing.next_id(), properties => %s, subscription_id => %s);",
			text($step->{metric}), $is_number ? $step->{value} : 1, text($json->encode({ value => "$step->{value}" })),
			$named ? "(SELECT subscription_id FROM billing.subscription$named)" : 'NULL';
		# Usage up to an instant is billed behind it; a run every second does what theirs does with each event.
		return $record if !grep { $_->{usage_thresholds} } @{ $row->{plans} // [] };
		my $behind = "to_char(billing.now() + interval '1 second', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')";
		return "$record DO \$\$ BEGIN PERFORM set_config('billing.test_clock', $behind, true); CALL billing.bill_due(); END \$\$;";
	}
	if ($do eq 'subscribe')
	{
		die "a plan that is not stated\n" if !defined $plan_code{ $step->{plan} };
		my $anchor = !$step->{anchor} ? '' : $step->{anchor} =~ /T/ ? ", anchor => '$step->{anchor}'"
			: ", anchor => timestamp '$step->{anchor}' AT TIME ZONE '$zone'";
		$anchor .= ', metadata => ' . text($json->encode({ name => $step->{subscription} })) if defined $step->{subscription};
		$anchor .= ", anchor => (SELECT max(d) FROM generate_series(billing.now() - interval '2 months', billing.now(), interval '1 day') d"
			. " WHERE extract(day FROM d AT TIME ZONE '$zone') = $step->{bill_cycle_day})" if defined $step->{bill_cycle_day};
		return "SELECT FROM billing.subscribe(1, '$plan_code{ $step->{plan} }', billing => '" . ($step->{billing} // 'anniversary') . "'$anchor);";
	}
	# Lago charges the day of the end too, where a day of ours belongs to what follows, and so of an end only its usage is
	# compared, and a credit of all that was charged.
	return "SELECT count(billing.cancel_subscription(1, subscription_id, 'now')) FROM (SELECT * FROM billing.subscription"
		. ($named // ' WHERE ended_at IS NULL') . ') s WHERE ended_at IS NULL;'
		if $do eq 'terminate' && !$step->{effective} && ($named || 1 >= live_subscriptions($row, $step));
	# Billed at once, as peers do.  Where one counts a year from the first month on, ours begins with the change.
	if ($do eq 'change_plan')
	{
		my %interval = map { $_->{id} => $_->{interval} } @{ $row->{plans} // [] };
		my ($from) = map { $_->{plan} } grep { $_->{do} eq 'subscribe' } @{ $row->{steps} };
		return undef if !defined $from || !defined $plan_code{ $step->{plan} } || $interval{$from} ne $interval{ $step->{plan} };
		return "SELECT FROM billing.change_plan(1, (SELECT subscription_id FROM billing.subscription" . ($named // ' WHERE ended_at IS NULL')
			. "), '$plan_code{ $step->{plan} }', proration => 'invoice_now');";
	}
	if ($do eq 'list_lines' && $step->{expect}{lines})
	{
		my $last = (sort map { $_->{period}[1] } @{ $step->{expect}{lines} })[-1];
		return "CALL billing.bill_due('$last');";
	}
	return undef;
}

# How many subscriptions there are when a step ends one that it does not name.
sub live_subscriptions
{
	my ($row, $end) = @_;
	my $live = 0;
	for my $step (@{ $row->{steps} })
	{
		last if $step == $end;
		$live++ if $step->{do} eq 'subscribe';
		$live-- if $step->{do} eq 'terminate';
	}
	return $live;
}

# Queries that print '= value' for each number the step states and we have a column for.
sub comparisons
{
	my ($row, $expect, $n, $zone, $scale) = @_;
	my $new = "billing.invoice i WHERE i.item_count > 0 AND NOT EXISTS (SELECT FROM before_$n b WHERE b.invoice_id = i.invoice_id)";
	my $last = "(SELECT i.* FROM $new ORDER BY i.period_end DESC LIMIT 1)";
	my $is_end = $row->{steps}[$n]{do} eq 'terminate';
	$last = "(SELECT i.* FROM (SELECT sum(i.total) AS total, sum(i.subtotal) AS subtotal, sum(i.tax) AS tax, sum(i.item_count) AS item_count,"
		. " max(i.tenant_id) AS tenant_id, max(i.invoice_id) AS invoice_id FROM $new) i WHERE i.item_count > 0)" if $row->{source} =~ /^killbill/;
	my @compared;
	my $compare = sub {
		my ($name, $sql, $value) = @_;
		push @compared, { step => $n, name => "step $n, $name", sql => "SELECT '= ' || coalesce(($sql)::text, 'none');", value => $value };
	};
	my $money = sub { Math::BigFloat->new(shift)->bdiv($scale)->bfround(-2)->bstr };

	$compare->('no invoice', "SELECT count(*) FROM $new", 0) if $expect->{no_invoice};
	$compare->('wallet balance', 'SELECT billing.wallet_balance(1)::numeric', $money->($expect->{wallet_balance})) if defined $expect->{wallet_balance};
	my $invoice = $expect->{invoice} // {};
	my %column = (total => 'total', fees => 'subtotal', net => 'subtotal', tax => 'tax', coupons => 'discount', total_before_credit => 'total',
		prepaid_credit => 'wallet_applied');
	# Their total is what credit leaves of it.
	$column{total} = 'total::numeric - x.wallet_applied' if defined $invoice->{prepaid_credit};
	# What coupons take off comes off the net.
	$column{net} = 'subtotal::numeric - x.discount' if grep { $_->{do} eq 'apply_coupon' } @{ $row->{steps} };
	for my $key (grep { defined $invoice->{$_} } sort keys %column)
	{
		next if $is_end;
		next if $key eq 'total' && exists $invoice->{credit_note_applied};
		# Fees are those before what interim invoices billed is taken off.
		$compare->($key, "SELECT x.$column{$key}::numeric" . ($key ne 'fees' ? '' : " + coalesce((SELECT -sum(l.amount)::numeric"
			. " FROM billing.invoice_item l WHERE l.tenant_id = x.tenant_id AND l.invoice_id = x.invoice_id AND l.kind = 'interim_credit'), 0)")
			. " FROM $last x", $money->($invoice->{$key}));
	}
	$compare->('progressive credit', "SELECT -sum(l.amount)::numeric FROM $last x JOIN billing.invoice_item l USING (tenant_id, invoice_id)"
		. " WHERE l.kind = 'interim_credit'", $money->($invoice->{progressive_credit})) if defined $invoice->{progressive_credit};
	$compare->('lines', "SELECT x.item_count FROM $last x", $invoice->{line_count}) if defined $invoice->{line_count} && !$is_end;
	my $days = sub { my ($from, $to) = @_; "to_char($from AT TIME ZONE '$zone', 'YYYY-MM-DD') || ' ' || to_char($to AT TIME ZONE '$zone', 'YYYY-MM-DD')" };
	$compare->('usage period', 'SELECT ' . $days->('x.period_start', 'x.period_end') . " FROM $last x", "@{ $invoice->{usage_period} }")
		if $invoice->{usage_period} && $invoice->{usage_period}[0] !~ /T/;
	my $line = "FROM $last x JOIN billing.invoice_item l USING (tenant_id, invoice_id) WHERE l.price_code = 'base'";
	$compare->('period', 'SELECT ' . $days->('l.period_start', 'l.period_end') . " $line", "@{ $invoice->{period} }")
		if $invoice->{period} && $invoice->{period}[0] !~ /T/;
	for my $wanted (grep { ($_->{kind} // 'recurring') =~ /^(recurring|advance|subscription|fixed_charge)$/ } $is_end ? () : @{ $invoice->{lines} // [] })
	{
		my $line = $line;
		my $kind = $wanted->{kind} // 'line';
		if ($kind eq 'fixed_charge') { $line =~ s/'base'/'fixed_$wanted->{id}'/; $kind .= " $wanted->{id}"; }
		# What one takes off the new line, ours credits: both are the same difference.
		my $amount = $row->{steps}[$n]{do} ne 'change_plan' ? 'l.amount::numeric'
			: "l.amount::numeric - coalesce((SELECT sum(c.amount)::numeric FROM billing.credit_note_item c WHERE c.price_code = l.price_code), 0)";
		$compare->("$kind line", "SELECT $amount $line", $money->($wanted->{amount})) if defined $wanted->{amount};
		my %share = (coupons => 'discount', tax => 'tax');
		$compare->("$kind line $_", "SELECT l.$share{$_}::numeric $line", $money->($wanted->{$_})) for grep { defined $wanted->{$_} } sort keys %share;
		$compare->("$kind period", 'SELECT ' . $days->('l.period_start', 'l.period_end') . " $line", "@{ $wanted->{period} }")
			if $wanted->{period} && $wanted->{period}[0] !~ /T/;
	}
	# A minimum's part of a last day that is charged by the peer, and not by us, differs by it.
	my %ours = ('usage line' => [ 'usage', "l.kind = 'usage'" ], $is_end ? () : ('true-up of prices' => [ 'true_up', "l.kind = 'true_up' AND l.price_code IS NOT NULL" ],
		'true-up of the plan' => [ 'commitment_true_up', "l.kind = 'true_up' AND l.price_code IS NULL" ]));
	# What is used at the instant of an end is behind it.
	delete $ours{'usage line'} if $is_end && grep { $_->{do} eq 'usage' && $_->{at} eq $row->{steps}[$n]{at} } @{ $row->{steps} };
	for my $name (sort keys %ours)
	{
		my ($kind, $condition) = @{ $ours{$name} };
		my @wanted = grep { ($_->{kind} // '') eq $kind && defined $_->{amount} } @{ $invoice->{lines} // [] };
		my $sum = Math::BigFloat->new(0);
		$sum->badd($_->{amount}) for @wanted;
		$compare->($name, "SELECT sum(l.amount)::numeric FROM $last x JOIN billing.invoice_item l USING (tenant_id, invoice_id) WHERE $condition",
			$money->($sum)) if @wanted;
	}
	# All that the invoice before charged, and nothing of it was used.
	my ($charged) = map { $_->{expect}{invoice}{total} } grep { defined $_->{expect}{invoice}{total} } @{ $row->{steps} }[ 0 .. $n - 1 ];
	$compare->('credit', 'SELECT sum(c.total)::numeric FROM billing.credit_note c', $money->($expect->{credit_note}{total}))
		if $is_end && defined $charged && defined $expect->{credit_note}{total} && $expect->{credit_note}{total} == $charged;
	my $live = 'FROM billing.subscription s WHERE s.ended_at IS NULL';
	$compare->('anchor', "SELECT to_char(s.anchor, 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"') $live", $expect->{anchor}) if $expect->{anchor};
	my %metric = map { $_->{metric} => 1 } map { @{ $_->{charges} // [] } } @{ $row->{plans} // [] };
	$compare->('current usage', 'SELECT billing.usage(1, ' . text((keys %metric)[0]) . ", tstzrange(greatest(s.period_start, s.changed_at), billing.now() + interval '1 second'),"
		. " NULL, s.subscription_id) $live", $expect->{current_usage}{units}) if defined $expect->{current_usage}{units} && keys %metric == 1;
	if ($expect->{lines})
	{
		my $instant = sub { "to_char(" . shift . ", 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')" };
		$compare->('periods', "SELECT string_agg(" . $instant->('l.period_start') . " || ' ' || " . $instant->('l.period_end')
			. ", ', ' ORDER BY l.period_start) FROM billing.invoice_item l WHERE l.kind = 'usage'",
			join(', ', map { "@{ $_->{period} }" } @{ $expect->{lines} }));
	}
	return @compared;
}
