// priority.cc: how the kernel schedules a thread.
#include "record.h"

#include <base/errno.h>

#include <sched.h>
#include <sys/resource.h>

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

int weft_thread_set_priority(weft_thread *t, int policy, int priority)
{
    pid_t id = weft_thread_id(t);
    if (id < 0)
        return -1;
    if (!is_valid(policy, priority))
        return fail_with(EINVAL);
    // First what may be refused.
    if (has_nice_value(policy) && setpriority(PRIO_PROCESS, (id_t)id, priority) != 0)
        return fail_with(errno == EACCES ? EPERM : errno);
    struct sched_param p = {has_nice_value(policy) ? 0 : priority};
    return from_pthread(
        pthread_setschedparam(t != nullptr ? t->pthread : pthread_self(), policy, &p));
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
