/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A client by bare verbs that attacks a live server and the session of another
 * client, each way it knows:
 *
 *   adversary-client ADDRESS PORT OWN-VOLUME VICTIM'S-VOLUME
 *
 * After each attack the victim writes and reads as ever. Prints "ok - …" or
 * "not ok - …" for each, and ends with status 0 if all were warded off.
 */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "attack.h"
#include "transport/wire/list.h"

static const char *address, *port, *own_volume;
struct session victim;
static bool failed;
struct session own;

void expect(bool good, const char *what)
{
    if (!good) {
        fprintf(stderr, "# not so: %s\n", what);
        failed = true;
    }
}

void open_own(void)
{
    session_open(&own, address, port, own_volume);
}

void begin(void)
{
    open_own();
    session_join(&own);
}

void begin_on(const char *volume)
{
    session_open(&own, address, port, volume);
    session_join(&own);
}

/* ---- The victim -------------------------------------------------------- */

static uint8_t victim_byte = 1;

/* It sends a payload in two steps, so that an attack fits in between: first
 * the bytes into the slot, then the header with the immediate. */
static void victim_fills_slot(void)
{
    memset(victim.data.buffer + SESSION_PAYLOAD, ++victim_byte, 4096);
    EXPECT(end_write(&victim.data, SESSION_PAYLOAD, 4096,
                     session_header(&victim, 0) + 64, session_key(&victim),
                     -1) == IBV_WC_SUCCESS);
}

static void victim_sends_slot(void)
{
    session_make(&victim, RDISK_OP_WRITE, 0, 0);
    EXPECT(session_send(&victim, 0, 0) == IBV_WC_SUCCESS);
    EXPECT(session_answer(&victim) == RDISK_STATUS_OK);
}

static void victim_reads_it_back(void)
{
    struct rdisk_wire_request *wire = session_make(&victim, RDISK_OP_READ, 1,
                                                   0);
    struct rdisk_wire_segment *segment = (struct rdisk_wire_segment *)wire - 1;
    uint32_t sequence = victim.sequence++;
    uint8_t *place = victim.data.buffer + SESSION_PAYLOAD + 4096;

    memset(place, 0, 4096);
    wire->segments = htole16(1);
    *segment = (struct rdisk_wire_segment) {
        .address = htole64((uintptr_t)place),
        .length = htole32(4096),
        .key = htole32(victim.data.mr->rkey),
    };
    EXPECT(end_write(&victim.data, SESSION_HEADER - sizeof(*segment),
                     sizeof(*segment) + sizeof(*wire),
                     session_header(&victim, 1) - sizeof(*segment),
                     session_key(&victim),
                     rdisk_imm_request(1, sequence)) == IBV_WC_SUCCESS);
    EXPECT(session_answer(&victim) == RDISK_STATUS_OK);
    for (unsigned int i = 0; i < 4096; i++) {
        if (place[i] != victim_byte) {
            expect(false, "the victim reads what it wrote");
            return;
        }
    }
}

static void victim_is_unharmed(void)
{
    victim_fills_slot();
    victim_sends_slot();
    victim_reads_it_back();
}

/* ---- Keys and addresses ------------------------------------------------ */

/* True if a write into the victim's slot by this key is refused. The victim's
 * payload is in there meanwhile. */
static void write_to_victim(uint32_t key)
{
    enum ibv_wc_status status;

    begin();
    victim_fills_slot();
    memset(own.data.buffer + SESSION_PAYLOAD, 0xee, 4096);
    status = end_write(&own.data, SESSION_PAYLOAD, 4096,
                       session_header(&victim, 0) + 64, key, -1);
    EXPECT(status == IBV_WC_REM_ACCESS_ERR);
    EXPECT(session_ended(&own));
    session_drop(&own);
    victim_sends_slot();
    victim_reads_it_back();
}

static void key_of_another_client(void)
{
    write_to_victim(session_key(&victim));
}

static void own_key_at_the_victims_address(void)
{
    uint32_t key;

    begin();
    key = session_key(&own);
    session_close(&own);
    write_to_victim(key);
    begin();
    EXPECT(end_write(&own.data, SESSION_PAYLOAD, 4096,
                     session_header(&victim, 0) + 64, session_key(&own),
                     -1) == IBV_WC_REM_ACCESS_ERR);
    session_drop(&own);
}

