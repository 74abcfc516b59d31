// file_ring.cc: requests for files by the kernel's own queues (io_uring(7)), one pair for each
// weft_io_run.
//
// A request is submitted and its completion collected by the thread that waits; the ring's
// descriptor is readable when there is one, and lies in the same set as all others.  Much is
// complete when the submission returns.
//
// The kernel may use a request's memory until its completion has come, so one that nobody waits for
// any more is cancelled, and released then; at the end of weft_io_run what is still under way is
// left to a thread for files.  A child of fork shares the queues with its parent: it only lets go
// of them, and makes its own.
//
// Where there is no such thing (before Linux 5.6; refused by a sandbox or the system's settings),
// and for what it can't do, there are the threads.
#include "descriptor.h"
#include "file_request.h"
#include "job.h"

#include <base/above_streams.h>
#include <base/errno.h>
#include <base/list.h>

#include <fcntl.h>
#include <linux/io_uring.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>

using namespace weft;

static const uint32_t ENTRIES = 64; // submitted at once: one
static const uint32_t MOST = 1024;  // under way

bool weft::files_by_ring = true;

// By file_call, as numbers: older headers lack the last.  0: it has none.
static const uint8_t OPCODES[] = {
    IORING_OP_FSYNC,   IORING_OP_OPENAT,  IORING_OP_STATX,  IORING_OP_READ,     IORING_OP_WRITE,
    35 /* RENAMEAT */, 36 /* UNLINKAT */, 37 /* MKDIRAT */, 55 /* FTRUNCATE */, 0};

namespace {
struct file_ring {
    io_source source;       // the first member
    file_request under_way; // the ring's head
    uint32_t flying;        // completions that are still to come
    uint64_t has;           // opcodes, by bits
    int fd;
    void *queues; // both, and then the memory of what is submitted
    size_t queues_size, entries_size;
    struct io_uring_sqe *entries;
    const struct io_uring_cqe *completions;
    uint32_t *tail, *array, mask;               // of the submissions
    uint32_t *done_head, *done_tail, done_mask; // of the completions
};
} // namespace

static __thread file_ring *ring_here; // nullptr until needed

// ---- The queues ----

static long enter(const file_ring *ring, unsigned submit, unsigned least)
{
    return syscall(SYS_io_uring_enter, ring->fd, submit, least,
                   least > 0 ? IORING_ENTER_GETEVENTS : 0, nullptr, (size_t)0);
}

static void close_ring(file_ring *ring)
{
    int saved = errno;
    if (ring->queues != nullptr)
        munmap(ring->queues, ring->queues_size);
    if (ring->entries != nullptr)
        munmap(ring->entries, ring->entries_size);
    close_keep_errno(&ring->fd);
    free(ring);
    errno = saved;
}

static void *map(const file_ring *ring, size_t size, off_t what)
{
    void *p =
        mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, ring->fd, what);
    return p == MAP_FAILED ? nullptr : p;
}

static int map_queues(file_ring *ring, const struct io_uring_params *p)
{
    size_t end = p->sq_off.array + p->sq_entries * sizeof(uint32_t);
    size_t done_end = p->cq_off.cqes + p->cq_entries * sizeof(struct io_uring_cqe);
    ring->queues_size = end > done_end ? end : done_end;
    ring->entries_size = p->sq_entries * sizeof(struct io_uring_sqe);
    ring->queues = map(ring, ring->queues_size, IORING_OFF_SQ_RING);
    ring->entries = (struct io_uring_sqe *)map(ring, ring->entries_size, IORING_OFF_SQES);
    if (ring->queues == nullptr || ring->entries == nullptr)
        return -1;
    char *at = (char *)ring->queues;
    ring->tail = (uint32_t *)(void *)(at + p->sq_off.tail);
    ring->mask = p->sq_entries - 1;
    ring->array = (uint32_t *)(void *)(at + p->sq_off.array);
    ring->done_head = (uint32_t *)(void *)(at + p->cq_off.head);
    ring->done_tail = (uint32_t *)(void *)(at + p->cq_off.tail);
    ring->done_mask = p->cq_entries - 1;
    ring->completions = (const struct io_uring_cqe *)(const void *)(at + p->cq_off.cqes);
    return 0;
}

