// Rwlocks, and robust mutexes: each kind, each flag, each documented error; for what locks have
// alike see test/twins.
#include "../refuses.h"
#include "asleep.h"
#include <weft/sync.h>

#include <sys/mman.h>
#include <sys/wait.h>

// These tests unlock what they don't own and destroy what is broken, on purpose.
extern "C" const char *__tsan_default_options(void)
{
    return "report_mutex_bugs=0:report_destroy_locked=0";
}

static void *lock_now(void *m)
{
    int code = weft_mutex_lock((weft_mutex *)m, WEFT_NOW);
    if (code == 0)
        weft_mutex_unlock((weft_mutex *)m);
    return code_of(code);
}

CASE(test_mutex_init_flags)
{
    weft_mutex m;
    assert_errno(weft_mutex_init(&m, WEFT_RECURSIVE | WEFT_CHECKED), EINVAL);
    assert_errno(weft_mutex_init(&m, WEFT_WRITERS_FIRST), EINVAL);
    assert_errno(weft_mutex_init(&m, 1 << 20), EINVAL);
}

CASE(test_static_initialisers)
{
    weft_mutex r = WEFT_RECURSIVE_MUTEX_INIT, c = WEFT_CHECKED_MUTEX_INIT;
    assert_int_equal(weft_mutex_lock(&r, WEFT_FOREVER), 0);
    assert_int_equal(weft_mutex_lock(&r, WEFT_FOREVER), 0);
    assert_int_equal(weft_mutex_unlock(&r), 0);
    assert_int_equal(weft_mutex_unlock(&r), 0);
    assert_errno(weft_mutex_unlock(&c), EPERM);
}

static void *lock_and_die(void *m)
{
    weft_mutex_lock((weft_mutex *)m, WEFT_FOREVER);
    return nullptr;
}

CASE(test_robust_mutex_hands_on_the_lock)
{
    weft_mutex m;
    assert_int_equal(weft_mutex_init(&m, WEFT_ROBUST), 0);
    in_thread(lock_and_die, &m);
    assert_errno(weft_mutex_lock(&m, WEFT_FOREVER), EOWNERDEAD);
    assert_int_equal(in_thread(lock_now, &m), -ETIMEDOUT); // we have it
    assert_int_equal(weft_mutex_consistent(&m), 0);
    assert_errno(weft_mutex_consistent(&m), EINVAL);
    assert_int_equal(weft_mutex_unlock(&m), 0);
    assert_int_equal(in_thread(lock_now, &m), 0);

    in_thread(lock_and_die, &m);
    assert_errno(weft_mutex_lock(&m, weft_in_s(30)), EOWNERDEAD);
    assert_int_equal(weft_mutex_unlock(&m), 0); // unmended
    assert_errno(weft_mutex_lock(&m, WEFT_FOREVER), ENOTRECOVERABLE);
    assert_errno(weft_mutex_lock(&m, WEFT_NOW), ENOTRECOVERABLE);
    assert_int_equal(weft_mutex_destroy(&m), 0);
}

CASE(test_robust_recursive_mutex_in_use)
{
    weft_mutex m;
    assert_int_equal(weft_mutex_init(&m, WEFT_ROBUST | WEFT_RECURSIVE), 0);
    assert_int_equal(weft_mutex_lock(&m, WEFT_FOREVER), 0);
    assert_errno(weft_mutex_destroy(&m), EBUSY);
    assert_int_equal(in_thread(lock_now, &m), -ETIMEDOUT); // still ours
    assert_int_equal(weft_mutex_unlock(&m), 0);
    assert_errno(weft_mutex_unlock(&m), EPERM);
    assert_int_equal(weft_mutex_destroy(&m), 0);
}

