// The sums of a tile's columns (tiles.hpp) over some rows, and from them those of its channels.
//
// Sixteen columns are summed over a block of rows before the next sixteen: sums stay in registers for the
// block, and lie in a `Column` between blocks. A column is always summed along its rows in the same order, so
// that how columns are cut into tiles does not change a sum.
#pragma once

#include <algorithm>
#include <type_traits>

#include "call.hpp"
#include "gradient.hpp"
#include "statistics.hpp"
#include "tiles.hpp"

namespace backnorm {
namespace BACKNORM_LEVEL {

// The sum of a channel's neighbouring columns, in an order that depends on `count` only.
inline double sum_of(const double* p, int64_t count) {
    if (count == 1) return *p;
    double lane[8] = {};
    int64_t i = 0;
    for (; i + 8 <= count; i += 8)
        BACKNORM_UNROLL for (int k = 0; k < 8; ++k) lane[k] += p[i + k];
    for (int k = 0; i < count; ++i, ++k) lane[k] += p[i];
    return ((lane[0] + lane[1]) + (lane[2] + lane[3])) + ((lane[4] + lane[5]) + (lane[6] + lane[7]));
}

// How many packs of columns are summed side by side: as many as hide the latency of the adders and have room in registers.
constexpr int packs = BACKNORM_VECTOR_BYTES == 64 ? 2 : 1;

// Some rows of a block, `packs` or fewer packs of columns from j on; what lies so many rows ahead is prefetched.
struct ColumnBlock {
    int64_t begin, end, ahead, j;
};

// body(block, packs, where its values are) for all columns of a tile, a block of rows after another.
template <class Body>
BACKNORM_INLINE void each_block(const Tile& tile, int64_t begin, int64_t end, const Body& body) {
    const int64_t whole = tile.count - tile.count % (packs * lanes);
    for (int64_t row = begin; row < end; row += block_rows) {
        const int64_t stop = std::min(end, row + block_rows), ahead = stop + block_rows <= end ? block_rows : 0;
        for (int64_t j = 0; j < whole; j += packs * lanes)
            body(ColumnBlock{row, stop, ahead, j}, std::integral_constant<int, packs>(), Whole{j});
        for (int64_t j = whole; j < tile.count; j += lanes)
            body(ColumnBlock{row, stop, ahead, j}, std::integral_constant<int, 1>(), UpTo{j, tile.count - j});
    }
}
// The same place so many packs further.
BACKNORM_INLINE Whole further(const Whole& place, int k) { return {place.at + k * lanes}; }
BACKNORM_INLINE UpTo further(const UpTo& place, int k) { return {place.at + k * lanes, place.left - k * lanes}; }

// The same of a pointer to it.
BACKNORM_INLINE Whole at_start(const Whole&) { return {0}; }
BACKNORM_INLINE UpTo at_start(const UpTo& place) { return {0, place.left}; }

// The sums of a tile's columns over some rows.
template <class S>
struct MomentTile {
    const Tile& tile;
    const TileRows<const S> x;
    Column<double> reference, first, second;

    MomentTile(const Tile& t, const Operand& from) : tile(t), x(from, t) {}

    // The sums of the tile's channels in `channels`, which are 0 before.
    void run(int64_t begin, int64_t end, Moments* channels) {
        std::fill_n(reference.at, tile.count + lanes, 0.0);
        // The reference is the mean of the first rows; for float64 of all rows, in an additional pass.
        const int64_t rows = end - begin, each = tile.grid.inner * tile.grid.fold;  // of a channel in a row
        const int64_t few = std::min({rows, block_rows, (values_of_shift(rows * each) + each - 1) / each});
        const int64_t some = begin + (is_double<S> ? rows : few);
        sum(begin, some);
        share_reference(double(some - begin));
        sum(begin, end);
        add_to(channels, rows);
        if (is_double<S> || few == rows || !moves_far(channels)) return;
        std::fill_n(channels, tile.channels, Moments());
        sum(begin, end);
        add_to(channels, rows);
    }

  private:
    // Adds the sums of a channel's columns, which share one reference, to those of the channel.
    void add_to(Moments* channels, int64_t rows) const {
        tile.each_group([&](int64_t c, int64_t j) {
            const int64_t inner = tile.grid.inner;
            channels[c].add(
                {reference[j], sum_of(first.at + j, inner), sum_of(second.at + j, inner), rows * inner});
        });
    }

    void sum(int64_t begin, int64_t end) {
        std::fill_n(first.at, tile.count + lanes, 0.0);
        std::fill_n(second.at, tile.count + lanes, 0.0);
        each_block(tile, begin, end, [this](const ColumnBlock& block, auto count, auto place) BACKNORM_LAMBDA {
            sum_block<decltype(count)::value>(block, place);
        });
    }

