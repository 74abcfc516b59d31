// A shared queue beside boost::interprocess::message_queue and Python's
// multiprocessing.Queue.  Producers and consumers are
// processes; all messages are copied in and out, all sleep when there is nothing to do.
#include "bench.h"

#include <weft/shared_queue.h>

#include <cstring>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#if __has_include(<boost/interprocess/ipc/message_queue.hpp>)
#include <boost/interprocess/ipc/message_queue.hpp>
#define HAVE_BOOST 1
#else
#define HAVE_BOOST 0
#endif

static const int MESSAGES = 500000, SIZE = 64, DEPTH = 1024;

// Runs fn(i) in n processes; all must end well.
template <class F> static void in_processes(int n, F fn)
{
    for (int i = 0; i < n; i++)
        if (fork() == 0) {
            fn(i);
            _exit(0);
        }
    for (int i = 0, status; i < n; i++)
        if (wait(&status) < 0 || status != 0) {
            std::fprintf(stderr, "a child failed: %x\n", status);
            std::exit(1);
        }
}

// M messages/s from `pairs` producers to as many consumers.
template <class P, class G> static double flow(int pairs, int messages, P put, G get)
{
    double s = bench::seconds([&] {
        in_processes(2 * pairs, [&](int i) {
            char m[SIZE] = {};
            for (int k = 0; k < messages / pairs; k++)
                i % 2 ? get(m) : put(m);
        });
    });
    return messages / 1e6 / s;
}

static double weft_flow(int pairs)
{
    weft_shared_queue *q =
        weft_shared_queue_create(nullptr, DEPTH * weft_shared_queue_cost(SIZE, false), nullptr);
    double x = flow(
        pairs, MESSAGES, [&](char *m) { weft_shared_queue_put(q, m, SIZE, WEFT_FOREVER); },
        [&](char *m) { weft_shared_queue_get(q, m, SIZE, WEFT_FOREVER); });
    weft_shared_queue_destroy(q);
    return x;
}

static double weft_lease_flow()
{
    weft_shared_queue_options o = {};
    o.leases = true;
    weft_shared_queue *q =
        weft_shared_queue_create(nullptr, DEPTH * weft_shared_queue_cost(SIZE, true), &o);
    double x = flow(
        1, MESSAGES, [&](char *m) { weft_shared_queue_put(q, m, SIZE, WEFT_FOREVER); },
        [&](char *m) {
            weft_shared_lease l;
            weft_shared_queue_lease(q, m, SIZE, &l, WEFT_FOREVER);
            weft_shared_queue_acknowledge(q, &l);
        });
    weft_shared_queue_destroy(q);
    return x;
}

static double weft_batch_flow()
{
    enum { BATCH = 16 };
    weft_shared_queue *q =
        weft_shared_queue_create(nullptr, DEPTH * weft_shared_queue_cost(SIZE, false), nullptr);
    double s = bench::seconds([&] {
        in_processes(2, [&](int i) {
            static char m[BATCH][SIZE];
            for (int k = 0; k < MESSAGES;) {
                struct iovec v[BATCH];
                size_t n = MESSAGES - k < BATCH ? (size_t)(MESSAGES - k) : BATCH;
                for (int j = 0; j < BATCH; j++)
                    v[j] = {m[j], SIZE};
                k += (int)(i ? weft_shared_queue_get_many(q, v, n, WEFT_FOREVER)
                             : weft_shared_queue_put_many(q, v, n, WEFT_FOREVER));
            }
        });
    });
    weft_shared_queue_destroy(q);
    return MESSAGES / 1e6 / s;
}

// us from put to the answer's get, both sides sleeping when they must.
static double weft_round_trip()
{
    const int TRIPS = 5000;
    weft_shared_queue *there = weft_shared_queue_create(nullptr, 4096, nullptr);
    weft_shared_queue *back = weft_shared_queue_create(nullptr, 4096, nullptr);
    double s = bench::seconds([&] {
        in_processes(2, [&](int i) {
            char m[SIZE] = {};
            for (int k = 0; k < TRIPS; k++)
                if (i) {
                    weft_shared_queue_get(there, m, SIZE, WEFT_FOREVER);
                    weft_shared_queue_put(back, m, SIZE, WEFT_FOREVER);
                } else {
                    weft_shared_queue_put(there, m, SIZE, WEFT_FOREVER);
                    weft_shared_queue_get(back, m, SIZE, WEFT_FOREVER);
                }
        });
    });
    weft_shared_queue_destroy(there);
    weft_shared_queue_destroy(back);
    return s * 1e6 / TRIPS;
}

