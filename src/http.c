/*-------------------------------------------------------------------------
 *
 * http.c
 *	  Transfers over the network, many at a time, by libcurl's multi interface.
 *
 * libcurl says which sockets it waits for; they are kept in one epoll descriptor, so
 * that a process can wait for all of them, its latch and the next timeout at once,
 * and sleeps while nothing happens.
 *
 * Invariants:
 *
 * - libcurl never calls anything that could raise: an ERROR would jump out of its
 *   middle.  Its callbacks take no memory, and done is called behind its back.
 * - While libcurl runs, every signal is blocked: it resolves names in threads, which
 *   inherit the mask, and no handler of PostgreSQL's may run in one.
 * - No redirect is followed, no proxy of the environment used, no file read but the
 *   certificates; TLS is always verified.
 * - An address that is not public is refused behind the resolver, where the socket is
 *   made, and again before each request, also over a connection that was open before.
 *
 *-------------------------------------------------------------------------
 */
#include "billing.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/ilist.h"
#include "utils/memutils.h"

#include "address.h"
#include "clock.h"
#include "guc.h"
#include "http.h"

#if LIBCURL_VERSION_NUM < 0x075700
#error "billing needs libcurl 7.87 or later"
#endif

/* An answer that goes on for longer is cut off: it is not worth the connection. */
#define RESPONSE_READ_MAX	(64 * 1024)

/* The same of the headers of one that is wanted whole. */
#define HEADERS_MAX			(32 * 1024)

/* Sockets looked after in one call of epoll_wait(). */
#define EVENTS_MAX			64

/* Seconds for which libcurl keeps the certificates of authorities that it read. */
#define CA_CACHE_SECONDS	600L

/* A call into libcurl that lasts so long waits for somebody, whatever it was asked. */
#define STUCK_TICKS			900

/* Handles kept for the next transfers. */
#define SPARE_MAX			512

struct BillingTransfer
{
	dlist_node	node;			/* in transfers, or spare */
	CURL	   *easy;
	BillingHttpDone done;
	BillingHttpReady ready;
	void	   *context;
	int			fd;				/* of a dialogue; -1: it is none, or not yet */
	bool		is_ready;		/* something happened on it */
	bool		is_full;		/* it takes nothing more: a wait until it does */
	int64		expires;		/* ticks at which the timeout of a dialogue is over */
	struct curl_slist *lists[2];
	bool		allow_private;
	bool		is_refused;		/* for an address that is not public */
	size_t		received;		/* bytes of the body, kept or not */
	size_t		response_max;	/* 0: what fits here is enough */
	struct Bytes
	{
		char	   *data;		/* malloc: libcurl's callbacks must not raise */
		size_t		len;
	}			body, headers;	/* of an answer that is wanted whole */
	char		response[BILLING_HTTP_RESPONSE_MAX];
	char		message[CURL_ERROR_SIZE];
};

static CURLM *multi = NULL;
static int	epoll_fd = -1;
static int64 deadline = -1;		/* of libcurl's timer, in ticks; -1: none */
static dlist_head transfers = DLIST_STATIC_INIT(transfers);
static dlist_head spare = DLIST_STATIC_INIT(spare);
static int	nspare = 0;
static int	ndialogues = 0;
static int64 entered;			/* ticks at which libcurl was called */

static bool is_private_host(char *host);
static void start_engine(void);
static void raise_descriptor_limit(void);
static BillingTransfer *take_transfer(void);
static void set_options(BillingTransfer *transfer, const BillingHttpOptions *options);
static const char *ca_file(void);
static void set_option(CURLcode code);
static struct curl_slist *make_list(const char *const *headers, int nheaders);
static void block_signals(sigset_t *old);
static void restore_signals(const sigset_t *old);
static bool mark_ready(int fd);
static void go_on_with_dialogues(void);
static void finish_transfers(void);
static CURLcode begin_dialogue(BillingTransfer *transfer);
static void watch_dialogue(const BillingTransfer *transfer, int operation);
static void tell_result(BillingTransfer *transfer, CURLcode code);
static const char *name_failure(const BillingTransfer *transfer, CURLcode code, long status);
static void release_transfer(BillingTransfer *transfer);
static int	watch_socket(CURL *easy, curl_socket_t fd, int what, void *context, void *watched);
static int	set_timer(CURLM *of, long timeout, void *context);
static size_t keep_response(char *data, size_t size, size_t count, void *context);
static size_t keep_headers(char *data, size_t size, size_t count, void *context);
static bool append_bytes(struct Bytes *bytes, const char *data, size_t len, size_t max);
static void free_bytes(struct Bytes *bytes);
static curl_socket_t open_socket(void *context, curlsocktype purpose, struct curl_sockaddr *address);
static int	stop_if_stuck(void *context, curl_off_t download, curl_off_t downloaded, curl_off_t upload, curl_off_t uploaded);
static int	check_connection(void *context, char *remote, char *local, int remote_port, int local_port);

