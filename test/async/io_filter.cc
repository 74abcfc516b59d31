// A stream by way of a filter: one that is like TLS in what it wants.  Its bytes are turned round
// and come in small frames; it begins with a greeting of both sides, and who has written a thousand
// bytes waits until the other has confirmed that.
#include "paired.h"

static const size_t FRAME = 100, TURN = 1000;

struct side {
    weft_io_filter f; // the first member
    char from_memory[64], to_memory[150];
    char out[4 * FRAME]; // frames: a letter, a length, and bytes
    size_t out_size;
    char frame[FRAME + 2], ready[1 << 16]; // a frame that comes; bytes to be read
    size_t have, ready_size;
    size_t written; // since the last confirmation
    bool begun, greeted, asked, over, said_end;
};

static side a, b; // at p[0] and p[1]

static side *of(weft_io_filter *f)
{
    return (side *)(void *)f;
}

static bool say(side *s, char letter, const char *bytes = nullptr, size_t n = 0)
{
    if (s->out_size + 2 + n > sizeof s->out)
        return false;
    s->out[s->out_size++] = letter;
    s->out[s->out_size++] = (char)n;
    for (size_t i = 0; i < n; i++)
        s->out[s->out_size++] = (char)~bytes[i];
    return true;
}

// Takes one frame in.
static int understand(side *s, char letter, const char *bytes, size_t n)
{
    switch (letter) {
    case 'H':
        s->greeted = true;
        return 0;
    case 'K':
        return say(s, 'k') ? 0 : (errno = EPROTO, -1);
    case 'k':
        s->asked = false;
        s->written = 0;
        return 0;
    case 'E':
        s->over = true;
        return 0;
    case 'D':
        if (s->ready_size + n > sizeof s->ready)
            break;
        for (size_t i = 0; i < n; i++)
            s->ready[s->ready_size++] = (char)~bytes[i];
        return 0;
    default:
        break;
    }
    say(s, '!');
    errno = EPROTO;
    return -1;
}

static int push_side(weft_io_filter *f, const void *bytes, size_t n)
{
    side *s = of(f);
    for (size_t i = 0; i < n; i++) {
        s->frame[s->have++] = ((const char *)bytes)[i];
        if (s->have < 2 || s->have < 2 + (size_t)s->frame[1])
            continue;
        s->have = 0;
        if (understand(s, s->frame[0], s->frame + 2, (size_t)s->frame[1]) != 0)
            return -1;
    }
    return 0;
}

static ssize_t take_side(weft_io_filter *f, void *bytes, size_t n)
{
    side *s = of(f);
    n = n < s->out_size ? n : s->out_size;
    memcpy(bytes, s->out, n);
    s->out_size -= n;
    memmove(s->out, s->out + n, s->out_size);
    return (ssize_t)n;
}

static ssize_t begins(side *s)
{
    if (!s->begun)
        s->begun = say(s, 'H');
    return s->greeted ? 0 : WEFT_IO_WANT_READ;
}

static ssize_t read_side(weft_io_filter *f, void *buf, size_t n)
{
    side *s = of(f);
    if (begins(s) != 0)
        return WEFT_IO_WANT_READ;
    if (s->ready_size == 0)
        return s->over ? 0 : WEFT_IO_WANT_READ;
    n = n < s->ready_size ? n : s->ready_size;
    memcpy(buf, s->ready, n);
    s->ready_size -= n;
    memmove(s->ready, s->ready + n, s->ready_size);
    return (ssize_t)n;
}

static ssize_t write_side(weft_io_filter *f, const void *buf, size_t n)
{
    side *s = of(f);
    if (begins(s) != 0)
        return WEFT_IO_WANT_READ;
    if (s->written >= TURN) {
        if (!s->asked)
            s->asked = say(s, 'K');
        return s->asked ? WEFT_IO_WANT_READ : WEFT_IO_WANT_WRITE;
    }
    n = n < FRAME ? n : FRAME;
    if (!say(s, 'D', (const char *)buf, n))
        return WEFT_IO_WANT_WRITE;
    s->written += n;
    return (ssize_t)n;
}

static int end_side(weft_io_filter *f)
{
    side *s = of(f);
    if (!s->said_end)
        s->said_end = say(s, 'E');
    return s->said_end ? 0 : WEFT_IO_WANT_WRITE;
}

static void begin_side(side *s)
{
    memset(s, 0, sizeof *s);
    s->f.read = read_side;
    s->f.write = write_side;
    s->f.shutdown = end_side;
    s->f.push = push_side;
    s->f.take = take_side;
    s->f.in = {s->from_memory, sizeof s->from_memory, 0, 0};
    s->f.out = {s->to_memory, sizeof s->to_memory, 0, 0};
}

static void with_sides(int kind, void (*fn)(void))
{
    begin_side(&a);
    begin_side(&b);
    with_pair(kind, fn);
}

