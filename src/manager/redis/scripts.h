// scripts.h: what Redis has no command for, as scripts for its EVAL.
//
// Each is a file NAME.lua beside this one, and part of the library.  KEYS[1] is the proxy's name,
// KEYS[2] and so on are made of it; ARGV[1] is the client's id, ARGV[2] the lease in ms, then come
// the operation's words.
#ifndef WEFT_MANAGER_REDIS_SCRIPTS_H
#define WEFT_MANAGER_REDIS_SCRIPTS_H

// A script alone; one behind a beginning that it shares with others; behind two.
#define WEFT_SCRIPTS(ALONE, AFTER, AFTER_TWO)                                                      \
    ALONE(queue_put)                                                                               \
    ALONE(queue_may_put)                                                                           \
    ALONE(queue_get)                                                                               \
    ALONE(queue_done)                                                                              \
    ALONE(queue_join)                                                                              \
    ALONE(queue_close)                                                                             \
    ALONE(lock_lock)                                                                               \
    ALONE(lock_unlock)                                                                             \
    ALONE(lock_renew)                                                                              \
    AFTER_TWO(semaphore_create, semaphore_begin, semaphore_units)                                  \
    AFTER(semaphore_begin, semaphore_units)                                                        \
    AFTER(semaphore_begin, semaphore_acquire)                                                      \
    AFTER(semaphore_begin, semaphore_release)                                                      \
    AFTER(semaphore_begin, semaphore_renew)                                                        \
    ALONE(event_set)                                                                               \
    ALONE(event_clear)                                                                             \
    ALONE(event_is_set)                                                                            \
    ALONE(event_wait)                                                                              \
    AFTER(barrier_begin, barrier_arrive)                                                           \
    AFTER(barrier_begin, barrier_is_over)                                                          \
    AFTER(barrier_begin, barrier_give_up)                                                          \
    AFTER(barrier_begin, barrier_break)                                                            \
    AFTER(barrier_begin, barrier_reset)                                                            \
    AFTER(barrier_begin, barrier_waiting)                                                          \
    ALONE(value_replace)                                                                           \
    AFTER(jobs_begin, jobs_put)                                                                    \
    AFTER(jobs_begin, jobs_take)                                                                   \
    AFTER(jobs_begin, jobs_beat)                                                                   \
    AFTER(jobs_begin, jobs_done)                                                                   \
    AFTER(jobs_begin, jobs_fail)                                                                   \
    AFTER(jobs_begin, jobs_get)                                                                    \
    AFTER(jobs_begin, jobs_wait)                                                                   \
    AFTER(jobs_begin, jobs_list)                                                                   \
    AFTER(jobs_begin, jobs_retry)                                                                  \
    AFTER(jobs_begin, jobs_remove)                                                                 \
    AFTER(jobs_begin, jobs_pause)                                                                  \
    AFTER(jobs_begin, jobs_count)

namespace weft::lua {

// NOLINTNEXTLINE(bugprone-macro-parentheses): a declarator
#define ALONE(name) extern const char name[] __asm__("_ZN4weft3lua_" #name);
#define AFTER(begin, name) ALONE(name)
#define AFTER_TWO(name, begin, end) ALONE(name)
WEFT_SCRIPTS(ALONE, AFTER, AFTER_TWO)
#undef ALONE
#undef AFTER
#undef AFTER_TWO

} // namespace weft::lua

#endif
