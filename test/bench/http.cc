// libweft-http's server beside lighttpd, nginx and h2o, one worker each, driven by wrk in turns.
//
// The figure is the processor time of the server for each request; requests a second are from the
// same runs.  All servers revalidate files that change: weft and lighttpd within a second, nginx
// with open_file_cache as it is told here.
#include "bench.h"
#include "process.h"

#include <weft/http.h>
#include <weft/http_client.h>
#include <weft/http_files.h>
#include <weft/io.h>

#include <arpa/inet.h>
#include <csignal>
#include <cstring>
#include <deque>
#include <map>
#include <memory>
#include <netinet/in.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

namespace {

std::string folder;

[[noreturn]] void give_up(const std::string &what)
{
    std::fprintf(stderr, "http: %s\n", what.c_str());
    std::exit(1);
}

void write_file(const std::string &name, const std::string &text)
{
    FILE *f = std::fopen((folder + "/" + name).c_str(), "w");
    if (f == nullptr || std::fwrite(text.data(), 1, text.size(), f) != text.size() ||
        std::fclose(f) != 0)
        give_up(name);
}

bool has(const char *program)
{
    return std::system(("command -v " + std::string(program) + " >/dev/null").c_str()) == 0;
}

// ---- Connections ----

sockaddr_in loopback(int port)
{
    sockaddr_in a{};
    a.sin_family = AF_INET;
    a.sin_port = htons(uint16_t(port));
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return a;
}

int dial(int port)
{
    sockaddr_in a = loopback(port);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connect(fd, reinterpret_cast<sockaddr *>(&a), sizeof a) == 0)
        return fd;
    close(fd);
    return -1;
}

int free_port()
{
    sockaddr_in a = loopback(0);
    socklen_t size = sizeof a;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (bind(fd, reinterpret_cast<sockaddr *>(&a), sizeof a) != 0)
        give_up("no port");
    getsockname(fd, reinterpret_cast<sockaddr *>(&a), &size);
    close(fd);
    return ntohs(a.sin_port);
}

// ---- The servers ----

struct server {
    std::string name;
    int port;
    pid_t pid;
};

std::map<std::string, server> servers;

void wait_for(const server &s)
{
    int fd = -1;
    for (int i = 0; i < 10000 && (fd = dial(s.port)) < 0; i++)
        usleep(1000);
    if (fd < 0)
        give_up(s.name + " does not start");
    close(fd);
}

struct order {
    int listener, upstream; // 0: files
    bool logs;
};

int serve_ours(void *arg)
{
    const order *o = static_cast<const order *>(arg);
    weft_http_server_options options{};
    options.max = 20000;
    if (o->logs) {
        options.done = weft_http_log_done;
        options.arg = weft_http_log_open((folder + "/access.log").c_str());
    }
    weft_http_server *s = weft_http_server_create(&options);
    if (o->upstream == 0) {
        weft_http_route(s, "GET", "/", weft_http_files_handler,
                        weft_http_files_open(folder.c_str(), nullptr));
    } else {
        std::string address = "tcp:127.0.0.1:" + std::to_string(o->upstream);
        const char *text = address.c_str();
        weft_http_route(s, nullptr, "/", weft_http_proxy_handler,
                        weft_http_proxy_open(&text, 1, nullptr));
    }
    return weft_http_serve(s, o->listener);
}

template <class F> void start(const std::string &name, int port, F child)
{
    server s{name, port, fork()};
    std::fflush(stdout);
    if (s.pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        child();
        _exit(127);
    }
    wait_for(s);
    servers[name] = s;
}

void start_ours(const std::string &name, int upstream, bool logs)
{
    int listener = weft_io_listen("tcp:127.0.0.1:0", nullptr);
    char at[128];
    if (listener < 0 || weft_io_address(listener, WEFT_IO_LOCAL, at, sizeof at) != 0)
        give_up("no listener");
    start(name, std::atoi(std::strrchr(at, ':') + 1), [&] {
        order o{listener, upstream, logs};
        _exit(weft_io_run(serve_ours, &o));
    });
    close(listener);
}

void start_lighttpd()
{
    int port = free_port();
    write_file("lighttpd.conf",
               "server.document-root = \"" + folder +
                   "\"\nserver.bind = \"127.0.0.1\"\nserver.port = " + std::to_string(port) +
                   "\nserver.max-keep-alive-requests = 65000\nserver.max-fds = "
                   "20000\nserver.max-connections = 15000\n"
                   "mimetype.assign = ( \"\" => \"text/plain\" )\n");
    std::string conf = folder + "/lighttpd.conf";
    start("lighttpd", port,
          [&] { execlp("lighttpd", "lighttpd", "-D", "-f", conf.c_str(), nullptr); });
}

