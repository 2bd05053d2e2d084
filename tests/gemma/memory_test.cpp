// Memory: plans to the byte, no allocation in a decode step, and no growth however long it runs.
//   gemma_memory_tests --gtest_filter='Growth.*' --cycles=10000 --seconds=1440
// is the long form of the Growth tests: the number of times that a model is opened, run and closed, and the
// duration of a generation.
#include <algorithm>
#include <cctype>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <ostream>
#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>
#include <unistd.h>

#include "gemma/batch.hpp"
#include "gemma/session.hpp"
#include "tests/allocations.hpp"
#include "tests/gemma/golden_models.hpp"
#include "tests/gemma/model_file.hpp"

namespace gemma::test {
namespace {

int cycles = 100;      // --cycles=N
double seconds = 0.3;  // --seconds=S

Model golden(const std::string& name) {
  return Model::load(golden_model(name));
}

class Memory : public testing::TestWithParam<const char*> {
 protected:
  Model model_ = golden(GetParam());
  std::size_t vocab_ = model_.config().vocab_size;
};

TEST_P(Memory, PlansAreWhatIsAllocatedToTheByte) {
  for (const KvCacheOptions& o :
       {KvCacheOptions{1, KvType::kF16, 1}, KvCacheOptions{300, KvType::kF32, 20},
        KvCacheOptions{5000, KvType::kF16, 512}, KvCacheOptions{200, KvType::kQ8, 64}}) {
    const std::size_t planned = plan_forward(model_, o, {.max_tokens = 1}).kv_bytes;
    const AllocationMark mark;
    const KvCache cache = model_.make_cache(o);
    EXPECT_EQ(cache.size_bytes(), planned);
    // in addition to keys and values: lists and counters of pages, descriptions of layers
    std::size_t n_pages = 0;
    for (const KvLayout::Group& g : cache.layout().groups)
      n_pages += g.most_pages + KvLayout::pages_for(o.n_ctx);
    EXPECT_GE(mark.bytes(), planned);
    EXPECT_LE(mark.bytes(), planned + 8 * n_pages + 1024 + 256 * model_.config().n_layers());
  }
  for (const WorkspaceOptions& o : {WorkspaceOptions{1, 1, 1}, WorkspaceOptions{512, 1, 2},
                                    WorkspaceOptions{33, 33, 3}, WorkspaceOptions{7, 0, 1}}) {
    const std::size_t planned = plan_forward(model_, {.n_ctx = 1}, o).workspace_bytes;
    const AllocationMark mark;
    const Workspace ws = model_.make_workspace(o);
    EXPECT_EQ(ws.size_bytes(), planned);
    EXPECT_EQ(mark.bytes(), planned);
  }
}

/// The projection of per-layer inputs is laid out like any other matrix, whatever its type and width.
TEST_P(Memory, TheWidestInputThatIsLaidOutHasRoom) {
  Weights weights;
  weights.output = model_.weights().output;
  const kernels::MatmulKernel& kernel = model_.kernels().matmul_for(DType::kQ8_0);
  if (!kernel.wants_layout(1u << 16, 64)) GTEST_SKIP() << "nothing is laid out";
  weights.per_layer_proj = {weights.output.data, DType::kQ8_0, 32, 1u << 16, (1u << 16) / 32 * 34, &kernel};
  const detail::WorkspaceSizes sizes(model_.config(), weights, model_.kernels(), {.max_tokens = 64});
  EXPECT_GE(sizes.laid_out, kernel.layout_bytes(1u << 16, 64));
}

TEST_P(Memory, ForwardAllocatesNothing) {
  for (const unsigned threads : {1u, 2u}) {
    std::vector<KvCache> caches;
    for (int i = 0; i < 3; ++i) caches.push_back(model_.make_cache({.n_ctx = 100}));
    Workspace ws = model_.make_workspace({.max_tokens = 64, .max_logit_rows = 64, .n_threads = threads});
    const auto ids = random_tokens(20, vocab_, 1);
    const Chunk first[] = {{ids, &caches[0], Logits::kAll}};
    model_.forward(first, ws);  // the OpenMP runtime creates its threads once
    const AllocationMark mark;
    const Chunk prompt[] = {{ids, &caches[1], Logits::kLast}, {ids, &caches[2], Logits::kNone}};
    model_.forward(prompt, ws);
    for (const std::int32_t& id : ids) {
      const Chunk step[] = {{{&id, 1}, &caches[0], Logits::kLast}};
      model_.forward(step, ws);
      const Chunk batch[] = {{{&id, 1}, &caches[1], Logits::kLast}, {{&id, 1}, &caches[2], Logits::kLast}};
      model_.forward(batch, ws);
    }
    EXPECT_EQ(mark.calls(), 0u) << threads << " threads";
  }
}

/// Also tests sampling with all options, after the first row of logits.
TEST_P(Memory, ADecodeStepAllocatesNothing) {
  for (const SamplerOptions& o :
       {SamplerOptions{}, SamplerOptions{.temperature = 0.8f},
        SamplerOptions{.temperature = 0.7f, .top_k = 20, .top_p = 0.9f, .min_p = 0.01f, .seed = 3},
        SamplerOptions{.temperature = 1.0f, .repeat_penalty = 1.2f, .repeat_last = 8}}) {
    Session session(model_, {.n_ctx = 100, .chunk = 32, .n_threads = 1});
    session.prefill(random_tokens(20, vocab_, 2));
    Sampler sampler(o);
    sampler.sample(session.logits());
    const AllocationMark mark;
    for (int i = 0; i < 60; ++i) {
      const std::int32_t id = sampler.sample(session.logits());
      session.append({&id, 1});
    }
    EXPECT_EQ(mark.calls(), 0u);
  }
}

/// A whole generation allocates only its answer: a list of ids and a text, which double when they grow.
TEST_P(Memory, GenerationAllocatesItsAnswerOnly) {
  Session session(model_, {.n_ctx = 300, .chunk = 32, .n_threads = 1});
  Sampler sampler({.temperature = 0.8f, .seed = 1});
  auto calls = [&](std::size_t n_tokens) {
    session.prefill(random_tokens(20, vocab_, 2));
    sampler.sample(session.logits());
    const AllocationMark mark;
    const GenerateResult r = session.generate(sampler, {.max_tokens = n_tokens, .ignore_end = true});
    EXPECT_EQ(r.tokens.size(), n_tokens);
    return mark.calls();
  };
  const std::size_t few = calls(32);
  const std::size_t many = calls(256);
  std::printf("%s: %zu allocations for 32 tokens, %zu for 256\n", GetParam(), few, many);
  EXPECT_LE(many, few + 8) << "three doublings each of ids and text, and one for luck";
}

/// A batch allocates only its answers as well: taking and releasing pages, sharing prompts, and keeping and
/// dropping prefixes allocate nothing.
TEST_P(Memory, ABatchAllocatesItsAnswersOnly) {
  auto calls = [&](std::size_t n_tokens) {
    Batch batch(model_, {.max_sequences = 3, .n_ctx = 320, .chunk = 32, .n_threads = 2, .max_prefixes = 2});
    const auto prompt = random_tokens(40, vocab_, 2);
    std::size_t sum = 0;
    for (int round = 0; round < 3; ++round) {
      std::vector<Batch::Id> ids;
      for (std::size_t i = 0; i < 3; ++i) {
        const auto own = std::span(prompt).first(40 - i);
        ids.push_back(batch.add(own, argmax, {.max_tokens = n_tokens, .ignore_end = true}));
      }
      const AllocationMark mark;
      batch.run();
      sum += mark.calls();
      for (const Batch::Id id : ids) EXPECT_EQ(batch.take(id).tokens.size(), n_tokens);
    }
    return sum;
  };
  const std::size_t few = calls(32);
  const std::size_t many = calls(256);
  EXPECT_LE(many, few + 9 * 8) << "three doublings each of ids and text of nine answers, and some for luck";
}

/// Guesses allocate nothing, right or wrong, in a session or a batch. (The likeliest tokens of these models
/// repeat.)
TEST_P(Memory, GuessingAllocatesNothing) {
  const DraftOptions draft{.source = DraftSource::kLookup};
  std::size_t n_drafted = 0;
  auto calls = [&](std::size_t n_tokens) {
    Session session(model_, {.n_ctx = 300, .chunk = 32, .n_threads = 1, .draft = draft});
    Batch batch(model_, {.max_sequences = 2, .n_ctx = 300, .chunk = 32, .n_threads = 1, .draft = draft});
    const auto prompt = random_tokens(30, vocab_, 2);
    const GenerateOptions options{.max_tokens = n_tokens, .ignore_end = true};
    session.set_tokens(prompt);
    for (int i = 0; i < 2; ++i) batch.add(std::span(prompt).first(20), argmax, options);
    const AllocationMark mark;
    const GenerateResult r = session.generate(argmax, options);
    batch.run();
    EXPECT_EQ(r.tokens.size(), n_tokens);
    n_drafted += r.n_drafted + batch.stats().n_drafted;
    return mark.calls();
  };
  const std::size_t few = calls(32);
  const std::size_t many = calls(256);
  EXPECT_LE(many, few + 3 * 8) << "three doublings each of ids and text of three answers, and some for luck";
  EXPECT_GT(n_drafted, 0u);
}

/// Truncating, and another prompt with the same cache, allocate nothing either.
TEST_P(Memory, ASessionNeverGrows) {
  Session session(model_, {.n_ctx = 100, .chunk = 32, .n_threads = 1});
  const auto a = random_tokens(90, vocab_, 3);
  const auto b = random_tokens(70, vocab_, 4);
  session.prefill(a);
  const AllocationMark mark;
  for (int i = 0; i < 3; ++i) {
    session.prefill(b);
    session.truncate(70);
    session.reset();
    session.prefill(a);
  }
  EXPECT_EQ(mark.calls(), 0u);
}

TEST_P(Memory, LoadingCopiesNoWeights) {
  const AllocationMark mark;
  const Model again = golden(GetParam());
  const std::size_t loading = mark.bytes();
  // norms are copied, and tables of tensors and pieces created; matrices stay in the file
  std::size_t norms = 0;
  std::size_t matrices = 0;
  for (const auto& tensor : again.file().tensors())
    (tensor.rows == 1 ? norms : matrices) += tensor.data.size();
  // views, names and table entries: 780 bytes per tensor and 64 per piece were measured
  const std::size_t tables = 832 * again.file().tensors().size() + 72 * again.config().vocab_size;
  std::printf("%s: matrices of %zu bytes; loading allocates %zu, may %zu\n", GetParam(), matrices, loading,
              norms + tables);
  EXPECT_LT(loading, norms + tables);
  EXPECT_LT(norms + tables, matrices / 5) << "so tight that a copy shows";
}

INSTANTIATE_TEST_SUITE_P(Models, Memory,
                         testing::Values("nano-gemma3.F32", "tiny-gemma-mha.Q4_K_M", "tiny-gemma2.Q4_K_M",
                                         "tiny-llama3.Q4_K_M", "nano-gemma3n.F32", "nano-gemma4-e.F32",
                                         "tiny-gemma4-m.Q4_K_M"),
                         [](const auto& param) {
                           std::string name = param.param;
                           for (char& c : name) {
                             if (std::isalnum(static_cast<unsigned char>(c)) == 0) c = '_';
                           }
                           return name;
                         });

// ---- growth -----------------------------------------------------------------------------------------------

/// The memory and descriptors that this process holds.
struct Held {
  std::size_t blocks = allocations.blocks;
  std::size_t descriptors = count("/proc/self/fd");
  std::size_t threads = count("/proc/self/task");
  std::size_t mappings = lines("/proc/self/maps");
  std::size_t resident = resident_bytes();

