/* SPDX-License-Identifier: BSD-3-Clause */
#include "transport/base/least.h"
#include "tests/unit/support/scene.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/support/unit.h"

/* More turns of the loop than any test needs: something spins. */
#define TURNS_MAX 2000000u

static bool readable(int fd)
{
    struct pollfd pfd = { .fd = fd, .events = POLLIN };

    return poll(&pfd, 1, 0) == 1;
}

/* ---- The server's owner ------------------------------------------------ */

static bool owner_secret(void *opaque, const char *user,
                         struct rdisk_secret *secret)
{
    struct scene *scene = opaque;

    if (strcmp(user, scene->user) &&
        (!scene->other_user || strcmp(user, scene->other_user))) {
        return false;
    }
    *secret = scene->secret;
    return true;
}

static struct scene_holder *find_place(struct scene *scene)
{
    unsigned int place = 0;

    while (scene->holders[place].session) {
        place++;
        REQUIRE(place < SCENE_HOLDERS);
    }
    return &scene->holders[place];
}

static enum rdisk_status owner_open(void *opaque,
                                    struct rdisk_target_session *session,
                                    const struct rdisk_open_request *request,
                                    struct rdisk_open_grant *grant, void **user,
                                    struct rdisk_error *err)
{
    struct scene *scene = opaque;
    struct scene_holder *place = *user;

    if (strcmp(request->volume, "vol")) {
        rdisk_error_set(err, -ENOENT, "there is no volume '%s'",
                        request->volume);
        return RDISK_STATUS_NO_VOLUME;
    }
    if (scene->drained) {
        rdisk_error_set(err, -ESHUTDOWN, "volume 'vol' is drained");
        return RDISK_STATUS_SHUTTING_DOWN;
    }
    for (unsigned int i = 0; i < SCENE_HOLDERS; i++) {
        struct scene_holder *holder = &scene->holders[i];

        if (holder->session && holder != place &&
            !memcmp(holder->request.client, request->client,
                    sizeof(request->client))) {
            CHECK(request->epoch > holder->request.epoch);
            rdisk_target_session_fence(holder->session);
            return RDISK_LATER;
        }
    }
    if (!place) {
        place = *user = find_place(scene);
        place->session = session;
        place->request = *request;
    }
    CHECK(place->session == session);
    place->waiting = scene->later;
    if (scene->later) {
        return scene_later(scene, err);
    }
    if (scene->user && !strcmp(request->user, scene->user)) {
        rdisk_target_session_quota(session, &scene->quota);
    }
    if (rdisk_target_session_reserve(session, err) < 0) {
        place->session = NULL;
        return RDISK_STATUS_NO_RESOURCES;
    }
    if (scene->resident == SCENE_REGISTERED &&
        rdisk_target_session_register(session, scene->disk, scene->size, err) <
            0) {
        place->session = NULL;
        return RDISK_STATUS_NO_RESOURCES;
    }
    scene->last_open = *request;
    scene->opens++;
    *grant = (struct rdisk_open_grant) {
        .size = scene->size,
        .block_size = SCENE_BLOCK,
        .optimal_size = 4096,
        .read_only = scene->read_only,
        .rotational = true,
        .discard = scene->ranges,
        .zeroes = scene->ranges,
        .generation = scene->generation,
        .extents = scene->maps,
        .copy = scene->maps,
        .resize = scene->resizable,
        .one_sided = scene->resident && !scene->limited,
    };
    memcpy(grant->identity, scene->identity, sizeof(grant->identity));
    memcpy(grant->cache, scene->cache, sizeof(grant->cache));
    return RDISK_STATUS_OK;
}

static bool scene_has_others(const struct scene *scene,
                             const struct scene_holder *holder)
{
    for (unsigned int i = 0; i < SCENE_HOLDERS; i++) {
        if (scene->holders[i].session && &scene->holders[i] != holder) {
            return true;
        }
    }
    return false;
}

static void owner_close(void *opaque, void *user, bool orderly)
{
    struct scene *scene = opaque;
    struct scene_holder *holder = user;

    CHECK(holder->session != NULL);
    CHECK(!scene->resident || scene_has_others(scene, holder) ||
          !fake_host_readable(scene->server_host, scene->disk, scene->size));
    holder->session = NULL;
    if (!holder->waiting) {
        scene->closes++;
    }
}

static struct rdisk_target_group *owner_queue_group(void *opaque, void *user)
{
    struct scene *scene = opaque;

    return scene->group;
}

