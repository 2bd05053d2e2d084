// The flags that every program with a model shares: the file, the instruction set, threads, the context and
// its cache. Invariant: after load() the model runs on exactly the instruction set that was asked for;
// nothing is chosen silently.
#pragma once

#include <charconv>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <CLI/CLI.hpp>

#include "gemma/gemma.hpp"

namespace gemma::app {

/// The table that `name` ("" for the best) names. Throws Error{kInvalidArgument} listing what can be asked
/// for.
inline const kernels::KernelTable& kernel_table(std::string_view name) {
  if (name.empty()) return kernels::best_table();
  if (const kernels::KernelTable* table = kernels::find_table(name)) return *table;
  std::string valid;
  for (const kernels::KernelTable* table : kernels::available_tables()) {
    valid += valid.empty() ? "" : ", ";
    valid += table->name;
  }
  throw Error(ErrorCode::kInvalidArgument,
              "instruction set " + quoted(name) + " is not available; this build on this CPU has " + valid);
}

/// Bytes of "800MB", "4GiB", "4g" or plain "1000000": units are powers of 1000, with an i of 1024. Throws
/// Error{kInvalidArgument} for anything else, 0 and what does not fit in 64 bits.
inline std::size_t parse_size(const std::string& text) {
  std::uint64_t n = 0;
  const char* const end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, n);
  std::string unit(rest, end);
  for (char& c : unit) c = c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
  if (unit.ends_with('B')) unit.pop_back();
  const bool binary = unit.size() == 2 && unit.ends_with('I');
  if (binary) unit.pop_back();
  constexpr std::string_view kUnits = "KMGT";
  const std::size_t power = unit.empty() ? 0 : kUnits.find(unit) + 1;  // npos + 1 is 0
  bool ok = error == std::errc() && n != 0 && unit.size() <= 1 && unit.empty() == (power == 0);
  for (std::size_t i = 0; ok && i < power; ++i) {
    ok = !__builtin_mul_overflow(n, std::uint64_t{binary ? 1024u : 1000u}, &n);
  }
  if (!ok)
    throw Error(ErrorCode::kInvalidArgument, gemma::quoted(text) + " is no size such as 4GB or 800MiB");
  return n;
}

/// Values of the shared flags. Fill it in by add_to() and CLI11, then load().
struct EngineFlags {
  /// Which flags a program takes; combine by |.
  enum Part : unsigned {
    kModel = 1,    // -m
    kIsa = 2,      // --isa
    kThreads = 4,  // -t
    kContext = 8,  // -c
    kKv = 16,      // --kv
    kWindow = 32,  // --window
    kMemory = 64,  // --max-memory
    kAll = 127
  };

  std::string model;        // path
  std::string isa;          // "": the best
  unsigned threads = 0;     // 0: one for each physical core
  std::size_t context = 0;  // 0: the model's own, at most kDefaultContext
  KvType kv = KvType::kF16;
  std::optional<std::size_t> window;  // in place of the file's; 0: none
  std::size_t max_memory = 0;         // bytes of the file and what it is run with; 0: no limit

  void add_to(CLI::App& app, unsigned parts = kAll) {
    if ((parts & kModel) != 0) {
      app.add_option("-m,--model", model, "The model, a GGUF file")->required()->type_name("FILE");
    }
    if ((parts & kThreads) != 0) {
      app.add_option("-t,--threads", threads, "Threads (default: one for each physical core)")
          ->check(CLI::Range(1, 4096).description(""))
          ->type_name("N");
    }
    if ((parts & kContext) != 0) {
      app.add_option("-c,--context", context,
                     "Context in tokens: prompt and answers together (default: the model's, at most " +
                         std::to_string(kDefaultContext) + ")")
          ->check(CLI::Range(1, 1 << 30).description(""))
          ->type_name("N");
    }
    if ((parts & kKv) != 0) {
      app.add_option_function<std::string>(
             "--kv", [this](const std::string& type) { kv = type == "f32" ? KvType::kF32 : KvType::kF16; },
             "How keys and values are stored: f16 or f32 (default: f16)")
          ->check(CLI::IsMember({"f16", "f32"}).description(""))
          ->type_name("TYPE");
    }
    if ((parts & kWindow) != 0) {
      app.add_option(
             "--window", window,
             "Sliding attention window in tokens, in place of the file's; 0: none. Mistral 7B v0.1 needs "
             "4096, which its files do not say")
          ->check(CLI::Range(0, 1 << 30).description(""))
          ->type_name("N");
    }
    if ((parts & kMemory) != 0) {
      app.add_option_function<std::string>(
             "--max-memory", [this](const std::string& size) { max_memory = parse_size(size); },
             "Most memory that the file, its cache and its buffers may take together, such as 4GB or 800MiB; "
             "what needs more is refused before it is taken (default: no limit)")
          ->type_name("SIZE");
    }
    if ((parts & kIsa) != 0) {
      app.add_option("--isa", isa,
                     "Instruction set: scalar, avx2, avxvnni, avx512vnni, neon or neoni8mm (default: "
                     "GEMMA_ISA in the environment, else the best of this CPU)")
          ->envname("GEMMA_ISA")
          ->type_name("NAME");
    }
  }

  /// Maps and checks the file. Throws Error as Model::load, and for an instruction set that is not there.
  Model load() const {
    ModelOptions options;
    options.kernels = &kernel_table(isa);
    options.window = window;
    return Model::load(model, options);
  }

  SessionOptions session_options() const {
    SessionOptions options;
    options.n_ctx = context;
    options.kv_type = kv;
    options.n_threads = threads;
    options.max_memory = max_memory;
    return options;
  }
};

}  // namespace gemma::app
