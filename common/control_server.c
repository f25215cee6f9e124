/* SPDX-License-Identifier: BSD-3-Clause */
#include "common/control_server.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <json-c/json.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/container_of.h"
#include "common/log.h"
#include "common/stale_socket.h"
#include "common/thread.h"
#include <rdisk/env.h>

/* Between two attempts to accept when there is no descriptor. */
#define PAUSE_MS 1000

/* A connection; and the call that its request is, while it has no reply. */
struct control_call {
    struct loop_source source;
    struct control *control; /* NULL: the socket was destroyed */
    int fd;                  /* -1: it left while the handler had its request */
    char input[CONTROL_LINE_MAX];
    size_t received;
    bool asked;   /* the handler has not answered */
    bool serving; /* control_answer() need not go on with it */
    char *output; /* NULL: no reply in flight */
    size_t length, sent;
    bool last; /* close when the reply is out */
    struct control_call *next;
};

struct control {
    struct loop_source source;
    struct loop *loop;
    int fd;
    char *path;
    control_fn *handler;
    void *opaque;
    struct control_call *clients;
    unsigned int count;
    int spare; /* a descriptor to be given up for a client that is informed that
                  there is none; or -1 */
    uint64_t paused_until;   /* no client is accepted; rdisk_now(), or 0 */
    bool out_of_descriptors; /* since the last client was accepted */
};

char *control_error(const struct rdisk_error *err)
{
    struct json_object *reply = json_object_new_object();
    const char *code = strerrorname_np(-err->code);
    char *text;

    json_object_object_add(reply, "error", json_object_new_string(err->text));
    json_object_object_add(reply, "code",
                           json_object_new_string(code ? code : "EIO"));
    text = strdup(
        json_object_to_json_string_ext(reply, JSON_C_TO_STRING_PLAIN));
    json_object_put(reply);
    return text;
}

/* ---- Clients ---------------------------------------------------------- */

static void client_free(struct control_call *client)
{
    struct control *control = client->control;
    struct control_call **link = control ? &control->clients : NULL;

    if (control) {
        while (*link != client) {
            link = &(*link)->next;
        }
        *link = client->next;
        control->count--;
    }
    free(client->output);
    free(client);
}

/* It has left, or is to go; the handler may still have its request. */
static void client_close(struct control_call *client)
{
    if (client->fd >= 0) {
        loop_remove(client->control->loop, client->fd);
        close(client->fd);
        client->fd = -1;
    }
    if (!client->asked) {
        client_free(client);
    }
}

/* Takes @reply over and appends the newline. */
static bool client_reply(struct control_call *client, char *reply)
{
    size_t length = reply ? strlen(reply) : 0;
    char *output = reply ? realloc(reply, length + 2) : NULL;

    if (!output) {
        free(reply);
        return false;
    }
    memcpy(output + length, "\n", 2);
    client->output = output;
    client->length = length + 1;
    client->sent = 0;
    return true;
}

/* Take the first line out of what was received, and have it answered. */
static bool client_line(struct control_call *client)
{
    char *end = memchr(client->input, '\n', client->received);
    char line[CONTROL_LINE_MAX];
    struct rdisk_error err;
    size_t length;

    if (end) {
        length = end - client->input;
        memcpy(line, client->input, length);
        line[length] = '\0';
        client->received -= length + 1;
        memmove(client->input, end + 1, client->received);
        client->asked = client->serving = true;
        client->control->handler(client->control->opaque, line, client);
        client->serving = false;
        return client->asked || client->output;
    }
    if (client->received == sizeof(client->input)) {
        rdisk_error_set(&err, -EMSGSIZE,
                        "a request is one line of less than "
                        "%d bytes",
                        CONTROL_LINE_MAX);
        client->last = true;
        client->received = 0;
        return client_reply(client, control_error(&err));
    }
    return true;
}

/* False: the client is to go. */
static bool client_send(struct control_call *client)
{
    while (client->output && client->sent < client->length) {
        ssize_t n = send(client->fd, client->output + client->sent,
                         client->length - client->sent, MSG_NOSIGNAL);

        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            return errno == EAGAIN;
        }
        client->sent += n;
    }
    free(client->output);
    client->output = NULL;
    return !client->last;
}

