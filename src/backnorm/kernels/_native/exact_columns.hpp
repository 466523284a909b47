// The exact sums of a tile's columns (tiles.hpp): every column has the window of its channel.
#pragma once

#include <algorithm>
#include <vector>

#include "exact_lanes.hpp"
#include "tiles.hpp"

namespace backnorm {
namespace BACKNORM_LEVEL {

// Rows that are summed before sums move to integers: sixteen columns stay in registers meanwhile.
constexpr int64_t exact_rows = most_products;
// Rows in which a channel's window is found.
constexpr int64_t window_rows = 16;
// Integers hold this many moves.
constexpr int64_t rows_between_drains = 512 * exact_rows;

// Some rows of sixteen columns: where they lie, or of the last columns of a tile a copy in `tail`.
template <class S>
struct BlockRows {
    const S* first;
    int64_t stride;
    BACKNORM_INLINE BlockRows(const S* from, int64_t from_stride, int64_t rows, int64_t left, S* tail)
        : first(from), stride(from_stride) {
        if (left >= lanes) return;
        pad_rows(tail, from, stride, rows, left);
        first = tail;
        stride = lanes;
    }
    const S* operator[](int64_t row) const { return first + row * stride; }
};

using IntegerColumn = Column<int64_t>;
using MagnitudeColumn = Column<uint32_t>;

BACKNORM_INLINE void add_columns(const Integers& sums, int64_t* into) {
    Integers all = Integers::at(into);
    BACKNORM_UNROLL for (int k = 0; k < Pack<double>::parts; ++k) all.part[k] += sums.part[k];
    all.store(into);
}
BACKNORM_INLINE void mark_columns(const Outside& outside, int64_t* into) {
    Bits now[Pack<double>::parts];
    std::memcpy(now, into, sizeof now);
    BACKNORM_UNROLL for (int k = 0; k < Pack<double>::parts; ++k) now[k] |= outside.part[k];
    std::memcpy(into, now, sizeof now);
}

// The magnitudes of columns, between blocks of rows.
template <class S, bool with_largest>
struct MagnitudeColumns {
    MagnitudeColumn least, largest;

