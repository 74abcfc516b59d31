// What weft(7) says of deadlines, signals, errno and NULL, of the calls of libweft-async that
// belong in weft_io_run.  A stop of the thread is not for its tasklets: they are cancelled.
#include <weft/file.h>
#include <weft/io.h>
#include <weft/offload.h>

#include "conform.h"
#include "inside.h"

#include <async/file_request.h>

#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>

static char bytes[4096];
static struct iovec piece = {bytes, 1};
static struct msghdr message;
static weft_io_datagram datagram = {bytes, 1, 1, 0, false, 0, {}};
static int ends[2]; // ours, the other

// ---- Sockets ----

static void begin_read(void)
{
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends) != 0)
        abort();
    message.msg_iov = &piece;
    message.msg_iovlen = 1;
}

static void give(void)
{
    if (write(ends[1], "x", 1) != 1)
        abort();
}

static void begin_write(void)
{
    begin_read();
    while (send(ends[0], bytes, sizeof bytes, MSG_DONTWAIT) > 0)
        ;
    while (send(ends[0], bytes, 1, MSG_DONTWAIT) > 0)
        ;
}

static void drain(void)
{
    while (recv(ends[1], bytes, sizeof bytes, MSG_DONTWAIT) > 0)
        ;
}

static weft_io_buffer *new_buffer(void)
{
    static char room[64];
    static weft_io_buffer b;
    b = {room, sizeof room, 0, 0};
    return &b;
}

static weft_io_buffer *buffer;
static char *text;
static int file;

static void begin_sendfile(void)
{
    begin_write();
    file = open("/proc/self/exe", O_RDONLY);
}

// One that passes on what it gets, a byte at a time.
static char passed[2];
static int held[2]; // to be read, to be sent
static weft_io_filter filter;

static ssize_t filter_read(weft_io_filter *, void *buf, size_t)
{
    if (held[0] == 0)
        return WEFT_IO_WANT_READ;
    memcpy(buf, passed, 1);
    return held[0]--;
}

static ssize_t filter_write(weft_io_filter *, const void *, size_t)
{
    return held[1] == 0 ? ++held[1] : WEFT_IO_WANT_WRITE;
}

static int filter_push(weft_io_filter *, const void *, size_t)
{
    held[0] = 1;
    return 0;
}

static ssize_t filter_take(weft_io_filter *, void *, size_t)
{
    return held[1] > 0 ? held[1]-- : 0;
}

static void begin_filter(int sending)
{
    static char in[1], out[1];
    held[0] = 0;
    held[1] = sending;
    filter = {filter_read,   filter_write,   NULL, filter_push, filter_take, NULL,
              {in, 1, 0, 0}, {out, 1, 0, 0}, NULL, NULL,        NULL,        false};
}

// ---- Connections ----

static struct sockaddr_in place;
static socklen_t size = sizeof place;
static int listener;
static char address[64];
static struct addrinfo list;

static void begin_accept(void)
{
    listener = socket(AF_INET, SOCK_STREAM, 0);
    place.sin_family = AF_INET;
    place.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (bind(listener, (struct sockaddr *)&place, size) != 0 || listen(listener, 0) != 0 ||
        getsockname(listener, (struct sockaddr *)&place, &size) != 0)
        abort();
}

static void connect_one(void)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    connect(fd, (struct sockaddr *)&place, size);
}

static const struct sockaddr *whose(void)
{
    place.sin_family = AF_INET;
    return (const struct sockaddr *)&place;
}

// Nobody accepts, and no more are taken.
static void begin_connect(void)
{
    begin_accept();
    for (int i = 0; i < 4; i++)
        connect_one();
    snprintf(address, sizeof address, "tcp:127.0.0.1:%d", ntohs(place.sin_port));
    it = address;
}

static void begin_connect_any(void)
{
    begin_connect();
    list.ai_family = AF_INET;
    list.ai_socktype = SOCK_STREAM;
    list.ai_addr = (struct sockaddr *)&place;
    list.ai_addrlen = size;
    it = &list;
}

static void accept_all(void)
{
    listen(listener, 64);
    fcntl(listener, F_SETFL, O_NONBLOCK);
    while (accept(listener, NULL, NULL) >= 0)
        ;
}

