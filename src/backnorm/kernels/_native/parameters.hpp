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
        double value = 0.0;
        typed([&](auto s) { value = get<decltype(s)>(i); });
        return value;
    }
    // body(channel, value), with what it returns as the value's successor, for all values.
    template <class Body>
    void each(int64_t count, const Body& body) const {
        if (data_)
            typed([&](auto s) {
                using S = decltype(s);
                for (int64_t i = 0; i < count; ++i) put<S>(i, body(i, get<S>(i)));
            });
    }
    // All values; empty without a parameter.
    std::vector<double> read(int64_t count) const {
        std::vector<double> values(data_ ? size_t(count) : 0);
        if (data_)
            typed([&](auto s) {
                for (int64_t i = 0; i < count; ++i) values[size_t(i)] = get<decltype(s)>(i);
            });
        return values;
    }
    void write(const std::vector<double>& values) const {
        if (data_)
            typed([&](auto s) {
                for (size_t i = 0; i < values.size(); ++i) put<decltype(s)>(int64_t(i), values[i]);
            });
    }

  private:
    // body(a value of the dtype as it is stored): the dtype is looked at once for many values.
    template <class Body>
    void typed(const Body& body) const {
        switch (dtype_) {
            case Dtype::float32: return body(float());
            case Dtype::float64: return body(double());
            case Dtype::bfloat16: return body(bfloat16());
            case Dtype::float16: return body(float16());
        }
    }
    static double wide(float value) { return value; }
    static double wide(double value) { return value; }
    static double wide(bfloat16 value) { return from_bfloat16(value.bits); }
    static double wide(float16 value) { return from_float16(value.bits); }
    static void narrow(double value, float& stored) { stored = float(value); }
    static void narrow(double value, double& stored) { stored = value; }
    static void narrow(double value, bfloat16& stored) { stored.bits = to_bfloat16(float(value)); }
    static void narrow(double value, float16& stored) { stored.bits = to_float16(float(value)); }

    template <class S>
    double get(int64_t i) const { return wide(load<S>(i)); }
    template <class S>
    void put(int64_t i, double value) const {
        S stored;
        narrow(value, stored);
        store(i, stored);
    }
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
