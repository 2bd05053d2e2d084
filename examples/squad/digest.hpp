// SHA-256 of files: what a run's settings know models and data sets by.
// Invariant: reads the file once, in pieces; holds none of it afterwards.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

namespace gemma::squad {

/// Lower-case hexadecimal SHA-256 of the file's bytes. Throws gemma::Error (io).
std::string sha256_of(const std::filesystem::path& file);
/// The same of text.
std::string sha256_of_text(std::string_view text);

}  // namespace gemma::squad
