// produce.cc: `weft-coroutines produce`: a generator and who consumes what it yields.
#include "../verbs.h"

#include <weft/generator.h>

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

static int run(int argc, char **argv)
{
    return options_finish(produce(options_count(argc, argv, 10, 0, 1000000000)));
}

extern const verb verb_produce = {"produce", "[-n items]",
                                  "a generator yields items (10), the consumer pops them\n", run};
