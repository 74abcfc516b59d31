// Who may come in: passwords, addresses, other users; the server's beginning and its end.
#include "served.h"

#include <pthread.h>

static const char TCP[] = "tcp:127.0.0.1:0";

// A server with a password at TCP.
#define TCP_CASE(fn)                                                                               \
    static void fn##_at_tcp(void);                                                                 \
    CASE(fn)                                                                                       \
    {                                                                                              \
        o = {};                                                                                    \
        o.password = "sesame";                                                                     \
        start_at(TCP, &o);                                                                         \
        fn##_at_tcp();                                                                             \
        stop_server();                                                                             \
    }                                                                                              \
    static void fn##_at_tcp(void)

// ---- Passwords ----

static const char noauth[] = "-NOAUTH Authentication required.\r\n";
static const char wrongpass[] =
    "-WRONGPASS invalid username-password pair or user is disabled.\r\n";

SERVER_CASE_WITH(test_password, o.password = "open sesame")
{
    says(&c, "GET k", noauth);
    says(&c, "WEFT.LOCK l 0", noauth);
    says(&c, "AUTH wrong", wrongpass);
    says(&c, "GET k", noauth);
    raw_text(&c, "AUTH \"open sesame\"\r\n");
    assert_string_equal(reply(&c), "+OK\r\n");
    says(&c, "GET k", "$-1\r\n");
}

// Nearly right is wrong; so is what only begins so, or goes on.
SERVER_CASE_WITH(test_password_is_whole, o.password = "sesame")
{
    for (const char *word : {"sesam", "sesame1", "Sesame", "sesamf", "s"}) {
        char line[64];
        raw r = open_one();
        snprintf(line, sizeof line, "AUTH %s", word);
        says(&r, line, wrongpass);
        says(&r, "PING", noauth);
        raw_close(&r);
    }
    raw_send(&c, "*2\r\n$4\r\nAUTH\r\n$8\r\nsesame\0x\r\n", 28);
    assert_string_equal(reply(&c), wrongpass);
    says(&c, "AUTH sesame", "+OK\r\n");
}

SERVER_CASE_WITH(test_third_wrong_password_cuts, o.password = "sesame")
{
    raw r = open_one();
    says(&r, "AUTH one", wrongpass);
    says(&r, "HELLO 3 AUTH default two", wrongpass);
    says(&r, "AUTH default three", wrongpass);
    assert_true(is_cut(&r));
    raw_close(&r);
    says(&c, "AUTH sesame", "+OK\r\n");
}

// Whoever guesses on many connections is slowed down by all of them together; who is in is not.
TCP_CASE(test_guesses_are_slow)
{
    enum { GUESSES = 8 };
    says(&c, "AUTH sesame", "+OK\r\n");
    raw r[GUESSES];
    weft_deadline began = weft_now();
    for (int i = 0; i < GUESSES; i++) {
        raw_open(&r[i], address);
        raw_ask(&r[i], "AUTH guess");
    }
    for (int i = 0; i < GUESSES; i++) {
        says(&c, "PING", "+PONG\r\n");
        assert_string_equal(reply(&r[i]), wrongpass);
        assert_true(weft_now() - began >= i * 200000000ll); // five a second
        raw_close(&r[i]);
    }
}

// Nobody waits long for a turn: those who would are refused.
TCP_CASE(test_guesses_are_few)
{
    enum { GUESSES = 100 };
    raw r[GUESSES];
    for (int i = 0; i < GUESSES; i++) {
        raw_open(&r[i], address);
        raw_ask(&r[i], "AUTH guess");
    }
    int refused = 0;
    for (int i = GUESSES; i-- > GUESSES - 20; raw_close(&r[i]))
        refused += strcmp(reply(&r[i]), "-ERR too many wrong passwords, try again later\r\n") == 0;
    for (int i = 0; i < GUESSES - 20; i++)
        raw_close(&r[i]);
    assert_int_equal(refused, 20);
}

