// Subprocesses: the price of a start, of big data through pipes, of splitting a line; what
// ten thousand starts leave behind.
#include "../descriptors.h"
#include "bench.h"

#include <weft/shlex.h>
#include <weft/subprocess.h>

#if __has_include(<glib.h>)
#include <glib.h>
#endif

#include <cstring>
#include <dlfcn.h>
#include <fcntl.h>
#include <functional>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

namespace {

const char *const yes[] = {"/bin/true", nullptr};
char *const *const yes_argv = const_cast<char *const *>(yes);

// ---- One start and wait of /bin/true ----

void by_weft()
{
    weft_subprocess *p = weft_subprocess_start(yes, nullptr);
    weft_subprocess_join(p, nullptr, WEFT_FOREVER);
    weft_subprocess_destroy(p);
}

[[noreturn]] void become_yes()
{
    execv(yes[0], yes_argv);
    _exit(127);
}

void by_vfork()
{
    pid_t pid = vfork();
    if (pid == 0)
        become_yes();
    waitpid(pid, nullptr, 0);
}

void by_fork()
{
    pid_t pid = fork();
    if (pid == 0)
        become_yes();
    waitpid(pid, nullptr, 0);
}

void by_posix_spawn()
{
    pid_t pid;
    if (posix_spawn(&pid, yes[0], nullptr, nullptr, yes_argv, environ) == 0)
        waitpid(pid, nullptr, 0);
}

// libapr, found at run time: its few calls by their documented signatures.
struct Apr {
    void *pool = nullptr;
    int (*pool_create)(void **, void *, void *, void *) = nullptr;
    void (*pool_destroy)(void *) = nullptr;
    int (*attr_create)(void **, void *) = nullptr;
    int (*attr_cmdtype)(void *, int) = nullptr;
    int (*create)(void *, const char *, const char *const *, const char *const *, void *,
                  void *) = nullptr;
    int (*wait)(void *, int *, int *, int) = nullptr;

    template <class F> static bool find(void *library, F &f, const char *name)
    {
        f = reinterpret_cast<F>(dlsym(library, name));
        return f != nullptr;
    }

    bool load()
    {
        void *library = dlopen("libapr-1.so.0", RTLD_NOW);
        int (*initialize)() = nullptr;
        return library && find(library, initialize, "apr_initialize") && initialize() == 0 &&
               find(library, pool_create, "apr_pool_create_ex") &&
               find(library, pool_destroy, "apr_pool_destroy") &&
               find(library, attr_create, "apr_procattr_create") &&
               find(library, attr_cmdtype, "apr_procattr_cmdtype_set") &&
               find(library, create, "apr_proc_create") && find(library, wait, "apr_proc_wait");
    }

    void spawn() const
    {
        enum { APR_PROGRAM = 1, APR_WAIT = 0 };
        void *p, *attr;
        char proc[256] = {};
        int code, why;
        pool_create(&p, nullptr, nullptr, nullptr);
        attr_create(&attr, p);
        attr_cmdtype(attr, APR_PROGRAM);
        if (create(proc, yes[0], yes, nullptr, attr, p) == 0)
            wait(proc, &code, &why, APR_WAIT);
        pool_destroy(p);
    }
} apr;
bool have_apr;

void by_apr()
{
    apr.spawn();
}

// Rows measured turn by turn, one start of each at a time, so that whatever else the machine does
// meets all of them; each call of the first row measures a round for all.
class Turns {
    std::vector<std::function<double()>> spawns;
    std::vector<double> medians;

    void measure(int times)
    {
        std::vector<std::vector<double>> t(spawns.size());
        for (size_t i = 0; i < times * spawns.size(); i++) {
            // Each one follows each other one equally often.
            size_t row = (i + i / spawns.size()) % spawns.size();
            t[row].push_back(spawns[row]());
        }
        medians.clear();
        for (auto &figures : t)
            medians.push_back(bench::median(figures));
    }

  public:
    void add(bench::Table &table, const char *name, std::function<double()> spawn)
    {
        size_t row = spawns.size();
        spawns.push_back(std::move(spawn));
        table.add(name, [this, row] {
            if (row == 0)
                measure(24);
            return medians[row];
        });
    }
};

double microseconds(void (*spawn)(), int times)
{
    std::vector<double> t;
    for (int i = 0; i < times; i++)
        t.push_back(bench::seconds(spawn) * 1e6);
    return bench::median(t);
}

// ---- A parent of any size: another process that spawns on demand ----

class Parent {
    int to[2], from[2];
    pid_t pid;

