// Stages: a model that is run in consecutive parts gives the same bits as the whole model.
#include "gemma/stage.hpp"

#include <algorithm>
#include <numeric>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "gemma/plan.hpp"
#include "tests/gemma/golden_models.hpp"
#include "tests/gemma/run.hpp"
#include "tests/refusal.hpp"

namespace gemma::test {
namespace {

using Ids = std::vector<std::int32_t>;

/// Stages in one process; each receives a copy of the rows of the preceding stage.
class Chain {
 public:
  Chain(const Model& model, const std::vector<std::size_t>& cuts, StageOptions options) {
    for (std::size_t i = 0; i + 1 < cuts.size(); ++i) {
      options.layer_begin = cuts[i];
      options.layer_end = cuts[i + 1];
      options.n_threads = 1;
      stages_.emplace_back(model, options);
    }
  }
  std::vector<float> forward(const std::vector<StageChunk>& chunks) {
    std::vector<float> rows;
    for (Stage& stage : stages_) {
      EXPECT_EQ(rows.size(), stage.input_size(chunks));
      const std::span<const float> out = stage.forward(chunks, rows);
      EXPECT_EQ(out.size(), stage.output_size(chunks));
      rows.assign(out.begin(), out.end());
    }
    return rows;
  }
  std::vector<Stage>& stages() { return stages_; }

 private:
  std::vector<Stage> stages_;
};

class Stages : public testing::TestWithParam<std::string> {
 protected:
  Model model_ = Model::load(golden_model(GetParam()));
  std::size_t vocab_ = model_.config().vocab_size;

