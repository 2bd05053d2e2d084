// write_seeds FOLDER: the seeds of every target as files FOLDER/TARGET/seed-N, for libFuzzer.
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <string>

#include "tests/fuzz/targets.hpp"

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fputs("usage: write_seeds FOLDER\n", stderr);
    return 1;
  }
  for (const gemma::fuzz::Target* target : gemma::fuzz::kTargets) {
    const std::filesystem::path folder = std::filesystem::path(argv[1]) / target->name;
    std::filesystem::create_directories(folder);
    std::size_t n = 0;
    for (const gemma::fuzz::Input& seed : target->seeds()) {
      std::ofstream(folder / ("seed-" + std::to_string(n++)), std::ios::binary)
          .write(reinterpret_cast<const char*>(seed.data()), static_cast<std::streamsize>(seed.size()));
    }
  }
}
