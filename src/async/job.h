// job.h: what other threads have for a tasklet: one function that they run, or a wake (offload.cc).
#ifndef WEFT_ASYNC_JOB_H
#define WEFT_ASYNC_JOB_H

#include "descriptor.h"

#include <weft/deadline.h>
#include <weft/executor.h>
#include <weft/tasklet.h>

#include <stdint.h>

struct addrinfo;

namespace weft {

struct parking;

// What anyone may leave at the post of a thread that is in weft_io_run.
struct posted {
    posted *next;
    void (*arrived)(posted *item, bool late); // in that thread; late: weft_io_run ends
};

// The thread's post, made when needed.  nullptr: errno.
struct post_box *post_of(io_state *io);

// From any thread, also in a signal's handler; false: it is shut.
bool post(post_box *p, posted *item);

// Takes in what lies there.
void post_collect(post_box *p);

// The tasklets that are parked at it: the head of a ring.
parking *post_parked(post_box *p);

// park.cc: ends their waits, in a child of fork.
void parked_end(parking *all);

struct offload_job {
    posted item; // the first member
    // The worker's, until it leaves the job at the post.
    void *(*fn)(void *arg);
    void *arg;
    void (*release)(void *arg, void *result);
    void *result;
    int error; // errno when fn returned
    int ran;
    int stuck; // 1: it is under way for nobody; 2: fn has returned
    int *fd;   // a descriptor of its own, or null
    struct pool *of;
    // The tasklet's thread's.
    post_box *post;
    struct offload_job *later; // under way
    weft_tasklet *waiter;
    weft_future *future;
    uint8_t done;
    uint8_t abandoned;
    uint8_t lost; // in the parent of a fork
};

// weft_offload_owned on one of the pools; `release` may be NULL.  In a child of fork *fd is closed.
int offload_to(int which, void *(*fn)(void *), void *arg, void (*release)(void *, void *),
               void **result, weft_deadline d, int *fd = nullptr);

// Has a thread for files do what nobody waits for; there is none: does it here.
void offload_alone(void *(*fn)(void *), void *arg);

// The file of names that need no server; tests have another.
extern const char *names_file;

// getaddrinfo with errno, in this thread.
int names_here(const char *host, const char *service, const struct addrinfo *hints,
               struct addrinfo **list);

} // namespace weft

#endif
