// process.h: what a process has used.
#ifndef WEFT_BENCH_PROCESS_H
#define WEFT_BENCH_PROCESS_H

#include <dirent.h>
#include <unistd.h>

#include <cstdio>
#include <string>

namespace bench {

// Nanoseconds on a processor, of all its threads.
inline double cpu_ns(pid_t p)
{
    double sum = 0;
    std::string tasks = "/proc/" + std::to_string(p) + "/task";
    DIR *d = opendir(tasks.c_str());
    for (dirent *e; d != nullptr && (e = readdir(d)) != nullptr;) {
        FILE *f = std::fopen((tasks + "/" + e->d_name + "/schedstat").c_str(), "r");
        double ns = 0;
        if (f == nullptr)
            continue;
        if (std::fscanf(f, "%lf", &ns) == 1)
            sum += ns;
        std::fclose(f);
    }
    if (d != nullptr)
        closedir(d);
    return sum;
}

inline double resident_bytes(pid_t p)
{
    double all, pages = 0;
    FILE *f = std::fopen(("/proc/" + std::to_string(p) + "/statm").c_str(), "r");
    if (f != nullptr && std::fscanf(f, "%lf %lf", &all, &pages) != 2)
        pages = 0;
    if (f != nullptr)
        std::fclose(f);
    return pages * double(sysconf(_SC_PAGESIZE));
}

} // namespace bench

#endif
