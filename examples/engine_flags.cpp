#include "examples/engine_flags.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include <CLI/CLI.hpp>

#include "examples/numbers.hpp"
#include "examples/program.hpp"

namespace gemma::app {

const kernels::KernelTable& kernel_table(std::string_view name) {
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

std::size_t parse_size(const std::string& text) {
  const std::size_t digits = std::min(text.find_first_not_of("0123456789"), text.size());
  const auto number = parse_number<std::uint64_t>(std::string_view(text).substr(0, digits));
  std::uint64_t n = number.value_or(0);
  std::string unit = text.substr(digits);
  for (char& c : unit) c = c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
  if (unit.ends_with('B')) unit.pop_back();
  const bool binary = unit.size() == 2 && unit.ends_with('I');
  if (binary) unit.pop_back();
  constexpr std::string_view kUnits = "KMGT";
  const std::size_t power = unit.empty() ? 0 : kUnits.find(unit) + 1;  // npos + 1 is 0
  bool ok = n != 0 && unit.size() <= 1 && unit.empty() == (power == 0);
  for (std::size_t i = 0; ok && i < power; ++i) {
    ok = !__builtin_mul_overflow(n, std::uint64_t{binary ? 1024u : 1000u}, &n);
  }
  if (!ok)
    throw Error(ErrorCode::kInvalidArgument, gemma::quoted(text) + " is not a size such as 4GB or 800MiB");
  return n;
}

void add_kv_option(CLI::App& app, std::function<void(KvType)> set, const std::string& by_default) {
  std::vector<std::string> names;
  for (const kernels::KvTypeInfo& type : kernels::kKvTypes) names.emplace_back(type.name);
  app.add_option_function<std::string>(
         "--kv",
         [set = std::move(set)](const std::string& name) {
           for (const kernels::KvTypeInfo& type : kernels::kKvTypes) {
             if (type.name == name) set(type.type);
           }
         },
         "How keys and values are stored: f16, f32, or q8, which takes half the memory of f16 (default: " +
             by_default + ")")
      ->check(CLI::IsMember(names).description(""))
      ->type_name("TYPE");
}

std::shared_ptr<const Adapter> open_adapter(const std::string& text) {
  const std::size_t colon = text.rfind(':');
  if (colon != std::string::npos) {
    const auto scale = parse_number<float>(std::string_view(text).substr(colon + 1));
    if (scale && std::isfinite(*scale))
      return std::make_shared<const Adapter>(Adapter::open(text.substr(0, colon), *scale));
  }
  return std::make_shared<const Adapter>(Adapter::open(text));
}

namespace {

void add_memory_option(CLI::App& app, std::size_t& max_memory) {
  const auto set = [&max_memory](const std::string& size) {
    try {
      max_memory = parse_size(size);
    } catch (const Error& e) {
      throw Error(e.code(), "--max-memory: " + std::string(e.message()));
    }
  };
  app.add_option_function<std::string>(
         "--max-memory", set,
         "Maximum memory that the file, its cache and its buffers may take together, such as 4GB or "
         "800MiB; what needs more is refused before it is allocated (default: no limit)")
      ->type_name("SIZE");
}

}  // namespace

std::vector<std::string> adapter_files(const std::string& text) {
  return {text, text.substr(0, text.rfind(':'))};
}

void EngineFlags::add_to(CLI::App& app, unsigned parts) {
  if ((parts & kModel) != 0) {
    app.add_option("-m,--model", model, "The model, a GGUF file")->required()->type_name("FILE");
  }
  if ((parts & kThreads) != 0) {
    app.add_option("-t,--threads", threads, "Threads (default: the physical cores, within the CPU quota)")
        ->check(WholeNumber{1, 4096})
        ->type_name("N");
  }
  if ((parts & kContext) != 0) {
    app.add_option("-c,--context", context,
                   "Context in tokens: prompt and answers together (default: the model's, at most " +
                       std::to_string(kDefaultContext) + ")")
        ->check(WholeNumber{1, 1 << 30})
        ->type_name("N");
  }
  if ((parts & kKv) != 0) {
    add_kv_option(
        app, [this](KvType type) { kv = type; }, "f16");
  }
  if ((parts & kWindow) != 0) {
    app.add_option(
           "--window", window,
           "Sliding attention window in tokens, in place of the file's; 0: none. Mistral 7B v0.1 needs "
           "4096, which its files do not say")
        ->check(WholeNumber{0, 1 << 30})
        ->type_name("N");
  }
  if ((parts & kMemory) != 0) {
    add_memory_option(app, max_memory);
  }
  if ((parts & kLora) != 0) {
    app.add_option(
           "--lora", adapters,
           "A LoRA adapter (GGUF), its change times SCALE (default: 1); may be repeated, all are added")
        ->expected(1)
        ->take_all()
        ->type_name("FILE[:SCALE]");
  }
  if ((parts & kDraft) != 0) {
    app.add_option(
           "--draft", draft,
           "Speculative decoding, which changes no answer: guesses of the next tokens, several of them "
           "verified in one pass, come from lookup (what followed the same tokens earlier in the text), "
           "the GGUF file of a smaller model of the same vocabulary, or off (default: " +
               draft + ")")
        ->type_name("lookup|FILE|off");
  }
  if ((parts & kIsa) != 0) {
    app.add_option("--isa", isa,
                   "Instruction set: scalar, avx2, avxvnni, avx512vnni, neon or neoni8mm (default: "
                   "GEMMA_ISA in the environment, else the best of this CPU)")
        ->envname("GEMMA_ISA")
        ->type_name("NAME");
  }
}

std::vector<std::string> EngineFlags::files() const {
  std::vector<std::string> out = {model, draft};
  for (const std::string& text : adapters) {
    for (std::string& file : adapter_files(text)) out.push_back(std::move(file));
  }
  return out;
}

Model EngineFlags::load() const {
  ModelOptions options;
  options.kernels = &kernel_table(isa);
  options.window = window;
  options.vocabulary = vocabulary;
  for (const std::string& text : adapters) options.adapters.push_back(open_adapter(text));
  return Model::load(model, options);
}

SessionOptions EngineFlags::session_options() const {
  SessionOptions options;
  options.n_ctx = context;
  options.kv_type = kv;
  options.n_threads = threads;
  options.max_memory = max_memory;
  if (draft == "lookup") {
    options.draft.source = DraftSource::kLookup;
  } else if (draft != "off") {
    options.draft.source = DraftSource::kModel;
    options.draft.model = std::make_shared<const Model>(Model::load(draft, {.kernels = &kernel_table(isa)}));
  }
  return options;
}

}  // namespace gemma::app
