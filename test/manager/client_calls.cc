// How many system calls a client makes: a pipeline is one write, and a tasklet's waits register
// nothing.
#include "../async/inside.h"
#include "../shm/processes.h"
#include "fake.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>

static int watched = -1;                     // atomic
static int sends, receives, controls, polls; // of that descriptor

// The fake's thread asks, too.
static bool is_watched(int fd)
{
    return fd == __atomic_load_n(&watched, __ATOMIC_RELAXED);
}

template <typename call> static call *real_of(call **real, const char *name)
{
    call *next = __atomic_load_n(real, __ATOMIC_ACQUIRE);
    if (next == nullptr) {
        next = (call *)dlsym(RTLD_NEXT, name);
        __atomic_store_n(real, next, __ATOMIC_RELEASE);
    }
    return next;
}

static void watch(int fd)
{
    __atomic_store_n(&watched, fd, __ATOMIC_RELAXED);
}

extern "C" ssize_t send(int fd, const void *data, size_t n, int flags)
{
    typedef ssize_t call(int, const void *, size_t, int);
    static call *real; // atomic
    call *next = real_of(&real, "send");
    if (is_watched(fd))
        sends++;
    return next(fd, data, n, flags);
}

extern "C" ssize_t recv(int fd, void *data, size_t n, int flags)
{
    typedef ssize_t call(int, void *, size_t, int);
    static call *real; // atomic
    call *next = real_of(&real, "recv");
    if (is_watched(fd))
        receives++;
    return next(fd, data, n, flags);
}

extern "C" int epoll_ctl(int set, int op, int fd, struct epoll_event *e)
{
    typedef int call(int, int, int, struct epoll_event *);
    static call *real; // atomic
    call *next = real_of(&real, "epoll_ctl");
    if (is_watched(fd))
        controls++;
    return next(set, op, fd, e);
}

extern "C" int poll(struct pollfd *fds, nfds_t n, int ms)
{
    typedef int call(struct pollfd *, nfds_t, int);
    static call *real; // atomic
    call *next = real_of(&real, "poll");
    if (n == 1 && is_watched(fds->fd))
        polls++;
    return next(fds, n, ms);
}

static void begin_counting(void)
{
    watch(weft_client_fd(c));
    sends = receives = controls = polls = 0;
}

FAKE_CASE(test_calls_of_a_pipeline, answer_pings)
{
    enum { MANY = 100 };
    begin_counting();
    for (int i = 0; i < MANY; i++)
        assert_int_equal(weft_client_append(c, 1, PING, nullptr), 0);
    assert_int_equal(sends, 0);
    for (int i = 0; i < MANY; i++)
        is_pong(weft_client_next(c, weft_in_s(20)));
    assert_int_equal(sends, 1);
    watch(-1);
}

CASE(test_calls_in_a_tasklet)
{
    serve_by(answer_pings);
    inside([] {
        enum { MANY = 100 };
        c = connect_to(&f);
        is_pong(ping());
        begin_counting();
        for (int i = 0; i < MANY; i++)
            is_pong(ping());
        assert_int_equal(sends, MANY);
        assert_true(receives <= 3 * MANY); // is it there still, is there an answer, here it is
        assert_int_equal(controls, 0);
        assert_int_equal(polls, 0);
        watch(-1);
        weft_client_destroy(c);
    });
    fake_end(&f);
}

// One client, by turns in a thread and in the tasklets of two; its connection ends now and then
// where nobody has registered it, and another descriptor has its number.
static void *use_inside(void *)
{
    weft_io_run(
        [](void *) {
            for (int i = 0; i < 10; i++)
                is_pong(ping());
            return 0;
        },
        nullptr);
    return nullptr;
}

static void join_one(void)
{
    pthread_t t;
    pthread_create(&t, nullptr, use_inside, nullptr);
    pthread_join(t, nullptr);
}

CASE(test_calls_from_everywhere)
{
    serve_by(answer_pings);
    inside([] {
        c = connect_to(&f);
        for (int i = 0; i < 20; i++) {
            is_pong(ping());
            int fd = weft_client_fd(c), two[2];
            char byte;
            join_one();
            if (i % 3 == 0)
                shutdown(fd, SHUT_RDWR);
            join_one(); // which may connect again
            if (i % 2 == 0)
                shutdown(weft_client_fd(c), SHUT_RDWR);
            is_pong(ping());
            assert_int_equal(pipe2(two, O_CLOEXEC | O_NONBLOCK), 0);
            weft_tasklet *t = spawn(
                [](void *end) -> void * {
                    weft_io_write(*(int *)end, "x", 1, weft_in_s(20));
                    return nullptr;
                },
                &two[1], true);
            assert_int_equal(weft_io_read(two[0], &byte, 1, weft_in_s(20)), 1);
            join(t);
            weft_io_close(two[0]);
            weft_io_close(two[1]);
        }
        weft_client_destroy(c);
    });
    fake_end(&f);
}

RUN_CASES(census_begin, census_end)
