/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/admin/listing.h"

#include <errno.h>
#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>

#include "common/control_socket.h"
#include "common/thread.h"
#include "server/admin/command.h"
#include "server/server.h"

/* Less than anybody waits for an answer. */
#define WAIT_MS 2000

struct listing_wait {
    struct control_call *call;
    enum request_op op;
    uint64_t deadline;
    struct listing_wait *next;
};

/* With what the pool directory has, or, if @err, without. */
static void answer(struct server *server, const struct listing_wait *wait,
                   const struct pool_file *files, size_t count,
                   const struct rdisk_error *err)
{
    struct json_object *reply;
    char *text;

    if (err && wait->op == REQUEST_LIST) {
        control_answer(wait->call, control_error(err));
        return;
    }
    if (wait->op == REQUEST_LIST) {
        reply = json_object_new_object();
        json_object_object_add(reply, "volumes",
                               stat_volumes(server, files, count));
    } else {
        reply = stat_server(server, files, count);
        if (err) {
            json_object_object_add(reply, "pool_error",
                                   json_object_new_string(err->text));
        }
    }
    text = strdup(
        json_object_to_json_string_ext(reply, JSON_C_TO_STRING_PLAIN));
    json_object_put(reply);
    control_answer(wait->call, text);
}

/* All of @waits, which go. */
static void answer_all(struct server *server, struct listing_wait *waits,
                       const struct pool_file *files, size_t count,
                       const struct rdisk_error *err)
{
    while (waits) {
        struct listing_wait *wait = waits;

        waits = wait->next;
        answer(server, wait, files, count, err);
        free(wait);
    }
}

static void read_run(struct job *job)
{
    struct listing *listing = (struct listing *)job;

    listing->result = pool_scan(&listing->server->pool, &listing->files,
                                &listing->count, &listing->err);
}

static void begin(struct listing *listing);

static void read_done(struct job *job)
{
    struct listing *listing = (struct listing *)job;
    struct listing_wait *waits = listing->now;

    listing->running = false;
    listing->now = NULL;
    answer_all(listing->server, waits, listing->files, listing->count,
               listing->result < 0 ? &listing->err : NULL);
    free(listing->files);
    if (listing->next && !listing->running) {
        begin(listing);
    }
}

static void begin(struct listing *listing)
{
    struct server *server = listing->server;
    struct listing_wait *waits = listing->next;
    struct rdisk_error err;

    listing->now = waits;
    listing->next = NULL;
    listing->files = NULL;
    listing->count = 0;
    listing->running = true;
    listing->job = (struct job) {
        .what = "listing the pool directory",
        .volume = server->pool.path ? server->pool.path : "",
        .store = &server->pool,
        .run = read_run,
        .done = read_done,
    };
    if (!server->jobs) {
        read_run(&listing->job); /* a test's: there is one thread only */
        read_done(&listing->job);
    } else if (jobs_submit(server->jobs, &listing->job, &err) < 0) {
        listing->running = false;
        listing->now = NULL;
        answer_all(server, waits, NULL, 0, &err);
    }
}

void listing_ask(struct server *server, enum request_op op,
                 struct control_call *call)
{
    struct listing *listing = &server->listing;
    struct listing_wait **link = &listing->next;
    struct listing_wait *wait = malloc(sizeof(*wait));

    assert_control_thread();
    if (!wait) {
        control_answer(call, NULL);
        return;
    }
    *wait = (struct listing_wait) {
        .call = call,
        .op = op,
        .deadline = rdisk_now(server->env) + WAIT_MS * RDISK_MSEC,
    };
    while (*link) {
        link = &(*link)->next;
    }
    *link = wait;
    listing->server = server;
    if (!listing->running) {
        begin(listing);
    }
}

uint64_t listing_deadline(const struct listing *listing)
{
    /* In order of coming, and those of now before those of the next. */
    return listing->now    ? listing->now->deadline
           : listing->next ? listing->next->deadline
                           : RDISK_NEVER;
}

static void answer_late(struct listing *listing, struct listing_wait **link,
                        uint64_t now)
{
    struct server *server = listing->server;
    struct rdisk_error err;

    rdisk_error_set(&err, -ETIMEDOUT, "the pool directory '%s' does not answer",
                    server->pool.path ? server->pool.path : "");
    while (*link && now >= (*link)->deadline) {
        struct listing_wait *wait = *link;

        *link = wait->next;
        wait->next = NULL;
        answer_all(server, wait, NULL, 0, &err);
    }
}

void listing_check_time(struct listing *listing, uint64_t now)
{
    assert_control_thread();
    if (now >= listing_deadline(listing)) {
        answer_late(listing, &listing->now, now);
        answer_late(listing, &listing->next, now);
    }
}
