// Tasklets and channels beside their peers: a switch, a message, the hackysack.
//
// A hand-off of State Threads' is half a ping-pong over two conditions; a message over an
// unbuffered channel is compared with our own yields, for no peer here has channels.
// greenlet is timed by its own interpreter, in the same round.
#include "bench.h"

#include <demo/coroutines/hackysack.h>
#include <weft/channel.h>
#include <weft/tasklet.h>

#include <cstdint>
#include <cstring>

#if __has_include(<st.h>)
#include <st.h>
#define HAVE_ST 1
#else
#define HAVE_ST 0
#endif
#if __has_include(<pth.h>)
#include <pth.h>
#define HAVE_PTH 1
#else
#define HAVE_PTH 0
#endif

namespace {

const weft_tasklet_options detached = {nullptr, 0, nullptr, true, false, false};
const long switches = 2000000;
const char python[] = "/usr/bin/python3 -c '";

void go(void *(*fn)(void *), void *arg)
{
    if (weft_tasklet_spawn(fn, arg, &detached) == nullptr)
        abort();
}

// ---- A switch ----

void *yield_often(void *n)
{
    for (long i = (long)(intptr_t)n; i > 0; i--)
        weft_tasklet_yield();
    return nullptr;
}

double weft_yield(int tasklets, long n)
{
    for (int i = 0; i < tasklets; i++)
        go(yield_often, (void *)(n / tasklets));
    return bench::seconds([] { weft_tasklet_run(); }) / (double)n * 1e9;
}

#if HAVE_ST
st_cond_t st_first, st_second;

void *st_other(void *n)
{
    for (long i = (long)(intptr_t)n; i > 0; i--) {
        st_cond_wait(st_first);
        st_cond_signal(st_second);
    }
    return nullptr;
}

double st_condition(long n)
{
    static bool started = st_init() == 0;
    if (!started)
        return 0;
    st_first = st_cond_new();
    st_second = st_cond_new();
    st_thread_t t = st_thread_create(st_other, (void *)(n / 2), 1, 0);
    st_sleep(0);
    double s = bench::seconds([&] {
        for (long i = n / 2; i > 0; i--) {
            st_cond_signal(st_first);
            st_cond_wait(st_second);
        }
    });
    st_thread_join(t, nullptr);
    return s / (double)n * 1e9;
}
#endif

#if HAVE_PTH
void *pth_often(void *n)
{
    for (long i = (long)(intptr_t)n; i > 0; i--)
        pth_yield(nullptr);
    return nullptr;
}

double pth_yields(long n)
{
    static bool started = pth_init() != 0;
    if (!started)
        return 0;
    pth_attr_t a = pth_attr_new();
    pth_attr_set(a, PTH_ATTR_JOINABLE, 1);
    pth_t t[2] = {pth_spawn(a, pth_often, (void *)(n / 2)),
                  pth_spawn(a, pth_often, (void *)(n / 2))};
    double s = bench::seconds([&] {
        pth_join(t[0], nullptr);
        pth_join(t[1], nullptr);
    });
    pth_attr_destroy(a);
    return s / (double)n * 1e9;
}
#endif

// Two greenlets that switch to each other; ns a switch.
double greenlet_switch()
{
    return bench::command(std::string(python) + "import greenlet,time\n"
                                                "n=100000\n"
                                                "m=greenlet.getcurrent()\n"
                                                "def f():\n"
                                                "  s=m.switch\n"
                                                "  while 1: s()\n"
                                                "g=greenlet.greenlet(f).switch\n"
                                                "g()\n"
                                                "def run():\n"
                                                "  for i in range(n): g()\n"
                                                "t=time.perf_counter(); run()\n"
                                                "print((time.perf_counter()-t)/2/n*1e9)'");
}

// ---- A message ----

weft_channel *channel;
volatile int64_t sink;

void *send_often(void *n)
{
    for (int64_t i = (intptr_t)n; i > 0; i--)
        weft_channel_send(channel, &i, WEFT_FOREVER);
    weft_channel_close(channel);
    return nullptr;
}

void *receive_often(void *)
{
    int64_t item, sum = 0;
    while (weft_channel_next(channel, &item, WEFT_FOREVER) == 1)
        sum += item;
    sink = sum;
    return nullptr;
}

double weft_message(size_t capacity, long n)
{
    channel = weft_channel_create(sizeof(int64_t), capacity);
    go(send_often, (void *)n);
    go(receive_often, nullptr);
    double s = bench::seconds([] { weft_tasklet_run(); });
    weft_channel_destroy(channel);
    return s / (double)n * 1e9;
}

// ---- Hackysack: as in weft-coroutines ----

double weft_hackysack(uint64_t players, uint64_t rounds)
{
    uint64_t ball = 0;
    static weft_channel *channels[1000];
    circle = {channels, players, rounds, 0, 1};
    for (uint64_t i = 0; i < players; i++) {
        circle.of[i] = weft_channel_create(sizeof ball, 0);
        go(play, (void *)i);
    }
    weft_tasklet_yield();
    double s = bench::seconds([&] {
        weft_channel_send(circle.of[0], &ball, WEFT_FOREVER);
        weft_tasklet_run();
    });
    for (uint64_t i = 0; i < players; i++)
        weft_channel_destroy(circle.of[i]);
    return s / (double)rounds * 1e9;
}

// A greenlet for each player, who switches to the next one.
double greenlet_hackysack(int players, int rounds)
{
    return bench::command(std::string(python) +
                          "import greenlet,time\n"
                          "P,R=" +
                          std::to_string(players) + "," + std::to_string(rounds) +
                          "\n"
                          "s=[1,0]\n"
                          "ring=[]\n"
                          "main=greenlet.getcurrent()\n"
                          "def play(me):\n"
                          "  while 1:\n"
                          "    s[1]+=1\n"
                          "    if s[1]>R: main.switch()\n"
                          "    s[0]=(s[0]*6364136223846793005+1442695040888963407)&(2**64-1)\n"
                          "    ring[(me+1+(s[0]>>33)%(P-1))%P].switch(me)\n"
                          "def first(i):\n"
                          "  main.switch(); play(i)\n"
                          "ring[:]=[greenlet.greenlet(first) for i in range(P)]\n"
                          "for i in range(P): ring[i].switch(i)\n"
                          "t=time.perf_counter(); ring[0].switch(0)\n"
                          "print((time.perf_counter()-t)/R*1e9)'");
}

// ---- A life ----

void *nothing(void *arg)
{
    return arg;
}

double weft_life(long n)
{
    return bench::seconds([&] {
               for (long i = 0; i < n; i++)
                   weft_tasklet_join(weft_tasklet_spawn(nothing, nullptr, nullptr), nullptr,
                                     WEFT_FOREVER);
           }) /
           (double)n * 1e9;
}

#if HAVE_ST
double st_life(long n)
{
    return bench::seconds([&] {
               for (long i = 0; i < n; i++)
                   st_thread_join(st_thread_create(nothing, nullptr, 1, 65536), nullptr);
           }) /
           (double)n * 1e9;
}
#endif

} // namespace

