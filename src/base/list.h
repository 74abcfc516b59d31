// list.h: doubly linked rings through the links' own `next` and `previous`.
//
// A ring has a head, a link that is no member: next is the first, previous the last, and
// both are the head while the ring is empty.  So no step has a special case, and taking one out
// needs no head.  Any struct with `next` and `previous` will do.
//
//     for (waiter *w = ring->next; w != ring; w = w->next) ...
#ifndef WEFT_BASE_LIST_H
#define WEFT_BASE_LIST_H

namespace weft {

template <class Link> static inline void list_init(Link *head)
{
    head->next = head->previous = head;
}

template <class Link> static inline bool list_is_empty(const Link *head)
{
    return head->next == head;
}

// Puts it before `at`: with the head for `at`, last.
template <class Link> static inline void list_insert(Link *at, Link *link)
{
    link->next = at;
    link->previous = at->previous;
    at->previous->next = link;
    at->previous = link;
}

// Takes it out; its own two pointers stay as they were.
template <class Link> static inline void list_remove(Link *link)
{
    link->previous->next = link->next;
    link->next->previous = link->previous;
}

// Moves all of `from` behind what is in `to`.
template <class Link> static inline void list_splice(Link *to, Link *from)
{
    if (list_is_empty(from))
        return;
    from->next->previous = to->previous;
    to->previous->next = from->next;
    from->previous->next = to;
    to->previous = from->previous;
    list_init(from);
}

} // namespace weft

#endif
