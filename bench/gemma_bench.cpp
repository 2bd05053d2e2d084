// gemma-bench: prefill and decode speed of a whole model, with llama-bench's flags and JSON fields, and the
// share of what this machine could reach at most; or of many sequences at once, as llama-batched-bench
// (batched.hpp); or of guesses along a text (along_text.hpp).
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "bench/along_text.hpp"
#include "bench/batched.hpp"
#include "bench/kernels_used.hpp"
#include "bench/machine_limits.hpp"
#include "bench/statistics.hpp"
#include "examples/engine_flags.hpp"
#include "examples/program.hpp"
#include "examples/read_file.hpp"
#include "gemma/gemma.hpp"

namespace {

using gemma::Chunk;
using gemma::KvCache;
using gemma::Logits;
using gemma::Model;
using gemma::Workspace;
using gemma::bench::MachineLimits;
using gemma::bench::mean;
using gemma::bench::median;
using gemma::bench::stddev;
using Clock = std::chrono::steady_clock;
using Json = nlohmann::ordered_json;

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
  bool md() const { return output == "md"; }
};

/// One line of the report: n_prompt tokens at once, or n_gen one by one, after `depth` others.
struct Test {
  std::size_t n_prompt, n_gen, depth;
  unsigned threads;

  /// In the cache at the end.
  std::size_t tokens() const { return n_prompt + n_gen + depth; }
};

std::vector<Test> tests_of(const Options& options, unsigned threads) {
  std::vector<Test> tests;
  for (const std::size_t d : options.depth) {
    for (const std::size_t p : options.n_prompt) {
      if (p != 0) tests.push_back({p, 0, d, threads});
    }
    for (const std::size_t n : options.n_gen) {
      if (n != 0) tests.push_back({0, n, d, threads});
    }
  }
  return tests;
}

struct Result {
  Test test;
  std::vector<double> seconds;
  std::vector<MachineLimits> limits;  // measured before and after each of these

  double tokens() const { return static_cast<double>(test.n_prompt + test.n_gen); }
  std::vector<double> speeds() const {
    std::vector<double> out;
    for (const double s : seconds) out.push_back(tokens() / s);
    return out;
  }
  /// One of the limits, during each run.
  std::vector<double> limit(double MachineLimits::*of) const {
    std::vector<double> out;
    for (std::size_t i = 0; i < seconds.size(); ++i) out.push_back((limits[i].*of + limits[i + 1].*of) / 2);
    return out;
  }
};

/// Runs tests on one model. Token ids are drawn at random: weights are read whatever they say.
class Bench {
 public:
  Bench(const Model& model, const Options& options) : model_(model), options_(options) {}

  Result run(const Test& test, const gemma::bench::Machine& machine) {
    const std::size_t total = test.tokens();
    KvCache cache = model_.make_cache({.n_ctx = total, .type = options_.kv, .max_chunk = options_.chunk});
    Workspace ws =
        model_.make_workspace({.max_tokens = std::min(options_.chunk, total), .n_threads = test.threads});
    Result result{test, {}, {}};
    if (!options_.no_warmup) {
      if (test.n_prompt != 0) feed(cache, ws, test.n_prompt);
      if (test.n_gen != 0) step(cache, ws);
    }
    const std::size_t repetitions = options_.repetitions == 0 ? 5 : options_.repetitions;
    for (std::size_t r = 0; r < repetitions; ++r) {
      cache.truncate(0);
      feed(cache, ws, test.depth);
      if (r == 0) result.limits.push_back(machine.measure());
      const auto begin = Clock::now();
      feed(cache, ws, test.n_prompt);
      for (std::size_t i = 0; i < test.n_gen; ++i) step(cache, ws);
      result.seconds.push_back(std::chrono::duration<double>(Clock::now() - begin).count());
      result.limits.push_back(machine.measure());
    }
    return result;
  }

 private:
  std::int32_t draw() { return static_cast<std::int32_t>(random_.next() % model_.config().vocab_size); }

