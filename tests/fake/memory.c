/* SPDX-License-Identifier: BSD-3-Clause */
/* The device, its protection domains and memory regions. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"

static int query_device(struct ibv_context *context,
                        struct ibv_device_attr *attr)
{
    struct fake_host *host = fake_context_host(context);
    int ret;

    fake_lock(host->fabric);
    ret = fake_called(host, FAKE_QUERY_DEVICE);
    if (ret == 0 && host->removed) {
        ret = -EIO;
    }
    if (ret == 0) {
        memset(attr, 0, sizeof(*attr));
        snprintf(attr->fw_ver, sizeof(attr->fw_ver), "fake");
        attr->max_mr_size = host->limits.max_mr_size;
        attr->page_size_cap = 4096;
        attr->max_qp = host->limits.max_qp;
        attr->max_qp_wr = host->limits.max_qp_wr;
        attr->max_sge = host->limits.max_sge;
        attr->max_sge_rd = host->limits.max_sge_rd;
        attr->max_cq = 65536;
        attr->max_cqe = host->limits.max_cqe;
        attr->max_mr = host->limits.max_mr;
        attr->max_mw = host->limits.max_mw;
        if (host->limits.max_mw) {
            attr->device_cap_flags = IBV_DEVICE_MEM_WINDOW |
                                     IBV_DEVICE_MEM_WINDOW_TYPE_2B;
        }
        attr->max_pd = 65536;
        attr->max_qp_rd_atom = host->limits.max_rd_atom;
        attr->max_qp_init_rd_atom = host->limits.max_rd_atom;
        attr->phys_port_cnt = 1;
    }
    fake_unlock(host->fabric);
    return ret;
}

static int query_port(struct ibv_context *context, uint8_t port,
                      struct ibv_port_attr *attr)
{
    struct fake_host *host = fake_context_host(context);
    int ret = 0;

    fake_lock(host->fabric);
    if (host->removed) {
        ret = -EIO;
    } else if (port != 1) {
        ret = -EINVAL;
    } else {
        memset(attr, 0, sizeof(*attr));
        attr->state = host->no_link && host->fabric->now >= host->told
                          ? IBV_PORT_DOWN
                          : IBV_PORT_ACTIVE;
    }
    fake_unlock(host->fabric);
    return ret;
}

static bool interface_up(struct rdma_cm_id *id)
{
    struct fake_host *host = fake_context_host(id->verbs);
    bool up;

    fake_lock(host->fabric);
    up = fake_linked(host);
    fake_unlock(host->fabric);
    return up;
}

static struct ibv_pd *alloc_pd(struct ibv_context *context)
{
    struct fake_host *host = fake_context_host(context);
    struct fake_pd *pd = NULL;
    int ret;

    fake_lock(host->fabric);
    ret = fake_called(host, FAKE_ALLOC_PD);
    if (ret == 0 && host->removed) {
        ret = -EIO;
    }
    if (ret == 0) {
        pd = fake_alloc(sizeof(*pd));
        pd->host = host;
        pd->born = host->removals;
        pd->pd.context = context;
        TAILQ_INSERT_TAIL(&host->pds, pd, link);
        host->fabric->live[FAKE_OBJECT_PD]++;
    }
    fake_unlock(host->fabric);
    if (ret < 0) {
        errno = -ret;
        return NULL;
    }
    return &pd->pd;
}

static int dealloc_pd(struct ibv_pd *ibv)
{
    struct fake_pd *pd = (struct fake_pd *)ibv;
    struct fake_fabric *fabric = pd->host->fabric;
    int ret = 0;

    fake_lock(fabric);
    if (pd->users) {
        ret = -EBUSY;
    } else {
        fabric->live[FAKE_OBJECT_PD]--;
        TAILQ_REMOVE(&pd->host->pds, pd, link);
        free(pd);
    }
    fake_unlock(fabric);
    return ret;
}

/* ---- Keys -------------------------------------------------------------- */

static uint32_t key_of(const struct fake_mr *mr, enum fake_key_kind kind)
{
    return kind == FAKE_REMOTE_KEY ? mr->mr.rkey : mr->mr.lkey;
}

static struct fake_mr **key_bucket(struct fake_host *host,
                                   enum fake_key_kind kind, uint32_t key)
{
    return &host->mr_hash[kind][key % FAKE_KEY_HASH];
}

static struct fake_mr *find_key(struct fake_host *host, enum fake_key_kind kind,
                                uint32_t key)
{
    struct fake_mr *mr = *key_bucket(host, kind, key);

    while (mr && key_of(mr, kind) != key) {
        mr = mr->hash_next[kind];
    }
    return mr;
}

static void add_keys(struct fake_host *host, struct fake_mr *mr)
{
    for (unsigned int kind = 0; kind < FAKE_KEYS; kind++) {
        struct fake_mr **bucket = key_bucket(host, kind, key_of(mr, kind));

        mr->hash_next[kind] = *bucket;
        *bucket = mr;
    }
}

static void remove_keys(struct fake_host *host, const struct fake_mr *mr)
{
    for (unsigned int kind = 0; kind < FAKE_KEYS; kind++) {
        struct fake_mr **link = key_bucket(host, kind, key_of(mr, kind));

        while (*link != mr) {
            link = &(*link)->hash_next[kind];
        }
        *link = mr->hash_next[kind];
    }
}

