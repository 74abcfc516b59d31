// hackysack.cc: `weft-coroutines hackysack`, the classic comparison of tasklets with threads.
#include "hackysack.h"
#include "../verbs.h"

static int hackysack(long players, long rounds)
{
    static const weft_tasklet_options detached = {nullptr, 0, nullptr, true, false, false};
    uint64_t ball = 0;
    circle = {(weft_channel **)calloc((size_t)players, sizeof *circle.of), (uint64_t)players,
              (uint64_t)rounds, 0, 1};
    for (long i = 0; i < players; i++)
        if (circle.of == nullptr ||
            (circle.of[i] = weft_channel_create(sizeof ball, 0)) == nullptr ||
            weft_tasklet_spawn(play, (void *)i, &detached) == nullptr)
            options_fail("weft-coroutines: hackysack");
    weft_tasklet_yield(); // they take their places
    int64_t start = weft_now();
    weft_channel_send(circle.of[0], &ball, WEFT_FOREVER);
    if (weft_tasklet_run() != 0)
        options_fail("weft-coroutines: hackysack");
    double ns = (double)(weft_now() - start) / (double)(rounds > 0 ? rounds : 1);
    for (long i = 0; i < players; i++)
        weft_channel_destroy(circle.of[i]);
    free(circle.of);
    printf("%ld players, %ld passes, %.1f ns per pass\n", players, rounds, ns);
    return 0;
}

static int run(int argc, char **argv)
{
    long players = 1000, rounds = 200000;
    for (int c; (c = options_next(argc, argv, "+:hp:r:", nullptr)) != -1;)
        *(c == 'p' ? &players : &rounds) = options_number(optarg, c == 'p' ? 2 : 1, 1000000000);
    if (optind < argc)
        options_bad("unexpected", argv[optind]);
    return options_finish(hackysack(players, rounds));
}

extern const verb verb_hackysack = {
    "hackysack", "[-p players] [-r rounds]",
    "players (1000) in a circle pass a ball (200000 times) to anybody\n", run};