/*
 * billing_http_post
 *		Begin to POST a body.
 */
void
billing_http_post(const BillingHttpOptions *options, const char *url, const char *const *headers, int nheaders,
				  const char *body, size_t len)
{
	billing_http_request(options, "POST", url, headers, nheaders, body, len);
}

void
billing_http_request(const BillingHttpOptions *options, const char *verb, const char *url, const char *const *headers, int nheaders,
					 const char *body, size_t len)
{
	BillingTransfer *transfer = billing_http_make(options);
	bool		is_tls = pg_strncasecmp(url, "https:", 6) == 0;

	billing_http_keep(transfer, make_list(headers, nheaders));
	set_option(curl_easy_setopt(transfer->easy, CURLOPT_URL, url));
	set_option(curl_easy_setopt(transfer->easy, CURLOPT_HTTPHEADER, transfer->lists[0]));
	if (body != NULL)
	{
		set_option(curl_easy_setopt(transfer->easy, CURLOPT_POSTFIELDS, body));
		set_option(curl_easy_setopt(transfer->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t) len));
	}
	if (strcmp(verb, body != NULL ? "POST" : "GET") != 0)
		set_option(curl_easy_setopt(transfer->easy, CURLOPT_CUSTOMREQUEST, verb));

	/*
	 * HTTP/2 is settled within the TLS handshake, and worth waiting for: then one
	 * connection carries them all.  Without TLS the first answer would have to come
	 * before a second request could go.
	 */
	set_option(curl_easy_setopt(transfer->easy, CURLOPT_HTTP_VERSION,
								is_tls ? (long) CURL_HTTP_VERSION_2TLS : (long) CURL_HTTP_VERSION_1_1));
	set_option(curl_easy_setopt(transfer->easy, CURLOPT_PIPEWAIT, is_tls ? 1L : 0L));

	/* What was sent over a connection that was kept, and turns out to be dead, libcurl sends again over another. */
	set_option(curl_easy_setopt(transfer->easy, CURLOPT_FRESH_CONNECT, options->is_sent_once ? 1L : 0L));
	set_option(curl_easy_setopt(transfer->easy, CURLOPT_FORBID_REUSE, options->is_sent_once ? 1L : 0L));
	billing_http_start(transfer);
}

/*
 * billing_http_check_url
 *		Judge what the text of a URL shows: an address in any of the forms that libcurl
 *		understands, 0x7f.1 say.  What a name leads to shows only when it is resolved.
 */
const char *
billing_http_check_url(const char *url, bool allow_private)
{
	CURLU	   *parsed = curl_url();
	char	   *host = NULL;
	char	   *user = NULL;
	const char *problem = NULL;

	if (parsed == NULL || curl_url_set(parsed, CURLUPART_URL, url, 0) != CURLUE_OK ||
		curl_url_get(parsed, CURLUPART_HOST, &host, 0) != CURLUE_OK)
		problem = "It is no URL.";
	else if (curl_url_get(parsed, CURLUPART_USER, &user, 0) == CURLUE_OK)
		problem = "It names a user.";
	else if (!allow_private && is_private_host(host))
		problem = "Its address is not public.";
	curl_free(user);
	curl_free(host);
	curl_url_cleanup(parsed);
	return problem;
}

/* A host that is an address, in brackets if of IPv6, and a private one. */
static bool
is_private_host(char *host)
{
	uint8		bytes[16];
	size_t		len = strlen(host);

	if (host[0] == '[' && len > 2)
	{
		host[len - 1] = '\0';
		return !billing_address_is_public_text(host + 1);
	}
	return inet_pton(AF_INET, host, bytes) == 1 && !billing_address_is_public_text(host);
}

/*
 * billing_http_make
 *		A transfer with what is common to all.
 */
