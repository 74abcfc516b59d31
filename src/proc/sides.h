// sides.h: the two ends of the standard streams: a child's and ours.
#ifndef WEFT_PROC_SIDES_H
#define WEFT_PROC_SIDES_H

#include "streams.h"

namespace weft {

// What one start opens for the child, to be closed in the end in any case.
struct sides {
    int child[3]; // what becomes 0, 1, 2; -1: inherited
    bool opened[3];
    int terminal; // which of them is to be its terminal; -1: none
};

bool sides_use_pty(const weft_subprocess_options *o);

// The child's sides, and ours in *s.
int sides_open(struct sides *sides, const weft_subprocess_options *o, streams *s);
void sides_close(struct sides *sides);

// Opens the child's side of a stream (not WEFT_STREAM_INHERIT, _FD, _STDOUT or _PTY); *ours is our
// end if it is a pipe.
int open_side(const weft_stream *s, int stream, int *ours);

} // namespace weft

#endif
