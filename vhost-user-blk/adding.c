/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vhost-user-blk/adding.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

#include "common/log.h"
#include "common/thread.h"

struct adding {
    struct adding *next;
    struct control_call *call; /* NULL: it has been answered */
    uint64_t deadline;         /* of the answer */
    int home_fd;               /* eventfd: the options are there */
    pthread_t thread;
    struct json_object *request; /* read by the thread */
    /* The thread's, until it has set @ready; the name does not change. */
    struct disk_options options;
    struct rdisk_error err; /* code 0: the options are complete */
    _Atomic bool ready;
};

static void answer(struct adding *adding, const struct rdisk_error *err)
{
    if (adding->call) {
        control_answer(adding->call,
                       err->code ? control_error(err) : strdup("{}"));
        adding->call = NULL;
    } else if (err->code) {
        log_warning("%s", err->text);
    }
}

/* daemon_add() may have taken the options over. */
static void release(struct adding *adding)
{
    json_object_put(adding->request);
    free(adding);
}

/* ---- The thread ---------------------------------------------------------- */

static void set_options(struct adding *adding)
{
    json_object_object_foreach(adding->request, key, value)
    {
        if (strcmp(key, "op") == 0 || strcmp(key, "name") == 0) {
            continue;
        }
        if (!json_object_is_type(value, json_type_string)) {
            rdisk_error_set(&adding->err, -EINVAL, "\"%.40s\" is not a string",
                            key);
            return;
        }
        if (disk_options_set(&adding->options, key,
                             json_object_get_string(value), &adding->err) < 0) {
            return;
        }
    }
    disk_options_check(&adding->options, &adding->err);
}

static void *run(void *argument)
{
    struct adding *adding = argument;

    thread_role = THREAD_WORKER;
    set_options(adding);
    atomic_store(&adding->ready, true);
    eventfd_write(adding->home_fd, 1);
    return NULL;
}

static int start_thread(struct adding *adding, struct rdisk_error *err)
{
    sigset_t all, before;
    int ret;

    /* Signals are the daemon's main thread's. */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    ret = pthread_create(&adding->thread, NULL, run, adding);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (ret) {
        return rdisk_error_set(err, -ret,
                               "cannot start a thread for the options of disk "
                               "'%s': %s",
                               adding->options.name, strerror(ret));
    }
    pthread_setname_np(adding->thread, "disk-options");
    return 0;
}

/* ---- The control thread -------------------------------------------------- */

static unsigned int count(const struct daemon *daemon)
{
    unsigned int n = 0;

    for (const struct adding *one = daemon->adding; one; one = one->next) {
        n++;
    }
    return n;
}

void adding_start(struct daemon *daemon, const char *name,
                  struct json_object *request, struct control_call *call)
{
    struct adding *adding = calloc(1, sizeof(*adding));
    struct rdisk_error err = { 0 };

    assert_control_thread();
    if (!adding || disk_options_init(&adding->options, name) < 0) {
        free(adding);
        control_answer(call, NULL);
        return;
    }
    adding->call = call;
    adding->home_fd = daemon->disk_fd;
    adding->deadline = rdisk_now(daemon->env) + ADDING_MS * RDISK_MSEC;
    adding->request = json_object_get(request);
    if (count(daemon) == ADDING_MAX) {
        rdisk_error_set(&err, -EBUSY,
                        "disk '%s' is not added: the options of %u others are "
                        "being looked up",
                        name, ADDING_MAX);
    } else {
        start_thread(adding, &err);
    }
    if (err.code) {
        answer(adding, &err);
        disk_options_free(&adding->options);
        release(adding);
        return;
    }
    adding->next = daemon->adding;
    daemon->adding = adding;
}

static void finish(struct daemon *daemon, struct adding *adding)
{
    pthread_join(adding->thread, NULL);
    if (adding->err.code || !adding->call) {
        disk_options_free(&adding->options);
    } else {
        /* A session uses one queue on each reactor. */
        adding->options.initiator.queues = daemon->reactor_count;
        daemon_add(daemon, &adding->options, &adding->err);
    }
    answer(adding, &adding->err);
    release(adding);
}

void adding_finish(struct daemon *daemon)
{
    struct adding **link = &daemon->adding, *adding;

    assert_control_thread();
    while ((adding = *link)) {
        if (atomic_load(&adding->ready)) {
            *link = adding->next;
            finish(daemon, adding);
        } else {
            link = &adding->next;
        }
    }
}

uint64_t adding_deadline(const struct daemon *daemon)
{
    uint64_t deadline = RDISK_NEVER;

    for (const struct adding *one = daemon->adding; one; one = one->next) {
        if (one->call && one->deadline < deadline) {
            deadline = one->deadline;
        }
    }
    return deadline;
}

void adding_check_time(struct daemon *daemon, uint64_t now)
{
    for (struct adding *one = daemon->adding; one; one = one->next) {
        struct rdisk_error err;

        if (one->call && now >= one->deadline && !atomic_load(&one->ready)) {
            rdisk_error_set(&err, -ETIMEDOUT,
                            "disk '%s' is not added: its owner, group and "
                            "secret-file have not been looked up within %u "
                            "seconds",
                            one->options.name, ADDING_MS / 1000);
            answer(one, &err);
        }
    }
}
