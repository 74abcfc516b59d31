// Files by HTTP, beside lighttpd, nginx and h2o: one worker each, asked by wrk in turns.
//
// What counts is a server's processor time a request, for on a shared machine that is what holds;
// requests a second are of the same runs.  nginx stands twice: as it is, and with open_file_cache,
// which looks at a file again after a second, as weft does.
#include "bench.h"
#include "process.h"
#include "sockets.h"

#include <weft/http_files.h>
#include <weft/io.h>

#include <cstring>
#include <fcntl.h>
#include <memory>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

namespace {

const int ROUNDS = 7;

bool has(const char *command)
{
    return std::system(("command -v " + std::string(command) + " >/dev/null 2>&1").c_str()) == 0;
}

// ---- A folder for it all ----

struct Folder {
    std::string path = "/tmp/weft-bench-http-XXXXXX";

    Folder()
    {
        if (mkdtemp(path.data()) == nullptr)
            bench::die("mkdtemp");
        chmod(path.c_str(), 0755);
        mkdir((path + "/www").c_str(), 0755);
        write("www/1k", std::string(1024, 'x'));
        write("www/64k", std::string(65536, 'y'));
        write("pipeline.lua", "function init()\n local all = {}\n"
                              " for i = 1, 16 do all[i] = wrk.format() end\n"
                              " together = table.concat(all)\nend\n"
                              "function request()\n return together\nend\n");
    }
    ~Folder()
    {
        if (std::system(("rm -r " + path).c_str()) != 0)
            std::perror("rm");
    }
    void write(const std::string &name, const std::string &text) const
    {
        FILE *f = std::fopen((path + "/" + name).c_str(), "we");
        if (f == nullptr || std::fwrite(text.data(), 1, text.size(), f) != text.size())
            bench::die(name.c_str());
        std::fclose(f);
    }
};

// A port that nobody has for now.
int free_port()
{
    bench::Listener l;
    return ntohs(l.at.sin_port);
}

// ---- A server ----

struct Server {
    std::string name;
    int port;
    pid_t pid = 0;
    std::vector<double> rates{}; // requests a second, of each round

