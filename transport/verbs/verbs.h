/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Every call the transport makes of libibverbs and librdmacm, as one table.
 *
 * The members carry the names, arguments and results of the library calls they
 * stand for (rdma_create_id() is create_id and so on); see their man pages.
 * The structures are the libraries' own. Two differences: both kinds of event
 * channel come non-blocking, and calls that fail return a negative errno or
 * NULL with errno set.
 *
 * rdisk_verbs_system calls the libraries. Tests put a device that behaves like
 * one, or fails on purpose, in its place; so no other file may call a library
 * function that touches a device.
 */
#ifndef RDISK_VERBS_VERBS_H
#define RDISK_VERBS_VERBS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <infiniband/verbs.h>
#include <rdma/rdma_cma.h>

#include "transport/verbs/name.h"

struct rdisk_verbs {
    /*
     * Names. No verbs either: another thread resolves @host (name.h). NULL with
     * errno set: EAGAIN, too many names are being resolved.
     */
    struct rdisk_name_query *(*query_name)(const char *host, uint16_t port);
    /* 0; -EAGAIN: no answer yet; -ENOENT, and @why, which is not freed. */
    int (*name_answer)(struct rdisk_name_query *query,
                       struct rdisk_addresses *addresses, const char **why);
    /* Answered or not: does not wait. */
    void (*name_end)(struct rdisk_name_query *query);

    /* Connection manager */
    struct rdma_event_channel *(*create_event_channel)(void);
    void (*destroy_event_channel)(struct rdma_event_channel *channel);
    int (*get_cm_event)(struct rdma_event_channel *channel,
                        struct rdma_cm_event **event); /* -EAGAIN: none */
    void (*ack_cm_event)(struct rdma_cm_event *event);
    int (*create_id)(struct rdma_event_channel *channel, struct rdma_cm_id **id,
                     void *context);
    void (*destroy_id)(struct rdma_cm_id *id);
    /* With its events, of which none is taken and not acknowledged. */
    int (*migrate_id)(struct rdma_cm_id *id,
                      struct rdma_event_channel *channel);
    int (*bind_addr)(struct rdma_cm_id *id, struct sockaddr *addr);
    int (*listen)(struct rdma_cm_id *id, int backlog);
    int (*resolve_addr)(struct rdma_cm_id *id, struct sockaddr *dst,
                        int timeout_ms);
    int (*resolve_route)(struct rdma_cm_id *id, int timeout_ms);
    /* RDMA_OPTION_ID_ACK_TIMEOUT: 4.096 us * 2^timeout; before
     * connect/accept */
    int (*set_ack_timeout)(struct rdma_cm_id *id, uint8_t timeout);
    /* RDMA_OPTION_ID_AFONLY, before bind: 0: "::" is any IPv4 address, too */
    int (*set_afonly)(struct rdma_cm_id *id, int afonly);
    int (*create_qp)(struct rdma_cm_id *id, struct ibv_pd *pd,
                     struct ibv_qp_init_attr *attr);
    void (*destroy_qp)(struct rdma_cm_id *id);
    int (*connect)(struct rdma_cm_id *id, struct rdma_conn_param *param);
    int (*accept)(struct rdma_cm_id *id, struct rdma_conn_param *param);
    int (*reject)(struct rdma_cm_id *id, const void *private_data,
                  uint8_t private_data_len);
    int (*disconnect)(struct rdma_cm_id *id);

    /* Device and memory */
    int (*query_device)(struct ibv_context *context,
                        struct ibv_device_attr *attr);
    int (*query_port)(struct ibv_context *context, uint8_t port,
                      struct ibv_port_attr *attr);
    /*
     * No verb: true if the interface with the id's address passes packets, or
     * if this is not known. Soft-RoCE's port is a second late, in Linux 6.12
     * when a carrier is lost, and in 7.2 before the interface has its queue
     * back; what is sent in that second may fail.
     */
    bool (*interface_up)(struct rdma_cm_id *id);
    struct ibv_pd *(*alloc_pd)(struct ibv_context *context);
    int (*dealloc_pd)(struct ibv_pd *pd);
    struct ibv_mr *(*reg_mr)(struct ibv_pd *pd, void *addr, size_t length,
                             int access);
    int (*dereg_mr)(struct ibv_mr *mr);
    struct ibv_mw *(*alloc_mw)(struct ibv_pd *pd, enum ibv_mw_type type);
    int (*dealloc_mw)(struct ibv_mw *mw);

    /* Completion queues */
    struct ibv_comp_channel *(*create_comp_channel)(struct ibv_context *ctx);
    int (*destroy_comp_channel)(struct ibv_comp_channel *channel);
    struct ibv_cq *(*create_cq)(struct ibv_context *context, int cqe,
                                void *cq_context,
                                struct ibv_comp_channel *channel, int vector);
    int (*destroy_cq)(struct ibv_cq *cq);
    int (*get_cq_event)(struct ibv_comp_channel *channel, struct ibv_cq **cq,
                        void **cq_context); /* -EAGAIN: none */
    void (*ack_cq_events)(struct ibv_cq *cq, unsigned int count);
    int (*req_notify_cq)(struct ibv_cq *cq, int solicited_only);
    int (*poll_cq)(struct ibv_cq *cq, int count, struct ibv_wc *wc);

    /* Queue pairs */
    int (*post_send)(struct ibv_qp *qp, struct ibv_send_wr *wr,
                     struct ibv_send_wr **bad);
    int (*post_recv)(struct ibv_qp *qp, struct ibv_recv_wr *wr,
                     struct ibv_recv_wr **bad);
    int (*modify_qp)(struct ibv_qp *qp, struct ibv_qp_attr *attr, int mask);
};

extern const struct rdisk_verbs rdisk_verbs_system;

/* "remote access error": what a completion's status means. */
const char *rdisk_wc_status_name(int status);

#endif
