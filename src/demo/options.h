// options.h: how the demos read their command lines.
//
// A bad option is one line on standard error and exit status 2; -h prints the usage.
#ifndef WEFT_DEMO_OPTIONS_H
#define WEFT_DEMO_OPTIONS_H

#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static inline void options_bad(const char *program, const char *what, const char *which)
{
    fprintf(stderr, "%s: %s: %s (-h shows the usage)\n", program, what, which);
    exit(2);
}

// What the system refused: its message, and exit status 1.
static inline void options_fail(const char *what)
{
    perror(what);
    exit(1);
}

// A whole number from `least` to `most`, or the program ends.
static inline long options_number(const char *program, const char *text, long least, long most)
{
    char *end;
    errno = 0;
    long n = strtol(text, &end, 10);
    if (errno != 0 || end == text || *end != 0)
        options_bad(program, "not a number", text);
    if (n < least || n > most) {
        fprintf(stderr, "%s: %s is not between %ld and %ld\n", program, text, least, most);
        exit(2);
    }
    return n;
}

// A span of 0 to a million seconds, in nanoseconds, or the program ends.
static inline int64_t options_seconds(const char *program, const char *text)
{
    char *end;
    double seconds = strtod(text, &end);
    if (end == text || *end != 0 || !(seconds >= 0 && seconds <= 1e6))
        options_bad(program, "not a number of seconds, up to a million", text);
    return (int64_t)(seconds * 1e9);
}

// The next option of `argv`, or -1; prints the usage on -h.  A message of our own for what is
// unknown, so that it is one line.
static inline int options_next(int argc, char **argv, const char *shorts,
                               const struct option *longs, const char *usage)
{
    opterr = 0;
    int c = getopt_long(argc, argv, shorts, longs, nullptr);
    if (c == 'h') {
        fputs(usage, stdout);
        exit(0);
    }
    if (c == ':')
        options_bad(argv[0], "needs a value", argv[optind - 1]);
    if (c == '?')
        options_bad(argv[0], "unknown option", argv[optind - 1]);
    return c;
}

// At a demo's end: standard output may be a full disk or a closed pipe.
static inline int options_finish(const char *program, int status)
{
    errno = 0; // an error before this flush has been forgotten
    if (fflush(stdout) != 0 || ferror(stdout)) {
        const char *why = errno != 0 ? strerror(errno) : "not all was written";
        fprintf(stderr, "%s: standard output: %s\n", program, why);
        return 1;
    }
    return status;
}

#endif
