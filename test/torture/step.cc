// step.cc: kills a participant after every instruction of each operation.
//
// Each operation is stepped through in five situations: the thing is empty; it is full; a peer
// is blocked on it; its counters are about to wrap (a queue: two messages, of which one lies
// across the ring's end); and a peer has died at work in it, so that the victim is the
// one to recover.  After each kill the peer must go on, and a fresh process must make
// progress within 200 ms and find nothing torn, lost or doubled.  A point that
// fails twice is fatal.  A victim that sleeps in the operation is also killed asleep.
//
// The two rings of broken_rings.h go through the same and must fail.
#include "step_map.h"
#include "step_object.h"
#include "step_queue.h"
#include "step_rwlock.h"
#include "step_sync.h"

// ---- the table ----

struct operation {
    const char *name;
    void (*begin)(void); // makes the thing
    void (*end)(void);
    int (*prepare)(void *); // in the victim, before the first step
    int (*act)(void *);     // what is stepped through
    int (*peer)(void *);    // in BLOCKED: it has to go on too
    int (*dies)(void *);    // in RECOVERY: the one that died before
    int (*holds)(void *);   // in FULL: lives on and keeps something from the victim
    int (*check)(void *);   // the fresh process
    bool broken;            // must fail
};

static int warm(void *)
{
    warm_up();
    return 0;
}

static int hold_mutex(void *)
{
    lock_mutex(WEFT_FOREVER);
    __atomic_store_n(&w->peer_ready, 1, __ATOMIC_SEQ_CST);
    return pause();
}

static int hold_all_units(void *)
{
    return hold_units((void *)2);
}

