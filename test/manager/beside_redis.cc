// The same random commands to weft's server and to redis-server 7.0, valid and not: the replies
// are the same bytes, but for what weft-manager(7) says may differ.
//
//     WEFT_SEED=n        this sequence again (a failure prints it)
//     BESIDE_COMMANDS=n  so many commands a run
//     BESIDE_SELF=1      Redis beside itself: what fails then is the comparison's fault
#include "beside.h"
#include "compare.h"

enum { CONNECTIONS = 4, BATCH = 400 };
static const size_t FEW = RUNNER_SANITIZED ? 40000 : 200000; // commands a run

static raw sides[SIDES][CONNECTIONS];
static uint64_t seed;

// ---- What was sent: for the history of a failure ----

struct sent {
    int connection, kind, n;
    uint32_t at; // of its words in `said`, each a size and so many bytes
};

static sent *history;
static size_t sent_count, sent_room, said_used, said_room;
static char *said;
static const uint32_t REMEMBERED = 200; // bytes of a word

static void remember(int connection, const words *w)
{
    if (sent_count == sent_room)
        history = (sent *)realloc(history, (sent_room = sent_room * 2 + 1000) * sizeof *history);
    history[sent_count++] = {connection, w->kind, w->n, (uint32_t)said_used};
    for (int i = 0; i < w->n; i++) {
        uint32_t n = (uint32_t)w->size[i], kept = n < REMEMBERED ? n : REMEMBERED;
        if (said_room - said_used < kept + 8)
            said = (char *)realloc(said, said_room = said_room * 2 + 65536);
        memcpy(said + said_used, &n, 4);
        memcpy(said + said_used + 4, w->text[i], kept);
        said_used += kept + 4;
    }
}

static void forget_all(void)
{
    sent_count = said_used = 0;
}

// The words of one that was sent; the last is where they end.
static int words_of(const sent *s, span out[WORDS])
{
    const char *p = said + s->at;
    for (int i = 0; i < s->n; i++) {
        uint32_t n;
        memcpy(&n, p, 4);
        out[i] = {p + 4, n};
        p += 4 + (n < REMEMBERED ? n : REMEMBERED);
    }
    return s->n;
}

static void show_sent(size_t i)
{
    span w[WORDS];
    int n = words_of(&history[i], w);
    fprintf(stderr, "  %zu on connection %d:", i, history[i].connection);
    for (int k = 0; k < n; k++) {
        fputc(' ', stderr);
        show(stderr, w[k].p, w[k].n < REMEMBERED ? w[k].n : REMEMBERED, 60);
        if (w[k].n > REMEMBERED)
            fprintf(stderr, "(%zu)", w[k].n);
    }
    fputc('\n', stderr);
}

// Whether an earlier command may matter to a later one: it names one of its keys, or is of the
// connection's state.
static bool concerns(const sent *a, const sent *b)
{
    span x[WORDS], y[WORDS];
    int n = words_of(a, x), m = words_of(b, y);
    if (a->connection == b->connection && b->kind == EXECUTED)
        return true;
    if (n > 0 && a->connection == b->connection &&
        (strncasecmp(x[0].p, "select", 6) == 0 || strncasecmp(x[0].p, "hello", 5) == 0))
        return true;
    for (int i = 1; i < n; i++)
        for (int k = 1; k < m; k++)
            if (same_bytes(x[i], y[k]) && x[i].n > 1)
                return true;
    return n > 0 && strncasecmp(x[0].p, "flush", 5) == 0;
}

static void show_history(size_t of)
{
    size_t from = of, shown = 0;
    for (; from > 0 && of - from < 3000 && shown < 25; from--)
        shown += concerns(&history[from - 1], &history[of]);
    for (; from < of; from++)
        if (concerns(&history[from], &history[of]))
            show_sent(from);
    fputs("this one:\n", stderr);
    show_sent(of);
}

static void differ(span ours, span theirs)
{
    fputs("weft:  ", stderr);
    show(stderr, ours.p, ours.n, 1500);
    fputs("\nredis: ", stderr);
    show(stderr, theirs.p, theirs.n, 1500);
    fputc('\n', stderr);
    fail();
}

static void differ_at(size_t of, span ours, span theirs)
{
    fprintf(stderr, "WEFT_SEED=%llu: the replies to command %zu differ; before it:\n",
            (unsigned long long)seed, of);
    show_history(of);
    differ(ours, theirs);
}

// ---- Transactions ----

