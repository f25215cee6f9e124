/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A server with a volume in memory and its clients, all in one thread, on a
 * fake fabric. Everything is called as an event loop would: when a descriptor
 * is readable or a deadline has come, and never otherwise, so that a lost
 * wake-up is a hang and a test fails.
 */
#ifndef RDISK_UNIT_SCENE_H
#define RDISK_UNIT_SCENE_H

#include <sys/uio.h>

#include "tests/fake/fake.h"
#include "transport/wire/wire.h"
#include <rdisk/initiator.h>
#include <rdisk/target.h>

#define SCENE_CLIENTS 3u
#define SCENE_QUEUES  16u
#define SCENE_HOLDERS 8u
#define SCENE_PORT    7471
#define SCENE_SIZE    (1u << 20) /* bytes of the volume "vol" at first */
#define SCENE_DISK    (2u << 20) /* and at most */
#define SCENE_BLOCK   512u
#define SCENE_ENTRIES \
    1200u /* of a completion queue: for two queues
                                       of few slots, or one of many */

/* What is done with scene->disk. */
enum scene_resident {
    SCENE_NOT_RESIDENT,
    SCENE_REGISTERED, /* clients may read it by themselves, if it is
                                   read-only */
    SCENE_COPIED,     /* its registration has failed */
};

struct scene;

/* A queue in the hands of the server's owner. */
struct scene_queue {
    struct scene *scene;
    struct rdisk_target_queue *queue; /* NULL: free */
    bool started, idle;
    void *memory; /* the slots of its base */
    size_t length;
    /* Slots that came back: for the reactor, and for the control thread. */
    struct rdisk_target_grant *returned, *retired;
};

/* A session in the hands of the server's owner. */
struct scene_holder {
    struct rdisk_target_session *session; /* NULL: free */
    struct rdisk_open_request request;
    bool waiting; /* it has not been let in yet */
};

struct scene_client {
    struct scene *scene;
    struct fake_host *host;
    struct rdisk_env env;
    struct rdisk_initiator_options options;
    struct rdisk_initiator *session;
    struct rdisk_error error;         /* of create or start */
    enum rdisk_initiator_state state; /* as last told */
    uint64_t told_size;               /* by volume_changed */
    unsigned int told_sizes;          /* times */
    unsigned int outstanding;         /* requests */
    bool unserved;                    /* its queues are not served */
    bool away;                        /* its program is busy elsewhere */
    unsigned int flags;               /* of its requests */
    bool polls;                       /* and waits for no descriptor */
};

struct scene {
    struct fake_fabric *fabric;
    struct fake_host *server_host;
    struct rdisk_env env;
    struct rdisk_target_options options;
    struct rdisk_target *target;
    struct rdisk_target_group *group; /* all its queues */
    struct rdisk_error error;
    struct scene_queue queues[SCENE_QUEUES];
    struct scene_client clients[SCENE_CLIENTS];

    /* The volume, and what its owner does. */
    uint8_t *disk;
    bool read_only; /* grant no writing */
    enum scene_resident resident;
    bool limited;                            /* grant no reading of that */
    bool ranges;                             /* grant DISCARD and ZEROES */
    bool maps;                               /* grant EXTENTS and COPY */
    bool vast;                               /* of any size, and one hole */
    bool resizable;                          /* grant RESIZE */
    bool creatable;                          /* take CREATE */
    struct rdisk_create_request last_create; /* peer and user are gone */
    unsigned int creates;
    unsigned int volumes; /* listed: "v-000" and so on; 0: none may list */
    unsigned int lists;   /* pages asked for */
    uint64_t size;        /* of the volume */
    unsigned int resizes; /* asked for */
    bool any_range;       /* take requests beyond the disk, to fail them */
    bool park;            /* keep requests instead of carrying out */
    bool refuse_queue;    /* queue_new fails */
    uint8_t identity[RDISK_ID_SIZE]; /* granted */
    uint8_t cache[RDISK_ID_SIZE];
    uint64_t generation;
    bool polls;                 /* its queues are polled, not waited for */
    bool delivers_all;          /* before anything is served, as a device that
                                   is faster than the programs */
    bool drained;               /* takes no new sessions */
    const char *moves_to;       /* when it is drained: 10.0.0.1, or another */
    uint16_t moves_to_port;     /* host; NULL: clients are not told */
    unsigned int moved;         /* clients that were */
    const char *user;           /* the one that may come in */
    const char *other_user;     /* so may this one, with the same secret */
    struct rdisk_quota quota;   /* of @user */
    struct rdisk_secret secret; /* its */
    struct scene_holder holders[SCENE_HOLDERS];
    bool later;          /* answer no OPEN, CREATE, LIST, RESIZE, STAT */
    unsigned int laters; /* that were not answered */
    enum rdisk_status fail_with; /* answer each request with this */
    struct rdisk_target_request *parked[4096];
    unsigned int parked_count;
    unsigned int opens, closes, requests, flushes;
    struct rdisk_open_request last_open;

