/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Errors: a negative errno inward, one sentence outward.
 *
 * Every function whose failure is shown to a person takes a struct rdisk_error.
 * The sentence states what failed, with which value, and what to do about it.
 * Passing NULL is allowed and drops the sentence only.
 */
#ifndef RDISK_ERROR_H
#define RDISK_ERROR_H

#include <stdarg.h>

#ifdef __cplusplus
extern "C" {
#endif

struct rdisk_error {
    int code;       /* negative errno; 0 while nothing failed */
    char text[320]; /* one sentence without a trailing newline */
};

/* Fill @err (which may be NULL) and return @code. */
int rdisk_error_set(struct rdisk_error *err, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

int rdisk_error_vset(struct rdisk_error *err, int code, const char *format,
                     va_list args) __attribute__((format(printf, 3, 0)));

/* Put "text: " in front of the sentence already in @err; returns err->code. */
int rdisk_error_prefix(struct rdisk_error *err, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#ifdef __cplusplus
}
#endif

#endif
