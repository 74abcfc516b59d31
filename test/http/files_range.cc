// Parts of files, and files under conditions, as clients get them.
#include "filed.h"

static char *bytes;
static size_t size;

// A file small enough for the memory, then one that is not.
static void with_each_size(void (*check)(void))
{
    static const size_t sizes[] = {10000, 200000};
    for (size_t each : sizes) {
        size = each;
        bytes = make_bytes(size, 3);
        put_bytes("file.bin", bytes, size);
        set_time("file.bin", 784111777);
        serve_files();
        check();
        check(); // from the cache
        unserve_files();
        free(bytes);
    }
}

static void check_part(const char *range, size_t first, size_t n)
{
    char fields[200], expected[100];
    snprintf(fields, sizeof fields, "Range: bytes=%s\r\n", range);
    int status = get("/file.bin", fields);
    snprintf(expected, sizeof expected, "bytes %zu-%zu/%zu", first, first + n - 1, size);
    if (status != 206 || strcmp(field_of("Content-Range"), expected) != 0 || body_size() != n ||
        memcmp(body_of(heard), bytes + first, n) != 0)
        fail_msg("%s: %d, %s", range, status, field_of("Content-Range"));
    assert_string_equal(field_of("Content-Type"), "application/octet-stream");
    assert_string_equal(field_of("Accept-Ranges"), "bytes");
    assert_int_equal(field_of("ETag")[0], '"');
}

static void check_parts(void)
{
    char text[60];
    check_part("0-0", 0, 1);
    check_part("0-499", 0, 500);
    check_part("500-999", 500, 500);
    check_part("-1", size - 1, 1);
    check_part("-500", size - 500, 500);
    check_part("9500-9999", 9500, 500);
    snprintf(text, sizeof text, "%zu-", size - 1);
    check_part(text, size - 1, 1);
    snprintf(text, sizeof text, "%zu-99999999999999999999", size - 7);
    check_part(text, size - 7, 7);
    snprintf(text, sizeof text, "7-8,%zu-", size);
    check_part(text, 7, 2);
    for (size_t i = 1; i < 60; i++) {
        size_t first = i * 7919 % (size - 5000), n = 1 + i * 104729 % 5000;
        snprintf(text, sizeof text, "%zu-%zu", first, first + n - 1);
        check_part(text, first, n);
    }
}

SITE_CASE(test_files_range_one)
{
    with_each_size(check_parts);
}

static void check_beyond(void)
{
    char expected[60];
    snprintf(expected, sizeof expected, "Content-Range: bytes */%zu", size);
    static const char *const ranges[] = {"999999-", "999999-1000000", "-0", "500000-,600000-"};
    for (const char *range : ranges) {
        char fields[100];
        snprintf(fields, sizeof fields, "Range: bytes=%s\r\n", range);
        assert_int_equal(get("/file.bin", fields), 416);
        assert_true(heard_field(expected));
    }
}

SITE_CASE(test_files_range_beyond)
{
    with_each_size(check_beyond);
}

static void check_whole(void)
{
    static const char *const ranges[] = {"bytes=2-1", "bytes=a", "lines=0-1", "bytes=0-,0-",
                                         "bytes=0-0\r\nRange: bytes=1-1"};
    char fields[2000];
    for (const char *range : ranges) {
        snprintf(fields, sizeof fields, "Range: %s\r\n", range);
        size_t n;
        char *text = get_all("/file.bin", fields, &n);
        const char *body = strstr(text, "\r\n\r\n") + 4;
        assert_memory_equal(text, "HTTP/1.1 200", 12);
        assert_int_equal(n - (size_t)(body - text), size);
        assert_memory_equal(body, bytes, size);
        free(text);
    }
    strcpy(fields, "Range: bytes=0-");
    for (int i = 0; i < 200; i++)
        strcat(fields, ",0-");
    strcat(fields, "\r\n");
    size_t n;
    char *text = get_all("/file.bin", fields, &n);
    assert_memory_equal(text, "HTTP/1.1 200", 12);
    assert_in_range(n, size, size + 1000); // no more than the file
    free(text);
    assert_int_equal(get("/file.bin", "Range: bytes=0-0\r\n", "HEAD"), 200);
    assert_int_equal(body_size(), size);
}

SITE_CASE(test_files_range_ignored)
{
    with_each_size(check_whole);
}

