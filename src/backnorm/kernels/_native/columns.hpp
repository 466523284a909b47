// The walk over interleaved layouts (NHWC, NC) and small planes, a tile of tiles.hpp at a time.
//
// The second pass should find in cache what the first one read. There are two ways, and `Grid::parts` decides:
//
// - One part: a thread does both passes over a tile before it takes the next one. That needs tiles enough for
//   all threads, and few enough rows that a tile stays in cache.
// - Several parts: the rows are cut into parts, whose sums are combined. Then each thread takes an equal share
//   of the rows for the results, from the last to the first: what the first pass read last is still in cache.
//
// The parts depend on the shape and the strides, never on the number of threads, so that the sums do not
// either. The shares of the second pass may depend on it: results are not sums.
#pragma once

#include <memory>
#include <vector>

#include "call.hpp"
#include "exact_columns.hpp"
#include "gradient.hpp"
#include "normalize.hpp"
#include "statistics.hpp"
#include "threads.hpp"
#include "tile_sums.hpp"
#include "tiles.hpp"
#include "tree.hpp"

namespace backnorm {
namespace BACKNORM_LEVEL {

// ---- forward

// y in rows [begin, end) of a tile, once the statistics are known.
template <class S>
inline void normalize_tile(const ForwardCall& call, const Tile& tile, int64_t begin, int64_t end,
                           bool streaming) {
    const TileResults<S, NormalizeChannel> results(
        tile, [&](int64_t c) { return NormalizeChannel(call, c); });
    const TileRows<const S> x(call.x, tile), residual(call.residual, tile);
    const TileRows<S> y(call.y, tile);
    streaming = streaming && results.only_fast();
    with_activation(call.activation, [&](auto kind) {
        results.each_row(y, false, begin, end,
                         [&](const auto& k, int64_t row, S* into, bool) {
            const auto at = each_normalize(k.of, call.exact);
            normalize_run<decltype(kind)::value>(x[row], residual[row], into, tile.count, at,
                                                 call.slope, streaming, x[row + 2], y.stored_ahead(tile));
        });
    });
    if (streaming) finish_stream();
}

// The sums of a tile's channels over the rows [begin, end), in `channels`, which are 0 before.
template <class S, class Sums>
inline void sum_tile(const ForwardCall& call, const Tile& tile, int64_t begin, int64_t end, Sums* channels) {
    if constexpr (std::is_same<Sums, ExactMoments>::value) {
        const std::unique_ptr<ExactMomentTile<S>> sums(new ExactMomentTile<S>(tile, call.x));
        sums->run(begin, end, channels);
    } else {
        MomentTile<S> sums(tile, call.x);
        sums.run(begin, end, channels);
    }
}

template <class S, Law law>
inline void columns_forward(const ForwardCall& call) {
    using Sums = std::conditional_t<by_integers<S, law>, ExactMoments, Moments>;
    if constexpr (by_tree<S, law>)
        if (!call.frozen) store_tree_moments(call);
    const bool known = call.frozen || by_tree<S, law>;
    const Grid grid = Grid::of(call, {&call.x, &call.y, &call.residual});
    const int64_t parts = grid.parts(), tiles = grid.tiles();
    const bool streaming = call.y && columns_worth_streaming<S>(call.shape, grid, call.y);
    // Both passes over a tile before the next one.
    if (parts == 1) {
        const int threads = threads_for(call.threads, call.shape.size(), tiles);
        parallel_for(tiles, threads, [&](int64_t index) {
            const Tile tile(grid, index);
            const int64_t first = tile.first_channel, last = first + tile.channels;
            if (!known) {
                std::vector<Sums> channels(size_t(tile.channels));
                sum_tile<S>(call, tile, 0, grid.rows, channels.data());
                for (int64_t c = first; c < last; ++c)
                    store_moments(channels[size_t(c - first)], call, c);
            }
            if (call.y) normalize_tile<S>(call, tile, 0, grid.rows, streaming);
        });
        return;
    }
    // First pass: the sums of each part of the rows, tile after tile. Parts are combined in their order.
    const int threads = threads_for(call.threads, call.shape.size(), parts);
    if (!known) {
        std::vector<Sums> pieces(size_t(parts * grid.channels));
        parallel_for(parts, threads, [&](int64_t part) {
            const RowPart rows(grid, part, parts);
            for (int64_t index = 0; index < tiles; ++index) {
                const Tile tile(grid, index);
                sum_tile<S>(call, tile, rows.begin, rows.end,
                            &pieces[size_t(part * grid.channels + tile.first_channel)]);
            }
        });
        parallel_for(grid.channels, threads, [&](int64_t c) {
            Sums all;
            for (int64_t part = 0; part < parts; ++part) all.add(pieces[size_t(part * grid.channels + c)]);
            store_moments(all, call, c);
        });
    }
    if (!call.y) return;
    // Second pass: a share of the rows for each thread, the last tile first.
    parallel_for(threads, threads, [&](int64_t share) {
        const RowPart rows(grid, share, threads);
        for (int64_t index = tiles; index-- > 0;)
            normalize_tile<S>(call, Tile(grid, index), rows.begin, rows.end, streaming);
    });
}

// ---- backward

// The output of the activation in a tile's rows: as it was stored, or the coefficients to compute it again.
template <class S>
class TileOutput {
  public:
    TileOutput(const BackwardCall& call, const Tile& tile, bool recompute)
        : call_(call), x_(call.x, tile), y_(call.y, tile) {
        if (!recompute) return;
        normalize_ = std::make_unique<TileCoefficients<NormalizeChannel, Fast<S>>>();
        for (int64_t c = 0; c < tile.channels; ++c) {
            const NormalizeChannel k = in_usual_dtype<S>(NormalizeChannel(call, tile.first_channel + c));
            tile.each_copy(c, [&](int64_t j) { normalize_->set(k, j, tile.grid.inner); });
        }
    }