    // The loops read local variables only: what a reference points to would be loaded again after each store.
    template <int count, class Place>
    BACKNORM_INLINE void sum_block(const ColumnBlock block, const Place place) {
        const int64_t stride = x.stride, ahead = block.ahead * stride;
        const S* from = x[block.begin] + block.j;
        const Place here = at_start(place);
        Pack<double> around[count], one[count], two[count];
        BACKNORM_UNROLL for (int k = 0; k < count; ++k) {
            around[k] = reference.pack(block.j + k * lanes);
            one[k] = first.pack(block.j + k * lanes);
            two[k] = second.pack(block.j + k * lanes);
        }
        for (int64_t row = block.begin; row < block.end; ++row, from += stride)
            BACKNORM_UNROLL for (int k = 0; k < count; ++k) {
                const Place at = further(here, k);
                fetch(from + ahead + at.at);
                const Pack<double> d = at.template read<double>(from) - around[k];
                one[k] = one[k] + d;
                two[k] = multiply_add(d, d, two[k]);
            }
        BACKNORM_UNROLL for (int k = 0; k < count; ++k) {
            store(first.at + block.j + k * lanes, one[k]);
            store(second.at + block.j + k * lanes, two[k]);
        }
    }

    // Moves the references that are far from their means; false if there is none. The others' sums come out again.
    bool moves_far(const Moments* channels) {
        bool moved = false;
        for (int64_t c = 0; c < tile.channels; ++c) {
            if (!is_far(channels[c])) continue;
            const double mean = channels[c].reference + channels[c].first / double(channels[c].count);
            tile.each_copy(c, [&](int64_t j) { reference.fill(j, tile.grid.inner, mean); });
            moved = true;
        }
        return moved;
    }

    // Every column gets the mean of its channel over the rows just summed as its reference.
    void share_reference(double rows) {
        const int64_t inner = tile.grid.inner, each = tile.count / tile.grid.fold;
        for (int64_t j = 0; j < each; j += inner) {
            double mean = 0.0;
            for (int64_t from = j; from < tile.count; from += each)
                mean += sum_of(first.at + from, inner);
            mean /= rows * double(inner * tile.grid.fold);
            for (int64_t from = j; from < tile.count; from += each)
                reference.fill(from, inner, mean);
        }
    }
};

// The sums of a tile's columns over some rows, as in MomentTile, here around the known means.
template <class S>
struct ComomentTile {
    const BackwardCall& call;
    const Tile& tile;
    const TileRows<const S> dy, x;
    Column<double> mean, plain, product, square;

    ComomentTile(const BackwardCall& c, const Tile& t) : call(c), tile(t), dy(c.dy, t), x(c.x, t) {
        for (Column<double>* sums : {&plain, &product, &square})
            std::fill_n(sums->at, tile.count + lanes, 0.0);
        tile.each_group([&](int64_t channel, int64_t j) {
            const double centre = call.statistics.mean[tile.first_channel + channel];
            mean.fill(j, tile.grid.inner, centre);
        });
        std::fill_n(mean.at + tile.count, lanes, 0.0);
    }

    template <Activation kind, class Output>
    void run(const Output& output, int64_t begin, int64_t end) {
        each_block(tile, begin, end, [&](const ColumnBlock& block, auto count, auto place) BACKNORM_LAMBDA {
            sum_block<kind, decltype(count)::value>(output, block, place);
        });
    }

    void add_to(Comoments* channels) const {
        tile.each_group([&](int64_t c, int64_t j) {
            const auto sum = [&](const Column<double>& all) { return sum_of(all.at + j, tile.grid.inner); };
            channels[c].add({sum(plain), sum(product), sum(square)});
        });
    }

  private:
    template <Activation kind, int count, class Place, class Output>
    BACKNORM_INLINE void sum_block(const Output& output, const ColumnBlock block, const Place place) {
        const int64_t dy_stride = dy.stride, x_stride = x.stride;
        const int64_t dy_ahead = block.ahead * dy_stride, x_ahead = block.ahead * x_stride;
        const S *from_dy = dy[block.begin], *from_x = x[block.begin];
        const double slope = call.slope, inverse_slope = call.inverse_slope;
        Pack<double> around[count];
        ComomentSums<S> sums[count];
        BACKNORM_UNROLL for (int k = 0; k < count; ++k) {
            around[k] = mean.pack(block.j + k * lanes);
            sums[k].plain[0] = plain.pack(block.j + k * lanes);
            sums[k].product[0] = product.pack(block.j + k * lanes);
            sums[k].square[0] = square.pack(block.j + k * lanes);
        }
        for (int64_t row = block.begin; row < block.end; ++row, from_dy += dy_stride, from_x += x_stride)
            BACKNORM_UNROLL for (int k = 0; k < count; ++k) {
                const auto at = further(place, k);
                fetch(from_dy + dy_ahead + at.at);
                fetch(from_x + x_ahead + at.at);
                const Pack<double> gradient = at.template read<double>(from_dy);
                const Pack<double> out = output(row).template of<double>(at);
                sums[k].add(0, grad_through_activation<kind>(gradient, out, slope),
                            undo_activation<kind>(at.template read<double>(from_x), inverse_slope) - around[k]);
            }
        BACKNORM_UNROLL for (int k = 0; k < count; ++k) {
            store(plain.at + block.j + k * lanes, sums[k].plain[0]);
            store(product.at + block.j + k * lanes, sums[k].product[0]);
            store(square.at + block.j + k * lanes, sums[k].square[0]);
        }
    }
};

}  // namespace BACKNORM_LEVEL
}  // namespace backnorm