 private:
  static std::size_t count(const char* folder) {
    return static_cast<std::size_t>(
        std::distance(std::filesystem::directory_iterator(folder), std::filesystem::directory_iterator()));
  }
  static std::size_t lines(const char* file) {
    std::ifstream in(file);
    return static_cast<std::size_t>(
        std::count(std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>(), '\n'));
  }
  static std::size_t resident_bytes() {
    std::ifstream in("/proc/self/statm");
    std::size_t size = 0;
    std::size_t resident = 0;
    in >> size >> resident;
    return resident * static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  }
};
std::ostream& operator<<(std::ostream& out, const Held& h) {
  return out << h.blocks << " blocks, " << h.descriptors << " descriptors, " << h.threads << " threads, "
             << h.mappings << " mappings, " << h.resident / 1024 << " KiB resident";
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kSanitized = true;  // freed blocks are kept for a while, shadow memory grows
#elif defined(__has_feature)
constexpr bool kSanitized = __has_feature(address_sanitizer) || __has_feature(thread_sanitizer);
#else
constexpr bool kSanitized = false;
#endif

/// Expects no more than before; resident memory may vary by some pages of the allocator.
void expect_no_growth(const Held& before, const Held& after) {
  std::cout << "before: " << before << "\nafter:  " << after << '\n';
  EXPECT_EQ(after.blocks, before.blocks);
  EXPECT_EQ(after.descriptors, before.descriptors);
  EXPECT_EQ(after.threads, before.threads);
  if (kSanitized) return;
  EXPECT_LE(after.mappings, before.mappings + 4);
  EXPECT_LE(after.resident, before.resident + (2u << 20));
}

/// Opens a model, generates an answer and closes it; also opens a file that a late check refuses.
void open_and_close(const std::vector<std::byte>& bad) {
  const Model model = golden("nano-llama3.F32");
  Session session(model, {.n_ctx = 64, .n_threads = 1});
  session.prefill(model.tokenizer().encode("Open, answer, close."));
  Sampler greedy;
  session.generate(greedy, {.max_tokens = 2});
  EXPECT_THROW(Model::from(gguf::File::from_memory(bad, "bad.gguf")), Error);
}

TEST(Growth, OpenAndClose) {
  ModelFile file = make_model({});
  file.erase_tensor("output_norm.weight");
  const std::vector<std::byte> bad = file.bytes();
  for (int i = 0; i < 20; ++i) open_and_close(bad);  // until memory has reached a steady state
  const Held before;
  for (int i = 0; i < cycles; ++i) open_and_close(bad);
  const Held after;
  std::cout << cycles << " cycles\n";
  expect_no_growth(before, after);
}

TEST(Growth, Generation) {
  const Model model = Model::load(demo_model());
  Session session(model, {.n_ctx = 256, .n_threads = 2});
  const auto prompt = model.tokenizer().encode("Question: How long does it run?\nAnswer:");
  Sampler sampler({.temperature = 1.0f, .top_p = 0.95f, .seed = 1});
  std::size_t tokens = 0;
  auto fill_the_context = [&] {
    session.prefill(prompt);
    const GenerateResult r = session.generate(sampler, {.max_tokens = 1000, .ignore_end = true});
    EXPECT_EQ(r.reason, StopReason::kContextFull);
    tokens += r.tokens.size();
  };
  fill_the_context();
  const Held before;
  const auto begin = std::chrono::steady_clock::now();
  do {
    fill_the_context();
  } while (std::chrono::steady_clock::now() - begin < std::chrono::duration<double>(seconds));
  const Held after;
  std::cout << tokens << " tokens\n";
  expect_no_growth(before, after);
}

}  // namespace

/// Reads --cycles=N and --seconds=S from the command line.
void read_flags(int argc, char** argv) {
  for (int i = 1; i < argc; ++i) {
    const std::string flag = argv[i];
    if (flag.starts_with("--cycles=")) cycles = std::stoi(flag.substr(9));
    if (flag.starts_with("--seconds=")) seconds = std::stod(flag.substr(10));
  }
}

}  // namespace gemma::test

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  gemma::test::read_flags(argc, argv);
  return RUN_ALL_TESTS();
}
