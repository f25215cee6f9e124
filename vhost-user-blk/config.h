/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The configuration file of rdisk-vhost: [daemon] and a [disk NAME] each. */
#ifndef VHOST_USER_BLK_CONFIG_H
#define VHOST_USER_BLK_CONFIG_H

#include <rdisk/env.h>

#include "vhost-user-blk/disk_options.h"

#define VHOST_CONFIG_DEFAULT_CONTROL "/run/rdisk-vhost/control.sock"
#define VHOST_CONFIG_REACTORS_MAX    64u
#define VHOST_CONFIG_POLL_TIME_MAX   1000000u /* microseconds */
#define VHOST_CONFIG_DISKS_MAX       4096u

struct vhost_config {
    char *control;          /* path of the control socket; "": none */
    char *metrics;          /* address and port of HTTP; "": none */
    unsigned int reactors;  /* threads: 1…VHOST_CONFIG_REACTORS_MAX */
    unsigned int poll_time; /* microseconds, 0…VHOST_CONFIG_POLL_TIME_MAX */
    enum rdisk_log_level log_level;
    struct disk_options *disks; /* in the order given */
    unsigned int disk_count;
    unsigned int seen; /* options of [daemon] in the file, bit by bit */
};

/* Defaults. 0 or -ENOMEM. */
int vhost_config_init(struct vhost_config *config);
void vhost_config_free(struct vhost_config *config);
/* Set an option of [daemon] by its name. 0 or a negative errno. */
int vhost_config_set(struct vhost_config *config, const char *name,
                     const char *value, struct rdisk_error *err);
/* Each error names the file, the line, and what it may be. */
int vhost_config_read(struct vhost_config *config, const char *path,
                      struct rdisk_error *err);

#endif