static bool client_receive(struct control_call *client)
{
    ssize_t n = recv(client->fd, client->input + client->received,
                     sizeof(client->input) - client->received, 0);

    if (n <= 0) {
        return n < 0 && (errno == EAGAIN || errno == EINTR);
    }
    client->received += n;
    return true;
}

/* Answer line after line for as long as the replies go out at once. */
static bool client_serve(struct control_call *client)
{
    for (;;) {
        if (client->output && !client_send(client)) {
            return false;
        }
        if (client->output) {
            return true;
        }
        if (!client_line(client)) {
            return false;
        }
        if (!client->output || client->asked) {
            return true;
        }
    }
}

/* Go on with what can be done, and wait for the rest. */
static void client_proceed(struct control_call *client)
{
    if (!client_serve(client)) {
        client_close(client);
        return;
    }
    /* While its request is being carried out, only its leaving counts. */
    loop_change(client->control->loop, client->fd,
                client->asked    ? 0
                : client->output ? EPOLLOUT
                                 : EPOLLIN,
                &client->source);
}

void control_answer(struct control_call *call, char *reply)
{
    bool ok;

    assert_control_thread();
    assert(call->asked);
    call->asked = false;
    if (call->fd < 0) {
        free(reply);
        client_free(call);
        return;
    }
    ok = client_reply(call, reply);
    if (call->serving) {
        return; /* it was called from within client_line() */
    }
    if (ok) {
        client_proceed(call);
    } else {
        client_close(call);
    }
}

static void client_ready(struct loop_source *source, uint32_t events)
{
    struct control_call *client = container_of(source, struct control_call,
                                               source);

    if (client->asked || (!client->output && !client_receive(client))) {
        client_close(client);
        return;
    }
    client_proceed(client);
}

/* ---- Accepting -------------------------------------------------------- */

static void refuse(int fd, const struct rdisk_error *err)
{
    char *reply = control_error(err);

    if (reply) {
        send(fd, reply, strlen(reply), MSG_NOSIGNAL);
        send(fd, "\n", 1, MSG_NOSIGNAL);
    }
    free(reply);
    close(fd);
}

static int accept_client(struct control *control)
{
    return accept4(control->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
}

/* A descriptor that stays readable, and of which nothing can be taken, would
 * make the loop spin: it is watched again after a while. */
static void pause_accepting(struct control *control)
{
    control->paused_until = rdisk_now(&rdisk_env_system) +
                            PAUSE_MS * RDISK_MSEC;
    loop_change(control->loop, control->fd, 0, &control->source);
}

static int open_spare(void)
{
    return open("/dev/null", O_RDONLY | O_CLOEXEC);
}

/* With the spare one a client is accepted and refused; without it, it waits. */
static void out_of_descriptors(struct control *control, int code)
{
    struct rdisk_error err;
    int fd = -1;

    if (!control->out_of_descriptors) {
        control->out_of_descriptors = true;
        log_warning("cannot accept a client at the control socket: %s",
                    strerror(-code));
    }
    if (control->spare >= 0) {
        close(control->spare);
        fd = accept_client(control);
        if (fd >= 0) {
            rdisk_error_set(&err, code,
                            "the server has no descriptor left: raise its "
                            "limit (LimitNOFILE=, ulimit -n)");
            refuse(fd, &err);
        }
    }
    control->spare = open_spare();
    if (fd < 0 || control->spare < 0) {
        pause_accepting(control);
    }
}

static void control_ready(struct loop_source *source, uint32_t events)
{
    struct control *control = container_of(source, struct control, source);
    int fd = accept_client(control);
    struct control_call *client;
    struct rdisk_error err;

    if (fd < 0) {
        if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED) {
            out_of_descriptors(control, -errno);
        }
        return;
    }
    control->out_of_descriptors = false;
    client = control->count < CONTROL_CLIENTS_MAX ? calloc(1, sizeof(*client))
                                                  : NULL;
    if (!client) {
        rdisk_error_set(&err, -EBUSY,
                        "the server has too many control clients already");
        refuse(fd, &err);
        return;
    }
    client->source.ready = client_ready;
    client->control = control;
    client->fd = fd;
    client->next = control->clients;
    control->clients = client;
    control->count++;
    if (loop_add(control->loop, fd, EPOLLIN, &client->source) < 0) {
        client_close(client);
    }
}

