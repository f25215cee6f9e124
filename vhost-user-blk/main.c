/* SPDX-License-Identifier: GPL-2.0-or-later */
/* rdisk-vhost: volumes of rdisk servers as vhost-user-blk devices. */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "common/notify.h"
#include "vhost-user-blk/daemon.h"

static void usage(FILE *file)
{
    fprintf(
        file,
        "Usage: rdisk-vhost [OPTION]...\n"
        "Offer volumes of rdisk servers to virtual machines as vhost-user-blk\n"
        "devices.\n\n"
        "  --config FILE      disks and options; see rdisk-vhost.conf(5)\n"
        "  --control PATH     the control socket (%s)\n"
        "  --metrics ADDRESS:PORT\n"
        "                     serve metrics for Prometheus over HTTP there\n"
        "  --reactors N       threads that serve virtqueues, 1-%u (1)\n"
        "  --poll-time N      microseconds to poll for work before sleeping,\n"
        "                     0-1000000 (32)\n"
        "  --log-level LEVEL  error, warning, info or debug (info)\n"
        "  --help, --version\n",
        VHOST_CONFIG_DEFAULT_CONTROL, VHOST_CONFIG_REACTORS_MAX);
}

/* The options win over the file. Returns the exit status, or -1 to go on. */
static int parse(struct vhost_config *config, int argc, char **argv)
{
    static const struct option options[] = {
        { "config", required_argument, NULL, 'c' },
        { "control", required_argument, NULL, 's' },
        { "metrics", required_argument, NULL, 's' },
        { "reactors", required_argument, NULL, 's' },
        { "poll-time", required_argument, NULL, 's' },
        { "log-level", required_argument, NULL, 's' },
        { "help", no_argument, NULL, 'h' },
        { "version", no_argument, NULL, 'V' },
        { 0 },
    };
    struct rdisk_error err;
    int index, c, pass;

    /* The file first, wherever its option stands. */
    for (pass = 0; pass < 2; pass++) {
        optind = 0;
        while ((c = getopt_long(argc, argv, "h", options, &index)) != -1) {
            int ret = 0;

            if (c == 'c' && pass == 0) {
                ret = vhost_config_read(config, optarg, &err);
            } else if (c == 's' && pass == 1) {
                ret = vhost_config_set(config, options[index].name, optarg,
                                       &err);
            } else if (c == 'h') {
                usage(stdout);
                return EXIT_SUCCESS;
            } else if (c == 'V') {
                puts("rdisk-vhost " RDISK_VERSION);
                return EXIT_SUCCESS;
            } else if (c == '?') {
                return 2;
            }
            if (ret < 0) {
                fprintf(stderr, "rdisk-vhost: %s\n", err.text);
                return 2;
            }
        }
    }
    if (optind < argc) {
        fprintf(stderr, "rdisk-vhost: '%s' is not an option\n", argv[optind]);
        return 2;
    }
    return -1;
}

int main(int argc, char **argv)
{
    struct vhost_config config;
    struct daemon daemon;
    sigset_t signals;
    struct rdisk_error err;
    int status;

    if (vhost_config_init(&config) < 0) {
        fprintf(stderr, "rdisk-vhost: out of memory\n");
        return EXIT_FAILURE;
    }
    status = parse(&config, argc, argv);
    if (status >= 0) {
        vhost_config_free(&config);
        return status;
    }
    log_set_level(config.log_level);
    signal(SIGPIPE, SIG_IGN);
    signals = daemon_signals();
    sigprocmask(SIG_BLOCK, &signals, NULL);
    if (daemon_start(&daemon, &config, log_env_init(), &err) < 0) {
        log_error("%s", err.text);
        vhost_config_free(&config);
        return EXIT_FAILURE;
    }
    vhost_config_free(&config);
    log_start();
    notify_service(&rdisk_env_system, NOTIFY_READY, "serving disks");
    daemon_run(&daemon);
    notify_service(&rdisk_env_system, NOTIFY_STOPPING, "stopped");
    daemon_end(&daemon);
    log_stop();
    return EXIT_SUCCESS;
}
