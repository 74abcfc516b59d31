// commands.h: the functions of the commands, a row each in commands.cc.
#ifndef WEFT_MANAGER_COMMANDS_H
#define WEFT_MANAGER_COMMANDS_H

#include "server.h"

void weft_private_command_ping(weft_private_peer *p, const weft_private_word *words, int n);
void weft_private_command_echo(weft_private_peer *p, const weft_private_word *words, int n);
void weft_private_command_auth(weft_private_peer *p, const weft_private_word *words, int n);
void weft_private_command_hello(weft_private_peer *p, const weft_private_word *words, int n);
void weft_private_command_select(weft_private_peer *p, const weft_private_word *words, int n);
void weft_private_command_client(weft_private_peer *p, const weft_private_word *words, int n);
void weft_private_command_command(weft_private_peer *p, const weft_private_word *words, int n);
void weft_private_command_quit(weft_private_peer *p, const weft_private_word *words, int n);
void weft_private_command_reset(weft_private_peer *p, const weft_private_word *words, int n);
void weft_private_command_del(weft_private_peer *p, const weft_private_word *words, int n);
void weft_private_command_exists(weft_private_peer *p, const weft_private_word *words, int n);
void weft_private_command_type(weft_private_peer *p, const weft_private_word *words, int n);
void weft_private_command_expire(weft_private_peer *p, const weft_private_word *words, int n);
void weft_private_command_pexpire(weft_private_peer *p, const weft_private_word *words, int n);
void weft_private_command_ttl(weft_private_peer *p, const weft_private_word *words, int n);
void weft_private_command_pttl(weft_private_peer *p, const weft_private_word *words, int n);
void weft_private_command_persist(weft_private_peer *p, const weft_private_word *words, int n);
void weft_private_command_keys(weft_private_peer *p, const weft_private_word *words, int n);
void weft_private_command_scan(weft_private_peer *p, const weft_private_word *words, int n);
void weft_private_command_dbsize(weft_private_peer *p, const weft_private_word *words, int n);
void weft_private_command_flushall(weft_private_peer *p, const weft_private_word *words, int n);
void weft_private_command_get(weft_private_peer *p, const weft_private_word *words, int n);
void weft_private_command_set(weft_private_peer *p, const weft_private_word *words, int n);
void weft_private_command_getdel(weft_private_peer *p, const weft_private_word *words, int n);
void weft_private_command_mget(weft_private_peer *p, const weft_private_word *words, int n);
void weft_private_command_mset(weft_private_peer *p, const weft_private_word *words, int n);
void weft_private_command_incr(weft_private_peer *p, const weft_private_word *words, int n);
void weft_private_command_decr(weft_private_peer *p, const weft_private_word *words, int n);
void weft_private_command_incrby(weft_private_peer *p, const weft_private_word *words, int n);
void weft_private_command_decrby(weft_private_peer *p, const weft_private_word *words, int n);
void weft_private_command_append(weft_private_peer *p, const weft_private_word *words, int n);
void weft_private_command_strlen(weft_private_peer *p, const weft_private_word *words, int n);
void weft_private_command_lpush(weft_private_peer *p, const weft_private_word *words, int n);
void weft_private_command_rpush(weft_private_peer *p, const weft_private_word *words, int n);
void weft_private_command_lpop(weft_private_peer *p, const weft_private_word *words, int n);
void weft_private_command_rpop(weft_private_peer *p, const weft_private_word *words, int n);
void weft_private_command_llen(weft_private_peer *p, const weft_private_word *words, int n);
void weft_private_command_lrange(weft_private_peer *p, const weft_private_word *words, int n);
void weft_private_command_lindex(weft_private_peer *p, const weft_private_word *words, int n);
void weft_private_command_lset(weft_private_peer *p, const weft_private_word *words, int n);
void weft_private_command_lrem(weft_private_peer *p, const weft_private_word *words, int n);
void weft_private_command_lmove(weft_private_peer *p, const weft_private_word *words, int n);
void weft_private_command_blpop(weft_private_peer *p, const weft_private_word *words, int n);
void weft_private_command_brpop(weft_private_peer *p, const weft_private_word *words, int n);
void weft_private_command_blmove(weft_private_peer *p, const weft_private_word *words, int n);
void weft_private_command_hset(weft_private_peer *p, const weft_private_word *words, int n);
void weft_private_command_hget(weft_private_peer *p, const weft_private_word *words, int n);
void weft_private_command_hmget(weft_private_peer *p, const weft_private_word *words, int n);
void weft_private_command_hdel(weft_private_peer *p, const weft_private_word *words, int n);
void weft_private_command_hlen(weft_private_peer *p, const weft_private_word *words, int n);
void weft_private_command_hexists(weft_private_peer *p, const weft_private_word *words, int n);
void weft_private_command_hgetall(weft_private_peer *p, const weft_private_word *words, int n);
void weft_private_command_hkeys(weft_private_peer *p, const weft_private_word *words, int n);
void weft_private_command_hvals(weft_private_peer *p, const weft_private_word *words, int n);
void weft_private_command_hincrby(weft_private_peer *p, const weft_private_word *words, int n);
void weft_private_command_info(weft_private_peer *p, const weft_private_word *words, int n);
void weft_private_command_config(weft_private_peer *p, const weft_private_word *words, int n);
void weft_private_command_shutdown(weft_private_peer *p, const weft_private_word *words, int n);
void weft_private_command_put(weft_private_peer *p, const weft_private_word *words, int n);
void weft_private_command_get_item(weft_private_peer *p, const weft_private_word *words, int n);
void weft_private_command_done(weft_private_peer *p, const weft_private_word *words, int n);
void weft_private_command_join(weft_private_peer *p, const weft_private_word *words, int n);
void weft_private_command_close(weft_private_peer *p, const weft_private_word *words, int n);
void weft_private_command_open(weft_private_peer *p, const weft_private_word *words, int n);
void weft_private_command_lock(weft_private_peer *p, const weft_private_word *words, int n);
void weft_private_command_unlock(weft_private_peer *p, const weft_private_word *words, int n);
void weft_private_command_semaphore(weft_private_peer *p, const weft_private_word *words, int n);
void weft_private_command_acquire(weft_private_peer *p, const weft_private_word *words, int n);
void weft_private_command_release(weft_private_peer *p, const weft_private_word *words, int n);
void weft_private_command_units(weft_private_peer *p, const weft_private_word *words, int n);
void weft_private_command_barrier(weft_private_peer *p, const weft_private_word *words, int n);
void weft_private_command_break(weft_private_peer *p, const weft_private_word *words, int n);
void weft_private_command_reset_barrier(weft_private_peer *p, const weft_private_word *words,
                                        int n);
void weft_private_command_waiting(weft_private_peer *p, const weft_private_word *words, int n);
void weft_private_command_set_event(weft_private_peer *p, const weft_private_word *words, int n);
void weft_private_command_clear_event(weft_private_peer *p, const weft_private_word *words, int n);
void weft_private_command_is_set(weft_private_peer *p, const weft_private_word *words, int n);
void weft_private_command_wait_event(weft_private_peer *p, const weft_private_word *words, int n);
void weft_private_command_replace(weft_private_peer *p, const weft_private_word *words, int n);

// Runs the one of `subcommands` ("name|this") that the second word names, or says that there is
// none.
void weft_private_subcommand(weft_private_peer *p, const weft_private_word *words, int n,
                             const char *name, const weft_private_command *subcommands,
                             size_t count);

#endif
