// inside.h: rows whose calls are for tasklets of weft_io_run.
#ifndef WEFT_TEST_CONFORM_INSIDE_H
#define WEFT_TEST_CONFORM_INSIDE_H

#include <weft/io.h>

#include <stdlib.h>

static inline int run_body(void *fn)
{
    (*(void (**)(void))fn)();
    return 0;
}

static inline void in_io(void (*fn)(void))
{
    weft_io_run(run_body, (void *)&fn);
}

static inline void in_tasklet(void *(*fn)(void *), void *arg)
{
    weft_tasklet_options o = {};
    o.detached = true;
    if (weft_tasklet_spawn(fn, arg, &o) == NULL)
        abort();
}

static inline void *call_later(void *fn)
{
    weft_tasklet_sleep(weft_in_ms(5));
    ((void (*)(void))fn)();
    return NULL;
}

static inline void later(void (*fn)(void))
{
    in_tasklet(call_later, (void *)fn);
}

#endif
