// The walk over planar layouts (NCHW, and all others with long runs for each channel): a thread does both
// passes over one channel before it takes the next one, so that the second pass finds in cache what the first
// one read. Where channels are few, each is cut into parts.
#pragma once

#include <algorithm>
#include <vector>

#include "call.hpp"
#include "exact_planar.hpp"
#include "gradient.hpp"
#include "normalize.hpp"
#include "statistics.hpp"
#include "threads.hpp"
#include "tree.hpp"

namespace backnorm {
namespace BACKNORM_LEVEL {

// Some whole planes of a channel, or a piece of one: `planes` runs of `length` values.
struct Block {
    int64_t outer, planes, inner, length;
};

// How a channel is cut into blocks. A part of a channel consists of whole blocks.
class Blocks {
  public:
    static constexpr int64_t values = 2048;

    explicit Blocks(const Shape& shape)
        : outer_(shape.outer), inner_(shape.inner),
          planes_(std::max<int64_t>(1, values / shape.inner)),
          pieces_((shape.inner + values - 1) / values) {}

    int64_t count() const { return (outer_ + planes_ - 1) / planes_ * pieces_; }

    // The block that begins the plane, or planes, of this one.
    int64_t first_of_plane(int64_t index) const { return index / pieces_ * pieces_; }

    Block operator[](int64_t index) const {
        const int64_t outer = index / pieces_ * planes_, inner = index % pieces_ * values;
        return {outer, std::min(planes_, outer_ - outer), inner, std::min(values, inner_ - inner)};
    }

