// shared_objects.h: one of each of the objects that processes share, to be tortured.
#ifndef WEFT_TORTURE_SHARED_OBJECTS_H
#define WEFT_TORTURE_SHARED_OBJECTS_H

#include <weft/shared_sync.h>

struct shared_objects {
    weft_shared_mutex mutex;
    weft_shared_rwlock rwlock;
    weft_shared_condition condition;
    weft_shared_semaphore semaphore;
    weft_shared_event event;
    weft_shared_barrier barrier;
};

#endif
