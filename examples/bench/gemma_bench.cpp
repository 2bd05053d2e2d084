// gemma-bench: prefill and decode speed of a whole model, with llama-bench's flags and JSON fields, and the
// share of what this machine could reach at most (one_sequence.hpp); or of many sequences at once, as
// llama-batched-bench (batched.hpp); or of guesses along a text (along_text.hpp).
#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include <CLI/CLI.hpp>

#include "examples/bench/along_text.hpp"
#include "examples/bench/batched.hpp"
#include "examples/bench/one_sequence.hpp"
#include "examples/bench/report.hpp"
#include "examples/engine_flags.hpp"
#include "examples/program.hpp"
#include "examples/read_file.hpp"
#include "gemma/gemma.hpp"

namespace {

using gemma::Model;
using gemma::bench::Report;

struct Options {
  std::vector<std::size_t> n_prompt = {512};
  std::vector<std::size_t> n_gen = {128};
  std::vector<std::size_t> depth = {0};
  std::vector<std::size_t> npp, ntg, npl;  // all empty unless sequences are to run together
  bool shared_prompt = false;              // these have one prompt
  std::string text_file;                   // "": no text to decode along
  std::vector<unsigned> threads;
  std::size_t repetitions = 0;  // 0: 5 of each test, 1 of many sequences
  std::size_t chunk = 512;
  gemma::KvType kv = gemma::KvType::kF16;
  std::string output = "md";
  bool no_warmup = false;