CASE(test_shared_robust_mutex_across_processes)
{
    weft_mutex *m = (weft_mutex *)mmap(nullptr, 4096, PROT_READ | PROT_WRITE,
                                       MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_int_equal(weft_mutex_init(m, WEFT_SHARED | WEFT_ROBUST), 0);
    pid_t child = fork();
    if (child == 0) {
        weft_mutex_lock(m, WEFT_FOREVER);
        _exit(0); // with the lock held
    }
    assert_int_equal(waitpid(child, nullptr, 0), child);
    assert_errno(weft_mutex_lock(m, WEFT_FOREVER), EOWNERDEAD);
    assert_errno(weft_mutex_destroy(m), EBUSY);
    assert_int_equal(weft_mutex_consistent(m), 0);
    assert_int_equal(weft_mutex_unlock(m), 0);
    assert_int_equal(weft_mutex_destroy(m), 0);
    munmap(m, 4096);
}

// ---- Priorities ----

// Zero, or the real-time priority at which the main thread runs just now.
static int priority_now(void)
{
    char text[512] = "";
    int priority = 0;
    FILE *f = fopen("/proc/thread-self/stat", "re");
    assert_non_null(fgets(text, sizeof text, f));
    fclose(f);
    // The 18th field, of which the third comes after the name: proc(5).
    assert_int_equal(sscanf(strrchr(text, ')') + 1,
                            " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %d",
                            &priority),
                     1);
    return priority < 0 ? -priority - 1 : 0;
}

static void *lock_and_unlock(void *m)
{
    int code = weft_mutex_lock((weft_mutex *)m, WEFT_FOREVER);
    weft_mutex_unlock((weft_mutex *)m);
    return code_of(code);
}

CASE(test_mutex_gives_its_owner_a_waiters_priority)
{
    for (int inherit = 0; inherit <= 1; inherit++) {
        weft_mutex m;
        weft_thread_options o = {};
        o.policy = SCHED_FIFO;
        o.priority = 7;
        assert_int_equal(weft_mutex_init(&m, inherit ? WEFT_PRIORITY_INHERIT : 0), 0);
        assert_int_equal(weft_mutex_lock(&m, WEFT_FOREVER), 0);
        assert_int_equal(priority_now(), 0);
        weft_thread *t = weft_thread_start(lock_and_unlock, &m, &o);
        if (t == nullptr && errno == EPERM)
            skip();
        await_asleep(weft_thread_id(t));
        assert_int_equal(priority_now(), inherit ? 7 : 0);
        assert_int_equal(weft_mutex_unlock(&m), 0);
        assert_int_equal(priority_now(), 0);
        assert_int_equal(joined(t), 0);
        assert_int_equal(weft_mutex_destroy(&m), 0);
    }
}

static void *lock_soon(void *m)
{
    return code_of(weft_mutex_lock((weft_mutex *)m, weft_in_ms(5)));
}

CASE(test_mutex_inherits_with_each_flag)
{
    for (int flags = 0; flags < 16; flags++) {
        weft_mutex m;
        if ((flags & (WEFT_RECURSIVE | WEFT_CHECKED)) == (WEFT_RECURSIVE | WEFT_CHECKED))
            continue;
        assert_int_equal(weft_mutex_init(&m, flags | WEFT_PRIORITY_INHERIT), 0);
        assert_int_equal(weft_mutex_lock(&m, WEFT_NOW), 0);
        assert_int_equal(in_thread(lock_now, &m), -ETIMEDOUT);
        assert_int_equal(in_thread(lock_soon, &m), -ETIMEDOUT);
        if (flags & WEFT_CHECKED)
            assert_errno(weft_mutex_lock(&m, WEFT_FOREVER), EDEADLK);
        if (flags & WEFT_RECURSIVE) {
            assert_int_equal(weft_mutex_lock(&m, WEFT_NOW), 0);
            assert_int_equal(weft_mutex_unlock(&m), 0);
        }
        assert_errno(weft_mutex_destroy(&m), EBUSY);
        assert_int_equal(weft_mutex_unlock(&m), 0);
        if (flags & WEFT_ROBUST) {
            in_thread(lock_and_die, &m);
            assert_errno(weft_mutex_lock(&m, WEFT_NOW), EOWNERDEAD);
            assert_int_equal(weft_mutex_unlock(&m), 0);
            assert_errno(weft_mutex_lock(&m, WEFT_NOW), ENOTRECOVERABLE);
        }
        assert_int_equal(weft_mutex_destroy(&m), 0);
    }
}

static int init_without_clock(void *)
{
    enum { LOCK_PI2 = 13 };
    weft_mutex m;
    if (!refuses(SYS_futex, ENOSYS, 1, 127, LOCK_PI2))
        return 0;
    return weft_mutex_init(&m, WEFT_PRIORITY_INHERIT) == 0 || errno != ENOTSUP;
}

CASE(test_mutex_inherits_not_by_the_wall_clock)
{
    if (RUNNER_TSAN)
        skip(); // its build uses the wall clock
    assert_int_equal(end_of(child_of(init_without_clock, nullptr)), 0);
}

// ---- Rwlocks ----

static void *unlocked(weft_rwlock *l, int code)
{
    if (code == 0)
        weft_rwlock_unlock(l);
    return code_of(code);
}

static void *read_now(void *l)
{
    return unlocked((weft_rwlock *)l, weft_rwlock_read((weft_rwlock *)l, WEFT_NOW));
}

static void *write_now(void *l)
{
    return unlocked((weft_rwlock *)l, weft_rwlock_write((weft_rwlock *)l, WEFT_NOW));
}

static void *read_soon(void *l)
{
    return unlocked((weft_rwlock *)l, weft_rwlock_read((weft_rwlock *)l, weft_in_ms(5)));
}

static void *write_soon(void *l)
{
    return unlocked((weft_rwlock *)l, weft_rwlock_write((weft_rwlock *)l, weft_in_ms(5)));
}

static void rwlock_cases(weft_rwlock *l)
{
    assert_int_equal(weft_rwlock_read(l, WEFT_FOREVER), 0);
    assert_int_equal(in_thread(read_now, l), 0);
    assert_int_equal(in_thread(write_now, l), -ETIMEDOUT);
    assert_int_equal(in_thread(write_soon, l), -ETIMEDOUT);
    assert_errno(weft_rwlock_destroy(l), EBUSY);
    assert_int_equal(weft_rwlock_unlock(l), 0);

    assert_int_equal(weft_rwlock_write(l, weft_in_s(30)), 0);
    assert_int_equal(in_thread(read_now, l), -ETIMEDOUT);
    assert_int_equal(in_thread(read_soon, l), -ETIMEDOUT);
    assert_int_equal(in_thread(write_now, l), -ETIMEDOUT);
    assert_errno(weft_rwlock_write(l, WEFT_NOW), ETIMEDOUT);
    assert_errno(weft_rwlock_write(l, weft_in_s(30)), EDEADLK);
    assert_errno(weft_rwlock_write(l, WEFT_FOREVER), EDEADLK);
    assert_errno(weft_rwlock_read(l, WEFT_FOREVER), EDEADLK);
    assert_errno(weft_rwlock_destroy(l), EBUSY);
    assert_int_equal(weft_rwlock_unlock(l), 0);
    assert_int_equal(weft_rwlock_read(l, weft_in_s(30)), 0);
    assert_int_equal(weft_rwlock_unlock(l), 0);
    assert_int_equal(weft_rwlock_destroy(l), 0);
}

CASE(test_rwlock)
{
    weft_rwlock l = WEFT_RWLOCK_INIT, writers, shared;
    rwlock_cases(&l);
    assert_int_equal(weft_rwlock_init(&writers, WEFT_WRITERS_FIRST), 0);
    rwlock_cases(&writers);
    assert_int_equal(weft_rwlock_init(&shared, WEFT_SHARED), 0);
    rwlock_cases(&shared);
    assert_errno(weft_rwlock_init(&l, WEFT_ROBUST), EINVAL);
}

static void *write_and_unlock(void *l)
{
    return unlocked((weft_rwlock *)l, weft_rwlock_write((weft_rwlock *)l, WEFT_FOREVER));
}

// With WRITERS_FIRST a waiting writer holds up new readers; without, it doesn't.
CASE(test_rwlock_writers_first)
{
    for (int first = 0; first <= 1; first++) {
        weft_rwlock l;
        assert_int_equal(weft_rwlock_init(&l, first ? WEFT_WRITERS_FIRST : 0), 0);
        assert_int_equal(weft_rwlock_read(&l, WEFT_FOREVER), 0);
        weft_thread *writer = weft_thread_start(write_and_unlock, &l, nullptr);
        await_asleep(weft_thread_id(writer));
        assert_int_equal(in_thread(read_now, &l), first ? -ETIMEDOUT : 0);
        assert_int_equal(weft_rwlock_unlock(&l), 0);
        assert_int_equal(weft_thread_join(writer, nullptr, WEFT_FOREVER), 0);
        assert_int_equal(weft_rwlock_destroy(&l), 0);
    }
}

static struct {
    weft_rwlock rwlock;
    long sum, twin;
} shared_sums = {WEFT_RWLOCK_INIT, 0, 0};

static void *downgrade_and_unlock(void *l)
{
    return unlocked((weft_rwlock *)l, weft_rwlock_downgrade((weft_rwlock *)l));
}

static void *count_written(void *l)
{
    intptr_t code = (intptr_t)weft_rwlock_write((weft_rwlock *)l, WEFT_FOREVER);
    shared_sums.sum++;
    weft_rwlock_unlock((weft_rwlock *)l);
    return (void *)code;
}

static const int rwlock_kinds[] = {0, WEFT_WRITERS_FIRST, WEFT_SHARED,
                                   WEFT_SHARED | WEFT_WRITERS_FIRST};

CASE(test_rwlock_downgrade)
{
    enum { WRITERS = 4 };
    for (int flags : rwlock_kinds) {
        weft_rwlock l;
        weft_thread *writers[WRITERS];
        shared_sums.sum = 0;
        assert_int_equal(weft_rwlock_init(&l, flags), 0);
        assert_errno(weft_rwlock_downgrade(&l), EPERM);
        assert_int_equal(weft_rwlock_write(&l, WEFT_NOW), 0);
        assert_int_equal(in_thread(downgrade_and_unlock, &l), -EPERM);
        for (weft_thread *&each : writers) {
            each = weft_thread_start(count_written, &l, nullptr);
            await_asleep(weft_thread_id(each));
        }
        errno = 77;
        assert_int_equal(weft_rwlock_downgrade(&l), 0);
        assert_int_equal(errno, 77);
        assert_int_equal(shared_sums.sum, 0); // of those that wait, none got in
        assert_int_equal(in_thread(write_now, &l), -ETIMEDOUT);
        assert_int_equal(in_thread(write_soon, &l), -ETIMEDOUT);
        assert_errno(weft_rwlock_destroy(&l), EBUSY);
        if (!(flags & WEFT_WRITERS_FIRST)) {
            assert_int_equal(in_thread(read_now, &l), 0);
            assert_errno(weft_rwlock_downgrade(&l), EPERM);
        }
        assert_int_equal(weft_rwlock_unlock(&l), 0);
        for (weft_thread *each : writers)
            assert_int_equal(joined(each), 0);
        assert_int_equal(shared_sums.sum, WRITERS);
        assert_int_equal(weft_rwlock_destroy(&l), 0);
    }
}

// Whoever downgrades reads what it wrote, whoever else writes.
static void *write_and_read(void *l)
{
    intptr_t lost = 0;
    for (int i = 0; i < 2000; i++) {
        if (weft_rwlock_write((weft_rwlock *)l, i % 3 == 0 ? weft_in_s(60) : WEFT_FOREVER) != 0)
            return l;
        long mine = ++shared_sums.sum;
        if (i % 2 == 0)
            lost += weft_rwlock_downgrade((weft_rwlock *)l) != 0;
        lost += __atomic_load_n(&shared_sums.sum, __ATOMIC_RELAXED) != mine;
        weft_rwlock_unlock((weft_rwlock *)l);
    }
    return (void *)lost;
}

CASE(test_rwlock_downgrades_race)
{
    for (int flags : rwlock_kinds) {
        weft_rwlock l;
        shared_sums.sum = 0;
        assert_int_equal(weft_rwlock_init(&l, flags), 0);
        assert_int_equal(eight_at_once(write_and_read, &l), 0);
        assert_int_equal(shared_sums.sum, 8 * 2000);
        assert_int_equal(weft_rwlock_destroy(&l), 0);
    }
    shared_sums.sum = 0;
}

static void *add_under_rwlock(void *)
{
    intptr_t torn = 0;
    for (int i = 0; i < 2000; i++) {
        if (i % 4 == 0) {
            weft_rwlock_write(&shared_sums.rwlock, WEFT_FOREVER);
            shared_sums.sum++;
            shared_sums.twin++;
        } else {
            weft_rwlock_read(&shared_sums.rwlock, i % 4 == 1 ? weft_in_s(60) : WEFT_FOREVER);
            torn += shared_sums.sum != shared_sums.twin;
        }
        weft_rwlock_unlock(&shared_sums.rwlock);
    }
    return (void *)torn;
}

CASE(test_rwlock_guards)
{
    assert_int_equal(eight_at_once(add_under_rwlock, nullptr), 0);
    assert_int_equal(shared_sums.sum, 8 * 500);
}

RUN_CASES()
