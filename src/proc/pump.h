// pump.h: feeding and reading children at the same time.
#ifndef WEFT_PROC_PUMP_H
#define WEFT_PROC_PUMP_H

#include <weft/subprocess.h>

namespace weft {

struct pump {
    int *fds; // [3]: our ends; each is closed and set to -1 at its end
    const char *input;
    size_t size;
    size_t *written;    // how far the input has come
    weft_buffer *to[3]; // [1] and [2]: where output goes; NULL: nowhere
    weft_subprocess *const *children;
    size_t count;
    int64_t grace; // nanoseconds after the last child's end; 0: no limit
};

// 0: all ends reached; 1: the grace ran out; -1: ETIMEDOUT, ENOMEM.  Reaps nobody.
int pump_run(struct pump *pump, weft_deadline d);

} // namespace weft

#endif
