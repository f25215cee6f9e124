/* SPDX-License-Identifier: BSD-3-Clause */
/* What the attacks of adversary-client share. */
#ifndef RDISK_TESTS_ADVERSARY_ATTACK_H
#define RDISK_TESTS_ADVERSARY_ATTACK_H

#include <stdbool.h>

#include "session.h"

/* The attacker's session, on a volume of its own; and the victim's. */
extern struct session own, victim;

/* The attack has done harm unless @good; @what is printed then. */
void expect(bool good, const char *what);
#define EXPECT(condition) expect(condition, #condition)

/* Open the attacker's session; and join its queue, too. */
void open_own(void);
void begin(void);
/* The same on @volume. */
void begin_on(const char *volume);

/* reads.c, requests.c: each is one attack. */
void reads_of_other_memory(void);
void writes_to_an_image(void);
void garbage_headers(void);
void bad_lengths(void);
void bare_writes(void);
void several_requests(void);
void replays(void);
void garbage_messages(void);

#endif
