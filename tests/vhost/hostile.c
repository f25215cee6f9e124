/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/vhost/hostile.h"

#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "tests/vhost/frontend.h"

#define BLOCK 4096u

static double seconds(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

/* After a broken chain the daemon may disconnect; what counts is that it goes
 * on for others, so this one ends either way. */
static void chain(const char *path, struct vring_desc first,
                  struct vring_desc second)
{
    struct frontend frontend;
    struct vring_desc *desc;

    frontend_start(&frontend, path, BLOCK);
    desc = frontend_descriptors(&frontend);
    desc[0] = first;
    desc[1] = second;
    frontend_submit_chain(&frontend, 0);
    frontend_kick(&frontend);
    /* Either an answer, or none, or the daemon disconnects: to connect again
     * with the chain still in flight would go on without end. */
    frontend.expendable = true;
    frontend_wait(&frontend, 300);
    frontend_stop(&frontend);
}

int hostile_chains(const char *path)
{
    const struct vring_desc last = { .len = 1, .flags = VRING_DESC_F_WRITE };
    static const struct {
        struct vring_desc first, second;
    } chains[] = {
        { { .addr = 1ull << 40,
            .len = 16,
            .flags = VRING_DESC_F_NEXT,
            .next = 1 },
          { .len = 1, .flags = VRING_DESC_F_WRITE } },
        { { .len = UINT32_MAX, .flags = VRING_DESC_F_NEXT, .next = 1 },
          { .len = 1, .flags = VRING_DESC_F_WRITE } },
        { { .addr = UINT64_MAX - 8,
            .len = 16,
            .flags = VRING_DESC_F_NEXT,
            .next = 1 },
          { .len = 1, .flags = VRING_DESC_F_WRITE } },
        { { .len = 16, .flags = VRING_DESC_F_NEXT, .next = 0 }, { 0 } },
        { { .len = 16, .flags = VRING_DESC_F_NEXT, .next = 60000 }, { 0 } },
        { { .len = 16, .flags = VRING_DESC_F_INDIRECT }, { 0 } },
        { { .len = 15, .flags = VRING_DESC_F_INDIRECT }, { 0 } },
        { { .len = 16 }, { 0 } },
        { { .len = 1,
            .flags = VRING_DESC_F_WRITE | VRING_DESC_F_NEXT,
            .next = 1 },
          { .len = 16 } },
    };

    for (unsigned int i = 0; i < sizeof(chains) / sizeof(chains[0]); i++) {
        chain(path, chains[i].first, chains[i].second);
    }
    /* A head that is no descriptor. */
    {
        struct frontend frontend;

        frontend_start(&frontend, path, BLOCK);
        frontend_descriptors(&frontend)[0] = last;
        frontend_submit_chain(&frontend, 65535);
        frontend_kick(&frontend);
        frontend.expendable = true;
        frontend_wait(&frontend, 300);
        frontend_stop(&frontend);
    }
    printf("%zu broken chains\n", sizeof(chains) / sizeof(chains[0]) + 1);
    return 0;
}

/* As a VMM does that knows nothing of its guest's requests. */
int hostile_broken(const char *path, double duration, const char *stop)
{
    double end = seconds() + duration;
    struct frontend frontend;
    struct vring_desc *desc;

    frontend_start(&frontend, path, BLOCK);
    desc = frontend_descriptors(&frontend);
    desc[0] = (struct vring_desc) { .addr = 1ull << 40, .len = 16 };
    frontend.reconnect = true;
    frontend_submit_chain(&frontend, 0);
    frontend_kick(&frontend);
    while (seconds() < end && !(stop && access(stop, F_OK) == 0)) {
        frontend_wait(&frontend, 100);
    }
    printf("%u reconnects\n", frontend.reconnects);
    fflush(stdout);
    frontend_stop(&frontend);
    return 0;
}
