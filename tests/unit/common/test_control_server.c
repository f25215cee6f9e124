/* SPDX-License-Identifier: BSD-3-Clause */
/* The control socket: lines in and out, and what a client cannot do to it. */
#include <errno.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/control_server.h"
#include "common/log.h"
#include "tests/unit/support/quiet.h"
#include "tests/unit/support/unit.h"
#include <rdisk/env.h>

struct scene {
    char path[64];
    struct loop loop;
    struct control *control;
    size_t reply_size;
    bool later;                /* answer nothing, */
    struct control_call *call; /* but keep this */
};

/* Answers with the request itself, or as much as the scene wants. */
static void echo(void *opaque, const char *line, struct control_call *call)
{
    struct scene *scene = opaque;
    size_t length = strlen(line);
    char *reply;

    if (scene->later) {
        REQUIRE(!scene->call);
        scene->call = call;
        return;
    }
    if (scene->reply_size <= length) {
        control_answer(call, strdup(line));
        return;
    }
    reply = malloc(scene->reply_size + 1);
    REQUIRE(reply != NULL);
    memset(reply, 'r', scene->reply_size);
    reply[scene->reply_size] = '\0';
    control_answer(call, reply);
}

static void scene_open(struct scene *scene)
{
    struct rdisk_error err = { 0 };

    memset(scene, 0, sizeof(*scene));
    strcpy(scene->path, "/tmp/rdisk-unit-XXXXXX");
    REQUIRE(mkdtemp(scene->path));
    strcat(scene->path, "/new/sock");
    REQUIRE(loop_init(&scene->loop) == 0);
    scene->control = control_create(&scene->loop, scene->path, echo, scene,
                                    &err);
    REQUIRE(scene->control != NULL);
}

static void scene_close(struct scene *scene)
{
    control_destroy(scene->control);
    loop_destroy(&scene->loop);
    CHECK(access(scene->path, F_OK) < 0);
    for (int i = 0; i < 2; i++) {
        *strrchr(scene->path, '/') = '\0';
        CHECK_EQUAL(rmdir(scene->path), 0);
    }
}

static int dial(struct scene *scene)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);

    strcpy(address.sun_path, scene->path);
    REQUIRE(connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0);
    return fd;
}

/* Let the server do all it can. */
static void serve(struct scene *scene)
{
    for (int i = 0; i < 200; i++) {
        loop_turn(&scene->loop, 0);
    }
}

static void check_reply(int fd, const char *text)
{
    char reply[256] = "";
    ssize_t n = recv(fd, reply, sizeof(reply) - 1, 0);

    CHECK_EQUAL(n, strlen(text));
    CHECK(strcmp(reply, text) == 0);
}

static void test_private_socket(void)
{
    struct scene scene;
    struct stat st;

    scene_open(&scene);
    CHECK_EQUAL(stat(scene.path, &st), 0);
    CHECK_EQUAL(st.st_mode & 0777, 0600);
    scene_close(&scene);
}

static void test_lines(void)
{
    struct scene scene;
    int a, b;

    scene_open(&scene);
    a = dial(&scene);
    b = dial(&scene);
    /* In pieces, and several at once. */
    CHECK_EQUAL(send(a, "on", 2, 0), 2);
    serve(&scene);
    CHECK_EQUAL(send(b, "other\n", 6, 0), 6);
    serve(&scene);
    check_reply(b, "other\n");
    CHECK_EQUAL(send(a, "e\ntwo\nthr", 9, 0), 9);
    serve(&scene);
    check_reply(a, "one\ntwo\n");
    CHECK_EQUAL(send(a, "ee\n", 3, 0), 3);
    shutdown(a, SHUT_WR);
    serve(&scene);
    check_reply(a, "three\n");
    CHECK_EQUAL(recv(a, &scene, 1, MSG_PEEK), 0);
    close(a);
    close(b);
    serve(&scene);
    scene_close(&scene);
}

