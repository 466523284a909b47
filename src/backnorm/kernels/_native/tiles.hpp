// An array of interleaved channels as a grid of rows and columns, cut into tiles: where a tile lies, how its
// rows are visited, and which coefficients its columns have.
//
// For NHWC a row is one position of the image and a column one channel (inner = 1). For a small plane, such
// as 7x7 of NCHW, a row is one sample, and each channel owns `inner` neighbouring columns (49).
#pragma once

#include <algorithm>
#include <memory>
#include <vector>

#include "call.hpp"
#include "normalize.hpp"
#include "pack.hpp"
#include "precision.hpp"

namespace backnorm {
namespace BACKNORM_LEVEL {

// The float64 sums and coefficients of 1024 columns fit a second-level cache.
constexpr int tile_columns = 1024;
// Rows are folded up to this many columns.
constexpr int folded_columns = 512;
// Rows are summed this many at a time: enough that sums are loaded and stored seldom, and few enough that the
// processor can prefetch each of them as a stream.
constexpr int64_t block_rows = 8;
// From about this many rows on, the preparation of each column is cheap relative to its work.
constexpr int64_t enough_rows = 64;

// The array as rows x columns. Where rows are short and follow each other in memory, `fold` of them count as
// one row, so that vectors are full, and runs are long enough for streaming stores. A tile then holds all columns.
struct Grid {
    int64_t rows, columns, fold, channels, inner;

    template <class Call>
    static Grid of(const Call& call, std::initializer_list<const Operand*> operands) {
        const Shape& s = call.shape;
        const int64_t width = s.channels * s.inner;
        // A folded row repeats its channels `fold` times, and so do sums and coefficients. So rows are folded only
        // until a vector is full, or while many rows remain.
        int64_t fold = 1;
        const bool dense = std::all_of(operands.begin(), operands.end(), [&](const Operand* a) {
            return !*a || a->outer_stride == width;
        });
        if (dense)
            while (width * fold * 2 <= folded_columns && s.outer % (fold * 2) == 0 &&
                   (width * fold < lanes || s.outer / fold >= 2 * enough_rows))
                fold *= 2;
        return {s.outer / fold, width * fold, fold, s.channels, s.inner};
    }
    // A tile holds whole channels, since their sums are taken over all their columns. Sixteen channels fill whole cache
    // lines, however long their planes are; where a tile has fewer, a power of two does so for most.
    int64_t tile_width() const {
        int64_t channels = std::max<int64_t>(1, tile_columns / inner), step = lanes;
        while (step > channels) step /= 2;
        return std::min(columns, channels / step * step * inner);
    }
    int64_t tiles() const { return (columns + tile_width() - 1) / tile_width(); }
    // Into how many parts the rows are cut for the sums; see columns.hpp.
    int64_t parts() const {
        // One part: a tile stays in cache from the sums to the results, and there are tiles for all threads.
        constexpr int64_t enough_tiles = 8, values_in_cache = 1 << 18;
        if (tiles() >= enough_tiles && rows * tile_width() <= values_in_cache) return 1;
        // Large arrays: `many` parts, each large enough that the combination of its sums costs little. Medium ones:
        // up to `some` parts, so that a few threads have work. The sums of all parts take at most 1 MiB.
        constexpr int64_t values_per_part = 1 << 17, rows_per_part = 256, most_sums = 1 << 15;
        constexpr int64_t some = 4, least_values = 1 << 15;
        const int64_t values = rows * columns;
        const int64_t many = std::min({values / values_per_part, rows / rows_per_part, most_sums / channels});
        const int64_t few = std::min({some, values / least_values, (rows + block_rows - 1) / block_rows});
        const int64_t parts = std::max(many, few);
        return parts < 4 ? std::max<int64_t>(1, parts) : parts / 4 * 4;  // equal shares for 2 and 4 threads
    }
};

// The columns [first, first + count) of a grid: all those of the channels from `first_channel` on,
// `fold` times each.
struct Tile {
    const Grid& grid;
    int64_t first, count, channels, first_channel;

    Tile(const Grid& g, int64_t index)
        : grid(g), first(index * g.tile_width()), count(std::min(g.tile_width(), g.columns - first)),
          channels(count / g.fold / g.inner), first_channel(first / g.inner % g.channels) {}

