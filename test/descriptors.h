// descriptors.h: what a folder holds, and how many descriptors are open.
#ifndef WEFT_TEST_DESCRIPTORS_H
#define WEFT_TEST_DESCRIPTORS_H

#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

// How many entries a folder has with `part` in their names.
static inline int entries(const char *folder, const char *part)
{
    int n = 0;
    DIR *d = opendir(folder);
    for (struct dirent *e; d != nullptr && (e = readdir(d)) != nullptr;)
        n += strstr(e->d_name, part) != nullptr;
    if (d != nullptr)
        closedir(d);
    return n;
}

static inline int open_descriptors(void)
{
    return entries("/proc/self/fd", "");
}

// The lowest number that is free.
static inline int next_descriptor(void)
{
    int fd = dup(0);
    close(fd);
    return fd;
}

// Closes the standard streams and calls `fn`, an int (*)(void *), in a child's end: 0; 1 + the
// lowest number of a standard stream that is another descriptor's then; else what fn says.
static inline int end_without_streams(void *fn)
{
    for (int fd = 0; fd < 3; fd++)
        close(fd);
    int result = ((int (*)(void *))fn)(nullptr);
    for (int fd = 0; fd < 3; fd++)
        if (fcntl(fd, F_GETFD) >= 0)
            return 1 + fd;
    return result;
}

#endif
