/* SPDX-License-Identifier: BSD-3-Clause */
#include "transport/verbs/verbs.h"
#include "transport/verbs/doorbell.h"

#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <linux/if.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* librdmacm returns -1 and sets errno; libibverbs mostly the errno itself. */
static int cm_result(int result)
{
    return result ? -errno : 0;
}

static int set_nonblocking(int fd)
{
    int flags = fcntl(fd, F_GETFL);

    return flags < 0 ? -1 : fcntl(fd, F_SETFL, flags | O_NONBLOCK);
}

static struct rdma_event_channel *sys_create_event_channel(void)
{
    struct rdma_event_channel *channel = rdma_create_event_channel();

    if (channel && set_nonblocking(channel->fd) < 0) {
        rdma_destroy_event_channel(channel);
        return NULL;
    }
    return channel;
}

/*
 * librdmacm keeps each device open that it has ever used, and closes it only
 * after it was missing in the list of devices, which it reads only on request.
 * Soft-RoCE's kernel module cannot remove a device that processes have open, so
 * until then the removal waits.
 */
static void miss_device(void)
{
    struct ibv_context **devices = rdma_get_devices(NULL);

    if (devices) {
        rdma_free_devices(devices);
    }
}

static int sys_get_cm_event(struct rdma_event_channel *channel,
                            struct rdma_cm_event **event)
{
    int ret = cm_result(rdma_get_cm_event(channel, event));

    if (ret == 0 && (*event)->event == RDMA_CM_EVENT_DEVICE_REMOVAL) {
        miss_device();
    }
    return ret;
}

static void sys_ack_cm_event(struct rdma_cm_event *event)
{
    rdma_ack_cm_event(event);
}

static int sys_create_id(struct rdma_event_channel *channel,
                         struct rdma_cm_id **id, void *context)
{
    return cm_result(rdma_create_id(channel, id, context, RDMA_PS_TCP));
}

static void sys_destroy_id(struct rdma_cm_id *id)
{
    rdma_destroy_id(id);
}

static int sys_migrate_id(struct rdma_cm_id *id,
                          struct rdma_event_channel *channel)
{
    return cm_result(rdma_migrate_id(id, channel));
}

static int sys_bind_addr(struct rdma_cm_id *id, struct sockaddr *addr)
{
    return cm_result(rdma_bind_addr(id, addr));
}

static int sys_listen(struct rdma_cm_id *id, int backlog)
{
    return cm_result(rdma_listen(id, backlog));
}

static int sys_resolve_addr(struct rdma_cm_id *id, struct sockaddr *dst,
                            int timeout_ms)
{
    return cm_result(rdma_resolve_addr(id, NULL, dst, timeout_ms));
}

static int sys_resolve_route(struct rdma_cm_id *id, int timeout_ms)
{
    return cm_result(rdma_resolve_route(id, timeout_ms));
}

static int sys_set_ack_timeout(struct rdma_cm_id *id, uint8_t timeout)
{
    return cm_result(rdma_set_option(id, RDMA_OPTION_ID,
                                     RDMA_OPTION_ID_ACK_TIMEOUT, &timeout,
                                     sizeof(timeout)));
}

static int sys_set_afonly(struct rdma_cm_id *id, int afonly)
{
    return cm_result(rdma_set_option(id, RDMA_OPTION_ID, RDMA_OPTION_ID_AFONLY,
                                     &afonly, sizeof(afonly)));
}

static int sys_create_qp(struct rdma_cm_id *id, struct ibv_pd *pd,
                         struct ibv_qp_init_attr *attr)
{
    return cm_result(rdma_create_qp(id, pd, attr));
}

static void sys_destroy_qp(struct rdma_cm_id *id)
{
    rdma_destroy_qp(id);
}

static int sys_connect(struct rdma_cm_id *id, struct rdma_conn_param *param)
{
    return cm_result(rdma_connect(id, param));
}

static int sys_accept(struct rdma_cm_id *id, struct rdma_conn_param *param)
{
    return cm_result(rdma_accept(id, param));
}

static int sys_reject(struct rdma_cm_id *id, const void *private_data,
                      uint8_t private_data_len)
{
    return cm_result(rdma_reject(id, private_data, private_data_len));
}

static int sys_disconnect(struct rdma_cm_id *id)
{
    return cm_result(rdma_disconnect(id));
}

static int sys_query_device(struct ibv_context *context,
                            struct ibv_device_attr *attr)
{
    return -ibv_query_device(context, attr);
}

static int sys_query_port(struct ibv_context *context, uint8_t port,
                          struct ibv_port_attr *attr)
{
    return -ibv_query_port(context, port, attr);
}

static bool same_address(const struct sockaddr *a, const struct sockaddr *b)
{
    if (!a || a->sa_family != b->sa_family) {
        return false;
    }
    if (a->sa_family == AF_INET6) {
        return !memcmp(&((const struct sockaddr_in6 *)a)->sin6_addr,
                       &((const struct sockaddr_in6 *)b)->sin6_addr,
                       sizeof(struct in6_addr));
    }
    return a->sa_family == AF_INET &&
           ((const struct sockaddr_in *)a)->sin_addr.s_addr ==
               ((const struct sockaddr_in *)b)->sin_addr.s_addr;
}

/*
 * LOWER_UP goes with the carrier. RUNNING comes back when the kernel has seen
 * the carrier, and given the interface its queue; so both have to be there.
 */
