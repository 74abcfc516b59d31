// Runs any bytes as whole commands of several connections to a server in this process.
//
// sources: src/manager/server/*.cc
// libraries: yes
#include "../manager/wild.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static bool is_open;
    if (!is_open)
        wild_open();
    is_open = true;
    wild_run(data, size);
    return 0;
}
