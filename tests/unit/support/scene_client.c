/* SPDX-License-Identifier: BSD-3-Clause */
/* The scene's clients: their sessions, and their requests. */
#include "tests/unit/support/scene.h"
#include "tests/unit/support/unit.h"

static void client_state(void *opaque, enum rdisk_initiator_state state)
{
    struct scene_client *client = opaque;

    /* A session that has ended stays so. */
    CHECK(!rdisk_initiator_state_ended(client->state));
    client->state = state;
}

static void client_told(void *opaque, uint64_t size)
{
    struct scene_client *client = opaque;

    CHECK_EQUAL(rdisk_initiator_size(client->session), size);
    client->told_size = size;
    client->told_sizes++;
}

static const struct rdisk_initiator_events client_events = {
    .state = client_state,
    .volume_changed = client_told,
};

void scene_start(struct scene_client *client)
{
    client->state = RDISK_INITIATOR_IDLE;
    memset(&client->error, 0, sizeof(client->error));
    client->session = rdisk_initiator_create(&client->env, &client->options,
                                             &client_events, client,
                                             &client->error);
    if (client->session) {
        rdisk_initiator_start(client->session, &client->error);
    }
}

bool scene_connect(struct scene_client *client)
{
    scene_start(client);
    scene_pump(client->scene);
    return client->state == RDISK_INITIATOR_READY;
}

void scene_failed(const struct scene_client *client, int code,
                  const char *words)
{
    const struct rdisk_error *why = rdisk_initiator_error(client->session);

    CHECK_EQUAL(client->state, RDISK_INITIATOR_FAILED);
    CHECK_EQUAL(why->code, code);
    CHECK_SAYS(why->text, words);
}

void scene_gives_up(struct scene_client *client, int code, const char *words)
{
    scene_advance(client->scene, client->options.open_timeout_ms);
    scene_failed(client, code, words);
}

void scene_drop(struct scene_client *client)
{
    CHECK_EQUAL(client->outstanding, 0);
    rdisk_initiator_destroy(client->session);
    client->session = NULL;
    scene_pump(client->scene);
}

void scene_disconnect(struct scene_client *client)
{
    if (client->state == RDISK_INITIATOR_READY) {
        rdisk_initiator_close(client->session);
        scene_pump(client->scene);
        if (client->state != RDISK_INITIATOR_CLOSED) {
            /* Its connection broke meanwhile: it comes back to close. */
            scene_advance(client->scene, client->options.open_timeout_ms);
        }
        CHECK_EQUAL(client->state, RDISK_INITIATOR_CLOSED);
    }
    scene_drop(client);
}

void scene_io_complete(struct rdisk_request *request, int result)
{
    struct scene_io *io = (struct scene_io *)request;

    io->completed++;
    io->result = result;
    io->completed_at = fake_fabric_now(io->client->scene->fabric);
    io->client->outstanding--;
}

int scene_submit_iov(struct scene_io *io, struct scene_client *client,
                     unsigned int queue, enum rdisk_op op, uint64_t offset,
                     unsigned int count)
{
    uint32_t length = 0;
    int ret;

    for (unsigned int i = 0; i < count; i++) {
        length += (uint32_t)io->iov[i].iov_len;
    }
    io->client = client;
    io->completed = 0;
    io->result = 1;
    io->request = (struct rdisk_request) {
        .op = op,
        .flags = client->flags,
        .offset = offset,
        .length = length,
        .iov = io->iov,
        .iovcnt = count,
        .complete = scene_io_complete,
    };
    ret = rdisk_queue_submit(rdisk_initiator_queue(client->session, queue),
                             &io->request);
    client->outstanding += ret == 0;
    return ret;
}

int scene_submit(struct scene_io *io, struct scene_client *client,
                 unsigned int queue, enum rdisk_op op, uint64_t offset,
                 void *buffer, uint32_t length)
{
    io->iov[0] = (struct iovec) { .iov_base = buffer, .iov_len = length };
    return scene_submit_iov(io, client, queue, op, offset, length > 0);
}
