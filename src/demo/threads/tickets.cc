// tickets.cc: `weft-threads tickets` and `race`: what a lock is for.
//
// `tickets` is the classic: booths that sell from one pile.  A sale looks whether a ticket
// is left and then takes it; with --unsafe another booth may come in between.
// Compare weft-coroutines, where nobody comes between.
#include "../verbs.h"

#include <weft/sync.h>
#include <weft/thread.h>

#include <sched.h>
#include <unistd.h>

struct office {
    int booths, tickets, delay_ms;
    bool with_lock, redraw;
    weft_mutex lock;
    weft_barrier opening;
    int left, sold; // guarded by lock, or by nothing with --unsafe
};

struct booth {
    office *of;
    int number, sold;
    weft_thread *thread;
};

// Looks whether a ticket is left, and sells it.  The loads and stores are atomic so that
// what goes wrong without the lock is the sale, not the program.
static bool sell_one(booth *b)
{
    office *o = b->of;
    int left = __atomic_load_n(&o->left, __ATOMIC_RELAXED);
    if (left <= 0)
        return false;
    if (!o->with_lock)
        sched_yield(); // the window: others may look before we have sold
    __atomic_store_n(&o->left, left - 1, __ATOMIC_RELAXED);
    __atomic_fetch_add(&o->sold, 1, __ATOMIC_RELAXED);
    __atomic_fetch_add(&b->sold, 1, __ATOMIC_RELAXED);
    if (!o->redraw)
        printf("booth %2d sold ticket %3d, %3d left\n", b->number, left, left - 1);
    return true;
}

static void *run_booth(void *arg)
{
    booth *b = (booth *)arg;
    office *o = b->of;
    weft_barrier_wait(&o->opening, WEFT_FOREVER);
    for (bool sold = true; sold;) {
        if (o->with_lock)
            weft_mutex_lock(&o->lock, WEFT_FOREVER);
        sold = sell_one(b);
        if (o->with_lock)
            weft_mutex_unlock(&o->lock);
        if (sold)
            weft_thread_sleep(weft_in_ms(o->delay_ms));
    }
    return nullptr;
}

static void draw(const booth *booths, int n)
{
    printf("\033[%dA", n); // back up over the rows
    for (int i = 0; i < n; i++) {
        int sold = __atomic_load_n(&booths[i].sold, __ATOMIC_RELAXED);
        printf("\033[2Kbooth %2d %4d %.*s\n", i + 1, sold, sold < 60 ? sold : 60,
               "############################################################");
    }
    fflush(stdout);
}

static int tickets(office *o)
{
    booth *booths = (booth *)calloc((size_t)o->booths, sizeof *booths);
    if (booths == nullptr || weft_barrier_init(&o->opening, (uint32_t)o->booths) != 0)
        options_fail("weft-threads");
    o->left = o->tickets;
    o->sold = 0;
    for (int i = 0; i < o->booths; i++) {
        booths[i] = {o, i + 1, 0, nullptr};
        booths[i].thread = weft_thread_start(run_booth, &booths[i], nullptr);
        if (booths[i].thread == nullptr)
            options_fail("weft-threads: a booth can't open");
    }
    for (int i = 0; o->redraw && i < o->booths; i++)
        puts("");
    for (int i = 0; i < o->booths; i++)
        while (weft_thread_join(booths[i].thread, nullptr,
                                o->redraw ? weft_in_ms(40) : WEFT_FOREVER) != 0)
            draw(booths, o->booths);
    if (o->redraw)
        draw(booths, o->booths);
    int over = o->sold > o->tickets ? o->sold - o->tickets : 0;
    printf("sold %d of %d tickets by %d booths, oversold %d\n", o->sold, o->tickets, o->booths,
           over);
    weft_barrier_destroy(&o->opening);
    free(booths);
    return o->with_lock && o->sold != o->tickets;
}

// Without the lock, then with it.
static int race(office *o)
{
    o->with_lock = false;
    puts("without a lock:");
    int failed = tickets(o);
    o->with_lock = true;
    puts("with a lock:");
    return tickets(o) | failed;
}

static office read_options(int argc, char **argv)
{
    static const option longs[] = {option_flag("unsafe", 'u'), option_flag("help", 'h'), {}};
    office o = {10, 100, 10, true, isatty(STDOUT_FILENO) != 0, WEFT_MUTEX_INIT, {}, 0, 0};
    for (int c; (c = options_next(argc, argv, "+:hb:t:d:", longs)) != -1;) {
        int *number = c == 'b' ? &o.booths : c == 't' ? &o.tickets : &o.delay_ms;
        if (c == 'u')
            o.with_lock = false;
        else
            *number = (int)options_number(optarg, c == 'b', 100000);
    }
    if (optind < argc)
        options_bad("unexpected", argv[optind]);
    return o;
}

static int run_tickets(int argc, char **argv)
{
    office o = read_options(argc, argv);
    return options_finish(tickets(&o));
}

static int run_race(int argc, char **argv)
{
    office o = read_options(argc, argv);
    return options_finish(race(&o));
}

#define ARGUMENTS "[-b booths] [-t tickets] [-d ms] [--unsafe]"

extern const verb verb_tickets = {
    "tickets", ARGUMENTS,
    "booths (10) sell tickets (100), each sale taking ms (10); --unsafe leaves "
    "a gap\n"
    "between looking for a ticket and selling it\n",
    run_tickets};
extern const verb verb_race = {"race", ARGUMENTS, "without the lock, then with it\n", run_race};
