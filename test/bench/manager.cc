// The manager's server beside redis-server and Python's multiprocessing.Manager.
//
// Both RESP servers are driven by redis-benchmark in turns, over TCP on loopback and with a
// password, as they would be deployed.  The figure is the processor time of the server's threads
// (schedstat, nanoseconds) for each operation: clients that share the machine are not in it.
#include "bench.h"
#include "process.h"

#include <weft/manager.h>
#include <weft/remote.h>

#include <arpa/inet.h>
#include <cstring>
#include <netinet/in.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

namespace {

const char PASSWORD[] = "benchmark";
std::string folder;

[[noreturn]] void give_up(const std::string &what)
{
    std::fprintf(stderr, "manager: %s\n", what.c_str());
    std::exit(1);
}

// ---- A connection ----

int dial_unix(const std::string &path)
{
    sockaddr_un a{};
    a.sun_family = AF_UNIX;
    std::snprintf(a.sun_path, sizeof a.sun_path, "%s", path.c_str());
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connect(fd, reinterpret_cast<sockaddr *>(&a), sizeof a) == 0)
        return fd;
    close(fd);
    return -1;
}

// Sends, and waits for as many bytes of replies as are to come.
void exchange(int fd, const std::string &request, size_t replies)
{
    char text[65536];
    for (size_t sent = 0; sent < request.size();) {
        ssize_t n = send(fd, request.data() + sent, request.size() - sent, MSG_NOSIGNAL);
        if (n <= 0)
            give_up("a server has cut a connection");
        sent += size_t(n);
    }
    for (ssize_t n; replies > 0; replies -= size_t(n))
        if ((n = recv(fd, text, std::min(sizeof text, replies), 0)) <= 0)
            give_up("a server has cut a connection");
}

int open_client(const std::string &path)
{
    int fd = dial_unix(path);
    if (fd < 0)
        give_up("cannot connect to " + path);
    exchange(fd, std::string("AUTH ") + PASSWORD + "\r\n", 5);
    return fd;
}

// ---- The servers ----

struct server {
    bool ours;
    weft_manager *tcp = nullptr, *local = nullptr; // ours listens at one address a server
    pid_t tcp_pid = -1, local_pid = -1;
    int port = 0;
    std::string path;

    void start();
    void stop();
};

int free_port()
{
    sockaddr_in a{};
    socklen_t size = sizeof a;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    a.sin_family = AF_INET;
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (bind(fd, reinterpret_cast<sockaddr *>(&a), sizeof a) != 0)
        give_up("no port");
    getsockname(fd, reinterpret_cast<sockaddr *>(&a), &size);
    close(fd);
    return ntohs(a.sin_port);
}

weft_manager *start_ours(const std::string &address)
{
    weft_manager_options o{};
    o.password = PASSWORD;
    o.max_clients = 12000;
    weft_manager *m = weft_manager_start(address.c_str(), &o);
    if (m == nullptr)
        give_up("weft_manager_start: " + std::string(std::strerror(errno)));
    return m;
}

void server::start()
{
    path = folder + (ours ? "/weft" : "/redis");
    if (ours) {
        tcp = start_ours("tcp:127.0.0.1:0");
        local = start_ours("unix:" + path);
        tcp_pid = weft_manager_pid(tcp);
        local_pid = weft_manager_pid(local);
        port = std::atoi(std::strrchr(weft_manager_address(tcp), ':') + 1);
        return;
    }
    port = free_port();
    std::string number = std::to_string(port);
    std::fflush(stdout); // freopen would write what is buffered once more
    tcp_pid = local_pid = fork();
    if (tcp_pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (std::freopen("/dev/null", "w", stdout) == nullptr)
            _exit(1);
        execlp("redis-server", "redis-server", "--port", number.c_str(), "--bind", "127.0.0.1",
               "--unixsocket", path.c_str(), "--save", "", "--appendonly", "no", "--requirepass",
               PASSWORD, "--maxclients", "12000", "--dir", folder.c_str(), nullptr);
        _exit(127);
    }
    int fd = -1;
    for (int i = 0; i < 5000 && (fd = dial_unix(path)) < 0; i++)
        usleep(1000);
    if (fd < 0)
        give_up("redis-server does not start");
    close(fd);
}

