// Redis's own clients on our server, unchanged: redis-cli, python3-redis and hiredis.  What is not
// installed is left out by name.
#include "../shm/processes.h"
#include "model.h"

#include <initializer_list>

static weft_manager *local, *tcp;
static char socket_path[128], port[16];

// ---- Running programs ----

static void put_file(const char *name, const char *text)
{
    char path[200];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

// What a shell command prints; $S is the socket, $P the port, $F the folder.  It must succeed.
static const char *run(const char *line)
{
    static char text[1 << 16];
    size_t n = 0;
    FILE *p = popen(line, "r");
    assert_non_null(p);
    for (size_t k; (k = fread(text + n, 1, sizeof text - 1 - n, p)) > 0;)
        n += k;
    text[n] = 0;
    int status = pclose(p);
    if (status != 0)
        fail_msg("%s: status %d, %s", line, status, text);
    return text;
}

#define prints(line, expected) assert_string_equal(run(line), expected)

static void leave_out(const char *what)
{
    fprintf(stderr, "%s: left out, needs %s\n", runner_test, what);
    skip();
}

static bool holds(const char *line)
{
    return system(line) == 0;
}

// ---- redis-cli ----

static void needs_cli(void)
{
    if (!has_program("redis-cli"))
        leave_out("redis-cli (redis-tools)");
    prints("redis-cli -s $S flushall", "OK\n");
}

CASE(test_cli_commands)
{
    needs_cli();
    prints("redis-cli -s $S ping", "PONG\n");
    prints("redis-cli -s $S set greeting 'hello world'", "OK\n");
    prints("redis-cli -s $S get greeting", "hello world\n");
    prints("redis-cli -s $S get nothing", "\n");
    prints("redis-cli -s $S --no-raw get nothing", "(nil)\n");
    prints("redis-cli -s $S rpush l a b c", "3\n");
    prints("redis-cli -s $S --no-raw lrange l 0 -1", "1) \"a\"\n2) \"b\"\n3) \"c\"\n");
    prints("redis-cli -s $S -n 3 set only here", "OK\n");
    prints("redis-cli -s $S exists only", "0\n");
    prints("redis-cli -s $S -n 3 exists only", "1\n");
    prints("redis-cli -s $S --no-raw get l",
           "(error) WRONGTYPE Operation against a key holding the wrong kind of value\n");
    prints("redis-cli -s $S -r 5 incr counter", "1\n2\n3\n4\n5\n");
    prints("printf 'from a file' | redis-cli -s $S -x set x", "OK\n");
    prints("redis-cli -s $S strlen x", "11\n");
    assert_non_null(strstr(run("redis-cli -s $S info server"), "redis_version:7."));
}

CASE(test_cli_resp3)
{
    needs_cli();
    prints("redis-cli -s $S -3 hset h field value", "1\n");
    prints("redis-cli -s $S -3 --no-raw hgetall h", "1# \"field\" => \"value\"\n");
    prints("redis-cli -s $S -3 --no-raw get nothing", "(nil)\n");
    prints("redis-cli -s $S -3 --json hgetall h", "{\"field\":\"value\"}\n");
}

CASE(test_cli_interactive)
{
    needs_cli();
    prints("printf 'select 2\\nset k 1\\nincr k\\nclient setname me\\nclient getname\\nnosuch\\n"
           "get k\\n' | redis-cli -s $S 2>&1",
           "OK\nOK\n2\nOK\nme\nERR unknown command 'nosuch', with args beginning with: \n\n2\n");
}

CASE(test_cli_scan)
{
    needs_cli();
    prints("for i in $(seq 1000); do echo set key:$i $i; done | redis-cli -s $S >/dev/null;"
           "redis-cli -s $S dbsize",
           "1000\n");
    prints("redis-cli -s $S --scan | sort -u | wc -l", "1000\n");
    prints("redis-cli -s $S --scan --pattern 'key:77*' | sort",
           "key:77\nkey:770\nkey:771\nkey:772\nkey:773\nkey:774\nkey:775\nkey:776\nkey:777\n"
           "key:778\nkey:779\n");
}

CASE(test_cli_pipe)
{
    needs_cli();
    const char *said = run("for i in $(seq 20000); do printf '*3\\r\\n$3\\r\\nSET\\r\\n$%d\\r\\nk%d"
                           "\\r\\n$1\\r\\nv\\r\\n' $((${#i} + 1)) $i; done |"
                           "redis-cli -s $S --pipe");
    assert_non_null(strstr(said, "errors: 0, replies: 20000"));
    prints("redis-cli -s $S dbsize", "20000\n");
}

CASE(test_cli_password)
{
    needs_cli();
    prints("redis-cli -p $P --no-auth-warning -a sesame ping", "PONG\n");
    prints("REDISCLI_AUTH=sesame redis-cli -p $P set k v", "OK\n");
    prints("redis-cli -u redis://default:sesame@127.0.0.1:$P --no-auth-warning get k", "v\n");
    assert_non_null(strstr(run("redis-cli -p $P get k 2>&1"), "NOAUTH"));
    assert_non_null(strstr(run("redis-cli -p $P --no-auth-warning -a wrong get k 2>&1"), "NOAUTH"));
}

CASE(test_cli_blocks)
{
    needs_cli();
    prints("redis-cli -s $S blpop q 10 & while ! redis-cli -s $S info clients |"
           "grep -q blocked_clients:1; do :; done; redis-cli -s $S rpush q job >/dev/null; wait",
           "q\njob\n");
}

// ---- python3-redis ----

static const char python_program[] = R"(
import redis, sys, threading

def use(r):
    assert r.ping()
    r.flushall()
    assert r.set('k', 'v') and r.get('k') == b'v'
    assert r.set('k', 'w', nx=True) is None
    assert r.set('k', 'w', get=True) == b'v'
    assert r.get('nothing') is None
    assert r.incr('n') == 1 and r.incrby('n', 5) == 6 and r.decr('n') == 5
    assert r.mset({'a': 1, 'b': 2}) and r.mget('a', 'b', 'c') == [b'1', b'2', None]
    assert r.expire('k', 100) and 0 < r.ttl('k') <= 100
    assert r.persist('k') and r.ttl('k') == -1
    assert r.append('k', 'xyz') == 4 and r.strlen('k') == 4 and r.getdel('k') == b'wxyz'
    assert r.rpush('l', 'a', 'b', 'c') == 3 and r.lrange('l', 0, -1) == [b'a', b'b', b'c']
    assert r.lpop('l') == b'a' and r.rpop('l', 2) == [b'c', b'b'] and r.llen('l') == 0
    assert r.rpush('l', 'x') and r.lmove('l', 'm', 'LEFT', 'RIGHT') == b'x'
    assert r.hset('h', mapping={'f': 1, 'g': 2}) == 2
    assert r.hgetall('h') == {b'f': b'1', b'g': b'2'} and r.hincrby('h', 'f', 9) == 10
    assert r.hmget('h', 'f', 'x') == [b'10', None] and r.hdel('h', 'f') == 1
    assert sorted(r.hkeys('h')) == [b'g'] and r.hvals('h') == [b'2']
    for i in range(500):
        r.set('scan:%d' % i, i)
    assert len(set(r.scan_iter('scan:*', count=20))) == 500
    assert r.type('h') == b'hash' and r.exists('h', 'l', 'm') == 2
    assert r.pipeline().set('x', 1).incr('x').get('x').execute() == [True, 2, b'2']
    with r.pipeline() as p:
        p.watch('x')
        assert p.get('x') == b'2'
        p.multi()
        p.set('x', 3)
        r.set('x', 4)
        try:
            p.execute()
            assert False
        except redis.WatchError:
            pass
    assert r.transaction(lambda p: (p.get('x'), p.multi(), p.incr('x')), 'x') == [5]
    s = r.pubsub()
    s.subscribe('news')
    s.psubscribe('n*')
    assert [s.get_message(timeout=20)['type'] for i in (1, 2)] == ['subscribe', 'psubscribe']
    assert r.publish('news', 'text') == 2
    m = [s.get_message(timeout=20) for i in (1, 2)]
    assert sorted((x['type'], x['data']) for x in m) == [('message', b'text'), ('pmessage', b'text')]
    assert r.pubsub_numsub('news') == [(b'news', 1)] and r.pubsub_numpat() == 1
    s.close()
    p = r.pipeline(transaction=False)
    for i in range(1000):
        p.incr('piped')
    assert p.execute() == list(range(1, 1001))
    try:
        r.lpush('n', 1)
        assert False
    except redis.ResponseError as e:
        assert str(e).startswith('WRONGTYPE') or 'wrong kind' in str(e)
    assert r.client_setname('me') and r.client_getname() in ('me', b'me')
    assert r.client_id() > 0 and len(r.client_list()) >= 1
    assert r.info()['redis_version'].startswith('7.')
    assert r.info('keyspace')['db0']['keys'] > 500
    assert r.config_get('maxmemory') == {'maxmemory': '0'}
    assert r.blpop('q', timeout=1) is None

def block(connect):
    got = []
    t = threading.Thread(target=lambda: got.append(connect().blpop(['q1', 'q2'], timeout=30)))
    t.start()
    r = connect()
    while r.info('clients')['blocked_clients'] < 1:
        pass
    r.rpush('q2', 'job')
    t.join()
    assert got == [(b'q2', b'job')], got

for connect in (lambda: redis.Redis(unix_socket_path=sys.argv[1]),
                lambda: redis.StrictRedis(host='127.0.0.1', port=int(sys.argv[2]), password='sesame'),
                lambda: redis.Redis.from_url('redis://default:sesame@127.0.0.1:%s/0' % sys.argv[2])):
    use(connect())
    block(connect)
for wrong in (None, 'wrong'):
    try:
        redis.Redis(port=int(sys.argv[2]), password=wrong).get('k')
        assert False
    except (redis.AuthenticationError, redis.ResponseError):
        pass
print('all is well')
)";

