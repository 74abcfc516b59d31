// The pool beside multiprocessing.Pool and ProcessPoolExecutor: single tasks, round trips, maps.
//
// Both sides do the same: two workers, a function that squares an int, results collected
// and checked.  Python's figures include its interpreter, as its users' do.
#include "bench.h"

#include <weft/pool.h>

#include <unistd.h>

static const int WORKERS = 2, TASKS = 200000, WINDOW = 10000, TRIPS = 20000, ITEMS = 2000000;

static int square(const void *arg, size_t, void *result, size_t)
{
    unsigned x = *(const unsigned *)arg;
    *(unsigned *)result = x * x;
    return 0;
}

static weft_pool *pool;

static void check(bool right)
{
    if (!right) {
        std::fprintf(stderr, "shm_pool: a wrong result\n");
        std::exit(1);
    }
}

// Millions of tasks a second: WINDOW are given, then got.
static double apply_async()
{
    static weft_result *r[WINDOW];
    return TASKS / 1e6 / bench::seconds([] {
               for (int base = 0; base < TASKS; base += WINDOW) {
                   for (unsigned i = 0; i < WINDOW; i++)
                       r[i] = weft_pool_apply_async(pool, square, &i, sizeof i, sizeof i, WEFT_NOW);
                   for (unsigned i = 0, y; i < WINDOW; i++)
                       check(weft_result_get(r[i], &y, WEFT_FOREVER) == 0 && y == i * i);
               }
           });
}

// Microseconds from giving a task to having its result.
static double round_trip()
{
    return 1e6 / TRIPS * bench::seconds([] {
               for (unsigned i = 0, y; i < TRIPS; i++)
                   check(weft_pool_apply(pool, square, &i, sizeof i, &y, sizeof y, WEFT_FOREVER) ==
                             0 &&
                         y == i * i);
           });
}

// The same, when all have gone to sleep meanwhile.
static double round_trip_asleep()
{
    double sum = 0;
    for (unsigned i = 0, y; i < 300; i++) {
        usleep(500);
        sum += bench::seconds([&] {
            check(weft_pool_apply(pool, square, &i, sizeof i, &y, sizeof y, WEFT_FOREVER) == 0);
        });
    }
    return sum / 300 * 1e6;
}

static double map_chunk(size_t chunk, size_t n)
{
    static unsigned in[ITEMS], out[ITEMS];
    weft_pool_map_options o = {};
    o.chunk = chunk;
    for (unsigned i = 0; i < n; i++)
        in[i] = i;
    double figure = double(n) / 1e6 / bench::seconds([&] {
                        check(weft_pool_map(pool, square, in, sizeof *in, n, out, sizeof *out, &o,
                                            WEFT_FOREVER) == 0);
                    });
    for (unsigned i = 0; i < n; i++)
        check(out[i] == i * i);
    return figure;
}

static double create_and_end()
{
    return 1e3 / 20 * bench::seconds([] {
               for (unsigned i = 0, y; i < 20; i++) {
                   weft_pool *p = weft_pool_create(WORKERS, nullptr);
                   check(weft_pool_apply(p, square, &i, sizeof i, &y, sizeof y, WEFT_FOREVER) == 0);
                   weft_pool_close(p);
                   weft_pool_join(p, WEFT_FOREVER);
                   weft_pool_destroy(p);
               }
           });
}

// Runs Python that leaves its figure in `figure`, with a Pool p of fork'ed workers.
static double python(const char *body)
{
    std::string program = "import multiprocessing as m, time, os\n"
                          "from concurrent.futures import ProcessPoolExecutor\n"
                          "def square(x): return x * x & 0xffffffff\n"
                          "now = time.perf_counter\n"
                          "c = m.get_context('fork')\n" +
                          std::string(body) + "print(figure)\n";
    return bench::command("python3 - <<'END'\n" + program + "END");
}