void server::stop()
{
    if (ours) {
        weft_manager_end(tcp, weft_in_s(10));
        weft_manager_end(local, weft_in_s(10));
        weft_manager_destroy(tcp);
        weft_manager_destroy(local);
    } else {
        kill(tcp_pid, SIGKILL);
        waitpid(tcp_pid, nullptr, 0);
    }
    unlink(path.c_str());
}

// ---- redis-benchmark ----

// The members of sets are made up, of so many that most are new.
void drive(const server &s, const std::string &test, int depth, int n)
{
    std::string line =
        "redis-benchmark -h 127.0.0.1 -p " + std::to_string(s.port) + " -a " + PASSWORD +
        " -c 50 -P " + std::to_string(depth) + " -n " + std::to_string(n) + " -t " + test +
        (test == "sadd" || test == "spop" ? " -r 1000000000" : "") + " -q >/dev/null 2>&1";
    if (std::system(line.c_str()) != 0)
        give_up("failed: " + line);
}

void empty(const server &s)
{
    std::string line = "redis-cli -h 127.0.0.1 -p " + std::to_string(s.port) + " -a " + PASSWORD +
                       " flushall >/dev/null 2>&1";
    if (std::system(line.c_str()) != 0)
        give_up("failed: " + line);
}

// Nanoseconds of server time for one operation.
double per_operation(const server &s, const std::string &test, int depth)
{
    int n = depth == 1 ? 40000 : 240000;
    empty(s);
    if (test == "rpop" || test == "spop")
        drive(s, test == "rpop" ? "lpush" : "sadd", 16, n);
    double before = bench::cpu_ns(s.tcp_pid);
    drive(s, test, depth, n);
    return (bench::cpu_ns(s.tcp_pid) - before) / n;
}

void measure_operations(server &weft, server &redis)
{
    for (int depth : {1, 16})
        for (const char *test : {"set", "get", "incr", "lpush", "rpop", "hset", "sadd", "spop"}) {
            bench::Table t(std::string(test) + ", 50 clients, pipeline " + std::to_string(depth),
                           "ns of server CPU per operation");
            t.add("weft", [&] { return per_operation(weft, test, depth); });
            t.add("redis-server", [&] { return per_operation(redis, test, depth); });
            t.run(5);
            t.at_most("weft", "redis-server", depth == 1 ? 0.85 : 0.75);
        }
}

// ---- Messages ----

int dial_tcp(int port)
{
    sockaddr_in a{};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    a.sin_family = AF_INET;
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    a.sin_port = htons(uint16_t(port));
    if (connect(fd, reinterpret_cast<sockaddr *>(&a), sizeof a) != 0)
        give_up("cannot connect");
    exchange(fd, std::string("AUTH ") + PASSWORD + "\r\n", 5);
    return fd;
}

int dial(const server &s, bool local)
{
    return local ? open_client(s.path) : dial_tcp(s.port);
}

// Subscribes and reads whatever comes, until it is killed; says so by a byte.
[[noreturn]] void subscribers(const server &s, bool local, int count, int ready)
{
    std::vector<pollfd> all;
    char text[65536];
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (int i = 0; i < count; i++) {
        all.push_back({dial(s, local), POLLIN, 0});
        exchange(all.back().fd, "SUBSCRIBE channel\r\n", 34);
    }
    if (write(ready, "", 1) != 1)
        _exit(1);
    while (poll(all.data(), all.size(), -1) > 0)
        for (pollfd &p : all)
            if (p.revents != 0 && recv(p.fd, text, sizeof text, MSG_DONTWAIT) == 0)
                _exit(1);
    _exit(1);
}

