// Files for tasklets: what each call does, and callers that give up.
#include <weft/file.h>
#include <weft/offload.h>
#include <weft/sync.h>

#include "inside.h"

#include <async/file_request.h>

#include <dirent.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#if RUNNER_TSAN
// Threads that were more for a time stay to be joined by whoever changes their number next.
extern "C" const char *__tsan_default_options(void)
{
    return "report_thread_leaks=0";
}
#endif

using namespace weft;

static char folder[32];

static int setup(void **)
{
    strcpy(folder, "/tmp/weft-file-XXXXXX");
    return mkdtemp(folder) == nullptr ? -1 : 0;
}

static int teardown(void **)
{
    return rmdir(folder);
}

// The path of a name in the folder; the last few are kept.
static const char *path(const char *name)
{
    static char texts[4][160];
    static int next;
    char *text = texts[next++ % 4];
    snprintf(text, sizeof texts[0], "%s/%s", folder, name);
    return text;
}

static int open_new(const char *name, int flags = 0)
{
    int fd = weft_file_open(path(name), O_RDWR | O_CREAT | O_EXCL | flags, 0640, WEFT_FOREVER);
    assert_true(fd >= 0);
    return fd;
}

// In weft_io_run, by threads and by a ring, where the kernel makes one.
static void both_ways(void (*body)(void))
{
    files_by_ring = false;
    inside(body);
    files_by_ring = true;
    inside(body);
}

#define INSIDE_BOTH_WAYS(fn) CASE_IN(fn, both_ways)

// ---- What the calls do, in weft_io_run and outside ----

static void in_and_out(void (*body)(void))
{
    both_ways(body);
    body();
}

#define FILE_CASE(fn) CASE_IN(fn, in_and_out)

FILE_CASE(test_file_open)
{
    struct stat s;
    errno = 77;
    int fd = open_new("one");
    assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
    assert_int_equal(weft_file_stat(path("one"), &s, WEFT_FOREVER), 0);
    assert_int_equal(s.st_mode, S_IFREG | 0640);
    assert_int_equal(s.st_size, 0);
    close(fd);
    assert_int_equal(weft_file_unlink(path("one"), WEFT_FOREVER), 0);
    assert_int_equal(errno, 77);
    assert_errno(weft_file_open(path("one"), O_RDWR, 0, WEFT_FOREVER), ENOENT);
    assert_errno(weft_file_open(folder, O_RDWR, 0, WEFT_FOREVER), EISDIR);
    assert_errno(weft_file_open(folder, O_RDWR | O_CREAT | O_EXCL, 0, WEFT_FOREVER), EEXIST);
    assert_errno(weft_file_open(nullptr, O_RDWR, 0, WEFT_FOREVER), EINVAL);
}

FILE_CASE(test_file_read_write)
{
    char text[64] = "";
    struct stat s;
    int fd = open_new("one");
    errno = 77;
    assert_int_equal(weft_file_pwrite(fd, "hello, world", 12, 5, WEFT_FOREVER), 12);
    assert_int_equal(weft_file_fsync(fd, WEFT_FOREVER), 0);
    assert_int_equal(weft_file_pread(fd, text, 64, 5, WEFT_FOREVER), 12);
    assert_string_equal(text, "hello, world");
    assert_int_equal(weft_file_pread(fd, text, 64, 17, WEFT_FOREVER), 0);
    assert_int_equal(weft_file_pread(fd, nullptr, 0, 0, WEFT_FOREVER), 0);
    assert_int_equal(weft_file_pwrite(fd, nullptr, 0, 0, WEFT_FOREVER), 0);
    assert_int_equal(weft_file_truncate(fd, 7, WEFT_FOREVER), 0);
    fstat(fd, &s);
    assert_int_equal(s.st_size, 7);
    assert_int_equal(lseek(fd, 0, SEEK_CUR), 0);
    assert_int_equal(errno, 77);
    close(fd);
    unlink(path("one"));
}

// Longer than what is read and written at once.
enum { SIZE = 3 << 20 };

// An empty file; what is to be written and room for what is read.
static int open_large(char **out, char **in)
{
    *out = (char *)malloc(SIZE);
    *in = (char *)malloc(SIZE + 1);
    for (int i = 0; i < SIZE; i++)
        (*out)[i] = (char)(i ^ i >> 8 ^ i >> 16);
    return open_new("large");
}

