// Segments at the process's limits, and names that are no segments.
#include "../runner.h"
#include "processes.h"

#include <weft/shm.h>

#include <errno.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

static char name[40], path[64];

static int begin(void **state)
{
    snprintf(name, sizeof name, "weft-limits-%d", getpid());
    snprintf(path, sizeof path, "/dev/shm/%s", name);
    return census_begin_alone(state);
}

static void limit(int which, rlim_t n)
{
    struct rlimit l = {n, n};
    if (setrlimit(which, &l) != 0)
        _exit(90);
}

// SIGXFSZ would kill it.
static int larger_than_allowed(void *)
{
    weft_shm_options o = {};
    o.room = 1 << 20;
    weft_shm *s = weft_shm_create(nullptr, 4096, &o);
    signal(SIGXFSZ, SIG_DFL);
    limit(RLIMIT_FSIZE, 1 << 16);
    for (int i = 0; i < 4; i++) {
        o.lazy = i & 1;
        if (weft_shm_create(i & 2 ? name : nullptr, 1 << 20, &o) != nullptr || errno != EFBIG)
            return 1;
    }
    if (weft_shm_grow(s, 1 << 20) == 0 || errno != EFBIG)
        return 2;
    if (weft_shm_allocate(s, 1 << 18) != nullptr || errno != EFBIG)
        return 3;
    return weft_shm_size(s) == 4096 ? weft_shm_detach(s) : 4;
}

CASE(test_larger_than_allowed)
{
    assert_int_equal(end_of(child_of(larger_than_allowed, nullptr)), 0);
    assert_errno(access(path, F_OK), ENOENT);
}

static int detach_without_descriptors(void *limit_to)
{
    weft_shm *s = weft_shm_create(name, 4096, nullptr);
    if (s == nullptr)
        return 1;
    limit(RLIMIT_NOFILE, (rlim_t)(uintptr_t)limit_to);
    return weft_shm_detach(s);
}

CASE(test_detach_without_descriptors)
{
    for (uintptr_t most = 1; most <= 3; most++) {
        assert_int_equal(end_of(child_of(detach_without_descriptors, (void *)most)), 0);
        assert_errno(access(path, F_OK), ENOENT);
    }
}

static void is_no_segment(void)
{
    assert_errno(weft_shm_attach(name, NULL, WEFT_NOW), EBADMSG);
    assert_errno(weft_shm_create(name, 4096, nullptr), EEXIST);
    assert_errno(weft_shm_unlink(name), EBADMSG);
    struct stat st;
    assert_int_equal(lstat(path, &st), 0);
}

CASE(test_names_that_are_no_segments)
{
    assert_int_equal(symlink("/dev/null", path), 0);
    is_no_segment();
    unlink(path);
    assert_int_equal(symlink("/nowhere", path), 0);
    is_no_segment();
    unlink(path);
    assert_int_equal(mkdir(path, 0700), 0);
    is_no_segment();
    rmdir(path);
    assert_int_equal(mkfifo(path, 0600), 0);
    is_no_segment();
    unlink(path);
    struct sockaddr_un a = {AF_UNIX, ""};
    snprintf(a.sun_path, sizeof a.sun_path, "%s", path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
    is_no_segment();
    close(fd);
    unlink(path);
}

static int create_and_die(void *)
{
    weft_shm *s = weft_shm_create(name, 1 << 16, nullptr);
    return s == nullptr ? 1 : kill(getpid(), SIGKILL);
}

// What the dead left, and somebody cut.
static void leave_cut(off_t size)
{
    assert_int_equal(end_of(child_of(create_and_die, nullptr)), 256 + SIGKILL);
    assert_int_equal(truncate(path, size), 0);
    assert_errno(weft_shm_attach(name, NULL, WEFT_NOW), EBADMSG);
}

CASE(test_cut_segments_can_be_removed)
{
    const off_t sizes[] = {8, 100, 5000};
    for (off_t size : sizes) {
        leave_cut(size);
        assert_int_equal(weft_shm_unlink(name), 0);
        leave_cut(size);
        assert_true(weft_shm_reap() >= 1);
        assert_errno(access(path, F_OK), ENOENT);
        leave_cut(size);
        weft_shm *s = weft_shm_create(name, 4096, nullptr);
        assert_non_null(s);
        // While somebody has it, its name is his.
        assert_int_equal(truncate(path, size), 0);
        assert_errno(weft_shm_create(name, 4096, nullptr), EEXIST);
        assert_int_equal(weft_shm_unlink(name), 0);
        weft_shm_detach(s);
    }
}

RUN_CASES(begin, census_end)
