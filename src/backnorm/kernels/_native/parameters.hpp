// One value per channel in a framework's dtype, at any address: read as float64, rounded once when written.
#pragma once

#include <cstdint>
#include <cstring>
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
            case Dtype::float32: return load<float>(i);
            case Dtype::float64: return load<double>(i);
            case Dtype::bfloat16: return from_bfloat16(load<uint16_t>(i));
            case Dtype::float16: return from_float16(load<uint16_t>(i));
        }
        return 0.0;
    }
    void set(int64_t i, double value) const {
        switch (dtype_) {
            case Dtype::float32: return store(i, float(value));
            case Dtype::float64: return store(i, value);
            case Dtype::bfloat16: return store(i, to_bfloat16(float(value)));
            case Dtype::float16: return store(i, to_float16(float(value)));
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
    // Copied as bytes, since a tensor may lie at any address.
    template <class S>
    S load(int64_t i) const {
        S value;
        std::memcpy(&value, static_cast<const char*>(data_) + i * int64_t(sizeof value), sizeof value);
        return value;
    }
    template <class S>
    void store(int64_t i, S value) const {
        std::memcpy(static_cast<char*>(data_) + i * int64_t(sizeof value), &value, sizeof value);
    }

    void* data_;
    Dtype dtype_;
};

}  // namespace backnorm