  private:
    int64_t outer_, inner_, planes_, pieces_;
};

// With fewer channels than this, channels are cut into parts, so that there are about as many pieces.
constexpr int64_t enough_pieces = 16;

inline int64_t parts_of(const Shape& shape, const Blocks& blocks) {
    if (shape.channels >= enough_pieces || shape.channels == 0) return 1;
    return std::min(blocks.count(), (enough_pieces + shape.channels - 1) / shape.channels);
}

// body(channel, first block, last block, piece) for each part of each channel.
template <class Body>
inline void each_part(const Shape& shape, int64_t parts, int threads, const Body& body) {
    const int64_t blocks = Blocks(shape).count();
    parallel_for(shape.channels * parts, threads, [&](int64_t piece) {
        const int64_t part = piece % parts;
        body(piece / parts, blocks * part / parts, blocks * (part + 1) / parts, piece);
    });
}

// body(outer, inner, length) for each run of memory in the blocks [begin, end).
template <class Body>
inline void each_run(const Shape& shape, int64_t begin, int64_t end, const Body& body) {
    const Blocks blocks(shape);
    for (int64_t index = begin; index < end; ++index) {
        const Block b = blocks[index];
        for (int64_t k = 0; k < b.planes; ++k) body(b.outer + k, b.inner, b.length);
    }
}
// From the last block to the first, since the blocks that the first pass read last are still in cache; and the
// blocks of a plane as one run, since the cuts matter to sums only.
template <class Body>
inline void each_run_backwards(const Shape& shape, int64_t begin, int64_t end, const Body& body) {
    const Blocks blocks(shape);
    while (end > begin) {
        const Block last = blocks[end - 1];
        const int64_t first = std::max(begin, blocks.first_of_plane(end - 1));
        const int64_t start = blocks[first].inner;
        for (int64_t k = last.planes; k-- > 0;)
            body(last.outer + k, start, last.inner + last.length - start);
        end = first;
    }
}

// Streaming stores need whole cache lines, and short planes begin and end within a line.
template <class S>
inline bool planar_worth_streaming(const Shape& shape) {
    constexpr int64_t least_run_bytes = 2048;
    return worth_streaming<S>(shape) && shape.inner * int64_t(sizeof(S)) >= least_run_bytes;
}

// While a run is summed, that of a later sample is prefetched, so many samples ahead: a short run ends before
// the processor has recognized it as a stream.
inline int64_t samples_ahead(const Shape& shape) { return 1 + 1024 / shape.inner; }

// How far ahead of a run of sample o that of sample o + samples lies; 0 past the last sample.
inline int64_t values_ahead(const Operand& a, const Shape& shape, int64_t o, int64_t samples) {
    return o + samples < shape.outer ? samples * a.outer_stride : 0;
}
template <class S>
inline const S* run_ahead(const Operand& a, const Shape& shape, int64_t o, int64_t samples, int64_t c, int64_t i) {
    return o + samples < shape.outer ? a.at<const S>(o + samples, c) + i : nullptr;
}

// The mean of the first values of some blocks.
template <class S>
inline double shift_of(const ForwardCall& call, int64_t c, int64_t begin, int64_t end, int64_t most) {
    const int64_t ahead = samples_ahead(call.shape);
    MomentSums sums;
    int64_t count = 0;
    each_run(call.shape, begin, end, [&](int64_t o, int64_t i, int64_t length) {
        const int64_t some = std::min(length, most - count);
        sums.add_run(call.x.at<const S>(o, c) + i, some, 0.0, values_ahead(call.x, call.shape, o, ahead));
        count += some;
    });
    return sums.total_first() / double(count);
}

template <class S>
inline Moments moments_of(const ForwardCall& call, int64_t c, int64_t begin, int64_t end) {
    const int64_t ahead = samples_ahead(call.shape);
    int64_t count = 0;
    each_run(call.shape, begin, end, [&](int64_t, int64_t, int64_t length) { count += length; });
    const auto around = [&](double shift) {
        MomentSums sums;
        each_run(call.shape, begin, end, [&](int64_t o, int64_t i, int64_t length) {
            sums.add_run(call.x.at<const S>(o, c) + i, length, shift, values_ahead(call.x, call.shape, o, ahead));
        });
        return Moments{shift, sums.total_first(), sums.total_second(), count};
    };
    if constexpr (is_double<S>) return around(shift_of<S>(call, c, begin, end, count));
    const Moments m = around(shift_of<S>(call, c, begin, begin + 1, values_of_shift(count)));
    return is_far(m) ? around(m.reference + m.first / double(count)) : m;
}

// The same by integers: in the window of the first values, or where that does not hold all of them, one at a time.
template <class S>
inline ExactMoments exact_moments_of(const ForwardCall& call, int64_t c, int64_t begin, int64_t end) {
    const int64_t ahead = samples_ahead(call.shape);
    const Block first = Blocks(call.shape)[begin];
    ExactMomentLanes<S> lane(window_of<S>(
        first_magnitude(call.x.at<const S>(first.outer, c) + first.inner, first.length)));
    ExactMoments m;
    each_run(call.shape, begin, end, [&](int64_t o, int64_t i, int64_t length) {
        lane.add_run(call.x.at<const S>(o, c) + i, length, run_ahead<S>(call.x, call.shape, o, ahead, c, i));
        m.count += length;
    });
    if (lane.add_to(m)) return m;
    MomentBins bins;
    each_run(call.shape, begin, end, [&](int64_t o, int64_t i, int64_t length) {
        add_each(bins, call.x.at<const S>(o, c) + i, length);
    });
    bins.add_to(m);
    return m;
}

template <class S, Law law>
inline auto moments_in(const ForwardCall& call, int64_t c, int64_t begin, int64_t end) {
    if constexpr (by_integers<S, law>) return exact_moments_of<S>(call, c, begin, end);
    else return moments_of<S>(call, c, begin, end);
}

// The next channel of an operand, to be prefetched while the result of this one is streamed out: reads and
// writes then overlap, as they do in a copy. Null where a second-level cache would not hold it.
template <class S>
inline const S* next_channel(const Operand& a, const Shape& shape, int64_t o, int64_t c, int64_t i) {
    constexpr int64_t most_bytes = int64_t(1) << 20;
    const bool fits = shape.per_channel() * int64_t(sizeof(S)) <= most_bytes;
    return fits && c + 1 < shape.channels ? a.at<const S>(o, c + 1) + i : nullptr;
}

// From a run of sample o to that of the sample before, whose result is stored next; 0 where there is none.
inline int64_t sample_before(const Operand& a, int64_t o) { return o ? -a.outer_stride : 0; }

template <class S>
inline void normalize_blocks(const ForwardCall& call, int64_t c, int64_t begin, int64_t end,
                             bool streaming) {
    const NormalizeChannel channel(call, c);
    in_precision<S>(channel.fits_float(), [&](auto t) {
        with_normalize<S, decltype(t)>(channel, [&](const auto& at) { with_activation(call.activation, [&](auto kind) {
            each_run_backwards(call.shape, begin, end, [&](int64_t o, int64_t i, int64_t length) {
                const S* residual = call.residual ? call.residual.at<const S>(o, c) + i : nullptr;
                normalize_run<decltype(kind)::value>(
                    call.x.at<const S>(o, c) + i, residual, call.y.at<S>(o, c) + i, length, at,
                    call.slope, streaming, next_channel<S>(call.x, call.shape, o, c, i), sample_before(call.y, o));
            });
        }); });
    });
    if (streaming) finish_stream();
}

template <class S, Law law>
inline void planar_forward(const ForwardCall& call) {
    if (by_tree<S, law> && !call.frozen) store_tree_moments(call);
    const bool known = call.frozen || by_tree<S, law>;
    const int64_t parts = parts_of(call.shape, Blocks(call.shape));
    const int threads = threads_for(call.threads, call.shape.size(), call.shape.channels * parts);
    const bool streaming = planar_worth_streaming<S>(call.shape);
    if (parts == 1 || known) {
        each_part(call.shape, parts, threads, [&](int64_t c, int64_t begin, int64_t end, int64_t) {
            if (!known) store_moments(moments_in<S, law>(call, c, begin, end), call, c);
            if (call.y) normalize_blocks<S>(call, c, begin, end, streaming);
        });
        return;
    }
    using Sums = decltype(moments_in<S, law>(call, 0, 0, 0));
    std::vector<Sums> pieces(size_t(call.shape.channels * parts));
    each_part(call.shape, parts, threads, [&](int64_t c, int64_t begin, int64_t end, int64_t piece) {
        pieces[size_t(piece)] = moments_in<S, law>(call, c, begin, end);
    });
    for (int64_t c = 0; c < call.shape.channels; ++c) {
        Sums all;
        for (int64_t part = 0; part < parts; ++part) all.add(pieces[size_t(c * parts + part)]);
        store_moments(all, call, c);
    }
    if (!call.y) return;
    each_part(call.shape, parts, threads, [&](int64_t c, int64_t begin, int64_t end, int64_t) {
        normalize_blocks<S>(call, c, begin, end, streaming);
    });
}

// body(kind, output) with the activation, and output(outer, inner) for the output of a run.
template <class S, class Body>
inline void with_output(const BackwardCall& call, int64_t c, bool recompute, const Body& body) {
    with_activation(call.activation, [&](auto kind) {
        if constexpr (can_recompute<decltype(kind)::value, S>)
            if (recompute) {
                const SameNormalize<S> at(in_usual_dtype<S>(NormalizeChannel(call, c)));
                return body(kind, [&](int64_t o, int64_t i) {
                    return RecomputedOutput<S, SameNormalize<S>>{call.x.at<const S>(o, c) + i, at};
                });
            }
        body(kind, [&](int64_t o, int64_t i) {
            return StoredOutput<S>{call.y ? call.y.at<const S>(o, c) + i : nullptr};
        });
    });
}

template <class S>
inline Comoments comoments_of(const BackwardCall& call, int64_t c, bool recompute, int64_t begin,
                              int64_t end) {
    const int64_t ahead = samples_ahead(call.shape);
    ComomentSums<S> sums;
    with_output<S>(call, c, recompute, [&](auto kind, const auto& output) {
        each_run(call.shape, begin, end, [&](int64_t o, int64_t i, int64_t length) {
            sums.template add_run<decltype(kind)::value>(
                {call.dy.at<const S>(o, c) + i, call.x.at<const S>(o, c) + i, length,
                 values_ahead(call.dy, call.shape, o, ahead), values_ahead(call.x, call.shape, o, ahead)},
                output(o, i), call.statistics.mean[c], call.slope, call.inverse_slope);
        });
    });
    return sums.totals();
}

// The same by integers, as exact_moments_of. The output is read: to compute it again is not worth its code here.
template <class S>
inline ExactComoments exact_comoments_of(const BackwardCall& call, int64_t c, int64_t begin, int64_t end) {
    const int64_t ahead = samples_ahead(call.shape);
    const Block first = Blocks(call.shape)[begin];
    const auto window = [&](const Operand& a) {
        return window_of<S>(first_magnitude(a.at<const S>(first.outer, c) + first.inner, first.length));
    };
    ExactComoments m;
    with_activation(call.activation, [&](auto kind) {
        const auto y = [&](int64_t o, int64_t i) { return call.y ? call.y.at<const S>(o, c) + i : nullptr; };
        ExactComomentLanes<S, decltype(kind)::value> lane(window(call.dy), window(call.x));
        each_run(call.shape, begin, end, [&](int64_t o, int64_t i, int64_t length) {
            lane.add_run({call.dy.at<const S>(o, c) + i, call.x.at<const S>(o, c) + i, y(o, i), length,
                          run_ahead<S>(call.dy, call.shape, o, ahead, c, i),
                          run_ahead<S>(call.x, call.shape, o, ahead, c, i)});
        });
        if (lane.add_to(m)) return;
        ComomentBins bins;
        each_run(call.shape, begin, end, [&](int64_t o, int64_t i, int64_t length) {
            add_each<decltype(kind)::value>(bins, call.dy.at<const S>(o, c) + i, call.x.at<const S>(o, c) + i,
                                            y(o, i), length);
        });
        bins.add_to(m);
    });
    return m;
}

template <class S, Law law>
inline auto comoments_in(const BackwardCall& call, int64_t c, bool recompute, int64_t begin, int64_t end) {
    if constexpr (by_integers<S, law>) return exact_comoments_of<S>(call, c, begin, end);
    else return comoments_of<S>(call, c, recompute, begin, end);
}

template <class S>
inline void gradient_blocks(const BackwardCall& call, int64_t c, bool recompute, double measure,
                            int64_t begin, int64_t end, bool streaming) {
    const GradientChannel channel(call, c, measure);
    const bool through = call.through_mean || call.through_variance;
    const auto place = [&](const Operand& a, int64_t o, int64_t i) -> S* {
        return a ? a.at<S>(o, c) + i : nullptr;
    };
    in_precision<S>(channel.fits_float(), [&](auto t) {
        with_gradient<S, decltype(t)>(channel, [&](const auto& at) {
        with_output<S>(call, c, recompute, [&](auto kind, const auto& output) {
            each_run_backwards(call.shape, begin, end, [&](int64_t o, int64_t i, int64_t length) {
                const GradientRun<S> run{place(call.dy, o, i), place(call.x, o, i),
                                         place(call.dx, o, i), place(call.dresidual, o, i),
                                         length, call.slope, call.inverse_slope,
                                         through, call.add_dx, call.add_dresidual, streaming, call.exact,
                                         nullptr, nullptr, sample_before(call.dx, o)};
                gradient_run<decltype(kind)::value>(run, output(o, i), at);
            });
        }); });
    });
    if (streaming) finish_stream();
}

template <class S, Law law>
inline void planar_backward(const BackwardCall& call) {
    if constexpr (by_tree<S, law>) store_tree_sums(call);
    const int64_t parts = parts_of(call.shape, Blocks(call.shape));
    const int threads = threads_for(call.threads, call.shape.size(), call.shape.channels * parts);
    const bool streaming = planar_worth_streaming<S>(call.shape);
    const bool results = call.dx || call.dresidual, recompute = recomputes<S>(call);
    const bool known = by_tree<S, law> || call.measures;
    if (parts == 1 || known) {
        each_part(call.shape, parts, threads, [&](int64_t c, int64_t begin, int64_t end, int64_t) {
            double measure = call.measures ? call.measures[c] : 0.0;
            if (!known)
                measure = store_sums(comoments_in<S, law>(call, c, recompute, begin, end), call, c);
            if (results) gradient_blocks<S>(call, c, recompute, measure, begin, end, streaming);
        });
        return;
    }
    using Sums = decltype(comoments_in<S, law>(call, 0, false, 0, 0));
    std::vector<Sums> pieces(size_t(call.shape.channels * parts));
    each_part(call.shape, parts, threads, [&](int64_t c, int64_t begin, int64_t end, int64_t piece) {
        pieces[size_t(piece)] = comoments_in<S, law>(call, c, recompute, begin, end);
    });
    std::vector<double> measures(size_t(call.shape.channels));
    for (int64_t c = 0; c < call.shape.channels; ++c) {
        Sums all;
        for (int64_t part = 0; part < parts; ++part) all.add(pieces[size_t(c * parts + part)]);
        measures[size_t(c)] = store_sums(all, call, c);
    }
    if (!results) return;
    each_part(call.shape, parts, threads, [&](int64_t c, int64_t begin, int64_t end, int64_t) {
        gradient_blocks<S>(call, c, recompute, measures[size_t(c)], begin, end, streaming);
    });
}

}  // namespace BACKNORM_LEVEL
}  // namespace backnorm
