/* SPDX-License-Identifier: BSD-3-Clause */
/* Clients of the configuration, their secrets' files, and their volumes. */
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/config/config.h"
#include "server/server.h"
#include "server/session/session.h"
#include "transport/target/session.h"
#include "transport/wire/auth.h"
#include "tests/unit/support/unit.h"

#define SECRET "00112233445566778899aabbccddeeff"
#define NOBODY 65534 /* its user id */

static struct rdisk_error err;

/* ---- Secrets and their files ------------------------------------------- */

static int parse(const char *text, struct rdisk_secret *secret)
{
    err = (struct rdisk_error) { 0 };
    return rdisk_secret_parse(secret, text, strlen(text), &err);
}

static void secrets_are_text_or_hex(void)
{
    struct rdisk_secret secret;

    CHECK_EQUAL(parse(SECRET, &secret), 0);
    CHECK_EQUAL(secret.length, 16);
    CHECK_EQUAL(secret.bytes[1], 0x11);
    CHECK_EQUAL(secret.bytes[15], 0xff);
    CHECK_EQUAL(parse("00112233445566778899AABBCCDDEEFF\n", &secret), 0);
    CHECK_EQUAL(secret.bytes[15], 0xff);
    CHECK_EQUAL(parse("sixteen letters.\r\n", &secret), 0);
    CHECK_EQUAL(secret.length, 16);
    CHECK(!memcmp(secret.bytes, "sixteen letters.", 16));
    /* Too short for hex is text still. */
    CHECK_EQUAL(parse("0123456789abcdef", &secret), 0);
    CHECK_EQUAL(secret.length, 16);
    CHECK_EQUAL(secret.bytes[0], '0');
}

static void secrets_have_a_length(void)
{
    struct rdisk_secret secret;
    char text[200];

    CHECK_EQUAL(parse("", &secret), -EINVAL);
    CHECK_EQUAL(parse("fifteen letters", &secret), -EINVAL);
    CHECK_SAYS(err.text, "15 characters is too short");
    CHECK(!strstr(err.text, "fifteen"));
    CHECK_EQUAL(secret.length, 0);
    memset(text, 'x', sizeof(text));
    text[64] = '\0';
    CHECK_EQUAL(parse(text, &secret), 0);
    CHECK_EQUAL(secret.length, 64);
    text[64] = 'x';
    text[65] = '\0';
    CHECK_EQUAL(parse(text, &secret), -EINVAL);
    CHECK_SAYS(err.text, "too long");
    memset(text, 'a', sizeof(text));
    text[128] = '\0';
    CHECK_EQUAL(parse(text, &secret), 0);
    CHECK_EQUAL(secret.length, 64);
    text[128] = 'a';
    text[130] = '\0';
    CHECK_EQUAL(parse(text, &secret), -EINVAL);
    CHECK_EQUAL(parse("two lines of text\nmake no secret", &secret), -EINVAL);
    CHECK_SAYS(err.text, "one line");
}

/* A file with @text in it; the caller unlinks it. */
static char path[] = "/tmp/rdisk-unit-secret-XXXXXX";

