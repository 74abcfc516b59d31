// Nothing outside of the folder is ever served, whatever is asked for and however it is written.
#include "filed.h"

#include "../refuses.h"

// site_top/secret, and a folder beside the root whose name begins as the root's.
static void make_outside(void)
{
    static const char *const links[][2] = {
        {"../secret", "out"},
        {"..", "up"},
        {"../root2", "beside"},
        {"/etc/passwd", "passwd"},
        {"/", "slash"},
        {"/proc/self/root", "proc"},
        {"a/../../secret", "by_a"},
        {"../root/in.txt", "out_and_in"},
        {"in.txt", "within"},
        {"a", "folder"},
        {"loop", "loop"},
    };
    put_text("in.txt", "inside");
    put_folder("a");
    put_text("a/in.txt", "inside a");
    put_text("../secret", "outside");
    put_folder("../root2");
    put_text("../root2/secret", "outside");
    for (const auto &link : links)
        assert_int_equal(symlink(link[0], site_path(link[1])), 0);
}

static int ask_bytes(const char *request)
{
    int status = ask_once(request);
    if (strstr(heard, "outside") != nullptr || strstr(heard, "root:") != nullptr)
        fail_msg("%s: got out", request);
    return status;
}

static void check_targets(void)
{
    static const char *const steps[] = {
        "../",         "..%2f",         "..%2F",         "%2e%2e/",          "%2e%2e%2f",
        ".%2e/",       "%2E./",         "./../",         ".//..//",          "..%5c",
        "..\\",        "%2e%2e%5c",     "%252e%252e/",   "%252e%252e%252f",  "..%252f",
        "..%c0%af",    "%c0%ae%c0%ae/", "..%00/",        "%2e%2e%00/",       "..;/",
        "....//",      ".../",          "%u002e%u002e/", "..%01/",           "%uff0e%uff0e/",
        "..%e0%80%af", "%f0%80%80%af",  "a/../../",      "a/%2e%2e/%2e%2e/",
    };
    static const char *const ends[] = {"secret",   "root2/secret",   "../../../../../etc/passwd",
                                       "%73ecret", "secret%00.html", "secret/"};
    char request[400];
    for (const char *step : steps)
        for (const char *end : ends)
            for (int depth = 1; depth < 4; depth++) {
                strcpy(request, "GET /");
                for (int i = 0; i < depth; i++)
                    strcat(request, step);
                strcat(request, end);
                strcat(request, " HTTP/1.1\r\nHost: a\r\n\r\n");
                int status = ask_bytes(request);
                if (status != 404 && status != 400 && status != 403)
                    fail_msg("%s: %d", request, status);
            }
}

static void check_forms(void)
{
    static const struct {
        const char *target;
        int status;
    } rows[] = {
        {"/out", 404},
        {"/up/secret", 404},
        {"/up/", 404},
        {"/up", 404},
        {"/beside/secret", 404},
        {"/beside/", 404},
        {"/passwd", 404},
        {"/slash/etc/passwd", 404},
        {"/slash/", 404},
        {"/proc/etc/passwd", 404},
        {"/by_a", 404},
        {"/out_and_in", 404},
        {"/loop", 404},
        {"/loop/x", 404},
        {"/within", 200},
        {"/folder/in.txt", 200},
        {"/a/../in.txt", 200},
        {"/a/..%2fin.txt", 200},
        {"//in.txt", 200},
        {"/%2fetc/passwd", 404},
        {"//etc/passwd", 404},
        {"http://a/../secret", 400},
        {"http://a/%2e%2e/secret", 400},
        {"http://a/in.txt", 200},
        {"http://a/out", 404},
    };
    for (const auto &r : rows) {
        char request[300];
        snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: a\r\n\r\n", r.target);
        int status = ask_bytes(request);
        if (status != r.status)
            fail_msg("%s: %d", r.target, status);
    }
    // What is no target at all.
    static const char *const wild[] = {"../secret",   "..",       "%2e%2e/secret",
                                       "secret",      "\\secret", "file:///etc/passwd",
                                       "/../secret#x"};
    for (const char *target : wild) {
        char request[300];
        snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: a\r\n\r\n", target);
        assert_int_equal(ask_bytes(request), 400);
    }
    assert_int_equal(ask_bytes("GET /../secret HTTP/1.0\r\n\r\n"), 400);
}

static void check_all(void)
{
    weft_http_files_options o = {};
    o.listing = true;
    serve_files(&o);
    check_targets();
    check_forms();
    assert_int_equal(get("/"), 200); // and the listing names none of them
    static const char *const names[] = {"out", "up", "beside", "passwd", "slash", "proc", "loop"};
    for (const char *name : names) {
        char row[40];
        snprintf(row, sizeof row, "./%s", name);
        if (body_has(row))
            fail_msg("%s is listed", name);
    }
    assert_true(body_has("./within") && body_has("./folder/"));
    unserve_files();
}

SITE_CASE(test_files_outside)
{
    make_outside();
    check_all();
}

// The same where the kernel has no openat2(2).
static int check_in_child(void *)
{
    check_all();
    return 0;
}

CASE_BETWEEN(test_files_outside_by_hand, make_site, remove_site)
{
    make_outside();
    int (*fn)(void) = [] {
        return refuses(SYS_openat2, ENOSYS) ? weft_io_run(check_in_child, nullptr)
                                            : (int)NOT_PERMITTED;
    };
    assert_int_equal(child_result(fn, "filters of system calls"), 0);
}

// A folder on the way is swapped for a link that leads outside, again and again.
static void swap(void)
{
    char one[60], two[60], three[60];
    strcpy(one, site_path("a"));
    strcpy(two, site_path("beside"));
    strcpy(three, site_path("other"));
    for (;;) {
        rename(one, three);
        rename(two, one);
        rename(one, two);
        rename(three, one);
    }
}

SITE_CASE(test_files_outside_by_races)
{
    weft_http_files_options o = {};
    o.revalidate_ns = 1; // each time
    make_outside();
    put_text("a/secret", "public");
    serve_files(&o);
    pid_t p = runner_fork();
    if (p == 0)
        swap();
    for (int i = 0; i < 3000; i++) {
        get("/a/secret");
        if (strstr(heard, "outside") != nullptr)
            fail_msg("got out");
    }
    kill_and_reap(p);
    unserve_files();
}

RUN_CASES()
