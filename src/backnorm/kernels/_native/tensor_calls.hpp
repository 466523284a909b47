// The functions of the Python module that take a framework's tensors.
#pragma once

#include <nanobind/nanobind.h>

#include <cstdint>

namespace backnorm {

// Whether the engine computes this: dtypes, shapes and sizes fit. All other calls are left to the framework, and so are
// tensors without strides.
bool accepts(nanobind::handle x, nanobind::handle gamma, nanobind::handle beta, nanobind::handle running_mean,
             nanobind::handle running_var, bool training);

// The statistics as bytes, 4 rows of float64; None where x and the residual must be laid out as y first.
nanobind::object forward_tensors(int level, nanobind::handle x, nanobind::handle y, nanobind::handle residual,
                                 nanobind::handle gamma, nanobind::handle beta, nanobind::handle running_mean,
                                 nanobind::handle running_var, bool training, double momentum, double eps,
                                 int activation, double slope, int threads, bool exact);

// An `Outcome`.
int backward_tensors(int level, nanobind::handle dy, nanobind::handle x, nanobind::handle y, nanobind::handle dx,
                     nanobind::handle dresidual, nanobind::handle gamma, nanobind::handle beta,
                     nanobind::handle dgamma, nanobind::handle dbeta, nanobind::bytes statistics, bool training,
                     bool through_mean, bool through_variance, bool recomputable, bool from_output, int activation,
                     double slope, int threads, bool exact);
// x, dy and y may have to be laid out as dx first, and an output that is absent may have to be given after all.
enum class Outcome { needs_layout, done, needs_output };

// Whether a tensor has memory on the CPU; Python's error of a tensor without storage.
bool has_memory(nanobind::handle tensor);

// Whether y of x, or dx of x and dy, is a small tensor with the strides of x.
bool result_is_like(nanobind::handle x, nanobind::handle dy);

// Adds 1 to an integer of 64 bits; false, and nothing is written, of any other tensor.
bool increment(nanobind::handle counter);

void define_tensor_calls(nanobind::module_& m);

}  // namespace backnorm
