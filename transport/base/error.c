/* SPDX-License-Identifier: BSD-3-Clause */
#include <rdisk/error.h>

#include <stdio.h>
#include <string.h>

int rdisk_error_vset(struct rdisk_error *err, int code, const char *format,
                     va_list args)
{
    if (err) {
        err->code = code;
        vsnprintf(err->text, sizeof(err->text), format, args);
    }
    return code;
}

int rdisk_error_set(struct rdisk_error *err, int code, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    rdisk_error_vset(err, code, format, args);
    va_end(args);
    return code;
}

int rdisk_error_prefix(struct rdisk_error *err, const char *format, ...)
{
    char prefix[sizeof(err->text)];
    char text[sizeof(err->text)];
    va_list args;

    if (!err) {
        return 0;
    }
    va_start(args, format);
    vsnprintf(prefix, sizeof(prefix), format, args);
    va_end(args);
    memcpy(text, err->text, sizeof(text));
    /* Cutting the end of an over-long sentence is all that is lost. */
    if (snprintf(err->text, sizeof(err->text), "%s: %s", prefix, text) < 0) {
        err->text[0] = '\0';
    }
    return err->code;
}
