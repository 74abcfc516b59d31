// cpus.h: the CPU quota of a cgroup, apart so that tests can show it made-up trees.
#ifndef WEFT_THREAD_CPUS_H
#define WEFT_THREAD_CPUS_H

namespace weft {

// The processors that the CPU quotas allow, rounded up; 0 when there is no limit.
// `membership` is a file like /proc/self/cgroup, `mount` a folder like /sys/fs/cgroup.
int cgroup_cpus(const char *membership, const char *mount);

} // namespace weft

#endif
