// web.h: a manager's queues, locks, jobs and clients as a page that goes on by itself.
#ifndef WEFT_DEMO_WEB_H
#define WEFT_DEMO_WEB_H

#include "remote.h"

// Listens there, before the manager is: what is wrong with the address is said now.
void web_listen(const char *address);

// In a thread of its own, for as long as the process lives: shows the manager at `address`.
void web_start(const remote_order *o, const char *address);

// web_page.cc
extern const char web_page[];

#endif
