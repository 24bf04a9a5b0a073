/*
 * The shop's service: what is for sale lies in PostgreSQL, the last answer and the number of visits in Redis.
 *
 *   GET  /healthz          200 while the process lives
 *   GET  /readyz           200 when the database answers, else 503
 *   GET  /items            {"items":[...],"visits":N,"from":"cache"|"database","by":HOST}
 *   GET  /orders           {"orders":N}
 *   POST /orders?item=ID   201 {"order":N}, 404 when there is no such item, 409 when it is sold out
 *
 * One thread turns the HTTP server and asks both stores, so that nothing here needs a lock. A shop without its cache is slower,
 * not closed: only the database decides about /readyz.
 */
#include <hiredis/hiredis.h>
#include <libpq-fe.h>
#include <microhttpd.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define PORT 8080
#define CACHE_SECONDS "2"

static PGconn *db;
static redisContext *cache;
static char host[256];

static int connected(void)
{
	if (db && PQstatus(db) == CONNECTION_OK)
		return 1;
	if (db)
		PQreset(db);
	else /* host, user, password and name come from the PG* variables */
		db = PQconnectdb("connect_timeout=2 tcp_user_timeout=2000 options='-c statement_timeout=2000'");
	if (PQstatus(db) == CONNECTION_OK)
		return 1;
	fprintf(stderr, "database: %s", PQerrorMessage(db));
	return 0;
}

static PGresult *ask(const char *query, int n, const char *const *values)
{
	for (int i = 0; i < 2 && connected(); i++) {
		PGresult *r = PQexecParams(db, query, n, NULL, values, NULL, NULL, 0);
		if (PQresultStatus(r) == PGRES_TUPLES_OK)
			return r;
		fprintf(stderr, "database: %s", PQresultErrorMessage(r));
		PQclear(r);
		/* When the connection was lost on the way, what only reads is asked once more; an order may have been taken. */
		if (PQstatus(db) == CONNECTION_OK || strncmp(query, "select", 6) != 0)
			break;
	}
	return NULL;
}

/* An answer of Redis, or NULL: it is away and tried again at the next request. */
static redisReply *remember(const char *format, ...)
{
	static time_t tried;
	if (!cache || cache->err) {
		const struct timeval patience = { .tv_usec = 300000 };
		const char *name = getenv("REDIS_HOST");
		if (cache)
			redisFree(cache);
		cache = NULL;
		if (tried == time(NULL)) /* one attempt a second: requests are not to wait for it */
			return NULL;
		tried = time(NULL);
		cache = redisConnectWithTimeout(name ? name : "redis", 6379, patience);
		if (!cache || cache->err)
			return NULL;
		redisSetTimeout(cache, patience);
	}
	va_list ap;
	va_start(ap, format);
	redisReply *r = redisvCommand(cache, format, ap);
	va_end(ap);
	if (r && r->type == REDIS_REPLY_ERROR) {
		fprintf(stderr, "cache: %s\n", r->str);
		freeReplyObject(r);
		return NULL;
	}
	return r;
}

