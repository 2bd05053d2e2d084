// SHA-256 of files, by which a run's settings identify models and data sets.
// Invariant: a file is mapped, not copied into memory.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

namespace gemma::squad {

/// Lower-case hexadecimal SHA-256 of the file's bytes. Throws gemma::Error (io).
std::string sha256_of(const std::filesystem::path& file);
/// Lower-case hexadecimal SHA-256 of a text.
std::string sha256_of_text(std::string_view text);

}  // namespace gemma::squad
