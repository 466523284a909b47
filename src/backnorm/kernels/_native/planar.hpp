// The walk over planar layouts (NCHW, and all others with long runs for each channel): a thread does both
// passes over one channel before it takes the next one, so that the second pass finds in cache what the first
// one read. Where channels are few, each is cut into parts.
#pragma once

#include <algorithm>
#include <vector>

#include "call.hpp"
#include "gradient.hpp"
#include "normalize.hpp"
#include "statistics.hpp"
#include "threads.hpp"

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

// The same run of sample o; null past the last sample.
template <class S>
inline const S* run_ahead(const Operand& a, int64_t outer, int64_t o, int64_t c, int64_t i) {
    return o < outer ? a.at<const S>(o, c) + i : nullptr;
}

template <class S>
inline Moments moments_of(const ForwardCall& call, int64_t c, int64_t begin, int64_t end) {
    const int64_t ahead = samples_ahead(call.shape);
    int64_t count = 0;
    const auto sums_around = [&](double shift, int64_t last) {
        MomentSums sums;
        count = 0;
        each_run(call.shape, begin, last, [&](int64_t o, int64_t i, int64_t length) {
            sums.add_run(call.x.at<const S>(o, c) + i, length, shift,
                         run_ahead<S>(call.x, call.shape.outer, o + ahead, c, i));
            count += length;
        });
        return sums;
    };
    Moments m;
    m.reference = sums_around(0.0, is_double<S> ? end : begin + 1).total_first() / double(count);
    const MomentSums sums = sums_around(m.reference, end);
    m.first = sums.total_first();
    m.second = sums.total_second();
    m.count = count;
    return m;
}

// The next channel of an operand, to be prefetched while the result of this one is streamed out: reads and
// writes then overlap, as they do in a copy. Null where a second-level cache would not hold it.
template <class S>
inline const S* next_channel(const Operand& a, const Shape& shape, int64_t o, int64_t c, int64_t i) {
    constexpr int64_t most_bytes = int64_t(1) << 20;
    const bool fits = shape.per_channel() * int64_t(sizeof(S)) <= most_bytes;
    return fits && c + 1 < shape.channels ? a.at<const S>(o, c + 1) + i : nullptr;
}

template <class S>
inline void normalize_blocks(const ForwardCall& call, int64_t c, int64_t begin, int64_t end,
                             bool streaming) {
    const NormalizeChannel channel(call, c);
    in_precision<S>(channel.fits_float(), [&](auto t) {
        using T = decltype(t);
        const SameNormalize<T> at(is_double<T> ? channel : channel.for_float());
        with_activation(call.activation, [&](auto kind) {
            each_run_backwards(call.shape, begin, end, [&](int64_t o, int64_t i, int64_t length) {
                const S* residual = call.residual ? call.residual.at<const S>(o, c) + i : nullptr;
                normalize_run<decltype(kind)::value>(
                    call.x.at<const S>(o, c) + i, residual, call.y.at<S>(o, c) + i, length, at,
                    call.slope, streaming, next_channel<S>(call.x, call.shape, o, c, i));
            });
        });
    });
    if (streaming) finish_stream();
}