// tcp_nopush is off, which serves it better: with it a pipeline waits for delayed acknowledgements.
void start_nginx(const std::string &name, const std::string &http, const std::string &location)
{
    int port = free_port();
    std::string own = folder + "/" + name.substr(0, 5) + std::to_string(port);
    write_file(
        own.substr(folder.size() + 1) + ".conf",
        "daemon off; master_process off; worker_processes 1; worker_rlimit_nofile 20000;\n"
        "pid " +
            own +
            ".pid; error_log /dev/null crit;\n"
            "events { worker_connections 15000; }\n"
            "http { access_log off; sendfile on; tcp_nodelay on; keepalive_requests 1000000000;\n"
            "default_type text/plain; client_body_temp_path " +
            own + ".b; proxy_temp_path " + own + ".p; fastcgi_temp_path " + own +
            ".f; uwsgi_temp_path " + own + ".u; scgi_temp_path " + own + ".s;\n" + http +
            "\nserver { listen 127.0.0.1:" + std::to_string(port) + "; location / { " + location +
            " } } }\n");
    std::string conf = own + ".conf";
    start(name, port, [&] {
        if (std::freopen("/dev/null", "w", stderr) == nullptr)
            _exit(1);
        execlp("nginx", "nginx", "-c", conf.c_str(), nullptr);
    });
}

void start_h2o()
{
    int port = free_port();
    write_file("h2o.conf",
               "num-threads: 1\nlisten:\n  host: 127.0.0.1\n  port: " + std::to_string(port) +
                   "\nhosts:\n  default:\n    paths:\n      /:\n        file.dir: " + folder +
                   "\n");
    std::string conf = folder + "/h2o.conf";
    start("h2o", port, [&] {
        if (std::freopen("/dev/null", "w", stderr) == nullptr)
            _exit(1);
        execlp("h2o", "h2o", "-c", conf.c_str(), nullptr);
    });
}

// ---- wrk ----

struct load {
    const char *path;
    int connections;
    std::string more; // arguments
};

struct figures {
    double cpu_us, rate, p99_ms;
};

double milliseconds(const char *text)
{
    char *unit;
    double x = std::strtod(text, &unit);
    return *unit == 'u' ? x / 1e3 : *unit == 's' ? x * 1e3 : x;
}

figures drive(const server &s, const load &l)
{
    std::string line = "wrk -t1 -d1s --latency -c" + std::to_string(l.connections) + " " + l.more +
                       " http://127.0.0.1:" + std::to_string(s.port) + l.path + " 2>&1";
    double before = bench::cpu_ns(s.pid), requests = 0;
    figures f{};
    FILE *p = popen(line.c_str(), "r");
    std::string all;
    for (char text[256]; std::fgets(text, sizeof text, p) != nullptr;) {
        all += text;
        char word[64], value[64];
        if (std::sscanf(text, " %63s %63s", word, value) != 2)
            continue;
        if (std::strcmp(word, "99%") == 0)
            f.p99_ms = milliseconds(value);
        else if (std::strcmp(value, "requests") == 0)
            requests = std::atof(word);
        else if (std::strcmp(word, "Requests/sec:") == 0)
            f.rate = std::atof(value);
    }
    pclose(p);
    bool closes = l.more.find("close") != std::string::npos;
    if (requests == 0 || all.find("Non-2xx") != std::string::npos ||
        (!closes && all.find("Socket errors") != std::string::npos))
        give_up(s.name + " " + l.path + ": " + all);
    f.cpu_us = (bench::cpu_ns(s.pid) - before) / 1e3 / requests;
    return f;
}

// One table of processor time, and one of what the same runs say besides.
class Comparison {
    std::string title;
    load l;
    std::map<std::string, std::deque<figures>> seen;
    bench::Table cpu, rate, late;
    int rounds = 5;

    template <class F> void replay(bench::Table &t, F figure)
    {
        for (auto &[name, all] : seen) {
            auto next = std::make_shared<size_t>(0);
            t.add(name, [&all, next, figure] { return figure(all[(*next)++]); });
        }
        t.run(rounds);
    }

  public:
    Comparison(const std::string &what, load with)
        : title(what), l(std::move(with)), cpu(what, "us of server CPU a request"),
          rate(what, "requests/s"), late(what, "ms, 99 of 100")
    {
    }

    void run(std::initializer_list<const char *> names)
    {
        for (const char *name : names)
            if (servers.count(name) != 0)
                cpu.add(name, [this, name] {
                    seen[name].push_back(drive(servers[name], l));
                    return seen[name].back().cpu_us;
                });
        cpu.run(rounds);
    }
    void cpu_at_most(const char *ours, const char *peer, double limit)
    {
        cpu.at_most(ours, peer, limit);
    }
    bench::Table &rates()
    {
        replay(rate, [](const figures &f) { return f.rate; });
        return rate;
    }
    bench::Table &latencies()
    {
        replay(late, [](const figures &f) { return f.p99_ms; });
        return late;
    }
};

const auto FILES = {"weft", "lighttpd", "nginx cached", "nginx", "h2o"};

void measure_small(int connections)
{
    Comparison c("1 KiB, keep-alive, " + std::to_string(connections) + " connections",
                 {"/1k", connections, ""});
    c.run(FILES);
    c.cpu_at_most("weft", "lighttpd", 0.90);
    c.cpu_at_most("weft", "nginx cached", 0.70);
    c.cpu_at_most("weft", "nginx", 0.55);
    bench::Table &t = c.rates();
    for (const char *peer : {"lighttpd", "nginx cached", "nginx", "h2o"})
        t.at_least("weft", peer, 1);
}

