// Calls on a framework's tensors. Gamma and beta, their gradients and running statistics are in the
// framework's dtypes.
#pragma once

#include "call.hpp"
#include "parameters.hpp"

namespace backnorm {

struct ForwardTensors {
    Shape shape;
    Dtype dtype;
    Operand x, y, residual;
    Parameters gamma, beta;
    Parameters running_mean, running_var;  // frozen: read; else: updated, if there
    double momentum;                       // weight of the batch in the update
    double* statistics;                    // 4 rows, see Statistics
    bool frozen;
    double eps;
    Activation activation;
    double slope;
    int threads;
    bool exact;
};
void run(const Level& level, const ForwardTensors& tensors);

struct BackwardTensors {
    Shape shape;
    Dtype dtype;
    Operand dy, x, y, dx, dresidual;
    Parameters gamma, beta, dgamma, dbeta;
    double* statistics;
    bool frozen, through_mean, through_variance;
    bool recomputable;        // see BackwardCall
    bool from_output;  // x holds the output, from which x_hat is computed
    Activation activation;
    double slope;
    int threads;
    bool exact;
};
// False, and nothing is written, if the output is needed and neither given nor computed again.
bool run(const Level& level, const BackwardTensors& tensors);

// Whether x_hat can be computed from the output, stored in a dtype, without a loss of precision. The slope is that of
// the activation below 0, 1 without an activation.
bool invertible(const Parameters& gamma, const Parameters& beta, int64_t channels, Dtype dtype, double slope);

}  // namespace backnorm
