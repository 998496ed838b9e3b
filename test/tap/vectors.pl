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

# Rows that the expressions of a file need, filled by its handler.
my @setup;
my $meters = 0;
my $limited = 0;
my $tenants = 0;

my %handler = (
	aggregation => \&aggregation,
	coupons => \&coupons,
	credits => \&credits,
	pricing => \&pricing,
	periods => \&periods,
	proration => \&proration,
	rounding => \&rounding,
	derived => \&derived);

my $node = PostgreSQL::Test::Cluster->new('vectors');
$node->init;
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION billing');
my %zone = map { $_ => 1 } split /\n/, $node->safe_psql('postgres', 'SELECT name FROM pg_timezone_names');
my %exponent = map { split /\|/ } split /\n/, $node->safe_psql('postgres', 'SELECT code, exponent FROM billing.currencies()');

for my $file (sort keys %handler)
{
	next unless -f "$folder/$file.jsonl";
	my (@asked, %skipped);
	for my $row (map { decode_json($_) } grep { /\S/ } split /\n/, slurp_file("$folder/$file.jsonl"))
	{
		my ($sql, $reason) = eval { $handler{$file}->($row) };
		# A row that states less than its kind needs has nothing to compare.
		($sql, $reason) = (undef, 'rows that do not state what their kind needs') if $@;
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
	$script .= "$_;\n" for splice @setup;
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

# -- aggregation ------------------------------------------------------------

# A row's events are those of a meter of its own, half of which are compacted when
# they are asked for.
sub aggregation
{
	my $row = shift;
	my $aggregation = $row->{aggregation};
	return (undef, "aggregation $aggregation") if $aggregation !~ /^(sum|count|max|latest|unique_count|weighted_sum)$/;
	return groups($row) if $row->{group_by};
	return (undef, 'a level carried over from before the period') if $row->{carry_over};
	return (undef, 'a level that is no sum of changes') if ($row->{initial} // 0) != 0 && $aggregation ne 'weighted_sum';
	return (undef, 'values that are taken away again') if grep { ($_->{operation} // $_->{op} // 'add') ne 'add' } @{ $row->{events} };

	my $meter = 'vector.' . ++$meters;
	my (%seen, @values);
	# What a peer filters when it reads is recorded for another meter; the level that a period begins with is a change at its start.
	my @events = grep { is_wanted($row, $_->{dims} // {}) } @{ $row->{events} };
	unshift @events, { at => $row->{from}, value => $row->{initial} } if ($row->{initial} // 0) != 0;
	for my $event (@events)
	{
		my $id = "$meter " . (defined $event->{id} ? "$event->{id} $event->{at}" : @values);
		my $body = $json->encode($event);
		next if ($seen{$id} // '') eq $body;
		return (undef, 'a second copy of an event that replaces the first') if $seen{$id};
		$seen{$id} = $body;
		my $number = ($event->{value} // '') =~ /^-?[0-9.]+$/ ? $event->{value} : undef;
		return (undef, 'values that are no numbers') if !defined $number && $aggregation !~ /count/;
		push @values, sprintf "(1, %s, %s, %s, '%s', %s)", quote($id), quote($meter), $number // 1, $event->{at},
			defined $event->{value} ? 'jsonb_build_object(\'value\', ' . quote($event->{value}) . ')' : 'NULL';
	}
	push @setup, "INSERT INTO tenant (tenant_id, name) VALUES (1, 'one') ON CONFLICT DO NOTHING",
		sprintf "INSERT INTO meter (code, aggregation) VALUES (%s, '%s')", quote($meter), $aggregation;
	my $insert = 'INSERT INTO usage_event (tenant_id, event_id, meter, quantity, at, properties) VALUES ';
	push @setup, map { $insert . $_ } @values[ 0 .. $#values / 2 ] if @values;
	push @setup, 'CALL compact_usage()';
	push @setup, map { $insert . $_ } @values[ @values / 2 .. $#values ] if @values > 1;

	my $quantity = sprintf "usage(1, %s, tstzrange('%s', '%s'))", quote($meter), $row->{from}, $row->{as_of} // $row->{to};
	return (undef, 'no value where ours is 0') if !defined $row->{expected} && $aggregation !~ /max|latest/;
	return "$quantity IS NULL" if !defined $row->{expected};
	# What is negative is kept as measured, and billed as zero; so is no value.
	$quantity = "greatest($quantity, 0)" if $row->{clamp_negative};
	$quantity = "coalesce($quantity, 0)" if $row->{expected} == 0;
	my $decimals = $row->{decimals} // 20;
	return "ceil($quantity * 1e$decimals) / 1e$decimals = $row->{expected}" if ($row->{rounding} // '') eq 'ceil';
	return "round($quantity, $decimals) = $row->{expected}";
}

# A group is a meter of its own: the row for each of them, and there are no others.
sub groups
{
	my $row = shift;
	my @keys = @{ $row->{group_by} };
	my $name = sub { my $dims = shift; join "\0", map { $dims->{$_} // "\1" } @keys };
	my %events;
	push @{ $events{ $name->($_->{dims} // {}) } }, $_ for grep { is_wanted($row, $_->{dims} // {}) } @{ $row->{events} };
	my @conditions;
	for my $group (@{ $row->{expected_groups} })
	{
		my %one = (%$row, expected => $group->{value}, events => delete $events{ $name->($group->{group}) } // []);
		delete @one{qw(group_by match exclude)};
		my ($condition, $reason) = aggregation(\%one);
		return (undef, $reason) if !defined $condition;
		push @conditions, $condition;
	}
	return %events ? 'false' : join ' AND ', @conditions;
}

# All of match hold, and no entry of exclude is fulfilled.
sub is_wanted
{
	my ($row, $dims) = @_;
	my $fulfills = sub {
		my $filter = shift;
		return !grep { my $key = $_; !grep { defined $dims->{$key} && $_ eq $dims->{$key} } @{ $filter->{$key} } } keys %$filter;
	};
	return $fulfills->($row->{match} // {}) && !grep { %$_ && $fulfills->($_) } @{ $row->{exclude} // [] };
}

# -- coupons ----------------------------------------------------------------

# What coupons take off lines: billing.discount, given what is left of each.
sub coupons
{
	my $row = shift;
	my $currency = uc($row->{currency} // $currency{ $row->{decimals} // 2 } // 'USD');
	return (undef, 'currencies that ISO 4217 does not have') if !exists $exponent{$currency};
	return redemptions($row) if $row->{invoices};

	my @coupons = (map({ { %$_, eligible => [ $_->{line} ] } } @{ $row->{line_coupons} // [] }), @{ $row->{invoice_coupons} // [] }, @{ $row->{coupons} // [] });
	return (undef, 'percentages above 100 or finer than millionths of a percent')
		if grep { $_->{type} eq 'percentage' && ($_->{value} > 100 || $_->{value} =~ /\.\d{7}/) } @coupons;
	my $amount = sub {
		my ($value, $code) = @_;
		$code //= $currency;
		return $row->{unit} eq 'minor' ? "amount(($value)::numeric / 10::numeric ^ $exponent{$code}, '$code')" : "amount($value, '$code')";
	};
	my @lines = map { $amount->("$_->{amount} - " . ($_->{already_discounted} // 0)) } @{ $row->{lines} };
	my @terms = map {
		my $is_fixed = $_->{type} eq 'fixed';
		sprintf "ROW('C', %s, %s, %s, NULL, NULL, %s, NULL, true)::coupon_terms", $is_fixed ? 'NULL' : $_->{value},
			$is_fixed ? $amount->($_->{remaining} // $_->{value}, uc($_->{currency} // $currency)) : 'NULL',
			$is_fixed ? quote(uc($_->{currency} // $currency)) : 'NULL',
			$_->{eligible} ? quote('{' . join(',', @{ $_->{eligible} }) . '}') . '::text[]' : 'NULL::text[]';
	} grep { !defined $_->{periods_remaining} || $_->{periods_remaining} > 0 } @coupons;
	my $made = sprintf "discount('$currency', ARRAY[%s]::amount[], ARRAY[%s]::coupon_terms[], %s)", join(',', @lines), join(',', @terms),
		quote('{' . join(',', map { $_->{id} } @{ $row->{lines} }) . '}');

	my $expected = $row->{expected} // {};
	my @wanted = map { defined $_ ? "d.discount = " . $amount->($_) : () } $row->{expected_discount}, $expected->{discount};
	my $is = sub {
		my ($column, $values) = @_;
		push @wanted, sprintf "d.$column = ARRAY[%s]::amount[]", join(',', map { $amount->($_) } @$values) if $values;
	};
	$is->('line_discounts', $row->{expected_line_discounts});
	$is->('coupon_discounts', $row->{expected_per_coupon});
	$is->('line_discounts', [ map { "$row->{expected_line_discounts_total}[$_] - " . ($row->{lines}[$_]{already_discounted} // 0) } 0 .. $#lines ])
		if $row->{expected_line_discounts_total};
	my $sum = '(' . join(' + ', @lines) . ')';
	push @wanted, "$sum - d.discount = " . $amount->($row->{expected_net})
		if defined $row->{expected_net} && !grep { ($_->{amount} // '') =~ /\.\d{@{[ $exponent{$currency} + 1 ]},}/ } @{ $row->{lines} };
	# What prepaid credits pay is behind the total.
	push @wanted, "$sum = " . $amount->($expected->{subtotal}) if defined $expected->{subtotal};
	push @wanted, "$sum - d.discount = " . $amount->("$expected->{total} + $expected->{credits_applied}")
		if defined $expected->{total} && defined $expected->{credits_applied};
	push @wanted, sprintf 'd.coupon_left[1] = %s', $amount->(0)
		if ($row->{expected_state}{coupon} // '') eq 'exhausted' && @coupons == 1 && $coupons[0]{type} eq 'fixed';
	return (undef, 'rows that state no discount') if !@wanted;
	return "SELECT " . join(' AND ', @wanted) . " FROM $made d";
}

# A limit is that many uses; what comes after them is refused, where a peer lets it pass without a discount.
sub redemptions
{
	my $row = shift;
	my ($coupon) = @{ $row->{coupons} };
	my $code = 'VECTOR' . ++$limited;
	return (undef, 'redemptions of more than one coupon') if @{ $row->{coupons} } != 1 || !defined $coupon->{max_redemptions};
	push @setup, "INSERT INTO tenant (tenant_id, name) VALUES (2, 'two') ON CONFLICT DO NOTHING",
		sprintf "INSERT INTO coupon (code, kind, value, currency, redemption_limit, tenant_limit) VALUES ('$code', '%s', %s, %s, %s, NULL)", @$coupon{qw(type value)},
		$coupon->{type} eq 'fixed' ? "'USD'" : 'NULL', $coupon->{max_redemptions};
	my $n = 0;
	for my $amount (@{ $row->{invoices} })
	{
		push @setup, sprintf "SELECT FROM create_invoice(2, '$code %d', %s, coupon => CASE WHEN (validate_coupon(2, '$code')).valid THEN '$code' END)", ++$n,
			quote($json->encode([ { description => 'vector', amount => $amount } ]));
	}
	return sprintf "(SELECT count(*) FROM coupon_use WHERE coupon = '$code') = %d AND (SELECT array_agg(minor_units(discount) > 0 ORDER BY invoice_id) FROM invoice"
		. " WHERE biz_key LIKE '$code %%') = '{%s}'", $row->{expected_redemptions}, join(',', map { $_ ? 't' : 'f' } @{ $row->{expected_discount_nonzero} });
}

# -- pricing ----------------------------------------------------------------

sub pricing
{
	my $row = shift;
	my $p = $row->{params};
	my $position = $row->{position} // 'whole_period';
	my $quantity = $row->{quantity};
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

	return (undef, 'cuts of a period, which the bill run makes')
		if $position ne 'whole_period' && ($row->{model} eq 'flat' || ($row->{model} eq 'volume' && $position eq 'mid_split' && !$row->{cumulative}));
	return (undef, 'units counted in whole packages of one')
		if defined $quantity && $quantity =~ /\./ && grep { defined $_->{package_size} } @{ $p->{tiers} // [] };
	return (undef, 'events without a quantity') if $p->{events} && @{ $p->{events} } && $quantity == 0;

	my %tariff = (model => $row->{model}, currency => $currency{ $row->{decimals} // 2 } // 'USD');
	if ($row->{model} eq 'package')
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
	my $free = 0;
	$free += $p->{$_} // 0 for qw(free_units free_amount usage_discount);
	$tariff{free_units} = "$free" if $free;
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
	my $decimals = $row->{decimals} // 2;
	my $convert = $p->{convert};
	my $charge = sub {
		my ($q, %change) = @_;
		$q = converted($q, $convert) if $convert;
		my $tariff = tariff({ %tariff, %change });
		return "charge_exact($tariff, $q, $n)" if !$row->{rounded};
		return "charge($tariff, $q, $n)::numeric" if exists $currency{$decimals};
		return "round(charge_exact($tariff, $q, $n), $decimals)";
	};
	if ($row->{cumulative})
	{
		return $charge->($quantity) . " - $row->{prior_billed} = $row->{expected}";
	}
	if (defined $row->{prior_quantity} && $row->{prior_quantity} != 0)
	{
		return sprintf '%s - %s = %s', $charge->("$quantity + $row->{prior_quantity}"),
			$row->{prior_billed} // $charge->($row->{prior_quantity}, minimum => undef), $row->{expected};
	}
	return $charge->($quantity) . " = $row->{expected}";
}

# The quantity in another unit, as the application that measures it converts it.
sub converted
{
	my ($quantity, $convert) = @_;
	my %sign = (divide => '/', multiply => '*');
	my %round = (ceiling => 'ceil', floor => 'floor', half_up => 'round', none => '');
	my $round = $round{ $convert->{round} // 'none' } // die 'unknown rounding';
	my $sign = $sign{ $convert->{operation} } // die 'unknown conversion';
	return "$round(($quantity)::numeric $sign $convert->{factor})";
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
	return (undef, 'currencies that ISO 4217 does not have') unless exists $exponent{ uc $code };
	return (undef, 'decimals other than those of ISO 4217')
		if defined $row->{decimals} && $row->{decimals} != $exponent{ uc $code };

	if ($kind eq 'currency' || $kind eq 'rounding')
	{
		return (undef, 'beyond the range of billing.amount')
			if abs($row->{amount}) > 9.2e18 / 10**$exponent{ uc $code };
		return "amount($row->{amount}, '$code')::numeric = $row->{expected}";
	}
	return "(SELECT exponent FROM currencies() WHERE code = upper('$code')) = $row->{expected}"
		if $kind eq 'currency_decimals';
	my ($rates) = grep { ref eq 'ARRAY' } @$row{qw(rates rate_percents rates_percent)};
	return tax($code, [ $row->{amount} ], [ $row->{discount} // 0 ], [ map { ref ? $_->{rate_percent} // $_->{percent} : $_ } @{ $rates // [ $row->{rate_percent} ] } ])
		. " = $row->{expected}"
		if $kind =~ /^tax/ && defined $row->{amount} && ($rates || defined $row->{rate_percent});
	return (undef, 'rounding of measured quantities') if $kind eq 'units';
	return (undef, "kind $kind");
}

# The tax on lines less their discounts, of rates that are added, each rounded once.
sub tax
{
	my ($code, $amounts, $discounts, $rates) = @_;
	my $array = sub { "ARRAY[" . join(', ', map { "amount($_, '$code')" } @_) . ']' };
	return sprintf '(SELECT (compose(\'%s\', %s, %s, ARRAY[%s]::applied_tax[])).tax::numeric)', $code, $array->(@$amounts), $array->(@$discounts),
		join ', ', map { "ROW(NULL, $_, false, NULL, NULL)" } @$rates;
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
	if ($select eq 'divisible')
	{
		return (undef, 'a cycle that is zero or negative is refused')
			if grep { /-/ || !/[1-9]/ } @$row{qw(divisor interval)};
		return sprintf "cycle_divides('%s', '%s') = %s", $row->{divisor}, $row->{interval}, $row->{expected} ? 'true' : 'false';
	}
	return (undef, 'a boundary that is not anchor + k x interval')
		if exists $row->{pure_recurrence} && !$row->{pure_recurrence};
	return (undef, 'an input that a peer refuses') if defined $row->{expected_error};

	my $cycle = cycle($row);
	my $at = instant($row->{at}, $zone);
	my $anchor = defined $row->{anchor} ? instant($row->{anchor}, $zone) : $at;
	return (undef, 'a time zone that does not exist is refused') if !$zone{$zone};
	if (($row->{mode} // '') eq 'calendar' && !($row->{pure_recurrence} && defined $row->{anchor}))
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
		my $end = "upper($p)";
		$start = "greatest($start, " . instant($row->{subscription_start}, $zone) . ')' if defined $row->{subscription_start};
		$end = "least($end, " . instant($row->{subscription_end}, $zone) . ')' if defined $row->{subscription_end};
		push @conditions, "$start = " . instant($row->{expected_start}, $zone) if defined $row->{expected_start};
		push @conditions, "$end = " . instant($row->{expected_end}, $zone)
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
		# The day comes every month, however long the cycle that begins on it.
		push @conditions, "upper(period_at($anchor, '1 month', $at - interval '1 microsecond', '$zone')) = "
			. instant($row->{expected_end}, $zone);
	}
	elsif ($select eq 'list')
	{
		my @ends = map { instant($_, $zone) } @{ $row->{expected_ends} // [] };
		my $stop = defined $row->{subscription_end} ? instant($row->{subscription_end}, $zone) : undef;
		my $limit = $stop // 'NULL::timestamptz';
		my $list = "SELECT array_agg(least(upper(p), $limit) ORDER BY n) FROM generate_series(0, 1000) n,"
			. " LATERAL period_n($anchor, '$cycle', n, '$zone') p WHERE lower(p) >= $at" . (defined $stop ? " AND lower(p) < $stop" : '');
		push @conditions, '(' . $list . ')[1:' . @ends . '] = ARRAY[' . join(', ', @ends) . ']' if @ends;
		push @conditions, "cardinality(($list)) = $row->{expected_count}" if defined $stop && defined $row->{expected_count};
	}
	elsif ($select eq 'advance' && !ref $row->{interval})
	{
		push @conditions, "lower(period_n($at, '1 $row->{interval}', $row->{interval_count}, '$zone')) = " . instant($row->{expected_end}, $zone);
	}
	elsif ($select eq 'advance' || $select eq 'add_duration')
	{
		return (undef, 'a cycle that is zero or negative is refused') if $cycle =~ /-/ || $cycle !~ /[1-9]/;
		push @conditions, "upper(period_n($at, '$cycle', 0, '$zone')) = " . instant($row->{expected_end}, $zone);
	}
	elsif ($select eq 'floor')
	{
		push @conditions, 'lower(' . $period->($at) . ') = ' . instant($row->{expected_start}, $zone);
	}
	elsif ($select eq 'billable_list')
	{
		# In arrears: what the subscription has of each period, once that is over.  The
		# periods are counted from the first bill cycle day, in months.
		my %months = (month => 1, year => 12);
		my $months = ($months{ $row->{interval} } or return (undef, 'cycles of days do not look at a bill cycle day')) * $row->{interval_count};
		my $from = instant($row->{subscription_start}, $zone);
		my $life = sprintf 'tstzrange(%s, %s)', $from,
			defined $row->{subscription_end} ? instant($row->{subscription_end}, $zone) : 'NULL';
		my $expected = join ', ', map { sprintf 'tstzrange(%s, %s)', map { instant($_, $zone) } @$_ } @{ $row->{expected_periods} };
		push @conditions, <<"SQL";
(SELECT array_agg(b ORDER BY n)
	FROM (SELECT upper(period_at($anchor, '1 month', $from - interval '1 microsecond', '$zone')) AT TIME ZONE '$zone') f(first),
		LATERAL (SELECT ((extract(year FROM first) - 2000) * 12 + extract(month FROM first) - 1)::int) m(month),
		generate_series(-1, 200) n,
		LATERAL (SELECT tstzrange(lower(period_n($anchor, '1 month', month + n * $months, '$zone')),
			lower(period_n($anchor, '1 month', month + (n + 1) * $months, '$zone'))) * $life) x(b)
	WHERE NOT isempty(b) AND upper(b) <= $at) IS NOT DISTINCT FROM nullif(ARRAY[$expected]::tstzrange[], '{}')
SQL
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
		# n of 1000 days cost n of 1000: counted as proration counts them.
		return (undef, 'days counted with both ends') if $basis ne 'local_calendar_days';
		my ($from, $to) = map { instant($_, $zone) } @$row{qw(from to)};
		my $end = "(($from AT TIME ZONE '$zone' + interval '1000 days') AT TIME ZONE '$zone')";
		return "prorate('1000 JPY', tstzrange($from, $end), CASE WHEN $from < $to THEN tstzrange($from, $to) ELSE 'empty' END, 'day', '$zone')::numeric = $row->{expected}";
	}
	$basis = 'day' if $basis eq 'local_calendar_days';
	return (undef, "basis $basis") if $basis !~ /^(day|second|none)$/;
	if ($kind eq 'fraction')
	{
		return sprintf "%s = round(%s * 1000000000)", share('1000000000', 'JPY', $row, $basis, $zone), $row->{expected};
	}
	return (undef, 'a peer whose two ends disagree') if !$row->{verified};
	return (undef, 'an empty period is refused') if defined $row->{period_start} && $row->{period_start} eq $row->{period_end};
	if ($kind eq 'amount')
	{
		my ($share, $tolerance) = scaled_share($row, $row->{amount}, $row->{expected});
		$share = "least($share, $row->{amount} - $row->{already_adjusted})" if defined $row->{already_adjusted};
		return "abs($share - $row->{expected}) <= $tolerance";
	}
	if ($kind eq 'change')
	{
		my ($credit, $tolerance) = scaled_share($row, $row->{old_amount}, $row->{expected_credit});
		my ($charge) = scaled_share($row, $row->{new_amount}, $row->{expected_charge});
		return "abs($credit - $row->{expected_credit}) <= $tolerance AND abs($charge - $row->{expected_charge}) <= $tolerance";
	}
	return cycles_in_advance($row) if $kind eq 'cycles_in_advance';
	return (undef, "kind $kind");
}

# The share of an amount to as many decimals as the row states, and by how much the
# peer may differ: a part that does not begin with its period is the difference of
# two rounded sums (so that parts add up), where a peer rounds the part by itself.
sub scaled_share
{
	my ($row, $amount, $expected) = @_;
	my $decimals = ($row->{unit} // 'major') eq 'minor' ? 0 : 2;
	$decimals = length $1 if $expected =~ /\.(\d+)$/ && length $1 > $decimals;
	my $unit = '1' . '0' x $decimals;
	my $whole_from = $row->{from} // $row->{at};
	return (share("$amount * $unit", 'JPY', $row, $row->{basis}, $row->{timezone} // 'UTC') . " / $unit",
		$whole_from eq $row->{period_start} ? '0' : "1.0 / $unit");
}

sub share
{
	my ($amount, $code, $row, $basis, $zone) = @_;
	$basis = 'day' if $basis eq 'local_calendar_days';
	my ($start, $end, $from, $to) = map { instant($_, $zone) } @$row{qw(period_start period_end)},
		$row->{from} // $row->{at}, $row->{to} // $row->{period_end};
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

# -- credits ----------------------------------------------------------------

# Each row has a tenant of its own, whose grants bear their ids as reasons.
sub credits
{
	my $row = shift;
	my $kind = $row->{kind};
	return (undef, 'errors of balances that are fed by hand') if defined $row->{expected_error};
	return (undef, 'grants that are deleted') if grep { defined $_->{deleted_at} } $row, @{ $row->{grants} // [] };
	return allocation($row) if $kind eq 'wallet_allocation';
	return grants_and_usage($row) if $kind eq 'grant_burn_down';
	return (undef, "kind $kind") if $kind ne 'effective_period' && $kind ne 'active_at';

	my $tenant = tenant();
	push @setup, grant($tenant, { id => 'g', amount => 5, %$row }, 'USD');
	push @setup, at($row->{voided_at}), "SELECT void_grant($tenant, grant_id) FROM credit_grant WHERE tenant_id = $tenant" if defined $row->{voided_at};
	push @setup, 'RESET billing.test_clock';
	my $active = sub { "wallet_balance($tenant, at => " . shift() . ") = '5 USD'" };
	return '(' . $active->("'$row->{at}'") . ') = ' . ($row->{expected} ? 'true' : 'false') if $kind eq 'active_at';
	return $active->("timestamptz '$row->{effective_at}' + interval '100 years'") if !defined $row->{expected_end};
	my $end = "timestamptz '$row->{expected_end}'";
	return 'NOT ' . $active->($end) if $row->{expected_end} eq $row->{effective_at};
	return $active->("$end - interval '1 us'") . ' AND NOT ' . $active->($end);
}

sub tenant
{
	my $tenant = 500_000 + ++$tenants;
	push @setup, "SELECT create_tenant($tenant, 'vector', 'USD')";
	return $tenant;
}

sub at { return "SET billing.test_clock = '" . shift() . "'" }

# A grant, made when it was, or when it begins to count.
sub grant
{
	my ($tenant, $grant, $currency) = @_;
	my $made_at = $grant->{created_at} // $grant->{effective_at};
	my $from = $made_at gt $grant->{effective_at} ? $made_at : $grant->{effective_at};
	return (at($made_at),
		sprintf "SELECT grant_credit(%d, amount(%s, '%s'), effective_at => '%s', priority => %d, reason => %s%s%s%s)", $tenant, $grant->{amount},
			$currency, $from, $grant->{priority} // 50, quote($grant->{id}),
			defined $grant->{expires_at} ? ", expires_at => '$grant->{expires_at}'" : '',
			defined $grant->{recurrence} ? ", recurrence => '1 $grant->{recurrence}{interval}'" : '',
			join '', map { defined $grant->{$_} ? ", $_ => amount($grant->{$_}, '$currency')" : () } qw(rollover_min rollover_max));
}

# What one need takes of each grant.
sub burn_down
{
	my $row = shift;
	my $tenant = tenant();
	push @setup, map { grant($tenant, $_, 'USD') } sort { $a->{created_at} cmp $b->{created_at} || $a->{id} cmp $b->{id} } @{ $row->{grants} };
	my $use = $row->{expected_use};
	my $covered = $row->{need} - $row->{expected_uncovered};
	push @setup, at($row->{at}), "SELECT consume($tenant, amount($covered, 'USD'), NULL, 'need')" , 'RESET billing.test_clock';
	return sprintf "(SELECT jsonb_object_agg(g.reason, -e.amount::numeric) FROM wallet_entry e JOIN credit_grant g USING (tenant_id, grant_id) WHERE e.tenant_id = %d AND e.kind = 'consume') = jsonb_build_object(%s)%s",
		$tenant, join(', ', map { quote($_) . ", $use->{$_}.00" } sort keys %$use),
		$row->{expected_uncovered} ? " AND wallet_balance($tenant, at => '$row->{at}') = '0 USD'" : '';
}

# Usage in the order of time, beyond what was granted on credit.  A renewal is all that resets a balance.
sub grants_and_usage
{
	my $row = shift;
	my @grants = @{ $row->{grants} };
	return (undef, 'resets of usage that are no renewal')
		if @{ $row->{resets} // [] } && (grep { !defined $_->{recurrence} } @grants or grep { $_ ne $row->{until} } @{ $row->{resets} });
	return (undef, 'rollover that is not by renewal') if !@{ $row->{resets} // [] } && grep { !defined $_->{recurrence} && (defined $_->{rollover_min} || defined $_->{rollover_max}) } @grants;
	return (undef, 'recurrence from another instant than the grant counts from') if grep { defined $_->{recurrence} && $_->{recurrence}{anchor} ne $_->{effective_at} } @grants;
	return (undef, 'balances that are fed by hand')
		if grep { my $g = $_; my ($given) = grep { $_->{id} eq $g } @grants; !defined $given || $row->{starting_balances}{$g} != $given->{amount} } keys %{ $row->{starting_balances} // {} };
	return (undef, 'grants that are voided') if grep { defined $_->{voided_at} } @grants;
	return (undef, 'usage that is not added up') if ($row->{meter_aggregation} // 'sum') !~ /^sum$/i;
	my $tenant = tenant();
	my @steps = map { my $g = $_; [ $g->{effective_at}, [ grant($tenant, $g, 'USD') ] ] } @grants;
	my $n = 0;
	push @steps, map { [ $_->{at}, [ at($_->{at}), sprintf "SELECT consume(%d, amount(%s, 'USD'), NULL, 'u%d')", $tenant, $_->{quantity}, ++$n ] ] }
		grep { $_->{at} lt $row->{until} && $_->{quantity} != 0 } @{ $row->{usage} };
	return (undef, 'usage of less than a cent') if grep { $_->{quantity} =~ /\.\d\d\d/ } @{ $row->{usage} };
	push @setup, "SELECT update_tenant($tenant, '{\"settings\": {\"credit_limit\": \"1000000 USD\"}}')";
	push @setup, map { @{ $_->[1] } } sort { $a->[0] cmp $b->[0] } @steps;
	push @setup, 'RESET billing.test_clock';
	my $total = 0;
	$total += $_ for values %{ $row->{expected_balances} // {} };
	$total -= $row->{expected_overage} // 0;
	return sprintf "wallet_balance(%d, at => '%s')::numeric = %s", $tenant, $row->{until}, $total;
}

# What an invoice draws of each grant; ours are for invoices as a whole.
sub allocation
{
	my $row = shift;
	my $sum = 0;
	$sum += $_->{amount} for @{ $row->{lines} };
	return (undef, 'credit for some lines of an invoice only') if grep { @{ $_->{only} // [] } } @{ $row->{wallets} };
	return (undef, 'top-ups within a wallet') if grep { $_->{top_ups} } @{ $row->{wallets} };
	return (undef, 'totals that are not those of the lines') if $sum != $row->{invoice_total} || $row->{unit} ne 'minor' || $sum !~ /^\d+$/;
	my $tenant = tenant();
	push @setup, at('2024-01-01T00:00:00Z'), map { grant($tenant, { %$_, amount => $_->{balance} / 100, effective_at => '2024-01-01T00:00:00Z' }, $_->{currency} // 'USD') } grep { $_->{balance} > 0 } @{ $row->{wallets} };
	push @setup, sprintf("SELECT create_invoice(%d, 'vector', '[{\"description\": \"all\", \"amount\": \"%s\"}]')", $tenant, $sum / 100), 'RESET billing.test_clock';
	my $expected = $row->{expected};
	return sprintf "(SELECT coalesce(jsonb_object_agg(g.reason, -minor_units(e.amount)), '{}') FROM wallet_entry e JOIN credit_grant g USING (tenant_id, grant_id) WHERE e.tenant_id = %d AND e.kind = 'draw') = jsonb_build_object(%s)",
		$tenant, join(', ', map { quote($_) . ", $expected->{$_}" } grep { $expected->{$_} != 0 } sort keys %$expected);
}

# -- derived ----------------------------------------------------------------

sub derived
{
	my $row = shift;
	my $kind = $row->{kind};
	return pricing($row) if $kind eq 'pricing';
	return rounding($row) if $kind eq 'rounding';
	return aggregation($row) if $kind eq 'aggregation';
	return burn_down($row) if $kind eq 'credits';
	if ($kind eq 'tax' && $row->{lines})
	{
		return tax('USD', $row->{lines}, [ map { 0 } @{ $row->{lines} } ], [ $row->{rate_percent} ]) . " = $row->{expected_rounded_invoice}";
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
