// kernels-bench: measures every matmul and vector kernel on the shapes of real models, next to the limits of
// this machine (measured in the same run). Takes Google Benchmark's flags, and --threads N (default: one per
// physical core).
// Invariant: the operands of a case exceed the caches wherever the model's operands do.
#include <algorithm>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <initializer_list>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include <benchmark/benchmark.h>
#include <fmt/format.h>
#include <omp.h>

#include "gemma/aligned_buffer.hpp"
#include "gemma/gemma.hpp"
#include "gemma/version.hpp"
#include "kernels/machine_limits.hpp"

namespace {

using gemma::AlignedBuffer;
using gemma::DType;
using gemma::kernels::KernelTable;
using gemma::kernels::MachineLimits;
using gemma::kernels::MatmulKernel;

unsigned n_threads = 1;

template <class T>
AlignedBuffer<T> buffer(std::size_t size) {
  return AlignedBuffer<T>(size, "a bench's operands");
}

/// Fills w with bytes from 0x21 to 0x3A: read as binary16, bfloat16 or float32 they are normal numbers below
/// 1, so that no type has to handle an infinity or a subnormal.
void fill_weights(std::byte* w, std::size_t size) {
  gemma::SplitMix64 random(1);
  for (std::size_t i = 0; i < size; ++i) w[i] = static_cast<std::byte>(0x21 + random.next() % 26);
}

/// The weights of the current case. Kept between calls, since cases with the same shape and type follow each
/// other.
const AlignedBuffer<std::byte>& weights(DType type, std::size_t n, std::size_t k) {
  static std::size_t made_for[3] = {};
  static AlignedBuffer<std::byte> w;
  const std::size_t wanted[3] = {static_cast<std::size_t>(type) + 1, n, k};
  if (!std::equal(wanted, wanted + 3, made_for)) {
    const std::size_t row = gemma::row_bytes(type, k);
    w = {};  // frees the old weights first
    w = buffer<std::byte>(n * row);
    const std::size_t first = std::min(n, std::size_t{64}) * row;  // random; all others are copies
    fill_weights(w.data(), first);
    for (std::size_t at = first; at < n * row; at += first)
      std::memcpy(w.data() + at, w.data(), std::min(first, n * row - at));
    std::copy(wanted, wanted + 3, made_for);
  }
  return w;
}

const MachineLimits& limits_of(const KernelTable& table) {
  static std::map<const KernelTable*, MachineLimits> measured;
  if (!measured.contains(&table)) {
    auto memory = buffer<std::uint64_t>(gemma::kernels::kMeasuredWords);
    memory.prefer_huge_pages();
    const gemma::kernels::MachineMeter meter(table, n_threads, {memory.data(), memory.size()});
    measured[&table] = meter.measure();
  }
  return measured[&table];
}

void set_counters(benchmark::State& state, const KernelTable& table, double bytes, double ops) {
  using benchmark::Counter;
  const auto& limits = limits_of(table);
  const auto per_second = [&](double each, double unit) {
    return Counter(each / unit, Counter::kIsIterationInvariantRate);
  };
  state.counters["GB/s"] = per_second(bytes, 1e9);
  state.counters["of_read"] = per_second(bytes, limits.read_bytes_per_second);
  if (ops == 0) return;
  state.counters["Gop/s"] = per_second(ops, 1e9);
  if (limits.integer_ops_per_second > 0)
    state.counters["of_peak"] = per_second(ops, limits.integer_ops_per_second);
}

void matmul(benchmark::State& state, const KernelTable& table, DType type, std::size_t m, std::size_t n,
            std::size_t k) {
  const MatmulKernel& kernel = table.matmul_for(type);
  const auto& w = weights(type, n, k);
  auto x = buffer<float>(m * k), y = buffer<float>(m * n);
  auto q = buffer<std::int8_t>(m * k);
  auto groups = buffer<gemma::kernels::Q8Group>(m * k / 32);
  gemma::SplitMix64 random(2);
  for (std::size_t i = 0; i < m * k; ++i) x[i] = static_cast<float>(random.next() % 2001) * 0.001f - 1.0f;
  for (std::size_t t = 0; t < m; ++t)
    table.vec.quantize_q8(x.data() + t * k, k, q.data() + t * k, groups.data() + t * (k / 32));
  std::vector<AlignedBuffer<std::byte>> scratch;
  for (unsigned i = 0; i < n_threads; ++i) scratch.push_back(buffer<std::byte>(kernel.scratch_bytes(k)));
  for (auto _ : state) {
#pragma omp parallel num_threads(static_cast <int>(n_threads))
    {
      const auto id = static_cast<std::size_t>(omp_get_thread_num());
      const auto team = static_cast<std::size_t>(omp_get_num_threads());
      const std::size_t panels = (n + gemma::kernels::kPanelRows - 1) / gemma::kernels::kPanelRows;
      const auto edge = [&](std::size_t i) {
        return std::min(n, panels * i / team * gemma::kernels::kPanelRows);
      };
      kernel.matmul({.w = w.data(),
                     .row_bytes = gemma::row_bytes(type, k),
                     .k = k,
                     .row_begin = edge(id),
                     .row_end = edge(id + 1),
                     .m = m,
                     .x = x.data(),
                     .q = q.data(),
                     .groups = groups.data(),
                     .y = y.data(),
                     .ldy = n,
                     .scratch = scratch[id].data()});
    }
    benchmark::ClobberMemory();
  }
  state.SetLabel(std::string(kernel.name));
  set_counters(state, table, static_cast<double>(n * gemma::row_bytes(type, k)),
               2.0 * static_cast<double>(m) * static_cast<double>(n) * static_cast<double>(k));
}

/// Adds a case of one vector kernel on one thread. `bytes`: bytes that one call of f reads and writes.
template <class F>
void add_vector_case(const KernelTable& table, std::string_view name, std::size_t n, std::size_t bytes, F f) {
  benchmark::RegisterBenchmark(fmt::format("{}/{}/n:{}", name, table.name, n).c_str(),
                               [&table, n, bytes, f](benchmark::State& state) {
                                 auto x = buffer<float>(n), y = buffer<float>(n), z = buffer<float>(n);
                                 for (std::size_t i = 0; i < n; ++i)
                                   x[i] = y[i] = z[i] = static_cast<float>(i % 97) * 0.01f - 0.4f;
                                 for (auto _ : state) {
                                   f(table.vec, n, x.data(), y.data(), z.data());
                                   benchmark::ClobberMemory();
                                 }
                                 set_counters(state, table, static_cast<double>(bytes), 0);
                               });
}

void add_vector_cases(const KernelTable& table) {
  using gemma::kernels::VectorKernels;
  constexpr std::size_t kWidth = 3072, kFeedForward = 24576;
  add_vector_case(table, "rms_norm", kWidth, 12 * kWidth,
                  [](const VectorKernels& v, std::size_t n, float* x, float* y, float* z) {
                    v.rms_norm(x, y, n, 1e-6f, z);
                  });
  add_vector_case(table, "add", kWidth, 12 * kWidth,
                  [](const VectorKernels& v, std::size_t n, float* x, float*, float* z) { v.add(x, n, z); });
  add_vector_case(
      table, "gelu_mul", kFeedForward, 12 * kFeedForward,
      [](const VectorKernels& v, std::size_t n, float* x, float* y, float*) { v.gelu_mul(x, y, n); });
  add_vector_case(
      table, "silu_mul", kFeedForward, 12 * kFeedForward,
      [](const VectorKernels& v, std::size_t n, float* x, float* y, float*) { v.silu_mul(x, y, n); });
  add_vector_case(
      table, "softcap", kFeedForward, 8 * kFeedForward,
      [](const VectorKernels& v, std::size_t n, float* x, float*, float*) { v.softcap(x, n, 30.0f); });
  add_vector_case(table, "rope_half", 4096, 8 * 4096,
                  [](const VectorKernels& v, std::size_t n, float* x, float* y, float*) {
                    v.rope_half(x, n / 256, 256, y);
                  });
  add_vector_case(table, "quantize_q8", kFeedForward, 5 * kFeedForward,
                  [](const VectorKernels& v, std::size_t n, float* x, float* y, float* z) {
                    v.quantize_q8(x, n, reinterpret_cast<std::int8_t*>(y),
                                  reinterpret_cast<gemma::kernels::Q8Group*>(z));
                  });
}

/// Attention of one layer and one key/value head: m query tokens at the end of `depth` positions.
void attention(benchmark::State& state, const KernelTable& table, gemma::kernels::KvType type, std::size_t m,
               std::size_t heads, std::size_t depth) {
  constexpr std::size_t kHeadDim = 256;
  auto q = buffer<float>(m * heads * kHeadDim), out = buffer<float>(m * heads * kHeadDim);
  // pages of kKeyBlock positions, as in a cache of one layer and head
  const std::size_t vector_bytes = gemma::kernels::kv_type_info(type).vector_bytes(kHeadDim);
  const std::size_t half = gemma::kernels::kKeyBlock * vector_bytes;  // size of a page's keys, or its values
  auto cache = buffer<std::byte>(2 * depth * vector_bytes);
  std::vector<const std::byte*> pages;
  for (std::size_t i = 0; i < cache.size(); i += 2 * half) pages.push_back(cache.data() + i);
  for (std::size_t i = 0; i < q.size(); ++i) q[i] = static_cast<float>(i % 89) * 0.02f - 0.9f;
  // 0x2C2C is 0.065 as binary16 (an element or a scale); as 8-bit codes the bytes are 44
  for (std::size_t i = 0; i < cache.size(); ++i) cache[i] = std::byte{0x2C};
  auto scratch =
      buffer<std::byte>(table.vec.attention_scratch_bytes(gemma::detail::kAttentionTile, heads, kHeadDim));
  for (auto _ : state) {
    for (std::size_t t = 0; t < m; t += gemma::detail::kAttentionTile) {
      table.vec.attention({.q = q.data() + t * heads * kHeadDim,
                           .out = out.data() + t * heads * kHeadDim,
                           .q_stride = heads * kHeadDim,
                           .out_stride = heads * kHeadDim,
                           .n_tokens = std::min(gemma::detail::kAttentionTile, m - t),
                           .n_heads = heads,
                           .head_dim = kHeadDim,
                           .pages = pages.data(),
                           .v_offset = half,
                           .type = type,
                           .pos0 = depth - m + t,
                           .scale = 0.0625f,
                           .scratch = scratch.data()});
    }
    benchmark::ClobberMemory();
  }
  set_counters(state, table, static_cast<double>(2 * depth * vector_bytes),
               4.0 * static_cast<double>(m * heads * (depth - m / 2) * kHeadDim));
  state.counters.erase("of_peak");  // the peak is of integer products; attention multiplies floats
}

void add_cases(const KernelTable& table) {
  struct Shape {
    std::size_t n, k;
  };
  // gemma-2b: attention, gate/up, down; gemma-7b: the same; llama3-8b: q/o, k/v, gate/up, down
  constexpr Shape kShapes[] = {{2048, 2048},  {16384, 2048}, {2048, 16384}, {4096, 3072},  {24576, 3072},
                               {3072, 24576}, {4096, 4096},  {1024, 4096},  {14336, 4096}, {4096, 14336}};
  for (const DType type : gemma::kAllDTypes) {
    std::string type_name(gemma::info(type).name);
    std::ranges::transform(type_name, type_name.begin(), [](char c) {
      return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    });
    for (const auto [n, k] : kShapes) {
      for (const std::size_t m : {1, 2, 4, 5, 6, 8, 16, 24, 32, 128, 512}) {
        benchmark::RegisterBenchmark(
            fmt::format("matmul/{}/{}/m:{}/n:{}/k:{}", type_name, table.name, m, n, k).c_str(),
            [&table, type, m, n = n, k = k](benchmark::State& state) { matmul(state, table, type, m, n, k); })
            ->UseRealTime();
      }
    }
  }
  add_vector_cases(table);
  for (const std::size_t depth : {512, 4096}) {
    for (const std::size_t m : {1, 128}) {
      for (const std::size_t heads : {1, 8}) {
        using gemma::kernels::KvType;
        const std::string shape = fmt::format("{}/m:{}/heads:{}/depth:{}", table.name, m, heads, depth);
        for (const KvType type : {KvType::kF16, KvType::kQ8}) {
          benchmark::RegisterBenchmark(
              ((type == KvType::kF16 ? "attention/" : "attention_q8/") + shape).c_str(),
              [&table, type, m, heads, depth](benchmark::State& state) {
                attention(state, table, type, m, heads, depth);
              });
        }
      }
    }
  }
}

/// The value of one of `names` at argv[i]: "--threads=4", or "--threads" and the next argument, which `i` is
/// moved to. nullptr: it is another argument. Throws gemma::Error if the value is missing.
const char* value_of(std::initializer_list<std::string_view> names, int argc, char** argv, int& i) {
  const std::string_view arg = argv[i];
  for (const std::string_view name : names) {
    if (!arg.starts_with(name)) continue;
    if (arg.size() > name.size() && arg[name.size()] == '=') return argv[i] + name.size() + 1;
    if (arg.size() > name.size()) continue;
    if (++i < argc) return argv[i];
    throw gemma::Error(gemma::ErrorCode::kInvalidArgument, std::string(name) + " needs a number");
  }
  return nullptr;
}

/// Removes -t and --threads from the arguments and returns the others, for Google Benchmark. Throws
/// gemma::Error if the value is not a number from 1 to 1024.
std::vector<char*> take_threads(int argc, char** argv) {
  std::vector<char*> rest;
  for (int i = 0; i < argc; ++i) {
    const char* const given = i == 0 ? nullptr : value_of({"--threads", "-t"}, argc, argv, i);
    if (given == nullptr) {
      rest.push_back(argv[i]);
      continue;
    }
    const std::string_view value = given;
    const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), n_threads);
    if (error != std::errc() || end != value.data() + value.size() || n_threads == 0 || n_threads > 1024)
      throw gemma::Error(gemma::ErrorCode::kInvalidArgument,
                         "--threads: " + std::string(value) + " is not a whole number from 1 to 1024");
  }
  return rest;
}