// Microseconds of server time for one message to so many.
double per_message(const server &s, bool local, int count, int depth)
{
    const int n = 1600;
    int pipes[2];
    char byte;
    if (pipe(pipes) != 0)
        give_up("no pipe");
    pid_t pid = fork();
    if (pid == 0)
        subscribers(s, local, count, pipes[1]);
    if (read(pipes[0], &byte, 1) != 1)
        give_up("no subscribers");
    close(pipes[0]);
    close(pipes[1]);
    std::string request;
    for (int i = 0; i < depth; i++)
        request += "*3\r\n$7\r\nPUBLISH\r\n$7\r\nchannel\r\n$16\r\n0123456789abcdef\r\n";
    int fd = dial(s, local);
    exchange(fd, request, size_t(depth) * 6);
    double before = bench::cpu_ns(local ? s.local_pid : s.tcp_pid);
    for (int i = 0; i < n; i += depth)
        exchange(fd, request, size_t(depth) * 6);
    double took = bench::cpu_ns(local ? s.local_pid : s.tcp_pid) - before;
    close(fd);
    kill(pid, SIGKILL);
    waitpid(pid, nullptr, 0);
    return took / 1e3 / n;
}

void measure_messages(server &weft, server &redis, bool has_redis)
{
    for (int depth : {1, 16})
        for (bool local : {true, false}) {
            bench::Table t("publish to 100 subscribers, " + std::string(local ? "unix" : "tcp") +
                               ", pipeline " + std::to_string(depth),
                           "us of server CPU per message");
            t.add("weft", [&] { return per_message(weft, local, 100, depth); });
            t.add_if(has_redis, "redis-server", "redis-server",
                     [&] { return per_message(redis, local, 100, depth); });
            t.run(5);
            if (has_redis)
                t.at_most("weft", "redis-server", 0.8);
        }
}

// ---- Round trips over a unix socket ----

void round_trips(const std::string &path, int n)
{
    int fd = open_client(path);
    exchange(fd, "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$5\r\nvalue\r\n", 5);
    const std::string get = "*2\r\n$3\r\nGET\r\n$1\r\nk\r\n";
    for (int i = 0; i < n; i++)
        exchange(fd, get, 11);
    close(fd);
}

// Thousands of round trips a second, by so many clients, each a process.
double thousands(const std::string &path, int clients, int n)
{
    return clients * n / 1e3 / bench::seconds([&] {
               for (int i = 0; i < clients; i++)
                   if (fork() == 0) {
                       round_trips(path, n);
                       _exit(0);
                   }
               for (int i = 0, status; i < clients; i++)
                   if (wait(&status) < 0 || status != 0)
                       give_up("a client failed");
           });
}

double python_thousands(int clients, int n)
{
    return bench::command("/usr/bin/python3 - <<'END'\n"
                          "import multiprocessing as m, time\n"
                          "def client(d, n):\n"
                          "    for i in range(n): d['k']\n"
                          "if __name__ == '__main__':\n"
                          "    c = m.get_context('fork')\n"
                          "    with c.Manager() as server:\n"
                          "        d = server.dict(); d['k'] = 'value'\n"
                          "        p = [c.Process(target=client, args=(d, " +
                          std::to_string(n) + ")) for i in range(" + std::to_string(clients) +
                          ")]\n"
                          "        t = time.perf_counter()\n"
                          "        for x in p: x.start()\n"
                          "        for x in p: x.join()\n"
                          "        print(len(p) * " +
                          std::to_string(n) +
                          " / 1e3 / (time.perf_counter() - t))\n"
                          "END");
}

