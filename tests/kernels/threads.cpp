// What test_threads.py compiles with ThreadSanitizer: the pool alone, without Python. Prints nothing if all is well.
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "threads.hpp"

using backnorm::parallel_for;

namespace {

void expect(bool right, const char* what) {
    if (right) return;
    std::printf("%s\n", what);
    std::exit(1);
}

// Every piece is done once, whichever thread does it. The counters are plain: two threads at one would be reported.
void count(int64_t pieces, int threads, int rounds) {
    std::vector<int> done(size_t(pieces), 0);
    for (int round = 1; round <= rounds; ++round) {
        parallel_for(pieces, threads, [&](int64_t piece) { ++done[size_t(piece)]; });
        for (int each : done) expect(each == round, "a piece was not done once");
    }
}

void counts() {
    for (int64_t pieces : {1, 2, 3, 7, 16, 100, 5000})
        for (int threads : {1, 2, 3, 8, 300}) count(pieces, threads, 20);
}

// More callers at once than the pool has places for.
void callers() {
    std::vector<std::thread> all;
    for (int k = 0; k < 8; ++k) all.emplace_back([k] { count(10 + 7 * k, 2 + k % 3, 300); });
    for (std::thread& each : all) each.join();
}

// A piece's own call gets no more threads, as with OpenMP.
void nested() {
    std::vector<int> done(60, 0);
    parallel_for(6, 3, [&](int64_t outer) {
        const auto thread = std::this_thread::get_id();
        parallel_for(10, 3, [&](int64_t inner) {
            ++done[size_t(outer * 10 + inner)];
            expect(std::this_thread::get_id() == thread, "a nested piece went to another thread");
        });
    });
    for (int each : done) expect(each == 1, "a nested piece was not done once");
}

// The exception of a piece comes through after all pieces have ended, and the pool works on.
void exceptions() {
    for (int64_t thrower = 0; thrower < 40; ++thrower) {
        std::atomic<int> ended{0};
        bool caught = false;
        try {
            parallel_for(40, 3, [&](int64_t piece) {
                if (piece == thrower) throw std::runtime_error("piece");
                ++ended;
            });
        } catch (const std::runtime_error& error) {
            caught = error.what() == std::string("piece");
        }
        expect(caught, "the exception was lost");
        const int reached = ended;
        std::this_thread::yield();
        expect(ended == reached, "a piece ran on after the call");
        count(16, 3, 1);
    }
}

// While all threads of the pool are held up by one caller, another one does its work.
void held_up() {
    std::atomic<int> waiting{0};
    std::atomic<bool> go{false};
    std::thread holder([&] {
        parallel_for(3, 3, [&](int64_t) {
            ++waiting;
            while (!go) std::this_thread::yield();
        });
    });
    while (waiting < 3) std::this_thread::yield();
    count(50, 3, 10);
    go = true;
    holder.join();
}

}  // namespace

int main() {
    counts();
    callers();
    nested();
    exceptions();
    held_up();
}
