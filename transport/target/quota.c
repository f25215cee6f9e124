/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What one client may have of a server's sessions and memory. What counts is
 * what is reserved: a session does from rdisk_target_session_reserve() to the
 * release of its memory, however it ends.
 */
#include <errno.h>
#include <string.h>

#include "transport/target/session.h"

void rdisk_target_use(const struct rdisk_target *target, const char *user,
                      struct rdisk_quota *use)
{
    *use = (struct rdisk_quota) { 0 };
    for (const struct rdisk_target_session *session = target->sessions; session;
         session = session->next) {
        if (session->memory && !strcmp(session->request.user, user)) {
            use->sessions++;
            use->memory += session->memory;
        }
    }
}

void rdisk_target_session_quota(struct rdisk_target_session *session,
                                const struct rdisk_quota *quota)
{
    session->quota = *quota;
}

bool rdisk_target_same_user(const struct rdisk_target_session *session,
                            const struct rdisk_target_session *other)
{
    return !strcmp(session->request.user, other->request.user);
}

uint64_t rdisk_target_quota_left(const struct rdisk_target_session *session)
{
    const struct rdisk_quota *quota = &session->quota;
    struct rdisk_quota use;

    if (!quota->memory) {
        return UINT64_MAX;
    }
    rdisk_target_use(session->target, session->request.user, &use);
    return quota->memory > use.memory ? quota->memory - use.memory : 0;
}

int rdisk_target_quota_check(const struct rdisk_target_session *session,
                             uint64_t fewest, uint64_t *left,
                             struct rdisk_error *err)
{
    const struct rdisk_quota *quota = &session->quota;
    struct rdisk_quota use;

    *left = UINT64_MAX;
    if (!quota->sessions && !quota->memory) {
        return 0;
    }
    rdisk_target_use(session->target, session->request.user, &use);
    if (quota->sessions && use.sessions >= quota->sessions) {
        return rdisk_error_set(err, -ENOBUFS,
                               "client '%s' has %llu sessions, its limit is "
                               "max-sessions = %llu",
                               session->request.user,
                               (unsigned long long)use.sessions,
                               (unsigned long long)quota->sessions);
    }
    *left = rdisk_target_quota_left(session);
    if (*left < fewest) {
        return rdisk_error_set(err, -ENOBUFS,
                               "client '%s' has %llu bytes of slots, and at "
                               "least %llu more are requested; its limit is "
                               "max-memory = %llu",
                               session->request.user,
                               (unsigned long long)use.memory,
                               (unsigned long long)fewest,
                               (unsigned long long)quota->memory);
    }
    return 0;
}