static void test_bounded_input(void)
{
    char flood[2 * CONTROL_LINE_MAX], reply[256] = "";
    struct scene scene;
    int fd;

    scene_open(&scene);
    fd = dial(&scene);
    memset(flood, 'x', sizeof(flood));
    CHECK(send(fd, flood, sizeof(flood), 0) > 0);
    serve(&scene);
    CHECK(recv(fd, reply, sizeof(reply) - 1, 0) > 0);
    CHECK_SAYS(reply, "EMSGSIZE");
    /* And it is disconnected; what else it has sent makes that a reset. */
    CHECK(recv(fd, reply, sizeof(reply), 0) <= 0 && errno != EAGAIN);
    close(fd);
    scene_close(&scene);
}

static void test_slow_reader(void)
{
    struct scene scene;
    size_t total = 0;
    char buffer[65536];
    int slow, quick;
    ssize_t n;

    scene_open(&scene);
    scene.reply_size = 4 << 20;
    slow = dial(&scene);
    quick = dial(&scene);
    CHECK_EQUAL(send(slow, "a\nb\n", 4, 0), 4);
    serve(&scene);
    scene.reply_size = 0;
    CHECK_EQUAL(send(quick, "hello\n", 6, 0), 6);
    serve(&scene);
    check_reply(quick, "hello\n");
    /* Its first reply is whole, and the second follows. */
    for (int i = 0; i < 100000 && total < (4 << 20) + 3; i++) {
        n = recv(slow, buffer, sizeof(buffer), 0);
        total += n > 0 ? n : 0;
        loop_turn(&scene.loop, 0);
    }
    CHECK_EQUAL(total, (4 << 20) + 3);
    close(slow);
    close(quick);
    serve(&scene);
    scene_close(&scene);
}

static void test_too_many(void)
{
    int fds[CONTROL_CLIENTS_MAX + 1];
    char reply[256] = "";
    struct scene scene;

    scene_open(&scene);
    for (int i = 0; i <= CONTROL_CLIENTS_MAX; i++) {
        fds[i] = dial(&scene);
        serve(&scene);
    }
    CHECK(recv(fds[CONTROL_CLIENTS_MAX], reply, sizeof(reply) - 1, 0) > 0);
    CHECK_SAYS(reply, "too many");
    close(fds[0]);
    serve(&scene);
    CHECK_EQUAL(send(fds[1], "x\n", 2, 0), 2);
    serve(&scene);
    check_reply(fds[1], "x\n");
    for (int i = 1; i <= CONTROL_CLIENTS_MAX; i++) {
        close(fds[i]);
    }
    serve(&scene);
    scene_close(&scene);
}

static void test_vanishing_client(void)
{
    struct scene scene;
    int fd;

    scene_open(&scene);
    scene.reply_size = 4 << 20;
    fd = dial(&scene);
    CHECK_EQUAL(send(fd, "a\n", 2, 0), 2);
    serve(&scene);
    close(fd);
    serve(&scene);
    scene_close(&scene);
}

/* What a handler answers later comes in its order, and delays no other
 * client. */
static void test_later(void)
{
    struct scene scene;
    int waits, other;

    scene_open(&scene);
    waits = dial(&scene);
    other = dial(&scene);
    scene.later = true;
    CHECK_EQUAL(send(waits, "a\nb\n", 4, 0), 4);
    serve(&scene);
    REQUIRE(scene.call != NULL);
    scene.later = false;
    CHECK_EQUAL(send(other, "x\n", 2, 0), 2);
    CHECK_EQUAL(send(waits, "c\n", 2, 0), 2);
    serve(&scene);
    check_reply(other, "x\n");
    CHECK_EQUAL(recv(waits, &scene, 1, MSG_PEEK), -1);
    control_answer(scene.call, strdup("a"));
    serve(&scene);
    check_reply(waits, "a\nb\nc\n");
    close(waits);
    close(other);
    serve(&scene);
    scene_close(&scene);
}

