// The interface of kernels to the rest of the engine: plain functions in one immutable table for each
// instruction set.
// Invariant: every function is noexcept, allocates nothing, and its result depends, to the bit, on its
// operands only: never on how rows, tokens or heads were divided between calls (law 1). Float sums over k run
// in one fixed order.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "../gguf/dtype.hpp"
#include "cpu_features.hpp"

namespace gemma::kernels {

/// Matmul work is divided between threads in whole panels of this many weight rows, on every ISA.
inline constexpr std::size_t kPanelRows = 16;
/// Attention reduces over keys in blocks of this many, aligned to absolute positions.
inline constexpr std::size_t kKeyBlock = 64;
/// Tokens are laid out for a matmul in multiples of this many, itself a multiple of every kernel's tile.
inline constexpr std::size_t kLayoutTokens = 24;
/// Keys are stored transposed in tiles of this many positions: [head_dim, kKeyTile].
inline constexpr std::size_t kKeyTile = 16;

/// Activations quantised to 8 bits in groups of 32: x[i] ~ scale * q[i], |q| <= 127.
struct Q8Group {
  float scale;          // the least-squares fit of x by scale * q
  float scaled_sum;     // scale * (sum of the group's q)
  std::int32_t sum_lo;  // sum of q[0..16)
  std::int32_t sum_hi;  // sum of q[16..32)
};

/// y[m, n] = scale * x[m, k] * w[n, k]^T for the rows [row_begin, row_end) of w, i.e. those columns of y.
struct MatmulArgs {
  const std::byte* w = nullptr;     // [n, k] in the file's layout, unaligned
  std::size_t row_bytes = 0;        // bytes from one row of w to the next
  std::size_t k = 0;                // a multiple of the type's block
  std::size_t row_begin = 0;        // a multiple of kPanelRows
  std::size_t row_end = 0;          // a multiple of kPanelRows, or n
  std::size_t m = 0;                // tokens
  const float* x = nullptr;         // [m, k]; kernels of float activations read this
  const std::int8_t* q = nullptr;   // [m, k], kernels of 8-bit activations read q and groups
  const Q8Group* groups = nullptr;  // [m, k / 32]
  float* y = nullptr;               // [m, ldy], unaligned
  std::size_t ldy = 0;              // floats from one row of y to the next
  std::byte* scratch = nullptr;     // this thread's, 64-byte aligned, MatmulKernel::scratch_bytes(k) bytes
  float scale = 1.0f;               // multiplies each finished sum, once (NVFP4's second scale)
  /// All m tokens as laid out by MatmulKernel::lay_out; if nullptr, the call lays out the tokens that it
  /// needs.
  const std::byte* laid_out = nullptr;
};

/// The kernel that multiplies by weights of one type on one ISA.
struct MatmulKernel {
  void (*matmul)(const MatmulArgs&) noexcept = nullptr;            // computes rows [row_begin, row_end)
  std::size_t (*scratch_bytes)(std::size_t k) noexcept = nullptr;  // per thread, for rows of k elements
  bool quantized_activations = false;                              // true: reads q and groups; false: x
  std::string_view name;                                           // e.g. "q4_k panels"; shown by gemma-bench
  /// Size in bytes of m tokens of width k laid out for several calls of `matmul`; 0 if that gains nothing.
  /// nullptr: always 0.
  std::size_t (*layout_bytes)(std::size_t k, std::size_t m) noexcept = nullptr;
  /// Lays out the tokens [begin, end) of x, or of q and groups, at `out`, which is 64-byte aligned and has
  /// room for all m. `begin` is a multiple of kLayoutTokens; `end` is too, or is m. Of the arguments only
  /// these, k and m are read.
  void (*lay_out)(const MatmulArgs&, std::size_t begin, std::size_t end, std::byte* out) noexcept = nullptr;

