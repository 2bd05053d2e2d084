// Attention on every instruction set of this machine: compared with the scalar reference, and law 1 by bits:
// the result of a query does not depend on the other tokens and heads of its call, on the addresses of pages,
// or on the content of slots that it does not see.
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <ostream>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "kernels/kernel_table.hpp"
#include "kernels/reference.hpp"
#include "tests/kernels/each_table.hpp"
#include "tests/nmse.hpp"

namespace gemma::kernels {
namespace {

using test::nmse;

struct Shape {
  std::size_t n_tokens, n_heads, head_dim, pos0;
  std::size_t window = 0;
  float softcap = 0.0f;
  KvType type = KvType::kF16;
  float spread = 1.0f;    // of the queries
  std::size_t ahead = 0;  // positions that a token sees after its own
  std::size_t after = 0;  // positions after the tokens
};

std::ostream& operator<<(std::ostream& out, const Shape& s) {
  return out << s.n_tokens << " tokens, " << s.n_heads << " heads of " << s.head_dim << " at " << s.pos0
             << ", window " << s.window << ", softcap " << s.softcap << ", " << kv_type_info(s.type).name
             << ", spread " << s.spread << ", ahead " << s.ahead << " of " << s.after;
}

/// Positions whose keys and values the call may read.
struct Span {
  std::size_t begin, end;
};
Span seen_positions(const Shape& s) {
  const std::size_t first_end = s.pos0 + 1;
  const std::size_t last_end = s.pos0 + s.n_tokens;
  return {s.window > 0 && first_end > s.window ? first_end - s.window : 0,
          last_end + std::min(s.ahead, s.after)};
}
/// The number of positions of a shape.
std::size_t positions_of(const Shape& s) {
  return s.pos0 + s.n_tokens + s.after;
}

/// Normal floats that depend on `what` and `position` only.
std::vector<float> normal(std::size_t n, unsigned what, std::size_t position, float spread = 1.0f) {
  std::mt19937 random(what * 1'000'003u + static_cast<unsigned>(position));
  std::normal_distribution<float> distribution(0.0f, spread);
  std::vector<float> x(n);
  for (float& v : x) v = distribution(random);
  return x;
}

/// Keys and values of one head, in pages at unordered addresses; all other bytes are `filler`. If `sparse`,
/// pages without visible positions are null.
class Cache {
 public:
  Cache(const Shape& s, std::size_t positions, unsigned char filler, bool sparse = false) : shape_(s) {
    const std::size_t n_pages = positions / kKeyBlock;
    page_bytes_ = 2 * head_bytes() + 3 * element();  // aligned for elements, but not for vectors
    data_.assign(n_pages * page_bytes_ + element(), filler);
    const Span seen = seen_positions(s);
    for (std::size_t i = 0; i < n_pages; ++i) {
      order_.push_back((i * 7 + 3) % n_pages);
      if (n_pages % 7 == 0) order_.back() = n_pages - 1 - i;
      skip_.push_back(sparse && (i < seen.begin / kKeyBlock || i * kKeyBlock >= seen.end));
    }
    for (std::size_t p = seen.begin; p < seen.end; ++p)
      put(p, normal(s.head_dim, 1, p), normal(s.head_dim, 2, p));
  }
  void put(std::size_t p, const std::vector<float>& key, const std::vector<float>& value) {
    std::byte* const page = reinterpret_cast<std::byte*>(data_.data()) + order_[p / kKeyBlock] * page_bytes_;
    reference::store_key(key.data(), shape_.head_dim, shape_.type, page + k_offset(), p % kKeyBlock);
    reference::store_value(value.data(), shape_.head_dim, shape_.type, page + v_offset(), p % kKeyBlock);
  }
  /// The alignment of keys and values: the size of an element or of a scale.
  std::size_t element() const { return shape_.type == KvType::kF32 ? 4 : 2; }
  std::size_t head_bytes() const {
    return kKeyBlock * kv_type_info(shape_.type).vector_bytes(shape_.head_dim);
  }
  std::size_t k_offset() const { return element(); }
  std::size_t v_offset() const { return head_bytes() + 2 * element(); }
  std::vector<const std::byte*> pages() const {
    std::vector<const std::byte*> out;
    for (std::size_t i = 0; i < order_.size(); ++i) {
      out.push_back(skip_[i] ? nullptr
                             : reinterpret_cast<const std::byte*>(data_.data() + order_[i] * page_bytes_));
    }
    return out;
  }

