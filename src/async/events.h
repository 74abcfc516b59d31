// events.h: what a loop and weft_io_run have in common: the kernel's set of descriptors.
#ifndef WEFT_ASYNC_EVENTS_H
#define WEFT_ASYNC_EVENTS_H

namespace weft {

// Whether misuse that is healed is told on standard error (WEFT_IO_CHECK=1 in the environment).
bool events_checked(void);

// "weft: descriptor 7 was closed while it was watched", if so; errno stays.
void events_tell_closed(int fd, const char *was);

} // namespace weft

#endif
