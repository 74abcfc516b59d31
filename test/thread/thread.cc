// Threads: start, join, detach, and what happens when a handle is misused.
#include "asleep.h"
#include <weft/sync.h>

#include <limits.h>

static void *give_back(void *arg)
{
    return arg;
}

static void *wait_event(void *arg)
{
    weft_event_wait((weft_event *)arg, WEFT_FOREVER);
    return arg;
}

CASE(test_start_join_result)
{
    int x;
    errno = 77;
    weft_thread *t = weft_thread_start(give_back, &x, nullptr);
    assert_non_null(t);
    assert_int_equal(joined(t), (intptr_t)&x);
    assert_int_equal(errno, 77);
}

CASE(test_start_no_function)
{
    assert_errno(weft_thread_start(nullptr, nullptr, nullptr), EINVAL);
}

CASE(test_start_small_stack)
{
    weft_thread_options o = {};
    o.stack_size = 1;
    assert_errno(weft_thread_start(give_back, nullptr, &o), EINVAL);
    o.stack_size = SIZE_MAX;
    assert_errno(weft_thread_start(give_back, nullptr, &o), EINVAL);
}

CASE(test_start_impossible_stack)
{
    weft_thread_options o = {};
    o.stack_size = (size_t)1 << 50;
    errno = 0;
    assert_null(weft_thread_start(give_back, nullptr, &o));
    assert_true(errno == EAGAIN || errno == ENOMEM);
}

static void *stack_size_of_self(void *)
{
    pthread_attr_t a;
    size_t size = 0;
    pthread_getattr_np(pthread_self(), &a);
    pthread_attr_getstacksize(&a, &size);
    pthread_attr_destroy(&a);
    return (void *)size;
}

CASE(test_start_stack_size)
{
    weft_thread_options o = {};
    void *size;
    o.stack_size = ((size_t)1 << 20) + 1; // rounded up to whole pages
    weft_thread *t = weft_thread_start(stack_size_of_self, nullptr, &o);
    assert_int_equal(weft_thread_join(t, &size, WEFT_FOREVER), 0);
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    assert_int_equal((size_t)size, ((size_t)1 << 20) + page);
}

static void *affinity_of_self(void *arg)
{
    sched_getaffinity(0, sizeof(cpu_set_t), (cpu_set_t *)arg);
    return nullptr;
}

CASE(test_start_cpus)
{
    cpu_set_t ours, its;
    int first = 0;
    assert_int_equal(sched_getaffinity(0, sizeof ours, &ours), 0);
    while (!CPU_ISSET(first, &ours))
        first++;
    weft_thread_options o = {};
    o.cpus = &first;
    o.cpu_count = 1;
    weft_thread *t = weft_thread_start(affinity_of_self, &its, &o);
    assert_non_null(t);
    assert_int_equal(weft_thread_join(t, nullptr, WEFT_FOREVER), 0);
    assert_int_equal(CPU_COUNT(&its), 1);
    assert_true(CPU_ISSET(first, &its));
}

CASE(test_start_bad_cpus)
{
    int bad[] = {-1}, absent[] = {100000};
    weft_thread_options o = {};
    o.cpus = bad;
    o.cpu_count = 1;
    assert_errno(weft_thread_start(give_back, nullptr, &o), EINVAL);
    o.cpu_count = 0;
    assert_errno(weft_thread_start(give_back, nullptr, &o), EINVAL);
    o.cpus = absent;
    o.cpu_count = 1;
    assert_errno(weft_thread_start(give_back, nullptr, &o), EINVAL);
}

CASE(test_join_deadline_leaves_it_joinable)
{
    weft_event go = WEFT_EVENT_INIT;
    void *result;
    weft_thread *t = weft_thread_start(wait_event, &go, nullptr);
    assert_errno(weft_thread_join(t, &result, WEFT_NOW), ETIMEDOUT);
    assert_errno(weft_thread_join(t, &result, weft_in_ms(5)), ETIMEDOUT);
    weft_event_set(&go);
    assert_int_equal(joined(t, weft_in_s(30)), (intptr_t)&go);
}

static void *join_self(void *)
{
    return code_of(weft_thread_join(weft_thread_self(), nullptr, WEFT_FOREVER));
}

CASE(test_join_self)
{
    assert_int_equal(in_thread(join_self, nullptr), -EDEADLK);
}

CASE(test_join_twice)
{
    weft_thread *t = weft_thread_start(give_back, nullptr, nullptr);
    assert_int_equal(weft_thread_join(t, nullptr, WEFT_FOREVER), 0);
    assert_errno(weft_thread_join(t, nullptr, WEFT_FOREVER), EINVAL);
    assert_errno(weft_thread_detach(t), EINVAL);
    assert_errno(weft_thread_stop(t), EINVAL);
    assert_errno(weft_thread_id(t), EINVAL);
    char name[16];
    assert_errno(weft_thread_name(t, name, sizeof name), EINVAL);
    assert_errno(weft_thread_join(nullptr, nullptr, WEFT_FOREVER), EINVAL);
    assert_errno(weft_thread_stop(nullptr), EINVAL);
    assert_errno(weft_thread_detach(nullptr), EINVAL);
}