static void guessed_keys(void)
{
    static const uint32_t changes[] = { 1, 0x80, 0x100, 0xffffff00 };

    for (size_t i = 0; i < 4; i++) {
        write_to_victim(session_key(&victim) + changes[i]);
    }
}

static void stale_key(void)
{
    uint64_t place;
    uint32_t key;

    begin();
    place = session_header(&own, 0);
    key = session_key(&own);
    session_close(&own);
    begin();
    EXPECT(end_write(&own.data, SESSION_PAYLOAD, 64, place, key, -1) ==
           IBV_WC_REM_ACCESS_ERR);
    EXPECT(session_ended(&own));
    session_drop(&own);
}

static void addresses_outside_the_slots(void)
{
    for (unsigned int i = 0; i < 4; i++) {
        uint64_t base, end, place[4];

        begin();
        base = le64toh(own.lease.base);
        end = base + SESSION_SLOTS * (uint64_t)le32toh(own.lease.stride);
        place[0] = base - 64;
        place[1] = end - 32; /* half in, half out */
        place[2] = end + (1u << 20);
        place[3] = 0;
        EXPECT(end_write(&own.data, SESSION_PAYLOAD, 64, place[i],
                         session_key(&own), -1) == IBV_WC_REM_ACCESS_ERR);
        EXPECT(session_ended(&own));
        session_drop(&own);
    }
}

/* ---- Joining ----------------------------------------------------------- */

static void refused_to_join(const struct rdisk_wire_connect *request)
{
    const struct rdisk_wire_reject *reject = (void *)own.data.data;

    EXPECT(!session_join_with(&own, request));
    EXPECT(own.data.event == RDMA_CM_EVENT_REJECTED);
    EXPECT(reject->magic == htole32(RDISK_WIRE_MAGIC));
    end_close(&own.data);
}

static void wrong_token(void)
{
    struct rdisk_wire_connect request;

    open_own();
    request = session_request(&own);
    request.token[15] ^= 1;
    refused_to_join(&request);
    memset(request.token, 0, sizeof(request.token));
    refused_to_join(&request);
    /* The victim's session with this one's token. */
    request = session_request(&own);
    request.session = victim.granted.session;
    refused_to_join(&request);
    session_drop(&own);
}

static void queue_that_has_joined(void)
{
    struct session thief = victim;
    struct rdisk_wire_connect request = session_request(&victim);

    EXPECT(!session_join_with(&thief, &request));
    end_close(&thief.data);
}

/* ---- Floods ------------------------------------------------------------ */

#define FLOOD 2000u

/* The answers are not taken; there are END_RECEIVES receives for them. */
static void flood_of_requests(void)
{
    unsigned int i = 0;

    begin();
    do {
        session_make(&own, RDISK_OP_WRITE, i % SESSION_SLOTS, 0);
    } while (session_send(&own, i % SESSION_SLOTS, 4096) == IBV_WC_SUCCESS &&
             ++i < FLOOD);
    EXPECT(i < FLOOD);
    EXPECT(session_ended(&own));
    session_drop(&own);
}

static void flood_of_messages(void)
{
    unsigned int i = 0;

    begin();
    while (end_say(&own.control, RDISK_MSG_PING, 40, 1) == IBV_WC_SUCCESS &&
           ++i < FLOOD) {
    }
    EXPECT(i < FLOOD);
    EXPECT(session_ended(&own));
    session_drop(&own);
}

/* ---- Handshakes -------------------------------------------------------- */

#define SILENT 16u
#define CROWD  64u /* more than the server's max-sessions */

static bool knock(struct end *end)
{
    struct rdisk_wire_connect request = {
        .magic = htole32(RDISK_WIRE_MAGIC),
        .version = htole16(RDISK_WIRE_VERSION),
    };

    return end_connect(end, address, port, &request, sizeof(request));
}

/* So many, each of which sends so many messages of the handshake and then
 * none. */
static void silent_after(unsigned int words)
{
    static struct end silent[SILENT];

    for (unsigned int i = 0; i < SILENT; i++) {
        EXPECT(knock(&silent[i]));
        if (words) {
            end_say(&silent[i], RDISK_MSG_HELLO,
                    sizeof(struct rdisk_wire_hello), 0);
            EXPECT(end_hear(&silent[i]) != NULL);
        }
    }
    victim_is_unharmed();
    for (unsigned int i = 0; i < SILENT; i++) {
        EXPECT(end_disconnected(&silent[i], END_WAIT_MS));
        end_close(&silent[i]);
    }
}

