/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The server's addresses: resolved again for each attempt to connect, in
 * another thread, and tried one after the other, in the resolver's order.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>

#include "transport/initiator/session.h"

static struct rdisk_host *host_of(struct rdisk_initiator *session)
{
    return rdisk_servers_host(&session->servers);
}

/* ---- Finding them -------------------------------------------------------- */

/* An attempt begins with what is known now. */
static void found(struct rdisk_initiator *session)
{
    struct rdisk_server *server = &session->server;

    server->trying = host_of(session)->known;
    server->next = 0;
    server->failures[0] = '\0';
    server->failed = server->unnamed = 0;
    rdisk_initiator_raise(session, RDISK_EVENT_RESOLVED);
}

/* Of a session that was open the addresses of one of them are known. */
static void try_next(struct rdisk_initiator *session)
{
    rdisk_initiator_drop_query(session);
    rdisk_servers_turn(&session->servers);
    session->peer = host_of(session)->peer;
    rdisk_initiator_set_deadline(session, RDISK_DEADLINE_NAME);
    rdisk_initiator_resolve(session);
}

/* A server that was reached before is not lost with the name server. */
static void not_found(struct rdisk_initiator *session, int code,
                      const char *why)
{
    struct rdisk_host *host = host_of(session);
    bool known = host->known.count;
    bool another = rdisk_servers_left(&session->servers) > 1 ||
                   session->recovery.established;

    if (!known && !another) {
        rdisk_initiator_raise_lost(session, code,
                                   "cannot resolve host '%s': %s", host->name,
                                   why);
        return;
    }
    rdisk_log(session->env,
              host->reported ? RDISK_LOG_DEBUG : RDISK_LOG_WARNING,
              "cannot resolve host '%s': %s; trying %s", host->name, why,
              !known                  ? "the next server"
              : host->known.count > 1 ? "its last known addresses"
                                      : "its last known address");
    host->reported = true;
    if (known) {
        found(session);
    } else {
        try_next(session);
    }
}

static int begin_query(struct rdisk_initiator *session)
{
    const struct rdisk_verbs *verbs = session->env->verbs;
    const struct rdisk_host *host = host_of(session);
    struct rdisk_server *server = &session->server;
    struct epoll_event event = { .events = EPOLLIN };

    server->query = verbs->query_name(host->name, host->port);
    if (!server->query) {
        return -errno;
    }
    if (epoll_ctl(session->poll_fd, EPOLL_CTL_ADD, server->query->fd, &event) <
        0) {
        int ret = -errno;

        verbs->name_end(server->query);
        server->query = NULL;
        return ret;
    }
    return 0;
}

void rdisk_initiator_resolve(struct rdisk_initiator *session)
{
    struct rdisk_host *host = host_of(session);
    struct rdisk_server *server = &session->server;
    int ret;

    session->connection.exists = true;
    if (!host->known.count) {
        host->literal = rdisk_addresses_parse(&host->known, host->name,
                                              host->port);
    }
    if (host->literal) {
        found(session);
    } else if (!server->query && (ret = begin_query(session)) < 0) {
        not_found(session, ret,
                  ret == -EAGAIN ? "too many names are being resolved"
                                 : strerror(-ret));
    }
    /* Else the query of an earlier attempt is still in progress. */
}

void rdisk_initiator_drop_query(struct rdisk_initiator *session)
{
    struct rdisk_server *server = &session->server;

    if (server->query) {
        /* Its thread may keep the descriptor open. */
        epoll_ctl(session->poll_fd, EPOLL_CTL_DEL, server->query->fd, NULL);
        session->env->verbs->name_end(server->query);
        server->query = NULL;
    }
}

void rdisk_initiator_take_addresses(struct rdisk_initiator *session)
{
    struct rdisk_server *server = &session->server;
    struct rdisk_host *host = host_of(session);
    bool awaited = rdisk_initiator_state(session) == RDISK_INITIATOR_RESOLVING;
    const char *why;
    int ret;

    if (!server->query) {
        return;
    }
    ret = session->env->verbs->name_answer(server->query, &host->known, &why);
    if (ret == -EAGAIN) {
        return;
    }
    rdisk_initiator_drop_query(session);
    host->reported = host->reported && ret < 0;
    if (awaited && ret < 0) {
        not_found(session, ret, why);
    } else if (awaited) {
        found(session);
    }
    rdisk_initiator_run(session);
}

void rdisk_initiator_name_late(struct rdisk_initiator *session)
{
    not_found(session, -ETIMEDOUT, "the resolver has not answered in time");
}

/* ---- Trying them --------------------------------------------------------- */

bool rdisk_initiator_addresses_left(const struct rdisk_initiator *session)
{
    return session->server.next < session->server.trying.count;
}

void rdisk_initiator_note_address(struct rdisk_initiator *session,
                                  const struct rdisk_error *err)
{
    struct rdisk_server *server = &session->server;
    size_t used = strlen(server->failures);
    size_t left = sizeof(server->failures) - used;
    int size = snprintf(server->failures + used, left, "%s%s", used ? "; " : "",
                        err->text);

    server->failed++;
    if (size < 0 || (size_t)size >= left) {
        /* Half a sentence misleads; the log has it at level debug. */
        server->failures[used] = '\0';
        server->unnamed++;
    }
}

const char *rdisk_initiator_failures(struct rdisk_initiator *session,
                                     char *list, size_t size)
{
    const struct rdisk_server *server = &session->server;

    list[0] = '\0';
    if (server->failed && server->unnamed) {
        snprintf(list, size, ": %s; and %u more addresses", server->failures,
                 server->unnamed);
    } else if (server->failed) {
        snprintf(list, size, ": %s", server->failures);
    }
    return list;
}

void rdisk_initiator_unreachable(struct rdisk_initiator *session)
{
    const struct rdisk_error *last =
        &session->machine.errors[RDISK_EVENT_ADDRESS_FAILED];
    char text[RDISK_FAILURES_TEXT + 40];

    if (host_of(session)->literal) {
        rdisk_initiator_raise_error(session, RDISK_EVENT_LOST, last);
        return;
    }
    rdisk_initiator_note_address(session, last);
    rdisk_initiator_raise_lost(session, last->code, "cannot connect to %s%s",
                               session->peer,
                               rdisk_initiator_failures(session, text,
                                                        sizeof(text)));
}
