/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A lease in memory against its record: two servers that use the same records,
 * and what keeps them from doing so.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/log.h"
#include "server/volume/lock.h"
#include "server/volume/pool.h"
#include "tests/unit/support/lease.h"
#include "tests/unit/support/unit.h"

/* What a server has in memory; their records are the same. */
struct memory {
    struct lease lease;
    struct volume volume;
};

static char folder[64];
static struct records records;
static struct memory one, two;
static const struct backend_class class = { .name = "none" };
static struct backend backend = { .class = &class };
static int settled; /* of the last that left */
static struct rdisk_error err;

static void begin_memory(struct memory *memory)
{
    *memory = (struct memory) {
        .lease = {
            .identity = "0123456789abcde", .name = "v",
            .store = &records.store,
        },
        .volume = {
            .name = "v", .backend = &backend, .lease = &memory->lease,
        },
    };
}

static void begin(void)
{
    strcpy(folder, "/tmp/rdisk-unit-XXXXXX");
    REQUIRE(mkdtemp(folder) != NULL);
    REQUIRE(records_init(&records, NULL, folder) == 0);
    begin_memory(&one);
    begin_memory(&two);
    log_set_level(RDISK_LOG_ERROR);
}

static void end(void)
{
    char command[100];

    log_set_level(RDISK_LOG_INFO);
    records_destroy(&records);
    snprintf(command, sizeof(command), "rm -r %s", folder);
    CHECK_EQUAL(system(command), 0);
}

static struct volume_holder writer(char client, bool shared)
{
    struct volume_holder holder = {
        .epoch = 1,
        .writer = true,
        .shared = shared,
    };

    snprintf(holder.peer, sizeof(holder.peer), "peer-%c", client);
    memset(holder.client, client, sizeof(holder.client));
    return holder;
}

/* As when a client opens the volume at this server. */
static enum rdisk_status ask(struct memory *memory,
                             const struct volume_holder *holder,
                             struct volume_holder **older)
{
    CHECK_EQUAL(lease_load(&memory->lease, 0, &err), 0);
    return volume_check(&memory->volume, holder, 0, older, &err);
}

static void comes(struct memory *memory, struct volume_holder *holder)
{
    struct volume_holder *older;

    CHECK_EQUAL(ask(memory, holder, &older), RDISK_STATUS_OK);
    CHECK(!older);
    CHECK_EQUAL(volume_hold(&memory->volume, holder, &err), 0);
}

static void goes(struct volume_holder *holder, bool orderly)
{
    struct volume *volume = holder->volume;

    if (volume_release(holder, orderly, 0)) {
        settled = volume_settle(volume, volume->lease, &err);
        lease_settled(volume->lease);
    }
    holder->epoch++;
}

/* ---- The record decides ------------------------------------------------ */

static void late_writer_is_refused_by_the_server_it_had(void)
{
    struct volume_holder a = writer('a', false), b = writer('b', false);
    struct volume_holder *older;

    begin();
    comes(&one, &a);
    goes(&a, false);
    comes(&two, &b);
    CHECK_EQUAL(b.generation, 2);
    goes(&b, true);
    CHECK_EQUAL(ask(&one, &a, &older), RDISK_STATUS_STALE);
    CHECK_SAYS(err.text, "it had generation 1, now it is 2");
    end();
}

static void generation_goes_on_where_another_server_left_it(void)
{
    struct volume_holder a = writer('a', false), b = writer('b', false);
    struct volume_holder c = writer('c', false);

    begin();
    comes(&one, &a);
    goes(&a, true);
    comes(&two, &b);
    goes(&b, true);
    comes(&one, &c);
    CHECK_EQUAL(c.generation, 3);
    goes(&c, true);
    end();
}

