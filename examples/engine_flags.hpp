// The flags that all programs with a model share: the file, the instruction set, threads, the context and its
// cache.
// Invariant: after load() the model runs on exactly the requested instruction set; nothing is chosen
// silently.
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

/// The kernel table called `name`; "": the best one. Throws Error{kInvalidArgument} listing the available
/// names.
const kernels::KernelTable& kernel_table(std::string_view name);

/// Parses "800MB", "4GiB", "4g" or plain "1000000" as bytes: units are powers of 1000, with an i of 1024.
/// Throws Error{kInvalidArgument} for anything else, for 0 and for what does not fit in 64 bits.
std::size_t parse_size(const std::string& text);

/// Adds --kv, which calls `set`. `by_default`: the default, as shown in its help.
void add_kv_option(CLI::App& app, std::function<void(KvType)> set, const std::string& by_default);

/// The name of a storage type of keys and values, as --kv spells it.
inline std::string kv_name(KvType type) {
  return std::string(kernels::kv_type_info(type).name);
}

/// Opens the adapter of "FILE" or "FILE:SCALE"; a colon that no number follows is part of the name. Throws
/// Error as Adapter::open.
std::shared_ptr<const Adapter> open_adapter(const std::string& text);

/// The names of files that "FILE" or "FILE:SCALE" may mean.
std::vector<std::string> adapter_files(const std::string& text);

/// Values of the shared flags. Use add_to(), let CLI11 parse, then load().
struct EngineFlags {
  /// Which flags a program has; combine by |.
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
  unsigned threads = 0;     // 0: physical_core_count()
  std::size_t context = 0;  // 0: the model's own, at most kDefaultContext
  KvType kv = KvType::kF16;
  std::optional<std::size_t> window;  // replaces the file's window; 0: none
  std::size_t max_memory = 0;         // limit of the file and all memory together, in bytes; 0: none
  std::vector<std::string> adapters;  // FILE[:SCALE]
  std::string draft =
      "off";               // "lookup", "off" or the file of a model; set before add_to() for another default
  bool vocabulary = true;  // not a flag: whether the program needs the vocabulary

  void add_to(CLI::App& app, unsigned parts = kAll);

  /// The names of all files that are read: the model, adapters, the model that drafts.
  std::vector<std::string> files() const;

  /// Maps and checks the file. Throws Error as Model::load, and for an instruction set that is not available.
  Model load() const;

  /// The options of a session; loads the file of the draft model if there is one. Throws Error as load().
  SessionOptions session_options() const;
};

}  // namespace gemma::app
