// Files below a folder: every way in, and none out, by the kernel's own walk and by hand.
#include "../descriptors.h"
#include "../refuses.h"
#include "../runner.h"

#include <http/beneath.h>

#include <errno.h>
#include <limits.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

using namespace weft;

static char top[] = "/tmp/weft-beneath-XXXXXX";
static root r;

static void make_file(const char *name, const char *text)
{
    int fd = open(name, O_WRONLY | O_CREAT | O_EXCL, 0644);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
}

// /tmp/.../secret beside /tmp/.../root, in which all else is.
static void make_tree(void)
{
    strcpy(top, "/tmp/weft-beneath-XXXXXX");
    assert_non_null(mkdtemp(top));
    assert_int_equal(chdir(top), 0);
    make_file("secret", "secret");
    mkdir("out", 0755);
    make_file("out/secret", "secret");
    mkdir("root", 0755);
    assert_int_equal(chdir("root"), 0);
    mkdir("a", 0755);
    mkdir("a/b", 0755);
    mkdir("a/b/c", 0755);
    make_file("file", "file");
    make_file("a/file", "a/file");
    make_file("a/b/file", "a/b/file");
    static const char *const links[][2] = {
        {"file", "to_file"},
        {"a", "to_a"},
        {"a/b/c/../file", "to_b_file"},
        {"../file", "a/to_file"},
        {"../../file", "a/b/to_file"},
        {"../b/../../a/b/./file", "a/b/round"},
        {"to_a/b", "to_b"},
        {"to_b/file", "to_to"},
        {"a/b", "b"},
        {"b/../file", "through"}, // a/file, not file
        {"a/", "to_a_slash"},
        {"a//b/", "to_b_slash"},
        {".", "here"},
        {"here/here/here/file", "deep"},
        {"..", "up"},
        {"../secret", "out_file"},
        {"../out", "out_dir"},
        {"a/../../secret", "out_by_a"},
        {"../../../secret", "a/b/out_file"},
        {"up/secret", "out_twice"},
        {"../root/file", "out_and_in"},
        {"/etc/passwd", "absolute"},
        {"/", "absolute_root"},
        {"/proc/self/cwd/file", "by_proc"},
        {"nothing", "dangling"},
        {"loop_b", "loop_a"},
        {"loop_a", "loop_b"},
        {"self/x", "self"},
        {"file/", "to_file_slash"},
    };
    for (const auto &link : links)
        assert_int_equal(symlink(link[0], link[1]), 0);
    char absolute[200];
    snprintf(absolute, sizeof absolute, "%s/root/file", top);
    assert_int_equal(symlink(absolute, "absolute_in"), 0);
    mkfifo("fifo", 0644);
}

static int make_root(void **state)
{
    runner_begin(state);
    make_tree();
    assert_int_equal(root_open(&r, "."), 0);
    return 0;
}

static int remove_root(void **state)
{
    char command[100];
    root_close(&r);
    assert_int_equal(chdir("/"), 0);
    snprintf(command, sizeof command, "rm -rf %s", top);
    assert_int_equal(system(command), 0);
    return runner_end(state);
}

#define TREE_CASE(fn) CASE_BETWEEN(fn, make_root, remove_root)

// Runs it as the kernel walks, if it does, and by hand.
static void both_ways(void (*check)(void))
{
    int before = open_descriptors();
    check();
    r.by_hand = true;
    check();
    r.by_hand = false;
    assert_int_equal(open_descriptors(), before);
}

static const char *content(const char *path)
{
    static char text[20];
    int fd = root_openat(&r, path, O_RDONLY);
    if (fd < 0)
        return nullptr;
    ssize_t n = read(fd, text, sizeof text - 1);
    assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
    close(fd);
    text[n < 0 ? 0 : n] = 0;
    return n < 0 ? "a folder" : text;
}

