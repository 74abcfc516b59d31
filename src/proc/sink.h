// sink.h: where what comes through one output goes.
//
// It is read into a buffer: the caller's, where it stays, or goes on into a file; or one of the
// sink's own, from which it is given on.
#ifndef WEFT_PROC_SINK_H
#define WEFT_PROC_SINK_H

#include <weft/subprocess.h>

namespace weft {

struct outlet {
    weft_sink how;
    weft_buffer *to;  // the caller's; null: dropped, unless there is how.take
    weft_buffer held; // a line's beginning
    size_t came;      // bytes in all
    int file;         // -1: none
    size_t filed;     // bytes in it
    size_t ready;     // up to here the buffer's memory has been touched
};

void outlet_init(outlet *o, const weft_stream *s);
void outlet_free(outlet *o);

// The buffer it is collected in; a string from now on.  -1: ENOMEM; EINVAL: it can't grow.
int outlet_begin(outlet *o, weft_buffer *to);

// One read, as read(2).  *error: 0, or what is the end of it: ENOMEM, ENOBUFS, ENOSPC, ...
ssize_t outlet_read(outlet *o, int fd, int *error);

// No more comes: gives on the last line, maps the file.  Again: nothing.  0, or such an error.
int outlet_end(outlet *o);

} // namespace weft

#endif
