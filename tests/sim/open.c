/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Who may have the volume: by the real rules of server/volume, in the order of
 * steps of server/session/open.c and close.c. Opening and closing are
 * operations that take turns (operation.c), and what asks the records of leases
 * is a job, so the answer comes later, perhaps after the client has gone.
 */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/container_of.h"
#include "tests/sim/sim.h"

/* client.c puts it there. */
static void whose(const uint8_t *id, unsigned int *client, unsigned int *serial)
{
    memcpy(client, id, sizeof(*client));
    memcpy(serial, id + sizeof(*client), sizeof(*serial));
}

static struct sim_holder *of_operation(struct operation *operation)
{
    return container_of(operation, struct sim_holder, operation);
}

static struct sim_holder *of_job(struct job *job)
{
    return of_operation(operation_of(job));
}

struct sim_holder *sim_holder_find(struct sim *sim)
{
    struct sim_holder *holder = sim->server.holders;

    while (holder->session || holder->phase != SIM_HOLDER_FREE) {
        if (++holder == sim->server.holders + SIM_HOLDERS) {
            sim_violation("the server keeps dead sessions");
        }
    }
    memset(holder, 0, sizeof(*holder));
    holder->sim = sim;
    holder->client = holder->serial = UINT_MAX;
    return holder;
}

static void holder_free(struct sim_holder *holder)
{
    holder->session = NULL;
    holder->phase = SIM_HOLDER_FREE;
}

/* ---- The end of an operation -------------------------------------------- */

static void start_release(struct sim_holder *holder);

static void decided(struct sim_holder *holder, enum rdisk_status status)
{
    holder->status = status;
    holder->phase = SIM_HOLDER_DECIDED;
    operation_end(&holder->operation);
    if (!holder->dead) {
        if (!holder->asking) {
            rdisk_target_session_retry(holder->asked);
        }
        return;
    }
    if (sim_mutated(holder->sim, SIM_MUTATE_LATE_GRANT_KEPT) &&
        status == RDISK_STATUS_OK) {
        return;
    }
    /* The grant was not reported to the client. */
    if (status == RDISK_STATUS_OK) {
        holder->orderly = !holder->request.generation;
        start_release(holder);
    } else {
        holder_free(holder);
    }
}

/* ---- Opening ------------------------------------------------------------- */

static void fence(struct volume_holder *older)
{
    struct sim_holder *holder = (struct sim_holder *)older;

    if (!older->fenced) {
        older->fenced = true;
        rdisk_target_session_fence(holder->asked);
    }
}

/* What server/session/open.c does with the answer of volume_check(). */
static enum rdisk_status check(struct sim *sim, struct sim_holder *holder,
                               struct rdisk_error *err)
{
    struct volume *volume = &sim->server.volume;
    struct volume_holder *older;
    enum rdisk_status status = volume_check(volume, &holder->holder,
                                            sim_now(sim), &older, err);

    if (status == RDISK_STATUS_STALE &&
        sim_mutated(sim, SIM_MUTATE_NO_EPOCH_CHECK)) {
        for (older = volume->holders; older; older = older->next) {
            if (!memcmp(older->client, holder->holder.client,
                        sizeof(older->client))) {
                fence(older);
            }
        }
        return RDISK_LATER;
    }
    if (status == RDISK_STATUS_BUSY &&
        sim_mutated(sim, SIM_MUTATE_TWO_WRITERS)) {
        return RDISK_STATUS_OK;
    }
    if (status != RDISK_STATUS_OK || !older ||
        sim_mutated(sim, SIM_MUTATE_NO_FENCE)) {
        return status;
    }
    fence(older);
    return sim_mutated(sim, SIM_MUTATE_NO_DRAIN) ? RDISK_STATUS_OK
                                                 : RDISK_LATER;
}

static void enter(struct sim_holder *holder)
{
    volume_enter(&holder->sim->server.volume, &holder->holder);
    decided(holder, RDISK_STATUS_OK);
}

static void save_run(struct job *job)
{
    struct sim_holder *holder = of_job(job);

    holder->result = lease_save(&holder->lease, &holder->record, &holder->why);
}

