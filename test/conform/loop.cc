// What weft(7) says of deadlines, signals, errno and NULL, of a loop.  A stop of the thread is not
// for the loop: that has weft_loop_stop.
#include <weft/loop.h>

#include "conform.h"

static weft_loop *loop;

static void begin(void)
{
    it = loop = weft_loop_create(NULL);
    weft_loop_hold(loop, 1);
}

static const row ROWS[] = {
    ROW(weft_loop_run, (it, WEFT_LOOP_ALL, d), begin, DO(weft_loop_stop(loop)), UNSTOPPED),
};
RUN_ROWS(ROWS)
