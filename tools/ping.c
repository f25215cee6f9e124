/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * rdisk ping: prints each step of the connection, then times a message on the
 * control queue and a read on a data queue, which is the way a guest's request
 * takes.
 */
#include <errno.h>
#include <inttypes.h>
#include <json-c/json.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/container_of.h"
#include "common/size.h"
#include "tools/remote.h"

#define DEFAULT_COUNT 4
#define READ_SIZE     4096

struct ping {
    struct rdisk_initiator *session;
    enum rdisk_initiator_state reached; /* the last one that was no failure */
    char *buffer;
    bool done;
    int result;
    uint64_t round_trip;      /* ns, of the last ping */
    struct json_object *json; /* what is printed at the end; NULL: text */
};

/* Of one kind of round trip, in nanoseconds. */
struct times {
    uint64_t count, sum, min, max;
};

static void times_add(struct times *times, uint64_t time)
{
    times->min = times->count && times->min < time ? times->min : time;
    times->max = times->max > time ? times->max : time;
    times->sum += time;
    times->count++;
}

/* Microseconds, with a tenth. */
static struct json_object *json_us(double ns)
{
    char text[32];

    snprintf(text, sizeof(text), "%.1f", ns / 1e3);
    return json_object_new_double_s(ns / 1e3, text);
}

static void times_json(struct json_object *json, const char *what,
                       const struct times *times)
{
    struct json_object *object = json_object_new_object();

    json_object_object_add(object, "count",
                           json_object_new_uint64(times->count));
    json_object_object_add(object, "min", json_us(times->min));
    json_object_object_add(object, "mean",
                           json_us((double)times->sum / times->count));
    json_object_object_add(object, "max", json_us(times->max));
    json_object_object_add(json, what, object);
}

static void times_print(const struct ping *ping, const char *what,
                        const struct times *times)
{
    if (times->count && ping->json) {
        times_json(ping->json, what, times);
    } else if (times->count) {
        printf("%s: %" PRIu64 " round trips, %.1f / %.1f / %.1f us (min / "
               "mean / max)\n",
               what, times->count, times->min / 1e3,
               times->sum / 1e3 / times->count, times->max / 1e3);
    }
}

/* ---- Steps ------------------------------------------------------------ */

static void state_changed(void *opaque, enum rdisk_initiator_state state)
{
    struct ping *ping = opaque;

    if (state != RDISK_INITIATOR_FAILED) {
        ping->reached = state;
    }
}

static void print_step(const struct ping *ping, const char *name, uint64_t time,
                       const char *detail)
{
    if (ping->json) {
        json_object_object_add(json_object_object_get(ping->json, "steps"),
                               name, json_us(time));
        return;
    }
    printf("  %-8s %10.1f us  %s\n", name, time / 1e3, detail);
}

static struct json_object *new_json(const char *uri)
{
    struct json_object *json = json_object_new_object();

    json_object_object_add(json, "uri", json_object_new_string(uri));
    json_object_object_add(json, "steps", json_object_new_object());
    return json;
}

/* The steps that were made, be it all of them or not. */
static void print_steps(const struct ping *ping, const struct rdisk_uri *uri)
{
    const struct rdisk_volume_info *info = rdisk_initiator_info(ping->session);
    struct rdisk_initiator_steps steps;
    char text[256], size[SIZE_TEXT], slot[SIZE_TEXT];

    rdisk_initiator_steps(ping->session, &steps);
    print_step(ping, "name", steps.name, uri->host);
    if (!steps.device[0]) {
        return;
    }
    snprintf(text, sizeof(text), "device %s", steps.device);
    print_step(ping, "address", steps.address, text);
    if (steps.connect) {
        print_step(ping, "route", steps.route, "");
        print_step(ping, "connect", steps.connect, "control queue");
    }
    if (steps.hello) {
        print_step(ping, "hello", steps.hello, "");
    }
    if (steps.auth) {
        print_step(ping, "auth", steps.auth,
                   "both sides have proved the secret");
    }
    if (ping->reached != RDISK_INITIATOR_READY) {
        return;
    }
    snprintf(text, sizeof(text), "%s, %s bytes in blocks of %u%s", uri->volume,
             size_format(info->size, size, sizeof(size)), info->block_size,
             info->read_only ? ", read-only" : "");
    print_step(ping, "open", steps.open, text);
    snprintf(text, sizeof(text), "%u of %u slots of %s each", info->queues,
             info->slots, size_format(info->max_transfer, slot, sizeof(slot)));
    print_step(ping, "queues", steps.join, text);
}

