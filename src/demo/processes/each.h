// each.h: the parts of `weft-processes each`: its options, its input, its bar, its log.
#ifndef WEFT_DEMO_EACH_H
#define WEFT_DEMO_EACH_H

#include <stddef.h>
#include <stdint.h>

#include <weft/subprocess_map.h>

// After so many ends of a kind no more are started, or what runs is ended, too.
struct halt_rule {
    enum { NEVER, FAIL, SUCCESS, DONE } after;
    size_t count, percent; // of all, once all have been read; 0: count says
    int verdict;
};

// What the command line says.
struct each_options {
    int jobs, tries;
    int64_t limit_ns;
    bool in_order, tag, by_lines, quiet;
    halt_rule halt;
};

extern each_options how;

// ---- each.cc ----

// Runs them; the exit status.
int each_run(void);

// ---- each_input.cc: commands from standard input ----

// A command that was read.
struct job {
    job *before, *after;             // among those not freed
    size_t number;                   // from 1, among all that were read
    const char *const *argv;         // null: it could not be split, which was said
    char *line;                      // as it was read
    char *name;                      // the command, as reports show it
    weft_subprocess_options options; // its own, where its lines are printed as they come
    weft_sink sink;
};

// Lines end with `end`.  Each is a command or, with `words`, an argument of that one.
void input_begin(int end, char *const words[]);

// The next one, to be freed; it does not wait.  1; 0: there are no more; -1: errno, EAGAIN: none
// now.
int input_next(job **j);

void job_free(job *j);

// Frees those that were not told of, since a signal came before.
void input_end(void);

// What kept the rest from being read, for a message, or null.
const char *input_fault(void);

// How many commands there are, once all has been read; 0 before.
size_t input_total(void);

// ---- each_bar.cc: what standard error shows while commands run ----

void bar_begin(size_t (*total)(void));

// Between these two standard error is the caller's, and the bar is not seen.
void bar_hide(void);
void bar_show(void);

// It is not seen any more.
void bar_end(void);

// They count, and draw.
void bar_starts(void);
void bar_ends(bool again, bool failed);
void bar_redraw(void);

// ---- each_log.cc: a line for each command that has ended ----

// Opens the log, for us alone.  resume: keeps what is there, but for a torn last line.
void log_open(const char *path, bool resume);

// Whether the log had this command when it was opened, and how many it had.
bool log_has(const job *j);
size_t log_count(void);

// One line, which is written whole or not at all.  -1: errno.
int log_add(const job *j, const weft_subprocess_result *r, int error);

#endif
