// here.h: for the floors above: whether a call waits as a tasklet or as a thread, and for what is
// theirs for long.
#ifndef WEFT_ASYNC_HERE_H
#define WEFT_ASYNC_HERE_H

#include <weft/deadline.h>

#include <stdint.h>

namespace weft {

// Whether the caller is in weft_io_run, where weft_io_* wait.
bool in_io_run(void);

// As weft_io_wait, of a descriptor that no call of io.h uses.  The first wait in a thread's
// weft_io_run registers it, and so it stays until io_keep_end or close(2).  `number`: no other
// descriptor's of this process, ever; by it what is registered is known again, whatever thread has
// closed it.  Told by edges: the caller comes after a call that found nothing, else it may wait for
// ever, and may find nothing after it.
int io_keep_wait(int fd, uint64_t number, int events, weft_deadline d);

// Before it is closed by a thread that may have waited for it.
void io_keep_end(int fd, uint64_t number);

} // namespace weft

#endif
