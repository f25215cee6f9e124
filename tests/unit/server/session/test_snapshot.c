/* SPDX-License-Identifier: BSD-3-Clause */
/* Snapshots and clones of the pool directory's volumes. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/log.h"
#include "server/server.h"
#include "server/session/attachment.h"
#include "server/session/queue.h"
#include "server/session/snapshot.h"
#include "server/volume/pool_change.h"
#include "tests/unit/support/lease.h"
#include "tests/unit/support/pool.h"
#include "tests/unit/support/reflink.h"
#include "tests/unit/support/unit.h"

#define QUIET   ((enum rdisk_log_level) - 1) /* below the lowest */
#define SIZE    (1u << 20)
#define BLOCK   4096u
#define WORKERS 2

static char folder[64];
static struct server server;
static struct records records;
static struct rdisk_error err;

static void open_pool(void)
{
    server = (struct server) { .env = &rdisk_env_system };
    REQUIRE(mailbox_init(&server.mailbox) == 0);
    operations_init(&server.operations, NULL);
    REQUIRE(pool_init(&server.pool, folder, 0, &err) == 0);
    REQUIRE(records_init(&records, NULL, folder) == 0);
    server.pool.records = &records;
}

static void close_pool(void)
{
    pool_destroy(&server.pool);
    records_destroy(&records);
    mailbox_destroy(&server.mailbox);
}

/* False: there is no such file system here. */
static bool begin(void)
{
    log_set_level(QUIET);
    if (!reflink_folder(folder, sizeof(folder))) {
        return false;
    }
    open_pool();
    REQUIRE(pool_create(&server.pool, "v", SIZE, &err) == 0);
    return true;
}

static void end(void)
{
    close_pool();
    remove_folder(folder);
    log_set_level(RDISK_LOG_INFO);
}

/* ---- What is asked for --------------------------------------------------- */

static atomic_bool done;

static void made(struct snapshot *snapshot)
{
    done = true;
}

static void turn(int ms)
{
    struct pollfd pfd = { .fd = server.mailbox.fd, .events = POLLIN };

    poll(&pfd, 1, ms);
    mailbox_run(&server.mailbox);
    barriers_check_time(&server, rdisk_now(&rdisk_env_system));
}

static int make(const char *source, const char *target, uint64_t *pause)
{
    struct snapshot snapshot = { .server = &server, .done = made };

    done = false;
    snprintf(snapshot.work.operation.volume,
             sizeof(snapshot.work.operation.volume), "%s", source);
    snprintf(snapshot.target, sizeof(snapshot.target), "%s", target);
    snapshot_start(&snapshot);
    while (!done) {
        turn(20);
    }
    if (pause) {
        *pause = snapshot.pause;
    }
    err = snapshot.work.why;
    return snapshot.work.result;
}

static void changed(struct pool_change *change)
{
    done = true;
}

static int change(enum pool_change_kind kind, const char *name,
                  const char *snapshot, bool with_snapshots)
{
    struct pool_change change = {
        .pool = &server.pool,
        .kind = kind,
        .snapshots = with_snapshots,
        .done = changed,
    };

    snprintf(change.operation.volume, sizeof(change.operation.volume), "%s",
             name);
    snprintf(change.snapshot, sizeof(change.snapshot), "%s", snapshot);
    done = false;
    pool_change_start(&server.operations, &change);
    CHECK(done);
    err = change.why;
    return change.result;
}

static int revert(const char *snapshot)
{
    return change(POOL_REVERT, "v", snapshot, false);
}

/* ---- What is there ------------------------------------------------------- */

static bool there(const char *name)
{
    return faccessat(server.pool.directory, name, F_OK, AT_SYMLINK_NOFOLLOW) ==
           0;
}

static void put(const char *name, uint64_t offset, const char *text)
{
    int fd = openat(server.pool.directory, name, O_WRONLY);

    REQUIRE(fd >= 0);
    CHECK_EQUAL(pwrite(fd, text, strlen(text), offset), strlen(text));
    close(fd);
}

static bool has(const char *name, uint64_t offset, const char *text)
{
    int fd = openat(server.pool.directory, name, O_RDONLY);
    char read[64] = "";

    REQUIRE(fd >= 0);
    CHECK(pread(fd, read, strlen(text), offset) >= 0);
    close(fd);
    return memcmp(read, text, strlen(text)) == 0;
}

