// What is true of all proxies, on both servers: texts, forks, tasklets, passwords, and servers that
// are killed, started again or stopped.
#include <weft/io.h>
#include <weft/thread.h>

#include "../async/inside.h"
#include "servers.h"

#include <poll.h>
#include <sys/stat.h>

// ---- As text ----

static weft_remote *open_kind(weft_client *c, int kind)
{
    static const char name[] = "a name: %41@/\xc3\xa4";
    switch (kind) {
    case 0:
        return weft_remote_queue_open(c, name, 12);
    case 1:
        return weft_remote_lock_open(c, name, WEFT_RECURSIVE);
    case 2:
        return weft_remote_semaphore_open(c, name, 3, soon());
    case 3:
        return weft_remote_event_open(c, name);
    case 4:
        return weft_remote_barrier_open(c, name, 2);
    case 5:
        return weft_remote_value_open(c, "number");
    case 6:
        return weft_remote_dict_open(c, "dict");
    case 7:
        return weft_remote_list_open(c, "list");
    default:
        return weft_remote_namespace_open(c, "dict");
    }
}

CASE(test_text_opens_the_same)
{
    weft_client *c = client_of(&here);
    for (int kind = 0; kind < 9; kind++) {
        char text[256], again[256];
        weft_remote *r = open_kind(c, kind);
        assert_non_null(r);
        assert_ptr_equal(weft_remote_client(r), c);
        int n = weft_remote_text(r, text, sizeof text);
        assert_int_equal(n, strlen(text));
        errno = 77;
        weft_remote *s = weft_remote_open(text, here.password, soon());
        assert_non_null(s);
        assert_int_equal(errno, 77);
        assert_ptr_not_equal(weft_remote_client(s), c);
        weft_remote_text(s, again, sizeof again);
        assert_string_equal(text, again);
        assert_int_equal(weft_remote_destroy(s), 0);
        weft_remote_destroy(r);
    }
    weft_client_destroy(c);
}

CASE(test_text_is_the_same_thing)
{
    char text[256], got[8] = "";
    weft_client *c = client_of(&here);
    weft_remote_queue *q = weft_remote_queue_open(c, "odd name", 1);
    weft_remote_text(q, text, sizeof text);
    weft_remote_queue *same = weft_remote_open(text, nullptr, soon());
    assert_int_equal(weft_remote_queue_put(q, "hello", 5, soon()), 0);
    assert_errno(weft_remote_queue_put(same, "x", 1, WEFT_NOW), ETIMEDOUT); // the capacity too
    assert_int_equal(weft_remote_queue_get(same, got, sizeof got, soon()), 5);
    assert_string_equal(got, "hello");
    weft_remote_destroy(same);
    weft_remote_destroy(q);
    weft_client_destroy(c);
}

CASE(test_text_room)
{
    char text[256], little[8];
    weft_client *c = client_of(&here);
    weft_remote_event *e = weft_remote_event_open(c, "event");
    int n = weft_remote_text(e, text, sizeof text);
    assert_int_equal(weft_remote_text(e, nullptr, 0), n);
    assert_int_equal(weft_remote_text(e, little, sizeof little), n);
    assert_string_equal(little, "event:0");
    assert_errno(weft_remote_text(nullptr, text, sizeof text), EINVAL);
    assert_errno(weft_remote_text(e, nullptr, 1), EINVAL);
    assert_errno(weft_remote_client(nullptr), EINVAL);
    weft_remote_destroy(e);
    weft_client_destroy(c);
}

