// transfer.cc: the slow side of a transfer, and the two backends' first steps.
//
// Whatever must be exchanged between two coroutines is exchanged before the stacks
// are: control words, signal mask and C++ exceptions are loaded for the one to
// come while still on the stack of the one that goes.  Only the sanitizers and ucontext
// want something done on arrival.
//
// The coroutines that do not keep their own control words or mask share one set, as
// the functions of one thread do; it is put aside in the main coroutine's machine while one
// that keeps its own runs.
//
// C++: two coroutines that yield inside catch blocks would rethrow each other's exceptions,
// because the runtime's stack of caught ones is the thread's.  It is found by a weak
// reference, so a C program links without the C++ runtime.
//
// A shadow stack (x86 CET, aarch64 GCS) pairs calls with returns and so forbids the assembly
// swap; the C library's swapcontext switches shadow stacks too and takes over.
#include "coroutine.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

#if defined(__has_include)
#if __has_include(<valgrind/valgrind.h>)
#include <valgrind/valgrind.h>
#define HAVE_VALGRIND 1
#endif
#endif

using namespace weft;

#define ON_BOTH_STACKS __attribute__((noinline, no_sanitize("thread"), no_sanitize("address")))

// A program that is built with a sanitizer has these, whether this library was or not.
extern "C" {
#define WEAK __attribute__((weak))
WEAK void *__cxa_get_globals(void) noexcept;
WEAK void __sanitizer_start_switch_fiber(void **fake_stack, const void *bottom, size_t size);
WEAK void __sanitizer_finish_switch_fiber(void *fake_stack, const void **bottom, size_t *size);
WEAK void __asan_unpoison_memory_region(void const volatile *address, size_t size);
WEAK void __lsan_register_root_region(const void *address, size_t size);
WEAK void __lsan_unregister_root_region(const void *address, size_t size);
WEAK void *__tsan_get_current_fiber(void);
WEAK void *__tsan_create_fiber(unsigned flags);
WEAK void __tsan_destroy_fiber(void *fiber);
WEAK void __tsan_switch_to_fiber(void *fiber, unsigned flags);
}

struct weft::slow_machine {
    uint32_t control[2]; // mxcsr and the x87 control word, or fpcr
    sigset_t mask;
    void *fake_stack; // ASan's
    void *fiber;      // TSan's
    const void *bottom;
    size_t size;
    unsigned valgrind;  // stack id
    ucontext_t context; // last: absent but on the ucontext backend
};

static exceptions_in_flight no_exceptions;
static int ucontext_forced;

static constexpr weft_coro make_nobody(void)
{
    weft_coro co = {};
    co.up = &nobody;
    co.special = SPECIAL_NOBODY;
    return co;
}

static constexpr coro_thread outside(void)
{
    coro_thread t = {};
    t.current = &nobody;
    t.exceptions = &no_exceptions;
    return t;
}

weft_coro weft::nobody = make_nobody();
__thread coro_thread weft::coro_here = outside();

void weft::coro_force_ucontext(int on)
{
    ucontext_forced = on;
}

static int shadow_stack(void)
{
    uint64_t active = 0;
#if defined(__x86_64__)
    __asm__ volatile("rdsspq %0" : "+r"(active)); // does nothing where there is none
#elif defined(__aarch64__)
    register uint64_t x16 __asm__("x16") = 1;
    __asm__ volatile("hint #40" : "+r"(x16)); // chkfeat: clears the bit of what is on
    active = x16 == 0;
#endif
    return active != 0;
}

static int under_valgrind(void)
{
#ifdef HAVE_VALGRIND
    return RUNNING_ON_VALGRIND != 0;
#else
    return 0;
#endif
}

void weft::transfer_setup(coro_thread *t)
{
    if (__cxa_get_globals != nullptr)
        t->exceptions = (exceptions_in_flight *)__cxa_get_globals();
    if (__sanitizer_start_switch_fiber != nullptr || __tsan_switch_to_fiber != nullptr)
        t->watched |= SPECIAL_WATCHED;
    if (!HAVE_SWAP || ucontext_forced || shadow_stack())
        t->watched |= SPECIAL_UCONTEXT;
    t->valgrind = under_valgrind() != 0;
}

// ---- Control words, mask, exceptions ----

