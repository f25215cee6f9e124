/* SPDX-License-Identifier: BSD-3-Clause */
/* EXTENTS: the server's list, and the client's use of it. */
#include "tests/sim/sim.h"

/* What is called zero must be so; data may be anything. */
void sim_check_extents(const struct sim_request *request)
{
    static const uint8_t zeroes[SIM_BLOCK];
    unsigned int block = request->block;

    for (unsigned int i = 0; i < request->request.extent_count; i++) {
        uint64_t count = request->extents[i].length / SIM_BLOCK;

        for (uint64_t j = 0; j < count; j++, block++) {
            if (request->extents[i].flags & RDISK_EXTENT_ZERO) {
                sim_check_read_end(&request->client->sim->checker,
                                   request->submitted, block, 1, zeroes);
            }
        }
    }
    if (block > request->block + request->count) {
        sim_violation("extents go beyond block %u, which was not asked for",
                      request->block + request->count);
    }
}

/* Zeroes and all else, as far as there is room. */
void sim_server_tell_extents(struct sim *sim, const struct sim_op *op)
{
    struct rdisk_wire_extent *list = op->request->data;
    unsigned int n = 0;

    for (unsigned int i = 0; i < op->count; i++) {
        bool zero = !sim_disk_read(&sim->disk, op->block + i) ||
                    (sim->mutation == SIM_MUTATE_FALSE_HOLE &&
                     sim_random(sim, 8) == 0);
        uint32_t flags = zero ? RDISK_EXTENT_HOLE | RDISK_EXTENT_ZERO : 0;

        if (n && le32toh(list[n - 1].flags) == flags) {
            n--;
        } else if (n == op->request->room) {
            break;
        }
        list[n].flags = htole32(flags);
        list[n].length = htole64(le64toh(list[n].length) + SIM_BLOCK);
        n++;
    }
}
