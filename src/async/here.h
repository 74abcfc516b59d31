// here.h: for the floors above: whether a call waits as a tasklet or as a thread.
#ifndef WEFT_ASYNC_HERE_H
#define WEFT_ASYNC_HERE_H

namespace weft {

// Whether the caller is in weft_io_run, where weft_io_* wait.
bool in_io_run(void);

} // namespace weft

#endif
