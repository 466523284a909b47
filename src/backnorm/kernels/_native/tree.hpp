// Sums of float64 for the exact law: a fixed binary tree over the index of a value in its channel, as in ../_tree.py.
//
// The index counts outer and inner positions, outer first. Leaves of 64 values are summed one after another, and
// neighbouring nodes in pairs. So threads, kernels and whether channels are last change no bit.
#pragma once

#include <algorithm>

#include "activation.hpp"
#include "call.hpp"
#include "pack.hpp"
#include "statistics.hpp"
#include "threads.hpp"

namespace backnorm {
namespace BACKNORM_LEVEL {

// T is a float64, or a Pack of sixteen channels.
template <class T>
class TreeSum {
  public:
    explicit TreeSum(const T& zero) : zero_(zero), leaf_(zero) {}

    BACKNORM_INLINE void add(const T& value) {
        leaf_ = leaf_ + value;
        if (++count_ % leaf == 0) push();
    }
    T total() {
        if (count_ % leaf) push();
        T sum = depth_ ? node_[depth_ - 1] : zero_;
        for (int k = depth_ - 1; k-- > 0;) sum = node_[k] + sum;
        return sum;
    }

  private:
    static constexpr int64_t leaf = 64;
    void push() {
        T sum = leaf_;
        for (int64_t k = ++leaves_; k % 2 == 0; k /= 2) sum = node_[--depth_] + sum;
        node_[depth_++] = sum;
        leaf_ = zero_;
    }

