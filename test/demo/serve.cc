// weft-async serve: a folder, a log, proxies and the status, through raw sockets; its workers die
// and are renewed.
#include "../notices.h"
#include "said.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>

struct served {
    pid_t pid;
    FILE *out;
    struct sockaddr_in at;
    char first[512]; // its first line
};

// As systemd passes it: the first behind the standard streams.
static void pass_on(int listener)
{
    char pid[16];
    snprintf(pid, sizeof pid, "%d", (int)getpid());
    setenv("LISTEN_PID", pid, 1);
    setenv("LISTEN_FDS", "1", 1);
    if (listener != 3)
        dup2(listener, 3);
    else
        fcntl(3, F_SETFD, 0);
}

// By the shell, with `options` behind -l 127.0.0.1:0, or at a listener that it is passed;
// everything it says is read at its end.
static served start(const char *options, int listener = -1)
{
    served s = {};
    char command[1024];
    int out[2], port = 0;
    snprintf(command, sizeof command, "exec weft-async serve %s %s 2>&1",
             listener < 0 ? "-l 127.0.0.1:0" : "", options);
    assert_int_equal(pipe(out), 0);
    s.pid = runner_fork();
    if (s.pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGTERM); // a test that fails leaves nothing running
        dup2(out[1], 1);
        close(out[0]);
        close(out[1]);
        if (listener >= 0)
            pass_on(listener);
        execl("/bin/sh", "sh", "-c", command, nullptr);
        _exit(127);
    }
    close(out[1]);
    s.out = fdopen(out[0], "r");
    assert_non_null(fgets(s.first, sizeof s.first, s.out));
    const char *at = strstr(s.first, "http://127.0.0.1:");
    if (at == nullptr || sscanf(at, "http://127.0.0.1:%d", &port) != 1)
        fail_msg("it says: %s", s.first);
    s.at.sin_family = AF_INET;
    s.at.sin_port = htons((uint16_t)port);
    s.at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return s;
}

// What it said after its first line is in `said`.
static void stop(served *s)
{
    kill(s->pid, SIGTERM);
    said[fread(said, 1, sizeof said - 1, s->out)] = 0;
    fclose(s->out);
    assert_int_equal(end_of(s->pid), 0);
}

static int dial(const served *s)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, (const struct sockaddr *)&s->at, sizeof s->at), 0);
    return fd;
}

static void say(int fd, const char *text)
{
    assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

// Reads until `part` has come, or the end.
static const char *hear(int fd, const char *part)
{
    static char text[1 << 16];
    size_t all = 0;
    text[0] = 0;
    while (part == nullptr || strstr(text, part) == nullptr) {
        ssize_t n = read(fd, text + all, sizeof text - 1 - all);
        if (n <= 0)
            break;
        all += (size_t)n;
        text[all] = 0;
    }
    if (part != nullptr && strstr(text, part) == nullptr)
        fail_msg("\"%s\" is not in: %s", part, text);
    return text;
}

// A whole answer, on a connection of its own.
static const char *get(const served *s, const char *path)
{
    char request[512];
    snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
             path);
    int fd = dial(s);
    say(fd, request);
    const char *text = hear(fd, nullptr);
    close(fd);
    return text;
}

static void gets(const served *s, const char *path, const char *status, const char *part)
{
    const char *text = get(s, path);
    if (strncmp(text + 9, status, 3) != 0 || strstr(text, part) == nullptr)
        fail_msg("%s: %s, \"%s\"; but: %s", path, status, part, text);
}

static void make_folder(void)
{
    ends_with(0, "rm -rf www && mkdir -p www/sub && echo hello >www/index.html && "
                 "echo other >www/other.txt && echo secret >www/.hidden && echo out >out.txt && "
                 "ln -s ../out.txt www/link");
}

CASE(test_folder)
{
    make_folder();
    served s = start("-w 2 --list --cache-seconds 60 www");
    assert_non_null(strstr(s.first, "serving www on http://127.0.0.1:"));
    assert_non_null(strstr(s.first, " with 2 workers\n"));
    gets(&s, "/", "200", "\r\n\r\nhello\n");
    gets(&s, "/other.txt", "200", "max-age=60");
    gets(&s, "/sub", "301", "/sub/");
    gets(&s, "/sub/", "200", "<");
    gets(&s, "/.hidden", "404", "");
    gets(&s, "/nothing", "404", "");
    gets(&s, "/../out.txt", "400", "");
    assert_null(strstr(get(&s, "/%2e%2e/out.txt"), "out\n"));
    assert_null(strstr(get(&s, "/link"), "out\n"));
    gets(&s, "/.weft/status", "404", "");
    stop(&s);
    assert_string_equal(said, "");
}

