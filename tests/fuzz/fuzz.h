/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the fuzzers share. Each is one file with fuzz_one(); with libFuzzer
 * it searches, guided by coverage, and without it runs a corpus (main.c).
 * What a CHECK of the unit tests' frame says aborts.
 */
#ifndef FUZZ_H
#define FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* The rest of the input; what is taken beyond its end is zero. */
struct fuzz_input {
    const uint8_t *data;
    size_t size;
};

static inline void fuzz_take(struct fuzz_input *input, void *to, size_t size)
{
    size_t n = size < input->size ? size : input->size;

    memset(to, 0, size);
    if (n) {
        memcpy(to, input->data, n);
        input->data += n;
        input->size -= n;
    }
}

static inline uint8_t fuzz_byte(struct fuzz_input *input)
{
    uint8_t byte;

    fuzz_take(input, &byte, 1);
    return byte;
}

static inline uint32_t fuzz_word(struct fuzz_input *input)
{
    uint32_t word;

    fuzz_take(input, &word, sizeof(word));
    return word;
}

/* libFuzzer's name and types for it. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);

#endif
