/* SPDX-License-Identifier: BSD-3-Clause */
/* What systemd is sent. */
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/notify.h"
#include "tests/unit/support/unit.h"

static char path[64];
static int manager; /* systemd's end */

static void begin(void)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };

    strcpy(path, "/tmp/rdisk-unit-XXXXXX");
    REQUIRE(mkdtemp(path) != NULL);
    strcat(path, "/notify");
    strcpy(address.sun_path, path);
    manager = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    REQUIRE(manager >= 0);
    REQUIRE(bind(manager, (struct sockaddr *)&address, sizeof(address)) == 0);
    setenv("NOTIFY_SOCKET", path, 1);
}

static void end(void)
{
    unsetenv("NOTIFY_SOCKET");
    close(manager);
    unlink(path);
    *strrchr(path, '/') = '\0';
    rmdir(path);
}

/* The next datagram, "" if there is none. */
static const char *received(void)
{
    static char text[2048];
    ssize_t length = recv(manager, text, sizeof(text) - 1, 0);

    text[length < 0 ? 0 : length] = '\0';
    return text;
}

static void readiness_comes_with_a_status(void)
{
    begin();
    notify_service(&rdisk_env_system, NOTIFY_READY, "serving %d volumes", 3);
    CHECK(strcmp(received(), "READY=1\nSTATUS=serving 3 volumes") == 0);
    end();
}

static void reload_has_its_time(void)
{
    begin();
    notify_service(&rdisk_env_system, NOTIFY_RELOADING, "reloading");
    CHECK(strncmp(received(), "RELOADING=1\nMONOTONIC_USEC=", 27) == 0);
    end();
}

static void loading_extends_the_start(void)
{
    begin();
    notify_service(&rdisk_env_system, NOTIFY_LOADING, "volume 'v'");
    CHECK(strcmp(received(),
                 "EXTEND_TIMEOUT_USEC=120000000\nSTATUS=volume 'v'") == 0);
    end();
}

/* It could be another assignment. */
static void status_is_one_line(void)
{
    begin();
    notify_service(&rdisk_env_system, NOTIFY_STATUS, "a\nERRNO=1");
    CHECK(strcmp(received(), "STATUS=a ERRNO=1") == 0);
    end();
}

static void without_systemd_nothing_is_sent(void)
{
    begin();
    unsetenv("NOTIFY_SOCKET");
    notify_service(&rdisk_env_system, NOTIFY_READY, "serving");
    CHECK_EQUAL(received()[0], 0);
    end();
}

static const struct unit_test tests[] = {
    { "readiness is sent with a status", readiness_comes_with_a_status },
    { "a reload is sent with its time", reload_has_its_time },
    { "a status is one line", status_is_one_line },
    { "a start that loads is given time", loading_extends_the_start },
    { "without NOTIFY_SOCKET nothing is sent",
      without_systemd_nothing_is_sent },
};

UNIT_SUITE("notify", tests)
