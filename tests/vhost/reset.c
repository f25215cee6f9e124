/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/vhost/reset.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tests/vhost/frontend.h"

#define BYTES   65536u /* of a read */
#define SECTORS (BYTES / 512)
#define READS   16u
#define WAIT_MS 60000
#define AFTER   0x5a /* what the memory is used for */

static void say(const char *word)
{
    puts(word);
    fflush(stdout);
}

/* False: it does not come. */
static bool wait_for(const char *folder, const char *name)
{
    char path[200];

    snprintf(path, sizeof(path), "%s/%s", folder, name);
    for (unsigned int ms = 0; access(path, F_OK) < 0; ms += 10) {
        if (ms > WAIT_MS) {
            fprintf(stderr, "vhost-client: no %s within %d ms\n", path,
                    WAIT_MS);
            return false;
        }
        usleep(10000);
    }
    return true;
}

static void submit_read(struct frontend *frontend, unsigned int slot)
{
    frontend_submit(frontend, slot, VIRTIO_BLK_T_IN, (uint64_t)slot * SECTORS,
                    BYTES);
    frontend_kick(frontend);
    frontend_wait_taken(frontend, slot);
}

static bool get_memory_back(struct frontend *frontend, bool killed)
{
    if (!killed) {
        return frontend_stop_ring(frontend);
    }
    frontend->expendable = true;
    while (frontend_wait(frontend, WAIT_MS) >= 0) {
    }
    return true;
}

static bool is_untouched(struct frontend *frontend)
{
    for (unsigned int slot = 0; slot < READS; slot++) {
        const uint8_t *data = frontend_data(frontend, slot);

        for (unsigned int i = 0; i < BYTES; i++) {
            if (data[i] != AFTER) {
                fprintf(stderr,
                        "vhost-client: byte %u of read %u was written "
                        "after the end\n",
                        i, slot);
                return false;
            }
        }
    }
    return true;
}

int reset(const char *path, const char *folder, bool killed)
{
    struct frontend frontend;

    frontend_start(&frontend, path, BYTES);
    submit_read(&frontend, 0);
    if (frontend_wait(&frontend, WAIT_MS) != 0) {
        fputs("vhost-client: the volume is not open\n", stderr);
        return 1;
    }
    say("started");
    if (!wait_for(folder, "read")) {
        return 1;
    }
    for (unsigned int slot = 0; slot < READS; slot++) {
        submit_read(&frontend, slot);
    }
    say("taken");
    if (!get_memory_back(&frontend, killed)) {
        fputs("vhost-client: the device did not stop\n", stderr);
        return 1;
    }
    for (unsigned int slot = 0; slot < READS; slot++) {
        memset(frontend_data(&frontend, slot), AFTER, BYTES);
    }
    say("stopped");
    return wait_for(folder, "end") && is_untouched(&frontend) ? 0 : 1;
}