  /// A prompt in chunks; the logits of its last token only.
  void feed(KvCache& cache, Workspace& ws, std::size_t n) {
    std::vector<std::int32_t> ids(n);
    for (auto& id : ids) id = draw();
    for (std::size_t done = 0; done < n;) {
      const std::size_t size = std::min(ws.options().max_tokens, n - done);
      const Chunk chunk{std::span(ids).subspan(done, size), &cache,
                        done + size == n ? Logits::kLast : Logits::kNone};
      model_.forward({&chunk, 1}, ws);
      done += size;
    }
  }
  void step(KvCache& cache, Workspace& ws) {
    const std::int32_t id = draw();
    const Chunk chunk{{&id, 1}, &cache, Logits::kLast};
    model_.forward({&chunk, 1}, ws);
  }

  const Model& model_;
  const Options& options_;
  gemma::SplitMix64 random_{1};
};

/// Weights of all layers (not the embedding and the head): what each token of a prompt is multiplied by.
std::size_t layer_weights(const Model& model) {
  std::size_t sum = 0;
  for (const auto& l : model.weights().layers) {
    l.for_each_matrix([&](const gemma::Matrix& m) { sum += m.rows * m.cols; });
  }
  return sum;
}

/// Share of the machine's limit: of the integer peak for a prompt, of the read bandwidth for decoding. The
/// median of the runs, each by the limits measured before and after it.
double roofline_share(const Model& model, const Result& r) {
  if (r.test.n_gen != 0 && r.test.n_prompt != 0) return 0;
  const bool prompt = r.test.n_gen == 0;
  const double each = prompt ? 2 * static_cast<double>(layer_weights(model))
                             : static_cast<double>(model.weights().step_bytes(model.config()));
  std::vector<double> shares = r.speeds();
  const auto limit =
      r.limit(prompt ? &MachineLimits::integer_ops_per_second : &MachineLimits::read_bytes_per_second);
  for (std::size_t i = 0; i < shares.size(); ++i) shares[i] *= each / limit[i];
  return median(shares);
}

std::size_t parameter_count(const Model& model) {
  std::size_t sum = 0;
  for (const auto& t : model.file().tensors()) sum += t.rows * t.cols;
  return sum;
}

std::string test_name(const Test& t) {
  std::string name = t.n_gen == 0 ? fmt::format("pp{}", t.n_prompt) : fmt::format("tg{}", t.n_gen);
  if (t.n_prompt != 0 && t.n_gen != 0) name = fmt::format("pp{}+tg{}", t.n_prompt, t.n_gen);
  return t.depth == 0 ? name : name + fmt::format(" @ d{}", t.depth);
}

/// llama-bench's fields, and ours: kv_bytes, isa, roofline_share, the measured limits.
Json to_json(const Model& model, const Result& r, const Options& options) {
  std::vector<double> ns;
  for (const double s : r.seconds) ns.push_back(s * 1e9);
  const std::string kv = gemma::app::kv_name(options.kv);
  const gemma::KvCacheOptions cache{r.test.tokens(), options.kv, options.chunk};
  return {{"build_commit", GEMMA_VERSION_STRING},
          {"model_filename", model.file().path()},
          {"model_type", model.config().name},
          {"model_size", model.file().size_bytes()},
          {"model_n_params", parameter_count(model)},
          {"n_batch", options.chunk},
          {"n_ubatch", options.chunk},
          {"n_threads", r.test.threads},
          {"type_k", kv},
          {"type_v", kv},
          {"kv_bytes", KvCache::bytes_for(model.config(), cache)},
          {"n_prompt", r.test.n_prompt},
          {"n_gen", r.test.n_gen},
          {"n_depth", r.test.depth},
          {"avg_ns", static_cast<std::uint64_t>(mean(ns))},
          {"stddev_ns", static_cast<std::uint64_t>(stddev(ns))},
          {"avg_ts", mean(r.speeds())},
          {"stddev_ts", stddev(r.speeds())},
          {"samples_ts", r.speeds()},
          {"isa", std::string(model.kernels().name)},
          {"roofline_share", roofline_share(model, r)},
          {"read_bytes_per_second", median(r.limit(&MachineLimits::read_bytes_per_second))},
          {"integer_ops_per_second", median(r.limit(&MachineLimits::integer_ops_per_second))}};
}

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