/* ---- Round trips ------------------------------------------------------ */

/* Serve the session until ping->done, or, if that never comes, until
 * @until. Returns 0, or the error the session ended with. */
static int serve(struct ping *ping, uint64_t until)
{
    struct rdisk_queue *queue = rdisk_initiator_queue(ping->session, 0);
    const struct rdisk_env *env = &rdisk_env_system;
    uint64_t now;

    while (!ping->done && (now = rdisk_now(env)) < until) {
        struct pollfd fds[] = {
            { .fd = rdisk_initiator_fd(ping->session), .events = POLLIN },
            { .fd = rdisk_queue_fd(queue), .events = POLLIN },
        };
        uint64_t left = (until - now) / RDISK_MSEC + 1;

        /* At most a second at a time, so that every sleep is bounded. */
        poll(fds, 2, left < 1000 ? (int)left : 1000);
        rdisk_queue_process(queue);
        rdisk_initiator_process(ping->session);
        if (rdisk_initiator_state(ping->session) != RDISK_INITIATOR_READY) {
            return rdisk_initiator_error(ping->session)->code;
        }
    }
    return 0;
}

static void pong(void *opaque, uint64_t round_trip)
{
    struct ping *ping = opaque;

    ping->round_trip = round_trip;
    ping->done = true;
}

static int time_message(struct ping *ping, uint64_t *time)
{
    int result;

    ping->done = false;
    result = rdisk_initiator_ping(ping->session, pong, ping);
    if (result == 0) {
        result = serve(ping, RDISK_NEVER);
    }
    *time = ping->round_trip;
    return result;
}

/* A request, and the ping that waits for it. */
struct read {
    struct rdisk_request request;
    struct ping *ping;
};

static void read_done(struct rdisk_request *request, int result)
{
    struct ping *ping = container_of(request, struct read, request)->ping;

    ping->result = result;
    ping->done = true;
}

static int time_read(struct ping *ping, uint32_t size, uint64_t *time)
{
    struct rdisk_queue *queue = rdisk_initiator_queue(ping->session, 0);
    struct iovec iov = { .iov_base = ping->buffer, .iov_len = size };
    struct read read = {
        .request = {
            .op = RDISK_OP_READ, .length = size, .iov = &iov, .iovcnt = 1,
            .complete = read_done,
        },
        .ping = ping,
    };
    uint64_t start = rdisk_now(&rdisk_env_system);
    int result;

    ping->done = false;
    result = rdisk_queue_submit(queue, &read.request);
    if (result < 0) {
        return result;
    }
    rdisk_queue_kick(queue);
    result = serve(ping, RDISK_NEVER);
    /* A request that is out comes back, if only as an error. */
    while (!ping->done) {
        struct pollfd fd = { .fd = rdisk_queue_fd(queue), .events = POLLIN };

        poll(&fd, 1, 100);
        rdisk_initiator_process(ping->session);
        rdisk_queue_process(queue);
    }
    *time = rdisk_now(&rdisk_env_system) - start;
    return result < 0 ? result : ping->result;
}

static void print_round(const struct ping *ping, unsigned int i,
                        uint64_t message, uint32_t size, uint64_t read)
{
    if (!ping->json) {
        printf("%u: message %.1f us, read of %u bytes %.1f us\n", i,
               message / 1e3, size, read / 1e3);
        fflush(stdout);
    }
}

