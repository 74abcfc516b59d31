// sum.cc: `weft-processes sum`: checksums of files by a pool, as POSIX cksum(1) prints them.
//
// The names are not copied into the tasks: they were in memory before the pool was made, so
// a pointer means the same to a worker.
#include "../verbs.h"

#include <weft/pool.h>

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

// What a byte does to the CRC when 0 to 7 others follow (POSIX cksum: polynomial 04c11db7).
static uint32_t sum_table[8][256];

static int sum_prepare(void *)
{
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t crc = i << 24;
        for (int bit = 0; bit < 8; bit++)
            crc = crc << 1 ^ (crc >> 31 ? 0x04c11db7 : 0);
        sum_table[0][i] = crc;
    }
    for (int k = 1; k < 8; k++)
        for (uint32_t i = 0; i < 256; i++) {
            uint32_t crc = sum_table[k - 1][i];
            sum_table[k][i] = crc << 8 ^ sum_table[0][crc >> 24];
        }
    return 0;
}

static uint32_t sum_bytes(uint32_t crc, const unsigned char *p, size_t n)
{
    for (; n >= 8; n -= 8, p += 8)
        crc = sum_table[7][crc >> 24 ^ p[0]] ^ sum_table[6][(crc >> 16 & 255) ^ p[1]] ^
              sum_table[5][(crc >> 8 & 255) ^ p[2]] ^ sum_table[4][(crc & 255) ^ p[3]] ^
              sum_table[3][p[4]] ^ sum_table[2][p[5]] ^ sum_table[1][p[6]] ^ sum_table[0][p[7]];
    for (; n > 0; n--)
        crc = crc << 8 ^ sum_table[0][crc >> 24 ^ *p++];
    return crc;
}

struct summed_file {
    uint64_t size;
    uint32_t crc;
};

static int sum_file(const void *arg, size_t, void *result, size_t)
{
    static unsigned char piece[1 << 17];
    summed_file *f = (summed_file *)result;
    int fd = open(*(const char *const *)arg, O_RDONLY | O_CLOEXEC);
    ssize_t n = -1;
    while (fd >= 0 && (n = read(fd, piece, sizeof piece)) > 0) {
        f->crc = sum_bytes(f->crc, piece, (size_t)n);
        f->size += (uint64_t)n;
    }
    int error = n < 0 ? errno : 0;
    if (fd >= 0)
        close(fd);
    for (uint64_t left = f->size; left != 0; left >>= 8) {
        unsigned char byte = (unsigned char)left;
        f->crc = sum_bytes(f->crc, &byte, 1);
    }
    f->crc = ~f->crc;
    return error;
}

static int sum_show(int workers, char **names, size_t n)
{
    weft_pool_options o = {};
    weft_pool_map_options m = {};
    summed_file f;
    weft_outcome outcome;
    size_t i;
    int failed = 0;
    o.initialiser = sum_prepare;
    m.chunk = 1;
    weft_pool *p = weft_pool_create(workers, &o);
    weft_imap *it = weft_pool_imap(p, sum_file, names, sizeof *names, n, sizeof f, &m);
    if (it == nullptr)
        options_fail("weft-processes: sum");
    while (weft_imap_next(it, &f, &i, &outcome, WEFT_FOREVER) == 1) {
        if (outcome.error != 0)
            fprintf(stderr, "weft-processes: %s: %s\n", names[i], strerror(outcome.error));
        if (outcome.error == EISDIR)
            f = {0, ~(uint32_t)0}; // GNU's calls a directory empty
        if (outcome.error == 0 || outcome.error == EISDIR)
            printf("%u %llu %s\n", f.crc, (unsigned long long)f.size, names[i]);
        failed |= outcome.error != 0;
    }
    weft_imap_destroy(it);
    weft_pool_close(p);
    weft_pool_join(p, WEFT_FOREVER);
    weft_pool_destroy(p);
    return failed;
}

static int run(int argc, char **argv)
{
    static const option longs[] = {option_flag("help", 'h'), {}};
    int workers = 0;
    while (options_next(argc, argv, "+:hw:", longs) != -1)
        workers = (int)options_number(optarg, 1, WEFT_POOL_WORKERS_MAX);
    if (optind == argc)
        options_bad("sum needs", "FILE...");
    return options_finish(sum_show(workers, argv + optind, (size_t)(argc - optind)));
}

extern const verb verb_sum = {"sum", "[-w workers] FILE...",
                              "CRC, size and name of files, as cksum(1)\n", run};
