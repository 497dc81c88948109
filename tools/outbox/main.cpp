#include "command_line.hpp"
#include "terminal.hpp"

// agentsight-outbox: inspects and operates an outbox, also while an application has it open.
// Made of the public headers alone, so that an application can do all that this program does.
int main(int argc, char** argv) {
    agentsight::tool::keep_standard_streams();
    return static_cast<int>(agentsight::tool::run_command_line(argc, argv));
}
