/* SPDX-License-Identifier: BSD-3-Clause */
/* The server's configuration: file, command line, and what it refuses. */
#include <stdlib.h>
#include <unistd.h>

#include "server/config/config.h"
#include "common/size.h"
#include "tests/unit/support/text_file.h"
#include "tests/unit/support/unit.h"

/* Read @text as a configuration file called *.conf. */
static int read_text(struct config *config, const char *text,
                     struct rdisk_error *err)
{
    char path[sizeof(TEXT_FILE)];
    int result;

    text_file_create(path, text);
    result = config_read(config, path, err);
    unlink(path);
    return result;
}

static void check_refused(const char *text, const char *words)
{
    struct rdisk_error err = { 0 };
    struct config config;

    REQUIRE(config_init(&config) == 0);
    CHECK(read_text(&config, text, &err) < 0);
    CHECK_SAYS(err.text, words);
    config_free(&config);
}

static const char all_keys[] = "# a comment\n"
                               "[server]\n"
                               "listen = 10.9.0.1 ; and another\n"
                               "port = 7000\n"
                               "  cores = 3\n"
                               "core-list = 0-1\n"
                               "control = /tmp/x.sock\n"
                               "log-level = debug\n"
                               "authentication = none\n"
                               "max-sessions = 10\n"
                               "max-queues = 4\n"
                               "max-slots = 16\n"
                               "max-slot-size = 64k\n"
                               "max-memory = 1G\n"
                               "cq-entries = 2048\n"
                               "handshake-timeout = 2.5\n"
                               "max-silence = 60\n"
                               "stop-timeout = 1\n"
                               "[pool]\n"
                               "directory = /srv\n"
                               "create = allow\n"
                               "resize = deny\n"
                               "[ceph]\n"
                               "config = /srv/ceph.conf\n"
                               "user = rdisk\n"
                               "keyring = /srv/keyring\n"
                               "op-timeout = 30\n"
                               "[volume a]\n"
                               "backend = memory\n"
                               "size = 64M\n"
                               "[volume b]\n"
                               "backend = file\n"
                               "path = /dev/sdb\n"
                               "read-only = on\n";

static void check_options(const struct config *config)
{
    CHECK_SAYS(config->listen, "10.9.0.1");
    CHECK_EQUAL(strlen(config->listen), 8);
    CHECK_EQUAL(config->port, 7000);
    CHECK_EQUAL(config->cores, 3);
    CHECK_SAYS(config->core_list, "0-1");
    CHECK_SAYS(config->control, "/tmp/x.sock");
    CHECK_EQUAL(config->log_level, RDISK_LOG_DEBUG);
    CHECK_EQUAL(config->authentication, ACCESS_METHOD_OPEN);
    CHECK_EQUAL(config->max_sessions, 10);
    CHECK_EQUAL(config->max_queues, 4);
    CHECK_EQUAL(config->max_slots, 16);
    CHECK_EQUAL(config->max_slot_size, 65536);
    CHECK_EQUAL(config->max_memory, 1 << 30);
    CHECK_EQUAL(config->cq_entries, 2048);
    CHECK_EQUAL(config->handshake_timeout, 2500);
    CHECK_EQUAL(config->max_silence, 60000);
    CHECK_EQUAL(config->stop_timeout, 1000);
    CHECK_SAYS(config->pool, "/srv");
    CHECK(config->create);
    CHECK(!config->resize);
    CHECK_SAYS(config->ceph_config, "/srv/ceph.conf");
    CHECK_SAYS(config->ceph_user, "rdisk");
    CHECK_SAYS(config->ceph_keyring, "/srv/keyring");
    CHECK_EQUAL(config->ceph_op_timeout, 30000);
}

static void check_volumes(const struct config *config)
{
    REQUIRE(config->volumes && config->volumes->next);
    CHECK_SAYS(config->volumes->name, "a");
    CHECK(config->volumes->backend == &backend_memory);
    CHECK_EQUAL(config->volumes->size, 64 << 20);
    CHECK(config->volumes->next->backend == &backend_file);
    CHECK_SAYS(config->volumes->next->path, "/dev/sdb");
    CHECK(config->volumes->next->read_only);
}

static void test_all_keys(void)
{
    struct rdisk_error err = { 0 };
    struct config config;

    REQUIRE(config_init(&config) == 0);
    CHECK_EQUAL(read_text(&config, all_keys, &err), 0);
    check_options(&config);
    check_volumes(&config);
    CHECK_EQUAL(config_check(&config, &err), 0);
    config_free(&config);
}

