// weft_executor beside the pools people use: empty tasks submitted from one thread and
// completed.  Each row submits a batch and waits until all of it has run, with the same
// number of workers; what the API returns per task (a future or nothing) is each
// library's own, and is said in its name.  Then trees of tasks that wait for their parts, as
// programs that divide and conquer make them.
#include "bench.h"

#include <weft/executor.h>

#include <thread>

#if __has_include(<tbb/task_group.h>)
#include <tbb/global_control.h>
#include <tbb/task_arena.h>
#include <tbb/task_group.h>
#define HAVE_TBB 1
#else
#define HAVE_TBB 0
#endif
#if __has_include(<boost/asio/thread_pool.hpp>)
#include <boost/asio/post.hpp>
#include <boost/asio/thread_pool.hpp>
#define HAVE_ASIO 1
#else
#define HAVE_ASIO 0
#endif
#if __has_include(<glib.h>)
#include <glib.h>
#define HAVE_GLIB 1
#else
#define HAVE_GLIB 0
#endif

namespace {

const size_t BATCH = 20000, BATCHES = 10;

double rate(double seconds)
{
    return double(BATCH * BATCHES) / seconds / 1e6;
}

thread_local size_t ran; // what tasks share would be measured, too

void *count(void *)
{
    ran++;
    return nullptr;
}

// BATCHES times fn(ex) on a pool of its own.
template <class F> double with_weft(int threads, F fn)
{
    weft_executor *ex = weft_executor_create(threads, nullptr);
    double s = bench::seconds([&] {
        for (size_t i = 0; i < BATCHES; i++)
            fn(ex);
    });
    weft_executor_destroy(ex);
    return rate(s);
}

// A future each, and each got.
void submit_get(weft_executor *ex)
{
    static std::vector<weft_future *> f(BATCH);
    for (size_t i = 0; i < BATCH; i++)
        f[i] = weft_executor_submit(ex, count, nullptr, WEFT_NOW);
    for (size_t i = 0; i < BATCH; i++)
        weft_future_get(f[i], nullptr, WEFT_FOREVER);
}

// Futures given up at once, and a wait for the pool.
void release_wait(weft_executor *ex)
{
    for (size_t i = 0; i < BATCH; i++)
        weft_future_release(weft_executor_submit(ex, count, nullptr, WEFT_NOW));
    weft_executor_wait(ex, WEFT_FOREVER);
}

// No allocation: the futures are the caller's.
void submit_at_get(weft_executor *ex)
{
    static std::vector<weft_future> f(BATCH);
    for (size_t i = 0; i < BATCH; i++)
        weft_executor_submit_at(ex, &f[i], count, nullptr, WEFT_NOW);
    for (size_t i = 0; i < BATCH; i++)
        weft_future_get(&f[i], nullptr, WEFT_FOREVER);
}

void count_range(size_t begin, size_t end, void *)
{
    for (size_t i = begin; i < end; i++)
        count(nullptr);
}

// Not a peer's match: the range is known beforehand.
void map_each(weft_executor *ex)
{
    weft_executor_map_ranges(ex, count_range, nullptr, BATCH, 1, WEFT_FOREVER);
}

#if HAVE_TBB
double with_tbb(int threads)
{
    // The caller works too while it waits: it is one of the arena's threads.
    tbb::global_control limit(tbb::global_control::max_allowed_parallelism, size_t(threads + 1));
    tbb::task_arena arena(threads + 1, 1);
    double s = 0;
    arena.execute([&] {
        tbb::task_group g;
        s = bench::seconds([&] {
            for (size_t k = 0; k < BATCHES; k++) {
                for (size_t i = 0; i < BATCH; i++)
                    g.run([] { count(nullptr); });
                g.wait();
            }
        });
    });
    return rate(s);
}
#endif

#if HAVE_ASIO
double with_asio(int threads)
{
    boost::asio::thread_pool pool(static_cast<size_t>(threads));
    double s = bench::seconds([&] {
        for (size_t i = 0; i < BATCH * BATCHES; i++) // it can be joined once
            boost::asio::post(pool, [] { count(nullptr); });
        pool.join();
    });
    return rate(s);
}
#endif

#if HAVE_GLIB
double with_glib(int threads)
{
    GThreadPool *pool = g_thread_pool_new([](gpointer, gpointer) { count(nullptr); }, nullptr,
                                          threads, TRUE, nullptr);
    double s = bench::seconds([&] {
        for (size_t i = 0; i < BATCH * BATCHES; i++) // it can be joined once
            g_thread_pool_push(pool, &ran, nullptr);
        g_thread_pool_free(pool, FALSE, TRUE); // waits for all of it
    });
    return rate(s);
}
#endif

double with_python(int threads)
{
    const char *program = "import time\n"
                          "from concurrent.futures import ThreadPoolExecutor\n"
                          "N=10000\n"
                          "def f(): pass\n"
                          "with ThreadPoolExecutor(%d) as e:\n"
                          "    s=time.perf_counter()\n"
                          "    for x in [e.submit(f) for i in range(N)]: x.result()\n"
                          "    print(N/(time.perf_counter()-s)/1e6)\n";
    char text[512];
    std::snprintf(text, sizeof text, program, threads);
    return bench::command("python3 -c '" + std::string(text) + "'");
}

// ---- fib(n) by tasks: each gives one part away, does the other and waits ----

double tasks_of(long n)
{
    double now = 0, before = 0; // each has its parts' and itself
    for (long i = 2; i <= n; i++) {
        double next = 1 + now + before;
        before = now;
        now = next;
    }
    return now;
}

struct part {
    weft_executor *ex;
    long n, result;
};

void *fib(void *arg)
{
    part *p = static_cast<part *>(arg);
    if (p->n < 2) {
        p->result = p->n;
        return nullptr;
    }
    part a = {p->ex, p->n - 1, 0}, b = {p->ex, p->n - 2, 0};
    weft_future *f = weft_executor_submit(p->ex, fib, &a, WEFT_NOW);
    fib(&b);
    weft_future_get(f, nullptr, WEFT_FOREVER);
    p->result = a.result + b.result;
    return nullptr;
}

double with_weft_fib(int threads, long n)
{
    weft_executor *ex = weft_executor_create(threads, nullptr);
    part p = {ex, n, 0};
    double s = bench::seconds([&] {
        weft_future_get(weft_executor_submit(ex, fib, &p, WEFT_NOW), nullptr, WEFT_FOREVER);
    });
    weft_executor_destroy(ex);
    return tasks_of(n) / s / 1e6;
}

#if HAVE_TBB
long tbb_fib(long n)
{
    if (n < 2)
        return n;
    long a = 0;
    tbb::task_group g;
    g.run([&a, n] { a = tbb_fib(n - 1); });
    long b = tbb_fib(n - 2);
    g.wait();
    return a + b;
}

double with_tbb_fib(int threads, long n)
{
    tbb::global_control limit(tbb::global_control::max_allowed_parallelism, size_t(threads));
    tbb::task_arena arena(threads, 1);
    double s = 0;
    arena.execute([&] { s = bench::seconds([&] { tbb_fib(n); }); });
    return tasks_of(n) / s / 1e6;
}
#endif

void measure_nested(int threads, long n)
{
    char title[64];
    std::snprintf(title, sizeof title, "fib(%ld) by tasks that wait, %d workers", n, threads);
    bench::Table t(title, "M tasks/s");
    t.add("submit, get", [=] { return with_weft_fib(threads, n); });
    PEER(HAVE_TBB, t, "oneTBB task_group", "libtbb-dev", [=] { return with_tbb_fib(threads, n); });
    t.run(9);
    t.at_least("submit, get", "oneTBB task_group", 1.5);
}

void measure(int threads)
{
    char title[64];
    std::snprintf(title, sizeof title, "empty tasks, %d workers", threads);
    bench::Table t(title, "M tasks/s");
    t.add("submit, get each", [=] { return with_weft(threads, submit_get); });
    t.add("submit, release, wait for all", [=] { return with_weft(threads, release_wait); });
    t.add("submit_at, get each", [=] { return with_weft(threads, submit_at_get); });
    t.add("map_ranges, pieces of 1", [=] { return with_weft(threads, map_each); });
    PEER(HAVE_TBB, t, "oneTBB task_group", "libtbb-dev", [=] { return with_tbb(threads); });
    PEER(HAVE_ASIO, t, "boost::asio::thread_pool", "libboost-dev",
         [=] { return with_asio(threads); });
    PEER(HAVE_GLIB, t, "GThreadPool", "libglib2.0-dev", [=] { return with_glib(threads); });
    t.add_python("Python ThreadPoolExecutor", [=] { return with_python(threads); });
    t.run(7);
    for (const char *ours : {"submit, get each", "submit_at, get each"}) {
        t.at_least(ours, {{"oneTBB task_group", 2},
                          {"boost::asio::thread_pool", 2.5},
                          {"GThreadPool", 2.5},
                          {"Python ThreadPoolExecutor", 250}});
    }
}

} // namespace

int main()
{
    measure(2);
    measure(4);
    for (int threads : {2, 4})
        for (long n : {22, 27})
            measure_nested(threads, n);
}
