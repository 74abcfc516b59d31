// Offload: functions, names and files in other threads, and callers that give up.
#include <weft/offload.h>

#include "inside.h"

#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sys/stat.h>

static int gate[2]; // a function that waits reads a byte
static int released, began;

static void *pass_gate(void *arg)
{
    char byte;
    __atomic_fetch_add(&began, 1, __ATOMIC_SEQ_CST);
    if (read(gate[0], &byte, 1) != 1)
        return nullptr;
    return arg;
}

static void release(void *, void *arg)
{
    __atomic_fetch_add((int *)arg, 1, __ATOMIC_SEQ_CST);
}

static int count(const int *n)
{
    return __atomic_load_n(n, __ATOMIC_SEQ_CST);
}

static void wait_until(const int *n, int is)
{
    while (count(n) != is)
        weft_tasklet_sleep(weft_in_us(200));
}

static void open_gate(int passes)
{
    for (int i = 0; i < passes; i++)
        assert_int_equal(write(gate[1], "x", 1), 1);
}

static int setup(void **)
{
    return pipe2(gate, O_CLOEXEC);
}

INSIDE_CASE(test_offload_result)
{
    static pthread_t where;
    void *result = nullptr;
    errno = 77;
    assert_int_equal(weft_offload(
                         [](void *arg) -> void * {
                             where = pthread_self();
                             return (char *)arg + 1;
                         },
                         gate, &result, WEFT_FOREVER),
                     0);
    assert_int_equal(errno, 77);
    assert_ptr_equal(result, (char *)gate + 1);
    assert_false(pthread_equal(where, pthread_self()));
    assert_int_equal(weft_offload(
                         [](void *) -> void * {
                             errno = EDOM;
                             return WEFT_FAILED;
                         },
                         nullptr, &result, WEFT_FOREVER),
                     0);
    assert_ptr_equal(result, WEFT_FAILED);
    assert_int_equal(errno, EDOM);
}

INSIDE_CASE(test_offload_many)
{
    static int done;
    done = 0;
    for (int i = 0; i < 500; i++)
        spawn(
            [](void *arg) -> void * {
                void *result = nullptr;
                if (weft_offload([](void *a) { return a; }, arg, &result, WEFT_FOREVER) == 0 &&
                    result == arg)
                    done++;
                return nullptr;
            },
            (void *)(intptr_t)(i + 1));
    while (done < 500)
        weft_tasklet_yield();
}

INSIDE_CASE(test_offload_others_run_meanwhile)
{
    spawn([] { open_gate(1); });
    assert_int_equal(weft_offload(pass_gate, nullptr, nullptr, WEFT_FOREVER), 0);
}

CASE(test_offload_refuses)
{
    assert_errno(weft_offload(pass_gate, nullptr, nullptr, WEFT_FOREVER), EPERM);
    inside([] {
        assert_errno(weft_offload(nullptr, nullptr, nullptr, WEFT_FOREVER), EINVAL);
        assert_errno(weft_offload_owned(pass_gate, nullptr, nullptr, nullptr, WEFT_FOREVER),
                     EINVAL);
        assert_errno(weft_offload(pass_gate, nullptr, nullptr, WEFT_NOW), ETIMEDOUT);
        assert_errno(weft_offload_set_threads(3, 1), EINVAL);
        assert_errno(weft_offload_set_threads(-1, 1), EINVAL);
        assert_errno(weft_offload_set_threads(0, 0), EINVAL);
    });
}

// Calls pass_gate with a deadline that passes once it has begun: on a busy machine no thread may
// have come to it sooner, then it is given more time.
static void give_up_what_began(void)
{
    int64_t ms = 20;
    do {
        released = began = 0;
        weft_deadline d = weft_in_ms(ms);
        assert_errno(weft_offload_owned(pass_gate, &released, release, nullptr, d), ETIMEDOUT);
        assert_true(weft_now() >= d);
        ms *= 2;
    } while (count(&released) == 1);
    wait_until(&began, 1);
}

INSIDE_CASE(test_offload_deadline_leaves_it_running)
{
    give_up_what_began();
    assert_int_equal(count(&released), 0);
    open_gate(1);
    wait_until(&released, 1);
    assert_errno(weft_offload_owned(pass_gate, &released, release, nullptr, WEFT_NOW), ETIMEDOUT);
    assert_int_equal(count(&released), 2);
}

static int given_up;

