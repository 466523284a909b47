// oneDNN's batch and layer normalization, on the CPU.
//   apt-get install libdnnl-dev
//   g++ -O2 onednn.cpp -o onednn -ldnnl && backnorm audit --program './onednn batch' --program './onednn layer'
#include "backnorm.hpp"

#include <cstring>
#include <oneapi/dnnl/dnnl.hpp>

using namespace dnnl;
using Call = backnorm::Call<float>;
using Arguments = std::unordered_map<int, memory>;

static engine cpu(engine::kind::cpu, 0);
static const float eps = 1e-5f;

static memory fresh(const memory::desc& d, const float* from = nullptr) {
  memory m(d, cpu);
  if (from) std::memcpy(m.get_data_handle(), from, d.get_size());
  return m;
}

static void give(Call& c, const char* name, const char* like, const memory& m, size_t from = 0) {
  std::memcpy(c.out(name, like), static_cast<float*>(m.get_data_handle()) + from, sizeof(float) * backnorm::size(c.shape(like)));
}

// gamma and beta lie in one array of two rows.
static memory both(Call& c, memory::dim n) {
  memory m = fresh(memory::desc({2, n}, memory::data_type::f32, memory::format_tag::ab));
  std::memcpy(m.get_data_handle(), c.in("gamma"), n * sizeof(float));
  std::memcpy(static_cast<float*>(m.get_data_handle()) + n, c.in("beta"), n * sizeof(float));
  return m;
}

template <class Forward, class Backward, class Flags>
static void run(Call& c, const memory::desc& d, memory::dim channels, Flags flags) {
  stream s(cpu);
  auto fd = typename Forward::primitive_desc({prop_kind::forward_training, d, eps, flags}, cpu);
  memory x = fresh(d, c.in("x")), y = fresh(d), p = both(c, channels);
  memory mean = fresh(fd.mean_desc(), c.train ? nullptr : c.in("state.mean")), var = fresh(fd.variance_desc(), c.train ? nullptr : c.in("state.var"));
  Forward(fd).execute(s, Arguments{{DNNL_ARG_SRC, x}, {DNNL_ARG_DST, y}, {DNNL_ARG_MEAN, mean}, {DNNL_ARG_VARIANCE, var}, {DNNL_ARG_SCALE_SHIFT, p}});
  s.wait();
  give(c, "y", "x", y);
  if (c.train && c.in("state.mean"))  // the weight is the caller's: oneDNN gives the statistics of the batch
    for (int k = 0; k < channels; k++) {
      if (!k) c.out("state.mean", "state.mean"), c.out("state.var", "state.var");
      c.answer["state.mean"].values[k] = 0.9f * c.in("state.mean")[k] + 0.1f * static_cast<float*>(mean.get_data_handle())[k];
      c.answer["state.var"].values[k] = 0.9f * c.in("state.var")[k] + 0.1f * static_cast<float*>(var.get_data_handle())[k];
    }
  if (!c.in("dy")) return;
  auto bd = typename Backward::primitive_desc({prop_kind::backward, d, d, eps, flags}, cpu, fd);
  memory dy = fresh(d, c.in("dy")), dx = fresh(d), dp = fresh(p.get_desc());
  Backward(bd).execute(s, Arguments{{DNNL_ARG_SRC, x}, {DNNL_ARG_DIFF_DST, dy}, {DNNL_ARG_MEAN, mean}, {DNNL_ARG_VARIANCE, var},
                                    {DNNL_ARG_SCALE_SHIFT, p}, {DNNL_ARG_DIFF_SRC, dx}, {DNNL_ARG_DIFF_SCALE_SHIFT, dp}});
  s.wait();
  give(c, "dx", "x", dx), give(c, "dgamma", "gamma", dp), give(c, "dbeta", "beta", dp, channels);
}

static void batch(Call& c) {
  memory::desc d({static_cast<memory::dim>(c.shape("x")[0]), 3, 2, 2}, memory::data_type::f32, memory::format_tag::nchw);
  auto flags = normalization_flags::use_scale_shift;
  run<batch_normalization_forward, batch_normalization_backward>(c, d, 3, c.train ? flags : flags | normalization_flags::use_global_stats);
}

static void layer(Call& c) {
  memory::desc d({static_cast<memory::dim>(c.shape("x")[0]), 6}, memory::data_type::f32, memory::format_tag::ab);
  c.train = true;
  run<layer_normalization_forward, layer_normalization_backward>(c, d, 6, normalization_flags::use_scale_shift);
}

int main(int, char** words) {
  const version_t* v = version();
  std::string said = " version=" + std::to_string(v->major) + "." + std::to_string(v->minor) + "." + std::to_string(v->patch);
  if (std::string(words[1]) == "batch")
    backnorm::serve<float>("kind=batch sample=3,2,2 params=3 name=dnnl.batch_normalization" + said, batch, {{"state.mean", {0, 0, 0}}, {"state.var", {1, 1, 1}}});
  backnorm::serve<float>("kind=layer sample=6 params=6 name=dnnl.layer_normalization" + said, layer);
}