// What was read is what was written.
static void close_large(int fd, char *out, char *in)
{
    assert_memory_equal(in, out, SIZE);
    close(fd);
    unlink(path("large"));
    free(out);
    free(in);
}

// Beyond 4 GiB.
FILE_CASE(test_file_large)
{
    const off_t far = ((off_t)5 << 30) + 3;
    char *out, *in;
    int fd = open_large(&out, &in);
    assert_int_equal(weft_file_pwrite(fd, out, SIZE, far, WEFT_FOREVER), SIZE);
    posix_fadvise(fd, far, SIZE, POSIX_FADV_DONTNEED);
    assert_int_equal(weft_file_pread(fd, in, SIZE + 1, far, WEFT_FOREVER), SIZE);
    close_large(fd, out, in);
}

// Not by the cache: memory must be aligned, and so what the calls have of their own.
FILE_CASE(test_file_direct)
{
    static char block[4096] __attribute__((aligned(4096)));
    int fd = open(path("direct"), O_RDWR | O_CREAT | O_DIRECT | O_CLOEXEC, 0600);
    if (fd < 0)
        return; // this file system has none
    memset(block, 'x', sizeof block);
    assert_int_equal(weft_file_pwrite(fd, block, sizeof block, 4096, WEFT_FOREVER), sizeof block);
    block[0] = 0;
    assert_int_equal(weft_file_pread(fd, block, sizeof block, 4096, WEFT_FOREVER), sizeof block);
    assert_int_equal(block[0], 'x');
    close(fd);
    unlink(path("direct"));
}

FILE_CASE(test_file_names)
{
    struct stat s, t;
    errno = 77;
    assert_int_equal(weft_file_mkdir(path("d"), 0700, WEFT_FOREVER), 0);
    assert_int_equal(symlink("d", path("link")), 0);
    assert_int_equal(weft_file_stat(path("link"), &s, WEFT_FOREVER), 0);
    assert_int_equal(s.st_mode, S_IFDIR | 0700);
    assert_int_equal(stat(path("d"), &t), 0);
    assert_true(s.st_dev == t.st_dev && s.st_ino == t.st_ino && s.st_nlink == t.st_nlink);
    assert_true(s.st_uid == t.st_uid && s.st_gid == t.st_gid && s.st_size == t.st_size);
    assert_true(s.st_blocks == t.st_blocks && s.st_blksize == t.st_blksize);
    assert_memory_equal(&s.st_mtim, &t.st_mtim, sizeof s.st_mtim);
    assert_int_equal(weft_file_lstat(path("link"), &s, WEFT_FOREVER), 0);
    assert_true(S_ISLNK(s.st_mode));
    assert_int_equal(weft_file_rename(path("link"), path("other"), WEFT_FOREVER), 0);
    assert_int_equal(weft_file_unlink(path("other"), WEFT_FOREVER), 0);
    assert_int_equal(weft_file_rmdir(path("d"), WEFT_FOREVER), 0);
    assert_int_equal(errno, 77);
    assert_errno(weft_file_mkdir(folder, 0700, WEFT_FOREVER), EEXIST);
    assert_errno(weft_file_rmdir(path("d"), WEFT_FOREVER), ENOENT);
    assert_errno(weft_file_unlink(path("d"), WEFT_FOREVER), ENOENT);
    assert_errno(weft_file_rename(path("d"), folder, WEFT_FOREVER), ENOENT);
    assert_errno(weft_file_stat(path("d"), &s, WEFT_FOREVER), ENOENT);
}

