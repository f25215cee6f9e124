/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/admin/listing.h"

#include <errno.h>
#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>

#include "common/container_of.h"
#include "common/control_server.h"
#include "common/thread.h"
#include "server/admin/command.h"
#include "server/io/jobs.h"
#include "server/server.h"

/* Shorter than clients wait for an answer. */
#define WAIT_MS 2000

struct listing_wait {
    void (*answer)(void *opaque, struct json_object *reply);
    void *opaque;
    struct request request;
    uint64_t deadline;
    struct listing_wait *next;
};

struct listing {
    struct job job;
    struct server *server;
    bool running;
    struct listing_wait *now, *next; /* of this reading, and of the next */
    bool snapshots; /* those of images are read, too, which takes long */
    char of[RDISK_VOLUME_NAME_MAX + 1]; /* this volume; "": all */
    /* Of the reading, in its thread. */
    struct pool_listing found;
    struct rdisk_error err;
    int result;
};

struct listing *listing_create(struct server *server)
{
    struct listing *listing = calloc(1, sizeof(*listing));

    if (listing) {
        listing->server = server;
    }
    return listing;
}

void listing_destroy(struct listing *listing)
{
    free(listing);
}

bool listing_running(const struct listing *listing)
{
    return listing->running;
}

static struct json_object *error_reply(const struct rdisk_error *err)
{
    struct json_object *reply = json_object_new_object();
    const char *code = strerrorname_np(-err->code);

    json_object_object_add(reply, "error", json_object_new_string(err->text));
    json_object_object_add(reply, "code",
                           json_object_new_string(code ? code : "EIO"));
    return reply;
}

/* With what the pool directory has, or, if @err, without. */
static void answer(struct server *server, const struct listing_wait *wait,
                   const struct pool_listing *found,
                   const struct rdisk_error *err)
{
    struct json_object *reply;

    if (err && wait->request.op != REQUEST_STAT) {
        reply = error_reply(err);
    } else if (wait->request.op == REQUEST_LIST) {
        reply = stat_list(server, found);
    } else if (wait->request.op == REQUEST_SNAPSHOTS) {
        reply = stat_snapshots(found, wait->request.name);
    } else {
        reply = stat_server(server, found);
        if (err) {
            json_object_object_add(reply, "pool_error",
                                   json_object_new_string(err->text));
        }
    }
    wait->answer(wait->opaque, reply);
}

/* All of @waits, which are freed. */
static void answer_all(struct server *server, struct listing_wait *waits,
                       const struct pool_listing *found,
                       const struct rdisk_error *err)
{
    static const struct pool_listing nothing;

    while (waits) {
        struct listing_wait *wait = waits;

        waits = wait->next;
        answer(server, wait, found ? found : &nothing, err);
        free(wait);
    }
}

static void read_run(struct job *job)
{
    struct listing *listing = container_of(job, struct listing, job);
    struct pool_listing *found = &listing->found;

    listing->result = pool_scan(&listing->server->pool, &found->files,
                                &found->count, &listing->err);
    if (listing->result == 0 && listing->snapshots) {
        listing->result = pool_scan_snapshots(&listing->server->pool,
                                              listing->of, &found->files,
                                              &found->count, &listing->err);
    }
    if (listing->result == 0) {
        pool_space(&listing->server->pool, &found->space);
    }
}

/* What those that wait need: of different volumes, all. */
static void find_wanted(struct listing *listing)
{
    listing->snapshots = false;
    for (const struct listing_wait *wait = listing->now; wait;
         wait = wait->next) {
        if (wait->request.op != REQUEST_SNAPSHOTS) {
            continue;
        }
        if (!listing->snapshots) {
            memcpy(listing->of, wait->request.name, sizeof(listing->of));
        } else if (strcmp(listing->of, wait->request.name) != 0) {
            listing->of[0] = '\0';
        }
        listing->snapshots = true;
    }
}

static void begin(struct listing *listing);

static void read_done(struct job *job)
{
    struct listing *listing = container_of(job, struct listing, job);
    struct listing_wait *waits = listing->now;
    /* Copies: an answer may lead to the next request, which begins a
     * reading. */
    struct pool_listing found = listing->found;
    struct rdisk_error err = listing->err;
    bool failed = listing->result < 0;

    listing->running = false;
    listing->now = NULL;
    answer_all(listing->server, waits, &found, failed ? &err : NULL);
    free(found.files);
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
    listing->found = (struct pool_listing) { 0 };
    listing->running = true;
    find_wanted(listing);
    listing->job = (struct job) {
        .what = "listing the pool directory",
        .volume = server->pool.path ? server->pool.path : "",
        .store = &server->pool,
        .run = read_run,
        .done = read_done,
    };
    if (jobs_submit(server->jobs, &listing->job, &err) < 0) {
        listing->running = false;
        listing->now = NULL;
        answer_all(server, waits, NULL, &err);
    }
}

static void ask(struct server *server, const struct request *request,
                void (*answer_fn)(void *opaque, struct json_object *reply),
                void *opaque)
{
    struct listing *listing = server->listing;
    struct listing_wait **link = &listing->next;
    struct listing_wait *wait = malloc(sizeof(*wait));

    assert_control_thread();
    if (!wait) {
        answer_fn(opaque, NULL);
        return;
    }
    *wait = (struct listing_wait) {
        .answer = answer_fn,
        .opaque = opaque,
        .request = *request,
        .deadline = rdisk_now(server->env) + WAIT_MS * RDISK_MSEC,
    };
    while (*link) {
        link = &(*link)->next;
    }
    *link = wait;
    if (!listing->running) {
        begin(listing);
    }
}

static void answer_call(void *opaque, struct json_object *reply)
{
    const char *text =
        reply ? json_object_to_json_string_ext(reply, JSON_C_TO_STRING_PLAIN)
              : NULL;

    control_answer(opaque, text ? strdup(text) : NULL);
    json_object_put(reply);
}

void listing_ask(struct server *server, const struct request *request,
                 struct control_call *call)
{
    ask(server, request, answer_call, call);
}

void listing_ask_stat(struct server *server,
                      void (*answer_fn)(void *opaque,
                                        struct json_object *reply),
                      void *opaque)
{
    static const struct request request = { .op = REQUEST_STAT };

    ask(server, &request, answer_fn, opaque);
}

uint64_t listing_deadline(const struct listing *listing)
{
    /* In the order of arrival. */
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
        answer_all(server, wait, NULL, &err);
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
