// verbs.h: what a demo is made of: verbs, each in a file of its own, and how they read their
// options.
//
// A verb is added by a file src/demo/SECTION/VERB.cc that ends with
//     extern const verb verb_NAME = {"NAME", "[-n count] FILE...", "what it shows\n", run};
// and by its name in the list in SECTION/main.cc.  Usage, -h and the errors follow from that.
//
// A bad option is one line on standard error and exit status 2; what fails is 1; -h prints the
// usage.
#ifndef WEFT_DEMO_VERBS_H
#define WEFT_DEMO_VERBS_H

#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct verb {
    const char *name;                  // "": what runs without one, and has none
    const char *arguments;             // for the usage
    const char *what;                  // lines, each with its end
    int (*run)(int argc, char **argv); // argv[0] is the program, options begin at argv[1]
};

// main() of a demo: the first verb is what runs without one.
int demo_main(int argc, char **argv, const verb *const verbs[], size_t n);

// A long option without an argument, and one with: what options_next returns for it.
constexpr struct option option_flag(const char *name, int c)
{
    return {name, no_argument, nullptr, c};
}

constexpr struct option option_with(const char *name, int c)
{
    return {name, required_argument, nullptr, c};
}

// The next option of `argv`, or -1; prints the verb's usage on -h.
int options_next(int argc, char **argv, const char *shorts, const struct option *longs);

// A verb that has no options but -h, and `least` to `most` arguments (most < 0: any number); `what`
// it needs.  The arguments.
char **options_none(int argc, char **argv, int least, int most, const char *what);

// A verb whose one option is -n, a number from `least` to `most`: it, or the usual one.
long options_count(int argc, char **argv, long usual, long least, long most);

// "WHAT: WHICH", and the program ends with 2.
[[noreturn]] void options_bad(const char *what, const char *which);

// What the system refused: its message, and exit status 1.
[[noreturn]] void options_fail(const char *what);

// A whole number from `least` to `most`; a span of 0 to a million seconds, in nanoseconds.
long options_number(const char *text, long least, long most);
int64_t options_seconds(const char *text);

// At a verb's end: standard output may be a full disk or a closed pipe.
int options_finish(int status);

#endif
