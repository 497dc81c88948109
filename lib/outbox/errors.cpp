#include "outbox/errors.hpp"

#include <new>
#include <system_error>

#include "core/text.hpp"
#include "core/throw_error.hpp"

namespace agentsight::outbox {

namespace {

struct Advice {
    errc code;
    std::string_view text;
};

Advice advice(sqlite::Trouble trouble) {
    using sqlite::Trouble;
    switch (trouble) {
        case Trouble::busy:
            return {errc::busy, "another process holds it; try again"};
        case Trouble::full:
            return {errc::disk_full, "free some space, then try again"};
        case Trouble::no_memory:
            return {errc::out_of_memory, "free some memory, then try again"};
        case Trouble::read_only:
            return {errc::read_only, "make the file and its folder writable for this user"};
        case Trouble::cannot_open:
            return {errc::io_error, "check the file, its folder and the limit of open files"};
        case Trouble::damaged:
            return {errc::damaged, "run `agentsight-outbox salvage`"};
        case Trouble::io:
        case Trouble::constraint:
        case Trouble::interrupted:
        case Trouble::other:
            break;
    }
    return {errc::io_error, "check the storage, then try again with the same id"};
}

Advice advice(const std::system_error& error) {
    const std::error_code code = error.code();
    if (code == std::errc::no_space_on_device || code == std::errc::file_too_large) {
        return advice(sqlite::Trouble::full);
    }
    if (code == std::errc::permission_denied || code == std::errc::read_only_file_system ||
        code == std::errc::operation_not_permitted) {
        return advice(sqlite::Trouble::read_only);
    }
    if (code == std::errc::not_enough_memory) {
        return advice(sqlite::Trouble::no_memory);
    }
    return advice(sqlite::Trouble::io);
}

std::string cannot(std::string_view doing, const std::filesystem::path& path) {
    std::string text = "cannot ";
    text.append(doing).append(" ").append(quoted(path)).append(": ");
    return text;
}

std::string sentence(std::string_view doing, const std::filesystem::path& path,
                     std::string_view why, std::string_view next) {
    std::string text = cannot(doing, path);
    text.append(why).append("; ").append(next);
    return text;
}

}  // namespace

std::string quoted(const std::filesystem::path& path) {
    return "'" + core::printable(path.string(), 1024) + "'";
}

void throw_cannot(std::string_view doing, const std::filesystem::path& path, errc code,
                  std::string_view why_and_next) {
    core::throw_error(code, cannot(doing, path).append(why_and_next));
}

Error to_error(const sqlite::Failure& failure, std::string_view doing,
               const std::filesystem::path& path) {
    const Advice what = advice(failure.trouble());
    std::string why = failure.what();
    if (failure.system_errno() != 0) {
        why += " (" + std::generic_category().message(failure.system_errno()) + ")";
    }
    return Error{what.code, sentence(doing, path, why, what.text)};
}

Error to_error(std::exception_ptr exception, std::string_view doing,
               const std::filesystem::path& path) {
    try {
        std::rethrow_exception(exception);
    } catch (const Error& error) {
        return error;
    } catch (const sqlite::Failure& failure) {
        return to_error(failure, doing, path);
    } catch (const std::bad_alloc&) {
        return Error{errc::out_of_memory,
                     sentence(doing, path, "out of memory", "free some memory, then try again")};
    } catch (const std::system_error& error) {
        const Advice what = advice(error);
        return Error{what.code, sentence(doing, path, error.what(), what.text)};
    } catch (const std::exception& error) {
        return Error{errc::io_error,
                     sentence(doing, path, error.what(), "try again with the same id")};
    }
}

void rethrow_as_error(std::string_view doing, const std::filesystem::path& path) {
    throw to_error(std::current_exception(), doing, path);
}

void require_usable(os::PathProblem problem, const std::filesystem::path& path) {
    using os::PathProblem;
    const auto fail = [&](errc code, std::string_view why, std::string_view next) {
        core::throw_error(code, sentence("use", path, why, next));
    };
    switch (problem) {
        case PathProblem::none:
            return;
        case PathProblem::missing:
            return fail(errc::no_such_file, "it does not exist", "check the path");
        case PathProblem::not_a_folder:
            return fail(errc::unsafe_path, "a part of its path is not a folder",
                        "choose another path");
        case PathProblem::not_a_file:
            return fail(errc::unsafe_path, "it is a folder or a special file, not a regular file",
                        "choose another path");
        case PathProblem::foreign_owner:
            return fail(errc::unsafe_path, "it or its folder belongs to another user",
                        "choose a folder of this user's");
        case PathProblem::writable_by_others:
            return fail(errc::unsafe_path, "its folder is writable by other users",
                        "choose a private folder (mode 0700)");
        case PathProblem::symbolic_link:
            return fail(errc::unsafe_path, "it is a symbolic link", "use the file's own path");
        case PathProblem::hard_link:
            return fail(errc::unsafe_path, "it has a second name (hard link)",
                        "remove the other name");
        case PathProblem::network_file_system:
            return fail(errc::network_file_system, "it is on a network file system",
                        "choose a local folder, or set allow_network_file_system");
        case PathProblem::not_permitted:
            return fail(errc::read_only, "permission denied", "check the folder's permissions");
        case PathProblem::read_only:
            return fail(errc::read_only, "the file system is read-only",
                        "choose a writable folder");
    }
}

}  // namespace agentsight::outbox