template <class S>
inline void planar_forward(const ForwardCall& call) {
    const int64_t parts = parts_of(call.shape, Blocks(call.shape));
    const int threads = threads_for(call.threads, call.shape.size(), call.shape.channels * parts);
    const bool streaming = planar_worth_streaming<S>(call.shape);
    if (parts == 1 || call.frozen) {
        each_part(call.shape, parts, threads, [&](int64_t c, int64_t begin, int64_t end, int64_t) {
            if (!call.frozen) store_moments(moments_of<S>(call, c, begin, end), call.eps, call.statistics, c);
            normalize_blocks<S>(call, c, begin, end, streaming);
        });
        return;
    }
    std::vector<Moments> pieces(size_t(call.shape.channels * parts));
    each_part(call.shape, parts, threads, [&](int64_t c, int64_t begin, int64_t end, int64_t piece) {
        pieces[size_t(piece)] = moments_of<S>(call, c, begin, end);
    });
    for (int64_t c = 0; c < call.shape.channels; ++c) {
        Moments all;
        for (int64_t part = 0; part < parts; ++part) all.add(pieces[size_t(c * parts + part)]);
        store_moments(all, call.eps, call.statistics, c);
    }
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
    const int64_t ahead = samples_ahead(call.shape), outer = call.shape.outer;
    ComomentSums<S> sums;
    with_output<S>(call, c, recompute, [&](auto kind, const auto& output) {
        each_run(call.shape, begin, end, [&](int64_t o, int64_t i, int64_t length) {
            sums.template add_run<decltype(kind)::value>(
                {call.dy.at<const S>(o, c) + i, call.x.at<const S>(o, c) + i, length,
                 run_ahead<S>(call.dy, outer, o + ahead, c, i),
                 run_ahead<S>(call.x, outer, o + ahead, c, i)},
                output(o, i), call.statistics.mean[c], call.slope, call.inverse_slope);
        });
    });
    return sums.totals();
}

template <class S>
inline void gradient_blocks(const BackwardCall& call, int64_t c, bool recompute, double square,
                            int64_t begin, int64_t end, bool streaming) {
    const GradientChannel channel(call, c, square);
    const bool through = call.through_mean || call.through_variance;
    const auto place = [&](const Operand& a, int64_t o, int64_t i) -> S* {
        return a ? a.at<S>(o, c) + i : nullptr;
    };
    in_precision<S>(channel.fits_float(), [&](auto t) {
        using T = decltype(t);
        const SameGradient<T> at(is_double<T> ? channel : channel.for_float());
        with_output<S>(call, c, recompute, [&](auto kind, const auto& output) {
            each_run_backwards(call.shape, begin, end, [&](int64_t o, int64_t i, int64_t length) {
                const GradientRun<S> run{place(call.dy, o, i), place(call.x, o, i),
                                         place(call.dx, o, i), place(call.dresidual, o, i),
                                         length, call.slope, call.inverse_slope,
                                         through, call.add_dx, call.add_dresidual, streaming};
                gradient_run<decltype(kind)::value>(run, output(o, i), at);
            });
        });
    });
    if (streaming) finish_stream();
}

template <class S>
inline void planar_backward(const BackwardCall& call) {
    const int64_t parts = parts_of(call.shape, Blocks(call.shape));
    const int threads = threads_for(call.threads, call.shape.size(), call.shape.channels * parts);
    const bool streaming = planar_worth_streaming<S>(call.shape);
    const bool results = call.dx || call.dresidual, recompute = recomputes<S>(call);
    if (parts == 1) {
        each_part(call.shape, parts, threads, [&](int64_t c, int64_t begin, int64_t end, int64_t) {
            const Comoments sums = comoments_of<S>(call, c, recompute, begin, end);
            store_sums(sums, call, c);
            if (results) gradient_blocks<S>(call, c, recompute, sums.square, begin, end, streaming);
        });
        return;
    }
    std::vector<Comoments> pieces(size_t(call.shape.channels * parts));
    each_part(call.shape, parts, threads, [&](int64_t c, int64_t begin, int64_t end, int64_t piece) {
        pieces[size_t(piece)] = comoments_of<S>(call, c, recompute, begin, end);
    });
    std::vector<double> squares(size_t(call.shape.channels));
    for (int64_t c = 0; c < call.shape.channels; ++c) {
        Comoments all;
        for (int64_t part = 0; part < parts; ++part) all.add(pieces[size_t(c * parts + part)]);
        store_sums(all, call, c);
        squares[size_t(c)] = all.square;
    }
    if (!results) return;
    each_part(call.shape, parts, threads, [&](int64_t c, int64_t begin, int64_t end, int64_t) {
        gradient_blocks<S>(call, c, recompute, squares[size_t(c)], begin, end, streaming);
    });
}

}  // namespace BACKNORM_LEVEL
}  // namespace backnorm
