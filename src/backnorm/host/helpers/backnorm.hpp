// backnorm's program protocol, version 1, for C++11. Audit with: backnorm audit --program ./norm
//   int main() {                                            // T is the dtype: float or double
//     backnorm::serve<double>("kind=batch sample=3,2,2 params=3", [](backnorm::Call<double>& c) {
//       c.put("y", "x", my_norm(c.get("x"), c.get("gamma"), c.get("beta")));   // each a std::vector<double>; y is shaped as x
//       if (!c.has("dy")) return;                           // a forward pass alone
//       auto g = my_norm_backward(c.get("x"), c.get("gamma"), c.get("dy"));
//       c.put("dx", "x", g.dx); c.put("dgamma", "gamma", g.dgamma); c.put("dbeta", "beta", g.dbeta);
//     });
//   }
// c.shape("x")[0] is the number of samples, c.train the mode. By pointers: c.in("x"), nullptr for what was not sent, and
// c.out("y", "x"), zeros to be filled. A layer with statistics passes {{"state.mean", {0, 0, 0}}} as a third argument, gets
// "state.mean", and puts those after the call. With can=higher among the facts, c.what is "higher" where it is asked for.
#pragma once
#include <cstdio>
#include <functional>
#include <iostream>
#include <map>
#include <sstream>
#include <stdexcept>
#include <string>
#include <unistd.h>
#include <vector>
namespace backnorm {
template <class T> struct Array { std::vector<size_t> shape; std::vector<T> values; };
template <class T> using Arrays = std::map<std::string, Array<T>>;
inline std::vector<size_t> lengths(const std::string& text) {   // 3,2,2
  std::istringstream from(text); std::vector<size_t> found; for (size_t d; from >> d; from.get()) found.push_back(d); return found; }
inline size_t size(const std::vector<size_t>& shape) { size_t n = 1; for (size_t d : shape) n *= d; return n; }
template <class T> struct Call {
  std::string what; bool train = false; Arrays<T> given, answer;
  bool has(const std::string& name) const { return given.count(name) > 0; }
  Array<T>& of(const std::string& name) { if (has(name)) return given[name]; throw std::runtime_error(name + " is not in this request"); }
  const std::vector<size_t>& shape(const std::string& name) { return of(name).shape; }
  const std::vector<T>& get(const std::string& name) { return of(name).values; }
  void put(const std::string& name, const std::string& like, std::vector<T> values) {
    const size_t is = values.size(), must = get(like).size(); if (is == must) { answer[name] = {shape(like), std::move(values)}; return; }
    throw std::runtime_error(name + " has " + std::to_string(is) + " values, and " + like + " has " + std::to_string(must)); }
  T* in(const std::string& name) { static T none; return !has(name) ? nullptr : get(name).empty() ? &none : of(name).values.data(); }
  T* out(const std::string& name, const std::string& like) { std::vector<T> zeros(get(like).size() + 1); return (answer[name] = {shape(like), zeros}).values.data(); } };
template <class T> void say(FILE* out, std::string line, const Arrays<T>& arrays) {
  for (auto& one : arrays) { line += " " + one.first + (sizeof(T) == 8 ? "=float64[" : "=float32["); const char* comma = "";
    for (size_t d : one.second.shape) { line += comma + std::to_string(d); comma = ","; } line += "]"; }
  line += "\n"; fwrite(line.data(), 1, line.size(), out);
  for (auto& one : arrays) { fwrite(one.second.values.data(), sizeof(T), size(one.second.shape), out); } fflush(out); }
template <class T> void serve(const std::string& facts, std::function<void(Call<T>&)> call, std::map<std::string, std::vector<T>> state = {}) {
  FILE* out = fdopen(dup(1), "wb"); dup2(2, 1);   // what libraries print goes to stderr
  const std::vector<size_t> sample = lengths(facts.substr(facts.find("sample=") + 7));
  for (std::string line; std::getline(std::cin, line);) {
    std::istringstream words(line); std::string word; std::vector<std::string> order; Call<T> c; words >> c.what;
    while (words >> word) { size_t equals = word.find('='), bracket = word.find('[');
      if (bracket == std::string::npos) { c.train = word == "train"; continue; }
      order.push_back(word.substr(0, equals)); c.given[order.back()].shape = lengths(word.substr(bracket + 1)); }
    for (auto& name : order) { Array<T>& a = c.given[name]; a.values.resize(size(a.shape)); std::cin.read((char*)a.values.data(), sizeof(T) * a.values.size()); }
    try { if (c.what != "hello" && std::vector<size_t>(c.shape("x").begin() + !c.shape("x").empty(), c.shape("x").end()) != sample) throw std::runtime_error("x has samples of another shape than in hello");
      if (c.what != "hello") { call(c); say<T>(out, "ok", c.answer); continue; }
      Arrays<T> start; for (auto& one : state) start[one.first] = {{one.second.size()}, one.second};
      say<T>(out, "ok " + facts + (sizeof(T) == 8 ? " dtypes=float64" : " dtypes=float32"), start); }
    catch (const std::exception& error) { std::string text = error.what(); for (char& one : text) { if (one == '\n') one = ' '; } say<T>(out, "error " + text, {}); } } }
}  // namespace backnorm
