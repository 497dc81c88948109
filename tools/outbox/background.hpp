#pragma once

#include <condition_variable>
#include <deque>
#include <future>
#include <mutex>
#include <thread>
#include <utility>

namespace agentsight::tool {

/// One thread that does what it is given, in order. Destroying it waits for what it is at and drops
/// the rest, whose futures say so.
template <class Result>
class Background {
  public:
    Background() : thread_([this](const std::stop_token& stop) { work(stop); }) {}

    template <class Work>
    std::future<Result> run(Work work) {
        std::packaged_task<Result()> task(std::move(work));
        std::future<Result> result = task.get_future();
        {
            const std::lock_guard lock(mutex_);
            tasks_.push_back(std::move(task));
        }
        given_.notify_one();
        return result;
    }

  private:
    void work(const std::stop_token& stop) {
        std::unique_lock lock(mutex_);
        while (given_.wait(lock, stop, [this] { return !tasks_.empty(); }) &&
               !stop.stop_requested()) {
            std::packaged_task<Result()> task = std::move(tasks_.front());
            tasks_.pop_front();
            lock.unlock();
            task();
            lock.lock();
        }
    }

    std::mutex mutex_;
    std::condition_variable_any given_;
    std::deque<std::packaged_task<Result()>> tasks_;
    std::jthread thread_;  ///< last: waited for before all else goes
};

}  // namespace agentsight::tool