FILE_CASE(test_file_readdir)
{
    enum { FILES = 90 };
    weft_file_entry *entries;
    char name[120], seen[FILES] = {};
    assert_int_equal(weft_file_readdir(folder, &entries, WEFT_FOREVER), 0);
    free(entries);
    for (int i = 0; i < FILES; i++) {
        snprintf(name, sizeof name, "%0100d", i);
        assert_int_equal(mknod(path(name), S_IFREG | 0600, 0), 0);
    }
    errno = 77;
    assert_int_equal(weft_file_readdir(folder, &entries, WEFT_FOREVER), FILES);
    assert_int_equal(errno, 77);
    for (int i = 0; i < FILES; i++) {
        int number = atoi(entries[i].name);
        assert_int_equal(seen[number]++, 0);
        assert_true(entries[i].type == DT_REG || entries[i].type == DT_UNKNOWN);
        unlink(path(entries[i].name));
    }
    free(entries);
    assert_errno(weft_file_readdir(path("none"), &entries, WEFT_FOREVER), ENOENT);
    assert_errno(weft_file_readdir("/proc/self/stat", &entries, WEFT_FOREVER), ENOTDIR);
}

FILE_CASE(test_file_refuses)
{
    char text[4];
    struct stat s;
    int p[2];
    assert_errno(weft_file_pread(0, text, 4, -1, WEFT_FOREVER), EINVAL);
    assert_errno(weft_file_pread(0, text, 4, INT64_MIN, WEFT_NOW), EINVAL);
    assert_errno(weft_file_pread(0, nullptr, 4, 0, WEFT_FOREVER), EINVAL);
    assert_errno(weft_file_pread(0, text, SIZE_MAX, 0, WEFT_FOREVER), EINVAL);
    assert_errno(weft_file_pwrite(0, text, 4, -1, WEFT_FOREVER), EINVAL);
    assert_errno(weft_file_truncate(0, -1, WEFT_FOREVER), EINVAL);
    assert_errno(weft_file_stat("/", nullptr, WEFT_FOREVER), EINVAL);
    assert_errno(weft_file_stat(nullptr, &s, WEFT_FOREVER), EINVAL);
    assert_errno(weft_file_rename("/", nullptr, WEFT_FOREVER), EINVAL);
    assert_errno(weft_file_readdir("/", nullptr, WEFT_FOREVER), EINVAL);
    assert_errno(weft_file_pread(1000, text, 4, 0, WEFT_FOREVER), EBADF);
    assert_errno(weft_file_pwrite(1000, text, 4, 0, WEFT_FOREVER), EBADF);
    assert_errno(weft_file_fsync(1000, WEFT_FOREVER), EBADF);
    assert_int_equal(pipe(p), 0);
    assert_errno(weft_file_pread(p[0], text, 4, 0, WEFT_FOREVER), ESPIPE);
    assert_errno(weft_file_pwrite(p[1], text, 4, 0, WEFT_FOREVER), ESPIPE);
    assert_errno(weft_file_truncate(p[1], 4, WEFT_FOREVER), EINVAL);
    close(p[0]);
    close(p[1]);
}

// ---- Waits ----

// WEFT_NOW takes what the cache has, and begins nothing.
INSIDE_BOTH_WAYS(test_file_now)
{
    char text[4];
    struct stat s;
    int fd = open_new("one");
    assert_int_equal(weft_file_pwrite(fd, "text", 4, 0, WEFT_FOREVER), 4);
    if (weft_file_pread(fd, text, 4, 0, WEFT_NOW) < 0) // a file system that can't say
        assert_int_equal(errno, ETIMEDOUT);
    assert_errno(weft_file_pwrite(fd, "late", 4, 0, WEFT_NOW), ETIMEDOUT);
    assert_errno(weft_file_unlink(path("one"), WEFT_NOW), ETIMEDOUT);
    assert_errno(weft_file_stat(path("one"), &s, WEFT_NOW), ETIMEDOUT);
    assert_int_equal(pread(fd, text, 4, 0), 4);
    assert_memory_equal(text, "text", 4);
    close(fd);
    unlink(path("one"));
}

static void *open_fifo(void *)
{
    return (void *)(intptr_t)weft_file_open(path("fifo"), O_RDONLY, 0, WEFT_FOREVER);
}

static void *let_others(void *end)
{
    while (!*(bool *)end)
        weft_tasklet_yield();
    return nullptr;
}

