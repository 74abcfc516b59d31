// streams.h: what a subprocess and a pipeline are inside: children behind up to three pipes.
//
// A subprocess is a pipeline of one: all that feeds, reads, waits for and ends children is here
// once, and both families of calls hand it their streams.
#ifndef WEFT_PROC_STREAMS_H
#define WEFT_PROC_STREAMS_H

#include <base/above_streams.h>
#include <base/child.h>
#include <base/leash.h>
#include <weft/subprocess.h>

#include "family.h"
#include "sink.h"

namespace weft {

struct streams {
    int fds[3];         // our ends, or -1
    int pty;            // the master, of which the fds are copies; -1: none
    char last;          // what the child's input ended with until now
    bool takes_input;   // has an input pipe that communicate feeds
    size_t written;     // how much of communicate's input it has got
    int64_t grace;      // nanoseconds; 0: none
    weft_deadline over; // its end; 0: it has not begun
    int64_t kill_after; // ... from SIGTERM to SIGKILL; 0: no SIGTERM
    weft_subprocess **children;
    size_t count;
    outlet outlets[2]; // of streams 1 and 2
    family relatives;  // who descends from them, when they are to end and lead no group
};

} // namespace weft

using namespace weft;

struct weft_subprocess {
    child c;
    streams s;
    weft_subprocess *self;  // what s.children points at
    leash held;             // it dies with us
    int terminal;           // of which its group is the foreground; -1: none
    weft_deadline flush_by; // for the stream of weft_popen
    weft_subprocess *next;  // in the list of those given up
};

namespace weft {

void streams_close(streams *s);

// Closes the input; a terminal's end is told by a byte: false if that finds no room now.
bool streams_end_input(streams *s);

// No more comes of what still has an end open: gives on what is left.  0, or such an error.
int streams_finish(streams *s);

// Closes them, and frees what their sinks have.
void streams_free(streams *s);

// Waits for all.  *status (may be null): the last one's.  ETIMEDOUT, ECANCELED; ECHILD: lost.
int streams_wait(streams *s, int *status, weft_deadline d);

// To the group, whose leader is the first, or to each that has not been waited for.
int streams_signal(const streams *s, int signal);

// SIGTERM, and SIGCONT for who is stopped.
int streams_terminate(const streams *s);

// Closes the input, then SIGTERM, then SIGKILL; waits until `d`.
int streams_stop(streams *s, int *status, weft_deadline close_by, weft_deadline term_by,
                 weft_deadline d);

// SIGTERM, and SIGKILL, to all that they have started.  As streams_signal.
int streams_ask_to_end(streams *s);
int streams_force_end(streams *s);

// The same; until when their ends are worth waiting for.
weft_deadline streams_kill_by(streams *s);

// Waits until then, whatever stops this thread.
void streams_await_killed(streams *s, int *status, weft_deadline d);

// At a deadline: SIGTERM, kill_after later SIGKILL, and waits as long as that takes.  What comes
// through the pipes meanwhile is read into out and err.  After ECANCELED: SIGKILL at once.
void streams_end(streams *s, weft_buffer *out, weft_buffer *err, int *status);

// Kills them, and waits as long as that takes; one that can't be killed (its program is setuid, or
// the kernel is stuck) holds up nobody.  *status as streams_wait, if there is one.
void streams_kill(streams *s, int *status);

int streams_communicate(streams *s, const void *in, size_t n, weft_buffer *out, weft_buffer *err,
                        weft_deadline d);
int streams_fd(const streams *s, int stream);
ssize_t streams_read(streams *s, int stream, void *bytes, size_t n, weft_deadline d);
ssize_t streams_write(streams *s, const void *bytes, size_t n, weft_deadline d);
int streams_close_one(streams *s, int stream);

// The options of a run: what is to be fed makes `in` a pipe; what is bounded in time gets a group
// of its own, which ends as a whole, unless it has or wants another or our terminal.
// EINVAL: input without bytes.
int run_options(weft_subprocess_options *o, const weft_subprocess_options *opts, bool bounded);

// What weft_subprocess_run does from the start (at `begun`) on: feeds, collects and waits; at the
// deadline kills.
int run_streams(streams *s, const weft_subprocess_options *o, weft_subprocess_result *r,
                int64_t begun, weft_deadline d);

// ---- terminal.cc ----

// Our controlling terminal, if our group is its foreground; else -1.
int terminal_open(void);

// Whether there is one.  What we start may ask there, as ssh(1) does, whatever its streams are, and
// would be stopped for that in a group of its own: so it stays in ours, unless it is the
// foreground.
bool terminal_is_ours(void);

// When a wait is to look how a child in the foreground does; d where there is none.
weft_deadline terminal_next(const streams *s, weft_deadline d);

// If it was stopped we are, too, until both go on.
void terminal_look(streams *s);

// It has ended: the terminal is ours again.
void terminal_back(streams *s);
void terminal_close(weft_subprocess *p);

// ---- subprocess.cc ----

// Frees it; if it has not ended, once it has, at some later start.
void give_up(weft_subprocess *p);

} // namespace weft

#endif
