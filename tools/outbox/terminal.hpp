#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <vector>

namespace agentsight::tool {

/// Where the program was started with a standard stream closed, the next file it opens, the
/// outbox's perhaps, would be taken for that stream: something that takes and gives nothing
/// stands there instead. Before any file is opened.
void keep_standard_streams() noexcept;

/// How wide the terminal is on which standard error is shown; 80 where it does not say.
std::size_t error_columns() noexcept;

/// Notes the signals that end programs instead of being ended by them, so that the caller can
/// end in order: reads that wait are ended by them. One at a time.
class Interrupts {
  public:
    Interrupts();
    ~Interrupts();
    Interrupts(const Interrupts&) = delete;
    Interrupts& operator=(const Interrupts&) = delete;

    bool came() const noexcept;

  private:
    struct Old;
    std::unique_ptr<Old> old_;
};

/// What ended a wait.
enum class Woken {
    in_time,  ///< the time is over
    quit,     ///< q, Ctrl-C, or a signal that ends programs
    redraw,   ///< the terminal has another size, or shows us again
};

/// Waits without drawing, for a program whose output is read line by line: ends at once at a
/// signal that ends programs, so that the caller can end in order. One at a time.
class Patience {
  public:
    Patience();
    virtual ~Patience();
    Patience(const Patience&) = delete;
    Patience& operator=(const Patience&) = delete;

    virtual Woken wait(std::chrono::milliseconds time);

  protected:
    struct Signals;
    std::unique_ptr<Signals> signals_;
};

/// The whole terminal, drawn on in place: a screen of its own, keys without echo, no cursor.
/// Given back as it was by the destructor, and while the program is stopped (Ctrl-Z).
///
/// Escape codes that every terminal of the last thirty years knows, and termios: some forty
/// lines. ncurses was rejected: a package more to install on every machine that builds, for
/// a screen that is drawn from top to bottom once a second.
class Screen : public Patience {
  public:
    struct Size {
        std::size_t columns;
        std::size_t rows;
    };

    Screen();
    ~Screen() override;

    Size size() const;
    /// Each line must fit the columns; there may be at most as many as rows.
    void draw(const std::vector<std::string>& lines);
    Woken wait(std::chrono::milliseconds time) override;

  private:
    void take();
    void give_back() noexcept;
    void stop();

    struct Mode;
    std::unique_ptr<Mode> mode_;
};

}  // namespace agentsight::tool