#define SIDES_CASE(fn, kind) CASE_WITH(with_sides, fn, kind)

// ---- Calls by other tasklets ----

static side *side_of(const transfer *t)
{
    return t->fd == p[0] ? &a : &b;
}

static ssize_t get_some(transfer *t)
{
    return weft_io_filter_read(t->fd, &side_of(t)->f, t->data, t->n, WEFT_FOREVER);
}

static ssize_t put_all(transfer *t)
{
    return weft_io_filter_write(t->fd, &side_of(t)->f, t->data, t->n, WEFT_FOREVER);
}

static char nth(size_t i)
{
    return (char)(i * 7 + i / 251);
}

static const size_t MUCH = 40000;
static weft_deadline (*until)(void); // of each call

// Deadlines end its calls anywhere, and it goes on with what is left.
static ssize_t put_much(transfer *t)
{
    char part[333];
    for (size_t all = 0; all < MUCH;) {
        for (size_t i = 0; i < sizeof part; i++)
            part[i] = nth(all + i);
        size_t n = MUCH - all < sizeof part ? MUCH - all : sizeof part;
        ssize_t put = weft_io_filter_write(t->fd, &side_of(t)->f, part, n, until());
        if (put < 0 && errno != ETIMEDOUT)
            return -1;
        all += put > 0 ? (size_t)put : 0;
        if (put < (ssize_t)n)
            weft_tasklet_yield();
    }
    while (weft_io_filter_shutdown(t->fd, &side_of(t)->f, until()) != 0)
        if (errno != ETIMEDOUT || weft_tasklet_yield() != 0)
            return -1;
    return 0;
}

static ssize_t get_much(transfer *t)
{
    char part[150];
    for (size_t all = 0;;) {
        ssize_t got = weft_io_filter_read(t->fd, &side_of(t)->f, part, sizeof part, until());
        if (got == 0)
            return (ssize_t)all;
        if (got < 0 && (errno != ETIMEDOUT || weft_tasklet_yield() != 0))
            return -1;
        for (ssize_t i = 0; i < got; i++)
            if (part[i] != nth(all++))
                return -3;
    }
}

// Both sides write and read at the same time.
static void exchange(weft_deadline (*d)(void))
{
    transfer t[4];
    until = d;
    for (int i = 0; i < 2; i++) {
        begin(&t[i], put_much, p[i], nullptr, 0);
        begin(&t[2 + i], get_much, p[i], nullptr, 0);
    }
    for (int i = 0; i < 4; i++)
        assert_int_equal(result_of(&t[i]), i < 2 ? 0 : (ssize_t)MUCH);
}

static weft_deadline never(void)
{
    return WEFT_FOREVER;
}

static weft_deadline soon(void)
{
    static int n;
    return ++n % 3 == 0 ? WEFT_NOW : weft_in_us(20 * (n % 7));
}

SIDES_CASE(test_filter_unix, UNIX_PAIR)
{
    exchange(never);
}

SIDES_CASE(test_filter_tcp, TCP_PAIR)
{
    exchange(never);
}

SIDES_CASE(test_filter_loses_nothing, UNIX_PAIR)
{
    exchange(soon);
}

static void greet(void)
{
    transfer t;
    char byte;
    begin(&t, put_all, p[1], text, 1);
    assert_int_equal(weft_io_filter_read(p[0], &a.f, &byte, 1, WEFT_FOREVER), 1);
    assert_int_equal(result_of(&t), 1);
}

static void comes(int fd, side *s, const char *bytes)
{
    char some[64];
    ssize_t n = (ssize_t)strlen(bytes);
    errno = 7;
    assert_int_equal(weft_io_filter_read(fd, &s->f, some, sizeof some, WEFT_FOREVER), n);
    assert_int_equal(errno, 7);
    assert_memory_equal(some, bytes, n);
}

SIDES_CASE(test_filter_half_closed, UNIX_PAIR)
{
    greet();
    assert_int_equal(weft_io_filter_shutdown(p[0], &a.f, WEFT_FOREVER), 0);
    assert_int_equal(weft_io_filter_shutdown(p[0], &a.f, WEFT_FOREVER), 0);
    comes(p[1], &b, "");
    assert_int_equal(weft_io_filter_write(p[1], &b.f, "late", 4, WEFT_FOREVER), 4);
    comes(p[0], &a, "late");
    // Without a word of it the end of the stream is no end.
    close_end(1);
    assert_errno(weft_io_filter_read(p[0], &a.f, text, 1, WEFT_FOREVER), EPIPE);
    assert_int_equal(weft_io_filter_read(p[0], &a.f, text, 0, WEFT_FOREVER), 0);
}

