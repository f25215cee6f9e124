/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Requests and answers on the wire: a request is an RDMA write with immediate
 * into a slot. wire.h has the rules of all structures on the wire.
 */
#ifndef RDISK_WIRE_REQUEST_H
#define RDISK_WIRE_REQUEST_H

#include "transport/wire/wire.h"

struct rdisk_wire_request {
    uint8_t opcode;      /* enum rdisk_op */
    uint8_t flags;       /* RDISK_REQUEST_… */
    rdisk_le16 slot;     /* the slot this lies in */
    rdisk_le32 length;   /* bytes of the volume; 0 with @range */
    rdisk_le64 offset;   /* byte of the volume */
    rdisk_le64 epoch;    /* of the session */
    rdisk_le32 sequence; /* +1 for each request of the queue */
    rdisk_le16 segments; /* READ, EXTENTS: entries of the list before
                                   this */
    rdisk_le16 reserved0;
    union {
        rdisk_le64 source; /* COPY: byte of the volume to copy from */
        rdisk_le64 range;  /* EXTENTS with LONG_EXTENTS: bytes of the volume */
    };
    rdisk_le64 areas;     /* VECTOR, sequence 0: address of the answer areas */
    rdisk_le32 areas_key; /* the same: their key */
    rdisk_le32 reserved1;
    uint8_t reserved[8];
};
static_assert(sizeof(struct rdisk_wire_request) == 64, "wire layout");
static_assert(offsetof(struct rdisk_wire_request, areas) == 40, "wire layout");
static_assert(offsetof(struct rdisk_wire_request, epoch) == 16, "wire layout");
static_assert(offsetof(struct rdisk_wire_request, source) == 32, "wire layout");

/* Where a piece of a read, or of an EXTENTS' list, goes in the client's
 * memory. */
struct rdisk_wire_segment {
    rdisk_le64 address;
    rdisk_le32 length;
    rdisk_le32 key;
};
static_assert(sizeof(struct rdisk_wire_segment) == 16, "wire layout");
static_assert(sizeof(struct rdisk_wire_request) +
                      RDISK_SEGMENTS_MAX * sizeof(struct rdisk_wire_segment) <=
                  RDISK_HEADER_AREA,
              "a full segment list fits the header area");

/*
 * Immediates, before htonl(). A request's names the slot and repeats the low
 * 16 bits of the sequence; an answer's names the slot, repeats the low 8 bits
 * and carries the status.
 */
static inline uint32_t rdisk_imm_request(uint16_t slot, uint32_t sequence)
{
    return (uint32_t)slot << 16 | (sequence & 0xffff);
}

static inline uint32_t rdisk_imm_answer(uint16_t slot, uint32_t sequence,
                                        uint8_t status)
{
    return (uint32_t)slot << 16 | (sequence & 0xff) << 8 | status;
}

/*
 * Vectors, if RDISK_FEATURE_VECTOR was chosen: several requests without payload
 * in one message, which ends where the payload area of its first request's slot
 * begins; and several answers in one message, in the client's answer area of
 * the first one's slot. The immediate has bit 30, the slot, and in the low 16
 * bits the sequence of the first request, or the number of answers.
 */
#define RDISK_VECTOR_FLAG (1u << 30)
#define RDISK_VECTOR_MIN  2u
#define RDISK_VECTOR_MAX  32u

struct rdisk_wire_entry {
    struct rdisk_wire_segment segment; /* zeroes if there is none */
    struct rdisk_wire_request request;
};
static_assert(sizeof(struct rdisk_wire_entry) == 80, "wire layout");
static_assert(RDISK_VECTOR_MAX * sizeof(struct rdisk_wire_entry) <=
                  RDISK_HEADER_AREA,
              "a vector fits the header area");

/* What the client has for each slot: room for an immediate of each answer. */
#define RDISK_ANSWER_AREA (RDISK_VECTOR_MAX * sizeof(rdisk_le32))

static_assert((RDISK_SLOTS_MAX + RDISK_BASE_SLOTS_MAX) << 16 <=
                  RDISK_VECTOR_FLAG,
              "the immediate of a single request or answer has no bit 30");

static inline uint32_t rdisk_imm_vector(uint16_t slot, uint32_t low)
{
    return RDISK_VECTOR_FLAG | (uint32_t)slot << 16 | (low & 0xffff);
}

static inline uint16_t rdisk_vector_slot(uint32_t imm)
{
    return (uint16_t)((imm & ~RDISK_VECTOR_FLAG) >> 16);
}

/*
 * Bare writes, if RDISK_FEATURE_BARE was chosen: the immediate has bit 31, the
 * slot in as many bits as the queue's slots need, and in the rest the distance
 * of the write's offset from the queue pair's base, signed, in units.
 */
#define RDISK_BARE_UNIT 4096u /* bytes: offset and length are multiples */
#define RDISK_BARE_FLAG (1u << 31)

static_assert(RDISK_SLOTS_MAX << 16 <= RDISK_BARE_FLAG,
              "the immediate of a request with a header has no bit 31");

/* Bits of the distance, 21…31, on a queue of @slots slots. */
static inline unsigned int rdisk_bare_bits(unsigned int slots)
{
    unsigned int bits = 31;

    while (1u << (31 - bits) < slots) {
        bits--;
    }
    return bits;
}

