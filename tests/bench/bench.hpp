#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <functional>
#include <string>
#include <thread>
#include <vector>

/// What every benchmark here needs: interleaved rounds, medians with their spread, ratios of
/// figures taken in the same run. The machine's absolute speed drifts; ratios hold.
namespace bench {

inline double seconds(const std::function<void()>& work) {
    const auto start = std::chrono::steady_clock::now();
    work();
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

inline double percentile(std::vector<double> values, double p) {
    if (values.empty()) {
        return 0;
    }
    std::sort(values.begin(), values.end());
    const auto index = static_cast<std::size_t>(p * static_cast<double>(values.size() - 1) + 0.5);
    return values[index];
}

inline double median(const std::vector<double>& values) {
    return percentile(values, 0.5);
}

/// One variant that is measured in every round.
struct Variant {
    std::string name;
    std::function<double()> measure;  ///< a figure, larger is better
    std::vector<double> figures = {};
};

/// Runs all variants once a round, in turn, so that what disturbs the machine disturbs all.
inline void run(std::vector<Variant>& variants, int rounds) {
    for (int round = 0; round < rounds; ++round) {
        for (Variant& variant : variants) {
            variant.figures.push_back(variant.measure());
        }
    }
}

inline void print(const Variant& variant, const char* unit) {
    std::printf("  %-58s %10.0f %-10s (%.0f ... %.0f)\n", variant.name.c_str(),
                median(variant.figures), unit,
                *std::min_element(variant.figures.begin(), variant.figures.end()),
                *std::max_element(variant.figures.begin(), variant.figures.end()));
}

/// The median of the rounds' ratios: each round's two figures were taken side by side.
inline double ratio(const Variant& ours, const Variant& baseline) {
    std::vector<double> ratios;
    for (std::size_t i = 0; i < ours.figures.size(); ++i) {
        ratios.push_back(ours.figures[i] / baseline.figures[i]);
    }
    return median(ratios);
}

inline void print_target(const char* what, double reached, double target, bool at_least = true) {
    const bool met = at_least ? reached >= target : reached <= target;
    std::printf("  %-58s %10.2f %s %.2f  %s\n", what, reached, at_least ? ">=" : "<=", target,
                met ? "met" : "NOT MET");
}

/// Runs `work(thread)` on `threads` threads at once and returns the seconds until all ended.
inline double in_parallel(int threads, const std::function<void(int)>& work) {
    return seconds([&] {
        std::vector<std::thread> pool;
        for (int t = 0; t < threads; ++t) {
            pool.emplace_back([&work, t] { work(t); });
        }
        for (std::thread& thread : pool) {
            thread.join();
        }
    });
}

}  // namespace bench