// ---- Work elsewhere ----

static int gate[2];
static char fifo[64];
static struct addrinfo *found_names;
static struct stat status;

static void *pass_gate(void *)
{
    char c;
    while (read(gate[0], &c, 1) != 1)
        ;
    return NULL;
}

static void release_nothing(void *, void *)
{
}

static void begin_work(void)
{
    if (pipe(gate) != 0)
        abort();
}

static void open_gate(void)
{
    if (write(gate[1], "x", 1) != 1)
        abort();
}

static void begin_fifo(void)
{
    snprintf(fifo, sizeof fifo, "/tmp/weft-conform-%d", getpid());
    if (mkfifo(fifo, 0600) != 0)
        abort();
}

static void open_other_end(void)
{
    if (open(fifo, O_RDWR) < 0)
        abort();
}

static void remove_fifo(void)
{
    unlink(fifo);
}

static void *open_fifo(void *)
{
    weft_offload_open(fifo, O_RDONLY, 0, WEFT_FOREVER);
    return NULL;
}

// The only thread for files opens a FIFO, which waits.
static void begin_file(void)
{
    begin_fifo();
    weft::files_by_ring = false;
    weft_offload_set_threads(WEFT_OFFLOAD_FILES, 1);
    file = open("/proc/self/stat", O_RDONLY);
    weft_tasklet_spawn(open_fifo, NULL, NULL);
    weft_tasklet_yield();
}

static void begin_own_file(void)
{
    begin_file();
    file = open("/tmp", O_TMPFILE | O_RDWR, 0600);
}

static weft_file_entry *entries;
static char folder[80];

static void begin_folder(void)
{
    begin_file();
    snprintf(folder, sizeof folder, "%s.d", fifo);
}

static void remove_folder(void)
{
    rmdir(folder);
    remove_fifo();
}

enum { IO = NO_HANDLE | UNSTOPPED };