static void test_errors_name_the_line(void)
{
    check_refused("[server]\n\nport = 70000\n", ".conf:3: port = 70000");
    check_refused("[server]\nport = 70000\n", "1…65535");
    check_refused("[server]\nport = 0\n", "out of range");
    check_refused("[server]\nport = -1\n", "not a number");
    check_refused("[server]\nport = 12x\n", "not a number");
    check_refused("[server]\nmax-slot-size = 5000\n", "multiple of 4k");
    check_refused("[server]\nmax-slot-size = 8M\n", "4k…4M");
    check_refused("[server]\nhandshake-timeout = soon\n", "not a time");
    check_refused("[server]\nmax-memory = 999999999999999999999\n",
                  "out of range");
    check_refused("[server]\nlog-level = loud\n", "error, warning");
    check_refused("[pool]\nresize = yes\n", "neither allow nor deny");
    check_refused("[volume v]\nsize = 1000\nbackend = memory\n",
                  ".conf:2: the size of volume 'v', 1000 bytes, is not a "
                  "multiple of 512; round it up to 1024");
    check_refused("[volume v]\nbackend = tape\n", "file, memory, null");
    check_refused("[volume v]\nread-only = maybe\n", "neither on nor off");
}

static void test_unknown_is_refused(void)
{
    check_refused("[server]\nprot = 1\n", "section [server] has no key");
    check_refused("[pool]\nport = 1\n", "section [pool] has no key");
    check_refused("[volume v]\nfile = /x\n", "a volume has no key 'file'");
    check_refused("[sever]\nport = 1\n", "no section [sever]");
    check_refused("[sever]\n", ".conf:1: there is no section [sever]");
    check_refused("port = 1\n", "before any [section]");
    check_refused("[server]\nport\n", ".conf:2: neither");
}

static void test_twice_is_refused(void)
{
    check_refused("[server]\nport = 1\nport = 2\n", ".conf:3: port is given "
                                                    "twice");
    check_refused("[volume v]\nsize = 1M\nsize = 1M\n", "given twice");
}

static void test_names_stay_in_pool(void)
{
    check_refused("[volume ../etc]\nsize = 1M\n", "invalid volume name");
    check_refused("[volume .hidden]\nsize = 1M\n", "invalid volume name");
    check_refused("[volume a/b]\nsize = 1M\n", "invalid volume name");
}

static void test_long_line(void)
{
    static char text[70000];
    struct rdisk_error err = { 0 };
    struct config config;

    memset(text, 'x', sizeof(text));
    memcpy(text, "[server]\nlisten=", 16);
    memcpy(text + sizeof(text) - 2, "\n", 2);
    check_refused(text, ".conf:2: the line is longer than 65536 bytes");

    /* So many volumes for one client. */
    memcpy(text + 60000, "\nport = 7000\n", 14);
    REQUIRE(config_init(&config) == 0);
    CHECK_EQUAL(read_text(&config, text, &err), 0);
    CHECK_EQUAL(strlen(config.listen), 60000 - 16);
    CHECK_EQUAL(config.port, 7000);
    config_free(&config);
}

static void test_odd_lines(void)
{
    struct rdisk_error err = { 0 };
    struct config config;

    REQUIRE(config_init(&config) == 0);
    CHECK_EQUAL(read_text(&config,
                          "\xef\xbb\xbf; with a byte order mark\r\n"
                          "\t[server] ; a comment\r\n"
                          "\t# another = one\r\n"
                          "  listen\t:  ::1 ; the last\r\n"
                          "control = /run/a;b\n"
                          "[ pool ]\n"
                          "directory = /srv/disks",
                          &err),
                0);
    CHECK(strcmp(config.listen, "::1") == 0);
    CHECK(strcmp(config.control, "/run/a;b") == 0);
    CHECK(strcmp(config.pool, "/srv/disks") == 0);
    config_free(&config);
    check_refused("[server\nport = 1\n", ".conf:1: neither");
    check_refused("[server] port = 1\n", ".conf:1: neither");
}

/* It would hide what comes after it, or the rest of the file. */
static void test_nul_byte(void)
{
    char path[] = "/tmp/rdisk-unit-XXXXXX.conf";
    static const char text[] = "[server]\n\0port = 1\n";
    struct rdisk_error err = { 0 };
    struct config config;
    int fd = mkstemps(path, 5);

    REQUIRE(fd >= 0);
    REQUIRE(write(fd, text, sizeof(text) - 1) == sizeof(text) - 1);
    close(fd);
    REQUIRE(config_init(&config) == 0);
    CHECK(config_read(&config, path, &err) < 0);
    CHECK_SAYS(err.text, ".conf:2: the line has a NUL byte");
    unlink(path);
    config_free(&config);
}

static void test_missing_file(void)
{
    struct rdisk_error err = { 0 };
    struct config config;

    REQUIRE(config_init(&config) == 0);
    CHECK_EQUAL(config_read(&config, "/nonexistent/rdiskd.conf", &err), -2);
    CHECK_SAYS(err.text, "/nonexistent/rdiskd.conf");
    config_free(&config);
}

static void test_options_win(void)
{
    struct rdisk_error err = { 0 };
    struct config config;

    REQUIRE(config_init(&config) == 0);
    REQUIRE(read_text(&config,
                      "[server]\nport = 7000\n[volume m]\n"
                      "backend = file\npath = /x\n",
                      &err) == 0);
    CHECK_EQUAL(config_set(&config, "port", "7001", &err), 0);
    CHECK_EQUAL(config.port, 7001);
    CHECK_EQUAL(config_volume_parse(&config.volumes, "m=memory:2M,read-only",
                                    &err),
                0);
    CHECK(config.volumes->backend == &backend_memory);
    CHECK(!config.volumes->path);
    CHECK_EQUAL(config.volumes->size, 2 << 20);
    CHECK(config.volumes->read_only);
    CHECK(!config.volumes->next);
    CHECK(config_set(&config, "port", "x", &err) < 0);
    CHECK_SAYS(err.text, "--port");
    CHECK(config_set(&config, "nothing", "x", &err) < 0);
    config_free(&config);
}

