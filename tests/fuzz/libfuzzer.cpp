// libFuzzer's entry points for one target, which GEMMA_FUZZ_TARGET names.
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

#include "tests/fuzz/mutate.hpp"
#include "tests/fuzz/targets.hpp"

namespace {
constexpr const gemma::fuzz::Target& kTarget = gemma::fuzz::GEMMA_FUZZ_TARGET;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  kTarget.run(std::as_bytes(std::span(data, size)));
  return 0;
}

extern "C" std::size_t LLVMFuzzerMutate(std::uint8_t* data, std::size_t size, std::size_t max_size);

/// If inputs are GGUF files, every second mutation changes a field of the file without moving others.
extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size, std::size_t max_size,
                                               unsigned seed) {
  gemma::fuzz::Random random(seed);
  if (kTarget.holds_gguf && random.below(2) == 0) {
    const auto bytes = std::as_bytes(std::span(data, size));
    gemma::fuzz::Input input(bytes.begin(), bytes.end());
    if (gemma::fuzz::mutate_field(input, random)) {
      std::memcpy(data, input.data(), input.size());
      return size;
    }
  }
  return LLVMFuzzerMutate(data, size, max_size);
}
