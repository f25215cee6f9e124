/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Everything that crosses the wire, and the one place that checks it.
 *
 * All integers are little-endian in memory layout, except the 32-bit immediate
 * of a work request, which verbs define as big-endian. docs/protocol.md says
 * the same byte by byte. A structure never changes its layout: new fields come
 * out of reserved bytes, which are zero until a feature bit gives them meaning.
 */
#ifndef RDISK_WIRE_WIRE_H
#define RDISK_WIRE_WIRE_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <endian.h>

#include <rdisk/error.h>
#include <rdisk/protocol.h>

#define RDISK_WIRE_MAGIC   0x6b736472u /* "rdsk" */
#define RDISK_WIRE_VERSION 1

/*
 * A slot is a header area, then the payload on a page boundary. A request's
 * fixed header ends exactly where the payload begins, and the segment list
 * ends where the fixed header begins, so one contiguous remote write takes
 * either header + payload or segments + header.
 */
#define RDISK_HEADER_AREA 8192u

/* ---- rdma_cm private data -------------------------------------------- */

enum rdisk_link_kind {
    RDISK_LINK_CONTROL = 0, /* messages of the session; no data */
    RDISK_LINK_DATA = 1,    /* one data queue of an open session */
};

/* In the connection request: 56 bytes at most on RC. */
struct rdisk_wire_connect {
    rdisk_le32 magic;
    rdisk_le16 version;
    uint8_t kind; /* enum rdisk_link_kind */
    uint8_t reserved0;
    rdisk_le16 queue;     /* 0: control; 1…: data queue index */
    rdisk_le16 slots;     /* data: slots wanted */
    rdisk_le32 slot_size; /* data: payload bytes wanted */
    rdisk_le64 session;   /* data: id from the open reply */
    rdisk_le64 epoch;     /* data: epoch of the session */
    uint8_t token[16];    /* data: token from the open reply */
};
static_assert(sizeof(struct rdisk_wire_connect) == 48, "wire layout");
static_assert(sizeof(struct rdisk_wire_connect) <= 56, "rdma_cm RC limit");

/* In the acceptance (REP): 196 bytes at most. */
struct rdisk_wire_accept {
    rdisk_le32 magic;
    rdisk_le16 version;
    rdisk_le16 queue;
    rdisk_le16 slots;        /* data: slots leased to this queue */
    rdisk_le16 max_segments; /* data: guest segments one read may name */
    rdisk_le32 slot_size;    /* data: payload bytes of a slot */
    rdisk_le64 base;         /* data: address of slot 0's header area */
    rdisk_le32 rkey;         /* data: key of all slots of this queue */
    rdisk_le32 stride;       /* data: bytes from slot to slot */
};
static_assert(sizeof(struct rdisk_wire_accept) == 32, "wire layout");

/* In a rejection (REJ): 148 bytes at most. */
struct rdisk_wire_reject {
    rdisk_le32 magic;
    rdisk_le16 version; /* the server's */
    rdisk_le16 status;  /* enum rdisk_status */
    rdisk_le16 text_length;
    uint8_t text[138];
};
static_assert(sizeof(struct rdisk_wire_reject) == 148, "rdma_cm RC limit");

/* ---- Control messages (SEND/RECV on the control queue) ---------------- */

enum rdisk_message_type {
    RDISK_MSG_HELLO = 1, /* client: features; first message */
    RDISK_MSG_HELLO_REPLY = 2,
    RDISK_MSG_OPEN = 3, /* client: volume, epoch, requested resources */
    RDISK_MSG_OPEN_REPLY = 4,
    RDISK_MSG_PING = 5, /* either side; answered by PONG */
    RDISK_MSG_PONG = 6,
    RDISK_MSG_CLOSE = 7, /* client: orderly end; all I/O is done */
    RDISK_MSG_CLOSE_REPLY = 8,
    RDISK_MSG_BYE = 9,             /* server: why it ends the session */
    RDISK_MSG_AUTH = 10,           /* client: who it is */
    RDISK_MSG_AUTH_CHALLENGE = 11, /* server: prove it */
    RDISK_MSG_AUTH_PROOF = 12,     /* client: its proof */
    RDISK_MSG_AUTH_REPLY = 13,     /* server: its own proof, or DENIED */
    RDISK_MSG_VOLUME_CHANGED = 14, /* server: the volume was resized */
    RDISK_MSG_RESIZE = 15,         /* client: give the volume another size */
    RDISK_MSG_RESIZE_REPLY = 16,
    RDISK_MSG_CREATE = 17, /* client: instead of OPEN, make a volume */
    RDISK_MSG_CREATE_REPLY = 18,
    RDISK_MSG_STAT = 19, /* client: space that the volume takes up */
    RDISK_MSG_STAT_REPLY = 20,
    RDISK_MSG_DELETE = 21, /* client: instead of OPEN, delete a volume */
    RDISK_MSG_DELETE_REPLY = 22,
    RDISK_MSG_LIST = 23, /* client: before OPEN, which volumes are there? */
    RDISK_MSG_LIST_REPLY = 24,
    RDISK_MSG_SNAPSHOT = 25, /* client: instead of OPEN, of a volume */
    RDISK_MSG_SNAPSHOT_REPLY = 26,
    RDISK_MSG_SLOTS_WANT = 27,  /* client: requests of a queue wait for slots */
    RDISK_MSG_SLOTS_GRANT = 28, /* server: a queue has more of them */
    RDISK_MSG_SLOTS_RECALL = 29, /* server: return what was granted */
    RDISK_MSG_SLOTS_RETURN = 30, /* client: they are not used any more */
    RDISK_MSG_SLOTS_ACK = 31,    /* either side: one of these has arrived */
    RDISK_MSG_COUNT
};

