// Checks the errors of calls that must fail.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "gguf/error.hpp"

namespace gemma::test {

/// The Error that `call` throws, if it throws one; its message must be one line.
template <typename F>
std::optional<Error> error_of(F&& call) {
  try {
    std::forward<F>(call)();
  } catch (const Error& e) {
    EXPECT_EQ(e.message().find('\n'), std::string_view::npos) << e.message();
    return e;
  }
  return std::nullopt;
}

/// "CODE: message", or "no error" where `call` throws none.
template <typename F>
std::string refusal_of(F&& call) {
  const auto e = error_of(std::forward<F>(call));
  return e ? std::string(e->code().name()) + ": " + e->what() : "no error";
}

/// The code of the Error that `call` must throw.
template <typename F>
ErrorCode code_of(F&& call) {
  const auto e = error_of(std::forward<F>(call));
  EXPECT_TRUE(e) << "nothing was thrown";
  return e ? e->code() : ErrorCode{0, "no error"};
}

/// `call` must throw an Error with this code and a message that has every text of `says` in it.
template <typename F>
void expect_error(ErrorCode code, const std::vector<std::string>& says, F&& call) {
  const auto e = error_of(std::forward<F>(call));
  ASSERT_TRUE(e) << "no error; expected " << code.name();
  EXPECT_EQ(e->code().name(), code.name()) << e->message();
  for (const std::string& part : says)
    EXPECT_NE(e->message().find(part), std::string_view::npos) << e->message() << " does not say " << part;
}

}  // namespace gemma::test