// Others run while one waits; what it opens after it has been cancelled or was late is closed
// again, which `inside` looks for.
INSIDE_BOTH_WAYS(test_file_given_up)
{
    assert_int_equal(mkfifo(path("fifo"), 0600), 0);
    assert_errno(weft_file_open(path("fifo"), O_RDONLY, 0, weft_in_ms(20)), ETIMEDOUT);
    weft_tasklet *t = spawn(open_fifo, nullptr, true);
    weft_tasklet_sleep(weft_in_ms(2));
    weft_tasklet_cancel(t);
    void *result;
    assert_int_equal(weft_tasklet_join(t, &result, weft_in_s(30)), 0);
    assert_int_equal((intptr_t)result, -1);
    bool end = false;
    t = spawn(let_others, &end, true);
    weft_tasklet *u = spawn(open_fifo, nullptr, true);
    int writer = weft_file_open(path("fifo"), O_WRONLY, 0, WEFT_FOREVER);
    assert_int_equal(weft_tasklet_join(u, &result, weft_in_s(30)), 0);
    assert_true(writer >= 0 && (intptr_t)result >= 0);
    close(writer);
    close((int)(intptr_t)result);
    end = true;
    join(t);
    unlink(path("fifo"));
}

// ---- As streams: weft_io_read and weft_io_write of a file, where it stands ----

static void is_at(int fd, off_t at)
{
    assert_int_equal(lseek(fd, 0, SEEK_CUR), at);
}

INSIDE_BOTH_WAYS(test_file_as_stream)
{
    char text[16] = "", more[16] = "";
    struct iovec out[] = {{nullptr, 0}, {(void *)"wor", 3}, {(void *)"ld", 2}};
    struct iovec in[] = {{text, 2}, {nullptr, 0}, {more, 16}};
    int fd = open_new("one"), twin = dup(fd), end = open(path("one"), O_WRONLY | O_APPEND);
    errno = 77;
    assert_int_equal(weft_io_write(fd, "hello, ", 7, WEFT_FOREVER), 7);
    assert_int_equal(weft_io_writev(twin, out, 3, WEFT_FOREVER), 5);
    is_at(fd, 12);
    assert_int_equal(weft_io_read(fd, text, 16, WEFT_FOREVER), 0);
    lseek(fd, 0, SEEK_SET);
    assert_int_equal(weft_io_write(end, "!", 1, WEFT_FOREVER), 1);
    is_at(end, 13);
    assert_int_equal(errno, 77);
    fsync(fd);
    posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    assert_int_equal(weft_io_readv(fd, in, 3, WEFT_FOREVER), 13);
    assert_memory_equal(text, "he", 2);
    assert_string_equal(more, "llo, world!");
    is_at(twin, 13);
    assert_errno(weft_io_read(end, text, 16, WEFT_FOREVER), EBADF);
    close(fd);
    close(twin);
    close(end);
    unlink(path("one"));
}

INSIDE_BOTH_WAYS(test_file_as_long_stream)
{
    char *out, *in;
    int fd = open_large(&out, &in);
    assert_int_equal(weft_io_write(fd, out, SIZE, WEFT_FOREVER), SIZE);
    is_at(fd, SIZE);
    lseek(fd, 0, SEEK_SET);
    fsync(fd);
    posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    assert_int_equal(weft_io_read_all(fd, in, SIZE + 1, WEFT_FOREVER), SIZE);
    close_large(fd, out, in);
}

// By a thread, others run meanwhile, and a deadline ends the wait for it; a file system that can
// say that a write would not block does it at once.
INSIDE_CASE(test_file_as_stream_lets_others_run)
{
    static bool ran;
    struct iovec piece = {(void *)"x", 1};
    int fd = open_new("one");
    bool at_once = pwritev2(fd, &piece, 1, 0, RWF_NOWAIT) == 1;
    files_by_ring = ran = false;
    spawn([] { ran = true; });
    assert_int_equal(weft_io_write(fd, "x", 1, WEFT_FOREVER), 1);
    assert_true(ran || at_once);
    assert_int_equal(weft_offload_set_threads(WEFT_OFFLOAD_FILES, 1), 0);
    assert_int_equal(mkfifo(path("fifo"), 0600), 0);
    weft_tasklet *t = spawn(open_fifo, nullptr, true);
    weft_tasklet_yield(); // it has the only thread
    if (!at_once)
        assert_errno(weft_io_write(fd, "y", 1, weft_in_ms(2)), ETIMEDOUT);
    weft_tasklet_cancel(t);
    join(t);
    int end = open(path("fifo"), O_RDWR | O_CLOEXEC);
    assert_int_equal(weft_offload_set_threads(WEFT_OFFLOAD_FILES, 4), 0);
    files_by_ring = true;
    is_at(fd, 1);
    close(end);
    close(fd);
    unlink(path("fifo"));
    unlink(path("one"));
}

