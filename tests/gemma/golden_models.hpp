// The golden models: paths, tokens, exact logits and intermediate results.
#pragma once

#include <cstdint>
#include <cstring>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

#include "tests/nmse.hpp"
#include "tests/paths.hpp"

namespace gemma::test {

inline std::vector<float> read_floats(const std::filesystem::path& path) {
  const std::string bytes = read_bytes(path);
  std::vector<float> out(bytes.size() / sizeof(float));
  std::memcpy(out.data(), bytes.data(), out.size() * sizeof(float));
  return out;
}

/// Reads comma-separated token ids.
inline std::vector<std::int32_t> read_ids(const std::filesystem::path& path) {
  std::vector<std::int32_t> ids;
  const std::string text = read_bytes(path);
  for (std::size_t at = 0; at < text.size();) {
    ids.push_back(std::stoi(text.substr(at)));
    at = text.find(',', at);
    if (at == std::string::npos) break;
    ++at;
  }
  return ids;
}

inline std::vector<std::int32_t> golden_tokens() {
  return read_ids(golden_dir() / "tokens.txt");
}

/// The arrays of a NumPy .npz archive of float64 arrays, as np.savez writes them (stored, not compressed).
inline std::map<std::string, std::vector<double>> read_npz(const std::filesystem::path& path) {
  const std::string z = read_bytes(path);
  auto u16 = [&z](std::size_t at) {
    return static_cast<std::size_t>(static_cast<unsigned char>(z.at(at)) |
                                    static_cast<unsigned char>(z.at(at + 1)) << 8);
  };
  auto u32 = [&u16](std::size_t at) { return u16(at) | u16(at + 2) << 16; };
  std::map<std::string, std::vector<double>> arrays;
  // read the central directory at the end: local headers may lack the sizes, but its entries have them
  std::size_t at = u32(z.rfind("PK\x05\x06") + 16);
  while (z.compare(at, 4, "PK\x01\x02", 4) == 0) {
    const std::size_t size = u32(at + 20);
    const std::size_t name_size = u16(at + 28);
    std::string name = z.substr(at + 46, name_size);
    const std::size_t local = u32(at + 42);
    const std::size_t npy = local + 30 + u16(local + 26) + u16(local + 28);
    const std::size_t header = 10 + u16(npy + 8);
    if (z.compare(npy, 6, "\x93NUMPY", 6) != 0 || z.substr(npy, header).find("'<f8'") == std::string::npos) {
      throw std::runtime_error(name + " is not a float64 array");
    }
    std::vector<double> values((size - header) / sizeof(double));
    std::memcpy(values.data(), z.data() + npy + header, values.size() * sizeof(double));
    arrays[name.substr(0, name.size() - 4)] = std::move(values);
    at += 46 + name_size + u16(at + 30) + u16(at + 32);
  }
  return arrays;
}

}  // namespace gemma::test