static int joining; // atomic: how many have come that far

static void *join_target(void *t)
{
    add_word(&joining);
    void *result = nullptr;
    return weft_thread_join((weft_thread *)t, &result, WEFT_FOREVER) == 0 ? result : code_of(-1);
}

static void *join_target_in_time(void *t)
{
    add_word(&joining);
    void *result = nullptr;
    return weft_thread_join((weft_thread *)t, &result, weft_in_s(300)) == 0 ? result : code_of(-1);
}

enum { JOINERS = 6 };

// Threads of weft's and others, with all the time and without.
static void start_joiners(pthread_t *others, weft_thread **ours, weft_thread *target)
{
    for (int i = 0; i < JOINERS; i++) {
        assert_int_equal(
            pthread_create(&others[i], nullptr, i % 2 ? join_target : join_target_in_time, target),
            0);
        ours[i] = weft_thread_start(i % 2 ? join_target_in_time : join_target, target, nullptr);
    }
}

CASE(test_all_who_join_get_the_result)
{
    for (int round = 0; round < 20; round++) {
        weft_event go = WEFT_EVENT_INIT;
        weft_thread *ours[JOINERS], *target = weft_thread_start(wait_event, &go, nullptr);
        pthread_t others[JOINERS];
        joining = 0;
        start_joiners(others, ours, target);
        await_word(&joining, 2 * JOINERS);
        for (weft_thread *each : ours)
            await_asleep(weft_thread_id(each));
        assert_errno(weft_thread_detach(target), EBUSY);
        assert_errno(weft_thread_join(target, nullptr, WEFT_NOW), ETIMEDOUT);
        weft_event_set(&go);
        for (int i = 0; i < JOINERS; i++) {
            void *result = nullptr;
            pthread_join(others[i], &result);
            // Whoever is not quite there yet may find it released.
            assert_true(result == &go || result == code_of((errno = EINVAL, -1)));
            assert_int_equal(joined(ours[i]), (intptr_t)&go);
        }
        assert_errno(weft_thread_join(target, nullptr, WEFT_FOREVER), EINVAL);
    }
}

static void *call_pthread_exit(void *arg)
{
    pthread_exit(arg);
}

CASE(test_join_after_pthread_exit)
{
    int x;
    weft_thread *t = weft_thread_start(call_pthread_exit, &x, nullptr);
    assert_int_equal(joined(t, weft_in_s(30)), (intptr_t)&x);
}

static void *cancel_self(void *)
{
    pthread_cancel(pthread_self());
    pthread_testcancel();
    return nullptr;
}

CASE(test_join_after_pthread_cancel)
{
    weft_thread *t = weft_thread_start(cancel_self, nullptr, nullptr);
    assert_int_equal(joined(t, weft_in_s(30)), (intptr_t)PTHREAD_CANCELED);
}

struct cancelled {
    weft_thread *target;
    pthread_t self;
    int id; // atomic; set when it is about to join
};

static void *join_to_be_cancelled(void *arg)
{
    cancelled *c = (cancelled *)arg;
    c->self = pthread_self();
    __atomic_store_n(&c->id, gettid(), __ATOMIC_RELEASE);
    return join_target(c->target);
}

// Two join; one is cancelled, asleep or at any other moment.
static void cancel_a_join(bool ours, bool other_first, bool let_it_sleep)
{
    weft_event go = WEFT_EVENT_INIT;
    weft_thread *target = weft_thread_start(wait_event, &go, nullptr), *t = nullptr;
    weft_thread *other = other_first ? weft_thread_start(join_target, target, nullptr) : nullptr;
    cancelled c = {target, {}, 0};
    void *result;
    if (other_first)
        await_asleep(weft_thread_id(other));
    if (ours)
        t = weft_thread_start(join_to_be_cancelled, &c, nullptr);
    else
        assert_int_equal(pthread_create(&c.self, nullptr, join_to_be_cancelled, &c), 0);
    await_word(&c.id, 1);
    if (let_it_sleep)
        await_asleep(c.id);
    assert_int_equal(pthread_cancel(c.self), 0);
    if (!other_first)
        other = weft_thread_start(join_target, target, nullptr);
    if (ours)
        result = (void *)joined(t);
    else
        assert_int_equal(pthread_join(c.self, &result), 0);
    assert_ptr_equal(result, PTHREAD_CANCELED);
    assert_errno(weft_thread_join(target, nullptr, WEFT_NOW), ETIMEDOUT);
    weft_event_set(&go);
    assert_int_equal(joined(other), (intptr_t)&go);
    assert_errno(weft_thread_join(target, nullptr, WEFT_NOW), EINVAL);
}

