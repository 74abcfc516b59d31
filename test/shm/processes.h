// processes.h: children for tests, and what must not be left behind.
#ifndef WEFT_TEST_PROCESSES_H
#define WEFT_TEST_PROCESSES_H

#include "../runner.h"

#include <dirent.h>
#include <sys/wait.h>

// n children that run fn(arg) all end with 0.
static inline void children_end_well(int n, int (*fn)(void *arg), void *arg)
{
    pid_t p[16];
    assert_in_range(n, 0, 16);
    for (int i = 0; i < n; i++)
        p[i] = child_of(fn, arg);
    for (int i = 0; i < n; i++)
        assert_int_equal(end_of(p[i]), 0);
}

static inline void wait_asleep(pid_t p)
{
    await_asleep(p);
}

// How many entries a folder has with `part` in their names.
static inline int entries(const char *folder, const char *part)
{
    int n = 0;
    DIR *d = opendir(folder);
    for (struct dirent *e; (e = readdir(d)) != nullptr;)
        n += strstr(e->d_name, part) != nullptr;
    closedir(d);
    return n;
}

// When the tests end: as many descriptors as when they began, no child, and no name in /dev/shm
// with this process's id in it, as all the tests' names have.
static int descriptors_before;

static inline int census_begin(void **)
{
    descriptors_before = entries("/proc/self/fd", "");
    return 0;
}

static inline int census_end(void **)
{
    char id[16];
    snprintf(id, sizeof id, "%d", getpid());
    int descriptors = entries("/proc/self/fd", "") - descriptors_before;
    int names = entries("/dev/shm", id);
    bool child = waitpid(-1, nullptr, WNOHANG) != -1;
    if (descriptors != 0 || names != 0 || child)
        fprintf(stderr, "left behind: %d descriptors, %d names in /dev/shm, %d child\n",
                descriptors, names, child);
    return descriptors != 0 || names != 0 || child ? -1 : 0;
}

#endif