    /* A test's own answer to EXTENTS; the list is zeroes. */
    void (*forge)(struct rdisk_wire_extent *extents);
    /* A test's own look at remote writes. */
    void (*watch)(const struct fake_write *write);
    unsigned int idle_writes; /* into slots after their idle event */
};

/* One request of a client, with its buffers. */
struct scene_io {
    struct rdisk_request request; /* first */
    struct scene_client *client;
    unsigned int completed; /* times */
    int result;
    struct iovec iov[300];
    uint64_t completed_at;
};

/* A fabric, a server that listens, and hosts for the clients. */
void scene_begin(struct scene *scene, uint64_t seed);
/* The same, but the test changes options before scene_serve(). */
void scene_prepare(struct scene *scene, uint64_t seed);
void scene_serve(struct scene *scene);
/* Between the two: let in this user only, and let the clients be it. */
void scene_authenticate(struct scene *scene, const char *user,
                        const char *secret);
/* Ends everything in order, and checks that nothing is left. */
void scene_end(struct scene *scene);
/* The server's part of that. */
void scene_stop_server(struct scene *scene);

/* The server's program dies and is started again; the disk stays. */
void scene_restart_server(struct scene *scene);

/* From now on it is drained: ask all sessions to leave. */
void scene_drain(struct scene *scene);

/* Serve all programs until nothing moves. */
void scene_pump(struct scene *scene);
/* Let so much time pass, serving all programs. */
void scene_advance(struct scene *scene, uint64_t milliseconds);

/* Create and start a session; what comes of it is for scene_pump(). */
void scene_start(struct scene_client *client);
/* The same, pumped: true if it is READY. */
bool scene_connect(struct scene_client *client);
/* Check that its session has FAILED with this code and these words. */
void scene_failed(const struct scene_client *client, int code,
                  const char *words);
/* The same at the end of its open-timeout, since it tries again until then. */
void scene_gives_up(struct scene_client *client, int code, const char *words);
/* Orderly end if it is READY; then destroy it. */
void scene_disconnect(struct scene_client *client);
/* Destroy it, whatever its state. */
void scene_drop(struct scene_client *client);

/* A request on one buffer. */
int scene_submit(struct scene_io *io, struct scene_client *client,
                 unsigned int queue, enum rdisk_op op, uint64_t offset,
                 void *buffer, uint32_t length);
/* A request on io->iov[0…count-1], which the test has filled. */
int scene_submit_iov(struct scene_io *io, struct scene_client *client,
                     unsigned int queue, enum rdisk_op op, uint64_t offset,
                     unsigned int count);
/* Submit, kick and pump; the result. */
int scene_do(struct scene_client *client, enum rdisk_op op, uint64_t offset,
             void *buffer, uint32_t length);
/* Submit and kick a request that has all its fields but complete. */
int scene_start_request(struct scene_client *client, struct scene_io *io);
/* The same, pumped; the result. */
int scene_do_request(struct scene_client *client, struct scene_io *io);
/* The server's administrator gives the volume another size. */
void scene_resize(struct scene *scene, uint64_t size);
/* For struct rdisk_target_events. */
enum rdisk_status scene_resize_event(void *opaque, void *user, uint64_t size,
                                     bool shrink, struct rdisk_error *err);
enum rdisk_status scene_create_event(void *opaque,
                                     struct rdisk_target_session *session,
                                     const struct rdisk_create_request *request,
                                     void **user, struct rdisk_error *err);
/* The page after @after. */
void scene_fill_page(const struct scene *scene, const char *after,
                     struct rdisk_list_page *page);
enum rdisk_status scene_list_event(void *opaque,
                                   struct rdisk_target_session *session,
                                   const struct rdisk_list_request *request,
                                   struct rdisk_list_page *page, void **user,
                                   struct rdisk_error *err);
enum rdisk_status scene_stat_event(void *opaque, void *user,
                                   uint64_t *allocated,
                                   struct rdisk_error *err);
/* The answer to an event while scene->later. */
enum rdisk_status scene_later(struct scene *scene, struct rdisk_error *err);
/* For scene.c: what an EXTENTS is answered with; a scene_io's completion. */
void scene_tell_extents(struct scene *scene,
                        struct rdisk_target_request *request);
void scene_io_complete(struct rdisk_request *request, int result);
/* Carry out the oldest parked request, or all of them. */
void scene_unpark(struct scene *scene, unsigned int count);

/* Bytes that tell where they belong. */
void scene_pattern(void *buffer, size_t length, uint32_t seed);
bool scene_is_pattern(const void *buffer, size_t length, uint32_t seed);

#endif
