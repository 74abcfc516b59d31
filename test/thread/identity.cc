// Who a thread is and what it has for itself: names, ids, the list of all, slots.
#include "../refuses.h"
#include "asleep.h"
#include <weft/sync.h>

#include <sys/resource.h>

#include <limits.h>

static void *wait_event(void *arg)
{
    weft_event_wait((weft_event *)arg, WEFT_FOREVER);
    return arg;
}

CASE(test_list)
{
    weft_event go = WEFT_EVENT_INIT;
    weft_thread_options o = {};
    weft_thread_information row[4];
    assert_int_equal(weft_thread_list(row, 4), 0);
    o.name = "listed";
    weft_thread *t = weft_thread_start(wait_event, &go, &o);
    weft_thread *other = weft_thread_start(wait_event, &go, nullptr);
    await_asleep(weft_thread_id(t));
    assert_int_equal(weft_thread_list(nullptr, 0), 2);
    assert_int_equal(weft_thread_list(row, 4), 2);
    weft_thread_information *i = row[0].thread == t ? &row[0] : &row[1];
    assert_ptr_equal(i->thread, t);
    assert_string_equal(i->name, "listed");
    assert_int_equal(i->id, weft_thread_id(t));
    assert_false(i->detached || i->stopping);
    weft_event_set(&go);
    assert_int_equal(weft_thread_join(t, nullptr, WEFT_FOREVER), 0);
    assert_int_equal(weft_thread_join(other, nullptr, WEFT_FOREVER), 0);
    assert_int_equal(weft_thread_list(row, 4), 0);
}

// ---- Priorities ----

static void has_priority(weft_thread *t, int policy, int priority)
{
    int has_policy = -1, has = -1;
    errno = 77;
    assert_int_equal(weft_thread_priority(t, &has_policy, &has), 0);
    assert_int_equal(errno, 77);
    assert_int_equal(has_policy, policy);
    assert_int_equal(has, priority);
}

// A nice value above our own, which nobody is refused.
static int nicer(int by)
{
    int nice = getpriority(PRIO_PROCESS, 0) + by;
    return nice < 19 ? nice : 19;
}

CASE(test_priority)
{
    weft_event go = WEFT_EVENT_INIT;
    int policy, priority;
    weft_thread *t = weft_thread_start(wait_event, &go, nullptr);
    assert_int_equal(weft_thread_priority(nullptr, &policy, &priority), 0);
    has_priority(t, policy, priority);
    assert_int_equal(weft_thread_set_priority(t, SCHED_OTHER, nicer(5)), 0);
    has_priority(t, SCHED_OTHER, nicer(5));
    assert_int_equal(weft_thread_set_priority(t, SCHED_BATCH, nicer(7)), 0);
    has_priority(t, SCHED_BATCH, nicer(7));
    assert_errno(weft_thread_set_priority(t, SCHED_OTHER, 20), EINVAL);
    assert_errno(weft_thread_set_priority(t, SCHED_OTHER, -21), EINVAL);
    assert_errno(weft_thread_set_priority(t, SCHED_IDLE, 1), EINVAL);
    assert_errno(weft_thread_set_priority(t, SCHED_FIFO, 0), EINVAL);
    assert_errno(weft_thread_set_priority(t, SCHED_RR, 100), EINVAL);
    assert_errno(weft_thread_set_priority(t, 77, 1), EINVAL);
    has_priority(t, SCHED_BATCH, nicer(7));
    if (weft_thread_set_priority(t, SCHED_RR, 3) == 0)
        has_priority(t, SCHED_RR, 3);
    else
        assert_int_equal(errno, EPERM);
    assert_int_equal(weft_thread_set_priority(t, SCHED_IDLE, 0), 0);
    has_priority(t, SCHED_IDLE, 0);
    has_priority(nullptr, policy, priority); // not ours
    weft_event_set(&go);
    await_ended(t);
    assert_errno(weft_thread_set_priority(t, SCHED_OTHER, 5), ESRCH);
    assert_errno(weft_thread_priority(t, &policy, &priority), ESRCH);
    assert_int_equal(joined(t), (intptr_t)&go);
    assert_errno(weft_thread_set_priority(t, SCHED_OTHER, 5), EINVAL);
}

