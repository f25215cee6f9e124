/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/sim/disk.h"

#include <string.h>

uint64_t sim_pick(uint64_t *state, uint64_t bound)
{
    uint64_t z = (*state += 0x9e3779b97f4a7c15ull);

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    z ^= z >> 31;
    return bound > 1 ? z % bound : 0;
}

void sim_disk_begin(struct sim_disk *disk)
{
    memset(disk, 0, sizeof(*disk));
}

uint64_t sim_disk_read(const struct sim_disk *disk, unsigned int block)
{
    unsigned int versions = disk->versions[block];

    return versions ? disk->cached[block][versions - 1] : disk->stable[block];
}

void sim_disk_write(struct sim_disk *disk, unsigned int block, uint64_t word,
                    bool fua)
{
    uint64_t *cached = disk->cached[block];

    if (fua) {
        disk->stable[block] = word;
        disk->versions[block] = 0;
        return;
    }
    if (disk->versions[block] == SIM_CACHE) {
        /* No disk caches indefinitely. */
        disk->stable[block] = cached[0];
        memmove(cached, cached + 1, (SIM_CACHE - 1) * sizeof(cached[0]));
        disk->versions[block]--;
    }
    cached[disk->versions[block]++] = word;
}

void sim_disk_flush(struct sim_disk *disk)
{
    for (unsigned int i = 0; i < SIM_BLOCKS; i++) {
        disk->stable[i] = sim_disk_read(disk, i);
        disk->versions[i] = 0;
    }
}

void sim_disk_power_fails(struct sim_disk *disk, uint64_t *random_state)
{
    for (unsigned int i = 0; i < SIM_BLOCKS; i++) {
        disk->versions[i] = (unsigned int)sim_pick(random_state,
                                                   disk->versions[i] + 1);
    }
    /* What is left has reached the medium. */
    sim_disk_flush(disk);
}
