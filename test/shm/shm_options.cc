// Segments that are kept, shared with others, or only read; objects with names.
#include "../runner.h"
#include "processes.h"

#include <weft/shared_queue.h>
#include <weft/shared_sync.h>
#include <weft/shm.h>
#include <weft/thread.h>

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

static char name[40], path[64];
static weft_shm *s;

static int begin(void **state)
{
    snprintf(name, sizeof name, "weft-options-%d", getpid());
    snprintf(path, sizeof path, "/dev/shm/%s", name);
    return census_begin_alone(state);
}

static bool exists(void)
{
    return access(path, F_OK) == 0;
}

static weft_shm *create(const weft_shm_options *o)
{
    weft_shm *made = weft_shm_create(name, 1 << 16, o);
    assert_non_null(made);
    return made;
}

// ---- keep ----

CASE(test_keep)
{
    weft_shm_options o = {};
    o.keep = true;
    s = create(&o);
    strcpy((char *)weft_shm_allocate(s, 64), "kept");
    weft_shm_set_root(s, (char *)weft_shm_address(s) + 64);
    weft_shm_ready(s);
    assert_int_equal(weft_shm_detach(s), 0);
    for (int i = 0; i < 2; i++) {
        weft_shm_reap();
        assert_true(exists());
        assert_errno(weft_shm_create(name, 4096, nullptr), EEXIST);
        s = weft_shm_attach(name, NULL, WEFT_NOW);
        assert_non_null(s);
        assert_string_equal((const char *)weft_shm_root(s), "kept");
        assert_int_equal(weft_shm_detach(s), 0);
    }
    assert_int_equal(weft_shm_unlink(name), 0);
    assert_false(exists());
}

static int make_kept_and_die(void *)
{
    weft_shm_options o = {};
    o.keep = true;
    return weft_shm_create(name, 4096, &o) == nullptr ? 1 : kill(getpid(), SIGKILL);
}

// What was never ready is nothing to keep.
CASE(test_keep_from_ready_on)
{
    assert_int_equal(end_of(child_of(make_kept_and_die, nullptr)), 256 + SIGKILL);
    assert_true(exists());
    assert_errno(weft_shm_attach(name, NULL, WEFT_FOREVER), ENOENT);
    assert_false(exists());
}

// ---- mode, group, others ----

enum { GROUP = 4711, OWNER = 4712, OTHER = 4713 };

static int become(uid_t user)
{
    return setgid(GROUP) != 0 || setuid(user) != 0 ? -1 : 0;
}

static int own_and_pause(void *mode)
{
    weft_shm_options o = {};
    o.fixed = 64;
    o.mode = (mode_t)(uintptr_t)mode;
    o.group = GROUP;
    if (become(OWNER) != 0 || (s = weft_shm_create(name, 4096, &o)) == nullptr)
        return 1;
    *(int *)weft_shm_address(s) = 77;
    weft_shm_ready(s);
    return pause();
}

static int attach_as_another(void *mode)
{
    weft_shm_attach_options o = {};
    if (become(OTHER) != 0 || weft_shm_attach(name, NULL, WEFT_NOW) != nullptr || errno != EACCES)
        return 1;
    o.others = true;
    bool may_write = (uintptr_t)mode & 020;
    weft_shm *other = weft_shm_attach(name, &o, WEFT_NOW);
    if (may_write ? other == nullptr : other != nullptr || errno != EACCES)
        return 2;
    if (other != nullptr && weft_shm_detach(other) != 0)
        return 3;
    o.read_only = true;
    other = weft_shm_attach(name, &o, WEFT_NOW);
    if (other == nullptr || *(int *)weft_shm_address(other) != 77 || weft_shm_detach(other) != 0)
        return 4;
    weft_shm_reap();
    return weft_shm_unlink(name) == -1 && errno == EACCES && exists() ? 0 : 5;
}

static int attach_to_what_is_left(void *)
{
    weft_shm_attach_options o = {};
    o.others = true;
    return become(OTHER) == 0 && weft_shm_attach(name, &o, WEFT_FOREVER) == nullptr &&
                   errno == ENOENT
               ? 0
               : 1;
}

CASE(test_mode_and_group)
{
    struct stat st;
    if (geteuid() != 0)
        skip();
    const mode_t modes[] = {0640, 0660};
    for (mode_t mode : modes) {
        pid_t owner = child_of(own_and_pause, (void *)(uintptr_t)mode);
        while (!exists())
            usleep(200);
        wait_asleep(owner);
        assert_int_equal(stat(path, &st), 0);
        assert_int_equal(st.st_mode & 0777, mode);
        assert_int_equal(st.st_gid, GROUP);
        assert_int_equal(end_of(child_of(attach_as_another, (void *)(uintptr_t)mode)), 0);
        kill_and_reap(owner);
        if (mode == 0660) // it can't be removed, but isn't there
            assert_int_equal(end_of(child_of(attach_to_what_is_left, nullptr)), 0);
        unlink(path);
    }
}