static void control_get(uint32_t control[2])
{
#if defined(__x86_64__)
    uint16_t x87;
    __asm__ volatile("stmxcsr %0" : "=m"(control[0]));
    __asm__ volatile("fnstcw %0" : "=m"(x87));
    control[1] = x87;
#elif defined(__aarch64__)
    uint64_t fpcr;
    __asm__ volatile("mrs %0, fpcr" : "=r"(fpcr));
    control[0] = (uint32_t)fpcr;
#else
    control[0] = 0; // swapcontext keeps them
#endif
}

static void control_set(const uint32_t control[2])
{
#if defined(__x86_64__)
    uint16_t x87 = (uint16_t)control[1];
    __asm__ volatile("ldmxcsr %0" : : "m"(control[0]));
    __asm__ volatile("fldcw %0" : : "m"(x87));
#elif defined(__aarch64__)
    uint64_t fpcr = control[0];
    __asm__ volatile("msr fpcr, %0" : : "r"(fpcr));
#else
    (void)control;
#endif
}

// Whose machine holds the words (or the mask) of `co`: its own or the shared set.
static slow_machine *keeper(weft_coro *co, uint32_t what)
{
    return co->special & what ? co->machine : co->thread->main.machine;
}

static void exchange(weft_coro *self, weft_coro *to)
{
    uint32_t special = self->special | to->special;
    exceptions_in_flight *now = self->thread->exceptions;
    if (in_flight(self->thread)) {
        self->exceptions = *now;
        self->special |= SPECIAL_EXCEPTIONS;
        memset(now, 0, sizeof *now);
    }
    if (to->special & SPECIAL_EXCEPTIONS) {
        *now = to->exceptions;
        to->special &= ~(uint32_t)SPECIAL_EXCEPTIONS;
    }
    if (special & SPECIAL_FP) {
        control_get(keeper(self, SPECIAL_FP)->control);
        control_set(keeper(to, SPECIAL_FP)->control);
    }
    if (special & SPECIAL_MASK)
        pthread_sigmask(SIG_SETMASK, &keeper(to, SPECIAL_MASK)->mask,
                        &keeper(self, SPECIAL_MASK)->mask);
}

// ---- The transfer ----

// The call in which a cancelled one is suspended fails.
static void *deliver(weft_coro *to, void *value)
{
    if (!(to->special & SPECIAL_PENDING))
        return value;
    to->special &= ~(uint32_t)SPECIAL_PENDING;
    errno = to->error;
    return WEFT_FAILED;
}

static ON_BOTH_STACKS void announce(weft_coro *self, weft_coro *to, int last)
{
    slow_machine *m = to->machine;
    if (__sanitizer_start_switch_fiber != nullptr)
        __sanitizer_start_switch_fiber(last ? nullptr : &self->machine->fake_stack, m->bottom,
                                       m->size);
    if (__tsan_switch_to_fiber != nullptr)
        __tsan_switch_to_fiber(m->fiber, 0);
}

static ON_BOTH_STACKS void arrived(weft_coro *co)
{
    if (__sanitizer_finish_switch_fiber != nullptr)
        __sanitizer_finish_switch_fiber(co->machine->fake_stack, nullptr, nullptr);
}

ON_BOTH_STACKS void *weft::transfer_slowly(weft_coro *self, weft_coro *to, void *value)
{
    to->special &= ~(uint32_t)SPECIAL_NESTED;
    uint32_t both = self->special | to->special;
    if (both != SPECIAL_UCONTEXT || in_flight(self->thread)) {
        exchange(self, to);
        if (both & SPECIAL_WATCHED)
            announce(self, to, 0);
        value = deliver(to, value);
    }
    self->thread->current = to;
    if (both & SPECIAL_UCONTEXT) {
        self->sp = __builtin_frame_address(0);
        to->value = value;
        swapcontext(&self->machine->context, &to->machine->context);
        value = self->value;
    } else {
        value = swap(&self->sp, to->sp, value);
    }
    if (self->special & SPECIAL_WATCHED)
        arrived(self);
    return value;
}

