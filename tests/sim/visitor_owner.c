/* SPDX-License-Identifier: BSD-3-Clause */
/* The server's owner towards a visitor: what it answers, late or at once, and
 * what it does to the session by itself. */
#include <errno.h>
#include <string.h>

#include "tests/sim/visitor.h"

bool sim_visitors(const char *volume)
{
    return strcmp(volume, "vol") != 0;
}

enum rdisk_status sim_visitor_open(struct sim *sim, struct sim_holder *holder,
                                   struct rdisk_target_session *session,
                                   const struct rdisk_open_request *request,
                                   struct rdisk_open_grant *grant,
                                   struct rdisk_error *err)
{
    if (!strcmp(request->volume, SIM_VISITOR_NONE)) {
        rdisk_error_set(err, -ENOENT, "there is no such volume");
        return RDISK_STATUS_NO_VOLUME;
    }
    if (!holder->session) {
        holder->session = session;
        holder->visitor = true;
        holder->waiting = !strcmp(request->volume, SIM_VISITOR_LATER);
        sim->visitor.holder = holder;
    }
    *grant = (struct rdisk_open_grant) {
        .size = SIM_BLOCK,
        .block_size = SIM_BLOCK,
    };
    return holder->waiting ? RDISK_LATER : RDISK_STATUS_OK;
}

enum rdisk_status sim_visitor_create(struct sim *sim, struct sim_holder *holder,
                                     struct rdisk_target_session *session,
                                     const struct rdisk_create_request *request,
                                     struct rdisk_error *err)
{
    if (strcmp(request->volume, SIM_VISITOR_LATER)) {
        rdisk_error_set(err, -EPERM, "not here");
        return strcmp(request->volume, SIM_VISITOR_NONE) ? RDISK_STATUS_OK
                                                         : RDISK_STATUS_DENIED;
    }
    holder->session = session;
    holder->visitor = holder->waiting = true;
    sim->visitor.holder = holder;
    return RDISK_LATER;
}

/* "a" to "z" and "za" to "zz". */
static void fill_page(const struct sim *sim, const char *after,
                      struct rdisk_list_page *page)
{
    bool again = sim_mutated(sim, SIM_MUTATE_LIST_AGAIN);

    page->count = 0;
    page->more = false;
    for (unsigned int i = 0; i < 52; i++) {
        struct rdisk_list_entry entry = { .size = SIM_BLOCK };

        entry.name[0] = i < 26 ? (char)('a' + i) : 'z';
        entry.name[1] = i < 26 ? '\0' : (char)('a' + i - 26);
        if (strcmp(entry.name, after) < (again ? 0 : 1)) {
            continue;
        }
        if (page->count == RDISK_LIST_MAX) {
            page->more = true;
            return;
        }
        page->entries[page->count++] = entry;
    }
}

enum rdisk_status sim_visitor_list(struct sim *sim, struct sim_holder *holder,
                                   struct rdisk_target_session *session,
                                   const struct rdisk_list_request *request,
                                   struct rdisk_list_page *page,
                                   struct rdisk_error *err)
{
    if (strcmp(request->after, SIM_VISITOR_LATER)) {
        fill_page(sim, request->after, page);
        return RDISK_STATUS_OK;
    }
    holder->session = session;
    holder->visitor = holder->waiting = true;
    sim->visitor.holder = holder;
    return RDISK_LATER;
}

enum rdisk_status sim_visitor_release(struct sim *sim,
                                      struct sim_holder *holder)
{
    struct sim_visitor *visitor = &sim->visitor;

    if (visitor->goal != RDISK_TARGET_RELEASING || visitor->holder != holder) {
        sim_visitor_close(sim, holder);
        return RDISK_STATUS_OK;
    }
    holder->waiting = true;
    sim_visitor_arrive(visitor, 0);
    return RDISK_LATER;
}

void sim_visitor_close(struct sim *sim, struct sim_holder *holder)
{
    holder->session = NULL;
    if (sim->visitor.holder == holder) {
        sim->visitor.holder = NULL;
    }
}

static void answer_created(struct sim_visitor *visitor)
{
    struct sim_holder *holder = visitor->holder;
    struct rdisk_error err = { .text = "not here" };

    holder->waiting = false;
    visitor->holder = NULL;
    rdisk_target_session_created(holder->session,
                                 visitor->how & 1 ? RDISK_STATUS_OK
                                                  : RDISK_STATUS_DENIED,
                                 &err);
    holder->session = NULL;
}

static void answer_listed(struct sim_visitor *visitor)
{
    struct sim_holder *holder = visitor->holder;
    struct rdisk_error err = { .text = "not here" };
    struct rdisk_list_page page;

    holder->waiting = false;
    visitor->holder = NULL;
    fill_page(visitor->sim, "", &page);
    rdisk_target_session_listed(holder->session,
                                visitor->how & 1 ? RDISK_STATUS_OK
                                                 : RDISK_STATUS_DENIED,
                                &page, &err);
    holder->session = NULL;
}

static void answer_released(struct sim_visitor *visitor)
{
    struct rdisk_target_session *session = visitor->holder->session;
    struct rdisk_error err = { .text = "not here" };

    sim_visitor_close(visitor->sim, visitor->holder);
    rdisk_target_session_released(session,
                                  visitor->how & 1 ? RDISK_STATUS_OK
                                                   : RDISK_STATUS_IO_ERROR,
                                  &err);
}

/* What the owner has deferred. */
static void answer(struct sim_visitor *visitor)
{
    struct sim_holder *holder = visitor->holder;

    if (visitor->goal == RDISK_TARGET_OPENING) {
        holder->waiting = false;
        rdisk_target_session_retry(holder->session);
    } else if (!holder->waiting) {
        return;
    } else if (visitor->goal == RDISK_TARGET_CREATING) {
        answer_created(visitor);
    } else if (visitor->goal == RDISK_TARGET_LISTING) {
        answer_listed(visitor);
    } else if (visitor->goal == RDISK_TARGET_RELEASING) {
        answer_released(visitor);
    }
}

void sim_visitor_owner_acts(struct sim_visitor *visitor)
{
    struct sim_holder *holder = visitor->holder;

    switch (visitor->act) {
    case FENCE:
        rdisk_target_session_fence(holder->session);
        break;
    case END:
        rdisk_target_session_end(holder->session, RDISK_STATUS_STALE,
                                 "fenced by hand");
        if (visitor->how & 32) {
            rdisk_target_session_end(holder->session,
                                     visitor->how & 64
                                         ? RDISK_STATUS_SHUTTING_DOWN
                                         : RDISK_STATUS_STALE,
                                     "and again");
        }
        break;
    case SHUTDOWN:
        rdisk_target_session_end(holder->session, RDISK_STATUS_SHUTTING_DOWN,
                                 "drained");
        break;
    case ANSWER:
        answer(visitor);
        break;
    default:
        break;
    }
}
