/* SPDX-License-Identifier: BSD-3-Clause */
/* The server around the real target: its owner grants all, and its calls of
 * verbs take as long as those of Soft-RoCE. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/scale/scale.h"

#define COST_QP_US 1000u /* a queue pair, its completion queue, its states */
#define COST_MR_US 2000u /* memory, whose pages are pinned */
/* One call in so many hangs for longer than the handshake timeout. */
#define HANGS       25u
#define HANG_US     400000u
#define PATIENCE_MS 300u
/* A request, of so many sessions: so many more of them are carried out at the
 * same time, and their number grows with that of the sessions only. */
#define HELD_US(sessions) (500000u + (sessions)*2000u)
/* Of a session: at first, and on average at most. All its slots are 768 KiB. */
#define BASE  (64u << 10)
#define LIMIT (384u << 10)

/* ---- What calls cost ---------------------------------------------------- */

/* The one of this world; the functions are the same for all hosts. */
static struct scale *world;
static struct rdisk_verbs real;
static unsigned int registrations;

static void take_time(uint64_t microseconds)
{
    fake_fabric_set_now(world->fabric, scale_now(world) + microseconds * 1000);
}

static int create_qp(struct rdma_cm_id *id, struct ibv_pd *pd,
                     struct ibv_qp_init_attr *attr)
{
    take_time(COST_QP_US);
    return real.create_qp(id, pd, attr);
}

static struct ibv_mr *reg_mr(struct ibv_pd *pd, void *address, size_t length,
                             int access)
{
    take_time(++registrations % HANGS ? COST_MR_US : HANG_US);
    return real.reg_mr(pd, address, length, access);
}

/* ---- Who came, and when -------------------------------------------------- */

static void came(const struct rdma_cm_event *event)
{
    struct scale_server *server = &world->server;
    const struct rdisk_wire_connect *wire = event->param.conn.private_data;

    if (event->event != RDMA_CM_EVENT_CONNECT_REQUEST ||
        wire->kind != RDISK_LINK_CONTROL || server->came_count == SCALE_CAME) {
        return;
    }
    server->came[server->came_count++] = event->id;
}

static int get_cm_event(struct rdma_event_channel *channel,
                        struct rdma_cm_event **event)
{
    int ret = real.get_cm_event(channel, event);

    if (ret == 0) {
        came(*event);
    }
    return ret;
}

/* The newest that has this id, since ids are used again. */
static void opens(struct scale_server *server, const struct rdma_cm_id *id)
{
    for (unsigned int i = server->came_count; i > 0; i--) {
        if (server->came[i - 1] == id && server->open_count < SCALE_SESSIONS) {
            server->opened[server->open_count++] = i - 1;
            return;
        }
    }
}

/* ---- The owner ---------------------------------------------------------- */

static struct scale_holder *find_holder(struct scale *scale,
                                        const uint8_t *client)
{
    struct scale_holder *holder = scale->server.holders;

    while (holder && memcmp(holder->client, client, sizeof(holder->client))) {
        holder = holder->next;
    }
    return holder;
}

static enum rdisk_status owner_open(void *opaque,
                                    struct rdisk_target_session *session,
                                    const struct rdisk_open_request *request,
                                    struct rdisk_open_grant *grant, void **user,
                                    struct rdisk_error *err)
{
    struct scale *scale = opaque;
    struct scale_server *server = &scale->server;
    struct scale_holder *holder = find_holder(scale, request->client);

    if (holder) {
        rdisk_target_session_fence(holder->session);
        rdisk_error_set(err, -EBUSY, "its older session ends first");
        return RDISK_LATER;
    }
    if (rdisk_target_session_reserve(session, err) < 0) {
        return RDISK_STATUS_NO_RESOURCES;
    }
    holder = calloc(1, sizeof(*holder));
    if (!holder) {
        abort();
    }
    holder->scale = scale;
    holder->session = session;
    memcpy(holder->client, request->client, sizeof(holder->client));
    holder->next = server->holders;
    server->holders = holder;
    *user = holder;
    *grant = (struct rdisk_open_grant) { .size = 1 << 20, .block_size = 512 };
    opens(server, session->id);
    return RDISK_STATUS_OK;
}

static void owner_close(void *opaque, void *user, bool orderly)
{
    struct scale *scale = opaque;
    struct scale_holder **link = &scale->server.holders;

    while (*link != user) {
        link = &(*link)->next;
    }
    *link = (*link)->next;
    free(user);
}

