/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/volume/record_text.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/hex.h"

/* These lines, in this order. Version 1 has no "changed", and version 3 alone
 * who the owner is. */
#define FORMAT \
    "rdisk lease %u\nvolume %s\ngeneration %" PRIu64 "\n" \
    "client %s\npeer %s\nheld %s\nshared %s\n"
#define FORMAT_CHANGED "changed %" PRIu64 "\n"
#define FORMAT_OWNER   "owner %s\nepoch %" PRIu64 "\n"
#define FORMAT_END     "end\n"
#define VERSION        2u /* of one that one server has alone */
#define VERSION_OWNER  3u

/* RECORD_MAX bytes at @text. */
static void print(const struct lease_record *record, unsigned int version,
                  char *text)
{
    char client[HEX_SIZE(RDISK_ID_SIZE)], owner[HEX_SIZE(RDISK_ID_SIZE)];
    size_t length;

    hex_print(record->client, RDISK_ID_SIZE, client);
    length = snprintf(text, RECORD_MAX, FORMAT, version, record->volume,
                      record->generation, client,
                      record->peer[0] ? record->peer : "-",
                      record->held ? "yes" : "no",
                      record->shared ? "yes" : "no");
    if (version > 1) {
        length += snprintf(text + length, RECORD_MAX - length, FORMAT_CHANGED,
                           record->changed);
    }
    if (version == VERSION_OWNER) {
        hex_print(record->owner, RDISK_ID_SIZE, owner);
        length += snprintf(text + length, RECORD_MAX - length, FORMAT_OWNER,
                           owner, record->epoch);
    }
    snprintf(text + length, RECORD_MAX - length, FORMAT_END);
}

/* What is not just as this server writes it, or an older one did, is
 * damaged. */
bool record_parse(const char *text, struct lease_record *record)
{
    char client[HEX_SIZE(RDISK_ID_SIZE) + 1], held[4], shared[4];
    char owner[HEX_SIZE(RDISK_ID_SIZE) + 1] = "", again[RECORD_MAX];
    unsigned int version;
    int fields;

    record->changed = record->epoch = 0;
    memset(record->owner, 0, sizeof(record->owner));
    fields = sscanf(
        text,
        "rdisk lease %u volume %128s generation %" SCNu64
        " client %33s peer %63s held %3s shared %3s changed %" SCNu64
        " owner %33s epoch %" SCNu64,
        &version, record->volume, &record->generation, client, record->peer,
        held, shared, &record->changed, owner, &record->epoch);
    if (fields < 7 || version < 1 || version > VERSION_OWNER ||
        !record->generation ||
        !hex_parse(client, record->client, RDISK_ID_SIZE) ||
        (version == VERSION_OWNER &&
         !hex_parse(owner, record->owner, RDISK_ID_SIZE))) {
        return false;
    }
    record->held = strcmp(held, "yes") == 0;
    record->shared = strcmp(shared, "yes") == 0;
    print(record, version, again);
    return strcmp(text, again) == 0;
}

/* Older servers read what has no owner. */
void record_print(const struct lease_record *record, char text[RECORD_MAX])
{
    static const uint8_t none[RDISK_ID_SIZE];
    bool owned = memcmp(record->owner, none, sizeof(none)) != 0;

    print(record, owned ? VERSION_OWNER : VERSION, text);
}

void record_name(const uint8_t *identity, char name[RECORD_NAME])
{
    hex_print(identity, RDISK_ID_SIZE, name);
}