// ---- reading ----

static int write_there(void *p)
{
    struct sigaction plain = {};
    plain.sa_handler = SIG_DFL;
    sigaction(SIGSEGV, &plain, nullptr);
    *(volatile int *)p = 1;
    return 0;
}

CASE(test_read_only)
{
    s = create(nullptr);
    weft_shared_queue *q = weft_shared_queue_create(s, 64, nullptr);
    int *number = (int *)weft_shm_allocate(s, sizeof *number);
    *number = 42;
    weft_shm_set_root(s, number);
    weft_shm_attach_options o = {};
    o.read_only = true;
    assert_errno(weft_shm_attach(name, &o, weft_in_ms(5)), ETIMEDOUT); // not ready
    weft_shm_ready(s);
    weft_shm *r = weft_shm_attach(name, &o, WEFT_NOW);
    assert_non_null(r);
    assert_int_equal(*(int *)weft_shm_root(r), 42);
    assert_errno(weft_shm_allocate(r, 1), EACCES);
    assert_errno(weft_shm_free(r, weft_shm_root(r)), EACCES);
    assert_errno(weft_shm_set_root(r, weft_shm_root(r)), EACCES);
    assert_errno(weft_shm_grow(r, 1 << 16), EACCES);
    assert_errno(weft_shm_seal(r), EACCES);
    assert_errno(weft_shm_ready(r), EACCES);
    assert_errno(weft_shm_object(r, "x", 1, nullptr, nullptr, WEFT_NOW), EACCES);
    assert_errno(weft_shm_object_remove(r, "x"), EACCES);
    assert_errno(weft_shared_queue_attach(r, weft_shared_queue_offset(q)), EACCES);
    int code = end_of(child_of(write_there, weft_shm_root(r)));
    assert_true(code == 256 + SIGSEGV || (RUNNER_SANITIZED && code != 0));
    // Its descriptor makes others that can only read.
    weft_shm *again = weft_shm_attach_fd(weft_shm_fd(r));
    assert_errno(weft_shm_allocate(again, 1), EACCES);
    assert_int_equal(*(int *)weft_shm_root(again), 42);
    weft_shm_detach(again);
    // A reader is one who has the segment, and the last of them takes the name with it.
    weft_shared_queue_detach(q);
    weft_shm_detach(s);
    assert_true(exists());
    weft_shm_detach(r);
    assert_false(exists());
}

// ---- objects ----

struct counter {
    weft_shared_value made, total;
};

static int make_counter(weft_shm *, void *p, void *made)
{
    struct counter *c = (struct counter *)p;
    usleep(2000);
    weft_shared_value_add(&c->total, 1000);
    weft_shared_value_add((weft_shared_value *)made, 1);
    return 0;
}

static int count_once(void *made)
{
    struct counter *c = (struct counter *)weft_shm_object(s, "counter", sizeof *c, make_counter,
                                                          made, WEFT_FOREVER);
    return c == nullptr ? 1 : weft_shared_value_add(&c->total, 1) < 1000;
}

CASE(test_objects_are_made_once)
{
    s = weft_shm_create(nullptr, 1 << 16, nullptr);
    void *made = weft_shm_allocate(s, sizeof(weft_shared_value));
    weft_shared_value_set((weft_shared_value *)made, 0);
    pid_t p[8];
    for (pid_t &each : p)
        each = child_of(count_once, made);
    for (pid_t each : p)
        assert_int_equal(end_of(each), 0);
    assert_int_equal(weft_shared_value_get((weft_shared_value *)made), 1);
    struct counter *c =
        (struct counter *)weft_shm_object(s, "counter", 0, nullptr, nullptr, WEFT_NOW);
    assert_int_equal((uintptr_t)c % 64, 0);
    assert_int_equal(weft_shared_value_get(&c->total), 1008);
    assert_int_equal(weft_shm_object_remove(s, "counter"), 0);
    assert_errno(weft_shm_object(s, "counter", 0, nullptr, nullptr, WEFT_NOW), ENOENT);
    weft_shm_detach(s);
}

static int make_never(weft_shm *, void *, void *)
{
    errno = EDOM;
    return -1;
}

// A make may use the segment.
static int make_queue(weft_shm *in, void *p, void *)
{
    weft_shared_queue *q = weft_shared_queue_create(in, 256, nullptr);
    if (q == nullptr)
        return -1;
    *(uint64_t *)p = weft_shared_queue_offset(q);
    return weft_shared_queue_detach(q);
}