uint64_t control_deadline(const struct control *control)
{
    return control && control->paused_until ? control->paused_until
                                            : RDISK_NEVER;
}

void control_check_time(struct control *control, uint64_t now)
{
    assert_control_thread();
    if (now < control_deadline(control)) {
        return;
    }
    control->paused_until = 0;
    if (control->spare < 0) {
        control->spare = open_spare();
    }
    loop_change(control->loop, control->fd, EPOLLIN, &control->source);
}

/* ---- The socket ------------------------------------------------------- */

/* A socket left behind by a server that was killed may be replaced. */
static int remove_stale(const struct sockaddr_un *address,
                        struct rdisk_error *err)
{
    int result = stale_socket_remove(address);

    switch (result) {
    case 0:
        return 0;
    case -EADDRINUSE:
        return rdisk_error_set(err, result,
                               "another server answers at "
                               "the control socket '%s'; stop it, or give "
                               "this one another (--control)",
                               address->sun_path);
    case -EEXIST:
        return rdisk_error_set(err, result,
                               "'%s' exists and is not a "
                               "socket; name another with --control",
                               address->sun_path);
    default:
        return rdisk_error_set(err, result, "cannot create a socket: %s",
                               strerror(-result));
    }
}

void control_make_folder(const char *path)
{
    char folder[sizeof(((struct sockaddr_un *)NULL)->sun_path)];
    char *slash;

    snprintf(folder, sizeof(folder), "%s", path);
    slash = strrchr(folder, '/');
    if (slash && slash != folder) {
        *slash = '\0';
        /* If it cannot be created, bind() reports that. */
        mkdir(folder, 0755);
    }
}

static int listen_at(const char *path, struct rdisk_error *err)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    mode_t old;
    int fd, result;

    if (strlen(path) >= sizeof(address.sun_path)) {
        return rdisk_error_set(err, -ENAMETOOLONG,
                               "the path of the control "
                               "socket, '%.120s', is longer than %zu bytes",
                               path, sizeof(address.sun_path) - 1);
    }
    snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    control_make_folder(path);
    result = remove_stale(&address, err);
    if (result < 0) {
        return result;
    }
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    /* For its owner alone, from the first moment. */
    old = umask(0177);
    result = fd < 0 ||
                     bind(fd, (struct sockaddr *)&address, sizeof(address)) <
                         0 ||
                     listen(fd, 16) < 0
                 ? -errno
                 : 0;
    umask(old);
    if (result < 0) {
        if (fd >= 0) {
            close(fd);
        }
        return rdisk_error_set(
            err, result,
            "cannot listen at the control socket '%s': %s (name another with "
            "--control, or use --control \"\" for none)",
            path, strerror(-result));
    }
    return fd;
}

struct control *control_create(struct loop *loop, const char *path,
                               control_fn *handler, void *opaque,
                               struct rdisk_error *err)
{
    struct control *control = calloc(1, sizeof(*control));
    int result;

    assert_control_thread();
    if (!control || !(control->path = strdup(path))) {
        rdisk_error_set(err, -ENOMEM, "no memory for the control socket");
        free(control);
        return NULL;
    }
    control->source.ready = control_ready;
    control->loop = loop;
    control->handler = handler;
    control->opaque = opaque;
    control->spare = open_spare();
    control->fd = listen_at(path, err);
    if (control->fd < 0) {
        control_destroy(control);
        return NULL;
    }
    result = loop_add(loop, control->fd, EPOLLIN, &control->source);
    if (result < 0) {
        rdisk_error_set(err, result, "cannot watch the control socket: %s",
                        strerror(-result));
        control_destroy(control);
        return NULL;
    }
    return control;
}

void control_destroy(struct control *control)
{
    assert_control_thread();
    if (!control) {
        return;
    }
    while (control->clients) {
        struct control_call *client = control->clients;
        bool asked = client->asked;

        client_close(client); /* frees it, unless its request is not answered */
        if (asked) {
            control->clients = client->next;
            client->control = NULL; /* it is freed with its answer */
        }
    }
    if (control->fd >= 0) {
        loop_remove(control->loop, control->fd);
        close(control->fd);
        unlink(control->path);
    }
    if (control->spare >= 0) {
        close(control->spare);
    }
    free(control->path);
    free(control);
}
