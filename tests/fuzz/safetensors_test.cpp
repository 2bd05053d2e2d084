// A safetensors file that is truncated anywhere, or whose header contradicts its data: an error that names
// the file, and no read outside the file. safetensors_fuzz.cpp tests random inputs.
#include "examples/convert/safetensors.hpp"

#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

#include "gguf/error.hpp"

namespace gemma::convert {
namespace {

constexpr std::size_t kNumberBytes = 8;

/// A file whose header is said to have `length` bytes.
std::vector<std::byte> file_of(std::string_view header, std::size_t n_data, std::uint64_t length) {
  std::vector<std::byte> bytes;
  for (std::size_t i = 0; i < kNumberBytes; ++i) bytes.push_back(static_cast<std::byte>(length >> (8 * i)));
  for (const char c : header) bytes.push_back(static_cast<std::byte>(c));
  bytes.resize(bytes.size() + n_data);
  return bytes;
}

/// The message of the error for a file; "" if it opens. Reads a copy of exactly that size, so that sanitizers
/// detect reads beyond it.
std::string refusal(const std::vector<std::byte>& bytes) {
  try {
    const Safetensors checkpoint = Safetensors::from_memory(bytes, "cut.safetensors");
    unsigned sum = 0;
    for (const auto& [name, t] : checkpoint.tensors())
      for (const std::byte b : t.data) sum += static_cast<unsigned>(b);
    EXPECT_EQ(sum, 0u);
    return "";
  } catch (const Error& e) {
    EXPECT_TRUE(e.code() == ErrorCode::kTruncated || e.code() == ErrorCode::kMalformed);
    EXPECT_EQ(std::string_view(e.message()).find("cut.safetensors: "), 0u) << e.message();
    return std::string(e.message());
  }
}

const std::string kHeader =
    R"({"a.weight":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},)"
    R"("b.weight":{"dtype":"BF16","shape":[4],"data_offsets":[24,32]},"__metadata__":{"format":"pt"}})";

TEST(SafetensorsFile, CutAnywhereIsAnError) {
  const auto whole = file_of(kHeader, 32, kHeader.size());
  ASSERT_EQ(refusal(whole), "");
  for (std::size_t n = 0; n < whole.size(); ++n) {
    const std::vector<std::byte> cut(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(n));
    ASSERT_NE(refusal(cut), "") << n;
  }
}

TEST(SafetensorsFile, AHeaderCutAtAnyByteIsAnError) {
  for (std::size_t n = 0; n < kHeader.size(); ++n) {
    ASSERT_NE(refusal(file_of(kHeader.substr(0, n), 32, n)), "") << n;  // the length is n
    ASSERT_NE(refusal(file_of(kHeader, 32, n)), "") << n;               // the rest counts as data
  }
}

TEST(SafetensorsFile, ALengthThatLiesIsAnError) {
  for (const std::uint64_t length : {kHeader.size() + 33, std::size_t{100'000'001}, std::size_t{1} << 32,
                                     std::size_t{1} << 63, ~std::size_t{0}})
    EXPECT_NE(refusal(file_of(kHeader, 32, length)), "") << length;
}

/// Two tensors of F32 in 24 bytes of data.
std::string two(const std::string& a, const std::string& b, const char* shape_a = "[2]",
                const char* shape_b = "[2]") {
  const std::string header = std::string(R"({"a":{"dtype":"F32","shape":)") + shape_a +
                             R"(,"data_offsets":)" + a + R"(},"b":{"dtype":"F32","shape":)" + shape_b +
                             R"(,"data_offsets":)" + b + "}}";
  return refusal(file_of(header, 24, header.size()));
}

TEST(SafetensorsFile, HostileOffsetsAreErrors) {
  ASSERT_EQ(two("[0,8]", "[8,16]"), "");
  ASSERT_EQ(two("[16,24]", "[0,8]"), "");  // in any order, with a gap
  for (const char* offsets :
       {"[8,0]", "[0,7]", "[0,9]", "[17,25]", "[24,32]", "[-8,0]", "[0.0,8.0]", "[0,8,16]", "[0]", "[]", "8",
        "null", R"(["0","8"])", "[18446744073709551608,0]", "[18446744073709551608,18446744073709551615]",
        "[9223372036854775808,9223372036854775816]", "[18446744073709551616,18446744073709551624]",
        "[0,18446744073709551615]", "[1e3,1008]"})
    EXPECT_NE(two(offsets, "[8,16]"), "") << offsets;
  for (const char* shape : {"[2,9223372036854775809]", "[4294967296,4294967296]", "[-2]", "[2.0]", "2",
                            "[18446744073709551615]", "[9223372036854775807,2,0]"})
    EXPECT_NE(two("[0,8]", "[8,16]", shape), "") << shape;
}

TEST(SafetensorsFile, OverlapsAreErrors) {
  for (const auto& [a, b] :
       {std::pair{"[0,8]", "[0,8]"}, std::pair{"[0,8]", "[7,15]"}, std::pair{"[8,16]", "[1,9]"}})
    EXPECT_NE(two(a, b).find("overlap"), std::string::npos) << a << b;
  EXPECT_NE(two("[0,24]", "[8,16]", "[6]").find("overlap"), std::string::npos);  // one within the other
  EXPECT_EQ(two("[0,24]", "[8,8]", "[6]", "[0]"), "");                           // a tensor of 0 bytes
}

}  // namespace
}  // namespace gemma::convert