// A command that waits for its turn is as good as at first, however many words it has.
TCP_CASE(test_guesses_are_answered)
{
    says(&c, "AUTH sesame", "+OK\r\n");
    raw r = open_one();
    says(&r, "AUTH guess", wrongpass);
    raw_ask(&c, "HELLO 3 SETNAME a SETNAME b SETNAME c SETNAME d SETNAME e SETNAME f SETNAME g "
                "AUTH default sesame");
    assert_int_equal(reply(&c)[0], '%');
    says(&c, "CLIENT GETNAME", "$1\r\ng\r\n");
    raw_close(&r);
}

SERVER_CASE_WITH(test_before_the_password, o.password = "sesame")
{
    for (const char *text : {"*11\r\n", "*1000000\r\n"})
        is_cut_after(text, strlen(text),
                     "-ERR Protocol error: unauthenticated multibulk length\r\n");
    for (const char *text : {"*1\r\n$16385\r\n", "*2\r\n$4\r\nAUTH\r\n$536870912\r\n"})
        is_cut_after(text, strlen(text), "-ERR Protocol error: unauthenticated bulk length\r\n");
    is_cut_after("PING 2 3 4 5 6 7 8 9 10 11\r\n", 28,
                 "-ERR Protocol error: unauthenticated multibulk length\r\n");
    char line[16390];
    memset(line, 'x', sizeof line);
    is_cut_after(line, sizeof line, "-ERR Protocol error: too big inline request\r\n");
    says(&c, "AUTH sesame", "+OK\r\n");
    says(&c, "DEL 1 2 3 4 5 6 7 8 9 10 11 12", ":0\r\n");
}

// ---- Who may come in ----

CASE(test_tcp_needs_a_password)
{
    o = {};
    assert_errno(weft_manager_start(TCP, nullptr), EACCES);
    assert_errno(weft_manager_start(TCP, &o), EACCES);
    assert_errno(weft_manager_serve(TCP, nullptr), EACCES);
    assert_errno(weft_manager_serve("tcp:[::1]:0", nullptr), EACCES);
}

// One of no bytes is none: everybody would guess it.
SERVER_CASE_WITH(test_empty_password_is_none, o.password = "")
{
    assert_errno(weft_manager_start(TCP, &o), EACCES);
    assert_errno(weft_manager_serve(TCP, &o), EACCES);
    says(&c, "PING", "+PONG\r\n");
}

TCP_CASE(test_tcp)
{
    says(&c, "PING", noauth);
    says(&c, "AUTH sesame", "+OK\r\n");
    says(&c, "PING", "+PONG\r\n");
    is_cut_after("POST / HTTP/1.1\r\n", 17, "");
    round_trip(1 << 20);
}

// Which timer runs for the server's end of a connection from that port: 2, keepalive.
static int timer_of(unsigned server, unsigned client)
{
    char line[512];
    int timer = -1;
    FILE *f = fopen("/proc/net/tcp", "r");
    assert_non_null(f);
    while (fgets(line, sizeof line, f) != nullptr) {
        unsigned local, remote, state, which;
        if (sscanf(line, "%*d: %*x:%x %*x:%x %x %*x:%*x %x:", &local, &remote, &state, &which) ==
                4 &&
            local == server && remote == client)
            timer = (int)which;
    }
    fclose(f);
    return timer;
}

// A client whose machine has gone says nothing any more: it is asked, or its locks would stay.
TCP_CASE(test_tcp_notices_who_vanished)
{
    struct sockaddr_in a;
    socklen_t size = sizeof a;
    says(&c, "AUTH sesame", "+OK\r\n");
    assert_int_equal(getsockname(c.fd, (struct sockaddr *)&a, &size), 0);
    unsigned server = (unsigned)atoi(strrchr(address, ':') + 1), client = ntohs(a.sin_port);
    weft_deadline d = in_time();
    while (timer_of(server, client) != 2) { // until the reply is acknowledged it is another
        assert_true(weft_left(d) > 0);
        usleep(1000);
    }
}