  bool batched() const { return !npl.empty(); }
  std::size_t repetitions_or(std::size_t by_default) const {
    return repetitions == 0 ? by_default : repetitions;
  }
};

/// Lists of whole numbers, comma-separated.
template <class T>
CLI::Option* add_list(CLI::App& app, const char* flags, std::vector<T>& list, const char* description) {
  return app.add_option(flags, list, description)
      ->check(gemma::app::whole_number)
      ->delimiter(',')
      ->type_name("N");
}

void add_flags(CLI::App& app, Options& options) {
  CLI::Option* const single[] = {
      add_list(app, "-p,--n-prompt", options.n_prompt,
               "Prompt lengths, comma-separated; 0: no prompt test (default: 512)"),
      add_list(app, "-n,--n-gen", options.n_gen,
               "Tokens to generate, comma-separated; 0: no decode test (default: 128)"),
      add_list(app, "-d,--n-depth", options.depth,
               "Tokens already in the cache, comma-separated (default: 0)")};
  CLI::Option* const batched[] = {
      add_list(app, "--npp", options.npp,
               "Or -npp : many sequences at once, as llama-batched-bench: prompt lengths of each"),
      add_list(app, "--ntg", options.ntg, "Or -ntg : tokens of each to generate"),
      add_list(app, "--npl", options.npl, "Or -npl : numbers of sequences")};
  for (CLI::Option* const b : batched) {
    for (CLI::Option* const s : single) b->excludes(s);
    for (CLI::Option* const other : batched) {
      if (other != b) b->needs(other);
    }
  }
  app.add_flag("--pps", options.shared_prompt, "Or -pps : with -npl, one prompt that all sequences share")
      ->needs(batched[2]);
  CLI::Option* const text =
      app.add_option("--text", options.text_file,
                     "Decoding is forced along this file's text, its last -n tokens after the others; with "
                     "--draft in turn without and with guesses")
          ->type_name("FILE");
  for (CLI::Option* const other : {single[0], single[2], batched[0], batched[1], batched[2]}) {
    text->excludes(other);
  }
  app.get_option("--draft")->needs(text);
  add_list(app, "-t,--threads", options.threads, "Threads, comma-separated (default: physical cores)");
  app.add_option("-r,--repetitions", options.repetitions,
                 "Runs of each test (default: 5; with --npl 1, and the median of more)")
      ->check(CLI::Range(1, 1000).description(""))
      ->type_name("N");
  app.add_option("-b,--batch-size,--ubatch-size", options.chunk, "Tokens of one forward pass (default: 512)")
      ->check(CLI::Range(1, 65536).description(""))
      ->type_name("N");
  app.add_option("-o,--output", options.output, "md or json (default: md)")
      ->check(CLI::IsMember({"md", "json"}).description(""))
      ->type_name("FORM");
  app.add_flag("--no-warmup", options.no_warmup, "Time the first run too");
}

/// argv with -npp, -ntg, -npl and -pps, which CLI11 would read as -n or -p with a value, in their long form.
std::vector<std::string> with_long_flags(int argc, char** argv) {
  std::vector<std::string> out(argv, argv + argc);
  for (std::string& arg : out) {
    for (const std::string_view flag : {"-npp", "-ntg", "-npl", "-pps"}) {
      if (arg == flag || (arg.starts_with(flag) && arg[flag.size()] == '=')) arg.insert(0, "-");
    }
  }
  return out;
}

/// One sequence.
void run_one_sequence(const Model& model, const Options& options, std::size_t max_memory, Report& report) {
  gemma::bench::run_one_sequence(model,
                                 {.n_prompt = options.n_prompt,
                                  .n_gen = options.n_gen,
                                  .depth = options.depth,
                                  .threads = options.threads,
                                  .chunk = options.chunk,
                                  .kv = options.kv,
                                  .max_memory = max_memory,
                                  .repetitions = options.repetitions_or(5),
                                  .warmup = !options.no_warmup},
                                 report);
}

/// Many sequences at once.
void run_batched(const Model& model, const Options& options, std::size_t max_memory, Report& report) {
  gemma::bench::run_batched(model,
                            {.pp = options.npp,
                             .tg = options.ntg,
                             .pl = options.npl,
                             .threads = options.threads,
                             .chunk = options.chunk,
                             .kv = options.kv,
                             .shared = options.shared_prompt,
                             .max_memory = max_memory,
                             .repetitions = options.repetitions_or(1),
                             .warmup = !options.no_warmup},
                            report);
}

/// Decoding along a text.
void run_along_text(const Model& model, const Options& options, const gemma::app::EngineFlags& engine,
                    Report& report) {
  gemma::SessionOptions session = engine.session_options();
  session.chunk = options.chunk;
  gemma::bench::run_along_text(model,
                               {.text = gemma::app::read_file(options.text_file),
                                .n_gen = options.n_gen,
                                .threads = options.threads,
                                .session = session,
                                .draft = engine.draft,
                                .repetitions = options.repetitions_or(5)},
                               report);
}

int run(int argc, char** argv) {
  Options options;
  gemma::app::EngineFlags engine;
  const gemma::app::CommandLine owner =
      gemma::app::command_line("Prefill and decode speed of a GGUF model.", "gemma-bench");
  CLI::App& app = *owner;
  using Parts = gemma::app::EngineFlags;
  engine.add_to(app,
                Parts::kModel | Parts::kIsa | Parts::kMemory | Parts::kKv | Parts::kLora | Parts::kDraft);
  add_flags(app, options);
  std::vector<std::string> arguments = with_long_flags(argc, argv);
  std::vector<char*> pointers;
  for (std::string& arg : arguments) pointers.push_back(arg.data());
  gemma::app::parse(app, argc, pointers.data());
  if (options.threads.empty()) options.threads = {gemma::physical_core_count()};

  options.kv = engine.kv;
  const Model model = engine.load();
  gemma::app::print_notes("gemma-bench", model.notes());
  Report report(model, options.output == "json");
  if (!options.text_file.empty()) {
    run_along_text(model, options, engine, report);
  } else if (options.batched()) {
    run_batched(model, options, engine.max_memory, report);
  } else {
    run_one_sequence(model, options, engine.max_memory, report);
  }
  report.finish();
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  return gemma::app::run_program(argc, argv, "gemma-bench", run);
}
