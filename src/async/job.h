// job.h: one function that another thread runs for a tasklet (offload.cc).
#ifndef WEFT_ASYNC_JOB_H
#define WEFT_ASYNC_JOB_H

#include <weft/deadline.h>
#include <weft/executor.h>
#include <weft/tasklet.h>

#include <stdint.h>

typedef struct weft_private_job {
    // The worker's, until it leaves the job at the post.
    void *(*fn)(void *arg);
    void *arg;
    void (*release)(void *arg, void *result);
    void *result;
    int error; // errno when fn returned
    int ran;
    struct weft_private_job *next; // at the post
    // The tasklet's thread's.
    struct weft_private_post *post;
    struct weft_private_job *later; // under way
    weft_tasklet *waiter;
    weft_future *future;
    uint8_t done;
    uint8_t abandoned;
    uint8_t lost; // in the parent of a fork
} weft_private_job;

#ifdef __cplusplus
extern "C" {
#endif

// weft_offload_owned on one of the pools; `release` may be NULL.
int weft_private_offload(int which, void *(*fn)(void *), void *arg, void (*release)(void *, void *),
                         void **result, weft_deadline d);

struct addrinfo;

// getaddrinfo with errno, in this thread.
int weft_private_names_here(const char *host, const char *service, const struct addrinfo *hints,
                            struct addrinfo **list);

#ifdef __cplusplus
}
#endif

#endif
