/*
 * webhook_loop.c URL BODIES IN_FLIGHT
 *	  A bare loop over libcurl's multi interface that POSTs each line of a file, so many at a time: the reference.
 *
 * No table, no signature, no retry, nothing recorded.  Prints the seconds it took.
 */
#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static size_t
discard(char *data, size_t size, size_t n, void *context)
{
	return size * n;
}

static double
seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

/* The next line as the body of a handle's request; 0 if there is none. */
static int
start(CURLM *multi, CURL *easy, FILE *bodies)
{
	char	   *line = NULL;
	size_t		room = 0;
	ssize_t		len = getline(&line, &room, bodies);

	if (len <= 0)
		return free(line), 0;
	curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE, (long) (len - 1));
	curl_easy_setopt(easy, CURLOPT_COPYPOSTFIELDS, line);
	free(line);
	curl_multi_add_handle(multi, easy);
	return 1;
}

int
main(int argc, char **argv)
{
	int			max = atoi(argv[3]);
	FILE	   *bodies = fopen(argv[2], "r");
	CURLM	   *multi;
	struct curl_slist *headers = NULL;
	double		begun = seconds();
	long		done = 0;
	int			running = 0;

	curl_global_init(CURL_GLOBAL_DEFAULT);
	multi = curl_multi_init();
	curl_multi_setopt(multi, CURLMOPT_MAXCONNECTS, (long) max);
	headers = curl_slist_append(headers, "Content-Type: application/json");
	headers = curl_slist_append(headers, "Expect:");
	for (int i = 0; i < max; i++)
	{
		CURL	   *easy = curl_easy_init();

		curl_easy_setopt(easy, CURLOPT_URL, argv[1]);
		curl_easy_setopt(easy, CURLOPT_HTTPHEADER, headers);
		curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, discard);
		running += start(multi, easy, bodies);
	}
	while (running > 0)
	{
		CURLMsg    *message;
		int			still;
		int			left;

		curl_multi_perform(multi, &still);
		while ((message = curl_multi_info_read(multi, &left)) != NULL)
		{
			CURL	   *easy = message->easy_handle;
			long		status;

			curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
			if (message->data.result != CURLE_OK || status != 204)
				return fprintf(stderr, "request failed: %s\n", curl_easy_strerror(message->data.result)), 1;
			done++;
			running--;
			curl_multi_remove_handle(multi, easy);
			running += start(multi, easy, bodies);
		}
		if (running > 0)
			curl_multi_poll(multi, NULL, 0, 1000, NULL);
	}
	printf("%ld %.6f\n", done, seconds() - begun);
	return 0;
}