    // body(kind, output) with the activation, and output(row) for the output of a row.
    template <class Body>
    void with(const Body& body) const {
        with_activation(call_.activation, [&](auto kind) {
            if constexpr (can_recompute<decltype(kind)::value, S>)
                if (normalize_) {
                    const auto at = each_normalize(normalize_->of, call_.exact);
                    return body(kind, [&](int64_t row) {
                        return RecomputedOutput<S, EachNormalize<Fast<S>>>{x_[row], at};
                    });
                }
            body(kind, [&](int64_t row) { return StoredOutput<S>{y_[row]}; });
        });
    }

  private:
    const BackwardCall& call_;
    const TileRows<const S> x_, y_;
    std::unique_ptr<TileCoefficients<NormalizeChannel, Fast<S>>> normalize_;
};

// dx and dresidual in rows [begin, end) of a tile; `measures` are those of the tile's channels, for GradientChannel.
template <class S>
inline void gradient_tile(const BackwardCall& call, const Tile& tile, const TileOutput<S>& output,
                          const double* measures, int64_t begin, int64_t end, bool streaming) {
    const TileResults<S, GradientChannel> results(tile, [&](int64_t c) {
        return GradientChannel(call, c, measures[c - tile.first_channel]);
    });
    const TileRows<const S> dy(call.dy, tile), x(call.x, tile);
    const TileRows<S> dx(call.dx, tile), dresidual(call.dresidual, tile);
    const bool through = call.through_mean || call.through_variance;
    streaming = streaming && results.only_fast();
    output.with([&](auto kind, const auto& of_row) {
        results.each_row(dx, call.add_dx, begin, end,
                         [&](const auto& k, int64_t row, S* into, bool last) {
            const GradientRun<S> run{dy[row], x[row], into, last ? dresidual[row] : nullptr,
                                     tile.count, call.slope, call.inverse_slope, through, call.add_dx,
                                     call.add_dresidual, streaming, call.exact, dy[row + 2], x[row + 2],
                                     dx.stored_ahead(tile)};
            gradient_run<decltype(kind)::value>(run, of_row(row), each_gradient(k.of, call.exact));
        });
    });
    if (streaming) finish_stream();
}

template <class S, Law law>
inline void columns_backward(const BackwardCall& call) {
    using Sums = std::conditional_t<by_integers<S, law>, ExactComoments, Comoments>;
    if constexpr (by_tree<S, law>) store_tree_sums(call);
    const Grid grid = Grid::of(call, {&call.dy, &call.x, &call.y, &call.dx, &call.dresidual});
    const int64_t parts = grid.parts(), tiles = grid.tiles();
    const bool streaming = call.dx && columns_worth_streaming<S>(call.shape, grid, call.dx);
    const bool results = call.dx || call.dresidual, recompute = recomputes<S>(call);
    const bool known = by_tree<S, law> || call.measures;
    // With `recompute` each tile prepares the coefficients of the forward pass too, and y is not read at all:
    // an array less in both passes.
    const auto sum_rows = [&](const Tile& tile, const TileOutput<S>& output, int64_t begin, int64_t end,
                              Sums* into) {
        if constexpr (by_integers<S, law>) {
            const std::unique_ptr<ExactComomentTile<S>> sums(new ExactComomentTile<S>(call, tile));
            with_activation(call.activation, [&](auto kind) {
                sums->template run<decltype(kind)::value>(begin, end, into);
            });
        } else {
            ComomentTile<S> sums(call, tile);
            output.with([&](auto kind, const auto& of_row) {
                sums.template run<decltype(kind)::value>(of_row, begin, end);
            });
            sums.add_to(into);
        }
    };
    // Both passes over a tile before the next one.
    if (parts == 1) {
        const int threads = threads_for(call.threads, call.shape.size(), tiles);
        parallel_for(tiles, threads, [&](int64_t index) {
            const Tile tile(grid, index);
            const int64_t first = tile.first_channel, last = first + tile.channels;
            const TileOutput<S> output(call, tile, recompute);
            std::vector<double> measures(size_t(tile.channels), 0.0);
            if (call.measures) std::copy_n(call.measures + first, tile.channels, measures.data());
            if (!known) {
                std::vector<Sums> channels(size_t(tile.channels));
                sum_rows(tile, output, 0, grid.rows, channels.data());
                for (int64_t c = first; c < last; ++c)
                    measures[size_t(c - first)] = store_sums(channels[size_t(c - first)], call, c);
            }
            if (results) gradient_tile<S>(call, tile, output, measures.data(), 0, grid.rows, streaming);
        });
        return;
    }
    // First pass: the sums of each part of the rows. Parts are combined in their order.
    const int threads = threads_for(call.threads, call.shape.size(), parts);
    std::vector<double> measures(size_t(grid.channels), 0.0);
    if (call.measures) std::copy_n(call.measures, grid.channels, measures.data());
    std::vector<Sums> pieces(known ? 0 : size_t(parts * grid.channels));
    if (!known) parallel_for(parts, threads, [&](int64_t part) {
        const RowPart rows(grid, part, parts);
        for (int64_t index = 0; index < tiles; ++index) {
            const Tile tile(grid, index);
            sum_rows(tile, TileOutput<S>(call, tile, recompute), rows.begin, rows.end,
                     &pieces[size_t(part * grid.channels + tile.first_channel)]);
        }
    });
    if (!known) parallel_for(grid.channels, threads, [&](int64_t c) {
        Sums all;
        for (int64_t part = 0; part < parts; ++part) all.add(pieces[size_t(part * grid.channels + c)]);
        measures[size_t(c)] = store_sums(all, call, c);
    });
    if (!results) return;
    // Second pass: a share of the rows for each thread, the last tile first.
    parallel_for(threads, threads, [&](int64_t share) {
        const RowPart rows(grid, share, threads);
        for (int64_t index = tiles; index-- > 0;) {
            const Tile tile(grid, index);
            gradient_tile<S>(call, tile, TileOutput<S>(call, tile, recompute),
                             &measures[size_t(tile.first_channel)], rows.begin, rows.end, streaming);
        }
    });
}

}  // namespace BACKNORM_LEVEL
}  // namespace backnorm