static unsigned int files(void)
{
    struct pool_file *found;
    size_t count;

    REQUIRE(pool_scan(&server.pool, &found, &count, &err) == 0);
    free(found);
    return count;
}

static bool nothing_is_left_over(void)
{
    char command[128];

    snprintf(command, sizeof(command), "ls -A %s | grep -q '[.]new$'", folder);
    return system(command) != 0;
}

/* ---- Snapshots ----------------------------------------------------------- */

static void test_keeps_its_data(void)
{
    if (!begin()) {
        return;
    }
    put("v", 0, "before");
    CHECK_EQUAL(make("v", "v@s", NULL), 0);
    put("v", 0, "after!");
    CHECK(has("v@s", 0, "before"));
    CHECK(has("v", 0, "after!"));
    CHECK(nothing_is_left_over());
    end();
}

static void test_copies_nothing(void)
{
    const uint64_t size = 20ull << 30;
    struct stat st;
    uint64_t began;
    char *data;
    int fd;

    if (!begin()) {
        return;
    }
    REQUIRE(pool_create(&server.pool, "large", size, &err) == 0);
    data = calloc(1, 64 << 20);
    REQUIRE(data != NULL);
    memset(data, 'x', 64 << 20);
    fd = openat(server.pool.directory, "large", O_WRONLY);
    CHECK_EQUAL(pwrite(fd, data, 64 << 20, size / 2), 64 << 20);
    close(fd);
    free(data);
    began = rdisk_now(&rdisk_env_system);
    CHECK_EQUAL(make("large", "large@s", NULL), 0);
    /* A tenth of it where nothing else runs. */
    CHECK(rdisk_now(&rdisk_env_system) - began < 2000 * RDISK_MSEC);
    CHECK_EQUAL(fstatat(server.pool.directory, "large@s", &st, 0), 0);
    CHECK_EQUAL(st.st_size, size);
    CHECK(has("large@s", size / 2, "xxxx"));
    /* Both are there, though the file system has no room for two of them. */
    for (unsigned int i = 0; i < 20; i++) {
        char name[16];

        snprintf(name, sizeof(name), "large@%u", i);
        CHECK_EQUAL(make("large", name, NULL), 0);
    }
    CHECK(has("large@19", size / 2, "xxxx"));
    end();
}

static void test_is_read_only(void)
{
    struct volume *volume;

    if (!begin()) {
        return;
    }
    CHECK_EQUAL(make("v", "v@s", NULL), 0);
    volume = pool_get(&server.pool, "v@s", &err);
    REQUIRE(volume != NULL);
    CHECK(volume->backend->geometry.read_only);
    CHECK_EQUAL(volume->backend->geometry.size, SIZE);
    CHECK_EQUAL(pool_resize(&server.pool, "v@s", 2 * SIZE, false, &err),
                -EROFS);
    pool_put(&server.pool, volume);
    end();
}

static void test_is_another_volume(void)
{
    struct volume *volume, *snapshot;

    if (!begin()) {
        return;
    }
    volume = pool_get(&server.pool, "v", &err);
    CHECK_EQUAL(make("v", "v@s", NULL), 0);
    snapshot = pool_get(&server.pool, "v@s", &err);
    REQUIRE(volume && snapshot);
    CHECK(memcmp(volume->backend->identity, snapshot->backend->identity,
                 RDISK_ID_SIZE) != 0);
    pool_put(&server.pool, snapshot);
    pool_put(&server.pool, volume);
    end();
}

static void test_names(void)
{
    static const char *const bad[] = { "v@",    "v@.s", "v@-s",
                                       "v@s@t", "@s",   "w@s" };

    if (!begin()) {
        return;
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        CHECK_EQUAL(make("v", bad[i], NULL), -EINVAL);
    }
    CHECK_EQUAL(make("v", "v@s", NULL), 0);
    CHECK_EQUAL(make("v", "v@s", NULL), -EEXIST);
    CHECK_EQUAL(make("v@s", "v@t", NULL), -EINVAL);
    CHECK_EQUAL(make("none", "none@s", NULL), -ENOENT);
    CHECK_EQUAL(pool_create(&server.pool, "a@b", 4096, &err), -EINVAL);
    CHECK_SAYS(err.text, "a name with '@' is a snapshot's");
    CHECK_EQUAL(pool_replace(&server.pool, "v@s", 4096, &err), -EINVAL);
    CHECK_EQUAL(files(), 2);
    CHECK(nothing_is_left_over());
    end();
}

