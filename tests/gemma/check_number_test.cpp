#include "gemma/check_number.hpp"

#include <gtest/gtest.h>

#include "tests/refusal.hpp"

namespace gemma::test {
namespace {

using detail::check_number;

TEST(CheckNumber, NamesTheNumberAndItsRange) {
  EXPECT_EQ(refusal_of([] { check_number("n_ctx", 9, 1, 8); }),
            "invalid_argument: n_ctx is 9; it must be from 1 to 8");
  EXPECT_EQ(refusal_of([] { check_number("chunk", 0, 1); }),
            "invalid_argument: chunk is 0; it must be at least 1");
  for (const std::size_t value : {1, 5, 8})
    EXPECT_EQ(refusal_of([&] { check_number("n_ctx", value, 1, 8); }), "no error");
}

}  // namespace
}  // namespace gemma::test
