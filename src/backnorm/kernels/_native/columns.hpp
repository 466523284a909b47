// Interleaved layouts (NHWC, NC) and small planes: the array as rows of columns, where neighbouring
// columns belong to different channels (inner = 1) or each channel owns a few (inner = 49 for 7x7).
//
// Few rows: a tile of columns at a time, both passes, so that the second finds it in cache.
// Many rows: parts of the rows for the sums, then an equal share for each thread, backwards, for the
// result.
#pragma once

#include <algorithm>
#include <memory>
#include <vector>

#include "call.hpp"
#include "gradient.hpp"
#include "normalize.hpp"
#include "statistics.hpp"
#include "threads.hpp"

namespace backnorm {
namespace BACKNORM_LEVEL {

// A tile's float64 sums and coefficients fit a second-level cache, and where channels own several
// columns, so that less is read of each row at a time, a first-level one.
constexpr int tile_columns = 1024, small_tile_columns = 512;
// Rows are summed this many at a time: enough for the sums to stay in registers, few enough for the
// processor to fetch them ahead as so many streams.
constexpr int64_t block_rows = 8;
// What is prepared for each column pays from about so many rows on.
constexpr int64_t enough_rows = 64;

// The array as rows x columns. Where rows are short and follow each other in memory, `fold` of
// them count as one, so that vectors are full, and runs long enough to be stored past the cache; a
// tile holds all of them.
struct Grid {
    int64_t rows, columns, fold, channels, inner;

