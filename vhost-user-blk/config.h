/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The configuration file of rdisk-vhost: [daemon] and a [disk NAME] each. */
#ifndef VHOST_USER_BLK_CONFIG_H
#define VHOST_USER_BLK_CONFIG_H

#include <rdisk/env.h>

#include "vhost-user-blk/disk.h"

#define CONFIG_DEFAULT_CONTROL "/run/rdisk-vhost/control.sock"
#define CONFIG_REACTORS_MAX    64u
#define CONFIG_DISKS_MAX       4096u

struct config {
    char *control;          /* path of the control socket; "": none */
    unsigned int reactors;  /* threads: 1…CONFIG_REACTORS_MAX */
    unsigned int poll_time; /* microseconds, 0…1000000 */
    enum rdisk_log_level log_level;
    struct disk_options *disks; /* in the order given */
    unsigned int disk_count;
};

/* Defaults. 0 or -ENOMEM. */
int config_init(struct config *config);
void config_free(struct config *config);
/* Set an option of [daemon] by its name. 0 or a negative errno. */
int config_set(struct config *config, const char *name, const char *value,
               struct rdisk_error *err);
/* Each error names the file, the line, and what it may be. */
int config_read(struct config *config, const char *path,
                struct rdisk_error *err);

#endif
