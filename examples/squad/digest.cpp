#include "examples/squad/digest.hpp"

#include <array>

#include <fmt/format.h>
#include <openssl/evp.h>

#include "examples/squad/fail.hpp"
#include "gguf/mapped_file.hpp"

namespace gemma::squad {

std::string sha256_of(const std::filesystem::path& file) {
  const MappedFile mapped(file.string());
  return sha256_of_text({reinterpret_cast<const char*>(mapped.bytes().data()), mapped.bytes().size()});
}

std::string sha256_of_text(std::string_view text) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned size = 0;
  if (EVP_Digest(text.data(), text.size(), digest.data(), &size, EVP_sha256(), nullptr) != 1) {
    fail(ErrorCode::kUnsupported, "OpenSSL offers no SHA-256");
  }
  return fmt::format("{:02x}", fmt::join(digest.begin(), digest.begin() + size, ""));
}

}  // namespace gemma::squad
