// Jobs taken and done in a second, beside the job queue that one writes in Python on redis-server:
// a loop of BLMOVE into a list of what is in work, and LREM from there when it is done.
//
// All by Unix sockets, one worker.  weft's row with a bar pipelines: it takes 64 jobs in one write,
// and says in the next that they are done.  The others make a round trip for each.
#include "bench.h"

#include <weft/manager.h>
#include <weft/remote_jobs.h>

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <string>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

namespace {

const int JOBS = 40960, FEW = 10000, AHEAD = 64;
const weft_deadline SOON = WEFT_FOREVER;

[[noreturn]] void give_up(const char *what)
{
    std::fprintf(stderr, "manager_jobs: %s: %s\n", what, std::strerror(errno));
    std::exit(1);
}

// ---- A worker that pipelines: as fast as a client can be, so that the server is measured ----

struct connection {
    int fd;
    std::string out;
    char in[1 << 16];
    size_t begin = 0, end = 0;

    void add(std::initializer_list<const char *> words)
    {
        char head[32];
        out.append(head, size_t(std::snprintf(head, sizeof head, "*%zu\r\n", words.size())));
        for (const char *word : words) {
            size_t n = std::strlen(word);
            out.append(head, size_t(std::snprintf(head, sizeof head, "$%zu\r\n", n)));
            out.append(word, n).append("\r\n");
        }
    }
    void flush()
    {
        for (size_t sent = 0; sent < out.size();) {
            ssize_t n = send(fd, out.data() + sent, out.size() - sent, MSG_NOSIGNAL);
            if (n <= 0)
                give_up("send");
            sent += size_t(n);
        }
        out.clear();
    }
    void more()
    {
        std::memmove(in, in + begin, end - begin);
        end -= begin;
        begin = 0;
        ssize_t n = recv(fd, in + end, sizeof in - end, 0);
        if (n <= 0)
            give_up("recv");
        end += size_t(n);
    }
    // A line of a reply; its number.
    long long line(char type)
    {
        char *stop;
        while ((stop = static_cast<char *>(std::memchr(in + begin, '\n', end - begin))) == nullptr)
            more();
        if (in[begin] != type)
            give_up("another reply");
        long long number = 0;
        for (const char *c = in + begin + 1; *c != '\r'; c++)
            number = 10 * number + (*c - '0');
        begin = size_t(stop + 1 - in);
        return number;
    }
    void string()
    {
        size_t n = size_t(line('$')) + 2;
        while (end - begin < n)
            more();
        begin += n;
    }
};

// Jobs of some bytes that are forgotten a second after their end.
void put(connection *c, int n)
{
    for (int i = 0; i < n; i += AHEAD) {
        for (int k = 0; k < AHEAD; k++)
            c->add({"WEFT.JOB.PUT", "jobs", "0", "0", "3", "0", "1000", "1000", "100000", "",
                    "a job of some bytes"});
        c->flush();
        for (int k = 0; k < AHEAD; k++)
            c->line(':');
    }
}

void take(connection *c, std::string *id, std::string *token)
{
    if (c->line('*') != 15)
        give_up("no job");
    *id = std::to_string(c->line(':'));
    *token = std::to_string(c->line(':'));
    for (int i = 2; i < 10; i++)
        c->line(':');
    for (int i = 10; i < 15; i++)
        c->string();
}

// Each write says that the jobs before are done and takes the next ones.
void take_and_do(connection *c, int n)
{
    std::string ids[AHEAD], tokens[AHEAD];
    for (int i = 0, had = 0; i < n || had > 0; i += AHEAD) {
        int many = i < n ? AHEAD : 0;
        for (int k = 0; k < had; k++)
            c->add({"WEFT.JOB.DONE", "jobs", ids[k].c_str(), tokens[k].c_str(), "done"});
        for (int k = 0; k < many; k++)
            c->add({"WEFT.JOB.TAKE", "jobs", "0", "30000", "FREE", "bench"});
        c->flush();
        for (int k = 0; k < had; k++)
            c->line(':');
        for (int k = 0; k < many; k++)
            take(c, &ids[k], &tokens[k]);
        had = many;
    }
}

double pipelined(connection *c)
{
    put(c, JOBS);
    return JOBS / bench::seconds([&] { take_and_do(c, JOBS); });
}

// ---- A worker by the library's calls ----

void put_each(weft_remote_jobs *q, int n)
{
    for (int i = 0; i < n; i++)
        if (weft_remote_jobs_put(q, "a job of some bytes", 19, nullptr, nullptr, SOON) != 0)
            give_up("put");
}

double each(weft_client *c)
{
    weft_remote_jobs_options o{};
    o.keep_ns = 1000000000;
    weft_remote_jobs *q = weft_remote_jobs_open(c, "each", &o);
    put_each(q, FEW);
    double seconds = bench::seconds([&] {
        for (int i = 0; i < FEW; i++) {
            weft_remote_job *j = weft_remote_jobs_take(q, SOON);
            if (j == nullptr || weft_remote_jobs_done(q, j->id, j->token, "done", 4, SOON) != 0)
                give_up("take");
            weft_remote_job_free(j);
        }
    });
    weft_remote_destroy(q);
    return FEW / seconds;
}

// ---- Redis ----

std::string folder;

pid_t start_redis(const std::string &path)
{
    std::fflush(stdout);
    pid_t p = fork();
    if (p == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (std::freopen("/dev/null", "w", stdout) == nullptr)
            _exit(1);
        execlp("redis-server", "redis-server", "--port", "0", "--unixsocket", path.c_str(),
               "--save", "", "--appendonly", "no", "--dir", folder.c_str(), nullptr);
        _exit(127);
    }
    for (int i = 0; i < 5000 && access(path.c_str(), F_OK) != 0; i++)
        usleep(1000);
    return p;
}

double python(const std::string &path)
{
    return bench::command(
        "/usr/bin/python3 - <<'END'\n"
        "import redis, time\n"
        "n = 10000\n"
        "r = redis.Redis(unix_socket_path='" +
        path +
        "')\n"
        "r.delete('jobs', 'working')\n"
        "for i in range(0, n, 1000):\n"
        "    r.lpush('jobs', *[b'a job of some bytes %d' % k for k in range(i, i + "
        "1000)])\n"
        "begin = time.monotonic()\n"
        "for i in range(n):\n"
        "    job = r.blmove('jobs', 'working', 0, 'RIGHT', 'LEFT')\n"
        "    r.lrem('working', 1, job)\n"
        "print(n / (time.monotonic() - begin))\n"
        "END");
}

} // namespace