// clang-format off
static const struct operation OPERATIONS[] = {
    {"queue put",          begin_put,  queue_end, warm, act_put,       peer_gets, die_in_put, nullptr, check_put, false},
    {"queue put_batch",    begin_put,  queue_end, warm, act_put_batch, peer_gets, die_in_put, nullptr, check_put, false},
    {"queue put, moving",  begin_moving, queue_end, warm, act_put,     nullptr,   die_in_put, nullptr, check_moving, false},
    {"queue reserve, commit", begin_reserve, queue_end, warm, act_reserve, peer_gets, die_reserving, nullptr, check_put, false},
    {"queue reserve, cancel", begin_reserve, queue_end, warm, act_cancel, peer_gets, die_in_put, nullptr, check_put, false},
    {"queue get",          begin_get,  queue_end, warm, act_get,       peer_puts, die_in_get, nullptr, check_get, false},
    {"queue lease",        begin_lease, queue_end, warm, act_lease,    nullptr,   die_in_get, nullptr, check_lease, false},
    {"queue acknowledge",  begin_acknowledge, queue_end, prepare_lease, act_acknowledge, nullptr, die_in_get, nullptr, check_acknowledge, false},
    {"queue give_back",    begin_acknowledge, queue_end, prepare_lease, act_give_back, nullptr, die_in_get, nullptr, check_lease, false},
    {"queue close",        begin_put,  queue_end, warm, act_close, peer_sees_the_end, die_in_put, nullptr, check_close, false},
    {"map set, new",       map_begin, map_end, warm, act_map_set, nullptr, die_in_map, nullptr, check_map, false},
    {"map set, again",     map_begin, map_end, warm, act_map_set_again, nullptr, die_in_map, nullptr, check_map, false},
    {"map remove",         map_begin, map_end, warm, act_map_remove, nullptr, die_in_map, nullptr, check_map, false},
    {"mutex lock, unlock", mutex_begin, nullptr, warm, act_mutex, peer_locks, die_in_mutex, hold_mutex, check_mutex, false},
    {"mutex unlock",       mutex_begin, nullptr, take_mutex, act_unlock, peer_locks, die_in_mutex, nullptr, check_mutex, false},
    {"rwlock read, unlock", rwlock_begin, nullptr, warm, act_read, nullptr, die_writing, hold_write, check_rwlock, false},
    {"rwlock write, unlock", rwlock_begin, nullptr, warm, act_write, nullptr, die_in_place, hold_read, check_rwlock, false},
    {"rwlock unlock read", rwlock_begin, nullptr, take_read, act_unlock_rwlock, peer_writes, die_writing, nullptr, check_rwlock, false},
    {"rwlock unlock write", rwlock_begin, nullptr, take_write, act_unlock_rwlock, peer_reads, die_writing, nullptr, check_rwlock, false},
    {"rwlock downgrade",   rwlock_begin, nullptr, take_write, act_downgrade, peer_reads, die_writing, nullptr, check_rwlock, false},
    {"semaphore wait",     semaphore_begin, nullptr, warm, act_semaphore_wait, peer_waits_for_unit, die_in_semaphore, hold_all_units, check_semaphore, false},
    {"semaphore post",     semaphore_begin, nullptr, take_units, act_semaphore_post, peer_waits_for_unit, die_in_semaphore, nullptr, check_semaphore, false},
    {"semaphore post_n",   semaphore_begin, nullptr, take_units, act_semaphore_post_n, peer_waits_for_unit, die_in_semaphore, nullptr, check_semaphore, false},
    {"condition wait",     condition_begin, nullptr, take_mutex, act_condition_wait, peer_waits_for_signal, die_in_mutex, nullptr, check_condition, false},
    {"condition signal",   condition_begin, nullptr, prepare_signal, act_signal, peer_waits_for_signal, die_in_mutex, nullptr, check_condition, false},
    {"condition broadcast", condition_begin, nullptr, prepare_signal, act_broadcast, peer_waits_for_signal, die_in_mutex, nullptr, check_condition, false},
    {"event set",          event_begin, nullptr, warm, act_event_set, peer_waits_for_event, die_in_event, nullptr, check_event, false},
    {"event clear",        event_begin, nullptr, warm, act_event_clear, peer_waits_for_event, die_in_event, nullptr, check_event, false},
    {"event wait",         event_begin, nullptr, warm, act_event_wait, peer_waits_for_event, die_in_event, nullptr, check_event, false},
    {"barrier wait",       barrier_begin, nullptr, warm, act_barrier_wait, peer_meets, die_in_barrier, nullptr, check_barrier, false},
    {"barrier reset",      barrier_begin, nullptr, warm, act_barrier_reset, peer_meets, die_in_barrier, nullptr, check_barrier, false},
    {"array set",          array_begin, nullptr, warm, act_array_set, nullptr, die_in_array, nullptr, check_array, false},
    {"array unlock",       array_begin, nullptr, hold_array, act_array_unlock, peer_sets, die_in_array, nullptr, check_array, false},
    {"allocate",           heap_begin, heap_end, warm, act_allocate, nullptr, die_in_heap, nullptr, check_heap, false},
    {"allocate, release",  heap_begin, heap_end, warm, act_allocate_release, nullptr, die_in_heap, nullptr, check_heap, false},
    {"object, made",       object_begin, heap_end, warm, act_object, nullptr, die_in_object, nullptr, check_object, false},
    {"object, removed",    object_begin, heap_end, warm, act_object_remove, nullptr, die_in_heap, nullptr, check_object, false},
    {"control: sem_t ring", sems_begin, nullptr, nullptr, act_sems, nullptr, nullptr, nullptr, check_sems, true},
    {"control: pthread_cond ring", conds_begin, nullptr, nullptr, act_conds, peer_conds, nullptr, nullptr, check_conds, true},
};
// clang-format on

// ---- one kill ----

// One that is blocked, or keeps something; it has said so and sleeps.
static pid_t start_and_wait(int (*fn)(void *))
{
    __atomic_store_n(&w->peer_ready, 0, __ATOMIC_SEQ_CST);
    pid_t p = start(fn, nullptr);
    while (!__atomic_load_n(&w->peer_ready, __ATOMIC_SEQ_CST) && state_of(p) != 'Z')
        usleep(20);
    wait_asleep(p);
    return p;
}

// Some operations free or lock something that the peer's blocking needs first.
static bool victim_first(const struct operation *o)
{
    return o->prepare != nullptr && o->prepare != warm && o->prepare != prepare_signal &&
           o->act != act_condition_wait;
}

static const struct operation *stepped;
static pid_t peer, holder;

static void set_up(const struct operation *o, enum situation s)
{
    now = s;
    memset((void *)w, 0, sizeof *w);
    o->begin();
    stepped = o;
    peer = holder = 0;
    if (s == RECOVERY && o->dies != nullptr)
        end_by(start(o->dies, nullptr), weft_in_s(10));
    if (s == FULL && o->holds != nullptr)
        holder = start_and_wait(o->holds);
    if (s == BLOCKED && o->peer != nullptr && !victim_first(o))
        peer = start_and_wait(o->peer);
}

