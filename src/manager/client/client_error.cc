// client_error.cc: what an error reply means.
#include "client.h"

#include <base/errno.h>

#include <stdio.h>

using namespace weft;

namespace {
struct meaning {
    const char *begins; // the reply's text
    int error;
};
} // namespace

static const meaning meanings[] = {
    {"CLOSED", EPIPE},
    {"TOOBIG", EMSGSIZE},
    {"TOOMANY", EINVAL},
    {"DEADLOCK", EDEADLK},
    {"NOTOWNER", EPERM},
    {"NOSUCH", ENOENT},
    {"BROKEN", EPIPE},
    {"OWNERDEAD", EOWNERDEAD},
    {"PARTIES", EINVAL},
    {"DELETED", EIDRM},
    {"WRONGTYPE", EINVAL},
    {"NOAUTH", EACCES},
    {"WRONGPASS", EACCES},
    {"NOPERM", EACCES},
    {"LOADING ", EAGAIN}, // these six: it surely did not run, however often it was tried
    {"BUSY ", EAGAIN},
    {"TRYAGAIN ", EAGAIN},
    {"CLUSTERDOWN", EAGAIN},
    {"MASTERDOWN", EAGAIN},
    {"READONLY ", EAGAIN},
    {"OOM", ENOMEM},
    {"ERR max number of clients", ECONNREFUSED},
    {"ERR no such key", ENOENT},
    {"ERR index out of range", ENOENT},
    {"ERR increment or decrement would overflow", EOVERFLOW},
    {"ERR value is not an integer", EINVAL}, // a value's key holds other text
};

int weft::client_errno(weft_client *c, const weft_reply *error)
{
    size_t n = error->size < sizeof c->error - 1 ? error->size : sizeof c->error - 1;
    memcpy(c->error, error->text, n);
    c->error[n] = 0;
    for (size_t i = 0; i < sizeof meanings / sizeof *meanings; i++)
        if (strncmp(error->text, meanings[i].begins, strlen(meanings[i].begins)) == 0)
            return meanings[i].error;
    return EPROTO;
}

int weft::client_fail(weft_client *c, int error, const char *what, int how)
{
    if (how != 0)
        snprintf(c->error, sizeof c->error, "%s: %s", what, strerror(how));
    else
        snprintf(c->error, sizeof c->error, "%s", what);
    return fail_with(error);
}
