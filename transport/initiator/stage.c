/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How a request is encoded: where its memory lies, and the work requests that
 * carry it into its slot.
 */
#include <arpa/inet.h>

#include "transport/initiator/session.h"

/*
 * Bytes. The server writes each piece of a read by itself, in a packet of its
 * own at least, so that many small ones cost more than to copy them from one;
 * those of a write are gathered by the device and cost nothing. Measured by
 * `make bench-pieces`, see docs/performance.md.
 */
#define PIECE_LEAST 2048u

/* ---- Pieces: where a request's memory lies ---------------------------- */

/* Append, or lengthen the last one if this continues it. */
static bool add_piece(struct rdisk_queue *queue, unsigned int *count,
                      const struct rdisk_piece *piece)
{
    struct rdisk_piece *last = *count ? &queue->pieces[*count - 1] : NULL;

    if (last && last->address + last->length == piece->address &&
        last->keys.lkey == piece->keys.lkey) {
        last->length += piece->length;
        return true;
    }
    if (*count == queue->max_segments) {
        return false;
    }
    queue->pieces[(*count)++] = *piece;
    return true;
}

/* The caller's own memory; 0 if a part is unregistered or there are too many
 * parts. */
static unsigned int gather_direct(struct rdisk_queue *queue,
                                  const struct rdisk_request *request)
{
    struct rdisk_memory *memory = &queue->session->registrations.memory;
    unsigned int count = 0;

    for (unsigned int i = 0; i < request->iovcnt; i++) {
        const struct iovec *iov = &request->iov[i];
        const struct rdisk_memory_keys *keys;
        struct rdisk_piece piece = {
            .address = (uintptr_t)iov->iov_base,
            .length = (uint32_t)iov->iov_len,
        };

        if (iov->iov_len == 0) {
            continue;
        }
        keys = rdisk_memory_lookup(memory, iov->iov_base, iov->iov_len,
                                   &queue->memory_hint);
        if (!keys) {
            return 0;
        }
        piece.keys = *keys;
        if (!add_piece(queue, &count, &piece)) {
            return 0;
        }
    }
    return count;
}

/* Bytes that cross the wire: of an EXTENTS, the list. */
static uint32_t bounce_length(const struct rdisk_request *request)
{
    return request->op == RDISK_OP_EXTENTS
               ? (uint32_t)(request->extent_count *
                            sizeof(struct rdisk_wire_extent))
               : (uint32_t)request->length;
}

uint64_t rdisk_queue_extents_range(const struct rdisk_queue *queue,
                                   const struct rdisk_request *request)
{
    return queue->long_extents || request->length < RDISK_RANGE_MAX
               ? request->length
               : RDISK_RANGE_MAX;
}

/* Bounce memory; 0 if there is not enough now. */
static unsigned int gather_bounce(struct rdisk_queue *queue,
                                  struct rdisk_request *request)
{
    uint32_t left = bounce_length(request);
    unsigned int count = 0;
    uint16_t chunk;

    if (!request->bounced) {
        if (!rdisk_bounce_acquire(&queue->bounce, left, &request->chunk_first,
                                  &request->chunk_count)) {
            return 0;
        }
        request->bounced = true;
    }
    chunk = request->chunk_first;
    for (unsigned int i = 0; i < request->chunk_count; i++) {
        struct rdisk_piece piece = {
            .address = (uintptr_t)rdisk_bounce_chunk(&queue->bounce, chunk),
            .length = left < RDISK_BOUNCE_CHUNK ? left : RDISK_BOUNCE_CHUNK,
            .keys.lkey = queue->bounce.mr->lkey,
            .keys.rkey = queue->bounce.mr->rkey,
        };

        if (!add_piece(queue, &count, &piece)) {
            return 0;
        }
        left -= piece.length;
        chunk = queue->bounce.next[chunk];
    }
    return count;
}

/* ---- Sending ---------------------------------------------------------- */

