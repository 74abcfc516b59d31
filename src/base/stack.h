// stack.h: things to be used again, linked through one of their own members, without a lock.
//
// Who needs one takes all and puts the others back: so an item's address that is used again fools
// nobody, and a fork at any instant leaves the stack whole (or empty).
#ifndef WEFT_BASE_STACK_H
#define WEFT_BASE_STACK_H

namespace weft {

// Puts a chain there, from `first` to `last`.
template <class Item>
static inline void stack_push(Item **top, Item *Item::*link, Item *first, Item *last)
{
    last->*link = __atomic_load_n(top, __ATOMIC_RELAXED);
    // Release: the links, and what else the items hold.
    while (!__atomic_compare_exchange_n(top, &(last->*link), first, true, __ATOMIC_RELEASE,
                                        __ATOMIC_RELAXED)) {
    }
}

// Takes one, or null.
template <class Item> static inline Item *stack_pop(Item **top, Item *Item::*link)
{
    if (__atomic_load_n(top, __ATOMIC_RELAXED) == nullptr)
        return nullptr;
    Item *first = __atomic_exchange_n(top, nullptr, __ATOMIC_ACQUIRE), *none = nullptr;
    Item *rest = first != nullptr ? first->*link : nullptr;
    if (rest == nullptr ||
        __atomic_compare_exchange_n(top, &none, rest, false, __ATOMIC_RELEASE, __ATOMIC_RELAXED))
        return first;
    Item *last = rest; // others have come meanwhile
    while (last->*link != nullptr)
        last = last->*link;
    stack_push(top, link, rest, last);
    return first;
}

} // namespace weft

#endif
