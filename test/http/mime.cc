// Types by names: of the table that is built in, and of files of the user's.
#include "../runner.h"

#include <http/mime.h>

#include <fcntl.h>
#include <sys/stat.h>

using namespace weft;

static const char UNKNOWN[] = "application/octet-stream";

static const char *type(const mime_types *m, const char *name)
{
    return mime_type(m, name, strlen(name));
}

CASE(test_mime_built_in)
{
    static const struct {
        const char *name, *type;
    } rows[] = {
        {"index.html", "text/html"},
        {"a/b/style.css", "text/css"},
        {"a.js", "text/javascript"},
        {"a.mjs", "text/javascript"},
        {"a.json", "application/json"},
        {"a.svg", "image/svg+xml"},
        {"a.png", "image/png"},
        {"a.JPG", "image/jpeg"},
        {"a.Jpeg", "image/jpeg"},
        {"a.webp", "image/webp"},
        {"a.woff2", "font/woff2"},
        {"a.wasm", "application/wasm"},
        {"a.txt", "text/plain"},
        {"a.7z", "application/x-7z-compressed"},
        {"a.zst", "application/zstd"},
        {"a.tar.gz", "application/gzip"},
        {"a.html.txt", "text/plain"},
        {"a.html/b", UNKNOWN},
        {"html", UNKNOWN},
        {".html", UNKNOWN},
        {"a/.html", UNKNOWN},
        {"a.", UNKNOWN},
        {"", UNKNOWN},
        {"a.unknown", UNKNOWN},
        {"a.htm l", UNKNOWN},
        {"a.aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", UNKNOWN},
    };
    mime_types *m = mime_open(nullptr);
    for (const auto &r : rows)
        assert_string_equal(type(m, r.name), r.type);
    assert_string_equal(mime_type(m, "a.html", 4), UNKNOWN); // a.ht
    mime_close(m);
    mime_close(nullptr);
}

// Each is found, so they are sorted.
CASE(test_mime_each)
{
    static const char *const all[] = {"aac", "avif", "bmp", "conf", "csv", "deb", "gif",  "gz",
                                      "h",   "htm",  "ico", "jxl",  "log", "map", "md",   "mp3",
                                      "mp4", "ogg",  "otf", "pdf",  "ps",  "py",  "rss",  "sh",
                                      "tar", "toml", "ts",  "ttf",  "vtt", "wav", "webm", "woff",
                                      "xls", "xml",  "xz",  "yaml", "zip"};
    mime_types *m = mime_open(nullptr);
    for (const char *extension : all) {
        char name[20];
        snprintf(name, sizeof name, "x.%s", extension);
        if (strcmp(type(m, name), UNKNOWN) == 0)
            fail_msg("%s", name);
    }
    mime_close(m);
}

static char path[] = "/tmp/weft-mime-XXXXXX";

static void write_file(const char *text, size_t n)
{
    strcpy(path, "/tmp/weft-mime-XXXXXX");
    int fd = mkstemp(path);
    assert_int_equal(write(fd, text, n), n);
    close(fd);
}

CASE(test_mime_file)
{
    static const char text[] = "# comment html\n"
                               "\n"
                               "text/x-own\thtml  own\n"
                               "text/x-upper UPPER Mixed\r\n"
                               "text/x-later own # and no more\n"
                               "text/x-comment c1 # c2\n"
                               "nothing\n"
                               "application/x-none\n"
                               "notype ext1\n"
                               "text/x\x01y ext2\n"
                               "text/x\"y ext3\n"
                               "text/x:y ext4\n"
                               "  image/x-indented  ind\n"
                               "text/x-last last";
    write_file(text, sizeof text - 1);
    mime_types *m = mime_open(path);
    unlink(path);
    assert_string_equal(type(m, "a.html"), "text/x-own");
    assert_string_equal(type(m, "a.own"), "text/x-own");
    assert_string_equal(type(m, "a.upper"), "text/x-upper");
    assert_string_equal(type(m, "a.MIXED"), "text/x-upper");
    assert_string_equal(type(m, "a.c1"), "text/x-comment");
    assert_string_equal(type(m, "a.ind"), "image/x-indented");
    assert_string_equal(type(m, "a.last"), "text/x-last");
    assert_string_equal(type(m, "a.css"), "text/css");
    static const char *const not_said[] = {"a.c2", "a.ext1", "a.ext2", "a.ext3", "a.ext4", "a.#"};
    for (const char *name : not_said)
        assert_string_equal(type(m, name), UNKNOWN);
    mime_close(m);
}

CASE(test_mime_file_odd)
{
    // Longer than is read; with a NUL; none; a folder; a fifo, which is not waited for.
    size_t n = 3 << 20;
    char *text = (char *)malloc(n);
    for (size_t i = 0; i < n; i++)
        text[i] = "text/x-long long\n"[i % 17];
    write_file(text, n);
    free(text);
    mime_types *m = mime_open(path);
    assert_string_equal(type(m, "a.long"), "text/x-long");
    mime_close(m);
    unlink(path);
    write_file("text/x-a a\n\0text/x-b b\n", 23);
    m = mime_open(path);
    assert_string_equal(type(m, "a.a"), "text/x-a");
    mime_close(m);
    unlink(path);
    mkfifo(path, 0600);
    const char *const odd[] = {path, "/tmp", "/nowhere/mime.types", ""};
    for (const char *each : odd) {
        m = mime_open(each);
        assert_string_equal(type(m, "a.html"), "text/html");
        mime_close(m);
    }
    unlink(path);
}

RUN_CASES()
