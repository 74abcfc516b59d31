// sieve.cc: `weft-coroutines sieve`: Stackless's classic, a tasklet for each prime.
#include "../verbs.h"

#include <weft/channel.h>

static const weft_tasklet_options detached = {nullptr, 0, nullptr, true, false, false};

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

static int run(int argc, char **argv)
{
    const char *const *number = options_none(argc, argv, 1, 1, "needs N");
    return options_finish(sieve(options_number(*number, 1, 10000)));
}

extern const verb verb_sieve = {
    "sieve", "N", "the first N primes, through a chain of tasklets and channels\n", run};
