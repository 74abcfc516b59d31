// command_server.cc: the server: INFO, CONFIG GET, COMMAND, SHUTDOWN, as Redis has them.
#include "commands.h"
#include "server.h"

#include <stdarg.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <unistd.h>

using namespace weft;

// ---- INFO ----

namespace {
struct page {
    char text[8192];
    size_t n;
};
} // namespace

__attribute__((format(printf, 2, 3))) static void print(page *out, const char *format, ...)
{
    va_list rest;
    va_start(rest, format);
    int n = vsnprintf(out->text + out->n, sizeof out->text - out->n, format, rest);
    va_end(rest);
    out->n += (size_t)n < sizeof out->text - out->n ? (size_t)n : 0;
}

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

static size_t resident(void)
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
          bytes_in_use, (double)bytes_in_use / 1048576, resident(), s->o.max_memory,
          (double)s->o.max_memory / 1048576);
}

static void about_persistence(server *, page *out)
{
    print(out, "loading:0\r\nrdb_bgsave_in_progress:0\r\naof_enabled:0\r\n");
}

static void about_stats(server *s, page *out)
{
    print(out,
          "total_connections_received:%llu\r\ntotal_commands_processed:%llu\r\n"
          "rejected_connections:%llu\r\nexpired_keys:%llu\r\nevicted_keys:0\r\n"
          "keyspace_hits:%llu\r\nkeyspace_misses:%llu\r\n",
          (unsigned long long)s->connections, (unsigned long long)s->commands,
          (unsigned long long)s->refused, (unsigned long long)s->expired,
          (unsigned long long)s->hits, (unsigned long long)s->misses);
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

static void about_cluster(server *, page *out)
{
    print(out, "cluster_enabled:0\r\n");
}

static void about_weft(server *s, page *out)
{
    print(out, "weft_locks_held:%zu\r\nweft_places:%zu\r\nweft_last_token:%lld\r\n", s->locks,
          s->places.count, (long long)s->token);
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
    } sections[] = {
        {"Server", "server", about_server}, {"Clients", "clients", about_clients},
        {"Memory", "memory", about_memory}, {"Persistence", "persistence", about_persistence},
        {"Stats", "stats", about_stats},    {"Replication", "replication", about_replication},
        {"CPU", "cpu", about_cpu},          {"Cluster", "cluster", about_cluster},
        {"Weft", "weft", about_weft},       {"Keyspace", "keyspace", about_keyspace}};
    page out;
    out.n = 0;
    for (const auto &each : sections) {
        bool wanted = n == 1;
        for (int i = 1; i < n; i++)
            wanted = wanted || word_is(&words[i], each.name) || word_is(&words[i], "all") ||
                     word_is(&words[i], "default") || word_is(&words[i], "everything");
        if (!wanted)
            continue;
        print(&out, "%s# %s\r\n", out.n > 0 ? "\r\n" : "", each.title);
        each.about(p->server, &out);
    }
    reply_page(p, out.text, out.n);
}

// ---- CONFIG ----

static void config_get(peer *p, const word *words, int n)
{
    const weft_manager_options *o = &p->server->o;
    char memory[24], clients[24], message[24], reply[80], port[24];
    const char *const settings[][2] = {{"appendonly", "no"},
                                       {"bind", ""},
                                       {"client-output-buffer-limit", reply},
                                       {"databases", "16"},
                                       {"maxclients", clients},
                                       {"maxmemory", memory},
                                       {"maxmemory-policy", "noeviction"},
                                       {"port", port},
                                       {"proto-max-bulk-len", message},
                                       {"save", ""},
                                       {"timeout", "0"}};
    const size_t count = sizeof settings / sizeof *settings;
    bool wanted[count] = {};
    size_t found = 0;
    snprintf(memory, sizeof memory, "%zu", o->max_memory);
    snprintf(clients, sizeof clients, "%zu", o->max_clients);
    snprintf(message, sizeof message, "%zu", o->max_message);
    snprintf(port, sizeof port, "%d", p->server->port);
    snprintf(reply, sizeof reply, "normal %zu 0 0", o->max_reply);
    for (size_t k = 0; k < count; k++) {
        for (int i = 2; i < n && !wanted[k]; i++) {
            char pattern[64];
            size_t size = words[i].size < sizeof pattern ? words[i].size : 0;
            for (size_t c = 0; c < size; c++)
                pattern[c] = (char)(words[i].text[c] |
                                    (words[i].text[c] >= 'A' && words[i].text[c] <= 'Z') << 5);
            wanted[k] = glob_matches(pattern, size, settings[k][0], strlen(settings[k][0]));
        }
        found += wanted[k];
    }
    reply_map(p, found);
    for (size_t k = 0; k < count; k++) {
        if (!wanted[k])
            continue;
        reply_text(p, settings[k][0]);
        reply_text(p, settings[k][1]);
    }
}

