// command_server.cc: the server: INFO TIME, as Redis has them.
#include "commands.h"
#include "page.h"
#include "topic.h"

#include <base/number.h>

#include <sys/resource.h>
#include <sys/utsname.h>
#include <unistd.h>

using namespace weft;

// ---- INFO ----

static void about_server(server *s, page *out)
{
    int64_t up = (weft_now() - s->started) / 1000000000;
    struct utsname os;
    uname(&os);
    print(out,
          "redis_version:7.0.0\r\nredis_mode:standalone\r\nserver_name:weft\r\n"
          "os:%s %s "
          "%s\r\narch_bits:%zu\r\nprocess_id:%d\r\ntcp_port:%d\r\nuptime_in_seconds:%lld\r\nuptime_"
          "in_days:%lld\r\n",
          os.sysname, os.release, os.machine, 8 * sizeof(void *), (int)getpid(), s->port,
          (long long)up, (long long)(up / 86400));
}

static void about_clients(server *s, page *out)
{
    print(out, "connected_clients:%zu\r\nmaxclients:%zu\r\nblocked_clients:%zu\r\n", s->count,
          s->o.max_clients, s->waiting);
}

size_t weft::memory_resident(void)
{
    size_t all, pages = 0;
    FILE *f = fopen("/proc/self/statm", "re");
    if (f != nullptr && fscanf(f, "%zu %zu", &all, &pages) != 2)
        pages = 0;
    if (f != nullptr)
        fclose(f);
    return pages * (size_t)sysconf(_SC_PAGESIZE);
}

static void about_memory(server *s, page *out)
{
    print(out,
          "used_memory:%zu\r\nused_memory_human:%.2fM\r\nused_memory_rss:%zu\r\nmaxmemory:%zu\r\n"
          "maxmemory_human:%.2fM\r\nmaxmemory_policy:noeviction\r\n",
          bytes_in_use, (double)bytes_in_use / 1048576, memory_resident(), s->o.max_memory,
          (double)s->o.max_memory / 1048576);
}

static void about_persistence(server *s, page *out)
{
    const saves *x = &s->save;
    print(out,
          "loading:0\r\nrdb_bgsave_in_progress:%d\r\nrdb_last_save_time:%lld\r\n"
          "rdb_last_bgsave_status:%s\r\nrdb_last_bgsave_time_sec:%lld\r\n"
          "rdb_current_bgsave_time_sec:%lld\r\naof_enabled:0\r\n",
          x->pid != 0, (long long)x->last, x->error == 0 ? "ok" : "err",
          (long long)(x->begun != 0 ? x->took / 1000000000 : -1),
          (long long)(x->pid != 0 ? (weft_now() - x->begun) / 1000000000 : -1));
}

static void about_stats(server *s, page *out)
{
    print(out,
          "total_connections_received:%llu\r\ntotal_commands_processed:%llu\r\n"
          "rejected_connections:%llu\r\nexpired_keys:%llu\r\nevicted_keys:0\r\n"
          "keyspace_hits:%llu\r\nkeyspace_misses:%llu\r\n"
          "pubsub_channels:%zu\r\npubsub_patterns:%zu\r\n",
          (unsigned long long)s->connections, (unsigned long long)s->commands,
          (unsigned long long)s->refused, (unsigned long long)s->expired,
          (unsigned long long)s->hits, (unsigned long long)s->misses, topics_in(s, &s->channels),
          topics_in(s, &s->patterns));
}

static void about_replication(server *, page *out)
{
    print(out, "role:master\r\nconnected_slaves:0\r\n");
}

static void about_cpu(server *, page *out)
{
    struct rusage r;
    getrusage(RUSAGE_SELF, &r);
    print(out, "used_cpu_sys:%lld.%06ld\r\nused_cpu_user:%lld.%06ld\r\n",
          (long long)r.ru_stime.tv_sec, (long)r.ru_stime.tv_usec, (long long)r.ru_utime.tv_sec,
          (long)r.ru_utime.tv_usec);
}

static void about_command(const command_row *c, page *out)
{
    const command_counts *n = &c->counts;
    if (n->calls + n->rejected + n->failed > 0)
        print(out,
              "cmdstat_%s:calls=%llu,usec=%llu,usec_per_call=%.2f,rejected_calls=%llu,"
              "failed_calls=%llu\r\n",
              c->name, (unsigned long long)n->calls, (unsigned long long)n->ns / 1000,
              n->calls > 0 ? (double)n->ns / 1000 / (double)n->calls : 0.0,
              (unsigned long long)n->rejected, (unsigned long long)n->failed);
}

static void about_commands(server *, page *out)
{
    for (int i = 0; i < commands_count; i++) {
        const command_row *c = &commands[i];
        about_command(c, out);
        for (c = c->below; c != nullptr && c->name != nullptr; c++)
            about_command(c, out);
    }
}

static void about_cluster(server *, page *out)
{
    print(out, "cluster_enabled:0\r\n");
}

static void about_weft(server *s, page *out)
{
    print(out, "weft_locks_held:%zu\r\nweft_places:%zu\r\nweft_last_token:%lld\r\n", s->locks,
          s->places.count, (long long)s->token);
    if (s->metrics != nullptr)
        print(out, "weft_metrics:%s\r\n", metrics_address(s));
}

static void about_keyspace(server *s, page *out)
{
    for (int db = 0; db < DATABASES; db++)
        if (s->keys[db].count > 0)
            print(out, "db%d:keys=%zu,expires=%zu,avg_ttl=0\r\n", db, s->keys[db].count,
                  s->expiring[db]);
}

void weft::command_info(peer *p, const word *words, int n)
{
    static const struct {
        const char *title, *name;
        void (*about)(server *s, page *out);
        bool asked; // only when asked for
    } sections[] = {{"Server", "server", about_server, false},
                    {"Clients", "clients", about_clients, false},
                    {"Memory", "memory", about_memory, false},
                    {"Persistence", "persistence", about_persistence, false},
                    {"Stats", "stats", about_stats, false},
                    {"Replication", "replication", about_replication, false},
                    {"CPU", "cpu", about_cpu, false},
                    {"Commandstats", "commandstats", about_commands, true},
                    {"Cluster", "cluster", about_cluster, false},
                    {"Weft", "weft", about_weft, false},
                    {"Keyspace", "keyspace", about_keyspace, false}};
    page out = {};
    for (const auto &each : sections) {
        bool wanted = n == 1 && !each.asked;
        for (int i = 1; i < n; i++)
            wanted = wanted || word_is(&words[i], each.name) || word_is(&words[i], "all") ||
                     word_is(&words[i], "everything") ||
                     (word_is(&words[i], "default") && !each.asked);
        if (!wanted)
            continue;
        print(&out, "%s# %s\r\n", out.n > 0 ? "\r\n" : "", each.title);
        each.about(p->server, &out);
    }
    reply_page(p, out.n > 0 ? out.text : "", out.n);
    memory_give(out.text);
}

// Seconds and microseconds since 1970.
void weft::command_time(peer *p, const word *, int)
{
    struct timespec t;
    char text[NUMBER_ROOM];
    clock_gettime(CLOCK_REALTIME, &t);
    reply_array(p, 2);
    reply_string(p, text, number_print(text, t.tv_sec));
    reply_string(p, text, number_print(text, t.tv_nsec / 1000));
}
