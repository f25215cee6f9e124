/* SPDX-License-Identifier: BSD-3-Clause */
/* The options of a client session: defaults, ranges, and setting by name. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rdisk/initiator.h>
#include "transport/initiator/options.h"
#include "transport/initiator/servers.h"

#define TIMEOUT_MAX_MS 3600000u

enum option_kind {
    OPTION_BOOL, /* on, off */
    OPTION_COUNT,
    OPTION_SIZE, /* bytes, with k or M */
    OPTION_TIME, /* seconds with decimals; kept in milliseconds */
    OPTION_WORD, /* one of the words */
};

struct option {
    const char *name;
    enum option_kind kind;
    size_t where;              /* in struct rdisk_initiator_options */
    uint32_t minimum, maximum; /* in the unit kept */
    bool zero;                 /* 0 is allowed too */
    uint32_t multiple;         /* of which the value must be; 0: any */
    const char *const *words;  /* and NULL; kept is the index */
};

static const char *const guest_memory_words[] = {
    [RDISK_GUEST_MEMORY_DIRECT] = "direct",
    [RDISK_GUEST_MEMORY_WINDOW] = "window",
    [RDISK_GUEST_MEMORY_BOUNCE] = "bounce",
    NULL
};

#define OPTION(n, k, member, min, max, z, m) \
    { \
        n, k, offsetof(struct rdisk_initiator_options, member), min, max, z, \
            m, NULL \
    }

static const struct option options_known[] = {
    OPTION("read-only", OPTION_BOOL, read_only, 0, 1, true, 0),
    OPTION("shared", OPTION_BOOL, shared, 0, 1, true, 0),
    OPTION("queues", OPTION_COUNT, queues, 1, RDISK_QUEUES_MAX, false, 0),
    OPTION("slots", OPTION_COUNT, slots, 1, RDISK_SLOTS_MAX, false, 0),
    OPTION("slot-size", OPTION_SIZE, slot_size, RDISK_SLOT_SIZE_MIN,
           RDISK_SLOT_SIZE_MAX, false, RDISK_SLOT_SIZE_MIN),
    { "guest-memory", OPTION_WORD,
      offsetof(struct rdisk_initiator_options, guest_memory), 0,
      RDISK_GUEST_MEMORY_BOUNCE, true, 0, guest_memory_words },
    OPTION("write-acks", OPTION_BOOL, write_acks, 0, 1, true, 0),
    OPTION("bounce-size", OPTION_SIZE, bounce_size, RDISK_BOUNCE_SIZE_MIN,
           RDISK_BOUNCE_SIZE_MAX, false, RDISK_BOUNCE_CHUNK),
    OPTION("open-timeout", OPTION_TIME, open_timeout_ms, 1, TIMEOUT_MAX_MS,
           false, 0),
    OPTION("request-timeout", OPTION_TIME, request_timeout_ms, 1,
           TIMEOUT_MAX_MS, true, 0),
    OPTION("reconnect-delay", OPTION_TIME, reconnect_delay_ms, 1,
           TIMEOUT_MAX_MS, true, 0),
    OPTION("heartbeat", OPTION_TIME, heartbeat_ms, RDISK_HEARTBEAT_MIN_MS,
           RDISK_HEARTBEAT_MAX_MS, true, 0),
};

#define OPTIONS_KNOWN (sizeof(options_known) / sizeof(options_known[0]))

void rdisk_initiator_options_init(struct rdisk_initiator_options *options)
{
    *options = (struct rdisk_initiator_options) {
        .port = RDISK_DEFAULT_PORT,
        .queues = RDISK_DEFAULT_QUEUES,
        .slots = RDISK_DEFAULT_SLOTS,
        .slot_size = RDISK_DEFAULT_SLOT_SIZE,
        .bounce_size = RDISK_DEFAULT_BOUNCE_SIZE,
        .open_timeout_ms = RDISK_DEFAULT_OPEN_TIMEOUT_MS,
        .request_timeout_ms = RDISK_DEFAULT_REQUEST_TIMEOUT_MS,
        .reconnect_delay_ms = RDISK_DEFAULT_RECONNECT_DELAY_MS,
        .heartbeat_ms = RDISK_DEFAULT_HEARTBEAT_MS,
    };
}

static uint32_t read_option(const struct rdisk_initiator_options *options,
                            const struct option *option)
{
    const void *where = (const char *)options + option->where;

    return option->kind == OPTION_BOOL ? *(const bool *)where
                                       : *(const uint32_t *)where;
}

static void write_option(struct rdisk_initiator_options *options,
                         const struct option *option, uint32_t value)
{
    void *where = (char *)options + option->where;

    if (option->kind == OPTION_BOOL) {
        *(bool *)where = value;
    } else {
        *(uint32_t *)where = value;
    }
}

static int out_of_range(const struct option *option, const char *value,
                        struct rdisk_error *err)
{
    const char *zero = option->zero ? "0 or " : "";