TREE_CASE(test_beneath_within)
{
    both_ways([] {
        static const char *const rows[][2] = {
            {"file", "file"},
            {"a/file", "a/file"},
            {"a/b/file", "a/b/file"},
            {"a//b/file", "a/b/file"},
            {"./a/./file", "a/file"},
            {"a/../file", "file"},
            {"a/b/../../a/file", "a/file"},
            {"to_file", "file"},
            {"to_a/file", "a/file"},
            {"to_b_file", "a/b/file"},
            {"a/to_file", "file"},
            {"a/b/to_file", "file"},
            {"a/b/round", "a/b/file"},
            {"to_b/to_file", "file"},
            {"to_to", "a/b/file"},
            {"b/file", "a/b/file"},
            {"b/../file", "a/file"},
            {"through", "a/file"},
            {"to_a_slash/file", "a/file"},
            {"to_b_slash/file", "a/b/file"},
            {"deep", "file"},
            {"", "a folder"},
            {".", "a folder"},
            {"a", "a folder"},
            {"a/", "a folder"},
            {"to_a", "a folder"},
            {"to_a/", "a folder"},
            {"to_a_slash", "a folder"},
            {"a/b/..", "a folder"},
            {"here", "a folder"},
        };
        for (const auto &row : rows) {
            const char *is = content(row[0]);
            if (is == nullptr || strcmp(is, row[1]) != 0)
                fail_msg("%s is %s, not %s, %s", row[0], is, row[1], strerror(errno));
        }
    });
}

TREE_CASE(test_beneath_never_outside)
{
    both_ways([] {
        static const char *const rows[] = {
            "..",
            "../secret",
            "../root/file",
            "a/../../secret",
            "a/b/../../../secret",
            "up",
            "up/secret",
            "a/../up/secret",
            "out_file",
            "out_dir/secret",
            "out_dir",
            "out_by_a",
            "a/b/out_file",
            "to_b/out_file",
            "out_twice",
            "out_and_in",
            "here/here/up/secret",
            "absolute",
            "absolute_root",
            "absolute_root/etc/passwd",
            "absolute_in",
            "by_proc",
            "/etc/passwd",
            "/",
        };
        for (const char *path : rows) {
            struct stat s;
            errno = 0;
            if (content(path) != nullptr || errno != EXDEV)
                fail_msg("%s: %s", path, strerror(errno));
            assert_errno(root_stat(&r, path, &s), EXDEV);
        }
    });
}

TREE_CASE(test_beneath_errors)
{
    both_ways([] {
        char longest[PATH_MAX + 10], name[NAME_MAX + 10];
        memset(longest, '/', sizeof longest);
        longest[0] = 'a';
        longest[sizeof longest - 1] = 0;
        memset(name, 'n', sizeof name);
        name[sizeof name - 1] = 0;
        const struct {
            const char *path;
            int error;
        } rows[] = {
            {"nothing", ENOENT},     {"a/nothing", ENOENT}, {"nothing/file", ENOENT},
            {"dangling", ENOENT},    {"file/", ENOTDIR},    {"file/x", ENOTDIR},
            {"to_file/", ENOTDIR},   {"file/..", ENOTDIR},  {"loop_a", ELOOP},
            {"self", ELOOP},         {"self/y", ELOOP},     {"to_file_slash", ENOTDIR},
            {longest, ENAMETOOLONG}, {name, ENAMETOOLONG},
        };
        for (const auto &row : rows) {
            errno = 0;
            if (content(row.path) != nullptr || errno != row.error)
                fail_msg("%.40s: %s", row.path, strerror(errno));
        }
        assert_errno(root_openat(&r, "file", O_RDONLY | O_DIRECTORY), ENOTDIR);
        int fd = root_openat(&r, "to_a", O_RDONLY | O_DIRECTORY);
        assert_true(fd > 2);
        close(fd);
    });
}