BillingTransfer *
billing_http_make(const BillingHttpOptions *options)
{
	BillingTransfer *transfer;

	start_engine();
	transfer = take_transfer();
	dlist_push_tail(&transfers, &transfer->node);
	set_options(transfer, options);
	return transfer;
}

void *
billing_http_handle(BillingTransfer *transfer)
{
	return transfer->easy;
}

void
billing_http_keep(BillingTransfer *transfer, void *list)
{
	int			place = transfer->lists[0] == NULL ? 0 : 1;

	Assert(transfer->lists[place] == NULL);
	transfer->lists[place] = list;
}

void
billing_http_start(BillingTransfer *transfer)
{
	sigset_t	old;
	CURLMcode	code;

	block_signals(&old);
	code = curl_multi_add_handle(multi, transfer->easy);
	restore_signals(&old);
	if (code != CURLM_OK)
		elog(ERROR, "could not start a transfer: %s", curl_multi_strerror(code));
}

void
billing_http_prolong(BillingTransfer *transfer, int timeout)
{
	transfer->expires = billing_clock_ticks() + timeout;
}

int
billing_http_fd(void)
{
	start_engine();
	return epoll_fd;
}

long
billing_http_timeout(void)
{
	int64		first = deadline;
	dlist_iter	iter;

	if (ndialogues > 0)
	{
		dlist_foreach(iter, &transfers)
		{
			BillingTransfer *transfer = dlist_container(BillingTransfer, node, iter.cur);

			if (transfer->fd >= 0 && (first < 0 || transfer->expires < first))
				first = transfer->expires;
		}
	}
	return first < 0 ? -1 : Max(first - billing_clock_ticks(), 0);
}

/*
 * billing_http_run
 *		Read and write what can be, and call back for the transfers that ended.
 */
void
billing_http_run(void)
{
	struct epoll_event events[EVENTS_MAX];
	sigset_t	old;
	int			running;
	int			n;

	if (multi == NULL)
		return;

	entered = billing_clock_ticks();
	block_signals(&old);
	do
	{
		n = epoll_wait(epoll_fd, events, EVENTS_MAX, 0);
		for (int i = 0; i < n; i++)
		{
			int			what = (events[i].events & EPOLLIN ? CURL_CSELECT_IN : 0) |
				(events[i].events & EPOLLOUT ? CURL_CSELECT_OUT : 0) |
				(events[i].events & (EPOLLERR | EPOLLHUP) ? CURL_CSELECT_ERR : 0);

			if (!mark_ready(events[i].data.fd))
				(void) curl_multi_socket_action(multi, events[i].data.fd, what, &running);
		}
	} while (n == EVENTS_MAX);

	if (deadline >= 0 && deadline <= billing_clock_ticks())
	{
		deadline = -1;
		(void) curl_multi_socket_action(multi, CURL_SOCKET_TIMEOUT, 0, &running);
	}
	restore_signals(&old);

	finish_transfers();
	go_on_with_dialogues();
}

/* Is it the socket of a dialogue?  There are few. */
static bool
mark_ready(int fd)
{
	dlist_iter	iter;

	if (ndialogues == 0)
		return false;
	dlist_foreach(iter, &transfers)
	{
		BillingTransfer *transfer = dlist_container(BillingTransfer, node, iter.cur);

		if (transfer->fd != fd)
			continue;
		transfer->is_ready = true;
		return true;
	}
	return false;
}

/* Let those go on whose sockets are ready, or that take too long; each may end itself. */
static void
go_on_with_dialogues(void)
{
	int64		now = billing_clock_ticks();
	dlist_mutable_iter iter;

	if (ndialogues == 0)
		return;
	dlist_foreach_modify(iter, &transfers)
	{
		BillingTransfer *transfer = dlist_container(BillingTransfer, node, iter.cur);

		if (transfer->fd < 0 || (!transfer->is_ready && now < transfer->expires))
			continue;
		transfer->is_ready = false;
		transfer->ready(transfer->context, now >= transfer->expires);
	}
}

int
billing_http_send(BillingTransfer *transfer, const char *data, size_t len)
{
	size_t		sent = 0;
	sigset_t	old;
	CURLcode	code;

	block_signals(&old);
	code = curl_easy_send(transfer->easy, data, len, &sent);
	restore_signals(&old);
	if (transfer->is_full != (code == CURLE_AGAIN))
	{
		transfer->is_full = !transfer->is_full;
		watch_dialogue(transfer, EPOLL_CTL_MOD);
	}
	return code == CURLE_OK ? (int) sent : code == CURLE_AGAIN ? 0 : -1;
}