void measure_round_trips(server &weft, server &redis, bool has_redis, bool has_python)
{
    for (int clients : {1, 8}) {
        bench::Table t(std::to_string(clients) + (clients == 1 ? " client" : " clients") +
                           " over a unix socket, blocking",
                       "thousand round trips a second");
        t.add("weft", [&] { return thousands(weft.path, clients, 60000 / clients); });
        t.add_if(has_redis, "redis-server", "redis-server",
                 [&] { return thousands(redis.path, clients, 60000 / clients); });
        t.add_if(has_python, "multiprocessing.Manager", "python3",
                 [&] { return python_thousands(clients, 8000 / clients); });
        t.run(5);
        if (clients == 1)
            t.at_least("weft", "redis-server", 1.0);
        t.at_least("weft", "multiprocessing.Manager", clients == 1 ? 1 : 3);
    }
}

// ---- Stalls ----

const int CROWD = 1000000;

// So many requests of one form, told apart by their numbers, and so many bytes of reply to each.
void send_many(int fd, const char *form, int count, size_t reply)
{
    std::string request;
    for (int i = 0; i < count; i++) {
        char line[160];
        request.append(line, size_t(std::snprintf(line, sizeof line, form, i)));
        if (i % 1000 == 999 || i == count - 1) {
            exchange(fd, request, reply * (size_t(i % 1000) + 1));
            request.clear();
        }
    }
}

// Milliseconds that the longest PING of a process takes while `act` runs, and a second longer.
double longest_ping(const std::string &path, const std::function<void()> &act)
{
    double worst = 0;
    int told[2];
    if (pipe(told) != 0)
        give_up("no pipe");
    pid_t pinger = fork();
    if (pinger == 0) {
        close(told[0]);
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        int fd = open_client(path);
        for (weft_deadline began = weft_now();; usleep(300)) {
            double ms = 1e3 * bench::seconds([&] { exchange(fd, "PING\r\n", 7); });
            if (weft_now() - began > 100000000 && ms > worst && write(told[1], &ms, sizeof ms) > 0)
                worst = ms;
        }
    }
    close(told[1]);
    usleep(200000);
    act();
    usleep(1000000);
    kill(pinger, SIGKILL);
    waitpid(pinger, nullptr, 0);
    while (read(told[0], &worst, sizeof worst) == ssize_t(sizeof worst))
        ;
    close(told[0]);
    return worst;
}

// Beside `act`, on what CROWD times `form` made, whose answers are n bytes long.
double beside(server s, const char *form, size_t n, const char *act)
{
    s.start();
    int fd = open_client(s.path);
    send_many(fd, form, CROWD, n);
    double worst = longest_ping(s.path, [&] { exchange(fd, act, n); });
    close(fd);
    s.stop();
    return worst;
}

double beside_flush(server s)
{
    return beside(s, "SET key:%07d value\r\n", 5, "FLUSHALL ASYNC\r\n");
}

double beside_delete(server s)
{
    return beside(s, "HSET hash field:%07d value\r\n", 4, "DEL hash\r\n");
}

double beside_expiry(server s)
{
    s.start();
    int fd = open_client(s.path), some = CROWD / 50;
    double each = bench::seconds([&] { send_many(fd, "SET first:%07d value\r\n", some, 5); });
    double wait = 2 + each * 3 * CROWD / some;
    timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    long long at = 1000ll * now.tv_sec + (long long)(1000 * wait);
    std::string form = "SET key:%07d value PXAT " + std::to_string(at) + "\r\n";
    double took = bench::seconds([&] { send_many(fd, form.c_str(), CROWD, 5); });
    if (took > wait - 0.5)
        give_up("the keys have expired before there were as many");
    usleep(useconds_t((wait - took - 0.5) * 1e6));
    double worst = longest_ping(s.path, [] { usleep(500000); });
    close(fd);
    s.stop();
    return worst;
}

