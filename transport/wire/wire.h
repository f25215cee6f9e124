/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Connections and control messages on the wire, and the one place that checks
 * them. Requests are in request.h.
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
    rdisk_le16 slots;        /* data: slots granted to this queue */
    rdisk_le16 max_segments; /* data: guest segments one read may name */
    rdisk_le32 slot_size;    /* data: payload bytes of a slot */
    rdisk_le64 base;         /* data: address of slot 0's header area */
    rdisk_le32 rkey;         /* data: key of all slots of this queue */
    rdisk_le32 stride;       /* data: bytes from slot to slot */
};
static_assert(sizeof(struct rdisk_wire_accept) == 32, "wire layout");

/* Behind it, of a data queue, if OPEN_REPLY has RDISK_VOLUME_RESIDENT. */
struct rdisk_wire_resident {
    rdisk_le64 address; /* of the volume's first byte */
    rdisk_le32 key;     /* for all its bytes, to read */
    rdisk_le16 reads;   /* RDMA READs at a time; 0: none on this queue */
    rdisk_le16 reserved;
};
static_assert(sizeof(struct rdisk_wire_resident) == 16, "wire layout");

struct rdisk_wire_accept_resident {
    struct rdisk_wire_accept accept;
    struct rdisk_wire_resident resident;
};
static_assert(sizeof(struct rdisk_wire_accept_resident) == 48, "wire layout");

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
    RDISK_MSG_LIST = 23, /* client: before OPEN, list the volumes */
    RDISK_MSG_LIST_REPLY = 24,
    RDISK_MSG_SNAPSHOT = 25, /* client: instead of OPEN, of a volume */
    RDISK_MSG_SNAPSHOT_REPLY = 26,
    RDISK_MSG_SLOTS_WANT = 27,  /* client: requests of a queue wait for slots */
    RDISK_MSG_SLOTS_GRANT = 28, /* server: a queue has more of them */
    RDISK_MSG_SLOTS_RECALL = 29, /* server: return what was granted */
    RDISK_MSG_SLOTS_RETURN = 30, /* client: they are not used any more */
    RDISK_MSG_SLOTS_ACK = 31,    /* either side: one of these has arrived */
    RDISK_MSG_MOVE = 32,         /* server: the next one is to be this */
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
#define RDISK_FEATURE_SERVERS  (1ull << 14) /* RDISK_OPEN_SERVERS */
#define RDISK_FEATURE_MOVE     (1ull << 15) /* MOVE */
#define RDISK_FEATURE_FLATTEN  (1ull << 16) /* RDISK_SNAPSHOT_FLATTEN */
#define RDISK_FEATURE_RESIDENT (1ull << 17) /* reads by RDMA READ */
#define RDISK_FEATURES_KNOWN \
    (RDISK_FEATURE_FUA | RDISK_FEATURE_DISCARD | RDISK_FEATURE_ZEROES | \
     RDISK_FEATURE_EXTENTS | RDISK_FEATURE_RESIZE | RDISK_FEATURE_CREATE | \
     RDISK_FEATURE_COPY | RDISK_FEATURE_LONG_EXTENTS | RDISK_FEATURE_BARE | \
     RDISK_FEATURE_DELETE | RDISK_FEATURE_VECTOR | RDISK_FEATURE_LIST | \
     RDISK_FEATURE_SNAPSHOT | RDISK_FEATURE_SLOTS | RDISK_FEATURE_SERVERS | \
     RDISK_FEATURE_MOVE | RDISK_FEATURE_FLATTEN | RDISK_FEATURE_RESIDENT)

/* How the peers authenticate, right after HELLO_REPLY. */
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

#define RDISK_OPEN_READ_ONLY (1u << 0)
#define RDISK_OPEN_SHARED    (1u << 1) /* others may write too */
#define RDISK_OPEN_SERVERS   (1u << 2) /* it may reconnect elsewhere */
#define RDISK_OPEN_FLAGS_KNOWN \
    (RDISK_OPEN_READ_ONLY | RDISK_OPEN_SHARED | RDISK_OPEN_SERVERS)

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
#define RDISK_VOLUME_RESIDENT \
    (1u << 7) /* may be read by RDMA READ; if
                                           chosen */

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
    union {
        rdisk_le64 pause; /* us that requests were held at most */
        rdisk_le64 done;  /* FLATTEN: bytes of the volume that need no */
    };                    /* other one any more, */
    rdisk_le64 size;      /* of so many; 0: none did. Else: 0 */
};
static_assert(sizeof(struct rdisk_wire_snapshot_reply) == 48, "wire layout");

/* CREATE_REPLY, DELETE_REPLY, STAT and CLOSE have no body. */

#define RDISK_HOST_MAX 256u /* bytes, with at least one zero */

struct rdisk_wire_move {
    struct rdisk_wire_message message;
    rdisk_le16 port;
    rdisk_le16 host_length; /* 1…255 */
    rdisk_le32 reserved;
    uint8_t host[RDISK_HOST_MAX]; /* a name, or an address without brackets */
};
static_assert(sizeof(struct rdisk_wire_move) == 296, "wire layout");

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

/* ---- Checks: each message is validated here and nowhere else ---------- */

enum rdisk_status rdisk_wire_check_connect(const void *data, size_t size,
                                           struct rdisk_error *err);
enum rdisk_status rdisk_wire_check_accept(const void *data, size_t size,
                                          unsigned int queue,
                                          struct rdisk_error *err);
/* What follows the acceptance, of a resident volume of @volume_size bytes, into
 * @resident. */
enum rdisk_status rdisk_wire_check_resident(
    const void *data, size_t size, uint64_t volume_size,
    struct rdisk_wire_resident *resident, struct rdisk_error *err);
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
