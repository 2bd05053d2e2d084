// gemma-imatrix: measures on a text how important the inputs of a model's matrices are, for gemma-quantize
// --imatrix.
// Invariant: the file appears under its name only when it is complete.
#include <atomic>
#include <cstdio>
#include <filesystem>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "examples/engine_flags.hpp"
#include "examples/interrupt.hpp"
#include "examples/program.hpp"
#include "examples/progress_bar.hpp"
#include "examples/read_file.hpp"
#include "examples/same_file.hpp"
#include "gemma/gemma.hpp"

namespace {

using namespace gemma;

struct Flags {
  app::EngineFlags engine;
  std::string text, out;
  std::vector<std::string> before;
  ImportanceOptions options;
};

Flags parse_flags(int argc, char** argv) {
  Flags f;
  const app::CommandLine owner = app::command_line(
      "Measures on a text how much each input of a model's matrices matters (the mean of its square, for "
      "each expert of a mixture), and writes an importance matrix in llama.cpp's GGUF form.",
      "gemma-imatrix");
  CLI::App& cli = *owner;
  using Engine = app::EngineFlags;
  f.engine.add_to(cli, Engine::kModel | Engine::kIsa | Engine::kThreads | Engine::kWindow | Engine::kLora);
  cli.add_option("-f,--file", f.text, "The text; --file or --in is required")->type_name("FILE");
  cli.add_option("-o,--out", f.out, "Where to write; it appears only when it is complete")
      ->required()
      ->type_name("FILE");
  cli.add_option("--in", f.before, "Add what was measured before; may be repeated")
      ->expected(1)
      ->take_all()
      ->type_name("FILE");
  cli.add_option("-c,--context", f.options.n_ctx, "Tokens of a window (default: 512)")
      ->check(app::WholeNumber{1, 1 << 20})
      ->type_name("N");
  cli.add_option("--windows", f.options.max_windows, "Compute at most N windows of the text (default: all)")
      ->check(app::WholeNumber{1, 1 << 30})
      ->type_name("N");
  app::parse(cli, argc, argv);
  if (f.text.empty() && f.before.empty())
    throw Error(ErrorCode::kInvalidArgument, "--file or --in is required (--help lists the flags)");
  f.options.n_threads = f.engine.threads;
  return f;
}

int run(int argc, char** argv) {
  Flags flags = parse_flags(argc, argv);
  std::atomic<bool> cancelled = false;
  flags.options.cancel = &cancelled;
  std::vector<std::string> inputs = flags.engine.files();
  inputs.push_back(flags.text);
  inputs.insert(inputs.end(), flags.before.begin(), flags.before.end());
  app::refuse_same_file(flags.out, inputs);
  if (std::error_code e;
      std::filesystem::exists(flags.out, e) && !std::filesystem::is_regular_file(flags.out, e))
    throw Error(ErrorCode::kIo, flags.out + ": cannot write: not a regular file");
  const std::string text = flags.text.empty() ? "" : app::read_file(flags.text);
  const Model model = flags.engine.load();
  app::print_notes("gemma-imatrix", model.notes());
  ImportanceMeter meter(model, flags.options);
  std::vector<std::string> datasets;
  for (const std::string& path : flags.before) {
    const Importances before = Importances::read(path);
    datasets.insert(datasets.end(), before.datasets().begin(), before.datasets().end());
    meter.add(before);
  }
  const app::InterruptGuard guard(cancelled);
  try {
    if (!flags.text.empty()) {
      const auto ids = model.tokenizer().encode(text);
      app::ProgressBar bar(ids.size() / flags.options.n_ctx);
      meter.add(ids, [&](std::size_t done, std::size_t total) {
        bar.show(done, fmt::format("window {} of {}", done, total));
      });
      datasets.push_back(flags.text);
    }
  } catch (const Error& e) {
    if (e.code() != EngineErrorCode::kCancelled) throw;
    std::fputs("gemma-imatrix: stopped; nothing was written\n", stderr);
    return app::InterruptGuard::exit_status();
  }
  meter.write(flags.out, datasets);
  app::write_stdout(fmt::format("{}: {} matrices, {} windows\n", app::printable(flags.out),
                                meter.n_matrices(), meter.n_windows()));
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  return gemma::app::run_program(argc, argv, "gemma-imatrix", run);
}
