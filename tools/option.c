/* SPDX-License-Identifier: BSD-3-Clause */
#include "tools/option.h"

#include <assert.h>
#include <getopt.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/size.h"
#include <rdisk/protocol.h>

enum option_kind {
    OPTION_FLAG,    /* bool */
    OPTION_TEXT,    /* const char * */
    OPTION_COUNT,   /* unsigned int, from min to max */
    OPTION_SECONDS, /* double, from min to max */
    OPTION_SIZE,    /* unsigned int, bytes */
};

#define FLAG(member) OPTION_FLAG, offsetof(struct arguments, member), 0, 0
#define TEXT(member) OPTION_TEXT, offsetof(struct arguments, member), 0, 0
#define COUNT(member, max) \
    OPTION_COUNT, offsetof(struct arguments, member), 1, max
#define SECONDS(member, min, max) \
    OPTION_SECONDS, offsetof(struct arguments, member), min, max
#define SIZE(member) OPTION_SIZE, offsetof(struct arguments, member), 0, 0

/* One table for getopt, help, completion, and what an option sets. */
static const struct {
    int letter;
    const char *name;
    const char *argument; /* NULL: it has none */
    const char *help;
    enum option_kind kind;
    size_t place; /* in struct arguments */
    double min, max;
} options[] = {
    { 's', "control", "PATH",
      "control socket of the server, or of rdisk-vhost for list, stat, drain, "
      "resume, add and remove; default " DEFAULT_CONTROL,
      TEXT(control) },
    { 'j', "json", NULL, "print JSON, also for errors; the same as -o json",
      FLAG(json) },
    { 'P', "prometheus", NULL, "print metrics, as node_exporter reads them",
      FLAG(prometheus) },
    { 'c', "count", "N", "of round trips, or tables", COUNT(count, 1e9) },
    { 'i', "interval", "SECONDS", "between them; default 1",
      SECONDS(interval, 0, 3600) },
    { 't', "timeout", "SECONDS",
      "to wait for the sessions' end, or for a disk to be added or removed; "
      "default 30; 0: do not wait",
      SECONDS(timeout, 0, 86400) },
    { 'm', "to", "SERVER",
      "where clients are to go on: HOST[:PORT], as their URIs name it",
      TEXT(to) },
    { 'k', "sort", "COLUMN", "requests (the default), bytes, latency or name",
      TEXT(sort) },
    { 'R', "replace", NULL, "an existing volume, or file, of that name",
      FLAG(replace) },
    { 'p', "preallocate", NULL,
      "allocate all of the volume's space now, or fail", FLAG(preallocate) },
    { 'd', "depth", "N", "requests at a time, 1…1024; default 32",
      COUNT(depth, RDISK_SLOTS_MAX) },
    { 'b', "block-size", "SIZE", "of a request; default 4k", SIZE(block_size) },
    { 'r', "read", NULL, "read; the default", FLAG(read) },
    { 'w', "write", NULL, "write: the volume's data are lost", FLAG(write) },
    { 'x', "random", NULL, "at random places; default: one after the other",
      FLAG(random) },
    { 'T', "time", "SECONDS", "to measure, 0.1…86400; default 10",
      SECONDS(time, 0.1, 86400) },
    { 'D', "destroy-data", NULL, "confirm --write", FLAG(destroy_data) },
    { 'l', "client", NULL, "NAME is a client's, not a volume's", FLAG(client) },
    { 'S', "shrink", NULL, "allow a smaller size", FLAG(shrink) },
    { 'C', "copy", NULL, "copy the data where storage cannot share it",
      FLAG(copy) },
    { 'A', "snapshots", NULL, "delete the volume's snapshots, too",
      FLAG(snapshots) },
    { 'u', "user", "NAME", "client name, for a URI", TEXT(user) },
    { 'f', "secret-file", "FILE", "that client's secret, for a URI",
      TEXT(secret_file) },
    { 'h', "help", NULL, "print this", FLAG(help) },
    { 'v', "version", NULL, "print the version", FLAG(version) },
};

