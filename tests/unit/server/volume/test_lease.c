/* SPDX-License-Identifier: BSD-3-Clause */
/* Who may write when writers are away, and the records of it. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/log.h"
#include "server/volume/pool.h"
#include "tests/unit/support/lease.h"
#include "tests/unit/support/pool.h"
#include "tests/unit/support/unit.h"

#define SECOND (1000 * RDISK_MSEC)

static char folder[64];
static struct records records;
static struct lease lease;
static const struct backend_class class = { .name = "none" };
static struct backend backend = { .class = &class };
static struct volume volume = {
    .name = "v",
    .backend = &backend,
    .lease = &lease,
};
static struct rdisk_error err;

/* A server starts, at @now, and finds what the last one has left. */
static void start(uint64_t lease_time, uint64_t now)
{
    records_destroy(&records);
    REQUIRE(records_init(&records, NULL, folder) == 0);
    volume.holders = NULL;
    lease = (struct lease) {
        .identity = "0123456789abcde",
        .name = "v",
        .store = &records.store,
        .lease_time = lease_time * SECOND,
    };
    CHECK_EQUAL(lease_load(&lease, now, &err), 0);
}

static void begin(uint64_t lease_time)
{
    strcpy(folder, "/tmp/rdisk-unit-XXXXXX");
    REQUIRE(mkdtemp(folder) != NULL);
    memset(&records, 0, sizeof(records));
    records.directory = records.lock = -1;
    start(lease_time, 0);
}

static void end(void)
{
    char command[100];

    records_destroy(&records);
    snprintf(command, sizeof(command), "rm -r %s", folder);
    CHECK_EQUAL(system(command), 0);
}

static struct volume_holder writer(char client, bool shared,
                                   uint64_t generation)
{
    struct volume_holder one = {
        .epoch = generation ? 2 : 1,
        .writer = true,
        .shared = shared,
        .generation = generation,
    };

    snprintf(one.peer, sizeof(one.peer), "peer-%c", client);
    memset(one.client, client, sizeof(one.client));
    return one;
}

static enum rdisk_status ask(const struct volume_holder *one, uint64_t now)
{
    struct volume_holder *older;

    err.text[0] = '\0';
    return volume_check(&volume, one, now, &older, &err);
}

static void comes(struct volume_holder *one, uint64_t now)
{
    CHECK_EQUAL(ask(one, now), RDISK_STATUS_OK);
    CHECK_EQUAL(volume_hold(&volume, one, &err), 0);
}

static void goes(struct volume_holder *one, bool orderly, uint64_t now)
{
    if (volume_release(one, orderly, now)) {
        CHECK_EQUAL(volume_settle(&volume, volume.lease, &err), 0);
        lease_settled(volume.lease);
    }
    one->epoch++;
}

/* ---- Generations ------------------------------------------------------- */

static void each_new_writer_has_the_next(void)
{
    begin(0);
    for (uint64_t i = 1; i <= 3; i++) {
        struct volume_holder one = writer('a' + (char)i, false, 0);

        comes(&one, 0);
        CHECK_EQUAL(one.generation, i);
        goes(&one, i % 2, 0);
    }
    end();
}

static void who_comes_back_keeps_its_own(void)
{
    struct volume_holder a = writer('a', false, 0);

    begin(0);
    comes(&a, 0);
    goes(&a, false, 0);
    comes(&a, 0);
    CHECK_EQUAL(a.generation, 1);
    goes(&a, false, 0);
    start(0, 0);
    comes(&a, 0);
    CHECK_EQUAL(a.generation, 1);
    goes(&a, true, 0);
    end();
}

static void reader_has_none(void)
{
    struct volume_holder a = writer('a', false, 0);

    a.writer = false;
    begin(0);
    comes(&a, 0);
    CHECK_EQUAL(a.generation, 0);
    CHECK_EQUAL(lease.record.generation, 0);
    goes(&a, true, 0);
    end();
}