ON_BOTH_STACKS void weft::leave(weft_coro *co, weft_coro *to, void *value)
{
    to->special &= ~(uint32_t)SPECIAL_NESTED;
    exchange(co, to);
    co->thread->current = to;
    if (co->special & SPECIAL_WATCHED)
        announce(co, to, 1);
    value = deliver(to, value);
    if (co->special & SPECIAL_UCONTEXT) {
        to->value = value;
        setcontext(&to->machine->context);
    } else {
        land(to->sp, value);
    }
    abort(); // a dead one was resumed
}

// ---- The first step ----

void weft::coro_arrive(weft_coro *co)
{
    arrived(co);
}

static void begin_ucontext(void)
{
    coro_begin(coro_here.current->value);
}

void weft::prepare_ucontext(weft_coro *co, char *top)
{
    ucontext_t *c = &co->machine->context;
    char *low = co->stack.low + co->stack.guard;
    getcontext(c);
    c->uc_stack.ss_sp = low;
    c->uc_stack.ss_size = (size_t)(top - low);
    c->uc_link = nullptr;
    makecontext(c, begin_ucontext, 0);
    co->sp = top;
}

// ---- The machine ----

static void stack_bounds(weft_coro *co)
{
    slow_machine *m = co->machine;
    pthread_attr_t attributes;
    void *low = nullptr;
    if (co != &co->thread->main) {
        m->bottom = co->stack.low + co->stack.guard;
        m->size = co->stack.size - co->stack.guard;
        if (__lsan_register_root_region != nullptr) // what a suspended one holds is no leak
            __lsan_register_root_region(m->bottom, m->size);
    } else if (pthread_getattr_np(pthread_self(), &attributes) == 0) {
        pthread_attr_getstack(&attributes, &low, &m->size);
        pthread_attr_destroy(&attributes);
        m->bottom = low;
    }
}

static int machine_new(weft_coro *co)
{
    size_t size =
        co->special & SPECIAL_UCONTEXT ? sizeof(slow_machine) : offsetof(slow_machine, context);
    if (co->machine == nullptr)
        co->machine = (slow_machine *)calloc(1, size);
    return co->machine == nullptr ? -1 : 0;
}

int weft::slow_machine_create(weft_coro *co)
{
    const uint32_t needs = SPECIAL_UCONTEXT | SPECIAL_WATCHED;
    // swapcontext keeps mask and control words anyway.
    co->special |= co->thread->watched & SPECIAL_UCONTEXT ? 0 : co->keep;
    co->special |= co->thread->watched;
    if (!(co->special & (needs | SPECIAL_FP | SPECIAL_MASK)) && !co->thread->valgrind)
        return 0;
    if (machine_new(co) != 0 || machine_new(&co->thread->main) != 0)
        return -1;
    slow_machine *m = co->machine;
    control_get(m->control);
    if (co->special & SPECIAL_MASK)
        pthread_sigmask(SIG_SETMASK, nullptr, &m->mask);
    if (co->special & SPECIAL_WATCHED)
        stack_bounds(co);
    if (__tsan_create_fiber != nullptr)
        m->fiber = co == &co->thread->main ? __tsan_get_current_fiber() : __tsan_create_fiber(0);
#ifdef HAVE_VALGRIND
    if (co->thread->valgrind && co != &co->thread->main)
        m->valgrind = VALGRIND_STACK_REGISTER(co->stack.low, co->stack.low + co->stack.size);
#endif
    return 0;
}

void weft::slow_machine_destroy(weft_coro *co)
{
    slow_machine *m = co->machine;
    int saved = errno;
    if (m == nullptr)
        return;
    // The frames of one that never returned are still poisoned.
    if (__asan_unpoison_memory_region != nullptr && co->stack.low != nullptr)
        __asan_unpoison_memory_region(co->stack.low + co->stack.guard,
                                      co->stack.size - co->stack.guard);
    if (__lsan_unregister_root_region != nullptr && m->bottom != nullptr && co != &co->thread->main)
        __lsan_unregister_root_region(m->bottom, m->size);
    if (m->fiber != nullptr && co != &co->thread->main)
        __tsan_destroy_fiber(m->fiber);
#ifdef HAVE_VALGRIND
    if (co->thread->valgrind && co != &co->thread->main)
        VALGRIND_STACK_DEREGISTER(m->valgrind);
#endif
    free(m);
    co->machine = nullptr;
    errno = saved;
}