CASE(test_open_refuses)
{
    static const char *const bad[] = {
        "",
        "queue",
        "queue:1",
        "queue:1:name",
        "queue:x:name@",
        "q:1:n@",
        "queue:-1:n@",
        "queue:1:@",
        "queue:1:%4@",
        "queue:1:%zz@",
        "queue:@",
        "lock:77:n@",
        "barrier:0:n@",
        "queue:1:%00@",
        "queue:99999999999999999999:n@",
        "semaphore:4294967296:n@",
        "barrier:4294967296:n@",
    };
    char text[256];
    assert_errno(weft_remote_open(nullptr, nullptr, soon()), EINVAL);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        snprintf(text, sizeof text, "%s%s", bad[i], here.address);
        assert_errno(weft_remote_open(text, nullptr, soon()), EINVAL);
    }
    assert_errno(weft_remote_open("queue:1:n@unix:/nonexistent/x", nullptr, soon()), ENOENT);
    assert_errno(weft_remote_open("queue:1:n@somewhere", nullptr, soon()), EINVAL);
}

// A path that was relative is not, in the text: who opens it may be elsewhere.
CASE(test_text_of_a_relative_address)
{
    char text[256], was[256], path[256];
    assert_non_null(getcwd(was, sizeof was));
    assert_int_equal(chdir(here.folder), 0);
    weft_client *c = weft_client_connect("unix:socket", nullptr, soon());
    assert_int_equal(chdir(was), 0);
    assert_non_null(c);
    weft_remote_event *e = weft_remote_event_open(c, "event");
    weft_remote_text(e, text, sizeof text);
    snprintf(path, sizeof path, "event:0:event@%s", here.address);
    assert_string_equal(text, path);
    weft_remote_destroy(e);
    weft_client_destroy(c);
}

// Also one that is as long as a path may be.
CASE(test_text_of_a_long_address)
{
    char was[256], folder[106], text[256];
    server mine = {};
    mine.kind = here.kind;
    strcpy(mine.folder, "/tmp/weft-test-XXXXXX");
    assert_non_null(mkdtemp(mine.folder));
    memset(folder, 'x', sizeof folder - 1); // with "/s" behind it 107 bytes
    folder[sizeof folder - 1] = 0;
    memcpy(folder, mine.folder, strlen(mine.folder));
    folder[strlen(mine.folder)] = '/';
    assert_int_equal(mkdir(folder, 0700), 0);
    snprintf(mine.address, sizeof mine.address, "unix:%s/s", folder);
    start_server(&mine);
    assert_non_null(getcwd(was, sizeof was));
    assert_int_equal(chdir(folder), 0);
    weft_client *c = weft_client_connect("unix:s", nullptr, soon());
    assert_int_equal(chdir(was), 0);
    assert_non_null(c);
    weft_remote_event *e = weft_remote_event_open(c, "event");
    weft_remote_text(e, text, sizeof text);
    assert_string_equal(strchr(text, '@') + 1, mine.address);
    weft_remote_destroy(e);
    weft_client_destroy(c);
    kill_server(&mine);
    unlink(mine.address + 5);
    assert_int_equal(rmdir(folder), 0);
    end_server(&mine);
}

// ---- Commands as they are ----

CASE(test_command_types)
{
    static const char *const hset[] = {"HSET", "types", "k", "v"},
                             *const hgetall[] = {"HGETALL", "types"},
                             *const get[] = {"GET", "none"}, *const bad[] = {"NOSUCHCOMMAND"};
    weft_client *c = client_of(&here);
    assert_int_equal(weft_client_server(c), here.kind);
    assert_int_equal(weft_client_append(c, 4, hset, nullptr), 0);
    assert_int_equal(weft_client_append(c, 2, hgetall, nullptr), 0);
    assert_int_equal(weft_client_append(c, 2, get, nullptr), 0);
    assert_int_equal(weft_client_append(c, 1, bad, nullptr), 0);
    weft_reply *r = weft_client_next(c, soon());
    assert_int_equal(r->type, WEFT_REPLY_INTEGER);
    weft_reply_free(r);
    r = weft_client_next(c, soon());
    assert_int_equal(r->type, WEFT_REPLY_MAP);
    assert_int_equal(r->size, 2);
    assert_string_equal(r->items[1].text, "v");
    weft_reply_free(r);
    r = weft_client_next(c, soon());
    assert_int_equal(r->type, WEFT_REPLY_NULL);
    weft_reply_free(r);
    r = weft_client_next(c, soon());
    assert_int_equal(r->type, WEFT_REPLY_ERROR);
    assert_true(strncmp(weft_client_error(c), "ERR unknown command", 19) == 0);
    weft_reply_free(r);
    assert_errno(weft_client_next(c, WEFT_NOW), ENOENT);
    weft_client_destroy(c);
}

