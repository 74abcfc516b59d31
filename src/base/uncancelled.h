// uncancelled.h: system calls that do not act on a pthread_cancel(3).
//
// read(2), close(2), poll(2) and their like are cancellation points: the thread would end in the
// middle of whatever called them, with locks held, children unwaited for and descriptors open.  A
// library's function is none, so these are called by way of here; make lint sees to that.
#ifndef WEFT_BASE_UNCANCELLED_H
#define WEFT_BASE_UNCANCELLED_H

#include <pthread.h>

namespace weft {

// fn(a...), its result and its errno.
template <class Fn, class... A> static inline auto uncancelled(Fn *fn, A... a)
{
    int before;
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &before);
    auto result = fn(a...);
    pthread_setcancelstate(before, nullptr);
    return result;
}

} // namespace weft

#endif
