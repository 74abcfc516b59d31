// weft-async: what waiting costs, and servers in straight lines.  Compare weft-threads,
// weft-coroutines, weft-processes.
#include "../verbs.h"

extern const verb verb_compare, verb_echo, verb_chat, verb_fetch, verb_serve;

int main(int argc, char **argv)
{
    static const verb *const verbs[] = {&verb_compare, &verb_echo, &verb_chat, &verb_fetch,
                                        &verb_serve};
    return demo_main(argc, argv, verbs, sizeof verbs / sizeof *verbs);
}