    template <class Body>  // body(first column in the tile) for each of the channel's `fold` groups
    void each_copy(int64_t channel, Body&& body) const {
        for (int64_t k = 0; k < grid.fold; ++k) body((k * channels + channel) * grid.inner);
    }
    template <class Body>  // body(channel in the tile, its first column in the tile)
    void each_group(Body&& body) const {
        int64_t column = 0;
        for (int64_t k = 0; k < grid.fold; ++k)
            for (int64_t c = 0; c < channels; ++c, column += grid.inner) body(c, column);
    }
};

// Streaming stores need whole cache lines: rows and tiles that begin on a line, or that are long.
template <class S>
inline bool columns_worth_streaming(const Shape& shape, const Grid& grid, const Operand& out) {
    constexpr int64_t line = 64, least_run_bytes = 2048;
    const auto whole = [](int64_t values) { return values * int64_t(sizeof(S)) % line == 0; };
    const bool aligned = whole(out.outer_stride * grid.fold) && whole(grid.tile_width()) &&
                         reinterpret_cast<uintptr_t>(out.data) % line == 0;
    const bool is_long = grid.tile_width() * int64_t(sizeof(S)) >= least_run_bytes;
    return worth_streaming<S>(shape) && (aligned || is_long);
}

// The rows of an operand, each from a tile's first column on; null where the operand is absent.
template <class S>
struct TileRows {
    S* start;
    int64_t stride;
    TileRows(const Operand& a, const Tile& tile)
        : start(a ? static_cast<S*>(a.data) + tile.first : nullptr),
          stride(a.outer_stride * tile.grid.fold) {}
    S* operator[](int64_t row) const { return start ? start + row * stride : nullptr; }
    // How far the rows lie ahead whose lines are prefetched before they are stored: some 32 lines or more. With 192 lines
    // shapes in cache took up to 1.2 times as long.
    int64_t stored_ahead(const Tile& tile) const { return (1 + 512 / tile.count) * stride; }
};

// From the last row to the first, since the last rows that the first pass read are still in cache. But 64 rows
// at a time in rising order: processors prefetch along rising addresses.
template <class Body>
inline void each_row_backwards(int64_t begin, int64_t end, const Body& body) {
    constexpr int64_t together = 64;
    for (int64_t stop = end; stop > begin; stop -= together)
        for (int64_t row = std::max(begin, stop - together); row < stop; ++row) body(row);
}

// A value for each column of a tile, padded to whole packs.
template <class T>
struct alignas(64) Column {
    T at[tile_columns + lanes];
    const T& operator[](int64_t j) const { return at[j]; }
    BACKNORM_INLINE Pack<T> pack(int64_t j) const { return load<T>(at + j); }
    // One value or more: where channels are last it is one, and std::fill_n would take longer than all else for a channel.
    BACKNORM_INLINE void fill(int64_t first, int64_t count, T value) {
        at[first] = value;
        for (int64_t j = first + 1; j < first + count; ++j) at[j] = value;
    }
};

// A tile's coefficients, in float32 or float64. Those of a channel are repeated for all its columns, so that the
// loop over a row is the same for every layout.
template <class Channel, class T>
struct TileCoefficients {
    Column<T> of[Channel::count];
    void set(const Channel& k, int64_t first, int64_t count) {
        BACKNORM_UNROLL for (int each = 0; each < Channel::count; ++each) {
            of[each].fill(first, count, T(k.coefficient(each)));
        }
    }
};

// The results of a tile's rows. `channel(c)` gives the coefficients of channel c, and
// `run(coefficients, row, into, last)` computes a row; `last` is false if the row will be computed again.
//
// A vector holds columns of several channels, some of which may need float64. Then every row is computed twice,
// in float64 into a buffer and in float32 into the output, and the groups of channels that need float64 are
// copied from the buffer. So the bits of a channel do not depend on its neighbours, and a tile in which all
// channels fit float32, which is the usual case, pays nothing.
template <class S, class Channel>
class TileResults {
  public:
    template <class Of>
    TileResults(const Tile& tile, const Of& channel) : tile_(tile) {
        for (int64_t c = 0; c < tile.channels; ++c) {
            const Channel k = channel(tile.first_channel + c);
            const bool precise = !is_double<S> && !k.fits_float();
            const Channel fast = is_double<S> ? k : k.for_float();
            tile.each_copy(c, [&](int64_t j) {
                if (precise) precise_.push_back(j);
                fast_.set(fast, j, tile.grid.inner);
            });
        }
        if (precise_.empty()) return;
        wide_ = std::make_unique<TileCoefficients<Channel, double>>();
        tile.each_group([&](int64_t c, int64_t j) {
            wide_->set(channel(tile.first_channel + c), j, tile.grid.inner);
        });
    }

    // Whether every row is computed once. Only then may it be stored past the cache: otherwise parts of it are
    // written again.
    bool only_fast() const { return precise_.empty(); }

    template <class Run>
    void each_row(const TileRows<S>& out, bool add, int64_t begin, int64_t end, const Run& run) const {
        if (only_fast() || !out.start)
            return each_row_backwards(
                begin, end, [&](int64_t row) { run(fast_, row, out[row], true); });
        Column<S> precise;
        each_row_backwards(begin, end, [&](int64_t row) {
            if (add) std::copy_n(out[row], tile_.count, precise.at);  // what `run` adds its results to
            run(*wide_, row, precise.at, false);
            run(fast_, row, out[row], true);
            for (const int64_t j : precise_)
                std::copy_n(precise.at + j, tile_.grid.inner, out[row] + j);
        });
    }

  private:
    const Tile& tile_;
    TileCoefficients<Channel, Fast<S>> fast_;
    std::unique_ptr<TileCoefficients<Channel, double>> wide_;
    std::vector<int64_t> precise_;  // the first columns of the groups that need float64
};

// Rows [part begin, part end) of a grid cut into parts.
struct RowPart {
    int64_t begin, end;
    RowPart(const Grid& g, int64_t part, int64_t parts)
        : begin(g.rows * part / parts), end(g.rows * (part + 1) / parts) {}
};

}  // namespace BACKNORM_LEVEL
}  // namespace backnorm