CASE(test_objects_errors)
{
    s = weft_shm_create(nullptr, 1 << 16, nullptr);
    char long_name[300];
    memset(long_name, 'x', sizeof long_name);
    long_name[256] = 0;
    assert_errno(weft_shm_object(s, "", 1, nullptr, nullptr, WEFT_NOW), EINVAL);
    assert_errno(weft_shm_object(s, long_name, 1, nullptr, nullptr, WEFT_NOW), EINVAL);
    assert_errno(weft_shm_object(s, "x", 0, nullptr, nullptr, WEFT_NOW), ENOENT);
    assert_errno(weft_shm_object(s, "x", 1 << 20, nullptr, nullptr, WEFT_NOW), ENOMEM);
    assert_errno(weft_shm_object(s, "x", SIZE_MAX, nullptr, nullptr, WEFT_NOW), ENOMEM);
    assert_errno(weft_shm_object(s, "x", 8, make_never, nullptr, WEFT_NOW), EDOM);
    assert_errno(weft_shm_object(s, "x", 0, nullptr, nullptr, WEFT_NOW), ENOENT);
    long_name[255] = 0;
    char *zeros = (char *)weft_shm_object(s, long_name, 100, nullptr, nullptr, WEFT_NOW);
    for (int i = 0; i < 100; i++)
        assert_int_equal(zeros[i], 0);
    assert_non_null(weft_shm_object(s, "x", 8, make_queue, nullptr, WEFT_NOW));
    assert_errno(weft_shm_object(s, "x", 9, make_queue, nullptr, WEFT_NOW), EINVAL);
    assert_errno(weft_shm_object_remove(s, "y"), ENOENT);
    assert_errno(weft_shm_object_remove(s, ""), ENOENT);
    weft_shm_detach(s);
}

static int die_in_make(weft_shm *, void *p, void *)
{
    strcpy((char *)p, "half");
    return kill(getpid(), SIGKILL);
}

static int pause_in_make(weft_shm *, void *, void *)
{
    return pause();
}

static int make_and_die(void *)
{
    weft_shm_object(s, "x", 8, die_in_make, nullptr, WEFT_NOW);
    return 1;
}

static int make_and_pause(void *)
{
    weft_shm_object(s, "x", 8, pause_in_make, nullptr, WEFT_NOW);
    return 1;
}

static int wait_for_it(void *)
{
    const char *p = (const char *)weft_shm_object(s, "x", 8, nullptr, nullptr, WEFT_FOREVER);
    return p == nullptr ? 1 : *p;
}

CASE(test_maker_dies)
{
    s = weft_shm_create(nullptr, 1 << 16, nullptr);
    assert_int_equal(end_of(child_of(make_and_die, nullptr)), 256 + SIGKILL);
    assert_errno(weft_shm_object(s, "x", 0, nullptr, nullptr, WEFT_NOW), ENOENT);
    const char *p = (const char *)weft_shm_object(s, "x", 8, nullptr, nullptr, WEFT_NOW);
    assert_int_equal(*p, 0);
    assert_int_equal(weft_shm_object_remove(s, "x"), 0);
    pid_t maker = child_of(make_and_pause, nullptr), waiter;
    wait_asleep(maker);
    while (weft_shm_object_remove(s, "x") == 0 || errno != EBUSY)
        usleep(200);
    assert_errno(weft_shm_object(s, "x", 8, nullptr, nullptr, WEFT_NOW), ETIMEDOUT);
    waiter = child_of(wait_for_it, nullptr);
    wait_asleep(waiter);
    kill_and_reap(maker);
    assert_int_equal(end_of(waiter), 0);
    weft_shm_detach(s);
}

// ---- anonymous units ----

static int take_one(void *semaphore)
{
    return weft_shared_semaphore_wait((weft_shared_semaphore *)semaphore, WEFT_FOREVER);
}

CASE(test_anonymous_units)
{
    s = weft_shm_create(nullptr, 1 << 16, nullptr);
    weft_shared_semaphore *sem = (weft_shared_semaphore *)weft_shm_allocate(s, sizeof *sem);
    assert_errno(weft_shared_semaphore_init_anonymous(sem, 2, 1), EINVAL);
    assert_int_equal(weft_shared_semaphore_init_anonymous(sem, 0, 300), 0);
    for (int i = 0; i < 300; i++)
        assert_int_equal(weft_shared_semaphore_post(sem), 0);
    assert_errno(weft_shared_semaphore_post(sem), EOVERFLOW);
    // More than may hold units at once; what they took does not come back.
    for (int i = 0; i < 200; i++)
        assert_int_equal(end_of(child_of(take_one, sem)), 0);
    assert_int_equal(weft_shared_semaphore_value(sem), 100);
    for (int i = 0; i < 100; i++)
        assert_int_equal(weft_shared_semaphore_wait(sem, WEFT_NOW), 0);
    assert_errno(weft_shared_semaphore_wait(sem, WEFT_NOW), ETIMEDOUT);
    pid_t p = child_of(take_one, sem);
    wait_asleep(p);
    assert_int_equal(weft_shared_semaphore_post(sem), 0);
    assert_int_equal(end_of(p), 0);
    weft_shm_detach(s);
}

RUN_CASES(begin, census_end)
