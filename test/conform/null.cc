// What weft(7) says of NULL, of every call whose first parameter is a handle or an object: the list
// of them is made of the headers.
#include <weft/channel.h>
#include <weft/client.h>
#include <weft/coro.h>
#include <weft/executor.h>
#include <weft/generator.h>
#include <weft/http.h>
#include <weft/http_client.h>
#include <weft/http_files.h>
#include <weft/http_parse.h>
#include <weft/io.h>
#include <weft/loop.h>
#include <weft/manager.h>
#include <weft/offload.h>
#include <weft/pipeline.h>
#include <weft/pool.h>
#include <weft/posix_semaphore.h>
#include <weft/process.h>
#include <weft/queue.h>
#include <weft/remote_jobs.h>
#include <weft/shared_map.h>
#include <weft/shared_queue.h>
#include <weft/shared_sync.h>
#include <weft/shell.h>
#include <weft/shm.h>
#include <weft/subprocess.h>
#include <weft/subprocess_map.h>
#include <weft/sync.h>
#include <weft/tasklet.h>
#include <weft/thread.h>
#include <weft/websocket.h>

#include "../runner.h"

#include <sys/resource.h>

// ---- The other arguments: memory, a function, a stream, 1 ----

static void *memory[1 << 13]; // nothing but zeros, or pointers to itself

static void point_to_itself(void)
{
    for (void *&each : memory)
        each = memory;
}

template <class T> struct filler {
    static T value()
    {
        return T(1);
    }
};
template <class T> struct filler<T *> {
    static T *value()
    {
        return (T *)memory;
    }
};
template <class R, class... A> struct filler<R (*)(A...)> {
    static R nothing(A...)
    {
        return R();
    }
    static R (*value())(A...)
    {
        return nothing;
    }
};
template <> struct filler<FILE *> {
    static FILE *value()
    {
        return fopen("/dev/null", "w");
    }
};

// ---- What it answers ----

// What ends a thing has nothing to do.
static bool releases(const char *name)
{
    static const char *const ends[] = {"_destroy", "_free", "_release"};
    for (const char *end : ends)
        if (strlen(name) > strlen(end) && strcmp(name + strlen(name) - strlen(end), end) == 0)
            return strcmp(name, "weft_shm_free") != 0;
    return false;
}

static bool is_right(const char *name, intptr_t result)
{
    return releases(name) ? result == 0 && errno == 0 : result == -1 && errno == EINVAL;
}
static bool is_right(const char *name, int result)
{
    return is_right(name, (intptr_t)result);
}
// A pointer that is asked for may be none without an error.
template <class T> static bool is_right(const char *, T *result)
{
    return runner_failed(result) && (errno == EINVAL || errno == 0);
}
template <class T> static bool is_right(const char *, T count)
{
    return count == 0;
}

template <class R> struct asker {
    template <class H, class... A> static bool ask(const char *name, R (*fn)(H *, A...))
    {
        errno = 0;
        return is_right(name, fn(NULL, filler<A>::value()...));
    }
};
template <> struct asker<void> {
    template <class H, class... A> static bool ask(const char *, void (*fn)(H *, A...))
    {
        fn(NULL, filler<A>::value()...);
        return true;
    }
};

template <class R, class H, class... A> static int wrong(const char *name, R (*fn)(H *, A...))
{
    fflush(NULL);
    pid_t child = runner_fork();
    if (child == 0) {
        struct rlimit none = {};
        setrlimit(RLIMIT_CORE, &none);
        static const int deaths[] = {SIGALRM, SIGSEGV, SIGABRT, SIGFPE, SIGBUS};
        for (int each : deaths)
            signal(each, SIG_DFL);
        bool right = asker<R>::ask(name, fn);
        if (!right)
            dprintf(STDERR_FILENO, "%s: %s\n", name, errno != 0 ? strerror(errno) : "no error");
        _exit(!right);
    }
    int end = end_of(child);
    if (end > 1)
        fprintf(stderr, "%s: ended by %d\n", name, end);
    return end != 0;
}

// Where NULL is meant, or says that there is nothing; and single atomic instructions.
static bool is_meant(const char *name)
{
    static const char *const calls[] = {
        "weft_thread_set_priority", "weft_thread_priority",     "weft_thread_name",
        "weft_thread_id",           "weft_shared_queue_create", "weft_tasklet_set_poller",
        "weft_channel_balance",     "weft_client_error",        "weft_loop_now"};
    for (const char *each : calls)
        if (strcmp(name, each) == 0)
            return true;
    return strncmp(name, "weft_shared_value_", 18) == 0;
}

#define ASK(call) bad += !is_meant(#call) && wrong(#call, call);

static void ask_all(void)
{
    int bad = 0;
#include <calls.h>
    assert_int_equal(bad, 0);
}

CASE(test_null_beside_zeros)
{
    ask_all();
}

CASE(test_null_beside_pointers)
{
    point_to_itself();
    ask_all();
}

RUN_CASES()
