/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A client that writes and reads blocks, one request on each at a time, so that
 * it knows what a block has to hold; and another one that tries to get the
 * volume, and must not.
 */
#include <string.h>

#include "tests/gateways/gateways.h"

#define WRITER   1
#define INTRUDER 2
/* Steps without an answer, while nothing is wrong for longer than a tenth. */
#define IDLE_STEPS_MAX 60000u

static struct {
    struct link *link; /* NULL: none */
    bool ready;
    bool leaving;        /* what was sent is answered, and nothing else sent */
    unsigned int server; /* that is asked */
    uint64_t epoch, generation;
    uint32_t fresh; /* the last value written */
    struct want {
        bool busy, sent, write;
        uint32_t value; /* to write */
    } want[BLOCKS];
    uint32_t known[BLOCKS]; /* what each block holds */
    unsigned int idle;      /* steps since the last answer */
    bool finishing;
    unsigned int checked; /* blocks, then */
} client;

void client_begin(void)
{
    memset(&client, 0, sizeof(client));
}

/* ---- Connections --------------------------------------------------------- */

static struct link *connect_to(unsigned int server, uint8_t id, uint64_t epoch,
                               uint64_t generation)
{
    for (unsigned int i = 0; i < LINKS_MAX; i++) {
        struct link *link = &links[i];

        if (link->process || !processes[server].up) {
            continue;
        }
        *link = (struct link) {
            .process = &processes[server],
            .current = true,
            .open = { .volume = "v",
                      .peer = "client",
                      .client = { id },
                      .epoch = epoch,
                      .generation = generation,
                      .servers = true },
        };
        return link;
    }
    return NULL;
}

static void forget_sent(void)
{
    client.link = NULL;
    client.ready = client.leaving = false;
    for (unsigned int i = 0; i < BLOCKS; i++) {
        client.want[i].sent = false;
    }
}

void client_lost(struct link *link)
{
    if (link == client.link) {
        forget_sent();
    }
}

void client_leaves(struct link *link)
{
    if (link == client.link) {
        say("the client is handed over to server %u", link->to);
        client.leaving = true;
        client.server = link->to;
    }
}

/* Its queue pairs are in ERROR: nothing of them reaches it any more. */
static void cut(unsigned int next)
{
    say("the client gives up epoch %u", (unsigned int)client.epoch);
    client.link->current = false;
    forget_sent();
    client.server = next;
}

/* All answers have come, or the client does not wait any longer. */
static void leave(void)
{
    bool waits = pick(100);

    for (unsigned int i = 0; i < BLOCKS && waits; i++) {
        if (client.want[i].sent) {
            return;
        }
    }
    cut(client.link->to);
}

void client_answered(struct link *link, enum rdisk_status status)
{
    if (link->open.client[0] == INTRUDER) {
        if (status == RDISK_STATUS_OK && client.generation) {
            violation("another client got the volume");
        }
        return;
    }
    if (status == RDISK_STATUS_OK) {
        client.ready = true;
        client.generation = link->generation;
        return;
    }
    if (status == RDISK_STATUS_STALE) {
        violation("the client that has the volume is refused as stale");
    }
    forget_sent();
    client.server = (client.server + 1) % SERVERS;
}

static void intrude(void)
{
    struct link *link = client.generation
                            ? connect_to(pick(SERVERS), INTRUDER, 1, 0)
                            : NULL;

    if (link) {
        say("another client asks server %d", (int)(link->process - processes));
    }
}

/* ---- Requests ------------------------------------------------------------ */

static void send_one(unsigned int block)
{
    struct want *want = &client.want[block];
    struct request *request = &client.link->requests[block];

    want->sent = true;
    *request = (struct request) {
        .link = client.link,
        .block = block,
        .write = want->write,
        .value = want->value,
    };
}

void client_completed(struct request *request, int result, uint32_t value)
{
    struct want *want = &client.want[request->block];

    client.idle = 0;
    want->busy = want->sent = false;
    if (result < 0) {
        violation("a request on block %u failed", request->block);
    } else if (want->write) {
        client.known[request->block] = want->value;
    } else if (value != client.known[request->block]) {
        violation("block %u holds %u, not %u", request->block, value,
                  client.known[request->block]);
    }
    client.checked += client.finishing && !want->write;
}

static void request(void)
{
    unsigned int block = pick(BLOCKS);
    struct want *want = &client.want[block];

    if (!want->busy && (!client.finishing || client.checked < 2 * BLOCKS)) {
        want->busy = true;
        want->write = !client.finishing && pick(2);
        want->value = want->write ? ++client.fresh : 0;
    }
    if (want->busy && !want->sent) {
        send_one(block);
    }
}

void client_step(void)
{
    if (++client.idle > IDLE_STEPS_MAX) {
        violation("the client gets no answer any more, state %s, epoch %u",
                  client.ready ? "ready" : "connecting",
                  (unsigned int)client.epoch);
    }
    if (!client.finishing && pick(400) == 0) {
        intrude();
    }
    if (!client.link) {
        client.link = connect_to(client.server, WRITER, ++client.epoch,
                                 client.generation);
        client.server = client.link ? client.server : pick(SERVERS);
    } else if (pick(client.finishing ? 4000 : 200) == 0) {
        cut(pick(SERVERS));
    } else if (client.leaving) {
        leave();
    } else if (client.ready) {
        request();
    }
}

void client_finish(void)
{
    client.finishing = true;
    client.idle = 0;
}

bool client_finished(void)
{
    return client.checked >= 2 * BLOCKS;
}