    Server(std::string n, int p) : name(std::move(n)), port(p)
    {
    }
    Server(const Server &) = delete;
    Server &operator=(const Server &) = delete;
    ~Server()
    {
        if (pid > 0) {
            kill(pid, SIGKILL);
            waitpid(pid, nullptr, 0);
        }
    }
    template <class F> void start(F run)
    {
        pid = fork();
        if (pid < 0)
            bench::die("fork");
        if (pid == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            run();
            _exit(127);
        }
        await();
    }
    // Until it answers.
    void await() const
    {
        sockaddr_in at{};
        at.sin_family = AF_INET;
        at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        at.sin_port = htons(static_cast<uint16_t>(port));
        for (int i = 0; i < 1000; i++) {
            int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
            bool there = connect(fd, reinterpret_cast<sockaddr *>(&at), sizeof at) == 0;
            close(fd);
            if (there)
                return;
            usleep(10000);
        }
        std::fprintf(stderr, "%s does not start\n", name.c_str());
        std::exit(1);
    }
};

int listener;

int serve(void *folder)
{
    weft_http_server *s = weft_http_server_create(nullptr);
    weft_http_files *f = weft_http_files_open(static_cast<const char *>(folder), nullptr);
    if (s == nullptr || f == nullptr || weft_http_route(s, "GET", "/", weft_http_files_handler, f))
        bench::die("weft");
    return weft_http_serve(s, listener);
}

void run_weft(const Folder &folder)
{
    std::string www = folder.path + "/www";
    signal(SIGPIPE, SIG_IGN);
    _exit(weft_io_run(serve, www.data()));
}

void quiet()
{
    int null = open("/dev/null", O_RDWR);
    for (int fd = 0; fd < 3; fd++)
        dup2(null, fd);
}

std::string lighttpd_config(const Folder &f, int port)
{
    return "server.document-root = \"" + f.path + "/www\"\nserver.port = " + std::to_string(port) +
           "\nserver.bind = \"127.0.0.1\"\nserver.max-keep-alive-requests = 100000000\n"
           "server.max-fds = 4096\n";
}

std::string nginx_config(const Folder &f, int port, const char *more)
{
    return "daemon off;\nmaster_process off;\nworker_processes 1;\npid " + f.path +
           "/nginx.pid;\n"
           "error_log /dev/null;\nevents { worker_connections 4096; }\nhttp {\n"
           "access_log off;\nsendfile on;\ntcp_nopush off;\nkeepalive_requests 100000000;\n"
           "client_body_temp_path " +
           f.path + "/t1;\nproxy_temp_path " + f.path +
           "/t2;\n"
           "fastcgi_temp_path " +
           f.path + "/t3;\nuwsgi_temp_path " + f.path +
           "/t4;\n"
           "scgi_temp_path " +
           f.path + "/t5;\n" + more + "server { listen 127.0.0.1:" + std::to_string(port) +
           "; root " + f.path + "/www; }\n}\n";
}

std::string h2o_config(const Folder &f, int port)
{
    return "num-threads: 1\nlisten:\n  host: 127.0.0.1\n  port: " + std::to_string(port) +
           "\nhosts:\n  default:\n    paths:\n      /:\n        file.dir: " + f.path + "/www\n";
}

// ---- What is measured ----

struct Case {
    const char *title;
    const char *path;
    int connections;
    const char *more; // for wrk; "pipeline": many requests together
};

// wrk for a second: processor time a request, in us.
double ask(Server &s, const Case &c, const Folder &f)
{
    double before = bench::cpu_ns(s.pid), requests = 0, rate = 0;
    char line[256];
    std::string more = c.more;
    if (more == "pipeline")
        more = "-s " + f.path + "/pipeline.lua";
    std::string command = "wrk -t1 -d1 -c" + std::to_string(c.connections) + " " + more +
                          " http://127.0.0.1:" + std::to_string(s.port) + c.path + " 2>&1";
    FILE *p = popen(command.c_str(), "r");
    while (p != nullptr && std::fgets(line, sizeof line, p) != nullptr) {
        std::sscanf(line, " %lf requests in", &requests);
        std::sscanf(line, "Requests/sec: %lf", &rate);
    }
    if (p == nullptr || pclose(p) != 0 || requests == 0)
        bench::die("wrk");
    s.rates.push_back(rate);
    return (bench::cpu_ns(s.pid) - before) / 1000 / requests;
}

typedef std::vector<std::unique_ptr<Server>> Servers;

// The rates of a round that was measured already.
struct Replay {
    const Server *s;
    size_t next = 0;
    double operator()()
    {
        return s->rates[next++];
    }
};

void measure(const Case &c, Servers &servers, const Folder &f, bench::Table::Bars cpu,
             double least_rate)
{
    bench::Table t(c.title, "CPU us a request"), rates(c.title, "requests/s");
    for (auto &s : servers) {
        s->rates.clear();
        t.add(s->name, [&s, &c, &f] { return ask(*s, c, f); });
    }
    t.run(ROUNDS);
    t.at_most("weft", cpu);
    for (auto &s : servers)
        rates.add(s->name, Replay{s.get()});
    rates.run(ROUNDS);
    for (auto &s : servers)
        if (s->name != "weft")
            rates.at_least("weft", s->name.c_str(),
                           s->name.compare(0, 5, "nginx") == 0 ? least_rate : 1);
}

void start_peers(Servers &all, const Folder &f)
{
    struct Peer {
        const char *name, *command, *package, *file;
        std::vector<std::string> arguments;
        std::string config;
    };
    int ports[4];
    for (int &each : ports)
        each = free_port();
    const Peer peers[] = {
        {"lighttpd",
         "lighttpd",
         "lighttpd",
         "lighttpd.conf",
         {"-D", "-f"},
         lighttpd_config(f, ports[0])},
        {"nginx, open_file_cache",
         "nginx",
         "nginx-light",
         "cached.conf",
         {"-e", "/dev/null", "-c"},
         nginx_config(f, ports[1], "open_file_cache max=1000;\nopen_file_cache_valid 1s;\n")},
        {"nginx",
         "nginx",
         "nginx-light",
         "nginx.conf",
         {"-e", "/dev/null", "-c"},
         nginx_config(f, ports[2], "")},
        {"h2o", "h2o", "h2o", "h2o.conf", {"-c"}, h2o_config(f, ports[3])},
    };
    int i = 0;
    for (const Peer &each : peers) {
        int port = ports[i++];
        if (!has(each.command)) {
            std::printf("  %s: left out, needs %s (make bench-deps)\n", each.name, each.package);
            continue;
        }
        f.write(each.file, each.config);
        auto s = std::make_unique<Server>(each.name, port);
        s->start([&] {
            std::vector<char *> argv{const_cast<char *>(each.command)};
            for (auto &a : each.arguments)
                argv.push_back(const_cast<char *>(a.c_str()));
            std::string config = f.path + "/" + each.file;
            argv.push_back(config.data());
            argv.push_back(nullptr);
            quiet();
            execvp(each.command, argv.data());
        });
        all.push_back(std::move(s));
    }
}

} // namespace

int main()
{
    if (!has("wrk")) {
        std::printf("  left out, needs wrk (make bench-deps)\n");
        return 0;
    }
    Folder folder;
    Servers servers;
    listener = weft_io_listen("tcp:127.0.0.1:0", nullptr);
    sockaddr_in at{};
    socklen_t size = sizeof at;
    if (listener < 0 || getsockname(listener, reinterpret_cast<sockaddr *>(&at), &size) != 0)
        bench::die("listen");
    servers.push_back(std::make_unique<Server>("weft", ntohs(at.sin_port)));
    servers[0]->start([&] { run_weft(folder); });
    start_peers(servers, folder);

    static const Case small{"1 KiB, 64 connections", "/1k", 64, ""},
        crowd{"1 KiB, 512 connections", "/1k", 512, ""},
        large{"64 KiB, 64 connections", "/64k", 64, ""},
        once{"1 KiB, Connection: close", "/1k", 64, "-H 'Connection: close'"},
        burst{"1 KiB, a pipeline of 16", "/1k", 64, "pipeline"};
    bench::Table::Bars kept{{"lighttpd", 0.9}, {"nginx, open_file_cache", 0.7}, {"nginx", 0.55}};
    measure(small, servers, folder, kept, 1);
    measure(crowd, servers, folder, kept, 1);
    measure(large, servers, folder, {{"lighttpd", 0.85}, {"nginx, open_file_cache", 0.7}}, 1);
    measure(once, servers, folder, {{"nginx", 0.6}}, 1);
    measure(burst, servers, folder, {}, 5);
    return 0;
}