// Nothing is opened that has an effect, and nothing is waited for.
TREE_CASE(test_beneath_special)
{
    both_ways([] {
        struct stat s;
        assert_int_equal(root_stat(&r, "fifo", &s), 0);
        assert_true(S_ISFIFO(s.st_mode));
        int fd = root_openat(&r, "fifo", O_RDONLY);
        assert_true(fd > 2);
        close(fd);
        assert_int_equal(root_stat(&r, "to_b_file", &s), 0);
        assert_true(S_ISREG(s.st_mode) && s.st_size == 8);
        assert_int_equal(root_stat(&r, "", &s), 0);
        assert_true(S_ISDIR(s.st_mode));
    });
    struct sockaddr_un a = {AF_UNIX, "socket"};
    int l = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(l, (struct sockaddr *)&a, sizeof a), 0);
    both_ways([] {
        struct stat s;
        assert_int_equal(root_stat(&r, "socket", &s), 0);
        assert_true(S_ISSOCK(s.st_mode));
        assert_errno(root_openat(&r, "socket", O_RDONLY), ENXIO);
    });
    close(l);
}

// The folder is the one that was opened, also when another has its name.
TREE_CASE(test_beneath_moved_root)
{
    both_ways([] {
        assert_int_equal(rename("../root", "../moved"), 0);
        assert_string_equal(content("a/file"), "a/file");
        assert_int_equal(rename("../moved", "../root"), 0);
    });
}

// Somebody swaps a folder, and a file, for links that lead outside, all the time: what is opened is
// always below the root.
static void swap(const char *one, const char *other, const char *spare)
{
    for (;;) {
        rename(one, spare);
        rename(other, one);
        rename(one, other);
        rename(spare, one);
    }
}

static void open_often(void)
{
    static const char *const paths[] = {"a/secret", "public"};
    for (int found = 0, tries = 0; found < 3000 && tries < 200000; tries++) {
        const char *is = content(paths[tries & 1]);
        found += is != nullptr;
        if (is != nullptr && strcmp(is, "public") != 0)
            fail_msg("%s was opened", is);
    }
}

TREE_CASE(test_beneath_races)
{
    make_file("a/secret", "public");
    make_file("public", "public");
    assert_int_equal(symlink("../out", "bad_folder"), 0);
    assert_int_equal(symlink("../secret", "bad_file"), 0);
    pid_t p = runner_fork();
    if (p == 0)
        swap("a", "bad_folder", "good_folder");
    pid_t q = runner_fork();
    if (q == 0)
        swap("public", "bad_file", "good_file");
    both_ways(open_often);
    kill_and_reap(p);
    kill_and_reap(q);
}

static int opens_all(void)
{
    root here;
    if (root_open(&here, ".") != 0 || !here.by_hand)
        return 1;
    r = here;
    if (strcmp(content("to_b_file"), "a/b/file") != 0 || content("out_file") != nullptr)
        return 2;
    return 0;
}

// Where a sandbox forbids openat2(2), before the folder is opened or after it.
TREE_CASE(test_beneath_sandboxes)
{
    static const int errors[] = {ENOSYS, EPERM, EINVAL, EACCES};
    for (int error : errors) {
        pid_t p = runner_fork();
        if (p == 0)
            _exit(refuses(SYS_openat2, (unsigned)error) ? opens_all() : 100);
        int end = end_of(p);
        assert_true(end == 0 || end == 100);
    }
    for (int i = 0; i < 2; i++) {
        pid_t p = runner_fork();
        if (p == 0)
            _exit(refuses(SYS_openat2, (unsigned)errors[i])
                      ? content("out_file") != nullptr || strcmp(content("to_to"), "a/b/file") != 0
                      : 100);
        int end = end_of(p);
        assert_true(end == 0 || end == 100);
    }
}

CASE(test_beneath_open_errors)
{
    assert_errno(root_open(&r, "/nowhere/at/all"), ENOENT);
    assert_errno(root_open(&r, "/etc/passwd"), ENOTDIR);
}

RUN_CASES()
