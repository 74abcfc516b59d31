// URLs: what is taken, what is refused, and what references mean (RFC 3986).
#include "../runner.h"

#include <http/url.h>

using namespace weft;

CASE(test_url_parse)
{
    static const struct {
        const char *text, *address, *host, *target;
    } urls[] = {
        {"http://a", "tcp:a:80", "a", ""},
        {"http://a/", "tcp:a:80", "a", "/"},
        {"HTTP://Www.Example.ORG:8080/P?q#f", "tcp:www.example.org:8080", "www.example.org:8080",
         "/P?q"},
        {"http://a:/x", "tcp:a:80", "a", "/x"},
        {"http://a:80?q", "tcp:a:80", "a", "?q"},
        {"http://a#f/g?h", "tcp:a:80", "a", ""},
        {"http://a:65535/", "tcp:a:65535", "a:65535", "/"},
        {"http://a:00081/", "tcp:a:81", "a:81", "/"},
        {"http://127.0.0.1:1/a%20b/%zz?a=b&c=/d?e", "tcp:127.0.0.1:1", "127.0.0.1:1",
         "/a%20b/%zz?a=b&c=/d?e"},
        {"http://[::1]/", "tcp:[::1]:80", "[::1]", "/"},
        {"http://[FE80::A:1.2.3.4]:8080", "tcp:[fe80::a:1.2.3.4]:8080", "[fe80::a:1.2.3.4]:8080",
         ""},
        {"http://a_b-c~d.e/@:8", "tcp:a_b-c~d.e:80", "a_b-c~d.e", "/@:8"},
        {"unix:/run/s", "unix:/run/s", "localhost", ""},
        {"unix:/run/s:", "unix:/run/s", "localhost", ""},
        {"unix:/run/s:/p:q?r#f", "unix:/run/s", "localhost", "/p:q?r"},
        {"unix:@name:?q", "unix:@name", "localhost", "?q"},
        {"unix:s:#f", "unix:s", "localhost", ""},
    };
    for (auto &each : urls) {
        url u;
        if (url_parse(&u, each.text) != 0)
            fail_msg("%s: errno %d", each.text, errno);
        assert_string_equal(u.address, each.address);
        assert_string_equal(u.host, each.host);
        assert_int_equal(u.size, strlen(each.target));
        assert_memory_equal(u.target, each.target, u.size);
        assert_int_equal(u.is_unix, each.text[0] == 'u');
    }
}

CASE(test_url_refused)
{
    static const char *const urls[] = {
        "",
        "a",
        "/x",
        "//a/",
        "http:",
        "http:/",
        "http://",
        "http:///x",
        "http://:80/",
        "http:a/",
        " http://a/",
        "http://a /",
        "http://a/ ",
        "http://a/b c",
        "http://a/\r\nHost: b",
        "http://a\r\n/",
        "http://a/\n",
        "http://a/\t",
        "http://a/\x7f",
        "http://a/\x01",
        "http://a/\xc3\xa4",
        "http://\xc3\xa4/",
        "http://user@a/",
        "http://user:pass@a/",
        "http://a@b:80/",
        "http://@a/",
        "http://a\\b/",
        "http://a\\@b/",
        "http://a%40b/",
        "http://a%00b/",
        "http://a;b/",
        "http://a,b/",
        "http://a:0/",
        "http://a:65536/",
        "http://a:99999999999/",
        "http://a:-1/",
        "http://a:+1/",
        "http://a:8x/",
        "http://a:80:80/",
        "http://a: 80/",
        "http://::1/",
        "http://[::1/",
        "http://::1]/",
        "http://[]/",
        "http://[::1]x/",
        "http://[::1]80/",
        "http://[::g]/",
        "http://[fe80::1%25lo]/",
        "http://[[::1]]/",
        "unix:",
        "unix::/x",
        "unix:@",
        "unix:@:/x",
        "unix:/run/s:x",
        "unix:/run/s?x",
        "unix:/run/s#x",
        "unix:/run/s s",
    };
    url u;
    for (const char *each : urls)
        if (url_parse(&u, each) != -1 || errno != EINVAL)
            fail_msg("\"%s\" is taken, or errno %d", each, errno);
    static const char *const others[] = {"https://a/", "ftp://a/", "file:///x", "unixx:/a", "a:b"};
    for (const char *each : others)
        if (url_parse(&u, each) != -1 || errno != EPROTONOSUPPORT)
            fail_msg("\"%s\" is taken, or errno %d", each, errno);
    assert_errno(url_parse(&u, nullptr), EINVAL);
}

CASE(test_url_too_long)
{
    char text[600] = "http://";
    url u;
    memset(text + 7, 'a', 255);
    assert_int_equal(url_parse(&u, text), 0);
    strcpy(text + 7 + 255, ":65535");
    assert_int_equal(url_parse(&u, text), 0);
    assert_int_equal(strlen(u.address), 4 + 255 + 6);
    memset(text + 7, 'a', 256);
    assert_errno(url_parse(&u, text), ENAMETOOLONG);
    memcpy(text, "unix:/", 6);
    text[5 + 107] = 0;
    assert_int_equal(url_parse(&u, text), 0);
    strcpy(text + 5 + 107, "a");
    assert_errno(url_parse(&u, text), ENAMETOOLONG);
}

