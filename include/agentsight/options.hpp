#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <utility>

#include "agentsight/events.hpp"
#include "agentsight/export.hpp"

namespace agentsight {

/// An API key: the server stores its feedback as `source: customer`.
struct ApiKey {
    std::string value;
};

/// A JSON web token: the server stores its feedback as `source: platform`.
struct Jwt {
    std::string value;
};

/// None, an API key or a JWT. Never written to disk nor to a log, and its memory is overwritten
/// before it is given back.
class AGENTSIGHT_API Credential {
  public:
    enum class Kind { none, api_key, jwt };

    Credential() = default;
    Credential(ApiKey key) : Credential(Kind::api_key, key.value) {}
    Credential(Jwt token) : Credential(Kind::jwt, token.value) {}
    Credential(const Credential&) = default;
    Credential(Credential&& other) noexcept;
    Credential& operator=(Credential other) noexcept;
    ~Credential();

    /// Overwrites all that the string holds room for, and empties it.
    static void wipe(std::string& text) noexcept;

    Kind kind() const noexcept { return kind_; }
    /// The secret itself: for the Authorization header only.
    const std::string& secret() const noexcept { return secret_; }

  private:
    /// Takes it, and leaves nothing of it: a short text is copied by a move.
    Credential(Kind kind, std::string& secret) noexcept;

    Kind kind_ = Kind::none;
    std::string secret_;
};

enum class Durability {
    power_cut,  ///< on stable storage before the call returns: survives a power cut
    relaxed,    ///< survives a crash of the process; a power cut may lose the last seconds
};

enum class WhenFull {
    refuse,  ///< submit fails with errc::outbox_full; nothing accepted is dropped
    /// The oldest waiting record makes room, counted as dropped. At max_bytes the history of what
    /// is settled goes first.
    drop_oldest,
};

enum class WhenUnknown {
    resend,          ///< at least once: a possible duplicate, counted
    leave_to_person  ///< at most once: `agentsight-outbox resolve` decides
};

enum class Dialect {
    automatic,               ///< conversation_feedbacks first, then feedbacks; remembered
    conversation_feedbacks,  ///< POST /api/conversation-feedbacks/
    feedbacks,               ///< POST /api/feedbacks/
};

/// Everything that can be set. Each default suits a kiosk or a desktop
/// application; an empty field is filled from the environment, where one is
/// named, when the manager is made. A value that breaks its rule makes the
/// constructor throw errc::invalid_option, naming the field.
struct Options {
    /// Names the default outbox. Empty: the executable's name.
    std::string application;

    /// The outbox's database; its companions (`-wal`, `-shm`, `-lock`, ...) stand
    /// beside it. Empty: AGENTSIGHT_OUTBOX, else a per-user data folder
    /// (XDG_DATA_HOME, else ~/.local/share) / agentsight / application / feedback.db.
    std::filesystem::path outbox_path;

    /// http or https URL of the API, a path prefix allowed. Empty:
    /// AGENTSIGHT_API_ENDPOINT, else https://api.agentsight.io.
    std::string endpoint;

    /// None: ApiKey from AGENTSIGHT_API_KEY; none there either: records are kept
    /// and the outbox holds (`no_credential`) until set_credential.
    Credential credential;

    /// Whether a credential may go to an http endpoint that is not loopback.
    bool allow_insecure = false;

    /// A PEM file of certificate authorities that replaces the system's. Empty:
    /// SSL_CERT_FILE / SSL_CERT_DIR, else the system's.
    std::filesystem::path ca_file;

    /// PEM files of a client certificate (chain included) and its key, for servers that ask
    /// for one. Empty: none; an empty key: in the certificate's file.
    std::filesystem::path client_certificate;
    std::filesystem::path client_key;

    /// "http://[user:password@]host[:port]", or "direct" for none. Empty: HTTPS_PROXY,
    /// HTTP_PROXY, ALL_PROXY and NO_PROXY.
    std::string proxy;

    /// Which of the API's two routes is spoken.
    Dialect dialect = Dialect::automatic;

    /// Parallel keep-alive connections, 1 to 64. Rate is connections / round trip.
    int connections = 4;

    /// From the start of an attempt to its complete answer, 1 ms to 10 min.
    std::chrono::milliseconds request_timeout{30'000};

    /// Name lookup, connecting and TLS, each attempt, 1 ms to 10 min.
    std::chrono::milliseconds connect_timeout{10'000};

    /// How long the destructor waits for what is in flight, 0 to 10 min.
    std::chrono::milliseconds close_deadline{2'000};

    /// How long a submit waits for another process's commit, 0 to 10 min; then errc::busy.
    std::chrono::milliseconds busy_timeout{5'000};

    Durability durability = Durability::power_cut;

    /// Records that are not yet delivered, dead ones included; 1 to 2^40.
    std::uint64_t max_records = 1'000'000;

    /// Size of the database file in bytes, at least 1 MiB.
    std::uint64_t max_bytes = std::uint64_t{1} << 30;

    WhenFull when_full = WhenFull::refuse;

    /// Metadata as JSON text, in bytes, 2 to 16 MiB.
    std::size_t max_metadata_bytes = 256 * 1024;

    /// Delivered records kept as history, newest first; 0 keeps none.
    std::uint64_t keep_delivered = 10'000;

    /// Add `metadata.collected_at` (UTC ISO 8601) when the caller gave none and the
    /// first attempt comes more than 60 s after the submit.
    bool stamp_collected_at = true;

    /// W: how long after an attempt of unknown outcome its row may still appear on
    /// the server; a record is sent again only when two reads at least W/2 apart, the
    /// last at least W after the attempt, did not find it. 0 to 24 h.
    std::chrono::milliseconds reconcile_after{120'000};

    /// What to do with an unknown record where the server refuses to be read.
    WhenUnknown when_unknown = WhenUnknown::resend;

    /// How long "conversation not found" is retried before the dead letter: the
    /// conversation itself may still be on its way. 0 to 90 days.
    std::chrono::milliseconds not_found_grace{std::chrono::hours{24}};

    /// First and largest wait between two attempts (exponential, full jitter).
    std::chrono::milliseconds backoff_base{1'000};
    std::chrono::milliseconds backoff_cap{300'000};

    /// SQLite's locking is unreliable there: refused unless this says otherwise.
    bool allow_network_file_system = false;

    /// Where callbacks and observer events run, for instance asio::post into the
    /// application's own loop. Empty: on the worker's thread; there, too, what this refuses by
    /// an exception. At most 65,536 events wait in that loop; more are dropped, and told.
    std::function<void(std::function<void()>)> dispatch;

    /// Called with each event, one at a time, in order; see `dispatch`. Exceptions
    /// are caught and counted.
    Observer observer;

    /// Called with each log line; default: silent. Any thread, one at a time. What it itself
    /// makes the library log is not logged.
    LogSink log;
};

}  // namespace agentsight