static void who_was_replaced_is_stale_for_ever(void)
{
    struct volume_holder a = writer('a', false, 0);
    struct volume_holder b = writer('b', false, 0);

    begin(0);
    comes(&a, 0);
    goes(&a, false, 0);
    comes(&b, 0);
    CHECK_EQUAL(ask(&a, 0), RDISK_STATUS_STALE);
    CHECK_SAYS(err.text,
               "volume 'v' was given to another client while "
               "this one was disconnected (it had generation 1, now it is 2)");
    goes(&b, true, 0);
    CHECK_EQUAL(ask(&a, 0), RDISK_STATUS_STALE);
    for (unsigned int i = 0; i < 3; i++) {
        start(0, 0);
        CHECK_EQUAL(ask(&a, 0), RDISK_STATUS_STALE);
    }
    end();
}

static void no_other_has_the_same_one(void)
{
    struct volume_holder a = writer('a', false, 0);
    struct volume_holder other = writer('b', false, 1);

    begin(0);
    comes(&a, 0);
    goes(&a, false, 0);
    CHECK_EQUAL(ask(&other, 0), RDISK_STATUS_STALE);
    end();
}

static void lost_record_lets_no_client_reconnect(void)
{
    struct volume_holder a = writer('a', false, 0);

    begin(0);
    comes(&a, 0);
    goes(&a, false, 0);
    records_remove(&records, lease.identity);
    start(0, 0);
    CHECK_EQUAL(ask(&a, 0), RDISK_STATUS_STALE);
    CHECK_SAYS(err.text, "has been replaced, or the server's record");
    end();
}

/* ---- Sharing ----------------------------------------------------------- */

static void sharing_writers_have_one(void)
{
    struct volume_holder a = writer('a', true, 0);
    struct volume_holder b = writer('b', true, 0);

    begin(60);
    comes(&a, 0);
    comes(&b, 0);
    CHECK_EQUAL(a.generation, 1);
    CHECK_EQUAL(b.generation, 1);
    goes(&a, false, 0);
    goes(&b, true, 0);
    start(60, 0);
    comes(&b, 0);
    comes(&a, 0);
    CHECK_EQUAL(a.generation, 1);
    CHECK_EQUAL(b.generation, 1);
    goes(&a, true, 0);
    goes(&b, true, 0);
    end();
}

static void one_alone_fences_those_that_share(void)
{
    struct volume_holder a = writer('a', true, 0);
    struct volume_holder b = writer('b', false, 0);
    struct volume_holder c = writer('c', true, 0);

    begin(0);
    comes(&a, 0);
    goes(&a, false, 0);
    comes(&b, 0);
    CHECK_EQUAL(b.generation, 2);
    CHECK_EQUAL(ask(&a, 0), RDISK_STATUS_STALE);
    goes(&b, false, 0);
    comes(&c, 0);
    CHECK_EQUAL(c.generation, 3);
    CHECK_EQUAL(ask(&b, 0), RDISK_STATUS_STALE);
    goes(&c, true, 0);
    end();
}

/* ---- Lease-time -------------------------------------------------------- */

static void kept_for_who_lost_its_connection(void)
{
    struct volume_holder a = writer('a', false, 0);
    struct volume_holder b = writer('b', false, 0);

    begin(30);
    comes(&a, 0);
    goes(&a, false, 100 * SECOND);
    CHECK_EQUAL(ask(&b, 101 * SECOND), RDISK_STATUS_BUSY);
    CHECK_SAYS(err.text, "kept for 29 more seconds for peer-a");
    comes(&a, 110 * SECOND);
    goes(&a, false, 200 * SECOND);
    CHECK_EQUAL(ask(&b, 229 * SECOND), RDISK_STATUS_BUSY);
    comes(&b, 230 * SECOND);
    CHECK_EQUAL(ask(&a, 230 * SECOND), RDISK_STATUS_STALE);
    goes(&b, true, 231 * SECOND);
    end();
}

static void kept_by_a_server_that_was_started_again(void)
{
    struct volume_holder a = writer('a', false, 0);
    struct volume_holder b = writer('b', false, 0);

    begin(30);
    comes(&a, 0);
    start(30, 1000 * SECOND);
    CHECK_EQUAL(ask(&b, 1029 * SECOND), RDISK_STATUS_BUSY);
    comes(&a, 1029 * SECOND);
    goes(&a, true, 1029 * SECOND);
    end();
}

static void not_kept_for_who_has_closed(void)
{
    struct volume_holder a = writer('a', false, 0);
    struct volume_holder b = writer('b', false, 0);

    begin(30);
    comes(&a, 0);
    goes(&a, true, 0);
    CHECK_EQUAL(ask(&b, 0), RDISK_STATUS_OK);
    start(30, 0);
    CHECK_EQUAL(ask(&b, 0), RDISK_STATUS_OK);
    end();
}