int main()
{
    char text[] = "/tmp/weft-bench-XXXXXX";
    if (mkdtemp(text) == nullptr)
        give_up("no folder");
    folder = text;
    std::string ours = "unix:" + folder + "/weft", redis = folder + "/redis";
    bool has_redis = std::system("command -v redis-server >/dev/null") == 0;
    bool has_python = std::system("/usr/bin/python3 -c 'import redis' 2>/dev/null") == 0;
    pid_t p = has_redis && has_python ? start_redis(redis) : -1;
    weft_manager *m = weft_manager_start(ours.c_str(), nullptr);
    weft_client *c = m != nullptr ? weft_client_connect(ours.c_str(), nullptr, SOON) : nullptr;
    if (c == nullptr)
        give_up("start");
    connection raw{};
    weft_client *theirs = weft_client_connect(ours.c_str(), nullptr, SOON);
    if (theirs == nullptr)
        give_up("connect");
    raw.fd = weft_client_fd(theirs);
    fcntl(raw.fd, F_SETFL, fcntl(raw.fd, F_GETFL) & ~O_NONBLOCK); // it is used as it is
    bench::Table t("jobs taken and done, one worker", "a second");
    t.add("weft, 64 in a write", [&] { return pipelined(&raw); });
    t.add("weft_remote_jobs", [&] { return each(c); });
    t.add_if(p > 0, "Python, BLMOVE and LREM", "redis-server, python3-redis",
             [&] { return python(redis); });
    t.run(5);
    t.figure_at_least("weft, 64 in a write", 50000);
    t.at_least("weft, 64 in a write", "Python, BLMOVE and LREM", 20);
    weft_client_destroy(c);
    weft_client_destroy(theirs);
    weft_manager_destroy(m);
    if (p > 0) {
        kill(p, SIGTERM);
        waitpid(p, nullptr, 0);
    }
    std::system(("rm -rf " + folder).c_str());
}
