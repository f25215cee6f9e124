/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A disk with a volatile cache. A block's content is one word, repeated, which
 * identifies the write.
 */
#ifndef SIM_DISK_H
#define SIM_DISK_H

#include <stdbool.h>
#include <stdint.h>

#define SIM_BLOCKS 48u
/* Bytes; not less, so that a read in pieces is not always copied. */
#define SIM_BLOCK 2048u
#define SIM_CACHE 32u /* versions of a block that may be lost */

struct sim_disk {
    uint64_t stable[SIM_BLOCKS];
    uint64_t cached[SIM_BLOCKS][SIM_CACHE]; /* oldest first */
    unsigned int versions[SIM_BLOCKS];
};

void sim_disk_begin(struct sim_disk *disk);
uint64_t sim_disk_read(const struct sim_disk *disk, unsigned int block);
void sim_disk_write(struct sim_disk *disk, unsigned int block, uint64_t word,
                    bool fua);
void sim_disk_flush(struct sim_disk *disk);
/* Each block falls back to any version since it was last stable. */
void sim_disk_power_fails(struct sim_disk *disk, uint64_t *random_state);

/* splitmix64, Steele et al. 2014; a number below @bound. */
uint64_t sim_pick(uint64_t *state, uint64_t bound);

#endif