    [[noreturn]] void serve(size_t bytes)
    {
        struct {
            void (*spawn)();
            int times;
        } wish;
        void *memory =
            mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        madvise(memory, bytes, MADV_NOHUGEPAGE);
        memset(memory, 1, bytes);
        while (read(to[0], &wish, sizeof wish) == sizeof wish) {
            double t = microseconds(wish.spawn, wish.times);
            if (write(from[1], &t, sizeof t) != sizeof t)
                break;
        }
        _exit(0);
    }

  public:
    explicit Parent(size_t bytes)
    {
        if (pipe2(to, O_CLOEXEC) != 0 || pipe2(from, O_CLOEXEC) != 0)
            std::abort();
        pid = fork();
        if (pid == 0) {
            close(to[1]);
            serve(bytes);
        }
    }
    ~Parent()
    {
        close(to[1]);
        waitpid(pid, nullptr, 0);
    }
    double measure(void (*spawn)(), int times)
    {
        struct {
            void (*spawn)();
            int times;
        } wish = {spawn, times};
        double t = 0;
        if (write(to[1], &wish, sizeof wish) != sizeof wish ||
            read(from[0], &t, sizeof t) != sizeof t)
            std::abort();
        return t;
    }
};

void spawns()
{
    const char *const script = "import subprocess, time, statistics\n"
                               "t = []\n"
                               "for i in range(12):\n"
                               "    s = time.perf_counter()\n"
                               "    subprocess.Popen(['/bin/true']).wait()\n"
                               "    t.append(time.perf_counter() - s)\n"
                               "print(statistics.median(t) * 1e6)\n";
    bench::Table t("start and wait for /bin/true", "us");
    Turns turns;
    turns.add(t, "weft_subprocess_start", [] { return microseconds(by_weft, 1); });
    turns.add(t, "vfork + exec, bare", [] { return microseconds(by_vfork, 1); });
    turns.add(t, "posix_spawn", [] { return microseconds(by_posix_spawn, 1); });
    turns.add(t, "fork + exec, bare", [] { return microseconds(by_fork, 1); });
    if (have_apr)
        turns.add(t, "APR", [] { return microseconds(by_apr, 1); });
    else
        t.missing("APR", "libapr1");
    t.add("Python subprocess.Popen",
          [=] { return bench::command(std::string("python3 -c \"") + script + "\""); });
    t.run(25);
    t.at_most("weft_subprocess_start", {{"vfork + exec, bare", 1.1}, {"posix_spawn", 1.0}});
}

void spawns_from_a_large_parent()
{
    long available = sysconf(_SC_AVPHYS_PAGES) / 1024 * sysconf(_SC_PAGESIZE) / 1024;
    size_t large = 4096;
    if (available < 6000) {
        large = 512;
        std::printf("\nonly %ld MB free: the large parent has 512 MB instead of 4 GB\n", available);
    }
    Parent small(10UL << 20), big(large << 20);
    std::string size = std::to_string(large) + " MB";
    bench::Table t("the same from a parent of 10 MB and of " + size, "us");
    Turns turns;
    turns.add(t, "weft, small parent", [&] { return small.measure(by_weft, 1); });
    turns.add(t, "weft, large parent", [&] { return big.measure(by_weft, 1); });
    t.run(25);
    t.at_most("weft, large parent", "weft, small parent", 1.1);

    bench::Table peers("from the parent of " + size, "us");
    peers.add("weft", [&] { return big.measure(by_weft, 40); });
    peers.add("fork + exec, bare", [&] { return big.measure(by_fork, 1); });
    peers.add_if(have_apr, "APR", "libapr1", [&] { return big.measure(by_apr, 1); });
    peers.run(5);
    peers.at_least("APR", "weft", 100);
}

// ---- Many commands ----

double milliseconds(const rusage &u)
{
    return double(u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1e3 +
           double(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e3;
}

// Processor time of a shell's command and all that it runs; 0 if it fails.
double processor_time(const std::string &command)
{
    const char *const sh[] = {"sh", "-c", command.c_str(), nullptr};
    weft_subprocess_options o = {};
    weft_subprocess_result r;
    o.out.kind = o.err.kind = WEFT_STREAM_NULL;
    bool good = weft_subprocess_run(sh, &o, &r, WEFT_FOREVER) == 0 && r.status == 0;
    return good ? milliseconds(r.usage) : 0;
}

double bare_time(int n)
{
    rusage before, after;
    getrusage(RUSAGE_CHILDREN, &before);
    for (int i = 0; i < n; i++)
        by_vfork();
    getrusage(RUSAGE_CHILDREN, &after);
    return (milliseconds(after) - milliseconds(before)) / n;
}

// Also as what they take beyond /bin/true itself.
void many_commands(const std::string &each)
{
    static double bare;
    bench::Table t("true, 10,000 times, two at once: processor time of one", "ms");
    bench::Table beyond("the same beyond a bare start of it", "ms");
    auto add = [&](const char *name, const std::string &command, int n) {
        auto measure = [=] {
            return processor_time("yes /bin/true | head -n " + std::to_string(n) + " | " +
                                  command) /
                   n;
        };
        t.add(name, measure);
        beyond.add(name, [=] { return measure() - bare; });
    };
    add("weft-processes each", each + " each -q -j 2", 10000);
    add("xargs -P", "xargs -n 1 -P 2", 10000);
    bool have_parallel = system("command -v parallel >/dev/null") == 0;
    if (have_parallel)
        add("GNU parallel", "parallel -j 2", 300);
    else
        t.missing("GNU parallel", "parallel");
    t.run(3);
    t.at_most("weft-processes each", "xargs -P", 0.9);
    bare = bare_time(2000);
    beyond.run(1);
    if (have_parallel)
        beyond.at_most("weft-processes each", "GNU parallel", 0.05);
}

void idle_children()
{
    constexpr size_t MANY = 900;
    const char *const sleeps[] = {"sleep", "1000", nullptr};
    std::vector<weft_subprocess *> p;
    while (p.size() < MANY)
        p.push_back(weft_subprocess_start(sleeps, nullptr));
    rusage before, after;
    getrusage(RUSAGE_SELF, &before);
    weft_subprocess_join_any(p.data(), MANY, weft_in_s(2));
    getrusage(RUSAGE_SELF, &after);
    for (auto *one : p) {
        weft_subprocess_kill(one);
        weft_subprocess_join(one, nullptr, WEFT_FOREVER);
        weft_subprocess_destroy(one);
    }
    double share = (milliseconds(after) - milliseconds(before)) / 2000 * 100;
    bench::Table t("waiting for one of 900 children that sleep", "% of a processor");
    t.add("weft_subprocess_wait_any", [=] { return share; });
    t.run(1);
    t.figure_at_most("weft_subprocess_wait_any", 0.1);
}

// ---- Much data ----

constexpr int MEGABYTES = 256;

double communicate(const std::vector<char> &input)
{
    const char *const cat[] = {"cat", nullptr};
    weft_subprocess_options o = {};
    weft_subprocess_result r;
    o.input = input.data();
    o.input_size = input.size();
    o.out.kind = WEFT_STREAM_PIPE;
    double s = bench::seconds([&] { weft_subprocess_run(cat, &o, &r, WEFT_FOREVER); });
    bool whole = r.out.size == input.size() && memcmp(r.out.data, input.data(), r.out.size) == 0;
    weft_subprocess_result_free(&r);
    return whole ? MEGABYTES / s : 0;
}

void communicates()
{
    const char *const script = "import subprocess, time\n"
                               "b = b'x' * (256 << 20)\n"
                               "s = time.perf_counter()\n"
                               "r = subprocess.run(['cat'], input=b, stdout=subprocess.PIPE)\n"
                               "e = time.perf_counter() - s\n"
                               "print(256 / e if r.stdout == b else 0)\n";
    std::vector<char> input((size_t)MEGABYTES << 20, 'x');
    bench::Table t("256 MB through cat and back", "MB/s");
    t.add("weft_subprocess_run", [&] { return communicate(input); });
    t.add("Python subprocess.run",
          [=] { return bench::command(std::string("python3 -c \"") + script + "\""); });
    t.run(3);
    t.at_least("weft_subprocess_run", "Python subprocess.run", 3);
}

// ---- Splitting ----

std::string line_mix()
{
    const char *const lines[] = {
        "gcc -O2 -Wall -Wextra -Iinclude -o build/obj/main.o -c src/main.c ",
        "rsync -a --exclude='*.o' \"$HOME/my files/\" host:/backup/\\$day ",
        "printf '%s\\n' \"a \\\"quoted\\\" word\" 'it'\\''s' plain\\ text ",
        "find . -name '*.txt' -newer \"stamp file\" -exec grep -l needle {} + ",
        "\xc3\xa4\xc3\xb6\xc3\xbc 'Stra\xc3\x9f"
        "e' \"\xe2\x82\xac 5\" ",
    };
    std::string text;
    for (size_t i = 0; text.size() < 10 << 20; i++)
        text += lines[i % 5];
    return text;
}

void splits()
{
    std::string text = line_mix(), name = "/tmp/weft-bench-XXXXXX";
    int fd = mkstemp(name.data());
    if (fd < 0 || write(fd, text.data(), text.size()) != (ssize_t)text.size())
        std::abort();
    double megabytes = double(text.size()) / 1e6;
    bench::Table t("splitting a line of 10 MB", "MB/s");
    t.add("weft_shlex_split", [&] {
        return megabytes /
               bench::seconds([&] { free(weft_shlex_split(text.c_str(), 0, nullptr)); });
    });
#if __has_include(<glib.h>)
    t.add("GLib g_shell_parse_argv", [&] {
        int n;
        char **words = nullptr;
        double s = bench::seconds([&] { g_shell_parse_argv(text.c_str(), &n, &words, nullptr); });
        g_strfreev(words);
        return megabytes / s;
    });
#else
    t.missing("GLib", "libglib2.0-dev");
#endif
    t.add("Python shlex.split", [&] {
        return bench::command("python3 -c \"import shlex, time\ns = open('" + name +
                              "').read()\nb = time.perf_counter()\nshlex.split(s)\n"
                              "print(len(s.encode()) / 1e6 / (time.perf_counter() - b))\"");
    });
    t.run(1);
    close(fd);
    unlink(name.c_str());
    t.at_least("weft_shlex_split", "Python shlex.split", 50);
}

// ---- What is left ----

// Field of /proc/self/statm, in KB: 0 all that is mapped, 1 what is in memory.
double memory(int field)
{
    long pages[2] = {};
    FILE *f = fopen("/proc/self/statm", "re");
    if (f == nullptr || fscanf(f, "%ld %ld", &pages[0], &pages[1]) != 2)
        std::abort();
    fclose(f);
    return double(pages[field] * (sysconf(_SC_PAGESIZE) / 1024));
}

void leftovers()
{
    for (int i = 0; i < 100; i++)
        by_weft();
    double fds = open_descriptors(), mapped = memory(0), resident = memory(1);
    for (int i = 0; i < 10000; i++)
        by_weft();
    siginfo_t info;
    double children = waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0;
    fds = open_descriptors() - fds;
    mapped = memory(0) - mapped;
    resident = memory(1) - resident;
    bench::Table t("left behind by 10,000 starts", "more than before");
    t.add("descriptors", [=] { return fds; });
    t.add("children, dead or alive", [=] { return children; });
    t.add("KB mapped", [=] { return mapped; });
    t.add("KB resident", [=] { return resident; });
    t.run(1);
    t.figure_at_most("descriptors", 0);
    t.figure_at_most("children, dead or alive", 0);
    t.figure_at_most("KB mapped", 0);
    t.figure_at_most("KB resident", 64);
}

} // namespace

int main()
{
    have_apr = apr.load();
    std::string bin(4096, 0);
    bin.resize(readlink("/proc/self/exe", bin.data(), bin.size()));
    bin = bin.substr(0, bin.rfind("/bench/")) + "/bin/weft-processes";
    spawns();
    spawns_from_a_large_parent();
    leftovers();
    idle_children();
    if (access(bin.c_str(), X_OK) == 0)
        many_commands(bin);
    else
        std::printf("\nwithout `make all`: each is left out\n");
    splits();
    communicates();
}