// ---- Forks ----

static weft_remote *inherited[2];

static int put_in_child(void *)
{
    for (int i = 0; i < 20; i++)
        if (weft_remote_queue_put(inherited[0], "child", 5, soon()) != 0)
            return 1;
    // The parent's lock is not the child's.
    return weft_remote_lock_unlock(inherited[1], soon()) == -1 && errno == EPERM ? 0 : 2;
}

CASE(test_fork)
{
    weft_client *c = client_of(&here);
    weft_remote_queue *q = inherited[0] = weft_remote_queue_open(c, "forked", 0);
    weft_remote_lock *l = inherited[1] = weft_remote_lock_open(c, "forked", 0);
    assert_int_equal(weft_remote_lock_lock(l, nullptr, soon()), 0);
    pid_t child = child_of(put_in_child, nullptr);
    for (int i = 0; i < 20; i++)
        assert_int_equal(weft_remote_queue_put(q, "parent", 6, soon()), 0);
    assert_int_equal(end_of(child), 0);
    assert_int_equal(weft_remote_queue_length(q, soon()), 40);
    assert_int_equal(weft_remote_lock_unlock(l, soon()), 0);
    weft_remote_destroy(q);
    weft_remote_destroy(l);
    weft_client_destroy(c);
}

// ---- Tasklets ----

enum { TASKLETS = 8, ITEMS = 50 };
static int put_failures, got_items, got_error;

static void *putter(void *)
{
    weft_client *c = weft_client_connect(here.address, here.password, soon());
    weft_remote_queue *q = weft_remote_queue_open(c, "tasklets", 3);
    for (int i = 0; i < ITEMS; i++)
        put_failures += weft_remote_queue_put(q, &i, sizeof i, soon()) != 0;
    weft_remote_destroy(q);
    weft_client_destroy(c);
    return nullptr;
}

static void *getter(void *)
{
    int item;
    weft_client *c = weft_client_connect(here.address, here.password, soon());
    weft_remote_queue *q = weft_remote_queue_open(c, "tasklets", 3);
    while (weft_remote_queue_get(q, &item, sizeof item, soon()) == (ssize_t)sizeof item)
        got_items++;
    got_error = errno;
    weft_remote_destroy(q);
    weft_client_destroy(c);
    return nullptr;
}

CASE(test_tasklets)
{
    put_failures = got_items = 0;
    inside([] {
        weft_tasklet *putters[TASKLETS], *getters[2];
        for (int i = 0; i < TASKLETS; i++)
            putters[i] = spawn(putter, nullptr, true);
        for (int i = 0; i < 2; i++)
            getters[i] = spawn(getter, nullptr, true);
        for (int i = 0; i < TASKLETS; i++)
            join(putters[i]);
        weft_client *c = weft_client_connect(here.address, here.password, soon());
        weft_remote_queue *q = weft_remote_queue_open(c, "tasklets", 3);
        assert_int_equal(weft_remote_queue_close(q, WEFT_DRAIN, soon()), 0);
        for (int i = 0; i < 2; i++)
            join(getters[i]);
        weft_remote_destroy(q);
        weft_client_destroy(c);
    });
    assert_int_equal(put_failures, 0);
    assert_int_equal(got_items, TASKLETS * ITEMS);
    assert_int_equal(got_error, EPIPE);
}

static int cancelled_error;
static bool about_to_wait;
static pid_t waiter_id;

