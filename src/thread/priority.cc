// priority.cc: how the kernel schedules a thread.
#include "record.h"

#include <base/errno.h>

#include <sched.h>
#include <sys/resource.h>
#include <sys/syscall.h>

using namespace weft;

static bool has_nice_value(int policy)
{
    return policy == SCHED_OTHER || policy == SCHED_BATCH;
}

// setpriority(2) takes what is out of range for the nearest value.
static bool is_valid(int policy, int priority)
{
    return has_nice_value(policy) ? priority >= -20 && priority <= 19
           : policy == SCHED_IDLE ? priority == 0
                                  : priority > 0;
}

// One after the other: 0, or the errno.
static int set_by_parts(pid_t id, pthread_t thread, int policy, int priority)
{
    struct sched_param p = {has_nice_value(policy) ? 0 : priority};
    int before = getpriority(PRIO_PROCESS, (id_t)id);
    if (has_nice_value(policy) && setpriority(PRIO_PROCESS, (id_t)id, priority) != 0)
        return errno == EACCES ? EPERM : errno;
    int error = pthread_setschedparam(thread, policy, &p);
    if (error != 0 && has_nice_value(policy))
        setpriority(PRIO_PROCESS, (id_t)id, before);
    return error;
}

// All or nothing, where the kernel has the call (sched_setattr(2)); glibc has no name for it.
static int set_at_once(pid_t id, pthread_t thread, int policy, int priority)
{
    bool nice = has_nice_value(policy);
    struct {
        uint32_t size, policy;
        uint64_t flags;
        int32_t nice;
        uint32_t priority;
        uint64_t times[3];
    } all = {48, (uint32_t)policy, 0, nice ? priority : 0, nice ? 0 : (uint32_t)priority, {}};
    static_assert(sizeof all == 48, "the kernel's first version");
    if (syscall(SYS_sched_setattr, id, &all, 0) != 0)
        return errno == ENOSYS ? set_by_parts(id, thread, policy, priority) : errno;
    struct sched_param p = {nice ? 0 : priority};
    pthread_setschedparam(thread, policy, &p); // the same again, for glibc remembers it
    return 0;
}

int weft_thread_set_priority(weft_thread *t, int policy, int priority)
{
    pid_t id = weft_thread_id(t);
    if (id < 0)
        return -1;
    if (!is_valid(policy, priority))
        return fail_with(EINVAL);
    int saved = errno;
    int error = set_at_once(id, t != nullptr ? t->pthread : pthread_self(), policy, priority);
    errno = saved;
    return from_pthread(error);
}

int weft_thread_priority(weft_thread *t, int *policy, int *priority)
{
    int saved = errno;
    pid_t id = weft_thread_id(t);
    int kind = id < 0 ? -1 : sched_getscheduler(id);
    struct sched_param p;
    if (kind < 0 || sched_getparam(id, &p) != 0)
        return -1;
    kind &= ~SCHED_RESET_ON_FORK;
    errno = 0; // -1 may be a nice value
    int nice = getpriority(PRIO_PROCESS, (id_t)id);
    if (errno != 0)
        return -1;
    errno = saved;
    *policy = kind;
    *priority = has_nice_value(kind) ? nice : p.sched_priority;
    return 0;
}
