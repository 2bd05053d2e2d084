// The flags that every program with a model shares: the file, the instruction set, threads, the context and
// its cache. Invariant: after load() the model runs on exactly the instruction set that was asked for;
// nothing is chosen silently.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "gemma/gemma.hpp"

namespace CLI {
class App;
}

namespace gemma::app {

/// The table that `name` ("" for the best) names. Throws Error{kInvalidArgument} listing what can be asked
/// for.
const kernels::KernelTable& kernel_table(std::string_view name);

/// Bytes of "800MB", "4GiB", "4g" or plain "1000000": units are powers of 1000, with an i of 1024. Throws
/// Error{kInvalidArgument} for anything else, 0 and what does not fit in 64 bits.
std::size_t parse_size(const std::string& text);

/// Adds --kv, which calls `set`. `by_default`: what its help says of the default.
void add_kv_option(CLI::App& app, std::function<void(KvType)> set, const std::string& by_default);

/// The name of a storage type of keys and values, as --kv spells it.
inline std::string kv_name(KvType type) {
  return std::string(kernels::kv_type_info(type).name);
}

/// The adapter that "FILE" or "FILE:SCALE" names; a colon that no number follows belongs to the name. Throws
/// Error as Adapter::open.
std::shared_ptr<const Adapter> open_adapter(const std::string& text);

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
    kLora = 128,   // --lora
    kAll = 255,    // the above
    kDraft = 256   // --draft
  };

  std::string model;        // path
  std::string isa;          // "": the best
  unsigned threads = 0;     // 0: one for each physical core
  std::size_t context = 0;  // 0: the model's own, at most kDefaultContext
  KvType kv = KvType::kF16;
  std::optional<std::size_t> window;  // in place of the file's; 0: none
  std::size_t max_memory = 0;         // bytes of the file and what it is run with; 0: no limit
  std::vector<std::string> adapters;  // FILE[:SCALE]
  std::string draft =
      "off";               // "lookup", "off" or the file of a model; set before add_to() for another default
  bool vocabulary = true;  // no flag: whether the program needs it

  void add_to(CLI::App& app, unsigned parts = kAll);

  /// Maps and checks the file. Throws Error as Model::load, and for an instruction set that is not there.
  Model load() const;

  /// Loads the file of the draft, where there is one; throws Error as load() does.
  SessionOptions session_options() const;
};

}  // namespace gemma::app