static int owner_queue_new(void *opaque, void *user,
                           struct rdisk_target_queue *queue, void **queue_user,
                           struct rdisk_error *err)
{
    struct scene *scene = opaque;

    if (scene->refuse_queue) {
        return rdisk_error_set(err, -EBUSY, "no reactor has time");
    }
    for (unsigned int i = 0; i < SCENE_QUEUES; i++) {
        if (!scene->queues[i].queue) {
            scene->queues[i] = (struct scene_queue) {
                .scene = scene,
                .queue = queue,
            };
            scene->queues[i].memory = rdisk_target_queue_base(queue)->memory;
            scene->queues[i].length = rdisk_target_queue_base(queue)->length;
            *queue_user = &scene->queues[i];
            return 0;
        }
    }
    return rdisk_error_set(err, -ENOBUFS, "no place for a queue");
}

static void carry_out(struct scene *scene, struct rdisk_target_request *request)
{
    enum rdisk_status status = scene->fail_with;

    if (status == RDISK_STATUS_OK) {
        switch (request->op) {
        case RDISK_OP_READ:
            if (scene->resident) {
                rdisk_target_stored(request, scene->disk + request->offset);
                break;
            }
            memcpy(request->data, scene->disk + request->offset,
                   request->length);
            break;
        case RDISK_OP_WRITE:
            memcpy(scene->disk + request->offset, request->data,
                   request->length);
            break;
        case RDISK_OP_FLUSH:
            scene->flushes++;
            break;
        case RDISK_OP_DISCARD:
            memset(scene->disk + request->offset, 0xdd, request->length);
            break;
        case RDISK_OP_ZEROES:
            memset(scene->disk + request->offset, 0, request->length);
            break;
        case RDISK_OP_EXTENTS:
            scene_tell_extents(scene, request);
            break;
        case RDISK_OP_COPY:
            memcpy(scene->disk + request->offset, scene->disk + request->source,
                   request->length);
            break;
        }
    }
    rdisk_target_complete(request, status);
}

static void owner_request(void *queue_user,
                          struct rdisk_target_request *request)
{
    struct scene_queue *queue = queue_user;
    struct scene *scene = queue->scene;

    CHECK(scene->vast || request->source + request->length <= SCENE_DISK);
    CHECK(request->op == RDISK_OP_FLUSH || scene->vast ||
          (request->length && request->offset % SCENE_BLOCK == 0 &&
           request->length % SCENE_BLOCK == 0 &&
           (scene->any_range ||
            request->offset + request->length <= SCENE_DISK)));
    scene->requests++;
    if (scene->park) {
        REQUIRE(scene->parked_count < 4096);
        scene->parked[scene->parked_count++] = request;
    } else {
        carry_out(scene, request);
    }
}

static void owner_queue_idle(void *queue_user, struct rdisk_target_queue *queue)
{
    struct scene_queue *here = queue_user;

    CHECK(here->queue == queue && !here->idle);
    here->idle = true;
}

static void owner_slots_returned(void *queue_user,
                                 struct rdisk_target_grant *grant)
{
    struct scene_queue *queue = queue_user;

    grant->owner[0] = queue->returned;
    queue->returned = grant;
}

static void owner_slots_idle(void *queue_user, struct rdisk_target_grant *grant)
{
    struct scene_queue *queue = queue_user;

    grant->owner[0] = queue->retired;
    queue->retired = grant;
}

void scene_unpark(struct scene *scene, unsigned int count)
{
    count = count < scene->parked_count ? count : scene->parked_count;
    for (unsigned int i = 0; i < count; i++) {
        carry_out(scene, scene->parked[i]);
    }
    scene->parked_count -= count;
    memmove(scene->parked, scene->parked + count,
            scene->parked_count * sizeof(scene->parked[0]));
    for (unsigned int i = 0; i < SCENE_QUEUES; i++) {
        if (scene->queues[i].queue && scene->queues[i].started &&
            !scene->queues[i].idle) {
            rdisk_target_queue_kick(scene->queues[i].queue);
        }
    }
}

/* ---- The loop ---------------------------------------------------------- */

static bool serve_slots(struct scene_queue *queue)
{
    struct rdisk_target_grant *grant = queue->returned;

    if (grant && queue->started && !queue->idle) {
        queue->returned = grant->owner[0];
        rdisk_target_grant_retire(queue->queue, grant);
        return true;
    }
    grant = queue->retired;
    if (grant) {
        queue->retired = grant->owner[0];
        rdisk_target_grant_release(queue->queue, grant);
    }
    return grant;
}

