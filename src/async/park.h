// park.h: one tasklet that sleeps on a word (park.cc).
#ifndef WEFT_ASYNC_PARK_H
#define WEFT_ASYNC_PARK_H

#include "job.h"

#include <thread/sleep.h>

namespace weft {

struct parking {
    parking *next, *previous; // those of the thread
    parked spot;
    posted item; // says that it was woken
    post_box *post;
    weft_tasklet *waiter;
    bool arrived; // the item has
    bool over;    // nothing will end the sleep, for the process has forked
};

} // namespace weft

#endif
