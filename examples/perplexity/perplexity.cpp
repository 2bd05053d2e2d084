// gemma-perplexity: how well a model predicts a text, and how much it differs from another model.
// Invariant: the figures do not depend on -t or --batch; a file of logits is written completely or not at
// all.
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "examples/engine_flags.hpp"
#include "examples/interrupt.hpp"
#include "examples/perplexity/saved_logits.hpp"
#include "examples/perplexity/statistics.hpp"
#include "examples/program.hpp"
#include "examples/progress_bar.hpp"
#include "examples/read_file.hpp"
#include "examples/same_file.hpp"
#include "gemma/gemma.hpp"

namespace {

using namespace gemma;
using namespace gemma::perplexity;

struct Flags {
  app::EngineFlags engine;
  std::string text, save, base;
  WindowOptions windows;
  bool json = false;
};

Flags parse_flags(int argc, char** argv) {
  Flags f;
  const app::CommandLine owner = app::command_line(
      "How well a model predicts a text: exp of the mean -log p of its tokens. The text is cut into "
      "windows that are computed alone; of each the second half is scored. With --kl also how far the "
      "predictions are from those of another model.",
      "gemma-perplexity");
  CLI::App& cli = *owner;
  using Engine = app::EngineFlags;
  f.engine.add_to(cli, Engine::kModel | Engine::kIsa | Engine::kThreads | Engine::kKv | Engine::kWindow |
                           Engine::kMemory | Engine::kLora);
  const auto tokens = [&](const char* name, std::size_t& to, std::size_t least, const char* what) {
    return cli.add_option(name, to, what)
        ->check(app::WholeNumber{static_cast<std::int64_t>(least), 1 << 30})
        ->type_name("N");
  };
  auto* text = cli.add_option("-f,--file", f.text, "The text; --file or --kl is required")->type_name("FILE");
  auto* context = tokens("-c,--context", f.windows.n_ctx, 4, "Tokens of a window (default: 512)");
  auto* stride = tokens("--stride", f.windows.stride, 1,
                        "Begin a window every N tokens and score the last N of each (default: windows do "
                        "not overlap, and the second half of each is scored)");
  tokens("--windows", f.windows.max_windows, 1, "Compute at most N windows of the text (default: all)");
  tokens("-b,--batch", f.windows.batch, 1,
         "Tokens of one forward pass; any number gives the same figures "
         "(default: 512)");
  cli.add_option("--save-logits", f.save,
                 "Write the predictions to a file for --kl (also llama-perplexity's --kl-divergence-base): 2 "
                 "bytes for each token of the vocabulary and position")
      ->excludes(stride)
      ->type_name("FILE");
  cli.add_option("--kl", f.base, "Compare with predictions that were saved, of the text that the file holds")
      ->excludes(text)
      ->excludes(context)
      ->excludes(stride)
      ->type_name("FILE");
  cli.add_flag("--json", f.json, "One JSON object instead of text");
  app::parse(cli, argc, argv);
  if (f.text.empty() && f.base.empty())
    throw Error(ErrorCode::kInvalidArgument, "--file or --kl is required (--help lists the flags)");
  f.windows.kv_type = f.engine.kv;
  f.windows.n_threads = f.engine.threads;
  f.windows.max_memory = f.engine.max_memory;
  return f;
}

/// Scores tokens as they are computed, and adds up the results.
class Scores {
 public:
  Scores(const Flags& flags, std::size_t vocab_size, const SavedLogits* base)
      : base_(base),
        codes_wanted_(base != nullptr || !flags.save.empty()),
        vocab_size_(vocab_size),
        n_threads_(flags.engine.threads != 0 ? flags.engine.threads : physical_core_count()) {}

  void take(std::span<const ScoredToken> tokens, LogitsWriter* writer) {
    results_.assign(tokens.size(), TokenResult{});
    rows_.resize(tokens.size());
    if (codes_wanted_) codes_.resize(tokens.size() * vocab_size_);
    for (std::size_t i = 0; base_ != nullptr && i < tokens.size(); ++i) base_->check(n_rows_ + i);
    parallel_for(n_threads_, tokens.size(), [&](std::size_t i) { score(tokens[i], i); });
    for (std::size_t i = 0; i < tokens.size(); ++i) {
      if (!results_[i].finite)
        throw Error(EngineErrorCode::kNotFinite,
                    fmt::format("window {}: the model's logits at position {} are not "
                                "finite",
                                tokens[i].window, tokens[i].position));
      add(results_[i]);
      if (writer != nullptr) writer->write(rows_[i]);
    }
    n_rows_ += tokens.size();
    if (base_ != nullptr) base_->forget_before(n_rows_);
  }

  nlohmann::ordered_json json(std::size_t n_windows, double seconds) {
    nlohmann::ordered_json out = {{"perplexity", std::exp(loss_.mean())},
                                  {"standard_error", std::exp(loss_.mean()) * loss_.error()},
                                  {"mean_loss", loss_.mean()},
                                  {"tokens", loss_.count()},
                                  {"windows", n_windows},
                                  {"seconds", seconds}};
    if (base_ == nullptr) return out;
    const double most = quantile(divergences_, 1);
    out["base_perplexity"] = std::exp(base_loss_.mean());
    out["ratio"] = std::exp(loss_change_.mean());
    out["ratio_standard_error"] = std::exp(loss_change_.mean()) * loss_change_.error();
    out["kl"] = divergence_.mean();
    out["kl_standard_error"] = divergence_.error();
    out["kl_median"] = quantile(divergences_, 0.5);
    out["kl_99"] = quantile(divergences_, 0.99);
    out["kl_most"] = most;
    out["same_top"] = same_top_.mean();
    out["same_top_standard_error"] = same_top_.error();
    out["rms_p_change"] = std::sqrt(p_change_squared_.mean());
    return out;
  }

