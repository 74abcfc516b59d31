// Connections at their edges: handlers that are cancelled, and requests that come as it drains.
#include "served.h"

#include <sys/eventfd.h>
#include <sys/ioctl.h>

static weft_tasklet *held;
static bool go_on;

// Says when it runs, and waits for a cancel.
static void hold(weft_http_exchange *x, void *)
{
    held = weft_tasklet_self();
    weft_tasklet_sleep(WEFT_FOREVER);
    weft_http_reply(x, 200, "text/plain", "held\n", 5);
}

// 500: this one can't wait.
static void nap(weft_http_exchange *x, void *)
{
    held = weft_tasklet_self();
    if (weft_tasklet_sleep(weft_in_ms(1)) == 0)
        weft_http_reply(x, 200, "text/plain", "nap\n", 4);
}

#define GET(path) "GET " path " HTTP/1.1\r\nHost: a\r\n\r\n"

// It is the handler that is cancelled, and neither the next request of its connection nor those of
// others.
INSIDE_CASE(test_cancelled_handler)
{
    enum { OTHERS = 8 };
    int fds[OTHERS];
    held = nullptr;
    serve();
    route("GET", "/hold", hold);
    route("GET", "/nap", nap);
    int fd = client();
    say(fd, GET("/hold") GET("/nap"));
    UNTIL(held != nullptr);
    for (int &each : fds)
        each = client();
    for (int each : fds)
        say(each, GET("/nap"));
    assert_int_equal(weft_tasklet_cancel(held), 0);
    hear_all(fd, heard, sizeof heard);
    assert_string_equal(body_of(heard), "held\n");
    weft_io_close(fd);
    for (int each : fds) {
        hear(each, heard, sizeof heard);
        assert_memory_equal(heard, "HTTP/1.1 200", 12);
        weft_io_close(each);
    }
    for (int i = 0; i < OTHERS; i++)
        assert_int_equal(ask_once(GET("/nap")), 200);
    unserve();
}

static void cancel_held(weft_watch *w, int, void *)
{
    uint64_t count;
    assert_int_equal(read(w->fd, &count, sizeof count), sizeof count);
    weft_tasklet_cancel(held);
}

// Too late: its tasklet has nothing to do any more, and is called for the next request just then.
INSIDE_CASE(test_cancelled_late)
{
    uint64_t one = 1;
    weft_watch w = {};
    int bell = eventfd(0, EFD_CLOEXEC);
    serve();
    route("GET", "/nap", nap);
    assert_int_equal(weft_loop_watch(weft_io_loop(), &w, bell, WEFT_READ, cancel_held, nullptr), 0);
    int fd = client();
    for (int i = 0; i < 20; i++) {
        assert_int_equal(ask(fd, GET("/nap")), 200);
        UNTIL(counters().idle == 1);
        assert_int_equal(write(bell, &one, sizeof one), sizeof one); // so that it rings first
        say(fd, GET("/nap"));
        hear(fd, heard, sizeof heard);
        assert_memory_equal(heard, "HTTP/1.1 200", 12);
    }
    weft_io_close(fd);
    weft_loop_unwatch(&w);
    close(bell);
    unserve();
}

static void begin_and_wait(weft_http_exchange *x, void *)
{
    weft_http_begin(x, 200, "text/plain", 5);
    weft_http_write(x, "first", 5, soon());
    held = weft_tasklet_self();
    while (!go_on)
        weft_tasklet_sleep(weft_in_ms(1));
}

// A request that came before the client was told is answered, not reset.
INSIDE_CASE(test_request_in_a_drain)
{
    held = nullptr;
    go_on = false;
    serve();
    route("GET", "/wait", begin_and_wait);
    route("GET", "/hello", hello);
    int fd = client();
    assert_int_equal(ask(fd, GET("/wait")), 200);
    assert_false(heard_field("Connection: close"));
    assert_non_null(held);
    say(fd, GET("/hello"));
    int unsent = 1; // what the other end's kernel has not got
    UNTIL(ioctl(fd, TIOCOUTQ, &unsent) == 0 && unsent == 0);
    assert_int_equal(weft_http_stop(server), 0);
    go_on = true;
    hear(fd, heard, sizeof heard);
    assert_string_equal(body_of(heard), "hello\n");
    assert_true(heard_field("Connection: close"));
    is_closed(fd);
    join(serving_tasklet);
    assert_int_equal(serve_result, 0);
    assert_int_equal(weft_http_server_destroy(server), 0);
    weft_io_close(listener);
}

// ---- Fast clients ----

static size_t turns, turns_then;
static const size_t MANY = 20000;

static void count_turns(void)
{
    while (!go_on) {
        turns++;
        weft_tasklet_yield();
    }
}

static void read_bytes(weft_http_exchange *x, void *)
{
    char byte;
    turns = 0;
    if (weft_http_upgrade(x, "x", soon()) != 0)
        return;
    for (size_t n = 0; n < MANY && weft_http_raw_read(x, &byte, 1, soon()) == 1; n++)
        ;
    turns_then = turns;
}

static void write_bytes(weft_http_exchange *x, void *)
{
    turns = 0;
    weft_http_begin(x, 200, nullptr, (int64_t)MANY);
    for (size_t n = 0; n < MANY && weft_http_write(x, "x", 1, soon()) == 1; n++)
        weft_http_flush(x, soon());
    turns_then = turns;
}

// Who need not wait for the client lets others have their turns.
INSIDE_CASE(test_fast_clients)
{
    static char many[MANY];
    go_on = false;
    turns_then = 0;
    serve();
    route("GET", "/read", read_bytes);
    route("GET", "/write", write_bytes);
    weft_tasklet *counter = spawn(count_turns, true);
    int fd = client();
    say(fd, "GET /read HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n");
    say_bytes(fd, many, sizeof many);
    UNTIL(turns_then != 0);
    assert_true(turns_then > 50);
    weft_io_close(fd);
    turns_then = 0;
    fd = client();
    say(fd, GET("/write"));
    UNTIL(turns_then != 0);
    assert_true(turns_then > 50);
    weft_io_close(fd);
    go_on = true;
    join(counter);
    unserve();
}

RUN_CASES()
