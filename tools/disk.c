/* SPDX-License-Identifier: BSD-3-Clause */
/* rdisk add, remove; and list and stat of the disks of rdisk-vhost */
#include "tools/disk.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/size.h"
#include "tools/control_socket.h"
#include "tools/rdisk.h"
#include "tools/table.h"
#include <rdisk/protocol.h>

bool disks_are_in(struct json_object *reply)
{
    struct json_object *disks;

    return json_object_object_get_ex(reply, "disks", &disks) &&
           json_object_is_type(disks, json_type_array);
}

static struct json_object *disk_at(struct json_object *reply, size_t i)
{
    struct json_object *disks = json_object_object_get(reply, "disks");

    return i < json_object_array_length(disks)
               ? json_object_array_get_idx(disks, i)
               : NULL;
}

static const char *size_of(struct json_object *disk, char size[SIZE_TEXT])
{
    uint64_t bytes = control_number(disk, "size");

    return bytes ? size_format(bytes, size, SIZE_TEXT) : "unknown";
}

void disks_print_list(struct json_object *reply)
{
    static const struct table_column columns[] = {
        { "NAME", TABLE_NAME },   { "SIZE", TABLE_RIGHT },
        { "STATE", TABLE_LEFT },  { "VMM", TABLE_LEFT },
        { "SOCKET", TABLE_LEFT },
    };
    struct table *table = table_new(columns, 5);
    struct json_object *disk;

    for (size_t i = 0; (disk = disk_at(reply, i)); i++) {
        char size[SIZE_TEXT];
        const char *cells[] = { control_text(disk, "name"), size_of(disk, size),
                                control_text(disk, "state"),
                                control_number(disk, "connected") ? "yes"
                                                                  : "no",
                                control_text(disk, "socket") };

        table_row(table, cells);
    }
    table_print(table, 0);
}

static void print_disk(struct json_object *disk)
{
    const char *error = control_text(disk, "error");
    char size[SIZE_TEXT];

    printf("disk %s: %s, %s, %s, %s VMM connected%s\n",
           control_text(disk, "name"), control_text(disk, "uri"),
           size_of(disk, size), control_text(disk, "state"),
           control_number(disk, "connected") ? "a" : "no",
           control_number(disk, "held")
               ? ", stopped until the guest resets the device"
               : "");
    for (unsigned int op = 1; op < RDISK_OPS; op++) {
        const char *name = rdisk_op_plural(op);

        printf("%s%" PRIu64 " %s", op > 1 ? ", " : "    ",
               control_number(disk, name), name);
    }
    printf("; %" PRIu64 " failed, %" PRIu64 " refused, %" PRIu64
           " bytes copied, %" PRIu64 " reconnects\n",
           control_number(disk, "failed"), control_number(disk, "refused"),
           control_number(disk, "copied_bytes"),
           control_number(disk, "reconnects"));
    if (error[0]) {
        printf("    %s\n", error);
    }
}

void disks_print_stat(struct json_object *reply)
{
    struct json_object *reactors, *disk;

    if (json_object_object_get_ex(reply, "reactors", &reactors)) {
        for (size_t i = 0; i < json_object_array_length(reactors); i++) {
            struct json_object *reactor = json_object_array_get_idx(reactors,
                                                                    i);

            printf("reactor %zu: %" PRIu64 " turns, %" PRIu64 " sleeps\n", i,
                   control_number(reactor, "turns"),
                   control_number(reactor, "sleeps"));
        }
    }
    for (size_t i = 0; (disk = disk_at(reply, i)); i++) {
        print_disk(disk);
    }
}

/* ---- Adding and removing ------------------------------------------------ */

/* False: an error has been printed. The reply is of no interest. */
static bool change(const struct arguments *arguments,
                   struct json_object *request)
{
    struct json_object *reply = control_call(arguments->control, request);

    json_object_put(reply);
    return reply;
}

static bool ask_to_remove(const struct arguments *arguments)
{
    return change(arguments,
                  control_request("remove", arguments->words[0], NULL));
}

enum progress { GOES_ON, IS_DONE, HAS_FAILED };

/* Ask @progress_of about the disk, NULL once there is none of the name, until
 * it is no longer GOES_ON or --timeout is over. HAS_FAILED also when the daemon
 * does not answer, which has been printed. */