// What came before there was a filter; then what makes no sense, which the other side is told.
SIDES_CASE(test_filter_errors, UNIX_PAIR)
{
    memcpy(a.from_memory, "H\0D\1\x9e", 5);
    a.f.in.end = 5;
    comes(p[0], &a, "a");
    assert_int_equal(weft_io_read(p[1], text, sizeof text, WEFT_FOREVER), 2);
    assert_int_equal(weft_io_write(p[1], "X\0", 2, WEFT_FOREVER), 2);
    assert_errno(weft_io_filter_read(p[0], &a.f, text, 1, WEFT_FOREVER), EPROTO);
    assert_int_equal(weft_io_filter_write(p[0], &a.f, nullptr, 0, WEFT_FOREVER), 0);
    assert_int_equal(weft_io_read(p[1], text, sizeof text, WEFT_FOREVER), 2);
    assert_memory_equal(text, "!", 2);
    close_end(1);
    assert_int_equal(weft_io_filter_write(p[0], &a.f, "x", 1, WEFT_FOREVER), 1);
    assert_errno(weft_io_filter_write(p[0], &a.f, "x", 1, WEFT_FOREVER), EPIPE);
    a.f.take = nullptr;
    assert_errno(weft_io_filter_read(p[0], &a.f, text, 1, WEFT_FOREVER), EINVAL);
    assert_errno(weft_io_filter_shutdown(p[0], nullptr, WEFT_FOREVER), EINVAL);
    b.f.out.room = 0;
    assert_errno(weft_io_filter_write(p[0], &b.f, "x", 1, WEFT_FOREVER), EINVAL);
}

// ---- Cancelled at each wait ----

// It waits; cancelled or closed it says so.
static void begin_waiting(transfer *t, ssize_t (*call)(transfer *), char *data, size_t n)
{
    begin(t, call, p[0], data, n);
    assert_int_equal(t->result, -2);
}

static void is_cancelled_by(transfer *t)
{
    weft_tasklet_cancel(t->tasklet);
    is_cancelled(t);
}

// The other side reads so many bytes.
static void takes(size_t n)
{
    while (n > 0) {
        ssize_t got = weft_io_filter_read(p[1], &b.f, text, sizeof text, weft_in_s(20));
        assert_true(got > 0 && (size_t)got <= n);
        n -= (size_t)got;
    }
}

// In the greeting; then before a confirmation, where one reads and the other waits for its turn.
SIDES_CASE(test_filter_cancelled, UNIX_PAIR)
{
    static char thousand[TURN], more[] = "more";
    transfer r, w, third;
    begin_waiting(&r, get_some, text, sizeof text);
    is_cancelled_by(&r);
    begin_waiting(&w, put_all, more, 4);
    is_cancelled_by(&w);
    greet();
    assert_int_equal(weft_io_filter_write(p[0], &a.f, thousand, TURN, WEFT_FOREVER), TURN);
    begin_waiting(&r, get_some, text, sizeof text);
    begin_waiting(&w, put_all, more, 4);
    begin(&third, put_all, p[0], more, 4);
    assert_int_equal(result_of(&third), -1);
    assert_int_equal(third.error, EBUSY);
    is_cancelled_by(&w);
    begin_waiting(&w, put_all, more, 4);
    is_cancelled_by(&r); // now the other is the one that reads
    takes(TURN);
    assert_int_equal(result_of(&w), 4);
    takes(4);
    // Closed, both are told.
    assert_int_equal(weft_io_filter_write(p[0], &a.f, thousand, TURN - 4, WEFT_FOREVER), TURN - 4);
    begin_waiting(&r, get_some, text, sizeof text);
    begin_waiting(&w, put_all, more, 4);
    close_end(0);
    is_cancelled(&r);
    is_cancelled(&w);
}

// While the other side doesn't read: what one can't send any more the next sends.
SIDES_CASE(test_filter_cancelled_as_it_sends, UNIX_PAIR)
{
    static char part[FRAME], answer[8];
    transfer r, w;
    int least = 1;
    size_t sent = 0;
    setsockopt(p[0], SOL_SOCKET, SO_SNDBUF, &least, sizeof least);
    greet();
    for (ssize_t n; (n = weft_io_filter_write(p[0], &a.f, part, 8, weft_in_ms(1))) > 0;)
        sent += (size_t)n;
    assert_int_equal(errno, ETIMEDOUT);
    if (sent > TURN / 2) // no buffer so small can be had here
        return;
    begin_waiting(&w, put_all, part, 8);
    is_cancelled_by(&w);
    begin_waiting(&r, get_some, answer, sizeof answer); // has to send first
    begin_waiting(&w, put_all, part, 8);
    is_cancelled_by(&r);
    begin_waiting(&r, get_some, answer, sizeof answer); // reads, for the other sends
    is_cancelled_by(&w);
    takes(sent);
    assert_int_equal(weft_io_filter_write(p[1], &b.f, "got it", 6, WEFT_FOREVER), 6);
    assert_int_equal(result_of(&r), 6);
    assert_memory_equal(answer, "got it", 6);
}

RUN_CASES()
