// gemma-quantize IN OUT TYPE: quantises a GGUF file of floats, or of any types.
// Invariant: OUT appears under its name only when it is complete; if the program ends before, an existing OUT
// is unchanged.
#include <atomic>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "examples/engine_flags.hpp"
#include "examples/interrupt.hpp"
#include "examples/program.hpp"
#include "examples/progress_bar.hpp"
#include "examples/same_file.hpp"
#include "gemma/gemma.hpp"

namespace {

using namespace gemma;

constexpr std::string_view kProgram = "gemma-quantize";

struct Flags {
  std::string in, out, type, imatrix;
  std::vector<std::string> tensors;   // NAME=TYPE
  std::vector<std::string> adapters;  // FILE[:SCALE]
  unsigned threads = 0;
  bool dry_run = false;
};

Flags parse_flags(int argc, char** argv) {
  Flags f;
  const app::CommandLine owner =
      app::command_line("Quantises a GGUF file. TYPE is a recipe or a tensor type: " + recipe_names() + ".",
                        std::string(kProgram));
  CLI::App& cli = *owner;
  cli.add_option("IN", f.in, "The file to quantise")->required()->type_name("");
  cli.add_option("OUT", f.out, "The file to write; it appears only when it is complete")
      ->required()
      ->type_name("");
  cli.add_option("TYPE", f.type, "The type of the matrices: a recipe or a tensor type")
      ->required()
      ->type_name("");
  cli.add_option("--tensor", f.tensors,
                 "Another type for the tensor of that name, where * matches any characters; may be "
                 "repeated, the first match is used")
      ->expected(1)
      ->take_all()
      ->type_name("NAME=TYPE");
  cli.add_option("--imatrix", f.imatrix,
                 "An importance matrix (GGUF), which weights the error of each input by its importance")
      ->type_name("FILE");
  cli.add_option("--lora", f.adapters,
                 "Merge a LoRA adapter (GGUF), its change times SCALE (default: 1); may be repeated")
      ->expected(1)
      ->take_all()
      ->type_name("FILE[:SCALE]");
  cli.add_option("-t,--threads", f.threads, "Threads (default: one for each physical core)")
      ->check(app::WholeNumber{1, 4096})
      ->type_name("N");
  cli.add_flag("--dry-run", f.dry_run, "Show what would be written, and write nothing");
  app::parse(cli, argc, argv);
  return f;
}

DType type_named(std::string_view name, std::string_view where) {
  for (const DType type : kAllDTypes) {
    const std::string_view known = info(type).name;
    const bool same =
        known.size() == name.size() &&
        std::equal(known.begin(), known.end(), name.begin(), [](char a, char b) {
          return CLI::detail::to_lower(std::string(1, a)) == CLI::detail::to_lower(std::string(1, b));
        });
    if (same && kernels::can_encode(type)) return type;
  }
  throw Error(ErrorCode::kInvalidArgument, "--tensor " + gemma::quoted(where) + ": " + gemma::quoted(name) +
                                               " is not a type that can be written");
}

QuantizeOptions options_of(const Flags& f, const std::atomic<bool>& cancelled) {
  QuantizeOptions o;
  o.recipe = find_recipe(f.type);
  if (o.recipe == nullptr) {
    throw Error(ErrorCode::kInvalidArgument, "TYPE " + gemma::quoted(f.type) + " is not one of " +
                                                 recipe_names() + " (--help lists the flags)");
  }
  for (const std::string& text : f.tensors) {
    const std::size_t equals = text.rfind('=');
    if (equals == std::string::npos || equals == 0)
      throw Error(ErrorCode::kInvalidArgument, "--tensor " + gemma::quoted(text) + " is not NAME=TYPE");
    o.tensors.emplace_back(text.substr(0, equals),
                           type_named(std::string_view(text).substr(equals + 1), text));
  }
  o.n_threads = f.threads;
  o.cancel = &cancelled;
  return o;
}

/// The names of all files that are read.
std::vector<std::string> inputs_of(const Flags& f) {
  std::vector<std::string> out = {f.in, f.imatrix};
  for (const std::string& text : f.adapters) {
    for (std::string& file : app::adapter_files(text)) out.push_back(std::move(file));
  }
  return out;
}

/// The path to write: for a symbolic link its target. Throws Error if it is not a file.
std::string target_of(const std::string& out) {
  std::error_code error;
  const auto real = std::filesystem::canonical(out, error);
  std::string path = error ? out : real.string();
  if (const auto status = std::filesystem::status(path, error);
      std::filesystem::exists(status) && !std::filesystem::is_regular_file(status))
    throw Error(ErrorCode::kIo, out + ": cannot write: not a regular file");
  return path;
}

std::string mega(std::size_t bytes) {
  return fmt::format("{:.2f} MB", static_cast<double>(bytes) / 1e6);
}

std::string shape_of(const TensorView& t) {
  std::string text;
  for (std::uint32_t d = t.n_dims; d-- > 0;) text += (text.empty() ? "" : " x ") + std::to_string(t.dims[d]);
  return text;
}

void print_choice(const TensorChoice& c, const std::optional<TensorReport>& report) {
  const TensorView& t = *c.tensor;
  const std::string types =
      c.copied ? t.type_name() : fmt::format("{} -> {}", t.type_name(), info(c.type).name);
  std::string line = fmt::format("{:<36} {:<14} {:<18}", app::printable(t.name), types, shape_of(t));
  if (!c.copied) {
    line += fmt::format(" {:>12}", mega(c.size_bytes()));
    if (report) line += fmt::format("  error {:.3f}%", 100 * report->error);
    if (report && c.importances != nullptr)
      line += fmt::format(", weighted {:.3f}%", 100 * report->weighted_error);
    if (c.is_fallback) line += "  (its rows are not a multiple of 256)";
  }
  app::write_stdout(line.substr(0, line.find_last_not_of(' ') + 1) + "\n");
}

void print_total(const Quantizer& quantizer, const gguf::File& file, const std::string& out, double seconds) {
  std::size_t bytes = 0, elements = 0;
  for (const TensorChoice& c : quantizer.choices()) {
    bytes += c.size_bytes();
    elements += c.tensor->rows * c.tensor->cols;
  }
  app::write_stdout(fmt::format(
      "{}: tensors of {}, {:.2f} bits a weight; from {}, in {:.1f} s\n", app::printable(out), mega(bytes),
      8.0 * static_cast<double>(bytes) / static_cast<double>(std::max<std::size_t>(elements, 1)),
      mega(file.size_bytes()), seconds));
}

int run(int argc, char** argv) {
  const Flags flags = parse_flags(argc, argv);
  std::atomic<bool> cancelled = false;
  QuantizeOptions options = options_of(flags, cancelled);
  if (!flags.dry_run) app::refuse_same_file(flags.out, inputs_of(flags));
  const gguf::File file = gguf::File::open(flags.in);
  std::optional<Importances> importances;
  if (!flags.imatrix.empty()) options.importances = &importances.emplace(Importances::read(flags.imatrix));
  std::vector<std::shared_ptr<const Adapter>> adapters;
  for (const std::string& text : flags.adapters) adapters.push_back(app::open_adapter(text));
  for (const auto& adapter : adapters) options.adapters.push_back(adapter.get());
  const Quantizer quantizer(file, options);
  if (quantizer.requantizes())
    app::print_error(kProgram, "note: " + flags.in + " is quantised already; the errors of both add up");
  if (flags.dry_run) {
    for (const TensorChoice& c : quantizer.choices()) print_choice(c, std::nullopt);
    return 0;
  }
  const std::string out = target_of(flags.out);
  const app::InterruptGuard guard(cancelled);
  const auto begin = std::chrono::steady_clock::now();
  app::ProgressBar bar(quantizer.total_bytes());
  try {
    quantizer.write(
        out, [&](const TensorChoice& c, std::size_t done) { bar.show(done, c.tensor->name); },
        [&](const TensorReport& report) {
          bar.clear();
          print_choice(report.choice, report);
          app::flush_stdout();
        });
  } catch (const Error& e) {
    if (e.code() != EngineErrorCode::kCancelled) throw;
    bar.clear();
    std::fputs("gemma-quantize: stopped; nothing was written\n", stderr);
    return app::InterruptGuard::exit_status();
  }
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
  bar.clear();
  print_total(quantizer, file, flags.out, seconds.count());
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  return gemma::app::run_program(argc, argv, kProgram, run);
}
