// The exact sums of one channel, along its runs of memory.
#pragma once

#include "exact_lanes.hpp"
#include "output.hpp"

namespace backnorm {
namespace BACKNORM_LEVEL {

// The largest magnitude of a run's first values, as bits of a float32.
template <class S>
BACKNORM_APART uint32_t first_magnitude(const S* run, int64_t count) {
    Magnitudes<float, true> sizes;
    const int64_t some = std::min<int64_t>(count, 4 * lanes);
    for (int64_t i = 0; i < some; i += lanes) sizes.add(load_up_to<float>(run + i, some - i));
    uint32_t largest[lanes];
    std::memcpy(largest, sizes.largest, sizeof largest);
    return *std::max_element(largest, largest + lanes);
}

// Sixteen values of a run, of which so many are left: where they lie, or in `tail` with zeros behind them.
template <class S>
BACKNORM_INLINE const S* padded(const S* run, int64_t left, S* tail) {
    if (left >= lanes) return run;
    pad_rows(tail, run, 0, 1, left);
    return tail;
}

// How many runs' values fit between two moves to integers, counted in values a lane of one chain.
inline int64_t adds_of(int64_t count, int chain_count) { return count / (chain_count * lanes) + 3; }

// Integers hold this many moves: each is below 2^53.
constexpr int most_moves = 256;

template <class S>
class ExactMomentLanes {
  public:
    explicit ExactMomentLanes(int window) : units_(SumUnits::squares(window)) { begin(); }

    // `next`, which may be null, is prefetched.
    void add_run(const S* x, int64_t count, const S* next) {
        constexpr int64_t most = (most_squares - 3) * chains * lanes;
        for (int64_t i = 0; i < count; i += most) {
            const int64_t some = std::min(most, count - i), adds = adds_of(some, chains);
            if (added_ + adds > most_squares) move();
            added_ += adds;
            add_some(x + i, some, plus(next, i));
        }
    }
    // False, and nothing is added, if a value lies outside of the window.
    bool add_to(ExactMoments& m) {
        move();
        if (outside_.any() || !sizes_.all_inside(units_.exponent)) return false;
        drain();
        m.first.add(held_.first);
        m.second.add(held_.second);
        return true;
    }

  private:
    BACKNORM_INLINE void add_some(const S* x, int64_t count, const S* next) {
        // In registers, as in MomentSums.
        MomentLane sums[chains];
        Magnitudes<S, false> sizes = sizes_;
        std::copy_n(sums_, chains, sums);
        int64_t i = 0;
        for (; i + chains * lanes <= count; i += chains * lanes)
            BACKNORM_UNROLL for (int k = 0; k < chains; ++k) {
                fetch_from(next, i + k * lanes);
                sizes.add(load<float>(x + i + k * lanes));
                sums[k].add(load<double>(x + i + k * lanes));
            }
        S tail[lanes];
        for (; i < count; i += lanes) {
            const S* const from = padded(x + i, count - i, tail);
            sizes.add(load<float>(from));
            sums[0].add(load<double>(from));
        }
        std::copy_n(sums, chains, sums_);
        sizes_ = sizes;
    }
    void begin() {
        for (MomentLane& s : sums_) s.begin(LaneUnits::all(units_));
        added_ = 0;
    }
    BACKNORM_APART void move() {
        for (const MomentLane& s : sums_) s.move(LaneUnits::all(units_), firsts_, highs_, lows_, outside_);
        begin();
        if (++moves_ == most_moves) drain();
    }
    BACKNORM_APART void drain() {
        held_.first.add(firsts_.total(), units_.sum_exponent);
        held_.second.add(highs_.total(), units_.high_exponent);
        held_.second.add(lows_.total(), units_.low_exponent);
        firsts_ = highs_ = lows_ = Integers();
        moves_ = 0;
    }

    SumUnits units_;
    MomentLane sums_[chains];
    Magnitudes<S, false> sizes_;
    Integers firsts_, highs_, lows_;
    Outside outside_;
    ExactMoments held_;
    int64_t added_ = 0;
    int moves_ = 0;
};

// Where a run of the backward's first pass reads, and what is prefetched meanwhile.
template <class S>
struct GradientInputs {
    const S *dy, *x, *y;  // y only with an activation
    int64_t count;
    const S *next_dy, *next_x;
};

// What ExactComomentLanes keeps from run to run.
template <int side_count>
class ComomentChains {
  protected:
    // Two sides take as many registers as two chains.
    static constexpr int chain_count = side_count == 1 ? chains : 1;

