// Guesses never change results: whatever the guesses and their source are, and however an answer ends, all
// that a caller can observe is the same as without guesses (law 1). Also tests the sources of guesses.
#include "gemma/draft.hpp"

#include <atomic>
#include <cctype>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "gemma/batch.hpp"
#include "gemma/session.hpp"
#include "tests/gemma/golden_models.hpp"
#include "tests/gemma/model_file.hpp"
#include "tests/gemma/run.hpp"

namespace gemma::test {
namespace {

using Ids = std::vector<std::int32_t>;

/// A drafter that guesses from a given continuation, with some mistakes.
class Oracle final : public Drafter {
 public:
  Oracle(std::vector<Ids> truths, std::size_t vocab, std::size_t one_in, std::uint64_t seed)
      : truths_(std::move(truths)), vocab_(vocab), one_in_(one_in), dice_(seed) {}
  void guess(std::span<DraftQuery> queries, const std::atomic<bool>*) override {
    for (DraftQuery& q : queries) {
      q.n = 0;
      q.kind = static_cast<unsigned>(dice_.below(DraftLength::kKinds + 1));  // includes one invalid kind
      const Ids* truth = nullptr;
      for (const Ids& t : truths_) {
        if (t.size() > q.tokens.size() && std::equal(q.tokens.begin(), q.tokens.end(), t.begin())) truth = &t;
      }
      const std::size_t most = dice_.below(q.guesses.size() + 1);
      for (; q.n < most; ++q.n) {
        const std::size_t at = q.tokens.size() + q.n;
        q.guesses[q.n] =
            truth != nullptr && at < truth->size() && dice_.below(one_in_) != 0
                ? (*truth)[at]
                : static_cast<std::int32_t>(dice_.below(vocab_ + 2)) - 1;  // includes invalid ids
      }
    }
  }
  void begin(std::size_t, std::span<const std::int32_t>) noexcept override {}

