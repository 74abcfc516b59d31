// A folder that is served: what is answered for files, folders and what is neither.
#include "filed.h"

#include <sys/un.h>

SITE_CASE(test_files_whole)
{
    put_text("a.txt", "hello\n");
    set_time("a.txt", 784111777);
    serve_files();
    for (int i = 0; i < 3; i++) { // from the disk, and from the cache
        assert_int_equal(get("/a.txt"), 200);
        assert_true(body_is("hello\n"));
        assert_true(heard_field("Content-Type: text/plain; charset=utf-8"));
        assert_true(heard_field("Content-Length: 6"));
        assert_true(heard_field("Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT"));
        assert_true(heard_field("Accept-Ranges: bytes"));
        assert_int_equal(field_of("ETag")[0], '"');
        assert_int_equal(strlen(field_of("Date")), 29);
        assert_string_equal(field_of("Vary"), "");
        assert_string_equal(field_of("Cache-Control"), "");
        assert_string_equal(field_of("Content-Encoding"), "");
    }
    char etag[100];
    strcpy(etag, field_of("ETag"));
    assert_int_equal(get("/a.txt", "", "HEAD"), 200);
    assert_true(body_is(""));
    assert_true(heard_field("Content-Length: 6"));
    assert_string_equal(field_of("ETag"), etag);
    assert_int_equal(get("/a.txt?x=y/../z"), 200);
    assert_int_equal(get("/%61%2etxt"), 200);
    assert_true(body_is("hello\n"));
    unserve_files();
}

SITE_CASE(test_files_of_each_size)
{
    static const size_t sizes[] = {0, 1, 4096, 16383, 16384, 16385, 65536, 300000, 3000001};
    serve_files();
    for (size_t size : sizes) {
        char *bytes = make_bytes(size, (unsigned)size + 1);
        put_bytes("file.bin", bytes, size);
        for (int i = 0; i < 2; i++) {
            char name[30];
            size_t n;
            // A name of its own, for the one before is still in the cache.
            snprintf(name, sizeof name, "%zu.bin", size);
            rename(site_path("file.bin"), site_path(name));
            snprintf(name, sizeof name, "/%zu.bin", size);
            char *text = get_all(name, "", &n);
            const char *body = strstr(text, "\r\n\r\n") + 4;
            assert_memory_equal(text, "HTTP/1.1 200 OK\r\n", 17);
            assert_int_equal(n - (size_t)(body - text), size);
            assert_memory_equal(body, bytes, size);
            free(text);
        }
        free(bytes);
    }
    unserve_files();
}

// A time in the future, or before all time, is of no use to a cache, but does no harm.
SITE_CASE(test_files_of_odd_times)
{
    put_text("future", "x");
    put_text("past", "x");
    set_time("future", INT64_C(4102444800));
    set_time("past", -86400);
    serve_files();
    assert_int_equal(get("/future"), 200);
    assert_null(strstr(field_of("Last-Modified"), "2100"));
    assert_int_equal(get("/past"), 200);
    assert_true(heard_field("Last-Modified: Wed, 31 Dec 1969 00:00:00 GMT"));
    char fields[200];
    snprintf(fields, sizeof fields, "If-None-Match: %s\r\n", field_of("ETag"));
    assert_int_equal(get("/past", fields), 304);
    assert_int_equal(get("/past", "If-Modified-Since: Wed, 31 Dec 1969 00:00:00 GMT\r\n"), 304);
    unserve_files();
}

SITE_CASE(test_files_folders)
{
    put_folder("a");
    put_folder("a/empty");
    put_folder("a b\\\"c");
    put_folder("odd");
    put_folder("odd/index.html");
    put_text("a/index.html", "index of a");
    put_text("index.html", "index");
    serve_files();
    assert_int_equal(get("/"), 200);
    assert_true(body_is("index"));
    assert_true(heard_field("Content-Type: text/html; charset=utf-8"));
    assert_int_equal(get("/a/"), 200);
    assert_true(body_is("index of a"));
    assert_int_equal(get("/a"), 301);
    assert_true(heard_field("Location: /a/"));
    assert_int_equal(get("/a?b=c&d=%20/../"), 301);
    assert_true(heard_field("Location: /a/?b=c&d=%20/../"));
    assert_int_equal(get("/a%20b%5c%22c?"), 301);
    assert_true(heard_field("Location: /a%20b%5C%22c/?"));
    assert_int_equal(get("/a", "", "HEAD"), 301);
    // never a path that a browser takes for another host's
    assert_int_equal(get("//a"), 301);
    assert_true(heard_field("Location: /a/"));
    assert_int_equal(get("/%2fa"), 301);
    assert_true(heard_field("Location: /a/"));
    assert_int_equal(get("/a/empty/"), 403);
    assert_int_equal(get("/odd/"), 403);
    assert_int_equal(get("/odd/index.html"), 301);
    assert_int_equal(get("/a/index.html/"), 404);
    assert_int_equal(get("/a/index.html/x"), 404);
    assert_int_equal(get("/nothing/"), 404);
    unserve_files();
}

