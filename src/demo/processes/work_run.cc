// work_run.cc: one job as a command.
//
// Its lease is kept by heartbeats while it runs.  When that is over, or cannot be known to last, or
// the job's time is, the command ends with all that it started: another worker may run it by now.
#include "work.h"

#include "commands.h"
#include "remote.h"

#include <weft/shlex.h>
#include <weft/status.h>
#include <weft/subprocess.h>

#include <err.h>
#include <unistd.h>

// After that a signal is seen; the longest that a server which is silent keeps from that.
static const int64_t LOOK_NS = 250000000, SILENT_NS = 1000000000;

enum { LEAST_RESULT = 1000 }; // which a server takes whose memory is full

namespace {
struct running {
    weft_remote_jobs *queue;
    const weft_remote_job *job;
    weft_deadline lease, beat, limit; // until when it lasts for sure; the next; the job's own
    char *output;
    size_t size;    // of what is kept
    int64_t begins; // it was started
    char why[512];  // it failed
};
} // namespace

static int keep(const char *bytes, size_t n, void *arg)
{
    running *r = (running *)arg;
    size_t left = (size_t)work.output - r->size;
    n = n < left ? n : left;
    memcpy(r->output + r->size, bytes, n);
    r->size += n;
    return 0;
}

// The beginning of a job's value, as messages show it.
static void print_end(const running *r, const char *what)
{
    int n = (int)strcspn(r->job->value, "\n");
    fprintf(stderr, "%.*s: %s, %.2f s\n", n < 60 ? n : 60, r->job->value, what,
            (double)(weft_now() - r->begins) / 1e9);
}

static weft_deadline first(weft_deadline a, weft_deadline b)
{
    return a < b ? a : b;
}

// ---- The lease ----

// Its last line of output is what it says of its progress.
static void last_line(const running *r, char *note, size_t room)
{
    size_t end = r->size;
    while (end > 0 && r->output[end - 1] == '\n')
        end--;
    size_t begin = end;
    while (begin > 0 && r->output[begin - 1] != '\n' && end - begin < room - 1)
        begin--;
    memcpy(note, r->output + begin, end - begin);
    note[end - begin] = 0;
}

// false: the lease is over, or will be before that can be known.
static bool beat(running *r)
{
    char note[64];
    last_line(r, note, sizeof note);
    weft_deadline now = weft_now();
    weft_deadline until = first(first(r->lease, r->limit), weft_in_ns(SILENT_NS));
    if (weft_remote_jobs_heartbeat(r->queue, r->job->id, r->job->token, (int64_t)r->size, note,
                                   until) == 0) {
        r->lease = now + work.lease_ns;
        r->beat = now + work.lease_ns / 3;
        return true;
    }
    r->beat = weft_in_ms(200); // connects again
    return errno != EPERM && weft_left(r->lease) > 0;
}

// Says an end until it is known to have been heard, the lease is over or we are to end.  false: not
// heard.  What was unanswered and then is refused, within the lease, had been heard.
static bool say_end(running *r, work_end how)
{
    const weft_remote_job *j = r->job;
    bool unanswered = false;
    for (int64_t pause = 1;; pause = pause < 500 ? 2 * pause : 500) {
        weft_deadline last = first(r->lease, __atomic_load_n(&work.last, __ATOMIC_RELAXED));
        weft_deadline until = first(last, weft_in_ns(SILENT_NS));
        int said = how == WORK_DONE
                       ? weft_remote_jobs_done(r->queue, j->id, j->token, r->output, r->size, until)
                       : weft_remote_jobs_fail(
                             r->queue, j->id, j->token,
                             how == WORK_UNDONE ? WEFT_JOB_UNDONE : WEFT_JOB_AGAIN, r->why, until);
        if (said >= 0)
            return true;
        if (errno == EPERM || weft_left(last) == 0)
            return errno == EPERM && unanswered && weft_left(r->lease) > 0;
        unanswered |= errno == ECONNRESET;
        // Better a part of the result than the job once more.
        if (errno == ENOMEM && r->size > LEAST_RESULT)
            r->size = LEAST_RESULT;
        usleep((unsigned)pause * 1000);
    }
}

// ---- The command ----

