/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Many clients connect at once, some of them in each of several processes, and
 * all stay until the last one is open:
 *
 *   rdisk-storm CLIENTS PROCESSES rdma://HOST[:PORT]/VOLUME[?OPTIONS]
 *
 * Prints how long it took from their common start until the first, the middle
 * and the last one were open, and that time divided by their number; ends with
 * 1 if one of them fails, with its reason.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <rdisk/initiator.h>
#include <rdisk/uri.h>

#define CLIENTS_MAX 4096u

struct client {
    uint64_t open;   /* ns after the start; 0: not yet */
    uint64_t epoch;  /* attempts, from 1 on */
    char error[320]; /* why it has failed */
    struct rdisk_initiator_steps steps;
};

/* Shared by all processes. */
struct storm {
    volatile unsigned int ready; /* processes that wait for the start */
    volatile uint64_t began;
    volatile bool over;
    struct client clients[CLIENTS_MAX];
};

static struct storm *storm;

static int set_option(void *opaque, const char *name, const char *value,
                      struct rdisk_error *err)
{
    return rdisk_initiator_option_set(opaque, name, value, err);
}

/* ---- The clients of one process ------------------------------------------ */

/* It is not open any more, or will not be. */
static void fail(struct client *client, const struct rdisk_error *err)
{
    if (!client->error[0]) {
        snprintf(client->error, sizeof(client->error), "%s", err->text);
    }
}

/* After something has happened to it. */
static void look(struct client *client, struct rdisk_initiator *session)
{
    switch (rdisk_initiator_state(session)) {
    case RDISK_INITIATOR_READY:
        if (!client->open) {
            client->epoch = rdisk_initiator_info(session)->epoch;
            rdisk_initiator_steps(session, &client->steps);
            client->open = rdisk_now(&rdisk_env_system) - storm->began;
        }
        break;
    case RDISK_INITIATOR_FAILED:
        fail(client, rdisk_initiator_error(session));
        break;
    default:
        break;
    }
}

static void serve(struct client *clients, struct rdisk_initiator **sessions,
                  unsigned int count, int poll_fd)
{
    struct epoll_event events[64];

    while (!storm->over) {
        int n = epoll_wait(poll_fd, events, 64, 100);

        for (int i = 0; i < n; i++) {
            unsigned int each = events[i].data.u32;

            rdisk_initiator_process(sessions[each]);
            look(&clients[each], sessions[each]);
        }
    }
    for (unsigned int i = 0; i < count; i++) {
        if (rdisk_initiator_state(sessions[i]) == RDISK_INITIATOR_READY) {
            rdisk_initiator_close(sessions[i]);
        }
    }
    for (unsigned int i = 0; i < count; i++) {
        struct rdisk_error err;

        rdisk_initiator_wait(sessions[i], &err);
        rdisk_initiator_destroy(sessions[i]);
    }
}

static void run(struct client *clients, unsigned int count,
                const struct rdisk_initiator_options *options)
{
    struct rdisk_initiator **sessions = calloc(count, sizeof(sessions[0]));
    int poll_fd = epoll_create1(EPOLL_CLOEXEC);
    struct rdisk_error err = { 0 };

    for (unsigned int i = 0; i < count; i++) {
        struct epoll_event event = { .events = EPOLLIN, .data.u32 = i };

        sessions[i] = rdisk_initiator_create(&rdisk_env_system, options, NULL,
                                             NULL, &err);
        if (!sessions[i] ||
            epoll_ctl(poll_fd, EPOLL_CTL_ADD, rdisk_initiator_fd(sessions[i]),
                      &event) < 0) {
            fprintf(stderr, "cannot create client %u: %s\n", i, err.text);
            exit(2);
        }
    }
    __atomic_add_fetch(&storm->ready, 1, __ATOMIC_SEQ_CST);
    while (!storm->began) {
        usleep(1000);
    }
    for (unsigned int i = 0; i < count; i++) {
        rdisk_initiator_start(sessions[i], NULL);
        look(&clients[i], sessions[i]);
    }
    serve(clients, sessions, count, poll_fd);
    free(sessions);
    close(poll_fd);
}

