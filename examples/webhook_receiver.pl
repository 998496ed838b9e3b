#!/usr/bin/env perl
# webhook_receiver.pl SECRET_FILE - receive webhooks, verify each by the rule of Standard Webhooks 1.0, and say what came.
#
# Perl and nothing else.  Prints the port that it listens on, on the loopback, and then a line for each webhook.  The secret,
# whsec_..., is read from the file when the first one comes.
use strict;
use warnings FATAL => 'all';
use Digest::SHA qw(hmac_sha256);
use IO::Socket::INET;
use JSON::PP;
use MIME::Base64 qw(decode_base64 encode_base64);

my ($secret_file) = @ARGV;
my %seen;
my $listener = IO::Socket::INET->new(Listen => 16, LocalAddr => '127.0.0.1') or die "could not listen: $!\n";
$| = 1;
print $listener->sockport, "\n";

while (my $client = $listener->accept)
{
	my ($headers, $body) = read_request($client) or next;
	my $verified = verify($headers, $body);
	print $client 'HTTP/1.1 ', ($verified ? '204 No Content' : '400 Bad Request'), "\r\nConnection: close\r\n\r\n";
	close $client;
	print describe($headers, $body, $verified), "\n";
}

# The headers, by their names in lower case, and the body, byte by byte as it came.
sub read_request
{
	my ($client) = @_;
	my (%headers, $body);
	<$client> // return;
	while (defined(my $line = <$client>))
	{
		$line =~ s/\r?\n\z//;
		last if $line eq '';
		$headers{lc $1} = $2 if $line =~ /^([^:]+):\s*(.*)$/;
	}
	read $client, $body, $headers{'content-length'} // 0;
	return (\%headers, $body);
}

# One of the signatures is that of id.timestamp.body, and the timestamp is of the last five minutes.
sub verify
{
	my ($headers, $body) = @_;
	my ($id, $timestamp) = @$headers{'webhook-id', 'webhook-timestamp'};
	my $expected = 'v1,' . encode_base64(hmac_sha256("$id.$timestamp.$body", decode_base64(secret() =~ s/^whsec_//r)), '');
	return abs(time - $timestamp) < 300 && grep { $_ eq $expected } split / /, $headers->{'webhook-signature'};
}

sub secret
{
	open my $file, '<', $secret_file or die "could not read $secret_file: $!\n";
	chomp(my $secret = <$file>);
	return $secret;
}

sub describe
{
	my ($headers, $body, $verified) = @_;
	return "$headers->{'webhook-id'}: refused, its signature is wrong" if !$verified;
	return "$headers->{'webhook-id'}: seen before" if $seen{$headers->{'webhook-id'}}++;
	my $event = decode_json($body);
	my $object = $event->{data}{object};
	return sprintf '%s: verified %s%s', $headers->{'webhook-id'}, $event->{type},
		defined $object->{total} ? ", $object->{number} over $object->{total} $object->{currency}" : '';
}
