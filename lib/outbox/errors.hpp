#pragma once

#include <exception>
#include <filesystem>
#include <string>
#include <string_view>

#include "agentsight/error.hpp"
#include "os/file.hpp"
#include "sqlite/failure.hpp"

namespace agentsight::outbox {

/// The one place where SQLite's failures become the public error: what was being done, to
/// what, what next.
Error to_error(const sqlite::Failure& failure, std::string_view doing,
               const std::filesystem::path& path);

/// Any exception of the lower layers as an Error (an Error stays what it is).
Error to_error(std::exception_ptr exception, std::string_view doing,
               const std::filesystem::path& path);

/// Inside a catch: throws what it caught as an Error.
[[noreturn]] void rethrow_as_error(std::string_view doing, const std::filesystem::path& path);

/// Throws for a problem with the file or its folder; returns for `none`.
void require_usable(os::PathProblem problem, const std::filesystem::path& path);

/// Throws an Error that says "cannot `doing` 'path': `why_and_next`".
[[noreturn]] void throw_cannot(std::string_view doing, const std::filesystem::path& path, errc code,
                               std::string_view why_and_next);

std::string quoted(const std::filesystem::path& path);

}  // namespace agentsight::outbox
