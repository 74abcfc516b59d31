// A server as systemd has it: its socket was passed on, it tells how it is, and SIGHUP has it read
// its password again.
#include "served.h"

#include <weft/io.h>

static char password_path[100], notify_path[100], listen_path[100];
static int notified, listener;

static void write_password(const char *text)
{
    FILE *f = fopen(password_path, "w");
    assert_non_null(f);
    fputs(text, f);
    assert_int_equal(fclose(f), 0);
}

// In a process of its own, as if systemd had started it.
static int serve(void *)
{
    char pid[16];
    weft_manager_options with = {};
    with.flags = WEFT_MANAGER_SIGNALS;
    with.password_file = password_path;
    snprintf(pid, sizeof pid, "%d", (int)getpid());
    setenv("LISTEN_PID", pid, 1);
    setenv("LISTEN_FDS", "1", 1);
    setenv("NOTIFY_SOCKET", notify_path, 1);
    setenv("WATCHDOG_USEC", "20000", 1);
    dup2(listener, 3);
    return weft_manager_serve("systemd:0", &with) == 0 ? 0 : 1;
}

// Waits until systemd has been told that, by whatever else comes before.
static bool is_told(const char *what)
{
    char text[256];
    for (weft_deadline d = in_time(); weft_left(d) > 0;) {
        struct pollfd one = {notified, POLLIN, 0};
        if (poll(&one, 1, 1000) != 1)
            continue;
        ssize_t n = recv(notified, text, sizeof text - 1, 0);
        text[n > 0 ? n : 0] = 0;
        if (strncmp(text, what, strlen(what)) == 0)
            return true;
    }
    return false;
}

static void open_notified(void)
{
    struct sockaddr_un a = {};
    a.sun_family = AF_UNIX;
    snprintf(notify_path, sizeof notify_path, "%s/notify", folder);
    snprintf(a.sun_path, sizeof a.sun_path, "%s", notify_path);
    notified = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(notified, (struct sockaddr *)&a, sizeof a), 0);
}

CASE(test_as_systemd_has_it)
{
    snprintf(password_path, sizeof password_path, "%s/password", folder);
    snprintf(listen_path, sizeof listen_path, "unix:%s/listen", folder);
    open_notified();
    listener = weft_io_listen(listen_path, nullptr);
    assert_true(listener >= 0);
    write_password("first\nmore\n");
    pid_t server = child_of(serve, nullptr);
    assert_true(is_told("READY=1"));
    assert_true(is_told("WATCHDOG=1"));
    assert_true(is_told("WATCHDOG=1"));
    raw before = {}, after = {};
    raw_open(&before, listen_path);
    says(&before, "PING", "-NOAUTH Authentication required.\r\n");
    says(&before, "AUTH first", "+OK\r\n");
    write_password("second");
    kill(server, SIGHUP);
    assert_true(is_told("RELOADING=1\nMONOTONIC_USEC="));
    assert_true(is_told("READY=1"));
    says(&before, "PING", "+PONG\r\n");
    raw_open(&after, listen_path);
    says(&after, "AUTH first",
         "-WRONGPASS invalid username-password pair or user is disabled.\r\n");
    says(&after, "AUTH second", "+OK\r\n");
    // What is no password leaves it as it is, and so does a file that is gone.
    write_password("\n");
    kill(server, SIGHUP);
    assert_true(is_told("READY=1"));
    says(&after, "AUTH second", "+OK\r\n");
    unlink(password_path);
    kill(server, SIGHUP);
    assert_true(is_told("READY=1"));
    says(&after, "AUTH second", "+OK\r\n");
    kill(server, SIGTERM);
    assert_true(is_told("STOPPING=1"));
    assert_int_equal(end_of(server), 0);
    raw_close(&before);
    raw_close(&after);
    close(listener);
    close(notified);
    unlink(listen_path + 5);
    unlink(notify_path);
}

// Of a password's file there is need at the start.
CASE(test_password_file_is_read)
{
    snprintf(password_path, sizeof password_path, "%s/password", folder);
    o = {};
    o.password_file = password_path;
    unlink(password_path);
    assert_errno(weft_manager_start(address_in_folder("weft"), &o), ENOENT);
    write_password("");
    assert_errno(weft_manager_start(address_in_folder("weft"), &o), EINVAL);
    write_password("from-file");
    start(&o);
    says(&c, "PING", "-NOAUTH Authentication required.\r\n");
    stop_server();
    o.password = "other"; // comes first
    start(&o);
    says(&c, "AUTH other", "+OK\r\n");
    kill(weft_manager_pid(manager), SIGHUP);
    for (weft_deadline d = in_time(); weft_left(d) > 0; usleep(1000)) {
        if (*ask(&c, "AUTH from-file") == '+')
            break;
        raw_close(&c);
        raw_open(&c, address);
    }
    says(&c, "PING", "+PONG\r\n");
    stop_server();
    unlink(password_path);
}

// A terminal that is closed ends it in order; who was started by nohup(1) stays.
static int serve_at_terminal(void *how)
{
    weft_manager_options with = {};
    with.flags = WEFT_MANAGER_SIGNALS;
    signal(SIGHUP, how != nullptr ? SIG_IGN : SIG_DFL);
    return weft_manager_serve(address_in_folder("weft"), &with) == 0 ? 0 : 1;
}

static pid_t open_at_terminal(const char *how)
{
    pid_t server = child_of(serve_at_terminal, (void *)how);
    for (weft_deadline d = in_time(); weft_left(d) > 0; usleep(1000))
        if (access(address_in_folder("weft") + 5, F_OK) == 0)
            break;
    raw_open(&c, address_in_folder("weft"));
    says(&c, "PING", "+PONG\r\n");
    return server;
}

CASE(test_hang_up)
{
    pid_t server = open_at_terminal(nullptr);
    kill(server, SIGHUP);
    assert_int_equal(end_of(server), 0);
    raw_close(&c);
    server = open_at_terminal("ignored");
    kill(server, SIGHUP);
    says(&c, "PING", "+PONG\r\n");
    kill(server, SIGTERM);
    assert_int_equal(end_of(server), 0);
    raw_close(&c);
}

RUN_SERVER_CASES()
