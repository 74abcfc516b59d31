// A reader-writer lock between processes, some of which die.
#include "../runner.h"
#include "processes.h"

#include <weft/shared_sync.h>
#include <weft/shm.h>
#include <weft/thread.h>

#include <errno.h>

static struct world {
    weft_shared_rwlock lock;
    long left, right; // equal but while somebody writes
    uint32_t inside, ready;
    bool stop;
} * w;
static weft_shm *segment;

static int begin(void **state)
{
    segment = weft_shm_create(nullptr, sizeof *w, nullptr);
    w = (struct world *)weft_shm_address(segment);
    return census_begin(state);
}

static int end(void **state)
{
    int n = census_end(state);
    weft_shm_detach(segment);
    return n;
}

static void fresh(void)
{
    memset((void *)w, 0, sizeof *w);
    assert_int_equal(weft_shared_rwlock_init(&w->lock), 0);
}

static int error_of(int result)
{
    return result == 0 ? 0 : errno;
}

static int try_read(void *)
{
    return error_of(weft_shared_rwlock_read(&w->lock, WEFT_NOW));
}

static int try_write(void *)
{
    return error_of(weft_shared_rwlock_write(&w->lock, WEFT_NOW));
}

static int say_and_pause(int code)
{
    __atomic_fetch_add(&w->ready, 1, __ATOMIC_SEQ_CST);
    return code != 0 ? code : pause();
}

static int read_and_pause(void *)
{
    return say_and_pause(weft_shared_rwlock_read(&w->lock, WEFT_FOREVER));
}

static int write_and_pause(void *)
{
    int code = weft_shared_rwlock_write(&w->lock, WEFT_FOREVER);
    w->left++;
    return say_and_pause(code);
}

static int read_to_the_end(void *)
{
    int code = error_of(weft_shared_rwlock_read(&w->lock, WEFT_FOREVER));
    return code != 0 ? code : weft_shared_rwlock_unlock(&w->lock);
}

static int write_to_the_end(void *)
{
    int code = error_of(weft_shared_rwlock_write(&w->lock, WEFT_FOREVER));
    return code != 0 ? code : weft_shared_rwlock_unlock(&w->lock);
}

// A child that has done so.
static pid_t one_that(int (*fn)(void *))
{
    uint32_t before = __atomic_load_n(&w->ready, __ATOMIC_SEQ_CST);
    pid_t p = child_of(fn, nullptr);
    while (__atomic_load_n(&w->ready, __ATOMIC_SEQ_CST) == before)
        usleep(200);
    return p;
}

static int by_child(int (*fn)(void *))
{
    return end_of(child_of(fn, nullptr));
}

static int downgrade(void *)
{
    return error_of(weft_shared_rwlock_downgrade(&w->lock));
}

static int write_downgrade_and_pause(void *)
{
    weft_shared_rwlock_write(&w->lock, WEFT_FOREVER);
    return say_and_pause(weft_shared_rwlock_downgrade(&w->lock));
}

CASE(test_downgrade)
{
    fresh();
    assert_errno(weft_shared_rwlock_downgrade(&w->lock), EPERM);
    assert_int_equal(weft_shared_rwlock_read(&w->lock, WEFT_NOW), 0);
    assert_errno(weft_shared_rwlock_downgrade(&w->lock), EPERM);
    assert_int_equal(weft_shared_rwlock_unlock(&w->lock), 0);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(weft_shared_rwlock_write(&w->lock, WEFT_NOW), 0);
        assert_int_equal(by_child(downgrade), EPERM);
        pid_t reader = i == 0 ? child_of(read_to_the_end, nullptr) : 0;
        pid_t writer = i == 1 ? child_of(write_to_the_end, nullptr) : 0;
        await_asleep(reader + writer);
        errno = 77;
        assert_int_equal(weft_shared_rwlock_downgrade(&w->lock), 0);
        assert_int_equal(errno, 77);
        if (i == 0) {
            assert_int_equal(end_of(reader), 0);
            assert_int_equal(by_child(try_read), 0);
        }
        assert_int_equal(by_child(try_write), ETIMEDOUT);
        assert_errno(weft_shared_rwlock_write(&w->lock, WEFT_FOREVER), EDEADLK);
        assert_int_equal(weft_shared_rwlock_unlock(&w->lock), 0);
        if (i == 1)
            assert_int_equal(end_of(writer), 0);
        assert_errno(weft_shared_rwlock_unlock(&w->lock), EPERM);
    }
    // A reader by that way that is killed leaves nothing to mend.
    kill_and_reap(one_that(write_downgrade_and_pause));
    assert_int_equal(weft_shared_rwlock_write(&w->lock, weft_in_s(20)), 0);
    assert_int_equal(weft_shared_rwlock_unlock(&w->lock), 0);
}

