// ask.cc: on Redis, the commands that it does not have.
//
// A script is asked until it does not answer null.  Between two tries the client waits for an item
// to appear in a list, if the operation is about one: BLMOVE of a list's first item to where it is
// blocks until there is one and changes nothing.  Else it sleeps, from 1 ms to 50 ms.
//
// EVAL sends the script's text each time: the server has it compiled already, and nothing is to be
// remembered about which scripts it knows.
#include "scripts.h"

#include <manager/client/remote.h>

#include <base/errno.h>

#include <stdio.h>

using namespace weft;

static const int64_t FIRST_PAUSE_MS = 1, LONGEST_PAUSE_MS = 50;
static const int64_t LATE_BY = 120000000; // ns: Redis ends waits ten times a second
enum { MOST = 9 + REMOTE_MOST_WORDS };    // EVAL, script, count, 4 keys, id, lease

static client_word key(const weft_remote *r, const redis_script *how, int i)
{
    size_t tag;
    client_word w = client_bytes(r->name, r->name_size);
    if (i > 1) {
        // In braces, if there are none in the name: a cluster keeps the keys of one thing together.
        w.before = client_key_tag(r->name, r->name_size, &tag) == nullptr ? "weft:{" : "weft::";
        w.after = how->keys[i - 2];
    }
    return w;
}

namespace {
struct numbers {
    char count[NUMBER_ROOM], id[NUMBER_ROOM], lease[NUMBER_ROOM];
};
} // namespace

// EVAL SCRIPT COUNT KEY... ID LEASE WORD...; how many words that is.
static size_t write_eval(const weft_remote *r, const remote_operation *op, const char *script,
                         const client_word words[], size_t n, numbers *text, client_word all[MOST])
{
    size_t k = 0;
    int keys = 1;
    while (keys <= 3 && op->redis.keys[keys - 1] != nullptr)
        keys++;
    all[k++] = client_text("EVAL");
    all[k++] = client_text(script);
    all[k++] = client_number(text->count, keys);
    for (int i = 1; i <= keys; i++)
        all[k++] = key(r, &op->redis, i);
    all[k++] = client_number(text->id, (int64_t)(r->client->id >> 1));
    all[k++] = client_number(text->lease, WEFT_REMOTE_LEASE_NS / 1000000);
    for (size_t i = 0; i < n; i++)
        if (!remote_waits(&words[i], 1))
            all[k++] = words[i];
    return k;
}

int weft::redis_put(bytes *to, const weft_remote *r, const remote_operation *op,
                    const client_word words[], size_t n, size_t more)
{
    numbers text;
    client_word all[MOST];
    size_t k = write_eval(r, op, op->redis.text, words, n, &text, all);
    return client_put(to, all, k, more);
}

static weft_reply *eval(weft_remote *r, const remote_operation *op, const char *script,
                        const client_word words[], size_t n)
{
    numbers text;
    client_word all[MOST];
    client_tries t = {};
    weft_reply *reply;
    size_t k = write_eval(r, op, script, words, n, &text, all);
    int late = script == op->redis.text ? op->late : LATE_DROP;
    do
        reply = client_ask(r->client, all, k, late);
    while (client_again(r->client, &t, &reply));
    return reply;
}

// Until the list has an item, the slice is over or the deadline is so near that it would be late.
static weft_reply *block(weft_remote *r, const redis_script *how, weft_deadline d)
{
    char seconds[48];
    client_word list = key(r, how, how->block);
    client_tries t = {};
    weft_reply *reply;
    do {
        weft_deadline slice = how->slice_ms > 0 ? weft_in_ms(how->slice_ms) : WEFT_FOREVER;
        slice = d == WEFT_FOREVER || slice < d - LATE_BY ? slice : d - LATE_BY;
        strcpy(seconds, "0");
        if (slice != WEFT_FOREVER) {
            int64_t ms = weft_left(slice) / 1000000;
            ms += ms == 0; // that would be for ever
            snprintf(seconds, sizeof seconds, "%lld.%03d", (long long)(ms / 1000),
                     (int)(ms % 1000));
        }
        client_word all[] = {
            client_text("BLMOVE"), list, list, client_text("LEFT"), client_text("LEFT"),
            client_text(seconds)};
        reply = client_ask(r->client, all, 6, LATE_DROP);
    } while (client_again(r->client, &t, &reply));
    return reply;
}

// Sleeps a little longer each time.  -1: ECANCELED.
static int pause_for(weft_client *c, int64_t *ms, weft_deadline d)
{
    weft_deadline until = weft_in_ms(*ms);
    *ms = 2 * *ms < LONGEST_PAUSE_MS ? 2 * *ms : LONGEST_PAUSE_MS;
    return client_sleep(c, until < d ? until : d);
}

// Sleeps until the script may go on, as far as the cheaper one can tell.
static weft_reply *sleep_until_ready(weft_remote *r, const remote_operation *op,
                                     const client_word words[], size_t n, int64_t *ms,
                                     weft_deadline d)
{
    weft_reply *sign = nullptr;
    do {
        weft_reply_free(sign);
        if (pause_for(r->client, ms, d) != 0)
            return nullptr;
        // Without the last word, which may be large.
        const char *ready = op->redis.ready;
        sign = ready != nullptr ? eval(r, op, ready, words, n - 1)
                                : eval(r, op, op->redis.text, words, n);
    } while (sign != nullptr && sign->type == WEFT_REPLY_NULL && weft_left(d) > 0);
    return sign;
}

weft_reply *weft::redis_ask(weft_remote *r, const remote_operation *op, const client_word words[],
                            size_t n, weft_deadline d)
{
    const redis_script *how = &op->redis;
    d = remote_wait_end(d);
    bool waits = remote_waits(words, n);
    for (int64_t ms = FIRST_PAUSE_MS;;) {
        weft_reply *reply = eval(r, op, how->text, words, n);
        if (reply == nullptr || reply->type != WEFT_REPLY_NULL || !waits || weft_left(d) == 0)
            return reply;
        weft_reply_free(reply);
        bool blocks = how->block > 0 && weft_left(d) > LATE_BY;
        if (how->block > 0 && !blocks) {
            if (pause_for(r->client, &ms, d) != 0)
                return nullptr;
            continue;
        }
        reply = blocks ? block(r, how, d) : sleep_until_ready(r, op, words, n, &ms, d);
        bool again = blocks ? !how->item_will_do : how->ready != nullptr;
        bool in_vain = reply != nullptr && reply->type == WEFT_REPLY_NULL;
        if (reply == nullptr || reply->type == WEFT_REPLY_ERROR || (!again && !in_vain) ||
            (!blocks && in_vain && weft_left(d) == 0))
            return reply;
        weft_reply_free(reply);
    }
}
