// Names of the tensors of layers: those that are split, and those that are not.
#include "gguf/layer_name.hpp"

#include <gtest/gtest.h>

namespace gemma::gguf {
namespace {

TEST(LayerName, IsSplitAtItsLayer) {
  const auto name = layer_name("blk.17.attn_v.weight");
  ASSERT_TRUE(name.has_value());
  EXPECT_EQ(name->layer, 17u);
  EXPECT_EQ(name->rest, "attn_v.weight");
  EXPECT_EQ(layer_name("blk.0.")->rest, "");
}

TEST(LayerName, OtherNamesHaveNoLayer) {
  for (const char* name : {"", "blk.", "blk..x", "blk.7", "blk.7x.y", "blk.-1.y", "blk. 1.y", "block.1.y",
                           "token_embd.weight", "blk.99999999999999999999.y"}) {
    EXPECT_FALSE(layer_name(name).has_value()) << name;
  }
}

}  // namespace
}  // namespace gemma::gguf
