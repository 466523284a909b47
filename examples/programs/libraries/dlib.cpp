// dlib's layers: bn_con (batch normalization of images) and layer_norm, by the functions that its layers call.
//   apt-get install libdlib-dev
//   g++ -O2 dlib.cpp -o dlib -ldlib && backnorm audit --mode train --program './dlib bn_con' --program './dlib layer_norm'
#include "backnorm.hpp"

#include <cstring>
#include <dlib/dnn.h>
#include <dlib/revision.h>

using dlib::resizable_tensor;
using Call = backnorm::Call<float>;

static resizable_tensor tensor(Call& c, const char* name, long n, long k, long r, long w) {
  resizable_tensor t(n, k, r, w);
  if (t.size()) std::memcpy(t.host(), c.in(name), t.size() * sizeof(float));
  return t;
}

static void give(Call& c, const char* name, const char* like, const dlib::tensor& t) {
  std::memcpy(c.out(name, like), t.host(), t.size() * sizeof(float));
}

static void bn_con(Call& c) {
  long n = c.shape("x")[0];
  if (!n) throw std::runtime_error("an empty batch");
  resizable_tensor x = tensor(c, "x", n, 3, 2, 2), gamma = tensor(c, "gamma", 1, 3, 1, 1), beta = tensor(c, "beta", 1, 3, 1, 1);
  resizable_tensor mean = tensor(c, "state.mean", 1, 3, 1, 1), var = tensor(c, "state.var", 1, 3, 1, 1), y, means(mean), invstds(var);
  if (!c.train) {  // its layers have no gradient in evaluation
    if (c.in("dy")) throw std::runtime_error("dlib has no gradient in evaluation");
    dlib::tt::batch_normalize_conv_inference(1e-5, y, x, gamma, beta, mean, var);
    return give(c, "y", "x", y);
  }
  dlib::tt::batch_normalize_conv(1e-5, y, means, invstds, 0.1, mean, var, x, gamma, beta);
  give(c, "y", "x", y), give(c, "state.mean", "state.mean", mean), give(c, "state.var", "state.var", var);
  if (!c.in("dy")) return;
  resizable_tensor dy = tensor(c, "dy", n, 3, 2, 2), dx(n, 3, 2, 2), dgamma(1, 3), dbeta(1, 3);
  dx = 0, dgamma = 0, dbeta = 0;
  dgamma.set_size(1, 3, 1, 1), dbeta.set_size(1, 3, 1, 1);
  dlib::tt::batch_normalize_conv_gradient(1e-5, dy, means, invstds, x, gamma, dx, dgamma, dbeta);
  give(c, "dx", "x", dx), give(c, "dgamma", "gamma", dgamma), give(c, "dbeta", "beta", dbeta);
}

static void layer_norm(Call& c) {
  long n = c.shape("x")[0];
  if (!n) throw std::runtime_error("an empty batch");
  resizable_tensor x = tensor(c, "x", n, 3, 2, 2), gamma = tensor(c, "gamma", 1, 3, 2, 2), beta = tensor(c, "beta", 1, 3, 2, 2), y, means, invstds;
  dlib::tt::layer_normalize(1e-5, y, means, invstds, x, gamma, beta);
  give(c, "y", "x", y);
  if (!c.in("dy")) return;
  resizable_tensor dy = tensor(c, "dy", n, 3, 2, 2), dx(n, 3, 2, 2), dgamma(1, 3, 2, 2), dbeta(1, 3, 2, 2);
  dx = 0, dgamma = 0, dbeta = 0;
  dlib::tt::layer_normalize_gradient(1e-5, dy, means, invstds, x, gamma, dx, dgamma, dbeta);
  give(c, "dx", "x", dx), give(c, "dgamma", "gamma", dgamma), give(c, "dbeta", "beta", dbeta);
}

int main(int, char** words) {
  std::string version = " version=" + std::to_string(DLIB_MAJOR_VERSION) + "." + std::to_string(DLIB_MINOR_VERSION);
  if (std::string(words[1]) == "bn_con")
    backnorm::serve<float>("kind=batch sample=3,2,2 params=3 name=dlib.bn_con" + version, bn_con, {{"state.mean", {0, 0, 0}}, {"state.var", {1, 1, 1}}});
  backnorm::serve<float>("kind=layer sample=3,2,2 params=3,2,2 name=dlib.layer_norm" + version, layer_norm);
}