static void test_volume_option(void)
{
    static const char *const wrong[] = {
        "",
        "v",
        "v=",
        "v=memory",
        "v=tape:1M",
        "v=memory:",
        "v=memory:1x",
        "v=null:511",
        "../v=memory:1M",
        "=memory:1M",
    };
    struct rdisk_error err;
    struct config config;

    REQUIRE(config_init(&config) == 0);
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        err.text[0] = '\0';
        CHECK(config_volume_parse(&config.volumes, wrong[i], &err) < 0);
        CHECK(err.text[0]);
    }
    CHECK_EQUAL(config_volume_parse(&config.volumes, "f=file:/a:b=c,d", &err),
                0);
    while (config.volumes->next) {
        struct config_volume *volume = config.volumes;

        config.volumes = volume->next;
        free(volume->name);
        free(volume->path);
        free(volume);
    }
    CHECK_SAYS(config.volumes->path, "/a:b=c,d");
    config_free(&config);
}

static void test_nothing_to_serve(void)
{
    struct rdisk_error err = { 0 };
    struct config config;

    REQUIRE(config_init(&config) == 0);
    CHECK(config_check(&config, &err) < 0);
    CHECK_SAYS(err.text, "--volume");
    REQUIRE(read_text(&config, "[volume v]\n", &err) == 0);
    CHECK(config_check(&config, &err) < 0);
    CHECK_SAYS(err.text, "needs backend=");
    config_free(&config);
}

static void test_sizes(void)
{
    static const struct {
        const char *text;
        int result;
        uint64_t bytes;
    } cases[] = {
        { "0", 0, 0 },
        { "512", 0, 512 },
        { "64k", 0, 65536 },
        { "64K", 0, 65536 },
        { "1M", 0, 1 << 20 },
        { "3G", 0, 3ull << 30 },
        { "1TiB", 0, 1ull << 40 },
        { "2P", 0, 2ull << 50 },
        { "15E", 0, 15ull << 60 },
        { "16E", -34, 0 },
        { "18446744073709551615", 0, UINT64_MAX },
        { "18446744073709551616", -34, 0 },
        { "", -22, 0 },
        { "k", -22, 0 },
        { "-1", -22, 0 },
        { " 1", -22, 0 },
        { "1.5G", -22, 0 },
        { "1 G", -22, 0 },
        { "0x10", -22, 0 },
        { "1kk", -22, 0 },
        { "10GB", 0, 10000000000 },
        { "10GiB", 0, 10737418240 },
        { "3kb", 0, 3000 },
        { "1EB", 0, 1000000000000000000 },
        { "19EB", -34, 0 },
        { "1B", -22, 0 },
        { "1GBB", -22, 0 },
        { "1GiBB", -22, 0 },
    };
    char text[SIZE_TEXT];

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        uint64_t bytes = 0;

        CHECK_EQUAL(size_parse(cases[i].text, &bytes), cases[i].result);
        CHECK_EQUAL(bytes, cases[i].bytes);
    }
    CHECK_SAYS(size_round(0, text, sizeof(text)), "0");
    CHECK_SAYS(size_round(1023, text, sizeof(text)), "1023");
    CHECK_SAYS(size_round(1536, text, sizeof(text)), "1.5k");
    CHECK_SAYS(size_round(5ull << 40, text, sizeof(text)), "5T");
    CHECK_SAYS(size_format(0, text, sizeof(text)), "0");
    CHECK_SAYS(size_format(1536, text, sizeof(text)), "1536");
    CHECK_SAYS(size_format(64 << 20, text, sizeof(text)), "64M");
    CHECK_SAYS(size_format(UINT64_MAX, text, sizeof(text)),
               "18446744073709551615");
}

static const struct unit_test tests[] = {
    { "every key of the file is understood", test_all_keys },
    { "an error names file, line, value and range", test_errors_name_the_line },
    { "unknown keys and sections are errors", test_unknown_is_refused },
    { "a key given twice is an error", test_twice_is_refused },
    { "volume names cannot leave the pool", test_names_stay_in_pool },
    { "a line may be long, and is an error when it is too long",
      test_long_line },
    { "blanks, comments and byte order marks are no part of a value",
      test_odd_lines },
    { "a line with a NUL byte is an error", test_nul_byte },
    { "a missing file is named", test_missing_file },
    { "the command line wins over the file", test_options_win },
    { "a malformed --volume is refused with a sentence", test_volume_option },
    { "nothing to serve is an error that says what to do",
      test_nothing_to_serve },
    { "sizes are read and written exactly", test_sizes },
};

UNIT_SUITE("server-config", tests)