// Waits for each kind of thing in turn, and is cancelled in it.
static void *wait_for_kind(void *arg)
{
    weft_client *c = weft_client_connect(here.address, here.password, soon());
    intptr_t kind = (intptr_t)arg;
    weft_remote *r = kind == 0   ? weft_remote_queue_open(c, "cancelled", 0)
                     : kind == 1 ? weft_remote_lock_open(c, "cancelled", 0)
                     : kind == 2 ? weft_remote_semaphore_open(c, "cancelled", 0, soon())
                     : kind == 3 ? weft_remote_event_open(c, "cancelled")
                                 : weft_remote_barrier_open(c, "cancelled", 2);
    __atomic_store_n(&about_to_wait, true, __ATOMIC_RELEASE);
    int result = kind == 0   ? -(weft_remote_queue_take(r, WEFT_FOREVER) == nullptr)
                 : kind == 1 ? weft_remote_lock_lock(r, nullptr, WEFT_FOREVER)
                 : kind == 2 ? weft_remote_semaphore_wait(r, WEFT_FOREVER)
                 : kind == 3 ? weft_remote_event_wait(r, WEFT_FOREVER)
                             : weft_remote_barrier_wait(r, WEFT_FOREVER);
    cancelled_error = result == -1 ? errno : 0;
    weft_remote_destroy(r);
    weft_client_destroy(c);
    return nullptr;
}

CASE(test_tasklet_cancelled)
{
    inside([] {
        weft_client *c = weft_client_connect(here.address, here.password, soon());
        weft_remote_lock *l = weft_remote_lock_open(c, "cancelled", 0);
        weft_remote_barrier *b = weft_remote_barrier_open(c, "cancelled", 2);
        assert_int_equal(weft_remote_lock_lock(l, nullptr, soon()), 0);
        for (intptr_t kind = 0; kind < 5; kind++) {
            cancelled_error = 0;
            about_to_wait = false;
            weft_tasklet *t = spawn(wait_for_kind, (void *)kind, true);
            while (!about_to_wait) // which it does before anybody else runs
                weft_tasklet_yield();
            tell(c, "PING"); // Redis has answered its first try then
            weft_tasklet_yield();
            while (kind == 4 && weft_remote_barrier_waiting(b, soon()) == 0)
                weft_tasklet_yield();
            weft_tasklet_cancel(t);
            join(t);
            assert_int_equal(cancelled_error, ECANCELED);
        }
        // Who was cancelled in a barrier broke it, as soon as the server or another one finds out.
        if (here.kind == WEFT_SERVER_REDIS)
            make_past(c, "weft:{cancelled}:waiting");
        for (weft_deadline d = soon(); weft_remote_barrier_waiting(b, soon()) != -1;) {
            assert_true(weft_left(d) > 0);
            weft_tasklet_sleep(weft_in_ms(1));
        }
        assert_int_equal(errno, EOWNERDEAD);
        assert_int_equal(weft_remote_lock_unlock(l, soon()), 0);
        weft_remote_destroy(l);
        weft_remote_destroy(b);
        weft_client_destroy(c);
    });
}

// A proxy that is in a call stays, as a client does.
static void *wait_on(void *event)
{
    cancelled_error = weft_remote_event_wait((weft_remote *)event, soon());
    return nullptr;
}

CASE(test_destroy_in_use)
{
    inside([] {
        weft_client *c = weft_client_connect(here.address, here.password, soon()),
                    *keeper = weft_client_connect(here.address, here.password, soon());
        weft_remote_event *e = weft_remote_event_open(c, "in use"),
                          *idle = weft_remote_event_open(c, "in use"),
                          *k = weft_remote_event_open(keeper, "in use");
        cancelled_error = -1;
        weft_tasklet *t = spawn(wait_on, e, true);
        weft_tasklet_yield();
        assert_errno(weft_remote_destroy(e), EBUSY);
        assert_int_equal(weft_remote_destroy(idle), 0);
        assert_int_equal(weft_remote_event_set(k, soon()), 0);
        join(t);
        assert_int_equal(cancelled_error, 0);
        assert_int_equal(weft_remote_destroy(e), 0);
        assert_int_equal(weft_client_destroy(c), 0);
        weft_remote_destroy(k);
        weft_client_destroy(keeper);
    });
}

