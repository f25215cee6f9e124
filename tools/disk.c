/* SPDX-License-Identifier: BSD-3-Clause */
/* rdisk add, remove; and list and stat of the disks of rdisk-vhost */
#include "tools/disk.h"

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

/* The reply is of no interest. */
static int change(const struct arguments *arguments,
                  struct json_object *request)
{
    struct json_object *reply = control_call(arguments->control, request);

    if (!reply) {
        return EXIT_FAILED;
    }
    json_object_put(reply);
    return print_done(arguments, arguments->words[0], NULL);
}

int command_add(const struct arguments *arguments)
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
            return EXIT_USAGE;
        }
        *equals = '\0';
        if (strcmp(word, "op") == 0 || strcmp(word, "name") == 0) {
            json_object_put(request);
            failed("a disk has no option '%s': see rdisk-vhost.conf(5)", word);
            return EXIT_USAGE;
        }
        json_object_object_add(request, word,
                               json_object_new_string(equals + 1));
    }
    return change(arguments, request);
}

int command_remove(const struct arguments *arguments)
{
    return change(arguments,
                  control_request("remove", arguments->words[0], NULL));
}
