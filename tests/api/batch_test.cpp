// Sequences that join and leave a batch generate the same tokens as alone, to the bit.
#include <map>
#include <stdexcept>
#include <thread>

#include <gtest/gtest.h>

#include "tests/api/models.hpp"

namespace gemma::test {
namespace {

struct Task {
  std::vector<std::int32_t> prompt;
  std::uint64_t seed;
  std::size_t max_tokens;
};

GenerateResult alone(const Model& model, const Task& task, std::size_t n_ctx) {
  Session s(model, {.n_ctx = n_ctx, .chunk = 16, .n_threads = 1});
  s.prefill(task.prompt);
  Sampler sampler({.temperature = 0.9f, .seed = task.seed});
  return s.generate(sampler, {.max_tokens = task.max_tokens, .ignore_end = true, .log_probabilities = true});
}

class Batches : public testing::TestWithParam<std::tuple<std::string, std::size_t, unsigned>> {};

TEST_P(Batches, SayWhatEachWouldSayAlone) {
  const auto& [name, chunk, threads] = GetParam();
  const Model model = Model::load(golden_model(name));
  constexpr std::size_t kContext = 80;
  std::vector<Task> tasks;
  for (std::size_t i = 0; i < 9; ++i) {
    tasks.push_back({random_tokens(model, 1 + i * 9 % 60, i), i, 1 + i * 7 % 25});
  }
  Batch batch(model, {.max_sequences = 3, .n_ctx = kContext, .chunk = chunk, .n_threads = threads});
  std::map<Batch::Id, std::size_t> task_of;
  std::map<std::size_t, GenerateResult> results;
  std::size_t next = 0;
  std::size_t steps = 0;
  while (results.size() < tasks.size()) {
    // a sequence joins at every other step, as slots become free
    if (next < tasks.size() && batch.n_sequences() < batch.max_sequences() && steps % 2 == 0) {
      const Task& t = tasks[next];
      const auto id = batch.add(t.prompt, Sampler({.temperature = 0.9f, .seed = t.seed}),
                                {.max_tokens = t.max_tokens, .ignore_end = true, .log_probabilities = true});
      task_of[id] = next++;
    }
    batch.step();
    ++steps;
    ASSERT_LT(steps, 1000u);
    for (auto it = task_of.begin(); it != task_of.end();) {
      if (!batch.ended(it->first)) {
        ++it;
        continue;
      }
      results[it->second] = batch.take(it->first);
      it = task_of.erase(it);
    }
  }
  EXPECT_EQ(batch.n_sequences(), 0u);
  for (std::size_t i = 0; i < tasks.size(); ++i) {
    const GenerateResult truth = alone(model, tasks[i], kContext);
    EXPECT_EQ(results[i].tokens, truth.tokens) << "task " << i;
    EXPECT_EQ(results[i].text, truth.text);
    EXPECT_EQ(results[i].log_probabilities, truth.log_probabilities);
    EXPECT_EQ(results[i].reason, truth.reason);
  }
}

INSTANTIATE_TEST_SUITE_P(All, Batches,
                         testing::Combine(testing::Values("nano-gemma3.F32", "tiny-llama3.Q4_K_M"),
                                          testing::Values(std::size_t{4}, std::size_t{64}),
                                          testing::Values(1u, 2u)),
                         [](const auto& param) {
                           std::string name = std::get<0>(param.param) + "_chunk" +
                                              std::to_string(std::get<1>(param.param)) + "_threads" +
                                              std::to_string(std::get<2>(param.param));
                           for (char& c : name) c = std::isalnum(static_cast<unsigned char>(c)) ? c : '_';
                           return name;
                         });

class BatchApi : public testing::Test {
 protected:
  Model model_ = Model::load(golden_model("nano-llama3.F32"));
  Batch batch_{model_, {.max_sequences = 2, .n_ctx = 32, .chunk = 8, .n_threads = 1}};
  std::vector<std::int32_t> prompt_ = random_tokens(model_, 5, 1);
};

TEST_F(BatchApi, RefusesWhatDoesNotFit) {
  EXPECT_THROW(batch_.add({}, Sampler()), Error);
  EXPECT_THROW(batch_.add(random_tokens(model_, 33, 1), Sampler()), Error);
  EXPECT_THROW(batch_.add(std::vector<std::int32_t>{-1}, Sampler()), Error);
  batch_.add(prompt_, Sampler());
  batch_.add(prompt_, Sampler());
  EXPECT_THROW(batch_.add(prompt_, Sampler()), Error);
  EXPECT_THROW(batch_.take(77), Error);
  EXPECT_THROW(Batch(model_, {.max_sequences = 0}), Error);
}

TEST_F(BatchApi, NothingToDoIsNoStep) {
  EXPECT_FALSE(batch_.step());
  const auto id = batch_.add(prompt_, Sampler(), {.max_tokens = 0});
  EXPECT_TRUE(batch_.ended(id));
  EXPECT_FALSE(batch_.step());
  EXPECT_EQ(batch_.take(id).reason, StopReason::kMaxTokens);
}

TEST_F(BatchApi, OneLeavesInTheMiddle) {
  const auto a = batch_.add(prompt_, Sampler(), {.max_tokens = 20, .ignore_end = true});
  const auto b = batch_.add(prompt_, Sampler(), {.max_tokens = 20, .ignore_end = true});
  for (int i = 0; i < 6; ++i) batch_.step();
  const auto left = batch_.take(a);
  EXPECT_EQ(left.reason, StopReason::kCancelled);
  batch_.run();
  const auto stayed = batch_.take(b);
  EXPECT_EQ(stayed.tokens.size(), 20u);
  ASSERT_LT(left.tokens.size(), 20u);
  EXPECT_EQ(left.tokens,
            std::vector(stayed.tokens.begin(),
                        stayed.tokens.begin() + static_cast<std::ptrdiff_t>(left.tokens.size())));
}

TEST_F(BatchApi, AThrowingCallbackEndsItsOwnSequenceOnly) {
  GenerateOptions throws{.max_tokens = 10, .ignore_end = true};
  throws.on_token = [](const GeneratedToken&) -> bool { throw std::runtime_error("mine"); };
  const auto a = batch_.add(prompt_, Sampler(), throws);
  const auto b = batch_.add(prompt_, Sampler(), {.max_tokens = 10, .ignore_end = true});
  int thrown = 0;
  for (bool more = true; more;) {
    try {
      more = batch_.step();
    } catch (const std::runtime_error& e) {
      EXPECT_STREQ(e.what(), "mine");
      ++thrown;
    }
  }
  EXPECT_EQ(thrown, 1);
  EXPECT_EQ(batch_.take(a).reason, StopReason::kCallback);
  Session s(model_, {.n_ctx = 32, .n_threads = 1});
  s.prefill(prompt_);
  Sampler greedy;
  EXPECT_EQ(batch_.take(b).tokens, s.generate(greedy, {.max_tokens = 10, .ignore_end = true}).tokens);
}

TEST_F(BatchApi, CancelLeavesEverythingAsItWas) {
  const auto id = batch_.add(prompt_, Sampler(), {.max_tokens = 10, .ignore_end = true});
  batch_.step();
  batch_.step();
  const auto before = batch_.result(id).tokens;
  std::atomic<bool> cancel{false};
  std::thread([&cancel] { cancel = true; }).join();
  EXPECT_THROW(batch_.step(&cancel), Error);
  EXPECT_EQ(batch_.result(id).tokens, before);
  batch_.run();
  EXPECT_EQ(batch_.take(id).tokens.size(), 10u);
}

TEST_F(BatchApi, FullContextEndsASequence) {
  const auto id = batch_.add(prompt_, Sampler(), {.max_tokens = 100, .ignore_end = true});
  batch_.run();
  const auto result = batch_.take(id);
  EXPECT_EQ(result.reason, StopReason::kContextFull);
  EXPECT_EQ(result.tokens.size(), 32u - prompt_.size() + 1);
}

}  // namespace
}  // namespace gemma::test
