# The C blocks of the documents (```c), each the body of a function. POSIX awk.
BEGIN { print "#include <agentsight/agentsight.h>\n#include <stdio.h>\n#include <string.h>" }
/^```c$/ { inside = 1; text = ""; line = FNR + 1; next }
/^```$/ && inside {
    inside = 0
    printf "void block_%d(void);\nvoid block_%d(void) {\n#line %d \"%s\"\n%s}\n", line, line, line, FILENAME, text
}
inside { text = text $0 "\n" }