static double python_apply_async()
{
    return python("with c.Pool(2) as p:\n"
                  "    p.apply(square, (1,)); t = now()\n"
                  "    r = [p.apply_async(square, (i,)) for i in range(10000)]\n"
                  "    assert all(r[i].get() == square(i) for i in range(10000))\n"
                  "    figure = 10000 / 1e6 / (now() - t)\n");
}

static double python_executor()
{
    return python("with ProcessPoolExecutor(2, c) as p:\n"
                  "    p.submit(square, 1).result(); t = now()\n"
                  "    r = [p.submit(square, i) for i in range(3000)]\n"
                  "    assert all(r[i].result() == square(i) for i in range(3000))\n"
                  "    figure = 3000 / 1e6 / (now() - t)\n");
}

static double python_round_trip()
{
    return python("with c.Pool(2) as p:\n"
                  "    p.apply(square, (1,)); t = now()\n"
                  "    for i in range(1000): assert p.apply(square, (i,)) == square(i)\n"
                  "    figure = (now() - t) / 1000 * 1e6\n");
}

static double python_map()
{
    return python("with c.Pool(2) as p:\n"
                  "    p.apply(square, (1,)); items = list(range(500000)); t = now()\n"
                  "    out = p.map(square, items)\n"
                  "    figure = len(out) / 1e6 / (now() - t)\n");
}

static double python_map_1()
{
    return python("with c.Pool(2) as p:\n"
                  "    p.apply(square, (1,)); items = list(range(10000)); t = now()\n"
                  "    out = p.map(square, items, 1)\n"
                  "    figure = len(out) / 1e6 / (now() - t)\n");
}

static double python_create()
{
    return python("t = now()\n"
                  "for i in range(5):\n"
                  "    with c.Pool(2) as p:\n"
                  "        p.apply(square, (1,)); p.close(); p.join()\n"
                  "figure = (now() - t) / 5 * 1e3\n");
}

int main()
{
    pool = weft_pool_create(WORKERS, nullptr);
    check(pool != nullptr);
    bool peer = std::system("python3 -c 'import multiprocessing' 2>/dev/null") == 0;

    bench::Table single("single tasks, 2 workers", "M tasks/s");
    single.add("weft_pool_apply_async", apply_async);
    bench::Table trip("round trip of one task", "us");
    trip.add("weft_pool_apply", round_trip);
    trip.add("weft_pool_apply, all asleep before", round_trip_asleep);
    bench::Table map("map over ints", "M items/s");
    map.add("weft_pool_map", [] { return map_chunk(0, ITEMS); });
    map.add("weft_pool_map, chunk 1", [] { return map_chunk(1, 100000); });
    bench::Table life("create, one task, close, join", "ms");
    life.add("weft_pool", create_and_end);
    if (peer) {
        single.add("multiprocessing.Pool.apply_async", python_apply_async);
        single.add("ProcessPoolExecutor.submit", python_executor);
        trip.add("multiprocessing.Pool.apply", python_round_trip);
        map.add("multiprocessing.Pool.map", python_map);
        map.add("multiprocessing.Pool.map, chunksize 1", python_map_1);
        life.add("multiprocessing.Pool", python_create);
    } else
        single.missing("multiprocessing", "python3");

    single.run(5);
    single.at_least("weft_pool_apply_async", "multiprocessing.Pool.apply_async", 100);
    trip.run(5);
    trip.at_most("weft_pool_apply", "multiprocessing.Pool.apply", 1 / 20.0);
    trip.at_most("weft_pool_apply, all asleep before", "multiprocessing.Pool.apply", 1);
    map.run(5);
    map.at_least("weft_pool_map", "multiprocessing.Pool.map", 3);
    map.at_least("weft_pool_map, chunk 1", "multiprocessing.Pool.map, chunksize 1", 3);
    life.run(3);
    life.at_most("weft_pool", "multiprocessing.Pool", 1);

    weft_pool_close(pool);
    weft_pool_join(pool, WEFT_FOREVER);
    return weft_pool_destroy(pool);
}
