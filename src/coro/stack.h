// stack.h: guarded stacks by the million, for the coroutines of one thread.
#ifndef WEFT_CORO_STACK_H
#define WEFT_CORO_STACK_H

#include <stddef.h>

namespace weft {

#ifdef __aarch64__
#define STACK_DEFAULT ((size_t)128 << 10)
#else
#define STACK_DEFAULT ((size_t)64 << 10)
#endif
#define STACK_LEAST ((size_t)16 << 10)

struct stack {
    char *low;    // its lowest address: that of the guard, if it has one
    size_t size;  // guard included
    size_t guard; // bytes
};

struct stacks;

// A thread's stacks.  NULL: ENOMEM.  `one_by_one`: process_madvise is not to be tried, for Valgrind
// knows no such call and says so.
stacks *stacks_create(bool one_by_one);

// Unmaps all of them.
void stacks_destroy(stacks *s);

// A stack of at least `size` bytes (rounded up to a power of two).  -1: ENOMEM, EINVAL.
int stack_take(stacks *s, size_t size, stack *stack);

// The last one given back is the first one taken again.  Never fails.
void stack_give(stacks *s, const stack *stack);

// Gives the free stacks back to the kernel: their memory, and where all of a chunk are free its
// addresses and page tables too.
void stacks_trim(stacks *s);

// Why the last take failed: text for the dump, NULL if none did.
const char *stacks_trouble(const stacks *s);

// For tests: how guards are made from now on.  `allowed` stands in for vm.max_map_count; 0: the
// real one.
enum { GUARD_BEST, GUARD_ONE_BY_ONE, GUARD_MPROTECT };
void stacks_force(int how, size_t allowed);

} // namespace weft

#endif
