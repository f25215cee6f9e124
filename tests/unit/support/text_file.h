/* SPDX-License-Identifier: BSD-3-Clause */
/* Files of text that a test has the code read. */
#ifndef RDISK_UNIT_TEXT_FILE_H
#define RDISK_UNIT_TEXT_FILE_H

/* For text_file_create(). */
#define TEXT_FILE "/tmp/rdisk-unit-XXXXXX.conf"

/* A new file with @text, whose name replaces that in @path. */
void text_file_create(char path[sizeof(TEXT_FILE)], const char *text);
/* Its owner alone may read it, which is required of a secret. */
void text_file_write(const char *path, const char *text);

#endif
