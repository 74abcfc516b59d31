// notify.h: what a service says to systemd, without its library: sd_notify(3),
// sd_watchdog_enabled(3).
#ifndef WEFT_ASYNC_NOTIFY_H
#define WEFT_ASYNC_NOTIFY_H

#include <stdint.h>

namespace weft {

// Sends it to NOTIFY_SOCKET, if there is one.  Nobody is told of a failure, as there; who does not
// read holds us up for a second at most.
void notify(const char *state);

// Half of what WATCHDOG_USEC says, in ns: how often to send WATCHDOG=1.  0: this process is not
// asked to.
int64_t notify_watchdog_ns(void);

} // namespace weft

#endif