static void resolves(const char *base, const char *reference, const char *to)
{
    char text[256];
    if (url_resolve(text, sizeof text, base, reference) != 0)
        fail_msg("\"%s\": errno %d", reference, errno);
    if (strcmp(text, to) != 0)
        fail_msg("\"%s\" is %s, not %s", reference, text, to);
}

// RFC 3986, sections 5.4.1 and 5.4.2.
CASE(test_url_resolve)
{
    static const char *const references[][2] = {
        {"g", "http://a/b/c/g"},
        {"./g", "http://a/b/c/g"},
        {"g/", "http://a/b/c/g/"},
        {"/g", "http://a/g"},
        {"//g", "http://g/"},
        {"?y", "http://a/b/c/d;p?y"},
        {"g?y", "http://a/b/c/g?y"},
        {"#s", "http://a/b/c/d;p?q"},
        {"g#s", "http://a/b/c/g"},
        {"g?y#s", "http://a/b/c/g?y"},
        {";x", "http://a/b/c/;x"},
        {"g;x", "http://a/b/c/g;x"},
        {"g;x?y#s", "http://a/b/c/g;x?y"},
        {"", "http://a/b/c/d;p?q"},
        {".", "http://a/b/c/"},
        {"./", "http://a/b/c/"},
        {"..", "http://a/b/"},
        {"../", "http://a/b/"},
        {"../g", "http://a/b/g"},
        {"../..", "http://a/"},
        {"../../", "http://a/"},
        {"../../g", "http://a/g"},
        {"../../../g", "http://a/g"},
        {"../../../../g", "http://a/g"},
        {"/./g", "http://a/g"},
        {"/../g", "http://a/g"},
        {"g.", "http://a/b/c/g."},
        {".g", "http://a/b/c/.g"},
        {"g..", "http://a/b/c/g.."},
        {"..g", "http://a/b/c/..g"},
        {"./../g", "http://a/b/g"},
        {"./g/.", "http://a/b/c/g/"},
        {"g/./h", "http://a/b/c/g/h"},
        {"g/../h", "http://a/b/c/h"},
        {"g;x=1/./y", "http://a/b/c/g;x=1/y"},
        {"g;x=1/../y", "http://a/b/c/y"},
        {"g?y/./x", "http://a/b/c/g?y/./x"},
        {"g#s/../x", "http://a/b/c/g"},
        {"http://x/y/../z", "http://x/z"},
        {"http://x", "http://x/"},
        {"HTTP://x?y", "HTTP://x/?y"},
        {"a b\xc3\xa4", "http://a/b/c/a%20b%C3%A4"},
        {"%2e%2E/x", "http://a/b/c/%2e%2E/x"},
    };
    for (auto &each : references)
        resolves("http://a/b/c/d;p?q", each[0], each[1]);
    resolves("http://a", "b", "http://a/b");
    resolves("http://a?q", "b", "http://a/b");
    resolves("http://a?q", "", "http://a/?q");
    resolves("http://a:8/x#f", "?y", "http://a:8/x?y");
    resolves("unix:/s", "b?c", "unix:/s:/b?c");
    resolves("unix:/s:/x/y?z", "../b", "unix:/s:/b");
    resolves("unix:/s:?z", "/b", "unix:/s:/b");
    resolves("unix:/s:/x", "http://a/b", "http://a/b");
    resolves("unix:/s:/x", "unix:/t", "unix:/t:/");
    resolves("unix:/s", "", "unix:/s:/");
    resolves("http://a/", "unix:/t:/x/../y?z#f", "unix:/t:/y?z");
}

CASE(test_url_resolve_refused)
{
    char text[32];
    assert_errno(url_resolve(text, sizeof text, "unix:/s:/x", "//a/b"), EINVAL);
    assert_errno(url_resolve(text, sizeof text, "http://a/", "unix:"), EINVAL);
    assert_errno(url_resolve(text, sizeof text, "http://a/", "unix::/x"), EINVAL);
    assert_errno(url_resolve(text, sizeof text, "http://a/", "a\tb"), EINVAL);
    assert_errno(url_resolve(text, sizeof text, "http://a/", "http:/.//b"), EINVAL); // b is no host
    assert_errno(url_resolve(text, sizeof text, "http://a/", "http:/x/..//b"), EINVAL);
    assert_errno(url_resolve(text, sizeof text, "http://a/", "a\r\nb"), EINVAL);
    for (size_t room = 1; room < 14; room++)
        assert_errno(url_resolve(text, room, "http://a/bcd", "e f"), ENAMETOOLONG);
    char most[200];
    memset(most, 'x', sizeof most);
    most[sizeof most - 1] = 0;
    assert_errno(url_resolve(text, sizeof text, "http://a/bcd", most), ENAMETOOLONG);
}

RUN_CASES()
