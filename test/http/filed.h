// filed.h: a folder of a test's own that is served, and raw requests for what is in it.
#ifndef WEFT_TEST_HTTP_FILED_H
#define WEFT_TEST_HTTP_FILED_H

#include "served.h"

#include <weft/http_files.h>

#include <sys/stat.h>

static char site[40], site_top[40]; // site is a folder in site_top
static weft_http_files *files;
static int asker = -1; // a connection that is kept

static inline const char *site_path(const char *name)
{
    static char path[2][600];
    static int turn;
    turn ^= 1;
    snprintf(path[turn], sizeof path[turn], "%s/%s", site, name);
    return path[turn];
}

static inline void put_bytes(const char *name, const void *bytes, size_t n)
{
    int fd = open(site_path(name), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, bytes, n), n);
    close(fd);
}

static inline void put_text(const char *name, const char *text)
{
    put_bytes(name, text, strlen(text));
}

static inline void put_folder(const char *name)
{
    assert_int_equal(mkdir(site_path(name), 0755), 0);
}

// By a rename, so it is never half there.
static inline void replace(const char *name, const void *bytes, size_t n)
{
    put_bytes("replacement", bytes, n);
    assert_int_equal(rename(site_path("replacement"), site_path(name)), 0);
}

static inline void set_time(const char *name, int64_t seconds)
{
    struct timespec t[2] = {{(time_t)seconds, 0}, {(time_t)seconds, 0}};
    assert_int_equal(utimensat(AT_FDCWD, site_path(name), t, 0), 0);
}

// n bytes that are not like one another; the caller's to free.
static inline char *make_bytes(size_t n, unsigned seed)
{
    char *bytes = (char *)malloc(n + 1);
    for (size_t i = 0; i < n; i++)
        bytes[i] = (char)((seed = seed * 1103515245 + 12345) >> 16);
    return bytes;
}

static inline int make_site(void **state)
{
    strcpy(site_top, "/tmp/weft-files-XXXXXX");
    assert_non_null(mkdtemp(site_top));
    snprintf(site, sizeof site, "%s/root", site_top);
    assert_int_equal(mkdir(site, 0755), 0);
    return runner_begin(state);
}

static inline int remove_site(void **state)
{
    char command[100];
    snprintf(command, sizeof command, "rm -rf %s", site_top);
    assert_int_equal(system(command), 0);
    return runner_end(state);
}

// The server is patient: on a busy machine the tests themselves are slow clients.
static inline void serve_files(const weft_http_files_options *o = nullptr)
{
    weft_http_server_options patient = {};
    patient.header_ns = patient.idle_ns = patient.grace_ns = INT64_C(3600000000000);
    patient.rate = 1;
    files = weft_http_files_open(site, o);
    assert_non_null(files);
    serve(&patient);
    route(nullptr, "/", weft_http_files_handler, files);
    asker = client();
}

static inline void unserve_files(void)
{
    weft_io_close(asker);
    unserve();
    assert_int_equal(weft_http_files_close(files), 0);
}

#define SITE_CASE(fn)                                                                              \
    static void fn##_itself(void);                                                                 \
    CASE_BETWEEN(fn, make_site, remove_site)                                                       \
    {                                                                                              \
        inside(fn##_itself);                                                                       \
    }                                                                                              \
    static void fn##_itself(void)

// One request on the kept connection, with more lines of fields; `heard` has the response.
static inline int get(const char *target, const char *fields = "", const char *method = "GET")
{
    char request[5000];
    snprintf(request, sizeof request, "%s %s HTTP/1.1\r\nHost: a\r\n%s\r\n", method, target,
             fields);
    if (strcmp(method, "HEAD") != 0)
        return ask(asker, request);
    // Its Content-Length is no body's.
    say(asker, request);
    size_t n = 0;
    while (n < 4 || memcmp(heard + n - 4, "\r\n\r\n", 4) != 0)
        assert_int_equal(weft_io_read(asker, heard + n++, 1, soon()), 1);
    heard[n] = 0;
    return atoi(heard + 9);
}

static inline size_t body_size(void)
{
    const char *length = strcasestr(heard, "\r\nContent-Length: ");
    return length != nullptr ? strtoul(length + 18, nullptr, 10) : 0;
}

static inline bool body_is(const char *text)
{
    return strcmp(body_of(heard), text) == 0;
}

static inline bool body_has(const char *text)
{
    return strstr(body_of(heard), text) != nullptr;
}

// The value of a field that was heard; "": there is none.
static inline const char *field_of(const char *name)
{
    static char values[4][512];
    static int turn;
    char *value = values[turn = (turn + 1) & 3], line[64];
    snprintf(line, sizeof line, "\r\n%s: ", name);
    const char *at = strcasestr(heard, line);
    value[0] = 0;
    if (at != nullptr && at < body_of(heard))
        snprintf(value, 512, "%.*s", (int)strcspn(at + strlen(line), "\r"), at + strlen(line));
    return value;
}

// A whole response of any size, up to the connection's end; the caller's to free.
static inline char *get_all(const char *target, const char *fields, size_t *n)
{
    char request[1000];
    enum { ROOM = 8 << 20 };
    char *text = (char *)malloc(ROOM);
    int fd = client();
    snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: a\r\nConnection: close\r\n%s\r\n",
             target, fields);
    say(fd, request);
    *n = hear_all(fd, text, ROOM);
    weft_io_close(fd);
    return text;
}

static inline weft_http_files_counters file_counters(void)
{
    weft_http_files_counters c;
    assert_int_equal(weft_http_files_statistics(files, &c), 0);
    return c;
}

#endif