CASE(test_python_redis)
{
    if (!holds("/usr/bin/python3 -c 'import redis' 2>/dev/null"))
        leave_out("python3-redis");
    put_file("use.py", python_program);
    prints("/usr/bin/python3 $F/use.py $S $P 2>&1", "all is well\n");
}

// ---- hiredis ----

static const char hiredis_program[] = R"(
#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define must(x) do { if (!(x)) { printf("line %d: %s\n", __LINE__, #x); exit(1); } } while (0)

static void use(redisContext *c)
{
    redisReply *r;
    must(c != NULL && c->err == 0);
    must((r = redisCommand(c, "SET %s %b", "key", "a\0b", (size_t)3)) && r->type == REDIS_REPLY_STATUS);
    freeReplyObject(r);
    must((r = redisCommand(c, "GET key")) && r->len == 3 && memcmp(r->str, "a\0b", 3) == 0);
    freeReplyObject(r);
    must((r = redisCommand(c, "GET nothing")) && r->type == REDIS_REPLY_NIL);
    freeReplyObject(r);
    must((r = redisCommand(c, "NOSUCH")) && r->type == REDIS_REPLY_ERROR);
    freeReplyObject(r);
    for (int i = 0; i < 1000; i++)
        must(redisAppendCommand(c, "RPUSH list %d", i) == REDIS_OK);
    for (int i = 0; i < 1000; i++) {
        must(redisGetReply(c, (void **)&r) == REDIS_OK && r->integer == i + 1);
        freeReplyObject(r);
    }
    must((r = redisCommand(c, "LRANGE list 0 -1")) && r->elements == 1000);
    must(strcmp(r->element[999]->str, "999") == 0);
    freeReplyObject(r);
    must((r = redisCommand(c, "DEL list key")) && r->integer == 2);
    freeReplyObject(r);
    redisFree(c);
}

