/* SPDX-License-Identifier: BSD-3-Clause */
/* Deliberate defects, each of which a run must find. They are in the world
 * around the product, never in it. */
#include <string.h>

#include "tests/scale/scale.h"

static const struct {
    const char *name, *what;
} mutations[SCALE_MUTATION_COUNT] = {
    [SCALE_INTACT] = { "none", "nothing is broken" },
#define ENTRY(id, name, what) [SCALE_MUTATE_##id] = { name, what },
    SCALE_MUTATIONS(ENTRY)
#undef ENTRY
};

const char *scale_mutation_name(enum scale_mutation mutation)
{
    return mutations[mutation].name;
}

const char *scale_mutation_what(enum scale_mutation mutation)
{
    return mutations[mutation].what;
}

/* ---- The server's ------------------------------------------------------- */

static struct rdisk_verbs real;

/* What may pass is reported as final. */
static int reject_for_good(struct rdma_cm_id *id, const void *data,
                           uint8_t length)
{
    struct rdisk_wire_reject wire;

    memcpy(&wire, data, sizeof(wire));
    wire.status = htole16(RDISK_STATUS_DENIED);
    return real.reject(id, &wire, length);
}

void scale_mutate_server(struct scale *scale)
{
    struct rdisk_verbs *verbs = &scale->server.verbs;

    real = *verbs;
    if (scale->mutation == SCALE_MUTATE_NO_LIMIT) {
        scale->server.options.max_memory = 1ull << 40;
    }
    if (scale->mutation == SCALE_MUTATE_NO_RETRY) {
        verbs->reject = reject_for_good;
    }
}

void scale_mutate_turn(struct scale *scale)
{
    struct rdisk_target_admission *admission = &scale->server.target->admission;
    struct rdisk_target_pending **link = &admission->first, *last;

    if (scale->mutation != SCALE_MUTATE_LIFO || admission->count < 2) {
        return;
    }
    while ((*link)->next) {
        link = &(*link)->next;
    }
    last = *link;
    *link = NULL;
    admission->end = link;
    last->next = admission->first;
    admission->first = last;
}

/* ---- The clients' ------------------------------------------------------- */

static void (*random_of_host)(void *opaque, void *buf, size_t size);

static void random_without_jitter(void *opaque, void *buf, size_t size)
{
    random_of_host(opaque, buf, size);
    if (size == sizeof(uint32_t)) {
        memset(buf, 0xff, size);
    }
}

void scale_mutate_client(struct scale *scale, struct rdisk_env *env)
{
    random_of_host = env->random;
    if (scale->mutation == SCALE_MUTATE_NO_JITTER) {
        env->random = random_without_jitter;
    }
}
