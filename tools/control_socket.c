/* SPDX-License-Identifier: BSD-3-Clause */
#include "tools/control_socket.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "tools/rdisk.h"

#define TIMEOUT   30 /* seconds for the server to answer */
#define REPLY_MAX (256u << 20)
/* Between two queries of how far the server is. */
#define INTERVAL_NS (100 * 1000 * 1000)

static int dial(const char *control)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    struct timeval timeout = { .tv_sec = TIMEOUT };
    int fd;

    if (strlen(control) >= sizeof(address.sun_path)) {
        failed("the path of the control socket is longer than %zu bytes",
               sizeof(address.sun_path) - 1);
        return -1;
    }
    strcpy(address.sun_path, control);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        failed("cannot create a socket: %s", strerror(errno));
        return -1;
    }
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout));
    if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
        failed_code(errno == EACCES ? -EACCES : -ECONNREFUSED,
                    "no server answers at '%s': %s%s", control, strerror(errno),
                    errno == EACCES
                        ? " (only its user and root may connect)"
                        : "; is rdiskd running, with this --control?");
        close(fd);
        return -1;
    }
    return fd;
}

static bool send_line(int fd, const char *line)
{
    size_t length = strlen(line);

    while (length) {
        ssize_t n = send(fd, line, length, MSG_NOSIGNAL);

        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            failed("cannot send to the server: %s", strerror(errno));
            return false;
        }
        line += n;
        length -= n;
    }
    return true;
}

/* The reply without its newline, to be freed. */
static char *receive_line(int fd)
{
    size_t size = 0, length = 0;
    char *line = NULL, *larger;

    while (!length || line[length - 1] != '\n') {
        ssize_t n;

        if (size - length < 4096) {
            size = size ? 2 * size : 8192;
            larger = size <= REPLY_MAX ? realloc(line, size) : NULL;
            if (!larger) {
                failed("the server's reply is too long");
                break;
            }
            line = larger;
        }
        n = recv(fd, line + length, size - length, 0);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            if (n == 0) {
                failed_code(-ECONNRESET,
                            "the server closed the connection without a reply");
            } else if (errno == EAGAIN) {
                failed_code(-ETIMEDOUT,
                            "the server has not answered within %d seconds",
                            TIMEOUT);
            } else {
                failed("no reply from the server: %s", strerror(errno));
            }
            break;
        }
        length += n;
    }
    if (!length || line[length - 1] != '\n') {
        free(line);
        return NULL;
    }
    line[length - 1] = '\0';
    return line;
}

int control_code(struct json_object *object)
{
    const char *name = control_text(object, "code");

    for (int code = 1; code < 256; code++) {
        const char *known = strerrorname_np(code);

        if (known && strcmp(known, name) == 0) {
            return -code;
        }
    }
    return 0;
}

struct json_object *control_call(const char *control,
                                 struct json_object *request)
{
    struct json_object *reply = NULL, *error;
    char *line = NULL;
    int fd = dial(control);

    if (fd >= 0 &&
        send_line(fd, json_object_to_json_string_ext(request,
                                                     JSON_C_TO_STRING_PLAIN)) &&
        send_line(fd, "\n")) {
        line = receive_line(fd);
    }
    json_object_put(request);
    if (fd >= 0) {
        close(fd);
    }
    if (!line) {
        return NULL;
    }
    reply = json_tokener_parse(line);
    free(line);
    if (!json_object_is_type(reply, json_type_object)) {
        failed("what answers at '%s' is not rdiskd", control);
        json_object_put(reply);
        return NULL;
    }
    if (json_object_object_get_ex(reply, "error", &error)) {
        failed_code(control_code(reply), "%s", json_object_get_string(error));
        json_object_put(reply);
        return NULL;
    }
    return reply;
}

struct json_object *control_request(const char *op, const char *name,
                                    const uint64_t *size)
{
    struct json_object *request = json_object_new_object();

    json_object_object_add(request, "op", json_object_new_string(op));
    if (name) {
        json_object_object_add(request, "name", json_object_new_string(name));
    }
    if (size) {
        json_object_object_add(request, "size", json_object_new_uint64(*size));
    }
    return request;
}

const char *control_text(struct json_object *object, const char *key)
{
    struct json_object *value;

    return json_object_object_get_ex(object, key, &value)
               ? json_object_get_string(value)
               : "";
}

uint64_t control_number(struct json_object *object, const char *key)
{
    struct json_object *value;

    return json_object_object_get_ex(object, key, &value)
               ? (uint64_t)json_object_get_int64(value)
               : 0;
}

double monotonic_seconds(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec + now.tv_nsec / 1e9;
}

void pause_between_queries(void)
{
    const struct timespec pause = { .tv_nsec = INTERVAL_NS };

    nanosleep(&pause, NULL);
}
