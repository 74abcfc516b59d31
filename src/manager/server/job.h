// job.h: jobs, their queues, and what their time does to them.
//
// A queue is a place of the kind AT_JOBS, which has the takers that wait.  Each job of it is in the
// ring of its state, by the time when it came into it, and in the state's order: those that wait by
// whose turn it is, all others by when their state ends by itself.  The alarm of a queue is set for
// the first of these, or earlier.
//
// Nearly all come to an order behind all that are there: a lease has the length of the one before,
// and what is put is the youngest.  So an order is a line, to whose end they go, and a heap for
// those that belong further ahead.
//
// Nothing here takes long, however many there are: what is overdue together, what a peer had that
// has gone, and what a queue had that was removed, goes in the background.
#ifndef WEFT_MANAGER_JOB_H
#define WEFT_MANAGER_JOB_H

#include "place.h"

#include <weft/remote_jobs.h>

namespace weft {

enum { JOB_STATES = WEFT_JOB_DEAD + 1 };

struct job;

// Who waits for a job's end.
struct job_watch {
    job_watch *next, *previous; // nullptr: in no ring any more
    peer_wait *wait;
    struct job *job;
};

struct job {
    job *next, *previous; // of its state
    struct job_queue *queue;
    job_link line; // in its order's, or in the heap if it has no next
    size_t at;     // in the heap
    int state;     // 0: it is new
    int priority, tries, retries;
    int64_t id, token;
    int64_t since, due; // weft_now(): when its state began, and ends
    int64_t limit_at;   // running: when its lease ends at the latest; 0: never
    int64_t limit_ms, backoff_ms, keep_ms;
    int64_t progress;
    list_item *value, *worker, *note, *outcome, *key; // nullptr: empty
    job_link held;     // running: of the peer whose end ends the lease, if it has a next
    job_watch watches; // the ring's head
};

// What comes first has the least rank, and of equals the least id: here, so that looking for the
// first touches no job.
struct job_turn {
    int64_t rank, id;
    struct job *job;
};

struct job_order {
    job_link line; // head
    job_turn *heap;
    size_t count, room; // of the heap
};

struct job_queue {
    struct place *place; // nullptr: it was removed
    table by_id, by_key;
    job rings[JOB_STATES]; // heads
    size_t counts[JOB_STATES];
    job_order orders[JOB_STATES];
    weft_alarm alarm;
    int64_t alarm_at;
    int64_t keep;
    int64_t put, taken, ended, failed, lost;
    bool paused;
    bool works; // in the background
};

// The queue of that name.  nullptr: there is none.
job_queue *jobs_find(server *s, const word *name);

// The same for a command that needs it, as place_make.  nullptr: the peer was told.
job_queue *jobs_make(peer *p, const word *name, bool adds);

// The same at the start of the server, made if need be.
job_queue *jobs_open(server *s, const word *name);

// That id; that key.  nullptr: there is none.
job *job_by_id(job_queue *q, int64_t id);
job *job_by_key(job_queue *q, const word *key);

// A new job with a copy of both; it has no state yet.
job *job_new(job_queue *q, const word *value, const word *key);

// The same with the id that it had in the server before this one; it has no token yet.
job *job_restore(job_queue *q, int64_t id, const word *value, const word *key);

// Later numbers are greater than this one.
void job_number_above(int64_t number);

// Into another state, until `due`; for WAITING it says nothing.
void job_move(job *j, int state, int64_t due);

// To those who wait for its end; it is WEFT_JOB_DONE or WEFT_JOB_DEAD, whose oldest may go for it.
void job_ends(job *j, int state);
void job_forget(job *j);

// Its state ends by itself, as it is time.
void job_time_is_up(job *j);

// Gives it to the peer, whose end ends the lease if `tied`.
void job_lease(job *j, peer *p, int64_t lease_ms, bool tied);
void job_extend(job *j, int64_t lease_ms);

// The lease ended before the job.
void job_lost(job *j, const char *why);

// Greater than all before, also than those of a server before this one: microseconds.
int64_t job_number(void);

// weft_now(), as this round began.
int64_t jobs_now(void);

void job_set(list_item **text, const char *what, size_t n);

// The first that waits; nullptr: none does, or the queue is paused.
job *job_first(const job_queue *q);

// ---- For the server ----

// Whether there is nothing to know of the place's queue.
bool jobs_are_idle(const place *place);
// Removes all jobs; who waits for one is told that there is none.
void jobs_remove(server *s, place *place);
// At once.
void jobs_free(place *place);
// Ends the leases that are tied to the peer, which has ended.
void jobs_release(peer *p);
void jobs_serve(server *s, place *place);

} // namespace weft

#endif