INSIDE_CASE(test_offload_cancel)
{
    // All threads are busy, so the last one has not begun: it never does.
    static weft_tasklet *t[9];
    released = began = given_up = 0;
    for (int i = 0; i < 9; i++) {
        t[i] = spawn(
            [] {
                if (weft_offload_owned(pass_gate, &released, release, nullptr, WEFT_FOREVER) < 0 &&
                    errno == ECANCELED)
                    given_up++;
            },
            true);
    }
    wait_until(&began, 8);
    weft_tasklet_cancel(t[8]);
    join(t[8]);
    assert_int_equal(count(&released), 1);
    weft_tasklet_cancel(t[0]);
    join(t[0]);
    assert_int_equal(count(&released), 1);
    open_gate(8);
    for (int i = 1; i < 8; i++)
        join(t[i]);
    wait_until(&released, 2);
    assert_int_equal(given_up, 2);
    assert_int_equal(count(&began), 8);
}

// weft_io_run ends while work goes on: its worker releases it.
CASE(test_offload_outlives_run)
{
    int before = open_descriptors();
    weft_io_run(
        [](void *) {
            give_up_what_began();
            return 0;
        },
        nullptr);
    assert_int_equal(count(&released), 0);
    open_gate(1);
    while (count(&released) == 0)
        usleep(200);
    nothing_left_open(before);
}

INSIDE_CASE(test_offload_full)
{
    static int refused;
    refused = began = released = 0;
    for (int i = 0; i < 8 + 4096 + 1; i++) {
        spawn([] {
            if (weft_offload(pass_gate, nullptr, nullptr, WEFT_FOREVER) < 0 && errno == EAGAIN)
                refused++;
        });
        if (i == 7)
            wait_until(&began, 8);
    }
    weft_tasklet_yield();
    assert_int_equal(refused, 1);
    for (int i = 0; i < 8 + 4096; i++) {
        open_gate(1);
        weft_tasklet_yield();
    }
}

static struct addrinfo *found, hints;
static int code;

static int look_up(const char *name, const char *service, weft_deadline d = WEFT_FOREVER)
{
    return weft_offload_getaddrinfo(name, service, &hints, &found, &code, d);
}

static bool is_loopback(const struct sockaddr *a)
{
    if (a->sa_family == AF_INET6)
        return IN6_IS_ADDR_LOOPBACK(&((const struct sockaddr_in6 *)(const void *)a)->sin6_addr);
    const struct sockaddr_in *in = (const struct sockaddr_in *)(const void *)a;
    return a->sa_family == AF_INET && in->sin_addr.s_addr == htonl(INADDR_LOOPBACK);
}

INSIDE_CASE(test_loopback_names)
{
    static const char *const in_no_file[] = {"weft.localhost", "WEFT.LocalHost."};
    for (const char *name : in_no_file) {
        assert_int_equal(look_up(name, "80"), 0);
        for (struct addrinfo *i = found; i != nullptr; i = i->ai_next)
            assert_true(is_loopback(i->ai_addr));
        freeaddrinfo(found);
    }
    assert_errno(look_up("notlocalhost", "80"), ENOENT);
}

INSIDE_CASE(test_getaddrinfo)
{
    hints.ai_socktype = SOCK_STREAM;
    code = -99;
    assert_int_equal(look_up("127.0.0.1", "80", WEFT_NOW), 0);
    assert_int_equal(code, 0);
    assert_int_equal(found->ai_family, AF_INET);
    freeaddrinfo(found);
    found = nullptr;
    assert_int_equal(
        weft_offload_getaddrinfo("localhost", "80", &hints, &found, nullptr, WEFT_FOREVER), 0);
    assert_non_null(found);
    freeaddrinfo(found);
    assert_errno(look_up("localhost", "80", WEFT_NOW), ETIMEDOUT);
    assert_errno(look_up("localhost", "no-such-service"), EINVAL);
    assert_int_equal(code, EAI_SERVICE);
    hints.ai_flags = AI_NUMERICHOST;
    assert_errno(look_up("localhost", "80"), ENOENT);
    assert_int_equal(code, EAI_NONAME);
    assert_errno(weft_offload_getaddrinfo("x", "80", nullptr, nullptr, nullptr, WEFT_FOREVER),
                 EINVAL);
}

