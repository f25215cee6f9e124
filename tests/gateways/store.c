/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/volume/record_text.h"
#include "tests/gateways/gateways.h"

#define OSDS        3u
#define OPS         256u
#define DELAY_MAX   200u  /* of the few requests that are slow */
#define CONNECTIONS 4096u /* in the life of one schedule */

struct backend_pool {
    struct process *process;
    struct connection connection;
};

static struct {
    uint64_t map; /* the newest epoch */
    struct {
        uint64_t epoch;
        uint32_t value[BLOCKS];
    } osd[OSDS];
    struct store_op ops[OPS];
    struct connection connections[CONNECTIONS];
    unsigned int count;
    struct connection *locked; /* NULL: nobody has the lock */
    char record[RECORD_MAX];
} store;

static unsigned int osd_of(unsigned int block)
{
    return block % OSDS;
}

void store_begin(void)
{
    memset(&store, 0, sizeof(store));
    store.map = 1;
    for (unsigned int i = 0; i < OSDS; i++) {
        store.osd[i].epoch = 1;
    }
}

void store_end(void)
{
    for (unsigned int i = 0; i < OPS; i++) {
        store.ops[i].request = NULL;
    }
}

/* ---- Images -------------------------------------------------------------- */

static struct image *image_of(struct backend *backend)
{
    return container_of(backend, struct image, base);
}

static struct backend *image_open(const struct backend_spec *spec,
                                  struct rdisk_error *err)
{
    struct image *image = calloc(1, sizeof(*image));

    assert(image && store.count < CONNECTIONS);
    image->process = running;
    image->connection = &store.connections[store.count++];
    *image->connection = (struct connection) {
        .process = running,
        .epoch = store.map,
    };
    image->base.class = &store_class;
    image->base.geometry.size = BLOCKS * 512;
    image->base.geometry.block_size = 512;
    image->base.lasting = true;
    image->base.identity[0] = image->base.place[0] = 's';
    return &image->base;
}

static void image_unlock(struct backend *backend)
{
    struct image *image = image_of(backend);

    if (store.locked == image->connection && image->process->up) {
        store.locked = NULL;
    }
}

static void image_close(struct backend *backend)
{
    image_unlock(backend);
    for (unsigned int i = 0; i < OPS; i++) {
        if (store.ops[i].image == image_of(backend)) {
            store.ops[i].request = NULL;
        }
    }
    free(image_of(backend));
}

static void blocklist(struct connection *connection)
{
    if (!connection->listed) {
        connection->listed = ++store.map;
    }
}

/* As server/backends/rbd/lock.c does it: whose map is it that is waited for? */
static void break_lock(struct image *image)
{
    struct connection *other = &image->process->server.pool.place->connection;

    if (mutation != MUTATE_NO_BLOCKLIST) {
        blocklist(store.locked);
    }
    world_wait();
    if (mutation == MUTATE_OTHER_CLIENT) {
        other->epoch = store.map;
    } else if (mutation != MUTATE_NO_WAIT) {
        image->connection->epoch = store.map;
    }
    store.locked = NULL;
}

/* The cluster sees the end of a process after a while. */
static bool is_alive(const struct connection *connection)
{
    return connection->process || pick(30);
}

static int image_lock(struct backend *backend, bool force,
                      struct rdisk_error *err)
{
    struct image *image = image_of(backend);

    world_wait();
    if (!image->process->up || image->connection->listed) {
        return rdisk_error_set(err, -EIO, "the cluster does not answer");
    }
    if (store.locked && !force && is_alive(store.locked)) {
        return rdisk_error_set(err, -EBUSY, "another server has it");
    }
    if (store.locked) {
        break_lock(image);
    }
    store.locked = image->connection;
    return 0;
}

/* ---- Records ------------------------------------------------------------- */

static struct backend_pool *place_open(const struct backend_ceph *ceph,
                                       const char *place,
                                       struct rdisk_error *err)
{
    struct backend_pool *pool = calloc(1, sizeof(*pool));

