// weft_queue and weft_ring beside the queues people use.
//
// Each row moves the same number of 8-byte items from producers to consumers that all
// block when they can't go on; each thread starts at a gate, and the time runs from the
// gate to the last item.  Peers that have no bound keep their own: memory instead of
// waiting, which is to their advantage.  The mutex queue of the last bar is the one people
// write by hand; weft_queue, which watches before it sleeps, is shown beside it.
#include "bench.h"

#include <weft/queue.h>

#include <condition_variable>
#include <mutex>
#include <pthread.h>
#include <queue>
#include <thread>

#if __has_include(<glib.h>)
#include <glib.h>
#define HAVE_GLIB 1
#else
#define HAVE_GLIB 0
#endif
#if __has_include(<concurrentqueue/moodycamel/blockingconcurrentqueue.h>)
#include <concurrentqueue/moodycamel/blockingconcurrentqueue.h>
#define HAVE_MOODYCAMEL 1
#elif __has_include(<concurrentqueue/blockingconcurrentqueue.h>)
#include <concurrentqueue/blockingconcurrentqueue.h>
#define HAVE_MOODYCAMEL 1
#else
#define HAVE_MOODYCAMEL 0
#endif

namespace {

const size_t CAPACITY = 1024;

// Million items a second.  The getters stop at a count of their own: no peer has close.
template <class Put, class Get> double move(int pairs, size_t each, Put put, Get get)
{
    std::vector<std::thread> threads;
    pthread_barrier_t gate;
    std::vector<uint64_t> sums(pairs);
    pthread_barrier_init(&gate, nullptr, unsigned(2 * pairs + 1));
    for (int t = 0; t < pairs; t++) {
        threads.emplace_back([&, t] {
            pthread_barrier_wait(&gate);
            for (size_t i = 1; i <= each; i++)
                put(uint64_t(t) * each + i);
        });
        threads.emplace_back([&, t] {
            uint64_t sum = 0;
            pthread_barrier_wait(&gate);
            for (size_t i = 0; i < each; i++)
                sum += get();
            sums[t] = sum;
        });
    }
    pthread_barrier_wait(&gate);
    double s = bench::seconds([&] {
        for (std::thread &t : threads)
            t.join();
    });
    uint64_t n = uint64_t(pairs) * each, sum = 0;
    for (uint64_t x : sums)
        sum += x;
    if (sum != n * (n + 1) / 2)
        std::printf("  WRONG SUM: items were lost or doubled\n");
    pthread_barrier_destroy(&gate);
    return double(n) / s / 1e6;
}

template <class Q, class Put, class Get>
double with(Q *q, int pairs, size_t each, Put put, Get get, int (*destroy)(Q *))
{
    double x = move(
        pairs, each, [=](uint64_t v) { put(q, &v, WEFT_FOREVER); },
        [=] {
            uint64_t v;
            get(q, &v, WEFT_FOREVER);
            return v;
        });
    destroy(q);
    return x;
}

double with_queue(int pairs, size_t each, size_t capacity)
{
    return with(weft_queue_create(sizeof(uint64_t), capacity, nullptr), pairs, each, weft_queue_put,
                weft_queue_get, weft_queue_destroy);
}

double with_ring(int pairs, size_t each)
{
    return with(weft_ring_create(sizeof(uint64_t), CAPACITY), pairs, each, weft_ring_put,
                weft_ring_get, weft_ring_destroy);
}

// What people write by hand: std::queue, a mutex, two conditions, bounded.
double with_std(int pairs, size_t each)
{
    std::mutex m;
    std::condition_variable room, item;
    std::queue<uint64_t> q;
    return move(
        pairs, each,
        [&](uint64_t v) {
            std::unique_lock<std::mutex> l(m);
            room.wait(l, [&] { return q.size() < CAPACITY; });
            q.push(v);
            item.notify_one();
        },
        [&] {
            std::unique_lock<std::mutex> l(m);
            item.wait(l, [&] { return !q.empty(); });
            uint64_t v = q.front();
            q.pop();
            room.notify_one();
            return v;
        });
}

#if HAVE_GLIB
double with_glib(int pairs, size_t each)
{
    GAsyncQueue *q = g_async_queue_new();
    double x = move(
        pairs, each, [q](uint64_t v) { g_async_queue_push(q, reinterpret_cast<gpointer>(v)); },
        [q] { return reinterpret_cast<uint64_t>(g_async_queue_pop(q)); });
    g_async_queue_unref(q);
    return x;
}
#endif

#if HAVE_MOODYCAMEL
double with_moodycamel(int pairs, size_t each)
{
    moodycamel::BlockingConcurrentQueue<uint64_t> q;
    return move(
        pairs, each, [&](uint64_t v) { q.enqueue(v); },
        [&] {
            uint64_t v;
            q.wait_dequeue(v);
            return v;
        });
}
#endif

double with_python(int pairs)
{
    const char *program = "import queue,threading,time\n"
                          "P=%d;N=%d\n"
                          "q=queue.Queue(1024)\n"
                          "def put():\n"
                          "    for i in range(N): q.put(i)\n"
                          "def get():\n"
                          "    for i in range(N): q.get()\n"
                          "T=[threading.Thread(target=f) for f in (put,get) for i in range(P)]\n"
                          "s=time.perf_counter()\n"
                          "for t in T: t.start()\n"
                          "for t in T: t.join()\n"
                          "print(P*N/(time.perf_counter()-s)/1e6)\n";
    char text[1024];
    std::snprintf(text, sizeof text, program, pairs, 60000 / pairs);
    return bench::command("python3 -c '" + std::string(text) + "'");
}

void measure(int pairs)
{
    char title[64];
    std::snprintf(title, sizeof title, "%d producers, %d consumers, 8 bytes", pairs, pairs);
    bench::Table t(title, "M items/s");
    const size_t slow = 1000000 / pairs, fast = 4000000 / pairs;
    t.add("weft_queue", [=] { return with_queue(pairs, slow, CAPACITY); });
    t.add("weft_queue, unbounded", [=] { return with_queue(pairs, slow, 0); });
    t.add("weft_ring", [=] { return with_ring(pairs, fast); });
    t.add("std::queue, mutex, 2 conditions", [=] { return with_std(pairs, slow / 2); });
    PEER(HAVE_GLIB, t, "GAsyncQueue", "libglib2.0-dev", [=] { return with_glib(pairs, slow); });
    PEER(HAVE_MOODYCAMEL, t, "moodycamel blocking", "libconcurrentqueue-dev",
         [=] { return with_moodycamel(pairs, fast / 2); });
    t.add_python("Python queue.Queue", [=] { return with_python(pairs); });
    t.run(7);
    t.at_least("weft_queue", "GAsyncQueue", 2.5);
    t.at_least("weft_queue, unbounded", "GAsyncQueue", 2);
    t.at_least("weft_queue", "Python queue.Queue", 15);
    t.at_least(
        "weft_ring",
        {{"moodycamel blocking", 4}, {"weft_queue", 5}, {"std::queue, mutex, 2 conditions", 5}});
}

} // namespace

int main()
{
    measure(1);
    measure(4);
}
