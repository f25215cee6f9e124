/* SPDX-License-Identifier: BSD-3-Clause */
/* The scene's EXTENTS and RESIZE, other requests, and patterns. */
#include <errno.h>

#include "tests/unit/support/scene.h"
#include "tests/unit/support/unit.h"

/* Blocks that are all zero are holes, the others data. */
void scene_tell_extents(struct scene *scene,
                        struct rdisk_target_request *request)
{
    static const uint8_t zeroes[SCENE_BLOCK];
    struct rdisk_wire_extent *extents = request->data;
    unsigned int count = 0;

    if (scene->forge) {
        scene->forge(extents);
        return;
    }
    if (scene->vast) {
        extents[0].flags = htole32(RDISK_EXTENT_HOLE | RDISK_EXTENT_ZERO);
        extents[0].length = htole64(request->length);
        return;
    }
    for (uint64_t done = 0; done < request->length; done += SCENE_BLOCK) {
        bool zero = !memcmp(scene->disk + request->offset + done, zeroes,
                            SCENE_BLOCK);
        uint32_t flags = zero ? RDISK_EXTENT_HOLE | RDISK_EXTENT_ZERO : 0;

        if (count && le32toh(extents[count - 1].flags) == flags) {
            extents[count - 1].length += htole64(SCENE_BLOCK);
        } else if (count == request->room) {
            return;
        } else {
            extents[count].flags = htole32(flags);
            extents[count++].length = htole64(SCENE_BLOCK);
        }
    }
}

void scene_resize(struct scene *scene, uint64_t size)
{
    REQUIRE(size <= SCENE_DISK);
    if (size < scene->size) {
        memset(scene->disk + size, 0, scene->size - size);
    }
    scene->size = size;
    for (unsigned int i = 0; i < SCENE_HOLDERS; i++) {
        if (scene->holders[i].session) {
            rdisk_target_session_resize(scene->holders[i].session, size);
        }
    }
}

enum rdisk_status scene_resize_event(void *opaque, void *user, uint64_t size,
                                     bool shrink, struct rdisk_error *err)
{
    struct scene *scene = opaque;

    scene->resizes++;
    if (scene->later) {
        return scene_later(scene, err);
    }
    if (scene->fail_with != RDISK_STATUS_OK) {
        rdisk_error_set(err, -ENOSPC, "the disk says no");
        return scene->fail_with;
    }
    CHECK(shrink || size >= scene->size);
    scene_resize(scene, size);
    return RDISK_STATUS_OK;
}

enum rdisk_status scene_later(struct scene *scene, struct rdisk_error *err)
{
    scene->laters++;
    rdisk_error_set(err, -ETIMEDOUT, "the disk does not answer");
    return RDISK_LATER;
}

/* The client is answered later, by the test. */
static enum rdisk_status wait(struct scene *scene,
                              struct rdisk_target_session *session, void **user,
                              struct rdisk_error *err)
{
    struct scene_holder *holder = scene->holders;

    while (holder->session) {
        holder++;
        REQUIRE(holder < scene->holders + SCENE_HOLDERS);
    }
    *holder = (struct scene_holder) {
        .session = session,
        .waiting = true,
    };
    *user = holder;
    return scene_later(scene, err);
}

void scene_fill_page(const struct scene *scene, const char *after,
                     struct rdisk_list_page *page)
{
    *page = (struct rdisk_list_page) { .count = 0 };
    for (unsigned int i = 0; i < scene->volumes; i++) {
        struct rdisk_list_entry entry = {
            .size = 512 * (i + 1),
            .read_only = i % 2,
        };

        snprintf(entry.name, sizeof(entry.name), "v-%03u", i);
        if (strcmp(entry.name, after) <= 0) {
            continue;
        }
        if (page->count == RDISK_LIST_MAX) {
            page->more = true;
            break;
        }
        page->entries[page->count++] = entry;
    }
}

enum rdisk_status scene_list_event(void *opaque,
                                   struct rdisk_target_session *session,
                                   const struct rdisk_list_request *request,
                                   struct rdisk_list_page *page, void **user,
                                   struct rdisk_error *err)
{
    struct scene *scene = opaque;