// weft_io_run ends while something goes on.
INSIDE_BOTH_WAYS(test_file_outlives_run)
{
    assert_int_equal(mkfifo(path("fifo"), 0600), 0);
    assert_errno(weft_file_open(path("fifo"), O_RDONLY, 0, weft_in_ms(20)), ETIMEDOUT);
    int end = open(path("fifo"), O_RDWR | O_CLOEXEC); // a thread that opened it is let go
    unlink(path("fifo"));
    close(end);
}

// Many at once, each its own bytes, and the file closed meanwhile.
INSIDE_BOTH_WAYS(test_file_many)
{
    static int fd, right;
    enum { MANY = 100 };
    fd = open_new("many", O_TRUNC);
    right = 0;
    weft_tasklet *t[MANY];
    for (intptr_t i = 0; i < MANY; i++)
        t[i] = spawn(
            [](void *arg) -> void * {
                char c = (char)(intptr_t)arg, back = 0;
                off_t at = (off_t)(intptr_t)arg * 4096;
                int own = dup(fd);
                right += weft_file_pwrite(own, &c, 1, at, WEFT_FOREVER) == 1 &&
                         weft_file_pread(own, &back, 1, at, WEFT_FOREVER) == 1 && back == c;
                close(own);
                return nullptr;
            },
            (void *)i, true);
    weft_tasklet_yield(); // all have begun
    close(fd);
    for (weft_tasklet *each : t)
        join(each);
    assert_int_equal(right, MANY);
    unlink(path("many"));
}

static intptr_t opened;

static void open_in_vain(void)
{
    opened = weft_file_open(path("fifo"), O_RDONLY, 0, WEFT_FOREVER);
    if (opened < 0)
        opened = -errno;
}

// What is under way is the parent's: who waits in the child is told, and has ways of its own.
INSIDE_BOTH_WAYS(test_file_fork)
{
    if (RUNNER_SANITIZED)
        return; // a child of a process with threads must not start others there
    struct stat s;
    assert_int_equal(mkfifo(path("fifo"), 0600), 0);
    weft_tasklet *t = spawn(open_in_vain, true);
    weft_tasklet_yield(); // it has begun, and waits
    pid_t child = runner_fork();
    if (child == 0) {
        bool well = weft_tasklet_join(t, nullptr, weft_in_s(20)) == 0 && opened == -ECANCELED;
        _exit(well && weft_file_stat("/", &s, weft_in_s(20)) == 0 ? 0 : 1);
    }
    assert_int_equal(end_of(child), 0);
    int writer = weft_file_open(path("fifo"), O_WRONLY, 0, WEFT_FOREVER);
    join(t);
    assert_true(opened >= 0);
    close(writer);
    close((int)opened);
    unlink(path("fifo"));
}

static weft_event *synced; // of a disk that takes its time
static int syncing;        // atomic

// In the place of libc's.
extern "C" int fsync(int fd)
{
    int result = (int)syscall(SYS_fsync, fd);
    __atomic_add_fetch(&syncing, 1, __ATOMIC_SEQ_CST);
    if (synced != nullptr)
        weft_event_wait(synced, WEFT_FOREVER);
    return result;
}

static void sync_one(void)
{
    weft_file_fsync((int)opened, WEFT_FOREVER);
}

// Spawns one, and waits until a thread has begun it.
static weft_tasklet *spawn_sync(void)
{
    int before = __atomic_load_n(&syncing, __ATOMIC_SEQ_CST);
    weft_tasklet *t = spawn(sync_one, true);
    while (__atomic_load_n(&syncing, __ATOMIC_SEQ_CST) == before)
        weft_tasklet_sleep(weft_in_ms(1));
    return t;
}

