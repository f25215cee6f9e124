/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/config/command_line.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DEFAULT_CONFIG "/etc/rdisk/rdiskd.conf"

enum {
    /* Values of long options below are the configuration's own. */
    OPTION_HELP = 1000,
    OPTION_VERSION,
    OPTION_CONFIG,
    OPTION_VOLUME,
    OPTION_CHECK,
    OPTION_END,
};
/* Those of the configuration, those above, and the end of the table. */
#define MAX_OPTIONS (CONFIG_OPTIONS_MAX + OPTION_END - OPTION_HELP + 1)

static void print_help(void)
{
    const char *name, *argument, *help;
    char option[64];

    printf("Usage: rdiskd [OPTION]...\n"
           "Serve disks over RDMA.\n\n"
           "  --config FILE\n"
           "        configuration file, \"\" for none; default\n"
           "        " DEFAULT_CONFIG " if it exists\n"
           "  --volume NAME=file:PATH | NAME=memory:SIZE | NAME=null:SIZE\n"
           "        a volume; with \",read-only\" at its end it is that\n");
    for (unsigned int i = 0; (name = config_option(i, &argument, &help)); i++) {
        snprintf(option, sizeof(option), "--%s %s", name, argument);
        printf("  %s\n        %s\n", option, help);
    }
    printf("  --check\n"
           "        check the configuration, with the files that it names, and "
           "exit\n"
           "  --help\n  --version\n\n"
           "See rdiskd(8) and rdiskd.conf(5).\n");
}

static void fill_table(struct option *table)
{
    const char *name, *argument, *help;
    unsigned int n = 0;

    for (; (name = config_option(n, &argument, &help)); n++) {
        table[n] = (struct option) { name, required_argument, NULL, n };
    }
    table[n++] = (struct option) { "help", no_argument, NULL, OPTION_HELP };
    table[n++] = (struct option) { "version", no_argument, NULL,
                                   OPTION_VERSION };
    table[n++] = (struct option) { "config", required_argument, NULL,
                                   OPTION_CONFIG };
    table[n++] = (struct option) { "volume", required_argument, NULL,
                                   OPTION_VOLUME };
    table[n++] = (struct option) { "check", no_argument, NULL, OPTION_CHECK };
    table[n] = (struct option) { 0 };
}

/* First pass: the file, since the options are to win over it. */
static int read_file(int argc, char **argv, const struct option *table,
                     struct config *config, struct rdisk_error *err)
{
    const char *path = NULL;
    int option;

    opterr = 0;
    optind = 1;
    while ((option = getopt_long(argc, argv, "", table, NULL)) != -1) {
        if (option == OPTION_CONFIG) {
            path = optarg;
        }
    }
    if (!path && access(DEFAULT_CONFIG, F_OK) == 0) {
        path = DEFAULT_CONFIG;
    }
    return path && path[0] ? config_read(config, path, err) : 0;
}

/* Options that end the program. *@check: one of them is --check. */
static int read_questions(int argc, char **argv, const struct option *table,
                          bool *check)
{
    int option;

    opterr = 1;
    optind = 1;
    while ((option = getopt_long(argc, argv, "", table, NULL)) != -1) {
        switch (option) {
        case OPTION_HELP:
            print_help();
            return 0;
        case OPTION_VERSION:
            printf("rdiskd %s\n", RDISK_VERSION);
            return 0;
        case OPTION_CHECK:
            *check = true;
            break;
        case '?':
            fprintf(stderr, "rdiskd: try --help\n");
            return 2;
        }
    }
    if (optind < argc) {
        fprintf(stderr, "rdiskd: unexpected argument '%s'; try --help\n",
                argv[optind]);
        return 2;
    }
    return -1;
}

static int read_options(int argc, char **argv, const struct option *table,
                        struct config *config, struct rdisk_error *err)
{
    int option, result = 0;

    optind = 1;
    while (result == 0 &&
           (option = getopt_long(argc, argv, "", table, NULL)) != -1) {
        if (option == OPTION_VOLUME) {
            result = config_volume_parse(&config->volumes, optarg, err);
        } else if (option != OPTION_CONFIG && option != OPTION_CHECK) {
            result = config_set(config, table[option].name, optarg, err);
        }
    }
    return result;
}

int options_read(const struct command_line *line, struct config *config,
                 struct rdisk_error *err)
{
    struct option table[MAX_OPTIONS];
    int result;

    fill_table(table);
    result = read_file(line->argc, line->argv, table, config, err);
    if (result == 0) {
        result = read_options(line->argc, line->argv, table, config, err);
    }
    return result < 0 ? result : config_check(config, err);
}

int options_parse(const struct command_line *line, struct config *config)
{
    struct option table[MAX_OPTIONS];
    struct rdisk_error err;
    bool check = false;
    int result;

    fill_table(table);
    result = read_questions(line->argc, line->argv, table, &check);
    if (result >= 0) {
        return result;
    }
    if (options_read(line, config, &err) < 0) {
        fprintf(stderr, "rdiskd: %s\n", err.text);
        return 2;
    }
    if (check) {
        printf("rdiskd: the configuration is valid\n");
        return 0;
    }
    return -1;
}
