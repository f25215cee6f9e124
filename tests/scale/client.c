/* SPDX-License-Identifier: BSD-3-Clause */
/* The sessions, which have nothing to do but to be there. */
#include <stdio.h>
#include <stdlib.h>

#include "tests/scale/scale.h"

#define OPEN_TIMEOUT_MS 600000u

static void watch_queues(struct scale_client *client)
{
    struct rdisk_queue *queue;

    for (unsigned int i = 0;
         (queue = rdisk_initiator_queue(client->session, i)); i++) {
        scale_watch(client->scale, rdisk_queue_fd(queue), SCALE_CLIENT_QUEUE,
                    queue);
    }
    client->watched = true;
}

static void note_attempt(struct scale *scale)
{
    if (scale->attempt_count == scale->attempt_room) {
        scale->attempt_room = 2 * scale->attempt_room + 1024;
        scale->attempts = realloc(scale->attempts,
                                  scale->attempt_room * sizeof(uint64_t));
        if (!scale->attempts) {
            abort();
        }
    }
    scale->attempts[scale->attempt_count++] = scale_now(scale);
}

static void state_changed(void *opaque, enum rdisk_initiator_state state)
{
    struct scale_client *client = opaque;
    struct scale *scale = client->scale;

    client->state = state;
    if (state == RDISK_INITIATOR_RESOLVING) {
        note_attempt(scale);
    }
    if (state == RDISK_INITIATOR_FAILED) {
        scale_fail("a session has failed: %s",
                   rdisk_initiator_error(client->session)->text);
    }
}

/* The same memory for all: its content is not looked at. */
static uint8_t buffer[SCALE_BLOCK] __attribute__((aligned(4096)));
static const struct iovec whole = { buffer, sizeof(buffer) };

static void submit(struct scale_request *request)
{
    if (rdisk_queue_submit(request->queue, &request->request) < 0) {
        scale_fail("a request is not taken");
    }
    request->client->outstanding++;
}

static void complete(struct rdisk_request *done, int result)
{
    struct scale_request *request = (struct scale_request *)done;

    request->client->outstanding--;
    if (result < 0) {
        scale_fail("a request has failed: %d", result);
    }
    if (request->client->scale->loaded) {
        submit(request);
    }
}

void scale_client_load(struct scale_client *client)
{
    struct rdisk_error err;

    if (rdisk_initiator_register(client->session, buffer, sizeof(buffer),
                                 &err) < 0) {
        scale_fail("%s", err.text);
    }
    for (unsigned int i = 0; i < SCALE_QUEUES * SCALE_DEPTH; i++) {
        struct scale_request *request = &client->requests[i];

        request->client = client;
        request->queue = rdisk_initiator_queue(client->session,
                                               i % SCALE_QUEUES);
        request->request = (struct rdisk_request) {
            .op = RDISK_OP_READ,
            .length = SCALE_BLOCK,
            .iov = &whole,
            .iovcnt = 1,
            .complete = complete,
        };
        submit(request);
    }
    for (unsigned int i = 0; i < SCALE_QUEUES; i++) {
        rdisk_queue_kick(rdisk_initiator_queue(client->session, i));
    }
}

void scale_client_process(struct scale_client *client)
{
    if (!client->session) {
        return;
    }
    rdisk_initiator_process(client->session);
    client->deadline = rdisk_initiator_deadline(client->session);
    if (client->state == RDISK_INITIATOR_READY && !client->watched) {
        watch_queues(client);
    }
}

void scale_client_start(struct scale *scale, unsigned int index)
{
    static const struct rdisk_initiator_events events = {
        .state = state_changed,
    };
    struct scale_client *client = &scale->clients[index];
    struct rdisk_initiator_options options;
    struct rdisk_error err;

    client->scale = scale;
    fake_host_env(scale->hosts[index % SCALE_HOSTS], &client->env);
    scale_mutate_client(scale, &client->env);
    rdisk_initiator_options_init(&options);
    options.host = "10.0.0.1";
    options.port = SCALE_PORT;
    options.volume = "vol";
    options.shared = true;
    options.queues = SCALE_QUEUES;
    options.slots = SCALE_DEPTH;
    options.slot_size = SCALE_BLOCK;
    options.bounce_size = 64 << 10;
    options.open_timeout_ms = OPEN_TIMEOUT_MS;
    options.reconnect_delay_ms = OPEN_TIMEOUT_MS;
    options.heartbeat_ms = 10000;
    client->session = rdisk_initiator_create(&client->env, &options, &events,
                                             client, &err);
    if (!client->session) {
        scale_fail("a session cannot be created: %s", err.text);
    }
    scale_watch(scale, rdisk_initiator_fd(client->session), SCALE_SESSION,
                client);
    rdisk_initiator_start(client->session, NULL);
    client->deadline = rdisk_initiator_deadline(client->session);
}

unsigned int scale_clients_in(const struct scale *scale,
                              enum rdisk_initiator_state state)
{
    unsigned int count = 0;

    for (unsigned int i = 0; i < scale->count; i++) {
        count += scale->clients[i].state == state;
    }
    return count;
}

void scale_client_end(struct scale_client *client)
{
    rdisk_initiator_unregister(client->session, buffer, sizeof(buffer));
    rdisk_initiator_destroy(client->session);
    client->session = NULL;
}