// Which opcodes it has.
static int probe(file_ring *ring)
{
    enum { ASKED = 64 };
    alignas(struct io_uring_probe) char
        memory[sizeof(struct io_uring_probe) + ASKED * sizeof(struct io_uring_probe_op)] = {};
    struct io_uring_probe *p = (struct io_uring_probe *)(void *)memory;
    if (syscall(SYS_io_uring_register, ring->fd, IORING_REGISTER_PROBE, p, ASKED) != 0)
        return -1;
    for (int i = 0; i < p->ops_len && i < ASKED; i++)
        if (p->ops[i].flags & IO_URING_OP_SUPPORTED)
            ring->has |= (uint64_t)1 << p->ops[i].op;
    uint64_t least = (uint64_t)1 << IORING_OP_READ | (uint64_t)1 << IORING_OP_ASYNC_CANCEL;
    return (ring->has & least) == least ? 0 : fail_with(ENOSYS);
}

static file_ring *open_ring(void)
{
    struct io_uring_params p = {};
    const uint32_t needed = IORING_FEAT_SINGLE_MMAP | IORING_FEAT_NODROP;
    file_ring *ring = (file_ring *)calloc(1, sizeof *ring);
    if (ring == nullptr)
        return nullptr;
    list_init(&ring->under_way);
    p.flags = IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP;
    p.cq_entries = 2 * MOST; // each may be cancelled
    ring->fd = above_streams((int)syscall(SYS_io_uring_setup, ENTRIES, &p));
    if (ring->fd >= 0 && (p.features & needed) != needed)
        errno = ENOSYS;
    else if (ring->fd >= 0 && map_queues(ring, &p) == 0 && probe(ring) == 0)
        return ring;
    if (is_refused(errno))
        __atomic_store_n(&files_by_ring, false, __ATOMIC_RELAXED);
    close_ring(ring);
    return nullptr;
}

static int submit(file_ring *ring, const struct io_uring_sqe *what)
{
    uint32_t tail = *ring->tail;
    ring->entries[tail & ring->mask] = *what;
    ring->array[tail & ring->mask] = tail & ring->mask;
    // Release: the kernel sees the entry, which it takes before this returns.
    __atomic_store_n(ring->tail, tail + 1, __ATOMIC_RELEASE);
    if (enter(ring, 1, 0) == 1) {
        ring->flying++;
        return 0;
    }
    __atomic_store_n(ring->tail, tail, __ATOMIC_RELEASE);
    return -1;
}

static void settle(file_request *r, int result)
{
    list_remove(r);
    r->result = result;
    if (r->abandoned) {
        file_release(r, true);
        return;
    }
    r->done = 1;
    end_wait(r->waiter, 0);
}

static void collect(file_ring *ring)
{
    int saved = errno;
    uint32_t head = *ring->done_head;
    // Acquire: what the kernel wrote before is seen.
    while (head != __atomic_load_n(ring->done_tail, __ATOMIC_ACQUIRE)) {
        struct io_uring_cqe each = ring->completions[head++ & ring->done_mask];
        __atomic_store_n(ring->done_head, head, __ATOMIC_RELEASE); // it may be written again
        ring->flying--;
        if (each.user_data != 0)
            settle((file_request *)(uintptr_t)each.user_data, each.res);
    }
    errno = saved;
}

// ---- In weft_io_run ----

static void on_event(io_source *source)
{
    collect((file_ring *)(void *)source);
}

// The kernel does what the parent asked for, with the parent's memory.
static void forked(io_source *source)
{
    file_ring *ring = (file_ring *)(void *)source;
    list_remove(source);
    ring_here = nullptr;
    for (file_request *next, *r = ring->under_way.next; r != &ring->under_way; r = next) {
        next = r->next;
        r->lost = 1;
        if (r->abandoned)
            file_release(r, false);
        else
            end_wait(r->waiter, ECANCELED);
    }
    close_ring(ring);
}

// In a thread for files.
static void *drain(void *arg)
{
    file_ring *ring = (file_ring *)arg;
    while (ring->flying > 0) {
        if (enter(ring, 0, 1) < 0 && !is_for_now(errno))
            return nullptr; // the kernel may still use the memory
        collect(ring);
    }
    close_ring(ring);
    return nullptr;
}

static void end(io_source *source)
{
    file_ring *ring = (file_ring *)(void *)source;
    if (events_forked(&io_here->set)) {
        forked(source);
        return;
    }
    list_remove(source);
    ring_here = nullptr;
    collect(ring);
    if (ring->flying == 0)
        close_ring(ring);
    else
        offload_alone(drain, ring);
}

