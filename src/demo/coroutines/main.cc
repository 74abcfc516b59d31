// weft-coroutines: generators, greenlets, tasklets and channels, a million at once.  Compare
// weft-threads, where the system interrupts, with these, where nobody does.
#include "../verbs.h"

extern const verb verb_produce, verb_greenlets, verb_sieve, verb_hackysack, verb_million,
    verb_overflow;

int main(int argc, char **argv)
{
    static const verb *const verbs[] = {&verb_produce,   &verb_greenlets, &verb_sieve,
                                        &verb_hackysack, &verb_million,   &verb_overflow};
    return demo_main(argc, argv, verbs, sizeof verbs / sizeof *verbs);
}
