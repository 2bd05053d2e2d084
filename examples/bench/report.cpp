#include "examples/bench/report.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <map>

#include <fmt/format.h>

namespace gemma::bench {
namespace {

double mean(const std::vector<double>& v) {
  double sum = 0;
  for (const double x : v) sum += x;
  return sum / static_cast<double>(v.size());
}

/// Standard deviation of a sample (divided by n - 1); 0 for a single value.
double stddev(const std::vector<double>& v) {
  if (v.size() < 2) return 0;
  double sum = 0;
  for (const double x : v) sum += (x - mean(v)) * (x - mean(v));
  return std::sqrt(sum / static_cast<double>(v.size() - 1));
}

void print_kernels(const Model& model) {
  std::map<DType, std::pair<std::size_t, std::size_t>> used;  // matrices, bytes
  auto see = [&used](const Matrix& m) {
    auto& [count, bytes] = used[m.type];
    ++count;
    bytes += m.size_bytes();
  };
  see(model.weights().output);
  for (const auto& l : model.weights().layers) l.for_each_matrix(see);
  fmt::print("\n| type | matrices | MiB | kernel |\n| --- | ---: | ---: | --- |\n");
  for (const auto& [type, use] : used) {
    const auto& kernel = model.kernels().matmul_for(type);
    fmt::print("| {} | {} | {:.1f} | {}{} |\n", info(type).name, use.first,
               static_cast<double>(use.second) / (1 << 20), kernel.name,
               kernel.quantized_activations ? ", 8-bit activations" : ", float activations");
  }
}

}  // namespace

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return (values[(values.size() - 1) / 2] + values[values.size() / 2]) / 2;
}

std::vector<double> Runs::speeds() const {
  std::vector<double> out;
  for (const double s : seconds) out.push_back(tokens / s);
  return out;
}

std::string Runs::speed_text() const {
  return fmt::format("{:.2f} ± {:.2f}", mean(speeds()), stddev(speeds()));
}

Json file_fields(const Model& model) {
  return {{"build_commit", GEMMA_VERSION_STRING},
          {"model_filename", model.file().path()},
          {"model_type", model.config().name},
          {"model_size", model.file().size_bytes()}};
}

Json time_fields(const Model& model, const Runs& runs) {
  std::vector<double> ns;
  for (const double s : runs.seconds) ns.push_back(s * 1e9);
  return {{"avg_ns", static_cast<std::uint64_t>(mean(ns))},
          {"stddev_ns", static_cast<std::uint64_t>(stddev(ns))},
          {"avg_ts", mean(runs.speeds())},
          {"stddev_ts", stddev(runs.speeds())},
          {"samples_ts", runs.speeds()},
          {"isa", std::string(model.kernels().name)}};
}

void Report::add(Json row, std::string_view line) {
  if (json_) return rows_.push_back(std::move(row));
  if (!header_.empty()) fmt::print("{} on {}\n\n{}", model_.config().name, model_.kernels().name, header_);
  header_.clear();
  fmt::print("{}\n", line);
  std::fflush(stdout);
}

void Report::finish() {
  if (!json_) return print_kernels(model_);
  fmt::print("{}\n", rows_.dump(2));
}

}  // namespace gemma::bench