#if HAVE_BOOST
namespace bip = boost::interprocess;

static double boost_flow(int pairs)
{
    bip::message_queue::remove("weft-bench");
    bip::message_queue q(bip::create_only, "weft-bench", DEPTH, SIZE);
    double x = flow(
        pairs, MESSAGES, [&](char *m) { q.send(m, SIZE, 0); },
        [&](char *m) {
            bip::message_queue::size_type n;
            unsigned priority;
            q.receive(m, SIZE, n, priority);
        });
    bip::message_queue::remove("weft-bench");
    return x;
}

static double boost_round_trip()
{
    const int TRIPS = 5000;
    bip::message_queue::remove("weft-bench-1");
    bip::message_queue::remove("weft-bench-2");
    bip::message_queue there(bip::create_only, "weft-bench-1", 16, SIZE);
    bip::message_queue back(bip::create_only, "weft-bench-2", 16, SIZE);
    double s = bench::seconds([&] {
        in_processes(2, [&](int i) {
            char m[SIZE] = {};
            bip::message_queue::size_type n;
            unsigned priority;
            for (int k = 0; k < TRIPS; k++)
                if (i) {
                    there.receive(m, SIZE, n, priority);
                    back.send(m, SIZE, 0);
                } else {
                    there.send(m, SIZE, 0);
                    back.receive(m, SIZE, n, priority);
                }
        });
    });
    bip::message_queue::remove("weft-bench-1");
    bip::message_queue::remove("weft-bench-2");
    return s * 1e6 / TRIPS;
}
#endif

static double python_flow()
{
    return bench::command("python3 -c '\n"
                          "import multiprocessing as m, time\n"
                          "m.set_start_method(\"fork\")\n"
                          "q, n, x = m.Queue(1024), 40000, b\"x\" * 64\n"
                          "def put():\n"
                          "    for _ in range(n): q.put(x)\n"
                          "p = m.Process(target=put)\n"
                          "t = time.monotonic()\n"
                          "p.start()\n"
                          "for _ in range(n): q.get()\n"
                          "print(n / 1e6 / (time.monotonic() - t))\n"
                          "p.join()' 2>/dev/null");
}

int main()
{
    bench::Table one("queue, 64 bytes, 1 producer 1 consumer", "M messages/s");
    one.add("weft_shared_queue", [] { return weft_flow(1); });
    one.add("weft_shared_queue, batches of 16", weft_batch_flow);
    one.add("weft_shared_queue, leases", weft_lease_flow);
    PEER(HAVE_BOOST, one, "boost::interprocess::message_queue", "libboost-dev",
         [] { return boost_flow(1); });
    one.add_if(python_flow() > 0, "multiprocessing.Queue", "python3", python_flow);
    one.run(15);
    one.at_least("weft_shared_queue",
                 {{"boost::interprocess::message_queue", 1.0}, {"multiprocessing.Queue", 40}});

    bench::Table four("queue, 64 bytes, 4 producers 4 consumers", "M messages/s");
    four.add("weft_shared_queue", [] { return weft_flow(4); });
    PEER(HAVE_BOOST, four, "boost::interprocess::message_queue", "libboost-dev",
         [] { return boost_flow(4); });
    four.run(21);
    four.at_least("weft_shared_queue", "boost::interprocess::message_queue", 1.5);

    bench::Table trip("queue, 64 bytes, there and back", "us");
    trip.add("weft_shared_queue", weft_round_trip);
    PEER(HAVE_BOOST, trip, "boost::interprocess::message_queue", "libboost-dev", boost_round_trip);
    trip.run(9);
}