static const row ROWS[] = {
    ROW(weft_io_read, (ends[0], bytes, 1, d), begin_read, give, IO),
    ROW(weft_io_read_all, (ends[0], bytes, 1, d), begin_read, give, IO),
    ROW(weft_io_readv, (ends[0], &piece, 1, d), begin_read, give, IO),
    ROW(weft_io_read_until, (ends[0], buffer, "x", 1, &text, d),
        DO(begin_read(); buffer = new_buffer()), give, IO),
    ROW(weft_io_read_buffered, (ends[0], buffer, bytes, 1, d),
        DO(begin_read(); buffer = new_buffer()), give, IO),
    ROW(weft_io_skip_until, (ends[0], buffer, "x", 1, d), DO(begin_read(); buffer = new_buffer()),
        give, IO),
    ROW(weft_io_write_buffered, (ends[0], buffer, bytes, 65, d),
        DO(begin_write(); buffer = new_buffer()), drain, IO),
    ROW(weft_io_flush, (ends[0], buffer, d),
        DO(begin_write(); buffer = new_buffer(); buffer->end = 1), drain, IO),
    ROW(weft_io_filter_read, (ends[0], &filter, bytes, 1, d), DO(begin_read(); begin_filter(0)),
        give, IO),
    ROW(weft_io_filter_write, (ends[0], &filter, bytes, 1, d), DO(begin_write(); begin_filter(1)),
        drain, IO),
    ROW(weft_io_filter_shutdown, (ends[0], &filter, d), DO(begin_write(); begin_filter(1)), drain,
        IO),
    ROW(weft_io_recv, (ends[0], bytes, 1, 0, d), begin_read, give, IO),
    ROW(weft_io_recvfrom, (ends[0], bytes, 1, 0, NULL, NULL, d), begin_read, give, IO),
    ROW(weft_io_recvmsg, (ends[0], &message, 0, d), begin_read, give, IO),
    ROW(weft_io_write, (ends[0], bytes, 1, d), begin_write, drain, IO),
    ROW(weft_io_writev, (ends[0], &piece, 1, d), begin_write, drain, IO),
    ROW(weft_io_sendfile, (ends[0], file, NULL, 1, d), begin_sendfile, drain, IO),
    ROW(weft_io_send, (ends[0], bytes, 1, 0, d), begin_write, drain, IO),
    ROW(weft_io_sendto, (ends[0], bytes, 1, 0, NULL, 0, d), begin_write, drain, IO),
    ROW(weft_io_sendmsg, (ends[0], &message, 0, d), begin_write, drain, IO),
    ROW(weft_io_recv_many, (ends[0], &datagram, 1, d), begin_read, give, IO),
    ROW(weft_io_send_many, (ends[0], &datagram, 1, d), begin_write, drain, IO),
    ROW(weft_io_copy, (ends[0], file, 1, d), DO(begin_read(); file = open("/dev/null", O_WRONLY)),
        give, IO),
    ROW(weft_io_send_fd, (ends[0], ends[1], d), begin_write, drain, IO),
    ROW(weft_io_recv_fd, (ends[0], d), begin_read, DO(weft_io_send_fd(ends[1], ends[1], WEFT_NOW)),
        IO),
    ROW(weft_io_wait, (ends[0], WEFT_READ, d), begin_read, give, IO),
    ROW(weft_io_accept, (listener, d), begin_accept, connect_one, IO),
    ROW(weft_io_connect, (it, d), begin_connect, accept_all, UNSTOPPED),
    ROW(weft_io_connect_any, (it, d), begin_connect_any, accept_all, UNSTOPPED),

    ROW(weft_offload, (it, NULL, NULL, d), DO(begin_work(); it = (void *)pass_gate), open_gate,
        UNSTOPPED),
    ROW(weft_offload_owned, (it, NULL, release_nothing, NULL, d),
        DO(begin_work(); it = (void *)pass_gate), open_gate, UNSTOPPED),
    // What no name server is asked for; what takes long there is not a test's to say.
    ROW(weft_offload_getaddrinfo, ("127.0.0.1", "80", NULL, &found_names, NULL, d), DO(), DO(),
        IO | ANSWERS),
    ROW(weft_offload_getnameinfo,
        (whose(), size, bytes, sizeof bytes, NULL, 0, NI_NUMERICHOST, NULL, d), DO(), DO(),
        IO | ANSWERS),
    ROW(weft_offload_open, (fifo, O_RDONLY, 0, d), begin_fifo, open_other_end, IO, remove_fifo),
    ROW(weft_offload_stat, ("/", &status, d), begin_file, open_other_end, IO, remove_fifo),
    ROW(weft_offload_fsync, (file, d), begin_own_file, open_other_end, IO, remove_fifo),
    ROW(weft_offload_pread, (file, bytes, 1, 0, d), begin_file, open_other_end, IO, remove_fifo),
    ROW(weft_offload_pwrite, (file, bytes, 1, 0, d), begin_own_file, open_other_end, IO,
        remove_fifo),

    ROW(weft_file_open, (fifo, O_RDONLY, 0, d), begin_fifo, open_other_end, IO, remove_fifo),
    ROW(weft_file_pread, (file, bytes, 1, 0, d), begin_file, open_other_end, IO, remove_fifo),
    ROW(weft_file_pwrite, (file, bytes, 1, 0, d), begin_own_file, open_other_end, IO, remove_fifo),
    ROW(weft_file_fsync, (file, d), begin_own_file, open_other_end, IO, remove_fifo),
    ROW(weft_file_truncate, (file, 1, d), begin_own_file, open_other_end, IO, remove_fifo),
    ROW(weft_file_stat, ("/", &status, d), begin_file, open_other_end, IO, remove_fifo),
    ROW(weft_file_lstat, ("/", &status, d), begin_file, open_other_end, IO, remove_fifo),
    ROW(weft_file_readdir, ("/proc/self", &entries, d), begin_file, open_other_end, IO,
        remove_fifo),
    ROW(weft_file_rename, (fifo, fifo, d), begin_file, open_other_end, IO, remove_fifo),
    ROW(weft_file_unlink, (fifo, d), begin_file, open_other_end, IO, remove_fifo),
    ROW(weft_file_mkdir, (folder, 0700, d), begin_folder, open_other_end, IO, remove_folder),
    ROW(weft_file_rmdir, (folder, d), DO(begin_folder(); mkdir(folder, 0700)), open_other_end, IO,
        remove_folder),
};
RUN_ROWS(ROWS, {in_io, later})