static void not_kept_from_readers(void)
{
    struct volume_holder a = writer('a', false, 0);
    struct volume_holder b = writer('b', false, 0);

    begin(30);
    comes(&a, 0);
    goes(&a, false, 0);
    b.writer = false;
    CHECK_EQUAL(ask(&b, 0), RDISK_STATUS_OK);
    end();
}

/* ---- Fencing by hand --------------------------------------------------- */

static void fenced_by_hand_never_comes_back(void)
{
    struct volume_holder a = writer('a', false, 0);
    struct volume_holder b = writer('b', false, 0);
    struct volume_holder *older;

    begin(30);
    comes(&a, 0);
    CHECK_EQUAL(lease_fence(&lease, &err), 0);
    a.fenced = true;
    /* Its requests may still be in flight. */
    CHECK_EQUAL(volume_check(&volume, &b, 0, &older, &err), RDISK_STATUS_OK);
    CHECK(older == &a);
    goes(&a, false, 0);
    CHECK_EQUAL(ask(&a, 0), RDISK_STATUS_STALE);
    start(30, 0);
    CHECK_EQUAL(ask(&a, 0), RDISK_STATUS_STALE);
    comes(&b, 0);
    CHECK_EQUAL(b.generation, 3);
    goes(&b, true, 0);
    end();
}

/* ---- Records ----------------------------------------------------------- */

static void write_record(const char *text)
{
    char path[200];
    FILE *file;

    snprintf(path, sizeof(path), "%s/.rdisk/30313233343536373839616263646500",
             folder);
    file = fopen(path, "w");
    REQUIRE(file != NULL);
    fputs(text, file);
    fclose(file);
}

static void damaged_record_is_an_error(void)
{
    static const char *const texts[] = {
        "",
        "rdisk lease 2\n",
        "rdisk lease 1\nvolume v\ngeneration 0\nclient "
        "00112233445566778899aabbccddeeff\npeer p\nheld no\nshared no\nend\n",
        "rdisk lease 1\nvolume v\ngeneration 1\nclient "
        "00112233445566778899aabbccddee\npeer p\nheld no\nshared no\nend\n",
        "rdisk lease 1\nvolume v\ngeneration 1\nclient "
        "00112233445566778899aabbccddeeff\npeer p\nheld no\nshared no\n",
        "rdisk lease 1\nvolume v\ngeneration 1\nclient "
        "00112233445566778899aabbccddeeff\npeer p\nheld si\nshared no\nend\n",
        "rdisk lease 1\nvolume v\ngeneration 1\nclient "
        "00112233445566778899aabbccddeeff\npeer p\nheld no\nshared no\nend\n"
        "more",
        /* Nearly numbers. */
        "rdisk lease 1\nvolume v\ngeneration -1\nclient "
        "00112233445566778899aabbccddeeff\npeer p\nheld no\nshared no\nend\n",
        "rdisk lease 1\nvolume v\ngeneration 1\nclient "
        "+1112233445566778899aabbccddeeff\npeer p\nheld no\nshared no\nend\n",
    };

    begin(0);
    CHECK_EQUAL(records_prepare(&records, 0, &err), 0);
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        write_record(texts[i]);
        CHECK_EQUAL(lease_load(&lease, 0, &err), -EIO);
        CHECK_SAYS(err.text, "is damaged");
    }
    write_record("rdisk lease 1\nvolume v\ngeneration 7\nclient "
                 "00112233445566778899aabbccddeeff\npeer p\nheld yes\n"
                 "shared no\nend\n");
    CHECK_EQUAL(lease_load(&lease, 0, &err), 0);
    CHECK_EQUAL(lease.record.generation, 7);
    CHECK(lease.record.held && !lease.record.shared);
    end();
}

static void record_of_an_older_server_is_read(void)
{
    begin(0);
    CHECK_EQUAL(records_prepare(&records, 0, &err), 0);
    write_record("rdisk lease 1\nvolume v\ngeneration 7\nclient "
                 "00112233445566778899aabbccddeeff\npeer p\nheld no\n"
                 "shared yes\nend\n");
    CHECK_EQUAL(lease_load(&lease, 0, &err), 0);
    CHECK_EQUAL(lease.record.generation, 7);
    CHECK_EQUAL(lease.record.changed, 0);
    write_record("rdisk lease 1\nvolume v\ngeneration 7\nclient "
                 "00112233445566778899aabbccddeeff\npeer p\nheld no\n"
                 "shared yes\nchanged 3\nend\n");
    CHECK_EQUAL(lease_load(&lease, 0, &err), -EIO);
    end();
}

