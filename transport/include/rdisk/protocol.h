/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The part of the protocol that clients, servers and their owners use:
 * operations, status codes, flags and limits. docs/protocol.md has the bytes.
 */
#ifndef RDISK_PROTOCOL_H
#define RDISK_PROTOCOL_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Little-endian in memory. */
typedef uint16_t rdisk_le16;
typedef uint32_t rdisk_le32;
typedef uint64_t rdisk_le64;

#define RDISK_SERVERS_MAX  8u    /* that may have a volume, for a client */
#define RDISK_SERVERS_TEXT 2048u /* bytes of their names, with the NUL */
#define RDISK_DEFAULT_PORT 7471

/* Limits; both sides refuse what lies outside. */
#define RDISK_VOLUME_NAME_MAX 128 /* bytes, without a NUL */
#define RDISK_USER_NAME_MAX   64  /* of a client's; the same */
#define RDISK_TEXT_MAX        320 /* bytes of a sentence */
#define RDISK_QUEUES_MAX      64  /* data queues of a session */
/* Of these a queue has at least one all the time, however little memory the
 * server has: its base, which comes on top of the slots that were granted. */
#define RDISK_BASE_SLOTS_MAX 4u
#define RDISK_SLOTS_MAX      1024  /* slots of a queue */
#define RDISK_SLOT_SIZE_MIN  4096u /* payload bytes of a slot */
#define RDISK_SLOT_SIZE_MAX  (4u << 20)
#define RDISK_SEGMENTS_MIN   64  /* what a server must take */
#define RDISK_SEGMENTS_MAX   256 /* guest segments of a read */
#define RDISK_RANGE_MAX \
    (1u << 30)                             /* bytes of DISCARD, ZEROES,
                                                   EXTENTS */
#define RDISK_COPY_MAX         (16u << 20) /* bytes of COPY */
#define RDISK_EXTENTS_MAX      256         /* entries of an answer */
#define RDISK_BLOCK_SIZE_MIN   512u
#define RDISK_BLOCK_SIZE_MAX   4096u
#define RDISK_HEARTBEAT_MIN_MS 100u
#define RDISK_HEARTBEAT_MAX_MS 600000u

/* Bytes of cache and identity. */
#define RDISK_ID_SIZE 16u

/* A volume that a client may open. */
struct rdisk_list_entry {
    char name[RDISK_VOLUME_NAME_MAX + 1];
    uint64_t size;  /* bytes */
    bool read_only; /* to this client */
};
#define RDISK_LIST_MAX 19 /* entries of an answer to LIST */

/* How a request ended. Crosses the wire as one byte. */
enum rdisk_status {
    RDISK_STATUS_OK = 0,
    RDISK_STATUS_IO_ERROR =
        1, /* the backend failed; the server's log has the reason */
    RDISK_STATUS_OUT_OF_RANGE = 2,   /* beyond the end of the volume */
    RDISK_STATUS_MISALIGNED = 3,     /* not a multiple of the block size */
    RDISK_STATUS_NO_SPACE = 4,       /* the backend is full */
    RDISK_STATUS_READ_ONLY = 5,      /* a write to a read-only volume */
    RDISK_STATUS_UNSUPPORTED = 6,    /* unknown operation or flag */
    RDISK_STATUS_BAD_VERSION = 7,    /* no common protocol version */
    RDISK_STATUS_BAD_MESSAGE = 8,    /* malformed; the connection ends */
    RDISK_STATUS_NO_VOLUME = 9,      /* no such volume */
    RDISK_STATUS_BUSY = 10,          /* another client has the volume open */
    RDISK_STATUS_NO_RESOURCES = 11,  /* a limit of the server is reached */
    RDISK_STATUS_STALE = 12,         /* an older epoch or generation */
    RDISK_STATUS_DENIED = 13,        /* not authenticated or not allowed */
    RDISK_STATUS_SHUTTING_DOWN = 14, /* the server is draining */
    RDISK_STATUS_EXISTS = 15,        /* there is such a volume already */
    RDISK_STATUS_COUNT
};

/* A few words for a person; never NULL. */
const char *rdisk_status_text(unsigned int status);
/* 0 or the negative errno a block layer should see. */
int rdisk_status_to_errno(unsigned int status);
/* The status that stands for a negative errno (0 gives OK). */
enum rdisk_status rdisk_status_from_errno(int code);

/* ---- Operations -------------------------------------------------------- */

