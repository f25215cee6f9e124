/* SPDX-License-Identifier: BSD-3-Clause */
#include "common/ini.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BLANKS " \t\r\n\v\f"

struct ini {
    const struct ini_handler *handler;
    void *opaque;
    char *section;
};

/* Without blanks at either end; in place. */
static char *trim(char *text)
{
    size_t length;

    text += strspn(text, BLANKS);
    length = strlen(text);
    while (length && strchr(BLANKS, text[length - 1])) {
        length--;
    }
    text[length] = '\0';
    return text;
}

/* Cut off a comment behind a blank. */
static void cut_comment(char *text)
{
    for (char *p = text; (p = strpbrk(p, ";#")); p++) {
        if (p == text || strchr(BLANKS, p[-1])) {
            *p = '\0';
            return;
        }
    }
}

static int malformed(struct rdisk_error *err)
{
    return rdisk_error_set(err, -EINVAL,
                           "neither [section], nor key = value, nor a ; or # "
                           "comment");
}

static bool begins_comment(const char *text)
{
    return *text == ';' || *text == '#';
}

/* The text between the quotes that @text begins with, in place. */
static int unquote(char *text, struct rdisk_error *err)
{
    char *from = text + 1, *to = text;

    while (*from && *from != '"') {
        if (from[0] == '\\' && (from[1] == '"' || from[1] == '\\')) {
            from++;
        }
        *to++ = *from++;
    }
    if (!*from) {
        return rdisk_error_set(err, -EINVAL,
                               "a quoted value has no closing \"");
    }
    from++;
    from += strspn(from, BLANKS);
    if (*from && !begins_comment(from)) {
        return rdisk_error_set(err, -EINVAL,
                               "'%.40s' follows a quoted value; write \" as "
                               "\\\" inside quotes",
                               from);
    }
    *to = '\0';
    return 0;
}

/* A value without what surrounds it, in place. */
static int clean_value(char **text, struct rdisk_error *err)
{
    *text += strspn(*text, BLANKS);
    if (**text == '"') {
        return unquote(*text, err);
    }
    cut_comment(*text);
    *text = trim(*text);
    return 0;
}

static int read_section(struct ini *ini, char *text, struct rdisk_error *err)
{
    char *end = strchr(text, ']');

    if (!end) {
        return malformed(err);
    }
    *end++ = '\0';
    cut_comment(end);
    if (trim(end)[0]) {
        return malformed(err);
    }
    free(ini->section);
    ini->section = strdup(trim(text));
    return ini->section
               ? ini->handler->section(ini->opaque, ini->section, err)
               : rdisk_error_set(err, -ENOMEM, "no memory for a section");
}

static int read_key(struct ini *ini, char *text, struct rdisk_error *err)
{
    char *value = strpbrk(text, "=:");
    int result;

    if (!value || value == text) {
        return malformed(err);
    }
    *value++ = '\0';
    result = clean_value(&value, err);
    return result < 0 ? result
                      : ini->handler->key(ini->opaque,
                                          ini->section ? ini->section : "",
                                          trim(text), value, err);
}

static int read_text(struct ini *ini, char *text, struct rdisk_error *err)
{
    text = trim(text);
    switch (text[0]) {
    case '\0':
    case ';':
    case '#':
        return 0;
    case '[':
        return read_section(ini, text + 1, err);
    default:
        return read_key(ini, text, err);
    }
}

/* A byte order mark at the beginning of the file is ignored. */
static char *without_mark(char *text)
{
    return strncmp(text, "\xef\xbb\xbf", 3) == 0 ? text + 3 : text;
}

/*
 * The next line in @text, without its newline. 1; 0 at the end; -EMSGSIZE;
 * -EILSEQ: it has a NUL, which would hide the rest of it.
 */
static int next_line(FILE *file, char *text)
{
    size_t length = 0;
    int c;

    while ((c = getc(file)) != EOF && c != '\n') {
        if (length == INI_LINE_MAX) {
            return -EMSGSIZE;
        }
        if (c == '\0') {
            return -EILSEQ;
        }
        text[length++] = (char)c;
    }
    text[length] = '\0';
    return length || c == '\n';
}

static int unreadable(int code, struct rdisk_error *err)
{
    return code == -EILSEQ
               ? rdisk_error_set(err, -EINVAL, "the line has a NUL byte")
               : rdisk_error_set(err, -EINVAL,
                                 "the line is longer than %u bytes",
                                 INI_LINE_MAX);
}

static int read_lines(struct ini *ini, FILE *file, char *text, const char *path,
                      struct rdisk_error *err)
{
    struct rdisk_error why = { 0 };
    unsigned int line = 0;
    int result = 0;

    while (result == 0) {
        int next = next_line(file, text);

        if (next == 0) {
            return ferror(file)
                       ? rdisk_error_set(err, -EIO,
                                         "cannot read the configuration file "
                                         "'%s': %s",
                                         path, strerror(errno))
                       : 0;
        }
        line++;
        result = next < 0
                     ? unreadable(next, &why)
                     : read_text(ini, line == 1 ? without_mark(text) : text,
                                 &why);
    }
    return rdisk_error_set(err, result, "%s:%u: %s", path, line, why.text);
}

int ini_read(const char *path, const struct ini_handler *handler, void *opaque,
             struct rdisk_error *err)
{
    struct ini ini = { .handler = handler, .opaque = opaque };
    char *text = malloc(INI_LINE_MAX + 1);
    FILE *file;
    int result;

    if (!text) {
        return rdisk_error_set(err, -ENOMEM, "no memory for a line of '%s'",
                               path);
    }
    file = fopen(path, "re");
    if (file) {
        result = read_lines(&ini, file, text, path, err);
        fclose(file);
    } else {
        result = rdisk_error_set(err, -errno,
                                 "cannot read the configuration file '%s': %s",
                                 path, strerror(errno));
    }
    free(ini.section);
    free(text);
    return result;
}
