// The sums of a tile's columns (tiles.hpp) over some rows, and from them those of its channels.
//
// Sixteen columns are summed over a block of rows before the next sixteen: sums stay in registers for the
// block, and lie in a `Column` between blocks. A column is always summed along its rows in the same order, so
// that how columns are cut into tiles does not change a sum.
#pragma once

#include <algorithm>

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

// The sums of a tile's columns over some rows.
template <class S>
struct MomentTile {
    const Tile& tile;
    const TileRows<const S> x;
    Column<double> reference, first, second;

    MomentTile(const Tile& t, const Operand& from) : tile(t), x(from, t) {}

    void run(int64_t begin, int64_t end) {
        std::fill_n(reference.at, tile.count + lanes, 0.0);
        // The reference is the mean of the first rows; for float64 of all rows, in an additional pass.
        const int64_t some = is_double<S> ? end : std::min(end, begin + 8);
        sum(begin, some);
        share_reference(double(some - begin));
        sum(begin, end);
    }

    // Adds the sums of a channel's columns, which share one reference, to those of the channel.
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

    // Every column gets the mean of its channel over the rows just summed as its reference.
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
            const Pack<double> gradient = load_up_to<double>(dy[row] + j, left);
            const Pack<double> out = output(row).template of<double>(UpTo{j, left});
            sums.add(0, grad_through_activation<kind>(gradient, out, call.slope),
                     undo_activation<kind>(load_up_to<double>(x[row] + j, left), call.inverse_slope) - around);
        }
        store(plain.at + j, sums.plain[0]);
        store(product.at + j, sums.product[0]);
        store(square.at + j, sums.square[0]);
    }
};

}  // namespace BACKNORM_LEVEL
}  // namespace backnorm