static void test_configured(void)
{
    struct backend_spec spec = {
        .volume = "m",
        .size = 4096,
        .directory = AT_FDCWD,
    };

    if (!begin()) {
        return;
    }
    REQUIRE(pool_configure(&server.pool, &backend_memory, &spec, &err) == 0);
    CHECK_EQUAL(make("m", "m@s", NULL), -ENOTSUP);
    CHECK_SAYS(err.text, "only volumes of the pool have snapshots and clones");
    spec.volume = "m@s";
    CHECK_EQUAL(pool_configure(&server.pool, &backend_memory, &spec, &err),
                -EINVAL);
    end();
}

static void test_no_reflinks(void)
{
    log_set_level(QUIET);
    plain_folder(folder, sizeof(folder));
    open_pool();
    REQUIRE(pool_create(&server.pool, "v", SIZE, &err) == 0);
    CHECK_EQUAL(make("v", "v@s", NULL), -ENOTSUP);
    CHECK_SAYS(err.text, "the file system of volume 'v', tmpfs, cannot share "
                         "blocks between files: use XFS or btrfs for the pool "
                         "directory");
    CHECK_EQUAL(make("v", "w", NULL), -ENOTSUP);
    CHECK_EQUAL(files(), 1);
    CHECK(nothing_is_left_over());
    end();
}

/* ---- Clones -------------------------------------------------------------- */

static void test_clone(void)
{
    if (!begin()) {
        return;
    }
    put("v", 0, "first");
    CHECK_EQUAL(make("v", "v@s", NULL), 0);
    put("v", 0, "other");
    CHECK_EQUAL(make("v@s", "w", NULL), 0);
    CHECK_EQUAL(make("v", "x", NULL), 0);
    CHECK(has("w", 0, "first"));
    CHECK(has("x", 0, "other"));
    put("w", 0, "third");
    CHECK(has("v@s", 0, "first"));
    CHECK_EQUAL(make("v", "w", NULL), -EEXIST);
    CHECK(has("w", 0, "third"));
    /* None of them needs another one. */
    CHECK_EQUAL(change(POOL_DELETE, "v", "", true), 0);
    CHECK(has("w", 0, "third"));
    end();
}

/* ---- Delete -------------------------------------------------------------- */

static void test_delete(void)
{
    if (!begin()) {
        return;
    }
    CHECK_EQUAL(make("v", "v@s", NULL), 0);
    CHECK_EQUAL(make("v", "v@t", NULL), 0);
    CHECK_EQUAL(make("v", "vv", NULL), 0);
    CHECK_EQUAL(make("vv", "vv@s", NULL), 0);
    CHECK_EQUAL(change(POOL_DELETE, "v", "", false), -EBUSY);
    CHECK_SAYS(err.text, "cannot delete volume 'v': it has 2 snapshots");
    CHECK_EQUAL(pool_replace(&server.pool, "v", 4096, &err), -EBUSY);
    CHECK_EQUAL(change(POOL_DELETE, "v@s", "", false), 0);
    CHECK(!there("v@s") && there("v@t") && there("v"));
    CHECK_EQUAL(change(POOL_DELETE, "v", "", true), 0);
    CHECK(!there("v@t") && !there("v"));
    CHECK(there("vv@s"));
    end();
}

static void test_delete_open_snapshot(void)
{
    struct volume *snapshot;

    if (!begin()) {
        return;
    }
    CHECK_EQUAL(make("v", "v@s", NULL), 0);
    CHECK_EQUAL(make("v", "v@t", NULL), 0);
    snapshot = pool_get(&server.pool, "v@t", &err);
    CHECK_EQUAL(change(POOL_DELETE, "v@t", "", false), -EBUSY);
    CHECK_EQUAL(change(POOL_DELETE, "v", "", true), -EBUSY);
    CHECK_SAYS(err.text, "cannot delete snapshot 'v@t': it is open");
    CHECK_EQUAL(files(), 3);
    pool_put(&server.pool, snapshot);
    end();
}