static bool serve_queue(struct scene_queue *queue)
{
    struct rdisk_target_cq *cq;

    if (!queue->queue) {
        return false;
    }
    if (serve_slots(queue)) {
        return true;
    }
    if (queue->idle) {
        struct rdisk_target_queue *idle = queue->queue;

        /* The control thread takes its time. */
        if (fake_fabric_random(queue->scene->fabric, 4)) {
            return true;
        }

        queue->queue = NULL;
        queue->idle = false;
        rdisk_target_queue_release(idle);
        return true;
    }
    if (!queue->started) {
        queue->started = true;
        rdisk_target_queue_start(queue->queue);
        return true;
    }
    cq = rdisk_target_queue_cq(queue->queue);
    if (queue->scene->polls) {
        return rdisk_target_cq_poll(cq) > 0 || queue->idle;
    }
    if (readable(rdisk_target_cq_fd(cq)) || rdisk_target_cq_more(cq)) {
        rdisk_target_cq_process(cq);
        return true;
    }
    return false;
}

static bool serve_target(struct scene *scene)
{
    bool moved = false;

    if (!scene->target) {
        return false;
    }
    if (readable(rdisk_target_fd(scene->target)) ||
        rdisk_target_deadline(scene->target) <=
            fake_fabric_now(scene->fabric)) {
        rdisk_target_process(scene->target);
        moved = true;
    }
    for (unsigned int i = 0; i < SCENE_QUEUES; i++) {
        moved |= serve_queue(&scene->queues[i]);
    }
    return moved;
}

static bool serve_client(struct scene_client *client)
{
    struct rdisk_initiator *session = client->session;
    bool moved = false;

    if (!session || client->away) {
        return false;
    }
    if (readable(rdisk_initiator_fd(session)) ||
        rdisk_initiator_deadline(session) <=
            fake_fabric_now(client->scene->fabric)) {
        rdisk_initiator_process(session);
        moved = true;
    }
    for (unsigned int i = 0; !client->unserved; i++) {
        struct rdisk_queue *queue = rdisk_initiator_queue(session, i);

        if (!queue) {
            break;
        }
        if (client->polls ? rdisk_queue_pending(queue)
                          : readable(rdisk_queue_fd(queue))) {
            client->polls ? rdisk_queue_poll(queue)
                          : rdisk_queue_process(queue);
            moved = true;
        }
    }
    return moved;
}

static bool serve_all(struct scene *scene)
{
    bool moved = serve_target(scene);

    for (unsigned int i = 0; i < SCENE_CLIENTS; i++) {
        moved |= serve_client(&scene->clients[i]);
    }
    return moved;
}

/* What happens in which order between fabric and programs is the seed's. */
void scene_pump(struct scene *scene)
{
    unsigned int turns = 0;
    bool moved;

    do {
        moved = false;
        while (fake_fabric_step(scene->fabric)) {
            moved = true;
            REQUIRE(turns++ < TURNS_MAX);
            if (!scene->delivers_all &&
                fake_fabric_random(scene->fabric, 4) == 0) {
                serve_all(scene);
            }
        }
        moved |= serve_all(scene);
        REQUIRE(turns++ < TURNS_MAX);
    } while (moved);
}

static uint64_t next_due(struct scene *scene)
{
    uint64_t next = fake_fabric_next(scene->fabric);

    if (scene->target) {
        next = rdisk_least(next, rdisk_target_deadline(scene->target));
    }
    for (unsigned int i = 0; i < SCENE_CLIENTS; i++) {
        if (scene->clients[i].session && !scene->clients[i].away) {
            next = rdisk_least(next, rdisk_initiator_deadline(
                                         scene->clients[i].session));
        }
    }
    return next;
}

void scene_advance(struct scene *scene, uint64_t milliseconds)
{
    uint64_t end = fake_fabric_now(scene->fabric) + milliseconds * RDISK_MSEC;

    for (;;) {
        uint64_t next;

        scene_pump(scene);
        next = next_due(scene);
        if (next > end) {
            break;
        }
        fake_fabric_set_now(scene->fabric, next);
    }
    fake_fabric_set_now(scene->fabric, end);
    scene_pump(scene);
}

/* ---- Beginning and end ------------------------------------------------- */

/* Nothing may touch the slots of a queue that was told to be idle. */
static void observe(void *opaque, const struct fake_write *write)
{
    struct scene *scene = opaque;
    uintptr_t address = (uintptr_t)write->address;

    for (unsigned int i = 0; i < SCENE_QUEUES; i++) {
        const struct scene_queue *queue = &scene->queues[i];

        if (queue->idle && address >= (uintptr_t)queue->memory &&
            address < (uintptr_t)queue->memory + queue->length) {
            scene->idle_writes++;
        }
    }
    if (scene->watch) {
        scene->watch(write);
    }
}