static enum MHD_Result answer(struct MHD_Connection *c, unsigned status, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
static enum MHD_Result answer(struct MHD_Connection *c, unsigned status, const char *format, ...)
{
	char *text;
	va_list ap;
	va_start(ap, format);
	int n = vasprintf(&text, format, ap);
	va_end(ap);
	if (n < 0)
		return MHD_NO;
	struct MHD_Response *r = MHD_create_response_from_buffer((size_t)n, text, MHD_RESPMEM_MUST_FREE);
	MHD_add_response_header(r, "Content-Type", "application/json");
	enum MHD_Result rc = MHD_queue_response(c, status, r);
	MHD_destroy_response(r);
	return rc;
}

static enum MHD_Result items(struct MHD_Connection *c)
{
	redisReply *count = remember("INCR visits"), *kept = remember("GET items");
	long long visits = count && count->type == REDIS_REPLY_INTEGER ? count->integer : -1;
	enum MHD_Result rc;
	if (kept && kept->type == REDIS_REPLY_STRING) {
		rc = answer(c, 200, "{\"items\":%s,\"visits\":%lld,\"from\":\"cache\",\"by\":\"%s\"}\n", kept->str, visits, host);
	} else {
		PGresult *r = ask("select coalesce(json_agg(i order by i.id), '[]')::text from items i", 0, NULL);
		if (r) {
			const char *list = PQgetvalue(r, 0, 0);
			redisReply *set = remember("SET items %s EX " CACHE_SECONDS, list);
			if (set)
				freeReplyObject(set);
			rc = answer(c, 200, "{\"items\":%s,\"visits\":%lld,\"from\":\"database\",\"by\":\"%s\"}\n", list, visits, host);
			PQclear(r);
		} else {
			rc = answer(c, 503, "{\"error\":\"the database does not answer\"}\n");
		}
	}
	if (count)
		freeReplyObject(count);
	if (kept)
		freeReplyObject(kept);
	return rc;
}

static enum MHD_Result order(struct MHD_Connection *c)
{
	const char *item = MHD_lookup_connection_value(c, MHD_GET_ARGUMENT_KIND, "item");
	if (!item || !*item || strspn(item, "0123456789") != strlen(item) || strlen(item) > 9)
		return answer(c, 400, "{\"error\":\"item must be a number\"}\n");
	/* One statement, so that stock and orders agree whatever happens to this process. */
	PGresult *r = ask("with taken as (update items set stock = stock - 1 where id = $1 and stock > 0 returning id),"
			  " made as (insert into orders (item) select id from taken returning id)"
			  " select (select id from made), exists (select from items where id = $1)",
			  1, &item);
	enum MHD_Result rc;
	if (!r)
		return answer(c, 503, "{\"error\":\"the database does not answer\"}\n");
	if (!PQgetisnull(r, 0, 0))
		rc = answer(c, 201, "{\"order\":%s}\n", PQgetvalue(r, 0, 0));
	else if (*PQgetvalue(r, 0, 1) == 't')
		rc = answer(c, 409, "{\"error\":\"sold out\"}\n");
	else
		rc = answer(c, 404, "{\"error\":\"no such item\"}\n");
	PQclear(r);
	return rc;
}

static enum MHD_Result one_value(struct MHD_Connection *c, const char *query, const char *format)
{
	PGresult *r = ask(query, 0, NULL);
	if (!r)
		return answer(c, 503, "{\"error\":\"the database does not answer\"}\n");
	char text[160];
	(void)snprintf(text, sizeof(text), format, PQgetvalue(r, 0, 0));
	PQclear(r);
	return answer(c, 200, "%s", text);
}

static enum MHD_Result handle(void *arg, struct MHD_Connection *c, const char *url, const char *method, const char *version, const char *body,
			      size_t *body_len, void **state)
{
	static int seen;
	(void)arg, (void)version, (void)body;
	/* First called when the headers are there, then with each piece of a body, which nobody here wants. */
	if (!*state) {
		*state = &seen;
		return MHD_YES;
	}
	if (*body_len) {
		*body_len = 0;
		return MHD_YES;
	}
	const int post = strcmp(method, "POST") == 0;
	if (!post && strcmp(method, "GET") != 0)
		return answer(c, 405, "{\"error\":\"GET or POST\"}\n");
	if (strcmp(url, "/orders") == 0)
		return post ? order(c) : one_value(c, "select count(*) from orders", "{\"orders\":%s}\n");
	if (strcmp(url, "/items") == 0)
		return items(c);
	if (strcmp(url, "/readyz") == 0)
		return one_value(c, "select count(*) from items", "{\"kinds\":%s}\n");
	if (strcmp(url, "/healthz") == 0)
		return answer(c, 200, "{}\n");
	return answer(c, 404, "{\"error\":\"no such page\"}\n");
}

int main(void)
{
	sigset_t ends;
	int signum;
	sigemptyset(&ends);
	sigaddset(&ends, SIGTERM);
	sigaddset(&ends, SIGINT);
	/* Before any thread is there: all of them block these, and only sigwait sees them. */
	sigprocmask(SIG_BLOCK, &ends, NULL);
	signal(SIGPIPE, SIG_IGN);
	(void)gethostname(host, sizeof(host) - 1);
	struct MHD_Daemon *d = MHD_start_daemon(MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_EPOLL, PORT, NULL, NULL, handle, NULL,
						MHD_OPTION_CONNECTION_TIMEOUT, 30U, MHD_OPTION_END);
	if (!d) {
		perror("shop: listening on port 8080");
		return 1;
	}
	fprintf(stderr, "shop: listening on port %d\n", PORT);
	sigwait(&ends, &signum);
	/* Nothing new is taken; what is being answered is answered. */
	int fd = MHD_quiesce_daemon(d);
	for (int i = 0; i < 50 && MHD_get_daemon_info(d, MHD_DAEMON_INFO_CURRENT_CONNECTIONS)->num_connections > 0; i++)
		usleep(100000);
	MHD_stop_daemon(d);
	if (fd >= 0)
		close(fd);
	PQfinish(db);
	if (cache)
		redisFree(cache);
	return 0;
}
