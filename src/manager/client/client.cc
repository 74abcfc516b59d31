// client.cc: who uses a client, and what may be asked of it: commands as they are, and pipelines.
#include "client.h"

#include <async/here.h>
#include <base/errno.h>
#include <base/time.h>
#include <coro/wait.h>
#include <weft/thread.h>

#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/un.h>

using namespace weft;

static const int64_t USUAL_ANSWER = 100000000; // ns
enum { PATH_ROOM = sizeof((struct sockaddr_un *)nullptr)->sun_path };

// ---- Whose turn it is ----

static void free_pushes(weft_client *c)
{
    while (c->pushes != nullptr) {
        weft_reply *next = *client_reply_link(c->pushes);
        weft_reply_free(c->pushes);
        c->pushes = next;
    }
}

static void leave_to_parent(weft_client *c)
{
    client_leave_to_parent(c);
    free_pushes(c);
}

// A number of this thread's own, which a fork leaves it.  No pthread_t, for in a child a new thread
// may get the stack, and with it that of one that stayed behind.
static uintptr_t calling_thread(void)
{
    static uintptr_t last;
    static __thread uintptr_t number;
    if (number == 0)
        number = __atomic_add_fetch(&last, 1, __ATOMIC_RELAXED);
    return number;
}

// After a fork the user may have stayed behind, but for a tasklet of the thread that forked.
static bool is_left_behind(const weft_client *c, uintptr_t user)
{
    return c->pid != getpid() && user != calling_thread();
}

bool weft::client_in_use(const weft_client *c)
{
    uintptr_t user = __atomic_load_n(&c->user, __ATOMIC_RELAXED);
    return user != 0 && !is_left_behind(c, user);
}

static int take(weft_client *c)
{
    uintptr_t user = 0, me = calling_thread();
    // Acquire: sees what the last user did.
    if (!__atomic_compare_exchange_n(&c->user, &user, me, false, __ATOMIC_ACQUIRE,
                                     __ATOMIC_RELAXED)) {
        if (!is_left_behind(c, user))
            return fail_with(EBUSY);
        __atomic_store_n(&c->user, me, __ATOMIC_RELAXED); // the child has no other thread yet
    }
    if (c->pid != getpid())
        leave_to_parent(c);
    c->once = c->ready = false;
    return 0;
}

void weft::client_leave(weft_client *c)
{
    __atomic_store_n(&c->user, 0, __ATOMIC_RELEASE);
}

// The thread was started by weft and told to stop, or the tasklet was cancelled.
static int refusal(weft_deadline d)
{
    if (in_io_run())
        return wait_refusal(d);
    return d > WEFT_NOW && weft_thread_stopping() ? ECANCELED : 0;
}

// Until when the server is waited for.  A deadline that has passed leaves it no time to wait
// itself, but some to answer.
static void set_limit(weft_client *c, weft_deadline d)
{
    c->once = weft_left(d) == 0;
    c->limit = c->once ? weft_in_ns(c->answer) : d;
}

int weft::client_enter(weft_client *c, weft_deadline d)
{
    if (take(c) != 0)
        return -1;
    int error = c->owed > 0 ? EBUSY : refusal(d);
    set_limit(c, d);
    if (error == 0 && client_ready_in_time(c) == 0)
        return 0;
    if (error != 0)
        errno = error;
    client_leave(c);
    return -1;
}

// ---- Clients ----

// A path is made absolute, if there is room, for whoever connects from elsewhere or later.
static char *copy_address(const char *address)
{
    char *copy = nullptr, *here = nullptr;
    if (strncmp(address, "unix:", 5) == 0 && address[5] != '/' && address[5] != '@' &&
        address[5] != 0)
        here = getcwd(nullptr, 0);
    if (here != nullptr && strlen(here) + 1 + strlen(address + 5) < PATH_ROOM) {
        if (asprintf(&copy, "unix:%s/%s", here, address + 5) < 0)
            copy = nullptr;
    } else {
        copy = strdup(address);
    }
    free(here);
    return copy;
}

static int make_hello(weft_client *c, const char *password)
{
    client_word words[] = {client_text("HELLO"), client_text("3"), client_text("AUTH"),
                           client_text("default"),
                           client_text(password != nullptr ? password : "")};
    if (client_put(&c->out, words, password != nullptr ? 5 : 2) != 0)
        return -1;
    c->hello = c->out.data;
    c->hello_size = c->out.end;
    c->out = {};
    return 0;
}

static void release(weft_client *c)
{
    int saved = errno;
    client_drop(c);
    free_pushes(c);
    free(c->out.data);
    free(c->noted.data);
    free(c->undo.data);
    client_leave_cluster(c);
    free(c->address);
    if (c->hello != nullptr)
        explicit_bzero(c->hello, c->hello_size);
    free(c->hello);
    free(c);
    errno = saved;
}

weft_client *weft_client_connect(const char *address, const char *password, weft_deadline d)
{
    int saved = errno, error = address == nullptr ? EINVAL : refusal(d);
    weft_client *c = error == 0 ? (weft_client *)calloc(1, sizeof *c) : nullptr;
    if (error != 0)
        errno = error;
    if (c == nullptr)
        return nullptr;
    c->fd = -1;
    c->answer = USUAL_ANSWER;
    c->address = copy_address(address);
    client_leave_to_parent(c);
    set_limit(c, d);
    if (c->address == nullptr || make_hello(c, password) != 0 || client_open(c) != 0) {
        release(c);
        return nullptr;
    }
    errno = saved;
    return c;
}