/* ---- Revert -------------------------------------------------------------- */

static void test_revert(void)
{
    uint8_t old[RDISK_ID_SIZE];
    struct volume *volume;

    if (!begin()) {
        return;
    }
    put("v", 0, "before");
    CHECK_EQUAL(make("v", "v@s", NULL), 0);
    put("v", 0, "after!");
    volume = pool_get(&server.pool, "v", &err);
    memcpy(old, volume->backend->identity, sizeof(old));
    pool_put(&server.pool, volume);
    CHECK_EQUAL(revert("v@s"), 0);
    CHECK(has("v", 0, "before"));
    CHECK(there("v@s"));
    /* Who had it before does not take it for the volume that it had. */
    volume = pool_get(&server.pool, "v", &err);
    REQUIRE(volume != NULL);
    CHECK(memcmp(old, volume->backend->identity, sizeof(old)) != 0);
    CHECK(!volume->backend->geometry.read_only);
    pool_put(&server.pool, volume);
    CHECK(nothing_is_left_over());
    end();
}

static void test_revert_in_use(void)
{
    struct volume_holder one = { .epoch = 1, .writer = true, .peer = "peer" };
    uint64_t now = rdisk_now(&rdisk_env_system);
    struct volume *volume;

    if (!begin()) {
        return;
    }
    server.pool.lease_time = 60000 * RDISK_MSEC;
    CHECK_EQUAL(make("v", "v@s", NULL), 0);
    put("v", 0, "after!");
    volume = pool_get(&server.pool, "v", &err);
    REQUIRE(volume && pool_lease(&server.pool, volume, now, &err) == 0);
    CHECK_EQUAL(volume_hold(volume, &one, &err), 0);
    CHECK_EQUAL(revert("v@s"), -EBUSY);
    CHECK_SAYS(err.text, "cannot revert volume 'v': it is open at peer");
    /* Its writer is away, and may come back. */
    volume_release(&one, false, now);
    pool_put(&server.pool, volume);
    CHECK_EQUAL(revert("v@s"), -EBUSY);
    CHECK_SAYS(err.text, "'rdisk fence v' ends that");
    CHECK(has("v", 0, "after!"));
    end();
}

static void test_revert_what(void)
{
    if (!begin()) {
        return;
    }
    CHECK_EQUAL(make("v", "v@s", NULL), 0);
    CHECK_EQUAL(revert("v@t"), -ENOENT);
    CHECK_SAYS(err.text, "there is no snapshot 'v@t'");
    CHECK_EQUAL(revert("v"), -EINVAL);
    CHECK_EQUAL(revert("w@s"), -EINVAL);
    CHECK_EQUAL(change(POOL_REVERT, "v@s", "v@s", false), -EINVAL);
    CHECK(nothing_is_left_over());
    end();
}

/* ---- The server ends on the way ------------------------------------------ */

static struct backend_class dying;

static int share_and_die(struct backend *backend, int fd,
                         struct rdisk_error *why)
{
    if (backend_file.share(backend, fd, why) == 0) {
        _exit(9);
    }
    return -EIO;
}

static void test_killed(void)
{
    struct volume *volume;
    pid_t child;
    int status;

    if (!begin()) {
        return;
    }
    put("v", 0, "before");
    close_pool();
    child = fork();
    if (child == 0) {
        open_pool();
        volume = pool_get(&server.pool, "v", &err);
        dying = *volume->backend->class;
        dying.share = share_and_die;
        volume->backend->class = &dying;
        make("v", "v@s", NULL);
        _exit(1);
    }
    REQUIRE(waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 9);
    CHECK(!nothing_is_left_over());
    open_pool();
    CHECK(nothing_is_left_over());
    CHECK(!there("v@s"));
    CHECK(has("v", 0, "before"));
    CHECK_EQUAL(make("v", "v@s", NULL), 0);
    end();
}

