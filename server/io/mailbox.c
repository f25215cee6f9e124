/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/io/mailbox.h"

#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <unistd.h>

int mailbox_init(struct mailbox *mailbox)
{
    mailbox->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (mailbox->fd < 0) {
        return -errno;
    }
    pthread_mutex_init(&mailbox->lock, NULL);
    mailbox->first = NULL;
    mailbox->last = &mailbox->first;
    return 0;
}

void mailbox_destroy(struct mailbox *mailbox)
{
    close(mailbox->fd);
    pthread_mutex_destroy(&mailbox->lock);
}

void mailbox_send(struct mailbox *mailbox, struct message *message)
{
    const uint64_t one = 1;

    message->next = NULL;
    pthread_mutex_lock(&mailbox->lock);
    *mailbox->last = message;
    mailbox->last = &message->next;
    /*
     * Under the lock: once the owner has taken the last message it may
     * destroy the mailbox. The only failure is a counter about to overflow,
     * and then the descriptor is readable already.
     */
    while (write(mailbox->fd, &one, sizeof(one)) < 0 && errno == EINTR) {
    }
    pthread_mutex_unlock(&mailbox->lock);
}

void mailbox_run(struct mailbox *mailbox)
{
    struct message *message;
    uint64_t count;

    while (read(mailbox->fd, &count, sizeof(count)) < 0 && errno == EINTR) {
    }
    pthread_mutex_lock(&mailbox->lock);
    message = mailbox->first;
    mailbox->first = NULL;
    mailbox->last = &mailbox->first;
    pthread_mutex_unlock(&mailbox->lock);
    while (message) {
        /* It may be gone, or sent elsewhere, once it has run. */
        struct message *next = message->next;

        message->run(message);
        message = next;
    }
}