/* The base that a WRITE with a header leaves. */
static inline uint64_t rdisk_bare_base(uint64_t offset)
{
    return offset - offset % RDISK_BARE_UNIT;
}

/* True if a bare write at @offset can be expressed. */
static inline bool rdisk_bare_reaches(unsigned int bits, uint64_t base,
                                      uint64_t offset)
{
    uint64_t half = 1ull << (bits - 1);

    return offset / RDISK_BARE_UNIT - base / RDISK_BARE_UNIT + half < 2 * half;
}

static inline uint32_t rdisk_imm_bare(unsigned int bits, uint16_t slot,
                                      uint64_t base, uint64_t offset)
{
    uint64_t distance = offset / RDISK_BARE_UNIT - base / RDISK_BARE_UNIT;

    return RDISK_BARE_FLAG | (uint32_t)slot << bits |
           ((uint32_t)distance & ((1u << bits) - 1));
}

static inline unsigned int rdisk_bare_slot(unsigned int bits, uint32_t imm)
{
    return (imm & ~RDISK_BARE_FLAG) >> bits;
}

static inline uint64_t rdisk_bare_offset(unsigned int bits, uint32_t imm,
                                         uint64_t base)
{
    int64_t distance = (int64_t)((uint64_t)imm << (64 - bits)) >> (64 - bits);

    return base + (uint64_t)distance * RDISK_BARE_UNIT;
}

/* ---- Checks: each request is validated here and nowhere else ---------- */

/* Host-order view of a checked request. */
struct rdisk_request_view {
    enum rdisk_op op;
    unsigned int flags;
    uint64_t offset;
    uint64_t source; /* COPY */
    uint64_t length; /* bytes of the volume */
    uint32_t sequence;
    uint16_t segments;
};

/* What a request is held against. */
struct rdisk_request_limits {
    uint64_t epoch;
    uint64_t size; /* of the volume, bytes */
    uint64_t base; /* of bare writes; of this queue pair */
    uint32_t block_size;
    uint32_t slot_size;
    uint32_t sequence;  /* of this request, as counted; if counted */
    uint32_t slots;     /* of the queue */
    uint32_t bare_bits; /* rdisk_bare_bits(slots) */
    uint16_t slot;      /* that the immediate named */
    uint16_t immediate_sequence;
    bool read_only;
    bool discard, zeroes, extents, copy; /* agreed on */
    bool long_extents, bare, vector;
    bool counted; /* both sides count the requests: bare or vector */
};

/*
 * The slot that an immediate of a request names, below @limits->slots; -EPROTO
 * with the sentence for the log if there is no such slot, or if it is that of
 * a bare write or a vector and those were not agreed on.
 */
int rdisk_wire_check_slot(uint32_t immediate,
                          const struct rdisk_request_limits *limits,
                          struct rdisk_error *err);

/*
 * RDISK_STATUS_OK: @view is filled. BAD_MESSAGE: the peer breaks the protocol
 * and the connection must end. Anything else: answer with it, connection kept.
 * @err gets the sentence for the log.
 */
enum rdisk_status rdisk_wire_check_request(
    const struct rdisk_wire_request *wire,
    const struct rdisk_request_limits *limits, struct rdisk_request_view *view,
    struct rdisk_error *err);

/*
 * The same for a bare write: its immediate, which rdisk_wire_check_slot() has
 * passed, and the @length bytes of its message.
 */
enum rdisk_status rdisk_wire_check_bare(
    uint32_t immediate, uint32_t length,
    const struct rdisk_request_limits *limits, struct rdisk_request_view *view,
    struct rdisk_error *err);

/*
 * The number of requests in a vector, whose message has @length bytes:
 * RDISK_VECTOR_MIN…RDISK_VECTOR_MAX, or -EPROTO with the sentence for the log.
 */
int rdisk_wire_check_vector(uint32_t length, struct rdisk_error *err);

/*
 * A request in a vector: what rdisk_wire_check_request() checks, and that it
 * has no payload and at most the one segment.
 */
enum rdisk_status rdisk_wire_check_entry(
    const struct rdisk_wire_entry *entry,
    const struct rdisk_request_limits *limits, struct rdisk_request_view *view,
    struct rdisk_error *err);

/*
 * Check that the segments of a read are non-empty, do not wrap, and add up to
 * the request's length. Returns OK or BAD_MESSAGE.
 */
enum rdisk_status rdisk_wire_check_segments(
    const struct rdisk_wire_segment *segments, unsigned int count,
    uint32_t length, struct rdisk_error *err);

/*
 * The same for an EXTENTS, whose segments hold a whole number of entries:
 * *@room gets that number, 1…RDISK_EXTENTS_MAX.
 */
enum rdisk_status rdisk_wire_check_room(
    const struct rdisk_wire_segment *segments, unsigned int count,
    unsigned int *room, struct rdisk_error *err);

/*
 * What an EXTENTS of @length bytes was answered with, in a copy that the
 * server cannot write to. Returns the number of entries that are not empty,
 * 1…@room, or 0 with @err: the server breaks the protocol.
 */
unsigned int rdisk_wire_check_extents(const struct rdisk_wire_extent *extents,
                                      unsigned int room, uint64_t length,
                                      uint32_t block_size,
                                      struct rdisk_error *err);

#endif