static file_ring *begin(io_state *io)
{
    file_ring *ring = open_ring();
    if (ring == nullptr)
        return nullptr;
    ring->source.event = on_event;
    ring->source.forked = forked;
    ring->source.end = end;
    if (io_register(io, &ring->source, ring->fd) == 0)
        return ring;
    close_ring(ring);
    return nullptr;
}

// The one that does this; nullptr: none.
static file_ring *ring_for(io_state *io, file_call call)
{
    if (!__atomic_load_n(&files_by_ring, __ATOMIC_RELAXED) || OPCODES[call] == 0 ||
        io_enter(io) != 0)
        return nullptr;
    if (ring_here == nullptr)
        ring_here = begin(io);
    bool can = ring_here != nullptr && ring_here->has >> OPCODES[call] & 1;
    return can && ring_here->flying < MOST ? ring_here : nullptr;
}

// ---- Requests ----

static uint64_t place(const void *p)
{
    return (uint64_t)(uintptr_t)p;
}

static struct io_uring_sqe describe(file_request *r)
{
    struct io_uring_sqe s = {};
    s.opcode = OPCODES[r->call];
    s.user_data = place(r);
    s.fd = r->fd >= 0 ? r->fd : AT_FDCWD;
    s.addr = r->call == FILE_FSYNC || r->call == FILE_TRUNCATE ? 0 : place(r->data);
    s.off = (uint64_t)r->offset;
    s.open_flags = (uint32_t)r->how; // by whatever name
    s.len = r->call == FILE_READ || r->call == FILE_WRITE ? (uint32_t)r->n : r->mode;
    if (r->call == FILE_OPEN)
        s.flags = IOSQE_ASYNC; // else it tries with O_NONBLOCK, which says another thing of a FIFO
    if (r->call == FILE_STAT) {
        s.len = STATX_BASIC_STATS;
        s.off = place(&r->extended);
        s.open_flags |= AT_NO_AUTOMOUNT; // as stat(2)
    } else if (r->call == FILE_RENAME) {
        s.len = (uint32_t)AT_FDCWD;
        s.off = place(r->other);
    }
    return s;
}

static struct timespec time_of(const struct statx_timestamp *t)
{
    return {t->tv_sec, t->tv_nsec};
}

static void convert(const struct statx *from, struct stat *to)
{
    memset(to, 0, sizeof *to);
    to->st_dev = makedev(from->stx_dev_major, from->stx_dev_minor);
    to->st_rdev = makedev(from->stx_rdev_major, from->stx_rdev_minor);
    to->st_ino = from->stx_ino;
    to->st_mode = from->stx_mode;
    to->st_nlink = from->stx_nlink;
    to->st_uid = from->stx_uid;
    to->st_gid = from->stx_gid;
    to->st_size = (off_t)from->stx_size;
    to->st_blksize = (blksize_t)from->stx_blksize;
    to->st_blocks = (blkcnt_t)from->stx_blocks;
    to->st_atim = time_of(&from->stx_atime);
    to->st_mtim = time_of(&from->stx_mtime);
    to->st_ctim = time_of(&from->stx_ctime);
}

// The caller gives up.
static void abandon(file_request *r)
{
    int saved = errno;
    bool entered = io_enter(io_here) == 0;
    if (r->lost) {
        file_release(r, false);
    } else if (!entered) { // in a child, which has to let go of the ring yet
        r->abandoned = 1;
    } else {
        struct io_uring_sqe s = {};
        s.opcode = IORING_OP_ASYNC_CANCEL;
        s.fd = -1;
        s.addr = place(r);
        r->abandoned = 1;
        submit(ring_here, &s); // if it fails the request comes to its end
        collect(ring_here);
    }
    errno = saved;
}

// Nothing was done, for a reason of the ring's own.
static bool is_to_repeat(const file_request *r)
{
    return r->result == -EINTR || r->result == -EAGAIN || r->result == -ECANCELED;
}

int weft::ring_await(file_request *r, weft_deadline d)
{
    io_state *io = io_here;
    file_ring *ring = ring_for(io, r->call);
    if (ring == nullptr)
        return 0;
    struct io_uring_sqe what = describe(r);
    r->waiter = running_tasklet();
    r->done = 0;
    list_insert(&ring->under_way, r);
    if (submit(ring, &what) != 0) {
        list_remove(r);
        return 0;
    }
    collect(ring);
    while (!r->done)
        if (io_suspend(io, d) != 0 && !r->done) {
            abandon(r);
            return -1;
        }
    if (r->call == FILE_STAT && r->result == 0)
        convert(&r->extended, &r->stat);
    return !is_to_repeat(r);
}
