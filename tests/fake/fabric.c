/* SPDX-License-Identifier: BSD-3-Clause */
/* The fabric: its clock, its generator, and what is delivered next. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "internal.h"

static const char *const object_names[FAKE_OBJECTS] = {
    [FAKE_OBJECT_EVENT_CHANNEL] = "event channel",
    [FAKE_OBJECT_ID] = "connection id",
    [FAKE_OBJECT_CM_EVENT] = "unacknowledged connection event",
    [FAKE_OBJECT_PD] = "protection domain",
    [FAKE_OBJECT_MR] = "memory region",
    [FAKE_OBJECT_MW] = "memory window",
    [FAKE_OBJECT_COMP_CHANNEL] = "completion channel",
    [FAKE_OBJECT_CQ] = "completion queue",
    [FAKE_OBJECT_QP] = "queue pair",
    [FAKE_OBJECT_NAME_QUERY] = "name query",
};

void *fake_alloc(size_t size)
{
    void *memory = calloc(1, size ? size : 1);

    if (!memory) {
        perror("fake device");
        abort();
    }
    return memory;
}

int fake_eventfd(void)
{
    int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);

    if (fd < 0) {
        perror("fake device: eventfd");
        abort();
    }
    return fd;
}

void fake_fd_set(int fd)
{
    if (eventfd_write(fd, 1) < 0) {
        perror("fake device: eventfd");
        abort();
    }
}

void fake_fd_clear(int fd)
{
    eventfd_t value;

    /* Empty already is fine. */
    (void)!eventfd_read(fd, &value);
}

/* splitmix64, Steele et al. 2014: any seed is good, zero included. */
uint64_t fake_random64(uint64_t *state)
{
    uint64_t z = (*state += 0x9e3779b97f4a7c15ull);

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
}

uint64_t fake_pick(struct fake_fabric *fabric, uint64_t bound)
{
    return bound > 1 ? fake_random64(&fabric->random_state) % bound : 0;
}

void fake_misuse(struct fake_fabric *fabric, const char *format, ...)
{
    char sentence[256];
    va_list args;

    va_start(args, format);
    vsnprintf(sentence, sizeof(sentence), format, args);
    va_end(args);
    if (fabric->misuse) {
        fabric->misuse(fabric->misuse_opaque, sentence);
        return;
    }
    fprintf(stderr, "fake device: misuse: %s\n", sentence);
    abort();
}

void fake_lock(struct fake_fabric *fabric)
{
    pthread_mutex_lock(&fabric->mutex);
}

/* Messages of the connection manager of which the next one is chosen. */
#define OLDEST 16u

/* ---- What comes next -------------------------------------------------- */

/* How many things could be delivered now. */
struct ready {
    unsigned int messages, queries, all;
};

static struct ready count_ready(struct fake_fabric *fabric, uint64_t *next)
{
    struct ready ready = {
        .messages = fake_message_count(fabric, next),
        .queries = fake_query_count(fabric, next),
    };
    struct fake_qp *qp = TAILQ_FIRST(&fabric->busy), *after;

    ready.all = ready.messages + ready.queries;
    for (; qp; qp = after) {
        unsigned int here = fake_qp_ready(qp, next);

        after = TAILQ_NEXT(qp, busy_link);
        ready.all += here;
        if (!here && fake_qp_rests(qp)) {
            TAILQ_REMOVE(&fabric->busy, qp, busy_link);
            qp->busy = false;
        }
    }
    return ready;
}

/* Between half a microsecond and two: nothing is instantaneous. */
static void pass_time(struct fake_fabric *fabric)
{
    fabric->now += 500 + fake_pick(fabric, 1500);
}

static bool step(struct fake_fabric *fabric)
{
    uint64_t next = RDISK_NEVER;
    struct ready ready = count_ready(fabric, &next);
    unsigned int chosen;
    struct fake_qp *qp;

    if (!ready.all) {
        return false;
    }
    chosen = fake_pick(fabric, ready.all);
    if (chosen < ready.messages) {
        fake_message_deliver(fabric, chosen);
    } else if (chosen < ready.messages + ready.queries) {
        fake_query_deliver(fabric, chosen - ready.messages);
    } else {
        chosen -= ready.messages + ready.queries;
        TAILQ_FOREACH(qp, &fabric->busy, busy_link) {
            unsigned int here = fake_qp_ready(qp, &next);

            if (chosen < here) {
                fake_qp_deliver(qp, chosen);
                break;
            }
            chosen -= here;
        }
    }
    pass_time(fabric);
    return true;
}