    explicit ComomentChains(const SumUnits& units) : units_(units) { begin(); }
    BACKNORM_APART void begin() {
        for (auto& chain : sums_)
            for (ComomentLane& side : chain) side.begin(LaneUnits::all(units_));
        added_ = 0;
    }
    BACKNORM_APART void move() {
        for (const auto& chain : sums_)
            for (int side = 0; side < side_count; ++side)
                chain[side].move(LaneUnits::all(units_), plains_[side], sizes_[side], highs_[side], lows_[side],
                                 outside_);
        begin();
        if (++moves_ == most_moves) drain();
    }
    BACKNORM_APART void drain() {
        for (int side = 0; side < side_count; ++side) {
            held_.plain[side].add(plains_[side].total(), units_.sum_exponent);
            held_.size[side].add(sizes_[side].total(), units_.sum_exponent);
            held_.product[side].add(highs_[side].total(), units_.high_exponent);
            held_.product[side].add(lows_[side].total(), units_.low_exponent);
            plains_[side] = sizes_[side] = highs_[side] = lows_[side] = Integers();
        }
        moves_ = 0;
    }

    SumUnits units_;
    ComomentLane sums_[chain_count][side_count];
    Integers plains_[side_count], sizes_[side_count], highs_[side_count], lows_[side_count];
    Outside outside_;
    ExactComoments held_;
    int64_t added_ = 0;
    int moves_ = 0;
};

template <class S, Activation kind>
class ExactComomentLanes : ComomentChains<sides<kind>> {
    using Chains = ComomentChains<sides<kind>>;
    using Chains::added_, Chains::chain_count, Chains::held_, Chains::outside_, Chains::sums_, Chains::units_;

  public:
    ExactComomentLanes(int of_dz, int of_x) : Chains(SumUnits::products(of_dz, of_x)), window_of_x_(of_x) {}

    void add_run(const GradientInputs<S>& run) {
        constexpr int64_t most = (most_products - 3) * chain_count * lanes;
        for (int64_t i = 0; i < run.count; i += most) {
            const int64_t some = std::min(most, run.count - i), adds = adds_of(some, chain_count);
            if (added_ + adds > most_products) this->move();
            added_ += adds;
            add_some({run.dy + i, run.x + i, plus(run.y, i), some, plus(run.next_dy, i), plus(run.next_x, i)});
        }
    }
    bool add_to(ExactComoments& m) {
        this->move();
        if (outside_.any() || !of_dz_.all_inside(units_.exponent) || !of_x_.all_inside(window_of_x_)) return false;
        this->drain();
        m.add(held_);
        return true;
    }

  private:
    BACKNORM_INLINE void add_some(const GradientInputs<S>& run) {
        ComomentLane sums[chain_count][sides<kind>];
        Magnitudes<S, false> of_dz = of_dz_;
        Magnitudes<S, true> of_x = of_x_;
        std::copy_n(&sums_[0][0], chain_count * sides<kind>, &sums[0][0]);
        const auto add = [&](int k, const S* dy, const S* x, const S* y) BACKNORM_LAMBDA {
            of_dz.add(load<float>(dy));
            of_x.add(load<float>(x));
            Pack<double> dz[sides<kind>];
            split<kind>(load<double>(dy), kind == Activation::identity ? Pack<double>::zero() : load<double>(y), dz);
            const Pack<double> v = load<double>(x);
            BACKNORM_UNROLL for (int side = 0; side < sides<kind>; ++side) sums[k][side].add(dz[side], v);
        };
        int64_t i = 0;
        for (; i + chain_count * lanes <= run.count; i += chain_count * lanes)
            BACKNORM_UNROLL for (int k = 0; k < chain_count; ++k) {
                fetch_from(run.next_dy, i + k * lanes);
                fetch_from(run.next_x, i + k * lanes);
                add(k, run.dy + i + k * lanes, run.x + i + k * lanes, plus(run.y, i + k * lanes));
            }
        S tail[3][lanes];
        for (; i < run.count; i += lanes) {
            const int64_t left = run.count - i;
            const bool reads_y = kind != Activation::identity;
            add(0, padded(run.dy + i, left, tail[0]), padded(run.x + i, left, tail[1]),
                reads_y ? padded(run.y + i, left, tail[2]) : nullptr);
        }
        std::copy_n(&sums[0][0], chain_count * sides<kind>, &sums_[0][0]);
        of_dz_ = of_dz;
        of_x_ = of_x;
    }
    int window_of_x_;
    Magnitudes<S, false> of_dz_;
    Magnitudes<S, true> of_x_;
};

}  // namespace BACKNORM_LEVEL
}  // namespace backnorm
