// stack.cc: guarded stacks by the million (stack.h).
//
// A stack guarded in the usual way, mmap and mprotect, is two mappings, and a process may have
// 65,530 of them (vm.max_map_count): the 32,753rd coroutine fails.  Here stacks of one
// size are cut from large chunks that reserve address space only, and a guard is made by
// MADV_GUARD_INSTALL (Linux 6.13), which marks the page table and splits no mapping: a
// million stacks are a handful of mappings.  Where the kernel lacks it, or refuses because the
// process locks its memory (mlockall), the guard is made by mprotect and counted, so that running
// out is ENOMEM here, with a reason for the dump, before other mmaps of the process fail.
//
// Each size (a power of two) has its own class.  Free stacks are kept in an array beside them,
// not linked through them, so that the kernel can have their memory back: the array
// is a stack itself, the warm ones on top; when there are too many, the lower half of the warm ones
// turns cold, in each class.  The array has room for every stack that is cut, so giving back never
// fails.  A trim unmaps the chunks of which all stacks are free.
#include "stack.h"

#include <base/errno.h>

#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>

using namespace weft;

#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#endif
#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#endif
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif
#define PIDFD_OF_SELF (-10001) // PIDFD_SELF_THREAD_GROUP, Linux 6.14

#define LARGEST_CHUNK ((size_t)4 << 30)
static const int CLASSES = 27;             // 16 KiB .. 1 TiB
static const size_t FIRST_BATCH = 4;       // stacks cut at a time, doubling ...
static const size_t LAST_BATCH = 64;       // ... up to this
static const size_t WARM = 832;            // free stacks that keep their memory, with spares 1,024
static const size_t SPARE_MAPPINGS = 4096; // left to the rest of the process

namespace {
struct chunk {
    struct chunk *next;
    char *base;
    size_t size;
    size_t cut;        // stacks cut from it
    size_t mprotected; // guards made by mprotect
};

struct stack_class {
    char **free; // [0, cold) given back to the kernel, [cold, n) warm
    size_t n, cold, room;
    size_t cut;        // stacks cut so far
    size_t batch;      // of the next cut
    char *fresh, *end; // of the newest chunk: not cut yet
    chunk *chunks;
};
} // namespace

struct weft::stacks {
    size_t page;
    size_t warm; // free ones of all classes
    char trouble[160];
    stack_class classes[CLASSES];
};

static int forced;               // WEFT_GUARD_*
static int guards_lacking;       // the kernel takes MADV_GUARD_INSTALL and does nothing
static int vector_lacking;       // ... or not for many ranges in one call
static size_t guards_mprotected; // in the process
static size_t mappings_allowed;  // vm.max_map_count; 0: not read yet

void weft::stacks_force(int how, size_t allowed)
{
    forced = how;
    mappings_allowed = allowed;
}

// A take fails: ENOMEM, whatever the system call said, which is in the text.
static int refuse(stacks *s, const char *what, size_t size)
{
    snprintf(s->trouble, sizeof s->trouble, "no more stacks: %s of %zu bytes: %s", what, size,
             strerrordesc_np(errno));
    return fail_with(ENOMEM);
}

// ---- Guards ----

// With -fstack-clash-protection no frame jumps a guard of one page; but on aarch64 compilers
// count on 64 KiB.  There a stack too small for that has a page and goes without the promise.
static size_t guard_size(const stacks *s, size_t stride)
{
#ifdef __aarch64__
    const size_t large = (size_t)64 << 10;
    if (stride >= 2 * large && s->page < large)
        return large;
#else
    (void)stride;
#endif
    return s->page;
}

