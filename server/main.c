/* SPDX-License-Identifier: BSD-3-Clause */
/* rdiskd: volumes for QEMU guests, over RDMA. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>

#include "common/log.h"
#include "common/notify.h"
#include "server/config/command_line.h"
#include "server/run.h"
#include "server/server.h"
#include "server/start.h"

static void block_signal(int number)
{
    sigset_t signals;

    sigemptyset(&signals);
    sigaddset(&signals, number);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);
}

/* Before any thread exists: all inherit it, and the control thread alone takes
 * these signals, from a descriptor. */
static void block_signals(void)
{
    block_signal(SIGTERM);
    block_signal(SIGINT);
    signal(SIGPIPE, SIG_IGN);
}

static int serve(struct config *config, const struct command_line *line)
{
    struct rdisk_error err;
    struct server server;
    char address[128];
    int result = server_start(&server, config, line, &err);

    /* Where it does not end cleanly, threads may still be busy. */
    if (result == -ECANCELED) {
        log_info("stopped before it was ready");
        log_flush();
        return 0;
    }
    if (result < 0) {
        log_error("%s", err.text);
        log_flush();
        return 1;
    }
    /* Scripts wait for this line. */
    printf("rdiskd: serving %u volume%s on %s\n", server.volumes,
           server.volumes == 1 ? "" : "s",
           server_address(&server, address, sizeof(address)));
    fflush(stdout);
    server_notify_ready(&server);

    if (server_run(&server) < 0) {
        log_flush();
        return 1;
    }
    server_free(&server);
    config_free(config);
    log_stop();
    return 0;
}

int main(int argc, char **argv)
{
    const struct command_line line = { argc, argv };
    struct config config;
    int result;

    /* First of all: a reload may be requested before there is anything to
     * reload, and that must not end the server. */
    block_signal(SIGHUP);
    if (config_init(&config) < 0) {
        fprintf(stderr, "rdiskd: no memory\n");
        return 1;
    }
    result = options_parse(&line, &config);
    if (result >= 0) {
        config_free(&config);
        return result;
    }
    log_set_level(config.log_level);
    block_signals();
    log_start();
    return serve(&config, &line);
}
