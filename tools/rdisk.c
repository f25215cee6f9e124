/* SPDX-License-Identifier: BSD-3-Clause */
/* rdisk: the command line of a server's volumes, and of its connections. */
#include "tools/rdisk.h"

#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/remote.h"

#define DEFAULT_CONTROL "/run/rdiskd/control.sock"
#define DEFAULT_TIMEOUT 30
/* Besides a disk's uri and socket; at least as many as there are. */
#define DISK_OPTIONS_MAX 16

static const struct {
    const char *name;
    int (*run)(const struct arguments *arguments);
    int words;           /* that must follow */
    int more;            /* words that may */
    const char *options; /* it takes, as letters of the table below */
    const char *usage;
    const char *help;
} commands[] = {
    { "create", command_create, 2, 0, "sufR",
      "create NAME|URI SIZE [--replace]",
      "create a volume of SIZE bytes (k, M, G, T are powers of 1024)" },
    { "list", command_list, 0, 0, "sj", "list [--json]",
      "the volumes of the server" },
    { "resize", command_resize, 2, 0, "sufS", "resize NAME|URI SIZE [--shrink]",
      "change the size of a volume; one that is open can only grow" },
    { "delete", command_delete, 1, 0, "s", "delete NAME",
      "delete a volume that no client has open" },
    { "fence", command_fence, 1, 0, "s", "fence NAME",
      "revoke write access to a volume from its present clients" },
    { "stat", command_stat, 0, 0, "sj", "stat [--json]",
      "the server: its reactors, sessions, volumes and counters" },
    { "top", command_top, 0, 0, "sci", "top [--interval SECONDS] [--count N]",
      "requests, bytes and latencies of each volume, every second" },
    { "drain", command_drain, 0, 1, "st", "drain [VOLUME] [--timeout SECONDS]",
      "accept no new sessions and wait until the present ones have ended" },
    { "resume", command_resume, 0, 1, "s", "resume [VOLUME]",
      "accept sessions again" },
    { "reload", command_reload, 0, 0, "sj", "reload [--json]",
      "have the server read its configuration again" },
    { "add", command_add, 3, DISK_OPTIONS_MAX, "s",
      "add NAME uri=URI socket=PATH [OPTION=VALUE]...",
      "rdisk-vhost: add a disk" },
    { "remove", command_remove, 1, 0, "s", "remove NAME",
      "rdisk-vhost: disconnect the guest and remove its disk" },
    { "map", command_map, 1, 0, "ujf", "map URI [--json]",
      "where a volume has data, and its allocated size on the server" },
    { "ping", command_ping, 1, 0, "ciuf",
      "ping URI [--count N] [--interval SECONDS]",
      "connect, report each step, then measure round trips" },
    { "secret", command_secret, 0, 0, "", "secret",
      "a new random secret, to be stored in a file on each side" },
};

#define COMMANDS (sizeof(commands) / sizeof(commands[0]))

static const struct option options[] = {
    { "control", required_argument, NULL, 's' },
    { "json", no_argument, NULL, 'j' },
    { "count", required_argument, NULL, 'c' },
    { "interval", required_argument, NULL, 'i' },
    { "timeout", required_argument, NULL, 't' },
    { "replace", no_argument, NULL, 'R' },
    { "shrink", no_argument, NULL, 'S' },
    { "user", required_argument, NULL, 'u' },
    { "secret-file", required_argument, NULL, 'f' },
    { "help", no_argument, NULL, 'h' },
    { "version", no_argument, NULL, 'v' },
    { 0 },
};

int failed(const char *format, ...)
{
    va_list args;

    fflush(stdout);
    fprintf(stderr, "rdisk: ");
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fprintf(stderr, "\n");
    return EXIT_FAILED;
}

static void print_help(void)
{
    printf("Usage: rdisk COMMAND [OPTION]...\n\n");
    for (size_t i = 0; i < COMMANDS; i++) {
        printf("  rdisk %s\n        %s\n", commands[i].usage, commands[i].help);
    }
    printf("\n  --control PATH\n"
           "        control socket of the server, or of rdisk-vhost for list,\n"
           "        stat, drain, resume, add and remove; default\n"
           "        " DEFAULT_CONTROL "\n"
           "  --user NAME --secret-file FILE\n"
           "        for a URI, rdma://HOST[:PORT]/VOLUME, whose server\n"
           "        requires authentication\n"
           "  --help\n"
           "  --version\n"
           "\n"
           "See rdisk(1).\n");
}

