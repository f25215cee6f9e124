/* SPDX-License-Identifier: BSD-3-Clause */
#include "common/metrics_server.h"

#include <errno.h>
#include <json-c/json.h>
#include <microhttpd.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "common/container_of.h"
#include "common/listen_address.h"
#include "common/metrics.h"
#include "common/thread.h"

/* Of the HTTP thread and of the control thread; the last of both frees it. */
struct metrics_query {
    pthread_mutex_t lock; /* of what follows */
    pthread_cond_t changed;
    unsigned int references;
    bool ended; /* answered, or the server ends */
    struct json_object *reply;
};

struct metrics_server {
    struct loop *loop;
    metrics_stat_fn *stat;
    void *opaque;
    struct MHD_Daemon *http;
    struct loop_source source;
    int wanted; /* eventfd: a query is pending */

    pthread_mutex_t lock;          /* of what follows */
    struct metrics_query *pending; /* the control thread has not seen it */
    struct metrics_query *current; /* the HTTP thread waits for it */
    bool ending;
};

/* ---- A query ----------------------------------------------------------- */

/* Two references. */
static struct metrics_query *query_new(void)
{
    struct metrics_query *query = calloc(1, sizeof(*query));
    pthread_condattr_t attributes;

    if (!query) {
        return NULL;
    }
    pthread_mutex_init(&query->lock, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&query->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    query->references = 2;
    return query;
}

static void query_put(struct metrics_query *query)
{
    bool last;

    pthread_mutex_lock(&query->lock);
    last = --query->references == 0;
    pthread_mutex_unlock(&query->lock);
    if (last) {
        json_object_put(query->reply);
        pthread_cond_destroy(&query->changed);
        pthread_mutex_destroy(&query->lock);
        free(query);
    }
}

static void query_end(struct metrics_query *query, struct json_object *reply)
{
    pthread_mutex_lock(&query->lock);
    if (!query->reply) {
        query->reply = reply;
    }
    query->ended = true;
    pthread_cond_signal(&query->changed);
    pthread_mutex_unlock(&query->lock);
}

void metrics_answer(struct metrics_query *query, struct json_object *reply)
{
    query_end(query, reply);
    query_put(query);
}

/* The reply, which is the caller's alone, as its references are not counted
 * atomically; NULL: none in time. */
static struct json_object *query_wait(struct metrics_query *query)
{
    struct json_object *reply;
    struct timespec until;
    int result = 0;

    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += METRICS_WAIT_MS / 1000;
    pthread_mutex_lock(&query->lock);
    while (!query->ended && result != ETIMEDOUT) {
        result = pthread_cond_timedwait(&query->changed, &query->lock, &until);
    }
    reply = query->reply;
    query->reply = NULL;
    pthread_mutex_unlock(&query->lock);
    return reply;
}

/* ---- The control thread ------------------------------------------------ */

static void query_ready(struct loop_source *source, uint32_t events)
{
    struct metrics_server *server = container_of(source, struct metrics_server,
                                                 source);
    struct metrics_query *query;
    eventfd_t count;

    assert_control_thread();
    eventfd_read(server->wanted, &count);
    pthread_mutex_lock(&server->lock);
    query = server->pending;
    server->pending = NULL;
    pthread_mutex_unlock(&server->lock);
    if (query) {
        server->stat(server->opaque, query);
    }
}

/* ---- The HTTP thread --------------------------------------------------- */

/* A query that the control thread will see; NULL: the server ends. */
static struct metrics_query *ask(struct metrics_server *server)
{
    struct metrics_query *query = query_new();
    struct metrics_query *unseen;
    bool ending;

    if (!query) {
        return NULL;
    }
    pthread_mutex_lock(&server->lock);
    ending = server->ending;
    unseen = server->pending; /* of a request that has given up */
    if (!ending) {
        server->pending = server->current = query;
    }
    pthread_mutex_unlock(&server->lock);
    if (ending) {
        query_put(query);
        query_put(query);
        return NULL;
    }
    if (unseen) {
        query_put(unseen);
    }
    eventfd_write(server->wanted, 1);
    return query;
}

static struct json_object *snapshot(struct metrics_server *server)
{
    struct metrics_query *query = ask(server);
    struct json_object *reply;

    if (!query) {
        return NULL;
    }
    reply = query_wait(query);
    pthread_mutex_lock(&server->lock);
    server->current = NULL;
    pthread_mutex_unlock(&server->lock);
    query_put(query);
    return reply;
}

static enum MHD_Result answer_text(struct MHD_Connection *connection,
                                   unsigned int status, const char *text)
{
    struct MHD_Response *response = MHD_create_response_from_buffer(
        strlen(text), (void *)text, MHD_RESPMEM_PERSISTENT);
    enum MHD_Result result;

    if (!response) {
        return MHD_NO;
    }
    MHD_add_response_header(response, "Content-Type", "text/plain");
    if (status == MHD_HTTP_METHOD_NOT_ALLOWED) {
        MHD_add_response_header(response, "Allow", "GET, HEAD");
    }
    result = MHD_queue_response(connection, status, response);
    MHD_destroy_response(response);
    return result;
}

/* NULL: no memory. To be freed. */
static char *metrics_text(struct json_object *stat, size_t *length)
{
    char *text = NULL;
    FILE *out = open_memstream(&text, length);
    bool failed;

    if (!out) {
        return NULL;
    }
    metrics_write(out, stat);
    failed = ferror(out);
    if (fclose(out) || failed) {
        free(text);
        return NULL;
    }
    return text;
}

static enum MHD_Result answer_metrics(struct MHD_Connection *connection,
                                      struct json_object *stat)
{
    struct MHD_Response *response = NULL;
    enum MHD_Result result;
    size_t length;
    char *text = metrics_text(stat, &length);

