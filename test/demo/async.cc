// weft-async: its output is what the manual says, its servers answer, its client gets all.
#include "../echo_load.h"
#include "../notices.h"
#include "said.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

// ---- A server of the demo's ----

static pid_t server;
static FILE *from_server;
static struct sockaddr_in server_address;

// Starts it and reads the line that says where it listens.
static void start(const char *verb)
{
    char command[128];
    int out[2], port;
    snprintf(command, sizeof command, "exec weft-async %s -l 127.0.0.1:0", verb);
    assert_int_equal(pipe(out), 0);
    server = runner_fork();
    if (server == 0) {
        prctl(PR_SET_PDEATHSIG, SIGTERM); // a test that fails leaves nothing running
        dup2(out[1], 1);
        close(out[0]);
        close(out[1]);
        execl("/bin/sh", "sh", "-c", command, nullptr);
        _exit(127);
    }
    close(out[1]);
    from_server = fdopen(out[0], "r");
    assert_int_equal(fscanf(from_server, "listening on tcp:127.0.0.1:%d", &port), 1);
    server_address = {};
    server_address.sin_family = AF_INET;
    server_address.sin_port = htons((uint16_t)port);
    server_address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
}

// Stops it; what it says then is in `said`.
static void stop_server(void)
{
    kill(server, SIGTERM);
    said[fread(said, 1, sizeof said - 1, from_server)] = 0;
    fclose(from_server);
    assert_int_equal(end_of(server), 0);
}

static int dial(void)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&server_address, sizeof server_address), 0);
    return fd;
}

static void say(int fd, const char *text)
{
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
}

// Whether the next bytes are these.
static void assert_hears(int fd, const char *text)
{
    char heard[256] = "";
    size_t n = strlen(text), all = 0;
    for (ssize_t got; all < n && (got = read(fd, heard + all, n - all)) > 0;)
        all += (size_t)got;
    assert_string_equal(heard, text);
}

CASE(test_compare)
{
    double ms[4];
    assert_int_equal(run("weft-async compare -n 50"), 0);
    assert_int_equal(lines(), 7);
    assert_string_equal(last_line(), "50 of 50 jobs done by 4 of 4 models");
    const char *models[] = {"threads", "coroutines", "event loop", "process pool"};
    for (int i = 0; i < 4; i++) {
        const char *row = strstr(said, models[i]);
        assert_non_null(row);
        assert_int_equal(sscanf(row + strlen(models[i]), "%lf", &ms[i]), 1);
        assert_true(ms[i] >= 20);
    }
    assert_int_equal(run("weft-async -n 1"), 0);
}

static void echo_to_two(const char *verb)
{
    start(verb);
    int a = dial(), b = dial();
    say(a, "hello");
    say(b, "other");
    assert_hears(a, "hello");
    assert_hears(b, "other");
    close(a);
    close(b);
    stop_server();
}

CASE(test_echo_in_workers)
{
    int connections, most, bytes;
    echo_to_two("echo -w 2");
    assert_int_equal(sscanf(last_line(), "%d connections, %d at once, %d bytes echoed",
                            &connections, &most, &bytes),
                     3);
    assert_int_equal(connections, 2);
    assert_int_equal(bytes, 10);
}

// With standard output closed its number is not the socket's, whose peers would get what is
// printed.
CASE(test_server_without_standard_output)
{
    assert_int_equal(run("exec 3>&1; weft-async echo -l 127.0.0.1:0 >&- & "
                         "while ! ls -l /proc/$!/fd | grep -q socket; do :; done; "
                         "readlink /proc/$!/fd/1 >&3; kill $!; wait $! 2>&1"),
                     1); // what it prints at its end is lost
    assert_string_equal(said, "/dev/null\n");
}

CASE(test_echo_reloads_under_load)
{
    struct echo_load load;
    int notices = listen_to_notices();
    start("echo -w 2");
    unsetenv("NOTIFY_SOCKET");
    assert_notice(notices, "READY=1");
    echo_load_start(&load, &server_address);
    for (int i = 0; i < 10; i++) {
        int half_way = dial();
        assert_int_equal(echo_message(half_way, 10), 0);
        kill(server, SIGHUP);
        assert_reloads(notices);
        assert_int_equal(echo_message(half_way, 10), 0);
        close(half_way);
    }
    echo_load_end(&load);
    stop_server();
    int connections;
    assert_int_equal(sscanf(last_line(), "%d connections", &connections), 1);
    assert_true(connections >= ECHO_CLIENTS * ECHO_LEAST + 10);
    close(notices);
}

