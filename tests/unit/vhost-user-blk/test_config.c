/* SPDX-License-Identifier: BSD-3-Clause */
/* The configuration file of rdisk-vhost. */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "tests/unit/support/text_file.h"
#include "tests/unit/support/unit.h"
#include "vhost-user-blk/config.h"

static int read_text(struct vhost_config *config, const char *text,
                     struct rdisk_error *err)
{
    char path[sizeof(TEXT_FILE)];
    int result;

    text_file_create(path, text);
    result = vhost_config_read(config, path, err);
    unlink(path);
    return result;
}

static void check_refused(const char *text, const char *words)
{
    struct vhost_config config;
    struct rdisk_error err = { 0 };

    REQUIRE(vhost_config_init(&config) == 0);
    CHECK_EQUAL(read_text(&config, text, &err), -EINVAL);
    CHECK_SAYS(err.text, words);
    vhost_config_free(&config);
}

static void every_key_is_understood(void)
{
    static const char text[] =
        "[daemon] ; comment\n"
        "control = \"/run/a b\" # comment\n"
        "reactors = 3\n"
        "poll-time = 0\n"
        "log-level = debug\n"
        "[disk a]\n"
        "uri = rdma://10.9.0.1/a?reconnect-delay=7 # comment\n"
        "socket = \"/run/x;y\"\n"
        "serial = \"A #1\"\n"
        "queues = 64\n"
        "mode = 660\n"
        "owner = 0\n"
        "group = 12345\n"
        "[disk b]\n"
        "uri = rdma://10.9.0.1/b\n"
        "socket = /run/b\n";
    struct vhost_config config;
    struct rdisk_error err = { 0 };

    REQUIRE(vhost_config_init(&config) == 0);
    CHECK_EQUAL(read_text(&config, text, &err), 0);
    CHECK_SAYS(config.control, "/run/a b");
    CHECK_EQUAL(config.reactors, 3);
    CHECK_EQUAL(config.poll_time, 0);
    CHECK_EQUAL(config.log_level, RDISK_LOG_DEBUG);
    REQUIRE(config.disk_count == 2);
    CHECK_SAYS(config.disks[0].name, "a");
    CHECK_SAYS(config.disks[0].parsed.volume, "a");
    CHECK_EQUAL(config.disks[0].initiator.reconnect_delay_ms, 7000);
    CHECK_SAYS(config.disks[0].socket, "/run/x;y");
    CHECK_SAYS(config.disks[0].serial, "A #1");
    CHECK_EQUAL(config.disks[0].virtqueues, 64);
    CHECK_EQUAL(config.disks[0].mode, 0660);
    CHECK_EQUAL(config.disks[0].owner, 0);
    CHECK_EQUAL(config.disks[0].group, 12345);
    CHECK_EQUAL(config.disks[1].virtqueues, DISK_DEFAULT_VIRTQUEUES);
    CHECK_EQUAL(config.disks[1].owner, (uid_t)-1);
    vhost_config_free(&config);
}

#define DISK "[disk a]\nuri = rdma://10.9.0.1/a\nsocket = /run/a\n"

static void errors_name_the_line(void)
{
    check_refused("[daemon]\n\nreactors = 65\n",
                  ".conf:3: reactors = 65 is not a whole number from 1 to 64");
    check_refused("[daemon]\npoll-time = 1000001\n", "poll-time = 1000001");
    check_refused("[daemon]\nlog-level = loud\n", "error, warning, info");
    check_refused(DISK "queues = 0\n", ".conf:4: queues = 0 is not");
    check_refused(DISK "mode = 888\n", "mode = 888 is not an octal number");
    check_refused(DISK "owner = no-such-user\n", "neither a user");
    check_refused(DISK "group = no-such-group\n", "neither a group");
    check_refused(DISK "group = 4294967295\n", "neither a group");
    check_refused(DISK "serial = 123456789012345678901\n", "longer than 20");
    check_refused("[disk a]\nsocket = /run/a\n", "needs uri =");
    check_refused("[disk a]\nuri = rdma://10.9.0.1/a\n", "needs socket =");
    check_refused(DISK "user = x\n", "both user and secret-file");
}

static void what_is_unknown_is_refused(void)
{
    check_refused("[deamon]\n", ".conf:1: there is no section [deamon]");
    check_refused("[diskette]\n", "there is no section [diskette]");
    check_refused("[disk ../a]\n", "invalid disk name '../a'");
    check_refused("[daemon]\ncolor = red\n", "has no key 'color'");
    check_refused(DISK "color = red\n", "no option 'color'");
    check_refused("uri = x\n", "'uri' comes before any [section]");
}

static void twice_is_refused(void)
{
    check_refused(DISK DISK, ".conf:4: disk 'a' is given twice");
    check_refused(DISK "queues = 2\nqueues = 3\n",
                  ".conf:5: queues of disk 'a' is given twice");
    check_refused("[daemon]\nreactors = 1\nreactors = 2\n",
                  ".conf:3: reactors is given twice");
}

static const struct unit_test tests[] = {
    { "every key of the file is understood, with quotes and comments",
      every_key_is_understood },
    { "an error names file, line, value and range", errors_name_the_line },
    { "unknown keys and sections are errors", what_is_unknown_is_refused },
    { "a disk or a key given twice is an error", twice_is_refused },
};

UNIT_SUITE("vhost-config", tests)
