// The interface of a session: generation by callback and by range, custom samplers, snapshots, log
// probabilities, hidden states, cancelling.
#include <atomic>
#include <cmath>
#include <functional>
#include <limits>
#include <memory>
#include <numeric>
#include <ranges>
#include <stdexcept>
#include <thread>
#include <type_traits>

#include <gtest/gtest.h>

#include "tests/api/models.hpp"

namespace gemma::test {
namespace {

// owning types are movable but not copyable; moving does not throw
template <typename T>
constexpr bool kMoveOnly = std::is_nothrow_move_constructible_v<T> && !std::is_copy_constructible_v<T> &&
                           !std::is_copy_assignable_v<T>;
static_assert(kMoveOnly<KvCache> && kMoveOnly<Workspace> && kMoveOnly<Session> && kMoveOnly<Snapshot> &&
              kMoveOnly<Batch>);
static_assert(std::ranges::input_range<TokenStream>);
static_assert(std::is_copy_constructible_v<Model> && std::is_nothrow_move_constructible_v<Model>, "a handle");
static_assert(std::is_nothrow_move_assignable_v<Snapshot> && std::is_nothrow_move_assignable_v<Session>);

class SessionApi : public testing::Test {
 protected:
  std::vector<std::int32_t> prompt(const std::string& text) const { return model_.tokenizer().encode(text); }
  Session ready(std::size_t logit_rows = 1) const {
    Session s(model_, {.n_ctx = 128, .chunk = 32, .n_threads = 1, .logit_rows = logit_rows});
    s.prefill(prompt("The capital of France is"));
    return s;
  }
  Model model_ = Model::load(demo_model());
};

TEST_F(SessionApi, RangeCallbackAndResultAgree) {
  Sampler sampler({.temperature = 0.8f, .seed = 5});
  std::string by_text, by_token;
  std::vector<std::int32_t> ids;
  GenerateOptions options{.max_tokens = 20, .ignore_end = true, .log_probabilities = true};
  options.on_text = [&](std::string_view text) {
    by_text += text;
    return true;
  };
  options.on_token = [&](const GeneratedToken& token) {
    by_token += token.text;
    if (token.id != GeneratedToken::kNone) ids.push_back(token.id);
    EXPECT_LE(token.log_probability, 0.0);
    return true;
  };
  Session a = ready();
  const GenerateResult result = a.generate(sampler, options);
  EXPECT_EQ(result.reason, StopReason::kMaxTokens);
  EXPECT_EQ(result.tokens.size(), 20u);
  EXPECT_EQ(result.log_probabilities.size(), 20u);
  EXPECT_EQ(by_text, result.text);
  EXPECT_EQ(by_token, result.text);
  EXPECT_EQ(ids, result.tokens);
  EXPECT_GT(result.seconds, result.first_token_seconds);

  Session b = ready();
  Sampler again({.temperature = 0.8f, .seed = 5});
  std::string by_range;
  std::vector<std::int32_t> range_ids;
  TokenStream stream = b.stream(again, {.max_tokens = 20, .ignore_end = true});
  for (const GeneratedToken& token : stream) {
    by_range += token.text;
    if (token.id != GeneratedToken::kNone) range_ids.push_back(token.id);
  }
  EXPECT_EQ(by_range, result.text);
  EXPECT_EQ(range_ids, result.tokens);
  EXPECT_EQ(stream.result().reason, StopReason::kMaxTokens);
  EXPECT_EQ(copied(a.tokens()), copied(b.tokens()));
  EXPECT_EQ(copied(a.logits()), copied(b.logits()));
}

TEST_F(SessionApi, LeavingTheRangeLeavesASoundSession) {
  Session s = ready();
  const std::size_t before = s.n_past();
  Sampler greedy;
  std::vector<std::int32_t> seen;
  for (const GeneratedToken& token : s.stream(greedy, {.ignore_end = true})) {
    seen.push_back(token.id);
    if (seen.size() == 3) break;
  }
  EXPECT_EQ(s.n_past(), before + 2);  // the third token was reported and is not in the sequence
  Session t = ready();
  const auto all = t.generate(greedy, {.max_tokens = 6, .ignore_end = true}).tokens;
  const auto rest = s.generate(greedy, {.max_tokens = 4, .ignore_end = true}).tokens;
  EXPECT_EQ(std::vector(all.begin() + 2, all.end()), rest);
}

TEST_F(SessionApi, StopStringsMayStraddleTokens) {
  const auto ids = model_.tokenizer().encode(" one two three four", {.add_bos = false});
  ASSERT_GT(ids.size(), 2u);
  const std::string whole = model_.tokenizer().decode(ids, {.continues = true});
  for (std::size_t begin = 0; begin + 3 <= whole.size(); ++begin) {
    for (const std::size_t length : {1, 2, 3, 7}) {
      if (begin + length > whole.size()) continue;
      const std::string stop = whole.substr(begin, length);
      Session s = ready();
      std::string shown;
      GenerateOptions options{.max_tokens = ids.size(), .stop_strings = {"never said", stop}};
      options.on_text = [&](std::string_view text) {
        shown += text;
        return true;
      };
      const auto result = s.generate(say(ids), options);
      const std::string text = model_.tokenizer().decode(ids);
      EXPECT_EQ(result.text, text.substr(0, std::min(text.find(stop), text.size())));
      EXPECT_EQ(shown, result.text) << "what was shown is never taken back";
      EXPECT_EQ(result.reason,
                text.find(stop) != text.npos ? StopReason::kStopString : StopReason::kMaxTokens);
    }
  }
}

TEST_F(SessionApi, HeldBackTextComesOutAtTheEnd) {
  const auto ids = model_.tokenizer().encode(" one two", {.add_bos = false});
  const std::string text = model_.tokenizer().decode(ids);
  Session s = ready();
  std::string shown;
  bool nobody = false;
  GenerateOptions options{.max_tokens = ids.size(), .stop_strings = {text + "!"}};
  options.on_token = [&](const GeneratedToken& token) {
    shown += token.text;
    nobody |= token.id == GeneratedToken::kNone;
    return true;
  };
  EXPECT_EQ(s.generate(say(ids), options).text, text);
  EXPECT_EQ(shown, text);
  EXPECT_TRUE(nobody) << "all of it was held back until the end";

  Session t = ready();
  shown.clear();
  for (const auto& token : t.stream(say(ids), {.max_tokens = ids.size(), .stop_strings = {text + "!"}})) {
    shown += token.text;
  }
  EXPECT_EQ(shown, text);
}

TEST_F(SessionApi, ACallbackThatReturnsFalseIsNotCalledAgain) {
  for (const bool by_text : {true, false}) {
    Session s = ready();
    const std::size_t before = s.n_past();
    int calls = 0;
    GenerateOptions options{.max_tokens = 10, .stop_strings = {"\x01 never"}, .ignore_end = true};
    const auto stop = [&calls](const auto&) { return ++calls < 3; };
    if (by_text) {
      options.on_text = stop;
    } else {
      options.on_token = stop;
    }
    Sampler greedy;
    const auto result = s.generate(greedy, options);
    EXPECT_EQ(result.reason, StopReason::kCallback);
    EXPECT_EQ(calls, 3);
    EXPECT_EQ(s.n_past(), before + result.tokens.size() - 1);
  }
}

TEST_F(SessionApi, AnOwnSamplerIsCheckedAndItsExceptionsPass) {
  Session s = ready();
  const std::size_t before = s.n_past();
  EXPECT_THROW(s.generate(say({-1})), Error);
  EXPECT_THROW(s.generate(say({static_cast<std::int32_t>(model_.config().vocab_size)})), Error);
  EXPECT_THROW(s.generate([](std::span<const float>) -> std::int32_t { throw std::logic_error("mine"); }),
               std::logic_error);
  EXPECT_EQ(s.n_past(), before);
  EXPECT_EQ(s.generate(say({7, 8}), {.max_tokens = 2, .ignore_end = true}).tokens,
            (std::vector<std::int32_t>{7, 8}));
}

TEST_F(SessionApi, EndOfTurnAndFullContext) {
  ASSERT_TRUE(model_.vocab().eos());
  Session s = ready();
  const auto ended = s.generate(say({7, *model_.vocab().eos(), 8}));
  EXPECT_EQ(ended.reason, StopReason::kEndOfTurn);
  EXPECT_EQ(ended.tokens, (std::vector<std::int32_t>{7}));
  Sampler greedy;
  const auto full = s.generate(greedy, {.max_tokens = 1000, .ignore_end = true});
  EXPECT_EQ(full.reason, StopReason::kContextFull);
  EXPECT_EQ(s.n_past(), s.n_ctx());
  EXPECT_TRUE(s.generate(greedy, {.max_tokens = 0}).tokens.empty());
  Session empty(model_, {.n_ctx = 16, .n_threads = 1});
  EXPECT_THROW(empty.generate(greedy), Error);
}

TEST_F(SessionApi, ScoreIsWhatGenerationWouldHaveSaid) {
  Session s = ready();
  Sampler sampler({.temperature = 1.0f, .seed = 11});
  const auto said = s.generate(sampler, {.max_tokens = 12, .ignore_end = true, .log_probabilities = true});
  for (const std::size_t rows : {1, 5, 64}) {
    Session t = ready(rows);
    EXPECT_EQ(t.score(said.tokens), said.log_probabilities) << rows << " rows at a time";
    EXPECT_EQ(copied(t.tokens()), copied(s.tokens()));
    EXPECT_EQ(copied(t.logits()), copied(s.logits()));
    EXPECT_EQ(copied(t.hidden_state()), copied(s.hidden_state()));
  }
}

TEST_F(SessionApi, ScoreRefusesBeforeItComputes) {
  Session s = ready();
  const auto before = copied(s.tokens());
  EXPECT_THROW(s.score(std::vector<std::int32_t>{5, -1}), Error);
  EXPECT_THROW(s.score(std::vector<std::int32_t>(200, 5)), Error);
  EXPECT_EQ(copied(s.tokens()), before);
  EXPECT_TRUE(s.score({}).empty());
  Session empty(model_, {.n_ctx = 16, .n_threads = 1});
  EXPECT_THROW(empty.score(std::vector<std::int32_t>{5}), Error);
}

/// A wrong id anywhere in the added tokens, or too many tokens, changes neither the tokens nor the logits.
TEST_F(SessionApi, WhatIsRefusedLeavesTheSessionAsItWas) {
  Session s = ready();
  const auto tokens = copied(s.tokens());
  const auto logits = copied(s.logits());
  const auto hidden = copied(s.hidden_state());
  const auto refused = [&](ErrorCode code, const std::function<void()>& call) {
    try {
      call();
      ADD_FAILURE() << "no error";
    } catch (const Error& e) {
      EXPECT_EQ(e.code().name(), code.name()) << e.message();
    }
    EXPECT_EQ(copied(s.tokens()), tokens);
    EXPECT_EQ(copied(s.logits()), logits);
    EXPECT_EQ(copied(s.hidden_state()), hidden);
  };
  const auto size = static_cast<std::int32_t>(model_.config().vocab_size);
  for (const std::int32_t bad : {-1, size, std::numeric_limits<std::int32_t>::min()}) {
    std::vector<std::int32_t> ids(70, 5);  // more than two chunks of 32
    ids.back() = bad;
    refused(ErrorCode::kInvalidArgument, [&] { s.append(ids); });
    refused(ErrorCode::kInvalidArgument, [&] { s.prefill(ids); });
    refused(ErrorCode::kInvalidArgument, [&] { s.score(ids); });
  }
  const std::vector<std::int32_t> many(200, 5);
  refused(EngineErrorCode::kContextFull, [&] { s.append(many); });
  refused(EngineErrorCode::kContextFull, [&] { s.prefill(many); });
}

TEST_F(SessionApi, ProbabilitiesSumToOne) {
  Session s = ready();
  const auto all = top_log_probabilities(s.logits(), model_.config().vocab_size + 5);
  ASSERT_EQ(all.size(), model_.config().vocab_size);
  double sum = 0;
  for (const TokenProbability& p : all) sum += std::exp(p.log_probability);
  EXPECT_NEAR(sum, 1.0, 1e-9);
  EXPECT_EQ(all.front().id, argmax(s.logits()));
  EXPECT_DOUBLE_EQ(all[3].log_probability, log_probability(s.logits(), all[3].id));
  EXPECT_EQ(top_log_probabilities(s.logits(), 2).size(), 2u);
  EXPECT_THROW(log_probability(s.logits(), -1), Error);
  EXPECT_THROW(log_sum_exp(std::vector<float>{1, NAN}), Error);
  EXPECT_DOUBLE_EQ(log_sum_exp(std::vector<float>{1000, 1000}), 1000 + std::log(2.0));
}

/// logits = output matrix x hidden state, checked with a golden model whose matrix is float32.
TEST(HiddenState, TimesTheOutputMatrixIsTheLogits) {
  const Model model = Model::load(golden_model("nano-gemma-mha.F32"));
  Session s(model, {.n_ctx = 32, .n_threads = 1});
  s.prefill(random_tokens(model, 9, 3));
  const ModelConfig& c = model.config();
  ASSERT_EQ(s.hidden_state().size(), c.d_model);
  ASSERT_EQ(c.logit_softcap, 0.0f);
  const auto* w = reinterpret_cast<const float*>(model.weights().output.data);
  for (std::size_t i = 0; i < c.vocab_size; i += 7) {
    double sum = 0;
    for (std::size_t d = 0; d < c.d_model; ++d) {
      sum += static_cast<double>(w[i * c.d_model + d]) * static_cast<double>(s.hidden_state()[d]);
    }
    EXPECT_NEAR(s.logits()[i], sum, 1e-3);
  }
}

TEST(HiddenState, OfEveryPositionIsThatOfTheShorterSequence) {
  const Model model = Model::load(golden_model("tiny-gemma-mqa.Q4_K_M"));
  const auto ids = random_tokens(model, 6, 4);
  KvCache cache = model.make_cache({.n_ctx = 16});
  Workspace ws = model.make_workspace({.max_tokens = 6, .max_logit_rows = 6, .n_threads = 1});
  const Chunk chunk{ids, &cache, Logits::kAll};
  model.forward({&chunk, 1}, ws);
  const auto all = copied(model.hidden_states(ws, 6));
  EXPECT_THROW(model.hidden_states(ws, 7), Error);
  const std::size_t d = model.config().d_model;
  for (std::size_t n = 1; n <= 6; ++n) {
    Session s(model, {.n_ctx = 16, .n_threads = 1});
    s.prefill(std::span(ids).first(n));
    EXPECT_EQ(copied(s.hidden_state()), copied(std::span<const float>(all).subspan((n - 1) * d, d)));
  }
}

TEST(TokenEmbedding, IsTheScaledRow) {
  const Model model = Model::load(golden_model("nano-gemma-mha.F32"));
  const ModelConfig& c = model.config();
  std::vector<float> row(c.d_model);
  model.token_embedding(5, row);
  const auto* w = reinterpret_cast<const float*>(model.weights().embedding.data);
  for (std::size_t d = 0; d < c.d_model; ++d) {
    EXPECT_FLOAT_EQ(row[d], w[5 * c.d_model + d] * std::sqrt(static_cast<float>(c.d_model)));
  }
  EXPECT_THROW(model.token_embedding(-1, row), Error);
  row.pop_back();
  EXPECT_THROW(model.token_embedding(5, row), Error);
}

class Snapshots : public testing::TestWithParam<std::string> {};

TEST_P(Snapshots, RestoreTheBits) {
  const Model model = Model::load(golden_model(GetParam()));
  const SessionOptions options{.n_ctx = 160, .chunk = 40, .n_threads = 1};
  Session s(model, options);
  s.prefill(random_tokens(model, 100, 1));
  const Snapshot prefix = s.snapshot();
  const auto logits = copied(s.logits());
  const auto hidden = copied(s.hidden_state());
  EXPECT_GE(prefix.size_bytes(), logits.size() * sizeof(float));
  const auto more = random_tokens(model, 30, 2);
  s.append(more);
  const auto after = copied(s.logits());

  Session other(model, options);
  other.prefill(random_tokens(model, 7, 9));
  for (Session* to : {&s, &other}) {
    to->restore(prefix);
    EXPECT_EQ(copied(to->tokens()), copied(prefix.tokens()));
    EXPECT_EQ(copied(to->logits()), logits);
    EXPECT_EQ(copied(to->hidden_state()), hidden);
    to->append(more);
    EXPECT_EQ(copied(to->logits()), after);
  }
  Session smaller(model, {.n_ctx = 150, .chunk = 40, .n_threads = 1});
  EXPECT_THROW(smaller.restore(prefix), Error);
  EXPECT_EQ(smaller.n_past(), 0u);
  Session other_chunk(model, {.n_ctx = 160, .chunk = 41, .n_threads = 1});
  EXPECT_THROW(other_chunk.restore(prefix), Error);
}

INSTANTIATE_TEST_SUITE_P(Models, Snapshots,
                         testing::Values("nano-gemma3.F32", "tiny-gemma2.Q4_K_M", "nano-llama3.F32"),
                         [](const auto& param) {
                           std::string name = param.param;
                           for (char& c : name) c = std::isalnum(static_cast<unsigned char>(c)) ? c : '_';
                           return name;
                         });

TEST_F(SessionApi, SnapshotsOfNothing) {
  Session s(model_, {.n_ctx = 16, .n_threads = 1});
  const Snapshot empty = s.snapshot();
  s.append(std::vector<std::int32_t>{1, 2});
  s.restore(empty);
  EXPECT_EQ(s.n_past(), 0u);
  EXPECT_THROW(s.logits(), Error);
  EXPECT_THROW(s.hidden_state(), Error);
}

TEST_F(SessionApi, AnotherThreadCancels) {
  Session s(model_, {.n_threads = 1});
  s.prefill(prompt("Once"));
  Sampler sampler({.temperature = 1.0f, .seed = 1});
  std::atomic<bool> cancel{false};
  GenerateOptions options{.max_tokens = 1000000, .ignore_end = true, .cancel = &cancel};
  options.on_token = [&](const GeneratedToken&) {
    std::thread([&cancel] { cancel = true; }).join();
    return true;
  };
  const auto result = s.generate(sampler, options);
  EXPECT_EQ(result.reason, StopReason::kCancelled);
  EXPECT_EQ(s.n_past() + 1, prompt("Once").size() + result.tokens.size());
  EXPECT_THROW(s.append(std::vector<std::int32_t>{1}, {.cancel = &cancel}), Error)
      << "the flag is the caller's";
  s.append(std::vector<std::int32_t>{1});
}

TEST_F(SessionApi, ChatTurnsGoThroughTheTemplate) {
  const std::vector<Message> turns = {{"user", "Who wrote <end_of_turn>?"}};
  const auto ids = model_.encode_chat(turns);
  EXPECT_EQ(ids, ChatTemplate::from(model_.vocab()).encode(model_.tokenizer(), turns));
  EXPECT_THROW(model_.encode_chat(std::vector<Message>{{"assistant", "me first"}}), Error);
}

TEST_F(SessionApi, ModelsFromMemory) {
  const auto bytes = model_.file().map().bytes();  // aligned to a page, as mappings are
  const Model again = Model::from(gguf::File::from_memory(bytes, "in memory"));
  Session a = ready();
  Session b(again, {.n_ctx = 128, .chunk = 32, .n_threads = 1});
  b.prefill(prompt("The capital of France is"));
  EXPECT_EQ(copied(a.logits()), copied(b.logits()));
}

}  // namespace
}  // namespace gemma::test
