/* SPDX-License-Identifier: BSD-3-Clause */
/* A lease's record as text, wherever it is kept. */
#ifndef RDISK_SERVER_VOLUME_RECORD_TEXT_H
#define RDISK_SERVER_VOLUME_RECORD_TEXT_H

#include "server/volume/lease.h"

#define RECORD_MAX  512                     /* bytes, with the NUL */
#define RECORD_NAME (2 * RDISK_ID_SIZE + 1) /* bytes, with the NUL */

void record_print(const struct lease_record *record, char text[RECORD_MAX]);
/* What is not just as this server writes it, or an older one did, is damaged:
 * false. */
bool record_parse(const char *text, struct lease_record *record);
/* Of the record of the volume with @identity. */
void record_name(const uint8_t *identity, char name[RECORD_NAME]);

#endif
