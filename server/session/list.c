/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/session/list.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/container_of.h"
#include "common/snapshot_name.h"
#include "common/thread.h"
#include "server/server.h"
#include "server/session/session.h"
#include "server/volume/pool_page.h"

struct client_list {
    struct job job;
    struct server *server;
    struct session *session;     /* NULL: its client has gone */
    bool everything;             /* no authentication */
    struct access_client client; /* else: a copy of its lists, for the job */
    struct pool_page page;
    int result;
    struct rdisk_error err;
    struct client_list *next; /* that is read after it */
};

static void list_free(struct client_list *list)
{
    access_free_lists(&list->client);
    free(list);
}

static bool wanted(void *opaque, const char *name, bool *read_only)
{
    const struct client_list *list = opaque;
    enum access access = list->everything ? ACCESS_WRITE
                                          : access_to(&list->client, name);

    *read_only = access == ACCESS_READ || snapshot_is_name(name);
    return access != ACCESS_NONE;
}

static void fill(const struct client_list *list, struct rdisk_list_page *page)
{
    page->more = list->page.count > RDISK_LIST_MAX;
    page->count = page->more ? RDISK_LIST_MAX : list->page.count;
    memcpy(page->entries, list->page.entries,
           page->count * sizeof(page->entries[0]));
}

static void read_run(struct job *job)
{
    struct client_list *list = container_of(job, struct client_list, job);

    list->result = pool_page_read(&list->server->pool, &list->page, &list->err);
}

/* It has been read, or cannot be: answer, unless the client has gone. */
static void finish(struct client_list *list)
{
    struct server *server = list->server;
    struct session *session = list->session;
    struct rdisk_list_page page = { .count = 0 };

    assert(server->lists == list);
    server->lists = list->next;
    if (session) {
        pool_page_configured(&server->pool, &list->page);
        fill(list, &page);
        rdisk_target_session_listed(session->target,
                                    rdisk_status_from_errno(list->result),
                                    &page, &list->err);
        free(session);
    }
    list_free(list);
}

static void read_done(struct job *job);

/* The first of the server's lists. */
static int begin(struct client_list *list)
{
    struct server *server = list->server;

    list->job = (struct job) {
        .what = "listing the pool directory",
        .volume = server->pool.path ? server->pool.path : "",
        .store = &server->lists,
        .run = read_run,
        .done = read_done,
    };
    list->result = jobs_submit(server->jobs, &list->job, &list->err);
    return list->result;
}

static void read_done(struct job *job)
{
    struct client_list *list = container_of(job, struct client_list, job);
    struct server *server = list->server;

    finish(list);
    while (server->lists && begin(server->lists) < 0) {
        finish(server->lists);
    }
}

static int new_list(struct server *server,
                    const struct rdisk_list_request *request,
                    struct client_list **made, struct rdisk_error *err)
{
    const struct config *config = server->config;
    bool everything = config->authentication == ACCESS_METHOD_OPEN;
    const struct access_client *client = everything
                                             ? NULL
                                             : access_find(config->clients,
                                                           request->user);
    struct client_list *list;

    if (!everything && !client) {
        return rdisk_error_set(err, -EPERM, "this client may not list volumes");
    }
    list = calloc(1, sizeof(*list));
    if (!list || (client && access_copy_lists(&list->client, client) < 0)) {
        free(list);
        return rdisk_error_set(err, -ENOMEM,
                               "the server has no memory for a request");
    }
    list->server = server;
    list->everything = everything;
    list->page.wanted = wanted;
    list->page.opaque = list;
    snprintf(list->page.after, sizeof(list->page.after), "%s", request->after);
    *made = list;
    return 0;
}

/* A test's: there is one thread only. */
static enum rdisk_status read_now(struct client_list *list,
                                  struct rdisk_list_page *page,
                                  struct rdisk_error *err)
{
    int result;

    read_run(&list->job);
    pool_page_configured(&list->server->pool, &list->page);
    fill(list, page);
    result = list->result;
    if (result < 0 && err) {
        *err = list->err;
    }
    list_free(list);
    return rdisk_status_from_errno(result);
}

/* Behind all that wait already. */
static int append(struct client_list *list, struct rdisk_error *err)
{
    struct client_list **link = &list->server->lists;
    bool first = !*link;

    while (*link) {
        link = &(*link)->next;
    }
    *link = list;
    if (first && begin(list) < 0) {
        *link = NULL;
        *err = list->err;
        return list->result;
    }
    return 0;
}

enum rdisk_status list_event(void *opaque, struct rdisk_target_session *target,
                             const struct rdisk_list_request *request,
                             struct rdisk_list_page *page, void **user,
                             struct rdisk_error *err)
{
    struct server *server = opaque;
    struct client_list *list = NULL;
    struct session *session;
    int result = new_list(server, request, &list, err);

    assert_control_thread();
    if (result < 0) {
        return rdisk_status_from_errno(result);
    }
    if (!server->jobs) {
        return read_now(list, page, err);
    }
    session = calloc(1, sizeof(*session));
    if (!session) {
        list_free(list);
        rdisk_error_set(err, -ENOMEM, "the server has no memory for a session");
        return RDISK_STATUS_NO_RESOURCES;
    }
    session->server = server;
    session->target = target;
    session->list = list;
    list->session = session;
    result = append(list, err);
    if (result < 0) {
        list_free(list);
        free(session);
        return rdisk_status_from_errno(result);
    }
    *user = session;
    rdisk_error_set(err, -EBUSY, "its storage does not answer");
    return RDISK_LATER;
}

void list_leave(struct session *session)
{
    struct client_list *list = session->list;
    struct client_list **link = &session->server->lists;

    list->session = NULL;
    if (*link != list) {
        while (*link != list) {
            link = &(*link)->next;
        }
        *link = list->next;
        list_free(list);
    }
    free(session);
}