/* Unguessable: nothing of another region, or of the other key, follows. */
uint32_t fake_new_key(struct fake_host *host)
{
    for (;;) {
        uint32_t key = fake_random64(&host->fabric->random_state);

        if (key && !find_key(host, FAKE_LOCAL_KEY, key) &&
            !find_key(host, FAKE_REMOTE_KEY, key) &&
            !fake_find_window(host, key >> 8)) {
            return key;
        }
    }
}

static int check_region(struct fake_host *host, void *addr, size_t length,
                        int access)
{
    const int known = IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE |
                      IBV_ACCESS_REMOTE_READ | IBV_ACCESS_REMOTE_ATOMIC |
                      IBV_ACCESS_MW_BIND | IBV_ACCESS_RELAXED_ORDERING;
    const int writes = IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_ATOMIC;

    if (host->removed) {
        return -EIO;
    }
    if (!length || (uintptr_t)addr + length < (uintptr_t)addr ||
        length > host->limits.max_mr_size || (access & ~known)) {
        return -EINVAL;
    }
    if ((access & writes) && !(access & IBV_ACCESS_LOCAL_WRITE)) {
        return -EINVAL;
    }
    if (host->mr_count >= (unsigned int)host->limits.max_mr ||
        host->registered + length > host->limits.memlock) {
        return -ENOMEM;
    }
    return 0;
}

static struct ibv_mr *reg_mr(struct ibv_pd *ibv, void *addr, size_t length,
                             int access)
{
    struct fake_pd *pd = (struct fake_pd *)ibv;
    struct fake_host *host = pd->host;
    struct fake_mr *mr = NULL;
    int ret;

    fake_lock(host->fabric);
    ret = fake_called(host, FAKE_REG_MR);
    if (ret == 0) {
        ret = check_region(host, addr, length, access);
    }
    if (ret == 0) {
        mr = fake_alloc(sizeof(*mr));
        mr->pd = pd;
        mr->access = access;
        mr->mr.context = pd->pd.context;
        mr->mr.pd = ibv;
        mr->mr.addr = addr;
        mr->mr.length = length;
        mr->mr.lkey = fake_new_key(host);
        do {
            mr->mr.rkey = fake_new_key(host);
        } while (mr->mr.rkey == mr->mr.lkey);
        TAILQ_INSERT_TAIL(&host->mrs, mr, link);
        add_keys(host, mr);
        pd->users++;
        host->mr_count++;
        host->registered += length;
        host->fabric->live[FAKE_OBJECT_MR]++;
    }
    fake_unlock(host->fabric);
    if (ret < 0) {
        errno = -ret;
        return NULL;
    }
    return &mr->mr;
}

static int dereg_mr(struct ibv_mr *ibv)
{
    struct fake_mr *mr = (struct fake_mr *)ibv;
    struct fake_host *host = mr->pd->host;

    fake_lock(host->fabric);
    if (mr->windows) {
        fake_misuse(host->fabric,
                    "a region is deregistered with %u windows "
                    "bound to it",
                    mr->windows);
        fake_windows_drop(host, mr, NULL);
    }
    TAILQ_REMOVE(&host->mrs, mr, link);
    remove_keys(host, mr);
    mr->pd->users--;
    host->mr_count--;
    host->registered -= mr->mr.length;
    host->fabric->live[FAKE_OBJECT_MR]--;
    free(mr);
    fake_unlock(host->fabric);
    return 0;
}

/* True if one that is not acknowledged reads the memory of @lkey. */
static bool sends(const struct fake_qp *qp, uint32_t lkey)
{
    for (uint32_t i = qp->send_acked; i != qp->send_posted; i++) {
        const struct fake_send *send = &qp->sends[i % qp->cap.max_send_wr];

        for (int j = 0; j < send->num_sge && !send->is_inline; j++) {
            if (send->sges[j].lkey == lkey) {
                return true;
            }
        }
    }
    return false;
}

bool fake_host_reads(struct fake_host *host, uint32_t lkey)
{
    const struct fake_qp *qp;
    bool found = false;

    fake_lock(host->fabric);
    TAILQ_FOREACH(qp, &host->fabric->qps, link) {
        found = found || (qp->host == host && qp->qp.state == IBV_QPS_RTS &&
                          sends(qp, lkey));
    }
    fake_unlock(host->fabric);
    return found;
}

bool fake_key_allows(struct fake_host *host, struct fake_pd *pd, bool remote,
                     uint32_t key, uint64_t address, uint64_t length,
                     int access)
{
    const struct fake_mr *mr =
        find_key(host, remote ? FAKE_REMOTE_KEY : FAKE_LOCAL_KEY, key);
    uint64_t start = mr ? (uintptr_t)mr->mr.addr : 0;

    return mr && mr->pd == pd && (mr->access & access) == access &&
           address >= start && length <= mr->mr.length &&
           address - start <= mr->mr.length - length;
}

void fake_memory_verbs(struct rdisk_verbs *verbs)
{
    verbs->query_device = query_device;
    verbs->query_port = query_port;
    verbs->interface_up = interface_up;
    verbs->alloc_pd = alloc_pd;
    verbs->dealloc_pd = dealloc_pd;
    verbs->reg_mr = reg_mr;
    verbs->dereg_mr = dereg_mr;
}