static void volume_is_kept_for_another_servers_client(void)
{
    struct volume_holder a = writer('a', false), b = writer('b', false);
    struct volume_holder c = writer('c', false), *older;

    begin();
    one.lease.lease_time = 30 * 1000 * RDISK_MSEC;
    comes(&one, &a);
    goes(&a, true);
    comes(&two, &b);
    goes(&b, false);
    CHECK_EQUAL(ask(&one, &c, &older), RDISK_STATUS_BUSY);
    CHECK_SAYS(err.text, "kept for 30 more seconds for peer-b");
    end();
}

static void lost_record_does_not_bring_a_generation_back(void)
{
    struct volume_holder a = writer('a', false), b = writer('b', false);
    struct volume_holder *older;

    begin();
    comes(&one, &a);
    goes(&a, true);
    records_remove(&records, one.lease.identity);
    comes(&one, &b);
    CHECK_EQUAL(b.generation, 2);
    goes(&b, true);
    a.generation = 1;
    CHECK_EQUAL(ask(&one, &a, &older), RDISK_STATUS_STALE);
    end();
}

/* ---- What was decided meanwhile ---------------------------------------- */

static void record_of_another_server_is_not_overwritten(void)
{
    struct volume_holder a = writer('a', false), b = writer('b', false);
    struct lease_record record;

    begin();
    comes(&one, &a);
    goes(&a, false);
    comes(&two, &b);
    /* Between its decision and its record. */
    a.generation = 0;
    CHECK_EQUAL(volume_hold(&one.volume, &a, &err), -EBUSY);
    CHECK_SAYS(err.text, "has generation 2, this server knows 1: another "
                         "server uses the same directory");
    CHECK(!one.volume.holders);
    CHECK_EQUAL(lease_fence(&one.lease, &err), -EBUSY);
    CHECK_EQUAL(lease_read(&records.store, one.lease.identity, &record, &err),
                0);
    CHECK_EQUAL(record.generation, 2);
    CHECK_EQUAL(record.client[0], 'b');
    goes(&b, true);
    end();
}

static void closing_does_not_bring_an_older_record_back(void)
{
    struct volume_holder a = writer('a', false), b = writer('b', false);
    struct lease_record record;

    begin();
    comes(&one, &a);
    CHECK_EQUAL(lease_load(&two.lease, 0, &err), 0);
    CHECK_EQUAL(volume_hold(&two.volume, &b, &err), 0);
    goes(&a, true);
    CHECK_EQUAL(settled, -EBUSY);
    CHECK_EQUAL(lease_read(&records.store, one.lease.identity, &record, &err),
                0);
    CHECK_EQUAL(record.generation, 2);
    CHECK(record.held);
    goes(&b, true);
    end();
}

static void writer_whose_volume_was_given_away_is_fenced(void)
{
    struct volume_holder a = writer('a', true), b = writer('b', false);
    struct volume_holder c = writer('c', true), *older;

    begin();
    comes(&one, &a);
    CHECK_EQUAL(lease_load(&two.lease, 0, &err), 0);
    CHECK_EQUAL(volume_hold(&two.volume, &b, &err), 0);
    goes(&b, true);
    CHECK_EQUAL(ask(&one, &c, &older), RDISK_STATUS_OK);
    CHECK(older == &a);
    goes(&a, false);
    comes(&one, &c);
    CHECK_EQUAL(c.generation, 3);
    goes(&c, true);
    end();
}

static void fenced_writer_that_shares_is_waited_for(void)
{
    struct volume_holder a = writer('a', true), b = writer('b', true);
    struct volume_holder *older;

    begin();
    comes(&one, &a);
    CHECK_EQUAL(lease_fence(&one.lease, &err), 0);
    a.fenced = true;
    CHECK_EQUAL(ask(&one, &b, &older), RDISK_STATUS_OK);
    CHECK(older == &a);
    goes(&a, false);
    comes(&one, &b);
    goes(&b, true);
    end();
}

/* ---- One server -------------------------------------------------------- */

