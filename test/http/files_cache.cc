// The cache of files: what is kept, for how long, and that what has changed is seen.
#include "filed.h"

#include <sys/resource.h>

SITE_CASE(test_cache_hits)
{
    put_text("a", "1");
    serve_files();
    for (int i = 0; i < 100; i++)
        assert_int_equal(get("/a"), 200);
    weft_http_files_counters c = file_counters();
    assert_int_equal(c.misses + c.hits + c.checks, 100);
    assert_int_equal(c.entries, 1);
    assert_int_equal(c.descriptors, 0); // it is in memory
    assert_true(c.misses <= 3 || c.hits > 0);
    unserve_files();
}

// A hit looks at no file: with an hour's patience a changed one is not seen, nor one that is gone.
SITE_CASE(test_cache_hit_looks_at_nothing)
{
    weft_http_files_options o = {};
    o.revalidate_ns = INT64_C(3600000000000);
    char *large = make_bytes(20000, 1);
    put_text("small", "1");
    put_bytes("large", large, 20000);
    serve_files(&o);
    assert_int_equal(get("/small"), 200);
    assert_int_equal(get("/large"), 200);
    replace("small", "22", 2);
    assert_int_equal(unlink(site_path("large")), 0);
    assert_int_equal(get("/small"), 200);
    assert_true(body_is("1"));
    assert_int_equal(get("/large"), 200);
    assert_memory_equal(body_of(heard), large, 20000);
    assert_int_equal(file_counters().hits, 2);
    assert_int_equal(file_counters().descriptors, 1);
    free(large);
    unserve_files();
}

// Waits until it is seen; with the default, that takes no longer than a second.
static void until_body(const char *target, const char *text, const char *fields = "")
{
    int64_t begin = weft_now();
    while (get(target, fields), !body_is(text))
        if (weft_now() - begin > INT64_C(25000000000))
            fail_msg("%s is not %s but %s", target, text, body_of(heard));
        else
            weft_tasklet_sleep(weft_in_ms(5));
}

SITE_CASE(test_cache_sees_changes)
{
    put_text("a", "one");
    serve_files();
    int64_t begin = weft_now();
    until_body("/a", "one");
    replace("a", "two", 3); // of the same length
    until_body("/a", "two");
    put_text("a", "THREE"); // in its place
    until_body("/a", "THREE");
    put_text("a", "three"); // the same length and inode, maybe in the same tick of the clock
    until_body("/a", "three");
    assert_int_equal(unlink(site_path("a")), 0);
    until_body("/a", "404 Not Found\n");
    put_text("a", "four"); // what is missing is not kept
    assert_int_equal(get("/a"), 200);
    assert_true(body_is("four"));
    assert_int_equal(unlink(site_path("a")), 0);
    put_folder("a");
    put_text("a/index.html", "five");
    assert_true(weft_now() - begin < INT64_C(60000000000));
    until_body("/a", "301 Moved Permanently\n");
    until_body("/a/", "five");
    replace("a/index.html", "six", 3);
    until_body("/a/", "six");
    unserve_files();
}

// It is looked at within a second: not once a request, and not never.
SITE_CASE(test_cache_looks_once_a_second)
{
    put_text("a", "one");
    serve_files();
    int64_t begin = weft_now(), end;
    while ((end = weft_now()) - begin < INT64_C(2500000000))
        get("/a");
    weft_http_files_counters c = file_counters();
    uint64_t looks = c.misses + c.checks, seconds = (uint64_t)((end - begin) / 1000000000);
    assert_in_range(looks, 1, seconds + 2);
    assert_true(c.hits > looks);
    unserve_files();
}

SITE_CASE(test_cache_neighbours)
{
    weft_http_files_options o = {};
    o.revalidate_ns = 1;
    static const char *const gzip = "Accept-Encoding: gzip\r\n";
    put_text("a", "plain");
    serve_files(&o);
    until_body("/a", "plain", gzip);
    assert_string_equal(field_of("Vary"), "");
    put_text("a.gz", "gz");
    until_body("/a", "gz", gzip);
    until_body("/a", "plain");
    assert_true(heard_field("Vary: Accept-Encoding"));
    replace("a.gz", "GZ", 2);
    until_body("/a", "GZ", gzip);
    set_time("a.gz", 784111777); // older than the file
    until_body("/a", "plain", gzip);
    put_text("a.gz", "gz");
    until_body("/a", "gz", gzip);
    assert_int_equal(unlink(site_path("a.gz")), 0);
    until_body("/a", "plain", gzip);
    assert_string_equal(field_of("Vary"), "");
    unserve_files();
}

