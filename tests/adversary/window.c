/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Whether this device holds memory windows to their bounds:
 *
 *   adversary-window ADDRESS PORT
 *
 * One process binds a type-2 window on the middle one of three pages; another
 * writes through it, inside, which has to arrive, then before it, behind it,
 * and across its end. Each is a connection of its own, since a refusal ends
 * it. Tells what became of each. Exits with 0 if the device refused all that
 * was outside, 1 if it let something through, 2 if that cannot be found out.
 */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "end.h"

#define PAGE   4096u
#define LENGTH 64u /* of each write */

static const struct {
    const char *name;
    int offset; /* from the window's beginning */
} places[] = {
    { "before", -(int)LENGTH },
    { "behind", PAGE },
    { "across", PAGE - LENGTH / 2 },
};
#define PLACES (sizeof(places) / sizeof(places[0]))

/* What the one tells the other, before and after. */
struct opening {
    uint64_t address;
    uint32_t key;
};

static void put(int fd, const void *data, size_t length)
{
    if (write(fd, data, length) != (ssize_t)length) {
        die("the other process is gone");
    }
}

static void get(int fd, void *data, size_t length)
{
    struct pollfd pollfd = { .fd = fd, .events = POLLIN };

    if (poll(&pollfd, 1, 2 * END_WAIT_MS) != 1 ||
        read(fd, data, length) != (ssize_t)length) {
        die("the other process says nothing");
    }
}

/* ---- Who writes -------------------------------------------------------- */

static void write_through(struct end *listener, int from, int to, int offset)
{
    struct opening opening;
    enum ibv_wc_status status;
    struct end end;

    end_take(&end, listener);
    end_accept(&end, NULL, 0);
    get(from, &opening, sizeof(opening));
    memset(end.buffer + END_SAY, 0xee, LENGTH);
    status = end_write(&end, END_SAY, LENGTH, opening.address, opening.key, -1);
    if (status != IBV_WC_SUCCESS) {
        die("a write inside the window: %s", ibv_wc_status_str(status));
    }
    status = end_write(&end, END_SAY, LENGTH,
                       opening.address + (uint64_t)(int64_t)offset, opening.key,
                       -1);
    put(to, &status, sizeof(status));
    /* Until the other one has looked at its memory. */
    get(from, &opening, sizeof(opening));
    end_close(&end);
}

static void write_to_all(const char *address, const char *port, int from,
                         int to)
{
    struct end listener;

    end_listen(&listener, address, port);
    put(to, "", 1);
    for (unsigned int i = 0; i < PLACES; i++) {
        write_through(&listener, from, to, places[i].offset);
    }
    end_close(&listener);
}

/* ---- Whose memory it is ------------------------------------------------ */

/* On the second of the region's three pages. */
static void bind_window(struct end *end, struct ibv_mr *mr, struct ibv_mw *mw,
                        struct opening *opening)
{
    struct ibv_send_wr wr = {
        .opcode = IBV_WR_BIND_MW,
        .send_flags = IBV_SEND_SIGNALED,
        .bind_mw = {
            .mw = mw,
            .rkey = ibv_inc_rkey(mw->rkey),
            .bind_info = {
                .mr = mr,
                .addr = (uintptr_t)mr->addr + PAGE,
                .length = PAGE,
                .mw_access_flags = IBV_ACCESS_REMOTE_WRITE,
            },
        },
    };
    struct ibv_send_wr *bad;
    struct ibv_wc wc;
    int taken = 0;

    if (ibv_post_send(end->id->qp, &wr, &bad)) {
        die("the bind of a window cannot be posted");
    }
    for (int tries = 0; tries < END_WAIT_MS && !taken; tries++) {
        poll(NULL, 0, 1);
        taken = ibv_poll_cq(end->send_cq, 1, &wc);
    }
    if (taken != 1 || wc.status != IBV_WC_SUCCESS) {
        die("a window cannot be bound");
    }
    *opening = (struct opening) {
        .address = wr.bind_mw.bind_info.addr,
        .key = wr.bind_mw.rkey,
    };
}

static bool changed(const uint8_t *memory, int offset)
{
    for (unsigned int i = 0; i < LENGTH; i++) {
        if (memory[(int)PAGE + offset + (int)i]) {
            return true;
        }
    }
    return false;
}

/* True if a write there was refused and changed nothing. */
static bool holds(const char *address, const char *port, int from, int to,
                  unsigned int place)
{
    uint8_t *memory = aligned_alloc(PAGE, 3 * PAGE);
    struct opening opening = { 0 };
    enum ibv_wc_status status;
    struct ibv_mr *mr;
    struct ibv_mw *mw;
    struct end end;
    bool held;

    if (!memory || !end_connect(&end, address, port, NULL, 0)) {
        die("no connection");
    }
    memset(memory, 0, 3 * PAGE);
    mr = ibv_reg_mr(end.pd, memory, 3 * PAGE,
                    IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_MW_BIND);
    mw = ibv_alloc_mw(end.pd, IBV_MW_TYPE_2);
    if (!mr || !mw) {
        die("the device has no memory windows of type 2");
    }
    bind_window(&end, mr, mw, &opening);
    put(to, &opening, sizeof(opening));
    get(from, &status, sizeof(status));
    held = status != IBV_WC_SUCCESS && !changed(memory, places[place].offset);
    printf("%s the window: %s, %s\n", places[place].name,
           ibv_wc_status_str(status), held ? "held" : "not held");
    fflush(stdout);
    put(to, &opening, sizeof(opening));
    /* Soft-RoCE wants the window to go before its queue pair. */
    ibv_dealloc_mw(mw);
    ibv_dereg_mr(mr);
    end_close(&end);
    free(memory);
    return held;
}

int main(int argc, char **argv)
{
    int there[2], back[2], status;
    bool held = true;
    pid_t writer;
    char ready;

    if (argc != 3 || pipe(there) || pipe(back)) {
        die("usage: adversary-window ADDRESS PORT");
    }
    writer = fork();
    if (writer < 0) {
        die("no second process");
    }
    if (writer == 0) {
        close(there[1]);
        write_to_all(argv[1], argv[2], there[0], back[1]);
        return 0;
    }
    close(back[1]);
    get(back[0], &ready, 1);
    for (unsigned int i = 0; i < PLACES; i++) {
        held &= holds(argv[1], argv[2], back[0], there[1], i);
    }
    if (waitpid(writer, &status, 0) != writer || status != 0) {
        die("the other process has failed");
    }
    return held ? 0 : 1;
}