    void begin(int64_t count) {
        std::fill_n(least.at, count, ~uint32_t(0));
        if (with_largest) std::fill_n(largest.at, count, 0u);
    }
    BACKNORM_INLINE Magnitudes<S, with_largest> at(int64_t j) const {
        Magnitudes<S, with_largest> sizes;
        std::memcpy(sizes.least, least.at + j, sizeof sizes.least);
        if (with_largest) std::memcpy(sizes.largest, largest.at + j, sizeof sizes.largest);
        return sizes;
    }
    BACKNORM_INLINE void store(const Magnitudes<S, with_largest>& sizes, int64_t j) {
        std::memcpy(least.at + j, sizes.least, sizeof sizes.least);
        if (with_largest) std::memcpy(largest.at + j, sizes.largest, sizeof sizes.largest);
    }
    // Whether all values of neighbouring columns are.
    bool inside(int64_t j, int64_t count, int window) const {
        uint32_t low = ~uint32_t(0), high = 0;
        for (int64_t k = j; k < j + count; ++k) {
            low = std::min(low, least[k]);
            if (with_largest) high = std::max(high, largest[k]);
        }
        return Magnitudes<S, with_largest>::inside(low, high, window);
    }
};

// The units of columns.
struct UnitColumns {
    Column<double> start, of_sum, of_high, of_low;
    void set(const SumUnits& u, int64_t j, int64_t count) {
        std::fill_n(start.at + j, count, u.start);
        std::fill_n(of_sum.at + j, count, u.of_sum);
        std::fill_n(of_high.at + j, count, u.of_high);
        std::fill_n(of_low.at + j, count, u.of_low);
    }
    BACKNORM_INLINE LaneUnits at(int64_t j) const {
        return {start.pack(j), of_sum.pack(j), of_high.pack(j), of_low.pack(j)};
    }
};

// The windows of a tile's channels, from the first rows of an operand.
template <class S>
BACKNORM_APART std::vector<int> windows_of(const Tile& tile, const TileRows<const S>& a, int64_t begin, int64_t end) {
    std::vector<uint32_t> most(size_t(tile.channels), 0);
    MagnitudeColumns<float, true> sizes;
    sizes.begin(tile.count + lanes);
    for (int64_t j = 0; j < tile.count; j += lanes) {
        Magnitudes<float, true> of;
        for (int64_t row = begin; row < std::min(end, begin + window_rows); ++row)
            of.add(load_up_to<float>(a[row] + j, tile.count - j));
        sizes.store(of, j);
    }
    tile.each_group([&](int64_t c, int64_t j) {
        const uint32_t* first = sizes.largest.at + j;
        most[size_t(c)] = std::max(most[size_t(c)], *std::max_element(first, first + tile.grid.inner));
    });
    std::vector<int> windows;
    for (const uint32_t each : most) windows.push_back(window_of<S>(each));
    return windows;
}

inline Wide sum_of(const IntegerColumn& column, int64_t j, int64_t count) {
    if (count == 1) return column[j];
    // In halves, which are 64-bit integers: a vector at a time.
    int64_t high = 0, low = 0;
    for (int64_t k = 0; k < count; ++k) high += column[j + k] >> 32, low += column[j + k] & 0xffffffff;
    return Wide(high) * (int64_t(1) << 32) + low;
}

inline bool any_of(const IntegerColumn& column, int64_t j, int64_t count) {
    int64_t all = 0;
    for (int64_t k = 0; k < count; ++k) all |= column[j + k];
    return all != 0;
}

// What every column of a tile keeps between blocks of rows, for the sums of one side.
struct ProductColumns {
    IntegerColumn sums, highs, lows;
    void begin(int64_t count) {
        for (IntegerColumn* column : {&sums, &highs, &lows}) std::fill_n(column->at, count, 0);
    }
    // Moves the sums of a channel's columns to integers without bounds.
    void drain(const SumUnits& u, int64_t j, int64_t count, ExactSum& sum, ExactSum& product) {
        sum.add(sum_of(sums, j, count), u.sum_exponent);
        product.add(sum_of(highs, j, count), u.high_exponent);
        product.add(sum_of(lows, j, count), u.low_exponent);
    }
};

template <class S>
class ExactMomentTile {
  public:
    ExactMomentTile(const Tile& t, const Operand& from) : tile_(t), x_(from, t) {}

    // The sums of rows [begin, end); those in `channels` must be 0.
    void run(int64_t begin, int64_t end, ExactMoments* channels) {
        const int64_t count = tile_.count + lanes;
        windows_ = windows_of<S>(tile_, x_, begin, end);
        units_.set(SumUnits::squares(0), 0, count);
        tile_.each_group([&](int64_t c, int64_t j) {
            units_.set(SumUnits::squares(windows_[size_t(c)]), j, tile_.grid.inner);
        });
        sizes_.begin(count);
        std::fill_n(outside_.at, count, 0);
        for (int64_t from = begin; from < end; from += rows_between_drains) {
            columns_.begin(count);
            const int64_t stop = std::min(end, from + rows_between_drains);
            for (int64_t row = from; row < stop; row += exact_rows)
                for (int64_t j = 0; j < tile_.count; j += lanes) sum_block(row, std::min(stop, row + exact_rows), j);
            tile_.each_group([&](int64_t c, int64_t j) {
                ExactMoments& m = channels[c];
                columns_.drain(SumUnits::squares(windows_[size_t(c)]), j, tile_.grid.inner, m.first, m.second);
            });
        }
        for (int64_t c = 0; c < tile_.channels; ++c) {
            if (!inside(c)) channels[c] = any_values(c, begin, end);
            channels[c].count = (end - begin) * tile_.grid.inner * tile_.grid.fold;
        }
    }

