/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/session/attachment.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "common/log.h"
#include "common/thread.h"
#include "server/session/queue.h"

struct attachment *attachment_find(const struct worker *worker,
                                   const struct backend *backend)
{
    struct attachment *attachment = worker->attachments;

    while (attachment && attachment->backend != backend) {
        attachment = attachment->next;
    }
    return attachment;
}

struct attachment *attachment_get(struct worker *worker,
                                  struct backend *backend)
{
    struct attachment *attachment = attachment_find(worker, backend);
    struct rdisk_error err;

    assert_reactor_thread(worker->reactor);
    if (attachment) {
        attachment->queues++;
        return attachment;
    }
    attachment = calloc(1, sizeof(*attachment));
    if (attachment) {
        attachment->context = backend->class->join(backend, worker->reactor,
                                                   &err);
    } else {
        rdisk_error_set(&err, -ENOMEM, "out of memory");
    }
    if (!attachment || !attachment->context) {
        log_error(
            "cannot attach the backend; all requests on this queue fail: %s",
            err.text);
        free(attachment);
        return NULL;
    }
    attachment->backend = backend;
    attachment->queues = 1;
    attachment->hold = barrier_find(worker, backend);
    attachment->next = worker->attachments;
    worker->attachments = attachment;
    return attachment;
}

void attachment_put(struct worker *worker, struct attachment *attachment)
{
    struct attachment **link = &worker->attachments;

    assert_reactor_thread(worker->reactor);
    if (!attachment || --attachment->queues) {
        return;
    }
    assert(attachment->requests == 0);
    while (*link != attachment) {
        link = &(*link)->next;
    }
    *link = attachment->next;
    attachment->backend->class->leave(attachment->context);
    free(attachment);
}
