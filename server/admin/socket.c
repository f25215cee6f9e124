/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/admin/socket.h"

#include <errno.h>
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

#include "server/log.h"

struct client {
    struct loop_source source;
    struct control *control;
    int fd;
    char input[CONTROL_LINE_MAX];
    size_t received;
    char *output; /* NULL: no reply under way */
    size_t length, sent;
    bool last; /* close when the reply is out */
    struct client *next;
};

struct control {
    struct loop_source source;
    struct loop *loop;
    int fd;
    char *path;
    control_fn *handler;
    void *opaque;
    struct client *clients;
    unsigned int count;
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

static void client_free(struct client *client)
{
    struct control *control = client->control;
    struct client **link = &control->clients;

    while (*link != client) {
        link = &(*link)->next;
    }
    *link = client->next;
    control->count--;
    loop_remove(control->loop, client->fd);
    close(client->fd);
    free(client->output);
    free(client);
}

/* Takes @reply over and appends the newline. */
static bool client_reply(struct client *client, char *reply)
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

/* Take the first line out of what was received, and answer it. */
static bool client_line(struct client *client)
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
        return client_reply(client,
                            client->control->handler(client->control->opaque,
                                                     line));
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
static bool client_send(struct client *client)
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

static bool client_receive(struct client *client)
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
static bool client_serve(struct client *client)
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
        if (!client->output) {
            return true;
        }
    }
}

static void client_ready(struct loop_source *source, uint32_t events)
{
    struct client *client = (struct client *)((char *)source -
                                              offsetof(struct client, source));

    if ((!client->output && !client_receive(client)) || !client_serve(client)) {
        client_free(client);
        return;
    }
    loop_change(client->control->loop, client->fd,
                client->output ? EPOLLOUT : EPOLLIN, source);
}

static void control_ready(struct loop_source *source, uint32_t events)
{
    struct control *control =
        (struct control *)((char *)source - offsetof(struct control, source));
    int fd = accept4(control->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    struct client *client;

    if (fd < 0) {
        return;
    }
    client = control->count < CONTROL_CLIENTS_MAX ? calloc(1, sizeof(*client))
                                                  : NULL;
    if (!client) {
        static const char busy[] =
            "{\"error\":\"the server has too many "
            "control clients already\",\"code\":\"EBUSY\"}\n";

        send(fd, busy, sizeof(busy) - 1, MSG_NOSIGNAL);
        close(fd);
        return;
    }
    client->source.ready = client_ready;
    client->control = control;
    client->fd = fd;
    client->next = control->clients;
    control->clients = client;
    control->count++;
    if (loop_add(control->loop, fd, EPOLLIN, &client->source) < 0) {
        client_free(client);
    }
}

/* ---- The socket ------------------------------------------------------- */

/* A socket left behind by a server that was killed may be replaced. */
static int remove_stale(const struct sockaddr_un *address,
                        struct rdisk_error *err)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    bool served = fd >= 0 && (connect(fd, (const struct sockaddr *)address,
                                      sizeof(*address)) == 0 ||
                              errno == EAGAIN);
    struct stat st;

    if (fd >= 0) {
        close(fd);
    }
    if (served) {
        return rdisk_error_set(err, -EADDRINUSE,
                               "another server answers at "
                               "the control socket '%s'; stop it, or give "
                               "this one another (--control)",
                               address->sun_path);
    }
    if (lstat(address->sun_path, &st) == 0) {
        if (!S_ISSOCK(st.st_mode)) {
            return rdisk_error_set(err, -EEXIST,
                                   "'%s' exists and is no "
                                   "socket; name another with --control",
                                   address->sun_path);
        }
        unlink(address->sun_path);
    }
    return 0;
}

static void make_folder(const char *path)
{
    char folder[sizeof(((struct sockaddr_un *)NULL)->sun_path)];
    char *slash;

    snprintf(folder, sizeof(folder), "%s", path);
    slash = strrchr(folder, '/');
    if (slash && slash != folder) {
        *slash = '\0';
        /* If it cannot be made, bind() will say what is wrong. */
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
    make_folder(path);
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
        return rdisk_error_set(err, result,
                               "cannot listen at the control "
                               "socket '%s': %s (--control names another, "
                               "--control \"\" does without)",
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

    if (!control || !(control->path = strdup(path))) {
        rdisk_error_set(err, -ENOMEM, "no memory for the control socket");
        free(control);
        return NULL;
    }
    control->source.ready = control_ready;
    control->loop = loop;
    control->handler = handler;
    control->opaque = opaque;
    control->fd = listen_at(path, err);
    if (control->fd < 0) {
        free(control->path);
        free(control);
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
    if (!control) {
        return;
    }
    while (control->clients) {
        client_free(control->clients);
    }
    loop_remove(control->loop, control->fd);
    close(control->fd);
    unlink(control->path);
    free(control->path);
    free(control);
}