static void save_done(struct job *job)
{
    struct sim_holder *holder = of_job(job);

    if (holder->result < 0) {
        decided(holder, rdisk_status_from_errno(holder->result));
        return;
    }
    lease_grant(&holder->sim->server.lease, &holder->holder, &holder->record);
    enter(holder);
}

static void take_lease(struct sim_holder *holder)
{
    struct lease *lease = &holder->sim->server.lease;

    if (!holder->holder.writer) {
        holder->holder.generation = 0;
        enter(holder);
        return;
    }
    holder->lease = *lease;
    if (!lease_plan(lease, &holder->holder, &holder->record)) {
        lease_grant(lease, &holder->holder, &holder->record);
        enter(holder);
    } else if (operation_run(&holder->operation, lease->store, save_run,
                             save_done, &holder->why) < 0) {
        decided(holder, RDISK_STATUS_BUSY);
    }
}

static void check_holders(struct sim_holder *holder)
{
    struct sim *sim = holder->sim;
    enum rdisk_status status = RDISK_STATUS_SHUTTING_DOWN;

    if (sim_mutated(sim, SIM_MUTATE_NO_GENERATION_CHECK)) {
        holder->holder.generation = 0;
    }
    if (!sim->server.drained) {
        status = check(sim, holder, &holder->why);
    }
    if (holder->dead && status == RDISK_STATUS_OK) {
        status = RDISK_STATUS_BUSY;
    }
    if (status == RDISK_STATUS_OK &&
        rdisk_target_session_reserve(holder->asked, &holder->why) < 0) {
        status = RDISK_STATUS_NO_RESOURCES;
    }
    if (status == RDISK_STATUS_OK) {
        take_lease(holder);
    } else {
        decided(holder, status);
    }
}

static void read_run(struct job *job)
{
    struct sim_holder *holder = of_job(job);

    holder->result = lease_read(holder->lease.store, holder->lease.identity,
                                &holder->record, &holder->why);
}

static void read_done(struct job *job)
{
    struct sim_holder *holder = of_job(job);
    struct sim *sim = holder->sim;

    if (holder->result < 0) {
        decided(holder, rdisk_status_from_errno(holder->result));
        return;
    }
    if (!sim_mutated(sim, SIM_MUTATE_LEASE_NOT_COMPARED)) {
        lease_compare(&sim->server.lease, &holder->record, sim_now(sim));
    }
    check_holders(holder);
}

static void open_begin(struct operation *operation)
{
    struct sim_holder *holder = of_operation(operation);
    struct lease *lease = &holder->sim->server.lease;

    holder->lease = *lease;
    if (operation_run(operation, lease->store, read_run, read_done,
                      &holder->why) < 0) {
        decided(holder, RDISK_STATUS_BUSY);
    }
}

static void grant_it(struct sim_holder *holder, struct rdisk_open_grant *grant)
{
    struct sim *sim = holder->sim;
    const struct rdisk_open_request *request = &holder->request;

    sim_log(sim,
            "server: client %u session %u epoch %llu is let in, "
            "generation %llu",
            holder->client, holder->serial, (unsigned long long)request->epoch,
            (unsigned long long)holder->holder.generation);
    sim_check_granted(&sim->checker, holder->client, holder->serial,
                      request->epoch, !request->shared,
                      sim->clients[holder->client].serial == holder->serial &&
                          !sim->clients[holder->client].opened);
    holder->session = holder->asked;
    holder->phase = SIM_HOLDER_OPEN;
    *grant = (struct rdisk_open_grant) {
        .size = sim->size,
        .block_size = SIM_BLOCK,
        .discard = true,
        .zeroes = true,
        .extents = true,
        .copy = true,
        .resize = true,
    };
    grant->generation = sim_mutated(sim, SIM_MUTATE_NO_GENERATION_CHECK) &&
                                request->generation
                            ? request->generation
                            : holder->holder.generation;
    grant->cache[0] = sim_mutated(sim, SIM_MUTATE_LOSS_HIDDEN)
                          ? 0
                          : sim->server.cache;
}

