// Python's lock, let go while C++ computes.
#pragma once

#include <Python.h>

#include <chrono>
#include <thread>

namespace backnorm {

// Takes the lock back. While the interpreter ends, Python before 3.14 does not give it to daemon threads: it ends the
// thread, by unwinding a stack that holds functions which may not be unwound, and the process aborts. The thread
// stops here instead, as in Python 3.14, until the process is gone.
inline void take_gil(PyThreadState* state) {
    try {
        PyEval_RestoreThread(state);
    } catch (...) {
        for (;;) std::this_thread::sleep_for(std::chrono::hours(1));
    }
}

// Runs body() without the lock and returns what it returns; its exceptions come through.
template <class Body>
auto without_gil(const Body& body) {
    PyThreadState* const state = PyEval_SaveThread();
    try {
        if constexpr (std::is_void_v<decltype(body())>) {
            body();
            take_gil(state);
        } else {
            auto result = body();
            take_gil(state);
            return result;
        }
    } catch (...) {
        take_gil(state);
        throw;
    }
}

}  // namespace backnorm
