// The memory contract: what was planned is what is taken, a cap is kept or refused with what would fit, and
// memory that runs out is an Error.
#include <atomic>
#include <cstdlib>
#include <new>
#include <string>

#include <gtest/gtest.h>

#include "tests/api/models.hpp"

// Counts bytes of every allocation of this program, and fails the n-th one on demand.
namespace {
std::atomic<std::size_t> allocated = 0;
std::atomic<std::size_t> until_failure = 0;  // 0: never
void* take(std::size_t size, std::size_t alignment) noexcept {
  if (until_failure != 0 && --until_failure == 0) return nullptr;
  allocated += size;
  size = size == 0 ? 1 : size;
  if (alignment <= alignof(std::max_align_t)) return std::malloc(size);
  return std::aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
}
void* take_or_throw(std::size_t size, std::size_t alignment) {
  if (void* p = take(size, alignment)) return p;
  throw std::bad_alloc();
}
}  // namespace
void* operator new(std::size_t n) {
  return take_or_throw(n, 1);
}
void* operator new[](std::size_t n) {
  return take_or_throw(n, 1);
}
void* operator new(std::size_t n, const std::nothrow_t&) noexcept {
  return take(n, 1);
}
void* operator new[](std::size_t n, const std::nothrow_t&) noexcept {
  return take(n, 1);
}
void* operator new(std::size_t n, std::align_val_t a) {
  return take_or_throw(n, static_cast<std::size_t>(a));
}
void* operator new(std::size_t n, std::align_val_t a, const std::nothrow_t&) noexcept {
  return take(n, static_cast<std::size_t>(a));
}
void operator delete(void* p) noexcept {
  std::free(p);
}
void operator delete[](void* p) noexcept {
  std::free(p);
}
void operator delete(void* p, std::size_t) noexcept {
  std::free(p);
}
void operator delete[](void* p, std::size_t) noexcept {
  std::free(p);
}
void operator delete(void* p, std::align_val_t) noexcept {
  std::free(p);
}
void operator delete(void* p, std::size_t, std::align_val_t) noexcept {
  std::free(p);
}
void operator delete(void* p, std::align_val_t, const std::nothrow_t&) noexcept {
  std::free(p);
}
void operator delete(void* p, const std::nothrow_t&) noexcept {
  std::free(p);
}

namespace gemma::test {
namespace {

class Plan : public testing::TestWithParam<std::string> {
 protected:
  Model model_ = Model::load(golden_model(GetParam()));
};

TEST_P(Plan, IsWhatASessionTakes) {
  for (const std::size_t n_ctx : {1, 100, 3000}) {
    for (const std::size_t chunk : {1, 64, 512}) {
      const SessionOptions options{
          .n_ctx = n_ctx, .kv_type = KvType::kF32, .chunk = chunk, .n_threads = 2, .logit_rows = 3};
      const MemoryPlan plan = model_.plan(options);
      EXPECT_EQ(plan.n_ctx, n_ctx);
      EXPECT_EQ(plan.file_bytes, model_.file().size_bytes());
      const std::size_t before = allocated;
      const Session session(model_, options);
      const std::size_t taken = allocated - before;
      EXPECT_EQ(session.memory_bytes(), plan.kv_bytes + plan.workspace_bytes);
      const std::size_t planned = plan.total_bytes() - plan.file_bytes;
      EXPECT_GE(taken, planned);
      EXPECT_LE(taken, planned + 1024) << "beyond the plan: only the session's own small parts";
    }
  }
}

TEST_P(Plan, IsWhatABatchTakes) {
  for (const std::size_t n : {1, 5}) {
    const BatchOptions options{.max_sequences = n, .n_ctx = 200, .chunk = 30, .n_threads = 1};
    const MemoryPlan plan = model_.plan_batch(options);
    const std::size_t before = allocated;
    const Batch batch(model_, options);
    const std::size_t taken = allocated - before;
    EXPECT_EQ(batch.memory_bytes(), plan.kv_bytes + plan.workspace_bytes);
    const std::size_t planned = plan.total_bytes() - plan.file_bytes;
    EXPECT_GE(taken, planned);
    EXPECT_LE(taken, planned + 1024 * (n + 1));
  }
}

TEST_P(Plan, AllocatesNothingItself) {
  const SessionOptions huge{.n_ctx = std::size_t{1} << 31, .chunk = 1 << 20, .n_threads = 1};
  const std::size_t before = allocated;
  EXPECT_GT(model_.plan(huge).kv_bytes, std::size_t{1} << 31);
  EXPECT_EQ(allocated, before);
}

TEST_P(Plan, ACapIsRefusedWithTheLargestContextThatFits) {
  SessionOptions options{.n_ctx = 4000, .chunk = 64, .n_threads = 1};
  const MemoryPlan whole = model_.plan(options);
  options.max_memory = whole.total_bytes();
  EXPECT_EQ(model_.plan(options).n_ctx, 4000u);
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
  EXPECT_LE(model_.plan(options).total_bytes(), cap);
  options.n_ctx = fits + 1;
  EXPECT_GT(model_.plan(options).total_bytes(), cap);
}

TEST_P(Plan, ACapChoosesTheContextThatWasNotAskedFor) {
  const SessionOptions any{.chunk = 64, .n_threads = 1};
  const MemoryPlan whole = model_.plan(any);
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
  EXPECT_THROW(model_.plan({.n_ctx = most}), Error);
  EXPECT_THROW(model_.plan({.chunk = most}), Error);
  EXPECT_THROW(model_.plan({.logit_rows = 0}), Error);
  EXPECT_THROW(model_.plan({.n_threads = 100000}), Error);
  EXPECT_THROW(model_.plan_batch({.max_sequences = most}), Error);
}

/// Every allocation of loading, making and running fails once: an Error each time, or success where the
/// standard library does without.
TEST_P(Plan, AFailedAllocationIsAnError) {
  const SessionOptions options{.n_ctx = 100, .chunk = 8, .n_threads = 1};
  const std::vector<std::int32_t> prompt = random_tokens(model_, 20, 1);
  Session(model_, options).prefill(prompt);  // OpenMP's runtime takes what it needs at its first call
  const auto fail_each = [](const auto& work) {
    std::size_t failures = 0;
    for (std::size_t n = 1;; ++n) {
      until_failure = n;
      bool finished = false;
      try {
        work();
        finished = until_failure != 0;  // never reached the n-th
      } catch (const Error& e) {
        EXPECT_EQ(e.code(), ErrorCode::kOutOfMemory);
        ++failures;
      }
      until_failure = 0;
      if (finished) return failures;
    }
  };
  EXPECT_GT(fail_each([&] { const Session s(model_, options); }), 15u);
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
  std::size_t failures = 0;
  // the first hundred one by one, then ever fewer: a vocabulary takes thousands
  for (std::size_t n = 1;; n += 1 + n / 100) {
    std::string copy = path;  // the caller's own memory
    until_failure = n;
    bool finished = false;
    try {
      const Model model = Model::load(std::move(copy));
      finished = until_failure != 0;
    } catch (const Error& e) {
      EXPECT_EQ(e.code(), ErrorCode::kOutOfMemory) << e.message();
      ++failures;
    }
    until_failure = 0;
    if (finished) break;
  }
  EXPECT_GT(failures, 50u);
}

}  // namespace
}  // namespace gemma::test