/* The first call for this OPEN, or a later one. */
static enum rdisk_status answer(struct sim_holder *holder,
                                struct rdisk_open_grant *grant, void **user,
                                struct rdisk_error *err)
{
    if (holder->phase == SIM_HOLDER_RUNNING) {
        rdisk_error_set(err, -ETIMEDOUT, "the storage does not answer");
        *user = holder;
        return RDISK_LATER;
    }
    if (holder->status == RDISK_STATUS_OK) {
        grant_it(holder, grant);
        *user = holder;
        return RDISK_STATUS_OK;
    }
    *err = holder->why;
    *user = NULL;
    holder_free(holder);
    return holder->status;
}

static enum rdisk_status visitor_open(struct sim *sim,
                                      struct rdisk_target_session *session,
                                      const struct rdisk_open_request *request,
                                      struct rdisk_open_grant *grant,
                                      void **user, struct rdisk_error *err)
{
    struct sim_holder *holder = *user ? *user : sim_holder_find(sim);
    enum rdisk_status status = sim_visitor_open(sim, holder, session, request,
                                                grant, err);

    *user = holder->session ? holder : NULL;
    return status;
}

static enum rdisk_status reader_open(struct sim *sim,
                                     struct rdisk_target_session *session,
                                     const struct rdisk_open_request *request,
                                     struct rdisk_open_grant *grant,
                                     void **user, struct rdisk_error *err)
{
    struct sim_holder *holder = sim_holder_find(sim);
    enum rdisk_status status = sim_reader_open(sim, holder, session, request,
                                               grant, err);

    *user = status == RDISK_STATUS_OK ? holder : NULL;
    return status;
}

/* Operations on the volume take turns by its name. */
static void start(struct sim_holder *holder)
{
    struct sim *sim = holder->sim;
    bool turns = !sim_mutated(sim, SIM_MUTATE_NO_TURNS);

    snprintf(holder->operation.volume, sizeof(holder->operation.volume),
             "vol%u", turns ? 0 : (unsigned int)(holder - sim->server.holders));
    holder->asking = true;
    operation_start(&sim->server.operations, &holder->operation);
    holder->asking = false;
}

enum rdisk_status sim_server_open(void *opaque,
                                  struct rdisk_target_session *session,
                                  const struct rdisk_open_request *request,
                                  struct rdisk_open_grant *grant, void **user,
                                  struct rdisk_error *err)
{
    struct sim *sim = opaque;
    struct sim_holder *holder = *user;

    if (!strcmp(request->volume, SIM_READER_VOLUME)) {
        return reader_open(sim, session, request, grant, user, err);
    }
    if (sim_visitors(request->volume)) {
        return visitor_open(sim, session, request, grant, user, err);
    }
    if (holder) {
        return answer(holder, grant, user, err);
    }
    holder = sim_holder_find(sim);
    holder->phase = SIM_HOLDER_RUNNING;
    holder->asked = session;
    holder->request = *request;
    snprintf(holder->holder.peer, sizeof(holder->holder.peer), "%s",
             request->peer);
    memcpy(holder->holder.client, request->client, sizeof(request->client));
    holder->holder.epoch = request->epoch;
    holder->holder.writer = !request->read_only;
    holder->holder.shared = request->shared;
    holder->holder.generation = request->generation;
    whose(request->client, &holder->client, &holder->serial);
    holder->operation.begin = open_begin;
    start(holder);
    return answer(holder, grant, user, err);
}

void sim_server_replay(struct sim *sim, unsigned int client, unsigned int age)
{
    for (unsigned int i = 0; i < SIM_HOLDERS; i++) {
        struct sim_holder old = sim->server.holders[i];

        if (!old.session || old.client != client || old.holder.epoch < age) {
            continue;
        }
        old.holder.epoch -= age;
        if (check(sim, &old, NULL) != RDISK_STATUS_STALE) {
            sim_check_granted(&sim->checker, client, old.serial,
                              old.holder.epoch, !old.holder.shared, false);
        }
        return;
    }
}

/* ---- Closing ------------------------------------------------------------- */

static void released(struct sim_holder *holder)
{
    operation_end(&holder->operation);
    if (holder->asking) {
        return; /* sim_server_release() answers */
    }
    if (holder->releasing && holder->asked) {
        rdisk_target_session_released(holder->asked,
                                      rdisk_status_from_errno(holder->result),
                                      &holder->why);
    }
    holder_free(holder);
}