int
billing_http_receive(BillingTransfer *transfer, char *buffer, size_t len)
{
	size_t		received = 0;
	sigset_t	old;
	CURLcode	code;

	block_signals(&old);
	code = curl_easy_recv(transfer->easy, buffer, len, &received);
	restore_signals(&old);
	return code == CURLE_OK && received > 0 ? (int) received : code == CURLE_AGAIN ? 0 : -1;
}

/*
 * billing_http_end
 *		End a dialogue.
 *
 * Its socket is shut down first: libcurl would take leave of the other side, and wait for the answer.
 */
void
billing_http_end(BillingTransfer *transfer)
{
	(void) epoll_ctl(epoll_fd, EPOLL_CTL_DEL, transfer->fd, NULL);
	(void) shutdown(transfer->fd, SHUT_RDWR);
	release_transfer(transfer);
}

/* Once in a process, and never in the postmaster: libcurl does not survive a fork. */
static void
start_engine(void)
{
	if (multi != NULL)
		return;

	if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
		elog(ERROR, "could not initialize libcurl");
	raise_descriptor_limit();
	if (epoll_fd < 0)
		epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (epoll_fd < 0)
		elog(ERROR, "could not create an epoll descriptor: %m");

	multi = curl_multi_init();
	if (multi == NULL)
		elog(ERROR, "could not initialize libcurl's multi interface");
	(void) curl_multi_setopt(multi, CURLMOPT_SOCKETFUNCTION, watch_socket);
	(void) curl_multi_setopt(multi, CURLMOPT_TIMERFUNCTION, set_timer);
	(void) curl_multi_setopt(multi, CURLMOPT_PIPELINING, (long) CURLPIPE_MULTIPLEX);
	(void) curl_multi_setopt(multi, CURLMOPT_MAXCONNECTS, (long) billing_http_max_in_flight);
}

/*
 * raise_descriptor_limit
 *		Let this process open as many sockets as the system lets it: the usual soft
 *		limit of 1024 is for programs that use select().
 */
static void
raise_descriptor_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == limit.rlim_max)
		return;
	limit.rlim_cur = limit.rlim_max;
	(void) setrlimit(RLIMIT_NOFILE, &limit);
}

/* One that was used before, or a new one. */
static BillingTransfer *
take_transfer(void)
{
	BillingTransfer *transfer;

	if (!dlist_is_empty(&spare))
	{
		transfer = dlist_container(BillingTransfer, node, dlist_pop_head_node(&spare));
		nspare--;
	}
	else
	{
		transfer = MemoryContextAllocZero(TopMemoryContext, sizeof(BillingTransfer));
		transfer->easy = curl_easy_init();
		if (transfer->easy == NULL)
		{
			pfree(transfer);
			ereport(ERROR,
					(errcode(ERRCODE_OUT_OF_MEMORY),
					 errmsg("out of memory"),
					 errdetail("libcurl gave no handle.")));
		}
	}
	return transfer;
}

