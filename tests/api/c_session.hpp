// A fixture for tests of the C interface: a session on a model with a vocabulary.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "gemma/c_api.h"
#include "tests/api/models.hpp"

namespace gemma::test {

class CSession : public testing::Test {
 public:
  ~CSession() override {
    gemma_session_free(session_);
    gemma_model_free(model_);
    gemma_error_free(error_);
  }

 protected:
  /// The message of the last error, which must have this code; clears the error.
  std::string why(int code) {
    EXPECT_NE(error_, nullptr);
    EXPECT_EQ(gemma_error_get_code(error_), code) << gemma_error_get_message(error_);
    std::string message = gemma_error_get_message(error_);
    gemma_error_free(error_);
    error_ = nullptr;
    return message;
  }
  std::vector<std::int32_t> chat_ids(std::span<const gemma_message> turns) {
    std::size_t n = 0;
    EXPECT_EQ(gemma_encode_chat(model_, turns.data(), turns.size(), nullptr, 0, &n, &error_), 0);
    std::vector<std::int32_t> ids(n);
    EXPECT_EQ(gemma_encode_chat(model_, turns.data(), turns.size(), ids.data(), n, &n, &error_), 0);
    return ids;
  }

  gemma_error* error_ = nullptr;
  gemma_model* model_ = gemma_model_load(demo_model().c_str(), nullptr, &error_);
  gemma_session* session_ = gemma_session_new(model_, nullptr, &error_);
};

}  // namespace gemma::test