static struct rdisk_wire_request *slot_header(struct rdisk_queue *queue,
                                              uint16_t slot)
{
    return (struct rdisk_wire_request *)(queue->headers +
                                         (slot + 1) * RDISK_HEADER_MAX) -
           1;
}

/* All but the sequence. */
static void fill_header(const struct rdisk_queue *queue,
                        const struct rdisk_request *request,
                        unsigned int segments,
                        struct rdisk_wire_request *header)
{
    *header = (struct rdisk_wire_request) {
        .opcode = (uint8_t)request->op,
        .flags = (uint8_t)request->flags,
        .slot = htole16(request->slot),
        .length = htole32((uint32_t)request->length),
        .offset = htole64(request->offset),
        .epoch = htole64(queue->session->epoch),
        .segments = htole16((uint16_t)segments),
        .source = htole64(request->op == RDISK_OP_COPY ? request->source : 0),
    };
    if (request->op == RDISK_OP_EXTENTS) {
        uint64_t range = rdisk_queue_extents_range(queue, request);

        header->length = htole32(queue->long_extents ? 0 : (uint32_t)range);
        header->range = htole64(queue->long_extents ? range : 0);
    }
}

static void fill_segment(const struct rdisk_piece *piece,
                         struct rdisk_wire_segment *segment)
{
    segment->address = htole64(piece->address);
    segment->length = htole32(piece->length);
    segment->key = htole32(piece->keys.rkey);
}

/* From now on there may be an answer to it. */
static void take_sequence(struct rdisk_queue *queue,
                          struct rdisk_request *request)
{
    request->sequence = queue->sequence++;
    request->unanswered = true;
}

/*
 * Give a request the next sequence, when its place among the messages is known:
 * the server counts, too. The first header has the address of the answer areas.
 */
static void number(struct rdisk_queue *queue, struct rdisk_request *request,
                   struct rdisk_wire_request *header)
{
    take_sequence(queue, request);
    header->sequence = htole32(request->sequence);
    if (__builtin_expect(request->sequence == 0, false) && queue->areas_mr) {
        header->areas = htole64((uintptr_t)queue->areas);
        header->areas_key = htole32(queue->areas_mr->rkey);
    }
}

static void finish_work_request(const struct rdisk_request *request,
                                struct ibv_send_wr *wr)
{
    wr->imm_data = htonl(rdisk_imm_request(request->slot, request->sequence));
}

/* A small payload is part of the work request, so the device need not fetch
 * it. */
static void send_inline(const struct rdisk_queue *queue, struct ibv_send_wr *wr)
{
    if (wr->sg_list[0].length <= queue->qp.config.max_inline) {
        wr->send_flags |= IBV_SEND_INLINE;
    }
}

/*
 * A message of headers and segments, @size bytes that lie at @from, which ends
 * where the payload area of @slot begins. The immediate is the caller's.
 */
static struct ibv_send_wr *stage_headers(struct rdisk_queue *queue,
                                         uint16_t slot, const void *from,
                                         size_t size)
{
    const struct rdisk_place *place = &queue->places[slot];
    struct ibv_send_wr *wr = rdisk_qp_stage(&queue->qp);

    wr->num_sge = 1;
    wr->sg_list[0] = (struct ibv_sge) {
        .addr = (uintptr_t)from,
        .length = (uint32_t)size,
        .lkey = queue->headers_mr->lkey,
    };
    send_inline(queue, wr);
    wr->wr.rdma.remote_addr = place->payload - size;
    wr->wr.rdma.rkey = place->rkey;
    wr->opcode = IBV_WR_RDMA_WRITE_WITH_IMM;
    return wr;
}

/* All but WRITE: segments, if any, and header, in one place. */
static void stage_header_only(struct rdisk_queue *queue,
                              struct rdisk_request *request,
                              unsigned int segments)
{
    struct rdisk_wire_request *header = slot_header(queue, request->slot);
    struct rdisk_wire_segment *list = (struct rdisk_wire_segment *)header -
                                      segments;

    for (unsigned int i = 0; i < segments; i++) {
        fill_segment(&queue->pieces[i], &list[i]);
    }
    fill_header(queue, request, segments, header);
    number(queue, request, header);
    finish_work_request(request, stage_headers(queue, request->slot, list,
                                               sizeof(*header) +
                                                   segments * sizeof(*list)));
}

