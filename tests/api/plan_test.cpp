// The memory contract: plans equal the memory that is allocated, limits are respected or refused with the
// context that would fit, and exhausted memory is an Error.
#include <algorithm>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "gguf/writer.hpp"
#include "tests/allocations.hpp"
#include "tests/api/models.hpp"

namespace gemma::test {
namespace {

/// Runs `work` repeatedly: its n-th allocation fails, then all from the n-th on fail. n is each of the first
/// hundred numbers, then grows in increasing steps. Returns the number of failures, which must all be
/// reported as Error{kOutOfMemory}.
template <typename F>
std::size_t fail_each(const F& work) {
  std::size_t failures = 0;
  for (const bool all : {false, true}) {
    allocations.failed = true;
    for (std::size_t n = 1; allocations.failed; n += 1 + n / 100) {
      allocations.for_good = all;
      allocations.failed = false;
      allocations.until_failure = n;
      std::optional<ErrorCode> code;
      try {
        work();
        allocations.until_failure = 0;
      } catch (const Error& e) {
        allocations.until_failure = 0;
        code = e.code();
      }
      if (!code) continue;  // `work` has fewer allocations, or the standard library handled the failure
      EXPECT_EQ(*code, ErrorCode::kOutOfMemory);
      ++failures;
    }
  }
  return failures;
}

/// Overload that limits the allocated bytes, and raises the limit until `work` succeeds.
template <typename F>
std::size_t fail_short_of_memory(const F& work) {
  std::size_t failures = 0;
  allocations.failed = true;
  for (std::size_t bytes = 0; allocations.failed; bytes += 16 + bytes / 16) {
    allocations.failed = false;
    allocations.limit = allocations.live + bytes + 1;
    std::optional<ErrorCode> code;
    try {
      work();
      allocations.limit = 0;
    } catch (const Error& e) {
      allocations.limit = 0;
      code = e.code();
    }
    if (!code) continue;
    EXPECT_EQ(*code, ErrorCode::kOutOfMemory);
    ++failures;
  }
  return failures;
}

class Plan : public testing::TestWithParam<std::string> {
 protected:
  Model model_ = Model::load(golden_model(GetParam()));
};

TEST_P(Plan, IsWhatASessionTakes) {
  for (const std::size_t n_ctx : {1, 100, 3000}) {
    for (const std::size_t chunk : {1, 64, 512}) {
      const SessionOptions options{
          .n_ctx = n_ctx, .kv_type = KvType::kF32, .chunk = chunk, .n_threads = 2, .logit_rows = 3};
      const MemoryPlan plan = plan_session(model_, options);
      EXPECT_EQ(plan.n_ctx, n_ctx);
      EXPECT_EQ(plan.file_bytes, model_.file().size_bytes());
      const AllocationMark mark;
      const Session session(model_, options);
      const std::size_t taken = mark.bytes();
      EXPECT_EQ(session.memory_bytes(), plan.kv_bytes + plan.workspace_bytes);
      const std::size_t planned = plan.total_bytes() - plan.file_bytes;
      EXPECT_GE(taken, planned);
      EXPECT_LE(taken, planned + 4096) << "beyond the plan: only the session's own small parts";
    }
  }
}

TEST_P(Plan, OfKeysAndValuesOf8Bits) {
  const auto plan = [&](KvType type) { return plan_session(model_, {.n_ctx = 3000, .kv_type = type}); };
  const MemoryPlan q8 = plan(KvType::kQ8), f16 = plan(KvType::kF16);
  EXPECT_EQ(Session(model_, {.n_ctx = 3000, .kv_type = KvType::kQ8}).memory_bytes(),
            q8.kv_bytes + q8.workspace_bytes);
  // for heads of at least 32 elements; smaller ones have relatively more scales
  if (model_.config().layers[0].attention.head_dim % 32 == 0) {
    EXPECT_EQ(q8.kv_bytes * 64, f16.kv_bytes * 34);
  }
  EXPECT_LT(q8.kv_bytes, f16.kv_bytes);
  EXPECT_EQ(q8.workspace_bytes, f16.workspace_bytes);
}

TEST_P(Plan, IsWhatABatchTakes) {
  for (const std::size_t n : {1, 5}) {
    const BatchOptions options{
        .max_sequences = n, .n_ctx = 200, .chunk = 30, .n_threads = 1, .max_prefixes = 4};
    const MemoryPlan plan = plan_batch(model_, options);
    const AllocationMark mark;
    const Batch batch(model_, options);
    const std::size_t taken = mark.bytes();
    EXPECT_EQ(batch.memory_bytes(), plan.kv_bytes + plan.workspace_bytes);
    const std::size_t planned = plan.total_bytes() - plan.file_bytes;
    EXPECT_GE(taken, planned);
    EXPECT_LE(taken, planned + 1280 * (n + 3)) << "beyond the plan: the names of pages, what slots are";
  }
}

TEST_P(Plan, HoldsWhatGuessesTake) {
  const DraftOptions draft{.source = DraftSource::kLookup, .max_tokens = 5};
  for (const std::size_t n : {1, 5}) {
    BatchOptions options{
        .max_sequences = n, .n_ctx = 200, .chunk = 30, .n_threads = 1, .max_prefixes = 4, .draft = draft};
    const MemoryPlan plan = plan_batch(model_, options);
    options.draft = {};
    const MemoryPlan without = plan_batch(model_, options);
    options.draft = draft;
    EXPECT_GT(plan.draft_bytes, n * 200 * 12);
    EXPECT_GE(plan.workspace_bytes, without.workspace_bytes + 5 * 4 * model_.config().vocab_size);
    const AllocationMark mark;
    const Batch batch(model_, options);
    const std::size_t taken = mark.bytes();
    EXPECT_EQ(batch.memory_bytes(), plan.kv_bytes + plan.workspace_bytes + plan.draft_bytes);
    const std::size_t planned = plan.total_bytes() - plan.file_bytes;
    EXPECT_GE(taken + 20 * 200 * 4, planned);
    EXPECT_LE(taken, planned + 1280 * (n + 3)) << "beyond the plan: the names of pages, what slots are";
  }
  EXPECT_THROW(plan_session(model_, {.draft = {.source = DraftSource::kLookup, .max_tokens = 0}}), Error);
  EXPECT_THROW(Session(model_, {.draft = {.source = DraftSource::kLookup, .max_tokens = 65}}), Error);
  EXPECT_THROW(Session(model_, {.draft = {.source = DraftSource::kCustom}}), Error);
}

TEST_P(Plan, AllocatesNothingItself) {
  const SessionOptions huge{.n_ctx = std::size_t{1} << 31, .chunk = 1 << 20, .n_threads = 1};
  const AllocationMark mark;
  EXPECT_GT(plan_session(model_, huge).kv_bytes, std::size_t{1} << 31);
  EXPECT_LE(mark.bytes(), 1024u) << "but the list of layers";
}

TEST_P(Plan, ACapIsRefusedWithTheLargestContextThatFits) {
  SessionOptions options{.n_ctx = 4000, .chunk = 64, .n_threads = 1};
  const MemoryPlan whole = plan_session(model_, options);
  options.max_memory = whole.total_bytes();
  EXPECT_EQ(plan_session(model_, options).n_ctx, 4000u);
  options.max_memory = whole.total_bytes() - 1;
  std::size_t fits = 0;
  try {
    const Session session(model_, options);
    FAIL() << "more than the cap was taken";
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::kOutOfMemory);
    const std::string message(e.message());
    const std::string before_number = "the largest that fits is ";
    ASSERT_NE(message.find(before_number), message.npos) << message;
    fits = std::stoul(message.substr(message.find(before_number) + before_number.size()));
  }
  const std::size_t cap = options.max_memory;
  options.max_memory = 0;
  options.n_ctx = fits;
  EXPECT_LE(plan_session(model_, options).total_bytes(), cap);
  options.n_ctx = fits + 1;
  EXPECT_GT(plan_session(model_, options).total_bytes(), cap);
}

TEST_P(Plan, ACapChoosesTheContextThatWasNotAskedFor) {
  const SessionOptions any{.chunk = 64, .n_threads = 1};
  const MemoryPlan whole = plan_session(model_, any);
  SessionOptions capped = any;
  capped.max_memory = whole.file_bytes + whole.workspace_bytes + whole.kv_bytes / 2;
  const Session session(model_, capped);
  EXPECT_LT(session.n_ctx(), whole.n_ctx);
  EXPECT_LE(session.memory_bytes() + whole.file_bytes, capped.max_memory);
  capped.max_memory = whole.file_bytes;
  EXPECT_THROW(
      {
        try {
          Session none(model_, capped);
        } catch (const Error& e) {
          EXPECT_NE(std::string(e.message()).find("not even one token fits"), std::string::npos);
          throw;
        }
      },
      Error);
}

TEST_P(Plan, RefusesNumbersThatWouldOverflow) {
  const std::size_t most = static_cast<std::size_t>(-1);
  EXPECT_THROW(plan_session(model_, {.n_ctx = most}), Error);
  EXPECT_THROW(plan_session(model_, {.chunk = most}), Error);
  EXPECT_THROW(plan_session(model_, {.logit_rows = 0}), Error);
  EXPECT_THROW(plan_session(model_, {.n_threads = 100000}), Error);
  EXPECT_THROW(plan_batch(model_, {.max_sequences = most}), Error);
}

/// Each allocation of making a session, a batch and a snapshot fails once; computing allocates nothing.
TEST_P(Plan, AFailedAllocationIsAnError) {
  const SessionOptions options{.n_ctx = 100, .chunk = 8, .n_threads = 1};
  const std::vector<std::int32_t> prompt = random_tokens(model_, 20, 1);
  Session(model_, options).prefill(prompt);  // OpenMP's runtime allocates its memory at its first use
  EXPECT_GT(fail_each([&] { const Session s(model_, options); }), 15u);
  SessionOptions guesses = options;
  guesses.draft.source = DraftSource::kLookup;
  EXPECT_GT(fail_each([&] { const Session guessing(model_, guesses); }), 18u);
  EXPECT_GT(fail_each([&] { const Batch b(model_, {.max_sequences = 2, .n_ctx = 50, .n_threads = 1}); }),
            15u);
  Session s(model_, options);
  EXPECT_EQ(fail_each([&] { s.prefill(prompt); }), 0u) << "computing allocates nothing";
  EXPECT_GT(fail_each([&] { const Snapshot copy = s.snapshot(); }), 2u);
}

INSTANTIATE_TEST_SUITE_P(Models, Plan, testing::Values("nano-gemma3.F32", "tiny-llama3.Q4_K_M"),
                         [](const auto& param) {
                           std::string name = param.param;
                           for (char& c : name) c = std::isalnum(static_cast<unsigned char>(c)) ? c : '_';
                           return name;
                         });

TEST(Load, AFailedAllocationIsAnError) {
  const std::string path = golden_model("nano-gemma-mha.F32");
  EXPECT_GT(fail_each([&] {
              const std::size_t n = allocations.until_failure.exchange(0);
              std::string copy = path;  // allocated by the caller, not by load()
              allocations.until_failure = n;
              const Model model = Model::load(std::move(copy));
            }),
            100u);
}

TEST(Writer, AFailedAllocationIsAnErrorAndLeavesAValidFile) {
  const std::vector<std::byte> data(64);
  const std::vector<float> numbers(20, 1.0f);
  EXPECT_GT(fail_each([&] {
              gguf::Writer writer;
              const auto check = [&writer](std::size_t n_pairs, std::size_t n_tensors) {
                const std::size_t n = allocations.until_failure.exchange(0);
                const std::vector<std::byte> bytes = writer.bytes();
                const gguf::File file = gguf::File::from_memory(bytes, "written");
                EXPECT_EQ(file.metadata().size(), n_pairs);
                EXPECT_EQ(file.tensors().size(), n_tensors);
                allocations.until_failure = n;
              };
              std::size_t n_pairs = 0;
              std::size_t n_tensors = 0;
              try {
                writer.add("a key with a long name", std::uint32_t{1});
                ++n_pairs;
                writer.add("a text with a long name", "a text that is longer than a few bytes");
                ++n_pairs;
                writer.add_array("an array with a long name", numbers);
                ++n_pairs;
                writer.add_tensor("a tensor with a long name", DType::kF32, {4, 4}, data);
                ++n_tensors;
                writer.add_tensor("another one with a long name", DType::kF32, {4, 4}, data);
                ++n_tensors;
                writer.bytes();
              } catch (const Error&) {
                check(n_pairs, n_tensors);
                throw;
              }
            }),
            20u);
}

/// Allocations after a model has been loaded: for texts, and for growing answers.
class Growing : public testing::TestWithParam<std::string> {
 protected:
  Model model_ = Model::load(demo_model(GetParam()));
  const std::string text_ = "Where is the red ball? It is \xF0\x9F\x98\x80 \xFF in the garden.";
  const std::vector<Message> chat_ = {{"user", text_}};
  const std::vector<std::int32_t> ids_ = model_.encode_chat(chat_);  // creates the tables for encoding
  const GenerateOptions options_{.max_tokens = 30,
                                 .stop_strings = {"no answer holds this"},
                                 .ignore_end = true,
                                 .log_probabilities = true};
};

TEST_P(Growing, AFailedAllocationOfATextIsAnError) {
  const Tokenizer& t = model_.tokenizer();
  const std::vector<std::int32_t> ids = t.encode(text_);
  const std::string text = t.decode(ids);
  std::vector<std::int32_t> got_ids;
  std::string got;
  // no allocation within sentencepiece may fail: a shortage is detected before
  if (t.vocab().kind() != TokenizerKind::kSentencePiece) {
    EXPECT_GT(fail_each([&] { got_ids = t.encode(text_); }), 5u);
  }
  EXPECT_GT(fail_short_of_memory([&] { got_ids = t.encode(text_); }), 5u);
  EXPECT_EQ(got_ids, ids);
  EXPECT_GT(fail_short_of_memory([&] { got_ids = model_.encode_chat(chat_); }), 10u);
  EXPECT_EQ(got_ids, ids_);
  const std::string word(5000, 'x');
  EXPECT_GT(fail_short_of_memory([&] { t.encode(word); }), 5u);
  EXPECT_GT(fail_each([&] { got = t.decode(ids); }), 1u);
  EXPECT_EQ(got, text);
  const std::vector<std::int32_t> no_ids = {-1};
  EXPECT_GT(fail_each([&] {
              try {
                t.decode(no_ids);
              } catch (const Error& e) {
                if (e.code() != ErrorCode::kInvalidArgument) throw;
              }
            }),
            1u)
      << "the message of another error takes memory too";
}

TEST_P(Growing, TooLittleMemoryForTheFirstEncodingIsAnErrorAndTheNextEncodes) {
  const std::vector<std::int32_t> ids = model_.tokenizer().encode(text_);
  const Model fresh = Model::load(demo_model(GetParam()));
  std::vector<std::int32_t> got;
  EXPECT_GT(fail_short_of_memory([&] { got = fresh.tokenizer().encode(text_); }), 5u);
  EXPECT_EQ(got, ids);
}

TEST_P(Growing, AFailedAllocationOfAnAnswerIsAnErrorAndKeepsTheSequence) {
  Session s(model_, {.n_ctx = 300, .chunk = 64, .n_threads = 1});
  s.prefill(ids_);
  Sampler first({.temperature = 1});
  const GenerateResult whole = s.generate(first, options_);
  GenerateResult got;
  EXPECT_GT(fail_each([&] {
              s.truncate(ids_.size() - 1);
              s.append(std::span(ids_).last(1));
              Sampler sampler({.temperature = 1});
              got = s.generate(sampler, options_);
            }),
            20u);
  EXPECT_EQ(got.text, whole.text);
  EXPECT_EQ(got.tokens, whole.tokens);
  // a generation that fails halfway: the tokens in the sequence are the beginning of the whole answer
  s.truncate(ids_.size() - 1);
  s.append(std::span(ids_).last(1));
  Sampler sampler({.temperature = 1});
  TokenStream stream = s.stream(sampler, options_);
  for (int i = 0; i < 10; ++i) ASSERT_NE(stream.next(), nullptr);
  allocations.for_good = true;
  allocations.until_failure = 1;
  std::optional<ErrorCode> code;
  try {
    while (stream.next() != nullptr) {
    }
    allocations.until_failure = 0;
  } catch (const Error& e) {
    allocations.until_failure = 0;
    code = e.code();
  }
  EXPECT_EQ(code, ErrorCode::kOutOfMemory);
  EXPECT_EQ(stream.next(), nullptr) << "it has ended";
  ASSERT_LE(s.n_past(), ids_.size() + whole.tokens.size());
  const auto answered = s.tokens().subspan(ids_.size());
  EXPECT_TRUE(std::equal(answered.begin(), answered.end(), whole.tokens.begin()));
  ASSERT_TRUE(whole.text.starts_with(stream.result().text));
}

TEST_P(Growing, AFailedAllocationOfOneAnswerOfABatchLeavesTheOthersWhole) {
  const auto run = [&] {
    Batch batch(model_, {.max_sequences = 3, .n_ctx = 300, .chunk = 64, .n_threads = 1});
    std::vector<Batch::Id> ids;
    for (std::uint64_t i = 0; i < 3; ++i) {
      ids.push_back(batch.add(ids_, Sampler({.temperature = 1, .seed = i}), options_));
    }
    return std::pair(std::move(batch), std::move(ids));
  };
  auto [alone, alone_ids] = run();
  alone.run();
  std::vector<GenerateResult> whole;
  for (const auto id : alone_ids) whole.push_back(alone.take(id));
  std::size_t n_broken = 0;
  allocations.failed = true;
  for (std::size_t n = 1; allocations.failed; n += 1 + n / 10) {
    auto [batch, ids] = run();
    allocations.for_good = false;
    allocations.failed = false;
    allocations.until_failure = n;
    std::size_t errors = 0;
    for (bool running = true; running;) {
      try {
        running = batch.step();
      } catch (const Error& e) {
        EXPECT_EQ(e.code(), ErrorCode::kOutOfMemory);
        ++errors;
      }
    }
    allocations.until_failure = 0;
    std::size_t broken = 0;
    for (std::size_t i = 0; i < 3; ++i) {
      const GenerateResult result = batch.take(ids[i]);
      broken += result.reason == StopReason::kCallback ? 1 : 0;
      if (result.reason == StopReason::kCallback) continue;
      EXPECT_EQ(result.tokens, whole[i].tokens);
      EXPECT_EQ(result.text, whole[i].text);
    }
    EXPECT_EQ(broken, errors);
    n_broken += broken;
  }
  EXPECT_GT(n_broken, 10u);
}

INSTANTIATE_TEST_SUITE_P(Families, Growing, testing::Values("gemma", "llama", "mistral"),
                         [](const auto& param) { return param.param; });

}  // namespace
}  // namespace gemma::test