enum { QUEUED_ROOM = 4096 };
static uint8_t queued_kinds[CONNECTIONS][QUEUED_ROOM];
static size_t queued_count[CONNECTIONS], executed;

// What EXEC gives, a reply for each command that was queued.
static bool same_executed(int connection, span a, span b)
{
    size_t n, m;
    if (*a.p != '*' || *b.p != '*')
        return same_bytes(a, b);
    span *x = items_of(a, 1, &n), *y = items_of(b, 1, &m);
    bool same = n == m && (n == 0 || n == queued_count[connection]);
    for (size_t i = 0; same && i < n; i++)
        same = same_replies(queued_kinds[connection][i], x[i], y[i]);
    executed += n > 0;
    free(x);
    free(y);
    return same;
}

static bool same_here(const sent *s, span ours, span theirs)
{
    size_t *n = &queued_count[s->connection];
    if (s->kind == BEGINS && is_text(ours, "+OK\r\n"))
        *n = 0;
    if (is_text(ours, "+QUEUED\r\n") && *n < QUEUED_ROOM)
        queued_kinds[s->connection][(*n)++] = (uint8_t)s->kind;
    if (s->kind == EXECUTED)
        return same_executed(s->connection, ours, theirs);
    return same_replies(s->kind, ours, theirs);
}

// ---- A batch: to both at once, on one connection of each ----

struct batch {
    char *text;
    size_t used, room, first, count;
    span replies[SIDES][BATCH];
};

static batch now;

static void batch_begin(void)
{
    now.used = now.count = 0;
    now.first = sent_count;
}

static void batch_add(const void *p, size_t n)
{
    if (now.room - now.used < n)
        now.text = (char *)realloc(now.text, now.room = now.room * 2 + n);
    if (n > 0)
        memcpy(now.text + now.used, p, n);
    now.used += n;
}

static void batch_command(const words *w)
{
    char head[32];
    batch_add(head, (size_t)snprintf(head, sizeof head, "*%d\r\n", w->n));
    for (int i = 0; i < w->n; i++) {
        batch_add(head, (size_t)snprintf(head, sizeof head, "$%zu\r\n", w->size[i]));
        batch_add(w->text[i], w->size[i]);
        batch_add("\r\n", 2);
    }
    now.count++;
}

// Sends what the peer takes, notes the replies that are complete.
struct exchange {
    raw *c;
    size_t sent, replies, at; // replies that are here, and where the next begins after used
    size_t ends[BATCH];
};

static void exchange_receive(exchange *x)
{
    ssize_t n;
    while ((n = raw_fill(x->c)) > 0)
        ;
    for (size_t one; x->replies < now.count; x->replies++, x->at += one) {
        one = resp_size(x->c->in + x->c->used + x->at, x->c->have - x->c->used - x->at);
        if (one == 0)
            break;
        x->ends[x->replies] = x->at + one;
    }
    if (n == 0 && x->replies < now.count)
        x->sent = SIZE_MAX; // it is cut
}

static void exchange_send(exchange *x)
{
    ssize_t n = send(x->c->fd, now.text + x->sent, now.used - x->sent, MSG_DONTWAIT | MSG_NOSIGNAL);
    x->sent += n > 0 ? (size_t)n : 0;
}

static void no_reply(const char *who, size_t of)
{
    fprintf(stderr, "WEFT_SEED=%llu: no reply to command %zu from %s; before it:\n",
            (unsigned long long)seed, of, who);
    show_history(of);
    fail();
}

static void batch_exchange(int connection)
{
    static exchange x[SIDES];
    weft_deadline d = weft_in_s(RAW_SECONDS);
    for (int s = 0; s < SIDES; s++)
        x[s] = {&sides[s][connection], 0, 0, 0, {}};
    while (x[OURS].replies < now.count || x[REDIS].replies < now.count) {
        struct pollfd p[SIDES];
        for (int s = 0; s < SIDES; s++) {
            p[s] = {x[s].c->fd, (short)(POLLIN | (x[s].sent < now.used ? POLLOUT : 0)), 0};
            p[s].fd = x[s].replies < now.count ? p[s].fd : -1;
            if (x[s].sent == SIZE_MAX || weft_left(d) <= 0)
                no_reply(s == OURS ? "weft" : "redis", now.first + x[s].replies);
        }
        poll(p, SIDES, 1000);
        for (int s = 0; s < SIDES; s++) {
            if ((p[s].revents & POLLOUT) != 0)
                exchange_send(&x[s]);
            if ((p[s].revents & ~POLLOUT) != 0)
                exchange_receive(&x[s]);
        }
    }
    for (int s = 0; s < SIDES; s++)
        for (size_t i = 0, at = 0; i < now.count; at = x[s].ends[i++])
            now.replies[s][i] = {x[s].c->in + x[s].c->used + at, x[s].ends[i] - at};
    for (size_t i = 0; i < now.count; i++)
        if (!same_here(&history[now.first + i], now.replies[OURS][i], now.replies[REDIS][i]))
            differ_at(now.first + i, now.replies[OURS][i], now.replies[REDIS][i]);
    for (int s = 0; s < SIDES; s++)
        x[s].c->used += x[s].at;
}