// In a child nobody is in the call of a thread that stayed behind.
static int destroy_in_child(void *r)
{
    return weft_remote_destroy((weft_remote *)r) == 0 ? 0 : 1;
}

static void *take_in_thread(void *q)
{
    waiter_id = gettid();
    __atomic_store_n(&about_to_wait, true, __ATOMIC_RELEASE);
    weft_reply_free(weft_remote_queue_take((weft_remote *)q, soon()));
    return nullptr;
}

CASE(test_destroy_after_fork)
{
    char text[256];
    weft_client *c = client_of(&here);
    weft_remote_queue *in = weft_remote_queue_open(c, "left behind", 0);
    weft_remote_text(in, text, sizeof text);
    weft_remote_queue *out = weft_remote_open(text, here.password, soon());
    pthread_t t;
    about_to_wait = false;
    pthread_create(&t, nullptr, take_in_thread, out);
    while (!__atomic_load_n(&about_to_wait, __ATOMIC_ACQUIRE))
        usleep(200);
    wait_asleep(waiter_id);
    assert_errno(weft_remote_destroy(out), EBUSY);
    assert_int_equal(end_of(child_of(destroy_in_child, out)), 0);
    assert_int_equal(weft_remote_queue_put(in, "x", 1, soon()), 0);
    pthread_join(t, nullptr);
    assert_int_equal(weft_remote_destroy(out), 0);
    weft_remote_destroy(in);
    weft_client_destroy(c);
}

// A tasklet forks while another waits: the child's twin of that one leaves the connection alone.
static int twin_error, child_status;

static void *wait_and_tell(void *arg)
{
    weft_reply *r = weft_remote_queue_take((weft_remote *)arg, soon());
    twin_error = r != nullptr ? 0 : errno;
    weft_reply_free(r);
    return nullptr;
}

static int be_the_child(weft_remote_queue *q, weft_remote_queue *in, weft_tasklet *twin)
{
    alarm(60);
    if (weft_remote_queue_length(q, soon()) != -1 || errno != EBUSY)
        return 1; // the twin is in a call
    weft_tasklet_cancel(twin);
    if (weft_tasklet_join(twin, nullptr, soon()) != 0)
        return 2;
    if (twin_error != ECANCELED && twin_error != EPIPE)
        return 3;
    if (weft_remote_queue_put(in, "a", 1, soon()) != 0)
        return 4;
    return weft_remote_queue_put(q, "b", 1, soon()) == 0 ? 0 : 5;
}

CASE(test_tasklet_forks)
{
#if defined(__SANITIZE_THREAD__)
    return; // it does not know the parent's coroutines in the child
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
    return;
#endif
#endif
    inside([] {
        weft_client *c = weft_client_connect(here.address, here.password, soon()),
                    *e = weft_client_connect(here.address, here.password, soon());
        weft_remote_queue *q = weft_remote_queue_open(c, "twins", 0),
                          *in = weft_remote_queue_open(e, "twins", 0);
        twin_error = -1;
        weft_tasklet *t = spawn(wait_and_tell, q, true);
        weft_tasklet_yield(); // which is in its call now
        pid_t child = fork();
        if (child == 0)
            _exit(be_the_child(q, in, t));
        join(t);
        assert_int_equal(twin_error, 0);
        assert_int_equal(waitpid(child, &child_status, 0), child);
        assert_int_equal(weft_remote_queue_length(in, soon()), 1);
        weft_remote_destroy(q);
        weft_remote_destroy(in);
        weft_client_destroy(c);
        weft_client_destroy(e);
    });
    assert_true(WIFEXITED(child_status));
    assert_int_equal(WEXITSTATUS(child_status), 0);
}