static bool parse_number(const char *text, double min, double max,
                         double *number)
{
    char *end;

    *number = strtod(text, &end);
    return end != text && !*end && *number >= min && *number <= max;
}

/* Returns -1 to go on, else the exit status. */
static int read_options(int argc, char **argv, struct arguments *arguments,
                        char *given)
{
    int option;

    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        double number;

        switch (option) {
        case 's':
            arguments->control = optarg;
            break;
        case 'j':
            arguments->json = true;
            break;
        case 'c':
            if (!parse_number(optarg, 1, 1e9, &number) ||
                number != (unsigned int)number) {
                failed("--count %s is not 1…1000000000", optarg);
                return EXIT_USAGE;
            }
            arguments->count = number;
            break;
        case 'i':
            if (!parse_number(optarg, 0, 3600, &arguments->interval)) {
                failed("--interval %s is not 0…3600 seconds", optarg);
                return EXIT_USAGE;
            }
            break;
        case 't':
            if (!parse_number(optarg, 0, 86400, &arguments->timeout)) {
                failed("--timeout %s is not 0…86400 seconds", optarg);
                return EXIT_USAGE;
            }
            break;
        case 'R':
            arguments->replace = true;
            break;
        case 'S':
            arguments->shrink = true;
            break;
        case 'u':
            arguments->user = optarg;
            break;
        case 'f':
            arguments->secret_file = optarg;
            break;
        case 'h':
            print_help();
            return EXIT_OK;
        case 'v':
            printf("rdisk %s\n", RDISK_VERSION);
            return EXIT_OK;
        default:
            fprintf(stderr, "rdisk: try --help\n");
            return EXIT_USAGE;
        }
        if (!strchr(given, option)) {
            given[strlen(given)] = option;
        }
    }
    return -1;
}

static const char *option_name(int letter)
{
    const struct option *option = options;

    while (option->val != letter) {
        option++;
    }
    return option->name;
}

/* Is each option of use with a volume named so? */
static bool options_fit(const struct arguments *arguments, const char *given)
{
    bool uri = arguments->words_count && remote_is_uri(arguments->words[0]);

    for (; *given; given++) {
        if (strchr(uri ? "s" : "uf", *given)) {
            failed(uri ? "--%s is for volumes of this machine's server, not "
                         "for a URI"
                       : "--%s is for a URI, not for volumes of this "
                         "machine's server",
                   option_name(*given));
            return false;
        }
    }
    return true;
}

static int run(size_t command, const struct arguments *arguments,
               const char *given)
{
    int optional = arguments->words_count - commands[command].words;

    if (optional < 0 || optional > commands[command].more) {
        fprintf(stderr, "Usage: rdisk %s\n", commands[command].usage);
        return EXIT_USAGE;
    }
    for (const char *one = given; *one; one++) {
        if (!strchr(commands[command].options, *one)) {
            failed("%s does not take --%s; usage: rdisk %s",
                   commands[command].name, option_name(*one),
                   commands[command].usage);
            return EXIT_USAGE;
        }
    }
    return options_fit(arguments, given) ? commands[command].run(arguments)
                                         : EXIT_USAGE;
}

int main(int argc, char **argv)
{
    struct arguments arguments = {
        .control = DEFAULT_CONTROL,
        .interval = 1,
        .timeout = DEFAULT_TIMEOUT,
    };
    char given[sizeof(options) / sizeof(options[0])] = "";
    int result = read_options(argc, argv, &arguments, given);

    if (result >= 0) {
        return result;
    }
    if (optind == argc) {
        print_help();
        return EXIT_USAGE;
    }
    arguments.words = argv + optind + 1;
    arguments.words_count = argc - optind - 1;
    for (size_t i = 0; i < COMMANDS; i++) {
        if (strcmp(commands[i].name, argv[optind]) == 0) {
            return run(i, &arguments, given);
        }
    }
    failed("there is no command '%s'; try --help", argv[optind]);
    return EXIT_USAGE;
}