// Others may have put there what we may not read, such as a copy: it is as if it were not there.
SITE_CASE(test_cache_unreadable_neighbour)
{
    static const char both[] = "Accept-Encoding: br, gzip\r\n";
    weft_http_files_options o = {};
    o.revalidate_ns = 1;
    put_text("a.txt", "plain");
    put_text("a.txt.br", "secret");
    put_text("a.txt.gz", "gzip");
    assert_int_equal(chmod(site_path("a.txt.br"), 0), 0);
    serve_files(&o);
    uid_t own = geteuid();
    assert_true(own != 0 || seteuid(65534) == 0);
    int plain = get("/a.txt"), gzip = get("/a.txt", both);
    bool is_gzip = body_is("gzip");
    assert_int_equal(seteuid(own), 0);
    assert_int_equal(plain, 200);
    assert_int_equal(gzip, 200);
    assert_true(is_gzip);
    unserve_files();
}

SITE_CASE(test_cache_limits)
{
    weft_http_files_options o = {};
    o.entries = 10;
    o.descriptors = 4;
    o.bytes = 100000;
    char name[20], *bytes = make_bytes(20000, 5);
    for (int i = 0; i < 60; i++) {
        snprintf(name, sizeof name, "f%d", i);
        put_bytes(name, bytes, i % 2 == 0 ? 12000 : 20000);
    }
    serve_files(&o);
    for (int i = 0; i < 300; i++) {
        snprintf(name, sizeof name, "/f%d", i * 7 % 60);
        assert_int_equal(get(name), 200);
        assert_memory_equal(body_of(heard), bytes, body_size());
        weft_http_files_counters c = file_counters();
        if (c.entries > 10 || c.descriptors > 4 || c.bytes > 100000)
            fail_msg("%zu, %zu, %zu", c.entries, c.descriptors, c.bytes);
    }
    // What was used last stays.
    assert_int_equal(get("/f1"), 200);
    assert_int_equal(get("/f3"), 200);
    assert_int_equal(get("/f1"), 200);
    uint64_t misses = file_counters().misses;
    for (int i = 0; i < 3; i++)
        assert_int_equal(get("/f1"), 200);
    assert_in_range(file_counters().misses - misses, 0, 2); // those that are young are read again
    free(bytes);
    unserve_files();
}

// Large files that slow clients keep open take no small one's place.
SITE_CASE(test_cache_beside_slow_clients)
{
    enum { SLOW = 8, SIZE = 24 << 20 };
    weft_http_files_options o = {};
    o.descriptors = 4;
    o.revalidate_ns = INT64_C(3600000000000);
    put_text("small", "small");
    serve_files(&o);
    assert_int_equal(get("/small"), 200);
    int fd[SLOW];
    for (int i = 0; i < SLOW; i++) {
        char name[20], request[80];
        snprintf(name, sizeof name, "large%d", i);
        put_text(name, "");
        assert_int_equal(truncate(site_path(name), SIZE), 0);
        snprintf(request, sizeof request, "GET /%s HTTP/1.1\r\nHost: a\r\n\r\n", name);
        fd[i] = client();
        say(fd[i], request);
        weft_io_wait(fd[i], WEFT_READ, soon()); // it has begun
    }
    assert_int_equal(file_counters().descriptors, SLOW);
    uint64_t misses = file_counters().misses;
    assert_int_equal(get("/small"), 200);
    assert_int_equal(file_counters().misses, misses);
    for (int each : fd)
        weft_io_reset(each);
    UNTIL(file_counters().descriptors <= 4);
    assert_int_equal(get("/small"), 200);
    assert_int_equal(file_counters().misses, misses);
    unserve_files();
}