// ---- Runs ----

static void close_all(void)
{
    sides_close(sides[0], CONNECTIONS);
}

static size_t commands_a_run(void)
{
    const char *n = getenv("BESIDE_COMMANDS");
    return n != nullptr ? (size_t)atoll(n) : FEW;
}

static void run_begin(const char *protocol)
{
    seed = generator_seed(runner_test);
    forget_all();
    sides_open(sides[0], CONNECTIONS);
    for (int i = 0; i < CONNECTIONS; i++)
        for (int s = 0; s < SIDES; s++) {
            const char *hello = ask(&sides[s][i], protocol);
            assert_true(hello[0] == '%' || hello[0] == '*');
        }
    both_say(sides[OURS], sides[REDIS], "FLUSHALL");
}

static void run_random(const char *protocol)
{
    static words w;
    needs_redis();
    run_begin(protocol);
    for (size_t all = commands_a_run(); sent_count < all;) {
        int connection = (int)chance(CONNECTIONS);
        uint32_t n = 1 + chance(chance(4) == 0 ? 3 : BATCH);
        batch_begin();
        for (uint32_t i = 0; i < n; i++) {
            make_command(&w);
            remember(connection, &w);
            batch_command(&w);
        }
        batch_exchange(connection);
    }
    close_all();
    assert_true(executed > sent_count / 200);
    executed = 0;
}

CASE(test_random_resp2)
{
    run_random("HELLO 2");
}

CASE(test_random_resp3)
{
    run_random("HELLO 3");
}

// ---- Inline commands ----

// Words as a person may type them: quoted in two ways, with escapes.
static size_t inline_word(char *to)
{
    // clang-format off
    static const char *const plain[] = {
        "get", "SET", "k1", "k2", "ping", "'two words'", "\"\\x41\"", "'it\\'s'", "\"\"",
        "a\\b", "\"\\n\\r\\t\\a\\\"\"", "echo", "12", "'\\n'", "\"q\\q\""};
    // clang-format on
    return (size_t)sprintf(to, "%s", ANY_OF(plain));
}

static void inline_line(char *to, words *w)
{
    static const char *const blanks[] = {" ", "  ", "\t", " \t "};
    static const char *const first[] = {"get k1", "set k1",     "echo",
                                        "PING",   "mget k1 k2", "append k1"};
    char *p = to + sprintf(to, "%s%s", chance(10) == 0 ? " " : "", ANY_OF(first));
    for (uint32_t n = chance(4); n > 0; n--) {
        p += sprintf(p, "%s", ANY_OF(blanks));
        p += inline_word(p);
    }
    p += sprintf(p, "%s", chance(8) == 0 ? " " : "");
    *w = {};
    word(w, to, (size_t)(p - to));
    sprintf(p, "%s", chance(2) > 0 ? "\r\n" : "\n");
}

BESIDE_CASE(test_inline, run_begin("HELLO 2"))
{
    static words w;
    char line[2000];
    for (int round = 0; round < 200; round++) {
        batch_begin();
        for (uint32_t n = 1 + chance(50); n > 0; n--) {
            inline_line(line, &w);
            remember(0, &w);
            if (chance(5) == 0)
                batch_add("\r\n", 2); // an empty line is no command
            batch_add(line, strlen(line));
            now.count++;
        }
        batch_exchange(0);
    }
}

// ---- What is no request ----

// All a server says to these bytes until it cuts the connection, or until it has had the end.
static span whole_answer(const char *address, const char *text, size_t n)
{
    raw c;
    raw_open(&c, address);
    raw_send(&c, text, n);
    shutdown(c.fd, SHUT_WR);
    assert_true(raw_ended(&c, weft_in_s(RAW_SECONDS)));
    span s = {(char *)memcpy(malloc(c.have + 1), c.in, c.have), c.have};
    raw_close(&c);
    return s;
}

