// stack.h: guarded stacks by the million, for the coroutines of one thread.
#ifndef WEFT_CORO_STACK_H
#define WEFT_CORO_STACK_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

#ifdef __aarch64__
#define WEFT_STACK_DEFAULT ((size_t)128 << 10)
#else
#define WEFT_STACK_DEFAULT ((size_t)64 << 10)
#endif
#define WEFT_STACK_LEAST ((size_t)16 << 10)

typedef struct weft_private_stack {
    char *low;    // its lowest address: that of the guard, if it has one
    size_t size;  // guard included
    size_t guard; // bytes
} weft_private_stack;

typedef struct weft_private_stacks weft_private_stacks;

// A thread's stacks.  NULL: ENOMEM.
weft_private_stacks *weft_private_stacks_create(void);

// Unmaps all of them.
void weft_private_stacks_destroy(weft_private_stacks *s);

// A stack of at least `size` bytes (rounded up to a power of two).  -1: ENOMEM, EINVAL.
int weft_private_stack_take(weft_private_stacks *s, size_t size, weft_private_stack *stack);

// The last one given back is the first one taken again.  Never fails.
void weft_private_stack_give(weft_private_stacks *s, const weft_private_stack *stack);

// Gives the memory of the free stacks back to the kernel.
void weft_private_stacks_trim(weft_private_stacks *s);

// Why the last take failed: text for the dump, NULL if none did.
const char *weft_private_stacks_trouble(const weft_private_stacks *s);

// For tests: how guards are made from now on.  `allowed` stands in for vm.max_map_count; 0: the
// real one.
enum { WEFT_GUARD_BEST, WEFT_GUARD_ONE_BY_ONE, WEFT_GUARD_MPROTECT };
void weft_private_stacks_force(int how, size_t allowed);

#ifdef __cplusplus
}
#endif

#endif
