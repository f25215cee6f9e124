/* SPDX-License-Identifier: BSD-3-Clause */
/* The control thread's events: serving, and the end. Control thread. */
#ifndef RDISK_SERVER_RUN_H
#define RDISK_SERVER_RUN_H

#include <stdint.h>

#include <rdisk/error.h>

struct server;

/* Serve until stopped by a signal. 0, or -ETIMEDOUT: sessions were left. */
int server_run(struct server *server);
/* Give everything back; only after server_run() returned 0. */
void server_free(struct server *server);

/* For the start: run one event, or return at @until or the next deadline. */
void server_turn(struct server *server, uint64_t until);
int server_watch_all(struct server *server, struct rdisk_error *err);
int server_watch_target(struct server *server, struct rdisk_error *err);

#endif
