// commands.h: the functions of the commands, a row each in commands.cc.
#ifndef WEFT_MANAGER_COMMANDS_H
#define WEFT_MANAGER_COMMANDS_H

#include "server.h"

namespace weft {

void command_ping(peer *p, const word *words, int n);
void command_echo(peer *p, const word *words, int n);
void command_auth(peer *p, const word *words, int n);
void command_hello(peer *p, const word *words, int n);
void command_select(peer *p, const word *words, int n);
void command_command(peer *p, const word *words, int n);
void command_quit(peer *p, const word *words, int n);
void command_reset(peer *p, const word *words, int n);
void command_multi(peer *p, const word *words, int n);
void command_exec(peer *p, const word *words, int n);
void command_discard(peer *p, const word *words, int n);
void command_watch(peer *p, const word *words, int n);
void command_unwatch(peer *p, const word *words, int n);
void command_subscribe(peer *p, const word *words, int n);
void command_psubscribe(peer *p, const word *words, int n);
void command_unsubscribe(peer *p, const word *words, int n);
void command_punsubscribe(peer *p, const word *words, int n);
void command_publish(peer *p, const word *words, int n);
void command_del(peer *p, const word *words, int n);
void command_exists(peer *p, const word *words, int n);
void command_type(peer *p, const word *words, int n);
void command_expire(peer *p, const word *words, int n);
void command_pexpire(peer *p, const word *words, int n);
void command_expireat(peer *p, const word *words, int n);
void command_pexpireat(peer *p, const word *words, int n);
void command_expiretime(peer *p, const word *words, int n);
void command_pexpiretime(peer *p, const word *words, int n);
void command_rename(peer *p, const word *words, int n);
void command_renamenx(peer *p, const word *words, int n);
void command_copy(peer *p, const word *words, int n);
void command_move(peer *p, const word *words, int n);
void command_swapdb(peer *p, const word *words, int n);
void command_randomkey(peer *p, const word *words, int n);
void command_time(peer *p, const word *words, int n);
void command_ttl(peer *p, const word *words, int n);
void command_pttl(peer *p, const word *words, int n);
void command_persist(peer *p, const word *words, int n);
void command_keys(peer *p, const word *words, int n);
void command_scan(peer *p, const word *words, int n);
void command_dbsize(peer *p, const word *words, int n);
void command_flushall(peer *p, const word *words, int n);
void command_flushdb(peer *p, const word *words, int n);
void command_get(peer *p, const word *words, int n);
void command_set(peer *p, const word *words, int n);
void command_setex(peer *p, const word *words, int n);
void command_psetex(peer *p, const word *words, int n);
void command_setnx(peer *p, const word *words, int n);
void command_getset(peer *p, const word *words, int n);
void command_getex(peer *p, const word *words, int n);
void command_msetnx(peer *p, const word *words, int n);
void command_incrbyfloat(peer *p, const word *words, int n);
void command_setrange(peer *p, const word *words, int n);
void command_setbit(peer *p, const word *words, int n);
void command_getbit(peer *p, const word *words, int n);
void command_getrange(peer *p, const word *words, int n);
void command_getdel(peer *p, const word *words, int n);
void command_mget(peer *p, const word *words, int n);
void command_mset(peer *p, const word *words, int n);
void command_incr(peer *p, const word *words, int n);
void command_decr(peer *p, const word *words, int n);
void command_incrby(peer *p, const word *words, int n);
void command_decrby(peer *p, const word *words, int n);
void command_append(peer *p, const word *words, int n);
void command_strlen(peer *p, const word *words, int n);
void command_lpush(peer *p, const word *words, int n);
void command_rpush(peer *p, const word *words, int n);
void command_lpop(peer *p, const word *words, int n);
void command_rpop(peer *p, const word *words, int n);
void command_lpushx(peer *p, const word *words, int n);
void command_rpushx(peer *p, const word *words, int n);
void command_lpos(peer *p, const word *words, int n);
void command_linsert(peer *p, const word *words, int n);
void command_ltrim(peer *p, const word *words, int n);
void command_lmpop(peer *p, const word *words, int n);
void command_rpoplpush(peer *p, const word *words, int n);
void command_blmpop(peer *p, const word *words, int n);
void command_brpoplpush(peer *p, const word *words, int n);
void command_llen(peer *p, const word *words, int n);
void command_lrange(peer *p, const word *words, int n);
void command_lindex(peer *p, const word *words, int n);
void command_lset(peer *p, const word *words, int n);
void command_lrem(peer *p, const word *words, int n);
void command_lmove(peer *p, const word *words, int n);
void command_blpop(peer *p, const word *words, int n);
void command_brpop(peer *p, const word *words, int n);
void command_blmove(peer *p, const word *words, int n);
void command_hset(peer *p, const word *words, int n);
void command_hget(peer *p, const word *words, int n);
void command_hmget(peer *p, const word *words, int n);
void command_hdel(peer *p, const word *words, int n);
void command_hlen(peer *p, const word *words, int n);
void command_hexists(peer *p, const word *words, int n);
void command_hgetall(peer *p, const word *words, int n);
void command_hkeys(peer *p, const word *words, int n);
void command_hvals(peer *p, const word *words, int n);
void command_hincrby(peer *p, const word *words, int n);
void command_hmset(peer *p, const word *words, int n);
void command_hsetnx(peer *p, const word *words, int n);
void command_hstrlen(peer *p, const word *words, int n);
void command_hincrbyfloat(peer *p, const word *words, int n);
void command_hrandfield(peer *p, const word *words, int n);
void command_hscan(peer *p, const word *words, int n);
void command_sadd(peer *p, const word *words, int n);
void command_srem(peer *p, const word *words, int n);
void command_smembers(peer *p, const word *words, int n);
void command_sismember(peer *p, const word *words, int n);
void command_smismember(peer *p, const word *words, int n);
void command_scard(peer *p, const word *words, int n);
void command_spop(peer *p, const word *words, int n);
void command_srandmember(peer *p, const word *words, int n);
void command_smove(peer *p, const word *words, int n);
void command_sinter(peer *p, const word *words, int n);
void command_sinterstore(peer *p, const word *words, int n);
void command_sintercard(peer *p, const word *words, int n);
void command_sunion(peer *p, const word *words, int n);
void command_sunionstore(peer *p, const word *words, int n);
void command_sdiff(peer *p, const word *words, int n);
void command_sdiffstore(peer *p, const word *words, int n);
void command_sscan(peer *p, const word *words, int n);
void command_info(peer *p, const word *words, int n);
void command_shutdown(peer *p, const word *words, int n);
void command_put(peer *p, const word *words, int n);
void command_get_item(peer *p, const word *words, int n);
void command_done(peer *p, const word *words, int n);
void command_pending(peer *p, const word *words, int n);
void command_join(peer *p, const word *words, int n);
void command_close(peer *p, const word *words, int n);
void command_open(peer *p, const word *words, int n);
void command_lock(peer *p, const word *words, int n);
void command_unlock(peer *p, const word *words, int n);
void command_semaphore(peer *p, const word *words, int n);
void command_acquire(peer *p, const word *words, int n);
void command_release(peer *p, const word *words, int n);
void command_units(peer *p, const word *words, int n);
void command_barrier(peer *p, const word *words, int n);
void command_break(peer *p, const word *words, int n);
void command_reset_barrier(peer *p, const word *words, int n);
void command_waiting(peer *p, const word *words, int n);
void command_set_event(peer *p, const word *words, int n);
void command_clear_event(peer *p, const word *words, int n);
void command_is_set(peer *p, const word *words, int n);
void command_wait_event(peer *p, const word *words, int n);
void command_list_places(peer *p, const word *words, int n);
void command_delete_place(peer *p, const word *words, int n);
void command_replace(peer *p, const word *words, int n);
void command_job_put(peer *p, const word *words, int n);
void command_job_take(peer *p, const word *words, int n);
void command_job_beat(peer *p, const word *words, int n);
void command_job_done(peer *p, const word *words, int n);
void command_job_fail(peer *p, const word *words, int n);
void command_job_get(peer *p, const word *words, int n);
void command_job_wait(peer *p, const word *words, int n);
void command_job_list(peer *p, const word *words, int n);
void command_job_retry(peer *p, const word *words, int n);
void command_job_remove(peer *p, const word *words, int n);
void command_job_pause(peer *p, const word *words, int n);
void command_job_count(peer *p, const word *words, int n);

// command_key.cc: as TYPE names it.
const char *type_name(unsigned type);

// command_hash.cc: sets a field: whether it is new.
bool hash_set(table *t, const word *field, const char *text, size_t n);

// command_set.cc: replies as SRANDMEMBER and HRANDFIELD do, `head` with how many, and each: so many
// different ones of a table, or, below 0, any.  And the count of those: false: the peer was told.
void reply_random(peer *p, table *t, int64_t count, void (*head)(peer *p, size_t n),
                  void (*reply)(peer *p, entry *e));
bool parse_count(peer *p, const word *w, int64_t *count);

void command_save(peer *p, const word *words, int n);
void command_bgsave(peer *p, const word *words, int n);
void command_lastsave(peer *p, const word *words, int n);
void command_wait(peer *p, const word *words, int n);

// Subcommands, up to one without a name; what HELP says of them.
void command_help(peer *p, const word *words, int n);
extern const command_row client_subcommands[], command_subcommands[], config_subcommands[],
    object_subcommands[], memory_subcommands[], pubsub_subcommands[];

// command_client.cc: false: the peer was told.  command_connection.cc.
bool client_name(peer *p, const word *name);
bool is_default_user(const word *name);

} // namespace weft

#endif
