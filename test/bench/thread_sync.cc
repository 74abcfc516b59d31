// Mutexes and threads beside raw pthreads; the ticket booths beside Python's.
#include "bench.h"

#include <weft/sync.h>
#include <weft/thread.h>

#include <pthread.h>

static const int LOCKS = 2000000, THREADS = 300, TICKETS = 2000000, BOOTHS = 10;

static weft_mutex wrapped = WEFT_MUTEX_INIT;
static pthread_mutex_t raw = PTHREAD_MUTEX_INITIALIZER;
static volatile long guarded;

static double lock_wrapped()
{
    return LOCKS / 1e6 / bench::seconds([] {
               for (int i = 0; i < LOCKS; i++) {
                   weft_mutex_lock(&wrapped, WEFT_FOREVER);
                   guarded = guarded + 1;
                   weft_mutex_unlock(&wrapped);
               }
           });
}

static double lock_raw()
{
    return LOCKS / 1e6 / bench::seconds([] {
               for (int i = 0; i < LOCKS; i++) {
                   pthread_mutex_lock(&raw);
                   guarded = guarded + 1;
                   pthread_mutex_unlock(&raw);
               }
           });
}

static void *do_nothing(void *arg)
{
    return arg;
}

static double create_weft()
{
    return 1e6 / THREADS * bench::seconds([] {
               for (int i = 0; i < THREADS; i++)
                   weft_thread_join(weft_thread_start(do_nothing, nullptr, nullptr), nullptr,
                                    WEFT_FOREVER);
           });
}

static double create_raw()
{
    return 1e6 / THREADS * bench::seconds([] {
               for (int i = 0; i < THREADS; i++) {
                   pthread_t t;
                   pthread_create(&t, nullptr, do_nothing, nullptr);
                   pthread_join(t, nullptr);
               }
           });
}

static long left;

static void *booth_weft(void *)
{
    for (bool sold = true; sold;) {
        weft_mutex_lock(&wrapped, WEFT_FOREVER);
        sold = left > 0;
        left -= sold;
        weft_mutex_unlock(&wrapped);
    }
    return nullptr;
}

static void *booth_raw(void *)
{
    for (bool sold = true; sold;) {
        pthread_mutex_lock(&raw);
        sold = left > 0;
        left -= sold;
        pthread_mutex_unlock(&raw);
    }
    return nullptr;
}

static double sell(void *(*booth)(void *))
{
    left = TICKETS;
    return TICKETS / 1e6 / bench::seconds([booth] {
               weft_thread *t[BOOTHS];
               for (weft_thread *&each : t)
                   each = weft_thread_start(booth, nullptr, nullptr);
               for (weft_thread *each : t)
                   weft_thread_join(each, nullptr, WEFT_FOREVER);
           });
}

static const char python_booths[] = R"(python3 -c '
import threading, time
lock, left, n = threading.Lock(), 0, 200000
def booth():
    global left
    while True:
        with lock:
            if left <= 0: return
            left -= 1
left = n
start = time.perf_counter()
threads = [threading.Thread(target=booth) for _ in range(10)]
for t in threads: t.start()
for t in threads: t.join()
print(n / 1e6 / (time.perf_counter() - start))')";

int main()
{
    bench::Table locks("lock and unlock, one thread", "M/s");
    locks.add("weft_mutex", lock_wrapped);
    locks.add("pthread_mutex", lock_raw);
    locks.run(15);
    locks.at_least("weft_mutex", "pthread_mutex", 0.97);

    bench::Table threads("create and join a thread", "us");
    threads.add("weft_thread", create_weft);
    threads.add("pthread", create_raw);
    threads.run(15);
    threads.at_most("weft_thread", "pthread", 1.05);

    bench::Table booths("10 booths, one lock", "M sold/s");
    booths.add("weft_mutex", [] { return sell(booth_weft); });
    booths.add("pthread_mutex", [] { return sell(booth_raw); });
    booths.add("Python threading.Lock", [] { return bench::command(python_booths); });
    booths.run(5);
    booths.at_least("weft_mutex", "Python threading.Lock", 9);
}
