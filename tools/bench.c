/* SPDX-License-Identifier: BSD-3-Clause */
/* rdisk bench: requests of one kind to a volume, and how long they take. */
#include <errno.h>
#include <inttypes.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/container_of.h"
#include "common/size.h"
#include "tools/pump.h"

#define DEFAULT_DEPTH 32
#define DEFAULT_BLOCK 4096
#define DEFAULT_TIME  10 /* seconds */

/* Latencies, in buckets of 1/32 of a power of two: right to 3 %. */
#define PARTS   32u
#define BUCKETS (64u * PARTS)

struct bench {
    struct pump pump;
    const struct arguments *arguments;
    uint64_t size, offset;            /* of the volume; of the next request */
    uint64_t began, until;            /* rdisk_now() */
    uint64_t random;                  /* state of the generator; never 0 */
    uint64_t requests, sum, min, max; /* ns */
    uint64_t counts[BUCKETS];
    uint64_t shown, shown_requests; /* of the last line of progress */
};

static unsigned int bucket_of(uint64_t nanoseconds)
{
    unsigned int power;

    if (nanoseconds < PARTS) {
        return (unsigned int)nanoseconds;
    }
    power = 63 - (unsigned int)__builtin_clzll(nanoseconds);
    return (power - 4) * PARTS +
           (unsigned int)(nanoseconds >> (power - 5) & (PARTS - 1));
}

/* The middle of a bucket, ns. */
static double time_of(unsigned int bucket)
{
    unsigned int power = bucket / PARTS + 4;

    return bucket < PARTS
               ? bucket
               : (PARTS + bucket % PARTS + 0.5) * (double)(1ull << (power - 5));
}

/* In microseconds. */
static double percentile(const struct bench *bench, double part)
{
    uint64_t seen = 0;

    for (unsigned int i = 0; i < BUCKETS; i++) {
        seen += bench->counts[i];
        if (seen && (double)seen >= (double)bench->requests * part) {
            return time_of(i) / 1000;
        }
    }
    return 0;
}

/* ---- Requests ---------------------------------------------------------- */

/* xorshift64*: quick, and the same sequence on each machine. */
static uint64_t next_random(struct bench *bench)
{
    bench->random ^= bench->random >> 12;
    bench->random ^= bench->random << 25;
    bench->random ^= bench->random >> 27;
    return bench->random * 0x2545f4914f6cdd1dull;
}

static int next(struct pump *pump, struct pump_slot *slot)
{
    struct bench *bench = container_of(pump, struct bench, pump);
    uint64_t blocks = bench->size / pump->block;

    if (rdisk_now(&rdisk_env_system) >= bench->until) {
        return 0;
    }
    if (bench->arguments->random) {
        bench->offset = next_random(bench) % blocks * pump->block;
    } else if (bench->offset + pump->block > bench->size) {
        bench->offset = 0;
    }
    slot->request.op = bench->arguments->write ? RDISK_OP_WRITE : RDISK_OP_READ;
    slot->request.offset = bench->offset;
    slot->request.length = pump->block;
    bench->offset += pump->block;
    return 1;
}

static int done(struct pump *pump, struct pump_slot *slot)
{
    struct bench *bench = container_of(pump, struct bench, pump);
    uint64_t took = rdisk_now(&rdisk_env_system) - slot->began;

    bench->min = bench->requests && bench->min < took ? bench->min : took;
    bench->max = bench->max > took ? bench->max : took;
    bench->sum += took;
    bench->requests++;
    bench->counts[bucket_of(took)]++;
    return 0;
}

static void progress(struct pump *pump)
{
    struct bench *bench = container_of(pump, struct bench, pump);
    uint64_t now = rdisk_now(&rdisk_env_system);
    double seconds = (now - bench->shown) / 1e9;
    double rate = (bench->requests - bench->shown_requests) / seconds;

    if (seconds < bench->arguments->interval) {
        return;
    }
    fprintf(stderr, "\r%5.0f s  %10.0f IOPS  %9.1f MB/s",
            (now - bench->began) / 1e9, rate, rate * pump->block / 1e6);
    fflush(stderr);
    bench->shown = now;
    bench->shown_requests = bench->requests;
}

/* ---- Results ----------------------------------------------------------- */

static void add_number(struct json_object *object, const char *key,
                       double number)
{
    char text[32];

    snprintf(text, sizeof(text), "%.1f", number);
    json_object_object_add(object, key, json_object_new_double_s(number, text));
}