#define OPTIONS (sizeof(options) / sizeof(options[0]))

static_assert(OPTIONS <= ARGUMENTS_GIVEN_MAX, "struct arguments has room");

/* ---- Printing ----------------------------------------------------------- */

static bool is_one_of(size_t i, const char *letters)
{
    return !letters || strchr(letters, options[i].letter);
}

void options_print(const char *letters)
{
    for (size_t i = 0; i < OPTIONS; i++) {
        const char *argument = options[i].argument;

        if (is_one_of(i, letters)) {
            printf("  --%s%s%s\n        %s\n", options[i].name,
                   argument ? " " : "", argument ? argument : "",
                   options[i].help);
        }
    }
}

void options_print_names(const char *letters)
{
    for (size_t i = 0; i < OPTIONS; i++) {
        if (is_one_of(i, letters)) {
            printf(" --%s", options[i].name);
        }
    }
}

/* ---- Reading ------------------------------------------------------------ */

static size_t find(int letter)
{
    size_t i = 0;

    while (options[i].letter != letter) {
        i++;
    }
    return i;
}

const char *option_name(int letter)
{
    return options[find(letter)].name;
}

static bool set_number(size_t i, void *place)
{
    bool whole = options[i].kind == OPTION_COUNT;
    double min = options[i].min, max = options[i].max, number;
    char *end;

    number = strtod(optarg, &end);
    if (end == optarg || *end || !(number >= min && number <= max) ||
        (whole && number != (unsigned int)number)) {
        failed(whole ? "--%s %s is not %.0f…%.0f"
                     : "--%s %s is not %g…%g seconds",
               options[i].name, optarg, min, max);
        return false;
    }
    if (whole) {
        *(unsigned int *)place = number;
    } else {
        *(double *)place = number;
    }
    return true;
}

static bool set_size(size_t i, void *place)
{
    uint64_t size;

    static_assert(RDISK_SLOT_SIZE_MAX == 4 << 20, "the message has it");
    if (size_parse(optarg, &size) < 0 || !size || size > RDISK_SLOT_SIZE_MAX) {
        failed("--%s %s is not a size up to 4M", options[i].name, optarg);
        return false;
    }
    *(unsigned int *)place = size;
    return true;
}

/* False: it is out of range, which is reported. */
static bool set(size_t i, struct arguments *arguments)
{
    void *place = (char *)arguments + options[i].place;

    switch (options[i].kind) {
    case OPTION_FLAG:
        *(bool *)place = true;
        return true;
    case OPTION_TEXT:
        *(const char **)place = optarg;
        return true;
    case OPTION_SIZE:
        return set_size(i, place);
    default:
        return set_number(i, place);
    }
}

static void fill_table(struct option *table)
{
    for (size_t i = 0; i < OPTIONS; i++) {
        table[i] = (struct option) {
            options[i].name,
            options[i].argument ? required_argument : no_argument,
            NULL,
            options[i].letter,
        };
    }
    table[OPTIONS] = (struct option) { 0 };
}

int options_read(int argc, char **argv, struct arguments *arguments)
{
    struct option table[OPTIONS + 1];
    char *given = arguments->given;
    int letter;

    fill_table(table);
    while ((letter = getopt_long(argc, argv, "ho:", table, NULL)) != -1) {
        if (letter == '?') {
            fprintf(stderr, "rdisk: try --help\n");
            return EXIT_USAGE;
        }
        if (letter == 'o' && strcmp(optarg, "json") != 0) {
            failed("-o %s: the only format is json", optarg);
            return EXIT_USAGE;
        }
        letter = letter == 'o' ? 'j' : letter;
        if (!set(find(letter), arguments)) {
            return EXIT_USAGE;
        }
        if (letter == 'v') {
            printf("rdisk %s\n", RDISK_VERSION);
            return EXIT_OK;
        }
        if (arguments->json) {
            errors_in_json();
        }
        /* --help is for every command. */
        if (letter != 'h' && !strchr(given, letter)) {
            given[strlen(given)] = letter;
        }
    }
    return -1;
}
