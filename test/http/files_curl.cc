// What curl(1) makes of a served folder: the answers as a client of others' reads them.
#include "filed.h"

static char said[1 << 16];

static bool is_there(const char *program)
{
    char command[100];
    snprintf(command, sizeof command, "command -v %s >/dev/null 2>&1", program);
    return system(command) == 0;
}

// Runs a command of the shell in the folder beside the root, with $U for the server; what it has
// written is `said`, its exit status returned.
static int run(const char *command)
{
    int out[2];
    assert_int_equal(pipe2(out, O_CLOEXEC), 0);
    pid_t p = runner_fork();
    if (p == 0) {
        char url[200];
        snprintf(url, sizeof url, "http://%s", server_address + 4);
        setenv("U", url, 1);
        unsetenv("http_proxy");
        dup2(out[1], 1);
        if (chdir(site_top) == 0)
            execl("/bin/sh", "sh", "-c", command, nullptr);
        _exit(127);
    }
    close(out[1]);
    size_t n = 0;
    for (ssize_t got; (got = weft_io_read(out[0], said + n, sizeof said - 1 - n, soon())) > 0;)
        n += (size_t)got;
    said[n] = 0;
    weft_io_close(out[0]);
    return end_of(p);
}

static void check(const char *command, const char *expected)
{
    int status = run(command);
    if (status != 0 || strcmp(said, expected) != 0)
        fail_msg("%s: %d, %s", command, status, said);
}

SITE_CASE(test_files_by_curl)
{
    if (!is_there("curl")) {
        print_message("left out, no curl\n");
        return;
    }
    char *bytes = make_bytes(1000000, 9);
    put_bytes("large.bin", bytes, 1000000);
    put_text("a b.txt", "hello\n");
    put_folder("folder");
    put_text("folder/index.html", "index\n");
    put_text("../secret", "secret\n");
    set_time("a b.txt", 784111777);
    serve_files();
    check("curl -sS \"$U/a%20b.txt\"", "hello\n");
    check("curl -sSL \"$U/folder\"", "index\n");
    check("curl -sS -r 1-2 \"$U/a%20b.txt\"", "el");
    check("curl -sS -o got \"$U/large.bin\" && cmp got root/large.bin && echo same", "same\n");
    // A download that goes on, and one that finds nothing new.
    check("head -c 345678 root/large.bin >got; curl -sS -C - -o got \"$U/large.bin\" && "
          "cmp got root/large.bin && echo same",
          "same\n");
    check("curl -sS -r 0-9,500000-500099,-10 \"$U/large.bin\" -o parts -w '%{http_code}'", "206");
    check("curl -sS -o none -w '%{http_code}' -z 'Sun, 06 Nov 1994 08:49:37 GMT' \"$U/a%20b.txt\"",
          "304");
    check("curl -sS -o got --etag-save etag \"$U/large.bin\" && "
          "curl -sS -o none -w '%{http_code}' --etag-compare etag \"$U/large.bin\"",
          "304");
    check("curl -sS -R -o dated \"$U/a%20b.txt\" && stat -c %Y dated", "784111777\n");
    check("curl -sSI -o none -w '%{http_code}' \"$U/large.bin\"", "200");
    check("curl -sS --path-as-is -o none -w '%{http_code}' \"$U/../secret\"", "400");
    check("curl -sS --path-as-is -o none -w '%{http_code}' \"$U/folder/%2e%2e/..%2fsecret\"",
          "400");
    check("for i in 1 2 3; do echo \"url=$U/large.bin\"; echo output=got$i; done | curl -sS -K - "
          "-Z && "
          "cmp got1 got2 && cmp got2 got3 && cmp got3 root/large.bin && echo same",
          "same\n");
    if (is_there("gzip")) {
        check("cd root && head -c 100000 /dev/zero >zeros.txt && gzip -k zeros.txt", "");
        check("curl -sS --compressed -o got -w '%{size_download}' \"$U/zeros.txt\" >size && "
              "cmp got root/zeros.txt && test $(cat size) -lt 1000 && echo same",
              "same\n");
        check("curl -sS -o got \"$U/zeros.txt\" && cmp got root/zeros.txt && echo same", "same\n");
    }
    free(bytes);
    unserve_files();
}

RUN_CASES()
