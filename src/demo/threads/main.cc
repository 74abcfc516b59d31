// weft-threads: what a lock is for, and what threads are good at.
#include "../verbs.h"

extern const verb verb_tickets, verb_race, verb_count;

int main(int argc, char **argv)
{
    static const verb *const verbs[] = {&verb_tickets, &verb_race, &verb_count};
    return demo_main(argc, argv, verbs, sizeof verbs / sizeof *verbs);
}
