// Locks, the map and reservations in shared memory beside their peers: many short rounds.
#include "bench.h"

#include <shm/brief_lock.h>
#include <weft/shared_map.h>
#include <weft/shared_queue.h>
#include <weft/shared_sync.h>
#include <weft/shm.h>

#include <cstring>
#include <new>

using namespace weft;

static const int ROUNDS = 101, LOCKS = 20000;
static struct world {
    pthread_mutex_t plain;
    alignas(64) pthread_rwlock_t plain_rw;
    alignas(64) weft_shared_mutex robust;
    alignas(64) weft_shared_rwlock robust_rw;
    alignas(64) uint32_t brief;
    alignas(64) volatile long guarded;
} * w;

template <class Lock, class Unlock> static double locked(Lock lock, Unlock unlock)
{
    return 1e9 / LOCKS * bench::seconds([=] {
               for (int i = 0; i < LOCKS; i++) {
                   lock();
                   w->guarded = w->guarded + 1;
                   unlock();
               }
           });
}

static void mutexes()
{
    bench::Table t("uncontended lock and unlock, shared memory", "ns");
    t.add("weft_shared_mutex (robust)", [] {
        return locked([] { weft_shared_mutex_lock(&w->robust, WEFT_FOREVER); },
                      [] { weft_shared_mutex_unlock(&w->robust); });
    });
    // What queues, semaphores and barriers lock with inside.
    t.add("the queue's own lock (robust)", [] {
        return locked([] { brief_lock(&w->brief, WEFT_FOREVER); }, [] { brief_unlock(&w->brief); });
    });
    t.add("pthread_mutex (plain)", [] {
        return locked([] { pthread_mutex_lock(&w->plain); },
                      [] { pthread_mutex_unlock(&w->plain); });
    });
    t.run(ROUNDS);
    t.at_most("weft_shared_mutex (robust)", "pthread_mutex (plain)", 1.1);
    t.at_most("the queue's own lock (robust)", "pthread_mutex (plain)", 1.3);
}

static void rwlocks()
{
    bench::Table t("uncontended read lock and unlock, shared memory", "ns");
    t.add("weft_shared_rwlock (robust)", [] {
        return locked([] { weft_shared_rwlock_read(&w->robust_rw, WEFT_FOREVER); },
                      [] { weft_shared_rwlock_unlock(&w->robust_rw); });
    });
    t.add("pthread_rwlock (plain)", [] {
        return locked([] { pthread_rwlock_rdlock(&w->plain_rw); },
                      [] { pthread_rwlock_unlock(&w->plain_rw); });
    });
    t.run(ROUNDS);
    t.at_most("weft_shared_rwlock (robust)", "pthread_rwlock (plain)", 1.5);
}

// Of the processor, so that others' work does not count.
template <class F> static double processor_seconds(F fn)
{
    struct timespec from, to;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &from);
    fn();
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &to);
    return double(to.tv_sec - from.tv_sec) + double(to.tv_nsec - from.tv_nsec) / 1e9;
}

// M gets/s of 1000 keys.
static double gets(weft_shared_map *m)
{
    static const int KEYS = 1000, GETS = 100000;
    static char keys[KEYS][16];
    char value[32] = {};
    for (int i = 0; i < KEYS; i++) {
        std::snprintf(keys[i], sizeof keys[i], "the key %d", i);
        weft_shared_map_set(m, keys[i], std::strlen(keys[i]), value, sizeof value, WEFT_FOREVER);
    }
    double s = processor_seconds([&] {
        for (int i = 0; i < GETS; i++) {
            const char *key = keys[i * 7 % KEYS];
            if (weft_shared_map_get(m, key, std::strlen(key), value, sizeof value) < 0)
                std::abort();
        }
    });
    return GETS / 1e6 / s;
}

static void maps(weft_shm *s)
{
    weft_shared_map *m =
        (weft_shared_map *)weft_shm_allocate(s, weft_shared_map_bytes(1000, 16, 32));
    weft_shared_map_init(m, 1000, 16, 32);
    bench::Table t("map, get of 32 bytes by 12", "M/s");
    t.add("weft_shared_map", [m] { return gets(m); });
    t.run(ROUNDS);
    t.figure_at_least("weft_shared_map", 10);
}

// us to have a message of 64 KiB in the queue; it is got meanwhile, which is not counted.
template <class Put> static double message(weft_shared_queue *q, Put put)
{
    static const int SIZE = 64 << 10, MESSAGES = 50;
    static char bytes[SIZE];
    double s = 0;
    for (int i = 0; i < MESSAGES; i++) {
        s += bench::seconds([&] { put(q, bytes, (size_t)SIZE); });
        weft_shared_queue_get(q, bytes, SIZE, WEFT_FOREVER);
    }
    return s * 1e6 / MESSAGES;
}

static void reservations()
{
    weft_shared_queue *q = weft_shared_queue_create(nullptr, 1 << 20, nullptr);
    bench::Table t("queue, a message of 64 KiB", "us");
    t.add("reserve, commit", [q] {
        return message(q, [](weft_shared_queue *to, const char *, size_t n) {
            weft_shared_queue_commit(to, weft_shared_queue_reserve(to, n, WEFT_FOREVER), n);
        });
    });
    t.add("put", [q] {
        return message(q, [](weft_shared_queue *to, const char *bytes, size_t n) {
            weft_shared_queue_put(to, bytes, n, WEFT_FOREVER);
        });
    });
    t.run(ROUNDS);
    t.at_most("reserve, commit", "put", 0.33);
    weft_shared_queue_destroy(q);
}

int main()
{
    weft_shm *s = weft_shm_create(nullptr, 1 << 20, nullptr);
    w = new (weft_shm_allocate(s, sizeof *w)) world;
    pthread_mutexattr_t a;
    pthread_mutexattr_init(&a);
    pthread_mutexattr_setpshared(&a, PTHREAD_PROCESS_SHARED);
    pthread_mutex_init(&w->plain, &a);
    pthread_rwlockattr_t ra;
    pthread_rwlockattr_init(&ra);
    pthread_rwlockattr_setpshared(&ra, PTHREAD_PROCESS_SHARED);
    pthread_rwlock_init(&w->plain_rw, &ra);
    weft_shared_mutex_init(&w->robust, 0);
    weft_shared_rwlock_init(&w->robust_rw);
    mutexes();
    rwlocks();
    maps(s);
    reservations();
    weft_shm_detach(s);
}