// Reads the parts of `heard`, byte for byte; they must be these.
static void check_multipart(const char *ranges, const size_t (*parts)[2], int count)
{
    char fields[300], head[300];
    snprintf(fields, sizeof fields, "Range: bytes=%s\r\n", ranges);
    assert_int_equal(get("/file.bin", fields), 206);
    const char *type = field_of("Content-Type"), *boundary = strstr(type, "boundary=") + 9;
    assert_memory_equal(type, "multipart/byteranges; boundary=", 31);
    assert_in_range(strlen(boundary), 16, 70);
    assert_string_equal(field_of("Content-Range"), "");
    assert_int_equal(field_of("ETag")[0], '"');
    const char *at = body_of(heard);
    for (int i = 0; i < count; i++) {
        int n = snprintf(head, sizeof head,
                         "\r\n--%s\r\nContent-Type: application/octet-stream\r\n"
                         "Content-Range: bytes %zu-%zu/%zu\r\n\r\n",
                         boundary, parts[i][0], parts[i][0] + parts[i][1] - 1, size);
        assert_memory_equal(at, head, n);
        assert_memory_equal(at + n, bytes + parts[i][0], parts[i][1]);
        at += (size_t)n + parts[i][1];
    }
    int n = snprintf(head, sizeof head, "\r\n--%s--\r\n", boundary);
    assert_memory_equal(at, head, n);
    assert_int_equal(at + n - body_of(heard), body_size());
}

static void check_multiparts(void)
{
    const size_t two[][2] = {{0, 1}, {size - 1, 1}};
    check_multipart("0-0,-1", two, 2);
    char first[80];
    strcpy(first, field_of("Content-Type"));
    check_multipart("0-0,-1", two, 2);
    assert_string_not_equal(first, field_of("Content-Type")); // nobody can know it
    const size_t three[][2] = {{500, 101}, {9000, 1000}, {5, 2}};
    check_multipart("500-600, 9000-9999 ,5-6,999999-", three, 3);
    char text[300] = "";
    size_t many[16][2];
    for (size_t i = 0; i < 16; i++) {
        many[i][0] = i * 600;
        many[i][1] = 300 + i;
        sprintf(text + strlen(text), "%s%zu-%zu", i > 0 ? "," : "", i * 600, i * 600 + 299 + i);
    }
    check_multipart(text, many, 16);
}

SITE_CASE(test_files_range_several)
{
    with_each_size(check_multiparts);
}

static void check_conditions(void)
{
    char etag[100], fields[300];
    const char *const AT = "Sun, 06 Nov 1994 08:49:37 GMT";
    assert_int_equal(get("/file.bin", "Range: bytes=0-0\r\n"), 206);
    strcpy(etag, field_of("ETag"));
#define GET(...) (snprintf(fields, sizeof fields, __VA_ARGS__), get("/file.bin", fields))
    assert_int_equal(GET("If-None-Match: %s\r\n", etag), 304);
    assert_string_equal(field_of("ETag"), etag);
    assert_string_equal(field_of("Content-Type"), "");
    assert_int_equal(strlen(field_of("Date")), 29);
    assert_int_equal(GET("If-None-Match: \"x\", W/%s\r\n", etag), 304);
    assert_int_equal(GET("If-Modified-Since: %s\r\n", AT), 304);
    assert_int_equal(GET("If-None-Match: %s\r\nRange: bytes=0-1\r\n", etag), 304);
    assert_int_equal(
        GET("If-None-Match: \"x\"\r\nIf-Modified-Since: %s\r\nRange: bytes=0-1\r\n", AT), 206);
    assert_int_equal(GET("If-Match: \"x\"\r\n"), 412);
    assert_int_equal(GET("If-Match: \"x\"\r\nIf-None-Match: %s\r\n", etag), 412);
    assert_int_equal(GET("If-Match: %s\r\nRange: bytes=0-1\r\n", etag), 206);
    assert_int_equal(GET("If-Unmodified-Since: Sun, 06 Nov 1994 08:49:36 GMT\r\n"), 412);
    assert_int_equal(GET("If-Unmodified-Since: %s\r\nRange: bytes=-1\r\n", AT), 206);
    assert_int_equal(GET("Range: bytes=0-1\r\nIf-Range: %s\r\n", etag), 206);
    assert_int_equal(GET("Range: bytes=0-1\r\nIf-Range: %s\r\n", AT), 206);
    assert_int_equal(GET("Range: bytes=999999-\r\nIf-Range: %s\r\n", etag), 416);
    assert_int_equal(GET("If-None-Match: %s\r\n", etag), 304);
    assert_int_equal(get("/file.bin", fields, "HEAD"), 304);
    size_t n;
    static const char *const others[] = {"If-Range: \"x\"\r\nRange: bytes=0-1\r\n",
                                         "If-Range: W/\"x\"\r\nRange: bytes=999999-\r\n"};
    for (const char *other : others) {
        char *text = get_all("/file.bin", other, &n);
        assert_memory_equal(text, "HTTP/1.1 200", 12);
        assert_true(n > size);
        free(text);
    }
}