// From idle with a nice value, as nobody in particular; or by parts, as the kernel lacks the call.
static int sets_all_or_nothing(void *by_parts)
{
    int policy, priority, before = nicer(3), after = nicer(5);
    setpriority(PRIO_PROCESS, 0, before);
    if (weft_thread_set_priority(nullptr, SCHED_IDLE, 0) != 0)
        return 1;
    if (by_parts != nullptr ? !refuses(SYS_sched_setattr, ENOSYS)
                            : geteuid() == 0 && setuid(65534) != 0)
        return 0;
    bool set = weft_thread_set_priority(nullptr, SCHED_OTHER, after) == 0;
    if ((!set && errno != EPERM) || weft_thread_priority(nullptr, &policy, &priority) != 0)
        return 2;
    if (policy != (set ? SCHED_OTHER : SCHED_IDLE))
        return 3;
    int nice = getpriority(PRIO_PROCESS, 0);
    return set ? nice != after : nice != before && by_parts == nullptr;
}

CASE(test_a_priority_is_set_whole_or_not_at_all)
{
    static int parts;
    assert_int_equal(end_of(child_of(sets_all_or_nothing, nullptr)), 0);
    if (!RUNNER_EMULATED)
        assert_int_equal(end_of(child_of(sets_all_or_nothing, &parts)), 0);
}

// Nobody joins those that are detached, or were refused.
static void await_no_thread(void)
{
    while (weft_thread_list(nullptr, 0) != 0)
        sched_yield();
}

static void *nice_of_self(void *said)
{
    int policy = -1, priority = -1;
    weft_thread_priority(nullptr, &policy, &priority);
    if (said != nullptr)
        __atomic_store_n((int *)said, priority, __ATOMIC_RELEASE);
    return (void *)(intptr_t)(policy * 100 + priority);
}

CASE(test_start_with_priority)
{
    weft_thread_options o = {};
    o.policy = SCHED_BATCH;
    o.priority = nicer(9);
    for (int i = 0; i < 50; i++)
        assert_int_equal(joined(weft_thread_start(nice_of_self, nullptr, &o)),
                         SCHED_BATCH * 100 + nicer(9));
    o.policy = 0;
    assert_int_equal(joined(weft_thread_start(nice_of_self, nullptr, &o)), nicer(9));
    int said = 0;
    o.detached = true;
    assert_non_null(weft_thread_start(nice_of_self, &said, &o));
    await_word(&said, nicer(9));
    o.priority = 20;
    assert_errno(weft_thread_start(nice_of_self, &said, &o), EINVAL);
    await_no_thread();
}

static void *exit_badly(void *)
{
    _exit(2);
}

// The function isn't called where the priority is refused, and the thread is gone.
static int start_without_leave(void *)
{
    const struct rlimit none = {0, 0};
    setrlimit(RLIMIT_RTPRIO, &none);
    setrlimit(RLIMIT_NICE, &none);
    if (setresuid(65534, 65534, 65534) != 0)
        return 0;
    weft_thread_options o = {};
    for (int i = 0; i < 20; i++) {
        o.policy = i % 2 ? SCHED_FIFO : SCHED_OTHER;
        o.priority = i % 2 ? 1 : -20;
        o.detached = i % 4 < 2;
        if (weft_thread_start(exit_badly, nullptr, &o) != nullptr || errno != EPERM)
            return 1;
    }
    await_no_thread();
    return 0;
}

CASE(test_start_with_a_priority_that_is_refused)
{
    if (RUNNER_TSAN)
        skip(); // it lets a forked child start no threads
    assert_int_equal(end_of(child_of(start_without_leave, nullptr)), 0);
}

// ---- Names, ids, slots ----

static void *name_of_self(void *arg)
{
    weft_thread_name(nullptr, (char *)arg, 16);
    return nullptr;
}

CASE(test_name_is_cut)
{
    char seen[16], name[16];
    weft_thread_options o = {};
    o.name = "0123456789abcdefghij";
    weft_thread *t = weft_thread_start(name_of_self, seen, &o);
    assert_int_equal(weft_thread_name(t, name, sizeof name), 0);
    assert_string_equal(name, "0123456789abcde");
    assert_errno(weft_thread_name(t, name, 15), ERANGE);
    assert_errno(weft_thread_name(t, nullptr, 15), EINVAL);
    assert_int_equal(weft_thread_join(t, nullptr, WEFT_FOREVER), 0);
    assert_string_equal(seen, "0123456789abcde");
}

