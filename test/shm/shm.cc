// Segments: names, versions, rubbish, death.
#include "processes.h"

#include <weft/shm.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>

static char name[64]; // this run's own
static char path[80];

CASE(test_create_anonymous)
{
    weft_shm *s = weft_shm_create(nullptr, 5000, nullptr);
    assert_non_null(s);
    assert_true(weft_shm_size(s) >= 5000);
    assert_int_equal((uintptr_t)weft_shm_address(s) % 4096, 0);
    char *p = (char *)weft_shm_address(s);
    for (size_t i = 0; i < 5000; i++)
        assert_int_equal(p[i], 0);
    assert_int_equal(fcntl(weft_shm_fd(s), F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
    if (fork() == 0) {
        p[4999] = 'x';
        _exit(0);
    }
    wait(nullptr);
    assert_int_equal(p[4999], 'x');
    assert_int_equal(weft_shm_detach(s), 0);
}

CASE(test_create_bad_arguments)
{
    weft_shm_options fixed = {};
    fixed.fixed = 5000;
    assert_errno(weft_shm_create(nullptr, 0, nullptr), EINVAL);
    assert_errno(weft_shm_create(nullptr, 4096, &fixed), EINVAL);
    assert_errno(weft_shm_create("", 4096, nullptr), EINVAL);
    assert_errno(weft_shm_create("/", 4096, nullptr), EINVAL);
    assert_errno(weft_shm_create("a/b", 4096, nullptr), EINVAL);
    assert_errno(weft_shm_create("..", 4096, nullptr), EINVAL);
    char longer[400];
    memset(longer, 'n', sizeof longer);
    longer[sizeof longer - 1] = 0;
    assert_errno(weft_shm_create(longer, 4096, nullptr), ENAMETOOLONG);
    assert_errno(weft_shm_attach(nullptr, NULL, WEFT_NOW), EINVAL);
    assert_errno(weft_shm_attach(longer, NULL, WEFT_NOW), ENAMETOOLONG);
    assert_errno(weft_shm_detach(nullptr), EINVAL);
    assert_errno(weft_shm_unlink("a/b"), EINVAL);
}

CASE(test_create_no_memory_to_reserve)
{
    size_t much = (size_t)1 << 44;
    assert_errno(weft_shm_create(nullptr, much, nullptr), ENOSPC); // more than the machine has
    assert_errno(weft_shm_create(name, much, nullptr), ENOSPC);
    weft_shm_options lazy = {};
    lazy.lazy = true;
    weft_shm *s = weft_shm_create(nullptr, (size_t)1 << 32, &lazy);
    assert_non_null(s);
    weft_shm_detach(s);
}

CASE(test_create_named_exclusive)
{
    weft_shm *s = weft_shm_create(name, 4096, nullptr);
    assert_non_null(s);
    assert_errno(weft_shm_create(name, 4096, nullptr), EEXIST);
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    weft_shm_detach(s);
    assert_errno(stat(path, &st), ENOENT);
}

static int fill_and_ready(void *arg)
{
    weft_shm *s = (weft_shm *)arg;
    strcpy((char *)weft_shm_address(s), "filled");
    return weft_shm_ready(s);
}

CASE(test_attach_waits_until_ready)
{
    weft_shm *s = weft_shm_create(name, 4096, nullptr);
    assert_errno(weft_shm_attach(name, NULL, WEFT_NOW), ETIMEDOUT);
    assert_errno(weft_shm_attach(name, NULL, weft_in_ms(20)), ETIMEDOUT);
    pid_t p = child_of(fill_and_ready, s);
    weft_shm *again = weft_shm_attach(name, NULL, WEFT_FOREVER);
    assert_non_null(again);
    assert_string_equal((char *)weft_shm_address(again), "filled");
    assert_ptr_not_equal(weft_shm_address(again), weft_shm_address(s));
    assert_int_equal(end_of(p), 0);
    // The name goes with the last.
    weft_shm_detach(s);
    assert_int_equal(access(path, F_OK), 0);
    weft_shm_detach(again);
    assert_errno(access(path, F_OK), ENOENT);
}

static int detach_it(void *arg)
{
    return weft_shm_detach((weft_shm *)arg);
}

CASE(test_detach_in_a_child_keeps_the_name)
{
    weft_shm *s = weft_shm_create(name, 4096, nullptr);
    assert_int_equal(end_of(child_of(detach_it, s)), 0);
    assert_int_equal(access(path, F_OK), 0);
    weft_shm_detach(s);
    assert_errno(access(path, F_OK), ENOENT);
}

CASE(test_attach_missing)
{
    assert_errno(weft_shm_attach(name, NULL, weft_in_ms(10)), ENOENT);
    assert_errno(weft_shm_unlink(name), ENOENT);
}

CASE(test_attach_version)
{
    weft_shm_attach_options six = {}, seven = {};
    six.version = 6;
    seven.version = 7;
    weft_shm_options o = {};
    o.version = 7;
    weft_shm *s = weft_shm_create(name, 4096, &o);
    weft_shm_ready(s);
    assert_errno(weft_shm_attach(name, NULL, WEFT_NOW), EPROTO);
    assert_errno(weft_shm_attach(name, &six, WEFT_NOW), EPROTO);
    weft_shm *again = weft_shm_attach(name, &seven, WEFT_NOW);
    assert_non_null(again);
    assert_int_equal(weft_shm_version(again), 7);
    weft_shm_detach(again);
    uint32_t other = 99; // weft's own layout
    assert_int_equal(pwrite(weft_shm_fd(s), &other, sizeof other, 8), sizeof other);
    assert_errno(weft_shm_attach(name, &seven, WEFT_NOW), EPROTO);
    weft_shm_detach(s);
    unlink(path);
}

static void write_file(const void *bytes, size_t n)
{
    int fd = open(path, O_CREAT | O_TRUNC | O_RDWR, 0600);
    assert_int_equal(write(fd, bytes, n), n);
    close(fd);
}

CASE(test_attach_garbage)
{
    char bytes[8192];
    memset(bytes, 0xa5, sizeof bytes);
    size_t sizes[] = {0, 1, 100, sizeof bytes};
    for (size_t n : sizes) {
        write_file(bytes, n);
        assert_errno(weft_shm_attach(name, NULL, WEFT_NOW), EBADMSG);
        assert_errno(weft_shm_create(name, 4096, nullptr), EEXIST);
        assert_errno(weft_shm_unlink(name), EBADMSG);
        assert_true(weft_shm_reap() >= 0);
        assert_int_equal(access(path, F_OK), 0);
    }
    unlink(path);
}

CASE(test_attach_cut_short)
{
    weft_shm *s = weft_shm_create(name, 1 << 20, nullptr);
    weft_shm_ready(s);
    char head[4096];
    assert_int_equal(pread(weft_shm_fd(s), head, sizeof head, 0), sizeof head);
    assert_int_equal(weft_shm_unlink(name), 0);
    size_t sizes[] = {200, 512, 4096};
    for (size_t n : sizes) {
        write_file(head, n);
        assert_errno(weft_shm_attach(name, NULL, WEFT_NOW), EBADMSG);
        int fd = open(path, O_RDWR | O_CLOEXEC);
        assert_errno(weft_shm_attach_fd(fd), EBADMSG);
        close(fd);
    }
    // Sizes that lie.
    uint64_t lie = ~(uint64_t)0;
    for (size_t at = 0; at < 512; at += 8) {
        char lying[4096];
        memcpy(lying, head, sizeof lying);
        memcpy(lying + at, &lie, 8);
        write_file(lying, sizeof lying);
        assert_null(weft_shm_attach(name, NULL, WEFT_NOW));
    }
    unlink(path);
    weft_shm_detach(s);
}

static int make_and_wait(void *)
{
    if (weft_shm_create(name, 4096, nullptr) == nullptr)
        return 1;
    pause();
    return 0;
}

static void leave_one_behind(void)
{
    pid_t p = child_of(make_and_wait, nullptr);
    while (access(path, F_OK) != 0)
        usleep(200);
    assert_errno(weft_shm_create(name, 4096, nullptr), EEXIST);
    kill_and_reap(p);
    assert_int_equal(access(path, F_OK), 0);
}

CASE(test_stale_is_reaped)
{
    leave_one_behind();
    assert_errno(weft_shm_attach(name, NULL, WEFT_FOREVER), ENOENT);
    assert_errno(access(path, F_OK), ENOENT);
    leave_one_behind();
    weft_shm *s = weft_shm_create(name, 4096, nullptr);
    assert_non_null(s);
    weft_shm_detach(s);
    leave_one_behind();
    assert_true(weft_shm_reap() >= 1);
    assert_errno(access(path, F_OK), ENOENT);
}

static int create_race(void *arg)
{
    (void)arg;
    for (int i = 0; i < 300; i++) {
        weft_shm *s = weft_shm_create(name, 4096, nullptr);
        if (s != nullptr) {
            int *owners = (int *)weft_shm_address(s);
            if (__atomic_fetch_add(owners, 1, __ATOMIC_SEQ_CST) != 0)
                return 1;
            weft_shm_ready(s);
            weft_shm_detach(s);
        } else if (errno != EEXIST) {
            return 2;
        }
        s = weft_shm_attach(name, NULL, WEFT_NOW);
        if (s != nullptr)
            weft_shm_detach(s);
        else if (errno != ENOENT && errno != ETIMEDOUT)
            return 3;
    }
    return 0;
}

CASE(test_create_attach_detach_race)
{
    children_end_well(3, create_race, nullptr);
    weft_shm_reap();
    assert_errno(access(path, F_OK), ENOENT);
}

CASE(test_unlink_keeps_memory)
{
    weft_shm *s = weft_shm_create(name, 4096, nullptr);
    assert_int_equal(weft_shm_unlink(name), 0);
    weft_shm *t = weft_shm_create(name, 4096, nullptr); // a new one
    assert_non_null(t);
    *(char *)weft_shm_address(s) = 1;
    assert_int_equal(*(char *)weft_shm_address(t), 0);
    weft_shm_detach(s);
    assert_int_equal(access(path, F_OK), 0); // not its own name any more
    weft_shm_detach(t);
}

CASE(test_grow)
{
    weft_shm_options o = {};
    o.room = 1 << 20;
    weft_shm *s = weft_shm_create(nullptr, 4096, &o);
    weft_shm *other = weft_shm_attach_fd(weft_shm_fd(s));
    assert_int_equal(weft_shm_grow(s, 100000), 0);
    assert_true(weft_shm_size(other) >= 100000);
    ((char *)weft_shm_address(other))[99999] = 'g';
    assert_int_equal(((char *)weft_shm_address(s))[99999], 'g');
    assert_int_equal(weft_shm_grow(s, 10), 0);
    assert_true(weft_shm_size(s) >= 100000);
    assert_errno(weft_shm_grow(s, (1 << 20) + 1), ENOMEM);
    assert_int_equal(weft_shm_seal(other), 0);
    assert_errno(weft_shm_grow(s, 200000), EPERM);
    assert_errno(ftruncate(weft_shm_fd(s), 1 << 20), EPERM);
    assert_errno(ftruncate(weft_shm_fd(s), 4096), EPERM);
    weft_shm_detach(other);
    weft_shm_detach(s);
}

CASE(test_send_receive)
{
    int pair[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    assert_errno(weft_shm_receive(pair[1], WEFT_NOW), ETIMEDOUT);
    assert_errno(weft_shm_receive(pair[1], weft_in_ms(10)), ETIMEDOUT);
    weft_shm *s = weft_shm_create(nullptr, 4096, nullptr);
    strcpy((char *)weft_shm_address(s), "passed");
    assert_int_equal(weft_shm_send(s, pair[0], WEFT_NOW), 0);
    weft_shm *r = weft_shm_receive(pair[1], WEFT_NOW);
    assert_non_null(r);
    assert_string_equal((char *)weft_shm_address(r), "passed");
    assert_int_equal(fcntl(weft_shm_fd(r), F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
    assert_int_equal(write(pair[0], "no", 1), 1);
    assert_null(weft_shm_receive(pair[1], WEFT_NOW));
    assert_int_equal(errno, EBADMSG);
    int sent = 0;
    while (weft_shm_send(s, pair[0], WEFT_NOW) == 0)
        sent++;
    assert_true(sent > 0);
    assert_int_equal(errno, ETIMEDOUT);
    close(pair[0]);
    for (weft_shm *t; (t = weft_shm_receive(pair[1], WEFT_NOW)) != nullptr; sent--)
        weft_shm_detach(t);
    assert_int_equal(errno, EPIPE);
    assert_int_equal(sent, 0);
    assert_errno(weft_shm_send(s, pair[1], WEFT_NOW), EPIPE);
    close(pair[1]);
    weft_shm_detach(r);
    weft_shm_detach(s);
}

CASE(test_attach_fd_bad)
{
    assert_errno(weft_shm_attach_fd(-1), EBADF);
    int fds[2];
    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    assert_errno(weft_shm_attach_fd(fds[0]), EBADMSG);
    close(fds[0]);
    close(fds[1]);
}

int main(void)
{
    snprintf(name, sizeof name, "weft-test-%d", getpid());
    snprintf(path, sizeof path, "/dev/shm/%s", name);
    return run_cases(census_begin_alone, census_end);
}