// A few commands with some bytes changed, lost or doubled.
static void break_request(void)
{
    // Not 0: Redis finds no end of a line behind it, and waits for one.
    static const char bytes[] = "*$\r\n0123456789-+ \"'\\x\xff";
    for (uint32_t n = 1 + chance(3); n > 0 && now.used > 2; n--) {
        size_t at = chance((uint32_t)now.used - 1);
        switch (chance(4)) {
        case 0:
            memmove(now.text + at, now.text + at + 1, --now.used - at);
            break;
        case 1:
            batch_add("x", 1);
            memmove(now.text + at + 1, now.text + at, now.used - 1 - at);
            now.text[at] = bytes[chance(sizeof bytes - 1)];
            break;
        case 2:
            now.text[at] = bytes[chance(sizeof bytes - 1)];
            break;
        default:
            now.used = at + 1;
        }
    }
}

BESIDE_CASE(test_broken_requests, run_begin("HELLO 2"))
{
    static const char *const lines[] = {"GET k", "SET k v", "PING", "ECHO word", "MGET a b c"};
    for (int round = 0; round < (RUNNER_SANITIZED ? 1000 : 5000); round++) {
        char text[256];
        batch_begin();
        for (uint32_t n = 1 + chance(3); n > 0; n--)
            batch_add(text, request_of(text, sizeof text, ANY_OF(lines)));
        break_request();
        span a = whole_answer(address_of[OURS], now.text, now.used);
        span b = whole_answer(address_of[REDIS], now.text, now.used);
        if (!same_bytes(a, b)) {
            fprintf(stderr, "WEFT_SEED=%llu: to ", (unsigned long long)seed);
            show(stderr, now.text, now.used, 1000);
            fputc('\n', stderr);
            differ(a, b);
        }
        free((void *)a.p);
        free((void *)b.p);
    }
}

// ---- SCAN in steps ----

