/* SPDX-License-Identifier: BSD-3-Clause */
/* What the commands of rdisk share. */
#ifndef TOOLS_RDISK_H
#define TOOLS_RDISK_H

#include <stdbool.h>
#include <stdint.h>

/* The command line, read. */
#define ARGUMENTS_GIVEN_MAX 32

struct arguments {
    char given[ARGUMENTS_GIVEN_MAX + 1]; /* letters of the options; option.h */
    const char *control;                 /* path of the server's socket */
    bool json;
    bool prometheus;          /* metrics instead */
    bool help;                /* on the command, instead of running it */
    bool version;             /* is to be printed instead */
    unsigned int count;       /* of pings or tables; 0: not given */
    double interval;          /* seconds between them */
    double timeout;           /* seconds to wait for a drain */
    bool replace;             /* a volume of the same name */
    bool preallocate;         /* the new volume's space */
    bool shrink;              /* it may get smaller */
    bool copy;                /* the data, where it cannot be shared */
    bool snapshots;           /* they are deleted, too */
    bool client;              /* the name is a client's */
    unsigned int depth;       /* requests at a time; 0: not given */
    unsigned int block_size;  /* bytes; 0: not given */
    bool read, write, random; /* what bench does */
    bool destroy_data;        /* of the volume: bench may write */
    const char *sort;         /* column of top; NULL: the default */
    const char *to;           /* the server that clients are to go on at */
    double time;              /* seconds of bench; 0: not given */
    const char *user;         /* with a URI; NULL: none */
    const char *secret_file;
    const char *uri; /* the word that may be one; NULL: there is none */
    char **words;    /* what follows the command */
    int words_count;
};

/* Exit statuses; rdisk(1) documents them. */
enum {
    EXIT_OK = 0,
    EXIT_FAILED = 1,    /* it was tried */
    EXIT_USAGE = 2,     /* it makes no sense */
    EXIT_NOT_FOUND = 3, /* there is no such volume */
    EXIT_DENIED = 4,    /* this user, or client, may not */
    EXIT_BUSY = 5,      /* a volume is open, kept or drained */
    EXIT_NO_ANSWER = 6, /* the server is not there, or does not answer */
};

/*
 * Report an error on stderr: "rdisk: …", or with -o json an object with the
 * members "error" and, if @code is a negative errno, "code". Return
 * EXIT_FAILED, and the exit status that fits the code. The program ends with
 * the status of the first error.
 */
int failed(const char *format, ...) __attribute__((format(printf, 1, 2)));
int failed_code(int code, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* From now on. */
void errors_in_json(void);

struct json_object;
/* Print @object on stdout. */
void print_json(struct json_object *object);
/* With -o json, print what a command has done that prints nothing else:
 * {"name": @name}, with the size in bytes if it is not NULL. EXIT_OK. */
int print_done(const struct arguments *arguments, const char *name,
               const uint64_t *size);

/* How far something is that takes long, on a terminal. */
void print_progress(uint64_t done, uint64_t size, bool ended);

/* info.c: what the server's reply to "usage" says. */
void usage_print(struct json_object *usage);
/* rdisk info NAME. */
int server_info(const struct arguments *arguments);
/* Each runs a command and returns the exit status. */
int command_add(const struct arguments *arguments);
int command_remove(const struct arguments *arguments);
int command_create(const struct arguments *arguments);
int command_delete(const struct arguments *arguments);
int command_snapshot(const struct arguments *arguments);
int command_clone(const struct arguments *arguments);
int command_flatten(const struct arguments *arguments);
int command_resize(const struct arguments *arguments);
int command_fence(const struct arguments *arguments);
int command_info(const struct arguments *arguments);
int command_bench(const struct arguments *arguments);
int command_import(const struct arguments *arguments);
int command_export(const struct arguments *arguments);
int command_list(const struct arguments *arguments);
int command_stat(const struct arguments *arguments);
int command_top(const struct arguments *arguments);
int command_drain(const struct arguments *arguments);
int command_resume(const struct arguments *arguments);
int command_reload(const struct arguments *arguments);
int command_throttle(const struct arguments *arguments);
int command_map(const struct arguments *arguments);
int command_ping(const struct arguments *arguments);
int command_secret(const struct arguments *arguments);

#endif
