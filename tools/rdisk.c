/* SPDX-License-Identifier: BSD-3-Clause */
/* rdisk: the command line of a server's volumes, and of its connections. */
#include "tools/rdisk.h"

#include <errno.h>
#include <getopt.h>
#include <json-c/json.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tools/option.h"
#include "tools/remote.h"

#define DEFAULT_TIMEOUT 30
/* Six limits, each with -max and -max-length. */
#define LIMITS_MAX 18
/* Besides a disk's uri and socket; at least as many as there are. */
#define DISK_OPTIONS_MAX 16

static const struct {
    const char *name;
    int (*run)(const struct arguments *arguments);
    int words;           /* that must follow */
    int more;            /* words that may */
    const char *options; /* it takes, as letters of option.c */
    const char *usage;
    const char *help;
} commands[] = {
    { "create", command_create, 2, 0, "sufjRp",
      "create NAME|URI SIZE [--replace] [--preallocate] [--json]",
      "create a volume of SIZE, e.g. 10G or 10GiB, or 10GB of 1000 MB" },
    { "list", command_list, 0, 1, "sufj", "list [rdma://HOST[:PORT]/] [--json]",
      "the volumes of the server; with a URI, those that the client may open" },
    { "info", command_info, 1, 0, "sufj", "info NAME|URI [--json]",
      "what a volume is, and who has it open" },
    { "resize", command_resize, 2, 0, "sufjS",
      "resize NAME|URI SIZE [--shrink] [--json]",
      "change the size of a volume; one that is open can only grow" },
    { "delete", command_delete, 1, 0, "sufjA",
      "delete NAME|URI [--snapshots] [--json]",
      "delete a volume that no client has open" },
    { "snapshot", command_snapshot, 1, 1, "sufjC",
      "snapshot create|list|delete|revert VOLUME[@NAME]|URI [--copy] [--json]",
      "the snapshots of a volume: as it is at one moment, to be read or "
      "reverted to" },
    { "clone", command_clone, 2, 0, "sufjC",
      "clone VOLUME[@NAME]|URI NEW [--copy] [--json]",
      "create a volume with the data of another one, or of a snapshot" },
    { "flatten", command_flatten, 1, 0, "sufj", "flatten NAME|URI [--json]",
      "copy what a clone shares with another volume, so that it needs that one "
      "no more" },
    { "fence", command_fence, 1, 0, "sj", "fence NAME [--json]",
      "revoke write access to a volume from its present clients" },
    { "stat", command_stat, 0, 0, "sjP", "stat [--json | --prometheus]",
      "the server: its reactors, sessions, volumes and counters" },
    { "top", command_top, 0, 0, "scikj",
      "top [--sort COLUMN] [--interval SECONDS] [--count N] [--json]",
      "requests, bytes and latencies of each volume, every second" },
    { "drain", command_drain, 0, 1, "stjm",
      "drain [VOLUME] [--to SERVER] [--timeout SECONDS] [--json]",
      "accept no new sessions and wait until the present ones have ended" },
    { "resume", command_resume, 0, 1, "sj", "resume [VOLUME] [--json]",
      "accept sessions again" },
    { "reload", command_reload, 0, 0, "sj", "reload [--json]",
      "have the server read its configuration again" },
    { "throttle", command_throttle, 1, LIMITS_MAX, "slj",
      "throttle NAME [--client] [off | configured | LIMIT=VALUE...] [--json]",
      "limits of requests and bytes a second of a volume, or of a client" },
    { "add", command_add, 3, DISK_OPTIONS_MAX, "stj",
      "add NAME uri=URI socket=PATH [OPTION=VALUE]... [--timeout SECONDS]",
      "rdisk-vhost: add a disk, and wait until its socket listens" },
    { "remove", command_remove, 1, 0, "stj",
      "remove NAME [--timeout SECONDS] [--json]",
      "rdisk-vhost: disconnect the guest and remove its disk" },
    { "map", command_map, 1, 0, "ujf", "map URI [--json]",
      "where a volume has data, and its allocated size on the server" },
    { "ping", command_ping, 1, 0, "ciujf",
      "ping URI [--count N] [--interval SECONDS] [--json]",
      "connect, report each step, then measure round trips" },
    { "bench", command_bench, 1, 0, "ujfdbrwxTDi",
      "bench URI [--read | --write --destroy-data] [OPTION]...",
      "measure requests per second, throughput and latency" },
    { "import", command_import, 2, 0, "ujf", "import FILE URI",
      "write a raw image to a volume" },
    { "export", command_export, 2, 0, "ujfR", "export URI FILE [--replace]",
      "write a volume to a raw image" },
    { "secret", command_secret, 0, 0, "j", "secret [--json]",
      "a new random secret, to be stored in a file on each side" },
};