int main(int argc, char *argv[])
{
    redisContext *c = redisConnect("127.0.0.1", atoi(argv[2]));
    redisReply *r;
    must(argc == 3 && (r = redisCommand(c, "AUTH %s", "sesame")) && r->type == REDIS_REPLY_STATUS);
    freeReplyObject(r);
    use(c);
    use(redisConnectUnix(argv[1]));
    puts("all is well");
    return 0;
}
)";

CASE(test_hiredis)
{
    if (!holds("echo '#include <hiredis/hiredis.h>' | ${CC:-cc} -E - >/dev/null 2>&1"))
        leave_out("hiredis (libhiredis-dev)");
    put_file("use.c", hiredis_program);
    prints("${CC:-cc} -o $F/use $F/use.c -lhiredis 2>&1 && $F/use $S $P 2>&1", "all is well\n");
}

// ---- Running ----

static int begin(void **state)
{
    weft_manager_options o = {};
    o.password = "sesame";
    setenv("F", folder_make(), 1);
    census_begin(state);
    local = weft_manager_start(address_in_folder("socket"), nullptr);
    tcp = weft_manager_start("tcp:127.0.0.1:0", &o);
    if (local == nullptr || tcp == nullptr)
        return -1;
    snprintf(socket_path, sizeof socket_path, "%s", weft_manager_address(local) + 5);
    snprintf(port, sizeof port, "%s", strrchr(weft_manager_address(tcp), ':') + 1);
    setenv("S", socket_path, 1);
    setenv("P", port, 1);
    return 0;
}

static int end(void **state)
{
    weft_manager *both[] = {local, tcp};
    for (weft_manager *m : both) {
        if (weft_manager_end(m, weft_in_s(RAW_SECONDS)) != 0)
            return -1;
        weft_manager_destroy(m);
    }
    for (const char *name : {"use", "use.c", "use.py"}) {
        char path[200];
        snprintf(path, sizeof path, "%s/%s", folder, name);
        unlink(path);
    }
    return census_end(state) == 0 ? folder_remove() : -1;
}

RUN_CASES(begin, end)