    T zero_, leaf_, node_[48];
    int64_t count_ = 0, leaves_ = 0;
    int depth_ = 0;
};

// body(o, i) for sixteen neighbouring inner positions of a channel at a time, in the order of the index.
template <class Body>
inline void each_sixteen(const Shape& shape, const Body& body) {
    for (int64_t o = 0; o < shape.outer; ++o)
        for (int64_t i = 0; i < shape.inner; i += lanes) body(o, i);
}

// Calls add(...) with the values of one channel as float64, or with those of sixteen channels as Packs; `values` gives
// a Pack of each term at (outer, channel, inner), of which so many are there.
template <int terms>
struct TreeTotals { Pack<double> of[terms]; };

template <int terms, class Values>
TreeTotals<terms> tree_of_rows(const Shape& shape, int64_t c, const Values& values) {
    TreeSum<Pack<double>> sums[2]{TreeSum<Pack<double>>(Pack<double>::zero()),
                                  TreeSum<Pack<double>>(Pack<double>::zero())};
    const int64_t left = std::min<int64_t>(lanes, shape.channels - c);
    for (int64_t o = 0; o < shape.outer; ++o) {
        const TreeTotals<terms> v = values(o, c, int64_t(0), left);
        for (int k = 0; k < terms; ++k) sums[k].add(v.of[k]);
    }
    TreeTotals<terms> totals;
    for (int k = 0; k < terms; ++k) totals.of[k] = sums[k].total();
    return totals;
}
template <int terms, class Values>
TreeTotals<terms> tree_of_channel(const Shape& shape, int64_t c, const Values& values) {
    TreeSum<double> sums[2]{TreeSum<double>(0.0), TreeSum<double>(0.0)};
    each_sixteen(shape, [&](int64_t o, int64_t i) {
        const int64_t left = std::min<int64_t>(lanes, shape.inner - i);
        const TreeTotals<terms> v = values(o, c, i, left);
        double lane[lanes];
        for (int k = 0; k < terms; ++k) {
            std::memcpy(lane, &v.of[k], sizeof lane);
            for (int64_t j = 0; j < left; ++j) sums[k].add(lane[j]);
        }
    });
    TreeTotals<terms> totals;
    for (int k = 0; k < terms; ++k) totals.of[k] = Pack<double>::all(sums[k].total());
    return totals;
}

// Sixteen neighbouring channels at a time where channels are last, else one.
inline int64_t tree_channels(const Shape& shape) { return shape.inner == 1 ? lanes : 1; }

template <int terms, class Values>
TreeTotals<terms> tree_totals(const Shape& shape, int64_t c, const Values& values) {
    return shape.inner == 1 ? tree_of_rows<terms>(shape, c, values) : tree_of_channel<terms>(shape, c, values);
}

// body(first channel, how many) for all channels.
template <class Body>
inline void each_tree(const Shape& shape, int wanted, const Body& body) {
    const int64_t each = tree_channels(shape), pieces = (shape.channels + each - 1) / each;
    parallel_for(pieces, threads_for(wanted, shape.size(), pieces), [&](int64_t piece) {
        body(piece * each, std::min(each, shape.channels - piece * each));
    });
}

BACKNORM_INLINE double lane_of(const Pack<double>& p, int64_t k) {
    double lane[lanes];
    std::memcpy(lane, &p, sizeof lane);
    return lane[k];
}

inline Pack<double> per_lane(const double* values, int64_t c, int64_t count, bool same) {
    return same ? Pack<double>::all(values[c]) : load_up_to<double>(values + c, count);
}

// Stores the statistics of all channels.
inline void store_tree_moments(const ForwardCall& call) {
    const Shape& s = call.shape;
    const double n = double(s.per_channel());
    each_tree(s, call.threads, [&](int64_t first, int64_t count) {
        const auto x = [&](int64_t o, int64_t c, int64_t i, int64_t left) {
            return load_up_to<double>(call.x.at<const double>(o, c) + i, left);
        };
        const Pack<double> reference = tree_totals<1>(s, first, [&](int64_t o, int64_t c, int64_t i, int64_t left) {
            return TreeTotals<1>{{x(o, c, i, left)}};
        }).of[0];
        double centre[lanes];
        std::memcpy(centre, &reference, sizeof centre);
        for (double& each : centre) each /= n;
        const Pack<double> around = load<double>(static_cast<const double*>(centre));
        const TreeTotals<2> sums = tree_totals<2>(s, first, [&](int64_t o, int64_t c, int64_t i, int64_t left) {
            const Pack<double> d = x(o, c, i, left) - around;
            return TreeTotals<2>{{d, d * d}};
        });
        for (int64_t k = 0; k < count; ++k)
            store_moments(Moments{centre[k], lane_of(sums.of[0], k), lane_of(sums.of[1], k), s.per_channel()}, call.eps,
                          call.statistics, first + k);
    });
}

// dz and dz*(x - mean) of sixteen values. The choice is made here, so that the trees are compiled once and not for each activation.
BACKNORM_INLINE TreeTotals<2> tree_terms(const BackwardCall& call, const Pack<double>& dy, const Pack<double>& y,
                                               const Pack<double>& x, const Pack<double>& mean) {
    TreeTotals<2> terms;
    with_activation(call.activation, [&](auto kind) {
        const Pack<double> dz = grad_through_activation<decltype(kind)::value>(dy, y, call.slope);
        const Pack<double> z = undo_activation<decltype(kind)::value>(x, call.inverse_slope);
        terms = {{dz, dz * (z - mean)}};
    });
    return terms;
}

// Stores dgamma and dbeta of all channels.
inline void store_tree_sums(const BackwardCall& call) {
    const Shape& s = call.shape;
    const bool reads_y = call.activation != Activation::identity;
    each_tree(s, call.threads, [&](int64_t first, int64_t count) {
        const Pack<double> mean = per_lane(call.statistics.mean, first, count, s.inner > 1);
        const TreeTotals<2> sums = tree_totals<2>(s, first, [&](int64_t o, int64_t c, int64_t i, int64_t left) {
            const auto at = [&](const Operand& a) { return load_up_to<double>(a.at<const double>(o, c) + i, left); };
            return tree_terms(call, at(call.dy), reads_y ? at(call.y) : Pack<double>::zero(), at(call.x), mean);
        });
        for (int64_t k = 0; k < count; ++k) {
            const int64_t c = first + k;
            const double plain = lane_of(sums.of[0], k), product = lane_of(sums.of[1], k);
            call.dgamma[c] = (product - call.statistics.mean_low[c] * plain) * call.statistics.inv_std[c];
            call.dbeta[c] = plain;
        }
    });
}

}  // namespace BACKNORM_LEVEL
}  // namespace backnorm
