// weft-coroutines: generators, greenlets, tasklets and channels, a million at once.
//
// `produce` is the tutorial's generator, `greenlets` two coroutines that switch to each other,
// `sieve` and `hackysack` Stackless's classics, a tasklet for each prime and player.
// Compare weft-threads, where the system interrupts, with these, where nobody does.
#include "hackysack.h"
#include "million.h"
#include "options.h"

#include <weft/channel.h>
#include <weft/coro.h>
#include <weft/generator.h>

static const char usage[] =
    "usage: weft-coroutines [produce] [-n items]\n"
    "       weft-coroutines greenlets | overflow | sieve N | million [-n coroutines]\n"
    "       weft-coroutines hackysack [-p players] [-r rounds]\n"
    "produce:   a generator yields items (10), the consumer pops them\n"
    "greenlets: two coroutines switch to each other by name\n"
    "sieve:     the first N primes, through a chain of tasklets and channels\n"
    "hackysack: players (1000) in a circle pass a ball (200000 times) to anybody\n"
    "million:   coroutines (1000000) alive at once, each with a guarded stack\n"
    "overflow:  what the overflow of a stack reports\n";

static const weft_tasklet_options detached = {nullptr, 0, nullptr, true, false, false};

static int producer(weft_generator *g, void *count)
{
    for (long item = 1; item <= *(long *)count; item++) {
        printf("producer yields %ld\n", item);
        if (weft_generator_yield(g, &item) != 0)
            return -1;
    }
    return 0;
}

static int produce(long count)
{
    long item, popped = 0;
    weft_generator *g = weft_generator_create(producer, &count, sizeof item, nullptr);
    if (g == nullptr)
        options_fail("weft-coroutines: produce");
    for (; weft_generator_next(g, &item) == 1; popped++)
        printf("consumer pops   %ld\n", item);
    weft_generator_destroy(g);
    printf("popped %ld of %ld items, the producer is exhausted\n", popped, count);
    return popped != count;
}

static weft_coro *ping, *pong;

static void *rally(void *, void *stroke)
{
    weft_coro *me = weft_coro_self(), *other = me == ping ? pong : ping;
    for (long n = (long)(intptr_t)stroke; n <= 6;) {
        printf("stroke %ld: %s switches to %s\n", n, weft_coro_name(me), weft_coro_name(other));
        n = (long)(intptr_t)weft_coro_switch(other, (void *)(n + 1));
    }
    return (void *)weft_coro_name(me); // to the parent
}

static int greenlets(void)
{
    weft_coro_options named_ping = {"ping", 0, nullptr, false, false},
                      named_pong = {"pong", 0, nullptr, false, false};
    ping = weft_coro_create(rally, nullptr, &named_ping);
    pong = weft_coro_create(rally, nullptr, &named_pong);
    if (ping == nullptr || pong == nullptr)
        options_fail("weft-coroutines: greenlets");
    const char *last = (const char *)weft_coro_resume(ping, (void *)1);
    printf("%s ends, and its parent goes on\n", last);
    return weft_coro_destroy(ping) | weft_coro_destroy(pong);
}

static long primes_wanted;

static void *numbers(void *out)
{
    for (long n = 2; weft_channel_send((weft_channel *)out, &n, WEFT_FOREVER) == 0; n++)
        ;
    return nullptr;
}

// The first number that comes is prime; of the others, what it does not divide goes on to the
// next tasklet.  When there are enough the last one closes its channel, and so on upwards.
static void *sieve_one(void *in)
{
    long prime = 0, n;
    weft_channel *out = weft_channel_create(sizeof n, 0);
    if (out == nullptr || weft_channel_next((weft_channel *)in, &prime, WEFT_FOREVER) != 1)
        options_fail("weft-coroutines: sieve");
    printf("%ld\n", prime);
    if (--primes_wanted > 0) {
        if (weft_tasklet_spawn(sieve_one, out, &detached) == nullptr)
            options_fail("weft-coroutines: sieve");
        while (weft_channel_next((weft_channel *)in, &n, WEFT_FOREVER) == 1)
            if (n % prime != 0 && weft_channel_send(out, &n, WEFT_FOREVER) != 0)
                break; // enough
    }
    weft_channel_close((weft_channel *)in);
    weft_channel_destroy(out);
    return nullptr;
}

static int sieve(long n)
{
    weft_channel *first = weft_channel_create(sizeof n, 0);
    primes_wanted = n;
    if (first == nullptr || weft_tasklet_spawn(numbers, first, &detached) == nullptr ||
        weft_tasklet_spawn(sieve_one, first, &detached) == nullptr || weft_tasklet_run() != 0)
        options_fail("weft-coroutines: sieve");
    return weft_channel_destroy(first);
}

int main(int argc, char **argv)
{
    static const option longs[] = {{"help", no_argument, nullptr, 'h'}, {}};
    const char *verb = argc > 1 && argv[1][0] != '-' ? argv[1] : "produce", *me = "weft-coroutines";
    bool million_asked = strcmp(verb, "million") == 0, sieving = strcmp(verb, "sieve") == 0;
    long n = million_asked ? 1000000 : 10, players = 1000, rounds = 200000;
    optind = argc > 1 && argv[1][0] != '-' ? 2 : 1;
    for (int c; (c = options_next(argc, argv, "+:hn:p:r:", longs, usage)) != -1;) {
        long *number = c == 'n' ? &n : c == 'p' ? &players : &rounds;
        *number = options_number(me, optarg, c == 'p' ? 2 : c == 'r' ? 1 : 0, 1000000000);
    }
    if (sieving && optind < argc)
        n = options_number(me, argv[optind++], 1, 10000);
    if (optind < argc)
        options_bad(me, "unexpected", argv[optind]);
    if (strcmp(verb, "produce") == 0)
        return options_finish(me, produce(n));
    if (strcmp(verb, "greenlets") == 0)
        return options_finish(me, greenlets());
    if (sieving)
        return options_finish(me, sieve(n));
    if (strcmp(verb, "hackysack") == 0)
        return options_finish(me, hackysack(players, rounds));
    if (million_asked)
        return options_finish(me, million(n));
    if (strcmp(verb, "overflow") == 0)
        return options_finish(me, overflow());
    options_bad(me, "unknown verb", verb);
    return 2;
}
