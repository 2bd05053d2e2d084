// gemma-squad run and demo.
#include <atomic>
#include <cstdlib>

#include <fmt/format.h>

#include "examples/chat_template_flag.hpp"
#include "examples/engine_flags.hpp"
#include "examples/interrupt.hpp"
#include "examples/numbers.hpp"
#include "examples/print_note.hpp"
#include "examples/program.hpp"
#include "examples/read_file.hpp"
#include "examples/squad/cluster.hpp"
#include "examples/squad/commands.hpp"
#include "examples/squad/embedded.hpp"
#include "examples/squad/engine_source.hpp"
#include "examples/squad/fail.hpp"
#include "examples/squad/runner.hpp"
#include "tokenizer/dialects/registry.hpp"

namespace gemma::squad {
namespace {

namespace fs = std::filesystem;

struct RunFlags {
  std::vector<std::string> models, chat_templates, windows, adapters;
  std::string squad, out, preset = "chat", template_file, shard = "1/1";
  std::string draft;              // "": the preset's
  std::string demo_models;        // folder of the demo's; "": where the program finds them
  std::size_t n = 60, batch = 0;  // batch 0: chosen by memory
  std::uint64_t seed = 1;
  std::size_t max_tokens = 0;  // 0: the preset's
  double temperature = -1;     // negative: the preset's
  bool alone = false;
  JudgeFlags judge;  // and the engine
};

/// Parses NAME=FILE, or FILE with its stem as the name.
ModelSpec parse_model(const std::string& text) {
  const std::size_t equals = text.find('=');
  if (equals == std::string::npos) return {fs::path(text).stem().string(), text};
  return {text.substr(0, equals), text.substr(equals + 1)};
}

/// Applies each of `choices` to its models: "VALUE" to all of them, "MODEL=VALUE" to one. `set(model, value)`
/// throws for an invalid value. Throws Error{kInvalidArgument} naming `flag` for an unknown model.
template <typename Set>
void choose(const char* flag, const std::vector<std::string>& choices, std::vector<ModelSpec>& models,
            Set set) {
  for (const std::string& choice : choices) {
    const std::size_t equals = choice.rfind('=');
    const std::string value = equals == std::string::npos ? choice : choice.substr(equals + 1);
    bool used = false;
    for (ModelSpec& model : models) {
      if (equals != std::string::npos && model.name != choice.substr(0, equals)) continue;
      set(model, value);
      used = true;
    }
    if (used) continue;
    refuse("{}: no model is called {}", flag, gemma::quoted(choice.substr(0, equals)));
  }
}

void set_turns(ModelSpec& model, const std::string& name) {
  if (const std::string wrong = app::known_chat_template(name); !wrong.empty()) {
    refuse("--chat-template: {}", wrong);
  }
  model.chat_template = name;
}

void set_window(ModelSpec& model, const std::string& text) {
  if (const std::string wrong = app::WholeNumber{0, 1 << 30}(text); !wrong.empty()) {
    refuse("--window: {}", wrong);
  }
  model.window = app::parse_number<std::size_t>(text);
}

Preset preset_of(const RunFlags& flags, bool is_v2) {
  Preset preset = make_preset(flags.preset, is_v2);
  if (!flags.template_file.empty()) {
    preset.prompt_template = app::read_file(flags.template_file);
    check_template(preset.prompt_template);
  }
  if (flags.max_tokens > 0) preset.sampling.max_tokens = flags.max_tokens;
  if (flags.temperature >= 0) preset.sampling.temperature = flags.temperature;
  if (flags.judge.engine.context > 0) preset.context = static_cast<int>(flags.judge.engine.context);
  if (flags.alone) preset.share_passages = false;
  return preset;
}

/// The engine's flags for a preset; prints which flags it ignores.
app::EngineFlags engine_for(const RunFlags& flags, const Preset& preset) {
  app::EngineFlags engine = flags.judge.engine;
  if (!preset.share_passages && flags.batch > 1) {
    app::print_note(stderr,
                    "note: questions that share no passage are asked one at a time; --batch is ignored\n");
  }
  if (preset.name != "article") {
    engine.draft = flags.draft.empty() ? "lookup" : flags.draft;
  } else if (!flags.draft.empty() && flags.draft != "off") {
    app::print_note(stderr, "note: --preset article guesses no tokens; --draft is ignored\n");
  }
  return engine;
}

/// Loads the model once, and prints notes about it.
ModelIdentity identify(const ModelSpec& model, const SourceFactory& factory, bool chat, bool quiet) {
  const ModelFacts facts = factory(model)->facts();
  const std::string name = app::printable(model.name);
  app::print_notes(name, facts.file_notes);
  std::string turns = chat ? facts.turns : "";
  if (chat && !facts.note.empty()) {
    app::print_notes(name, {&facts.note, 1});
    turns += " (" + facts.note.substr(0, facts.note.find(';')) + ")";
  }
  // only its hash identifies a model reliably, which takes a while for a large file
  constexpr std::uintmax_t kLarge = std::uintmax_t{256} << 20;
  std::error_code error;
  if (const std::uintmax_t bytes = fs::file_size(model.file, error); !quiet && !error && bytes >= kLarge) {
    app::print_note(stderr,
                    fmt::format("{}: SHA-256 of {:.1f} GB\n", name, static_cast<double>(bytes) / 1e9));
  }
  ModelIdentity identity{model.name,
                         app::printable(model.file.filename().string()),
                         sha256_of(model.file),
                         app::printable(facts.description),
                         app::printable(turns),
                         model.window};
  for (const std::string& text : model.adapters) {
    const auto adapter = app::open_adapter(text);
    identity.adapters.push_back({app::printable(fs::path(adapter->path()).filename().string()),
                                 sha256_of(adapter->path()), static_cast<double>(adapter->scale())});
  }
  return identity;
}

/// `text` is the data set, read once, since `file`, which names it, may be a pipe.
int run_evaluation(RunFlags flags, const std::vector<ModelSpec>& models, std::string_view text,
                   const std::string& file) {
  const Dataset dataset = parse_dataset(text, file);
  check_names(models);
  flags.judge.check();
  const Dataset selection = select_questions(dataset, flags.n, flags.seed);
  RunSettings settings;
  settings.dataset = app::printable(fs::path(file).filename().string());
  settings.dataset_sha256 = sha256_of_text(text);
  settings.n_questions = selection.questions.size();
  settings.seed = flags.seed;
  settings.preset = preset_of(flags, dataset.is_v2);
  settings.kv = app::kv_name(flags.judge.engine.kv);
  settings.shard = choose_shard(flags.shard, [](const char* name) { return std::getenv(name); });
  flags.out = with_shard(flags.out, settings.shard);
  const SourceFactory factory = engine_factory(engine_for(flags, settings.preset));
  settings.machine = describe_machine(flags.judge.engine);
  for (const ModelSpec& model : models) {
    settings.models.push_back(identify(model, factory, settings.preset.chat, flags.judge.quiet));
  }

  std::atomic<bool> cancel{false};
  const app::InterruptGuard guard(cancel);
  {
    RunDirectory run = RunDirectory::start(flags.out, settings, selection);
    if (!run_questions(run, models, factory, cancel, flags.judge.quiet ? nullptr : stderr, flags.batch)) {
      return stopped(run);
    }
  }
  const RunDirectory run = RunDirectory::read(flags.out);
  if (const Shard shard = settings.shard; shard.count > 1) {
    app::write_stdout(fmt::format("shard {}/{} is complete: {} answers in {}\n", shard.index, shard.count,
                                  run.n_answers(), app::printable(flags.out)));
    return 0;
  }
  return judge_and_report(run, flags.judge, cancel);
}

int run_models(const RunFlags& flags) {
  std::vector<ModelSpec> models;
  for (const std::string& model : flags.models) models.push_back(parse_model(model));
  choose("--chat-template", flags.chat_templates, models, set_turns);
  choose("--window", flags.windows, models, set_window);
  choose("--lora", flags.adapters, models,
         [](ModelSpec& model, const std::string& text) { model.adapters.push_back(text); });
  return run_evaluation(flags, models, app::read_file(flags.squad), flags.squad);
}

// ---- the demo ----

constexpr const char* kDemoModels[] = {"gemma", "llama", "mistral"};

fs::path demo_file(const fs::path& folder, const std::string& name) {
  return folder / fmt::format("{}-demo.Q4_K_M.gguf", name);
}

/// The folder of the demo models: of the checkout in which the program was built, or of its installation.
fs::path demo_folder(const std::string& given) {
  std::vector<fs::path> places;
  if (!given.empty()) {
    places.push_back(given);
  } else {
    std::error_code error;
    places.push_back("examples/models");
    for (fs::path up = fs::read_symlink("/proc/self/exe", error).parent_path(); up.has_relative_path();
         up = up.parent_path()) {
      places.push_back(up / "examples/models");
      places.push_back(up / "share/gemma/models");
    }
  }
  for (const fs::path& place : places) {
    if (fs::exists(demo_file(place, kDemoModels[0]))) return place;
  }
  if (!given.empty()) fail(ErrorCode::kIo, "{}: no demo models there", given);
  fail(ErrorCode::kIo, "the demo models were not found: give --models FOLDER");
}

int run_demo(RunFlags flags) {
  const fs::path folder = demo_folder(flags.demo_models);
  std::vector<ModelSpec> models;
  for (const char* name : kDemoModels) models.push_back({name, demo_file(folder, name)});
  flags.n = 0;
  flags.max_tokens = 48;
  return run_evaluation(flags, models, embedded::kDemoSet, "demo_set.json");
}

/// Adds the flags that run and demo share.
void add_common(CLI::App& app, RunFlags& flags) {
  option(app, "--batch", "N", flags.batch,
         "Questions that are answered in one forward pass. Answers do not change, but each has a speed "
         "of its own only with 1 (default: by memory, at most 32; demo, --preset article and --alone: "
         "1)")
      ->check(app::WholeNumber{1, 1024});
  option(app, "--draft", "lookup|FILE|off", flags.draft,
         "Speculative decoding: tokens are guessed and several of them verified in one pass; answers do not "
         "change. lookup: guesses from the text itself (default); FILE: by a small model of the same "
         "vocabulary; off (always with --preset article)");
  flags.judge.add_to(app);
}

void add_models(CLI::App& run, RunFlags& flags) {
  option(run, "--model", "NAME=FILE", flags.models, "A model, NAME=FILE; as often as there are models")
      ->required()
      ->allow_extra_args(false);
  option(run, "--chat-template", "NAME", flags.chat_templates,
         "How the turns of --preset chat are written, in place of the file's template: NAME for every "
         "model, or MODEL=NAME; as often as needed. NAME is one of " +
             dialects::names())
      ->allow_extra_args(false);
  option(run, "--window", "N", flags.windows,
         "Sliding attention window in tokens, in place of the file's (0: none): N for every model, or "
         "MODEL=N; as often as needed. Mistral 7B v0.1 needs 4096, which its files do not say")
      ->allow_extra_args(false);
  option(run, "--lora", "FILE[:SCALE]", flags.adapters,
         "A LoRA adapter (GGUF), its change times SCALE (default: 1): for every model, or "
         "MODEL=FILE[:SCALE]; as often as needed")
      ->allow_extra_args(false);
}

}  // namespace

void add_run(CLI::App& app, Command& chosen) {
  const auto [run, flags] =
      add_command<RunFlags>(app, chosen, "run", "Ask models the questions of a SQuAD file", run_models);
  add_models(run, flags);
  option(run, "--squad", "FILE", flags.squad, "Questions, SQuAD v1.1 or v2.0, or its rows as JSON lines")
      ->required();
  option(run, "--out", "DIR", flags.out, "Directory of the run; a run that is there already is continued")
      ->required();
  option(run, "-n,--questions", "N", flags.n, "How many questions; 0: all (default: 60)")
      ->check(app::WholeNumber{0, 1 << 30});
  option(run, "--seed", "N", flags.seed, "Which questions, and how answers are sampled (default: 1)")
      ->check(app::whole_number);
  option(run, "--preset", "NAME", flags.preset,
         "chat: each model's own template, greedy, one prefill per passage (default); article: its "
         "plain prompt, temperature 0.7, window 1024, 2000 tokens, each question alone")
      ->check(CLI::IsMember({"chat", "article"}).description(""));
  option(run, "--template", "FILE", flags.template_file,
         "A prompt of your own, with {context} and {question}");
  option(run, "--max-tokens", "N", flags.max_tokens,
         "Maximum number of tokens of an answer (default: the preset's)")
      ->check(app::WholeNumber{1, 1 << 20});
  option(run, "--temp", "N", flags.temperature, "Temperature (default: the preset's)")
      ->check(app::RealNumber{0, 100});
  option(run, "-c,--context", "N", flags.judge.engine.context,
         "Context in tokens, prompt and answer together (default: the preset's)")
      ->check(app::WholeNumber{1, 1 << 24});
  run.add_flag("--alone", flags.alone, "Compute each prompt whole, sharing no passage");
  option(run, "--shard", "i/N", flags.shard,
         "Only part i of N, by passage; see gemma-squad merge. auto: the part that Slurm, MPI or, with "
         "auto/N, Kubernetes gave this process; {shard} in --out is then its number");
  add_common(run, flags);
}

void add_demo(CLI::App& app, Command& chosen) {
  const auto [demo, flags] = add_command<RunFlags>(
      app, chosen, "demo", "Ask the three demo models the questions of the bundled set", run_demo);
  flags.out = "squad-demo";
  flags.batch = 1;  // so that words per second are known
  option(demo, "--out", "DIR", flags.out, "Directory of the run")->capture_default_str();
  option(demo, "--models", "FOLDER", flags.demo_models, "Folder of the demo models");
  add_common(demo, flags);
}

}  // namespace gemma::squad