// Descriptors of the file behind `fd`.
static int count_of(int fd)
{
    struct stat s, each;
    int n = 0;
    fstat(fd, &s);
    for (int i = 0; i < 100; i++)
        n += fstat(i, &each) == 0 && each.st_dev == s.st_dev && each.st_ino == s.st_ino;
    return n;
}

// What a thread does has a descriptor of its own, which the child has no use for.
INSIDE_CASE(test_file_fork_closes)
{
    if (RUNNER_TSAN)
        return; // it knows nothing in a child of what was before, and takes all for races
    bool ring = files_by_ring;
    files_by_ring = false;
    opened = open_new("synced");
    weft_event disk = WEFT_EVENT_INIT;
    synced = &disk;
    weft_tasklet *late = spawn_sync();
    weft_tasklet_cancel(late);
    join(late);
    weft_tasklet *t = spawn_sync();
    pid_t child = runner_fork();
    if (child == 0) {
        weft_tasklet_join(t, nullptr, weft_in_s(20));
        _exit(count_of((int)opened));
    }
    assert_int_equal(count_of((int)opened), 3);
    assert_int_equal(end_of(child), 1);
    weft_event_set(&disk);
    join(t);
    synced = nullptr;
    files_by_ring = ring;
    close((int)opened);
    unlink(path("synced"));
}

static int ends[2];

static void read_one(void)
{
    char c;
    opened = weft_io_read(ends[0], &c, 1, WEFT_FOREVER);
}

static void open_late(void)
{
    weft_file_open(path("fifo"), O_RDONLY, 0, weft_in_ms(20));
}

// It gives up in the child while that can have no set of its own; then another is in its place.
static int give_up_in_child(weft_tasklet *t)
{
    struct rlimit before, none;
    getrlimit(RLIMIT_NOFILE, &before);
    none = before;
    none.rlim_cur = 0;
    setrlimit(RLIMIT_NOFILE, &none);
    while (weft_tasklet_join(t, nullptr, WEFT_FOREVER) != 0)
        ;
    setrlimit(RLIMIT_NOFILE, &before);
    t = spawn(read_one, true);
    weft_tasklet_sleep(weft_in_ms(1));
    if (write(ends[1], "x", 1) != 1)
        return 1;
    join(t);
    return opened == 1 ? 0 : 2;
}

INSIDE_BOTH_WAYS(test_file_fork_without_descriptors)
{
    if (RUNNER_SANITIZED)
        return;
    char c;
    make_pair(PIPE_PAIR, ends);
    assert_errno(weft_io_read(ends[0], &c, 1, weft_in_ms(1)), ETIMEDOUT); // it is known
    assert_int_equal(mkfifo(path("fifo"), 0600), 0);
    weft_tasklet *t = spawn(open_late, true);
    weft_tasklet_yield();
    pid_t child = runner_fork();
    if (child == 0)
        _exit(give_up_in_child(t));
    join(t);
    assert_int_equal(end_of(child), 0);
    close(open(path("fifo"), O_RDWR | O_CLOEXEC)); // a thread that opened it is let go
    unlink(path("fifo"));
    close_pair(ends);
}

// A tasklet that reads from the cache all the time holds nobody up.
INSIDE_BOTH_WAYS(test_file_gives_way)
{
    static bool ran;
    char c;
    int fd = open_new("one");
    ran = false;
    assert_int_equal(weft_file_pwrite(fd, "x", 1, 0, WEFT_FOREVER), 1);
    spawn([] { ran = true; });
    for (int i = 0; i < 600 && !ran; i++)
        assert_int_equal(weft_file_pread(fd, &c, 1, 0, WEFT_FOREVER), 1);
    assert_true(ran);
    close(fd);
    unlink(path("one"));
}

// Nor one that writes what takes no time.
INSIDE_BOTH_WAYS(test_file_write_gives_way)
{
    static bool ran;
    int fd = weft_file_open("/dev/null", O_WRONLY, 0, WEFT_FOREVER);
    ran = false;
    spawn([] { ran = true; });
    for (int i = 0; i < 600 && !ran; i++)
        assert_int_equal(weft_file_pwrite(fd, "x", 1, 0, WEFT_FOREVER), 1);
    assert_true(ran);
    close(fd);
}

RUN_CASES(setup, teardown)
