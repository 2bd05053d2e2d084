// How many CPUs this process may keep busy: the physical cores of its affinity mask, at most the quota of its
// control groups.
// Invariant: at least 1; a limit that the system does not report is ignored. Only files of /proc and /sys
// are read; `root` is put before their paths, so that tests can imitate a machine.
#pragma once

#include <limits>
#include <string>
#include <vector>

namespace gemma::detail {

/// Value that means "no limit".
inline constexpr double kNoQuota = std::numeric_limits<double>::infinity();

/// Number of CPUs that the control groups of this process allow: the smallest quota of its own group and of
/// the groups above it, in the hierarchies of both versions (`cpu.max`; `cpu.cfs_quota_us` and
/// `cpu.cfs_period_us`). kNoQuota without one.
double cpu_quota(const std::string& root);

/// Number of physical cores among `cpus`: SMT siblings share the vector units that matmuls fill. A CPU whose
/// siblings are unknown counts as a core.
unsigned cores_among(const std::vector<int>& cpus, const std::string& root);

/// n_cores, but at most the quota rounded up: using a fraction of a CPU is better than leaving it idle.
unsigned threads_for(unsigned n_cores, double quota);

/// Number of threads that this process can keep busy: its physical cores, at most its CPU quota rounded up.
unsigned usable_core_count();

}  // namespace gemma::detail

#if defined(GEMMA_HEADER_ONLY)
#include "cpu_count.inl"
#endif