#define COMMANDS (sizeof(commands) / sizeof(commands[0]))

/* ---- Errors ------------------------------------------------------------- */

static bool json_errors;
static int status_of_error; /* EXIT_…, of the first error that has one */

void errors_in_json(void)
{
    json_errors = true;
}

static int status_of(int code)
{
    switch (-code) {
    case ENOENT:
        return EXIT_NOT_FOUND;
    case EACCES:
    case EPERM:
        return EXIT_DENIED;
    case EBUSY:
    case ESTALE:
    case ESHUTDOWN:
        return EXIT_BUSY;
    case ECONNREFUSED:
    case ECONNRESET:
    case EHOSTUNREACH:
    case ENETUNREACH:
    case ENOTCONN:
    case ETIMEDOUT:
        return EXIT_NO_ANSWER;
    default:
        return EXIT_FAILED;
    }
}

static void print_error(int code, const char *text)
{
    const char *name = code < 0 ? strerrorname_np(-code) : NULL;
    struct json_object *object;

    fflush(stdout);
    if (!json_errors) {
        fprintf(stderr, "rdisk: %s\n", text);
        return;
    }
    object = json_object_new_object();
    json_object_object_add(object, "error", json_object_new_string(text));
    if (name) {
        json_object_object_add(object, "code", json_object_new_string(name));
    }
    fprintf(stderr, "%s\n",
            json_object_to_json_string_ext(object, JSON_C_TO_STRING_PLAIN));
    json_object_put(object);
}

int failed(const char *format, ...)
{
    char text[1024];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    print_error(0, text);
    return EXIT_FAILED;
}

int failed_code(int code, const char *format, ...)
{
    char text[1024];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    print_error(code, text);
    if (!status_of_error) {
        status_of_error = status_of(code);
    }
    return EXIT_FAILED;
}

/* ---- Results ------------------------------------------------------------ */

void print_json(struct json_object *object)
{
    puts(json_object_to_json_string_ext(object, JSON_C_TO_STRING_PRETTY));
}

void print_progress(uint64_t done, uint64_t size, bool ended)
{
    if (isatty(STDERR_FILENO) && size) {
        fprintf(stderr, "\r%3.0f %%%s", 100.0 * done / size, ended ? "\n" : "");
    }
}

int print_done(const struct arguments *arguments, const char *name,
               const uint64_t *size)
{
    struct json_object *object;

    if (arguments->json) {
        object = json_object_new_object();
        json_object_object_add(object, "name", json_object_new_string(name));
        if (size) {
            json_object_object_add(object, "size",
                                   json_object_new_uint64(*size));
        }
        print_json(object);
        json_object_put(object);
    }
    return EXIT_OK;
}

/* ---- Help --------------------------------------------------------------- */

static void print_help(void)
{
    printf("Usage: rdisk COMMAND [OPTION]...\n\n");
    for (size_t i = 0; i < COMMANDS; i++) {
        printf("  rdisk %s\n        %s\n", commands[i].usage, commands[i].help);
    }
    printf("  rdisk help COMMAND\n        the options of a command\n"
           "  rdisk completion bash|zsh\n        a script for that shell\n\n");
    options_print(NULL);
    printf("\nA URI is rdma://HOST[:PORT]/VOLUME. See rdisk(1).\n");
}

static int print_command_help(size_t command)
{
    printf("Usage: rdisk %s\n\n  %s\n\n", commands[command].usage,
           commands[command].help);
    options_print(commands[command].options);
    return EXIT_OK;
}

/* The index of a command, or COMMANDS with an error. */
static size_t find_command(const char *name)
{
    for (size_t i = 0; i < COMMANDS; i++) {
        if (strcmp(commands[i].name, name) == 0) {
            return i;
        }
    }
    failed("there is no command '%s'; try --help", name);
    return COMMANDS;
}

