/* SPDX-License-Identifier: BSD-3-Clause */
/* The reader of a resident volume, and that volume. */
#ifndef SIM_READER_H
#define SIM_READER_H

#include <rdisk/initiator.h>

#include "tests/sim/disk.h"
#include "transport/target/session.h"

#define SIM_READER_VOLUME "image"
#define SIM_READER_BLOCKS 16u
#define SIM_READER_READS  4u

struct fake_write;
struct sim;
struct sim_holder;
struct sim_reader;

struct sim_read {
    struct rdisk_request request; /* first */
    struct sim_reader *reader;
    struct iovec iov;
    uint8_t *data;
    bool pending;
};

struct sim_reader {
    struct sim *sim;
    bool active, calm; /* it is in this schedule; it does nothing new */
    uint64_t random_state;
    struct fake_host *host;
    struct rdisk_env env;
    struct rdisk_initiator *session;
    enum rdisk_initiator_state state;
    bool registered, closing;
    uint64_t open_at, read_at;
    struct sim_read reads[SIM_READER_READS];

    /* The server's: what its volume has, and when it is replaced. */
    uint64_t version;
    uint64_t replace_at, end_at;
    bool replacing; /* its sessions have to end before */
};

void sim_reader_begin(struct sim *sim);
/* True if something was done. */
bool sim_reader_life(struct sim *sim);
uint64_t sim_reader_due(const struct sim *sim);
/* Every fault is over: it closes its session when its reads have ended. */
void sim_reader_calm(struct sim *sim);
bool sim_reader_gone(const struct sim *sim);
/* Under the fabric's lock. */
void sim_reader_observe(struct sim_reader *reader,
                        const struct fake_write *write);

/* For the server's owner. */
enum rdisk_status sim_reader_open(struct sim *sim, struct sim_holder *holder,
                                  struct rdisk_target_session *session,
                                  const struct rdisk_open_request *request,
                                  struct rdisk_open_grant *grant,
                                  struct rdisk_error *err);
void sim_reader_close(struct sim *sim, struct sim_holder *holder);
void sim_reader_request(struct sim *sim, struct rdisk_target_request *request);

#endif
