/* SPDX-License-Identifier: BSD-3-Clause */
/* The control thread's event loop: descriptors with a function each. */
#ifndef RDISK_COMMON_LOOP_H
#define RDISK_COMMON_LOOP_H

#include <stdint.h>

/* Embedded in what it belongs to; may be removed and freed by any ready(). */
struct loop_source {
    void (*ready)(struct loop_source *source, uint32_t events);
};

struct loop {
    int fd; /* of epoll(7) */
};

/* All return 0 or a negative errno. @events are EPOLLIN and so on. */
int loop_init(struct loop *loop);
void loop_destroy(struct loop *loop);
int loop_add(struct loop *loop, int fd, uint32_t events,
             struct loop_source *source);
int loop_change(struct loop *loop, int fd, uint32_t events,
                struct loop_source *source);
void loop_remove(struct loop *loop, int fd);

/* Wait for one source to be ready and run it; -1 waits without limit. Returns
 * the number of sources that were run. */
int loop_turn(struct loop *loop, int timeout_ms);

#endif
