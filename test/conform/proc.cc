// What weft(7) says of deadlines, stops, signals, errno and NULL, of the calls of libweft-proc.
#include <weft/pipeline.h>
#include <weft/shell.h>
#include <weft/subprocess.h>
#include <weft/subprocess_map.h>

#include "conform.h"

static char bytes[1 << 16];
static const char *const SLEEP[] = {"sleep", "1000", NULL}, *const CAT[] = {"cat", NULL},
                         *const TRUE[] = {"true", NULL};
static const char *const *sleeps[] = {SLEEP, SLEEP}, *const *cats[] = {CAT, CAT};
static const char *const *trues[] = {TRUE, TRUE};
static weft_subprocess_options options;
static weft_subprocess *child;
static weft_pipeline *line;
static pid_t id, second;
static FILE *stream;

static void begin(void)
{
    options.flags = WEFT_SUBPROCESS_DIE_WITH_PARENT;
    options.in.kind = options.out.kind = WEFT_STREAM_PIPE;
}

static void begin_child(const char *const argv[])
{
    begin();
    it = child = weft_subprocess_start(argv, &options);
    id = weft_subprocess_pid(child);
}

static void begin_line(const char *const *const argvs[])
{
    begin();
    it = line = weft_pipeline_start(argvs, 2, &options);
    id = weft_subprocess_pid(weft_pipeline_stage(line, 0));
    second = weft_subprocess_pid(weft_pipeline_stage(line, 1));
}

static void end_it(void)
{
    if (id > 0)
        kill(id, SIGKILL);
    if (second > 0)
        kill(second, SIGKILL);
}

static void go_on(void)
{
    kill(id, SIGCONT);
}

static void stop_it(void)
{
    siginfo_t info;
    kill(id, SIGSTOP);
    waitid(P_PID, (id_t)id, &info, WSTOPPED | WNOWAIT);
}

// It is stopped, and its pipe is full.
static void begin_full_child(void)
{
    begin_child(CAT);
    stop_it();
    while (weft_subprocess_write(child, bytes, sizeof bytes, WEFT_NOW) > 0)
        ;
}

static void begin_full_line(void)
{
    begin_line(cats);
    stop_it();
    while (weft_pipeline_write(line, bytes, sizeof bytes, WEFT_NOW) > 0)
        ;
}

// For the other end, which the caller's thread has.
static int ours;

static void write_ours(void)
{
    if (write(ours, "x", 1) != 1)
        abort();
}

static int ignore(size_t, const weft_subprocess_result *, int, void *)
{
    return WEFT_MAP_GO_ON;
}

static const weft_subprocess_map_options *batch(void)
{
    static weft_subprocess_map_options b;
    b.ended = ignore;
    return &b;
}

// Its last stage, which begins at `d`, ends it in any case.
static weft_deadline beyond(weft_deadline d)
{
    return d == WEFT_FOREVER ? d : weft_in_s(100);
}

static const row ROWS[] = {
    ROW(weft_subprocess_join, (it, NULL, d), DO(begin_child(SLEEP)), end_it),
    ROW(weft_subprocess_join_any, (it, 1, d), DO(begin_child(SLEEP); it = &child), end_it),
    ROW(weft_subprocess_communicate, (it, NULL, 0, NULL, NULL, d), DO(begin_child(SLEEP)), end_it),
    ROW(weft_subprocess_read, (it, 1, bytes, sizeof bytes, d),
        DO(begin_child(CAT); ours = weft_subprocess_stream(child, 0)), write_ours),
    ROW(weft_subprocess_write, (it, bytes, 1, d), begin_full_child, go_on, 0, end_it),
    ROW(weft_subprocess_end, (it, NULL, d, d, beyond(d)), DO(begin_child(SLEEP)), end_it,
        SLEEPS | HASTENED),
    ROW(weft_subprocess_run, (it, &options, NULL, d), DO(it = SLEEP), DO(it = TRUE), ALONE),
    ROW(weft_subprocess_map, (it, 2, &options, batch(), d), DO(it = sleeps), DO(it = trues), ALONE),
    ROW(weft_system, (it, NULL, d), DO(it = "sleep 1000"), DO(it = "true"), ALONE),
    ROW(weft_pclose, (it, stream, NULL, d),
        DO(it = child = weft_popen("exec sleep 1000", "r", &stream);
           id = weft_subprocess_pid(child)),
        end_it),
    ROW(weft_pipeline_join, (it, NULL, d), DO(begin_line(sleeps)), end_it),
    ROW(weft_pipeline_communicate, (it, NULL, 0, NULL, NULL, d), DO(begin_line(sleeps)), end_it),
    ROW(weft_pipeline_read, (it, 1, bytes, sizeof bytes, d),
        DO(begin_line(cats); ours = weft_pipeline_stream(line, 0)), write_ours),
    ROW(weft_pipeline_write, (it, bytes, 1, d), begin_full_line, go_on, 0, end_it),
    ROW(weft_pipeline_end, (it, NULL, d, d, beyond(d)), DO(begin_line(sleeps)), end_it,
        SLEEPS | HASTENED),
    ROW(weft_pipeline_run, (it, 2, &options, NULL, NULL, d), DO(it = sleeps), DO(it = trues),
        ALONE),
};
RUN_ROWS(ROWS)