static void
set_options(BillingTransfer *transfer, const BillingHttpOptions *options)
{
	CURL	   *easy = transfer->easy;

	transfer->done = options->done;
	transfer->ready = options->ready;
	transfer->context = options->context;
	transfer->fd = -1;
	transfer->is_ready = false;
	transfer->is_full = false;
	transfer->expires = billing_clock_ticks() + options->timeout;
	transfer->allow_private = options->allow_private;
	transfer->is_refused = false;
	transfer->received = 0;
	transfer->message[0] = '\0';

	set_option(curl_easy_setopt(easy, CURLOPT_PRIVATE, transfer));
	set_option(curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, transfer->message));
	set_option(curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, options->protocols));
	set_option(curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L));
	set_option(curl_easy_setopt(easy, CURLOPT_PROXY, ""));
	set_option(curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L));
	set_option(curl_easy_setopt(easy, CURLOPT_CONNECT_ONLY, options->ready != NULL ? 1L : 0L));
	set_option(curl_easy_setopt(easy, CURLOPT_NOPROGRESS, options->ready != NULL ? 0L : 1L));
	set_option(curl_easy_setopt(easy, CURLOPT_XFERINFOFUNCTION, stop_if_stuck));

	/* A resolver that hangs is left to itself: waiting for its thread would stop everything. */
	set_option(curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L));
	set_option(curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long) options->timeout));
	set_option(curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long) Min(billing_http_connect_timeout, options->timeout)));

	/* With a folder of certificates libcurl would read them anew for each connection. */
	set_option(curl_easy_setopt(easy, CURLOPT_CAINFO, ca_file()));
	set_option(curl_easy_setopt(easy, CURLOPT_CAPATH, NULL));
	set_option(curl_easy_setopt(easy, CURLOPT_CA_CACHE_TIMEOUT, CA_CACHE_SECONDS));
	set_option(curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 1L));
	set_option(curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 2L));
	set_option(curl_easy_setopt(easy, CURLOPT_SSLVERSION, (long) CURL_SSLVERSION_TLSv1_2));

	set_option(curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, keep_response));
	set_option(curl_easy_setopt(easy, CURLOPT_WRITEDATA, transfer));
	transfer->response_max = options->response_max;
	if (options->response_max > 0)
	{
		set_option(curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, keep_headers));
		set_option(curl_easy_setopt(easy, CURLOPT_HEADERDATA, transfer));
	}
	set_option(curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, open_socket));
	set_option(curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, transfer));
	set_option(curl_easy_setopt(easy, CURLOPT_PREREQFUNCTION, check_connection));
	set_option(curl_easy_setopt(easy, CURLOPT_PREREQDATA, transfer));
}

/* That of the setting, or the system's. */
static const char *
ca_file(void)
{
	return billing_ca_file[0] != '\0' ? billing_ca_file : curl_version_info(CURLVERSION_NOW)->cainfo;
}

static void
set_option(CURLcode code)
{
	if (code != CURLE_OK)
		elog(ERROR, "could not set an option of a transfer: %s", curl_easy_strerror(code));
}

static struct curl_slist *
make_list(const char *const *headers, int nheaders)
{
	struct curl_slist *list = NULL;

	/* No waiting for the other side's consent to a body: they are small. */
	for (int i = 0; i <= nheaders; i++)
	{
		struct curl_slist *longer = curl_slist_append(list, i < nheaders ? headers[i] : "Expect:");

		if (longer == NULL)
		{
			curl_slist_free_all(list);
			ereport(ERROR,
					(errcode(ERRCODE_OUT_OF_MEMORY),
					 errmsg("out of memory"),
					 errdetail("libcurl took no header.")));
		}
		list = longer;
	}
	return list;
}

static void
block_signals(sigset_t *old)
{
	sigset_t	all;

	sigfillset(&all);
	(void) sigprocmask(SIG_BLOCK, &all, old);
}

static void
restore_signals(const sigset_t *old)
{
	(void) sigprocmask(SIG_SETMASK, old, NULL);
}

/*
 * finish_transfers
 *		Call back for each transfer that ended, and keep its handle for another.
 */
static void
finish_transfers(void)
{
	CURLMsg    *message;
	int			left;

	while ((message = curl_multi_info_read(multi, &left)) != NULL)
	{
		CURLcode	code = message->data.result;
		BillingTransfer *transfer;

		if (message->msg != CURLMSG_DONE)
			continue;
		(void) curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **) &transfer);
		if (code == CURLE_OK && transfer->ready != NULL)
			code = begin_dialogue(transfer);
		tell_result(transfer, code);
		if (transfer->fd >= 0)
			continue;
		release_transfer(transfer);
	}
}

/*
 * begin_dialogue
 *		It is connected: from here on its socket is looked after here.
 *
 * What the other side has said already may be in libcurl's hands, and not in the socket any more.
 */
static CURLcode
begin_dialogue(BillingTransfer *transfer)
{
	curl_socket_t fd = CURL_SOCKET_BAD;

	if (curl_easy_getinfo(transfer->easy, CURLINFO_ACTIVESOCKET, &fd) != CURLE_OK || fd == CURL_SOCKET_BAD)
		return CURLE_COULDNT_CONNECT;
	transfer->fd = fd;
	transfer->is_ready = true;
	ndialogues++;
	watch_dialogue(transfer, EPOLL_CTL_ADD);
	return CURLE_OK;
}

