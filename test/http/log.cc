// The access log: what lines look like, when they are written, and what becomes of those that
// nobody takes.
#include "served.h"

#include <http/date.h>
#include <http/log.h>

#include <limits.h>
#include <sys/stat.h>

using namespace weft;

static char folder[] = "/tmp/weft-log-XXXXXX", path[60], moved[60];

static int make_folder(void **state)
{
    strcpy(folder, "/tmp/weft-log-XXXXXX");
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/log", folder);
    snprintf(moved, sizeof moved, "%s/log.1", folder);
    return runner_begin(state);
}

static int remove_folder(void **state)
{
    unlink(path);
    unlink(moved);
    assert_int_equal(rmdir(folder), 0);
    return runner_end(state);
}

#define LOG_CASE(fn)                                                                               \
    static void fn##_itself(void);                                                                 \
    CASE_BETWEEN(fn, make_folder, remove_folder)                                                   \
    {                                                                                              \
        inside(fn##_itself);                                                                       \
    }                                                                                              \
    static void fn##_itself(void)

static const char *content(const char *file)
{
    static char text[1 << 20];
    int fd = open(file, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, text, sizeof text - 1) : 0;
    close(fd);
    text[n] = 0;
    return text;
}

static uint64_t dropped(const weft_http_log *l)
{
    weft_http_log_counters c;
    assert_int_equal(weft_http_log_statistics(l, &c), 0);
    return c.dropped;
}

static size_t lines_of(const char *text)
{
    size_t n = 0;
    for (; (text = strchr(text, '\n')) != nullptr; text++)
        n++;
    return n;
}

static log_line line_of(const char *target)
{
    log_line line = {};
    line.host = "127.0.0.1";
    line.method = "GET";
    line.target = target;
    line.version = 11;
    line.status = 200;
    line.sent = 1234;
    line.seconds = 784111777;
    return line;
}

static void check(const log_line *line, const char *expected)
{
    char text[LOG_LINE];
    size_t n = log_format(text, line, "06/Nov/1994:08:49:37 +0000");
    assert_true(n <= sizeof text);
    text[n - 1] = 0;
    assert_string_equal(text, expected);
}

#define DATE " - - [06/Nov/1994:08:49:37 +0000] "

CASE(test_log_format)
{
    log_line line = line_of("/a?b=c");
    check(&line, "127.0.0.1" DATE "\"GET /a?b=c HTTP/1.1\" 200 1234 \"-\" \"-\"");
    line.referer = "http://example.org/";
    line.agent = "curl/7.88.1";
    line.version = 10;
    line.sent = 0;
    check(&line,
          "127.0.0.1" DATE "\"GET /a?b=c HTTP/1.0\" 200 - \"http://example.org/\" \"curl/7.88.1\"");
    line = {};
    check(&line, "-" DATE "\"-\" 000 - \"-\" \"-\"");
    line = line_of("");
    line.host = "2001:db8::1";
    line.status = 400;
    line.referer = line.agent = "";
    line.sent = UINT64_C(1) << 40;
    check(&line, "2001:db8::1" DATE "\"GET - HTTP/1.1\" 400 1099511627776 \"-\" \"-\"");
}

// No client can forge a line, or the end of a field, or what a terminal does.
CASE(test_log_escapes)
{
    log_line line = line_of("/\"\\\r\n\x1b[2J\xc3\xa4\x7f");
    line.method = "G\"\nT";
    line.referer = "\" 200 1 \"";
    line.agent = "a\tb\x01";
    check(&line, "127.0.0.1" DATE "\"G??T /\\\"\\\\\\x0d\\x0a\\x1b[2J\\xc3\\xa4\\x7f HTTP/1.1\" "
                 "200 1234 \"\\\" 200 1 \\\"\" \"a\\x09b\\x01\"");
}

CASE(test_log_long)
{
    static char text[100000], out[LOG_LINE + 1];
    for (int c = 1; c < 256; c += 254) {
        memset(text, c, sizeof text - 1);
        log_line line = line_of(text);
        line.method = line.host = line.referer = line.agent = text;
        out[LOG_LINE] = '!';
        size_t n = log_format(out, &line, "06/Nov/1994:08:49:37 +0000");
        assert_true(n < LOG_LINE && n > 3 * (LOG_TEXT - 4) && out[n - 1] == '\n');
        assert_int_equal(out[LOG_LINE], '!');
    }
}

LOG_CASE(test_log_written_in_a_second)
{
    setenv("TZ", "UTC0", 1);
    tzset();
    weft_http_log *l = weft_http_log_open(path);
    log_line line = line_of("/first");
    int64_t before = weft_now();
    log_put(l, &line);
    log_put(l, &line);
    assert_string_equal(content(path), "");
    while (content(path)[0] == 0 && weft_now() - before < INT64_C(30000000000))
        weft_tasklet_sleep(weft_in_ms(20));
    assert_true(weft_now() - before >= 1000000000);
    assert_int_equal(lines_of(content(path)), 2);
    assert_non_null(strstr(content(path), "127.0.0.1" DATE "\"GET /first HTTP/1.1\" 200 1234"));
    log_put(l, &line); // and again
    while (lines_of(content(path)) < 3 && weft_now() - before < INT64_C(30000000000))
        weft_tasklet_sleep(weft_in_ms(20));
    assert_int_equal(lines_of(content(path)), 3);
    struct stat s;
    assert_int_equal(stat(path, &s), 0);
    assert_int_equal(s.st_mode & 0777 & ~0640U, 0);
    assert_int_equal(weft_http_log_close(l), 0);
}

LOG_CASE(test_log_written_in_batches)
{
    weft_http_log *l = weft_http_log_open(path);
    log_line line = line_of("/batch");
    size_t n = 0;
    while (content(path)[0] == 0 && n < 10000) {
        log_put(l, &line);
        n++;
    }
    assert_in_range(n, 100, 2000);
    assert_int_equal(lines_of(content(path)), n);
    for (int i = 0; i < 10; i++)
        log_put(l, &line);
    assert_int_equal(lines_of(content(path)), n);
    assert_int_equal(weft_http_log_close(l), 0);
    assert_int_equal(lines_of(content(path)), n + 10);
}

LOG_CASE(test_log_appends_and_reopens)
{
    log_line line = line_of("/old");
    for (int i = 0; i < 2; i++) {
        weft_http_log *l = weft_http_log_open(path);
        log_put(l, &line);
        weft_http_log_close(l);
    }
    assert_int_equal(lines_of(content(path)), 2);
    weft_http_log *l = weft_http_log_open(path);
    log_put(l, &line);
    assert_int_equal(rename(path, moved), 0);
    assert_int_equal(weft_http_log_reopen(l), 0);
    assert_int_equal(lines_of(content(moved)), 3);
    line = line_of("/new");
    log_put(l, &line);
    // A path that can't be opened: the old file goes on.
    assert_int_equal(unlink(path), 0);
    assert_int_equal(mkdir(path, 0755), 0);
    assert_errno(weft_http_log_reopen(l), EISDIR);
    assert_int_equal(rmdir(path), 0);
    assert_int_equal(weft_http_log_reopen(l), 0);
    log_put(l, &line);
    assert_int_equal(weft_http_log_close(l), 0);
    assert_int_equal(lines_of(content(path)), 1);
    assert_int_equal(lines_of(content(moved)), 3);
}

// A pipe that nobody reads costs lines, and never waits; what was taken comes out whole.
LOG_CASE(test_log_full_pipe)
{
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_errno(weft_http_log_open(path), ENXIO); // nobody reads it
    int reader = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    weft_http_log *l = weft_http_log_open(path);
    log_line line = line_of("/pipe");
    size_t put = 0;
    while (dropped(l) < 10 && put < 1000000) {
        log_put(l, &line);
        put++;
    }
    assert_int_equal(dropped(l), 10);
    put -= 10;
    size_t got = 0, bytes = 0;
    char text[4096], last = 0;
    for (weft_deadline d = weft_in_s(30); got < put && weft_left(d) > 0;) {
        ssize_t n = read(reader, text, sizeof text);
        if (n <= 0) {
            weft_tasklet_sleep(weft_in_ms(20)); // the rest is written within a second
            continue;
        }
        for (ssize_t i = 0; i < n; i++)
            got += text[i] == '\n';
        bytes += (size_t)n;
        last = text[n - 1];
    }
    assert_int_equal(got, put);
    assert_int_equal(bytes % put, 0); // all lines are alike
    assert_int_equal(last, '\n');
    // The reader is gone: neither a signal nor a wait.
    close(reader);
    for (int i = 0; i < 2000; i++)
        log_put(l, &line);
    assert_true(dropped(l) > 10);
    assert_int_equal(weft_http_log_close(l), 0);
}

// Lines of several processes that share a pipe do not mix.
LOG_CASE(test_log_shared_pipe)
{
    enum { WRITERS = 3, LINES = 3000 };
    assert_int_equal(mkfifo(path, 0600), 0);
    int reader = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    pid_t p[WRITERS];
    for (int w = 0; w < WRITERS; w++) {
        weft_http_log *l = weft_http_log_open(path);
        p[w] = runner_fork();
        if (p[w] != 0) {
            weft_http_log_close(l);
            continue;
        }
        char target[60];
        memset(target, 'a' + w, sizeof target - 1);
        target[0] = '/';
        target[sizeof target - 1] = 0;
        log_line line = line_of(target);
        for (int i = 0; i < LINES; i++) {
            log_put(l, &line);
            if (i % 100 == 0)
                usleep(1000);
        }
        _exit(0);
    }
    fcntl(reader, F_SETFL, 0);
    FILE *f = fdopen(reader, "r");
    char text[1000];
    size_t length = 0, n = 0;
    for (; fgets(text, sizeof text, f) != nullptr; n++) {
        length = length == 0 ? strlen(text) : length;
        const char *target = strstr(text, "\"GET /");
        if (strlen(text) != length || target == nullptr)
            fail_msg("%s", text);
        const char letter[] = {target[6], 0};
        assert_int_equal(strspn(target + 6, letter), 58);
    }
    assert_true(n > 0);
    fclose(f);
    for (pid_t each : p)
        assert_int_equal(end_of(each), 0);
}

// One request of each kind to a server at this address; the log's lines in `content`.
static void log_requests(const char *where)
{
    weft_http_log *l = weft_http_log_open(path);
    weft_http_server_options o = {};
    o.done = weft_http_log_done;
    o.arg = l;
    serve(&o, where);
    route("GET", "/hello", hello);
    int fd = client();
    assert_int_equal(ask(fd, "GET /hello?a=%22b HTTP/1.1\r\nHost: a\r\nUser-Agent: \"tester\"\r\n"
                             "Referer: http://b/\r\n\r\n"),
                     200);
    assert_int_equal(ask(fd, "GET /nothing HTTP/1.0\r\n\r\n"), 404);
    weft_io_close(fd);
    assert_int_equal(ask_once("GET / HTTP/1.1\r\nbad field\r\n\r\n"), 400);
    unserve();
    weft_http_log_counters c;
    assert_int_equal(weft_http_log_statistics(l, &c), 0);
    assert_int_equal(c.lines, 3);
    assert_int_equal(weft_http_log_close(l), 0);
}

static void check_requests(const char *host)
{
    static const char *const ends[] = {
        "] \"GET /hello?a=%22b HTTP/1.1\" 200 6 \"http://b/\" \"\\\"tester\\\"\"\n",
        "] \"GET /nothing HTTP/1.0\" 404 14 \"-\" \"-\"\n"};
    const char *text = content(path);
    char begin[80];
    assert_int_equal(lines_of(text), 3);
    snprintf(begin, sizeof begin, "%s - - [", host);
    for (int i = 0; i < 3; i++, text = strchr(text, '\n') + 1) {
        assert_memory_equal(text, begin, strlen(begin));
        text += strlen(begin) + LOG_DATE_SIZE;
        if (i < 2)
            assert_memory_equal(text, ends[i], strlen(ends[i]));
        else
            assert_non_null(strstr(text, "\" 400 "));
    }
}

LOG_CASE(test_log_of_servers)
{
    log_requests("tcp:127.0.0.1:0");
    check_requests("127.0.0.1");
    assert_int_equal(unlink(path), 0);
    char address[80];
    snprintf(address, sizeof address, "unix:%s/socket", folder);
    log_requests(address);
    check_requests("unix:");
    assert_int_equal(unlink(path), 0);
    unlink(address + 5);
    int probe = weft_io_listen("tcp:[::1]:0", nullptr);
    if (probe >= 0) { // there is IPv6
        weft_io_close(probe);
        log_requests("tcp:[::1]:0");
        check_requests("::1");
    }
}

LOG_CASE(test_log_misuse)
{
    assert_errno(weft_http_log_open(nullptr), EINVAL);
    assert_errno(weft_http_log_open("/nowhere/log"), ENOENT);
    assert_errno(weft_http_log_open("/tmp"), EISDIR);
    assert_errno(weft_http_log_reopen(nullptr), EINVAL);
    weft_http_log_counters c;
    assert_errno(weft_http_log_close(nullptr), EINVAL);
    assert_errno(weft_http_log_statistics(nullptr, &c), EINVAL);
    weft_http_log_done(nullptr, nullptr);
}

static char *ended;

static int put_and_leave(void *log)
{
    log_line line = line_of(ended);
    log_put((weft_http_log *)log, &line);
    return 0;
}

// Its loop ends before it: what was put there is written by the close, or by the next loop.
CASE_BETWEEN(test_log_outlives_loops, make_folder, remove_folder)
{
    char target[] = "/a";
    ended = target;
    weft_http_log *l = weft_http_log_open(path);
    assert_int_equal(put_and_leave(l), 0); // in no loop
    for (int i = 0; i < 3; i++)
        assert_int_equal(weft_io_run(put_and_leave, l), 0);
    assert_string_equal(content(path), "");
    assert_int_equal(weft_http_log_close(l), 0);
    assert_int_equal(lines_of(content(path)), 4);
}

RUN_CASES()