// ---- The end of a server ----

static int64_t take_forever(weft_client *c)
{
    weft_remote_queue *q = weft_remote_queue_open(c, "nothing", 0);
    weft_reply *r = weft_remote_queue_take(q, WEFT_FOREVER);
    int error = r == nullptr ? errno : 0;
    weft_reply_free(r);
    weft_remote_destroy(q);
    return error;
}

// Those who wait get EPIPE; later calls connect again, once there is somebody.
CASE(test_server_killed)
{
    server mine = {};
    mine.kind = here.kind;
    start_server(&mine);
    server usual = here;
    here = mine;
    weft_client *c = client_of(&mine);
    weft_remote_semaphore *s = weft_remote_semaphore_open(c, "anew", 2, soon());
    other o[3];
    for (int i = 0; i < 3; i++)
        begin_other(&o[i], take_forever);
    for (int i = 0; i < 3; i++)
        wait_until_waiting(&o[i]);
    kill_server(&mine);
    for (int i = 0; i < 3; i++) {
        end_other(&o[i]);
        assert_int_equal(o[i].result, EPIPE);
    }
    here = usual;
    assert_errno(weft_remote_semaphore_value(s, soon()), EPIPE);
    assert_int_equal(weft_client_fd(c), -1);
    assert_int_equal(weft_remote_semaphore_value(s, soon()), -1);
    assert_true(errno == ECONNREFUSED || errno == ENOENT);
    start_server(&mine);
    assert_int_equal(weft_remote_semaphore_value(s, soon()), 2); // made again
    assert_int_equal(weft_client_server(c), mine.kind);
    weft_remote_destroy(s);
    weft_client_destroy(c);
    end_server(&mine);
}

// One that does not answer is given up a second after the deadline.
CASE(test_server_stopped)
{
    server mine = {};
    mine.kind = here.kind;
    start_server(&mine);
    weft_client *c = client_of(&mine);
    weft_remote_value *v = weft_remote_value_open(c, "value");
    int64_t n = 0, begun = weft_now();
    kill(mine.pid, SIGSTOP);
    assert_errno(weft_remote_value_add(v, 1, &n, weft_in_ms(10)), ETIMEDOUT);
    assert_true(weft_now() - begun >= 1010000000);
    kill(mine.pid, SIGCONT);
    assert_int_equal(weft_remote_value_add(v, 1, &n, soon()), 0);
    assert_in_range(n, 1, 2); // whether the first had its effect is not known
    weft_remote_destroy(v);
    weft_client_destroy(c);
    end_server(&mine);
}

// Who has time waits for one that is slow, however long that is.
static int64_t take_soon(weft_client *c)
{
    weft_remote_queue *q = weft_remote_queue_open(c, "slow", 0);
    weft_reply *r = weft_remote_queue_take(q, soon());
    int error = r == nullptr ? errno : 0;
    weft_reply_free(r);
    weft_remote_destroy(q);
    return error;
}

CASE(test_server_slow)
{
    server mine = {}, usual = here;
    other o;
    mine.kind = here.kind;
    start_server(&mine);
    weft_client *c = client_of(&mine);
    weft_remote_queue *q = weft_remote_queue_open(c, "slow", 0);
    here = mine;
    begin_other(&o, take_soon);
    here = usual;
    wait_until_waiting(&o);
    kill(mine.pid, SIGSTOP);
    poll(nullptr, 0, 1500); // longer than the grace
    kill(mine.pid, SIGCONT);
    assert_int_equal(weft_remote_queue_put(q, "x", 1, soon()), 0);
    end_other(&o);
    assert_int_equal(o.result, 0);
    weft_remote_destroy(q);
    weft_client_destroy(c);
    end_server(&mine);
}