CASE(test_readers_share_and_writers_do_not)
{
    fresh();
    assert_errno(weft_shared_rwlock_unlock(&w->lock), EPERM);
    assert_int_equal(weft_shared_rwlock_read(&w->lock, WEFT_NOW), 0);
    assert_int_equal(weft_shared_rwlock_read(&w->lock, WEFT_NOW), 0);
    assert_errno(weft_shared_rwlock_write(&w->lock, WEFT_FOREVER), EDEADLK);
    assert_int_equal(by_child(try_read), 0); // and ends without unlock
    assert_int_equal(by_child(try_write), ETIMEDOUT);
    assert_int_equal(weft_shared_rwlock_unlock(&w->lock), 0);
    assert_int_equal(by_child(try_write), ETIMEDOUT);
    assert_int_equal(weft_shared_rwlock_unlock(&w->lock), 0);
    assert_errno(weft_shared_rwlock_unlock(&w->lock), EPERM);
    assert_int_equal(weft_shared_rwlock_write(&w->lock, WEFT_NOW), 0);
    assert_errno(weft_shared_rwlock_write(&w->lock, WEFT_FOREVER), EDEADLK);
    assert_errno(weft_shared_rwlock_read(&w->lock, WEFT_FOREVER), EDEADLK);
    assert_int_equal(by_child(try_read), ETIMEDOUT);
    assert_int_equal(by_child(try_write), ETIMEDOUT);
    assert_int_equal(weft_shared_rwlock_unlock(&w->lock), 0);
    assert_errno(weft_shared_rwlock_unlock(&w->lock), EPERM);
}

CASE(test_they_wait_for_each_other)
{
    fresh();
    assert_int_equal(weft_shared_rwlock_write(&w->lock, WEFT_NOW), 0);
    pid_t reader = child_of(read_to_the_end, nullptr), writer = child_of(write_to_the_end, nullptr);
    wait_asleep(reader);
    wait_asleep(writer);
    assert_int_equal(weft_shared_rwlock_unlock(&w->lock), 0);
    assert_int_equal(end_of(reader), 0);
    assert_int_equal(end_of(writer), 0);
    assert_int_equal(weft_shared_rwlock_read(&w->lock, WEFT_NOW), 0);
    writer = child_of(write_to_the_end, nullptr);
    wait_asleep(writer);
    // A writer that waits holds up new readers, not those who read.
    assert_int_equal(by_child(try_read), ETIMEDOUT);
    assert_int_equal(weft_shared_rwlock_read(&w->lock, WEFT_NOW), 0);
    assert_int_equal(weft_shared_rwlock_unlock(&w->lock), 0);
    assert_int_equal(weft_shared_rwlock_unlock(&w->lock), 0);
    assert_int_equal(end_of(writer), 0);
}

CASE(test_reader_dies)
{
    fresh();
    pid_t p = one_that(read_and_pause), writer = child_of(write_to_the_end, nullptr);
    wait_asleep(writer);
    kill_and_reap(p);
    assert_int_equal(end_of(writer), 0);
    assert_int_equal(by_child(try_write), 0);
}

static void *read_and_end(void *)
{
    weft_shared_rwlock_read(&w->lock, WEFT_FOREVER);
    return nullptr;
}

CASE(test_reading_thread_ends)
{
    fresh();
    weft_thread *t = weft_thread_start(read_and_end, nullptr, nullptr);
    assert_int_equal(weft_thread_join(t, nullptr, WEFT_FOREVER), 0);
    assert_int_equal(weft_shared_rwlock_write(&w->lock, weft_in_s(20)), 0);
    assert_int_equal(weft_shared_rwlock_unlock(&w->lock), 0);
}

