/* A C++ program against the installed tree: lambdas without captures are callbacks, what they need
 * goes by way of arg, and a destroy is the deleter of a std::unique_ptr. */
#include <weft/weft.h>

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>

#include <sys/wait.h>
#include <unistd.h>

template <auto destroy> struct deleter {
    template <class T> void operator()(T *t) const
    {
        destroy(t);
    }
};
template <class T, auto destroy> using owned = std::unique_ptr<T, deleter<destroy>>;

using queue = owned<weft_queue, weft_queue_destroy>;
using executor = owned<weft_executor, weft_executor_destroy>;
using generator = owned<weft_generator, weft_generator_destroy>;
using channel = owned<weft_channel, weft_channel_destroy>;
using subprocess = owned<weft_subprocess, weft_subprocess_destroy>;
using segment = owned<weft_shm, weft_shm_detach>;
using shared_queue = owned<weft_shared_queue, weft_shared_queue_destroy>;
using process = owned<weft_process, weft_process_destroy>;
using loop = owned<weft_loop, weft_loop_destroy>;
using manager = owned<weft_manager, weft_manager_destroy>;
using client = owned<weft_client, weft_client_destroy>;
using dict = owned<weft_remote_dict, weft_remote_destroy>;

static void check(bool is_true, const char *what)
{
    if (is_true)
        return;
    std::perror(what);
    std::exit(1);
}

static void threads()
{
    queue q(weft_queue_create(sizeof(int), 4, nullptr));
    weft_thread *t = weft_thread_start(
        [](void *arg) -> void * {
            auto *to = static_cast<weft_queue *>(arg);
            for (int i = 1; i <= 100; i++)
                weft_queue_put(to, &i, WEFT_FOREVER);
            weft_queue_close(to, WEFT_DRAIN);
            return nullptr;
        },
        q.get(), nullptr);
    int i, sum = 0;
    while (weft_queue_get(q.get(), &i, weft_in_s(30)) == 0)
        sum += i;
    check(weft_thread_join(t, nullptr, weft_in_s(30)) == 0 && sum == 5050, "a thread");

    executor ex(weft_executor_create(2, nullptr));
    std::string word = "twelve";
    weft_future *f = weft_executor_submit(
        ex.get(),
        [](void *arg) -> void * {
            static_cast<std::string *>(arg)->append(" letters");
            return arg;
        },
        &word, WEFT_NOW);
    void *result = nullptr;
    check(weft_future_get(f, &result, weft_in_s(30)) == 0 && result == &word &&
              word == "twelve letters",
          "a future");
}

static void coroutines()
{
    generator squares(weft_generator_create(
        [](weft_generator *g, void *) {
            for (int i = 1, s; i <= 3; i++)
                if (s = i * i, weft_generator_yield(g, &s) != 0)
                    return -1;
            return 0;
        },
        nullptr, sizeof(int), nullptr));
    int s, sum = 0;
    while (weft_generator_next(squares.get(), &s) == 1)
        sum += s;
    check(sum == 14, "a generator");

    channel c(weft_channel_create(sizeof(int), 0));
    weft_tasklet *t = weft_tasklet_spawn(
        [](void *arg) -> void * {
            int seven = 7;
            return weft_channel_send(static_cast<weft_channel *>(arg), &seven, WEFT_FOREVER) == 0
                       ? nullptr
                       : WEFT_FAILED;
        },
        c.get(), nullptr);
    check(weft_channel_receive(c.get(), &s, weft_in_s(30)) == 0 && s == 7, "a channel");
    check(weft_tasklet_join(t, nullptr, weft_in_s(30)) == 0, "a tasklet");
}

static void processes()
{
    const char *const argv[] = {"sh", "-c", "exit 7", nullptr};
    subprocess sh(weft_subprocess_start(argv, nullptr));
    int status;
    check(weft_subprocess_join(sh.get(), &status, weft_in_s(30)) == 0 && WEXITSTATUS(status) == 7,
          "a subprocess");

    segment s(weft_shm_create(nullptr, 1 << 16, nullptr));
    shared_queue q(weft_shared_queue_create(s.get(), 1024, nullptr));
    process child(weft_process_start(
        [](void *arg) {
            return weft_shared_queue_put(static_cast<weft_shared_queue *>(arg), "hello", 5,
                                         weft_in_s(30)) == 0
                       ? 0
                       : 1;
        },
        q.get(), nullptr));
    char text[8];
    check(weft_shared_queue_get(q.get(), text, sizeof text, weft_in_s(30)) == 5, "a shared queue");
    check(weft_process_join(child.get(), &status, weft_in_s(30)) == 0 && status == 0, "a process");
}

static void asynchronous()
{
    loop l(weft_loop_create(nullptr));
    weft_alarm a = {};
    int called = 0;
    weft_loop_arm(
        l.get(), &a, 0, [](weft_alarm *, void *arg) { ++*static_cast<int *>(arg); }, &called,
        weft_in_ms(1));
    check(weft_loop_run(l.get(), WEFT_LOOP_ALL, weft_in_s(30)) == 0 && called == 1, "an alarm");

    check(weft_io_run(
              [](void *) {
                  int n = 0;
                  auto add = [](void *arg) -> void * {
                      ++*static_cast<int *>(arg);
                      return nullptr;
                  };
                  return weft_offload(add, &n, nullptr, weft_in_s(30)) == 0 && n == 1 ? 0 : 1;
              },
              nullptr) == 0,
          "an offloaded function");
}

static void managers()
{
    std::string address = "unix:@weft-link-" + std::to_string(getpid());
    manager m(weft_manager_start(address.c_str(), nullptr));
    check(m != nullptr, "a manager");
    {
        client c(weft_client_connect(weft_manager_address(m.get()), nullptr, weft_in_s(30)));
        dict d(weft_remote_dict_open(c.get(), "words"));
        char text[8];
        check(weft_remote_dict_set(d.get(), "one", 3, "eins", 4, weft_in_s(30)) == 0 &&
                  weft_remote_dict_get(d.get(), "one", 3, text, sizeof text, weft_in_s(30)) == 4,
              "a dict");
    }
    check(weft_manager_end(m.get(), weft_in_s(30)) == 0, "a manager's end");
}

int main()
{
    threads();
    coroutines();
    processes();
    asynchronous();
    managers();
    return 0;
}