CASE(test_socket_file)
{
    struct stat st;
    start();
    assert_int_equal(stat(address + 5, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_true(S_ISSOCK(st.st_mode));
    stop_server();
    assert_errno(stat(address_in_folder("weft") + 5, &st), ENOENT);
}

// What another server has put where its own was is not its to remove.
CASE(test_socket_file_of_another)
{
    struct stat st;
    const char *at = address_in_folder("weft");
    weft_manager *first = weft_manager_start(at, nullptr);
    assert_non_null(first);
    assert_int_equal(unlink(at + 5), 0);
    weft_manager *second = weft_manager_start(at, nullptr);
    assert_non_null(second);
    assert_int_equal(weft_manager_end(first, weft_in_s(60)), 0);
    assert_int_equal(stat(at + 5, &st), 0);
    assert_int_equal(weft_manager_end(second, weft_in_s(60)), 0);
    assert_errno(stat(at + 5, &st), ENOENT);
    weft_manager_destroy(first);
    weft_manager_destroy(second);
}

// By a child of another user: 0 if the server cut it without a word.
static int knock(const char *at)
{
    int (*child)(void *) = [](void *where) {
        char byte;
        int fd = -1;
        if (setresgid(65534, 65534, 65534) == 0 && setresuid(65534, 65534, 65534) == 0)
            fd = raw_socket((const char *)where);
        if (fd < 0)
            return 2;
        (void)!send(fd, "PING\r\n", 6, MSG_NOSIGNAL);
        ssize_t n = recv(fd, &byte, 1, 0);
        return n == 0 || (n < 0 && errno == ECONNRESET) ? 0 : 1;
    };
    return end_of(child_of(child, (void *)(uintptr_t)at));
}

CASE(test_another_user)
{
    char name[64];
    if (geteuid() != 0) {
        fprintf(stderr, "%s: left out, needs root\n", runner_test);
        skip();
    }
    start();
    chmod(folder, 0711);
    assert_int_equal(knock(address), 2); // the file's mode
    chmod(address + 5, 0666);
    assert_int_equal(knock(address), 0); // and if that was changed, its user id
    says(&c, "PING", "+PONG\r\n");
    stop_server();
    snprintf(name, sizeof name, "unix:@weft-protocol-%d", getpid());
    start_at(name, nullptr);
    assert_int_equal(knock(name), 0);
    says(&c, "PING", "+PONG\r\n");
    stop_server();
}

// ---- Its beginning and its end ----

static void *read_a_byte(void *file)
{
    return (void *)(intptr_t)fgetc((FILE *)file);
}

// A thread that waits in stdio has the lock of its stream: the start does not wait for that.
CASE(test_start_while_a_thread_reads)
{
    int ends[2];
    void *got;
    pthread_t reader;
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    FILE *file = fdopen(ends[0], "r");
    assert_non_null(file);
    assert_int_equal(pthread_create(&reader, nullptr, read_a_byte, file), 0);
    for (; ftrylockfile(file) == 0; usleep(100))
        funlockfile(file);
    start();
    says(&c, "PING", "+PONG\r\n");
    stop_server();
    assert_int_equal(write(ends[1], "x", 1), 1);
    pthread_join(reader, &got);
    assert_int_equal((intptr_t)got, 'x');
    fclose(file);
    close(ends[1]);
}

SERVER_CASE(test_shutdown)
{
    raw r = open_one();
    says(&r, "PING", "+PONG\r\n");
    raw_ask(&c, "SHUTDOWN NOSAVE");
    assert_true(is_cut(&c));
    assert_int_equal(c.have - c.used, 0);
    assert_true(is_cut(&r));
    assert_true(raw_ready(weft_manager_fd(manager), POLLIN, in_time()));
    raw_close(&r);
}

RUN_SERVER_CASES()
