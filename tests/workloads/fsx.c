/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Exercise a file with random operations, and compare it with a copy in memory
 *
 *   fsx FILE SEED OPERATIONS [SIZE]
 *
 * In the manner of the fsx that file system developers use: writes and reads
 * by system call and by mapping, truncation either way, holes, fsync, and
 * close and open again.  Every read is compared at once, the whole file now
 * and then and at the end.  What differs is told with the operations before.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum {
    CHUNK_MAX = 128 << 10, /* bytes of one operation */
    HISTORY = 24,          /* operations that are told on failure */
    COMPARE_EVERY = 500,
};

static const char *path;
static int fd = -1;
static unsigned char *model; /* what the file has to be */
static size_t size;          /* of the file */
static size_t size_max;
static uint64_t seed;
static uint64_t random_state;
static uint64_t operation;
static char history[HISTORY][96];

/* xorshift64*, Vigna 2016 */
static uint64_t random_number(void)
{
    random_state ^= random_state >> 12;
    random_state ^= random_state << 25;
    random_state ^= random_state >> 27;
    return random_state * UINT64_C(2685821657736338717);
}

static size_t random_below(size_t limit)
{
    return limit ? random_number() % limit : 0;
}

static void __attribute__((format(printf, 1, 2), noreturn))
fail(const char *format, ...)
{
    va_list ap;

    for (uint64_t i = operation < HISTORY ? 0 : operation - HISTORY + 1;
         i <= operation; i++) {
        printf("fsx: %" PRIu64 ": %s\n", i, history[i % HISTORY]);
    }
    printf("fsx: FAILED with seed %" PRIu64 " at operation %" PRIu64 ": ", seed,
           operation);
    va_start(ap, format);
    vprintf(format, ap);
    va_end(ap);
    printf("\n");
    exit(1);
}

static void must(bool ok, const char *what)
{
    if (!ok) {
        fail("%s: %s", what, strerror(errno));
    }
}

static void note(const char *what, size_t offset, size_t length)
{
    snprintf(history[operation % HISTORY], sizeof(history[0]),
             "%s %zu+%zu of %zu", what, offset, length, size);
}

static void compare(const unsigned char *have, size_t offset, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        if (have[i] != model[offset + i]) {
            fail("byte %zu is %02x, not %02x", offset + i, have[i],
                 model[offset + i]);
        }
    }
}

static void read_and_compare(size_t offset, size_t length)
{
    static unsigned char buffer[CHUNK_MAX];

    for (size_t n; length; offset += n, length -= n) {
        n = length < sizeof(buffer) ? length : sizeof(buffer);
        must(pread(fd, buffer, n, (off_t)offset) == (ssize_t)n, "read");
        compare(buffer, offset, n);
    }
}

/* Map the pages of a range, and return the address of its first byte. */
static unsigned char *map(size_t offset, size_t length, size_t *mapped)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t before = offset % page;
    unsigned char *address;

    *mapped = before + length;
    address = mmap(NULL, *mapped, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
                   (off_t)(offset - before));
    must(address != MAP_FAILED, "mmap");
    return address + before;
}

static void unmap(unsigned char *address, size_t length, size_t mapped)
{
    must(munmap(address - (mapped - length), mapped) == 0, "munmap");
}

static void fill(size_t offset, size_t length)
{
    uint64_t word = 0;

    for (size_t i = 0; i < length; i++) {
        if (i % 8 == 0) {
            word = random_number();
        }
        model[offset + i] = (unsigned char)(word >> i % 8 * 8);
    }
}

static void set_size(size_t new_size)
{
    must(ftruncate(fd, (off_t)new_size) == 0, "ftruncate");
    if (new_size < size) {
        memset(model + new_size, 0, size - new_size);
    }
    size = new_size;
}