  private:
    BACKNORM_INLINE void sum_block(int64_t begin, int64_t end, int64_t j) {
        const LaneUnits units = units_.at(j);
        Magnitudes<S, false> sizes = sizes_.at(j);
        MomentLane lane;
        lane.begin(units);
        S tail[exact_rows * lanes];
        const BlockRows<S> x(x_[begin] + j, x_.stride, end - begin, tile_.count - j, tail);
        for (int64_t row = 0; row < end - begin; ++row) {
            fetch(x[row + block_rows]);
            sizes.add(load<float>(x[row]));
            lane.add(load<double>(x[row]));
        }
        sizes_.store(sizes, j);
        Integers sums, highs, lows;
        Outside outside;
        lane.move(units, sums, highs, lows, outside);
        add_columns(sums, columns_.sums.at + j);
        add_columns(highs, columns_.highs.at + j);
        add_columns(lows, columns_.lows.at + j);
        mark_columns(outside, outside_.at + j);
    }
    bool inside(int64_t c) const {
        bool all = true;
        const int64_t inner = tile_.grid.inner;
        tile_.each_copy(c, [&](int64_t j) {
            all = all && !any_of(outside_, j, inner) && sizes_.inside(j, inner, windows_[size_t(c)]);
        });
        return all;
    }
    BACKNORM_APART ExactMoments any_values(int64_t c, int64_t begin, int64_t end) const {
        MomentBins bins;
        for (int64_t row = begin; row < end; ++row)
            tile_.each_copy(c, [&](int64_t j) { add_each(bins, x_[row] + j, tile_.grid.inner); });
        ExactMoments m;
        bins.add_to(m);
        return m;
    }

    const Tile& tile_;
    const TileRows<const S> x_;
    std::vector<int> windows_;
    UnitColumns units_;
    MagnitudeColumns<S, false> sizes_;
    ProductColumns columns_;
    IntegerColumn outside_;
};

template <class S>
class ExactComomentTile {
  public:
    ExactComomentTile(const BackwardCall& call, const Tile& t)
        : tile_(t), dy_(call.dy, t), x_(call.x, t), y_(call.y, t) {}

    // As in ExactMomentTile.
    template <Activation kind>
    void run(int64_t begin, int64_t end, ExactComoments* channels) {
        find_windows(begin, end);
        for (int64_t from = begin; from < end; from += rows_between_drains) {
            const int64_t stop = std::min(end, from + rows_between_drains);
            start(sides<kind>);
            for (int64_t row = from; row < stop; row += exact_rows)
                for (int64_t j = 0; j < tile_.count; j += lanes)
                    sum_block<kind>(row, std::min(stop, row + exact_rows), j);
            drain(sides<kind>, channels);
        }
        for (int64_t c = 0; c < tile_.channels; ++c)
            if (!inside(c)) channels[c] = any_values<kind>(c, begin, end);
    }

  private:
    SumUnits units_of(int64_t c) const { return SumUnits::products(of_dz_[size_t(c)], of_x_[size_t(c)]); }

    BACKNORM_APART void find_windows(int64_t begin, int64_t end) {
        const int64_t count = tile_.count + lanes;
        of_dz_ = windows_of<S>(tile_, dy_, begin, end);
        of_x_ = windows_of<S>(tile_, x_, begin, end);
        units_.set(SumUnits::products(0, 0), 0, count);
        tile_.each_group([&](int64_t c, int64_t j) { units_.set(units_of(c), j, tile_.grid.inner); });
        dz_sizes_.begin(count);
        x_sizes_.begin(count);
        std::fill_n(outside_.at, count, 0);
    }
    BACKNORM_APART void start(int side_count) {
        for (int side = 0; side < side_count; ++side) {
            columns_[side].begin(tile_.count + lanes);
            std::fill_n(absolutes_[side].at, tile_.count + lanes, 0);
        }
    }
    // Moves the sums of a block's columns to integers. Inline, since a block may have few rows.
    template <int side_count>
    BACKNORM_INLINE void move(const ComomentLane (&lane)[side_count], const LaneUnits& units, int64_t j) {
        Outside outside;
        for (int side = 0; side < side_count; ++side) {
            Integers plains, all, highs, lows;
            lane[side].move(units, plains, all, highs, lows, outside);
            add_columns(plains, columns_[side].sums.at + j);
            add_columns(all, absolutes_[side].at + j);
            add_columns(highs, columns_[side].highs.at + j);
            add_columns(lows, columns_[side].lows.at + j);
        }
        mark_columns(outside, outside_.at + j);
    }

