/*
 * webhook_sink.c
 *	  An HTTP server that answers every POST with 204, as fast as it can: what both sides of the measure send to.
 *
 * Prints its port.  For each POST to /latency it prints when its first byte came, in microseconds
 * since 1970.  GET /count answers how many there have been.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define BUFFER_BYTES 65536
#define MAX_CONNECTIONS 4096

typedef struct Connection
{
	char		data[BUFFER_BYTES];
	size_t		len;
	long long	first_byte;
} Connection;

static Connection *connections[MAX_CONNECTIONS];
static long count = 0;

static long long
now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return t.tv_sec * 1000000LL + t.tv_nsec / 1000;
}

static void
reply(int fd, const char *status, const char *body)
{
	char		answer[256];
	int			len = snprintf(answer, sizeof(answer), "HTTP/1.1 %s\r\n", status);

	if (body[0] != '\0')
		len += snprintf(answer + len, sizeof(answer) - len, "Content-Length: %zu\r\n", strlen(body));
	len += snprintf(answer + len, sizeof(answer) - len, "\r\n%s", body);
	if (write(fd, answer, len) != len)
		perror("write");
}

/* Answer the whole requests in a connection's buffer; 0 if there is no sense in them. */
static int
serve(int fd, Connection *c)
{
	for (;;)
	{
		char	   *end = memmem(c->data, c->len, "\r\n\r\n", 4);
		char	   *length;
		size_t		body = 0;
		size_t		size;

		if (end == NULL)
			return c->len < BUFFER_BYTES;
		*end = '\0';
		length = strcasestr(c->data, "\r\ncontent-length:");
		if (length != NULL)
			body = strtoul(length + strlen("\r\ncontent-length:"), NULL, 10);
		size = end + 4 - c->data + body;
		*end = '\r';
		if (size > c->len)
			return size <= BUFFER_BYTES;

		if (strncmp(c->data, "GET", 3) == 0)
		{
			char		text[32];

			snprintf(text, sizeof(text), "%ld", count);
			reply(fd, "200 OK", text);
		}
		else
		{
			count++;
			if (strncmp(c->data, "POST /latency", 13) == 0)
			{
				printf("%lld\n", c->first_byte);
				fflush(stdout);
			}
			reply(fd, "204 No Content", "");
		}
		memmove(c->data, c->data + size, c->len - size);
		c->len -= size;
		c->first_byte = now();
	}
}

int
main(void)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t	size = sizeof(address);
	int			listener = socket(AF_INET, SOCK_STREAM, 0);
	int			ep = epoll_create1(0);
	struct epoll_event event = {.events = EPOLLIN, .data.fd = listener};
	struct epoll_event events[256];
	int			on = 1;

	if (bind(listener, (struct sockaddr *) &address, size) != 0 || listen(listener, 1024) != 0 ||
		getsockname(listener, (struct sockaddr *) &address, &size) != 0)
		return perror("listen"), 1;
	epoll_ctl(ep, EPOLL_CTL_ADD, listener, &event);
	printf("%d\n", ntohs(address.sin_port));
	fflush(stdout);

	for (;;)
	{
		int			n = epoll_wait(ep, events, 256, -1);

		for (int i = 0; i < n; i++)
		{
			int			fd = events[i].data.fd;
			Connection *c;
			ssize_t		got;

			if (fd == listener)
			{
				fd = accept(listener, NULL, NULL);
				if (fd < 0 || fd >= MAX_CONNECTIONS)
					return fprintf(stderr, "too many connections\n"), 1;
				setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
				connections[fd] = calloc(1, sizeof(Connection));
				event.data.fd = fd;
				epoll_ctl(ep, EPOLL_CTL_ADD, fd, &event);
				continue;
			}
			c = connections[fd];
			got = read(fd, c->data + c->len, BUFFER_BYTES - c->len);
			if (c->len == 0)
				c->first_byte = now();
			if (got > 0)
				c->len += got;
			if (got <= 0 || !serve(fd, c))
			{
				close(fd);
				free(c);
			}
		}
	}
}