static void silent_connections(void)
{
    silent_after(0);
}

static void half_handshakes(void)
{
    silent_after(1);
}

/* What is granted waits for its queues. */
static void open_and_no_queue(void)
{
    struct session silent;

    session_open(&silent, address, port, own_volume);
    EXPECT(end_disconnected(&silent.control, END_WAIT_MS));
    end_close(&silent.control);
}

/* ---- Instead of OPEN --------------------------------------------------- */

/* Connected, and these features chosen, if the server has them. */
static void greeted(struct end *end, uint64_t features)
{
    struct rdisk_wire_hello *hello;

    EXPECT(knock(end));
    hello = (void *)(end->buffer + END_SAY);
    memset(hello, 0, sizeof(*hello));
    hello->features = htole64(features);
    end_say(end, RDISK_MSG_HELLO, sizeof(*hello), 0);
    EXPECT(end_hear(end) != NULL);
}

/* The status of the answer to the message in the buffer; -1: it is another. */
static int said(struct end *end, enum rdisk_message_type type, size_t size)
{
    const struct rdisk_wire_message *reply;

    end_say(end, type, size, 0);
    reply = end_hear(end);
    return reply && le16toh(reply->type) == type + 1 ? le16toh(reply->status)
                                                     : -1;
}

static void fill_name(struct end *end, const char *name)
{
    struct rdisk_wire_delete *wire = (void *)(end->buffer + END_SAY);

    memset(wire, 0, RDISK_MESSAGE_MAX);
    wire->name_length = htole16((uint16_t)strlen(name));
    memcpy(wire->name, name, strlen(name));
}

/* The server allows no client to create: the victim's volume, one that is not
 * there and one with a bad name get the same, or end the session. */
static void foreign_deletes(void)
{
    static const char *const names[] = { "victim", "own", "nothing" };
    struct end end;

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        greeted(&end, RDISK_FEATURE_DELETE);
        fill_name(&end, names[i]);
        EXPECT(said(&end, RDISK_MSG_DELETE, sizeof(struct rdisk_wire_delete)) ==
               RDISK_STATUS_DENIED);
        end_close(&end);
    }
    greeted(&end, 0);
    fill_name(&end, "victim");
    EXPECT(said(&end, RDISK_MSG_DELETE, sizeof(struct rdisk_wire_delete)) ==
           RDISK_STATUS_UNSUPPORTED);
    end_close(&end);
    greeted(&end, RDISK_FEATURE_DELETE);
    fill_name(&end, "../victim");
    EXPECT(said(&end, RDISK_MSG_DELETE, sizeof(struct rdisk_wire_delete)) < 0);
    EXPECT(end_disconnected(&end, END_WAIT_MS));
    end_close(&end);
}

static struct rdisk_wire_list *fill_list(struct end *end, const char *after)
{
    struct rdisk_wire_list *wire = (void *)(end->buffer + END_SAY);

    memset(wire, 0, RDISK_MESSAGE_MAX);
    wire->after_length = htole16((uint16_t)strlen(after));
    memcpy(wire->after, after, strlen(after));
    return wire;
}

/* They delay no other client: one is read at a time. */
static void many_lists(void)
{
    static struct end ends[SILENT];

    for (unsigned int i = 0; i < SILENT; i++) {
        greeted(&ends[i], RDISK_FEATURE_LIST);
    }
    for (unsigned int i = 0; i < 20 * SILENT; i++) {
        fill_list(&ends[i % SILENT], i % 2 ? "" : "own");
        end_say(&ends[i % SILENT], RDISK_MSG_LIST,
                sizeof(struct rdisk_wire_list), 0);
        if (i % SILENT == SILENT - 1) {
            victim_is_unharmed();
            for (unsigned int j = 0; j < SILENT; j++) {
                const struct rdisk_wire_message *reply = end_hear(&ends[j]);

                EXPECT(reply && le16toh(reply->type) == RDISK_MSG_LIST_REPLY &&
                       le16toh(reply->status) == RDISK_STATUS_OK);
            }
        }
    }
    for (unsigned int i = 0; i < SILENT; i++) {
        end_close(&ends[i]);
    }
}