INSIDE_CASE(test_files)
{
    char path[] = "/tmp/weft-offload-XXXXXX", text[64] = "";
    struct stat s;
    close(mkstemp(path));
    int fd = weft_offload_open(path, O_RDWR, 0, WEFT_FOREVER);
    assert_true(fd >= 0);
    assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
    errno = 77;
    assert_int_equal(weft_offload_pwrite(fd, "hello, world", 12, 5, WEFT_FOREVER), 12);
    assert_int_equal(weft_offload_fsync(fd, WEFT_FOREVER), 0);
    assert_int_equal(weft_offload_stat(path, &s, WEFT_FOREVER), 0);
    assert_int_equal(s.st_size, 17);
    assert_int_equal(weft_offload_pread(fd, text, 64, 5, WEFT_FOREVER), 12);
    assert_string_equal(text, "hello, world");
    assert_int_equal(weft_offload_pread(fd, text, 5, 12, WEFT_FOREVER), 5);
    assert_int_equal(weft_offload_pread(fd, text, 5, 17, WEFT_FOREVER), 0);
    assert_int_equal(errno, 77);
    close(fd);
    unlink(path);
    assert_errno(weft_offload_open(path, O_RDWR, 0, WEFT_FOREVER), ENOENT);
    assert_errno(weft_offload_stat(path, &s, WEFT_FOREVER), ENOENT);
    assert_errno(weft_offload_open(nullptr, O_RDWR, 0, WEFT_FOREVER), EINVAL);
    assert_errno(weft_offload_stat(path, nullptr, WEFT_FOREVER), EINVAL);
    assert_errno(weft_offload_pread(0, text, 5, -1, WEFT_FOREVER), EINVAL);
    assert_errno(weft_offload_pread(0, text, 5, INT64_MIN, WEFT_NOW), EINVAL);
    assert_errno(weft_offload_pwrite(0, text, 5, -1, WEFT_FOREVER), EINVAL);
    assert_errno(weft_offload_pread(1000, text, 5, 0, WEFT_FOREVER), EBADF);
    assert_errno(weft_offload_pwrite(1000, text, 5, 0, WEFT_FOREVER), EBADF);
    assert_errno(weft_offload_fsync(1000, WEFT_FOREVER), EBADF);
    assert_errno(weft_offload_stat("/", &s, WEFT_NOW), ETIMEDOUT);
}

// /proc does not know RWF_NOWAIT: a thread reads.
INSIDE_CASE(test_pread_by_a_thread)
{
    char text[16];
    int fd = open("/proc/version", O_RDONLY | O_CLOEXEC);
    assert_int_equal(weft_offload_pread(fd, text, 5, 0, WEFT_FOREVER), 5);
    assert_memory_equal(text, "Linux", 5);
    assert_errno(weft_offload_pread(fd, text, 5, 0, WEFT_NOW), ETIMEDOUT);
    close(fd);
}

// The threads stay with the parent: who waits in the child is told, and new work has new threads.
INSIDE_CASE(test_offload_fork)
{
    if (RUNNER_SANITIZED)
        return; // a child of a process with threads must not start others there
    static int in_child;
    began = in_child = 0;
    weft_tasklet *t = spawn(
        [] { in_child = weft_offload(pass_gate, nullptr, nullptr, WEFT_FOREVER) < 0 ? errno : 0; },
        true);
    wait_until(&began, 1);
    pid_t child = runner_fork();
    if (child == 0) {
        void *result = nullptr;
        bool well = weft_tasklet_join(t, nullptr, weft_in_s(20)) == 0 && in_child == ECANCELED;
        well = well && weft_offload([](void *a) { return a; }, gate, &result, weft_in_s(20)) == 0 &&
               result == gate;
        _exit(well ? 0 : 1);
    }
    assert_int_equal(end_of(child), 0);
    open_gate(1);
    join(t);
    assert_int_equal(in_child, 0);
}

// What the child begins before it has waited for anything is its own, too.
INSIDE_CASE(test_offload_first_in_child)
{
    if (RUNNER_SANITIZED)
        return;
    void *(*same)(void *) = [](void *a) { return a; };
    assert_int_equal(weft_offload(same, gate, nullptr, WEFT_FOREVER), 0);
    pid_t child = runner_fork();
    if (child == 0) {
        void *result = nullptr;
        bool well = weft_offload(same, gate, &result, weft_in_s(20)) == 0 && result == gate;
        _exit(well ? 0 : 1);
    }
    assert_int_equal(end_of(child), 0);
}

// The last: there are ten threads from here on.
INSIDE_CASE(test_offload_threads)
{
    began = 0;
    assert_int_equal(weft_offload_set_threads(WEFT_OFFLOAD_WORK, 10), 0);
    for (int i = 0; i < 10; i++)
        spawn([] { weft_offload(pass_gate, nullptr, nullptr, WEFT_FOREVER); });
    wait_until(&began, 10);
    open_gate(10);
}

RUN_CASES(setup)