/* ---- Vectors: several requests in one message --------------------------- */

/* True if this may go in one message with others. */
static bool joins_vector(const struct rdisk_queue *queue,
                         const struct rdisk_request *request,
                         unsigned int pieces)
{
    return queue->vector && request->op != RDISK_OP_WRITE && pieces <= 1;
}

static_assert(RDISK_VECTOR_MAX * sizeof(struct rdisk_wire_entry) <=
                  RDISK_HEADER_MAX,
              "a vector fits the memory of one slot's header");

static void add_to_vector(struct rdisk_queue *queue,
                          const struct rdisk_request *request,
                          unsigned int pieces)
{
    struct rdisk_wire_entry *entry;

    if (queue->vector_count == 0) {
        queue->entries = (struct rdisk_wire_entry *)(queue->headers +
                                                     request->slot *
                                                         RDISK_HEADER_MAX);
    }
    entry = &queue->entries[queue->vector_count++];
    if (pieces) {
        fill_segment(&queue->pieces[0], &entry->segment);
    } else {
        entry->segment = (struct rdisk_wire_segment) { 0 };
    }
    fill_header(queue, request, pieces, &entry->request);
    if (queue->vector_count == RDISK_VECTOR_MAX) {
        rdisk_queue_stage_vector(queue);
    }
}

/* A vector of one is sent as a request without vectors. */
static void stage_alone(struct rdisk_queue *queue,
                        struct rdisk_wire_entry *entry, uint16_t slot)
{
    struct rdisk_wire_request *header = &entry->request;
    const void *from = header->segments ? (const void *)entry
                                        : (const void *)header;
    size_t size = (size_t)((const uint8_t *)(entry + 1) -
                           (const uint8_t *)from);

    number(queue, queue->in_slot[slot], header);
    finish_work_request(queue->in_slot[slot],
                        stage_headers(queue, slot, from, size));
}

void rdisk_queue_stage_vector(struct rdisk_queue *queue)
{
    struct rdisk_wire_entry *entries = queue->entries;
    uint16_t slot = le16toh(entries->request.slot);
    unsigned int count = queue->vector_count;
    uint32_t sequence = queue->sequence;
    struct ibv_send_wr *wr;

    /* Now the work request that was kept for it can be used. */
    queue->vector_count = 0;
    if (count == 1) {
        stage_alone(queue, entries, slot);
        return;
    }
    for (unsigned int i = 0; i < count; i++) {
        struct rdisk_wire_request *header = &entries[i].request;

        number(queue, queue->in_slot[le16toh(header->slot)], header);
    }
    wr = stage_headers(queue, slot, entries, count * sizeof(*entries));
    wr->imm_data = htonl(rdisk_imm_vector(slot, sequence));
}

/* A chain of writes to adjacent addresses, while it is built. */
struct chain {
    struct rdisk_queue *queue;
    uint64_t remote; /* where the next byte goes */
    uint32_t rkey;
    struct ibv_send_wr *last;
};

static void begin_link(struct chain *chain, uint64_t remote)
{
    chain->last = rdisk_qp_stage(&chain->queue->qp);
    chain->last->opcode = IBV_WR_RDMA_WRITE;
    chain->last->wr.rdma.remote_addr = remote;
    chain->last->wr.rdma.rkey = chain->rkey;
    chain->remote = remote;
}

static void append(struct chain *chain, uint64_t address, uint32_t length,
                   uint32_t lkey)
{
    struct ibv_send_wr *wr = chain->last;

    if (wr->num_sge == (int)chain->queue->qp.config.max_sge) {
        begin_link(chain, chain->remote);
        wr = chain->last;
    }
    wr->sg_list[wr->num_sge++] = (struct ibv_sge) {
        .addr = address,
        .length = length,
        .lkey = lkey,
    };
    chain->remote += length;
}

