/* SPDX-License-Identifier: BSD-3-Clause */
/* Internal to the initiator: one outgoing connection, and all of a
 * session's. */
#ifndef RDISK_INITIATOR_LINK_H
#define RDISK_INITIATOR_LINK_H

#include <stdbool.h>
#include <sys/socket.h>

#include "transport/verbs/cm_teardown.h"
#include "transport/verbs/control.h"

enum rdisk_link_state {
    RDISK_LINK_IDLE,    /* nothing begun yet */
    RDISK_LINK_ADDRESS, /* finding the device that reaches the server */
    RDISK_LINK_ROUTE,   /* finding the route */
    RDISK_LINK_CONNECT, /* request sent, waiting for REP or REJ */
    RDISK_LINK_UP,
    RDISK_LINK_ENDED, /* was up; not reported to the session yet */
    RDISK_LINK_DOWN,  /* refused, failed or disconnected */
};

struct rdisk_link {
    struct rdisk_initiator *session;
    unsigned int queue; /* 0: control; 1…: data queue index */
    enum rdisk_link_state state;
    struct rdma_cm_id *id;
    bool known; /* to the server, perhaps: it was requested */
};

/* What a session has of connections. Home thread. */
struct rdisk_connection {
    struct rdma_event_channel *channel; /* as long as the session, or until
                                   the process changes its user */
    bool channel_refused;               /* that has been noticed, and no other
                                   one could be opened */
    struct sockaddr_storage address;    /* of the server, in use */
    struct rdisk_link link;             /* the control link */
    struct rdisk_control control;
    bool control_up;                     /* it was established */
    bool exists;                         /* something is to be released */
    bool link_suspect;                   /* this side's may be down */
    struct rdisk_cm_teardowns teardowns; /* of earlier connections */
};

/* link.c */

/* Begin to connect. An error found at once is returned, a later one is LOST. */
int rdisk_link_start(struct rdisk_link *link, struct rdisk_error *err);
/* Events of the connection manager for the session's links, one turn's. */
void rdisk_link_take_events(struct rdisk_initiator *session);
/* Raise what became of links that ended. */
void rdisk_link_report_ended(struct rdisk_initiator *session);
/* Disconnect if it is up and the message can be sent; no more events of it. */
void rdisk_link_disconnect(struct rdisk_link *link);
/* After its queue pair was destroyed and no event of it is unacknowledged. */
void rdisk_link_destroy(struct rdisk_link *link);

/* connection.c */

/* What a session needs to connect at all. 0 or a negative errno. */
int rdisk_connection_open(struct rdisk_initiator *session,
                          struct rdisk_error *err);
/* The kernel has refused the channel (-EACCES): open another one, as the user
 * that this process has now. 0 or a negative errno. */
int rdisk_connection_renew_channel(struct rdisk_initiator *session,
                                   struct rdisk_error *err);
void rdisk_connection_close(struct rdisk_initiator *session);
/* RESOLVING, for the first time. */
void rdisk_connection_begin(struct rdisk_initiator *session);
/* CONNECTING: device, route, control connection, at the next address. */
void rdisk_connection_try(struct rdisk_initiator *session);
/* The address that was tried has failed: the same at the next one. */
void rdisk_connection_try_another(struct rdisk_initiator *session);
/* The device that reaches the server is known. 0 or a negative errno. */
int rdisk_connection_device(struct rdisk_initiator *session,
                            struct ibv_context *context,
                            struct rdisk_error *err);
/* The control link is established. */
void rdisk_connection_control_up(struct rdisk_initiator *session);
/* Break every queue pair of this connection and disconnect. */
void rdisk_connection_break(struct rdisk_initiator *session);
/* Raise QUIESCED if every queue has given the connection back. */
void rdisk_connection_report_quiesced(struct rdisk_initiator *session);
/* Release all that belongs to this connection. Every queue is QUIESCED. */
void rdisk_connection_drop(struct rdisk_initiator *session);
/* Why @qp is broken, as far as its device reports it. -ETIMEDOUT: no answer. */
void rdisk_connection_explain(const struct rdisk_initiator *session,
                              const struct rdisk_qp *qp,
                              struct rdisk_error *err);

#endif