static void test_later_without_client(void)
{
    struct scene scene;
    int fd;

    scene_open(&scene);
    scene.later = true;
    fd = dial(&scene);
    CHECK_EQUAL(send(fd, "a\n", 2, 0), 2);
    serve(&scene);
    REQUIRE(scene.call != NULL);
    close(fd);
    serve(&scene);
    control_answer(scene.call, strdup("a"));
    scene.call = NULL;
    fd = dial(&scene);
    CHECK_EQUAL(send(fd, "b\n", 2, 0), 2);
    serve(&scene);
    REQUIRE(scene.call != NULL);
    close(fd);
    scene_close(&scene);
    /* The socket is gone, too. */
    control_answer(scene.call, strdup("b"));
}

/* All descriptors but the spare one are used; then that, too. */
static void test_out_of_descriptors(void)
{
    struct rlimit old, limit;
    char reply[256] = "";
    struct scene scene;
    int fd, next;

    scene_open(&scene);
    log_set_level(QUIET);
    fd = dial(&scene);
    next = dup(fd);
    close(next);
    REQUIRE(getrlimit(RLIMIT_NOFILE, &old) == 0);
    limit = old;
    limit.rlim_cur = next;
    REQUIRE(setrlimit(RLIMIT_NOFILE, &limit) == 0);
    serve(&scene);
    CHECK(recv(fd, reply, sizeof(reply) - 1, 0) > 0);
    CHECK_SAYS(reply, "no descriptor left");
    CHECK_EQUAL(control_deadline(scene.control), RDISK_NEVER);

    close(fd);
    REQUIRE(setrlimit(RLIMIT_NOFILE, &old) == 0);
    fd = dial(&scene);
    limit.rlim_cur = 0;
    REQUIRE(setrlimit(RLIMIT_NOFILE, &limit) == 0);
    serve(&scene);
    CHECK(control_deadline(scene.control) < RDISK_NEVER);
    REQUIRE(setrlimit(RLIMIT_NOFILE, &old) == 0);
    /* It does not spin meanwhile, and serves when the pause is over. */
    CHECK_EQUAL(loop_turn(&scene.loop, 0), 0);
    control_check_time(scene.control, control_deadline(scene.control));
    CHECK_EQUAL(control_deadline(scene.control), RDISK_NEVER);
    CHECK_EQUAL(send(fd, "x\n", 2, 0), 2);
    serve(&scene);
    check_reply(fd, "x\n");
    close(fd);
    serve(&scene);
    log_set_level(RDISK_LOG_INFO);
    scene_close(&scene);
}

static void test_socket_in_use(void)
{
    struct rdisk_error err = { 0 };
    struct scene scene;
    struct control *second;

    scene_open(&scene);
    CHECK(!control_create(&scene.loop, scene.path, echo, &scene, &err));
    CHECK_EQUAL(err.code, -EADDRINUSE);
    scene_close(&scene);

    /* Left behind by a server that was killed: replaced. */
    scene_open(&scene);
    control_destroy(scene.control);
    {
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        int fd = socket(AF_UNIX, SOCK_STREAM, 0);

        strcpy(address.sun_path, scene.path);
        REQUIRE(bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0);
        close(fd);
    }
    second = control_create(&scene.loop, scene.path, echo, &scene, &err);
    CHECK(second != NULL);
    scene.control = second;
    scene_close(&scene);
}

/* As when a server ends while a client is connected. */
static void test_close_with_clients(void)
{
    struct scene scene;
    int a, b;

    scene_open(&scene);
    a = dial(&scene);
    b = dial(&scene);
    serve(&scene);
    scene_close(&scene);
    close(a);
    close(b);
}

static const struct unit_test tests[] = {
    { "the socket is its owner's alone", test_private_socket },
    { "a line in is a line out, for several clients", test_lines },
    { "input without an end is cut off", test_bounded_input },
    { "a slow reader delays no other and loses nothing", test_slow_reader },
    { "one client too many is reported", test_too_many },
    { "a client that vanishes is forgotten", test_vanishing_client },
    { "a reply may come later, and delays no other", test_later },
    { "a reply may come later than its client leaves",
      test_later_without_client },
    { "the socket closes with clients that ask nothing",
      test_close_with_clients },
    { "a server without descriptors says so and does not spin",
      test_out_of_descriptors },
    { "a socket in use is kept, one left behind replaced", test_socket_in_use },
};

UNIT_SUITE("control-server", tests)