enum rdisk_op {
    RDISK_OP_READ = 1,
    RDISK_OP_WRITE = 2,
    RDISK_OP_FLUSH = 3,
    RDISK_OP_DISCARD = 4, /* the contents are of no use any more */
    RDISK_OP_ZEROES = 5,  /* the range reads as zeroes */
    RDISK_OP_EXTENTS = 6, /* list where the volume has data */
    RDISK_OP_COPY = 7,    /* from one range of the volume to another */
};
#define RDISK_OPS 8u /* for tables by operation: 1 to RDISK_OPS - 1 */

/* "read" and so on, and "reads", for a person or a statistic; never NULL. */
const char *rdisk_op_name(unsigned int op);
const char *rdisk_op_plural(unsigned int op);

/* Requests that were finished, with success or not. At 0: those whose operation
 * is not known. */
struct rdisk_op_totals {
    uint64_t count[RDISK_OPS];
    uint64_t bytes[RDISK_OPS]; /* of their length */
    uint64_t failed;           /* of all of them */
};

/* Bytes that an operation without payload may name; 0: not such a one. EXTENTS
 * only if one side lacks the feature of long ones. */
static inline uint32_t rdisk_op_range_max(enum rdisk_op op)
{
    switch (op) {
    case RDISK_OP_DISCARD:
    case RDISK_OP_ZEROES:
    case RDISK_OP_EXTENTS:
        return RDISK_RANGE_MAX;
    case RDISK_OP_COPY:
        return RDISK_COPY_MAX;
    default:
        return 0;
    }
}

/* True if @op names a range of the volume, which may be longer than a slot. */
static inline bool rdisk_op_is_range(enum rdisk_op op)
{
    return rdisk_op_range_max(op) != 0;
}

/* True if @op names segments, which are written before it is answered. */
static inline bool rdisk_op_has_segments(enum rdisk_op op)
{
    return op == RDISK_OP_READ || op == RDISK_OP_EXTENTS;
}

#define RDISK_REQUEST_FUA \
    (1u << 0)                         /* WRITE, ZEROES, COPY: stable
                                                   before the answer */
#define RDISK_REQUEST_UNMAP (1u << 1) /* ZEROES: may give space back */
#define RDISK_REQUEST_FAST \
    (1u << 2) /* ZEROES: UNSUPPORTED rather
                                                   than as slow as writing */

#define RDISK_EXTENT_HOLE        (1u << 0) /* takes up no space */
#define RDISK_EXTENT_ZERO        (1u << 1) /* reads as zeroes */
#define RDISK_EXTENT_FLAGS_KNOWN (RDISK_EXTENT_HOLE | RDISK_EXTENT_ZERO)

/* An entry of an EXTENTS' answer; behind the last all bytes are zero. */
struct rdisk_wire_extent {
    rdisk_le64 length; /* bytes, multiple of the block size */
    rdisk_le32 flags;  /* RDISK_EXTENT_…; 0: data */
    rdisk_le32 reserved;
};
static_assert(sizeof(struct rdisk_wire_extent) == 16, "wire layout");
static_assert(RDISK_EXTENTS_MAX * sizeof(struct rdisk_wire_extent) <=
                  RDISK_SLOT_SIZE_MIN,
              "a full list of extents fits any slot");

/* ---- Flags of RESIZE and CREATE --------------------------------------- */

#define RDISK_RESIZE_SHRINK      (1u << 0) /* cut off what is beyond */
#define RDISK_RESIZE_FLAGS_KNOWN RDISK_RESIZE_SHRINK

#define RDISK_CREATE_EXCLUSIVE   (1u << 0) /* do not replace one */
#define RDISK_CREATE_FLAGS_KNOWN RDISK_CREATE_EXCLUSIVE

/* ---- Actions of SNAPSHOT ---------------------------------------------- */

enum rdisk_snapshot_action {
    RDISK_SNAPSHOT_NONE = 0,    /* not on the wire */
    RDISK_SNAPSHOT_TAKE = 1,    /* VOLUME@SNAPSHOT is made of the volume */
    RDISK_SNAPSHOT_REVERT = 2,  /* the volume gets its data */
    RDISK_SNAPSHOT_CLONE = 3,   /* another volume is made of either */
    RDISK_SNAPSHOT_FLATTEN = 4, /* a clone gets what it shares */
};

/* ---- Names ------------------------------------------------------------- */

/* Letters, digits and . _ - + @ , not starting with '.' or '-'. */
bool rdisk_volume_name_valid(const char *name, size_t length);
/* The same, for the name of a client. */
bool rdisk_user_name_valid(const char *name, size_t length);
/* The same for what a person wrote: 0, or -EINVAL with the rule in @err. */
struct rdisk_error;
int rdisk_volume_name_check(const char *name, size_t length,
                            struct rdisk_error *err);
int rdisk_user_name_check(const char *name, size_t length,
                          struct rdisk_error *err);

#ifdef __cplusplus
}
#endif

#endif
