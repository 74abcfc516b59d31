// Coroutines beside their peers: a switch, a life, a generator.
//
// A switch is counted one way: a resume and the yield that answers it are two.
#include "bench.h"

#include <weft/coro.h>
#include <weft/generator.h>

#include <coro/coroutine.h>

#include <coroutine>
#include <cstring>
#include <thread>
#include <ucontext.h>

#if defined(HAVE_LIB_boost_context) && __has_include(<boost/context/detail/fcontext.hpp>)
#include <boost/context/detail/fcontext.hpp>
#include <boost/context/pooled_fixedsize_stack.hpp>
#define HAVE_BOOST 1
namespace fc = boost::context::detail;
#else
#define HAVE_BOOST 0
#endif

using namespace weft;

namespace {

const int switches = 2000000;

// ---- One switch ----

void *echo(void *, void *value)
{
    while (value != WEFT_FAILED)
        value = weft_coro_yield(value);
    return nullptr;
}

double weft_switch(const weft_coro_options *opts, int n)
{
    weft_coro *co = weft_coro_create(echo, nullptr, opts);
    double s = bench::seconds([&] {
        for (intptr_t i = 0; i < n; i += 2)
            weft_coro_resume(co, (void *)i);
    });
    weft_coro_destroy(co);
    return s / n * 1e9;
}

weft_coro *ping, *pong;

void *ponger(void *, void *value)
{
    for (;;)
        value = weft_coro_switch(ping, value);
}

double weft_symmetric(int n)
{
    ping = weft_coro_self();
    pong = weft_coro_create(ponger, nullptr, nullptr);
    double s = bench::seconds([&] {
        for (intptr_t i = 0; i < n; i += 2)
            weft_coro_switch(pong, (void *)i);
    });
    weft_coro_destroy(pong);
    return s / n * 1e9;
}

ucontext_t main_context, other_context;

void other()
{
    for (;;)
        swapcontext(&other_context, &main_context);
}

double bare_swapcontext(int n)
{
    static char stack[65536];
    getcontext(&other_context);
    other_context.uc_stack.ss_sp = stack;
    other_context.uc_stack.ss_size = sizeof stack;
    makecontext(&other_context, other, 0);
    return bench::seconds([&] {
               for (int i = 0; i < n; i += 2)
                   swapcontext(&main_context, &other_context);
           }) /
           n * 1e9;
}

#if HAVE_BOOST
void fc_echo(fc::transfer_t t)
{
    for (;;)
        t = fc::jump_fcontext(t.fctx, t.data);
}

double fcontext_switch(int n)
{
    static char stack[65536];
    fc::transfer_t t = {fc::make_fcontext(stack + sizeof stack, sizeof stack, fc_echo), nullptr};
    return bench::seconds([&] {
               for (intptr_t i = 0; i < n; i += 2)
                   t = fc::jump_fcontext(t.fctx, (void *)i);
           }) /
           n * 1e9;
}
#endif

// ---- A generator ----

int count(weft_generator *g, void *)
{
    for (int64_t i = 0; weft_generator_yield(g, &i) == 0; i++)
        ;
    return 0;
}

volatile int64_t sink;

double weft_next(int n)
{
    weft_generator *g = weft_generator_create(count, nullptr, sizeof(int64_t), nullptr);
    double s = bench::seconds([&] {
        int64_t item = 0, sum = 0;
        for (int i = 0; i < n; i++) {
            weft_generator_next(g, &item);
            sum += item;
        }
        sink = sum;
    });
    weft_generator_destroy(g);
    return s / n * 1e9;
}

struct Items {
    struct promise_type {
        int64_t value;
        Items get_return_object()
        {
            return {std::coroutine_handle<promise_type>::from_promise(*this)};
        }
        std::suspend_always initial_suspend()
        {
            return {};
        }
        std::suspend_always final_suspend() noexcept
        {
            return {};
        }
        std::suspend_always yield_value(int64_t v)
        {
            value = v;
            return {};
        }
        void return_void()
        {
        }
        void unhandled_exception()
        {
        }
    };
    std::coroutine_handle<promise_type> handle;
};

// Behind a pointer, as in a program of several files: nothing to inline across.
__attribute__((noinline)) Items cxx_count()
{
    for (int64_t i = 0;; i++)
        co_yield i;
}

double cxx_next(int n)
{
    Items g = cxx_count();
    double s = bench::seconds([&] {
        int64_t sum = 0;
        for (int i = 0; i < n; i++) {
            g.handle.resume();
            sum += g.handle.promise().value;
        }
        sink = sum;
    });
    g.handle.destroy();
    return s / n * 1e9;
}

// ---- A life: create, run to the end, destroy ----

void *nothing(void *, void *first)
{
    return first;
}

double weft_life(int n)
{
    return bench::seconds([&] {
               for (int i = 0; i < n; i++) {
                   weft_coro *co = weft_coro_create(nothing, nullptr, nullptr);
                   weft_coro_resume(co, nullptr);
                   weft_coro_destroy(co);
               }
           }) /
           n * 1e9;
}

#if HAVE_BOOST
void fc_nothing(fc::transfer_t t)
{
    fc::jump_fcontext(t.fctx, t.data);
}

// The pool is boost's own; neither side gives memory back between lives.
double fcontext_life(int n)
{
    static boost::context::pooled_fixedsize_stack pool(65536);
    return bench::seconds([&] {
               for (int i = 0; i < n; i++) {
                   boost::context::stack_context s = pool.allocate();
                   fc::jump_fcontext(fc::make_fcontext(s.sp, s.size, fc_nothing), nullptr);
                   pool.deallocate(s);
               }
           }) /
           n * 1e9;
}
#endif

// ---- The ucontext backend, in a thread that is forced to it, and its peer likewise ----

double weft_ucontext(int n)
{
    double figure = 0;
    coro_force_ucontext(1);
    std::thread([&] { figure = weft_switch(nullptr, n); }).join();
    coro_force_ucontext(0);
    return figure;
}

double bare_in_a_thread(int n)
{
    double figure = 0;
    std::thread([&] { figure = bare_swapcontext(n); }).join();
    return figure;
}

// ---- A million at once ----

long from_file(const char *path, const char *line)
{
    char text[512];
    long n = 0;
    FILE *f = std::fopen(path, "re");
    while (f != nullptr && std::fgets(text, sizeof text, f) != nullptr)
        n += line == nullptr ? 1
             : std::strncmp(text, line, std::strlen(line)) == 0
                 ? std::atol(text + std::strlen(line))
                 : 0;
    if (f != nullptr)
        std::fclose(f);
    return n;
}

void figure(const char *what, double is, double most)
{
    std::printf("  %-44s %12.4g  bar <= %g  %s\n", what, is, most, is <= most ? "ok" : "MISSED");
}

struct Million {
    double create, first, again, destroy, kib;
    long mappings;
};

Million a_million()
{
    const int n = 1000000;
    Million m;
    std::vector<weft_coro *> all(n);
    long before = from_file("/proc/self/status", "VmRSS:");
    m.create = bench::seconds([&] {
        for (weft_coro *&co : all)
            if ((co = weft_coro_create(echo, nullptr, nullptr)) == nullptr)
                std::abort();
    });
    auto run = [&] {
        for (weft_coro *co : all)
            weft_coro_resume(co, nullptr);
    };
    m.first = bench::seconds(run);
    m.again = bench::seconds(run);
    m.kib = double(from_file("/proc/self/status", "VmRSS:") - before) / n;
    m.mappings = from_file("/proc/self/maps", nullptr);
    m.destroy = bench::seconds([&] {
        for (weft_coro *co : all)
            weft_coro_destroy(co);
    });
    return m;
}

// In a thread of its own each time, so that every round starts without stacks.  The first round is
// not counted: in a virtual machine it pays for memory that the host has not given yet.
void print_million()
{
    Million m;
    for (int round = 0; round < 2; round++)
        std::thread([&] { m = a_million(); }).join();
    std::printf("\na million guarded coroutines alive at once\n");
    figure("to create one, us", m.create, 3.5);
    std::printf("  %-44s %12.4g\n", "first resume and yield, ns", m.first * 1e3);
    std::printf("  %-44s %12.4g\n", "later resume and yield, ns", m.again * 1e3);
    std::printf("  %-44s %12.4g\n", "to destroy one, ns", m.destroy * 1e3);
    figure("resident, KiB each", m.kib, 4.3);
    figure("memory mappings of the process", double(m.mappings), 99);
}

// ---- Python ----

// Its quickest way to exhaust one: no loop of the interpreter's around it.
const char *const python_next = "python3 -c 'import time, collections, itertools\n"
                                "def count():\n"
                                "    i = 0\n"
                                "    while True:\n"
                                "        yield i\n"
                                "        i += 1\n"
                                "n = 1000000; g = itertools.islice(count(), n)\n"
                                "t = time.perf_counter()\n"
                                "collections.deque(g, maxlen=0)\n"
                                "print((time.perf_counter() - t) / n * 1e9)' 2>/dev/null";

} // namespace

