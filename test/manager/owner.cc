// Who holds something over a Unix socket and dies: it is given back though a child that fork(2)
// made has the descriptor still, by SO_PEERPIDFD and by the process's number; and without either,
// not.
#include "served.h"

#include "../../src/manager/server/place.h"

#include <dirent.h>
#include <sys/wait.h>

// A process that connects and says `lines`, parted by ';', of which those in brackets are not
// waited for.  Its child has the connection, too, says `later` on it once it is told to, and lives
// on.
struct family {
    pid_t parent, child;
    raw here; // what the child hears comes here, and tells it to go on
};

static void say_lines(raw *r, const char *lines)
{
    char line[200];
    size_t n, size;
    for (const char *p = lines; *p != 0; p += n + (p[n] == ';')) {
        n = strcspn(p, ";");
        bool waits = *p != '(';
        snprintf(line, sizeof line, "%.*s", (int)n - 2 * !waits, p + !waits);
        raw_ask(r, line);
        if (waits && raw_next(r, &size, in_time()) == nullptr)
            _exit(3);
    }
}

static void live_on(raw *r, const char *later, int fd)
{
    char byte;
    size_t size;
    if (read(fd, &byte, 1) == 1 && later != nullptr) {
        raw_ask(r, later);
        const char *p = raw_next(r, &size, in_time());
        (void)!write(fd, p != nullptr ? p : "-CUT\r\n", p != nullptr ? size : 6);
    }
    for (;;)
        pause();
}

static family family_begin(const char *lines, const char *later)
{
    int ends[2];
    family f = {};
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    f.parent = fork();
    if (f.parent == 0) {
        raw r;
        raw_adopt(&r, raw_socket(address));
        say_lines(&r, lines);
        pid_t child = fork();
        if (child == 0)
            live_on(&r, later, ends[1]);
        (void)!write(ends[1], &child, sizeof child);
        for (;;)
            pause();
    }
    close(ends[1]);
    assert_int_equal(read(ends[0], &f.child, sizeof f.child), sizeof f.child);
    raw_adopt(&f.here, ends[0]);
    return f;
}

static void kill_parent(family *f)
{
    kill(f->parent, SIGKILL);
    assert_int_equal(waitpid(f->parent, nullptr, 0), f->parent);
}

static const char *child_hears(family *f)
{
    assert_int_equal(write(f->here.fd, "g", 1), 1);
    return reply(&f->here);
}

static void family_end(family *f)
{
    kill(f->child, SIGKILL);
    raw_close(&f->here);
    assert_true(wait_clients(&c, 1));
}

// ---- What is given back ----

static void each_kind_is_given_back(void)
{
    says(&c, "WEFT.SEMAPHORE s 2", ":2\r\n");
    says(&c, "WEFT.PUT q 0 0 job", ":1\r\n");
    family f = family_begin("WEFT.LOCK k 0;WEFT.LOCK l 0", nullptr);
    says(&c, "WEFT.LOCK k 0", "$-1\r\n");
    kill_parent(&f);
    assert_int_equal(ask(&c, "WEFT.LOCK k -1")[0], ':');
    assert_int_equal(ask(&c, "WEFT.LOCK l -1")[0], ':');
    family_end(&f);

    f = family_begin("WEFT.ACQUIRE s 0;WEFT.ACQUIRE s 0", nullptr);
    kill_parent(&f);
    says(&c, "WEFT.ACQUIRE s -1", ":1\r\n");
    family_end(&f);

    f = family_begin("WEFT.GET q 0", nullptr);
    says(&c, "LLEN q", ":0\r\n");
    kill_parent(&f);
    says(&c, "WEFT.GET q -1", "$3\r\njob\r\n");
    says(&c, "WEFT.DONE q", ":0\r\n");
    family_end(&f);

    // A seat at a barrier.
    raw other = open_one();
    raw_ask(&other, "WEFT.BARRIER b 3 -1");
    f = family_begin("(WEFT.BARRIER b 3 -1)", nullptr);
    assert_true(wait_blocked(&c, 2));
    kill_parent(&f);
    assert_true(strncmp(reply(&other), "-OWNERDEAD", 10) == 0);
    raw_close(&other);
    family_end(&f);
}

SERVER_CASE_WITH(test_given_back_by_peerpidfd, weft::owner_without = 0)
{
    each_kind_is_given_back();
}

SERVER_CASE_WITH(test_given_back_by_number, weft::owner_without = weft::OWNER_NO_PEERPIDFD)
{
    each_kind_is_given_back();
}

// As it is over TCP: the connection's end counts.
SERVER_CASE_WITH(test_given_back_without_pidfds,
                 weft::owner_without = weft::OWNER_NO_PEERPIDFD | weft::OWNER_NO_PIDFD)
{
    family f = family_begin("WEFT.LOCK k 0", nullptr);
    kill_parent(&f);
    says(&c, "WEFT.LOCK k 50", "$-1\r\n");
    family_end(&f);
    assert_int_equal(ask(&c, "WEFT.LOCK k -1")[0], ':');
}

