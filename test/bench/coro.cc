// Coroutines beside their peers: a switch, a life, a generator.
//
// A switch is counted one way: a resume and the yield that answers it are two.
#include "bench.h"

#include <weft/coro.h>
#include <weft/generator.h>

#include <coroutine>
#include <ucontext.h>

#if __has_include(<boost/context/detail/fcontext.hpp>)
#include <boost/context/detail/fcontext.hpp>
#include <boost/context/pooled_fixedsize_stack.hpp>
#define HAVE_BOOST 1
namespace fc = boost::context::detail;
#endif

namespace
{

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

#ifdef HAVE_BOOST
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

} // namespace

int main()
{
    bench::Table g("a generator's next", "ns");
    g.add("weft_generator_next", [] { return weft_next(switches / 2); });
    g.add("C++20 co_yield", [] { return cxx_next(switches / 2); });
    g.run(9);
    g.at_most("weft_generator_next", "C++20 co_yield", 4.5);

    bench::Table t("one switch", "ns");
    t.add("weft resume/yield", [] { return weft_switch(nullptr, switches); });
    t.add("weft switch", [] { return weft_symmetric(switches); });
#ifdef HAVE_BOOST
    t.add("boost fcontext", [] { return fcontext_switch(switches); });
#endif
    t.add("swapcontext", [] { return bare_swapcontext(switches / 20); });
    t.run(9);
}