static void pool_directory_has_one_server(void)
{
    struct pool first, second;

    begin();
    CHECK_EQUAL(pool_init(&first, folder, 0, &err), 0);
    CHECK_EQUAL(pool_init(&second, folder, 0, &err), -EBUSY);
    CHECK_SAYS(err.text, "another server uses the pool directory '");
    CHECK_EQUAL(pool_count(&first), 0);
    pool_destroy(&first);
    CHECK_EQUAL(pool_init(&second, folder, 0, &err), 0);
    pool_destroy(&second);
    end();
}

/* No directory is not the same as no record in it. */
static void missing_state_directory_is_an_error(void)
{
    struct lease_record record;
    struct records none;

    REQUIRE(records_init(&none, "/nowhere/that/is/there", NULL) == 0);
    memset(&err, 0, sizeof(err));
    CHECK_EQUAL(lease_read(&none.store, (const uint8_t *)"0123456789abcde",
                           &record, &err),
                -EIO);
    CHECK_SAYS(err.text, "record of who may write in '/nowhere/that/is/there'");
    records_destroy(&none);
}

static void state_directory_has_one_server(void)
{
    struct records second;

    begin();
    CHECK_EQUAL(records_prepare(&records, 0, &err), 0);
    REQUIRE(records_init(&second, NULL, folder) == 0);
    CHECK_EQUAL(records_prepare(&second, 0, &err), -EBUSY);
    CHECK_SAYS(err.text, "another server does; name another");
    records_destroy(&records);
    CHECK_EQUAL(records_prepare(&second, 0, &err), 0);
    records_destroy(&second);
    end();
}

/* Once any result but "another server has it" counted as success. */
static void lock_that_fails_is_no_lock(void)
{
    int fd;

    begin();
    fd = open(folder, O_PATH | O_DIRECTORY);
    REQUIRE(fd >= 0);
    CHECK_EQUAL(lock_file(fd, false), -EBADF);
    CHECK_EQUAL(lock_directory(fd, "no/such", 0), -ENOENT);
    close(fd);
    end();
}

/* With a slash at its end "its parent" was the directory itself. */
static void state_directory_may_end_with_a_slash(void)
{
    char path[100];

    begin();
    records_destroy(&records);
    snprintf(path, sizeof(path), "%s/state//", folder);
    REQUIRE(records_init(&records, path, NULL) == 0);
    CHECK_EQUAL(records_prepare(&records, 0, &err), 0);
    snprintf(path, sizeof(path), "%s/state", folder);
    CHECK_EQUAL(access(path, W_OK), 0);
    end();
}

static const struct unit_test tests[] = {
    { "a state directory that is missing is not an empty one",
      missing_state_directory_is_an_error },
    { "a client that reconnects after another server has granted the volume "
      "is refused",
      late_writer_is_refused_by_the_server_it_had },
    { "generations go on where another server has left them",
      generation_goes_on_where_another_server_left_it },
    { "a volume is kept for a client that another server has lost",
      volume_is_kept_for_another_servers_client },
    { "a record that is lost while the server runs brings no generation back",
      lost_record_does_not_bring_a_generation_back },
    { "a record that another server has changed is not overwritten",
      record_of_another_server_is_not_overwritten },
    { "a client that closes brings no older record back",
      closing_does_not_bring_an_older_record_back },
    { "a writer whose volume another server has given away is fenced first",
      writer_whose_volume_was_given_away_is_fenced },
    { "a fenced writer's requests are waited for by those that share, too",
      fenced_writer_that_shares_is_waited_for },
    { "a pool directory has one server", pool_directory_has_one_server },
    { "a state directory has one server", state_directory_has_one_server },
    { "a lock that fails is no lock, whatever the reason",
      lock_that_fails_is_no_lock },
    { "a state directory may end with a slash",
      state_directory_may_end_with_a_slash },
};

UNIT_SUITE("server-record", tests)
