/* Layer normalization in C, in float. With an argument its gradient takes mean and variance as constants.
     backnorm program c > backnorm.h && cc -O2 norm.c -o norm -lm && backnorm audit --program ./norm */
#define BN_T float
#include "backnorm.h"

#include <math.h>

enum { W = 6 }; /* x has shape (n, W) */
static int cut;

static void layer_norm(size_t n, const float *x, const float *gamma, const float *beta, float *y) {
  for (size_t i = 0; i < n; i++, x += W, y += W) {
    double mean = 0, var = 0;
    for (int w = 0; w < W; w++) mean += x[w] / W;
    for (int w = 0; w < W; w++) var += (x[w] - mean) * (x[w] - mean) / W;
    for (int w = 0; w < W; w++) y[w] = gamma[w] * (x[w] - mean) / sqrt(var + 1e-5) + beta[w];
  }
}

static void layer_norm_backward(size_t n, const float *x, const float *gamma, const float *dy, float *dx,
                                float *dgamma, float *dbeta) {
  for (size_t i = 0; i < n; i++, x += W, dy += W, dx += W) {
    double mean = 0, var = 0, sum = 0, along = 0;
    for (int w = 0; w < W; w++) mean += x[w] / W;
    for (int w = 0; w < W; w++) var += (x[w] - mean) * (x[w] - mean) / W;
    double r = 1 / sqrt(var + 1e-5);
    for (int w = 0; w < W; w++) sum += gamma[w] * dy[w], along += gamma[w] * dy[w] * (x[w] - mean) * r;
    for (int w = 0; w < W; w++) {
      dx[w] = r * (gamma[w] * dy[w] - (cut ? 0 : sum / W + (x[w] - mean) * r * along / W));
      dgamma[w] += dy[w] * (x[w] - mean) * r;
      dbeta[w] += dy[w];
    }
  }
}

static void call(bn_call *c) {
  layer_norm(c->n, bn_in(c, "x"), bn_in(c, "gamma"), bn_in(c, "beta"), bn_out(c, "y", "x"));
  if (bn_in(c, "dy"))
    layer_norm_backward(c->n, bn_in(c, "x"), bn_in(c, "gamma"), bn_in(c, "dy"), bn_out(c, "dx", "x"),
                        bn_out(c, "dgamma", "gamma"), bn_out(c, "dbeta", "beta"));
}

int main(int argc, char **argv) {
  (void)argv;
  cut = argc > 1;
  return bn_serve("kind=layer sample=6 params=6", "", NULL, call);
}
