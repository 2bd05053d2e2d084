// Definitions of session_file.hpp.
#pragma once

#include <algorithm>
#include <bit>
#include <cstring>
#include <type_traits>
#include <utility>
#include <vector>

#include "../gguf/linkage.hpp"
#include "checksum.hpp"

namespace gemma {

static_assert(std::endian::native == std::endian::little, "files are read and written as memory is");

namespace detail {

inline constexpr char kSnapshotMagic[] = {'G', 'E', 'M', 'M', 'A', 'S', 'E', 'Q'};
inline constexpr std::uint32_t kSnapshotVersion = 1;

/// The fixed part of the bytes.
struct SnapshotHeader {
  char magic[8];
  std::uint32_t version, kv_type;
  std::uint64_t model, n_tokens, n_computed, n_logits, n_hidden, n_groups;
};
static_assert(sizeof(SnapshotHeader) == 64 && std::is_trivially_copyable_v<SnapshotHeader>);

/// The entry of a group.
struct SnapshotGroup {
  std::uint64_t window, page_bytes, begin, end;
};
static_assert(sizeof(SnapshotGroup) == 32);

template <typename T>
std::span<const std::byte> bytes_of(const T& object) noexcept {
  return std::as_bytes(std::span(&object, 1));
}

/// Reads the bytes of a snapshot in order.
class SnapshotReader {
 public:
  SnapshotReader(std::span<const std::byte> bytes, const std::string& source)
      : rest_(bytes), source_(source) {}

  [[noreturn]] void malformed(const char* what) const {
    refuse(ErrorCode::kMalformed, [&] { return source_ + ": not a saved sequence: " + what; });
  }
  std::span<const std::byte> take(std::uint64_t n) {
    if (n > rest_.size()) malformed("it is cut short");
    const auto out = rest_.first(static_cast<std::size_t>(n));
    checksum_.add(out);
    rest_ = rest_.subspan(out.size());
    return out;
  }
  template <typename T>
  T object() {
    T out;
    std::memcpy(&out, take(sizeof(T)).data(), sizeof(T));
    return out;
  }
  /// Reads n elements; the caller has checked that there are enough bytes.
  template <typename T>
  std::vector<T> list(std::uint64_t n) {
    if (n > rest_.size() / sizeof(T)) malformed("it is cut short");
    const auto from = take(n * sizeof(T));
    std::vector<T> out(static_cast<std::size_t>(n));
    if (n != 0) std::memcpy(out.data(), from.data(), from.size());
    return out;
  }
  /// Reads a checksum and compares it with that of the bytes since the last one.
  void check_sum() {
    const std::uint64_t wanted = std::exchange(checksum_, {}).value();
    if (object<std::uint64_t>() != wanted) malformed("its checksum is wrong");
    checksum_ = {};
  }
  void check_end() const {
    if (!rest_.empty()) malformed("there are bytes after its end");
  }

