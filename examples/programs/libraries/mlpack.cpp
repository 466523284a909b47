// mlpack's layers BatchNorm and LayerNorm, whose headers are in its wheel. Debian 12 has no mlpack, but what it needs:
//   apt-get install libarmadillo-dev libcereal-dev
//   pip download --no-deps mlpack==4.8.0 && unzip mlpack-*.whl 'mlpack/include/*'
//   g++ -O2 -std=c++17 -fopenmp -Imlpack/include mlpack.cpp -o mlpack_norms -larmadillo
//   backnorm audit --program './mlpack_norms batch' --program './mlpack_norms layer'
#include "backnorm.hpp"

#include <cstring>
#include <mlpack/prereqs.hpp>
#include <mlpack/core/util/arma_traits.hpp>
#include <mlpack/core/util/using.hpp>
#include <mlpack/core/util/conv_to.hpp>
#include <mlpack/core/util/log.hpp>
#include <mlpack/core/util/version.hpp>
#include <mlpack/core/math/math.hpp>
#include <mlpack/methods/ann/layer/batch_norm.hpp>
#include <mlpack/methods/ann/layer/layer_norm.hpp>

using Call = backnorm::Call<double>;

// A sample is a column; its values lie as the protocol has them.
static arma::mat columns(Call& c, const char* name, size_t rows, size_t n) {
  return arma::mat(c.in(name), rows, n);
}

static void give(Call& c, const char* name, const char* like, const arma::mat& values) {
  std::memcpy(c.out(name, like), values.memptr(), values.n_elem * sizeof(double));
}

template <class Norm>
static arma::mat prepared(Call& c, Norm& norm, size_t count) {
  norm.InputDimensions() = {2, 2, 3};
  norm.ComputeOutputDimensions();
  arma::mat weights(2 * count, 1);
  norm.CustomInitialize(weights, 2 * count);
  std::memcpy(weights.memptr(), c.in("gamma"), count * sizeof(double));
  std::memcpy(weights.memptr() + count, c.in("beta"), count * sizeof(double));
  return weights;
}

template <class Norm>
static void answer(Call& c, Norm& norm, const arma::mat& x, size_t count) {
  arma::mat y(arma::size(x)), dx(arma::size(x)), gradient(2 * count, 1);
  norm.Forward(x, y);
  give(c, "y", "x", y);
  if (!c.in("dy")) return;
  arma::mat dy = columns(c, "dy", 12, x.n_cols);
  norm.Backward(x, y, dy, dx);
  norm.Gradient(x, dy, gradient);
  give(c, "dx", "x", dx);
  std::memcpy(c.out("dgamma", "gamma"), gradient.memptr(), count * sizeof(double));
  std::memcpy(c.out("dbeta", "beta"), gradient.memptr() + count, count * sizeof(double));
}

static void batch(Call& c) {
  size_t n = c.shape("x")[0];
  if (!n) throw std::runtime_error("an empty batch");
  arma::mat x = columns(c, "x", 12, n), y(arma::size(x));
  mlpack::BatchNorm<arma::mat> norm;
  arma::mat weights = prepared(c, norm, 3);
  norm.SetWeights(weights);
  norm.Training() = true;
  if (!c.train) norm.Forward(x, y);  // a layer that is evaluated has trained before
  norm.TrainingMean() = arma::mat(c.in("state.mean"), 3, 1);
  norm.TrainingVariance() = arma::mat(c.in("state.var"), 3, 1);
  norm.Training() = c.train;
  answer(c, norm, x, 3);
  give(c, "state.mean", "state.mean", norm.TrainingMean());
  give(c, "state.var", "state.var", norm.TrainingVariance());
}

static void layer(Call& c) {
  size_t n = c.shape("x")[0];
  if (!n) throw std::runtime_error("an empty batch");
  mlpack::LayerNorm<arma::mat> norm;
  arma::mat weights = prepared(c, norm, 12);
  norm.SetWeights(weights);
  answer(c, norm, columns(c, "x", 12, n), 12);
}

int main(int, char** words) {
  std::string version = " version=" + std::to_string(MLPACK_VERSION_MAJOR) + "." + std::to_string(MLPACK_VERSION_MINOR) + "." + std::to_string(MLPACK_VERSION_PATCH);
  if (std::string(words[1]) == "batch")
    backnorm::serve<double>("kind=batch sample=3,2,2 params=3 name=mlpack.BatchNorm" + version, batch, {{"state.mean", {0, 0, 0}}, {"state.var", {1, 1, 1}}});
  backnorm::serve<double>("kind=layer sample=3,2,2 params=3,2,2 name=mlpack.LayerNorm" + version, layer);
}
