// Batch normalization in C++. With an argument its gradient takes the variance as a constant.
//   backnorm program cpp > backnorm.hpp && g++ -O2 norm.cpp -o norm && backnorm audit --program ./norm
#include "backnorm.hpp"

#include <cmath>

const size_t C = 3;  // x has shape (n, C, S)
const size_t S = 4;

void my_norm(size_t n, const double* x, const double* gamma, const double* beta, const double* dy, double* y,
             double* dx, double* dgamma, double* dbeta, bool cut) {
  const double count = static_cast<double>(n * S);
  for (size_t c = 0; c < C; c++) {
    auto each = [&](auto f) { for (size_t i = 0; i < n; i++) for (size_t s = 0; s < S; s++) f((i * C + c) * S + s); };
    double mean = 0, var = 0, sum = 0, along = 0;
    each([&](size_t i) { mean += x[i] / count; });
    each([&](size_t i) { var += (x[i] - mean) * (x[i] - mean) / count; });
    const double r = 1 / std::sqrt(var + 1e-5);
    each([&](size_t i) { y[i] = gamma[c] * (x[i] - mean) * r + beta[c]; });
    if (!dy) continue;
    each([&](size_t i) { sum += dy[i]; along += dy[i] * (x[i] - mean) * r; });
    each([&](size_t i) { dx[i] = gamma[c] * r * (dy[i] - sum / count - (cut ? 0 : (x[i] - mean) * r * along / count)); });
    dgamma[c] = along;
    dbeta[c] = sum;
  }
}

int main(int argc, char**) {
  backnorm::serve<double>("kind=batch sample=3,4 params=3", [&](backnorm::Call<double>& c) {
    my_norm(c.shape("x")[0], c.in("x"), c.in("gamma"), c.in("beta"), c.in("dy"), c.out("y", "x"),
            c.in("dy") ? c.out("dx", "x") : nullptr, c.in("dy") ? c.out("dgamma", "gamma") : nullptr,
            c.in("dy") ? c.out("dbeta", "beta") : nullptr, argc > 1);
  });
}
