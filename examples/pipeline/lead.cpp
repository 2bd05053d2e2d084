#include "examples/pipeline/lead.hpp"

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <optional>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>
#if defined(__GLIBC__)
#include <malloc.h>
#endif

#include "examples/interrupt.hpp"
#include "examples/pipeline/answers.hpp"
#include "examples/pipeline/driver.hpp"
#include "examples/print_note.hpp"
#include "examples/program.hpp"
#include "examples/read_file.hpp"
#include "examples/token_ids.hpp"
#include "gemma/engine_error_code.hpp"
#include "gemma/plan.hpp"

namespace gemma::app {
namespace {

using Ids = std::vector<std::int32_t>;

StageOptions stage_options(const PipelineFlags& flags, const Place& place, const Setup& setup) {
  const auto rank = static_cast<std::size_t>(place.rank);
  return {.layer_begin = setup.cuts.at(rank),
          .layer_end = setup.cuts.at(rank + 1),
          .max_sequences = setup.n_sequences,
          .n_ctx = setup.n_ctx,
          .kv_type = flags.engine.kv,
          .chunk = setup.chunk,
          .logit_rows = setup.logit_rows,
          .n_threads = flags.engine.threads != 0 ? flags.engine.threads : place.threads};
}

/// Makes this rank's worker, within --max-memory.
std::unique_ptr<Worker> make_worker(const Model& model, const PipelineFlags& flags, const Place& place,
                                    const Setup& setup, Mailbox& mailbox) {
  const StageOptions options = stage_options(flags, place, setup);
  const std::size_t bytes = plan_stage(model, options).total_bytes();
  if (flags.engine.max_memory != 0 && bytes > flags.engine.max_memory) {
    throw Error(ErrorCode::kOutOfMemory,
                fmt::format("layers {} to {} take {} bytes, more than the limit of {}", options.layer_begin,
                            options.layer_end, bytes, flags.engine.max_memory));
  }
  return std::make_unique<Worker>(model, options, setup.sampler, place.rank, mailbox);
}

/// Returns freed memory to the system: otherwise it would count as this rank's.
void give_back_free_memory() {
#if defined(__GLIBC__)
  ::malloc_trim(0);
#endif
}

/// Calls f() and returns the message of the error that it throws, or "".
template <typename F>
std::string problem_of(F f) {
  try {
    f();
  } catch (const Error& e) {
    return std::string(e.message());
  }
  return {};
}

Hello load(const PipelineFlags& flags, const Place& place, std::optional<Model>& model) {
  Hello hello;
  hello.host = place.host;
  hello.problem = problem_of([&] {
    EngineFlags engine = flags.engine;
    engine.vocabulary = place.rank == 0 && !flags.wants_logits();
    model = engine.load();
    model->check_head();
    hello.fingerprint = model->fingerprint();
    hello.isa = model->kernels().name;
  });
  return hello;
}

/// The work of every rank except rank 0, as rank 0's messages request it.
int follow(const PipelineFlags& flags, const Place& place, Mailbox& mailbox) {
  std::optional<Model> model;
  mailbox.send(0, Kind::kHello, load(flags, place, model).encode());
  std::unique_ptr<Worker> worker;
  for (;;) {
    const Message message = mailbox.receive();
    switch (message.kind) {
      case Kind::kSetup: {
        const std::string problem = problem_of(
            [&] { worker = make_worker(*model, flags, place, Setup::decode(message.bytes), mailbox); });
        mailbox.send(0, Kind::kReady, Writer().put_text(problem).take());
        break;
      }
      case Kind::kStep:
        worker->run(Step::decode(message.bytes), mailbox.failed());
        break;
      case Kind::kEnd:
        mailbox.send(0, Kind::kStats, worker->stats().encode());
        return 0;
      case Kind::kQuit:
        return 1;
      default:
        throw Error(ErrorCode::kMalformed,
                    "rank " + std::to_string(message.peer) + " sent an unexpected message");
    }
  }
}

/// The work of rank 0.
class Lead {
 public:
  Lead(const PipelineFlags& flags, const Place& place, Mailbox& mailbox)
      : flags_(flags), place_(place), mailbox_(mailbox) {}

  int run() {
    const InterruptGuard guard(cancelled_);
    try {
      prepare();
      job();
      end();
      return 0;
    } catch (const Error& e) {
      if (mailbox_.failed()) throw;
      if (e.code() == EngineErrorCode::kCancelled) {
        tell_all(Kind::kQuit, {});
        // mpirun ends the ranks by SIGTERM when another rank has printed the reason
        if (guard.last() != SIGTERM) print_error("gemma-pipeline", "stopped");
        return InterruptGuard::exit_status();
      }
      if (started_) throw;  // other ranks may be in any state
      tell_all(Kind::kQuit, {});
      print_error("gemma-pipeline", e.message());
      return 1;
    }
  }