// What it sent before it died is done first: the server finds all of it together.
SERVER_CASE_WITH(test_what_was_sent_is_done, weft::owner_without = 0)
{
    pid_t server = weft_manager_pid(manager), child;
    int told[2];
    says(&c, "WEFT.PUT q 0 0 job", ":1\r\n");
    assert_int_equal(pipe2(told, O_CLOEXEC), 0);
    pid_t parent = fork();
    if (parent == 0) {
        raw r;
        raw_adopt(&r, raw_socket(address));
        say_lines(&r, "WEFT.GET q 0");
        child = fork();
        if (child == 0)
            for (;;)
                pause();
        (void)!write(told[1], &child, sizeof child);
        kill(server, SIGSTOP);
        say_lines(&r, "(WEFT.DONE q)");
        _exit(0);
    }
    assert_int_equal(read(told[0], &child, sizeof child), sizeof child);
    assert_int_equal(waitpid(parent, nullptr, 0), parent);
    kill(server, SIGCONT);
    says(&c, "WEFT.JOIN q -1", ":1\r\n");
    says(&c, "LLEN q", ":0\r\n");
    kill(child, SIGKILL);
    close(told[0]);
    close(told[1]);
}

// The process that connected counts, whoever uses the connection: a child that locks on it loses
// the lock, and the connection, with its parent.
static void who_connected_counts(void)
{
    family f = family_begin("PING", "WEFT.LOCK k 0");
    assert_int_equal(child_hears(&f)[0], ':');
    says(&c, "WEFT.LOCK k 0", "$-1\r\n");
    kill_parent(&f);
    assert_int_equal(ask(&c, "WEFT.LOCK k -1")[0], ':');
    family_end(&f);
    // It had ended before: then nothing can be held.
    f = family_begin("PING", "WEFT.LOCK l 0");
    kill_parent(&f);
    child_hears(&f);
    assert_int_equal(ask(&c, "WEFT.LOCK l -1")[0], ':');
    family_end(&f);
    says(&c, "WEFT.UNLOCK k", ":0\r\n");
    says(&c, "WEFT.UNLOCK l", ":0\r\n");
}

SERVER_CASE_WITH(test_who_connected_counts, weft::owner_without = 0)
{
    who_connected_counts();
}

SERVER_CASE_WITH(test_who_connected_counts_by_number,
                 weft::owner_without = weft::OWNER_NO_PEERPIDFD)
{
    who_connected_counts();
}

// Who holds nothing stays, and may do all that Redis has.
SERVER_CASE_WITH(test_who_holds_nothing_stays, weft::owner_without = 0)
{
    for (const char *later : {"SET k v", "LPOP list", "BLPOP list 0"}) {
        family f = family_begin("WEFT.LOCK k 0;WEFT.UNLOCK k", later);
        kill_parent(&f);
        if (strncmp(later, "BLPOP", 5) == 0) {
            assert_int_equal(write(f.here.fd, "g", 1), 1);
            assert_true(wait_blocked(&c, 1));
            says(&c, "RPUSH list v", ":1\r\n");
            assert_string_equal(reply(&f.here), "*2\r\n$4\r\nlist\r\n$1\r\nv\r\n");
        } else {
            assert_int_not_equal(child_hears(&f)[0], '-');
        }
        assert_true(wait_clients(&c, 2));
        family_end(&f);
    }
}

// ---- What it costs ----

static int descriptors(void)
{
    char path[64];
    int n = 0;
    snprintf(path, sizeof path, "/proc/%d/fd", (int)weft_manager_pid(manager));
    DIR *d = opendir(path);
    assert_non_null(d);
    while (readdir(d) != nullptr)
        n++;
    closedir(d);
    return n;
}

static bool wait_descriptors(int n)
{
    for (weft_deadline d = in_time(); weft_left(d) > 0; usleep(1000))
        if (descriptors() == n)
            return true;
    return false;
}

SERVER_CASE_WITH(test_idle_ones_cost_no_descriptor, weft::owner_without = 0)
{
    says(&c, "PING", "+PONG\r\n");
    int before = descriptors();
    for (int i = 0; i < 2; i++) {
        assert_int_equal(ask(&c, "WEFT.LOCK k 0")[0], ':');
        assert_int_equal(ask(&c, "WEFT.LOCK l 0")[0], ':');
        assert_int_equal(descriptors(), before + 1);
        says(&c, "WEFT.UNLOCK k", ":0\r\n");
        says(&c, "WEFT.UNLOCK l", ":0\r\n");
        assert_true(wait_descriptors(before));
    }
}

RUN_SERVER_CASES()
