// The number of usable processors: affinity of this process, quotas of made-up cgroups.
#include "../runner.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <sys/stat.h>
#include <thread/cpus.h>
#include <weft/thread.h>

using namespace weft;

static char root[64];

static void make_tree(void)
{
    strcpy(root, "/tmp/weft-cpus-XXXXXX");
    assert_non_null(mkdtemp(root));
}

static void remove_tree(void)
{
    char command[128];
    snprintf(command, sizeof command, "rm -r %s", root);
    assert_int_equal(system(command), 0);
}

static void write_file(const char *folder, const char *name, const char *text)
{
    char path[256];
    snprintf(path, sizeof path, "%s%s", root, folder);
    mkdir(path, 0755);
    snprintf(path, sizeof path, "%s%s/%s", root, folder, name);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static int cpus_of(const char *membership)
{
    char path[128];
    write_file("", "membership", membership);
    snprintf(path, sizeof path, "%s/membership", root);
    return cgroup_cpus(path, root);
}

CASE(test_v2_least_of_the_branch)
{
    make_tree();
    assert_int_equal(cpus_of("0::/a/b\n"), 0); // nothing to read: no limit
    write_file("/a", "cpu.max", "max 100000\n");
    assert_int_equal(cpus_of("0::/a/b\n"), 0);
    write_file("/a/b", "cpu.max", "350000 100000\n");
    assert_int_equal(cpus_of("0::/a/b\n"), 4); // 3.5, rounded up
    write_file("/a", "cpu.max", "200000 100000\n");
    assert_int_equal(cpus_of("0::/a/b\n"), 2); // the parent has less
    assert_int_equal(cpus_of("0::/a\n"), 2);
    write_file("", "cpu.max", "1 100000\n");
    assert_int_equal(cpus_of("0::/a/b\n"), 1); // never 0
    assert_int_equal(cpus_of("0::/\n"), 1);
    assert_int_equal(cpus_of("0::/not/visible/here\n"), 1); // as in a container
    remove_tree();
}

CASE(test_v1_cpu_controller)
{
    make_tree();
    write_file("/cpu", "cpu.cfs_quota_us", "-1\n");
    write_file("/cpu/x", "cpu.cfs_quota_us", "300000\n");
    write_file("/cpu/x", "cpu.cfs_period_us", "100000\n");
    assert_int_equal(cpus_of("12:cpuset:/x\n3:cpu,cpuacct:/x\n1:name=systemd:/x\n0::/\n"), 3);
    assert_int_equal(cpus_of("3:cpuacct,cpu:/x\n"), 3);
    assert_int_equal(cpus_of("12:cpuset:/x\n"), 0);
    assert_int_equal(cpus_of("3:cpu:/\n"), 0);
    remove_tree();
}

CASE(test_garbage_is_no_limit)
{
    make_tree();
    write_file("/a", "cpu.max", "many few\n");
    assert_int_equal(cpus_of("0::/a\n"), 0);
    write_file("/a", "cpu.max", "100000 0\n");
    assert_int_equal(cpus_of("0::/a\n"), 0);
    assert_int_equal(cpus_of("nonsense\n\n::\n0:\n"), 0);
    assert_int_equal(cgroup_cpus("/nonexistent", root), 0);
    remove_tree();
}

CASE(test_count_follows_affinity)
{
    cpu_set_t ours, one;
    assert_int_equal(sched_getaffinity(0, sizeof ours, &ours), 0);
    errno = 77;
    int n = weft_cpu_count();
    assert_true(n >= 1 && n <= CPU_COUNT(&ours));
    assert_int_equal(errno, 77);
    int first = 0;
    while (!CPU_ISSET(first, &ours))
        first++;
    CPU_ZERO(&one);
    CPU_SET(first, &one);
    assert_int_equal(sched_setaffinity(0, sizeof one, &one), 0);
    assert_int_equal(weft_cpu_count(), 1);
    assert_int_equal(sched_setaffinity(0, sizeof ours, &ours), 0);
}

RUN_CASES()