int weft_client_destroy(weft_client *c)
{
    if (c == nullptr)
        return 0;
    if (__atomic_load_n(&c->proxies, __ATOMIC_RELAXED) > 0)
        return fail_with(EBUSY);
    int saved = errno;
    if (take(c) != 0)
        return -1;
    client_say_quit(c);
    release(c);
    errno = saved;
    return 0;
}

int weft_client_set_answer(weft_client *c, int64_t ns)
{
    if (c == nullptr || ns < 0)
        return fail_with(EINVAL);
    if (take(c) != 0)
        return -1;
    c->answer = ns;
    client_leave(c);
    return 0;
}

int weft_client_server(const weft_client *c)
{
    return c != nullptr ? c->server : fail_with(EINVAL);
}

const char *weft_client_error(const weft_client *c)
{
    return c != nullptr ? c->error : "";
}

int weft_client_fd(const weft_client *c)
{
    if (c == nullptr)
        return fail_with(EINVAL);
    return c->pid == getpid() ? c->fd : -1;
}

// ---- Commands as they are ----

// Whether there are words, and each has its bytes.
static bool is_command(size_t n, const char *const argv[], const size_t sizes[])
{
    for (size_t i = 0; argv != nullptr && i < n; i++)
        if (argv[i] == nullptr && (sizes == nullptr || sizes[i] > 0))
            return false;
    return n > 0 && argv != nullptr;
}

// The words of a command; `few` may hold them.  NULL: ENOMEM.
static client_word *words_of(size_t n, const char *const argv[], const size_t sizes[],
                             client_word few[], size_t room)
{
    client_word *words = n > room ? (client_word *)calloc(n, sizeof *words) : few;
    for (size_t i = 0; words != nullptr && i < n; i++)
        words[i] = client_bytes(argv[i], sizes != nullptr ? sizes[i] : strlen(argv[i]));
    return words;
}

// Notes what a new connection would know nothing of.
static void note_session(const client_word *command, int *begins, int *ends)
{
    static const struct {
        const char *name;
        int begins, ends;
    } all[] = {
        {"MULTI", SESSION_TRANSACTION, 0},   {"WATCH", SESSION_TRANSACTION, 0},
        {"EXEC", 0, SESSION_TRANSACTION},    {"DISCARD", 0, SESSION_TRANSACTION},
        {"UNWATCH", 0, SESSION_TRANSACTION}, {"SUBSCRIBE", SESSION_LASTING, 0},
        {"PSUBSCRIBE", SESSION_LASTING, 0},  {"SSUBSCRIBE", SESSION_LASTING, 0},
        {"SELECT", SESSION_LASTING, 0},      {"AUTH", SESSION_LASTING, 0},
    };
    for (auto &one : all)
        if (command->size == strlen(one.name) &&
            strncasecmp((const char *)command->data, one.name, command->size) == 0) {
            *begins = (*begins | one.begins) & ~one.ends;
            *ends |= one.ends;
        }
}

enum { FEW = 16 };

weft_reply *weft_client_command(weft_client *c, size_t n, const char *const argv[],
                                const size_t sizes[], weft_deadline d)
{
    int saved = errno;
    client_tries t = {};
    client_word few[FEW] = {}, *words;
    weft_reply *r = nullptr;
    if (c == nullptr || !is_command(n, argv, sizes))
        return fail_null(EINVAL);
    if ((words = words_of(n, argv, sizes, few, FEW)) == nullptr)
        return nullptr;
    if (client_enter(c, d) == 0) {
        do
            r = client_ask(c, words, n, LATE_DROP);
        while (client_again(c, &t, &r));
        if (r != nullptr && r->type == WEFT_REPLY_ERROR)
            client_errno(c, r);
        int ends = 0;
        if (r != nullptr)
            note_session(words, &c->session, &ends);
        client_leave(c);
    }
    if (words != few)
        free_keep_errno(words);
    errno = r != nullptr ? saved : errno;
    return r;
}

int weft_client_append(weft_client *c, size_t n, const char *const argv[], const size_t sizes[])
{
    client_word few[FEW] = {}, *words;
    if (c == nullptr || !is_command(n, argv, sizes))
        return fail_with(EINVAL);
    if ((words = words_of(n, argv, sizes, few, FEW)) == nullptr)
        return -1;
    int result = take(c);
    if (result == 0) {
        result = client_put(&c->noted, words, n);
        c->owed += result == 0;
        note_session(words, &c->noted_begins, &c->noted_ends);
        client_leave(c);
    }
    if (words != few)
        free_keep_errno(words);
    return result;
}

static weft_reply *take_push(weft_client *c)
{
    weft_reply *r = c->pushes;
    c->pushes = *client_reply_link(r);
    return r;
}

static weft_reply *next(weft_client *c, weft_deadline d)
{
    if (c->owed == 0 && c->pushes != nullptr)
        return take_push(c);
    if (c->fd < 0 && c->owed == 0 && d <= WEFT_NOW)
        return fail_null(ENOENT);
    set_limit(c, d);
    if (c->fd >= 0)
        c->limit = d;
    weft_reply *r = client_next(c);
    if (r == nullptr && errno == ETIMEDOUT && c->owed == 0 && d <= WEFT_NOW)
        errno = ENOENT;
    return r;
}

weft_reply *weft_client_next(weft_client *c, weft_deadline d)
{
    int saved = errno;
    if (c == nullptr)
        return fail_null(EINVAL);
    if (take(c) != 0)
        return nullptr;
    int error = refusal(d);
    weft_reply *r = error == 0 ? next(c, d) : fail_null(error);
    if (r != nullptr && r->type == WEFT_REPLY_ERROR)
        client_errno(c, r);
    client_leave(c);
    errno = r != nullptr ? saved : errno;
    return r;
}
