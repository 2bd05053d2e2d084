// Messages between ranks: a kind and bytes.
// Invariant: Reader reads the values that Writer wrote in the same order; other bytes are refused and never
// read past their end. All ranks must run the same build on machines of one byte order.
#pragma once

#include <cstddef>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "gguf/error.hpp"

namespace gemma::app {

/// The kind of a message; also its MPI tag.
enum class Kind : int {
  kBeat = 1,  // heartbeat: shows that the sender is alive
  kHello,     // to rank 0: the model is loaded, or why it is not
  kSetup,     // from rank 0: layers and sizes
  kReady,     // to rank 0: the stage is made, or why it is not
  kStep,      // to the next rank: chunks, and the input rows of its layers
  kRow,       // to rank 0: a row of logits
  kResult,    // to rank 0: a step is complete; the chosen tokens
  kEnd,       // from rank 0: no more steps
  kQuit,      // from rank 0: end all ranks; rank 0 has printed the reason
  kStats      // to rank 0: statistics of a rank
};

/// A message from or to a rank.
struct Message {
  Kind kind = Kind::kBeat;
  int peer = 0;
  std::vector<std::byte> bytes;
};

/// Appends numbers, lists of numbers and texts to the bytes of a message.
class Writer {
 public:
  template <typename T>
  requires std::is_arithmetic_v<T> Writer& put(T value) { return append(&value, sizeof value); }
  template <typename T>
  Writer& put_list(std::span<const T> list) {
    put(list.size());
    return append(list.data(), list.size_bytes());
  }
  Writer& put_text(std::string_view text) { return put_list(std::span(text)); }
  std::vector<std::byte> take() { return std::move(bytes_); }

 private:
  Writer& append(const void* data, std::size_t size) {
    const std::size_t at = bytes_.size();
    bytes_.resize(at + size);
    if (size != 0) std::memcpy(bytes_.data() + at, data, size);
    return *this;
  }
  std::vector<std::byte> bytes_;
};

/// Reads the values from the bytes of a message, in the same order. Throws Error{kMalformed} if there are too
/// few bytes.
class Reader {
 public:
  explicit Reader(std::span<const std::byte> bytes) : left_(bytes) {}

  template <typename T>
  requires std::is_arithmetic_v<T> T get() {
    T value{};
    copy(&value, sizeof value);
    return value;
  }
  template <typename T>
  std::vector<T> get_list() {
    const auto n = get<std::size_t>();
    if (n > left_.size() / sizeof(T)) refuse();
    std::vector<T> out(n);
    copy(out.data(), n * sizeof(T));
    return out;
  }
  std::string get_text() {
    const std::vector<char> text = get_list<char>();
    return {text.begin(), text.end()};
  }

 private:
  void copy(void* to, std::size_t size) {
    if (size > left_.size()) refuse();
    if (size != 0) std::memcpy(to, left_.data(), size);
    left_ = left_.subspan(size);
  }
  [[noreturn]] static void refuse() {
    throw Error(ErrorCode::kMalformed, "a message of another rank is cut short: is it of the same build?");
  }
  std::span<const std::byte> left_;
};

}  // namespace gemma::app