int main()
{
    bench::Table t("one switch", "ns");
    t.add("weft resume/yield", [] { return weft_switch(nullptr, switches); });
    t.add("weft switch", [] { return weft_symmetric(switches); });
    PEER(HAVE_BOOST, t, "boost fcontext", "libboost-context-dev",
         [] { return fcontext_switch(switches); });
    t.add("swapcontext", [] { return bare_swapcontext(switches / 20); });
    bool python = bench::command(python_next) > 0;
    t.add_if(python, "Python generator's next", "python3",
             [] { return bench::command(python_next); });
    t.run(9);
    t.figure_at_most("weft resume/yield", 4.5);
    t.at_least("boost fcontext", "weft resume/yield", 1.3);
    t.at_least("swapcontext", "weft resume/yield", 50);
    t.at_least("Python generator's next", "weft resume/yield", 8);

    bench::Table u("one switch by libc", "ns");
    u.add("swapcontext", [] { return bare_in_a_thread(switches / 100); });
    u.add("weft, ucontext backend", [] { return weft_ucontext(switches / 100); });
    u.run(31);
    u.at_most("weft, ucontext backend", "swapcontext", 1.05);

    bench::Table g("a generator's next", "ns");
    g.add("weft_generator_next", [] { return weft_next(switches / 2); });
    g.add("C++20 co_yield", [] { return cxx_next(switches / 2); });
    g.run(15);
    g.at_most("weft_generator_next", "C++20 co_yield", 4.5);

    bench::Table l("create, run to the end, destroy", "ns");
    l.add("weft", [] { return weft_life(300000); });
    PEER(HAVE_BOOST, l, "boost fcontext, pooled", "libboost-context-dev",
         [] { return fcontext_life(300000); });
    l.run(9);
    l.at_least("boost fcontext, pooled", "weft", 1.5);

    print_million();
}
