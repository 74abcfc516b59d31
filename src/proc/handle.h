// handle.h: what a subprocess is inside, for the files of this library.
#ifndef WEFT_PROC_HANDLE_H
#define WEFT_PROC_HANDLE_H

#include <weft/subprocess.h>

using namespace weft;

struct weft_subprocess {
    pid_t pid;
    int pidfd;              // -1 where the kernel has none
    int fds[3];             // our ends of its pipes, or -1
    bool leads;             // a process group of its own
    bool ended;             // reaped: pid is no longer ours
    bool lost;              // ended, and somebody else took the status
    int status;             // as from waitpid(2)
    bool takes_input;       // has an input pipe that communicate feeds
    size_t written;         // how much of communicate's input it has got
    int64_t grace;          // nanoseconds; 0: none
    weft_deadline flush_by; // for the stream of weft_popen
};

namespace weft {

// Has it ended?  Does not reap it.
bool has_ended(const weft_subprocess *p);

// Waits for its end, but leaves it to be reaped: until then its group can be signalled.
bool ends_by(const weft_subprocess *p, weft_deadline d);

// Opens the child's side of a stream (not WEFT_STREAM_INHERIT, _FD or _STDOUT); *ours is our
// end if it is a pipe.
int open_side(const weft_stream *s, int stream, int *ours);

// Moves fd above the standard streams' numbers, close-on-exec.  Closes it on failure.
int above_streams(int fd);

// Creates a pipe, close-on-exec and above the standard streams.
int make_pipe(int ends[2]);

// read(2) and write(2) on a pipe whose other end is elsewhere, with a deadline.
ssize_t pipe_read(int fd, void *bytes, size_t n, weft_deadline d);
ssize_t pipe_write(int fd, const void *bytes, size_t n, weft_deadline d);

} // namespace weft

#endif