static weft_subprocess *start(running *r, const weft_sink *sink)
{
    char id[48], token[48], tries[48];
    const char *const env[] = {id, token, tries, nullptr};
    snprintf(id, sizeof id, "JOB_ID=%lld", (long long)r->job->id);
    snprintf(token, sizeof token, "JOB_TOKEN=%lld", (long long)r->job->token);
    snprintf(tries, sizeof tries, "JOB_TRY=%d", r->job->tries);
    weft_subprocess_options o = {};
    o.in.kind = WEFT_STREAM_NULL;
    o.out.kind = WEFT_STREAM_PIPE;
    o.out.sink = sink;
    o.err.kind = WEFT_STREAM_STDOUT;
    o.env_add = env;
    o.process_group = WEFT_GROUP_NEW;
    o.flags = WEFT_SUBPROCESS_TREE | WEFT_SUBPROCESS_DIE_WITH_PARENT | WEFT_SUBPROCESS_SCRIPTS;
    if (strlen(r->job->value) != r->job->size) {
        snprintf(r->why, sizeof r->why, "has a NUL");
        return nullptr;
    }
    size_t at = 0;
    const char *const *argv = work.words != nullptr
                                  ? commands_apply(work.words, r->job->value)
                                  : weft_shlex_split(r->job->value, WEFT_SHLEX_COMMENTS, &at);
    weft_subprocess *p =
        argv != nullptr && argv[0] != nullptr ? weft_subprocess_start(argv, &o) : nullptr;
    if (argv == nullptr && work.words == nullptr)
        snprintf(r->why, sizeof r->why, "%s at byte %zu", weft_shlex_reason(r->job->value, at), at);
    else if (p == nullptr)
        snprintf(r->why, sizeof r->why, "%s: %s",
                 argv != nullptr && argv[0] != nullptr ? argv[0] : "no command", strerror(errno));
    free((void *)argv);
    return p;
}

// Until it has ended, or has to.  Whether, and how it is to be told then.
static bool watch(running *r, weft_subprocess *p, work_end *how)
{
    while (weft_subprocess_communicate(p, nullptr, 0, nullptr, nullptr,
                                       first(first(r->beat, r->limit), weft_in_ns(LOOK_NS))) < 0) {
        if (errno != ETIMEDOUT) {
            snprintf(r->why, sizeof r->why, "output: %s", strerror(errno));
            *how = WORK_FAILED;
            return false;
        }
        if (__atomic_load_n(&work.last, __ATOMIC_RELAXED) != WEFT_FOREVER) {
            *how = WORK_UNDONE;
            return false;
        }
        if (weft_left(r->limit) == 0) {
            snprintf(r->why, sizeof r->why, "out of time");
            *how = WORK_FAILED;
            return false;
        }
        if (weft_left(r->beat) == 0 && !beat(r)) {
            *how = WORK_LOST;
            return false;
        }
    }
    return true;
}

static work_end run_command(running *r)
{
    work_end how = WORK_FAILED;
    int status = 0;
    const weft_sink sink = {keep, r, false, 0, 0};
    weft_subprocess *p = start(r, &sink);
    if (p == nullptr)
        return WORK_FAILED;
    bool ended = watch(r, p, &how);
    // Another may have the job by now, unless it is given back.
    weft_subprocess_end(p, &status, WEFT_NOW, how == WORK_UNDONE ? weft_in_s(1) : WEFT_NOW,
                        WEFT_FOREVER);
    weft_subprocess_destroy(p);
    if (!ended)
        return how;
    if (status == 0)
        return WORK_DONE;
    weft_status_text(status, r->why, 64);
    return WORK_FAILED;
}

// What is wrong, and what the command said last.
static void add_output(running *r)
{
    size_t n = strlen(r->why), room = sizeof r->why - n - 3, size = r->size;
    while (size > 0 && r->output[size - 1] == '\n')
        size--;
    size_t end = size;
    size = size < room ? size : room;
    if (size > 0)
        snprintf(r->why + n, sizeof r->why - n, ": %.*s", (int)size, r->output + end - size);
}

work_end work_run(weft_remote_jobs *q, const weft_remote_job *j)
{
    static const char *const names[] = {"", "", "the lease is over", "given back"};
    running r = {};
    r.queue = q;
    r.job = j;
    r.begins = weft_now();
    r.lease = r.begins + work.lease_ns;
    r.beat = r.begins + work.lease_ns / 3;
    r.limit = j->limit_ns > 0 ? r.begins + j->limit_ns : WEFT_FOREVER;
    r.output = (char *)malloc((size_t)work.output + 1);
    if (r.output == nullptr)
        err(1, "memory");
    work_end how = run_command(&r);
    char shown[512];
    snprintf(shown, sizeof shown, "%s",
             how == WORK_DONE     ? "exit status 0"
             : how == WORK_FAILED ? r.why
                                  : names[how]);
    if (how == WORK_FAILED)
        add_output(&r);
    if (how != WORK_LOST && !say_end(&r, how) &&
        (how != WORK_FAILED || weft_left(r.limit) > 0)) { // or the queue knew it by itself
        how = WORK_LOST;
        snprintf(shown, sizeof shown, "%s", names[how]);
    }
    if (how != WORK_DONE || !work.quiet)
        print_end(&r, shown);
    free(r.output);
    return how;
}
