// status.h: what the workers of `serve` have done, all together, for /.weft/status and metrics.
#ifndef WEFT_DEMO_STATUS_H
#define WEFT_DEMO_STATUS_H

#include <weft/http.h>

// In the master, before any worker: memory that all share.
void status_open(void);

// In a worker: its server's figures count from now on, and the pages are routed.
void status_begin(weft_http_server *s);

// In a worker, before its server goes: the last figures.
void status_end(void);

// In the master: that worker has ended, in whatever way.
void status_ended(pid_t pid);

// status_page.cc: the page, which draws what the events say.
extern const char status_page[];

#endif
