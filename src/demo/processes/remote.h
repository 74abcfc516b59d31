// remote.h: what the verbs for a manager are told, and their connection to it.
#ifndef WEFT_DEMO_REMOTE_H
#define WEFT_DEMO_REMOTE_H

#include "../verbs.h"

#include <weft/remote.h>

struct remote_order {
    const char *address, *name;
    const char *save, *metrics, *web, *password_file; // the server's
    char password[512];
    bool has_password;
    size_t memory;
    long count, capacity;
    weft_deadline end;
};

// Reads the options of a verb, of which `shorts` has the short ones, up to its arguments.
remote_order remote_read_options(int argc, char **argv, const char *shorts);

// The file's first line.
void remote_read_password(const char *file, remote_order *o);

// Takes ADDRESS and NAME from the arguments, of which there must be `least` to `most`.
char **remote_read_arguments(remote_order *o, int argc, char **argv, int least, int most,
                             const char *verb, const char *needs);

weft_client *remote_connect(const remote_order *o);

// What the last call said, on standard error.
void remote_warn(const char *what, const weft_remote *r);

// The same, and its end: 1 for a deadline that has passed, else the end.
int remote_failed(const char *what, weft_remote *r);

#define REMOTE_ADDRESS "ADDRESS: unix:PATH, unix:@NAME, tcp:HOST:PORT (needs a password)\n"

#endif