    CHECK(request->peer[0] != '\0');
    CHECK_SAYS(request->user, scene->user ? scene->user : "");
    scene->lists++;
    if (scene->later) {
        return wait(scene, session, user, err);
    }
    scene_fill_page(scene, request->after, page);
    rdisk_error_set(err, -EPERM, "not here");
    return scene->fail_with != RDISK_STATUS_OK ? scene->fail_with
           : scene->volumes                    ? RDISK_STATUS_OK
                                               : RDISK_STATUS_DENIED;
}

enum rdisk_status scene_create_event(void *opaque,
                                     struct rdisk_target_session *session,
                                     const struct rdisk_create_request *request,
                                     void **user, struct rdisk_error *err)
{
    struct scene *scene = opaque;

    CHECK(request->peer[0] != '\0');
    CHECK_SAYS(request->user, scene->user ? scene->user : "");
    scene->last_create = *request;
    scene->creates++;
    if (scene->later) {
        return wait(scene, session, user, err);
    }
    rdisk_error_set(err, -EPERM, "not here");
    return scene->fail_with != RDISK_STATUS_OK ? scene->fail_with
           : scene->creatable                  ? RDISK_STATUS_OK
                                               : RDISK_STATUS_DENIED;
}

enum rdisk_status scene_stat_event(void *opaque, void *user,
                                   uint64_t *allocated, struct rdisk_error *err)
{
    struct scene *scene = opaque;

    if (scene->later) {
        return scene_later(scene, err);
    }
    *allocated = 12345;
    rdisk_error_set(err, -EIO, "the disk says no");
    return scene->fail_with;
}

int scene_start_request(struct scene_client *client, struct scene_io *io)
{
    int ret;

    io->client = client;
    io->completed = 0;
    io->result = 1;
    io->request.complete = scene_io_complete;
    ret = rdisk_queue_submit(rdisk_initiator_queue(client->session, 0),
                             &io->request);
    if (ret == 0) {
        client->outstanding++;
        rdisk_queue_kick(rdisk_initiator_queue(client->session, 0));
    }
    return ret;
}

int scene_do_request(struct scene_client *client, struct scene_io *io)
{
    int ret = scene_start_request(client, io);

    if (ret < 0) {
        return ret;
    }
    scene_pump(client->scene);
    CHECK_EQUAL(io->completed, 1);
    return io->result;
}

int scene_do(struct scene_client *client, enum rdisk_op op, uint64_t offset,
             void *buffer, uint32_t length)
{
    static struct scene_io io;
    int ret = scene_submit(&io, client, 0, op, offset, buffer, length);

    if (ret < 0) {
        return ret;
    }
    rdisk_queue_kick(rdisk_initiator_queue(client->session, 0));
    scene_pump(client->scene);
    CHECK_EQUAL(io.completed, 1);
    return io.result;
}

void scene_authenticate(struct scene *scene, const char *user,
                        const char *secret)
{
    scene->user = user;
    REQUIRE(rdisk_secret_parse(&scene->secret, secret, strlen(secret), NULL) ==
            0);
    scene->options.authenticate = true;
    for (unsigned int i = 0; i < SCENE_CLIENTS; i++) {
        scene->clients[i].options.user = user;
        scene->clients[i].options.secret = &scene->secret;
    }
}

/* ---- Patterns ---------------------------------------------------------- */

static uint8_t pattern_byte(size_t i, uint32_t seed)
{
    uint32_t x = (uint32_t)i * 2654435761u ^ seed * 40503u;

    return (uint8_t)(x >> 13);
}

void scene_pattern(void *buffer, size_t length, uint32_t seed)
{
    for (size_t i = 0; i < length; i++) {
        ((uint8_t *)buffer)[i] = pattern_byte(i, seed);
    }
}

bool scene_is_pattern(const void *buffer, size_t length, uint32_t seed)
{
    for (size_t i = 0; i < length; i++) {
        if (((const uint8_t *)buffer)[i] != pattern_byte(i, seed)) {
            return false;
        }
    }
    return true;
}
