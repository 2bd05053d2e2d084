// Random mutations of inputs, the same on every machine: for replay_test.cpp, and for libFuzzer if inputs are
// GGUF files.
// Invariant: the result depends on the input and the seed only.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <iterator>
#include <span>
#include <vector>

#include "gguf/file.hpp"
#include "tests/fuzz/targets.hpp"
#include "tests/random.hpp"

namespace gemma::fuzz {

using test::Random;

/// A number that often reveals errors: a limit, a power of two, or a special float.
inline std::uint64_t awkward_number(Random& random) {
  constexpr std::uint64_t kNumbers[] = {0,
                                        1,
                                        2,
                                        3,
                                        7,
                                        8,
                                        16,
                                        32,
                                        255,
                                        256,
                                        257,
                                        65535,
                                        65536,
                                        0x7FFFFFFF,
                                        0x80000000,
                                        0xFFFFFFFF,
                                        0x100000000,
                                        0x3F800000,  // 1.0f
                                        0x7F800000,  // infinity
                                        0x7FC00000,  // NaN
                                        0xFF7FFFFF,  // the lowest float
                                        0x7FFFFFFFFFFFFFFF,
                                        0x8000000000000000,
                                        0xFFFFFFFFFFFFFFFF};
  const std::size_t i = random.below(std::size(kNumbers) + 1);
  return i < std::size(kNumbers) ? kNumbers[i] : random.next() >> random.below(64);
}

/// Writes an awkward number into bytes [at, at + size), as much of it as fits.
inline void put_awkward(Input& input, std::size_t at, std::size_t size, Random& random) {
  if (at >= input.size()) return;
  const std::uint64_t number = awkward_number(random);
  std::memcpy(input.data() + at, &number, std::min({size, sizeof(number), input.size() - at}));
}

/// Changes one field of a valid GGUF file without moving any other; returns false if the file is not valid.
inline bool mutate_field(Input& input, Random& random) {
  try {
    const Input before = input;
    const auto file = gguf::File::from_memory(before, "mutated");
    const std::size_t n_values = file.metadata().size();
    const std::size_t n = n_values + file.tensors().size();
    if (n == 0) return false;
    const std::size_t which = random.below(n);
    if (which < n_values) {
      const gguf::Value& value = file.metadata()[which].value;
      const std::size_t element = std::max<std::size_t>(gguf::scalar_size(value.element_type()), 1);
      if (value.bytes().empty()) return false;
      const std::size_t at = random.below(value.bytes().size()) / element * element;
      put_awkward(input, file.offset_of(value.bytes()) + at, element, random);
      return true;
    }
    const TensorView& t = file.tensors()[which - n_values];
    if (random.below(4) == 0) {  // the data of a tensor: scales that are NaN, infinite, huge
      put_awkward(input, file.offset_of(t.data) + random.below(t.data.size()), 2, random);
      return true;
    }
    // after the name: number of dimensions, dimensions, type, offset
    const std::size_t name_end = static_cast<std::size_t>(t.name.data() + t.name.size() -
                                                          reinterpret_cast<const char*>(before.data()));
    const std::size_t field = random.below(t.n_dims + 3);
    const std::size_t dims_end = name_end + 4 + 8 * t.n_dims;
    if (field == 0) put_awkward(input, name_end, 4, random);
    if (field >= 1 && field <= t.n_dims) put_awkward(input, name_end + 4 + 8 * (field - 1), 8, random);
    if (field == t.n_dims + 1) input[dims_end] = static_cast<std::byte>(random.below(40));
    if (field == t.n_dims + 2) put_awkward(input, dims_end + 4, 8, random);
    return true;
  } catch (const Error&) {
    return false;
  }
}

/// Changes, removes or duplicates a few bytes anywhere.
inline void mutate_bytes(Input& input, Random& random) {
  if (input.empty()) input.push_back(std::byte{0});
  const std::size_t at = random.below(input.size());
  const std::size_t length = std::min(input.size() - at, 1 + random.below(16));
  const auto place = [&](std::size_t i) { return input.begin() + static_cast<std::ptrdiff_t>(i); };
  switch (random.below(7)) {
    case 0:
      input[at] ^= static_cast<std::byte>(1u << random.below(8));
      break;
    case 1:
      input[at] = static_cast<std::byte>(random.next());
      break;
    case 2:
      put_awkward(input, at, std::size_t{1} << random.below(4), random);
      break;
    case 3:
      input.erase(place(at), place(at + length));
      break;
    case 4: {
      const Input copy(place(at), place(at + length));
      input.insert(place(random.below(input.size() + 1)), copy.begin(), copy.end());
      break;
    }
    case 5:
      input.resize(at);
      break;
    default:
      input.insert(place(at), static_cast<std::byte>(random.next()));
  }
}

/// Applies one to four mutations.
inline void mutate(Input& input, bool holds_gguf, Random& random) {
  for (std::size_t n = 1 + random.below(4); n > 0; --n) {
    if (!holds_gguf || random.below(3) == 0 || !mutate_field(input, random)) mutate_bytes(input, random);
  }
}

}  // namespace gemma::fuzz