void measure_stalls(bool has_redis)
{
    server weft{true}, redis{false};
    const struct {
        const char *name;
        double (*measure)(server s);
    } cases[] = {{"FLUSHALL ASYNC of 1M keys", beside_flush},
                 {"DEL of a hash of 1M fields", beside_delete},
                 {"1M keys that expire together", beside_expiry}};
    for (const auto &each : cases) {
        bench::Table t(std::string("longest PING beside ") + each.name, "ms");
        t.add("weft", [&] { return each.measure(weft); });
        t.add_if(has_redis, "redis-server", "redis-server", [&] { return each.measure(redis); });
        t.run(3);
        t.figure_at_most("weft", 5);
    }
}

// ---- Memory ----

// Bytes for each of a million small strings: the growth of the server's resident memory.
double per_string(server s)
{
    const int count = 1000000, batch = 1000;
    s.start();
    int fd = open_client(s.path);
    double before = bench::resident_bytes(s.local_pid);
    for (int i = 0; i < count;) {
        std::string request;
        for (int k = 0; k < batch; k++, i++) {
            char line[128];
            int size = 3 + i % 14;
            int n = std::snprintf(line, sizeof line,
                                  "*3\r\n$3\r\nSET\r\n$16\r\nkey:%012d\r\n$%d\r\n%.*s\r\n", i, size,
                                  size, "0123456789abcdef");
            request.append(line, size_t(n));
        }
        exchange(fd, request, 5 * batch);
    }
    exchange(fd, "*1\r\n$6\r\nDBSIZE\r\n", 10); // ":1000000"
    double grown = bench::resident_bytes(s.local_pid) - before;
    close(fd);
    s.stop();
    return grown / count;
}

// KiB for each of so many clients that have said something and wait.
double per_client(server s, int count)
{
    s.start();
    std::vector<int> fds;
    fds.push_back(open_client(s.path));
    double before = bench::resident_bytes(s.local_pid);
    for (int i = 0; i < count; i++) {
        fds.push_back(open_client(s.path));
        exchange(fds.back(), "PING\r\n", 7);
    }
    double grown = bench::resident_bytes(s.local_pid) - before;
    for (int fd : fds)
        close(fd);
    s.stop();
    return grown / 1024 / count;
}

void measure_memory(bool has_redis)
{
    rlimit files{};
    getrlimit(RLIMIT_NOFILE, &files);
    int clients = files.rlim_cur > 10200 ? 10000 : int(files.rlim_cur) - 200;
    server weft{true}, redis{false};
    bench::Table strings("1M strings of 3 to 16 bytes, keys of 16", "bytes of memory each");
    bench::Table idle(std::to_string(clients) + " idle clients", "KiB of memory each");
    strings.add("weft", [&] { return per_string(weft); });
    idle.add("weft", [&] { return per_client(weft, clients); });
    if (has_redis) {
        strings.add("redis-server", [&] { return per_string(redis); });
        idle.add("redis-server", [&] { return per_client(redis, clients); });
    }
    strings.run(3);
    strings.at_most("weft", "redis-server", 0.9);
    idle.run(3);
    idle.figure_at_most("weft", 2);
}

} // namespace

int main()
{
    rlimit files{};
    char text[] = "/tmp/weft-bench-XXXXXX";
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    if (mkdtemp(text) == nullptr)
        give_up("no folder");
    folder = text;
    bool has_redis = std::system("command -v redis-server >/dev/null") == 0;
    bool has_benchmark = std::system("command -v redis-benchmark >/dev/null") == 0;
    bool has_python = std::system("/usr/bin/python3 -c 'import multiprocessing' 2>/dev/null") == 0;
    server weft{true}, redis{false};
    weft.start();
    if (has_redis)
        redis.start();
    if (has_redis && has_benchmark)
        measure_operations(weft, redis);
    else
        std::printf("  redis-benchmark: left out, needs redis-server, redis-tools (make "
                    "bench-deps)\n");
    measure_messages(weft, redis, has_redis);
    measure_round_trips(weft, redis, has_redis, has_python);
    weft.stop();
    if (has_redis)
        redis.stop();
    measure_stalls(has_redis);
    measure_memory(has_redis);
    rmdir(folder.c_str());
}