static enum progress follow(
    const struct arguments *arguments,
    enum progress (*progress_of)(struct json_object *disk, bool last))
{
    double end = monotonic_seconds() + arguments->timeout;
    enum progress progress = GOES_ON;
    bool last = false;

    while (progress == GOES_ON && !last) {
        struct json_object *reply, *disk;
        size_t i = 0;

        last = monotonic_seconds() >= end;
        reply = control_call(arguments->control,
                             control_request("list", NULL, NULL));
        if (!reply || !disks_are_in(reply)) {
            if (reply) {
                failed("what answers at '%s' is not rdisk-vhost",
                       arguments->control);
            }
            json_object_put(reply);
            return HAS_FAILED;
        }
        while ((disk = disk_at(reply, i)) &&
               strcmp(control_text(disk, "name"), arguments->words[0])) {
            i++;
        }
        progress = progress_of(disk, last);
        json_object_put(reply);
        if (progress == GOES_ON && !last) {
            pause_between_queries();
        }
    }
    return progress;
}

/* Time does not mend it. */
static bool is_final(int code)
{
    return code == -ENOENT || code == -EACCES || code == -EPERM ||
           code == -EINVAL;
}

/* Its socket listens once its volume has been opened to read. */
static enum progress added(struct json_object *disk, bool last)
{
    const char *error;
    int code;

    if (!disk) {
        failed("the disk has been removed meanwhile");
        return HAS_FAILED;
    }
    if (strcmp(control_text(disk, "state"), "probing")) {
        return IS_DONE;
    }
    error = control_text(disk, "error");
    code = control_code(disk);
    if (!last && !is_final(code)) {
        return GOES_ON;
    }
    if (*error) {
        failed_code(code, "disk '%s' is not added: %s",
                    control_text(disk, "name"), error);
    } else {
        failed_code(-ETIMEDOUT,
                    "disk '%s' is not added: its volume has not been opened "
                    "within --timeout",
                    control_text(disk, "name"));
    }
    return HAS_FAILED;
}

static enum progress removed(struct json_object *disk, bool last)
{
    if (!disk) {
        return IS_DONE;
    }
    if (last) {
        failed_code(-ETIMEDOUT,
                    "disk '%s' is %s after --timeout; it will be removed when "
                    "its requests have ended",
                    control_text(disk, "name"), control_text(disk, "state"));
    }
    return last ? HAS_FAILED : GOES_ON;
}

/* NULL: a word is wrong, which has been printed. */
static struct json_object *request_to_add(const struct arguments *arguments)
{
    struct json_object *request = control_request("add", arguments->words[0],
                                                  NULL);

    for (int i = 1; i < arguments->words_count; i++) {
        char *word = arguments->words[i];
        char *equals = strchr(word, '=');

        if (!equals || equals == word) {
            json_object_put(request);
            failed("'%s' is not OPTION=VALUE; usage: rdisk add NAME uri=URI "
                   "socket=PATH [OPTION=VALUE]...",
                   word);
            return NULL;
        }
        *equals = '\0';
        if (strcmp(word, "op") == 0 || strcmp(word, "name") == 0) {
            json_object_put(request);
            failed("a disk has no option '%s': see rdisk-vhost.conf(5)", word);
            return NULL;
        }
        json_object_object_add(request, word,
                               json_object_new_string(equals + 1));
    }
    return request;
}

/* All or nothing, but for --timeout 0. */
int command_add(const struct arguments *arguments)
{
    struct json_object *request = request_to_add(arguments);

    if (!request) {
        return EXIT_USAGE;
    }
    if (!change(arguments, request)) {
        return EXIT_FAILED;
    }
    if (arguments->timeout > 0 && follow(arguments, added) != IS_DONE) {
        ask_to_remove(arguments);
        return EXIT_FAILED;
    }
    return print_done(arguments, arguments->words[0], NULL);
}

int command_remove(const struct arguments *arguments)
{
    if (!ask_to_remove(arguments) ||
        (arguments->timeout > 0 && follow(arguments, removed) != IS_DONE)) {
        return EXIT_FAILED;
    }
    return print_done(arguments, arguments->words[0], NULL);
}