void print_help() {
  std::fputs(
      "kernels-bench: the speed of kernels, by Google Benchmark.\n"
      "  -t,--threads N  threads of a matmul, 1 to 1024 (default: one for each physical core)\n"
      "  --version       print the version and exit\n\n",
      stdout);
  benchmark::PrintDefaultHelp();
}

/// Registered by std::atexit, since Google Benchmark exits by itself after --help.
void end_unless_stdout_is_written() {
  if (std::fflush(stdout) == 0 && std::ferror(stdout) == 0) return;
  std::fputs("kernels-bench: cannot write to standard output\n", stderr);
  std::_Exit(1);
}

int run(int argc, char** argv) {
  std::atexit(end_unless_stdout_is_written);
  const auto has = [&](std::string_view flag) {
    return std::find(argv + 1, argv + argc, flag) != argv + argc;
  };
  if (has("--version")) return std::puts("kernels-bench " GEMMA_VERSION_STRING) < 0;
  n_threads = gemma::physical_core_count();
  std::vector<char*> rest = take_threads(argc, argv);
  for (const KernelTable* table : gemma::kernels::available_tables())
    if (table->isa != gemma::kernels::Isa::kScalar) add_cases(*table);
  int count = static_cast<int>(rest.size());
  benchmark::Initialize(&count, rest.data(), print_help);
  if (count > 1) {
    throw gemma::Error(gemma::ErrorCode::kInvalidArgument,
                       "there is no flag or argument " + std::string(rest[1]) + " (--help lists the flags)");
  }
  benchmark::AddCustomContext("threads", std::to_string(n_threads));
  const std::size_t n_cases = benchmark::RunSpecifiedBenchmarks();  // says so if there are none
  benchmark::Shutdown();
  return n_cases == 0 ? 1 : 0;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(argc, argv);
  } catch (const std::exception& e) {
    std::fprintf(stderr, "kernels-bench: %s\n", e.what());
    return 1;
  }
}
