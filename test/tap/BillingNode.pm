# A server with the worker and a key, as the tests of what goes over a network have it.
package BillingNode;
use strict;
use warnings FATAL => 'all';
use PostgreSQL::Test::Utils;

# The jobs of the worker run by the minute, whatever a test is at: one that collects what an earlier part left unpaid would meet the fault that the
# part at hand has set for its own request.  A test that needs one orders a run of it.
our $no_jobs = 'INSERT INTO billing.job (name, is_enabled) SELECT name, false FROM billing.job_default';

# Initialize and start a node, with these lines more in its configuration.
sub start
{
	my ($node, @lines) = @_;
	my $keys = $node->basedir . '/keys';
	append_to_file($keys, 'test ' . '7' x 64 . "\n");
	chmod 0600, $keys;
	$node->init(extra => ['--encoding=UTF8', '--locale=C']);
	$node->append_conf('postgresql.conf', join("\n", "shared_preload_libraries = 'billing'", "billing.databases = 'postgres'", "billing.key_file = '$keys'",
		'billing.webhook_allow_private = on', @lines));
	$node->start;
}

1;
