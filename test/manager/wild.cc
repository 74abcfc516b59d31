// Commands of random bytes to a server in this process (wild.h); make fuzz goes on with it.
#include "../runner.h"

#include "generator.h"
#include "wild.h"

CASE(test_wild_commands)
{
    static unsigned char data[3000];
    generator_seed(runner_test);
    wild_open();
    const char *inputs = getenv("WEFT_WILD"); // some hundred commands each
    for (int i = inputs != nullptr ? atoi(inputs) : RUNNER_SANITIZED ? 30 : 150; i > 0; i--) {
        for (unsigned char &byte : data)
            byte = (unsigned char)chance(256);
        wild_run(data, sizeof data);
    }
    const weft::command_row **rows;
    print_message("%llu commands, %u of %u kinds\n", wild_commands, wild_rows_run(),
                  wild_rows(&rows));
    assert_true(wild_rows_run() > wild_rows(&rows) * 3 / 4);
    wild_close();
}

RUN_CASES()