static bool sys_interface_up(struct rdma_cm_id *id)
{
    const unsigned int up = IFF_RUNNING | IFF_LOWER_UP;
    const struct sockaddr *address = rdma_get_local_addr(id);
    struct ifaddrs *all;
    bool known = false, is_up = false;

    if (getifaddrs(&all) < 0) {
        return true;
    }
    for (struct ifaddrs *one = all; one; one = one->ifa_next) {
        if (same_address(one->ifa_addr, address)) {
            known = true;
            is_up |= (one->ifa_flags & up) == up;
        }
    }
    freeifaddrs(all);
    return is_up || !known;
}

static int sys_dealloc_pd(struct ibv_pd *pd)
{
    return -ibv_dealloc_pd(pd);
}

static struct ibv_mr *sys_reg_mr(struct ibv_pd *pd, void *addr, size_t length,
                                 int access)
{
    return ibv_reg_mr(pd, addr, length, access);
}

static int sys_dereg_mr(struct ibv_mr *mr)
{
    return -ibv_dereg_mr(mr);
}

static struct ibv_mw *sys_alloc_mw(struct ibv_pd *pd, enum ibv_mw_type type)
{
    return ibv_alloc_mw(pd, type);
}

static int sys_dealloc_mw(struct ibv_mw *mw)
{
    return -ibv_dealloc_mw(mw);
}

static struct ibv_comp_channel *sys_create_comp_channel(
    struct ibv_context *context)
{
    struct ibv_comp_channel *channel = ibv_create_comp_channel(context);

    if (channel && set_nonblocking(channel->fd) < 0) {
        ibv_destroy_comp_channel(channel);
        return NULL;
    }
    return channel;
}

static int sys_destroy_comp_channel(struct ibv_comp_channel *channel)
{
    return -ibv_destroy_comp_channel(channel);
}

static int sys_destroy_cq(struct ibv_cq *cq)
{
    return -ibv_destroy_cq(cq);
}

static int sys_get_cq_event(struct ibv_comp_channel *channel,
                            struct ibv_cq **cq, void **cq_context)
{
    return cm_result(ibv_get_cq_event(channel, cq, cq_context));
}

static int sys_req_notify_cq(struct ibv_cq *cq, int solicited_only)
{
    return -ibv_req_notify_cq(cq, solicited_only);
}

static int sys_poll_cq(struct ibv_cq *cq, int count, struct ibv_wc *wc)
{
    return ibv_poll_cq(cq, count, wc);
}

static int sys_post_send(struct ibv_qp *qp, struct ibv_send_wr *wr,
                         struct ibv_send_wr **bad)
{
    int ret;

    *bad = NULL;
    ret = ibv_post_send(qp, wr, bad);
    if (ret == EACCES && !*bad) {
        /* This process has changed its user. */
        ret = -rdisk_doorbell_ring(qp);
    }
    if (ret && !*bad) {
        *bad = wr;
    }
    return -ret;
}

static int sys_post_recv(struct ibv_qp *qp, struct ibv_recv_wr *wr,
                         struct ibv_recv_wr **bad)
{
    return -ibv_post_recv(qp, wr, bad);
}

static int sys_modify_qp(struct ibv_qp *qp, struct ibv_qp_attr *attr, int mask)
{
    return -ibv_modify_qp(qp, attr, mask);
}

const struct rdisk_verbs rdisk_verbs_system = {
    .query_name = rdisk_name_query,
    .name_answer = rdisk_name_answer,
    .name_end = rdisk_name_end,
    .create_event_channel = sys_create_event_channel,
    .destroy_event_channel = rdma_destroy_event_channel,
    .get_cm_event = sys_get_cm_event,
    .ack_cm_event = sys_ack_cm_event,
    .create_id = sys_create_id,
    .destroy_id = sys_destroy_id,
    .migrate_id = sys_migrate_id,
    .bind_addr = sys_bind_addr,
    .listen = sys_listen,
    .resolve_addr = sys_resolve_addr,
    .resolve_route = sys_resolve_route,
    .set_ack_timeout = sys_set_ack_timeout,
    .set_afonly = sys_set_afonly,
    .create_qp = sys_create_qp,
    .destroy_qp = sys_destroy_qp,
    .connect = sys_connect,
    .accept = sys_accept,
    .reject = sys_reject,
    .disconnect = sys_disconnect,
    .query_device = sys_query_device,
    .query_port = sys_query_port,
    .interface_up = sys_interface_up,
    .alloc_pd = ibv_alloc_pd,
    .dealloc_pd = sys_dealloc_pd,
    .reg_mr = sys_reg_mr,
    .dereg_mr = sys_dereg_mr,
    .alloc_mw = sys_alloc_mw,
    .dealloc_mw = sys_dealloc_mw,
    .create_comp_channel = sys_create_comp_channel,
    .destroy_comp_channel = sys_destroy_comp_channel,
    .create_cq = ibv_create_cq,
    .destroy_cq = sys_destroy_cq,
    .get_cq_event = sys_get_cq_event,
    .ack_cq_events = ibv_ack_cq_events,
    .req_notify_cq = sys_req_notify_cq,
    .poll_cq = sys_poll_cq,
    .post_send = sys_post_send,
    .post_recv = sys_post_recv,
    .modify_qp = sys_modify_qp,
};

const char *rdisk_wc_status_name(int status)
{
    return ibv_wc_status_str((enum ibv_wc_status)status);
}
