// job.h: one function that another thread runs for a tasklet (offload.cc).
#ifndef WEFT_ASYNC_JOB_H
#define WEFT_ASYNC_JOB_H

#include <weft/deadline.h>
#include <weft/executor.h>
#include <weft/tasklet.h>

#include <stdint.h>

struct addrinfo;

namespace weft {

struct offload_job {
    // The worker's, until it leaves the job at the post.
    void *(*fn)(void *arg);
    void *arg;
    void (*release)(void *arg, void *result);
    void *result;
    int error; // errno when fn returned
    int ran;
    int stuck; // 1: it is under way for nobody; 2: fn has returned
    struct pool *of;
    struct offload_job *next; // at the post
    // The tasklet's thread's.
    struct post_box *post;
    struct offload_job *later; // under way
    weft_tasklet *waiter;
    weft_future *future;
    uint8_t done;
    uint8_t abandoned;
    uint8_t lost; // in the parent of a fork
};

// weft_offload_owned on one of the pools; `release` may be NULL.
int offload_to(int which, void *(*fn)(void *), void *arg, void (*release)(void *, void *),
               void **result, weft_deadline d);

// Has a thread for files do what nobody waits for; there is none: does it here.
void offload_alone(void *(*fn)(void *), void *arg);

// The file of names that need no server; tests have another.
extern const char *names_file;

// getaddrinfo with errno, in this thread.
int names_here(const char *host, const char *service, const struct addrinfo *hints,
               struct addrinfo **list);

} // namespace weft

#endif
