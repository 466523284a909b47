// One value per channel in a framework's dtype: read as float64, rounded once when written.
#pragma once

#include <cstdint>
#include <vector>

#include "call.hpp"
#include "dtypes.hpp"

namespace backnorm {

class Parameters {
  public:
    Parameters(void* data, Dtype dtype) : data_(data), dtype_(dtype) {}

    explicit operator bool() const { return data_ != nullptr; }

    double operator[](int64_t i) const {
        switch (dtype_) {
            case Dtype::float32: return static_cast<const float*>(data_)[i];
            case Dtype::float64: return static_cast<const double*>(data_)[i];
            case Dtype::bfloat16: return from_bfloat16(static_cast<const uint16_t*>(data_)[i]);
            case Dtype::float16: return from_float16(static_cast<const uint16_t*>(data_)[i]);
        }
        return 0.0;
    }
    void set(int64_t i, double value) const {
        switch (dtype_) {
            case Dtype::float32: static_cast<float*>(data_)[i] = float(value); return;
            case Dtype::float64: static_cast<double*>(data_)[i] = value; return;
            case Dtype::bfloat16: static_cast<uint16_t*>(data_)[i] = to_bfloat16(float(value)); return;
            case Dtype::float16: static_cast<uint16_t*>(data_)[i] = to_float16(float(value)); return;
        }
    }
    // All values; empty without a parameter.
    std::vector<double> read(int64_t count) const {
        std::vector<double> values;
        if (!data_) return values;
        values.reserve(size_t(count));
        for (int64_t i = 0; i < count; ++i) values.push_back((*this)[i]);
        return values;
    }
    void write(const std::vector<double>& values) const {
        if (!data_) return;
        for (size_t i = 0; i < values.size(); ++i) set(int64_t(i), values[i]);
    }

  private:
    void* data_;
    Dtype dtype_;
};

}  // namespace backnorm
