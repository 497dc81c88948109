#include "outbox/files.hpp"

#include <system_error>
#include <utility>

#include "outbox/errors.hpp"

namespace agentsight::outbox {

namespace {

namespace fs = std::filesystem;

fs::path with_suffix(fs::path path, const char* suffix) {
    path += suffix;
    return path;
}

fs::path whole_path(const fs::path& path) {
    if (path.empty() || !path.has_filename()) {
        throw_cannot("use", path, errc::unsafe_path, "it names no file; give the outbox's path");
    }
    return fs::absolute(path).lexically_normal();
}

/// One name for one file: SQLite makes -wal and -shm from the name it is given.
fs::path resolved(const fs::path& path) {
    return fs::canonical(path.parent_path()) / path.filename();
}

/// Told last, where nothing worse is wrong with the folder: the option hides nothing else.
os::PathProblem unless_allowed(os::PathProblem problem, const StoreOptions& options) {
    return problem == os::PathProblem::network_file_system && options.allow_network_file_system
               ? os::PathProblem::none
               : problem;
}

Files prepare(const StoreOptions& options) {
    const fs::path path = whole_path(options.path);
    const fs::path folder = path.parent_path();
    if (options.mode == OutboxMode::create) {
        require_usable(unless_allowed(os::prepare_folder(folder), options), path);
    } else {
        const os::PathProblem problem = unless_allowed(os::check_folder(folder), options);
        const bool reading = options.mode == OutboxMode::read_only;
        const bool only_unwritable =
            problem == os::PathProblem::read_only || problem == os::PathProblem::not_permitted;
        if (!(reading && only_unwritable)) {
            require_usable(problem, path);
        }
    }
    Files files{resolved(path)};
    os::PathProblem problem = os::check_file(files.database);
    if (problem == os::PathProblem::missing && options.mode == OutboxMode::create) {
        os::create_private_file(files.database);  // or another process did
        problem = os::check_file(files.database);
    }
    require_usable(problem, path);
    return files;
}

}  // namespace

Files::Files(fs::path path)
    : database(std::move(path)),
      wal(with_suffix(database, "-wal")),
      shm(with_suffix(database, "-shm")),
      journal(with_suffix(database, "-journal")),
      lock(with_suffix(database, "-lock")),
      ballast(with_suffix(database, "-ballast")) {}

Identities identities(const Files& files) noexcept {
    return {os::identity(files.database), os::identity(files.wal), os::identity(files.shm)};
}

Files prepare_files(const StoreOptions& options) {
    try {
        return prepare(options);
    } catch (...) {
        rethrow_as_error("use", options.path);
    }
}

}  // namespace agentsight::outbox