void weft::command_config(peer *p, const word *words, int n)
{
    static const command_row subcommands[] = {{"config|get", config_get, -3, 0, 0, 0, 0}};
    subcommand(p, words, n, "config", subcommands, 1);
}

// ---- COMMAND ----

static void describe(peer *p, const command_row *c)
{
    bool writes = c->flags & COMMAND_WRITES;
    int flags = 1 + ((c->flags & COMMAND_ADDS) != 0) + ((c->flags & COMMAND_WAITS) != 0) +
                ((c->flags & COMMAND_OPEN) != 0);
    reply_array(p, 10);
    reply_text(p, c->name);
    reply_integer(p, c->words);
    reply_set(p, (size_t)flags);
    reply_status(p, writes ? "write" : "readonly");
    if (c->flags & COMMAND_ADDS)
        reply_status(p, "denyoom");
    if (c->flags & COMMAND_WAITS)
        reply_status(p, "blocking");
    if (c->flags & COMMAND_OPEN)
        reply_status(p, "no_auth");
    reply_integer(p, c->first);
    reply_integer(p, c->last);
    reply_integer(p, c->step);
    reply_set(p, 0);   // categories
    reply_array(p, 0); // tips
    reply_array(p, 0); // key specifications
    reply_array(p, 0); // subcommands
}

static void command_count(peer *p, const word *, int)
{
    reply_integer(p, commands_count);
}

static void command_docs(peer *p, const word *, int)
{
    reply_map(p, 0); // the manual has them
}

static void command_list(peer *p, const word *, int)
{
    reply_array(p, (size_t)commands_count);
    for (int i = 0; i < commands_count; i++)
        reply_text(p, commands[i].name);
}

static void command_command_info(peer *p, const word *words, int n)
{
    reply_array(p, n > 2 ? (size_t)n - 2 : (size_t)commands_count);
    for (int i = 0; n == 2 && i < commands_count; i++)
        describe(p, &commands[i]);
    for (int i = 2; i < n; i++) {
        const command_row *c = command_find(&words[i]);
        if (c != nullptr)
            describe(p, c);
        else
            reply_null(p);
    }
}

void weft::command_command(peer *p, const word *words, int n)
{
    static const command_row subcommands[] = {
        {"command|count", command_count, 2, 0, 0, 0, 0},
        {"command|docs", command_docs, -2, 0, 0, 0, 0},
        {"command|list", command_list, 2, 0, 0, 0, 0},
        {"command|info", command_command_info, -2, 0, 0, 0, 0}};
    static const word all[] = {{"command", 7}, {"info", 4}};
    if (n == 1)
        command_command_info(p, all, 2);
    else
        subcommand(p, words, n, "command", subcommands, 4);
}

// ---- SHUTDOWN ----

// SHUTDOWN [NOSAVE|SAVE] [NOW] [FORCE] | ABORT: there is nothing to save, nor to wait for.
void weft::command_shutdown(peer *p, const word *words, int n)
{
    static const char *const known[] = {"nosave", "save", "now", "force", "abort"};
    enum { NOSAVE = 1, SAVE = 2, ABORT = 16 };
    int given = 0;
    for (int i = 1; i < n; i++) {
        int k = 0;
        while (k < 5 && !word_is(&words[i], known[k]))
            k++;
        given |= 1 << k;
    }
    if (given > ABORT || (given & (NOSAVE | SAVE)) == (NOSAVE | SAVE))
        reply_syntax(p);
    else if (given == ABORT)
        reply_error(p, "ERR No shutdown in progress.");
    else
        server_end(p->server);
}