/* True if this may go as a bare write, whose message is only the payload. */
static bool goes_bare(const struct rdisk_queue *queue,
                      const struct rdisk_request *request, unsigned int pieces)
{
    /* The first one has a header, with the address of the answer areas. */
    return queue->bare && request->op == RDISK_OP_WRITE && !request->flags &&
           (queue->sequence || !queue->areas_mr) &&
           (request->offset | request->length) % RDISK_BARE_UNIT == 0 &&
           pieces <= queue->qp.config.max_sge &&
           rdisk_bare_reaches(queue->bare_bits, queue->bare_base,
                              request->offset);
}

/* The write ends when the device is done with its memory, too. */
static void await_sends(struct rdisk_queue *queue,
                        struct rdisk_request *request, struct ibv_send_wr *last)
{
    if (queue->await_acks || request->bounced) {
        request->awaits = RDISK_AWAITS_SENDS;
        request->revoked = rdisk_qp_staged(&queue->qp);
        last->send_flags |= IBV_SEND_SIGNALED;
    }
}

static void stage_bare(struct rdisk_queue *queue, struct rdisk_request *request,
                       unsigned int pieces)
{
    const struct rdisk_place *place = &queue->places[request->slot];
    struct ibv_send_wr *wr = rdisk_qp_stage(&queue->qp);

    take_sequence(queue, request);
    wr->opcode = IBV_WR_RDMA_WRITE_WITH_IMM;
    wr->imm_data = htonl(rdisk_imm_bare(queue->bare_bits, request->slot,
                                        queue->bare_base, request->offset));
    wr->wr.rdma.remote_addr = place->payload;
    wr->wr.rdma.rkey = place->rkey;
    wr->num_sge = (int)pieces;
    for (unsigned int i = 0; i < pieces; i++) {
        wr->sg_list[i] = (struct ibv_sge) {
            .addr = queue->pieces[i].address,
            .length = queue->pieces[i].length,
            .lkey = queue->pieces[i].keys.lkey,
        };
    }
    await_sends(queue, request, wr);
}

/* WRITE: header and payload, each from its own memory, into adjacent bytes. */
static void stage_write(struct rdisk_queue *queue,
                        struct rdisk_request *request, unsigned int pieces)
{
    struct rdisk_wire_request *header = slot_header(queue, request->slot);
    const struct rdisk_place *place = &queue->places[request->slot];
    struct chain chain = { .queue = queue, .rkey = place->rkey };

    fill_header(queue, request, 0, header);
    number(queue, request, header);
    queue->bare_base = rdisk_bare_base(request->offset);
    begin_link(&chain, place->payload - sizeof(struct rdisk_wire_request));
    append(&chain, (uintptr_t)header, sizeof(*header), queue->headers_mr->lkey);
    for (unsigned int i = 0; i < pieces; i++) {
        append(&chain, queue->pieces[i].address, queue->pieces[i].length,
               queue->pieces[i].keys.lkey);
    }
    chain.last->opcode = IBV_WR_RDMA_WRITE_WITH_IMM;
    finish_work_request(request, chain.last);
    await_sends(queue, request, chain.last);
}

/* Work requests that @pieces of this request take, in addition to the one
 * that is kept for the vector. */
static unsigned int work_requests(const struct rdisk_queue *queue,
                                  const struct rdisk_request *request,
                                  unsigned int pieces, bool joins)
{
    unsigned int max_sge = queue->qp.config.max_sge;

    if (request->op == RDISK_OP_WRITE) {
        return (pieces + 1 + max_sge - 1) / max_sge;
    }
    return (rdisk_queue_needs_windows(queue, request) ? pieces : 0) +
           !(joins && queue->vector_count);
}

