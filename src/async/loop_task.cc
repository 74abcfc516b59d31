// loop_task.cc: functions posted by any thread, deferred and idle ones.
//
// Posts are a stack that any thread pushes to with one compare-and-swap and the loop takes whole
// with one exchange, so there is no lock that a signal handler or a fork could find taken.  Only
// whoever pushes onto an empty stack writes to the eventfd: a burst costs one system call.
#include "loop_state.h"

using namespace weft;

enum { POSTED = 1, DEFERRED = 2, IDLE = 4 };

static void ring(const weft_loop *l)
{
    int saved = errno;
    uint64_t one = 1;
    // EAGAIN: the counter is full, so the loop is awake already.
    while (write(l->wake_watch.fd, &one, sizeof one) < 0 && errno == EINTR)
        ;
    errno = saved;
}

int weft_loop_wake(weft_loop *l)
{
    if (l == nullptr)
        return fail_with(EINVAL);
    ring(l);
    return 0;
}

int weft_loop_stop(weft_loop *l)
{
    if (l == nullptr)
        return fail_with(EINVAL);
    // seq_cst with the eventfd's own order: set before the loop is woken to look.
    __atomic_store_n(&l->stopped, 1, __ATOMIC_SEQ_CST);
    ring(l);
    return 0;
}

int weft_loop_post(weft_loop *l, weft_task *t)
{
    if (l == nullptr || t == nullptr || t->fn == nullptr)
        return fail_with(EINVAL);
    // A read-modify-write even when it is posted already: the loop's own one on `state` acquires
    // from the last of them, so that what each poster wrote before is seen by the one call.
    uint32_t before = __atomic_fetch_or(&t->state, POSTED, __ATOMIC_ACQ_REL);
    if (before & POSTED)
        return 0;
    if (before != 0) {
        __atomic_fetch_and(&t->state, ~(uint32_t)POSTED, __ATOMIC_RELAXED);
        return fail_with(EBUSY);
    }
    weft_loop_link *head = __atomic_load_n(&l->posted, __ATOMIC_RELAXED);
    do
        t->link.next = head;
    while (!__atomic_compare_exchange_n(&l->posted, &head, &t->link, true, __ATOMIC_RELEASE,
                                        __ATOMIC_RELAXED));
    if (head == nullptr)
        ring(l);
    return 0;
}

static void call(weft_loop *l, weft_task *t)
{
    l->stats.tasks++;
    loop_call(l, "task", -1, t);
}

size_t weft::loop_run_posted(weft_loop *l)
{
    if (__atomic_load_n(&l->posted, __ATOMIC_RELAXED) == nullptr)
        return 0;
    // acquire: the tasks as their posters left them.
    weft_loop_link *last_first = __atomic_exchange_n(&l->posted, nullptr, __ATOMIC_ACQUIRE);
    weft_loop_link *first = nullptr;
    while (last_first != nullptr) {
        weft_loop_link *next = last_first->next;
        last_first->next = first;
        first = last_first;
        last_first = next;
    }
    size_t called = 0;
    for (; first != nullptr; called++) {
        weft_task *t = (weft_task *)first;
        first = first->next;
        // From here on it may be posted again, or be freed by its function.
        __atomic_fetch_and(&t->state, ~(uint32_t)POSTED, __ATOMIC_ACQ_REL);
        call(l, t);
    }
    return called;
}

static int enlist(weft_loop *l, weft_task *t, weft_loop_link *list, uint32_t state)
{
    if (loop_enter(l) != 0)
        return -1;
    if (t == nullptr || t->fn == nullptr)
        return fail_with(EINVAL);
    uint32_t expected = 0;
    if (!__atomic_compare_exchange_n(&t->state, &expected, state, false, __ATOMIC_ACQ_REL,
                                     __ATOMIC_RELAXED))
        return fail_with(EBUSY);
    t->loop = l;
    l->tasks++;
    list_insert(list, &t->link);
    loop_changed(l);
    return 0;
}

int weft_loop_defer(weft_loop *l, weft_task *t)
{
    return l != nullptr ? enlist(l, t, &l->deferred, DEFERRED) : fail_with(EINVAL);
}

int weft_loop_idle(weft_loop *l, weft_task *t)
{
    return l != nullptr ? enlist(l, t, &l->idle, IDLE) : fail_with(EINVAL);
}

static void delist(weft_loop *l, weft_task *t)
{
    list_remove(&t->link);
    t->loop = nullptr;
    l->tasks--;
    __atomic_store_n(&t->state, 0, __ATOMIC_RELEASE);
}

int weft_task_cancel(weft_task *t)
{
    if (t == nullptr)
        return fail_with(EINVAL);
    if ((__atomic_load_n(&t->state, __ATOMIC_ACQUIRE) & (DEFERRED | IDLE)) == 0)
        return fail_with(EALREADY);
    weft_loop *l = t->loop;
    if (loop_enter(l) != 0)
        return -1;
    delist(l, t);
    return 0;
}

size_t weft::loop_run_list(weft_loop *l, weft_loop_link *list)
{
    size_t called = 0;
    weft_loop_link batch;
    list_init(&batch);
    list_splice(&batch, list);
    for (; !list_is_empty(&batch); called++) {
        weft_task *t = (weft_task *)batch.next;
        if (__atomic_load_n(&t->state, __ATOMIC_RELAXED) & IDLE) {
            list_remove(&t->link);
            list_insert(list, &t->link);
        } else {
            delist(l, t);
        }
        call(l, t);
    }
    return called;
}

static void drop(weft_loop *l, weft_loop_link *list)
{
    while (!list_is_empty(list))
        delist(l, (weft_task *)list->next);
}

void weft::loop_drop_tasks(weft_loop *l)
{
    drop(l, &l->deferred);
    drop(l, &l->idle);
    weft_loop_link *next, *i = __atomic_exchange_n(&l->posted, nullptr, __ATOMIC_ACQUIRE);
    for (; i != nullptr; i = next) {
        next = i->next;
        __atomic_store_n(&((weft_task *)i)->state, 0, __ATOMIC_RELEASE);
    }
}
