# The numbers of other billing engines' own tests, and boundary cases derived by
# hand, come out of our functions wherever our design has their rule.
#
# The cases are JSON lines in the folder BILLING_VECTORS names, by default
# ../shared/vectors beside the source.  Each row becomes one SQL expression and
# the value it must have, or a reason why the design has no such rule.
use strict;
use warnings FATAL => 'all';
use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $folder = $ENV{BILLING_VECTORS} // '../shared/vectors';
plan skip_all => "no vectors in $folder" unless -d $folder;

# A currency of so many decimals.
my %currency = (0 => 'JPY', 2 => 'USD', 3 => 'KWD', 4 => 'CLF');
my $json = JSON::PP->new->canonical;

my %handler = (
	pricing => \&pricing,
	periods => \&periods,
	proration => \&proration,
	rounding => \&rounding,
	derived => \&derived);

my $node = PostgreSQL::Test::Cluster->new('vectors');
$node->init;
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION billing');

for my $file (sort keys %handler)
{
	next unless -f "$folder/$file.jsonl";
	my (@asked, %skipped);
	for my $row (map { decode_json($_) } grep { /\S/ } split /\n/, slurp_file("$folder/$file.jsonl"))
	{
		my ($sql, $reason) = $handler{$file}->($row);
		if (defined $sql) { push @asked, [ $row->{id}, $sql ]; }
		else { $skipped{$reason}++; }
	}
	check($file, @asked);
	note("$file: $skipped{$_} skipped: $_") for sort keys %skipped;
}
$node->stop;
done_testing();

# Ask all expressions of a file in one session; each must be true.
sub check
{
	my ($file, @asked) = @_;
	my $script = "SET search_path = billing, public;\n\\set VERBOSITY terse\n";
	$script .= "\\echo =$_->[0]\nSELECT ($_->[1])::text;\n" for @asked;
	my ($out, $err) = ('', '');
	IPC::Run::run [ 'psql', '-XAtq', '-d', $node->connstr('postgres'), '-f', '-' ],
		'<', \$script, '>', \$out, '2>&1';
	my %answer;
	my $id;
	for (split /\n/, $out)
	{
		if (/^=(.*)/) { $id = $1; $answer{$id} = ''; }
		elsif (defined $id) { $answer{$id} .= $_; }
	}
	for (@asked)
	{
		is($answer{ $_->[0] }, 'true', "$file $_->[0]") or diag($_->[1]);
	}
}