/* ---- What came of it ---------------------------------------------------- */

static int by_time(const void *a, const void *b)
{
    uint64_t left = ((const struct client *)a)->open;
    uint64_t right = ((const struct client *)b)->open;

    return (left > right) - (left < right);
}

/* All are open, or have failed. */
static bool settled(unsigned int count)
{
    for (unsigned int i = 0; i < count; i++) {
        const struct client *client = &storm->clients[i];

        if (!client->open && !client->error[0]) {
            return false;
        }
    }
    return true;
}

static int report(unsigned int count)
{
    struct client *clients = storm->clients;
    unsigned int failed = 0, again = 0;
    struct rdisk_initiator_steps sum = { 0 };

    for (unsigned int i = 0; i < count; i++) {
        if (clients[i].error[0]) {
            failed++;
            printf("client %u: %s\n", i, clients[i].error);
        }
        again += clients[i].epoch > 1;
        sum.connect += clients[i].steps.connect;
        sum.hello += clients[i].steps.hello;
        sum.open += clients[i].steps.open;
        sum.join += clients[i].steps.join;
    }
    qsort(clients, count, sizeof(clients[0]), by_time);
    printf("%u open, %u failed, %u of them not at the first attempt; "
           "first %.2f s, middle %.2f s, last %.2f s, %.1f ms each\n",
           count - failed, failed, again, clients[failed].open / 1e9,
           clients[failed + (count - failed) / 2].open / 1e9,
           clients[count - 1].open / 1e9,
           clients[count - 1].open / 1e6 / count);
    printf("mean of the steps: connect %.0f ms, hello %.0f ms, open %.0f ms, "
           "queues %.0f ms\n",
           sum.connect / 1e6 / count, sum.hello / 1e6 / count,
           sum.open / 1e6 / count, sum.join / 1e6 / count);
    return failed ? 1 : 0;
}

/* True if a process has ended early, which none should. */
static bool one_is_gone(void)
{
    return waitpid(-1, NULL, WNOHANG) > 0;
}

static int watch(unsigned int count, unsigned int processes)
{
    while (storm->ready < processes) {
        if (one_is_gone()) {
            return 2;
        }
        usleep(1000);
    }
    storm->began = rdisk_now(&rdisk_env_system);
    while (!settled(count)) {
        if (one_is_gone()) {
            return 2;
        }
        usleep(10000);
    }
    return report(count);
}

int main(int argc, char **argv)
{
    struct rdisk_initiator_options options;
    unsigned int count = 0, processes = 0;
    struct rdisk_error err;
    struct rdisk_uri uri;
    int result;

    if (argc == 4) {
        count = (unsigned int)atoi(argv[1]);
        processes = (unsigned int)atoi(argv[2]);
    }
    if (count < 1 || count > CLIENTS_MAX || processes < 1 ||
        count % processes) {
        fprintf(stderr, "usage: %s CLIENTS PROCESSES URI\n", argv[0]);
        return 2;
    }
    rdisk_initiator_options_init(&options);
    if (rdisk_uri_parse(argv[3], &uri, set_option, &options, &err) < 0) {
        fprintf(stderr, "%s\n", err.text);
        return 2;
    }
    options.host = uri.host;
    options.servers = uri.servers;
    options.port = uri.port;
    options.volume = uri.volume;
    storm = mmap(NULL, sizeof(*storm), PROT_READ | PROT_WRITE,
                 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (storm == MAP_FAILED) {
        perror("mmap");
        return 2;
    }
    for (unsigned int i = 0; i < processes; i++) {
        if (fork() == 0) {
            run(&storm->clients[i * (count / processes)], count / processes,
                &options);
            _exit(0);
        }
    }
    result = watch(count, processes);
    storm->over = true;
    while (wait(NULL) > 0 || errno == EINTR) {
    }
    return result;
}
