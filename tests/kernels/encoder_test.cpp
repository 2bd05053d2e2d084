// Encoders of all types that can be written: equal bytes from every unit, errors no larger than llama.cpp's
// on the same rows, importances, and unusual rows.
#include "kernels/encoder.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <numeric>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "gguf/blocks.hpp"
#include "kernels/kernel_table.hpp"

namespace gemma::kernels {
namespace {

constexpr std::size_t kCols = 1024, kRows = 16;

/// Random numbers that are the same with every compiler and C library: sums of twelve uniform numbers, which
/// are nearly normal, and, for heavy tails, these plus their cubes.
struct Numbers {
  std::uint64_t state = 12345;
  double uniform() {
    state = state * 6364136223846793005u + 1442695040888963407u;
    return static_cast<double>(state >> 11) * 0x1p-53;
  }
  double normal() {
    double sum = -6;
    for (int i = 0; i < 12; ++i) sum += uniform();
    return sum;
  }
};

std::vector<float> rows_of(double tails) {
  Numbers numbers;
  std::vector<float> x(kRows * kCols);
  for (float& v : x) {
    const double z = numbers.normal();
    v = static_cast<float>(0.02 * (z + tails * z * z * z));
  }
  return x;
}
std::vector<float> importances() {
  Numbers numbers{99};
  std::vector<float> w(kCols);
  for (float& v : w) {
    const double z = numbers.normal();
    v = static_cast<float>(z * z * z * z + 0.01);
  }
  return w;
}

std::vector<DType> written_types() {
  std::vector<DType> types;
  for (const DType type : kAllDTypes)
    if (can_encode(type)) types.push_back(type);
  return types;
}
std::vector<std::byte> encode(DType type, const std::vector<float>& x, const float* w,
                              const Encoder& encoder = best_encoder(), std::size_t cols = kCols) {
  std::vector<std::byte> out(row_bytes(type, x.size()) + 1, std::byte{0x5A});
  for (std::size_t r = 0; r < x.size() / cols; ++r)
    encoder.find(type)(x.data() + r * cols, w, cols, out.data() + r * row_bytes(type, cols));
  EXPECT_EQ(out.back(), std::byte{0x5A}) << "wrote past the end";
  out.pop_back();
  return out;
}
std::vector<float> decode(DType type, const std::vector<std::byte>& blocks, std::size_t n) {
  std::vector<float> y(n);
  find_table("scalar")->dequantize[static_cast<std::size_t>(type)](blocks.data(), n, y.data());
  return y;
}
/// sqrt(sum w (x - y)^2 / sum w x^2)
double error_of(const std::vector<float>& x, const std::vector<float>& y, const float* w) {
  double e = 0, s = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double wi = w == nullptr ? 1.0 : static_cast<double>(w[i % kCols]);
    const double xi = static_cast<double>(x[i]), d = xi - static_cast<double>(y[i]);
    e += wi * d * d;
    s += wi * xi * xi;
  }
  return std::sqrt(e / s);
}
double encoding_error(DType type, const std::vector<float>& x, const float* used, const float* measured) {
  return error_of(x, decode(type, encode(type, x, used), x.size()), measured);
}

/// The errors of llama.cpp (ggml_quantize_chunk of its version 0.5.0) on the same rows, in percent: normal
/// rows and rows with heavy tails, plain and weighted. Ours must not be larger.
struct Theirs {
  DType type;
  double normal, normal_weighted, tails, tails_weighted;
};
constexpr Theirs kTheirs[] = {
    {DType::kQ4_0, 8.5394, 6.3123, 11.3897, 9.1148},    {DType::kQ4_1, 7.7420, 4.6761, 9.3924, 5.8459},
    {DType::kQ5_0, 4.2431, 3.2095, 5.6957, 4.6451},     {DType::kQ5_1, 3.7427, 2.3162, 4.4732, 2.8866},
    {DType::kQ8_0, 0.5282, 0.5190, 0.7192, 0.7251},     {DType::kQ2_K, 29.1393, 16.3441, 34.1026, 19.0520},
    {DType::kQ3_K, 14.9389, 10.4950, 18.6106, 13.6147}, {DType::kQ4_K, 7.0357, 4.8129, 8.6630, 6.1157},
    {DType::kQ5_K, 3.5667, 2.6097, 4.3716, 3.3727},     {DType::kQ6_K, 1.7642, 1.3098, 2.2641, 1.7953},
    {DType::kIQ4_NL, 7.5266, 5.5957, 9.1713, 7.0231},   {DType::kIQ4_XS, 7.5859, 5.6929, 9.2363, 7.1742},
};

TEST(Encoder, ErrorsAreNoLargerThanLlamaCpps) {
  const std::vector<float> w = importances();
  const std::vector<float> normal = rows_of(0), tails = rows_of(0.15);
  for (const Theirs& t : kTheirs) {
    SCOPED_TRACE(std::string(info(t.type).name));
    EXPECT_LE(100 * encoding_error(t.type, normal, nullptr, nullptr), t.normal);
    EXPECT_LE(100 * encoding_error(t.type, normal, w.data(), w.data()), t.normal_weighted);
    EXPECT_LE(100 * encoding_error(t.type, tails, nullptr, nullptr), t.tails);
    EXPECT_LE(100 * encoding_error(t.type, tails, w.data(), w.data()), t.tails_weighted);
  }
}

TEST(Encoder, TheIssuesTypesAreWritten) {
  std::string names;
  for (const DType type : written_types()) names += std::string(info(type).name) + " ";
  EXPECT_EQ(names, "F32 F16 Q4_0 Q4_1 Q5_0 Q5_1 Q8_0 Q2_K Q3_K Q4_K Q5_K Q6_K IQ4_NL IQ4_XS BF16 ");
  EXPECT_FALSE(can_encode(DType::kIQ2_XXS));
  EXPECT_FALSE(can_encode(DType::kUnsupported));
}

TEST(Encoder, UnitsGiveTheSameBytes) {
  const std::vector<float> x = rows_of(0.15), w = importances();
  for (const DType type : written_types()) {
    for (const float* importance : {static_cast<const float*>(nullptr), w.data()})
      EXPECT_EQ(encode(type, x, importance, best_encoder()), encode(type, x, importance, portable_encoder()))
          << info(type).name;
  }
}

TEST(Encoder, BytesAreTheSameOnEveryMachine) {
  const std::vector<float> x = rows_of(0.15), w = importances();
  std::uint64_t hash = 0xCBF29CE484222325u;  // FNV-1a of all types' bytes
  for (const DType type : written_types())
    for (const std::byte b : encode(type, x, w.data()))
      hash = (hash ^ static_cast<std::uint64_t>(b)) * 0x100000001B3u;
  EXPECT_EQ(hash, 11557226923157639865u);
}

TEST(Encoder, AGridOfFewerLevelsIsFoundAgain) {
  // sub-blocks without the highest code: codes that are one higher, with a lower offset, give the same
  // numbers, but that offset is not a multiple of the block's
  std::vector<std::byte> blocks = encode(DType::kQ4_K, rows_of(0), nullptr);
  for (std::size_t at = 0; at < blocks.size(); at += sizeof(BlockQ4_K)) {
    for (std::size_t i = offsetof(BlockQ4_K, qs); i < sizeof(BlockQ4_K); ++i) {
      const auto byte = std::to_integer<unsigned>(blocks[at + i]);
      blocks[at + i] = static_cast<std::byte>(std::min(byte & 15u, 14u) | std::min(byte >> 4, 14u) << 4);
    }
  }
  const std::vector<float> x = decode(DType::kQ4_K, blocks, kRows * kCols), w = importances();
  EXPECT_LT(encoding_error(DType::kQ4_K, x, nullptr, nullptr), 5e-3);
  EXPECT_LT(encoding_error(DType::kQ4_K, x, w.data(), w.data()), 5e-3);
}

TEST(Encoder, AConstantIsAddedAsTheScaleIsStored) {
  // a scale that is not a float16: the mean effect of its rounding is compensated by the minimum
  std::vector<float> x(kRows * kCols);
  for (std::size_t i = 0; i < x.size(); ++i)
    x[i] = (0.01f + 1.234e-5f * static_cast<float>(i / 32)) * (static_cast<float>(i % 16) - 7.3f);
  EXPECT_LT(encoding_error(DType::kQ4_1, x, nullptr, nullptr), 4e-4);
}

TEST(Encoder, ARowMayBeSplit) {
  const std::vector<float> x = rows_of(0);
  for (const DType type : written_types())
    EXPECT_EQ(encode(type, x, nullptr), encode(type, x, nullptr, best_encoder(), 256)) << info(type).name;
}

TEST(Encoder, ImportancesThatAreAlikeOrNoneArePlain) {
  const std::vector<float> x = rows_of(0), zeros(kCols, 0.0f), halves(kCols, 0.5f);
  for (const DType type : written_types()) {
    const auto plain = encode(type, x, nullptr);
    EXPECT_EQ(encode(type, x, zeros.data()), plain) << info(type).name;
    EXPECT_NEAR(encoding_error(type, x, halves.data(), nullptr), encoding_error(type, x, nullptr, nullptr),
                1e-4)
        << info(type).name;
  }
}

TEST(Encoder, ImportancesLessenTheWeightedError) {
  const std::vector<float> x = rows_of(0), w = importances();
  for (const DType type : written_types()) {
    if (info(type).block_elements == 1) continue;
    EXPECT_LT(encoding_error(type, x, w.data(), w.data()), encoding_error(type, x, nullptr, w.data()))
        << info(type).name;
  }
}

TEST(Encoder, SimpleRowsAreExact) {
  for (const DType type : written_types()) {
    SCOPED_TRACE(std::string(info(type).name));
    const std::vector<float> zeros(256, 0.0f);
    EXPECT_EQ(decode(type, encode(type, zeros, nullptr, best_encoder(), 256), 256), zeros);
    std::vector<float> signs(256);  // two values, which every grid contains
    for (std::size_t i = 0; i < 256; ++i) signs[i] = i % 3 == 0 ? -0.5f : 0.5f;
    const auto y = decode(type, encode(type, signs, nullptr, best_encoder(), 256), 256);
    for (std::size_t i = 0; i < 256; ++i) ASSERT_NEAR(y[i], signs[i], 0.03f) << i;
    for (const float constant : {1.0f, -1.0f}) {
      const std::vector<float> same(256, constant);
      for (const float v : decode(type, encode(type, same, nullptr, best_encoder(), 256), 256))
        ASSERT_NEAR(v, constant, 0.005f);
    }
  }
}

TEST(Encoder, ExtremeRowsStayBounded) {
  constexpr float kInf = std::numeric_limits<float>::infinity();
  for (const DType type : written_types()) {
    SCOPED_TRACE(std::string(info(type).name));
    for (const float scale : {1e-38f, 1e-8f, 1e3f, 1e30f, 3e38f}) {
      std::vector<float> x = rows_of(0);
      for (float& v : x) v *= scale;
      encode(type, x, nullptr);
    }
    std::vector<float> x(256, 1.0f);
    for (const float bad : {kInf, -kInf, std::numeric_limits<float>::quiet_NaN()}) {
      x[17] = bad;
      encode(type, x, nullptr, best_encoder(), 256);
    }
    std::vector<float> one(256, 0.0f);  // a single weight, in a block of zeros
    one[100] = 0.25f;
    EXPECT_NEAR(decode(type, encode(type, one, nullptr, best_encoder(), 256), 256)[100], 0.25f, 0.001f);
  }
}

}  // namespace
}  // namespace gemma::kernels