CASE(test_echo)
{
    echo_to_two("echo");
    assert_string_equal(last_line(), "2 connections, 2 at once, 10 bytes echoed");
}

static int enter_chat(const char *name)
{
    int fd = dial();
    assert_hears(fd, "your name? ");
    say(fd, name);
    return fd;
}

CASE(test_chat)
{
    start("chat");
    int a = enter_chat("ann\n");
    int b = enter_chat("bob\r\n");
    assert_hears(a, "* bob is here\n");
    say(b, "hello\nagain\n");
    assert_hears(a, "bob: hello\nbob: again\n");
    say(a, "hi\n");
    assert_hears(b, "ann: hi\n");
    close(b);
    assert_hears(a, "* bob left\n");
    close(a);
    stop_server();
    assert_non_null(strstr(last_line(), ", 0 slow readers dropped"));
}

// A last line need not end in a newline; what stood in memory behind it must not be said.
CASE(test_chat_line_without_its_end)
{
    char longest[1000];
    memset(longest, 'x', sizeof longest);
    start("chat");
    int a = enter_chat("ann\n");
    int b = dial(); // fills the memory that the next one gets
    assert_hears(b, "your name? ");
    assert_int_equal(write(b, longest, sizeof longest), sizeof longest);
    say(b, "\n");
    assert_hears(a, "* xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx is here\n");
    close(b);
    assert_hears(a, "* xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx left\n");
    b = enter_chat("bob");
    shutdown(b, SHUT_WR);
    assert_hears(a, "* bob is here\n* bob left\n");
    close(b);
    close(a);
    stop_server();
}

CASE(test_chat_drops_a_slow_reader)
{
    static char line[1001];
    memset(line, 'x', 999);
    line[999] = '\n';
    start("chat");
    int slow = enter_chat("slow\n");
    int fast = enter_chat("fast\n");
    assert_hears(slow, "* fast is here\n");
    struct pollfd heard = {fast, POLLIN, 0};
    while (poll(&heard, 1, 0) == 0) // how much sockets hold differs
        say(fast, line);
    assert_hears(fast, "* slow left\n");
    close(slow);
    close(fast);
    stop_server();
    assert_non_null(strstr(last_line(), ", 1 slow readers dropped"));
}

// ---- A server of ours ----

static int port;
static pid_t web;

// The answers; nullptr: the request's first line.
static void serve_answers(const char *const *answers, size_t n)
{
    struct sockaddr_in a = {};
    socklen_t size = sizeof a;
    int l = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    a.sin_family = AF_INET;
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(bind(l, (struct sockaddr *)&a, sizeof a), 0);
    assert_int_equal(listen(l, 16), 0);
    getsockname(l, (struct sockaddr *)&a, &size);
    port = ntohs(a.sin_port);
    web = runner_fork();
    for (size_t i = 0; web == 0 && i < n; i++) {
        char request[1024];
        int fd = accept(l, nullptr, nullptr);
        ssize_t got = read(fd, request, sizeof request - 1);
        request[got > 0 ? got : 0] = 0;
        if (answers[i] == nullptr)
            dprintf(fd, "HTTP/1.0 200 OK\r\n\r\n%.*s", (int)strcspn(request, "\r"), request);
        else if (got > 0)
            got = write(fd, answers[i], strlen(answers[i]));
        close(fd);
    }
    if (web == 0)
        _exit(0);
    close(l);
}

// Fetches by these arguments, in which @ stands for the server, and it ends with this status.
static void fetch(int status, const char *arguments)
{
    char command[1024], *p = command + sprintf(command, "weft-async fetch -j 1 ");
    for (const char *c = arguments; *c != 0; c++)
        p += *c == '@' ? sprintf(p, "http://127.0.0.1:%d", port) : sprintf(p, "%c", *c);
    ends_with(status, "%s", command);
}

static void all_are_served(void)
{
    assert_int_equal(end_of(web), 0);
}