SITE_CASE(test_files_refused)
{
    put_text(".secret", "secret");
    put_folder(".git");
    put_text(".git/config", "secret");
    put_folder("a");
    put_text("a/.htaccess", "secret");
    put_folder(".well-known");
    put_text(".well-known/acme", "known");
    put_text(".well-known/.other", "secret");
    put_text("locked", "secret");
    assert_int_equal(mkfifo(site_path("fifo"), 0644), 0);
    struct sockaddr_un address = {AF_UNIX, ""};
    strcpy(address.sun_path, site_path("socket"));
    int l = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(l, (struct sockaddr *)&address, sizeof address), 0);
    serve_files();
    static const struct {
        const char *target;
        int status;
    } rows[] = {
        {"/nothing", 404},
        {"/.secret", 404},
        {"/%2esecret", 404},
        {"/a/../.secret", 404},
        {"/.git", 404},
        {"/.git/", 404},
        {"/.git/config", 404},
        {"/a/.htaccess", 404},
        {"/a/%2Ehtaccess", 404},
        {"/.well-known/acme", 200},
        {"/.well-known/.other", 404},
        {"/a/.well-known", 404},
        {"/.well-knownx", 404},
        {"/fifo", 403},
        {"/fifo/", 404},
        {"/socket", 403},
        {"/..", 400},
        {"/a%00", 400},
    };
    for (const auto &r : rows) {
        int status = get(r.target);
        if (status != r.status || body_has("secret"))
            fail_msg("%s: %d", r.target, status);
        if (status == 400) { // that connection is at its end
            weft_io_close(asker);
            asker = client();
        }
    }
    if (getuid() != 0) {
        chmod(site_path("locked"), 0);
        assert_int_equal(get("/locked"), 403);
    }
    char longest[4000] = "/";
    memset(longest + 1, 'n', sizeof longest - 2);
    assert_int_equal(get(longest), 404);
    assert_int_equal(get("/a", "Content-Length: 0\r\n", "POST"), 405);
    assert_true(heard_field("Allow: GET, HEAD, OPTIONS"));
    assert_int_equal(get("/a", "", "OPTIONS"), 204);
    assert_true(heard_field("Allow: GET, HEAD, OPTIONS"));
    assert_int_equal(get("/a", "", "DELETE"), 405);
    assert_int_equal(file_counters().entries, 1); // what is not there is not kept
    unserve_files();
    close(l);
}

SITE_CASE(test_files_options)
{
    weft_http_files_options o = {};
    put_text(".hidden.css", "x");
    put_text("home.htm", "home");
    put_text("types", "text/x-mine mine\n");
    put_text("a.mine", "a");
    put_text("a.png", "a");
    o.dotfiles = true;
    o.index = "home.htm";
    o.charset = "iso-8859-1";
    o.mime_types = site_path("types");
    o.max_age_ns = INT64_C(3600500000000);
    serve_files(&o);
    assert_int_equal(get("/.hidden.css"), 200);
    assert_true(heard_field("Cache-Control: max-age=3600"));
    assert_true(heard_field("Content-Type: text/css; charset=iso-8859-1"));
    assert_int_equal(get("/"), 200);
    assert_true(body_is("home"));
    assert_int_equal(get("/a.mine"), 200);
    assert_true(heard_field("Content-Type: text/x-mine; charset=iso-8859-1"));
    assert_int_equal(get("/a.png"), 200);
    assert_true(heard_field("Content-Type: image/png"));
    unserve_files();
    o = {};
    o.index = o.charset = o.mime_types = "";
    o.max_age_ns = -1;
    o.listing = true;
    serve_files(&o);
    assert_int_equal(get("/home.htm"), 200);
    assert_true(heard_field("Content-Type: text/html"));
    assert_true(heard_field("Cache-Control: no-cache"));
    assert_int_equal(get("/"), 200);
    assert_true(body_has("<a href=\"./home.htm\">"));
    unserve_files();
}

