/* RMS normalization as a C function of a shared library, which is audited without a program:
     cc -O2 -shared -fPIC library.c -o libnorm.so -lm && backnorm audit --library ./libnorm.so:norm
   `wrong` is the same with a gradient that takes the mean square as a constant. */
#include <math.h>
#include <stddef.h>

enum { W = 5 }; /* x has shape (n, W) */

const char norm_facts[] = "kind=rms sample=5 params=5 dtypes=float64 beta=0";
const char wrong_facts[] = "kind=rms sample=5 params=5 dtypes=float64 beta=0";

static void rms_norm(size_t n, const double *x, const double *gamma, const double *dy, double *y, double *dx,
                     double *dgamma, double share) {
  for (size_t i = 0; i < n; i++) {
    const double *row = x + i * W;
    double square = 0, along = 0;
    for (int w = 0; w < W; w++) square += row[w] * row[w] / W;
    double r = 1 / sqrt(square + 1e-6);
    for (int w = 0; w < W; w++) y[i * W + w] = gamma[w] * row[w] * r;
    if (!dy) continue;
    for (int w = 0; w < W; w++) along += gamma[w] * dy[i * W + w] * row[w] * r / W;
    for (int w = 0; w < W; w++) {
      dx[i * W + w] = r * (gamma[w] * dy[i * W + w] - share * row[w] * r * along);
      dgamma[w] += dy[i * W + w] * row[w] * r;
    }
  }
}

void norm(int train, size_t n, const double *x, const double *gamma, const double *beta, const double *dy,
          double *y, double *dx, double *dgamma, double *dbeta) {
  (void)train, (void)beta, (void)dbeta;
  rms_norm(n, x, gamma, dy, y, dx, dgamma, 1.0);
}

void wrong(int train, size_t n, const double *x, const double *gamma, const double *beta, const double *dy,
           double *y, double *dx, double *dgamma, double *dbeta) {
  (void)train, (void)beta, (void)dbeta;
  rms_norm(n, x, gamma, dy, y, dx, dgamma, 0.0);
}
