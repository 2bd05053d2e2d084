// Names of kernels, composed by the compiler from the name of a type and what the kernel does with it.
// Invariant: the characters of a name are static.
#pragma once

#include <array>
#include <cstddef>
#include <string_view>

#include "../gguf/dtype.hpp"

namespace gemma::kernels {
namespace detail {

/// A string literal that can be a template argument.
template <std::size_t kSize>
struct Literal {
  consteval Literal(const char (&literal)[kSize]) {  // NOLINT: implicit on purpose
    for (std::size_t i = 0; i < kSize; ++i) text[i] = literal[i];
  }
  char text[kSize];
};

template <DType kType, Literal kSuffix>
struct KernelName {
  static constexpr std::string_view kTypeName = info(kType).name;
  static constexpr std::size_t kSize = kTypeName.size() + sizeof(kSuffix.text) - 1;
  static constexpr std::array<char, kSize> join() {
    std::array<char, kSize> text{};
    for (std::size_t i = 0; i < kTypeName.size(); ++i) {
      const char c = kTypeName[i];
      text[i] = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    }
    for (std::size_t i = kTypeName.size(); i < kSize; ++i) text[i] = kSuffix.text[i - kTypeName.size()];
    return text;
  }
  static constexpr std::array<char, kSize> kText = join();
};

}  // namespace detail

/// The type's name in lower case and the suffix: kKernelName<DType::kQ4_K, " panels"> is "q4_k panels".
template <DType kType, detail::Literal kSuffix>
inline constexpr std::string_view kKernelName{detail::KernelName<kType, kSuffix>::kText.data(),
                                              detail::KernelName<kType, kSuffix>::kSize};

}  // namespace gemma::kernels