 private:
  std::vector<Ids> truths_;
  std::size_t vocab_, one_in_;
  Random dice_;
};

/// A token that a callback received, and the state that it observed.
struct Told {
  std::int32_t id;
  std::string text;
  double log_probability;
  std::size_t n_past, n_computed;
  bool operator==(const Told&) const = default;
};

/// Everything that a caller can observe at the end.
struct Seen {
  Ids tokens, sequence;
  std::string text, thrown;
  StopReason reason{};
  std::vector<double> log_probabilities;
  std::vector<Told> told;
  std::vector<std::vector<std::int32_t>> processed;  // the sequence at each call of the processor
  std::vector<bool> can_truncate;
  std::vector<float> logits, hidden;
  std::size_t n_computed = 0;
};

void expect_same(const Seen& a, const Seen& b) {
  EXPECT_EQ(a.tokens, b.tokens);
  EXPECT_EQ(a.sequence, b.sequence);
  EXPECT_EQ(a.text, b.text);
  EXPECT_EQ(a.thrown, b.thrown);
  EXPECT_EQ(a.reason, b.reason);
  EXPECT_EQ(a.log_probabilities, b.log_probabilities);
  EXPECT_EQ(a.told, b.told);
  EXPECT_EQ(a.processed, b.processed);
  EXPECT_EQ(a.can_truncate, b.can_truncate);
  EXPECT_EQ(a.logits, b.logits);
  EXPECT_EQ(a.hidden, b.hidden);
  EXPECT_EQ(a.n_computed, b.n_computed);
}

/// A generation: its options, and how it is interrupted.
struct Case {
  Ids prompt;
  SamplerOptions sampler;
  GenerateOptions options;
  std::size_t n_ctx = 300, chunk = 64;
  unsigned threads = 1;
  std::size_t cancel_at = SIZE_MAX, refuse_at = SIZE_MAX, throw_at = SIZE_MAX;  // numbers of tokens
  bool by_steps = false, penalty = false;
};

/// Runs a case in a session.
Seen run_case(const Model& model, const Case& c, const DraftOptions& draft,
              GenerateResult* counts = nullptr) {
  Session s(model, {.n_ctx = c.n_ctx, .chunk = c.chunk, .n_threads = c.threads, .draft = draft});
  s.set_tokens(c.prompt);
  Sampler sampler(c.sampler);
  Seen seen;
  std::atomic<bool> cancel{false};
  GenerateOptions o = c.options;
  o.cancel = &cancel;
  std::size_t picked = 0;
  o.on_token = [&](const GeneratedToken& t) {
    seen.told.push_back({t.id, std::string(t.text), t.log_probability, s.n_past(), s.n_computed()});
    if (seen.told.size() == c.cancel_at) cancel = true;
    return seen.told.size() != c.refuse_at;
  };
  if (c.penalty) {
    o.process = [&](std::span<float> logits, std::span<const std::int32_t> tokens) {
      seen.processed.emplace_back(tokens.begin(), tokens.end());
      for (const std::int32_t t : tokens.last(std::min<std::size_t>(tokens.size(), 3)))
        logits[static_cast<std::size_t>(t)] -= 0.5f;
    };
  }
  const PickToken pick = [&](std::span<const float> logits) {
    if (++picked == c.throw_at) throw std::runtime_error("picker");
    return sampler.sample(logits);
  };
  GenerateResult r;
  try {
    if (c.by_steps) {
      TokenStream stream = s.stream(pick, o);
      while (stream.next() != nullptr) {
      }
      r = stream.result();
    } else {
      r = s.generate(pick, o);
    }
  } catch (const std::runtime_error& e) {
    seen.thrown = e.what();
  }
  if (counts != nullptr) *counts = r;
  seen.tokens = r.tokens;
  seen.text = r.text;
  seen.reason = r.reason;
  seen.log_probabilities = r.log_probabilities;
  seen.sequence.assign(s.tokens().begin(), s.tokens().end());
  seen.n_computed = s.n_computed();
  for (std::size_t n = 0; n <= s.n_past(); ++n) seen.can_truncate.push_back(s.can_truncate(n));
  const auto logits = s.logits();
  seen.logits.assign(logits.begin(), logits.end());
  const auto hidden = s.hidden_state();
  seen.hidden.assign(hidden.begin(), hidden.end());
  return seen;
}

Shape shape(const std::string& architecture) {
  Shape s;
  s.architecture = architecture;
  s.vocabulary = true;
  if (architecture == "gemma2" || architecture == "gemma3") s.window = 24;
  if (architecture == "gemma3") s.n_layers = 7;
  return s;
}

/// A prompt with repetitions, so that lookup finds guesses.
Ids repeating(std::size_t n, std::size_t vocab, Random& dice) {
  Ids out;
  while (out.size() < n) {
    if (out.size() > 8 && dice.below(3) == 0) {
      const std::size_t from = dice.below(out.size() - 4), size = 3 + dice.below(12);
      for (std::size_t i = 0; i < size; ++i) out.push_back(out[from + i]);
    } else {
      out.push_back(static_cast<std::int32_t>(3 + dice.below(vocab - 3)));
    }
  }
  out.resize(n);
  return out;
}

Case random_case(const Model& model, Random& dice) {
  Case c;
  c.prompt = repeating(2 + dice.below(180), model.config().vocab_size, dice);
  c.n_ctx = c.prompt.size() + 1 + dice.below(100);
  c.chunk = dice.below(4) == 0 ? 1 + dice.below(4) : 8 + dice.below(60);
  c.threads = dice.below(8) == 0 ? 2 : 1;
  if (dice.below(2) == 0) c.sampler = {.temperature = 0.3f, .top_k = 3, .repeat_penalty = 1.1f};
  c.sampler.seed = dice.next();
  c.options.max_tokens = dice.below(80);
  c.options.ignore_end = dice.below(2) == 0;
  c.options.log_probabilities = dice.below(2) == 0;
  if (dice.below(4) == 0) c.options.stop_strings = {std::string(1, static_cast<char>('a' + dice.below(26)))};
  c.penalty = dice.below(3) == 0;
  c.by_steps = dice.below(2) == 0;
  if (dice.below(4) == 0) c.cancel_at = 1 + dice.below(30);
  if (dice.below(6) == 0) c.refuse_at = 1 + dice.below(30);
  if (dice.below(6) == 0) c.throw_at = 1 + dice.below(30);
  return c;
}

Ids joined(Ids a, const Ids& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

DraftOptions custom(std::shared_ptr<Drafter> drafter, std::size_t most = 8) {
  return {.source = DraftSource::kCustom, .max_tokens = most, .custom = std::move(drafter)};
}

class Drafts : public testing::TestWithParam<std::string> {
 protected:
  static Model load(const std::string& name) { return Model::load(golden_model(name)); }
  static bool is_golden(const std::string& name) { return name.find('-') != std::string::npos; }
  std::optional<MemoryModel> made_ =
      is_golden(GetParam()) ? std::nullopt : std::optional<MemoryModel>(make_model(shape(GetParam())));
  Model model_ = made_ ? **made_ : load(GetParam());
  std::size_t vocab_ = model_.config().vocab_size;
};

TEST_P(Drafts, NeverShowInASession) {
  Random dice(11);
  std::size_t n_drafted = 0, n_accepted = 0;
  for (int round = 0; round < 16; ++round) {
    SCOPED_TRACE(round);
    const Case c = random_case(model_, dice);
    const Seen plain = run_case(model_, c, {});
    // the continuation that nothing ends
    Case whole = c;
    whole.options = {.max_tokens = c.n_ctx, .ignore_end = true};
    whole.cancel_at = whole.refuse_at = whole.throw_at = SIZE_MAX;
    const Ids truth = c.penalty ? plain.sequence : run_case(model_, whole, {}).sequence;
    GenerateResult counts;
    auto oracle = std::make_shared<Oracle>(std::vector<Ids>{truth}, vocab_, 1 + dice.below(12), dice.next());
    expect_same(run_case(model_, c, custom(oracle, 1 + dice.below(12)), &counts), plain);
    n_drafted += counts.n_drafted;
    n_accepted += counts.n_accepted;
    EXPECT_LE(counts.n_accepted, counts.n_drafted);
    expect_same(run_case(model_, c, {.source = DraftSource::kLookup}), plain);
  }
  EXPECT_GT(n_accepted, 60u);
  EXPECT_GT(n_drafted, n_accepted + 20);
}

/// Many sequences at once that join, share prefixes, leave and continue, with and without guesses.
TEST_P(Drafts, NeverShowInABatch) {
  for (std::uint64_t seed = 0; seed < 3; ++seed) {
    SCOPED_TRACE(seed);
    Random dice(seed);
    const Ids base = repeating(85, vocab_, dice);
    struct Asked {
      Ids prompt, more;
      std::uint64_t seed;
      GenerateOptions options;
      GenerateResult want, want_more;
      std::shared_ptr<Sampler> sampler;
      Batch::Id id = 0;
      int state = 0;
    };
    std::vector<Asked> all(9);
    std::vector<Ids> truths;
    for (Asked& a : all) {
      a.prompt = base;
      a.prompt.resize(20 + dice.below(65));
      a.prompt = joined(a.prompt, repeating(1 + dice.below(20), vocab_, dice));
      a.more = repeating(1 + dice.below(9), vocab_, dice);
      a.seed = dice.next();
      a.options = {.max_tokens = 1 + dice.below(40),
                   .ignore_end = dice.below(2) == 0,
                   .log_probabilities = true,
                   .draft = dice.below(5) != 0};
      Session s(model_, {.n_ctx = 180, .chunk = 64, .n_threads = 1});
      s.set_tokens(a.prompt);
      Sampler sampler({.temperature = 0.4f, .seed = a.seed});
      const auto pick = [&](std::span<const float> l) { return sampler.sample(l); };
      a.want = s.generate(pick, a.options);
      truths.emplace_back(s.tokens().begin(), s.tokens().end());
      s.append(a.more);
      a.want_more = s.generate(pick, a.options);
      truths.emplace_back(s.tokens().begin(), s.tokens().end());
    }
    auto oracle = std::make_shared<Oracle>(truths, vocab_, 2 + dice.below(9), seed);
    Batch batch(model_, {.max_sequences = 4,
                         .n_ctx = 180,
                         .chunk = 1 + dice.below(70),
                         .n_threads = 1 + static_cast<unsigned>(seed % 2),
                         .max_prompt_tokens = dice.below(2) * 7,
                         .draft = seed == 0 ? DraftOptions{.source = DraftSource::kLookup} : custom(oracle)});
    std::size_t scored = 0, n_done = 0;
    for (int round = 0; n_done < all.size(); ++round) {
      ASSERT_LT(round, 2000);
      for (Asked& a : all) {
        if (a.state == 0 && batch.n_sequences() < batch.max_sequences() - 1 && dice.below(3) == 0) {
          a.sampler = std::make_shared<Sampler>(SamplerOptions{.temperature = 0.4f, .seed = a.seed});
          a.id = batch.add(
              a.prompt, [s = a.sampler](auto l) { return s->sample(l); }, a.options);
          a.state = 1;
        } else if (a.state == 1 && batch.ended(a.id)) {
          EXPECT_EQ(batch.result(a.id).tokens, a.want.tokens);
          EXPECT_EQ(batch.result(a.id).log_probabilities, a.want.log_probabilities);
          EXPECT_EQ(batch.result(a.id).reason, a.want.reason);
          batch.resume(
              a.id, a.more, [s = a.sampler](auto l) { return s->sample(l); }, a.options);
          a.state = 2;
        } else if (a.state == 2 && batch.ended(a.id)) {
          const GenerateResult r = batch.take(a.id);
          EXPECT_EQ(r.tokens, a.want_more.tokens);
          EXPECT_EQ(r.log_probabilities, a.want_more.log_probabilities);
          EXPECT_EQ(r.text, a.want_more.text);
          EXPECT_EQ(r.reason, a.want_more.reason);
          if (!a.options.draft) {
            EXPECT_EQ(r.n_drafted, 0u);
          }
          a.state = 3;
          ++n_done;
        }
      }
      // and a sequence that is scored at the same time
      if (scored == 0 && batch.n_sequences() < batch.max_sequences()) scored = batch.add_score(base, base);
      batch.step();
    }
    batch.run();
    ASSERT_NE(scored, 0u);
    Session s(model_, {.n_ctx = 250, .n_threads = 1, .logit_rows = 50});
    s.set_tokens(base);
    EXPECT_EQ(batch.take(scored).log_probabilities, s.score(base));
    EXPECT_GE(batch.stats().n_drafted, batch.stats().n_accepted);
    if (seed != 0) {
      EXPECT_GT(batch.stats().n_accepted, 20u);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Models, Drafts,
                         testing::Values("llama", "gemma", "gemma2", "gemma3", "nano-gemma3n.F32",
                                         "nano-gemma4-e.F32", "tiny-gemma4-m.Q4_K_M"),
                         [](const auto& param) {
                           std::string name = param.param;
                           for (char& c : name) c = std::isalnum(static_cast<unsigned char>(c)) ? c : '_';
                           return name;
                         });

/// The documented result of PromptLookup, by trying all positions.
std::pair<std::size_t, Ids> look_up_slowly(const Ids& t, std::size_t n) {
  std::size_t best = 0, agreed = 1;
  for (std::size_t at = t.size() - 1; at-- > 1;) {
    std::size_t same = 0;
    while (same < std::min(PromptLookup::kLongest, at + 1) && t[at - same] == t[t.size() - 1 - same]) ++same;
    if (same > agreed) agreed = same, best = at;
  }
  Ids out;
  if (best == 0) return {0, out};
  Ids all = t;
  for (std::size_t i = 0; i < n; ++i) {
    out.push_back(all[best + 1 + i]);
    all.push_back(out.back());
  }
  return {agreed, out};
}

TEST(PromptLookup, FindsTheLongestOfTheLatest) {
  constexpr std::size_t kContext = 90;
  PromptLookup lookup(2, kContext);
  EXPECT_EQ(lookup.size_bytes(), PromptLookup::size_bytes_for(2, kContext));
  Random dice(3);
  std::size_t n_found = 0;
  Ids all[2];
  bool known[2] = {};
  for (int step = 0; step < 4000; ++step) {
    const std::size_t slot = dice.below(2);
    Ids& t = all[slot];
    if (t.empty() || t.size() == kContext || dice.below(20) == 0) {  // truncate, then continue differently
      t.resize(dice.below(t.size() + 1));
      known[slot] = false;
    }
    for (std::size_t more = 1 + dice.below(4); more-- > 0 && t.size() < kContext;)
      t.push_back(static_cast<std::int32_t>(dice.below(7)));
    if (!known[slot]) lookup.begin(slot, t);
    known[slot] = true;
    Ids room(1 + dice.below(12), -7);
    DraftQuery q{.slot = slot, .tokens = t, .guesses = room};
    lookup.guess({&q, 1}, nullptr);
    const auto [agreed, want] = look_up_slowly(t, room.size());
    room.resize(q.n);
    ASSERT_EQ(room, want) << "step " << step;
    if (agreed != 0) {
      ++n_found;
      ASSERT_EQ(q.kind, DraftLength::kind(agreed));
    }
  }
  EXPECT_GT(n_found, 1000u);
}

/// The number of positions that are searched is bounded, and a context of one token is possible.
TEST(PromptLookup, IsBounded) {
  PromptLookup lookup(1, 5000);
  const Ids same(5000, 4);
  lookup.begin(0, same);
  Ids room(8);
  DraftQuery q{.slot = 0, .tokens = same, .guesses = room};
  lookup.guess({&q, 1}, nullptr);
  EXPECT_EQ(room, Ids(8, 4));
  lookup.begin(0, {});
  PromptLookup least(1, 1);
  least.begin(0, std::span(same).first(1));
  q = {.slot = 0, .tokens = std::span(same).first(1), .guesses = room};
  least.guess({&q, 1}, nullptr);
  EXPECT_EQ(q.n, 0u);
}

TEST(DraftLength, FollowsWhatIsAccepted) {
  DraftLength length;
  const auto worth = [&length](unsigned kind, std::size_t n_sequences = 1) {
    DraftLength::Step step = DraftLength::Step::of(n_sequences);
    return length.worth(kind, 64, step);
  };
  for (unsigned kind = 1; kind < DraftLength::kKinds; ++kind) EXPECT_GE(worth(kind), worth(kind - 1));
  const std::size_t at_first = worth(3);
  EXPECT_GT(at_first, 1u);
  EXPECT_LT(worth(3, 8), at_first) << "many sequences fill the forward already";
  const std::size_t other = worth(4);
  for (int i = 0; i < 20; ++i) length.compared(3, false);
  EXPECT_EQ(worth(3), 0u);
  EXPECT_EQ(worth(4), other);
  for (int i = 0; i < 20; ++i) length.compared(3, true);
  EXPECT_GT(worth(3), at_first);
  for (int i = 0; i < 20; ++i) length.compared(3, false);
  for (int i = 0; i < 100 && worth(3) == 0; ++i) length.rest(3);
  EXPECT_GT(worth(3), 0u) << "is tried again";
}

/// A small model with confident predictions, and a larger one with the same vocabulary.
class DraftModels : public testing::Test {
 protected:
  static ModelFile file(std::size_t n_layers, std::size_t d_model, std::size_t window = 0) {
    Shape s = shape("llama");
    s.n_layers = n_layers;
    s.d_model = d_model;
    s.window = window;
    s.separate_output = true;
    ModelFile f = make_model(s);
    auto& out = f.tensor("output.weight").data;
    for (std::size_t i = 0; i < out.size(); i += sizeof(float)) {
      float x = 0;
      std::memcpy(&x, &out[i], sizeof(x));
      x *= 30;
      std::memcpy(&out[i], &x, sizeof(x));
    }
    return f;
  }
  static std::shared_ptr<const Model> shared(const MemoryModel& m) {
    return std::make_shared<const Model>(*m);
  }

  MemoryModel small_{file(1, 32)}, large_{file(7, 64)};
  std::size_t vocab_ = large_->config().vocab_size;
  DraftOptions draft_{.source = DraftSource::kModel, .model = shared(small_)};
};

/// If the answer is forced to the choices of the small model, all its guesses are right.
TEST_F(DraftModels, GuessWhatTheyWouldSay) {
  const Ids prompt = random_tokens(50, vocab_, 1);
  const GenerateOptions sixty{.max_tokens = 60, .ignore_end = true};
  Session own(*small_, {.n_ctx = 200, .n_threads = 1});
  own.set_tokens(prompt);
  const Ids said = own.generate(argmax, sixty).tokens;
  for (const std::size_t chunk : {1, 7, 64}) {
    Session s(*large_, {.n_ctx = 200, .chunk = chunk, .n_threads = 1, .draft = draft_});
    for (int round = 0; round < 2; ++round) {
      s.set_tokens(prompt);
      std::size_t at = 0;
      const GenerateResult r = s.generate([&](std::span<const float>) { return said[at++]; }, sixty);
      EXPECT_EQ(r.tokens, said);
      if (chunk == 1) {
        EXPECT_EQ(r.n_drafted, 0u) << "a forward has room for one token";
        continue;
      }
      EXPECT_EQ(r.n_accepted, r.n_drafted) << "chunks of " << chunk;
      EXPECT_LT(r.n_steps, 40u);
    }
  }
}

TEST_F(DraftModels, NeverShow) {
  Random dice(5);
  MemoryModel sliding(file(1, 32, 20));
  for (int round = 0; round < 12; ++round) {
    SCOPED_TRACE(round);
    const Case c = random_case(*large_, dice);
    DraftOptions draft = draft_;
    if (round % 2 == 1) draft.model = shared(sliding);
    expect_same(run_case(*large_, c, draft), run_case(*large_, c, {}));
  }
  // several sequences at once that join and leave
  Batch batch(*large_, {.max_sequences = 3, .n_ctx = 150, .chunk = 20, .n_threads = 1, .draft = draft_});
  std::vector<std::pair<Batch::Id, Ids>> running;
  for (std::uint64_t i = 0; i < 7 || !running.empty();) {
    if (i < 7 && batch.n_sequences() < 3) {
      const Ids prompt = random_tokens(5 + dice.below(90), vocab_, i++);
      running.emplace_back(batch.add(prompt, argmax, {.max_tokens = 40, .ignore_end = true}), prompt);
    }
    batch.step();
    std::erase_if(running, [&](const auto& r) {
      if (!batch.ended(r.first)) return false;
      Session alone(*large_, {.n_ctx = 150, .n_threads = 1});
      alone.set_tokens(r.second);
      EXPECT_EQ(batch.take(r.first).tokens,
                alone.generate(argmax, {.max_tokens = 40, .ignore_end = true}).tokens);
      return true;
    });
  }
  EXPECT_GT(batch.stats().n_drafted, 0u);
}

TEST_F(DraftModels, PlanWhatTheyTake) {
  const BatchOptions options{.max_sequences = 3, .n_ctx = 100, .chunk = 16, .n_threads = 1, .draft = draft_};
  const Batch batch(*large_, options);
  const MemoryPlan plan = plan_batch(*large_, options);
  EXPECT_EQ(batch.memory_bytes() + small_->file().size_bytes(),
            plan.kv_bytes + plan.workspace_bytes + plan.draft_bytes);
  EXPECT_GT(plan.draft_bytes, small_->file().size_bytes() + 3 * 100 * 4);
}

TEST_F(DraftModels, NeedTheSameVocabulary) {
  const auto refused = [&](const ModelFile& f) {
    const MemoryModel other(f);
    try {
      Session s(*large_, {.draft = {.source = DraftSource::kModel, .model = shared(other)}});
      return std::string("taken");
    } catch (const Error& e) {
      EXPECT_EQ(e.code(), ErrorCode::kInvalidArgument);
      return std::string(e.message());
    }
  };
  ModelFile f = file(1, 32);
  std::vector<std::string> pieces;
  for (const std::string_view piece : large_->vocab().pieces()) pieces.emplace_back(piece);
  EXPECT_EQ(refused(f), "taken");
  pieces[300] = "another";
  f.set_array("tokenizer.ggml.tokens", pieces);
  EXPECT_NE(refused(f).find("token 300 is"), std::string::npos) << refused(f);
  Shape longer = shape("llama");
  longer.vocab_size = vocab_ + 300;
  EXPECT_NE(refused(make_model(longer)).find("tokens, not"), std::string::npos);
  longer.vocab_size = vocab_ + 20;
  EXPECT_EQ(refused(make_model(longer)), "taken") << "padding";
  longer.vocabulary = false;
  EXPECT_NE(refused(make_model(longer)).find("vocabulary"), std::string::npos);
  EXPECT_THROW(Session(*large_, {.draft = {.source = DraftSource::kModel}}), Error);
}

}  // namespace
}  // namespace gemma::test