    if (text) {
        response = MHD_create_response_from_buffer(length, text,
                                                   MHD_RESPMEM_MUST_FREE);
    }
    if (!response) {
        free(text);
        return MHD_NO;
    }
    MHD_add_response_header(response, "Content-Type", METRICS_CONTENT_TYPE);
    result = MHD_queue_response(connection, MHD_HTTP_OK, response);
    MHD_destroy_response(response);
    return result;
}

static enum MHD_Result request(void *opaque, struct MHD_Connection *connection,
                               const char *path, const char *method,
                               const char *version, const char *data,
                               size_t *size, void **state)
{
    struct json_object *stat;
    enum MHD_Result result;

    thread_role = THREAD_WORKER; /* the library has started this thread */
    if (strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0) {
        return answer_text(connection, MHD_HTTP_METHOD_NOT_ALLOWED,
                           "use GET /metrics\n");
    }
    if (strcmp(path, "/metrics") != 0) {
        return answer_text(connection, MHD_HTTP_NOT_FOUND,
                           "use GET /metrics\n");
    }
    stat = snapshot(opaque);
    if (!stat) {
        return answer_text(connection, MHD_HTTP_SERVICE_UNAVAILABLE,
                           "no answer from the control thread\n");
    }
    result = answer_metrics(connection, stat);
    json_object_put(stat);
    return result;
}

/* ---- The server -------------------------------------------------------- */

static void free_server(struct metrics_server *server)
{
    if (server->wanted >= 0) {
        close(server->wanted);
    }
    pthread_mutex_destroy(&server->lock);
    free(server);
}

/* On success the socket is the thread's. */
static int start_http(struct metrics_server *server, int fd)
{
    server->http = MHD_start_daemon(
        MHD_USE_INTERNAL_POLLING_THREAD, 0, NULL, NULL, request, server,
        MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_CONNECTION_LIMIT,
        (unsigned int)METRICS_CONNECTIONS_MAX, MHD_OPTION_CONNECTION_TIMEOUT,
        (unsigned int)METRICS_IDLE_SECONDS, MHD_OPTION_END);
    return server->http ? 0 : errno ? -errno : -ENOMEM;
}

static int start(struct metrics_server *server, const char *text,
                 struct rdisk_error *err)
{
    struct listen_address address;
    int fd, result;

    if (listen_address_parse(text, &address, err) < 0) {
        return err->code;
    }
    server->wanted = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    fd = server->wanted < 0 ? -errno : listen_address_open(&address);
    if (fd < 0) {
        return rdisk_error_set(err, fd, "cannot listen at metrics = %s: %s",
                               text, strerror(-fd));
    }
    result = loop_add(server->loop, server->wanted, EPOLLIN, &server->source);
    if (result == 0) {
        result = start_http(server, fd);
        if (result < 0) {
            loop_remove(server->loop, server->wanted);
        }
    }
    if (result < 0) {
        close(fd);
        return rdisk_error_set(err, result, "cannot serve metrics at %s: %s",
                               text, strerror(-result));
    }
    return 0;
}

struct metrics_server *metrics_server_create(struct loop *loop,
                                             const char *address,
                                             metrics_stat_fn *stat,
                                             void *opaque,
                                             struct rdisk_error *err)
{
    struct metrics_server *server;

    assert_control_thread();
    *err = (struct rdisk_error) { 0 };
    if (!address[0]) {
        return NULL;
    }
    server = calloc(1, sizeof(*server));
    if (!server) {
        rdisk_error_set(err, -ENOMEM, "no memory for metrics");
        return NULL;
    }
    server->loop = loop;
    server->stat = stat;
    server->opaque = opaque;
    server->source.ready = query_ready;
    server->wanted = -1;
    pthread_mutex_init(&server->lock, NULL);
    if (start(server, address, err) < 0) {
        free_server(server);
        return NULL;
    }
    return server;
}

void metrics_server_destroy(struct metrics_server *server)
{
    assert_control_thread();
    if (!server) {
        return;
    }
    /* The HTTP thread must not wait for this one while it is waited for. */
    pthread_mutex_lock(&server->lock);
    server->ending = true;
    if (server->current) {
        query_end(server->current, NULL);
    }
    pthread_mutex_unlock(&server->lock);
    MHD_stop_daemon(server->http);
    loop_remove(server->loop, server->wanted);
    if (server->pending) {
        query_put(server->pending);
    }
    free_server(server);
}