#define RDISK_MESSAGE_MAX 512u /* bytes; also the size of each receive */

struct rdisk_wire_message {
    rdisk_le32 magic;
    rdisk_le16 version;
    rdisk_le16 type;        /* enum rdisk_message_type */
    rdisk_le32 length;      /* whole message, this header included */
    rdisk_le32 sequence;    /* a reply repeats its request's */
    rdisk_le64 epoch;       /* 0 until OPEN has set one */
    rdisk_le16 status;      /* replies and BYE: enum rdisk_status */
    rdisk_le16 text_length; /* if status is not OK: sentence behind body */
    rdisk_le32 reserved;
};
static_assert(sizeof(struct rdisk_wire_message) == 32, "wire layout");

/*
 * Feature bits. A client offers; it marks as required those without which it
 * will not work. The server answers with the subset both know; if a required
 * bit is unknown it refuses with UNSUPPORTED and names the bits.
 */
#define RDISK_FEATURE_FUA     (1ull << 0) /* force unit access writes */
#define RDISK_FEATURE_DISCARD (1ull << 1) /* RDISK_OP_DISCARD */
#define RDISK_FEATURE_ZEROES  (1ull << 2) /* RDISK_OP_ZEROES */
#define RDISK_FEATURE_EXTENTS (1ull << 3) /* RDISK_OP_EXTENTS, STAT */
#define RDISK_FEATURE_RESIZE  (1ull << 4) /* RESIZE, VOLUME_CHANGED */
#define RDISK_FEATURE_CREATE  (1ull << 5) /* CREATE */
#define RDISK_FEATURE_COPY    (1ull << 6) /* RDISK_OP_COPY */
#define RDISK_FEATURE_LONG_EXTENTS \
    (1ull << 7)                             /* RDISK_OP_EXTENTS of any range */
#define RDISK_FEATURE_BARE     (1ull << 8)  /* writes without a header */
#define RDISK_FEATURE_DELETE   (1ull << 9)  /* DELETE */
#define RDISK_FEATURE_VECTOR   (1ull << 10) /* several in one message */
#define RDISK_FEATURE_LIST     (1ull << 11) /* LIST */
#define RDISK_FEATURE_SNAPSHOT (1ull << 12) /* SNAPSHOT */
#define RDISK_FEATURE_SLOTS    (1ull << 13) /* slots come and go */
#define RDISK_FEATURES_KNOWN \
    (RDISK_FEATURE_FUA | RDISK_FEATURE_DISCARD | RDISK_FEATURE_ZEROES | \
     RDISK_FEATURE_EXTENTS | RDISK_FEATURE_RESIZE | RDISK_FEATURE_CREATE | \
     RDISK_FEATURE_COPY | RDISK_FEATURE_LONG_EXTENTS | RDISK_FEATURE_BARE | \
     RDISK_FEATURE_DELETE | RDISK_FEATURE_VECTOR | RDISK_FEATURE_LIST | \
     RDISK_FEATURE_SNAPSHOT | RDISK_FEATURE_SLOTS)

/* How the peers prove who they are, right after HELLO_REPLY. */
enum rdisk_auth_method {
    RDISK_AUTH_NONE = 0,
    RDISK_AUTH_HMAC_SHA256 = 1, /* AUTH and so on */
};

struct rdisk_wire_hello {
    struct rdisk_wire_message message;
    rdisk_le64 features; /* offered / chosen */
    rdisk_le64 required; /* request only */
    rdisk_le32 auth;     /* reply: enum rdisk_auth_method demanded */
    rdisk_le32 reserved[3];
};
static_assert(sizeof(struct rdisk_wire_hello) == 64, "wire layout");

#define RDISK_NONCE_SIZE 32u /* bytes, random, never used twice */
#define RDISK_PROOF_SIZE 32u /* bytes; auth.h */