int main()
{
    bool greenlets = greenlet_switch() > 0;

    bench::Table t("a switch", "ns");
    t.add("weft_tasklet_yield, 2 tasklets", [] { return weft_yield(2, switches); });
    t.add("weft_tasklet_yield, 100 tasklets", [] { return weft_yield(100, switches); });
    t.add("weft_tasklet_yield, 10000 tasklets", [] { return weft_yield(10000, switches); });
    PEER(HAVE_ST, t, "State Threads condition ping-pong", "libst-dev",
         [] { return st_condition(switches / 2); });
    PEER(HAVE_PTH, t, "GNU Pth pth_yield", "libpth-dev", [] { return pth_yields(switches / 100); });
    t.add_if(greenlets, "greenlet switch", "python3-greenlet", greenlet_switch);
    t.add("weft_channel, unbuffered, a message", [] { return weft_message(0, switches / 2); });
    t.add("weft_channel, 64 buffered, a message", [] { return weft_message(64, switches / 2); });
    t.run(9);
    t.figure_at_most("weft_tasklet_yield, 2 tasklets", 4.5);
    t.at_most("weft_tasklet_yield, 2 tasklets", "State Threads condition ping-pong", 1 / 4.0);
    t.at_most("weft_tasklet_yield, 2 tasklets", "GNU Pth pth_yield", 1 / 100.0);
    t.at_most("weft_tasklet_yield, 2 tasklets", "greenlet switch", 1 / 30.0);
    t.at_most("weft_channel, unbuffered, a message", "weft_tasklet_yield, 2 tasklets", 2);

    bench::Table h("hackysack, a pass", "ns");
    h.add("weft, 10 players", [] { return weft_hackysack(10, 500000); });
    h.add("weft, 1000 players", [] { return weft_hackysack(1000, 500000); });
    for (int n : {10, 1000})
        h.add_if(greenlets, n == 10 ? "greenlet, 10 players" : "greenlet, 1000 players",
                 "python3-greenlet", [=] { return greenlet_hackysack(n, 50000); });
    h.run(5);
    h.at_most("weft, 10 players", "greenlet, 10 players", 1);
    h.at_most("weft, 1000 players", "greenlet, 1000 players", 1);

    bench::Table l("a life: spawn, run, join", "ns");
    l.add("weft_tasklet", [] { return weft_life(200000); });
    PEER(HAVE_ST, l, "State Threads", "libst-dev", [] { return st_life(200000); });
    l.run(5);
}