// An entry goes while it is sent, several times over: what comes is of one file, whole.
SITE_CASE(test_cache_replaced_while_sent)
{
    enum { SIZE = 24 << 20, CLIENTS = 4 };
    weft_http_files_options o = {};
    o.revalidate_ns = 1;
    char *of[CLIENTS], *text = (char *)malloc(SIZE + 1000);
    int fd[CLIENTS];
    serve_files(&o);
    for (int i = 0; i < CLIENTS; i++) {
        of[i] = make_bytes(SIZE, (unsigned)i + 1);
        replace("a", of[i], SIZE);
        fd[i] = client();
        say(fd[i], "GET /a HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        weft_io_wait(fd[i], WEFT_READ, soon()); // it has begun
    }
    assert_int_equal(unlink(site_path("a")), 0);
    assert_int_equal(get("/a"), 404);
    assert_int_equal(file_counters().entries, CLIENTS);
    for (int i = 0; i < CLIENTS; i++) {
        size_t n = hear_all(fd[i], text, SIZE + 1000);
        const char *body = strstr(text, "\r\n\r\n") + 4;
        assert_int_equal(n - (size_t)(body - text), SIZE);
        assert_memory_equal(body, of[i], SIZE);
        weft_io_close(fd[i]);
        free(of[i]);
    }
    UNTIL(file_counters().entries == 0 && file_counters().descriptors == 0);
    assert_int_equal(file_counters().bytes, 0);
    free(text);
    unserve_files();
}

// ---- Under load ----

// Files of one byte each, as many as the number says, with a length that goes with it.
static void rewrite(void)
{
    static char text[40000];
    for (unsigned i = 0;; i++) {
        size_t n = 1 + i * 7919 % sizeof text;
        memset(text, 'a' + (int)(n % 26), n);
        replace("a", text, n);
    }
}

static bool stop_asking;
static int answers, wrong;

static void *ask_on(void *)
{
    enum { ROOM = 50000 };
    char *text = (char *)malloc(ROOM);
    int fd = client();
    while (!stop_asking) {
        say(fd, "GET /a HTTP/1.1\r\nHost: a\r\n\r\n");
        size_t n = hear(fd, text, ROOM);
        const char *body = strstr(text, "\r\n\r\n");
        n -= body != nullptr ? (size_t)(body + 4 - text) : 0;
        const char letter[] = {(char)('a' + n % 26), 0};
        wrong += strncmp(text, "HTTP/1.1 200", 12) != 0 || body == nullptr ||
                 strspn(body + 4, letter) != n;
        answers++;
    }
    weft_io_close(fd);
    free(text);
    return nullptr;
}

SITE_CASE(test_cache_replaced_under_load)
{
    weft_http_files_options o = {};
    weft_tasklet *t[8];
    o.revalidate_ns = 100000;
    answers = wrong = 0;
    stop_asking = false;
    put_text("a", "b");
    serve_files(&o);
    pid_t p = runner_fork();
    if (p == 0)
        rewrite();
    for (weft_tasklet *&each : t)
        each = spawn(ask_on, nullptr, true);
    UNTIL(answers > 300);
    stop_asking = true;
    for (weft_tasklet *each : t)
        join(each);
    kill_and_reap(p);
    assert_int_equal(wrong, 0);
    unserve_files();
}

// ---- No descriptors ----

// What is in memory is served on; what must be opened is 503, and is there again afterwards.
SITE_CASE(test_cache_without_descriptors)
{
    weft_http_files_options o = {};
    o.revalidate_ns = 1;
    struct rlimit limit, none;
    put_text("a", "in memory");
    put_text("b", "not asked for");
    serve_files(&o);
    assert_int_equal(get("/a"), 200);
    getrlimit(RLIMIT_NOFILE, &limit);
    none = limit;
    none.rlim_cur = 3; // all numbers above are taken, or forbidden
    setrlimit(RLIMIT_NOFILE, &none);
    int a = get("/a"), is_a = body_is("in memory"), b = get("/b");
    setrlimit(RLIMIT_NOFILE, &limit);
    assert_int_equal(a, 200);
    assert_true(is_a);
    assert_int_equal(b, 503);
    assert_int_equal(get("/b"), 200);
    unserve_files();
}

RUN_CASES()