static bool sweep_messages(struct fake_fabric *fabric)
{
    uint64_t next = RDISK_NEVER;
    unsigned int ready = fake_message_count(fabric, &next), left = ready;
    bool any = ready;

    for (; left && ready; left--) {
        /* One of the oldest: none stays behind. */
        fake_message_deliver(fabric,
                             fake_pick(fabric,
                                       ready < OLDEST ? ready : OLDEST));
        ready = fake_message_count(fabric, &next);
    }
    if (!fake_query_count(fabric, &next)) {
        return any;
    }
    fake_query_deliver(fabric, 0);
    return true;
}

static bool sweep_qps(struct fake_fabric *fabric)
{
    struct fake_qp *qp = TAILQ_FIRST(&fabric->busy), *after;
    uint64_t next = RDISK_NEVER;
    bool any = false;

    for (; qp; qp = after) {
        unsigned int here = fake_qp_ready(qp, &next);

        after = TAILQ_NEXT(qp, busy_link);
        if (here) {
            fake_qp_deliver(qp, fake_pick(fabric, here));
            any = true;
        } else if (fake_qp_rests(qp)) {
            TAILQ_REMOVE(&fabric->busy, qp, busy_link);
            qp->busy = false;
        }
    }
    return any;
}

bool fake_fabric_sweep(struct fake_fabric *fabric)
{
    bool messages, qps;

    fake_lock(fabric);
    messages = sweep_messages(fabric);
    qps = sweep_qps(fabric);
    /* They are things of different devices, at the same time. */
    pass_time(fabric);
    pthread_mutex_unlock(&fabric->mutex);
    return messages || qps;
}

static unsigned int run(struct fake_fabric *fabric)
{
    unsigned int steps = 0;

    while (step(fabric)) {
        steps++;
    }
    return steps;
}

void fake_unlock(struct fake_fabric *fabric)
{
    if (fabric->automatic) {
        run(fabric);
    }
    pthread_mutex_unlock(&fabric->mutex);
}

bool fake_fabric_step(struct fake_fabric *fabric)
{
    bool stepped;

    fake_lock(fabric);
    stepped = step(fabric);
    pthread_mutex_unlock(&fabric->mutex);
    return stepped;
}

unsigned int fake_fabric_run(struct fake_fabric *fabric)
{
    unsigned int steps;

    fake_lock(fabric);
    steps = run(fabric);
    pthread_mutex_unlock(&fabric->mutex);
    return steps;
}

void fake_fabric_automatic(struct fake_fabric *fabric, bool automatic)
{
    fake_lock(fabric);
    fabric->automatic = automatic;
    fake_unlock(fabric);
}

/* ---- Time ------------------------------------------------------------- */

uint64_t fake_fabric_now(struct fake_fabric *fabric)
{
    uint64_t now;

    fake_lock(fabric);
    now = fabric->now;
    pthread_mutex_unlock(&fabric->mutex);
    return now;
}

static uint64_t next_due(struct fake_fabric *fabric)
{
    uint64_t next = RDISK_NEVER;

    return count_ready(fabric, &next).all ? fabric->now : next;
}

uint64_t fake_fabric_next(struct fake_fabric *fabric)
{
    uint64_t next;

    fake_lock(fabric);
    next = next_due(fabric);
    pthread_mutex_unlock(&fabric->mutex);
    return next;
}

void fake_fabric_advance(struct fake_fabric *fabric, uint64_t nanoseconds)
{
    uint64_t end;

    fake_lock(fabric);
    end = fabric->now + nanoseconds;
    for (;;) {
        uint64_t next;

        run(fabric);
        next = next_due(fabric);
        if (next > end) {
            break;
        }
        if (next > fabric->now) {
            fabric->now = next;
        }
    }
    if (fabric->now < end) {
        fabric->now = end;
    }
    pthread_mutex_unlock(&fabric->mutex);
}