CASE(test_password)
{
    server mine = {};
    mine.kind = here.kind;
    mine.password = "sesame";
    start_server(&mine);
    assert_errno(weft_client_connect(mine.address, nullptr, soon()), EACCES);
    assert_errno(weft_client_connect(mine.address, "sesamy", soon()), EACCES);
    weft_client *c = client_of(&mine);
    char text[256];
    weft_remote_value *v = weft_remote_value_open(c, "value");
    assert_int_equal(weft_remote_value_set(v, 3, soon()), 0);
    shutdown(weft_client_fd(c), SHUT_RDWR);
    assert_errno(weft_remote_value_set(v, 4, soon()), EPIPE);
    assert_int_equal(weft_remote_value_set(v, 5, soon()), 0); // connected again, with the password
    weft_remote_text(v, text, sizeof text);
    assert_null(strstr(text, "sesame"));
    assert_errno(weft_remote_open(text, nullptr, soon()), EACCES);
    weft_remote_value *w = weft_remote_open(text, "sesame", soon());
    assert_non_null(w);
    weft_remote_destroy(w);
    weft_remote_destroy(v);
    weft_client_destroy(c);
    end_server(&mine);
}

// By number and by name, from a thread and from a tasklet.
static const char *tcp_address;

static bool answers_at(const char *address)
{
    weft_client *c = weft_client_connect(address, "sesame", soon());
    weft_remote_value *v = weft_remote_value_open(c, "value");
    bool well = weft_remote_value_add(v, 1, nullptr, soon()) == 0;
    weft_remote_destroy(v);
    return weft_client_destroy(c) == 0 && well;
}

// Whether a connection of that port has the timer that finds out about hosts that have vanished, at
// each end (the column "tr" of /proc/net/tcp).
static int keep_alive_timers(unsigned port)
{
    char text[512];
    int n = 0;
    FILE *f = fopen("/proc/net/tcp", "re");
    assert_non_null(f);
    while (fgets(text, sizeof text, f) != nullptr) {
        unsigned local, remote, state, timer;
        if (sscanf(text, "%*d: %*[^:]:%x %*[^:]:%x %x %*s %x:", &local, &remote, &state, &timer) ==
            4)
            n += (local == port || remote == port) && state == 1 && timer == 2;
    }
    fclose(f);
    return n;
}

static void assert_asks(const char *address)
{
    weft_client *c = weft_client_connect(address, "sesame", soon());
    assert_non_null(c);
    // Another timer may run until what was said is acknowledged.
    unsigned port = (unsigned)atoi(strrchr(address, ':') + 1);
    for (weft_deadline d = soon(); keep_alive_timers(port) != 2; usleep(1000))
        assert_true(weft_left(d) > 0);
    weft_client_destroy(c);
}

CASE(test_tcp)
{
    char by_name[64];
    weft_manager_options o = {};
    if (here.kind == WEFT_SERVER_REDIS)
        return; // which cannot be told to choose a port
    o.password = "sesame";
    weft_manager *m = weft_manager_start("tcp:127.0.0.1:0", &o);
    assert_non_null(m);
    tcp_address = weft_manager_address(m);
    snprintf(by_name, sizeof by_name, "tcp:localhost%s", strrchr(tcp_address, ':'));
    assert_true(answers_at(tcp_address));
    assert_true(answers_at(by_name));
    assert_asks(tcp_address);
    assert_errno(weft_client_connect(tcp_address, nullptr, soon()), EACCES);
    inside([] {
        assert_true(answers_at(tcp_address));
        assert_asks(tcp_address);
    });
    assert_int_equal(weft_manager_stop(m, soon()), 0);
    assert_errno(weft_client_connect(tcp_address, "sesame", soon()), ECONNREFUSED);
    assert_int_equal(weft_manager_destroy(m), 0);
}

int main(void)
{
    return on_both_servers();
}