    template <Activation kind>
    BACKNORM_INLINE void sum_block(int64_t begin, int64_t end, int64_t j) {
        const LaneUnits units = units_.at(j);
        auto dz_sizes = dz_sizes_.at(j);
        auto x_sizes = x_sizes_.at(j);
        ComomentLane lane[sides<kind>];
        for (ComomentLane& side : lane) side.begin(units);
        const int64_t rows = end - begin, left = tile_.count - j;
        constexpr bool reads_y = kind != Activation::identity;
        S tail[3][exact_rows * lanes];
        const BlockRows<S> dy(dy_[begin] + j, dy_.stride, rows, left, tail[0]);
        const BlockRows<S> x(x_[begin] + j, x_.stride, rows, left, tail[1]);
        const BlockRows<S> y(reads_y ? y_[begin] + j : nullptr, y_.stride, rows, reads_y ? left : lanes, tail[2]);
        for (int64_t row = 0; row < rows; ++row) {
            fetch(dy[row + block_rows]);
            fetch(x[row + block_rows]);
            dz_sizes.add(load<float>(dy[row]));
            x_sizes.add(load<float>(x[row]));
            Pack<double> dz[sides<kind>];
            split<kind>(load<double>(dy[row]), reads_y ? load<double>(y[row]) : Pack<double>::zero(), dz);
            const Pack<double> v = load<double>(x[row]);
            BACKNORM_UNROLL for (int side = 0; side < sides<kind>; ++side) lane[side].add(dz[side], v);
        }
        dz_sizes_.store(dz_sizes, j);
        x_sizes_.store(x_sizes, j);
        move(lane, units, j);
    }
    BACKNORM_APART void drain(int side_count, ExactComoments* channels) {
        const int64_t inner = tile_.grid.inner;
        tile_.each_group([&](int64_t c, int64_t j) {
            ExactComoments& m = channels[c];
            const SumUnits u = units_of(c);
            for (int side = 0; side < side_count; ++side) {
                columns_[side].drain(u, j, inner, m.plain[side], m.product[side]);
                m.size[side].add(sum_of(absolutes_[side], j, inner), u.sum_exponent);
            }
        });
    }
    BACKNORM_APART bool inside(int64_t c) const {
        bool all = true;
        const int64_t inner = tile_.grid.inner;
        tile_.each_copy(c, [&](int64_t j) {
            all = all && !any_of(outside_, j, inner) && dz_sizes_.inside(j, inner, of_dz_[size_t(c)]) &&
                  x_sizes_.inside(j, inner, of_x_[size_t(c)]);
        });
        return all;
    }
    template <Activation kind>
    BACKNORM_APART ExactComoments any_values(int64_t c, int64_t begin, int64_t end) const {
        ComomentBins bins;
        for (int64_t row = begin; row < end; ++row)
            tile_.each_copy(c, [&](int64_t j) {
                add_each<kind>(bins, dy_[row] + j, x_[row] + j, plus(y_[row], j), tile_.grid.inner);
            });
        ExactComoments m;
        bins.add_to(m);
        return m;
    }

    const Tile& tile_;
    const TileRows<const S> dy_, x_, y_;
    std::vector<int> of_dz_, of_x_;
    UnitColumns units_;
    MagnitudeColumns<S, false> dz_sizes_;
    MagnitudeColumns<S, true> x_sizes_;
    ProductColumns columns_[2];
    IntegerColumn absolutes_[2], outside_;
};

}  // namespace BACKNORM_LEVEL
}  // namespace backnorm