 private:
  Shape shape_;
  std::size_t page_bytes_;
  std::vector<unsigned char> data_;
  std::vector<std::size_t> order_;
  std::vector<bool> skip_;
};

std::size_t blocks_for(std::size_t positions) {
  return (positions + kKeyBlock - 1) / kKeyBlock * kKeyBlock;
}

/// Queries of all tokens, [n_tokens, n_heads, head_dim], with a separate seed for each head.
std::vector<float> queries(const Shape& s) {
  std::vector<float> q;
  for (std::size_t t = 0; t < s.n_tokens; ++t) {
    for (std::size_t h = 0; h < s.n_heads; ++h) {
      const std::vector<float> one = normal(s.head_dim, 3 + static_cast<unsigned>(h), s.pos0 + t, s.spread);
      q.insert(q.end(), one.begin(), one.end());
    }
  }
  return q;
}

/// Computes tokens [t, t + n_tokens) and heads [h, h + n_heads) of the shape's call, into the `out` of the
/// whole call.
void run(const VectorKernels& vec, const Shape& s, const Cache& cache, const std::vector<float>& q,
         std::size_t t, std::size_t n_tokens, std::size_t h, std::size_t n_heads, std::vector<float>& out) {
  const std::size_t bytes = vec.attention_scratch_bytes(n_tokens, n_heads, s.head_dim);
  std::vector<std::byte> scratch(bytes + 128, std::byte{0xFF});  // NaN: nothing may rely on cleared scratch
  const std::size_t pad = 64 - reinterpret_cast<std::uintptr_t>(scratch.data()) % 64;
  AttentionArgs a;
  a.q = q.data() + (t * s.n_heads + h) * s.head_dim;
  a.out = out.data() + (t * s.n_heads + h) * s.head_dim;
  a.q_stride = a.out_stride = s.n_heads * s.head_dim;
  a.n_tokens = n_tokens;
  a.n_heads = n_heads;
  a.head_dim = s.head_dim;
  const std::vector<const std::byte*> pages = cache.pages();
  a.pages = pages.data();
  a.k_offset = cache.k_offset();
  a.v_offset = cache.v_offset();
  a.type = s.type;
  a.pos0 = s.pos0 + t;
  a.window = s.window;
  a.ahead = s.ahead;
  if (s.ahead != 0) a.limit = positions_of(s);
  a.scale = 1.0f / std::sqrt(static_cast<float>(s.head_dim));
  a.softcap = s.softcap;
  a.scratch = scratch.data() + pad;
  vec.attention(a);
  for (std::size_t i = pad + bytes; i < scratch.size(); ++i)
    ASSERT_EQ(scratch[i], std::byte{0xFF}) << "past scratch";
}

std::vector<float> run_all(const VectorKernels& vec, const Shape& s, const Cache& cache) {
  const std::vector<float> q = queries(s);
  std::vector<float> out(q.size() + 1, -77.25f);
  run(vec, s, cache, q, 0, s.n_tokens, 0, s.n_heads, out);
  EXPECT_EQ(out.back(), -77.25f) << "wrote past the output";
  out.pop_back();
  return out;
}

void expect_same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  ASSERT_EQ(a.size(), b.size());
  for (std::size_t i = 0; i < a.size(); ++i)
    ASSERT_EQ(std::bit_cast<std::uint32_t>(a[i]), std::bit_cast<std::uint32_t>(b[i])) << "element " << i;
}

const Shape kShapes[] = {
    {1, 1, 64, 0},
    {1, 1, 256, 63},
    {1, 8, 256, 64},
    {1, 4, 128, 200},
    {1, 16, 256, 130, 0, 0.0f, KvType::kF32},
    {2, 3, 80, 62},
    {5, 2, 32, 126, 0, 0.0f, KvType::kF32},
    {7, 8, 16, 0},
    {13, 4, 128, 57, 0, 50.0f},
    {70, 1, 33, 30, 0, 0.0f, KvType::kF32},
    {70, 5, 1, 0},
    {33, 2, 7, 100, 20},
    {40, 8, 64, 64, 64},
    {20, 3, 100, 300, 100, 0.0f, KvType::kF32},
    {17, 1, 48, 1000, 1},
    {9, 6, 256, 250, 129, 50.0f},
    {3, 8, 80, 70, 0, 0.5f, KvType::kF32},
    {12, 7, 24, 59, 0, 0.0f, KvType::kF16, 40.0f},  // scores up to +-200
    {4, 2, 128, 90, 0, 30.0f, KvType::kF32, 1e4f},  // scores far beyond the cap
    {4, 2, 128, 90, 0, 0.0f, KvType::kF32, 1e5f},   // one key gets all the weight
    {130, 2, 20, 3},
    // in both directions: all positions, the middle of a text, symmetric windows that end within and after
    // the text
    {70, 3, 64, 0, 0, 0.0f, KvType::kF32, 1.0f, 1u << 31},
    {20, 3, 64, 100, 0, 0.0f, KvType::kF32, 1.0f, 1u << 31, 77},
    {130, 3, 16, 0, 9, 0.0f, KvType::kF32, 1.0f, 8},
    {33, 1, 256, 60, 33, 0.0f, KvType::kF16, 1.0f, 32, 10},
    {9, 4, 48, 300, 65, 50.0f, KvType::kF32, 1.0f, 64, 200},
    {5, 2, 32, 63, 2, 0.0f, KvType::kF16, 1.0f, 1, 3},
    // 8 bits: every tile of rows, whole and partial groups, windows, cap, both directions
    {1, 1, 256, 200, 0, 0.0f, KvType::kQ8},
    {1, 2, 512, 70, 0, 0.0f, KvType::kQ8},
    {3, 4, 64, 130, 0, 50.0f, KvType::kQ8},
    {7, 8, 96, 100, 0, 0.0f, KvType::kQ8},
    {13, 3, 80, 62, 40, 0.0f, KvType::kQ8},
    {70, 1, 33, 30, 0, 0.0f, KvType::kQ8},
    {5, 5, 1, 60, 0, 0.0f, KvType::kQ8},
    {33, 2, 7, 100, 20, 0.0f, KvType::kQ8},
    {4, 2, 300, 90, 0, 30.0f, KvType::kQ8, 1e4f},
    {20, 6, 16, 100, 33, 0.0f, KvType::kQ8, 1.0f, 32, 10},
    {20, 3, 128, 63, 0, 0.0f, KvType::kQ8, 1.0f, 1u << 31, 77},
};

TEST(Attention, AgreesWithTheReference) {
  for (const Shape& s : kShapes) {
    SCOPED_TRACE(::testing::Message() << s);
    const Cache cache(s, blocks_for(positions_of(s)), 0xFF);
    const std::vector<float> want = run_all(reference::vector_kernels(), s, cache);
    for_each_table([&](const KernelTable&, const VectorKernels& vec) {
      // scores of magnitude S are rounded to S * 2^-24 before the exponential
      EXPECT_LE(nmse(run_all(vec, s, cache), want), s.spread > 1.0f ? 1e-9 : 5e-13);
    });
  }
}

TEST(Attention, TheReferenceSeesWhatItShould) {
  // the value of position j is 1 in element j and 0 elsewhere, so the output equals the weights
  for (const Shape& s : {Shape{40, 1, 64, 0, 9, 0.0f, KvType::kF32, 1.0f, 8, 0},
                         Shape{10, 1, 64, 20, 9, 0.0f, KvType::kF32, 1.0f, 8, 3},
                         Shape{10, 1, 64, 20, 0, 0.0f, KvType::kF32, 1.0f, 1u << 31, 11},
                         Shape{10, 1, 64, 20, 5, 0.0f, KvType::kF32, 1.0f, 0, 0}}) {
    SCOPED_TRACE(::testing::Message() << s);
    Cache cache(s, 64, 0x00);
    for (std::size_t p = 0; p < positions_of(s); ++p) {
      std::vector<float> value(64, 0.0f);
      value[p] = 1.0f;
      cache.put(p, normal(64, 1, p), value);
    }
    const std::vector<float> weights = run_all(reference::vector_kernels(), s, cache);
    for (std::size_t t = 0; t < s.n_tokens; ++t) {
      for (std::size_t p = 0; p < 64; ++p) {
        const std::size_t own = s.pos0 + t;
        const bool sees = p < positions_of(s) && p <= own + s.ahead && (s.window == 0 || own < p + s.window);
        EXPECT_EQ(weights[t * 64 + p] != 0.0f, sees) << "position " << own << ", key " << p;
      }
    }
  }
}

TEST(Attention, ARowAloneEqualsTheRowInCompany) {
  for (const Shape& s : kShapes) {
    SCOPED_TRACE(::testing::Message() << s);
    const Cache cache(s, blocks_for(positions_of(s)), 0xFF);
    const std::vector<float> q = queries(s);
    for_each_table([&](const KernelTable&, const VectorKernels& vec) {
      const std::vector<float> together = run_all(vec, s, cache);
      std::vector<float> alone(together.size());
      for (std::size_t t = 0; t < s.n_tokens; ++t)
        for (std::size_t h = 0; h < s.n_heads; ++h) run(vec, s, cache, q, t, 1, h, 1, alone);
      expect_same_bits(together, alone);
    });
  }
}

TEST(Attention, ChunksOfTokensAndHeadsGiveTheSameBits) {
  const Shape shapes[] = {{100, 5, 96, 37},
                          {64, 8, 64, 100, 70, 50.0f, KvType::kF32},
                          {150, 1, 40, 0, 0, 0.0f, KvType::kF16},
                          {100, 5, 96, 37, 0, 0.0f, KvType::kQ8},
                          {150, 3, 40, 0, 33, 50.0f, KvType::kQ8},
                          {150, 3, 64, 0, 0, 0.0f, KvType::kF32, 1.0f, 1u << 31},
                          {150, 3, 64, 0, 33, 0.0f, KvType::kF32, 1.0f, 32}};
  for (const Shape& s : shapes) {
    SCOPED_TRACE(::testing::Message() << s);
    const Cache cache(s, blocks_for(positions_of(s)), 0xFF);
    const std::vector<float> q = queries(s);
    for_each_table([&](const KernelTable&, const VectorKernels& vec) {
      constexpr std::pair<std::size_t, std::size_t> kPieces[] = {{1, 3}, {2, 8},  {3, 1},
                                                                 {7, 2}, {32, 3}, {64, 8}};
      const std::vector<float> together = run_all(vec, s, cache);
      for (const auto& [chunk, heads] : kPieces) {
        std::vector<float> pieces(together.size());
        for (std::size_t t = 0; t < s.n_tokens; t += chunk)
          for (std::size_t h = 0; h < s.n_heads; h += heads)
            run(vec, s, cache, q, t, std::min(chunk, s.n_tokens - t), h, std::min(heads, s.n_heads - h),
                pieces);
        expect_same_bits(together, pieces);
      }
    });
  }
}

TEST(Attention, UnseenSlotsMayHoldAnything) {
  for (const Shape& s : kShapes) {
    SCOPED_TRACE(::testing::Message() << s);
    const std::size_t slots = blocks_for(positions_of(s)) + kKeyBlock;
    const Cache nan(s, slots, 0xFF), zero(s, slots, 0x00),
        large(s, slots, 0x7B);  // 0x7B7B: 61,280 as binary16
    for_each_table([&](const KernelTable&, const VectorKernels& vec) {
      const std::vector<float> with_zero = run_all(vec, s, zero);
      expect_same_bits(with_zero, run_all(vec, s, nan));
      expect_same_bits(with_zero, run_all(vec, s, large));
    });
  }
}

TEST(Attention, ABrokenKeyOrValueReachesOnlyThoseWhoSeeIt) {
  // if the key or value of a later token is NaN, tokens before it, in the same call and register tile, keep
  // their bits
  for (int kind = 0; kind < 8; ++kind) {
    {
      const bool break_key = kind % 2 == 1;
      const std::size_t window = kind / 2 % 2 == 0 ? 0 : 9;
      const Shape s{24, 3, 64, 50, window, 0.0f, kind < 4 ? KvType::kF16 : KvType::kQ8};
      Cache cache(s, blocks_for(positions_of(s)), 0xFF), broken = cache;
      const std::size_t bad = s.pos0 + 11;
      const std::vector<float> nan(s.head_dim, std::numeric_limits<float>::quiet_NaN());
      broken.put(bad, break_key ? nan : normal(s.head_dim, 1, bad),
                 break_key ? normal(s.head_dim, 2, bad) : nan);
      for_each_table([&](const KernelTable&, const VectorKernels& vec) {
        const std::vector<float> good = run_all(vec, s, cache), hurt = run_all(vec, s, broken);
        for (std::size_t i = 0; i < good.size(); ++i) {
          const std::size_t position = s.pos0 + i / (s.n_heads * s.head_dim);
          const bool sees = position >= bad && (window == 0 || position - bad < window);
          if (sees)
            ASSERT_TRUE(std::isnan(hurt[i])) << "position " << position;
          else
            ASSERT_EQ(std::bit_cast<std::uint32_t>(good[i]), std::bit_cast<std::uint32_t>(hurt[i]))
                << position;
        }
      });
    }
  }
}

TEST(Attention, PagesThatNobodySeesMayBeMissing) {
  const Shape shapes[] = {{30, 4, 64, 1000, 100},
                          {1, 8, 80, 777, 64},
                          {30, 4, 80, 1000, 100, 0.0f, KvType::kQ8},
                          {64, 2, 16, 640, 64, 50.0f, KvType::kF32}};
  for (const Shape& s : shapes) {
    SCOPED_TRACE(::testing::Message() << s);
    const std::size_t positions = blocks_for(positions_of(s)) + 2 * kKeyBlock;
    const Cache whole(s, positions, 0x00), sparse(s, positions, 0xFF, true);
    EXPECT_EQ(sparse.pages().front(), nullptr);
    EXPECT_EQ(sparse.pages().back(), nullptr);
    expect_same_bits(run_all(reference::vector_kernels(), s, whole),
                     run_all(reference::vector_kernels(), s, sparse));
    for_each_table([&](const KernelTable&, const VectorKernels& vec) {
      expect_same_bits(run_all(vec, s, whole), run_all(vec, s, sparse));
    });
  }
}

TEST(Attention, LongContext) {
  const Shape s{2, 4, 64, 8190};
  const Cache cache(s, 8192, 0xFF);
  const std::vector<float> want = run_all(reference::vector_kernels(), s, cache);
  for_each_table([&](const KernelTable&, const VectorKernels& vec) {
    EXPECT_LE(nmse(run_all(vec, s, cache), want), 1e-11);
  });
}

TEST(Attention, ScratchDoesNotGrowWithTheNumberOfTokens) {
  for_each_table([](const KernelTable&, const VectorKernels& vec) {
    EXPECT_LE(vec.attention_scratch_bytes(512, 8, 256), 160u * 1024u);
    EXPECT_EQ(vec.attention_scratch_bytes(512, 8, 256), vec.attention_scratch_bytes(4096, 16, 256));
  });
}

}  // namespace
}  // namespace gemma::kernels