static int run_pings(struct ping *ping, const struct arguments *arguments)
{
    const struct rdisk_volume_info *info = rdisk_initiator_info(ping->session);
    uint32_t size = info->size < READ_SIZE ? info->block_size : READ_SIZE;
    unsigned int count = arguments->count ? arguments->count : DEFAULT_COUNT;
    struct times messages = { 0 }, reads = { 0 };
    int result = 0;

    for (unsigned int i = 1; i <= count && result == 0; i++) {
        uint64_t message, read;

        if (i > 1 && arguments->interval > 0) {
            ping->done = false;
            result = serve(ping, rdisk_now(&rdisk_env_system) +
                                     (uint64_t)(arguments->interval * 1e9));
        }
        if (result == 0) {
            result = time_message(ping, &message);
        }
        if (result == 0) {
            result = time_read(ping, size, &read);
        }
        if (result == 0) {
            times_add(&messages, message);
            times_add(&reads, read);
            print_round(ping, i, message, size, read);
        }
    }
    times_print(ping, "messages", &messages);
    times_print(ping, "reads", &reads);
    return result;
}

/* ---- The command ------------------------------------------------------ */

static int report_failure(const struct ping *ping, const char *uri,
                          const struct rdisk_error *err, int result)
{
    const struct rdisk_error *why = rdisk_initiator_error(ping->session);
    const char *text = why->code   ? why->text
                       : err->code ? err->text
                                   : strerror(-result);
    int code = why->code ? why->code : err->code ? err->code : result;

    return ping->reached == RDISK_INITIATOR_IDLE
               ? failed_code(code, "%s: %s", uri, text)
               : failed_code(code, "%s: %s (in state %s)", uri, text,
                             rdisk_initiator_state_name(ping->reached));
}

static int connect_and_ping(struct ping *ping, const struct rdisk_uri *uri,
                            const struct arguments *arguments)
{
    struct rdisk_error err = { 0 };
    int result = rdisk_initiator_start(ping->session, &err);

    if (result == 0) {
        result = rdisk_initiator_wait(ping->session, &err);
        print_steps(ping, uri);
    }
    if (result < 0) {
        return report_failure(ping, arguments->uri, &err, result);
    }
    /* A failure costs a copy, and says so itself. */
    if (rdisk_initiator_register(ping->session, ping->buffer, READ_SIZE, &err) <
        0) {
        failed_code(err.code, "%s", err.text);
        err.code = 0;
    }
    result = run_pings(ping, arguments);
    if (result < 0) {
        return report_failure(ping, arguments->uri, &err, result);
    }
    rdisk_initiator_unregister(ping->session, ping->buffer, READ_SIZE);
    rdisk_initiator_close(ping->session);
    result = rdisk_initiator_wait(ping->session, &err);
    return result < 0 ? report_failure(ping, arguments->uri, &err, result)
                      : EXIT_OK;
}

int command_ping(const struct arguments *arguments)
{
    static const struct rdisk_initiator_events events = {
        .state = state_changed,
    };
    struct remote_options where = { 0 };
    struct ping ping = { 0 };
    struct rdisk_error err;
    int result;

    /* Harmless beside a guest that writes, unless asked otherwise. */
    result = remote_options_read(&where, arguments, true);
    if (result != EXIT_OK) {
        return result;
    }
    if (posix_memalign((void **)&ping.buffer, READ_SIZE, READ_SIZE)) {
        return failed("no memory");
    }
    memset(ping.buffer, 0, READ_SIZE);
    ping.json = arguments->json ? new_json(arguments->uri) : NULL;
    ping.session = rdisk_initiator_create(&rdisk_env_system, &where.options,
                                          &events, &ping, &err);
    rdisk_secret_wipe(&where.secret);
    if (!ping.session) {
        free(ping.buffer);
        json_object_put(ping.json);
        return failed_code(err.code, "%s", err.text);
    }
    result = connect_and_ping(&ping, &where.uri, arguments);
    rdisk_initiator_destroy(ping.session);
    free(ping.buffer);
    /* Also the steps of a connection that failed. */
    if (ping.json) {
        print_json(ping.json);
        json_object_put(ping.json);
    }
    return result;
}
