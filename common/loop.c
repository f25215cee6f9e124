/* SPDX-License-Identifier: BSD-3-Clause */
#include "common/loop.h"

#include "common/thread.h"

#include <errno.h>
#include <sys/epoll.h>
#include <unistd.h>

int loop_init(struct loop *loop)
{
    loop->fd = epoll_create1(EPOLL_CLOEXEC);
    return loop->fd < 0 ? -errno : 0;
}

void loop_destroy(struct loop *loop)
{
    close(loop->fd);
}

static int control(struct loop *loop, int op, int fd, uint32_t events,
                   struct loop_source *source)
{
    struct epoll_event event = { .events = events, .data.ptr = source };

    return epoll_ctl(loop->fd, op, fd, &event) < 0 ? -errno : 0;
}

int loop_add(struct loop *loop, int fd, uint32_t events,
             struct loop_source *source)
{
    return control(loop, EPOLL_CTL_ADD, fd, events, source);
}

int loop_change(struct loop *loop, int fd, uint32_t events,
                struct loop_source *source)
{
    return control(loop, EPOLL_CTL_MOD, fd, events, source);
}

void loop_remove(struct loop *loop, int fd)
{
    control(loop, EPOLL_CTL_DEL, fd, 0, NULL);
}

int loop_turn(struct loop *loop, int timeout_ms)
{
    struct epoll_event event;

    assert_control_thread();
    /* One at a time: a source may remove and free any other. */
    if (epoll_wait(loop->fd, &event, 1, timeout_ms) == 1) {
        struct loop_source *source = event.data.ptr;

        source->ready(source, event.events);
        return 1;
    }
    return 0;
}