static void print_result_json(const struct bench *bench, double seconds)
{
    const struct arguments *arguments = bench->arguments;
    struct json_object *object = json_object_new_object();
    struct json_object *latency = json_object_new_object();

    json_object_object_add(object, "uri",
                           json_object_new_string(arguments->uri));
    json_object_object_add(object, "op",
                           json_object_new_string(arguments->write ? "write"
                                                                   : "read"));
    json_object_object_add(object, "random",
                           json_object_new_boolean(arguments->random));
    json_object_object_add(object, "depth",
                           json_object_new_int64(bench->pump.depth));
    json_object_object_add(object, "block_size",
                           json_object_new_int64(bench->pump.block));
    json_object_object_add(object, "requests",
                           json_object_new_uint64(bench->requests));
    add_number(object, "seconds", seconds);
    add_number(object, "iops", bench->requests / seconds);
    add_number(object, "bytes_per_second",
               bench->requests / seconds * bench->pump.block);
    add_number(latency, "min", bench->min / 1e3);
    add_number(latency, "mean", bench->sum / 1e3 / bench->requests);
    add_number(latency, "p50", percentile(bench, 0.5));
    add_number(latency, "p99", percentile(bench, 0.99));
    add_number(latency, "p999", percentile(bench, 0.999));
    add_number(latency, "max", bench->max / 1e3);
    json_object_object_add(object, "latency_us", latency);
    print_json(object);
    json_object_put(object);
}

static void print_text(const struct bench *bench, double seconds)
{
    const struct arguments *arguments = bench->arguments;

    printf("%s %s of %u bytes, depth %u, %.1f s\n",
           arguments->random ? "random" : "sequential",
           arguments->write ? "writes" : "reads", bench->pump.block,
           bench->pump.depth, seconds);
    printf("  %.0f IOPS, %.1f MB/s\n", bench->requests / seconds,
           bench->requests / seconds * bench->pump.block / 1e6);
    printf("  latency: mean %.1f, 50 %% %.1f, 99 %% %.1f, 99.9 %% %.1f, max "
           "%.1f us\n",
           bench->sum / 1e3 / bench->requests, percentile(bench, 0.5),
           percentile(bench, 0.99), percentile(bench, 0.999), bench->max / 1e3);
}

/* ---- The command ------------------------------------------------------- */

/* What is out of range: 0, or EXIT_USAGE. */
static int check(const struct arguments *arguments)
{
    if (arguments->write && arguments->read) {
        failed("--read or --write, not both");
        return EXIT_USAGE;
    }
    if (arguments->write && !arguments->destroy_data) {
        failed("--write overwrites the volume: confirm with --destroy-data");
        return EXIT_USAGE;
    }
    return 0;
}

/* Of the volume that is open. 0, or a negative errno with its sentence. */
static int set_up(struct bench *bench, struct remote *remote)
{
    const struct arguments *arguments = bench->arguments;
    const struct rdisk_volume_info *info = rdisk_initiator_info(
        remote->session);
    struct pump *pump = &bench->pump;

    bench->size = rdisk_initiator_size(remote->session);
    pump->remote = remote;
    pump->block = arguments->block_size ? arguments->block_size : DEFAULT_BLOCK;
    pump->depth = arguments->depth ? arguments->depth : DEFAULT_DEPTH;
    pump->next = next;
    pump->done = done;
    pump->tick = !arguments->json && isatty(STDERR_FILENO) ? progress : NULL;
    if (pump->block % info->block_size || pump->block > info->max_transfer ||
        pump->block > bench->size) {
        return rdisk_error_set(&remote->error, -EINVAL,
                               "--block-size %u: the volume has %" PRIu64
                               " bytes in blocks of %u, and requests of up to "
                               "%u bytes",
                               pump->block, bench->size, info->block_size,
                               info->max_transfer);
    }
    if (arguments->write && info->read_only) {
        return rdisk_error_set(&remote->error, -EROFS,
                               "this client may only read the volume");
    }
    bench->random = 0x9e3779b97f4a7c15ull;
    bench->began = bench->shown = rdisk_now(&rdisk_env_system);
    bench->until = bench->began + (uint64_t)((arguments->time ? arguments->time
                                                              : DEFAULT_TIME) *
                                             1e9);
    return 0;
}

int command_bench(const struct arguments *arguments)
{
    static struct bench bench;
    struct remote remote;
    double seconds;
    int result = check(arguments);

    if (result) {
        return result;
    }
    result = remote_open(&remote, arguments, !arguments->write);
    if (result != EXIT_OK) {
        return result;
    }
    bench.arguments = arguments;
    result = set_up(&bench, &remote);
    if (result == 0) {
        result = pump_run(&bench.pump);
        seconds = (rdisk_now(&rdisk_env_system) - bench.began) / 1e9;
        if (bench.pump.tick) {
            fprintf(stderr, "\r%48s\r", "");
        }
        if (result == 0 && bench.requests) {
            (arguments->json ? print_result_json : print_text)(&bench, seconds);
        }
    }
    return remote_close(&remote, result);
}