static void test_foreign_files_stay(void)
{
    static const char *const names[] = { ".new",      "..new", ".a b.new",
                                         ".a~.b.new", "x.new", ".x.news" };
    int fd;

    log_set_level(QUIET);
    plain_folder(folder, sizeof(folder));
    open_pool();
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        fd = openat(server.pool.directory, names[i], O_CREAT | O_WRONLY, 0600);
        REQUIRE(fd >= 0);
        close(fd);
    }
    fd = openat(server.pool.directory, ".v@s~7.new", O_CREAT | O_WRONLY, 0600);
    close(fd);
    close_pool();
    open_pool();
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        CHECK(there(names[i]));
    }
    CHECK(!there(".v@s~7.new"));
    end();
}

/* ---- In use -------------------------------------------------------------- */

/*
 * A chain of writes: each is submitted when the one before it is answered, at
 * the other reactor. So the data of one moment is the chain up to some write,
 * and nothing of what follows it.
 */
static struct worker workers[WORKERS];
static struct attachment *attachments[WORKERS];
static struct backend *written;
static struct backend_io io;
static struct message next[WORKERS], attaching[WORKERS], detaching[WORKERS];
static char *block;
static atomic_uint writes, failed, attached;
static atomic_bool stop, stopped;

static void attach_run(struct message *message)
{
    unsigned int i = message - attaching;

    attachments[i] = attachment_get(&workers[i], written);
    attached++;
}

static void detach_run(struct message *message)
{
    unsigned int i = message - detaching;

    attachment_put(&workers[i], attachments[i]);
    attached--;
}

static void written_one(struct backend_io *one, int result, void *opaque)
{
    failed += result < 0;
    attachment_completed(opaque);
    if (stop || (writes + 1) * BLOCK == SIZE) {
        stopped = true;
        return;
    }
    writes++;
    reactor_send(workers[writes % WORKERS].reactor, &next[writes % WORKERS]);
}

static void write_run(struct message *message)
{
    unsigned int i = message - next, n = writes;

    memset(block, 0, BLOCK);
    snprintf(block, BLOCK, "write %u", n);
    io = (struct backend_io) {
        .op = RDISK_OP_WRITE,
        .offset = n * BLOCK,
        .length = BLOCK,
        .data = block,
        .buffer = { -1, -1 },
    };
    backend_io_push(&io, written_one, attachments[i]);
    attachment_submit(attachments[i], &io);
}

static void begin_writing(struct backend *backend)
{
    written = backend;
    writes = failed = attached = 0;
    stop = stopped = false;
    REQUIRE(posix_memalign((void **)&block, BLOCK, BLOCK) == 0);
    memset(workers, 0, sizeof(workers));
    for (unsigned int i = 0; i < WORKERS; i++) {
        workers[i].reactor = reactor_create(i, -1, 0, &err);
        REQUIRE(workers[i].reactor != NULL);
        next[i].run = write_run;
        attaching[i].run = attach_run;
        detaching[i].run = detach_run;
        reactor_send(workers[i].reactor, &attaching[i]);
    }
    server.workers = workers;
    server.placement.cores = WORKERS;
    while (attached < WORKERS) {
        usleep(1000);
    }
    reactor_send(workers[0].reactor, &next[0]);
}

static void end_writing(void)
{
    stop = true;
    while (!stopped) {
        usleep(1000);
    }
    for (unsigned int i = 0; i < WORKERS; i++) {
        reactor_send(workers[i].reactor, &detaching[i]);
    }
    while (attached) {
        usleep(1000);
    }
    for (unsigned int i = 0; i < WORKERS; i++) {
        reactor_destroy(workers[i].reactor);
    }
    server.placement.cores = 0;
    CHECK_EQUAL(failed, 0);
    free(block);
}

/* Blocks of the chain at the beginning of @name; there are no others. */
static unsigned int chain(const char *name)
{
    int fd = openat(server.pool.directory, name, O_RDONLY);
    unsigned int count = 0;
    bool over = false;
    char text[32], expected[32];

    REQUIRE(fd >= 0);
    for (unsigned int i = 0; i < SIZE / BLOCK; i++) {
        CHECK_EQUAL(pread(fd, text, sizeof(text), i * BLOCK), sizeof(text));
        snprintf(expected, sizeof(expected), "write %u", i);
        if (strcmp(text, expected) == 0) {
            CHECK(!over);
            count++;
        } else {
            CHECK_EQUAL(text[0], 0);
            over = true;
        }
    }
    close(fd);
    return count;
}

