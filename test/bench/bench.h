// bench.h: weft beside its peers, interleaved in one run.
//
//     bench::Table t("queue, 1 producer 1 consumer", "M items/s");
//     t.add("weft_queue", [] { return ...; });
//     t.add("GAsyncQueue", [] { return ...; });
//     t.run(9);                                       // prints the medians
//     t.at_least("weft_queue", "GAsyncQueue", 2.0);   // prints the ratio beside its bar
//
// Each round runs every row once, so a change of the machine's speed meets all of
// them; a ratio is the median of the rounds' own ratios.  A bar that is missed is
// printed as MISSED: benchmarks report, tests decide.
#ifndef WEFT_BENCH_H
#define WEFT_BENCH_H

#include <weft/deadline.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <initializer_list>
#include <string>
#include <vector>

// A row of a peer that the compiler may not have: PEER(HAVE_UV, t, "libuv add", "libuv1-dev", fn),
// where fn is nothing to the compiler unless HAVE_UV is 1 (else 0).
#define PEER(have, ...) PEER_IF(have, __VA_ARGS__)
#define PEER_IF(have, ...) PEER_IF_##have(__VA_ARGS__)
#define PEER_IF_1(table, name, package, ...) (table).add_if(true, name, package, __VA_ARGS__)
#define PEER_IF_0(table, name, package, ...) (table).add_if(false, name, package, {})

namespace bench {

inline double median(std::vector<double> v)
{
    std::sort(v.begin(), v.end());
    size_t n = v.size();
    return n == 0 ? 0 : n % 2 ? v[n / 2] : (v[n / 2 - 1] + v[n / 2]) / 2;
}

// Seconds that fn takes.
template <class F> double seconds(F fn)
{
    int64_t start = weft_now();
    fn();
    return double(weft_now() - start) / 1e9;
}

class Table {
    struct Row {
        std::string name;
        std::function<double()> measure;
        std::vector<double> figures;
    };
    std::string title, unit;
    std::vector<Row> rows;

    Row *find(const std::string &name)
    {
        for (Row &r : rows)
            if (r.name == name)
                return &r;
        return nullptr;
    }

    void bar(const char *ours, const char *peer, double limit, bool least)
    {
        Row *a = find(ours), *b = find(peer);
        if (a == nullptr || b == nullptr) {
            std::printf("  %-58s not measured: no %s\n", peer, a ? peer : ours);
            return;
        }
        std::vector<double> ratios;
        for (size_t i = 0; i < a->figures.size(); i++)
            ratios.push_back(a->figures[i] / b->figures[i]);
        verdict(std::string(ours) + " / " + peer, median(ratios), limit, least);
    }

    static void verdict(const std::string &what, double is, double limit, bool least)
    {
        bool held = least ? is >= limit : is <= limit;
        std::printf("  %-58s %10.3f  bar %s %g  %s\n", what.c_str(), is, least ? ">=" : "<=", limit,
                    held ? "ok" : "MISSED");
    }

  public:
    Table(std::string t, std::string u) : title(std::move(t)), unit(std::move(u))
    {
    }

    // `measure` runs one round and returns its figure in the table's unit.
    void add(std::string name, std::function<double()> measure)
    {
        rows.push_back({std::move(name), std::move(measure), {}});
    }

    // A peer that may be missing: what stands in its package.
    void add_if(bool there, const char *peer, const char *package, std::function<double()> measure)
    {
        if (there)
            add(peer, std::move(measure));
        else
            missing(peer, package);
    }
    void missing(const char *peer, const char *package)
    {
        std::printf("  %s: left out, needs %s (make bench-deps)\n", peer, package);
    }

    // The same for a peer that is a Python program.
    void add_python(const char *peer, std::function<double()> measure)
    {
        add_if(std::system("python3 -c '' 2>/dev/null") == 0, peer, "python3", std::move(measure));
    }

    // One unmeasured round, then `rounds` measured ones.
    void run(int rounds)
    {
        for (int i = -1; i < rounds; i++)
            for (Row &r : rows) {
                double x = r.measure();
                if (i >= 0)
                    r.figures.push_back(x);
            }
        std::printf("\n%s, %s: median (min .. max) of %d\n", title.c_str(), unit.c_str(), rounds);
        for (Row &r : rows) {
            auto [low, high] = std::minmax_element(r.figures.begin(), r.figures.end());
            std::printf("  %-44s %12.4g  (%.4g .. %.4g)\n", r.name.c_str(), median(r.figures), *low,
                        *high);
        }
        std::fflush(stdout);
    }

    double result(const char *name)
    {
        Row *r = find(name);
        return r ? median(r->figures) : 0;
    }

    // The bars: ours / peer as a ratio, or our own figure as it is.
    void at_least(const char *ours, const char *peer, double limit)
    {
        bar(ours, peer, limit, true);
    }
    void at_most(const char *ours, const char *peer, double limit)
    {
        bar(ours, peer, limit, false);
    }

    // The same beside several: {{"GAsyncQueue", 2}, {"Python queue.Queue", 15}}.
    typedef std::initializer_list<std::pair<const char *, double>> Bars;
    void at_least(const char *ours, Bars peers)
    {
        for (auto &[peer, limit] : peers)
            bar(ours, peer, limit, true);
    }
    void at_most(const char *ours, Bars peers)
    {
        for (auto &[peer, limit] : peers)
            bar(ours, peer, limit, false);
    }

    void figure_at_most(const char *ours, double limit)
    {
        verdict(std::string(ours) + ", " + unit, result(ours), limit, false);
    }
    void figure_at_least(const char *ours, double limit)
    {
        verdict(std::string(ours) + ", " + unit, result(ours), limit, true);
    }
};

// What a shell command prints, as a number (a peer in another language); NAN-free: 0 if it fails.
inline double command(const std::string &line)
{
    char text[128] = "";
    FILE *p = popen(line.c_str(), "r");
    if (p == nullptr)
        return 0;
    if (fgets(text, sizeof text, p) == nullptr)
        text[0] = 0;
    return pclose(p) == 0 ? std::atof(text) : 0;
}

} // namespace bench

#endif
