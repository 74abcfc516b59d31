// uncancelled.h: system calls that do not act on a pthread_cancel(3).
//
// read(2), close(2), poll(2) and their like are cancellation points: the thread would end in the
// middle of whatever called them, with locks held, children unwaited for and descriptors open.  A
// library's function is none, so these are called by way of here; make lint sees to that.
#ifndef WEFT_BASE_UNCANCELLED_H
#define WEFT_BASE_UNCANCELLED_H

#include <pthread.h>

namespace weft {

template <class T> struct as_it_is {
    typedef T type;
};

// fn(a...), its result and its errno.
template <class R, class... P>
static inline R uncancelled(R (*fn)(P...), typename as_it_is<P>::type... a)
{
    int before;
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &before);
    R result = fn(a...);
    pthread_setcancelstate(before, nullptr);
    return result;
}

// The same for one that takes more than its type says, as open(2).
template <class R, class... P, class... A> static inline R uncancelled(R (*fn)(P..., ...), A... a)
{
    int before;
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &before);
    R result = fn(a...);
    pthread_setcancelstate(before, nullptr);
    return result;
}

} // namespace weft

#endif