static void
watch_dialogue(const BillingTransfer *transfer, int operation)
{
	struct epoll_event event = {
		.events = EPOLLIN | (transfer->is_full ? EPOLLOUT : 0),
		.data.fd = transfer->fd
	};

	(void) epoll_ctl(epoll_fd, operation, transfer->fd, &event);
}

static void
tell_result(BillingTransfer *transfer, CURLcode code)
{
	BillingHttpResult result = {.code = code, .response = transfer->response};
	curl_off_t	uploaded = 0;
	long		sent = 0;
	long		status = 0;
	curl_off_t	retry_after = 0;
	curl_off_t	duration = 0;

	(void) curl_easy_getinfo(transfer->easy, CURLINFO_RESPONSE_CODE, &status);
	(void) curl_easy_getinfo(transfer->easy, CURLINFO_RETRY_AFTER, &retry_after);
	(void) curl_easy_getinfo(transfer->easy, CURLINFO_TOTAL_TIME_T, &duration);

	result.status = status;
	result.retry_after = retry_after;
	result.duration = duration;
	result.response_len = Min(transfer->received, BILLING_HTTP_RESPONSE_MAX);
	if (transfer->response_max > 0)
	{
		result.response = transfer->body.data == NULL ? "" : transfer->body.data;
		result.response_len = transfer->body.len;
		result.headers = transfer->headers.data == NULL ? "" : transfer->headers.data;
		result.headers_len = transfer->headers.len;
	}
	(void) curl_easy_getinfo(transfer->easy, CURLINFO_REQUEST_SIZE, &sent);
	(void) curl_easy_getinfo(transfer->easy, CURLINFO_SIZE_UPLOAD_T, &uploaded);
	result.is_sent = sent > 0 || uploaded > 0;
	result.failure = name_failure(transfer, code, status);
	if (result.failure != NULL)
		result.message = transfer->is_refused ? "the address is not public" :
			transfer->message[0] != '\0' ? transfer->message : curl_easy_strerror(code);
	transfer->done(transfer->context, &result);
}

/*
 * name_failure
 *		What kind of failure libcurl's code is; NULL if the other side answered.
 */
static const char *
name_failure(const BillingTransfer *transfer, CURLcode code, long status)
{
	if (transfer->is_refused)
		return "private_address";

	switch (code)
	{
		case CURLE_OK:
			return NULL;
		case CURLE_WRITE_ERROR:
			/* The answer was there, and too long: that is none if it is wanted whole. */
			return status != 0 && transfer->response_max == 0 ? NULL : "protocol";
		case CURLE_COULDNT_RESOLVE_HOST:
			return "dns";
		case CURLE_COULDNT_CONNECT:
			return "connect";
		case CURLE_OPERATION_TIMEDOUT:
			return "timeout";
		case CURLE_SSL_CONNECT_ERROR:
		case CURLE_SSL_CERTPROBLEM:
		case CURLE_SSL_CIPHER:
		case CURLE_PEER_FAILED_VERIFICATION:
		case CURLE_SSL_CACERT_BADFILE:
		case CURLE_SSL_ISSUER_ERROR:
		case CURLE_SSL_INVALIDCERTSTATUS:
		case CURLE_USE_SSL_FAILED:
			return "tls";
		case CURLE_GOT_NOTHING:
		case CURLE_SEND_ERROR:
		case CURLE_RECV_ERROR:
		case CURLE_PARTIAL_FILE:
			return "reset";
		case CURLE_UNSUPPORTED_PROTOCOL:
		case CURLE_URL_MALFORMAT:
		case CURLE_WEIRD_SERVER_REPLY:
		case CURLE_HTTP2:
		case CURLE_HTTP2_STREAM:
		case CURLE_BAD_CONTENT_ENCODING:
			return "protocol";
		default:
			return "failed";
	}
}

/* Keep the handle, with no option of this transfer; its connections and sessions stay the multi handle's. */
static void
release_transfer(BillingTransfer *transfer)
{
	sigset_t	old;

	if (transfer->fd >= 0)
		ndialogues--;
	transfer->fd = -1;
	block_signals(&old);
	(void) curl_multi_remove_handle(multi, transfer->easy);
	curl_easy_reset(transfer->easy);
	for (int i = 0; i < lengthof(transfer->lists); i++)
	{
		curl_slist_free_all(transfer->lists[i]);
		transfer->lists[i] = NULL;
	}
	free_bytes(&transfer->body);
	free_bytes(&transfer->headers);
	dlist_delete(&transfer->node);
	if (nspare < SPARE_MAX)
	{
		dlist_push_head(&spare, &transfer->node);
		nspare++;
	}
	else
	{
		curl_easy_cleanup(transfer->easy);
		pfree(transfer);
	}
	restore_signals(&old);
}