static int help_on(const struct arguments *arguments)
{
    size_t command;

    if (!arguments->words_count) {
        print_help();
        return EXIT_OK;
    }
    command = find_command(arguments->words[0]);
    return command < COMMANDS ? print_command_help(command) : EXIT_USAGE;
}

/* ---- Completion --------------------------------------------------------- */

/* zsh takes bash's, with bashcompinit. */
static int print_completion(const struct arguments *arguments)
{
    const char *shell = arguments->words_count ? arguments->words[0] : "";
    bool zsh = strcmp(shell, "zsh") == 0;

    if (!zsh && strcmp(shell, "bash") != 0) {
        fprintf(stderr, "Usage: rdisk completion bash|zsh\n");
        return EXIT_USAGE;
    }
    printf("%s# Made by: rdisk completion %s\n", zsh ? "#compdef rdisk\n" : "",
           shell);
    if (zsh) {
        printf("autoload -Uz bashcompinit && bashcompinit\n");
    }
    printf("_rdisk()\n{\n    local word=${COMP_WORDS[COMP_CWORD]} words=\n"
           "    COMPREPLY=()\n"
           "    case ${COMP_WORDS[COMP_CWORD-1]} in\n"
           "    --control|--secret-file)\n"
           "        COMPREPLY=($(compgen -f -- \"$word\"))\n        return ;;\n"
           "    esac\n    if [ \"$COMP_CWORD\" -eq 1 ]; then\n"
           "        words=\"help completion");
    for (size_t i = 0; i < COMMANDS; i++) {
        printf(" %s", commands[i].name);
    }
    printf(" --help --version\"\n    else\n"
           "        case ${COMP_WORDS[1]} in\n");
    for (size_t i = 0; i < COMMANDS; i++) {
        printf("        %s) words=\"--help", commands[i].name);
        options_print_names(commands[i].options);
        printf("\" ;;\n");
    }
    printf("        completion) words=\"bash zsh\" ;;\n        esac\n    fi\n"
           "    COMPREPLY=($(compgen -W \"$words\" -- \"$word\"))\n}\n"
           "complete -F _rdisk rdisk\n");
    return EXIT_OK;
}

/* ---- The command line --------------------------------------------------- */

/* True if each option is for a volume that is named as this one is. */
static bool options_fit(const struct arguments *arguments)
{
    bool uri = arguments->uri && remote_is_uri(arguments->uri);

    for (const char *given = arguments->given; *given; given++) {
        if (strchr(uri ? "spAC" : "uf", *given)) {
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

static int run(size_t command, struct arguments *arguments)
{
    int optional = arguments->words_count - commands[command].words;

    if (optional < 0 || optional > commands[command].more) {
        fprintf(stderr, "Usage: rdisk %s\n", commands[command].usage);
        return EXIT_USAGE;
    }
    for (const char *one = arguments->given; *one; one++) {
        if (!strchr(commands[command].options, *one)) {
            failed("%s does not take --%s; usage: rdisk %s",
                   commands[command].name, option_name(*one),
                   commands[command].usage);
            return EXIT_USAGE;
        }
    }
    arguments->uri = !arguments->words_count ? NULL
                     : commands[command].run == command_import ||
                             (commands[command].run == command_snapshot &&
                              arguments->words_count > 1)
                         ? arguments->words[1]
                         : arguments->words[0];
    return options_fit(arguments) ? commands[command].run(arguments)
                                  : EXIT_USAGE;
}

int main(int argc, char **argv)
{
    struct arguments arguments = {
        .control = DEFAULT_CONTROL,
        .interval = 1,
        .timeout = DEFAULT_TIMEOUT,
    };
    size_t command;
    int result = options_read(argc, argv, &arguments);

    if (result >= 0) {
        return result;
    }
    if (optind == argc) {
        print_help();
        return arguments.help ? EXIT_OK : EXIT_USAGE;
    }
    arguments.words = argv + optind + 1;
    arguments.words_count = argc - optind - 1;
    if (strcmp(argv[optind], "help") == 0) {
        return help_on(&arguments);
    }
    if (strcmp(argv[optind], "completion") == 0) {
        return print_completion(&arguments);
    }
    command = find_command(argv[optind]);
    if (command == COMMANDS) {
        return EXIT_USAGE;
    }
    if (arguments.help) {
        return print_command_help(command);
    }
    result = run(command, &arguments);
    return result == EXIT_FAILED && status_of_error ? status_of_error : result;
}