SITE_CASE(test_files_below_a_prefix)
{
    put_text("index.html", "index");
    put_text("a", "a");
    put_folder("static");
    serve_files();
    route("GET", "/static", weft_http_files_handler, files);
    route("GET", "/deep/er/", weft_http_files_handler, files);
    assert_int_equal(get("/static/a"), 200);
    assert_true(body_is("a"));
    assert_int_equal(get("/static/"), 200);
    assert_true(body_is("index"));
    assert_int_equal(get("/static?q"), 301);
    assert_true(heard_field("Location: /static/?q"));
    assert_int_equal(get("/static/static"), 301);
    assert_true(heard_field("Location: /static/static/"));
    assert_int_equal(get("/deep/er/a"), 200);
    assert_int_equal(get("/deep/er/"), 200);
    assert_true(body_is("index"));
    assert_int_equal(get("/static/a", "Content-Length: 0\r\n", "POST"), 405);
    unserve_files();
}

SITE_CASE(test_files_listing)
{
    weft_http_files_options o = {};
    o.listing = true;
    put_folder("d");
    put_folder("d/folder");
    put_folder("d/<i>&\"'");
    put_text("d/b.txt", "12345");
    put_text("d/a <b>&amp;.txt", "1");
    put_text("d/100%?#.txt", "1");
    put_text("d/javascript:alert(1)", "1");
    put_text("d/.hidden", "1");
    put_text("d/new\nline", "1");
    mkfifo(site_path("d/fifo"), 0644);
    assert_int_equal(symlink("b.txt", site_path("d/link")), 0);
    assert_int_equal(symlink("/etc/passwd", site_path("d/outside")), 0);
    assert_int_equal(symlink("nowhere", site_path("d/dangling")), 0);
    set_time("d/b.txt", 784111777);
    serve_files(&o);
    assert_int_equal(get("/d/"), 200);
    assert_true(heard_field("Content-Type: text/html; charset=utf-8"));
    assert_true(body_has("<title>/d/</title>"));
    assert_true(body_has("<a href=\"../\">../</a>"));
    assert_true(body_has("<a href=\"./folder/\">folder/</a>"));
    assert_true(body_has("<a href=\"./b.txt\">b.txt</a><td>5<td>1994-11-06 08:49"));
    assert_true(body_has("<a href=\"./link\">link</a><td>5<td>1994-11-06 08:49"));
    assert_true(body_has("<a href=\"./a%20%3Cb%3E%26amp%3B.txt\">a &lt;b&gt;&amp;amp;.txt</a>"));
    assert_true(body_has("<a href=\"./100%25%3F%23.txt\">100%?#.txt</a>"));
    assert_true(body_has("<a href=\"./javascript%3Aalert%281%29\">"));
    assert_true(body_has("&lt;i&gt;&amp;&quot;&#39;/</a>"));
    static const char *const left_out[] = {"hidden",   "fifo", "outside",
                                           "dangling", "new",  "passwd"};
    for (const char *name : left_out)
        if (body_has(name))
            fail_msg("%s is listed", name);
    const char *body = body_of(heard);
    assert_true(strstr(body, "folder/") < strstr(body, "100%25"));
    assert_true(strstr(body, "100%25") < strstr(body, "a%20"));
    assert_true(strstr(body, "a%20") < strstr(body, "b.txt"));
    assert_int_equal(get("/d/", "", "HEAD"), 200);
    assert_true(body_is(""));
    assert_int_equal(get("/d/%3Ci%3E%26%22'/"), 200);
    assert_true(body_has("/d/&lt;i&gt;&amp;&quot;&#39;/<"));
    assert_false(body_has("<i>"));
    assert_int_equal(get("/"), 200); // the root has nothing above it
    assert_false(body_has("../"));
    unserve_files();
}

SITE_CASE(test_files_listing_large)
{
    enum { MANY = 2000 };
    weft_http_files_options o = {};
    o.listing = true;
    for (int i = 0; i < MANY; i++) {
        char name[20];
        snprintf(name, sizeof name, "f%04d", i);
        put_text(name, "");
    }
    serve_files(&o);
    size_t n;
    char *text = get_all("/", "", &n), name[20];
    const char *at = text;
    for (int i = 0; i < MANY; i++) {
        snprintf(name, sizeof name, ">f%04d<", i);
        at = strstr(at, name);
        assert_non_null(at);
    }
    free(text);
    unserve_files();
}