static void bad_lists(void)
{
    struct end end;

    for (unsigned int i = 0; i < 4; i++) {
        struct rdisk_wire_list *wire;

        greeted(&end, RDISK_FEATURE_LIST);
        wire = fill_list(&end, i == 1 ? "a/b" : "own");
        if (i == 0) {
            wire->after_length = htole16(0xffff);
        } else if (i == 2) {
            wire->after[100] = 'x';
        } else if (i == 3) {
            wire->reserved[0] = htole16(1);
        }
        EXPECT(said(&end, RDISK_MSG_LIST, sizeof(*wire)) < 0);
        EXPECT(end_disconnected(&end, END_WAIT_MS));
        end_close(&end);
    }
}

static void garbage_requests(void)
{
    uint32_t magic = htole32(RDISK_WIRE_MAGIC);
    uint16_t version = htole16(RDISK_WIRE_VERSION);
    uint8_t data[56];
    struct end end;

    for (unsigned int i = 0; i < 16; i++) {
        if (getentropy(data, sizeof(data)) < 0) {
            die("no random bytes");
        }
        if (i % 2) {
            /* Right as far as the kind: a queue of no session. */
            memcpy(data, &magic, sizeof(magic));
            memcpy(data + 4, &version, sizeof(version));
            data[6] = RDISK_LINK_DATA;
        }
        EXPECT(!end_connect(&end, address, port, data,
                            i % 2 ? sizeof(struct rdisk_wire_connect) : 3 * i));
        end_close(&end);
    }
}

static void crowd(void)
{
    static struct end end[CROWD];
    unsigned int in = 0;

    while (in < CROWD && knock(&end[in])) {
        in++;
    }
    EXPECT(in < CROWD);
    victim_is_unharmed();
    for (unsigned int i = 0; i < CROWD && i <= in; i++) {
        end_close(&end[i]);
    }
    /* There is room again as soon as the server has seen them go. */
    for (unsigned int i = 0; i < 200 && !knock(&end[0]); i++) {
        end_close(&end[0]);
        poll(NULL, 0, 50);
    }
    EXPECT(end[0].event == RDMA_CM_EVENT_ESTABLISHED);
    end_close(&end[0]);
}

static const struct {
    const char *name;
    void (*run)(void);
} attacks[] = {
    { "a key of another client's slots opens nothing", key_of_another_client },
    { "an own key opens nothing at another client's slots",
      own_key_at_the_victims_address },
    { "keys guessed from another client's open nothing", guessed_keys },
    { "a key of a session that has ended opens nothing", stale_key },
    { "an address outside of the slots is refused",
      addresses_outside_the_slots },
    { "nothing but its volume is read from the server", reads_of_other_memory },
    { "a resident volume is not written to", writes_to_an_image },
    { "a wrong token does not let a queue join", wrong_token },
    { "a queue that has joined cannot join again", queue_that_has_joined },
    { "a header of garbage ends its session only", garbage_headers },
    { "a bad length ends its session, or is answered", bad_lengths },
    { "a bad write without a header ends its session, or is answered",
      bare_writes },
    { "a bad message of several requests ends its session, or is answered",
      several_requests },
    { "a request that is replayed ends its session only", replays },
    { "a message of garbage ends its session only", garbage_messages },
    { "a flood of requests ends its session only", flood_of_requests },
    { "a flood of messages ends its session only", flood_of_messages },
    { "connections that say nothing are dropped", silent_connections },
    { "handshakes that stop half-way are dropped", half_handshakes },
    { "a session without a queue is dropped", open_and_no_queue },
    { "volumes of others are not deleted", foreign_deletes },
    { "bad lists end their session only", bad_lists },
    { "many lists at a time delay no other client", many_lists },
    { "connection requests of garbage are refused", garbage_requests },
    { "connections beyond max-sessions are refused, until some end", crowd },
};

int main(int argc, char **argv)
{
    bool any = false;

    if (argc != 5) {
        die("usage: adversary-client ADDRESS PORT OWN-VOLUME VICTIM-VOLUME");
    }
    address = argv[1];
    port = argv[2];
    own_volume = argv[3];
    session_open(&victim, address, port, argv[4]);
    session_join(&victim);
    victim_is_unharmed();
    for (size_t i = 0; i < sizeof(attacks) / sizeof(attacks[0]); i++) {
        failed = false;
        attacks[i].run();
        victim_is_unharmed();
        printf("%s - %s\n", failed ? "not ok" : "ok", attacks[i].name);
        fflush(stdout);
        any |= failed;
    }
    session_close(&victim);
    return any;
}
