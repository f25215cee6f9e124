/* SPDX-License-Identifier: BSD-3-Clause */
#include "transport/verbs/channel.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

/* librdmacm finds no device when it cannot open any, for whatever reason. */
static bool no_descriptor_left(int code)
{
    int fd;

    if (code == EMFILE || code == ENFILE) {
        return true;
    }
    fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return errno == EMFILE || errno == ENFILE;
    }
    close(fd);
    return false;
}

/* librdmacm looks for it elsewhere then, and reports what it finds there. */
static bool may_not_open(void)
{
    return faccessat(AT_FDCWD, "/dev/infiniband/rdma_cm", R_OK | W_OK,
                     AT_EACCESS) < 0 &&
           errno == EACCES;
}

int rdisk_channel_create(const struct rdisk_env *env,
                         struct rdma_event_channel **channel,
                         struct rdisk_error *err)
{
    int code;

    errno = 0;
    *channel = env->verbs->create_event_channel();
    if (*channel) {
        return 0;
    }
    code = errno ? errno : ENODEV;
    if (no_descriptor_left(code)) {
        return rdisk_error_set(err, -EMFILE,
                               "no descriptor is left to open an RDMA device: "
                               "raise the limit (ulimit -n, LimitNOFILE=)");
    }
    if (code == EACCES || may_not_open()) {
        return rdisk_error_set(err, -EACCES,
                               "user %u may not open /dev/infiniband/rdma_cm: "
                               "%s",
                               (unsigned int)geteuid(), strerror(EACCES));
    }
    return rdisk_error_set(
        err, code == ENOMEM ? -ENOMEM : -ENODEV,
        "this machine has no RDMA device (%s); on ordinary Ethernet, "
        "'modprobe rdma_rxe' and 'rdma link add rxe0 type rxe netdev "
        "NAME' make one",
        strerror(code));
}