struct rdisk_wire_auth {
    struct rdisk_wire_message message;
    rdisk_le16 name_length;
    rdisk_le16 reserved[3];
    uint8_t nonce[RDISK_NONCE_SIZE];
    uint8_t name[RDISK_USER_NAME_MAX];
};
static_assert(sizeof(struct rdisk_wire_auth) == 136, "wire layout");

struct rdisk_wire_auth_challenge {
    struct rdisk_wire_message message;
    uint8_t nonce[RDISK_NONCE_SIZE];
};
static_assert(sizeof(struct rdisk_wire_auth_challenge) == 64, "wire layout");

/* AUTH_PROOF and AUTH_REPLY. */
struct rdisk_wire_auth_proof {
    struct rdisk_wire_message message;
    uint8_t proof[RDISK_PROOF_SIZE];
};
static_assert(sizeof(struct rdisk_wire_auth_proof) == 64, "wire layout");

#define RDISK_OPEN_READ_ONLY   (1u << 0)
#define RDISK_OPEN_SHARED      (1u << 1) /* others may write too */
#define RDISK_OPEN_FLAGS_KNOWN (RDISK_OPEN_READ_ONLY | RDISK_OPEN_SHARED)

struct rdisk_wire_open {
    struct rdisk_wire_message message;
    uint8_t client[16];      /* chosen at random by each client session */
    rdisk_le64 epoch;        /* 1 at first, +1 at each reconnect */
    rdisk_le32 flags;        /* RDISK_OPEN_… */
    rdisk_le32 heartbeat_ms; /* longest time without a message */
    rdisk_le16 queues;       /* data queues wanted */
    rdisk_le16 slots;        /* slots wanted for each */
    rdisk_le32 slot_size;    /* payload bytes wanted */
    rdisk_le16 name_length;
    rdisk_le16 reserved[3];
    rdisk_le64 generation; /* 0 at first; then the one that was granted */
    uint8_t name[RDISK_VOLUME_NAME_MAX];
};
static_assert(sizeof(struct rdisk_wire_open) == 216, "wire layout");
static_assert(offsetof(struct rdisk_wire_open, generation) == 80,
              "wire layout");

#define RDISK_VOLUME_READ_ONLY  (1u << 0)
#define RDISK_VOLUME_ROTATIONAL (1u << 1)
#define RDISK_VOLUME_DISCARD    (1u << 2) /* has DISCARD; if chosen */
#define RDISK_VOLUME_ZEROES     (1u << 3) /* has ZEROES; if chosen */
#define RDISK_VOLUME_EXTENTS    (1u << 4) /* has EXTENTS; if chosen */
#define RDISK_VOLUME_RESIZE \
    (1u << 5)                       /* this client may RESIZE it;
                                                   if chosen */
#define RDISK_VOLUME_COPY (1u << 6) /* has COPY; if chosen */

struct rdisk_wire_open_reply {
    struct rdisk_wire_message message;
    rdisk_le64 session;      /* names the session when queues join */
    rdisk_le64 epoch;        /* as asked for */
    uint8_t token[16];       /* proves that a queue belongs to it */
    uint8_t instance[16];    /* changes when the server restarts */
    rdisk_le64 size;         /* bytes */
    rdisk_le32 block_size;   /* bytes; unit of offset and length */
    rdisk_le32 optimal_size; /* bytes; 0: unknown */
    rdisk_le32 volume_flags; /* RDISK_VOLUME_… */
    rdisk_le16 queues;       /* data queues granted */
    rdisk_le16 slots;        /* per queue */
    rdisk_le32 slot_size;    /* payload bytes of a slot */
    rdisk_le32 reserved;
    rdisk_le64 generation;           /* of the lease to write; readers: 0 */
    uint8_t identity[RDISK_ID_SIZE]; /* which volume this is */
    uint8_t cache[RDISK_ID_SIZE];    /* as long as it is the same, what was
                                           answered and not flushed is there */
};
static_assert(sizeof(struct rdisk_wire_open_reply) == 152, "wire layout");
static_assert(offsetof(struct rdisk_wire_open_reply, generation) == 112,
              "wire layout");

struct rdisk_wire_ping {
    struct rdisk_wire_message message;
    rdisk_le64 payload; /* PONG repeats it */
};
static_assert(sizeof(struct rdisk_wire_ping) == 40, "wire layout");

/* VOLUME_CHANGED and RESIZE_REPLY. */
struct rdisk_wire_size {
    struct rdisk_wire_message message;
    rdisk_le64 size; /* bytes, from now on */
    rdisk_le64 reserved;
};
static_assert(sizeof(struct rdisk_wire_size) == 48, "wire layout");