static void test_one_moment(void)
{
    struct volume *volume;
    unsigned int before = 0, now, after, total = 0;
    uint64_t pause;

    if (!begin()) {
        return;
    }
    volume = pool_get(&server.pool, "v", &err);
    REQUIRE(volume != NULL);
    begin_writing(volume->backend);
    for (unsigned int i = 0; i < 10; i++) {
        char name[16];

        snprintf(name, sizeof(name), "v@%u", i);
        before = writes;
        CHECK_EQUAL(make("v", name, &pause), 0);
        after = writes;
        now = chain(name);
        /* All that was answered before is there, nothing of what came later. */
        CHECK(now >= before && now <= after + 1);
        total += now;
        CHECK(volume->longest_pause >= pause);
        usleep(5000);
    }
    end_writing();
    CHECK(total > 0);
    pool_put(&server.pool, volume);
    end();
}

static int share_slowly(struct backend *backend, int fd,
                        struct rdisk_error *why)
{
    usleep(1000);
    server.barriers->deadline = 0; /* it has taken too long */
    barriers_check_time(&server, rdisk_now(&rdisk_env_system));
    while (server.barriers) {
        turn(20);
    }
    return backend_file.share(backend, fd, why);
}

static void test_too_slow(void)
{
    struct volume *volume;
    unsigned int before;

    if (!begin()) {
        return;
    }
    volume = pool_get(&server.pool, "v", &err);
    REQUIRE(volume != NULL);
    dying = *volume->backend->class;
    dying.share = share_slowly;
    volume->backend->class = &dying;
    begin_writing(volume->backend);
    before = writes;
    CHECK_EQUAL(make("v", "v@s", NULL), -ETIMEDOUT);
    CHECK_SAYS(err.text, "there is no 'v@s'");
    CHECK(!there("v@s"));
    CHECK(nothing_is_left_over());
    for (unsigned int i = 0; i < 1000 && writes == before && !stopped; i++) {
        usleep(1000);
    }
    CHECK(writes > before || stopped);
    end_writing();
    volume->backend->class = &backend_file;
    pool_put(&server.pool, volume);
    end();
}

static void clone_has_no_name_of_a_configured_volume(void)
{
    struct backend_spec spec = {
        .volume = "m",
        .size = 4096,
        .directory = AT_FDCWD,
    };

    log_set_level(QUIET);
    plain_folder(folder, sizeof(folder));
    open_pool();
    REQUIRE(pool_create(&server.pool, "v", SIZE, &err) == 0);
    REQUIRE(pool_configure(&server.pool, &backend_memory, &spec, &err) == 0);
    CHECK_EQUAL(make("v", "m", NULL), -EEXIST);
    CHECK_SAYS(err.text, "volume 'm' already exists");
    CHECK(!there("m"));
    end();
}

static const struct unit_test tests[] = {
    { "a snapshot keeps its data while the volume changes",
      test_keeps_its_data },
    { "a snapshot of 20 GiB copies nothing", test_copies_nothing },
    { "a snapshot can only be read", test_is_read_only },
    { "a snapshot is another volume to clients", test_is_another_volume },
    { "a snapshot has a name of its own, which no volume may have",
      test_names },
    { "a volume that is not the pool's has no snapshots", test_configured },
    { "a file system without reflinks is named, and nothing is left there",
      test_no_reflinks },
    { "a clone is a volume of its own", test_clone },
    { "a volume with snapshots is deleted only with them", test_delete },
    { "a snapshot that is open is not deleted, nor the volume with it",
      test_delete_open_snapshot },
    { "a volume that is reverted has the snapshot's data and another identity",
      test_revert },
    { "a volume that is open, or kept for its writer, is not reverted",
      test_revert_in_use },
    { "a volume is reverted to snapshots of its own only", test_revert_what },
    { "a snapshot that a killed server did not complete is removed",
      test_killed },
    { "other files of the pool directory are left alone at the start",
      test_foreign_files_stay },
    { "a snapshot of a volume in use has the data of one moment",
      test_one_moment },
    { "a snapshot that takes too long is none, and the volume's requests go on",
      test_too_slow },
    { "a clone has no name of a configured volume",
      clone_has_no_name_of_a_configured_volume },
};
UNIT_SUITE("server-snapshot", tests)