    switch (option->kind) {
    case OPTION_BOOL:
        return rdisk_error_set(err, -EINVAL, "%s=%s is neither on nor off",
                               option->name, value);
    case OPTION_WORD:
        return rdisk_error_set(err, -EINVAL,
                               "%s=%s is not direct, window or bounce",
                               option->name, value);
    case OPTION_TIME:
        return rdisk_error_set(err, -EINVAL, "%s=%s is not %s%g…%g seconds",
                               option->name, value, zero,
                               option->minimum / 1000.0,
                               option->maximum / 1000.0);
    case OPTION_SIZE:
        return rdisk_error_set(err, -EINVAL,
                               "%s=%s is not %s%u…%u bytes in multiples of %u",
                               option->name, value, zero, option->minimum,
                               option->maximum, option->multiple);
    default:
        return rdisk_error_set(err, -EINVAL, "%s=%s is not %s%u…%u",
                               option->name, value, zero, option->minimum,
                               option->maximum);
    }
}

static bool in_range(const struct option *option, uint32_t value)
{
    if (option->zero && value == 0) {
        return true;
    }
    return value >= option->minimum && value <= option->maximum &&
           (!option->multiple || value % option->multiple == 0);
}

/* Text to the unit kept; false if it is no such thing or far too large. */
static bool parse_value(const struct option *option, const char *text,
                        uint32_t *value)
{
    char *end;
    double number;

    if (option->kind == OPTION_BOOL) {
        *value = !strcmp(text, "on");
        return *value || !strcmp(text, "off");
    }
    if (option->kind == OPTION_WORD) {
        for (*value = 0; option->words[*value]; ++*value) {
            if (!strcmp(option->words[*value], text)) {
                return true;
            }
        }
        return false;
    }
    if (text[0] < '0' || text[0] > '9' || strpbrk(text, "xX")) {
        return false;
    }
    errno = 0;
    number = strtod(text, &end);
    if (option->kind == OPTION_SIZE && (*end == 'k' || *end == 'K')) {
        number *= 1024;
        end++;
    } else if (option->kind == OPTION_SIZE && *end == 'M') {
        number *= 1024 * 1024;
        end++;
    } else if (option->kind == OPTION_TIME) {
        number = number > 0 && number < 0.001 ? 1 : number * 1000 + 0.5;
    }
    if (errno || *end || number > UINT32_MAX ||
        (option->kind != OPTION_TIME && number != (double)(uint32_t)number)) {
        return false;
    }
    *value = (uint32_t)number;
    return true;
}

int rdisk_initiator_option_set(struct rdisk_initiator_options *options,
                               const char *name, const char *value,
                               struct rdisk_error *err)
{
    for (size_t i = 0; i < OPTIONS_KNOWN; i++) {
        const struct option *option = &options_known[i];
        uint32_t number;

        if (strcmp(option->name, name)) {
            continue;
        }
        if (!parse_value(option, value, &number) || !in_range(option, number)) {
            return out_of_range(option, value, err);
        }
        write_option(options, option, number);
        return 0;
    }
    return rdisk_error_set(err, -EINVAL, "unknown option '%s'", name);
}

static int check_user(const struct rdisk_initiator_options *options,
                      struct rdisk_error *err)
{
    const struct rdisk_secret *secret = options->secret;

    if (!options->user != !secret) {
        return rdisk_error_set(err, -EINVAL, "a %s is given without a %s",
                               secret ? "secret" : "user name",
                               secret ? "user name" : "secret");
    }
    if (!secret) {
        return 0;
    }
    if (rdisk_user_name_check(options->user, strlen(options->user), err) < 0) {
        return -EINVAL;
    }
    if (secret->length < RDISK_SECRET_MIN ||
        secret->length > RDISK_SECRET_MAX) {
        return rdisk_error_set(err, -EINVAL,
                               "a secret of %u bytes is not "
                               "%u to %u",
                               secret->length, RDISK_SECRET_MIN,
                               RDISK_SECRET_MAX);
    }
    return 0;
}

int rdisk_initiator_options_check(const struct rdisk_initiator_options *options,
                                  struct rdisk_error *err)
{
    const char *volume = options->volume ? options->volume : "";

    for (size_t i = 0; i < OPTIONS_KNOWN; i++) {
        const struct option *option = &options_known[i];
        uint32_t number = read_option(options, option);

        if (!in_range(option, number)) {
            char value[32];

            snprintf(value, sizeof(value),
                     option->kind == OPTION_TIME ? "%gs" : "%.0f",
                     option->kind == OPTION_TIME ? number / 1000.0
                                                 : (double)number);
            return out_of_range(option, value, err);
        }
    }
    if (options->bounce_size < options->slot_size) {
        return rdisk_error_set(
            err, -EINVAL,
            "bounce-size=%u is smaller than slot-size=%u; the largest request "
            "must fit",
            options->bounce_size, options->slot_size);
    }
    if (!options->host || !options->host[0]) {
        return rdisk_error_set(err, -EINVAL, "no host is given");
    }
    if (rdisk_servers_check(options, err) < 0) {
        return -EINVAL;
    }
    if (rdisk_volume_name_check(volume, strlen(volume), err) < 0) {
        return -EINVAL;
    }
    return check_user(options, err);
}
