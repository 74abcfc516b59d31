// dump.cc: this thread's coroutines as text (coro.h).
#include "coroutine.h"

#include <base/symbol.h>

#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

using namespace weft;

static const char *state_name(const weft_coro *co)
{
    static const char *const names[] = {"new", "suspended", "running", "waits for its child",
                                        "dead"};
    return names[weft_coro_state(co)];
}

// Where the suspended call returns to: behind what the swap saved.
static const void *stands_at(const weft_coro *co)
{
#if HAVE_SWAP && defined(__x86_64__)
    return ((void **)co->sp)[6];
#elif HAVE_SWAP && defined(__aarch64__)
    return ((void **)co->sp)[1];
#else
    (void)co;
    return nullptr;
#endif
}

static void print_place(FILE *out, const weft_coro *co)
{
    if (co->special & SPECIAL_UCONTEXT)
        return;
    fputs(", ", out);
    print_symbol(out, co->started ? stands_at(co) : (const void *)co->fn);
}

static void print_stack(FILE *out, const weft_coro *co, int running)
{
    const char *sp = running ? (const char *)__builtin_frame_address(0) : (const char *)co->sp;
    const char *top = co->stack.low + co->stack.size;
    fprintf(out, ", %zu of %zu bytes of stack", (size_t)(top - sp), co->stack.size);
}

static void print(FILE *out, const weft_coro *co, int depth)
{
    int state = weft_coro_state(co);
    int indent = 2 * (depth < 50 ? depth : 50) + 2; // or a deep chain's dump would be its square
    fprintf(out, "%*s\"%s\" %p: %s", indent, "", co->name, (const void *)co, state_name(co));
    if (co->waits_for != nullptr) {
        fprintf(out, ", waits for %s", co->waits_for);
        if (co->waits_on != nullptr)
            fprintf(out, " %p", co->waits_on);
    }
    if (co->stack.low != nullptr && state != WEFT_CORO_DEAD) {
        print_stack(out, co, state == WEFT_CORO_RUNNING);
        if (state != WEFT_CORO_RUNNING)
            print_place(out, co);
    }
    fputc('\n', out);
}

void weft_coro_dump(FILE *out)
{
    int saved = errno, depth = 0;
    coro_thread *t = coro_enter();
    if (t != nullptr) {
        if (t->before_dump != nullptr)
            t->before_dump();
        fprintf(out, "weft: the coroutines of thread %d\n", (int)gettid());
        for (const weft_coro *co = &t->main; co != nullptr; co = coro_next(&t->main, co, &depth))
            print(out, co, depth);
        const char *trouble = stacks_trouble(t->stacks);
        if (trouble != nullptr)
            fprintf(out, "weft: %s\n", trouble);
    }
    errno = saved;
}
