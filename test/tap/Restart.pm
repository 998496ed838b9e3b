# A server that starts again by itself after one of its processes was killed.
package Restart;
use strict;
use warnings FATAL => 'all';
use Time::HiRes qw(usleep);

# Wait until the killed process is gone and its server takes connections again; whether it does.  No query is asked: psql
# that is refused reads none, of which IPC::Run may die.
sub wait_for
{
	my ($node, $killed) = @_;

	for (1 .. 1800)
	{
		return 1 if !kill(0, $killed) && system('pg_isready', '-q', '-h', $node->host, '-p', $node->port) == 0;
		usleep(100_000);
	}
	return 0;
}

1;