CASE(test_fetch)
{
    static const char *const answers[] = {
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabcde",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
        "HTTP/1.0 200 OK\r\n\r\nabcde",
        "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort",
    };
    char line[128];
    serve_answers(answers, 5);
    snprintf(line, sizeof line, "@/a http://localhost:%d @/c 2>err.txt", port);
    fetch(0, line);
    assert_string_equal(said, "abcdeabcdeabcde");
    ends_with(0, "cat err.txt");
    says_part("/a: 200, 5 bytes, ");
    assert_string_equal(last_line(), "fetched 3 of 3");
    fetch(1, "@/d @/e ftp://x 2>&1");
    assert_string_equal(last_line(), "fetched 0 of 3");
    says_part("/d: 404, 0 bytes, ");
    says_part("ftp://x: not an http:// URL");
    all_are_served();
    fetch(1, "@/ 2>&1"); // nobody listens any more
    says_part("Connection refused");
}

CASE(test_fetch_asks_for_the_path)
{
    static const char *const answers[3] = {};
    serve_answers(answers, 3);
    fetch(0, "'@?q=1#part' '@/a?b/c#d' '@#e' 2>err.txt");
    assert_string_equal(said, "GET /?q=1 HTTP/1.1GET /a?b/c HTTP/1.1GET / HTTP/1.1");
    all_are_served();
    fetch(1, "'@/a b' 2>&1");
    says_part("not an http:// URL");
    fetch(1, "@/$(printf %05000d 0) 2>&1");
    says_part(": File name too long, ");
}

// What says that the answer is still to come is not the answer.
CASE(test_fetch_interim_answers)
{
    static const char *const answer = "HTTP/1.1 100 Continue\r\n\r\n"
                                      "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"
                                      "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabcde";
    serve_answers(&answer, 1);
    fetch(0, "@/ 2>err.txt");
    assert_string_equal(said, "abcde");
    all_are_served();
}

CASE(test_fetch_broken_answers)
{
    static const char *const answers[] = {
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nzz\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-3\r\nabc\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nabcde",
        "HTTP/1.1 200 OK\r\nContent-Length: none\r\n\r\nabcde",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n",
        "SSH-2.0-OpenSSH_9.2\r\n\r\n",
        "",
    };
    serve_answers(answers, sizeof answers / sizeof answers[0]);
    for (const char *answer : answers) {
        fetch(1, "@/ 2>&1");
        if (strcmp(last_line(), "fetched 0 of 1") != 0 ||
            strstr(said, "/: no whole answer, ") == nullptr)
            fail_msg("\"%s\" makes it say: %s", answer, said);
    }
    all_are_served();
}

// What did not fit is told once it is known, and not as something else at the end.
CASE(test_fetch_to_a_full_disk)
{
    static char text[100000] = "HTTP/1.0 200 OK\r\n\r\n";
    const char *answer = text;
    memset(text + strlen(text), 'x', sizeof text - strlen(text) - 1);
    serve_answers(&answer, 1);
    fetch(1, "@/ 2>&1 >/dev/full");
    says_part("/: No space left on device, ");
    assert_string_equal(last_line(), "weft-async: standard output: not all was written");
    all_are_served();
}

CASE(test_fetch_to_files)
{
    static const char *const answers[] = {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabcde",
                                          "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfghij"};
    serve_answers(answers, 2);
    fetch(0, "-O @/dir/one.txt @ 2>&1 && cat one.txt index.html && rm one.txt index.html");
    assert_string_equal(last_line(), "abcdefghij");
    all_are_served();
}

CASE(test_usage)
{
    assert_int_equal(run("weft-async -h"), 0);
    assert_non_null(strstr(said, "usage: weft-async"));
    static const char *const bad[] = {"-x",       "-n",           "-n 0",
                                      "nonsense", "compare 3",    "echo -n 3",
                                      "fetch",    "fetch -j 0 x", "echo extra"};
    assert_refuses("weft-async", bad);
    assert_int_equal(run("weft-async echo -l nonsense 2>&1"), 1);
    assert_int_equal(lines(), 1);
}

int main(void)
{
    signal(SIGPIPE, SIG_IGN);
    return run_cases(enter_scratch, leave_scratch);
}