void scene_prepare(struct scene *scene, uint64_t seed)
{
    memset(scene, 0, sizeof(*scene));
    scene->fabric = fake_fabric_new(seed);
    scene->server_host = fake_host_add(scene->fabric, "10.0.0.1");
    fake_host_env(scene->server_host, &scene->env);
    fake_fabric_observe(scene->fabric, observe, scene);
    rdisk_target_options_init(&scene->options);
    /* All slots from the beginning, unless the test is about that. */
    scene->options.withheld_features = RDISK_FEATURE_SLOTS;
    scene->options.port = SCENE_PORT;
    scene->size = SCENE_SIZE;
    scene->disk = calloc(1, SCENE_DISK);
    REQUIRE(scene->disk != NULL);
    for (unsigned int i = 0; i < SCENE_CLIENTS; i++) {
        struct scene_client *client = &scene->clients[i];
        char address[32];

        snprintf(address, sizeof(address), "10.0.0.%u", 2 + i);
        client->scene = scene;
        client->host = fake_host_add(scene->fabric, address);
        fake_host_env(client->host, &client->env);
        rdisk_initiator_options_init(&client->options);
        client->options.host = "10.0.0.1";
        client->options.port = SCENE_PORT;
        client->options.volume = "vol";
        client->options.slots = 8;
        client->options.slot_size = 65536;
        client->options.bounce_size = 256 << 10;
    }
}

void scene_serve(struct scene *scene)
{
    static const struct rdisk_target_events events = {
        .secret = owner_secret,
        .open = owner_open,
        .close = owner_close,
        .create = scene_create_event,
        .list = scene_list_event,
        .resize = scene_resize_event,
        .stat = scene_stat_event,
        .queue_group = owner_queue_group,
        .queue_new = owner_queue_new,
        .request = owner_request,
        .queue_idle = owner_queue_idle,
        .slots_returned = owner_slots_returned,
        .slots_idle = owner_slots_idle,
    };

    scene->target = rdisk_target_create(&scene->env, &scene->options, &events,
                                        scene, &scene->error);
    if (!scene->group) {
        scene->group = rdisk_target_group_create(&scene->env, SCENE_ENTRIES, 0);
        REQUIRE(scene->group != NULL);
    }
}

void scene_begin(struct scene *scene, uint64_t seed)
{
    scene_prepare(scene, seed);
    scene_serve(scene);
    REQUIRE(scene->target != NULL);
}

void scene_stop_server(struct scene *scene)
{
    rdisk_target_stop(scene->target, "the test is over");
    scene->park = false;
    scene_pump(scene);
    scene_unpark(scene, scene->parked_count);
    scene_advance(scene, 30000);
    CHECK_EQUAL(rdisk_target_sessions(scene->target), 0);
    CHECK_EQUAL(scene->opens, scene->closes);
    rdisk_target_destroy(scene->target);
    scene->target = NULL;
}

void scene_drain(struct scene *scene)
{
    scene->drained = true;
    for (unsigned int i = 0; i < SCENE_HOLDERS; i++) {
        if (scene->holders[i].session) {
            scene->moved += scene->moves_to &&
                            rdisk_target_session_move(scene->holders[i].session,
                                                      scene->moves_to,
                                                      scene->moves_to_port);
            rdisk_target_session_end(scene->holders[i].session,
                                     RDISK_STATUS_SHUTTING_DOWN,
                                     "the volume is being drained");
        }
    }
}

void scene_restart_server(struct scene *scene)
{
    fake_host_kill(scene->server_host, FAKE_PROCESS_DIES);
    scene_stop_server(scene);
    fake_host_start(scene->server_host);
    scene_serve(scene);
    REQUIRE(scene->target != NULL);
}

void scene_end(struct scene *scene)
{
    for (unsigned int i = 0; i < SCENE_CLIENTS; i++) {
        if (scene->clients[i].session) {
            scene_disconnect(&scene->clients[i]);
        }
    }
    if (scene->target) {
        scene_stop_server(scene);
    }
    rdisk_target_group_destroy(scene->group);
    CHECK_EQUAL(scene->idle_writes, 0);
    CHECK_EQUAL(fake_fabric_free(scene->fabric), 0);
    free(scene->disk);
}