static uint64_t changed_at_7(struct backend *unused)
{
    return 7;
}

static void last_writer_leaves_when_the_data_changed(void)
{
    static const struct backend_class other = {
        .name = "other",
        .changed = changed_at_7,
    };
    struct volume_holder a = writer('a', true, 0);
    struct volume_holder b = writer('b', true, 0);

    begin(0);
    backend.class = &other;
    comes(&a, 0);
    comes(&b, 0);
    goes(&a, false, 0);
    CHECK_EQUAL(lease.record.changed, 0);
    goes(&b, false, 0);
    start(0, 0);
    CHECK_EQUAL(lease.record.changed, 7);
    backend.class = &class;
    end();
}

static int fails(void *opaque, const uint8_t *identity,
                 const struct lease_record *before,
                 const struct lease_record *record, struct rdisk_error *why)
{
    return rdisk_error_set(why, -ENOSPC, "no space");
}

static void without_a_record_no_client_writes(void)
{
    struct volume_holder a = writer('a', false, 0);

    begin(0);
    records.store.save = fails;
    CHECK_EQUAL(ask(&a, 0), RDISK_STATUS_OK);
    CHECK_EQUAL(volume_hold(&volume, &a, &err), -ENOSPC);
    CHECK(!volume.holders);
    CHECK_EQUAL(lease.record.generation, 0);
    CHECK_EQUAL(lease.writers, 0);
    end();
}

static void state_directory_is_private(void)
{
    char path[100];
    struct stat st;

    begin(0);
    CHECK_EQUAL(records_prepare(&records, 0, &err), 0);
    snprintf(path, sizeof(path), "%s/.rdisk", folder);
    CHECK_EQUAL(stat(path, &st), 0);
    CHECK_EQUAL(st.st_mode & 0777, 0700);
    end();
}

static void missing_state_directory_is_told(void)
{
    begin(0);
    records_destroy(&records);
    REQUIRE(records_init(&records, "/nonexistent/state", folder) == 0);
    CHECK_EQUAL(records_prepare(&records, 0, &err), -EIO);
    CHECK_SAYS(err.text, "'/nonexistent/state': No such file");
    CHECK_SAYS(err.text, "with state=");
    end();
}

static const struct unit_test tests[] = {
    { "each new writer gets the next generation",
      each_new_writer_has_the_next },
    { "a client that reconnects keeps its generation, also after a restart",
      who_comes_back_keeps_its_own },
    { "a reader has no generation, and makes none", reader_has_none },
    { "a client that came too late is stale permanently, also after "
      "restarts",
      who_was_replaced_is_stale_for_ever },
    { "no client reconnects with another one's generation",
      no_other_has_the_same_one },
    { "when the record is lost no client reconnects",
      lost_record_lets_no_client_reconnect },
    { "writers that share have one generation", sharing_writers_have_one },
    { "a writer that does not share fences those that do, and the reverse",
      one_alone_fences_those_that_share },
    { "for lease-time a volume is kept for a client that lost its "
      "connection",
      kept_for_who_lost_its_connection },
    { "a server that was started again keeps it too",
      kept_by_a_server_that_was_started_again },
    { "it is not kept for a client that has closed it",
      not_kept_for_who_has_closed },
    { "it is not kept from readers", not_kept_from_readers },
    { "a client that was fenced by hand never reconnects",
      fenced_by_hand_never_comes_back },
    { "a damaged record is an error that names it",
      damaged_record_is_an_error },
    { "the record of an older server is read",
      record_of_an_older_server_is_read },
    { "when the last writer leaves, the record says when the data changed",
      last_writer_leaves_when_the_data_changed },
    { "no client writes without a record", without_a_record_no_client_writes },
    { "the state directory is the server's alone", state_directory_is_private },
    { "a state directory that cannot be made is reported",
      missing_state_directory_is_told },
};

UNIT_SUITE("server-lease", tests)
