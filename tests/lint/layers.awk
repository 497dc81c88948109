# Reads the list of all source files (names, one a line) first, then the files themselves,
# and prints every #include that its layer may not have. POSIX awk.

BEGIN {
    # Each layer, and what stands below it: what it may include of ours.
    may["public"] = " public "
    may["core"] = " core public "
    may["os"] = " os core public "
    may["sqlite"] = " sqlite os core public "
    may["net"] = " net os core public "
    may["outbox"] = " outbox sqlite os core public "
    may["delivery"] = " delivery outbox os core public "
    may["facade"] = " facade delivery outbox net sqlite os core public "
    may["arguments"] = " arguments "  # of both programs' command lines
    may["tools"] = " tools arguments public "
    may["sandbox"] = " sandbox arguments public "

    posix = "^(aio|dirent|dlfcn|fcntl|fnmatch|ftw|glob|grp|ifaddrs|langinfo|libgen|mqueue|netdb|" \
            "poll|pthread|pwd|regex|sched|semaphore|signal|spawn|strings|syslog|termios|ucontext|" \
            "unistd|utime|wordexp|stdlib|windows|winsock2)[.]h$|" \
            "^(sys|arpa|net|netinet|linux|asm|mach)/"
}

FNR == 1 { file_count++ }

file_count == 1 { known[$0] = 1; next }

FNR == 1 { layer = layer_of(FILENAME); may_json = json_is_public(FILENAME) }

/^[ \t]*#[ \t]*include[ \t]*[<"]/ {
    name = $0
    sub(/^[ \t]*#[ \t]*include[ \t]*[<"]/, "", name)
    sub(/[>"].*$/, "", name)
    judge(name)
}

END { exit found > 0 }

function folder_of(path) {
    sub(/[^\/]*$/, "", path)
    return path
}

function layer_of(path,    part) {
    if (path ~ /^include\//) return "public"
    if (path ~ /^tests\//) return "tests"
    if (path ~ /^tools\/sandbox\//) return "sandbox"
    if (path ~ /^tools\/arguments[.]hpp$/) return "arguments"
    if (path ~ /^tools\//) return "tools"
    if (path ~ /^lib\/[^\/]*$/) return "facade"
    split(path, part, "/")
    return part[2]
}

# nlohmann::json is inline in these public headers only.
function json_is_public(path) {
    return path ~ /^include\/agentsight\/(conversation_manager|client)[.]hpp$/ ||
           path ~ /^include\/agentsight\/detail\//
}

# The tool stands on the public headers alone, so what it does to a terminal is its own.
function is_seam(path) {
    return path ~ /^tools\/outbox\/terminal_linux[.]cpp$/
}

# The file of ours that an include means, or "" for somebody else's.
function resolved(name,    i, tried) {
    if ((folder_of(FILENAME) name) in known) return folder_of(FILENAME) name
    split("lib/ include/ tools/ tests/ tools/sandbox/ tools/outbox/", tried, " ")
    for (i = 1; i in tried; i++) {
        if ((tried[i] name) in known) return tried[i] name
    }
    return ""
}

function complain(name, why) {
    print FILENAME ":" FNR ": " layer " must not include " name ": " why
    found++
}

function judge(name,    target) {
    if (layer == "tests") return
    if (!(layer in may)) {
        complain(name, "lib/" layer "/ is in no layer: give it one in tests/lint/layers.awk")
        return
    }
    if (name ~ /(^|\/)[.][.]\//) {
        complain(name, "write the path from lib/, include/ or tools/")
        return
    }
    target = resolved(name)
    if (target != "") judge_ours(name, layer_of(target))
    else judge_foreign(name)
}

function judge_ours(name, target) {
    if (index(may[layer], " " target " ") == 0) {
        complain(name, target " does not stand below it")
    }
}

function judge_foreign(name) {
    if (name ~ /^sqlite3(ext)?[.]h$/ && layer != "sqlite")
        complain(name, "only lib/sqlite does")
    else if (name ~ /^(boost\/(beast|asio\/ssl)|openssl\/)/ && layer != "net" && layer != "sandbox")
        complain(name, "only lib/net does")
    else if (name ~ /^boost\/asio[.]hpp$|^boost\/beast[.]hpp$/)
        complain(name, "too wide: name the header that is needed")
    else if (name ~ /^boost\// && layer !~ /^(net|delivery|facade|sandbox)$/)
        complain(name, "only lib/net, lib/delivery and the worker do")
    else if (name ~ posix && layer != "os" && layer != "sandbox" && !is_seam(FILENAME))
        complain(name, "only lib/os calls the operating system")
    else if (name ~ /^nlohmann\// && layer == "public" && !may_json)
        complain(name, "only conversation_manager.hpp, client.hpp and detail/ do, inline")
    else if (name ~ /^CLI\// && layer !~ /^(tools|sandbox|arguments)$/)
        complain(name, "only the programs do")
    else if (name ~ /^doctest/)
        complain(name, "only tests do")
}
