/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Files that the server reads: its configuration, a volume and a core list of
 * its command line, a secret's file, the record of a lease. What it takes is
 * within its limits, and a record is written as it was read.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fuzz.h"
#include "server/config/config.h"
#include "server/io/placement.h"
#include "server/volume/records.h"
#include "tests/unit/support/unit.h"

static const uint8_t identity[RDISK_ID_SIZE];

/* A file in memory with the rest of the input. */
static int file_with(const struct fuzz_input *input, char path[40])
{
    int fd = memfd_create("fuzz", MFD_CLOEXEC);

    REQUIRE(fd >= 0 &&
            write(fd, input->data, input->size) == (ssize_t)input->size);
    snprintf(path, 40, "/proc/self/fd/%d", fd);
    return fd;
}

static void check_volumes(const struct config_volume *volume)
{
    for (; volume; volume = volume->next) {
        CHECK(rdisk_volume_name_valid(volume->name, strlen(volume->name)));
    }
}

static void configuration(const struct fuzz_input *input)
{
    struct rdisk_error err = { 0 };
    struct config config;
    char path[40];
    int fd = file_with(input, path);

    REQUIRE(config_init(&config) == 0);
    if (config_read(&config, path, &err) == 0) {
        CHECK(config.port >= 1 && config.port <= UINT16_MAX);
        CHECK(config.max_queues <= RDISK_QUEUES_MAX);
        CHECK(config.max_slots <= RDISK_SLOTS_MAX);
        CHECK(config.max_slot_size % RDISK_SLOT_SIZE_MIN == 0);
        config_check(&config, &err);
    } else {
        CHECK(err.text[0]);
    }
    check_volumes(config.volumes);
    config_free(&config);
    close(fd);
}

static void command_line(const char *text)
{
    struct config_volume *volumes = NULL;
    struct rdisk_error err = { 0 };
    struct placement placement = { 0 };

    if (config_volume_parse(&volumes, text, &err) < 0) {
        CHECK(err.text[0]);
    }
    check_volumes(volumes);
    config_volume_free(volumes);
    if (placement_choose(&placement, 0, text, &err) == 0) {
        CHECK(placement.cores <= PLACEMENT_CORES_MAX);
    }
}

static void secret(const struct fuzz_input *input)
{
    struct rdisk_secret secret;
    struct rdisk_error err = { 0 };
    char path[40];
    int fd = file_with(input, path);

    REQUIRE(fchmod(fd, 0600) == 0);
    if (rdisk_secret_read(&secret, path, &err) == 0) {
        CHECK(secret.length >= 16 && secret.length <= 64);
        rdisk_secret_wipe(&secret);
    } else {
        CHECK(err.text[0]);
    }
    close(fd);
}

/* One access right after another, of any text. */
static void patterns(const char *text)
{
    struct access_client *clients = NULL;
    struct rdisk_error err = { 0 };
    struct access_client *client = access_add(&clients, "alice", &err);

    REQUIRE(client != NULL);
    if (access_set(client, "read-write", text, &err) == 0) {
        access_to(client, "vol");
        access_to(client, text);
    }
    access_free(clients);
}

/* The folder of records, made once and removed at the end. */
static struct records records;

static void remove_folder(void)
{
    records_remove(&records, identity);
    unlinkat(records.directory, ".lock", 0);
    rmdir(records.path);
    records_destroy(&records);
}

static void record(const struct fuzz_input *input)
{
    char name[2 * RDISK_ID_SIZE + 1], folder[] = "/tmp/rdisk-fuzz-XXXXXX";
    struct lease_record first, second;
    struct rdisk_error err = { 0 };
    int fd;

    if (!records.path) {
        REQUIRE(mkdtemp(folder) && records_init(&records, folder, NULL) == 0 &&
                records_prepare(&records, 0, &err) == 0);
        atexit(remove_folder);
    }
    memset(name, '0', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    fd = openat(records.directory, name, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    REQUIRE(fd >= 0 &&
            write(fd, input->data, input->size) == (ssize_t)input->size);
    close(fd);
    memset(&first, 0, sizeof(first));
    memset(&second, 0, sizeof(second));
    if (records.store.load(&records, identity, &first, &err) < 0) {
        CHECK(err.text[0]);
        return;
    }
    CHECK(first.generation != 0);
    CHECK(strlen(first.volume) < sizeof(first.volume));
    CHECK_EQUAL(records.store.save(&records, identity, &first, &first, &err),
                0);
    CHECK_EQUAL(records.store.load(&records, identity, &second, &err), 0);
    CHECK_EQUAL(second.generation, first.generation);
    CHECK_EQUAL(memcmp(second.client, first.client, sizeof(first.client)), 0);
    CHECK_EQUAL(memcmp(second.owner, first.owner, sizeof(first.owner)), 0);
    CHECK_EQUAL(second.epoch, first.epoch);
    CHECK_EQUAL(second.held, first.held);
    CHECK_EQUAL(second.shared, first.shared);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input input = { data, size };
    uint8_t which = fuzz_byte(&input) % 8;
    char *text = malloc(input.size + 1);

    REQUIRE(text != NULL);
    if (input.size) {
        memcpy(text, input.data, input.size);
    }
    text[input.size] = '\0';
    switch (which) {
    case 0:
        command_line(text);
        break;
    case 1:
        secret(&input);
        break;
    case 2:
        patterns(text);
        break;
    case 3:
    case 4:
        record(&input);
        break;
    default:
        configuration(&input);
        break;
    }
    free(text);
    return 0;
}