  /// Whether calls with m tokens are faster if the tokens are laid out.
  bool wants_layout(std::size_t k, std::size_t m) const noexcept {
    return layout_bytes != nullptr && layout_bytes(k, m) != 0;
  }
};

/// How keys and values are stored.
enum class KvType : std::uint8_t { kF32, kF16, kQ8 };

/// The layout of keys and values of KvType::kQ8. A vector is divided into groups of 32 elements, x[i] ~ scale
/// * code[i], |code| <= 127, with a binary16 scale. The last group may be shorter: its codes are padded with
/// 0 to a multiple of four. The functions give byte offsets among the kKeyBlock vectors of a head in a page.
/// A template, so that units of different instruction sets share no function; the parameter has no other use.
template <class Unit = void>
struct Q8Vectors {
  static constexpr std::size_t kGroup = 32;  // numbers that share a scale
  /// Number of groups of a vector.
  static constexpr std::size_t groups(std::size_t head_dim) noexcept {
    return (head_dim + kGroup - 1) / kGroup;
  }
  /// Number of codes of a vector.
  static constexpr std::size_t codes(std::size_t head_dim) noexcept { return (head_dim + 3) / 4 * 4; }
  /// Number of codes of group g.
  static constexpr std::size_t group_codes(std::size_t head_dim, std::size_t g) noexcept {
    const std::size_t rest = codes(head_dim) - g * kGroup;
    return rest < kGroup ? rest : kGroup;
  }
  /// Offset of code 4 i of the key in a slot; the next three follow: [kKeyBlock / kKeyTile, codes / 4,
  /// kKeyTile, 4].
  static constexpr std::size_t key_codes(std::size_t head_dim, std::size_t slot, std::size_t i) noexcept {
    return slot / kKeyTile * kKeyTile * codes(head_dim) + (i * kKeyTile + slot % kKeyTile) * 4;
  }
  /// Offset of the first code of group g of the value in a slot; the group's others follow: [groups,
  /// kKeyBlock, kGroup].
  static constexpr std::size_t value_codes(std::size_t head_dim, std::size_t slot, std::size_t g) noexcept {
    return g * kKeyBlock * kGroup + slot * group_codes(head_dim, g);
  }
  /// Offset of the scale of group g of the key or value in a slot: [groups, kKeyBlock], after all codes.
  static constexpr std::size_t scale(std::size_t head_dim, std::size_t slot, std::size_t g) noexcept {
    return kKeyBlock * codes(head_dim) + (g * kKeyBlock + slot) * sizeof(std::uint16_t);
  }
};

/// Properties of a storage type of keys and values.
struct KvTypeInfo {
  KvType type;               // the type
  std::string_view name;     // its name in flags and files
  std::size_t number_bytes;  // bytes of one element; of its code if groups have scales
  bool has_scales;           // whether groups have scales (Q8Vectors)

