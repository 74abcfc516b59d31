// stacks.h: what the tests of stacks share.
#ifndef WEFT_TEST_CORO_STACKS_H
#define WEFT_TEST_CORO_STACKS_H

#include "coroutines.h"

#include <coro/coroutine.h>

#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/wait.h>

static inline size_t read_number(const char *path, const char *line)
{
    char text[512] = "";
    size_t n = 0;
    FILE *f = fopen(path, "re");
    while (f != NULL && fgets(text, sizeof text, f) != NULL)
        if (line == NULL)
            n++;
        else if (strncmp(text, line, strlen(line)) == 0)
            n = strtoul(text + strlen(line), NULL, 10);
    if (f != NULL)
        fclose(f);
    return n;
}

static inline size_t mappings(void)
{
    return read_number("/proc/self/maps", NULL);
}

static inline size_t resident_kib(void)
{
    return read_number("/proc/self/status", "VmRSS:");
}

// Uses some 1,100 bytes of stack a step.
static inline void *use(void *arg, void *v)
{
    volatile char room[1024];
    intptr_t depth = (intptr_t)v;
    for (size_t i = 0; i < sizeof room; i += 64)
        room[i] = 0;
    if (depth == 0)
        return arg;
    void *below = use(arg, V(depth - 1));
    __asm__ volatile("" : : "r"(room)); // or it becomes a loop
    return V((intptr_t)below + room[64]);
}

// Whether the kernel says that a guard is there: a read(2) into it fails with EFAULT, without a
// signal; just above it, it does not.
static inline int guarded(const weft_coro *co)
{
    const stack *s = &co->stack;
    int fd = open("/dev/zero", O_RDONLY | O_CLOEXEC);
    int above = read(fd, s->low + s->guard, 1) == 1;
    int low = read(fd, s->low, 1) == -1 && errno == EFAULT;
    int high = read(fd, s->low + s->guard - 1, 1) == -1 && errno == EFAULT;
    close(fd);
    return above && low && high;
}

// The default, as the overflow report has it.
#define SIZE STACK_DEFAULT
#ifdef __aarch64__
#define KIB "128"
#else
#define KIB "64"
#endif

static inline void *create_some(void *arg)
{
    weft_coro_options opts = {};
    intptr_t good = 0;
    weft_coro *some[100];
    opts.stack_size = SIZE;
    for (int i = 0; i < 100; i++) {
        some[i] = weft_coro_create(echo, NULL, &opts);
        if (some[i] == NULL)
            return V(-1);
    }
    size_t before = mappings();
    for (int i = 0; i < 100; i++)
        good += guarded(some[i]) && weft_coro_resume(some[i], V(i)) == V(i);
    *(size_t *)arg = before;
    for (int i = 0; i < 100; i++)
        weft_coro_destroy(some[i]);
    return V(good);
}

#endif
