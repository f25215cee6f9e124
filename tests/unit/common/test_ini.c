/* SPDX-License-Identifier: BSD-3-Clause */
/* Configuration files: what a value is, with quotes and comments around it. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/ini.h"
#include "tests/unit/support/text_file.h"
#include "tests/unit/support/unit.h"

static char seen[200]; /* "section/key=value|", one behind the other */

static int section(void *opaque, const char *name, struct rdisk_error *err)
{
    return 0;
}

static int key(void *opaque, const char *in, const char *name,
               const char *value, struct rdisk_error *err)
{
    size_t length = strlen(seen);

    snprintf(seen + length, sizeof(seen) - length, "%s/%s=%s|", in, name,
             value);
    return 0;
}

static int read_text(const char *text, struct rdisk_error *err)
{
    static const struct ini_handler handler = { section, key };
    char path[sizeof(TEXT_FILE)];
    int result;

    text_file_create(path, text);
    seen[0] = '\0';
    result = ini_read(path, &handler, NULL, err);
    unlink(path);
    return result;
}

static void check_read(const char *text, const char *wanted)
{
    struct rdisk_error err = { 0 };

    CHECK_EQUAL(read_text(text, &err), 0);
    CHECK_SAYS(seen, wanted);
    CHECK_EQUAL(strlen(seen), strlen(wanted));
}

static void check_refused(const char *text, const char *words)
{
    struct rdisk_error err = { 0 };

    CHECK_EQUAL(read_text(text, &err), -EINVAL);
    CHECK_SAYS(err.text, words);
}

static void comments_end_values(void)
{
    check_read("[s] # one\na = 1 ; two\nb = 2 # three\nc = 3\t#\n",
               "s/a=1|s/b=2|s/c=3|");
    check_read("[s]\na = ; nothing\nb = # nothing\nc =\n", "s/a=|s/b=|s/c=|");
    /* Not behind a blank: a part of the value. */
    check_read("[s]\na = x;y#z\n", "s/a=x;y#z|");
}

static void quotes_keep_what_is_between_them(void)
{
    check_read("[s]\na = \"x ; y # z\" ; comment\n", "s/a=x ; y # z|");
    check_read("[s]\na = \" x \"#comment\n", "s/a= x |");
    check_read("[s]\na = \"\"\n", "s/a=|");
    check_read("[s]\na = \"say \\\"x\\\" \\\\ \\n\"\n",
               "s/a=say \"x\" \\ \\n|");
    /* Only where the value begins. */
    check_read("[s]\na = x\"y\"\n", "s/a=x\"y\"|");
}

static void half_a_quote_is_refused(void)
{
    check_refused("[s]\n\na = \"x ; y\n", ".conf:3: a quoted value has no "
                                          "closing \"");
    check_refused("[s]\na = \"x\\\"\n", "no closing");
    check_refused("[s]\na = \"x\" y\n", "'y' follows a quoted value");
    check_refused("[s]\na = \"x\", \"y\"\n", "follows a quoted value");
}

static void a_line_without_a_key_is_refused(void)
{
    check_refused("[s]\n= 1\n", ".conf:2: neither [section]");
    check_refused("[s]\n: 1\n", ".conf:2: neither [section]");
}

static const struct unit_test tests[] = {
    { "a comment behind a blank ends a value", comments_end_values },
    { "quotes keep blanks and comment characters in a value",
      quotes_keep_what_is_between_them },
    { "a value whose quotes do not match is refused", half_a_quote_is_refused },
    { "a line without a key is refused", a_line_without_a_key_is_refused },
};

UNIT_SUITE("ini", tests)
