#include "examples/squad/digest.hpp"

#include <array>
#include <fstream>
#include <memory>
#include <sstream>
#include <vector>

#include <fmt/format.h>
#include <openssl/evp.h>

#include "examples/squad/fail.hpp"

namespace gemma::squad {
namespace {

/// The digest of the rest of `in`.
std::string sha256_of_stream(std::istream& in) {
  const std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> hash(EVP_MD_CTX_new(), &EVP_MD_CTX_free);
  if (hash == nullptr || EVP_DigestInit_ex(hash.get(), EVP_sha256(), nullptr) != 1) {
    throw Error(ErrorCode::kUnsupported, "OpenSSL offers no SHA-256");
  }
  std::vector<char> buffer(std::size_t{1} << 20);
  while (in) {
    in.read(buffer.data(), static_cast<std::streamsize>(buffer.size()));
    EVP_DigestUpdate(hash.get(), buffer.data(), static_cast<std::size_t>(in.gcount()));
  }
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned size = 0;
  EVP_DigestFinal_ex(hash.get(), digest.data(), &size);
  return fmt::format("{:02x}", fmt::join(digest.begin(), digest.begin() + size, ""));
}

}  // namespace

std::string sha256_of(const std::filesystem::path& file) {
  std::ifstream in(file, std::ios::binary);
  if (!in || std::filesystem::is_directory(file)) {
    fail(ErrorCode::kIo, "{}: cannot be opened", file.string());
  }
  std::string digest = sha256_of_stream(in);
  if (in.bad()) fail(ErrorCode::kIo, "{}: cannot be read", file.string());
  return digest;
}

std::string sha256_of_text(std::string_view text) {
  std::istringstream in{std::string(text)};
  return sha256_of_stream(in);
}

}  // namespace gemma::squad