    assert(pool);
    pool->process = running;
    return pool;
}

static void place_close(struct backend_pool *pool)
{
    free(pool);
}

static int place_read(struct backend_pool *pool, const char *name, char *text,
                      size_t size)
{
    if (!pool->process->up) {
        return -EIO;
    }
    world_wait();
    snprintf(text, size, "%s", store.record);
    return text[0] ? 0 : -ENOENT;
}

static int place_swap(struct backend_pool *pool, const char *name,
                      const char *before, const char *after)
{
    if (!pool->process->up) {
        return -EIO;
    }
    world_wait();
    if (mutation == MUTATE_NOT_SWAPPED && store.record[0]) {
        return 0;
    }
    if (after && strcmp(before ? before : "", store.record) != 0) {
        return -ESTALE;
    }
    snprintf(store.record, sizeof(store.record), "%s", after ? after : "");
    return 0;
}

static const struct backend_pool_class place_class = {
    .open = place_open,
    .close = place_close,
    .read = place_read,
    .swap = place_swap,
};

const struct backend_class store_class = {
    .name = "played",
    .has_path = true,
    .pool = &place_class,
    .open = image_open,
    .close = image_close,
    .lock = image_lock,
    .unlock = image_unlock,
};

/* ---- Requests ------------------------------------------------------------ */

void store_submit(struct image *image, struct request *request)
{
    unsigned int i = 0;

    while (store.ops[i].image) {
        i++;
        assert(i < OPS);
    }
    store.ops[i] = (struct store_op) {
        .image = image,
        .connection = image->connection,
        .request = request,
        .epoch = image->connection->epoch,
        .block = request->block,
        .write = request->write,
        .value = request->value,
        .delay = pick(20) ? 0 : pick(DELAY_MAX),
    };
}

/* An OSD gets it, or its sender gets the reply. */
static void deliver(struct store_op *op)
{
    unsigned int at = osd_of(op->block);
    uint64_t *epoch = &store.osd[at].epoch;

    if (op->replied) {
        if (op->request) {
            process_done(op->request, op->result, op->value);
        }
        op->image = NULL;
        return;
    }
    *epoch = op->epoch > *epoch ? op->epoch : *epoch;
    op->replied = true;
    if (op->connection->listed && op->connection->listed <= *epoch) {
        op->result = -ESHUTDOWN;
    } else if (op->write) {
        store.osd[at].value[op->block] = op->value;
    } else {
        op->value = store.osd[at].value[op->block];
    }
}

static bool may_deliver(const struct store_op *op)
{
    const struct process *process = op->image ? op->connection->process : NULL;

    return op->image && (!op->replied || !op->request ||
                         (!process->stopped && !process->busy));
}

void store_step(void)
{
    unsigned int first = pick(OPS), at = pick(OSDS);

    if (pick(40) == 0 && store.osd[at].epoch < store.map) {
        store.osd[at].epoch++;
    }
    for (unsigned int i = 0; i < OPS; i++) {
        struct store_op *op = &store.ops[(first + i) % OPS];

        if (!may_deliver(op)) {
            continue;
        }
        if (op->delay) {
            op->delay--;
            continue;
        }
        deliver(op);
        return;
    }
}

void store_killed(struct process *process)
{
    for (unsigned int i = 0; i < OPS; i++) {
        if (store.ops[i].image && store.ops[i].connection->process == process) {
            store.ops[i].request = NULL;
        }
    }
    for (unsigned int i = 0; i < store.count; i++) {
        if (store.connections[i].process == process) {
            store.connections[i].process = NULL;
        }
    }
}

void store_blocklist_writer(void)
{
    if (store.locked) {
        blocklist(store.locked);
    }
}

bool store_idle(void)
{
    for (unsigned int i = 0; i < OPS; i++) {
        if (store.ops[i].image) {
            return false;
        }
    }
    return true;
}
