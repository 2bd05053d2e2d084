// Shared by the units of the C interface and private to them: opaque objects, errors, structures of
// other versions, lists.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <exception>
#include <memory>
#include <mutex>
#include <new>
#include <span>
#include <string>

#include "c_api.h"
#include "model.hpp"
#include "piece_trie.hpp"

// definitions of the interface's opaque types
struct gemma_error {
  int code;
  const char* message;
  bool owned;  // the object and its message must be freed
};
struct gemma_model {
  gemma::Model model;
  std::string name;
  mutable std::mutex mutex;                                // of pieces
  mutable std::shared_ptr<const gemma::PieceTrie> pieces;  // made for the first grammar
};

/// Helpers of the units that implement c_api.h.
namespace gemma::c_api {

/// The error of a failed allocation: static, since there may be no memory for a new object.
inline constinit gemma_error no_memory{GEMMA_ERROR_OUT_OF_MEMORY, "out of memory", false};

/// Sets *error to a new error, if the caller asked for one.
inline void report(gemma_error** error, int code, const char* message) noexcept {
  if (error == nullptr) return;
  const std::size_t size = std::strlen(message) + 1;
  auto* text = new (std::nothrow) char[size];
  *error = text == nullptr ? nullptr : new (std::nothrow) gemma_error{code, text, true};
  if (*error == nullptr) {
    delete[] text;
    *error = &no_memory;
    return;
  }
  std::memcpy(text, message, size);
}

/// Returns f(); if it throws, sets *error and returns `failed`.
template <typename T, typename F>
T guarded(gemma_error** error, T failed, F&& f) noexcept {
  try {
    return f();
  } catch (const Error& e) {
    report(error, e.code().number(), e.what());
  } catch (const std::bad_alloc&) {
    report(error, GEMMA_ERROR_OUT_OF_MEMORY, "out of memory");
  } catch (const std::exception& e) {
    report(error, GEMMA_ERROR_INTERNAL, e.what());
  } catch (...) {
    report(error, GEMMA_ERROR_INTERNAL, "an unknown exception");
  }
  return failed;
}

/// Throws Error{kInvalidArgument} unless ok.
inline void require(bool ok, StaticText what) {
  if (!ok) detail::refuse(ErrorCode::kInvalidArgument, what);
}

/// The caller's structure, which may be of an older, shorter version; missing fields get our defaults.
template <typename T>
T options_or(const T* given, T defaults) {
  if (given == nullptr) return defaults;
  require(given->size >= sizeof(std::size_t), "the size of a structure is not set");
  std::memcpy(&defaults, given, std::min(given->size, sizeof(T)));
  return defaults;
}

/// Fills the caller's structure, which may be of an older, shorter version.
template <typename T>
void give(T* out, T values) {
  require(out->size >= sizeof(std::size_t), "the size of a structure is not set");
  values.size = out->size;
  std::memcpy(out, &values, std::min(out->size, sizeof(T)));
}

/// A caller's list as a span. Throws Error{kInvalidArgument} if the pointer is NULL and the size is not 0.
template <typename T>
std::span<const T> list(const T* items, std::size_t n) {
  require(items != nullptr || n == 0, "a list is NULL");
  return {items, n};
}

/// Copies as much of `from` as fits into the caller's list; *n becomes the size of `from`.
template <typename From, typename T>
int give_list(const From& from, T* out, std::size_t capacity, std::size_t* n) {
  require(n != nullptr, "the pointer for the length is NULL");
  require(out != nullptr || capacity == 0, "the output is NULL");
  std::copy_n(from.begin(), std::min(capacity, from.size()), out);
  *n = from.size();
  return 0;
}

}  // namespace gemma::c_api