/// Many sequences at once.
void run_batched_tests(const Model& model, const Options& options, std::size_t max_memory) {
  gemma::bench::run_batched(model, {.pp = options.npp,
                                    .tg = options.ntg,
                                    .pl = options.npl,
                                    .threads = options.threads,
                                    .chunk = options.chunk,
                                    .kv = options.kv,
                                    .shared = options.shared_prompt,
                                    .max_memory = max_memory,
                                    .repetitions = std::max<std::size_t>(options.repetitions, 1),
                                    .warmup = !options.no_warmup,
                                    .json = !options.md()});
  if (options.md()) gemma::bench::print_kernels(model);
}

/// Decoding along a text.
void run_text_tests(const Model& model, const Options& options, const gemma::app::EngineFlags& engine) {
  gemma::SessionOptions session = engine.session_options();
  session.chunk = options.chunk;
  gemma::bench::run_along_text(model, {.text = gemma::app::read_file(options.text_file),
                                       .n_gen = options.n_gen,
                                       .threads = options.threads,
                                       .session = session,
                                       .draft = engine.draft,
                                       .repetitions = options.repetitions == 0 ? 5 : options.repetitions,
                                       .json = !options.md()});
  if (options.md()) gemma::bench::print_kernels(model);
}

void print(const Result& r, const Model& model) {
  fmt::print("| {} | {} | {:.2f} ± {:.2f} | {:.0f}% of {} |\n", test_name(r.test), r.test.threads,
             mean(r.speeds()), stddev(r.speeds()), 100 * roofline_share(model, r),
             r.test.n_gen == 0 ? fmt::format("{:.2f} Tops/s (integer dot)",
                                             median(r.limit(&MachineLimits::integer_ops_per_second)) / 1e12)
                               : fmt::format("{:.1f} GB/s (reading)",
                                             median(r.limit(&MachineLimits::read_bytes_per_second)) / 1e9));
  std::fflush(stdout);
}

/// Prompts and decoding of one sequence. What does not fit is refused before anything is measured.
void run_tests(const Model& model, const Options& options, std::size_t max_memory) {
  for (const unsigned threads : options.threads) {
    for (const Test& test : tests_of(options, threads)) {
      plan_session(model, {.n_ctx = test.tokens(),
                           .kv_type = options.kv,
                           .chunk = options.chunk,
                           .n_threads = threads,
                           .max_memory = max_memory});
    }
  }
  const std::size_t least = model.file().size_bytes() + gemma::bench::kMeasuredBytes;
  if (max_memory != 0 && max_memory < least) {
    throw gemma::Error(
        gemma::ErrorCode::kOutOfMemory,
        fmt::format("measuring the machine's limits takes {} bytes beside the model's file, {} in all, "
                    "more than the limit of {}",
                    gemma::bench::kMeasuredBytes, least, max_memory));
  }
  Bench bench(model, options);
  Json rows = Json::array();
  bool first = true;
  for (const unsigned threads : options.threads) {
    const gemma::bench::Machine machine(model.kernels(), threads);
    for (const Test& test : tests_of(options, threads)) {
      const Result r = bench.run(test, machine);
      if (!options.md()) {
        rows.push_back(to_json(model, r, options));
        continue;
      }
      if (first) {
        fmt::print(
            "{} on {}\n\n| test | threads | tokens/s | of the machine's limit |\n| --- | ---: | ---: | --- "
            "|\n",
            model.config().name, model.kernels().name);
        first = false;
      }
      print(r, model);
    }
  }
  if (options.md()) return gemma::bench::print_kernels(model);
  fmt::print("{}\n", rows.dump(2));
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
  if (!options.text_file.empty()) {
    run_text_tests(model, options, engine);
  } else if (options.batched()) {
    run_batched_tests(model, options, engine.max_memory);
  } else {
    run_tests(model, options, engine.max_memory);
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  return gemma::app::run_program(argc, argv, "gemma-bench", run);
}