static void settle_run(struct job *job)
{
    struct sim_holder *holder = of_job(job);

    holder->result = volume_settle(&holder->sim->server.volume, &holder->lease,
                                   &holder->why);
}

static void settle_done(struct job *job)
{
    struct sim_holder *holder = of_job(job);
    struct lease *lease = &holder->sim->server.lease;

    if (holder->result == 0 &&
        lease->record.generation == holder->lease.record.generation) {
        lease->record.changed = holder->lease.record.changed;
    }
    lease_settled(lease);
    released(holder);
}

static void release_begin(struct operation *operation)
{
    struct sim_holder *holder = of_operation(operation);
    struct lease *lease = &holder->sim->server.lease;

    if (!holder->settle || lease->writers) {
        released(holder);
        return;
    }
    holder->lease = *lease;
    if (operation_run(operation, lease->store, settle_run, settle_done,
                      &holder->why) < 0) {
        holder->result = holder->why.code;
        lease_settled(lease);
        released(holder);
    }
}

/* It no longer holds the volume; the record is saved later. */
static void start_release(struct sim_holder *holder)
{
    holder->phase = SIM_HOLDER_CLOSING;
    holder->result = 0;
    holder->settle = volume_release(&holder->holder, holder->orderly,
                                    sim_now(holder->sim));
    holder->operation.begin = release_begin;
    start(holder);
}

/* An OPEN that has not been answered. */
static void close_unanswered(struct sim_holder *holder)
{
    if (holder->phase == SIM_HOLDER_RUNNING && holder->operation.begun) {
        holder->dead = true; /* its job still runs */
        return;
    }
    if (holder->phase == SIM_HOLDER_RUNNING) {
        operation_end(&holder->operation);
    } else if (holder->status == RDISK_STATUS_OK) {
        holder->orderly = !holder->request.generation;
        start_release(holder);
        return;
    }
    holder_free(holder);
}

/* It has had the volume. */
static void leave(struct sim_holder *holder, bool orderly)
{
    struct sim *sim = holder->sim;
    struct sim_client *client = &sim->clients[holder->client];

    sim_check_closed(&sim->checker, holder->client, holder->serial);
    if (!client->session || client->serial != holder->serial) {
        sim_check_settled(&sim->checker, holder->client, holder->serial);
    }
    holder->session = NULL;
    holder->orderly = orderly;
    start_release(holder);
}

void sim_server_close(void *opaque, void *user, bool orderly)
{
    struct sim *sim = opaque;
    struct sim_holder *holder = user;

    if (holder->visitor) {
        sim_visitor_close(sim, holder);
    } else if (holder->reader) {
        sim_reader_close(sim, holder);
    } else if (holder->releasing) {
        holder->asked = NULL;
    } else if (holder->phase != SIM_HOLDER_OPEN) {
        close_unanswered(holder);
    } else {
        leave(holder, orderly);
    }
}

enum rdisk_status sim_server_release(void *opaque, void *user,
                                     struct rdisk_error *err)
{
    struct sim *sim = opaque;
    struct sim_holder *holder = user;
    enum rdisk_status status;

    if (holder->visitor) {
        return sim_visitor_release(sim, holder);
    }
    if (holder->reader) {
        sim_reader_close(sim, holder);
        return RDISK_STATUS_OK;
    }
    holder->releasing = holder->asking = true;
    leave(holder, true);
    holder->asking = false;
    if (holder->operation.operations) {
        if (holder->settle && !sim_mutated(sim, SIM_MUTATE_EARLY_CLOSE)) {
            return RDISK_LATER;
        }
        holder->asked = NULL;
        return RDISK_STATUS_OK;
    }
    status = rdisk_status_from_errno(holder->result);
    *err = holder->why;
    holder_free(holder);
    return status;
}

void sim_check_given_back(const struct sim *sim, unsigned int client,
                          unsigned int serial, uint64_t generation)
{
    const struct lease_record *record = &sim->server.record;
    unsigned int last, last_serial;

    whose(record->client, &last, &last_serial);
    if (record->held && !record->shared && record->generation == generation &&
        last == client && last_serial == serial) {
        sim_violation("client %u session %u has closed the volume, and the "
                      "record keeps it for it",
                      client, serial);
    }
}
