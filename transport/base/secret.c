/* SPDX-License-Identifier: BSD-3-Clause */
#include <rdisk/secret.h>

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/crypto.h>

void rdisk_secret_wipe(struct rdisk_secret *secret)
{
    OPENSSL_cleanse(secret, sizeof(*secret));
}

/* Pages of its own, since that is what the kernel leaves out. */
struct rdisk_secret *rdisk_secret_new(void)
{
    void *memory = mmap(NULL, sizeof(struct rdisk_secret),
                        PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
                        0);

    if (memory == MAP_FAILED) {
        return NULL;
    }
    madvise(memory, sizeof(struct rdisk_secret), MADV_DONTDUMP);
    return memory;
}

void rdisk_secret_free(struct rdisk_secret *secret)
{
    if (secret) {
        rdisk_secret_wipe(secret);
        munmap(secret, sizeof(*secret));
    }
}

/* Its value, or -1. Not isxdigit(), which depends on the locale. */
static int hex_digit(uint8_t c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

static bool is_hex(const uint8_t *text, size_t length)
{
    if (length % 2 || length < 2 * RDISK_SECRET_MIN ||
        length > 2 * RDISK_SECRET_MAX) {
        return false;
    }
    for (size_t i = 0; i < length; i++) {
        if (hex_digit(text[i]) < 0) {
            return false;
        }
    }
    return true;
}

int rdisk_secret_parse(struct rdisk_secret *secret, const void *text,
                       size_t length, struct rdisk_error *err)
{
    const uint8_t *p = text;

    memset(secret, 0, sizeof(*secret));
    if (length && p[length - 1] == '\n') {
        length--;
    }
    if (length && p[length - 1] == '\r') {
        length--;
    }
    for (size_t i = 0; i < length; i++) {
        if (p[i] < 0x20 || p[i] == 0x7f) {
            return rdisk_error_set(
                err, -EINVAL,
                "a secret is one line of text or hex digits; this one has a "
                "control character at byte %zu ('rdisk secret' generates one)",
                i + 1);
        }
    }
    if (is_hex(p, length)) {
        for (size_t i = 0; i < length; i += 2) {
            secret->bytes[i / 2] = (uint8_t)(hex_digit(p[i]) << 4 |
                                             hex_digit(p[i + 1]));
        }
        secret->length = (unsigned int)length / 2;
        return 0;
    }
    if (length < RDISK_SECRET_MIN || length > RDISK_SECRET_MAX) {
        return rdisk_error_set(
            err, -EINVAL,
            "a secret of %zu characters is too %s: it takes %u to %u "
            "characters, or %u to %u hex digits ('rdisk secret' generates one)",
            length, length < RDISK_SECRET_MIN ? "short" : "long",
            RDISK_SECRET_MIN, RDISK_SECRET_MAX, 2 * RDISK_SECRET_MIN,
            2 * RDISK_SECRET_MAX);
    }
    memcpy(secret->bytes, p, length);
    secret->length = (unsigned int)length;
    return 0;
}

/* True if other users can read it. */
static int check_file(int fd, const char *path, struct rdisk_error *err)
{
    mode_t others;
    struct stat st;

    if (fstat(fd, &st) < 0) {
        return rdisk_error_set(err, -errno,
                               "cannot examine secret file "
                               "'%s': %s",
                               path, strerror(errno));
    }
    if (!S_ISREG(st.st_mode)) {
        return rdisk_error_set(err, -EINVAL,
                               "secret file '%s' is not a regular file", path);
    }
    if (st.st_uid != geteuid() && st.st_uid != 0) {
        return rdisk_error_set(
            err, -EPERM,
            "secret file '%s' belongs to user %u; it must belong to root or to "
            "user %u, who reads it: chown it",
            path, (unsigned int)st.st_uid, (unsigned int)geteuid());
    }
    others = st.st_uid == 0 ? S_IWGRP | S_IXGRP | S_IRWXO : S_IRWXG | S_IRWXO;
    if (st.st_mode & others) {
        return rdisk_error_set(err, -EPERM,
                               "secret file '%s' has mode %04o: users other "
                               "than its owner have access; chmod 600 it, and "
                               "make a new secret if they may have read it",
                               path, (unsigned int)st.st_mode & 07777);
    }
    return 0;
}

int rdisk_secret_read(struct rdisk_secret *secret, const char *path,
                      struct rdisk_error *err)
{
    /* With a newline, and room to see that it is too long. */
    uint8_t text[2 * RDISK_SECRET_MAX + 3];
    size_t length = 0;
    ssize_t n = 1;
    int fd, result;

    memset(secret, 0, sizeof(*secret));
    /* Not blocking: it may be a pipe. */
    fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) {
        return rdisk_error_set(err, -errno, "cannot read secret file '%s': %s",
                               path, strerror(errno));
    }
    result = check_file(fd, path, err);
    while (result == 0 && n > 0 && length < sizeof(text)) {
        n = read(fd, text + length, sizeof(text) - length);
        if (n < 0) {
            result = rdisk_error_set(err, -errno,
                                     "cannot read secret file "
                                     "'%s': %s",
                                     path, strerror(errno));
        } else {
            length += (size_t)n;
        }
    }
    close(fd);
    if (result == 0) {
        result = rdisk_secret_parse(secret, text, length, err);
        if (result < 0) {
            rdisk_error_prefix(err, "secret file '%s'", path);
        }
    }
    OPENSSL_cleanse(text, sizeof(text));
    return result;
}
