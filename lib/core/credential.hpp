#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "agentsight/options.hpp"

namespace agentsight::core {

/// Text whose memory is overwritten before it is given back.
class SecretText {
  public:
    SecretText() = default;
    SecretText(const SecretText&) = default;
    SecretText& operator=(SecretText other) noexcept {
        text_.swap(other.text_);
        return *this;
    }
    ~SecretText() { Credential::wipe(text_); }

    const std::string& text() const noexcept { return text_; }
    bool empty() const noexcept { return text_.empty(); }
    /// Empty, with room for so many bytes, nowhere a copy of what was there.
    std::string& renew(std::size_t bytes) {
        if (text_.capacity() < bytes) {
            Credential::wipe(text_);
            text_.reserve(bytes);
        }
        text_.clear();
        return text_;
    }

  private:
    std::string text_;
};

/// "Api-Key KEY" or "Bearer TOKEN" for the Authorization header; empty for none.
SecretText authorization(const Credential& credential);

/// None where fit for a header: no control characters, no white space inside, visible
/// ASCII, at most 8 KiB; else the broken rule, which never repeats the secret.
std::optional<std::string> credential_problem(const Credential& credential);

/// One line "Api-Key KEY" or "Bearer TOKEN" (a final newline allowed), scheme in any case.
/// None with `problem` set otherwise.
std::optional<Credential> parse_credential_line(std::string_view text, std::string& problem);

/// "ags_", 32 hex digits, "_", 6 hex digits, in any case. Another shape deserves a warning
/// and no more: a self-hosted or later server may issue others.
bool has_usual_shape(const ApiKey& key);

}  // namespace agentsight::core