 private:
  void tell_all(Kind kind, const std::vector<std::byte>& bytes) {
    for (int r = 1; r < place_.n_ranks; ++r) mailbox_.send(r, kind, bytes);
  }
  /// Receives one message of this kind from each other rank and calls f(rank, bytes) in the order of ranks.
  template <typename F>
  void hear_all(Kind kind, F f) {
    std::vector<std::vector<std::byte>> heard(static_cast<std::size_t>(place_.n_ranks));
    for (int n = 1; n < place_.n_ranks; ++n) {
      Message m = mailbox_.receive(&cancelled_);
      if (m.kind != kind) throw Error(ErrorCode::kMalformed, "a rank is out of step");
      heard[static_cast<std::size_t>(m.peer)] = std::move(m.bytes);
    }
    for (std::size_t r = 1; r < heard.size(); ++r) f(r, std::span<const std::byte>(heard[r]));
  }

  void prepare() {
    const Hello own = load(flags_, place_, model_);
    std::string problem = own.problem, other_isa;
    hear_all(Kind::kHello, [&](std::size_t r, std::span<const std::byte> bytes) {
      const Hello h = Hello::decode(bytes);
      if (!problem.empty()) return;
      const std::string who = fmt::format("rank {} on {}: ", r, h.host);
      if (!h.problem.empty())
        problem = who + h.problem;
      else if (h.fingerprint != own.fingerprint)
        problem = who + "its model file differs from rank 0's";
      else if (h.isa != own.isa)
        other_isa = who + "its instruction set is " + h.isa + ", rank 0's " + own.isa;
    });
    if (!problem.empty()) throw Error(ErrorCode::kIo, problem);
    print_notes("gemma-pipeline", model_->notes());
    if (!other_isa.empty()) {
      print_error("gemma-pipeline", other_isa + ": logits are not those of one machine to the bit (--isa)");
    }
    read_sequences();
    setup_.cuts = cuts();
    if (!flags_.wants_logits()) {
      setup_.sampler = flags_.sampling.settled(*model_, flags_.raw ? "" : flags_.chat_template);
    }
    tell_all(Kind::kSetup, setup_.encode());
    problem = problem_of([&] { worker_ = make_worker(*model_, flags_, place_, setup_, mailbox_); });
    hear_all(Kind::kReady, [&](std::size_t r, std::span<const std::byte> bytes) {
      const std::string text = Reader(bytes).get_text();
      if (problem.empty() && !text.empty()) problem = fmt::format("rank {}: {}", r, text);
    });
    if (!problem.empty()) throw Error(ErrorCode::kInvalidArgument, problem);
    started_ = true;
  }

  std::vector<std::size_t> cuts() const {
    const auto n = static_cast<std::size_t>(place_.n_ranks);
    if (const auto* by = std::get_if<SplitBy>(&flags_.split)) return split_layers(*model_, n, *by);
    const auto& layers = std::get<std::vector<std::size_t>>(flags_.split);
    if (layers.size() != n) {
      throw Error(ErrorCode::kInvalidArgument,
                  fmt::format("--split has {} shares for {} ranks", layers.size(), n));
    }
    return split_layers(*model_, layers);
  }

  /// Reads the sequences and completes the setup from them.
  void read_sequences() {
    if (flags_.wants_logits()) {
      for (const std::string& text : flags_.tokens) sequences_.push_back(parse_token_ids(text, "--tokens"));
      if (!flags_.tokens_file.empty()) {
        sequences_.push_back(parse_token_ids(read_file(flags_.tokens_file), flags_.tokens_file));
      }
    } else {
      prompts_ = flags_.prompts;
      if (!flags_.prompts_file.empty()) read_prompts();
      encode_prompts();
    }
    std::size_t longest = 0;
    for (const Ids& ids : sequences_) {
      for (const std::int32_t id : ids) model_->check_token(id);
      longest = std::max(longest, ids.size());
    }
    const std::size_t own = model_->config().max_seq_len, n = sequences_.size();
    const std::size_t most = flags_.engine.context != 0 ? flags_.engine.context
                             : flags_.wants_logits()    ? own
                                                        : std::min(own, kDefaultContext);
    if (longest > most) {
      throw Error(
          EngineErrorCode::kContextFull,
          fmt::format("{} tokens do not fit the context of {}; -c allows a longer one", longest, most));
    }
    const std::size_t chunk = std::min(flags_.chunk, longest);
    setup_.n_sequences = n;
    setup_.n_ctx = flags_.wants_logits() ? longest : most;
    setup_.chunk = flags_.wants_logits() ? n * chunk : std::max(flags_.chunk, n);
    setup_.logit_rows = flags_.wants_logits() ? n * chunk : n;
  }
  /// Encodes the prompts with a temporary tokenizer, which is destroyed before the first layer runs: the
  /// tables for encoding take more memory than the rest of the vocabulary, and no rank's share includes them.
  void encode_prompts() {
    {
      const auto tokenizer = make_tokenizer(Vocab::from(model_->file()));
      for (const std::string& prompt : prompts_) {
        if (prompt.empty() && !flags_.raw) throw Error(ErrorCode::kInvalidArgument, "--prompt: no prompt");
        sequences_.push_back(prompt_ids(*tokenizer, flags_, prompt));
        if (sequences_.back().empty()) throw Error(ErrorCode::kInvalidArgument, "a prompt without tokens");
      }
    }
    give_back_free_memory();
  }
  void read_prompts() {
    const std::string text = read_file(flags_.prompts_file);
    for (std::size_t at = 0; at < text.size();) {
      const std::size_t end = std::min(text.find('\n', at), text.size());
      if (end != at) prompts_.push_back(text.substr(at, end - at));
      at = end + 1;
    }
    if (prompts_.empty()) throw Error(ErrorCode::kInvalidArgument, flags_.prompts_file + ": no prompt");
  }