void measure_large()
{
    Comparison c("64 KiB, keep-alive, 64 connections", {"/64k", 64, ""});
    c.run(FILES);
    c.cpu_at_most("weft", "lighttpd", 0.85);
    c.cpu_at_most("weft", "nginx", 0.70);
    bench::Table &t = c.latencies();
    t.figure_at_most("weft", 5);
}

void measure_close()
{
    Comparison c("1 KiB, Connection: close, 64 connections", {"/1k", 64, "-H 'Connection: close'"});
    c.run(FILES);
    c.cpu_at_most("weft", "nginx", 0.60);
}

void measure_pipeline()
{
    write_file("pipeline.lua", "init = function(args)\n  local r = {}\n  for i = 1, 16 do r[i] = "
                               "wrk.format() end\n  all = table.concat(r)\nend\n"
                               "request = function() return all end\n");
    Comparison c("1 KiB, pipeline of 16, 64 connections",
                 {"/1k", 64, "-s " + folder + "/pipeline.lua"});
    c.run(FILES);
    c.rates().at_least("weft", "nginx", 5);
}

void measure_proxy()
{
    Comparison c("1 KiB by a proxy, 64 connections", {"/1k", 64, ""});
    c.run({"weft proxy", "nginx proxy"});
    c.cpu_at_most("weft proxy", "nginx proxy", 0.8);
}

void measure_log()
{
    Comparison c("1 KiB, with an access log", {"/1k", 64, ""});
    c.run({"weft", "weft logging"});
    c.cpu_at_most("weft logging", "weft", 1.10);
}

// Bytes of a server's memory for each connection that has had an answer and is idle.
double idle_bytes(const server &s)
{
    static const int IDLE = 10000;
    static int fds[IDLE];
    const char request[] = "GET /1k HTTP/1.1\r\nHost: x\r\n\r\n";
    char answer[4096];
    drive(s, {"/1k", 64, ""}); // what it keeps in any case
    double before = bench::resident_bytes(s.pid);
    for (int i = 0; i < IDLE; i++) {
        fds[i] = dial(s.port);
        if (fds[i] < 0 || send(fds[i], request, sizeof request - 1, MSG_NOSIGNAL) < 0)
            give_up(s.name + " refuses connections");
        for (size_t all = 0; all < 1024;) {
            ssize_t n = recv(fds[i], answer, sizeof answer, 0);
            if (n <= 0)
                give_up(s.name + " cuts connections");
            all += size_t(n);
        }
    }
    double bytes = (bench::resident_bytes(s.pid) - before) / IDLE;
    for (int fd : fds)
        close(fd);
    return bytes;
}

// Each once: what a second time needs it has already.
void measure_idle()
{
    bench::Table t("10,000 idle connections", "bytes of a process a connection");
    for (const char *name : {"weft", "lighttpd", "nginx"})
        if (servers.count(name) != 0)
            t.add(name, [bytes = idle_bytes(servers[name])] { return bytes; });
    t.run(1);
    t.figure_at_most("weft", 1024);
}

void start_all()
{
    start_ours("weft", 0, false);
    start_ours("weft logging", 0, true);
    start_ours("weft proxy", servers["weft"].port, false);
    if (has("lighttpd"))
        start_lighttpd();
    if (has("nginx")) {
        std::string root = "root " + folder + ";";
        start_nginx("nginx", "", root);
        start_nginx("nginx cached", "open_file_cache max=1000; open_file_cache_valid 1s;", root);
        start_nginx("nginx proxy",
                    "upstream u { server 127.0.0.1:" + std::to_string(servers["weft"].port) +
                        "; keepalive 64; keepalive_requests 1000000000; }",
                    "proxy_pass http://u; proxy_http_version 1.1; proxy_set_header Connection '';");
    }
    if (has("h2o"))
        start_h2o();
    for (const char *peer : {"lighttpd", "nginx", "h2o"})
        if (servers.count(peer) == 0)
            std::printf("  %s: left out (make bench-deps)\n", peer);
}

} // namespace

int main()
{
    char text[] = "/tmp/weft-bench-XXXXXX";
    rlimit files{};
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    std::signal(SIGPIPE, SIG_IGN);
    if (mkdtemp(text) == nullptr)
        give_up("no folder");
    folder = text;
    if (!has("wrk")) {
        std::printf("  wrk: not there, so nothing is measured (make bench-deps)\n");
        return 0;
    }
    write_file("1k", std::string(1024, 'k'));
    write_file("64k", std::string(65536, 'k'));
    chmod(text, 0755);
    start_all();
    measure_small(64);
    measure_small(512);
    measure_large();
    measure_close();
    measure_pipeline();
    measure_proxy();
    measure_log();
    measure_idle();
    for (auto &[name, s] : servers) {
        kill(s.pid, SIGKILL);
        waitpid(s.pid, nullptr, 0);
    }
    return std::system(("rm -rf " + folder).c_str()) != 0;
}