/*
 * watch_socket
 *		libcurl says what it waits for on a socket: keep that in the epoll descriptor.
 */
static int
watch_socket(CURL *easy, curl_socket_t fd, int what, void *context, void *watched)
{
	struct epoll_event event = {
		.events = (what & CURL_POLL_IN ? EPOLLIN : 0) | (what & CURL_POLL_OUT ? EPOLLOUT : 0),
		.data.fd = fd,
	};

	if (what == CURL_POLL_REMOVE)
	{
		(void) epoll_ctl(epoll_fd, EPOLL_CTL_DEL, fd, NULL);
		return 0;
	}

	/* Whether it is known is what epoll itself knows best: closing a socket removes it. */
	if (epoll_ctl(epoll_fd, EPOLL_CTL_MOD, fd, &event) != 0 &&
		epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) != 0)
		return -1;
	return 0;
}

static int
set_timer(CURLM *of, long timeout, void *context)
{
	deadline = timeout < 0 ? -1 : billing_clock_ticks() + timeout;
	return 0;
}

/*
 * keep_response
 *		Keep the beginning of an answer; read on for a while, so that the connection can
 *		be used again, and then give up.
 */
static size_t
keep_response(char *data, size_t size, size_t count, void *context)
{
	BillingTransfer *transfer = context;
	size_t		len = size * count;

	if (transfer->response_max > 0)
		return append_bytes(&transfer->body, data, len, transfer->response_max) ? len : 0;
	if (transfer->received < BILLING_HTTP_RESPONSE_MAX)
		memcpy(transfer->response + transfer->received, data,
			   Min(len, BILLING_HTTP_RESPONSE_MAX - transfer->received));
	transfer->received += len;
	return transfer->received <= RESPONSE_READ_MAX ? len : 0;
}

static size_t
keep_headers(char *data, size_t size, size_t count, void *context)
{
	BillingTransfer *transfer = context;

	return append_bytes(&transfer->headers, data, size * count, HEADERS_MAX) ? size * count : 0;
}

/* False: it would be more than max, or there is no memory. */
static bool
append_bytes(struct Bytes *bytes, const char *data, size_t len, size_t max)
{
	char	   *longer;

	if (len > max - bytes->len)
		return false;
	longer = realloc(bytes->data, bytes->len + len + 1);
	if (longer == NULL)
		return false;
	memcpy(longer + bytes->len, data, len);
	bytes->data = longer;
	bytes->len += len;
	return true;
}

static void
free_bytes(struct Bytes *bytes)
{
	free(bytes->data);
	bytes->data = NULL;
	bytes->len = 0;
}

/*
 * open_socket
 *		A socket to an address that the resolver found, unless it may not be called.
 */
static curl_socket_t
open_socket(void *context, curlsocktype purpose, struct curl_sockaddr *address)
{
	BillingTransfer *transfer = context;

	transfer->is_refused = !transfer->allow_private && !billing_address_is_public(&address->addr);
	if (transfer->is_refused)
		return CURL_SOCKET_BAD;
	return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

/*
 * check_connection
 *		Judge the other side once more where a request is about to be sent: the
 *		connection may be an old one, made for a transfer that was allowed more.
 */
static int
check_connection(void *context, char *remote, char *local, int remote_port, int local_port)
{
	BillingTransfer *transfer = context;

	transfer->is_refused = !transfer->allow_private && !billing_address_is_public_text(remote);
	return transfer->is_refused ? CURL_PREREQFUNC_ABORT : CURL_PREREQFUNC_OK;
}

/*
 * stop_if_stuck
 *		While it waits libcurl asks from second to second whether to go on.
 *
 * It waits where a server that it takes leave of, after a login that failed, does not answer.
 */
static int
stop_if_stuck(void *context, curl_off_t download, curl_off_t downloaded, curl_off_t upload, curl_off_t uploaded)
{
	return billing_clock_ticks() - entered > STUCK_TICKS;
}