sub quote { my $s = shift; $s =~ s/'/''/g; return "'$s'"; }

# -- pricing ----------------------------------------------------------------

sub pricing
{
	my $row = shift;
	my $p = $row->{params};
	my %reason = (
		capacity => 'model capacity', windowed_commitment => 'model windowed_commitment');
	return (undef, $reason{ $row->{model} }) if $reason{ $row->{model} };
	for my $key (qw(percent_discount select_quantity prorated_events windows))
	{
		return (undef, "params.$key") if exists $p->{$key};
	}
	return (undef, 'packages counted downwards') if ($p->{round} // 'up') ne 'up';
	return (undef, 'packages inside tiers')
		if grep { ($_->{package_size} // 1) != 1 } @{ $p->{tiers} // [] };

	my %tariff = (model => $row->{model}, currency => $currency{ $row->{decimals} // 2 });
	my $position = $row->{position} // 'whole_period';
	my $quantity = $row->{quantity};

	if (my $convert = $p->{convert})
	{
		return (undef, 'params.convert other than counting packages')
			unless $row->{model} eq 'per_unit' && $convert->{operation} eq 'divide'
			&& $convert->{round} eq 'ceiling';
		@tariff{qw(model amount package_size)} = ('package', $p->{unit_amount}, $convert->{factor});
	}
	elsif ($row->{model} eq 'package')
	{
		@tariff{qw(amount package_size)} = @$p{qw(package_amount package_size)};
	}
	elsif ($p->{tiers})
	{
		my $price = $row->{model} eq 'graduated_percentage' ? 'rate' : 'unit_amount';
		$tariff{tiers} = [ map { { up_to => $_->{up_to}, $price => $_->{$price} // 0,
			flat_amount => $_->{flat_amount} // 0 } } @{ $p->{tiers} } ];
		# A peer may leave what lies above the last tier undefined; we never do.
		push @{ $tariff{tiers} }, { up_to => undef } if defined $tariff{tiers}[-1]{up_to};
	}
	elsif ($row->{model} eq 'percentage')
	{
		$tariff{rate} = $p->{rate};
		$tariff{event_amount} = $p->{fixed_amount} // 0;
	}
	else
	{
		my $key = $row->{model} eq 'flat' ? 'amount' : 'unit_amount';
		$tariff{$key} = $p->{$key} // $p->{unit_amount} // 0;
	}
	$tariff{free_units} = $p->{free_units} if $p->{free_units};
	$tariff{free_units} = $p->{free_amount} if $p->{free_amount};
	$tariff{free_units} = $p->{usage_discount} if $p->{usage_discount};
	# A minimum is owed by the whole period: the cut that closes it tops it up.
	$tariff{minimum} = $p->{min_amount} if defined $p->{min_amount} && $position ne 'mid_split';
	$tariff{maximum} = $p->{max_amount} if defined $p->{max_amount};

	my $events = $p->{events};
	if ($events && grep { $p->{$_} } qw(free_events free_amount per_transaction_min per_transaction_max))
	{
		my $sum = 0;
		$sum += $_ for @$events;
		return (undef, 'events that do not add up to the quantity') if $sum != $quantity;
		$tariff{free_events} = $p->{free_events} if $p->{free_events};
		$tariff{event_minimum} = $p->{per_transaction_min} if $p->{per_transaction_min};
		$tariff{event_maximum} = $p->{per_transaction_max} if $p->{per_transaction_max};
		$tariff{currency} = 'CLF';
		return sprintf 'SELECT charge_events(%s, q::numeric ORDER BY i)::numeric = round(%s, 4) FROM unnest(%s::numeric[]) WITH ORDINALITY u(q, i)',
			tariff(\%tariff), $row->{expected}, quote('{' . join(',', @$events) . '}');
	}

	return sprintf 'SELECT coalesce(sum(charge_exact(%s, q)), 0) = %s FROM unnest(%s::numeric[]) q',
		tariff(\%tariff), $row->{expected}, quote('{' . join(',', @{ $row->{buckets} }) . '}')
		if $row->{buckets};

	my $n = $events ? scalar @$events : 0;
	my $function = $row->{rounded} ? 'charge' : 'charge_exact';
	my $charge = sub { sprintf '%s(%s, %s, %d)::numeric', $function, tariff(\%tariff), shift, $n };
	if ($row->{cumulative})
	{
		return $charge->($quantity) . " - $row->{prior_billed} = $row->{expected}";
	}
	if (defined $row->{prior_quantity} && $row->{prior_quantity} != 0)
	{
		return sprintf '%s - %s = %s', $charge->("$quantity + $row->{prior_quantity}"),
			$row->{prior_billed} // $charge->($row->{prior_quantity}), $row->{expected};
	}
	return $charge->($quantity) . " = $row->{expected}";
}

sub tariff { return quote($json->encode(shift)) . '::billing.tariff'; }

# -- rounding ---------------------------------------------------------------

sub rounding
{
	my $row = shift;
	my $kind = $row->{kind};
	my $code = $row->{currency} // $currency{ $row->{decimals} // 2 };
	return (undef, "rounding mode $row->{mode}")
		if ($row->{mode} // 'half_away_from_zero') ne 'half_away_from_zero';
	return (undef, "no currency of $row->{decimals} decimals") unless defined $code;

	if ($kind eq 'currency' || $kind eq 'rounding')
	{
		return (undef, 'beyond the range of billing.amount') if abs($row->{amount}) > 9e16;
		return "amount($row->{amount}, '$code')::numeric = $row->{expected}";
	}
	return "(SELECT exponent FROM currencies() WHERE code = upper('$code')) = $row->{expected}"
		if $kind eq 'currency_decimals';
	return "(amount($row->{amount}, '$code') * ($row->{rate_percent} / 100.0))::numeric = $row->{expected}"
		if $kind eq 'tax' && defined $row->{amount};
	return "((amount($row->{amount}, '$code') - amount($row->{discount}, '$code')) * ($row->{rate_percent} / 100.0))::numeric = $row->{expected}"
		if $kind eq 'tax_after_discount';
	return (undef, 'rounding of measured quantities') if $kind eq 'units';
	return (undef, "kind $kind");
}

# -- periods ----------------------------------------------------------------

# A period is period_at() on an anchor; where a peer has none, its rule gives one:
# the start of a calendar unit, or the bill cycle day in a month of 31 days.
sub periods
{
	my $row = shift;
	my $select = $row->{select};
	my $zone = $row->{timezone} // 'UTC';
	return (undef, 'usage buckets') if $select eq 'bucket_starts';
	return (undef, 'what is billable in advance is the bill run\'s')
		if $select eq 'billable_list' && $row->{timing} ne 'arrears';
	return sprintf "cycle_divides('%s', '%s') = %s", $row->{divisor}, $row->{interval}, $row->{expected} ? 'true' : 'false'
		if $select eq 'divisible';
	return (undef, 'a boundary that is not anchor + k x interval')
		if exists $row->{pure_recurrence} && !$row->{pure_recurrence};

	my $cycle = cycle($row);
	my $at = instant($row->{at}, $zone);
	my $anchor = defined $row->{anchor} ? instant($row->{anchor}, $zone) : $at;
	return (undef, 'a time zone that does not exist is refused') if $zone eq 'Not/A_Real_Zone';
	if (($row->{mode} // '') eq 'calendar')
	{
		$anchor = "('" . ($row->{interval} eq 'week' ? '2000-01-03' : '2000-01-01') . "'::timestamp AT TIME ZONE '$zone')";
	}
	elsif (($row->{mode} // '') eq 'bill_cycle_day')
	{
		return (undef, 'cycles of days do not look at a bill cycle day') if $row->{interval} !~ /month|year/;
		$anchor = sprintf "('2000-01-%02d'::timestamp AT TIME ZONE '%s')", $row->{bill_cycle_day}, $zone;
	}
	elsif (($row->{interval} // '') =~ /^(day|week|month|year)$/ && $row->{source} =~ /^lago/)
	{
		# Lago's anniversaries start at local midnight of the day of the anchor.
		$anchor = "(date_trunc('day', $anchor AT TIME ZONE '$zone') AT TIME ZONE '$zone')";
	}

	my $period = sub { "period_at($anchor, '$cycle', " . shift() . ", '$zone')" };
	my @conditions;
	if ($select eq 'containing' || $select eq 'previous')
	{
		my $p = $period->($at);
		$p = $period->("lower($p) - interval '1 microsecond'") if $select eq 'previous';
		my $start = "lower($p)";
		$start = "greatest($start, " . instant($row->{subscription_start}, $zone) . ')' if defined $row->{subscription_start};
		push @conditions, "$start = " . instant($row->{expected_start}, $zone) if defined $row->{expected_start};
		push @conditions, "upper($p) = " . instant($row->{expected_end}, $zone)
			if defined $row->{expected_end} && !defined $row->{terminated_at};
	}
	elsif ($select eq 'next_boundary' || $select eq 'next_usage_reset')
	{
		$anchor = "(date_trunc('day', $anchor AT TIME ZONE '$zone') AT TIME ZONE '$zone')" if $select eq 'next_usage_reset';
		my $end = 'upper(' . $period->($at) . ')';
		$end = "least($end, " . instant($row->{subscription_end}, $zone) . ')' if defined $row->{subscription_end};
		push @conditions, "$end = " . instant($row->{expected_end}, $zone);
	}
	elsif ($select eq 'prev_boundary_inclusive' || $select eq 'prev_boundary_exclusive')
	{
		my $t = $select eq 'prev_boundary_inclusive' ? $at : "$at - interval '1 microsecond'";
		push @conditions, 'lower(' . $period->($t) . ') = ' . instant($row->{expected_start}, $zone);
	}
	elsif ($select eq 'first_cycle_date')
	{
		push @conditions, 'upper(' . $period->("$at - interval '1 microsecond'") . ') = ' . instant($row->{expected_end}, $zone);
	}
	elsif ($select eq 'list')
	{
		my $k = 0;
		for my $end (@{ $row->{expected_ends} })
		{
			push @conditions, "upper(period_n($anchor, '$cycle', $k, '$zone')) = " . instant($end, $zone);
			$k++;
		}
	}
	elsif ($select eq 'advance' || $select eq 'add_duration')
	{
		push @conditions, "upper(period_n($at, '$cycle', 0, '$zone')) = " . instant($row->{expected_end}, $zone);
	}
	elsif ($select eq 'floor')
	{
		push @conditions, 'lower(' . $period->($at) . ') = ' . instant($row->{expected_start}, $zone);
	}
	elsif ($select eq 'billable_list')
	{
		# In arrears: what the subscription has of each period, once that is over.
		my $life = sprintf 'tstzrange(%s, %s)', instant($row->{subscription_start}, $zone),
			defined $row->{subscription_end} ? instant($row->{subscription_end}, $zone) : 'NULL';
		my $expected = join ', ', map { sprintf 'tstzrange(%s, %s)', map { instant($_, $zone) } @$_ } @{ $row->{expected_periods} };
		push @conditions, "(SELECT array_agg(b ORDER BY n) FROM generate_series(0, 1000) n,"
			. " LATERAL (SELECT period_n($anchor, '$cycle', n, '$zone') * $life) x(b)"
			. " WHERE NOT isempty(b) AND upper(b) <= $at) IS NOT DISTINCT FROM nullif(ARRAY[$expected]::tstzrange[], '{}')";
	}
	elsif ($select eq 'whole_periods_between')
	{
		push @conditions, "lower(period_n($anchor, '$cycle', $row->{expected}, '$zone')) <= $at",
			"upper(period_n($anchor, '$cycle', $row->{expected}, '$zone')) > $at";
	}
	elsif ($select eq 'period_days')
	{
		my $p = $period->($at);
		$p = $period->("lower($p) - interval '1 microsecond'") if $row->{of} eq 'previous';
		push @conditions, "(upper($p) AT TIME ZONE '$zone')::date - (lower($p) AT TIME ZONE '$zone')::date = $row->{expected}";
	}
	return (undef, "select $select") unless @conditions;
	return join ' AND ', @conditions;
}

sub cycle
{
	my $row = shift;
	my $count = $row->{interval_count} // 1;
	return join ' ', map { $row->{interval}{$_} * $count . " $_" } sort keys %{ $row->{interval} } if ref $row->{interval};
	return $row->{interval} if $row->{interval} =~ /^P/;
	return "$count $row->{interval}";
}

# An instant with Z; a bare date or time is local.
sub instant
{
	my ($text, $zone) = @_;
	return $text =~ /Z$/ ? "'$text'::timestamptz" : "('$text'::timestamp AT TIME ZONE '$zone')";
}

# -- proration --------------------------------------------------------------

sub proration
{
	my $row = shift;
	my $kind = $row->{kind};
	my $basis = $row->{basis};
	my $zone = $row->{timezone} // 'UTC';

	if ($kind eq 'day_count')
	{
		# n of n days of a year cost n: counted as proration counts them.
		my ($from, $to) = map { instant($_, $zone) } @$row{qw(from to)};
		return (undef, 'days counted with both ends') if $basis ne 'local_calendar_days';
		my $start = "(date_trunc('year', $from AT TIME ZONE '$zone') AT TIME ZONE '$zone')";
		my $end = "upper(period_n($start, '1 year', 0, '$zone'))";
		my $days = "(($end AT TIME ZONE '$zone')::date - ($start AT TIME ZONE '$zone')::date)";
		return "prorate(from_minor_units($days, 'JPY'), tstzrange($start, $end), tstzrange($from, $to), 'day', '$zone')::numeric = $row->{expected}";
	}
	return (undef, "basis $basis") if $basis !~ /^(day|second|none)$/;
	if ($kind eq 'fraction')
	{
		return sprintf "%s = round(%s * 1000000000)", share('1000000000', 'JPY', $row, $basis, $zone), $row->{expected};
	}
	if ($kind eq 'amount')
	{
		return (undef, 'a peer whose two ends disagree') if !$row->{verified};
		return (undef, 'credits, which are no currency') if $row->{unit} eq 'credits' && $row->{expected} != 0;
		my $code = $row->{unit} eq 'major' ? 'USD' : 'JPY';
		my $share = share($row->{amount}, $code, $row, $basis, $zone);
		$share = "least($share, $row->{amount} - $row->{already_adjusted})" if defined $row->{already_adjusted};
		return "$share = $row->{expected}";
	}
	return cycles_in_advance($row) if $kind eq 'cycles_in_advance';
	return (undef, "kind $kind");
}

sub share
{
	my ($amount, $code, $row, $basis, $zone) = @_;
	my ($start, $end, $from, $to) = map { instant($_, $zone) } @$row{qw(period_start period_end from to)};
	return sprintf "prorate(amount(%s, '%s'), tstzrange(%s, %s), CASE WHEN %s < %s THEN tstzrange(%s, %s) ELSE 'empty' END, '%s', '%s')::numeric",
		$amount, $code, $start, $end, $from, $to, $from, $to, $basis, $zone;
}

# The cycles to charge in advance by a date: each period that the service covers
# and that has begun, 1 if it covers the whole.  The periods lie on a grid from the
# bill cycle day of the month in which the service starts or, if that is past, a
# cycle later; all are counted in months from a January, so that a day 31 comes
# back after February, but the stub before the first lies in the period that ends there, counted from
# its end.  The peer rounds each part to nine decimals, as a billion yen does.
sub cycles_in_advance
{
	my $row = shift;
	my %months = (month => 1, year => 12);
	my $months = $months{ $row->{interval} } or return (undef, 'cycles of days do not look at a bill cycle day');
	$months *= $row->{interval_count};
	my $anchor = sprintf "'2000-01-%02dZ'", $row->{bill_cycle_day};
	my $start = "'$row->{service_start}Z'::timestamptz";
	my $end = defined $row->{service_end} ? "'$row->{service_end}Z'" : "'infinity'";
	return <<"SQL";
SELECT coalesce(sum(prorate('1000000000 JPY', tstzrange(low, high), tstzrange(a, b), 'day')), '0 JPY')::numeric
	= round($row->{expected} * 1000000000.0)
FROM (SELECT period_at($anchor, '1 month', date_trunc('month', $start, 'UTC') - interval '1 microsecond', 'UTC')) before(before),
	LATERAL (SELECT ((extract(year FROM upper(before.before) AT TIME ZONE 'UTC') - 2000) * 12
		+ extract(month FROM upper(before.before) AT TIME ZONE 'UTC') - 1)::int + CASE WHEN upper(before.before) < $start THEN $months ELSE 0 END) f(first),
	generate_series(-1, 50) n,
	LATERAL (SELECT lower(period_n($anchor, '1 month', first + n * $months, 'UTC')),
		lower(period_n($anchor, '1 month', first + (n + 1) * $months, 'UTC'))) g(low_on_grid, high),
	LATERAL (SELECT CASE WHEN n < 0 THEN lower(period_n(high, '$months months', -1, 'UTC')) ELSE low_on_grid END) p(low),
	LATERAL (SELECT greatest(low, $start), least(high, $end)) part(a, b)
WHERE a < b AND a <= '$row->{bill_through}Z'
SQL
}

# -- derived ----------------------------------------------------------------

sub derived
{
	my $row = shift;
	my $kind = $row->{kind};
	return pricing($row) if $kind eq 'pricing';
	return rounding($row) if $kind eq 'rounding';
	if ($kind eq 'tax' && $row->{lines})
	{
		return sprintf "((SELECT sum(amount(l, 'USD')) FROM unnest('{%s}'::numeric[]) l) * (%s / 100.0))::numeric = %s",
			join(',', @{ $row->{lines} }), $row->{rate_percent}, $row->{expected_rounded_invoice};
	}
	if ($kind eq 'split')
	{
		my $code = $currency{ $row->{decimals} };
		return sprintf "(SELECT array_agg(a::numeric ORDER BY i) FROM unnest(allocate(amount(%s, '%s'), '{%s}'::numeric[])) WITH ORDINALITY u(a, i)) = '{%s}'::numeric[]",
			$row->{total}, $code, join(',', @{ $row->{weights} }), join(',', @{ $row->{expected_largest_remainder} });
	}
	if ($kind eq 'proration_fraction')
	{
		my ($n, $whole) = split m{/}, $row->{days};
		return sprintf "prorate(amount(%s, 'USD'), tstzrange('epoch', timestamptz 'epoch' + interval '%d days'), tstzrange('epoch', timestamptz 'epoch' + interval '%d days'), 'day')::numeric = %s",
			$row->{amount}, $whole, $n, $row->{expected_exact};
	}
	if ($kind eq 'periods')
	{
		my $cycle = "$row->{interval_count} $row->{interval}";
		my $anchor = "('$row->{anchor_local}'::timestamp AT TIME ZONE '$row->{timezone}')";
		return sprintf "(SELECT array_agg(lower(period_n(%s, '%s', k, '%s')) ORDER BY k) FROM generate_series(0, %d) k) = '{%s}'::timestamptz[]",
			$anchor, $cycle, $row->{timezone}, $#{ $row->{expected_boundaries} }, join(',', @{ $row->{expected_boundaries} });
	}
	if ($kind eq 'day_length')
	{
		my $midnight = "('$row->{date}'::timestamp AT TIME ZONE '$row->{timezone}')";
		return "(SELECT upper(p) - lower(p) FROM period_n($midnight, '1 day', 0, '$row->{timezone}') p) = interval '$row->{expected_hours} hours'";
	}
	return (undef, "kind $kind");
}
