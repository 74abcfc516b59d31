// greenlets.cc: `weft-coroutines greenlets`: two coroutines that switch to each other by name.
#include "../verbs.h"

#include <weft/coro.h>

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

static int run(int argc, char **argv)
{
    options_none(argc, argv, 0, 0, "");
    return options_finish(greenlets());
}

extern const verb verb_greenlets = {"greenlets", "",
                                    "two coroutines switch to each other by name\n", run};