CASE(test_writer_dies_at_work)
{
    for (int by_reader = 0; by_reader < 2; by_reader++) {
        fresh();
        pid_t p = one_that(write_and_pause);
        pid_t waits = child_of(read_to_the_end, nullptr);
        wait_asleep(waits);
        kill_and_reap(p);
        int code = end_of(waits); // and it dies with what it has got
        assert_int_equal(code, EOWNERDEAD);
        assert_errno(by_reader ? weft_shared_rwlock_read(&w->lock, WEFT_NOW)
                               : weft_shared_rwlock_write(&w->lock, WEFT_NOW),
                     EOWNERDEAD);
        assert_int_equal(by_child(try_read), ETIMEDOUT); // it is for writing
        w->right = w->left;
        assert_int_equal(weft_shared_rwlock_unlock(&w->lock), 0);
        assert_int_equal(by_child(try_write), 0);
        // The one that has tried has died too, with the lock.
        assert_int_equal(by_child(try_read), EOWNERDEAD);
    }
}

CASE(test_waiting_writer_dies)
{
    fresh();
    assert_int_equal(weft_shared_rwlock_read(&w->lock, WEFT_NOW), 0);
    pid_t writer = child_of(write_to_the_end, nullptr);
    wait_asleep(writer);
    pid_t reader = child_of(read_to_the_end, nullptr);
    wait_asleep(reader);
    kill_and_reap(writer);
    assert_int_equal(end_of(reader), 0); // nothing was half done
    assert_int_equal(weft_shared_rwlock_unlock(&w->lock), 0);
}

CASE(test_places_are_used_again)
{
    fresh();
    pid_t p[WEFT_SHARED_HOLDERS];
    for (int i = 0; i < 2 * WEFT_SHARED_HOLDERS; i++)
        assert_int_equal(by_child(read_to_the_end), 0);
    for (pid_t &each : p)
        each = one_that(read_and_pause);
    assert_errno(weft_shared_rwlock_read(&w->lock, WEFT_NOW), EUSERS);
    kill_and_reap(p[5]);
    assert_int_equal(weft_shared_rwlock_read(&w->lock, WEFT_NOW), 0);
    assert_int_equal(weft_shared_rwlock_unlock(&w->lock), 0);
    for (int i = 0; i < WEFT_SHARED_HOLDERS; i++)
        if (i != 5)
            kill_and_reap(p[i]);
    assert_int_equal(weft_shared_rwlock_write(&w->lock, weft_in_s(20)), 0);
}

// ---- a storm ----

static int reads_and_writes(void *arg)
{
    unsigned seed = (unsigned)(uintptr_t)arg;
    while (!__atomic_load_n(&w->stop, __ATOMIC_SEQ_CST)) {
        bool write = rand_r(&seed) % 4 == 0;
        int code = error_of(write ? weft_shared_rwlock_write(&w->lock, weft_in_s(30))
                                  : weft_shared_rwlock_read(&w->lock, weft_in_s(30)));
        if (code == EOWNERDEAD)
            w->right = w->left;
        else if (code != 0)
            return 1;
        if (w->left != w->right)
            return 2;
        if (code == EOWNERDEAD || write) {
            w->left++;
            w->right++;
        }
        if (weft_shared_rwlock_unlock(&w->lock) != 0)
            return 3;
    }
    return 0;
}

CASE(test_storm)
{
    enum { PROCESSES = 4, KILLS = 300 };
    fresh();
    pid_t p[PROCESSES];
    for (uintptr_t i = 0; i < PROCESSES; i++)
        p[i] = child_of(reads_and_writes, (void *)i);
    for (uintptr_t i = 0; i < KILLS; i++) {
        usleep((useconds_t)(i * 37 % 400));
        kill_and_reap(p[i % PROCESSES]);
        p[i % PROCESSES] = child_of(reads_and_writes, (void *)i);
    }
    __atomic_store_n(&w->stop, true, __ATOMIC_SEQ_CST);
    for (pid_t each : p)
        assert_int_equal(end_of(each), 0);
}

RUN_CASES(begin, end)