static size_t read_max_map_count(void)
{
    size_t count = 65530;
    char text[32] = "";
    int fd = uncancelled(open, "/proc/sys/vm/max_map_count", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return count;
    if (uncancelled(read, fd, text, sizeof text - 1) > 0)
        count = strtoul(text, nullptr, 10);
    uncancelled(close, fd);
    return count;
}

// Each guard splits a mapping in two.  Relaxed: the count only has to be right in the end.
static size_t guard_by_mprotect(stacks *s, chunk *c, char *low, size_t stride, size_t n)
{
    if (__atomic_load_n(&mappings_allowed, __ATOMIC_RELAXED) == 0)
        __atomic_store_n(&mappings_allowed, read_max_map_count(), __ATOMIC_RELAXED);
    size_t allowed = __atomic_load_n(&mappings_allowed, __ATOMIC_RELAXED);
    size_t spare = allowed / 2 < SPARE_MAPPINGS ? allowed / 2 : SPARE_MAPPINGS;
    for (size_t i = 0; i < n; i++) {
        size_t guards = __atomic_add_fetch(&guards_mprotected, 1, __ATOMIC_RELAXED);
        errno = 0;
        if (2 * guards + spare > allowed ||
            mprotect(low + i * stride, guard_size(s, stride), PROT_NONE) != 0) {
            __atomic_sub_fetch(&guards_mprotected, 1, __ATOMIC_RELAXED);
            snprintf(s->trouble, sizeof s->trouble,
                     "no more guarded stacks: %zu guards take two mappings each, and "
                     "vm.max_map_count is %zu (raise it with sysctl)%s%s",
                     guards - 1, allowed, errno != 0 ? "; mprotect: " : "",
                     errno != 0 ? strerrordesc_np(errno) : "");
            return i;
        }
        c->mprotected++;
    }
    return n;
}

// The same advice on `size` bytes of each of n stacks.
static int advise(char *first, size_t size, size_t stride, size_t n, int advice)
{
    struct iovec ranges[LAST_BATCH];
    for (size_t i = 0; i < n; i++) {
        ranges[i].iov_base = first + i * stride;
        ranges[i].iov_len = size;
    }
    long done = syscall(SYS_process_madvise, PIDFD_OF_SELF, ranges, n, advice, 0);
    return done == (long)(n * size);
}

static size_t guard_by_mark(stacks *s, char *low, size_t stride, size_t n)
{
    if (n > 1 && forced == GUARD_BEST && !__atomic_load_n(&vector_lacking, __ATOMIC_RELAXED)) {
        if (advise(low, guard_size(s, stride), stride, n, MADV_GUARD_INSTALL))
            return n;
        __atomic_store_n(&vector_lacking, 1, __ATOMIC_RELAXED);
    }
    for (size_t i = 0; i < n; i++)
        if (madvise(low + i * stride, guard_size(s, stride), MADV_GUARD_INSTALL) != 0)
            return i;
    return n;
}

// Advice may be taken and ignored (qemu's emulation does): the first guard of the process is tried.
static int marks_work(stacks *s, char *low)
{
    static int seen; // 1: they do
    if (__atomic_load_n(&seen, __ATOMIC_RELAXED))
        return 1;
    if (madvise(low, s->page, MADV_POPULATE_READ) == 0)
        return 0;
    __atomic_store_n(&seen, 1, __ATOMIC_RELAXED);
    return 1;
}

// Who has cut that many will use these too: their top pages, each of which would be a fault, in one
// call.  At most a batch of pages is taken too early.  Where it fails the faults come.  Returns
// whether there may be memory in the stacks now.
static int populate_tops(const stacks *s, char *low, size_t stride, size_t n)
{
    int saved = errno;
    if (n != LAST_BATCH || forced != GUARD_BEST ||
        __atomic_load_n(&vector_lacking, __ATOMIC_RELAXED))
        return 0;
    advise(low + stride - s->page, s->page, stride, n, MADV_POPULATE_WRITE);
    errno = saved;
    return 1;
}

// Guards n stacks from `low` on; returns how many it could.  Leaves errno alone.
static size_t guard(stacks *s, chunk *c, char *low, size_t stride, size_t n)
{
    int saved = errno;
    size_t done = 0;
    if (forced != GUARD_MPROTECT && !__atomic_load_n(&guards_lacking, __ATOMIC_RELAXED)) {
        done = guard_by_mark(s, low, stride, n);
        if (done > 0 && !marks_work(s, low)) {
            __atomic_store_n(&guards_lacking, 1, __ATOMIC_RELAXED);
            done = 0;
        }
    }
    if (done < n)
        done += guard_by_mprotect(s, c, low + done * stride, stride, n - done);
    errno = saved;
    return done;
}

// ---- Chunks ----

// Chunks double, so that few of them hold many stacks; a smaller one does where
// address space is short.
static int chunk_map(stacks *s, stack_class *k, size_t stride)
{
    chunk *c = (chunk *)calloc(1, sizeof *c);
    if (c == nullptr)
        return refuse(s, "malloc", sizeof *c);
    size_t size = stride * (k->cut < 16 ? 16 : k->cut);
    if (size > LARGEST_CHUNK)
        size = LARGEST_CHUNK > stride ? LARGEST_CHUNK : stride;
    for (;; size = size / 2 < stride ? stride : size / 2) {
        void *p = mmap(nullptr, size, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
        if (p != MAP_FAILED) {
            c->base = (char *)p;
            break;
        }
        if (size == stride) {
            free_keep_errno(c);
            return refuse(s, "mmap", size);
        }
    }
    // A huge page would make one shallow stack cost 2 MiB.
    madvise(c->base, size, MADV_NOHUGEPAGE);
    c->size = size;
    c->next = k->chunks;
    k->chunks = c;
    k->fresh = c->base;
    k->end = c->base + size - size % stride;
    return 0;
}

static int make_room(stacks *s, stack_class *k, size_t n)
{
    if (k->cut + n <= k->room)
        return 0;
    size_t room = (k->cut + n) * 2;
    char **grown = (char **)realloc(k->free, room * sizeof *grown);
    if (grown == nullptr)
        return refuse(s, "realloc", room * sizeof *grown);
    k->free = grown;
    k->room = room;
    return 0;
}

// Cuts a batch of stacks from the newest chunk.  Called when none is free.
static int cut(stacks *s, stack_class *k, size_t stride)
{
    if (k->fresh == k->end && chunk_map(s, k, stride) != 0)
        return -1;
    size_t n = (size_t)(k->end - k->fresh) / stride;
    size_t batch = k->batch != 0 ? k->batch : FIRST_BATCH;
    n = n < batch ? n : batch;
    if (make_room(s, k, n) != 0)
        return -1;
    n = guard(s, k->chunks, k->fresh, stride, n);
    if (n == 0)
        return fail_with(ENOMEM);
    int warm = populate_tops(s, k->fresh, stride, n);
    // The lowest is taken first: top of the array.
    for (size_t i = n; i-- > 0;)
        k->free[k->n++] = k->fresh + i * stride;
    k->fresh += n * stride;
    k->chunks->cut += n;
    k->cut += n;
    k->cold = warm ? 0 : k->n;
    s->warm += k->n - k->cold;
    k->batch = batch * 2 > LAST_BATCH ? LAST_BATCH : batch * 2;
    return 0;
}

// ---- Taking and giving ----

stacks *weft::stacks_create(bool one_by_one)
{
    if (one_by_one)
        __atomic_store_n(&vector_lacking, 1, __ATOMIC_RELAXED);
    stacks *s = (stacks *)calloc(1, sizeof *s);
    if (s != nullptr)
        s->page = (size_t)sysconf(_SC_PAGESIZE);
    return s;
}

// Unmaps the chunk that *at points to, and frees its place there.  -1: it has to stay, for that
// would split a mapping, and there may be no more.
static int chunk_unmap(chunk **at)
{
    chunk *c = *at;
    if (munmap(c->base, c->size) != 0)
        return -1;
    *at = c->next;
    __atomic_sub_fetch(&guards_mprotected, c->mprotected, __ATOMIC_RELAXED);
    free(c);
    return 0;
}

static void class_destroy(stack_class *k)
{
    while (k->chunks != nullptr && chunk_unmap(&k->chunks) == 0)
        ;
    free(k->free);
}

void weft::stacks_destroy(stacks *s)
{
    if (s == nullptr)
        return;
    for (int i = 0; i < CLASSES; i++)
        class_destroy(&s->classes[i]);
    free(s);
}

// The class whose stacks have at least `size` bytes.
static int class_of(size_t size)
{
    int k = size <= STACK_LEAST ? 0 : 64 - 14 - __builtin_clzll(size - 1);
    return k;
}

int weft::stack_take(stacks *s, size_t size, stack *stack)
{
    int number = class_of(size < 4 * s->page ? 4 * s->page : size);
    if (number >= CLASSES) {
        errno = ENOMEM;
        return refuse(s, "a stack", size);
    }
    stack_class *k = &s->classes[number];
    size_t stride = STACK_LEAST << number;
    if (k->n == 0 && cut(s, k, stride) != 0)
        return -1;
    stack->low = k->free[--k->n];
    stack->size = stride;
    stack->guard = guard_size(s, stride);
    if (k->cold > k->n)
        k->cold = k->n;
    else
        s->warm--;
    return 0;
}

// How many of the n entries are neighbours in memory, upwards (step > 0) or downwards.
static size_t run_of(char *const *free, size_t n, ptrdiff_t step)
{
    size_t run = 1;
    while (run < n && free[run] == free[run - 1] + step)
        run++;
    return run;
}

// Gives back what lies below `upto`.  Neighbours go in one call: a guard survives it.
static void chill(stacks *s, stack_class *k, size_t upto)
{
    size_t stride = STACK_LEAST << (k - s->classes);
    s->warm -= upto - k->cold;
    while (k->cold < upto) {
        char **first = k->free + k->cold, *low = *first;
        size_t run = run_of(first, upto - k->cold, (ptrdiff_t)stride);
        if (run == 1) {
            run = run_of(first, upto - k->cold, -(ptrdiff_t)stride);
            low = first[run - 1];
        }
        madvise(low, run * stride, MADV_DONTNEED);
        k->cold += run;
    }
}

void weft::stack_give(stacks *s, const stack *stack)
{
    int saved = errno;
    stack_class *k = &s->classes[class_of(stack->size)];
    k->free[k->n++] = stack->low;
    if (++s->warm > WARM)
        for (stack_class &each : s->classes)
            chill(s, &each, each.n - (each.n - each.cold) / 2);
    errno = saved;
}

static bool is_in(const chunk *c, const char *low)
{
    return low >= c->base && low < c->base + c->size;
}

// Unmaps the chunk that *at points to if none of its stacks is taken.
static int unmap_if_free(stack_class *k, chunk **at)
{
    const chunk *c = *at;
    size_t n = 0, cut = c->cut, kept = 0;
    for (size_t i = 0; i < k->n; i++)
        n += is_in(c, k->free[i]);
    if (n != cut)
        return -1;
    const chunk was = *c;
    int newest = c == k->chunks;
    if (chunk_unmap(at) != 0)
        return -1;
    for (size_t i = 0; i < k->n; i++)
        if (!is_in(&was, k->free[i]))
            k->free[kept++] = k->free[i];
    k->cold = k->n = kept;
    k->cut -= cut;
    if (newest)
        k->fresh = k->end = nullptr;
    return 0;
}

static void class_trim(stacks *s, stack_class *k)
{
    chill(s, k, k->n);
    for (chunk **at = &k->chunks; *at != nullptr;)
        if (unmap_if_free(k, at) != 0)
            at = &(*at)->next;
    if (k->cut == 0) {
        free(k->free);
        memset(k, 0, sizeof *k);
    }
}

void weft::stacks_trim(stacks *s)
{
    for (stack_class &each : s->classes)
        class_trim(s, &each);
}

const char *weft::stacks_trouble(const stacks *s)
{
    return s->trouble[0] != 0 ? s->trouble : nullptr;
}