static int scan_order(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

// Each key that SCAN gives, once: how many.  `most`: no step may give many more than it was asked.
static size_t scan_all(raw *c, const char *options, char *keys[], size_t room)
{
    char line[200], cursor[32] = "0";
    size_t n = 0, unique = 0;
    do {
        snprintf(line, sizeof line, "SCAN %s %s", cursor, options);
        const char *r = ask(c, line);
        size_t count, parts;
        span *two = items_of({r, strlen(r)}, 1, &parts);
        assert_int_equal(parts, 2);
        snprintf(cursor, sizeof cursor, "%.*s", (int)strcspn(strchr(two[0].p, '\n') + 1, "\r"),
                 strchr(two[0].p, '\n') + 1);
        span *all = items_of(two[1], 1, &count);
        for (size_t i = 0; i < count && n < room; i++) {
            const char *key = strchr(all[i].p, '\n') + 1;
            keys[n++] = strndup(key, strcspn(key, "\r"));
        }
        free(all);
        free(two);
    } while (strcmp(cursor, "0") != 0);
    qsort(keys, n, sizeof *keys, scan_order);
    for (size_t i = 0; i < n; i++)
        if (i + 1 < n && strcmp(keys[i], keys[i + 1]) == 0)
            free(keys[i]);
        else
            keys[unique++] = keys[i];
    return unique;
}

BESIDE_CASE(test_scan_in_steps, run_begin("HELLO 2"))
{
    enum { KEYS = 3000 };
    static char *found[SIDES][KEYS * 2];
    static const char *const options[] = {"COUNT 7", "COUNT 100 MATCH k1*", "TYPE list COUNT 50"};
    for (int i = 0; i < KEYS; i++) {
        char line[64];
        snprintf(line, sizeof line, i % 3 == 0 ? "RPUSH k%d x" : "SET k%d x", i);
        both_say(sides[OURS], sides[REDIS], line);
    }
    for (const char *o : options) {
        size_t n = scan_all(&sides[OURS][0], o, found[OURS], KEYS * 2);
        size_t m = scan_all(&sides[REDIS][0], o, found[REDIS], KEYS * 2);
        assert_int_equal(n, m);
        for (size_t i = 0; i < n; i++) {
            assert_string_equal(found[OURS][i], found[REDIS][i]);
            free(found[OURS][i]);
            free(found[REDIS][i]);
        }
    }
}

// ---- Keys that expire while one looks ----

struct mortal {
    weft_deadline sent, kept; // before the command went out, and after its reply was here
    int ms;
    bool gone;
};

// A key that was set with so many milliseconds is there before those have passed, however late
// the server took the command up, and is not once they have.
static void look(raw *c, mortal *m, int i)
{
    char line[64];
    snprintf(line, sizeof line, i % 2 != 0 ? "GET m%d" : "EXISTS m%d", i);
    weft_deadline before = weft_now();
    const char *r = ask(c, line);
    weft_deadline after = weft_now();
    bool there = strcmp(r, ":0\r\n") != 0 && strcmp(r, "$-1\r\n") != 0;
    // Both count whole milliseconds of a clock: one less or more.
    if (!there && after < m->sent + (m->ms - 1) * 1000000ll)
        fail_msg("m%d of %d ms is gone after %lld us", i, m->ms,
                 (long long)(after - m->sent) / 1000);
    if (there && before > m->kept + (m->ms + 2) * 1000000ll)
        fail_msg("m%d of %d ms is there after %lld us", i, m->ms,
                 (long long)(before - m->kept) / 1000);
    m->gone = !there;
}

static void set_mortal(raw *c, mortal *m, int i)
{
    static const char *const forms_of[] = {"SET m%d v PX %d", "PEXPIRE m%d %d"};
    char line[64];
    *m = {0, 0, 1 + (int)chance(300), false};
    if (i % 3 == 0) {
        snprintf(line, sizeof line, "SET m%d v", i);
        says(c, line, "+OK\r\n");
    }
    snprintf(line, sizeof line, forms_of[i % 3 == 0], i, m->ms);
    m->sent = weft_now();
    const char *r = ask(c, line);
    assert_true(strcmp(r, "+OK\r\n") == 0 || strcmp(r, ":1\r\n") == 0);
    m->kept = weft_now();
}

BESIDE_CASE(test_expiry, run_begin("HELLO 2"))
{
    enum { MORTALS = 200 };
    static mortal m[SIDES][MORTALS];
    for (int i = 0; i < MORTALS; i++)
        for (int s = 0; s < SIDES; s++)
            set_mortal(&sides[s][0], &m[s][i], i);
    for (int left = 1; left > 0;) {
        left = 0;
        for (int i = 0; i < MORTALS; i++)
            for (int s = 0; s < SIDES; s++)
                if (!m[s][i].gone) {
                    look(&sides[s][0], &m[s][i], i);
                    left += !m[s][i].gone;
                }
    }
}

// Keys that nobody looks at go as well, and DBSIZE with them.
BESIDE_CASE(test_expiry_unseen, run_begin("HELLO 2"))
{
    for (int s = 0; s < SIDES; s++) {
        raw *c = &sides[s][0];
        for (int i = 0; i < 1000; i++) {
            char line[64];
            snprintf(line, sizeof line, "SET unseen%d v PX %d", i, 1 + i % 50);
            says(c, line, "+OK\r\n");
        }
        weft_deadline d = weft_in_s(RAW_SECONDS);
        while (ask_number(c, "DBSIZE") > 0 && weft_left(d) > 0)
            usleep(1000);
        says(c, "DBSIZE", ":0\r\n");
    }
}

// ---- Large values ----

BESIDE_CASE(test_large_values, run_begin("HELLO 3"))
{
    static const size_t sizes[] = {1,     15,    16,    127,     128,    16383,
                                   16384, 65535, 65536, 1 << 20, 5 << 20};
    static words w;
    char *value = (char *)malloc(5 << 20);
    for (size_t i = 0; i < 5 << 20; i++)
        value[i] = (char)chance(256);
    for (size_t n : sizes) {
        static const char *const commands[][3] = {
            {"SET", "s", nullptr},   {"GET", "s", nullptr}, {"APPEND", "s", nullptr},
            {"RPUSH", "l", nullptr}, {"HSET", "h", "f"},    {"ECHO", nullptr, nullptr}};
        static const char *const reads[] = {"GET s", "STRLEN s", "LINDEX l -1", "HGET h f",
                                            "LPOP l"};
        batch_begin();
        for (auto &command : commands) {
            w = {};
            for (const char *part : command)
                if (part != nullptr)
                    word_text(&w, part);
            if (strcmp(command[0], "GET") != 0)
                word(&w, value, n);
            remember(0, &w);
            batch_command(&w);
        }
        for (const char *line : reads) {
            char text[64];
            size_t k = request_of(text, sizeof text, line);
            w = {};
            word_text(&w, line);
            remember(0, &w);
            batch_add(text, k);
            now.count++;
        }
        batch_exchange(0);
    }
    free(value);
}

static int end(void **state)
{
    free(history);
    free(said);
    free(now.text);
    return beside_end(state);
}

RUN_CASES(beside_begin, end)
