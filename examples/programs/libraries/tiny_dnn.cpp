// tiny-dnn's batch normalization, which has no gamma and no beta.
//   apt-get install tiny-dnn libcereal-dev libstb-dev libgemmlowp-dev
//   mkdir -p third_party && ln -sfn /usr/include/stb third_party/stb       # where it looks for it
//   g++ -O2 -w -I. tiny_dnn.cpp -o tiny_dnn -lpthread && backnorm audit --program ./tiny_dnn
#include <iomanip>
#include <tiny_dnn/tiny_dnn.h>

#include "backnorm.hpp"

using namespace tiny_dnn;

static tensor_t rows(backnorm::Call<float>& c, const char* name) {
  tensor_t t(c.shape("x")[0], vec_t(12));
  for (size_t i = 0; i < t.size() * 12; i++) t[i / 12][i % 12] = c.in(name)[i];
  return t;
}

static void give(backnorm::Call<float>& c, const char* name, const tensor_t& t) {
  float* out = c.out(name, "x");
  for (size_t i = 0; i < t.size() * 12; i++) out[i] = t[i / 12][i % 12];
}

int main() {
  backnorm::serve<float>("kind=batch sample=3,2,2 params=3 gamma=0 beta=0 name=tiny_dnn.batch_normalization_layer version=1.0.0a3",
    [](backnorm::Call<float>& c) {
      if (!c.shape("x")[0]) throw std::runtime_error("an empty batch");
      batch_normalization_layer layer(4, 3, 1e-5f, 0.9f, c.train ? net_phase::train : net_phase::test);
      layer.set_mean(vec_t(c.in("state.mean"), c.in("state.mean") + 3));
      layer.set_variance(vec_t(c.in("state.var"), c.in("state.var") + 3));
      tensor_t x = rows(c, "x"), y = x, dx = x;
      std::vector<tensor_t*> in{&x}, out{&y}, in_grad{&dx};
      layer.forward_propagation(in, out);
      give(c, "y", y);
      if (c.in("dy")) {
        tensor_t dy = rows(c, "dy");
        std::vector<tensor_t*> out_grad{&dy};
        layer.back_propagation(in, out, out_grad, in_grad);
        give(c, "dx", dx);
      }
      if (!c.train) return;
      layer.post_update();
      std::stringstream text;
      text << std::setprecision(9);
      layer.save(text);
      for (const char* name : {"state.mean", "state.var"})
        for (size_t k = 0, n = 3; k < n; k++) text >> (k ? c.answer[name].values[k] : *c.out(name, name));
    },
    {{"state.mean", {0, 0, 0}}, {"state.var", {1, 1, 1}}});
}
