// The kernels without Python, in a process of their own: `make aarch64` compiles this file with a cross compiler, and
// emulated.py calls it under an emulator. It reads calls from stdin and writes their results to stdout until stdin ends.
//
// A call is a Header, then for each operand that is there its memory from the first to the last value, then the numbers
// for each channel. The answer is the memory of the outputs, in the order of the call, and the numbers that were written.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <vector>

#include "levels.hpp"
#include "threads.hpp"

using namespace backnorm;

namespace {

struct Place {  // of an operand; in bytes, but for the strides
    int64_t bytes, outer_stride, channel_stride, first, address;  // bytes is -1 if it is absent
};

struct Header {
    int64_t backward, level, dtype, outer, channels, inner, threads, exact, activation, frozen;
    int64_t through_mean, through_variance, add_dx, add_dresidual, gamma, beta;  // gamma, beta: whether they are given
    double eps, slope;
    Place place[5];  // forward: x, y, residual; backward: dy, x, y, dx, dresidual
};

void read(void* into, size_t bytes) {
    if (bytes && std::fread(into, bytes, 1, stdin) != 1) std::exit(1);
}
void write(const void* from, size_t bytes) {
    if (bytes && std::fwrite(from, bytes, 1, stdout) != 1) std::exit(1);
}

// An operand's memory, at an address that lies as the caller's does within a page.
class Memory {
  public:
    explicit Memory(const Place& p) : place_(p) {
        if (p.bytes < 0) return;
        memory_.reset(static_cast<char*>(std::aligned_alloc(page, (size_t(p.bytes) / page + 2) * page)), std::free);
        read(start(), size_t(p.bytes));
    }
    Operand operand() const {
        if (place_.bytes < 0) return {};
        return {start() + place_.first, place_.outer_stride, place_.channel_stride};
    }
    void write_back() const {
        if (place_.bytes >= 0) write(start(), size_t(place_.bytes));
    }

  private:
    static constexpr size_t page = 4096;
    char* start() const { return memory_.get() + place_.address; }
    Place place_;
    std::shared_ptr<char> memory_;
};

std::vector<double> numbers(int64_t count) {
    std::vector<double> values(static_cast<size_t>(count));
    read(values.data(), values.size() * sizeof(double));
    return values;
}
void write_back(const std::vector<double>& values) { write(values.data(), values.size() * sizeof(double)); }
double* given(std::vector<double>& values, int64_t is) { return is ? values.data() : nullptr; }

void answer(const Header& h) {
    std::vector<Memory> memory;
    for (const Place& p : h.place) memory.emplace_back(p);
    std::vector<double> gamma = numbers(h.gamma * h.channels), beta = numbers(h.beta * h.channels);
    std::vector<double> rows = numbers(4 * h.channels), sums(size_t(2 * h.channels));
    const auto row = [&](int64_t k) { return rows.data() + k * h.channels; };
    const Statistics statistics{row(0), row(1), row(2), row(3)};
    const Shape shape{h.outer, h.channels, h.inner};
    const Level& level = *levels()[h.level];
    if (!h.backward) {
        level.forward({shape, Dtype(h.dtype), memory[0].operand(), memory[1].operand(), memory[2].operand(),
                       given(gamma, h.gamma), given(beta, h.beta), statistics, h.frozen != 0, h.eps,
                       Activation(h.activation), h.slope, int(h.threads), h.exact != 0});
        memory[1].write_back();
        write_back(rows);
        return;
    }
    if (!level.backward({shape, Dtype(h.dtype), memory[0].operand(), memory[1].operand(), memory[2].operand(),
                         memory[3].operand(), memory[4].operand(), sums.data(), sums.data() + h.channels,
                         given(gamma, h.gamma), nullptr, statistics, false, h.frozen != 0, h.through_mean != 0,
                         h.through_variance != 0, h.add_dx != 0, h.add_dresidual != 0, Activation(h.activation), h.slope,
                         1.0, int(h.threads), h.exact != 0}))
        std::exit(2);
    for (int k : {3, 4}) memory[size_t(k)].write_back();
    write_back(sums);
}

// The names of the levels, the best first, in a line.
void introduce() {
    for (const Level* const* level = levels(); *level; ++level) std::printf("%s ", (*level)->name);
    std::printf("\n");
    std::fflush(stdout);
}

}  // namespace

int main() {
    introduce();
    Header header;
    while (std::fread(&header, sizeof header, 1, stdin) == 1) {
        answer(header);
        std::fflush(stdout);
    }
}