// The peer blocks on what the victim has got in its preparation.
static int prepare_victim(void *)
{
    return stepped->prepare != nullptr ? stepped->prepare(nullptr) : 0;
}

static int act_victim(void *)
{
    return stepped->act(nullptr);
}

// Lets all go on: 0, or what was wrong.
static int settle(const struct operation *o)
{
    if (holder != 0)
        finish(holder);
    pid_t fresh = start(o->check, nullptr);
    int found = end_by(fresh, weft_in_ms(o->broken ? 200 : 2000));
    if (found == -2)
        finish(fresh);
    if (peer != 0) {
        int n = end_by(peer, weft_in_ms(200));
        if (n == -2)
            finish(peer);
        if (found == 0)
            found = n;
    }
    if (o->end != nullptr)
        o->end();
    return found;
}

static struct path path;

// 0: all well.  *worked: whether the victim was killed at work; steps < 0: asleep.
static int kill_once(const struct operation *o, enum situation s, long steps, bool *worked)
{
    set_up(o, s);
    *worked = steps < 0 ? kill_asleep_in(prepare_victim, act_victim, nullptr)
                        : kill_after(&path, steps, prepare_victim, act_victim, nullptr);
    return settle(o);
}

// ---- all of them ----

// Fatal points of an operation in one situation; *points counts those tried.
static int step_through(const struct operation *o, enum situation s, long *points)
{
    int fatal = 0;
    set_up(o, s);
    record_path(&path, prepare_victim, act_victim, nullptr);
    settle(o);
    for (long k = 0; k < path.length && fatal < 3; k++) {
        bool worked = false;
        int found = 0;
        for (int i = 0; i < 5 && !worked; i++)
            found = kill_once(o, s, k, &worked);
        if (found != 0 && !o->broken) // once more: this machine is not ours alone
            found = kill_once(o, s, k, &worked);
        if (found != 0) {
            fatal++;
            if (!o->broken)
                fprintf(stderr, "FATAL: %s, %s, after %ld instructions: %d\n", o->name, NAMES[s], k,
                        found);
        }
        ++*points;
    }
    return fatal;
}

static bool sleeps(const struct operation *o, enum situation s)
{
    return (s == EMPTY && (o->act == act_get || o->act == act_lease || o->act == act_event_wait ||
                           o->act == act_barrier_wait)) ||
           (s == FULL && (o->act == act_put || o->act == act_semaphore_wait)) ||
           o->act == act_condition_wait;
}

// Killed asleep, some times.
static int kill_asleep(const struct operation *o, enum situation s, long *points)
{
    int fatal = 0;
    bool worked;
    for (int i = 0; i < 20 && sleeps(o, s); i++, ++*points)
        if (kill_once(o, s, -1, &worked) != 0 && kill_once(o, s, -1, &worked) != 0) {
            if (!o->broken)
                fprintf(stderr, "FATAL: %s, %s, killed asleep\n", o->name, NAMES[s]);
            fatal++;
        }
    return fatal;
}

int main(void)
{
    const char *only = getenv("TORTURE_ONLY");
    int bad = 0, descriptors = open_descriptors();
    brief_spin = 2;
    segment = weft_shm_create(nullptr, 1 << 16, nullptr);
    w = (struct world *)weft_shm_allocate(segment, sizeof *w);
    printf("%-28s", "kill points");
    for (const char *name : NAMES)
        printf(" %13s", name);
    printf("   fatal\n");
    for (const struct operation &o : OPERATIONS) {
        if (only != nullptr && strstr(o.name, only) == nullptr)
            continue;
        int fatal = 0;
        printf("%-28s", o.name);
        for (int s = 0; s < SITUATIONS && !(o.broken && fatal > 0); s++) {
            long points = 0;
            fatal += step_through(&o, (enum situation)s, &points);
            fatal += kill_asleep(&o, (enum situation)s, &points);
            printf(" %13ld", points);
            fflush(stdout);
        }
        bool held = o.broken ? fatal > 0 : fatal == 0;
        printf("   %d%s%s\n", fatal, o.broken ? ", as it must" : "", held ? "" : "  FAILED");
        bad += !held;
    }
    weft_shm_detach(segment);
    if (waitpid(-1, nullptr, WNOHANG) != -1 || open_descriptors() != descriptors) {
        fprintf(stderr, "left behind: a child or a descriptor\n");
        bad++;
    }
    return bad != 0;
}