// ---- Files that change while they are sent ----

// Begins to fetch a large file, and reads no more than its head.
static int begin_large(size_t size)
{
    char *bytes = make_bytes(size, 1);
    put_bytes("large", bytes, size);
    free(bytes);
    int fd = client();
    say(fd, "GET /large HTTP/1.1\r\nHost: a\r\n\r\n");
    char text[100];
    assert_int_equal(weft_io_read_all(fd, text, sizeof text, soon()), sizeof text);
    assert_memory_equal(text, "HTTP/1.1 200", 12);
    return fd;
}

enum { LARGE = 32 << 20 }; // more than the kernel's buffers take

SITE_CASE(test_files_that_shrink)
{
    serve_files();
    int fd = begin_large(LARGE);
    assert_int_equal(truncate(site_path("large"), 1000), 0);
    is_reset(fd);
    assert_int_equal(get("/other"), 404); // others are served on
    unserve_files();
}

// Who comes next gets what is there now, and not a reset once more.
SITE_CASE(test_files_that_have_shrunk)
{
    weft_http_files_options o = {};
    o.revalidate_ns = INT64_MAX;
    serve_files(&o);
    char *bytes = make_bytes(100000, 1);
    put_bytes("large", bytes, 100000);
    size_t n;
    free(get_all("/large", "", &n));
    assert_int_equal(truncate(site_path("large"), 50000), 0);
    int fd = client();
    say(fd, "GET /large HTTP/1.1\r\nHost: a\r\n\r\n");
    is_reset(fd);
    char *text = get_all("/large", "", &n);
    assert_non_null(strstr(text, "\r\nContent-Length: 50000\r\n"));
    assert_memory_equal(text + n - 50000, bytes, 50000);
    free(text);
    free(bytes);
    unserve_files();
}

static size_t rest_of(int fd)
{
    static char text[1 << 16];
    size_t all = 0;
    ssize_t n;
    weft_io_shutdown(fd, SHUT_WR);
    while ((n = weft_io_read(fd, text, sizeof text, soon())) > 0)
        all += (size_t)n;
    assert_int_equal(n, 0);
    weft_io_close(fd);
    return all;
}

SITE_CASE(test_files_that_grow_or_go)
{
    serve_files();
    int fd = begin_large(LARGE);
    int file = open(site_path("large"), O_WRONLY | O_APPEND | O_CLOEXEC);
    assert_int_equal(write(file, "more", 4), 4);
    close(file);
    size_t rest = rest_of(fd);
    assert_in_range(rest, LARGE - 100, LARGE + 500); // the head is longer than 100
    fd = begin_large(LARGE);
    assert_int_equal(unlink(site_path("large")), 0);
    assert_int_equal(rest_of(fd), rest);
    unserve_files();
}

// A handler that sends keeps the folder.
SITE_CASE(test_files_close_busy)
{
    serve_files();
    int fd = begin_large(LARGE);
    assert_errno(weft_http_files_close(files), EBUSY);
    weft_io_reset(fd);
    unserve_files();
}

SITE_CASE(test_files_misuse)
{
    weft_http_files_options o = {};
    weft_http_files_counters c;
    assert_errno(weft_http_files_open(nullptr, nullptr), EINVAL);
    assert_errno(weft_http_files_open("/nowhere", nullptr), ENOENT);
    put_text("file", "");
    assert_errno(weft_http_files_open(site_path("file"), nullptr), ENOTDIR);
    static const char *const indexes[] = {"a/b", "/", ".", ".."};
    for (const char *index : indexes) {
        o.index = index;
        assert_errno(weft_http_files_open(site, &o), EINVAL);
    }
    o = {};
    o.charset = "a\r\nb: c";
    assert_errno(weft_http_files_open(site, &o), EINVAL);
    o = {};
    o.revalidate_ns = -1;
    assert_errno(weft_http_files_open(site, &o), EINVAL);
    assert_errno(weft_http_files_statistics(nullptr, &c), EINVAL);
    assert_errno(weft_http_files_close(nullptr), EINVAL);
    weft_http_files *f = weft_http_files_open(site, nullptr);
    assert_errno(weft_http_files_statistics(f, nullptr), EINVAL);
    weft_http_files_handler(nullptr, f);
    assert_int_equal(weft_http_files_close(f), 0);
}

RUN_CASES()
