// processes.h: children for tests, and what must not be left behind.
#ifndef WEFT_TEST_PROCESSES_H
#define WEFT_TEST_PROCESSES_H

#include "../descriptors.h"
#include "../runner.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/resource.h>
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

// Makes something with one more free descriptor each time, until it can: *times EMFILE before, and
// then nothing was left.
template <class T> static inline T *made_without_descriptors(T *(*make)(void), int *times)
{
    struct rlimit before, few;
    int first = next_descriptor();
    T *made = nullptr;
    getrlimit(RLIMIT_NOFILE, &before);
    few = before;
    few.rlim_cur = (rlim_t)first;
    for (*times = 0; made == nullptr; few.rlim_cur++, *times += made == nullptr) {
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
        made = make();
        int error = errno;
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
        assert_true(made != nullptr || (error == EMFILE && next_descriptor() == first));
    }
    return made;
}

// What is written to standard output goes into a pipe, until it is given back.
static inline int take_output(int *from)
{
    int to[2], saved = dup(STDOUT_FILENO);
    fflush(stdout);
    assert_int_equal(pipe2(to, O_CLOEXEC), 0);
    dup2(to[1], STDOUT_FILENO);
    close(to[1]);
    *from = to[0];
    return saved;
}

// And no more than this was written.
static inline void give_output_back(int saved, int from, const char *expected)
{
    char text[64] = "";
    fflush(stdout);
    dup2(saved, STDOUT_FILENO);
    close(saved);
    assert_int_equal(read(from, text, sizeof text), strlen(expected));
    assert_string_equal(text, expected);
    close(from);
}

static inline void wait_asleep(pid_t p)
{
    await_asleep(p);
}

// When the tests end: as many descriptors as when they began, no child, and no name in /dev/shm
// with this process's id in it, as all the tests' names have.
static int descriptors_before;

static inline int census_begin(void **)
{
    descriptors_before = open_descriptors();
    return 0;
}

// The same, in turn with other tests: what one leaves behind, others reap.
static inline int census_begin_alone(void **state)
{
    int fd = open("/dev/shm", O_RDONLY | O_CLOEXEC);
    return fd < 0 || flock(fd, LOCK_EX) != 0 ? -1 : census_begin(state);
}

static inline int census_end(void **)
{
    char id[16];
    snprintf(id, sizeof id, "%d", getpid());
    int descriptors = open_descriptors() - descriptors_before;
    int names = entries("/dev/shm", id);
    bool child = waitpid(-1, nullptr, WNOHANG) != -1;
    if (descriptors != 0 || names != 0 || child)
        fprintf(stderr, "left behind: %d descriptors, %d names in /dev/shm, %d child\n",
                descriptors, names, child);
    return descriptors != 0 || names != 0 || child ? -1 : 0;
}

#endif