 private:
  void score(const ScoredToken& token, std::size_t i) noexcept {
    TokenResult& result = results_[i];
    const auto id = static_cast<std::size_t>(token.id);
    if (codes_wanted_) {
      result.finite =
          code_row(token.logits, std::span(codes_).subspan(i * vocab_size_, vocab_size_), rows_[i]);
      if (result.finite && base_ != nullptr) compare(rows_[i], base_->row(n_rows_ + i), id, result);
    }
    // as llama-perplexity: exp of floats, added in double; gemma::log_sum_exp takes exp of doubles
    float most = token.logits[0];
    for (const float x : token.logits) most = std::max(most, x);
    double sum = 0;
    for (const float x : token.logits) sum += static_cast<double>(std::exp(x - most));
    result.loss = std::log(sum) + static_cast<double>(most) - static_cast<double>(token.logits[id]);
    result.finite = result.finite && std::isfinite(result.loss);
  }

  void add(const TokenResult& r) {
    loss_.add(r.loss);
    if (base_ == nullptr) return;
    base_loss_.add(r.base_loss);
    loss_change_.add(r.loss - r.base_loss);
    divergence_.add(r.divergence);
    divergences_.push_back(r.divergence);
    same_top_.add(r.same_top ? 1 : 0);
    p_change_squared_.add(r.p_change * r.p_change);
  }

  const SavedLogits* base_;
  bool codes_wanted_;
  std::size_t vocab_size_, n_rows_ = 0;
  unsigned n_threads_;
  std::vector<TokenResult> results_;
  std::vector<CodedRow> rows_;
  std::vector<std::uint16_t> codes_;  // [n_tokens, vocab_size]
  Mean loss_, base_loss_, loss_change_, divergence_, same_top_, p_change_squared_;
  std::vector<double> divergences_;
};

void print(const nlohmann::ordered_json& r) {
  const auto number = [&](const char* key) { return r.at(key).get<double>(); };
  std::string text = fmt::format("perplexity {:.4f} +- {:.4f} ({} tokens of {} windows)\n",
                                 number("perplexity"), number("standard_error"),
                                 r.at("tokens").get<std::size_t>(), r.at("windows").get<std::size_t>());
  if (r.contains("kl")) {
    text += fmt::format("of the saved logits {:.4f}, ratio {:.5f} +- {:.5f}\n", number("base_perplexity"),
                        number("ratio"), number("ratio_standard_error"));
    text +=
        fmt::format("KL divergence {:.6f} +- {:.6f}, median {:.6f}, 99% {:.6f}, most {:.6f}\n", number("kl"),
                    number("kl_standard_error"), number("kl_median"), number("kl_99"), number("kl_most"));
    text +=
        fmt::format("same top token {:.3f}% +- {:.3f}%\nRMS change of p {:.3f}%\n", 100 * number("same_top"),
                    100 * number("same_top_standard_error"), 100 * number("rms_p_change"));
  }
  app::write_stdout(text);
}

int run(int argc, char** argv) {
  Flags flags = parse_flags(argc, argv);
  std::atomic<bool> cancelled = false;
  flags.windows.cancel = &cancelled;
  std::vector<std::string> inputs = flags.engine.files();
  inputs.insert(inputs.end(), {flags.text, flags.base});
  app::refuse_same_file(flags.save, inputs);
  std::optional<SavedLogits> base;
  if (!flags.base.empty()) base.emplace(flags.base);
  const std::string text = flags.text.empty() ? "" : app::read_file(flags.text);
  const Model model = flags.engine.load();
  app::print_notes("gemma-perplexity", model.notes());
  const std::size_t vocab_size = model.config().vocab_size;
  if (base && base->vocab_size() != vocab_size) {
    throw Error(ErrorCode::kInvalidArgument, fmt::format("{}: logits of {} tokens; the model has {}",
                                                         flags.base, base->vocab_size(), vocab_size));
  }
  std::vector<TokenId> ids;
  if (base) {
    ids = base->ids();
    flags.windows.n_ctx = base->n_ctx();
  } else {
    ids = model.tokenizer().encode(text);
  }
  const TextWindows windows(model, std::move(ids), flags.windows);
  const app::InterruptGuard guard(cancelled);  // a signal cancels the run, which removes the incomplete file
  std::unique_ptr<LogitsWriter> writer;
  if (!flags.save.empty())
    writer = std::make_unique<LogitsWriter>(flags.save, flags.windows.n_ctx, vocab_size, windows.size(),
                                            windows.ids());
  Scores scores(flags, vocab_size, base ? &*base : nullptr);
  app::ProgressBar bar(windows.size() * windows.n_scored());
  std::size_t done = 0;
  const auto begin = std::chrono::steady_clock::now();
  const auto seconds = [&] {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  };
  try {
    windows.run([&](std::span<const ScoredToken> tokens) {
      scores.take(tokens, writer.get());
      done += tokens.size();
      bar.show(done, fmt::format("window {} of {}", tokens.back().window + 1, windows.size()));
    });
  } catch (const Error& e) {
    if (e.code() != EngineErrorCode::kCancelled) throw;
    bar.clear();
    std::fputs("gemma-perplexity: stopped\n", stderr);
    return app::InterruptGuard::exit_status();
  }
  if (writer) writer->commit();
  bar.clear();
  const nlohmann::ordered_json result = scores.json(windows.size(), seconds());
  if (flags.json) {
    app::write_stdout(result.dump() + "\n");
  } else {
    print(result);
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  return gemma::app::run_program(argc, argv, "gemma-perplexity", run);
}