static void write_file(const char *text, mode_t mode)
{
    int fd;

    memcpy(path + sizeof(path) - 7, "XXXXXX", 6);
    fd = mkstemp(path);
    REQUIRE(fd >= 0);
    CHECK_EQUAL(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    CHECK_EQUAL(fchmod(fd, mode), 0);
    close(fd);
}

static void read_refused(int code, const char *words)
{
    struct rdisk_secret secret;

    CHECK_EQUAL(rdisk_secret_read(&secret, path, &err), code);
    CHECK_SAYS(err.text, words);
    CHECK_SAYS(err.text, path);
    CHECK_EQUAL(secret.length, 0);
}

static void secret_files_are_private(void)
{
    static const mode_t wrong[] = { 0604, 0602, 0620, 0666, 0601 };
    struct rdisk_secret secret;

    for (unsigned int i = 0; i < 5; i++) {
        write_file(SECRET "\n", wrong[i]);
        read_refused(-EPERM, "users other than its owner have access");
        unlink(path);
    }
    write_file(SECRET "\n", 0600);
    CHECK_EQUAL(rdisk_secret_read(&secret, path, &err), 0);
    CHECK_EQUAL(secret.length, 16);
    unlink(path);
}

static void secret_files_have_the_right_owner(void)
{
    struct rdisk_secret secret;

    if (geteuid() != 0) {
        return; /* only root can give a file away */
    }
    write_file(SECRET, 0600);
    CHECK_EQUAL(chown(path, NOBODY, NOBODY), 0);
    read_refused(-EPERM, "belongs to user 65534");
    unlink(path);
    /* Root's may be its group's to read: that of a server without root. */
    write_file(SECRET, 0640);
    CHECK_EQUAL(rdisk_secret_read(&secret, path, &err), 0);
    unlink(path);
}

static void secret_files_are_files(void)
{
    struct rdisk_secret secret;

    CHECK_EQUAL(rdisk_secret_read(&secret, "/nonexistent/secret", &err),
                -ENOENT);
    CHECK_SAYS(err.text, "/nonexistent/secret");
    CHECK_EQUAL(rdisk_secret_read(&secret, "/tmp", &err), -EINVAL);
    CHECK_SAYS(err.text, "not a regular file");
    write_file("short\n", 0600);
    read_refused(-EINVAL, "too short");
    unlink(path);
}

/* ---- The configuration ------------------------------------------------- */

static struct config config;

/* Reads @format, in which %s is the path of a file with the secret. */
static int read_config(const char *format)
{
    char file[] = "/tmp/rdisk-unit-XXXXXX.conf";
    int fd = mkstemps(file, 5);
    int result;

    REQUIRE(fd >= 0);
    write_file(SECRET "\n", 0600);
    CHECK(dprintf(fd, format, path, path) > 0);
    close(fd);
    REQUIRE(config_init(&config) == 0);
    err = (struct rdisk_error) { 0 };
    result = config_read(&config, file, &err);
    if (result == 0) {
        result = config_check(&config, &err);
    }
    unlink(file);
    unlink(path);
    return result;
}

static void config_refused(const char *format, const char *words)
{
    CHECK(read_config(format) < 0);
    CHECK_SAYS(err.text, words);
    config_free(&config);
}

#define VOLUME "[volume m]\nbackend = memory\nsize = 1M\n"

static void clients_are_read(void)
{
    const struct access_client *client;

    CHECK_EQUAL(read_config(VOLUME "[client alice]\nsecret-file = %s\n"
                                   "read-write = m alice-*\n[client bob]\n"
                                   "secret-file = %s\nread-only = *\n"),
                0);
    client = access_find(config.clients, "alice");
    REQUIRE(client != NULL);
    CHECK_EQUAL(client->secret->length, 16);
    CHECK_EQUAL(access_to(client, "m"), ACCESS_WRITE);
    CHECK_EQUAL(access_to(client, "alice-2"), ACCESS_WRITE);
    CHECK_EQUAL(access_to(client, "mm"), ACCESS_NONE);
    client = access_find(config.clients, "bob");
    REQUIRE(client != NULL);
    CHECK_EQUAL(access_to(client, "m"), ACCESS_READ);
    CHECK(access_find(config.clients, "carol") == NULL);
    config_free(&config);
}

static void no_client_is_accepted_by_accident(void)
{
    config_refused(VOLUME, "authentication = none");
    config_refused(VOLUME "[server]\nauthentication = hmac\n",
                   "no client is allowed to connect");
    config_refused("[server]\nauthentication = off\n" VOLUME,
                   "authentication = off is neither hmac nor none");
    CHECK_EQUAL(read_config("[server]\nauthentication = none\n" VOLUME), 0);
    config_free(&config);
}

static void clients_are_checked(void)
{
    config_refused(VOLUME "[client alice]\nsecret-file = %s\n",
                   "client 'alice' may use no volume");
    config_refused(VOLUME "[client alice]\n", "client 'alice' needs "
                                              "secret-file=");
    config_refused(VOLUME "[client ../a]\n", "invalid client name");
    config_refused("[client a]\nsecret-file = /nonexistent\n" VOLUME,
                   ".conf:2: client 'a': cannot read secret file");
    config_refused("[client a]\nread-write = ok ../x\n" VOLUME,
                   "'../x' in read-write of client 'a'");
    config_refused("[client a]\nread-only = x?\n" VOLUME, "'x?'");
    config_refused("[client a]\nread-only = x\nread-only = y\n" VOLUME,
                   "given twice");
    config_refused("[client a]\nmax-sessions = 0\n" VOLUME,
                   "max-sessions = 0 of client 'a' is not between 1 and 64k");
    config_refused("[client a]\nmax-sessions = many\n" VOLUME,
                   "is not between");
    config_refused("[client a]\nmax-memory = 1000\n" VOLUME,
                   "max-memory = 1000 of client 'a' is not between 1M");
    config_refused("[client a]\nmax-memory = 1M\nmax-memory = 2M\n" VOLUME,
                   "given twice");
    config_refused("[client a]\npassword = x\n" VOLUME,
                   "a client has no key 'password'");
}

/* ---- Opening ----------------------------------------------------------- */

static struct server server;

static void begin_server(void)
{
    struct backend_spec spec = { .directory = -1, .size = 1 << 20 };

    REQUIRE(read_config(VOLUME "[client alice]\nsecret-file = %s\n"
                               "read-write = disk*\nread-only = disk-2 shared\n"
                               "[client bob]\nsecret-file = %s\n"
                               "read-write = disk-1\n") == 0);
    server = (struct server) { .config = &config, .env = &rdisk_env_system };
    REQUIRE(pool_init(&server.pool, "", 0, &err) == 0);
    for (unsigned int i = 0; i < 3; i++) {
        static const char *const names[] = { "disk-1", "shared", "hidden" };

        spec.volume = names[i];
        REQUIRE(pool_configure(&server.pool, &backend_memory, &spec, &err) ==
                0);
    }
}

static void end_server(void)
{
    CHECK(server.sessions == NULL);
    pool_destroy(&server.pool);
    config_free(&config);
}

static struct rdisk_open_grant grant;
static struct rdisk_target listening;
/* Has its memory already. */
static struct rdisk_target_session target = {
    .target = &listening,
    .memory = 1,
};

/* NULL if it is refused with @status. */
static void *open_as(const char *user, const char *volume,
                     enum rdisk_status status)
{
    struct rdisk_open_request request = { .epoch = 1 };
    void *session = NULL;

    snprintf(request.user, sizeof(request.user), "%s", user);
    snprintf(request.volume, sizeof(request.volume), "%s", volume);
    request.client[0] = 1;
    err = (struct rdisk_error) { 0 };
    CHECK_EQUAL(session_events.open(&server, &target, &request, &grant,
                                    &session, &err),
                status);
    return session;
}

static void lists_decide(void)
{
    void *session;

    begin_server();
    session = open_as("alice", "disk-1", RDISK_STATUS_OK);
    CHECK(!grant.read_only);
    /* The same random id does not make one client another. */
    CHECK(!open_as("bob", "disk-1", RDISK_STATUS_BUSY));
    session_events.close(&server, session, true);
    session = open_as("bob", "disk-1", RDISK_STATUS_OK);
    session_events.close(&server, session, true);
    session = open_as("alice", "shared", RDISK_STATUS_OK);
    CHECK(grant.read_only);
    session_events.close(&server, session, true);
    end_server();
}

static void hidden_is_as_not_there(void)
{
    char text[sizeof(err.text)];

    begin_server();
    open_as("alice", "hidden", RDISK_STATUS_NO_VOLUME);
    snprintf(text, sizeof(text), "%s", err.text);
    CHECK_SAYS(text, "there is no volume 'hidden'");
    /* One that she might see, but that does not exist, is told in the same
     * words. */
    open_as("alice", "disk-3", RDISK_STATUS_NO_VOLUME);
    CHECK_SAYS(err.text, "there is no volume 'disk-3'");
    CHECK_EQUAL(strlen(err.text), strlen(text));
    open_as("bob", "shared", RDISK_STATUS_NO_VOLUME);
    /* An unknown client, although the transport does not let one get this
     * far. */
    open_as("", "disk-1", RDISK_STATUS_NO_VOLUME);
    end_server();
}

/* Only a client that may open a volume learns that it is drained. */
static void drained_is_refused(void)
{
    void *session;

    begin_server();
    REQUIRE(drain_begin(&server.drain, "disk-1", &err) == 0);
    open_as("alice", "disk-1", RDISK_STATUS_SHUTTING_DOWN);
    CHECK_SAYS(err.text, "volume 'disk-1' is drained");
    session = open_as("alice", "shared", RDISK_STATUS_OK);
    session_events.close(&server, session, true);
    REQUIRE(drain_begin(&server.drain, "", &err) == 0);
    open_as("alice", "shared", RDISK_STATUS_SHUTTING_DOWN);
    open_as("alice", "hidden", RDISK_STATUS_NO_VOLUME);
    REQUIRE(drain_end(&server.drain, "", &err) == 0);
    session = open_as("alice", "disk-1", RDISK_STATUS_OK);
    session_events.close(&server, session, true);
    end_server();
}

/* True if the mapping of @address has the flag @flag in /proc/self/smaps. */
static bool mapping_has(const void *address, const char *flag)
{
    FILE *file = fopen("/proc/self/smaps", "re");
    char line[512];
    bool here = false, has = false;

    REQUIRE(file != NULL);
    while (fgets(line, sizeof(line), file)) {
        unsigned long begin, end;

        if (sscanf(line, "%lx-%lx ", &begin, &end) == 2) {
            here = (unsigned long)address >= begin &&
                   (unsigned long)address < end;
        } else if (here && strncmp(line, "VmFlags:", 8) == 0) {
            has = strstr(line, flag) != NULL;
        }
    }
    fclose(file);
    return has;
}

static void snapshots_are_for_readers_of_the_volume(void)
{
    struct access_client client = {
        .read_write = "disk",
        .read_only = "shared one@s",
        .create = "disk",
    };

    CHECK_EQUAL(access_to(&client, "disk@s"), ACCESS_READ);
    CHECK_EQUAL(access_to(&client, "shared@s"), ACCESS_READ);
    CHECK_EQUAL(access_to(&client, "one@s"), ACCESS_READ);
    CHECK_EQUAL(access_to(&client, "one@t"), ACCESS_NONE);
    CHECK_EQUAL(access_to(&client, "one"), ACCESS_NONE);
    CHECK_EQUAL(access_to(&client, "other@s"), ACCESS_NONE);
    CHECK(access_to_create(&client, "disk@s"));
    CHECK(!access_to_create(&client, "shared@s"));
}

static void core_dumps_leave_secrets_out(void)
{
    const struct access_client *client;

    CHECK_EQUAL(read_config(VOLUME "[client alice]\nsecret-file = %s\n"
                                   "read-write = m\n"),
                0);
    client = access_find(config.clients, "alice");
    REQUIRE(client != NULL);
    CHECK(mapping_has(client->secret, " dd"));
    CHECK(!mapping_has(client, " dd"));
    config_free(&config);
}

static void secrets_are_told(void)
{
    struct rdisk_secret secret = { .length = 7 };

    begin_server();
    CHECK(session_events.secret(&server, "bob", &secret));
    CHECK_EQUAL(secret.length, 16);
    secret.length = 7;
    CHECK(!session_events.secret(&server, "carol", &secret));
    CHECK_EQUAL(secret.length, 7);
    end_server();
}

static const struct unit_test tests[] = {
    { "a secret is a line of text or hex digits", secrets_are_text_or_hex },
    { "a secret has 16 to 64 bytes on one line", secrets_have_a_length },
    { "a secret file that others can read or write is refused",
      secret_files_are_private },
    { "a secret file of another user is refused",
      secret_files_have_the_right_owner },
    { "a secret file must be a file with a secret", secret_files_are_files },
    { "clients, their secrets and their volumes are read", clients_are_read },
    { "no client is accepted by accident", no_client_is_accepted_by_accident },
    { "a client's section is checked", clients_are_checked },
    { "access lists decide what a client may do", lists_decide },
    { "a hidden volume answers like one that does not exist",
      hidden_is_as_not_there },
    { "a snapshot can be read by clients that may use its volume, and "
      "written by none",
      snapshots_are_for_readers_of_the_volume },
    { "core dumps leave secrets out", core_dumps_leave_secrets_out },
    { "a drained volume is refused, to clients that may open it",
      drained_is_refused },
    { "the transport gets the secrets of the server's clients",
      secrets_are_told },
};

UNIT_SUITE("server-access", tests)
