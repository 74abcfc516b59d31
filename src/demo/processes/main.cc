// weft-processes: programs run, piped and fed; work and things shared out.
#include "../verbs.h"

extern const verb verb_list, verb_run, verb_pipe, verb_each, verb_split, verb_quote, verb_pool,
    verb_sum, verb_share, verb_manager, verb_put, verb_get, verb_lock, verb_work, verb_submit,
    verb_jobs;

int main(int argc, char **argv)
{
    static const verb *const verbs[] = {&verb_list,  &verb_run,     &verb_pipe,   &verb_each,
                                        &verb_split, &verb_quote,   &verb_pool,   &verb_sum,
                                        &verb_share, &verb_manager, &verb_put,    &verb_get,
                                        &verb_lock,  &verb_work,    &verb_submit, &verb_jobs};
    return demo_main(argc, argv, verbs, sizeof verbs / sizeof *verbs);
}
