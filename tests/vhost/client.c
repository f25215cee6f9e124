/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * vhost-client: a guest's disk without a guest, at the socket of a
 * vhost-user-blk device.
 *
 *   vhost-client SOCKET info
 *   vhost-client SOCKET bench read|write BYTES DEPTH COUNT
 *   vhost-client SOCKET check SECONDS DEPTH [FILE]
 *                     writes and knows every byte, until the time is over or
 *                     there is such a file; outlasts restarts of the daemon
 *   vhost-client SOCKET features       uses all that a disk can do, once, and
 *                     each of its virtqueues
 *   vhost-client SOCKET hotplug FILE [huge]
 *                     I/O on memory that comes and goes; then waits for a file
 *   vhost-client SOCKET moved FILE     a guest that came by migration; its
 *                     first requests are sent when there is such a file, and
 *                     end, whatever becomes of the daemon
 *   vhost-client SOCKET dirty          pages that the device changes are logged
 *   vhost-client SOCKET private        does not share the guest's memory
 *   vhost-client SOCKET hostile        breaks the rules; the daemon must not
 *   vhost-client SOCKET messages       breaks the protocol, as a VMM
 *   vhost-client SOCKET resets COUNT FOLDER
 *   vhost-client SOCKET leaves|breaks FOLDER
 *   vhost-client SOCKET grows SECTORS  see vmm.h
 *   vhost-client SOCKET broken SECONDS [FILE]
 *                     breaks one, and brings it along when it connects again;
 *                     until the time is over or there is such a file
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tests/vhost/dirty.h"
#include "tests/vhost/frontend.h"
#include "tests/vhost/hostile.h"
#include "tests/vhost/reset.h"
#include "tests/vhost/vmm.h"

#define BLOCK      4096u
#define SECTORS    (BLOCK / 512u)
#define WAIT_MS    60000
#define BLOCKS_MAX 8192u /* of the volume that "check" writes to */