    template <class Call>
    static Grid of(const Call& call, std::initializer_list<const Operand*> operands) {
        const Shape& s = call.shape;
        const int64_t width = s.channels * s.inner;
        int64_t fold = 1;
        const bool dense = std::all_of(operands.begin(), operands.end(), [&](const Operand* a) {
            return !*a || a->outer_stride == width;
        });
        if (dense)
            while (width * fold * 2 <= small_tile_columns && s.outer % (fold * 2) == 0 &&
                   (width * fold < lanes || s.outer / fold >= 2 * enough_rows))
                fold *= 2;
        return {s.outer / fold, width * fold, fold, s.channels, s.inner};
    }
    // Where rows are few, tiles hold whole channels.
    int64_t tile_width() const {
        if (inner == 1) return std::min<int64_t>(columns, tile_columns);
        return std::min(columns, small_tile_columns / inner * inner);
    }
    int64_t tiles() const { return (columns + tile_width() - 1) / tile_width(); }
    // One part: a tile at a time, whose rows stay in cache from the sums to the results. That takes
    // tiles enough for all threads, and rows few enough.
    int64_t parts() const {
        constexpr int64_t enough_tiles = 8, values_in_cache = 1 << 18;
        if (tiles() >= enough_tiles && rows * tile_width() <= values_in_cache) return 1;
        constexpr int64_t values_per_part = 1 << 17, rows_per_part = 256;
        constexpr int64_t some = 4, least_values = 1 << 15;
        constexpr int64_t most_sums = 1 << 15;  // they take 1 MiB
        const int64_t values = rows * columns;
        const int64_t many = std::min({values / values_per_part, rows / rows_per_part, most_sums / channels});
        const int64_t few = std::min({some, values / least_values, (rows + block_rows - 1) / block_rows});
        const int64_t parts = std::max(many, few);
        return parts < 4 ? std::max<int64_t>(1, parts) : parts / 4 * 4;  // even shares for threads
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

// Streaming stores need whole cache lines: rows and tiles that begin on one, or are long.
template <class S>
inline bool columns_worth_streaming(const Shape& shape, const Grid& grid, const Operand& out) {
    constexpr int64_t line = 64, least_run_bytes = 2048;
    const auto whole = [](int64_t values) { return values * int64_t(sizeof(S)) % line == 0; };
    const bool aligned = whole(out.outer_stride * grid.fold) && whole(grid.tile_width()) &&
                         reinterpret_cast<uintptr_t>(out.data) % line == 0;
    const bool is_long = grid.tile_width() * int64_t(sizeof(S)) >= least_run_bytes;
    return worth_streaming<S>(shape) && (aligned || is_long);
}

inline double sum_of(const double* p, int64_t count) {
    if (count == 1) return *p;
    double lane[8] = {};
    int64_t i = 0;
    for (; i + 8 <= count; i += 8)
        BACKNORM_UNROLL for (int k = 0; k < 8; ++k) lane[k] += p[i + k];
    for (int k = 0; i < count; ++i, ++k) lane[k] += p[i];
    return ((lane[0] + lane[1]) + (lane[2] + lane[3])) + ((lane[4] + lane[5]) + (lane[6] + lane[7]));
}

// A row of an operand, from a tile's first column on.
template <class S>
struct Rows {
    S* start;
    int64_t stride;
    Rows(const Operand& a, const Tile& tile)
        : start(a ? static_cast<S*>(a.data) + tile.first : nullptr),
          stride(a.outer_stride * tile.grid.fold) {}
    S* operator[](int64_t row) const { return start ? start + row * stride : nullptr; }
};

// From the end, to meet what a first walk left in cache, but a few rows at a time in their order:
// processors fetch ahead along rising addresses.
template <class Body>
inline void each_row_backwards(int64_t begin, int64_t end, const Body& body) {
    constexpr int64_t together = 64;
    for (int64_t stop = end; stop > begin; stop -= together)
        for (int64_t row = std::max(begin, stop - together); row < stop; ++row) body(row);
}

// Arrays are padded to whole packs.
template <class T>
struct alignas(64) Column {
    T at[tile_columns + lanes];
    const T& operator[](int64_t j) const { return at[j]; }
    BACKNORM_INLINE Pack<T> pack(int64_t j) const { return load<T>(at + j); }
};

// A tile's coefficients, in float32 or float64: each channel's are repeated for all its columns.
template <class Channel, class T>
struct TileCoefficients {
    Column<T> of[Channel::count];
    void set(const Channel& k, int64_t first, int64_t count) {
        for (int each = 0; each < Channel::count; ++each)
            std::fill_n(of[each].at + first, count, T(k.coefficient(each)));
    }
};

// The results of a tile's rows. `channel(c)` gives the coefficients of the tile's channel c, and
// `run(coefficients, row, into, last)` computes a row; `last` is false when it will be computed again.
// Where some channels need float64, all columns are computed in both formats, and those channels' taken
// from the second: what is computed for the others must not depend on them.
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

    // Whether the fast results are all there is: only then may they be stored past the cache.
    bool fast_alone() const { return precise_.empty(); }

    template <class Run>
    void each_row(const Rows<S>& out, bool add, int64_t begin, int64_t end, const Run& run) const {
        if (fast_alone() || !out.start)
            return each_row_backwards(
                begin, end, [&](int64_t row) { run(fast_, row, out[row], true); });
        Column<S> precise;
        each_row_backwards(begin, end, [&](int64_t row) {
            if (add) std::copy_n(out[row], tile_.count, precise.at);
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

// ---- statistics

template <class S>
struct MomentTile {
    const Tile& tile;
    const Rows<const S> x;
    Column<double> reference, first, second;

    MomentTile(const Tile& t, const Operand& from) : tile(t), x(from, t) {}

    void run(int64_t begin, int64_t end) {
        std::fill_n(reference.at, tile.count + lanes, 0.0);
        const int64_t some = is_double<S> ? end : std::min(end, begin + 8);
        sum(begin, some);
        share_reference(double(some - begin));
        sum(begin, end);
    }

    // A channel's sums: those of its columns, which share one reference.
    void add_to(Moments* channels, int64_t rows) const {
        tile.each_group([&](int64_t c, int64_t j) {
            const int64_t inner = tile.grid.inner;
            channels[c].add(
                {reference[j], sum_of(first.at + j, inner), sum_of(second.at + j, inner), rows * inner});
        });
    }

  private:
    void sum(int64_t begin, int64_t end) {
        std::fill_n(first.at, tile.count + lanes, 0.0);
        std::fill_n(second.at, tile.count + lanes, 0.0);
        for (int64_t row = begin; row < end; row += block_rows)
            for (int64_t j = 0; j < tile.count; j += lanes)
                sum_block(row, std::min(end, row + block_rows), j);
    }

    BACKNORM_INLINE void sum_block(int64_t begin, int64_t end, int64_t j) {
        const Pack<double> around = reference.pack(j);
        const int64_t left = tile.count - j;
        MomentSums sums;
        sums.first[0] = first.pack(j);
        sums.second[0] = second.pack(j);
        for (int64_t row = begin; row < end; ++row) {
            fetch(x[row + block_rows] + j);
            sums.add(0, load_up_to<double>(x[row] + j, left) - around);
        }
        store(first.at + j, sums.first[0]);
        store(second.at + j, sums.second[0]);
    }

    // Every column gets its channel's mean, over the rows just summed, as reference.
    void share_reference(double rows) {
        const int64_t inner = tile.grid.inner, each = tile.count / tile.grid.fold;
        for (int64_t j = 0; j < each; j += inner) {
            double mean = 0.0;
            for (int64_t from = j; from < tile.count; from += each)
                mean += sum_of(first.at + from, inner);
            mean /= rows * double(inner * tile.grid.fold);
            for (int64_t from = j; from < tile.count; from += each)
                std::fill_n(reference.at + from, inner, mean);
        }
    }
};

// ---- forward

template <class S>
inline void normalize_tile(const ForwardCall& call, const Tile& tile, int64_t begin, int64_t end,
                           bool streaming) {
    const TileResults<S, NormalizeChannel> results(
        tile, [&](int64_t c) { return NormalizeChannel(call, c); });
    const Rows<const S> x(call.x, tile), residual(call.residual, tile);
    streaming = streaming && results.fast_alone();
    with_activation(call.activation, [&](auto kind) {
        results.each_row(Rows<S>(call.y, tile), false, begin, end,
                         [&](const auto& k, int64_t row, S* into, bool) {
            const auto at = each_normalize(k.of);
            normalize_run<decltype(kind)::value>(x[row], residual[row], into, tile.count, at,
                                                 call.slope, streaming, x[row + 2]);
        });
    });
    if (streaming) finish_stream();
}

// Rows [part begin, part end) of a grid cut into parts.
struct RowPart {
    int64_t begin, end;
    RowPart(const Grid& g, int64_t part, int64_t parts)
        : begin(g.rows * part / parts), end(g.rows * (part + 1) / parts) {}
};

template <class S>
inline void columns_forward(const ForwardCall& call) {
    const Grid grid = Grid::of(call, {&call.x, &call.y, &call.residual});
    const int64_t parts = grid.parts(), tiles = grid.tiles();
    const bool streaming = columns_worth_streaming<S>(call.shape, grid, call.y);
    if (parts == 1) {
        const int threads = threads_for(call.threads, call.shape.size(), tiles);
        parallel_for(tiles, threads, [&](int64_t index) {
            const Tile tile(grid, index);
            const int64_t first = tile.first_channel, last = first + tile.channels;
            if (!call.frozen) {
                MomentTile<S> sums(tile, call.x);
                Moments channels[tile_columns];
                sums.run(0, grid.rows);
                sums.add_to(channels, grid.rows);
                for (int64_t c = first; c < last; ++c)
                    store_moments(channels[c - first], call.eps, call.statistics, c);
            }
            normalize_tile<S>(call, tile, 0, grid.rows, streaming);
        });
        return;
    }
    const int threads = threads_for(call.threads, call.shape.size(), parts);
    if (!call.frozen) {
        std::vector<Moments> pieces(size_t(parts * grid.channels));
        parallel_for(parts, threads, [&](int64_t part) {
            const RowPart rows(grid, part, parts);
            for (int64_t index = 0; index < tiles; ++index) {
                const Tile tile(grid, index);
                MomentTile<S> sums(tile, call.x);
                sums.run(rows.begin, rows.end);
                sums.add_to(&pieces[size_t(part * grid.channels + tile.first_channel)],
                            rows.end - rows.begin);
            }
        });
        parallel_for(grid.channels, threads, [&](int64_t c) {
            Moments all;
            for (int64_t part = 0; part < parts; ++part) all.add(pieces[size_t(part * grid.channels + c)]);
            store_moments(all, call.eps, call.statistics, c);
        });
    }
    parallel_for(threads, threads, [&](int64_t share) {
        const RowPart rows(grid, share, threads);
        for (int64_t index = tiles; index-- > 0;)
            normalize_tile<S>(call, Tile(grid, index), rows.begin, rows.end, streaming);
    });
}

// ---- backward

// The output of the activation in a tile's rows: as it was kept, or with the coefficients that make it again.
template <class S>
class TileOutput {
  public:
    TileOutput(const BackwardCall& call, const Tile& tile, bool again)
        : call_(call), x_(call.x, tile), y_(call.y, tile) {
        if (!again) return;
        normalize_ = std::make_unique<TileCoefficients<NormalizeChannel, Fast<S>>>();
        for (int64_t c = 0; c < tile.channels; ++c) {
            const NormalizeChannel k = usual<S>(NormalizeChannel(call, tile.first_channel + c));
            tile.each_copy(c, [&](int64_t j) { normalize_->set(k, j, tile.grid.inner); });
        }
    }

    // body(kind, output) with the activation, and output(row) for the output of a row.
    template <class Body>
    void with(const Body& body) const {
        with_activation(call_.activation, [&](auto kind) {
            if constexpr (can_make_again<decltype(kind)::value, S>)
                if (normalize_) {
                    const auto at = each_normalize(normalize_->of);
                    return body(kind, [&](int64_t row) {
                        return OutputAgain<S, EachNormalize<Fast<S>>>{x_[row], at};
                    });
                }
            body(kind, [&](int64_t row) { return KeptOutput<S>{y_[row]}; });
        });
    }

  private:
    const BackwardCall& call_;
    const Rows<const S> x_, y_;
    std::unique_ptr<TileCoefficients<NormalizeChannel, Fast<S>>> normalize_;
};

template <class S>
struct ComomentTile {
    const BackwardCall& call;
    const Tile& tile;
    const Rows<const S> dy, x;
    Column<double> mean, plain, product, square;

    ComomentTile(const BackwardCall& c, const Tile& t) : call(c), tile(t), dy(c.dy, t), x(c.x, t) {
        for (Column<double>* sums : {&plain, &product, &square})
            std::fill_n(sums->at, tile.count + lanes, 0.0);
        tile.each_group([&](int64_t channel, int64_t j) {
            const double centre = call.statistics.mean[tile.first_channel + channel];
            std::fill_n(mean.at + j, tile.grid.inner, centre);
        });
        std::fill_n(mean.at + tile.count, lanes, 0.0);
    }

    template <Activation kind, class Output>
    void run(const Output& output, int64_t begin, int64_t end) {
        for (int64_t row = begin; row < end; row += block_rows)
            for (int64_t j = 0; j < tile.count; j += lanes)
                sum_block<kind>(output, row, std::min(end, row + block_rows), j);
    }

    void add_to(Comoments* channels) const {
        tile.each_group([&](int64_t c, int64_t j) {
            const auto sum = [&](const Column<double>& all) { return sum_of(all.at + j, tile.grid.inner); };
            channels[c].add({sum(plain), sum(product), sum(square)});
        });
    }

  private:
    template <Activation kind, class Output>
    BACKNORM_INLINE void sum_block(const Output& output, int64_t begin, int64_t end, int64_t j) {
        const Pack<double> around = mean.pack(j);
        const int64_t left = tile.count - j;
        ComomentSums<S> sums;
        sums.plain[0] = plain.pack(j);
        sums.product[0] = product.pack(j);
        sums.square[0] = square.pack(j);
        for (int64_t row = begin; row < end; ++row) {
            fetch(dy[row + block_rows] + j);
            fetch(x[row + block_rows] + j);
            const Pack<double> arrives = load_up_to<double>(dy[row] + j, left);
            const Pack<double> out = output(row).template of<double>(UpTo{j, left});
            sums.add(0, arriving<kind>(arrives, out, call.slope),
                     before<kind>(load_up_to<double>(x[row] + j, left), call.back) - around);
        }
        store(plain.at + j, sums.plain[0]);
        store(product.at + j, sums.product[0]);
        store(square.at + j, sums.square[0]);
    }
};

// `sums` are those of the tile's channels.
template <class S>
inline void gradient_tile(const BackwardCall& call, const Tile& tile, const TileOutput<S>& output,
                          const Comoments* sums, int64_t begin, int64_t end, bool streaming) {
    const TileResults<S, GradientChannel> results(tile, [&](int64_t c) {
        return GradientChannel(call, c, sums[c - tile.first_channel].square);
    });
    const Rows<const S> dy(call.dy, tile), x(call.x, tile);
    const Rows<S> dresidual(call.dresidual, tile);
    const bool through = call.through_mean || call.through_variance;
    streaming = streaming && results.fast_alone();
    output.with([&](auto kind, const auto& of_row) {
        results.each_row(Rows<S>(call.dx, tile), call.add_dx, begin, end,
                         [&](const auto& k, int64_t row, S* into, bool last) {
            const GradientRun<S> run{dy[row], x[row], into, last ? dresidual[row] : nullptr,
                                     tile.count, call.slope, call.back, through, call.add_dx,
                                     call.add_dresidual, streaming, dy[row + 2], x[row + 2]};
            gradient_run<decltype(kind)::value>(run, of_row(row), each_gradient(k.of));
        });
    });
    if (streaming) finish_stream();
}

template <class S>
inline void columns_backward(const BackwardCall& call) {
    const Grid grid = Grid::of(call, {&call.dy, &call.x, &call.y, &call.dx, &call.dresidual});
    const int64_t parts = grid.parts(), tiles = grid.tiles();
    const bool streaming = call.dx && columns_worth_streaming<S>(call.shape, grid, call.dx);
    const bool results = call.dx || call.dresidual, again = makes_again<S>(call);
    const auto sum_rows = [&](const Tile& tile, const TileOutput<S>& output, int64_t begin, int64_t end,
                              Comoments* into) {
        ComomentTile<S> sums(call, tile);
        output.with([&](auto kind, const auto& of_row) {
            sums.template run<decltype(kind)::value>(of_row, begin, end);
        });
        sums.add_to(into);
    };
    if (parts == 1) {
        const int threads = threads_for(call.threads, call.shape.size(), tiles);
        parallel_for(tiles, threads, [&](int64_t index) {
            const Tile tile(grid, index);
            const int64_t first = tile.first_channel, last = first + tile.channels;
            const TileOutput<S> output(call, tile, again);
            Comoments channels[tile_columns];
            sum_rows(tile, output, 0, grid.rows, channels);
            for (int64_t c = first; c < last; ++c) store_sums(channels[c - first], call, c);
            if (results) gradient_tile<S>(call, tile, output, channels, 0, grid.rows, streaming);
        });
        return;
    }
    const int threads = threads_for(call.threads, call.shape.size(), parts);
    std::vector<Comoments> pieces(size_t(parts * grid.channels));
    parallel_for(parts, threads, [&](int64_t part) {
        const RowPart rows(grid, part, parts);
        for (int64_t index = 0; index < tiles; ++index) {
            const Tile tile(grid, index);
            sum_rows(tile, TileOutput<S>(call, tile, again), rows.begin, rows.end,
                     &pieces[size_t(part * grid.channels + tile.first_channel)]);
        }
    });
    std::vector<Comoments> sums(size_t(grid.channels));
    parallel_for(grid.channels, threads, [&](int64_t c) {
        for (int64_t part = 0; part < parts; ++part)
            sums[size_t(c)].add(pieces[size_t(part * grid.channels + c)]);
        store_sums(sums[size_t(c)], call, c);
    });
    if (!results) return;
    parallel_for(threads, threads, [&](int64_t share) {
        const RowPart rows(grid, share, threads);
        for (int64_t index = tiles; index-- > 0;) {
            const Tile tile(grid, index);
            gradient_tile<S>(call, tile, TileOutput<S>(call, tile, again),
                             &sums[size_t(tile.first_channel)], rows.begin, rows.end, streaming);
        }
    });
}

}  // namespace BACKNORM_LEVEL
}  // namespace backnorm