struct rdisk_wire_resize {
    struct rdisk_wire_message message;
    rdisk_le64 size;  /* bytes, multiple of the block size */
    rdisk_le32 flags; /* RDISK_RESIZE_… */
    rdisk_le32 reserved;
};
static_assert(sizeof(struct rdisk_wire_resize) == 48, "wire layout");

struct rdisk_wire_create {
    struct rdisk_wire_message message;
    rdisk_le64 size;  /* bytes, multiple of 512 */
    rdisk_le32 flags; /* RDISK_CREATE_… */
    rdisk_le16 name_length;
    rdisk_le16 reserved;
    uint8_t name[RDISK_VOLUME_NAME_MAX];
};
static_assert(sizeof(struct rdisk_wire_create) == 176, "wire layout");

struct rdisk_wire_delete {
    struct rdisk_wire_message message;
    uint8_t reserved[12];
    rdisk_le16 name_length; /* where CREATE has it */
    rdisk_le16 reserved2;
    uint8_t name[RDISK_VOLUME_NAME_MAX];
};
static_assert(sizeof(struct rdisk_wire_delete) == 176, "wire layout");

struct rdisk_wire_snapshot {
    struct rdisk_wire_message message;
    rdisk_le32 action; /* enum rdisk_snapshot_action */
    rdisk_le16 name_length;
    rdisk_le16 target_length; /* 0 but to clone */
    uint8_t name[RDISK_VOLUME_NAME_MAX];
    uint8_t target[RDISK_VOLUME_NAME_MAX];
};
static_assert(sizeof(struct rdisk_wire_snapshot) == 296, "wire layout");

struct rdisk_wire_snapshot_reply {
    struct rdisk_wire_message message;
    rdisk_le64 pause; /* us that requests were held at most */
    rdisk_le64 reserved;
};
static_assert(sizeof(struct rdisk_wire_snapshot_reply) == 48, "wire layout");

/* CREATE_REPLY, DELETE_REPLY, STAT and CLOSE have no body. */

struct rdisk_wire_stat_reply {
    struct rdisk_wire_message message;
    rdisk_le64 size;      /* bytes of the volume */
    rdisk_le64 allocated; /* bytes that it takes up in the storage */
    rdisk_le64 reserved[2];
};
static_assert(sizeof(struct rdisk_wire_stat_reply) == 64, "wire layout");

/* SLOTS_WANT, SLOTS_GRANT, SLOTS_RECALL and SLOTS_RETURN. SLOTS_ACK has no
 * body. */
struct rdisk_wire_slots {
    struct rdisk_wire_message message;
    rdisk_le16 queue;
    rdisk_le16 first; /* number of the first slot; WANT: 0 */
    rdisk_le16 count; /* slots; WANT: that would be used at once */
    rdisk_le16 reserved0;
    rdisk_le32 slot_size; /* this and the rest: GRANT only */
    rdisk_le32 stride;
    rdisk_le64 base; /* address of the first one's header area */
    rdisk_le32 rkey;
    rdisk_le32 reserved1;
};
static_assert(sizeof(struct rdisk_wire_slots) == 64, "wire layout");

/* ---- Requests (RDMA write with immediate into a slot) ----------------- */

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

/* ---- Checks: each message is validated here and nowhere else ---------- */

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

enum rdisk_status rdisk_wire_check_connect(const void *data, size_t size,
                                           struct rdisk_error *err);
enum rdisk_status rdisk_wire_check_accept(const void *data, size_t size,
                                          unsigned int queue,
                                          struct rdisk_error *err);
/*
 * A rejection's sentence into @err; also understands one without or with
 * foreign private data. Returns the status it carried.
 */
enum rdisk_status rdisk_wire_read_reject(const void *data, size_t size,
                                         struct rdisk_error *err);

/*
 * What both sides share about a message type. Each side has a table of its own
 * besides this one: the states in which the type is allowed, and its handler.
 */
struct rdisk_message_info {
    const char *name; /* NULL: there is no such type */
    size_t size;      /* of a whole message that has a body */
    bool reply;       /* it may have a status and a sentence */
    /* The fields of the body; NULL: any value will do. */
    enum rdisk_status (*check)(const void *message, struct rdisk_error *err);
};
extern const struct rdisk_message_info rdisk_messages[RDISK_MSG_COUNT];

/* Never NULL, whatever @type is. */
const char *rdisk_message_name(unsigned int type);

/*
 * A control message: header, its type's size, and the bounds of each field of
 * the body. @epoch: 0 skips that check (before OPEN). Returns OK if it may be
 * used; a reply whose status is not OK is well-formed too (rdisk_wire_text()).
 */
enum rdisk_status rdisk_wire_check_message(const void *data, size_t size,
                                           uint64_t epoch,
                                           struct rdisk_error *err);

/* Copy the sentence of a checked message that carries a status. */
void rdisk_wire_text(const struct rdisk_wire_message *message, char *text,
                     size_t size);

#endif
