/* SPDX-License-Identifier: BSD-3-Clause */
/* A request on the control socket, checked here and nowhere else. */
#ifndef RDISK_SERVER_ADMIN_PARSE_H
#define RDISK_SERVER_ADMIN_PARSE_H

#include <stdbool.h>
#include <stdint.h>

#include "server/config/throttle_section.h"
#include <rdisk/error.h>
#include <rdisk/protocol.h>

enum request_op {
    REQUEST_CREATE,    /* {"op":"create","name":NAME,"size":BYTES
                        [,"replace":true][,"preallocate":true]} */
    REQUEST_DELETE,    /* {"op":"delete","name":NAME[,"snapshots":true]} */
    REQUEST_RESIZE,    /* {"op":"resize","name":NAME,"size":BYTES
                        [,"shrink":true]} */
    REQUEST_FENCE,     /* {"op":"fence","name":NAME} */
    REQUEST_LIST,      /* {"op":"list"} */
    REQUEST_STAT,      /* {"op":"stat"} */
    REQUEST_DRAIN,     /* {"op":"drain"[,"name":NAME]
                           [,"host":HOST,"port":PORT]} */
    REQUEST_RESUME,    /* {"op":"resume"[,"name":NAME]} */
    REQUEST_RELOAD,    /* {"op":"reload"} */
    REQUEST_SNAPSHOT,  /* {"op":"snapshot","name":VOLUME@SNAPSHOT
                           [,"copy":true]} */
    REQUEST_COPYING,   /* {"op":"copying","name":NAME} */
    REQUEST_SNAPSHOTS, /* {"op":"snapshots"[,"name":NAME]} */
    REQUEST_REVERT,    /* {"op":"revert","name":VOLUME@SNAPSHOT} */
    REQUEST_CLONE,     /* {"op":"clone","name":NAME,"target":NAME
                           [,"copy":true]} */
    REQUEST_FLATTEN,   /* {"op":"flatten","name":NAME} */
    REQUEST_USAGE,     /* {"op":"usage","name":NAME} */
    REQUEST_THROTTLE,  /* {"op":"throttle","name":NAME[,"client":true]
                           [,"limits":TEXT]} */
};

struct request {
    enum request_op op;
    char name[RDISK_VOLUME_NAME_MAX + 1]; /* "": not given */
    char target[RDISK_VOLUME_NAME_MAX + 1];
    uint64_t size; /* bytes */
    char limits[THROTTLE_TEXT];
    char host[256]; /* of the server to go on at; "": not given */
    uint16_t port;
    bool agreed; /* to "replace", "shrink", "snapshots" or "copy"; to
                        "client": the name is one */
    bool chosen; /* "preallocate" */
};

/* 0, or -EINVAL with a sentence that names the faulty part. */
int request_parse(const char *line, struct request *request,
                  struct rdisk_error *err);

#endif
