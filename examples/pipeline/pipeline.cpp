// gemma-pipeline: runs one model in several processes, each with a part of its layers.
#include <cstdio>
#include <exception>
#include <optional>

#include "examples/pipeline/flags.hpp"
#include "examples/pipeline/lead.hpp"
#include "examples/pipeline/ranks.hpp"
#include "examples/program.hpp"

namespace {

using namespace gemma::app;

int run(int argc, char** argv) {
  Ranks ranks(argc, argv);
  // every rank has the same command line; only one prints errors in it
  if (ranks.rank() != 0 && std::freopen("/dev/null", "w", stdout) == nullptr) return 1;
  std::optional<PipelineFlags> flags;
  try {
    flags = PipelineFlags::parse(argc, argv);
  } catch (const std::exception&) {
    if (ranks.rank() == 0) throw;
    return 1;
  } catch (const Done&) {
    return 0;
  }
  const Place place{ranks.rank(), ranks.size(), ranks.default_threads(), ranks.host()};
  return ranks.run(flags->timeout, [&](Mailbox& mailbox) { return run_rank(*flags, place, mailbox); });
}

}  // namespace

int main(int argc, char** argv) {
  return run_program(argc, argv, "gemma-pipeline", run);
}