// A burst on one connection is answered in order.
CASE(test_pipeline)
{
    make_folder();
    served s = start("-w 1 www");
    int fd = dial(&s);
    say(fd, "GET /other.txt HTTP/1.1\r\nHost: x\r\n\r\nHEAD / HTTP/1.1\r\nHost: x\r\n\r\n"
            "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    const char *text = hear(fd, nullptr);
    const char *first = strstr(text, "other\n"), *second = strstr(text, "hello\n");
    assert_true(first != nullptr && second != nullptr && first < second);
    assert_null(strstr(second + 1, "hello"));
    close(fd);
    stop(&s);
}

CASE(test_log_is_opened_anew)
{
    make_folder();
    unlink("access.log");
    unlink("access.old");
    served s = start("-w 2 --log access.log www");
    gets(&s, "/other.txt", "200", "other");
    for (struct stat st; stat("access.log", &st) != 0 || st.st_size == 0;)
        usleep(1000);
    ends_with(0, "cat access.log");
    says_part("127.0.0.1 - - [");
    says_part("\"GET /other.txt HTTP/1.1\" 200 6 \"-\" \"-\"\n");
    assert_int_equal(rename("access.log", "access.old"), 0);
    kill(s.pid, SIGUSR1);
    for (struct stat st; stat("access.log", &st) != 0 || st.st_size == 0; usleep(1000))
        gets(&s, "/nothing", "404", "");
    stop(&s);
    ends_with(0, "cat access.log");
    says_part("\"GET /nothing HTTP/1.1\" 404 ");
}

CASE(test_status)
{
    make_folder();
    served s = start("-w 2 --status www");
    for (int i = 0; i < 10; i++)
        gets(&s, "/", "200", "hello");
    gets(&s, "/.weft/status", "200", "EventSource");
    int fd = dial(&s);
    say(fd, "GET /.weft/events HTTP/1.1\r\nHost: x\r\n\r\n");
    hear(fd, "\"connections\":");
    hear(fd, "\"buckets\":["); // and again, a second later
    do
        close(dial(&s));
    while (strstr(get(&s, "/.weft/metrics"), "code=\"2xx\"} 1") == nullptr); // 11 and more
    gets(&s, "/.weft/metrics", "200", "# TYPE weft_http_requests_total counter\n");
    gets(&s, "/.weft/metrics", "200", "_seconds_bucket{le=\"+Inf\"} ");
    close(fd);
    stop(&s);
}

CASE(test_proxy)
{
    make_folder();
    served behind = start("-w 1 www");
    char options[100];
    ends_with(0, "mkdir -p front && echo front >front/index.html");
    snprintf(options, sizeof options, "-w 1 --proxy /sub=127.0.0.1:%d front",
             ntohs(behind.at.sin_port));
    ends_with(0, "echo deep >www/sub/deep.txt");
    served s = start(options);
    gets(&s, "/", "200", "front");
    gets(&s, "/sub/deep.txt", "200", "deep\n");
    gets(&s, "/sub/nothing", "404", "");
    stop(&behind);
    gets(&s, "/sub/deep.txt", "502", "");
    stop(&s);
}

// The first of n workers, once there are so many.
static pid_t first_worker(const served *s, int n)
{
    pid_t workers[RUNNER_CHILDREN];
    while (runner_children(s->pid, workers, 0) != n)
        usleep(1000);
    return workers[0];
}

// Once it is dead it takes no connection along.
static void kill_now(pid_t pid)
{
    struct pollfd f = {(int)syscall(SYS_pidfd_open, pid, 0), POLLIN, 0};
    kill(pid, SIGKILL);
    while (poll(&f, 1, -1) < 0)
        ;
    close(f.fd);
}

// One worker of two is killed: the other serves on, and it is replaced.
CASE(test_worker_is_killed)
{
    make_folder();
    served s = start("-w 2 --status www");
    for (int i = 0; i < 3; i++) {
        kill_now(first_worker(&s, 2));
        for (int k = 0; k < 20; k++)
            gets(&s, "/", "200", "hello");
    }
    first_worker(&s, 2);
    stop(&s);
    says_part("killed by SIGKILL");
}

// With half of a second request behind the first.  A worker that drains already answers one alone,
// and says so.
static int begin_two(const served *s)
{
    for (;;) {
        int fd = dial(s);
        say(fd, "GET / HTTP/1.1\r\nHost: x\r\n\r\nGET /ot");
        if (strstr(hear(fd, "hello\n"), "Connection: close") == nullptr)
            return fd;
        close(fd);
    }
}

// No connection is refused, and no answer cut, while all workers are renewed again and again.
CASE(test_reloads_under_load)
{
    make_folder();
    int notices = listen_to_notices();
    served s = start("-w 2 www");
    unsetenv("NOTIFY_SOCKET");
    assert_notice(notices, "READY=1");
    for (int i = 0; i < 10; i++) {
        int fd = begin_two(&s);
        kill(s.pid, SIGHUP);
        assert_reloads(notices);
        say(fd, "her.txt HTTP/1.1\r\nHost: x\r\n\r\n");
        hear(fd, "other\n");
        close(fd);
        gets(&s, "/", "200", "hello");
    }
    stop(&s);
    close(notices);
}

CASE(test_socket_of_systemd)
{
    struct sockaddr_in a = {};
    make_folder();
    int l = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    a.sin_family = AF_INET;
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(bind(l, (struct sockaddr *)&a, sizeof a), 0);
    assert_int_equal(listen(l, 16), 0);
    served s = start("-w 2 www", l);
    close(l);
    gets(&s, "/", "200", "hello");
    kill(s.pid, SIGHUP);
    gets(&s, "/other.txt", "200", "other");
    stop(&s);
}

CASE(test_mistakes)
{
    static const char *const wrong[] = {"-w 0", "--proxy x=y", "--cache-seconds x", "a b",
                                        "--what"};
    make_folder();
    assert_refuses("weft-async serve", wrong);
    ends_with(1, "weft-async serve -l 127.0.0.1:0 nowhere 2>&1");
    assert_string_equal(last_line(), "weft-async: nowhere: No such file or directory");
    ends_with(1, "weft-async serve -l 127.0.0.1:0 www/index.html 2>&1");
    assert_int_equal(lines(), 1);
    ends_with(1, "weft-async serve -l 127.0.0.1:0 --log no/such/log www 2>&1");
    assert_int_equal(lines(), 1);
    served s = start("-w 1 www");
    ends_with(1, "weft-async serve -l 127.0.0.1:%d www 2>&1", ntohs(s.at.sin_port));
    assert_int_equal(lines(), 1);
    says_part("Address already in use");
    stop(&s);
}

int main(void)
{
    signal(SIGPIPE, SIG_IGN);
    return run_cases(enter_scratch, leave_scratch);
}
