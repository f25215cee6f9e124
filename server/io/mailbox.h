/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Hand-overs between threads: messages that run in the thread that owns the
 * mailbox. For comings and goings only; no request passes through one.
 */
#ifndef RDISK_SERVER_IO_MAILBOX_H
#define RDISK_SERVER_IO_MAILBOX_H

#include <pthread.h>

/* Embedded in what is handed over, whose ownership goes with it. */
struct message {
    void (*run)(struct message *message);
    struct message *next;
};

struct mailbox {
    int fd;               /* an eventfd, readable when one waits */
    pthread_mutex_t lock; /* of the list */
    struct message *first;
    struct message **last;
};

/* 0 or a negative errno. */
int mailbox_init(struct mailbox *mailbox);
void mailbox_destroy(struct mailbox *mailbox);
/* Any thread. */
void mailbox_send(struct mailbox *mailbox, struct message *message);
/* Owner: run everything that waits, in the order it was sent. */
void mailbox_run(struct mailbox *mailbox);

#endif
