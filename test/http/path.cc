// Paths of targets: what each way to write one means, and which are refused.
#include "../runner.h"

#include <http/path.h>

using namespace weft;

struct row {
    const char *text, *path; // nullptr: refused
};

static const char *normalised(const char *text, size_t n)
{
    static char path[4096];
    errno = 0;
    ssize_t size = path_normalise(path, text, n);
    if (size < 0)
        return errno == EINVAL ? nullptr : "errno?";
    return strlen(path) == (size_t)size && (size_t)size <= n ? path : "size?";
}

static void check(const row *rows, size_t count)
{
    for (const row *r = rows; r < rows + count; r++) {
        const char *path = normalised(r->text, strlen(r->text));
        if ((path == nullptr) != (r->path == nullptr) ||
            (path != nullptr && strcmp(path, r->path) != 0))
            fail_msg("%s gives %s, not %s", r->text, path, r->path);
    }
}

#define CHECK(rows) check(rows, sizeof(rows) / sizeof *(rows))

CASE(test_path_normalise)
{
    static const row rows[] = {
        {"/", "/"},
        {"/a", "/a"},
        {"/a/b/c.html", "/a/b/c.html"},
        {"/a/", "/a/"},
        {"//", "/"},
        {"//a//b///", "/a/b/"},
        {"/.", "/"},
        {"/./", "/"},
        {"/a/.", "/a/"},
        {"/a/./b", "/a/b"},
        {"/a/..", "/"},
        {"/a/../", "/"},
        {"/a/b/..", "/a/"},
        {"/a/b/../c", "/a/c"},
        {"/a/b/../../c", "/c"},
        {"/a//../b", "/b"},
        {"/a/b/c/../../../d/./e//f/..", "/d/e/"},
        {"/...", "/..."},
        {"/a/.../b", "/a/.../b"},
        {"/..a/.b/c./d..", "/..a/.b/c./d.."},
        {"/.a./..b../", "/.a./..b../"},
        {"/a;b=c/d,e&f", "/a;b=c/d,e&f"},
        {"/\\..\\a", "/\\..\\a"},
        {"/\xc3\xa4", "/\xc3\xa4"},
    };
    CHECK(rows);
}

CASE(test_path_decodes_once)
{
    static const row rows[] = {
        {"/%61%62", "/ab"},
        {"/a%20b", "/a b"},
        {"/%c3%A4", "/\xc3\xa4"},
        {"/a%3Fb%23c", "/a?b#c"},
        {"/%25", "/%"},
        {"/%252e%252e", "/%2e%2e"},
        {"/%252e%252e/a", "/%2e%2e/a"},
        {"/%2e", "/"},
        {"/a/%2e%2E/b", "/b"},
        {"/a/.%2e/b", "/b"},
        {"/a%2fb", "/a/b"},
        {"/a%2F%2e%2e%2fb", "/b"},
        {"/%2f%2f", "/"},
        {"/a%5c..%5cb", "/a\\..\\b"},
    };
    CHECK(rows);
}

CASE(test_path_above_the_root)
{
    static const row rows[] = {
        {"/..", nullptr},          {"/../", nullptr},
        {"/../a", nullptr},        {"/./..", nullptr},
        {"//..", nullptr},         {"/a/../..", nullptr},
        {"/a/../../b", nullptr},   {"/a/b/../../../c", nullptr},
        {"/%2e%2e", nullptr},      {"/%2e./a", nullptr},
        {"/.%2E%2fa", nullptr},    {"/..%2fa", nullptr},
        {"/a%2f..%2f..", nullptr}, {"/%2f..", nullptr},
        {"/a/..//../b", nullptr},
    };
    CHECK(rows);
}

CASE(test_path_refused)
{
    static const row rows[] = {
        {"", nullptr},           {"a", nullptr},     {"*", nullptr},        {"%2f", nullptr},
        {"/%", nullptr},         {"/%4", nullptr},   {"/%4g", nullptr},     {"/%g4", nullptr},
        {"/%%41", nullptr},      {"/% 41", nullptr}, {"/%+1", nullptr},     {"/a%00", nullptr},
        {"/a%00.html", nullptr}, {"/a%0a", nullptr}, {"/a%0D%0a", nullptr}, {"/%1f", nullptr},
        {"/%7f", nullptr},       {"/a\tb", nullptr}, {"/a\x7f", nullptr},   {"/a\nb", nullptr},
    };
    CHECK(rows);
    assert_null(normalised("/a\0b", 4));
    assert_null(normalised("/a%4\0", 5));
    assert_null(normalised("/%4141", 3)); // the text ends there
}

// Whatever comes out is normal: it stays what it is, and no segment is empty or made of dots.
CASE(test_path_of_random_pieces)
{
    static const char *const pieces[] = {"/",   ".",    "..", "a",   "%2e", "%2F", "//",  "/..",
                                         "/./", "b%20", "%",  "%00", "%25", "\\",  "...", "/a/b"};
    unsigned seed = 1;
    for (int i = 0; i < 200000; i++) {
        char text[128] = "/", again[128];
        for (int n = 0; n < i % 12; n++)
            strcat(text, pieces[(seed = seed * 1103515245 + 12345) >> 16 & 15]);
        const char *path = normalised(text, strlen(text));
        if (path == nullptr)
            continue;
        if (path[0] != '/' || strstr(path, "//") != nullptr || strstr(path, "/./") != nullptr ||
            strstr(path, "/../") != nullptr)
            fail_msg("%s gives %s", text, path);
        size_t n = path_escape(again, path, strlen(path) < 40 ? strlen(path) : 40);
        char *copy = strndup(path, strlen(path) < 40 ? strlen(path) : 40);
        path = normalised(again, n);
        if (path == nullptr || strcmp(path, copy) != 0)
            fail_msg("%s: %.*s gives %s, not %s", text, (int)n, again, path, copy);
        free(copy);
    }
}

CASE(test_path_in_place)
{
    char text[] = "/a%2e/./b/../%63";
    assert_int_equal(path_normalise(text, text, strlen(text)), 5);
    assert_string_equal(text, "/a./c");
}

CASE(test_path_escape)
{
    static const row rows[] = {
        {"/a/B-c_d.e~1", "/a/B-c_d.e~1"},
        {"a b", "a%20b"},
        {"a:b", "a%3Ab"},
        {"/\\evil", "/%5Cevil"},
        {"<a href=\"x\">&'", "%3Ca%20href%3D%22x%22%3E%26%27"},
        {"100%?#", "100%25%3F%23"},
        {"\xc3\xa4\r\n", "%C3%A4%0D%0A"},
    };
    for (const row &r : rows) {
        char text[256];
        text[path_escape(text, r.text, strlen(r.text))] = 0;
        assert_string_equal(text, r.path);
    }
    char every[256], escaped[768], back[769];
    for (int i = 0; i < 256; i++)
        every[i] = (char)i;
    size_t n = path_escape(escaped, every, 256);
    assert_int_equal(n, 256 + 2 * (256 - 26 * 2 - 10 - 5));
    back[0] = '/';
    n = path_escape(back + 1, every + 128, 128) + 1;
    assert_int_equal(path_normalise(back, back, n), 129);
    assert_memory_equal(back + 1, every + 128, 128);
}

RUN_CASES()