  /// Size of one key or value, in bytes.
  constexpr std::size_t vector_bytes(std::size_t head_dim) const noexcept {
    if (!has_scales) return head_dim * number_bytes;
    return Q8Vectors<>::codes(head_dim) * number_bytes + Q8Vectors<>::groups(head_dim) * 2;
  }
};

/// All storage types, indexed by KvType: the only list.
inline constexpr std::array<KvTypeInfo, 3> kKvTypes = {
    {{KvType::kF32, "f32", 4, false}, {KvType::kF16, "f16", 2, false}, {KvType::kQ8, "q8", 1, true}}};

/// The properties of a storage type.
constexpr const KvTypeInfo& kv_type_info(KvType type) noexcept {
  return kKvTypes[static_cast<std::size_t>(type)];
}
static_assert(kv_type_info(KvType::kF32).type == KvType::kF32 &&
              kv_type_info(KvType::kF16).type == KvType::kF16 &&
              kv_type_info(KvType::kQ8).type == KvType::kQ8);
static_assert(kv_type_info(KvType::kQ8).vector_bytes(256) == 256 + 16);

/// Attention of some query rows that share one key/value head. Queries are already roped and not yet scaled.
/// Keys and values are stored in pages of kKeyBlock positions: page p / kKeyBlock holds position p in its
/// slot s = p % kKeyBlock. Element d of the key is stored as element (s / 16 * head_dim + d) * 16 + s % 16
/// from pages[...] + k_offset, element d of the value as element s * head_dim + d from pages[...] + v_offset.
/// For kQ8 the layout is that of Q8Vectors, and queries are quantised as activations are before they are
/// multiplied by the codes. Only pages that hold a position which some query sees are read; the others may be
/// null. Query (t, h) sees positions j <= pos0 + t + ahead that are below limit, and when window > 0 only
/// those with pos0 + t - j < window. It sees its own position at least.
struct AttentionArgs {
  const float* q = nullptr;                 // (t, h) at q + t * q_stride + h * head_dim
  float* out = nullptr;                     // (t, h) at out + t * out_stride + h * head_dim
  std::size_t q_stride = 0;                 // floats from one token of q to the next
  std::size_t out_stride = 0;               // floats from one token of out to the next
  std::size_t n_tokens = 0;                 // t < n_tokens
  std::size_t n_heads = 0;                  // query heads of this call, which share the key/value head
  std::size_t head_dim = 0;                 // any value >= 1; multiples of 16 are fast
  const std::byte* const* pages = nullptr;  // of the sequence, by position / kKeyBlock
  std::size_t k_offset = 0;      // bytes from the start of a page to the keys of this key/value head
  std::size_t v_offset = 0;      // and to its values; both multiples of the element size, or of a scale's
  KvType type = KvType::kF16;    // of keys and values
  std::size_t pos0 = 0;          // position of token 0
  std::size_t window = 0;        // 0: all positions
  std::size_t ahead = 0;         // positions that a query sees after its own; 0: causal
  std::size_t limit = SIZE_MAX;  // number of positions, if queries look ahead
  float scale = 1.0f;            // of the scores
  float softcap = 0.0f;          // 0: none; else score = softcap * tanh(score / softcap)
  std::byte* scratch = nullptr;  // this thread's, 64-byte aligned, attention_scratch_bytes(...) bytes
};

/// All kernels except matmuls. Pointers are unaligned and lengths arbitrary unless stated.
struct VectorKernels {
  /// q[k], groups[k / 32] from x[k]; k a multiple of 32: the best of four grids (generic/quantize.hpp).
  void (*quantize_q8)(const float* x, std::size_t k, std::int8_t* q, Q8Group* groups) noexcept = nullptr;
  /// y = x / sqrt(mean(x^2) + eps) * w (Zhang & Sennrich 2019). y may be x.
  void (*rms_norm)(const float* x, const float* w, std::size_t n, float eps, float* y) noexcept = nullptr;
  /// y += x
  void (*add)(const float* x, std::size_t n, float* y) noexcept = nullptr;
  /// y *= s
  void (*scale)(float s, std::size_t n, float* y) noexcept = nullptr;
  /// Rotates x[n_heads, head_dim] in place; pairs (i, i + head_dim / 2). cos_sin: [head_dim / 2] cos, then
  /// sin.
  void (*rope_half)(float* x, std::size_t n_heads, std::size_t head_dim,
                    const float* cos_sin) noexcept = nullptr;
  /// Like rope_half, with pairs (2i, 2i + 1).
  void (*rope_pairs)(float* x, std::size_t n_heads, std::size_t head_dim,
                     const float* cos_sin) noexcept = nullptr;
  /// gate = gelu_tanh(gate) * up (Hendrycks & Gimpel 2016, tanh form; Shazeer 2020).
  void (*gelu_mul)(float* gate, const float* up, std::size_t n) noexcept = nullptr;
  /// gate = gate * sigmoid(gate) * up.
  void (*silu_mul)(float* gate, const float* up, std::size_t n) noexcept = nullptr;
  /// x = cap * tanh(x / cap)
  void (*softcap)(float* x, std::size_t n, float cap) noexcept = nullptr;
  /// Stores the key of one position in its slot of a page; `keys` points to the head's keys in the page.
  /// Magnitudes beyond 65504 saturate, except as float32.
  void (*store_key)(const float* key, std::size_t head_dim, KvType type, std::byte* keys,
                    std::size_t slot) noexcept = nullptr;
  /// Stores the value of one position in the same way; `values` points to the head's values.
  void (*store_value)(const float* value, std::size_t head_dim, KvType type, std::byte* values,
                      std::size_t slot) noexcept = nullptr;
  /// softmax(softcap(scale * q k^T)) v of AttentionArgs (Vaswani et al. 2017, eq. 1).
  void (*attention)(const AttentionArgs&) noexcept = nullptr;
  /// Bytes of scratch memory that a call of `attention` needs.
  std::size_t (*attention_scratch_bytes)(std::size_t n_tokens, std::size_t n_heads,
                                         std::size_t head_dim) noexcept = nullptr;
};

/// Instruction sets that have a table of kernels.
enum class Isa : std::uint8_t { kScalar, kAvx2, kAvxVnni, kAvx512Vnni, kNeon, kNeonI8mm };

/// All kernels of one instruction set. Immutable.
struct KernelTable {
  Isa isa = Isa::kScalar;  // the instruction set
  /// "scalar", "avx2", "avxvnni", "avx512vnni", "neon", "neoni8mm": values of GEMMA_ISA and --isa
  std::string_view name;
  CpuFeatures needs;  // extensions that the CPU must have and whose registers the system must save
  std::array<MatmulKernel, kDTypeLimit> matmul{};  // by DType; every DType has one
  /// out[n] = the n weights stored at `from`; n a multiple of the type's block. By DType.
  std::array<void (*)(const std::byte* from, std::size_t n, float* out) noexcept, kDTypeLimit> dequantize{};
  VectorKernels vec;  // everything else

  /// Whether every function is set; asserted where a table is defined.
  constexpr bool is_whole() const noexcept {
    for (const DType type : kAllDTypes) {
      const auto i = static_cast<std::size_t>(type);
      if (matmul[i].matmul == nullptr || matmul[i].scratch_bytes == nullptr || matmul[i].name.empty() ||
          dequantize[i] == nullptr)
        return false;
    }
    return !name.empty() && vec.quantize_q8 != nullptr && vec.rms_norm != nullptr && vec.add != nullptr &&
           vec.scale != nullptr && vec.rope_half != nullptr && vec.rope_pairs != nullptr &&
           vec.gelu_mul != nullptr && vec.silu_mul != nullptr && vec.softcap != nullptr &&
           vec.store_key != nullptr && vec.store_value != nullptr && vec.attention != nullptr &&
           vec.attention_scratch_bytes != nullptr;
  }
  /// The kernel that multiplies by weights of a type.
  const MatmulKernel& matmul_for(DType type) const noexcept { return matmul[static_cast<std::size_t>(type)]; }
};

/// The tables of this build that this CPU and its operating system can run, best first; never empty (scalar
/// is last).
std::span<const KernelTable* const> available_tables() noexcept;
/// The best table for this CPU.
const KernelTable& best_table() noexcept;
/// The table called `name`, or nullptr when it is unknown or this CPU cannot run it.
const KernelTable* find_table(std::string_view name) noexcept;

}  // namespace gemma::kernels
