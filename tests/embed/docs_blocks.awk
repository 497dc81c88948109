# The C++ blocks of the documents (```cpp) as one program text: each the body of a function that
# has a manager and options at hand. One with a main() of its own is left out. POSIX awk.
BEGIN {
    print "#include <agentsight/agentsight.hpp>"
    print "#include <chrono>\n#include <cstdio>\n#include <string>\n#include <variant>"
    print "using agentsight::ConversationManager;\nusing agentsight::Options;"
}
/^```cpp$/ { inside = 1; text = ""; line = FNR + 1; next }
/^```$/ && inside {
    inside = 0
    if (text ~ /int main\(/) next
    name = FILENAME
    gsub(/[^A-Za-z0-9]/, "_", name)
    sub(/^.*docs_/, "", name)
    printf "#line %d \"%s\"\n", line - 1, FILENAME
    printf "void %s_%d([[maybe_unused]] ConversationManager& manager, [[maybe_unused]] Options& options) {\n", name, line
    printf "%s}\n", text
}
inside { text = text $0 "\n" }
