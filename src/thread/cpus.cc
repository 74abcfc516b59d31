// cpus.cc: how many processors there really are.
//
// The affinity mask says where threads may run, a cgroup's quota how much of that time
// they get.  A quota holds for the whole subtree, so the least one from our own cgroup
// up to the root counts.  In a container the root of the mount often is our own cgroup
// while /proc/self/cgroup shows a path that doesn't exist below it: what can't be read
// is no limit.
#include "cpus.h"

#include <base/errno.h>
#include <weft/thread.h>

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

using namespace weft;

// Reads a small file whole; false if it can't be.
static bool read_text(const char *path, char *text, size_t room)
{
    int fd = uncancelled(open, path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    size_t n = 0;
    ssize_t got;
    while (n < room - 1 && (got = uncancelled(read, fd, text + n, room - 1 - n)) > 0)
        n += (size_t)got;
    text[n] = 0;
    uncancelled(close, fd);
    return n > 0;
}

static int quota_to_cpus(long long quota, long long period)
{
    if (quota <= 0 || period <= 0)
        return 0;
    long long cpus = (quota - 1) / period + 1;
    return cpus > INT_MAX ? INT_MAX : (int)cpus;
}

// The quota set in one cgroup's folder; 0: none.
static int folder_cpus(const char *folder, bool v2)
{
    char path[PATH_MAX + 32], text[64];
    long long quota = 0, period = 0;
    snprintf(path, sizeof path, "%s/%s", folder, v2 ? "cpu.max" : "cpu.cfs_quota_us");
    if (!read_text(path, text, sizeof text))
        return 0;
    if (v2) // "max 100000" or "150000 100000"
        return sscanf(text, "%lld %lld", &quota, &period) == 2 ? quota_to_cpus(quota, period) : 0;
    quota = atoll(text); // -1: none
    snprintf(path, sizeof path, "%s/cpu.cfs_period_us", folder);
    return read_text(path, text, sizeof text) ? quota_to_cpus(quota, atoll(text)) : 0;
}

static int least(int a, int b)
{
    return a == 0 || (b != 0 && b < a) ? b : a;
}

// The least quota from `mount``group` up to `mount` itself.
static int branch_cpus(const char *mount, const char *group, bool v2)
{
    char folder[PATH_MAX];
    size_t root = strlen(mount);
    int cpus = 0;
    if ((size_t)snprintf(folder, sizeof folder, "%s%s", mount, group) >= sizeof folder)
        folder[root] = 0;
    for (;;) {
        cpus = least(cpus, folder_cpus(folder, v2));
        char *slash = strrchr(folder, '/');
        if (slash == nullptr || (size_t)(slash - folder) < root)
            return cpus;
        *slash = 0;
    }
}

// Whether a v1 line's controllers ("cpu,cpuacct") name the cpu controller.
static bool names_cpu(const char *controllers)
{
    for (const char *p = controllers; p != nullptr; p = strchr(p, ',')) {
        p += *p == ',';
        if (strncmp(p, "cpu", 3) == 0 && (p[3] == ',' || p[3] == 0))
            return true;
    }
    return false;
}

int weft::cgroup_cpus(const char *membership, const char *mount)
{
    char text[16384], controller[PATH_MAX];
    int cpus = 0;
    if (!read_text(membership, text, sizeof text))
        return 0;
    char *rest = text;
    for (char *line; (line = strsep(&rest, "\n")) != nullptr;) {
        // "hierarchy:controllers:/group"; v2 is hierarchy 0 and names none
        char *id = strsep(&line, ":"), *controllers = strsep(&line, ":");
        if (line == nullptr)
            continue;
        if (strcmp(id, "0") == 0 && *controllers == 0) {
            cpus = least(cpus, branch_cpus(mount, line, true));
        } else if (names_cpu(controllers)) {
            snprintf(controller, sizeof controller, "%s/cpu", mount);
            cpus = least(cpus, branch_cpus(controller, line, false));
        }
    }
    return cpus;
}

static int affinity_cpus(void)
{
    for (size_t most = 1024; most <= 1 << 20; most *= 4) { // EINVAL: the kernel's mask is larger
        cpu_set_t *set = CPU_ALLOC(most);
        if (set == nullptr)
            break;
        size_t size = CPU_ALLOC_SIZE(most);
        int n = sched_getaffinity(0, size, set) == 0 ? CPU_COUNT_S(size, set) : 0;
        CPU_FREE(set);
        if (n > 0)
            return n;
    }
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    return online > 0 ? (int)online : 1;
}

int weft_cpu_count(void)
{
    int saved = errno;
    int n = least(affinity_cpus(), cgroup_cpus("/proc/self/cgroup", "/sys/fs/cgroup"));
    errno = saved;
    return n;
}
