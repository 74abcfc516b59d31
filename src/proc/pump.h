// pump.h: what moves between us and children while they run: one poll for any number of them.
//
//     flow f;
//     if (flow_begin(&f, s, input, size, &out, &err, false) == 0)
//         while (!flow_is_over(&f) && pump_round(&one, 1, fds, 0, d) == 0)
//             ;
//     flow_end(&f);
//
// communicate and run have one flow, map as many as commands run.
#ifndef WEFT_PROC_PUMP_H
#define WEFT_PROC_PUMP_H

#include "streams.h"

namespace weft {

enum { FLOW_PLACES = 4 }; // of the descriptors that one flow may watch

struct flow {
    streams *s;
    const char *input;
    size_t size;
    child *awaited;     // watched: one that has not ended yet, until all have; then null
    weft_deadline over; // the grace's end; WEFT_FOREVER: it has not begun
    int error;          // of what takes an output; then all is closed
    int place[FLOW_PLACES];
};

// watch: for the children's ends, too, with which the streams' grace begins.  Does not wait.
// -1: ENOMEM.
int flow_begin(flow *f, streams *s, const void *in, size_t n, weft_buffer *out, weft_buffer *err,
               bool watch);

// All pipes are at their ends (after an error they are closed) and, if that is watched for, all
// children; or the grace is over.
bool flow_is_over(const flow *f);

// Takes what the outputs hold at this moment.  0; 1: one is not at its end; -1: the flow's error.
int flow_end(flow *f);

// Sleeps until something can be moved or a child has ended, and moves what is there, for all.  The
// first `own` of fds are the caller's, behind them is room for FLOW_PLACES for each flow.
// -1: ECANCELED; ETIMEDOUT, also when it was late and has moved what was there.
int pump_round(flow *const flows[], size_t n, struct pollfd *fds, size_t own, weft_deadline d);

// Between rounds that do not sleep, since there is always something to do.  -1: ETIMEDOUT,
// ECANCELED.
int pump_look(weft_deadline d);

// Feeds and reads until all ends are reached.  0; 1: the grace ran out; -1: ETIMEDOUT, ECANCELED;
// -2: errno, the flow's error.  Reaps nobody.
int pump(streams *s, const void *in, size_t n, weft_buffer *out, weft_buffer *err, weft_deadline d);

} // namespace weft

#endif