static struct rdisk_target_group *owner_queue_group(void *opaque, void *user)
{
    struct scale *scale = opaque;

    return scale->server.group;
}

/* Each thing is done in a turn of its own, however many queues there are. */
static void make_due(struct scale_queue *queue)
{
    struct scale_server *server = &queue->scale->server;

    if (!queue->due) {
        queue->due = true;
        queue->next_due = server->due;
        server->due = queue;
    }
}

static int owner_queue_new(void *opaque, void *user,
                           struct rdisk_target_queue *target, void **queue_user,
                           struct rdisk_error *err)
{
    struct scale *scale = opaque;
    struct scale_queue *queue = calloc(1, sizeof(*queue));

    if (!queue) {
        abort();
    }
    queue->scale = scale;
    queue->queue = target;
    make_due(queue);
    *queue_user = queue;
    return 0;
}

struct scale_held {
    struct rdisk_target_request *request;
    struct rdisk_target_queue *queue;
    struct scale_held *next;
    uint64_t due;
};

static void owner_request(void *queue_user,
                          struct rdisk_target_request *request)
{
    struct scale_queue *queue = queue_user;
    struct scale_server *server = &queue->scale->server;
    struct scale_held *held = calloc(1, sizeof(*held));

    if (!held) {
        abort();
    }
    held->request = request;
    held->queue = queue->queue;
    held->due = scale_now(queue->scale) +
                HELD_US(queue->scale->count) * 1000ull;
    *server->held_end = held;
    server->held_end = &held->next;
}

static bool answer_held(struct scale *scale)
{
    struct scale_server *server = &scale->server;
    bool moved = false;

    while (server->held && server->held->due <= scale_now(scale)) {
        struct scale_held *held = server->held;

        server->held = held->next;
        if (!server->held) {
            server->held_end = &server->held;
        }
        rdisk_target_complete(held->request, RDISK_STATUS_OK);
        rdisk_target_queue_kick(held->queue);
        free(held);
        moved = true;
    }
    return moved;
}

uint64_t scale_server_due(const struct scale *scale)
{
    return scale->server.held ? scale->server.held->due : RDISK_NEVER;
}

double scale_server_fairness(const struct scale *scale)
{
    double sum = 0, squares = 0;
    unsigned int count = 0;

    for (const struct rdisk_target_session *session =
             scale->server.target->sessions;
         session; session = session->next) {
        sum += (double)session->memory;
        squares += (double)session->memory * (double)session->memory;
        count++;
    }
    return sum * sum / (squares * count);
}

static void owner_slots_returned(void *queue_user,
                                 struct rdisk_target_grant *grant)
{
    struct scale_queue *queue = queue_user;

    grant->owner[0] = queue->returned;
    queue->returned = grant;
    make_due(queue);
}

static void owner_slots_idle(void *queue_user, struct rdisk_target_grant *grant)
{
    struct scale_queue *queue = queue_user;

    grant->owner[0] = queue->retired;
    queue->retired = grant;
    make_due(queue);
}

/* Slots that were returned are looked at by the reactor, then released. */
static void serve_slots(struct scale_queue *queue)
{
    struct rdisk_target_grant *grant;

    while ((grant = queue->returned)) {
        queue->returned = grant->owner[0];
        rdisk_target_grant_retire(queue->queue, grant);
    }
    while (!queue->idle && (grant = queue->retired)) {
        queue->retired = grant->owner[0];
        rdisk_target_grant_release(queue->queue, grant);
    }
}

static void owner_queue_idle(void *queue_user, struct rdisk_target_queue *queue)
{
    struct scale_queue *idle = queue_user;

    idle->idle = true;
    make_due(idle);
}

static void start_queue(struct scale_queue *queue)
{
    struct rdisk_target_cq *cq = rdisk_target_queue_cq(queue->queue);

    queue->started = true;
    scale_watch(queue->scale, rdisk_target_cq_fd(cq), SCALE_CQ, cq);
    rdisk_target_queue_start(queue->queue);
}

/* The reactors' part: queues start, and end. */
static bool serve_queues(struct scale *scale)
{
    struct scale_queue *queue = scale->server.due, *next;
    bool any = queue;

    scale->server.due = NULL;
    for (; queue; queue = next) {
        next = queue->next_due;
        queue->due = false;
        if (!queue->started) {
            start_queue(queue);
        }
        if (!queue->idle) {
            serve_slots(queue);
        }
        if (queue->idle && !queue->due) {
            rdisk_target_queue_release(queue->queue);
            free(queue);
        }
    }
    return any;
}