  void job() {
    Driver driver(*worker_, mailbox_, place_.n_ranks, cancelled_);
    if (flags_.wants_logits()) return write_logits(driver, sequences_, flags_.chunk, flags_.out);
    const bool streams = sequences_.size() == 1 && !flags_.json;
    const auto answers = answer_all(driver, *model_, flags_, sequences_, setup_.n_ctx,
                                    static_cast<std::size_t>(place_.n_ranks), [&](std::string_view text) {
                                      if (!streams) return;
                                      write_stdout(text);
                                      flush_stdout();
                                    });
    for (const PipelineAnswer& a : answers) {
      if (flags_.json) {
        write_stdout(json_of(a) + "\n");
      } else {
        if (!streams) write_stdout(a.text);
        if (!a.text.ends_with('\n')) write_stdout("\n");
      }
    }
    flush_stdout();
  }

  std::string json_of(const PipelineAnswer& a) const {
    const std::string& name = model_->config().name;
    nlohmann::ordered_json out;
    out["text"] = a.text;
    if (!a.thinking.empty()) out["thinking"] = a.thinking;
    out["stop_reason"] = std::string(to_string(a.reason));
    out["tokens"] = {{"prompt", a.n_prompt}, {"reused", 0}, {"generated", a.tokens.size()}};
    out["ids"] = a.tokens;
    const double decode = a.total_seconds - a.first_token_seconds;
    out["timings"] = {
        {"first_token_s", a.first_token_seconds}, {"decode_s", decode}, {"total_s", a.total_seconds}};
    out["model"] = name.empty() ? std::filesystem::path(model_->file().path()).stem().string() : name;
    out["file"] = model_->file().path();
    out["isa"] = std::string(model_->kernels().name);
    out["threads"] = worker_->stage().options().n_threads;
    out["context"] = setup_.n_ctx;
    out["kv"] = kv_name(flags_.engine.kv);
    out["ranks"] = place_.n_ranks;
    out["cuts"] = setup_.cuts;
    return out.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
  }

  void end() {
    tell_all(Kind::kEnd, {});
    std::vector<Stats> all{worker_->stats()};
    hear_all(Kind::kStats,
             [&](std::size_t, std::span<const std::byte> bytes) { all.push_back(Stats::decode(bytes)); });
    if (!flags_.stats) return;
    for (std::size_t r = 0; r < all.size(); ++r) {
      const Stats& s = all[r];
      constexpr double kMb = 1e6;
      print_note(stderr,
                 fmt::format("rank {}: layers {} to {}, {:.1f} MB of the file, {:.1f} MB planned beside it, "
                             "{:.1f} MB at most in memory, {:.3f} s in its layers\n",
                             r, s.begin, s.end, static_cast<double>(s.file_bytes) / kMb,
                             static_cast<double>(s.other_bytes) / kMb,
                             static_cast<double>(s.peak_bytes) / kMb, s.busy_seconds));
    }
  }

  const PipelineFlags& flags_;
  const Place& place_;
  Mailbox& mailbox_;
  std::atomic<bool> cancelled_{false};
  std::optional<Model> model_;
  std::vector<std::string> prompts_;
  std::vector<Ids> sequences_;
  Setup setup_;
  std::unique_ptr<Worker> worker_;
  bool started_ = false;
};

}  // namespace

int run_rank(const PipelineFlags& flags, const Place& place, Mailbox& mailbox) {
  if (place.rank != 0) return follow(flags, place, mailbox);
  return Lead(flags, place, mailbox).run();
}

}  // namespace gemma::app