void fake_fabric_set_now(struct fake_fabric *fabric, uint64_t now)
{
    fake_lock(fabric);
    if (now > fabric->now) {
        fabric->now = now;
    }
    fake_unlock(fabric);
}

uint64_t fake_fabric_random(struct fake_fabric *fabric, uint64_t bound)
{
    uint64_t number;

    fake_lock(fabric);
    number = fake_pick(fabric, bound);
    pthread_mutex_unlock(&fabric->mutex);
    return number;
}

/* ---- Settings --------------------------------------------------------- */

struct fake_timing *fake_fabric_timing(struct fake_fabric *fabric)
{
    return &fabric->timing;
}

void fake_fabric_loss(struct fake_fabric *fabric, unsigned int n)
{
    fake_lock(fabric);
    fabric->loss = n;
    fake_unlock(fabric);
}

void fake_fabric_observe(struct fake_fabric *fabric,
                         void (*write)(void *opaque,
                                       const struct fake_write *write),
                         void *opaque)
{
    fake_lock(fabric);
    fabric->observe = write;
    fabric->observe_opaque = opaque;
    pthread_mutex_unlock(&fabric->mutex);
}

void fake_fabric_observe_resends(
    struct fake_fabric *fabric,
    void (*resend)(void *opaque, const struct fake_resend *resend),
    void *opaque)
{
    fake_lock(fabric);
    fabric->resend = resend;
    fabric->resend_opaque = opaque;
    fake_unlock(fabric);
}

void fake_fabric_on_misuse(struct fake_fabric *fabric,
                           void (*misuse)(void *opaque, const char *sentence),
                           void *opaque)
{
    fake_lock(fabric);
    fabric->misuse = misuse;
    fabric->misuse_opaque = opaque;
    pthread_mutex_unlock(&fabric->mutex);
}

/* ---- Beginning and end ------------------------------------------------ */

struct fake_fabric *fake_fabric_new(uint64_t seed)
{
    struct fake_fabric *fabric = fake_alloc(sizeof(*fabric));

    pthread_mutex_init(&fabric->mutex, NULL);
    fabric->random_state = seed;
    fabric->now = 1000000000ull;
    fabric->timing = (struct fake_timing) {
        /* rdma_cm: 15 retries of 4.3 s each, 2 s, and so on, rounded. */
        .connect = 60000 * RDISK_MSEC,
        .disconnect = 30000 * RDISK_MSEC,
        .time_wait = 1000 * RDISK_MSEC,
        .rnr = 10 * RDISK_MSEC,
        .ack_timeout = 19,
    };
    TAILQ_INIT(&fabric->ids);
    TAILQ_INIT(&fabric->qps);
    TAILQ_INIT(&fabric->busy);
    TAILQ_INIT(&fabric->messages);
    TAILQ_INIT(&fabric->queries);
    return fabric;
}

static unsigned int count_live(struct fake_fabric *fabric, char *text,
                               size_t size)
{
    unsigned int total = 0;
    size_t used = 0;

    if (text && size) {
        text[0] = '\0';
    }
    for (int i = 0; i < FAKE_OBJECTS; i++) {
        unsigned int count = fabric->live[i];

        total += count;
        if (count && text && used < size) {
            used += snprintf(text + used, size - used, "%s%u %s%s",
                             used ? ", " : "", count, object_names[i],
                             count > 1 ? "s" : "");
        }
    }
    return total;
}

unsigned int fake_fabric_live(struct fake_fabric *fabric, char *text,
                              size_t size)
{
    unsigned int live;

    fake_lock(fabric);
    live = count_live(fabric, text, size);
    pthread_mutex_unlock(&fabric->mutex);
    return live;
}

unsigned int fake_fabric_free(struct fake_fabric *fabric)
{
    char text[256];
    unsigned int live = count_live(fabric, text, sizeof(text));
    struct fake_message *message;

    if (live) {
        fprintf(stderr, "fake device: left alive: %s\n", text);
    }
    while ((message = TAILQ_FIRST(&fabric->messages))) {
        TAILQ_REMOVE(&fabric->messages, message, link);
        free(message);
    }
    for (unsigned int i = 0; i < fabric->host_count; i++) {
        fake_host_release(fabric->hosts[i]);
    }
    pthread_mutex_destroy(&fabric->mutex);
    free(fabric->visited);
    free(fabric);
    return live;
}