static void do_write(void)
{
    size_t offset = random_below(size_max - CHUNK_MAX);
    size_t length = 1 + random_below(CHUNK_MAX);

    note("write", offset, length);
    fill(offset, length);
    must(pwrite(fd, model + offset, length, (off_t)offset) == (ssize_t)length,
         "write");
    size = offset + length > size ? offset + length : size;
}

static void do_map_write(void)
{
    size_t offset = random_below(size_max - CHUNK_MAX);
    size_t length = 1 + random_below(CHUNK_MAX), mapped;
    unsigned char *address;

    note("write by mapping", offset, length);
    if (offset + length > size) {
        set_size(offset + length);
    }
    fill(offset, length);
    address = map(offset, length, &mapped);
    memcpy(address, model + offset, length);
    unmap(address, length, mapped);
}

static void do_read(bool by_mapping)
{
    size_t offset = random_below(size), mapped;
    size_t length = random_below(size - offset);
    unsigned char *address;

    length = length < CHUNK_MAX ? length : CHUNK_MAX;
    note(by_mapping ? "read by mapping" : "read", offset, length);
    if (!length) {
        return;
    }
    if (!by_mapping) {
        read_and_compare(offset, length);
        return;
    }
    address = map(offset, length, &mapped);
    compare(address, offset, length);
    unmap(address, length, mapped);
}

static void do_truncate(void)
{
    size_t new_size = random_below(size_max);

    note("truncate", new_size, 0);
    set_size(new_size);
}

static void do_punch(void)
{
    size_t offset = random_below(size);
    size_t length = 1 + random_below(CHUNK_MAX);

    if (offset + length > size) {
        return;
    }
    note("punch", offset, length);
    must(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                   (off_t)offset, (off_t)length) == 0,
         "fallocate");
    memset(model + offset, 0, length);
}

static void do_sync(void)
{
    note("fsync, drop, open", 0, 0);
    must(fsync(fd) == 0, "fsync");
    /* So that the next reads come from the disk */
    must(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED) == 0, "fadvise");
    must(close(fd) == 0, "close");
    fd = open(path, O_RDWR);
    must(fd >= 0, "open");
}

static void do_one(void)
{
    unsigned int choice = (unsigned int)random_below(100);

    if (choice < 30) {
        do_write();
    } else if (choice < 45) {
        do_map_write();
    } else if (choice < 65) {
        do_read(false);
    } else if (choice < 80) {
        do_read(true);
    } else if (choice < 86) {
        do_truncate();
    } else if (choice < 96) {
        do_punch();
    } else {
        do_sync();
    }
    if (operation % COMPARE_EVERY == COMPARE_EVERY - 1) {
        must(lseek(fd, 0, SEEK_END) == (off_t)size, "size");
        read_and_compare(0, size);
    }
}

static uint64_t number(const char *text)
{
    char *end;
    uint64_t value = strtoull(text, &end, 0);

    if (end == text || *end) {
        fprintf(stderr, "fsx: '%s' is not a number\n", text);
        exit(2);
    }
    return value;
}

int main(int argc, char **argv)
{
    uint64_t operations;

    if (argc < 4) {
        fprintf(stderr, "Usage: fsx FILE SEED OPERATIONS [SIZE]\n");
        return 2;
    }
    path = argv[1];
    seed = number(argv[2]);
    random_state = seed * 2 + 1;
    operations = number(argv[3]);
    size_max = argc > 4 ? number(argv[4]) : 4 << 20;
    if (size_max < 2 * CHUNK_MAX) {
        fprintf(stderr, "fsx: SIZE %zu is less than %d\n", size_max,
                2 * CHUNK_MAX);
        return 2;
    }
    model = calloc(1, size_max);
    must(model != NULL, "memory");
    fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    must(fd >= 0, path);
    for (; operation < operations; operation++) {
        do_one();
    }
    do_sync();
    read_and_compare(0, size);
    printf("fsx: seed %" PRIu64 ", %" PRIu64 " operations, %zu bytes at the "
           "end\n",
           seed, operations, size);
    return 0;
}