  /// The cuts of the model into 2, 3 and 4 stages by bytes and by work, where possible.
  std::vector<std::vector<std::size_t>> all_cuts() const {
    std::vector<std::vector<std::size_t>> out;
    for (std::size_t n = 1; n <= 4; ++n) {
      for (const SplitBy by : {SplitBy::kPrefill, SplitBy::kDecode}) {
        try {
          out.push_back(split_layers(model_, n, by));
        } catch (const Error& e) {
          EXPECT_EQ(e.code(), ErrorCode::kInvalidArgument);
        }
      }
    }
    std::sort(out.begin(), out.end());
    out.erase(std::unique(out.begin(), out.end()), out.end());
    return out;
  }
};

TEST_P(Stages, LogitsAreThoseOfOneProcess) {
  const Ids ids = random_tokens(70, vocab_, 3);
  const auto truth = logits_in_chunks(model_, ids, 512, 1);
  EXPECT_GE(all_cuts().size(), 2u) << "the model cannot be cut";
  for (const auto& cuts : all_cuts()) {
    for (const std::size_t size : {1, 7, 70}) {
      Chain chain(model_, cuts, {.n_ctx = ids.size(), .chunk = size, .logit_rows = size});
      std::vector<float> got;
      for (std::size_t at = 0; at < ids.size(); at += size) {
        const auto part = std::span(ids).subspan(at, std::min(size, ids.size() - at));
        const auto rows = chain.forward({{0, part, Logits::kAll}});
        got.insert(got.end(), rows.begin(), rows.end());
      }
      EXPECT_EQ(got, truth) << cuts.size() - 1 << " stages, chunks of " << size;
    }
  }
}

TEST_P(Stages, SequencesOfABatchAreReadAndGoOn) {
  std::vector<Ids> prompts;
  for (std::size_t i = 0; i < 4; ++i) prompts.push_back(random_tokens(9 + 17 * i, vocab_, i));
  std::vector<std::vector<float>> truth;
  for (const Ids& ids : prompts) {
    const auto all = logits_in_chunks(model_, ids, 512, 1);
    truth.emplace_back(all.end() - static_cast<std::ptrdiff_t>(3 * vocab_), all.end());
  }
  for (const auto& cuts : all_cuts()) {
    Chain chain(model_, cuts, {.max_sequences = 4, .n_ctx = 60, .chunk = 150, .logit_rows = 4});
    std::vector<std::vector<float>> got(4);
    std::vector<StageChunk> first, rest;
    for (std::size_t i = 0; i < 4; ++i) {  // no logits of the first half are requested
      const std::span<const std::int32_t> ids = prompts[i];
      first.push_back({i, ids.first(ids.size() / 2), Logits::kNone});
      rest.push_back({i, ids.subspan(ids.size() / 2, ids.size() - 2 - ids.size() / 2), Logits::kLast});
    }
    EXPECT_TRUE(chain.forward(first).empty());
    for (std::size_t step = 0; step < 3; ++step) {
      if (step != 0) {
        rest.clear();
        for (std::size_t i = 0; i < 4; ++i) {
          rest.push_back({i, std::span(prompts[i]).subspan(prompts[i].size() - 3 + step, 1), Logits::kLast});
        }
      }
      const auto rows = chain.forward(rest);
      ASSERT_EQ(rows.size(), 4 * vocab_);
      for (std::size_t i = 0; i < 4; ++i) {
        got[i].insert(got[i].end(), rows.begin() + static_cast<std::ptrdiff_t>(i * vocab_),
                      rows.begin() + static_cast<std::ptrdiff_t>((i + 1) * vocab_));
      }
    }
    EXPECT_EQ(got, truth) << cuts.size() - 1 << " stages";
  }
}

TEST_P(Stages, TakeTogetherWhatOneProcessTakes) {
  const StageOptions o{.max_sequences = 3, .n_ctx = 200, .chunk = 32, .n_threads = 1};
  const MemoryPlan whole = plan_stage(model_, o);
  EXPECT_EQ(whole.kv_bytes, 3 * plan_forward(model_, {200, KvType::kF16, 32}, {32, 1, 1}).kv_bytes);
  EXPECT_LT(whole.file_bytes, model_.file().size_bytes());
  for (const auto& cuts : all_cuts()) {
    std::size_t kv = 0, file = 0;
    for (std::size_t i = 0; i + 1 < cuts.size(); ++i) {
      StageOptions part = o;
      part.layer_begin = cuts[i];
      part.layer_end = cuts[i + 1];
      const MemoryPlan plan = plan_stage(model_, part);
      kv += plan.kv_bytes;
      file += plan.file_bytes;
      EXPECT_LE(plan.workspace_bytes, whole.workspace_bytes);
    }
    EXPECT_EQ(kv, whole.kv_bytes);
    EXPECT_EQ(file, whole.file_bytes);
  }
}

INSTANTIATE_TEST_SUITE_P(All, Stages,
                         testing::Values("nano-gemma-mha.F32", "nano-gemma-mqa.F32", "nano-gemma2.F32",
                                         "nano-gemma3.F32", "nano-gemma3n.F32", "nano-gemma4-d.F32",
                                         "nano-gemma4-e.F32", "nano-gemma4-m.F32", "nano-llama3.F32",
                                         "nano-mistral.F32"),
                         [](const auto& param) {
                           std::string name = param.param;
                           std::replace_if(
                               name.begin(), name.end(), [](char c) { return c == '-' || c == '.'; }, '_');
                           return name;
                         });

Model golden(const char* name) {
  return Model::load(golden_model(name));
}

TEST(StageErrors, LayersThatShareKeysAndValuesStayTogether) {
  const Model model = golden("nano-gemma4-e.F32");
  const ModelConfig& c = model.config();
  std::size_t reader = 0;
  while (c.owns_kv(reader)) ++reader;
  const std::size_t owner = c.layers[reader].attention.kv_layer;
  const std::string why =
      "layer " + std::to_string(reader) + " reads the keys and values of layer " + std::to_string(owner);
  EXPECT_NE(cut_problem(c, reader).find(why), std::string::npos) << cut_problem(c, reader);
  EXPECT_EQ(cut_problem(c, owner), std::string());
  EXPECT_EQ(cut_problem(c, c.n_layers()), std::string());
  for (const auto& layers : {std::vector{reader, c.n_layers() - reader}}) {
    expect_error(ErrorCode::kInvalidArgument, {why}, [&] { split_layers(model, layers); });
  }
  expect_error(ErrorCode::kInvalidArgument, {" reads the keys"},
               [&] { split_layers(model, c.n_layers(), SplitBy::kDecode); });
  expect_error(ErrorCode::kInvalidArgument, {why}, [&] { Stage(model, {.layer_begin = reader}); });
  expect_error(ErrorCode::kInvalidArgument, {why}, [&] { Stage(model, {.layer_end = reader}); });
}

TEST(StageErrors, SharesThatAreNotAllLayers) {
  const Model model = golden("nano-gemma3.F32");
  const std::size_t n = model.config().n_layers();
  const std::vector<std::size_t> all{1, n - 1}, few{1, n - 2}, many{2, n - 1}, none{0, n};
  EXPECT_EQ(split_layers(model, all), (std::vector<std::size_t>{0, 1, n}));
  for (const auto& layers : {few, many, none}) {
    expect_error(ErrorCode::kInvalidArgument, {"layers"}, [&] { split_layers(model, layers); });
  }
  for (const std::size_t stages : {std::size_t{0}, n + 1}) {
    expect_error(ErrorCode::kInvalidArgument, {"cannot be divided into"},
                 [&] { split_layers(model, stages, SplitBy::kPrefill); });
  }
  expect_error(ErrorCode::kInvalidArgument, {"the range holds no layers"},
               [&] { Stage(model, {.layer_begin = n}); });
  expect_error(ErrorCode::kInvalidArgument, {"max_sequences is 0"},
               [&] { Stage(model, {.max_sequences = 0}); });
  EXPECT_THROW(Stage(golden("nano-embedding.F32"), {}), Error);
}

TEST(StageErrors, InputThatIsNotOfTheChunks) {
  const Model model = golden("nano-llama3.F32");
  const Ids ids = {1, 2, 3};
  Stage second(model, {.layer_begin = 1, .max_sequences = 2, .n_ctx = 8, .chunk = 4, .n_threads = 1});
  const StageChunk chunk{0, ids, Logits::kLast}, other{2, ids, Logits::kLast};
  std::vector<float> rows(second.input_size({&chunk, 1}) - 1);
  expect_error(ErrorCode::kInvalidArgument, {"hidden rows of"}, [&] { second.forward({&chunk, 1}, rows); });
  rows.resize(rows.size() + 1);
  expect_error(ErrorCode::kInvalidArgument, {"sequence 2"}, [&] { second.forward({&other, 1}, rows); });
  EXPECT_EQ(second.n_past(0), 0u);
  second.forward({&chunk, 1}, rows);
  EXPECT_EQ(second.n_past(0), 3u);
  second.truncate(0, 1);
  EXPECT_EQ(second.n_past(0), 1u);
  EXPECT_THROW(second.truncate(2, 0), Error);
  // a cache of some layers cannot be used for all layers
  KvCache part = model.make_cache({.n_ctx = 8, .layer_begin = 1});
  Workspace ws = model.make_workspace({.max_tokens = 4, .n_threads = 1});
  const Chunk whole{ids, &part, Logits::kLast};
  expect_error(ErrorCode::kInvalidArgument, {"does not keep"}, [&] { model.forward({&whole, 1}, ws); });
}

TEST(ModelWithoutVocabulary, RunsOnIds) {
  const auto path = demo_model();
  const Model with = Model::load(path), without = Model::load(path, {.vocabulary = false});
  EXPECT_TRUE(with.has_tokenizer());
  EXPECT_FALSE(without.has_tokenizer());
  EXPECT_THROW(without.tokenizer(), Error);
  EXPECT_EQ(all_logits(without, {2, 5, 7}), all_logits(with, {2, 5, 7}));
}

TEST(Shares, AreAsEvenAsLayersAllow) {
  const Model model = golden("nano-gemma4-e.F32");
  const ModelConfig& c = model.config();
  // few rows are computed after the last keys and values, so later layers cost a long prompt almost nothing
  const auto prefill = split_layers(model, 2, SplitBy::kPrefill);
  const auto decode = split_layers(model, 2, SplitBy::kDecode);
  EXPECT_LE(prefill[1], decode[1]);
  EXPECT_EQ(prefill.back(), c.n_layers());
  const auto bytes = [&](const std::vector<std::size_t>& cuts) {
    std::size_t most = 0;
    for (std::size_t i = 0; i + 1 < cuts.size(); ++i) {
      most = std::max(most, plan_stage(model, {.layer_begin = cuts[i], .layer_end = cuts[i + 1]}).file_bytes);
    }
    return most;
  };
  for (std::size_t cut = 1; cut < c.n_layers(); ++cut) {
    if (!cut_problem(c, cut).empty()) continue;
    EXPECT_LE(bytes(decode), bytes({0, cut, c.n_layers()})) << cut;
  }
}

}  // namespace
}  // namespace gemma::test