 private:
  std::span<const std::byte> rest_;
  const std::string& source_;
  Checksum checksum_;
};

/// Throws unless the header can be that of a sequence of this model and these options.
inline void check_snapshot(const SnapshotHeader& h, const Model& model, const KvLayout& layout,
                           const SnapshotReader& in, const std::string& source) {
  const auto other = [&](const char* what) {
    refuse(ErrorCode::kInvalidArgument, [&] { return source + ": a sequence of " + what; });
  };
  if (h.model != model.fingerprint()) other("another model");
  if (h.kv_type != static_cast<std::uint32_t>(layout.options.type)) other("another type of keys and values");
  if (h.n_tokens > layout.options.n_ctx) {
    refuse(ErrorCode::kInvalidArgument, [&] {
      return source + ": a sequence of " + std::to_string(h.n_tokens) + " tokens; the context holds " +
             std::to_string(layout.options.n_ctx);
    });
  }
  const ModelConfig& c = model.config();
  const bool has_row = h.n_logits != 0 || h.n_hidden != 0;
  if ((h.n_computed != h.n_tokens && h.n_computed + 1 != h.n_tokens) || h.n_groups != layout.groups.size() ||
      (has_row && (h.n_logits != c.vocab_size || h.n_hidden != c.d_model || h.n_computed != h.n_tokens))) {
    in.malformed("its header contradicts itself or the model");
  }
}

/// Whether the blocks of a group are those that a sequence of n computed positions can hold: none is missing,
/// none is superfluous.
inline bool is_possible(const SnapshotGroup& g, const KvLayout::Group& group, std::size_t n) noexcept {
  const std::size_t from = group.window == 0 || n < group.window ? 0 : n - group.window + 1;
  return g.window == group.window && g.page_bytes == group.page_bytes && g.begin <= g.end &&
         g.end == KvLayout::pages_for(n) && (n == 0 || g.begin <= from / kernels::kKeyBlock);
}

}  // namespace detail

GEMMA_INLINE void write_snapshot(const Snapshot& snapshot, const Model& model,
                                 const std::function<void(std::span<const std::byte>)>& write) {
  const KvCache& cache = snapshot.cache();
  const KvLayout& layout = cache.layout();
  detail::Checksum checksum;
  const auto put = [&](std::span<const std::byte> bytes) {
    checksum.add(bytes);
    write(bytes);
  };
  const auto put_checksum = [&] {
    const std::uint64_t value = std::exchange(checksum, {}).value();
    write(detail::bytes_of(value));
  };
  detail::SnapshotHeader header{.magic = {},
                                .version = detail::kSnapshotVersion,
                                .kv_type = static_cast<std::uint32_t>(cache.type()),
                                .model = model.fingerprint(),
                                .n_tokens = snapshot.tokens().size(),
                                .n_computed = cache.n_past(),
                                .n_logits = snapshot.logits().size(),
                                .n_hidden = snapshot.hidden_state().size(),
                                .n_groups = layout.groups.size()};
  std::copy(std::begin(detail::kSnapshotMagic), std::end(detail::kSnapshotMagic), header.magic);
  put(detail::bytes_of(header));
  const std::size_t end = KvLayout::pages_for(cache.n_past());
  for (std::size_t g = 0; g < layout.groups.size(); ++g) {
    const auto [first, last] = cache.blocks(g);
    put(detail::bytes_of(detail::SnapshotGroup{layout.groups[g].window, layout.groups[g].page_bytes,
                                               std::min(first, end), std::min(last, end)}));
  }
  put_checksum();
  put(std::as_bytes(snapshot.tokens()));
  put(std::as_bytes(snapshot.logits()));
  put(std::as_bytes(snapshot.hidden_state()));
  cache.for_each_page([&](std::size_t group, std::size_t block, const std::byte* page) {
    if (block < end) put({page, layout.groups[group].page_bytes});
  });
  put_checksum();
}

GEMMA_INLINE Snapshot read_snapshot(std::span<const std::byte> bytes, const Model& model,
                                    const KvCacheOptions& options, const std::string& source) {
  return detail::or_out_of_memory("no memory for a saved sequence", [&] {
    const KvLayout layout(model.config(), options);
    detail::SnapshotReader in(bytes, source);
    const auto header = in.object<detail::SnapshotHeader>();
    if (!std::equal(std::begin(header.magic), std::end(header.magic), detail::kSnapshotMagic)) {
      in.malformed("it does not begin with GEMMASEQ");
    }
    if (header.version != detail::kSnapshotVersion) in.malformed("its version is unknown");
    const auto groups = in.list<detail::SnapshotGroup>(header.n_groups);
    in.check_sum();
    detail::check_snapshot(header, model, layout, in, source);
    const auto n_computed = static_cast<std::size_t>(header.n_computed);
    std::vector<std::size_t> n_pages;
    for (std::size_t g = 0; g < groups.size(); ++g) {
      if (!detail::is_possible(groups[g], layout.groups[g], n_computed)) {
        in.malformed("its header contradicts itself or the model");
      }
      n_pages.push_back(static_cast<std::size_t>(groups[g].end - groups[g].begin));
    }
    auto tokens = in.list<std::int32_t>(header.n_tokens);
    auto logits = in.list<float>(header.n_logits);
    auto hidden = in.list<float>(header.n_hidden);
    std::vector<std::span<const std::byte>> pages;
    for (std::size_t g = 0; g < groups.size(); ++g) {
      for (std::size_t i = 0; i < n_pages[g]; ++i) pages.push_back(in.take(groups[g].page_bytes));
    }
    in.check_sum();
    in.check_end();
    for (const std::int32_t token : tokens) model.check_token(token);
    KvCache cache(std::make_shared<KvPool>(layout, n_pages));
    auto page = pages.begin();
    for (std::size_t g = 0; g < groups.size(); ++g) {
      const auto begin = static_cast<std::size_t>(groups[g].begin);
      cache.adopt_blocks(g, begin, begin + n_pages[g]);
      for (std::size_t b = begin; b < begin + n_pages[g]; ++b, ++page) {
        std::copy(page->begin(), page->end(), cache.page(g, b));
      }
    }
    cache.advance(n_computed);
    return Snapshot(std::move(cache), std::move(tokens), std::move(logits), std::move(hidden));
  });
}

}  // namespace gemma