static double now(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static unsigned int wait_one(struct frontend *frontend)
{
    int slot = frontend_wait(frontend, WAIT_MS);

    if (slot < 0) {
        fprintf(stderr, "vhost-client: no answer within %d ms\n", WAIT_MS);
        exit(1);
    }
    return (unsigned int)slot;
}

static void expect_ok(struct frontend *frontend, unsigned int slot)
{
    uint8_t status = frontend_request(frontend, slot)->status;

    if (status != VIRTIO_BLK_S_OK) {
        fprintf(stderr, "vhost-client: a request ended with status %u\n",
                status);
        exit(1);
    }
}

static int info(struct frontend *frontend)
{
    printf("sectors %llu block-size %u queues %u read-only %u\n",
           (unsigned long long)frontend->config.capacity,
           frontend->config.blk_size, frontend->config.num_queues,
           (unsigned int)(frontend->features >> VIRTIO_BLK_F_RO & 1));
    frontend_submit(frontend, 0, VIRTIO_BLK_T_GET_ID, 0, VIRTIO_BLK_ID_BYTES);
    frontend_kick(frontend);
    wait_one(frontend);
    expect_ok(frontend, 0);
    printf("serial %.*s\n", VIRTIO_BLK_ID_BYTES,
           (char *)frontend_data(frontend, 0));
    return 0;
}

static int bench(struct frontend *frontend, bool write, uint32_t bytes,
                 unsigned int depth, unsigned long count)
{
    uint64_t places = frontend->config.capacity * 512 / bytes;
    unsigned long submitted = 0, done = 0;
    double began = now(), took;

    for (unsigned int slot = 0; slot < depth && submitted < count; slot++) {
        frontend_submit(frontend, slot,
                        write ? VIRTIO_BLK_T_OUT : VIRTIO_BLK_T_IN,
                        submitted++ % places * (bytes / 512), bytes);
    }
    frontend_kick(frontend);
    while (done < count) {
        unsigned int slot = wait_one(frontend);

        expect_ok(frontend, slot);
        done++;
        if (submitted < count) {
            frontend_submit(frontend, slot,
                            write ? VIRTIO_BLK_T_OUT : VIRTIO_BLK_T_IN,
                            submitted++ % places * (bytes / 512), bytes);
            frontend_kick(frontend);
        }
    }
    took = now() - began;
    printf("%lu requests, %.0f a second, %.1f us each\n", count,
           (double)count / took, took / (double)count * 1e6);
    return 0;
}

/* ---- A writer that knows every byte -------------------------------------- */

static uint32_t version[BLOCKS_MAX]; /* of each block, as written */
static bool busy[BLOCKS_MAX];

static void fill(uint8_t *data, uint32_t block, uint32_t number)
{
    uint32_t *words = (uint32_t *)data;

    for (unsigned int i = 0; i < BLOCK / 4; i++) {
        words[i] = number ? block * 2654435761u + number * 40503u + i : 0;
    }
}

struct job {
    uint32_t block;
    bool read;
};

static void begin(struct frontend *frontend, struct job *job, unsigned int slot,
                  uint32_t blocks)
{
    do {
        job->block = (uint32_t)random() % blocks;
    } while (busy[job->block]);
    busy[job->block] = true;
    job->read = random() % 4 == 0;
    if (!job->read) {
        fill(frontend_data(frontend, slot), job->block, ++version[job->block]);
    } else {
        memset(frontend_data(frontend, slot), 0xee, BLOCK);
    }
    frontend_submit(frontend, slot,
                    job->read ? VIRTIO_BLK_T_IN : VIRTIO_BLK_T_OUT,
                    (uint64_t)job->block * SECTORS, BLOCK);
}

static void compare(struct frontend *frontend, unsigned int slot,
                    uint32_t block)
{
    uint8_t wanted[BLOCK];

    fill(wanted, block, version[block]);
    if (memcmp(wanted, frontend_data(frontend, slot), BLOCK)) {
        fprintf(stderr, "vhost-client: block %u is not version %u\n", block,
                version[block]);
        exit(1);
    }
}

/* @depth at a time, block b as slot b modulo @depth. */
static void compare_all(struct frontend *frontend, uint32_t blocks,
                        unsigned int depth)
{
    for (uint32_t first = 0; first < blocks; first += depth) {
        uint32_t count = blocks - first < depth ? blocks - first : depth;

        for (uint32_t i = 0; i < count; i++) {
            frontend_submit(frontend, i, VIRTIO_BLK_T_IN,
                            (uint64_t)(first + i) * SECTORS, BLOCK);
        }
        frontend_kick(frontend);
        for (uint32_t i = 0; i < count; i++) {
            unsigned int slot = wait_one(frontend);

            expect_ok(frontend, slot);
            compare(frontend, slot, first + slot);
        }
    }
}

/* The volume must be new: all zeroes. */
static int check(struct frontend *frontend, double seconds, unsigned int depth,
                 const char *stop)
{
    uint64_t size = frontend->config.capacity / SECTORS;
    uint32_t blocks = size < BLOCKS_MAX ? (uint32_t)size : BLOCKS_MAX;
    struct job jobs[FRONTEND_DEPTH_MAX];
    double end = now() + seconds, last = now(), pause = 0;
    unsigned int running = 0;
    unsigned long done = 0;

    frontend->reconnect = true;
    for (unsigned int slot = 0; slot < depth; slot++) {
        begin(frontend, &jobs[slot], slot, blocks);
        running++;
    }
    frontend_kick(frontend);
    while (running) {
        unsigned int slot = wait_one(frontend);
        double time = now();

        pause = time - last > pause ? time - last : pause;
        last = time;
        expect_ok(frontend, slot);
        if (jobs[slot].read) {
            compare(frontend, slot, jobs[slot].block);
        }
        busy[jobs[slot].block] = false;
        done++;
        if (time < end && !(stop && access(stop, F_OK) == 0)) {
            begin(frontend, &jobs[slot], slot, blocks);
            frontend_kick(frontend);
        } else {
            running--;
        }
    }
    compare_all(frontend, blocks, depth);
    printf("%lu requests, %u reconnects, longest pause %.2f s, %u blocks "
           "right\n",
           done, frontend->reconnects, pause, blocks);
    return 0;
}

/* ---- Everything a disk does ---------------------------------------------- */

static void die_unless(bool right, const char *what)
{
    if (!right) {
        fprintf(stderr, "vhost-client: %s\n", what);
        exit(1);
    }
}

static uint8_t do_request(struct frontend *frontend, uint32_t type,
                          uint64_t sector, uint32_t length)
{
    frontend_submit(frontend, 0, type, sector, length);
    frontend_kick(frontend);
    wait_one(frontend);
    return frontend_request(frontend, 0)->status;
}

static uint8_t do_range(struct frontend *frontend, uint32_t type,
                        uint64_t sector, uint32_t sectors, uint32_t flags)
{
    struct virtio_blk_discard_write_zeroes *range = (void *)
        frontend_data(frontend, 0);

    *range = (struct virtio_blk_discard_write_zeroes) {
        .sector = sector,
        .num_sectors = sectors,
        .flags = flags,
    };
    return do_request(frontend, type, 0, sizeof(*range));
}

static bool all_are(const uint8_t *data, uint8_t byte)
{
    for (unsigned int i = 0; i < BLOCK; i++) {
        if (data[i] != byte) {
            return false;
        }
    }
    return true;
}

static bool holds(struct frontend *frontend, uint64_t sector, uint8_t byte)
{
    uint8_t *data = frontend_data(frontend, 0);

    memset(data, ~byte, BLOCK);
    return do_request(frontend, VIRTIO_BLK_T_IN, sector, BLOCK) ==
               VIRTIO_BLK_S_OK &&
           all_are(data, byte);
}

static void write_byte(struct frontend *frontend, uint64_t sector, uint8_t byte)
{
    memset(frontend_data(frontend, 0), byte, BLOCK);
    die_unless(do_request(frontend, VIRTIO_BLK_T_OUT, sector, BLOCK) ==
                   VIRTIO_BLK_S_OK,
               "a write failed");
}

static void use_indirect(struct frontend *frontend)
{
    memset(frontend_data(frontend, 0), 0x77, BLOCK);
    frontend_submit_indirect(frontend, 0, VIRTIO_BLK_T_OUT, 0, BLOCK);
    frontend_kick(frontend);
    wait_one(frontend);
    die_unless(holds(frontend, 0, 0x77),
               "a write by an indirect table was lost");
}

static void use_ranges(struct frontend *frontend)
{
    uint8_t status;

    write_byte(frontend, SECTORS, 0x55);
    write_byte(frontend, 2 * SECTORS, 0x55);
    /* Not all file systems allocate zeroes; they say so, and write nothing. */
    status = do_range(frontend, VIRTIO_BLK_T_WRITE_ZEROES, SECTORS, SECTORS, 0);
    die_unless((status == VIRTIO_BLK_S_OK || status == VIRTIO_BLK_S_UNSUPP) &&
                   holds(frontend, SECTORS,
                         status == VIRTIO_BLK_S_OK ? 0 : 0x55) &&
                   holds(frontend, 2 * SECTORS, 0x55),
               "write zeroes");
    die_unless(do_range(frontend, VIRTIO_BLK_T_WRITE_ZEROES, 2 * SECTORS,
                        SECTORS, VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP) ==
                       VIRTIO_BLK_S_OK &&
                   holds(frontend, 2 * SECTORS, 0),
               "write zeroes with unmap");
    die_unless(do_range(frontend, VIRTIO_BLK_T_DISCARD, 0, SECTORS, 0) ==
                   VIRTIO_BLK_S_OK,
               "discard");
    die_unless(do_range(frontend, VIRTIO_BLK_T_DISCARD,
                        frontend->config.capacity, SECTORS,
                        0) == VIRTIO_BLK_S_IOERR,
               "a discard beyond the end");
}

static void use_each_queue(const char *path, unsigned int queues)
{
    for (unsigned int queue = 1; queue < queues; queue++) {
        struct frontend frontend;

        frontend_start_queue(&frontend, path, BLOCK, queue);
        write_byte(&frontend, queue * SECTORS, (uint8_t)(0x10 + queue));
        die_unless(holds(&frontend, queue * SECTORS, (uint8_t)(0x10 + queue)),
                   "a virtqueue's write was lost");
        frontend_stop(&frontend);
    }
}

static int features(const char *path)
{
    static const unsigned int bits[] = {
        VIRTIO_RING_F_EVENT_IDX, VIRTIO_RING_F_INDIRECT_DESC,
        VIRTIO_BLK_F_MQ,         VIRTIO_BLK_F_FLUSH,
        VIRTIO_BLK_F_DISCARD,    VIRTIO_BLK_F_WRITE_ZEROES,
        VIRTIO_BLK_F_SEG_MAX,    VIRTIO_BLK_F_BLK_SIZE,
        VIRTIO_BLK_F_TOPOLOGY,
    };
    struct frontend frontend;
    unsigned int queues;

    frontend_start(&frontend, path, BLOCK);
    for (unsigned int i = 0; i < sizeof(bits) / sizeof(bits[0]); i++) {
        die_unless(frontend.offered >> bits[i] & 1, "a feature is not offered");
    }
    queues = frontend.config.num_queues;
    use_indirect(&frontend);
    use_ranges(&frontend);
    die_unless(do_request(&frontend, VIRTIO_BLK_T_FLUSH, 0, 0) ==
                   VIRTIO_BLK_S_OK,
               "flush");
    die_unless(do_request(&frontend, VIRTIO_BLK_T_IN, frontend.config.capacity,
                          BLOCK) == VIRTIO_BLK_S_IOERR,
               "a read beyond the end");
    die_unless(do_request(&frontend, 99, 0, BLOCK) == VIRTIO_BLK_S_UNSUPP,
               "an unknown request");
    frontend_stop(&frontend);
    use_each_queue(path, queues);
    printf("%u virtqueues, topology %u %u %u\n", queues,
           frontend.config.physical_block_exp, frontend.config.min_io_size,
           frontend.config.opt_io_size);
    return 0;
}

#define MORE (2u << 20) /* a huge page */

static int hotplug(const char *path, const char *stop, bool huge)
{
    struct frontend frontend;

    frontend_start(&frontend, path, BLOCK);
    for (unsigned int round = 0; round < 3; round++) {
        uint8_t byte = (uint8_t)(0x31 + round);
        uint8_t *more;

        /* A request is in flight while the memory comes. */
        frontend_submit(&frontend, 1, VIRTIO_BLK_T_IN, 0, BLOCK);
        frontend_kick(&frontend);
        frontend_plug(&frontend, MORE, huge);
        wait_one(&frontend);
        more = frontend.more + MORE - BLOCK;
        memset(more, byte, BLOCK);
        frontend_submit_at(&frontend, 0, VIRTIO_BLK_T_OUT, 0, more, BLOCK);
        frontend_kick(&frontend);
        expect_ok(&frontend, wait_one(&frontend));
        die_unless(holds(&frontend, 0, byte),
                   "a write from new memory was lost");
        memset(frontend.more, 0, BLOCK);
        frontend_submit_at(&frontend, 0, VIRTIO_BLK_T_IN, 0, frontend.more,
                           BLOCK);
        frontend_kick(&frontend);
        expect_ok(&frontend, wait_one(&frontend));
        die_unless(all_are(frontend.more, byte),
                   "a read into new memory was lost");
        /* And one on it while it goes: it ends first. */
        frontend_submit_at(&frontend, 0, VIRTIO_BLK_T_IN, 0, frontend.more,
                           BLOCK);
        frontend_kick(&frontend);
        frontend_wait_taken(&frontend, 0);
        frontend_unplug(&frontend);
        expect_ok(&frontend, wait_one(&frontend));
    }
    /* A request that the guest puts into a ring that the device does not have
     * at the moment waits for it. */
    frontend_withdraw_ring(&frontend);
    frontend_submit(&frontend, 0, VIRTIO_BLK_T_IN, 0, BLOCK);
    frontend_kick(&frontend);
    die_unless(frontend_wait(&frontend, 200) < 0,
               "a ring was used that the device does not have");
    frontend_return_ring(&frontend);
    expect_ok(&frontend, wait_one(&frontend));
    printf("memory came and went 3 times\n");
    fflush(stdout);
    /* The counters of the session end with the device. */
    while (access(stop, F_OK) < 0) {
        usleep(50000);
    }
    frontend_stop(&frontend);
    return 0;
}

/* ---- A guest that came by migration -------------------------------------- */

static int moved(struct frontend *frontend, const char *file)
{
    frontend->reconnect = true;
    for (unsigned int ms = 0; access(file, F_OK) < 0; ms += 20) {
        if (ms > WAIT_MS) {
            fprintf(stderr, "vhost-client: no %s within %d ms\n", file,
                    WAIT_MS);
            return 1;
        }
        usleep(20000);
    }
    /* Of one alone, the avail ring still has the place. */
    for (unsigned int slot = 0; slot < 2; slot++) {
        memset(frontend_data(frontend, slot), 0xee, BLOCK);
        frontend_submit(frontend, slot, VIRTIO_BLK_T_IN, slot * SECTORS, BLOCK);
    }
    frontend_kick(frontend);
    for (unsigned int slot = 0; slot < 2; slot++) {
        wait_one(frontend);
    }
    for (unsigned int slot = 0; slot < 2; slot++) {
        expect_ok(frontend, slot);
        compare(frontend, slot, slot);
    }
    printf("the first requests ended after %u reconnects\n",
           frontend->reconnects);
    return 0;
}

static int usage(void)
{
    fputs("usage: vhost-client SOCKET info | features | private | dirty | "
          "hostile |\n  hotplug FILE [huge] | moved FILE | bench read|write "
          "BYTES DEPTH COUNT |\n  check SECONDS DEPTH [FILE] | "
          "broken SECONDS [FILE] |\n  "
          "reset stopped|killed FOLDER | messages | resets COUNT FOLDER |\n  "
          "leaves|breaks FOLDER | grows SECTORS | random SEED COUNT\n",
          stderr);
    return 2;
}

static unsigned int depth_of(const char *text)
{
    unsigned long depth = strtoul(text, NULL, 10);

    return depth < 1                    ? 1
           : depth > FRONTEND_DEPTH_MAX ? FRONTEND_DEPTH_MAX
                                        : (unsigned int)depth;
}

/* A VMM's own part. -1: it is none of these. */
static int vmm(int argc, char **argv)
{
    const char *verb = argc > 2 ? argv[2] : "";

    if (argc == 3 && strcmp(verb, "messages") == 0) {
        return vmm_messages(argv[1]);
    }
    if (argc == 5 && strcmp(verb, "random") == 0) {
        return vmm_random(argv[1], strtoul(argv[3], NULL, 10),
                          strtoul(argv[4], NULL, 10));
    }
    if (argc == 5 && strcmp(verb, "resets") == 0) {
        return vmm_resets(argv[1], strtoul(argv[3], NULL, 10), argv[4]);
    }
    if (argc == 4 && strcmp(verb, "leaves") == 0) {
        return vmm_leaves(argv[1], argv[3]);
    }
    if (argc == 4 && strcmp(verb, "breaks") == 0) {
        return vmm_breaks(argv[1], argv[3]);
    }
    if (argc == 4 && strcmp(verb, "grows") == 0) {
        return vmm_grows(argv[1], strtoul(argv[3], NULL, 10));
    }
    return -1;
}

int main(int argc, char **argv)
{
    struct frontend frontend;
    int status = vmm(argc, argv);

    if (status >= 0) {
        return status;
    }
    if (argc == 3 && strcmp(argv[2], "hostile") == 0) {
        return hostile_chains(argv[1]);
    }
    if ((argc == 4 || argc == 5) && strcmp(argv[2], "broken") == 0) {
        return hostile_broken(argv[1], strtod(argv[3], NULL),
                              argc == 5 ? argv[4] : NULL);
    }
    if (argc == 3 && strcmp(argv[2], "private") == 0) {
        frontend_start_private(argv[1]);
    }
    if (argc == 3 && strcmp(argv[2], "features") == 0) {
        return features(argv[1]);
    }
    if ((argc == 4 || argc == 5) && strcmp(argv[2], "hotplug") == 0) {
        return hotplug(argv[1], argv[3],
                       argc == 5 && strcmp(argv[4], "huge") == 0);
    }
    if (argc == 3 && strcmp(argv[2], "dirty") == 0) {
        return dirty(argv[1]);
    }
    if (argc == 5 && strcmp(argv[2], "reset") == 0) {
        return reset(argv[1], argv[4], strcmp(argv[3], "killed") == 0);
    }
    if (argc == 4 && strcmp(argv[2], "moved") == 0) {
        frontend_start_at(&frontend, argv[1], BLOCK, 1000);
        status = moved(&frontend, argv[3]);
    } else if (argc == 3 && strcmp(argv[2], "info") == 0) {
        frontend_start(&frontend, argv[1], BLOCK);
        status = info(&frontend);
    } else if (argc == 7 && strcmp(argv[2], "bench") == 0) {
        uint32_t bytes = (uint32_t)strtoul(argv[4], NULL, 10);

        frontend_start(&frontend, argv[1], bytes);
        status = bench(&frontend, strcmp(argv[3], "write") == 0, bytes,
                       depth_of(argv[5]), strtoul(argv[6], NULL, 10));
    } else if ((argc == 5 || argc == 6) && strcmp(argv[2], "check") == 0) {
        frontend_start(&frontend, argv[1], BLOCK);
        status = check(&frontend, strtod(argv[3], NULL), depth_of(argv[4]),
                       argc == 6 ? argv[5] : NULL);
    } else {
        return usage();
    }
    frontend_stop(&frontend);
    return status;
}