SITE_CASE(test_files_conditions)
{
    with_each_size(check_conditions);
}

SITE_CASE(test_files_empty)
{
    put_text("empty", "");
    serve_files();
    assert_int_equal(get("/empty"), 200);
    assert_true(heard_field("Content-Length: 0"));
    assert_int_equal(get("/empty", "Range: bytes=0-\r\n"), 416);
    assert_true(heard_field("Content-Range: bytes */0"));
    assert_int_equal(get("/empty", "Range: bytes=-1\r\n"), 200);
    unserve_files();
}

// ---- Neighbours that hold the file compressed ----

SITE_CASE(test_files_compressed)
{
    put_text("a.css", "plain");
    put_text("a.css.gz", "by gzip");
    put_text("a.css.br", "by br");
    put_text("b.css", "plain");
    put_text("b.css.zst", "by zstd");
    put_text("c.css.gz", "alone");
    put_text("d.css", "newer");
    put_text("d.css.gz", "older");
    set_time("d.css.gz", 784111777);
    put_text("index.html", "index");
    put_text("index.html.gz", "by gzip");
    serve_files();
    char plain[100], br[100];
    for (int i = 0; i < 2; i++) {
        assert_int_equal(get("/a.css"), 200);
        assert_true(body_is("plain"));
        assert_true(heard_field("Vary: Accept-Encoding"));
        assert_string_equal(field_of("Content-Encoding"), "");
        strcpy(plain, field_of("ETag"));
        assert_int_equal(get("/a.css", "Accept-Encoding: gzip, br;q=0.9\r\n"), 200);
        assert_true(body_is("by gzip"));
        assert_true(heard_field("Content-Encoding: gzip"));
        assert_true(heard_field("Content-Type: text/css; charset=utf-8"));
        assert_true(heard_field("Vary: Accept-Encoding"));
        assert_int_equal(get("/a.css", "Accept-Encoding: gzip, br\r\n"), 200);
        assert_true(body_is("by br"));
        assert_true(heard_field("Content-Encoding: br"));
        strcpy(br, field_of("ETag"));
        assert_string_not_equal(plain, br);
        assert_int_equal(get("/b.css", "Accept-Encoding: gzip, br, zstd\r\n"), 200);
        assert_true(body_is("by zstd"));
        assert_true(heard_field("Content-Encoding: zstd"));
        assert_int_equal(get("/b.css", "Accept-Encoding: gzip, br\r\n"), 200);
        assert_true(body_is("plain"));
        assert_true(heard_field("Vary: Accept-Encoding"));
        assert_int_equal(get("/c.css", "Accept-Encoding: gzip\r\n"), 404);
        assert_int_equal(get("/d.css", "Accept-Encoding: gzip\r\n"), 200);
        assert_true(body_is("newer"));
        assert_int_equal(get("/a.css.gz", "Accept-Encoding: gzip\r\n"), 200);
        assert_true(heard_field("Content-Type: application/gzip"));
        assert_string_equal(field_of("Content-Encoding"), "");
        assert_int_equal(get("/", "Accept-Encoding: gzip\r\n"), 200);
        assert_true(body_is("by gzip"));
        assert_true(heard_field("Content-Type: text/html; charset=utf-8"));
        char fields[300];
        snprintf(fields, sizeof fields, "Accept-Encoding: br\r\nIf-None-Match: %s\r\n", br);
        assert_int_equal(get("/a.css", fields), 304);
        assert_true(heard_field("Vary: Accept-Encoding"));
        snprintf(fields, sizeof fields, "Accept-Encoding: br\r\nIf-None-Match: %s\r\n", plain);
        assert_int_equal(get("/a.css", fields), 200); // the other one's
        assert_int_equal(get("/a.css", "Accept-Encoding: br\r\nRange: bytes=3-4\r\n"), 206);
        assert_true(body_is("br"));
        assert_true(heard_field("Content-Range: bytes 3-4/5"));
        assert_true(heard_field("Content-Encoding: br"));
    }
    unserve_files();
}

RUN_CASES()
