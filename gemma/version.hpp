// The library's version, which the build reads from this file. Semantic versioning (semver.org): while the
// major number is 0, a change of the minor number may change the C++ interface; docs/embedding.md says what
// is stable.
#pragma once

/// The major number, as a macro for #if.
#define GEMMA_VERSION_MAJOR 0
/// The minor number.
#define GEMMA_VERSION_MINOR 2
/// The patch number.
#define GEMMA_VERSION_PATCH 0
/// "MAJOR.MINOR.PATCH"
#define GEMMA_VERSION_STRING "0.2.0"

namespace gemma {

/// The version of these headers. gemma_version() of gemma/c_api.h returns that of the loaded library.
struct Version {
  int major = GEMMA_VERSION_MAJOR;  // incompatible changes
  int minor = GEMMA_VERSION_MINOR;  // additions; while major is 0, also changes
  int patch = GEMMA_VERSION_PATCH;  // corrections
};

/// The version that this program was compiled with.
inline constexpr Version kVersion{};

}  // namespace gemma