/* ---- The program -------------------------------------------------------- */

void scale_server_start(struct scale *scale)
{
    static const struct rdisk_target_events events = {
        .open = owner_open,
        .close = owner_close,
        .queue_group = owner_queue_group,
        .queue_new = owner_queue_new,
        .request = owner_request,
        .queue_idle = owner_queue_idle,
        .slots_returned = owner_slots_returned,
        .slots_idle = owner_slots_idle,
    };
    struct scale_server *server = &scale->server;
    struct rdisk_error err;

    server->target = rdisk_target_create(&server->env, &server->options,
                                         &events, scale, &err);
    if (!server->target) {
        scale_fail("the server does not start: %s", err.text);
    }
    server->group = rdisk_target_group_create(&server->env, SCALE_ENTRIES, 0);
    server->came_count = server->open_count = 0;
    scale_watch(scale, rdisk_target_fd(server->target), SCALE_TARGET, scale);
}

void scale_server_process(struct scale *scale)
{
    struct scale_server *server = &scale->server;
    uint64_t memory;

    scale_mutate_turn(scale);
    server->turn = scale_now(scale);
    rdisk_target_process(server->target);
    server->turn = 0;
    memory = server->target->memory;
    server->most_memory = memory > server->most_memory ? memory
                                                       : server->most_memory;
    if (memory > server->limit) {
        scale_fail("sessions have %llu bytes of the server's %llu",
                   (unsigned long long)memory,
                   (unsigned long long)server->limit);
    }
}

void scale_server_kill(struct scale *scale)
{
    struct scale_server *server = &scale->server;

    fake_host_kill(server->host, FAKE_PROCESS_DIES);
    server->dead = true;
    rdisk_target_stop(server->target, "dead");
}

bool scale_server_life(struct scale *scale)
{
    struct scale_server *server = &scale->server;
    bool moved = serve_queues(scale);

    moved |= answer_held(scale);
    if (!server->target || !server->dead ||
        rdisk_target_sessions(server->target)) {
        return moved;
    }
    rdisk_target_destroy(server->target);
    rdisk_target_group_destroy(server->group);
    server->target = NULL;
    server->dead = false;
    fake_host_start(server->host);
    return true;
}

/* ---- Beginning ---------------------------------------------------------- */

static uint64_t env_now(void *opaque)
{
    struct scale *scale = opaque;

    /* A mutation: its turns take no time, and the pauses between them all. */
    return scale->mutation == SCALE_MUTATE_OWN_DELAY && scale->server.turn
               ? scale->server.turn
               : scale_now(scale);
}

static void env_random(void *opaque, void *buf, size_t size)
{
    struct scale *scale = opaque;

    scale->server.fake.random(scale->server.fake.opaque, buf, size);
}

static void env_log(void *opaque, enum rdisk_log_level level, const char *line)
{
    struct scale *scale = opaque;

    scale->server.dropped += strstr(line, "handshake timeout") != NULL;
    if (scale->verbose && level <= RDISK_LOG_INFO) {
        printf("%12.6f server: %s\n", scale_seconds(scale_now(scale)), line);
    }
}

void scale_server_begin(struct scale *scale)
{
    struct scale_server *server = &scale->server;

    world = scale;
    server->host = fake_host_add(scale->fabric, "10.0.0.1");
    scale_raise_limits(server->host);
    fake_host_env(server->host, &server->fake);
    real = server->verbs = *server->fake.verbs;
    server->verbs.create_qp = create_qp;
    server->verbs.reg_mr = reg_mr;
    server->verbs.get_cm_event = get_cm_event;
    server->env = (struct rdisk_env) {
        .verbs = &server->verbs,
        .now = env_now,
        .stopwatch = env_now,
        .random = env_random,
        .log = env_log,
        .opaque = scale,
    };
    rdisk_target_options_init(&server->options);
    server->options.port = SCALE_PORT;
    server->options.handshake_timeout_ms = PATIENCE_MS;
    server->options.base_memory = BASE;
    server->limit = (uint64_t)scale->count * LIMIT;
    server->options.max_memory = server->limit;
    server->held_end = &server->held;
    scale_mutate_server(scale);
}
