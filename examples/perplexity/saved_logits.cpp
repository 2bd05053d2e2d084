#include "examples/perplexity/saved_logits.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

#include "gemma/engine_error_code.hpp"
#include "gguf/finite.hpp"
#include "gguf/reader.hpp"

namespace gemma::perplexity {
namespace {

static_assert(std::endian::native == std::endian::little, "the file is little-endian, as memory is");
constexpr std::string_view kMagic = "_logits_";
constexpr float kReach = 16;  // nats below the likeliest

template <typename T>
void append(std::vector<std::byte>& to, const T& value) {
  const auto bytes = std::as_bytes(std::span(&value, 1));
  to.insert(to.end(), bytes.begin(), bytes.end());
}

}  // namespace

bool code_row(std::span<const float> logits, std::span<std::uint16_t> codes, CodedRow& row) noexcept {
  bool finite = true;
  float most = -std::numeric_limits<float>::infinity(), least = std::numeric_limits<float>::infinity();
  for (const float& x : logits) {
    finite = finite && is_finite(x);
    most = std::max(most, x);
    least = std::min(least, x);
  }
  if (!finite) return false;
  least = std::max(least, most - kReach);
  double sum = 0;  // as llama-perplexity adds it, not as gemma::log_sum_exp: the file has its bits
  for (const float x : logits) sum += static_cast<double>(std::exp(x - most));
  row.scale = (most - least) / 65535;
  row.least = least - most - static_cast<float>(std::log(sum));
  row.codes = codes;
  const float inverse = row.scale > 0 ? 1 / row.scale : 0;
  for (std::size_t i = 0; i < logits.size(); ++i) {
    const float code = std::nearbyint(inverse * std::max(logits[i] - least, 0.0f));
    codes[i] = static_cast<std::uint16_t>(std::min(code, 65535.0f));
  }
  return true;
}

LogitsWriter::LogitsWriter(const std::string& path, std::size_t n_ctx, std::size_t vocab_size,
                           std::size_t n_windows, std::span<const std::int32_t> ids)
    : file_(path) {
  file_.write(kMagic);
  for (const std::size_t n : {n_ctx, vocab_size, n_windows}) append(buffer_, static_cast<std::int32_t>(n));
  file_.write(buffer_);
  file_.write(std::as_bytes(ids.first(n_windows * n_ctx)));
}

void LogitsWriter::write(const CodedRow& row) {
  buffer_.clear();
  append(buffer_, row.scale);
  append(buffer_, row.least);
  const auto codes = std::as_bytes(row.codes);
  buffer_.insert(buffer_.end(), codes.begin(), codes.end());
  buffer_.resize((buffer_.size() + 3) / 4 * 4);
  file_.write(buffer_);
}

SavedLogits::SavedLogits(const std::string& path) : path_(path), map_(path) {
  gguf::Reader reader(map_.bytes(), path);
  if (map_.bytes().size() < kMagic.size() ||
      std::memcmp(map_.bytes().data(), kMagic.data(), kMagic.size()) != 0)
    reader.fail(ErrorCode::kBadMagic, "not a file of saved logits");
  reader.take(kMagic.size(), "the magic");
  const auto count = [&](const char* what) {
    const auto n = static_cast<std::int32_t>(reader.read<std::uint32_t>(what));
    if (n < 1) reader.fail(ErrorCode::kMalformed, std::string(what) + " is " + std::to_string(n));
    return static_cast<std::size_t>(n);
  };
  n_ctx_ = count("the window's length");
  vocab_size_ = count("the size of the vocabulary");
  n_windows_ = count("the number of windows");
  if (n_ctx_ < 4) reader.fail(ErrorCode::kMalformed, "windows of fewer than 4 tokens");
  // all below 2^31: no product of two overflows
  if (n_windows_ * n_ctx_ > reader.remaining() / sizeof(std::int32_t))
    reader.fail(ErrorCode::kTruncated, "the tokens do not fit in the file");
  ids_.resize(n_windows_ * n_ctx_);
  std::memcpy(ids_.data(), reader.take(ids_.size() * sizeof(std::int32_t), "the tokens").data(),
              ids_.size() * sizeof(std::int32_t));
  for (const std::int32_t id : ids_)
    if (id < 0 || static_cast<std::size_t>(id) >= vocab_size_)
      reader.fail(ErrorCode::kMalformed, "token " + std::to_string(id) + " is not in the vocabulary");
  rows_at_ = reader.offset();
  if (n_windows_ * (n_ctx_ - n_ctx_ / 2 - 1) > reader.remaining() / row_bytes())
    reader.fail(ErrorCode::kTruncated, "the logits do not fit in the file");
}

CodedRow SavedLogits::row(std::size_t i) const noexcept {
  const std::byte* at = map_.bytes().data() + rows_at_ + i * row_bytes();
  CodedRow row;
  std::memcpy(&row.scale, at, 4);
  std::memcpy(&row.least, at + 4, 4);
  // 8 + 12 bytes and multiples of 4 come before: aligned for 16 bits
  row.codes = {reinterpret_cast<const std::uint16_t*>(static_cast<const void*>(at + 8)), vocab_size_};
  return row;
}

void SavedLogits::check(std::size_t i) const {
  const CodedRow r = row(i);
  if (!is_finite(r.scale) || !is_finite(r.least) || r.scale < 0)
    throw Error(EngineErrorCode::kNotFinite,
                path_ + ": prediction " + std::to_string(i) + " is not of finite numbers");
}

void SavedLogits::forget_before(std::size_t i) const noexcept {
  map_.will_not_need(map_.bytes().subspan(rows_at_, i * row_bytes()));
}

}  // namespace gemma::perplexity