CASE(test_cancelled_join_is_anothers)
{
    if (RUNNER_SANITIZED)
        skip(); // TSan's pthread_join is left half done, and ASan's marks stay on the stack
    for (int i = 0; i < 8 * 30; i++)
        cancel_a_join(i & 1, i & 2, i & 4);
}

// Joins, one of which may be cancelled, race with the end: somebody gets the result, and the record
// is released, once.
CASE(test_joins_race_with_the_end)
{
    enum { EACH = 3, MOST = 8 };
    weft_thread *seen[MOST] = {};
    for (int i = 0; i < 600; i++) {
        pthread_t joiners[EACH];
        weft_thread *target = weft_thread_start(give_back, seen, nullptr);
        int got = 0, place = 0;
        while (place < MOST && seen[place] != nullptr && seen[place] != target)
            place++;
        assert_in_range(place, 0, MOST - 1); // else records are lost
        seen[place] = target;
        for (int k = 0; k < EACH; k++)
            assert_int_equal(pthread_create(&joiners[k], nullptr,
                                            (i + k) % 2 ? join_target : join_target_in_time,
                                            target),
                             0);
        if (i % 2 && !RUNNER_SANITIZED)
            pthread_cancel(joiners[0]);
        for (pthread_t each : joiners) {
            void *result = nullptr;
            pthread_join(each, &result);
            got += result == seen;
        }
        assert_in_range(got, 1, EACH);
    }
}

static weft_slot slow_slot;

static void wait_again_and_again(void *event)
{
    static int rounds;
    weft_event_wait((weft_event *)event, WEFT_FOREVER);
    if (++rounds < PTHREAD_DESTRUCTOR_ITERATIONS)
        weft_slot_set(&slow_slot, event);
}

static void *set_slow_slot(void *event)
{
    weft_slot_set(&slow_slot, event);
    return nullptr;
}

// A destructor is part of a thread: it may take long, and a join that won't wait for it says so.
CASE(test_join_deadline_holds_for_destructors)
{
    static weft_event go = WEFT_EVENT_INIT;
    assert_int_equal(weft_slot_init(&slow_slot, wait_again_and_again), 0);
    weft_thread *t = weft_thread_start(set_slow_slot, &go, nullptr);
    assert_errno(weft_thread_join(t, nullptr, WEFT_NOW), ETIMEDOUT);
    assert_errno(weft_thread_join(t, nullptr, weft_in_ms(20)), ETIMEDOUT);
    weft_event_set(&go);
    assert_int_equal(weft_thread_join(t, nullptr, WEFT_FOREVER), 0);
    weft_slot_destroy(&slow_slot);
}

CASE(test_detach_running_and_ended)
{
    weft_event go = WEFT_EVENT_INIT;
    weft_thread *t = weft_thread_start(wait_event, &go, nullptr);
    pid_t id = weft_thread_id(t);
    assert_int_equal(weft_thread_detach(t), 0);
    assert_errno(weft_thread_join(t, nullptr, WEFT_NOW), EINVAL);
    assert_errno(weft_thread_detach(t), EINVAL);
    weft_event_set(&go);
    char path[64];
    snprintf(path, sizeof path, "/proc/self/task/%d", (int)id);
    while (access(path, F_OK) == 0)
        sched_yield();

    t = weft_thread_start(give_back, nullptr, nullptr);
    await_ended(t);
    assert_int_equal(errno, ESRCH);
    assert_int_equal(weft_thread_detach(t), 0);
}

static void *count_up(void *arg)
{
    add_word((int *)arg);
    return nullptr;
}

CASE(test_start_detached)
{
    int ran = 0;
    weft_thread_options o = {};
    o.detached = true;
    for (int i = 0; i < 50; i++)
        assert_non_null(weft_thread_start(count_up, &ran, &o));
    await_word(&ran, 50);
}

// Handles are reused; joins, detaches and ends must never release one twice.
static void *start_and_join_many(void *arg)
{
    for (int i = 0; i < 100; i++) {
        void *result = nullptr;
        weft_thread *t = weft_thread_start(give_back, &i, nullptr);
        if (i % 3 == 0 && weft_thread_detach(t) == 0)
            continue;
        if (weft_thread_join(t, &result, i % 2 ? WEFT_FOREVER : weft_in_s(30)) != 0 || result != &i)
            return nullptr;
    }
    return arg;
}

CASE(test_start_join_detach_from_many)
{
    weft_thread *t[8];
    for (weft_thread *&each : t)
        each = weft_thread_start(start_and_join_many, &t, nullptr);
    for (weft_thread *each : t) {
        assert_int_equal(joined(each), (intptr_t)&t);
    }
}

CASE(test_sleep)
{
    int64_t before = weft_now();
    assert_int_equal(weft_thread_sleep(weft_in_ms(20)), 0);
    assert_true(weft_now() - before >= 20000000);
    assert_int_equal(weft_thread_sleep(WEFT_NOW), 0);
}

RUN_CASES()
