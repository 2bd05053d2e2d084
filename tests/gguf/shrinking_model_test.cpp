// A model whose file is truncated while it is loaded: the next forward pass is refused before it reads
// weights.
#include <algorithm>
#include <filesystem>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "gemma/session.hpp"
#include "tests/paths.hpp"
#include "tests/refusal.hpp"
#include "tests/temporary_folder.hpp"

namespace gemma {
namespace {

TEST(ShrinkingModel, IsNoticedByTheNextForward) {
  const test::TemporaryFolder folder;
  const std::string path = folder.path("model.gguf");
  std::filesystem::copy_file(test::demo_model("mistral"), path);
  const Model model = Model::load(path);
  Session session(model, {.n_ctx = 8, .n_threads = 1});
  const std::int32_t tokens[] = {1, 300, 301};
  session.append(std::span(tokens).first(2));
  const std::vector<float> logits(session.logits().begin(), session.logits().end());
  // by one byte only: the page stays mapped, so that the test fails without SIGBUS if the check is missing
  std::filesystem::resize_file(path, std::filesystem::file_size(path) - 1);
  gemma::test::expect_error(ErrorCode::kIo, {"was truncated to"},
                            [&] { session.append(std::span(tokens).last(1)); });
  EXPECT_EQ(session.n_past(), 2u);
  EXPECT_TRUE(std::equal(logits.begin(), logits.end(), session.logits().begin(), session.logits().end()));
}

}  // namespace
}  // namespace gemma