static void *rename_self(void *arg)
{
    weft_thread_set_name("second");
    pthread_getname_np(pthread_self(), (char *)arg, 16);
    return nullptr;
}

CASE(test_name_of_the_nameless)
{
    char ours[16], name[16];
    weft_event go = WEFT_EVENT_INIT;
    assert_int_equal(weft_thread_name(nullptr, ours, sizeof ours), 0);
    weft_thread *t = weft_thread_start(wait_event, &go, nullptr);
    assert_int_equal(weft_thread_name(t, name, sizeof name), 0);
    assert_string_equal(name, ours); // inherited
    weft_event_set(&go);
    await_ended(t);
    errno = 77;
    assert_int_equal(weft_thread_name(t, name, sizeof name), 0);
    assert_string_equal(name, "");
    assert_int_equal(errno, 77);
    assert_int_equal(weft_thread_join(t, nullptr, WEFT_FOREVER), 0);
}

CASE(test_set_name)
{
    char seen[16], name[16], before[16];
    weft_thread_options o = {};
    o.name = "first";
    weft_thread *t = weft_thread_start(rename_self, seen, &o);
    await_ended(t);
    assert_int_equal(weft_thread_name(t, name, sizeof name), 0);
    assert_string_equal(name, "second");
    assert_int_equal(weft_thread_join(t, nullptr, WEFT_FOREVER), 0);
    assert_string_equal(seen, "second");

    assert_int_equal(weft_thread_name(nullptr, before, sizeof before), 0);
    assert_int_equal(weft_thread_set_name("0123456789abc\xe2\x82\xac"), 0); // would cut the euro
    assert_int_equal(weft_thread_name(nullptr, name, sizeof name), 0);
    assert_string_equal(name, "0123456789abc");
    assert_int_equal(weft_thread_set_name(before), 0);
    assert_errno(weft_thread_set_name(nullptr), EINVAL);
}

static struct {
    pid_t id;
    weft_thread *self;
} seen_inside;

static void *tell_identity(void *go)
{
    seen_inside = {gettid(), weft_thread_self()};
    return wait_event(go);
}

CASE(test_self_and_id)
{
    weft_event go = WEFT_EVENT_INIT;
    weft_thread *t = weft_thread_start(tell_identity, &go, nullptr);
    pid_t id = weft_thread_id(t); // known before the thread has run
    weft_event_set(&go);
    assert_int_equal(joined(t), (intptr_t)&go);
    assert_int_equal(id, seen_inside.id);
    assert_ptr_equal(seen_inside.self, t);
    assert_null(weft_thread_self());
    assert_int_equal(weft_thread_id(nullptr), gettid());
    assert_false(weft_thread_stopping());
}

static int destroyed;

static void destroy_value(void *value)
{
    if (value == &destroyed)
        add_word(&destroyed);
}

static void *use_slot(void *arg)
{
    weft_slot *s = (weft_slot *)arg;
    void *fresh = weft_slot_get(s);
    weft_slot_set(s, &destroyed);
    return fresh == nullptr && weft_slot_get(s) == &destroyed ? s : nullptr;
}

CASE(test_slot)
{
    weft_slot s = {};
    destroyed = 0;
    assert_null(weft_slot_get(&s));
    assert_errno(weft_slot_set(&s, &s), EINVAL);
    assert_errno(weft_slot_destroy(&s), EINVAL);
    assert_int_equal(weft_slot_init(&s, destroy_value), 0);
    assert_int_equal(weft_slot_set(&s, &s), 0);
    for (int i = 0; i < 3; i++) {
        weft_thread *t = weft_thread_start(use_slot, &s, nullptr);
        assert_int_equal(joined(t, weft_in_s(30)), (intptr_t)&s);
        assert_int_equal(destroyed, i + 1); // a joined thread's destructors have run
    }
    assert_ptr_equal(weft_slot_get(&s), &s);
    assert_int_equal(weft_slot_destroy(&s), 0);
}

CASE(test_slot_limit)
{
    static weft_slot slots[PTHREAD_KEYS_MAX + 1];
    int n = 0;
    while (n <= PTHREAD_KEYS_MAX && weft_slot_init(&slots[n], nullptr) == 0)
        n++;
    assert_int_equal(errno, EAGAIN);
    assert_true(n > 0 && n <= PTHREAD_KEYS_MAX);
    while (n > 0)
        assert_int_equal(weft_slot_destroy(&slots[--n]), 0);
}

RUN_CASES()
