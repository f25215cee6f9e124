/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a client's queue has for its whole life, two descriptors, and what it
 * has for one connection: queue pair, memory, and the grant of the server's
 * slots. Home thread; the queue's thread is elsewhere, see enum
 * rdisk_queue_phase.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "transport/initiator/session.h"
#include "transport/verbs/mr.h"

#define INLINE_REQUESTED 256u /* bytes: the header of a read of 12 pieces */
#define SGE_REQUESTED    32u  /* places a work request gathers from */

/* ---- For life --------------------------------------------------------- */

static int watch(struct rdisk_queue *queue, int fd, uint32_t events)
{
    struct epoll_event event = { .events = events };

    return epoll_ctl(queue->poll_fd, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno
                                                                    : 0;
}

int rdisk_queue_init(struct rdisk_queue *queue, struct rdisk_initiator *session,
                     unsigned int index)
{
    queue->session = session;
    queue->link.session = session;
    queue->link.queue = index;
    queue->waiting_end = &queue->waiting;
    queue->answered_end = &queue->answered;
    queue->revoking_end = &queue->revoking;
    queue->poll_fd = epoll_create1(EPOLL_CLOEXEC);
    queue->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (queue->poll_fd < 0 || queue->wake_fd < 0) {
        return -errno;
    }
    return watch(queue, queue->wake_fd, EPOLLIN);
}

void rdisk_queue_destroy(struct rdisk_queue *queue)
{
    rdisk_queue_disconnect(queue);
    if (queue->poll_fd >= 0) {
        close(queue->poll_fd);
    }
    if (queue->wake_fd >= 0) {
        close(queue->wake_fd);
    }
}

/* What a queue has for one connection is the home thread's to change. */
static void assert_quiesced(const struct rdisk_queue *queue)
{
    RDISK_ASSERT_HOME(queue->session);
    RDISK_CONTRACT(atomic_load(&queue->phase) == RDISK_QUEUE_QUIESCED);
}

void rdisk_queue_wake(struct rdisk_queue *queue)
{
    uint64_t one = 1;

    if (write(queue->wake_fd, &one, sizeof(one)) < 0) {
        rdisk_log(queue->session->env, RDISK_LOG_ERROR,
                  "cannot wake queue %u: %s", queue->link.queue,
                  strerror(errno));
    }
    atomic_store(&queue->woken, true);
}

/*
 * While the connection is home's, the queue's thread can take no event of it,
 * and would spin on a channel that is readable.
 */
void rdisk_queue_unwatch(struct rdisk_queue *queue)
{
    epoll_ctl(queue->poll_fd, EPOLL_CTL_DEL, rdisk_qp_fd(&queue->qp), NULL);
}

bool rdisk_queue_reclaim(struct rdisk_queue *queue)
{
    int joined = RDISK_QUEUE_JOINED;

    /* Not used on this connection, so no other thread has to park it. */
    if (atomic_compare_exchange_strong(&queue->phase, &joined,
                                       RDISK_QUEUE_QUIESCED)) {
        rdisk_queue_unwatch(queue);
    }
    return atomic_load_explicit(&queue->phase, memory_order_acquire) ==
           RDISK_QUEUE_QUIESCED;
}

void rdisk_queue_hand_over(struct rdisk_queue *queue)
{
    struct epoll_event event = { .events = EPOLLIN };

    assert_quiesced(queue);
    epoll_ctl(queue->poll_fd, EPOLL_CTL_MOD, rdisk_qp_fd(&queue->qp), &event);
    atomic_store_explicit(&queue->phase, RDISK_QUEUE_JOINED,
                          memory_order_release);
    /* It may have requests that wait since the last connection. */
    rdisk_queue_wake(queue);
}

/* ---- For one connection ----------------------------------------------- */

static size_t whole_pages(size_t size)
{
    return (size + 4095) & ~4095ul;
}

/* True if both sides have vectors. */
static bool has_vectors(const struct rdisk_queue *queue)
{
    return queue->session->handshake.auth.chosen & RDISK_FEATURE_VECTOR;
}

/* True if slots come and go. */
static bool has_grants(const struct rdisk_queue *queue)
{
    return queue->session->handshake.auth.chosen & RDISK_FEATURE_SLOTS;
}

/* The numbers that slots may have. */
static unsigned int numbers(const struct rdisk_queue *queue)
{
    return queue->session->queues.slots +
           (has_grants(queue) ? RDISK_BASE_SLOTS_MAX : 0);
}

static int allocate_grants(struct rdisk_queue *queue)
{
    unsigned int slots = queue->session->queues.slots;

    if (!has_grants(queue)) {
        return 0;
    }
    queue->free_large = calloc(slots, sizeof(queue->free_large[0]));
    queue->grants = calloc(slots, sizeof(queue->grants[0]));
    queue->grant_count = slots;
    return queue->free_large && queue->grants ? 0 : -ENOMEM;
}

static int allocate(struct rdisk_queue *queue, struct rdisk_error *err)
{
    unsigned int slots = numbers(queue);
    size_t areas_size = whole_pages(slots * RDISK_ANSWER_AREA);

    queue->places = calloc(slots, sizeof(queue->places[0]));
    queue->in_slot = calloc(slots, sizeof(queue->in_slot[0]));
    queue->free_slots = calloc(slots, sizeof(queue->free_slots[0]));
    queue->seen = calloc(slots, sizeof(queue->seen[0]));
    queue->headers_size = whole_pages(slots * RDISK_HEADER_MAX);
    queue->headers = aligned_alloc(4096, queue->headers_size);
    queue->areas = has_vectors(queue) ? aligned_alloc(4096, areas_size) : NULL;
    if (!queue->places || !queue->in_slot || !queue->free_slots ||
        !queue->seen || !queue->headers ||
        (has_vectors(queue) && !queue->areas) || allocate_grants(queue) < 0) {
        return rdisk_error_set(err, -ENOMEM, "out of memory");
    }
    for (unsigned int i = 0; i < slots; i++) {
        atomic_init(&queue->seen[i], RDISK_NEVER);
    }
    memset(queue->headers, 0, queue->headers_size);
    if (queue->areas) {
        memset(queue->areas, 0, areas_size);
    }
    return 0;
}

/*
 * As much bounce memory as configured, or else the largest half, quarter and so
 * on that may be locked: less means that more requests wait for each other.
 */
static int create_bounce(struct rdisk_queue *queue, struct rdisk_error *err)
{
    const struct rdisk_initiator *session = queue->session;
    const size_t wanted = session->options.bounce_size;
    const size_t least = session->info.max_transfer;
    size_t size = wanted;
    int ret;

    for (;;) {
        ret = rdisk_bounce_create(&queue->bounce, session->env->verbs,
                                  session->registrations.device->pd, size, err);
        if (ret != -ENOMEM || size / 2 < least) {
            break;
        }
        size = size / 2 / RDISK_BOUNCE_CHUNK * RDISK_BOUNCE_CHUNK;
    }
    if (ret == 0 && size < wanted) {
        rdisk_log(session->env, RDISK_LOG_WARNING,
                  "%s; going on with %zu bytes of bounce memory instead of "
                  "bounce-size=%zu",
                  err->text, size, wanted);
    }
    return ret;
}

static int register_own(struct rdisk_queue *queue, struct rdisk_error *err)
{
    const struct rdisk_verbs *verbs = queue->session->env->verbs;
    struct ibv_pd *pd = queue->session->registrations.device->pd;

    queue->headers_mr = rdisk_mr_register(verbs, pd, queue->headers,
                                          queue->headers_size, 0, err);
    if (!queue->headers_mr) {
        return -ENOMEM;
    }
    if (queue->areas) {
        size_t slots = numbers(queue);

        queue->areas_mr = rdisk_mr_register(verbs, pd, queue->areas,
                                            slots * RDISK_ANSWER_AREA,
                                            IBV_ACCESS_REMOTE_WRITE, err);
        if (!queue->areas_mr) {
            return -ENOMEM;
        }
    }
    return create_bounce(queue, err);
}

int rdisk_queue_connect(struct rdisk_queue *queue, struct rdisk_error *err)
{
    struct rdisk_initiator *session = queue->session;
    const struct rdisk_device_limits *limits =
        &session->registrations.device->limits;
    unsigned int slots = numbers(queue);
    unsigned int max_sge = limits->max_sge < SGE_REQUESTED ? limits->max_sge
                                                           : SGE_REQUESTED;
    /* Work requests of a write in the most pieces, and its header. */
    unsigned int longest = (RDISK_SEGMENTS_MAX + 1 + max_sge - 1) / max_sge;
    unsigned int reads = rdisk_resident_longest(session);
    /* Twice, since a quarter may be held by sends not yet proved done. */
    unsigned int sends = 2 * slots + 2 * (longest > reads ? longest : reads);
    bool windows = session->options.guest_memory == RDISK_GUEST_MEMORY_WINDOW;
    /* Each is bound and invalidated. */
    unsigned int binds = windows ? 2 * slots * RDISK_WINDOWS_PER_SLOT : 0;
    struct rdisk_qp_config config = {
        .counters = &queue->qp_counters,
        .send_depth = sends + binds < limits->max_qp_wr ? sends + binds
                                                        : limits->max_qp_wr,
        .recv_depth = slots, /* one answer for each slot */
        .max_sge = max_sge,
        .max_inline = INLINE_REQUESTED,
    };
    int ret;

    assert_quiesced(queue);
    /* The table may be another device's, with another's sequence. */
    queue->memory_hint.memory = NULL;
    if (config.send_depth < 2 * longest) {
        return rdisk_error_set(
            err, -ENOTSUP,
            "the RDMA device takes %u work requests per queue pair, %u are "
            "needed",
            limits->max_qp_wr, 2 * longest);
    }
    ret = allocate(queue, err);
    if (ret == 0) {
        ret = register_own(queue, err);
    }
    if (ret == 0 && windows) {
        ret = rdisk_queue_windows_create(queue, err);
    }
    if (ret == 0) {
        ret = rdisk_qp_create(&queue->qp, session->env, queue->link.id,
                              session->registrations.device->pd, &config, err);
    }
    if (ret < 0) {
        rdisk_queue_disconnect(queue);
        return ret;
    }
    /* Without events: those are added by rdisk_queue_hand_over(). */
    ret = watch(queue, rdisk_qp_fd(&queue->qp), 0);
    if (ret < 0) {
        rdisk_queue_disconnect(queue);
        return rdisk_error_set(err, ret, "cannot watch for completions: %s",
                               strerror(-ret));
    }
    rdisk_qp_arm(&queue->qp);
    queue->created = true;
    return 0;
}

void rdisk_queue_set_grant(struct rdisk_queue *queue,
                           const struct rdisk_wire_accept *accept)
{
    const struct rdisk_initiator_options *options = &queue->session->options;

    assert_quiesced(queue);
    queue->base_slots = le16toh(accept->slots);
    queue->base_size = le32toh(accept->slot_size);
    queue->slots = queue->base_slots + queue->grant_count;
    queue->max_segments = le16toh(accept->max_segments);
    queue->long_extents = queue->session->handshake.auth.chosen &
                          RDISK_FEATURE_LONG_EXTENTS;
    queue->await_acks = options->write_acks ||
                        options->guest_memory != RDISK_GUEST_MEMORY_DIRECT;
    queue->bare = queue->session->handshake.auth.chosen & RDISK_FEATURE_BARE;
    queue->vector = has_vectors(queue);
    queue->vector_count = 0;
    queue->bare_bits = rdisk_bare_bits(queue->slots);
    queue->bare_base = 0;
    queue->sequence = 0;
    for (unsigned int i = 0; i < queue->base_slots; i++) {
        queue->places[i] = (struct rdisk_place) {
            .payload = le64toh(accept->base) +
                       (uint64_t)i * le32toh(accept->stride) +
                       RDISK_HEADER_AREA,
            .rkey = le32toh(accept->rkey),
        };
    }
    /* Slot 0 on top of the stack. */
    for (unsigned int i = 0; i < queue->base_slots; i++) {
        queue->free_slots[i] = (uint16_t)(queue->base_slots - 1 - i);
    }
    queue->free_count = queue->base_slots;
    queue->large_count = 0;
    queue->want_none = false;
    atomic_store(&queue->large_used, 0);
    atomic_store(&queue->large_peak, 0);
    queue->needs_answer = false;
    atomic_store(&queue->want_due, false);
    atomic_store(&queue->asked, 0);
    atomic_store(&queue->held, 0);
    atomic_store(&queue->grants_changed, false);
}

void rdisk_queue_disconnect(struct rdisk_queue *queue)
{
    /* At the session's destruction it need not be QUIESCED, but left alone. */
    RDISK_CONTRACT(!atomic_load(&queue->use.thread) ||
                   rdisk_used_here(&queue->use));
    /* Before the queue pair that they are bound to. */
    rdisk_queue_windows_destroy(queue);
    rdisk_qp_destroy(&queue->qp);
    rdisk_bounce_destroy(&queue->bounce);
    rdisk_mr_deregister(queue->session->env->verbs, queue->headers_mr);
    rdisk_mr_deregister(queue->session->env->verbs, queue->areas_mr);
    queue->headers_mr = queue->areas_mr = NULL;
    free(queue->headers);
    free(queue->areas);
    free(queue->places);
    free(queue->in_slot);
    free(queue->free_slots);
    free(queue->free_large);
    free(queue->grants);
    free(queue->seen);
    queue->headers = NULL;
    queue->areas = NULL;
    queue->places = NULL;
    queue->in_slot = NULL;
    queue->free_slots = NULL;
    queue->free_large = NULL;
    queue->grants = NULL;
    queue->grant_count = 0;
    atomic_store(&queue->held, 0);
    queue->seen = NULL;
    queue->created = false;
}