static void stage(struct rdisk_queue *queue, struct rdisk_request *request,
                  unsigned int pieces, bool joins)
{
    uint16_t slot = rdisk_queue_take_slot(queue, request);

    RDISK_CONTRACT(rdisk_used_here(&queue->use));
    RDISK_CONTRACT(atomic_load(&queue->phase) == RDISK_QUEUE_ACTIVE);
    RDISK_CONTRACT(!queue->in_slot[slot] && queue->created);
    request->slot = slot;
    request->unanswered = false;
    request->awaits = RDISK_AWAITS_NOTHING;
    queue->in_slot[slot] = request;
    atomic_fetch_add_explicit(&queue->in_slots, 1, memory_order_relaxed);
    /* No clock is read for a request: the home thread records the time. */
    atomic_store_explicit(&queue->seen[slot], RDISK_SLOT_UNSEEN,
                          memory_order_relaxed);
    if (rdisk_queue_needs_windows(queue, request)) {
        rdisk_queue_bind(queue, request, pieces);
    }
    if (joins) {
        add_to_vector(queue, request, pieces);
        return;
    }
    if (request->op != RDISK_OP_WRITE) {
        stage_header_only(queue, request, pieces);
        return;
    }
    if (request->bounced) {
        rdisk_bounce_copy_in(&queue->bounce, request->chunk_first, request->iov,
                             request->iovcnt);
        rdisk_counter_add(&queue->copied_bytes, request->length);
    }
    if (goes_bare(queue, request, pieces)) {
        stage_bare(queue, request, pieces);
    } else {
        stage_write(queue, request, pieces);
    }
}

/*
 * True if the device may access the caller's own memory for this. Never for a
 * list of extents, which is checked before the caller gets it.
 */
static bool may_be_direct(const struct rdisk_queue *queue,
                          const struct rdisk_request *request)
{
    enum rdisk_guest_memory mode = queue->session->options.guest_memory;

    return !request->bounced && (request->op == RDISK_OP_WRITE ||
                                 (request->op == RDISK_OP_READ &&
                                  mode != RDISK_GUEST_MEMORY_BOUNCE));
}

/* True if the pieces are too small, on average, to be read one by one. */
static bool too_small(const struct rdisk_request *request, unsigned int pieces)
{
    return request->op == RDISK_OP_READ && pieces > 1 &&
           request->length < pieces * PIECE_LEAST;
}

/* Where a request's payload is, or goes; 0: not now. */
static unsigned int gather(struct rdisk_queue *queue,
                           struct rdisk_request *request)
{
    unsigned int pieces = 0, chunks;

    if (may_be_direct(queue, request)) {
        pieces = gather_direct(queue, request);
    }
    if (rdisk_queue_needs_windows(queue, request) &&
        !rdisk_queue_has_windows(queue, pieces)) {
        pieces = 0;
    }
    if (pieces && !too_small(request, pieces)) {
        return pieces;
    }
    chunks = gather_bounce(queue, request);
    /* Nothing of queue->pieces has changed if there is no memory for a copy. */
    return chunks || request->bounced ? chunks : pieces;
}

bool rdisk_queue_stage(struct rdisk_queue *queue, struct rdisk_request *request)
{
    unsigned int pieces = 0;
    bool joins;

    if (!rdisk_queue_has_slot(queue, request) &&
        !rdisk_resident_has(queue, request)) {
        return false;
    }
    if (request->op == RDISK_OP_READ || request->op == RDISK_OP_WRITE ||
        request->op == RDISK_OP_EXTENTS) {
        pieces = gather(queue, request);
        if (pieces == 0) {
            return false;
        }
        if (__builtin_expect(rdisk_resident_has(queue, request), false)) {
            return rdisk_resident_stage(queue, request, pieces);
        }
    }
    joins = joins_vector(queue, request, pieces);
    if (rdisk_queue_room(queue) <
        work_requests(queue, request, pieces, joins)) {
        return false;
    }
    stage(queue, request, pieces, joins);
    return true;
}
